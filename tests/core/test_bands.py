"""Bands, residuals and band terms against closed forms and slow code that projects with whole matrices."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import randn

from unidd.core.bands import KINDS, Bands, band_terms, live, residual, signal_residual, transfer
from unidd.core.filters import Linear, Ridge
from unidd.core.objectives import Side
from unidd.core.spectra import relative_power, spectrum

SEEDS = st.integers(0, 1000)
D, C = 7, 3


def ffc(d=D, seed=0, dead=0):
    """A positive definite matrix, or one with some directions in which nothing lies."""
    x = randn(d + 5, d - dead, seed=seed) @ randn(d - dead, d, seed=seed + 1)
    return x.T @ x / len(x)


def side(seed=0, dead=0):
    return Side(ffc(seed=seed, dead=dead), randn(D, C, seed=seed + 7))


def projector(bands, j):
    first = sum(bands.sizes[:j])
    u = bands.real.basis[:, first : first + bands.sizes[j]]
    return u @ u.T


# ---- bands


@given(SEEDS, st.integers(1, D))
def test_bands_have_as_many_directions_give_or_take_one_largest_first(seed, count):
    bands = Bands.of(ffc(seed=seed), count)
    assert len(bands.sizes) == count
    assert sum(bands.sizes) == D
    assert max(bands.sizes) - min(bands.sizes) <= 1
    assert (bands.eigenvalues.diff() < 0).all()


def test_dead_directions_lie_in_no_band():
    bands = Bands.of(ffc(dead=3), 2)
    assert bands.sizes == (2, 2)
    assert bands.real.basis.shape == (D, D - 3)
    with pytest.raises(ValueError, match="bands must be 1 … 4"):
        Bands.of(ffc(dead=3), 5)
    with pytest.raises(ValueError, match="bands must be"):
        Bands.of(ffc(), 0)
    with pytest.raises(ValueError, match="no live direction"):
        Bands.of(torch.zeros(D, D), 1)


def test_the_mean_of_a_band_is_geometric_for_eigenvalues():
    bands = Bands.of(torch.diag(torch.tensor([8.0, 2.0, 1.0, 0.25])), 2)
    assert bands.eigenvalues.tolist() == pytest.approx([4.0, 0.5])
    assert bands.mean(torch.tensor([1.0, 3.0, 5.0, 6.0])).tolist() == [2.0, 5.5]


# ---- residuals


def test_real_against_real_leaves_nothing():
    real = side()
    found = spectrum(real.ffc)
    assert residual(found, real.ffc, real.ffc).abs().max() == 0
    assert signal_residual(found, real.flc, real.flc).abs().max() == 0
    assert band_terms(Bands.of(real.ffc, 3), real, real).abs().max() == 0


@given(SEEDS, st.integers(0, 3))
def test_residual_is_the_quotient_of_quadratic_forms(seed, dead):
    real, other = ffc(seed=seed, dead=dead), ffc(seed=seed + 50)
    found = spectrum(real)
    slow = []
    for lam, u in zip(found.eigenvalues, found.basis.T, strict=True):
        if lam > 1e-8 * found.eigenvalues[0]:
            slow.append(abs(float(u @ (real - other) @ u)) / float(lam))
    assert residual(found, real, other).tolist() == pytest.approx(slow, rel=1e-8)
    assert len(slow) == D - dead
    assert torch.allclose(residual(live(found), real, other), (1 - relative_power(live(found), other)).abs())


@given(SEEDS, st.floats(0, 5))
def test_residual_of_a_scaled_set_is_the_same_in_every_direction_and_has_no_units(seed, factor):
    real = ffc(seed=seed)
    found = residual(spectrum(real), real, factor * real)
    assert torch.allclose(found, torch.full((D,), abs(1 - factor), dtype=torch.float64), atol=1e-7)
    other = ffc(seed=seed + 50)
    units = residual(spectrum(9 * real), 9 * real, 9 * other)
    assert torch.allclose(units, residual(spectrum(real), real, other), rtol=1e-6)


@given(SEEDS, st.integers(0, D - 1))
def test_a_set_that_differs_in_one_direction_shows_in_its_band_alone(seed, i):
    real = side(seed)
    bands = Bands.of(real.ffc, 3)
    u, lam = bands.real.basis[:, i], bands.real.eigenvalues[i]
    other = Side(real.ffc + lam * torch.outer(u, u), real.flc + lam.sqrt() * u.unsqueeze(1) * torch.eye(C)[0].double())
    j = next(j for j in range(3) if i < sum(bands.sizes[: j + 1]))
    mine = torch.arange(3) == j
    for values in (
        residual(bands.real, *(s.ffc for s in (real, other))),
        signal_residual(bands.real, *(s.flc for s in (real, other))),
    ):
        expected = torch.zeros(3, dtype=torch.float64)
        expected[j] = 1 / bands.sizes[j]
        assert torch.allclose(bands.mean(values), expected, atol=1e-6)
    terms = band_terms(bands, real, other)
    assert (terms[:, mine] > 1e-6 * terms.max()).all()
    assert terms[:, ~mine].abs().max() < 1e-12


@given(SEEDS)
def test_signal_residual_is_in_deviations_and_finite_where_there_is_no_signal(seed):
    """Against a loop; whatever the features' units."""
    real, other = side(seed), side(seed + 50)
    found = spectrum(real.ffc)
    slow = [
        math.sqrt(sum(float(u @ (real.flc - other.flc)[:, k]) ** 2 for k in range(C)) / float(lam))
        for lam, u in zip(found.eigenvalues, found.basis.T, strict=True)
    ]
    assert signal_residual(found, real.flc, other.flc).tolist() == pytest.approx(slow, rel=1e-8)
    units = signal_residual(spectrum(4 * real.ffc), 2 * real.flc, 2 * other.flc)
    assert torch.allclose(units, signal_residual(found, real.flc, other.flc), rtol=1e-6)
    assert signal_residual(found, torch.zeros(D, C), other.flc).isfinite().all()


