"""CFM round by round, under each schedule of β: the study behind the chapter "CFM, the algorithm".

    python benchmarks/curriculum.py

`photos` at the embedded budget (ConvNet of width 32, 10 images a class, 100 steps a round, seed 0), once for each
schedule. Written down after each round: β, the loss terms of its last step, and of each layer the eigenvalues of the
moving update Ψ_s over the rounds so far and how far it is from the real side, both terms as parts of the real side's
size (`RealSide.sizes`). Beside them the distances of the photographs the rounds started from, and of a run on
cross-entropy alone; these and the published schedule's also for two more seeds. Correlations are over 20 augmentations
of each image, drawn as in distilling, because the teacher sees no others. One JSON record, no pictures:
results/studies/curriculum/photos.json. One thread, about two minutes.
"""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from unidd import teach
from unidd.bench.cell import budgeted
from unidd.bench.records import provenance
from unidd.book.rounding import rounded
from unidd.core.filters import Ridge
from unidd.core.objectives import filter_loss, signal_loss
from unidd.core.schedules import SCHEDULES
from unidd.core.spectra import spectrum
from unidd.core.statistics import RealSide, emu, real_statistics
from unidd.data.augment import crop_flip_roll
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.engine.run import Run
from unidd.files import save_json
from unidd.methods import find
from unidd.networks.models import tapped_layers

PATH = Path(__file__).resolve().parent.parent / "results" / "studies" / "curriculum" / "photos.json"
IPC, SEEDS, DRAWS = 10, (0, 1, 2), 20  # the first seed is shown round by round


digits = partial(rounded, digits=4)  # enough for a screen


def moving(images, method, seed, data, teacher, layers) -> list[dict]:
    """After each round: layer → Ψ_s (d, d), Φ_s (d, k) of the moving update."""
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(data.classes)
    rounds, sides = [], dict.fromkeys(layers, (None, None))
    for b, pixels in enumerate(images.split(data.classes), 1):
        batches = []
        for _ in range(DRAWS):
            x = data.normalise(pixels)
            batches.append((crop_flip_roll(x, generator, scale=method.scale, shift=method.shift), labels))
        found = real_statistics(teacher.model, batches, layers, method.signal)
        sides = {
            layer: tuple(emu(p, c, b) for p, c in zip(sides[layer], (m.ffc, m.flc), strict=True))
            for layer, m in found.items()
        }
        rounds.append(sides)
    return rounds


def distances(real, rounds, betas) -> dict:
    """Layer → its filter and signal term after each round, as parts of the real side's sizes."""
    found = {}
    for layer, moments in real.items():
        terms = {"filter": [], "signal": []}
        for sides, beta in zip(rounds, betas, strict=True):
            f, (ffc, flc) = Ridge(beta), sides[layer]
            sizes = RealSide.of(moments).sizes(f)
            terms["filter"].append(filter_loss(f, moments.ffc, ffc) / sizes[0])
            terms["signal"].append(signal_loss(f, moments.ffc, moments.flc, ffc, flc) / sizes[1])
        found[layer] = {name: digits(values) for name, values in terms.items()}
    return found


def eigenvalues(rounds) -> dict:
    """Layer → a row of eigenvalues a round, largest first."""
    return {layer: [digits(spectrum(sides[layer][0]).eigenvalues) for sides in rounds] for layer in rounds[0]}


class Study:
    """What all runs of the study share: data, teacher, the published recipe, and the real side."""

    def __init__(self):
        self.data = load("photos")
        self.teacher = teach(self.data, progress=False)
        self.method = budgeted(find("cfm"), "embedded")
        self.layers = {layer: f"conv {i}" for i, layer in enumerate(tapped_layers(self.teacher.model), 1)}
        images, labels = self.data.normalise(self.data.train.images), self.data.train.labels
        batches = zip(images.split(500), labels.split(500), strict=True)
        self.real = real_statistics(self.teacher.model, batches, list(self.layers), self.method.signal)

    def named(self, by_layer: dict) -> dict:
        return {self.layers[layer]: value for layer, value in by_layer.items()}

    def followed(self, seed: int, made: SyntheticSet) -> list[dict]:
        return moving(made.images, self.method, seed, self.data, self.teacher, list(self.layers))

    def distilled(self, seed: int, **changes) -> SyntheticSet:
        run = Run(IPC, seed, statistics=self.real)
        return replace(self.method, **changes).distill(self.data, self.teacher, run)

    def others(self, seed: int) -> dict[str, list[dict]]:
        """What the distilled images are held against: the start, and cross-entropy alone."""
        start = SyntheticSet.from_real(self.data, IPC, seed)
        alone = self.distilled(seed, filter="none", eta=0.0)
        return {"start": self.followed(seed, start), "classification": self.followed(seed, alone)}

    def betas(self, schedule: str) -> list[float]:
        return [SCHEDULES[schedule](self.method.beta, b, IPC) for b in range(IPC)]

    def distances(self, sides: dict[str, list[dict]], schedule: str) -> dict:
        return {name: self.named(distances(self.real, side, self.betas(schedule))) for name, side in sides.items()}


def study() -> dict:
    began, it, runs, seeds = time.perf_counter(), Study(), {}, {}
    beside = it.others(SEEDS[0])
    for schedule in SCHEDULES:
        result = it.distilled(SEEDS[0], schedule=schedule)
        rounds = it.followed(SEEDS[0], result)
        runs[schedule] = {
            "beta": digits(it.betas(schedule)),
            "loss": {term: digits(e[term] for e in result.history) for term in ("classification", "filter", "signal")},
            "synthetic": it.named(eigenvalues(rounds)),
            "distances": it.distances({**beside, "distilled": rounds}, schedule),
        }
        print(f"{schedule} done", flush=True)
    for seed in SEEDS[1:]:
        sides = it.others(seed) | {"distilled": it.followed(seed, it.distilled(seed))}
        seeds[str(seed)] = it.distances(sides, "cosine")
        print(f"seed {seed} done", flush=True)
    config = it.method.config(it.data, Run(IPC))
    return {
        "dataset": "photos",
        "config": {name: value for name, value in config.items() if name != "schedule"},
        "teacher": it.teacher.card(),
        "real": it.named({layer: digits(spectrum(moments.ffc).eigenvalues) for layer, moments in it.real.items()}),
        "start": it.named(eigenvalues(beside["start"])),
        "runs": runs,
        "seeds": seeds,
        "seconds": round(time.perf_counter() - began, 1),
        "provenance": provenance(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_json(study(), PATH)
