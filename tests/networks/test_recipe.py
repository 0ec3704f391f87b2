"""What the training of published students has of its own, each against a loop written out in float64."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from toys import randn

from unidd.data.siamese import OPERATIONS
from unidd.networks import training
from unidd.networks.training import Recipe, TrainConfig, train

PLAIN = {"crop": "none", "batch": 100}


def linear() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()


def batch(n: int = 6) -> tuple[Tensor, Tensor]:
    return randn(n, 3, 2, 2, seed=8), torch.arange(n) % 3


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trained(config: TrainConfig, **options) -> Tensor:
    return weights(train(linear(), *batch(), config, **options))


def rates(monkeypatch, config: TrainConfig, n: int = 6) -> list[float]:
    """The rate of every step that the optimiser takes."""
    found, kind = [], {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    original = kind.step

    def step(self, *args, **kwargs):
        found.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(kind, "step", step)
    train(linear(), *batch(n), config)
    return found


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    z = model(x).exp()
    return -(z[range(len(y)), y] / z.sum(1)).log().mean()


# ---------------------------------------------------------------------------------------- the rate, the optimiser


def published(last: int, forgets: bool = True) -> Tensor:
    """SGD at 0.1 over the epochs 0 … E; after E/2 + 1, a tenth of the rate and an optimiser that is made anew."""
    model, (x, y), rate, velocity = linear(), batch(), 0.1, None
    for epoch in range(last + 1):
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(cross_entropy(model, x, y), parameters)
        gradients = [g + 5e-4 * p.detach() for g, p in zip(gradients, parameters, strict=True)]
        velocity = gradients if velocity is None else [0.9 * v + g for v, g in zip(velocity, gradients, strict=True)]
        for p, v in zip(parameters, velocity, strict=True):
            p.data -= rate * v
        if epoch == last // 2 + 1:
            rate *= 0.1
            velocity = None if forgets else velocity
    return weights(model)


@pytest.mark.parametrize("last", [1, 4, 5, 8])
def test_the_rate_drops_after_the_middle_and_the_momentum_is_forgotten(last):
    ours = trained(Recipe(last + 1, **PLAIN, lr=0.1, schedule="drop"))
    assert torch.allclose(ours, published(last), rtol=1e-10, atol=0)
    if last >= 4:
        assert not torch.allclose(ours, published(last, forgets=False), rtol=1e-4)
        assert not torch.allclose(ours, trained(Recipe(last, **PLAIN, lr=0.1, schedule="drop")), rtol=1e-4)


@pytest.mark.parametrize("period", [1.0, 2.0])
def test_a_cosine_from_epoch_to_epoch(monkeypatch, period):
    """A whole one falls to 0, half of one to ½: the epoch after the last would have it."""
    config = Recipe(5, 3, "adamw", lr=0.2, period=period, schedule="epochs", crop="none")
    found = rates(monkeypatch, config)
    assert found == pytest.approx([0.1 * (1 + math.cos(math.pi * e / (5 * period))) for e in range(5) for _ in "ab"])
    assert config.rate(10, 2) == pytest.approx({1.0: 0.0, 2.0: 0.5}[period])


def test_a_rise_and_a_cosine_to_a_hundredth(monkeypatch):
    config = Recipe(6, 3, "adam", lr=0.2, schedule="warm-up", warmup=4, crop="none")
    found = rates(monkeypatch, config)
    expected = [i / 4 for i in range(4)] + [0.01 + 0.99 * (1 + math.cos(math.pi * i / 8)) / 2 for i in range(8)]
    assert found == pytest.approx([0.2 * part for part in expected])
    assert (config.rate(0, 2), config.rate(4, 2), config.rate(12, 2)) == (0.0, 1.0, pytest.approx(0.01))


@pytest.mark.parametrize(
    ("changes", "decays"),
    [
        ({"optimizer": "adamw"}, (True, True)),
        ({"optimizer": "adamw", "decay": "weights"}, (True, False)),
        ({"optimizer": "adam"}, (False, False)),
    ],
    ids=["all", "weights", "none"],
)
def test_three_steps_of_adam_with_the_decay_of_all_of_weights_and_of_nothing(changes, decays):
    """Decay is apart from the moments; the rates are those of a cosine over three epochs."""
    model, (x, y) = linear(), batch()
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in model.parameters()]
    for step in range(3):
        gradients = torch.autograd.grad(cross_entropy(model, x, y), list(model.parameters()))
        rate = 0.01 * (1 + math.cos(math.pi * step / 3)) / 2
        for p, g, both, decayed in zip(model.parameters(), gradients, moments, decays, strict=True):
            both[0] = 0.9 * both[0] + 0.1 * g
            both[1] = 0.999 * both[1] + 0.001 * g * g
            first, second = both[0] / (1 - 0.9 ** (step + 1)), both[1] / (1 - 0.999 ** (step + 1))
            p.data -= rate * (0.3 * p.data if decayed else 0) + rate * first / (second.sqrt() + 1e-8)
    config = Recipe(3, **PLAIN, lr=0.01, weight_decay=0.3, schedule="epochs", **changes)
    assert torch.allclose(trained(config), weights(model), rtol=1e-9, atol=1e-12)


def test_norms_and_tokens_are_no_weights_that_decay():
    norm, convolution = nn.BatchNorm2d(4), nn.Conv2d(3, 4, 3)
    model = nn.Sequential(convolution, norm)
    model.register_parameter("token", nn.Parameter(torch.zeros(1, 1, 8)))
    decayed, others = training._optimizer(model, Recipe(optimizer="adamw", decay="weights")).param_groups
    assert [id(p) for p in decayed["params"]] == [id(convolution.weight)]
    assert (decayed["weight_decay"], others["weight_decay"], len(others["params"])) == (5e-4, 0.0, 4)


# ------------------------------------------------------------------------------------------- the loss, the images


@pytest.mark.parametrize("t_squared", [True, False])
def test_the_divergence_counts_t_squared_times_or_once(t_squared):
    """Three epochs of SGD, the gradient of the KL divergence written out; T² makes 16 times as much of it."""
    teacher, model, (x, _) = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double(), linear(), batch()
    config = Recipe(3, **PLAIN, lr=0.1, weight_decay=0.0, schedule="drop", temperature=4.0, t_squared=t_squared)
    velocity, p = None, teacher(x).detach().div(4).softmax(1)
    for _ in range(3):
        q = (model(x) / 4).softmax(1)
        gradients = torch.autograd.grad((p * (p / q).log()).sum(1).mean(), list(model.parameters()))
        gradients = [g * (16 if t_squared else 1) for g in gradients]
        velocity = gradients if velocity is None else [0.9 * v + g for v, g in zip(velocity, gradients, strict=True)]
        for own, v in zip(model.parameters(), velocity, strict=True):
            own.data -= 0.1 * v
    assert torch.allclose(trained(config, teacher=teacher), weights(model), rtol=1e-9, atol=1e-12)


def seen(config: Recipe, images: Tensor) -> list[Tensor]:
    """The batches that a network is trained on."""
    found, model = [], nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 3)).double()
    model.register_forward_pre_hook(lambda _, x: found.append(x[0].clone()))
    train(model, images, torch.arange(len(images)) % 3, config)
    return found


def test_a_batch_takes_one_siamese_operation_and_each_image_parameters_of_its_own(monkeypatch):
    images = randn(1, 3, 16, 16).expand(8, -1, -1, -1)
    taken = []
    for name in ("rotate", "scale"):
        work = OPERATIONS[name]
        monkeypatch.setitem(OPERATIONS, name, lambda x, u, name=name, work=work: taken.append(name) or work(x, u))
    views = seen(Recipe(12, **PLAIN, strategy="rotate_scale"), images)
    assert len(taken) == len(views) == 12, "one a batch"
    assert set(taken) == {"rotate", "scale"}
    for view in views:
        assert len({tuple(image.flatten().tolist()) for image in view}) == 8
    assert all(torch.equal(view, images) for view in seen(Recipe(2, **PLAIN), images))


def test_crops_flips_and_patches_are_those_asked_for(monkeypatch):
    called = []
    for name in ("random_crop", "random_resized_crop", "flip", "shuffle_patches"):
        monkeypatch.setattr(training.augment, name, lambda x, *given, name=name: called.append((name, given[1:])) or x)
    seen(Recipe(1, 100, crop="flip"), randn(2, 3, 8, 8))
    seen(Recipe(1, 100, crop="resized", scale=0.5, shuffle=2), randn(2, 3, 8, 8))
    assert called == [("flip", ()), ("shuffle_patches", (2,)), ("random_resized_crop", ((0.5, 1.0),)), ("flip", ())]


def test_without_augmentation_a_recipe_shows_images_as_they_are():
    images = randn(4, 3, 8, 8)
    config = Recipe(2, 100, crop="resized", cutmix=True, strategy="color_flip", shuffle=2, schedule="drop", mixup=0.8)
    for view in seen(config.plain(), images):
        assert {tuple(image.flatten().tolist()) for image in view} == {tuple(i.flatten().tolist()) for i in images}
    assert config.plain().schedule == "drop"


def test_a_recipe_of_nothing_else_is_the_training_it_was_made_of():
    for config in (TrainConfig(2, 4), TrainConfig(2, 4, "adamw", 1e-3, 0.1, 2.0, "resized", cutmix=True)):
        assert torch.equal(trained(Recipe.of(config)), trained(config))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("schedule", "linear"), ("decay", "some"), ("strategy", "blur"), ("scale", 0.0), ("scale", 1.1)],
        *[("warmup", -1), ("shuffle", 0), ("epochs", 0), ("mixup", -0.1)],
    ],
)
def test_a_wrong_value_is_one_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=name):
        Recipe(**{name: value})


def test_what_teachers_and_records_say_of_a_training_has_no_new_fields():
    """Teachers are found again by the hash of it."""
    known = ["epochs", "batch", "optimizer", "lr", "weight_decay", "period", "crop", "cutmix", "temperature"]
    assert list(dataclasses.asdict(TrainConfig())) == known
