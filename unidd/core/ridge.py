"""Distances of ridge-filtered layers and their derivatives, written out: no graph runs through a factorisation.

For P = (Ψ_s + βI)⁻¹, a loss whose gradient in P is −H, H symmetric, has gradient P H P in Ψ_s: dP = −P dΨ P. Two forms
give the same: `by_channels` factorises Ψ_s + βI (d, d); `by_rows`, for n rows that are far fewer than the d
channels, the Gram matrix (n, n) of the rows. Chapter: "CFM, the algorithm and its cost".
"""

import math

import torch
from torch import Tensor


def by_channels(
    ffc: Tensor, flc: Tensor, beta: float, real: tuple[Tensor, Tensor], rates: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Distances of layers from their real sides, and the derivatives of their weighted sum.

    Args:
        ffc, flc: Ψ_s (L, d, d), which is overwritten, and Φ_s (L, d, k).
        beta: of the ridge filter f.
        real: f(Ψ) (L, d, d) and f(Ψ)Φ (L, d, k).
        rates: weights of the filter and the signal distance (L, 2).
    Returns:
        ‖f(Ψ) − P‖_F and ‖f(Ψ)Φ − PΦ_s‖_F (L, 2); the derivatives in Ψ_s (L, d, d) and in Φ_s (L, d, k). NaN where
        Ψ_s + βI has no Cholesky factor.
    """
    ffc.diagonal(dim1=1, dim2=2).add_(beta)
    inverse = torch.cholesky_inverse(_cholesky(ffc))
    by_filter, by_signal = real[0] - inverse, real[1] - inverse @ flc
    distances = norms(by_filter, by_signal)
    rates = _over(rates, distances)
    signal = by_signal * rates[:, 1, None, None]
    half = (signal / 2) @ flc.mT
    h = torch.addcmul(half + half.mT, by_filter, rates[:, 0, None, None])
    return distances, inverse @ h @ inverse, -(inverse @ signal)


def by_rows(
    z: Tensor, flc: Tensor, known: tuple[Tensor, Tensor], isotropic: bool, real: Tensor, rates: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for one layer with Ψ_s = K⁻¹ − βI + ZᵀZ, by Woodbury's identity.

    P = K − SᵀS with S = C⁻¹ZK, CCᵀ = I + ZKZᵀ (n, n), and ZP = C⁻ᵀS; the derivative in Z is 2 ZP H P.

    Args:
        z: centred rows (n, d), scaled so that ZᵀZ is what they add to Ψ_s.
        flc: Φ_s (d, k).
        known: K (d, d), the inverse before the rows come, and f(Ψ) − K.
        isotropic: whether K is a multiple of I.
        real: f(Ψ)Φ (d, k).
        rates: weights of the filter and the signal distance (2,).
    Returns:
        the distances (2,), the derivatives in Z (n, d) and in Φ_s (d, k).
    """
    k, gap = known
    t = z * k[0, 0] if isotropic else z @ k
    gram = t @ z.T
    gram.diagonal().add_(1)
    factor = _cholesky(gram)
    s = torch.linalg.solve_triangular(factor, t, upper=False)

    def times_p(v: Tensor) -> Tensor:
        return (v * k[0, 0] if isotropic else v @ k) - (v @ s.T) @ s

    by_filter, by_signal = torch.addmm(gap, s.T, s), real - times_p(flc.T).T
    distances = norms(by_filter, by_signal)
    rates = _over(rates, distances)
    signal = by_signal * rates[1]
    zp = torch.linalg.solve_triangular(factor.T, s, upper=True)
    v = (zp @ by_filter) * rates[0] + ((zp @ signal) @ flc.T + (zp @ flc) @ signal.T) / 2
    return distances, times_p(v).mul_(2), -times_p(signal.T).T


def _cholesky(matrix: Tensor) -> Tensor:
    """Lower factors, of matrices raised by the rounding of their trace, so that a singular one has one too.

    Where there is none NaN, which the engine finds when it next looks at the loss: nothing waits for the device.
    """
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(diagonal.sum(-1, keepdim=True), alpha=torch.finfo(matrix.dtype).eps)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    return factor.masked_fill_((failed > 0)[..., None, None], math.nan)


def norms(*gaps: Tensor) -> Tensor:
    """‖·‖_F of gaps (…, d, k), side by side: (…, number of gaps)."""
    return torch.stack([torch.linalg.vector_norm(gap, dim=(-2, -1)) for gap in gaps], -1)


def _over(rates: Tensor, distances: Tensor) -> Tensor:
    """The derivative of a distance is its gap over it: the factors of the gaps, of which one at the kink is 0."""
    return rates / distances.clamp_min(torch.finfo(distances.dtype).tiny)
