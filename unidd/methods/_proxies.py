"""What methods share that look at how a training goes: networks of their own, the proxies, and what each image did.

A proxy is trained with hard labels on all images, as teachers are. Its seed follows from the run's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from ..data.datasets import ImageData
from ..engine.run import Run
from ..networks.models import ModelConfig, build
from ..networks.training import Teacher, TrainConfig, teacher, teacher_folder, train, trial
from . import Part, Whole
from ._choosing import Choosing, Scoring
from ._scores import el2n, looks, own_margin, seen


@dataclass
class Dynamics:
    """What a network answered for every training image after every epoch, all (epochs, n).

    The papers keep the answers for the training batches, augmented, each by the weights of its moment. Here all images
    are looked at as they are, in eval mode, by the same weights.
    """

    correct: list[Tensor] = field(default_factory=list)
    margins: list[Tensor] = field(default_factory=list)
    el2n: list[Tensor] = field(default_factory=list)

    def note(self, logits: Tensor, labels: Tensor) -> None:
        """Add an epoch."""
        self.correct.append(logits.argmax(1) == labels)
        self.margins.append(own_margin(logits, labels))
        self.el2n.append(el2n(logits, labels))


def proxy(
    data: ImageData,
    model: ModelConfig,
    config: TrainConfig,
    seed: int,
    note: Callable[[Tensor, Tensor], None] | None = None,
    progress: str | None = None,
) -> nn.Module:
    """Train a network whose training, or early answers, tell images apart; with hard labels.

    Args:
        seed: of its weights, the order of images and the augmentation.
        note: is given logits (n, c) and labels (n,) of all training images after every epoch, on the CPU.
        progress: title of a bar; None shows none.
    """
    network = build(model, data.channels, data.size, data.classes, seed).to(data.device)
    labels = data.train.labels.cpu()

    def look() -> None:
        if note:
            note(seen(network, data).logits, labels)

    shown: dict = {"prepare": data.normalise, "each_epoch": look, "progress": progress}
    return train(network, data.train.images, data.train.labels, config, seed=seed, **shown)


@dataclass(frozen=True)
class Proxied(Choosing):
    """Trains proxies.

    Args:
        proxy: architecture of the proxies, "convnet" or a torchvision model.
        net_width: channels of every layer, if they are ConvNets.
        proxy_epochs: epochs of a proxy's training.
    """

    proxy: str = "convnet"
    net_width: Whole = 128
    proxy_epochs: Whole = 200

    seeded: ClassVar[bool] = True
    needs_teacher: ClassVar[bool] = False

    def network(self) -> ModelConfig:
        return ModelConfig(self.proxy, self.net_width)

    def training(self) -> TrainConfig:
        return TrainConfig(self.proxy_epochs)

    def looked(self, data: ImageData, run: Run) -> tuple[int, int]:
        """Return how many proxies are still to be trained, and how often one of them looks at all images."""
        return 1, self.proxy_epochs

    def parts(self, data: ImageData, teacher: Teacher, run: Run) -> tuple[Part, ...]:
        network = build(self.network(), data.channels, data.size, data.classes).to(data.device)
        config, (proxies, times), n = self.training(), self.looked(data, run), len(data.train)
        steps, held = proxies * config.steps(n), 17 * times * n  # bytes of `Dynamics` for an image and an epoch
        trained = Part("proxies", steps, "steps", lambda: trial(network, data, config), held=held)
        return trained, looks(network, data, times)

    def check(self, data: ImageData, run: Run) -> None:
        super().check(data, run)
        build(self.network(), data.channels, data.size, data.classes)

    def dynamics(self, data: ImageData, run: Run) -> Dynamics:
        """Return what one proxy answers after each epoch of a whole training."""
        found, (seed,) = Dynamics(), _seeds(run, 1)
        shown = "proxy" if run.progress else None
        proxy(data, self.network(), self.training(), seed, found.note, shown)
        return found


@dataclass(frozen=True)
class EarlyProxies(Proxied, Scoring):
    """Looks at several proxies early in their training: the learning rate falls as if it were ten times as long.

    They are kept in the store of teachers, where other methods, numbers of images and a run that was cut off find them.

    Args:
        proxy_seeds: how many proxies there are, over which scores are averaged.
    """

    proxy_epochs: Whole = 20
    proxy_seeds: Whole = 10

    def training(self) -> TrainConfig:
        return TrainConfig(self.proxy_epochs, period=10.0)

    def looked(self, data: ImageData, run: Run) -> tuple[int, int]:
        task = data, self.network(), self.training()
        cards = [teacher_folder(*task, seed)[0] / "card.json" for seed in _seeds(run, self.proxy_seeds)]
        return sum(not card.exists() for card in cards), self.proxy_seeds

    def parts(self, data: ImageData, teacher: Teacher, run: Run) -> tuple[Part, ...]:
        """Return what is to be done; a proxy that is trained is tested too, as teachers are, and kept."""
        trained, look = super().parts(data, teacher, run)
        proxies, times = self.looked(data, run)
        network = build(self.network(), data.channels, data.size, data.classes)
        kept = proxies * sum(tensor.nbytes for tensor in network.state_dict().values())
        count = look.count + proxies * len(data.test)
        held = 8 * times * len(data.train)  # of scores
        return replace(trained, kept=kept, held=held), replace(look, count=count)

    def early(self, data: ImageData, run: Run) -> Iterator[nn.Module]:
        """Yield the proxies, one by one."""
        for seed in _seeds(run, self.proxy_seeds):
            yield teacher(data, self.network(), self.training(), seed=seed, progress=run.progress).model


def _seeds(run: Run, count: int) -> list[int]:
    """Return seeds of proxies, which follow from the run's."""
    return torch.randint(2**31, (count,), generator=Generator().manual_seed(run.seed)).tolist()
