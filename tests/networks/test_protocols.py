"""The protocols of published methods: their settings as they were published, and their training by hand in float64."""

import math

import pytest
import torch
from torch import Tensor, nn
from toys import randn

from unidd.data.siamese import STRATEGY
from unidd.data.synthetic import SyntheticSet
from unidd.networks.evaluation import RECORDED, REGIMES, SoftLabels, centred_labels
from unidd.networks.protocols import PROTOCOLS, Students, beside, find_protocol
from unidd.networks.training import Recipe, train


def asked(images: int = 10, ipc: int = 1, classes: int = 10, **changes) -> Students:
    return Students(images, ipc, classes, **changes)


def recipe(name: str, *given, **changes) -> Recipe:
    return PROTOCOLS[name].recipe(asked(*given, **changes))


# ------------------------------------------------------------------------------------------ as they were published

VICO = {"batch": 256, "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4, "crop": "none", "schedule": "drop"}
DECOUPLED = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.01, "decay": "weights", "schedule": "epochs"}
DECOUPLED |= {"cutmix": True, "temperature": 20.0, "t_squared": False, "epochs": 300}
PUBLISHED = {
    "dc": (["hard"], "convnet-instance", Recipe(301, **VICO)),
    "dsa": (["hard"], "convnet-instance", Recipe(1001, **VICO, strategy=STRATEGY)),
    "mtt": (["hard"], "convnet-instance", Recipe(1001, **VICO, strategy=STRATEGY)),
    "frepo": (
        ["fixed-soft"],
        "convnet-doubling-none",
        Recipe(
            *(1000, 10, "adam", 3e-4),
            **{"crop": "none", "schedule": "warm-up", "warmup": 500},
            strategy="flip_color_scale_rotate_crop_cutout",
        ),
    ),
    "sre2l": (["online-soft"], "resnet18", Recipe(batch=10, crop="resized", scale=0.08, **DECOUPLED)),
    "rded": (["online-soft"], "resnet18", Recipe(batch=10, crop="flip", period=2.0, **DECOUPLED)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_protocol_is_what_was_published(name):
    regimes, model, published = PUBLISHED[name]
    protocol = find_protocol(name)
    assert (list(protocol.regimes), protocol.recorded, protocol.model) == (regimes, tuple(regimes), model)
    assert protocol.recipe(asked()) == published
    assert protocol.centred == (name == "frepo")


def test_the_packages_own_protocol_is_the_budgets():
    own = find_protocol("unidd")
    assert (own.recipe, own.model, own.regimes, own.recorded) == (None, None, REGIMES, RECORDED)
    assert set(PROTOCOLS) == {"unidd", *PUBLISHED}


@pytest.mark.parametrize(("name", "last"), [("dc", 300), ("dsa", 1000), ("mtt", 1000)])
@pytest.mark.parametrize("share", [1.0, 0.2, 0.002])
def test_one_epoch_more_than_its_number_says(name, last, share):
    assert recipe(name, share=share).epochs == max(1, round(last * share)) + 1


@pytest.mark.parametrize(
    ("images", "steps"),
    [(10, 1000), (100, 2000), (200, 20000), (400, 5000), (500, 5000), (1000, 10000), (2000, 40000), (5000, 40000)],
)
def test_frepos_steps_go_by_the_number_of_images(images, steps):
    found = recipe("frepo", images)
    assert found.epochs * math.ceil(images / found.batch) == steps
    assert found.batch == min(images, 500)
    assert recipe("frepo", images - 1).epochs >= found.epochs, "of another number, the steps of the next larger one"
    assert recipe("frepo", images, share=0.2).warmup == 100


def test_grey_images_are_not_flipped_for_frepo():
    assert recipe("frepo", channels=1).strategy == "color_scale_rotate_crop_cutout"


@pytest.mark.parametrize(
    ("ipc", "classes", "batch"),
    [(1, 10, 10), (10, 10, 50), (50, 10, 100), (1, 100, 20), (10, 100, 100), (50, 1000, 200), (1, 200, 100), (1, 4, 4)],
)
def test_rdeds_batch_goes_by_images_per_class(ipc, classes, batch):
    assert recipe("rded", ipc * classes, ipc, classes).batch == batch


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        *[("resnet18", 1e-3), ("convnet", 1e-3), ("vgg11-small", 5e-4), ("mobilenet-small", 2.5e-3)],
        *[("vit-small", 1e-4), ("efficientnet_b0", 2e-3), ("swin_v2_t", 1e-4)],
    ],
)
def test_rdeds_rate_goes_by_the_student(model, rate):
    assert recipe("rded", model=model).lr == rate


