"""Spectral filters f(λ) on the eigenvalues of the feature–feature correlation (FFC) matrix.

On fixed features, distillation methods compare f(Ψ), f(Ψ)Φ or both of real and synthetic data; they differ in f. Here
λ are eigenvalues of the FFC Ψ: a *large* λ is a *low* frequency, so f(λ) = λ is low-pass and 1/(λ + β) is high-pass.

`response(λ)` is the scalar function, `matrix(Ψ)` is f(Ψ) = U f(Λ) Uᵀ, and `apply(Ψ, B)` is f(Ψ)B. All three are
differentiable, keep dtype and device, and accept leading batch dimensions. A new filter needs `response` alone: the
others then go through an eigendecomposition with the right derivative. The filters here override them where a solve or
a recurrence is cheaper. `f * g` is one filter after another, and `c * f` a filter with another scale.

Source: UniDD (arXiv 2503.01212), §3; the chapter "A zoo of filters"; the page "How to add a filter".
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .ridge import channel_form, norms, row_form

_RESOLVED = 16  # times the rounding of λ_max: ridge matrices with a smaller β cannot be told from singular ones
# Gauss–Legendre nodes and weights on [0, 1], for the mean of f' over an interval
_NODES = (0.04691007703066802, 0.23076534494715845, 0.5, 0.7692346550528415, 0.9530899229693319)
_WEIGHTS = (0.11846344252809454, 0.23931433524968324, 0.28444444444444444, 0.23931433524968324, 0.11846344252809454)

Distances = tuple[Tensor, Tensor, Tensor]  # distances (L, 2), derivatives in Ψ_s (L, d, d) and in Φ_s (L, d, k)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class Filter(ABC):
    """A function of a symmetric positive semi-definite matrix, given by its scalar response.

    Attributes:
        has_row_form: whether `row_distances` is there, for layers with far fewer rows than channels.
    """

    has_row_form: ClassVar[bool] = False

    @abstractmethod
    def response(self, eigenvalues: Tensor) -> Tensor:
        """Return f(λ), elementwise: any shape in, the same shape out."""

    def matrix(self, ffc: Tensor) -> Tensor:
        """Return f(Ψ) for Ψ (…, d, d): (…, d, d)."""
        return _SpectralFunction.apply(ffc, self)

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        """Return f(Ψ)B for Ψ (…, d, d) and B (…, d, k): (…, d, k)."""
        return self.matrix(ffc) @ signal

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """Return f'(λ), elementwise; by default autograd's derivative of `response`, 0 where it has none."""
        with torch.enable_grad():
            at = eigenvalues.detach().requires_grad_()
            values = self.response(at)
            if not values.requires_grad:  # a response that is constant piece by piece
                return torch.zeros_like(eigenvalues)
            return torch.autograd.grad(values.sum(), at)[0]

    def resolved(self, largest: float, dtype: torch.dtype) -> "Filter":
        """Return the nearest filter that `dtype` can tell from a singular one beside λ_max; by default itself."""
        return self

    def scale(self, largest: float) -> float:
        """Return the size of λ beside which an error in Ψ shows: max |f| / max |f'| on [0, λ_max], at most λ_max."""
        grid = torch.logspace(-15, 0, 151, dtype=torch.float64) * largest
        grid = torch.cat((torch.zeros(1, dtype=torch.float64), grid))
        steepest = float(self.derivative(grid).abs().max())
        return min(largest, float(self.response(grid).abs().max()) / steepest) if steepest else largest

    def distances(self, ffc: Tensor, flc: Tensor, real: tuple[Tensor, Tensor], rates: Tensor) -> Distances:
        """Return ‖f(Ψ) − f(Ψ_s)‖_F and ‖f(Ψ)Φ − f(Ψ_s)Φ_s‖_F of layers, and the derivatives of their weighted sum.

        Args:
            ffc, flc: Ψ_s (L, d, d), which may be overwritten, and Φ_s (L, d, k).
            real: f(Ψ) (L, d, d) and f(Ψ)Φ (L, d, k).
            rates: weights of the filter and the signal distance (L, 2).
        """
        with torch.enable_grad():
            ffc, flc = ffc.requires_grad_(), flc.requires_grad_()
            matrix = self.matrix(ffc)
            distances = norms(real[0] - matrix, real[1] - matrix @ flc)
            d_ffc, d_flc = torch.autograd.grad((distances * rates).sum(), (ffc, flc), materialize_grads=True)
        return distances.detach(), (d_ffc + d_ffc.mT) / 2, d_flc

    def row_distances(
        self, z: Tensor, flc: Tensor, carried: tuple[Tensor, Tensor], isotropic: bool, real: Tensor, rates: Tensor
    ) -> Distances:
        """Return the same for one layer, from its rows; see `unidd.core.ridge.row_form`."""
        raise NotImplementedError(f"{type(self).__name__} has no form for few rows")

    def __mul__(self, other: "Filter | float") -> "Filter":
        return Product(self, other) if isinstance(other, Filter) else Scaled(self, other)

    def __rmul__(self, factor: float) -> "Filter":
        return Scaled(self, factor)


