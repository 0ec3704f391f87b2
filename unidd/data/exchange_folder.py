"""A synthetic set as a folder of PNG files, which any program reads, and back again, also after someone edited it."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import atomic
from .exchange_names import folder_names
from .pictures import ENDINGS, decode, read, refusing
from .synthetic import CARD, SyntheticSet, metadata, read_card

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def to_imagefolder(synthetic: SyntheticSet, folder: str | Path) -> Path:
    """Export as <folder>/<class>/<number>.png, 8 bits a pixel, with labels.csv and the card beside them.

    The folders' names sort in the order of the labels, so that torchvision, Hugging Face and timm give the labels of
    the card. Soft labels go to soft.safetensors, a row for each line of labels.csv.

    Raises:
        FileExistsError: something stands in that folder already.
        ValueError: a class has no image, so that a reader would number the others anew; or there are over 4 channels.
    """
    from torchvision.transforms.functional import to_pil_image

    folder, names = check_new(folder), folder_names(synthetic.class_names)
    missing = set(range(len(names))) - set(synthetic.labels.tolist())
    if missing:
        raise ValueError(f"the class {synthetic.class_names[min(missing)]!r} has no image: image folders need one each")
    if synthetic.images.shape[1] not in MODES:
        raise ValueError(f"images of {synthetic.images.shape[1]} channels cannot be PNG files")
    card: dict = {name: getattr(synthetic, name) for name in CARD} | {"folders": names, "files": {}}
    width = max(5, len(str(len(synthetic) - 1)))
    with atomic(folder) as temporary:
        for i, (image, label) in enumerate(zip(synthetic.images, synthetic.labels.tolist(), strict=True)):
            pixels, name = (image * 255).round().to(torch.uint8).cpu(), f"{names[label]}/{i:0{width}d}.png"
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            to_pil_image(pixels).save(temporary / name)
            card["files"][name] = pixels_hash(pixels)
        _write_labels(temporary / "labels.csv", card["files"], synthetic)
        (temporary / "card.json").write_text(json.dumps(card, indent=1) + "\n")
        if synthetic.soft is not None:
            save_file({"soft": synthetic.soft.cpu().contiguous()}, temporary / "soft.safetensors")
        if folder.exists():
            folder.rmdir()  # empty; some systems replace no folder
    return folder


def check_new(folder: str | Path) -> Path:
    """Return the folder, or raise a FileExistsError if something stands in it."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty: export to a new folder")
    return folder


def _write_labels(path: Path, files: Iterable[str], synthetic: SyntheticSet) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "label", "class"))
        for name, label in zip(files, synthetic.labels.tolist(), strict=True):
            rows.writerow((name, label, synthetic.class_names[label]))


def from_imagefolder(folder: str | Path) -> SyntheticSet:
    """Read such a folder back, in the original order.

    Images that were taken away, added (they come last), moved to another class or painted over are taken as they are
    now; `config["import"]["changed"]` then says in one line what is not as it was.

    Raises:
        FileNotFoundError: the card or the images are missing.
        ValueError: the card or an image is damaged, or images differ in size.
    """
    folder = Path(folder)
    if not (folder / "card.json").is_file():
        raise FileNotFoundError(f"{folder} is not an exported set: card.json is missing")
    card = read_card(folder)
    found = metadata(card)
    names = card.get("folders") or [name.replace("/", "-") for name in found["class_names"]]  # as 0.1 wrote them
    index = {name: k for k, name in enumerate(names)}
    paths = image_files(folder)
    known = [path for path in paths if path.parent.name in index]
    if not known:
        raise FileNotFoundError(f"{folder} has no images in folders named after its classes")
    images, remarks = read_images(known, len(found["mean"]))
    edit = _compare(card.get("files"), [f"{p.parent.name}/{p.name}" for p in known], images)
    edit.count["in folders that are no class left out"] = len(paths) - len(known)
    soft = _soft(folder, edit)
    found["config"] = with_changes(found["config"], edit.line(), remarks)
    labels = torch.tensor([index[known[i].parent.name] for i in edit.order])
    return SyntheticSet(images[edit.order].float() / 255, labels, **found, soft=soft)


@dataclass
class _Edit:
    """How the files of a folder differ from those that were exported.

    Attributes:
        order: of the files there are, as they were exported and new ones last.
        rows: which exported image each is, in that order; None if it is new or its pixels are.
        count: of each change.
    """

    order: list[int]
    rows: list[int | None]
    count: Counter

    def line(self) -> str:
        return ", ".join(f"{n} {what}" for what, n in self.count.items() if n)


