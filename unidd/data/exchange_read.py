"""What the published methods leave on disk, read as it is stored: whose format, tensors, labels, and in what space.

Nothing is executed: pickles are read with weights_only, arrays without pickle. The formats are those of the released
code: DC, DSA and DM; MTT, TESLA and DATM; FRePo; KIP; NCFM; SRe2L, CDA, FADRM, RDED and D4M; DD-Ranking; and parquet
files of Hugging Face, as of rethinkdc.
"""

import contextlib
import importlib
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .exchange_folder import image_files, read_images
from .exchange_parquet import parquet_files, read_parquet
from .pictures import ENDINGS
from .synthetic import metadata, read_card

SPACES = ("pixels", "normalised", "zca")

# What the released code normalises with, where that is not the mean and std of the training images.
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CIFAR10 = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_DC = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashionmnist": ((0.2861,), (0.3530,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": _CIFAR10,
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tinyimagenet": _IMAGENET,
}
_OTHERS = {"cifar10": _CIFAR10, "cifar100": _CIFAR10, "tinyimagenet": _IMAGENET}
CONSTANTS = {"DC/DSA/DM": _DC, "MTT/TESLA": _OTHERS, "TESLA": _OTHERS, "DATM": _OTHERS, "DD-Ranking": _OTHERS}


@dataclass
class Stored:
    """A set as its file holds it.

    Attributes:
        format: whose it is.
        images: (n, C, H, W), float or uint8.
        labels: int64 (n,), or float (n, classes), or none.
        soft: float (n, classes), where there are both.
        space: what the format says of the values, if it does.
        zca: how they were whitened if they were: "kornia", or "kip" after standardisation.
        rate: the learning rate that was learnt with them.
        folders: the name behind each label, where labels are folders or have names.
        factor: each image is factor × factor training images.
        card: ours, if the file is an export of ours.
        remarks: what was done to pictures as they were read, and to how many.
    """

    format: str
    images: Tensor
    labels: Tensor | None = None
    space: str | None = None
    zca: str = "kornia"
    rate: float | None = None
    folders: list[str] = field(default_factory=list)
    factor: int = 1
    soft: Tensor | None = None
    card: dict | None = None
    remarks: Mapping[str, int] = field(default_factory=dict)

    def constants(self, *names: str) -> tuple[str, tuple, tuple] | None:
        """Return (name, mean, std) of the released code for the first of these data sets that it normalises its way."""
        known = CONSTANTS.get(self.format, {})
        for name in (re.sub(r"[^a-z0-9]", "", name.lower()) for name in names):
            if name in known and len(known[name][0]) == self.images.shape[1]:
                return name, *known[name]
        return None


def read(path: str | Path, number: int | None = None) -> Stored:
    """Read a set of others; the format follows from what is in the file or the folder.

    Args:
        number: which of several sets in a file of DC, DSA or DM; by default the last.
    Raises:
        FileNotFoundError: there is nothing.
        ValueError: the format is none of these, the file is damaged, or a pickle would have to be executed.
    """
    path = _inside(Path(path).expanduser())
    if parquet_files(path):
        return _rows(path)
    if path.is_dir():
        return _folders(path)
    if path.suffix.lower() in {*ENDINGS, ".safetensors"}:
        raise ValueError(f"{path} is a part of a set: name the folder that holds all of it")
    if _is_npz(path):
        return _arrays(path)
    if _is_flax(path):
        return _flax(path)
    content = _torch(path)
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        return _dc(path, content, number)
    if isinstance(content, list | tuple) and len(content) == 2 and all(isinstance(t, Tensor) for t in content):
        return Stored("NCFM", *_checked(path, *content), space="pixels", factor=2)
    if isinstance(content, Tensor):
        return _beside(path, content)
    raise ValueError(f"{path} is in no format that is known here: it holds {_described(content)}")


_TENSORS = ("images_best.pt", "images.pt", "res_*.pt", "*.npz", "data_*.pt", "images_*.pt", "checkpoint_*")


