"""How far above the truth the bounds of DC and MTT lie, while a network trains: one JSON file a seed.

    python benchmarks/bound_looseness.py                     # writes results/studies/bounds/photos-seed0.json, …

For each seed a ConvNet is trained on `photos`; before the first epoch and after some others, features of three layers
(averaged over positions, one row an image) give the real side (5,000 images) and synthetic sides: random choices of 10
images a class, and 10 a class distilled with the finished network. The head W starts at random (entries of variance
1/d) and takes 0, 100 or 1,000 steps of gradient descent on the real features, with rate 1/λ_max. Each file also says
whether the bound ranks the random choices as the truth does (Spearman's ρ). About a minute a seed on one CPU core.

Chapter: "Bounds, and how loose they are".
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from unidd.bench.cell import Cell
from unidd.bench.records import provenance
from unidd.book.rounding import significant
from unidd.core.objectives import Side, dc_bound, dc_terms, looseness, mtt_bound, mtt_terms, trajectory
from unidd.core.statistics import FeatureTap
from unidd.data import datasets
from unidd.files import save_json
from unidd.networks.models import build
from unidd.networks.training import Teacher, TrainConfig, accuracy, train

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {"block 1": "features.4", "block 2": "features.8", "block 3": "features.11"}  # read at the input of these


@dataclass(frozen=True)
class Study:
    """What is measured.

    Args:
        epochs: of the network's training.
        checkpoints: after which of them the bounds are measured; 0 is the untrained network.
        heads: gradient steps the head has taken when the bounds are measured.
        expert, student: steps p on real and q on synthetic data of trajectory matching.
        choices: random choices of real images measured at each checkpoint.
        ipc: images per class on the synthetic side.
        steps: of a round of distillation.
    """

    epochs: int = 10
    checkpoints: tuple[int, ...] = (0, 1, 2, 4, 7, 10)
    heads: tuple[int, ...] = (0, 100, 1000)
    expert: int = 50
    student: int = 20
    choices: int = 32
    ipc: int = 10
    steps: int = 100


def trained(model: nn.Module, data: datasets.ImageData, study: Study, seed: int) -> Iterator[int]:
    """Train the model, and yield after every epoch that is a checkpoint.

    The rate falls on a cosine, one value an epoch: the loop of `unidd.networks.training` runs one epoch at a time.
    """
    images = data.normalise(data.train.images)
    for epoch in range(study.epochs + 1):
        if epoch in study.checkpoints:
            yield epoch
        if epoch < study.epochs:
            rate = 0.1 * (1 + math.cos(math.pi * epoch / study.epochs)) / 2
            config = TrainConfig(epochs=1, lr=rate, period=1e6)  # so long a period that the rate stays
            train(model, images, data.train.labels, config, seed=seed + 1000 * epoch)


@torch.no_grad()
def pooled(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Features of each layer averaged over positions, float64 (n, d)."""
    found: dict[str, list[Tensor]] = {name: [] for name in LAYERS}
    with FeatureTap(model.eval(), list(LAYERS.values())) as tap:
        for batch in images.split(500):
            model(batch)
            for name, module in LAYERS.items():
                found[name].append(tap.features[module].double().mean((2, 3)))
    return {name: torch.cat(parts) for name, parts in found.items()}


def measure(real: Side, synthetic: Side, head: Tensor, study: Study) -> dict[str, dict[str, float]]:
    """True value, bound, and the two factors between them, for DC and MTT at one head."""
    rate = 1 / max(float(torch.linalg.matrix_norm(side.ffc, 2)) for side in (real, synthetic))
    steps = (rate, study.expert, study.student)
    values = {}
    for method, terms, bound in (
        ("dc", dc_terms(real, synthetic, head), dc_bound(real, synthetic, head)),
        ("mtt", mtt_terms(real, synthetic, head, *steps), mtt_bound(real, synthetic, head, *steps)),
    ):
        found = looseness(terms, bound)
        true = float(torch.linalg.vector_norm(sum(terms)))
        values[method] = {"true": true, "bound": float(bound), "ratio": found.ratio, **found._asdict()}
    return values


