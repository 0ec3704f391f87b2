"""List the pictures of a folder: its splits, its classes, and what lies there that is no picture.

No file is opened. What is hidden or a companion never counts: .ipynb_checkpoints, ._x, .DS_Store, Thumbs.db,
desktop.ini, __MACOSX. Names of classes are compared in Unicode's normal form C.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

from .pictures import ENDINGS
from .remarks import ASIDE, SKIPPED

TESTS = ("test", "val", "valid", "validation")  # a split to test on: the first there is
_COMPANIONS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "__pycache__", "icon\r"}


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder, and what is left out.

    Attributes:
        class_names: in the order of the labels, which is that of the sorted names.
        train, test: (file, label) of each picture, class by class; test is None if there is no such split. Paths are
            text, since a million `Path`s would take a gigabyte.
        remarks: how many files are no pictures, by ending, and which folders are left aside.
    """

    class_names: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]] | None
    remarks: Counter[str]

    def only(self, classes: Sequence[str | int]) -> "Listing":
        """Return the pictures of some classes, labelled 0, 1, …; of all if none are named.

        Raises:
            ValueError: there is no such class.
        """
        if not classes:
            return self
        taken = {k: label for label, k in enumerate(chosen(self.class_names, classes))}
        splits = [split and [(file, taken[k]) for file, k in split if k in taken] for split in (self.train, self.test)]
        return Listing(tuple(self.class_names[k] for k in taken), splits[0] or [], splits[1], self.remarks)


def listed(root: Path, classes: Sequence[str | int] = (), *, hold_out: bool = False) -> Listing:
    """Return the pictures of a folder with train/<class>/ and test/<class>/, or of one with <class>/ alone.

    Args:
        classes: names or numbers of those to take; by default all.
        hold_out: whether part of the training images is to be the test split, so that there must be no other.
    Raises:
        FileNotFoundError: there are no class folders with pictures, or there is nothing to test on.
        ValueError: the splits have different classes, or a class has no pictures; there is no such class.
    """
    remarks: Counter[str] = Counter()
    train, test = _splits(root, remarks)
    wanted = f"put images in {root}/train/<class>/ and {root}/test/<class>/"
    found = _classes(train, remarks)
    if not any(found.values()):
        flat = any(map(_is_picture, visible(train)))
        why = "its pictures are in no class folders" if flat else "there are no pictures in class folders"
        raise FileNotFoundError(f"{train} is not an image folder ({why}): {wanted}")
    if test is None and not hold_out:
        there = "class folders but no train/ and test/" if train == root else "train/ but no test/ with class folders"
        advice = "say --hold-out 0.1 (hold_out=0.1 in Python) to test on a tenth of the training images"
        raise FileNotFoundError(f"{root} has {there}: {wanted}, or {advice}")
    if test is not None and hold_out:
        raise ValueError(f"{root} has a split to test on, {test.name}/: leave out hold-out, or that folder")
    held = None if test is None else _classes(test, remarks)
    names = sorted(name for name in found if found[name] or train != root)
    remarks.update(f"{ASIDE}{name}/" for name in found if name not in names)
    names = [names[k] for k in chosen(names, classes)] if classes else names
    if empty := [name for name in names if not found[name]]:
        raise ValueError(f"{train}/{empty[0]} has no pictures: put some there, or remove the folder")
    if held is not None:
        _check_same(root, (train.name, set(names)), (test.name if test else "", {k for k in held if held[k]}), classes)
    splits = ([(f, label) for label, k in enumerate(names) for f in split[k]] for split in (found, held or {}) if split)
    return Listing(tuple(names), next(splits), next(splits, None), remarks)


