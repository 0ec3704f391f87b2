"""What every method promises, over every file of the folder, and over the example of "How to add a method"."""

import copy
import dataclasses
import re
import typing
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
import toys
from seeds import assert_only_the_seed_decides

from unidd import methods
from unidd.bench import planning
from unidd.bench.cell import Cell, budgeted
from unidd.bench.measuring import Measured
from unidd.data.datasets import ImageData
from unidd.data.synthetic import SyntheticSet
from unidd.engine import realside
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Position, steps
from unidd.engine.run import Run
from unidd.methods import Descending, Method, Range
from unidd.networks import training
from unidd.networks.trajectories import Experts

EXAMPLES = Path(__file__).resolve().parents[2] / "book" / "examples"


def with_the_example() -> list[type[Method]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        return [*methods.found(), methods.find("mean_matching")]


EVERY = with_the_example()
DESCENDING = [cls for cls in EVERY if issubclass(cls, Descending)]
every = pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.path())
descending = pytest.mark.parametrize("cls", DESCENDING, ids=lambda cls: cls.path())


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))


def small(cls: type[Method], **changes) -> Method:
    """As quick as a method can be."""
    return budgeted(cls, "smoke", **changes)


def run(method: Method, **asked) -> SyntheticSet:
    return method.distill(toys.data(), toys.teacher(), Run(**{"ipc": 2} | asked))


@every
def test_it_says_what_it_is(cls):
    assert cls.source
    assert cls.acts_as
    assert cls.labels in ("hard", "fixed soft", "learnt")
    assert len(cls.summary()) > 20
    assert methods.find(cls.path()) is cls


@every
def test_the_seed_alone_decides(cls):
    def images(seed: int):
        return run(small(cls), seed=seed).images

    if not cls.seeded:
        assert torch.equal(images(3), images(4)), "data and teacher decide alone"
    else:
        assert_only_the_seed_decides(images)


@every
def test_pixels_and_labels_are_those_of_a_set(cls):
    made = run(small(cls))
    assert made.images.min() >= 0
    assert made.images.max() <= 1
    counts = torch.bincount(made.labels, minlength=toys.CLASSES)
    assert counts.tolist() == [2 if cls.has_ipc else 5] * toys.CLASSES
    assert made.config["method"] == cls.__name__.lower()
    assert set(made.config) >= {f.name for f in dataclasses.fields(cls)}


@every
def test_the_teacher_is_untouched(cls):
    teacher = toys.teacher()
    before = copy.deepcopy(teacher.model.state_dict())
    small(cls).distill(toys.data(), teacher, Run(ipc=2))
    assert all(torch.equal(before[name], value) for name, value in teacher.model.state_dict().items())
    assert not any(m._forward_pre_hooks or m._forward_hooks or m._backward_hooks for m in teacher.model.modules())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert not teacher.model.training


@every
def test_more_images_than_a_class_has_is_one_clear_error(cls):
    if cls.has_ipc:
        with pytest.raises(ValueError, match=r"ipc must be 1 … 5"):
            small(cls).check(toys.data(), Run(ipc=6))


def uneven() -> ImageData:
    """Four, one, two and five training images of the classes; what a class lacks is not asked of it."""
    data = toys.data()
    ranks = torch.arange(len(data.train)) // toys.CLASSES  # images of a class, counted
    kept = ranks < torch.tensor([4, 1, 2, 5])[data.train.labels]
    return dataclasses.replace(data, train=data.train.take(kept.nonzero().flatten()), small="cap")


@every
def test_a_class_with_fewer_images_gives_all_it_has_and_again_after_a_kill(cls, tmp_path):
    if not cls.has_ipc:
        return
    asked: dict = {"ipc": 3, "save_every": 1}
    small(cls).check(uneven(), Run(**asked))
    made = small(cls).distill(uneven(), toys.teacher(), Run(**asked))
    assert made.labels.tolist() == [0, 1, 2, 3, 0, 2, 3, 0, 3]
    assert made.ipc == 3
    if issubclass(cls, Descending):
        longer = small(cls, steps=4)  # a batch may be all there is
        made = longer.distill(uneven(), toys.teacher(), Run(**asked))
        for after in (3, 4):
            folder = tmp_path / str(after)
            broken, again = (
                Run(**asked, checkpoint=toys.Interrupted(folder, after)),
                Run(**asked, checkpoint=Checkpoint(folder)),
            )
            with pytest.raises(KeyboardInterrupt):
                longer.distill(uneven(), toys.teacher(), broken)
            again = longer.distill(uneven(), toys.teacher(), again)
            assert torch.equal(again.images, made.images)
            assert again.history == made.history


