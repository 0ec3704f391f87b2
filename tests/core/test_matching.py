"""One step of the engine from features to gradients: both closed forms, and numbers that break naive ones."""

import math

import oracles
import pytest
import torch
from torch import Tensor, nn

from unidd.core import matching
from unidd.core.filters import Landweber, Linear, Ridge, Scaled
from unidd.core.matching import Matching, step_loss
from unidd.core.ridge import channel_form, row_form
from unidd.core.statistics import Moments, RealSide, correlations, emu, real_statistics

CHANNELS, CLASSES = 24, 3


def randn(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class Layer(nn.Module):
    """A network whose only matched layer sees the images themselves, and whose logits do not depend on them."""

    def __init__(self, channels: int = CHANNELS):
        super().__init__()
        self.conv = nn.Conv2d(channels, CLASSES, 1, bias=False).double()
        self.conv.weight.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv.to(x.dtype)(x).mean((2, 3))


def real_side(channels: int = CHANNELS, scale: float = 1.0, dead: int = 0) -> RealSide:
    x, y = scale * (randn(40, channels, 3, 3, seed=8).relu() + 0.1), torch.eye(CLASSES).double().repeat(14, 1)[:40]
    x[:, :dead] = 0
    return RealSide.of(Moments.of(x, y))


def step(x: Tensor, filter=None, side: RealSide | None = None, eta: float = 1.0, **options) -> tuple[Tensor, Tensor]:
    """The matching terms (2,) and their gradient in the images, which are the only layer's features."""
    side = side or real_side(x.shape[1])
    round = Matching.of({"conv": side}, {"conv": filter or Ridge(0.05)}, signal="class", dtype=x.dtype, **options)
    loss = step_loss(Layer(x.shape[1]), x.requires_grad_(), torch.arange(len(x)) % CLASSES, round, eta)
    return torch.stack((loss.filter, loss.signal)), loss.gradient(x)


def by_autograd(x: Tensor, beta: float, previous=None, count: int = 1) -> tuple[Tensor, Tensor]:
    """The same with torch.linalg.inv and autograd, in float64."""
    side, x = real_side(x.shape[1]), x.detach().double().requires_grad_()
    y = torch.eye(CLASSES).double()[torch.arange(len(x)) % CLASSES]
    before = previous or (None, None)
    ffc, flc = (emu(p, c, count) for p, c in zip(before, correlations(x, y), strict=True))
    eye = torch.eye(x.shape[1]).double()
    real = (side.basis * side.eigenvalues) @ side.basis.T
    f, g = torch.linalg.inv(real + beta * eye), torch.linalg.inv(ffc + beta * eye)
    terms = torch.stack(((f - g).norm(), (f @ side.flc - g @ flc).norm()))
    return terms.detach(), torch.autograd.grad(terms.sum(), x)[0]


def relative(mine: Tensor, theirs: Tensor) -> float:
    return float((mine.double() - theirs).norm() / theirs.norm())


@pytest.fixture(params=[False, True], ids=["by channels", "by rows"])
def form(request, monkeypatch):
    """Either closed form, for any shape."""
    monkeypatch.setattr(matching, "_few_rows", lambda x: request.param)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("shape", [(3, CHANNELS, 1, 2), (3, CHANNELS, 4, 4)], ids=["few rows", "many rows"])
@pytest.mark.usefixtures("form")
def test_both_closed_forms_against_autograd(shape, count, dtype, tolerance):
    previous = None
    if count > 1:
        y = torch.eye(CLASSES).double()
        previous = correlations(randn(3, CHANNELS, 4, 4, seed=3).relu(), y)
    x = randn(*shape, seed=5).relu()
    carried = {"conv": previous} if previous else None
    terms, gradient = step(x.to(dtype), previous=carried, count=count)
    expected = by_autograd(x, 0.05, previous, count)
    assert relative(terms, expected[0]) < tolerance
    assert relative(gradient, expected[1]) < tolerance


def test_few_rows_take_the_identity_form(monkeypatch):
    taken = []
    original = Group._match_rows
    monkeypatch.setattr(Group, "_match_rows", lambda *a: (taken.append(len(a[1][0])), original(*a))[1])
    for positions in (1, 4, 5, 9):
        step(randn(3, CHANNELS, 1, positions))
    assert taken == [3, 12], "n rows with 2 n <= d"


@pytest.mark.parametrize("filter", [Ridge(0.05), Linear(), Landweber(0.1, 5), Scaled(Ridge(0.1), 0.1)], ids=repr)
@pytest.mark.parametrize("positions", [1, 9])
def test_the_gradient_against_finite_differences(filter, positions):
    x, direction, h = randn(3, CHANNELS, 1, positions, seed=1), randn(3, CHANNELS, 1, positions, seed=2), 1e-6
    slope = float((step(x.clone(), filter)[1] * direction).sum())
    rise = (step(x + h * direction, filter)[0] - step(x - h * direction, filter)[0]).sum() / (2 * h)
    assert slope == pytest.approx(float(rise), rel=1e-6)


@pytest.mark.parametrize("b", [1, 3])
@pytest.mark.parametrize("filter", ["ridge", "linear"])
@pytest.mark.parametrize("signal", ["class", "mix"])
def test_layers_of_one_width_and_different_sizes_against_the_oracle(filter, signal, b):
    """Three layers of eight channels in one stack, with 75, 12 and 3 rows."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = (
            nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.AvgPool2d(2),
                nn.Conv2d(8, 8, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.AvgPool2d(2),
                nn.Conv2d(8, CLASSES, 1),
                nn.Flatten(),
            )
            .double()
            .requires_grad_(False)
            .eval()
        )
    labels, names = torch.arange(3), ["0", "3", "6"]
    images = [randn(3, 8, 5, 5, seed=seed) for seed in range(4)]
    real = oracles.statistics(net, images[0], labels, signal, CLASSES)
    before = oracles.statistics(net, images[1], labels, signal, CLASSES) if b > 1 else None
    expected = oracles.step(
        net, images[2], labels, real, before, b=b, filter=filter, kind=signal, beta=0.05, eta=0.3, classes=CLASSES
    )
    measured = real_statistics(net, [(images[0], labels)], names, signal)
    sides = {name: RealSide.of(moments) for name, moments in measured.items()}
    kinds = {"ridge": Ridge(0.05), "linear": Linear()}
    options = {"signal": signal, "previous": before, "count": b, "dtype": torch.float64}
    round = Matching.of(sides, dict.fromkeys(names, kinds[filter]), **options)
    assert len(round.groups) == 1
    loss = step_loss(net, images[2].requires_grad_(), labels, round, 0.3)
    assert loss.total.item() == pytest.approx(expected.loss, rel=1e-10)
    assert relative(loss.gradient(images[2]), expected.gradient) < 1e-10
    for name, pair in round.statistics(loss).items():
        assert all(relative(m, t) < 1e-10 for m, t in zip(pair, expected.statistics[name], strict=True))


def test_layers_of_one_width_are_one_stack_and_others_are_not():
    sides = {"a": real_side(6), "b": real_side(8), "c": real_side(6), "d": real_side(6)}
    filters = {"a": Ridge(0.1), "b": Ridge(0.1), "c": Ridge(0.1), "d": Ridge(0.2)}
    stacks = [group.layers for group in Matching.of(sides, filters).groups]
    assert sorted(stacks) == [("a", "c"), ("b",), ("d",)]


def test_the_real_side_is_a_diagonal_for_every_beta():
    side = real_side(dead=2)
    ffc = (side.basis * side.eigenvalues) @ side.basis.T
    for beta in (1.0, 1e-3):
        matrix, signal = side.filtered(Ridge(beta))
        inverse = torch.linalg.inv(ffc + beta * torch.eye(CHANNELS).double())
        assert relative(matrix, inverse) < 1e-10
        assert relative(signal, inverse @ side.flc) < 1e-10


def test_channels_far_from_zero_are_centred_before_they_are_multiplied():
    """Mean 1,000, deviation 1, float32: the plain second moment would lose all digits."""
    x = randn(3, CHANNELS, 5, 5, seed=4)
    side = RealSide.of(Moments.of(1000 + randn(40, CHANNELS, 3, 3), torch.ones(40, 1).double()))
    round = Matching.of({"conv": side}, {"conv": Ridge(0.05)}, dtype=torch.float32)
    assert [group.centre for group in round.groups] == [True]
    for beta, centre in ((0.1, False), (1e-4, True)):
        (near,) = Matching.of({"conv": real_side()}, {"conv": Ridge(beta)}).groups
        assert near.centre == centre, "what rounding costs is measured against beta"
    loss = step_loss(Layer(), (1000 + x).float().requires_grad_(), torch.arange(3), round, 1.0)
    ffc, _ = round.statistics(loss)["conv"]
    assert relative(ffc, correlations(x, torch.ones(3, 1).double())[0]) < 1e-3


# ------------------------------------------------------------------- numbers that break naive implementations

CASES = {
    "plain": {},
    "dead channels": {"dead": 5},
    "all channels dead": {"dead": 64},
    "constant images": {"constant": True},
    "beta 1e-12": {"beta": 1e-12},
    "beta 1e-12, dead": {"beta": 1e-12, "dead": 5},
    "beta 1e-12, constant": {"beta": 1e-12, "constant": True},
    "fewer rows than channels": {"positions": (1, 1)},
    "10 images, 512 channels": {"images": 10, "channels": 512, "positions": (1, 1)},
    "10 images, 512 channels, beta 1e-12": {"images": 10, "channels": 512, "positions": (1, 1), "beta": 1e-12},
    "10 images, 512 channels, 40 positions, beta 1e-12": {
        "images": 10,
        "channels": 512,
        "positions": (5, 8),
        "beta": 1e-12,
    },
    "features x 1e6": {"scale": 1e6},
    "features x 1e6, beta 1e-12": {"scale": 1e6, "beta": 1e-12},
    "features x 1e-6": {"scale": 1e-6},
    "features x 1e-6, beta 1e-12": {"scale": 1e-6, "beta": 1e-12},
    "synthetic x 100": {"factor": 100.0, "beta": 1e-12},
    "synthetic x 0.01": {"factor": 0.01, "beta": 1e-12},
    "features x 1e6, 10 images, 512 channels, beta 1e-12": {
        "images": 10,
        "channels": 512,
        "positions": (1, 1),
        "scale": 1e6,
        "beta": 1e-12,
    },
    "features x 1e-6, 10 images, 512 channels, beta 1e-12": {
        "images": 10,
        "channels": 512,
        "positions": (1, 1),
        "scale": 1e-6,
        "beta": 1e-12,
    },
}


def case(
    dtype,
    images=3,
    channels=CHANNELS,
    positions=(4, 4),
    beta=0.1,
    dead=0,
    scale=1.0,
    factor=1.0,
    constant=False,
    count=1,
):
    dead = min(dead, channels)
    side = real_side(channels, scale, dead)
    x = scale * factor * (randn(images, channels, *positions, seed=1).relu() + 0.1)
    x[:, :dead] = 0
    if constant:
        x = torch.full_like(x, 0.5 * scale)
    previous = {"conv": correlations(x, torch.eye(CLASSES).double()[torch.arange(images) % CLASSES])}
    return step(x.to(dtype), Ridge(beta), side, previous=previous if count > 1 else None, count=count)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("name", CASES)
def test_terms_and_gradient_stay_finite(name, dtype, count):
    terms, gradient = case(dtype, **CASES[name], count=count)
    assert terms.isfinite().all()
    assert gradient.isfinite().all()


def test_beta_is_raised_to_what_the_precision_resolves_on_both_sides_alike():
    side = real_side()
    largest = float(side.eigenvalues[-1])
    for dtype in (torch.float32, torch.float64):
        floor = 16 * torch.finfo(dtype).eps * largest
        assert side.resolved(Ridge(1e-30), dtype).beta == pytest.approx(floor)
        assert side.resolved(Ridge(2 * floor), dtype) == Ridge(2 * floor)
        (group,) = Matching.of({"conv": side}, {"conv": Ridge(1e-30)}, dtype=dtype).groups
        assert group.filter.beta == pytest.approx(floor)
        assert relative(group.real[0], side.filtered(Ridge(floor))[0]) < 1e-6


def test_a_matrix_without_a_factor_gives_nan_and_no_wait():
    real = torch.eye(2)[None], torch.ones(1, 2, 1)
    distances, _, _ = channel_form(-torch.eye(2)[None], torch.ones(1, 2, 1), 0.5, real, torch.ones(1, 2))
    assert distances.isnan().all()


def test_the_kink_is_flat():
    """A layer that matches exactly pushes nothing."""
    beta, k = 0.5, torch.eye(4).double() / 0.5
    flc = torch.zeros(4, 1).double()
    distances, by_z, by_flc = row_form(
        torch.zeros(2, 4).double(), flc, (k, torch.zeros(4, 4).double()), True, flc, torch.ones(2).double()
    )
    assert math.isclose(beta * float(k[0, 0]), 1)
    assert distances.tolist() == [0, 0]
    assert not by_z.any()
    assert not by_flc.any()
