"""One cell of a results table: a method at one number of images per class, on one data set, over several seeds.

`run(cell)` is what the notebook, the command line and the batch call. `Cell.of` takes plain values, as in a suite file.
`teach`, `distill` and `evaluate` are its parts for use from Python.
"""

import shutil
import time
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import methods
from ..data.datasets import ImageData, Split
from ..data.sources import Source
from ..data.synthetic import SyntheticSet, made_from
from ..engine.checkpoint import Checkpoint
from ..engine.run import Run
from ..methods import Method
from ..networks.evaluation import (
    RECORDED,
    REGIMES,
    centred_labels,
    check_fits,
    evaluate_images,
    fixed_labels,
    mean_labels,
    needs_teacher,
)
from ..networks.models import ModelConfig, build
from ..networks.protocols import Students, find_protocol
from ..networks.training import NOBODY, Teacher, TrainConfig, teacher, teacher_folder
from . import parts
from .closure import code_hash
from .given import Given
from .machine import peak_memory
from .records import Record, provenance, stored_bytes


@dataclass(frozen=True)
class Budget:
    """How much computing a cell spends.

    Attributes:
        width: of the ConvNet.
        teacher, student, full: epochs of the teacher, of a student, and of a full-data student.
        batch: images of a student's step; 0 goes by IPC, as on CIFAR.
        share: part of a published protocol's epochs.
        least: steps that a full-data student takes at least, in more epochs if it must.
        training: fields of `TrainConfig` the teacher's training changes.
        method: fields a method gets unless told otherwise, where it has them and does not keep them from budgets.
    """

    width: int
    teacher: int
    student: int
    full: int
    batch: int = 0
    share: float = 1.0
    least: int = 0
    training: dict = field(default_factory=dict)
    method: dict = field(default_factory=dict)

    def network(self, model: str) -> ModelConfig:
        return ModelConfig.named(model, self.width)

    def taught(self) -> TrainConfig:
        """Return how the teacher is trained."""
        return replace(TrainConfig(epochs=self.teacher), **self.training)

    def student_of(self, ipc: int | None, classes: int, images: int) -> TrainConfig:
        """Return how a student is trained, the same for every method: AdamW, RandomResizedCrop, flip and CutMix."""
        config = TrainConfig(optimizer="adamw", lr=1e-3, weight_decay=1e-2, period=2.0, crop="resized", cutmix=True)
        if ipc is None:
            epochs = max(self.full, -(-self.least // -(-images // 128)))
            return replace(config, epochs=epochs, batch=128)
        batch = self.batch or {1: 10, 10: 50}.get(ipc, 100) * (1 if classes <= 10 else 2)
        return replace(config, epochs=self.student, batch=min(batch, ipc * classes))

    def student_under(self, protocol: str, students: Students) -> TrainConfig:
        """Return how a student is trained under a protocol; on all real images, always as the package does."""
        recipe = find_protocol(protocol).recipe
        if recipe is None or students.ipc is None:
            return self.student_of(students.ipc, students.classes, students.images)
        return recipe(replace(students, share=self.share))


_LARGE = {"lr": 0.2, "weight_decay": 1e-4, "crop": "resized"}
_SMOKE = {
    **{"steps": 2, "net_width": 8, "pool": 2, "proxy_epochs": 2, "proxy_seeds": 2},
    **{"experts": 1, "max_start_epoch": 2, "expert_epochs": 2, "syn_steps": 2, "lr_lr": 1e-7},
}
_EMBEDDED = {
    **{"steps": 100, "net_width": 32, "proxy_epochs": 10, "proxy_seeds": 2},
    **{"experts": 2, "max_start_epoch": 4, "expert_epochs": 2, "syn_steps": 10, "lr_lr": 1e-6},
}
_SMALL = Budget(width=32, teacher=10, student=200, full=10, share=0.2, least=700, method=_EMBEDDED)
BUDGETS = {
    "smoke": Budget(width=8, teacher=1, student=2, full=1, share=0.002, method=_SMOKE),
    "embedded": _SMALL,
    "narrow": replace(_SMALL, share=1.0),
    "brief": replace(_SMALL, student=40, full=4, share=0.04),
    "paper": Budget(width=128, teacher=200, student=1000, full=200),
    "large": Budget(width=128, teacher=100, student=300, full=100, batch=100, training=_LARGE, method={"group": 200}),
}


def budgeted(cls: type[Method], budget: str, preset: str | None = None, **settings: Any) -> Method:
    """Return a method at a budget, with some hyper-parameters as told.

    Args:
        preset: name of published hyper-parameters, which come before the budget's.
    Raises:
        ValueError: no such budget, preset or hyper-parameter, or one is out of range.
    """
    _check_choice("budget", budget, BUDGETS)
    known = [f.name for f in fields(cls)]
    _check_known(settings, known)
    open_ = set(known) - set(cls.unbudgeted)
    small = {name: value for name, value in BUDGETS[budget].method.items() if name in open_}
    return cls.preset(preset, **settings) if preset else cls(**small | settings)


@dataclass(frozen=True)
class Cell:
    """The parameters of one cell of a table: a method, its data set, its seeds and its budget.

    Args:
        method: with its hyper-parameters.
        dataset, size, channels, hold_out, classes, small: a name or folder, and what to take of it: see `unidd.load`.
        model: architecture of the teacher, and of the students unless they have another.
        ipc: images per class; None for a method that takes all images.
        seeds: each is a whole repetition: another teacher, other starting images, another distillation, another
            student; none twice.
        budget: "smoke", "embedded", "narrow" (the same, but published protocols are trained in full), "brief" (the
            same, but students are trained a fifth as long), "paper" (as on CIFAR), or "large" (as on Tiny-ImageNet
            and ImageNet).
        suite: heading under which the record is kept.
        regimes: label regimes of the students, in place of the default ones those that the protocol has; for a method
            that takes all images, hard labels alone.
        protocol: how students are trained and labelled, see `unidd.networks.protocols`; all real images train them as
            under "unidd".
        student_model: architecture of the students; None: that of the protocol, or else of the teacher.
        given: files of a teacher and of statistics in place of its own.
    Raises:
        ValueError: unknown name, no seeds or no regime; the message says what is allowed.
    """

    method: Method
    dataset: str = "photos"
    model: str = "convnet"
    ipc: int | None = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    budget: str = "embedded"
    suite: str = "local"
    regimes: tuple[str, ...] = RECORDED
    size: int | None = None
    channels: int | None = None
    hold_out: float = 0.0
    classes: tuple[str, ...] = ()
    small: str = "refuse"
    protocol: str = "unidd"
    student_model: str | None = None
    given: Given = Given()  # noqa: RUF009  it is frozen

    def __post_init__(self):
        _check_choice("budget", self.budget, BUDGETS)
        object.__setattr__(self, "classes", self.source.classes)
        check_seeds(self.seeds)
        object.__setattr__(self, "seeds", tuple(self.seeds))
        check_regimes(self.regimes)
        recorded = find_protocol(self.protocol).recorded
        regimes = recorded if tuple(self.regimes) == RECORDED else tuple(self.regimes)
        own = ("hard",) if self.method.role == "ceiling" else ()  # whatever the protocol's are
        find_protocol(self.protocol, [regime for regime in regimes if regime not in own])
        object.__setattr__(self, "regimes", own or regimes)
        if (self.ipc is None) == self.method.has_ipc:
            needs = "needs an ipc" if self.method.has_ipc else "takes all images: its ipc must be None"
            raise ValueError(f"the method {self.method.name!r} {needs}")
        self.given.check(self.method, self.needs_teacher)
        self.run(self.seeds[0])

    @staticmethod
    def of(
        method: str = "cfm",
        settings: dict | None = None,
        budget: str = "embedded",
        preset: str | None = None,
        **parameters: Any,
    ) -> "Cell":
        """Return the cell of plain values, as a suite file has them.

        Args:
            method: for `unidd.find`.
            settings: hyper-parameters of the method, by name.
            preset: those that were published, by the name of the preset.
            parameters: of the cell, and of `Given`.
        Raises:
            ValueError: a parameter is unknown or has a wrong value.
        """
        own = [f.name for f in fields(Cell) if f.name not in ("method", "given")]
        _check_known(parameters, [*own, *Given.names()], also=("method", "settings", "preset"))
        if not isinstance(method, str) or not isinstance(settings, dict | None):
            raise ValueError(
                f"method must be a name and settings a dict of its hyper-parameters, not {method!r}, {settings!r}"
            )
        cls = methods.find(method)
        if not cls.has_ipc:
            parameters.setdefault("ipc", None)
        given = Given.of(parameters)
        parameters = {name: value for name, value in parameters.items() if name not in Given.names()}
        return Cell(budgeted(cls, budget, preset, **(settings or {})), budget=budget, given=given, **parameters)

    @staticmethod
    def from_namespace(namespace: dict, beside: tuple[str, ...] = ()) -> "Cell":
        """Return the cell of a notebook's variables: call it in the cell after the parameters.

        Args:
            namespace: the notebook's `globals()`.
            beside: parameters of the notebook that are not the cell's.
        Raises:
            ValueError: a variable is not a parameter (papermill itself would only warn), or has a wrong value.
        """
        plain = (str, int, float, list, tuple, dict, type(None))
        given: dict[str, Any] = {
            name: value
            for name, value in namespace.items()
            if isinstance(value, plain) and not name.startswith("_") and name not in ("In", "Out", *beside)
        }
        return Cell.of(**given)

    @property
    def source(self) -> Source:
        """Which images are asked for."""
        return Source.of(vars(self))

    def parameters(self) -> dict:
        """Return the plain values that `of` makes the cell of.

        Of the data set and the protocol, those that are not the default ones.
        """
        options = {f.name for f in fields(Source)} - {"dataset"} | {"given"}
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name in ("protocol", "student_model")}
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("method", *options, *told)}
        return {
            **parts,
            **{name: value for name, value in told.items() if value != getattr(Cell, name)},
            **self.source.options(),
            **self.given.options(),
            "method": self.method.path(),
            "settings": asdict(self.method),
            "seeds": list(self.seeds),
            "regimes": list(self.regimes),
        }

    @property
    def needs_teacher(self) -> bool:
        """Whether the method or the students look at a trained network."""
        learnt = find_protocol(self.protocol).centred
        return self.method.needs_teacher or (set(self.regimes) != {"hard"} and not learnt)

    @property
    def code(self) -> str:
        """The hash of all code the record depends on."""
        return code_hash(type(self.method).__module__, __name__)

    def identity(self, seed: int, data: ImageData, teacher: Teacher | None = None) -> dict:
        """Return what a repetition of this cell depends on, in plain values.

        Args:
            teacher: in place of the cell's own.
        """
        same = {name: value for name, value in self.parameters().items() if name not in ("seeds", "suite")}
        brought = {"teacher": teacher.hash} if teacher else {}
        return {"cell": same, "seed": seed, "data": data.fingerprint, "code": self.code, **brought}

    def run(self, seed: int, **options: Any) -> Run:
        """Return what a distillation of this cell is asked for."""
        return Run(1 if self.ipc is None else self.ipc, seed, **options)

    def check(self, data: ImageData, **options: Any) -> None:
        """Raise now, as a ValueError, what would otherwise fail after long work: the model, the size of the classes."""
        for name in dict.fromkeys((self.model, self.student_name)):
            check_model(data, name, self.budget)
        self.method.check(data, self.run(self.seeds[0], **options))

    def network(self) -> ModelConfig:
        return BUDGETS[self.budget].network(self.model)

    def student_network(self) -> ModelConfig:
        return BUDGETS[self.budget].network(self.student_name)

    @property
    def student_name(self) -> str:
        """The name of the students' architecture."""
        return self.student_model or find_protocol(self.protocol).model or self.model

    def training(self) -> TrainConfig:
        """Return how the teacher is trained."""
        return BUDGETS[self.budget].taught()

    def teacher(self, data: ImageData, seed: int | None = None, **options: Any) -> Teacher:
        """Return the teacher of a repetition; by default of the first."""
        seed = self.seeds[0] if seed is None else seed
        return teacher(data, self.network(), self.training(), seed=seed, **options)

    def brought(self, path: str | Path, data: ImageData) -> Teacher:
        """Return a teacher from a file of weights or a folder; `model` tells its architecture if nothing else does.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot teach these data; or no teacher is looked at.
        """
        if not self.method.needs_teacher:
            raise ValueError(f"the method {self.method.name!r} looks at no teacher: leave it out")
        return Teacher.load(path, data, model=None if self.model == "convnet" else self.model)

    def taught_by(self, teacher: Teacher) -> "Cell":
        """Return this cell, students of the architecture of a teacher that was brought."""
        return replace(self, model=teacher.architecture.name) if teacher.architecture else self

    def distill(self, seed: int, data: ImageData, teacher: Teacher = NOBODY, **options: Any) -> SyntheticSet:
        """Return the set of one seed, its card naming this cell."""
        made = self.method.distill(teacher.seen(data), teacher, self.run(seed, **options))
        return replace(made, config=made.config | {"data": made_from(data), "cell": self.parameters()})

    def accuracies(
        self, made: SyntheticSet | Split, data: ImageData, teacher: Teacher | None, seed: int, **options: Any
    ) -> dict[str, float]:
        """Return the test accuracy in % of one student under each label regime.

        Args:
            made: the images to train on; of a ceiling, the training split itself will do.
        """
        student = self.student(data, made if isinstance(made, SyntheticSet) else None)
        task = made, data, self.student_network(), student, [seed]
        options["centred"] = find_protocol(self.protocol).centred
        return {regime: values[0] for regime, values in students(self.regimes, teacher, *task, **options).items()}

    def images(self, data: ImageData) -> int:
        """Return how many images a set of this cell has."""
        return self.ipc * data.classes if self.ipc else len(data.train)

    def student(self, data: ImageData, made: SyntheticSet | None = None) -> TrainConfig:
        """Return how a student is trained, the same for every method but for what a protocol takes from the set.

        Args:
            made: the set; None: one of as many images, with the method's hyper-parameters on its card.
        """
        images = len(made) if made else self.images(data)
        card = made.config if made else asdict(self.method)
        asked = Students(images, self.ipc, data.classes, data.channels, self.student_name, card)
        return BUDGETS[self.budget].student_under(self.protocol, asked)

    def record(
        self,
        data: ImageData,
        accuracy: dict,
        teachers: list[dict],
        seconds: dict | None = None,
        rates: Sequence[float] = (),
        taken: dict[str, int] | None = None,
    ) -> Record:
        """Return the record of measured accuracies.

        Args:
            teachers: the card of each repetition's, in the order of the seeds; none if nobody taught.
            rates: learning rates that the students of each repetition started from; kept where the images taught them.
            taken: bytes of a set.
        """
        student = self.student(data)
        return Record(
            suite=self.suite,
            dataset=data.name,
            model=self.student_name,
            method=self.method.name,
            role=self.method.role,
            ipc=self.ipc,
            seeds=list(self.seeds),
            accuracy=accuracy,
            config={
                "cell": self.parameters(),
                "method": asdict(self.method.settled(data, self.ipc)),
                "student": asdict(student),
                **({"rates": list(rates)} if set(rates) - {student.lr} else {}),
            },
            teachers=teachers,
            seconds=seconds or {},
            bytes=taken or {},
            memory=peak_memory(data.device),
            provenance=provenance(data.device),
            code=self.code,
        )


