"""A distillation of ImageNet-1K's shape on a CPU: 1,000 classes, 224 pixels, ResNet-18, IPC 1, some classes at a time.

    python benchmarks/imagenet_shape.py [--group 200] [--steps 2] [--per-class 1] [--hand-back]

The images are generated, the network is untrained but for its batch norms, and the steps are few: what is measured is
memory, and the time of a step, which depend on neither. The path is that of real ImageNet: the recipe
`configs.imagenet`, statistics from a DataLoader in one pass, data that hold the starting images only, and the state
kept after every group. One JSON record in results/studies/imagenet/; about four minutes on two cores.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unidd.bench.machine import keep_memory
from unidd.bench.records import provenance
from unidd.core.statistics import real_statistics
from unidd.data.datasets import ImageData, Split
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.run import Run
from unidd.files import save_json
from unidd.methods import find
from unidd.networks.models import ModelConfig, build, tapped_layers
from unidd.networks.training import Teacher

FOLDER = Path(__file__).resolve().parent.parent / "results" / "studies" / "imagenet"


class Generated(Dataset):
    """Smooth colours of each class's own, moved a little, under noise: uint8 (3, size, size) and a label, by number."""

    def __init__(self, classes: int, per_class: int, size: int):
        self.classes, self.per_class, self.size = classes, per_class, size

    def __len__(self) -> int:
        return self.classes * self.per_class

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        label = number % self.classes
        of_class, of_image = (torch.Generator().manual_seed(seed) for seed in (label, self.classes + number))
        coarse = torch.rand(1, 3, 7, 7, generator=of_class) + 0.3 * torch.rand(1, 3, 7, 7, generator=of_image)
        smooth = F.interpolate(coarse, size=self.size, mode="bicubic", align_corners=False)[0]
        noise = 0.1 * torch.rand(3, self.size, self.size, generator=of_image)
        return ((smooth + noise).clamp(0, 1.4) * 182).to(torch.uint8), label


def starting_images(images: Generated) -> ImageData:
    """One image of each class, and for the test split, which is not looked at, the first of them."""
    some = [images[number] for number in range(images.classes)]
    train = Split(torch.stack([image for image, _ in some]), torch.tensor([label for _, label in some]))
    test = Split(train.images[:1], train.labels[:1])
    return ImageData("generated", train, test, tuple(f"class {k}" for k in range(images.classes)))


def network_for(data: ImageData) -> torch.nn.Module:
    """ResNet-18, its batch norms having seen a hundred images, so that features have a trained network's scale."""
    network = build(ModelConfig("resnet18"), data.channels, data.size, data.classes).train()
    with torch.no_grad():
        for images in data.train.images[: min(100, data.classes)].split(20):
            network(data.normalise(images))
    return network.eval().requires_grad_(False)


class Timed(Checkpoint):
    """A checkpoint that notes the wall-clock and the processor's time at the end of each batch."""

    def __init__(self, folder: str, ends: list[float], spent: list[float]):
        super().__init__(folder)
        self.ends, self.spent = ends, spent

    def save_batch(self, number: int, images: Tensor) -> None:
        self.ends.append(time.perf_counter())
        self.spent.append(time.process_time())
        super().save_batch(number, images)


def peak_gib() -> float:
    return round(getrusage(RUSAGE_SELF).ru_maxrss / 2**20, 2)


def study(classes: int, per_class: int, size: int, group: int, steps: int) -> dict:
    method = find("cfm").preset("imagenet", steps=steps, group=group)
    images = Generated(classes, per_class, size)
    data = starting_images(images)
    network = network_for(data)
    peaks, began = {"data and network": peak_gib()}, time.perf_counter()
    loader, layers = DataLoader(images, batch_size=min(40, len(images))), tapped_layers(network)
    real = real_statistics(network, loader, layers, prepare=data.normalise)
    real_seconds, peaks["real side"] = time.perf_counter() - began, peak_gib()

    ends, spent = [time.perf_counter()], [time.process_time()]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(1, checkpoint=Timed(folder, ends, spent), statistics=real, progress=True)
        result = method.distill(data, Teacher(network, 0.0, "untrained"), run)
        peaks["distillation"] = peak_gib()
        result.save(Path(folder) / "set")
        peaks["saving"] = peak_gib()
    seconds, cores = ([(b - a) / steps for a, b in itertools.pairwise(times)] for times in (ends, spent))
    return {
        "config": method.config(data, run),
        "model": "resnet18",
        "classes": classes,
        "size": size,
        "group": group,
        "groups": len(seconds),
        "steps": steps,
        "real images": len(images),
        "images": len(result),
        "moved": round(float((result.images - data.train.images / 255).abs().mean()), 4),
        "peak GiB": peak_gib(),
        "peaks GiB": peaks,
        "seconds": {
            "real side": round(real_seconds, 1),
            "a step": round(median(seconds[1:] or seconds), 2),  # the first group warms up
            "a step, of all cores": round(median(cores[1:] or cores), 2),
            "steps": [round(s, 2) for s in seconds],
            "distillation": round(ends[-1] - ends[0], 1),
        },
        "provenance": provenance(),
    }


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"classes": 1000, "per-class": 1, "size": 224, "group": 200, "steps": 2}.items():
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--hand-back", action="store_true", help="leave the C library its way with freed memory")
    options.add_argument("--out", type=Path)
    chosen = vars(options.parse_args())
    hand_back = chosen.pop("hand_back")
    out = chosen.pop("out") or FOLDER / ("shape-handed-back.json" if hand_back else "shape.json")
    kept = not hand_back and keep_memory()  # as the command does
    found = study(**chosen) | {"freed memory": "kept" if kept else "handed back"}
    save_json(found, out)
    print(f"peak {found['peak GiB']} GiB, {found['seconds']['a step']} s a step of {found['group']} images; {out}")
