"""What the gain over random real images hangs on: tables and sentences of the study `benchmarks/gains.py`.

Every gain is in points over random real images whose students got the same, paired by repetition, under the one rule of
`tables.compared`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from ..networks.evaluation import REGIMES
from .machine import size
from .tables import common_teacher, compared
from .words import interval, plus_minus, regime_words, signed

BASE = "random"
AXES = {f"epochs, {regime}": f"epochs of the students, {regime_words(regime)}" for regime in REGIMES}
AXES |= {
    "crops": "smallest area of a crop, online soft labels",
    "views": "views of an image that the teacher labelled",
}


class Gain(NamedTuple):
    """What a set gains at one place of an axis.

    Attributes:
        at: the place: epochs, smallest area or views; of views, 0 is a new one every time.
        values: accuracy in %, one a repetition.
        points: paired difference from random real images, and both ends of its 95 % interval.
        side: the verdict of `tables.compared`; empty for random images themselves.
    """

    name: str
    role: str
    at: float
    values: list[float]
    points: tuple[float, float, float]
    side: str


def along(record: dict[str, Any], axis: str) -> list[Gain]:
    """Return what each set gains at each place of an axis, set by set; random images have no gain.

    Args:
        axis: of `AXES`.
    """
    by: dict[str, list[dict[str, Any]]] = {}
    for row in record["rows"]:
        by.setdefault(row["set"], []).append(row)
    whole = min(map(len, by.values()))  # a repetition that was cut off is left out
    common = common_teacher([row["teacher"] for row in by[BASE][:whole]])
    found = []
    for name, rows in by.items():
        for at in rows[0]["accuracy"][axis]:
            own, base = ([row["accuracy"][axis][at] for row in of[:whole]] for of in (rows, by[BASE]))
            sides = [{"values": values, "n": whole, "shared": common} for values in (own, base)]
            points, side = compared(*sides) if name != BASE else ((0.0, 0.0, 0.0), "")
            found.append(Gain(name, rows[0]["role"], float(at), own, points, side))
    return found


def place(axis: str, at: float) -> str:
    """Return a place of an axis in words."""
    if axis == "views":
        return "every time a new one" if at == 0 else f"{at:.0f}"
    return f"{at:g}"


def table(record: dict[str, Any], axis: str) -> pd.DataFrame:
    """Return a line a place of an axis: the accuracy of random images, then a column a set with its gain."""
    lines: dict[str, dict[str, str]] = {}
    for gain in along(record, axis):
        line = lines.setdefault(place(axis, gain.at), {})
        line[gain.name] = plus_minus(gain.values) if gain.name == BASE else interval(*gain.points)
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(AXES[axis].split(",")[0])


def sentences(record: dict[str, Any]) -> list[str]:
    """Return a sentence an axis: what random images reach along it, and which sets are better or worse where."""
    return [_said(record, axis) for axis in AXES]


def _said(record: dict[str, Any], axis: str) -> str:
    found = along(record, axis)
    base = [gain for gain in found if gain.name == BASE]
    reached = ", ".join(f"{sum(g.values) / len(g.values):.1f} % at {place(axis, g.at)}" for g in base)
    parts = list(_each(found, axis))
    words = AXES[axis]
    return f"{words[0].upper()}{words[1:]}: random images reach {reached}. {' '.join(parts)}"


def _each(found: list[Gain], axis: str) -> Iterator[str]:
    """For each set but random images, where it is better and where it is worse."""
    for name in dict.fromkeys(gain.name for gain in found if gain.name != BASE):
        own = [gain for gain in found if gain.name == name]
        sides = {side: [g for g in own if g.side == side] for side in ("better", "worse", "no verdict")}
        said = [
            f"{side} at {', '.join(f'{place(axis, g.at)} ({signed(g.points[0])})' for g in there)}"
            for side, there in sides.items()
            if there
        ]
        yield f"{name}: {'; '.join(said) or 'nowhere told apart from them'}."


def label_bytes(record: dict[str, Any]) -> pd.DataFrame:
    """Return what labels take beside random images' accuracy and the best gain: a line a number of labelled views.

    A label is float32; where views are ever new, the teacher's weights are what is kept.
    """
    found, row = along(record, "views"), record["rows"][0]
    lines = []
    for base in (gain for gain in found if gain.name == BASE):
        best = max((g for g in found if g.at == base.at and g.name != BASE), key=lambda g: g.points[0])
        labels = row["bytes"]["fixed-soft"] * base.at or row["bytes"]["online-soft"]
        line = {"labelled views": place("views", base.at), "bytes of labels or teacher": size(labels)}
        line |= {"random (%)": plus_minus(base.values), "largest gain": f"{best.name} {interval(*best.points)}"}
        lines.append(line)
    return pd.DataFrame(lines).set_index("labelled views")