def _inside(path: Path) -> Path:
    """The file of tensors in a folder, or the folder whose folders are the classes."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    while path.is_dir() and not parquet_files(path) and not image_files(path):
        for names in _TENSORS:
            found = sorted(p for p in path.glob(names) if not p.name.startswith(("images_zca_", "data_init")))
            found = [p for p in found if p.is_file()]
            if len(found) > 1:
                raise ValueError(f"{path} holds several sets ({found[0].name}, {found[1].name}, …): name the file")
            if found:
                return found[0]
        below = [p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))]
        if len(below) != 1:
            raise FileNotFoundError(f"{path} holds no set: neither tensors nor folders of images are in it")
        path = below[0]
    return path


def _torch(path: Path) -> object:
    scalar: Any = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    allowed += [np.dtype, *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64"))]
    open(path, "rb").close()  # what the system says of it
    try:
        with torch.serialization.safe_globals(allowed):  # DC's files hold accuracies of numpy's
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        if isinstance(error, pickle.UnpicklingError) and re.search("(?i)unsupported (global|class)", str(error)):
            raise ValueError(
                f"{path} holds more than tensors, and reading that would execute code, which is refused: where you "
                "trust it, load it and save images and labels with torch.save([images, labels], …)"
            ) from None
        raise ValueError(f"{path} is no file of tensors, or is damaged") from None


def _dc(path: Path, content: dict, number: int | None) -> Stored:
    sets = content["data"]
    if not sets or not -len(sets) <= (-1 if number is None else number) < len(sets):
        raise ValueError(f"{path} holds {len(sets)} sets: there is no number {number}")
    chosen = sets[-1 if number is None else number]
    if not (isinstance(chosen, list | tuple) and len(chosen) == 2 and all(isinstance(t, Tensor) for t in chosen)):
        raise ValueError(f"{path}: a set must be [images, labels], not {_described(chosen)}")
    stored = Stored("DC/DSA/DM", *_checked(path, *chosen), space="normalised")
    if isinstance(content.get("unidd"), str):
        with contextlib.suppress(ValueError):  # theirs, whatever else is in it
            card = json.loads(content["unidd"])
            stored.card = card | metadata(card)
    return stored


def _beside(path: Path, images: Tensor) -> Stored:
    """Images alone, with labels and a learning rate in files of their own."""
    if "images" not in path.name:
        raise ValueError(f"{path} holds one tensor: name the file of the images, images.pt, images_best.pt, …")
    labels, rate = (path.with_name(path.name.replace("images", other)) for other in ("labels", "lr"))
    ranking = path.stem == "images"
    found = _torch(labels) if labels.is_file() else None
    if not ((found is None and ranking) or isinstance(found, Tensor)):
        raise FileNotFoundError(f"{labels}, the labels of {path.name}, is missing or holds no tensor")
    stored = Stored("DD-Ranking" if ranking else "MTT/TESLA", *_checked(path, images, found))
    if ranking and path.with_name("card.json").is_file():
        card = read_card(path.parent)
        stored.card, stored.space = card | metadata(card), "normalised"
    if rate.is_file():
        value = _torch(rate)
        if not isinstance(value, float | Tensor) or torch.as_tensor(value).numel() != 1:
            raise ValueError(f"{rate} must hold one learning rate, not {_described(value)}")
        stored.rate = float(value)
    if not ranking and (stored.rate is not None or (stored.labels is not None and stored.labels.is_floating_point())):
        stored.format = "DATM" if stored.rate is not None else "TESLA"
    return stored


def _is_npz(path: Path) -> bool:
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())
    return False


def _arrays(path: Path) -> Stored:
    with np.load(path, allow_pickle=False) as archive:
        kip = "images" in archive.files
        keys = ("images", "labels") if kip else ("image", "label")
        if not set(keys) <= set(archive.files):
            raise ValueError(f"{path} holds {', '.join(archive.files)}, not the image and label of FRePo or KIP")
        try:
            images, labels = (torch.from_numpy(np.ascontiguousarray(archive[key])) for key in keys)
        except (ValueError, TypeError, zipfile.BadZipFile, OSError) as error:
            raise ValueError(
                f"{path} is damaged, or holds objects, which would execute code and are refused: where you trust "
                f"it, save its arrays as numbers ({error})"
            ) from None
    if images.ndim != 4:
        raise ValueError(f"{path}: images must be (n, H, W, C), not {tuple(images.shape)}")
    stored = Stored("KIP" if kip else "FRePo", *_checked(path, images.permute(0, 3, 1, 2).contiguous(), labels))
    stored.zca = "kip, each image" if kip else "kip"
    if kip and (said := re.search(r"_(no)?zca_", path.name)):
        stored.space = "normalised" if said[1] else "zca"
    return stored


def _is_flax(path: Path) -> bool:
    """Whether the file begins as a msgpack dictionary with names; a pickle does not."""
    with open(path, "rb") as file:
        first = file.read(4)
    names = first[1:2] if first[:1] < b"\xde" else first[3:4]
    return len(first) == 4 and (b"\x81" <= first[:1] <= b"\x8f" or first[:1] == b"\xde") and b"\xa1" <= names <= b"\xd9"


def _flax(path: Path) -> Stored:
    """A checkpoint of FRePo: msgpack, in which arrays are (shape, type, bytes)."""
    try:
        msgpack = importlib.import_module("msgpack")
    except ModuleNotFoundError:
        raise ValueError(f"{path} is a flax checkpoint, which needs msgpack: pip install 'unidd[exchange]'") from None

    def array(code: int, data: bytes) -> np.ndarray | None:
        if code not in (1, 3):
            return None
        shape, kind, buffer = msgpack.unpackb(data, raw=True)
        return np.frombuffer(buffer, np.dtype(kind.decode())).reshape(shape)

    try:
        params = msgpack.unpackb(path.read_bytes(), ext_hook=array, raw=False)["params"]
        images, labels = (torch.from_numpy(params[name].copy()) for name in ("x_proto", "y_proto"))
    except Exception as error:  # a damaged file can raise anything
        what = (
            f"params/{error.args[0]} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
        )
        raise ValueError(f"{path} is no flax checkpoint of FRePo, or is damaged ({what})") from None
    if images.ndim != 4:
        raise ValueError(f"{path}: images must be (n, H, W, C), not {tuple(images.shape)}")
    return Stored("FRePo", *_checked(path, images.permute(0, 3, 1, 2).contiguous(), labels), zca="kip")


def _rows(path: Path) -> Stored:
    """Hugging Face's rows of image and label."""
    images, labels, soft, names, remarks = read_parquet(parquet_files(path))
    if soft is not None and names and soft.shape[1] != len(names):
        raise ValueError(f"{path}: soft labels of {soft.shape[1]} classes, but {len(names)} names")
    about: dict = {"space": "pixels", "folders": list(names or []), "soft": soft, "remarks": remarks}
    return Stored("Hugging Face", *_checked(path, images, labels), **about)


