"""Gradients of a network's weights, and how far two of them are apart."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def weight_gradients(network: nn.Module, x: Tensor, k: int, count: int = 0, graph: bool = False) -> list[Tensor]:
    """Return the gradients of the cross-entropy of images of class k in the weight matrices, (rows, columns) each.

    Args:
        count: images the loss is a mean over; 0: those given.
        graph: whether it is differentiated again.
    """
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    labels = torch.full((len(x),), k, device=x.device)
    loss = F.cross_entropy(network(x), labels, reduction="sum") / (count or len(x))
    return [slope.flatten(1) for slope in torch.autograd.grad(loss, weights, create_graph=graph)]


def distance(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """Return Σ over matrices and rows of 1 − cos of the angle between the rows."""
    terms = []
    for a, b in zip(one, other, strict=True):
        sizes = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
        terms.append((1 - (a * b).sum(1) / (sizes + 1e-6)).sum())
    return torch.stack(terms).sum()
