"""One contract for every filter, the schedules of β, and the errors of both."""

import itertools
import math

import oracles
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unidd.core.filters import AllPass, BandPass, Landweber, Linear, Polynomial, Product, Residual, Ridge, Scaled
from unidd.core.schedules import SCHEDULES, relative_beta


def landweber(lam: float, rate: float = 0.7, steps: int = 5) -> float:
    return -math.expm1(steps * math.log1p(-rate * lam)) / lam if lam else rate * steps


# Each filter with its response written a second time, on floats: closed forms where the package recurs.
CASES = {
    "all-pass": (AllPass(), lambda lam: 1.0),
    "linear": (Linear(), lambda lam: lam),
    "ridge": (Ridge(0.05), lambda lam: 1 / (0.05 + lam)),
    "residual": (Residual(0.7, 5), lambda lam: math.exp(5 * math.log1p(-0.7 * lam))),
    "residual, no step": (Residual(0.7, 0), lambda lam: 1.0),
    "landweber": (Landweber(0.7, 5), landweber),
    "landweber, no step": (Landweber(0.7, 0), lambda lam: 0.0),
    "polynomial": (Polynomial((0.5, -2.0, 3.0)), lambda lam: 0.5 - 2 * lam + 3 * lam * lam),
    "constant": (Polynomial((2.0,)), lambda lam: 2.0),
    "band": (BandPass(0.05, 0.5), lambda lam: 1.0 if 0.05 <= lam < 0.5 else 0.0),
    "low band": (BandPass(0.0, 0.5), lambda lam: 1.0 if lam < 0.5 else 0.0),
    "high band": (BandPass(0.05), lambda lam: 1.0 if lam >= 0.05 else 0.0),
    "scaled": (Scaled(Ridge(0.05), 0.05), lambda lam: 0.05 / (0.05 + lam)),
    "product": (Product(Linear(), Ridge(0.05)), lambda lam: lam / (0.05 + lam)),
    "nested": (
        Scaled(Product(Polynomial((1.0, 1.0)), BandPass(0.05)), 3.0),
        lambda lam: 3.0 * (1 + lam) if lam >= 0.05 else 0.0,
    ),
}
every_filter = pytest.mark.parametrize(("filter", "formula"), CASES.values(), ids=CASES)
EDGES = (0.05, 0.5)


