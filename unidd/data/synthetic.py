"""A synthetic data set that can be used without asking anyone: pixels, labels, and everything they depend on.

On disk it is a folder with `images.safetensors` and `card.json`; the card carries class names, mean and std,
configuration, teacher, versions, and the checksum that ties it to the tensors.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from ..files import atomic, versions
from .datasets import ImageData
from .exchange_names import same
from .folders import chosen, few
from .grids import grid

KINDS = ("logits", "probabilities", "centred")  # of soft labels
CARD = ("class_names", "mean", "std", "config", "teacher", "history", "versions")


@dataclass(frozen=True)
class SyntheticSet:
    """Distilled (or chosen) images.

    Attributes:
        images: pixels, float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,), indices into `class_names`; soft labels given in their place are kept as `soft`, and
            the largest of each becomes the label.
        class_names: in the order of the data set's labels.
        mean, std: per channel, for the network's input: (images − mean) / std.
        config: what made the images.
        teacher: card of the network they were distilled with, see `Teacher.card`; empty if none.
        history: one entry a round: b, β and the last loss terms.
        versions: of the software that made them.
        soft: labels float32 (n, classes) that came with the images, as they were stored; None if there are none.
    Raises:
        ValueError: shapes or types do not fit together, or a pixel is NaN or outside [0, 1].
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    config: dict = field(default_factory=dict)
    teacher: dict = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    versions: dict = field(default_factory=versions)
    soft: Tensor | None = None

    def __post_init__(self):
        if self.labels.ndim == 2 and self.labels.is_floating_point() and self.soft is None:
            object.__setattr__(self, "soft", self.labels.float())
            object.__setattr__(self, "labels", self.labels.argmax(1))
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1] or len(self.labels) == 0:
            shapes = f"{tuple(self.images.shape)} and {tuple(self.labels.shape)}"
            raise ValueError(f"images must be (n, C, H, W) and labels (n,), not {shapes}")
        if self.images.dtype != torch.float32 or self.labels.dtype != torch.int64:
            raise ValueError(f"images must be float32 and labels int64, not {self.images.dtype}, {self.labels.dtype}")
        channels = self.images.shape[1]
        if not (len(self.mean) == len(self.std) == channels):
            raise ValueError(f"images of {channels} channels need as many means and stds")
        if self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            raise ValueError("a label has no class name")
        if not self.images.isfinite().all():
            raise ValueError("the images contain NaN or infinite pixels")
        if self.images.min() < 0 or self.images.max() > 1:
            raise ValueError("pixels must lie in [0, 1]")
        shape = (len(self.labels), len(self.class_names))
        if self.soft is not None and not (self.soft.dtype == torch.float32 and tuple(self.soft.shape) == shape):
            raise ValueError(f"soft labels must be float32 {shape}, not {self.soft.dtype} {tuple(self.soft.shape)}")
        if self.soft is not None and not self.soft.isfinite().all():
            raise ValueError("the soft labels contain NaN or infinite numbers")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def ipc(self) -> int:
        """Images per class; where classes have different numbers, the largest."""
        return max(self.counts)

    @staticmethod
    def from_real(
        data: ImageData, ipc: int | Sequence[int], seed: int = 0, config: dict | None = None
    ) -> "SyntheticSet":
        """Choose `ipc` random training images of each class, in rounds: all classes' first, all classes' second, ….

        The start of every distillation with that seed, and by itself the random-real baseline.

        Args:
            ipc: as in `choose`.
        Raises:
            ValueError: ipc is below 1 or above the size of a class.
        """
        return SyntheticSet.taken(data, choose(data, ipc, seed), config)

    @staticmethod
    def taken(
        data: ImageData, numbers: Tensor, config: dict | None = None, teacher: dict | None = None
    ) -> "SyntheticSet":
        """Take the training images of these numbers (n,), in their order; `teacher` is the card of one that chose."""
        split = data.train.take(numbers)
        about = data.class_names, data.mean, data.std, config or {}, teacher or {}
        images = torch.empty(split.images.shape)
        for into, part in zip(images.split(1000), split.images.split(1000), strict=True):
            into.copy_(part.float().div_(255))
        return SyntheticSet(images, split.labels.cpu(), *about)

    @property
    def counts(self) -> list[int]:
        """Images of each class."""
        return torch.bincount(self.labels, minlength=len(self.class_names)).tolist()

    def part_for(self, data: ImageData, ipc: int) -> "SyntheticSet":
        """Return the part that a descent on these data starts from: of their classes, the first `ipc` images of each.

        A set without one of the classes, or with fewer images, stays as it is.
        """
        names, those = ({same(name) for name in of.class_names} for of in (self, data))
        part = self.only(data.class_names) if names > those else self
        return part.first(ipc) if part.ipc > ipc else part

    def first(self, ipc: int) -> "SyntheticSet":
        """Take the first `ipc` images of each class, as they stand in the set: the first rounds of a distilled one.

        The card says so under config["first"]; the history is that of these rounds. A class that has fewer gives all.

        Raises:
            ValueError: ipc is below 1, or above the number of images of any class.
        """
        if not isinstance(ipc, int) or not 1 <= ipc <= self.ipc:
            raise ValueError(f"a set of {self.ipc} images per class has no first {ipc}")
        history = [entry for entry in self.history if entry.get("b", 0) < ipc]
        return self._part((places(self.labels) < ipc).nonzero().flatten(), {"first": ipc}, history=history)

    def only(self, classes: Sequence[str | int]) -> "SyntheticSet":
        """Take the images of some classes, labelled 0, 1, … in the order they have here.

        The card says so under config["only"]. Soft labels keep the columns of these classes; those of probabilities
        are divided by their sum.

        Args:
            classes: names, or numbers.
        Raises:
            ValueError: there is no such class; none is named, or none of them has an image.
        """
        if isinstance(classes, str) or not len(classes):
            raise ValueError(f"classes must be a list of names or numbers, not {classes!r}")
        numbers = chosen(self.class_names, classes)
        label = torch.full((len(self.class_names),), -1)
        label[numbers] = torch.arange(len(numbers))
        names, found = tuple(self.class_names[k] for k in numbers), label.to(self.labels.device)[self.labels]
        if not (found >= 0).any():
            raise ValueError(f"the set has no image of {few(names)}")
        soft = None if self.soft is None else _columns(self.soft, numbers)
        changes = {"class_names": names, "labels": found, "soft": soft}
        return self._part((found >= 0).nonzero().flatten(), {"only": list(names)}, **changes)

    def _part(self, numbers: Tensor, said: dict, **changes: Any) -> "SyntheticSet":
        """The images of these numbers, after some changes to the whole; the card says which part it is."""
        tensors = {name: changes.pop(name, getattr(self, name)) for name in ("images", "labels", "soft")}
        taken = {name: None if tensor is None else tensor[numbers] for name, tensor in tensors.items()}
        return replace(self, **taken, **changes, config={**self.config, **said})

    @cached_property
    def sha256(self) -> str:
        """The sha256 of `images.safetensors` as `save` writes it, with pixels, labels and soft labels."""
        return hashlib.sha256(self._payload()).hexdigest()

    def _payload(self) -> bytes:
        tensors_of = {"images": self.images, "labels": self.labels} | ({} if self.soft is None else {"soft": self.soft})
        return dump_tensors({name: tensor.cpu().contiguous() for name, tensor in tensors_of.items()})

    def save(self, folder: str | Path) -> Path:
        """Write `images.safetensors` and `card.json`; what stood there stays whole if writing fails."""
        folder, payload = Path(folder), self._payload()
        card = {name: getattr(self, name) for name in CARD}
        card |= {"format": 1, "shape": list(self.images.shape), "sha256": hashlib.sha256(payload).hexdigest()}
        with atomic(folder / "card.json") as text, atomic(folder / "images.safetensors") as tensors:
            text.write_text(json.dumps(card, indent=1) + "\n")  # both are on disk before either takes its place
            tensors.write_bytes(payload)
        return folder

    @staticmethod
    def load(folder: str | Path) -> "SyntheticSet":
        """Read a saved set and check that card and tensors belong together.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or the card belongs to other tensors.
        """
        folder = Path(folder)
        for name in ("images.safetensors", "card.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} is not a synthetic set: {name} is missing")
        payload = (folder / "images.safetensors").read_bytes()
        try:
            tensors = load_tensors(payload)
            images, labels = tensors["images"], tensors["labels"]
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{folder}/images.safetensors is damaged ({error}): distill or copy it again") from None
        card = read_card(folder)
        if card.get("sha256") != hashlib.sha256(payload).hexdigest():
            raise ValueError(f"{folder}: card.json does not belong to images.safetensors (checksum differs)")
        return SyntheticSet(images, labels, **metadata(card), soft=tensors.get("soft"))

    def preview(self, columns: int = 10, scale: int = 3):
        """A PIL image of the images, one class a row, at most `columns` of each, enlarged without smoothing."""
        from PIL import Image
        from torchvision.transforms.functional import to_pil_image

        rows = [self.images[self.labels == k] for k in range(len(self.class_names))]
        alone = max(map(len, rows)) == 1  # one image a class: let them stand side by side
        canvas = grid(self.images if alone else rows, columns, gap=1, margin=1)
        picture = to_pil_image(canvas[:3] + (1 - canvas[3:]))  # on white
        return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def choose(data: ImageData, ipc: int | Sequence[int], seed: int = 0) -> Tensor:
    """Return which training images `SyntheticSet.from_real` takes: their numbers (n,), on the data's device.

    Args:
        ipc: images of every class, so that n = ipc × classes; a class that has fewer gives all of them if the data say
            so (`ImageData.small`). Or a number for each class.
    Raises:
        ValueError: ipc is below 1 or above the size of a class.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for k, count in enumerate(counts_of(data, ipc)):
        index = (data.train.labels == k).nonzero().flatten().cpu()
        chosen.append(index[torch.randperm(len(index), generator=generator)[:count]].tolist())
    return in_rounds(chosen).to(data.device)


def in_rounds(chosen: Sequence[Sequence[int]]) -> Tensor:
    """Return images in rounds, of the numbers chosen of each class: all first ones, class by class, all second ones, ….

    >>> in_rounds([[7, 8], [5], [3, 1]])
    tensor([7, 5, 3, 8, 1])
    """
    rounds = (inside[b] for b in range(max(map(len, chosen))) for inside in chosen if b < len(inside))
    return torch.tensor(list(rounds))


def counts_of(data: ImageData, ipc: int | Sequence[int]) -> list[int]:
    """Return how many images of each class `choose` takes, with its errors."""
    there = torch.bincount(data.train.labels).tolist()
    asked, least = ([ipc] * data.classes, 1) if isinstance(ipc, int) else (list(ipc), 0)
    counts = [min(pair) for pair in zip(asked, there, strict=True)] if data.small == "cap" else asked
    if min(asked) < least or max(asked) < 1 or any(k > n for k, n in zip(counts, there, strict=True)):
        cap = "; --small cap (small='cap' in Python) takes all that a smaller class has" if min(asked) >= least else ""
        raise ValueError(f"ipc must be 1 … {min(there)}, the size of the smallest class of {data.name}, not {ipc}{cap}")
    return counts


def places(labels: Tensor) -> Tensor:
    """Return the how manieth of its class each is, from 0: (n,).

    >>> places(torch.tensor([2, 0, 2, 2, 0]))
    tensor([0, 0, 1, 2, 1])
    """
    order, counts = labels.argsort(stable=True), torch.bincount(labels)
    found = torch.empty_like(labels)
    found[order] = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts).repeat_interleave(
        counts
    )
    return found


def _columns(soft: Tensor, numbers: list[int]) -> Tensor:
    """Some columns of soft labels; of probabilities, what they are among these classes."""
    probabilities = bool((soft >= 0).all()) and float((soft.sum(1) - 1).abs().max()) < 1e-3
    taken = soft[:, numbers]
    return taken / taken.sum(1, keepdim=True).clamp(min=torch.finfo(soft.dtype).tiny) if probabilities else taken


def made_from(data: ImageData) -> dict:
    """Return what a card says under config["data"]: the data set's name, and its fingerprint to know it again by."""
    return {"name": data.name, "fingerprint": data.fingerprint}


