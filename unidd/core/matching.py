"""Match a batch of images to the real side: the loss in every layer, and its gradient in the images, exact and fast.

The real FFC is diagonalised once (`RealSide`), so that every later filter and β is a diagonal. `Matching` fixes what
the steps of a batch share: the filters, and what the moving update carries over. A step (`step_loss`) needs one product
of features forward and one backward a layer. The derivative in a layer's features is known before the backward pass
begins, and is added to the gradient where it passes the layer. Chapter: "Appendix: what a step costs".
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .filters import Filter
from .statistics import AllSum, GradientTap, RealSide, rows, signal_targets, single

Statistics = dict[str, tuple[Tensor, Tensor]]  # layer → FFC (d, d), FLC (d, k)


@dataclass(frozen=True)
class Match:
    """What a layer stack contributes to a step.

    Attributes:
        terms: weighted sums of the filter and of the signal distances (2,).
        pushes: layer → a function that adds the derivative, times a factor, to the rows (B·H·W, d) of a gradient.
        d_targets: derivative in the targets (B, k); None if nobody asks.
    """

    terms: Tensor
    pushes: dict[str, Callable[[Tensor, float], None]]
    d_targets: Tensor | None


@dataclass(frozen=True)
class LayerStack:
    """Layers of one width under one filter, batched: their real side, and what the moving update carries over.

    Attributes:
        layers: their names.
        filter: the filter of all of them.
        real: f(Ψ) (L, d, d) and f(Ψ)Φ (L, d, k).
        weights: of the filter and the signal distance (L, 2).
        centre: whether features are centred before they are multiplied.
        blend: 1/b, the weight of this batch in the moving update; 1 in the first batch, or without one.
        carried: (1 − 1/b) Ψ_{b−1} (L, d, d) and the same of Φ (L, d, k).
    """

    layers: tuple[str, ...]
    filter: Filter
    real: tuple[Tensor, Tensor]
    weights: Tensor
    centre: bool
    blend: float
    carried: tuple[Tensor, Tensor]

    def match(self, tap: dict[str, Tensor], targets: Tensor, eta: float, images: int, all_sum: AllSum | None) -> Match:
        """Compare the features' statistics with the real side: distances, and their derivatives times η.

        Args:
            tap: layer → features (B, d, H, W), off the graph.
            targets: (B, k).
            images: of all processes together.
        """
        features, y = [rows(single(tap[layer])) for layer in self.layers], single(targets.detach())
        if self.filter.has_row_form and all_sum is None and all(map(_few_rows, features)):
            return self._match_rows(features, y, eta * self.weights, targets.requires_grad)
        ffc, flc, sums, means = self.synthetic(features, y, images, all_sum)
        distances, d_ffc, d_flc = self.filter.distances(ffc, flc, self.real, eta * self.weights)
        pushes = {}
        for i, (layer, x) in enumerate(zip(self.layers, features, strict=True)):
            scale = self.blend / (images * (len(x) // len(y)))
            matrix, signal = d_ffc[i].mul_(2 * scale), d_flc[i].mul_(scale)
            pushes[layer] = _push_product(x, matrix, y @ signal.T - means[i] @ matrix)
        d_targets = _sum(map(torch.matmul, sums, d_flc)) if targets.requires_grad else None
        return Match((distances * self.weights).sum(0), pushes, d_targets)

    def synthetic(
        self, features: Sequence[Tensor], y: Tensor, images: int, all_sum: AllSum | None
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Return Ψ_s (L, d, d) and Φ_s (L, d, k) after the moving update, and each layer's sums and means.

        A layer's sums are over the positions of each image (B, d), its mean over all of them (d,).
        """
        ffc, flc = torch.empty_like(self.carried[0]), torch.empty_like(self.carried[1])
        sums, means = [], []
        for i, x in enumerate(features):
            count = images * (len(x) // len(y))
            of_image = x.view(len(y), -1, x.shape[1]).sum(1)
            mean = of_image.sum(0)
            mean = (all_sum(mean) if all_sum else mean).div_(count)
            z = x - mean if self.centre else x
            parts = (z.T, z), (of_image.T, y)
            for carried, out, (left, right) in zip(self.carried, (ffc[i], flc[i]), parts, strict=True):
                if all_sum:
                    torch.add(carried[i], all_sum(left @ right), alpha=self.blend / count, out=out)
                else:
                    torch.addmm(carried[i], left, right, alpha=self.blend / count, out=out)
            if not self.centre:
                ffc[i].addr_(mean, mean, alpha=-self.blend)
            sums.append(of_image)
            means.append(mean)
        return ffc, flc, sums, means

    def _match_rows(self, features: list[Tensor], y: Tensor, rates: Tensor, want_targets: bool) -> Match:
        """Do what `match` does, layer by layer, by the form for few rows."""
        distances, pushes, d_targets = [], {}, []
        for i, (layer, x) in enumerate(zip(self.layers, features, strict=True)):
            scale = self.blend / len(x)
            of_image = x.view(len(y), -1, x.shape[1]).sum(1)
            flc = torch.addmm(self.carried[1][i], of_image.T, y, alpha=scale)
            z = (x - x.mean(0)).mul_(math.sqrt(scale))
            inverse, gap = (side[i] for side in self._inverse)
            found, d_z, d_flc = self.filter.row_distances(
                z, flc, (inverse, gap), self.blend == 1, self.real[1][i], rates[i]
            )
            distances.append(found)
            pushes[layer] = _push_rows(d_z.mul_(math.sqrt(scale)), y @ d_flc.mul_(scale).T)
            if want_targets:
                d_targets.append(of_image @ d_flc)
        terms = (torch.stack(distances) * self.weights).sum(0)
        return Match(terms, pushes, _sum(d_targets) if want_targets else None)

    @cached_property
    def _inverse(self) -> tuple[Tensor, Tensor]:
        """K = f((1 − 1/b) Ψ_{b−1}) (L, d, d), worked out in float64 once a batch, and f(Ψ) − K."""
        inverse = self.filter.matrix(self.carried[0].double()).to(self.real[0].dtype)
        return inverse, self.real[0] - inverse


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    """Add tensors up, in order."""
    return reduce(torch.add, tensors)


def _few_rows(x: Tensor) -> bool:
    """Return whether the row form is the cheaper for rows (n, d): 8 nd² operations against 4 nd² + 5 d³."""
    return 2 * len(x) <= x.shape[1]


def _push_product(x: Tensor, matrix: Tensor, offset: Tensor) -> Callable[[Tensor, float], None]:
    def add(gradient: Tensor, factor: float) -> None:
        if gradient.dtype == x.dtype:
            gradient.addmm_(x, matrix, alpha=factor)
        else:
            gradient.add_(x @ matrix, alpha=factor)
        gradient.view(len(offset), -1, x.shape[1]).add_(offset.unsqueeze(1), alpha=factor)

    return add


def _push_rows(d_rows: Tensor, offset: Tensor) -> Callable[[Tensor, float], None]:
    def add(gradient: Tensor, factor: float) -> None:
        gradient.add_(d_rows, alpha=factor)
        gradient.view(len(offset), -1, d_rows.shape[1]).add_(offset.unsqueeze(1), alpha=factor)

    return add


@dataclass(frozen=True)
class Matching:
    """What the steps of one batch of images share: the layer stacks, and how to correlate.

    Args:
        signal: see `unidd.core.statistics.signal_targets`.
        all_sum: sums a tensor over all processes that hold a slot of the batch; None: this one holds all of it.
    """

    stacks: tuple[LayerStack, ...] = ()
    signal: str = "mean"
    all_sum: AllSum | None = None

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
        all_sum: AllSum | None = None,
    ) -> "Matching":
        """Work out the layer stacks of a batch in float64, and keep them as `dtype`.

        Args:
            real: by layer.
            filters: by layer.
            normalised: divide each term by the size of its real side, see `RealSide.sizes`.
            previous: synthetic statistics after the batch before; None without a moving update.
            count: number b of this batch in the moving update, from 1.
        """
        filters = {layer: side.resolved(filters[layer], dtype) for layer, side in real.items()}

        kinds: dict[tuple, list[str]] = {}  # in the order of the layers, which all processes share
        for layer, side in real.items():
            kind = len(side.flc), repr(filters[layer]), side.far(filters[layer], dtype)
            kinds.setdefault(kind, []).append(layer)
        blend = 1 / count if previous else 1.0
        stacks = []
        for (_, _, centre), layers in kinds.items():
            sides = _stacked((real[layer].filtered(filters[layer]) for layer in layers), dtype)
            sizes = [real[layer].sizes(filters[layer]) if normalised else (1.0, 1.0) for layer in layers]
            carried = torch.zeros_like(sides[0]), torch.zeros_like(sides[1])
            if previous:
                ffc, flc = _stacked((previous[layer] for layer in layers), dtype)
                carried = ffc * (1 - blend), flc * (1 - blend)
            weights = 1 / sides[0].new_tensor(sizes)
            stacks.append(LayerStack(tuple(layers), filters[layers[0]], sides, weights, centre, blend, carried))
        return Matching(tuple(stacks), signal, all_sum)

    @property
    def layers(self) -> list[str]:
        return [layer for stack in self.stacks for layer in stack.layers]

    @torch.no_grad()
    def statistics(self, loss: "Loss") -> Statistics:
        """Return the synthetic (FFC, FLC) of each layer after the moving update, for the next batch's `previous`."""
        found = {}
        for stack in self.stacks:
            features = [rows(single(loss.tap.features[layer])) for layer in stack.layers]
            ffc, flc, *_ = stack.synthetic(features, single(loss.targets), loss.images, self.all_sum)
            found |= dict(zip(stack.layers, zip(ffc, flc, strict=True), strict=True))
        return found