def run(
    cell: Cell,
    data: ImageData | None = None,
    *,
    teacher: Teacher | None = None,
    sets: str | Path | None = None,
    kept: str | Path | None = None,
    progress: bool = False,
) -> Record:
    """Train a teacher, distill, train students and test them: all of it once a seed.

    A teacher that was trained before is found again, so that the cells of a suite share one a seed.

    Args:
        data: the cell's data set, if it is loaded already.
        teacher: in place of all of the cell's own, and of one that it is given.
        sets: folder for the set of the last seed; None keeps none.
        kept: folder for what is done, from which the same cell goes on after it was cut off; delete it once the record
            is saved. None keeps nothing.
        progress: show bars.
    Raises:
        ValueError: data, model or method do not fit together (before any long work).
    """
    data = data or cell.source.load()
    cell.check(data)
    teacher = teacher or cell.given.load(data, cell.model)
    data = teacher.seen(data) if teacher else data
    shown = {"progress": progress, "statistics": cell.given.side(cell.method, data, teacher)}
    done: list[dict[str, Any]] = []
    for seed in cell.seeds:
        last = sets if seed == cell.seeds[-1] else None
        make = partial(_repeat, cell, seed, data, teacher, last, whole=not sets, **shown)
        done.append(
            _kept(Path(kept) / f"seed-{seed}", cell.identity(seed, data, teacher), make, last) if kept else make()
        )
    accuracy = {regime: [one["accuracy"][regime] for one in done] for regime in cell.regimes}
    seconds = {phase: round(sum(one["seconds"][phase] for one in done), 1) for phase in ("distill", "students")}
    cards, rates = [one["teacher"] for one in done if one["teacher"]], [one["rate"] for one in done]
    record = cell.record(data, accuracy, cards, seconds, rates, done[-1]["bytes"])
    return replace(record, memory=max(record.memory, *(one["memory"] for one in done)))


