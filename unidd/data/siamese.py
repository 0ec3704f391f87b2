"""Augment real and synthetic images alike: the differentiable Siamese augmentation of DSA, which DM takes over.

A draw is a function that may be applied to several batches, which then see the same operation with the same parameters.
It acts on the network's input (normalised pixels), where 0 is the mean colour.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

STRATEGY = "color_crop_cutout_flip_scale_rotate"
DIGITS = "color_crop_cutout_scale_rotate"  # a mirrored digit is none

Draw = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Siamese:
    """The operations of a strategy, of which each draw takes one.

    Args:
        strategy: names of operations, joined by underscores; "none" leaves images as they are. Digits leave out "flip".
    Raises:
        ValueError: there is no such operation.
    Source: Zhao & Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021.
    """

    strategy: str = STRATEGY

    def __post_init__(self):
        if unknown := [name for name in self.names if name not in OPERATIONS]:
            raise ValueError(f"strategy has no operation {unknown[0]!r}: join some of {', '.join(OPERATIONS)} by '_'")

    @property
    def names(self) -> list[str]:
        return [] if self.strategy == "none" else self.strategy.split("_")

    def draw(self, generator: Generator, images: int = 1) -> Draw:
        """Draw an operation and its parameters, and return the function that applies them to a batch (n, C, H, W).

        Args:
            images: sets of parameters; 1 gives all images of every batch the same, n each image of a batch its own.
        """
        if not self.names:
            return lambda x: x
        name = self.names[int(torch.randint(len(self.names), (), generator=generator))]
        numbers = torch.rand(3, images, generator=generator)
        return lambda x: OPERATIONS[name](x, numbers.to(x.device, x.dtype))


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _flip(x: Tensor, u: Tensor) -> Tensor:
    return torch.where(_column(u[0] < 0.5), x.flip(-1), x)


def _affine(x: Tensor, theta: Tensor) -> Tensor:
    grid = F.affine_grid(theta.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _scale(x: Tensor, u: Tensor) -> Tensor:
    """Each axis by a factor from 1/1.2 to 1.2."""
    low, high = 1 / 1.2, 1.2
    theta = torch.zeros(u.shape[1], 2, 3).to(u)
    theta[:, 0, 0], theta[:, 1, 1] = low + (high - low) * u[0], low + (high - low) * u[1]
    return _affine(x, theta)


def _rotate(x: Tensor, u: Tensor) -> Tensor:
    """By up to 15 degrees to either side."""
    angle = (2 * u[0] - 1) * math.radians(15)
    theta = torch.zeros(u.shape[1], 2, 3).to(u)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos(), -angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin(), angle.cos()
    return _affine(x, theta)


def _crop(x: Tensor, u: Tensor) -> Tensor:
    """Shift by up to an eighth of the side, to the nearest pixel, along each axis; what comes in is 0."""
    h, w = x.shape[-2:]
    most = [(n + 4) // 8 for n in (h, w)]
    down, right = ((u[i] * (2 * n + 1)).long() - n for i, n in enumerate(most))
    rows, columns = torch.arange(h).to(u.device) + down[:, None], torch.arange(w).to(u.device) + right[:, None]
    inside = ((rows >= 0) & (rows < h))[:, None, :, None] & ((columns >= 0) & (columns < w))[:, None, None, :]
    rows, columns = (place.clamp(0, n - 1).expand(len(x), n) for place, n in ((rows, h), (columns, w)))
    shifted = x[torch.arange(len(x), device=x.device)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return shifted.movedim(-1, 1) * inside


def _cutout(x: Tensor, u: Tensor) -> Tensor:
    """A square of half the side is 0; its centre may be anywhere, so that at the border less is cut."""
    h, w = x.shape[-2:]
    inside = []
    for i, n in enumerate((h, w)):
        centre, half = (u[i] * n).long(), n // 4
        place = torch.arange(n).to(u.device)
        inside.append((place >= centre[:, None] - half) & (place < centre[:, None] + half))
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


def _color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness by up to ½, then saturation to up to twice, then contrast from ½ to 1½."""
    x = x + _column(u[0] - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * _column(2 * u[1]) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * _column(u[2] + 0.5) + mean


OPERATIONS = {"color": _color, "crop": _crop, "cutout": _cutout, "flip": _flip, "scale": _scale, "rotate": _rotate}
