"""How good are some images? Students trained on them from scratch, tested on real images at the last epoch.

Synthetic sets, random real images and the full data all go through `evaluate_images`, under the same protocol and one
of three label regimes:

    hard          cross-entropy with the class of each image
    fixed-soft    a label stored for each image, whatever view of it is trained on, see `SoftLabels`: the teacher's of
                  the image as it is, or the mean of its labels over views (`mean_labels`)
    online-soft   the teacher labels every augmented view
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..core.frozen import frozen, joined
from ..data.datasets import ImageData
from ..data.synthetic import KINDS, SyntheticSet, said_kind, soft_kind
from .models import ModelConfig, build, real_batch
from .training import Recipe, TrainConfig, accuracy, divergence, train, view

REGIMES = ("hard", "fixed-soft", "online-soft")  # label regimes
RECORDED = ("hard", "online-soft")  # those of a record, unless others are asked for
_STUDENT = 1000  # students never start from a teacher's initial weights, whatever its seed


@dataclass(frozen=True)
class SoftLabels:
    """Labels that are stored, one for each image, and how they are learnt.

    Logits z are learnt by T² KL(softmax(z/T) ‖ softmax(s/T)), the loss and the temperature of online soft labels;
    probabilities p are the logits log p, so that a teacher's logits and its softmax are the same labels. Centred labels
    y of KIP and FRePo are learnt as they were made, by ½‖s − y‖². CutMix mixes the losses of the two images by area.

    Attributes:
        values: (n, classes).
        kind: "logits", "probabilities" or "centred".
    Raises:
        ValueError: there is no such kind.
    """

    values: Tensor
    kind: str = "logits"

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"soft labels must be logits, probabilities or centred, not {self.kind!r}")

    def learnt(self, temperature: float) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """Return the labels (n, classes) and the criterion of a student's output and theirs."""
        if self.kind == "centred":
            return self.values, _half_square
        values = self.values.log() if self.kind == "probabilities" else self.values
        return values, partial(divergence, temperature=temperature)


def _half_square(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits - labels).square().sum(1).mean() / 2


def needs_teacher(synthetic: SyntheticSet, regimes: Collection[str]) -> bool:
    """Return whether these label regimes need a teacher for this set."""
    return "online-soft" in regimes or ("fixed-soft" in regimes and synthetic.soft is None)


def stored_kind(synthetic: SyntheticSet) -> str | None:
    """Return what a set's stored soft labels are, as its card or else their numbers say; None without any."""
    return None if synthetic.soft is None else said_kind(synthetic.config) or soft_kind(synthetic.soft)


def fixed_labels(synthetic: SyntheticSet, data: ImageData, teacher: nn.Module | None = None) -> SoftLabels:
    """Return a set's stored soft labels; for one that has none, the teacher's logits of its images as they are.

    Raises:
        ValueError: there is neither.
    """
    if synthetic.soft is not None:
        return SoftLabels(synthetic.soft, stored_kind(synthetic) or "")
    if teacher is None:
        raise ValueError("the set stores no soft labels: a teacher is needed for the label regime fixed-soft")
    return SoftLabels(teacher_logits(synthetic.images, data, teacher))


def mean_labels(
    images: Tensor, data: ImageData, teacher: nn.Module, config: TrainConfig, views: int, seed: int = 0
) -> SoftLabels:
    """Return a label for each image: the mean of what a teacher says of augmented views of it, which is stored.

    At the temperature T of the students it is the mean of softmax(z/T) over the views. By any one output of a student
    its gradient is the mean of those of the views' own labels.

    Args:
        images: pixels in [0, 1] or uint8, (n, C, H, W).
        config: how students are trained: their crops, flips and Siamese operations, and the temperature.
        views: of each image.
        seed: of the views.
    """
    generator, recipe, told = Generator().manual_seed(seed), Recipe.of(config), None
    for _ in range(views):
        logits = teacher_logits(images, data, teacher, partial(view, config=recipe, generator=generator))
        label = (logits / config.temperature).log_softmax(1)
        told = label if told is None else told.logaddexp(label)
    return SoftLabels(config.temperature * (cast(Tensor, told) - math.log(views)))


