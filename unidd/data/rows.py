"""Read the rows of a data set that is in memory or streams: torch's, Hugging Face's, a DataLoader, or a list.

A row is (image, label), or a dict that has both. An image is what PIL, numpy or torch make of one, the path of a
picture file, or its bytes; what is done to it is what `pictures` does to files. A label is one whole number from 0.
"""

import numbers
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from . import pictures
from .folders import normal

IMAGES = ("image", "img", "images", "picture", "pixel_values", "pixels")
LABELS = ("label", "labels", "fine_label", "coarse_label", "target", "targets", "class", "y")
_ROW = "a row must be (image, label), or a dict that has both"


def read(
    rows: Any,
    where: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    columns: tuple[str | None, str | None] = (None, None),
) -> tuple[list[np.ndarray], list[int], Counter[str]]:
    """Return the images of all rows, each uint8 (C, H, W), their labels, and how often what was done to them.

    Args:
        where: the split in words, for errors.
        size: side of the square that images are cropped and scaled to; None leaves them as they are.
        channels: 1 or 3; None leaves them as they are, but that the last of 2 or 4 is transparency; asked for, 2 or 4
            stay as they are too.
        columns: names of the columns of image and label, where rows are dicts.
    Raises:
        ValueError: a row is not usable; the message has its number.
    """
    images, labels, counts = list[np.ndarray](), list[int](), Counter[str]()
    columns = _columns(rows, *columns)
    found = _rows(rows, columns)
    try:
        for row in found:  # a stream may decode its pictures here
            image, label = _parts(row, columns)
            labels.append(_whole(label))
            array, remarks = _pixels(image, size, channels)
            images.append(array)
            counts.update(remarks)
    except (ValueError, OSError) as error:
        raise ValueError(f"{where}, row {len(images)} (from 0): {error}") from None
    if not images:
        raise ValueError(f"{where}: the data set is empty")
    return images, labels, counts


def class_names(rows: Any, column: str | None = None) -> tuple[str, ...] | None:
    """Return the names of the classes that a data set has, or that the sets have which it is made of; None if none has.

    Args:
        column: of the labels, where several have names.
    Raises:
        ValueError: it is made of sets whose classes differ.
    """
    features = getattr(rows, "features", None)
    if isinstance(features, Mapping):
        label = _columns(rows, None, column)[1]
        names = getattr(features.get(label), "names", None)
        return tuple(map(normal, names)) if names else None
    for attribute in ("classes", "categories"):
        names = getattr(rows, attribute, None)
        if isinstance(names, Sequence) and names and not isinstance(names, str):
            return tuple(normal(str(name)) for name in names)
    info = getattr(rows, "info", None)  # MedMNIST: {"label": {"0": name, …}}
    if isinstance(info, Mapping) and isinstance(info.get("label"), Mapping):
        return tuple(normal(str(info["label"][key])) for key in sorted(info["label"], key=int))
    if hasattr(rows, "dataset"):
        return class_names(rows.dataset, column)
    inner = [found for part in getattr(rows, "datasets", ()) if (found := class_names(part, column))]
    if len(set(inner)) > 1:
        raise ValueError(f"the data sets joined have different classes: {inner[0][:5]} … and {inner[1][:5]} …")
    return inner[0] if inner else None


def _rows(rows: Any, columns: tuple[str | None, str | None]) -> Iterator[Any]:
    """Yield row after row, in the same order every time."""
    if isinstance(rows, DataLoader):
        if not _plain(rows):
            return _unbatched(rows, columns)
        rows = rows.dataset  # all of it, and not in the order of this epoch
    if hasattr(rows, "__getitem__") and hasattr(rows, "__len__") and not isinstance(rows, Mapping):
        return iter(rows) if hasattr(rows, "features") else (rows[k] for k in range(len(rows)))
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        raise ValueError(f"a {type(rows).__name__} has no rows: {_ROW}")
    return iter(rows)


def _plain(loader: DataLoader) -> bool:
    """Whether a DataLoader gives every row of its data set once, as it is."""
    if isinstance(loader.dataset, IterableDataset):
        return loader.collate_fn is default_collate
    sampler, rows = loader.sampler, cast(Sized, loader.dataset)
    whole = isinstance(sampler, RandomSampler) and not sampler.replacement and sampler.num_samples == len(rows)
    known = loader.batch_sampler is None or type(loader.batch_sampler) is BatchSampler
    return loader.collate_fn is default_collate and known and (whole or isinstance(sampler, SequentialSampler))


def _unbatched(loader: DataLoader, columns: tuple[str | None, str | None]) -> Iterator[Any]:
    for batch in loader:
        if loader.batch_size is None and loader.batch_sampler is None:
            yield batch
        else:
            yield from zip(*_parts(batch, columns), strict=True)


