"""Choose a recipe by a part of the training images, which stands for the test images: those are never looked at."""

import time
from dataclasses import replace
from statistics import mean
from typing import Any

import pandas as pd
import torch

from ..data.datasets import ImageData
from ..networks.training import NOBODY
from .cell import Cell
from .machine import duration

SHARE = 0.2  # of the training images of each class


def validation(data: ImageData, seed: int = 0, share: float = SHARE) -> ImageData:
    """Return the data with a part of the training images in place of the test images, drawn anew for each seed.

    Args:
        share: of each class, at least one image and not all.
    Raises:
        ValueError: a class has a single image.
    """
    held, generator = [], torch.Generator().manual_seed(seed)
    labels = data.train.labels.cpu()
    for k, name in enumerate(data.class_names):
        own = (labels == k).nonzero().flatten()
        if len(own) < 2:
            raise ValueError(f"class {name} has a single training image: none can be held out")
        count = min(max(1, round(share * len(own))), len(own) - 1)
        held.append(own[torch.randperm(len(own), generator=generator)[:count]])
    numbers = torch.cat(held).sort().values
    kept = torch.ones(len(labels), dtype=torch.bool).index_fill(0, numbers, False).nonzero().flatten()
    at = data.train.images.device
    return replace(data, train=data.train.take(kept.to(at)), test=data.train.take(numbers.to(at)))


def tried(cell: Cell, data: ImageData, seed: int, progress: bool = True) -> dict[str, Any]:
    """Return what a recipe reaches on the validation split of a seed, under each label regime, and what it took.

    Args:
        cell: the recipe, its budget and protocol; its seeds are not looked at.
        data: whose training images are split.
    Returns:
        "accuracy": label regime → validation accuracy in % at the last epoch; "seconds": to make the set.
    """
    split = validation(data, seed)
    teacher = cell.teacher(split, seed, progress=progress) if cell.needs_teacher else None
    begun = time.perf_counter()
    made = cell.distill(seed, split, teacher or NOBODY, progress=progress)
    seconds = time.perf_counter() - begun
    return {
        "accuracy": cell.accuracies(made, teacher.seen(split) if teacher else split, teacher, seed, progress=progress),
        "seconds": round(seconds, 1),
    }


def lines(record: dict[str, Any]) -> pd.DataFrame:
    """Return all that a search tried, the best first: a recipe, its hyper-parameters, and what it reached.

    Args:
        record: of benchmarks/recipes.py.
    """
    found: dict[str, list[dict]] = {}
    for row in record["rows"]:
        found.setdefault(row["name"], []).append(row)
    shown = [
        {
            "recipe": name,
            **{regime: mean(row["accuracy"][regime] for row in rows) for regime in rows[0]["accuracy"]},
            "n": len(rows),
            "to make": duration(mean(row["seconds"] for row in rows)),
            "asked": ", ".join(f"{key} {value}" for key, value in _settings(rows[0]).items()),
        }
        for name, rows in found.items()
    ]
    regimes = list(record["rows"][0]["accuracy"])
    return pd.DataFrame(shown).set_index("recipe").sort_values(by=regimes, ascending=False)


def _settings(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("name", "method", "seed", "accuracy", "seconds")}
