"""Folders as people have them: what counts as a class and as a picture, and what is said of the rest."""

import os
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unidd.data.datasets import from_folder, load, source_fingerprint
from unidd.data.folders import chosen, listed, visible
from unidd.data.remarks import DataNote, sentence

RNG = np.random.default_rng(3)


def put(root, *names: str, size: int = 8, colour: bool = True) -> None:
    """Pictures, all different, by relative path; a number after a star says how many."""
    for name in names:
        name, _, count = name.partition("*")
        for i in range(int(count or 1)):
            path = root / (f"{name}/{i}.png" if count else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (size, size, 3) if colour else (size, size)
            Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)


def split(root, **options):
    """The data set, and the one line that was said of it."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        data = from_folder(root, **options)
    notes = [str(note.message) for note in seen if note.category is DataNote]
    assert len(notes) <= 1
    return data, notes[0] if notes else ""


def counts(data) -> list[list[int]]:
    return [torch.bincount(part.labels, minlength=data.classes).tolist() for part in (data.train, data.test)]


# -------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize("test", ["test", "val", "valid", "validation", "Test", "VAL"])
@pytest.mark.parametrize("train", ["train", "Train"])
def test_the_usual_names_of_splits(tmp_path, train, test):
    put(tmp_path, f"{train}/cat*3", f"{train}/dog*2", f"{test}/cat*1", f"{test}/dog*2")
    data, note = split(tmp_path)
    assert counts(data) == [[3, 2], [1, 2]]
    assert (data.class_names, note) == (("cat", "dog"), "")


def test_test_comes_before_the_others_and_those_are_said_to_be_left_aside(tmp_path):
    put(tmp_path, "train/a*2", "test/a*1", "val/a*3", "extra/a*1")
    data, note = split(tmp_path)
    assert counts(data) == [[2], [1]]
    assert note.endswith("left aside: extra/, val/")


def test_a_test_folder_without_classes_is_none(tmp_path):
    put(tmp_path, "train/a*2", "test/0.png", "val/a*3")
    data, note = split(tmp_path)
    assert counts(data) == [[2], [3]]
    assert "left aside: test/" in note


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_without_a_test_split_part_of_every_class_is_held_out(tmp_path, prefix):
    put(tmp_path, f"{prefix}cat*20", f"{prefix}dog*5", f"{prefix}owl*2")
    with pytest.raises(FileNotFoundError, match=r"--hold-out 0\.1 \(hold_out=0\.1 in Python\)"):
        from_folder(tmp_path)
    data, _ = split(tmp_path, hold_out=0.2)
    assert counts(data) == [[16, 4, 1], [4, 1, 1]], "a fifth of every class, but at least one"
    images = {part.numpy().tobytes() for part in torch.cat([data.train.images, data.test.images])}
    assert len(images) == 27, "every picture in one of them"
    again, other = (split(tmp_path, hold_out=0.2, seed=seed)[0] for seed in (0, 1))
    assert again.fingerprint == data.fingerprint != other.fingerprint


def test_what_is_held_out_of_a_class_does_not_depend_on_the_others(tmp_path):
    put(tmp_path, "cat*9", "dog*6", "owl*7")
    (data, _), (some, _) = (split(tmp_path, hold_out=0.3, classes=names) for names in ((), ["owl", "cat"]))
    assert some.fingerprint == data.only(["cat", "owl"]).fingerprint


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 10, float("nan")])
def test_what_is_held_out_is_a_fraction(tmp_path, fraction):
    put(tmp_path, "cat*9")
    with pytest.raises(ValueError, match="fraction below 1"):
        from_folder(tmp_path, hold_out=fraction)


def test_nothing_is_held_out_where_there_is_a_test_split_or_nothing_would_be_left(tmp_path):
    put(tmp_path / "whole", "train/a*2", "val/a*3")
    with pytest.raises(ValueError, match="val/: leave out hold-out"):
        from_folder(tmp_path / "whole", hold_out=0.1)
    put(tmp_path / "single", "cat*4", "dog*1")
    with pytest.raises(ValueError, match=r"class 'dog', 1 images, leaves none"):
        from_folder(tmp_path / "single", hold_out=0.1)
    with pytest.raises(ValueError, match="digits has test images of its own"):
        load("digits", hold_out=0.1)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["0.png", "1.png"], "its pictures are in no class folders"),
        (["test/cat/0.png"], "has test/ but no train/"),
        (["pets/train/cat/0.png", "pets/test/cat/0.png"], "only holds the folder pets: say"),
        (["train/0.png", "test/cat/0.png"], "in no class folders"),
        (["train/cat/0.png", "Train/cat/0.png", "test/cat/0.png"], "which"),
    ],
)
def test_a_folder_that_is_laid_out_otherwise_says_how(tmp_path, files, said):
    put(tmp_path, *files)
    with pytest.raises((ValueError, FileNotFoundError), match=said) as caught:
        from_folder(tmp_path, hold_out=0.0)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        from_folder(tmp_path / "elsewhere")


# ------------------------------------------------------------------------------------------------- classes


def test_a_class_is_one_whatever_the_form_of_its_letters(tmp_path):
    composed, parts = (unicodedata.normalize(form, "chouette à lunettes") for form in ("NFC", "NFD"))
    assert composed != parts
    put(tmp_path, f"train/{composed}*2", "train/zebra*1", f"test/{parts}*1", "test/zebra*1")
    data, _ = split(tmp_path)
    assert data.class_names == (composed, "zebra")
    assert split(tmp_path, classes=[parts])[0].class_names == (composed,)
    put(tmp_path, f"train/{parts}*1")
    with pytest.raises(ValueError, match="two folders whose names are the same letters"):
        from_folder(tmp_path)


def test_splits_with_other_classes_name_the_difference_and_at_most_five_of_it(tmp_path):
    names = [f"n{k:03d}" for k in range(200)]
    for name in names:
        put(tmp_path, f"train/{name}/0.png", size=1)
        if name > "n006":
            put(tmp_path, f"val/{name}/0.png", size=1)
    put(tmp_path, "val/new/0.png", size=1)
    with pytest.raises(ValueError, match="differ") as caught:
        from_folder(tmp_path)
    wanted = "only in train/: n000, n001, n002, n003, n004, … (7 in all); only in val/: new"
    assert wanted in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_class_without_pictures_is_named(tmp_path):
    put(tmp_path, "train/cat*1", "test/cat*1")
    (tmp_path / "train" / "dog").mkdir()
    (tmp_path / "train" / "dog" / "list.csv").write_text("0")
    with pytest.raises(ValueError, match=r"train/dog has no pictures"):
        from_folder(tmp_path)
    assert split(tmp_path, classes=["cat"])[0].class_names == ("cat",)


def test_in_a_folder_of_classes_what_has_no_pictures_is_left_aside(tmp_path):
    put(tmp_path, "cat*3", "dog*3")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "run.py").write_text("")
    data, note = split(tmp_path, hold_out=0.3)
    assert data.class_names == ("cat", "dog")
    assert note.endswith("6 pictures: 1 file skipped (.py 1); left aside: scripts/")


def test_some_classes_by_name_or_number_keep_their_order(tmp_path):
    put(tmp_path, *(f"{part}/{name}*2" for part in ("train", "test") for name in ("10", "2", "cat", "owl")))
    whole, _ = split(tmp_path)
    for classes in (["owl", "2"], [3, "2"], ["3", "2"], (1, 3)):
        some, _ = split(tmp_path, classes=classes)
        assert some.class_names == ("2", "owl")
        assert some.fingerprint == whole.only(classes).fingerprint
        assert some.name == whole.only(classes).name == f"{tmp_path.name} (2, owl)"
    assert some.train.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(some.train.images, whole.train.images[[2, 3, 6, 7]])


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["cta"], "no class 'cta': did you mean 'cat'"),
        ([7], "no class 7: choose from cat, dog, or 0 … 1"),
        ([-1], "no class -1"),
        ([True], "no class True"),
        (["2"], "no class '2'"),
    ],
)
def test_a_class_that_is_not_there(wanted, said):
    with pytest.raises(ValueError, match=said):
        chosen(["cat", "dog"], wanted)


# ---------------------------------------------------------------------------------------- what does not count

HIDDEN = [
    ".ipynb_checkpoints/0-checkpoint.png",
    "._0.png",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "__MACOSX/._0.png",
    "@eaDir/0.png",
]


def test_hidden_and_companion_files_never_count(tmp_path):
    put(tmp_path, "train/cat*2", "train/dog*2", "test/cat*1", "test/dog*1")
    before, note = split(tmp_path)
    fingerprint = source_fingerprint(str(tmp_path))
    assert note == ""
    for place in ("", "train", "train/cat", "test/dog"):
        for name in HIDDEN:
            path = tmp_path / place / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"not for us")
    after, note = split(tmp_path)
    assert after.fingerprint == before.fingerprint
    assert (note, dict(after.remarks)) == ("", {})
    assert source_fingerprint(str(tmp_path)) == fingerprint


def test_other_files_are_skipped_and_counted_by_ending(tmp_path):
    put(tmp_path, "train/cat*2", "test/cat*1")
    for name in ("train/cat/a.txt", "train/cat/b.TXT", "train/cat/deep/c.json", "test/cat/notes", "train/labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    data, note = split(tmp_path)
    assert len(data.train) == 2
    assert note.endswith("3 pictures: 5 files skipped (.csv 1, .txt 2, .json 1, without an ending 1)")


@pytest.mark.parametrize("name", ["x.heic", "x.SVG", "x.png", "x.jpeg"])
def test_a_picture_that_cannot_be_read_is_never_skipped(tmp_path, name):
    put(tmp_path, "train/cat*2", "test/cat*1")
    (tmp_path / "train" / "cat" / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=name):
        from_folder(tmp_path)
    with pytest.raises(ValueError, match=name):
        from_folder(tmp_path, size=8, channels=3)


def test_pictures_of_all_endings_and_depths_of_folders_are_taken_in_order(tmp_path):
    put(tmp_path, "train/a/9.PNG", "train/a/1.tif", "train/a/b/c/0.gif", "train/a/b/5.webp", "test/a/0.bmp")
    files = [Path(file).relative_to(tmp_path).as_posix() for file, _ in listed(tmp_path).train]
    assert files == ["train/a/1.tif", "train/a/9.PNG", "train/a/b/5.webp", "train/a/b/c/0.gif"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path / "store", "0.png", "1.png")
    put(tmp_path / "set", "train/cat*1", "test/cat*1")
    os.symlink(tmp_path / "store", tmp_path / "set" / "train" / "dog")
    os.symlink(tmp_path / "store", tmp_path / "set" / "test" / "dog")
    os.symlink(tmp_path / "set", tmp_path / "store" / "round")
    data, _ = split(tmp_path / "set", classes=["dog"])
    assert len(data.train) == len(list(visible(tmp_path / "set" / "train" / "dog"))) >= 2
    os.symlink(tmp_path / "gone.png", tmp_path / "set" / "train" / "cat" / "z.png")
    with pytest.raises(ValueError, match=r"z\.png cannot be read \(No such file"):
        from_folder(tmp_path / "set", classes=["cat"])


# ------------------------------------------------------------------------------------------ grey, size, remarks


def test_files_that_are_all_grey_are_grey_and_one_in_colour_makes_all_colour(tmp_path):
    put(tmp_path, "train/a*2", "test/a*1", colour=False)
    data, note = split(tmp_path)
    assert (data.channels, note) == (1, "")
    put(tmp_path, "test/a/colour.png")
    data, note = split(tmp_path)
    assert (data.channels, dict(data.remarks)) == (3, {"grey to colour": 3})
    data, note = split(tmp_path, channels=1)
    assert (data.channels, dict(data.remarks)) == (1, {"colour to grey": 1})
    assert data.name == f"{tmp_path.name} (grey)"


def test_one_line_says_what_was_done(tmp_path):
    put(tmp_path, "train/a*2", "test/a*1")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "train/a/z.jpg", exif=exif)
    Image.new("RGBA", (8, 8)).save(tmp_path / "train/a/y.png")
    data, note = split(tmp_path, size=8)
    expected = {"turned": 1, "cropped": 1, "scaled": 1, "transparency on white": 1}
    assert dict(data.remarks) == expected
    assert note.startswith(f"{tmp_path.name}, 5 pictures: ")
    assert all(f"{count} {word}" in note for word, count in expected.items())
    assert "remarks={" in repr(data)


def test_nothing_done_is_nothing_said():
    assert sentence("pets", 10, Counter()) == ""


def test_headers_are_not_read_where_size_and_channels_are_told(tmp_path, monkeypatch):
    put(tmp_path, "train/a*2", "test/a*1")
    plain, _ = split(tmp_path)
    monkeypatch.setattr("unidd.data.pictures.look", lambda path: pytest.fail("looked at"))
    told, _ = split(tmp_path, size=8, channels=3)
    assert told.fingerprint == plain.fingerprint


@pytest.mark.parametrize("options", [{"size": 0}, {"size": -3}, {"size": 2.5}, {"channels": 2}, {"channels": 0}])
def test_an_option_out_of_range_is_an_error(tmp_path, options):
    put(tmp_path, "train/a*2", "test/a*1")
    (name,) = options
    with pytest.raises(ValueError, match=name):
        from_folder(tmp_path, **options)
    with pytest.raises(ValueError, match=name):
        load("digits", **options)
