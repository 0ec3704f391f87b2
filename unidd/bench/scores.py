"""What a set is worth for training: accuracies beside random and full real data, and the scores of DD-Ranking.

Accuracies are in %, the scores take fractions, as DD-Ranking's paper defines them. Its released code leaves percentages
in the exponent, and its numbers are others.

Source: DD-Ranking (arXiv 2505.13300).
"""

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet, choose
from ..networks.evaluation import REGIMES, evaluate_images
from ..networks.training import Teacher
from .cell import BUDGETS, evaluate


def on_scale(advantage: float) -> float:
    """Return (e^α − e⁻¹)/(e − e⁻¹) of an advantage α from −1 to 1, as fractions: from 0 to 1.

    >>> on_scale(-1), on_scale(1), round(on_scale(0), 3)
    (0.0, 1.0, 0.269)
    """
    return (math.exp(advantage) - math.exp(-1)) / (math.e - math.exp(-1))


def label_robust_score(ior: float, hlr: float, weight: float = 0.5) -> float:
    """Return LRS, α = λ·IOR − (1 − λ)·HLR on the scale of `on_scale`; IOR, HLR and λ are fractions."""
    return on_scale(weight * ior - (1 - weight) * hlr)


def augmentation_robust_score(ior: float, plain_ior: float, weight: float = 0.5) -> float:
    """Return ARS, β = γ·IOR + (1 − γ)·IOR without augmentation on the scale of `on_scale`; all are fractions."""
    return on_scale(weight * ior + (1 - weight) * plain_ior)


def matched(data: ImageData, labels: Tensor, seed: int) -> Tensor:
    """Return numbers of random training images, as many of each class as there are labels (n,) of it, as far as any.

    For classes of one size they are those of `SyntheticSet.from_real`.
    """
    counts = torch.bincount(labels.cpu(), minlength=data.classes)
    there = torch.bincount(data.train.labels.cpu(), minlength=data.classes)
    if (counts == counts[0]).all() and counts[0] <= there.min():
        return choose(data, int(counts[0]), seed)
    generator, chosen = torch.Generator().manual_seed(seed), []
    for k, count in enumerate(counts.tolist()):
        index = (data.train.labels == k).nonzero().flatten().cpu()
        chosen.append(index[torch.randperm(len(index), generator=generator)[:count]])
    return torch.cat(chosen).to(data.device)


def accuracies(
    synthetic: SyntheticSet,
    data: ImageData,
    teacher: Teacher,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    model: str = "convnet",
    budget: str = "embedded",
    progress: bool = True,
) -> dict:
    """Return accuracies in %, an entry a seed, of students of a set, of random real images and of the full data.

    Args:
        teacher: gives the soft labels, also of the random real images.
        seeds: a student each; random real images are chosen anew with each.
        model, budget: of the students.
    Returns:
        `{"full": […], "regimes": {regime: {"set": […], "random": […], "set plain": […], "random plain": […]}}}`, where
        "plain" is without augmentation.
    """
    task: dict[str, Any] = {"regimes": REGIMES, "model": model, "budget": budget, "teacher": teacher}
    found: dict[str, dict[str, list[float]]] = {regime: {} for regime in REGIMES}
    for augment, word in ((True, ""), (False, " plain")):
        for seed in seeds:
            split = data.train.take(matched(data, synthetic.labels, seed))
            pixels = split.images.float().div_(255).cpu()
            real = SyntheticSet(pixels, split.labels.cpu(), data.class_names, data.mean, data.std)
            for name, images in (("set", synthetic), ("random", real)):
                values = evaluate(images, data, seeds=[seed], augment=augment, progress=progress, **task)
                for regime in REGIMES:
                    found[regime].setdefault(name + word, []).append(values[regime][0])
    student, network = BUDGETS[budget].student_of(None, data.classes, len(data.train)), BUDGETS[budget].network(model)
    everything = data.train.images, data.train.labels, data, network, student, seeds
    return {"full": evaluate_images(*everything, progress=progress), "regimes": found}


def scores(found: dict) -> dict[str, dict]:
    """Return HLR, IOR (both in points of %), LRS and ARS (fractions) of `accuracies`, by label regime.

    Each is {"mean", "spread", "values"}: the score of the mean accuracies, and of each seed by itself, the set, the
    random images and the full data of one seed being paired; the spread is their standard deviation.
    """
    full, hard = found["full"], found["regimes"]["hard"]["set"]
    hlr = [100 * x for x in _differences(full, hard)]
    lines = {}
    for regime, values in found["regimes"].items():
        ior = _differences(values["set"], values["random"])
        plain = _differences(values["set plain"], values["random plain"])
        lines[regime] = {
            "IOR": _spread([100 * x for x in ior], 100 * mean(ior)),
            "LRS": _spread(
                [label_robust_score(i, h / 100) for i, h in zip(ior, hlr, strict=True)],
                label_robust_score(mean(ior), mean(hlr) / 100),
            ),
            "ARS": _spread(
                [augmentation_robust_score(*pair) for pair in zip(ior, plain, strict=True)],
                augmentation_robust_score(mean(ior), mean(plain)),
            ),
        }
    lines["hard"]["HLR"] = _spread(hlr, mean(hlr))
    return lines


def _differences(first: list[float], second: list[float]) -> list[float]:
    return [(a - b) / 100 for a, b in zip(first, second, strict=True)]


def _spread(values: list[float], average: float) -> dict:
    return {"mean": average, "spread": stdev(values) if len(values) > 1 else None, "values": values}
