"""What each defect of UniDD's released code changes: the study behind the last part of "What the reviewers asked".

    python benchmarks/released_defects.py                                # photos, five seeds
    python benchmarks/released_defects.py --quick --folder SOMEWHERE     # one repetition at the budget smoke
    python benchmarks/released_defects.py --tiny FOLDER                  # Tiny-ImageNet: the statistics alone

Each defect is emulated with this package's own engine, so that nothing but the defect differs. A repetition is a seed:
another teacher, other starting images, another distillation, another student. Written down of every student: its test
accuracy at the last epoch; and of the two sets made without a defect (random real images and CFM) also the best over
the last fifth of the epochs, and with the test images normalised by other constants: ImageNet's ("imagenet"), and the
data's own, moved as ImageNet's are from CIFAR-100's ("moved"). Labels are online soft, as the released code's.

The released code takes the covariance *within* batches of 256 in file order. Of each matched layer's input: how far
that is from the covariance over all images ("distance", relative, Frobenius), what part of the variance lies between
classes ("between"), and what part of that is lost ("missing"). On Tiny-ImageNet both ways of counting are held against
the released statistics: within every tenth batch, and over every tenth image. FOLDER holds `tiny-imagenet-200` and
`unidd-released`, as they unpack.

One JSON record a data set, results/studies/defects/DATASET.json; a repetition's students that are there are not trained
again. One thread, about four minutes a seed.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property, reduce
from pathlib import Path

import torch
from torch import Tensor, nn

from unidd import teach
from unidd.bench.cell import BUDGETS, budgeted, student_on
from unidd.bench.records import provenance
from unidd.core.statistics import Moments, real_statistics
from unidd.data import layouts
from unidd.data.datasets import ImageData, Split, load
from unidd.data.decoding import stack
from unidd.data.folders import Listing
from unidd.data.synthetic import SyntheticSet, in_rounds
from unidd.engine.released import read_statistics
from unidd.engine.run import Run
from unidd.files import save_json
from unidd.methods import find
from unidd.networks.models import build, tapped_layers
from unidd.networks.training import Recipe, Teacher, accuracy, train
from unidd.networks.weights import PUBLISHED

FOLDER = Path(__file__).resolve().parent.parent / "results" / "studies" / "defects"
BATCH = 256  # images that the released code takes a covariance of
CROP = 0.5  # smallest area of its students' crops on Tiny-ImageNet and ImageNet
TENTH = 10  # of the batches and of the images of Tiny-ImageNet


def wrong_constants(data: ImageData) -> dict[str, tuple]:
    """Return other means and stds: ImageNet's, and the data's moved as ImageNet's are from CIFAR-100's."""
    if data.channels != 3:
        raise ValueError(f"ImageNet's mean and std are of three channels, and {data.name} has {data.channels}")
    (there, wide), (here, narrow) = PUBLISHED["imagenet"], PUBLISHED["cifar100"]
    mean = tuple(m + a - b for m, a, b in zip(data.mean, there, here, strict=True))
    std = tuple(s * a / b for s, a, b in zip(data.std, wide, narrow, strict=True))
    return {"imagenet": PUBLISHED["imagenet"], "moved": (mean, std)}


# --------------------------------------------------------------------------------------------- statistics


Parts = list[tuple[int, int, dict[str, Moments]]]  # batch, class and moments by layer


def parts(model: nn.Module, split: Split, batches: Tensor, prepare: Callable[[Tensor], Tensor]) -> Parts:
    """Return the moments of the images that share a batch and a class, for every such pair.

    Args:
        batches: number of the batch of each image, (n,).
    """
    layers, found = tapped_layers(model), []
    for b, k in sorted(set(zip(batches.tolist(), split.labels.tolist(), strict=True))):
        of = ((batches == b) & (split.labels == k)).nonzero().flatten()
        chunks = ((split.images[i], split.labels[i]) for i in of.split(64))
        found.append((b, k, real_statistics(model, chunks, layers, prepare=prepare)))
    return found


def merged(moments: Iterable[Moments]) -> Moments:
    return reduce(Moments.merge, moments)


def within(found: Parts, layer: str) -> Moments:
    """Return moments over all images, the scatter that within batches alone."""
    whole = merged(of[layer] for _, _, of in found)
    batches = [merged(of[layer] for b, _, of in found if b == one) for one in {b for b, _, _ in found}]
    return replace(whole, scatter=torch.stack([batch.scatter for batch in batches]).sum(0))


def spread(means: Tensor, counts: Tensor) -> float:
    """Return the trace of the covariance of class means (k, d), each as often as counted (k,)."""
    part = (counts / counts.sum())[:, None]
    return float((part * (means - (part * means).sum(0)).square()).sum())


def missing(means: Tensor, counts: Tensor) -> float:
    """Return what part of the spread between classes batches do not see, as they hold them.

    Args:
        means: of the classes, (k, d).
        counts: images of each class in each batch, (batches, k).

    >>> missing(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0, 0.0], [0.0, 3.0]]))
    1.0
    >>> missing(torch.tensor([[0.0], [2.0]]), torch.tensor([[2.0, 2.0]]))
    0.0
    """
    seen = sum(spread(means, batch) * float(batch.sum()) for batch in counts) / float(counts.sum())
    return 1 - seen / spread(means, counts.sum(0))


def composition(labels: Tensor) -> Tensor:
    """Return how many images of each class the batches hold, in file order: (batches, classes)."""
    classes = int(labels.max()) + 1
    return torch.stack([part.bincount(minlength=classes) for part in labels.split(BATCH)]).double()


def by_layer(found: Parts, labels: Tensor) -> dict[str, dict[str, float]]:
    """Return of each layer the part of the variance between classes, and the part of that which batches miss.

    Args:
        labels: of all images, in file order.
    """
    seen = {}
    for layer in found[0][2]:
        classes = [merged(of[layer] for _, k, of in found if k == one) for one in sorted({k for _, k, _ in found})]
        means, counts = torch.stack([m.mean for m in classes]), torch.tensor([m.count for m in classes]).double()
        between = spread(means, counts) / float(merged(classes).ffc.trace())
        seen[layer] = {"between": round(between, 5), "missing": round(missing(means, composition(labels)), 5)}
    return seen


def apart(mine: Tensor, theirs: Tensor) -> float:
    return round(float((mine - theirs).norm() / theirs.norm()), 5)


def in_order(split: Split) -> Split:
    """Return images as they lie in files that are sorted by class."""
    return split.take(split.labels.argsort(stable=True))


# --------------------------------------------------------------------------------------------- a repetition


class Repetition:
    """One seed: its teacher, the sets with and without each defect, and their students."""

    def __init__(self, data: ImageData, seed: int, ipc: int, budget: str):
        self.data, self.seed, self.ipc, self.budget = data, seed, ipc, budget
        self.teacher = teach(data, "convnet", budget, seed=seed, progress=False)
        self.random = SyntheticSet.from_real(data, ipc, seed)

    def distilled(self, start=None, statistics=None, **settings) -> SyntheticSet:
        method = budgeted(find("cfm"), self.budget, **settings)
        return method.distill(self.data, self.teacher, Run(self.ipc, self.seed, start=start, statistics=statistics))

    @cached_property
    def cfm(self) -> SyntheticSet:
        return self.distilled()

    @cached_property
    def first(self) -> SyntheticSet:
        """The first images of each class, in file order."""
        labels = self.data.train.labels
        of_class = [(labels == k).nonzero().flatten()[: self.ipc].tolist() for k in range(self.data.classes)]
        return SyntheticSet.taken(self.data, in_rounds(of_class))

    @cached_property
    def found(self) -> tuple[Parts, Tensor]:
        """The moments of the real side, and the labels in file order."""
        ordered = in_order(self.data.train)
        batches = torch.arange(len(ordered)) // BATCH
        return parts(self.teacher.model, ordered, batches, self.data.normalise), ordered.labels

    def layers(self) -> dict[str, dict[str, float]]:
        found, labels = self.found
        seen = by_layer(found, labels)
        for layer, of in seen.items():
            of["distance"] = apart(within(found, layer).ffc, merged(m[layer] for _, _, m in found).ffc)
        return seen

    def blind(self) -> SyntheticSet:
        """CFM on the statistics within batches."""
        found, _ = self.found
        return self.distilled(statistics={layer: within(found, layer) for layer in found[0][2]})

    def student(self, made: SyntheticSet, scale: float | None = None, *, looked: bool = False) -> dict[str, float]:
        """Return the accuracies of a student of a set.

        Args:
            scale: smallest area of its crops; None: as the package has it.
            looked: also those with wrong constants, and the best of the last fifth of the epochs.
        """
        data, budget = self.data, BUDGETS[self.budget]
        recipe = Recipe.of(student_on(made, data, "convnet", self.budget))
        recipe = recipe if scale is None else replace(recipe, scale=scale)
        # As in `evaluate_images`: students never start from a teacher's weights.
        network = build(budget.network("convnet"), data.channels, data.size, data.classes, 1000 + self.seed)
        seen: list[float] = []
        epochs = iter(range(recipe.epochs))

        def look() -> None:
            if next(epochs) >= recipe.epochs * 4 // 5:
                seen.append(accuracy(network.eval(), data))
                network.train()

        how = {"seed": self.seed, "teacher": self.teacher.model, "prepare": data.normalise}
        train(network, made.images, made.labels, recipe, each_epoch=look if looked else None, **how)
        if not looked:
            return {"last": accuracy(network, data)}
        wrong = {n: accuracy(network, replace(data, normalisation=c)) for n, c in wrong_constants(data).items()}
        return {"last": seen[-1], "best": max(seen), **wrong}


VARIANTS: dict[str, Callable[[Repetition], dict[str, float]]] = {
    "random": lambda it: it.student(it.random, looked=True),
    "cfm": lambda it: it.student(it.cfm, looked=True),
    "cfm, no EMU": lambda it: it.student(it.distilled(emu=False)),
    "random, crop": lambda it: it.student(it.random, CROP),
    "cfm, crop": lambda it: it.student(it.cfm, CROP),
    "random, first": lambda it: it.student(it.first),
    "cfm, first": lambda it: it.student(it.distilled(start=it.first)),
    "cfm, within": lambda it: it.student(it.blind()),
}


def kept(path: Path, settings: dict) -> dict[int, dict]:
    """Return the rows of a record by seed, as they were left; none where the settings are others."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    return {row["seed"]: row for row in stored["rows"]} if stored.get("settings") == settings else {}


