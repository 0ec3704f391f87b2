"""On a GPU, without one: every tensor is where it should be, and no step makes the CPU wait for the device.

The device is `devices.Elsewhere`. Waits are allowed where a batch begins and ends, and where the engine looks on
purpose, every 20 steps.
"""

import functools
import os
import sys
import tempfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from itertools import product
from unittest import mock

import pytest
import torch
import toys
from devices import Elsewhere, Far, Wait
from torch import Tensor

from unidd import methods
from unidd.core.statistics import real_statistics
from unidd.data import hosted
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Descent, Objective, Position, Start, Step, steps
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods import Descending
from unidd.methods.cfm import CFM, FrequencyMatching
from unidd.methods.dc import DC
from unidd.methods.rded import RDED
from unidd.methods.spectral import SpectralHerding
from unidd.networks.models import ModelConfig, build, tapped_layers
from unidd.networks.training import TrainConfig, accuracy, train

pytestmark = pytest.mark.slow  # every method, filter and precision on two devices
# Those that descend through a network; a linear learner takes a millisecond a step, and waits.
METHODS = [cls for cls in methods.found() if issubclass(cls, Descending) and cls.needs_teacher]
FILTERS, SIGNALS = ("ridge", "linear", "all-pass", "landweber", "residual", "none"), ("mean", "class", "mix")
CHANNELS, ROWS = 0, 2  # classes of a batch: of two images the layer of 20 channels has so few rows that they are taken
KINDS = ["meta", "cuda"] if torch.backends.cuda.is_built() else ["meta"]  # a torch built for CUDA needs no GPU for it


def small(cls: type[Descending], **settings) -> Descending:
    """The method with few steps, and those settings that it has."""
    known = {f.name for f in fields(cls)}
    return cls(**{name: value for name, value in {"steps": 3, **settings}.items() if name in known})


def at(device) -> tuple:
    """Data and teacher on a device."""
    teacher = toys.teacher()
    return toys.data().to(device), replace(teacher, model=teacher.model.to(device))


@dataclass
class Descended:
    """What a descent gave: also the terms of its first step, and what was waited for, by batch and step."""

    images: Tensor
    history: list[dict]
    first: dict[str, float]
    waits: list[list[list[Wait]]]

    def within(self) -> list[Wait]:
        """Waits in steps that neither begin nor end a batch."""
        return [wait for batch in self.waits for step in batch[1:-1] for wait in step]


def descend(objective: Objective, position: Position, place: Elsewhere | None = None) -> Descended:
    found = Descended(position.images, position.history, {}, [[] for _ in position.batches])
    for taken in steps(objective, position):
        if place:
            found.waits[taken.batch.number].append(place.waits.copy())
        found.first = found.first or taken.step.values(Ranks())
        if place:
            place.waits.clear()
    return found


def descended(method: Descending, place: Elsewhere | None = None, augment=None, run: Run = Run(2)) -> Descended:  # noqa: B008
    """Set up, with a cache of its own, and take all steps.

    Args:
        augment: in place of the objective's.
    """
    with (
        place or nullcontext(),
        tempfile.TemporaryDirectory() as cache,
        mock.patch.dict(os.environ, UNIDD_CACHE=cache),
    ):
        data, teacher = at(place.device if place else "cpu")
        objective = method.objective(data, teacher, run)
        if augment:
            objective.augment = augment
        position = Position(data, method.start(data, run), method.descent(data), run.seed)
        return descend(objective, position, place)


here = functools.cache(descended)


def check(method: Descending, place: Elsewhere, **options) -> Descended:
    """Assert that a descent elsewhere is the one on the CPU, and that nobody waits within a batch."""
    found, expected = descended(method, place, **options), here(method, **options)
    assert found.within() == []
    assert not isinstance(found.images, Far), "finished images are on the CPU"
    if place.device.type == "meta":  # where there are gradients
        assert found.first == expected.first
        assert torch.equal(found.images, expected.images)
        assert found.history == expected.history
    return found


# ------------------------------------------------------------------------------------------------- nothing is wrong


@pytest.mark.parametrize(("group", "kind"), [*((CHANNELS, kind) for kind in KINDS), (ROWS, "meta")])
@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_every_method_descends_there_as_here(cls, group, kind):
    check(small(cls, group=group), Elsewhere(kind))


