"""The equations of the chapters on methods, bounds and kernels, on real features of photographs in float64."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from real_features import maps, samples, sides

from unidd.bench.records import load_records
from unidd.core import objectives
from unidd.core.filters import AllPass, Landweber, Linear, Residual, Ridge
from unidd.core.objectives import Side
from unidd.core.spectra import effective_beta, spectrum
from unidd.core.statistics import covariance, rows

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "results" / "studies"
EXPERT, STUDENT, BETA = 50, 20, 1e-3


def head(seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(32, 10, generator=generator, dtype=torch.float64) / 32**0.5


def rate():
    return 1 / float(max(torch.linalg.matrix_norm(side.ffc, 2) for side in sides()))


def error(one, other):
    return float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other))


def gradient(x, y, weights):
    """By autograd, from the data."""
    weights = weights.clone().requires_grad_()
    ((x @ weights - y).square().sum() / (2 * len(x))).backward()
    return weights.grad


def descend(x, y, weights, steps, step_size):
    for _ in range(steps):
        weights = weights - step_size * gradient(x, y, weights)
    return weights


def eigen_trajectory(side, weights, steps, step_size):
    """The filter form, in the eigenbasis and in closed form."""
    lam, basis = torch.linalg.eigh(side.ffc)
    residual = (1 - step_size * lam) ** steps
    learnt = Landweber(step_size, steps).response(lam)
    return basis @ (residual[:, None] * (basis.T @ weights) + learnt[:, None] * (basis.T @ side.flc))


# ---- exact identities


@pytest.mark.parametrize("filter", [AllPass(), Linear(), Ridge(0.1)], ids=repr)
def test_eq_unidd(filter):
    """‖f(Ψ)g(Φ) − f(Ψ_s)g(Φ_s)‖ for g = I and g = Φ, through eigenvectors."""
    real, synthetic = sides()
    sandwich = []
    for side in (real, synthetic):
        lam, basis = spectrum(side.ffc)
        sandwich.append(basis @ filter.response(lam).diag() @ basis.T)
    direct = (sandwich[0] - sandwich[1]).norm()
    by_filter = objectives.filter_loss(filter, real.ffc, synthetic.ffc)
    assert float(by_filter) == pytest.approx(float(direct), rel=1e-9, abs=1e-12)
    direct = (sandwich[0] @ real.flc - sandwich[1] @ synthetic.flc).norm()
    assert float(objectives.signal_loss(filter, *real, *synthetic)) == pytest.approx(float(direct), rel=1e-9)


def test_eq_head_gradient():
    for x, y in samples():
        side = Side.of(x, y)
        assert error(side.ffc @ head() - side.flc, gradient(x, y, head())) < 1e-10


def test_eq_dm():
    (x, y), (x_s, y_s) = samples()
    assert set(y.sum(0).tolist()) == {100.0}  # classes of equal size
    assert set(y_s.sum(0).tolist()) == {10.0}
    gaps = [(x[y[:, k] == 1].mean(0) - x_s[y_s[:, k] == 1].mean(0)).square().sum() for k in range(10)]
    assert float(objectives.dm(*sides())) ** 2 == pytest.approx(float(sum(gaps)) / 100, rel=1e-10)


def test_eq_dc():
    (x, y), (x_s, y_s) = samples()
    gap = gradient(x, y, head()) - gradient(x_s, y_s, head())
    assert error(sum(objectives.dc_terms(*sides(), head())), gap) < 1e-10
    assert float(objectives.dc(*sides(), head())) == pytest.approx(float(gap.norm()), rel=1e-10)


def test_eq_mtt():
    """Heads after p expert and q student steps of gradient descent on the data, against both filter forms."""
    ends = []
    for (x, y), side, steps in zip(samples(), sides(), (EXPERT, STUDENT), strict=True):
        unrolled = descend(x, y, head(), steps, rate())
        assert error(eigen_trajectory(side, head(), steps, rate()), unrolled) < 1e-10
        assert error(objectives.trajectory(side, head(), rate(), steps), unrolled) < 1e-10
        ends.append(unrolled)
    apart = objectives.mtt(*sides(), head(), rate(), EXPERT, STUDENT)
    assert float(apart) == pytest.approx(float((ends[0] - ends[1]).norm()), rel=1e-10)
    terms = objectives.mtt_terms(*sides(), head(), rate(), EXPERT, STUDENT)
    assert error(sum(terms), ends[0] - ends[1]) < 1e-10


def test_eq_mtt_of_no_steps_is_the_start():
    assert torch.equal(objectives.trajectory(sides()[0], head(), rate(), 0), head())
    assert float(objectives.mtt(*sides(), head(), rate(), 0, 0)) == 0


@pytest.mark.parametrize("steps", [1, 2, 10, 100, 10_000])
def test_eq_early(steps):
    """Landweber lies between ridge with β = 1/(αt) and twice that, on the layer's eigenvalues and on a fine grid."""
    layer = spectrum(sides()[0].ffc).eigenvalues
    alpha = 1 / float(layer.max())
    for lam in (layer, torch.linspace(0, 1 / alpha, 1001, dtype=torch.float64)):
        ratio = Landweber(alpha, steps).response(lam) / Ridge(1 / (alpha * steps)).response(lam)
        assert ratio.min() >= 1 - 1e-12
        assert ratio.max() <= 2 + 1e-12
    if 1 < steps < 10_000:  # at one step Landweber is flat, and no β fits best
        best = effective_beta(Landweber(alpha, steps), layer) * alpha * steps
        assert 1 / 3 < best < 3


