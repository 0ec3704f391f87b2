"""CFM whose labels are learnt with its images, as reviewers asked for.

Not a method to use, and so not in the folder of methods: a suite names it by its path,
`unidd.bench.labelled.LearntLabels`.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.matching import Loss
from ..engine.descent import Batch, adam, cosine
from ..methods import Positive
from ..methods.cfm import CFM, FrequencyMatching

_SURE = 0.9  # probability of an image's own class, where its label starts


@dataclass(frozen=True)
class LearntLabels(CFM):
    """CFM whose FLC is of soft labels Y_s that descend on the matching terms, while the images do.

    The cross-entropy takes the labels as they are at each step, and teaches them nothing: alone it would make each of
    them the class that the teacher finds likeliest.

    Args:
        label_lr: learning rate of the labels' logits, by the images' optimiser and schedule.
    """

    filter: Literal["ridge", "linear", "all-pass", "landweber", "residual"] = "ridge"
    signal: Literal["class"] = "class"
    label_lr: Positive = 0.02
    labels: ClassVar[str] = "learnt"
    parallel: ClassVar[bool] = False

    def objective_class(self) -> "type[LearntMatching]":
        return LearntMatching


class LearntMatching(FrequencyMatching):
    """The loss of `LearntLabels`, with the labels of the batch at work and of those that are done.

    Attributes:
        number: of the batch at work.
        logits: of its labels (n, classes).
        done: place in the finished set → labels (n, classes) of a batch, probabilities.
    """

    method: LearntLabels

    def __init__(self, *task: Any):
        super().__init__(*task)
        self.number, self.done = -1, dict[int, Tensor]()

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        if batch.number != self.number:  # else it goes on in the middle
            self.number, classes = batch.number, next(iter(self.real.values())).flc.shape[1]
            odds = math.log(_SURE / (1 - _SURE) * (classes - 1))
            self._take(odds * F.one_hot(batch.labels, classes).to(self.dtype))

    def _take(self, logits: Tensor) -> None:
        self.logits = logits.requires_grad_()
        self.optimizer = adam([self.logits], self.method.label_lr)

    def labels(self) -> Tensor:
        return self.logits.softmax(1).detach().requires_grad_()

    def learn(self, loss: Loss, t: int) -> None:
        labels, slope = loss.targets.detach(), loss.d_targets.to(self.dtype)
        self.logits.grad = labels * (slope - (slope * labels).sum(1, keepdim=True))
        self.optimizer.param_groups[0]["lr"] = self.method.label_lr * cosine(t, self.batch.steps)
        self.optimizer.step()

    def end(self) -> None:
        super().end()
        self.done[self.batch.place] = self.labels().detach()

    def learnt(self) -> dict[str, Any]:
        if not self.done:
            return {}
        return {"soft": torch.cat([self.done[place] for place in sorted(self.done)]), "soft labels": "probabilities"}

    def state(self) -> dict:
        own = {"number": self.number, "done": self.done, "logits": self.logits.detach()}
        return super().state() | own | {"labels": self.optimizer.state_dict()}

    def restore(self, state: dict) -> None:
        super().restore(state)
        self.number, self.done = state["number"], state["done"]
        self._take(state["logits"].clone())
        self.optimizer.load_state_dict(state["labels"])
