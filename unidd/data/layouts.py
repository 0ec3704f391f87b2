"""Tiny-ImageNet and ImageNet as their archives unpack: which picture is of which class, and what classes are called.

A class is a folder named by its WordNet number ("n01443537"); labels go by the sorted numbers, as everywhere. Names are
the first term of `words.txt` or `LOC_synset_mapping.txt`, where no other class has it.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .folders import Listing
from .pictures import ENDINGS
from .remarks import SKIPPED

SIZES = {"tiny-imagenet": 64, "imagenet": 224}  # sides of the square images, unless one says otherwise
_TINY, _WNID = "tiny-imagenet-200", re.compile(r"n\d{8}")
_KAGGLE = Path("ILSVRC", "Data", "CLS-LOC")
_TRUTH, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_SOLUTION, _MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"


def tiny_imagenet(folder: Path) -> Listing:
    """Return the pictures of Tiny-ImageNet: train/<wnid>/images/, and val/images/ with val/val_annotations.txt.

    Where someone has sorted the validation images into val/<wnid>/, they are taken from there.

    Raises:
        FileNotFoundError: a part of it is missing; the message says what to put where.
        ValueError: the annotations are not those of the pictures.
    """
    advice = f"unpack tiny-imagenet-200.zip so that {folder}/train and {folder}/val are there"
    train = _of_classes(folder / "train", advice)
    if (listed := folder / "wnids.txt").is_file():
        _check_same(folder, listed.read_text().split(), train, advice)
    annotations = folder / "val" / "val_annotations.txt"
    if not annotations.is_file() and not any(_numbers(folder / "val")):
        raise FileNotFoundError(f"{folder} is not Tiny-ImageNet: {annotations} is missing: {advice}, or set UNIDD_DATA")
    if not annotations.is_file():
        return _listing(folder, train, _of_classes(folder / "val", advice))
    rows = (line.split("\t") for line in annotations.read_text().splitlines() if line.strip())
    return _listing(folder, train, *_of_answers(folder / "val" / "images", {row[0]: row[1:2] for row in rows}, advice))


def imagenet(folder: Path) -> Listing:
    """Return the pictures of ImageNet (ILSVRC 2012), or of some of its classes, in folders or as on Kaggle.

    Training images lie in train/<wnid>/; validation images in val/<wnid>/, or side by side in val/ with Kaggle's
    LOC_val_solution.csv, or with the development kit's ground truth and meta.mat (which takes scipy).

    Raises:
        FileNotFoundError: a part of it is missing; the message says what to put where.
        ValueError: the answers are not those of the pictures.
    """
    pictures = folder / _KAGGLE if (folder / _KAGGLE).is_dir() else folder
    advice = f"put the images in {folder}/train/<wnid>/ and {folder}/val/<wnid>/"
    train, val = _of_classes(pictures / "train", advice), pictures / "val"
    if any(_numbers(val)):
        return _listing(folder, train, _of_classes(val, advice))
    if solution := _found(folder, _SOLUTION):
        with open(solution, newline="") as file:
            answers = {f"{row['ImageId']}.JPEG": row["PredictionString"].split()[:1] for row in csv.DictReader(file)}
        return _listing(folder, train, *_of_answers(val, answers, advice))
    truth, meta = _found(folder, _TRUTH), _found(folder, _META)
    if truth and meta:
        return _listing(folder, train, *_of_answers(val, _kit(val, truth, meta), advice))
    if not any(_pictures(val)):
        raise FileNotFoundError(f"{val} has no images: {advice}, or set UNIDD_DATA to the folder that holds imagenet/")
    kit = f"{_SOLUTION}, or {_TRUTH} and {_META} of the development kit"
    raise FileNotFoundError(
        f"nothing says which classes the images in {val} are of: {advice}, or put {kit}, in {folder}"
    )


def recognised(folder: Path) -> tuple[str, Listing] | None:
    """Return name and pictures of a folder that is Tiny-ImageNet or ImageNet, as no common image folder is; else None.

    Raises:
        FileNotFoundError: a part of it is missing.
        ValueError: the annotations are not those of the pictures.
    """
    if (folder / "val" / "val_annotations.txt").is_file():
        return "tiny-imagenet", tiny_imagenet(folder)
    first = next(_numbers(folder / "train"), None)
    if first and (folder / "wnids.txt").is_file() and (folder / "train" / first / "images").is_dir():
        return "tiny-imagenet", tiny_imagenet(folder)
    flat = first and any(_found(folder, name) for name in (_SOLUTION, _TRUTH))
    if (folder / _KAGGLE / "train").is_dir() or flat:
        return "imagenet", imagenet(folder)
    return None


def by_name(name: str, root: Path) -> Listing:
    """Return the pictures of "tiny-imagenet" in <root>/tiny-imagenet-200, or of "imagenet" in <root>/imagenet.

    Raises:
        FileNotFoundError: a part of it is missing; the message says what to put where.
        ValueError: the annotations are not those of the pictures.
    """
    if name == "tiny-imagenet":
        return tiny_imagenet(next((f for f in (root / _TINY, root / name) if f.is_dir()), root / _TINY))
    return imagenet(root / name)


def class_names(wnids: Iterable[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """Return names of classes, all different: the first term, else all terms, else with the number.

    >>> words = {"n02012849": "crane", "n03126707": "crane", "n01443537": "goldfish, Carassius auratus"}
    >>> class_names(sorted(words), words)
    ('goldfish', 'crane (n02012849)', 'crane (n03126707)')
    """
    wnids = list(wnids)
    terms = {wnid: words.get(wnid, wnid).strip() or wnid for wnid in wnids}
    first = {wnid: text.split(",")[0].strip() or wnid for wnid, text in terms.items()}
    firsts, wholes = Counter(first.values()), Counter(terms.values())
    names = [
        first[wnid]
        if firsts[first[wnid]] == 1
        else terms[wnid]
        if wholes[terms[wnid]] == 1 and terms[wnid] != first[wnid]
        else f"{first[wnid]} ({wnid})"
        for wnid in wnids
    ]
    return tuple(names)


def _listing(
    folder: Path,
    train: dict[str, list[str]],
    val: dict[str, list[str]],
    remarks: Counter[str] | None = None,
) -> Listing:
    """Number the classes, and name them."""
    if strange := sorted(set(val) - set(train)):
        raise ValueError(f"{folder}: {_some(strange)} of the validation images are not in train/: complete train/")
    wnids = sorted(train)
    splits = [[(file, k) for k, wnid in enumerate(wnids) for file in split.get(wnid, ())] for split in (train, val)]
    return Listing(class_names(wnids, _words(folder)), splits[0], splits[1], remarks or Counter())


def _words(folder: Path) -> dict[str, str]:
    """Return the terms of each number, as far as there is a file of them."""
    for name, gap in (("words.txt", "\t"), (_MAPPING, " ")):
        if path := _found(folder, name):
            lines = (line.partition(gap) for line in path.read_text("utf-8", "replace").splitlines())
            return {wnid.strip(): text for wnid, _, text in lines}
    return {}


def _found(folder: Path, name: str) -> Path | None:
    """Return where a file lies: in the folder, beside its images, or in the development kit."""
    kit = folder / "ILSVRC2012_devkit_t12" / "data"
    return next((place / name for place in (folder, folder / "val", kit) if (place / name).is_file()), None)


def _numbers(folder: Path) -> Iterator[str]:
    """Return the WordNet numbers that are folders there, sorted."""
    if not folder.is_dir():
        return iter(())
    with os.scandir(folder) as entries:
        return iter(sorted(entry.name for entry in entries if _WNID.fullmatch(entry.name) and entry.is_dir()))


def _pictures(folder: Path) -> list[str]:
    """Return the pictures that lie in a folder, sorted."""
    if not folder.is_dir():
        return []
    names = (name for name in os.listdir(folder) if not name.startswith(".") and name.lower().endswith(tuple(ENDINGS)))
    return [os.path.join(folder, name) for name in sorted(names)]


def _of_classes(folder: Path, advice: str) -> dict[str, list[str]]:
    """Return the pictures of each class: in <wnid>/images/, or else in <wnid>/."""
    if not (wnids := list(_numbers(folder))):
        raise FileNotFoundError(f"{folder} has no folders of classes, such as n01443537: {advice}, or set UNIDD_DATA")
    places = {w: folder / w / "images" if (folder / w / "images").is_dir() else folder / w for w in wnids}
    found = {wnid: _pictures(place) for wnid, place in places.items()}
    if empty := [wnid for wnid, files in found.items() if not files]:
        raise FileNotFoundError(f"{folder}: {_some(empty)} without pictures: {advice}")
    return found


def _of_answers(
    folder: Path, answers: Mapping[str, list[str]], advice: str
) -> tuple[dict[str, list[str]], Counter[str]]:
    """Return the pictures of each class of a folder in which all lie side by side, and how many have no answer."""
    there = {os.path.basename(file): file for file in _pictures(folder)}
    if gone := [name for name in answers if name not in there]:
        raise FileNotFoundError(
            f"{folder} lacks {_some(gone)} of the {len(answers):,} images that are listed: {advice}"
        )
    if wrong := [name for name, answer in answers.items() if not answer or not _WNID.fullmatch(answer[0])]:
        raise ValueError(f"{folder}: {_some(wrong)} listed without a class such as n01443537: take the original list")
    found: dict[str, list[str]] = {}
    for name in sorted(answers):
        found.setdefault(answers[name][0], []).append(there[name])
    left = len(there) - len(answers)
    return found, Counter({f"{SKIPPED}without a class": left}) if left else Counter()


def _kit(val: Path, truth: Path, meta: Path) -> dict[str, list[str]]:
    """Return the answers of the development kit, whose n-th line is of the n-th image."""
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError:
        raise ValueError(f"{meta} takes scipy to read: pip install scipy, or put {_SOLUTION} beside it") from None
    synsets = loadmat(meta, squeeze_me=True)["synsets"]
    wnids = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets if int(s["num_children"]) == 0}
    numbers, files = [int(line) for line in truth.read_text().split()], _pictures(val)
    if len(numbers) != len(files):
        raise ValueError(f"{truth} has {len(numbers):,} lines, {val} {len(files):,} images: complete the images")
    return {os.path.basename(file): [wnids.get(number, "")] for file, number in zip(files, numbers, strict=True)}


def _check_same(folder: Path, listed: Iterable[str], train: Mapping[str, object], advice: str) -> None:
    listed = set(listed)
    if lacking := sorted(listed - set(train)):
        raise FileNotFoundError(f"{folder}/train lacks {_some(lacking)} of wnids.txt: {advice}")
    if more := sorted(set(train) - listed):
        raise ValueError(f"{folder}/train has {_some(more)} that wnids.txt has not: {advice}")


def _some(names: list[str]) -> str:
    """Return a few names and how many there are."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} … ({len(names):,} in all)"
