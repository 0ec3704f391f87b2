"""Image data sets as tensors on one device, by name, from a folder, or from any torch `Dataset`.

`load(name)` is the one way in. Images are uint8 (n, C, H, W); `ImageData.normalise` turns a batch into the network's
input. Mean and standard deviation are always worked out from the training images, never typed.
"""

import contextlib
import gzip
import hashlib
import importlib
import os
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from . import layouts, pictures, rows, store
from .folders import TESTS, Listing, chosen, difference, few, listed, normal, visible
from .hosted import near
from .remarks import ASIDE, say

Small = Literal["refuse", "cap"]
_COLOUR = {1: "grey", 3: "colour"}

PHOTOS = tuple(
    "astronaut brick camera chelsea coffee grass gravel hubble_deep_field immunohistochemistry moon".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Split:
    """Images uint8 (n, C, H, W) with labels int64 (n,), on one device; see `unidd.data.hosted`."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Split":
        return Split(store.taken(self.images, index), self.labels[index])


@dataclass(frozen=True)
class ImageData:
    """A training and a test split with what is needed to use them: class names and the training images' mean and std.

    Attributes:
        mean, std: per channel, of pixel values in [0, 1].
        normalisation: mean and std in place of the training images', if these are a part of what networks saw.
        small: what becomes of a class with fewer training images than are asked for: "refuse" it, or "cap" what it
            gives at all it has.
        remarks: how many pictures were scaled, cropped, turned, …, and how many files were skipped.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    small: Small = "refuse"
    remarks: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        images = f"{len(self.train)} + {len(self.test)} images {self.channels} × {self.size} × {self.size}"
        return f"ImageData({self.name!r}, {images}, {self.classes} classes, remarks={dict(self.remarks)})"

    def __post_init__(self):
        shape = self.train.images.shape[1:]
        if self.test.images.shape[1:] != shape or shape[1] != shape[2]:
            raise ValueError(f"data set {self.name!r}: images must be square and of one shape in both splits")
        train, test = (set(split.labels.tolist()) for split in (self.train, self.test))
        if train != set(range(self.classes)) or not test or not test <= train:
            allowed = f"labels must be 0 … {self.classes - 1}, all of them in train, some in test"
            raise ValueError(f"data set {self.name!r}: {allowed}")
        if self.normalisation and not ({*map(len, self.normalisation)} == {shape[0]} and min(self.std) > 0):
            raise ValueError(f"data set {self.name!r}: {shape[0]} channels need as many means, and stds above 0")

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        # exact: counts of the 256 values of a channel, no floating-point sum over pixels
        values, moments = torch.arange(256, dtype=torch.float64) / 255, []
        for counts in store.histogram(self.train.images):
            frequency = counts.double() / counts.sum()
            mean = float(frequency @ values)
            moments.append((mean, float((frequency @ (values - mean) ** 2).sqrt()) or 1.0))
        means, stds = zip(*moments, strict=True)
        return means, stds

    @property
    def mean(self) -> tuple[float, ...]:
        return (self.normalisation or self._moments)[0]

    @property
    def std(self) -> tuple[float, ...]:
        return (self.normalisation or self._moments)[1]

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def size(self) -> int:
        return self.train.images.shape[-1]

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def device(self) -> torch.device:
        return self.train.images.device

    def normalise(self, images: Tensor) -> Tensor:
        """Return network input, zero mean and unit variance, from uint8 or from floats in [0, 1]: (n, C, H, W)."""
        pixels = images.float().div_(255) if images.dtype == torch.uint8 else images
        return (pixels - self._channel(self.mean, pixels)).div_(self._channel(self.std, pixels))

    def targets(self, labels: Tensor) -> Tensor:
        """Return what a linear learner is to predict: one-hot labels less 1/c, (n,) → (n, classes), float64."""
        return one_hot(labels.to(self.device), self.classes).double() - 1 / self.classes

    def denormalise(self, images: Tensor) -> Tensor:
        """Return pixels in [0, 1] from network input: (n, C, H, W)."""
        return images * self._channel(self.std, images) + self._channel(self.mean, images)

    def _channel(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True).view(-1, 1, 1)

    def only(self, classes: Sequence[str | int]) -> "ImageData":
        """Return the images of some classes, labelled 0, 1, … in the order they have here.

        Args:
            classes: names, or numbers.
        Raises:
            ValueError: there is no such class.
        """
        splits, names = _only([self.train, self.test], self.class_names, classes)
        return replace(
            self, name=f"{self.name} ({_in_words(names)})", train=splits[0], test=splits[1], class_names=names
        )

    def with_channels(self, channels: int) -> "ImageData":
        """Return the images in grey (1 channel) or colour (3), by the rule of picture files.

        Raises:
            ValueError: they are neither now.
        """
        if channels == self.channels:
            return self
        if {channels, self.channels} != {1, 3}:
            raise ValueError(f"{self.name} has {self.channels} channels, of which there is no way to {channels}")
        change = _grey if channels == 1 else lambda images: images.repeat(1, 3, 1, 1)
        images = (store.moved(change(near(split.images)), self.device) for split in (self.train, self.test))
        splits = [Split(next(images), split.labels) for split in (self.train, self.test)]
        return replace(self, name=f"{self.name} ({_COLOUR[channels]})", train=splits[0], test=splits[1])

    def split_validation(self, fraction: float = 0.1, seed: int = 0) -> "ImageData":
        """Return the same classes with part of the *training* images as the test split, for every choice one makes.

        Raises:
            ValueError: the fraction leaves a class without a training or a validation image.
        """
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for k in range(self.classes):
            index = (self.train.labels == k).nonzero().flatten()
            index = index[torch.randperm(len(index), generator=generator).to(index.device)]
            cut = round(fraction * len(index))
            if not 0 < cut < len(index):
                raise ValueError(f"a fraction of {fraction} leaves class {self.class_names[k]!r} an empty split")
            parts.append((index[cut:], index[:cut]))
        train, test = (self.train.take(torch.cat(i).sort().values) for i in zip(*parts, strict=True))
        return replace(self, name=f"{self.name}-validation", train=train, test=test)

    def to(self, device: str | torch.device) -> "ImageData":
        """Return the data on a device; images that are too many for a GPU stay in main memory, and batches are copied.

        A `DataNote` says so. Such images cannot be changed, and are those of the data they came from.
        """
        moved = (Split(store.moved(s.images, device), s.labels.to(device)) for s in (self.train, self.test))
        return replace(self, train=next(moved), test=next(moved))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over images and labels of both splits, whatever the data are called."""
        about = f"{self.class_names!r}{self.normalisation or ''}"
        parts = (self.train.images, self.train.labels, self.test.images, self.test.labels)
        return store.fingerprint(about, parts)


def load(
    name: str,
    root: str | Path | None = None,
    device: str | torch.device = "cpu",
    *,
    size: int | None = None,
    channels: int | None = None,
    hold_out: float = 0.0,
    classes: Sequence[str | int] = (),
    small: Small = "refuse",
) -> ImageData:
    """Load a data set by name, or an image folder by path.

    Args:
        name: one of `NAMES`, or the path of a folder: see `from_folder`.
        root: where downloads lie or go; by default the environment variable UNIDD_DATA, else ~/.cache/unidd/data.
        device: where the tensors are put.
        size, channels, hold_out, classes: see `from_folder`; a data set by name has a size and a test split of its own.
        small: see `ImageData`.
    Raises:
        ValueError: no such data set, class or device, or an option is of no use to it.
        FileNotFoundError: its files are missing and cannot be fetched; the message says what to put where.

    >>> load("digits").class_names[:3]
    ('0', '1', '2')
    >>> load("digits", classes=["3", "8"]).train.images.shape
    torch.Size([273, 1, 8, 8])
    """
    check_options(size, channels, hold_out, small)
    root = Path(root or os.environ.get("UNIDD_DATA") or "~/.cache/unidd/data").expanduser()
    if name in NAMES and hold_out:
        raise ValueError(f"{name} has test images of its own: leave hold-out out")
    if name in layouts.SIZES:
        found = layouts.by_name(name, root).only(classes)
        size, told = size or layouts.SIZES[name], channels is not None
        data = _said(_of_files(name, found, size, channels or 3, classes=classes, told=told))
    elif name in _LOADERS:
        data = _LOADERS[name](root)
        if size not in (None, data.size):
            raise ValueError(f"{name} has images of {data.size} pixels: leave size out")
        data = data.only(classes) if classes else data
        data = data.with_channels(channels) if channels else data
    elif Path(name).expanduser().is_dir():
        data = from_folder(name, size, channels=channels, hold_out=hold_out, classes=classes)
    else:
        raise ValueError(f"unknown data set {name!r}: choose one of {', '.join(NAMES)}, or the path of an image folder")
    try:
        return replace(data, small=small).to(device)
    except (RuntimeError, AssertionError) as error:  # what torch raises depends on how it was built
        raise ValueError(f"cannot use the device {device!r}: {str(error).splitlines()[0]}") from None


def source_fingerprint(name: str) -> str:
    """Return a hash of what can change under a data set's name: the files of a folder; a name stays what it is."""
    folder = Path(name).expanduser()
    if name in NAMES or not folder.is_dir():
        return name
    files = list(visible(folder))

    def of_all() -> str:
        digest = hashlib.sha256()
        for path in files:
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    return store.remembered("bytes of all files", files, of_all)


def from_torch(
    train: Any,
    test: Any = None,
    class_names: Sequence[str] | None = None,
    name: str = "custom",
    *,
    size: int | None = None,
    channels: int | None = None,
    hold_out: float = 0.0,
    seed: int = 0,
    classes: Sequence[str | int] = (),
    image: str | None = None,
    label: str | None = None,
) -> ImageData:
    """Make a data set of rows (image, label) or {"image": …, "label": …}.

    Rows come from a torch `Dataset` or `IterableDataset`, a DataLoader, Hugging Face's data sets, streams or not, or a
    list. An image is a PIL image, a uint8 tensor (C, H, W), a float tensor in [0, 1], an array (H, W) or (H, W, C), a
    path, or the bytes of a file. A label is one whole number.

    Args:
        train: the training split; or, without `test`, a dict of splits such as Hugging Face's `DatasetDict`.
        test: the split to test on.
        class_names: by default the data set's own, else "0", "1", ….
        size: side of the square that images are cropped and scaled to; by default they must have one size.
        channels, hold_out, seed, classes: see `from_folder`.
        image, label: names of the columns, where rows are dicts and several would fit.
    Raises:
        ValueError: a row is not usable (the message has its number), images differ in size, labels have gaps.
    """
    check_options(size, channels if channels in (1, 3) else None, hold_out)
    remarks: Counter[str] = Counter()
    train, test = _both(train, test, hold_out, remarks)
    own, names = rows.class_names(train, label), rows.class_names(test, label)
    if class_names is None and own and names and own != names:
        raise ValueError(
            f"data set {name!r}: the classes of training and test images differ "
            f"({difference(('training', own), ('test', names)) or 'in their order'})"
        )
    options: dict[str, Any] = {"size": size, "channels": channels, "columns": (image, label)}
    parts = [rows.read(train, "training images", **options)]
    parts += [] if test is None else [rows.read(test, "test images", **options)]
    for *_, counts in parts:
        remarks.update(counts)
    images = _stacked([array for arrays, *_ in parts for array in arrays], remarks)
    labels = [torch.tensor(labels) for _, labels, _ in parts]
    splits = [Split(*pair) for pair in zip(images.split([len(k) for k in labels]), labels, strict=True)]
    names = tuple(normal(str(n)) for n in class_names or own or range(int(labels[0].max()) + 1))
    if classes:
        splits, names = _only(splits, names, classes)
    _check_gaps(name, splits, names)
    if test is None:
        parts = _held_out(splits[0].labels.tolist(), names, hold_out, seed)
        splits = [splits[0].take(torch.tensor(index)) for index in parts]
    data = ImageData(name, splits[0], splits[1], names, remarks=remarks)
    say(name, len(data.train) + len(data.test), remarks)
    return data


def from_folder(
    path: str | Path,
    size: int | None = None,
    *,
    channels: int | None = None,
    hold_out: float = 0.0,
    seed: int = 0,
    classes: Sequence[str | int] = (),
) -> ImageData:
    """Make a data set of the pictures in train/<class>/ and test/<class>/ (or val/, valid/, validation/).

    What was done to pictures and what was skipped is counted in `remarks`, and said once as a `DataNote`.

    Args:
        size: side of the square images; by default the training images' own if they agree, else their median shorter
            side (a multiple of 8, at most 224). Others are cropped at the centre to a square and scaled.
        channels: 1 (grey) or 3 (colour); by default 1 if the files are all grey, else 3.
        hold_out: part of the training images of every class, at least one, that becomes the test split of a folder
            which has none: train/<class>/ alone, or <class>/. 0: the folder has its own.
        seed: of the choice of images held out.
        classes: names or numbers of those to take; by default all.
    Raises:
        FileNotFoundError: there are no class folders with pictures, or there is nothing to test on.
        ValueError: a picture cannot be read (the message names it), or the splits have different classes.
    """
    check_options(size, channels, hold_out)
    path = Path(path).expanduser()
    if known := layouts.recognised(path):
        name, found = known
        if hold_out:
            raise ValueError(f"{path} has test images of its own: leave hold-out out")
        size, told = size or layouts.SIZES[name], channels is not None
        return _said(_of_files(name, found.only(classes), size, channels or 3, classes=classes, told=told))
    found, told = listed(path, classes, hold_out=bool(hold_out)), channels is not None
    if size is None or channels is None:
        own = _size_and_channels([file for file, _ in [*found.train, *(found.test or [])]], len(found.train))
        size, channels = size or own[0], channels or own[1]
    if found.test is None:
        parts = _held_out([label for _, label in found.train], found.class_names, hold_out, seed)
        train, test = ([found.train[k] for k in part] for part in parts)
        found = replace(found, train=train, test=test)
    return _said(_of_files(path.resolve().name, found, size, channels, classes=classes, told=told))


def _of_files(
    name: str, found: Listing, size: int, channels: int, *, classes: Sequence[str | int], told: bool
) -> ImageData:
    """Decode the pictures of both splits; the name says which classes were asked for, and channels if `told`."""
    remarks, splits = Counter(found.remarks), []
    for pairs in (found.train, found.test or []):
        images, counts = store.decoded([file for file, _ in pairs], size, channels, progress=True)
        splits.append(Split(images, torch.tensor([label for _, label in pairs])))
        remarks.update(counts)
    said = [_in_words(found.class_names)] * bool(classes) + [_COLOUR[channels]] * told
    name += "".join(f" ({part})" for part in said)
    return ImageData(name, splits[0], splits[1], found.class_names, remarks=remarks)


def _said(data: ImageData) -> ImageData:
    say(data.name, len(data.train) + len(data.test), data.remarks, 4)
    return data


def _size_and_channels(files: Sequence[str], train: int) -> tuple[int, int]:
    """Return the common size of the training images, which come first, and the channels that all pictures need."""

    def looked() -> list[int]:
        heads = [pictures.look(Path(file)) for file in files]
        return [_common_size(heads[:train]), max(head.channels for head in heads)]

    size, channels = store.remembered(f"size of the first {train}, channels of all", files, looked)
    return size, channels


def check_options(size: Any, channels: Any, hold_out: Any, small: Any = "refuse") -> None:
    """Raise a ValueError unless `load` takes these values."""
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise ValueError(f"size must be a whole number of pixels from 1, not {size!r}")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), not {channels!r}")
    if not isinstance(hold_out, int | float) or not 0 <= hold_out < 1:
        raise ValueError(f"hold-out must be a fraction below 1, as 0.1, not {hold_out!r}")
    if small not in get_args(Small):
        raise ValueError(f"small must be one of {', '.join(get_args(Small))}, not {small!r}")


