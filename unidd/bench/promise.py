"""What the study of deep methods found, as tables and sentences: do they keep the promise of the linear theory?

The studies are `benchmarks/spectra_of_methods.py`, of the methods as they are, and `benchmarks/near_minimum.py`, of
their losses on networks that stay; what they measure is in `residuals` and `effective`.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import pandas as pd

from ..core.bands import KINDS
from ..methods import find
from .effective import kept
from .records import published
from .tables import ENOUGH, paired
from .words import interval

PLACES = {"0": "start", "0.5": "middle", "1": "end"}  # of a descent
NETWORKS = {  # that gradients are seen through
    "random": "networks with random weights",
    "epoch 1": "the network after one epoch",
    "epoch 10": "the teacher",
}


class Ratio(NamedTuple):
    """A geometric mean over repetitions, with its 95 % interval by Student's t of the logarithms."""

    mean: float
    low: float
    high: float

    @staticmethod
    def of(values: list[float]) -> "Ratio":
        """Of numbers above 0, one a repetition; a single one has no interval."""
        logs = [math.log(value) for value in values]
        return Ratio(*(math.exp(end) for end in paired(logs, [0.0] * len(logs))))

    def __str__(self) -> str:
        ends = "" if math.isnan(self.low) else f" [{self.low:.2g}, {self.high:.2g}]"
        return f"× {self.mean:.2g}{ends}"


def found(dataset: str = "photos", study: str = "matching") -> dict[str, Any]:
    """Return the published record of a study.

    Raises:
        FileNotFoundError: it did not come with this installation.
    """
    return json.loads(published("studies", study, f"{dataset}.json").read_text())


def picture(method: str, what: str, dataset: str = "photos") -> bytes | None:
    """Return a picture (WebP) of a method's set of the study's first seed, or None where there is none.

    Args:
        what: "images", one of each class; or "bands", a row of some of them, and for each layer and band a row of what
            `back_projected` makes of these.
    """
    try:
        return published("studies", "matching", f"{dataset}-{method}-{what}.webp").read_bytes()
    except FileNotFoundError:
        return None


def from_noise(record: dict[str, Any]) -> list[str]:
    """Return the methods whose images began as noise: where they were asked to, and SRe2L and CDA always."""
    rows = record["rows"]
    asked = {row["method"] for row in rows if row.get("hyper-parameters", {}).get("init") == "noise"}
    return [name for name in dict.fromkeys(row["method"] for row in rows) if name in asked | {"sre2l", "cda"}]


def lengths(record: dict[str, Any]) -> str:
    """Return in words how many steps the methods took, and how many they take by default."""
    rows = record["rows"]
    took = {row["method"]: row["hyper-parameters"]["steps"] for row in rows if "steps" in row["hyper-parameters"]}
    published = {method: cast(Any, find(method)).steps for method in took}
    few, many = (end(published, key=lambda method: published[method]) for end in (min, max))
    said = " to ".join(f"{steps:,}" for steps in sorted(set(took.values())))
    usual = f"{published[few]:,} (`{few}`) to {published[many]:,} (`{many}`)"
    return f"{said} steps, where the package takes {usual} by default"


def cautions(record: dict[str, Any]) -> str:
    """Return in words where a record's hyper-parameters show less of a method than the published ones, after a space.

    That is DC and DSA with the loops of one image per class for more, and FRePo with the rate of half a million steps.
    """
    asked = {row["method"]: row.get("hyper-parameters", {}) for row in record["rows"]}
    single = [f"`{name}`" for name, of in asked.items() if of.get("outer") == 1 and record["settings"]["ipc"] >= 10]
    found = f" {' and '.join(single)} drew a network for every step, as they do for one image a class." * bool(single)
    rate = asked.get("frepo", {}).get("lr", 1.0)
    slow = f" `frepo` had its published rate, {rate:g}, which belongs to 500,000 steps: its images hardly moved."
    return found + slow * (rate <= 3e-4)


def residuals(record: dict[str, Any]) -> pd.DataFrame:
    """Return what each set leaves unmatched: a line a repetition, network, layer, view, kind and band.

    Columns: method, seed, epochs (the network was trained), layer, view ("clean", "own"), kind, band (0 has the lowest
    frequencies), left (e) and ratio (e over that of the random real images it started from, in the same view). Where a
    method sees images as they are, its own view is the clean one.
    """
    lines = []
    for row in record["rows"]:
        for epochs, layers in row["residuals by epoch"].items():
            for layer, seen in layers.items():
                for view in ("clean", "own"):
                    of = view if view in seen else "clean"
                    here = {"method": row["method"], "seed": row["seed"], "epochs": int(epochs), "layer": layer}
                    lines += [
                        {**here, "view": view, "kind": kind, "band": band, "left": left, "ratio": 1 - gain}
                        for kind in KINDS
                        for band, (left, gain) in enumerate(
                            zip(seen[of][kind], seen["transfer"][of][kind], strict=True)
                        )
                    ]
    return pd.DataFrame(lines)


def wide(frame: pd.DataFrame, value: str = "left") -> pd.DataFrame:
    """Return the mean over repetitions, a line a method in the record's order, a column a band, low frequencies first.

    Args:
        frame: lines of `residuals`, of one network, layer, view and kind.
    """
    return frame.pivot_table(value, "method", "band").loc[_order(frame)]


def _order(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame["method"]))


