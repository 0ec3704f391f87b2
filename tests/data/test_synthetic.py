"""A synthetic set on disk: bit for bit, whole or not at all, and every kind of damage is one clear error."""

import hashlib
import json
import math
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as dump_tensors
from sets import NAMES, assert_same, make, pixels

from unidd.data.datasets import ImageData, Split
from unidd.data.synthetic import SyntheticSet

# ------------------------------------------------------------------------------------------ save and load


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, channels):
    extremes = pixels(channels=channels)
    extremes[0, 0, 0, :4] = torch.tensor([0.0, 1.0, 1e-40, math.nextafter(1, 0)])
    original = make(channels=channels, images=extremes)
    assert original.save(tmp_path / "a" / "set") == tmp_path / "a" / "set"
    assert_same(SyntheticSet.load(tmp_path / "a" / "set"), original)
    assert sorted(p.name for p in (tmp_path / "a" / "set").iterdir()) == ["card.json", "images.safetensors"]


def test_soft_labels_are_kept_and_a_set_without_them_is_as_before(tmp_path):
    soft = torch.tensor([[0.5, -1e-40, 3.0, 0.1]]).repeat(8, 1)
    assert_same(SyntheticSet.load(make(soft=soft).save(tmp_path / "a")), make(soft=soft))
    assert load_file(make().save(tmp_path / "b") / "images.safetensors").keys() == {"images", "labels"}
    assert SyntheticSet.load(tmp_path / "b").soft is None


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_soft_labels_in_place_of_labels(kind):
    soft = torch.rand(8, 4).to(kind)
    found = make(labels=soft)
    assert torch.equal(found.labels, soft.argmax(1))
    assert torch.equal(found.soft, soft.float())


@pytest.mark.parametrize(
    ("soft", "message"),
    [
        (torch.rand(8, 3), r"float32 \(8, 4\)"),
        (torch.rand(7, 4), r"float32 \(8, 4\)"),
        (torch.rand(8), r"float32 \(8, 4\)"),
        (torch.rand(8, 4).double(), "float32"),
        (torch.full((8, 4), math.nan), "soft labels contain NaN"),
    ],
)
def test_soft_labels_that_do_not_fit(soft, message):
    with pytest.raises(ValueError, match=message):
        make(soft=soft)


def test_the_card_is_plain_json_that_says_everything(tmp_path):
    card = json.loads((make().save(tmp_path) / "card.json").read_text(), parse_constant=pytest.fail)
    assert card["class_names"] == list(NAMES)
    assert card["mean"] == [0.1, 0.2, 1 / 3]
    assert card["config"]["beta"] == 0.1
    assert card["teacher"]["hash"] == "abc"
    assert card["shape"] == [8, 3, 6, 6]
    assert set(card["versions"]) >= {"unidd", "torch", "torchvision"}
    assert card["sha256"] == hashlib.sha256((tmp_path / "images.safetensors").read_bytes()).hexdigest()


def test_memory_layouts_do_not_matter(tmp_path):
    strided = torch.stack([torch.arange(8) % 4] * 2, 1)[:, 0]
    awkward = make(images=pixels().to(memory_format=torch.channels_last), labels=strided)
    assert_same(SyntheticSet.load(awkward.save(tmp_path)), make())


def test_saving_again_replaces(tmp_path):
    make(seed=1).save(tmp_path)
    make(seed=2).save(tmp_path)
    assert_same(SyntheticSet.load(tmp_path), make(seed=2))


@pytest.mark.parametrize("failing", ["write_bytes", "write_text", "replace"])
def test_a_failure_while_saving_leaves_the_earlier_set_whole(tmp_path, monkeypatch, failing):
    make(seed=1).save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os if failing == "replace" else type(tmp_path), failing, fail)
        with pytest.raises(OSError, match="disk full"):
            make(seed=2).save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert_same(SyntheticSet.load(tmp_path), make(seed=1))


