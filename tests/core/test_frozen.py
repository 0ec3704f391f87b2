"""Answers of batches are joined in place: none is kept until the last has come."""

import weakref

import pytest
import torch
import toys
from torch import Tensor, nn

from unidd.core.frozen import joined
from unidd.methods import _scores
from unidd.networks import evaluation


def alive(made: list[weakref.ref]) -> int:
    return sum(ref() is not None for ref in made)


def test_no_batch_outlives_the_one_after_the_next():
    made: list[weakref.ref] = []

    def batches():
        for k in range(5):
            assert alive(made) <= 1
            made.append(weakref.ref(part := torch.full((3, 2), float(k))))
            yield (part,)

    [whole] = joined(batches(), 15)
    assert torch.equal(whole[:, 0], torch.arange(5.0).repeat_interleave(3))


@pytest.mark.parametrize("count", [0, 3, 5])
def test_another_number_of_rows_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} rows"):
        joined(((torch.zeros(2, 1),) for _ in range(2)), count)


class Watched(nn.Module):
    """A linear network that says at every call how many of its earlier answers are still kept."""

    def __init__(self, data):
        super().__init__()
        self.head = nn.Linear(data.train.images[0].numel(), data.classes)
        self.made: list[weakref.ref] = []
        self.kept: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept.append(alive(self.made))
        answer = self.head(x.flatten(1))
        self.made.append(weakref.ref(answer))
        return answer


@pytest.mark.parametrize("module", [_scores, evaluation])
def test_what_a_network_answers_for_many_images_is_not_kept_in_parts(module, monkeypatch):
    data = toys.data()
    network = Watched(data)
    monkeypatch.setattr(module, "real_batch", lambda *_: 3)
    if module is _scores:
        found = _scores.seen(network, data).logits
    else:
        found = evaluation.teacher_logits(data.train.images, data, network)
    assert len(network.kept) > 4
    assert max(network.kept) <= 1
    with torch.no_grad():
        torch.testing.assert_close(found, network(data.normalise(data.train.images)))
