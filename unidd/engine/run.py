"""What a distillation is asked for beside its method, and where it is done."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..data.synthetic import SyntheticSet
from .parallel import Ranks

if TYPE_CHECKING:
    from ..core.statistics import Moments
    from .checkpoint import Checkpoint


@dataclass(frozen=True)
class Run:
    """What a distillation is asked for beside its method, and where it is done.

    Attributes:
        ipc: images per class; also the number of rounds B.
        seed: of the starting images and of every draw.
        checkpoint: where the state of the run is kept, so that it goes on from there; None keeps none.
        save_every: keep the state after so many steps of a batch, and not only at its end and after five minutes; 0
            does not.
        ranks: the processes that share the work.
        progress: show a bar with the loss terms.
        statistics: of the real side, from `real_statistics` over any DataLoader; the data then need hold no more than
            the images to start from. By default found in the cache, or worked out from the data.
        start: a set whose images are where the descent starts, in place of random real ones; `seed` is then of the
            augmentation alone.
    Raises:
        ValueError: a value is out of range; the message names it.
    """

    ipc: int = 1
    seed: int = 0
    checkpoint: "Checkpoint | None" = None
    save_every: int = 0
    ranks: Ranks = field(default_factory=Ranks)
    progress: bool = False
    statistics: "dict[str, Moments] | None" = None
    start: SyntheticSet | None = None

    def __post_init__(self):
        if not isinstance(self.ipc, int) or isinstance(self.ipc, bool):
            raise ValueError(f"ipc must be a whole number, not {self.ipc!r}")
        if self.ipc < 1:
            raise ValueError(f"ipc must be at least 1, not {self.ipc}")
        if not isinstance(self.start, SyntheticSet | None):
            raise ValueError(f"start must be a set, as SyntheticSet.load(folder) gives it, not {self.start!r:.80}")
        for name in ("seed", "save_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} must be a whole number from 0, not {value!r}")