def ranks(values: list[float]) -> Tensor:
    return torch.tensor(values).argsort().argsort().double()


def cells(model, data, synthetic_images: dict[str, Tensor], choices: list[Tensor], epoch: int, study: Study, seed: int):
    """All rows of one checkpoint."""
    one_hot = F.one_hot(data.train.labels, data.classes).double()
    balanced = torch.eye(data.classes, dtype=torch.float64).repeat(study.ipc, 1)
    real_features = pooled(model, data.normalise(data.train.images))
    others = {name: pooled(model, data.normalise(images)) for name, images in synthetic_images.items()}
    for layer, x in real_features.items():
        real = Side.of(x, one_hot)
        sides = {"random": [Side.of(x[index], one_hot[index]) for index in choices]}
        sides |= {name: [Side.of(features[layer], balanced)] for name, features in others.items()}
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(x.shape[1], data.classes, generator=generator, dtype=torch.float64) / x.shape[1] ** 0.5
        rate = 1 / float(torch.linalg.matrix_norm(real.ffc, 2))
        for steps in study.heads:
            head = trajectory(real, start, rate, steps)
            for name, group in sides.items():
                found = [measure(real, side, head, study) for side in group]
                row = {"layer": layer, "epoch": epoch, "head_steps": steps, "synthetic": name, "sets": len(group)}
                for method in ("dc", "mtt"):
                    values = {key: [f[method][key] for f in found] for key in found[0][method]}
                    row[method] = {key: significant(mean(v), 5) for key, v in values.items()}
                    if len(group) > 1:
                        pair = torch.stack([ranks(values["true"]), ranks(values["bound"])])
                        row[method]["rank_correlation"] = round(float(torch.corrcoef(pair)[0, 1]), 4)
                yield row


def run(seed: int, study: Study) -> dict:
    """One network, its distilled set, and the looseness at every checkpoint of it."""
    started = time.time()
    data = datasets.load("photos")
    cell = Cell.of(method="relative", ipc=study.ipc, settings={"steps": study.steps})
    model = build(cell.network(), data.channels, data.size, data.classes, seed)
    states = {}
    for epoch in trained(model, data, study, seed):
        states[epoch] = {name: value.clone() for name, value in model.state_dict().items()}
    score = accuracy(model.eval(), data)
    model.requires_grad_(False)
    distilled = cell.distill(seed, data, Teacher(model, score, "not kept"))

    generator = torch.Generator().manual_seed(seed)
    of_class = [(data.train.labels == k).nonzero().flatten() for k in range(data.classes)]
    choices = [
        torch.cat([index[torch.randperm(len(index), generator=generator)[: study.ipc]] for index in of_class])
        for _ in range(study.choices)
    ]
    rows = []
    for epoch, state in states.items():
        model.load_state_dict(state)
        rows += cells(model, data, {"distilled": distilled.images}, choices, epoch, study, seed)
    return {
        "study": "bounds",
        "dataset": data.name,
        "seed": seed,
        "settings": {**vars(study), "model": vars(cell.network()), "layers": LAYERS, "method": "relative"},
        "network_accuracy": score,
        "images": len(data.train),
        "seconds": round(time.time() - started, 1),
        "provenance": provenance(),
        "rows": rows,
    }


def main(seeds: tuple[int, ...] = (0, 1, 2, 3, 4), folder: Path = ROOT / "results" / "studies" / "bounds") -> None:
    """Measure for some seeds and write a JSON file each.

    Args:
        seeds: each another network, other random choices, another distilled set and another first head.
        folder: where the files go.
    """
    for seed in seeds:
        found = run(seed, Study())
        save_json(found, folder / f"{found['dataset']}-seed{seed}.json")
        print(f"seed {seed}: {len(found['rows'])} rows, {found['seconds']} s", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
