"""Feature–feature (FFC, Ψ) and feature–label (FLC, Φ) correlations of a network's layers.

A convolutional feature map (B, C, H, W) gives one row of C features for every position of every image; tokens (B, n, d)
give one of d features for every token, and plain features (B, d) one for every image. `Moments` accumulate in float64,
merge in any order, and so stream over data of any size; `FeatureTap` is the only place where the package hooks into a
network.

Source: UniDD (arXiv 2503.01212), §2 and §4; the chapter "Correlation matrices and their spectrum".
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..files import tensors_hash
from .filters import Filter
from .frozen import frozen

SIGNALS = ("mean", "class", "mix")
AllSum = Callable[[Tensor], Tensor]  # sums a tensor over processes, in place
_SHOWS = 1e-5  # relative error that rounding may leave
_MAPS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)  # channels are the second axis


def rows(features: Tensor) -> Tensor:
    """Return features (B, C, H, W) or (B, C, n) as rows (B·H·W, C), (B·n, C); (B, C) stays as it is."""
    return features.movedim(1, -1).reshape(-1, features.shape[1])


def covariance(x: Tensor) -> Tensor:
    """Return the FFC Ψ of rows (n, d), centred first: their covariance, divided by n, (d, d)."""
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)


def flc(x: Tensor, targets: Tensor) -> Tensor:
    """Return the FLC Φ = Xᵀ Y / n of rows (n, d) and targets (n, k), not centred: (d, k)."""
    return x.T @ targets / len(x)


def signal_targets(kind: str, labels: Tensor, logits: Tensor) -> Tensor:
    """Return what the FLC correlates features with, one row an image.

    Args:
        kind: "mean": ones (B, 1), so Φ is the channel mean, the default of the released code; "class": one-hot labels
            (B, c), or soft ones as they are; "mix": the teacher's softmax (B, c).
        labels: (B,), or soft ones (B, c).
        logits: the teacher's, (B, c).
    Raises:
        ValueError: unknown kind.
    """
    if kind == "mean":
        return logits.new_ones(len(labels), 1)
    if kind == "class" and labels.is_floating_point():
        return labels
    if kind == "class":
        return F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    if kind == "mix":
        return logits.softmax(1)
    raise ValueError(f"unknown signal {kind!r}: choose one of {', '.join(SIGNALS)}")


def correlations(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the FFC (d, d) and FLC (d, k) of a batch of features (B, C, H, W) and targets (B, k), differentiable."""
    x = rows(features)
    return covariance(x), flc(x, per_position(targets, features))


def single(x: Tensor) -> Tensor:
    """Return half precision as float32, and other types as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def per_position(targets: Tensor, features: Tensor) -> Tensor:
    """Repeat each image's target row for every position of its feature map: (B·H·W, k)."""
    return targets.repeat_interleave(features[0, 0].numel(), 0)


def emu(previous: Tensor | None, current: Tensor, b: int) -> Tensor:
    """Return the moving update Ψ_b = (1 − 1/b) Ψ_{b−1} + (1/b) Ψ(batch b), b counted from 1, a cumulative mean.

    Gradient flows through the current batch only.
    """
    return current if previous is None or b == 1 else (1 - 1 / b) * previous.detach() + current / b


