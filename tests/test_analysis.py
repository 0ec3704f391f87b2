"""Measurements against closed forms and slow code."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unidd.analysis import (
    band_energy,
    class_signal,
    condition_number,
    consistency,
    effective_beta,
    effective_dimension,
    high_frequency_share,
    participation,
    radial_power,
    spectrum,
)
from unidd.filters import Landweber, Ridge, Scaled


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LAM = torch.logspace(0, -4, 30, dtype=torch.float64)


@given(st.integers(0, 1000), st.integers(2, 9))
def test_spectrum_rebuilds_the_matrix(seed, d):
    x = draw(d + 2, d, seed=seed)
    ffc = x.T @ x
    lam, basis = spectrum(ffc)
    assert torch.allclose(basis @ lam.diag() @ basis.T, ffc, atol=1e-9)
    assert (lam.diff() <= 0).all()


def test_spectrum_of_a_rank_deficient_matrix_is_never_negative():
    x = draw(3, 8)
    lam = spectrum(x.T @ x).eigenvalues
    assert (lam >= 0).all()
    assert (lam[3:] < 1e-10).all()


def test_condition_number():
    assert condition_number(torch.tensor([4.0, 2.0, 0.5])) == 8
    assert condition_number(torch.tensor([4.0, 0.0])) == math.inf
    assert condition_number(torch.tensor([4.0, 0.0]), beta=1.0) == 5


def test_effective_dimension_lies_between_its_limits():
    assert effective_dimension(LAM, 1e-12) == pytest.approx(30, rel=1e-6)
    assert effective_dimension(LAM, 1e12) == pytest.approx(0, abs=1e-9)
    assert effective_dimension(torch.tensor([1.0, 3.0]), 1.0) == pytest.approx(0.5 + 0.75)


@pytest.mark.parametrize("beta", [1e-3, 0.02, 0.5])
def test_effective_beta_of_ridge_is_its_beta_whatever_the_scale(beta):
    assert effective_beta(Ridge(beta), LAM) == pytest.approx(beta, rel=0.05)
    assert effective_beta(Scaled(Ridge(beta), 7.0), LAM) == pytest.approx(beta, rel=0.05)


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_effective_beta_of_landweber_is_near_one_over_rate_times_steps(steps):
    assert effective_beta(Landweber(0.5, steps), LAM) == pytest.approx(1 / (0.5 * steps), rel=0.6)


def test_effective_beta_needs_a_spectrum():
    with pytest.raises(ValueError, match="no eigenvalue"):
        effective_beta(Ridge(1.0), torch.zeros(3))


@given(st.integers(0, 1000))
def test_participation_sums_to_one_and_ignores_rotations_of_the_classes(seed):
    basis, flc = torch.linalg.qr(draw(6, 6, seed=seed)).Q, draw(6, 4, seed=seed + 1)
    share = participation(basis, flc)
    assert float(share.sum()) == pytest.approx(1)
    turned = participation(basis, flc @ torch.linalg.qr(draw(4, 4, seed=seed + 2)).Q)
    assert torch.allclose(share, turned)


def test_participation_of_a_signal_along_one_eigenvector():
    assert participation(torch.eye(3), torch.tensor([[0.0], [2.0], [0.0]])).tolist() == [0, 1, 0]


def test_band_energy_counts_each_direction_once():
    found = spectrum(torch.diag(torch.tensor([8.0, 4.0, 2.0, 1.0])))
    flc = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    assert band_energy(found, flc, torch.tensor([0.0, 2.0, 8.0, 100.0])).tolist() == pytest.approx(
        [16 / 30, 13 / 30, 1 / 30]
    )


def test_class_signal_removes_what_classes_share():
    flc = draw(5, 3)
    assert torch.allclose(class_signal(flc + draw(5, 1, seed=1)), class_signal(flc))


@pytest.mark.parametrize("cycles", [2, 4, 6])
def test_radial_power_of_a_wave_peaks_at_its_frequency(cycles):
    size = 16
    wave = torch.sin(2 * math.pi * cycles * torch.arange(size) / size).expand(1, 1, size, size)
    frequency, power = radial_power(wave)
    assert float(frequency[power[0].argmax()]) == pytest.approx(cycles / size)


def test_radial_power_of_white_noise_is_flat_and_equal_to_its_variance():
    _, power = radial_power(3 * draw(2000, 1, 16, 16))
    assert torch.allclose(power.mean(0), torch.full((8,), 9.0, dtype=torch.float64), rtol=0.1)


def test_radial_power_ignores_the_mean_and_grows_with_the_square_of_contrast():
    images = draw(2, 3, 8, 8)
    power = radial_power(images)[1]
    assert torch.allclose(radial_power(2 * images + 5)[1], 4 * power)


def test_high_frequency_share_of_coarse_and_fine_waves():
    axis = torch.arange(16)
    coarse, fine = (torch.sin(2 * math.pi * c * axis / 16).expand(1, 1, 16, 16) for c in (2, 7))
    assert float(high_frequency_share(coarse)) < 0.01
    assert float(high_frequency_share(fine)) > 0.99


def test_consistency():
    features = draw(1, 5).expand(4, 5)
    labels = torch.tensor([0, 0, 1, 1])
    assert consistency(features, labels) == pytest.approx(1)
    assert consistency(features * torch.tensor([[1.0], [-2.0], [1.0], [-3.0]]), labels) == pytest.approx(-1)
    assert consistency(torch.eye(4), labels) == pytest.approx(0)
    with pytest.raises(ValueError, match="at least two"):
        consistency(draw(3, 5), torch.tensor([0, 0, 1]))
