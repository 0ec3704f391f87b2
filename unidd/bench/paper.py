"""The paper this package follows, figure by figure and table by table: what each claims, and what checks it here.

Source: Bo, Liu & Wang, Understanding Dataset Distillation via Spectral Filtering (UniDD), ICLR 2026 (arXiv 2503.01212).
It has 5 figures, 9 tables and 1 algorithm. What is known of each to us, and how well, is its grade, see `GRADES`.
"""

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import pandas as pd
import torch
from torch.nn.functional import adaptive_avg_pool2d

from ..core.filters import AllPass, Filter, Linear, Residual, Ridge
from ..core.statistics import covariance
from ..data.datasets import load
from .cell import BUDGETS
from .claims import Better, Evidence, Holds, Larger, Reaches, Row, Undecided
from .records import Record
from .words import plus_minus

GRADES = {
    "A": "read in the paper's abstract or captions, its repository, or the method's own",
    "B": "read in another paper's table",
    "C": "as reported by a single secondary note or review, unverified",
    "–": "the paper claims nothing that is known to us",
}
SOFT = "online-soft"
OTHER = ("all-pass", "residual", "landweber", "ridge-1", "ridge-0.01")  # filters: LFM and HFM are in other suites


class Published(NamedTuple):
    """A published top-1 accuracy in %: on a data set, of students of an architecture, by IPC, with its grade.

    Attributes:
        labels: "hard" or "soft", which are the teacher's.
        method: with ", ZCA" where images are whitened, which ours never are.
    """

    dataset: str
    network: str
    labels: str
    method: str
    values: dict[int, float]
    grade: str


def _each(dataset: str, network: str, *lines: tuple[str, str, tuple[float | None, ...], str]) -> list[Published]:
    """Lines of (method, labels, values at IPC 1, 10 and 50, grade)."""
    return [
        Published(dataset, network, labels, method, _by_ipc(values), grade) for method, labels, values, grade in lines
    ]


def _by_ipc(values: Iterable[float | None]) -> dict[int, float]:
    return {ipc: value for ipc, value in zip((1, 10, 50), values, strict=True) if value is not None}


PUBLISHED = [
    *_each(
        *("Fashion-MNIST", "ConvNet"),
        ("DC", "hard", (70.5, 82.3, 83.6), "A"),
        ("DSA", "hard", (70.6, 84.6, 88.7), "A"),
    ),
    *_each(
        *("CIFAR-10", "ConvNet"),
        ("random", "hard", (14.4, 26.0, 43.4), "B"),
        ("herding", "hard", (21.5, 31.6, 40.4), "B"),
        ("DC", "hard", (28.3, 44.9, 53.9), "A"),
        ("DM", "hard", (26.0, 48.9, 63.0), "B"),
        ("MTT, ZCA", "hard", (46.3, 65.3, 71.6), "B"),
        ("FRePo", "hard", (46.8, 65.5, 71.7), "B"),
        ("RDED", "soft", (23.5, 50.2, 68.4), "A"),
        ("CFM", "soft", (None, 52.1, 64.0), "C"),
    ),
    *_each(
        *("CIFAR-100", "ConvNet"),
        ("random", "hard", (4.2, 14.6, 30.0), "B"),
        ("DC", "hard", (12.8, 25.2, 30.6), "B"),
        ("DM", "hard", (11.4, 29.7, 43.6), "B"),
        ("MTT, ZCA", "hard", (24.3, 40.1, 47.7), "B"),
        ("FRePo", "hard", (28.7, 42.5, 44.3), "B"),
        ("RDED", "soft", (19.6, 48.1, 57.0), "A"),
        ("CFM", "soft", (None, 58.3, 67.1), "C"),
    ),
    *_each("CIFAR-100", "ResNet-18", ("CFM", "soft", (None, None, 71.4), "C")),
    *_each(
        *("Tiny-ImageNet", "ConvNet"),
        ("random", "hard", (1.4, 5.0, 15.0), "B"),
        ("DM", "hard", (3.9, 12.9, 24.1), "B"),
        ("MTT", "hard", (8.8, 23.2, 28.0), "B"),
        ("FRePo", "hard", (15.4, 25.4, None), "B"),
        ("RDED", "soft", (12.0, 39.6, 47.6), "A"),
    ),
    *_each(
        *("ImageNet-1K", "ResNet-18"),
        ("random", "soft", (None, 35.8, 57.2), "C"),
        ("SRe2L", "soft", (0.1, 21.3, 46.8), "B"),
        ("G-VBSM", "soft", (1.7, 31.4, 51.8), "A"),
        ("DWA", "soft", (None, 37.9, 55.2), "B"),
        ("RDED", "soft", (6.6, 42.0, 56.5), "A"),
        ("CFM", "soft", (None, 40.6, None), "C"),
    ),
]


