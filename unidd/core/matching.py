"""One step of matching, exact and fast: the real side of every layer, the loss of a batch of images, its gradient.

The real FFC is diagonalised once (`RealSide`): every later filter and β is a diagonal. A round fixes β and what the
moving update carries (`Round`). A step (`step_loss`) needs one product of features forward and one backward a layer,
both exact; the derivative in a layer's features is known before the backward pass begins, and added to the gradient
where it passes the layer. Chapter: "CFM, the algorithm and its cost".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .filters import Filter, Ridge
from .ridge import by_channels, by_rows, norms
from .statistics import GradientTap, RealSide, Total, rows, signal_targets, single

Statistics = dict[str, tuple[Tensor, Tensor]]  # layer → FFC (d, d), FLC (d, k)


@dataclass(frozen=True)
class Match:
    """What a group of layers contributes to a step.

    Attributes:
        terms: weighted sums of the filter and of the signal distances (2,).
        pushes: layer → a function that adds the derivative, times a factor, to the rows (B·H·W, d) of a gradient.
        by_targets: derivative in the targets (B, k); None if nobody asks.
    """

    terms: Tensor
    pushes: dict[str, Callable[[Tensor, float], None]]
    by_targets: Tensor | None


@dataclass(frozen=True)
class Group:
    """Layers of one width under one filter, stacked: a round's real side and what the moving update carries.

    Attributes:
        layers: their names.
        filter: the filter of all of them.
        real: f(Ψ) (L, d, d) and f(Ψ)Φ (L, d, k).
        weights: of the filter and the signal distance (L, 2).
        centre: whether features are centred before they are multiplied.
        share: 1/b, the weight of the current batch in the moving update; 1 in the first batch, or without one.
        known: (1 − 1/b) Ψ_{b−1} (L, d, d) and the same of Φ (L, d, k).
    """

    layers: tuple[str, ...]
    filter: Filter
    real: tuple[Tensor, Tensor]
    weights: Tensor
    centre: bool
    share: float
    known: tuple[Tensor, Tensor]

    def match(self, tap: dict[str, Tensor], targets: Tensor, eta: float, batch: int, total: Total | None) -> Match:
        """Distances of the features' statistics from the real side, and their derivatives times η.

        Args:
            tap: layer → features (B, d, H, W), off the graph.
            targets: (B, k).
            batch: images of all processes together.
        """
        features, y = [rows(single(tap[layer])) for layer in self.layers], single(targets.detach())
        if isinstance(self.filter, Ridge) and total is None and all(map(_few_rows, features)):
            return self._match_rows(features, y, eta * self.weights, targets.requires_grad)
        ffc, flc, sums, means = self.synthetic(features, y, batch, total)
        distances, by_ffc, by_flc = self._distances(ffc, flc, eta * self.weights)
        pushes = {}
        for i, (layer, x) in enumerate(zip(self.layers, features, strict=True)):
            scale = self.share / (batch * (len(x) // len(y)))
            matrix, signal = by_ffc[i].mul_(2 * scale), by_flc[i].mul_(scale)
            pushes[layer] = _push_product(x, matrix, y @ signal.T - means[i] @ matrix)
        by_targets = sum(map(torch.matmul, sums, by_flc)) if targets.requires_grad else None
        return Match((distances * self.weights).sum(0), pushes, by_targets)

    def synthetic(self, features: list[Tensor], y: Tensor, batch: int, total: Total | None):
        """Ψ_s (L, d, d) and Φ_s (L, d, k) after the moving update; sums over each image (B, d) and means (d,)."""
        ffc, flc = torch.empty_like(self.known[0]), torch.empty_like(self.known[1])
        sums, means = [], []
        for i, x in enumerate(features):
            count = batch * (len(x) // len(y))
            of_image = x.view(len(y), -1, x.shape[1]).sum(1)
            mean = of_image.sum(0)
            mean = (total(mean) if total else mean).div_(count)
            z = x - mean if self.centre else x
            parts = (z.T, z), (of_image.T, y)
            for known, out, (left, right) in zip(self.known, (ffc[i], flc[i]), parts, strict=True):
                if total:
                    torch.add(known[i], total(left @ right), alpha=self.share / count, out=out)
                else:
                    torch.addmm(known[i], left, right, alpha=self.share / count, out=out)
            if not self.centre:
                ffc[i].addr_(mean, mean, alpha=-self.share)
            sums.append(of_image)
            means.append(mean)
        return ffc, flc, sums, means

    def _distances(self, ffc: Tensor, flc: Tensor, rates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Distances (L, 2), and the derivatives of their weighted sum in Ψ_s, symmetric, and Φ_s."""
        if isinstance(self.filter, Ridge):
            return by_channels(ffc, flc, self.filter.beta, self.real, rates)
        with torch.enable_grad():
            ffc, flc = ffc.requires_grad_(), flc.requires_grad_()
            matrix = self.filter.matrix(ffc)
            distances = norms(self.real[0] - matrix, self.real[1] - matrix @ flc)
            by_ffc, by_flc = torch.autograd.grad(
                (distances * rates).sum(), (ffc, flc), allow_unused=True, materialize_grads=True
            )
        return distances.detach(), (by_ffc + by_ffc.mT) / 2, by_flc

    def _match_rows(self, features: list[Tensor], y: Tensor, rates: Tensor, want_targets: bool) -> Match:
        """The identity form of `match`."""
        distances, pushes, by_targets = [], {}, 0
        for i, (layer, x) in enumerate(zip(self.layers, features, strict=True)):
            scale = self.share / len(x)
            of_image = x.view(len(y), -1, x.shape[1]).sum(1)
            flc = torch.addmm(self.known[1][i], of_image.T, y, alpha=scale)
            z = (x - x.mean(0)).mul_(math.sqrt(scale))
            inverse, gap = (side[i] for side in self._inverse)
            found, by_z, by_flc = by_rows(z, flc, (inverse, gap), self.share == 1, self.real[1][i], rates[i])
            distances.append(found)
            pushes[layer] = _push_rows(by_z.mul_(math.sqrt(scale)), y @ by_flc.mul_(scale).T)
            by_targets = by_targets + of_image @ by_flc if want_targets else None
        return Match((torch.stack(distances) * self.weights).sum(0), pushes, by_targets)

    @cached_property
    def _inverse(self) -> tuple[Tensor, Tensor]:
        """K = ((1 − 1/b) Ψ_{b−1} + βI)⁻¹ (L, d, d), worked out in float64 once a round, and f(Ψ) − K."""
        inverse = self.filter.matrix(self.known[0].double()).to(self.real[0].dtype)
        return inverse, self.real[0] - inverse


