"""Networks: shapes, seeds, which layers are tapped."""

import itertools

import pytest
import torch
from seeds import assert_only_the_seed_decides
from torch import Generator, nn

from unidd.networks.models import ModelConfig, build, tapped_layers


def small(**changes) -> ModelConfig:
    return ModelConfig(**{"width": 8} | changes)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(("size", "depth"), [(8, 3), (28, 3), (32, 3), (33, 4), (64, 4), (65, 5), (128, 5), (224, 6)])
def test_the_convnet_gets_deeper_with_the_image(size, depth):
    model = build(small(), 3, size, 7)
    assert len(tapped_layers(model)) == depth
    assert model(noise(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_convnet_is_what_the_configuration_says(norm, pooling, depth):
    model = build(small(norm=norm, pooling=pooling, depth=depth), 1, 20, 5)
    assert model(noise(3, 1, 20, 20)).shape == (3, 5)
    count = [sum(isinstance(m, kind) for m in model.modules()) for kind in (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)]
    assert count == [depth, *{"avg": (depth, 0), "max": (0, depth)}[pooling]]
    assert [m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [1] + [8] * (depth - 1)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    assert len(norms) == (0 if norm == "none" else depth)
    assert model.head.in_features == 8 * (20 >> depth) ** 2


def test_images_of_28_pixels_are_padded_to_32_as_published():
    x = noise(2, 1, 28, 28)
    ours, of_32 = (build(small(norm="instance"), 1, size, 7) for size in (28, 32))
    of_32.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), of_32(nn.functional.pad(x, (2, 2, 2, 2))))


@pytest.mark.parametrize(("channels", "size", "map"), [(3, 32, 4), (1, 28, 4), (1, 8, 1), (3, 64, 4)])
def test_the_doubling_convnet_is_the_published_one(channels, size, map):
    depth = 4 if size == 64 else 3
    model = build(small(name="convnet-doubling"), channels, size, 5)
    kinds = [type(layer) for layer in model.features]
    block = [nn.BatchNorm2d, nn.Conv2d, nn.ReLU, nn.AvgPool2d]
    assert kinds == block[1:] + block * (depth - 1), "no norm before the first convolution"
    convolutions = [layer for layer in model.features if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [8 << i for i in range(depth)]
    assert model.features(noise(2, channels, size, size)).shape[1:] == (8 << (depth - 1), map, map)
    assert model(noise(2, channels, size, size)).shape == (2, 5)
    assert not any(layer.bias.any() for layer in (*convolutions, model.head))


def test_the_doubling_convnet_starts_and_keeps_statistics_as_published():
    model = build(small(name="convnet-doubling", width=32), 3, 32, 5)
    for layer in (model.features[4], model.head):
        assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(1, rel=0.1)
        assert layer.weight.abs().max() * layer.weight[0].numel() ** 0.5 < 2.28, "no tails"
    x = noise(4, 3, 32, 32)
    model.train()(x)
    batch = model.features[:3](x).mean((0, 2, 3))
    torch.testing.assert_close(model.features[3].running_mean, 0.9 * batch)


@pytest.mark.parametrize("wrong", [{"norm": "layer"}, {"pooling": "sum"}, {"depth": 4}, {"width": 0}])
def test_a_convnet_that_cannot_be_is_refused(wrong):
    for name in ("convnet", "convnet-doubling"):
        with pytest.raises(ValueError, match=r"norm must be|does not fit"):
            build(small(name=name, **wrong), 3, 8, 5)


def test_instance_norm_does_not_mix_images_and_batch_norm_does():
    x = noise(4, 3, 8, 8)
    for norm, mixes in (("instance", False), ("batch", True), ("none", False)):
        model = build(small(norm=norm), 3, 8, 4).train()
        alone = torch.allclose(model(x)[:2], model(x[:2]), atol=1e-6)
        assert alone != mixes, norm


def test_the_resnet_for_small_images_keeps_their_resolution():
    model = build(ModelConfig("resnet18"), 1, 32, 10)
    assert (model.conv1.kernel_size, model.conv1.stride) == ((3, 3), (1, 1))
    assert isinstance(model.maxpool, nn.Identity)
    sizes = []
    model.layer1.register_forward_pre_hook(lambda _, x: sizes.append(tuple(x[0].shape)))
    assert model(noise(2, 1, 32, 32)).shape == (2, 10)
    assert sizes == [(2, 64, 32, 32)]


def test_the_resnet_for_large_images_is_torchvisions():
    assert isinstance(build(ModelConfig("resnet18"), 3, 64, 10).maxpool, nn.Identity)
    model = build(ModelConfig("resnet18"), 3, 65, 10)
    assert model.conv1.kernel_size == (7, 7)
    assert isinstance(model.maxpool, nn.MaxPool2d)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3), (64, 3)])
