"""All real training images: what there is to reach."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from . import Method, Role

if TYPE_CHECKING:
    from ..engine.run import Run
    from ..networks.training import Teacher


_MOST = 2**30  # bytes of a set of all images


@dataclass(frozen=True)
class Full(Method):
    """All real training images, the ceiling to look up to."""

    source: ClassVar[str] = "none"
    acts_as: ClassVar[str] = "all-pass: its correlations are the real ones"
    role: ClassVar[Role] = "ceiling"
    has_ipc: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    needs_teacher: ClassVar[bool] = False

    def distill(self, data: ImageData, teacher: "Teacher", run: "Run") -> SyntheticSet:
        """Return a copy of the training images as a set.

        Raises:
            ValueError: it would be large: as floats, the images take four times the memory of the data set.
        """
        if (size := 4 * data.train.images.numel()) > _MOST:
            raise ValueError(
                f"the {len(data.train):,} images of {data.name} would be a set of {size / 2**30:.1f} GiB, four times "
                "the data set itself: a suite with the method full trains on that without a copy"
            )
        images = (data.train.images.float() / 255).cpu()
        about = data.class_names, data.mean, data.std, self.config(data, run)
        return SyntheticSet(images, data.train.labels.cpu(), *about)
