"""β over a distillation: schedules as plain functions, and a β relative to a layer's own spectrum.

Source: UniDD (arXiv 2503.01212), §4; the chapter "A zoo of filters".
"""

import math

import torch
from torch import Tensor


def constant(beta: float, b: int, rounds: int) -> float:
    """Return β_b = β in every round b = 0 … rounds − 1."""
    return beta


def cosine(beta: float, b: int, rounds: int) -> float:
    """Return β_b = β (1 + cos(πb/B)) / 2: CFM's curriculum, from flat (β) to high-pass (near 0). Source: UniDD, §4.

    >>> [round(cosine(0.1, b, 4), 4) for b in range(4)]
    [0.1, 0.0854, 0.05, 0.0146]
    """
    return beta * (1 + math.cos(math.pi * b / rounds)) / 2


def linear(beta: float, b: int, rounds: int) -> float:
    """Return β_b = β (1 − b/B)."""
    return beta * (1 - b / rounds)


def log(beta: float, b: int, rounds: int) -> float:
    """Return β_b = β · 100^(−b/B): equal ratios, over two decades."""
    return beta * 100 ** (-b / rounds)


def reverse(beta: float, b: int, rounds: int) -> float:
    """Return β_b of the cosine curriculum backwards, from high-pass to flat."""
    return cosine(beta, rounds - 1 - b, rounds)


SCHEDULES = {f.__name__: f for f in (constant, cosine, linear, log, reverse)}


def relative_beta(fraction: float, ffc: Tensor, quantile: float | None = None) -> float:
    """Return an absolute β from one layer's spectrum: `fraction` × its mean eigenvalue, or × a quantile of them.

    The mean needs no eigendecomposition: it is tr(Ψ)/d. One absolute β is nearly flat in one layer and strongly
    high-pass in another, because λ_max differs between layers by orders of magnitude; a relative β is not.

    Args:
        fraction: above 0.
        ffc: (d, d).
        quantile: in [0, 1]; None takes the mean.
    Raises:
        ValueError: the fraction is not above 0, or the layer has no variance, so no scale.
    """
    if not (math.isfinite(fraction) and fraction > 0):
        raise ValueError(f"a relative beta must be a finite number above 0, not {fraction}")
    scale = ffc.diagonal().mean() if quantile is None else torch.linalg.eigvalsh(ffc).quantile(quantile)
    if not float(scale) > 0:
        raise ValueError("the layer's eigenvalues give no scale for a relative beta: use an absolute one")
    return fraction * float(scale)