def _stacked(pairs, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Stack the first and the second tensors of pairs."""
    first, second = zip(*pairs, strict=True)
    return torch.stack(first).to(dtype), torch.stack(second).to(dtype)


@dataclass(frozen=True)
class Loss:
    """Scalars of one step, and what its gradient comes from.

    Attributes:
        classification, filter, signal: the terms; the loss is classification + η (filter + signal).
        images: of all processes together.
    """

    classification: Tensor
    filter: Tensor
    signal: Tensor
    eta: float
    images: int
    targets: Tensor
    tap: GradientTap
    matches: list[Match] = field(default_factory=list)

    @property
    def value(self) -> Tensor:
        return (self.classification + self.eta * (self.filter + self.signal)).detach()

    @property
    def d_targets(self) -> Tensor:
        """The derivative of the matching terms, times η, in the targets (B, k), which ask for a gradient."""
        return _sum(match.d_targets for match in self.matches if match.d_targets is not None)

    def gradient(self, x: Tensor, factor: float = 1.0) -> Tensor:
        """Return the derivative in `x`, which the images came from; may be asked once.

        Args:
            factor: of the loss on its way back, undone in the result: keeps float16 gradients off zero.
        """
        for match in self.matches:
            for layer, push in match.pushes.items():
                self.tap.pushes[layer] = lambda gradient, push=push: push(gradient, factor)
        roots, gradients = [self.classification], [torch.full_like(self.classification, factor)]
        if self.matches and self.targets.grad_fn is not None:
            roots.append(self.targets)
            gradients.append((self.d_targets * factor).to(self.targets.dtype))
        (gradient,) = torch.autograd.grad(roots, x, gradients)
        return gradient / factor if factor != 1 else gradient


def step_loss(
    teacher: nn.Module,
    images: Tensor,
    labels: Tensor,
    matching: Matching,
    eta: float,
    *,
    batch: int | None = None,
    half: torch.dtype | None = None,
) -> Loss:
    """Work out the loss of one step; `Loss.gradient` gives its derivative.

    Args:
        teacher: in eval mode, frozen.
        images: augmented network input (B, C, H, W).
        labels: (B,); or soft ones (B, c), from which no gradient of the cross-entropy comes.
        matching: what is matched; an empty one is classification only.
        eta: weight η of the matching terms.
        batch: images of all processes together; None: B.
        half: torch.bfloat16 or torch.float16 runs the network under autocast; correlations and filters stay float32.
    """
    batch = batch or len(labels)
    autocast = torch.autocast(images.device.type, half, enabled=half is not None)
    with GradientTap(teacher, matching.layers) as tap, autocast:
        logits = single(teacher(images))
    classification = F.cross_entropy(logits, labels.detach(), reduction="sum") / batch
    targets = signal_targets(matching.signal, labels, logits)
    with torch.no_grad():
        matches = [stack.match(tap.features, targets, eta, batch, matching.all_sum) for stack in matching.stacks]
    terms = sum((match.terms for match in matches), start=logits.new_zeros(2))
    filter, signal = terms.detach()
    return Loss(classification, filter, signal, eta, batch, targets, tap, matches)
