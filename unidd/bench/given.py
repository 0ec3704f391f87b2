"""What a cell is given in place of what it would work out: a teacher, and statistics of the real side, from files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.datasets import ImageData
from ..methods import Method
from ..networks.training import Teacher
from ..networks.weights import read_weights, said_constants, statistics_files

if TYPE_CHECKING:
    from ..core.statistics import Moments


@dataclass(frozen=True)
class Given:
    """Files that take the place of what would be trained and measured, in plain values.

    Args:
        teacher: of all repetitions: a file of weights, or the folder of a teacher; None: each trains its own.
        normalisation: mean and std that it was trained with, see `unidd.networks.weights.said_constants`; None: those
            of its card, or else of the data.
        statistics: of the real side before that teacher's layers, see `unidd.engine.released`; None: one pass over the
            real images.
    Raises:
        ValueError: a value is no text; there is a normalisation or statistics, and no teacher.
    """

    teacher: str | None = None
    normalisation: str | None = None
    statistics: str | None = None

    def __post_init__(self):
        for name, value in vars(self).items():
            if value is not None and not (isinstance(value, str) and value):
                raise ValueError(f"{name} must be a text like '_data/{name}', or None, not {value!r}")
            if value and not self.teacher:
                raise ValueError(f"{name} belongs to one teacher: say teacher, its file, too")

    @staticmethod
    def names() -> tuple[str, ...]:
        return tuple(f.name for f in fields(Given))

    @staticmethod
    def of(values: Mapping[str, Any]) -> "Given":
        """Return what a suite or a card names."""
        return Given(**{name: values[name] for name in Given.names() if name in values})

    def options(self) -> dict[str, str]:
        """Return the plain values that are said."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def check(self, method: Method, taught: bool) -> None:
        """Raise a ValueError if the method looks at none of it.

        Args:
            taught: whether the method or its students have a teacher.
        """
        if self.teacher and not taught:
            raise ValueError(f"the method {method.name!r} looks at no teacher: leave it out")
        if self.statistics:
            method.check_statistics()

    def load(self, data: ImageData, model: str) -> Teacher | None:
        """Return the teacher; None if none is given.

        Args:
            model: architecture, if the file does not tell.
        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot teach these data.
        """
        if not self.teacher:
            return None
        constants = None
        if self.normalisation:
            constants = said_constants(read_weights(self.teacher), self.normalisation) or (data.mean, data.std)
        own = None if model.startswith("convnet") else model
        return Teacher.load(self.teacher, data, model=own, normalisation=constants)

    def side(self, method: Method, data: ImageData, teacher: Teacher | None) -> dict[str, "Moments"] | None:
        """Return the statistics for a method; None if none are given."""
        return method.read_statistics(self.statistics, data, teacher) if self.statistics else None

    def fingerprint(self) -> str:
        """Return a hash of the bytes of all files; "" if there are none.

        Raises:
            ValueError: a file is not there.
        """
        digest, files = hashlib.sha256(), []
        try:
            files += _weights(Path(self.teacher).expanduser()) if self.teacher else []
            files += statistics_files(self.statistics) if self.statistics else []
            for file in files:
                digest.update(file.read_bytes())
        except FileNotFoundError as error:
            raise ValueError(str(error)) from None
        return digest.hexdigest()[:16] if files else ""


def _weights(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"there is no teacher {path}: say a file of weights, or the folder of a teacher")
    return [path] if path.is_file() else [path / "model.safetensors", path / "card.json"]
