"""Experts: networks trained on the real images, whose parameters are kept after every epoch.

<cache>/trajectories/<key>/epoch-<e>.safetensors are the parameters of one expert after e epochs, those of e = 0 as they
were drawn. The key is a hash of all that decides them: data, architecture, how it is trained, and the expert's seed,
which follows from its repetition and number. The number of epochs is not in it, since a longer trajectory goes on from
a shorter one: plain descent at a constant rate has no other state than the parameters, and each epoch draws its random
numbers from expert and epoch alone. So training that was cut off goes on from the last epoch, and all methods and runs
of one repetition share the experts.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.func import functional_call

from ..bars import progress_bar, say
from ..data.datasets import ImageData
from ..data.siamese import STRATEGY, Siamese
from ..data.store import alone
from ..files import atomic, cache_folder, check_writable, json_hash, nearest, save_json, tensors_hash
from .models import ModelConfig, build

FORMAT = 2  # goes up when the same settings give other parameters, or the files here mean something else
_EPOCHS = 2**20  # more than an expert is trained for, so that no two epochs have one seed
_ADVICE = "make room, or set UNIDD_CACHE to another folder"

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class ExpertConfig:
    """What experts are and how they are trained: SGD without momentum or weight decay, at a constant rate.

    Args:
        model: their architecture.
        lr, batch: learning rate, and images of a step.
        strategy: operations of the augmentation, of which each step draws one and each image its own parameters; see
            `unidd.data.siamese`.
    Source: Cazenavette et al. (2022), released code.
    """

    model: ModelConfig
    lr: float = 0.01
    batch: int = 256
    strategy: str = STRATEGY


class Experts:
    """The experts of a data set, trained as far as they are asked for, and kept.

    Args:
        data: the real images, on the device to train on.
        count: how many.
        repetition: whose they are; each has its own.
        cache: by default the environment variable UNIDD_CACHE, else ~/.cache/unidd.
    """

    def __init__(
        self,
        data: ImageData,
        config: ExpertConfig,
        count: int,
        repetition: int = 0,
        cache: str | Path | None = None,
    ):
        self.data, self.config, self.count, self.repetition = data, config, count, repetition
        self._cache, self._siamese = cache_folder(cache) / "trajectories", Siamese(config.strategy)
        self._network = self._drawn(0)
        self._shapes = {name: value.shape for name, value in self._network.named_parameters()}

    @property
    def bytes(self) -> int:
        """Of the parameters that are kept after an epoch."""
        return 4 * sum(shape.numel() for shape in self._shapes.values())

    def seed(self, number: int) -> int:
        """Return the seed of an expert's weights, order of images and augmentation, below 2⁴⁰."""
        return int(json_hash({"repetition": self.repetition, "number": number})[:10], 16) if self.repetition else number

    def folder(self, number: int) -> Path:
        """Return where the parameters of an expert lie."""
        return self._cache / json_hash(self._identity(number))

    def path(self, number: int, epoch: int) -> Path:
        return self.folder(number) / f"epoch-{epoch:03d}.safetensors"

    def missing(self, epochs: int) -> int:
        """Return how many epochs are still to be trained until each expert has that many."""
        return sum(not self.path(n, e).exists() for n in range(self.count) for e in range(1, epochs + 1))

    def train(self, epochs: int, progress: bool = False) -> None:
        """Train every expert for that many epochs, but for those that are there.

        Raises:
            OSError: the cache cannot be written, or is full; said before any training where it can be known.
        """
        missing = self.missing(epochs)
        if not missing:
            return
        self._check_room(missing)
        with progress_bar(missing, "experts", shown=progress, unit=" epochs") as bar:
            for number in range(self.count):
                with self._alone(number):
                    for epoch in range(epochs + 1):
                        if not self.path(number, epoch).exists():
                            self._made(number, epoch)
                            bar.update(min(epoch, 1))

    def parameters(self, number: int, epoch: int) -> Tensor:
        """Return the parameters of an expert after some epochs as a vector (p,); trained first, if they are not there.

        What is damaged is found out, told, and made again from the epoch before it.
        """
        values = self._read(number, epoch)
        if values is None:
            with self._alone(number):
                values = self._made(number, epoch)
        return torch.cat([values[name].flatten() for name in self._shapes]).to(self.data.device)

    def outputs(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of network input x, of a network with the parameters (p,) of a vector."""
        parts = parameters.split([shape.numel() for shape in self._shapes.values()])
        named = {name: part.view(shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}
        return functional_call(self._network, named, (x,))

    def trial(self) -> None:
        """Take a step of training that is not kept, as `unidd plan` measures it."""
        self._step(torch.arange(min(self.config.batch, len(self.data.train))), Generator().manual_seed(0))

    def _identity(self, number: int) -> dict:
        about = {"format": FORMAT, "data": self.data.fingerprint, "training": asdict(self.config)}
        return about | {"seed": self.seed(number)}

    def _drawn(self, number: int) -> nn.Module:
        data = self.data
        return build(self.config.model, data.channels, data.size, data.classes, self.seed(number)).to(data.device)

    def _read(self, number: int, epoch: int) -> Tensors | None:
        """Return what is kept; None if there is nothing, or it was damaged, which is told."""
        path = self.path(number, epoch)
        try:
            with safe_open(path, "pt") as file:
                values = {name: file.get_tensor(name) for name in self._shapes}
                if (file.metadata() or {}).get("sha256") == tensors_hash(values):
                    return values
        except FileNotFoundError:
            return None
        except SafetensorError:
            pass
        say(f"note: {path} is damaged: that epoch is trained again")
        path.unlink(missing_ok=True)
        return None

    def _made(self, number: int, epoch: int) -> Tensors:
        """Return parameters that are made, with what is missing before them, from the last epoch that is whole."""
        values, last = None, epoch + 1
        while values is None and last > 0:
            last -= 1
            values = self._read(number, last)
        if values is None:
            values = self._keep(number, 0, self._drawn(number))
            save_json(self._identity(number), self.folder(number) / "card.json")
        for each in range(last + 1, epoch + 1):
            self._network.load_state_dict(values, strict=False)  # running statistics of a batch norm decide nothing
            self._epoch(Generator().manual_seed(self.seed(number) * _EPOCHS + each))
            values = self._keep(number, each, self._network)
        return values

    def _epoch(self, generator: Generator) -> None:
        for index in torch.randperm(len(self.data.train), generator=generator).split(self.config.batch):
            self._step(index, generator)

    def _step(self, index: Tensor, generator: Generator) -> None:
        data, parameters = self.data, list(self._network.parameters())
        index, view = index.to(data.device), self._siamese.draw(generator, len(index))
        logits = self._network(view(data.normalise(data.train.images[index])))
        slopes = torch.autograd.grad(F.cross_entropy(logits, data.train.labels[index]), parameters)
        with torch.no_grad():
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter -= self.config.lr * slope

    def _keep(self, number: int, epoch: int, network: nn.Module) -> Tensors:
        path = self.path(number, epoch)
        values = {name: value.detach().cpu().contiguous() for name, value in network.named_parameters()}
        try:
            with atomic(path) as temporary:
                save_file(values, temporary, {"sha256": tensors_hash(values)})
        except (OSError, SafetensorError) as error:  # the latter where the disk is full
            raise OSError(f"cannot keep an expert in {path.parent} ({error}): {_ADVICE}") from None
        return {name: value.clone() for name, value in values.items()}  # and not the network's own

    def _check_room(self, epochs: int) -> None:
        check_writable(self._cache)
        need = epochs * self.bytes
        free = shutil.disk_usage(nearest(self._cache)).free
        if need > free:
            said = f"{need / 1e6:,.0f} MB of experts in {self._cache}, where {free / 1e6:,.0f} MB are free"
            raise OSError(f"cannot keep {said}: {_ADVICE}")

    @contextmanager
    def _alone(self, number: int) -> Iterator[None]:
        """Hold an expert: one process trains it, others wait, and then find it."""
        self._cache.mkdir(parents=True, exist_ok=True)
        with alone(self.folder(number), f"trains expert {number} in {self._cache}"):
            for left in self.folder(number).glob(".*"):
                shutil.rmtree(left, ignore_errors=True)  # half-written when an earlier process was killed
            yield
