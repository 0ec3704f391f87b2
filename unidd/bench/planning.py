"""Plan a run before it starts: its time, memory and disk.

`plan` measures a few real steps in a process of its own, so that its peak memory is the run's. `estimate` scales any
measurement by the work there is, in closed form, and so also for a machine that is not at hand.
"""

import importlib
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..core.frozen import frozen
from ..data.datasets import ImageData
from ..data.remarks import say_plainly
from ..data.synthetic import SyntheticSet, choose
from ..engine.descent import Descent, Start
from ..engine.realside import kept_statistics
from ..engine.run import Run
from ..files import nearest
from ..methods import Descending, Part
from ..networks.models import build
from ..networks.training import NOBODY, Teacher, TrainConfig, teacher_folder
from .cell import Cell
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
from .measuring import (
    Measured,
    measure_finish,
    measure_part,
    measure_real_side,
    measure_steps,
    measure_training,
)


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
        parts: what the method does beside its descent: name, how many, of what.
        held: bytes of main memory that these take and their trials do not.
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
    parts: tuple[tuple[str, int, str], ...] = ()
    held: int = 0

    @staticmethod
    def of(
        data: ImageData,
        images: int,
        training: TrainConfig | None = None,
        descent: Descent | None = None,
        start: Start | None = None,
        *,
        real: bool = False,
        save_every: int = 0,
        parts: Sequence[Part] = (),
    ) -> "Work":
        """Count what one process has to do.

        Args:
            images: in the set.
            training: of the teacher; None if none is to be trained.
            descent, start: of the images; None for a method that only chooses.
            real: whether the pass over the real data is still to come.
            parts: of the method.
        """
        sizes, steps = (start.sizes, descent.steps) if descent and start and descent.steps else ((), 0)
        return Work(
            train_steps=training.steps(len(data.train)) if training else 0,
            test_images=len(data.test) if training else 0,
            real_images=len(data.train) if real else 0,
            batches=len(sizes),
            steps=steps,
            saves=(steps - 1) // save_every if save_every and steps else 0,
            batch=max(sizes, default=0),
            images=images,
            image=4 * data.channels * data.size**2,
            parts=tuple((part.name, part.count, part.unit) for part in parts),
            held=sum(part.held for part in parts),
        )


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        phases: name, seconds and where they come from.
        memory, disk: bytes.
        device: where it was measured, from so many steps.
        available, free: bytes of memory and of disk there are; None: not asked.
        images: of the set.
    """

    phases: tuple[tuple[str, float, str], ...]
    memory: int
    disk: int
    device: str
    steps: int
    available: int | None = None
    free: int | None = None
    images: int = 0

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds, _ in self.phases)

    def text(self) -> str:
        """Return a table for people, and what it assumes."""
        available = "" if self.available is None else f"of {size(self.available)} available"
        free = "" if self.free is None else f"of {size(self.free)} free"
        lines = [
            *((name, duration(seconds) if seconds else "–", how) for name, seconds, how in self.phases),
            ("time", duration(self.seconds), ""),
            ("memory", size(self.memory) if self.memory else "unknown", available),
            ("disk", size(self.disk), free),
        ]
        assumed = f"Measured on {self.device}. Assumes that nothing else computes there meanwhile."
        if self.steps:
            assumed = (
                f"Measured from {self.steps} steps on {self.device}. Assumes that nothing else computes there "
                "meanwhile, and that later rounds cost what the second does."
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
    """Return what that work takes, at that pace.

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
    cached = "in the cache, or not needed"
    batches = f"{w.batches:,} batch" + "es" * (w.batches != 1)
    descends = f"{batches} of {w.batch:,} images, {w.steps:,} steps of {duration(m.step)}"
    beside = [
        (name, count * each, f"{count:,} {unit}, {duration(each)} each")
        for (name, count, unit), each in zip(w.parts, m.parts, strict=True)
    ]
    phases = (
        ("start", m.start, "imports, data, the first use of everything"),
        ("teacher", teaching, f"{w.train_steps:,} steps of {duration(m.train)}" if w.train_steps else cached),
        *beside,
        (
            "real side",
            w.real_images * m.real,
            f"{w.real_images:,} images, {duration(m.real)} each" if w.real_images else cached,
        ),
        ("distillation", distilling, descends if w.batches else "nothing descends"),
        ("writing", m.finish, f"{w.images:,} images"),
    )
    memory = m.memory + 3 * images + w.held if m.memory and not m.device.startswith("cuda") else m.memory
    disk = 2 * images + 2 * m.state + m.kept
    return Plan(phases, memory, disk, m.device, m.steps, images=w.images)


