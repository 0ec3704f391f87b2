"""Descend on images, batch by batch: an iterator of steps over an `Objective`.

`steps` takes one step after another and knows no method. What shows progress, keeps the state on disk, looks for a loss
that is not finite, or measures time, consumes the iterator: see `unidd.engine.run`. Where the descent stands is a
`Position`, which can be packed and unpacked.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor

from ..data.datasets import ImageData
from ..data.exchange_names import same
from ..data.synthetic import SyntheticSet, choose, places
from .parallel import Ranks

if TYPE_CHECKING:
    from .run import Run


@dataclass(frozen=True)
class Start:
    """The images a descent starts from, in the order of the finished set: round by round, class by class.

    Attributes:
        images: pixels, uint8 or float in [0, 1], (N, C, H, W); may be all of a data set.
        labels: (N,).
        numbers: which of them, (n,).
        sizes: images of each batch; they add up to n.
        groups: batches of a round.
        places: (round, class group) of each batch, where not every round has as many; empty: each has `groups`.
        given: whether they are those of a set that was given, and not chosen.
    """

    images: Tensor
    labels: Tensor
    numbers: Tensor
    sizes: tuple[int, ...]
    groups: int = 1
    places: tuple[tuple[int, int], ...] = ()
    given: bool = False

    @staticmethod
    def of(data: ImageData, run: "Run", group: int = 0) -> "Start":
        """Return what a run starts from: the set it was given, or else random real images.

        Args:
            group: see `real`.
        Raises:
            ValueError: ipc is out of range, or the set does not fit the data.
        """
        if run.start is None:
            return Start.real(data, run.ipc, run.seed, group)
        return Start.from_set(run.start, data, run.ipc, group)

    @staticmethod
    def from_set(start: SyntheticSet, data: ImageData, ipc: int, group: int = 0) -> "Start":
        """Take the images of a set, in its order within each class; classes are matched by name.

        Args:
            group: see `real`.
        Raises:
            ValueError: the set has other classes, images of another shape, or not `ipc` of each class; a class may
                have fewer if the data say so (`ImageData.small`).
        """
        shapes = [tuple(images.shape[1:]) for images in (start.images, data.train.images)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"the images to start from are {shapes[0]}, those of {data.name} {shapes[1]}")
        labels = _classes(start, data)[start.labels.cpu()]
        _check_counts(torch.bincount(labels, minlength=data.classes).tolist(), data, ipc)
        numbers = (places(labels) * data.classes + labels).argsort()  # by round, by class within it
        images, labels, numbers = (tensor.to(data.device) for tensor in (start.images, labels, numbers))
        return replace(Start._in_rounds(images, labels, numbers, data.classes, group), given=True)

    @staticmethod
    def real(data: ImageData, ipc: int, seed: int, group: int = 0) -> "Start":
        """Choose `ipc` random training images of each class.

        Args:
            group: classes of one batch, of which the last may have fewer; 0 takes all. A class whose images are used
                up (see `choose`) is left out of the later rounds.
        Raises:
            ValueError: ipc is below 1 or above the size of a class.
        """
        numbers = choose(data, ipc, seed)
        return Start._in_rounds(data.train.images, data.train.labels, numbers, data.classes, group)

    def shown(self, images: Tensor) -> "Start":
        """Return the start with other images (n, C, H, W), pixels in [0, 1], in the order of the finished set."""
        numbers = torch.arange(len(self.numbers), device=images.device)
        return replace(self, images=images, labels=self.labels[self.numbers], numbers=numbers)

    def noise(self, data: ImageData, seed: int) -> "Start":
        """Return the start with normal network input, clipped to valid pixels; a set that was given stays."""
        if self.given:
            return self
        shape = len(self.numbers), *self.images.shape[1:]
        normal = torch.randn(shape, generator=Generator().manual_seed(seed)).to(data.device)
        return self.shown(data.denormalise(normal).clamp(0, 1))

    def whole(self) -> "Start":
        """Return the start with all images in one batch."""
        return replace(self, sizes=(sum(self.sizes),), groups=1, places=())

    @staticmethod
    def _in_rounds(images: Tensor, labels: Tensor, numbers: Tensor, classes: int, group: int) -> "Start":
        group, of = group or classes, labels[numbers]
        rounds = torch.cat([of.new_zeros(1), (of.diff() <= 0).cumsum(0)])  # labels rise within a round
        pairs = torch.stack([rounds, of // group], 1)
        pairs, sizes = pairs.unique_consecutive(dim=0, return_counts=True)
        whole = -(-classes // group)
        found = tuple((b, g) for b, g in pairs.tolist())
        even = found == tuple(divmod(number, whole) for number in range(len(found)))
        return Start(images, labels, numbers, tuple(sizes.tolist()), whole, () if even else found)

    def place(self, number: int) -> tuple[int, int]:
        """Return round and class group of a batch, both from 0."""
        return self.places[number] if self.places else divmod(number, self.groups)

    def batches(self, ranks: Ranks, steps: int) -> Iterator["Batch"]:
        """Yield the batches, each with this process's slot of it."""
        first = 0
        for number, size in enumerate(self.sizes):
            own = ranks.slot(size)
            numbers = self.numbers[first : first + size][own]
            b, group = self.place(number)
            yield Batch(number, b, group, numbers, self.labels[numbers], first, (own.start, size), steps)
            first += size


