"""Recipes: functions that return a configuration, each variant a few fields away from the published CFM; budgets, from
a test of the pipeline to the paper's; and `Benchmark`, one cell of a results table.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from ..data.datasets import NAMES, ImageData
from ..data.synthetic import SyntheticSet, choose
from ..engine.distillation import check_shares, distill
from ..engine.parallel import Ranks
from ..engine.settings import DistillConfig
from ..networks.evaluation import PROTOCOLS, evaluate
from ..networks.models import ModelConfig, build
from ..networks.training import Teacher, TrainConfig, teacher


def cfm(**changes) -> DistillConfig:
    """Curriculum frequency matching as published: ridge filter, β falling on a cosine."""
    return DistillConfig(**changes)


def hfm(**changes) -> DistillConfig:
    """High-frequency matching: the ridge filter at fixed β."""
    return DistillConfig(**{"method": "hfm", "schedule": "constant"} | changes)


def lfm(**changes) -> DistillConfig:
    """Low-frequency matching: f(λ) = λ."""
    return DistillConfig(**{"method": "lfm", "filter": "linear"} | changes)


def relative(**changes) -> DistillConfig:
    """High-frequency matching on each layer's own scale: β is its mean eigenvalue, and the terms are normalised."""
    scale = {"beta": 1.0, "beta_unit": "mean", "normalised": True}
    return hfm(**{"method": "relative"} | scale | changes)


def classification(**changes) -> DistillConfig:
    """The teacher's cross-entropy alone: nothing is matched."""
    return DistillConfig(**{"method": "classification", "filter": "none", "eta": 0.0} | changes)


def tiny_imagenet(**changes) -> DistillConfig:
    """CFM on Tiny-ImageNet as published: 200 classes at 64 pixels, a ConvNet of four blocks; β 0.5 to 1."""
    return imagenet(**{"beta": 0.5} | changes)


def imagenet(**changes) -> DistillConfig:
    """CFM on ImageNet-1K as published: torchvision's ResNet-18 at 224 pixels, 200 classes at a time; β 0.1 to 0.2.

    The real images need not fit the memory: give `distill` statistics taken over a DataLoader, and data that hold the
    images to start from, with the mean and std the network was trained with as their `normalisation`.
    """
    return cfm(**{"lr": 0.1, "group": 200} | changes)


def random(**changes) -> DistillConfig:
    """Random real images: the start of every distillation, and the baseline to beat."""
    return classification(**{"method": "random", "steps": 0} | changes)


METHODS: dict[str, Callable[..., DistillConfig]] = {
    f.__name__: f for f in (random, classification, lfm, hfm, cfm, relative)
}


@dataclass(frozen=True)
class Budget:
    """How much computing a benchmark spends.

    Attributes:
        width: of the ConvNet.
        steps: of a round of distillation.
        teacher, student, full: epochs of the teacher, of a student, and of a full-data student.
        group: classes of a batch of distillation; 0 takes all.
        batch: images of a student's step; 0 goes by IPC, as on CIFAR.
        training: fields of `TrainConfig` the teacher's training changes.
    """

    width: int
    steps: int
    teacher: int
    student: int
    full: int
    group: int = 0
    batch: int = 0
    training: dict = field(default_factory=dict)


BUDGETS = {
    "smoke": Budget(width=8, steps=2, teacher=1, student=2, full=1),
    "embedded": Budget(width=32, steps=100, teacher=10, student=200, full=10),
    "paper": Budget(width=128, steps=1000, teacher=200, student=1000, full=200),
    "large": Budget(
        width=128,
        steps=1000,
        teacher=100,
        student=300,
        full=100,
        group=200,
        batch=100,
        training={"lr": 0.2, "weight_decay": 1e-4, "crop": "resized"},
    ),
}


