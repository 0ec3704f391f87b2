"""What a method matches, by band: residuals against slow code, and filters against losses of known weights."""

import copy
import itertools
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from toys import needs, rand, randn

from unidd import methods
from unidd.bench.cell import budgeted
from unidd.bench.effective import (
    band_gradients,
    draw_seeds,
    effective,
    effective_filter,
    explained,
    kept,
    said,
    tilt,
    verdict,
)
from unidd.bench.residuals import Probe, alike, changes, measure, pictured, probes, unmatched
from unidd.core.bands import KINDS, Bands, residual, signal_residual, transfer
from unidd.core.objectives import Side
from unidd.core.spectra import class_signal
from unidd.core.statistics import FeatureTap, covariance, flc, rows
from unidd.data.augment import crop_flip_roll
from unidd.data.datasets import ImageData
from unidd.data.synthetic import SyntheticSet
from unidd.engine.descent import Descent, Objective, Start, Step
from unidd.engine.run import Run
from unidd.methods import Descending, Method
from unidd.networks.models import ModelConfig
from unidd.networks.training import Teacher, TrainConfig

SEEDS = st.integers(0, 1000)
BANDS = 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))


def probe(bands: int = BANDS) -> Probe:
    return Probe.of(toys.network(), toys.data(), bands)


def small(name: str, **changes) -> Method:
    return budgeted(methods.find(name), "smoke", **changes)


def real_set() -> SyntheticSet:
    """All real images as a set."""
    data = toys.data()
    return SyntheticSet(data.train.images / 255, data.train.labels, data.class_names, data.mean, data.std)


# ---- a gradient as a sum of others


@given(SEEDS, st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=6).filter(any))
def test_known_weights_are_found_exactly(seed, known):
    parts, weights = randn(len(known), 40, seed=seed), torch.tensor(known, dtype=torch.float64)
    fit = effective_filter(weights @ parts, parts)
    assert torch.allclose(fit.weights, weights, rtol=1e-7, atol=1e-9 * float(weights.max()))
    assert fit.r2 == pytest.approx(1, abs=1e-12)
    assert float(fit.shares.sum()) == pytest.approx(1, abs=1e-9)


@given(SEEDS)
def test_the_best_of_all_choices_of_parts_is_found(seed):
    """Slowly: least squares over every choice of parts, of which those with a negative weight do not count."""
    parts, gradient = randn(4, 9, seed=seed), randn(9, seed=seed + 5)
    best, found = 0.0, torch.zeros(4, dtype=torch.float64)
    for chosen in itertools.chain(*(itertools.combinations(range(4), n) for n in range(1, 5))):
        some = parts[list(chosen)]
        weights = torch.linalg.lstsq(some.T, gradient.unsqueeze(1)).solution[:, 0]
        r2 = 1 - float((gradient - weights @ some).square().sum() / gradient.square().sum())
        if (weights >= 0).all() and r2 > best:
            best, found = r2, torch.zeros(4).double().index_put((torch.tensor(chosen),), weights)
    fit = effective_filter(gradient, parts)
    assert fit.r2 == pytest.approx(best, abs=1e-10)
    assert torch.allclose(fit.weights, found, atol=1e-8)
    assert float(fit.shares.sum()) == pytest.approx(best, abs=1e-10)


def test_what_is_orthogonal_or_opposite_explains_nothing():
    parts = torch.eye(6, dtype=torch.float64)[:3]
    for gradient in (torch.eye(6, dtype=torch.float64)[4], -parts.sum(0)):
        fit = effective_filter(gradient, parts)
        assert fit.r2 == pytest.approx(0, abs=1e-12)
        assert fit.weights.tolist() == [0, 0, 0]


@given(SEEDS, st.floats(1e-8, 1e8))
def test_weights_have_units_and_shares_have_none(seed, factor):
    parts, gradient = randn(3, 20, seed=seed), randn(20, seed=seed + 1)
    one, other = effective_filter(gradient, parts), effective_filter(factor * gradient, 10 * parts)
    assert torch.allclose(other.weights, one.weights * factor / 10, rtol=1e-6)
    assert torch.allclose(other.shares, one.shares, atol=1e-9)