def _held_out(labels: Sequence[int], names: Sequence[str], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """The numbers of training and of test images: of every class that fraction, at least one, for the test."""
    members: dict[int, list[int]] = {}
    for number, label in enumerate(labels):
        members.setdefault(label, []).append(number)
    train, test = [], []
    for label, inside in members.items():
        order = torch.randperm(len(inside), generator=torch.Generator().manual_seed(seed)).tolist()
        cut = max(1, round(fraction * len(inside)))
        if cut == len(inside):
            raise ValueError(f"holding out {fraction} of class {names[label]!r}, {cut} images, leaves none to train on")
        test += [inside[k] for k in order[:cut]]
        train += [inside[k] for k in order[cut:]]
    return sorted(train), sorted(test)


def _both(train: Any, test: Any, hold_out: float, remarks: Counter[str]) -> tuple[Any, Any]:
    """Training and test rows, from a dict of splits if one was given."""
    if test is None and isinstance(train, Mapping):
        named = {str(key).lower(): key for key in train}
        held = next((named[key] for key in TESTS if key in named), None)
        if "train" not in named:
            raise ValueError(f"the splits are {', '.join(map(str, train))}: give the training rows and the test rows")
        used = (named["train"], held)
        remarks.update(f"{ASIDE}{key}" for key in train if key not in used)
        train, test = train[used[0]], None if held is None else train[held]
    if test is None and not hold_out:
        raise ValueError("there are no test images: give them, or say hold_out=0.1 to test on a tenth of the others")
    if test is not None and hold_out:
        raise ValueError("there are test images: leave hold_out out")
    return train, test


def _stacked(arrays: list[np.ndarray], remarks: Counter[str]) -> Tensor:
    """All images as one tensor (n, C, H, W): in colour if any of them is."""
    if {len(array) for array in arrays} == {1, 3}:
        remarks["grey to colour"] += sum(len(array) == 1 for array in arrays)
        arrays = [array.repeat(3, 0) if len(array) == 1 else array for array in arrays]
    if len(shapes := sorted({array.shape for array in arrays})) > 1:
        raise ValueError(f"images differ in size, as {shapes[0]} and {shapes[-1]}: say the size they are to have")
    return torch.from_numpy(np.stack(arrays))


def _only(splits: list[Split], names: Sequence[str], classes: Sequence[str | int]) -> tuple[list[Split], tuple]:
    taken = torch.tensor(chosen(names, classes))
    found = []
    for split in splits:
        index = torch.isin(split.labels, taken.to(split.labels.device)).nonzero().flatten()
        part = split.take(index)
        found.append(Split(part.images, torch.searchsorted(taken.to(part.labels.device), part.labels)))
    return found, tuple(names[k] for k in taken.tolist())


def _check_gaps(name: str, splits: Sequence[Split], names: Sequence[str]) -> None:
    """Raise a ValueError, with advice, if there are classes without a training image."""
    there = sorted(set(splits[0].labels.tolist()))
    if there and there[-1] < len(names) and len(there) < len(names):
        missing, some = [name for k, name in enumerate(names) if k not in there], [names[k] for k in there][:5]
        raise ValueError(
            f"data set {name!r}: the labels 0 … {len(names) - 1} have gaps, no training image is of class "
            f"{few(missing)}: say classes={some}{' …' * (len(there) > 5)} to take those there are"
        )


def _in_words(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} classes"


def _grey(images: Tensor) -> Tensor:
    """L of RGB, uint8 (n, 1, H, W), as Pillow works it out."""
    weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32, device=images.device).view(3, 1, 1)
    parts = [(((part.int() * weights).sum(1, keepdim=True) + 2**15) >> 16).byte() for part in images.split(1000)]
    return torch.cat(parts)


