"""Does `unidd plan` say what `unidd distill` then takes? Time, peak memory and disk, predicted and measured.

    python benchmarks/plan_accuracy.py                     # writes results/studies/plan/plan.json
    python benchmarks/plan_accuracy.py --methods           # writes results/studies/plan/methods.json

Four runs that differ in data, model, recipe and size; the first three train a teacher and measure the real side, the
last finds both in the cache. Each is planned, then run, by the command itself in fresh processes; measured are
wall-clock time, the peak resident memory of the process, and the largest sum of files in the run's folder and what it
adds to the cache. Three times each, about ten minutes on two CPU cores; nothing else should compute meanwhile. With
`--methods` they are a run of each method and coreset on photographs at IPC 10, an hour for all, and three of them.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
import tyro
from PIL import Image

from unidd import methods as room
from unidd.bench.cell import Cell
from unidd.bench.planning import plan
from unidd.bench.records import provenance
from unidd.files import save_json

ROOT = Path(__file__).resolve().parent.parent
# name → parameters of a cell, and states within a round; "crops" is a folder made below
RUNS = {
    "photos, ConvNet, IPC 10": ({"dataset": "photos", "ipc": 10, "settings": {"steps": 200}}, 0),
    "digits, ResNet-18, IPC 5": (
        {
            "dataset": "digits",
            "model": "resnet18",
            "method": "relative",
            "ipc": 5,
            "budget": "smoke",
            "settings": {"steps": 50},
        },
        10,
    ),
    "64-pixel folder, SqueezeNet, IPC 4": (
        {
            "dataset": "crops",
            "model": "squeezenet1_1",
            "method": "hfm",
            "ipc": 4,
            "settings": {"steps": 40, "group": 5, "signal": "class"},
        },
        0,
    ),
    "photos, ConvNet, IPC 8, teacher there": (
        {"dataset": "photos", "method": "lfm", "ipc": 8, "settings": {"steps": 200, "precision": "float64"}},
        0,
    ),
}
# A process that is itself small: on Linux a process begins with the peak memory of the one that started it.
THIN = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"code": code, "seconds": time.perf_counter() - began, "memory": 1024 * peak}))
"""


def of_methods() -> dict[str, tuple[dict, int]]:
    """Return a run of each method that has an IPC, in the form of `RUNS`."""
    names = sorted(cls().name for cls in room.found() if cls.has_ipc)
    return {name: ({"dataset": "photos", "method": name, "ipc": 10}, 0) for name in names}


def crops(folder: Path) -> None:
    """Ten classes of 64-pixel noise of different coarseness: 60 training and 10 test images each."""
    generator = torch.Generator().manual_seed(0)
    for k in range(10):
        for split, count in (("train", 60), ("test", 10)):
            (folder / split / f"class-{k}").mkdir(parents=True)
            for i in range(count):
                small = torch.randint(0, 256, (4 + 2 * k, 4 + 2 * k, 3), generator=generator, dtype=torch.uint8)
                image = Image.fromarray(small.numpy()).resize((64, 64))
                image.save(folder / split / f"class-{k}" / f"{i}.png")


def size(*folders: Path) -> int:
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def measure(parameters: dict, save_every: int, out: Path) -> dict:
    """Run the command and watch it."""
    given = {"method": "cfm", "budget": "embedded", **parameters}
    settings, method = given.pop("settings", {}), given.pop("method")
    options = {**given, "out": out, "save-every": save_every, **settings}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-c", THIN, sys.executable, "-m", "unidd", "distill", method, *arguments]
    cache = Path(os.environ["UNIDD_CACHE"])
    before, largest, ended = size(cache), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            with contextlib.suppress(FileNotFoundError):  # something has just been removed
                largest[0] = max(largest[0], size(out, cache) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ended.set()
    watcher.join()
    if found.pop("code"):
        raise SystemExit(f"{' '.join(command[3:])} failed")
    return found | {"disk": largest[0]}


def compare(runs: dict[str, tuple[dict, int]], only: int | None) -> list[dict]:
    """Each run planned and run once, with an empty cache at the start."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNIDD_CACHE"] = str(Path(folder) / "cache")
        (Path(folder) / "cache").mkdir()
        crops(Path(folder) / "crops")
        for number, (name, (parameters, save_every)) in enumerate(runs.items()):
            if only not in (None, number):
                continue
            if parameters["dataset"] == "crops":
                parameters = parameters | {"dataset": str(Path(folder) / "crops")}
            cell = Cell.of(**parameters, seeds=(0,))
            began = time.perf_counter()
            planned = plan(cell, save_every=save_every)
            planning = time.perf_counter() - began
            measured = measure(parameters, save_every, Path(folder) / f"set-{number}")
            predicted = {"seconds": planned.seconds, "memory": planned.memory, "disk": planned.disk}
            ratio = {k: round(predicted[k] / measured[k], 3) for k in predicted}
            row = {
                "predicted": {k: round(v, 2) for k, v in predicted.items()},
                "measured": {k: round(v, 2) for k, v in measured.items()},
                "phases": [[phase, round(seconds, 2)] for phase, seconds, _ in planned.phases],
                "seconds of planning": round(planning, 1),
            }
            rows.append({"run": name, "ratio": ratio, "times": row})
            print(f"{name}: predicted ÷ measured", ratio, f"({measured['seconds']:.0f} s)", flush=True)
    return rows


def main(
    folder: Path = ROOT / "results" / "studies" / "plan",
    only: int | None = None,
    repeats: int = 3,
    methods: bool = False,
) -> None:
    """Plan and run each.

    Args:
        folder: where the record is written.
        only: the number of a single run, from 0.
        repeats: how often.
        methods: run each method in place of the four runs.
    """
    runs = of_methods() if methods else RUNS
    found = [compare(runs, only) for _ in range(repeats)]
    rows = []
    for same in zip(*found, strict=True):
        ratios = {what: [row["ratio"][what] for row in same] for what in same[0]["ratio"]}
        rows.append({"run": same[0]["run"], "ratios": ratios, "times": [row["times"] for row in same]})
    name = "methods.json" if methods else "plan.json"
    save_json({"rows": rows, "n": repeats, "provenance": provenance()}, folder / name)


if __name__ == "__main__":
    tyro.cli(main)
