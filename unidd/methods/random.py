"""A random choice of real images: the start of every distillation, and the baseline to beat."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from . import Method, Role

if TYPE_CHECKING:
    from ..engine.run import Run
    from ..networks.training import Teacher


@dataclass(frozen=True)
class Random(Method):
    """Random real images, the baseline every method has to beat."""

    source: ClassVar[str] = "none"
    acts_as: ClassVar[str] = "none: in expectation its correlations are the real ones"
    role: ClassVar[Role] = "baseline"
    needs_teacher: ClassVar[bool] = False

    def distill(self, data: ImageData, teacher: "Teacher", run: "Run") -> SyntheticSet:
        return SyntheticSet.from_real(data, run.ipc, run.seed, self.config(data, run))
