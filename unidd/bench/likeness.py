"""How like real images are some images? Identical pixels and the nearest real image, in one pass over the real ones.

The pass goes by batches: no more than one of them is ever a float, however many real images there are.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bars import progress_bar
from ..core.statistics import FeatureTap
from ..data.datasets import ImageData
from ..engine.realside import real_batch

SIDE = 32  # pixels; larger images are compared as means over areas
SPACES = ("pixels", "features")


def digests(images: Tensor) -> list[bytes]:
    """Return a digest of the 8-bit pixels of each image, uint8 or float in [0, 1], (n, C, H, W)."""
    whole = images if images.dtype == torch.uint8 else (images * 255).round().clamp(0, 255).to(torch.uint8)
    return [hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in whole.cpu()]


def head(model: nn.Module) -> str | None:
    """Return the name of the last linear layer, whose input is the features images are compared by; None without."""
    return next((name for name, m in reversed(list(model.named_modules())) if isinstance(m, nn.Linear)), None)


@torch.no_grad()
def features(images: Tensor, data: ImageData, model: nn.Module) -> Tensor:
    """Return what a teacher makes of images (n, C, H, W), before its last linear layer or, without, at its end: (n, d).

    The images' pixels are uint8 or float in [0, 1]; more than a batch are taken one after another.
    """
    name, found = head(model), []
    with FeatureTap(model, [name] if name else []) as tap:
        for part in images.split(real_batch(images.shape[-1])):
            out = model(data.normalise(part.to(data.device)))
            found.append((tap.features[name] if name else out).flatten(1).float())
    return torch.cat(found)


def described(images: Tensor, data: ImageData, model: nn.Module | None = None) -> dict[str, Tensor]:
    """Return what images (n, C, H, W) are compared by: standardised pixels, and a teacher's features, rows each.

    Rows of pixels are divided by √d, so that their distance is the root mean square of a difference, in standard
    deviations of the data. Rows of features have length 1, and their distance is 1 − cos = ‖a − b‖²/2.
    """
    pixels = data.normalise(images.to(data.device))
    if images.shape[-1] > SIDE:
        pixels = F.adaptive_avg_pool2d(pixels, SIDE)
    pixels = pixels.flatten(1)
    found = {"pixels": pixels / pixels.shape[1] ** 0.5}
    if model is not None:
        found["features"] = F.normalize(features(images, data, model), dim=1)
    return found


class Nearest:
    """The nearest of the real images seen so far to each of some images.

    Attributes:
        squared: in each space, the squared distance to it, (n,).
        index: in each space, its number, (n,).
    """

    def __init__(self, rows: dict[str, Tensor]):
        self.rows = rows
        self.squared = {space: torch.full((len(x),), torch.inf, device=x.device) for space, x in rows.items()}
        self.index = {space: torch.zeros(len(x), dtype=torch.long, device=x.device) for space, x in rows.items()}

    def see(self, real: dict[str, Tensor], first: int) -> None:
        """Look at a batch of real images whose first has the number `first`."""
        for space, x in self.rows.items():
            y = real[space]
            squared = x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T
            found, where = squared.min(1)
            nearer = found < self.squared[space]
            self.squared[space] = torch.where(nearer, found, self.squared[space])
            self.index[space] = torch.where(nearer, where + first, self.index[space])

    def settle(self, data: ImageData, model: nn.Module | None) -> None:
        """Work the distances out anew, from differences: the search by products leaves rounding where they are 0."""
        for space, x in self.rows.items():
            index, parts = self.index[space], []
            for some in torch.arange(len(index), device=index.device).split(real_batch(data.size)):
                y = described(data.train.images[index[some].to(data.device)], data, model)[space]
                parts.append((x[some] - y).square().sum(1))
            self.squared[space] = torch.cat(parts)

    def distances(self, space: str) -> Tensor:
        """Return the distance to the nearest real image, (n,)."""
        squared = self.squared[space].cpu()
        return squared.sqrt() if space == "pixels" else squared / 2


@dataclass(frozen=True)
class Likeness:
    """What a pass over the real images found.

    Attributes:
        train: digest → number of the first training image that has it, of those asked for.
        nearest: by name of the images asked for.
    """

    train: dict[bytes, int]
    nearest: dict[str, Nearest]


def batches(data: ImageData, progress: bool = False) -> Iterator[tuple[int, Tensor]]:
    """Yield the training images in batches, uint8, each with the number of its first."""
    size = real_batch(data.size)
    with progress_bar(len(data.train), "real images", unit=" images", shown=progress, leave=False) as bar:
        for first in range(0, len(data.train), size):
            images = data.train.images[first : first + size]
            yield first, images
            bar.update(len(images))


def among_real(
    asked: dict[str, Tensor],
    wanted: set[bytes],
    data: ImageData,
    model: nn.Module | None = None,
    *,
    progress: bool = False,
) -> Likeness:
    """Look for images among the training images: the same at 8 bits, and the nearest.

    Args:
        asked: images by name whose nearest is looked for, uint8 or float in [0, 1], (n, C, H, W).
        wanted: digests that are looked for.
        model: the teacher whose features are compared too.
    """
    nearest = {name: Nearest(described(images, data, model)) for name, images in asked.items()}
    train: dict[bytes, int] = {}
    for first, images in batches(data, progress):
        for i, digest in enumerate(digests(images)):
            if digest in wanted:
                train.setdefault(digest, first + i)
        rows = described(images, data, model)
        for found in nearest.values():
            found.see(rows, first)
    for found in nearest.values():
        found.settle(data, model)
    return Likeness(train, nearest)
