"""Compute the distances of ridge-filtered layers and their derivatives in closed form, without autograd.

For P = (Ψ_s + βI)⁻¹ we have dP = −P dΨ P. A loss whose gradient in P is −H, with H symmetric, therefore has the
gradient P H P in Ψ_s. Two forms give the same numbers: `channel_form` factorises Ψ_s + βI (d, d); `row_form` factorises
the Gram matrix (n, n) of the rows, which is cheaper where the n rows are far fewer than the d channels.
Chapter: "Appendix: what a step costs".
"""

import math

import torch
from torch import Tensor


def channel_form(
    ffc: Tensor, flc: Tensor, beta: float, real: tuple[Tensor, Tensor], rates: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distances of layers from their real sides, and the derivatives of their weighted sum.

    Args:
        ffc, flc: Ψ_s (L, d, d), which is overwritten, and Φ_s (L, d, k).
        beta: of the ridge filter f.
        real: f(Ψ) (L, d, d) and f(Ψ)Φ (L, d, k).
        rates: weights of the filter and the signal distance (L, 2).
    Returns:
        ‖f(Ψ) − P‖_F and ‖f(Ψ)Φ − PΦ_s‖_F (L, 2); the derivatives in Ψ_s (L, d, d) and in Φ_s (L, d, k). All are NaN
        where Ψ_s + βI has no Cholesky factor.
    """
    ffc.diagonal(dim1=1, dim2=2).add_(beta)
    inverse = torch.cholesky_inverse(_cholesky(ffc))
    filter_gap, signal_gap = real[0] - inverse, real[1] - inverse @ flc
    distances = norms(filter_gap, signal_gap)
    rates = _over(rates, distances)
    signal = signal_gap * rates[:, 1, None, None]
    half = (signal / 2) @ flc.mT
    h = torch.addcmul(half + half.mT, filter_gap, rates[:, 0, None, None])
    return distances, inverse @ h @ inverse, -(inverse @ signal)


def row_form(
    z: Tensor, flc: Tensor, carried: tuple[Tensor, Tensor], isotropic: bool, real: Tensor, rates: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as `channel_form` for one layer with Ψ_s = K⁻¹ − βI + ZᵀZ, by Woodbury's identity.

    P = K − SᵀS with S = C⁻¹ZK, CCᵀ = I + ZKZᵀ (n, n), and ZP = C⁻ᵀS; the derivative in Z is 2 ZP H P.

    Args:
        z: centred rows (n, d), scaled so that ZᵀZ is what they add to Ψ_s.
        flc: Φ_s (d, k).
        carried: K (d, d), the inverse before the rows come, and f(Ψ) − K.
        isotropic: whether K is a multiple of I.
        real: f(Ψ)Φ (d, k).
        rates: weights of the filter and the signal distance (2,).
    Returns:
        the distances (2,), the derivatives in Z (n, d) and in Φ_s (d, k).
    """
    k, gap = carried
    t = z * k[0, 0] if isotropic else z @ k
    gram = t @ z.T
    gram.diagonal().add_(1)
    factor = _cholesky(gram)
    s = torch.linalg.solve_triangular(factor, t, upper=False)

    def times_p(v: Tensor) -> Tensor:
        return (v * k[0, 0] if isotropic else v @ k) - (v @ s.T) @ s

    filter_gap, signal_gap = torch.addmm(gap, s.T, s), real - times_p(flc.T).T
    distances = norms(filter_gap, signal_gap)
    rates = _over(rates, distances)
    signal = signal_gap * rates[1]
    zp = torch.linalg.solve_triangular(factor.T, s, upper=True)
    v = (zp @ filter_gap) * rates[0] + ((zp @ signal) @ flc.T + (zp @ flc) @ signal.T) / 2
    return distances, times_p(v).mul_(2), -times_p(signal.T).T


def _cholesky(matrix: Tensor) -> Tensor:
    """Return the lower Cholesky factors of matrices whose diagonal is raised by the rounding of their trace.

    Raised so, a singular matrix has a factor too. A matrix that still has none gives NaN, which the engine finds when
    it next looks at the loss; an exception here would make every step wait for the device.
    """
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(diagonal.sum(-1, keepdim=True), alpha=torch.finfo(matrix.dtype).eps)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    return factor.masked_fill_((failed > 0)[..., None, None], math.nan)


def norms(*gaps: Tensor) -> Tensor:
    """Return ‖·‖_F of gaps (…, d, k), side by side: (…, number of gaps)."""
    return torch.stack([torch.linalg.vector_norm(gap, dim=(-2, -1)) for gap in gaps], -1)


def _over(rates: Tensor, distances: Tensor) -> Tensor:
    """Return rate / distance, the factor of a gap in the derivative of its norm; a gap of 0 makes the product 0."""
    return rates / distances.clamp_min(torch.finfo(distances.dtype).tiny)