def _kept(folder: Path, depends: dict, make: Callable[..., dict[str, Any]], sets: str | Path | None) -> dict[str, Any]:
    """Return a repetition from the file beside a folder; or make it, the state of its distillation in the folder.

    Args:
        sets: where its set must be, if anywhere.
    """
    path = folder.with_suffix(".json")
    if sets and not (Path(sets) / "card.json").exists():
        path.unlink(missing_ok=True)
    row = parts.kept(path, depends, lambda: make(checkpoint=Checkpoint(folder, overwrite=True)))
    shutil.rmtree(folder, ignore_errors=True)
    return row


def _repeat(
    cell: Cell,
    seed: int,
    data: ImageData,
    teacher: Teacher | None,
    sets: str | Path | None,
    *,
    whole: bool,
    progress: bool,
    **options: Any,
) -> dict[str, Any]:
    """Distill once, train and test students of the set, and return what the record needs of it, in plain values.

    Args:
        sets: folder for the set; None keeps none.
        whole: a ceiling's images need not be copied as floats.
    """
    taught_by = teacher or (cell.teacher(data, seed, progress=progress) if cell.needs_teacher else NOBODY)
    began = time.perf_counter()
    ceiling = cell.method.role == "ceiling" and whole
    synthetic = data.train if ceiling else cell.distill(seed, data, taught_by, progress=progress, **options)
    made = time.perf_counter()
    accuracy = cell.accuracies(synthetic, data, taught_by, seed, progress=progress)
    if sets and isinstance(synthetic, SyntheticSet):
        synthetic.save(sets)
    nobody = taught_by is NOBODY
    return {
        "accuracy": accuracy,
        "teacher": {} if nobody else taught_by.card(),
        "rate": cell.student(data, synthetic if isinstance(synthetic, SyntheticSet) else None).lr,
        "seconds": {"distill": made - began, "students": time.perf_counter() - made},
        "bytes": stored_bytes(synthetic.images, data.classes, None if nobody else taught_by.model),
        "memory": peak_memory(data.device),
    }


