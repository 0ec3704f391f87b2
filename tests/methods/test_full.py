"""All real images: what there is to reach."""

import pytest
import torch

from unidd.bench.cell import BUDGETS, Cell

pytest.importorskip("unidd.methods.full")


def test_full_is_every_training_image_with_hard_labels_only(digits):
    full = Cell.of(dataset="digits", method="full", ipc=None, budget="smoke")
    images = full.distill(0, digits)
    assert torch.equal((images.images * 255).round().byte(), digits.train.images)
    assert torch.equal(images.labels, digits.train.labels)
    assert full.student(digits).epochs == BUDGETS["smoke"].full
    assert set(full.accuracies(images, digits, None, 0, progress=False)) == {"hard"}
