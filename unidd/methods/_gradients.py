"""Gradients of a network's weights, and how far two of them are apart."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PART = 16  # images whose feature maps stay in a CPU's cache: a batch of 256 takes 1.4 times as long in one piece


def weight_gradients(network: nn.Module, x: Tensor, k: int, count: int = 0, graph: bool = False) -> list[Tensor]:
    """Return the gradients of the cross-entropy of images of class k in the weight matrices, (rows, columns) each.

    Args:
        network: one image's output must not depend on the others: its batch norms are in eval mode.
        count: images the loss is a mean over; 0: those given.
        graph: whether it is differentiated again.
    """
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    whole = graph or x.device.type != "cpu"
    found = [torch.zeros_like(weight) for weight in weights]
    for part in x.split(max(1, len(x)) if whole else _PART):
        labels = torch.full((len(part),), k, device=x.device)
        loss = F.cross_entropy(network(part), labels, reduction="sum") / (count or len(x))
        found = [a + b for a, b in zip(found, torch.autograd.grad(loss, weights, create_graph=graph), strict=True)]
    return [slope.flatten(1) for slope in found]


def distance(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """Return Σ over matrices and rows of 1 − cos of the angle between the rows."""
    terms = []
    for a, b in zip(one, other, strict=True):
        sizes = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
        terms.append((1 - (a * b).sum(1) / (sizes + 1e-6)).sum())
    return torch.stack(terms).sum()