def centred_labels(synthetic: SyntheticSet) -> SoftLabels:
    """Return a set's stored labels, as numbers to be met; of one that has none, one-hot less 1/c.

    Raises:
        ValueError: they are logits or probabilities.
    """
    if synthetic.soft is None:
        classes = len(synthetic.class_names)
        return SoftLabels(F.one_hot(synthetic.labels, classes) - 1 / classes, "centred")
    if (kind := stored_kind(synthetic)) != "centred":
        raise ValueError(f"the set stores {kind}, and its labels are to be centred, as those of FRePo and KIP")
    return SoftLabels(synthetic.soft, "centred")


@torch.no_grad()
def teacher_logits(
    images: Tensor, data: ImageData, teacher: nn.Module, seen: Callable[[Tensor], Tensor] = lambda batch: batch
) -> Tensor:
    """Return a teacher's output for images (n, C, H, W), on the CPU: (n, classes).

    Args:
        seen: what it sees of a normalised batch; by default the images as they are.
    """
    parts = (part.to(data.device) for part in images.split(real_batch(data.size, data.device)))
    with frozen(teacher):
        return joined(((teacher(seen(data.normalise(part))).float().cpu(),) for part in parts), len(images))[0]


def evaluate_images(
    images: Tensor,
    labels: Tensor | SoftLabels,
    data: ImageData,
    model: ModelConfig,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    teacher: nn.Module | None = None,
    progress: bool = True,
) -> list[float]:
    """Return test accuracy in % of one student a seed, at the last epoch.

    Args:
        images: pixels, uint8 or float in [0, 1], (n, C, H, W).
        labels: (n,), or soft labels of the same order.
        data: gives the normalisation and the test split.
        model: the student; it may differ from the teacher.
        seeds: of the student's weights, the order of images and the augmentation.
        teacher: labels every augmented view if given (online soft labels); else `labels` are learnt.
    Raises:
        ValueError: the images do not fit the data set.
    """
    if images.is_floating_point() and not (images.min() >= 0 and images.max() <= 1):  # NaN is neither
        raise ValueError("pixels must lie in [0, 1]")
    how: dict[str, Any] = {"teacher": teacher}
    regime = "soft" if teacher else "hard"
    if isinstance(labels, SoftLabels):
        labels, how["criterion"] = labels.learnt(config.temperature)
        regime = "fixed-soft"
    expected = (data.channels, data.size, data.size)
    count = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    if tuple(images.shape[1:]) != expected or count > data.classes or (labels.ndim == 2 and count != data.classes):
        raise ValueError(f"{data.name} has {data.classes} classes of images {expected}, not {tuple(images.shape[1:])}")
    images, labels = images.to(data.device), labels.to(data.device)
    accuracies = []
    for seed in seeds:
        student = build(model, data.channels, data.size, data.classes, _STUDENT + seed).to(data.device)
        title = f"{regime}-label student {seed}" if progress else None
        train(student, images, labels, config, seed=seed, prepare=data.normalise, progress=title, **how)
        accuracies.append(accuracy(student, data))
    return accuracies


def check_fits(synthetic: SyntheticSet, data: ImageData) -> None:
    """Raise a ValueError unless class names, shape and normalisation of a synthetic set are those of `data`."""
    if synthetic.class_names != data.class_names:
        raise ValueError(f"the set's classes {synthetic.class_names} are not those of {data.name}, {data.class_names}")
    shapes = [tuple(images.shape[1:]) for images in (synthetic.images, data.train.images)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the set's images are {shapes[0]}, those of {data.name} {shapes[1]}")
    pairs = zip(synthetic.mean + synthetic.std, data.mean + data.std, strict=True)
    if not all(abs(a - b) <= 1e-3 for a, b in pairs):
        raise ValueError(f"the set was made for another normalisation than {data.name}'s: check the data set")
