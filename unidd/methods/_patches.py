"""Real patches that a teacher finds easy: what RDED stores, and what FADRM starts from."""

from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..bars import progress_bar
from ..core.frozen import frozen, joined
from ..data.datasets import ImageData
from ..data.synthetic import choose
from ..engine.run import Run
from ..networks.models import real_batch
from ..networks.training import Teacher
from . import Method, Part, Whole

_AREA = (0.08, 1.0)  # of a crop: those of torchvision, which the released code leaves as they are


@dataclass(frozen=True)
class Patching(Method):
    """Takes, of each class, the square crops that the teacher finds easiest, and joins them to images.

    Args:
        factor: patches along a side of an image, factor² in all.
        mipc: real images of a class that crops are taken of, at most.
        num_crop: crops of each, of which the easiest stays.
    """

    factor: Whole = 1
    mipc: Whole = 300
    num_crop: Whole = 5

    def check(self, data: ImageData, run: Run) -> None:
        super().check(data, run)
        if run.start is not None:
            return  # no patches are asked for
        need, there = run.ipc * self.factor**2, int(torch.bincount(data.train.labels).min())
        if self.factor > data.size:
            raise ValueError(f"factor must be at most {data.size}, the side of the images, not {self.factor}")
        if need > self.mipc:
            raise ValueError(f"mipc must be at least {need}, the patches of a class at this ipc, not {self.mipc}")
        if need > there and data.small != "cap":
            raise ValueError(
                f"factor {self.factor} at ipc {run.ipc} takes {need} images of each class, one has {there}"
            )

    def parts(self, data: ImageData, teacher: Teacher, run: Run) -> tuple[Part, ...]:
        if run.start is not None:
            return ()
        counts = torch.bincount(data.train.labels).clamp(max=self.mipc)
        k, each = int(counts.argmax()), min(int(counts.max()), self._together(data))
        few = replace(self, mipc=each)
        trial = partial(few.easiest, data, teacher.model, k, each, Generator().manual_seed(run.seed))
        return (Part("patches", int(counts.sum()) * self.num_crop, "crops", trial, each * self.num_crop),)

    def mosaics(self, data: ImageData, teacher: Teacher, run: Run) -> tuple[Tensor, Tensor]:
        """Return images (n, C, H, W) in [0, 1] and labels (n,) on the CPU, in rounds; the seed decides the crops.

        A class with fewer images than patches are needed, which the data must allow, shows some of them again.
        """
        labels = data.train.labels[choose(data, run.ipc, run.seed)].cpu()
        images = torch.empty(len(labels), *data.train.images.shape[1:])
        generator, shown = Generator().manual_seed(run.seed), run.progress and run.ranks.first
        with frozen(teacher.model), progress_bar(data.classes, "patches", shown=shown, leave=False) as bar:
            for k in range(data.classes):
                own = (labels == k).nonzero().flatten()
                found = self.easiest(data, teacher.model, k, len(own) * self.factor**2, generator)
                ranks = torch.arange(len(own) * self.factor**2).view(-1, len(own)) % len(found)
                images[own] = mosaic(found[ranks], data.size)
                bar.update()
        return images, labels

    @torch.no_grad()
    def easiest(self, data: ImageData, network: nn.Module, k: int, count: int, generator: Generator) -> Tensor:
        """Return at most `count` patches (m, C, s, s) of class k on the CPU, each of another image, easiest first."""
        numbers = (data.train.labels == k).nonzero().flatten().cpu()
        numbers = numbers[torch.randperm(len(numbers), generator=generator)[: self.mipc]].to(data.device)
        drawn = torch.rand(3, len(numbers), self.num_crop, generator=generator, dtype=torch.float64)
        together = self._together(data)  # no matter for what is drawn

        def best(part: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
            pixels = data.train.take(part).images.float() / 255
            crops = square_crops(pixels, places, data.size // self.factor)
            found = difficulty(network, data, crops.flatten(0, 1), k).view(len(part), -1)
            least = found.argmin(1)
            rows = torch.arange(len(part), device=least.device)
            return crops[rows, least].cpu(), found[rows, least].cpu()

        patches, losses = joined(map(best, numbers.split(together), drawn.split(together, 1)), len(numbers))
        return patches[losses.argsort(stable=True)[:count]]

    def _together(self, data: ImageData) -> int:
        """Return of how many images the network sees the crops together."""
        return max(1, real_batch(data.size, data.device) // self.num_crop)


def square_crops(images: Tensor, drawn: Tensor, side: int) -> Tensor:
    """Cut random squares out of images (n, C, S, S), and scale each to `side`: (n, count, C, side, side).

    Args:
        drawn: numbers from 0 to 1 (3, n, count): what decides area, top and left.
    """
    size, (n, count) = images.shape[-1], drawn.shape[1:]
    low, high = _AREA
    areas, *corners = drawn
    lengths = ((low + (high - low) * areas).sqrt() * size).round().clamp(min=1)
    boxes = torch.stack([lengths, *((size - lengths + 1) * corner for corner in corners)], -1).long().tolist()
    found = [
        F.interpolate(image[None, :, top : top + s, left : left + s], (side, side), mode="bilinear", antialias=True)
        for image, crops in zip(images, boxes, strict=True)
        for s, top, left in crops
    ]
    return torch.cat(found).clamp(0, 1).view(n, count, -1, side, side)


def difficulty(network: nn.Module, data: ImageData, patches: Tensor, k: int) -> Tensor:
    """Return the cross-entropy of patches (n, C, s, s) of class k, in the middle of zeros at full size: (n,)."""
    before, after = (data.size - patches.shape[-1]) // 2, (data.size - patches.shape[-1] + 1) // 2
    logits = network(F.pad(data.normalise(patches), [before, after] * 2))
    return F.cross_entropy(logits, torch.full((len(patches),), k, device=logits.device), reduction="none")


def mosaic(patches: Tensor, size: int) -> Tensor:
    """Join patches (f², n, C, s, s), row by row, to images (n, C, size, size).

    Where f does not divide the size, the first rows and columns are a pixel larger, to the nearest neighbour.
    """
    f = round(len(patches) ** 0.5)
    lengths = [size // f + (i < size % f) for i in range(f)]
    rows = [
        torch.cat([F.interpolate(patches[i * f + j], (high, wide)) for j, wide in enumerate(lengths)], -1)
        for i, high in enumerate(lengths)
    ]
    return torch.cat(rows, -2)
