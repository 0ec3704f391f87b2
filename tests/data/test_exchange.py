"""Sets in the formats of others: an image folder keeps what 8 bits can, in order, and damage is one clear error."""

import csv
import json
import os
import re
import shutil
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image
from sets import NAMES, assert_same, make
from torchvision.datasets import ImageFolder

from unidd.data.exchange import from_imagefolder, to_imagefolder
from unidd.data.exchange_names import folder_names


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_folder_keeps_all_but_half_a_grey_level(tmp_path, channels):
    original = make(n=11, channels=channels)
    back = from_imagefolder(to_imagefolder(original, tmp_path / "out"))
    assert_same(original, back, images=False)
    assert (original.images - back.images).abs().max() <= 1 / 510 + 1e-6
    assert_same(back, from_imagefolder(to_imagefolder(back, tmp_path / "again")))


def test_more_than_ten_images_of_a_class_keep_their_order(tmp_path):
    steps = (torch.arange(120) / 255).view(-1, 1, 1, 1).expand(120, 3, 2, 2)
    back = from_imagefolder(
        to_imagefolder(make(images=steps.contiguous(), labels=torch.arange(120) // 30), tmp_path / "out")
    )
    assert torch.equal((back.images[:, 0, 0, 0] * 255).round(), torch.arange(120.0))


CLASSES = [
    ("T-shirt/top", "Trouser", "Pullover", "Dress"),
    tuple(map(str, range(12))),
    ("10", "2", "Zebra", "apple"),
    ("apple", "Zebra", "b", "c"),
    ("a/b", "a-b", "CON", "..", "", "dots...", "space ", ".hidden"),
    ("nul.txt", "x", "y", "z"),
    ("Cat", "cat", "CAT", "dog"),
    ("caf\u00e9", "cafe\u0301", "z", "zz"),
    ("fish", "steam train", "test", "valid"),
    ("a\\b", "c:d", "e?", "tab\there"),
    ("x" * 300, "x" * 299 + "y", "狗", "m²"),
    tuple(f"class {k}" for k in range(101)),
]


def natural(name: str) -> list:
    """The order of timm's readers: lower case, and numbers as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name.lower())]


@pytest.mark.parametrize("names", CLASSES, ids=lambda names: names[0][:12])
def test_every_reader_gives_the_labels_of_the_card(tmp_path, names):
    original = make(n=2 * len(names), class_names=names, labels=torch.arange(2 * len(names)) % len(names))
    to_imagefolder(original, tmp_path / "out")
    folder = ImageFolder(tmp_path / "out")
    assert len(folder) == len(original)
    assert sorted(folder.classes, key=natural) == sorted(folder.classes) == folder.classes
    assert len({unicodedata.normalize("NFKD", name).casefold() for name in folder.classes}) == len(names)
    for path, label in folder.samples:
        i = int(os.path.basename(path)[:5])
        assert label == int(original.labels[i])
        assert np.array_equal(
            np.asarray(Image.open(path)), (original.images[i] * 255).round().byte().permute(1, 2, 0).numpy()
        )
    for name in folder.classes:
        assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
        assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
        assert name == name.rstrip(". ")
        assert len(name.encode()) < 255
        assert not name.startswith(".")
    back = from_imagefolder(tmp_path / "out")
    assert torch.equal(back.labels, original.labels)
    assert back.class_names == names


@pytest.mark.parametrize(
    "names", [("airplane", "automobile", "bird"), ("n01440764", "n01443537", "n02102040"), ("0", "1", "2")]
)
def test_names_that_sort_right_stay_as_they_are(names):
    assert folder_names(names) == list(names)


def test_the_labels_file_says_which_file_is_what(tmp_path):
    original = make()
    with open(to_imagefolder(original, tmp_path / "out") / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == original.labels.tolist()
    assert [row["class"] for row in rows] == [NAMES[k] for k in original.labels.tolist()]
    assert all((tmp_path / "out" / row["file"]).is_file() for row in rows)


def test_soft_labels_go_with_the_folder(tmp_path):
    original = make(soft=torch.randn(8, 4))
    folder = to_imagefolder(original, tmp_path / "out")
    assert_same(original, from_imagefolder(folder), images=False)
    next(folder.glob("*/00002.png")).unlink()
    assert torch.equal(from_imagefolder(folder).soft, original.soft[[0, 1, 3, 4, 5, 6, 7]])
    (folder / "soft.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"soft\.safetensors is damaged"):
        from_imagefolder(folder)


def edited(folder, edit):
    """The set of a folder after an edit, and what it says of that."""
    paths = {int(p.stem): p for p in folder.glob("*/*.png")}
    edit(paths)
    back = from_imagefolder(folder)
    return back, back.config.get("import", {}).get("changed")


def swap(first, second):
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


@pytest.mark.parametrize(
    ("edit", "labels", "said"),
    [
        (lambda p: p[2].unlink(), [0, 1, 3, 0, 1, 2, 3], "1 removed"),
        (lambda p: shutil.copy(p[4], p[4].parent / "another.png"), [0, 1, 2, 3] * 2 + [0], "1 added"),
        (lambda p: swap(p[1], p[5]), [0, 1, 2, 3] * 2, "2 in another order"),
        (lambda p: Image.new("RGB", (6, 6)).save(p[3]), [0, 1, 2, 3] * 2, "1 with other pixels"),
        (lambda p: p[6].rename(p[6].with_name("mine.png")), [0, 1, 2, 3] * 2, "1 renamed"),
        (lambda p: p[0].rename(p[1].parent / p[0].name), [1, 1, 2, 3, 0, 1, 2, 3], "1 moved to another class"),
        (lambda p: Image.open(p[7]).convert("RGBA").save(p[7]), [0, 1, 2, 3] * 2, None),
        (lambda p: (p[0].parent / "._00000.png").write_bytes(b"companion"), [0, 1, 2, 3] * 2, None),
    ],
    ids=["removed", "added", "swapped", "painted", "renamed", "moved", "saved with alpha", "companion file"],
)
def test_a_folder_that_someone_edited(tmp_path, edit, labels, said):
    original = make()
    back, changed = edited(to_imagefolder(original, tmp_path / "out"), edit)
    assert back.labels.tolist() == labels
    assert changed == said


def test_what_was_not_touched_stays_in_its_order(tmp_path):
    original = make(n=12, soft=torch.randn(12, 4))

    def edit(paths):
        paths[0].unlink()
        Image.new("RGB", (6, 6), (255, 0, 0)).save(paths[9].parent / "a new one.png")
        (paths[9].parent.parent / "notes").mkdir()
        Image.new("RGB", (6, 6)).save(paths[9].parent.parent / "notes" / "x.png")

    back, changed = edited(to_imagefolder(original, tmp_path / "out"), edit)
    assert torch.equal(back.images[:11], (original.images[1:] * 255).round() / 255)
    assert torch.equal(back.images[11, :, 0, 0], torch.tensor([1.0, 0, 0]))
    assert back.labels.tolist() == [*original.labels[1:].tolist(), 1]
    assert back.soft is None
    for part in ("1 removed", "1 added", "1 in folders that are no class left out", "soft labels left out"):
        assert part in changed


def test_a_folder_of_version_0_1_is_read(tmp_path):
    original = make()
    folder = to_imagefolder(original, tmp_path / "out")
    card = json.loads((folder / "card.json").read_text())
    for new, name in zip(card.pop("folders"), NAMES, strict=True):
        (folder / new).rename(folder / name.replace("/", "-"))
    del card["files"]
    (folder / "card.json").write_text(json.dumps(card))
    assert_same(original, from_imagefolder(folder), images=False)


def test_an_export_goes_to_a_new_folder(tmp_path):
    saved = make().save(tmp_path / "set")
    to_imagefolder(make(), tmp_path / "out")
    for folder in (tmp_path / "out", saved):
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        with pytest.raises(FileExistsError, match="not empty"):
            to_imagefolder(make(n=4, seed=1), folder)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_a_class_without_an_image_would_shift_the_others(tmp_path):
    with pytest.raises(ValueError, match="'10' has no image"):
        to_imagefolder(make(labels=torch.tensor([0, 1, 3, 3] * 2)), tmp_path / "out")
    with pytest.raises(ValueError, match="5 channels"):
        to_imagefolder(make(channels=5, mean=(0.5,) * 5, std=(0.5,) * 5), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        to_imagefolder(make(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_damaged_image_folder_is_one_clear_error(tmp_path):
    folder = to_imagefolder(make(), tmp_path / "out")
    path = next(folder.glob("*/00001.png"))
    path.write_bytes(b"not a PNG")
    with pytest.raises(ValueError, match="cannot be read"):
        from_imagefolder(folder)
    Image.new("RGB", (9, 9)).save(path)
    with pytest.raises(ValueError, match="differ in size"):
        from_imagefolder(folder)
    for path in folder.glob("*/*.png"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no images"):
        from_imagefolder(folder)
    (folder / "card.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"card\.json"):
        from_imagefolder(folder)