def test_death_between_the_two_files_is_noticed(tmp_path, monkeypatch):
    make(seed=1).save(tmp_path)
    original, calls = os.replace, []

    def once(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", once)
        with pytest.raises(KeyboardInterrupt):
            make(seed=2).save(tmp_path)
    with pytest.raises(ValueError, match="does not belong"):
        SyntheticSet.load(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.json", "images.safetensors"]


def test_where_nothing_can_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            make().save(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_an_os_error(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError):
        make().save(tmp_path)


# ------------------------------------------------------------------------------------------------- damage


@pytest.fixture
def saved(tmp_path):
    return make().save(tmp_path / "set")


@pytest.mark.parametrize("name", ["card.json", "images.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        SyntheticSet.load(saved)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SyntheticSet.load(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 2000, -1])
def test_a_truncated_tensor_file_is_an_error_that_names_it(saved, keep):
    path = saved / "images.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"images\.safetensors"):
        SyntheticSet.load(saved)


def test_one_flipped_bit_is_noticed(saved):
    payload = bytearray((saved / "images.safetensors").read_bytes())
    payload[-200] ^= 1
    (saved / "images.safetensors").write_bytes(payload)
    with pytest.raises(ValueError, match="does not belong"):
        SyntheticSet.load(saved)


def test_the_card_of_another_set_is_noticed(saved, tmp_path):
    other = make(seed=1).save(tmp_path / "other")
    shutil.copy(other / "card.json", saved / "card.json")
    with pytest.raises(ValueError, match="does not belong"):
        SyntheticSet.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"sha256": 1', "\x00"])
def test_a_damaged_card_is_named(saved, text):
    (saved / "card.json").write_text(text)
    with pytest.raises(ValueError, match=r"card\.json is damaged"):
        SyntheticSet.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["a", "b", "c"]}, "class name"),
        ({"mean": [0.5]}, "means"),
        ({"std": [0.5] * 4}, "stds"),
        ({"teacher": ...}, "lacks teacher"),
        ({"class_names": ..., "history": ...}, "lacks class_names, history"),
    ],
)
def test_a_card_that_says_something_else_than_its_tensors(saved, changes, message):
    card = json.loads((saved / "card.json").read_text()) | changes
    (saved / "card.json").write_text(json.dumps({k: v for k, v in card.items() if v is not ...}))
    with pytest.raises(ValueError, match=message):
        SyntheticSet.load(saved)


def with_value(value: float) -> torch.Tensor:
    images = pixels()
    images[3, 1, 2, 4] = value
    return images


LABELS = torch.arange(8) % 4
BAD = [
    (with_value(math.nan), LABELS, "NaN"),
    (with_value(math.inf), LABELS, "NaN or infinite"),
    (with_value(-1e-6), LABELS, r"\[0, 1\]"),
    (with_value(1 + 1e-6), LABELS, r"\[0, 1\]"),
    (pixels()[0], LABELS, "n, C, H, W"),
    (pixels()[:7], LABELS, "n, C, H, W"),
    (pixels(), LABELS[:, None], "n, C, H, W"),
    (pixels()[:0], LABELS[:0], "n, C, H, W"),
    (pixels(), LABELS + 1, "class name"),
    (pixels(), LABELS - 1, "class name"),
    (pixels()[:, :2], LABELS, "2 channels"),
    (pixels().double(), LABELS, "float32"),
    ((pixels() * 255).byte(), LABELS, "float32"),
    (pixels(), LABELS.float(), "int64"),
]


@pytest.mark.parametrize(("images", "labels", "message"), BAD)
def test_tensors_that_are_no_set_are_refused_when_made_and_when_loaded(saved, images, labels, message):
    with pytest.raises(ValueError, match=message):
        make(images=images, labels=labels)
    payload = dump_tensors({"images": images.contiguous(), "labels": labels.contiguous()})
    (saved / "images.safetensors").write_bytes(payload)
    card = json.loads((saved / "card.json").read_text()) | {"sha256": hashlib.sha256(payload).hexdigest()}
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=message):
        SyntheticSet.load(saved)


