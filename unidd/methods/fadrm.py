"""FADRM: real patches that descend as SRe2L's noise does, and are blended in again between stages.

The loss stands in `unidd.methods._recovering`, the patches in `unidd.methods._patches`: they are RDED's, where the
released code reads ready-made ones. After each stage but the last x ← αx + (1 − α)·patch, and Adam begins anew; the
rate falls along one cosine over all stages.

Images keep one size. The released code changes it from stage to stage on ImageNet (200, 224, 200, 224 pixels), not on
smaller images; it also runs the network in half precision. Meant to be evaluated with online soft labels; the labels of
the set are hard.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from torch import Generator, Tensor

from ..data.datasets import ImageData
from ..engine.descent import Batch, Descent, Start, Step
from ..engine.parallel import Ranks
from ..engine.run import Run
from ..networks.training import Teacher
from . import Count, Range, Whole
from ._patches import Patching
from ._recovering import Recovering, Recovery


@dataclass(frozen=True)
class FADRM(Patching, Recovering):
    """Data residual matching: SRe2L's loss from real patches, which are blended in again between stages.

    One teacher, with batch norm. From a set that was given, its images are what is blended in.

    Args:
        steps: steps of a round, all stages together.
        stages: parts of a round, between which real patches are blended in.
        alpha: α, the share of an image that stays as it is where its patch is blended in.
    """

    steps: Count = 2000
    stages: Whole = 4
    alpha: Annotated[float, Range(0, 1)] = 0.5

    source: ClassVar[str] = (
        "Cui et al., FADRM: Fast and Accurate Data Residual Matching for Dataset Distillation, arXiv 2506.24125, 2025"
    )
    acts_as: ClassVar[str] = (
        "none said by the theory: its loss is SRe2L's, λ on the diagonal alone, and its start and residual are real"
    )
    presets_source: ClassVar[str] = "the released code, scripts"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar100": {},
        "tiny-imagenet": {},
        "imagenet": {"shift": 32, "factor": 2},
    }

    @property
    def stage(self) -> int:
        """Steps of a stage; the last may have fewer."""
        return max(1, -(-self.steps // self.stages))

    def descent(self, data: ImageData) -> Descent:
        return replace(super().descent(data), optimizer=partial(Restarting, every=self.stage))

    def prepared(self, start: Start, data: ImageData, teacher: Teacher, run: Run) -> Start:
        if start.given:
            return start
        images, _ = run.ranks.from_first(lambda: self.mosaics(data, teacher, run))
        return start.shown(images.to(data.device))

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "Blended":
        return Blended(self, teacher, run.ranks)


class Restarting(torch.optim.Adam):
    """Adam (0.5, 0.9) that forgets what it knows after every so many steps; its state says when that is."""

    def __init__(self, parameters, lr: float, every: int):
        super().__init__(parameters, lr, betas=(0.5, 0.9))
        self.every = every

    def step(self, closure: Any = None) -> Any:
        if any(int(state["step"]) == self.every for state in self.state.values()):
            self.state.clear()
        return super().step(closure)


class Blended(Recovery):
    """The loss of FADRM; it blends in what a batch started from, and keeps that from step to step."""

    def __init__(self, method: FADRM, teacher: Teacher, ranks: Ranks):
        super().__init__(method, teacher.model, ranks.all_sum)
        self.ranks, self.patches = ranks, None
        self.restored: Tensor | None = None

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        if self.restored is not None:
            self.patches = self.restored[self.ranks.slot(batch.size)].to(batch.labels.device)
            self.restored = None

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        if t == 0:
            self.patches = x.detach().clone()
        elif t % self.method.stage == 0 and self.patches is not None:
            with torch.no_grad():
                x.lerp_(self.patches, 1 - self.method.alpha)
        return super().step(x, t, generator)

    def state(self) -> dict:
        return {"patches": None if self.patches is None else self.ranks.gather(self.patches)}

    def restore(self, state: dict) -> None:
        self.restored = state["patches"]
