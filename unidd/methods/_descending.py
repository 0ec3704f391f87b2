"""What methods share that descend on images."""

from abc import abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from ..core.frozen import frozen
from ..core.statistics import Moments, statistics_hash
from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from ..engine.descent import Descent, Objective, Position, Start
from ..engine.loop import carry_out
from ..engine.released import read_statistics
from ..engine.run import Run
from ..memory import trim_memory
from ..networks.models import weights_hash
from ..networks.training import Teacher
from . import Method


@dataclass(frozen=True)
class Descending(Method):
    """Descends on the pixels of images that start from real ones.

    Attributes:
        parallel: whether several processes can share the work.
    """

    parallel: ClassVar[bool] = True

    @abstractmethod
    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> Objective:
        """Return what images descend on; no step is taken yet."""

    @abstractmethod
    def descent(self, data: ImageData) -> Descent:
        """Return how they descend."""

    def start(self, data: ImageData, run: Run) -> Start:
        """Return what they start from: by default the set that the run was given, or random real images."""
        return Start.of(data, run)

    def prepared(self, start: Start, data: ImageData, teacher: Teacher, run: Run) -> Start:
        """Return the start with images that only the teacher can tell; by default it is complete without."""
        return start

    def check(self, data: ImageData, run: Run) -> None:
        if run.ranks.world > 1 and not self.parallel:
            raise ValueError(f"the method {self.name!r} works on all images together: run it in one process")
        start = self.start(data, run)
        if run.start is not None and not start.given:
            raise ValueError(f"the method {self.name!r} has a start of its own: leave out the set to start from")
        for size in start.sizes if self.descent(data).steps else ():
            run.ranks.slot(size)

    def config(self, data: ImageData, run: Run) -> dict:
        about = super().config(data, run) | ({"start": _origin(run.start)} if run.start else {})
        given = run.statistics if self.real_signal else None
        return about | ({"statistics": statistics_hash(given)} if given is not None else {})

    @property
    def real_layers(self) -> tuple[str, ...] | None:
        """The layers whose statistics are matched, see `unidd.networks.models.tapped_layers`."""
        return None

    def read_statistics(self, path: str | Path, data: ImageData, teacher: Teacher | None) -> dict[str, Moments]:
        self.check_statistics()
        if teacher is None:
            raise ValueError("statistics belong to one teacher: say the file of that teacher too")
        return read_statistics(path, self.real_signal or "mean", data, teacher.model, self.real_layers)

    def rehearsed(self, data: ImageData, run: Run) -> Self:
        """Return the method whose steps are measured when a run is planned: each takes what its own do, and what has
        to be trained before them is done, and kept.
        """
        return self

    def check_teacher(self, data: ImageData, teacher: Teacher) -> None:
        """Raise a ValueError now if images cannot descend on what this teacher says of them."""
        if self.needs_teacher and self.descent(data).steps:
            teacher.check(data, self.real_layers if self.real_signal else (), gradient=True)

    def distill(self, data: ImageData, teacher: Teacher, run: Run) -> SyntheticSet:
        """Return ipc × classes images on the CPU, round b = 0 … B − 1 first, class by class within it.

        Where labels are learnt, the hard ones stay those that the images started with, so that each class keeps its
        images; the card says under "learnt", "moved" of how many another class came to be the largest.

        The same seed gives the same bits on a CPU with the same number of threads, however often the run was cut off.

        Raises:
            ValueError: the teacher cannot teach these data; ipc is above the size of a class; there are more processes
                than images in a batch; the statistics are another teacher's or signal's; the loss is no longer finite;
                the state is another run's.
            ConnectionError: another process of the run has stopped.
            OSError: the state cannot be written.
        """
        self.check(data, run)
        self.check_teacher(data, teacher)
        about = self.identity(data, run, teacher)
        with frozen(teacher.model), run.checkpoint or nullcontext() as checkpoint:
            if checkpoint:
                checkpoint.check(about)
            position, objective = self.begun(data, teacher, run)
            trim_memory()  # of the pass over the real images
            carry_out(objective, position, run, about, self.name)
        return self.finished(position, objective, teacher, run)

    def begun(self, data: ImageData, teacher: Teacher, run: Run) -> tuple[Position, Objective]:
        """Return where the descent begins, and what descends; the teacher is to be frozen meanwhile."""
        start = self.prepared(self.start(data, run), data, teacher, run)
        return Position(data, start, self.descent(data), run.seed, run.ranks), self.objective(data, teacher, run)

    def finished(self, position: Position, objective: Objective, teacher: Teacher, run: Run) -> SyntheticSet:
        """Return the set where a descent stands, with what the objective has learnt."""
        data, start, learnt = position.data, position.start, objective.learnt()
        soft, labels = learnt.pop("soft", None), start.labels[start.numbers]
        if soft is not None:
            learnt["moved"] = int((soft.argmax(1) != labels.to(soft.device)).sum())
        return SyntheticSet(
            position.images,
            labels.cpu(),
            data.class_names,
            data.mean,
            data.std,
            self.config(data, run) | ({"learnt": learnt} if learnt else {}),
            teacher.card() if self.needs_teacher else {},
            position.history,
            soft=None if soft is None else soft.float().cpu(),
        )

    def identity(self, data: ImageData, run: Run, teacher: Teacher | None = None) -> dict:
        """Return what a run depends on, by name, as far as it is known: its state is of no use to another."""
        about = {**self.config(data, run), "data": data.fingerprint}
        if run.start:  # whatever its card says: of another place, of an edited note
            about["start"] = {"sha256": run.start.sha256, "class_names": list(run.start.class_names)}
        return about | ({"teacher": weights_hash(teacher.model)} if teacher and self.needs_teacher else {})


def _origin(start: SyntheticSet) -> dict:
    """What a card says of the set a descent started from: which it was, and where that came from."""
    return {name: getattr(start, name) for name in ("sha256", "config", "teacher", "versions")}
