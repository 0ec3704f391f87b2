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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from . import augment
from .datasets import ImageData
from .matching import Loss, Round, Statistics, step_loss
from .models import tapped_layers
from .parallel import Ranks
from .settings import DistillConfig, beta_at, layer_filter
from .statistics import Moments, RealSide, real_statistics
from .store import Checkpoint, load_statistics, save_statistics, weights_hash
from .synthetic import SyntheticSet
from .training import Teacher, cache_folder

_LOOK = 20  # steps between two looks at the loss, each of which waits for the device
_LOSS_SCALE = 1024.0  # keeps float16 gradients off zero


def distill(
    config: DistillConfig,
    data: ImageData,
    teacher: Teacher,
    *,
    progress: bool = True,
    callback: Callable[[int, Tensor], None] | None = None,
    folder: str | Path | None = None,
    save_every: int = 0,
    ranks: Ranks | None = None,
    statistics: dict[str, Moments] | None = None,
) -> SyntheticSet:
    """Distil `data` to `config.ipc` images of each class.

    Args:
        data: the real images, on the device to compute on.
        teacher: see `unidd.training.teacher`.
        progress: show a bar with the loss terms and β.
        callback: called after each batch with its round b (from 0) and its pixels (n, C, H, W) in [0, 1].
        folder: keeps the state of the run in <folder>/.state after every batch, and goes on from one found there; the
            caller saves the result, see `finish`.
        save_every: keep the state also after so many steps of a batch; 0 does not.
        ranks: the processes that share the work, see `unidd.parallel`.
        statistics: of the real side, if they are known; else found in the cache, or worked out.
    Returns:
        ipc × classes images, the round b = 0 … B − 1 first, class by class within it; the same seed gives the same bits
        on a CPU with the same number of threads, however often the run was cut off.
    Raises:
        ValueError: ipc is above the size of a class; the loss is no longer finite; `folder` is another run's.
        OSError: the state cannot be written.
    """
    ranks = ranks or Ranks()
    start = SyntheticSet.from_real(data, config.ipc, config.seed, asdict(config))
    if config.steps == 0:
        return start
    identity = {"config": asdict(config), "data": data.fingerprint, "weights": weights_hash(teacher.model)}
    with Checkpoint(folder, identity, reader=not ranks.first) if folder else nullcontext() as checkpoint:
        if config.filter != "none" and statistics is None:
            statistics = real_side(config, data, teacher.model, ranks)
        real = {layer: RealSide.of(moments) for layer, moments in (statistics or {}).items()}
        run = _Run(config, data, teacher.model, real, ranks, checkpoint, save_every)
        run.distil(start, callback, progress and ranks.first)
    return replace(start, images=torch.cat(run.images), teacher=teacher.card(), history=run.history)