def teach(
    data: ImageData, model: str = "convnet", budget: str = "embedded", *, seed: int = 0, progress: bool = True
) -> Teacher:
    """Train a teacher at a budget, or find the one trained before."""
    check_model(data, model, budget)
    return teacher(data, BUDGETS[budget].network(model), BUDGETS[budget].taught(), seed=seed, progress=progress)


def kept_teacher(data: ImageData, model: str = "convnet", budget: str = "embedded", *, seed: int = 0) -> Teacher | None:
    """Return the teacher that `teach` trained before; None if it did not."""
    check_model(data, model, budget)
    folder, _ = teacher_folder(data, BUDGETS[budget].network(model), BUDGETS[budget].taught(), seed)
    return teach(data, model, budget, seed=seed, progress=False) if (folder / "card.json").exists() else None


def distill(
    data: ImageData,
    method: str = "cfm",
    ipc: int | None = None,
    seed: int = 0,
    *,
    start: SyntheticSet | None = None,
    model: str = "convnet",
    budget: str = "embedded",
    teacher: Teacher | None = None,
    statistics: str | Path | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool = True,
    **settings: Any,
) -> SyntheticSet:
    """Distill a data set to a few images a class.

    Args:
        data: from `unidd.load`, or any `ImageData`.
        method: for `unidd.find`.
        ipc: images per class; by default one, or as many as `start` has.
        seed: of the teacher, the starting images and every draw.
        start: a set whose images are where the descent starts, in place of random real ones.
        model, budget: of the teacher, and what the budget says of the method.
        teacher: in place of the one that `teach` gives; images are normalised as it was trained.
        statistics: of the real side, in place of a pass over the images: files that belong to that teacher, see
            `unidd.engine.released`.
        checkpoint: where the state is kept.
        settings: hyper-parameters of the method.
    Raises:
        ValueError: an argument is unknown or out of range.

    >>> made = distill(Source("digits").load(), "cfm", ipc=2, budget="smoke", progress=False)
    >>> made.labels.tolist()[:10]
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    made = budgeted(methods.find(method), budget, **settings)
    if ipc is None:
        ipc = start.ipc if isinstance(start, SyntheticSet) else 1
    asked = Run(ipc, seed, checkpoint, progress=progress, start=start)
    made.check(data, asked)
    if statistics is not None:
        side = made.read_statistics(statistics, teacher.seen(data) if teacher else data, teacher)
        asked = replace(asked, statistics=side)
    if teacher is None:
        teacher = teach(data, model, budget, seed=seed, progress=progress) if made.needs_teacher else NOBODY
    found = made.distill(teacher.seen(data), teacher, asked)
    return replace(found, config=found.config | {"data": made_from(data)})


def evaluate(
    synthetic: SyntheticSet,
    data: ImageData,
    *,
    regimes: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    model: str | None = None,
    budget: str = "embedded",
    protocol: str = "unidd",
    teacher: Teacher | None = None,
    augment: bool = True,
    views: int = 0,
    progress: bool = True,
) -> dict[str, list[float]]:
    """Return the test accuracy in % of students trained on a set from scratch, a student a seed, by label regime.

    Args:
        regimes: "hard", "fixed-soft", "online-soft"; None: those of the protocol, of the package's own "hard" alone.
        seeds: of the students alone: the set and its teacher are those of one repetition.
        model: the students' architecture; None: that of the protocol, or else "convnet".
        budget: widths and epochs: a published protocol is trained in full at "paper" and "large", else for a part.
        protocol: how students are trained and labelled, see `unidd.networks.protocols`.
        teacher: for soft labels; by default the one that the set's card names, else the one that `teach` gives.
        augment: whether students see crops, flips and CutMix, or the images as they are.
        views: of each image, over which the teacher's fixed soft labels are means; 0: of the image as it is.
    Raises:
        ValueError: the set is not of these data, its teacher is gone, or the protocol has no such label regime, or
            needs what the set does not have; views are asked for where no label is a mean over them.
    """
    data = as_made(synthetic, data)
    check_fits(synthetic, data)
    check_seeds(seeds)
    regimes, model = settled(protocol, regimes, model)
    check_views(views, regimes, synthetic, protocol)
    if views and not augment:
        raise ValueError("without augmentation all views are the image as it is: leave views out")
    check_model(data, model, budget)
    student = student_on(synthetic, data, model, budget, protocol)
    if teacher is None and protocol_needs_teacher(protocol, synthetic, regimes):
        of = architecture_of(synthetic) or model
        teacher = teacher_of(synthetic, data, of, budget, progress=progress)
    if teacher:
        data = teacher.seen(data)
        teacher.check(data)
        if note := another_teacher(synthetic, teacher):
            warnings.warn(note, stacklevel=2)
    task = synthetic, data, BUDGETS[budget].network(model), student if augment else student.plain(), seeds
    centred = find_protocol(protocol).centred
    return students(regimes, teacher, *task, centred=centred, views=views, progress=progress)


def check_views(views: int, regimes: Collection[str], synthetic: SyntheticSet, protocol: str = "unidd") -> None:
    """Raise a ValueError if views are asked for that no label would be a mean over."""
    if views < 0:
        raise ValueError(f"views must be 0 or more, not {views}")
    if not views:
        return
    found, what = find_protocol(protocol), "views are what a teacher's fixed soft labels are means over"
    if found.centred or "fixed-soft" not in found.regimes:
        raise ValueError(f"{what}, which the protocol {protocol} does not have: leave views out")
    if "fixed-soft" not in regimes:
        raise ValueError(f"{what}: add the label regime fixed-soft, or leave views out")
    if synthetic.soft is not None:
        raise ValueError(f"{what}, and the set stores labels of its own: leave views out")


def settled(
    protocol: str, regimes: Sequence[str] | None = None, model: str | None = None, default: str = "convnet"
) -> tuple[tuple[str, ...], str]:
    """Return label regimes and architecture of students, as they are asked for or else as a protocol has them.

    Args:
        default: architecture under a protocol that has none.
    Raises:
        ValueError: there is no such protocol, or it has no such label regime.
    """
    if regimes is not None:
        check_regimes(regimes)
    found = find_protocol(protocol, regimes or ())
    own = ("hard",) if "hard" in found.regimes else found.recorded
    return tuple(own if regimes is None else regimes), model or found.model or default


def student_on(
    synthetic: SyntheticSet, data: ImageData, model: str, budget: str, protocol: str = "unidd"
) -> TrainConfig:
    """Return how a student is trained on a set.

    Raises:
        ValueError: the set does not have what the protocol needs.
    """
    if find_protocol(protocol).centred:
        centred_labels(synthetic)
    asked = Students(len(synthetic), synthetic.ipc, data.classes, data.channels, model, synthetic.config)
    return BUDGETS[budget].student_under(protocol, asked)


def protocol_needs_teacher(protocol: str, synthetic: SyntheticSet, regimes: Collection[str]) -> bool:
    """Return whether students of a set need a teacher for these label regimes under a protocol."""
    return not find_protocol(protocol).centred and needs_teacher(synthetic, regimes)


def architecture_of(synthetic: SyntheticSet) -> str | None:
    """Return the name of the architecture of a set's teacher, if its card says it."""
    if built := synthetic.teacher.get("architecture"):
        return ModelConfig(**built).short
    return synthetic.config.get("cell", {}).get("model")


