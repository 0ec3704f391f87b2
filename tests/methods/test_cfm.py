"""The engine against the oracle: loss and image gradient of a step, whole runs by hand, and its promises."""

import copy
import dataclasses
import functools
import math

import oracles
import pytest
import torch
from torch import Tensor, nn

from unidd.core.matching import Matching, step_loss
from unidd.core.statistics import RealSide, real_statistics
from unidd.data.datasets import ImageData, Split
from unidd.data.synthetic import SyntheticSet
from unidd.engine import distillation
from unidd.engine.distillation import distill
from unidd.engine.settings import DistillConfig, layer_filter
from unidd.networks.models import tapped_layers
from unidd.networks.training import Teacher

CLASSES, SIZE = 4, 8


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@functools.cache
def network() -> nn.Sequential:
    """Three convolutions, whose inputs are the image; six channels, of which one is always 0 and one always ½; and
    more channels than a batch has positions."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 20, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(20, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(32, CLASSES),
        ).double()
        for parameter in net.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        net[1].running_mean = 0.1 * torch.randn(6, dtype=torch.float64)
        net[1].running_var = 0.5 + torch.rand(6, dtype=torch.float64)
    net[1].weight.data[[1, 2]] = 0.0
    net[1].bias.data[1], net[1].bias.data[2] = -1.0, 0.5
    return net.eval().requires_grad_(False)


LABELS = torch.arange(CLASSES)
REAL = 0.3 + randn(14, 3, SIZE, SIZE, seed=50), torch.arange(14) % CLASSES


def batch(b: int) -> Tensor:
    """The images of round b, from 1: one a class, another distribution than the real ones."""
    return 0.8 * randn(CLASSES, 3, SIZE, SIZE, seed=b) - 0.1


@functools.cache
def oracle_real(signal: str) -> oracles.Statistics:
    return oracles.statistics(network(), *REAL, signal, CLASSES)


@functools.cache
def oracle_previous(signal: str, b: int) -> oracles.Statistics | None:
    """The moving update after b − 1 batches."""
    if b == 1:
        return None
    before, current = (
        oracle_previous(signal, b - 1),
        oracles.statistics(network(), batch(b - 1), LABELS, signal, CLASSES),
    )
    if before is None:
        return current
    return {n: tuple(oracles.emu(p, c, b - 1) for p, c in zip(before[n], current[n], strict=True)) for n in current}


@functools.cache
def oracle_step(filter: str, signal: str, b: int) -> oracles.Step:
    """Round b of 10 of the cosine curriculum."""
    return oracles.step(
        network(),
        batch(b),
        LABELS,
        oracle_real(signal),
        oracle_previous(signal, b),
        b=b,
        filter=filter,
        kind=signal,
        beta=oracles.cosine_beta(0.05, b - 1, 10),
        eta=0.3,
        classes=CLASSES,
    )


@functools.cache
def engine_real(signal: str, dtype: torch.dtype) -> dict:
    net = copy.deepcopy(network()).to(dtype)
    batches = zip(REAL[0].to(dtype).split(5), REAL[1].split(5), strict=True)
    return real_statistics(net, batches, tapped_layers(net), signal)


def engine_step(config: DistillConfig, b: int, dtype: torch.dtype = torch.float64):
    """Rounds 1 … b, one step each: the last round's loss and image gradient."""
    net, previous = copy.deepcopy(network()).to(dtype), {}
    real = engine_real(config.signal, dtype) if config.filter != "none" else {}
    for count in range(1, b + 1):
        images = batch(count).to(dtype).requires_grad_()
        matching = make_round(config, real, count, previous, dtype)
        loss = step_loss(net, images, LABELS, matching, config.eta)
        previous = matching.statistics(loss)
    return loss, loss.gradient(images), previous


def make_round(config: DistillConfig, real: dict, count: int, previous: dict, dtype=torch.float64) -> Matching:
    sides = {name: RealSide.of(moments) for name, moments in real.items()}
    filters = {name: layer_filter(config, count - 1, side) for name, side in sides.items()}
    options = {"signal": config.signal, "normalised": config.normalised, "previous": previous, "count": count}
    return Matching.of(sides, filters, dtype=dtype, **options)


def agree(mine: Tensor, theirs: Tensor, tolerance: float) -> bool:
    return float((mine.double() - theirs).norm()) <= tolerance * float(theirs.norm())


