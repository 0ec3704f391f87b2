"""Small things that many tests need: random numbers, a network, a data set and a teacher that are quick."""

import copy
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from unidd.data.datasets import ImageData, Split
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.run import Run
from unidd.methods import Method, Role, found
from unidd.networks.training import Teacher

CLASSES, SIZE = 4, 8


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of a seed, whatever the global generator does."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers in [0, 1) of a seed."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@functools.cache
def network() -> nn.Sequential:
    """Three convolutions, whose inputs are the image; six channels, of which one is always 0 and one always ½; and
    more channels than a batch has positions. In eval mode, frozen, float64.
    """
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 20, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(20, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(32, CLASSES),
        ).double()
        for parameter in net.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        net[1].running_mean = 0.1 * torch.randn(6, dtype=torch.float64)
        net[1].running_var = 0.5 + torch.rand(6, dtype=torch.float64)
    net[1].weight.data[[1, 2]] = 0.0
    net[1].bias.data[1], net[1].bias.data[2] = -1.0, 0.5
    return net.eval().requires_grad_(False)


@functools.cache
def data() -> ImageData:
    """Five images of each of four classes, all different, with a channel's mean and deviation of its own."""
    generator = torch.Generator().manual_seed(5)
    low = torch.tensor([0, 40, 90]).view(3, 1, 1)
    images = low + torch.randint(0, 160, (5 * CLASSES, 3, SIZE, SIZE), generator=generator)
    split = Split(images.to(torch.uint8), torch.arange(5 * CLASSES) % CLASSES)
    return ImageData("toy", split, split, ("ant", "bee", "cat", "dog"))


def teacher() -> Teacher:
    """A teacher of `data` in float32, frozen whatever other tests did; nothing else holds its network."""
    return Teacher(copy.deepcopy(network()).float().eval().requires_grad_(False), 50.0, "0123456789abcdef")


class Interrupted(Checkpoint):
    """Breaks off after so many states."""

    def __init__(self, folder: Path, after: int):
        super().__init__(folder)
        self.left = after

    def save(self, state: dict) -> None:
        super().save(state)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Chosen(Method):
    """Random real images, in the place of the baseline where a test is not about it."""

    source: ClassVar[str] = "a test"
    acts_as: ClassVar[str] = "none"
    role: ClassVar[Role] = "baseline"
    needs_teacher: ClassVar[bool] = False

    def distill(self, data: ImageData, teacher: Teacher, run: Run) -> SyntheticSet:
        return SyntheticSet.from_real(data, run.ipc, run.seed, self.config(data, run))


@dataclass(frozen=True)
class Whole(Method):
    """All real images, in the place of the ceiling."""

    source: ClassVar[str] = "a test"
    acts_as: ClassVar[str] = "none"
    role: ClassVar[Role] = "ceiling"
    has_ipc: ClassVar[bool] = False
    needs_teacher: ClassVar[bool] = False

    def distill(self, data: ImageData, teacher: Teacher, run: Run) -> SyntheticSet:
        images, about = data.train.images.float() / 255, (data.class_names, data.mean, data.std)
        return SyntheticSet(images, data.train.labels, *about, self.config(data, run))


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip a test of certain methods where their files are gone: any but cfm may be deleted."""
    gone = set(names) - {cls.path() for cls in found()}
    return pytest.mark.skipif(bool(gone), reason=f"no {', '.join(gone)}")