def wrong_values(cls: type[Method]):
    """(field, value) for every hyper-parameter: a wrong type, each side of a range, no such choice."""
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        if name not in {f.name for f in dataclasses.fields(cls)}:
            continue
        yield name, object()
        options = [hint, *typing.get_args(hint)]
        for bounds in (part for option in options for part in getattr(option, "__metadata__", ())):
            if isinstance(bounds, Range):
                yield from ((name, bounds.low - 1), (name, float("nan")))
                yield from ((name, bounds.high + 1),) if bounds.high < float("inf") else ()
        if typing.get_origin(hint) is typing.Literal:
            yield name, "no such choice"


@every
def test_a_bad_hyper_parameter_is_one_clear_error_that_names_it(cls):
    for name, value in wrong_values(cls):
        with pytest.raises(ValueError, match=name):
            cls(**{name: value})


@descending
def test_killed_and_resumed_it_gives_the_same_bits(cls, tmp_path):
    method = small(cls, steps=3)
    whole = run(method)
    for after in range(1, 4):
        folder = tmp_path / str(after)
        with pytest.raises(KeyboardInterrupt):
            run(method, checkpoint=toys.Interrupted(folder, after), save_every=1)
        again = run(method, checkpoint=Checkpoint(folder), save_every=1)
        assert torch.equal(again.images, whole.images)
        assert again.history == whole.history


@every
def test_it_starts_from_a_set_or_says_that_it_does_not(cls):
    start = SyntheticSet.from_real(toys.data(), 2, seed=5)
    if not issubclass(cls, Descending):
        with pytest.raises(ValueError, match="leave out the set to start from"):
            small(cls).check(toys.data(), Run(ipc=2, start=start))
        return
    assert torch.equal(run(small(cls, steps=0), start=start).images, start.images)
    made = run(small(cls), start=start)
    assert torch.equal(made.images, run(small(cls), start=start).images)
    assert not torch.equal(made.images, run(small(cls)).images)
    assert made.config["start"]["sha256"] == start.sha256


def larger() -> ImageData:
    """The same images at twice the size: a ConvNet of three blocks leaves one pixel of 8×8, and its norm no slope."""
    data = toys.data()
    images = data.train.images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    split = dataclasses.replace(data.train, images=images)
    return dataclasses.replace(data, train=split, test=split)


@descending
def test_its_own_loss_falls(cls):
    """Over the same sixteen draws, what 60 steps made has a lower loss than what they started from."""
    data, teacher, asked = toys.data() if cls.needs_teacher else larger(), toys.teacher(), Run(ipc=1)
    far = {"init": "noise"} if "init" in {f.name for f in dataclasses.fields(cls)} else {}  # real ones match already
    method = small(cls, steps=60, **far)
    before, after = (Position(data, method.start(data, asked), method.descent(data)) for _ in range(2))
    assert sum(1 for _ in steps(method.objective(data, teacher, asked), after)) == 60

    def loss(pixels) -> float:
        objective = method.objective(data, teacher, asked)  # one that has learnt nothing of the other images
        objective.begin(before.batches[0])
        x, generator = data.normalise(pixels).requires_grad_(), torch.Generator().manual_seed(7)
        return sum(float(objective.step(x, 0, generator).loss) for _ in range(16)) / 16

    assert loss(after.images) < 0.99 * loss(before.images)


@descending
def test_what_to_do_about_a_loss_that_is_not_finite_is_said_with_names_that_the_method_has(cls):
    objective = small(cls).objective(toys.data(), toys.teacher(), Run(ipc=2))
    there = {field.name for field in dataclasses.fields(cls)}
    assert {name for name in ("lr", "beta", "ridge") if name in re.split(r"\W+", objective.remedy)} <= there


