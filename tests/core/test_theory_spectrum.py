"""The equations of the chapter on correlation matrices and their spectrum, on patches of real photographs."""

import functools

import pytest
import torch
import torch.nn.functional as F

from unidd.core.filters import BandPass, Linear, Product, Ridge
from unidd.core.objectives import Side
from unidd.core.spectra import band_energy, class_signal, effective_dimension, participation, spectrum
from unidd.core.statistics import covariance, flc
from unidd.data.datasets import load


@functools.cache
def patches():
    """Grey 8×8 patches of some photographs, (n, 64), and their one-hot labels (n, 10)."""
    data = load("photos")
    grey = data.train.images[::20].double().mean(1, keepdim=True) / 255
    rows = F.unfold(grey, 8, stride=8).transpose(1, 2).reshape(-1, 64)
    return rows, F.one_hot(data.train.labels[::20], 10).double().repeat_interleave(16, 0)


def test_eq_ffc():
    """Of centred rows Ψ is their covariance, and Φ what a class has beyond the mean of all, times its share of rows."""
    x, y = patches()
    as_it_is, centred = Side.of(x, y), Side.of(x - x.mean(0), y)
    assert torch.allclose(as_it_is.ffc, sum(torch.outer(row, row) for row in x) / len(x), atol=1e-13)
    means = torch.stack([x[y[:, k] == 1].mean(0) * y[:, k].mean() for k in range(10)], 1)
    assert torch.allclose(as_it_is.flc, means, atol=1e-13)
    assert torch.allclose(flc(x, y), means, atol=1e-13)
    assert torch.allclose(centred.ffc, covariance(x), atol=1e-13)
    assert torch.allclose(centred.ffc, as_it_is.ffc - torch.outer(x.mean(0), x.mean(0)), atol=1e-13)
    assert torch.allclose(centred.flc, class_signal(as_it_is.flc), atol=1e-13), "classes are as large"


def test_eq_ffc_of_ones_is_the_mean_feature_which_centring_takes_away():
    """What Y is in the published CFM."""
    x, _ = patches()
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    assert torch.allclose(flc(x, ones)[:, 0], x.mean(0), atol=1e-13)
    assert torch.allclose(flc(x - x.mean(0), ones), torch.zeros(1, dtype=torch.float64), atol=1e-13)


def test_eq_fourier():
    """A circulant FFC: its eigenvalues are the Fourier transform of its first column, its eigenvectors waves."""
    d = 16
    distance = torch.minimum(torch.arange(d), d - torch.arange(d)).double()
    first = torch.exp(-distance / 3)
    ffc = torch.stack([first.roll(i) for i in range(d)])
    power = torch.fft.fft(first).real
    assert torch.allclose(spectrum(ffc).eigenvalues, power.sort(descending=True).values, atol=1e-12)
    for k in range(d):
        phase = 2 * torch.pi * k * torch.arange(d, dtype=torch.float64) / d
        wave = torch.polar(torch.ones_like(phase), phase)
        assert torch.allclose(ffc.to(torch.complex128) @ wave, power[k] * wave, atol=1e-12)


def test_eq_centroid():
    """On real photographs a larger eigenvalue has a lower frequency: ranks agree, reversed, to −0.9."""
    basis = spectrum(covariance(patches()[0])).basis.T.reshape(-1, 8, 8)
    axis = torch.fft.fftfreq(8, dtype=torch.float64)
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    power = torch.fft.fft2(basis).abs().square()
    centroid = (power * radius).sum((1, 2)) / power.sum((1, 2))
    rank = centroid.argsort().argsort().double()
    assert float(torch.corrcoef(torch.stack([rank, torch.arange(64.0).double()]))[0, 1]) > 0.9


def test_eq_band():
    x, _ = patches()
    ffc = covariance(x)
    lam, basis = spectrum(ffc)
    band = basis[:, 6:20]
    edges = float((lam[19] + lam[20]) / 2), float((lam[5] + lam[6]) / 2)
    assert torch.allclose(BandPass(*edges).matrix(ffc), band @ band.T, atol=1e-10)
    centred = x - x.mean(0)
    kept, dropped = centred @ band @ band.T, centred @ (torch.eye(64) - band @ band.T)
    assert torch.allclose(kept + dropped, centred, atol=1e-12)
    assert float((kept * dropped).sum()) == pytest.approx(0, abs=1e-8)


def test_eq_share():
    x, y = patches()
    signal, (lam, basis) = class_signal(flc(x, y)), spectrum(covariance(x))
    expected = torch.tensor([float((u @ signal).square().sum() / signal.square().sum()) for u in basis.T])
    assert torch.allclose(participation(basis, signal).float(), expected)
    edges = torch.tensor([0.0, float(lam[10:11].mean()), float("inf")], dtype=torch.float64)
    energy = band_energy(spectrum(covariance(x)), signal, edges)
    assert float(energy[1]) == pytest.approx(float(expected[:11].sum()), rel=1e-5)


def test_eq_dimension():
    ffc = covariance(patches()[0])
    trace = Product(Linear(), Ridge(0.1)).matrix(ffc).trace()
    assert effective_dimension(spectrum(ffc).eigenvalues, 0.1) == pytest.approx(float(trace), rel=1e-10)