def _columns(rows: Any, image: str | None, label: str | None) -> tuple[str | None, str | None]:
    """The columns of image and label: as asked for, else the only ones of their kind, else left to the names."""
    features = getattr(rows, "features", None)
    if not isinstance(features, Mapping):
        return image, label
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    pictured, classed = ([n for n, found in kinds.items() if found == kind] for kind in ("Image", "ClassLabel"))
    if image is None:
        image = pictured[0] if len(pictured) == 1 else _named("image", IMAGES, pictured or kinds)
    if label is None:
        label = classed[0] if len(classed) == 1 else _named("label", LABELS, classed or kinds)
    return image, label


def _named(what: str, names: Sequence[str], there: Iterable[str]) -> str:
    there = list(there)
    found = [name for name in names if name in there]
    if len(found) != 1:
        say = f"say which is the {what}, as in {what}={(found or there or ['name'])[0]!r}"
        raise ValueError(f"{_ROW}; the columns are {', '.join(map(str, there))}: {say}")
    return found[0]


def _parts(row: Any, columns: tuple[str | None, str | None]) -> tuple[Any, Any]:
    if isinstance(row, Mapping):
        image, label = columns
        image, label = image or _named("image", IMAGES, row), label or _named("label", LABELS, row)
        if missing := [name for name in (image, label) if name not in row]:
            raise ValueError(f"there is no column {missing[0]!r}: choose from {', '.join(map(str, row))}")
        return row[image], row[label]
    if not isinstance(row, tuple | list) or len(row) != 2:
        parts = f", not {len(row)} parts" if isinstance(row, tuple | list) else f", not a {type(row).__name__}"
        raise ValueError(_ROW + parts)
    return row[0], row[1]


def _whole(label: Any) -> int:
    """A label as an int."""
    one: Any = label
    if isinstance(label, np.ndarray | Tensor | list | tuple) and np.size(label) == 1:  # MedMNIST: array([k])
        one = np.asarray(label).reshape(-1)[0]
    if not isinstance(one, numbers.Real) or isinstance(one, bool | np.bool_) or not float(one).is_integer():
        raise ValueError(f"it needs one label, a whole number from 0, not {_short(label)}")
    if one < 0:
        raise ValueError(f"labels must be whole numbers from 0, not {one}: leave out what has no label")
    return int(float(one))


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]} …"


def _pixels(image: Any, size: int | None, channels: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    if isinstance(image, Mapping) and (image.get("bytes") or image.get("path")):  # Hugging Face, decode=False
        image = image.get("bytes") or image["path"]
    if isinstance(image, bytes):
        return pictures.decode(image, size, channels)
    if isinstance(image, str | Path):
        return pictures.read(Path(image), size, channels)
    if isinstance(image, Image.Image):
        with pictures.refusing("the image"):
            return pictures.pixels(image, size, channels)
    array, remarks = _eight(_channels_first(image))
    own = len(array)
    if size is None and (own == channels or (channels is None and own in (1, 3))):
        return np.ascontiguousarray(array), remarks
    if own > 4 or own == channels:  # neither grey, nor colour, nor transparent
        if channels not in (None, own) or size not in (None, *array.shape[1:]):
            raise ValueError(f"images of {own} channels stay as they are: give them as you want them")
        return np.ascontiguousarray(array), remarks
    last = array[0] if own == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))
    array, more = pictures.pixels(Image.fromarray(last), size, channels)  # mode L, LA, RGB or RGBA, by its shape
    return array, (*remarks, *more)


def _channels_first(image: Any) -> np.ndarray:
    """An array (C, H, W) of a tensor in that order, or of what numpy takes, whose channels come last."""
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        array = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    else:
        array = np.asarray(image)
        array = array[..., None] if array.ndim == 2 else array
        first = array.ndim == 3 and array.shape[0] <= 4 < array.shape[2]
        array = array.transpose(2, 0, 1) if array.ndim == 3 and not first else array
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"images must be PIL, uint8 or float (C, H, W), not {array.dtype} {array.shape}")
    return array


def _eight(array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The array as uint8, by the rules of picture files."""
    if array.dtype == np.uint8:
        return array, ()
    if array.dtype == np.bool_:
        return array * np.uint8(255), ()
    if array.dtype == np.uint16:
        return ((array.astype(np.int32) + 128) // 257).astype(np.uint8), ("16-bit",)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"images must be PIL, uint8 or float (C, H, W), not {array.dtype} {array.shape}")
    if not (array.min() >= 0 and array.max() <= 1):  # NaN is neither
        raise ValueError("float images must lie in [0, 1]: leave normalisation to unidd")
    return np.rint(array * 255).astype(np.uint8), ()
