"""What each filter writes into images: the study behind the chapter "What a filter writes into an image".

    python benchmarks/filter_images.py [SEED …]

For every seed, the same random real photographs (IPC 3) are distilled by each fixed filter; written down are the radial
power spectral density of the results, their share of high frequencies, and the diversity within classes, in pixels and
in the teacher's features. One JSON record a seed in results/studies/filters/; one thread, about a minute a seed.
"""

import sys
import time
from pathlib import Path

import torch

from unidd import distill, teach
from unidd.bench.records import provenance
from unidd.book.rounding import rounded
from unidd.core.spectra import consistency, high_frequency_share, radial_power
from unidd.core.statistics import FeatureTap
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.files import save_json

FOLDER = Path(__file__).resolve().parent.parent / "results" / "studies" / "filters"
IPC, STEPS = 3, 100
# name → method and what it changes: β absolute, signal "mean", EMU on, as published; the curriculum is left out
VARIANTS = {
    "none": {"method": "classification"},
    "all-pass": {"method": "hfm", "filter": "all-pass"},
    "linear": {"method": "lfm"},
    "residual": {"method": "hfm", "filter": "residual"},
    "Landweber": {"method": "hfm", "filter": "landweber"},
    "ridge, β = 1": {"method": "hfm", "beta": 1.0},
    "ridge, β = 0.1": {"method": "hfm"},
    "ridge, β = 0.01": {"method": "hfm", "beta": 0.01},
}


@torch.no_grad()
def measure(images, labels, data, teacher) -> dict:
    """Mean power at each frequency, share of power above ¼ cycles a pixel, and diversity of images in [0, 1]."""
    with FeatureTap(teacher.model, ["head"]) as tap:
        teacher.model(data.normalise(images))
    return {
        "power": rounded(radial_power(images)[1].mean(0), 5),
        "high": round(float(high_frequency_share(images).mean()), 5),
        "pixels": round(1 - consistency(data.normalise(images), labels), 5),
        "features": round(1 - consistency(tap.features["head"], labels), 5),
    }


def study(seed: int, data, teacher) -> dict:
    start = SyntheticSet.from_real(data, IPC, seed)
    real = data.train.images[::5].float() / 255
    found = {
        "real": measure(real, data.train.labels[::5], data, teacher),
        "start": measure(start.images, start.labels, data, teacher),
    }
    began = time.perf_counter()
    for name, variant in VARIANTS.items():
        result = distill(data, ipc=IPC, seed=seed, **variant, steps=STEPS, teacher=teacher, progress=False)
        found[name] = measure(result.images, result.labels, data, teacher)
    return {
        "seed": seed,
        "ipc": IPC,
        "steps": STEPS,
        "teacher": teacher.card(),
        "measured": found,
        "seconds": round(time.perf_counter() - began, 1),
        "provenance": provenance(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    photos = load("photos")
    trained = teach(photos, progress=False)
    for number in map(int, sys.argv[1:] or range(5)):
        save_json(study(number, photos, trained), FOLDER / f"photos-seed{number}.json")
        print(f"seed {number} done", flush=True)
