"""RDED: a few real patches that a teacher finds easy, chosen and joined; nothing descends.

The choice stands in `unidd.methods._patches`. Of the patches of a class, that of rank k·ipc + i goes to slot k of image
i, so that each image has easy and less easy ones. Pixels are kept as floats, and normalised for the teacher by the
data's own statistics (or its own). Meant to be evaluated with online soft labels; the labels of the set are hard.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from ._patches import Patching

if TYPE_CHECKING:
    from ..engine.run import Run
    from ..networks.training import Teacher


@dataclass(frozen=True)
class RDED(Patching):
    """Realistic, diverse and efficient: mosaics of the real patches that the teacher finds easiest."""

    source: ClassVar[str] = (
        "Sun, Shi, Yu & Lin, On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation "
        "Paradigm, CVPR 2024"
    )
    acts_as: ClassVar[str] = "none said by the theory: it chooses by the teacher's cross-entropy, and matches nothing"
    presets_source: ClassVar[str] = "the released code, scripts"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar10": {},
        "cifar100": {},
        "tiny-imagenet": {},
        "imagenet": {"factor": 2},
    }

    def distill(self, data: ImageData, teacher: "Teacher", run: "Run") -> SyntheticSet:
        """Return ipc × classes images on the CPU, in rounds; every process of several makes all of them.

        Raises:
            ValueError: there are too few images for so many patches; the teacher cannot teach these data.
        """
        self.check(data, run)
        teacher.check(data)
        images, labels = self.mosaics(data, teacher, run)
        about = data.class_names, data.mean, data.std, self.config(data, run)
        return SyntheticSet(images, labels, *about, teacher.card())
