"""Ten digits distilled for a linear learner: the running example of the book, in PyTorch.

The first page computes the same in JavaScript (`explorers/distilling.js`), step for step; a test compares the two.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..core.filters import AllPass, Filter, Landweber, Linear, Ridge
from ..core.objectives import Side
from ..core.spectra import spectrum
from ..data.datasets import ImageData, Split
from ..methods.head import coded_weights, random_weights

FEATURES, FILTERS, WIDTH = ("pixels", "relu"), ("allpass", "linear", "ridge", "krr", "landweber"), 256
PARTS = ("images", "labels")


def packed(data: ImageData) -> dict:
    """Return the images as a page holds them: a byte a pixel in steps of 1/16, labels as digits, training first."""
    images, labels = (torch.cat([getattr(split, part) for split in (data.train, data.test)]) for part in PARTS)
    coded = {"pixels": (images.double() / 255 * 16).round().byte(), "weights": coded_weights(64, WIDTH)}
    coded = {name: base64.b64encode(values.numpy().tobytes()).decode() for name, values in coded.items()}
    labels = "".join(map(str, labels.tolist()))
    return {**coded, "labels": labels, "train": len(data.train), "classes": data.classes, "width": WIDTH}


def unpacked(state: dict) -> ImageData:
    """Return the images that `packed` holds."""
    pixels = torch.frombuffer(bytearray(base64.b64decode(state["pixels"])), dtype=torch.uint8)
    images = (pixels.double() / 16 * 255).round().to(torch.uint8).view(-1, 1, 8, 8)
    labels, n = torch.tensor([int(label) for label in state["labels"]]), state["train"]
    names = tuple(str(k) for k in range(state["classes"]))
    return ImageData("digits", Split(images[:n], labels[:n]), Split(images[n:], labels[n:]), names)


def packed_spectrum(digits: "Digits", most: int = 64) -> dict:
    """Return the largest eigenvalues of Ψ and their eigenvectors, one after another, as float32 in base64."""
    found = spectrum(digits.real.ffc)
    basis = found.basis[:, :most].T.contiguous().float()
    return {
        "eigenvalues": found.eigenvalues[:most].tolist(),
        "basis": base64.b64encode(basis.numpy().tobytes()).decode(),
    }


@dataclass(frozen=True)
class Digits:
    """Features of real images and what they weigh: all that a linear learner knows of the data.

    Args:
        data: images of one channel and 64 pixels.
        kind: "pixels", centred, or "relu": max(0, xW/8), W of `random_weights`, centred.
    """

    data: ImageData
    kind: str = "pixels"

    def features(self, x: Tensor) -> Tensor:
        """Return features (n, d) of pixels (n, 64) in [0, 1], less the mean of the training images'."""
        return self._raw(x) - self._mean

    def _raw(self, x: Tensor) -> Tensor:
        x = x - self.train.mean(0)
        return x if self.kind == "pixels" else torch.relu(x @ random_weights(64, WIDTH))

    @cached_property
    def _mean(self) -> Tensor:
        return self._raw(self.train).mean(0)

    @cached_property
    def train(self) -> Tensor:
        """Pixels (n, 64) of the training images."""
        return self.data.train.images.flatten(1).double() / 255

    @cached_property
    def test(self) -> Tensor:
        """Pixels (n, 64) of the test images."""
        return self.data.test.images.flatten(1).double() / 255

    @cached_property
    def real(self) -> Side:
        """FFC (d, d) and FLC (d, c) of all training images."""
        return Side.of(self.features(self.train), self.data.targets(self.data.train.labels))

    @cached_property
    def average(self) -> float:
        """The mean eigenvalue, in whose units β is told."""
        return float(self.real.ffc.diagonal().mean())

    @cached_property
    def largest(self) -> float:
        return float(torch.linalg.eigvalsh(self.real.ffc)[-1])

    def filter(self, name: str, beta: float = 0.1, steps: int = 20) -> Filter:
        """Return a filter by name; β in units of the mean eigenvalue, the rate of descent 1/λ_max; "krr" is ridge."""
        if name in ("ridge", "krr"):
            return Ridge(beta * self.average)
        if name == "landweber":
            return Landweber(1 / self.largest, steps)
        return {"allpass": AllPass(), "linear": Linear()}[name]

    def ridge_accuracy(self, x: Tensor, labels: Tensor, beta: float) -> float:
        """Return the test accuracy in % of the ridge head of images (m, 64), the learner they are made for."""
        side = Side.of(self.features(x), self.data.targets(labels))
        guess = (self.features(self.test) @ Ridge(beta * self.average).apply(*side)).argmax(1)
        return 100 * float((guess == self.data.test.labels).double().mean())

    def nearest_accuracy(self, x: Tensor, labels: Tensor) -> float:
        """Return the test accuracy in % of the nearest of the images (m, 64): a learner they are not made for."""
        guess = labels[torch.cdist(self.test, x).argmin(1)]
        return 100 * float((guess == self.data.test.labels).double().mean())

    def first(self, seed: int = 0) -> list[int]:
        """Return the numbers of one random training image of each class."""
        generator = torch.Generator().manual_seed(seed)
        of_class = ((self.data.train.labels == k).nonzero().flatten() for k in range(self.data.classes))
        return [int(numbers[torch.randint(len(numbers), (), generator=generator)]) for numbers in of_class]

    def distill(
        self, filter: Filter, start: list[int], steps: int = 300, krr: bool = False
    ) -> Iterator[tuple[Tensor, float]]:
        """Yield images (c, 64) and the loss they came from, a step of Adam each.

        The loss is the signal term, ‖f(Ψ)Φ − f(Ψ_s)Φ_s‖²/‖f(Ψ)Φ‖². With `krr`, KIP's and FRePo's, it is the squared
        error on all real images of the head W = f(Ψ_s)Φ_s, tr(WᵀΨW) − 2 tr(WᵀΦ), which needs no filter of the real.
        """
        x = self.train[start].clone().requires_grad_()
        (ffc, flc), targets = self.real, self.data.targets(torch.arange(self.data.classes))
        wanted = filter.apply(ffc, flc)
        adam = torch.optim.Adam([x], 0.02)
        for _ in range(steps):
            head = filter.apply(*Side.of(self.features(x), targets))
            if krr:
                loss = (head * (ffc @ head - 2 * flc)).sum()
            else:
                loss = (head - wanted).square().sum() / wanted.square().sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            with torch.no_grad():
                x.clamp_(0, 1)
            yield x.detach().clone(), loss.item()
