"""CFM round by round, under each schedule of β: the study behind the chapter "CFM, the algorithm and its cost".

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
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from unidd.bench.configs import Benchmark
from unidd.bench.records import provenance
from unidd.book.rounding import rounded
from unidd.core.filters import Ridge
from unidd.core.objectives import filter_loss, signal_loss
from unidd.core.schedules import SCHEDULES
from unidd.core.spectra import spectrum
from unidd.core.statistics import RealSide, emu, real_statistics
from unidd.data import augment
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.files import save_json
from unidd.networks.models import tapped_layers

PATH = Path(__file__).resolve().parent.parent / "results" / "studies" / "curriculum" / "photos.json"
IPC, SEEDS, DRAWS = 10, (0, 1, 2), 20  # the first seed is shown round by round


digits = partial(rounded, digits=4)  # enough for a screen


def moving(images, config, data, teacher, layers) -> list[dict]:
    """After each round: layer → Ψ_s (d, d), Φ_s (d, k) of the moving update."""
    generator, labels = torch.Generator().manual_seed(config.seed), torch.arange(data.classes)
    rounds, sides = [], dict.fromkeys(layers, (None, None))
    for b, pixels in enumerate(images.split(data.classes), 1):
        batches = []
        for _ in range(DRAWS):
            x = augment.random_resized_crop(data.normalise(pixels), generator, (config.scale, 1.0))
            batches.append((augment.roll(augment.flip(x, generator), generator, config.shift), labels))
        found = real_statistics(teacher.model, batches, layers, config.signal)
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


def study() -> dict:
    data, began = load("photos"), time.perf_counter()
    benchmark = Benchmark(dataset="photos", method="cfm", ipc=IPC)
    teacher, config = benchmark.teacher(data, progress=False), benchmark.distillation(SEEDS[0])
    layers = {layer: f"conv {i}" for i, layer in enumerate(tapped_layers(teacher.model), 1)}
    images, labels = data.normalise(data.train.images), data.train.labels
    batches = zip(images.split(500), labels.split(500), strict=True)
    real = real_statistics(teacher.model, batches, list(layers), config.signal)

    def named(by_layer):
        return {layers[layer]: value for layer, value in by_layer.items()}

    def followed(seed, made):
        return moving(made.images, replace(config, seed=seed), data, teacher, list(layers))

    def distilled(seed, method="cfm", schedule="cosine"):
        changes = {"schedule": schedule} if method == "cfm" else {}
        cell = Benchmark(dataset="photos", method=method, ipc=IPC, settings=changes)
        return cell.distil(seed, data, teacher, progress=False, statistics=real)

    def others(seed):
        start, alone = SyntheticSet.from_real(data, IPC, seed), distilled(seed, "classification")
        return {"start": followed(seed, start), "classification": followed(seed, alone)}

    beside, runs, seeds = others(SEEDS[0]), {}, {}
    for schedule, at in SCHEDULES.items():
        betas = [at(config.beta, b, IPC) for b in range(IPC)]
        result = distilled(SEEDS[0], schedule=schedule)
        rounds = followed(SEEDS[0], result)
        runs[schedule] = {
            "beta": digits(betas),
            "loss": {term: digits(e[term] for e in result.history) for term in ("classification", "filter", "signal")},
            "synthetic": named(eigenvalues(rounds)),
            "distances": {
                name: named(distances(real, side, betas)) for name, side in {**beside, "distilled": rounds}.items()
            },
        }
        print(f"{schedule} done", flush=True)
    betas = [SCHEDULES["cosine"](config.beta, b, IPC) for b in range(IPC)]
    for seed in SEEDS[1:]:
        sides = others(seed) | {"distilled": followed(seed, distilled(seed))}
        seeds[str(seed)] = {name: named(distances(real, side, betas)) for name, side in sides.items()}
        print(f"seed {seed} done", flush=True)
    return {
        "dataset": "photos",
        "config": {name: value for name, value in asdict(config).items() if name != "schedule"},
        "teacher": teacher.card(),
        "real": named({layer: digits(spectrum(moments.ffc).eigenvalues) for layer, moments in real.items()}),
        "start": named(eigenvalues(beside["start"])),
        "runs": runs,
        "seeds": seeds,
        "seconds": round(time.perf_counter() - began, 1),
        "provenance": provenance(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_json(study(), PATH)
