"""The command `unidd`: plan, distil, evaluate, train teachers; its options are fields of the configurations."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Literal

import docstring_parser
import tyro

from .bench.configs import BUDGETS, METHODS, Benchmark
from .bench.machine import keep_memory
from .bench.planning import plan
from .bench.records import Record, provenance, save_record
from .data.datasets import load
from .data.synthetic import SyntheticSet
from .engine.checkpoint import Checkpoint
from .engine.distillation import identity
from .engine.parallel import Ranks
from .engine.settings import DistillConfig
from .files import check_writable
from .networks.evaluation import PROTOCOLS, check_fits, evaluate

_HELP = {p.arg_name: p.description for p in docstring_parser.parse(DistillConfig.__doc__).params}
_FIXED = ("method", "ipc", "seed")  # options of their own, not changes to a recipe

Settings = make_dataclass(
    "Settings",
    [
        (
            f.name,
            Annotated[f.type | None, tyro.conf.arg(help=f"{_HELP[f.name]} None keeps the recipe's.")],
            field(default=None),
        )
        for f in fields(DistillConfig)
        if f.name not in _FIXED
    ],
    frozen=True,
)
Method = Literal[tuple(METHODS)]
Budget = Literal[tuple(BUDGETS)]


@dataclass(frozen=True)
class Task:
    """What to distil, and where to.

    Args:
        dataset: photos, digits, fashion-mnist, cifar10, cifar100, or a folder with train/<class>/ and test/<class>/.
        method: the recipe.
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
    method: Method = "cfm"
    ipc: int = 1
    seed: int = 0
    model: str = "convnet"
    budget: Budget = "embedded"
    out: Path = Path("distilled")
    overwrite: bool = False
    save_every: int = 0
    root: Path | None = None
    device: str = "cpu"
    settings: Annotated[Settings, tyro.conf.arg(name="")] = Settings()  # noqa: RUF009  frozen

    def benchmark(self) -> Benchmark:
        if self.save_every < 0:
            raise ValueError(f"save-every must be a number of steps from 0, not {self.save_every}")
        changes = {k: v for k, v in vars(self.settings).items() if v is not None}
        return Benchmark(self.dataset, self.model, self.method, self.ipc, (self.seed,), self.budget, settings=changes)


Options = Annotated[Task, tyro.conf.arg(name="")]


def distil(task: Options = Task()) -> None:
    """Distil a data set to a few images a class, with the teacher it needs.

    The same command run again after it was cut off goes on where it stood. Several processes share the work under
    `torchrun --nproc-per-node=2 -m -- unidd distill`. See `unidd plan` for what it will take.
    """
    benchmark, out = task.benchmark(), task.out
    ranks, device = Ranks.join(task.device)
    data = _first_alone(ranks, lambda: load(task.dataset, task.root, device))
    benchmark.check(data, ranks)
    ranks.from_first(lambda: check_writable(out))
    with Checkpoint(out, overwrite=task.overwrite, ranks=ranks) as checkpoint:
        ranks.from_first(lambda: _check_free(checkpoint, task.overwrite))
        checkpoint.check(identity(benchmark.distillation(task.seed, data), data))
        teacher = _first_alone(ranks, lambda: benchmark.teacher(data, progress=ranks.first))
        if ranks.first:
            print(f"teacher: {task.model}, {teacher.accuracy:.1f} % on the {data.name} test images")
        options = {"folder": checkpoint, "save_every": task.save_every, "ranks": ranks}
        result = benchmark.distil(task.seed, data, teacher, **options)
        if ranks.first:
            _write(result, out)
            checkpoint.remove()
            print(f"{len(result)} images in {out}; next: unidd evaluate {out}")
    ranks.leave()


def forecast(task: Options = Task()) -> None:
    """Say what `unidd distill` with the same options will take here: time, memory and disk, from a few real steps."""
    benchmark = task.benchmark()
    if sys.stderr.isatty():
        print("measuring a few real steps …", file=sys.stderr)
    found = plan(benchmark, out=task.out, save_every=task.save_every, root=task.root, device=task.device)
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


