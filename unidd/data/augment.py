"""Augment whole batches on their device, each image with its own draw.

Every function takes images (B, C, H, W) and a `torch.Generator` on the CPU, so that random numbers do not depend on the
device. Where several processes share a batch, each draws the numbers of the whole batch and uses its own: `slot` =
(number of the first image here, images in the whole batch).
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Slot = tuple[int, int]  # (first, n): number of the first image here, images in the whole batch


def random_resized_crop(
    images: Tensor,
    generator: Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    slot: Slot | None = None,
) -> Tensor:
    """Cut a random rectangle (area `scale`, aspect `ratio`, log-uniform) out of each image, at the full size again."""
    first, n = slot or (0, len(images))
    area = _uniform(n, generator, *scale)
    aspect = torch.exp(_uniform(n, generator, math.log(ratio[0]), math.log(ratio[1])))
    height, width = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
    # an affine map of [-1, 1]²: half-sizes on the diagonal, centre in the last column
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width, height
    theta[:, 0, 2] = (1 - width) * _uniform(n, generator, -1, 1)
    theta[:, 1, 2] = (1 - height) * _uniform(n, generator, -1, 1)
    own = theta[first : first + len(images)]
    grid = F.affine_grid(own.to(images, non_blocking=True), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def flip(images: Tensor, generator: Generator, slot: Slot | None = None) -> Tensor:
    """Mirror each image left to right with probability ½."""
    first, n = slot or (0, len(images))
    mirrored = torch.rand(n, generator=generator)[first : first + len(images)] < 0.5
    return torch.where(mirrored.to(images.device, non_blocking=True).view(-1, 1, 1, 1), images.flip(-1), images)


def roll(images: Tensor, generator: Generator, pixels: int = 4) -> Tensor:
    """Shift the batch cyclically by up to `pixels` in each direction, one draw for the batch."""
    shifts = torch.randint(-pixels, pixels + 1, (2,), generator=generator).tolist()
    return images.roll(shifts, (-2, -1))


def crop_flip_roll(
    images: Tensor, generator: Generator, slot: Slot | None = None, *, scale: float = 0.08, shift: int = 4
) -> Tensor:
    """Crop and flip each image, and roll the batch: the augmentation of CFM.

    Args:
        scale: smallest area of the crop.
        shift: most pixels of the roll.
    Source: UniDD, §4 and its released code.
    """
    cropped = random_resized_crop(images, generator, (scale, 1.0), slot=slot)
    return roll(flip(cropped, generator, slot), generator, shift)


def random_crop(images: Tensor, generator: Generator, padding: int = 4) -> Tensor:
    """Pad with zeros by `padding` and crop each image back to its size at a random place."""
    n, _, h, w = images.shape
    padded = F.pad(images, [padding] * 4)
    top, left = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator).to(images.device, non_blocking=True)
    rows = (top + torch.arange(h, device=images.device)).view(n, 1, h, 1)
    columns = (left + torch.arange(w, device=images.device)).view(n, 1, 1, w)
    index = torch.arange(n, device=images.device).view(n, 1, 1, 1)
    return padded.movedim(1, -1)[index, rows, columns].squeeze(1).movedim(-1, 1)


def shuffle_patches(images: Tensor, generator: Generator, factor: int) -> Tensor:
    """Put the `factor` columns of patches of each image in another order, and then its rows.

    Where the factor does not divide the side, the first patches are a pixel larger, as in a mosaic of RDED.

    Source: Sun et al. (2024), the released code.
    """
    for axis in (3, 2):
        order = torch.rand(len(images), factor, generator=generator).argsort(1)
        numbers = torch.arange(images.shape[axis]).tensor_split(factor)
        index = torch.stack([torch.cat([numbers[k] for k in row]) for row in order.tolist()]).to(images.device)
        shape = [len(images), 1, 1, 1]
        shape[axis] = images.shape[axis]
        images = images.gather(axis, index.view(shape).expand_as(images))
    return images


def cutmix(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor, float]:
    """Paste one rectangle of a shuffled copy of the batch into every image (area 1 − λ, λ uniform).

    Returns:
        The mixed images, the permutation (B,) the rectangles came from, and the part λ of its area each image keeps.
    Source: Yun et al. (2019), CutMix.
    """
    n, _, h, w = images.shape
    permutation = torch.randperm(n, generator=generator).to(images.device, non_blocking=True)
    side = (1 - torch.rand((), generator=generator).item()) ** 0.5
    (top, bottom), (left, right) = (_interval(length, side, generator) for length in (h, w))
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[permutation, :, top:bottom, left:right]
    return mixed, permutation, 1 - (bottom - top) * (right - left) / (h * w)


def mixup(images: Tensor, generator: Generator, alpha: float) -> tuple[Tensor, Tensor, float]:
    """Mix every image with another of the batch: λ of the first, 1 − λ of the second, λ of Beta(α, α).

    Returns:
        The mixed images, the permutation (B,) of the second ones, and λ.
    Source: Zhang et al. (2018), mixup.
    """
    permutation = torch.randperm(len(images), generator=generator).to(images.device, non_blocking=True)
    share = _beta(alpha, generator)
    return share * images + (1 - share) * images[permutation], permutation, share


def _beta(alpha: float, generator: Generator) -> float:
    """A draw of Beta(α, α): of x and y, uniform to the power 1/α, those with x + y ≤ 1 (Jöhnk, 1964)."""
    while True:
        x, y = torch.rand(2, generator=generator, dtype=torch.float64).pow(1 / alpha).tolist()
        if 0 < x + y <= 1:
            return x / (x + y)


def _interval(length: int, part: float, generator: Generator) -> tuple[int, int]:
    centre, half = int(torch.randint(0, length, (), generator=generator)), int(length * part) // 2
    return max(0, centre - half), min(length, centre + half)


def _uniform(n: int, generator: Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)
