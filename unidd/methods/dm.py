"""Distribution matching (DM): mean features of each class, under random networks.

In every step a ConvNet is drawn and not trained; the synthetic images of each class shall have the mean feature of its
real images, both under the same Siamese augmentation:

    L = Σ_k ‖ mean h(A(x_k)) − mean h(A(s_k)) ‖²,   h the flattened output of the last block.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from ..data.datasets import ImageData
from ..data.siamese import DIGITS, Siamese
from ..engine.descent import Batch, Objective, Step
from ..engine.run import Run
from ..networks.training import Teacher
from . import Count, Positive
from ._drawing import Drawing, RealImages, last_map, settle


@dataclass(frozen=True)
class DM(Drawing):
    """Distribution matching: the mean feature of each class, under a network drawn anew in every step."""

    steps: Count = 20000
    lr: Positive = 1.0

    source: ClassVar[str] = "Zhao & Bilen, Dataset Condensation with Distribution Matching, WACV 2023"
    acts_as: ClassVar[str] = "1, all-pass, on the class signal"
    presets_source: ClassVar[str] = "the released code, readme and utils.py"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "mnist": {"strategy": DIGITS},
        "cifar10": {},
        "cifar100": {},
        "cifar10-ipc100": {"lr": 10.0},
    }

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "MeanMatching":
        return MeanMatching(self, data, run)


class MeanMatching(Objective):
    """The loss of DM and its gradient, class by class, so that one class at a time is in memory.

    The gradient of a class mean in a feature is known before the backward pass, 2 (μ_s − μ) / n: no graph spans the
    processes.
    """

    def __init__(self, method: DM, data: ImageData, run: Run):
        self.method, self.data, self.all_sum = method, data, run.ranks.all_sum
        self.siamese, self.real = Siamese(method.strategy), RealImages(data, method.batch)

    def begin(self, batch: Batch) -> None:
        self.labels = batch.labels
        self.counts = torch.bincount(batch.labels, minlength=self.data.classes).double()
        if self.all_sum:
            self.all_sum(self.counts)

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        network = self.method.drawn(self.data, generator).to(x.dtype)
        settle(network, self.real, generator)
        gradient, loss = torch.zeros_like(x), x.new_zeros(())
        for k in range(self.data.classes):
            view, own = self.siamese.draw(generator), (self.labels == k).nonzero().flatten()
            with torch.no_grad():
                goal = last_map(network, view(self.real.of(k, generator).to(x))).mean(0)
            part = x.detach()[own].requires_grad_()
            found = last_map(network, view(part)) if len(own) else None  # another process may have all of a class
            mean = torch.zeros_like(goal) if found is None else found.detach().sum(0)
            if self.all_sum:
                self.all_sum(mean)
            count = float(self.counts[k])
            gap = mean / count - goal
            loss += gap.square().sum()
            if found is not None:
                (gradient[own],) = torch.autograd.grad(found, part, (2 / count * gap).expand_as(found))
        return Step({"means": loss}, gradient)