def study(data: ImageData, seeds: Iterable[int], path: Path, ipc: int = 10, budget: str = "embedded") -> dict:
    """Run the repetitions and keep their record after each student."""
    settings = {"ipc": ipc, "budget": budget, "regime": "online-soft", "batch": BATCH, "crop": CROP}
    rows, asked = kept(path, settings), list(seeds)
    for seed in asked:
        row = rows.setdefault(seed, {"seed": seed, "measured": {}, "seconds": 0.0})
        todo = [name for name in VARIANTS if name not in row["measured"]]
        if not todo:
            continue
        it = Repetition(data, seed, ipc, budget)
        for name in todo:
            began = time.process_time()
            row["teacher"] = it.teacher.card()
            row.setdefault("layers", it.layers())
            row["measured"][name] = VARIANTS[name](it)
            row["seconds"] = round(row["seconds"] + time.process_time() - began, 1)
            record = {"study": "defects", "dataset": data.name, "settings": settings}
            save_json({**record, "rows": [rows[one] for one in sorted(rows)], "provenance": provenance()}, path)
            print(seed, name, row["measured"][name], flush=True)
    return json.loads(path.read_text())


# --------------------------------------------------------------------------------------------- Tiny-ImageNet


def read(listing: Listing, numbers: Tensor) -> Split:
    """Return the training images of these numbers, in file order."""
    files = [listing.train[i] for i in numbers.tolist()]
    images, _ = stack([file for file, _ in files], 64, 3)
    return Split(torch.from_numpy(images), torch.tensor([k for _, k in files]))


