"""The command `unidd`: distill, evaluate, audit, plan, teach, methods, export, import, import-teacher, check-record.

Options of a method are fields of its dataclass.
"""

import argparse
import contextlib
import inspect
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import torch
import tyro

from . import methods
from .bars import silence, silent
from .bench.cell import (
    BUDGETS,
    Cell,
    another_teacher,
    as_made,
    budgeted,
    check_model,
    check_seeds,
    check_views,
    evaluate,
    kept_teacher,
    protocol_needs_teacher,
    settled,
    student_on,
    teacher_of,
    teacher_seed,
)
from .bench.cell import teach as bench_teach
from .bench.contributed import borne_out, disagreements, of_folder
from .bench.cross import check_models, made_with, matrix, records
from .bench.machine import keep_memory
from .bench.planning import plan
from .bench.records import save_record
from .data.datasets import NAMES, ImageData, Small, load
from .data.exchange import from_files, read_set, to_ddranking, to_huggingface, to_imagefolder, to_vico
from .data.remarks import say_plainly
from .data.sources import Source
from .data.synthetic import SyntheticSet, made_from
from .engine.checkpoint import Checkpoint
from .engine.parallel import Ranks
from .files import atomic, check_writable, save_json
from .memory import trim_memory
from .methods import Descending, Method, Role
from .networks.evaluation import REGIMES, check_fits
from .networks.protocols import PROTOCOLS, beside, find_protocol
from .networks.training import NOBODY, Teacher
from .networks.weights import read_weights, said_constants

# Strings for a type checker; at run time, the choices that the command line shows.
if TYPE_CHECKING:
    Budget = str
    Regime = str
    Protocol = str
else:
    Budget, Regime, Protocol = Literal[tuple(BUDGETS)], Literal[REGIMES], Literal[tuple(PROTOCOLS)]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Task(Source):
    """What to distill, and where to.

    Args:
        ipc: images per class.
        seed: of the teacher, and of all that is drawn: starting images, augmentation, networks.
        start: a set to start from in place of random real images, as distill, import or export left it; ipc is then
            that of the set, or smaller: its first images of each class.
        model: architecture of the teacher: convnet, resnet18, or a torchvision model.
        teacher: of your own, in place of one that is trained: a file of weights (safetensors, or a state dict), or what
            unidd import-teacher wrote.
        statistics: of the real side before that teacher's layers, in place of a pass over the real images: a folder
            with <network>=<layer>/running.npz of UniDD's released code.
        budget: widths, steps and epochs.
        preset: the method's hyper-parameters as published, by the name of one of its presets.
        out: folder for images.safetensors, card.json and preview.png.
        overwrite: replace a set that stands in that folder, and discard the state of another run that was cut off.
        save_every: keep the state on disk every so many steps, and not only every five minutes and at the end of a
            batch.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """

    ipc: int = 1
    seed: int = 0
    start: Path | None = None
    model: str = "convnet"
    teacher: Path | None = None
    statistics: Path | None = None
    budget: Budget = "embedded"
    preset: str | None = None
    out: Path = Path("distilled")
    overwrite: bool = False
    save_every: int = 0
    root: Path | None = None
    device: str = "cpu"

    def cell(self, method: Method) -> Cell:
        if self.save_every < 0:
            raise ValueError(f"save-every must be a number of steps from 0, not {self.save_every}")
        ipc = self.ipc if method.has_ipc else None
        return Cell(method, _lasting(self.dataset), self.model, ipc, (self.seed,), self.budget, **self.options())


@dataclass(frozen=True)
class WholeTask(Task):
    """What to distill, and where to, by a method that takes all images.

    Args:
        ipc: none is asked for.
    """

    ipc: Annotated[int, tyro.conf.Suppress] = 1


