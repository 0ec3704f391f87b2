"""What a distillation is told: its settings, and the filter they give a layer in a round.

Source: UniDD (arXiv 2503.01212), §4; the chapter "CFM, the algorithm and its cost".
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

from ..core.filters import AllPass, Filter, Landweber, Linear, Residual, Ridge
from ..core.schedules import SCHEDULES, relative_beta
from ..core.statistics import RealSide
from ..networks.training import check_choices

_MOST_STEPS = 200  # of gradient descent in the Landweber and residual filters, each a (d, d) product


@dataclass(frozen=True)
class DistillConfig:
    """A distillation; the recipes in `unidd.bench.configs` are named settings of it.

    Args:
        method: the recipe's name, kept in records.
        ipc: images per class; also the number of rounds B.
        seed: of the starting images and the augmentation.
        filter: "ridge" 1/(λ + β), "linear" λ, "all-pass" 1, "landweber" or "residual" with 1/(αt) = β, α at a quarter
            of the layer's 1/λ_max, or "none": classification only.
        beta: β of the first round; above 0.
        beta_unit: "absolute" (as published), or "mean": a fraction of each layer's mean eigenvalue.
        schedule: how β moves over the rounds, see `unidd.core.schedules`.
        normalised: divide the filter term by ‖f(Ψ)‖_F, and the signal term by the root of ‖f(Ψ)Φ‖² + tr f(Ψ)Ψf(Ψ), the
            size of a filtered feature: then no constant factor of f matters.
        signal: what the FLC correlates with: "mean", "class" or "mix".
        eta: weight η of the matching terms.
        emu: carry synthetic statistics over rounds: those of the last augmented batch of each.
        steps: steps of a round; 0 leaves the random real images as they are.
        lr: peak learning rate of Adam (0.5, 0.9), on normalised pixels, cosine to 0 in each round.
        shift: images roll by up to so many pixels.
        scale: smallest area of the random resized crop.
        group: classes of one batch, for sets whose rounds do not fit the memory: β stays within a round, the moving
            update counts batches; 0 takes all classes.
        precision: of the network; correlations and filters are float32 except under "float64".
    Raises:
        ValueError: a value is out of range; the message names it.
    """

    method: str = "cfm"
    ipc: int = 10
    seed: int = 0
    filter: Literal["ridge", "linear", "all-pass", "landweber", "residual", "none"] = "ridge"
    beta: float = 0.1
    beta_unit: Literal["absolute", "mean"] = "absolute"
    schedule: Literal["constant", "cosine", "linear", "log", "reverse"] = "cosine"
    normalised: bool = False
    signal: Literal["mean", "class", "mix"] = "mean"
    eta: float = 0.1
    emu: bool = True
    steps: int = 1000
    lr: float = 0.25
    shift: int = 4
    scale: float = 0.08
    group: int = 0
    precision: Literal["float32", "float64", "bfloat16", "float16"] = "float32"

    def __post_init__(self):
        for f in fields(self):
            wanted = (int, float) if isinstance(f.default, float) else type(f.default)
            if not isinstance(getattr(self, f.name), wanted):
                raise ValueError(f"{f.name} must be like {f.default!r}, not {getattr(self, f.name)!r}")
        if self.ipc < 1:
            raise ValueError(f"ipc must be at least 1, not {self.ipc}")
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise ValueError(f"beta must be a finite number above 0, not {self.beta}")
        for name in ("steps", "eta", "shift", "seed", "group"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number from 0, not {getattr(self, name)}")
        if not 0 < self.lr < math.inf or not 0 < self.scale <= 1:
            raise ValueError(f"lr must be above 0 and scale in (0, 1], not {self.lr} and {self.scale}")
        check_choices(self, "filter", "beta_unit", "schedule", "signal", "precision")


def class_groups(config: DistillConfig, classes: int) -> list[slice]:
    """The classes of each batch of a round; the last may have fewer."""
    size = config.group or classes
    return [slice(first, min(first + size, classes)) for first in range(0, classes, size)]


def beta_at(config: DistillConfig, b: int) -> float:
    """β_b of round b = 0 … B − 1."""
    return SCHEDULES[config.schedule](config.beta, b, config.ipc)


def layer_filter(config: DistillConfig, b: int, real: RealSide) -> Filter:
    """The filter of one layer in round b.

    Raises:
        ValueError: the layer's features are constant, so that its eigenvalues give no scale for the filter.
    """
    if config.filter in ("linear", "all-pass"):
        return Linear() if config.filter == "linear" else AllPass()
    beta = beta_at(config, b)
    beta = relative_beta(beta, real.eigenvalues.diag()) if config.beta_unit == "mean" else beta
    if config.filter == "ridge":
        return Ridge(beta)
    largest = float(real.eigenvalues[-1])
    if not largest > 0:
        raise ValueError(f"a layer with constant features gives no step size for the filter {config.filter!r}")
    rate = 0.25 / largest  # synthetic eigenvalues may exceed the real ones eightfold
    steps = min(max(1, round(1 / (rate * beta))), _MOST_STEPS)
    return Landweber(rate, steps) if config.filter == "landweber" else Residual(rate, steps)
