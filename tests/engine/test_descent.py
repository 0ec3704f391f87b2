"""The descent of an objective that can be followed by hand: what the iterator promises, its state, and its errors."""

import contextlib
import itertools
import math
import tempfile
from collections import deque
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from toys import CLASSES, data

from unidd.bench.closure import closure
from unidd.engine import loop
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Descent, Objective, Position, Start, Step, adam, cosine, steps
from unidd.engine.loop import carry_out
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.files import seal, unseal


class Quadratic(Objective):
    """½ ‖x − goal + noise‖², the noise drawn at every step; the goal moves from batch to batch."""

    def __init__(self, noise: float = 0.1):
        self.goal, self.noise, self.calls = torch.tensor(0.3), noise, []

    def begin(self, batch):
        self.batch = batch
        self.calls.append(("begin", batch.number))

    def step(self, x, t, generator):
        self.calls.append(("step", self.batch.number, t))
        gap = x.detach() - self.goal + self.noise * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return Step({"distance": gap.square().sum() / 2, "bias": gap.mean()}, gap, {"goal": float(self.goal)})

    def end(self):
        self.calls.append(("end", self.batch.number))
        self.goal = self.goal + 0.1

    def state(self):
        return {"goal": self.goal}

    def restore(self, state):
        self.goal = state["goal"]


class Bare(Objective):
    """Only what must be there."""

    def begin(self, batch):
        pass

    def step(self, x, t, generator):
        return Step({"size": x.detach().square().sum()}, x.detach().clone())


def begun(ipc: int = 2, group: int = 3, seed: int = 0, ranks: Ranks | None = None, **descent) -> Position:
    """The beginning of a descent; by default of four batches, of 3, 1, 3 and 1 images."""
    descent = Descent(**{"steps": 3, "lr": 0.05} | descent)
    return Position(data(), Start.real(data(), ipc, seed, group), descent, seed, ranks)


def taken(objective: Objective, position: Position, count: int | None = None) -> Position:
    """Take so many steps, or all that are left."""
    deque(itertools.islice(steps(objective, position), count), maxlen=0)
    return position


def assert_same(mine: Position, other: Position) -> None:
    assert torch.equal(mine.images, other.images)
    assert mine.history == other.history
    assert torch.equal(mine.generator.get_state(), other.generator.get_state())


SHAPES = {"ipc": st.integers(1, 3), "group": st.integers(0, CLASSES + 1), "count": st.integers(1, 4)}


# -------------------------------------------------------------------------------------------------- the contract


@given(**SHAPES)
def test_begin_steps_and_end_of_each_batch_come_in_order(ipc, group, count):
    objective = Quadratic()
    position = taken(objective, begun(ipc, group, steps=count))
    assert len(position.batches) == ipc * math.ceil(CLASSES / (group or CLASSES))
    expected = []
    for n in range(len(position.batches)):
        expected += [("begin", n), *(("step", n, t) for t in range(count)), ("end", n)]
    assert objective.calls == expected


