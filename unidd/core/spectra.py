"""Measurements: spectra of layers, what a filter does to them, and what distillation writes into images.

Source: the chapters "Correlation matrices and their spectrum" and "What a filter writes into an image".
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .filters import Filter


class Spectrum(NamedTuple):
    """Eigenvalues (d,), largest (lowest frequency) first, none below 0, and eigenvectors as columns (d, d)."""

    eigenvalues: Tensor
    basis: Tensor


def spectrum(ffc: Tensor) -> Spectrum:
    """Return eigendecomposition of an FFC (d, d), in float64."""
    eigenvalues, basis = torch.linalg.eigh(ffc.double())
    return Spectrum(eigenvalues.clamp_min(0).flip(0), basis.flip(1))


def condition_number(eigenvalues: Tensor, beta: float = 0.0) -> float:
    """Return (λ_max + β) / (λ_min + β); infinite for a dead channel without β."""
    low = float(eigenvalues.min()) + beta
    return (float(eigenvalues.max()) + beta) / low if low > 0 else math.inf


def dead_channels(ffc: Tensor, tolerance: float = 1e-12) -> int:
    """Channels of an FFC (d, d) whose variance is at most `tolerance` times the mean: they say nothing of an image."""
    variance = ffc.diagonal().double()
    return int((variance <= tolerance * variance.mean()).sum())


def effective_dimension(eigenvalues: Tensor, beta: float) -> float:
    """Return Σ λ/(λ + β): how many eigendirections ridge regression keeps; the rank at β = 0.

    Source: Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning", §3.4.
    """
    positive = eigenvalues[eigenvalues > 0]
    return float((positive / (positive + beta)).sum())


def effective_beta(filter: Filter, eigenvalues: Tensor, points: int = 400) -> float:
    """The β whose ridge response, up to a factor, is nearest to the filter's over a spectrum (log least squares).

    For Landweber it lies near 1/(αt). Found on a grid of `points` from λ_min/100 to 100 λ_max; a flat
    filter gives the top of the grid.

    Args:
        eigenvalues: (d,); those at 0 do not count.
        points: of the grid.
    Raises:
        ValueError: no eigenvalue is above 0.
    """
    positive = eigenvalues[eigenvalues > 1e-12 * eigenvalues.max()].double()
    if len(positive) == 0:
        raise ValueError("no eigenvalue is above 0")
    wanted = filter.response(positive).abs().clamp_min(1e-300).log()
    low, high = float(positive.min()) / 100, float(positive.max()) * 100
    grid = torch.logspace(math.log10(low), math.log10(high), points, dtype=torch.float64)
    difference = wanted + (positive + grid[:, None]).log()  # wanted − log 1/(λ + β)
    return float(grid[difference.var(1, correction=0).argmin()])


def participation(basis: Tensor, flc: Tensor) -> Tensor:
    """Share of each eigendirection in the class signal, ‖u_iᵀΦ‖²/‖Φ‖², for a basis (d, d) and an FLC (d, k): (d,).

    Raises:
        ValueError: the FLC is 0, so there is nothing to share.
    """
    energy = (basis.T @ flc.to(basis)).square().sum(1)
    if not energy.sum() > 0:
        raise ValueError("the FLC is 0: no direction has a share in it")
    return energy / energy.sum()


def band_energy(found: Spectrum, flc: Tensor, edges: Tensor) -> Tensor:
    """Share of the FLC's energy in each band of eigenvalues [edge_i, edge_{i+1}), edges (b + 1,) ascending: (b,)."""
    share = participation(found.basis, flc)
    band = torch.bucketize(found.eigenvalues, edges.to(found.eigenvalues), right=True) - 1
    return torch.stack([share[band == i].sum() for i in range(len(edges) - 1)])


def relative_power(real: Spectrum, ffc: Tensor, tolerance: float = 1e-10) -> Tensor:
    """Return ρ_i = u_iᵀ Ψ_s u_i / λ_i, what a set's FFC Ψ_s (d, d) has of the real power in each direction: (r,).

    Directions whose λ_i is at most `tolerance` times the largest are left out: nothing real lies in them.

    Raises:
        ValueError: the real FFC is 0.
    """
    alive = real.eigenvalues > tolerance * real.eigenvalues.max()
    if not alive.any():
        raise ValueError("the real FFC is 0: there is no direction to cover")
    basis = real.basis[:, alive]
    return ((ffc.to(basis) @ basis) * basis).sum(0).clamp_min(0) / real.eigenvalues[alive]


def coverage(ratio: Tensor) -> float:
    """Return the mean of min(ρ, 1) over directions: how much of the real spectrum a set reaches, from 0 to 1.

    Power beyond the real one does not count. A set with the real power in k of r directions and none in the others
    covers k/r.
    """
    return float(ratio.clamp(max=1).mean())


