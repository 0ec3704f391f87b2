"""The search for a recipe: what is held out, and that nothing of the test images is looked at."""

import dataclasses

import pytest
import torch
import toys

from unidd.bench.cell import Cell
from unidd.bench.search import lines, tried, validation
from unidd.data.datasets import Split


class Forbidden(torch.Tensor):
    """Whatever is asked of it is an error."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        raise AssertionError("the test images were looked at")


def guarded(data):
    """Data whose test split cannot be looked at."""
    split = Split(data.test.images.as_subclass(Forbidden), data.test.labels.as_subclass(Forbidden))
    object.__setattr__(found := dataclasses.replace(data), "test", split)
    return found


def rows(split):
    return {bytes(image.numpy().tobytes()) for image in split.images}


def test_images_are_held_out_of_every_class_and_of_training():
    data = toys.data()
    found = validation(data, seed=1, share=0.4)
    assert not rows(found.train) & rows(found.test)
    assert rows(found.train) | rows(found.test) == rows(data.train)
    assert set(found.test.labels.tolist()) == set(range(data.classes))
    assert rows(validation(data, seed=2, share=0.4).test) != rows(found.test)


def test_at_least_one_image_of_a_class_is_held_out_and_one_is_left():
    data = toys.data()
    for share in (0.0, 1.0):
        found = validation(data, share=share)
        for split in (found.train, found.test):
            assert torch.bincount(split.labels, minlength=data.classes).min() > 0
    few = data.train.take(torch.cat([(data.train.labels > 0).nonzero().flatten(), torch.tensor([0])]))
    with pytest.raises(ValueError, match="single training image"):
        validation(dataclasses.replace(data, train=few))


@pytest.mark.parametrize("asked", [{"method": "random"}, {"method": "pool", "protocol": "dsa"}, {"method": "lfm"}])
def test_a_search_never_looks_at_the_test_images(asked):
    with pytest.raises(AssertionError, match="looked at"):
        guarded(toys.data()).test.images.float()
    cell = Cell.of(**asked, budget="smoke", dataset="digits", ipc=1, seeds=[0])
    found = tried(cell, guarded(toys.data()), 0, progress=False)
    assert all(0 <= value <= 100 for value in found["accuracy"].values())


def test_all_that_was_tried_is_a_line_the_best_first():
    rows = [
        {"name": name, "method": "pool", "beta": 2.0, "seed": seed, "accuracy": {"hard": hard}, "seconds": 60.0}
        for name, values in (("a", [30.0, 32.0]), ("b", [40.0, 41.0]))
        for seed, hard in enumerate(values)
    ]
    shown = lines({"rows": rows})
    assert list(shown.index) == ["b", "a"]
    assert shown.loc["a"].to_dict() == {"hard": 31.0, "n": 2, "to make": "1 min 0 s", "asked": "beta 2.0"}