def assert_step_agrees(config: DistillConfig, b: int, expected: oracles.Step, tolerance: float, dtype) -> None:
    loss, gradient, statistics = engine_step(config, b, dtype)
    assert loss.total.item() == pytest.approx(expected.loss, rel=tolerance)
    assert loss.classification.item() == pytest.approx(expected.classification, rel=tolerance)
    assert loss.filter.item() == pytest.approx(expected.filter, rel=tolerance)
    assert loss.signal.item() == pytest.approx(expected.signal, rel=tolerance)
    assert gradient.dtype == dtype
    assert agree(gradient, expected.gradient, tolerance)
    for name, pair in statistics.items():
        assert all(agree(m, t, tolerance) for m, t in zip(pair, expected.statistics[name], strict=True))
        assert not any(m.requires_grad for m in pair)


# --------------------------------------------------------------------------------------- a step, by oracle


def test_the_set_up_has_dead_channels_and_too_few_positions():
    real, (_, inputs) = oracle_real("mean"), oracles.forward(network(), batch(1))
    ffc, phi = real["4"]
    assert ffc[1].abs().max() == ffc[2].abs().max() == 0
    assert (phi[1].item(), phi[2].item()) == (0.0, 0.5)
    assert inputs["7"].shape == (CLASSES, 20, 2, 2)
    assert torch.linalg.matrix_rank(oracles.covariance(inputs["7"])) < 16


@pytest.mark.parametrize("filter", ["ridge", "linear"])
@pytest.mark.parametrize("signal", ["mean", "class", "mix"])
def test_the_oracles_gradient_agrees_with_finite_differences(filter, signal):
    def loss_at(images: Tensor) -> oracles.Step:
        options = {"b": 2, "filter": filter, "kind": signal, "beta": 0.05, "classes": CLASSES, "eta": 1.0}
        return oracles.step(network(), images, LABELS, oracle_real(signal), oracle_previous(signal, 2), **options)

    direction, h = randn(CLASSES, 3, SIZE, SIZE, seed=9), 1e-5
    rise = loss_at(batch(2) + h * direction).loss - loss_at(batch(2) - h * direction).loss
    slope = (loss_at(batch(2)).gradient * direction).sum().item()
    assert rise / (2 * h) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("b", [1, 2, 7])
@pytest.mark.parametrize(
    ("filter", "signal"),
    [(f, s) for f in ("ridge", "linear") for s in ("mean", "class", "mix")] + [("none", "mean")],
)
def test_loss_and_image_gradient_against_the_oracle(filter, signal, b, dtype):
    config = DistillConfig(ipc=10, filter=filter, signal=signal, beta=0.05, eta=0.3)
    expected = oracle_step(filter, signal, b)
    if filter != "none":
        assert expected.filter > 1e-3
        assert expected.signal > 1e-3
    assert_step_agrees(config, b, expected, 1e-10 if dtype == torch.float64 else 1e-4, dtype)


@pytest.mark.parametrize("filter", ["ridge", "linear"])
@pytest.mark.parametrize("b", [1, 2])
def test_terms_relative_to_the_real_side_against_the_oracle(filter, b):
    """β a fraction of each layer's mean eigenvalue, and each term over its real side's norm."""
    config = DistillConfig(
        ipc=4, filter=filter, beta=0.7, beta_unit="mean", schedule="constant", normalised=True, signal="class"
    )
    real = oracle_real("class")
    expected = oracles.step(
        network(),
        batch(b),
        LABELS,
        real,
        oracle_previous("class", b),
        b=b,
        filter=filter,
        kind="class",
        classes=CLASSES,
        normalised=True,
        beta={name: 0.7 * oracles.mean_eigenvalue(ffc) for name, (ffc, _) in real.items()},
    )
    assert_step_agrees(config, b, expected, 1e-10, torch.float64)


def test_the_moving_update_is_the_plain_mean_of_the_batches():
    config = DistillConfig(ipc=10, signal="class", beta=0.05)
    _, _, statistics = engine_step(config, 7)
    each = [oracles.statistics(network(), batch(b), LABELS, "class", CLASSES) for b in range(1, 8)]
    for name, pair in statistics.items():
        for i, value in enumerate(pair):
            assert agree(value, sum(one[name][i] for one in each) / 7, 1e-12)


