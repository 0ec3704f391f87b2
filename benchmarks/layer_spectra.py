"""Spectra of the layers of a ConvNet and a ResNet-18 before and after training, behind the chapter on the spectrum.

    python benchmarks/layer_spectra.py [SEED …]

Both networks see the same 600 photographs (60 a class); a ResNet-18 on a CPU allows no more than a short training. One
JSON record a seed in results/studies/spectra/; one thread, about two minutes a seed.
"""

import sys
import time
from pathlib import Path

import torch

from unidd.bench.records import provenance
from unidd.core.spectra import condition_number, effective_dimension, spectrum
from unidd.core.statistics import real_statistics
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.files import save_json
from unidd.networks.models import ModelConfig, build, tapped_layers
from unidd.networks.training import TrainConfig, accuracy, train

FOLDER = Path(__file__).resolve().parent.parent / "results" / "studies" / "spectra"
BETA = 0.1  # of CFM on CIFAR
NETWORKS = {
    "ConvNet": (ModelConfig(width=32), TrainConfig(epochs=10, batch=64)),
    "ResNet-18": (ModelConfig("resnet18"), TrainConfig(epochs=2, batch=32, lr=0.05)),
}


def layers(network, images, labels) -> list[dict]:
    """Of every matched layer: eigenvalues' extremes and mean, condition, and what β = 0.1 means there."""
    batches = zip(images.split(100), labels.split(100), strict=True)
    rows = []
    for name, moments in real_statistics(network.eval(), batches, tapped_layers(network)).items():
        lam = spectrum(moments.ffc).eigenvalues
        rows.append(
            {
                "layer": name,
                "channels": len(lam),
                "largest": float(lam[0]),
                "mean": float(lam.mean()),
                "smallest": float(lam[-1]),
                "below": float((lam < BETA).double().mean()),
                "dead": int((moments.ffc.diagonal() < 1e-10).sum()),
                "condition": min(condition_number(lam), 1e30),
                "beta over mean": BETA / max(float(lam.mean()), 1e-30),
                "effective dimension": effective_dimension(lam, BETA) / len(lam),
            }
        )
    return rows


def study(seed: int) -> dict:
    data = load("photos")
    some = SyntheticSet.from_real(data, ipc=60, seed=seed)
    images, found, began = data.normalise(some.images), {}, time.perf_counter()
    for name, (model, config) in NETWORKS.items():
        network = build(model, data.channels, data.size, data.classes, seed)
        before = layers(network, images, some.labels)
        train(network, images, some.labels, config, seed=seed)
        after = layers(network, images, some.labels)
        found[name] = {"before": before, "after": after, "accuracy": round(accuracy(network, data), 2)}
    seconds = round(time.perf_counter() - began, 1)
    return {"seed": seed, "beta": BETA, "networks": found, "seconds": seconds, "provenance": provenance()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number in map(int, sys.argv[1:] or range(3)):
        save_json(study(number), FOLDER / f"photos-seed{number}.json")
        print(f"seed {number} done", flush=True)
