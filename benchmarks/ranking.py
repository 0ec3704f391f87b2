"""Do a few images a class rank architectures as all images do? Kendall's τ, and the time that it saves.

    python benchmarks/ranking.py                    # digits, five seeds: about five minutes of one core
    python benchmarks/ranking.py --quick            # a look, in seconds, kept in _runs

Every architecture is trained on all training images, on random real ones, on a coreset and on distilled sets of ten
images a class, hard labels everywhere, and ranked by its accuracy on the test images. Every seed has a teacher, sets
and networks of its own. The ConvNets differ in width, depth, norm and pooling; beside them stand FRePo's, which doubles
its width, and a vision transformer. MobileNetV2, VGG-11 and ResNet-18 are left out by default, since a core takes
minutes for each of them: --study.models takes all names.

Seconds are of the processor, one thread, so that other work on the machine does not count: for each training, and for
making a set, whose teacher is trained anew. One JSON record: results/studies/ranking/digits.json.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from unidd.bench.cell import BUDGETS, budgeted
from unidd.bench.closure import code_hash
from unidd.bench.records import own, provenance
from unidd.data.datasets import ImageData, load
from unidd.engine.run import Run
from unidd.files import save_json
from unidd.methods import find
from unidd.networks.evaluation import evaluate_images
from unidd.networks.models import ModelConfig
from unidd.networks.training import NOBODY, TrainConfig, teacher

RESULTS = Path(__file__).resolve().parent.parent / "results" / "studies" / "ranking"
ARCHITECTURES = {
    **{f"width {width}": ModelConfig(width=width, depth=3) for width in (4, 8, 16, 32, 64)},
    **{f"depth {depth}": ModelConfig(width=32, depth=depth) for depth in (1, 2)},
    **{f"{norm} norm": ModelConfig(width=32, depth=2, norm=norm) for norm in ("instance", "none")},
    "max pooling": ModelConfig(width=32, depth=2, pooling="max"),
    "narrow and shallow": ModelConfig(width=8, depth=1),
    "wide and shallow": ModelConfig(width=64, depth=1),
    "doubling": ModelConfig("convnet-doubling", width=16, depth=3),
    "MobileNetV2": ModelConfig("mobilenet-small"),
    "ViT": ModelConfig("vit-small", width=16),
    "VGG-11": ModelConfig("vgg11-small"),
    "ResNet-18": ModelConfig("resnet18"),
}
COSTLY = ("MobileNetV2", "VGG-11", "ResNet-18")
SETS: dict[str, dict[str, Any]] = {"random": {}, "herding": {}, "dm": {"norm": "batch"}, "cfm": {}}


@dataclass(frozen=True)
class Study:
    """What is measured.

    Args:
        dataset, ipc, budget: what is distilled, to how many images a class, at which budget.
        seeds: each another repetition.
        models: names in `ARCHITECTURES`.
        epochs, batch: of a training on all images.
        few_epochs, few_batch: of a training on a set.
        lr: of all trainings (AdamW).
    """

    dataset: str = "digits"
    ipc: int = 10
    budget: str = "embedded"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    models: tuple[str, ...] = tuple(name for name in ARCHITECTURES if name not in COSTLY)
    epochs: int = 6
    batch: int = 32
    few_epochs: int = 15
    few_batch: int = 20
    lr: float = 2e-3

    def training(self, few: bool) -> TrainConfig:
        """Return how a network is trained: on images as they are, since a flip makes another digit."""
        size = (self.few_epochs, self.few_batch) if few else (self.epochs, self.batch)
        return TrainConfig(*size, optimizer="adamw", lr=self.lr, weight_decay=1e-2, crop="none")


QUICK = Study(budget="smoke", ipc=2, seeds=(0, 1), models=tuple(ARCHITECTURES)[:4], epochs=1, few_epochs=1)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what work gives, and the processor's seconds that it took."""
    began = time.process_time()
    return work(), round(time.process_time() - began, 3)


def made(data: ImageData, study: Study, seed: int) -> tuple[dict[str, Any], dict[str, float], dict]:
    """Return the sets of a repetition by name; the seconds each took, its teacher's included; the teacher's card."""
    budget = BUDGETS[study.budget]
    # A store of its own: what was worked out before would cost nothing.
    with tempfile.TemporaryDirectory() as folder:
        kept, os.environ["UNIDD_CACHE"] = os.environ.get("UNIDD_CACHE"), folder
        try:
            task = data, budget.network("convnet"), budget.taught()
            taught, training = timed(lambda: teacher(*task, seed=seed, progress=False))
            sets, seconds = {}, {}
            for name, settings in SETS.items():
                method = budgeted(find(name), study.budget, **settings)
                by = taught if method.needs_teacher else NOBODY
                sets[name], took = timed(lambda m=method, t=by: m.distill(data, t, Run(study.ipc, seed)))
                seconds[name] = round(took + training * method.needs_teacher, 3)
        finally:
            os.environ.pop("UNIDD_CACHE")
            os.environ.update({"UNIDD_CACHE": kept} if kept else {})
    return sets, seconds, taught.card()


def repetition(data: ImageData, study: Study, seed: int) -> dict[str, Any]:
    """Return one seed's accuracies in % and seconds: {"accuracy" or "seconds": {set: {architecture: number}}}."""
    sets, making, card = made(data, study, seed)
    accuracy: dict[str, dict[str, float]] = {name: {} for name in ("full", *sets)}
    seconds: dict[str, dict[str, float]] = {name: {} for name in accuracy}
    for name in study.models:  # one after the other on each set: what slows the machine down slows all of them
        for source, images in {"full": data.train, **sets}.items():
            config = study.training(few=source != "full")
            task = images.images, images.labels, data, ARCHITECTURES[name], config, [seed]
            (found,), took = timed(lambda task=task: evaluate_images(*task, progress=False))
            accuracy[source][name], seconds[source][name] = round(found, 3), took
    return {"seed": seed, "accuracy": accuracy, "seconds": seconds, "making": making, "teacher": card}


def measured(study: Study, data: ImageData | None = None) -> Iterator[dict[str, Any]]:
    """Yield the record of a study after each seed.

    Args:
        data: in place of those that the study names.
    """
    data, rows = data or load(study.dataset), []
    methods = {name: budgeted(find(name), study.budget, **settings) for name, settings in SETS.items()}
    about = {
        "study": "ranking",
        "dataset": data.name,
        "settings": asdict(study),
        "training": {"full": asdict(study.training(few=False)), "few": asdict(study.training(few=True))},
        "architectures": {name: asdict(ARCHITECTURES[name]) for name in study.models},
        "sets": {
            name: {"role": method.role, **asdict(method.settled(data, study.ipc))} for name, method in methods.items()
        },
        "images": {"full": len(data.train), "few": study.ipc * data.classes, "test": len(data.test)},
        "provenance": provenance(data.device),
        "code": code_hash(Path(__file__).stem),
    }
    for seed in study.seeds:
        rows.append(repetition(data, study, seed))
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
    folder = own() / "studies" / "ranking" if asked.quick else RESULTS
    path = asked.out or folder / f"{study.dataset}.json"
    for record in measured(study):
        save_json(record, path)
    return path


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(main(tyro.cli(Asked)))
