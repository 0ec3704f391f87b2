"""A method of one's own: the mean logits of each class are matched."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from unidd import ImageData
from unidd.engine.descent import Batch, Descent, Objective, Step
from unidd.engine.run import Run
from unidd.methods import Count, Descending, Positive
from unidd.networks.training import Teacher


@dataclass(frozen=True)
class MeanMatching(Descending):
    """Distribution matching at its simplest: mean logits of a class.

    Args:
        steps: steps of a round.
        lr: learning rate of Adam, on normalised pixels.
    """

    steps: Count = 100
    lr: Positive = 0.05

    source: ClassVar[str] = "after Zhao & Bilen, WACV 2023"
    acts_as: ClassVar[str] = "1, all-pass, on the class signal"

    def descent(self, data: ImageData) -> Descent:
        return Descent(self.steps, self.lr)

    def objective(self, data: ImageData, teacher: Teacher, run: Run):
        network, train = teacher.model, data.train
        with torch.no_grad():
            parts = map(data.normalise, train.images.split(500))
            logits = torch.cat([network(part) for part in parts])
        classes = range(data.classes)
        means = [logits[train.labels == k].mean(0) for k in classes]
        return Distance(network, torch.stack(means))


class Distance(Objective):
    """Σ ‖h(x) − mean logits of the class of x‖²."""

    def __init__(self, network: nn.Module, means: Tensor):
        self.network, self.means = network, means

    def begin(self, batch: Batch) -> None:
        self.goal = self.means[batch.labels]

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        distance = (self.network(x) - self.goal).square().sum()
        (gradient,) = torch.autograd.grad(distance, x)
        return Step({"distance": distance}, gradient, partial=("distance",))
