"""SRe2L and CDA: images recovered from noise, by what a teacher's batch norms remember of the real ones.

The loss stands in `unidd.methods._recovering`. A round is one image of every class, in class groups of a hundred, and
rounds know nothing of each other. The last iterate is kept, as floats. Both are meant to be evaluated with online soft
labels; the labels of the set are hard. Chapter: "Every method is a filter".
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..data.datasets import ImageData
from ..engine.descent import Start, cosine
from ..engine.run import Run
from . import Range
from ._recovering import Recovering


@dataclass(frozen=True)
class SRe2L(Recovering):
    """Squeeze, recover and relabel: from noise to images with the statistics of a teacher's batch norms.

    Needs a teacher with batch norm.
    """

    source: ClassVar[str] = (
        "Yin, Xing & Shen, Squeeze, Recover and Relabel: Dataset Condensation at ImageNet Scale From A New "
        "Perspective, NeurIPS 2023"
    )
    presets_source: ClassVar[str] = "the released scripts, all with ResNet-18"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar100": {"crop": False},
        "tiny-imagenet": {"steps": 4000, "lr": 0.1, "r_bn": 1.0},
        "imagenet": {"steps": 4000, "shift": 32},
    }

    def start(self, data: ImageData, run: Run) -> Start:
        return super().start(data, run).noise(data, run.seed)


@dataclass(frozen=True)
class CDA(SRe2L):
    """Curriculum data augmentation: SRe2L whose crops begin with nearly the whole image and become harder.

    The smallest area of a crop falls from 1 to `scale`, by a cosine. Its aspect is drawn from the first step on.

    Args:
        milestone: part of the steps after which crops are as small as that; at 0 they are from the first step on.
    """

    milestone: Annotated[float, Range(0, 1)] = 1.0

    source: ClassVar[str] = (
        "Yin & Shen, Dataset Distillation via Curriculum Data Synthesis in Large Data Era, TMLR 2024"
    )
    presets_source: ClassVar[str] = "the released scripts"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny-imagenet": {"steps": 4000, "lr": 0.4, "r_bn": 0.05},
        "imagenet": {"steps": 4000, "shift": 32},
        "imagenet-21k": {"lr": 0.05, "r_bn": 0.25, "shift": 32},
    }

    def smallest(self, t: int, steps: int) -> float:
        end = self.milestone * steps
        return self.scale + (1 - self.scale) * cosine(t, end) if t < end else self.scale
