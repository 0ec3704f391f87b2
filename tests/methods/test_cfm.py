"""CFM against the oracle: loss and image gradient of a step, whole runs by hand, and its promises."""

import copy
import dataclasses
import functools
import math
from functools import partial

import oracles
import pytest
import torch
from torch import Generator, Tensor
from toys import CLASSES, SIZE, data, network, randn, teacher

from unidd.core.matching import Matching, step_loss
from unidd.core.statistics import RealSide, real_statistics
from unidd.data.augment import flip, random_resized_crop, roll
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Position, steps
from unidd.engine.run import Run
from unidd.methods.cfm import CFM
from unidd.networks.models import tapped_layers, weights_hash

ROUNDS = 10
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
    """Round b of the cosine curriculum."""
    return oracles.step(
        network(),
        batch(b),
        LABELS,
        oracle_real(signal),
        oracle_previous(signal, b),
        b=b,
        filter=filter,
        kind=signal,
        beta=oracles.cosine_beta(0.05, b - 1, ROUNDS),
        eta=0.3,
        classes=CLASSES,
    )


@functools.cache
def engine_real(signal: str, dtype: torch.dtype) -> dict:
    net = copy.deepcopy(network()).to(dtype)
    batches = zip(REAL[0].to(dtype).split(5), REAL[1].split(5), strict=True)
    return real_statistics(net, batches, tapped_layers(net), signal)


def engine_step(method: CFM, b: int, dtype: torch.dtype = torch.float64):
    """Rounds 1 … b, one step each: the last round's loss and image gradient."""
    net, previous = copy.deepcopy(network()).to(dtype), {}
    real = engine_real(method.signal, dtype) if method.filter != "none" else {}
    for count in range(1, b + 1):
        images = batch(count).to(dtype).requires_grad_()
        matching = make_matching(method, real, count, previous, dtype)
        loss = step_loss(net, images, LABELS, matching, method.eta)
        previous = matching.statistics(loss)
    return loss, loss.gradient(images), previous


def make_matching(method: CFM, real: dict, count: int, previous: dict, dtype=torch.float64) -> Matching:
    sides = {name: RealSide.of(moments) for name, moments in real.items()}
    filters = {name: method.layer_filter(count - 1, ROUNDS, side) for name, side in sides.items()}
    options = {"signal": method.signal, "normalised": method.normalised, "previous": previous, "count": count}
    return Matching.of(sides, filters, dtype=dtype, **options)


def agree(mine: Tensor, theirs: Tensor, tolerance: float) -> bool:
    return float((mine.double() - theirs).norm()) <= tolerance * float(theirs.norm())


def assert_step_agrees(method: CFM, b: int, expected: oracles.Step, tolerance: float, dtype) -> None:
    loss, gradient, statistics = engine_step(method, b, dtype)
    assert loss.value.item() == pytest.approx(expected.loss, rel=tolerance)
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
    method = CFM(filter=filter, signal=signal, beta=0.05, eta=0.3)
    expected = oracle_step(filter, signal, b)
    if filter != "none":
        assert expected.filter > 1e-3
        assert expected.signal > 1e-3
    assert_step_agrees(method, b, expected, 1e-10 if dtype == torch.float64 else 1e-4, dtype)


@pytest.mark.parametrize("filter", ["ridge", "linear"])
@pytest.mark.parametrize("b", [1, 2])
def test_terms_relative_to_the_real_side_against_the_oracle(filter, b):
    """β a fraction of each layer's mean eigenvalue, and each term over its real side's norm."""
    method = CFM(filter=filter, beta=0.7, beta_unit="mean", schedule="constant", normalised=True, signal="class")
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
    assert_step_agrees(method, b, expected, 1e-10, torch.float64)


def test_the_moving_update_is_the_plain_mean_of_the_batches():
    _, _, statistics = engine_step(CFM(signal="class", beta=0.05), 7)
    each = [oracles.statistics(network(), batch(b), LABELS, "class", CLASSES) for b in range(1, 8)]
    for name, pair in statistics.items():
        for i, value in enumerate(pair):
            assert agree(value, sum(one[name][i] for one in each) / 7, 1e-12)


def test_a_layer_that_matches_exactly_leaves_the_gradient_finite():
    """The synthetic batch is the whole real side: both terms are at their kink."""
    net, method = network(), CFM(signal="class")
    real = real_statistics(net, [(batch(1), LABELS)], tapped_layers(net), "class")
    images = batch(1).requires_grad_()
    loss = step_loss(net, images, LABELS, make_matching(method, real, 1, {}), method.eta)
    gradient = loss.gradient(images)
    assert loss.filter.item() == pytest.approx(0, abs=1e-9)
    assert loss.signal.item() == pytest.approx(0, abs=1e-9)
    assert gradient.isfinite().all()


