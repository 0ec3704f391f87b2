"""What the jobs of a suite will take on this machine, before any starts: `forecast.py SUITE [--budget paper] …`.

A line a job and their sum. A job is what `unidd plan` says of its method, once a repetition, and its students, by a few
steps of their training and of the teacher that labels their images. Teachers and the passes over the real images come
once for all jobs. The jobs run one after the other; on several devices at once it takes that part of the time.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import jobs

from unidd.bench.cell import Cell
from unidd.bench.machine import duration, size
from unidd.bench.measuring import Measured, measure_training
from unidd.bench.planning import Plan, plan
from unidd.data.datasets import ImageData
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import TrainConfig, teacher_folder

_ONCE = ("teacher", "real side")  # phases of a plan that are the same for all jobs of a repetition


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

    def taken(self, cell: Cell) -> Taken:
        """Return what the students of all repetitions and regimes of a cell take."""
        data, config = self.data, cell.student(self.data)
        images = cell.images(data)
        one, steps = self.step(cell.student_network(), config), config.steps(images)
        seconds = len(cell.regimes) * (steps * one.train + len(data.test) * one.test)
        if "online-soft" in cell.regimes:
            labelled = config.epochs * images
            seconds += labelled * self.step(cell.network(), cell.training()).test
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
    """Return what each job takes, and then what all of them share.

    Args:
        planned: what `unidd plan` says of a cell.
    """
    found, passes, teachers = [], 0.0, Taken("teachers", 0.0)
    for name, parameters in suite.jobs.items():
        cell = Cell.of(**parameters)
        taken = replace(students.taken(cell), name=name)
        teachers = max(teachers, students.teachers(cell), key=lambda t: t.seconds)
        if cell.method.role != "ceiling":  # which takes the images as they are
            of = planned(cell)
            own = sum(seconds for phase, seconds, _ in of.phases if phase not in _ONCE)
            once = sum(seconds for phase, seconds, _ in of.phases if phase == "real side")
            passes = max(passes, once * (1 if cell.given.teacher else len(cell.seeds)))
            seconds = len(cell.seeds) * own + taken.seconds
            taken = Taken(name, seconds, max(of.memory, taken.memory), of.disk)
        found.append(taken)
        print(line(taken), flush=True)
    return [*found, teachers, Taken("real side", passes)]


def line(taken: Taken) -> str:
    memory, disk = (size(value) if value else "–" for value in (taken.memory, taken.disk))
    return f"{taken.name:<28} {duration(taken.seconds) if taken.seconds else '–':>12} {memory:>12} {disk:>12}"


def total(found: list[Taken]) -> Taken:
    """Return the sum of times and disk, and the largest memory."""
    memory = max(taken.memory for taken in found)
    return Taken("all, one after the other", sum(t.seconds for t in found), memory, sum(t.disk for t in found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("--budget")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    try:
        suite = jobs.load(jobs.suite_path(asked.suite), asked.budget)
        first = Cell.of(**next(iter(suite.jobs.values())))
        students = Students(first.source.load(device=asked.device))
        print(f"{f'{suite.name} on {asked.device}':<28} {'time':>12} {'memory':>12} {'disk':>12}")
        found = forecast(suite, students, lambda cell: plan(cell, device=asked.device))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(map(line, [*found[-2:], total(found)])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
