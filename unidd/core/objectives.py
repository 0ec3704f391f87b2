"""What each method minimises, as pure functions of correlations: UniDD's terms, and DM, DC, MTT, KRR and BN statistics.

A `Side` is the FFC Ψ = XᵀX/n and the FLC Φ = XᵀY/n of real or synthetic features; a linear head W (d, c) on fixed
features has the squared loss ½‖XW − Y‖²/n, so that its gradient is ΨW − Φ. Where a method's distance is only bounded
by UniDD's terms, the bound stands beside it.

Source: UniDD (arXiv 2503.01212), §3; the chapters "Every method is a filter" and "Bounds, and how loose they are".
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .filters import Filter, Landweber, Linear, Residual, Ridge


class Side(NamedTuple):
    """FFC (d, d) and FLC (d, c) of one side, real or synthetic."""

    ffc: Tensor
    flc: Tensor

    @staticmethod
    def of(features: Tensor, targets: Tensor) -> "Side":
        """Make a side of rows (n, d) and targets (n, c), not centred."""
        return Side(features.T @ features / len(features), features.T @ targets / len(features))


def filter_loss(filter: Filter, ffc: Tensor, ffc_synthetic: Tensor) -> Tensor:
    """Return ‖f(Ψ) − f(Ψ_s)‖_F for FFCs (d, d): UniDD with g = I, as a norm (CFM), a scalar."""
    return _norm(filter.matrix(ffc) - filter.matrix(ffc_synthetic))


def signal_loss(filter: Filter, ffc: Tensor, flc: Tensor, ffc_synthetic: Tensor, flc_synthetic: Tensor) -> Tensor:
    """Return ‖f(Ψ)Φ − f(Ψ_s)Φ_s‖_F for FFCs (d, d) and FLCs (d, k): UniDD with g = Φ, as a norm (CFM), a scalar."""
    return _norm(filter.apply(ffc, flc) - filter.apply(ffc_synthetic, flc_synthetic))


def dm(real: Side, synthetic: Side) -> Tensor:
    """Return the distance of distribution matching, ‖Φ − Φ_s‖_F, the signal term with f = 1."""
    return _norm(real.flc - synthetic.flc)


def dc_terms(real: Side, synthetic: Side, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gap of the gradients ΨW − Φ as a sum of two: (Ψ − Ψ_s)W and −(Φ − Φ_s), (d, c) each."""
    return (real.ffc - synthetic.ffc) @ weights, synthetic.flc - real.flc


def dc(real: Side, synthetic: Side, weights: Tensor) -> Tensor:
    """Return the distance of gradient matching at head W (d, c), ‖(ΨW − Φ) − (Ψ_sW − Φ_s)‖_F."""
    left, right = dc_terms(real, synthetic, weights)
    return _norm(left + right)


def dc_bound(real: Side, synthetic: Side, weights: Tensor) -> Tensor:
    """‖W‖₂ ‖Ψ − Ψ_s‖_F + ‖Φ − Φ_s‖_F, never below `dc`: the filter term with f = λ and the signal term with f = 1."""
    return _spectral(weights) * filter_loss(Linear(), real.ffc, synthetic.ffc) + dm(real, synthetic)


def trajectory(side: Side, weights: Tensor, rate: float, steps: int) -> Tensor:
    """Return W_t = (I − αΨ)^t W₀ + s_t(Ψ)Φ: the head after t steps of gradient descent from W₀ (d, c)."""
    return Residual(rate, steps).apply(side.ffc, weights) + Landweber(rate, steps).apply(side.ffc, side.flc)


def mtt_terms(
    real: Side, synthetic: Side, weights: Tensor, rate: float, expert: int, student: int
) -> tuple[Tensor, Tensor]:
    """Return W_p − W_q as a sum of two, (d, c) each: (r_p(Ψ) − r_q(Ψ_s))W₀ and s_p(Ψ)Φ − s_q(Ψ_s)Φ_s."""
    left = Residual(rate, expert).apply(real.ffc, weights) - Residual(rate, student).apply(synthetic.ffc, weights)
    return left, Landweber(rate, expert).apply(*real) - Landweber(rate, student).apply(*synthetic)