def tiny(folder: Path) -> dict:
    """Return the record of Tiny-ImageNet: both ways of counting, held against the released statistics."""
    began, listing = time.process_time(), layouts.tiny_imagenet(folder / "tiny-imagenet-200")
    home, labels = folder / "unidd-released", torch.tensor([k for _, k in listing.train])
    numbers = torch.arange(len(labels))
    inside, across = numbers[numbers // BATCH % TENTH == 0], numbers[::TENTH]
    some = read(listing, across)
    data = ImageData("tiny-imagenet", some, some.take(torch.arange(0, len(some), TENTH)), listing.class_names)
    weights, normalisation = home / "ckpt" / "Tiny" / "ConvNetW128D4.pth", PUBLISHED["tiny-imagenet"]
    teacher = Teacher.load(weights, data, normalisation=normalisation)
    data = teacher.seen(data)
    theirs = read_statistics(home / "statistic" / "Tiny", "mean", data, teacher.model)
    whole = parts(teacher.model, some, torch.zeros(len(some)), data.normalise)
    batched = parts(teacher.model, read(listing, inside), inside // BATCH, data.normalise)
    layers = by_layer(whole, labels)
    for layer, of in layers.items():
        ours, blind = merged(m[layer] for _, _, m in whole).ffc, within(batched, layer).ffc
        of["distance"] = apart(blind, ours)
        of |= {"released, within": apart(blind, theirs[layer].ffc), "released, all": apart(ours, theirs[layer].ffc)}
    settings = {"batch": BATCH, "images": len(some), "within": len(inside), "of": len(labels)}
    seconds = round(time.process_time() - began, 1)
    about = {"study": "defects", "dataset": "tiny-imagenet", "settings": settings, "layers": layers}
    return {**about, "seconds": seconds, "provenance": provenance()}


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Return what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("dataset", nargs="?", default="photos")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--quick", action="store_true", help="one repetition at the budget smoke, two images a class")
    parser.add_argument("--tiny", type=Path, help="folder of tiny-imagenet-200 and unidd-released")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the record goes")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    asked = options(words)
    if asked.tiny:
        save_json(tiny(asked.tiny), asked.folder / "tiny-imagenet.json")
        return
    small = {"ipc": 2, "budget": "smoke"} if asked.quick else {}
    seeds = asked.seeds[:1] if asked.quick else asked.seeds
    study(load(asked.dataset), seeds, asked.folder / f"{asked.dataset}.json", **small)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