@pytest.mark.parametrize(
    ("filter", "signal", "kind"), [*product(FILTERS, SIGNALS, ["meta"]), *product(FILTERS, ["mix"], KINDS[1:])]
)
def test_every_filter_and_signal(filter, signal, kind):
    method = CFM(filter=filter, signal=signal, beta=1.0, steps=3)
    assert check(method, Elsewhere(kind)).first == here(method).first


@pytest.mark.parametrize("emu", [True, False])
@pytest.mark.parametrize("group", [CHANNELS, ROWS])
@pytest.mark.parametrize("signal", SIGNALS)
def test_both_closed_forms_with_and_without_the_moving_update(signal, group, emu):
    """By rows two triangles are solved, by channels none."""
    place = Elsewhere("meta")
    check(CFM(signal=signal, group=group, emu=emu, steps=3), place)
    assert ("linalg_solve_triangular" in place.operations) == (group == ROWS)
    assert "cholesky_inverse" in place.operations


class Summed(Ranks):
    """A single process that sums as one of several does."""

    @property
    def all_sum(self):
        return lambda tensor: tensor


def test_correlations_that_are_summed_over_processes():
    check(CFM(signal="mix", steps=3), Elsewhere("meta"), run=Run(2, ranks=Summed()))


# ------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize(("precision", "kind"), [("float64", "meta"), *product(["bfloat16", "float16"], KINDS[1:])])
def test_every_precision(precision, kind):
    found = descended(CFM(precision=precision, steps=4), Elsewhere(kind))
    assert found.within() == []
    expected = here(CFM(precision=precision, steps=4))
    assert found.first == pytest.approx(expected.first, rel=0.02), "each device has its own list of what is halved"
    assert found.first != here(CFM(steps=4)).first


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_float16_looks_at_its_overflow_every_20_steps(kind):
    (batch,) = descended(CFM(precision="float16", steps=43), Elsewhere(kind), run=Run(1)).waits
    looks = {count: step for count, step in enumerate(batch) if step and 0 < count < len(batch) - 1}
    assert looks == {count: [Wait("_local_scalar_dense", "precision.adapt")] for count in (20, 40)}


# --------------------------------------------------------------------------------------------------- the whole engine


def distilled(place: Elsewhere | None, run: Run, **settings):
    with place or nullcontext():
        data, teacher = at(place.device if place else "cpu")
        return CFM(**{"steps": 6, **settings}).distill(data, teacher, run)


@pytest.mark.slow
def test_the_loss_is_looked_at_every_20_steps_and_at_the_end():
    """Of the last step the engine takes the terms twice: to show them, and to keep them."""
    place = Elsewhere("meta")
    distilled(place, Run(1, progress=True), steps=45)
    assert Counter(wait.asked for wait in place.waits)["descent.values"] == len((20, 40, 45, "kept"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_run_that_was_cut_off_goes_on_there(tmp_path, precision):
    """In the middle of the second batch, with a moving update."""
    place = Elsewhere("meta")
    whole = distilled(place, Run(2), precision=precision)
    with pytest.raises(KeyboardInterrupt):
        distilled(place, Run(2, checkpoint=toys.Interrupted(tmp_path, 3), save_every=4), precision=precision)
    again = distilled(place, Run(2, checkpoint=Checkpoint(tmp_path)), precision=precision)
    assert torch.equal(again.images, whole.images)
    assert again.history == whole.history
    if precision == "float32":
        assert torch.equal(again.images, distilled(None, Run(2)).images)


def test_statistics_that_are_given_may_lie_on_the_cpu():
    data, teacher = at("cpu")
    statistics = real_statistics(
        teacher.model,
        [(data.train.images, data.train.labels)],
        tapped_layers(teacher.model),
        prepare=data.normalise,
    )
    found = distilled(Elsewhere("meta"), Run(1, statistics=statistics))
    assert torch.equal(found.images, distilled(None, Run(1)).images)


def test_the_pass_over_the_real_images_waits_for_nothing():
    """Nor if the images come from the CPU, as from a `DataLoader`."""
    with Elsewhere("meta") as place:
        data, teacher = at(place.device)
        layers, given = tapped_layers(teacher.model), [data.train, toys.data().train] * 2
        data.normalise(data.train.images)  # mean and deviation are worked out once
        place.waits.clear()
        batches = ((split.images, split.labels) for split in given)
        found = real_statistics(teacher.model, batches, layers, "mix", prepare=data.normalise)
        assert place.waits == []
        assert {moments.count for moments in found.values()} == {4 * 20 * n for n in (64, 16, 4)}


@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_a_student_is_trained_there_as_here(crop):
    """To the same weights, and no step waits, nor does an epoch: with one image a class it has one step."""
    weights, waits, config = [], [], TrainConfig(epochs=2, batch=4, crop=crop, cutmix=crop == "resized")
    for place in (None, Elsewhere("meta")):
        with place or nullcontext():
            data, teacher = at(place.device if place else "cpu")
            student = build(ModelConfig(width=4), 3, toys.SIZE, toys.CLASSES).to(data.device)
            inputs = data.normalise(data.train.images)
            before = len(place.waits) if place else 0
            train(student, inputs, data.train.labels, config, teacher=teacher.model if config.cutmix else None)
            waits += place.waits[before:] if place else []
            weights.append([weight.cpu() for weight in student.state_dict().values()] + [accuracy(student, data)])
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*weights, strict=True))
    assert waits == []