def test_eq_early_ends_at_least_squares():
    real, _ = sides()
    lam = spectrum(real.ffc).eigenvalues
    keep = lam > 1e-3 * lam[0]
    limit = Landweber(1 / float(lam[0]), 30_000).response(lam[keep])
    assert torch.allclose(limit, 1 / lam[keep], rtol=1e-10)


@pytest.mark.parametrize("beta", [1e-4, 1e-2, 1.0])
def test_eq_krr(beta):
    """Dual prediction against primal."""
    (x_t, _), (x, y) = samples()
    m, side = len(x), sides()[1]
    dual = x_t @ x.T @ torch.linalg.solve(x @ x.T + m * beta * torch.eye(m, dtype=torch.float64), y)
    assert error(x_t @ Ridge(beta).apply(*side), dual) < 1e-10


def test_eq_krr_distance_of_heads():
    heads = [torch.linalg.solve(s.ffc + BETA * torch.eye(32, dtype=torch.float64), s.flc) for s in sides()]
    assert float(objectives.krr(*sides(), BETA)) == pytest.approx(float((heads[0] - heads[1]).norm()), rel=1e-9)


@pytest.mark.parametrize("beta", [0.0, 1e-3, 1.0])
def test_eq_krr_weighted(beta):
    """At β = 0 as in the chapter, and with the penalty of its exercise 2."""
    (x, y), (real, synthetic) = samples()[0], sides()
    best = torch.linalg.lstsq(x, y).solution if beta == 0 else Ridge(beta).apply(*real)
    for weights in (Ridge(BETA).apply(*synthetic), head()):

        def loss(w):
            return (y - x @ w).square().sum() / len(x) + beta * w.square().sum()

        gap = objectives.head_gap(real, weights, best, beta) if beta else objectives.head_gap(real, weights, best)
        found = loss(best) + gap
        assert float(found) == pytest.approx(float(loss(weights)), rel=1e-10)
        moments = objectives.head_loss(real, weights, 1.0) + beta * weights.square().sum()
        assert float(moments) == pytest.approx(float(loss(weights)), rel=1e-10)


def test_eq_bn():
    """Running statistics of a real batch-norm layer, the diagonal of Ψ, and its eigenvalues."""
    (real, _), (synthetic, _) = maps()
    moments = []
    for features in (real, synthetic):
        layer = torch.nn.BatchNorm2d(32, momentum=None).double()
        layer(features)
        x = rows(features)
        ffc = covariance(x)
        lam, basis = spectrum(ffc)
        assert error(layer.running_var * (1 - 1 / len(x)), ffc.diagonal()) < 1e-10
        assert error(basis.square() @ lam, ffc.diagonal()) < 1e-10
        moments += [layer.running_mean, ffc]
    stored = (moments[0] - moments[2]).norm() + (moments[1] - moments[3]).diagonal().norm()
    assert float(objectives.bn(*moments)) == pytest.approx(float(stored), rel=1e-10)
    assert (moments[1] - moments[3]).diagonal().norm() <= objectives.filter_loss(Linear(), moments[1], moments[3])


