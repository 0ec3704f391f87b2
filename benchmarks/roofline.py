"""How many operations a step needs, and those operations alone: the floor of what matching adds to a plain pass.

A multiplication and an addition count as two. Chapter: "Appendix: what a step costs".
"""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidd.core.statistics import FeatureTap, GradientTap, rows
from unidd.networks.models import tapped_layers


@dataclass(frozen=True)
class Layer:
    """A matched layer: n rows (positions of all images of the batch) of d channels."""

    n: int
    d: int

    @property
    def row_form(self) -> bool:
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
        if self.row_form:
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
    parts = _parts(found, moving, device)
    features = [torch.randn(layer.n, layer.d, device=device) for layer in found]
    gradients = [torch.zeros_like(x) for x in features]

    @torch.no_grad()
    def step() -> None:
        for part, members in parts:
            for i, push in zip(members, part([features[i] for i in members]), strict=True):
                push(gradients[i])

    return step


def in_place(teacher: nn.Module, images: Tensor, labels: Tensor, moving: bool) -> Callable[[], Tensor]:
    """A plain pass with the bare products where a step has them, on its features and on the way back.

    What is in the caches then is what a step finds there; the loss is not one, as nothing is compared.
    """
    names = tapped_layers(teacher)
    parts = _parts(layers(teacher, len(images), *images.shape[1:3])[1], moving, images.device)

    def step() -> Tensor:
        with GradientTap(teacher, names) as tap:
            loss = F.cross_entropy(teacher(images), labels)
        with torch.no_grad():
            for part, members in parts:
                pushes = part([rows(tap.features[names[i]]) for i in members])
                tap.pushes |= {names[i]: push for i, push in zip(members, pushes, strict=True)}
        return torch.autograd.grad(loss, images)[0]

    return step


Part = Callable[[list[Tensor]], list[Callable[[Tensor], object]]]  # features of layers → what to do to their gradients


def _parts(found: list[Layer], moving: bool, device: torch.device) -> list[tuple[Part, list[int]]]:
    """Layers of one width together, unless they are done by rows, and which they are."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, layer in enumerate(found):
        groups[layer.d, i + 1 if layer.row_form else 0].append(i)
    return [
        (_row_form(found[members[0]], moving, device) if alone else _channel_form(d, len(members), device), members)
        for (d, alone), members in groups.items()
    ]


def _channel_form(d: int, count: int, device: torch.device) -> Part:
    known = torch.eye(d, device=device).repeat(count, 1, 1)
    ffc, h = torch.empty_like(known), torch.randn_like(known)

    def part(features: list[Tensor]) -> list[Callable[[Tensor], object]]:
        for x, before, out in zip(features, known, ffc, strict=True):
            torch.addmm(before, x.T, x, alpha=1 / len(x), out=out)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(ffc).L)
        matrices = inverse @ h @ inverse
        return [partial(Tensor.addmm_, mat1=x, mat2=m, alpha=1e-6) for x, m in zip(features, matrices, strict=True)]

    return part


def _row_form(layer: Layer, moving: bool, device: torch.device) -> Part:
    k, gap = (torch.eye(layer.d, device=device) for _ in range(2))

    def part(features: list[Tensor]) -> list[Callable[[Tensor], object]]:
        (z,) = features
        t = z @ k if moving else z
        factor = torch.linalg.cholesky_ex(torch.addmm(torch.eye(layer.n, device=device), t, z.T)).L
        s = torch.linalg.solve_triangular(factor, t, upper=False)
        filter_gap = torch.addmm(gap, s.T, s)
        v = torch.linalg.solve_triangular(factor.T, s, upper=True) @ filter_gap
        d_z = (v @ k if moving else v) - (v @ s.T) @ s
        return [lambda gradient: gradient.add_(d_z, alpha=1e-6)]

    return part