def as_made(synthetic: SyntheticSet, data: ImageData) -> ImageData:
    """Return a set's data normalised as the teacher was trained that it was made with, if it brought its own."""
    own = synthetic.teacher.get("normalisation") and (synthetic.mean, synthetic.std)
    return replace(data, normalisation=own) if own and own != (data.mean, data.std) else data


def teacher_of(synthetic: SyntheticSet, data: ImageData, model: str, budget: str, *, progress: bool = True) -> Teacher:
    """Return the teacher of a set: from the file that its card names, else the one that `teach` gives for its seed.

    Raises:
        ValueError: the file is gone.
    """
    card = synthetic.teacher
    if "file" not in card:
        return teach(data, model, budget, seed=teacher_seed(synthetic), progress=progress)
    if not Path(card["file"]).exists():
        raise ValueError(f"the set's teacher was {card['file']}, which is not there: say --teacher")
    built, constants = card.get("architecture", {}), card.get("normalisation")
    own = (tuple(constants[0]), tuple(constants[1])) if constants else None
    return Teacher.load(card["file"], data, model=built.get("name"), pooling=built.get("pooling"), normalisation=own)


def teacher_seed(synthetic: SyntheticSet) -> int:
    """Return the seed of the teacher in a set's repetition: as its card says, else that of the set itself."""
    card = synthetic.teacher
    return card.get("seed", 0) if card else synthetic.config.get("seed", 0)