def said_kind(config: dict) -> str | None:
    """Return what a card says the soft labels are, where they were learnt or else imported; None if it does not."""
    said = (config.get(part, {}).get("soft labels") for part in ("learnt", "import"))
    return next((kind for kind in said if kind in KINDS), None)


def said_rate(config: dict) -> float | None:
    """Return the learning rate that a card says was learnt with the images, here or before they were imported."""
    return config.get("learnt", {}).get("lr") or config.get("import", {}).get("learning_rate")


def soft_kind(soft: Tensor) -> str:
    """Return what soft labels (n, classes) are, by their numbers: "probabilities", "centred" or "logits".

    Probabilities are not negative and add up to 1. Centred labels, one-hot less 1/c, are those of KIP and FRePo: they
    add up to 0 and lie within ±1.25. All others are logits.
    """
    if soft.min() >= 0 and (soft.sum(1) - 1).abs().max() < 1e-3:
        return "probabilities"
    largest = float(soft.abs().max())
    return "centred" if largest <= 1.25 and soft.sum(1).abs().max() < 1e-3 * largest else "logits"


def read_card(folder: Path) -> dict:
    try:
        card = json.loads((folder / "card.json").read_text())
    except ValueError as error:
        raise ValueError(f"{folder}/card.json is damaged: {error}") from None
    if not isinstance(card, dict):
        raise ValueError(f"{folder}/card.json is damaged: not an object")
    return card


def metadata(card: dict) -> dict:
    missing = [name for name in CARD if name not in card]
    if missing:
        raise ValueError(f"the card lacks {', '.join(missing)}")
    tuples = {f.name for f in fields(SyntheticSet) if str(f.type).startswith("tuple")}
    return {name: tuple(card[name]) if name in tuples else card[name] for name in CARD}
