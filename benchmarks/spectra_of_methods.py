"""What does a deep method match? Residuals by band, and the filter each method behaves as, seed by seed: one study.

    python benchmarks/spectra_of_methods.py                          # every method, five seeds
    python benchmarks/spectra_of_methods.py --methods cfm dm --seeds 0 1
    python benchmarks/spectra_of_methods.py --study.budget smoke --methods lfm dm --seeds 0    # a look

A repetition is a method and a seed: another teacher, start, distillation and random networks. Its set is measured as it
is and as the method sees it, through the ConvNet before, during and after training. At the start, in the middle and at
the end of its descent the filter is found that the method's own gradient acts as, through that ConvNet and through
several networks with random weights.

Repetitions that are done are kept in _runs/studies/matching/parts/, and not done again unless the code or the settings
they depend on changed. All of those asked for make one JSON record, results/studies/matching/photos.json, and of the
first seed two pictures a method beside it: an image a class; and a few of them as each band of the trained network's
layers sees them. At another budget than "embedded" they lie in _runs. One thread.
"""

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import tyro
import yaml
from PIL import Image
from torch import Generator, Tensor

from unidd import methods
from unidd.bench import audit
from unidd.bench.backprojection import back_projected, contrasted
from unidd.bench.cell import BUDGETS, budgeted, teach
from unidd.bench.closure import code_hash
from unidd.bench.effective import draw_seeds, effective, verdict
from unidd.bench.records import own, provenance
from unidd.bench.residuals import Probe, alike, measure, pictured, probes
from unidd.core.bands import KINDS
from unidd.data.datasets import ImageData, load
from unidd.data.synthetic import SyntheticSet
from unidd.engine.run import Run
from unidd.files import atomic, json_hash, save_json
from unidd.methods import Descending, Method
from unidd.methods._drawing import Drawing
from unidd.networks.models import build
from unidd.networks.training import NOBODY

plain = partial(audit.plain, digits=5)  # what stands in a file
COLUMNS = 4  # images of a picture of bands
PICTURES = ("images", "bands")
RESULTS = Path(__file__).resolve().parent.parent / "results" / "studies" / "matching"


@dataclass(frozen=True)
class Study:
    """What is measured.

    Args:
        dataset, ipc, budget: what is distilled, to how many images a class, and how long.
        bands: of each layer.
        epochs: of the networks that sets are seen through; 0 is untrained.
        random: whether descents are looked at through networks with random weights too, one a draw: those that the
            method draws, if it does.
        at: where descents are looked at, from 0 to 1.
        draws: of a method's random numbers.
    """

    dataset: str = "photos"
    ipc: int = 10
    budget: str = "embedded"
    bands: int = 4
    epochs: tuple[int, ...] = (0, 1, 10)
    random: bool = True
    at: tuple[float, ...] = (0.0, 0.5, 1.0)
    draws: int = 8


@cache
def _data(name: str) -> ImageData:
    return load(name)


@cache
def _seen_through(study: Study, seed: int) -> dict[int, Probe]:
    """The ConvNet of a repetition after each number of epochs."""
    budget = BUDGETS[study.budget]
    asked: dict[str, Any] = {"epochs": study.epochs, "seed": seed, "bands": study.bands}
    return probes(_data(study.dataset), budget.network("convnet"), budget.taught(), **asked)


def _random(study: Study, seed: int, method: Method) -> list[Probe]:
    """Networks with random weights, of each draw of a method that draws them the very one."""
    data, seeds = _data(study.dataset), draw_seeds(seed, study.draws)
    if isinstance(method, Drawing):
        networks = [method.drawn(data, Generator().manual_seed(of)) for of in seeds]
    else:
        plain = BUDGETS[study.budget].network("convnet")
        networks = [build(plain, data.channels, data.size, data.classes, of).to(data.device) for of in seeds]
    return alike([Probe.of(network.eval().requires_grad_(False), data, study.bands) for network in networks])


def repetition(method: Method, seed: int, study: Study) -> tuple[dict[str, Any], SyntheticSet]:
    """Distill once, and return everything measured on the way and of the set; and the set."""
    data, began = _data(study.dataset), time.perf_counter()
    taught = teach(data, "convnet", study.budget, seed=seed, progress=False)
    run, looks = Run(study.ipc, seed), []
    if isinstance(method, Descending):
        through = {f"epoch {count}": [probe] for count, probe in _seen_through(study, seed).items() if count}
        through |= {"random": _random(study, seed, method)} if study.random else {}
        looks, made = effective(method, through, taught, run, study.at, study.draws)
    else:
        made = method.distill(data, taught if method.needs_teacher else NOBODY, run)
    start = SyntheticSet.from_real(data, study.ipc, seed)
    residuals = {
        count: measure(made, probe, method, start=start, draws=study.draws, seed=seed)
        for count, probe in _seen_through(study, seed).items()
    }
    found = {
        "seed": seed,
        "acts as": method.acts_as,
        "hyper-parameters": asdict(method.settled(data, study.ipc)),
        "teacher": taught.card(),
        "residuals by epoch": residuals,
        "looks": looks,
        "images": pictured(made, data, taught.model),
        "seconds": round(time.perf_counter() - began, 1),
        "provenance": provenance(data.device),
    }
    return found, made


