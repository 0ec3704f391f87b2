"""What the jobs of a suite will take on this machine, before any starts: `forecast.py SUITE [--budget paper] …`.

A line a job and their sum. A job is what `unidd plan` says of its method, once a repetition, and its students, by a few
steps of their training and of the teacher that labels their images. Teachers, the passes over the real images and the
experts of trajectories come once for all jobs. The jobs run one after the other; on several devices at once it takes
that part of the time.

`--device h100` says it of a device that is not at hand: the same code, its operations counted (`unidd.bench.counted`).
Images and a teacher's file that are not at hand have stand-ins.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest.mock import patch

import jobs
import torch

from unidd.bench.cell import Cell
from unidd.bench.counted import DEVICES, Counter, Device
from unidd.bench.machine import duration, size
from unidd.bench.measuring import Measured, measure_training
from unidd.bench.planning import Plan, estimate, measure, plan
from unidd.data.datasets import ImageData, Split
from unidd.data.sources import Source
from unidd.files import json_hash
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import Teacher, TrainConfig, teacher_folder

_ONCE = ("teacher", "real side", "experts")  # phases of a plan that all jobs of a repetition share
_SHAPES = {  # training and test images, channels, size and classes of what may not be at hand
    "fashion-mnist": (60_000, 10_000, 1, 28, 10),
    "cifar10": (50_000, 10_000, 3, 32, 10),
    "cifar100": (50_000, 10_000, 3, 32, 100),
    "tiny-imagenet": (100_000, 10_000, 3, 64, 200),
    "imagenet": (1_281_167, 50_000, 3, 224, 1000),
}


@dataclass(frozen=True)
class Taken:
    """Seconds, and bytes of memory and disk, of something that is called by a name."""

    name: str
    seconds: float
    memory: int = 0
    disk: int = 0


class Students:
    """Measures training on some data, each kind of step once.

    Args:
        data: real images, in the place of synthetic ones.
        measure: see `measure_training`.
    """

    def __init__(self, data: ImageData, measure: Callable[..., Measured] = measure_training):
        self.data, self.measure = data, measure
        self.found: dict[str, Measured] = {}

    def step(self, model: ModelConfig, config: TrainConfig) -> Measured:
        """Return what a step of that training takes, and a test image."""
        key = repr((model, replace(config, epochs=1)))
        if key not in self.found:
            network = build(model, self.data.channels, self.data.size, self.data.classes).to(self.data.device)
            self.found[key] = self.measure(network, self.data, config)
        return self.found[key]

    def labels(self, model: ModelConfig, config: TrainConfig, batch: int) -> float:
        """Return what a teacher's answers to a batch take."""
        few = replace(self.data, test=self.data.test.take(torch.arange(min(batch, len(self.data.test)))))
        key = repr((model, batch))
        if key not in self.found:
            network = build(model, few.channels, few.size, few.classes).to(few.device)
            self.found[key] = self.measure(network, few, config)
        return self.found[key].test * batch

    def taken(self, cell: Cell) -> Taken:
        """Return what the students of all repetitions and regimes of a cell take."""
        data, config = self.data, cell.student(self.data)
        images = cell.images(data)
        batch, steps = min(config.batch, images), config.steps(images)
        one = self.step(cell.student_network(), replace(config, batch=batch))
        seconds = len(cell.regimes) * (steps * one.train + len(data.test) * one.test)
        if "online-soft" in cell.regimes:
            seconds += steps * self.labels(cell.network(), cell.training(), batch)
        return Taken("students", len(cell.seeds) * seconds, one.memory)

    def teachers(self, cell: Cell) -> Taken:
        """Return what the teachers take that are not in the cache."""
        data, config = self.data, cell.training()
        missing = [
            s for s in cell.seeds if not (teacher_folder(data, cell.network(), config, s)[0] / "card.json").exists()
        ]
        if cell.given.teacher or not cell.needs_teacher or not missing:
            return Taken("teachers", 0.0)
        one = self.step(cell.network(), config)
        seconds = config.steps(len(data.train)) * one.train + len(data.test) * one.test
        return Taken("teachers", len(missing) * seconds, one.memory, len(missing) * one.kept)