def _common_size(heads: Sequence[pictures.Header]) -> int:
    sizes = {(head.width, head.height) for head in heads}
    if len(sizes) == 1 and len(set(*sizes)) == 1:
        return sizes.pop()[0]
    return int(min(224, max(8, np.median([min(s) for s in sizes]) // 8 * 8)))


def _embedded(package: str, name: str) -> ModuleType:
    """Import the module that holds an embedded data set.

    Raises:
        ValueError: the package is not installed.
    """
    try:
        return importlib.import_module({"skimage": "skimage.data", "sklearn": "sklearn.datasets"}[package])
    except ModuleNotFoundError:
        raise ValueError(f"the data set {name} is in a package of its own: pip install 'unidd[embedded]'") from None


def _photos(root: Path, size: int = 32, per_class: tuple[int, int] = (500, 100)) -> ImageData:
    """Patches of the ten photographs that scikit-image ships: test patches lie in the right fifth of each photograph,
    training patches in the rest, so no pixel is in both splits.
    """
    photographs = _embedded("skimage", "photos")
    rng = np.random.default_rng(0)
    splits: tuple[list, list] = ([], [])
    for label, photo in enumerate(PHOTOS):
        picture = getattr(photographs, photo)()
        picture = np.stack([picture] * 3, -1) if picture.ndim == 2 else picture[..., :3]
        border = picture.shape[1] * 4 // 5
        for split, region, count in zip(splits, (picture[:, :border], picture[:, border:]), per_class, strict=True):
            for _ in range(count):
                top, left = (rng.integers(0, length - size + 1) for length in region.shape[:2])
                patch = region[top : top + size, left : left + size]
                split.append((torch.from_numpy(patch.copy()).permute(2, 0, 1), label))
    return from_torch(*splits, PHOTOS, "photos")


def _digits(root: Path) -> ImageData:
    """scikit-learn's 8×8 digits; every fifth image is a test image."""
    digits = _embedded("sklearn", "digits").load_digits()
    items = [(torch.from_numpy(i / 16)[None], int(k)) for i, k in zip(digits.images, digits.target, strict=True)]
    return from_torch([x for i, x in enumerate(items) if i % 5], items[::5], tuple("0123456789"), "digits")


_IDX = "FashionMNIST/raw/{train-images-idx3,train-labels-idx1,t10k-images-idx3,t10k-labels-idx1}-ubyte.gz"


def _torchvision(name: str, what: str, files: str) -> Callable[[Path], ImageData]:
    """A torchvision data set: what lies in `root` is used as it is, and only what is missing is fetched."""

    def loader(root: Path) -> ImageData:
        import torchvision.datasets

        raw, existed = root / what / "raw", root.exists()
        for archive in raw.glob("*.gz"):  # IDX files: torchvision looks for them extracted
            if not (extracted := archive.with_suffix("")).exists():
                try:
                    extracted.write_bytes(gzip.decompress(archive.read_bytes()))
                except (OSError, EOFError, zlib.error) as error:
                    raise ValueError(f"{archive} cannot be extracted ({error}): put a whole one there") from None
        dataset = getattr(torchvision.datasets, what)
        try:
            splits = [dataset(root, train=t) for t in (True, False)]
        except RuntimeError:  # torchvision's word for "not there, or not whole"
            try:
                splits = [dataset(root, train=t, download=True) for t in (True, False)]
            except (OSError, RuntimeError) as error:
                for folder in (raw, raw.parent, *([] if existed else [root])):
                    with contextlib.suppress(OSError):
                        folder.rmdir()  # made for the download, and empty
                reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
                raise FileNotFoundError(
                    f"{name} is not in {root} and cannot be fetched ({reason}): put {files} there, "
                    "or set UNIDD_DATA to the folder that holds it"
                ) from None
        return from_torch(*splits, name=name)

    return loader


_LOADERS: dict[str, Callable[[Path], ImageData]] = {
    "photos": _photos,
    "digits": _digits,
    "fashion-mnist": _torchvision("fashion-mnist", "FashionMNIST", _IDX),
    "cifar10": _torchvision("cifar10", "CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": _torchvision("cifar100", "CIFAR100", "cifar-100-python.tar.gz"),
}
NAMES = (*_LOADERS, *layouts.SIZES)
