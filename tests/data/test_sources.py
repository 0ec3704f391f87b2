"""Which images are asked for: the same plain values on the command line, in a suite, and on a card."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from unidd.bench.cell import Cell
from unidd.data.datasets import ImageData, Split, load
from unidd.data.sources import Source

RNG = np.random.default_rng(9)


def make_pets(root, sizes=(6, 4, 5)) -> None:
    for name, count in zip(("cat", "dog", "owl"), sizes, strict=True):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(root / name / f"{i}.png")


def test_only_what_is_not_the_default_is_written_down():
    assert Source().options() == {}
    assert Source("digits", classes=("3", "8")).options() == {"classes": ["3", "8"]}
    asked = Source("digits", 8, 3, 0.0, ("3",), "cap")
    assert asked.options() == {"size": 8, "channels": 3, "classes": ["3"], "small": "cap"}
    assert Source.of(json.loads(json.dumps({"dataset": "digits", "model": "convnet", **asked.options()}))) == asked
    assert Source.of({"dataset": "photos", "small": "cap"}, size=None, small=None, dataset="digits").small == "cap"
    assert Source.of({"hold_out": 0.2}, hold_out=0.0).hold_out == 0.0


def test_all_of_it_reaches_the_images(tmp_path):
    make_pets(tmp_path / "pets")
    asked = Source(str(tmp_path / "pets"), 6, 1, 0.4, ("owl", "cat"), "cap")
    data = asked.load()
    assert (data.size, data.channels, data.class_names, data.small) == (6, 1, ("cat", "owl"), "cap")
    assert torch.bincount(data.test.labels).tolist() == [2, 2]
    assert data.fingerprint == load(asked.dataset, **asked.options()).fingerprint == asked.load().fingerprint


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dataset": "cifar11"}, "unknown data set 'cifar11'"),
        ({"dataset": 7}, "dataset must be"),
        ({"size": 0}, "size must be"),
        ({"size": True}, "size must be"),
        ({"channels": 2}, "channels must be"),
        ({"hold_out": 1.5}, "hold-out must be"),
        ({"hold_out": "0.1"}, "hold-out must be"),
        ({"classes": "cat"}, "classes must be a list"),
        ({"small": "drop"}, "small must be one of refuse, cap"),
    ],
)
def test_a_wrong_value_is_an_error_of_the_source_and_of_a_cell(values, said):
    with pytest.raises(ValueError, match=said):
        Source(**values)
    with pytest.raises(ValueError, match=said):
        Cell.of("random", **values)


def test_a_cell_has_it_in_its_parameters(tmp_path):
    plain = Cell.of("random", dataset="digits")
    assert not {"size", "channels", "hold_out", "classes", "small"} & set(plain.parameters()), "as on older cards"
    asked = Cell.of("random", dataset="digits", classes=["3", "8"], channels=3, small="cap")
    assert asked.parameters()["classes"] == ["3", "8"]
    assert Cell.of(**json.loads(json.dumps(asked.parameters()))) == asked
    data = asked.source.load()
    made = asked.distill(0, data)
    assert Source.of(made.config["cell"]).load().fingerprint == data.fingerprint


# ----------------------------------------------------------------------------------------- views of a data set


def test_a_data_set_by_name_takes_the_options_that_fit_it():
    whole = load("digits")
    some = load("digits", classes=[8, "3"], channels=3, size=8)
    assert (some.name, some.class_names, some.channels) == ("digits (3, 8) (colour)", ("3", "8"), 3)
    assert torch.equal(some.train.images, whole.only(["3", "8"]).train.images.repeat(1, 3, 1, 1))
    with pytest.raises(ValueError, match="digits has images of 8 pixels"):
        load("digits", size=16)


def test_only_keeps_the_images_and_renumbers_their_labels():
    whole = load("digits")
    some = whole.only([7, 0, 3, 3])
    assert some.class_names == ("0", "3", "7")
    for part, of in ((some.train, whole.train), (some.test, whole.test)):
        inside = torch.isin(of.labels, torch.tensor([0, 3, 7]))
        assert torch.equal(part.images, of.images[inside])
        assert torch.equal(torch.tensor([0, 3, 7])[part.labels], of.labels[inside])
    assert some.mean != whole.mean, "mean and std are those of its own images"
    assert some.name == "digits (0, 3, 7)"
    assert whole.only(range(9)).name == "digits (9 classes)"
    assert whole.only(range(10)).fingerprint == whole.fingerprint
    with pytest.raises(ValueError, match="no class 'x'"):
        whole.only(["x"])


def test_grey_is_what_pillow_makes_of_colour():
    images = torch.from_numpy(RNG.integers(0, 256, (1500, 3, 4, 4), dtype=np.uint8))
    split = Split(images, torch.arange(1500) % 2)
    grey = ImageData("toy", split, split, ("a", "b")).with_channels(1)
    wanted = [np.asarray(Image.fromarray(array).convert("L")) for array in images.permute(0, 2, 3, 1).numpy()]
    assert np.array_equal(grey.train.images[:, 0].numpy(), np.stack(wanted))
    back = grey.with_channels(3)
    assert torch.equal(back.train.images[:, 2], grey.train.images[:, 0])
    assert grey.with_channels(1) is grey
    five = Split(images[:, :1].repeat(1, 5, 1, 1), split.labels)
    with pytest.raises(ValueError, match="5 channels"):
        ImageData("toy", five, five, ("a", "b")).with_channels(3)


def test_small_and_remarks_are_no_part_of_what_the_data_are():
    data = load("digits")
    assert dataclasses.replace(data, small="cap", remarks={"scaled": 3}).fingerprint == data.fingerprint