@pytest.mark.parametrize("name", ["vgg11-small", "mobilenet-small", "vit-small"])
def test_architectures_for_small_images_take_them_and_learn(name, size, channels):
    model, x, y = build(ModelConfig(name, 8), channels, size, 3), noise(6, channels, size, size), torch.arange(6) % 3
    assert model.training
    optimizer, losses = torch.optim.AdamW(model.parameters(), 1e-3), []
    for _ in range(3):
        optimizer.zero_grad()
        losses.append(nn.functional.cross_entropy(model(x), y))
        losses[-1].backward()
        optimizer.step()
    assert model.eval()(x).shape == (6, 3)
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in model.parameters())


def test_architectures_for_small_images_are_those_of_papers():
    """Parameters by hand: nine convolutions' and a head of 512; MobileNetV2's own; six layers of 192."""

    def count(name: str, size: int = 32, width: int = 128) -> int:
        return sum(p.numel() for p in build(ModelConfig(name, width), 3, size, 10).parameters())

    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    convolutions = sum(9 * a * b + 3 * b for a, b in itertools.pairwise(widths))  # with biases and two of the norm
    assert count("vgg11-small") == convolutions + 513 * 10
    assert count("mobilenet-small") == count("mobilenet_v2")
    layer = 4 * 192 * 193 + 192 * 768 + 768 + 768 * 192 + 192 + 4 * 192
    assert count("vit-small") == 6 * layer + (4 * 4 * 3 + 1) * 192 + 192 + 65 * 192 + 2 * 192 + 193 * 10
    assert count("vit-small", 28) == count("vit-small") - 15 * 192, "7×7 patches of 4×4 pixels"


@pytest.mark.parametrize(("name", "sizes"), [("vgg11-small", (32, 2)), ("mobilenet-small", (32, 4))])
def test_the_resolution_of_small_images_is_kept_at_first(name, sizes):
    model, found = build(ModelConfig(name), 3, 32, 10), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, x: found.append(x.shape[-1]))
    model(noise(2, 3, 32, 32))
    assert (found[0], found[-1]) == sizes


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("convnet", ModelConfig("convnet", 16)),
        ("convnet-instance", ModelConfig("convnet", 16, norm="instance")),
        ("convnet-doubling", ModelConfig("convnet-doubling", 16)),
        ("convnet-doubling-none", ModelConfig("convnet-doubling", 16, norm="none")),
        ("resnet18", ModelConfig("resnet18", 16)),
        ("vit-none", ModelConfig("vit-none", 16)),
    ],
)
def test_a_name_may_end_in_the_norm_of_a_convnet(name, config):
    assert ModelConfig.named(name, 16) == config


def test_any_torchvision_model_by_name_is_ready_to_train():
    model = build(ModelConfig("squeezenet1_1"), 3, 64, 6)
    assert model(noise(1, 3, 64, 64)).shape == (1, 6)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_residual_shortcuts_are_not_tapped():
    model = build(ModelConfig("resnet18"), 3, 32, 10)
    taps = tapped_layers(model)
    assert len(taps) == 17, "18 layers less the head; the three shortcuts are not among them"
    assert taps[0] == "conv1"
    assert not any("downsample" in name for name in taps)
    assert all(isinstance(model.get_submodule(name), nn.Conv2d) for name in taps)
    assert tapped_layers(build(small(depth=2), 3, 8, 2)) == ["features.0", "features.4"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnet", "resnet18", "vgg11-small", "mobilenet-small", "vit-small"])
def test_the_seed_alone_decides_the_weights(name):
    def weights(seed: int) -> torch.Tensor:
        return torch.cat([p.flatten() for p in build(small(name=name), 3, 16, 4, seed).parameters()])

    assert_only_the_seed_decides(weights)


@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_the_memory_format_changes_no_result(name):
    model = build(small(name=name), 3, 16, 4).double().eval()
    weight = model.get_submodule(tapped_layers(model)[-1]).weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    x = noise(3, 3, 16, 16).double()
    expected = model(x)
    assert torch.allclose(model(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-12)
    assert torch.allclose(model.to(memory_format=torch.contiguous_format)(x), expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "channels", "size", "message"),
    [
        (ModelConfig("resnet19"), 3, 32, "resnet19"),
        (ModelConfig("ConvNet"), 3, 32, "ConvNet"),
        (small(norm="layer"), 3, 32, "norm"),
        (small(pooling="min"), 3, 32, "pooling"),
        (small(depth=0), 3, 32, "depth 0"),
        (small(depth=4), 3, 8, "depth 4"),
        (small(width=0), 3, 32, "width 0"),
        (small(), 3, 4, "4×4"),
        (ModelConfig("resnet18"), 1, 96, "channels"),
        (ModelConfig("squeezenet1_1"), 3, 8, "squeezenet1_1 does not fit 8×8"),
        (ModelConfig("vit_b_32"), 3, 32, "vit_b_32"),
    ],
)
def test_what_cannot_be_built_is_a_value_error(config, channels, size, message):
    with pytest.raises(ValueError, match=message):
        build(config, channels, size, 10)
