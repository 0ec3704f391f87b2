"""Repetitions of a cell that are done, kept until its record is written: a job that is cut off goes on after them."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..engine.checkpoint import Checkpoint
from ..files import json_hash, save_json


@dataclass(frozen=True)
class Repetition:
    """What one repetition of a cell came to.

    Attributes:
        accuracy: of its student, in %, by label regime.
        teacher: its card; empty if nobody taught.
        rate: learning rate that the student started from.
        seconds: by phase, "distill" and "students".
        bytes: of its set.
        memory: most bytes that the process had taken by then.
    """

    accuracy: dict[str, float]
    teacher: dict
    rate: float
    seconds: dict[str, float]
    bytes: dict[str, int]
    memory: int


@dataclass(frozen=True)
class Kept:
    """Where a repetition is kept, and the state of its distillation until it is done.

    Args:
        folder: of all repetitions of a cell; None keeps nothing.
        identity: all that the repetition depends on, in plain values: one of another identity is not found.
    """

    folder: Path | None = None
    identity: dict[str, Any] = field(default_factory=dict)

    @property
    def _place(self) -> Path | None:
        return self.folder / f"seed-{self.identity['seed']}-{json_hash(self.identity)}" if self.folder else None

    def load(self) -> Repetition | None:
        """Return the repetition if it is done."""
        path = self._place and self._place.with_suffix(".json")
        return Repetition(**json.loads(path.read_text())) if path and path.exists() else None

    def checkpoint(self) -> Checkpoint | None:
        """Return where its distillation keeps its state; what lies there and is of no use is discarded."""
        return Checkpoint(self._place, overwrite=True) if self._place else None

    def save(self, done: Repetition) -> None:
        """Keep the repetition, and then delete the state of its distillation."""
        if self._place:
            save_json(asdict(done), self._place.with_suffix(".json"))
            shutil.rmtree(self._place, ignore_errors=True)
