"""Coresets by how a training goes: real images chosen by what networks of their own, the proxies, do with each.

The papers keep most of the data with these scores; the largest ones alone, as at a few images a class, are the hardest
images and the wrong labels, and often fall below a random choice.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Generator, Tensor

from ..data.datasets import ImageData
from ..engine.run import Run
from ..networks.training import Teacher
from . import Range, Whole
from ._choosing import Rule, Scoring
from ._proxies import EarlyProxies, Proxied
from ._rules import stratified
from ._scores import el2n, forgetting, grand, seen

FIRST = 10  # epochs that the EL2N of CCS is a sum over


@dataclass(frozen=True)
class EL2N(EarlyProxies):
    """EL2N: images of the largest error ‖p − y‖ early in the training, a mean over networks."""

    source: ClassVar[str] = "Paul, Ganguli & Dziugaite, Deep Learning on a Data Diet, NeurIPS 2021"

    def scores(self, data: ImageData, teacher: Teacher, run: Run) -> Tensor:
        labels = data.train.labels.cpu()
        return torch.stack([el2n(seen(network, data).logits, labels) for network in self.early(data, run)]).mean(0)


@dataclass(frozen=True)
class GraNd(EarlyProxies):
    """GraNd: images of the largest gradient early in the training, a mean over networks.

    The gradient is that of the last layer, as in DeepCore, which takes it after the training; the paper's is of all
    weights.
    """

    source: ClassVar[str] = "Paul, Ganguli & Dziugaite, Deep Learning on a Data Diet, NeurIPS 2021"

    def scores(self, data: ImageData, teacher: Teacher, run: Run) -> Tensor:
        labels = data.train.labels.cpu()
        return torch.stack([grand(seen(network, data), labels) for network in self.early(data, run)]).mean(0)


@dataclass(frozen=True)
class Forgetting(Proxied, Scoring):
    """Forgetting events: images most often learnt and forgotten again, those never learnt first of all."""

    source: ClassVar[str] = "Toneva et al., An Empirical Study of Example Forgetting, ICLR 2019"

    def scores(self, data: ImageData, teacher: Teacher, run: Run) -> Tensor:
        return forgetting(torch.stack(self.dynamics(data, run).correct))


@dataclass(frozen=True)
class CCS(Proxied):
    """Coverage-centric selection: the images that look mislabelled left out, the others drawn from all scores alike.

    Of each class, `mis_ratio` with the lowest AUM are dropped, as long as enough are left. The range of the others'
    scores is cut into strata of one width, and from the smallest on each gives as many as the rest of the budget
    allows it, drawn by chance. The paper applies the rule to all classes together.

    Args:
        mis_ratio: share of a class that is dropped at first; the paper's grows the fewer images are kept.
        strata: of scores; at most one for each image asked of a class, since of more the thin ones would give none.
        score: "aum", Σ (p_y − max_{k≠y} p_k) over the epochs, or "el2n", Σ ‖p − y‖ over the first ten.
    """

    mis_ratio: Annotated[float, Range(0, 1)] = 0.3
    strata: Whole = 50
    score: Literal["aum", "el2n"] = "aum"

    source: ClassVar[str] = "Zheng et al., Coverage-centric Coreset Selection for High Pruning Rates, ICLR 2023"
    presets_source: ClassVar[str] = "the released code, readme: a tenth of CIFAR-10"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"cifar10-ipc500": {}}

    def rule(self, data: ImageData, teacher: Teacher, run: Run) -> Rule:
        found, generator = self.dynamics(data, run), Generator().manual_seed(run.seed)
        aum = torch.stack(found.margins).sum(0)
        scores = aum if self.score == "aum" else torch.stack(found.el2n[:FIRST]).sum(0)

        def choice(own: Tensor, count: int) -> Tensor:
            dropped = min(int(self.mis_ratio * len(own)), len(own) - count)
            kept = own[aum[own].argsort(stable=True)[dropped:]]
            return kept[stratified(scores[kept], count, self.strata, generator)]

        return choice
