"""What methods share that choose real images: each class by itself, the first-chosen image first."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet, counts_of, in_rounds
from ..engine.run import Run
from ..networks.training import Teacher
from . import Method, Part, Role
from ._rules import largest
from ._scores import looks, some

Rule = Callable[[Tensor, int], Tensor]  # numbers of a class's images, and how many to choose → those chosen, in order


@dataclass(frozen=True)
class Choosing(Method):
    """Chooses images of each class by a rule. Several processes make the same choice, each by itself."""

    acts_as: ClassVar[str] = "none: it matches no correlations"
    role: ClassVar[Role] = "coreset"
    seeded: ClassVar[bool] = False

    @abstractmethod
    def rule(self, data: ImageData, teacher: Teacher, run: Run) -> Rule:
        """Return what chooses among the images of a class: of their numbers (n_k,), so many, the first-chosen first."""

    def parts(self, data: ImageData, teacher: Teacher, run: Run) -> tuple[Part, ...]:
        """Return a look at all images, and the choice in as many classes as there are, as large as the largest."""
        largest = torch.bincount(data.train.labels).argmax()
        own = (data.train.labels == largest).nonzero().flatten()
        few = some(data, own)
        rule, count = cache(lambda: self.rule(few, teacher, run)), max(counts_of(data, run.ipc))
        choice = Part("choice", data.classes, "classes", lambda: rule()(torch.arange(len(own)), count))
        return looks(teacher.model, data), choice

    def distill(self, data: ImageData, teacher: Teacher, run: Run) -> SyntheticSet:
        """Return the images in rounds: the first-chosen of all classes, class by class, then the second, ….

        Raises:
            ValueError: ipc is above the size of a class; the teacher cannot teach these data, or has no features.
        """
        self.check(data, run)
        if self.needs_teacher:
            teacher.check(data)
        choice, labels = self.rule(data, teacher, run), data.train.labels.cpu()
        classes = enumerate(counts_of(data, run.ipc))
        chosen = [choice((labels == k).nonzero().flatten(), n).tolist() if n else [] for k, n in classes]
        card = teacher.card() if self.needs_teacher else {}
        return SyntheticSet.taken(data, in_rounds(chosen).to(data.device), self.config(data, run), card)


@dataclass(frozen=True)
class Scoring(Choosing):
    """Chooses the images of the largest score, the largest first. The seed decides between equal ones."""

    @abstractmethod
    def scores(self, data: ImageData, teacher: Teacher, run: Run) -> Tensor:
        """Return a number for every training image (n,), on the CPU."""

    def rule(self, data: ImageData, teacher: Teacher, run: Run) -> Rule:
        scores = self.scores(data, teacher, run)
        place = torch.randperm(len(scores), generator=Generator().manual_seed(run.seed))
        return lambda own, count: largest(scores[own], place[own], own)[:count]