def another_teacher(synthetic: SyntheticSet, teacher: Teacher) -> str:
    """Return what is to be said if a set is labelled by another teacher than it was made with, or may be; else ""."""
    card = synthetic.teacher
    if not card or card.get("hash") == teacher.hash:
        return ""
    if card.get("hash_of") == "weights":
        return "soft labels come from another teacher than the set was distilled with"
    return "soft labels may come from another teacher than the set was distilled with: its card does not tell"


def students(
    regimes: Sequence[str],
    teacher: Teacher | None,
    made: SyntheticSet | Split,
    data: ImageData,
    *task: Any,
    centred: bool = False,
    views: int = 0,
    **options: Any,
) -> dict[str, list[float]]:
    """Return what `evaluate_images` gives under each label regime.

    Args:
        made: the images to train on; fixed soft labels need a set.
        task: network, training and seeds of the students.
        centred: whether fixed soft labels are numbers to be met, see `Protocol`.
        views: of each image, over which fixed soft labels are means; 0: of the image as it is.
    """
    network, found = teacher and teacher.model, {}
    for regime in regimes:
        labels: Any = made.labels
        if regime == "fixed-soft" and network and views:
            labels = mean_labels(made.images, data, network, task[1], views)
        elif regime == "fixed-soft" and isinstance(made, SyntheticSet):
            labels = centred_labels(made) if centred else fixed_labels(made, data, network)
        options["teacher"] = network if regime == "online-soft" else None
        found[regime] = evaluate_images(made.images, labels, data, *task, **options)
    return found