def distill(method: Method, task: Task) -> None:
    """Distill a data set to a few images a class, with the teacher it needs.

    The same command run again after it was cut off goes on where it stood. Several processes share the work under
    `torchrun --nproc-per-node=2 -m -- unidd distill …`. See `unidd plan` for what it will take.
    """
    cell, out = task.cell(method), task.out
    ranks, device = Ranks.join(task.device)
    data = _first_alone(ranks, lambda: task.load(task.root, device))
    brought = _brought(cell, task.teacher, data, ranks.first) if task.teacher else None
    if brought:
        data, cell = brought.seen(data), cell.taught_by(brought)
    start = ranks.from_first(lambda: _start(task, data))
    cell.check(data, ranks=ranks, start=start)
    side = method.read_statistics(task.statistics, data, brought) if task.statistics else None
    ranks.from_first(lambda: check_writable(out))
    with Checkpoint(out, overwrite=task.overwrite, ranks=ranks) as checkpoint:
        ranks.from_first(lambda: _check_free(checkpoint, task.overwrite))
        if isinstance(method, Descending):
            checkpoint.check(method.identity(data, cell.run(task.seed, start=start, statistics=side)))
        teacher = brought or _teacher(cell, data, ranks)
        options = {"checkpoint": checkpoint, "save_every": task.save_every, "ranks": ranks, "progress": True}
        options |= {"start": start, "statistics": side}
        result = cell.distill(task.seed, data, teacher, **options)
        if ranks.first:
            _write(result, out)
            checkpoint.remove()
            print(f"{len(result)} images in {out}; next: unidd evaluate {out}")
    ranks.leave()


def _start(task: Task, data: ImageData) -> SyntheticSet | None:
    """The set to start from, its first images of each class where it has more, and only the classes of the data."""
    if task.start is None:
        return None
    whole = read_set(task.start)
    start = whole.part_for(data, task.ipc)
    _say_start(task, whole, len(start))
    return start


def _say_start(task: Task, whole: SyntheticSet, images: int) -> None:
    if images < len(whole):
        print(f"starting from {images} of the {len(whole)} images of {task.start}", file=sys.stderr)
    if whole.soft is not None:
        print(f"note: the soft labels of {task.start} are not taken over", file=sys.stderr)


def _lasting(dataset: str) -> str:
    """What a card calls a data set: its name, or where its folder lies, seen from anywhere."""
    folder = Path(dataset).expanduser()
    return str(folder.resolve()) if dataset not in NAMES and folder.is_dir() else dataset


def _teacher(cell: Cell, data: ImageData, ranks: Ranks) -> Teacher:
    if not cell.method.needs_teacher:
        return NOBODY
    teacher = _first_alone(ranks, lambda: cell.teacher(data, cell.seeds[0], progress=ranks.first))
    if ranks.first:
        _introduce(teacher, cell.model, data)
    return teacher