@dataclass(frozen=True)
class Benchmark:
    """One cell of a results table: a method at one IPC on one data set, over several seeds.

    Args:
        dataset: a name or folder for `unidd.data.datasets.load`.
        model: architecture of teacher and students.
        method: a recipe, or "full" for training on all real images.
        ipc: images per class; None for "full".
        seeds: each is a whole repetition: other starting images, another distillation, another student; none twice.
        budget: "smoke", "embedded", "paper" (as on CIFAR), or "large" (as on Tiny-ImageNet and ImageNet).
        suite: heading under which the record is kept.
        settings: changes to the recipe, by field of `DistillConfig`, except those that have a parameter of their own.
    Raises:
        ValueError: unknown name, or no seeds; the message says what is allowed.
    """

    dataset: str = "photos"
    model: str = "convnet"
    method: str = "cfm"
    ipc: int | None = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    budget: str = "embedded"
    suite: str = "local"
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        for name, choices in (("method", (*METHODS, "full")), ("budget", tuple(BUDGETS))):
            if getattr(self, name) not in choices:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}: choose one of {', '.join(choices)}")
        if self.dataset not in NAMES and not Path(self.dataset).expanduser().is_dir():
            raise ValueError(f"unknown data set {self.dataset!r}: choose one of {', '.join(NAMES)}, or a folder")
        seeds = tuple(self.seeds) if isinstance(self.seeds, list | tuple) else ()
        if not seeds or not all(_whole(seed) and seed >= 0 for seed in seeds) or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must be a list of different whole numbers from 0, not {self.seeds!r}")
        object.__setattr__(self, "seeds", seeds)
        if (self.ipc is None) != (self.method == "full"):
            raise ValueError("ipc must be given for every method but 'full', which uses all images")
        _check_known(self.settings, DistillConfig, ("method", "ipc", "seed"))
        if self.ipc is not None:
            if not _whole(self.ipc):
                raise ValueError(f"ipc must be a whole number, not {self.ipc!r}")
            self.distillation(self.seeds[0])

    @classmethod
    def from_namespace(cls, namespace: dict, beside: tuple[str, ...] = ()) -> "Benchmark":
        """From a notebook's variables: call it in the cell after the parameters, before other values have names.

        Args:
            namespace: the notebook's `globals()`.
            beside: parameters of the notebook that are not the benchmark's.

        Raises:
            ValueError: a variable is not a parameter (papermill itself would only warn), or has a wrong value.
        """
        plain = (str, int, float, list, tuple, dict, type(None))
        return cls.from_parameters(
            {
                name: value
                for name, value in namespace.items()
                if isinstance(value, plain) and not name.startswith("_") and name not in ("In", "Out", *beside)
            }
        )

    @classmethod
    def from_parameters(cls, given: dict) -> "Benchmark":
        """From a dict of parameters, as in a suite file; an unknown one is a ValueError."""
        _check_known(given, cls)
        return cls(**given)

    @property
    def protocols(self) -> tuple[str, ...]:
        return ("hard",) if self.method == "full" else PROTOCOLS

    def check(self, data: ImageData, ranks: Ranks | None = None) -> None:
        """Raise now, as a ValueError, what would otherwise fail after long work: the model, the size of the classes,
        batches too small for the processes.
        """
        build(self.network(), data.channels, data.size, data.classes)
        if self.ipc is not None:
            choose(data, self.ipc)
        if ranks and self.method not in ("random", "full"):
            check_shares(self.distillation(self.seeds[0], data), data.classes, ranks)

    def network(self) -> ModelConfig:
        return ModelConfig(self.model, BUDGETS[self.budget].width)

    def distillation(self, seed: int, data: ImageData | None = None) -> DistillConfig:
        """The recipe at this budget; larger images take a smaller step, as published."""
        budget = BUDGETS[self.budget]
        steps = {} if self.method == "random" else {"steps": budget.steps, "group": budget.group}
        lr = {"lr": 0.1} if data and data.size > 32 else {}
        return METHODS[self.method](**{"ipc": self.ipc, "seed": seed} | steps | lr | self.settings)

    def distil(self, seed: int, data: ImageData, teacher: Teacher, **options) -> SyntheticSet:
        """One distillation, its card naming this benchmark; all training images for "full"."""
        if self.method == "full":
            images = data.train.images.float() / 255
            return SyntheticSet(images, data.train.labels, data.class_names, data.mean, data.std)
        result = distill(self.distillation(seed, data), data, teacher, **options)
        return replace(result, config=result.config | {"benchmark": asdict(self)})

    def teacher(self, data: ImageData, **options) -> Teacher:
        return teacher(data, self.network(), self.training(), **options)

    def training(self) -> TrainConfig:
        """Of the teacher."""
        budget = BUDGETS[self.budget]
        return TrainConfig(**{"epochs": budget.teacher} | budget.training)

    def accuracies(
        self, synthetic: SyntheticSet, data: ImageData, teacher: Teacher, seed: int, **options
    ) -> dict[str, float]:
        """Test accuracy in % of one student under each protocol."""
        task = (synthetic.images, synthetic.labels, data, self.network(), self.student(data), [seed])
        models = {"hard": None, "soft": teacher.model}
        return {p: evaluate(*task, teacher=models[p], **options)[0] for p in self.protocols}

    def student(self, data: ImageData) -> TrainConfig:
        """The student's training, the same for every method: AdamW, RandomResizedCrop, flip and CutMix."""
        budget = BUDGETS[self.budget]
        config = TrainConfig(optimizer="adamw", lr=1e-3, weight_decay=1e-2, period=2.0, crop="resized", cutmix=True)
        if self.method == "full":
            return replace(config, epochs=budget.full, batch=128)
        batch = budget.batch or {1: 10, 10: 50}.get(self.ipc, 100) * (1 if data.classes <= 10 else 2)
        return replace(config, epochs=budget.student, batch=min(batch, self.ipc * data.classes))


def _whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_known(given: dict, config: type, besides: tuple[str, ...] = ()) -> None:
    known = [f.name for f in fields(config) if f.name not in besides]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}: choose from {', '.join(known)}")
