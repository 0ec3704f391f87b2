"""Measure what the parts of a run take on this device: a few steps of each, by the code of the run itself."""

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import nn

from ..core.statistics import Moments, real_statistics
from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from ..engine.checkpoint import Checkpoint
from ..engine.descent import Objective, Position, steps
from ..engine.realside import Layers
from ..engine.run import Run
from ..methods import Descending, Part
from ..networks.models import real_batch, tapped_layers
from ..networks.training import Teacher, TrainConfig, accuracy, trial
from .counted import Counter
from .machine import describe, peak_memory, wait

_PATIENCE = 10.0  # seconds for the steps of distillation, and half of it for those of each other part
_FEWEST, _MOST = 5, 100  # steps of a batch that are measured
_COUNTED = 16  # of them where operations are counted


def _now() -> float:
    """Return the seconds of the counter that runs, or else of the clock."""
    return Counter.running.seconds if Counter.running else time.perf_counter()


@dataclass(frozen=True)
class Measured:
    """What the parts of a run took: seconds, and bytes.

    Attributes:
        start: once: imports, the data, the first use of everything.
        train: a step of the teacher's training.
        parts: what each of the method's parts takes for one of what it counts, see `unidd.methods.Part`.
        test: a test image through the teacher.
        real: an image in the pass over the real data.
        setup: from the statistics to the first step: the eigendecompositions.
        first, step: a step of the first batch; of a later one, where there is a moving update.
        between: what the end of a batch and the beginning of the next add: state, images, the batch's real side.
        save: keeping the state within a batch.
        finish: writing the set and its preview.
        memory: peak, of the process on a CPU, else of the device; 0 if the system does not tell.
        state: of a run on disk, without the images done.
        kept: teacher, experts and statistics that the run leaves in the cache.
        device: in words.
        steps: of distillation that were measured.
    """

    start: float = 0.0
    train: float = 0.0
    test: float = 0.0
    real: float = 0.0
    setup: float = 0.0
    first: float = 0.0
    step: float = 0.0
    between: float = 0.0
    save: float = 0.0
    finish: float = 0.0
    memory: int = 0
    state: int = 0
    kept: int = 0
    device: str = ""
    steps: int = 0
    parts: tuple[float, ...] = ()

    def __add__(self, other: "Measured") -> "Measured":
        """Add up parts measured one by one; the peak is that of both."""
        pairs: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in vars(self)}
        return replace(Measured(**pairs), memory=max(self.memory, other.memory))


def measure_training(network: nn.Module, data: ImageData, config: TrainConfig) -> Measured:
    """Time some steps of training; they change the network too little to matter."""
    once, *steps = _seconds(lambda: trial(network, data, config), data.device)
    seen = replace(data, test=data.test.take(torch.arange(min(500, len(data.test)), device=data.device)))
    tests = _seconds(lambda: accuracy(network, seen), data.device)
    kept = sum(tensor.nbytes for tensor in network.state_dict().values())
    step = mean(steps)
    return Measured(
        start=max(once - step, 0),
        train=step,
        test=min(tests) / len(seen.test),
        kept=kept,
        memory=peak_memory(data.device),
    )


def measure_part(part: Part, device: torch.device) -> Measured:
    """Time some trials of what a method does beside its descent."""
    once, *trials = _seconds(part.trial, device)
    found = mean(trials)
    return Measured(start=max(once - found, 0), parts=(found / part.each,), kept=part.kept, memory=peak_memory(device))


def measure_real_side(
    signal: str, data: ImageData, model: nn.Module, layers: Layers = None
) -> tuple[Measured, dict[str, Moments]]:
    """Time some batches of the pass over the real data; returns their statistics too."""
    n, names = len(data.train), tapped_layers(model, layers)
    size = math.ceil(n / math.ceil(n / real_batch(data.size, data.device)))
    batch, statistics = (data.train.images[:size], data.train.labels[:size]), {}

    def two() -> None:  # the second is merged
        statistics.update(real_statistics(model, [batch] * 2, names, signal, prepare=data.normalise))

    once, *passes = _seconds(two, data.device)
    kept = sum(t.nbytes for m in statistics.values() for t in (m.mean, m.scatter, m.cross))
    found = mean(passes)
    measured = Measured(start=max(once - found, 0), real=found / (2 * size), kept=kept, memory=peak_memory(data.device))
    return measured, statistics


