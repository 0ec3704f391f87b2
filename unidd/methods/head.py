"""Head matching: few images from which a linear learner learns what all of them would tell it."""

import functools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from ..core.filters import AllPass, Filter, Linear, Ridge
from ..core.objectives import Side
from ..core.statistics import Moments, emu
from ..data.datasets import ImageData
from ..engine.descent import Batch, Descent, Objective, Step
from ..engine.run import Run
from ..networks.training import Teacher
from . import Count, Descending, Positive, Whole


@dataclass(frozen=True)
class Head(Descending):
    """Head matching: the FLC of fixed features behind a filter, which for ridge is the head of a linear learner.

    Its loss is ‖f(Ψ)Φ − f(Ψ_s)Φ_s‖²/‖f(Ψ)Φ‖². Features lack their mean over the real images, one-hot labels the share
    1/c. No network is trained; a round adds to the images of those before it.

    Args:
        features: "relu", random ReLU features max(0, xW) of the pixels x, or "pixels".
        width: how many ReLU features.
        filter: f: "ridge" 1/(λ + β), "linear" λ, or "all-pass" 1.
        beta: β of ridge, in units of the mean eigenvalue.
        steps: steps of a round; 0 leaves the random real images as they are.
        lr: rate of Adam, constant, in pixels from 0 to 1.
    Raises:
        ValueError: a value is out of range; the message names it.

    >>> from unidd import distill, load
    >>> distill(load("digits"), "head", steps=2, progress=False).images.shape
    torch.Size([10, 1, 8, 8])
    """

    features: Literal["relu", "pixels"] = "relu"
    width: Whole = 256
    filter: Literal["ridge", "linear", "all-pass"] = "ridge"
    beta: Positive = 1.0
    steps: Count = 300
    lr: Positive = 0.02

    source: ClassVar[str] = "Bo, Liu & Wang, Understanding Dataset Distillation via Spectral Filtering, ICLR 2026, §3"
    acts_as: ClassVar[str] = "1/(λ + β), high-pass, on the class signal of fixed features"
    needs_teacher: ClassVar[bool] = False
    parallel: ClassVar[bool] = False

    def descent(self, data: ImageData) -> Descent:
        rate = self.lr / (sum(data.std) / len(data.std))  # images descend normalised
        return Descent(self.steps, rate, torch.optim.Adam, lambda t, steps: 1.0, torch.float64)

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "HeadMatching":
        return HeadMatching(self, data)

    def of_spectrum(self, ffc: Tensor) -> Filter:
        """Return f for an FFC (d, d), from whose mean eigenvalue ridge takes its unit."""
        if self.filter == "ridge":
            return Ridge(self.beta * float(ffc.diagonal().mean()))
        return Linear() if self.filter == "linear" else AllPass()


def coded_weights(inputs: int, width: int) -> Tensor:
    """Return the weights of random ReLU features as a page can hold them: normal, in steps of 1/24, int8."""
    drawn = torch.randn(inputs, width, generator=Generator().manual_seed(0))
    return (24 * drawn).round().clamp(-127, 127).to(torch.int8)


def random_weights(inputs: int, width: int) -> Tensor:
    """Return the weights (inputs, width) of random ReLU features, always the same, over √inputs, in float64."""
    return coded_weights(inputs, width).double() / (24 * math.sqrt(inputs))


class HeadMatching(Objective):
    """The loss of `Head`, and what earlier rounds leave for later ones."""

    remedy: ClassVar[str] = "lower lr, or raise beta"

    def __init__(self, method: Head, data: ImageData):
        self.data, images = data, data.train.images
        sums = [part.double().sum(0) for part in images.split(500)]
        self.centre = torch.stack(sums).sum(0) / (255 * len(images))
        self.weights = random_weights(self.centre.numel(), method.width).to(data.device)
        self.random, self.mean = method.features == "relu", torch.zeros(1, dtype=torch.float64, device=data.device)
        # a pixel that is the same in all images says nothing as a feature: it stays as it is
        moves = ((part != images[:1]).any(0) for part in images.split(500))
        self.moves = functools.reduce(torch.logical_or, moves) | self.random
        parts = zip(images.split(500), data.train.labels.split(500), strict=True)
        first, *others = (Moments.of(self.features(part.double() / 255), data.targets(of)) for part, of in parts)
        for moments in others:
            first = first.merge(moments)
        share = data.targets(data.train.labels).mean(0)  # 0 where all classes are as large
        real = Side(first.ffc, first.flc - torch.outer(first.mean, share))
        self.mean, self.filter = first.mean, method.of_spectrum(real.ffc)
        self.wanted = self.filter.apply(*real)
        self.previous: tuple[Tensor | None, ...] = (None, None)

    def features(self, images: Tensor) -> Tensor:
        """Return features (n, d) of images (n, C, H, W) in [0, 1], less the real images' mean."""
        x = (images - self.centre).flatten(1)
        return (torch.relu(x @ self.weights) if self.random else x) - self.mean

    def begin(self, batch: Batch) -> None:
        self.batch = batch

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        own = Side.of(self.features(self.data.denormalise(x).double()), self.data.targets(self.batch.labels))
        pairs = zip(self.previous, own, strict=True)
        side = Side(*(emu(before, now, self.batch.number + 1) for before, now in pairs))
        loss = (self.filter.apply(*side) - self.wanted).square().sum() / self.wanted.square().sum()
        (gradient,) = torch.autograd.grad(loss, x)
        if t == self.batch.steps - 1:
            self.previous = tuple(part.detach() for part in side)
        return Step({"head": loss}, gradient * self.moves)

    def state(self) -> dict:
        return {"previous": self.previous}

    def restore(self, state: dict) -> None:
        self.previous = tuple(part if part is None else part.to(self.data.device) for part in state["previous"])
