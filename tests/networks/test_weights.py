"""Files of weights: of this package and of others, whole and not, and what has to be said about them."""

import copy
import dataclasses
import json
import os

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import nn
from toys import CLASSES, data, rand

from unidd.data.datasets import ImageData
from unidd.networks.models import ModelConfig, build, weights_hash
from unidd.networks.training import Teacher, TrainConfig, teacher
from unidd.networks.weights import PUBLISHED, fit, read_weights, said_constants

OURS = ModelConfig(width=4, depth=2)
pytestmark = pytest.mark.filterwarnings("ignore:the teacher gets")  # no better than chance, which none is trained to


def net(**changes) -> nn.Module:
    """A ConvNet in eval mode whose norms have seen something."""
    made = build(dataclasses.replace(OURS, **changes), 3, 8, CLASSES, seed=1).train()
    made(rand(8, 3, 8, 8))
    return made.eval().requires_grad_(False)


def found(path, **said) -> tuple[nn.Module, ModelConfig]:
    return fit(read_weights(path), data(), **said)


def assert_same(ours: nn.Module, theirs: nn.Module, channels: int = 3, size: int = 8) -> None:
    """The same answers; the mode is left as it is."""
    x = rand(5, channels, size, size, seed=2)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def released(made: nn.Module) -> dict:
    """A ConvNet's weights by the names of UniDD's released checkpoints: all convolutions, all norms, the classifier."""
    state = made.state_dict()
    names = {f"layers.conv.{i}.": f"features.{4 * i}." for i in range(2)}
    names |= {f"layers.norm.{i}.": f"features.{4 * i + 1}." for i in range(2)} | {"classifier.": "head."}
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {a + part: state[b + part] for a, b in names.items() for part in parts if b + part in state}


# ------------------------------------------------------------------------------------------------- containers


CONTAINERS = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "best": 0.9},
    "model beside an optimiser": lambda s: {"optimizer": {"state": {0: {"m": torch.zeros(2, 2)}}}, "model": s},
    "net": lambda s: {"net": s, "acc": 91.2, "rng": torch.get_rng_state()},
    "another word": lambda s: {"ema": s, "step": 7},
    "nested": lambda s: {"checkpoint": {"model_state_dict": s}},
    "data parallel": lambda s: {f"module.{name}": value for name, value in s.items()},
    "compiled": lambda s: {f"_orig_mod.module.{name}": value for name, value in s.items()},
    "averaged": lambda s: {"n_averaged": torch.tensor(5)} | {f"module.{name}": value for name, value in s.items()},
    "lightning": lambda s: {"state_dict": {f"model.{name}": value for name, value in s.items()}, "loops": {}},
    "doubles": lambda s: {name: value.double() if value.is_floating_point() else value for name, value in s.items()},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_state_dict_is_found_in_what_people_save(container, tmp_path):
    made = net()
    torch.save(CONTAINERS[container](made.state_dict()), tmp_path / "best.pth")
    again, config = found(tmp_path / "best.pth", pooling="avg")
    assert config == OURS
    assert_same(made, again)
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())


def test_half_precision_is_read_as_single(tmp_path):
    made = net()
    torch.save(copy.deepcopy(made).half().state_dict(), tmp_path / "half.pt")
    again, _ = found(tmp_path / "half.pt", pooling="avg")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert torch.allclose(again(x := rand(5, 3, 8, 8)), made(x), atol=0.02)


def test_safetensors_are_read_with_and_without_a_card(tmp_path):
    made = net(pooling="max")
    save_file({name: value.contiguous() for name, value in made.state_dict().items()}, tmp_path / "model.safetensors")
    assert_same(made, found(tmp_path / "model.safetensors", pooling="max")[0])
    card = {"model": dataclasses.asdict(dataclasses.replace(OURS, pooling="max"))}
    (tmp_path / "card.json").write_text(json.dumps(card))
    for path in (tmp_path / "model.safetensors", tmp_path, str(tmp_path)):
        assert_same(made, found(path)[0])


