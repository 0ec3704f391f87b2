"""One contract for every filter, the schedules of β, and the errors of both."""

import itertools
import math
from dataclasses import dataclass

import oracles
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from toys import randn

from unidd.core.filters import (
    AllPass,
    BandPass,
    Custom,
    Filter,
    Landweber,
    Linear,
    Polynomial,
    Product,
    Residual,
    Ridge,
    Scaled,
)
from unidd.core.schedules import SCHEDULES, relative_beta


def landweber(lam: float, rate: float = 0.7, steps: int = 5) -> float:
    return -math.expm1(steps * math.log1p(-rate * lam)) / lam if lam else rate * steps


def ridge(lam):
    return 1 / (lam + 0.05)


def heat(lam):
    return torch.exp(-lam)


def rational(lam):
    return lam / (1 + lam**2)


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
    "custom heat": (Custom(heat), lambda lam: math.exp(-lam)),
    "custom rational": (Custom(rational), lambda lam: lam / (1 + lam**2)),
    "custom in a product": (Custom(heat) * Ridge(0.05), lambda lam: math.exp(-lam) / (0.05 + lam)),
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
    "spectrum",
    [[0.01, 0.1, 0.3, 0.9], [0.0, 0.2, 0.2, 0.7], [0.3, 0.3, 0.3, 0.3], [0.2, 0.2 + 1e-9, 0.2 + 1e-7, 0.7]],
    ids=["separate", "singular and repeated", "all one", "nearly repeated"],
)
def test_gradient_agrees_with_finite_differences(filter, formula, spectrum):
    if 0.0 in spectrum and "Custom" in repr(filter):
        spectrum = [lam + 1e-5 for lam in spectrum]  # it holds f(λ) at f(0) for λ < 0, where differences step
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
def test_a_filter_works_where_its_matrix_lies(filter, formula):
    """`meta` stands for any device, and refuses tensors of the CPU."""
    ffc, signal = torch.ones(2, 3, 3, device="meta"), torch.ones(2, 3, 1, device="meta")
    for found in (filter.response(ffc), filter.matrix(ffc), filter.apply(ffc, signal), filter.derivative(ffc)):
        assert found.device.type == "meta"


@every_filter
def test_filters_are_values(filter, formula):
    name = next(iter(vars(filter)), "factor")
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
    assert BandPass(0.5).response(torch.tensor([1e30])).item() == 1, "without an upper edge all is in it"
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
    "factor nan": (lambda: Scaled(Linear(), math.nan), "factor"),
    "factor inf": (lambda: math.inf * Linear(), "factor"),
    "polynomial nan": (lambda: Polynomial((1.0, math.nan)), "coefficient"),
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


# ------------------------------------------------------------------------- a response and its derivative


def landweber_response(lam):
    return sum(0.7 * (1 - 0.7 * lam) ** k for k in range(5))


def heat_difference(a, b):
    """(e^−a − e^−b) / (a − b) without a difference: −e^−m sinh(h)/h, for the mean m and half the gap h."""
    h = (a - b) / 2
    return -torch.exp(-(a + b) / 2) * torch.where(h == 0, 1.0, torch.sinh(h) / h.masked_fill(h == 0, 1))


def power_sum(a, b, steps):
    """Σ_k a^k b^(steps − 1 − k) = (a^steps − b^steps) / (a − b)."""
    return sum(a**k * b ** (steps - 1 - k) for k in range(steps))


# A function, and (f(a) − f(b)) / (a − b) in a form without a difference, exact however near a is to b.
DIFFERENCES = {
    "ridge": (ridge, lambda a, b: -1 / ((a + 0.05) * (b + 0.05))),
    "sharp ridge": (lambda lam: 1 / (lam + 1e-5), lambda a, b: -1 / ((a + 1e-5) * (b + 1e-5))),
    "heat": (heat, heat_difference),
    "rational": (rational, lambda a, b: (1 - a * b) / ((1 + a**2) * (1 + b**2))),
    "landweber": (
        landweber_response,
        lambda a, b: -0.49 * sum(power_sum(1 - 0.7 * a, 1 - 0.7 * b, k) for k in range(5)),
    ),
    "residual": (lambda lam: (1 - 0.7 * lam) ** 5, lambda a, b: -0.7 * power_sum(1 - 0.7 * a, 1 - 0.7 * b, 5)),
    "root": (lambda lam: (lam + 0.01).sqrt(), lambda a, b: 1 / ((a + 0.01).sqrt() + (b + 0.01).sqrt())),
    "identity": (lambda lam: lam, lambda a, b: torch.ones_like(a * b)),
    "constant": (torch.ones_like, lambda a, b: torch.zeros_like(a * b)),
}
GAPS = [0.0, 1e-16, 1e-15, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.3]