def test_a_part_that_is_nothing_has_no_weight_and_a_gradient_that_is_nothing_is_refused():
    parts = torch.stack([torch.zeros(5), torch.ones(5)])
    assert effective_filter(torch.ones(5), parts).weights.tolist() == pytest.approx([0, 1])
    for gradient in (torch.zeros(5), torch.full((5,), torch.nan)):
        with pytest.raises(ValueError, match="has no parts"):
            effective_filter(gradient, parts)


# ---- gradients of bands


def slow_terms(model, x, labels, real: dict[str, Side], bands: dict[str, Bands]) -> list[torch.Tensor]:
    """Every term from whole projectors, in the order of `band_gradients`, but for the cross-entropy."""
    with FeatureTap(model, list(bands)) as tap:
        model(x)
    terms, one_hot = [], torch.eye(toys.CLASSES).double()
    for layer, of in bands.items():
        z = rows(tap.features[layer])
        y = one_hot[labels].repeat_interleave(len(z) // len(labels), 0)
        gap, signal = real[layer].ffc - covariance(z), real[layer].flc - flc(z, y)
        directions = of.real.basis.split(of.sizes, 1)
        projectors, size = [u @ u.T for u in directions], of.real.eigenvalues.sum()
        whole = (of.real.basis * of.real.eigenvalues) @ of.real.basis.T
        terms += [(p @ gap @ p).square().sum() / (p @ whole @ p).square().sum() for p in projectors]
        terms += [(p @ class_signal(signal)).square().sum() / size for p in projectors]
        terms += [(p @ signal.sum(1)).square().sum() / size for p in projectors]
    return terms


def test_gradients_of_bands_are_those_of_the_definition():
    seen, x, labels = probe(), randn(5, 3, toys.SIZE, toys.SIZE), torch.tensor([0, 1, 2, 3, 0])
    beside = randn(3, 3, toys.SIZE, toys.SIZE, seed=1), torch.tensor([1, 1, 2])
    view = lambda images: images.flip(-1) * 0.9  # noqa: E731
    found = band_gradients(seen, x, labels, seen.sides, view, beside)
    leaf = x.clone().requires_grad_()
    whole = view(torch.cat([leaf, beside[0]])), torch.cat([labels, beside[1]])
    terms = slow_terms(seen.model, *whole, seen.sides, seen.bands)
    terms.append(torch.nn.functional.cross_entropy(seen.model(view(leaf)), labels))
    slow = torch.stack([torch.autograd.grad(term, leaf, retain_graph=True)[0].flatten() for term in terms])
    assert found.shape == (len(seen.bands) * len(KINDS) * BANDS + 1, x.numel())
    assert torch.allclose(found, slow, rtol=1e-8, atol=1e-10 * float(slow.abs().max()))


# ---- a method whose loss is a sum of bands


class BandsObjective(Objective):
    def __init__(self, seen: Probe, weights: torch.Tensor):
        self.seen, self.weights = seen, weights

    def begin(self, batch):
        self.labels = batch.labels

    def step(self, x, t, generator):
        terms = slow_terms(self.seen.model, x, self.labels, self.seen.sides, self.seen.bands)
        loss = (self.weights[:-1] * torch.stack(terms)).sum()
        loss = loss + self.weights[-1] * torch.nn.functional.cross_entropy(self.seen.model(x), self.labels)
        return Step({"bands": loss}, torch.autograd.grad(loss, x)[0])


@dataclass(frozen=True)
class OfBands(Descending):
    """A loss of known weights, in float64, whose batches know nothing of each other."""

    steps: int = 3
    source: ClassVar[str] = "a test"
    acts_as: ClassVar[str] = "low-pass"

    def objective(self, data, teacher, run):
        return BandsObjective(probe(), self.weights())

    def descent(self, data):
        return Descent(self.steps, 0.05, dtype=torch.float64)

    @staticmethod
    def weights():
        count = len(probe().bands) * len(KINDS) * BANDS + 1
        return rand(count, seed=3, dtype=torch.float64) * (torch.arange(count) % 4 != 1)


def listed(seen: dict) -> list[float]:
    weights = [w for layer in seen["layers"].values() for kind in KINDS for w in layer[kind]["weights"]]
    return [*weights, seen["cross-entropy"]["weight"]]


def test_the_filter_of_a_loss_that_is_a_sum_of_bands_is_found_all_along_and_the_descent_is_undisturbed():
    teacher, run = Teacher(toys.network(), 50.0, "a hash"), Run(ipc=2, seed=4)
    looks, made = effective(OfBands(), {"teacher": [probe()]}, teacher, run, at=(0, 0.5, 0.9, 1), draws=2)
    assert [(look["at"], look["batch"], look["step"]) for look in looks] == [
        (0, 0, 0),
        (0.5, 0, 2),
        (0.9, 1, 1),
        (1, 1, 2),
    ]
    for look in looks:
        seen = look["seen"]["teacher"]
        assert seen["r2"] == pytest.approx(1, abs=1e-9)
        assert look["noise"] == pytest.approx(0, abs=1e-20)
        assert listed(seen) == pytest.approx(OfBands.weights().tolist(), rel=1e-4, abs=1e-6)
        assert seen["scope"] == ("batch" if look["batch"] else "set"), "it knows nothing of the round before"
    plain = OfBands().distill(toys.data(), teacher, run)
    assert torch.equal(made.images, plain.images)
    assert made.history == plain.history


@pytest.mark.parametrize("name", ["cfm", "dm", "dc", "mtt", "frepo", "kip", "sre2l", "fadrm", "head"])
def test_looking_does_not_disturb(name):
    """Whatever the objective carries from step to step; the same looks come again."""
    needs(name)
    method, run, data = small(name, steps=3), Run(ipc=2, seed=1), toys.data()
    groups = {"teacher": [Probe.of(toys.teacher().model, data, BANDS)]}
    looks, made = effective(method, groups, toys.teacher(), run, at=(0, 0.5, 1), draws=2)
    plain = method.distill(data, toys.teacher(), run)
    assert torch.equal(made.images, plain.images)
    assert made.history == plain.history
    assert looks == effective(method, groups, toys.teacher(), run, at=(0, 0.5, 1), draws=2)[0]
    for look in looks:
        seen = look["seen"]["teacher"]
        total = seen["cross-entropy"]["share"]
        total += sum(sum(layer[kind]["shares"]) for layer in seen["layers"].values() for kind in KINDS)
        assert total == pytest.approx(seen["r2"], abs=1e-6)
        assert -1e-9 <= seen["r2"] <= 1
        assert min(listed(seen)) >= 0


@needs("cfm")
@pytest.mark.parametrize(
    ("changed", "low", "high", "r2"),
    [
        ({"filter": "linear"}, 0.3, 1, 0.95),
        ({"filter": "all-pass"}, -0.001, 0.001, 0.9999),
        ({"filter": "ridge", "beta": 3.0}, -0.1, 0.1, 0.98),  # three times the largest eigenvalue: nearly flat
        ({"filter": "ridge", "beta": 1e-2}, -0.45, -0.15, 0.2),
        ({"filter": "ridge", "beta": 1e-3}, -1, -0.45, 0.4),
    ],
)
def test_the_loss_of_cfm_is_what_its_filter_says_close_to_the_real_side(monkeypatch, changed, low, high, r2):
    """All images at once and not augmented, a little off the real ones; η so large that cross-entropy does not count.

    With the linear filter the weights of bands grow with λ, all-pass has the same in all, and ridge turns from flat to
    high-pass as β falls. Its loss is least a sum of bands.
    """
    module = sys.modules[methods.find("cfm").__module__]
    monkeypatch.setattr(module, "crop_flip_roll", lambda x, generator, slot=None, **_: x)
    whole = real_set()
    images = (whole.images + 0.02 * (rand(*whole.images.shape) - 0.5)).clamp(0, 1)
    run = Run(ipc=5, start=replace(whole, images=images))
    method = small("hfm", eta=1e8, emu=False, precision="float64", steps=1, **changed)
    at_once = lambda self, data, run: replace(Start.of(data, run), sizes=(20,), places=())  # noqa: E731
    monkeypatch.setattr(type(method), "start", at_once)
    seen_through = probe(2)
    matched = {layer: bands for layer, bands in seen_through.bands.items() if layer != "10"}  # convolutions alone
    group = [replace(seen_through, bands=matched)]
    (look,), _ = effective(method, {"teacher": group}, toys.teacher(), run, at=(0,), draws=1)
    seen = look["seen"]["teacher"]
    assert low < tilt(seen) < high
    assert seen["r2"] > r2
    assert abs(seen["cross-entropy"]["share"]) < 0.01
    if changed["filter"] == "linear":
        assert all(
            layer["filter"]["weights"][0] > 2 * layer["filter"]["weights"][1] for layer in seen["layers"].values()
        )
    if changed["filter"] == "all-pass":
        for layer in seen["layers"].values():
            assert layer["mean"]["weights"][0] == pytest.approx(layer["mean"]["weights"][1], rel=0.01)


def larger() -> ImageData:
    """The same images at twice the size: of 8×8 a ConvNet of three blocks leaves one pixel, and its norm no slope."""
    data = toys.data()
    images = data.train.images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    split = replace(data.train, images=images)
    return replace(data, train=split, test=split)


@needs("dm")
def test_dm_is_all_pass_on_the_class_signal_of_the_very_networks_it_draws():
    """Not augmented, and with all real images in every step: then its loss is that of class means, in every band alike.

    Without what all classes share the gradient is not whole: means of classes have both parts.
    """
    data, method, run = larger(), small("dm", strategy="none", batch=5, steps=3, net_width=6), Run(ipc=1, seed=2)
    drawn = [method.drawn(data, Generator().manual_seed(seed)) for seed in draw_seeds(2, 3)]
    others = [method.drawn(data, Generator().manual_seed(seed + 50)) for seed in draw_seeds(2, 3)]
    own, other = ([Probe.of(net.eval().requires_grad_(False), data, BANDS) for net in nets] for nets in (drawn, others))
    looks, _ = effective(method, {"own": own, "other": other}, toys.teacher(), run, at=(0, 1), draws=3)
    for look in looks:
        seen = look["seen"]["own"]
        assert seen["r2"] > 0.99
        assert abs(tilt(seen)) < 0.05
        head = seen["layers"]["head"]
        assert sum(head["class"]["shares"]) + sum(head["mean"]["shares"]) > 0.98
        assert head["class"]["weights"] == pytest.approx([head["class"]["weights"][0]] * BANDS, rel=0.15)
        assert look["seen"]["other"]["r2"] < 0.9, "of other networks it is not"


def test_a_group_of_probes_is_a_mean_over_its_networks():
    """A network whose first convolution is of the opposite sign, beside the right one: neither alone explains all."""
    run, teacher, other = Run(ipc=1), Teacher(toys.network(), 50.0, "a hash"), copy.deepcopy(toys.network())
    other[0].weight.data.neg_()
    odd = Probe.of(other, toys.data(), BANDS)
    groups = {"right": [probe()], "odd": [odd], "both": [probe(), odd]}
    (look,), _ = effective(OfBands(), groups, teacher, run, at=(0,), draws=2)
    r2 = {name: seen["r2"] for name, seen in look["seen"].items()}
    assert r2["odd"] < r2["both"] < r2["right"] == pytest.approx(1, abs=1e-9)
    lam = [look["seen"][name]["layers"]["4"]["eigenvalues"] for name in groups]
    assert lam[2] == pytest.approx([(a * b) ** 0.5 for a, b in zip(*lam[:2], strict=True)])
    for group in ([probe(), probe(2)], []):
        with pytest.raises(ValueError, match="same layers and bands"):
            effective(OfBands(), {"right": [probe()], "odd": group}, teacher, run)


def test_places_and_steps_that_cannot_be_looked_at_are_refused():
    group, run = {"teacher": [probe()]}, Run(ipc=1)
    with pytest.raises(ValueError, match="at must be places"):
        effective(OfBands(), group, toys.teacher(), run, at=(0, 1.5))
    with pytest.raises(ValueError, match="raise steps"):
        effective(OfBands(steps=0), group, toys.teacher(), run)


# ---- views


@pytest.mark.parametrize("cls", methods.found(), ids=lambda cls: cls.path())
def test_a_view_is_of_the_same_shape_and_the_generator_alone_decides(cls):
    method, x = small(cls.path()), randn(6, 3, toys.SIZE, toys.SIZE, dtype=torch.float32)
    for real in (False, True):
        one, again = (method.view(x, Generator().manual_seed(3), real) for _ in range(2))
        assert one.shape == x.shape
        assert torch.equal(one, again)


@pytest.mark.parametrize("name", ["cfm", "sre2l", "cda", "fadrm"])
def test_the_view_of_images_is_what_the_teacher_is_shown(name):
    needs(name)
    data, teacher, run = toys.data(), toys.teacher(), Run(ipc=1)
    method, shown = small(name, steps=1, **({"milestone": 0.0} if name == "cda" else {})), []
    position, objective = method.begun(data, teacher, run)
    objective.begin(position.batches[0])
    x, _ = position.enter()
    with torch.no_grad():
        seen = method.view(x.detach().clone(), Generator().manual_seed(3))
    handle = teacher.model.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))
    objective.step(x, 0, Generator().manual_seed(3))
    handle.remove()
    assert torch.equal(shown[0], seen)
    assert method.view(x, Generator(), real=True) is x