def _brought(cell: Cell, path: Path, data: ImageData, shown: bool = True) -> Teacher:
    """Return the teacher in a file, and say what was found."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        teacher = cell.brought(path, data)
    if shown:
        for warning in caught:
            print(f"note: {warning.message}", file=sys.stderr)
        if teacher.normalisation is None:
            print(f"note: {path} names no mean and std: those of {data.name} are taken", file=sys.stderr)
        _introduce(teacher, teacher.architecture.name if teacher.architecture else "", data)
    return teacher


def _introduce(teacher: Teacher, model: str, data: ImageData) -> None:
    print(f"teacher: {model}, {teacher.accuracy:.1f} % on the {data.name} test images")


def forecast(method: Method, task: Task) -> None:
    """Say what `unidd distill` with the same options will take here: time, memory and disk, from a few real steps."""
    cell = task.cell(method)
    if sys.stderr.isatty() and not silent():
        print("measuring a few real steps …", file=sys.stderr)
    start = read_set(task.start) if task.start else None
    options: dict[str, Any] = {name: getattr(task, name) for name in ("save_every", "teacher", "statistics")}
    options |= {"start": start}
    found = plan(cell, out=task.out, root=task.root, device=task.device, **options)
    if start:
        _say_start(task, start, found.images)
    print(found.text())
    found.check()


def _check_free(checkpoint: Checkpoint, overwrite: bool) -> None:
    """Raise a ValueError if a finished set stands in the folder; beside a state it is one that was to be replaced."""
    if (checkpoint.out / "card.json").exists() and not checkpoint.path.exists() and not overwrite:
        raise ValueError(f"{checkpoint.out} already holds a synthetic set: choose another --out, or add --overwrite")


def _write(result: SyntheticSet, out: Path) -> None:
    try:
        result.save(out)
        result.preview(scale=max(1, 96 // result.images.shape[-1])).save(out / "preview.png")
    except OSError as error:
        raise OSError(
            f"cannot write to {out} ({error.strerror or error}); the state is kept: run the same command again"
        ) from None


def _first_alone(ranks: Ranks, work: Callable[[], Found]) -> Found:
    """Return `work()` of the first process, and only then of the others, which find on disk what the first has left."""
    done: list[Found] = []
    ranks.from_first(lambda: done.append(work()))
    return done[0] if done else work()


@dataclass(frozen=True)
class Elsewhere:
    """What a set was distilled from: as its card says, unless told otherwise.

    Args:
        dataset: where it was distilled from (default: as its card says; and so for the options up to --small).
        size: side of the images of a folder in pixels.
        channels: 1 (grey) or 3 (colour).
        hold_out: of a folder without a test split, the part of every class to test on, as 0.1; 0: it has one.
        classes: names or numbers of the classes to take.
        small: what becomes of a class with fewer images than are asked for: refuse it, or cap what it gives.
    """

    dataset: str | None = None
    size: int | None = None
    channels: Literal[1, 3] | None = None
    hold_out: float | None = None
    classes: tuple[str, ...] | None = None
    small: Small | None = None

    def source(self, synthetic: SyntheticSet, folder: Path) -> Source:
        """Return what the card of a set names, but for what is told.

        Raises:
            ValueError: the card names none, or what it names is not there any more.
        """
        where = self.dataset or _dataset_of(synthetic, folder)
        return Source.of(synthetic.config.get("cell", {}), **vars(self) | {"dataset": where})


def assess(
    folder: Annotated[Path, tyro.conf.Positional],
    data_options: Annotated[Elsewhere, tyro.conf.arg(name="")] = Elsewhere(),
    labels: tuple[Regime, ...] = (),
    views: int = 0,
    seeds: tuple[int, ...] = (0, 1, 2),
    protocol: Protocol = "unidd",
    model: str | None = None,
    models: tuple[str, ...] = (),
    teacher: Path | None = None,
    budget: Budget | None = None,
    baseline: bool = True,
    record: Path | None = None,
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Train students on a synthetic set from scratch and test them on real images, beside random real images.

    Args:
        folder: what `unidd distill`, `unidd import` or, as pictures, `unidd export` wrote.
        data_options: real images.
        labels: label regimes: hard labels; one soft label for each image (fixed-soft), stored with the set or else the
            teacher's of the image as it is; the teacher's soft labels of every augmented view (online-soft) (default:
            those of the protocol; of unidd, hard and online-soft).
        views: of each image, over which the teacher's labels of fixed-soft are means; 0: of the image as it is.
        seeds: one student each; the set and its teacher are one repetition.
        protocol: how students are trained and labelled: as the package does for all sets alike (unidd), or as the
            authors of DC, of DSA and DM (dsa), of MTT and TESLA (mtt), of FRePo, SRe2L or RDED do.
        model: the student's architecture (default: that of the protocol; of unidd, the teacher's).
        models: several architectures of students, for a table: such as convnet, convnet-instance, resnet18,
            vgg11-small, mobilenet-small, vit-small.
        teacher: of soft labels: a file of weights, or what unidd import-teacher wrote (default: as its card says).
        budget: widths and epochs of the students (default: as its card says); the epochs of a published protocol are
            as published with narrow, paper and large, a fifth with embedded.
        baseline: also train on random real images under the same regime.
        record: write a result record to this file; of several models, one each, whose name is put before the ending.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    synthetic = read_set(folder)
    card = synthetic.config.get("cell", {})
    check_seeds(seeds)
    teacher_model, budget = card.get("model", "convnet"), str(budget or card.get("budget", "embedded"))
    found = find_protocol(protocol, labels)
    labels, own = settled(protocol, labels or found.recorded, model, teacher_model)
    check_views(views, labels, synthetic, protocol)
    if views and record:
        raise ValueError("a record's fixed soft labels are those of images as they are: leave --views or --record out")
    if model and models:
        raise ValueError("say --model or --models, and not both")
    names = models or (own,)
    if record:
        check_writable(record.parent)
    data = as_made(synthetic, data_options.source(synthetic, folder).load(root, device))
    _say_if_changed(synthetic, data)
    brought = _brought(Cell.of(model=teacher_model), teacher, data) if teacher else None
    data = brought.seen(data) if brought else data
    synthetic = _fitted(synthetic, data, bool(data_options.dataset), bool(brought))
    check_models(data, names, budget)
    _say_protocol(synthetic, data, protocol, names, budget)
    if synthetic.soft is not None and "fixed-soft" in set(found.regimes) - set(labels):
        print("note: the set stores soft labels, which --labels fixed-soft uses", file=sys.stderr)
    beside_it = baseline and set(labels) != {"hard"} and not found.centred
    taught = protocol_needs_teacher(protocol, synthetic, labels) or beside_it
    labeller = (brought or teacher_of(synthetic, data, teacher_model, budget)) if taught else None
    if labeller and (note := another_teacher(synthetic, labeller)):
        print(f"note: {note}", file=sys.stderr)
    task: dict[str, Any] = {"regimes": labels, "budget": budget, "teacher": labeller, "protocol": protocol}
    task |= {"views": views}
    name = synthetic.config.get("method", folder.name)
    ours = _report(synthetic, data, name, names, seeds, baseline, task)
    if record:
        of_teacher = labeller.card() if labeller else synthetic.teacher
        for of, made in records(synthetic, data, name, ours, budget, seeds, of_teacher, protocol).items():
            save_record(made, record.with_stem(f"{record.stem}-{of}") if models else record)


def _say_protocol(synthetic: SyntheticSet, data: ImageData, protocol: str, models: Sequence[str], budget: str) -> None:
    """Say how much of a published protocol a budget is; raise a ValueError if the set lacks what it needs."""
    trained, published = (student_on(synthetic, data, models[0], spent, protocol) for spent in (budget, "paper"))
    if find_protocol(protocol).recipe:
        width, of = BUDGETS[budget].width, BUDGETS["paper"].width
        print(f"protocol {protocol}: {trained.epochs} epochs of {published.epochs}, ConvNets of width {width} of {of}")


def _report(
    synthetic: SyntheticSet,
    data: ImageData,
    name: str,
    models: Sequence[str],
    seeds: Sequence[int],
    baseline: bool,
    task: dict[str, Any],
) -> dict[str, dict[str, list[float]]]:
    """Train students of every architecture, print what they reach, and return it: {model: {label regime: …}}."""
    ours, shown = {}, {}
    for model in models:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "soft labels")  # a note said it
            ours[model] = evaluate(synthetic, data, seeds=seeds, model=model, **task)
        shown[model] = _shown(name, ours[model], alone=len(models) == 1)
        if baseline:
            found = _random(synthetic, data, seeds, model, task)
            shown[model] |= _shown("random real", found, alone=len(models) == 1)
    if len(models) > 1:
        print(f"made with {made_with(synthetic)}; accuracy in %, n = {len(seeds)}\n{matrix(shown)}")
    return ours


def _random(
    synthetic: SyntheticSet, data: ImageData, seeds: Sequence[int], model: str, task: dict[str, Any]
) -> dict[str, list[float]]:
    """Return what students reach on random real images, as many of each class, chosen anew for each seed."""
    counts = torch.bincount(synthetic.labels, minlength=data.classes).tolist()
    chosen = ((SyntheticSet.from_real(data, counts, seed, beside(synthetic.config)), seed) for seed in seeds)
    runs = [evaluate(real, data, seeds=[seed], model=model, **task) for real, seed in chosen]
    return {regime: [run[regime][0] for run in runs] for regime in task["regimes"]}


def _dataset_of(synthetic: SyntheticSet, folder: Path) -> str:
    """The data set that a card names, if it is still where it was."""
    config = synthetic.config
    name = config.get("cell", {}).get("dataset") or config.get("data", {}).get("name")
    if not name or (name not in NAMES and "cell" not in config):  # a name alone does not say where a folder lies
        raise ValueError(f"the card of {folder} names no data set: say --dataset")
    if name not in NAMES and not Path(name).expanduser().is_dir():
        raise ValueError(f"{name}, from which {folder} was made, is not there: say --dataset, and where it lies now")
    return name


def _say_if_changed(synthetic: SyntheticSet, data: ImageData) -> None:
    known = synthetic.config.get("data", {}).get("fingerprint")
    if known and known != data.fingerprint:
        print(f"note: the images of {data.name} are not those that the set was made from", file=sys.stderr)


def _shown(name: str, accuracies: dict[str, list[float]], alone: bool) -> dict[str, list[float]]:
    """Return the columns of a table with these accuracies; those of the only architecture are printed at once."""
    if alone:
        _print(name, accuracies)
    return {f"{name}, {regime}": values for regime, values in accuracies.items()}


def _print(name: str, accuracies: dict[str, list[float]]) -> None:
    for regime, values in accuracies.items():
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        each = ", ".join(f"{v:.1f}" for v in values)
        print(f"{name:>16}, {regime} labels: {mean(values):.1f}{spread} %  (n = {len(values)}: {each})")


def audit(
    folder: Annotated[Path, tyro.conf.Positional],
    data_options: Annotated[Elsewhere, tyro.conf.arg(name="")] = Elsewhere(),
    teacher: str | None = None,
    accuracy: bool = False,
    out: Path | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    model: str | None = None,
    budget: Budget | None = None,
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Say all about a set, whoever made it: one page, audit.html, and its numbers, audit.json.

    Copies of real images, the spectrum of its features beside the real one, diversity, radial power, bytes and more.
    What needs the data set or a teacher that is not there is left out, and the page says so.

    Args:
        folder: what `unidd distill`, `unidd import` or, as pictures, `unidd export` wrote.
        data_options: real images.
        teacher: a file of weights, or what unidd import-teacher wrote; none looks at no features (default: as its card
            says, or the one that `unidd teach` or `unidd distill` trained before).
        accuracy: also train students under the three label regimes, beside random real images and the full data: for
            each seed 12 on sets of this size, and one on all real images.
        out: folder for the page (default: beside the set, its name and -audit).
        seeds: of the random real images beside the set, and of the students.
        model: the student's architecture (default: the teacher's).
        budget: of teacher and students (default: as its card says).
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    from .bench.audit import audit as bench_audit
    from .book.report import page

    check_seeds(seeds)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not the folder of a set: `unidd import` makes one of what other code wrote")
    synthetic = read_set(folder)
    out = out or folder.resolve().with_name(f"{folder.resolve().name}-audit")
    _check_only(out, "audit.html", "audit.json")
    card = synthetic.config.get("cell", {})
    teacher_model, budget = card.get("model", "convnet"), str(budget or card.get("budget", "embedded"))
    data, found = _data_of(synthetic, data_options, folder, root, device), None
    if data and teacher not in (None, "none"):
        found = _brought(Cell.of(model=teacher_model), Path(teacher), data)
        data = found.seen(data)
    if data:
        synthetic = _fitted(synthetic, data, bool(data_options.dataset), bool(found))
        check_model(data, model or teacher_model, budget)
    if data and teacher is None:
        if accuracy or "file" in synthetic.teacher:
            found = teacher_of(synthetic, data, teacher_model, budget)
        else:
            found = kept_teacher(data, teacher_model, budget, seed=teacher_seed(synthetic))
    asked = {"model": model or teacher_model, "budget": budget} if accuracy else None
    options: dict[str, Any] = {"seeds": seeds, "stored": _stored(folder), "progress": True}
    result = bench_audit(synthetic, data, found, accuracy=asked, **options)
    save_json(result, out / "audit.json")
    with atomic(out / "audit.html") as temporary:
        temporary.write_text(page(result, synthetic, data, folder.resolve().name))
    print(*result["verdicts"], *(f"left out: {x['part']} ({x['say']})" for x in result["missing"]), sep="\n")
    print(f"page: {out / 'audit.html'}")


def _check_only(folder: Path, *names: str) -> None:
    """Raise unless a folder can be written and has nothing but these files."""
    others = [path.name for path in folder.iterdir() if path.name not in names] if folder.is_dir() else []
    if others or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder} holds {others[0] if others else 'no folder'}: choose another --out")
    check_writable(folder)


def _data_of(
    synthetic: SyntheticSet, options: Elsewhere, folder: Path, root: Path | None, device: str
) -> ImageData | None:
    """The data set that was said, or else the one of the card if it is still there."""
    source = None
    try:
        source = options.source(synthetic, folder)
        data = as_made(synthetic, source.load(root, device))
    except (FileNotFoundError, ValueError) as error:
        if options.dataset or (source and isinstance(error, ValueError)):
            raise
        print(f"note: without the data set: {error}", file=sys.stderr)
        return None
    _say_if_changed(synthetic, data)
    return data


def _fitted(synthetic: SyntheticSet, data: ImageData, said: bool, brought: bool) -> SyntheticSet:
    """The set as one of these data; if they were said, or a teacher was, one with their constants."""
    pairs = list(zip(synthetic.mean + synthetic.std, data.mean + data.std, strict=False))
    foreign = len(synthetic.mean) == data.channels and any(abs(a - b) > 1e-3 for a, b in pairs)
    foreign = foreign and (said or brought)
    if foreign:  # a set of others, with the constants of their code
        synthetic = replace(synthetic, mean=data.mean, std=data.std)
    check_fits(synthetic, data)
    if foreign:
        whose = "as the teacher was trained" if brought else f"as those of {data.name}"
        print(f"note: pixels are normalised {whose}, not as the set's card says", file=sys.stderr)
    return synthetic


def _stored(folder: Path) -> int:
    """Bytes of the files that a set needs: tensors, or pictures and their labels."""
    names = ("images.safetensors", "soft.safetensors", "labels.csv", "*/*.png")
    return sum(path.stat().st_size for name in names for path in folder.glob(name))


def teach(
    source: Annotated[Source, tyro.conf.arg(name="")] = Source(),  # noqa: B008  it is frozen
    model: str = "convnet",
    budget: Budget = "embedded",
    seed: int = 0,
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Train a teacher, or find the one trained before.

    Args:
        source: real images.
        model: convnet, resnet18, or a torchvision model.
        budget: width and epochs.
        seed: of its first weights and its training: a repetition distills with the teacher of its own seed.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    data = source.load(root, device)
    found = bench_teach(data, model, budget, seed=seed)
    print(f"teacher {found.hash[:16]}: {model}, {found.accuracy:.1f} % on the {data.name} test images")


_ROLES: dict[Role, str] = {
    "method": "Methods, which make images",
    "coreset": "Coresets, real images chosen by a rule",
    "baseline": "Baseline",
    "ceiling": "Ceiling",
}


def catalogue() -> None:
    """List the methods, by their role: what each is, the filter UniDD says it is, and the labels it leaves."""
    width = max(80, shutil.get_terminal_size((120, 24)).columns)
    for role, title in _ROLES.items():
        print(f"{title}:\n")
        for cls in (cls for cls in methods.found() if cls.role == role):
            lines = f"{cls.path():<16}{cls.summary()}", f"{'':<16}filter: {cls.acts_as}; labels: {cls.labels}"
            print("\n".join(textwrap.fill(line, width, subsequent_indent=18 * " ") for line in lines))
        print()


def receive_teacher(
    path: Annotated[Path, tyro.conf.Positional],
    dataset: str,
    out: Path,
    normalisation: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    model: str | None = None,
    pooling: str | None = None,
    order: tuple[str, ...] | None = None,
    overwrite: bool = False,
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Read a teacher that other code trained, try it on the test images, and keep it with all that is needed to use it.

    Width, depth and norm of a ConvNet, and a ResNet, are found from the shapes of the weights.

    Args:
        path: safetensors, or a state dict of torch.save, alone or in a dict; code in it is not run.
        dataset: what it was trained on: a name, or an image folder with the same classes.
        out: folder for model.safetensors and card.json.
        normalisation: mean and std it was trained with: those published code has for cifar10, cifar100, tiny-imagenet
            or imagenet, or data: the training images' own.
        mean: of each channel, of pixels in [0, 1], in place of normalisation.
        std: of each channel.
        model: architecture, if the shapes do not tell: a torchvision model.
        pooling: of a ConvNet: avg or max (default: avg for the checkpoints released with UniDD).
        order: class names in the order of the outputs (default: the data set's).
        overwrite: replace a teacher that stands in that folder.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    if (out / "card.json").exists() and not overwrite:
        raise ValueError(f"{out} already holds a teacher or a set: choose another --out, or add --overwrite")
    check_writable(out)
    constants = said_constants(read_weights(path), normalisation, mean, std)
    data = load(dataset, root, device)
    if normalisation == "data":
        constants = data.mean, data.std
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said: dict[str, Any] = {"model": model, "pooling": pooling, "order": order, "normalisation": constants}
        teacher = Teacher.load(path, data, **said)
    for warning in caught:
        print(f"note: {warning.message}", file=sys.stderr)
    teacher.save(out, data, source=str(path))
    _introduce(teacher, str(teacher.architecture), data)
    print(f"teacher {teacher.hash[:16]} in {out}; next: unidd distill cfm --dataset {dataset} --teacher {out}")


EXPORTS: dict[str, Callable[[SyntheticSet, Path], Path]] = {
    "imagefolder": to_imagefolder,
    "huggingface": to_huggingface,
    "vico": to_vico,
    "ddranking": to_ddranking,
}


def send(folder: Annotated[Path, tyro.conf.Positional], to: str, out: Path) -> None:
    """Write a synthetic set for other programs.

    Args:
        folder: what `unidd distill` or `unidd import` wrote.
        to: imagefolder (8-bit PNG files, a folder a class), huggingface (parquet with the same pixels, and a README,
            for `datasets`), vico (the .pt file of DC, DSA and DM), or ddranking (images.pt, labels.pt and, if it is
            known, lr.pt).
        out: a new folder; for vico, a new file.
    """
    if to not in EXPORTS:
        raise ValueError(f"unknown format {to!r}: choose one of {', '.join(EXPORTS)}")
    synthetic = read_set(folder)
    check_writable(out.parent)
    EXPORTS[to](synthetic, out)
    print(f"{len(synthetic)} images in {out}")
    if to == "vico" and synthetic.soft is not None:
        print("note: the soft labels stay behind, which the format has no place for", file=sys.stderr)


@dataclass(frozen=True)
class Made(Source):
    """What a set was made from.

    Args:
        dataset: what it was made from: a name, or an image folder.
    """

    dataset: str = field()


def receive(
    path: Annotated[Path, tyro.conf.Positional],
    source: Annotated[Made, tyro.conf.arg(name="")],
    out: Path,
    space: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    order: tuple[str, ...] | None = None,
    ipc: int | None = None,
    number: int | None = None,
    factor: int | None = None,
    rate: float | None = None,
    overwrite: bool = False,
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Read a set that other code made, or an exported one that was edited; the format is found from what is there.

    Formats: DC, DSA, DM, MTT, TESLA, DATM, FRePo, KIP, NCFM, DD-Ranking, folders of images, as of SRe2L and RDED, and
    parquet files of Hugging Face. What was taken from where is printed, and stands on the card.

    Args:
        path: a file or a folder.
        source: real images.
        out: folder for images.safetensors, card.json and preview.png.
        space: what the stored values are, if the file does not say: pixels, normalised, or zca.
        mean: of each channel, which the images were normalised with (default: as the released code does, or else
            the data set's).
        std: of each channel.
        order: class names in the order of the file's labels, or of its sorted folders (default: the data set's).
        ipc: images per class, if there is no file of labels.
        number: which set of a file that holds several (default: the last).
        factor: of NCFM, whose every image is factor × factor training images (default: 2).
        rate: learning rate that was learnt with the images, if there is no file of it (MTT and TESLA only log it).
        overwrite: replace a set that stands in that folder.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    if (out / "card.json").exists() and not overwrite:
        raise ValueError(f"{out} already holds a synthetic set: choose another --out, or add --overwrite")
    if out.resolve() in (path.expanduser().resolve(), path.expanduser().resolve().parent):
        raise ValueError(f"{out} holds what is to be read, which stays as it is: choose another --out")
    check_writable(out)
    data = source.load(root, device)
    said: dict[str, Any] = {"space": space, "mean": mean, "std": std, "order": order, "ipc": ipc, "rate": rate}
    synthetic = from_files(path, data=data, number=number, factor=factor, **said)
    check_fits(synthetic, data)
    cell = {**synthetic.config.get("cell", {}), "dataset": _lasting(source.dataset), **source.options()}
    synthetic = replace(synthetic, config={**synthetic.config, "cell": cell, "data": made_from(data)})
    synthetic.save(out)
    synthetic.preview(scale=max(1, 96 // synthetic.images.shape[-1])).save(out / "preview.png")
    for what, value in synthetic.config.get("import", {}).items():
        print(f"{what}: {_plainly(value)}")
    print(f"{len(synthetic)} images in {out}; next: unidd evaluate {out}")


def _plainly(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plainly(part)}" for name, part in value.items())
    if isinstance(value, list):
        return " ".join(map(_plainly, value))
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    return str(value)


def check_record(
    folder: Annotated[Path, tyro.conf.Positional],
    data_options: Annotated[Elsewhere, tyro.conf.arg(name="")] = Elsewhere(),
    seed: int | None = None,
    teacher: Path | None = None,
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Check a record before it is contributed: its form, whether it agrees with its set, and one student of one seed.

    Of the repetitions of a record with a set each, the set is that of the last.

    Args:
        folder: what `unidd distill` or `unidd import` wrote, and beside it the record, of `unidd evaluate --record`.
        data_options: real images.
        seed: of the student (default: one that the record does not have).
        teacher: of soft labels: a file of weights, or what unidd import-teacher wrote (default: as its card says).
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    synthetic, record = read_set(folder), of_folder(folder)
    data = as_made(synthetic, data_options.source(synthetic, folder).load(root, device))
    check_model(data, record.model, "smoke")
    taught_by = Cell.of(model=synthetic.config.get("cell", {}).get("model", "convnet"))
    brought = _brought(taught_by, teacher, data) if teacher else None
    data = brought.seen(data) if brought else data
    synthetic = _fitted(synthetic, data, bool(data_options.dataset), bool(brought))
    if wrong := disagreements(record, synthetic, data, brought):
        raise ValueError(f"the record of {folder} does not agree with its set: {'; '.join(wrong)}")
    claims = borne_out(record, synthetic, data, seed, brought)
    if failed := [claim for claim in claims if not claim.holds]:
        advice = "one honest record in twenty is outside by chance: try another --seed, or more seeds in the record"
        raise ValueError(f"{'; '.join(map(str, failed))}; {advice}")
    print(*claims, sep="\n")
    print(f"the record agrees with its set; next: put it under results/contributed/{record.suite}/")


_QUIET = "Any command takes --quiet: no progress bars, which are for terminals alone and go into no log file."
OF_A_METHOD: dict[str, Callable[[Method, Task], None]] = {"distill": distill, "plan": forecast}


def main() -> None:
    """Run the command line; a mistake in the input is one line on standard error and exit code 2."""
    keep_memory()
    say_plainly(silent=os.environ.get("RANK", "0") != "0")  # set by torchrun
    if "--quiet" in sys.argv:
        silence()
        sys.argv[:] = [argument for argument in sys.argv if argument != "--quiet"]
    command, *arguments = sys.argv[1:] or [""]
    try:
        if command not in OF_A_METHOD:
            _other_command()
        elif arguments and not arguments[0].startswith("-"):
            _of_method(command, *arguments)
        elif {"-h", "--help"} & set(arguments):
            print(f"usage: unidd {command} METHOD [OPTIONS]\n\n{inspect.getdoc(OF_A_METHOD[command])}\n")
            print(f"Methods (unidd {command} METHOD --help shows the options of one):\n")
            catalogue()
        else:
            raise ValueError(f"say which method first, as in: unidd {command} cfm; unidd methods lists them")
    except (ValueError, OSError) as error:
        rank = os.environ.get("RANK", "0")  # set by torchrun
        print("unidd: error" + f" in process {rank}" * (rank != "0") + f": {error}", file=sys.stderr)
        sys.exit(2)
    trim_memory()  # a process that ends touches a hundred MiB more of PyTorch's libraries


def _other_command() -> None:
    commands: dict[str, Callable] = {name: _documented(work) for name, work in OF_A_METHOD.items()}
    commands |= {"evaluate": assess, "audit": audit, "teach": teach, "methods": catalogue}
    commands |= {"export": send, "import": receive, "import-teacher": receive_teacher}
    commands |= {"check-record": check_record}
    about = f"Dataset distillation through spectral filters.\n\n{_QUIET}"
    tyro.extras.subcommand_cli_from_dict(commands, prog="unidd", description=about)


def _documented(work: Callable) -> Callable[[], None]:
    """Return something to show in a list of commands; `main` runs the command itself."""

    def shown() -> None: ...

    shown.__doc__ = work.__doc__
    return shown


def _of_method(command: str, name: str, *arguments: str) -> None:
    """Run a command whose options are those of a method and of a task."""
    cls, work = methods.find(name), OF_A_METHOD[command]
    default, flat = budgeted(cls, _budget(arguments), _option("preset", arguments)), tyro.conf.arg(name="")
    kind = Task if cls.has_ipc else WholeTask
    parts = [("method", Annotated[cls, flat], default), ("task", Annotated[kind, flat], kind(ipc=_ipc(arguments)))]
    options = make_dataclass("Options", parts)
    docs = [inspect.getdoc(work), (inspect.getdoc(cls) or "").split("Args:")[0].strip(), _QUIET]
    about = "\n\n".join(
        [*docs, f"Filter: {cls.acts_as}", f"Source: {cls.source}", f"Labels: {cls.labels}", *_presets(cls)]
    )
    found = tyro.cli(options, prog=f"unidd {command} {name}", description=about, args=arguments)
    work(found.method, found.task)


def _presets(cls: type[Method]) -> list[str]:
    """The published hyper-parameters in words, where they differ from the defaults, and their source; or nothing."""
    if not cls.presets:
        return []
    found = (f"- {name}: {_plainly(values) or 'all as published'}" for name, values in cls.presets.items())
    about = "Presets, for --preset; what one does not name is as published, whatever the budget:"
    return ["\n".join([about, *found]), f"Source of the presets: {cls.presets_source}"]


def _budget(arguments: Sequence[str]) -> str:
    """Return the budget that is asked for, which decides the defaults of a method."""
    found = _option("budget", arguments)
    return found if found in BUDGETS else Task.budget


def _ipc(arguments: Sequence[str]) -> int:
    """Return the images per class unless they are asked for: those of the set to start from."""
    start = _option("start", arguments)
    with contextlib.suppress(ValueError, OSError):  # it is said when the set is looked at
        return read_set(start).ipc if start else Task.ipc
    return Task.ipc


def _option(name: str, arguments: Sequence[str]) -> str | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(f"--{name}")
    with contextlib.suppress(argparse.ArgumentError):  # tyro says what is wrong
        return getattr(parser.parse_known_args(arguments)[0], name)
    return None