def differences(filter, lam: torch.Tensor) -> torch.Tensor:
    """The factors of the derivative of f(Ψ) in its eigenbasis, for Ψ = diag(λ): (d, d)."""
    ffc, weights = torch.diag(lam).requires_grad_(), randn(len(lam), len(lam), dtype=lam.dtype)
    weights = weights + weights.T
    return torch.autograd.grad((filter.matrix(ffc) * weights).sum(), ffc)[0] / weights


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(("function", "exact"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_the_derivative_at_eigenvalues_however_near(function, exact, gap):
    """Distinct, equal, and between: to the last digits but four."""
    lam = torch.tensor([s + k * gap for s in (0.0, 1e-6, 0.2, 0.7) for k in range(3)], dtype=torch.float64)
    expected = exact(lam[:, None], lam)
    torch.testing.assert_close(differences(Custom(function), lam), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("name", ["ridge", "heat", "rational", "root"])
def test_the_derivative_in_single_precision(name, gap):
    function, exact = DIFFERENCES[name]
    lam = torch.tensor([0.0, gap, 0.3, 0.3 + gap, 0.9])
    found, wide = differences(Custom(function), lam), lam.double()
    torch.testing.assert_close(found.double(), exact(wide[:, None], wide), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_the_derivative_across_a_jump_is_its_height_over_the_gap(gap):
    """And 0 on either side of it."""
    lam = torch.tensor([0.5 - 2 * gap, 0.5 - gap, 0.5 + gap, 0.5 + 2 * gap], dtype=torch.float64)
    rise = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [-1, -1, 0, 0], [-1, -1, 0, 0]], dtype=torch.float64)
    run = lam - lam[:, None] + torch.eye(4)
    for factor, filter in (
        (1, BandPass(0.5)),
        (-1, BandPass(0.0, 0.5)),
        (3, Custom(lambda x: 3 * (x >= 0.5).double())),
    ):
        assert close(differences(filter, lam), factor * rise / run, 1e-7)


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
def test_the_derivative_across_a_kink_is_the_slope_between(gap):
    lam = torch.tensor([0.5 - gap, 0.5 + 3 * gap], dtype=torch.float64)
    kink = Custom(lambda x: 1 + (x - 0.5).relu())
    expected = torch.tensor([[0.0, 0.75], [0.75, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(differences(kink, lam), expected, rtol=1e-6, atol=0)


@every_filter
def test_derivative_is_the_slope_of_the_response(filter, formula):
    lam = torch.tensor([[0.01, 0.04, 0.2], [0.3, 0.7, 1.1]], dtype=torch.float64)
    with torch.no_grad():
        slope, wide = filter.derivative(lam), filter.derivative(lam.float())
    assert slope.shape == (2, 3)
    assert (slope.dtype, wide.dtype) == (torch.float64, torch.float32)
    assert not slope.requires_grad
    step = 1e-6
    expected = (filter.response(lam + step) - filter.response(lam - step)) / (2 * step)
    torch.testing.assert_close(slope, expected, rtol=1e-7, atol=1e-8)


@dataclass(frozen=True)
class Heat(Filter):
    """e^−Ψ by scaling and squaring."""

    def response(self, eigenvalues):
        return torch.exp(-eigenvalues)

    def matrix(self, ffc):
        return torch.linalg.matrix_exp(-ffc)


@dataclass(frozen=True)
class Rational(Filter):
    """Ψ (I + Ψ²)⁻¹ by a solve."""

    def response(self, eigenvalues):
        return eigenvalues / (1 + eigenvalues**2)

    def matrix(self, ffc):
        return torch.linalg.solve(torch.eye(ffc.shape[-1], dtype=ffc.dtype) + ffc @ ffc, ffc)


# A bare response, and the same filter with a matrix of its own that autograd can go through.
TWINS = {
    "linear": (lambda lam: lam, Linear()),
    "ridge": (ridge, Ridge(0.05)),
    "landweber": (landweber_response, Landweber(0.7, 5)),
    "residual": (lambda lam: (1 - 0.7 * lam) ** 5, Residual(0.7, 5)),
    "polynomial": (lambda lam: 0.5 - 2 * lam + 3 * lam**2, Polynomial((0.5, -2.0, 3.0))),
    "product": (lambda lam: lam / (lam + 0.05), Linear() * Ridge(0.05)),
    "scaled": (lambda lam: 7 / (lam + 0.05), 7 * Ridge(0.05)),
    "heat": (heat, Heat()),
    "rational": (rational, Rational()),
}
BATCH = [
    [0.01, 0.1, 0.3, 0.6, 0.9],  # distinct
    [0.3, 0.3, 0.3, 0.3, 0.3],
    [0.0, 0.0, 0.0, 0.4, 0.4],  # dead channels, and a repeated eigenvalue
    [0.0, 0.0, 0.0, 0.0, 0.0],
    [0.2, 0.2 + 1e-15, 0.2 + 1e-12, 0.2 + 1e-9, 0.2 + 1e-6],
    [0.1, 0.1 + 1e-5, 0.1 + 1e-4, 0.1 + 1e-3, 0.1 + 1e-2],
    [0.0, 1e-15, 1e-10, 1e-5, 1.0],
    [0.7, 0.7, 0.7, 0.7, 0.7],
]


def batch(identity: bool = False) -> torch.Tensor:
    """Ψ (8, 5, 5) of `BATCH`, in random bases; or as diagonals, whose repeated eigenvalues are exactly equal."""
    if identity:
        return torch.stack([torch.diag(torch.tensor(s, dtype=torch.float64)) for s in BATCH])
    return torch.stack([psd(s, seed) for seed, s in enumerate(BATCH)])


@pytest.mark.parametrize("identity", [False, True], ids=["rotated", "diagonal"])
@pytest.mark.parametrize(("function", "twin"), TWINS.values(), ids=TWINS)
def test_a_bare_response_is_its_closed_form(function, twin, identity):
    """Matrix, product and both derivatives, for a whole batch."""
    ffc, signal = batch(identity), randn(len(BATCH), 5, 3)
    weights = randn(len(BATCH), 5, 5, seed=2), randn(len(BATCH), 5, 3, seed=3)
    results = []
    for filter in (Custom(function), twin):
        x, b = ffc.clone().requires_grad_(), signal.clone().requires_grad_()
        found = filter.matrix((x + x.mT) / 2), filter.apply((x + x.mT) / 2, b)
        total = sum((f * w).sum() for f, w in zip(found, weights, strict=True))
        results.append((*found, *torch.autograd.grad(total, (x, b))))
    for mine, theirs in zip(*results, strict=True):
        assert mine.shape == theirs.shape
        for one, other in zip(mine, theirs, strict=True):
            assert close(one.detach(), other.detach(), 1e-11)


@pytest.mark.parametrize(("function", "twin"), TWINS.values(), ids=TWINS)
def test_a_bare_response_has_the_derivative_of_finite_differences_in_the_features(function, twin):
    """Of Ψ = XᵀX with a dead channel and fewer rows than channels, which stays semi-definite as X moves."""
    x = randn(3, 5, seed=4) / 2
    x[:, 2] = 0
    weights, signal = randn(5, 2, seed=5), randn(5, 2, seed=6)

    def value(x):
        return (Custom(function).apply(x.mT @ x, signal) * weights).sum()

    size = value(x).abs()  # differences of large values round off more, by how much the machine decides
    assert torch.autograd.gradcheck(lambda x: value(x) / size, (x.requires_grad_(),), atol=5e-8, rtol=1e-6)


def test_the_gradient_is_symmetric_whatever_is_asked_of_it():
    """A sum of entries that is not symmetric has the gradient of its symmetric part: f(Ψ) has no other."""
    ffc, weights = psd([0.0, 0.1, 0.5, 0.9]).requires_grad_(), randn(4, 4)
    found = [torch.autograd.grad((Custom(heat).matrix(ffc) * w).sum(), ffc)[0] for w in (weights, weights.T)]
    assert close(found[0], found[1], 1e-12)
    assert close(found[0], found[0].T, 1e-12)


def test_a_response_without_torch_gradients_still_filters():
    step = Custom(lambda lam: (lam > 0.3).to(lam.dtype))
    ffc = psd([0.0, 0.1, 0.5, 0.9]).requires_grad_()
    found = step.matrix(ffc)
    assert close(found.detach() @ found.detach(), found.detach(), 1e-12)
    assert float(found.detach().trace()) == pytest.approx(2)
    assert torch.equal(step.derivative(torch.tensor([0.1, 0.5])), torch.zeros(2))


def test_rounding_below_zero_is_a_zero_of_a_dead_channel():
    root = Custom(torch.sqrt)
    assert root.matrix(torch.diag(torch.tensor([-1e-16, 4.0]).double())).tolist() == [[0, 0], [0, 2]]


# ------------------------------------------------------------------------------------------- the algebra

SMOOTH = {name: filter for name, (filter, _) in CASES.items() if "band" not in name and name != "nested"}
some_filter = st.sampled_from([*SMOOTH.values(), *map(Custom, (heat, rational, ridge))])
numbers = st.floats(-100, 100)


@given(spectrum=spectra, seed=st.integers(0, 2**31), one=some_filter, other=some_filter)
def test_a_product_is_one_filter_after_the_other(spectrum, seed, one, other):
    ffc, signal, lam = psd(spectrum, seed), randn(len(spectrum), 2), torch.tensor(spectrum, dtype=torch.float64)
    product = one * other
    assert product == Product(one, other)
    assert torch.equal(product.response(lam), one.response(lam) * other.response(lam))
    assert close(product.matrix(ffc), one.matrix(ffc) @ other.matrix(ffc), 1e-11)
    assert close(product.matrix(ffc), (other * one).matrix(ffc), 1e-11)
    assert close(product.apply(ffc, signal), one.apply(ffc, other.apply(ffc, signal)), 1e-11)


@given(spectrum=spectra, seed=st.integers(0, 2**31), filter=some_filter, c=numbers, other=numbers)
def test_a_factor_goes_through_everything(spectrum, seed, filter, c, other):
    ffc, signal, lam = psd(spectrum, seed), randn(len(spectrum), 2), torch.tensor(spectrum, dtype=torch.float64)
    scaled = c * filter
    assert scaled == filter * c == Scaled(filter, c)
    assert torch.equal(scaled.response(lam), c * filter.response(lam))
    assert close(scaled.matrix(ffc), c * filter.matrix(ffc), 1e-13)
    assert close(scaled.apply(ffc, signal), c * filter.apply(ffc, signal), 1e-13)
    assert close((other * scaled).matrix(ffc), (c * other) * filter.matrix(ffc), 1e-12)
    assert close((scaled * filter).matrix(ffc), c * (filter * filter).matrix(ffc), 1e-11)
    assert close(scaled.derivative(lam), c * filter.derivative(lam), 1e-12)


@given(spectrum=spectra, seed=st.integers(0, 2**31), filter=some_filter)
def test_a_rotation_goes_through_the_filter_and_its_derivative(spectrum, seed, filter):
    """f(QΨQᵀ) = Q f(Ψ) Qᵀ, and the same of the gradient of ⟨f(Ψ), W⟩."""
    d = len(spectrum)
    q, ffc, w = basis_of(d, seed + 1), psd(spectrum, seed), randn(d, d, seed=3)
    found = []
    for turn in (torch.eye(d, dtype=torch.float64), q):
        x = (turn @ ffc @ turn.T).requires_grad_()
        matrix = filter.matrix(x)
        (gradient,) = torch.autograd.grad((matrix * (turn @ (w + w.T) @ turn.T)).sum() + 0 * x.sum(), x)
        found.append((matrix.detach(), (gradient + gradient.T) / 2))
    for before, after in zip(*found, strict=True):
        assert close(after, q @ before @ q.T, 1e-9)


@given(spectrum=spectra, seed=st.integers(0, 2**31), filter=some_filter)
def test_a_filter_is_symmetric_and_shares_the_eigenvectors(spectrum, seed, filter):
    ffc, lam = psd(spectrum, seed), torch.tensor(spectrum, dtype=torch.float64)
    matrix = filter.matrix(ffc)
    assert close(matrix, matrix.T, 1e-12)
    assert close(matrix @ ffc, ffc @ matrix, 1e-11)
    assert float(matrix.trace()) == pytest.approx(float(filter.response(lam).sum()), rel=1e-10, abs=1e-10)


@given(spectrum=spectra, seed=st.integers(0, 2**31), filter=some_filter)
def test_the_derivative_along_the_identity_is_that_of_the_response(spectrum, seed, filter):
    """d/dt tr f(Ψ + tI) = Σ f'(λ)."""
    ffc, lam = psd(spectrum, seed).requires_grad_(), torch.tensor(spectrum, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(filter.matrix(ffc).trace() + 0 * ffc.sum(), ffc)
    assert float(gradient.trace()) == pytest.approx(float(filter.derivative(lam).sum()), rel=1e-9, abs=1e-10)


# --------------------------------------------------------------------------- what the engine asks a filter


def layers(d: int = 5, k: int = 2, count: int = 3):
    """Ψ_s, Φ_s, Ψ and Φ of some layers, of which one has dead channels and one is the same on both sides."""
    ffc = torch.stack([psd([0.0, 0.0, 0.1, 0.4, 0.9], 1), psd([0.1, 0.2, 0.3, 0.4, 0.5], 2), psd([0.3] * 5, 3)])
    real = torch.stack([psd([0.0, 0.2, 0.2, 0.3, 1.1], 4), psd([0.2, 0.2, 0.3, 0.4, 0.9], 5), psd([0.3] * 5, 3)])
    flc, real_flc = randn(count, d, k, seed=6), randn(count, d, k, seed=7)
    flc[2] = real_flc[2]
    return ffc, flc, real, real_flc


def by_oracle(kind: str, rates: torch.Tensor, beta: float = 0.05):
    """Distances and derivatives by an explicit inverse and autograd, layer by layer."""
    found = []
    for ffc, flc, real, real_flc, rate in zip(*layers(), rates, strict=True):
        x, phi = ffc.requires_grad_(), flc.requires_grad_()
        symmetric = (x + x.T) / 2
        terms = torch.stack(
            (
                oracles.filter_term(kind, real, symmetric, beta),
                oracles.signal_term(kind, real, real_flc, symmetric, phi, beta),
            )
        )
        gradients = torch.autograd.grad((terms * rate).sum() + 0 * x.sum() + 0 * phi.sum(), (x, phi))
        found.append((terms.detach(), *gradients))
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


RATES = torch.tensor([[1.0, 1.0], [0.3, 2.0], [5.0, 0.7]], dtype=torch.float64)
ORACLE = {
    "ridge, closed form": ("ridge", lambda *a: Ridge(0.05).distances(*a)),
    "ridge by default": ("ridge", lambda *a: Filter.distances(Ridge(0.05), *a)),
    "ridge as a bare response": ("ridge", lambda *a: Custom(ridge).distances(*a)),
    "linear": ("linear", lambda *a: Linear().distances(*a)),
    "linear as a bare response": ("linear", lambda *a: Custom(lambda lam: lam).distances(*a)),
}


@pytest.mark.parametrize("rates", [RATES, RATES * torch.tensor([1.0, 0.0]), RATES * torch.tensor([0.0, 1.0])])
@pytest.mark.parametrize(("kind", "distances"), ORACLE.values(), ids=ORACLE)
def test_distances_and_their_derivatives_against_the_oracle(kind, distances, rates):
    ffc, flc, real, real_flc = layers()
    matrix = torch.stack([oracles.filtered(kind, x, 0.05) for x in real])
    with torch.no_grad():
        found = distances(ffc, flc, (matrix, matrix @ real_flc), rates)
    expected = by_oracle(kind, rates)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert not mine.requires_grad
        assert close(mine[:2], theirs[:2], 1e-11)
    # Equal sides: what rounding leaves of a distance of 0 has any direction.
    assert found[0][2].max() < 1e-11
    assert close(found[1], found[1].mT, 1e-12)


@pytest.mark.parametrize("filter", [AllPass(), Linear(), Custom(lambda lam: lam)], ids=["all-pass", "linear", "custom"])
def test_equal_sides_push_nothing(filter):
    ffc, flc, _, _ = layers()
    matrix = filter.matrix(ffc)
    found = filter.distances(ffc.clone(), flc.clone(), (matrix, matrix @ flc), RATES)
    assert all(not part.any() for part in found)


def test_the_distances_of_a_filter_that_does_not_see_the_ffc():
    """DM: only the signal, and no derivative in Ψ_s."""
    ffc, flc, _, real_flc = layers()
    eye = torch.eye(5, dtype=torch.float64).expand(3, 5, 5)
    distances, d_ffc, d_flc = AllPass().distances(ffc, flc, (eye, real_flc), RATES)
    gap = flc.detach() - real_flc
    assert close(distances[:, 1], gap.norm(dim=(1, 2)), 1e-12)
    assert not distances[:, 0].any()
    assert not d_ffc.any()
    assert d_ffc.shape == (3, 5, 5)
    assert close(d_flc[:2], (gap / gap.norm(dim=(1, 2), keepdim=True) * RATES[:, 1, None, None])[:2], 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_filter_is_resolved_with_all_its_parts(dtype):
    floor = 16 * torch.finfo(dtype).eps * 3.0
    low, high = Ridge(1e-30), Ridge(0.5)
    assert low.resolved(3.0, dtype) == Ridge(floor)
    assert high.resolved(3.0, dtype) == high
    assert (2.5 * low).resolved(3.0, dtype) == Scaled(Ridge(floor), 2.5)
    assert (low * high).resolved(3.0, dtype) == Product(Ridge(floor), high)
    assert (high * low).resolved(3.0, dtype) == Product(high, Ridge(floor))
    for filter in (AllPass(), Linear(), Landweber(0.1, 9), BandPass(0.1), Custom(heat)):
        assert filter.resolved(3.0, dtype) is filter


SCALES = {
    "all-pass": (AllPass(), 2.0),
    "linear": (Linear(), 2.0),
    "nothing": (0 * Linear(), 2.0),
    "ridge": (Ridge(1e-3), 1e-3),
    "ridge above the spectrum": (Custom(lambda lam: 1 / (lam + 9)), 2.0),
    "ridge as a bare response": (Custom(lambda lam: 1 / (lam + 1e-7)), 1e-7),
    "scaled": (50 * Ridge(1e-3), 1e-3),
    "product": (Ridge(1e-3) * Ridge(1e-3), 5e-4),
    "residual": (Residual(0.5, 40), 1 / 20),
    "landweber": (Landweber(0.5, 41), 2 / 20),
    "band": (BandPass(0.5), 2.0),
    "square": (Polynomial((0.0, 0.0, 1.0)), 1.0),
}


@pytest.mark.parametrize(("filter", "expected"), SCALES.values(), ids=SCALES)
def test_an_error_shows_where_the_filter_is_steep(filter, expected):
    """Beside max |f| / max |f'| on [0, λ_max]: β of a ridge, λ_max of what is not steep."""
    assert filter.scale(2.0) == pytest.approx(expected, rel=1e-9)
    assert isinstance(filter.scale(2.0), float)
    if expected == 2.0:
        assert filter.scale(1.9) == pytest.approx(1.9, rel=1e-15)


def test_only_ridge_has_a_form_for_few_rows():
    assert [filter.has_row_form for filter in (Ridge(0.1), Linear(), Custom(heat), 2 * Ridge(0.1))] == [1, 0, 0, 0]
    with pytest.raises(NotImplementedError, match="Linear has no form for few rows"):
        Linear().row_distances(*[None] * 6)


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
    with pytest.raises(ValueError, match=r"^the layer's eigenvalues give no scale"):
        relative_beta(0.5, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="scale"):
        relative_beta(0.5, torch.diag(torch.tensor([0.0, 0.0, 1.0])), quantile=0.5)
    with pytest.raises(ValueError, match="scale"):
        relative_beta(0.5, torch.full((2, 2), math.nan))


@pytest.mark.parametrize("fraction", [0.0, -1.0, math.nan])
def test_relative_beta_needs_a_positive_fraction(fraction):
    with pytest.raises(ValueError, match="beta"):
        relative_beta(fraction, torch.eye(3))
