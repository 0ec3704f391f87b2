"""KIP: kernel ridge regression with a kernel that stays what it is, of networks that are never trained."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from ..data.datasets import ImageData
from ..engine.descent import Descent
from ..engine.run import Run
from ..networks.models import ModelConfig, build, real_batch
from ..networks.training import Teacher
from . import Count, Positive, Whole
from ._drawing import RealImages
from ._krr import KernelRidge, Prototypes, half_square, predict

_WEIGHT, _BIAS = 2.0, 0.01  # variance of a layer's weights over its inputs, and of its biases


@dataclass(frozen=True)
class KIP(KernelRidge):
    """Kernel inducing points: ridge with the kernel of networks that are never trained.

    kernel "fc" is published: the neural tangent kernel of a ReLU network of one infinitely wide hidden layer, in closed
    form. The published convolutional ones are infinitely wide too, and take many GPUs. kernel "conv" stands in their
    place and is another: the products of the flattened last maps of a few random ConvNets of `net_width` without a
    norm, drawn once. With their width it goes to the *NNGP* kernel of the convolutions, which is the tangent kernel
    were only the last layer trained; at a finite width its rank is at most the length of those maps.

    Args:
        batch: real images of a step, as many of each class, or all that a class has.
        learn_labels: whether labels are learnt too; else they stay hard.
        kernel: "fc", as published, or "conv", of random ConvNets in its place.
        networks: how many ConvNets "conv" has; their kernels are summed.
    """

    steps: Count = 300
    lr: Positive = 0.04
    batch: Whole = 5000
    learn_labels: bool = True
    kernel: Literal["fc", "conv"] = "fc"
    networks: Whole = 4

    source: ClassVar[str] = "Nguyen, Chen & Lee, Dataset Meta-Learning from Kernel Ridge-Regression, ICLR 2021"

    def descent(self, data: ImageData) -> Descent:
        return Descent(self.steps, self.lr, torch.optim.Adam, lambda t, steps: 1.0)

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "InducingPoints":
        return InducingPoints(self, data, run)


class InducingPoints(Prototypes):
    """The loss of KIP; networks, if there are any, are those of the run's seed."""

    def __init__(self, method: KIP, data: ImageData, run: Run):
        super().__init__(method, data, run, learn=method.learn_labels)
        self.real = RealImages(data, max(1, method.batch // data.classes))
        generator = Generator().manual_seed(run.seed)
        count = method.networks if method.kernel == "conv" else 0
        self.networks = [random_convnet(data, method.net_width, generator) for _ in range(count)]

    def terms(self, x: Tensor, t: int, generator: Generator) -> dict[str, Tensor]:
        classes = [self.real.of(k, generator) for k in range(self.data.classes)]
        sizes = torch.tensor([len(images) for images in classes])
        labels, real = torch.arange(self.data.classes).repeat_interleave(sizes), torch.cat(classes)
        if self.networks:
            own = self.features(x)
            with torch.no_grad():
                parts = real.to(x.dtype).split(real_batch(self.data.size, x.device))
                target = torch.cat([self.features(part) for part in parts])
            kernels = target @ own.T, own @ own.T
        else:
            own = x.flatten(1).double()
            kernels = tangent_kernel(real.flatten(1).double(), own), tangent_kernel(own, own)
        return {"ridge": half_square(predict(*kernels, self.soft, self.ridge) - self.data.targets(labels))}

    def features(self, x: Tensor) -> Tensor:
        """Return the flattened last maps of all networks, side by side (n, d), in float64."""
        return torch.cat([network(x).flatten(1).double() for network in self.networks], 1)


def random_convnet(data: ImageData, width: int, generator: Generator) -> nn.Module:
    """Return convolutions and poolings whose weights are normal, of the variances of the published kernels."""
    config = ModelConfig("convnet", width, norm="none")
    network = build(config, data.channels, data.size, data.classes).requires_grad_(False).get_submodule("features")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.weight.normal_(0, math.sqrt(_WEIGHT / module.weight[0].numel()), generator=generator)
            module.bias.normal_(0, math.sqrt(_BIAS), generator=generator)
    return network.to(data.device)


def tangent_kernel(one: Tensor, other: Tensor) -> Tensor:
    """Return the neural tangent kernel of a ReLU network of one infinitely wide hidden layer and a linear output.

    With Σ = 2 x·x'/d + 0.01, the covariance of what goes into the ReLUs, it is

        Θ = 2 E[σ(u) σ(u')] + 0.01 + 2 E[σ'(u) σ'(u')] Σ,    (u, u') ~ N(0, Σ)

    Args:
        one, other: rows (t, d) and (n, d).
    Returns:
        Θ (t, n). Where rows are the same, the angle between them is taken to have no slope.
    Source: Jacot, Gabriel & Hongler (2018); Cho & Saul (2009) for the expectations.
    """
    d = one.shape[1]
    sizes = [(_WEIGHT * rows.square().sum(1) / d + _BIAS).sqrt() for rows in (one, other)]
    covariance, scale = _WEIGHT * one @ other.T / d + _BIAS, torch.outer(*sizes)
    cosine = covariance / scale
    same = cosine > 1 - 1e-12
    angle = torch.where(same, 0.0, torch.where(same, 0.0, cosine).clamp(-1, 1).acos())
    both = (math.pi - angle) / (2 * math.pi)  # E[σ'(u) σ'(u')]
    product = scale * (angle.sin() / (2 * math.pi) + both * angle.cos())  # E[σ(u) σ(u')]
    return _WEIGHT * product + _BIAS + _WEIGHT * both * covariance
