"""Names for the folders of classes that every file system takes and every reader sorts in the order of the labels.

torchvision and Hugging Face sort by code point, timm by lower case with numbers as numbers; Hugging Face takes a
folder called "train" or "test" for a split, and passes over those that begin with a dot.
"""

import itertools
import re
import unicodedata
from collections.abc import Sequence

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()'+,&-]{0,79}(?<![ .])")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # devices of Windows
_SPLITS = re.compile(r"(?<![^\W_\d])(train(ing)?|test(ing)?|eval(uation)?|dev|val(id(ation)?)?)(?![^\W_\d])")


def folder_names(class_names: Sequence[str]) -> list[str]:
    """Return a folder's name for each class: the classes' own if they can stay, else all with the label before them.

    >>> folder_names(["cat", "dog"]), folder_names(["2", "10", "a/b"])
    (['cat', 'dog'], ['0_2', '1_10', '2_a-b'])
    """
    names = list(class_names)
    if all(_PLAIN.fullmatch(n) and not _RESERVED.fullmatch(n) and not _SPLITS.search(n) for n in names):
        keys = [names, [n.lower() for n in names], [_natural(n) for n in names]]
        if all(a < b for key in keys for a, b in itertools.pairwise(key)):
            return names
    width = len(str(len(names) - 1))
    return [f"{k:0{width}d}_{_tamed(name)}".rstrip("_ .") for k, name in enumerate(names)]


def _tamed(name: str) -> str:
    kept = (c if c in " ._()'+,&-" or (c.isalnum() and c.isdigit() == c.isdecimal()) else "-" for c in _nfc(name))
    return _SPLITS.sub(r"(\1)", "".join(kept)[:60])


def _natural(name: str) -> list:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def same(name: str) -> str:
    """Return what two spellings of a class have in common: one Unicode form, no space around."""
    return _nfc(name).strip()
