"""Which images are asked for, in plain values: on the command line, in a suite, and on the card of what was made."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from .datasets import NAMES, ImageData, Small, check_options, load


@dataclass(frozen=True)
class Source:
    """A data set, and what to take of it.

    Args:
        dataset: photos, digits, fashion-mnist, cifar10, cifar100, or a folder with train/<class>/ and test/<class>/.
        size: side of the images of a folder in pixels (default: their own, or the median shorter side).
        channels: 1 (grey) or 3 (colour) (default: as the pictures are).
        hold_out: of a folder without a test split, the part of every class to test on, as 0.1; 0: it has one.
        classes: names or numbers of the classes to take (default: all).
        small: what becomes of a class with fewer images than are asked for: refuse it, or cap what it gives.
    Raises:
        ValueError: there is no such data set, or an option is out of range.
    """

    dataset: str = "photos"
    size: int | None = None
    channels: Literal[1, 3] | None = None
    hold_out: float = 0.0
    classes: tuple[str, ...] = ()
    small: Small = "refuse"

    def __post_init__(self):
        if not isinstance(self.dataset, str):
            raise ValueError(f"dataset must be a name or the path of a folder, not {self.dataset!r}")
        if self.dataset not in NAMES and not Path(self.dataset).expanduser().is_dir():
            raise ValueError(f"unknown data set {self.dataset!r}: choose one of {', '.join(NAMES)}, or a folder")
        if not isinstance(self.classes, list | tuple):
            raise ValueError(f"classes must be a list of names or numbers, not {self.classes!r}")
        object.__setattr__(self, "classes", tuple(self.classes))
        check_options(self.size, self.channels, self.hold_out, self.small)

    @staticmethod
    def of(values: Mapping[str, Any], **changes: Any) -> "Source":
        """Return what a card names, but for some changes; those that are None change nothing."""
        own = {f.name: values[f.name] for f in fields(Source) if f.name in values}
        return Source(**own | {name: value for name, value in changes.items() if value is not None})

    def options(self) -> dict[str, Any]:
        """Return the plain values that are not the default ones, beside the data set's name."""
        plain = {f.name: getattr(self, f.name) for f in fields(Source) if getattr(self, f.name) != f.default}
        plain.pop("dataset", None)
        return plain | ({"classes": list(self.classes)} if self.classes else {})

    def load(self, root: str | Path | None = None, device: Any = "cpu") -> ImageData:
        """Return the images: see `unidd.load`."""
        return load(self.dataset, root, device, **self.options())
