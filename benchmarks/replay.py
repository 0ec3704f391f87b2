"""A replay memory of ten images a class: do distilled ones keep a network from forgetting better than real ones?

    python benchmarks/replay.py                     # digits, five seeds: about five minutes of one core
    python benchmarks/replay.py --study.dataset photos --study.images 100
    python benchmarks/replay.py --quick             # a look, in seconds, kept in _runs

Class-incremental learning: the classes come in tasks of two, in an order drawn by the seed, and one network with an
output for every class learns task after task. When a task is over its images are gone but for a memory of a few a
class. The network then learns the next task's images together with all memory, every class equally often, hard labels,
and is tested on all classes so far, among all outputs: nobody says which task an image is of.

A memory is made from the training images of its own task alone. Methods that need a teacher take the network as it is
at the end of that task, which has seen no later class, with the outputs of the task's classes. Pixels are normalised by
the first task. "none" keeps nothing, "joint" everything, which is the line to look up to. A seed has an order of
classes, first weights, draws and teachers of its own. One JSON record: results/studies/replay/DATASET.json.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from unidd.bench import records
from unidd.bench.cell import BUDGETS, budgeted
from unidd.bench.closure import code_hash
from unidd.data.datasets import ImageData, load
from unidd.data.synthetic import choose
from unidd.engine.run import Run
from unidd.files import save_json
from unidd.methods import find
from unidd.networks.models import build
from unidd.networks.training import NOBODY, Teacher, TrainConfig, train

RESULTS = Path(__file__).resolve().parent.parent / "results" / "studies" / "replay"
MADE: dict[str, dict[str, Any]] = {name: {} for name in ("random", "herding", "spectralherding", "dm", "cfm")}
MADE["dm"] = {"norm": "batch", "batch": 64}
MEMORIES = ("none", *MADE, "joint")


@dataclass(frozen=True)
class Study:
    """What is measured.

    Args:
        dataset, images: which data, and how many training images of each class; 0 takes all.
        classes: of a task.
        ipc, budget: images of a class in a memory, and what is spent on making it.
        memories: which are compared.
        seeds: each another repetition.
        epochs, batch, lr: of the training on a task (AdamW).
    """

    dataset: str = "digits"
    images: int = 0
    classes: int = 2
    ipc: int = 10
    budget: str = "embedded"
    memories: tuple[str, ...] = MEMORIES
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epochs: int = 10
    batch: int = 64
    lr: float = 2e-3

    def training(self) -> TrainConfig:
        """Return how a task is learnt: on images as they are, since a flip makes another digit."""
        return TrainConfig(self.epochs, self.batch, optimizer="adamw", lr=self.lr, weight_decay=1e-2, crop="none")


QUICK = Study(budget="smoke", ipc=2, images=20, memories=("none", "random", "herding", "cfm"), seeds=(0, 1), epochs=1)


def tasks(data: ImageData, study: Study, seed: int) -> list[ImageData]:
    """Return the tasks in their order, the classes of each labelled from 0; all are normalised by the first."""
    if study.images:
        data = replace(data, train=data.train.take(choose(data, study.images, seed)))
    order = torch.randperm(data.classes, generator=torch.Generator().manual_seed(seed)).tolist()
    parts = [data.only(order[i : i + study.classes]) for i in range(0, data.classes, study.classes)]
    return [replace(part, normalisation=(parts[0].mean, parts[0].std)) for part in parts]


def kept_of(
    part: ImageData, name: str, network: nn.Module, first: int, study: Study, seed: int
) -> tuple[Tensor, Tensor]:
    """Return what is kept of a task: images (n, C, H, W) in [0, 1], and labels (n,) from 0.

    Args:
        network: as it is after the task; its outputs `first`, first + 1, … are of the task's classes.
    """
    if name in ("none", "joint"):
        kept = slice(0, None if name == "joint" else 0)
        return part.train.images[kept].float() / 255, part.train.labels[kept]
    method, taught = budgeted(find(name), study.budget, **MADE[name]), NOBODY
    if method.needs_teacher:
        taught = Teacher(_narrowed(network, first, part.classes), name="the network after the task")
    unseen = replace(part, test=part.train)  # no method can look at a test image
    made = method.distill(unseen, taught, Run(study.ipc, seed))
    return made.images, made.labels


def _narrowed(network: Any, first: int, count: int) -> nn.Module:
    """Return a copy of a ConvNet, frozen, that has some of its outputs."""
    found = copy.deepcopy(network).eval()
    head = nn.Linear(found.head.in_features, count)
    head.load_state_dict({name: value[first : first + count] for name, value in found.head.state_dict().items()})
    found.head = head
    return found.requires_grad_(False)


def balanced(labels: Tensor) -> Tensor:
    """Return numbers of images (m,) among which every class is as frequent as the largest: small ones are repeated.

    >>> balanced(torch.tensor([7, 7, 7, 5])).tolist()
    [3, 3, 3, 0, 1, 2]
    """
    groups = [(labels == k).nonzero().flatten() for k in labels.unique()]
    most = max(map(len, groups))
    return torch.cat([own.repeat(-(-most // len(own)))[:most] for own in groups])


@torch.no_grad()
def correct(network: nn.Module, part: ImageData, first: int) -> float:
    """Return the accuracy in % on a task's test images, among all outputs of the network."""
    guess = network(part.normalise(part.test.images)).argmax(1)
    return 100 * float((guess == part.test.labels + first).double().mean())