def basis_of(size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


def psd(spectrum, seed: int = 0) -> torch.Tensor:
    """A symmetric matrix with exactly this spectrum, up to rounding, in a random basis."""
    spectrum = torch.as_tensor(spectrum, dtype=torch.float64)
    basis = basis_of(len(spectrum), seed)
    matrix = (basis * spectrum) @ basis.T
    return (matrix + matrix.T) / 2


def randn(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    """Relative in the Frobenius norm; absolute where the expected value is all but zero."""
    return float((a - b).norm()) <= tolerance * max(float(b.norm()), 1e-6)


# Zeros stand for dead channels, equal values for repeated eigenvalues; none lies on the edge of a band.
eigenvalue = st.just(0.0) | st.floats(-6, 0).map(lambda power: 10**power)
spectra = st.lists(eigenvalue, min_size=1, max_size=7).flatmap(
    lambda values: st.just(values) | st.just(values + values[:1])
)


@every_filter
@settings(deadline=None, max_examples=30)
@given(spectrum=spectra, seed=st.integers(0, 2**31))
def test_response_is_the_diagonal_of_the_matrix_in_the_eigenbasis(filter, formula, spectrum, seed):
    assume(all(abs(lam - edge) > 1e-3 * edge for lam in spectrum for edge in EDGES))
    expected = torch.tensor([formula(lam) for lam in spectrum], dtype=torch.float64)
    response = filter.response(torch.tensor(spectrum, dtype=torch.float64))
    torch.testing.assert_close(response, expected, rtol=1e-12, atol=1e-14)

    ffc, basis = psd(spectrum, seed), basis_of(len(spectrum), seed)
    in_eigenbasis = basis.T @ filter.matrix(ffc) @ basis
    assert close(in_eigenbasis, torch.diag(expected), 1e-11)


@every_filter
def test_matrix_agrees_with_the_eigendecomposition_and_apply_with_the_matrix(filter, formula):
    ffc = psd([0.0, 0.0, 1e-6, 0.02, 0.3, 0.3, 0.9])
    signal = randn(7, 3)
    expected = oracles.spectral_function(lambda lam: formula(max(lam, 0.0)), ffc)
    assert close(filter.matrix(ffc), expected, 1e-12)
    assert close(filter.apply(ffc, signal), expected @ signal, 1e-12)
    assert filter.matrix(ffc).shape == (7, 7)
    assert filter.apply(ffc, signal[:, :1]).shape == (7, 1)


@every_filter
@pytest.mark.parametrize(
    "spectrum", [[0.01, 0.1, 0.3, 0.9], [0.0, 0.2, 0.2, 0.7]], ids=["separate", "singular and repeated"]
)
def test_gradient_agrees_with_finite_differences(filter, formula, spectrum):
    ffc, signal = psd(spectrum).requires_grad_(), randn(4, 2).requires_grad_()

    def matrix(x):
        # 0·x lets a filter that does not depend on Ψ, whose result has no graph, be checked like the others.
        return filter.matrix((x + x.mT) / 2) + 0 * x

    def apply(x, signal):
        return filter.apply((x + x.mT) / 2, signal)

    # The low band of a singular Ψ is smooth too, although finite differences move zero eigenvalues below 0.
    assert torch.autograd.gradcheck(matrix, (ffc,), atol=1e-5, rtol=1e-4)
    assert torch.autograd.gradcheck(apply, (ffc, signal), atol=1e-5, rtol=1e-4)


@every_filter
def test_a_batch_is_a_loop(filter, formula):
    spectra = [[0.0, 0.01, 0.2, 0.9], [0.3, 0.3, 0.3, 0.3], [1e-6, 1e-3, 0.1, 1.0]]
    ffc = torch.stack([psd(s, seed) for seed, s in enumerate(spectra * 2)]).reshape(2, 3, 4, 4)
    signal = randn(2, 3, 4, 5)
    matrices, applied = filter.matrix(ffc), filter.apply(ffc, signal)
    assert matrices.shape == (2, 3, 4, 4)
    assert applied.shape == (2, 3, 4, 5)
    for i, j in itertools.product(range(2), range(3)):
        assert close(matrices[i, j], filter.matrix(ffc[i, j]), 1e-13)
        assert close(applied[i, j], filter.apply(ffc[i, j], signal[i, j]), 1e-13)


# In float32 a ridge resolves λ + β only down to about 1e-7 λ_max: 1e-3 λ_max leaves four digits. For a
# projection the gap between eigenvalues on either side of an edge takes the place of β.
SINGLE = {name: case for name, case in CASES.items() if "ridge" not in name}
SINGLE["ridge"] = (Ridge(1e-3), None)
SINGLE["large ridge"] = (Ridge(10.0), None)


@pytest.mark.parametrize("filter", [case[0] for case in SINGLE.values()], ids=SINGLE)
@pytest.mark.parametrize("condition", [1e0, 1e3, 1e6])
@pytest.mark.parametrize("size", [4, 24])
def test_single_precision(filter, size, condition):
    ffc = psd(torch.logspace(-math.log10(condition), 0, size, dtype=torch.float64) * 0.9, seed=size)
    signal = randn(size, 3)
    expected, single = filter.matrix(ffc), filter.matrix(ffc.float())
    assert close(single.double(), expected, 1e-4)
    applied = filter.apply(ffc.float(), signal.float())
    assert close(applied.double(), filter.apply(ffc, signal), 1e-4)


@every_filter
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(filter, formula, dtype):
    ffc, signal = psd([0.01, 0.2, 0.9]).to(dtype), randn(3, 2).to(dtype)
    grid = torch.linspace(0, 1, 6, dtype=dtype).reshape(2, 3)
    before = ffc.clone(), signal.clone(), grid.clone()
    results = filter.response(grid), filter.matrix(ffc), filter.apply(ffc, signal)
    assert [r.dtype for r in results] == [dtype] * 3
    assert [r.shape for r in results] == [(2, 3), (3, 3), (3, 2)]
    for input, copy in zip((ffc, signal, grid), before, strict=True):
        assert torch.equal(input, copy), "an input was changed"


@every_filter
def test_filters_are_values(filter, formula):
    name = next(iter(vars(filter)), "scale")
    with pytest.raises(AttributeError):
        setattr(filter, name, 1.0)
    assert filter == type(filter)(**vars(filter))
    assert hash(filter) == hash(type(filter)(**vars(filter)))


def test_limits_that_connect_the_filters():
    """A scaled ridge flattens as β grows; Landweber tends to 1/λ, and r_t = 1 − λ s_t."""
    lam = torch.tensor([0.05, 0.4, 1.0], dtype=torch.float64)
    torch.testing.assert_close(Scaled(Ridge(1e9), 1e9).response(lam), torch.ones_like(lam))
    torch.testing.assert_close(Landweber(0.5, 3000).response(lam), 1 / lam)
    torch.testing.assert_close(Residual(0.5, 6).response(lam), 1 - lam * Landweber(0.5, 6).response(lam))


def test_a_band_holds_its_lower_edge_and_not_its_upper_one():
    edges = torch.tensor([0.125, 0.5, 2.0])
    assert BandPass(0.125, 0.5).response(edges).tolist() == [1, 0, 0]
    assert BandPass(0.5).response(edges).tolist() == [0, 1, 1]
    halves = BandPass(0.0, 0.5).response(edges) + BandPass(0.5).response(edges)
    assert halves.tolist() == [1, 1, 1], "neighbouring bands share no frequency and lose none"


def test_primal_and_dual_ridge_agree():
    """X_t X_sᵀ (X_s X_sᵀ + mβI)⁻¹ Y_s = X_t (Ψ_s + βI)⁻¹ Φ_s with Ψ_s = X_sᵀX_s/m and Φ_s = X_sᵀY_s/m."""
    x_t, x_s, y_s, m = randn(5, 4), randn(7, 4, seed=2), randn(7, 3, seed=3), 7
    dual = x_t @ x_s.T @ torch.linalg.inv(x_s @ x_s.T + m * 0.2 * torch.eye(m, dtype=torch.float64)) @ y_s
    primal = x_t @ Ridge(0.2).apply(x_s.T @ x_s / m, x_s.T @ y_s / m)
    assert close(primal, dual, 1e-12)


BAD = {
    "ridge 0": (lambda: Ridge(0.0), "beta"),
    "ridge negative": (lambda: Ridge(-0.1), "beta"),
    "ridge nan": (lambda: Ridge(math.nan), "beta"),
    "ridge inf": (lambda: Ridge(math.inf), "beta"),
    "residual rate 0": (lambda: Residual(0.0, 3), "rate"),
    "residual rate nan": (lambda: Residual(math.nan, 3), "rate"),
    "residual steps negative": (lambda: Residual(0.1, -1), "steps"),
    "residual steps half": (lambda: Residual(0.1, 1.5), "steps"),
    "residual steps float": (lambda: Residual(0.1, 2.0), "steps"),
    "residual steps inf": (lambda: Residual(0.1, math.inf), "steps"),
    "landweber rate negative": (lambda: Landweber(-0.1, 3), "rate"),
    "landweber rate inf": (lambda: Landweber(math.inf, 3), "rate"),
    "landweber steps negative": (lambda: Landweber(0.1, -2), "steps"),
    "polynomial empty": (lambda: Polynomial(()), "coefficient"),
    "band negative": (lambda: BandPass(-0.1, 1.0), "band"),
    "band empty": (lambda: BandPass(1.0, 1.0), "band"),
    "band reversed": (lambda: BandPass(2.0, 1.0), "band"),
    "band nan": (lambda: BandPass(0.0, math.nan), "band"),
}


@pytest.mark.parametrize(("make", "word"), BAD.values(), ids=BAD)
def test_bad_parameters_are_value_errors_that_name_them(make, word):
    with pytest.raises(ValueError, match=word):
        make()


def test_ridge_of_a_matrix_that_is_not_positive_definite():
    with pytest.raises(torch.linalg.LinAlgError):
        Ridge(0.1).matrix(-torch.eye(3))


# -------------------------------------------------------------------------------------------- schedules

FORMULAS = {
    "constant": lambda beta, b, rounds: beta,
    "cosine": oracles.cosine_beta,
    "linear": lambda beta, b, rounds: beta * (rounds - b) / rounds,
    "log": lambda beta, b, rounds: beta * 10.0 ** (-2 * b / rounds),
    "reverse": lambda beta, b, rounds: beta * (1 - math.cos(math.pi * (b + 1) / rounds)) / 2,
}


def test_every_schedule_has_its_formula_here():
    assert set(SCHEDULES) == set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
@given(beta=st.floats(1e-6, 1e3), rounds=st.integers(1, 200), data=st.data())
def test_schedule_formula_and_range(name, beta, rounds, data):
    b = data.draw(st.integers(0, rounds - 1))
    value = SCHEDULES[name](beta, b, rounds)
    assert value == pytest.approx(FORMULAS[name](beta, b, rounds), rel=1e-9)
    assert 0 < value <= beta * (1 + 1e-12), "a ridge needs β above 0 in every round"


@pytest.mark.parametrize("rounds", [1, 2, 10, 50])
@pytest.mark.parametrize("name", FORMULAS)
def test_schedule_end_points_and_monotonicity(name, rounds):
    values = [SCHEDULES[name](0.3, b, rounds) for b in range(rounds)]
    pairs = list(itertools.pairwise(values))
    if name == "constant":
        assert values == [0.3] * rounds
    elif name == "reverse":
        assert values[-1] == pytest.approx(0.3)
        assert values == pytest.approx([SCHEDULES["cosine"](0.3, b, rounds) for b in reversed(range(rounds))])
        assert all(a < b for a, b in pairs)
    else:
        assert values[0] == pytest.approx(0.3)
        assert all(a > b for a, b in pairs)


def test_relative_beta_is_a_fraction_of_the_layers_own_spectrum():
    spectrum = [0.0, 0.1, 0.2, 0.3, 0.9]
    ffc = psd(spectrum)
    assert relative_beta(0.5, ffc) == pytest.approx(0.5 * sum(spectrum) / 5)
    assert relative_beta(0.5, ffc, quantile=0.5) == pytest.approx(0.5 * 0.2)
    assert relative_beta(2.0, ffc, quantile=1.0) == pytest.approx(1.8)
    assert relative_beta(0.5, 7.0 * ffc) == pytest.approx(7 * relative_beta(0.5, ffc))
    assert relative_beta(0.5, ffc.float()) == pytest.approx(relative_beta(0.5, ffc), rel=1e-5)
    assert isinstance(relative_beta(0.5, ffc), float)


def test_relative_beta_needs_a_scale():
    with pytest.raises(ValueError, match="scale"):
        relative_beta(0.5, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="scale"):
        relative_beta(0.5, torch.diag(torch.tensor([0.0, 0.0, 1.0])), quantile=0.5)
    with pytest.raises(ValueError, match="scale"):
        relative_beta(0.5, torch.full((2, 2), math.nan))


@pytest.mark.parametrize("fraction", [0.0, -1.0, math.nan])
def test_relative_beta_needs_a_positive_fraction(fraction):
    with pytest.raises(ValueError, match="beta"):
        relative_beta(fraction, torch.eye(3))
