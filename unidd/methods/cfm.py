"""Curriculum frequency matching (CFM) and its variants: a fixed filter, another filter, or classification alone.

Algorithm 1 of UniDD (arXiv 2503.01212), §4. Real side, once: the FFC Ψ and FLC Φ of the inputs of every convolution.
Synthetic side, in rounds b of one image a class: start from real images; at every step pass the augmented images
through the teacher and descend

    L = CE(h(A(x)), y) + η Σ_layers ( ‖f_b(Ψ) − f_b(Ψ_s)‖_F + ‖f_b(Ψ)Φ − f_b(Ψ_s)Φ_s‖_F ),   f_b(λ) = 1/(λ + β_b),

with Ψ_s, Φ_s the exponential moving update over the batches so far. Chapter: "CFM, the algorithm".
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from torch import Generator, Tensor, nn

from ..core.filters import AllPass, Filter, Landweber, Linear, Residual, Ridge
from ..core.matching import Loss, Matching, Statistics, step_loss
from ..core.schedules import SCHEDULES, relative_beta
from ..core.statistics import AllSum, RealSide
from ..data.augment import crop_flip_roll
from ..data.datasets import ImageData
from ..engine.descent import Batch, Descent, Objective, Start, Step
from ..engine.precision import LossScale, half_precision
from ..engine.realside import check_statistics, real_side
from ..engine.run import Run
from ..networks.training import Teacher
from . import Count, Fraction, NotNegative, Positive, Range
from ._descending import Descending

_MOST_STEPS = 200  # of gradient descent in the Landweber and residual filters, each a (d, d) product
_ADAPT = 20  # steps between two looks at the overflow of float16, each of which waits for the device


@dataclass(frozen=True)
class CFM(Descending):
    """Curriculum frequency matching: the ridge filter, whose β falls from round to round.

    Args:
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
        lr: peak learning rate of Adam (0.5, 0.9), on normalised pixels, cosine to 0 in each round; None takes the
            published one, 0.25 for images up to 32 pixels and 0.1 for larger ones.
        shift: images roll by up to so many pixels.
        scale: smallest area of the random resized crop.
        group: classes of one batch, for sets whose rounds do not fit the memory: β stays within a round, the moving
            update counts batches; 0 takes all classes.
        layers: names of the layers whose inputs are matched, or patterns such as "encoder.layers.*.mlp.0", for networks
            that are not made of convolutions; tokens (n, t, d) give a row each. None takes all convolutions but those
            on shortcuts, as published.
        precision: of the network; correlations and filters are float32 except under "float64".
    Raises:
        ValueError: a value is out of range; the message names it.
    """

    filter: Literal["ridge", "linear", "all-pass", "landweber", "residual", "none"] = "ridge"
    beta: Positive = 0.1
    beta_unit: Literal["absolute", "mean"] = "absolute"
    schedule: Literal["constant", "cosine", "linear", "log", "reverse"] = "cosine"
    normalised: bool = False
    signal: Literal["mean", "class", "mix"] = "mean"
    eta: NotNegative = 0.1
    emu: bool = True
    steps: Count = 1000
    lr: Annotated[float, Range(0, above=True)] | None = None
    shift: Count = 4
    scale: Fraction = 0.08
    group: Count = 0
    layers: tuple[str, ...] | None = None
    precision: Literal["float32", "float64", "bfloat16", "float16"] = "float32"

    source: ClassVar[str] = "Bo, Liu & Wang, Understanding Dataset Distillation via Spectral Filtering, ICLR 2026, §4"
    acts_as: ClassVar[str] = "1/(λ + β), from flat to high-pass as β falls from round to round"
    presets_source: ClassVar[str] = (
        "the paper: Tiny-ImageNet with a ConvNet of four blocks, β 0.5 to 1, ImageNet with torchvision's ResNet-18 at "
        "224 pixels, β 0.1 to 0.2, both in groups of 200 classes"
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar10": {},
        "cifar100": {},
        "tiny-imagenet": {"beta": 0.5, "group": 200},
        "imagenet": {"group": 200},
    }

    def __post_init__(self):
        if isinstance(self.layers, list):  # as a suite or a card has them
            object.__setattr__(self, "layers", tuple(self.layers))
        super().__post_init__()
        if self.layers is not None and not (self.layers and all(isinstance(name, str) for name in self.layers)):
            raise ValueError(f"layers must be names of layers, at least one, not {self.layers!r}")

    @property
    def real_layers(self) -> tuple[str, ...] | None:
        return self.layers

    @property
    def real_signal(self) -> str | None:
        return self.signal if self.filter != "none" and self.steps else None

    def settled(self, data: ImageData, ipc: int | None = None) -> Self:
        return replace(self, lr=self._lr(data))

    def _lr(self, data: ImageData) -> float:
        return self.lr if self.lr is not None else (0.1 if data.size > 32 else 0.25)

    def beta_at(self, b: int, rounds: int) -> float:
        """Return β_b of round b = 0 … B − 1."""
        return SCHEDULES[self.schedule](self.beta, b, rounds)

    def layer_filter(self, b: int, rounds: int, real: RealSide) -> Filter:
        """Return the filter of one layer in round b.

        Raises:
            ValueError: the layer's features are constant, so that its eigenvalues give no scale for the filter.
        """
        if self.filter in ("linear", "all-pass"):
            return Linear() if self.filter == "linear" else AllPass()
        beta = self.beta_at(b, rounds)
        beta = relative_beta(beta, real.eigenvalues.diag()) if self.beta_unit == "mean" else beta
        if self.filter == "ridge":
            return Ridge(beta)
        largest = float(real.eigenvalues[-1])
        if not largest > 0:
            raise ValueError(f"a layer with constant features gives no step size for the filter {self.filter!r}")
        rate = 0.25 / largest  # synthetic eigenvalues may exceed the real ones eightfold
        steps = min(max(1, round(1 / (rate * beta))), _MOST_STEPS)
        return Landweber(rate, steps) if self.filter == "landweber" else Residual(rate, steps)

    def view(self, images: Tensor, generator: Generator, real: bool = False) -> Tensor:
        return images if real else crop_flip_roll(images, generator, scale=self.scale, shift=self.shift)

    def start(self, data: ImageData, run: Run) -> Start:
        return Start.of(data, run, self.group)

    def descent(self, data: ImageData) -> Descent:
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        return Descent(self.steps, self._lr(data), dtype=dtype)

    def objective_class(self) -> "type[FrequencyMatching]":
        """Return the class of its objective."""
        return FrequencyMatching

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "FrequencyMatching":
        statistics = {}
        if self.real_signal and run.statistics is not None:
            check_statistics(run.statistics, self.signal, data, teacher.model, self.layers)
            statistics = run.statistics
        elif self.real_signal:
            shown = run.progress and run.ranks.first
            statistics = real_side(self.signal, data, teacher.model, run.ranks, shown, self.layers)
        real = {layer: RealSide.of(moments.to(data.device)) for layer, moments in statistics.items()}
        augment = partial(crop_flip_roll, scale=self.scale, shift=self.shift)
        return self.objective_class()(self, run.ipc, teacher.model, real, augment, data.device, run.ranks.all_sum)


@dataclass(frozen=True)
class HFM(CFM):
    """High-frequency matching: the ridge filter at one fixed β."""

    schedule: Literal["constant", "cosine", "linear", "log", "reverse"] = "constant"
    acts_as: ClassVar[str] = "1/(λ + β), high-pass"


@dataclass(frozen=True)
class LFM(CFM):
    """Low-frequency matching: f(λ) = λ, the filter of gradient matching."""

    filter: Literal["ridge", "linear", "all-pass", "landweber", "residual", "none"] = "linear"
    acts_as: ClassVar[str] = "λ, low-pass"


@dataclass(frozen=True)
class Relative(HFM):
    """High-frequency matching on each layer's own scale: β is its mean eigenvalue, and the terms are normalised."""

    beta: Positive = 1.0
    beta_unit: Literal["absolute", "mean"] = "mean"
    normalised: bool = True
    acts_as: ClassVar[str] = "1/(λ + β), high-pass, β the mean eigenvalue of the layer"
    presets_source: ClassVar[str] = "nothing is published: class groups that memory holds"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny-imagenet": {"group": 200},
        "imagenet": {"group": 200},
    }


