"""What methods share that look at the data through ConvNets: DM, DC and DSA through ones drawn anew, MTT and TESLA."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from ..data.datasets import ImageData
from ..data.siamese import STRATEGY, Siamese
from ..engine.descent import Descent, Start
from ..engine.run import Run
from ..networks.models import ModelConfig, build
from . import Count, Positive, Whole
from ._descending import Descending

_SEEN = 16


@dataclass(frozen=True)
class Drawing(Descending):
    """Descends on all images at once, through ConvNets whose weights are drawn anew.

    Pixels stay valid, in every step; in the released code of all these methods they are free.

    Args:
        steps: updates of the images.
        lr: learning rate, of SGD with momentum ½, on normalised pixels; it stays constant.
        batch: real images of a class in a step.
        strategy: operations of the Siamese augmentation, see `unidd.data.siamese`; "none" leaves images as they are.
        net_width: channels of every layer of the ConvNets.
        norm: of the ConvNets, see `settle` for "batch".
    """

    steps: Count = 1000
    lr: Positive = 0.1
    batch: Whole = 256
    strategy: str = STRATEGY
    net_width: Whole = 128
    norm: Literal["instance", "batch", "none"] = "instance"

    needs_teacher: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        Siamese(self.strategy)

    def start(self, data: ImageData, run: Run) -> Start:
        return super().start(data, run).whole()

    def descent(self, data: ImageData) -> Descent:
        return Descent(self.steps, self.lr, optimizer=_sgd, schedule=_constant)

    def view(self, images: Tensor, generator: Generator, real: bool = False) -> Tensor:
        return Siamese(self.strategy).draw(generator)(images)

    def drawn(self, data: ImageData, generator: Generator) -> nn.Module:
        """Return a network with new weights, on the device of the data."""
        seed = int(torch.randint(2**31, (), generator=generator))
        config = ModelConfig(self.architecture, self.net_width, norm=self.norm)
        return build(config, data.channels, data.size, data.classes, seed).to(data.device)


class RealImages:
    """The training images by class, of which each step takes some of one class.

    Args:
        count: how many; a class with fewer gives all.
    """

    def __init__(self, data: ImageData, count: int):
        self.data, self.count = data, count
        order = data.train.labels.cpu().argsort(stable=True)
        self.numbers = order.split(torch.bincount(data.train.labels.cpu(), minlength=data.classes).tolist())

    def of(self, k: int, generator: Generator) -> Tensor:
        """Draw images of class k, normalised: (at most count, C, H, W)."""
        own = self.numbers[k]
        chosen = own[torch.randperm(len(own), generator=generator)[: self.count]]
        return self.data.normalise(self.data.train.images[chosen.to(self.data.train.images.device)])


def last_map(network: nn.Module, x: Tensor) -> Tensor:
    """Return the flattened output of a ConvNet's last block: (n, d)."""
    return network.get_submodule("features")(x).flatten(1)


@torch.no_grad()
def settle(network: nn.Module, real: RealImages, generator: Generator) -> None:
    """Let batch norms keep the statistics of at most 16 real images of each class; without any, do nothing.

    A class alone, let alone a process's part of it, is no batch to take statistics of. As in DC's code, but for its
    running average; DM's has all classes in one batch.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    seen = torch.cat([real.of(k, generator)[:_SEEN] for k in range(real.data.classes)])
    network(seen.to(next(network.parameters()).dtype))
    for norm in norms:
        norm.eval()


def _sgd(parameters, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr, momentum=0.5)


def _constant(t: int, steps: int) -> float:
    return 1.0