# ------------------------------------------------------------------------------------------ images that do not fit it


class Crowded(Elsewhere):
    """A device that has no room for images: how many images of the data are copied to it at a time."""

    def __init__(self):
        super().__init__("meta")
        self.copied: list[int] = []

    def run(self, func, args, kwargs):
        if func is torch.ops.aten._to_copy.default:
            images = args[0]
            if images.dtype == torch.uint8 and images.ndim == 4 and not isinstance(images, Far):
                self.copied.append(len(images))
        return super().run(func, args, kwargs)


@pytest.fixture
def in_parts(monkeypatch):
    """All passes over the toys' 20 images take 7 at a time; no device but the CPU has room for them."""
    for name, module in list(sys.modules.items()):
        if name.startswith("unidd.") and hasattr(module, "real_batch"):
            monkeypatch.setattr(module, "real_batch", lambda *_: 7)
    monkeypatch.setattr(hosted, "free", lambda device: None if device.type == "cpu" else 1)


@pytest.mark.filterwarnings("ignore::unidd.data.remarks.DataNote")
@pytest.mark.parametrize(
    "method",
    [CFM(steps=3), DC(steps=2, net_width=4), RDED(), SpectralHerding()],
    ids=lambda method: method.name,
)
def test_a_method_takes_of_them_what_it_needs(method, in_parts, tmp_path, monkeypatch):
    """To the same images, and never all at once."""
    found, place = [], Crowded()
    for number, where in enumerate((nullcontext(), place)):
        monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / str(number)))
        with where:
            data, teacher = at(place.device if number else "cpu")
            found.append(method.distill(data, teacher, Run(1)))
    assert torch.equal(found[0].images, found[1].images.cpu())
    assert max(place.copied) < len(toys.data().train)


@pytest.mark.filterwarnings("ignore::unidd.data.remarks.DataNote")
def test_a_network_is_trained_and_tested_on_them(in_parts):
    weights, place, config = [], Crowded(), TrainConfig(epochs=2, batch=6)
    for where in (nullcontext(), place):
        with where:
            data = at("cpu" if where is not place else place.device)[0]
            network = build(ModelConfig(width=4), 3, toys.SIZE, toys.CLASSES).to(data.device)
            train(network, data.train.images, data.train.labels, config, prepare=data.normalise)
            weights.append([weight.cpu() for weight in network.state_dict().values()] + [accuracy(network, data)])
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*weights, strict=True))
    assert max(place.copied) == 7


# --------------------------------------------------------------------------------------- what is wrong is found out


def left_behind(x: Tensor) -> Tensor:
    return x * torch.ones(1, 3, 1, 1)


def drawn_there(x: Tensor) -> Tensor:
    return x + torch.rand(x.shape, device=x.device, generator=torch.Generator())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("broken", "message"),
    [(left_behind, "tensors on .* and on the CPU"), (drawn_there, "a generator on the CPU")],
)
def test_a_tensor_on_the_wrong_device_is_found(broken, message, kind):
    with pytest.raises(RuntimeError, match=message):
        descended(CFM(steps=3), Elsewhere(kind), augment=lambda x, *_: broken(x))