# -------------------------------------------------------------------------------------------- whole runs


SMALL = {"steps": 3, "lr": 0.05, "beta": 0.05}


def run(ipc: int = 2, seed: int = 0, **changes) -> SyntheticSet:
    return CFM(**SMALL | changes).distill(data(), teacher(), Run(ipc, seed))


def position_of(method: CFM, asked: Run) -> Position:
    """The beginning of a run, for the iterator of steps."""
    return Position(data(), method.start(data(), asked), method.descent(data()), asked.seed)


def with_augmentation(change, **changes) -> CFM:
    """CFM with an augmentation of one's own: the published one, images, generator, slot → images."""

    class Own(CFM):
        def objective(self, *task):
            found = super().objective(*task)
            found.augment = partial(change, found.augment)
            return found

    return Own(**SMALL | changes)


def with_crops_kept(kept: list[Tensor], **changes) -> CFM:
    """CFM that keeps what goes into the augmentation of each step."""

    def keeping(augment, images: Tensor, generator: Generator, slot: tuple[int, int]) -> Tensor:
        kept.append(images.detach().clone())
        return augment(images, generator, slot)

    return with_augmentation(keeping, **changes)


def channel_moments() -> tuple[Tensor, Tensor]:
    pixels = data().train.images.double() / 255
    mean = torch.stack([pixels[:, c].mean() for c in range(3)]).view(3, 1, 1)
    return mean, torch.stack([pixels[:, c].std(correction=0) for c in range(3)]).view(3, 1, 1)


def run_by_hand(start: Tensor, method: CFM, ipc: int) -> Tensor:
    """Algorithm 1 on the oracle's steps, without augmentation, Adam written out: the pixels of all rounds."""
    mean, std = channel_moments()
    x_real = (data().train.images.double() / 255 - mean) / std
    real = oracles.statistics(network(), x_real, data().train.labels, method.signal, CLASSES)
    rounds, previous = [], None
    for b in range(1, ipc + 1):
        x = (start[(b - 1) * CLASSES : b * CLASSES].double() - mean) / std
        m, v = torch.zeros_like(x), torch.zeros_like(x)
        for t in range(1, method.steps + 1):
            step = oracles.step(
                network(),
                x,
                LABELS,
                real,
                previous if method.emu else None,
                b=b if method.emu else 1,
                filter=method.filter,
                kind=method.signal,
                eta=method.eta,
                beta=oracles.cosine_beta(method.beta, b - 1, ipc),
                classes=CLASSES,
            )
            m = 0.5 * m + 0.5 * step.gradient
            v = 0.9 * v + 0.1 * step.gradient**2
            rate = method.lr * (1 + math.cos(math.pi * (t - 1) / method.steps)) / 2
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
def test_a_whole_run_against_a_run_by_hand(changes):
    """Curriculum, moving update, Adam, its cosine and the clipping. Adam divides by the gradient's own size, so a
    pixel whose gradient is all but zero may go either way in single precision; such pixels are few."""
    changes = {"eta": 0.5} | changes
    ipc, seed = changes.pop("ipc", 2), 1
    method = with_augmentation(lambda augment, images, *_: images, **changes)
    result = method.distill(data(), teacher(), Run(ipc, seed))
    start = SyntheticSet.from_real(data(), ipc, seed).images
    expected = run_by_hand(start, method, ipc)
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


def test_another_seed_starts_elsewhere_and_augments_otherwise():
    class OneStart(CFM):
        def start(self, data, run):
            return super().start(data, dataclasses.replace(run, seed=0))

    for cls, why in ((CFM, ""), (OneStart, "the augmentation must follow the seed too")):
        one, other = (cls(**SMALL).distill(data(), teacher(), Run(2, seed)).images for seed in (3, 4))
        assert not torch.equal(one, other), why


@pytest.mark.parametrize("lr", [0.05, 50.0])
def test_pixels_are_in_range_after_every_step(lr):
    kept = []
    result = with_crops_kept(kept, lr=lr, steps=4).distill(data(), teacher(), Run(2))
    mean, std = channel_moments()
    seen = torch.cat([images.double() * std + mean for images in kept] + [result.images.double()])
    assert len(kept) == 8
    assert seen.min() >= -1e-6
    assert seen.max() <= 1 + 1e-6
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    if lr == 50.0:
        assert seen.min() < 1e-6, "pixels must have hit the lower bound"
        assert seen.max() > 1 - 1e-6, "and the upper one"


