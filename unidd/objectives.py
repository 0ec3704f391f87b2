"""What each method minimises, as pure functions of correlations: UniDD's terms, and DM, DC, MTT, KRR and BN statistics.

A `Side` is the FFC Ψ = XᵀX/n and the FLC Φ = XᵀY/n of real or synthetic features; a linear head W (d, c) on fixed
features has the squared loss ½‖XW − Y‖²/n, so that its gradient is ΨW − Φ. Where a method's distance is only bounded
by UniDD's terms, the bound stands beside it.

Source: UniDD (arXiv 2503.01212), §3; the chapter "Every method is a filter".
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
        """From rows (n, d) and targets (n, c), not centred."""
        return Side(features.T @ features / len(features), features.T @ targets / len(features))


def filter_loss(filter: Filter, ffc: Tensor, ffc_synthetic: Tensor) -> Tensor:
    """‖f(Ψ) − f(Ψ_s)‖_F for FFCs (d, d): UniDD with g = I, as a norm (CFM), a scalar."""
    return _norm(filter.matrix(ffc) - filter.matrix(ffc_synthetic))


def signal_loss(filter: Filter, ffc: Tensor, flc: Tensor, ffc_synthetic: Tensor, flc_synthetic: Tensor) -> Tensor:
    """‖f(Ψ)Φ − f(Ψ_s)Φ_s‖_F for FFCs (d, d) and FLCs (d, k): UniDD with g = Φ, as a norm (CFM), a scalar."""
    return _norm(filter.apply(ffc, flc) - filter.apply(ffc_synthetic, flc_synthetic))


def dm(real: Side, synthetic: Side) -> Tensor:
    """Distribution matching: ‖Φ − Φ_s‖_F, the signal term with f = 1."""
    return _norm(real.flc - synthetic.flc)


def dc(real: Side, synthetic: Side, weights: Tensor) -> Tensor:
    """Gradient matching at head W (d, c): ‖(ΨW − Φ) − (Ψ_sW − Φ_s)‖_F."""
    return _norm((real.ffc - synthetic.ffc) @ weights - (real.flc - synthetic.flc))


def dc_bound(real: Side, synthetic: Side, weights: Tensor) -> Tensor:
    """‖W‖₂ ‖Ψ − Ψ_s‖_F + ‖Φ − Φ_s‖_F, never below `dc`: the filter term with f = λ and the signal term with f = 1."""
    return _spectral(weights) * filter_loss(Linear(), real.ffc, synthetic.ffc) + dm(real, synthetic)


def trajectory(side: Side, weights: Tensor, rate: float, steps: int) -> Tensor:
    """W_t = (I − αΨ)^t W₀ + s_t(Ψ)Φ: the head after t steps of gradient descent from W₀ (d, c)."""
    return Residual(rate, steps).apply(side.ffc, weights) + Landweber(rate, steps).apply(side.ffc, side.flc)


def mtt(real: Side, synthetic: Side, weights: Tensor, rate: float, expert: int, student: int) -> Tensor:
    """Trajectory matching: ‖W_p − W_q‖_F after p expert steps on real and q student steps on synthetic data."""
    return _norm(trajectory(real, weights, rate, expert) - trajectory(synthetic, weights, rate, student))


def mtt_bound(real: Side, synthetic: Side, weights: Tensor, rate: float, expert: int, student: int) -> Tensor:
    """‖W₀‖₂ ‖r_p(Ψ) − r_q(Ψ_s)‖_F + ‖s_p(Ψ)Φ − s_q(Ψ_s)Φ_s‖_F, never below `mtt`."""
    residual = Residual(rate, expert).matrix(real.ffc) - Residual(rate, student).matrix(synthetic.ffc)
    learnt = Landweber(rate, expert).apply(*real) - Landweber(rate, student).apply(*synthetic)
    return _spectral(weights) * _norm(residual) + _norm(learnt)


def krr(real: Side, synthetic: Side, beta: float) -> Tensor:
    """Distance of the kernel-ridge heads, ‖(Ψ + βI)⁻¹Φ − (Ψ_s + βI)⁻¹Φ_s‖_F: the signal term with f = 1/(λ + β)."""
    return signal_loss(Ridge(beta), *real, *synthetic)


def head_loss(real: Side, weights: Tensor, target_power: Tensor | float) -> Tensor:
    """‖Y − XW‖²/n of a head W (d, c) on the real side, from moments alone.

    Args:
        target_power: ‖Y‖²/n; 1 for one-hot labels.
    Source: KIP and FRePo minimise it over the synthetic set that W = (Ψ_s + βI)⁻¹Φ_s depends on.
    """
    return target_power - 2 * (weights * real.flc).sum() + (weights * (real.ffc @ weights)).sum()


def bn(real_mean: Tensor, real_ffc: Tensor, mean: Tensor, ffc: Tensor) -> Tensor:
    """Batch-norm statistics (SRe2L): ‖μ − μ_s‖ + ‖diag Ψ − diag Ψ_s‖ of centred FFCs: f = λ, on the diagonal only."""
    return _norm(real_mean - mean) + _norm(real_ffc.diagonal() - ffc.diagonal())


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x)


def _spectral(x: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(x, 2)