def learnt(name: str, parts: list[ImageData], study: Study, seed: int) -> tuple[list[list[float]], float]:
    """Learn task after task with a memory; return the accuracy on each task so far after each, and seconds to make it.

    Returns:
        rows t = 0, 1, … of accuracies in % on the tasks 0 … t; and seconds of the processor that the memories took.
    """
    shape, budget = parts[0], BUDGETS[study.budget]
    network = build(budget.network("convnet"), shape.channels, shape.size, sum(part.classes for part in parts), seed)
    kept: list[tuple[Tensor, Tensor]] = []
    rows, seconds, first = [], 0.0, [0]
    for t, part in enumerate(parts):
        new = part.train.images.float() / 255, part.train.labels + first[t]
        images, labels = (torch.cat(of) for of in zip(new, *kept, strict=True))
        train(
            network, images[own := balanced(labels)], labels[own], study.training(), seed=seed, prepare=part.normalise
        )
        rows.append([round(correct(network, parts[j], first[j]), 3) for j in range(t + 1)])
        began = time.process_time()
        pixels, classes = kept_of(part, name, network, first[t], study, seed)
        seconds += time.process_time() - began
        kept.append((pixels, classes + first[t]))
        first.append(first[t] + part.classes)
    return rows, round(seconds, 3)


def measured(study: Study, data: ImageData | None = None) -> Iterator[dict[str, Any]]:
    """Yield the record of a study after each seed.

    Args:
        data: in place of those that the study names.
    """
    data, rows = data or load(study.dataset), []
    methods = {name: budgeted(find(name), study.budget, **MADE[name]) for name in study.memories if name in MADE}
    about = {
        "study": "replay",
        "dataset": data.name,
        "settings": asdict(study),
        "training": asdict(study.training()),
        "network": asdict(BUDGETS[study.budget].network("convnet")),
        "sets": {
            name: {"role": method.role, **asdict(method.settled(data, study.ipc))} for name, method in methods.items()
        },
        "provenance": records.provenance(data.device),
        "code": code_hash(Path(__file__).stem),
    }
    for seed in study.seeds:
        parts = tasks(data, study, seed)
        found = {name: learnt(name, parts, study, seed) for name in study.memories}
        names = [list(part.class_names) for part in parts]
        accuracy, making = ({name: both[i] for name, both in found.items()} for i in (0, 1))
        rows.append({"seed": seed, "tasks": names, "accuracy": accuracy, "making": making})
        print(f"seed {seed} done after {time.process_time():.0f} s", flush=True)
        yield {**about, "rows": rows}


@dataclass(frozen=True)
class Asked:
    """What to do.

    Args:
        study: what is measured.
        quick: a look at a small budget.
        out: file of the record.
    """

    study: Study = field(default_factory=Study)
    quick: bool = False
    out: Path | None = None


def main(asked: Asked) -> Path:
    """Measure, and write the record."""
    study = replace(QUICK, dataset=asked.study.dataset) if asked.quick else asked.study
    folder = records.own() / "studies" / "replay" if asked.quick else RESULTS
    path = asked.out or folder / f"{study.dataset}.json"
    for record in measured(study):
        save_json(record, path)
    return path


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(main(tyro.cli(Asked)))
