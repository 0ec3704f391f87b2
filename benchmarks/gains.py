"""What does the gain over random real images hang on? The same sets, while what their students get is varied.

    python benchmarks/gains.py _data/cifar10-mini       # five seeds: an hour and a half of one core
    python benchmarks/gains.py photos --epochs 50 200 --crops 1 0.3 0.08 --views 1 10 100 0
    python benchmarks/gains.py photos --quick           # a look, in seconds, kept in _runs

Three things are varied, one at a time, around the students of the protocol `unidd`:

    epochs    under each label regime; a student of online soft labels sees new views, and new labels, in every one
    crops     the smallest area of the crops of online soft labels
    views     how many views of an image the teacher labels, once: students see these alone, each epoch the next; this
              is what lies between a label for each image and a teacher that is there. No CutMix, and as many steps

Test images are not looked at: a part of the training images is held out for each seed, see `unidd.bench.search`. A seed
has its own such part, teacher, starting images and students. What is done is kept in _runs/studies/gains/parts/, and
all of it makes one JSON record, results/studies/gains/<name of the data>.json. One thread.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
import yaml
from torch import Tensor, nn

from unidd import load
from unidd.bench.cell import BUDGETS, Cell
from unidd.bench.closure import code_hash
from unidd.bench.parts import kept
from unidd.bench.records import own, provenance, stored_bytes
from unidd.bench.search import SHARE, validation
from unidd.data import augment
from unidd.data.datasets import ImageData
from unidd.data.synthetic import SyntheticSet
from unidd.files import save_json
from unidd.networks.evaluation import REGIMES, SoftLabels, evaluate_images, teacher_logits
from unidd.networks.training import Recipe, Teacher

RESULTS = Path(__file__).resolve().parent.parent / "results" / "studies" / "gains"
SETS = Path(__file__).with_name("gains.yaml")


@dataclass(frozen=True)
class Study:
    """What is measured.

    Args:
        dataset: a name or folder.
        sets: a YAML file: name → {method: …, hyper-parameters …}; one of them is random.
        ipc, budget: of all sets.
        seeds: each another repetition.
        epochs, crops, views: what students get; views of 0: a new one every time.
        quick: a look at a small budget.
    """

    dataset: tyro.conf.Positional[str] = "photos"
    sets: Path = SETS
    ipc: int = 10
    budget: str = "embedded"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epochs: tuple[int, ...] = (50, 200, 800)
    crops: tuple[float, ...] = (1.0, 0.5, 0.25, 0.08)
    views: tuple[int, ...] = (1, 5, 20, 100, 0)
    quick: bool = False

    def cell(self, method: str, **settings: Any) -> Cell:
        """Return the cell of a set."""
        return Cell.of(method, settings, self.budget, dataset=self.dataset, ipc=self.ipc, regimes=list(REGIMES))


class Students:
    """The students of one set: the recipe of the protocol, and variations of it."""

    def __init__(self, cell: Cell, made: SyntheticSet, data: ImageData, teacher: Teacher, seed: int):
        self.cell, self.made, self.data, self.teacher, self.seed = cell, made, data, teacher, seed
        self.recipe, self.found = Recipe.of(cell.student(data, made)), dict[tuple[str, Recipe], float]()

    def under(self, regime: str, **changes: Any) -> float:
        """Return the accuracy in % of a student under a label regime, its recipe changed; none is trained twice."""
        asked = regime, replace(self.recipe, **changes)
        if asked not in self.found:
            labels = self.labelled(self.made.images) if regime == "fixed-soft" else self.made.labels
            teacher = self.teacher.model if regime == "online-soft" else None
            self.found[asked] = self.trained(self.made.images, labels, asked[1], teacher)
        return self.found[asked]

    def with_views(self, views: int) -> float:
        """Return the accuracy in % of a student that has some views of each image, labelled once; 0: ever new ones."""
        if not views:
            return self.under("online-soft", cutmix=False)
        generator = torch.Generator().manual_seed(self.seed)
        images = self.made.images.repeat(views, 1, 1, 1)
        images = augment.random_resized_crop(images, generator, (self.recipe.scale, 1.0))
        images = augment.flip(images, generator).clamp(0, 1)
        recipe = replace(self.recipe.plain(), epochs=-(-self.recipe.epochs // views))
        return self.trained(images, self.labelled(images), recipe)

    def labelled(self, images: Tensor) -> SoftLabels:
        return SoftLabels(teacher_logits(images, self.data, self.teacher.model))

    def trained(
        self, images: Tensor, labels: Tensor | SoftLabels, recipe: Recipe, teacher: nn.Module | None = None
    ) -> float:
        task = images, labels, self.data, self.cell.student_network(), recipe, [self.seed]
        return round(evaluate_images(*task, teacher=teacher, progress=False)[0], 3)


def measured(study: Study, cell: Cell, seed: int, data: ImageData) -> dict[str, Any]:
    """Make a set, and return what each variation of its students reaches: axis → place on it → accuracy in %."""
    began, split = time.process_time(), validation(data, seed)
    teacher = cell.teacher(split, seed, progress=False)
    made = cell.distill(seed, split, teacher, progress=False)
    making = time.process_time() - began
    of = Students(cell, made, split, teacher, seed)
    found = {f"epochs, {regime}": {str(n): of.under(regime, epochs=n) for n in study.epochs} for regime in REGIMES}
    found["crops"] = {str(scale): of.under("online-soft", scale=scale) for scale in study.crops}
    found["views"] = {str(views): of.with_views(views) for views in study.views}
    seconds = {"making": round(making, 1), "students": round(time.process_time() - began - making, 1)}
    taken = stored_bytes(made.images, split.classes, teacher.model)
    return {"accuracy": found, "teacher": teacher.card(), "bytes": taken, "seconds": seconds}


def rows(study: Study, data: ImageData) -> Iterator[dict[str, Any]]:
    """Yield what each seed and set comes to, from a part if there is one."""
    sets = yaml.safe_load(study.sets.read_text())
    cells = {name: study.cell(**asked) for name, asked in sets.items()}  # a wrong one is refused before the first
    for seed in study.seeds:
        for name, cell in cells.items():
            depends = settings(study) | {"seeds": seed, "set": sets[name], "data": data.fingerprint}
            depends["code"] = code_hash(type(cell.method).__module__, "unidd.bench.search", Path(__file__).stem)
            path = own() / "studies" / "gains" / "parts" / f"{data.name}-{study.budget}-{name}-{seed}.json"
            role = {"set": name, "role": cell.method.role, "seed": seed}
            yield role | kept(path, depends, lambda cell=cell, seed=seed: measured(study, cell, seed, data))


def settings(study: Study) -> dict[str, Any]:
    """Return how the study measures, whatever the data and the sets, as JSON has it."""
    told = {key: value for key, value in asdict(study).items() if key not in ("dataset", "sets", "quick")}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}


def main(study: Study) -> Path:
    torch.set_num_threads(1)
    data, found = load(study.dataset), []
    if study.quick:
        study = replace(study, budget="smoke", ipc=2, seeds=(0, 1), epochs=(1, 2), crops=(1.0,), views=(1, 0))
    path = (own() / "studies" / "gains" if study.quick else RESULTS) / f"{data.name}.json"
    about = {"study": "gains", "dataset": data.name, "images": len(data.train), "settings": settings(study)}
    about["width"] = BUDGETS[study.budget].width
    for row in rows(study, data):
        found.append(row)
        save_json({**about, "share": SHARE, "rows": found, "provenance": provenance()}, path)
        print(row["set"], row["seed"], row["accuracy"], row["seconds"], flush=True)
    return path


if __name__ == "__main__":
    print(main(tyro.cli(Study)))
