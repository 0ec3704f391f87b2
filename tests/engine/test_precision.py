"""The network in half or double precision: correlations and filters stay where they are, and nothing is lost."""

import functools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unidd.core.filters import Filter, Ridge
from unidd.core.matching import LayerStack, Matching, step_loss
from unidd.core.statistics import RealSide, real_statistics
from unidd.data.datasets import ImageData, load
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Position, steps
from unidd.engine.precision import LossScale, half_precision
from unidd.engine.run import Run
from unidd.methods import cfm
from unidd.methods.cfm import CFM, FrequencyMatching
from unidd.networks.models import ModelConfig, build, tapped_layers
from unidd.networks.training import Teacher

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@functools.cache
def photos() -> ImageData:
    data = load("photos")
    return ImageData("photos", data.train.take(torch.arange(0, 5000, 20)), data.test, data.class_names)


@functools.cache
def teacher() -> Teacher:
    """Untrained, but its batch norms know the photographs, so that features have a trained network's scale."""
    network = build(ModelConfig(width=8), 3, 32, 10, seed=1).train()
    with torch.no_grad():
        for _ in range(5):
            network(photos().normalise(photos().train.images))
    return Teacher(network.eval().requires_grad_(False), 10.0, "0123456789abcdef")


@functools.cache
def matching_of(**changes) -> Matching:
    method, model, data = CFM(**changes), teacher().model, photos()
    batches = [(data.normalise(data.train.images), data.train.labels)]
    sides = {k: RealSide.of(v) for k, v in real_statistics(model, batches, tapped_layers(model), method.signal).items()}
    filters = {layer: method.layer_filter(0, 10, side) for layer, side in sides.items()}
    return Matching.of(sides, filters, signal=method.signal)


def gradient(
    half: torch.dtype | None, matching: Matching | None = None, factor: float = 1.0, batch: int | None = None
) -> Tensor:
    x = photos().normalise(SyntheticSet.from_real(photos(), 2).images).requires_grad_()
    labels = torch.arange(20) % 10
    loss = step_loss(teacher().model, x, labels, matching or matching_of(), 0.1, batch=batch, half=half)
    assert math.isfinite(loss.value)
    return loss.gradient(x, factor)


def method_of(objective: type[FrequencyMatching] = FrequencyMatching, **changes) -> CFM:
    """CFM, under an objective of one's own."""

    class Own(CFM):
        name = "cfm"

        def objective(self, data, teacher, run):
            usual = super().objective(data, teacher, run)
            return objective(self, run.ipc, teacher.model, usual.real, usual.augment)

    return Own(**{"steps": 6, "beta": 0.05} | changes)


def run(ipc: int = 1, **changes) -> SyntheticSet:
    return method_of(**changes).distill(photos(), teacher(), Run(ipc))


def cosine(a: Tensor, b: Tensor) -> float:
    """The least over images of the cosine between two gradients."""
    return F.cosine_similarity(a.flatten(1), b.flatten(1)).min().item()


# ----------------------------------------------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("precision", "network", "algebra"),
    [
        ("float64", torch.float64, torch.float64),
        ("float32", torch.float32, torch.float32),
        ("bfloat16", torch.bfloat16, torch.float32),
        ("float16", torch.float16, torch.float32),
    ],
)
@pytest.mark.parametrize("filter", ["ridge", "linear"])
def test_only_the_network_is_in_half_precision(monkeypatch, precision, network, algebra, filter):
    """What reaches correlations and filters, what they give, and the network's own features before."""
    seen, features, losses = set(), [], []
    owner = Ridge if filter == "ridge" else Filter
    synthetic, distances, step = LayerStack.synthetic, owner.distances, cfm.step_loss

    def watch(values):
        for value in values if isinstance(values, list | tuple) else [values]:
            watch(value) if isinstance(value, list | tuple) else seen.add(getattr(value, "dtype", algebra))
        return values

    def stepping(*args, **options):
        losses.append(step(*args, **options))
        features.append({f.dtype for name, f in losses[-1].tap.features.items() if name != "features.0"})
        return losses[-1]

    monkeypatch.setattr(LayerStack, "synthetic", lambda *a: watch(synthetic(a[0], *watch(a[1:3]), *a[3:])))
    monkeypatch.setattr(owner, "distances", lambda *a: watch(distances(a[0], *watch(a[1:]))))
    monkeypatch.setattr(cfm, "step_loss", stepping)
    result = run(precision=precision, ipc=2, steps=2, filter=filter, signal="mix")
    assert seen == {algebra}
    assert features == [{network}] * 4
    assert {losses[0].filter.dtype, losses[0].signal.dtype, losses[0].targets.dtype} == {algebra}
    assert result.images.dtype == torch.float32


def test_double_precision_leaves_the_teacher_as_it_was():
    before = {name: value.clone() for name, value in teacher().model.state_dict().items()}
    run(precision="float64", steps=1)
    for name, value in teacher().model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


# ------------------------------------------------------------------------------------------------------- agreement


@pytest.mark.parametrize("signal", ["mean", "mix"])
@pytest.mark.parametrize(
    ("precision", "beta", "least"),
    [("bfloat16", 0.1, 0.99), ("bfloat16", 0.001, 0.98), ("float16", 0.1, 0.998), ("float16", 0.001, 0.998)],
)
def test_gradients_of_half_precision_point_the_same_way(precision, beta, least, signal):
    """bfloat16 keeps 8 bits and float16 11; the small directions that a small β lifts suffer most."""
    matching = matching_of(beta=beta, signal=signal)
    single, half = gradient(None, matching), gradient(HALF[precision], matching, 1024.0)
    assert half.dtype == torch.float32
    assert least < cosine(half, single) < 1 - 1e-9
    assert 0.9 < half.norm() / single.norm() < 1.1


