"""The engine: curriculum frequency matching (CFM), its fixed-filter variants, and classification only.

Algorithm 1 of UniDD (arXiv 2503.01212), §4. Real side, once: the FFC Ψ and FLC Φ of the inputs of every convolution.
Synthetic side, in rounds b of one image a class: start from real images; at every step pass the augmented images
through the teacher and descend

    L = CE(h(A(x)), y) + η Σ_layers ( ‖f_b(Ψ) − f_b(Ψ_s)‖_F + ‖f_b(Ψ)Φ − f_b(Ψ_s)Φ_s‖_F ),   f_b(λ) = 1/(λ + β_b),

with Ψ_s, Φ_s the exponential moving update over the batches so far. A run that was killed goes on where it stood, and
several processes can share one. Chapter: "CFM, the algorithm and its cost".
"""

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from ..core.matching import Loss, Round, Statistics, step_loss
from ..core.statistics import Moments, RealSide, statistics_hash
from ..data import augment
from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet, choose
from ..networks.models import weights_hash
from ..networks.training import Teacher
from .checkpoint import Checkpoint
from .parallel import Ranks
from .precision import LossScale, half_precision
from .realside import check_statistics, real_side
from .settings import DistillConfig, beta_at, class_groups, layer_filter

_LOOK = 20  # steps between two looks at the loss, each of which waits for the device


def distill(
    config: DistillConfig,
    data: ImageData,
    teacher: Teacher,
    *,
    progress: bool = True,
    callback: Callable[[int, Tensor], None] | None = None,
    folder: str | Path | Checkpoint | None = None,
    save_every: int = 0,
    ranks: Ranks | None = None,
    statistics: dict[str, Moments] | None = None,
) -> SyntheticSet:
    """Distil `data` to `config.ipc` images of each class.

    Args:
        data: the real images, on the device to compute on.
        teacher: see `unidd.networks.training.teacher`.
        progress: show a bar with the loss terms and β.
        callback: called in the first process after each batch, with its round b (from 0) and its pixels (n, C, H, W)
            in [0, 1].
        folder: keeps the state of the run in <folder>/.state after every batch, and goes on from one found there; the
            caller saves the result and removes the state, see `unidd.engine.checkpoint.Checkpoint`.
        save_every: keep the state also after so many steps of a batch; 0 does not.
        ranks: the processes that share the work, see `unidd.engine.parallel`.
        statistics: of the real side, from `real_statistics` over any DataLoader: then `data` need hold no more than the
            images to start from. By default found in the cache, or worked out from `data`.
    Returns:
        ipc × classes images on the CPU, round b = 0 … B − 1 first, class by class within it; the same seed gives the
        same bits on a CPU with the same number of threads, however often the run was cut off.
    Raises:
        ValueError: ipc is above the size of a class; there are more processes than images in a batch; `statistics` are
            another teacher's or signal's; the loss is no longer finite; `folder` is another run's.
        ConnectionError: another process of the run has stopped.
        OSError: the state cannot be written.
    """
    ranks = ranks or Ranks()
    if config.steps == 0:
        return SyntheticSet.from_real(data, config.ipc, config.seed, asdict(config))
    start = choose(data, config.ipc, config.seed)
    check_shares(config, data.classes, ranks)
    if config.filter == "none":
        statistics = {}
    elif statistics is not None:
        check_statistics(statistics, config, data, teacher.model)
    if folder and not isinstance(folder, Checkpoint):
        folder = Checkpoint(folder, ranks=ranks)
    with folder or nullcontext() as checkpoint:
        state = checkpoint.load(identity(config, data, teacher, statistics)) if checkpoint else None
        if statistics is None:
            statistics = real_side(config, data, teacher.model, ranks, progress and ranks.first)
        real = {layer: RealSide.of(moments.to(data.device)) for layer, moments in statistics.items()}
        run = _Run(config, data, teacher.model, real, start, ranks, checkpoint, save_every)
        run.distil(state, callback, progress and ranks.first)
    labels, about = data.train.labels[start].cpu(), (asdict(config), teacher.card(), run.history)
    return SyntheticSet(run.images, labels, data.class_names, data.mean, data.std, *about)


def check_shares(config: DistillConfig, classes: int, ranks: Ranks) -> None:
    """Raise a ValueError if a batch has fewer images than there are processes."""
    for group in class_groups(config, classes):
        ranks.part(group.stop - group.start)


