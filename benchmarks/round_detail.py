"""Does detail rise from round to round of CFM? The study behind Figure 5 of "The paper, table by table".

    python benchmarks/round_detail.py                                    # photos, five seeds
    python benchmarks/round_detail.py tiny-imagenet --budget large --group 200 --beta 0.5 --seeds 0 1 2 3 4

A repetition is a seed: another teacher, other starting images, another distillation, with the cosine curriculum and
with the same β in all rounds. Of the images of each round, and of the real ones they started from, the share of fine
detail is written down (`high_frequency_share`), and how much it rises over the rounds, in shares a round: the slope of
a straight line (least squares). A record a seed, results/studies/rounds/DATASET-seedN.json; one that is there is not
made again. One thread; a minute a seed on photographs.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unidd import distill
from unidd.bench.cell import teach
from unidd.bench.records import provenance
from unidd.book.rounding import rounded
from unidd.core.spectra import high_frequency_share
from unidd.data.datasets import ImageData, load
from unidd.data.synthetic import SyntheticSet
from unidd.files import save_json

FOLDER = Path(__file__).resolve().parent.parent / "results" / "studies" / "rounds"


def by_round(images: Tensor, rounds: int) -> list[float]:
    """Return the mean share of fine detail of the images of each round; images (rounds · n, C, H, W) in [0, 1]."""
    return [float(high_frequency_share(part).mean()) for part in images.chunk(rounds)]


def rise(shares: list[float]) -> float:
    """Return the slope of a straight line through the shares of rounds 0, 1, …

    >>> round(rise([0.1, 0.2, 0.3]), 6)
    0.1
    """
    return float(np.polyfit(range(len(shares)), shares, 1)[0])


def study(seed: int, data: ImageData, ipc: int, budget: str, settings: dict) -> dict:
    began = time.perf_counter()
    taught = teach(data, "convnet", budget, seed=seed, progress=False)
    shares = {"start": by_round(SyntheticSet.from_real(data, ipc, seed).images, ipc)}
    for name in ("cfm", "hfm"):
        task = {"ipc": ipc, "seed": seed, "budget": budget, "teacher": taught, "progress": False}
        shares[name] = by_round(distill(data, name, **task, **settings).images, ipc)
    return {
        "dataset": data.name,
        "seed": seed,
        "ipc": ipc,
        "budget": budget,
        "settings": settings,
        "teacher": taught.card(),
        "shares": {name: rounded(values, 5) for name, values in shares.items()},
        "rise": {name: round(rise(values), 7) for name, values in shares.items()},
        "seconds": round(time.perf_counter() - began, 1),
        "provenance": provenance(data.device),
    }


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Return what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("dataset", nargs="?", default="photos")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--group", type=int)
    parser.add_argument("--beta", type=float)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    asked = options(words)
    told = {name: getattr(asked, name) for name in ("group", "beta")}
    settings = {name: value for name, value in told.items() if value is not None}
    data = load(asked.dataset)
    for seed in asked.seeds:
        path = FOLDER / f"{asked.dataset}-seed{seed}.json"
        if not path.exists():
            save_json(study(seed, data, asked.ipc, asked.budget, settings), path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