def _identity(ffc: Tensor) -> Tensor:
    return torch.eye(ffc.shape[-1], dtype=ffc.dtype, device=ffc.device).expand_as(ffc)


class _Applied(Filter):
    """A filter whose `apply` is written out: f(Ψ) is f(Ψ)I."""

    def matrix(self, ffc: Tensor) -> Tensor:
        return self.apply(ffc, _identity(ffc))


@dataclass(frozen=True)
class Custom(Filter):
    """f(λ) as any function of a tensor, elementwise and made of torch's operations.

    Args:
        function: eigenvalues, any shape → f of each. Where it is smooth its derivative is right, also at eigenvalues
            that are equal or nearly so.
    Source: Daleckii & Krein (1965) for the derivative; the page "How to add a filter".

    >>> heat = Custom(lambda eigenvalues: torch.exp(-eigenvalues))
    >>> heat.matrix(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """

    function: Callable[[Tensor], Tensor]

    def response(self, eigenvalues: Tensor) -> Tensor:
        return self.function(eigenvalues)


@dataclass(frozen=True)
class AllPass(_Applied):
    """f(λ) = 1: every frequency alike, the signal term of DM.

    Source: UniDD, §3 (statistical matching).

    >>> AllPass().response(torch.tensor([0.4, 0.9]))
    tensor([1., 1.])
    """

    def response(self, eigenvalues: Tensor) -> Tensor:
        return torch.ones_like(eigenvalues)

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        return signal


@dataclass(frozen=True)
class Linear(Filter):
    """f(λ) = λ: low-pass, the filter term of DC and of low-frequency matching (LFM).

    Source: UniDD, §3 (gradient matching).

    >>> Linear().response(torch.tensor([0.5, 2.0]))
    tensor([0.5000, 2.0000])
    """

    def response(self, eigenvalues: Tensor) -> Tensor:
        return eigenvalues.clone()

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        return ffc @ signal

    def matrix(self, ffc: Tensor) -> Tensor:
        return ffc.clone()


@dataclass(frozen=True)
class Ridge(Filter):
    """f(λ) = 1 / (λ + β): the kernel-ridge filter of KIP, FRePo and CFM; high-pass, the more so the smaller β.

    Args:
        beta: regulariser β > 0, in the units of λ (feature²).
    Raises:
        ValueError: β is not a finite number above 0.
        torch.linalg.LinAlgError: Ψ + βI is not positive definite in the working precision: raise β or use float64.
    Source: UniDD, §3 (kernel ridge regression).

    >>> Ridge(beta=0.1).response(torch.tensor([0.4, 0.9]))
    tensor([2., 1.])
    """

    beta: float

    def __post_init__(self):
        _check(math.isfinite(self.beta) and self.beta > 0, f"beta must be a finite number above 0, not {self.beta}")

    has_row_form: ClassVar[bool] = True

    def response(self, eigenvalues: Tensor) -> Tensor:
        return 1 / (eigenvalues + self.beta)

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        return torch.cholesky_solve(signal, self._factor(ffc))

    def matrix(self, ffc: Tensor) -> Tensor:
        return torch.cholesky_inverse(self._factor(ffc))

    def _factor(self, ffc: Tensor) -> Tensor:
        return torch.linalg.cholesky(ffc + self.beta * _identity(ffc))

    def resolved(self, largest: float, dtype: torch.dtype) -> "Ridge":
        """Return the filter with a β no smaller than 16 ε λ_max."""
        return Ridge(max(self.beta, _RESOLVED * torch.finfo(dtype).eps * largest))

    def scale(self, largest: float) -> float:
        return self.beta

    def distances(self, ffc: Tensor, flc: Tensor, real: tuple[Tensor, Tensor], rates: Tensor) -> Distances:
        return channel_form(ffc, flc, self.beta, real, rates)

    def row_distances(
        self, z: Tensor, flc: Tensor, carried: tuple[Tensor, Tensor], isotropic: bool, real: Tensor, rates: Tensor
    ) -> Distances:
        return row_form(z, flc, carried, isotropic, real, rates)


