"""Networks by name: the ConvNets of the literature, ResNet-18 and others for small images, any torchvision model."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ..files import tensors_hash
from .small import SMALL


@dataclass(frozen=True)
class ModelConfig:
    """What to build; the data decide channels, image size and number of classes.

    Args:
        name: "convnet", "convnet-doubling" (FRePo's), "resnet18" (3×3 stride-1 stem and no max-pool up to 64 pixels),
            "vgg11-small", "mobilenet-small" or "vit-small" (see `unidd.networks.small`), or any torchvision model.
        width: channels of every ConvNet layer; of the first one, if they double. Transformers follow it.
        depth: ConvNet blocks; None takes 3 for images up to 32 pixels, 4 up to 64, and one more per doubling.
        norm: "batch", "instance" or "none" (ConvNet).
        pooling: "avg" or "max" (ConvNet).
    """

    name: str = "convnet"
    width: int = 128
    depth: int | None = None
    norm: str = "batch"
    pooling: str = "avg"

    @staticmethod
    def named(name: str, width: int = 128) -> "ModelConfig":
        """Return what a name stands for; that of a ConvNet may end in its norm: "convnet-instance", "convnet-none"."""
        kind, _, norm = name.rpartition("-")
        return ModelConfig(kind, width, norm=norm) if kind in _CONVNETS and norm in _NORMS else ModelConfig(name, width)

    @property
    def short(self) -> str:
        """The name that `named` takes."""
        return f"{self.name}-{self.norm}" if self.name in _CONVNETS and self.norm != "batch" else self.name

    def __str__(self) -> str:
        about = f" of width {self.width} and depth {self.depth}, {self.norm} norm, {self.pooling} pooling"
        return self.name + about * (self.name in _CONVNETS and self.depth is not None)


_NORMS = {
    "batch": nn.BatchNorm2d,
    "instance": lambda width: nn.GroupNorm(width, width),
    "none": lambda width: nn.Identity(),
}
_POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}
_SEVERAL_OUTPUTS = ("googlenet", "inception_v3")  # in training, unless built without their auxiliary heads


class ConvNet(nn.Module):
    """`depth` blocks of 3×3 convolution, norm, ReLU and 2×2 pooling, then a linear head.

    Input (B, channels, size, size), output (B, classes). The first convolution pads images of 28×28 to 32×32, as
    published for MNIST and Fashion-MNIST.

    Raises:
        ValueError: unknown norm or pooling, or more blocks than the image can be halved.
    Source: UniDD, appendix (teachers); Gidaris & Komodakis (2018) for the architecture.
    """

    def __init__(self, channels: int, size: int, classes: int, width=128, depth=3, norm="batch", pooling="avg"):
        super().__init__()
        _check_convnet(size, width, depth, norm, pooling)
        border = 2 if size == 28 else 0
        size, layers = size + 2 * border, []
        for block in range(depth):
            convolution = nn.Conv2d(width if block else channels, width, 3, padding=1 if block else 1 + border)
            layers += [convolution, _NORMS[norm](width)]
            layers += [nn.ReLU(inplace=True), _POOLINGS[pooling](2)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width * (size >> depth) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.head(self.features(x).flatten(1))


class DoublingConvNet(nn.Module):
    """`depth` blocks of 3×3 convolution, ReLU and 2×2 pooling, each twice as wide; a norm before all but the first.

    Input (B, channels, size, size), output (B, classes). Images of one channel are padded by 3 pixels, so that 28×28
    are as large as 32×32. Weights start truncated normal of variance 1 over the inputs, biases at 0, and the running
    statistics of batch norm are nine parts of ten those of the last batch.

    Raises:
        ValueError: unknown norm or pooling, or more blocks than the image can be halved.
    Source: Zhou, Nezhadarya & Ba (2022), the released code.
    """

    def __init__(self, channels: int, size: int, classes: int, width=128, depth=3, norm="batch", pooling="avg"):
        super().__init__()
        size += 4 * (channels == 1)
        _check_convnet(size, width, depth, norm, pooling)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=3 if channels == 1 else 1)]
        for _ in range(1, depth):
            layers += [nn.ReLU(inplace=True), _POOLINGS[pooling](2), _NORMS[norm](width)]
            layers += [nn.Conv2d(width, 2 * width, 3, padding=1)]
            width *= 2
        self.features = nn.Sequential(*layers, nn.ReLU(inplace=True), _POOLINGS[pooling](2))
        self.head = nn.Linear(width * (size >> depth) ** 2, classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.9
            if isinstance(module, nn.Conv2d | nn.Linear):
                deviation = module.weight[0].numel() ** -0.5 / 0.8796256610342398  # of a normal cut off at ±2
                nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
                module.bias = nn.Parameter(torch.zeros(len(module.weight)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1))


_CONVNETS = {"convnet": ConvNet, "convnet-doubling": DoublingConvNet}


def _check_convnet(size: int, width: int, depth: int, norm: str, pooling: str) -> None:
    if norm not in _NORMS or pooling not in _POOLINGS:
        raise ValueError(f"norm must be one of {', '.join(_NORMS)} and pooling one of {', '.join(_POOLINGS)}")
    if width < 1 or depth < 1 or size >> depth < 1:
        raise ValueError(f"a ConvNet of width {width} and depth {depth} does not fit {size}×{size} images")


def build(config: ModelConfig, channels: int, size: int, classes: int, seed: int = 0) -> nn.Module:
    """Return a freshly initialised network; the same seed gives the same weights, whatever else used random numbers.

    Weights are stored channels-last, which makes convolutions on a CPU much faster and changes no result; but for
    instance norm, which is slower so than the convolutions gain.

    Raises:
        ValueError: unknown model, or one that does not fit the images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' generators too
        if config.name in _CONVNETS:
            depth = max(3, (size - 1).bit_length() - 2) if config.depth is None else config.depth
            settings = config.width, depth, config.norm, config.pooling
            model = _CONVNETS[config.name](channels, size, classes, *settings)
        elif config.name in SMALL:
            model = SMALL[config.name](channels, size, classes, config.width)
        else:
            model = _torchvision(config.name, channels, size, classes)
        instance = config.name in _CONVNETS and config.norm == "instance"
        return model if instance else model.to(memory_format=torch.channels_last)


def _torchvision(name: str, channels: int, size: int, classes: int) -> nn.Module:
    import torchvision.models

    if name not in torchvision.models.list_models(torchvision.models):
        raise ValueError(
            f"unknown model {name!r}: choose convnet, convnet-doubling (either with -instance or -none for its norm), "
            f"resnet18, {', '.join(SMALL)} or another torchvision model"
        )
    alone = {"aux_logits": False, "init_weights": True} if name in _SEVERAL_OUTPUTS else {}
    model = torchvision.models.get_model(name, num_classes=classes, **alone)
    stem = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    small = name.startswith("resnet") and size <= 64
    if small:
        model.conv1 = nn.Conv2d(channels, stem.out_channels, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif channels != stem.in_channels:
        raise ValueError(f"{name} takes images of {stem.in_channels} channels, these have {channels}")
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{name} does not fit {size}×{size} images: {error}") from None
    return model.train()


def tapped_layers(model: nn.Module, layers: Sequence[str] | None = None) -> list[str]:
    """Return names of the layers whose inputs are matched, in the network's order.

    Args:
        layers: their names, or patterns such as "encoder.layers.*.mlp.0"; None takes all convolutions but those on
            residual shortcuts, as published.
    Raises:
        ValueError: the network has no such layer.
    Source: UniDD, §4 (CFM).
    """
    known = dict(model.named_modules())
    if layers is None:
        return [n for n, m in known.items() if isinstance(m, nn.Conv2d) and not _on_a_shortcut(n)]
    for asked in layers:
        if not any(fnmatchcase(name, asked) for name in known if name):
            near = get_close_matches(asked, known, 1) or [name for name in known if name][:1]
            like = f", as in {near[0]}" if near else ""
            raise ValueError(f"the network has no layer {asked!r}: take names of its modules{like}")
    return [name for name in known if name and any(fnmatchcase(name, asked) for asked in layers)]


def _on_a_shortcut(name: str) -> bool:
    return "downsample" in name or "shortcut" in name


def weights_hash(model: nn.Module) -> str:
    """Return sha256 over names and values of a network's weights and buffers."""
    return tensors_hash(model.state_dict())


def real_batch(size: int, device: str | torch.device = "cpu") -> int:
    """Return how many images of that size go through a network together where all of a data set do.

    What their features take is the memory that counts: 128 channels at full size, with the float64 copy that statistics
    are taken of, are some 6 MiB an image of 64×64. A GPU has memory of its own and wants larger batches. Up to 32×32
    they are of 500 everywhere: sums over other batches are rounded otherwise, and a long descent shows it.
    """
    pixels = 2**21 if torch.device(device).type in ("cuda", "meta") or size <= 32 else 2**17
    return min(500, pixels // size**2 or 1)