def test_rdeds_mosaics_are_shuffled_and_cropped_as_their_patches_ask():
    found = recipe("rded", card={"method": "rded", "factor": 2})
    assert (found.shuffle, found.crop, found.scale) == (2, "resized", 0.5)
    whole = recipe("rded", card={"method": "fadrm", "factor": 2})
    assert (whole.shuffle, whole.crop) == (recipe("rded").shuffle, "flip"), "FADRM's images are no mosaics"


def test_sre2ls_batch_is_that_of_imagenet():
    assert [recipe("sre2l", n).batch for n in (10, 1000, 5000)] == [10, 1000, 1024]


def test_sre2l_trains_on_cifar_100_and_tiny_imagenet_as_there():
    cifar, tiny = (recipe("sre2l", 10 * classes, 10, classes) for classes in (100, 200))
    seen = {"epochs": 400, "cutmix": False, "mixup": 0.8, "temperature": 30.0, "crop": "pad"}
    assert cifar == Recipe(batch=128, **DECOUPLED | {"decay": "all"} | seen)
    told = {"lr": 0.2, "weight_decay": 1e-4, "crop": "resized", "temperature": 20.0, "t_squared": True}
    assert tiny == Recipe(100, 256, "sgd", **told, schedule="warm-up", warmup=5 * 8)
    assert recipe("sre2l", 2000, 10, 200, share=0.2).warmup == 8
    assert [tiny.rate(step, 8) for step in (0, 20, 40, 800)] == pytest.approx([0, 0.5, 1, 0.01])


def test_half_a_cosine_ends_at_half_the_rate_and_a_whole_one_at_none():
    ends = {name: recipe(name).rate(300 * 7, 7) for name in ("rded", "sre2l")}
    assert ends == {"rded": pytest.approx(0.5), "sre2l": pytest.approx(0.0)}
    assert recipe("rded").rate(299 * 7, 7) > 0.5


# ----------------------------------------------------------------------------------------- what a set's card says


def test_operations_are_those_that_the_set_was_made_with():
    for name in ("dsa", "mtt"):
        assert recipe(name, card={"strategy": "color_crop"}).strategy == "color_crop"
        assert recipe(name, card={"strategy": "none"}).strategy == STRATEGY, "of DC, which has none"
    assert recipe("dc", card={"strategy": "color_crop"}).strategy == "none"


@pytest.mark.parametrize(
    ("card", "rate"),
    [
        ({}, 0.01),
        ({"learnt": {"lr": 0.03}}, 0.03),
        ({"import": {"learning_rate": 0.02}}, 0.02),
        ({"learnt": {"lr": 0.03}, "import": {}}, 0.03),
    ],
)
def test_mtt_starts_from_the_rate_that_was_learnt(card, rate):
    found = recipe("mtt", card={**card, "strategy": "color_crop"})
    assert found == Recipe(1001, **VICO | {"lr": rate}, strategy="color_crop")
    assert recipe("mtt", card=beside({**card, "strategy": "color_crop"})) == found, "and random images beside it"
    assert recipe("dsa", card=card).lr == 0.01


def test_an_imported_set_without_its_rate_is_refused():
    with pytest.raises(ValueError, match=r"rate that was learnt .* import it with --rate, or take the protocol dsa"):
        recipe("mtt", card={"import": {"format": "MTT"}})


@pytest.mark.parametrize(
    ("name", "regimes", "message"),
    [
        ("dd", (), "unknown protocol 'dd': choose one of unidd, dc, dsa"),
        ("dc", ("hard", "online-soft"), "dc has hard labels alone, not online-soft"),
        ("frepo", ("hard",), "frepo has fixed-soft labels alone, not hard"),
        ("rded", ("fixed-soft",), "rded has online-soft labels alone, not fixed-soft"),
    ],
)
def test_a_protocol_that_is_not_there_or_has_no_such_labels(name, regimes, message):
    with pytest.raises(ValueError, match=message):
        find_protocol(name, regimes)


# -------------------------------------------------------------------------------------------------- labels


def stored(soft: Tensor | None, kind: str = "") -> SyntheticSet:
    card = {"learnt": {"soft labels": kind}} if kind else {}
    about = ("a", "b", "c"), (0.5,), (0.5,), card
    return SyntheticSet(torch.zeros(3, 1, 4, 4), torch.tensor([0, 2, 1]), *about, soft=soft)


