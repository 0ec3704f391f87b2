"""What MTT and TESLA minimise: how far a student ends from where an expert is."""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..data.siamese import Draw, Siamese
from ..engine.descent import Batch, Objective, Step
from ..networks.trajectories import Experts
from ._unrolling import Loss

if TYPE_CHECKING:
    from .mtt import MTT


class TrajectoryMatching(Objective):
    """The loss of MTT and its gradient; it carries the rate β, and the experts that are still to come in a pass."""

    def __init__(self, method: "MTT", experts: Experts):
        self.method, self.experts, self.siamese = method, experts, Siamese(method.strategy)
        self.lr, self.velocity = method.lr_teacher, 0.0
        self.order: list[int] = []

    def begin(self, batch: Batch) -> None:
        self.labels = batch.labels

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        method = self.method
        self.order = self.order or torch.randperm(method.experts, generator=generator).tolist()
        number, epoch = self.order.pop(), int(torch.randint(method.max_start_epoch, (), generator=generator))
        start, goal = (self.experts.parameters(number, e).to(x) for e in (epoch, epoch + method.expert_epochs))
        losses, rate = self.losses(generator), x.new_tensor(self.lr)
        loss, gradient, of_rate = method.differentiate(losses, start, goal, x, rate)
        self.velocity = self.velocity / 2 + float(of_rate)
        self.lr -= method.lr_lr * self.velocity
        if not 0 < self.lr < math.inf:
            raise ValueError(f"step {t}: the rate that is learnt came to {self.lr:.3g}: lower lr_lr, or lr")
        return Step({"trajectory": loss}, gradient, {"lr": self.lr})

    def losses(self, generator: Generator) -> list[Loss]:
        """Draw the batches and augmentations of a student, and return the loss of each of its steps."""
        found, left = [], []
        for _ in range(self.method.syn_steps):
            if not left:
                order = torch.randperm(len(self.labels), generator=generator).to(self.labels.device)
                left = list(order.split(self.method.batch_syn or len(order)))
            numbers = left.pop(0)
            found.append(partial(self._loss, numbers, self.siamese.draw(generator, len(numbers))))
        return found

    def _loss(self, numbers: Tensor, view: Draw, parameters: Tensor, x: Tensor) -> Tensor:
        return F.cross_entropy(self.experts.outputs(parameters, view(x[numbers])), self.labels[numbers])

    def learnt(self) -> dict[str, Any]:
        return {"lr": self.lr}

    def state(self) -> dict:
        return {"lr": self.lr, "velocity": self.velocity, "order": self.order}

    def restore(self, state: dict) -> None:
        self.lr, self.velocity, self.order = state["lr"], state["velocity"], list(state["order"])
