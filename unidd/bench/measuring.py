"""What the parts of a run take on this device: a few steps of each, by the code of the run itself."""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean

import torch
from torch import nn

from ..core.statistics import Moments, real_statistics
from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from ..engine.checkpoint import Checkpoint
from ..engine.distillation import distill
from ..engine.realside import real_batch
from ..engine.settings import DistillConfig
from ..networks.models import tapped_layers
from ..networks.training import Teacher, TrainConfig, accuracy, train
from .machine import describe, peak_memory, wait

_PATIENCE = 10.0  # seconds for the steps of distillation, and half of it for those of each other part
_FEWEST, _MOST = 5, 250  # steps of a batch that are measured


@dataclass(frozen=True)
class Measured:
    """What the parts of a run took: seconds, and bytes.

    Attributes:
        start: once: imports, the data, the first use of everything.
        train: a step of the teacher's training.
        test: a test image through the teacher.
        real: an image in the pass over the real data.
        setup: from the statistics to the first step: the eigendecompositions.
        first, step: a step of the first batch; of a later one, where there is a moving update.
        between: what the end of a batch and the beginning of the next add: state, images, the round's real side.
        save: keeping the state within a batch.
        finish: writing the set and its preview.
        memory: peak, of the process on a CPU, else of the device; 0 if the system does not tell.
        state: of a run on disk, without the images done.
        kept: teacher and statistics that the run leaves in the cache.
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

    def __add__(self, other: "Measured") -> "Measured":
        """Parts measured one by one; the peak is that of both."""
        pairs = {name: getattr(self, name) + getattr(other, name) for name in vars(self)}
        return Measured(**pairs | {"memory": max(self.memory, other.memory)})


def measure_training(network: nn.Module, data: ImageData, config: TrainConfig) -> Measured:
    """`network` takes some steps of training, too small to matter."""
    images, labels = data.normalise(data.train.images), data.train.labels
    size = math.ceil(len(images) / math.ceil(len(images) / config.batch))
    config = replace(config, epochs=1, batch=size, lr=1e-6)
    once, *steps = _seconds(lambda: train(network, images[:size], labels[:size], config), data.device)
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


def measure_real_side(config: DistillConfig, data: ImageData, model: nn.Module) -> tuple[Measured, dict[str, Moments]]:
    """Some batches of the pass over the real data, and their statistics."""
    size, layers = math.ceil(len(data.train) / math.ceil(len(data.train) / real_batch(data.size))), tapped_layers(model)
    batch, statistics = (data.train.images[:size], data.train.labels[:size]), {}

    def two() -> None:  # the second is merged
        statistics.update(real_statistics(model, [batch] * 2, layers, config.signal, prepare=data.normalise))

    once, *passes = _seconds(two, data.device)
    kept = sum(t.nbytes for m in statistics.values() for t in (m.mean, m.scatter, m.cross))
    found = mean(passes)
    measured = Measured(start=max(once - found, 0), real=found / (2 * size), kept=kept, memory=peak_memory(data.device))
    return measured, statistics


def measure_steps(
    config: DistillConfig,
    data: ImageData,
    teacher: Teacher,
    statistics: dict[str, Moments] | None = None,
    patience: float = _PATIENCE,
) -> Measured:
    """Steps of the first two batches of a distillation, with their states on disk.

    Args:
        statistics: of the real side, see `unidd.engine.distillation.distill`.
        patience: about how many seconds it may take; if a step takes longer, three of the first batch are all, and
            what is kept on disk is not measured.
    """
    began, probe, _ = _begins(config, data, teacher, statistics, 3, 1)
    rough, once = probe[0][2] - probe[0][1], probe[0][1] - began
    if rough > patience:
        return Measured(
            setup=max(once - rough, 0),
            first=rough,
            step=rough,
            memory=peak_memory(data.device),
            device=describe(data.device),
            steps=len(probe[0]),
        )
    steps = min(max(int(patience / 2 / rough), _FEWEST), _MOST)
    with tempfile.TemporaryDirectory() as folder:
        state = _WatchedCheckpoint(folder)
        began, begins, end = _begins(config, data, teacher, statistics, steps, 2, state)
    first = _step(begins[0])
    setup = begins[0][0] - began + _excess(begins[0], first)
    step, between = first, 0.0
    if len(begins) > 1 and len(begins[1]) == steps:
        step = _step(begins[1])
        after = begins[2][0] if len(begins) > 2 and begins[2] else end
        between = after - begins[1][-1] - step + _excess(begins[1], step)
    return Measured(
        start=max(once - (setup + first), 0),
        setup=setup,
        first=first,
        step=step,
        between=max(between, 0.0),
        save=state.seconds[0],
        state=state.bytes,
        memory=peak_memory(data.device),
        device=describe(data.device),
        steps=sum(map(len, begins[:2])),
    )


def measure_finish(data: ImageData) -> Measured:
    """Writing a set of one image a class, and its preview."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = SyntheticSet.from_real(data, 1)
        result.save(folder)
        result.preview().save(Path(folder) / "preview.png")
        return Measured(finish=time.perf_counter() - began)


class _Enough(Exception):
    """What was to be measured is."""


class _WatchedCheckpoint(Checkpoint):
    """Notes how long it takes to keep a state, and the largest."""

    def __init__(self, folder: str):
        super().__init__(folder)
        self.seconds: list[float] = []
        self.bytes = 0

    def save(self, state: dict) -> None:
        began = time.perf_counter()
        super().save(state)
        self.seconds.append(time.perf_counter() - began)
        self.bytes = max(self.bytes, self.path.stat().st_size)


def _begins(
    config, data, teacher, statistics, steps: int, batches: int, checkpoint: Checkpoint | None = None
) -> tuple[float, list[list[float]], float]:
    """When a run of so many steps a batch began, when each step did, by batch, and when it ended.

    It is broken off at the first step after so many batches. A step begins when it calls the network.
    """
    begins: list[list[float]] = [[]]

    def note(*_) -> None:
        if len(begins[-1]) in (0, 1, 2, steps - 2, steps - 1):  # a GPU may run ahead in between
            wait(data.device)
        begins[-1].append(time.perf_counter())
        if len(begins) > batches:
            raise _Enough

    config = replace(config, steps=steps)
    options = {"progress": False, "callback": lambda *_: begins.append([]), "statistics": statistics}
    handle, began = teacher.model.register_forward_pre_hook(note), time.perf_counter()
    try:
        distill(config, data, teacher, folder=checkpoint, save_every=steps - 1, **options)
    except _Enough:
        pass
    finally:
        handle.remove()
    return began, begins, time.perf_counter()


def _step(begins: list[float]) -> float:
    """Seconds of a step: not the first, which ends what was put off to it, nor the last two, about a state.

    The mean, since slow steps are part of a run as well.
    """
    return mean(later - earlier for earlier, later in pairwise(begins[1:-1]))


def _excess(begins: list[float], step: float) -> float:
    return max(begins[1] - begins[0] - step, 0.0)


def _seconds(work: Callable[[], object], device: torch.device) -> list[float]:
    """Of at least three calls, the first of which is a warm-up."""
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds[1:]) < _PATIENCE / 2 and len(seconds) < _MOST):
        began = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - began)
    return seconds