def test_a_layer_that_matches_exactly_leaves_the_gradient_finite():
    """The synthetic batch is the whole real side: both terms are at their kink."""
    net, config = network(), DistillConfig(signal="class")
    real = real_statistics(net, [(batch(1), LABELS)], tapped_layers(net), "class")
    images = batch(1).requires_grad_()
    loss = step_loss(net, images, LABELS, make_round(config, real, 1, {}), config.eta)
    gradient = loss.gradient(images)
    assert loss.filter.item() == pytest.approx(0, abs=1e-9)
    assert loss.signal.item() == pytest.approx(0, abs=1e-9)
    assert gradient.isfinite().all()


# -------------------------------------------------------------------------------------------- whole runs


@functools.cache
def data() -> ImageData:
    """Five images of each of four classes, all different, with a channel's mean and deviation of its own."""
    generator = torch.Generator().manual_seed(5)
    low = torch.tensor([0, 40, 90]).view(3, 1, 1)
    images = low + torch.randint(0, 160, (5 * CLASSES, 3, SIZE, SIZE), generator=generator)
    split = Split(images.to(torch.uint8), torch.arange(5 * CLASSES) % CLASSES)
    return ImageData("toy", split, split, ("ant", "bee", "cat", "dog"))


def teacher() -> Teacher:
    return Teacher(copy.deepcopy(network()).float(), 50.0, "0123456789abcdef")


def run(**changes) -> SyntheticSet:
    options = {"ipc": 2, "steps": 3, "lr": 0.05, "beta": 0.05} | changes
    return distill(DistillConfig(**options), data(), teacher(), progress=False)


def spy(monkeypatch, name: str, calls: list) -> None:
    """Record arguments and result of a function of `unidd.data.augment`, or of the engine's own."""
    owner = distillation.augment if hasattr(distillation.augment, name) else distillation
    original = getattr(owner, name)

    def recording(*args, **options):
        result = original(*args, **options)
        calls.append((*(a.detach().clone() if isinstance(a, Tensor) else a for a in args), result))
        return result

    monkeypatch.setattr(owner, name, recording)


@pytest.fixture
def no_augmentation(monkeypatch):
    for name in ("random_resized_crop", "flip", "roll"):
        monkeypatch.setattr(distillation.augment, name, lambda images, *_, **__: images)


def channel_moments() -> tuple[Tensor, Tensor]:
    pixels = data().train.images.double() / 255
    mean = torch.stack([pixels[:, c].mean() for c in range(3)]).view(3, 1, 1)
    return mean, torch.stack([pixels[:, c].std(correction=0) for c in range(3)]).view(3, 1, 1)


def run_by_hand(start: Tensor, config: DistillConfig) -> Tensor:
    """Algorithm 1 on the oracle's steps, without augmentation, Adam written out: the pixels of all rounds."""
    mean, std = channel_moments()
    x_real = (data().train.images.double() / 255 - mean) / std
    real = oracles.statistics(network(), x_real, data().train.labels, config.signal, CLASSES)
    rounds, previous = [], None
    for b in range(1, config.ipc + 1):
        x = (start[(b - 1) * CLASSES : b * CLASSES].double() - mean) / std
        m, v = torch.zeros_like(x), torch.zeros_like(x)
        for t in range(1, config.steps + 1):
            step = oracles.step(
                network(),
                x,
                LABELS,
                real,
                previous if config.emu else None,
                b=b if config.emu else 1,
                filter=config.filter,
                kind=config.signal,
                eta=config.eta,
                beta=oracles.cosine_beta(config.beta, b - 1, config.ipc),
                classes=CLASSES,
            )
            m = 0.5 * m + 0.5 * step.gradient
            v = 0.9 * v + 0.1 * step.gradient**2
            rate = config.lr * (1 + math.cos(math.pi * (t - 1) / config.steps)) / 2
            x = x - rate * (m / (1 - 0.5**t)) / (torch.sqrt(v / (1 - 0.9**t)) + 1e-8)
            x = torch.minimum(torch.maximum(x, (0 - mean) / std), (1 - mean) / std)
        previous = step.statistics
        rounds.append(x * std + mean)
    return torch.cat(rounds)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"signal": "mix"},
        {"emu": False, "ipc": 3, "steps": 2},
        {"filter": "linear", "signal": "class", "eta": 1.0},
        {"filter": "none", "ipc": 1},
        {"lr": 5.0},
    ],
    ids=["as published", "mix", "no emu", "low frequencies", "classification", "clipping"],
)
def test_a_whole_run_against_a_run_by_hand(no_augmentation, changes):
    """Curriculum, moving update, Adam, its cosine and the clipping. Adam divides by the gradient's own size, so a
    pixel whose gradient is all but zero may go either way in single precision; such pixels are few."""
    config = DistillConfig(**({"ipc": 2, "steps": 3, "lr": 0.05, "beta": 0.05, "seed": 1, "eta": 0.5} | changes))
    result = distill(config, data(), teacher(), progress=False)
    start = SyntheticSet.from_real(data(), config.ipc, config.seed).images
    expected = run_by_hand(start, config)
    apart = (result.images.double() - expected).abs()
    assert (apart < 1e-4).double().mean() > 0.995
    assert (expected - start).abs().mean() > 0.01, "the run must have moved the images"