@dataclass(frozen=True)
class _GradientDescent(_Applied):
    """`steps` steps of gradient descent with rate α on a linear head: shared checks of the two MTT filters."""

    rate: float
    steps: int

    def __post_init__(self):
        _check(math.isfinite(self.rate) and self.rate > 0, f"rate must be a finite number above 0, not {self.rate}")
        whole = isinstance(self.steps, int) and self.steps >= 0
        _check(whole, f"steps must be a whole number from 0, not {self.steps}")


@dataclass(frozen=True)
class Residual(_GradientDescent):
    """r_t(λ) = (1 − αλ)^t: what t steps of gradient descent leave of the initial weights (MTT).

    Args:
        rate: learning rate α > 0 (1/λ units); α λ_max < 2 for a bounded response.
        steps: number of steps t ≥ 0.
    Raises:
        ValueError: α or t is out of range.
    Source: UniDD, §3 (trajectory matching).

    >>> Residual(rate=0.5, steps=2).response(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.2500])
    """

    def response(self, eigenvalues: Tensor) -> Tensor:
        return (1 - self.rate * eigenvalues) ** self.steps

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        for _ in range(self.steps):
            signal = signal - self.rate * (ffc @ signal)
        return signal

    def matrix(self, ffc: Tensor) -> Tensor:
        return torch.linalg.matrix_power(_identity(ffc) - self.rate * ffc, self.steps)


@dataclass(frozen=True)
class Landweber(_GradientDescent):
    """s_t(λ) = α Σ_{k<t} (1 − αλ)^k = (1 − (1 − αλ)^t) / λ: what t steps of gradient descent learn (MTT).

    Tends to 1/λ as t grows (if αλ < 2), is αt at λ = 0, and resembles ridge with β ≈ 1/(αt).

    Args:
        rate: learning rate α > 0.
        steps: number of steps t ≥ 0.
    Raises:
        ValueError: α or t is out of range.
    Source: UniDD, §3 (trajectory matching).

    >>> Landweber(rate=0.5, steps=2).response(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.7500])
    """

    def response(self, eigenvalues: Tensor) -> Tensor:
        power, total = torch.ones_like(eigenvalues), torch.zeros_like(eigenvalues)
        for _ in range(self.steps):
            total, power = total + self.rate * power, power * (1 - self.rate * eigenvalues)
        return total

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        weights = torch.zeros_like(signal)
        for _ in range(self.steps):
            weights = weights - self.rate * (ffc @ weights - signal)
        return weights


@dataclass(frozen=True)
class Polynomial(_Applied):
    """f(λ) = Σ_k a_k λ^k, by Horner's rule.

    Args:
        coefficients: a_0, a_1, … (at least one).
    Raises:
        ValueError: no coefficient is given, or one is not finite.

    >>> Polynomial((1.0, 0.0, 2.0)).response(torch.tensor([3.0]))
    tensor([19.])
    """

    coefficients: tuple[float, ...]

    def __post_init__(self):
        valid = bool(self.coefficients) and all(map(math.isfinite, self.coefficients))
        _check(valid, f"a polynomial needs at least one coefficient, all finite, not {self.coefficients}")

    def response(self, eigenvalues: Tensor) -> Tensor:
        value = torch.zeros_like(eigenvalues)
        for a in reversed(self.coefficients):
            value = value * eigenvalues + a
        return value

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        value = torch.zeros_like(signal)
        for a in reversed(self.coefficients):
            value = ffc @ value + a * signal
        return value