@dataclass(frozen=True)
class Moments:
    """Count, mean, scatter and feature–target sums of rows seen so far, in float64; merging is order-free.

    Attributes:
        count: rows n.
        mean: (d,).
        scatter: Σ (x − mean)(x − mean)ᵀ, (d, d).
        cross: Σ x yᵀ, (d, k).
    Source: Chan, Golub & LeVeque (1983) for the merge, which does not cancel where sums of squares do.
    """

    count: int
    mean: Tensor
    scatter: Tensor
    cross: Tensor

    @staticmethod
    def of(features: Tensor, targets: Tensor) -> "Moments":
        """Take the moments of one batch of features (B, C, H, W) or (B, C) and targets (B, k)."""
        x, y = rows(features), targets
        if x.device.type == "mps":  # has no float64
            x, y = x.cpu(), y.cpu()
        x, y = x.double(), y.double()
        mean = x.mean(0)
        of_image = x.view(len(y), -1, x.shape[1]).sum(1)  # no row of 1,000 classes for every position
        centred = x - mean
        return Moments(len(x), mean, centred.T @ centred, of_image.T @ y)

    def merge(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + torch.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), scatter, self.cross + other.cross)

    def to(self, device: str | torch.device) -> "Moments":
        return Moments(self.count, self.mean.to(device), self.scatter.to(device), self.cross.to(device))

    @property
    def ffc(self) -> Tensor:
        return self.scatter / self.count

    @property
    def flc(self) -> Tensor:
        return self.cross / self.count


@dataclass(frozen=True)
class RealSide:
    """One layer's real FFC Ψ = U diag(λ) Uᵀ and FLC Φ, in float64.

    Attributes:
        eigenvalues: λ (d,), ascending, rounding below 0 removed.
        basis: U (d, d).
        flc: Φ (d, k).
        offset: ‖μ‖², the squared length of the mean feature.
    """

    eigenvalues: Tensor
    basis: Tensor
    flc: Tensor
    offset: float = math.inf

    @staticmethod
    def of(moments: Moments) -> "RealSide":
        eigenvalues, basis = torch.linalg.eigh(moments.ffc)
        return RealSide(eigenvalues.clamp_min(0), basis, moments.flc, float(moments.mean.square().sum()))

    def filtered(self, filter: Filter) -> tuple[Tensor, Tensor]:
        """Return f(Ψ) (d, d) and f(Ψ)Φ (d, k), without a solve."""
        matrix = (self.basis * filter.response(self.eigenvalues)) @ self.basis.mT
        return matrix, matrix @ self.flc

    def sizes(self, filter: Filter) -> tuple[float, float]:
        """Return ‖f(Ψ)‖_F, and the size of a filtered feature, √(‖f(Ψ)Φ‖² + tr f(Ψ)Ψf(Ψ)).

        The second is not ‖f(Ψ)Φ‖ alone, since Φ may be 0.
        """
        response = filter.response(self.eigenvalues)
        spread = (response.square() * self.eigenvalues).sum()
        return float(response.norm()), float((self.filtered(filter)[1].square().sum() + spread).sqrt())

    def resolved(self, filter: Filter, dtype: torch.dtype) -> Filter:
        """Return the filter as `dtype` can resolve it beside λ_max, the same for both sides."""
        return filter.resolved(float(self.eigenvalues[-1]), dtype)

    def far(self, filter: Filter, dtype: torch.dtype) -> bool:
        """Return whether rounding of ‖μ‖² in Ψ = XᵀX/n − μμᵀ would show through the filter."""
        return torch.finfo(dtype).eps * self.offset > _SHOWS * filter.scale(float(self.eigenvalues[-1]))


def features_last(module: nn.Module, features: Tensor) -> bool:
    """Return whether a layer's input has its features in the last axis, as tokens (B, n, d) and linear layers have.

    Else they are the second axis, as in a feature map (B, C, H, W).
    """
    if features.ndim < 3 or isinstance(module, _MAPS):
        return False
    return features.ndim == 3 or isinstance(module, nn.Linear) or type(module) is nn.LayerNorm


