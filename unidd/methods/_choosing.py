"""What methods share that choose real images: each class by itself, the first-chosen image first."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet, counts_of, in_rounds
from ..engine.run import Run
from ..networks.training import Teacher
from . import Method, Role
from ._rules import largest

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
