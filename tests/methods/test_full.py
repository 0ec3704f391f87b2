"""All real images: what there is to reach."""

import pytest
import torch

from unidd.bench import cell
from unidd.bench.cell import BUDGETS, Cell

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