# ---- bounds


HEADS = [head(), head(1, 10.0), head(2, 1e-3)]


@pytest.mark.parametrize("weights", HEADS, ids=["unit", "large", "small"])
def test_eq_dc_bound(weights):
    real, synthetic = sides()
    for w in (weights, objectives.trajectory(real, weights, rate(), 200)):
        bound = objectives.dc_bound(real, synthetic, w)
        assert objectives.dc(real, synthetic, w) <= bound
        longhand = torch.linalg.svdvals(w)[0] * (real.ffc - synthetic.ffc).norm() + (real.flc - synthetic.flc).norm()
        assert float(bound) == pytest.approx(float(longhand), rel=1e-10)


def test_eq_dc_bound_is_reached():
    """An orthogonal head, and parallel terms: then nothing is given away."""
    real, synthetic = sides()
    ffc, synthetic_ffc, weights = real.ffc[:10, :10], synthetic.ffc[:10, :10], torch.eye(10, dtype=torch.float64)
    flc = -2 * (ffc - synthetic_ffc)
    pair = Side(ffc, flc), Side(synthetic_ffc, torch.zeros_like(flc))
    bound = objectives.dc_bound(*pair, weights)
    assert float(bound) == pytest.approx(float(objectives.dc(*pair, weights)), rel=1e-12)
    found = objectives.looseness(objectives.dc_terms(*pair, weights), bound)
    assert found == pytest.approx((1.0, 1.0))


def test_eq_dc_bound_of_equal_gradients_from_different_data():
    """The exercise: a gap of 0 under a bound above 0, for one head; a second head sees it."""
    real, _ = sides()
    v = torch.linalg.qr(head(), mode="complete").Q[:, -1]
    twin = Side(real.ffc + torch.outer(v, v), real.flc)
    assert objectives.dc(real, twin, head()) < 1e-12
    assert objectives.dc_bound(real, twin, head()) > 0.5
    assert objectives.dc(real, twin, head(1)) > 1e-2


@pytest.mark.parametrize("weights", HEADS, ids=["unit", "large", "small"])
def test_eq_mtt_bound(weights):
    real, synthetic = sides()
    task = (real, synthetic, weights, rate(), EXPERT, STUDENT)
    bound = objectives.mtt_bound(*task)
    assert objectives.mtt(*task) <= bound
    left = Residual(rate(), EXPERT).matrix(real.ffc) - Residual(rate(), STUDENT).matrix(synthetic.ffc)
    learnt = Landweber(rate(), EXPERT).matrix(real.ffc) @ real.flc
    learnt = learnt - Landweber(rate(), STUDENT).matrix(synthetic.ffc) @ synthetic.flc
    longhand = torch.linalg.svdvals(weights)[0] * left.norm() + learnt.norm()
    assert float(bound) == pytest.approx(float(longhand), rel=1e-10)


@pytest.mark.parametrize("method", ["dc", "mtt"])
def test_eq_looseness(method):
    """The factors are at least 1 each, and their product is bound over truth."""
    extra = (rate(), EXPERT, STUDENT) if method == "mtt" else ()
    call = [getattr(objectives, f"{method}{part}") for part in ("", "_terms", "_bound")]
    true, terms, bound = (function(*sides(), head(), *extra) for function in call)
    found = objectives.looseness(terms, bound)
    assert min(found) >= 1
    assert found.ratio == pytest.approx(float(bound / true), rel=1e-10)


# ---- beyond linear kernels


def polynomial(x, gamma):
    """φ with φ(x)ᵀφ(x') = (γ xᵀx' + 1)²."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    weight = torch.where(i == j, 1, 2).to(x).sqrt()
    return torch.cat([x.new_ones(len(x), 1), (2 * gamma) ** 0.5 * x, gamma * weight * x[:, i] * x[:, j]], 1)


def standardised():
    (x, _), (x_s, y_s) = samples()
    return (x - x.mean(0)) / x.std(0), (x_s - x.mean(0)) / x.std(0), y_s


@pytest.mark.parametrize("kind", ["polynomial", "Fourier"])
def test_eq_kernel(kind):
    """Descent and ridge on a fixed feature map are the same filters, of the map's own Ψ and Φ."""
    from sklearn.kernel_approximation import RBFSampler

    _, z, y = standardised()
    if kind == "polynomial":
        mapped = polynomial(z, 1 / 32)
    else:
        sampler = RBFSampler(gamma=1 / 32, n_components=256, random_state=0).fit(z.numpy())
        mapped = torch.from_numpy(sampler.transform(z.numpy()))
    m, side = len(z), Side.of(mapped, y)
    alpha = 1 / float(torch.linalg.matrix_norm(side.ffc, 2))
    start = torch.zeros_like(side.flc)
    unrolled = descend(mapped, y, start, STUDENT, alpha)
    assert error(objectives.trajectory(side, start, alpha, STUDENT), unrolled) < 1e-10
    kernel = mapped @ mapped.T
    dual = kernel @ torch.linalg.solve(kernel + m * BETA * torch.eye(m, dtype=torch.float64), y)
    assert error(mapped @ Ridge(BETA).apply(*side), dual) < 1e-10


