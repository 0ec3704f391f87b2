"""The equations of the chapter on filters, on the FFC of real photographs."""

import functools
import math
from itertools import pairwise

import pytest
import torch

from unidd.core.filters import AllPass, BandPass, Landweber, Linear, Residual, Ridge, Scaled
from unidd.core.schedules import SCHEDULES, cosine, relative_beta
from unidd.core.spectra import effective_beta, spectrum
from unidd.core.statistics import covariance, rows
from unidd.data.datasets import load


@functools.cache
def ffc():
    """Of 4×4 patches of real photographs, (48, 48)."""
    data = load("photos")
    patches = torch.nn.functional.unfold(data.normalise(data.train.images[::25]).double(), 4, stride=4)
    return covariance(rows(patches))


def test_eq_eigen():
    eigenvalues, basis = spectrum(ffc())
    assert torch.allclose(basis @ eigenvalues.diag() @ basis.T, ffc(), atol=1e-12)
    assert torch.allclose(basis.T @ basis, torch.eye(48, dtype=torch.float64), atol=1e-12)
    assert (eigenvalues.diff() <= 0).all()
    assert eigenvalues[-1] >= 0


@pytest.mark.parametrize("filter", [AllPass(), Linear(), Ridge(0.1), Residual(0.01, 7), Landweber(0.01, 7)])
def test_eq_filter(filter):
    eigenvalues, basis = spectrum(ffc())
    through_basis = basis @ filter.response(eigenvalues).diag() @ basis.T
    assert torch.allclose(filter.matrix(ffc()), through_basis, rtol=1e-9, atol=1e-10)


def test_eq_low():
    assert torch.equal(AllPass().matrix(ffc()), torch.eye(48, dtype=torch.float64))
    assert torch.equal(Linear().matrix(ffc()), ffc())


def test_eq_descent():
    """t steps of gradient descent on ½‖XW − Y‖²/n leave r_t(Ψ) of W₀ and have learnt s_t(Ψ)Φ."""
    generator = torch.Generator().manual_seed(0)
    flc, weights = (torch.randn(48, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    rate, steps = 1 / float(spectrum(ffc()).eigenvalues[0]), 20
    learnt = weights
    for _ in range(steps):
        learnt = learnt - rate * (ffc() @ learnt - flc)
    filtered = Residual(rate, steps).matrix(ffc()) @ weights + Landweber(rate, steps).matrix(ffc()) @ flc
    assert torch.allclose(filtered, learnt, rtol=1e-10, atol=1e-12)
    lam = spectrum(ffc()).eigenvalues
    assert torch.allclose(Landweber(rate, steps).response(lam), (1 - (1 - rate * lam) ** steps) / lam, rtol=1e-8)


def test_eq_ridge():
    inverse = torch.linalg.inv(ffc() + 0.1 * torch.eye(48, dtype=torch.float64))
    assert torch.allclose(Ridge(0.1).matrix(ffc()), inverse, rtol=1e-9)
    assert effective_beta(Ridge(0.1), spectrum(ffc()).eigenvalues) == pytest.approx(0.1, rel=0.05)


def test_eq_bandpass():
    """The bands of a partition add up to the identity, and each is a projection onto as many directions as it holds."""
    eigenvalues = spectrum(ffc()).eigenvalues
    bands = [BandPass(0, 0.01), BandPass(0.01, 1), BandPass(1)]
    projections = [band.matrix(ffc()) for band in bands]
    assert torch.allclose(sum(projections), torch.eye(48, dtype=torch.float64), atol=1e-12)
    for band, projection in zip(bands, projections, strict=True):
        held = int(((eigenvalues >= band.low) & (eigenvalues < band.high)).sum())
        assert torch.allclose(projection @ projection, projection, atol=1e-12)
        assert float(projection.trace()) == pytest.approx(held)
        assert 0 < held < 48


@pytest.mark.parametrize("beta", [1e-4, 0.01, 0.1, 1, 100])
def test_eq_pass(beta):
    eigenvalues = spectrum(ffc()).eigenvalues
    response = Ridge(beta).response(eigenvalues)
    assert torch.equal(response >= response[-1] / 2, eigenvalues <= beta + 2 * eigenvalues[-1])
    assert response.argmax() == 47


def test_eq_relative():
    eigenvalues = spectrum(ffc()).eigenvalues
    assert relative_beta(0.5, ffc()) == pytest.approx(0.5 * float(eigenvalues.mean()))
    assert relative_beta(0.5, 9 * ffc()) == pytest.approx(9 * relative_beta(0.5, ffc()))


@pytest.mark.parametrize("fraction", [0.01, 1, 30])
def test_eq_normalised(fraction):
    """In [0, 1], and blind to the scale of the features when β is relative."""
    eigenvalues, (one, other) = spectrum(ffc()).eigenvalues, (relative_beta(fraction, c * ffc()) for c in (1, 25))
    response = Scaled(Ridge(one), one).response(eigenvalues)
    assert torch.allclose(response, 1 / (1 + eigenvalues / (fraction * eigenvalues.mean())))
    assert 0 <= response.min() <= response.max() <= 1
    assert torch.allclose(
        Scaled(Ridge(one), one).matrix(ffc()), Scaled(Ridge(other), other).matrix(25 * ffc()), atol=1e-12
    )


def test_eq_schedule():
    betas = [cosine(0.4, b, 10) for b in range(10)]
    assert betas == pytest.approx([0.2 * (1 + math.cos(math.pi * b / 10)) for b in range(10)])
    assert betas[0] == 0.4
    assert all(a > b > 0 for a, b in pairwise(betas))
    assert all(0 < schedule(0.4, b, 10) <= 0.4 for schedule in SCHEDULES.values() for b in range(10))
