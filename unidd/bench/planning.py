"""What a run will take, before it starts: time, memory and disk.

`plan` measures a few real steps in a process of its own, so that its peak memory is the run's; `estimate` scales any
measurement by the work there is, in closed form, and so also for a machine that is not at hand.
"""

import math
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.datasets import ImageData, load
from ..engine.realside import kept_statistics
from ..engine.settings import DistillConfig, class_groups
from ..files import nearest
from ..networks.models import build
from ..networks.training import Teacher, TrainConfig, teacher_folder
from .configs import Benchmark
from .machine import (
    available_memory,
    describe,
    duration,
    keep_memory,
    limit_memory,
    out_of_memory,
    peak_memory,
    release_memory,
    size,
)
from .measuring import Measured, measure_finish, measure_real_side, measure_steps, measure_training

_MEASURE = "import unidd.cli; from unidd.bench.planning import _child; _child()"  # a process like that of the run


@dataclass(frozen=True)
class Work:
    """How much a run has to do.

    Attributes:
        train_steps, test_images: of the teacher; 0 if it is in the cache.
        real_images: in the pass over the real data, of each process; 0 if the statistics are in the cache.
        batches: one a round and group of classes.
        steps: of a batch.
        saves: states kept within a batch.
        batch: images in the largest batch.
        images: in the set.
        image: bytes of one, as float32.
    """

    train_steps: int
    test_images: int
    real_images: int
    batches: int
    steps: int
    saves: int
    batch: int
    images: int
    image: int

    @staticmethod
    def of(
        config: DistillConfig, data: ImageData, training: TrainConfig | None, real: bool, save_every: int = 0
    ) -> "Work":
        """Of a run by one process.

        Args:
            training: of the teacher; None if it is in the cache.
            real: whether the pass over the real data is still to come.
        """
        groups, steps = class_groups(config, data.classes), config.steps
        return Work(
            train_steps=training.epochs * math.ceil(len(data.train) / training.batch) if training else 0,
            test_images=len(data.test) if training else 0,
            real_images=len(data.train) if real else 0,
            batches=config.ipc * len(groups) if steps else 0,
            steps=steps,
            saves=(steps - 1) // save_every if save_every and steps else 0,
            batch=max(group.stop - group.start for group in groups),
            images=config.ipc * data.classes,
            image=4 * data.channels * data.size**2,
        )


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        phases: name, seconds and where they come from.
        memory, disk: bytes.
        device: where it was measured, from so many steps.
        available, free: bytes of memory and of disk there are; None: not asked.
    """

    phases: tuple[tuple[str, float, str], ...]
    memory: int
    disk: int
    device: str
    steps: int
    available: int | None = None
    free: int | None = None

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds, _ in self.phases)

    def text(self) -> str:
        """A table for people, and what it assumes."""
        available = "" if self.available is None else f"of {size(self.available)} available"
        free = "" if self.free is None else f"of {size(self.free)} free"
        lines = [
            *((name, duration(seconds) if seconds else "–", how) for name, seconds, how in self.phases),
            ("time", duration(self.seconds), ""),
            ("memory", size(self.memory) if self.memory else "unknown", available),
            ("disk", size(self.disk), free),
        ]
        assumed = (
            f"Measured from {self.steps} steps on {self.device}. Assumes that nothing else computes there meanwhile, "
            "and that later rounds cost what the second does."
        )
        return "\n".join([*(f"{name:>12}  {value:>12}  {how}".rstrip() for name, value, how in lines), assumed])

    def check(self) -> None:
        """Raise a ValueError, with advice, if the run does not fit."""
        if self.available is not None and self.memory > self.available:
            raise ValueError(
                f"the run takes {size(self.memory)} of memory, and {size(self.available)} are available: "
                "take a smaller group of classes, fewer images a class, or a smaller model"
            )
        if self.free is not None and self.disk > self.free:
            raise ValueError(f"the run takes {size(self.disk)} of disk, and {size(self.free)} are free: make room")


def estimate(measured: Measured, work: Work) -> Plan:
    """What that work takes, at that pace.

    For several devices, measure a batch of one device's share, and count its share of `real_images`; what travels
    between devices is not counted. Images done lie in main memory, three times when the set is written, and twice on
    disk until the state is removed.

    >>> measured = Measured(first=0.5, step=0.5, between=2.0, device="an example")
    >>> work = Work(0, 0, 0, batches=10, steps=100, saves=0, batch=10, images=100, image=12288)
    >>> estimate(measured, work).seconds
    518.0
    """
    m, w = measured, work
    images, rounds = w.images * w.image, min(w.batches, 1)
    teaching = w.train_steps * m.train + w.test_images * m.test
    distilling = rounds * (m.setup + w.steps * m.first) + (w.batches - rounds) * (w.steps * m.step + m.between)
    distilling += w.batches * w.saves * m.save
    cached, each = "in the cache", f"{w.steps:,} steps of {duration(m.step)}"
    phases = (
        ("start", m.start, "imports, data, the first use of everything"),
        ("teacher", teaching, f"{w.train_steps:,} steps of {duration(m.train)}" if w.train_steps else cached),
        (
            "real side",
            w.real_images * m.real,
            f"{w.real_images:,} images, {duration(m.real)} each" if w.real_images else f"{cached}, or not needed",
        ),
        ("distillation", distilling, f"{w.batches:,} batches of {w.batch:,} images, {each}"),
        ("writing", m.finish, f"{w.images:,} images"),
    )
    memory = m.memory + 3 * images if m.memory and not m.device.startswith("cuda") else m.memory
    return Plan(phases, memory, 2 * images + 2 * m.state + m.kept, m.device, m.steps)


def plan(
    benchmark: Benchmark,
    *,
    seed: int | None = None,
    out: str | Path = ".",
    save_every: int = 0,
    root: str | Path | None = None,
    device: str = "cpu",
) -> Plan:
    """What `unidd distill` with these options will take here.

    Args:
        seed: by default the benchmark's first.
        out: where the set is to lie, for the disk's free space.
        save_every: as of `unidd.engine.distillation.distill`.
        root: where downloads lie.
    Raises:
        ValueError: the data, the model or the settings are wrong; not even a step fits the memory.
    """
    seed = benchmark.seeds[0] if seed is None else seed
    available = available_memory(device)
    task = (benchmark, seed, save_every, root, device, available, time.time())
    child = subprocess.run(
        [sys.executable, "-c", _MEASURE],
        input=pickle.dumps(task),
        capture_output=True,
        check=False,
    )
    try:
        found = pickle.loads(child.stdout)
    except (pickle.UnpicklingError, EOFError):
        last = (child.stderr.decode().strip().splitlines() or [""])[-1]
        reason = f"signal {-child.returncode}" if child.returncode < 0 else last
        raise ValueError(f"measuring broke off ({reason}): is the memory of {size(available or 0)} enough?") from None
    if isinstance(found, Exception):
        raise found
    return replace(estimate(*found), available=available, free=shutil.disk_usage(nearest(out)).free)


def _child() -> None:
    """Measure the task on standard input; what is found, or what went wrong, goes to standard output."""
    benchmark, seed, save_every, root, device, available, began = pickle.load(sys.stdin.buffer)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed meanwhile
    keep_memory()
    try:
        if device == "cpu":
            limit_memory(available)
        found = measure(benchmark, seed, load(benchmark.dataset, root, device), save_every, began)
    except (ValueError, OSError) as error:
        found = error
    out.write(pickle.dumps(found))
    out.flush()


def measure(
    benchmark: Benchmark, seed: int, data: ImageData, save_every: int = 0, began: float | None = None
) -> tuple[Measured, Work]:
    """In this process: every part of the run that is still to be done.

    Args:
        began: when this process was started, by `time.time`.
    Raises:
        ValueError: a step does not fit the memory; the message says what does.
    """
    benchmark.check(data)
    config, training = benchmark.distillation(seed, data), benchmark.training()
    taught = (teacher_folder(data, benchmark.network(), training)[0] / "card.json").exists()
    shape = data.channels, data.size, data.classes
    network = benchmark.teacher(data).model if taught else build(benchmark.network(), *shape).to(data.device)
    done = Measured(start=time.time() - began if began else 0.0)
    if not taught:
        done += _fitting("a step of the teacher's training", lambda: measure_training(network, data, training))
    teacher, statistics, real = Teacher(network.eval().requires_grad_(False), 0.0, ""), None, False
    if config.filter != "none" and config.steps:
        statistics = kept_statistics(config, data, network)
        if statistics is None:
            real = True
            part, statistics = _fitting("the pass over the real data", lambda: measure_real_side(config, data, network))
            done += part
    if config.steps:
        done += _measure_steps(config, data, teacher, statistics)
    done += measure_finish(data)
    done += Measured(memory=peak_memory(data.device), device="" if done.device else describe(data.device))
    return done, Work.of(config, data, None if taught else training, real, save_every)


def _measure_steps(config: DistillConfig, data: ImageData, teacher: Teacher, statistics) -> Measured:
    """As `measure_steps`; if a batch does not fit the memory, halve it to say what does."""
    group = tried = config.group or data.classes
    while tried:
        release_memory()
        try:
            found = measure_steps(replace(config, group=tried), data, teacher, statistics)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            tried = -(-tried // 2) if tried > 1 else 0
            continue
        if tried < group:
            raise ValueError(f"a step of {group} images does not fit the memory: add --group {tried}, which does")
        return found
    raise ValueError("a step of a single image does not fit the memory: take a smaller model")


def _fitting(what: str, work: Callable):
    release_memory()
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            raise ValueError(f"{what} does not fit the memory: take a smaller model") from None
        raise
