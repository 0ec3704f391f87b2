"""All real images: what there is to reach."""

import sys

import pytest
import torch

from unidd.bench import cell
from unidd.bench.cell import BUDGETS, Cell
from unidd.methods import find

pytest.importorskip("unidd.methods.full")


def test_full_is_every_training_image_with_hard_labels_only(digits):
    full = Cell.of(dataset="digits", method="full", ipc=None, budget="smoke")
    images = full.distill(0, digits)
    assert torch.equal((images.images * 255).round().byte(), digits.train.images)
    assert torch.equal(images.labels, digits.train.labels)
    assert full.student(digits).epochs == BUDGETS["smoke"].full
    assert set(full.accuracies(images, digits, None, 0, progress=False)) == {"hard"}


def test_its_students_train_on_the_split_itself_not_on_a_copy_as_floats(digits, monkeypatch):
    seen = []
    monkeypatch.setattr(cell, "evaluate_images", lambda images, *_, **__: seen.append(images) or [50.0])
    record = cell.run(Cell.of(dataset="digits", method="full", seeds=[0, 1], budget="smoke"), digits)
    assert [images is digits.train.images for images in seen] == [True, True]
    assert record.accuracy == {"hard": [50.0, 50.0]}


def test_a_copy_of_all_images_that_is_large_is_refused(digits, monkeypatch):
    monkeypatch.setattr(sys.modules[find("full").__module__], "_MOST", 4 * digits.train.images.numel() - 1)
    with pytest.raises(ValueError, match=r"1,437 images of digits would be a set of 0\.0 GiB.*a suite"):
        Cell.of(dataset="digits", method="full", budget="smoke").distill(0, digits)
