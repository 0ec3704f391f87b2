"""Scores by hand, and what students are trained on when they are measured."""

import math

import audits
import pytest
import torch
import toys

from unidd.bench import scores as module
from unidd.bench.scores import (
    accuracies,
    augmentation_robust_score,
    label_robust_score,
    matched,
    on_scale,
    scores,
)
from unidd.data.synthetic import SyntheticSet, choose
from unidd.networks.evaluation import REGIMES


def test_the_scale_goes_from_0_to_1():
    assert on_scale(-1) == 0
    assert on_scale(1) == 1
    assert on_scale(0) == pytest.approx((1 - 1 / math.e) / (math.e - 1 / math.e))
    assert on_scale(0.1) > on_scale(0) > on_scale(-0.1)


def test_scores_are_of_fractions():
    """A set 10 points above random and 30 below the full data; in points the scores would be far from [0, 1]."""
    alpha = 0.5 * 0.10 - 0.5 * 0.30
    assert label_robust_score(0.10, 0.30) == pytest.approx((math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1)))
    assert 0 < label_robust_score(0.10, 0.30) < on_scale(0)
    assert label_robust_score(10, 30) < 0, "what points in the exponent give"
    assert label_robust_score(0.2, 0.9, weight=1.0) == on_scale(0.2)
    assert label_robust_score(0.2, 0.9, weight=0.0) == on_scale(-0.9)
    assert augmentation_robust_score(0.2, -0.1) == on_scale(0.05)
    assert augmentation_robust_score(0.2, -0.1, weight=1.0) == on_scale(0.2)


FOUND = {
    "full": [80.0, 84.0],
    "regimes": {
        "hard": {"set": [50.0, 54.0], "random": [40.0, 50.0], "set plain": [45.0, 45.0], "random plain": [41.0, 39.0]},
        "online-soft": {
            "set": [70.0, 70.0],
            "random": [72.0, 70.0],
            "set plain": [60.0, 60.0],
            "random plain": [60.0] * 2,
        },
    },
}


def test_scores_of_accuracies_by_hand():
    found = scores(FOUND)
    assert found["hard"]["HLR"] == {"mean": 30, "spread": 0, "values": pytest.approx([30, 30])}
    assert found["hard"]["IOR"]["values"] == pytest.approx([10, 4])
    assert found["hard"]["IOR"]["mean"] == pytest.approx(7)
    assert found["hard"]["IOR"]["spread"] == pytest.approx(math.sqrt(18))
    assert found["hard"]["LRS"]["mean"] == pytest.approx(on_scale(0.035 - 0.15))
    assert found["hard"]["LRS"]["values"] == pytest.approx([on_scale(0.05 - 0.15), on_scale(0.02 - 0.15)])
    assert found["hard"]["ARS"]["mean"] == pytest.approx(on_scale(0.035 + 0.025))
    assert found["online-soft"]["IOR"]["mean"] == pytest.approx(-1)
    assert found["online-soft"]["LRS"]["mean"] == pytest.approx(on_scale(-0.005 - 0.15)), "HLR is of hard labels always"
    assert found["online-soft"]["ARS"]["mean"] == pytest.approx(on_scale(-0.005))
    assert "HLR" not in found["online-soft"]


def test_one_seed_has_no_spread():
    one = {"full": [80.0], "regimes": {"hard": {name: [50.0] for name in FOUND["regimes"]["hard"]}}}
    found = scores(one)["hard"]
    assert all(score["spread"] is None for score in found.values())
    assert found["ARS"]["mean"] == on_scale(0)


# ---- random real images beside the set


def test_for_equal_classes_they_are_those_of_the_baseline():
    data = audits.data()
    for ipc, seed in ((1, 0), (3, 4), (30, 1)):
        labels = torch.arange(4).repeat(ipc)
        assert torch.equal(matched(data, labels, seed), choose(data, ipc, seed))


@pytest.mark.parametrize("counts", [(3, 0, 2, 1), (0, 0, 0, 5), (1, 2, 3, 30)])
def test_they_are_as_many_of_each_class(counts):
    data = audits.data()
    labels = torch.arange(4).repeat_interleave(torch.tensor(counts))
    index = matched(data, labels, 0)
    assert torch.bincount(data.train.labels[index], minlength=4).tolist() == list(counts)
    assert len(set(index.tolist())) == len(index)
    assert torch.equal(index, matched(data, labels, 0))
    if sum(counts) < 30:
        assert not torch.equal(index, matched(data, labels, 1))


def test_no_more_than_there_are():
    labels = torch.arange(4).repeat_interleave(torch.tensor([31, 1, 99, 0]))
    index = matched(audits.data(), labels, 0)
    assert torch.bincount(audits.data().train.labels[index], minlength=4).tolist() == [30, 1, 30, 0]


# ---- students


def test_who_is_trained_on_what(monkeypatch):
    """The set and random real images under every regime, with and without augmentation; random ones anew each seed."""
    seen, whole = [], []

    def evaluate(synthetic, data, *, regimes, seeds, augment, model, budget, teacher, progress):
        assert (regimes, model, budget, progress) == (REGIMES, "convnet", "smoke", False)
        seen.append((synthetic, seeds, augment, teacher))
        return {regime: [float(len(seen))] for regime in regimes}

    def evaluate_images(images, labels, data, model, config, seeds, *, progress):
        whole.append((len(images), images.dtype, config.epochs, model.width, seeds))
        return [80.0, 81.0]

    monkeypatch.setattr(module, "evaluate", evaluate)
    monkeypatch.setattr(module, "evaluate_images", evaluate_images)
    teacher, ours, data = toys.teacher(), audits.drawn(2), audits.data()
    found = accuracies(ours, data, teacher, seeds=(3, 5), budget="smoke", progress=False)
    assert found["full"] == [80.0, 81.0]
    assert whole == [(120, torch.uint8, 1, 8, (3, 5))], "bytes, not floats"
    assert [(seeds, augment) for _, seeds, augment, _ in seen] == [
        ([seed], augment) for augment in (True, False) for seed in (3, 3, 5, 5)
    ]
    assert all(given is teacher for *_, given in seen)
    for k, (synthetic, (seed,), _, _) in enumerate(seen):
        expected = ours if k % 2 == 0 else SyntheticSet.from_real(data, 2, seed)
        assert torch.equal(synthetic.images, expected.images)
        assert synthetic.soft is None
    for regime in REGIMES:
        assert found["regimes"][regime] == {
            "set": [1.0, 3.0],
            "random": [2.0, 4.0],
            "set plain": [5.0, 7.0],
            "random plain": [6.0, 8.0],
        }


@pytest.mark.slow
def test_students_are_measured_under_three_regimes(digits):
    import unidd

    task = {"budget": "smoke", "progress": False}
    teacher, images = unidd.teach(digits, **task), SyntheticSet.from_real(digits, 2, 5)
    found = accuracies(images, digits, teacher, seeds=(5,), **task)
    again = unidd.evaluate(images, digits, regimes=REGIMES, seeds=(5,), teacher=teacher, **task)
    for regime, values in found["regimes"].items():
        assert values["set"] == values["random"] == again[regime], "the set is this random choice"
        assert values["set plain"] == values["random plain"]
    assert found["regimes"]["fixed-soft"]["set plain"] == found["regimes"]["online-soft"]["set plain"], (
        "the same labels"
    )
    assert scores(found)["hard"]["ARS"]["mean"] == on_scale(0)