@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16", "float16"])
def test_runs_stay_finite_and_near_each_other(precision):
    result, single = run(precision=precision), run()
    start = SyntheticSet.from_real(photos(), 1).images
    moved = (single.images - start).abs().mean()
    assert (result.images - single.images).abs().mean() < 0.15 * moved
    assert all(math.isfinite(value) for entry in result.history for value in entry.values())
    assert result.history[0]["filter"] == pytest.approx(single.history[0]["filter"], rel=0.05)


# ---------------------------------------------------------------------------------------------- the scale of the loss


def test_the_scale_keeps_small_gradients_off_zero():
    """Of a batch of many images each has a small share: without a factor float16 loses it."""
    classification = Matching()
    single = gradient(None, classification, batch=50_000)
    lost, kept = (gradient(torch.float16, classification, factor, batch=50_000) for factor in (1.0, 1024.0))
    assert (lost == 0).double().mean() > 0.1
    assert (kept == 0).double().mean() < 0.01
    assert cosine(lost, single) < 0.98 < 0.99 < cosine(kept, single)


def test_the_scale_changes_nothing_in_single_precision():
    one, scaled = gradient(None), gradient(None, factor=1024.0)
    assert torch.allclose(one, scaled, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_scale_falls_until_nothing_overflows():
    """A weight so large that float16 overflows at first: the run goes on, and the images move."""
    method, asked = method_of(precision="float16", eta=3e4, steps=61), Run(1)
    objective = method.objective(photos(), teacher(), asked)
    position = Position(photos(), method.start(photos(), asked), method.descent(photos()))
    factors = [objective.scale.factor for _ in steps(objective, position)]
    assert factors[:20] == [1024.0] * 20
    assert factors[20] == 64.0, "1024 has overflowed in the first 20 steps"
    assert factors[-1] <= 64.0
    start = SyntheticSet.from_real(photos(), 1).images
    single = run(eta=3e4, steps=61)
    assert (position.images - start).abs().mean() > 0.3 * (single.images - start).abs().mean()
    assert all(math.isfinite(value) for value in position.history[0].values())


def test_infinite_entries_count_as_nothing_and_lower_the_factor():
    scale = LossScale.of(torch.float16, torch.device("cpu"))
    given = torch.tensor([1.0, math.inf, math.nan, -math.inf, -2.0])
    assert scale.clean(given).tolist() == [1.0, 0.0, 0.0, 0.0, -2.0]
    scale.adapt(None)
    assert scale.factor == 64.0
    for expected in (128.0, 256.0):
        scale.clean(torch.ones(3))
        scale.adapt(None)
        assert scale.factor == expected
    for _ in range(20):
        scale.adapt(None)
    assert scale.factor == 65536.0
    scale.clean(torch.tensor([math.inf]))
    again = LossScale.of(torch.float16, torch.device("cpu"))
    again.restore(scale.state(None))
    again.adapt(lambda overflow: overflow)
    assert again.factor == 4096.0


@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_other_precisions_need_no_scale(half):
    scale = LossScale.of(half, torch.device("cpu"))
    given = torch.tensor([1.0, math.inf])
    assert scale.clean(given) is given
    assert given[1] == math.inf, "an overflow here is an error, found as such"
    scale.adapt(None)
    assert scale.factor == 1.0


def test_one_process_overflows_and_all_lower_the_factor():
    scales = [LossScale.of(torch.float16, torch.device("cpu")) for _ in range(2)]
    scales[1].clean(torch.tensor([math.inf]))
    for scale in scales:
        scale.adapt(lambda overflow: overflow.copy_(torch.tensor(1.0)))
    assert [scale.factor for scale in scales] == [64.0, 64.0]


class Stopping(FrequencyMatching):
    def step(self, x, t, generator):
        if t == 12:
            raise KeyboardInterrupt
        return super().step(x, t, generator)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float64"])
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(tmp_path, precision):
    """Cut off at step 13 of 24, of which 20 is the first where the scale may change; saved at step 10 for the last."""
    changes = {"steps": 24, "eta": 3e4, "precision": precision}
    whole = run(**changes)
    with pytest.raises(KeyboardInterrupt):
        method_of(Stopping, **changes).distill(
            photos(), teacher(), Run(1, checkpoint=Checkpoint(tmp_path), save_every=5)
        )
    again = method_of(**changes).distill(photos(), teacher(), Run(1, checkpoint=Checkpoint(tmp_path)))
    assert torch.equal(again.images, whole.images)
    assert again.history == whole.history


class Broken(FrequencyMatching):
    def step(self, x, t, generator):
        return replace(super().step(x, t, generator), gradient=torch.full_like(x, math.nan))


def test_a_gradient_that_is_not_finite_is_an_error_and_no_image():
    """In the last step of a batch, after which nobody looks at a loss."""
    with pytest.raises(ValueError, match=r"round 0, step 1: the gradient is not finite"):
        method_of(Broken, steps=1).distill(photos(), teacher(), Run(1))


def test_precisions_by_name():
    assert [half_precision(name) for name in ("float32", "float64")] == [None, None]
    assert {name: half_precision(name) for name in HALF} == HALF
    with pytest.raises(ValueError, match="precision must be one of float32, float64, bfloat16, float16"):
        CFM(precision="half")
