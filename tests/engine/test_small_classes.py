"""Classes with fewer images than are asked for: refused with what to say, or each gives all it has."""

import dataclasses

import pytest
import torch
import toys
from hypothesis import given
from hypothesis import strategies as st

from unidd.bench.cell import Cell, evaluate
from unidd.bench.planning import Work, measure
from unidd.data.datasets import ImageData, Split
from unidd.data.synthetic import SyntheticSet, choose
from unidd.engine.descent import Start
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods.cfm import CFM


def uneven(sizes: list[int], small: str = "cap") -> ImageData:
    """So many training images of each class, in an order that mixes them; each image holds its number."""
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    images = torch.arange(len(labels)).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).byte()
    test = Split(images[:1], labels[:1])
    return ImageData("uneven", Split(images, labels), test, tuple(map(str, range(len(sizes)))), small=small)


SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(sizes=SIZES, ipc=st.integers(1, 6), seed=st.integers(0, 5))
def test_rounds_have_the_classes_that_still_have_images(sizes, ipc, seed):
    data = uneven(sizes)
    numbers = choose(data, ipc, seed)
    wanted = [k for b in range(ipc) for k, size in enumerate(sizes) if b < size]
    assert data.train.labels[numbers].tolist() == wanted
    assert len(set(numbers.tolist())) == len(numbers), "no image twice"


@given(sizes=SIZES, seed=st.integers(0, 5))
def test_where_all_classes_are_large_enough_nothing_is_different(sizes, seed):
    least = min(sizes)
    assert torch.equal(choose(uneven(sizes), least, seed), choose(uneven(sizes, "refuse"), least, seed))


def test_by_default_a_small_class_is_refused_with_what_to_say():
    with pytest.raises(ValueError, match=r"ipc must be 1 … 2, .* not 3; --small cap"):
        choose(uneven([4, 2], "refuse"), 3)
    for ipc in (0, -1):
        with pytest.raises(ValueError, match=rf"ipc must be 1 … 2, .* not {ipc}$"):
            choose(uneven([4, 2]), ipc)


def test_a_number_for_each_class():
    data = uneven([4, 2, 3], "refuse")
    assert data.train.labels[choose(data, [1, 0, 3])].tolist() == [0, 2, 2, 2]
    assert torch.equal(choose(data, [2, 2, 2], 3), choose(data, 2, 3))
    for wrong in ([5, 0, 0], [0, 0, 0], [1, -1, 1]):
        with pytest.raises(ValueError, match="ipc must be"):
            choose(data, wrong)


@given(sizes=SIZES, ipc=st.integers(1, 6), group=st.integers(0, 7))
def test_a_batch_holds_the_classes_of_its_group_that_have_images_left(sizes, ipc, group):
    data = uneven(sizes)
    start = Start.real(data, ipc, 0, group)
    width = group or len(sizes)
    expected = []
    for b in range(ipc):
        for g in range(-(-len(sizes) // width)):
            inside = [k for k in range(g * width, min((g + 1) * width, len(sizes))) if b < sizes[k]]
            expected += [(b, g, inside)] if inside else []
    found = [(batch.b, batch.group, batch.labels.tolist()) for batch in start.batches(Ranks(), 1)]
    assert found == expected
    assert [start.place(n) for n in range(len(found))] == [(b, g) for b, g, _ in expected]


def test_a_round_that_processes_cannot_share_is_refused_before_work():
    with pytest.raises(ValueError, match="cannot be shared by 2 processes"):
        CFM(steps=2).check(uneven([3, 1]), Run(ipc=2, ranks=Ranks(0, 2)))


def test_the_history_says_round_and_class_group():
    data = dataclasses.replace(toys.data(), small="cap")
    kept = (torch.arange(len(data.train)) < 8) | (data.train.labels == 3)
    data = dataclasses.replace(data, train=data.train.take(kept.nonzero().flatten()))  # 2, 2, 2 and 5 images
    made = CFM(steps=1, group=2).distill(data, toys.teacher(), Run(ipc=4))
    assert [(entry["b"], entry["group"]) for entry in made.history] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (3, 1)]
    assert made.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 3, 3]
    assert made.config["ipc"] == 4


def test_it_is_saved_shown_and_evaluated(tmp_path):
    made = SyntheticSet.from_real(uneven([4, 1, 2]), 3)
    again = SyntheticSet.load(made.save(tmp_path / "set"))
    assert again.labels.tolist() == [0, 1, 2, 0, 2, 0]
    assert again.ipc == 3
    assert again.preview().size[1] > again.preview(scale=1).size[1]
    found = evaluate(again, uneven([4, 1, 2]), seeds=[0], budget="smoke", progress=False)
    assert 0 <= found["hard"][0] <= 100


def test_the_plan_counts_the_images_there_are(monkeypatch):
    cell = Cell.of("random", dataset="digits", ipc=500, small="cap", classes=["3", "8"])
    data = cell.source.load()
    work: Work = measure(cell, cell.run(0), data)[1]
    assert work.images == len(data.train) < 1000