def identity(
    config: DistillConfig,
    data: ImageData,
    teacher: Teacher | None = None,
    statistics: dict[str, Moments] | None = None,
) -> dict:
    """What a run depends on, by name, as far as it is known: its state is of no use to another."""
    about = {**asdict(config), "data": data.fingerprint}
    about |= {"teacher": weights_hash(teacher.model)} if teacher else {}
    return about | ({"statistics": statistics_hash(statistics)} if statistics is not None else {})


@dataclass
class _Run:
    """The state of a distillation: batches done, and where the current one stands.

    Attributes:
        start: numbers of the training images to start from (ipc × classes,); `split` by batch.
        images: pixels of all batches, on the CPU; `parts` of it, by batch, are filled as batches are done.
        batch, step: where the run stands; `x` is None between batches.
        x: network input of the current batch, this process's part; with its optimiser.
        previous: synthetic statistics after the last batch.
    """

    config: DistillConfig
    data: ImageData
    teacher: nn.Module
    real: dict[str, RealSide]
    start: Tensor
    ranks: Ranks
    checkpoint: Checkpoint | None = None
    save_every: int = 0
    history: list[dict] = field(default_factory=list)
    previous: Statistics = field(default_factory=dict)
    batch: int = 0
    step: int = 0
    x: Tensor | None = None

    def __post_init__(self):
        self.dtype = torch.float64 if self.config.precision == "float64" else torch.float32
        if self.dtype == torch.float64:
            self.teacher = copy.deepcopy(self.teacher).double()
        self.half = half_precision(self.config.precision)
        self.scale = LossScale.of(self.half, self.data.device)
        self.generator = Generator().manual_seed(self.config.seed)
        groups = class_groups(self.config, self.data.classes)
        self.groups = len(groups)
        self.split = [numbers[group] for numbers in self.start.split(self.data.classes) for group in groups]
        self.images = torch.empty(len(self.start), *self.data.train.images.shape[1:])
        self.parts = self.images.split(list(map(len, self.split)))

    def distil(self, state: dict | None, callback, progress: bool) -> None:
        """All batches, or those that are left."""
        if state:
            self._restore(state)
            if progress:
                tqdm.write(f"going on from {self._where}")
        total = len(self.split) * self.config.steps
        with tqdm(total=total, initial=self._steps_done, desc=self.config.method, disable=not progress) as bar:
            for numbers in self.split[self.batch :]:
                pixels = self._finish(self._descend(numbers, bar))
                if callback and self.ranks.first:
                    callback((self.batch - 1) // self.groups, pixels)

    @property
    def _steps_done(self) -> int:
        return self.batch * self.config.steps + self.step

    def _descend(self, numbers: Tensor, bar: tqdm) -> Loss:
        """One batch of images, from its real start, or where it stood, through all steps."""
        config, part = self.config, self.ranks.part(len(numbers))
        share, labels = (len(numbers), part.start), self.data.train.labels[numbers[part]]
        matching = self._matching()
        black = torch.zeros(1, self.data.channels, 1, 1, device=self.data.device)
        low, high = (self.data.normalise(pixels).to(self.dtype) for pixels in (black, black + 1))
        if self.x is None:
            self._begin(numbers[part])
        while self.step < config.steps:
            self.optimizer.param_groups[0]["lr"] = config.lr * (1 + math.cos(math.pi * self.step / config.steps)) / 2
            augmented = augment.random_resized_crop(self.x, self.generator, (config.scale, 1.0), part=share)
            augmented = augment.roll(augment.flip(augmented, self.generator, share), self.generator, config.shift)
            try:
                loss = step_loss(
                    self.teacher, augmented, labels, matching, config.eta, batch=len(numbers), half=self.half
                )
            except torch.linalg.LinAlgError as error:
                raise ValueError(f"{self._where}: no finite loss ({error}): lower lr, or raise beta") from None
            last = self.step == config.steps - 1
            if last and config.emu:  # before the update, which may change the first layer's input in place
                self.previous = matching.statistics(loss)
            self._update(loss, low, high)
            if last or self.step % _LOOK == 0:
                self._look(loss, bar)
                self.scale.adapt(self.ranks.total)
            if self.checkpoint and self.save_every and self.step % self.save_every == 0 and not last:
                self._look(loss, bar)
                self._save()
        return loss

    def _matching(self) -> Round:
        config = self.config
        filters = {layer: layer_filter(config, self.batch // self.groups, side) for layer, side in self.real.items()}
        return Round.of(
            self.real,
            filters,
            signal=config.signal,
            normalised=config.normalised,
            previous=self.previous,
            count=self.batch + 1,
            dtype=self.dtype,
            total=self.ranks.total,
        )

    def _begin(self, numbers: Tensor) -> None:
        self.x = self.data.normalise(self.data.train.images[numbers]).to(self.dtype).requires_grad_()
        self.optimizer = torch.optim.Adam([self.x], self.config.lr, betas=(0.5, 0.9))

    def _update(self, loss: Loss, low: Tensor, high: Tensor) -> None:
        self.x.grad = self.scale.clean(loss.gradient(self.x, self.scale.factor))
        self.optimizer.step()
        with torch.no_grad():
            self.x.clamp_(low, high)
        self.step += 1

    def _finish(self, loss: Loss) -> Tensor:
        """Close a batch: its pixels and its line in the history."""
        b, g = divmod(self.batch, self.groups)
        entry = {"b": b, "beta": beta_at(self.config, b), **self._terms(loss)}
        self.history.append(entry | ({"group": g} if self.groups > 1 else {}))
        pixels = self.data.denormalise(self.ranks.gather(self.x.detach())).clamp(0, 1).float()
        if not pixels.isfinite().all():
            raise ValueError(f"{self._where}: the gradient is not finite: lower lr, or raise beta")
        self.parts[self.batch].copy_(pixels)
        if self.checkpoint:
            self.checkpoint.save_batch(self.batch, pixels)
        self.batch, self.step, self.x = self.batch + 1, 0, None
        if self.checkpoint:
            self._save()
        return pixels

    @property
    def _where(self) -> str:
        b, g = divmod(self.batch, self.groups)
        return f"round {b}, " + (f"group {g}, " if self.groups > 1 else "") + f"step {self.step}"

    def _look(self, loss: Loss, bar: tqdm) -> None:
        terms = self._terms(loss)
        if not all(map(math.isfinite, terms.values())):
            raise ValueError(f"{self._where}: the loss is not finite ({terms}): lower lr, or raise beta")
        beta = beta_at(self.config, self.batch // self.groups)
        bar.set_postfix(beta=f"{beta:.3g}", **{k: f"{v:.3g}" for k, v in terms.items()}, refresh=False)
        bar.update(self._steps_done - bar.n)

    def _terms(self, loss: Loss) -> dict[str, float]:
        classification = loss.classification.detach().clone()
        if self.ranks.total:
            self.ranks.total(classification)
        return dict(
            zip(
                ("classification", "filter", "signal"),
                torch.stack((classification, loss.filter.detach(), loss.signal.detach())).tolist(),
                strict=True,
            )
        )

    def _save(self) -> None:
        state = {
            "batch": self.batch,
            "step": self.step,
            "history": self.history,
            "previous": self.previous,
            "generator": self.generator.get_state(),
            "scale": self.scale.state(self.ranks.total),
            "x": None,
        }
        if self.x is not None:
            moments = self.optimizer.state[self.x]
            state["x"] = self.ranks.gather(self.x.detach())
            state["adam"] = {k: self.ranks.gather(v) if v.ndim else v for k, v in moments.items()}
        self.checkpoint.save(state)

    def _restore(self, state: dict) -> None:
        device = self.data.device
        self.batch, self.step, self.history = state["batch"], state["step"], state["history"]
        for b in range(self.batch):
            self.parts[b].copy_(self.checkpoint.load_batch(b))
        self.previous = {k: tuple(t.to(device) for t in pair) for k, pair in state["previous"].items()}
        self.scale.restore(state["scale"])
        self.generator.set_state(state["generator"])
        if state["x"] is not None:
            part = self.ranks.part(len(self.split[self.batch]))
            self._begin(self.split[self.batch][part])
            with torch.no_grad():
                self.x.copy_(state["x"][part])
            self.optimizer.state[self.x] = {k: v[part].to(device) if v.ndim else v for k, v in state["adam"].items()}
