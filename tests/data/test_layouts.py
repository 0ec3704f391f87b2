"""Tiny-ImageNet and ImageNet as their archives unpack: every picture with its class, what is missing in one line."""

import csv
import shutil

import numpy as np
import pytest
import scipy.io
from PIL import Image

from unidd.data import layouts
from unidd.data.datasets import load, source_fingerprint
from unidd.data.layouts import class_names, imagenet, recognised, tiny_imagenet

pytestmark = pytest.mark.filterwarnings("ignore::unidd.data.remarks.DataNote")
WNIDS = ["n02000001", "n01000003", "n03000002"]  # as wnids.txt has them, not sorted
SORTED = sorted(WNIDS)
WORDS = {"n01000003": "crane", "n02000001": "tench, Tinca tinca", "n03000002": "crane"}


def shade(wnid, number):
    """Each picture has one value, which tells class and number."""
    return 60 * SORTED.index(wnid) + 10 * number


def write(path, value, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(path, quality=100)


@pytest.fixture
def tiny(tmp_path):
    """Two training images of each class, and three to validate, whose names say nothing."""
    root = tmp_path / "tiny-imagenet-200"
    for wnid in WNIDS:
        for i in range(2):
            write(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", shade(wnid, i))
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
    lines = []
    for i, wnid in enumerate([WNIDS[2], WNIDS[0], WNIDS[1]]):
        write(root / "val" / "images" / f"val_{i}.JPEG", shade(wnid, 5))
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t0\t9\t9\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    (root / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in WORDS.items()))
    return root


@pytest.fixture
def large(tmp_path):
    """ImageNet's folders, with the validation images in val/<wnid>/."""
    root = tmp_path / "imagenet"
    for wnid in WNIDS:
        for i in range(2):
            write(root / "train" / wnid / f"{wnid}_{i}.JPEG", shade(wnid, i))
        write(root / "val" / wnid / f"ILSVRC2012_val_{SORTED.index(wnid):08}.JPEG", shade(wnid, 5))
    return root


def side_by_side(root, order=(2, 0, 1)):
    """Move validation images to val/ itself; returns name → wnid, in the order of the names."""
    answers = {}
    for number, k in enumerate(order, 1):
        (old,) = (root / "val" / SORTED[k]).iterdir()
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        shutil.move(old, root / "val" / name)
        (root / "val" / SORTED[k]).rmdir()
        answers[name] = SORTED[k]
    return answers


def kaggle(root, answers):
    with open(root / "LOC_val_solution.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        for name, wnid in reversed(answers.items()):
            rows.writerow([name.removesuffix(".JPEG"), f"{wnid} 85 1 499 272 {wnid} 1 2 3 4 "])
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} {words}\n" for wnid, words in WORDS.items()))


def kit(root, answers, folder="."):
    """The ground truth numbers the classes in an order of its own, and has classes that others are made of."""
    numbers = {wnid: k for k, wnid in enumerate(WNIDS, 1)} | {"n00001740": 4}
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    synsets = np.array([(k, w, "", "", 0 if w in WNIDS else 3) for w, k in numbers.items()], kind)
    (root / folder).mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(root / folder / "meta.mat", {"synsets": synsets})
    truth = "".join(f"{numbers[answers[name]]}\n" for name in sorted(answers))
    (root / folder / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)


def assert_right(listing):
    """By the values of the pixels, which no layout changes."""
    for pairs, numbers in ((listing.train, (0, 1)), (listing.test, (5,))):
        found = [(round(np.asarray(Image.open(file)).mean() / 10) * 10, label) for file, label in pairs]
        assert sorted(found) == sorted((shade(w, i), k) for k, w in enumerate(SORTED) for i in numbers)


# ---------------------------------------------------------------------------------------------------- Tiny-ImageNet


def test_tiny_imagenet_is_read_by_its_annotations(tiny):
    listing = tiny_imagenet(tiny)
    assert_right(listing)
    assert listing.class_names == ("crane (n01000003)", "tench", "crane (n03000002)")


def test_tiny_imagenet_is_a_data_set_by_name_and_by_path(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(layouts.SIZES, "tiny-imagenet", 8)
    data = load("tiny-imagenet", tmp_path)
    assert (data.name, data.channels, data.size, len(data.train), len(data.test)) == ("tiny-imagenet", 3, 8, 6, 3)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (data.train.images[3].float().mean() - shade(SORTED[1], 1)).abs() < 2
    by_path = load(str(tiny))
    assert (by_path.name, by_path.fingerprint) == (data.name, data.fingerprint)
    monkeypatch.setenv("UNIDD_DATA", str(tmp_path))
    some = load("tiny-imagenet", size=4, channels=1, classes=["tench", 2])
    assert (some.class_names, some.channels, some.size) == (("tench", "crane (n03000002)"), 1, 4)
    assert some.test.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="test images of its own"):
        load("tiny-imagenet", hold_out=0.1)
    with pytest.raises(ValueError, match="test images of its own"):
        load(str(tiny), hold_out=0.1)


def test_validation_images_that_someone_sorted_count_too(tiny):
    lines = (tiny / "val" / "val_annotations.txt").read_text().splitlines()
    for name, wnid in (line.split("\t")[:2] for line in lines):
        (tiny / "val" / wnid / "images").mkdir(parents=True)
        shutil.move(tiny / "val" / "images" / name, tiny / "val" / wnid / "images" / name)
    (tiny / "val" / "val_annotations.txt").unlink()
    (tiny / "val" / "images").rmdir()
    assert_right(tiny_imagenet(tiny))
    assert recognised(tiny)[0] == "tiny-imagenet"


def test_hidden_and_other_files_do_not_count(tiny):
    folder = tiny / "train" / WNIDS[0] / "images"
    for name in ("._n02000001_0.JPEG", "Thumbs.db", ".DS_Store", "list.txt"):
        (folder / name).write_bytes(b"nothing")
    (tiny / "train" / ".ipynb_checkpoints").mkdir()
    (tiny / "__MACOSX").mkdir()
    assert_right(tiny_imagenet(tiny))


TINY_LACKS = {
    "everything": (lambda root: shutil.rmtree(root), FileNotFoundError, r"train has no folders of classes.*unpack"),
    "train": (lambda root: shutil.rmtree(root / "train"), FileNotFoundError, "train has no folders of classes"),
    "a class": (lambda root: shutil.rmtree(root / "train" / WNIDS[0]), FileNotFoundError, f"lacks {WNIDS[0]} of wnids"),
    "a class's images": (
        lambda root: [file.unlink() for file in (root / "train" / WNIDS[1] / "images").iterdir()],
        FileNotFoundError,
        f"{WNIDS[1]} without pictures",
    ),
    "annotations": (
        lambda root: (root / "val" / "val_annotations.txt").unlink(),
        FileNotFoundError,
        "val_annotations.txt is missing: unpack",
    ),
    "an image": (lambda root: (root / "val" / "images" / "val_1.JPEG").unlink(), FileNotFoundError, "lacks val_1.JPEG"),
    "a line's class": (
        lambda root: (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\n"),
        ValueError,
        "val_0.JPEG listed without a class",
    ),
    "a class in wnids.txt": (
        lambda root: (root / "wnids.txt").write_text("\n".join(WNIDS[:2])),
        ValueError,
        f"has {WNIDS[2]} that wnids.txt has not",
    ),
}


@pytest.mark.parametrize("lacks", TINY_LACKS)
def test_what_tiny_imagenet_lacks_is_one_line(tiny, lacks):
    damage, error, words = TINY_LACKS[lacks]
    damage(tiny)
    with pytest.raises(error, match=words) as said:
        tiny_imagenet(tiny)
    assert "\n" not in str(said.value)


def test_images_without_an_annotation_are_counted(tiny):
    write(tiny / "val" / "images" / "val_77.JPEG", 3)
    listing = tiny_imagenet(tiny)
    assert_right(listing)
    assert dict(listing.remarks) == {"skipped without a class": 1}


# --------------------------------------------------------------------------------------------------------- ImageNet


def test_imagenet_in_folders(large):
    listing = imagenet(large)
    assert_right(listing)
    assert listing.class_names == tuple(SORTED), "no file has words for them"


def test_imagenet_with_kaggles_answers(large):
    kaggle(large, side_by_side(large))
    listing = imagenet(large)
    assert_right(listing)
    assert listing.class_names == ("crane (n01000003)", "tench", "crane (n03000002)")


def test_imagenet_as_kaggle_unpacks(large, tmp_path):
    kaggle(large, side_by_side(large))
    inner = tmp_path / "whole" / "ILSVRC" / "Data" / "CLS-LOC"
    inner.mkdir(parents=True)
    for name in ("train", "val"):
        shutil.move(large / name, inner / name)
    for name in ("LOC_val_solution.csv", "LOC_synset_mapping.txt"):
        shutil.move(large / name, tmp_path / "whole" / name)
    assert_right(imagenet(tmp_path / "whole"))
    name, listing = recognised(tmp_path / "whole")
    assert name == "imagenet"
    assert listing.class_names[1] == "tench"


@pytest.mark.parametrize("folder", [".", "val", "ILSVRC2012_devkit_t12/data"])
def test_imagenet_with_the_development_kit(large, folder):
    kit(large, side_by_side(large), folder)
    assert_right(imagenet(large))


def test_imagenet_is_a_data_set_by_name(large, tmp_path):
    kaggle(large, side_by_side(large))
    data = load("imagenet", tmp_path, size=6)
    assert (data.name, data.size, data.test.labels.tolist()) == ("imagenet", 6, [0, 1, 2])
    assert data.remarks == {"scaled": 9}
    assert load(str(large), size=6).fingerprint == data.fingerprint
    assert load("imagenet", tmp_path, classes=[1]).size == 224


IMAGENET_LACKS = {
    "everything": (lambda root: shutil.rmtree(root), "train has no folders of classes"),
    "validation": (lambda root: shutil.rmtree(root / "val"), "val has no images: put the images in"),
    "answers": (side_by_side, "nothing says which classes .* LOC_val_solution.csv, or ILSVRC2012"),
    "half of the kit": (
        lambda root: (kit(root, side_by_side(root)), (root / "meta.mat").unlink()),
        "nothing says which classes",
    ),
    "an image of the kit": (
        lambda root: (kit(root, side_by_side(root)), next(root.glob("val/*.JPEG")).unlink()),
        "has 3 lines, .* 2 images",
    ),
    "an image": (
        lambda root: (kaggle(root, side_by_side(root)), (root / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()),
        "lacks ILSVRC2012_val_00000002.JPEG of the 3 images",
    ),
    "a class": (lambda root: shutil.rmtree(root / "train" / WNIDS[0]), f"{WNIDS[0]} of the validation images"),
}


@pytest.mark.parametrize("lacks", IMAGENET_LACKS)
def test_what_imagenet_lacks_is_one_line(large, lacks):
    damage, words = IMAGENET_LACKS[lacks]
    damage(large)
    with pytest.raises((FileNotFoundError, ValueError), match=words) as said:
        imagenet(large)
    assert "\n" not in str(said.value)


# ---------------------------------------------------------------------------------------------------- which it is


def test_a_common_folder_is_neither(large, tmp_path):
    assert recognised(large) is None, "train/<class>/ and val/<class>/ are any folder's"
    for part in ("train/cat", "test/cat"):
        write(tmp_path / "pets" / part / "1.png", 9)
    assert recognised(tmp_path / "pets") is None
    assert recognised(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({}, ("n01", "n02")),
        ({"n01": "a, b", "n02": "c"}, ("a", "c")),
        ({"n01": "a, b", "n02": "a, c"}, ("a, b", "a, c")),
        ({"n01": "a", "n02": "a, c"}, ("a (n01)", "a, c")),
        ({"n01": "a", "n02": "a"}, ("a (n01)", "a (n02)")),
        ({"n01": " ", "n02": ", c"}, ("n01", "n02")),
    ],
)
def test_no_two_classes_have_one_name(words, names):
    assert class_names(["n01", "n02"], words) == names


def test_a_name_is_a_source_that_stays_and_a_folder_one_that_changes(tiny):
    assert source_fingerprint("tiny-imagenet") == "tiny-imagenet"
    before = source_fingerprint(str(tiny))
    assert source_fingerprint(str(tiny)) == before
    write(tiny / "val" / "images" / "val_0.JPEG", 99)
    assert source_fingerprint(str(tiny)) != before
