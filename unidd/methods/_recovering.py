"""What methods share that recover images from a teacher's batch norms: SRe2L, CDA and FADRM.

The teacher stays in eval mode, so that its answers do not depend on the batch; what descends are the statistics that
the batch shows at the input of each batch norm l, towards those that the norm has kept of its training:

    L = CE(h(A(x)), y) + r_bn Σ_l m_l ( ‖σ_l² − σ̂_l²‖ + ‖μ_l − μ̂_l‖ ),   m = `first_bn` in the first one, else 1.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..core.statistics import AllSum, FeatureTap
from ..data.augment import crop_flip_roll, roll
from ..data.datasets import ImageData
from ..engine.descent import Batch, Descent, Objective, Start, Step
from ..engine.run import Run
from ..networks.training import Teacher
from . import Count, Fraction, NotNegative, Positive
from ._descending import Descending


@dataclass(frozen=True)
class Recovering(Descending):
    """Descends on a teacher's cross-entropy and on the statistics that its batch norms have kept.

    Args:
        steps: steps of a round; 0 leaves the images as they start.
        lr: peak learning rate of Adam (0.5, 0.9), on normalised pixels, cosine to 0 in each round.
        r_bn: weight of the statistics.
        first_bn: how many times that weight the first batch norm has.
        shift: images roll by up to so many pixels, both ways ("jitter"); the released scripts of CIFAR-100 and ImageNet
            roll one way, that of Tiny-ImageNet both.
        scale: smallest area of the random resized crop. What would stick out of the image is cut off, where the
            released scripts draw again.
        crop: whether images are cropped and flipped; they roll in any case.
        group: classes of one batch, over whose images statistics are taken; 0 takes all.
    """

    steps: Count = 1000
    lr: Positive = 0.25
    r_bn: NotNegative = 0.01
    first_bn: NotNegative = 10.0
    shift: Count = 4
    scale: Fraction = 0.08
    crop: bool = True
    group: Count = 100

    acts_as: ClassVar[str] = "λ, low-pass, on the diagonal alone, and 1, all-pass, on the channel mean"
    unbudgeted: ClassVar[tuple[str, ...]] = ("group",)

    def smallest(self, t: int, steps: int) -> float:
        """Return the smallest area of a crop in step t of a round."""
        return self.scale

    def view(self, images: Tensor, generator: Generator, real: bool = False) -> Tensor:
        if real:
            return images
        if not self.crop:
            return roll(images, generator, self.shift)
        return crop_flip_roll(images, generator, scale=self.smallest(self.steps, self.steps), shift=self.shift)

    def start(self, data: ImageData, run: Run) -> Start:
        return Start.of(data, run, self.group)

    def descent(self, data: ImageData) -> Descent:
        return Descent(self.steps, self.lr)

    def check_teacher(self, data: ImageData, teacher: Teacher) -> None:
        names = tuple(batch_norms(teacher.model))
        if not names:
            raise ValueError(
                f"the method {self.name!r} needs the statistics of a teacher's batch norms, and this one has none: "
                "take a network with batch norm, such as the default convnet, or resnet18"
            )
        teacher.check(data, names, gradient=True)

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "Recovery":
        return Recovery(self, teacher.model, run.ranks.all_sum)


class Recovery(Objective):
    """The loss of a `Recovering` method and its gradient.

    Args:
        method: the hyper-parameters.
        teacher: in eval mode, frozen, with batch norms.
        all_sum: sums over processes; None for a single one.
    """

    def __init__(self, method: Any, teacher: nn.Module, all_sum: AllSum | None = None):
        self.method, self.teacher, self.all_sum = method, teacher, all_sum
        self.norms = batch_norms(teacher)

    def begin(self, batch: Batch) -> None:
        self.batch = batch

    def augment(self, x: Tensor, t: int, generator: Generator) -> Tensor:
        """Return what the teacher sees of the images in step t, one draw an image and one roll a batch."""
        method, batch = self.method, self.batch
        if not method.crop:
            return roll(x, generator, method.shift)
        scale = method.smallest(t, batch.steps)
        return crop_flip_roll(x, generator, batch.slot, scale=scale, shift=method.shift)

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        batch, images = self.batch, self.augment(x, t, generator)
        with FeatureTap(self.teacher, list(self.norms)) as tap:
            logits = self.teacher(images)
        classification = F.cross_entropy(logits, batch.labels, reduction="sum") / batch.size
        apart = [self.distance(norm, tap.features[name]) for name, norm in self.norms.items()]
        statistics = torch.stack([self.method.first_bn * apart[0], *apart[1:]]).sum()
        (gradient,) = torch.autograd.grad(classification + self.method.r_bn * statistics, x)
        terms = {"classification": classification, "statistics": statistics}
        return Step(terms, gradient, partial=("classification",), weights={"statistics": self.method.r_bn})

    def distance(self, norm: Any, features: Tensor) -> Tensor:
        """Return how far the batch's statistics (d,) are from those of a batch norm, for features (B, d, …)."""
        var, mean = batch_moments(features, self.batch.size, self.all_sum)
        return torch.linalg.vector_norm(var - norm.running_var) + torch.linalg.vector_norm(mean - norm.running_mean)


def batch_norms(model: nn.Module) -> dict[str, Any]:
    """Return the batch norms of a network that have kept statistics, by name, in its order."""
    kinds = nn.modules.batchnorm._BatchNorm
    return {n: m for n, m in model.named_modules() if isinstance(m, kinds) and m.running_var is not None}


def batch_moments(features: Tensor, images: int, all_sum: AllSum | None = None) -> tuple[Tensor, Tensor]:
    """Return variance and mean of each channel over all images and positions: (d,) each.

    The variance is divided by their number, not by one less, as in the released code.

    Args:
        features: of this process's images (B, d, …).
        images: of all processes together.
    """
    var, mean = torch.var_mean(features, [axis for axis in range(features.ndim) if axis != 1], correction=0)
    if all_sum is None:
        return var, mean
    part = len(features) / images
    whole = _Sum.apply(part * mean, all_sum)
    # seen from the whole mean, whose own derivative is 0 in the sum over all processes
    return _Sum.apply(part * (var + (mean - whole.detach()).square()), all_sum), whole


class _Sum(torch.autograd.Function):
    """A sum over processes, each of which differentiates its own part of what all of them work out alike."""

    @staticmethod
    def forward(ctx, own: Tensor, all_sum: AllSum) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return all_sum(own.clone())

    @staticmethod
    def backward(ctx, gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient, None
