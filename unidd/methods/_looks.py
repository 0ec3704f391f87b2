"""A pool of networks and views, through each of which all real images are looked at once."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from ..core.filters import Linear, Ridge
from ..core.frozen import joined
from ..data.datasets import ImageData
from ..data.siamese import STRATEGY, Draw, Siamese
from ..networks.models import ModelConfig, build, real_batch
from ..networks.training import Recipe, train
from . import Count, Positive, Whole
from ._descending import Descending
from ._drawing import last_map


@dataclass(frozen=True)
class Pooled(Descending):
    """Looks at real images through a pool of networks and views.

    Args:
        filter: f: "all-pass" 1, "linear" λ, or "ridge" 1/(λ + β).
        beta: β of ridge, in units of the mean eigenvalue of Ψ.
        pool: networks.
        views: of each network, Siamese operations whose parameters are all images' same.
        ages: epochs that the networks are trained, from 0 for the first up to this and again from 0; 0 trains none.
        strategy: operations of views and of that training, see `unidd.data.siamese`.
        net_width: channels of every layer of the ConvNets.
        norm: of the ConvNets.
    """

    filter: Literal["all-pass", "linear", "ridge"] = "all-pass"
    beta: Positive = 1.0
    pool: Whole = 50
    views: Whole = 4
    ages: Count = 0
    strategy: str = STRATEGY
    net_width: Whole = 128
    norm: Literal["instance", "none"] = "instance"

    def __post_init__(self):
        super().__post_init__()
        Siamese(self.strategy)


class Looked(NamedTuple):
    """A network and a view of it, and what a linear learner makes of all real images seen so.

    Attributes:
        mean: of the features (d,), float64, as are the others.
        beta: β of ridge, in the units of Ψ.
        wanted: f(Ψ)Φ (d, classes).
    """

    network: nn.Module
    view: Draw
    mean: Tensor
    beta: float
    wanted: Tensor


class Looks:
    """The networks and views of a pool; they follow from the seed."""

    def __init__(self, method: Pooled, data: ImageData, seed: int):
        self.method, self.data, self.seed = method, data, seed

    def all(self) -> list[Looked]:
        """Look at all real images through every network and view."""
        return [pair for i in range(self.method.pool) for pair in self.looked(i)]

    def looked(self, i: int) -> list[Looked]:
        """Return network i of the pool under each of its views."""
        generator = Generator().manual_seed(1000 * self.seed + i)
        network = self.network(i, generator)
        return [self.seen(network, Siamese(self.method.strategy).draw(generator)) for _ in range(self.method.views)]

    def network(self, i: int, generator: Generator) -> nn.Module:
        method, data = self.method, self.data
        config = ModelConfig(method.architecture, method.net_width, norm=method.norm)
        seed = int(torch.randint(2**31, (), generator=generator))
        network = build(config, data.channels, data.size, data.classes, seed).to(data.device)
        if age := i % (method.ages + 1):
            recipe = Recipe(age, 128, "sgd", lr=0.01, crop="none", strategy=method.strategy)
            train(network, data.train.images, data.train.labels, recipe, seed=seed, prepare=data.normalise)
        return network.requires_grad_(False).eval()

    @torch.no_grad()
    def plain(self) -> Tensor:
        """Return the features of all real images as they are, through the first network: (n, d)."""
        network = self.network(0, Generator().manual_seed(1000 * self.seed))
        parts = self.data.train.images.split(real_batch(self.data.size, self.data.device))
        return joined(((features(network, self.data.normalise(part)),) for part in parts), len(self.data.train))[0]

    @torch.no_grad()
    def seen(self, network: nn.Module, view: Draw) -> Looked:
        """Look at all real images through a network and a view."""
        targets, whole = self.data.targets(self.data.train.labels), self.method.filter != "all-pass"
        n, parts = len(targets), self.data.train.images.split(real_batch(self.data.size, self.data.device))
        flc = sums = square = targets.new_zeros(())
        for images, coded in zip(parts, targets.split(len(parts[0])), strict=True):
            x = features(network, view(self.data.normalise(images)))
            flc, sums = flc + x.T @ coded / n, sums + x.sum(0) / n
            square = square + x.T @ x / n if whole else square
        flc = flc - torch.outer(sums, targets.mean(0))
        if not whole:
            return Looked(network, view, sums, 0.0, flc)
        ffc = square - torch.outer(sums, sums)
        beta = self.method.beta * float(ffc.diagonal().mean())
        filter = Linear() if self.method.filter == "linear" else Ridge(beta)
        return Looked(network, view, sums, beta, filter.apply(ffc, flc))


def features(network: nn.Module, x: Tensor) -> Tensor:
    """Return the flattened last map of images (n, d), in float64."""
    return last_map(network, x.to(next(network.parameters()).dtype)).double()


def head(x: Tensor, targets: Tensor, filter: str, beta: float) -> Tensor:
    """Return f(Ψ)Φ (d, classes) of few rows x (n, d) and their targets (n, classes), with no d × d matrix.

    For ridge it is Xᵀ(XXᵀ + nβI)⁻¹Y, which equals (Ψ + βI)⁻¹Φ.
    """
    n = len(x)
    if filter == "all-pass":
        return x.T @ targets / n
    if filter == "linear":
        return x.T @ (x @ (x.T @ targets)) / n**2
    gram = x @ x.T + n * beta * torch.eye(n, dtype=x.dtype, device=x.device)
    return x.T @ torch.linalg.solve(gram, targets)