@needs("dm", "mtt")
def test_siamese_views_are_the_same_draw_of_both_sides():
    x = randn(1, 3, toys.SIZE, toys.SIZE, dtype=torch.float32).repeat(4, 1, 1, 1)
    for seed in range(8):
        ours, real = (small("dm").view(x, Generator().manual_seed(seed), side) for side in (False, True))
        assert torch.equal(ours, real)
        assert torch.equal(ours, ours[:1].expand_as(ours)), "all images of a batch alike"
    own = [small("mtt").view(x, Generator().manual_seed(s)) for s in range(8)]
    assert any(not torch.equal(images[0], images[1]) for images in own), "and of a student's each for itself"
    assert not changes(small("dm", strategy="none"), toys.data())


# ---- residuals of sets


def test_the_real_images_leave_nothing_unmatched_in_any_layer_or_view_that_leaves_them_alone():
    found = measure(real_set(), probe(), small("random"))
    assert found
    for layer in found.values():
        assert "own" not in layer, "the method sees them as they are"
        for values in layer["clean"].values():
            assert max(values) < 1e-6


@given(SEEDS)
@settings(max_examples=5, deadline=None)
def test_residuals_are_those_of_slow_statistics_in_both_views(seed):
    data, seen = toys.data(), probe()
    images = rand(8, 3, toys.SIZE, toys.SIZE, seed=seed)
    made = SyntheticSet(images, torch.arange(8) % 4, data.class_names, data.mean, data.std)
    start = SyntheticSet.from_real(data, 2, seed)
    found = measure(made, seen, small("cfm"), start=start, draws=2, seed=seed)

    def side(of: SyntheticSet, layer: str, draw: int | None) -> Side:
        x = data.normalise(of.images).double()
        x = x if draw is None else crop_flip_roll(x, Generator().manual_seed(seed + draw))
        with FeatureTap(seen.model, [layer]) as tap:
            seen.model(x)
        z = rows(tap.features[layer])
        one_hot = torch.eye(toys.CLASSES).double()[of.labels]
        return Side(covariance(z), flc(z, one_hot.repeat_interleave(len(z) // len(of.labels), 0)))

    for layer, values in found.items():
        real, draws = side(real_set(), layer, None), {"clean": [None], "own": [0, 1]}
        basis = Bands.of(real.ffc, BANDS)
        for view, several in draws.items():
            slow = {}
            for name, of in (("set", made), ("start", start)):
                each = [side(of, layer, draw) for draw in several]
                slow[name] = {
                    "filter": [residual(basis.real, real.ffc, s.ffc) for s in each],
                    "class": [signal_residual(basis.real, *(class_signal(t.flc) for t in (real, s))) for s in each],
                    "mean": [signal_residual(basis.real, real.flc.sum(1, True), s.flc.sum(1, True)) for s in each],
                }
                slow[name] = {k: basis.mean(torch.stack(v).mean(0)) for k, v in slow[name].items()}
            for kind in KINDS:
                assert values[view][kind] == pytest.approx(slow["set"][kind].tolist(), rel=1e-4)
                gain = transfer(slow["set"][kind], slow["start"][kind])
                assert values["transfer"][view][kind] == pytest.approx(gain.tolist(), rel=1e-3, abs=1e-3)
        assert values["eigenvalues"] == pytest.approx(basis.eigenvalues.tolist(), rel=1e-6)


def test_a_set_with_another_power_in_one_band_shows_it_there_alone():
    real = Side(torch.diag(torch.tensor([4.0, 3, 2, 1], dtype=torch.float64)), torch.zeros(4, 2).double())
    other = Side(torch.diag(torch.tensor([4.0, 3, 6, 1], dtype=torch.float64)), real.flc)
    found = unmatched(Bands.of(real.ffc, 2), real, other)
    assert found["filter"].tolist() == pytest.approx([0, 1])
    assert found["class"].tolist() == found["mean"].tolist() == [0, 0]


def test_layers_with_fewer_live_directions_than_bands_are_left_out():
    live = {name: len(Bands.of(side.ffc, 1).real.eigenvalues) for name, side in probe(1).sides.items()}
    assert list(probe(1).bands) == list(live) == ["0", "4", "7", "10"]
    assert live["0"] == 3, "an image has three channels"
    assert list(probe(4).bands) == ["4", "7", "10"]
    with pytest.raises(ValueError, match="no layer of the probe can be measured"):
        probe(1000)


def test_probes_can_be_cut_to_the_layers_all_have():
    few, more = probe(4), probe(3)
    assert [list(of.bands) for of in alike([few, more])] == [["4", "7", "10"]] * 2
    assert list(more.bands) == ["0", "4", "7", "10"], "it is left as it was"
    for none in ([], [few, replace(few, bands={})]):
        with pytest.raises(ValueError, match="no layer in common"):
            alike(none)


def test_networks_after_some_epochs_are_those_of_whole_trainings():
    data, config = toys.data(), ModelConfig(width=6)
    found = probes(data, config, TrainConfig(epochs=7, batch=5), epochs=(0, 2), seed=3, bands=2)
    assert list(found) == [0, 2]
    first, trained = (found[epochs].model.state_dict() for epochs in (0, 2))
    assert any(not torch.equal(first[name], trained[name]) for name in first)
    assert all(not p.requires_grad for of in found.values() for p in of.model.parameters())
    assert not any(of.model.training for of in found.values())


def test_images_are_described():
    found = pictured(real_set(), toys.data(), toys.teacher().model)
    assert found["diversity"]["pixels"] == pytest.approx(1 - found["consistency"]["pixels"])
    assert len(found["spectrum"]) == toys.SIZE // 2
    assert 0 < found["high"] < 1
    assert "diversity" not in pictured(real_set().first(1), toys.data(), toys.teacher().model)


# ---- in words


def seen_with(weights: list[float], shares: list[float] | None = None) -> dict:
    kinds = {kind: {"weights": [0.0] * len(weights), "shares": [0.0] * len(weights)} for kind in KINDS}
    kinds["filter"] = {"weights": weights, "shares": shares or [0.5] * len(weights)}
    return {"layers": {"1": {"eigenvalues": [100.0, 10.0, 1.0, 0.1], **kinds}}, "cross-entropy": {"share": 0.0}}


def tilted(value: float, share: float = 0.5) -> dict:
    """A look of that tilt, half of whose gradient, or as much, is seen."""
    return seen_with([1 + value, 0, 0, 1 - value], [share, 0, 0, 0])


def test_tilt_is_where_the_weights_lie():
    assert tilt(seen_with([1, 0, 0, 0])) == pytest.approx(1)
    assert tilt(seen_with([0, 0, 0, 9])) == pytest.approx(-1)
    assert tilt(seen_with([2, 2, 2, 2])) == pytest.approx(0)
    assert tilt(seen_with([4, 2, 2, 4])) == pytest.approx(0)
    assert 0 < tilt(seen_with([1e4, 1e2, 1, 1e-2])) < 1
    two = seen_with([1, 0, 0, 0])
    two["layers"]["2"] = seen_with([0, 0, 0, 1], [1.0, 0, 0, 0])["layers"]["1"]
    assert tilt(two) == pytest.approx((2 - 1) / 3), "layers count by their shares"
    assert tilt(seen_with([0, 0, 0, 0])) != tilt(seen_with([0, 0, 0, 0])), "NaN"


@pytest.mark.parametrize(
    ("tilts", "acts_as", "word", "keeps"),
    [
        ([0.5, 0.6, 0.4, 0.5, 0.6], "λ, low-pass", "low-pass", True),
        ([-0.5, -0.6, -0.4, -0.5, -0.6], "λ, low-pass", "high-pass", False),
        ([-0.5, -0.6, -0.4, -0.5, -0.6], "from flat to high-pass", "high-pass", True),
        ([-0.5, 0.6, -0.4, 0.5, 0.1], "1, all-pass", "neither", None),
        ([0.5, 0.6, 0.4, 0.5, 0.6], "1, all-pass", "low-pass", False),
        ([-0.5, 0.6, -0.4, 0.5, 0.1], "λ, low-pass, and all-pass as an upper bound", "neither", None),
        ([0.5, 0.6, 0.4, 0.5, 0.6], "λ, low-pass, and all-pass as an upper bound", "low-pass", True),
        ([-0.5, 0.6, -0.4, 0.5, 0.1], "none", "neither", None),
        ([0.5, 0.6, 0.4, 0.5, 0.6], "none", "low-pass", None),
        ([0.5, 0.6], "λ, low-pass", "no verdict", None),
    ],
)
def test_a_verdict_follows_from_the_interval(tilts, acts_as, word, keeps):
    found = verdict([tilted(value) for value in tilts], acts_as)
    assert (found["word"], kept(found["word"], found["said"])) == (word, keeps)
    assert found["low"] < found["mean"] < found["high"]
    assert found["mean"] == pytest.approx(sum(tilts) / len(tilts))
    unseen = verdict([tilted(value, share=0.1) for value in tilts], acts_as)
    assert unseen["word"] == ("unseen" if len(tilts) > 2 else "no verdict")
    assert kept(unseen["word"], unseen["said"]) is None
    assert (found["explained"], unseen["explained"]) == (pytest.approx(0.5), pytest.approx(0.1))


def test_what_bands_explain_is_of_what_cross_entropy_leaves():
    seen = seen_with([1, 1, 1, 1], [0.02, 0.01, 0, 0]) | {"cross-entropy": {"share": 0.96}}
    assert explained(seen) == explained(seen, ("filter",)) == pytest.approx(0.75)
    assert explained(seen, ("class", "mean")) == 0


def test_what_the_theory_says_is_read_off_acts_as():
    told = {cls.path(): said(cls.acts_as) for cls in methods.found()}
    expected = {"cfm": ["high-pass"], "lfm": ["low-pass"], "dm": ["all-pass"], "dc": ["low-pass", "all-pass"]}
    expected |= {"sre2l": ["low-pass", "all-pass"], "head": ["high-pass"], "random": [], "rded": [], "fadrm": []}
    assert {name: told[name] for name in expected if name in told} == {k: v for k, v in expected.items() if k in told}
