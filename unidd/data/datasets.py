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
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from . import store

PHOTOS = tuple(
    "astronaut brick camera chelsea coffee grass gravel hubble_deep_field immunohistochemistry moon".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Split:
    """Images uint8 (n, C, H, W) with labels int64 (n,), on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Split":
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class ImageData:
    """A training and a test split with what is needed to use them: class names and the training images' mean and std.

    Attributes:
        mean, std: per channel, of pixel values in [0, 1].
        normalisation: mean and std in place of the training images', if these are a part of what networks saw.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None

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

    def denormalise(self, images: Tensor) -> Tensor:
        """Return pixels in [0, 1] from network input: (n, C, H, W)."""
        return images * self._channel(self.std, images) + self._channel(self.mean, images)

    def _channel(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True).view(-1, 1, 1)

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
        moved = (Split(store.moved(s.images, device), s.labels.to(device)) for s in (self.train, self.test))
        return replace(self, train=next(moved), test=next(moved))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over images and labels of both splits: the same data, whatever their name, have the same."""
        about = f"{self.class_names!r}{self.normalisation or ''}"
        parts = (self.train.images, self.train.labels, self.test.images, self.test.labels)
        return store.fingerprint(about, parts)


def load(name: str, root: str | Path | None = None, device: str | torch.device = "cpu") -> ImageData:
    """Load a data set by name, or an image folder by path.

    Args:
        name: one of `NAMES`, or the path of a folder with train/ and test/ (or val/), one folder a class in each.
        root: where downloads lie or go; by default the environment variable UNIDD_DATA, else ~/.cache/unidd/data.
        device: where the tensors are put.
    Raises:
        ValueError: no such data set, or no such device.
        FileNotFoundError: its files are missing and cannot be fetched; the message says what to put where.

    >>> load("digits").class_names[:3]
    ('0', '1', '2')
    """
    root = Path(root or os.environ.get("UNIDD_DATA") or "~/.cache/unidd/data").expanduser()
    if name in _LOADERS:
        data = _LOADERS[name](root)
    elif Path(name).expanduser().is_dir():
        data = from_folder(name)
    else:
        raise ValueError(f"unknown data set {name!r}: choose one of {', '.join(NAMES)}, or the path of an image folder")
    try:
        return data.to(device)
    except (RuntimeError, AssertionError) as error:  # what torch raises depends on how it was built
        raise ValueError(f"cannot use the device {device!r}: {str(error).splitlines()[0]}") from None


def source_fingerprint(name: str) -> str:
    """Return a hash of what can change under a data set's name: the files of a folder; a name stays what it is."""
    folder = Path(name).expanduser()
    if name in _LOADERS or not folder.is_dir():
        return name
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def from_torch(train, test, class_names: tuple[str, ...] | None = None, name: str = "custom") -> ImageData:
    """Make a data set of any two map-style torch `Dataset`s of (image, label).

    Args:
        train, test: items are (PIL image, uint8 tensor (C, H, W), or float tensor in [0, 1]; integer label).
        class_names: by default the training set's `classes`, else "0", "1", ….
    Raises:
        ValueError: an image is not in a usable format, or images differ in size.
    """
    first, second = (_stack([split[i] for i in range(len(split))]) for split in (train, test))
    names = class_names or getattr(train, "classes", None) or range(int(first.labels.max()) + 1)
    return ImageData(name, first, second, tuple(str(n) for n in names))


def from_folder(path: str | Path, size: int | None = None) -> ImageData:
    """Make a data set of the images in train/<class>/* and test/<class>/* (or val/).

    Args:
        size: side of the square images; by default the images' own if they agree, else their median shorter side
            (a multiple of 8, at most 224). Others are resized (shorter side) and cropped at the centre.
    Raises:
        FileNotFoundError: train/ or test/ is missing, or has no class folders with images.
        ValueError: the test classes are not the training classes.
    """
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    path = Path(path).expanduser()
    held_out = path / ("test" if (path / "test").is_dir() else "val")
    try:
        train, test = ImageFolder(path / "train"), ImageFolder(held_out)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is not an image folder ({error}): put images in {path}/train/<class>/ and {path}/test/<class>/"
        ) from None
    if train.classes != test.classes:
        raise ValueError(f"{path}: train/ has the classes {train.classes}, {held_out.name}/ has {test.classes}")
    size = size or _common_size(train)
    train.transform = test.transform = v2.Compose([v2.RGB(), v2.Resize(size, antialias=True), v2.CenterCrop(size)])
    return from_torch(train, test, name=path.resolve().name)


def _common_size(folder) -> int:
    from PIL import Image

    sizes = set()
    for path, _ in folder.samples:
        with Image.open(path) as image:
            sizes.add(image.size)
    if len(sizes) == 1 and len(set(*sizes)) == 1:
        return sizes.pop()[0]
    return int(min(224, max(8, np.median([min(s) for s in sizes]) // 8 * 8)))


def _stack(items: list) -> Split:
    if not items:
        raise ValueError("the data set is empty")
    images = [_as_uint8(image) for image, _ in items]
    if len({image.shape for image in images}) > 1:
        raise ValueError("images differ in size: resize them in the data set's transform, or use an image folder")
    return Split(torch.stack(images), torch.tensor([int(label) for _, label in items]))


def _as_uint8(image) -> Tensor:
    if not isinstance(image, Tensor):
        array = np.asarray(image.convert("RGB") if getattr(image, "mode", "") == "P" else image)
        image = torch.from_numpy(array.copy()).view(*array.shape[:2], -1).permute(2, 0, 1)
    if image.is_floating_point():
        if not (image.min() >= 0 and image.max() <= 1):
            raise ValueError("float images must lie in [0, 1]: leave normalisation to unidd")
        image = (image * 255).round().to(torch.uint8)
    if image.dtype != torch.uint8 or image.ndim != 3:
        raise ValueError(f"images must be PIL, uint8 or float (C, H, W), not {image.dtype} {tuple(image.shape)}")
    return image


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
NAMES = tuple(_LOADERS)