WAITS = {
    "a number": (lambda x: x * (1 + 0 * x.detach().max().item()), "_local_scalar_dense"),
    "a condition": (lambda x: x if x.detach().max() < 99 else -x, "_local_scalar_dense"),
    "a list": (lambda x: x * len(x[0, 0, 0].detach().tolist()), "_to_copy"),
    "a copy to the CPU": (lambda x: x + 0 * float(x.detach().cpu().max()), "_to_copy"),
    "a copy to the device": (lambda x: x * torch.ones(1, 3, 1, 1).to(x.device), "_to_copy"),
    "a tensor made there of a list": (lambda x: x * torch.tensor([1.0], device=x.device), "_to_copy"),
    "a tensor made like another": (lambda x: x * x.new_tensor([1.0]), "_to_copy"),
    "copied into": (lambda x: x * torch.empty_like(x).copy_(torch.ones(x.shape)), "copy_"),
    "a mask": (lambda x: x * x.detach()[x.detach() > 0].mean(), "index"),
    "indices on the CPU": (lambda x: x * x.detach()[torch.arange(len(x))].sign(), "index by indices on the CPU"),
    "non-zero": (lambda x: x * len(x.detach().nonzero()), "nonzero"),
    "equality": (lambda x: x if torch.equal(x, x) else -x, "equal"),
    "a factorisation that may fail": (
        lambda x: x * torch.linalg.cholesky(torch.eye(2, device=x.device))[0, 0],
        "_linalg_check_errors",
    ),
    "eigenvectors": (lambda x: x * torch.linalg.eigh(torch.eye(2, device=x.device))[0][0], "_linalg_eigh"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("broken", "operation"), WAITS.values(), ids=WAITS)
def test_a_wait_in_a_step_is_found(broken, operation, kind):
    found = descended(CFM(filter="none", steps=3), Elsewhere(kind), augment=lambda x, *_: broken(x), run=Run(1))
    assert {wait.operation for wait in found.within()} == {operation}
    assert {wait.asked for wait in found.within()} == {"test_devices.<lambda>"}


class Bright(Objective):
    """Descends on the brightness of the images; `wrong` leaves what it compares with on the CPU, or looks at it."""

    def __init__(self, wrong: str = ""):
        self.wrong = wrong

    def begin(self, batch) -> None:
        self.wanted = torch.zeros(1, 3, 1, 1, device="cpu" if self.wrong == "device" else batch.labels.device)

    def step(self, x: Tensor, t: int, generator) -> Step:
        loss = (x - self.wanted).square().mean()
        (gradient,) = torch.autograd.grad(loss, x)
        return Step({"loss": loss}, gradient * (2 if self.wrong == "look" and gradient.isnan().any() else 1))


def bright(place: Elsewhere | None, wrong: str = "") -> Descended:
    with place or nullcontext():
        data, _ = at(place.device if place else "cpu")
        position = Position(data, Start.real(data, 2, 0), Descent(4, 0.1))
        return descend(Bright(wrong), position, place)


def test_an_objective_of_ones_own_is_checked_as_well():
    found = bright(Elsewhere("meta"))
    assert found.within() == []
    assert torch.equal(found.images, bright(None).images)
    assert {wait.asked for wait in bright(Elsewhere("meta"), "look").within()} == {"test_devices.step"}
    with pytest.raises(RuntimeError, match="tensors on meta and on the CPU"):
        bright(Elsewhere("meta"), "device")


def test_a_scale_of_the_loss_on_another_device_is_found():
    """The objective's device is an argument of its own."""
    with Elsewhere("meta") as place:
        data, teacher = at(place.device)
        method = CFM(filter="none", precision="float16", steps=4)

        def take(device) -> None:
            objective = FrequencyMatching(method, 1, teacher.model, {}, lambda x, *_: x * 1, device)
            position = Position(data, method.start(data, Run(1)), method.descent(data))
            assert descend(objective, position, place).within() == []

        with pytest.raises(RuntimeError, match="tensors on meta and on the CPU"):
            take("cpu")
        take(place.device)
