"""The one training loop: teachers and students, hard labels or a teacher's soft ones; and the store of teachers."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from ..data import augment
from ..data.datasets import ImageData
from ..files import atomic, json_hash, save_json
from .models import ModelConfig, build


def check_choices(config, *names: str) -> None:
    """Raise a ValueError unless these fields of a dataclass hold one of the values their `Literal` types list."""
    for name in names:
        value, choices = getattr(config, name), config.__dataclass_fields__[name].type.__args__
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.

    Args:
        epochs, batch: passes over the images, images a step.
        optimizer: "sgd" (momentum 0.9) or "adamw".
        lr, weight_decay: of the optimiser.
        period: length of the cosine schedule in units of the training; at 1 the rate ends at 0, at 2 at half.
        crop: "pad" (random crop after padding by an eighth of the side: 4 of 32 pixels) or "resized"
            (RandomResizedCrop), both with a horizontal flip; or "none", neither crop nor flip.
        cutmix: mix images of a batch by CutMix.
        temperature: of the soft labels; unused with hard ones.
    Raises:
        ValueError: a value is out of range; the message names it.
    """

    epochs: int = 200
    batch: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    period: float = 1.0
    crop: Literal["pad", "resized", "none"] = "pad"
    cutmix: bool = False
    temperature: float = 20.0

    def __post_init__(self):
        for name in ("epochs", "batch", "lr", "period", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        check_choices(self, "optimizer", "crop")


@dataclass(frozen=True)
class Teacher:
    """A trained network in eval mode, its test accuracy in %, and the hash of its configuration and data."""

    model: nn.Module
    accuracy: float
    hash: str

    def card(self) -> dict:
        return {"hash": self.hash, "accuracy": self.accuracy}


NOBODY = Teacher(nn.Identity(), float("nan"), "")  # in a teacher's place where none is needed


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    *,
    seed: int = 0,
    teacher: nn.Module | None = None,
    criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    progress: str | None = None,
) -> nn.Module:
    """Train `model` in place and return it in eval mode.

    Args:
        images: network input (n, C, H, W), on the model's device.
        labels: (n,), or (n, classes) if they are fixed soft labels.
        seed: of the order of images and of the augmentation.
        teacher: if given, its soft labels on the augmented images are learnt, else `labels`.
        criterion: the loss of the network's output (b, classes) and the labels of a batch; CutMix mixes the losses.
        progress: title of a progress bar; None shows none.
    Source: UniDD, appendix (student: KL to the teacher's online soft labels).
    """
    generator = Generator().manual_seed(seed)
    optimizer = _optimizer(model, config)
    batches = -(-len(images) // config.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer,
        config.epochs * batches * config.period,  # pyright: ignore[reportArgumentType]  may be no whole number
    )
    model.train()
    with tqdm(total=config.epochs, desc=progress, disable=progress is None, leave=False) as bar:
        for _ in range(config.epochs):
            order = torch.randperm(len(images), generator=generator).to(images.device, non_blocking=True)
            for index in order.tensor_split(batches):
                loss = _loss(model, images[index], labels[index], config, teacher, criterion, generator)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            bar.update()
    return model.eval()


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(model.parameters(), config.lr, momentum=0.9, weight_decay=config.weight_decay)


def _loss(model, images, labels, config: TrainConfig, teacher, criterion, generator) -> Tensor:
    if config.crop == "pad":
        images = augment.random_crop(images, generator, images.shape[-1] // 8)
    elif config.crop == "resized":
        images = augment.random_resized_crop(images, generator)
    if config.crop != "none":
        images = augment.flip(images, generator)
    share, other = 1.0, labels
    if config.cutmix:
        images, permutation, share = augment.cutmix(images, generator)
        other = labels[permutation]
    logits = model(images)
    if teacher is None:
        return share * criterion(logits, labels) + (1 - share) * criterion(logits, other)
    with torch.no_grad():
        labels = teacher(images)
    return divergence(logits, labels, config.temperature)


def divergence(logits: Tensor, of_teacher: Tensor, temperature: float) -> Tensor:
    """Return T² KL(softmax(z/T) ‖ softmax(s/T)) of a student's logits s and a teacher's z, both (b, c), a mean over b.

    Source: Hinton et al. (2015); UniDD, appendix.
    """
    soft = (of_teacher / temperature).softmax(1)
    return F.kl_div((logits / temperature).log_softmax(1), soft, reduction="batchmean") * temperature**2


@torch.no_grad()
def accuracy(model: nn.Module, data: ImageData, batch: int = 500) -> float:
    """Return test accuracy in %."""
    correct = 0
    for images, labels in zip(data.test.images.split(batch), data.test.labels.split(batch), strict=True):
        correct += int((model(data.normalise(images)).argmax(1) == labels).sum())
    return 100 * correct / len(data.test)


def teacher(
    data: ImageData,
    model: ModelConfig,
    config: TrainConfig,
    *,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Teacher:
    """Return the teacher of a data set: found by the hash of configuration and data, else trained and kept.

    Args:
        cache: folder of teachers; by default the environment variable UNIDD_CACHE, else ~/.cache/unidd, + /teachers.
    Raises:
        OSError: the folder cannot be written (before training).
        ValueError: the teacher found there is damaged.
    """
    folder, identity = teacher_folder(data, model, config, seed, cache)
    network = build(model, data.channels, data.size, data.classes, seed).to(data.device)
    if not (folder / "card.json").exists():
        with atomic(folder / "model.safetensors") as temporary:
            images = data.normalise(data.train.images)
            train(network, images, data.train.labels, config, seed=seed, progress="teacher" if progress else None)
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
        save_json({"accuracy": accuracy(network, data), "name": data.name, **identity}, folder / "card.json")
    try:
        network.load_state_dict(load_file(folder / "model.safetensors", device=str(data.device)))
        card = json.loads((folder / "card.json").read_text())
    except (FileNotFoundError, SafetensorError, json.JSONDecodeError, RuntimeError) as error:
        raise ValueError(f"the teacher in {folder} is damaged ({error}): delete that folder") from None
    return Teacher(network.eval().requires_grad_(False), card["accuracy"], folder.name)


def teacher_folder(
    data: ImageData, model: ModelConfig, config: TrainConfig, seed: int = 0, cache: str | Path | None = None
) -> tuple[Path, dict]:
    """Return where a teacher lies, with a card.json if it is there, and what it depends on."""
    identity = {"data": data.fingerprint, "model": asdict(model), "training": asdict(config), "seed": seed}
    digest = json_hash(identity)
    return cache_folder(cache) / "teachers" / digest, identity


def cache_folder(cache: str | Path | None = None) -> Path:
    return Path(cache or os.environ.get("UNIDD_CACHE") or "~/.cache/unidd").expanduser()
