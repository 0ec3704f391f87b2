"""Sets and data for tests of audits: quick, in colour, with test images that are not training images."""

import functools
from dataclasses import replace

import torch
from toys import randn

from unidd.data.datasets import ImageData, Split
from unidd.data.synthetic import SyntheticSet

NAMES = ("ant", "bee", "cat", "dog")


def waves(n: int, seed: int) -> torch.Tensor:
    """Smooth 8-bit pictures with a little noise, (n, 3, 8, 8)."""
    coarse = torch.nn.functional.interpolate(randn(n, 3, 3, 3, seed=seed).float(), size=8, mode="bicubic")
    noise = 0.3 * randn(n, 3, 8, 8, seed=seed + 1).float()
    return ((coarse + noise) * 40 + 128).clamp(0, 255).to(torch.uint8)


@functools.cache
def data() -> ImageData:
    """Thirty training and ten test images of each of four classes, all different."""
    splits = [Split(waves(n, seed), torch.arange(n) % 4) for n, seed in ((120, 1), (40, 7))]
    return ImageData("waves", *splits, NAMES)


def made(images: torch.Tensor, labels: torch.Tensor, **changes) -> SyntheticSet:
    """A set of these images, of `data`."""
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images
    about = {"class_names": NAMES, "mean": data().mean, "std": data().std, "config": {"method": "mine"}}
    return SyntheticSet(pixels, labels, **about | changes)


def chosen(ipc: int = 3, seed: int = 0, **changes) -> SyntheticSet:
    """Random training images."""
    return replace(SyntheticSet.from_real(data(), ipc, seed, {"method": "random"}), **changes)


def drawn(ipc: int = 3, seed: int = 20, **changes) -> SyntheticSet:
    """Pictures like the real ones that none of them is."""
    return made(waves(4 * ipc, seed), torch.arange(4 * ipc) % 4, **changes)


def accuracies() -> dict:
    """What an audit says of students, two seeds, numbers made up."""
    values = {"set": [50.0, 54.0], "random": [40.0, 50.0], "set plain": [45.0, 45.0], "random plain": [41.0, 39.0]}
    score = {"mean": 7.0, "spread": 4.2, "values": [10.0, 4.0]}
    regimes = ("hard", "fixed-soft", "online-soft")
    scores = {regime: dict.fromkeys(("HLR", "IOR", "LRS", "ARS"), score) for regime in regimes}
    about = {"model": "convnet", "budget": "smoke", "full": [80.0, 84.0]}
    return about | {"regimes": dict.fromkeys(regimes, values), "scores": scores}
