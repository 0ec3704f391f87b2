"""FRePo: kernel ridge regression on the features of a pool of networks that the prototypes themselves train.

In every step a network of the pool gives the kernel K = φφᵀ of its flattened last map φ, then takes one step on the
prototypes; too old, it is drawn anew. Prototypes feel the kernel alone: no gradient goes through a network's step.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from ..data.datasets import ImageData
from ..engine.descent import Descent, cosine
from ..engine.run import Run
from ..networks.models import ModelConfig, build, real_batch
from ..networks.training import Teacher
from . import Count, Positive, Whole
from ._drawing import last_map
from ._krr import KernelRidge, Prototypes, half_square, predict
from ._lamb import Lamb


@dataclass(frozen=True)
class FRePo(KernelRidge):
    """Neural feature regression: ridge on features of a pool of networks that train on the prototypes.

    Images and labels descend by LAMB, whose rate falls to a tenth by a cosine. Labels start as one-hot less 1/c over
    √(c/10), and a margin term keeps the largest 1/c above the second. Networks are the published ones,
    "convnet-doubling", seen with their norm's running statistics. Unlike there, colours are standardised and not
    whitened, and pixels stay valid. The published students have no norm.

    Args:
        batch: real images of a step, at random, not augmented.
        use_flip: whether mirrored prototypes enter the kernel too; None: if images have colour.
        pool: how many networks; their ages are spread evenly at the start.
        max_age: steps of a network, after which it is drawn anew.
        net_lr: rate of these steps, by Adam.
        net_batch: prototypes of such a step; if there are no more, all.
        norm: of the networks.
    """

    steps: Count = 500_000
    lr: Positive = 3e-4
    batch: Whole = 1024
    use_flip: bool | None = None
    pool: Whole = 10
    max_age: Count = 100
    net_lr: Positive = 3e-4
    net_batch: Whole = 1000
    norm: Literal["batch", "instance", "none"] = "batch"

    source: ClassVar[str] = "Zhou, Nezhadarya & Ba, Dataset Distillation using Neural Feature Regression, NeurIPS 2022"
    presets_source: ClassVar[str] = "the released code, script/distill.sh"
    architecture: ClassVar[str] = "convnet-doubling"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "mnist": {"use_flip": False},
        "fashion-mnist": {"use_flip": False},
        "cifar10": {"use_flip": True},
        "cifar100-ipc1": {"use_flip": True},
        "cifar100": {"use_flip": False},
        "tiny-imagenet-ipc1": {"use_flip": True},
        "tiny-imagenet": {"use_flip": False},
        "imagenet-64": {"use_flip": False},
    }

    def settled(self, data: ImageData, ipc: int | None = None) -> "FRePo":
        return self if self.use_flip is not None else replace(self, use_flip=data.channels > 1)

    def descent(self, data: ImageData) -> Descent:
        return Descent(self.steps, self.lr, Lamb, lambda t, steps: 0.1 + 0.9 * cosine(t, steps))

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "FeatureRegression":
        return FeatureRegression(self.settled(data), data, run)


class Member(NamedTuple):
    """A network of the pool, its optimiser, and the steps it is said to have taken."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    age: int


class FeatureRegression(Prototypes):
    """The loss of FRePo; it carries the pool from step to step, and which network the last step looked through."""

    def __init__(self, method: FRePo, data: ImageData, run: Run):
        super().__init__(method, data, run, scale=(data.classes / 10) ** -0.5)
        self.method, self.pool, self.used = method, list[Member](), None

    def terms(self, x: Tensor, t: int, generator: Generator) -> dict[str, Tensor]:
        method, train = self.method, self.data.train
        if not self.pool:
            apart = method.max_age // method.pool
            self.pool = [self.drawn(generator, i * apart) for i in range(method.pool)]
        if self.used is not None:
            self.pool[self.used] = self.older(self.pool[self.used], x.detach(), generator)
        self.used = int(torch.randint(method.pool, (), generator=generator))
        network = self.pool[self.used].network.eval()
        chosen = torch.randperm(len(train), generator=generator)[: method.batch]  # any device takes it
        with torch.no_grad():
            parts = self.data.normalise(train.images[chosen]).to(x.dtype).split(real_batch(self.data.size, x.device))
            real = torch.cat([features(network, part) for part in parts])
        seen, labels = [x, x.flip(-1)] if method.use_flip else [x], [self.soft] * (2 if method.use_flip else 1)
        own = features(network, torch.cat(seen))
        found = predict(real @ own.T, own @ own.T, torch.cat(labels), self.ridge)
        gaps = found - self.data.targets(train.labels[chosen])
        return {"ridge": half_square(gaps), "margin": margin(self.soft)}

    def drawn(self, generator: Generator, age: int = 0) -> Member:
        """Return a network with new weights, said to be of some age."""
        data, seed = self.data, int(torch.randint(2**31, (), generator=generator))
        config = ModelConfig(self.method.architecture, self.method.net_width, norm=self.method.norm)
        network = build(config, data.channels, data.size, data.classes, seed).to(data.device, self.descent.dtype)
        return Member(network, torch.optim.Adam(network.parameters(), self.method.net_lr), age)

    def older(self, member: Member, images: Tensor, generator: Generator) -> Member:
        """Return a network after a step on the prototypes, or a new one in its place if it is too old."""
        network, optimizer, age = member
        if age > self.method.max_age:
            return self.drawn(generator)
        chosen = torch.randperm(len(images), generator=generator)[: self.method.net_batch].to(images.device)
        gaps = network.train()(images[chosen]) - self.soft.detach()[chosen].to(images.dtype)
        optimizer.zero_grad()
        half_square(gaps).backward()
        optimizer.step()
        return Member(network, optimizer, age + 1)

    def state(self) -> dict:
        pool = [(network.state_dict(), optimizer.state_dict(), age) for network, optimizer, age in self.pool]
        return super().state() | {"pool": pool, "used": self.used}

    def restore(self, state: dict) -> None:
        super().restore(state)
        self.used, self.pool = state["used"], []
        for weights, adam, age in state["pool"]:
            member = self.drawn(Generator(), age)
            member.network.load_state_dict(weights)
            member.optimizer.load_state_dict(adam)
            self.pool.append(member)


def features(network: nn.Module, x: Tensor) -> Tensor:
    """Return the flattened last map of images (n, d), in float64."""
    return last_map(network, x).double()


def margin(labels: Tensor) -> Tensor:
    """Return less the mean of what the largest number of a label has over the second, where that is below 1/c."""
    first, second = labels.topk(2, 1).values.unbind(1)
    return -(first - second).clamp(max=1 / labels.shape[1]).mean()
