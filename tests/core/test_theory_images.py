"""The equations of the chapter on what a filter writes into an image."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from toys import randn

from unidd.core.filters import Landweber, Linear, Polynomial, Residual, Ridge
from unidd.core.spectra import consistency, high_frequency_share, radial_power, spectrum
from unidd.core.statistics import covariance

STUDY = Path(__file__).resolve().parents[2] / "results" / "studies" / "filters"
FILTERS = [Linear(), Ridge(0.03), Residual(0.1, 5), Landweber(0.1, 5), Polynomial((0.5, -1.0, 0.2))]


def sides(filter, x):
    """(loss ½‖f(Ψ_s) − T‖², difference f(Ψ_s) − T) for a fixed target T."""
    difference = filter.matrix(covariance(x)) - filter.matrix(covariance(randn(50, 6, seed=9)))
    return difference.square().sum() / 2, difference.detach()


def divided(filter, lam):
    """D by its definition, f' by a central difference in between."""
    rise = filter.response(lam)[:, None] - filter.response(lam)
    run = lam[:, None] - lam
    step = 1e-6
    slope = (filter.response(lam + step) - filter.response(lam - step)) / (2 * step)
    return torch.where(run == 0, slope.diag(), rise / torch.where(run == 0, 1.0, run))


@pytest.mark.parametrize("filter", FILTERS)
def test_eq_divided(filter):
    ffc = covariance(randn(40, 6)).requires_grad_()
    difference = filter.matrix(ffc) - filter.matrix(covariance(randn(50, 6, seed=9)))
    (gradient,) = torch.autograd.grad(difference.square().sum() / 2, ffc)
    lam, basis = spectrum(ffc.detach())
    expected = basis @ (divided(filter, lam) * (basis.T @ difference.detach() @ basis)) @ basis.T
    assert torch.allclose((gradient + gradient.T) / 2, expected, rtol=1e-6, atol=1e-8)


def test_eq_push():
    lam = torch.tensor([1.0, 0.3, 0.01, 0.0], dtype=torch.float64)
    assert torch.allclose(divided(Linear(), lam), torch.ones(4, 4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(divided(Ridge(0.1), lam), -1 / torch.outer(lam + 0.1, lam + 0.1), rtol=1e-7)


@pytest.mark.parametrize("filter", [Linear(), Ridge(0.03)])
def test_eq_feature(filter):
    x = randn(40, 6).requires_grad_()
    loss, difference = sides(filter, x)
    (gradient,) = torch.autograd.grad(loss, x)
    lam, basis = spectrum(covariance(x).detach())
    push = torch.ones(6, 6) if isinstance(filter, Linear) else -1 / torch.outer(lam + 0.03, lam + 0.03)
    by_ffc = basis @ (push * (basis.T @ difference @ basis)) @ basis.T
    expected = 2 / 40 * (x - x.mean(0)).detach() @ by_ffc
    assert float((gradient - expected).norm() / gradient.norm()) < 1e-10


def test_eq_radial():
    """Against the definition, by loops over a discrete Fourier transform written out."""
    size = 8
    image = randn(1, 1, size, size)
    window = torch.tensor([math.sin(math.pi * i / (size - 1)) ** 2 for i in range(size)], dtype=torch.float64)
    window = torch.outer(window, window)
    weighted = ((image[0, 0] - image.mean()) * window).tolist()
    sums, counts = [0.0] * (size + 1), [0] * (size + 1)
    for u in range(size):
        for v in range(size):
            total = sum(
                weighted[i][j] * complex(math.cos(a), -math.sin(a))
                for i in range(size)
                for j in range(size)
                for a in [2 * math.pi * (u * i + v * j) / size]
            )
            ring = round(math.hypot(min(u, size - u), min(v, size - v)))
            sums[ring] += abs(total) ** 2
            counts[ring] += 1
    expected = [sums[r] / counts[r] / float(window.square().sum()) for r in range(1, size // 2 + 1)]
    frequency, power = radial_power(image)
    assert power[0].tolist() == pytest.approx(expected, rel=1e-10)
    assert frequency.tolist() == [r / size for r in range(1, size // 2 + 1)]


def test_eq_high():
    images = randn(3, 2, 16, 16)
    frequency, power = radial_power(images)
    for share, curve in zip(high_frequency_share(images), power, strict=True):
        rings = list(zip(frequency.tolist(), curve.tolist(), strict=True))
        expected = sum(r * p for r, p in rings if r > 0.25) / sum(r * p for r, p in rings)
        assert float(share) == pytest.approx(expected)


@pytest.mark.parametrize("path", sorted(STUDY.glob("photos-*.json")), ids=lambda path: path.stem)
def test_both_ways_to_count_detail_agree_with_the_curves_of_a_record(path):
    """What the explorer draws, and what the tables say of the same images."""
    for name, found in json.loads(path.read_text())["measured"].items():
        for curve, share in (("spectrum", "high"), ("power", "pooled")):
            size = 2 * len(found[curve])
            energy = [power * r / size for r, power in enumerate(found[curve], 1)]
            assert sum(energy[size // 4 :]) / sum(energy) == pytest.approx(found[share], rel=1e-3), name


def test_each_repetition_of_the_study_has_a_teacher_of_its_own():
    records = [json.loads(path.read_text()) for path in STUDY.glob("photos-*.json")]
    assert len({record["teacher"]["hash"] for record in records}) == len(records) >= 5


def test_eq_diversity():
    features, labels = randn(7, 5), torch.tensor([0, 0, 0, 1, 1, 1, 1])
    means = []
    for k in (0, 1):
        group = features[labels == k]
        pairs = [(a, b) for i, a in enumerate(group) for j, b in enumerate(group) if i != j]
        means.append(sum(float(F.cosine_similarity(a, b, dim=0)) for a, b in pairs) / len(pairs))
    assert 1 - consistency(features, labels) == pytest.approx(1 - sum(means) / 2, rel=1e-12)
