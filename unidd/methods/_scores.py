"""What a network says of each training image, and what its training did: the scores that choices of images go by.

A score is a number an image (n,), made of what a network answers: probabilities p, features h before its last linear
layer; or of its answers after every epoch of a training. What stands in the papers is said, and where this differs.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.frozen import frozen, joined
from ..core.statistics import FeatureTap
from ..data.datasets import ImageData, Split
from ..data.store import release
from ..networks.models import real_batch
from . import Part


@dataclass(frozen=True)
class Seen:
    """A network's answers for all training images as they are, float32, on the CPU.

    Attributes:
        features: the input of its last linear layer, a mean over positions if there are several (n, d).
        logits: (n, c).
    """

    features: Tensor
    logits: Tensor


@torch.no_grad()
def seen(network: nn.Module, data: ImageData) -> Seen:
    """Return what a network answers for the training images, in eval mode; it is as before afterwards.

    Raises:
        ValueError: it has no linear layer that it calls, or its answers are not finite.
    """
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1:]
    with frozen(network), FeatureTap(network, linear) as tap:

        def answers(images: Tensor) -> tuple[Tensor, Tensor]:
            logits = network(data.normalise(images))
            found = [x.flatten(2).mean(2) if x.ndim > 2 else x for x in tap.features.values()]
            tap.features.clear()
            if not found:
                raise ValueError("the network calls no linear layer last, whose input an image's features would be")
            return found[0].float().cpu(), logits.float().cpu()

        parts = data.train.images.split(real_batch(data.size, data.device))
        whole = Seen(*joined(map(answers, parts), len(data.train)))
    release(data.train.images)
    if not (whole.logits.isfinite().all() and whole.features.isfinite().all()):
        raise ValueError("the network's answers for the training images are not finite: train it again")
    return whole


def looks(network: nn.Module, data: ImageData, count: int = 1) -> Part:
    """Return what calls of `seen` are to a plan.

    Args:
        count: how many.
    """
    n = len(data.train)
    each = min(n, real_batch(data.size, data.device))
    few, one = (some(data, torch.arange(m, device=data.device)) for m in (each, 1))
    answer = seen(network, one)
    held = n * (answer.features.nbytes + answer.logits.nbytes)
    return Part("scoring", count * n, "images", lambda: seen(network, few), each, held=held)


def some(data: ImageData, numbers: Tensor) -> ImageData:
    """Return some training images (m,) as a data set of one class, which is looked at in place of the whole."""
    images = data.train.take(numbers).images
    split = Split(images, torch.zeros(len(images), dtype=torch.long, device=data.device))
    return ImageData(data.name, split, split, ("some",), (data.mean, data.std))


def errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Return p − y, probabilities less one-hot labels, of logits (n, c) and labels (n,), in float64: (n, c)."""
    return logits.double().softmax(1) - F.one_hot(labels, logits.shape[1])


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −log p of the own class: how hard an image is to the network, (n,)."""
    return F.cross_entropy(logits.double(), labels, reduction="none")


def top_two(logits: Tensor) -> Tensor:
    """Return the largest probability less the second: how sure the network is, whatever the label, (n,).

    Source: the margin of uncertainty sampling in DeepCore (Guo, Zhao & Bai, 2022).
    """
    first, second = logits.double().softmax(1).topk(2, dim=1).values.T
    return first - second


def own_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return p_y − max_{k≠y} p_k, what the own class is ahead of the best other, (n,).

    Source: CCS (Zheng et al., ICLR 2023), whose AUM is its sum over the epochs; Pleiss et al. (2020) take logits.
    """
    p = logits.double().softmax(1)
    others = p.scatter(1, labels[:, None], -1.0).amax(1)
    return p.gather(1, labels[:, None])[:, 0] - others


def el2n(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ‖p − y‖, the error of the probabilities, (n,).

    Source: Paul, Ganguli & Dziugaite, Deep Learning on a Data Diet (NeurIPS 2021).
    """
    return errors(logits, labels).norm(dim=1)


def grand(found: Seen, labels: Tensor) -> Tensor:
    """Return ‖∂CE/∂(W, b)‖ of the last linear layer (W, b): ‖p − y‖ √(‖h‖² + 1), (n,).

    Paul et al. take the gradient in all weights; that in the last layer is DeepCore's, exact and as quick as a look.
    """
    return el2n(found.logits, labels) * (found.features.double().square().sum(1) + 1).sqrt()


def moderation(features: Tensor, labels: Tensor) -> Tensor:
    """Return how far an image's distance to the median of its class is from the median of these distances: (n,).

    Distances are those of features (n, d) to the vector of their medians over the class.

    Source: Xia et al., Moderate Coreset (ICLR 2023).
    """
    found = features.new_zeros(len(features), dtype=torch.float64)
    for k in labels.unique():
        own = features[labels == k].double()
        distances = (own - median(own)).norm(dim=1)
        found[labels == k] = (distances - median(distances)).abs()
    return found


def median(x: Tensor) -> Tensor:
    """Return the median over the first axis, of an even number the mean of the middle two: (n, …) → (…)."""
    ordered = x.sort(0).values
    return (ordered[(len(x) - 1) // 2] + ordered[len(x) // 2]) / 2


def forgetting(correct: Tensor) -> Tensor:
    """Return how often an image was right after an epoch and wrong after the next; ∞ if it was never right: (n,).

    Args:
        correct: (epochs, n), bool.
    Source: Toneva et al. (ICLR 2019), to whom images that were never learnt are the most forgotten. To DeepCore they
        were forgotten 0 times and come last.
    """
    events = (correct[:-1] & ~correct[1:]).sum(0).double()
    return events.masked_fill(~correct.any(0), torch.inf)
