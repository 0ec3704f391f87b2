"""Random real images: where every distillation starts."""

import pytest
import torch

from unidd.bench.cell import Cell
from unidd.data.synthetic import SyntheticSet
from unidd.engine.run import Run
from unidd.methods.cfm import CFM

pytest.importorskip("unidd.methods.random")


def test_random_is_where_every_distillation_starts(digits):
    images = Cell.of(dataset="digits", method="random", ipc=2, budget="smoke").distill(1, digits)
    assert torch.equal(images.images, SyntheticSet.from_real(digits, 2, seed=1).images)
    start = CFM().start(digits, Run(ipc=2, seed=1))
    assert torch.equal(digits.train.images[start.numbers], (images.images * 255).round().byte())
