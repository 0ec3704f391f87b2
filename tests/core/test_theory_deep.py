"""The equations of the chapter on the deep methods, and what its sentences follow from."""

import math

import pytest
import torch
from toys import randn

from unidd.bench.effective import effective_filter
from unidd.core.bands import Bands, band_terms, residual, transfer
from unidd.core.filters import Landweber, Linear, Ridge
from unidd.core.objectives import Side
from unidd.core.spectra import spectrum
from unidd.core.statistics import correlations, covariance


def test_eq_left():
    ffc, other = covariance(randn(40, 6)), covariance(randn(30, 6, seed=1))
    lam, basis = spectrum(ffc)
    expected = [abs(float(u @ (ffc - other) @ u)) / float(value) for value, u in zip(lam, basis.T, strict=True)]
    assert residual(spectrum(ffc), ffc, other).tolist() == pytest.approx(expected)
    assert residual(spectrum(ffc), ffc, 0 * other).tolist() == pytest.approx([1] * 6)
    assert residual(spectrum(ffc), ffc, 2 * ffc).tolist() == pytest.approx([1] * 6)


def test_eq_transfer():
    e, start = torch.tensor([0.0, 0.5, 2.0]), torch.tensor([0.4, 0.5, 0.5])
    assert transfer(e, start).tolist() == pytest.approx([1, 0, -3])
    assert transfer(torch.tensor([0.0, 0.1]), torch.zeros(2)).tolist() == [0, -math.inf]


@pytest.mark.parametrize("filter", [Linear(), Ridge(0.1), Landweber(0.1, 5)])
def test_eq_effective(filter):
    """Of the signal term of a filter, the weights of bands of one direction are its squared response."""
    labels = torch.eye(3, dtype=torch.float64)
    real = Side(*correlations(randn(60, 5), labels[torch.arange(60) % 3]))
    bands, x, y = Bands.of(real.ffc, 5), randn(6, 5, seed=1).requires_grad_(), labels[torch.arange(6) % 3]
    lam, basis = bands.real
    synthetic = Side(*correlations(x, y))
    loss = ((filter.response(lam) * basis).T @ (real.flc - synthetic.flc)).square().sum()
    terms = band_terms(bands, real, synthetic).flatten()
    parts = torch.stack([torch.autograd.grad(term, x, retain_graph=True)[0].flatten() for term in terms])
    fit = effective_filter(torch.autograd.grad(loss, x)[0].flatten(), parts)
    expected = filter.response(lam).square() * real.ffc.trace()
    assert torch.allclose(fit.weights[5:10], expected, rtol=1e-6), "of the class signal"
    assert torch.allclose(fit.weights[10:], expected / 3, rtol=1e-6), "of the mean, which all classes share"
    assert torch.allclose(fit.weights[:5], torch.zeros(5).double(), atol=1e-8), "of the FFC"
    assert fit.r2 == pytest.approx(1, abs=1e-12)