def test_eq_kernel_of_a_polynomial_is_sklearns():
    from sklearn.kernel_ridge import KernelRidge

    z_t, z, y = standardised()
    machine = KernelRidge(alpha=len(z) * BETA, kernel="poly", gamma=1 / 32, degree=2, coef0=1)
    exact = torch.from_numpy(machine.fit(z.numpy(), y.numpy()).predict(z_t.numpy()))
    primal = polynomial(z_t, 1 / 32) @ Ridge(BETA).apply(*Side.of(polynomial(z, 1 / 32), y))
    assert error(primal, exact) < 1e-10


# ---- the studies


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bounds_study_covers_what_it_should_and_never_falls_below_the_truth():
    studies = [json.loads(path.read_text()) for path in sorted((STUDIES / "bounds").glob("*.json"))]
    assert len({study["seed"] for study in studies}) == len(studies) >= 3
    for study in studies:
        assert {"date", "device", "torch", "unidd"} <= set(study["provenance"])
        cells = {(row["layer"], row["epoch"]) for row in study["rows"]}
        assert len({layer for layer, _ in cells}) >= 3
        assert len({epoch for _, epoch in cells}) >= 5
        assert {row["synthetic"] for row in study["rows"]} == {"random", "distilled"}
        for row in study["rows"]:
            for method in ("dc", "mtt"):
                assert min(row[method][key] for key in ("ratio", "norm", "triangle")) >= 1
                assert row[method]["bound"] >= row[method]["true"]


def test_studies_are_not_mistaken_for_result_records():
    load_records(ROOT / "results")


def test_measuring_bounds_agrees_with_the_objectives():
    bench = script("bound_looseness")
    real, synthetic = sides()
    found = bench.measure(real, synthetic, head(), bench.Study())
    assert found["dc"]["true"] == pytest.approx(float(objectives.dc(real, synthetic, head())), rel=1e-10)
    assert found["mtt"]["bound"] == pytest.approx(
        float(objectives.mtt_bound(real, synthetic, head(), rate(), EXPERT, STUDENT)), rel=1e-10
    )
    assert bench.ranks([3.0, 1.0, 2.0]).tolist() == [2, 0, 1]


@pytest.mark.slow
def test_bounds_study_runs(tmp_path):
    bench = script("bound_looseness")
    small = bench.Study(epochs=1, checkpoints=(0, 1), heads=(0, 2), choices=3, ipc=1, steps=1)
    found = bench.run(0, small)
    assert len(found["rows"]) == 3 * 2 * 2 * 2
    assert all(row["dc"]["ratio"] >= 1 <= row["mtt"]["ratio"] for row in found["rows"])
    assert json.loads(json.dumps(found)) is not None


def test_kernel_study_measures_pictures():
    """A linear map's gradient is one picture; roughness of a checkerboard is the highest there is."""
    study = script("kernel_pictures")
    x = study.patches(0)[:400]
    found = study.look(lambda patches: patches, x)
    assert found["one_picture"] == [1.0] * study.DIRECTIONS
    i = torch.arange(36)
    board = 1.0 - 2 * ((i // 6 + i % 6) % 2).double()
    assert study.roughness(board[None]) == pytest.approx(4 * 60 / 36)
    assert study.roughness(torch.ones(2, 36)) == 0
    gram = study.polynomial(x[:20], 0.1)
    assert torch.allclose(gram @ gram.T, (0.1 * x[:20] @ x[:20].T + 1) ** 2, rtol=1e-10)
