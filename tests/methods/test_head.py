"""Head matching: the page's toy by the engine, and a set that other learners can use."""

import pytest
import torch
import toys
from sklearn.linear_model import LogisticRegression

from unidd import distill
from unidd.book.linear import Digits
from unidd.data.synthetic import SyntheticSet
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods.head import Head


def as_set(oracle: Digits, numbers: list[int]) -> SyntheticSet:
    """Return training images as a set."""
    data = oracle.data
    images, labels = data.train.images[numbers].float() / 255, data.train.labels[numbers]
    return SyntheticSet(images, labels, data.class_names, data.mean, data.std)


@pytest.mark.parametrize("kind", ["pixels", "relu"])
@pytest.mark.parametrize("filter", ["ridge", "linear", "all-pass"])
def test_its_steps_are_those_of_the_first_page(digits, kind, filter):
    """To single precision, in which a descent starts: fifteen steps move a pixel by 0.3."""
    oracle = Digits(digits, kind)
    first = oracle.first()
    *_, (x, loss) = oracle.distill(oracle.filter(filter.replace("-", ""), 0.5), first, 15)
    asked = {"features": kind, "filter": filter, "beta": 0.5, "steps": 15, "start": as_set(oracle, first)}
    made = distill(digits, "head", progress=False, **asked)
    torch.testing.assert_close(made.images.flatten(1).double(), x, rtol=0, atol=2e-3)
    assert made.history[-1]["head"] == pytest.approx(loss, rel=1e-4)


def test_ten_images_serve_a_learner_they_were_not_made_for(digits):
    """Logistic regression on pixels gains 15 points at least on the ten real digits they started from."""
    made, start = distill(digits, "head", progress=False), SyntheticSet.from_real(digits, 1)
    learner, test = LogisticRegression(max_iter=1000), digits.test
    pixels = test.images.flatten(1) / 255
    learnt, real = (learner.fit(one.images.flatten(1), one.labels).score(pixels, test.labels) for one in (made, start))
    assert learnt > real + 0.15


def test_a_later_round_adds_to_the_images_before_it(digits):
    made = distill(digits, "head", 3, width=32, steps=60, progress=False)
    losses = [entry["head"] for entry in made.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 1.5 * losses[-1]


def test_several_processes_are_refused():
    with pytest.raises(ValueError, match="one process"):
        Head().check(toys.data(), Run(ranks=Ranks(0, 2)))