def _check_counts(counts: list[int], data: ImageData, ipc: int) -> None:
    """Raise a ValueError unless there are `ipc` images of each class, or fewer where the data allow it."""
    fewer = 1 if data.small == "cap" else ipc
    wrong = [k for k, n in enumerate(counts) if not fewer <= n <= ipc]
    if not wrong:
        return
    k = min(wrong, key=counts.__getitem__)
    advice = f"take its first {ipc}, as set.first({ipc}) does" if counts[k] else "every class needs one"
    advice = f"ask for ipc {counts[k]}" if 0 < counts[k] < ipc else advice
    raise ValueError(f"the set to start from has {counts[k]} images of {data.class_names[k]!r}, not {ipc}: {advice}")


def _classes(start: SyntheticSet, data: ImageData) -> Tensor:
    """Which class of the data each class of a set is, by name."""
    index = {same(name): k for k, name in enumerate(data.class_names)}
    names = [same(name) for name in start.class_names]
    if set(names) != set(index) or len(names) != len(index):
        missing, more = sorted(set(index) - set(names)), sorted(set(names) - set(index))
        said = [f"has no {', '.join(missing[:3])}"] if missing else []
        said += [f"also has {', '.join(more[:3])} (set.only takes some classes)"] if more else []
        what = " and ".join(said) or "names a class twice"
        raise ValueError(f"the set to start from is not of the classes of {data.name}: it {what}")
    return torch.tensor([index[name] for name in names])


@dataclass(frozen=True)
class Batch:
    """The images of one step: a round, or a class group of it.

    Attributes:
        number: of this batch, from 0.
        b: its round, from 0.
        group: its class group within the round, from 0.
        numbers, labels: of this process's images, (n,) each.
        place: where its first image lies in the finished set.
        slot: (first, n): this process's first image, and how many images all processes have together.
        steps: how many it will take.
    """

    number: int
    b: int
    group: int
    numbers: Tensor
    labels: Tensor
    place: int
    slot: tuple[int, int]
    steps: int

    @property
    def size(self) -> int:
        return self.slot[1]


@dataclass(frozen=True)
class Step:
    """What an objective says of one step.

    Attributes:
        terms: scalars on the device, by name.
        gradient: of the loss in the images, of their shape.
        notes: numbers to show beside the terms, such as β.
        partial: names of the terms that are still to be summed over processes.
        weights: of the terms in the loss; 1 where none is named.
    """

    terms: dict[str, Tensor]
    gradient: Tensor
    notes: dict[str, float] = field(default_factory=dict)
    partial: tuple[str, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """The loss, or this process's part of it, as the weighted sum of the terms."""
        return torch.stack([self.weights.get(name, 1.0) * term.detach() for name, term in self.terms.items()]).sum()

    def values(self, ranks: Ranks) -> dict[str, float]:
        """Return the terms as numbers; waits for the device, and must be called by all processes."""
        terms = {name: term.detach().clone() for name, term in self.terms.items()}
        if ranks.all_sum:
            for name in self.partial:
                ranks.all_sum(terms[name])
        return dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))


