"""What test_parallel.py starts under torchrun, and compares with a single process.

torchrun --standalone --nproc-per-node=2 tests/ranks_job.py {cases,end,kill,fail} FOLDER
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from unidd.data.datasets import ImageData, load
from unidd.engine import distillation, realside
from unidd.engine.distillation import distill
from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side
from unidd.engine.settings import DistillConfig
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


def run(name: str, **options):
    changes = BASE | CASES[name]
    data = photos(changes.pop("classes", 10))
    return distill(DistillConfig(**changes), data, teacher(data), progress=False, **options)


def cases(ranks: Ranks, folder: Path) -> None:
    """Each case, the real side, and errors that every process must see; results of process r in FOLDER/r."""
    own, seen = folder / str(ranks.rank), []
    data, pass_over = photos(), realside.real_statistics

    def counting(*args, total, **options):
        seen.append(total)
        return pass_over(*args, total=total, **options)

    realside.real_statistics = counting
    found = real_side(DistillConfig(signal="mix"), data, teacher(data).model, ranks)
    torch.save({layer: (m.count, m.mean, m.scatter, m.cross) for layer, m in found.items()}, own / "real.pt")
    calls = []
    for name in CASES:
        callback = (lambda b, pixels: calls.append(b)) if name == "groups" else None
        run(name, ranks=ranks, callback=callback).save(own / name)
    try:
        run("groups", ranks=Ranks(ranks.rank, 3))  # the last group has 2 classes
    except ValueError as error:
        refused = str(error)
    shared = ranks.from_first(lambda: {"a": [ranks.rank]})
    try:
        ranks.from_first(lambda: int("of the first"))
    except ValueError as error:
        failed = str(error)
    report = {"seen": seen, "calls": calls, "refused": refused, "shared": shared, "failed": failed}
    (own / "report.json").write_text(json.dumps(report))


def end(ranks: Ranks, folder: Path) -> None:
    """The long case with its state kept, to its end."""
    run("long", ranks=ranks, folder=folder / "run", save_every=2).save(folder / str(ranks.rank))


def broken(ranks: Ranks, folder: Path, how: str) -> None:
    """The same, but process 1 stops in the third batch, after its second step, the last one kept."""
    step_loss, steps = distillation.step_loss, []

    def stopping(*args, **options):
        steps.append(1)
        if ranks.rank == 1 and len(steps) == 2 * 4 + 4:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("one of two has had enough")
        return step_loss(*args, **options)

    distillation.step_loss = stopping
    end(ranks, folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, where = sys.argv[1], Path(sys.argv[2])
    joined, _ = Ranks.join("cpu")
    own_folder = where / str(joined.rank)
    own_folder.mkdir(parents=True, exist_ok=True)
    os.environ["UNIDD_CACHE"] = str(own_folder / "cache")
    {"cases": cases, "end": end}.get(what, lambda *args: broken(*args, how=what))(joined, where)
    joined.leave()
