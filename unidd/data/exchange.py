"""Synthetic sets in the formats of others: what goes out, and what comes in.

`from_files` reads what the published methods leave on disk (`exchange_read` has the formats). What a file cannot say
is asked for; what was said, by the format, the numbers or the user, stands on the card under "import".
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ..files import atomic, tensors_hash
from .datasets import ImageData
from .exchange_folder import check_new, from_imagefolder, image_files, to_imagefolder
from .exchange_names import folder_names, same
from .exchange_parquet import from_huggingface, parquet_files, to_huggingface
from .exchange_read import SPACES, Stored, read
from .synthetic import CARD, SyntheticSet, made_from, said_kind, said_rate, soft_kind

__all__ = [
    "from_files",
    "from_huggingface",
    "from_imagefolder",
    "read_set",
    "to_ddranking",
    "to_huggingface",
    "to_imagefolder",
    "to_vico",
]


def to_vico(synthetic: SyntheticSet, path: str | Path) -> Path:
    """Export as the res_*.pt of DC, DSA and DM: {"data": [[images, labels]]}, normalised, class after class.

    Their loaders pass over the card, which is under "unidd". Soft labels are not part of the format.

    Raises:
        FileExistsError: the file is there already.
    """
    path, (images, labels, _) = Path(path), _by_class(synthetic)
    if path.exists():
        raise FileExistsError(f"{path} is there already: export to a new file")
    content = {"data": [[images, labels]], "accs_all_exps": {}, "unidd": _card(synthetic, images, labels)}
    with atomic(path) as temporary:
        torch.save(content, temporary)
    return path


def to_ddranking(synthetic: SyntheticSet, folder: str | Path) -> Path:
    """Export as DD-Ranking's images.pt (normalised, class after class), labels.pt (soft where there are) and lr.pt.

    Beside soft labels the hard ones stand on the card alone.

    Raises:
        FileExistsError: something stands in that folder already.
    """
    folder, (images, labels, soft) = check_new(folder), _by_class(synthetic)
    with atomic(folder) as temporary:
        temporary.mkdir()
        torch.save(images, temporary / "images.pt")
        stored, hard = (labels, {}) if soft is None else (soft, {"labels": labels.tolist()})
        torch.save(stored, temporary / "labels.pt")
        if rate := said_rate(synthetic.config):
            torch.save(torch.tensor(rate), temporary / "lr.pt")
        (temporary / "card.json").write_text(_card(synthetic, images, stored, **hard) + "\n")
        if folder.exists():
            folder.rmdir()  # empty; some systems replace no folder
    return folder


def _by_class(synthetic: SyntheticSet) -> tuple[Tensor, Tensor, Tensor | None]:
    order = synthetic.labels.argsort(stable=True)
    mean, std = (_channels(values) for values in (synthetic.mean, synthetic.std))
    images = (synthetic.images[order].cpu() - mean) / std
    soft = None if synthetic.soft is None else synthetic.soft[order].cpu()
    return images, synthetic.labels[order].cpu(), soft


def _card(synthetic: SyntheticSet, images: Tensor, labels: Tensor, /, **more: Any) -> str:
    card = {name: getattr(synthetic, name) for name in CARD} | {"tensors": tensors_hash(_named(images, labels))}
    return json.dumps(card | more, indent=1)


def _named(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return {"images": images, "labels": labels}


def read_set(folder: str | Path) -> SyntheticSet:
    """Read a set of ours: as it was saved, or as an exported folder of pictures or for Hugging Face.

    Raises:
        FileNotFoundError: there is none; sets of others are read by `from_files`.
        ValueError: it is damaged.
    """
    folder = Path(folder).expanduser()
    if not (folder / "card.json").is_file() and not (folder / "images.safetensors").is_file():
        raise FileNotFoundError(
            f"{folder} is not a synthetic set: card.json is missing; unidd import reads what other code made"
        )
    if (folder / "images.safetensors").is_file() or not (folder / "card.json").is_file():
        return SyntheticSet.load(folder)
    if parquet_files(folder):
        return from_huggingface(folder)
    return from_imagefolder(folder) if image_files(folder) else SyntheticSet.load(folder)


def from_files(
    path: str | Path,
    *,
    data: ImageData | None = None,
    space: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    order: Sequence[str] | None = None,
    ipc: int | None = None,
    number: int | None = None,
    factor: int | None = None,
    rate: float | None = None,
) -> SyntheticSet:
    """Read a set that other code made: the format is found from what is there.

    Args:
        data: the data set it was made from, for class names, mean and std, and to undo ZCA.
        space: what the stored values are: pixels, normalised or zca.
        mean, std: that the images were normalised with, if not those of `data`.
        class_names: by default those of `data`, else of the folders, else "0", "1", ….
        order: class names in the order of the file's labels (or of its sorted folders), if that is another.
        ipc: stored images per class, if there is no file of labels; else they are held against it.
        number: which set of a file that holds several; by default the last.
        factor: of NCFM, whose every image is factor × factor training images; 1 leaves them as they are.
        rate: learning rate that was learnt with the images, if there is no file of it (MTT and TESLA only log it).
    Raises:
        FileNotFoundError: there is nothing, or a part is missing.
        ValueError: no known format, damaged, or something must be said that the file does not.
    """
    path = Path(path).expanduser()
    if (path / "card.json").is_file() and not (path / "images.pt").is_file():
        if any(option is not None for option in (space, mean, std, class_names, order, ipc, number, factor, rate)):
            raise ValueError(f"{path} is a set with a card, which says all: leave the options out")
        return read_set(path)
    if (mean is None) != (std is None):
        raise ValueError("mean and std belong together: say both, or neither")
    stored = read(path, number)
    if number is not None and stored.format != "DC/DSA/DM":
        raise ValueError(f"{path} is {stored.format}, which has no numbers: leave the number out")
    told: dict[str, Any] = {"file": path.name, "format": stored.format}
    told |= {"pictures": dict(stored.remarks)} if stored.remarks else {}
    if data:
        stored.images = _as_channels(stored.images, data, told)
    card = stored.card or {}
    names = class_names or (data and data.class_names) or card.get("class_names")
    names, labels, soft = _classes(stored, names, order, ipc, told)
    moments, whence = _moments(stored, path, data, mean, std)
    images = _pixels(stored, _space(stored, space, told), data, moments, whence, told)
    images, repeats = _decoded(images, stored.factor if factor is None else factor, told)
    _rate(stored, rate, told)
    mean, std = (data.mean, data.std) if data else moments
    if mean is None or std is None:
        raise ValueError(f"{path} does not say mean and std of its data set: say the data set, or both")
    labels, soft = labels.repeat_interleave(repeats), None if soft is None else soft.repeat_interleave(repeats, 0)
    config = {"method": stored.format, "import": told} | ({"data": made_from(data)} if data else {})
    about = {}
    if stored.card:
        config, about = _since(stored, config, told)
    return SyntheticSet(images, labels, names, tuple(mean), tuple(std), config, soft=soft, **about)


def _as_channels(images: Tensor, data: ImageData, told: dict) -> Tensor:
    """Pictures that are grey, with as many channels as the data have.

    Raises:
        ValueError: the shapes differ in another way.
    """
    shape, grey = tuple(images.shape[1:]), images.dtype == torch.uint8 and images.shape[1] in (1, 3)
    if grey and images.shape[1] != data.channels and bool((images == images[:, :1]).all()):
        told["channels"] = f"grey, as {data.channels} of {shape[0]}"
        images = images[:, :1].expand(-1, data.channels, -1, -1).contiguous()
    expected = tuple(data.train.images.shape[1:])
    if tuple(images.shape[1:]) != expected:
        raise ValueError(f"the set's images are {shape}, those of {data.name} {expected}")
    return images


def _since(stored: Stored, config: dict, told: dict) -> tuple[dict, dict]:
    """What our card in an export of ours says goes on; whether the tensors are still those of the export."""
    card = stored.card or {}
    if _changed(stored):
        told["changed"] = "the tensors are not those that were exported"
    if earlier := card["config"].get("import"):
        told["before"] = earlier
    about = {name: card[name] for name in ("teacher", "history", "versions")}
    return card["config"] | {name: value for name, value in config.items() if name != "method"}, about


def _changed(stored: Stored) -> bool:
    """Whether the tensors are others than those that our card in an export of ours is of."""
    labels = torch.empty(0) if stored.labels is None else stored.labels
    return (stored.card or {}).get("tensors") not in (None, tensors_hash(_named(stored.images, labels)))


def _moments(
    stored: Stored, path: Path, data: ImageData | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[tuple, str]:
    """What the images were normalised with, and who says so; (None, None) if nobody does."""
    if mean is not None:
        return (mean, std), "asked for"
    if stored.card:
        return (stored.card["mean"], stored.card["std"]), "its card"
    words = [word for part in path.absolute().parts[-4:] for word in part.replace(".", "_").split("_")]
    if found := stored.constants(*([data.name] if data else []), *words):
        return found[1:], f"the released code, for {found[0]}"
    if data:
        return (data.mean, data.std), "the data set (assumed: the file does not say)"
    return (None, None), ""


def _rate(stored: Stored, asked: float | None, told: dict) -> None:
    """The learning rate that belongs to the images, if anybody says it."""
    if asked is not None and not (math.isfinite(asked) and asked > 0):
        raise ValueError(f"the learning rate must be a number above 0, not {asked}")
    if asked is not None and stored.rate is not None and abs(asked - stored.rate) > 1e-3 * stored.rate:
        raise ValueError(f"the learning rate beside the images is {stored.rate:.4g}, not {asked}: leave the option out")
    card = said_rate((stored.card or {}).get("config", {}))
    for rate, whence in ((stored.rate, "its file"), (asked, "asked for"), (card, "its card")):
        if rate is not None:
            told |= {"learning_rate": rate, "learning_rate from": whence}
            return


def _space(stored: Stored, asked: str | None, told: dict) -> str:
    """What the stored values are: as was asked for, as the format says, or as only pixels can be."""
    if asked is not None and asked not in SPACES:
        raise ValueError(f"unknown space {asked!r}: choose one of {', '.join(SPACES)}")
    low, high = float(stored.images.min()), float(stored.images.max())
    inside = low >= 0 and (high <= 1 or stored.images.dtype == torch.uint8)
    space, why = asked or stored.space, "asked for" if asked else "its card" if stored.card else "the format"
    if space is None and inside:
        space, why = "pixels", f"the numbers, from {low:.3g} to {high:.3g}"
    if space is None:
        raise ValueError(
            f"the numbers of this {stored.format} set, from {low:.3g} to {high:.3g}, are no pixels, and nothing says "
            "what they are: say the space, normalised or zca"
        )
    if (space == "pixels") != inside and (space == "pixels" or stored.images.dtype == torch.uint8):
        raise ValueError(f"{stored.images.dtype} from {low:.3g} to {high:.3g} cannot be {space}: say the space")
    if space != "pixels" and inside and not asked and not stored.card:
        raise ValueError(
            f"the numbers lie in [0, 1] as pixels do, but {stored.format} stores {space} images: say the space"
        )
    told["space"] = {"value": space, "from": why}
    return space


def _pixels(stored: Stored, space: str, data: ImageData | None, moments: tuple, whence: str, told: dict) -> Tensor:
    """Pixels in [0, 1]; what lies outside is cut off, and the card says how much that was."""
    images = stored.images.float() / 255 if stored.images.dtype == torch.uint8 else stored.images
    if not images.isfinite().all():
        raise ValueError("the images contain NaN or infinite numbers")
    if space == "pixels":
        return images
    mean, std = moments
    if space == "zca":
        if data is None:
            raise ValueError("ZCA can only be undone with the images it was fitted on: say the data set")
        if stored.zca.endswith("each image"):
            raise ValueError("KIP's ZCA takes out mean and norm of each image, which nobody kept: take a nozca file")
        images = undo_zca(images, data, *((mean, std) if stored.zca == "kip" else ()))
        told["zca"] = "with mean and std, then ZCA as in KIP" if stored.zca == "kip" else "as in kornia, ε = 0.1"
    if space == "normalised" or stored.zca == "kip":
        if mean is None or std is None:
            raise ValueError(f"{stored.format} stores normalised images: say the data set, or mean and std")
        if not (len(mean) == len(std) == images.shape[1] and min(std) > 0):
            raise ValueError(f"images of {images.shape[1]} channels need as many means, and stds above 0")
        images = images * _channels(std) + _channels(mean)
        told |= {"mean": list(mean), "std": list(std), "mean and std from": whence}
    outside = (images < -1e-5) | (images > 1 + 1e-5)
    if outside.any():
        told["cut off"] = {"share": float(outside.float().mean()), "from": [float(images.min()), float(images.max())]}
    return images.clamp(0, 1)


def undo_zca(
    images: Tensor, data: ImageData, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> Tensor:
    """Undo the whitening W = U (S + ε)^(−1/2) Uᵀ that was fitted on all training images of `data`.

    Without mean and std it is kornia's, of centred pixels, ε = 0.1. With them it is KIP's and FRePo's, of standardised
    images that are not centred, ε = 0.1 · tr(Σ)/d; the result is standardised too.

    Args:
        images: whitened, (n, C, H, W).
    Raises:
        ValueError: the images have another shape than those of the data set.
    """
    if images.shape[1:] != data.train.images.shape[1:]:
        shapes = f"{tuple(images.shape[1:])}, those of {data.name} {tuple(data.train.images.shape[1:])}"
        raise ValueError(f"ZCA cannot be undone: the set's images are {shapes}")
    size = images[0].numel()
    total, second = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for part in data.train.images.cpu().split(1000):
        x = part.double() / 255
        x = ((x - _channels(mean)) / _channels(std) if mean and std else x).flatten(1)
        total += x.sum(0)
        second += x.T @ x
    n = len(data.train)
    if mean and std:
        centre, covariance = torch.zeros_like(total), second / n
        epsilon = 0.1 * float(covariance.trace()) / size
    else:
        centre, epsilon = total / n, 0.1
        covariance = (second - n * torch.outer(centre, centre)) / (n - 1)
    values, vectors = torch.linalg.eigh(covariance)
    inverse = vectors * (values.clamp(min=0) + epsilon).sqrt() @ vectors.T
    return (images.double().flatten(1) @ inverse + centre).float().view(images.shape)


def _decoded(images: Tensor, factor: int, told: dict) -> tuple[Tensor, int]:
    """Cut each image in factor × factor parts and enlarge them to its size; returns how many one becomes."""
    if factor < 1 or factor > images.shape[-1]:
        raise ValueError(f"factor must be 1 … {images.shape[-1]}, not {factor}")
    if factor == 1:
        return images, 1
    n, channels, *size = images.shape
    below = [-side % factor for side in size]
    padded = pad(images, (0, below[1], 0, below[0]), value=0.5)
    height, width = (side // factor for side in padded.shape[-2:])
    parts = padded.view(n, channels, factor, height, factor, width).permute(0, 2, 4, 1, 3, 5)
    parts = parts.reshape(-1, channels, height, width)  # (n · factor², C, h, w), those of an image together
    told["decoded"] = {"stored images": n, "factor": factor}
    return interpolate(parts, size=tuple(size), mode="bilinear").clamp(0, 1), factor**2


def _classes(
    stored: Stored, names: Sequence[str] | None, order: Sequence[str] | None, ipc: int | None, told: dict
) -> tuple[tuple[str, ...], Tensor, Tensor | None]:
    """Class names, labels as indices into them, and soft labels (n, classes) if they came so."""
    labels, soft = _counted(stored, names, ipc, told) if stored.labels is None else stored.labels, stored.soft
    if labels.ndim == 2:
        labels, soft = _hard(stored, labels), labels
    if soft is not None:
        said = said_kind(stored.card["config"]) if stored.card else None
        if stored.format in ("FRePo", "KIP"):
            said = "centred"  # at the start, and then learnt: they add up to nearly 0
        told["soft labels"] = said or _kind(soft)
    count = soft.shape[1] if soft is not None else int(labels.max()) + 1
    names, index = _index(stored, names, order, count, told)
    if labels.min() < 0 or count > len(index) or (soft is not None and not count == len(index) == len(names)):
        raise ValueError(f"the labels are of {count} classes, the data set has {len(names)}")
    labels, soft = index[labels], None if soft is None else soft[:, index.argsort()]
    counts = torch.bincount(labels, minlength=len(names))
    if ipc is not None and not (counts == ipc).all():
        raise ValueError(f"the set has not {ipc} images of every class")
    if counts.min() < counts.max():
        told["images per class"] = f"{int(counts.min())} to {int(counts.max())}"
    return tuple(names), labels, soft


def _hard(stored: Stored, soft: Tensor) -> Tensor:
    """The class of each soft label (n, classes): as an export of ours says that nobody changed, or else the largest."""
    said = (stored.card or {}).get("labels")
    return soft.argmax(1) if said is None or _changed(stored) else torch.tensor(said)


def _index(
    stored: Stored, names: Sequence[str] | None, order: Sequence[str] | None, count: int, told: dict
) -> tuple[Sequence[str], Tensor]:
    """Class names, and which of them each label of the file is."""
    if stored.folders:
        what = "labels" if stored.format == "Hugging Face" else "folders"
        return _by_folder(stored.folders, names, order, told, what)
    if order is not None:
        told |= {"classes": "the order that was asked for", "order": list(order)}
    elif stored.card:
        order, told["classes"] = stored.card["class_names"], "its card"
    elif names is not None:
        told["classes"] = "the numbers, in the order of the classes (assumed: the file does not say)"
    else:
        names, told["class names"] = [str(k) for k in range(count)], "the numbers"
    if names is None:
        names, told["class names"] = order or (), "as asked for"
    return names, torch.arange(len(names)) if order is None else torch.tensor(_permutation(names, order))


def _permutation(names: Sequence[str], order: Sequence[str]) -> list[int]:
    """Which class each label of the file is."""
    index = {same(name): k for k, name in enumerate(names)}
    if {*map(same, order)} != set(index) or len(order) != len(names):
        odd = sorted({*map(same, order)} ^ set(index)) or ["one name twice"]
        raise ValueError(f"the order must name each class once: look at {', '.join(odd[:3])}")
    return [index[same(name)] for name in order]


def _counted(stored: Stored, names: Sequence[str] | None, ipc: int | None, told: dict) -> Tensor:
    """Labels of a set without any, class after class."""
    n = len(stored.images)
    if ipc is None and names is None:
        raise ValueError("there is no file of labels: say ipc, the images per class, or the data set")
    ipc = n // len(names or ()) if ipc is None else ipc
    if ipc < 1 or n % ipc or (names is not None and n != ipc * len(names)):
        raise ValueError(f"there is no file of labels, and {n} images are not the same number of each class: check ipc")
    told["labels"] = f"class after class, {ipc} images each, as the format has them"
    return torch.arange(n // ipc).repeat_interleave(ipc)


def _kind(soft: Tensor) -> str:
    """What soft labels are, as far as their numbers prove it."""
    sums, kind = soft.sum(1), soft_kind(soft)
    if kind == "logits" and soft.min() >= 0:
        return f"numbers from 0 up whose rows sum to {sums.min():.3g} … {sums.max():.3g}"
    return kind


def _by_folder(
    folders: list[str], names: Sequence[str] | None, order: Sequence[str] | None, told: dict, what: str
) -> tuple[Sequence[str], Tensor]:
    """Class names, and which each folder is: by the order asked for, by its name, or by the number it bears."""
    numbers = _numbers(folders)
    if order is not None:
        names = order if names is None else names
        mapped, ranks = _permutation(names, order), _ranks(folders, numbers)
        if len(order) != len(folders):
            raise ValueError(f"{len(folders)} {what} of images, but the order has {len(order)} classes")
        told |= {"classes": "the order that was asked for", "order": list(order)}
        return names, torch.tensor([mapped[rank] for rank in ranks])
    if names is None:
        return _alone(folders, numbers, told, what)
    for spelling in (list(map(same, names)), folder_names(names)):
        if {*map(same, folders)} <= set(spelling):
            told["classes"] = f"the names of the {what}"
            return names, torch.tensor([spelling.index(same(folder)) for folder in folders])
    if 0 in numbers and max(numbers) < len(names) and len(set(numbers)) == len(numbers):
        told["classes"] = f"the numbers of the {what}, in the order of the classes (assumed: the {what} do not say)"
        return names, torch.tensor(numbers)
    raise ValueError(
        f"the {len(folders)} {what} ({', '.join(folders[:3])}, …) are not named or numbered after the {len(names)} "
        f"classes: say the order, a class for each of the {what} as they sort"
    )


def _alone(folders: list[str], numbers: list[int], told: dict, what: str) -> tuple[Sequence[str], Tensor]:
    """Classes that only the folders say."""
    if sorted(numbers) == list(range(len(folders))):
        told["classes"] = f"the numbers of the {what}"
        return [str(k) for k in range(len(folders))], torch.tensor(numbers)
    told["classes"] = f"the {what}, sorted" if what == "folders" else f"the names of the {what}"
    return folders, torch.arange(len(folders))


def _numbers(folders: list[str]) -> list[int]:
    """The numbers behind one common word, as in 00003 or new003; none if that is not how folders are named."""
    split = [(name.rstrip("0123456789"), name) for name in folders]
    if len({word for word, _ in split}) > 1 or any(word == name for word, name in split):
        return []
    return [int(name[len(word) :]) for word, name in split]


def _ranks(folders: list[str], numbers: list[int]) -> list[int]:
    """The place of each folder in their order, by number or else by name."""
    by = list(zip(numbers or [0] * len(folders), folders, strict=True))
    return [sorted(by).index(one) for one in by]


def _channels(values: Sequence[float]) -> Tensor:
    return torch.tensor(tuple(values), dtype=torch.float32).view(-1, 1, 1)