def forecast(suite: jobs.Suite, students: Students, planned: Callable[[Cell], Plan]) -> list[Taken]:
    """Return what each job takes, and then what all of them share: teachers, passes over the real images, experts.

    Args:
        planned: what `unidd plan` says of a cell.
    """
    found, shared, teachers = [], {"real side": 0.0, "experts": 0.0}, Taken("teachers", 0.0)
    for name, parameters in suite.jobs.items():
        cell = Cell.of(**parameters)
        taken = replace(students.taken(cell), name=name)
        teachers = max(teachers, students.teachers(cell), key=lambda t: t.seconds)
        if cell.method.role != "ceiling":  # which takes the images as they are
            of = planned(cell)
            own = sum(seconds for phase, seconds, _ in of.phases if phase not in _ONCE)
            for phase, seconds, _ in of.phases:
                alike = cell.given.teacher if phase == "real side" else getattr(cell.method, "shared", False)
                if phase in shared:
                    shared[phase] = max(shared[phase], seconds * (1 if alike else len(cell.seeds)))
            seconds = len(cell.seeds) * own + taken.seconds
            taken = Taken(name, seconds, max(of.memory, taken.memory), of.disk)
        found.append(taken)
        print(line(taken), flush=True)
    return [*found, teachers, *(Taken(name, seconds) for name, seconds in shared.items())]


def count(suite: jobs.Suite, device: Device, students: type[Students] = Students) -> list[Taken]:
    """Return what `forecast` does, of a device that is not at hand: times alone."""
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, UNIDD_CACHE=cache), Counter(device) as counter:
        data = _stand_in(Cell.of(**next(iter(suite.jobs.values()))).source, counter.device)
        found = forecast(suite, students(data), lambda cell: _counted_plan(cell, data))
    return [replace(taken, disk=0) for taken in found]


def _counted_plan(cell: Cell, data: ImageData) -> Plan:
    network = build(cell.network(), data.channels, data.size, data.classes).to(data.device)
    found, work = measure(cell, cell.run(cell.seeds[0]), data, brought=Teacher(network) if cell.given.teacher else None)
    return replace(estimate(replace(found, real=0.0) if cell.given.statistics else found, work), disk=0)


def _stand_in(source: Source, device: torch.device) -> ImageData:
    """Return images in the shape of a data set's, with labels alone."""
    if source.dataset in _SHAPES:
        train, test, channels, side, classes = _SHAPES[source.dataset]
        few = len(source.classes) or classes
        train, test, classes = train * few // classes, test * few // classes, few
        channels, side = source.channels or channels, source.size or side
    else:
        data = source.load()
        train, test, channels, side, classes = (len(data.train), len(data.test), data.channels, data.size, data.classes)

    def split(count: int) -> Split:
        images = torch.empty(count, channels, side, side, dtype=torch.uint8, device=device)
        return Split(images, (torch.arange(count) % classes).to(device))

    grey = ((0.5,) * channels, (0.25,) * channels)
    data = ImageData(f"as {source.dataset}", split(train), split(test), tuple(map(str, range(classes))), grey)
    vars(data)["fingerprint"] = json_hash(repr(data))  # there are no pixels to read
    return data


def line(taken: Taken) -> str:
    memory, disk = (size(value) if value else "–" for value in (taken.memory, taken.disk))
    return f"{taken.name:<28} {duration(taken.seconds) if taken.seconds else '–':>12} {memory:>12} {disk:>12}"


def total(found: list[Taken]) -> Taken:
    """Return the sum of times and disk, and the largest memory."""
    memory = max(taken.memory for taken in found)
    return Taken("all, one after the other", sum(t.seconds for t in found), memory, sum(t.disk for t in found))


def _check_device(name: str) -> None:
    try:
        torch.device("cpu" if name in DEVICES else name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: say cpu or cuda, or {', '.join(DEVICES)} to count") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("--budget")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    try:
        _check_device(asked.device)
        suite = jobs.load(jobs.suite_path(asked.suite), asked.budget, files=asked.device not in DEVICES)
        print(f"{f'{suite.name} on {asked.device}':<28} {'time':>12} {'memory':>12} {'disk':>12}", flush=True)
        if asked.device in DEVICES:
            found = count(suite, DEVICES[asked.device])
        else:
            data = Cell.of(**next(iter(suite.jobs.values()))).source.load(device=asked.device)
            found = forecast(suite, Students(data), lambda cell: plan(cell, device=asked.device))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(map(line, [*found[len(suite.jobs) :], total(found)])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
