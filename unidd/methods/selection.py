"""Coresets by what a trained teacher says of each image: real images, chosen class by class.

The features are the input of the teacher's last linear layer. Rules that are meant to drop a few images of many keep
their names and their definitions here, at a few images a class, where the papers do not use them; what is known of
that stands beside each. Sources are the papers; DeepCore (Guo, Zhao & Bai, 2022) is the library most numbers come from.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..data.datasets import ImageData
from ..engine.run import Run
from ..networks.training import Teacher
from ._choosing import Choosing, Rule, Scoring
from ._rules import centres, herded
from ._scores import cross_entropy, moderation, seen, top_two


@dataclass(frozen=True)
class Herding(Choosing):
    """Herding: images whose mean feature follows that of their class, each the best next one.

    After i images of sum s, the next is the one that is not yet chosen with the smallest ‖(i + 1)μ − s − h‖.
    DeepCore takes the largest, likely a slip, since the mean then moves away from μ, and returns its choice in the
    order of the data set; here it stands in the order of choosing.
    """

    source: ClassVar[str] = "Welling, Herding Dynamical Weights to Learn, ICML 2009; Rebuffi et al., iCaRL, CVPR 2017"
    acts_as: ClassVar[str] = "1: all-pass on the class signal of one layer"

    def rule(self, data: ImageData, teacher: Teacher, run: Run) -> Rule:
        features = seen(teacher.model, data).features
        return lambda own, count: own[herded(features[own].double(), count)]


@dataclass(frozen=True)
class KCenter(Choosing):
    """Greedy k-center: each image the farthest from those chosen, so that none of its class is far from all of them.

    The first is the one nearest to the mean feature of its class; in DeepCore it is drawn. Such a choice goes for
    images unlike the others.
    """

    source: ClassVar[str] = "Sener & Savarese, Active Learning for CNNs: A Core-Set Approach, ICLR 2018"

    def rule(self, data: ImageData, teacher: Teacher, run: Run) -> Rule:
        features = seen(teacher.model, data).features
        return lambda own, count: own[centres(features[own].double(), count)]


@dataclass(frozen=True)
class Moderate(Scoring):
    """Moderate coreset: images as far from the median of their class as its images mostly are.

    Distances are to the vector of medians of the features; those nearest to the median distance of the class come
    first. The paper's code ranks the distances of all classes together and keeps the middle ranks, which leaves classes
    unlike in number.
    """

    source: ClassVar[str] = "Xia et al., Moderate Coreset, ICLR 2023"

    def scores(self, data: ImageData, teacher: Teacher, run: Run) -> Tensor:
        return -moderation(seen(teacher.model, data).features, data.train.labels.cpu())


@dataclass(frozen=True)
class Margin(Scoring):
    """Margin: images of which the teacher is least sure, by its largest probability less the second.

    DeepCore takes the least sure where it balances classes, and the surest where it does not; here it is the least.
    """

    source: ClassVar[str] = "Coleman et al., Selection via Proxy, ICLR 2020"

    def scores(self, data: ImageData, teacher: Teacher, run: Run) -> Tensor:
        return -top_two(seen(teacher.model, data).logits)


@dataclass(frozen=True)
class Easiest(Scoring):
    """Easiest images: those of the smallest cross-entropy of the teacher."""

    source: ClassVar[str] = "none"

    def scores(self, data: ImageData, teacher: Teacher, run: Run) -> Tensor:
        return -cross_entropy(seen(teacher.model, data).logits, data.train.labels.cpu())


@dataclass(frozen=True)
class Hardest(Scoring):
    """Hardest images: those of the largest cross-entropy of the teacher, wrong labels among them."""

    source: ClassVar[str] = "none"

    def scores(self, data: ImageData, teacher: Teacher, run: Run) -> Tensor:
        return cross_entropy(seen(teacher.model, data).logits, data.train.labels.cpu())
