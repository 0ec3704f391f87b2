"""Architectures of torchvision, adapted to images of 32 or 64 pixels as in papers. Their names end in -small."""

import torch
from torch import nn

_MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def vgg11(channels: int, size: int, classes: int, width: int) -> nn.Module:
    """Return VGG-11 with batch norm, whose head is linear on the mean of its last map, 512 channels.

    Images below 32 pixels, which five poolings would leave nothing of, go without the last ones.

    Args:
        width: not looked at.
    Source: Simonyan & Zisserman (2015); Zhao, Mopuri & Bilen (2021) for small images.
    """
    layers, poolings = list[nn.Module](), size.bit_length() - 1
    for stage, widths in enumerate(((64,), (128,), (256, 256), (512, 512), (512, 512))):
        for after in widths:
            layers += [_started(nn.Conv2d(channels, after, 3, padding=1)), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            channels = after
        layers += [nn.MaxPool2d(2)] if stage < poolings else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def mobilenet(channels: int, size: int, classes: int, width: int) -> nn.Module:
    """Return MobileNetV2 whose stem and second stage keep the resolution: 32×32 images end as maps of 4×4.

    Args:
        size, width: not looked at.
    Source: Sandler et al. (2018).
    """
    from torchvision.models import MobileNetV2

    model = MobileNetV2(num_classes=classes, inverted_residual_setting=[list(stage) for stage in _MOBILENET])
    first = model.get_submodule("features.0")
    first.register_module("0", _started(nn.Conv2d(channels, 32, 3, padding=1, bias=False)))
    return model


def vision_transformer(channels: int, size: int, classes: int, width: int) -> nn.Module:
    """Return a transformer of six layers and three heads, on at most 8×8 patches: of 4×4 pixels, if images are 32×32.

    Args:
        width: of the ConvNets; tokens have half as many channels again, 192 at width 128.
    Source: Dosovitskiy et al. (2021).
    """
    from torchvision.models import VisionTransformer

    patch = next(p for p in range(1, size + 1) if size % p == 0 and size <= 8 * p)
    hidden = 3 * max(1, width // 2)
    model = VisionTransformer(size, patch, 6, 3, hidden, 4 * hidden, num_classes=classes)
    model.conv_proj = nn.Conv2d(channels, hidden, patch, patch)
    nn.init.trunc_normal_(model.conv_proj.weight, std=(channels * patch**2) ** -0.5)
    model.conv_proj.bias = nn.Parameter(torch.zeros(hidden))
    return model


def _started(convolution: nn.Conv2d) -> nn.Conv2d:
    """Start a convolution as torchvision starts those of both networks."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


SMALL = {"vgg11-small": vgg11, "mobilenet-small": mobilenet, "vit-small": vision_transformer}