@dataclass(frozen=True)
class BandPass(Filter):
    """f(λ) = 1 for low ≤ λ < high, else 0: keeps one band of frequencies.

    It projects onto eigenvectors: its gradient is defined where no eigenvalue lies on an edge of the band.

    Args:
        low, high: the edges of the band, 0 ≤ low < high (high may be infinite).
    Raises:
        ValueError: the edges are out of order.

    >>> BandPass(0.1, 1.0).response(torch.tensor([0.01, 0.5, 1.0]))
    tensor([0., 1., 0.])
    """

    low: float
    high: float = math.inf

    def __post_init__(self):
        _check(0 <= self.low < self.high, f"a band needs 0 <= low < high, not [{self.low}, {self.high})")

    def response(self, eigenvalues: Tensor) -> Tensor:
        return ((eigenvalues >= self.low) & (eigenvalues < self.high)).to(eigenvalues.dtype)


@dataclass(frozen=True)
class Scaled(Filter):
    """f(λ) = c · f₁(λ). With c = β, ridge becomes β/(λ + β) and its response lies in [0, 1].

    >>> Scaled(Ridge(0.5), 0.5).response(torch.tensor([0.0, 0.5]))
    tensor([1.0000, 0.5000])
    """

    filter: Filter
    factor: float

    def __post_init__(self):
        _check(math.isfinite(self.factor), f"factor must be a finite number, not {self.factor}")

    def response(self, eigenvalues: Tensor) -> Tensor:
        return self.factor * self.filter.response(eigenvalues)

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        return self.factor * self.filter.apply(ffc, signal)

    def matrix(self, ffc: Tensor) -> Tensor:
        return self.factor * self.filter.matrix(ffc)

    def resolved(self, largest: float, dtype: torch.dtype) -> "Scaled":
        return Scaled(self.filter.resolved(largest, dtype), self.factor)


@dataclass(frozen=True)
class Product(_Applied):
    """f(λ) = f₁(λ) f₂(λ): one filter after another.

    >>> Product(Linear(), Ridge(1.0)).response(torch.tensor([1.0]))
    tensor([0.5000])
    """

    first: Filter
    second: Filter

    def response(self, eigenvalues: Tensor) -> Tensor:
        return self.first.response(eigenvalues) * self.second.response(eigenvalues)

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        return self.second.apply(ffc, self.first.apply(ffc, signal))

    def resolved(self, largest: float, dtype: torch.dtype) -> "Product":
        return Product(self.first.resolved(largest, dtype), self.second.resolved(largest, dtype))


class _SpectralFunction(torch.autograd.Function):
    """f(Ψ) through an eigendecomposition, with a derivative that is right at repeated eigenvalues.

    In the eigenbasis the derivative of f(Ψ) has the factors f[λ_i, λ_j] (Daleckii–Krein), see `_divided_differences`.
    """

    @staticmethod
    def forward(ctx, ffc: Tensor, filter: Filter) -> Tensor:
        eigenvalues, basis = torch.linalg.eigh(ffc)
        eigenvalues = eigenvalues.clamp_min(0)  # Ψ is PSD: −1e-16 is a zero of a dead channel
        values = filter.response(eigenvalues)
        ctx.save_for_backward(eigenvalues, basis, values)
        ctx.filter = filter
        return (basis * values.unsqueeze(-2)) @ basis.mT

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        eigenvalues, basis, values = ctx.saved_tensors
        slope = _divided_differences(ctx.filter, eigenvalues, values)
        gradient = (gradient + gradient.mT) / 2
        return basis @ (slope * (basis.mT @ gradient @ basis)) @ basis.mT, None


def _divided_differences(filter: Filter, eigenvalues: Tensor, values: Tensor) -> Tensor:
    """Return f[λ_i, λ_j] = (f(λ_i) − f(λ_j)) / (λ_i − λ_j), and f'(λ_i) where the two are one: (…, d, d).

    Of neighbours the difference is mostly rounding. Where the mean of f' between the two, by Gauss's rule, agrees with
    the difference to that rounding, the mean is taken, which has none. So a jump between them keeps its difference.
    """
    run = eigenvalues.unsqueeze(-1) - eigenvalues.unsqueeze(-2)
    rise = values.unsqueeze(-1) - values.unsqueeze(-2)
    equal = run == 0
    safe = run.masked_fill(equal, 1)
    difference = rise / safe
    mean = torch.zeros_like(run)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        mean += weight * filter.derivative(eigenvalues.unsqueeze(-2) + node * run)
    sizes = values.abs().unsqueeze(-1) + values.abs().unsqueeze(-2)
    rounding = 8 * torch.finfo(run.dtype).eps * sizes / safe.abs()
    return torch.where(equal | ((mean - difference).abs() <= rounding), mean, difference)
