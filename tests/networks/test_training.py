"""The training loop against formulas written out, and the store of teachers."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from seeds import assert_only_the_seed_decides
from torch import nn
from toys import randn

from unidd.data.datasets import Split
from unidd.networks import training
from unidd.networks.evaluation import evaluate_images
from unidd.networks.models import ModelConfig, build, weights_hash
from unidd.networks.training import Recipe, TrainConfig, accuracy, teacher, teacher_folder, train

MODEL = ModelConfig(width=8)
BRIEF = TrainConfig(epochs=1, batch=64)


@pytest.fixture
def no_augmentation(monkeypatch):
    for name in ("random_crop", "random_resized_crop"):
        monkeypatch.setattr(training.augment, name, lambda x, *_: x)
    monkeypatch.setattr(training.augment, "flip", lambda x, *_: x)


def linear(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()


def batch(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return randn(n, 3, 2, 2, seed=8), torch.arange(n) % 3


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def one_step(loss_of, **changes) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights after one step of SGD from `loss_of(logits)`, by hand."""
    config = TrainConfig(epochs=1, batch=100, lr=0.5, weight_decay=0.01, **changes)
    model, (x, _) = linear(), batch()
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss_of(model(x)), parameters)
    moved = [p - config.lr * (g + config.weight_decay * p) for p, g in zip(parameters, gradients, strict=True)]
    return torch.cat([p.detach().flatten() for p in moved]), config


# ----------------------------------------------------------------------------------------------- the loop


def test_a_step_with_hard_labels_descends_the_cross_entropy(no_augmentation):
    x, y = batch()
    expected, config = one_step(lambda z: -(z.exp() / z.exp().sum(1, keepdim=True)).log()[range(6), y].sum() / 6)
    assert torch.allclose(weights(train(linear(), x, y, config)), expected, atol=1e-13)


@pytest.mark.parametrize("t", [1.0, 4.0, 20.0])
def test_a_step_with_soft_labels_descends_the_divergence_from_the_teacher(no_augmentation, t):
    """T² Σ_k p_k log(p_k / q_k), mean over images, p the teacher's and q the student's softmax(logits / T)."""
    x, y = batch()
    p = (linear(5)(x).detach() / t).exp()
    p = p / p.sum(1, keepdim=True)

    def loss(z):
        q = (z / t).exp() / (z / t).exp().sum(1, keepdim=True)
        return t**2 * (p * (p / q).log()).sum() / 6

    expected, config = one_step(loss, temperature=t)
    trained = train(linear(), x, torch.zeros_like(y), config, teacher=linear(5).requires_grad_(False))
    assert torch.allclose(weights(trained), expected, atol=1e-12)


@pytest.mark.parametrize("how", [{"cutmix": True}, {"mixup": 0.8}], ids=["cutmix", "mixup"])
def test_what_mixes_images_weighs_the_two_labels_by_their_share(how, no_augmentation, monkeypatch):
    x, y = batch()
    order = torch.tensor([3, 2, 1, 0, 5, 4])
    mixed = []

    def mix(images, _, *alpha):
        mixed.append(alpha)
        return images, order, 0.7

    monkeypatch.setattr(training.augment, *how, mix)
    monkeypatch.setattr(torch, "randperm", lambda n, **_: torch.arange(n))

    def loss(z):
        log_q = z.log_softmax(1)
        return -(0.7 * log_q[range(6), y] + 0.3 * log_q[range(6), y[order]]).sum() / 6

    expected, config = one_step(loss)
    mixing = Recipe(**vars(config) | how)
    assert torch.allclose(weights(train(linear(), x, y, mixing)), expected, atol=1e-13)
    assert mixed == [(0.8,) if "mixup" in how else ()]
    train(linear(), x, y, mixing.plain())
    assert len(mixed) == 1


def test_teacher_and_student_see_the_same_augmented_images():
    seen = {"student": [], "teacher": []}
    nets = {"student": linear(0), "teacher": linear(5)}
    for name, net in nets.items():
        net.register_forward_pre_hook(lambda _, x, name=name: seen[name].append(x[0].clone()))
    x, y = batch()
    train(nets["student"], x, y, TrainConfig(epochs=3, batch=3, crop="resized", cutmix=True), teacher=nets["teacher"])
    assert len(seen["student"]) == 6
    assert all(torch.equal(a, b) for a, b in zip(*seen.values(), strict=True))
    assert not any(torch.equal(a, x[:3]) for a in seen["student"])