@given(**SHAPES)
def test_after_each_yield_the_position_stands_behind_the_step(ipc, group, count):
    objective, position = Quadratic(), begun(ipc, group, steps=count)
    start = position.images.clone()
    assert (position.done, objective.calls) == (0, []), "nothing is done before it is asked for"
    for n, one in enumerate(steps(objective, position), 1):
        assert position.done == n == sum(call[0] == "step" for call in objective.calls), "one step a yield"
        assert one.batch is position.batches[(n - 1) // count]
        assert one.count == (n - 1) % count + 1
        assert one.last == (one.count == count)
        assert (position.batch, position.step) == divmod(n, count)
        assert (position.x is None) == (position.working is None) == one.last
        assert len(position.history) == position.batch
        done = sum(batch.size for batch in position.batches[: position.batch])
        assert not (position.images[:done] == start[:done]).all((1, 2, 3)).any(), "finished images are there"
        assert torch.equal(position.images[done:], start[done:]), "and the others stand at their start"
    assert n == len(position.batches) * count
    assert list(steps(objective, position)) == [], "all are taken"


def test_what_the_objective_says_is_passed_on():
    said = []

    class Noting(Quadratic):
        def step(self, x, t, generator):
            said.append(super().step(x, t, generator))
            return said[-1]

    seen = [one.step for one in steps(Noting(), begun())]
    assert all(mine is other for mine, other in zip(seen, said, strict=True))


def test_the_objective_gets_the_input_its_labels_and_a_generator_of_the_seed():
    seen = []

    class Looking(Quadratic):
        def step(self, x, t, generator):
            seen.append((self.batch, x.detach().clone(), x.requires_grad, generator.initial_seed()))
            return super().step(x, t, generator)

    position = taken(Looking(), begun(seed=5, steps=1))
    for batch, x, differentiable, seed in seen:
        assert torch.equal(x, data().normalise(data().train.images[batch.numbers]))
        assert torch.equal(batch.labels, data().train.labels[batch.numbers])
        assert (differentiable, seed) == (True, 5)
    numbers = torch.cat([batch.numbers for batch, *_ in seen])
    assert torch.equal(numbers, position.start.numbers)


def test_no_steps_leave_the_start_and_ask_nothing(tmp_path):
    objective, position = Quadratic(), begun(steps=0)
    carry_out(objective, position, Run(2, checkpoint=Checkpoint(tmp_path / "run")), {"toy": 1}, "toy")
    assert torch.equal(position.images, data().train.images[position.start.numbers] / 255)
    assert (position.history, position.done, objective.calls) == ([], 0, [])
    assert not (tmp_path / "run").exists()
    few = begun(group=1, steps=0, ranks=Ranks(0, 2))
    assert torch.equal(few.images, begun(group=1).images), "however many processes there are"


def test_the_descent_and_what_carries_it_out_need_no_method():
    assert not [name for name in closure("unidd.engine.loop") if name.startswith("unidd.methods")]


# ------------------------------------------------------------------------------------------------ where it starts


@given(classes=st.integers(1, 9), group=st.integers(0, 10), ipc=st.integers(1, 3), world=st.integers(1, 3))
def test_batches_and_their_slots_are_the_whole_in_order(classes, group, ipc, world):
    per_round = [min(group or classes, classes - k) for k in range(0, classes, group or classes)]
    labels = torch.arange(classes).repeat(ipc)
    numbers = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1)).argsort()
    start = Start(torch.rand(len(labels), 1, 2, 2), labels, numbers, tuple(per_round * ipc), len(per_round))
    if min(per_round) < world:
        with pytest.raises(ValueError, match=f"cannot be shared by {world} processes"):
            list(start.batches(Ranks(0, world), 7))
        return
    place = 0
    for parts in zip(*(start.batches(Ranks(rank, world), 7) for rank in range(world)), strict=True):
        whole = start.numbers[place : place + parts[0].size]
        assert torch.equal(torch.cat([part.numbers for part in parts]), whole)
        for part in parts:
            assert (part.place, part.size, part.steps) == (place, per_round[part.group], 7)
            assert part.number == part.b * len(per_round) + part.group
            assert torch.equal(part.labels, labels[part.numbers])
            assert torch.equal(whole[part.slot[0] :][: len(part.numbers)], part.numbers)
        place += parts[0].size
    assert place == len(numbers)