# ------------------------------------------------------------------------------------------- a part of a set


def numbered(labels: list[int], **changes):
    """Every image has its number as its value."""
    values = (torch.arange(len(labels)) / 255).view(-1, 1, 1, 1).expand(-1, 3, 6, 6).contiguous()
    return make(images=values, labels=torch.tensor(labels), **changes)


def which(found) -> list[int]:
    return (found.images[:, 0, 0, 0] * 255).round().int().tolist()


@pytest.mark.parametrize(
    ("labels", "ipc", "expected"),
    [
        ([0, 1, 2, 3] * 3, 2, list(range(8))),
        ([0, 1, 2, 3] * 3, 3, list(range(12))),
        ([0] * 3 + [1] * 3 + [2] * 3 + [3] * 3, 1, [0, 3, 6, 9]),
        ([3, 3, 0, 1, 1, 2, 0, 2], 1, [0, 2, 3, 5]),
        ([0, 1, 2, 3, 0, 2, 2], 2, [0, 1, 2, 3, 4, 5]),
    ],
    ids=["rounds", "all", "class by class", "mixed", "uneven"],
)
def test_the_first_images_of_each_class(labels, ipc, expected):
    soft = torch.rand(len(labels), 4)
    found = numbered(labels, soft=soft).first(ipc)
    assert which(found) == expected
    assert found.labels.tolist() == [labels[i] for i in expected]
    assert torch.equal(found.soft, soft[expected])
    assert found.config["first"] == ipc
    assert found.config["method"] == "cfm"


def test_the_history_is_that_of_these_rounds():
    history = [{"b": b, "group": g} for b in range(3) for g in range(2)]
    assert numbered([0, 1, 2, 3] * 3, history=history).first(2).history == history[:4]


def test_a_set_of_fewer_images_has_the_same_first_ones(data):
    whole = SyntheticSet.from_real(data, 4, seed=1)
    assert torch.equal(whole.first(2).images, SyntheticSet.from_real(data, 2, seed=1).images)


@pytest.mark.parametrize("ipc", [0, -1, 4, 1.5, "2", None])
def test_no_such_first_images(ipc):
    with pytest.raises(ValueError, match="a set of 3 images per class has no first"):
        numbered([0, 1, 2, 3] * 3).first(ipc)


@pytest.mark.parametrize(
    ("classes", "names", "expected", "labels"),
    [
        (["zebra", "2"], ("zebra", "2"), [1, 3, 5, 7], [0, 1, 0, 1]),
        (["2", "T-shirt/top"], ("T-shirt/top", "2"), [0, 3, 4, 7], [0, 1, 0, 1]),
        ([2], ("10",), [2, 6], [0, 0]),
        (NAMES, NAMES, list(range(8)), [0, 1, 2, 3] * 2),
    ],
    ids=["two", "in the order of the set", "by number", "all"],
)
def test_the_images_of_some_classes(classes, names, expected, labels):
    logits = torch.randn(8, 4)
    found = numbered([0, 1, 2, 3] * 2, soft=logits).only(classes)
    assert found.class_names == names
    assert which(found) == expected
    assert found.labels.tolist() == labels
    assert torch.equal(found.soft, logits[expected][:, [NAMES.index(name) for name in names]])
    assert found.config["only"] == list(names)


def test_probabilities_of_some_classes_are_those_among_them():
    soft = torch.softmax(torch.randn(8, 4), 1)
    found = numbered([0, 1, 2, 3] * 2, soft=soft).only(["zebra", "2"])
    assert torch.allclose(
        found.soft, soft[[1, 3, 5, 7]][:, [1, 3]] / soft[[1, 3, 5, 7]][:, [1, 3]].sum(1, keepdim=True)
    )
    assert torch.allclose(found.soft.sum(1), torch.ones(4))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "must be a list of names or numbers"),
        ("zebra", "must be a list of names or numbers, not 'zebra'"),
        (["zebra", "horse"], "there is no class 'horse'"),
        (["zebras"], "did you mean 'zebra'"),
        ([4], "there is no class 4"),
        ([-1], "there is no class -1"),
    ],
)
def test_no_such_classes(classes, message):
    with pytest.raises(ValueError, match=message):
        make().only(classes)