def test_a_state_dict_is_saved_with_its_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(net().state_dict(), tmp_path / "mine.pth")
    assert found("~/mine.pth", pooling="avg")[1] == OURS


# ---------------------------------------------------------------------------------------------- architectures


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_convnet_is_known_by_its_shapes(norm, pooling, depth, tmp_path):
    made = net(norm=norm, pooling=pooling, depth=depth, width=5)
    torch.save(made.state_dict(), tmp_path / "a.pth")
    again, config = found(tmp_path / "a.pth", pooling=pooling)
    assert config == ModelConfig("convnet", 5, depth, norm, pooling)
    assert_same(made, again)


def test_a_released_convnet_is_known_by_its_names(tmp_path):
    made = net()
    torch.save(released(made), tmp_path / "ConvNetW4D2.pth")
    again, config = found(tmp_path / "ConvNetW4D2.pth")
    assert config == OURS
    assert_same(made, again)


class Theirs(nn.Module):
    """The ConvNet of DC and its kin: what is left out has no place in the list; without norms, no biases."""

    def __init__(self, norm: bool):
        super().__init__()
        layers = []
        for channels in (3, 6):
            layers += [nn.Conv2d(channels, 6, 3, padding=1, bias=norm)]
            layers += [nn.GroupNorm(6, 6)] if norm else []
            layers += [nn.ReLU(), nn.AvgPool2d(2)]
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(24, CLASSES)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@pytest.mark.parametrize(("norm", "word"), [(True, "instance"), (False, "none")])
def test_the_convnet_of_others_is_the_same_network(norm, word, tmp_path):
    theirs = Theirs(norm).eval()
    torch.save(theirs.state_dict(), tmp_path / "dc.pt")
    again, config = found(tmp_path / "dc.pt", pooling="avg")
    assert config == ModelConfig("convnet", 6, 2, word)
    x = rand(5, 3, 8, 8)
    assert torch.allclose(again(x), theirs(x), atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_a_resnet_is_known_by_its_shapes(name, tmp_path):
    made = build(ModelConfig(name), 3, 8, CLASSES, seed=1).eval()
    torch.save(made.state_dict(), tmp_path / "a.pth")
    again, config = found(tmp_path / "a.pth")
    assert config.name == name
    assert_same(made, again)


@pytest.mark.parametrize(
    ("shortcut", "head"), [("shortcut", "linear"), ("shortcut", "classifier"), ("downsample", "fc")]
)
def test_a_resnet_by_the_names_of_others(shortcut, head, tmp_path):
    made = build(ModelConfig("resnet18"), 3, 8, CLASSES, seed=1).eval()
    renamed = {k.replace("downsample", shortcut).replace("fc.", f"{head}."): v for k, v in made.state_dict().items()}
    torch.save({"net": renamed}, tmp_path / "ckpt.pth")
    assert_same(made, found(tmp_path / "ckpt.pth")[0])


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "googlenet"])
def test_another_architecture_is_asked_for_by_name(name, tmp_path):
    images = _larger(32)
    made = build(ModelConfig(name), 3, 32, CLASSES, seed=1).eval()
    state = dict(made.state_dict())
    if name == "googlenet":  # as torchvision's own weights have them
        state |= {"aux1.fc2.weight": torch.zeros(1000, 1024), "aux2.conv.conv.weight": torch.zeros(128, 512, 1, 1)}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"another architecture than ConvNet and ResNet.*say --model"):
        fit(read_weights(tmp_path / "a.pth"), images)
    again, config = fit(read_weights(tmp_path / "a.pth"), images, model=name)
    assert config.name == name
    assert_same(made, again, size=32)


def _larger(size: int) -> ImageData:
    images = rand(8, 3, size, size).mul(255).to(torch.uint8)
    split = dataclasses.replace(data().train, images=images, labels=torch.arange(8) % CLASSES)
    return dataclasses.replace(data(), train=split, test=split)


# ----------------------------------------------------------------------------------------------------- orders


