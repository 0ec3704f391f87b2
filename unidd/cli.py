"""The command `unidd`: distill, evaluate, audit, plan, teach, methods, export, import.

Options of a method are fields of its dataclass.
"""

import argparse
import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

from . import methods
from .bench.cell import BUDGETS, Cell, budgeted, check_model, check_seeds, evaluate, kept_teacher, set_record
from .bench.cell import teach as bench_teach
from .bench.machine import keep_memory
from .bench.planning import plan
from .bench.records import save_record
from .data.datasets import NAMES, ImageData, load
from .data.exchange import from_files, from_imagefolder, to_ddranking, to_imagefolder, to_vico
from .data.synthetic import SyntheticSet
from .engine.checkpoint import Checkpoint
from .engine.parallel import Ranks
from .files import atomic, check_writable, save_json
from .methods import Descending, Method
from .networks.evaluation import RECORDED, REGIMES, check_fits, needs_teacher
from .networks.training import NOBODY, Teacher

# Strings for a type checker; at run time, the choices that the command line shows.
if TYPE_CHECKING:
    Budget = str
    Regime = str
else:
    Budget, Regime = Literal[tuple(BUDGETS)], Literal[REGIMES]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Task:
    """What to distill, and where to.

    Args:
        dataset: photos, digits, fashion-mnist, cifar10, cifar100, or a folder with train/<class>/ and test/<class>/.
        ipc: images per class.
        seed: of the starting images and the augmentation.
        model: architecture of the teacher: convnet, resnet18, or a torchvision model.
        budget: widths, steps and epochs.
        out: folder for images.safetensors, card.json and preview.png.
        overwrite: replace a set that stands in that folder, and discard the state of another run that was cut off.
        save_every: keep the state on disk every so many steps, and not only at the end of a batch.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """

    dataset: str = "photos"
    ipc: int = 1
    seed: int = 0
    model: str = "convnet"
    budget: Budget = "embedded"
    out: Path = Path("distilled")
    overwrite: bool = False
    save_every: int = 0
    root: Path | None = None
    device: str = "cpu"

    def cell(self, method: Method) -> Cell:
        if self.save_every < 0:
            raise ValueError(f"save-every must be a number of steps from 0, not {self.save_every}")
        ipc = self.ipc if method.has_ipc else None
        return Cell(method, self.dataset, self.model, ipc, (self.seed,), self.budget)


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
    data = _first_alone(ranks, lambda: load(task.dataset, task.root, device))
    cell.check(data, ranks=ranks)
    ranks.from_first(lambda: check_writable(out))
    with Checkpoint(out, overwrite=task.overwrite, ranks=ranks) as checkpoint:
        ranks.from_first(lambda: _check_free(checkpoint, task.overwrite))
        if isinstance(method, Descending):
            checkpoint.check(method.identity(data, cell.run(task.seed)))
        teacher = _teacher(cell, data, ranks)
        options = {"checkpoint": checkpoint, "save_every": task.save_every, "ranks": ranks, "progress": True}
        result = cell.distill(task.seed, data, teacher, **options)
        if ranks.first:
            _write(result, out)
            checkpoint.remove()
            print(f"{len(result)} images in {out}; next: unidd evaluate {out}")
    ranks.leave()


def _teacher(cell: Cell, data: ImageData, ranks: Ranks) -> Teacher:
    if not cell.method.needs_teacher:
        return NOBODY
    teacher = _first_alone(ranks, lambda: cell.teacher(data, progress=ranks.first))
    if ranks.first:
        print(f"teacher: {cell.model}, {teacher.accuracy:.1f} % on the {data.name} test images")
    return teacher


def forecast(method: Method, task: Task) -> None:
    """Say what `unidd distill` with the same options will take here: time, memory and disk, from a few real steps."""
    cell = task.cell(method)
    if sys.stderr.isatty():
        print("measuring a few real steps …", file=sys.stderr)
    found = plan(cell, out=task.out, save_every=task.save_every, root=task.root, device=task.device)
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