def test_classes_without_an_image():
    with pytest.raises(ValueError, match="no image of zebra"):
        numbered([0, 2, 3, 3]).only(["zebra"])


def test_parts_of_a_set_are_saved_and_loaded(tmp_path):
    part = make(n=12, soft=torch.randn(12, 4)).first(2).only(["zebra", "10"])
    assert_same(SyntheticSet.load(part.save(tmp_path)), part)
    assert part.counts == [2, 2]


def test_the_hash_is_that_of_the_file(tmp_path):
    for n, soft in ((8, None), (12, torch.rand(12, 4))):
        original = make(n=n, soft=soft)
        path = original.save(tmp_path / str(n)) / "images.safetensors"
        assert original.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert SyntheticSet.load(path.parent).sha256 == original.sha256


# --------------------------------------------------------------------------------- real images and preview


@pytest.fixture
def data() -> ImageData:
    """Classes of 6, 4 and 5 images; every image has a value of its own."""
    labels = torch.tensor([0] * 6 + [1] * 4 + [2] * 5)
    values = torch.arange(15, dtype=torch.uint8).view(-1, 1, 1, 1).expand(15, 1, 2, 2).contiguous()
    test = Split(values[[0, 6, 10]] + 100, labels[[0, 6, 10]])
    return ImageData("toy", Split(values, labels), test, ("a", "b", "c"))


def test_random_real_images_are_training_images_of_each_class_in_rounds(data):
    result = SyntheticSet.from_real(data, 4, seed=1)
    assert result.labels.tolist() == [0, 1, 2] * 4
    values = (result.images[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(data.train.labels[values], result.labels)
    assert len(set(values.tolist())) == 12, "none twice"
    assert (result.mean, result.std, result.class_names) == (data.mean, data.std, data.class_names)


def test_a_smaller_choice_is_the_start_of_a_larger_one_and_the_seed_decides(data):
    torch.manual_seed(0)
    large = SyntheticSet.from_real(data, 4, seed=1).images
    torch.manual_seed(1)
    assert torch.equal(SyntheticSet.from_real(data, 2, seed=1).images, large[:6])
    assert not torch.equal(SyntheticSet.from_real(data, 4, seed=2).images, large)


@pytest.mark.parametrize("ipc", [0, -1, 5])
def test_more_images_than_the_smallest_class_has(data, ipc):
    with pytest.raises(ValueError, match=r"1 … 4"):
        SyntheticSet.from_real(data, ipc)


def test_the_preview_shows_a_class_a_row(data):
    picture = np.asarray(make(n=12).preview(columns=10, scale=2))
    assert picture.shape == (2 * (4 * 7 + 1), 2 * (3 * 7 + 1), 3)
    first = make(n=12).images[5]  # class 1, second image: second row, second column
    cell = picture[2 * 8 : 2 * 14 : 2, 2 * 8 : 2 * 14 : 2]
    assert np.abs(cell / 255 - first.permute(1, 2, 0).numpy()).max() < 1 / 254
    assert np.asarray(make(n=12).preview(columns=2, scale=1)).shape[1] == 2 * 7 + 1


def test_the_preview_of_one_image_a_class_is_a_row():
    assert make(n=4).preview(scale=1).size == (4 * 7 + 1, 7 + 1)
    assert make(n=4, channels=1).preview(columns=3, scale=1).size == (3 * 7 + 1, 2 * 7 + 1)
    assert make(n=3).preview(scale=1).size == (3 * 7 + 1, 7 + 1)
