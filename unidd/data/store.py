"""Pictures decoded, one after another."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .pictures import read


def decoded(files: Sequence[Path], size: int, channels: int, *, progress: bool) -> tuple[Tensor, Counter[str]]:
    """Return the pixels of picture files, uint8 (n, channels, size, size), and how often what was done to them.

    Args:
        progress: show a bar.
    Raises:
        ValueError: a file cannot be read; the message names it.
    """
    images = torch.empty(len(files), channels, size, size, dtype=torch.uint8)
    counts: Counter[str] = Counter()
    for into, path in zip(images, tqdm(files, "decoding", disable=not progress, unit=" pictures"), strict=True):
        array, remarks = read(path, size, channels)
        into.copy_(torch.from_numpy(array))
        counts.update(remarks)
    return images, counts
