"""Head matching through a pool of networks: what a linear learner makes of the images, behind convolutions.

Networks and views are drawn before the first step. Through each network and view all real images are looked at once,
and what a linear learner makes of their features is kept; a step takes one of the pairs, and no real image:

    L = ‖f(Ψ_s)Φ_s − f(Ψ)Φ‖² / ‖f(Ψ)Φ‖²,    Ψ, Φ: FFC and FLC of flattened last maps, less the real images' mean
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from ..data.datasets import ImageData
from ..engine.descent import Batch, Descent, Objective, Start, Step
from ..engine.run import Run
from ..networks.training import Teacher
from . import Count, Positive
from ._looks import Looked, Looks, Pooled, features, head
from ._rules import herded


@dataclass(frozen=True)
class Pool(Pooled):
    """Matches the heads of linear learners behind the networks of a pool, each under its own views.

    With f = 1 it is distribution matching whose real side is exact.

    Args:
        steps: updates of the images.
        lr: rate of Adam, on normalised pixels; it falls to 0 by a cosine.
        first: images to start from: "random" real ones, or those that "herding" takes, by what the first network makes
            of them; a set that was given comes before both.
    """

    steps: Count = 2000
    lr: Positive = 0.05
    first: Literal["random", "herding"] = "random"

    source: ClassVar[str] = "UniDD"
    acts_as: ClassVar[str] = "the filter that it is given, on the class signal of many networks"
    needs_teacher: ClassVar[bool] = False
    parallel: ClassVar[bool] = False

    def start(self, data: ImageData, run: Run) -> Start:
        return super().start(data, run).whole()

    def prepared(self, start: Start, data: ImageData, teacher: Teacher, run: Run) -> Start:
        if start.given or self.first == "random":
            return start
        x = Looks(self, data, run.seed).plain()
        numbers, labels = start.numbers.clone(), data.train.labels
        for k in range(data.classes):
            own, places = (labels == k).nonzero().flatten(), (labels[numbers] == k).nonzero().flatten()
            numbers[places] = own[herded(x[own], len(places)).to(own.device)]
        return replace(start, numbers=numbers)

    def descent(self, data: ImageData) -> Descent:
        return Descent(self.steps, self.lr)

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "PoolMatching":
        return PoolMatching(self, data, run.seed)


class PoolMatching(Objective):
    """The loss of `Pool`; the pairs follow from the seed, and are made when the first step asks for one."""

    remedy: ClassVar[str] = "lower lr, or raise beta"

    def __init__(self, method: Pool, data: ImageData, seed: int):
        self.filter, self.looks, self.pairs = method.filter, Looks(method, data, seed), list[Looked]()

    def begin(self, batch: Batch) -> None:
        self.targets = self.looks.data.targets(batch.labels)

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        if not self.pairs:
            self.pairs = self.looks.all()
        pair = self.pairs[int(torch.randint(len(self.pairs), (), generator=generator))]
        seen = features(pair.network, pair.view(x)) - pair.mean
        gap = head(seen, self.targets, self.filter, pair.beta) - pair.wanted
        loss = gap.square().sum() / pair.wanted.square().sum()
        (gradient,) = torch.autograd.grad(loss, x)
        return Step({"heads": loss}, gradient)
