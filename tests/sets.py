"""Synthetic sets for tests."""

import dataclasses
import math

import torch
from toys import rand

from unidd.data.synthetic import SyntheticSet

NAMES = ("T-shirt/top", "zebra", "10", "2")


def pixels(n: int = 8, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return rand(n, channels, 6, 6, seed=seed)


def make(n: int = 8, channels: int = 3, seed: int = 0, **changes) -> SyntheticSet:
    fields = {
        "images": pixels(n, channels, seed),
        "labels": torch.arange(n) % 4,
        "class_names": NAMES,
        "mean": (0.1, 0.2, 1 / 3)[:channels],
        "std": (0.3, math.pi / 10, 0.5)[:channels],
        "config": {"method": "cfm", "beta": 0.1, "nested": {"seeds": [0, 1]}},
        "teacher": {"hash": "abc", "accuracy": 100 / 3},
        "history": [{"b": 0, "beta": 0.1, "filter": 1.5}],
    }
    return SyntheticSet(**fields | changes)


def assert_same(first: SyntheticSet, second: SyntheticSet, images: bool = True) -> None:
    for field in dataclasses.fields(SyntheticSet):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if isinstance(ours, torch.Tensor):
            assert ours.dtype == theirs.dtype
            assert (field.name == "images" and not images) or torch.equal(ours, theirs)
        else:
            assert type(ours) is type(theirs)
            assert ours == theirs