def excess(ratio: Tensor) -> float:
    """Return the mean of max(ρ − 1, 0) over directions: the power a set has beyond the real one, in units of it."""
    return float((ratio - 1).clamp_min(0).mean())


def class_signal(flc: Tensor) -> Tensor:
    """Return the FLC of one-hot labels without what all classes share: Φ less its row mean, (d, c)."""
    return flc - flc.mean(1, keepdim=True)


def radius(size: int) -> Tensor:
    """Return |ω| of each entry of a 2-D discrete Fourier transform, in cycles a pixel, from 0 to √½: (size, size)."""
    axis = torch.fft.fftfreq(size, dtype=torch.float64)
    return (axis[:, None] ** 2 + axis**2).sqrt()


def mean_frequency(images: Tensor, size: int | None = None) -> Tensor:
    """Mean |ω|, weighted with the power |X̂(ω)|² over all channels, of images (n, C, H, W): (n,), cycles a pixel.

    Args:
        size: of the Fourier transform, images padded with zeros; by default their own, or their longer side.
    """
    size = size or max(images.shape[-2:])
    power = torch.fft.fft2(images.double(), s=(size, size)).abs().square().sum(1)
    return (power * radius(size)).sum((1, 2)) / power.sum((1, 2))


def band_response(directions: Tensor, size: int) -> Tensor:
    """Return frequency response H(ω) = Σ_i |û_i(ω)|² / d of keeping some directions in every patch of a picture.

    Each pixel is the mean over the d patches it lies in, the picture wrapping around its borders.

    Args:
        directions: orthonormal columns u_i, patches of √d × √d pixels row by row, (d, k).
        size: of the picture.
    Returns:
        (size, size), in the order of `torch.fft.fft2`; all d directions give 1.
    """
    side = math.isqrt(len(directions))
    pictures = directions.T.reshape(-1, side, side).double()
    return torch.fft.fft2(pictures, s=(size, size)).abs().square().sum(0) / side**2


def radial_power(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return radially averaged power spectral density of images (n, C, H, W).

    Each image and channel has its mean removed and a Hann window applied, so that borders do not look like detail.

    Returns:
        Frequencies (f,) in cycles a pixel, up to ½, and the power at each, over directions and channels, (n, f).
    """
    size = images.shape[-1]
    window = torch.hann_window(size, periodic=False, dtype=torch.float64)
    window = window[:, None] * window
    centred = images.double() - images.double().mean((-2, -1), keepdim=True)
    power = torch.fft.fft2(centred * window).abs().square() / window.square().sum()
    ring = (size * radius(size)).round().long()
    rings = size // 2
    mean = torch.stack([power[..., ring == r].mean((-2, -1)) for r in range(1, rings + 1)], -1)
    return torch.arange(1, rings + 1) / size, mean


def normalised_power(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return radial power P of images (n, C, H, W), each curve over its image's own energy Σ_r r P(r).

    So an image counts once, however strong its contrast: the share of fine detail of a mean of such curves is the mean
    of the images' shares, which it is not for a mean of P.

    Returns:
        Frequencies (f,), and p(r) = P(r) / Σ_r r P(r), (n, f), as `radial_power` has them.
    """
    frequency, power = radial_power(images)
    return frequency, power / (power * frequency).sum(1, keepdim=True)


def high_frequency_share(images: Tensor, cutoff: float = 0.25) -> Tensor:
    """Return share of the power above `cutoff` cycles a pixel, each ring weighted by its circumference: (n,)."""
    return share_above(*radial_power(images), cutoff)


def share_above(frequency: Tensor, power: Tensor, cutoff: float = 0.25) -> Tensor:
    """Return the same of curves of radial power (…, f) at frequencies (f,): (…)."""
    energy = power * frequency
    return energy[..., frequency > cutoff].sum(-1) / energy.sum(-1)


def consistency(features: Tensor, labels: Tensor) -> float:
    """Return intra-class similarity: mean cosine of pairs of one class, over features (n, d), averaged over classes.

    Diversity is 1 − consistency.

    Raises:
        ValueError: a class has fewer than two images.
    """
    unit = torch.nn.functional.normalize(features.flatten(1).double(), dim=1)
    values = []
    for k in labels.unique():
        group = unit[labels == k]
        if len(group) < 2:
            raise ValueError(f"class {int(k)} has one image: similarity needs at least two (IPC 2)")
        n = len(group)
        values.append((group.sum(0).square().sum() - n) / (n * (n - 1)))
    return float(torch.stack(values).mean())
