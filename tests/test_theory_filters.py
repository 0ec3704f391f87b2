"""The equations of the chapter on filters, on the FFC of real photographs."""

import functools

import pytest
import torch

from unidd.analysis import effective_beta, spectrum
from unidd.datasets import load
from unidd.filters import AllPass, Landweber, Linear, Residual, Ridge
from unidd.statistics import covariance, rows


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