class Objective(ABC):
    """What images descend on. All calls of one batch come between `begin` and `end`.

    Attributes:
        remedy: what to do if a loss or gradient is not finite.
    """

    remedy: ClassVar[str] = "lower lr"

    @abstractmethod
    def begin(self, batch: Batch) -> None:
        """Prepare the steps of a batch, also of one that goes on in the middle."""

    @abstractmethod
    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        """Return the loss and its gradient at the network input x (n, C, H, W), in step t = 0, 1, … of the batch.

        Args:
            x: asks for a gradient; it may be changed in place first, as by a method that blends something in.
            generator: the only source of random numbers.
        Raises:
            torch.linalg.LinAlgError: there is no finite loss.
        """

    def end(self) -> None:  # noqa: B027  most need nothing
        """Close the batch after its last step."""

    def learnt(self) -> dict[str, Any]:
        """Return what it learnt beside the pixels, once all steps are taken.

        "soft": labels (n, classes), in the order of the finished set, and "soft labels": their kind, as of
        `unidd.networks.evaluation.KINDS`; other names are numbers for the card, such as "lr".
        """
        return {}

    def state(self) -> dict:
        """Return what `restore` needs to go on, as tensors, numbers and containers of them."""
        return {}

    def restore(self, state: dict) -> None:  # noqa: B027
        """Go on from there."""


def cosine(t: float, steps: float) -> float:
    """Return the part of the learning rate in step t: 1 at the beginning, 0 at the end."""
    return (1 + math.cos(math.pi * t / steps)) / 2


def adam(parameters: Sequence[Tensor], lr: float) -> torch.optim.Optimizer:
    """Make the optimiser of CFM and SRe2L. Source: UniDD, §4."""
    return torch.optim.Adam(parameters, lr, betas=(0.5, 0.9))


@dataclass(frozen=True)
class Descent:
    """How images descend.

    Args:
        steps: of each batch.
        lr: learning rate on normalised pixels.
        optimizer: makes an optimiser of parameters and a rate; its state is tensors, one entry a pixel or scalar.
        schedule: step t, number of steps → part of the rate.
        dtype: of the images on their way.
    """

    steps: int
    lr: float
    optimizer: Callable[[Sequence[Tensor], float], torch.optim.Optimizer] = adam
    schedule: Callable[[int, int], float] = cosine
    dtype: torch.dtype = torch.float32