def mtt(real: Side, synthetic: Side, weights: Tensor, rate: float, expert: int, student: int) -> Tensor:
    """Return the distance of trajectory matching, ‖W_p − W_q‖_F after p steps on real and q on synthetic data."""
    return _norm(trajectory(real, weights, rate, expert) - trajectory(synthetic, weights, rate, student))


def mtt_bound(real: Side, synthetic: Side, weights: Tensor, rate: float, expert: int, student: int) -> Tensor:
    """Return ‖W₀‖₂ ‖r_p(Ψ) − r_q(Ψ_s)‖_F + ‖s_p(Ψ)Φ − s_q(Ψ_s)Φ_s‖_F, never below `mtt`."""
    residual = Residual(rate, expert).matrix(real.ffc) - Residual(rate, student).matrix(synthetic.ffc)
    _, learnt = mtt_terms(real, synthetic, weights, rate, expert, student)
    return _spectral(weights) * _norm(residual) + _norm(learnt)


class Looseness(NamedTuple):
    """Why a bound lies above what it bounds: the factor each of its two inequalities adds, at least 1 each."""

    norm: float
    triangle: float

    @property
    def ratio(self) -> float:
        """Bound over true value, the product of the factors."""
        return self.norm * self.triangle


def looseness(terms: tuple[Tensor, Tensor], bound: Tensor) -> Looseness:
    """Split bound / ‖A + B‖_F in two.

    Args:
        terms: A and B (d, c), from `dc_terms` or `mtt_terms`; A + B is not 0.
        bound: from `dc_bound` or `mtt_bound`.
    Returns:
        `norm`, bound / (‖A‖_F + ‖B‖_F), is what ‖MW‖_F ≤ ‖W‖₂ ‖M‖_F gives away; `triangle`, (‖A‖_F + ‖B‖_F) /
        ‖A + B‖_F, is what the triangle inequality does.
    """
    apart, together = _norm(terms[0]) + _norm(terms[1]), _norm(terms[0] + terms[1])
    return Looseness(float(bound / apart), float(apart / together))


def krr(real: Side, synthetic: Side, beta: float) -> Tensor:
    """Return ‖(Ψ + βI)⁻¹Φ − (Ψ_s + βI)⁻¹Φ_s‖_F of kernel-ridge heads, the signal term with f = 1/(λ + β)."""
    return signal_loss(Ridge(beta), *real, *synthetic)


def head_loss(real: Side, weights: Tensor, target_power: Tensor | float) -> Tensor:
    """Return ‖Y − XW‖²/n of a head W (d, c) on the real side, from moments alone.

    Args:
        target_power: ‖Y‖²/n; 1 for one-hot labels.
    Source: KIP and FRePo minimise it over the synthetic set that W = (Ψ_s + βI)⁻¹Φ_s depends on.
    """
    return target_power - 2 * (weights * real.flc).sum() + (weights * (real.ffc @ weights)).sum()


def head_gap(real: Side, weights: Tensor, other: Tensor, beta: float = 0.0) -> Tensor:
    """Return tr((W − W')ᵀ (Ψ + βI) (W − W')) of two heads (d, c): how far apart, seen by the real data, a scalar.

    With W' = (Ψ + βI)⁻¹Φ it is what `head_loss` of W, plus β‖W‖², lies above its minimum.
    """
    gap = weights - other
    return (gap * (real.ffc @ gap + beta * gap)).sum()


def bn(real_mean: Tensor, real_ffc: Tensor, mean: Tensor, ffc: Tensor) -> Tensor:
    """Batch-norm statistics (SRe2L): ‖μ − μ_s‖ + ‖diag Ψ − diag Ψ_s‖ of centred FFCs: f = λ, on the diagonal only."""
    return _norm(real_mean - mean) + _norm(real_ffc.diagonal() - ffc.diagonal())


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x)


def _spectral(x: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(x, 2)