@pytest.mark.parametrize(("crop", "other"), [("pad", "random_resized_crop"), ("resized", "random_crop")])
def test_the_crop_is_the_one_asked_for(monkeypatch, crop, other):
    def refuse(*_):
        raise AssertionError("the other crop")

    monkeypatch.setattr(training.augment, other, refuse)
    x, y = batch()
    train(linear(), x, y, TrainConfig(epochs=1, crop=crop))


def test_the_border_of_the_padded_crop_grows_with_the_image(monkeypatch):
    seen = []
    monkeypatch.setattr(training.augment, "random_crop", lambda x, _, padding: seen.append(padding) or x)
    for size in (8, 28, 32, 64):
        model = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 2))
        train(model, torch.zeros(2, 1, size, size), torch.arange(2), TrainConfig(epochs=1))
    assert seen == [1, 3, 4, 8]


@pytest.mark.parametrize(("n", "size"), [(10, 4), (8, 4), (3, 7), (129, 128)])
def test_every_epoch_sees_every_image_once_in_another_order(no_augmentation, n, size):
    x, y = batch(n)
    x[:, 0, 0, 0] = torch.arange(n)
    seen, model = [], linear()
    model.register_forward_pre_hook(lambda _, x: seen.append(x[0][:, 0, 0, 0].long().tolist()))
    train(model, x, y, TrainConfig(epochs=2, batch=size, lr=1e-4))
    steps = math.ceil(n / size)
    epochs = [list(itertools.chain(*part)) for part in (seen[:steps], seen[steps:])]
    assert len(seen) == 2 * steps
    assert max(map(len, seen)) <= size
    assert min(map(len, seen)) > 1, "batch norm needs two"
    assert [sorted(e) for e in epochs] == [list(range(n))] * 2
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("period", [1.0, 2.0])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_rate_follows_a_cosine_of_the_period(monkeypatch, optimizer, period):
    """Step i of n at lr (1 + cos(π i / (n · period))) / 2: to 0 at period 1, to half of it at 2."""
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    rates, original = [], kind.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        assert self.param_groups[0]["weight_decay"] == 0.03
        return original(self, *args, **kwargs)

    monkeypatch.setattr(kind, "step", step)
    x, y = batch()
    train(linear(), x, y, TrainConfig(5, 3, optimizer, lr=0.2, weight_decay=0.03, period=period))
    assert rates == pytest.approx([0.2 * (1 + math.cos(math.pi * i / (10 * period))) / 2 for i in range(10)])


def test_sgd_has_momentum(no_augmentation):
    """Two steps: v = g₀, then 0.9 v + g₁."""
    config = TrainConfig(epochs=2, batch=100, lr=0.1, weight_decay=0.0)
    model, (x, y), velocity = linear(), batch(), None
    for rate in (0.1, 0.05):
        gradients = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), list(model.parameters()))
        velocity = gradients if velocity is None else [0.9 * v + g for v, g in zip(velocity, gradients, strict=True)]
        for p, v in zip(model.parameters(), velocity, strict=True):
            p.data -= rate * v
    assert torch.allclose(weights(train(linear(), x, y, config)), weights(model), atol=1e-13)


def test_training_follows_its_seed_and_leaves_the_global_generator_alone(digits):
    x, y = digits.normalise(digits.train.images[:100]), digits.train.labels[:100]

    def run(seed: int) -> torch.Tensor:
        return weights(train(build(MODEL, 1, 8, 10), x, y, TrainConfig(epochs=2, batch=50, cutmix=True), seed=seed))

    assert_only_the_seed_decides(run)