class Position:
    """Where a descent stands.

    Attributes:
        images: pixels of the finished set (n, C, H, W) in [0, 1] on the CPU; those of batches to come are the start.
        history: an entry a finished batch: b, the notes and the terms of its last step.
        batch, step: the batch at work, and how many of its steps are done.
        working: network input of this process's images of that batch, and its optimiser; None between batches.
        generator: of all random numbers.
    """

    def __init__(self, data: ImageData, start: Start, descent: Descent, seed: int = 0, ranks: Ranks | None = None):
        self.data, self.start, self.descent, self.ranks = data, start, descent, ranks or Ranks()
        self.batches = list(start.batches(self.ranks, descent.steps)) if descent.steps else []
        self.images = torch.empty(len(start.numbers), *start.images.shape[1:])
        for part, numbers in zip(self.images.split(1000), start.numbers.split(1000), strict=True):
            part.copy_(start.images[numbers])
        if start.images.dtype == torch.uint8:
            self.images.div_(255)
        self.history: list[dict] = []
        self.batch, self.step = 0, 0
        self.working: tuple[Tensor, torch.optim.Optimizer] | None = None
        self.generator = Generator().manual_seed(seed)

    @property
    def x(self) -> Tensor | None:
        """The network input at work, this process's slot of it."""
        return self.working and self.working[0]

    @property
    def done(self) -> int:
        """Steps taken."""
        return self.batch * self.descent.steps + self.step

    def where(self, batch: int, step: int) -> str:
        """Return a place in words."""
        b, group = self.start.place(batch)
        return f"round {b}, " + (f"group {group}, " if self.start.groups > 1 else "") + f"step {step}"

    def pixels(self, number: int) -> Tensor:
        """Return the images of a batch: a part of `images`, not a copy."""
        batch = self.batches[number]
        return self.images[batch.place : batch.place + batch.size]

    def enter(self) -> tuple[Tensor, torch.optim.Optimizer]:
        """Return network input and optimiser of the batch at work; made from its start unless it goes on."""
        if self.working is None:
            pixels = self.start.images[self.batches[self.batch].numbers]
            x = self.data.normalise(pixels).to(self.descent.dtype).requires_grad_()
            self.working = x, self.descent.optimizer([x], self.descent.lr)
        return self.working

    def leave(self, x: Tensor, step: Step) -> None:
        """Close the batch at work: its pixels, and its line in the history."""
        batch = self.batches[self.batch]
        group = {"group": batch.group} if self.start.groups > 1 else {}
        self.history.append({"b": batch.b, **step.notes, **step.values(self.ranks), **group})
        pixels = self.data.denormalise(self.ranks.gather(x.detach()))
        self.pixels(self.batch).copy_(pixels.clamp(0, 1))
        self.batch, self.step, self.working = self.batch + 1, 0, None

    def pack(self) -> dict:
        """Return all that is needed to go on, but for finished batches' images; to be called by all processes.

        Its tensors are those at work: write them down, or copy them, before the next step.
        """
        state = {"batch": self.batch, "step": self.step, "history": self.history, "x": None}
        state["generator"] = self.generator.get_state()
        if self.working is not None:
            x, optimizer = self.working
            kept = optimizer.state[x].items()
            state["x"] = self.ranks.gather(x.detach())
            state["optimizer"] = {k: self.ranks.gather(v) if v.ndim else v for k, v in kept}
        return state

    def unpack(self, state: dict, images: Callable[[int], Tensor]) -> None:
        """Go on from there.

        Args:
            state: of `pack`; its tensors are taken over.
            images: number of a finished batch → its pixels.
        """
        self.batch, self.step, self.history = state["batch"], state["step"], state["history"]
        self.working = None
        self.generator.set_state(state["generator"])
        for number in range(self.batch):
            self.pixels(number).copy_(images(number))
        if state["x"] is not None:
            x, optimizer = self.enter()
            own, device = self.ranks.slot(self.batches[self.batch].size), x.device
            with torch.no_grad():
                x.copy_(state["x"][own])
            kept = state["optimizer"].items()
            optimizer.state[x] = {k: v[own].to(device) if v.ndim else v for k, v in kept}


@dataclass(frozen=True)
class Taken:
    """A step that was taken: of which batch, the how manieth of it, and what the objective said."""

    batch: Batch
    count: int
    step: Step
    last: bool


def steps(objective: Objective, position: Position) -> Iterator[Taken]:
    """Take all steps that are left, and yield after each; `position` then stands behind it.

    Raises:
        ValueError: the objective has no finite loss; the message says where.
    """
    data, descent = position.data, position.descent
    black = torch.zeros(1, data.channels, 1, 1, device=data.device)
    low, high = (data.normalise(pixels).to(descent.dtype) for pixels in (black, black + 1))
    for batch in position.batches[position.batch :]:
        objective.begin(batch)
        x, optimizer = position.enter()
        for t in range(position.step, descent.steps):
            for group in optimizer.param_groups:
                group["lr"] = descent.lr * descent.schedule(t, descent.steps)
            try:
                step = objective.step(x, t, position.generator)
            except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]  it is documented
                where = position.where(batch.number, t)
                raise ValueError(f"{where}: no finite loss ({error}): {objective.remedy}") from None
            x.grad = step.gradient
            optimizer.step()
            with torch.no_grad():
                x.clamp_(low, high)
            position.step, last = t + 1, t + 1 == descent.steps
            if last:
                objective.end()
                position.leave(x, step)
            yield Taken(batch, t + 1, step, last)