def _folders(path: Path) -> Stored:
    files = image_files(path)
    folders = sorted({p.parent.name for p in files})
    index = {name: k for k, name in enumerate(folders)}
    labels = torch.tensor([index[p.parent.name] for p in files])
    images, remarks = read_images(files)
    return Stored("folders of images", images, labels, space="pixels", folders=folders, remarks=remarks)


def _checked(path: Path, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"{path}: images must be (n, C, H, W), not {tuple(images.shape)}")
    if labels is not None and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels is not None and not (labels.ndim in (1, 2) and len(labels) == len(images)):
        raise ValueError(f"{path}: {len(images)} images and labels {tuple(labels.shape)} do not belong together")
    if labels is not None and labels.ndim == 1:
        if labels.is_floating_point() and not torch.equal(labels, labels.round()):
            raise ValueError(f"{path}: a label must be a whole number, or a row of numbers")
        labels = labels.long()
    images = images if images.dtype == torch.uint8 else images.detach().float()
    return images, labels if labels is None or labels.ndim == 1 else labels.detach().float()


def _described(content: object) -> str:
    if isinstance(content, Tensor):
        return f"a tensor {tuple(content.shape)}"
    if isinstance(content, dict):
        return f"a dictionary of {', '.join(map(str, list(content)[:5]))}"
    return f"a {type(content).__name__}"
