"""Bands of frequencies of a layer: what a set leaves unmatched in each of them, and matching terms of one band alone.

A layer's real FFC Ψ = Σ λ_i u_i u_iᵀ is cut into bands of as many directions each, from large λ (low frequencies) to
small λ (high ones). Dead directions, whose λ is rounding, lie in no band.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .objectives import Side
from .spectra import Spectrum, class_signal, spectrum

KINDS = ("filter", "class", "mean")


def live(found: Spectrum, tolerance: float = 1e-8) -> Spectrum:
    """Return the directions whose λ is above `tolerance` times the largest; the others are dead, their λ rounding.

    Raises:
        ValueError: all eigenvalues are 0.
    """
    above = found.eigenvalues > tolerance * found.eigenvalues.max()
    if not above.any():
        raise ValueError("the real FFC is 0: it has no live direction")
    return Spectrum(found.eigenvalues[above], found.basis[:, above])


class Bands(NamedTuple):
    """The r live directions of a layer, and how many of them each of J bands has.

    Attributes:
        real: their eigenvalues (r,), largest first, and the directions as columns (d, r).
        sizes: directions of each band; they add up to r.
    """

    real: Spectrum
    sizes: tuple[int, ...]

    @staticmethod
    def of(ffc: Tensor, count: int) -> "Bands":
        """Cut the spectrum of a real FFC (d, d) into `count` bands of as many directions each, give or take one.

        Raises:
            ValueError: there are fewer live directions than bands.
        """
        found = live(spectrum(ffc))
        directions = len(found.eigenvalues)
        if not 1 <= count <= directions:
            raise ValueError(f"bands must be 1 … {directions}, the live directions of the layer, not {count}")
        return Bands(found, tuple(len(part) for part in torch.arange(directions).tensor_split(count)))

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean in each band of one number a live direction (r,): (J,)."""
        return torch.stack([part.mean() for part in values.split(self.sizes)])

    @property
    def eigenvalues(self) -> Tensor:
        """The geometric mean of λ in each band (J,)."""
        return self.mean(self.real.eigenvalues.log()).exp()


def residual(real: Spectrum, ffc: Tensor, ffc_synthetic: Tensor) -> Tensor:
    """Return e_i(S) = |u_iᵀ(Ψ − Ψ_S)u_i| / λ_i of FFCs (d, d), in every live direction of `real`: (r,).

    It is 0 where the set has the real power, and 1 where it has none or twice as much.

    Args:
        real: of the real FFC; `ffc` may be another view of it, and is then measured in units of the first.
    Raises:
        ValueError: the real FFC is 0.
    """
    eigenvalues, basis = live(real)
    gap = (ffc - ffc_synthetic).to(basis)
    return ((gap @ basis) * basis).sum(0).abs() / eigenvalues


def signal_residual(real: Spectrum, flc: Tensor, flc_synthetic: Tensor) -> Tensor:
    """Return ‖u_iᵀ(Φ − Φ_S)‖ / √λ_i of FLCs (d, k), in every live direction of `real`: (r,).

    That is in standard deviations of the real features along u_i. It is not divided by ‖u_iᵀΦ‖, which is 0 where a
    direction knows nothing of the labels; the residual of Φ_S = 0 says how much that is.

    Raises:
        ValueError: the real FFC is 0.
    """
    eigenvalues, basis = live(real)
    return (basis.T @ (flc - flc_synthetic).to(basis)).norm(dim=1) / eigenvalues.sqrt()


def transfer(residuals: Tensor, start: Tensor) -> Tensor:
    """Return T = 1 − e(S)/e(S₀), what a set gains on a start or another set, elementwise: 1 is all, below 0 a loss.

    Where the start leaves nothing unmatched, T is 0 if the set does neither, and else −∞.
    """
    nothing = torch.where(residuals > 0, -math.inf, 0.0).to(residuals)
    return torch.where(start > 0, 1 - residuals / torch.where(start > 0, start, 1.0), nothing)


def band_terms(bands: Bands, real: Side, synthetic: Side) -> Tensor:
    """Return the matching loss of each band alone, in the order of `KINDS`: (3, J), differentiable in `synthetic`.

    With P_j the projector on band j, and FLCs of one-hot labels (d, c):

        filter  ‖P_j(Ψ − Ψ_S)P_j‖² / ‖P_jΨP_j‖²
        class   ‖P_j(Φ − Φ_S)‖² / tr Ψ,  without what all classes share (`class_signal`)
        mean    ‖P_j(μ − μ_S)‖² / tr Ψ,  μ = Φ1 the mean feature

    The first is relative to each band's own size and the others are not, so that for f(λ) = λ^p the weight of band j in
    ‖f(Ψ) − f(Ψ_S)‖², in first order, and in ‖f(Ψ)(Φ − Φ_S)‖² goes as f(λ_j)² alike: the first weighs a difference
    within a band with f'(λ)², which λ² makes (λf')². So a weight that grows with λ is low-pass for all three.

    Args:
        bands: of the real FFC. `real` may be another view of it.
    """
    basis, lam = bands.real.basis, bands.real.eigenvalues
    gap = basis.T @ (real.ffc - synthetic.ffc).to(basis) @ basis
    signal = basis.T @ (real.flc - synthetic.flc).to(basis)
    parts = [rows.split(bands.sizes, 1)[j] for j, rows in enumerate(gap.split(bands.sizes))]
    sizes = torch.stack([part.square().sum() for part in lam.split(bands.sizes)])
    filter = torch.stack([part.square().sum() for part in parts]) / sizes
    powers = class_signal(signal).square().sum(1), signal.sum(1).square()
    found = [torch.stack([part.sum() for part in power.split(bands.sizes)]) / lam.sum() for power in powers]
    return torch.stack([filter, *found])