_UNDER = {  # their protocols
    **dict.fromkeys(("random", "herding", "dc"), "dc"),
    **dict.fromkeys(("dsa", "dm"), "dsa"),
    **{name: name for name in ("mtt", "frepo", "rded")},
}
_DATA = {"fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar10-mini": "CIFAR-10"}


def beside(records: Iterable[Record]) -> pd.DataFrame:
    """Return published accuracies of ConvNets under hard labels beside ours, where one protocol trained both.

    Columns: published, ours (mean ± standard deviation), n, and the width of our students' network; a line a data set,
    protocol, method and IPC.
    """
    known = {(line.dataset, line.method.lower().split(",")[0]): line for line in PUBLISHED if line.labels == "hard"}
    lines = []
    for record in records:
        line = known.get((_DATA.get(record.dataset, ""), record.method))
        value = line.values.get(record.ipc or 0) if line else None
        if (
            line is None
            or value is None
            or record.protocol != _UNDER.get(record.method)
            or "hard" not in record.accuracy
        ):
            continue
        place = {"data": record.dataset, "protocol": record.protocol, "method": record.method, "IPC": record.ipc}
        ours = record.accuracy["hard"]
        width = BUDGETS[record.budget].width
        lines.append(
            {
                **place,
                "published": f"{value:.1f}" + ", ZCA" * ("ZCA" in line.method),
                "ours": plus_minus(ours),
                "n": len(ours),
                "width": width,
            }
        )
    names = ["data", "protocol", "method", "IPC"]
    return pd.DataFrame(lines, columns=None if lines else names).set_index(names).sort_index()


def not_run(records: Iterable[Record]) -> str:
    """Return in words what is published of ConvNets on the data of some records and lacks one under its protocol."""
    known = [record for record in records if record.dataset in _DATA]
    here = {_DATA[record.dataset] for record in known}
    run = {(_DATA[r.dataset], r.method, r.ipc) for r in known if r.protocol == _UNDER.get(r.method)}
    missing: dict[str, list[str]] = {}
    for line in PUBLISHED:
        name = line.method.lower().split(",")[0]
        lacking = [str(ipc) for ipc in line.values if (line.dataset, name, ipc) not in run]
        if line.dataset in here and line.network == "ConvNet" and name in _UNDER and lacking:
            missing.setdefault(line.dataset, []).append(f"{line.method} at IPC {', '.join(lacking)}")
    return "; ".join(f"{data}: {' · '.join(lines)}" for data, lines in missing.items())


def published(*datasets: str) -> pd.DataFrame:
    """Return published accuracies in %: a line a data set, architecture and method, a column an IPC, and the grade."""
    chosen = [line for line in PUBLISHED if line.dataset in datasets]
    lines = [
        {
            **{"data": line.dataset, "network": line.network, "labels": line.labels, "method": line.method},
            **{f"IPC {ipc}": f"{line.values[ipc]:.1f}" if ipc in line.values else "–" for ipc in (1, 10, 50)},
            "grade": line.grade,
        }
        for line in chosen
    ]
    return pd.DataFrame(lines).set_index(["data", "network", "labels", "method"])


# What is looked up in studies


def detail(name: str, quantity: str = "high") -> Callable[[dict], dict]:
    """Look up a quantity of the study of filters on photographs: seed → value."""
    return lambda record: {record["seed"]: record["measured"][name][quantity]}


def digits(name: str) -> Callable[[dict], dict]:
    """Look up the fine detail of digits distilled on their pixels: start → value."""
    return lambda record: dict(enumerate(record["measured"]["pixels"][name]["high"]))


def images_of(method: str) -> Callable[[dict], dict]:
    """Look up the fine detail of a deep method's images: seed → value."""
    return lambda record: {r["seed"]: r["images"]["high"] for r in record["rows"] if r["method"] == method}


def rise(name: str) -> Callable[[dict], dict]:
    """Look up how much detail rises from round to round: seed → share a round."""
    return lambda record: {record["seed"]: record["rise"][name]}


def student(of: str) -> Callable[[dict], dict]:
    """Look up the accuracy of students in the study of the released code's defects: seed → %."""
    return lambda record: {r["seed"]: r["measured"][of]["last"] for r in record["rows"] if of in r["measured"]}


