"""The look at a network before it teaches: what passes, what is refused and why, and that nothing of it is changed."""

import copy
import dataclasses
import warnings

import pytest
import torch
import torchvision.models
from torch import Generator, nn
from toys import CLASSES, data, network, rand

from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side
from unidd.engine.run import Run
from unidd.methods.cfm import CFM
from unidd.networks.checks import better_order, check_answers, check_network
from unidd.networks.models import ModelConfig, build, real_batch, tapped_layers
from unidd.networks.training import Teacher


class Net(nn.Module):
    """A small network whose parts can be spoilt one by one."""

    def __init__(self, outputs=CLASSES, wrap=lambda y: y, look=lambda net, x: net.conv(x), **parts):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, outputs)
        self.wrap, self.look = wrap, look
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.wrap(self.head(self.norm(self.look(self, x)).relu().mean((2, 3))))


def twice(net, x):
    return net.same(net.same(net.conv(x)))


def in_place(net, x):
    x = net.conv(x).movedim(1, -1).contiguous()
    y = net.second(x)
    x.mul_(2)
    return (x + y).movedim(-1, 1)


def spoilt(net, x):
    x = net.conv(x).sigmoid()
    return net.conv.bias.view(-1, 1, 1) * x.mul_(2)


def counting(net, x):
    net.seen += 1
    return net.conv(x)


def by_name(net, x):
    return net.second(input=net.conv(x))


def without_gradient(net, x):
    with torch.no_grad():
        return net.conv(x)


def with_buffer(net: nn.Module) -> nn.Module:
    net.register_buffer("seen", torch.zeros(()))
    return net


