"""Students and their label regimes: trained on what they are given, tested once, on real images."""

import dataclasses

import pytest
import torch

from unidd.data.synthetic import SyntheticSet
from unidd.networks import evaluation
from unidd.networks.evaluation import (
    SoftLabels,
    check_fits,
    evaluate_images,
    fixed_labels,
    mean_labels,
    needs_teacher,
    teacher_logits,
)
from unidd.networks.models import ModelConfig, build, weights_hash
from unidd.networks.training import Recipe, TrainConfig, divergence, train, view

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


def test_progress_names_label_regime_and_seed(digits, chosen, capsys, terminal):
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


# ---- fixed soft labels

PLAIN = TrainConfig(epochs=2, batch=20, crop="none")


@pytest.fixture
def net(digits):
    """A teacher that knows nothing yet, but is sure of it."""
    net = build(MODEL, 1, 8, 10, seed=5).eval().requires_grad_(False)
    net.head.weight.mul_(30)
    return net


def trained(digits, images, labels, config=PLAIN, **how) -> torch.Tensor:
    """The weights of a student after training."""
    student = build(MODEL, 1, 8, 10, seed=1)
    return torch.cat(
        [p.flatten() for p in train(student, digits.normalise(images), labels, config, **how).parameters()]
    )


def learnt(digits, images, labels: SoftLabels, config=PLAIN) -> torch.Tensor:
    values, criterion = labels.learnt(config.temperature)
    return trained(digits, images, values, config, criterion=criterion)


def test_without_augmentation_fixed_soft_labels_are_online_soft_labels(digits, chosen, net):
    fixed = learnt(digits, chosen.images, fixed_labels(chosen, digits, net))
    online = trained(digits, chosen.images, chosen.labels, teacher=net)
    assert torch.allclose(fixed, online, atol=1e-6)
    assert not torch.allclose(fixed, trained(digits, chosen.images, chosen.labels), atol=1e-3), "hard labels are others"


def test_a_view_keeps_the_label_of_its_image(digits, chosen, net):
    """Under augmentation the fixed label stays, the online one follows the view."""
    config = dataclasses.replace(PLAIN, crop="resized")
    fixed = learnt(digits, chosen.images, fixed_labels(chosen, digits, net), config)
    assert not torch.allclose(fixed, trained(digits, chosen.images, chosen.labels, config, teacher=net), atol=1e-3)


@pytest.mark.parametrize("cutmix", [False, True])
def test_probabilities_are_the_logits_they_came_from(digits, chosen, net, cutmix):
    config, logits = dataclasses.replace(PLAIN, cutmix=cutmix), teacher_logits(chosen.images, digits, net)
    one = learnt(digits, chosen.images, SoftLabels(logits), config)
    other = learnt(digits, chosen.images, SoftLabels(logits.double().softmax(1).float(), "probabilities"), config)
    assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("cutmix", [False, True])
def test_sure_probabilities_at_temperature_1_are_hard_labels(digits, chosen, cutmix):
    config = dataclasses.replace(PLAIN, temperature=1.0, cutmix=cutmix)
    sure = SoftLabels(torch.eye(10)[chosen.labels], "probabilities")
    hard = trained(digits, chosen.images, chosen.labels, config)
    assert torch.allclose(learnt(digits, chosen.images, sure, config), hard, atol=1e-5)


