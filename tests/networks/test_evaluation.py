"""Students and their label regimes: trained on what they are given, tested once, on real images."""

import dataclasses

import pytest
import torch

from unidd.data.synthetic import SyntheticSet
from unidd.networks import evaluation
from unidd.networks.evaluation import check_fits, evaluate_images
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import TrainConfig

MODEL = ModelConfig(width=4)
BRIEF = TrainConfig(epochs=2, batch=50)


@pytest.fixture
def chosen(digits) -> SyntheticSet:
    return SyntheticSet.from_real(digits, 5)


def run(images, labels, data, seeds=(0,), **options) -> list[float]:
    return evaluate_images(images, labels, data, MODEL, BRIEF, seeds, progress=False, **options)


def test_one_accuracy_a_seed_whatever_the_other_seeds(digits, chosen):
    task = (chosen.images, chosen.labels, digits)
    torch.manual_seed(1)
    both = run(*task, seeds=(3, 8))
    torch.manual_seed(2)
    assert [*run(*task, seeds=(3,)), *run(*task, seeds=(8,))] == both
    assert run(*task, seeds=(8, 3)) == both[::-1]
    assert all(0 <= value <= 100 for value in both)


def test_students_learn(digits):
    real = digits.train
    config = TrainConfig(epochs=4, batch=64, optimizer="adamw", lr=1e-2)
    (value,) = evaluate_images(real.images, real.labels, digits, ModelConfig(width=16), config, [0], progress=False)
    assert value > 60, "chance is 10"


def test_the_result_is_the_last_epoch_tested_once(digits, chosen, monkeypatch):
    """Training is over when the test images are first looked at, and they are looked at once."""
    events, train = [], evaluation.train

    def training(model, *args, **kwargs):
        events.append("train")
        return train(model, *args, **kwargs)

    def testing(model, data):
        assert not model.training
        events.append("test")
        return 42.0

    monkeypatch.setattr(evaluation, "train", training)
    monkeypatch.setattr(evaluation, "accuracy", testing)
    assert run(chosen.images, chosen.labels, digits, seeds=(0, 1)) == [42.0, 42.0]
    assert events == ["train", "test"] * 2


def test_students_start_fresh_and_are_given_the_data_sets_normalisation(digits, chosen, monkeypatch):
    starts, inputs = [], []

    def train(model, images, labels, config, *, seed, teacher, prepare, progress):
        starts.append(torch.cat([p.flatten() for p in model.parameters()]).clone())
        inputs.append((prepare(images), labels, config, teacher, seed))
        return model.eval()

    monkeypatch.setattr(evaluation, "train", train)
    teacher = build(MODEL, 1, 8, 10, seed=0)
    evaluate_images(chosen.images, chosen.labels, digits, MODEL, BRIEF, [0, 1], teacher=teacher, progress=False)
    teachers = torch.cat([p.flatten() for p in teacher.parameters()])
    assert not torch.equal(starts[0], starts[1])
    assert not any(torch.equal(start, teachers) for start in starts), "not the teacher's initial weights"
    for seed, (images, labels, config, given, used) in enumerate(inputs):
        assert torch.equal(images, digits.normalise(chosen.images))
        assert torch.equal(labels, chosen.labels)
        assert (config, given, used) == (BRIEF, teacher, seed)


def test_bytes_and_fractions_are_the_same_images(digits):
    part = digits.train.take(torch.arange(60))
    assert run(part.images, part.labels, digits) == run(part.images.float() / 255, part.labels, digits)


def test_soft_labels_are_the_teachers(digits, chosen):
    """A student of one who always says the same says the same, whatever labels the images came with."""

    class Always(torch.nn.Module):
        def __init__(self, label: int):
            super().__init__()
            self.label = label

        def forward(self, x):
            return torch.nn.functional.one_hot(torch.full((len(x),), self.label), 10) * 200.0

    config = TrainConfig(epochs=20, batch=50, optimizer="adamw", lr=0.05)
    for k in (3, 8):
        task = (chosen.images, chosen.labels, digits, MODEL, config, [0])
        share = 100 * (digits.test.labels == k).double().mean().item()
        assert evaluate_images(*task, teacher=Always(k), progress=False) == [pytest.approx(share)]


def test_the_student_may_be_another_architecture(digits, chosen):
    teacher = build(MODEL, 1, 8, 10).eval().requires_grad_(False)
    student = ModelConfig(width=6, depth=2, norm="instance", pooling="max")
    task = (chosen.images, chosen.labels, digits, student, BRIEF, [0])
    assert len(evaluate_images(*task, teacher=teacher, progress=False)) == 1


def test_progress_names_label_regime_and_seed(digits, chosen, capsys):
    evaluate_images(chosen.images, chosen.labels, digits, MODEL, BRIEF, [7])
    assert "hard-label student 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.rand(4, 3, 8, 8), torch.arange(4), r"\(1, 8, 8\)"),
        (torch.rand(4, 1, 9, 9), torch.arange(4), r"\(1, 8, 8\)"),
        (torch.rand(4, 1, 8, 8), torch.arange(4) + 7, "10 classes"),
        (torch.rand(4, 1, 8, 8) + 1, torch.arange(4), r"\[0, 1\]"),
        (torch.full((4, 1, 8, 8), torch.nan), torch.arange(4), r"\[0, 1\]"),
    ],
)
def test_images_that_do_not_fit_the_data_set(digits, images, labels, message):
    with pytest.raises(ValueError, match=message):
        run(images, labels, digits)


def test_a_set_fits_the_data_it_was_made_from(digits, chosen):
    check_fits(chosen, digits)
    close = dataclasses.replace(chosen, mean=(chosen.mean[0] + 1e-4,))
    check_fits(close, digits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": tuple("abcdefghij")}, "classes"),
        ({"class_names": tuple("1023456789")}, "classes"),
        ({"mean": (0.5,)}, "normalisation"),
        ({"std": (1.0,)}, "normalisation"),
        ({"mean": (float("nan"),)}, "normalisation"),
        ({"std": (float("nan"),)}, "normalisation"),
        ({"images": torch.zeros(50, 1, 6, 6)}, r"\(1, 6, 6\)"),
        ({"images": torch.zeros(50, 3, 8, 8), "mean": (0.3,) * 3, "std": (0.4,) * 3}, r"\(3, 8, 8\)"),
    ],
)
def test_a_set_that_does_not_fit_says_why(digits, chosen, changes, message):
    with pytest.raises(ValueError, match=message):
        check_fits(dataclasses.replace(chosen, **changes), digits)
