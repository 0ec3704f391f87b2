"""Spectral filters f(λ) on the eigenvalues of the feature–feature correlation (FFC) matrix.

Every dataset-distillation method compares f(Ψ)Φ of real and synthetic data; the methods differ in f. Here λ are
eigenvalues of the FFC Ψ: a *large* λ is a *low* frequency, so f(λ) = λ is low-pass and 1/(λ + β) is high-pass.

`response(λ)` is the scalar function, `matrix(Ψ)` is f(Ψ) = U f(Λ) Uᵀ, and `apply(Ψ, B)` is f(Ψ)B without
forming f(Ψ) where a solve or a recurrence does it. All three are differentiable, keep dtype and device, and accept
leading batch dimensions. Only tests and `BandPass` ever diagonalise.

Source: UniDD (arXiv 2503.01212), §3; the chapter "A zoo of filters".
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class Filter(ABC):
    """A function of a symmetric positive semi-definite matrix, given by its scalar response."""

    @abstractmethod
    def response(self, eigenvalues: Tensor) -> Tensor:
        """f(λ), elementwise: any shape in, the same shape out."""

    @abstractmethod
    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        """f(Ψ)B for Ψ (…, d, d) and B (…, d, k): (…, d, k)."""

    def matrix(self, ffc: Tensor) -> Tensor:
        """f(Ψ) for Ψ (…, d, d): (…, d, d)."""
        return self.apply(ffc, _identity(ffc))


def _identity(ffc: Tensor) -> Tensor:
    return torch.eye(ffc.shape[-1], dtype=ffc.dtype, device=ffc.device).expand_as(ffc)


@dataclass(frozen=True)
class AllPass(Filter):
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

    def response(self, eigenvalues: Tensor) -> Tensor:
        return 1 / (eigenvalues + self.beta)

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        return torch.cholesky_solve(signal, self._factor(ffc))

    def matrix(self, ffc: Tensor) -> Tensor:
        return torch.cholesky_inverse(self._factor(ffc))

    def _factor(self, ffc: Tensor) -> Tensor:
        return torch.linalg.cholesky(ffc + self.beta * _identity(ffc))


@dataclass(frozen=True)
class _GradientDescent(Filter):
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
class Polynomial(Filter):
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
        valid = self.coefficients and all(map(math.isfinite, self.coefficients))
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

    A projection onto eigenvectors: its gradient is defined where no eigenvalue lies on an edge of the band.

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

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        return self.matrix(ffc) @ signal

    def matrix(self, ffc: Tensor) -> Tensor:
        return _SpectralFunction.apply(ffc, self)


@dataclass(frozen=True)
class Scaled(Filter):
    """f(λ) = c · f₁(λ). With c = β, ridge becomes β/(λ + β) and its response lies in [0, 1].

    >>> Scaled(Ridge(0.5), 0.5).response(torch.tensor([0.0, 0.5]))
    tensor([1.0000, 0.5000])
    """

    filter: Filter
    scale: float

    def __post_init__(self):
        _check(math.isfinite(self.scale), f"scale must be a finite number, not {self.scale}")

    def response(self, eigenvalues: Tensor) -> Tensor:
        return self.scale * self.filter.response(eigenvalues)

    def apply(self, ffc: Tensor, signal: Tensor) -> Tensor:
        return self.scale * self.filter.apply(ffc, signal)

    def matrix(self, ffc: Tensor) -> Tensor:
        return self.scale * self.filter.matrix(ffc)


@dataclass(frozen=True)
class Product(Filter):
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


class _SpectralFunction(torch.autograd.Function):
    """f(Ψ) through an eigendecomposition, with a backward that stays finite at repeated eigenvalues.

    The derivative of f(Ψ) has entries f[λ_i, λ_j] = (f(λ_i) − f(λ_j)) / (λ_i − λ_j) in the eigenbasis (Daleckii–Krein);
    for the piecewise constant responses used here it is 0 within a band.
    """

    @staticmethod
    def forward(ctx, ffc: Tensor, filter: Filter) -> Tensor:
        eigenvalues, basis = torch.linalg.eigh(ffc)
        values = filter.response(eigenvalues.clamp_min(0))  # Ψ is PSD: −1e-16 is a zero of a dead channel
        ctx.save_for_backward(eigenvalues, basis, values)
        return (basis * values.unsqueeze(-2)) @ basis.mT

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        eigenvalues, basis, values = ctx.saved_tensors
        rise = values.unsqueeze(-1) - values.unsqueeze(-2)
        run = eigenvalues.unsqueeze(-1) - eigenvalues.unsqueeze(-2)
        slope = torch.where(rise == 0, torch.zeros_like(rise), rise / torch.where(rise == 0, torch.ones_like(run), run))
        gradient = (gradient + gradient.mT) / 2
        return basis @ (slope * (basis.mT @ gradient @ basis)) @ basis.mT, None