def test_transfer():
    start, now = torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 4.0, 0.0, 1.0])
    assert transfer(now, start).tolist() == [1.0, 0.5, -1.0, 0.0, -math.inf]


# ---- terms


@given(SEEDS, st.integers(1, D - 2))
def test_band_terms_are_projections(seed, count):
    real, other = side(seed, dead=2), side(seed + 50)
    bands = Bands.of(real.ffc, min(count, D - 2))
    found = band_terms(bands, real, other)
    assert found.shape == (len(KINDS), len(bands.sizes))
    centre = torch.eye(C).double() - 1 / C
    for j in range(len(bands.sizes)):
        p = projector(bands, j)
        gap, signal = real.ffc - other.ffc, real.flc - other.flc
        slow = [
            (p @ gap @ p).square().sum() / (p @ real.ffc @ p).square().sum(),
            (p @ signal @ centre).square().sum() / real.ffc.trace(),
            (p @ signal @ torch.ones(C).double()).square().sum() / real.ffc.trace(),
        ]
        assert found[:, j].tolist() == pytest.approx([float(value) for value in slow], rel=1e-7, abs=1e-14)


def test_band_terms_are_differentiable_in_the_set():
    real, other = side(), side(50)
    bands = Bands.of(real.ffc, 3)

    def terms(ffc, flc):
        return band_terms(bands, real, Side((ffc + ffc.T) / 2, flc))

    leaves = tuple(part.clone().requires_grad_() for part in other)
    assert torch.autograd.gradcheck(terms, leaves)


@pytest.mark.parametrize(("filter", "power"), [(Linear(), 1), (Ridge(1e-9), -1)])
def test_a_power_of_lambda_weighs_all_kinds_with_its_square(filter, power):
    """The docstring's claim: f = λ^p has the weights λ_j^2p on single directions, in the filter and the signal term."""
    lam = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
    real = Side(lam.diag(), torch.zeros(3, C).double())
    bands, small = Bands.of(real.ffc, 3), 1e-6
    for j in range(3):
        e = torch.zeros(3, dtype=torch.float64)
        e[j] = small
        gap = (filter.matrix(real.ffc + e.diag()) - filter.matrix(real.ffc)).square().sum()
        weight = float(gap / band_terms(bands, real, Side(real.ffc + e.diag(), real.flc))[0, j])
        assert weight == pytest.approx(float(lam[j]) ** (2 * power), rel=1e-4)
        flc = e.unsqueeze(1).expand(3, C) * torch.tensor([1.0, -1.0, 0.0])
        signal = filter.apply(real.ffc, flc).square().sum()
        weight = float(signal / band_terms(bands, real, Side(real.ffc, flc))[1, j]) / float(lam.sum())
        assert weight == pytest.approx(float(lam[j]) ** (2 * power), rel=1e-4)