def parsed(asked: str, budget: str) -> Method:
    """Return the method of a name and, behind commas, hyper-parameters."""
    name, *settings = asked.split(",")
    parts = [setting.partition("=") for setting in settings]
    return budgeted(methods.find(name), budget, None, **{field: yaml.safe_load(value) for field, _, value in parts})


def _place(asked: str, method: Method, seed: int, study: Study) -> tuple[Path, str]:
    """Return where a repetition is kept, and the hash of all that it depends on."""
    path = own() / "studies" / "matching" / "parts" / f"{study.dataset}-{study.budget}-{asked}-seed{seed}.json"
    identity = {"study": asdict(study), "method": asdict(method), "seed": seed}
    return path, json_hash({**plain(identity), "code": code_hash(type(method).__module__, "unidd.bench.effective")})


def kept(asked: str, method: Method, seed: int, study: Study) -> dict[str, Any]:
    """Return a repetition from its file, or work it out and keep it there."""
    path, mark = _place(asked, method, seed, study)
    pictures = _pictures(path, mark)
    there = all(each.exists() for each in (path, *pictures))
    if there and (found := json.loads(path.read_text())).get("mark") == mark:
        return found
    row, made = repetition(method, seed, study)
    _draw(made, seed, study, *pictures)
    found = plain(row) | {"method": asked, "mark": mark}
    save_json(found, path)
    print(f"{asked}, seed {seed}: {found['seconds']:.0f} s", flush=True)
    return found


def _pictures(path: Path, mark: str) -> list[Path]:
    """Return where the two pictures of a repetition's set are."""
    return [path.with_name(f"{path.stem}-{what}-{mark[:12]}.webp") for what in PICTURES]


def _draw(made: SyntheticSet, seed: int, study: Study, images: Path, bands: Path) -> None:
    """Save an image a class; and some of them, with what each band of the trained network sees of these."""
    classes = _data(study.dataset).classes
    firsts = made.images[[int((made.labels == c).nonzero()[0]) for c in range(classes)]].clamp(0, 1)
    _saved(images, [firsts], lossless=True)
    some = firsts[torch.linspace(0, classes - 1, COLUMNS).round().long()]
    parts = back_projected(_seen_through(study, seed)[max(study.epochs)], some)
    _saved(bands, [some, *(row.cpu() for of_layer in parts.values() for row in contrasted(of_layer))], quality=88)


def _saved(path: Path, rows: list[Tensor], **options: Any) -> None:
    """Save rows of images (n, C, H, W) in [0, 1], tile beside tile, as a WebP picture."""
    canvas = torch.cat([torch.cat([*row.expand(-1, 3, -1, -1)], 2) for row in rows], 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (canvas.permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path, method=6, **options)


def verdicts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return for each method that descends, through each group of networks and at each place, what it behaves as.

    "all" is of all kinds of terms together, the others of one; places are words. Beside a verdict stand the mean R²,
    the share of it that is cross-entropy, and the part of the gradient that is noise.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(row["method"] for row in rows):
        own_rows = [row for row in rows if row["method"] == name and row["looks"]]
        for number, look in enumerate(own_rows[0]["looks"] if own_rows else []):
            for group in look["seen"]:
                looks = [row["looks"][number] for row in own_rows]
                seen = [each["seen"][group] for each in looks]
                place = found.setdefault(name, {}).setdefault(group, {}).setdefault(f"{look['at']:g}", {})
                place["r2"] = sum(each["r2"] for each in seen) / len(seen)
                place["cross-entropy"] = sum(each["cross-entropy"]["share"] for each in seen) / len(seen)
                place["noise"] = sum(each["noise"] or 0.0 for each in looks) / len(looks)
                for kinds in (KINDS, *((kind,) for kind in KINDS)):
                    label = "all" if kinds == KINDS else kinds[0]
                    place[label] = verdict(seen, own_rows[0]["acts as"], kinds)
    return found


@dataclass(frozen=True)
class Asked:
    """What is to be done.

    Args:
        methods: by name, each with hyper-parameters of its own if it has any, as in dm,strategy=none; none takes every
            one of the package that has an IPC.
        seeds: each another repetition.
        study: what is measured.
        out: file of the record; by default photos.json in results/studies/matching, or _runs at another budget.
    """

    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    study: Study = field(default_factory=Study)
    out: Path | None = None


def main(asked: Asked) -> Path:
    """Do the repetitions that are still to be done, and write the record of all of them."""
    study = asked.study
    names = asked.methods or tuple(cls.path() for cls in methods.found() if cls.has_ipc)
    made = {name: parsed(name, study.budget) for name in names}
    for method in made.values():
        method.check(_data(study.dataset), Run(study.ipc))
    rows = [kept(name, method, seed, study) for seed in asked.seeds for name, method in made.items()]
    folder = RESULTS if study.budget == "embedded" else own() / "studies" / "matching"
    path = asked.out or folder / f"{study.dataset}.json"
    about = {"study": "matching", "dataset": study.dataset, "settings": asdict(study), "seeds": list(asked.seeds)}
    found = plain({**about, "verdicts": verdicts(rows), "rows": rows, "provenance": provenance()})
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(found) + "\n")  # one line: indented, it would be more than twice as large
    for name, method in made.items():
        pictures = _pictures(*_place(name, method, asked.seeds[0], study))
        for source, what in zip(pictures, PICTURES, strict=True):
            shutil.copyfile(source, path.with_name(f"{path.stem}-{name}-{what}.webp"))
    return path


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(main(tyro.cli(Asked)))