def _few_rows(x: Tensor) -> bool:
    """Whether the identity form is the cheaper for rows (n, d): 8 nd² operations against 4 nd² + 5 d³."""
    return 2 * len(x) <= x.shape[1]


def _push_product(x: Tensor, matrix: Tensor, offset: Tensor) -> Callable[[Tensor, float], None]:
    def add(gradient: Tensor, factor: float) -> None:
        if gradient.dtype == x.dtype:
            gradient.addmm_(x, matrix, alpha=factor)
        else:
            gradient.add_(x @ matrix, alpha=factor)
        gradient.view(len(offset), -1, x.shape[1]).add_(offset.unsqueeze(1), alpha=factor)

    return add


def _push_rows(by_rows: Tensor, offset: Tensor) -> Callable[[Tensor, float], None]:
    def add(gradient: Tensor, factor: float) -> None:
        gradient.add_(by_rows, alpha=factor)
        gradient.view(len(offset), -1, by_rows.shape[1]).add_(offset.unsqueeze(1), alpha=factor)

    return add


@dataclass(frozen=True)
class Round:
    """What the steps of one batch of images share: the groups of layers, and how to correlate.

    Args:
        signal: see `unidd.core.statistics.signal_targets`.
        total: sums a tensor over all processes that hold a part of the batch; None: this one has all of it.
    """

    groups: tuple[Group, ...] = ()
    signal: str = "mean"
    total: Total | None = None

    @staticmethod
    def of(
        real: dict[str, RealSide],
        filters: dict[str, Filter],
        *,
        signal: str = "mean",
        normalised: bool = False,
        previous: Statistics | None = None,
        count: int = 1,
        dtype: torch.dtype = torch.float32,
        total: Total | None = None,
    ) -> "Round":
        """Worked out in float64, kept as `dtype`.

        Args:
            real: by layer.
            filters: by layer.
            normalised: divide each term by the size of its real side, see `RealSide.sizes`.
            previous: synthetic statistics after the batch before; None without a moving update.
            count: number b of this batch in the moving update, from 1.
        """
        filters = {layer: side.resolved(filters[layer], dtype) for layer, side in real.items()}

        def kind(layer: str) -> tuple:
            return len(real[layer].flc), repr(filters[layer]), real[layer].far(filters[layer], dtype)

        share = 1 / count if previous else 1.0
        groups = []
        for (_, _, centre), found in groupby(sorted(real, key=kind), kind):
            layers = tuple(found)
            sides = zip(*(real[layer].filtered(filters[layer]) for layer in layers), strict=True)
            sides = tuple(torch.stack(side).to(dtype) for side in sides)
            sizes = [real[layer].sizes(filters[layer]) if normalised else (1.0, 1.0) for layer in layers]
            known = tuple(map(torch.zeros_like, sides))
            if previous:
                pairs = zip(*(previous[layer] for layer in layers), strict=True)
                known = tuple(torch.stack(side).to(dtype) * (1 - share) for side in pairs)
            weights = 1 / sides[0].new_tensor(sizes)
            groups.append(Group(layers, filters[layers[0]], sides, weights, centre, share, known))
        return Round(tuple(groups), signal, total)

    @property
    def layers(self) -> list[str]:
        return [layer for group in self.groups for layer in group.layers]

    @torch.no_grad()
    def statistics(self, loss: "Loss") -> Statistics:
        """Synthetic (FFC, FLC) of each layer after the moving update, for the next round's `previous`."""
        found = {}
        for group in self.groups:
            features = [rows(single(loss.tap.features[layer])) for layer in group.layers]
            pair = group.synthetic(features, single(loss.targets), loss.batch, self.total)[:2]
            found |= dict(zip(group.layers, zip(*pair, strict=True), strict=True))
        return found


