"""Images side by side in one picture."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad


def grid(images: Tensor | Sequence[Tensor], columns: int, gap: int = 2, margin: int = 0) -> Tensor:
    """One picture (4, H, W) of many: RGBA in [0, 1], on the CPU, see-through where there is no image.

    Args:
        images: (n, C, H, W), C = 1 or 3, clipped to [0, 1], row after row; or several such, each of them a row.
        columns: most images of a row; what a given row has beyond them is left out.
        gap: pixels between images.
        margin: pixels around all of them, at most the gap.
    Raises:
        ValueError: there is no image, they are of another shape, or the margin is above the gap.

    >>> grid(torch.rand(5, 1, 8, 8), columns=3).shape
    torch.Size([4, 18, 28])
    """
    from torchvision.utils import make_grid

    rows = list(images.split(columns)) if isinstance(images, Tensor) else [row[:columns] for row in images]
    if not 0 <= margin <= gap:
        raise ValueError(f"the margin must be 0 … {gap}, the gap, not {margin}")
    if not any(map(len, rows)) or any(row.ndim != 4 or row.shape[1] not in (1, 3) for row in rows):
        shapes = ", ".join(str(tuple(row.shape)) for row in rows)
        raise ValueError(f"a grid needs images (n, 1 or 3, H, W), at least one, not {shapes or 'none'}")
    across = max(map(len, rows))
    cells = torch.cat([_filled(row, across) for row in rows])
    # make_grid leaves a single image as it is
    picture = make_grid(cells, nrow=across, padding=gap) if len(cells) > 1 else pad(cells[0], (gap,) * 4)
    outer = gap - margin
    return picture[:, outer : picture.shape[1] - outer, outer : picture.shape[2] - outer]


def _filled(row: Tensor, length: int) -> Tensor:
    """A row as (length, 4, H, W): RGBA, with see-through cells behind its images."""
    colours = row.detach().float().cpu().clamp(0, 1).expand(-1, 3, -1, -1)
    cells = torch.cat([colours, torch.ones_like(colours[:, :1])], 1)
    return torch.cat([cells, cells.new_zeros(length - len(cells), *cells.shape[1:])])