def test_every_round_starts_from_real_images_of_its_classes():
    kept = []
    result = with_crops_kept(kept, steps=2).distill(data(), teacher(), Run(3))
    mean, std = channel_moments()
    real = data().train
    chosen = []
    for b in range(3):
        pixels = (kept[2 * b].double() * std + mean) * 255
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


def test_the_teacher_sees_each_step_another_augmentation():
    """Crop, flip and roll with the settings given, of random numbers that nothing else draws from."""
    kept, seen, model, asked = [], [], teacher(), Run(2, 7)
    method = with_crops_kept(kept, scale=0.3, shift=2)
    objective = method.objective(data(), model, asked)
    model.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    for _ in steps(objective, position_of(method, asked)):
        pass
    assert len(kept) == len(seen) == 6, "once a step, 2 rounds of 3 steps"
    generator = Generator().manual_seed(7)
    for before, after in zip(kept, seen, strict=True):
        cropped = random_resized_crop(before, generator, (0.3, 1.0))
        assert torch.equal(after, roll(flip(cropped, generator), generator, 2))
        assert not torch.equal(before, after)


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


class Mine(CFM):
    pass


def test_the_set_knows_where_it_comes_from():
    result = Mine(steps=1).distill(data(), teacher(), Run(2, 5))
    assert result.config == {"method": "mine", "ipc": 2, "seed": 5, **dataclasses.asdict(CFM(steps=1, lr=0.25))}
    assert result.class_names == ("ant", "bee", "cat", "dog")
    assert result.teacher == {"hash": weights_hash(teacher().model), "hash_of": "weights", "accuracy": 50.0}
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
    CFM(steps=2).distill(data(), model, Run(1))
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.model.modules())
    assert all(parameter.grad is None for parameter in model.model.parameters())
    assert not model.model.training


@pytest.mark.parametrize("changes", [{}, {"signal": "mix"}, {"filter": "none"}, {"precision": "float64"}], ids=str)
def test_a_teacher_left_in_training_mode_gives_the_same_images_and_stays_as_it_was(changes, tmp_path):
    expected = CFM(steps=2, **changes).distill(data(), teacher(), Run(2)).images
    model = teacher()
    model.model.train().requires_grad_()
    before, kept, cut_off = copy.deepcopy(model.model.state_dict()), Checkpoint(tmp_path / "run"), [True]

    class Killed(CFM):
        def beta_at(self, b, rounds):
            if b == 1 and cut_off:
                raise InterruptedError
            return super().beta_at(b, rounds)

    with pytest.raises(InterruptedError):
        Killed(steps=2, **changes).distill(data(), model, Run(2, checkpoint=kept))
    assert kept.path.exists()
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())
    assert all(module.training for module in model.model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.model.parameters())
    cut_off.clear()
    made = Killed(steps=2, **changes).distill(data(), model, Run(2, checkpoint=kept))
    assert torch.equal(made.images, expected)


def test_the_iterator_shows_every_round():
    seen, method, asked = [], CFM(steps=1), Run(3)
    position = position_of(method, asked)
    for taken in steps(method.objective(data(), teacher(), asked), position):
        seen.append((taken.batch.b, position.pixels(taken.batch.number).clone()))
    assert [b for b, _ in seen] == [0, 1, 2]
    assert torch.equal(torch.cat([x for _, x in seen]), method.distill(data(), teacher(), asked).images)


def test_progress_shows_beta_and_the_terms_and_can_be_silent(capsys, terminal):
    run(ipc=1)
    assert capsys.readouterr().err == ""
    Mine(steps=25, beta=0.125).distill(data(), teacher(), Run(1, progress=True))
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
        (Run if name in ("ipc", "seed") else CFM)(**{name: value})


def test_more_images_than_the_class_has():
    with pytest.raises(ValueError, match=r"ipc.*5"):
        run(ipc=6)


@pytest.mark.parametrize("filter", ["none", "linear", "ridge"])
def test_a_loss_that_is_not_finite_is_one_clear_error(filter):
    broken = teacher()
    broken.model[-1].bias[0] = math.nan
    broken.model[0].bias[0] = math.nan
    with pytest.raises(ValueError, match="finite"):
        CFM(steps=2, filter=filter).distill(data(), broken, Run(1))
