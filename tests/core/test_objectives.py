"""The two matching terms: against the oracle, at equality, and under rotation and scaling."""

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import randn

from unidd.core.filters import AllPass, Landweber, Linear, Residual, Ridge, Scaled
from unidd.core.objectives import filter_loss, signal_loss

KINDS = {"ridge": Ridge(0.1), "linear": Linear()}


def correlations(n: int, d: int = 5, k: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(Ψ, Φ) of n random rows; rank-deficient if n ≤ d, with a dead last channel."""
    features = randn(n, d, 1, 1, seed=seed)
    features[:, -1] = 0.3
    return oracles.covariance(features), oracles.flc(features, randn(n, k, seed=seed + 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 40])
def test_terms_against_the_oracle(kind, n):
    (ffc, phi), (ffc_s, phi_s) = correlations(50), correlations(n, seed=7)
    beta = 0.1
    by_filter = filter_loss(KINDS[kind], ffc, ffc_s)
    by_signal = signal_loss(KINDS[kind], ffc, phi, ffc_s, phi_s)
    assert by_filter.shape == by_signal.shape == ()
    expected = oracles.filter_term(kind, ffc, ffc_s, beta)
    assert by_filter.item() == pytest.approx(expected.item(), rel=1e-12)
    expected = oracles.signal_term(kind, ffc, phi, ffc_s, phi_s, beta)
    assert by_signal.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_finite_differences(kind):
    (ffc, phi), (ffc_s, phi_s) = correlations(50), correlations(8, seed=7)
    leaves = ffc_s.requires_grad_(), phi_s.requires_grad_()

    def terms(x, y):
        x = (x + x.T) / 2
        return filter_loss(KINDS[kind], ffc, x), signal_loss(KINDS[kind], ffc, phi, x, y)

    assert torch.autograd.gradcheck(terms, leaves)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_sides_give_zero_with_a_finite_gradient(kind):
    """The square root of a norm has no derivative at zero; a NaN there would destroy the images."""
    ffc, phi = correlations(50)
    ffc_s, phi_s = ffc.clone().requires_grad_(), phi.clone().requires_grad_()
    by_filter = filter_loss(KINDS[kind], ffc, ffc_s)
    by_signal = signal_loss(KINDS[kind], ffc, phi, ffc_s, phi_s)
    assert by_filter.item() == by_signal.item() == 0.0
    (by_filter + by_signal).backward()
    assert ffc_s.grad.isfinite().all()
    assert phi_s.grad.isfinite().all()
    assert float(ffc_s.grad.norm() + phi_s.grad.norm()) == 0.0


FILTERS = [Ridge(0.1), Linear(), AllPass(), Residual(0.1, 4), Landweber(0.1, 4), Scaled(Ridge(0.3), 0.3)]


@pytest.mark.parametrize("filter", FILTERS, ids=repr)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_rotating_the_features_changes_nothing(filter, seed):
    """X → XQ takes Ψ to QᵀΨQ and Φ to QᵀΦ, and leaves both norms alone."""
    (ffc, phi), (ffc_s, phi_s) = correlations(30, seed=seed), correlations(4, seed=seed + 9)
    q = torch.linalg.qr(randn(5, 5, seed=seed + 1))[0]
    turned = [q.T @ ffc @ q, q.T @ phi, q.T @ ffc_s @ q, q.T @ phi_s]
    torch.testing.assert_close(
        filter_loss(filter, turned[0], turned[2]), filter_loss(filter, ffc, ffc_s), rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(
        signal_loss(filter, *turned), signal_loss(filter, ffc, phi, ffc_s, phi_s), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("s", [0.1, 3.0])
def test_scaling_the_features(s):
    """X → sX takes Ψ to s²Ψ and Φ to sΦ; a ridge whose β is scaled along then falls by s² and s."""
    (ffc, phi), (ffc_s, phi_s) = correlations(30), correlations(10, seed=5)
    sides, scaled = (ffc, phi, ffc_s, phi_s), (s * s * ffc, s * phi, s * s * ffc_s, s * phi_s)
    ratios = {
        Linear: (Linear(), Linear(), s**2, s**3),
        AllPass: (AllPass(), AllPass(), None, s),
        Ridge: (Ridge(0.1), Ridge(0.1 * s * s), s**-2, s**-1),
    }
    for before, after, by_filter, by_signal in ratios.values():
        if by_filter:
            ratio = filter_loss(after, scaled[0], scaled[2]) / filter_loss(before, ffc, ffc_s)
            assert ratio.item() == pytest.approx(by_filter, rel=1e-10)
        ratio = signal_loss(after, *scaled) / signal_loss(before, *sides)
        assert ratio.item() == pytest.approx(by_signal, rel=1e-10)


def test_scaling_only_the_signals_scales_the_signal_term():
    (ffc, phi), (ffc_s, phi_s) = correlations(30), correlations(10, seed=5)
    for filter in FILTERS:
        once = signal_loss(filter, ffc, phi, ffc_s, phi_s)
        torch.testing.assert_close(signal_loss(filter, ffc, -4 * phi, ffc_s, -4 * phi_s), 4 * once)


def test_terms_are_norms_not_squares_and_symmetric():
    (ffc, phi), (ffc_s, phi_s) = correlations(30), correlations(10, seed=5)
    zero, one = torch.zeros_like(ffc), torch.zeros_like(ffc)
    one[0, 0] = 3.0
    assert filter_loss(Linear(), zero, one).item() == pytest.approx(3.0)
    there = filter_loss(Ridge(0.1), ffc, ffc_s)
    assert there.item() == pytest.approx(filter_loss(Ridge(0.1), ffc_s, ffc).item())
    there = signal_loss(Ridge(0.1), ffc, phi, ffc_s, phi_s)
    assert there.item() == pytest.approx(signal_loss(Ridge(0.1), ffc_s, phi_s, ffc, phi).item())


def test_statistical_matching_is_the_all_pass_signal_term():
    """DM: f = 1, so the signal term is ‖Φ − Φ_s‖ and the filter term is nothing."""
    (ffc, phi), (ffc_s, phi_s) = correlations(30), correlations(10, seed=5)
    assert signal_loss(AllPass(), ffc, phi, ffc_s, phi_s).item() == pytest.approx(float((phi - phi_s).norm()))
    assert filter_loss(AllPass(), ffc, ffc_s).item() == 0.0


def test_gradient_matching_bound():
    """DC: ‖∇ − ∇_s‖ ≤ ‖W‖₂ L_filter(f = λ) + L_signal(f = 1), with ∇ = ΨW − Φ."""
    (ffc, phi), (ffc_s, phi_s) = correlations(30), correlations(10, seed=5)
    for seed in range(20):
        w = randn(5, 3, seed=seed)
        gap = ((ffc @ w - phi) - (ffc_s @ w - phi_s)).norm()
        bound = torch.linalg.matrix_norm(w, 2) * filter_loss(Linear(), ffc, ffc_s)
        assert gap <= bound + signal_loss(AllPass(), ffc, phi, ffc_s, phi_s)
