"""How good are some images? Students trained on them from scratch, tested on real images at the last epoch.

Synthetic sets, random real images and the full data all go through `evaluate_images`, under the same protocol.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from .models import ModelConfig, build
from .training import TrainConfig, accuracy, train

REGIMES = ("hard", "online-soft")  # label regimes
_STUDENT = 1000  # students never start from a teacher's initial weights, whatever its seed


def evaluate_images(
    images: Tensor,
    labels: Tensor,
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
        labels: (n,).
        data: gives the normalisation and the test split.
        model: the student; it may differ from the teacher.
        seeds: of the student's weights, the order of images and the augmentation.
        teacher: labels every augmented view if given (online soft labels); else labels are hard.
    Raises:
        ValueError: the images do not fit the data set.
    """
    if images.is_floating_point() and not (images.min() >= 0 and images.max() <= 1):  # NaN is neither
        raise ValueError("pixels must lie in [0, 1]")
    expected = (data.channels, data.size, data.size)
    if tuple(images.shape[1:]) != expected or labels.max() >= data.classes:
        raise ValueError(f"{data.name} has {data.classes} classes of images {expected}, not {tuple(images.shape[1:])}")
    images, labels = images.to(data.device), labels.to(data.device)
    accuracies = []
    for seed in seeds:
        student = build(model, data.channels, data.size, data.classes, _STUDENT + seed).to(data.device)
        title = f"{'soft' if teacher else 'hard'}-label student {seed}" if progress else None
        shown: dict = {"prepare": data.normalise, "progress": title}
        train(student, images, labels, config, seed=seed, teacher=teacher, **shown)
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