def test_outputs_in_another_order_are_put_right(tmp_path):
    made = net()
    names = ["dog", "ant", "cat", "bee"]
    state, index = dict(made.state_dict()), torch.tensor([data().class_names.index(name) for name in names])
    state |= {f"head.{part}": state[f"head.{part}"][index] for part in ("weight", "bias")}
    torch.save(state, tmp_path / "a.pth")
    assert_same(made, found(tmp_path / "a.pth", pooling="avg", order=names)[0])


def test_the_outputs_of_the_datas_classes_are_taken_from_more(tmp_path):
    names = ("cow", "cat", "ant", "pig", "dog", "bee")
    made = build(ModelConfig("resnet18"), 3, 8, 6, seed=1).eval()
    torch.save(made.state_dict(), tmp_path / "a.pth")
    again, _ = found(tmp_path / "a.pth", order=names)
    x = rand(5, 3, 8, 8)
    assert torch.allclose(again(x), made(x)[:, [2, 5, 1, 4]], atol=1e-6)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["ant", "bee", "cat"], "4 outputs, and the order 3 different names"),
        (["ant", "bee", "cat", "cat"], "the order 3 different names"),
        (["ant", "bee", "cat", "dgo"], "the order lacks dog"),
    ],
)
def test_an_order_that_does_not_fit(order, message, tmp_path):
    torch.save(released(net()), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        found(tmp_path / "a.pth", order=order)


# --------------------------------------------------------------------------------------------------- mistakes


class Bomb:
    """Would leave a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def broken(tmp_path, what: str):
    path, state = tmp_path / "a.pth", dict(net().state_dict())
    if what == "code":
        torch.save({"model": Bomb(tmp_path / "ran")}, path)
    elif what == "a whole network":
        torch.save(nn.Sequential(nn.Linear(2, 2)), path)
    elif what == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\n")
    elif what == "nothing":
        path.write_bytes(b"")
    elif what == "half a file":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif what == "a list":
        torch.save([torch.zeros(3, 3)], path)
    elif what == "no weights":
        torch.save({"lr": 0.1, "history": {"loss": [1.0]}}, path)
    elif what == "nan":
        state["features.0.weight"][0] = torch.nan
        torch.save(state, path)
    elif what == "safetensors":
        path = path.with_suffix(".safetensors")
        path.write_bytes(b"x" * 100)
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("code", "more than tensors, which is not run.*state_dict"),
        ("a whole network", "more than tensors, which is not run"),
        ("text", "damaged, or holds more than tensors"),
        ("nothing", "damaged"),
        ("half a file", "damaged"),
        ("a list", "holds no state dict"),
        ("no weights", "holds no state dict"),
        ("nan", "features.0.weight is not finite"),
        ("safetensors", "is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_error(what, message, tmp_path):
    path = broken(tmp_path, what)
    with pytest.raises(ValueError, match=message) as error:
        read_weights(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no teacher"):
            read_weights(path)


MISFITS = {
    "pooling": (lambda s: s, {}, "width 4 and depth 2, and does not show how it pools.*--pooling"),
    "a wrong pooling": (lambda s: s, {"pooling": "min"}, "pooling one of avg, max"),
    "classes": (
        lambda s: s | {"head.weight": torch.zeros(7, 16), "head.bias": torch.zeros(7)},
        {"pooling": "avg"},
        "7 outputs, and toy 4 classes",
    ),
    "size": (
        lambda s: s | {"head.weight": torch.zeros(4, 64)},
        {"pooling": "avg"},
        r"head.weight is \(4, 64\), not \(4, 16\)",
    ),
    "channels": (
        lambda s: s | {"features.0.weight": torch.zeros(4, 1, 3, 3)},
        {"pooling": "avg"},
        r"features.0.weight is \(4, 1, 3, 3\)",
    ),
    "something more": (
        lambda s: s | {"extra.scale": torch.zeros(1)},
        {"pooling": "avg"},
        "another architecture.*say --model",
    ),
    "said to be another": (lambda s: s, {"model": "resnet18"}, "is not the resnet18 of this package for toy"),
    "an unknown model": (lambda s: s, {"model": "resnet19"}, "unknown model 'resnet19'"),
    "something less": (
        lambda s: {k: v for k, v in s.items() if "running_var" not in k},
        {"pooling": "avg"},
        "only the convnet.* has features.1.running_var",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_weights_that_do_not_fit_say_why(case, tmp_path):
    change, said, message = MISFITS[case]
    torch.save(change(dict(net().state_dict())), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message) as error:
        found(tmp_path / "a.pth", **said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "damaged"), ("[1]", "not an object"), ('{"model": {"name": "convnet", "wings": 2}}', "no architecture")],
)
def test_a_card_that_is_none(text, message, tmp_path):
    save_file({name: value.contiguous() for name, value in net().state_dict().items()}, tmp_path / "model.safetensors")
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        found(tmp_path)


# --------------------------------------------------------------------------------------------------- constants


CONSTANTS = ((0.2, 0.3, 0.4), (0.5, 0.6, 0.7))


def test_constants_are_said_by_name_by_numbers_or_by_the_card(tmp_path):
    torch.save(released(net()), tmp_path / "a.pth")
    bare = read_weights(tmp_path / "a.pth")
    assert said_constants(bare, "cifar10") == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201))
    assert said_constants(bare, "data") is None
    assert said_constants(bare, None, *CONSTANTS) == CONSTANTS
    carded = dataclasses.replace(bare, card={"mean": list(CONSTANTS[0]), "std": list(CONSTANTS[1])})
    assert said_constants(carded) == CONSTANTS
    assert said_constants(carded, "imagenet") == PUBLISHED["imagenet"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "does not say which mean and std"),
        ({"mean": (0.5,)}, "both --mean and --std"),
        ({"std": (0.5,)}, "both --mean and --std"),
        ({"name": "cifar10", "mean": (0.5,), "std": (0.5,)}, "either --normalisation, or"),
        ({"name": "cifar11"}, "unknown normalisation 'cifar11'"),
    ],
)
def test_constants_that_nobody_says(said, message, tmp_path):
    torch.save(released(net()), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        said_constants(read_weights(tmp_path / "a.pth"), **said)


# ---------------------------------------------------------------------------------------------------- teachers


@pytest.mark.parametrize(
    ("constants", "config"),
    [
        (CONSTANTS, OURS),
        (None, dataclasses.replace(OURS, norm="instance", pooling="max")),
        (CONSTANTS, ModelConfig("resnet18")),
    ],
    ids=["own constants", "the data's", "resnet"],
)
def test_a_teacher_that_is_kept_is_the_same_again(constants, config, tmp_path):
    made = build(config, 3, 8, CLASSES, seed=3).eval()
    kept = dataclasses.replace(Teacher.of(made, data(), normalisation=constants), architecture=config)
    again = Teacher.load(kept.save(tmp_path / "kept", data(), "here"), data())
    assert again.hash == kept.hash == weights_hash(made)
    assert (again.accuracy, again.architecture, again.classes) == (kept.accuracy, config, data().class_names)
    assert again.seen(data()).mean == kept.seen(data()).mean == (constants[0] if constants else data().mean)
    assert again.card()["file"] == str((tmp_path / "kept" / "model.safetensors").resolve())
    assert_same(made, again.model)


def test_a_teacher_of_ones_own_make_cannot_be_kept_without_its_code(tmp_path):
    with pytest.raises(ValueError, match="cannot build this network again"):
        Teacher.of(Theirs(True), data()).save(tmp_path, data())
    assert not [*tmp_path.iterdir()]


def test_a_card_beside_other_weights_is_refused(tmp_path):
    kept = Teacher(net(), 50.0, architecture=OURS)
    kept.save(tmp_path, data())
    other = net()
    other.head.bias += 1
    save_file({name: value.contiguous() for name, value in other.state_dict().items()}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="belongs to other weights"):
        Teacher.load(tmp_path, data())


def test_accuracy_is_measured_again_on_other_data(tmp_path):
    kept = Teacher(net(), 12.34, architecture=OURS)
    kept.save(tmp_path, data())
    assert Teacher.load(tmp_path, data()).accuracy == 12.34
    assert Teacher.load(tmp_path, data(), pooling="max").accuracy != 12.34, "another network"
    part = dataclasses.replace(data(), test=data().test.take(torch.arange(8)))
    assert Teacher.load(tmp_path, part).accuracy == Teacher.of(net(), part).accuracy


def test_a_teacher_of_the_store_can_be_named_by_its_folder(digits, tmp_path):
    trained = teacher(digits, ModelConfig(width=4), TrainConfig(epochs=1), cache=tmp_path, progress=False)
    (folder,) = (tmp_path / "teachers").iterdir()
    again = Teacher.load(folder, digits)
    assert (again.hash, again.accuracy, again.architecture) == (trained.hash, trained.accuracy, trained.architecture)
    assert again.seen(digits) is digits, "the constants are those it was trained with"


def test_two_teachers_of_one_configuration_are_two(digits, tmp_path, monkeypatch):
    """As two machines train them, whose sums round otherwise."""
    config, made = TrainConfig(epochs=1), []
    for machine in "ab":
        made.append(teacher(digits, ModelConfig(width=4), config, cache=tmp_path / machine, progress=False))
        (folder,) = (tmp_path / machine / "teachers").iterdir()
        if machine == "b":
            state = {k: v.contiguous() for k, v in made[-1].model.state_dict().items()}
            save_file(state | {"head.bias": state["head.bias"] * (1 + 1e-6)}, folder / "model.safetensors")
            made[-1] = teacher(digits, ModelConfig(width=4), config, cache=tmp_path / machine, progress=False)
    assert made[0].hash != made[1].hash


@pytest.mark.parametrize("names", [("ant", "bee", "dog", "cat"), ("ant", "bee", "cat", "cow"), ("ant", "bee", "cat")])
def test_a_teacher_of_other_classes_is_refused(names):
    known = Teacher(net(), classes=data().class_names)
    labels = data().train.labels % len(names)
    split = dataclasses.replace(data().train, labels=labels)
    other = dataclasses.replace(data(), train=split, test=split, class_names=names)
    with pytest.raises(ValueError, match="the teacher's classes are not those of toy: class"):
        known.check(other)


def test_a_kept_teacher_knows_its_classes(tmp_path):
    Teacher(net(), 50.0, architecture=OURS).save(tmp_path, data())
    renamed = dataclasses.replace(data(), name="renamed", class_names=("ant", "wasp", "cat", "dog"))
    with pytest.raises(ValueError, match=r"classes are not those of renamed: class 1 is 'bee' and 'wasp'; .*--order"):
        Teacher.load(tmp_path, renamed)
    assert Teacher.load(tmp_path, renamed, order=renamed.class_names).classes == renamed.class_names


def test_a_teacher_sees_what_it_was_trained_with():
    seen = []
    made = net()
    made.register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
    taught = Teacher.of(made, data(), normalisation=CONSTANTS)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in CONSTANTS)
    expected = (data().train.images[:3].float() / 255 - mean) / std
    assert torch.allclose(seen[0], expected, atol=1e-6)
    assert taught.card()["normalisation"] == [list(values) for values in CONSTANTS]
    assert taught.seen(data()).fingerprint != data().fingerprint


def test_constants_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="3 channels need as many means"):
        Teacher.of(net(), data(), normalisation=((0.5,), (0.5,)))


def test_torchvisions_own_weights_are_read(tmp_path):
    """A file as torchvision publishes it: a bare state dict of a thousand outputs."""
    made = torchvision.models.mobilenet_v3_small(num_classes=9)
    torch.save(made.state_dict(), tmp_path / "mobilenet_v3_small-047dcff4.pth")
    with pytest.raises(ValueError, match="9 outputs, and toy 4 classes"):
        fit(read_weights(tmp_path / "mobilenet_v3_small-047dcff4.pth"), _larger(32), model="mobilenet_v3_small")
