"""Exported folders read by the libraries people read them with, where those are installed."""

import numpy as np
import pytest
import torch
from sets import make

from unidd.data.datasets import ImageData, Split
from unidd.data.exchange import to_imagefolder, undo_zca

CLASSES = [
    ("T-shirt/top", "Trouser", "Pullover", "Dress"),
    tuple(map(str, range(12))),
    ("10", "2", "Zebra", "apple"),
    ("a/b", "a-b", "CON", "..", "", "dots...", "space ", ".hidden"),
    ("Cat", "cat", "CAT", "dog"),
    ("fish", "steam train", "test", "valid"),
    ("x" * 300, "x" * 299 + "y", "狗", "m²"),
]


def exported(folder, names):
    """A folder, and the label of each picture by its bytes."""
    n = 2 * len(names)
    original = make(n=n, class_names=names, labels=torch.arange(n) % len(names), soft=torch.rand(n, len(names)))
    pixels = (original.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    labels = {picture.tobytes(): int(label) for picture, label in zip(pixels, original.labels, strict=True)}
    return to_imagefolder(original, folder), labels


@pytest.mark.parametrize("names", CLASSES, ids=lambda names: names[0][:12])
def test_timm(tmp_path, names):
    timm = pytest.importorskip("timm.data")
    folder, labels = exported(tmp_path / "out", names)
    found = timm.ImageDataset(str(folder))
    assert {np.asarray(image).tobytes(): label for image, label in found} == labels


@pytest.mark.parametrize("names", CLASSES, ids=lambda names: names[0][:12])
def test_hugging_face(tmp_path, names, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    folder, labels = exported(tmp_path / "out", names)
    found = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"]
    assert {np.asarray(row["image"]).tobytes(): row["label"] for row in found["train"]} == labels


def test_kornias_whitening_is_undone():
    kornia = pytest.importorskip("kornia")
    generator = torch.Generator().manual_seed(0)
    images = torch.nn.functional.avg_pool2d(torch.rand(200, 3, 8, 8, generator=generator), 3, 1)
    split = Split((images * 255).byte(), torch.arange(200) % 4)
    whitening = kornia.enhance.ZCAWhitening(eps=0.1)
    pixels = split.images.float() / 255
    whitening.fit(pixels)
    back = undo_zca(whitening(pixels[:10]), ImageData("toy", split, split, tuple("abcd")))
    assert torch.allclose(back, pixels[:10], atol=1e-5)