def plan(
    cell: Cell,
    *,
    seed: int | None = None,
    out: str | Path = ".",
    save_every: int = 0,
    start: SyntheticSet | None = None,
    root: str | Path | None = None,
    device: str = "cpu",
    teacher: str | Path | None = None,
    statistics: str | Path | None = None,
) -> Plan:
    """Say what `unidd distill` with these options will take here.

    Args:
        seed: by default the cell's first.
        out: where the set is to lie, for the disk's free space.
        save_every: see `unidd.engine.run.Run`.
        start: a set to start from, of which `SyntheticSet.part_for` takes what the run does.
        root: where downloads lie.
        teacher: a file of weights or a folder, see `Teacher.load`, in place of one that is trained.
        statistics: of the real side, in place of a pass over the images, see `unidd.engine.released`.
    Raises:
        ValueError: the data, the model or the settings are wrong; not even a step fits the memory.
    """
    available = available_memory(device)
    run = cell.run(cell.seeds[0] if seed is None else seed, save_every=save_every, start=start)
    with ProcessPoolExecutor(1, get_context("spawn"), _become_small_run, (device, available)) as pool:
        files = teacher, statistics
        try:
            found = pool.submit(_measure_there, cell, run, root, device, time.time(), *files).result()
        except BrokenProcessPool:
            raise ValueError(f"measuring broke off: is the memory of {size(available or 0)} enough?") from None
    return replace(estimate(*found), available=available, free=shutil.disk_usage(nearest(out)).free)


def _become_small_run(device: str, available: int | None) -> None:
    """Make this process like one of the command; what it prints goes to standard error."""
    os.dup2(2, 1)
    warnings.formatwarning = lambda message, *_, **__: f"note: {message}\n"
    importlib.import_module("unidd.cli")
    say_plainly()
    keep_memory()
    if device == "cpu":
        limit_memory(available)


def _measure_there(
    cell: Cell,
    run: Run,
    root: str | Path | None,
    device: str,
    began: float,
    teacher: str | Path | None,
    statistics: str | Path | None,
) -> tuple[Measured, Work]:
    data = cell.source.load(root, device)
    brought = cell.brought(teacher, data) if teacher else cell.given.load(data, cell.model)
    if brought:
        data, cell = brought.seen(data), cell.taught_by(brought)
    if statistics := statistics or cell.given.statistics:
        run = replace(run, statistics=cell.method.read_statistics(statistics, data, brought))
    if run.start:
        run = replace(run, start=run.start.part_for(data, run.ipc))
    return measure(cell, run, data, began, brought)


def measure(
    cell: Cell, run: Run, data: ImageData, began: float | None = None, brought: Teacher | None = None
) -> tuple[Measured, Work]:
    """Measure, in this process, every part of the run that is still to be done.

    Args:
        began: when this process was started, by `time.time`.
        brought: the teacher, in place of the cell's own.
    Raises:
        ValueError: a step does not fit the memory; the message says what does.
    """
    cell.check(data, start=run.start)
    method, training = cell.method, cell.training()
    folder = teacher_folder(data, cell.network(), training, run.seed)[0]
    to_train = method.needs_teacher and not brought and not (folder / "card.json").exists()
    done = Measured(start=time.time() - began if began else 0.0)
    network = None
    if to_train:
        network = build(cell.network(), data.channels, data.size, data.classes).to(data.device)
        done += _fitting("a step of the teacher's training", lambda: measure_training(network, data, training))
    elif method.needs_teacher:
        network = (brought or cell.teacher(data, run.seed)).model
    chosen = run.start or (choose(data, run.ipc) if method.has_ipc else data.train)
    work: dict[str, Any] = {"images": len(chosen)}
    teacher = Teacher(network) if network else NOBODY
    with frozen(teacher.model):
        if isinstance(method, Descending):
            work |= {"descent": method.descent(data), "start": method.start(data, run), "save_every": run.save_every}
            method.check_teacher(data, teacher)
            found, work["real"] = _measure_descent(method, data, teacher, run)
            done += found
        work["parts"] = [part for part in method.parts(data, teacher, run) if part.count]
        for part in work["parts"]:
            done += _fitting(f"a part of the run, {part.name},", partial(measure_part, part, data.device))
    done += measure_finish(data)
    done += Measured(memory=peak_memory(data.device), device="" if done.device else describe(data.device))
    return done, Work.of(data, training=training if to_train else None, **work)


def _measure_descent(method: Descending, data: ImageData, teacher: Teacher, run: Run) -> tuple[Measured, bool]:
    """Measure the steps, and the real side if it is to be taken; say whether it is."""
    done, signal, real = Measured(), method.real_signal, False
    if signal:
        of = signal, data, teacher.model
        statistics = run.statistics or kept_statistics(*of, method.real_layers)
        if statistics is None:
            real = True
            measured = _fitting("the pass over the real data", lambda: measure_real_side(*of, method.real_layers))
            done, statistics = measured
        run = replace(run, statistics=statistics)
    if method.descent(data).steps:
        done += _measure_steps(method.rehearsed(data, run), data, teacher, run)
    return done, real


def _measure_steps(method: Descending, data: ImageData, teacher: Teacher, run: Run) -> Measured:
    """Measure steps; if a batch does not fit the memory, halve it to say what does."""
    can_shrink = "group" in {f.name for f in fields(method)}
    group = tried = max(method.start(data, run).sizes)
    while tried:
        release_memory()
        try:
            found = measure_steps(replace(method, group=tried) if can_shrink else method, data, teacher, run)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            tried = -(-tried // 2) if tried > 1 and can_shrink else 0
            continue
        if tried < group:
            raise ValueError(f"a step of {group} images does not fit the memory: add --group {tried}, which does")
        return found
    least = "a single image" if can_shrink else f"{group} images"
    raise ValueError(f"a step of {least} does not fit the memory: take a smaller model")


def _fitting(what: str, work: Callable):
    release_memory()
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            raise ValueError(f"{what} does not fit the memory: take a smaller model") from None
        raise