def test_the_same_seed_gives_the_same_bits_whatever_the_global_generator_does():
    torch.manual_seed(1)
    first = run(seed=3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = run(seed=3)
    assert torch.equal(state, torch.get_rng_state()), "the global generator belongs to the caller"
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert first.history == second.history


def test_another_seed_starts_elsewhere_and_augments_otherwise(monkeypatch):
    assert not torch.equal(run(seed=3).images, run(seed=4).images)
    monkeypatch.setattr(distillation, "choose", lambda *_: torch.arange(2 * CLASSES))
    assert not torch.equal(run(seed=3).images, run(seed=4).images), "the augmentation must follow the seed too"


@pytest.mark.parametrize("lr", [0.05, 50.0])
def test_pixels_are_in_range_after_every_step(monkeypatch, lr):
    calls = []
    spy(monkeypatch, "random_resized_crop", calls)
    result = run(lr=lr, steps=4)
    mean, std = channel_moments()
    seen = torch.cat([call[0].double() * std + mean for call in calls] + [result.images.double()])
    assert len(calls) == 8
    assert seen.min() >= -1e-6
    assert seen.max() <= 1 + 1e-6
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    if lr == 50.0:
        assert seen.min() < 1e-6, "pixels must have hit the lower bound"
        assert seen.max() > 1 - 1e-6, "and the upper one"


def test_every_round_starts_from_real_images_of_its_classes(monkeypatch):
    calls = []
    spy(monkeypatch, "random_resized_crop", calls)
    result = run(ipc=3, steps=2)
    mean, std = channel_moments()
    real = data().train
    chosen = []
    for b in range(3):
        pixels = (calls[2 * b][0].double() * std + mean) * 255
        for k in range(CLASSES):
            distance = (real.images.double() - pixels[k]).abs().amax((1, 2, 3))
            (index,) = (distance < 1e-3).nonzero().flatten().tolist()
            assert real.labels[index] == k
            chosen.append(index)
    assert len(set(chosen)) == 12, "no image twice"
    assert result.labels.tolist() == [0, 1, 2, 3] * 3


def test_no_steps_leave_the_real_images_as_they_are():
    result = run(steps=0)
    assert torch.equal(result.images, SyntheticSet.from_real(data(), 2, 0).images)
    assert result.history == []


def test_the_teacher_sees_each_step_another_augmentation(monkeypatch):
    crops, flips, rolls, steps = [], [], [], []
    calls = {"random_resized_crop": crops, "flip": flips, "roll": rolls, "step_loss": steps}
    for name, record in calls.items():
        spy(monkeypatch, name, record)
    run(scale=0.3, shift=2)
    assert [len(record) for record in calls.values()] == [6] * 4, "once a step, 2 rounds of 3 steps"
    assert all(call[2] == (0.3, 1.0) for call in crops)
    assert all(call[2] == 2 for call in rolls)
    for crop, flip, roll, step in zip(*calls.values(), strict=True):
        assert torch.equal(flip[0], crop[-1])
        assert torch.equal(roll[0], flip[-1])
        assert torch.equal(step[1], roll[-1])
        assert not torch.equal(crop[0], roll[-1])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "log", "reverse"])