class FeatureTap:
    """Collects the *inputs* of named layers during a forward pass; hooks are gone when the context ends.

    Features stand in the second axis, also those of tokens: (B, C, H, W), (B, d, n) or (B, d).

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    >>> with FeatureTap(net, ["1"]) as tap:
    ...     out = net(torch.zeros(1, 3, 8, 8))
    >>> tap.features["1"].shape
    torch.Size([1, 4, 6, 6])
    """

    def __init__(self, model: nn.Module, layers: list[str]):
        known = dict(model.named_modules())
        missing = [name for name in layers if name not in known]
        if missing:
            raise ValueError(f"the model has no layer {', '.join(missing)}")
        self.features: dict[str, Tensor] = {}
        self._modules = {name: known[name] for name in layers}

    def __enter__(self) -> Self:
        self._handles = [
            module.register_forward_pre_hook(partial(self._hook, name)) for name, module in self._modules.items()
        ]
        return self

    def _hook(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...]):
        return self._collect(name, module, inputs)

    def _collect(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...]):
        self.features[name] = inputs[0].movedim(-1, 1) if features_last(module, inputs[0]) else inputs[0]

    def __exit__(self, *_) -> None:
        for handle in self._handles:
            handle.remove()


class GradientTap(FeatureTap):
    """Collects features, and on the way back adds to their gradients what was worked out in between.

    `features` are cut off the graph. The backward pass calls the function in `pushes` of a layer with the rows
    (B·H·W, C) of the layer's gradient, and the function changes them in place. That is safe, because the gradient of
    the input of a convolution or a linear layer is new memory that nothing else reads; that of others is copied.
    """

    def __init__(self, model: nn.Module, layers: list[str]):
        super().__init__(model, layers)
        self.pushes: dict[str, Callable[[Tensor], None]] = {}

    def _collect(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...]):
        last = features_last(module, inputs[0])
        self.features[name] = inputs[0].detach().movedim(-1, 1) if last else inputs[0].detach()
        shared = not isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
        return _PassOn.apply(inputs[0], self.pushes, name, last, shared), *inputs[1:]


class _PassOn(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, features: Tensor, pushes: dict[str, Callable[[Tensor], None]], name: str, last: bool, shared: bool
    ) -> Tensor:
        ctx.pushes, ctx.name, ctx.last, ctx.shared = pushes, name, last, shared
        return features.view_as(features)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        if ctx.name in ctx.pushes:
            gradient = gradient.clone() if ctx.shared else gradient
            in_rows = rows(gradient.movedim(-1, 1) if ctx.last else gradient)
            ctx.pushes[ctx.name](in_rows)
            if in_rows.data_ptr() != gradient.data_ptr():  # the rows are a copy
                b, c, *places = gradient.shape
                gradient = in_rows.view_as(gradient) if ctx.last else in_rows.view(b, *places, c).movedim(-1, 1)
        return gradient, None, None, None, None


@torch.no_grad()
def real_statistics(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    layers: list[str],
    signal: str = "mean",
    *,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Moments]:
    """Take the moments of layers in one pass over the real data, which need not fit the memory.

    Args:
        model: the teacher; it is in eval mode meanwhile.
        batches: (images (B, C, H, W), labels (B,)), as any `DataLoader` gives them; moved to the teacher's device.
        layers: names of the layers whose inputs are measured.
        signal: see `signal_targets`.
        prepare: makes images the network's input, such as `ImageData.normalise`; None: they are.
    Raises:
        ValueError: there are no images.
    """
    statistics: dict[str, Moments] = {}
    device = next((p.device for p in model.parameters()), None)
    with frozen(model), FeatureTap(model, layers) as tap:
        for images, labels in batches:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            targets = signal_targets(signal, labels, model(prepare(images) if prepare else images))
            for name in layers:
                moments = Moments.of(tap.features.pop(name), targets)
                statistics[name] = statistics[name].merge(moments) if name in statistics else moments
    if not statistics and layers:
        raise ValueError("there are no real images to take statistics of")
    return statistics


def statistics_hash(statistics: dict[str, Moments]) -> str:
    """Return the sha256 over all moments, by layer."""
    tensors = {}
    for layer, m in statistics.items():
        parts = {"count": torch.tensor(m.count), "mean": m.mean, "scatter": m.scatter, "cross": m.cross}
        tensors |= {f"{layer}.{part}": tensor for part, tensor in parts.items()}
    return tensors_hash(tensors)