def left_of(frame: pd.DataFrame, method: str, band: int, of: str | None = None) -> Ratio:
    """Return what a method leaves unmatched in a band as a part of what the start leaves, or another method's set.

    Args:
        frame: lines of `residuals`, of one network, layer, view and kind.
        of: the other method, paired by repetition.
    """
    here = frame[frame["band"] == band].set_index("seed")
    own = here[here["method"] == method]
    if of is None:
        return Ratio.of(own["ratio"].tolist())
    return Ratio.of((own["left"] / here.loc[here["method"] == of, "left"]).dropna().tolist())


def transfers(frame: pd.DataFrame, of: str) -> pd.DataFrame:
    """Return T = 1 − e/e of each method on another one's sets, with its 95 % interval: a column a band, low ones first.

    Below 0 a method leaves more than the other. Means are those of the logarithms of e/e, paired by repetition.

    Args:
        frame: lines of `residuals`, of one network, layer, view and kind.
        of: the other method.
    """
    lines = {}
    for name in _order(frame):
        ratios = [left_of(frame, name, band, of) for band in sorted(set(frame["band"]))] if name != of else []
        lines[name] = [interval(1 - ratio.mean, 1 - ratio.high, 1 - ratio.low, 2) for ratio in ratios]
    return pd.DataFrame.from_dict({name: line for name, line in lines.items() if line}, orient="index")


def ends(record: dict[str, Any]) -> pd.DataFrame:
    """Return what each band is off by where images descended on one loss through a network that stays.

    A line a repetition, network, loss, layer, measure, kind and band. Columns: seed, epochs (the network was trained),
    on (the loss), layer, measure ("residual", of the power along each direction; "term", the root of the matching loss
    of the band), kind, band, start (what the random real images are off by), end, control (what the same changes of
    pixels in another order are off by).

    Args:
        record: as `benchmarks/near_minimum.py` writes it.
    """
    lines = []
    for row in record["rows"]:
        sides = {"start": row["path"][0]["left"], "end": row["path"][-1]["left"], "control": row["shuffled"]}
        about = {name: row[name] for name in ("seed", "epochs", "on")}
        lines += [about | place for place in _places(sides)]
    return pd.DataFrame(lines)


def _places(sides: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a line of `ends` for each layer, measure, kind and band."""
    for layer, measures in sides["start"].items():
        for measure, kinds in measures.items():
            for kind, values in kinds.items():
                for band in range(len(values)):
                    found = {side: of[layer][measure][kind][band] for side, of in sides.items()}
                    numbers = {side: value**0.5 for side, value in found.items()} if measure == "term" else found
                    yield {"layer": layer, "measure": measure, "kind": kind, "band": band, **numbers}


def through(verdicts: dict[str, Any]) -> str:
    """Return the networks through which most of a method's gradient is explained, the mean over its descent.

    Args:
        verdicts: of one method: network → place → what `spectra_of_methods.verdicts` says.
    """
    return max(verdicts, key=lambda name: sum(place["r2"] for place in verdicts[name].values()))


def behaves(record: dict[str, Any]) -> pd.DataFrame:
    """Return the filter each method behaves as, a line a method and place of its descent.

    Columns: method, place, networks (those of `through`), r2, entropy (the part of the gradient that is the probe's
    cross-entropy), explained (of the rest, by bands), tilt, low, high (its 95 % interval), word, said (by the theory),
    kept (`unidd.bench.effective.kept`), n.
    """
    lines = []
    for method, verdicts in record["verdicts"].items():
        name, n = through(verdicts), sum(row["method"] == method for row in record["rows"])
        for at, place in verdicts[name].items():
            words = place["all"]
            line = {"method": method, "place": PLACES.get(at, at), "networks": NETWORKS.get(name, name), "n": n}
            line |= {"r2": place["r2"], "entropy": place["cross-entropy"]}
            line |= {"explained": words["explained"], "tilt": words["mean"], "low": words["low"], "high": words["high"]}
            lines.append(
                line | {"word": words["word"], "said": words["said"], "kept": kept(words["word"], words["said"])}
            )
    numbers = dict.fromkeys(("r2", "entropy", "explained", "tilt", "low", "high"), float)  # None is no number
    return pd.DataFrame(lines).astype(numbers)


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return for each method what it behaves as from start to end, and whether the theory said so.

    Args:
        frame: of `behaves`.
    """
    lines = cast(list[dict[str, Any]], frame.to_dict("records"))
    return [_sentence(method, [line for line in lines if line["method"] == method]) for method in _order(frame)]


def _sentence(method: str, lines: list[dict[str, Any]]) -> str:
    first = lines[0]
    said = f"the theory says {' and '.join(first['said'])}" if len(first["said"]) else "the theory says nothing"
    if first["n"] < ENOUGH:
        return f"{method}: {said}; n = {first['n']}, no verdict"
    steps = [f"{line['word']} at the {line['place']}{_tilt(line)}" for line in lines]
    return f"{method}: {said}; seen through {first['networks']}, {', '.join(steps)}: {_outcome(lines)}"


def _outcome(lines: list[dict[str, Any]]) -> str:
    """In words, whether a method keeps what the theory says of it, and where in its descent."""
    if all(line["word"] == "unseen" for line in lines):
        return "bands explain too little of its gradient for a word"
    if not len(lines[0]["said"]):
        return "nothing was promised"
    found = {"kept": True, "broken": False}
    places = {word: [line["place"] for line in lines if line["kept"] == side] for word, side in found.items()}
    parts = [
        word if len(at) == len(lines) else f"{word} at the {' and the '.join(at)}" for word, at in places.items() if at
    ]
    return ", ".join(parts) or "not decided"


def _tilt(line: dict[str, Any]) -> str:
    if line["word"] == "unseen" or math.isnan(line["low"]):
        return ""
    return f" ({line['tilt']:+.2f} [{line['low']:+.2f}, {line['high']:+.2f}])".replace("-", "−")