def _first_alone(ranks: Ranks, work: Callable):
    """`work()` in the first process, and only then in the others, which find on disk what the first has left."""
    done = []
    ranks.from_first(lambda: done.append(work()))
    return done[0] if done else work()


def assess(
    folder: Annotated[Path, tyro.conf.Positional],
    labels: Literal["hard", "soft", "both"] = "both",
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
        folder: what `unidd distill` wrote.
        labels: hard labels, the teacher's soft labels, or both.
        seeds: one student each.
        model: the student's architecture (default: the teacher's).
        dataset: where it was distilled from (default: as its card says).
        budget: epochs of the students (default: as its card says).
        baseline: also train on random real images under the same protocol.
        record: write a result record to this file.
        root: where downloads lie (default: UNIDD_DATA).
        device: cpu, cuda or mps.
    """
    synthetic = SyntheticSet.load(folder)
    card = synthetic.config.get("benchmark", {})
    ipc = max(1, len(synthetic) // len(synthetic.class_names))
    names = {"dataset": dataset or card.get("dataset", "photos"), "budget": budget or card.get("budget", "embedded")}
    made = Benchmark(**names, model=card.get("model", "convnet"), ipc=ipc, seeds=seeds)
    student = Benchmark(**names, model=model or made.model, ipc=ipc, seeds=seeds)
    if record:
        check_writable(record.parent)
    data = load(made.dataset, root, device)
    check_fits(synthetic, data)
    student.check(data)
    protocols = PROTOCOLS if labels == "both" else (labels,)
    teacher = made.teacher(data) if "soft" in protocols else None
    if teacher and synthetic.teacher and teacher.hash != synthetic.teacher["hash"]:
        print("note: soft labels come from another teacher than the set was distilled with", file=sys.stderr)

    def accuracies(images, classes, seeds) -> dict[str, list[float]]:
        models = {"hard": None, "soft": teacher and teacher.model}
        task = (images, classes, data, student.network(), student.student(data), seeds)
        return {p: evaluate(*task, teacher=models[p]) for p in protocols}

    ours = accuracies(synthetic.images, synthetic.labels, seeds)
    _print(synthetic.config.get("method", "this set"), ours)
    if baseline:
        real = [SyntheticSet.from_real(data, ipc, seed) for seed in seeds]
        runs = [accuracies(s.images, s.labels, [seed]) for s, seed in zip(real, seeds, strict=True)]
        _print("random real", {p: [run[p][0] for run in runs] for p in protocols})
    if record:
        method = synthetic.config.get("method", folder.name)
        made_by = teacher.card() if teacher else synthetic.teacher
        save_record(
            Record(
                "local",
                data.name,
                student.model,
                method,
                ipc,
                list(seeds),
                ours,
                synthetic.config,
                made_by,
                provenance=provenance(device),
            ),
            record,
        )


def _print(name: str, accuracies: dict[str, list[float]]) -> None:
    for protocol, values in accuracies.items():
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        each = ", ".join(f"{v:.1f}" for v in values)
        print(f"{name:>16}, {protocol} labels: {mean(values):.1f}{spread} %  (n = {len(values)}: {each})")


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
    found = Benchmark(dataset, model, budget=budget).teacher(data)
    print(f"teacher {found.hash}: {model}, {found.accuracy:.1f} % on the {data.name} test images")


def main() -> None:
    """Run the command line; a mistake in the input is one line on standard error and exit code 2."""
    keep_memory()
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"distill": distil, "plan": forecast, "evaluate": assess, "teach": teach},
            prog="unidd",
            description="Dataset distillation through spectral filters.",
        )
    except (ValueError, OSError) as error:
        rank = os.environ.get("RANK", "0")  # set by torchrun
        print("unidd: error" + f" in process {rank}" * (rank != "0") + f": {error}", file=sys.stderr)
        sys.exit(2)