@dataclass(frozen=True)
class Classification(CFM):
    """The teacher's cross-entropy alone: nothing is matched."""

    filter: Literal["ridge", "linear", "all-pass", "landweber", "residual", "none"] = "none"
    eta: NotNegative = 0.0
    acts_as: ClassVar[str] = "none: no correlations are matched"


class FrequencyMatching(Objective):
    """The loss of CFM and its gradient, with what the moving update carries from batch to batch.

    Args:
        method: the hyper-parameters.
        rounds: number of rounds B.
        teacher: in eval mode, frozen.
        real: by layer; empty: classification only.
        augment: images, generator, slot → augmented images.
        all_sum: see `Matching`.
    """

    remedy: ClassVar[str] = "lower lr, or raise beta"

    def __init__(
        self,
        method: CFM,
        rounds: int,
        teacher: nn.Module,
        real: dict[str, RealSide],
        augment: Callable[[Tensor, Generator, tuple[int, int]], Tensor],
        device: str | torch.device = "cpu",
        all_sum: AllSum | None = None,
    ):
        self.method, self.rounds, self.real, self.augment, self.all_sum = method, rounds, real, augment, all_sum
        self.dtype = torch.float64 if method.precision == "float64" else torch.float32
        self.teacher = copy.deepcopy(teacher).double() if self.dtype == torch.float64 else teacher
        self.half = half_precision(method.precision)
        self.scale = LossScale.of(self.half, device)
        self.previous: Statistics = {}

    def begin(self, batch: Batch) -> None:
        self.batch, method = batch, self.method
        filters = {layer: method.layer_filter(batch.b, self.rounds, side) for layer, side in self.real.items()}
        self.matching = Matching.of(
            self.real,
            filters,
            signal=method.signal,
            normalised=method.normalised,
            previous=self.previous,
            count=batch.number + 1,
            dtype=self.dtype,
            all_sum=self.all_sum,
        )

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        if t and t % _ADAPT == 0:
            self.scale.adapt(self.all_sum)
        batch, images = self.batch, self.augment(x, generator, self.batch.slot)
        task = self.teacher, images, self.labels(), self.matching, self.method.eta
        loss = step_loss(*task, batch=batch.size, half=self.half)
        if t == batch.steps - 1 and self.method.emu:  # before x is updated in place
            self.previous = self.matching.statistics(loss)
        gradient = self.scale.clean(loss.gradient(x, self.scale.factor))
        self.learn(loss, t)
        terms = {"classification": loss.classification, "filter": loss.filter, "signal": loss.signal}
        weights = {"filter": self.method.eta, "signal": self.method.eta}
        notes = {"beta": self.method.beta_at(batch.b, self.rounds)}
        return Step(terms, gradient, notes, partial=("classification",), weights=weights)

    def labels(self) -> Tensor:
        """Return the labels of the batch's images: (n,), or soft ones (n, classes)."""
        return self.batch.labels

    def learn(self, loss: Loss, t: int) -> None:
        """Do nothing after the loss of step t, from which labels may learn."""

    def end(self) -> None:
        self.scale.adapt(self.all_sum)

    def state(self) -> dict:
        return {"previous": self.previous, "scale": self.scale.state(self.all_sum)}

    def restore(self, state: dict) -> None:
        device = self.scale.overflow.device
        self.previous = {layer: tuple(t.to(device) for t in pair) for layer, pair in state["previous"].items()}
        self.scale.restore(state["scale"])
