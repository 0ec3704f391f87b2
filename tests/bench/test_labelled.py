"""CFM with labels that are learnt: their gradient against the naive definition in float64, and what becomes of them."""

import oracles
import pytest
import torch
from toys import CLASSES, SIZE, Interrupted, data, network, randn, teacher

from unidd.bench.labelled import LearntLabels
from unidd.core.statistics import real_statistics
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Batch
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods import find
from unidd.methods.cfm import CFM
from unidd.networks.models import tapped_layers

LABELS = torch.arange(CLASSES)
REAL = 0.3 + randn(14, 3, SIZE, SIZE, seed=50), torch.arange(14) % CLASSES
SETTINGS = {"eta": 0.3, "beta": 0.05, "schedule": "constant", "precision": "float64"}


def naive(x, logits):
    """Gradients of CE, its labels fixed, + η Σ of both terms, the FLC of softmax(logits): loops, explicit inverses."""
    soft, (found, taps) = logits.softmax(1), oracles.forward(network(), x)
    loss = -(soft.detach() * found.log_softmax(1)).sum(1).mean()
    real = oracles.statistics(network(), *REAL, "class", CLASSES)
    plain = oracles.statistics(network(), x, LABELS, "class", CLASSES)
    for layer, (ffc, _) in plain.items():
        rows = taps[layer].mean((2, 3))  # an image's target is that of all of its positions
        flc = rows.T @ soft / len(x)
        loss = loss + 0.3 * oracles.filter_term("ridge", real[layer][0], ffc, 0.05)
        loss = loss + 0.3 * oracles.signal_term("ridge", *real[layer], ffc, flc, 0.05)
    return torch.autograd.grad(loss, (x, logits))


def test_the_gradients_of_images_and_labels_against_the_naive_definition(monkeypatch):
    net = network()
    moments = real_statistics(net, [REAL], tapped_layers(net), "class")
    monkeypatch.setattr("unidd.methods.cfm.real_side", lambda *_: moments)
    monkeypatch.setattr("unidd.methods.cfm.crop_flip_roll", lambda images, *_, **__: images)
    objective = LearntLabels(**SETTINGS).objective(data(), teacher(), Run(1))
    objective.teacher = net  # in float64 from the start
    objective.begin(Batch(0, 0, 0, LABELS, LABELS, 0, (0, CLASSES), 5))
    assert torch.allclose(objective.labels().diagonal(), torch.tensor(0.9).double())
    logits = objective.logits.detach().clone().requires_grad_()
    x = (0.8 * randn(CLASSES, 3, SIZE, SIZE, seed=1) - 0.1).requires_grad_()
    step = objective.step(x, 0, torch.Generator().manual_seed(0))
    for found, theirs in zip((step.gradient, objective.logits.grad), naive(x, logits), strict=True):
        assert float((found - theirs).norm() / theirs.norm()) < 1e-8


def made(ipc=2, **settings):
    return LearntLabels(steps=3, **settings).distill(data(), teacher(), Run(ipc))


def test_labels_are_kept_in_the_order_of_the_images_and_have_moved():
    found = made()
    start = 0.9 * torch.nn.functional.one_hot(found.labels, CLASSES).float()
    start[start == 0] = 0.1 / (CLASSES - 1)
    assert found.soft.shape == (2 * CLASSES, CLASSES)
    assert torch.allclose(found.soft.sum(1), torch.ones(2 * CLASSES))
    assert torch.allclose(found.soft, start, atol=0.05)
    assert bool(((found.soft - start).abs().amax(1) > 1e-4).all())
    assert found.config["learnt"]["soft labels"] == "probabilities"
    assert not torch.equal(found.images, CFM(steps=3, signal="class").distill(data(), teacher(), Run(2)).images)


def test_without_steps_no_labels_are_learnt():
    found = LearntLabels(steps=0).distill(data(), teacher(), Run(2))
    assert found.soft is None
    assert "learnt" not in found.config


@pytest.mark.parametrize("group", [0, 2])
def test_groups_of_classes_are_in_order_too(group):
    found = made(label_lr=1e-9, group=group)
    assert torch.equal(found.soft.argmax(1), found.labels)


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5])
def test_killed_and_resumed_it_gives_the_same_bits(after, tmp_path):
    whole, cut = made(), Interrupted(tmp_path, after)
    with pytest.raises(KeyboardInterrupt):
        LearntLabels(steps=3).distill(data(), teacher(), Run(2, checkpoint=cut, save_every=1))
    again = LearntLabels(steps=3).distill(data(), teacher(), Run(2, checkpoint=Checkpoint(tmp_path), save_every=1))
    assert torch.equal(again.images, whole.images)
    assert torch.equal(again.soft, whole.soft)


def test_the_matching_terms_fall_further_than_with_hard_labels():
    """Over the steps of one round with the images held: only the labels move."""
    ends = {}
    for rate in (1e-9, 0.05):
        objective = LearntLabels(label_lr=rate, steps=40, beta=0.05).objective(data(), teacher(), Run(1))
        objective.begin(Batch(0, 0, 0, LABELS, LABELS, 0, (0, CLASSES), 40))
        x = data().normalise(data().train.images[:CLASSES]).requires_grad_()
        objective.augment = lambda images, *_: images
        for t in range(40):
            step = objective.step(x, t, torch.Generator())
        ends[rate] = float(step.terms["signal"])
    assert ends[0.05] < ends[1e-9]


def test_it_is_found_by_its_path_and_refuses_what_it_cannot_do():
    assert find("unidd.bench.labelled.LearntLabels") is LearntLabels
    with pytest.raises(ValueError, match="signal must be"):
        LearntLabels(signal="mean")
    with pytest.raises(ValueError, match="filter must be"):
        LearntLabels(filter="none")
    with pytest.raises(ValueError, match="label_lr must be"):
        LearntLabels(label_lr=0.0)
    with pytest.raises(ValueError, match="process"):
        LearntLabels(steps=1).distill(data(), teacher(), Run(2, ranks=Ranks(0, 2)))
