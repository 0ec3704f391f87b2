"""What each filter writes into images: the study behind the chapter "What a filter writes into an image".

    python benchmarks/filter_images.py [digits | SEED …]

`photos`: a repetition is a seed. It trains its own teacher and draws its own random real photographs (IPC 3), which
each fixed filter distills, beside the teacher's cross-entropy and alone. Written down are the radial power of the
results, their share of fine detail, and the diversity within classes, in pixels and in the teacher's features: a record
a seed, about three minutes. `digits`: ten images for a linear learner, from ten random starts, through each filter of
the pixels' own spectrum and of that of random ReLU features: one record, about two minutes. One thread;
results/studies/filters/.
"""

import sys
import time
from pathlib import Path

import torch

from unidd import distill
from unidd.bench.cell import BUDGETS
from unidd.bench.records import provenance
from unidd.book.linear import FEATURES, Digits
from unidd.book.rounding import rounded
from unidd.core.spectra import consistency, high_frequency_share, normalised_power, radial_power
from unidd.core.statistics import FeatureTap
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.files import save_json
from unidd.networks.training import teacher

FOLDER = Path(__file__).resolve().parent.parent / "results" / "studies" / "filters"
IPC, STEPS = 3, 100
# name → method and what it changes: β absolute, signal "mean", EMU on, as published; the curriculum is left out
VARIANTS = {
    "none": {"method": "classification"},
    "all-pass": {"method": "hfm", "filter": "all-pass"},
    "linear": {"method": "lfm"},
    "Landweber": {"method": "hfm", "filter": "landweber"},
    "ridge, β = 1": {"method": "hfm", "beta": 1.0},
    "ridge, β = 0.01": {"method": "hfm", "beta": 0.01},
}
# η so large that Adam, which knows no scale, sees nothing of the cross-entropy
ALONE = ("all-pass", "linear", "ridge, β = 1", "ridge, β = 0.01")
VARIANTS |= {f"{name}, alone": {**VARIANTS[name], "eta": 1e4} for name in ALONE}
# of the digits: name → filter, and β in units of the mean eigenvalue
OF_DIGITS = {
    "all-pass": ("allpass", 1.0),
    "linear": ("linear", 1.0),
    "Landweber": ("landweber", 1.0),
    "ridge, β = 1": ("ridge", 1.0),
    "ridge, β = 0.1": ("ridge", 0.1),
    "ridge, β = 0.01": ("ridge", 0.01),
}
STARTS, DIGIT_STEPS = range(10), 300


@torch.no_grad()
def measure(images, labels, data, model) -> dict:
    """Power, share of fine detail, and diversity of images in [0, 1].

    "power" is their mean power at each frequency, "spectrum" the same of curves normalised image by image. "high" is
    the mean of the images' shares, "pooled" the share of the mean power, in which strong contrast weighs more.
    """
    with FeatureTap(model, ["head"]) as tap:
        model(data.normalise(images))
    frequency, power = radial_power(images)
    energy = power.mean(0) * frequency
    return {
        "power": rounded(power.mean(0), 5),
        "spectrum": rounded(normalised_power(images)[1].mean(0), 5),
        "pooled": round(float(energy[frequency > 0.25].sum() / energy.sum()), 5),
        "high": round(float(high_frequency_share(images).mean()), 5),
        "pixels": round(1 - consistency(data.normalise(images), labels), 5),
        "features": round(1 - consistency(tap.features["head"], labels), 5),
    }


def study(seed: int, data) -> dict:
    budget = BUDGETS["embedded"]
    taught = teacher(data, budget.network("convnet"), budget.taught(), seed=seed, progress=False)
    start = SyntheticSet.from_real(data, IPC, seed)
    real = data.train.images[::5].float() / 255
    found = {
        "real": measure(real, data.train.labels[::5], data, taught.model),
        "start": measure(start.images, start.labels, data, taught.model),
    }
    began = time.perf_counter()
    for name, variant in VARIANTS.items():
        result = distill(data, ipc=IPC, seed=seed, **variant, steps=STEPS, teacher=taught, progress=False)
        found[name] = measure(result.images, result.labels, data, taught.model)
    return {
        "seed": seed,
        "ipc": IPC,
        "steps": STEPS,
        "teacher": taught.card(),
        "measured": found,
        "seconds": round(time.perf_counter() - began, 1),
        "provenance": provenance(),
    }


def followed(digits: Digits, start: list[int], name: str, beta: float) -> list[float]:
    """Share of fine detail of the ten images, and what the ridge learner and the nearest image make of them, in %."""
    *_, (x, _) = digits.distill(digits.filter(name, beta), start, DIGIT_STEPS)
    return judged(digits, x)


def judged(digits: Digits, x: torch.Tensor) -> list[float]:
    labels = torch.arange(len(x))
    high = float(high_frequency_share(x.view(-1, 1, 8, 8)).mean())
    return [high, digits.ridge_accuracy(x, labels, 0.1), digits.nearest_accuracy(x, labels)]


def study_of_digits(data) -> dict:
    """Kind of features → filter → quantity → a value a start."""
    began, measured = time.perf_counter(), {}
    for kind in FEATURES:
        digits, found = Digits(data, kind), {}
        starts = [digits.first(seed) for seed in STARTS]
        found["start"] = [judged(digits, digits.train[start]) for start in starts]
        for name, filter in OF_DIGITS.items():
            found[name] = [followed(digits, start, *filter) for start in starts]
        quantities = ("high", "own learner", "nearest image")
        measured[kind] = {
            name: {
                quantity: rounded(values, 6)
                for quantity, values in zip(quantities, zip(*rows, strict=True), strict=True)
            }
            for name, rows in found.items()
        }
    real = float(high_frequency_share(digits.train.view(-1, 1, 8, 8)).mean())
    seconds = round(time.perf_counter() - began, 1)
    about = {"starts": list(STARTS), "steps": DIGIT_STEPS, "real": round(real, 5), "measured": measured}
    return about | {"seconds": seconds, "provenance": provenance()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = sys.argv[1:] or ["digits", *map(str, range(5))]
    if "digits" in asked:
        save_json(study_of_digits(load("digits")), FOLDER / "digits.json")
    photos = load("photos")
    for number in (int(word) for word in asked if word != "digits"):
        save_json(study(number, photos), FOLDER / f"photos-seed{number}.json")
        print(f"seed {number} done", flush=True)
