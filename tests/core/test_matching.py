"""One step of the engine from features to gradients: both closed forms, and numbers that break naive ones."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import oracles
import pytest
import torch
from torch import Tensor, nn
from toys import randn

from unidd.core.filters import Custom, Landweber, Linear, Residual, Ridge, Scaled
from unidd.core.matching import LayerStack, Matching, step_loss
from unidd.core.ridge import channel_form, row_form
from unidd.core.statistics import Moments, RealSide, correlations, emu, real_statistics

CHANNELS, CLASSES = 24, 3


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
    matching = Matching.of({"conv": side}, {"conv": filter or Ridge(0.05)}, signal="class", dtype=x.dtype, **options)
    loss = step_loss(Layer(x.shape[1]), x.requires_grad_(), torch.arange(len(x)) % CLASSES, matching, eta)
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


@pytest.fixture(params=[False, True], ids=["channel form", "row form"])
def form(request, monkeypatch):
    """Either closed form, for any shape."""
    monkeypatch.setattr("unidd.core.matching._few_rows", lambda x: request.param)


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


def test_few_rows_take_the_row_form(monkeypatch):
    taken = []
    original = LayerStack._match_rows
    monkeypatch.setattr(LayerStack, "_match_rows", lambda *a: (taken.append(len(a[1][0])), original(*a))[1])
    for positions in (1, 4, 5, 9):
        step(randn(3, CHANNELS, 1, positions))
    assert taken == [3, 12], "n rows with 2 n <= d"


FILTERS = {
    "ridge": Ridge(0.05),
    "linear": Linear(),
    "landweber": Landweber(0.1, 5),
    "scaled": Scaled(Ridge(0.1), 0.1),
    "product": Residual(0.1, 3) * Ridge(0.1),
    "bare response": Custom(lambda lam: torch.exp(-3 * lam)),
}


@pytest.mark.parametrize("filter", FILTERS.values(), ids=FILTERS)
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
    matching = Matching.of(sides, dict.fromkeys(names, kinds[filter]), **options)
    assert len(matching.stacks) == 1
    loss = step_loss(net, images[2].requires_grad_(), labels, matching, 0.3)
    assert loss.value.item() == pytest.approx(expected.loss, rel=1e-10)
    assert relative(loss.gradient(images[2]), expected.gradient) < 1e-10
    for name, pair in matching.statistics(loss).items():
        assert all(relative(m, t) < 1e-10 for m, t in zip(pair, expected.statistics[name], strict=True))


def test_layers_of_one_width_are_one_stack_and_others_are_not():
    sides = {"a": real_side(6), "b": real_side(8), "c": real_side(6), "d": real_side(6)}
    filters = {"a": Ridge(0.1), "b": Ridge(0.1), "c": Ridge(0.1), "d": Ridge(0.2)}
    stacks = [stack.layers for stack in Matching.of(sides, filters).stacks]
    assert sorted(stacks) == [("a", "c"), ("b",), ("d",)]


def test_stacks_come_in_the_order_of_the_layers():
    """Not of anything that differs between processes, such as where a function lies in memory."""
    responses = [Custom(lambda lam, c=c: torch.exp(-c * lam)) for c in range(8)]
    for order in (responses, responses[::-1]):
        sides = {str(i): real_side(6) for i in range(8)}
        matching = Matching.of(sides, {str(i): filter for i, filter in enumerate(order)})
        assert matching.layers == list(sides)


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
    matching = Matching.of({"conv": side}, {"conv": Ridge(0.05)}, dtype=torch.float32)
    assert [stack.centre for stack in matching.stacks] == [True]
    for beta, centre in ((0.1, False), (1e-4, True)):
        for filter in (Ridge(beta), 7 * Ridge(beta), Custom(lambda lam, beta=beta: 1 / (lam + beta))):
            (near,) = Matching.of({"conv": real_side()}, {"conv": filter}).stacks
            assert near.centre == centre, "what rounding costs is measured against beta"
    loss = step_loss(Layer(), (1000 + x).float().requires_grad_(), torch.arange(3), matching, 1.0)
    ffc, _ = matching.statistics(loss)["conv"]
    assert relative(ffc, correlations(x, torch.ones(3, 1).double())[0]) < 1e-3


# ------------------------------------------------------------------------------------ the loss of a step

LABELS = torch.arange(4) % CLASSES


def two_layers(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Its second layer has fewer rows than channels, so that both forms are at work."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = nn.Sequential(
            nn.Conv2d(6, 40, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(40, CLASSES, 2), nn.Flatten()
        )
    return net.to(dtype).requires_grad_(False).eval()


def images(seed: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return randn(4, 6, 4, 4, seed=seed, dtype=dtype).requires_grad_()


def two_sides(signal: str, dtype: torch.dtype = torch.float64) -> dict[str, RealSide]:
    real = [(randn(30, 6, 4, 4, seed=9, dtype=dtype), torch.arange(30) % CLASSES)]
    return {name: RealSide.of(m) for name, m in real_statistics(two_layers(dtype), real, ["0", "3"], signal).items()}


def two_matching(signal: str = "mix", filter=None, dtype: torch.dtype = torch.float64, **options) -> Matching:
    filters = dict.fromkeys(("0", "3"), filter or Ridge(0.05))
    return Matching.of(two_sides(signal, dtype), filters, signal=signal, dtype=dtype, **options)


def test_nothing_to_match_is_classification():
    x = images()
    loss = step_loss(two_layers(), x, LABELS, Matching(), 0.3)
    expected = nn.functional.cross_entropy(two_layers()(x), LABELS)
    assert loss.value.item() == loss.classification.item() == pytest.approx(expected.item(), rel=1e-12)
    assert (loss.filter.item(), loss.signal.item(), loss.images) == (0, 0, 4)
    assert relative(loss.gradient(x), torch.autograd.grad(expected, x)[0]) < 1e-12


def test_targets_have_a_derivative_only_where_they_depend_on_the_images():
    for signal, wanted in (("class", False), ("mix", True)):
        loss = step_loss(two_layers(), images(), LABELS, two_matching(signal), 0.3)
        assert [match.d_targets is not None for match in loss.matches] == [wanted] * 2


def test_there_is_no_moving_update_before_the_second_batch():
    """Without statistics of a batch before, or where this is the first, it has all the weight."""
    previous = {name: (side.basis, side.flc) for name, side in two_sides("class").items()}
    for options in ({}, {"count": 3}, {"previous": previous}, {"previous": previous, "count": 1}):
        for stack in two_matching("class", **options).stacks:
            assert stack.blend == 1
            assert not any(part.any() for part in stack.carried)


@pytest.mark.parametrize("signal", ["mean", "mix"])
def test_the_loss_is_classification_and_eta_times_the_terms(signal):
    """So its gradient is linear in η."""
    parts = []
    for eta in (0.0, 0.3, 1.3):
        x = images()
        loss = step_loss(two_layers(), x, LABELS, two_matching(signal), eta)
        terms = loss.classification.detach() + eta * (loss.filter + loss.signal)
        assert loss.value.item() == pytest.approx(float(terms))
        assert not loss.value.requires_grad
        assert loss.filter > 0.01 < loss.signal
        parts.append(loss.gradient(x))
    assert relative(parts[2] - parts[1], parts[1] - parts[0]) > 1
    assert relative(parts[1], parts[0] + 0.3 * (parts[2] - parts[1])) < 1e-12


@pytest.mark.parametrize("signal", ["class", "mix"])
@pytest.mark.parametrize("filter", [Ridge(0.05), Linear()], ids=["both forms", "channel form"])
def test_a_factor_on_the_way_back_is_undone(signal, filter):
    found = []
    for factor in (1.0, 1024.0):
        x = images()
        found.append(step_loss(two_layers(), x, LABELS, two_matching(signal, filter), 0.3).gradient(x, factor))
    assert relative(found[1], found[0]) < 1e-12


def test_a_slot_of_a_batch_without_the_others_weighs_its_images_alike():
    """Classification is a mean over the images of all processes."""
    x = images()
    part = step_loss(two_layers(), x, LABELS, Matching(), 0.3, batch=16)
    whole = step_loss(two_layers(), x, LABELS, Matching(), 0.3)
    assert part.images == 16
    assert part.classification.item() == pytest.approx(whole.classification.item() / 4)
    assert relative(part.gradient(x), whole.gradient(x) / 4) < 1e-12


class Together:
    """Sums a tensor over threads that stand for processes."""

    def __init__(self, parties: int):
        self.barrier, self.parts = threading.Barrier(parties), {}

    def __call__(self, tensor: Tensor) -> Tensor:
        self.parts[threading.get_ident()] = tensor.clone()
        self.barrier.wait(60)
        total = sum(self.parts[key] for key in sorted(self.parts))
        self.barrier.wait(60)
        return tensor.copy_(total)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("signal", ["class", "mix"])
@pytest.mark.parametrize("filter", [Ridge(0.05), Linear(), Custom(lambda lam: torch.exp(-lam))], ids=["r", "l", "c"])
def test_slots_of_a_batch_have_the_gradient_of_the_whole(filter, signal, count):
    previous = oracles.statistics(two_layers(), images(8).detach(), LABELS, signal, CLASSES) if count > 1 else None
    options = {"previous": previous, "count": count}
    whole, x = two_matching(signal, filter, **options), images()
    expected = step_loss(two_layers(), x, LABELS, whole, 0.3)
    statistics, gradient = whole.statistics(expected), expected.gradient(x)

    def slot(net: nn.Module, matching: Matching, part: Tensor, labels: Tensor):
        loss = step_loss(net, part, labels, matching, 0.3, batch=4)
        return loss, matching.statistics(loss), loss.gradient(part)

    nets = two_layers(), two_layers()
    matchings = [two_matching(signal, filter, all_sum=all_sum, **options) for all_sum in [Together(2)] * 2]
    parts = [part.detach().requires_grad_() for part in x.split((1, 3))]
    with ThreadPoolExecutor(2) as threads:
        (one, seen, left), (two, _, right) = threads.map(slot, nets, matchings, parts, LABELS.split((1, 3)))
    assert relative(torch.cat((left, right)), gradient) < 1e-9
    both = one.classification.item() + two.classification.item()
    assert both == pytest.approx(expected.classification.item())
    for loss in (one, two):
        assert (float(loss.filter), float(loss.signal)) == pytest.approx(
            (float(expected.filter), float(expected.signal))
        )
    for name, pair in statistics.items():
        assert all(relative(mine, theirs) < 1e-12 for mine, theirs in zip(seen[name], pair, strict=True))


@pytest.mark.parametrize("filter", [Ridge(0.05), Linear()], ids=["both forms", "channel form"])
def test_half_precision_is_the_networks_alone(filter):
    """Statistics, distances and the loss stay float32, near what float32 gives; a factor on the way back is undone."""
    found = []
    for half, factor in ((None, 1.0), (torch.bfloat16, 1.0), (torch.bfloat16, 64.0)):
        x = images(dtype=torch.float32)
        matching = two_matching("mix", filter, torch.float32)
        loss = step_loss(two_layers(torch.float32), x, LABELS, matching, 0.3, half=half)
        assert loss.value.dtype == loss.filter.dtype == torch.float32
        assert all(s.dtype == torch.float32 for pair in matching.statistics(loss).values() for s in pair)
        found.append((loss, loss.gradient(x, factor)))
    assert found[1][1].dtype == torch.float32
    assert relative(found[2][1], found[1][1].double()) < 1e-6
    assert 0 < relative(found[1][1], found[0][1].double()) < 0.1
    for term in ("classification", "filter", "signal"):
        assert getattr(found[1][0], term).item() == pytest.approx(getattr(found[0][0], term).item(), rel=0.05)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_the_network_runs_in_the_half_precision_asked_for(half):
    net, seen = two_layers(torch.float32), []
    net[0].register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    for dtype in (half, None):
        step_loss(net, images(dtype=torch.float32), LABELS, Matching(), 0.3, half=dtype)
    assert seen == [half, torch.float32]


def test_normalised_terms_are_relative_to_the_real_side():
    """The terms, and their gradient."""
    sides, found = two_sides("class"), []
    for normalised in (False, True):
        matching = two_matching("class", normalised=normalised)
        for stack in matching.stacks:
            (layer,) = stack.layers
            sizes = torch.tensor([sides[layer].sizes(Ridge(0.05))], dtype=torch.float64)
            torch.testing.assert_close(stack.weights, 1 / sizes if normalised else torch.ones_like(sizes))
        x = images()
        loss = step_loss(two_layers(), x, LABELS, matching, 1.0)
        rise = [step_loss(two_layers(), x.detach() + h, LABELS, matching, 1.0).value for h in (1e-6, -1e-6)]
        assert float(loss.gradient(x).sum()) == pytest.approx(float(rise[0] - rise[1]) / 2e-6, rel=1e-5)
        found.append(float(loss.filter))
    assert found[1] < 3 < found[0]


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
        (stack,) = Matching.of({"conv": side}, {"conv": Ridge(1e-30)}, dtype=dtype).stacks
        assert stack.filter.beta == pytest.approx(floor)
        assert relative(stack.real[0], side.filtered(Ridge(floor))[0]) < 1e-6


def test_the_inverse_before_the_rows_come_is_worked_out_in_double():
    """Of a carried Ψ of rank 11 among 24 channels: with float32 alone the terms lose another digit."""
    previous = correlations(randn(3, CHANNELS, 1, 4, seed=3).relu(), torch.eye(CLASSES).double())
    x = randn(3, CHANNELS, 1, 2, seed=5).relu()
    terms, _ = step(x.float(), Ridge(1e-5), previous={"conv": previous}, count=3)
    assert relative(terms, by_autograd(x, 1e-5, previous, 3)[0]) < 8e-5


def test_a_singular_matrix_of_a_stack_has_a_factor():
    """Its diagonal is raised by the rounding of its own trace, and no other's."""
    singular, flc = torch.ones(3, 4, 4).double(), randn(3, 4, 1)
    real, rates = (torch.zeros(3, 4, 4).double(), torch.zeros(3, 4, 1).double()), torch.ones(3, 2).double()
    assert channel_form(singular.clone(), flc, 1e-30, real, rates)[0].isfinite().all()
    x = randn(3, 4, 9, seed=2)
    ffc = x @ x.mT * torch.tensor([1e12, 1.0, 1e-3]).double().view(3, 1, 1)
    together = channel_form(ffc.clone(), flc, 1e-3, real, rates)
    for i in range(3):
        alone = channel_form(
            ffc[i : i + 1].clone(), flc[i : i + 1], 1e-3, [r[i : i + 1] for r in real], rates[i : i + 1]
        )
        assert all(relative(mine[i], theirs[0]) < 1e-12 for mine, theirs in zip(together, alone, strict=True))


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
