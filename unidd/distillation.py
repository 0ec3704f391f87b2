"""The engine: curriculum frequency matching (CFM), its fixed-filter variants, and classification only.

Algorithm 1 of UniDD (arXiv 2503.01212), §4. Real side, once: the FFC Ψ and FLC Φ of the inputs of every convolution.
Synthetic side, in rounds b of one image a class: start from real images; at every step pass the augmented images
through the teacher and descend

    L = CE(h(A(x)), y) + η Σ_layers ( ‖f_b(Ψ) − f_b(Ψ_s)‖_F + ‖f_b(Ψ)Φ − f_b(Ψ_s)Φ_s‖_F ),   f_b(λ) = 1/(λ + β_b),

with Ψ_s, Φ_s the exponential moving update over the rounds so far. Chapter: "CFM, the algorithm and its cost".
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from . import augment
from .datasets import ImageData
from .filters import AllPass, Filter, Landweber, Linear, Residual, Ridge
from .models import tapped_layers
from .schedules import SCHEDULES, relative_beta
from .statistics import FeatureTap, Moments, correlations, emu, real_statistics, signal_targets
from .synthetic import SyntheticSet
from .training import Teacher

_MOST_STEPS = 200  # of gradient descent in the Landweber and residual filters, each a (d, d) product


@dataclass(frozen=True)
class DistillConfig:
    """A distillation; the recipes in `unidd.configs` are named settings of it.

    Args:
        method: the recipe's name, kept in records.
        ipc: images per class; also the number of rounds B.
        seed: of the starting images and the augmentation.
        filter: "ridge" 1/(λ + β), "linear" λ, "all-pass" 1, "landweber" or "residual" with 1/(αt) = β, α at a quarter
            of the layer's 1/λ_max, or "none": classification only.
        beta: β of the first round; above 0.
        beta_unit: "absolute" (as published), or "mean": a fraction of each layer's mean eigenvalue.
        schedule: how β moves over the rounds, see `unidd.schedules`.
        normalised: divide the filter term by ‖f(Ψ)‖_F, and the signal term by the root of ‖f(Ψ)Φ‖² + tr f(Ψ)Ψf(Ψ), the
            size of a filtered feature: then no constant factor of f matters.
        signal: what the FLC correlates with: "mean", "class" or "mix".
        eta: weight η of the matching terms.
        emu: carry synthetic statistics over rounds: those of the last augmented batch of each.
        steps: steps of a round; 0 leaves the random real images as they are.
        lr: peak learning rate of Adam (0.5, 0.9), on normalised pixels, cosine to 0 in each round.
        shift: images roll by up to so many pixels.
        scale: smallest area of the random resized crop.
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

    def __post_init__(self):
        for f in fields(self):
            wanted = (int, float) if isinstance(f.default, float) else type(f.default)
            if not isinstance(getattr(self, f.name), wanted):
                raise ValueError(f"{f.name} must be like {f.default!r}, not {getattr(self, f.name)!r}")
        if self.ipc < 1:
            raise ValueError(f"ipc must be at least 1, not {self.ipc}")
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise ValueError(f"beta must be a finite number above 0, not {self.beta}")
        for name in ("steps", "eta", "shift", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number from 0, not {getattr(self, name)}")
        if not 0 < self.lr < math.inf or not 0 < self.scale <= 1:
            raise ValueError(f"lr must be above 0 and scale in (0, 1], not {self.lr} and {self.scale}")
        for name in ("filter", "beta_unit", "schedule", "signal"):
            choices = self.__dataclass_fields__[name].type.__args__
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")


@dataclass(frozen=True)
class Target:
    """One layer's real side in one round: the filter, f(Ψ) (d, d), f(Ψ)Φ (d, k), and the weights of the two terms."""

    filter: Filter
    filtered_ffc: Tensor
    filtered_flc: Tensor
    weights: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Loss:
    """Scalars of one step, and the synthetic statistics (FFC, FLC) of each layer after the moving update."""

    total: Tensor
    classification: Tensor
    filter: Tensor
    signal: Tensor
    statistics: dict[str, tuple[Tensor, Tensor]]


def make_targets(
    config: DistillConfig, statistics: dict[str, Moments], b: int, dtype=torch.float32, device=None
) -> dict[str, Target]:
    """The real side of round b = 0 … B − 1, worked out in float64 once for all its steps, as `dtype` on `device`."""
    targets = {}
    for layer, moments in statistics.items():
        ffc, flc = moments.ffc, moments.flc
        filter = layer_filter(config, b, ffc)
        matrix = filter.matrix(ffc)
        sides = (matrix, matrix @ flc)
        weights = (1.0, 1.0)
        if config.normalised:  # f(Ψ)Φ itself may be 0: the input's channel means are
            spread = (matrix @ ffc * matrix).sum()
            weights = (1 / float(matrix.norm()), 1 / float((sides[1].square().sum() + spread).sqrt()))
        targets[layer] = Target(filter, *(side.to(device, dtype) for side in sides), weights)
    return targets


def layer_filter(config: DistillConfig, b: int, ffc: Tensor) -> Filter:
    """The filter of one layer with real FFC (d, d) in round b."""
    if config.filter in ("linear", "all-pass"):
        return Linear() if config.filter == "linear" else AllPass()
    beta = beta_at(config, b)
    beta = relative_beta(beta, ffc) if config.beta_unit == "mean" else beta
    if config.filter == "ridge":
        return Ridge(beta)
    rate = 0.25 / float(torch.linalg.matrix_norm(ffc, 2))  # synthetic eigenvalues may exceed the real ones eightfold
    steps = min(max(1, round(1 / (rate * beta))), _MOST_STEPS)
    return Landweber(rate, steps) if config.filter == "landweber" else Residual(rate, steps)


def beta_at(config: DistillConfig, b: int) -> float:
    """β_b of round b = 0 … B − 1."""
    return SCHEDULES[config.schedule](config.beta, b, config.ipc)


def step_loss(
    teacher: nn.Module,
    images: Tensor,
    labels: Tensor,
    targets: dict[str, Target],
    previous: dict[str, tuple[Tensor, Tensor]],
    b: int,
    config: DistillConfig,
) -> Loss:
    """The loss of one step, differentiable with respect to the images.

    Args:
        teacher: in eval mode, frozen.
        images: augmented network input (B, C, H, W).
        labels: (B,).
        targets: the real side of this round, by layer; none for classification only.
        previous: synthetic (FFC, FLC) of each layer after the round before; empty without EMU.
        b: the round, counted from 1.
    """
    with FeatureTap(teacher, list(targets)) as tap:
        logits = teacher(images)
    classification = F.cross_entropy(logits, labels)
    filter_term, signal_term = logits.new_zeros(()), logits.new_zeros(())
    statistics = {}
    for layer, target in targets.items():
        current = correlations(tap.features[layer], signal_targets(config.signal, labels, logits))
        ffc, flc = (emu(p, c, b) for p, c in zip(previous.get(layer, (None, None)), current, strict=True))
        statistics[layer] = (ffc.detach(), flc.detach())
        matrix = target.filter.matrix(ffc)
        by_filter, by_signal = target.weights
        filter_term = filter_term + by_filter * torch.linalg.vector_norm(target.filtered_ffc - matrix)
        signal_term = signal_term + by_signal * torch.linalg.vector_norm(target.filtered_flc - matrix @ flc)
    total = classification + config.eta * (filter_term + signal_term)
    return Loss(total, classification, filter_term, signal_term, statistics)


def distill(
    config: DistillConfig,
    data: ImageData,
    teacher: Teacher,
    *,
    progress: bool = True,
    callback: Callable[[int, Tensor], None] | None = None,
) -> SyntheticSet:
    """Distil `data` to `config.ipc` images of each class.

    Args:
        data: the real images, on the device to compute on.
        teacher: see `unidd.training.teacher`.
        progress: show a bar with the loss terms and β.
        callback: called after each round with b (from 0) and that round's pixels (classes, C, H, W) in [0, 1].
    Returns:
        ipc × classes images, the round b = 0 … B − 1 first, class by class within it; the same seed gives the same bits
        on a CPU with the same number of threads.
    Raises:
        ValueError: ipc is above the size of a class; the loss is no longer finite.
    """
    start = SyntheticSet.from_real(data, config.ipc, config.seed, asdict(config))
    if config.steps == 0:
        return start
    statistics = _real_side(config, data, teacher.model)
    generator = Generator().manual_seed(config.seed)
    previous: dict[str, tuple[Tensor, Tensor]] = {}
    images, history = [], []
    with tqdm(total=config.ipc * config.steps, desc=config.method, disable=not progress) as bar:
        for b, (pixels, labels) in enumerate(
            zip(start.images.split(data.classes), start.labels.split(data.classes), strict=True)
        ):
            targets = make_targets(config, statistics, b, device=data.device)
            x, loss = _round(config, data, teacher.model, pixels, labels, targets, previous, b, generator, bar)
            previous = loss.statistics if config.emu else {}
            history.append({"b": b, "beta": beta_at(config, b), **_terms(loss)})
            images.append(data.denormalise(x).clamp(0, 1))
            if callback:
                callback(b, images[-1])
    return SyntheticSet(
        torch.cat(images), start.labels, data.class_names, data.mean, data.std, asdict(config), teacher.card(), history
    )


def _real_side(config: DistillConfig, data: ImageData, teacher: nn.Module, batch: int = 500) -> dict[str, Moments]:
    if config.filter == "none":
        return {}
    batches = zip(data.train.images.split(batch), data.train.labels.split(batch), strict=True)
    normalised = ((data.normalise(images), labels) for images, labels in batches)
    statistics = real_statistics(teacher, normalised, tapped_layers(teacher), config.signal)
    for layer, moments in statistics.items():
        if not (moments.scatter.isfinite().all() and moments.cross.isfinite().all()):
            raise ValueError(f"the teacher's features before layer {layer} are not finite: train it again")
    return statistics


def _round(config, data, teacher, pixels, labels, targets, previous, b, generator, bar) -> tuple[Tensor, Loss]:
    """One batch of images, from its real start through all steps: network input (B, C, H, W) and the last loss."""
    x = data.normalise(pixels).requires_grad_()
    low, high = (data.normalise(torch.full_like(pixels[:1], value)) for value in (0.0, 1.0))
    optimizer = torch.optim.Adam([x], config.lr, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for step in range(config.steps):
        augmented = augment.random_resized_crop(x, generator, (config.scale, 1.0))
        augmented = augment.roll(augment.flip(augmented, generator), generator, config.shift)
        try:
            loss = step_loss(teacher, augmented, labels, targets, previous, b + 1, config)
        except torch.linalg.LinAlgError as error:
            raise ValueError(f"round {b}, step {step}: no finite loss ({error}): lower lr, or raise beta") from None
        (x.grad,) = torch.autograd.grad(loss.total, x)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(low, high)
        if step % 20 == 19 or step == config.steps - 1:
            _report(loss, config, b, bar, step % 20 + 1)
    return x.detach(), loss


def _report(loss: Loss, config: DistillConfig, b: int, bar: tqdm, steps: int) -> None:
    terms = _terms(loss)
    if not all(map(math.isfinite, terms.values())):
        raise ValueError(f"round {b}: the loss is not finite ({terms}): lower lr, or raise beta")
    bar.set_postfix(beta=f"{beta_at(config, b):.3g}", **{k: f"{v:.3g}" for k, v in terms.items()}, refresh=False)
    bar.update(steps)


def _terms(loss: Loss) -> dict[str, float]:
    return {name: getattr(loss, name).item() for name in ("classification", "filter", "signal")}