def left(side: str) -> Callable[[dict], dict]:
    """Look up the filter term after CFM's last round, the mean over layers, in parts of the real side: seed → value."""

    def found(record: dict) -> dict:
        runs = {"0": record["runs"]["cosine"]["distances"], **record["seeds"]}
        ends = {seed: [layer["filter"][-1] for layer in run[side].values()] for seed, run in runs.items()}
        return {seed: sum(values) / len(values) for seed, values in ends.items()}

    return found


# What holds of formulas


def shapes(_: Evidence) -> bool:
    """Whether all-pass is flat, linear low-pass, residual and ridge high-pass, ridge the more so the smaller its β."""
    low, high = torch.tensor([1.0], dtype=torch.float64), torch.tensor([0.01], dtype=torch.float64)

    def favours_high(f: Filter) -> float:
        return float(f.response(high).abs() / f.response(low).abs())

    ridges = [favours_high(Ridge(beta)) for beta in (10.0, 1.0, 0.1, 0.01)]
    return bool(
        math.isclose(favours_high(AllPass()), 1.0)
        and favours_high(Linear()) < 1 < min(favours_high(Residual(0.5, 5)), ridges[0])
        and ridges == sorted(ridges)
    )


@cache
def frequencies_fall(name: str) -> float:
    """Return the rank correlation of the eigenvalues of pixels and the frequencies of their eigenvectors.

    The frequency of an eigenvector is the centroid of its power, as in the chapter on the spectrum; images are grey, of
    8×8 pixels, and directions without variance are left out.

    Args:
        name: of a data set.
    """
    images = load(name).train.images.double().mean(1, keepdim=True) / 255
    eigenvalues, vectors = torch.linalg.eigh(covariance(adaptive_avg_pool2d(images, 8).flatten(1)))
    power = torch.fft.fft2(vectors.T.reshape(-1, 8, 8)).abs() ** 2
    ticks = torch.fft.fftfreq(8, dtype=power.dtype)
    radius = (ticks[:, None] ** 2 + ticks**2).sqrt()
    centre = (power * radius).sum((1, 2)) / power.sum((1, 2))
    centre = centre[eigenvalues > 1e-10 * eigenvalues.max()]  # eigenvalues ascend
    ranks = torch.stack([torch.arange(len(centre)), centre.argsort().argsort()]).double()
    return float(torch.corrcoef(ranks)[0, 1])


def cosine(evidence: Evidence) -> bool | None:
    """Whether β fell as β (1 + cos(πb/B)) / 2 in the study of CFM's rounds."""
    for record in evidence.study("curriculum", "photos.json"):
        betas, beta = record["runs"]["cosine"]["beta"], record["config"]["beta"]
        said = [beta * (1 + math.cos(math.pi * b / len(betas))) / 2 for b in range(len(betas))]
        return all(math.isclose(mine, theirs, rel_tol=1e-3) for mine, theirs in zip(betas, said, strict=True))
    return None


# The rows

HIGH, LOW = "ridge, β = 0.01", "linear"
DC = "DC begins with noise, and stays near it in a hundred steps"
FREPO = "FRePo stays near the images it begins with, at its published rate, in a hundred steps"
ON_PHOTOS = "photos-seed*.json"


def _beats(suite: str, method: str, others: Iterable[str], *regimes: str, ipc: int = 10) -> tuple[Better, ...]:
    return tuple(Better(suite, method, than, regime, ipc) for regime in regimes for than in others)


def _finer(name: str, other: str) -> Larger:
    words = f"images of {name} have more fine detail than those of {other}, photos"
    return Larger(words, "matching", images_of(name), images_of(other), "photos.json")