@pytest.mark.parametrize(("kind", "temperature"), [("logits", 20.0), ("logits", 2.0), ("centred", 20.0)])
def test_mixing_the_losses_by_area_is_mixing_the_labels(kind, temperature):
    """What CutMix needs: the gradient is that of the mixed label."""
    s, first, second = (torch.randn(6, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    s, share = s.double().requires_grad_(), 0.3
    labels, criterion = SoftLabels(torch.stack([first, second]).double(), kind).learnt(temperature)
    (found,) = torch.autograd.grad(share * criterion(s, labels[0]) + (1 - share) * criterion(s, labels[1]), s)
    if kind == "centred":
        expected = (s - share * labels[0] - (1 - share) * labels[1]) / len(s)
    else:
        mixed = share * (labels[0] / temperature).softmax(1) + (1 - share) * (labels[1] / temperature).softmax(1)
        expected = temperature * ((s / temperature).softmax(1) - mixed) / len(s)
    assert torch.allclose(found, expected)


def test_the_divergence_is_cross_entropy_less_entropy():
    s, z = (torch.randn(5, 3, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(2))
    for t in (0.5, 1.0, 20.0):
        p = (z / t).softmax(1)
        cross = torch.nn.functional.cross_entropy(s / t, p)
        assert divergence(s, z, t).item() == pytest.approx(t**2 * float(cross + (p * p.log()).sum(1).mean()))
        assert divergence(z + 3, z, t).item() == pytest.approx(0, abs=1e-12)


def test_stored_labels_are_taken_before_a_teachers(digits, chosen, net):
    stored = torch.arange(500.0).view(50, 10)
    with_labels = dataclasses.replace(chosen, soft=stored)
    found = fixed_labels(with_labels, digits, net)
    assert torch.equal(found.values, stored)
    assert found.kind == "logits"
    assert fixed_labels(dataclasses.replace(chosen, soft=stored.softmax(1)), digits).kind == "probabilities"
    assert fixed_labels(dataclasses.replace(chosen, soft=torch.eye(10)[chosen.labels] - 0.1), digits).kind == "centred"
    said = {"import": {"format": "FRePo", "soft labels": "centred"}}
    assert fixed_labels(dataclasses.replace(with_labels, config=said), digits).kind == "centred", "as the card says"
    assert torch.equal(fixed_labels(chosen, digits, net).values, net(digits.normalise(chosen.images)))


# ---- means over views


def test_the_mean_over_views_that_are_all_the_image_is_its_own_label(digits, chosen, net):
    plain = dataclasses.replace(PLAIN, temperature=2.0)
    one, many = (mean_labels(chosen.images, digits, net, plain, views) for views in (1, 5))
    own = (teacher_logits(chosen.images, digits, net) / 2).softmax(1)
    for labels in (one, many):
        assert torch.allclose((labels.values / 2).softmax(1), own, atol=1e-6)
        assert labels.kind == "logits"


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_the_mean_over_views_has_the_mean_gradient_of_their_labels(digits, chosen, net, temperature):
    """Views drawn here, one by one, and each learnt with its own label."""
    config = Recipe.of(dataclasses.replace(PLAIN, crop="resized", temperature=temperature))
    generator, x = torch.Generator().manual_seed(3), digits.normalise(chosen.images)
    with torch.no_grad():
        told = [net(view(x, config, generator)) for _ in range(7)]
    s = torch.randn(50, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    losses = sum(divergence(s, z, temperature) for z in told) / 7
    values, criterion = mean_labels(chosen.images, digits, net, config, 7, seed=3).learnt(temperature)
    (expected,), (found,) = (torch.autograd.grad(loss, s) for loss in (losses, criterion(s, values)))
    assert torch.allclose(found, expected, atol=1e-6)
    (clean,) = torch.autograd.grad(divergence(s, net(x), temperature), s)
    assert not torch.allclose(found, clean, atol=1e-4), "the image as it is has another label"


def test_the_views_of_a_label_are_the_seeds(digits, chosen, net):
    config = dataclasses.replace(PLAIN, crop="pad")
    one, same, other = (mean_labels(chosen.images, digits, net, config, 3, seed).values for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_which_regimes_need_a_teacher(digits, chosen):
    stored = dataclasses.replace(chosen, soft=torch.zeros(50, 10))
    found = {
        regime: (needs_teacher(chosen, [regime]), needs_teacher(stored, [regime])) for regime in evaluation.REGIMES
    }
    assert found == {"hard": (False, False), "fixed-soft": (True, False), "online-soft": (True, True)}
    with pytest.raises(ValueError, match="a teacher is needed for the label regime fixed-soft"):
        fixed_labels(chosen, digits)


def test_centred_labels_are_learnt_as_numbers(digits, chosen):
    """The student's outputs come near the labels themselves, which cross-entropy would not ask for."""
    labels = SoftLabels(torch.eye(10)[chosen.labels] - 0.1, "centred")
    config = TrainConfig(epochs=60, batch=25, optimizer="adamw", lr=1e-2, crop="none")
    student = build(ModelConfig(width=16), 1, 8, 10, seed=1)
    values, criterion = labels.learnt(config.temperature)
    train(student, digits.normalise(chosen.images), values, config, criterion=criterion)
    with torch.no_grad():
        error = (student(digits.normalise(chosen.images)) - values).square().sum(1).mean()
    assert error < 0.3, "0.9 for an output of 0"


def test_a_teacher_in_training_mode_gives_the_labels_of_eval_mode_and_stays_as_it_was(digits, chosen):
    found = []
    for mode in (True, False):
        taught = build(MODEL, 1, 8, 10, seed=9).train(mode)
        before = weights_hash(taught)
        found.append(fixed_labels(chosen, digits, taught).values)
        assert weights_hash(taught) == before
        assert taught.training == mode
    assert torch.equal(*found)


def test_fixed_soft_students_are_evaluated(digits, chosen, net, capsys, terminal):
    labels = fixed_labels(chosen, digits, net)
    (value,) = evaluate_images(chosen.images, labels, digits, MODEL, BRIEF, [3])
    assert 0 <= value <= 100
    assert "fixed-soft-label student 3" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [torch.zeros(50, 9), torch.zeros(50, 11)])
def test_soft_labels_of_other_classes_are_refused(digits, chosen, wrong):
    with pytest.raises(ValueError, match="10 classes"):
        run(chosen.images, SoftLabels(wrong), digits)


def test_soft_labels_of_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match="logits, probabilities or centred, not 'soft'"):
        SoftLabels(torch.zeros(2, 3), "soft")