def test_centred_labels_are_those_learnt_or_else_one_hot_less_their_mean():
    learnt = torch.tensor([[0.6, -0.3, -0.2], [0.1, 0.1, 0.9], [0.0, 0.5, 0.2]])
    assert torch.equal(centred_labels(stored(learnt, "centred")).values, learnt)
    expected = torch.tensor([[2.0, -1, -1], [-1, -1, 2], [-1, 2, -1]]) / 3
    assert torch.allclose(centred_labels(stored(None)).values, expected)
    for kind in ("logits", "probabilities"):
        with pytest.raises(ValueError, match=f"the set stores {kind}, and its labels are to be centred"):
            centred_labels(stored(learnt, kind))


# ------------------------------------------------------------------------------------------- the training by hand


def linear(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()


def adam(loss_of, rates: list[float], decays: tuple[float, float]) -> Tensor:
    """Weights after steps of Adam at these rates, with decay apart from the moments, of weight and bias."""
    model = linear()
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in model.parameters()]
    for step, rate in enumerate(rates, 1):
        gradients = torch.autograd.grad(loss_of(model), list(model.parameters()))
        for p, g, both, decay in zip(model.parameters(), gradients, moments, decays, strict=True):
            both[0], both[1] = 0.9 * both[0] + 0.1 * g, 0.999 * both[1] + 0.001 * g * g
            first, second = both[0] / (1 - 0.9**step), both[1] / (1 - 0.999**step)
            p.data = p.data - rate * decay * p.data - rate * first / (second.sqrt() + 1e-8)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trained(config: Recipe, x: Tensor, y: Tensor, **options) -> Tensor:
    model = train(linear(), x, y, config.plain(), **options)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(("name", "period"), [("sre2l", 1), ("rded", 2)])
def test_students_of_sre2l_and_rded_by_hand(name, period):
    """Three epochs: KL at temperature 20 without T², the rate of an epoch by a cosine, biases without decay."""
    x, teacher = randn(6, 3, 2, 2, seed=8), linear(5)
    p = (teacher(x).detach() / 20).softmax(1)

    def loss(model: nn.Module) -> Tensor:
        return (p * (p.log() - (model(x) / 20).log_softmax(1))).sum(1).mean()

    rates = [1e-3 * (1 + math.cos(math.pi * epoch / (3 * period))) / 2 for epoch in range(3)]
    ours = trained(recipe(name, 6, 2, 3, share=0.01), x, torch.arange(6) % 3, teacher=teacher)
    assert torch.allclose(ours, adam(loss, rates, (0.01, 0.0)), rtol=1e-8, atol=1e-12)
    assert not torch.allclose(ours, adam(loss, rates, (0.01, 0.01)), rtol=1e-8, atol=1e-12)
    with_t_squared = adam(lambda model: 400 * loss(model), rates, (0.01, 0.0))
    assert not torch.allclose(ours, with_t_squared, rtol=1e-8, atol=1e-12), "as ε of Adam tells"


def test_students_of_frepo_by_hand():
    """Five steps, of which the rate rises for two, on half the square of what the labels are missed by."""
    x, labels = randn(6, 3, 2, 2, seed=8), randn(6, 3, seed=4)
    config = recipe("frepo", 6, 2, 3, share=0.005)
    assert (config.epochs, config.warmup, config.batch) == (5, 2, 6)
    rates = [0.0, 0.5, *(0.01 + 0.99 * (1 + math.cos(math.pi * i / 3)) / 2 for i in range(3))]
    hand = adam(lambda model: ((model(x) - labels) ** 2).sum() / 12, [3e-4 * r for r in rates], (0.0, 0.0))
    values, criterion = SoftLabels(labels, "centred").learnt(20.0)
    assert torch.allclose(trained(config, x, values, criterion=criterion), hand, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["dc", "dsa", "mtt"])
def test_students_of_dc_dsa_and_mtt_by_hand(name):
    """E = 6: seven epochs, the rate a tenth after the fifth, whose momentum is forgotten; MTT from its own rate."""
    x, y = randn(6, 3, 2, 2, seed=8), torch.arange(6) % 3
    config = recipe(name, 6, 2, 3, share={"dc": 0.02}.get(name, 0.006), card={"learnt": {"lr": 0.2}})
    rate, model, velocity = (0.2 if name == "mtt" else 0.01), linear(), None
    for epoch in range(7):
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(-model(x).log_softmax(1)[range(6), y].mean(), parameters)
        gradients = [g + 5e-4 * p.detach() for g, p in zip(gradients, parameters, strict=True)]
        velocity = gradients if velocity is None else [0.9 * v + g for v, g in zip(velocity, gradients, strict=True)]
        for p, v in zip(parameters, velocity, strict=True):
            p.data -= rate * v
        if epoch == 4:
            rate, velocity = rate / 10, None
    hand = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert config.epochs == 7
    assert torch.allclose(trained(config, x, y), hand, rtol=1e-10, atol=0)
