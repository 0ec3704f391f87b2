"""How many operations a step needs, and those operations alone: the floor of what matching adds to a plain pass.

A multiplication and an addition count as two. Chapter: "CFM, the algorithm and its cost".
"""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from unidd.models import tapped_layers
from unidd.statistics import FeatureTap


@dataclass(frozen=True)
class Layer:
    """A matched layer: n rows (positions of all images of the batch) of d channels."""

    n: int
    d: int

    @property
    def by_rows(self) -> bool:
        """Whether the engine factorises the rows' Gram matrix (n, n) and not the FFC (d, d)."""
        return 2 * self.n <= self.d

    def operations(self, moving: bool) -> int:
        """Of the products and factorisations of a ridge-filtered layer.

        By channels, the FFC and the push of its derivative are 2nd² each; Cholesky, inverse and the two products
        around it d³/3, 2d³/3 and 4d³. By rows, products with (d, d) matrices are 8nd², or 4nd² where the inverse
        before the rows come is a multiple of I; those with (n, n) matrices, and two triangular solves, 8n²d.

        Args:
            moving: whether earlier batches are carried.
        """
        n, d = self.n, self.d
        if self.by_rows:
            return (8 if moving else 4) * n * d**2 + 8 * n**2 * d + n**3 // 3
        return 4 * n * d**2 + 5 * d**3


def layers(model: nn.Module, batch: int, channels: int, size: int) -> tuple[int, list[Layer]]:
    """Operations of a plain pass (convolutions and heads, forward and to the input), and the matched layers.

    Shapes only: nothing is computed.
    """
    ghost, operations = copy.deepcopy(model).to("meta"), 0

    def count(module: nn.Module, _, output: torch.Tensor) -> None:
        nonlocal operations
        operations += 2 * 2 * module.weight.numel() * (output.numel() // output.shape[1])

    for module in ghost.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with FeatureTap(ghost, tapped_layers(ghost)) as tap, torch.no_grad():
        ghost(torch.empty(batch, channels, size, size, device="meta"))
    return operations, [Layer(x.numel() // x.shape[1], x.shape[1]) for x in tap.features.values()]


def products(found: list[Layer], moving: bool, device: torch.device) -> Callable[[], None]:
    """A step's products and factorisations, on data of their shapes, and nothing else: no sums, norms or gradients."""
    widths: dict[int, list[Layer]] = defaultdict(list)
    parts = []
    for layer in found:
        if layer.by_rows:
            parts.append(_by_rows(layer, moving, device))
        else:
            widths[layer.d].append(layer)
    parts += [_by_channels(d, [layer.n for layer in group], device) for d, group in widths.items()]

    @torch.no_grad()
    def step() -> None:
        for part in parts:
            part()

    return step


def _by_channels(d: int, counts: list[int], device: torch.device) -> Callable[[], None]:
    features = [torch.randn(n, d, device=device) for n in counts]
    gradients = [torch.zeros(n, d, device=device) for n in counts]
    known = torch.eye(d, device=device).repeat(len(counts), 1, 1)
    ffc, h = torch.empty_like(known), torch.randn_like(known)

    def step() -> None:
        for x, before, out in zip(features, known, ffc, strict=True):
            torch.addmm(before, x.T, x, alpha=1 / len(x), out=out)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(ffc).L)
        for x, gradient, matrix in zip(features, gradients, inverse @ h @ inverse, strict=True):
            gradient.addmm_(x, matrix, alpha=1e-6)

    return step


def _by_rows(layer: Layer, moving: bool, device: torch.device) -> Callable[[], None]:
    z = torch.randn(layer.n, layer.d, device=device)
    k, gap = (torch.eye(layer.d, device=device) for _ in range(2))

    def step() -> None:
        t = z @ k if moving else z
        factor = torch.linalg.cholesky_ex(torch.addmm(torch.eye(layer.n, device=device), t, z.T)).L
        s = torch.linalg.solve_triangular(factor, t, upper=False)
        by_filter = torch.addmm(gap, s.T, s)
        v = torch.linalg.solve_triangular(factor.T, s, upper=True) @ by_filter
        _ = (v @ k if moving else v) - (v @ s.T) @ s

    return step