@descending
def test_a_loss_that_is_not_finite_is_one_clear_error(cls, tmp_path):
    if not cls.needs_teacher:
        return  # pixels are clipped, and nothing else comes from outside
    teacher = toys.teacher()
    teacher.model[-1].bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        small(cls).distill(toys.data(), teacher, Run(ipc=1, checkpoint=Checkpoint(tmp_path / "run")))
    with suppress(FileNotFoundError):
        assert not list((tmp_path / "run").rglob("state.pt")), "no state of it is kept"


class Counting:
    """Counts what a run does where it does it: steps of descent and of training, and images that a network sees beside.

    A look at whether a network fits is no part of it, nor what an objective does at first, which is measured whole.
    """

    def __init__(self, cls: type[Method], patch: pytest.MonkeyPatch):
        self.counts, self.within, self.depth = Counter(), 0, 0
        patch.setattr(training, "_loss", self.told("trained", training._loss))
        patch.setattr(Experts, "_step", self.told("trained", Experts._step))
        patch.setattr(training.Teacher, "check", self.told("checked", training.Teacher.check))
        patch.setattr(realside, "check_network", self.told("checked", realside.check_network))
        if issubclass(cls, Descending):
            original = cls.objective

            def objective(method, *args):
                make = original if method.real_signal else self.told("set up", original)
                made = make(method, *args)
                made.step, made.begin = self.told("steps", made.step), self.told("begun", made.begin)
                return made

            patch.setattr(cls, "objective", objective)

    def told(self, name: str, function):
        """Return the function, whose calls are counted; what networks see within them is not."""

        def called(*args, **options):
            self.counts[name] += 1
            self.within += 1
            try:
                return function(*args, **options)
            finally:
                self.within -= 1

        return called

    def enter(self, module, inputs):
        if not self.depth and not self.within:
            self.counts["seen"] += len(inputs[0])
        self.depth += 1

    def leave(self, module, inputs, output):
        self.depth -= 1

    @contextmanager
    def watching(self):
        hooks = torch.nn.modules.module
        handles = [
            hooks.register_module_forward_pre_hook(self.enter),
            hooks.register_module_forward_hook(self.leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


COUNTED = {"steps": "trained", "images": "seen", "crops": "seen", "classes": "classes"}


@every
def test_a_trial_does_as_much_as_it_says_and_keeps_nothing(cls, monkeypatch, tmp_path):
    method, counting = small(cls), Counting(cls, monkeypatch)
    for part in method.parts(toys.data(), toys.teacher(), Run(ipc=2)):
        part.trial()  # the first may look at more, once for all
        before, kept = counting.counts.copy(), set(tmp_path.rglob("*"))
        with counting.watching():
            part.trial()
        done = counting.counts - before
        assert part.unit == "classes" or done == Counter({COUNTED[part.unit]: part.each})
        assert set(tmp_path.rglob("*")) == kept


@every
def test_what_is_planned_is_what_a_run_does(cls, monkeypatch):
    for name, found in {
        "measure_steps": Measured(),
        "measure_real_side": (Measured(), {}),
        "measure_part": Measured(parts=(0.0,)),
        "measure_finish": Measured(),
        "release_memory": None,
    }.items():
        monkeypatch.setattr(planning, name, lambda *_, found=found: found)
    cell = Cell(small(cls), ipc=2 if cls.has_ipc else None, budget="smoke")
    _, work = planning.measure(cell, cell.run(0), toys.data(), brought=toys.teacher())
    counting = Counting(cls, monkeypatch)
    with counting.watching():
        made = cell.method.distill(toys.data(), toys.teacher(), cell.run(0))
    planned = Counter(steps=work.batches * work.steps, seen=work.real_images)
    for _, count, unit in work.parts:
        planned[COUNTED[unit]] += count
    assert planned.pop("classes", toys.CLASSES) == toys.CLASSES
    assert planned == Counter({name: counting.counts[name] for name in ("steps", "trained", "seen")})
    assert work.images == len(made)