@dataclass(frozen=True)
class Loss:
    """Scalars of one step, and what its gradient comes from.

    Attributes:
        classification, filter, signal: the terms; the total is classification + η (filter + signal).
        batch: images of all processes together.
    """

    classification: Tensor
    filter: Tensor
    signal: Tensor
    eta: float
    batch: int
    targets: Tensor
    tap: GradientTap
    matches: list[Match] = field(default_factory=list)

    @property
    def total(self) -> Tensor:
        return (self.classification + self.eta * (self.filter + self.signal)).detach()

    def gradient(self, x: Tensor, factor: float = 1.0) -> Tensor:
        """Of the total in `x`, which the images came from; may be asked once.

        Args:
            factor: of the loss on its way back, undone in the result: keeps float16 gradients off zero.
        """
        for match in self.matches:
            for layer, push in match.pushes.items():
                self.tap.pushes[layer] = lambda gradient, push=push: push(gradient, factor)
        roots, gradients = [self.classification], [torch.full_like(self.classification, factor)]
        if self.matches and self.targets.requires_grad:
            roots.append(self.targets)
            gradients.append(sum(match.by_targets for match in self.matches).mul_(factor).to(self.targets.dtype))
        (gradient,) = torch.autograd.grad(roots, x, gradients)
        return gradient / factor if factor != 1 else gradient


def step_loss(
    teacher: nn.Module,
    images: Tensor,
    labels: Tensor,
    round: Round,
    eta: float,
    *,
    batch: int | None = None,
    half: torch.dtype | None = None,
) -> Loss:
    """The loss of one step; `Loss.gradient` gives its derivative.

    Args:
        teacher: in eval mode, frozen.
        images: augmented network input (B, C, H, W).
        labels: (B,).
        round: what is matched; an empty one is classification only.
        eta: weight η of the matching terms.
        batch: images of all processes together; None: B.
        half: torch.bfloat16 or torch.float16 runs the network under autocast; correlations and filters stay float32.
    """
    batch = batch or len(labels)
    autocast = torch.autocast(images.device.type, half, enabled=half is not None)
    with GradientTap(teacher, round.layers) as tap, autocast:
        logits = single(teacher(images))
    classification = F.cross_entropy(logits, labels, reduction="sum") / batch
    targets = signal_targets(round.signal, labels, logits)
    with torch.no_grad():
        matches = [group.match(tap.features, targets, eta, batch, round.total) for group in round.groups]
    terms = sum((match.terms for match in matches), start=logits.new_zeros(2))
    return Loss(classification, *terms.detach(), eta, batch, targets, tap, matches)