def chosen(names: Sequence[str], classes: Collection[str | int]) -> list[int]:
    """Return the numbers of some classes, ascending, given by names or by numbers from 0.

    Raises:
        ValueError: there is no such class; the message says which there are.

    >>> chosen(["cat", "dog", "owl"], ["owl", 0])
    [0, 2]
    """
    numbers = {normal(name): k for k, name in enumerate(names)}
    found = set()
    for one in classes:
        number = one if isinstance(one, int) else numbers.get(normal(one))
        if number is None and str(one).isdecimal():
            number = int(one)
        if number is None or isinstance(one, bool) or not 0 <= number < len(names):
            close = get_close_matches(str(one), names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose from {few(names)}, or 0 … {len(names) - 1}"
            raise ValueError(f"there is no class {one!r}: {hint}")
        found.add(number)
    return sorted(found)


def normal(name: str) -> str:
    """Return a name in Unicode's normal form C: what a file system or another author wrote in parts is one letter."""
    return unicodedata.normalize("NFC", name)


def few(names: Collection[str]) -> str:
    """Return the first five names, and how many there are if more."""
    first = ", ".join(list(names)[:5])
    return first if len(names) <= 5 else f"{first}, … ({len(names)} in all)"


def difference(first: tuple[str, Collection[str]], second: tuple[str, Collection[str]]) -> str:
    """Return what only one of two named collections has, in words; empty if nothing."""
    (one, ours), (other, theirs) = first, second
    alone = ((one, sorted({*ours} - {*theirs})), (other, sorted({*theirs} - {*ours})))
    return "; ".join(f"only in {where}: {few(names)}" for where, names in alone if names)


def visible(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield all files below a folder that are not hidden, in the order of their names; links are followed once."""
    above |= {os.path.realpath(folder)}
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not _hidden(entry.name)), key=lambda entry: entry.name)
    yield from (Path(entry.path) for entry in entries if not entry.is_dir())
    for entry in entries:
        if entry.is_dir() and os.path.realpath(entry.path) not in above:
            yield from visible(Path(entry.path), above)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _COMPANIONS


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name))


def _splits(root: Path, remarks: Counter[str]) -> tuple[Path, Path | None]:
    """The folders of the training and the test split; the folder itself if its classes are in no splits."""
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    folders = _folders(root)
    by_name = {folder.name.lower(): folder for folder in folders}
    tests = [by_name[name] for name in TESTS if name in by_name]
    if "train" not in by_name:
        if tests:
            raise FileNotFoundError(f"{root} has {tests[0].name}/ but no train/: put images in {root}/train/<class>/")
        if len(folders) == 1 and any(path.name.lower() == "train" for path in _folders(folders[0])):
            raise FileNotFoundError(f"{root} only holds the folder {folders[0].name}: say {folders[0]}")
        return root, None
    twice = [folder for folder in folders if by_name[folder.name.lower()] != folder]
    if twice:
        raise ValueError(f"{root} has {twice[0].name}/ and {by_name[twice[0].name.lower()].name}/: which? remove one")
    test = next((folder for folder in tests if any(_pictures_in_classes(folder))), None)
    used = (by_name["train"], test)
    remarks.update(f"{ASIDE}{folder.name}/" for folder in folders if folder not in used)
    return used


def _pictures_in_classes(split: Path) -> Iterator[Path]:
    return filter(_is_picture, chain.from_iterable(map(visible, _folders(split))))


def _classes(split: Path, remarks: Counter[str]) -> dict[str, list[str]]:
    """The pictures of each class of a split, by its name; counts all other files."""
    found: dict[str, list[str]] = {}
    outside = (path for path in split.iterdir() if not path.is_dir() and not _hidden(path.name))
    remarks.update(_ending(path) for path in outside)
    for folder in _folders(split):
        name = normal(folder.name)
        if name in found:
            raise ValueError(f"{split} has two folders whose names are the same letters, {name!r}: rename one")
        files = list(visible(folder))
        found[name] = [str(path) for path in files if _is_picture(path)]
        remarks.update(_ending(path) for path in files if not _is_picture(path))
    return found


def _ending(path: Path) -> str:
    return SKIPPED + (path.suffix.lower() or "without an ending")


def _check_same(root: Path, train: tuple[str, set], test: tuple[str, set], classes: Collection[str | int]) -> None:
    """Raise a ValueError unless both splits have the same classes, or the test split has at least those chosen."""
    (first, ours), (second, theirs) = train, test
    if differ := difference((f"{first}/", ours), (f"{second}/", theirs & ours if classes else theirs)):
        raise ValueError(f"{root}: the classes of the splits differ ({differ})")
