"""Measurements against closed forms and slow code."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import randn

from unidd.core.filters import AllPass, Custom, Landweber, Ridge, Scaled
from unidd.core.spectra import (
    Spectrum,
    band_energy,
    band_response,
    class_signal,
    condition_number,
    consistency,
    coverage,
    dead_channels,
    effective_beta,
    effective_dimension,
    excess,
    high_frequency_share,
    mean_frequency,
    normalised_power,
    participation,
    radial_power,
    radius,
    relative_power,
    spectrum,
)

LAM = torch.logspace(0, -4, 30, dtype=torch.float64)
SEEDS = st.integers(0, 1000)
POSITIVE = st.floats(1e-6, 1e6)


def rotation(d, seed=0):
    return torch.linalg.qr(randn(d, d, seed=seed)).Q


def wave(size, down, across):
    """cos of so many cycles down and across a picture, (1, 1, size, size)."""
    axis = torch.arange(size, dtype=torch.float64) / size
    return torch.cos(2 * math.pi * (down * axis[:, None] + across * axis))[None, None]


# ---- spectra


@given(SEEDS, st.integers(2, 9))
def test_spectrum_rebuilds_the_matrix(seed, d):
    x = randn(d + 2, d, seed=seed)
    ffc = x.T @ x
    lam, basis = spectrum(ffc)
    assert torch.allclose(basis @ lam.diag() @ basis.T, ffc, atol=1e-9)
    assert torch.allclose(basis.T @ basis, torch.eye(d, dtype=torch.float64), atol=1e-10)
    assert (lam.diff() <= 0).all()


def test_spectrum_of_a_rank_deficient_matrix_is_never_negative():
    x = randn(3, 8)
    lam = spectrum(x.T @ x).eigenvalues
    assert (lam >= 0).all()
    assert (lam[3:] < 1e-10).all()


def test_spectrum_works_in_float64():
    assert spectrum(torch.eye(3)).eigenvalues.dtype == torch.float64


def test_condition_number():
    assert condition_number(torch.tensor([4.0, 2.0, 0.5])) == 8
    assert condition_number(torch.tensor([4.0, 0.0])) == math.inf
    assert condition_number(torch.tensor([4.0, 0.0]), beta=1.0) == 5


@given(POSITIVE, POSITIVE)
def test_condition_number_falls_with_beta_and_ignores_units(beta, scale):
    assert 1 <= condition_number(LAM, beta) <= condition_number(LAM)
    assert condition_number(LAM * scale, beta * scale) == pytest.approx(condition_number(LAM, beta), rel=1e-9)


def test_dead_channels():
    ffc = torch.diag(torch.tensor([2.0, 0.0, 1e-3, 0.0]))
    assert dead_channels(ffc) == 2
    assert dead_channels(1e-12 * ffc) == 2
    assert dead_channels(ffc, tolerance=0.1) == 3
    assert dead_channels(torch.zeros(4, 4)) == 4


# ---- what a filter does to them


def test_effective_dimension_in_closed_form_and_at_its_limits():
    assert effective_dimension(torch.tensor([1.0, 3.0]), 1.0) == pytest.approx(0.5 + 0.75)
    assert effective_dimension(LAM, 1e12) == pytest.approx(0, abs=1e-9)
    assert effective_dimension(torch.tensor([2.0, 1.0, 0.0]), 0.0) == 2


@given(POSITIVE, POSITIVE)
def test_effective_dimension_counts_the_directions_above_beta(beta, scale):
    """Each λ ≥ β counts at least ½, each λ at most 1 and at most λ/β; units cancel."""
    found, above = effective_dimension(LAM, beta), beta <= LAM
    assert int(above.sum()) / 2 <= found <= int(above.sum()) + float(LAM[~above].sum()) / beta
    assert effective_dimension(LAM * scale, beta * scale) == pytest.approx(found, rel=1e-9)


@given(st.lists(POSITIVE, min_size=2, max_size=20))
def test_effective_dimension_at_the_median_is_bounded_for_any_spectrum(values):
    """Between a quarter and three quarters of the directions."""
    lam = torch.tensor(values, dtype=torch.float64)
    found = effective_dimension(lam, float(lam.quantile(0.5))) / len(lam)
    assert 0.25 - 1e-9 <= found <= 0.75 + 1e-9


@given(st.floats(1e-5, 10), POSITIVE)
def test_effective_beta_of_ridge_is_its_beta_whatever_the_scale(beta, scale):
    step = (1e8 * 100 / 1e-2) ** (1 / 399)  # of the grid, generously
    assert effective_beta(Ridge(beta), LAM) == pytest.approx(beta, rel=step - 1)
    assert effective_beta(Scaled(Ridge(beta), scale), LAM) == effective_beta(Ridge(beta), LAM)


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_effective_beta_of_landweber_is_near_one_over_rate_times_steps(steps, rate):
    found = effective_beta(Landweber(rate, steps), LAM) * rate * steps
    assert 0.5 < found < 2
    dead = torch.cat([LAM, torch.zeros(5)])
    assert effective_beta(Landweber(rate, steps), dead) * rate * steps == pytest.approx(found)


def test_effective_beta_of_a_flat_filter_is_the_top_of_the_grid():
    assert effective_beta(AllPass(), LAM) == pytest.approx(100)
    assert effective_beta(AllPass(), 0.3 * LAM) == pytest.approx(30, rel=1e-12), "in float64"


def test_effective_beta_is_one_of_a_grid_around_the_spectrum():
    """400 points, from a hundredth of the smallest eigenvalue, where a filter steeper than any ridge ends."""
    grid = torch.logspace(-6, 2, 400, dtype=torch.float64)
    assert float((effective_beta(Ridge(0.01), LAM) - grid).abs().min()) < 1e-12
    steep = Custom(lambda lam: lam**-2)
    assert effective_beta(steep, LAM) == pytest.approx(1e-6, rel=1e-9)


def test_effective_beta_leaves_out_what_is_0_beside_the_largest_eigenvalue():
    scaled = 1e6 * LAM
    assert effective_beta(Ridge(1e3), torch.cat((scaled, torch.tensor([1e-7])))) == effective_beta(Ridge(1e3), scaled)
    dust = torch.cat((scaled, torch.tensor([1e-5])))
    assert effective_beta(Custom(lambda lam: lam**-2), dust) == pytest.approx(1e-7, rel=1e-6)


def test_effective_beta_needs_a_spectrum():
    with pytest.raises(ValueError, match=r"^no eigenvalue"):
        effective_beta(Ridge(1.0), torch.zeros(3))


# ---- the class signal


@given(SEEDS)
def test_participation_sums_to_one_and_ignores_rotations(seed):
    """Of the classes, and of features and basis together."""
    basis, flc = rotation(6, seed), randn(6, 4, seed=seed + 1)
    share = participation(basis, flc)
    assert float(share.sum()) == pytest.approx(1)
    assert (share >= 0).all()
    assert torch.allclose(participation(basis, flc @ rotation(4, seed + 2)), share)
    turn = rotation(6, seed + 3)
    assert torch.allclose(participation(turn @ basis, turn @ flc), share)
    assert torch.allclose(participation(basis, 7 * flc), share)


def test_participation_of_a_signal_along_one_eigenvector():
    assert participation(torch.eye(3), torch.tensor([[0.0], [2.0], [0.0]])).tolist() == [0, 1, 0]


def test_participation_needs_a_signal():
    with pytest.raises(ValueError, match=r"^the FLC is 0"):
        participation(torch.eye(3), torch.zeros(3, 2))


def test_band_energy_counts_each_direction_once_and_its_lower_edge():
    found = spectrum(torch.diag(torch.tensor([8.0, 4.0, 2.0, 1.0])))
    flc = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    energy = band_energy(found, flc, torch.tensor([0.0, 2.0, 8.0, 100.0]))
    assert energy.tolist() == pytest.approx([16 / 30, 13 / 30, 1 / 30])


@given(SEEDS, st.lists(st.floats(1e-5, 1.0), min_size=1, max_size=5, unique=True))
def test_band_energy_of_bands_that_cover_all_sums_to_one(seed, inner):
    found = Spectrum(LAM[:8], rotation(8, seed))
    edges = torch.tensor([0.0, *sorted(inner), math.inf], dtype=torch.float64)
    energy = band_energy(found, randn(8, 3, seed=seed), edges)
    assert len(energy) == len(inner) + 1
    assert float(energy.sum()) == pytest.approx(1)


def test_class_signal_removes_what_classes_share():
    flc = randn(5, 3)
    assert torch.allclose(class_signal(flc + randn(5, 1, seed=1)), class_signal(flc))
    assert torch.allclose(class_signal(flc).sum(1), torch.zeros(5, dtype=torch.float64), atol=1e-12)


# ---- frequencies of pictures


def test_radius():
    assert radius(4)[0].tolist() == [0, 0.25, 0.5, 0.25]
    assert float(radius(4)[2, 2]) == pytest.approx(math.sqrt(0.5))
    assert torch.equal(radius(5), radius(5).T)
    assert radius(3).dtype == torch.float64


@pytest.mark.parametrize(("down", "across"), [(0, 0), (0, 3), (3, 4), (8, 8)])
def test_mean_frequency_of_a_wave_is_its_own(down, across):
    found = mean_frequency(torch.cat([wave(16, down, across), -3 * wave(16, across, down)]))
    assert found.tolist() == pytest.approx([math.hypot(down, across) / 16] * 2)


def test_mean_frequency_weighs_channels_by_their_power():
    image = torch.cat([wave(16, 0, 2), 2 * wave(16, 0, 6)], 1)
    assert float(mean_frequency(image)[0]) == pytest.approx((1 * 2 + 4 * 6) / 5 / 16)


def test_mean_frequency_of_one_pixel_is_the_mean_radius():
    """A point holds all frequencies alike, padded or not."""
    point = torch.zeros(1, 1, 4, 4)
    point[0, 0, 1, 2] = 1
    for size in (None, 4, 32):
        assert float(mean_frequency(point, size)[0]) == pytest.approx(float(radius(size or 4).mean()))


def test_mean_frequency_of_more_channels_than_pixels_a_side():
    image = randn(2, 9, 4, 4)
    assert torch.allclose(mean_frequency(image), mean_frequency(image, 4))


def test_mean_frequency_of_an_image_that_is_not_square_loses_no_pixel():
    image = randn(1, 2, 4, 8)
    padded = torch.nn.functional.pad(image, (0, 0, 0, 4))
    for wide, square in ((image, padded), (image.mT, padded.mT)):
        assert torch.allclose(mean_frequency(wide), mean_frequency(square))


@given(SEEDS, st.integers(1, 16))
def test_band_response_obeys_parseval_and_adds_up(seed, k):
    """The mean of H is the share of directions kept; complementary bands add up to 1."""
    basis = rotation(16, seed)
    kept, rest = band_response(basis[:, :k], 12), band_response(basis[:, k:], 12)
    assert float(kept.mean()) == pytest.approx(k / 16)
    assert torch.allclose(kept + rest, torch.ones(12, 12, dtype=torch.float64))
    assert (kept >= 0).all()


def test_band_response_of_the_flat_direction_is_a_mean_over_pixels():
    """Averaging twice over 4 × 4 pixels: 1 at frequency 0, and 0 where a patch holds whole cycles."""
    response = band_response(torch.full((16, 1), 0.25), 16)
    assert float(response[0, 0]) == pytest.approx(1)
    assert response[4, :].abs().max() < 1e-12


@pytest.mark.parametrize(("down", "across", "ring"), [(0, 2, 2), (4, 0, 4), (6, 0, 6), (3, 4, 5), (-3, 4, 5)])
def test_radial_power_of_a_wave_peaks_at_its_frequency(down, across, ring):
    frequency, power = radial_power(wave(16, down, across))
    assert float(frequency[power[0].argmax()]) == pytest.approx(ring / 16)


def test_radial_power_of_white_noise_is_flat_and_equal_to_its_variance():
    _, power = radial_power(3 * randn(2000, 1, 16, 16))
    assert torch.allclose(power.mean(0)[1:], torch.full((7,), 9.0, dtype=torch.float64), rtol=0.05)
    assert 0.8 * 9 < float(power.mean(0)[0]) < 9.5  # removing the mean takes a little from the lowest ring


def test_radial_power_obeys_parseval():
    """Power over all rings adds up to the windowed image's energy, if nothing lies in the corners."""
    size = 32
    image = wave(size, 0, 6) + 2 * wave(size, 5, 5)
    window = torch.hann_window(size, periodic=False, dtype=torch.float64)
    window = torch.outer(window, window)
    counts = torch.bincount((size * radius(size)).round().long().flatten())[1 : size // 2 + 1]
    _, power = radial_power(image)
    energy = ((image - image.mean()) * window).square().sum() / window.square().sum()
    assert float((counts * power[0]).sum() / size**2) == pytest.approx(float(energy), rel=1e-3)


def test_radial_power_ignores_the_mean_and_grows_with_the_square_of_contrast():
    images = randn(2, 3, 8, 8)
    power = radial_power(images)[1]
    assert torch.allclose(radial_power(2 * images + 5)[1], 4 * power)
    assert torch.allclose(radial_power(images + randn(2, 3, 1, 1, seed=1))[1], power), "of each image and channel"
    assert torch.allclose(radial_power(images.transpose(2, 3))[1], power)


def test_normalised_power_counts_each_image_once_whatever_its_contrast():
    images = torch.cat([wave(16, 0, 2), 9 * wave(16, 7, 0) + randn(1, 1, 16, 16)])
    frequency, power = normalised_power(images)
    assert torch.allclose((power * frequency).sum(1), torch.ones(2).double())
    assert torch.allclose(normalised_power(images * torch.tensor([3.0, 0.1]).view(2, 1, 1, 1))[1], power)
    of_mean = (power.mean(0) * frequency)[frequency > 0.25].sum()
    assert float(of_mean) == pytest.approx(float(high_frequency_share(images).mean()))
    pooled = radial_power(images)[1].mean(0) * frequency
    assert float(pooled[frequency > 0.25].sum() / pooled.sum()) > 1.5 * float(of_mean), "strong contrast weighs more"


def test_high_frequency_share_of_coarse_and_fine_waves():
    assert float(high_frequency_share(wave(16, 0, 2))) < 0.01
    assert float(high_frequency_share(wave(16, 7, 0))) > 0.99
    between = float(high_frequency_share(wave(16, 0, 2) + wave(16, 7, 0)))
    assert between == pytest.approx(0.5, abs=0.1)


def test_high_frequency_share_falls_with_the_cutoff():
    images = randn(3, 1, 16, 16)
    shares = [high_frequency_share(images, cutoff) for cutoff in (0.0, 0.2, 0.4, 0.5)]
    assert torch.allclose(shares[0], torch.ones(3, dtype=torch.float64))
    assert all((a >= b).all() for a, b in itertools.pairwise(shares))
    assert shares[-1].tolist() == [0, 0, 0]


# ---- likeness of images


def test_consistency_of_equal_opposite_and_orthogonal_images():
    features, labels = randn(1, 5).expand(4, 5), torch.tensor([0, 0, 1, 1])
    assert consistency(features, labels) == pytest.approx(1)
    assert consistency(features * torch.tensor([[1.0], [-2.0], [1.0], [-3.0]]), labels) == pytest.approx(-1)
    assert consistency(torch.eye(4), labels) == pytest.approx(0)


@given(SEEDS, st.lists(POSITIVE, min_size=6, max_size=6))
def test_consistency_is_blind_to_length_rotation_and_order(seed, lengths):
    features, labels = randn(6, 4, seed=seed), torch.tensor([0, 0, 0, 1, 1, 1])
    found = consistency(features, labels)
    assert -0.5 - 1e-9 <= found <= 1  # three vectors cannot all point apart
    scaled = features * torch.tensor(lengths, dtype=torch.float64)[:, None]
    assert consistency(scaled @ rotation(4, seed + 1), labels) == pytest.approx(found)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    assert consistency(features[order], labels[order]) == pytest.approx(found)


def test_consistency_is_of_each_class_by_itself():
    features, labels = torch.eye(3).repeat_interleave(2, 0), torch.tensor([0, 0, 1, 1, 2, 2])
    assert consistency(features, labels) == pytest.approx(1)
    assert consistency(torch.eye(6), labels) == pytest.approx(0)


def test_consistency_needs_pairs():
    with pytest.raises(ValueError, match="at least two"):
        consistency(randn(3, 5), torch.tensor([0, 0, 1]))


# ---- what a set covers of the real spectrum


def with_spectrum(eigenvalues, basis):
    return (basis * eigenvalues) @ basis.T


@given(SEEDS, st.floats(0.01, 20))
def test_a_set_with_a_multiple_of_the_real_power_covers_that_much(seed, factor):
    real = with_spectrum(LAM, rotation(30, seed))
    ratio = relative_power(spectrum(real), factor * real)
    assert torch.allclose(ratio, torch.full((30,), factor, dtype=torch.float64), rtol=1e-6)
    assert coverage(ratio) == pytest.approx(min(factor, 1), rel=1e-6)
    assert excess(ratio) == pytest.approx(max(factor - 1, 0), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("k", [0, 1, 17, 30])
def test_a_set_in_k_of_the_real_directions_covers_k_of_them(k):
    """Whichever they are, and however much power it puts there; low frequencies come first."""
    basis = rotation(30, 4)
    kept = (torch.arange(30) < k) * LAM
    for power, beyond in ((1, 0), (5, 4 * k / 30)):
        ratio = relative_power(spectrum(with_spectrum(LAM, basis)), power * with_spectrum(kept, basis))
        assert coverage(ratio) == pytest.approx(k / 30, abs=1e-7)
        assert excess(ratio) == pytest.approx(beyond, abs=1e-7)
        assert ratio[:k].gt(0.99).all()
        assert ratio[k:].lt(1e-6).all()


def test_dead_directions_are_not_to_be_covered():
    eigenvalues = torch.cat([LAM[:7], torch.zeros(5, dtype=torch.float64)])
    basis = rotation(12, 2)
    ratio = relative_power(spectrum(with_spectrum(eigenvalues, basis)), torch.eye(12, dtype=torch.float64))
    assert torch.allclose(ratio, 1 / LAM[:7])


def test_the_power_along_real_directions_is_that_of_the_projected_features():
    """By hand: project rows on each eigenvector and take the variance."""
    rows, few = randn(400, 6) * torch.arange(1, 7), randn(40, 6, seed=1)
    real = spectrum(torch.cov(rows.T, correction=0))
    by_hand = (few @ real.basis).var(0, correction=0) / (rows @ real.basis).var(0, correction=0)
    assert torch.allclose(relative_power(real, torch.cov(few.T, correction=0)), by_hand)


def test_nothing_real_is_nothing_to_cover():
    with pytest.raises(ValueError, match="no direction to cover"):
        relative_power(spectrum(torch.zeros(3, 3)), torch.eye(3))
