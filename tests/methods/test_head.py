"""Head matching: the page's toy by the engine, and a set that other learners can use."""

import pytest
import torch
import toys
from sklearn.linear_model import LogisticRegression

from unidd import distill
from unidd.book.linear import Digits
from unidd.data.synthetic import SyntheticSet
from unidd.engine.descent import Batch
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods.head import Head, random_weights
from unidd.networks.training import NOBODY


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


@pytest.mark.parametrize("kind", ["pixels", "relu"])
@pytest.mark.parametrize("filter", ["ridge", "linear", "all-pass"])
def test_loss_and_gradient_are_those_of_the_naive_definition(kind, filter):
    """Rows are centred one by one, f is taken of eigenvalues, and everything is differentiated: all in float64."""
    data, method = toys.data(), Head(features=kind, filter=filter, beta=0.7, width=20)

    def features(pixels):
        rows = pixels.double().flatten(1) - (data.train.images.double() / 255).flatten(1).mean(0)
        return rows if kind == "pixels" else torch.relu(rows @ random_weights(rows.shape[1], 20))

    def head(rows, labels, beta=None):
        targets = torch.nn.functional.one_hot(labels, data.classes).double()
        ffc, flc = rows.T @ rows / len(rows), rows.T @ (targets - 1 / data.classes) / len(rows)
        lam, basis = torch.linalg.eigh(ffc)
        response = {"ridge": lambda: 1 / (lam + beta), "linear": lambda: lam, "all-pass": lambda: torch.ones_like(lam)}
        return (basis * response[filter]()) @ basis.T @ flc

    real = features(data.train.images.double() / 255)
    mean, beta = real.mean(0), 0.7 * float((real - real.mean(0)).square().mean())
    wanted, labels = head(real - mean, data.train.labels, beta), torch.arange(data.classes)
    x = data.normalise(data.train.images[: data.classes]).double().requires_grad_()
    expected = (head(features(data.denormalise(x)) - mean, labels, beta) - wanted).square().sum()
    expected = expected / wanted.square().sum()
    (slope,) = torch.autograd.grad(expected, x)
    objective = method.objective(data, NOBODY, Run())
    objective.begin(Batch(0, 0, 0, labels, labels, 0, (0, data.classes), 2))
    found = objective.step(x.detach().requires_grad_(), 0, torch.Generator())
    assert found.terms["head"].item() == pytest.approx(expected.item(), rel=1e-8)
    assert float((found.gradient - slope).norm() / slope.norm()) < 1e-8


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