def set_record(
    synthetic: SyntheticSet,
    data: ImageData,
    name: str,
    model: str,
    budget: str,
    seeds: Sequence[int],
    accuracy: dict[str, list[float]],
    teacher: dict,
    protocol: str = "unidd",
) -> Record:
    """Return the record of a set that was evaluated, wherever it came from.

    Args:
        name: of its method.
        model, budget: of the students.
        teacher: its card, one and the same for all students; empty if there was none.
        protocol: of the students; the record names it if it is a published one.
    """
    student, ipc = student_on(synthetic, data, model, budget, protocol), synthetic.ipc
    published = {"protocol": protocol} if find_protocol(protocol).recipe else {}
    return Record(
        suite="local",
        dataset=data.name,
        model=model,
        method=name,
        role=methods.role(name),
        ipc=ipc,
        seeds=list(seeds),
        accuracy=accuracy,
        config={"set": synthetic.config, "budget": budget, **published, "student": asdict(student)},
        teachers=[teacher] * len(seeds) if teacher else [],
        bytes=stored_bytes(synthetic.images, data.classes),
        memory=peak_memory(data.device),
        provenance=provenance(data.device),
        code=code_hash(__name__),
    )


def check_model(data: ImageData, model: str, budget: str) -> None:
    """Raise a ValueError unless there is such a model and budget, and the model fits the images."""
    _check_choice("budget", budget, BUDGETS)
    build(BUDGETS[budget].network(model), data.channels, data.size, data.classes)


def check_seeds(seeds: Any) -> None:
    """Raise a ValueError unless they are different whole numbers from 0, at least one."""
    given = list(seeds) if isinstance(seeds, list | tuple) else []
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in given)
    if not given or not whole or len(set(given)) < len(given):
        raise ValueError(f"seeds must be a list of different whole numbers from 0, not {seeds!r}")


def check_regimes(regimes: Any) -> None:
    """Raise a ValueError unless they are label regimes, at least one."""
    if not isinstance(regimes, list | tuple) or not regimes:
        raise ValueError(f"regimes must be a list of label regimes, not {regimes!r}")
    for regime in regimes:
        _check_choice("label regime", regime, REGIMES)


def _check_choice(what: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {what} {value!r}: choose one of {', '.join(choices)}")


def _check_known(given: dict, known: Sequence[str], also: Sequence[str] = ()) -> None:
    unknown = sorted(set(given) - {*known, *also})
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}: choose from {', '.join([*also, *known])}")