def vit(**changes) -> nn.Module:
    shape = {"image_size": 8, "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 12}
    return torchvision.models.VisionTransformer(**shape, num_classes=CLASSES, **changes)


def mlp(*widths: int) -> nn.Module:
    layers = [nn.Flatten()]
    for before, after in zip((192, *widths), (*widths, CLASSES), strict=True):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# ------------------------------------------------------------------------------------------- what it returns


REFUSED = {
    "more outputs": (lambda: Net(1000), "1000 outputs, and toy 4 classes"),
    "fewer outputs": (lambda: Net(3), "3 outputs, and toy 4 classes"),
    "a dict": (lambda: Net(wrap=lambda y: {"logits": y, "extra": y}), r"a dict \(logits, extra\), not logits"),
    "a tuple": (lambda: Net(wrap=lambda y: (y, y)), "returns a tuple"),
    "a list": (lambda: Net(wrap=lambda y: [y]), "returns a list"),
    "nothing": (lambda: Net(wrap=lambda y: None), "returns a NoneType"),
    "a map of logits": (lambda: Net(wrap=lambda y: y[..., None]), r"\(3, 4, 1\) for 3 images"),
    "one answer for all": (lambda: Net(wrap=lambda y: y.mean(0, keepdim=True)), r"\(1, 4\) for 3 images"),
    "classes, no logits": (lambda: Net(wrap=lambda y: (y > 0).long()), "logits are int64"),
    "half logits": (lambda: Net(wrap=lambda y: y.half()), "logits are float16, not float32"),
    "half weights": (lambda: Net().half(), r"weights are float16: give it as float32"),
    "brain weights": (lambda: Net().bfloat16(), r"weights are bfloat16"),
    "not finite": (lambda: Net(wrap=lambda y: y / 0), "not finite"),
    "another size": (lambda: build(ModelConfig(width=4), 3, 16, CLASSES), r"does not take images \(3, 8, 8\)"),
    "one channel": (lambda: build(ModelConfig(width=4), 1, 8, CLASSES), r"does not take images \(3, 8, 8\)"),
    "own mistake": (lambda: Net(wrap=lambda y: y.no_such_thing), "no_such_thing"),
    "saved and changed": (lambda: Net(look=spoilt), "has no gradient: one of the variables"),
    "detached": (lambda: Net(wrap=lambda y: y.detach()), "no gradient reaches the images"),
    "changes itself": (lambda: with_buffer(Net(look=counting)), "changes its own weights or buffers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_cannot_teach_is_one_error(case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as error:
        check_network(make(), data(), None, gradient=True)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=message):
        CFM(steps=1).distill(data(), Teacher(make()), Run(1))


def test_images_that_get_no_gradient_are_told_from_weights_that_do():
    with pytest.raises(ValueError, match="no gradient reaches the images"):
        check_network(Net(look=without_gradient), data(), (), gradient=True)
    assert check_network(Net(look=without_gradient), data()) == [], "a student needs none"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("asking", [True, False])
@pytest.mark.parametrize(
    "make", [Net, vit, lambda: build(ModelConfig(width=4), 3, 8, CLASSES)], ids=["net", "vit", "conv"]
)
def test_the_look_changes_nothing(make, training, asking):
    net = make().train(training).requires_grad_(asking)
    before = copy.deepcopy(net.state_dict())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    check_network(net, data(), (), gradient=True)
    check_answers(net, data())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(module.training == training for module in net.modules())
    assert all(p.requires_grad == asking and p.grad is None for p in net.parameters())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_modes_that_differ_from_layer_to_layer_are_given_back():
    net = Net().train()
    net.norm.eval()
    CFM(steps=1).distill(data(), Teacher(net), Run(1))
    assert (net.training, net.conv.training, net.norm.training) == (True, True, False)


def test_a_double_teacher_is_looked_at_with_doubles():
    assert check_network(network(), data(), None, gradient=True) == ["0", "4", "7"]


def test_a_network_elsewhere_is_refused():
    with pytest.raises(ValueError, match="on meta, the images on cpu"):
        check_network(Net().to("meta"), data())


# ---------------------------------------------------------------------------------------------------- layers


LAYERS = {
    "never": (lambda: Net(aux=nn.Conv2d(6, 6, 1)), None, "layer aux is called never"),
    "twice": (lambda: Net(look=twice, same=nn.Conv2d(6, 6, 1)), None, "layer same is called 2 times"),
    "attention's own product": (vit, ("*.out_proj",), "out_proj is called never"),
    "in place": (lambda: Net(look=in_place, second=nn.Linear(6, 6)), ("second",), "second is changed in place"),
    "by name": (lambda: Net(look=by_name, second=nn.Conv2d(6, 6, 1)), None, "second is not called with a tensor"),
    "unknown": (Net, ("cnov",), "no layer 'cnov'.*as in conv"),
    "unknown pattern": (Net, ("conv", "block.*"), r"no layer 'block\.\*'"),
    "no convolution": (lambda: mlp(9, 8), None, "no convolution, so there is no layer to match.*such as 1, 3"),
    "a linear classifier": (mlp, None, "no convolution.*such as 1"),
    "patches alone": (vit, None, "conv_proj would be matched alone.*such as encoder.layers"),
    "a block of maps": (lambda: build(ModelConfig("resnet18"), 3, 8, CLASSES), ("layer1.1",), "BasicBlock layer1.1"),
    "tokens first": (
        lambda: Net(
            look=lambda net, x: net.mix(y := net.conv(x).flatten(2).movedim(2, 0), y, y)[0].movedim(0, 2)[..., None],
            mix=nn.MultiheadAttention(6, 2),
        ),
        ("mix",),
        "first axis of the layer mix's input",
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_that_cannot_be_matched_is_named(case):
    make, layers, message = LAYERS[case]
    with pytest.raises(ValueError, match=message) as error:
        CFM(steps=1, layers=layers).distill(data(), Teacher(make()), Run(1))
    assert "\n" not in str(error.value)


def test_layers_that_are_not_called_hinder_nobody_who_matches_none():
    CFM(steps=1, filter="none").distill(data(), Teacher(Net(aux=nn.Conv2d(6, 6, 1))), Run(1))
    assert check_network(Net(aux=nn.Conv2d(6, 6, 1)), data(), ("conv",)) == ["conv"]


@pytest.mark.parametrize(
    ("make", "layers", "names"),
    [
        (lambda: mlp(9, 8), ("3",), ["3"]),
        (lambda: mlp(9, 8), ("5", "3"), ["3", "5"]),
        (vit, ("encoder.layers.*.mlp.0",), [f"encoder.layers.encoder_layer_{i}.mlp.0" for i in (0, 1)]),
        (
            vit,
            ("encoder.ln", "*self_attention"),
            [f"encoder.layers.encoder_layer_{i}.self_attention" for i in (0, 1)] + ["encoder.ln"],
        ),
        (Net, ("head", "conv"), ["conv", "head"]),
    ],
    ids=["mlp", "order", "pattern", "tokens", "both kinds"],
)
def test_layers_are_matched_that_are_named(make, layers, names):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = Teacher(make())
    assert teacher.check(data(), layers) == names
    made = CFM(steps=4, layers=layers).distill(data(), teacher, Run(2))
    assert made.config["layers"] == layers
    assert all(entry["filter"] > 0 and entry["signal"] > 0 for entry in made.history)
    assert not torch.equal(made.images, CFM(steps=4, filter="none").distill(data(), teacher, Run(2)).images)
    assert [*real_side("mean", data(), teacher.model, Ranks(), layers=layers)] == names


def test_layers_are_part_of_what_a_run_and_its_statistics_are():
    teacher, run = Teacher(vit()), Run(1)
    one, other = (CFM(steps=1, layers=(name,)) for name in ("encoder.ln", "heads.head"))
    assert one.identity(data(), run) != other.identity(data(), run)
    found = [real_side("mean", data(), teacher.model, Ranks(), layers=m.layers) for m in (one, other)]
    assert [list(statistics) for statistics in found] == [["encoder.ln"], ["heads.head"]]


@pytest.mark.parametrize("layers", ["conv", (), ("",), (3,), ["head", None], 5])
def test_layers_that_are_no_names_are_refused(layers):
    if layers == ("",):
        with pytest.raises(ValueError, match="no layer ''"):
            tapped_layers(Net(), layers)
        return
    with pytest.raises(ValueError, match="layers must"):
        CFM(layers=layers)


def test_shortcuts_are_left_out_by_either_name():
    net = Net(shortcut=nn.Conv2d(3, 6, 1), downsample=nn.Conv2d(3, 6, 1))
    assert tapped_layers(net) == ["conv"]


@pytest.mark.parametrize(("name", "size"), [("googlenet", 32), ("inception_v3", 75), ("shufflenet_v2_x0_5", 32)])
def test_networks_of_several_outputs_are_trained_and_matched(name, size):
    big = rand(4, 3, size, size).mul(255).to(torch.uint8)
    split = dataclasses.replace(data().train, images=big, labels=torch.arange(4))
    images = dataclasses.replace(data(), train=split, test=split)
    net = build(ModelConfig(name), 3, size, CLASSES)
    assert isinstance(net.train()(images.normalise(big)), torch.Tensor), "also in training"
    assert len(check_network(net, images, None, gradient=True)) > 30


def test_a_network_with_auxiliary_heads_is_told_what_to_do():
    small = rand(4, 3, 32, 32).mul(255).to(torch.uint8)
    split = dataclasses.replace(data().train, images=small, labels=torch.arange(4))
    images = dataclasses.replace(data(), train=split, test=split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torchvision.models.googlenet(num_classes=CLASSES, init_weights=True)
    with pytest.raises(ValueError, match=r"layer aux1\S+ is called never.*name others"):
        check_network(net, images, None)
    assert len(check_network(net, images, ("inception*.conv",))) == len(
        [n for n in tapped_layers(net) if n.startswith("inception")]
    )


# ------------------------------------------------------------------------------------------------ class order


def answers(classes: int, n: int, skill: float, seed: int, order: list[int] | None = None):
    """Predictions of a network that is right with probability `skill`, its outputs reordered; images by class."""
    generator = Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(n // classes)
    guess = torch.randint(0, classes, labels.shape, generator=generator)
    found = torch.where(torch.rand(labels.shape, generator=generator) < skill, labels, guess)
    return (found if order is None else torch.tensor(order)[found]), labels


def swapped(classes: int, a: int, b: int) -> list[int]:
    order = list(range(classes))
    order[a], order[b] = b, a
    return order


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("classes", "n", "skill", "order"),
    [
        (10, 500, 0.75, swapped(10, 0, 1)),
        (10, 500, 0.4, list(range(9, -1, -1))),
        (5, 500, 0.6, [1, 2, 3, 4, 0]),
        (2, 200, 0.8, [1, 0]),
        (100, 500, 0.6, [*range(1, 100), 0]),
    ],
)
def test_an_order_is_found(classes, n, skill, order, seed):
    better, found = better_order(*answers(classes, n, skill, seed, order), classes)
    assert [found[order[k]] for k in range(classes)].count(0) == 1
    agree = sum(found[order[k]] == k for k in range(classes))
    assert agree == classes if classes < 100 else agree > 80
    plain = float((torch.tensor(order) == torch.arange(classes)).double().mean()) * skill
    assert better > plain + 0.05


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("classes", "n", "skill"), [(10, 500, 0.0), (10, 60, 0.3), (200, 400, 0.5), (3, 12, 0.9), (2, 8, 0.0)]
)
def test_luck_is_no_order(classes, n, skill, seed):
    assert better_order(*answers(classes, n, skill, seed), classes) is None


class Says(nn.Module):
    """Knows the right answers, and gives them in an order of its own."""

    def __init__(self, order: list[int], sure: float = 9.0, right: float = 0.8):
        super().__init__()
        self.order, self.sure, self.right = torch.tensor(order), sure, right

    def forward(self, x):
        seen = TOLD.denormalise(x)[:, 0, 0, 0].mul(255).round().long()
        lucky = torch.rand(256, generator=Generator().manual_seed(1))[seen] < self.right
        return self.sure * nn.functional.one_hot(self.order[torch.where(lucky, seen % 4, (seen + 1) % 4)], 4).float()


def _told():
    images = torch.arange(200).view(200, 1, 1, 1).expand(200, 3, 8, 8).to(torch.uint8)
    split = dataclasses.replace(data().train, images=images, labels=torch.arange(200) % 4)
    return dataclasses.replace(data(), train=split, test=split)


TOLD = _told()


def test_a_teacher_of_another_class_order_is_told_which():
    assert check_answers(Says([0, 1, 2, 3]), TOLD).note == ""
    with pytest.raises(ValueError, match=r"another class order than toy.*output 0 stands for 'cat'.*--order"):
        check_answers(Says([2, 1, 0, 3]), TOLD)
    with pytest.raises(
        ValueError, match="output 0 stands for 'bee' and output 1 for 'cat' and output 2 for 'dog' and so"
    ):
        Teacher.of(Says([3, 0, 1, 2]), TOLD)


def test_a_network_that_knows_nothing_is_noted_and_not_refused():
    untrained = Says([2, 1, 0, 3], sure=0.1)
    found = check_answers(untrained, TOLD)
    assert found.images == 200
    assert found.accuracy < 50
    with pytest.warns(UserWarning, match="no better than chance"):
        Teacher.of(Says([1, 2, 3, 0], sure=0.1), TOLD)


@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_network_is_never_out_of_order(digits, seed):
    assert check_answers(build(ModelConfig(width=16), 1, 8, 10, seed), digits).images == 360


def test_the_look_takes_few_images_of_every_class(monkeypatch):
    many = dataclasses.replace(TOLD, test=TOLD.train.take(torch.arange(2000) % 200))
    seen = []
    net = Says([0, 1, 2, 3])
    net.register_forward_pre_hook(lambda _, x: seen.append(TOLD.denormalise(x[0])[:, 0, 0, 0].mul(255).round().long()))
    assert check_answers(net, many).images == 500
    labels = torch.cat(seen) % 4
    assert labels.bincount().tolist() == [125] * 4
    assert max(map(len, seen)) <= real_batch(TOLD.size)


class Reads(nn.Module):
    """Reads the class from the first two pixels; may take two classes for each other."""

    def __init__(self, *swapped: int):
        super().__init__()
        self.swapped = swapped

    def forward(self, x):
        pixels = MANY.denormalise(x)[:, 0, 0, :2].mul(255).round().long()
        order = torch.arange(MANY.classes)
        if self.swapped:
            order[list(self.swapped)] = order[list(self.swapped[::-1])]
        return 9 * nn.functional.one_hot(order[pixels[:, 0] + pixels[:, 1]], MANY.classes).float()


def _many():
    """Two hundred classes of twenty images, the second pixel of which tells more than 0."""
    labels = torch.arange(4000) % 200
    images = torch.zeros(4000, 3, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = labels % 128, labels - labels % 128
    split = dataclasses.replace(data().train, images=images, labels=labels)
    return dataclasses.replace(data(), train=split, test=split, class_names=tuple(map(str, range(200))))


MANY = _many()


def test_two_of_many_classes_that_changed_places_are_found_in_all_images():
    assert check_answers(Reads(7, 130), MANY).accuracy == pytest.approx(99, abs=0.5), "too few to tell"
    with pytest.raises(ValueError, match="output 7 stands for '130' and output 130 for '7': say the class names"):
        Teacher.of(Reads(7, 130), MANY, layers=())
    assert Teacher.of(Reads(), MANY, layers=()).accuracy == 100