def test_a_process_enters_with_its_own_images():
    (whole, _), (second, _) = begun().enter(), begun(ranks=Ranks(1, 2), group=2).enter()
    assert torch.equal(second, whole[1:2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_on_their_way_have_the_type_of_the_descent(dtype):
    position = begun(dtype=dtype)
    seen = [position.x.dtype for one in steps(Bare(), position) if not one.last]
    assert seen == [dtype] * 8


def test_floats_and_bytes_are_the_same_images():
    start = Start.real(data(), 2, 0)
    floats = Start(start.images / 255, start.labels, start.numbers, start.sizes)
    one, other = (Position(data(), images, Descent(3, 0.05)) for images in (start, floats))
    assert torch.equal(one.images, other.images)
    assert_same(taken(Quadratic(), one), taken(Quadratic(), other))


def test_more_images_than_are_taken_at_once():
    numbers = torch.arange(2500) % len(data().train)
    start = Start(data().train.images, data().train.labels, numbers, (2500,))
    assert torch.equal(Position(data(), start, Descent(1, 0.1)).images, data().train.images[numbers] / 255)


# ------------------------------------------------------------------------------------------------- how it descends


def test_gradient_descent_by_hand():
    """Without noise a step of rate r brings the gap to the goal down by 1 − r."""
    position = taken(Quadratic(0), begun(lr=0.5, optimizer=torch.optim.SGD, dtype=torch.float64, steps=4))
    rates = [0.5 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    start = data().normalise(data().train.images[position.start.numbers])
    for batch in position.batches:
        whole, goal = slice(batch.place, batch.place + batch.size), 0.3 + 0.1 * batch.number
        expected = goal + (start[whole].double() - goal) * math.prod(1 - rate for rate in rates)
        found = data().normalise(position.images[whole]).double()
        assert torch.allclose(found, expected, atol=1e-5)


@given(steps=st.integers(1, 1000), data=st.data())
def test_the_cosine_falls_from_one_towards_nothing(steps, data):
    t = data.draw(st.integers(0, steps - 1))
    assert cosine(0, steps) == 1
    assert 0 < cosine(t, steps) <= 1
    assert cosine(t + 1, steps) < cosine(t, steps)
    assert cosine(t, steps) + cosine(steps - t, steps) == pytest.approx(1)


def test_each_step_has_the_rate_of_the_schedule():
    asked = []

    def halving(t: int, count: int) -> float:
        asked.append((t, count))
        return 0.5**t

    position = begun(schedule=halving, lr=0.08, steps=4)
    optimizers = []
    for one in steps(Quadratic(), position):
        optimizers = [position.working[1]] if one.count == 1 else optimizers
        assert optimizers[0].param_groups[0]["lr"] == 0.08 * 0.5 ** (one.count - 1)
    assert asked == [(t, 4) for _ in position.batches for t in range(4)]


def test_by_default_it_is_adam_of_the_paper():
    _, optimizer = begun().enter()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["betas"] == (0.5, 0.9)
    assert optimizer.defaults["lr"] == 0.05


class Pushing(Bare):
    """Drives the first channel down and the others up."""

    def step(self, x, t, generator):
        gradient = torch.full_like(x, -1e6)
        gradient[:, 0] = 1e6
        return Step({"nothing": torch.zeros(())}, gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("optimizer", [adam, torch.optim.SGD])
def test_pixels_stay_in_range_after_every_step(dtype, optimizer):
    position = begun(lr=100.0, dtype=dtype, optimizer=optimizer)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (data().mean, data().std))
    for one in steps(Pushing(), position):
        if not one.last:
            pixels = position.x.detach() * std + mean
            assert -1e-6 <= pixels.min() < 1e-6
            assert 1 - 1e-6 < pixels.max() <= 1 + 1e-6
    assert position.images.min() >= 0
    assert position.images.max() <= 1
    assert position.images[:, 0].max() < 1e-6
    assert position.images[:, 1:].min() > 1 - 1e-6
    assert position.images.dtype == torch.float32


# -------------------------------------------------------------------------------------------------- cut off, gone on


def on_disk(state: dict) -> dict:
    """What a state is after it was written and read: tensors, numbers and containers of them, and nobody else's."""
    with tempfile.TemporaryDirectory() as folder:
        seal(state, Path(folder) / "state.pt")
        return unseal(Path(folder) / "state.pt")


def gone_on(objective: Objective, position: Position, fresh: tuple[Objective, Position]) -> None:
    """Take the state of one descent to another that has just begun, and that one to its end."""
    state = on_disk({"position": position.pack(), "objective": objective.state()})
    done = [position.pixels(number).clone() for number in range(position.batch)]
    other, again = fresh
    other.restore(state["objective"])
    again.unpack(state["position"], lambda number: done[number])
    assert again.done == position.done
    taken(other, again)


@given(**SHAPES, at=st.floats(0, 1), seed=st.integers(0, 3), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_cut_off_anywhere_it_goes_on_to_the_same_bits(ipc, group, count, at, seed, dtype):
    task = {"ipc": ipc, "group": group, "seed": seed, "steps": count, "dtype": dtype}
    straight, first, second = Quadratic(), Quadratic(), Quadratic()
    whole = taken(straight, begun(**task))
    part = taken(first, begun(**task), round(at * whole.done))
    again = begun(**task)
    gone_on(first, part, (second, again))
    assert_same(again, whole)
    once = [call for call in straight.calls if call[0] != "begin"]
    assert [call for call in first.calls + second.calls if call[0] != "begin"] == once, "no step twice, none left out"
    if part.batch < len(part.batches):
        assert second.calls[0] == ("begin", part.batch), "also of a batch that goes on in the middle"


class Both(Ranks):
    """Two processes, the other of which has the very same part."""

    @property
    def all_sum(self):
        return lambda tensor: tensor.mul_(2)

    def gather(self, tensor):
        return torch.cat([tensor, tensor])


def shapes(state: dict) -> dict[str, Tensor]:
    return {name: value.shape for name, value in state.items() if isinstance(value, Tensor)}


def test_a_state_has_the_pixels_of_all_processes_and_each_takes_its_own():
    """Two processes write what one would: another number of them can go on from it."""
    alone, shared = begun(group=2), begun(group=2, ranks=Both(0, 2))
    for position in (alone, shared):
        taken(Quadratic(), position, 1)
    mine, theirs = on_disk(alone.pack()), on_disk(shared.pack())
    assert mine["x"].shape == theirs["x"].shape
    assert shapes(mine["optimizer"]) == shapes(theirs["optimizer"])
    second = begun(group=2, ranks=Ranks(1, 2))
    second.unpack(mine, lambda number: pytest.fail("no batch is finished"))
    assert torch.equal(second.x, mine["x"][1:])
    x, optimizer = second.working
    kept = optimizer.state[x]
    assert torch.equal(kept["exp_avg"], mine["optimizer"]["exp_avg"][1:])
    assert torch.equal(kept["step"], mine["optimizer"]["step"])


def test_who_stops_asking_can_ask_again():
    """The same objective and position, with no state between."""
    objective, position = Quadratic(), begun()
    for _ in range(6):
        taken(objective, position, 2)
    assert_same(position, taken(Quadratic(), begun()))


@pytest.mark.parametrize("there", [0, 1, 3, 5])
@pytest.mark.parametrize("back", [0, 1, 3, 4])
def test_a_position_can_be_taken_back_to_a_state(there, back):
    """Of the same batch or an earlier one, between batches or within."""
    objective, position = Quadratic(), begun()
    taken(objective, position, back)
    state = on_disk({"position": position.pack(), "objective": objective.state()})
    taken(objective, position, there)
    objective.restore(state["objective"])
    position.unpack(state["position"], lambda number: position.pixels(number).clone())
    assert position.done == back
    assert_same(taken(objective, position), taken(Quadratic(), begun()))


OPTIMIZERS = {
    "gradient descent": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "AdamW": torch.optim.AdamW,
    "AMSGrad": partial(torch.optim.Adam, amsgrad=True),
    "RMSprop": partial(torch.optim.RMSprop, momentum=0.5, centered=True),
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "Adamax": torch.optim.Adamax,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "Rprop": torch.optim.Rprop,
    "averaged": partial(torch.optim.ASGD, t0=1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_other_optimizers_go_on_to_the_same_bits_too(name):
    task = {"optimizer": OPTIMIZERS[name], "steps": 5, "lr": 0.01}
    whole = taken(Quadratic(), begun(**task))
    assert not torch.equal(whole.images, begun(**task).images)
    for cut in range(1, whole.done, 2):
        objective, again = Quadratic(), begun(**task)
        gone_on(objective, taken(objective, begun(**task), cut), (Quadratic(), again))
        assert_same(again, whole)


def test_the_seed_alone_decides():
    torch.manual_seed(1)
    state, one = torch.get_rng_state(), taken(Quadratic(), begun(seed=3))
    assert torch.equal(torch.get_rng_state(), state), "the global generator belongs to the caller"
    torch.manual_seed(2)
    assert_same(taken(Quadratic(), begun(seed=3)), one)
    other = Position(data(), Start.real(data(), 2, 3, 3), Descent(3, 0.05), seed=4)
    assert not torch.equal(taken(Quadratic(), other).images, one.images), "also from the same images"


# ----------------------------------------------------------------------------------------- what it says of itself


@pytest.mark.parametrize("group", [0, 3])
def test_the_history_has_a_line_a_batch_with_notes_and_terms_of_its_last_step(group):
    position, last = begun(group=group), []
    for one in steps(Quadratic(), position):
        if one.last:
            last.append(one)
    lines = []
    for one in last:
        line = {"b": one.batch.b, "goal": one.step.notes["goal"]}
        line |= {name: term.item() for name, term in one.step.terms.items()}
        lines.append(line | ({"group": one.batch.group} if group else {}))
    assert position.history == lines
    assert [list(line) for line in position.history] == [list(line) for line in lines], "b, notes, terms, group"
    assert [line["goal"] for line in lines] == pytest.approx([0.3 + 0.1 * n for n in range(len(lines))])


def test_a_place_in_words():
    assert begun(group=3).where(3, 2) == "round 1, group 1, step 2"
    assert begun(group=0).where(1, 0) == "round 1, step 0"


def test_partial_terms_are_summed_over_processes_and_others_are_not():
    terms = {"classification": torch.tensor(1.5, requires_grad=True), "filter": torch.tensor(2.0, dtype=torch.float64)}
    step = Step(terms, torch.zeros(1), partial=("classification",))
    assert step.values(Ranks()) == {"classification": 1.5, "filter": 2.0}
    for _ in range(2):
        assert step.values(Both()) == {"classification": 3.0, "filter": 2.0}
    assert terms["classification"].item() == 1.5, "the step's own terms stay"

    class Shared(Quadratic):
        def step(self, x, t, generator):
            said = super().step(x, t, generator)
            return Step(said.terms, said.gradient, partial=("distance",))

    position, last = begun(group=2, ranks=Both(0, 2)), []
    for one in steps(Shared(), position):
        last += [one.step.terms] if one.last else []
    assert [line["distance"] for line in position.history] == [2 * float(terms["distance"]) for terms in last]
    assert [line["bias"] for line in position.history] == [float(terms["bias"]) for terms in last]
    pairs = position.images.unflatten(0, (-1, 2))
    assert torch.equal(pairs[:, 0], pairs[:, 1]), "pixels of all processes are gathered"


def test_the_loss_is_the_weighted_sum_of_the_terms():
    terms = {"a": torch.tensor(1.0, requires_grad=True), "b": torch.tensor(2.0), "c": torch.tensor(4.0)}
    loss = Step(terms, torch.zeros(1), weights={"b": 0.5, "c": 0.0}).loss
    assert (loss.item(), loss.requires_grad) == (2.0, False)


# --------------------------------------------------------------------------------------------------------- errors


class Failing(Quadratic):
    """Raises an error in one step."""

    def __init__(self, error: BaseException, batch: int = 1, t: int = 1):
        super().__init__()
        self.error, self.at = error, (batch, t)

    def step(self, x, t, generator):
        if (self.batch.number, t) == self.at:
            raise self.error
        return super().step(x, t, generator)


@pytest.mark.parametrize(("group", "batch", "place"), [(3, 3, "round 1, group 1, step 2"), (0, 1, "round 1, step 2")])
def test_no_finite_loss_is_one_error_that_says_where(group, batch, place):
    position = begun(group=group)
    with pytest.raises(ValueError, match="no finite loss") as caught:
        taken(Failing(torch.linalg.LinAlgError("not positive definite"), batch, 2), position)
    assert str(caught.value) == f"{place}: no finite loss (not positive definite): lower lr"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "one error, not two"
    assert (position.batch, position.step) == (batch, 2), "it stands before that step"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("mine"), ValueError("mine")], ids=repr)
def test_other_errors_pass_as_they_are(error):
    position = begun()
    with pytest.raises(type(error)) as caught:
        taken(Failing(error), position)
    assert caught.value is error
    taken(Quadratic(), position)
    assert position.done == 12, "and who mends it can go on"


class Spoilt(Quadratic):
    """From some step on a term, or in one step the gradient, is not finite."""

    def __init__(self, t: int, value: float, what: str = "terms"):
        super().__init__(0)
        self.t, self.value, self.what = t, value, what

    def step(self, x, t, generator):
        said = super().step(x, t, generator)
        if self.what == "terms" and t >= self.t:
            said.terms["distance"].fill_(self.value)
        if self.what == "gradient" and t == self.t:
            said.gradient.fill_(self.value)
        return said


def carry(objective: Objective, position: Position, checkpoint: Checkpoint | None = None, **options) -> None:
    carry_out(objective, position, Run(2, checkpoint=checkpoint, **options), {"toy": 1}, "toy")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("count", "t", "found"), [(100, 5, 20), (100, 20, 40), (3, 1, 3), (3, 2, 3), (1, 0, 1), (25, 21, 25)]
)
def test_a_loss_that_is_not_finite_is_found_within_twenty_steps_and_at_the_end(value, count, t, found):
    objective = Spoilt(t, value)
    with pytest.raises(ValueError, match=rf"^round 0, step {found}: the loss is not finite .*lower lr$"):
        carry(objective, begun(group=0, steps=count))
    assert objective.calls.count(("step", 0, found)) == 0, "no step further"


def test_an_error_of_the_loss_shows_the_terms_and_the_group():
    with pytest.raises(ValueError, match=r"round 0, group 0, step 3: .*\{'distance': nan, 'bias': -?\d"):
        carry(Spoilt(0, math.nan), begun())


def test_a_gradient_that_is_not_finite_is_found_in_the_last_step_too():
    with pytest.raises(ValueError, match=r"^round 0, step 3: the gradient is not finite: lower lr$"):
        carry(Spoilt(2, math.nan, "gradient"), begun(group=0))
    with pytest.raises(ValueError, match=r"^round 0, step 20: the loss is not finite"):
        carry(Spoilt(2, math.nan, "gradient"), begun(group=0, steps=30))


@pytest.mark.parametrize(("what", "word"), [("terms", "loss"), ("gradient", "gradient")])
def test_a_state_that_is_not_finite_is_never_kept(tmp_path, what, word):
    """Spoilt in the sixth step, after which a state would be kept: the one before stays."""
    with pytest.raises(ValueError, match=f"round 0, step 6: the {word} is not finite"):
        carry(Spoilt(5, math.nan, what), begun(group=0, steps=12), Checkpoint(tmp_path), save_every=2)
    assert Checkpoint(tmp_path).load({"toy": 1})["position"]["step"] == 4
    position = begun(group=0, steps=12)
    carry(Quadratic(0), position, Checkpoint(tmp_path))
    assert position.images.isfinite().all()


def test_no_image_of_a_spoilt_batch_is_kept(tmp_path):
    with pytest.raises(ValueError, match="the gradient is not finite"):
        carry(Spoilt(2, math.nan, "gradient"), begun(), Checkpoint(tmp_path))
    assert not list(tmp_path.rglob("*.pt"))


# ------------------------------------------------------------------------------------------------- carried out


class Noting(Checkpoint):
    """Notes what is written, and is interrupted before or after the writing of one file."""

    def __init__(self, folder, at: int | None = None, after: bool = False):
        super().__init__(folder)
        self.log, self.at, self.after = [], at, after

    def save(self, state):
        self._note((state["position"]["batch"], state["position"]["step"]), partial(super().save, state))

    def save_batch(self, number, images):
        self._note(number, partial(super().save_batch, number, images))

    def _note(self, what, write):
        if len(self.log) == self.at and not self.after:
            raise KeyboardInterrupt
        write()
        self.log.append(what)
        if len(self.log) - 1 == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("save_every", "log"),
    [
        (0, [0, (1, 0), 1, (2, 0)]),
        (2, [(0, 2), (0, 4), 0, (1, 0), (1, 2), (1, 4), 1, (2, 0)]),
        (5, [0, (1, 0), 1, (2, 0)]),
        (9, [0, (1, 0), 1, (2, 0)]),
    ],
)
def test_images_of_a_batch_are_kept_before_the_state_that_counts_it(tmp_path, save_every, log):
    checkpoint = Noting(tmp_path)
    carry(Quadratic(), begun(group=0, steps=5), checkpoint, save_every=save_every)
    assert checkpoint.log == log


def test_the_state_is_kept_again_when_it_is_old(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_OFTEN", 100.0)
    ticks = iter(range(0, 10_000, 30))
    monkeypatch.setattr(loop, "monotonic", lambda: next(ticks))
    checkpoint = Noting(tmp_path)
    carry(Quadratic(), begun(group=0, steps=10), checkpoint)
    assert checkpoint.log == [(0, 4), (0, 8), 0, (1, 0), (1, 4), (1, 8), 1, (2, 0)]


@pytest.mark.parametrize(("world", "asked"), [(1, 60), (2, 3)])
def test_several_processes_agree_on_it_at_looks_alone(world, asked, monkeypatch):
    """All processes take part in an agreement, so that which steps have one must not go by a clock."""
    made = []
    monkeypatch.setattr(Ranks, "from_first", lambda ranks, work: made.append(work()) or made[-1])
    counted = [SimpleNamespace(count=count) for count in range(1, 61)]
    assert [loop._old(-math.inf, taken, Run(ranks=Ranks(0, world))) for taken in counted].count(True) == asked
    assert len(made) == asked


@pytest.mark.parametrize("after", [False, True])
def test_interrupted_at_any_writing_it_goes_on_to_the_same_bits(tmp_path, after):
    whole, last = begun(steps=2), Noting(tmp_path / "whole")
    carry(Quadratic(), whole, last, save_every=1)
    assert_same(whole, taken(Quadratic(), begun(steps=2)))
    for at in range(len(last.log)):
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            carry(Quadratic(), begun(steps=2), Noting(folder, at, after), save_every=1)
        again = begun(steps=2)
        carry(Quadratic(), again, Noting(folder), save_every=1)
        assert_same(again, whole)


def test_an_objective_that_carries_nothing_over_needs_no_state(tmp_path):
    assert (Bare().state(), Bare().restore({}), Bare().end()) == ({}, None, None)
    with pytest.raises(KeyboardInterrupt):
        carry(Bare(), begun(), Noting(tmp_path, 3, after=True), save_every=1)
    again = begun()
    carry(Bare(), again, Checkpoint(tmp_path))
    assert_same(again, taken(Bare(), begun()))


def test_a_finished_descent_asks_nothing_again(tmp_path):
    first, again, objective = begun(), begun(), Quadratic()
    carry(Quadratic(), first, Checkpoint(tmp_path))
    carry(objective, again, Checkpoint(tmp_path))
    assert_same(again, first)
    assert objective.calls == []


def test_the_state_of_another_run_is_refused_before_any_step(tmp_path):
    carry(Quadratic(), begun(), Checkpoint(tmp_path))
    objective = Quadratic()
    with pytest.raises(ValueError, match="unfinished run with another toy"):
        carry_out(objective, begun(), Run(2, checkpoint=Checkpoint(tmp_path)), {"toy": 2}, "toy")
    assert objective.calls == []


def test_progress_shows_title_notes_and_terms_and_goes_on_where_it_was(tmp_path, capsys, terminal):
    with contextlib.suppress(KeyboardInterrupt):
        carry(Quadratic(), begun(), Noting(tmp_path, 5), save_every=1, progress=True)
    shown = capsys.readouterr()
    assert "going on" not in shown.out
    for word in ("toy", "goal=0.4", "distance=", "bias=", "/12"):
        assert word in shown.err
    carry(Quadratic(), begun(), Noting(tmp_path), save_every=1, progress=True)
    shown = capsys.readouterr()
    assert shown.out == "going on from round 0, group 1, step 1\n"
    assert " 4/12" in shown.err
    assert "12/12" in shown.err
    assert " 3/12" not in shown.err


@pytest.mark.parametrize("options", [{}, {"progress": True, "ranks": Ranks(1, 1)}], ids=["not asked for", "second"])
def test_progress_is_silent_unless_asked_for_and_in_other_processes(tmp_path, capsys, terminal, options):
    with pytest.raises(KeyboardInterrupt):
        carry(Quadratic(), begun(), Noting(tmp_path, 5), save_every=1, **options)
    carry(Quadratic(), begun(), Noting(tmp_path), **options)
    assert capsys.readouterr() == ("", "")


BAD = {"ipc": [0, 1.5, True, "1"], "seed": [-1, 0.5, True], "save_every": [-1, 2.0, False]}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_what_a_run_is_asked_for_is_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*, not {value!r}"):
        Run(**{name: value})