def real_side(config: DistillConfig, data: ImageData, teacher: nn.Module, ranks: Ranks) -> dict[str, Moments]:
    """Statistics of the real images before every matched layer: from the cache, or one pass shared by all processes.

    Raises:
        ValueError: the teacher's features are not finite.
    """
    layers = tapped_layers(teacher)
    identity = {
        "data": data.fingerprint, "weights": weights_hash(teacher), "layers": layers, "signal": config.signal
    }  # fmt: skip
    kept = cache_folder() / "statistics"
    statistics = ranks.from_first(lambda: load_statistics(kept, identity))
    if statistics is None:
        size = min(500, -(-len(data.train) // ranks.world))
        batches = list(zip(data.train.images.split(size), data.train.labels.split(size), strict=True))
        own = ((data.normalise(images), labels) for images, labels in batches[ranks.part(len(batches))])
        statistics = ranks.merge(real_statistics(teacher, own, layers, config.signal))
        for layer, moments in statistics.items():
            if not (moments.scatter.isfinite().all() and moments.cross.isfinite().all()):
                raise ValueError(f"the teacher's features before layer {layer} are not finite: train it again")
        if ranks.first:
            save_statistics(kept, identity, statistics)
    return {layer: moments.to(data.device) for layer, moments in statistics.items()}


@dataclass
class _Run:
    """The state of a distillation: batches done, and where the current one stands.

    Attributes:
        images: pixels of each batch done.
        batch, step: where the run stands; `x` is None between batches.
        x: network input of the current batch, this process's part; with its optimiser.
        previous: synthetic statistics after the last batch.
    """

    config: DistillConfig
    data: ImageData
    teacher: nn.Module
    real: dict[str, RealSide]
    ranks: Ranks
    checkpoint: Checkpoint | None = None
    save_every: int = 0
    images: list[Tensor] = field(default_factory=list)
    history: list[dict] = field(default_factory=list)
    previous: Statistics = field(default_factory=dict)
    batch: int = 0
    step: int = 0
    x: Tensor | None = None

    def __post_init__(self):
        self.dtype = torch.float64 if self.config.precision == "float64" else torch.float32
        if self.dtype == torch.float64:
            self.teacher = copy.deepcopy(self.teacher).double()
        half = self.config.precision in ("bfloat16", "float16")
        self.half = getattr(torch, self.config.precision) if half else None
        self.generator = Generator().manual_seed(self.config.seed)
        self.groups = -(-self.data.classes // (self.config.group or self.data.classes))

    def distil(self, start: SyntheticSet, callback, progress: bool) -> None:
        classes, group = self.data.classes, self.config.group or self.data.classes
        rounds = zip(start.images.split(classes), start.labels.split(classes), strict=True)
        split = [pair for r in rounds for pair in zip(*(side.split(group) for side in r), strict=True)]
        for _, labels in split:
            self.ranks.part(len(labels))  # raises now, not after hours
        state = self.checkpoint.load() if self.checkpoint else None
        if state:
            self._restore(state, split)
        total = len(split) * self.config.steps
        with tqdm(total=total, initial=self._steps_done, desc=self.config.method, disable=not progress) as bar:
            for pixels, labels in split[self.batch :]:
                pixels = self._finish(self._descend(pixels, labels, bar))
                if callback:
                    callback((self.batch - 1) // self.groups, pixels)

    @property
    def _steps_done(self) -> int:
        return self.batch * self.config.steps + self.step

    def _descend(self, pixels: Tensor, labels: Tensor, bar: tqdm) -> Loss:
        """One batch of images, from its real start, or where it stood, through all steps."""
        config, part = self.config, self.ranks.part(len(pixels))
        share, labels = (len(pixels), part.start), labels[part]
        matching = self._matching()
        low, high = (self.data.normalise(torch.full_like(pixels[:1], v)).to(self.dtype) for v in (0.0, 1.0))
        if self.x is None:
            self._begin(pixels[part])
        while self.step < config.steps:
            self.optimizer.param_groups[0]["lr"] = config.lr * (1 + math.cos(math.pi * self.step / config.steps)) / 2
            augmented = augment.random_resized_crop(self.x, self.generator, (config.scale, 1.0), part=share)
            augmented = augment.roll(augment.flip(augmented, self.generator, share), self.generator, config.shift)
            try:
                loss = step_loss(
                    self.teacher, augmented, labels, matching, config.eta, batch=len(pixels), half=self.half
                )
            except torch.linalg.LinAlgError as error:
                raise ValueError(f"{self._where}: no finite loss ({error}): lower lr, or raise beta") from None
            last = self.step == config.steps - 1
            if last and config.emu:  # before the update, which may change the first layer's input in place
                self.previous = matching.statistics(loss)
            self._update(loss, low, high)
            if last or self.step % _LOOK == 0:
                self._look(loss, bar)
            if self.save_every and self.step % self.save_every == 0 and not last:
                self._look(loss, bar)
                self._save()
        return loss

    def _matching(self) -> Round:
        config = self.config
        filters = {layer: layer_filter(config, self.batch // self.groups, side) for layer, side in self.real.items()}
        return Round.of(
            self.real, filters, signal=config.signal, normalised=config.normalised, previous=self.previous,
            count=self.batch + 1, dtype=self.dtype, total=self.ranks.total,
        )  # fmt: skip

    def _begin(self, pixels: Tensor) -> None:
        self.x = self.data.normalise(pixels).to(self.dtype).requires_grad_()
        self.optimizer = torch.optim.Adam([self.x], self.config.lr, betas=(0.5, 0.9))

    def _update(self, loss: Loss, low: Tensor, high: Tensor) -> None:
        self.x.grad = loss.gradient(self.x, _LOSS_SCALE if self.half is torch.float16 else 1.0)
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
        self.images.append(pixels)
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
        return dict(zip(("classification", "filter", "signal"), torch.stack(
            (classification, loss.filter.detach(), loss.signal.detach())).tolist(), strict=True))  # fmt: skip

    def _save(self) -> None:
        state = {
            "batch": self.batch, "step": self.step, "images": self.images, "history": self.history,
            "previous": self.previous, "generator": self.generator.get_state(), "x": None,
        }  # fmt: skip
        if self.x is not None:
            moments = self.optimizer.state[self.x]
            state["x"] = self.ranks.gather(self.x.detach())
            state["adam"] = {k: self.ranks.gather(v) if v.ndim else v for k, v in moments.items()}
        self.checkpoint.save(state)

    def _restore(self, state: dict, split: list[tuple[Tensor, Tensor]]) -> None:
        device = self.data.device
        self.batch, self.step, self.history = state["batch"], state["step"], state["history"]
        self.images = [images.to(device) for images in state["images"]]
        self.previous = {k: tuple(t.to(device) for t in pair) for k, pair in state["previous"].items()}
        self.generator.set_state(state["generator"])
        if state["x"] is not None:
            part = self.ranks.part(len(split[self.batch][1]))
            self._begin(split[self.batch][0][part])
            with torch.no_grad():
                self.x.copy_(state["x"][part])
            self.optimizer.state[self.x] = {k: v[part].to(device) if v.ndim else v for k, v in state["adam"].items()}
