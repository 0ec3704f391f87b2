"""The one training loop: teachers and students, hard labels or a teacher's soft ones; and the store of teachers."""

import json
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from ..bars import progress_bar
from ..core.frozen import frozen
from ..data import augment
from ..data.datasets import ImageData
from ..data.siamese import Siamese
from ..files import atomic, cache_folder, json_hash, save_json
from .checks import check_answers, check_network
from .models import ModelConfig, build, real_batch, weights_hash
from .weights import Constants, fit, read_weights, save_weights


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
        optimizer: "sgd" (momentum 0.9), "adamw", or "adam", which takes no weight decay.
        lr, weight_decay: of the optimiser.
        period: length of the cosine schedule in units of the training; at 1 the rate ends at 0, at 2 at half.
        crop: "pad" (random crop after padding by an eighth of the side: 4 of 32 pixels) or "resized"
            (RandomResizedCrop), both with a horizontal flip; "flip", the flip alone; or "none", neither.
        cutmix: mix images of a batch by CutMix.
        temperature: of the soft labels; unused with hard ones.
    Raises:
        ValueError: a value is out of range; the message names it.
    """

    epochs: int = 200
    batch: int = 128
    optimizer: Literal["sgd", "adamw", "adam"] = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    period: float = 1.0
    crop: Literal["pad", "resized", "flip", "none"] = "pad"
    cutmix: bool = False
    temperature: float = 20.0

    def __post_init__(self):
        for name in ("epochs", "batch", "lr", "period", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        check_choices(self, "optimizer", "crop")

    def steps(self, images: int) -> int:
        """Return how many steps a training on so many images takes."""
        return self.epochs * -(-images // self.batch)

    def plain(self) -> "TrainConfig":
        """Return the same training on images as they are."""
        return replace(self, crop="none", cutmix=False)


@dataclass(frozen=True)
class Recipe(TrainConfig):
    """How students of published methods are trained; by default as any network is.

    Args:
        schedule: of the rate. "cosine" falls from step to step, "epochs" in the same way from epoch to epoch. "drop"
            goes to a tenth after the epochs 0 … E/2 + 1 of 0 … E, and the optimiser is made anew there: it forgets its
            momentum. "warm-up" rises from 0 over some steps, then falls by a cosine to a hundredth.
        warmup: steps of the rise.
        decay: weight decay of "all" parameters, or of the "weights" alone: not of biases, nor of norms.
        scale: smallest area of a "resized" crop.
        strategy: Siamese operations, of which each batch takes one, each image with parameters of its own.
        shuffle: patches along a side of an image, whose rows and columns are shuffled before the crop; 1 shuffles none.
        t_squared: whether the divergence from the teacher counts T² times.
        mixup: α of mixup, in place of CutMix; 0 mixes none.
    Raises:
        ValueError: a value is out of range; the message names it.
    """

    schedule: Literal["cosine", "epochs", "drop", "warm-up"] = "cosine"
    warmup: int = 0
    decay: Literal["all", "weights"] = "all"
    scale: float = 0.08
    strategy: str = "none"
    shuffle: int = 1
    t_squared: bool = True
    mixup: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "schedule", "decay")
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must be above 0 and at most 1, not {self.scale}")
        for name, least in (("warmup", 0), ("shuffle", 1), ("mixup", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        Siamese(self.strategy)

    @staticmethod
    def of(config: TrainConfig) -> "Recipe":
        """Return a training as a recipe."""
        return Recipe(**{f.name: getattr(config, f.name) for f in fields(config)})

    def plain(self) -> "Recipe":
        return replace(self, crop="none", cutmix=False, strategy="none", shuffle=1, mixup=0.0)

    @property
    def dropped(self) -> int | None:
        """The first epoch at a tenth of the rate; None if there is none."""
        return (self.epochs - 1) // 2 + 2 if self.schedule == "drop" else None

    def rate(self, step: int, batches: int) -> float:
        """Return the part of the rate that a step has, batches of them an epoch."""
        epoch = step // batches
        if self.schedule == "drop":
            return 0.1 if epoch >= (self.dropped or 0) else 1.0
        if self.schedule == "epochs":
            return (1 + math.cos(math.pi * epoch / (self.epochs * self.period))) / 2
        if step < self.warmup:
            return step / self.warmup
        part = (step - self.warmup) / max(1, self.epochs * batches - self.warmup)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class Teacher:
    """A trained network, and what is known of it. Nothing that uses it changes it, whatever mode it is in.

    Attributes:
        accuracy: on the test images, in %.
        name: for people.
        classes: names of the classes its outputs stand for; empty: not known.
        normalisation: mean and std of each channel that it was trained with; None: those of the data.
        architecture: if it is one that the package builds.
        file: where it was read from; empty if it was not.
        seed: that it was trained with here; None if it was not.
    """

    model: nn.Module
    accuracy: float = float("nan")
    name: str = ""
    classes: tuple[str, ...] = ()
    normalisation: Constants | None = None
    architecture: ModelConfig | None = None
    file: str = ""
    seed: int | None = None

    @property
    def hash(self) -> str:
        """The sha256 of its weights."""
        return weights_hash(self.model)

    def card(self) -> dict:
        """Return what sets and records say of it. Cards without "hash_of", of version 0.2, have another hash: that of
        configuration and data.
        """
        card = {"hash": self.hash, "hash_of": "weights", "accuracy": self.accuracy}
        card |= {"seed": self.seed} if self.seed is not None else {}
        card |= {"architecture": asdict(self.architecture)} if self.architecture else {}
        card |= {"normalisation": list(map(list, self.normalisation))} if self.normalisation else {}
        return card | ({"file": self.file} if self.file else {})

    @staticmethod
    def of(
        model: nn.Module, data: ImageData, *, normalisation: Constants | None = None, layers: Sequence[str] | None = ()
    ) -> "Teacher":
        """Take any network as the teacher of a data set, after a look at it; it stays as it is.

        Args:
            model: images (n, C, H, W), normalised, → float32 logits (n, classes), output k for class k of the data.
            normalisation: mean and std of each channel that it was trained with, of pixels in [0, 1]; None: the data's.
            layers: that are to be matched, if they are known; None: the convolutions.
        Raises:
            ValueError: it cannot teach these data, or knows the classes in another order; the message says why.
        """
        made = Teacher(model, classes=data.class_names, normalisation=normalisation)
        return replace(made, accuracy=made._look(data, layers))

    @staticmethod
    def load(
        path: str | Path,
        data: ImageData,
        *,
        model: str | None = None,
        pooling: str | None = None,
        order: Sequence[str] | None = None,
        normalisation: Constants | None = None,
    ) -> "Teacher":
        """Read a teacher of a data set from a file of weights, or from a folder that `unidd import-teacher` wrote.

        Args:
            path: see `unidd.networks.weights.read_weights`.
            model, pooling, order: what the file does not say, see `unidd.networks.weights.fit`.
            normalisation: as in `of`; None: as the card says, else the data's.
        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot be read, is of another architecture, or cannot teach these data.
        """
        stored = read_weights(path)
        network, config = fit(stored, data, model=model, pooling=pooling, order=order)
        if "hash" in stored.card and order is None and stored.card["hash"] != weights_hash(network):
            raise ValueError(f"the card beside {stored.path} belongs to other weights: copy both again")
        classes = data.class_names if order is not None else tuple(stored.card.get("classes", data.class_names))
        known = {"classes": classes, "architecture": config, "file": str(stored.path.resolve())}
        found = Teacher(network, normalisation=normalisation or stored.constants, **known)
        seen = found.seen(data)
        about = {"data": seen.fingerprint, "hash": weights_hash(network), "model": asdict(config)}
        if order is None and all(stored.card.get(name) == value for name, value in about.items()):
            found.check(seen)  # its answers were looked at when it was kept
            return replace(found, accuracy=stored.card["accuracy"])
        return replace(found, accuracy=found._look(data))

    def _look(self, data: ImageData, layers: Sequence[str] | None = ()) -> float:
        """Return the accuracy in %; raise what is wrong, and warn of what may be. A few images tell most of it soon."""
        seen = self.seen(data)
        self.check(seen, layers)
        answers = check_answers(self.model, seen)
        if answers.note:
            warnings.warn(answers.note, stacklevel=3)
        return (answers if answers.images == len(seen.test) else check_answers(self.model, seen, None)).accuracy

    def save(self, folder: str | Path, data: ImageData, source: str = "") -> Path:
        """Write model.safetensors and card.json, which `load` reads.

        Args:
            data: it teaches.
            source: where it comes from, for the card.
        Raises:
            ValueError: the package cannot build its architecture.
        """
        if self.architecture is None:
            raise ValueError("the package cannot build this network again: keep its state dict and the code beside it")
        seen = self.seen(data)
        about = {"accuracy": self.accuracy, "name": data.name, "classes": data.class_names, "data": seen.fingerprint}
        return save_weights(self.model, self.architecture, folder, (seen.mean, seen.std), {**about, "source": source})

    def seen(self, data: ImageData) -> ImageData:
        """Return the data set normalised as it was when the network was trained."""
        if self.normalisation in (None, (data.mean, data.std)):
            return data
        return replace(data, normalisation=self.normalisation)

    def check(self, data: ImageData, layers: Sequence[str] | None = (), *, gradient: bool = False) -> list[str]:
        """Return the names of the layers that are matched; a ValueError says why it cannot teach the data.

        Args:
            layers, gradient: see `unidd.networks.checks.check_network`.
        """
        if self.classes and self.classes != data.class_names:
            ours, theirs = next(pair for pair in zip_longest(self.classes, data.class_names) if pair[0] != pair[1])
            number = self.classes.index(ours) if ours is not None else len(self.classes)
            raise ValueError(
                f"the teacher's classes are not those of {data.name}: class {number} is {ours!r} and {theirs!r}; "
                "if they are the same, unidd import-teacher it with --order, the data's names in its outputs' order"
            )
        return check_network(self.model, data, layers, gradient=gradient)


NOBODY = Teacher(nn.Identity())  # in a teacher's place where none is needed


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    *,
    seed: int = 0,
    teacher: nn.Module | None = None,
    prepare: Callable[[Tensor], Tensor] | None = None,
    criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    each_epoch: Callable[[], object] | None = None,
    progress: str | None = None,
) -> nn.Module:
    """Train `model` in place and return it in eval mode.

    Args:
        images: (n, C, H, W), on the model's device.
        labels: (n,), or (n, classes) if they are fixed soft labels.
        seed: of the order of images and of the augmentation.
        teacher: if given, its soft labels on the augmented images are learnt, else `labels`.
        prepare: makes a batch of images the network's input, such as `ImageData.normalise`; None: they are.
        criterion: the loss of the network's output (b, classes) and the labels of a batch; CutMix and mixup mix the
            losses.
        each_epoch: called after every epoch, the model in training mode.
        progress: title of a progress bar; None shows none.
    Source: UniDD, appendix (student: KL to the teacher's online soft labels).
    """
    generator, config = Generator().manual_seed(seed), Recipe.of(config)
    optimizer = _optimizer(model, config)
    batches = -(-len(images) // config.batch)
    schedule = _schedule(optimizer, config, batches)
    model.train()
    labeller = frozen(teacher) if teacher else nullcontext()
    with labeller, progress_bar(config.epochs, progress, shown=progress is not None, leave=False) as bar:
        for epoch in range(config.epochs):
            if epoch == config.dropped:
                optimizer.state.clear()
            order = torch.randperm(len(images), generator=generator).to(images.device, non_blocking=True)
            for index in order.tensor_split(batches):
                optimizer.zero_grad()
                taken = images[index]
                _loss(model, taken, labels[index], config, teacher, criterion, prepare, generator).backward()
                optimizer.step()
                schedule.step()
            if each_epoch:
                each_epoch()
            bar.update()
    return model.eval()


def trial(model: nn.Module, data: ImageData, config: TrainConfig) -> None:
    """Take one step of a training, at a rate too low to change much, as `unidd plan` measures it."""
    images, labels = data.train.images, data.train.labels
    size = -(-len(images) // -(-len(images) // config.batch))  # batches are as large as each other
    train(model, images[:size], labels[:size], replace(config, epochs=1, lr=1e-6), prepare=data.normalise)


def _optimizer(model: nn.Module, config: Recipe) -> torch.optim.Optimizer:
    decayed = dict(model.named_parameters())
    if config.decay == "weights":
        decayed = {name: p for name, p in decayed.items() if "weight" in name and p.ndim > 1}
    groups: list[dict] = [{"params": list(decayed.values())}]
    if others := [p for name, p in model.named_parameters() if name not in decayed]:
        groups.append({"params": others, "weight_decay": 0.0})
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, config.lr)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(groups, config.lr, momentum=0.9, weight_decay=config.weight_decay)


def _schedule(optimizer: torch.optim.Optimizer, config: Recipe, batches: int) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule != "cosine":
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: config.rate(step, batches))
    return torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer,
        config.epochs * batches * config.period,  # pyright: ignore[reportArgumentType]  may be no whole number
    )


def view(images: Tensor, config: Recipe, generator: Generator) -> Tensor:
    """Return one augmented view of each image (b, C, H, W), as a student sees it before images are mixed."""
    if config.shuffle > 1:
        images = augment.shuffle_patches(images, generator, config.shuffle)
    if config.crop == "pad":
        images = augment.random_crop(images, generator, images.shape[-1] // 8)
    elif config.crop == "resized":
        images = augment.random_resized_crop(images, generator, (config.scale, 1.0))
    if config.crop != "none":
        images = augment.flip(images, generator)
    return Siamese(config.strategy).draw(generator, len(images))(images)


def _loss(model, images, labels, config: Recipe, teacher, criterion, prepare, generator) -> Tensor:
    images = prepare(images) if prepare else images  # none of its copies outlives the next, nor the forward pass
    images = view(images, config, generator)
    share, other = 1.0, labels
    if config.cutmix or config.mixup:
        mixed = augment.mixup(images, generator, config.mixup) if config.mixup else augment.cutmix(images, generator)
        images, permutation, share = mixed
        other = labels[permutation]
    logits = model(images)
    if teacher is None:
        return share * criterion(logits, labels) + (1 - share) * criterion(logits, other)
    with torch.no_grad():
        labels = teacher(images)
    return divergence(logits, labels, config.temperature) / (1 if config.t_squared else config.temperature**2)


def divergence(logits: Tensor, of_teacher: Tensor, temperature: float) -> Tensor:
    """Return T² KL(softmax(z/T) ‖ softmax(s/T)) of a student's logits s and a teacher's z, both (b, c), a mean over b.

    Source: Hinton et al. (2015); UniDD, appendix.
    """
    soft = (of_teacher / temperature).softmax(1)
    return F.kl_div((logits / temperature).log_softmax(1), soft, reduction="batchmean") * temperature**2


@torch.no_grad()
def accuracy(model: nn.Module, data: ImageData, batch: int | None = None) -> float:
    """Return test accuracy in %."""
    correct, batch = 0, batch or real_batch(data.size, data.device)
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

    Its own hash is that of its weights, which differ from machine to machine.

    Args:
        seed: of its first weights, the order of images and the augmentation.
        cache: folder of teachers; by default the environment variable UNIDD_CACHE, else ~/.cache/unidd, + /teachers.
    Raises:
        OSError: the folder cannot be written (before training).
        ValueError: the teacher found there is damaged.
    """
    folder, identity = teacher_folder(data, model, config, seed, cache)
    network = build(model, data.channels, data.size, data.classes, seed).to(data.device)
    if not (folder / "card.json").exists():
        with atomic(folder / "model.safetensors") as temporary:
            shown: dict = {"prepare": data.normalise, "progress": "teacher" if progress else None}
            train(network, data.train.images, data.train.labels, config, seed=seed, **shown)
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
        about = {"accuracy": accuracy(network, data), "name": data.name, "mean": data.mean, "std": data.std}
        save_json({**about, "hash": weights_hash(network), **identity}, folder / "card.json")
    try:
        network.load_state_dict(load_file(folder / "model.safetensors", device=str(data.device)))
        card = json.loads((folder / "card.json").read_text())
    except (FileNotFoundError, SafetensorError, json.JSONDecodeError, RuntimeError) as error:
        raise ValueError(f"the teacher in {folder} is damaged ({error}): delete that folder") from None
    network = network.eval().requires_grad_(False)
    return Teacher(network, card["accuracy"], data.name, data.class_names, architecture=model, seed=seed)


def teacher_folder(
    data: ImageData, model: ModelConfig, config: TrainConfig, seed: int = 0, cache: str | Path | None = None
) -> tuple[Path, dict]:
    """Return where a teacher lies, with a card.json if it is there, and what it depends on."""
    identity = {"data": data.fingerprint, "model": asdict(model), "training": asdict(config), "seed": seed}
    digest = json_hash(identity)
    return cache_folder(cache) / "teachers" / digest, identity