def measure_steps(
    method: Descending, data: ImageData, teacher: Teacher, run: Run, patience: float = _PATIENCE
) -> Measured:
    """Time steps of the first two batches of a distillation, with their states on disk.

    Args:
        run: with the statistics of the real side, if the method needs them.
        patience: about how many seconds it may take; if a step takes longer, three of the first batch are all, and
            what is kept on disk is not measured.
    """
    began = time.perf_counter()
    probe = _timed(method, data, teacher, run, 3, 1)
    rough = probe.ends[0][2] - probe.ends[0][1]
    once = probe.ends[0][0] - probe.began
    here = (time.perf_counter() - began) / 3 if Counter.running else rough  # what a step takes of the patience
    if here > patience:
        return Measured(
            setup=max(once - rough, 0),
            first=rough,
            step=rough,
            memory=peak_memory(data.device),
            device=describe(data.device),
            steps=3,
        )
    count = _COUNTED if Counter.running else min(max(int(patience / 2 / here), _FEWEST), _MOST)
    with tempfile.TemporaryDirectory() as folder:
        timed = _timed(method, data, teacher, run, count, 2, Checkpoint(folder))
    first = _step(timed.ends[0])
    setup = timed.ready - timed.began + max(timed.ends[0][0] - timed.ready - first, 0)
    step, between = first, 0.0
    if len(timed.ends) > 1:
        step = _step(timed.ends[1])
        between = timed.ends[1][0] - timed.ends[0][-2] - first - step  # the last step closes its batch
    return Measured(
        start=max(once - (setup + first), 0),
        setup=setup,
        first=first,
        step=step,
        between=max(between, 0.0),
        save=timed.save,
        state=timed.bytes,
        memory=peak_memory(data.device),
        device=describe(data.device),
        steps=sum(map(len, timed.ends)),
    )


def measure_finish(data: ImageData) -> Measured:
    """Time the writing of a set of one image a class, and its preview; no time where operations are counted."""
    if Counter.running:
        return Measured()
    with tempfile.TemporaryDirectory() as folder:
        began = _now()
        result = SyntheticSet.from_real(data, 1)
        result.save(folder)
        result.preview().save(Path(folder) / "preview.png")
        return Measured(finish=_now() - began)


@dataclass
class _Timed:
    """When a run began, when its first step could be taken, when each step of each batch had ended; keeping a state."""

    began: float
    ready: float = 0.0
    ends: list[list[float]] = field(default_factory=list)
    save: float = 0.0
    bytes: int = 0


def _timed(
    method: Descending,
    data: ImageData,
    teacher: Teacher,
    run: Run,
    count: int,
    batches: int,
    checkpoint: Checkpoint | None = None,
) -> _Timed:
    """Take `count` steps of each of the first batches, keeping the state before and after the last one of each."""
    found = _Timed(_now())
    descent = replace(method.descent(data), steps=count)
    position = Position(data, method.start(data, run), descent, run.seed)
    objective = method.objective(data, teacher, run)
    found.ready = _now()
    with checkpoint or nullcontext():
        for taken in steps(objective, position):
            if taken.count in (1, 2, 3, count - 2, count - 1, count):  # a GPU may run ahead in between
                wait(data.device)
            if taken.count == 1:
                found.ends.append([])
            found.ends[-1].append(_now())
            if checkpoint and taken.last:
                checkpoint.save_batch(taken.batch.number, position.pixels(taken.batch.number))
            if checkpoint and taken.count in (count - 1, count):
                _save(found, checkpoint, objective, position, within=not taken.last)
            if taken.last and taken.batch.number == batches - 1:
                break
    return found


def _save(found: _Timed, checkpoint: Checkpoint, objective: Objective, position: Position, within: bool) -> None:
    """Keep a state; one within a batch counts in its own account, and not in that of the step after it."""
    began = _now()
    checkpoint.save({"position": position.pack(), "objective": objective.state()})
    found.bytes = max(found.bytes, checkpoint.path.stat().st_size)
    if within:
        found.save = found.save or _now() - began
        found.ends[-1][-1] += _now() - began


def _step(ends: list[float]) -> float:
    """Return the mean seconds of a step; the mean, since slow steps are part of a run as well.

    Left out are the first step, which ends what was put off to it, the last, which closes the batch, and the one before
    it, after which a state was kept.
    """
    return mean(later - earlier for earlier, later in pairwise(ends[:-2]))


def _seconds(work: Callable[[], object], device: torch.device) -> list[float]:
    """Return the seconds of at least three calls, the first of which is a warm-up."""
    seconds: list[float] = []
    most = 3 if Counter.running else _MOST  # where operations are counted, each call takes what the others do
    while len(seconds) < 3 or (sum(seconds[1:]) < _PATIENCE / 2 and len(seconds) < most):
        began = _now()
        work()
        wait(device)
        seconds.append(_now() - began)
    return seconds