FIGURES = (
    Row(
        "Figure 1",
        "the filter functions f(λ)",
        "A larger eigenvalue is a lower frequency. All-pass is flat, λ passes the low frequencies, the residual filter "
        "and 1/(λ + β) the high ones.",
        "A",
        "pytest tests/core/test_filters.py",
        "formulas; pixels of photos and digits",
        (
            Holds("the shapes of all-pass, linear, residual and ridge", shapes),
            Holds("larger eigenvalue, lower frequency: pixels of photos", lambda _: frequencies_fall("photos") < -0.5),
            Holds("larger eigenvalue, lower frequency: pixels of digits", lambda _: frequencies_fall("digits") < -0.5),
        ),
    ),
    Row(
        "Figure 2",
        "images distilled by different filters",
        "Low-pass filters give blurred images, high-pass ones fine texture and more diverse images.",
        "A",
        "python benchmarks/filter_images.py",
        "photos, three images a class, 100 steps; digits",
        (
            Larger(
                "more fine detail by ridge than by linear: pixels", "filters", digits(HIGH), digits(LOW), "digits.json"
            ),
            Larger(
                "more fine detail by ridge than by linear: network, matching alone",
                "filters",
                detail(f"{HIGH}, alone"),
                detail(f"{LOW}, alone"),
                ON_PHOTOS,
            ),
            Larger(
                "more fine detail by ridge than by linear: network, beside cross-entropy",
                "filters",
                detail(HIGH),
                detail(LOW),
                ON_PHOTOS,
            ),
            Larger(
                "more diverse images by ridge than by linear: network, beside cross-entropy",
                "filters",
                detail(HIGH, "pixels"),
                detail(LOW, "pixels"),
                ON_PHOTOS,
            ),
        ),
    ),
    Row(
        "Figure 3",
        "students by choice of filter",
        "The curriculum beats every filter that stays fixed.",
        "C",
        "make batch SUITE=filters && make batch SUITE=filters-digits",
        "photos and digits, 100 steps",
        (
            *(check for suite in ("photos", "digits") for check in _beats(suite, "cfm", ("lfm", "hfm"), "hard", SOFT)),
            *_beats("filters", "cfm", OTHER, "hard", SOFT),
            *_beats("filters-digits", "cfm", OTHER, "hard", SOFT),
        ),
    ),
    Row(
        "Figure 4",
        "images by different methods",
        "DM and DC give blurred images (less detail than the real ones they start from), MTT and FRePo fine texture.",
        "A",
        "python benchmarks/spectra_of_methods.py",
        "photos, 100 steps",
        (
            *(_finer(high, "dm") for high in ("random", "mtt")),
            Undecided("images of FRePo have more fine detail than those of DM, photos", "matching", FREPO),
            Undecided("images of DC have less fine detail, photos", "matching", DC),
        ),
    ),
    Row(
        "Figure 5",
        "ImageNet images, round by round",
        "Frequency rises from left to right, as β falls.",
        "A",
        "python benchmarks/round_detail.py",
        "photos, ten images a class, 100 steps",
        (
            Larger(
                "detail rises more over the rounds than at the start", "rounds", rise("cfm"), rise("start"), ON_PHOTOS
            ),
            Larger("detail rises more than with a fixed β", "rounds", rise("cfm"), rise("hfm"), ON_PHOTOS),
        ),
    ),
    Row(
        "Figure 5, as published",
        "images of a large data set, round by round",
        "Frequency rises from left to right, as β falls.",
        "A",
        "python benchmarks/round_detail.py tiny-imagenet --budget large --group 200 --beta 0.5",
        "Tiny-ImageNet, ten images a class, 1,000 steps",
        (
            Larger(
                "detail rises more over the rounds than at the start: Tiny-ImageNet",
                "rounds",
                rise("cfm"),
                rise("start"),
                "tiny-imagenet-seed*.json",
            ),
        ),
        counts=0,
    ),
)
MAIN = (
    Row(
        "Table 2, in small",
        "CFM beside other methods",
        "CFM beats other methods.",
        "A",
        "make batch SUITE=methods && make batch SUITE=digits",
        "photos and digits, embedded budget",
        (
            *_beats("photos", "cfm", ("random",), "hard", SOFT),
            *_beats("methods", "cfm", ("dm", "mtt", "frepo"), "hard", SOFT),
            Undecided("methods: cfm above dc, IPC 10", "methods", DC),
            *_beats("digits", "cfm", ("random", "dm", "dc", "mtt", "frepo"), "hard", SOFT),
        ),
        counts=0,
    ),
    Row(
        "Table 2, CIFAR-10",
        "CFM beside DM, DC, MTT and FRePo",
        "CFM beats DM and DC, and stays below MTT and FRePo.",
        "C",
        "make batch SUITE=cifar10",
        "as published; a GPU",
        (
            *_beats("cifar10", "cfm", ("random", "dm", "dc"), SOFT),
            *(Better("cifar10", above, "cfm", SOFT) for above in ("mtt", "frepo")),
            Reaches("cifar10", "cfm", 52.1, 10),
            Reaches("cifar10", "cfm", 64.0, 50),
        ),
    ),
    Row(
        "Table 2, CIFAR-100",
        "the same on CIFAR-100",
        "CFM beats all of them.",
        "C",
        "make batch SUITE=cifar100",
        "as published; a GPU",
        (
            *_beats("cifar100", "cfm", ("random", "dm", "dc", "mtt", "frepo"), SOFT),
            Reaches("cifar100", "cfm", 58.3, 10),
            Reaches("cifar100", "cfm", 67.1, 50),
        ),
        counts=0,
    ),
)
LARGE = (
    Row(
        "Table 3, Tiny-ImageNet",
        "CFM beside decoupled methods",
        "CFM beats the methods it is compared with; no number of it is known to us.",
        "A",
        "make batch SUITE=paper-tiny-imagenet",
        "as published; a GPU",
        _beats("paper-tiny-imagenet", "cfm", ("random", "sre2l", "rded"), SOFT),
    ),
    Row(
        "Table 3, ImageNet-1K",
        "CFM beside SRe2L, G-VBSM, RDED and DWA",
        "At IPC 10, CFM beats all of them but RDED.",
        "C",
        "make batch SUITE=paper-imagenet",
        "as published; several GPUs",
        (
            *(Better("paper-imagenet", "cfm", than, SOFT, model="resnet18") for than in ("random", "sre2l")),
            Reaches("paper-imagenet", "cfm", 40.6, 10),
        ),
        counts=0,
    ),
)
ACROSS = (
    Row(
        "Table 1, 4 or 6 to 9",
        "students of other architectures",
        "CFM's images teach other architectures better than those of other methods.",
        "C",
        "make batch SUITE=cross-digits",
        "digits, embedded budget",
        tuple(
            Better("cross-digits", "cfm", than, model=model)
            for model in ("resnet18", "vgg11-small", "mobilenet-small", "vit-small")
            for than in ("random", "dm")
        ),
    ),
)
ABLATION = (
    Row(
        "Table 5",
        "the terms of the loss",
        "Each matching term adds to cross-entropy alone, and both together most; by a review the gain is small.",
        "C",
        "make batch SUITE=ablation",
        "photos and digits, embedded budget",
        (
            *_beats("photos", "cfm", ("classification",), "hard", SOFT),
            *_beats("digits", "cfm", ("classification",), "hard", SOFT),
            *_beats("ablation", "cfm-filter", ("classification",), "hard", SOFT),
            *_beats("ablation", "cfm-signal", ("classification",), "hard", SOFT),
            *_beats("ablation", "cfm", ("cfm-filter", "cfm-signal"), "hard", SOFT),
        ),
    ),
    Row(
        "question: the signal",
        "the signals mean, class and mix",
        "The released default is the mean. Is it the best?",
        "–",
        "make batch SUITE=ablation",
        "photos, embedded budget",
        _beats("ablation", "cfm", ("cfm-class", "cfm-mix"), "hard", SOFT),
        counts=0,
    ),
)
CURRICULUM = (
    Row(
        "Algorithm 1",
        "CFM",
        "β falls by a cosine; the images of the last round match the high frequencies of real ones.",
        "A",
        "python benchmarks/curriculum.py",
        "photos, ten images a class, 100 steps",
        (
            Holds("β follows the cosine", cosine),
            Larger(
                "after the last round matching leaves less than cross-entropy alone",
                "curriculum",
                left("classification"),
                left("distilled"),
                "photos.json",
                shared="a teacher",
            ),
        ),
    ),
    Row(
        "question: the schedule",
        "constant, linear, cosine, logarithmic and reverse",
        "A reviewer asked for other schedules. Is the cosine the best?",
        "–",
        "make batch SUITE=schedules",
        "photos, embedded budget",
        _beats("schedules", "cfm", [f"cfm-{name}" for name in ("constant", "linear", "log", "reverse")], "hard", SOFT),
        counts=0,
    ),
    Row(
        "question: the moving update",
        "with and without EMU",
        "The moving update is in the paper, and off by default in the released code. Does it help?",
        "–",
        "python benchmarks/released_defects.py && make batch SUITE=schedules",
        "photos, embedded budget",
        (
            *_beats("schedules", "cfm", ("cfm-no-emu",), "hard", SOFT),
            Larger(
                "students learn more from images made with EMU, online soft labels, photos",
                "defects",
                student("cfm"),
                student("cfm, no EMU"),
                "photos.json",
            ),
        ),
        counts=0,
    ),
)
OTHERS = (
    Row(
        "five other tables",
        "not known to us",
        "Their content is in none of our sources.",
        "–",
        "–",
        "–",
        counts=5,
    ),
)
ROWS = (*FIGURES, *MAIN, *LARGE, *ACROSS, *ABLATION, *CURRICULUM, *OTHERS)
