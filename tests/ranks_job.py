"""What test_parallel.py starts in two processes, by torchrun or as it does, and compares with a single one.

torchrun --standalone --nproc-per-node=2 tests/ranks_job.py {cases,end,kill,fail} FOLDER
"""

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import torch

from unidd.data.datasets import ImageData, load
from unidd.data.synthetic import SyntheticSet
from unidd.engine import realside
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Position, steps
from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side
from unidd.engine.run import Run
from unidd.methods.cfm import CFM, FrequencyMatching
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import Teacher

# Double precision: Adam divides by the size of the gradient, so in single precision a pixel whose gradient is all but
# zero may step to either side; "single" and "half" measure how far that goes.
BASE = {"ipc": 2, "steps": 3, "beta": 0.05, "precision": "float64"}
CASES = {
    "mean": {},
    "class": {"signal": "class"},
    "mix": {"signal": "mix"},
    "no emu": {"emu": False},
    "groups": {"signal": "mix", "group": 4},
    "groups of classes": {"signal": "class", "group": 3, "ipc": 1, "classes": 9},
    "low frequencies": {"signal": "mix", "filter": "linear"},
    "gradient descent": {"filter": "landweber", "ipc": 1},
    "classification": {"filter": "none"},
    "long": {"ipc": 3, "steps": 4},
    "single": {"precision": "float32"},
    "half": {"precision": "float16"},
}


def photos(classes: int = 10) -> ImageData:
    """120 patches of each photograph, or of the first few."""
    data = load("photos")
    train, test = (split.take((split.labels < classes).nonzero().flatten()) for split in (data.train, data.test))
    some = (torch.arange(len(train)) % 500 < 120).nonzero().flatten()
    return ImageData("photos", train.take(some), test, data.class_names[:classes])


def teacher(data: ImageData) -> Teacher:
    network = build(ModelConfig(width=6), data.channels, data.size, data.classes, seed=1)
    return Teacher(network.eval().requires_grad_(False), 10.0, "0123456789abcdef")


def task(name: str, cls: type[CFM] = CFM, **options) -> tuple[CFM, ImageData, Teacher, Run]:
    changes = BASE | CASES[name]
    data, ipc = photos(changes.pop("classes", 10)), changes.pop("ipc")
    return cls(**changes), data, teacher(data), Run(ipc, **options)


def run(name: str, **options) -> SyntheticSet:
    method, *rest = task(name, **options)
    return method.distill(*rest)


def shown(ranks: Ranks) -> dict:
    """What the iterator of steps shows at the end of each batch, and whether this process shows progress."""
    method, data, model, asked = task("groups", ranks=ranks)
    position = Position(data, method.start(data, asked), method.descent(data), asked.seed, ranks)
    taken = (taken for taken in steps(method.objective(data, model, asked), position) if taken.last)
    batches = [(last.batch.b, len(last.batch.labels), len(position.pixels(last.batch.number))) for last in taken]
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    os.environ.pop("TQDM_DISABLE", None)
    with contextlib.redirect_stderr(terminal) as progress:
        run("groups", ranks=ranks, progress=True)
    return {"batches": batches, "progress": progress.getvalue()}


def cases(ranks: Ranks, folder: Path) -> None:
    """Each case, the real side, and errors that every process must see; results of process r in FOLDER/r."""
    own, seen = folder / str(ranks.rank), []
    data, pass_over = photos(), realside.real_statistics

    def counting(model, batches, *args, **options):
        batches = list(batches)
        seen.append(sum(len(images) for images, _ in batches))
        return pass_over(model, batches, *args, **options)

    realside.real_statistics = counting
    found = real_side("mix", data, teacher(data).model, ranks)
    torch.save({layer: (m.count, m.mean, m.scatter, m.cross) for layer, m in found.items()}, own / "real.pt")
    for name in CASES:
        run(name, ranks=ranks).save(own / name)
    try:
        run("groups", ranks=Ranks(ranks.rank, 3))  # the last group has 2 classes
    except ValueError as error:
        refused = str(error)
    shared = ranks.from_first(lambda: {"a": [ranks.rank]})
    try:
        ranks.from_first(lambda: int("of the first"))
    except ValueError as error:
        failed = str(error)
    report = {"seen": seen, "refused": refused, "shared": shared, "failed": failed, **shown(ranks)}
    (own / "report.json").write_text(json.dumps(report))


def end(ranks: Ranks, folder: Path, cls: type[CFM] = CFM) -> None:
    """The long case with its state kept, to its end."""
    method, *rest = task("long", cls, ranks=ranks, checkpoint=Checkpoint(folder / "run", ranks=ranks), save_every=2)
    method.distill(*rest).save(folder / str(ranks.rank))


def broken(ranks: Ranks, folder: Path, how: str) -> None:
    """The same, but process 1 stops in the third batch, after its second step, the last one kept."""

    class Stopping(FrequencyMatching):
        def step(self, x, t, generator):
            if ranks.rank == 1 and (self.batch.number, t) == (2, 3):
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise RuntimeError("one of two has had enough")
            return super().step(x, t, generator)

    class Mortal(CFM):
        name = "cfm"

        def objective(self, data, teacher, run):
            usual = super().objective(data, teacher, run)
            return Stopping(self, run.ipc, teacher.model, usual.real, usual.augment, all_sum=run.ranks.all_sum)

    end(ranks, folder, Mortal)


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, where = sys.argv[1], Path(sys.argv[2])
    joined, _ = Ranks.join("cpu")
    own_folder = where / str(joined.rank)
    own_folder.mkdir(parents=True, exist_ok=True)
    os.environ["UNIDD_CACHE"] = str(own_folder / "cache")
    {"cases": cases, "end": end}.get(what, lambda *args: broken(*args, how=what))(joined, where)
    joined.leave()