def assess(
    folder: Annotated[Path, tyro.conf.Positional],
    labels: tuple[Regime, ...] = RECORDED,
    seeds: tuple[int, ...] = (0, 1, 2),
    model: str | None = None,
    dataset: str | None = None,
    budget: Budget | None = None,
    baseline: bool = True,
    record: Path | None = None,
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Train students on a synthetic set from scratch and test them on real images, beside random real images.

    Args:
        folder: what `unidd distill`, `unidd import` or, as pictures, `unidd export` wrote.
        labels: label regimes: hard labels; one soft label for each image (fixed-soft), stored with the set or else the
            teacher's of the image as it is; the teacher's soft labels of every augmented view (online-soft).
        seeds: one student each.
        model: the student's architecture (default: the teacher's).
        dataset: where it was distilled from (default: as its card says).
        budget: epochs of the students (default: as its card says).
        baseline: also train on random real images under the same regime.
        record: write a result record to this file.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    synthetic = _set(folder)
    card, ipc = synthetic.config.get("cell", {}), max(1, len(synthetic) // len(synthetic.class_names))
    check_seeds(seeds)
    teacher_model, budget = card.get("model", "convnet"), str(budget or card.get("budget", "embedded"))
    model = model or teacher_model
    if record:
        check_writable(record.parent)
    data = load(dataset or _dataset_of(card, folder), root, device)
    synthetic = _fitted(synthetic, data, bool(dataset))
    check_model(data, model, budget)
    if synthetic.soft is not None and "fixed-soft" not in labels:
        print("note: the set stores soft labels, which --labels fixed-soft uses", file=sys.stderr)
    taught = needs_teacher(synthetic, labels) or (baseline and set(labels) != {"hard"})
    teacher = bench_teach(data, teacher_model, budget) if taught else None
    if teacher and synthetic.teacher and teacher.hash != synthetic.teacher["hash"]:
        print("note: soft labels come from another teacher than the set was distilled with", file=sys.stderr)
    task: dict[str, Any] = {"regimes": labels, "model": model, "budget": budget, "teacher": teacher}
    ours = evaluate(synthetic, data, seeds=seeds, **task)
    name = synthetic.config.get("method", folder.name)
    _print(name, ours)
    if baseline:
        real = [evaluate(SyntheticSet.from_real(data, ipc, seed), data, seeds=[seed], **task) for seed in seeds]
        _print("random real", {regime: [run[regime][0] for run in real] for regime in labels})
    if record:
        of_teacher = teacher.card() if teacher else synthetic.teacher
        save_record(set_record(synthetic, data, name, model, budget, seeds, ours, of_teacher), record)


def _set(folder: Path) -> SyntheticSet:
    """A set in our own format, or in a folder of pictures with our card."""
    ours = (folder / "images.safetensors").exists() or not (folder / "card.json").is_file()
    pictures = not ours and any(folder.glob("*/*.png"))
    return from_imagefolder(folder) if pictures else SyntheticSet.load(folder)


def _dataset_of(card: dict, folder: Path) -> str:
    if "dataset" not in card:
        raise ValueError(f"the card of {folder} names no data set: say --dataset")
    return card["dataset"]


def _print(name: str, accuracies: dict[str, list[float]]) -> None:
    for regime, values in accuracies.items():
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        each = ", ".join(f"{v:.1f}" for v in values)
        print(f"{name:>16}, {regime} labels: {mean(values):.1f}{spread} %  (n = {len(values)}: {each})")


def audit(
    folder: Annotated[Path, tyro.conf.Positional],
    dataset: str | None = None,
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
        dataset: where it was distilled from (default: as its card says).
        teacher: none looks at no features (default: the one that `unidd teach` or `unidd distill` trained before).
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
    synthetic = _set(folder)
    out = out or folder.resolve().with_name(f"{folder.resolve().name}-audit")
    _check_only(out, "audit.html", "audit.json")
    card = synthetic.config.get("cell", {})
    teacher_model, budget = card.get("model", "convnet"), str(budget or card.get("budget", "embedded"))
    data = _data_of(synthetic, dataset, folder, root, device)
    if data:
        synthetic = _fitted(synthetic, data, bool(dataset))
        check_model(data, model or teacher_model, budget)
    look = bench_teach if accuracy else kept_teacher
    found = look(data, teacher_model, budget) if data and _wanted(teacher) else None
    asked = {"model": model or teacher_model, "budget": budget} if accuracy else None
    options: dict[str, Any] = {"seeds": seeds, "stored": _stored(folder), "progress": True}
    result = bench_audit(synthetic, data, found, accuracy=asked, **options)
    save_json(result, out / "audit.json")
    with atomic(out / "audit.html") as temporary:
        temporary.write_text(page(result, synthetic, data, folder.resolve().name))
    print(*result["verdicts"], *(f"left out: {x['part']} ({x['say']})" for x in result["missing"]), sep="\n")
    print(f"page: {out / 'audit.html'}")


def _wanted(teacher: str | None) -> bool:
    if teacher not in (None, "none"):
        raise ValueError(f"unknown teacher {teacher!r}: say none, or leave it out")
    return teacher is None


def _check_only(folder: Path, *names: str) -> None:
    """Raise unless a folder can be written and has nothing but these files."""
    others = [path.name for path in folder.iterdir() if path.name not in names] if folder.is_dir() else []
    if others or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder} holds {others[0] if others else 'no folder'}: choose another --out")
    check_writable(folder)


def _data_of(
    synthetic: SyntheticSet, dataset: str | None, folder: Path, root: Path | None, device: str
) -> ImageData | None:
    """The data set that was said, or else the one of the card if it is still there."""
    if dataset:
        return load(dataset, root, device)
    source = synthetic.config.get("cell", {}).get("dataset")
    why = f"the card of {folder} names none" if source is None else f"there is no {source}"
    if source in NAMES or (source is not None and Path(source).expanduser().is_dir()):
        try:
            return load(source, root, device)
        except FileNotFoundError as error:
            why = str(error)
    print(f"note: without the data set, as {why}: say --dataset", file=sys.stderr)
    return None


def _fitted(synthetic: SyntheticSet, data: ImageData, said: bool) -> SyntheticSet:
    """The set as one of these data; if they were said, also one with the constants of other code."""
    pairs = list(zip(synthetic.mean + synthetic.std, data.mean + data.std, strict=False))
    foreign = len(synthetic.mean) == data.channels and any(abs(a - b) > 1e-3 for a, b in pairs)
    if said and foreign:
        synthetic = replace(synthetic, mean=data.mean, std=data.std)
    check_fits(synthetic, data)
    if said and foreign:
        print(f"note: pixels are normalised as those of {data.name}, not as the set's card says", file=sys.stderr)
    return synthetic


def _stored(folder: Path) -> int:
    """Bytes of the files that a set needs: tensors, or pictures and their labels."""
    names = ("images.safetensors", "soft.safetensors", "labels.csv", "*/*.png")
    return sum(path.stat().st_size for name in names for path in folder.glob(name))


def teach(
    dataset: str = "photos",
    model: str = "convnet",
    budget: Budget = "embedded",
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Train a teacher, or find the one trained before.

    Args:
        dataset: a name or an image folder.
        model: convnet, resnet18, or a torchvision model.
        budget: width and epochs.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    data = load(dataset, root, device)
    found = bench_teach(data, model, budget)
    print(f"teacher {found.hash}: {model}, {found.accuracy:.1f} % on the {data.name} test images")


def catalogue() -> None:
    """List the methods: what each is, and the filter UniDD says it is."""
    for cls in methods.found():
        print(f"{cls.path():<16} {cls.summary()}\n{'':<16} filter: {cls.acts_as}; labels: {cls.labels}")


EXPORTS: dict[str, Callable[[SyntheticSet, Path], Path]] = {
    "imagefolder": to_imagefolder,
    "vico": to_vico,
    "ddranking": to_ddranking,
}


def send(folder: Annotated[Path, tyro.conf.Positional], to: str, out: Path) -> None:
    """Write a synthetic set for other programs.

    Args:
        folder: what `unidd distill` or `unidd import` wrote.
        to: imagefolder (8-bit PNG files, a folder a class), vico (the .pt file of DC, DSA and DM), or ddranking
            (images.pt, labels.pt and, if it is known, lr.pt).
        out: a new folder; for vico, a new file.
    """
    if to not in EXPORTS:
        raise ValueError(f"unknown format {to!r}: choose one of {', '.join(EXPORTS)}")
    synthetic = _set(folder)
    check_writable(out.parent)
    EXPORTS[to](synthetic, out)
    print(f"{len(synthetic)} images in {out}")
    if to == "vico" and synthetic.soft is not None:
        print("note: the soft labels stay behind, which the format has no place for", file=sys.stderr)


def receive(
    path: Annotated[Path, tyro.conf.Positional],
    dataset: str,
    out: Path,
    space: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    order: tuple[str, ...] | None = None,
    ipc: int | None = None,
    number: int | None = None,
    factor: int | None = None,
    overwrite: bool = False,
    root: Path | None = None,
    device: str = "cpu",
) -> None:
    """Read a set that other code made, or an exported one that was edited; the format is found from what is there.

    Formats: DC, DSA, DM, MTT, TESLA, DATM, FRePo, KIP, NCFM, DD-Ranking, and folders of images, as of SRe2L and RDED.

    Args:
        path: a file or a folder.
        dataset: what it was made from: a name, or an image folder.
        out: folder for images.safetensors, card.json and preview.png.
        space: what the stored values are, if the file does not say: pixels, normalised, or zca.
        mean: of each channel, which the images were normalised with (default: the data set's).
        std: of each channel.
        order: class names in the order of the file's labels, or of its sorted folders (default: the data set's).
        ipc: images per class, if there is no file of labels.
        number: which set of a file that holds several (default: the last).
        factor: of NCFM, whose every image is factor × factor training images (default: 2).
        overwrite: replace a set that stands in that folder.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    if (out / "card.json").exists() and not overwrite:
        raise ValueError(f"{out} already holds a synthetic set: choose another --out, or add --overwrite")
    check_writable(out)
    data = load(dataset, root, device)
    said: dict[str, Any] = {"space": space, "mean": mean, "std": std, "order": order, "ipc": ipc}
    synthetic = from_files(path, data=data, number=number, factor=factor, **said)
    check_fits(synthetic, data)
    source = dataset if dataset in NAMES else str(Path(dataset).expanduser().resolve())
    cell = {**synthetic.config.get("cell", {}), "dataset": source}
    synthetic = replace(synthetic, config={**synthetic.config, "cell": cell})
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
    return f"{value:.4g}" if isinstance(value, float) else str(value)


OF_A_METHOD: dict[str, Callable[[Method, Task], None]] = {"distill": distill, "plan": forecast}


def main() -> None:
    """Run the command line; a mistake in the input is one line on standard error and exit code 2."""
    keep_memory()
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


def _other_command() -> None:
    commands: dict[str, Callable] = {name: _documented(work) for name, work in OF_A_METHOD.items()}
    commands |= {
        "evaluate": assess,
        "audit": audit,
        "teach": teach,
        "methods": catalogue,
        "export": send,
        "import": receive,
    }
    about = "Dataset distillation through spectral filters."
    tyro.extras.subcommand_cli_from_dict(commands, prog="unidd", description=about)


def _documented(work: Callable) -> Callable[[], None]:
    """Return something to show in a list of commands; `main` runs the command itself."""

    def shown() -> None: ...

    shown.__doc__ = work.__doc__
    return shown


def _of_method(command: str, name: str, *arguments: str) -> None:
    """Run a command whose options are those of a method and of a task."""
    cls, work = methods.find(name), OF_A_METHOD[command]
    default, flat = budgeted(cls, _budget(arguments)), tyro.conf.arg(name="")
    kind = Task if cls.has_ipc else WholeTask
    parts = [("method", Annotated[cls, flat], default), ("task", Annotated[kind, flat], kind())]
    options = make_dataclass("Options", parts)
    docs = [inspect.getdoc(work), (inspect.getdoc(cls) or "").split("Args:")[0].strip()]
    about = "\n\n".join([*docs, f"Filter: {cls.acts_as}", f"Source: {cls.source}", f"Labels: {cls.labels}"])
    found = tyro.cli(options, prog=f"unidd {command} {name}", description=about, args=arguments)
    work(found.method, found.task)


def _budget(arguments: Sequence[str]) -> str:
    """Return the budget that is asked for, which decides the defaults of a method."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--budget", default=Task.budget)
    with contextlib.suppress(argparse.ArgumentError):  # tyro says what is wrong
        if (found := parser.parse_known_args(arguments)[0].budget) in BUDGETS:
            return found
    return Task.budget
