"""Sets in the formats of others: an image folder keeps what 8 bits can, in order, and damage is one clear error."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from sets import NAMES, assert_same, make
from torchvision.datasets import ImageFolder

from unidd.data.exchange import from_imagefolder, to_imagefolder


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


def test_any_program_can_read_the_image_folder(tmp_path):
    original = make()
    to_imagefolder(original, tmp_path / "out")
    folder = ImageFolder(tmp_path / "out")
    assert set(folder.classes) == {name.replace("/", "-") for name in NAMES}
    for path, label in folder.samples:
        image = original.images[int(os.path.basename(path)[:5])]
        assert NAMES[int(original.labels[int(os.path.basename(path)[:5])])].replace("/", "-") == folder.classes[label]
        assert np.array_equal(np.asarray(Image.open(path)), (image * 255).round().byte().permute(1, 2, 0).numpy())


def test_an_export_goes_to_a_new_folder(tmp_path):
    saved = make().save(tmp_path / "set")
    to_imagefolder(make(), tmp_path / "out")
    for folder in (tmp_path / "out", saved):
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        with pytest.raises(FileExistsError, match="not empty"):
            to_imagefolder(make(n=4, seed=1), folder)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("names", [("a/b", "a-b", "c", "d"), ("..", "b", "c", "d"), ("", "b", "c", "d")])
def test_class_names_that_are_no_folder_names(tmp_path, names):
    with pytest.raises(ValueError, match="names"):
        to_imagefolder(make(class_names=names), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_damaged_image_folder_is_one_clear_error(tmp_path):
    folder = to_imagefolder(make(), tmp_path / "out")
    (folder / "zebra" / "00001.png").write_bytes(b"not a PNG")
    with pytest.raises(ValueError, match="cannot be read"):
        from_imagefolder(folder)
    Image.new("RGB", (9, 9)).save(folder / "zebra" / "00001.png")
    with pytest.raises(ValueError, match="differ in size"):
        from_imagefolder(folder)
    for path in folder.glob("*/*.png"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no images"):
        from_imagefolder(folder)
    (folder / "card.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"card\.json"):
        from_imagefolder(folder)
