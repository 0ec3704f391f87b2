"""Search for a recipe on validation splits of the training images: all that was tried, and what it reached.

    python benchmarks/recipes.py benchmarks/recipes.yaml --dataset _data/cifar10-mini

The file has by name what was tried: a method, and hyper-parameters of it. Each seed splits the training images anew;
the test images are never looked at. What is done is kept in _runs/studies/recipes/parts/, and not done again unless its
code or settings changed; all of it makes one JSON record, results/studies/recipes/<name of the data>-<protocol>.json.
One thread.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
import yaml

from unidd import load
from unidd.bench.cell import Cell
from unidd.bench.closure import code_hash
from unidd.bench.parts import kept
from unidd.bench.records import own, provenance
from unidd.bench.search import SHARE, tried
from unidd.data.datasets import ImageData
from unidd.files import save_json
from unidd.networks.evaluation import REGIMES

RESULTS = Path(__file__).resolve().parent.parent / "results" / "studies" / "recipes"


@dataclass(frozen=True)
class Search:
    """What is tried.

    Args:
        recipes: a YAML file: name → {method: …, hyper-parameters …}.
        dataset: a name or folder.
        ipc, budget, protocol: of all recipes.
        seeds: of each recipe, one repetition a seed.
        out: folder of the record.
    """

    recipes: tyro.conf.Positional[Path]
    dataset: str = "photos"
    ipc: int = 10
    budget: str = "narrow"
    protocol: str = "dsa"
    seeds: tuple[int, ...] = (0, 1)
    out: Path = RESULTS

    def cell(self, method: str, **settings: Any) -> Cell:
        asked: dict[str, Any] = {"dataset": self.dataset, "ipc": self.ipc, "protocol": self.protocol, "seeds": [0]}
        if self.protocol == "unidd":
            asked["regimes"] = list(REGIMES)
        return Cell.of(method, settings, self.budget, **asked)


def row(search: Search, name: str, recipe: dict, seed: int, data: ImageData) -> dict[str, Any]:
    """Return what a recipe reaches with a seed, from a part if there is one."""
    cell = search.cell(**recipe)
    asked = {
        "recipe": recipe,
        "seed": seed,
        "data": data.fingerprint,
        "code": code_hash(type(cell.method).__module__, "unidd.bench.search"),
    }
    asked |= {key: getattr(search, key) for key in ("ipc", "budget", "protocol")}
    path = own() / "studies" / "recipes" / "parts" / f"{data.name}-{search.protocol}-{name}-{seed}.json"
    about = {"name": name, **recipe, "seed": seed}
    return kept(path, asked, lambda: about | tried(cell, data, seed, progress=False))


def main(search: Search) -> None:
    torch.set_num_threads(1)
    data, recipes = load(search.dataset), yaml.safe_load(search.recipes.read_text())
    for recipe in recipes.values():
        search.cell(**recipe)  # a wrong one is refused before the first is tried
    rows = []
    for seed in search.seeds:
        for name, recipe in recipes.items():
            rows.append(row(search, name, recipe, seed, data))
            print(name, seed, rows[-1]["accuracy"], flush=True)
    asked = {key: value for key, value in asdict(search).items() if key in ("ipc", "budget", "protocol", "seeds")}
    record = {"study": "recipes", "dataset": data.name, "settings": asked, "share": SHARE, "rows": rows}
    save_json(record | {"provenance": provenance()}, search.out / f"{data.name}-{search.protocol}.json")


if __name__ == "__main__":
    main(tyro.cli(Search))