def test_training_ends_in_eval_mode_and_trains_in_train_mode(digits):
    modes, model = [], build(MODEL, 1, 8, 10).eval()
    model.register_forward_pre_hook(lambda net, _: modes.append(net.training))
    assert not train(model, digits.normalise(digits.train.images[:20]), digits.train.labels[:20], BRIEF).training
    assert modes == [True]


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(epochs=2, batch=32),
        TrainConfig(epochs=1, batch=50, optimizer="adamw", crop="resized", cutmix=True),
        TrainConfig(epochs=1, batch=1000),
    ],
    ids=["sgd", "cutmix", "one batch"],
)
@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_images_prepared_batch_by_batch_give_the_same_bits(digits, config, labels):
    images, y, sizes = digits.train.images[:100], digits.train.labels[:100], []
    taught = build(MODEL, 1, 8, 10, seed=9).eval() if labels == "soft" else None

    def prepare(part):
        assert part.dtype == torch.uint8
        sizes.append(len(part))
        return digits.normalise(part)

    at_once = train(build(MODEL, 1, 8, 10), digits.normalise(images), y, config, seed=2, teacher=taught)
    in_batches = train(build(MODEL, 1, 8, 10), images, y, config, seed=2, teacher=taught, prepare=prepare)
    assert weights_hash(at_once) == weights_hash(in_batches)
    assert max(sizes) <= config.batch
    assert sum(sizes) == 100 * config.epochs


def test_no_more_than_a_batch_of_floats_is_held(digits, cache, monkeypatch):
    """By a teacher, its test, and students; whatever the size of the data set."""
    sizes, normalise = [], type(digits).normalise
    monkeypatch.setattr(type(digits), "normalise", lambda data, x: sizes.append(len(x)) or normalise(data, x))
    teacher(digits, MODEL, BRIEF, progress=False)
    images, y = digits.train.images, digits.train.labels
    evaluate_images(images, y, digits, MODEL, BRIEF, [0], progress=False)
    assert sum(sizes) == 2 * (len(digits.train) + len(digits.test))
    assert max(sizes) <= max(BRIEF.batch, 500)


def test_a_teacher_in_training_mode_labels_as_in_eval_mode_and_stays_as_it_was(digits):
    images, y = digits.normalise(digits.train.images[:60]), digits.train.labels[:60]
    students, before = [], None
    for mode in (True, False):
        taught = build(MODEL, 1, 8, 10, seed=9).train(mode)
        before = weights_hash(taught)
        students.append(weights_hash(train(build(MODEL, 1, 8, 10), images, y, BRIEF, teacher=taught)))
        assert weights_hash(taught) == before
        assert all(module.training == mode for module in taught.modules())
        assert all(p.requires_grad and p.grad is None for p in taught.parameters())
    assert students[0] == students[1]


def test_progress_is_shown_when_it_has_a_title(capsys, terminal):
    x, y = batch()
    train(linear(), x, y, TrainConfig(epochs=2))
    assert capsys.readouterr().err == ""
    train(linear(), x, y, TrainConfig(epochs=2), progress="the title")
    assert "the title" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("epochs", "batch", "lr", "period", "temperature") for value in (0, -1, math.nan)]
    + [("optimizer", "rmsprop"), ("crop", "centre")],
)
def test_a_bad_setting_is_a_value_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=name):
        TrainConfig(**{name: value})


def test_accuracy_is_the_share_of_right_answers_in_per_cent(digits):
    class Knows(nn.Module):
        def forward(self, x):
            images = digits.denormalise(x).mul(255).round().to(torch.uint8)
            right = torch.stack([digits.test.labels[(digits.test.images == i).all((1, 2, 3))][0] for i in images])
            wrong = torch.arange(len(x)) % 4 == 0
            return nn.functional.one_hot((right + wrong) % 10, 10)

    assert accuracy(Knows(), digits, batch=100) == 75.0
    assert accuracy(Knows(), digits, batch=1000) == 75.0


# ----------------------------------------------------------------------------------------------- teachers


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "teachers"


@pytest.fixture
def once(monkeypatch):
    """Training is allowed once."""
    original, calls = training.train, []

    def counted(*args, **kwargs):
        assert not calls, "trained a second time"
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(training, "train", counted)


