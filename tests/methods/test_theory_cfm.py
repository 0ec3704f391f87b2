"""The equations of the chapter on CFM, each against a second way of getting it."""

import functools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from toys import randn

from unidd.core.filters import Ridge
from unidd.core.matching import Matching, step_loss
from unidd.core.ridge import channel_form, row_form
from unidd.core.statistics import Moments, RealSide, emu
from unidd.methods.cfm import CFM

D, CLASSES, BETA = 6, 3, 0.05
LABELS = torch.arange(CLASSES)
WEIGHTS = torch.tensor([1.0, 0.7], dtype=torch.float64)


def symmetric(d: int, seed: int) -> Tensor:
    """A positive semi-definite matrix with two eigenvalues of 0."""
    x = randn(d - 2, d, seed=seed)
    return x.T @ x / d


def network(d: int = D, out: int = CLASSES, size: int = 1) -> nn.Sequential:
    """One convolution, matched at its input, and the mean over positions."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = nn.Sequential(nn.Conv2d(d, out, size, padding=size // 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return net.double().eval().requires_grad_(False)


def real_side(d: int = D, beside: float = 0.3) -> RealSide:
    x = randn(20, d, 3, 3, seed=8).relu() + beside
    return RealSide.of(Moments.of(x, torch.eye(CLASSES).double().repeat(7, 1)[:20]))


def whole(side: RealSide) -> Tensor:
    """Ψ of a real side."""
    return (side.basis * side.eigenvalues) @ side.basis.T


def inverse(ffc: Tensor, beta: float = BETA) -> Tensor:
    return torch.linalg.inv(ffc + beta * torch.eye(len(ffc), dtype=ffc.dtype))


def distances(ffc: Tensor, flc: Tensor, side: RealSide, beta: float = BETA) -> Tensor:
    """Both terms of a layer, by the definition."""
    f, g = inverse(whole(side), beta), inverse(ffc, beta)
    return torch.stack([(f - g).norm(), (f @ side.flc - g @ flc).norm()])


def make_matching(side: RealSide, dtype=torch.float64, beta: float = BETA, **options) -> Matching:
    return Matching.of({"0": side}, {"0": Ridge(beta)}, signal="class", dtype=dtype, **options)


def by_loops(x: Tensor) -> tuple[Tensor, Tensor]:
    """Ψ and Φ of features (B, d, H, W) with one class an image, one row after another."""
    rows = [(x[i, :, h, w], i) for i in range(len(x)) for h in range(x.shape[2]) for w in range(x.shape[3])]
    mean = sum(row for row, _ in rows) / len(rows)
    psi, phi = torch.zeros(x.shape[1], x.shape[1]).double(), torch.zeros(x.shape[1], CLASSES).double()
    for row, label in rows:
        psi += torch.outer(row - mean, row - mean) / len(rows)
        phi[:, label] += row / len(rows)
    return psi, phi


@pytest.mark.parametrize("eta", [0.1, 2.0])
def test_eq_cfm_loss(eta):
    net, x, side = network(), randn(CLASSES, D, 4, 4), real_side()
    logits = net(x)
    cross_entropy = -sum(math.log(float(z[k].exp() / z.exp().sum())) for k, z in enumerate(logits)) / CLASSES
    expected = cross_entropy + eta * float(distances(*by_loops(x), side).sum())
    assert float(step_loss(net, x, LABELS, make_matching(side), eta).value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("b", [0, 3, 9])
def test_eq_curriculum(b):
    beta = 0.2 * (1 + math.cos(math.pi * b / 10)) / 2
    lam = torch.tensor([2.0, 0.1, 0.0])
    found = CFM(beta=0.2).layer_filter(b, 10, real_side()).response(lam)
    assert found.tolist() == pytest.approx([1 / (v + beta) for v in lam.tolist()])


def test_eq_emu():
    """The running mean, and what an engine carries from round to round."""
    images = [randn(CLASSES, D, 4, 4, seed=b) for b in range(4)]
    each, previous, mean = [by_loops(x) for x in images], {}, None
    for b, x in enumerate(images, 1):
        mean = each[0][0] if b == 1 else emu(mean, each[b - 1][0], b)
        assert torch.allclose(mean, sum(psi for psi, _ in each[:b]) / b, rtol=1e-12)
        step = make_matching(real_side(), previous=previous, count=b)
        previous = step.statistics(step_loss(network(), x, LABELS, step, 0.1))
        for found, expected in zip(previous["0"], zip(*each[:b], strict=True), strict=True):
            assert torch.allclose(found, sum(expected) / b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 1e-4])
def test_eq_diagonal(beta):
    side = real_side()
    matrix, signal = side.filtered(Ridge(beta))
    assert torch.allclose(matrix, inverse(whole(side), beta), rtol=1e-9)
    assert torch.allclose(signal, inverse(whole(side), beta) @ side.flc, rtol=1e-9)


@functools.cache
def layer():
    """Ψ_s, Φ_s, both terms and the derivatives of their weighted sum, of one layer."""
    ffc, flc, side = symmetric(D, 3), randn(D, CLASSES, seed=4), real_side()
    real = tuple(part[None] for part in side.filtered(Ridge(BETA)))
    terms, by_ffc, by_flc = channel_form(ffc[None].clone(), flc[None], BETA, real, WEIGHTS[None])
    return ffc, flc, side, terms[0], by_ffc[0], by_flc[0]


def test_eq_ridge_gradient():
    """The matrices of the equation, and its slopes by finite differences."""
    ffc, flc, side, terms, by_ffc, by_flc = layer()
    p, weights, h = inverse(ffc), WEIGHTS, 1e-6
    d, r = inverse(whole(side)) - p, inverse(whole(side)) @ side.flc - p @ flc
    assert torch.allclose(terms, torch.stack([d.norm(), r.norm()]), rtol=1e-9)
    d, r = d / d.norm(), 0.7 * r / r.norm()
    middle = d + (r @ flc.T + flc @ r.T) / 2
    assert torch.allclose(by_ffc, p @ middle @ p, rtol=1e-7, atol=1e-7)
    assert torch.allclose(by_flc, -p @ r, rtol=1e-9)
    for seed in range(3):
        a, b = symmetric(D, seed + 20), randn(D, CLASSES, seed=seed + 30)
        rise = distances(ffc + h * a, flc, side) - distances(ffc - h * a, flc, side)
        assert float((by_ffc * a).sum()) == pytest.approx(float(rise @ weights) / (2 * h), rel=1e-6)
        rise = distances(ffc, flc + h * b, side) - distances(ffc, flc - h * b, side)
        assert float((by_flc * b).sum()) == pytest.approx(float(rise @ weights) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("b", [1, 5])
def test_eq_row_gradient(b):
    """Row by row, from the derivatives in Ψ_s and Φ_s of one layer; cross-entropy's own part taken away."""
    side, x = real_side(), randn(CLASSES, D, 2, 3)
    previous = (symmetric(D, 5), randn(D, CLASSES, seed=6))
    psi, phi = ((1 - 1 / b) * p + c / b for p, c in zip(previous, by_loops(x), strict=True))
    real = tuple(part[None] for part in side.filtered(Ridge(BETA)))
    _, by_ffc, by_flc = channel_form(psi[None].clone(), phi[None], BETA, real, torch.ones(1, 2).double())
    n, mean, expected = CLASSES * 2 * 3, x.mean((0, 2, 3)), torch.zeros_like(x)
    for i in range(CLASSES):
        for h in range(2):
            for w in range(3):
                y = torch.eye(CLASSES)[i].double()
                row = 2 / (b * n) * by_ffc[0] @ (x[i, :, h, w] - mean) + 1 / (b * n) * by_flc[0] @ y
                expected[i, :, h, w] = row
    step = make_matching(side, previous={"0": previous} if b > 1 else None, count=b)
    gradients = []
    for matching in (step, Matching()):
        leaf = x.clone().requires_grad_()
        gradients.append(step_loss(network(), leaf, LABELS, matching, 1.0).gradient(leaf))
    assert torch.allclose(gradients[0] - gradients[1], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("moving", [False, True])
def test_eq_woodbury(moving):
    """The identity, and the form built on it, against the direct one on few rows of many channels."""
    n, d = 4, 12
    z, flc, side = randn(n, d, seed=1), randn(d, CLASSES, seed=2), real_side(d)
    z = (z - z.mean(0)) / n**0.5
    before = symmetric(d, 7) if moving else torch.zeros(d, d).double()
    k = inverse(before)
    c = torch.linalg.cholesky(torch.eye(n).double() + z @ k @ z.T)
    s = torch.linalg.solve_triangular(c, z @ k, upper=False)
    assert torch.allclose(k - s.T @ s, inverse(before + z.T @ z), rtol=1e-9, atol=1e-9)
    real, weights = side.filtered(Ridge(BETA)), WEIGHTS
    terms, by_z, by_flc = row_form(z.clone(), flc, (k, real[0] - k), not moving, real[1], weights)
    stacked = tuple(part[None] for part in real)
    direct = channel_form((before + z.T @ z)[None], flc[None], BETA, stacked, weights[None])
    assert torch.allclose(terms, direct[0][0], rtol=1e-9)
    assert torch.allclose(by_z, 2 * z @ direct[1][0], rtol=1e-7, atol=1e-9)
    assert torch.allclose(by_flc, direct[2][0], rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eq_resolved(dtype):
    """β too small for the format becomes 16 ε λ_max, on both sides; one that is large enough stays."""
    side = real_side()
    least = 16 * torch.finfo(dtype).eps * float(torch.linalg.eigvalsh(whole(side)).max())
    assert side.resolved(Ridge(least / 1000), dtype).beta == pytest.approx(least, rel=1e-9, abs=0)
    assert side.resolved(Ridge(2 * least), dtype).beta == 2 * least
    x = randn(CLASSES, D, 4, 4).to(dtype)
    matchings = (make_matching(side, dtype, beta) for beta in (least / 1e6, least))
    small, raised = (step_loss(network().to(dtype), x, LABELS, matching, 1.0) for matching in matchings)
    assert float(small.filter) == pytest.approx(float(raised.filter), rel=1e-6)


class Operations(TorchDispatchMode):
    """Counts multiplications and additions of products, convolutions and factorisations."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__.removesuffix("_")
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            left, right = args[-2:]
            self.count += 2 * left.numel() * right.shape[-1]
        elif name in ("convolution", "convolution_backward"):
            weight, seen = (args[1], out) if name == "convolution" else (args[2], args[0])
            self.count += 2 * weight.numel() * (seen.numel() // seen.shape[1])
        elif name in ("linalg_cholesky_ex", "cholesky_inverse"):
            self.count += (1 if name == "linalg_cholesky_ex" else 2) * args[0].numel() * args[0].shape[-1] // 3
        elif name == "linalg_solve_triangular":
            self.count += args[0].shape[-1] * args[1].numel()
        return out


def operations(d: int, images: int, side: int, b: int) -> int:
    """Of a step in batch b whose layer of d channels leads to a 3×3 convolution to d; with b = 0 nothing is matched."""
    real = RealSide(torch.linspace(0, 1, d).double(), torch.eye(d).double(), randn(d, 1, seed=2))
    previous = {"0": (symmetric(d, 5), randn(d, 1, seed=6))} if b > 1 else None
    matching = (
        Matching.of({"0": real}, {"0": Ridge(BETA)}, previous=previous, count=b, dtype=torch.float64)
        if b
        else Matching()
    )
    net, x = network(d, d, 3), randn(images, d, side, side).requires_grad_()
    step_loss(net, x, torch.arange(images), matching, 1.0)  # what is worked out once a round
    with Operations() as counter:
        step_loss(net, x, torch.arange(images), matching, 1.0).gradient(x)
    return counter.count


@pytest.mark.parametrize("b", [1, 3])
@pytest.mark.parametrize(("d", "images", "side"), [(64, 3, 8), (96, 4, 4), (96, 2, 4)])
def test_eq_cost(d, images, side, b):
    """The engine's own operations, but for those with single columns: of the signal and the mean."""
    n, plain = images * side**2, operations(d, images, side, 0)
    assert plain == 36 * n * d**2
    if 2 * n <= d:
        added = ((8 if b > 1 else 4) * n * d**2 + 8 * n**2 * d) / plain
    else:
        added = 1 / 9 + 5 / 36 * d / n
    assert (operations(d, images, side, b) - plain) / plain == pytest.approx(added, rel=0.06)