def test_the_schedule_of_beta_is_recorded(schedule):
    formula = {
        "constant": lambda b: 0.2,
        "cosine": lambda b: oracles.cosine_beta(0.2, b, 3),
        "linear": lambda b: 0.2 * (3 - b) / 3,
        "log": lambda b: 0.2 / 10 ** (2 * b / 3),
        "reverse": lambda b: oracles.cosine_beta(0.2, 2 - b, 3),
    }[schedule]
    history = run(ipc=3, beta=0.2, schedule=schedule, steps=1).history
    assert [entry["b"] for entry in history] == [0, 1, 2]
    assert [entry["beta"] for entry in history] == pytest.approx([formula(b) for b in range(3)])
    for entry in history:
        assert {"classification", "filter", "signal"} < set(entry)
        assert all(math.isfinite(value) for value in entry.values())


def test_the_set_knows_where_it_comes_from():
    config = DistillConfig(ipc=2, steps=1, method="mine")
    result = distill(config, data(), teacher(), progress=False)
    assert result.config == dataclasses.asdict(config)
    assert result.class_names == ("ant", "bee", "cat", "dog")
    assert result.teacher == {"hash": "0123456789abcdef", "accuracy": 50.0}
    mean, std = channel_moments()
    assert result.mean == pytest.approx(mean.flatten().tolist())
    assert result.std == pytest.approx(std.flatten().tolist())
    assert result.images.shape == (8, 3, SIZE, SIZE)
    assert result.images.dtype == torch.float32


def test_without_weight_matching_is_classification_only():
    """η = 0 and filter "none" are the same run; any weight is another."""
    nothing = run(filter="none")
    assert torch.equal(run(eta=0.0).images, nothing.images)
    assert not torch.equal(run(eta=0.1).images, nothing.images)
    assert all(entry["filter"] == entry["signal"] == 0 for entry in nothing.history)


def test_the_matching_terms_fall():
    """Forty steps on matching alone lower it, from the same start, under the published augmentation."""
    terms = [run(ipc=1, steps=s, eta=100.0, lr=lr).history[0] for s, lr in ((1, 1e-12), (40, 0.1))]
    before, after = (entry["filter"] + entry["signal"] for entry in terms)
    assert after < before


def test_the_teacher_is_left_as_it_was():
    model = teacher()
    before = copy.deepcopy(model.model.state_dict())
    distill(DistillConfig(ipc=1, steps=2), data(), model, progress=False)
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.model.modules())
    assert all(parameter.grad is None for parameter in model.model.parameters())
    assert not model.model.training


def test_the_callback_sees_every_round():
    seen = []
    config = DistillConfig(ipc=3, steps=1)
    result = distill(config, data(), teacher(), progress=False, callback=lambda b, x: seen.append((b, x.clone())))
    assert [b for b, _ in seen] == [0, 1, 2]
    assert torch.equal(torch.cat([x for _, x in seen]), result.images)


def test_progress_shows_beta_and_the_terms_and_can_be_silent(capsys):
    run(ipc=1)
    assert capsys.readouterr().err == ""
    distill(DistillConfig(ipc=1, steps=25, beta=0.125, method="mine"), data(), teacher())
    shown = capsys.readouterr().err
    for word in ("mine", "beta=0.125", "classification=", "filter=", "signal=", "25/25"):
        assert word in shown


# ------------------------------------------------------------------------------------------------- errors

BAD = {
    "ipc": [0, -1],
    "beta": [0.0, -0.1, math.nan, math.inf],
    "steps": [-1],
    "eta": [-0.1, math.nan, math.inf],
    "shift": [-1],
    "seed": [-1],
    "lr": [0.0, -1.0, math.nan, math.inf],
    "scale": [0.0, 1.5, math.nan],
    "filter": ["rigde"],
    "beta_unit": ["median"],
    "schedule": ["sine"],
    "signal": ["median"],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD.items() for v in values])
def test_a_bad_setting_is_a_value_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=name):
        DistillConfig(**{name: value})


def test_more_images_than_the_class_has():
    with pytest.raises(ValueError, match=r"ipc.*5"):
        run(ipc=6)


@pytest.mark.parametrize("filter", ["none", "linear", "ridge"])
def test_a_loss_that_is_not_finite_is_one_clear_error(filter):
    broken = teacher()
    broken.model[-1].bias[0] = math.nan
    broken.model[0].bias[0] = math.nan
    with pytest.raises(ValueError, match="finite"):
        distill(DistillConfig(ipc=1, steps=2, filter=filter), data(), broken, progress=False)
