"""The ablation of CFM's loss: one matching term, and nothing else, against the naive definition in float64."""

import oracles
import pytest
import torch
from toys import CLASSES, SIZE, data, network, randn, teacher

from unidd.bench.terms import OneTerm
from unidd.core.statistics import RealSide, real_statistics
from unidd.engine.descent import Batch
from unidd.engine.run import Run
from unidd.methods import find
from unidd.networks.models import tapped_layers

LABELS = torch.arange(CLASSES)
REAL = 0.3 + randn(14, 3, SIZE, SIZE, seed=50), torch.arange(14) % CLASSES
SETTINGS = {"eta": 0.3, "beta": 0.05, "schedule": "constant", "precision": "float64"}


def expected(term: str, x: torch.Tensor) -> torch.Tensor:
    """The gradient of CE + η Σ of one term over the layers, by autograd through loops and explicit inverses."""
    real = oracles.statistics(network(), *REAL, "mean", CLASSES)
    logits, _ = oracles.forward(network(), x)
    loss = oracles.cross_entropy(logits, LABELS)
    for layer, (ffc, flc) in oracles.statistics(network(), x, LABELS, "mean", CLASSES).items():
        if term == "filter":
            loss = loss + 0.3 * oracles.filter_term("ridge", real[layer][0], ffc, 0.05)
        else:
            loss = loss + 0.3 * oracles.signal_term("ridge", *real[layer], ffc, flc, 0.05)
    return torch.autograd.grad(loss, x)[0]


@pytest.mark.parametrize("term", ["filter", "signal"])
def test_the_gradient_of_one_term_against_the_naive_definition(term, monkeypatch):
    net = network()
    moments = real_statistics(net, [REAL], tapped_layers(net), "mean")
    real = {layer: RealSide.of(found) for layer, found in moments.items()}
    monkeypatch.setattr("unidd.methods.cfm.real_side", lambda *_: moments)
    monkeypatch.setattr("unidd.methods.cfm.crop_flip_roll", lambda images, *_, **__: images)
    objective = OneTerm(term=term, **SETTINGS).objective(data(), teacher(), Run(1))
    objective.teacher = net  # in float64 from the start
    assert set(real) == set(objective.real)
    objective.begin(Batch(0, 0, 0, LABELS, LABELS, 0, (0, CLASSES), 5))
    x = (0.8 * randn(CLASSES, 3, SIZE, SIZE, seed=1) - 0.1).requires_grad_()
    step = objective.step(x, 0, torch.Generator().manual_seed(0))
    theirs = expected(term, x)
    assert float((step.gradient - theirs).norm() / theirs.norm()) < 1e-8
    other = "signal" if term == "filter" else "filter"
    assert float(step.terms[other]) == 0 < float(step.terms[term])


def test_it_is_found_by_its_path_and_a_wrong_term_is_refused():
    assert find("unidd.bench.terms.OneTerm") is OneTerm
    assert OneTerm.path() == "unidd.bench.terms.OneTerm"
    with pytest.raises(ValueError, match="term must be one of filter, signal"):
        OneTerm(term="both")


def test_a_set_of_each_term_is_its_own():
    sets = [OneTerm(term=term, steps=2).distill(data(), teacher(), Run(1)) for term in ("filter", "signal")]
    assert not torch.equal(sets[0].images, sets[1].images)
    assert [made.config["term"] for made in sets] == ["filter", "signal"]