def _compare(files: dict[str, str] | None, names: list[str], images: Tensor) -> _Edit:
    if files is None:  # exported by 0.1, which kept no hashes
        order = sorted(range(len(names)), key=lambda i: names[i].rpartition("/")[2])
        return _Edit(order, list(order), Counter())
    exported, count = {name: (row, digest) for row, (name, digest) in enumerate(files.items())}, Counter()
    gone: dict[str, list[str]] = {}
    for name in sorted(set(files) - set(names), reverse=True):
        gone.setdefault(files[name], []).append(name)
    places: list[tuple] = []
    hashes = set(files.values())
    for i, (name, image) in enumerate(zip(names, images, strict=True)):
        digest = pixels_hash(image)
        before = name if name in exported else gone[digest].pop() if gone.get(digest) else None
        if before is None:
            places.append((len(files), name, i, None))
            count["added"] += 1
            continue
        row, same = exported[before][0], exported[before][1] == digest
        places.append((row, name, i, row if same else None))
        count["in another order"] += not same and digest in hashes
        count["with other pixels"] += not same and digest not in hashes
        count["renamed"] += before != name and before.split("/")[0] == name.split("/")[0]
        count["moved to another class"] += before.split("/")[0] != name.split("/")[0]
    count["removed"] = sum(map(len, gone.values()))
    places.sort(key=lambda place: place[:2])
    return _Edit([place[2] for place in places], [place[3] for place in places], count)


def _soft(folder: Path, edit: _Edit) -> Tensor | None:
    """Soft labels of the images that are still there; none if one of them is new or moved to another class."""
    if not (folder / "soft.safetensors").is_file():
        return None
    if None in edit.rows or edit.count["moved to another class"]:
        edit.count["set of soft labels left out, which no longer fits"] = 1
        return None
    try:
        return load_file(folder / "soft.safetensors")["soft"][edit.rows]
    except (OSError, KeyError, IndexError, SafetensorError) as error:
        raise ValueError(f"{folder}/soft.safetensors is damaged ({error})") from None


def image_files(folder: Path) -> list[Path]:
    """Return the pictures in the folders of `folder`, by name; hidden and companion files are none."""
    hidden = (".", "__MACOSX")
    found = (path for path in folder.glob("*/*") if path.suffix.lower() in ENDINGS and path.is_file())
    return sorted(p for p in found if not p.name.startswith(".") and not p.parent.name.startswith(hidden))


def read_images(files: Sequence[Path | tuple[str, bytes]], channels: int | None = None) -> tuple[Tensor, Counter[str]]:
    """Return pictures of one size as uint8 (n, C, H, W), read by the rule of `pictures`, and what was done to them.

    Args:
        files: paths, or contents with a name for each.
        channels: 1 to 4, of which 2 and 4 are grey and colour with one more; by default grey if all are, else colour.
    Raises:
        ValueError: one cannot be read or has another size; the message names it.
    """
    arrays, remarks = [], Counter[str]()
    for file in files:
        array, done = _read(file, channels)
        remarks.update(done)
        arrays.append(array)
        if array.shape[1:] != arrays[0].shape[1:]:
            sizes = [f"{_name(one)} is {pixels.shape[:0:-1]}" for one, pixels in ((file, array), (files[0], arrays[0]))]
            raise ValueError(f"images differ in size: {', '.join(sizes)}")
    if len({len(array) for array in arrays}) > 1:
        remarks["grey to colour"] += sum(len(array) == 1 for array in arrays)
        arrays = [np.broadcast_to(array, (3, *array.shape[1:])) for array in arrays]
    return torch.from_numpy(np.stack(arrays)), remarks


def _read(file: Path | tuple[str, bytes], channels: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    if channels in (2, 4):  # ours, whose last channel is not transparency
        source = file if isinstance(file, Path) else io.BytesIO(file[1])
        with refusing(_name(file)), Image.open(source) as picture:
            return np.asarray(picture.convert(MODES[channels])).transpose(2, 0, 1), ()
    known = channels if channels in (1, 3) else None
    return read(file, None, known) if isinstance(file, Path) else decode(file[1], None, known, _name(file))


def _name(file: Path | tuple[str, bytes]) -> str:
    return str(file) if isinstance(file, Path) else file[0]


def with_changes(config: dict, changed: str, remarks: Counter[str]) -> dict:
    """Return what made a set, with what is not as it was exported, and what was done to its pictures."""
    told = {"changed": changed} if changed else {}
    told |= {"pictures": dict(remarks)} if remarks else {}
    return {**config, "import": {**config.get("import", {}), **told}} if told else config


def pixels_hash(pixels: Tensor) -> str:
    """Return sixteen hexadecimal digits that stand for the pixels of an image."""
    return hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()[:16]