def test_a_teacher_learns_and_is_found_again(digits, cache, once):
    config = TrainConfig(epochs=3, batch=64)
    first = teacher(digits, MODEL, config, progress=False)
    assert first.accuracy > 60, "chance is 10"
    assert first.accuracy == accuracy(first.model, digits)
    second = teacher(digits, MODEL, config, progress=False)
    assert (second.hash, second.accuracy) == (first.hash, first.accuracy)
    for ours, theirs in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert second.card() == {
        "hash": weights_hash(first.model),
        "hash_of": "weights",
        "seed": 0,
        "accuracy": first.accuracy,
        "architecture": dataclasses.asdict(MODEL),
    }
    (folder,) = cache.iterdir()
    card = json.loads((folder / "card.json").read_text())
    assert card["hash"] == first.hash
    assert card["accuracy"] == accuracy(second.model, digits)
    assert card["data"] == digits.fingerprint
    assert card["training"] == dataclasses.asdict(config)
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "model.safetensors"]


def test_a_teacher_is_frozen_and_in_eval_mode(digits, cache):
    model = teacher(digits, MODEL, BRIEF, progress=False).model
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_whatever_changes_the_teacher_changes_its_place(digits, cache, monkeypatch):
    def untrained(model, *_, **__):
        return model.eval()

    monkeypatch.setattr(training, "train", untrained)
    other = dataclasses.replace(digits, class_names=tuple("abcdefghij"))
    variants = [
        (digits, MODEL, BRIEF, 0),
        (digits, MODEL, BRIEF, 1),
        (other, MODEL, BRIEF, 0),
        *((digits, dataclasses.replace(MODEL, **c), BRIEF, 0) for c in ({"width": 4}, {"norm": "instance"})),
        *((digits, MODEL, dataclasses.replace(BRIEF, **c), 0) for c in ({"epochs": 2}, {"lr": 0.05}, {"cutmix": True})),
    ]
    folders = [teacher_folder(d, m, c, s)[0] for d, m, c, s in variants]
    for d, m, c, s in variants:
        teacher(d, m, c, seed=s, progress=False)
    assert len(set(folders)) == len(variants)
    assert {*cache.iterdir()} == {*folders}
    renamed = dataclasses.replace(digits, name="renamed")
    assert teacher_folder(renamed, MODEL, BRIEF)[0] == folders[0]


def test_training_never_sees_the_test_images(digits, cache, monkeypatch):
    """Other test images, same weights; and accuracy is asked for once, when training is over."""
    other = dataclasses.replace(digits, test=Split(255 - digits.test.images, digits.test.labels))
    calls, original = [], training.accuracy

    def counted(model, data):
        assert not model.training
        calls.append(weights(model))
        return original(model, data)

    monkeypatch.setattr(training, "accuracy", counted)
    found = [teacher(data, MODEL, BRIEF, progress=False) for data in (digits, other)]
    assert len([*cache.iterdir()]) == 2
    assert found[0].hash == found[1].hash, "which is of the weights"
    assert torch.equal(weights(found[0].model), weights(found[1].model))
    assert len(calls) == 2
    assert torch.equal(calls[0], weights(found[0].model)), "the last epoch's weights"


def test_a_killed_training_leaves_nothing_and_is_done_again(digits, cache, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            teacher(digits, MODEL, BRIEF, progress=False)
    assert not [p for p in cache.rglob("*") if p.is_file()]
    assert teacher(digits, MODEL, BRIEF, progress=False).accuracy > 0


def test_a_damaged_teacher_is_one_error_that_names_its_folder(digits, cache, monkeypatch):
    teacher(digits, MODEL, BRIEF, progress=False)
    (folder,) = cache.iterdir()
    payload = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(payload[:-100])
    with pytest.raises(ValueError, match=folder.name):
        teacher(digits, MODEL, BRIEF, progress=False)
    (folder / "model.safetensors").write_bytes(payload)
    (folder / "card.json").write_text("{")
    with pytest.raises(ValueError, match=folder.name):
        teacher(digits, MODEL, BRIEF, progress=False)


def test_a_store_that_cannot_be_written_fails_before_training(digits, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained before looking")

    monkeypatch.setattr(training, "train", refuse)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        teacher(digits, MODEL, BRIEF, cache=tmp_path / "file", progress=False)
