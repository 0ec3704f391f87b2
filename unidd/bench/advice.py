"""Which method to use, worked out from records: by data set, label regime and images per class."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from .machine import duration, size
from .records import Record
from .stored import taken
from .tables import ordered, pretty
from .words import interval, plus_minus, regime_words

_PLACE = ["dataset", "model", "regime", "ipc"]
CHANCE = 1 / 40  # of a comparison where nothing differs to be called better, or worse, by a 95 % interval


class Goal(NamedTuple):
    """Points that a distilled set should gain at ten images a class: over random real images, or the best coreset."""

    dataset: str
    labels: str
    over: str
    points: float


OVER = {"ior": "random", "ioc": "best coreset"}
GOALS = (
    *(Goal(data, "hard (dsa)", over, 5) for data in ("fashion-mnist", "cifar10-mini") for over in OVER),
    *(Goal(data, "fixed soft", "ior", 3) for data in ("photos", "cifar10-mini")),
    *(Goal(data, "online soft", "ior", 2) for data in ("photos", "cifar10-mini")),
)


def winners(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the row to take for each data set, student, label regime and IPC, whichever suite it is of.

    It is the one of the highest mean of those shown to beat random real images beside them; where nothing was, random
    ones are taken, of the suite with the most verdicts: they cost nothing.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    taken = []
    for group in places(frame):
        known, tried = (Counter(row["suite"] for row in rows) for rows in (filter(told, group), group))
        better = [row for row in chosen(group) if row["ior_side"] == "better"]
        drawn = [row for row in group if row["role"] == "baseline"]
        if better:
            taken.append(max(better, key=lambda row: row["mean"]))
        elif drawn:
            taken.append(max(drawn, key=lambda row: (known[row["suite"]], tried[row["suite"]])))
    return pd.DataFrame(taken, columns=frame.columns)


def advice(frame: pd.DataFrame, records: Sequence[Record]) -> pd.DataFrame:
    """Return what `winners` says, for people: gain and accuracy, time to make it, and bytes.

    How many were shown to be better stands there too, of the methods and coresets with a verdict. Time is that of one
    set without the training of a teacher, on the machine of the record; bytes are those of images and labels, and with
    online soft labels those of the teacher. A dash where a record does not say.

    Args:
        frame: from `unidd.bench.tables.table`.
        records: those it was made from.
    """
    rows = winners(frame)
    lines, shown = rows.to_dict("records"), pretty(rows).reset_index()
    of = {_place(group[0]): chosen(group) for group in places(frame)}
    found = shown[["data", "IPC", "n"]].assign(labels=[_labels(row) for row in lines], take=rows["method"].to_list())
    found["over random [95 %]"] = shown["IOR [95 %]"]
    found["shown better"] = [_better(of[_place(row)]) for row in lines]
    made = {(r.suite, r.dataset, r.model, r.method, r.ipc): r for r in records}
    own = [made[row["suite"], row["dataset"], row["model"], row["method"], int(row["ipc"])] for row in lines]
    found["to make"] = [_time(record) for record in own]
    found["stored"] = [_bytes(record, row["regime"]) for record, row in zip(own, lines, strict=True)]
    found["accuracy (%)"] = shown["accuracy (%)"]
    columns = ["take", "n", "over random [95 %]", "shown better", "to make", "stored", "accuracy (%)"]
    return found.set_index(["data", "labels", "IPC"]).reindex(columns=columns)


def where(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a line a data set, label regime and IPC: does a distilled set beat random real images, and a good coreset?

    The best distilled set is that of the highest mean of those that pay; else of the suite that has the most coresets
    there, of those with a verdict if any suite has one. What stands beside it is of its suite. Best sets are chosen
    after the fact by the accuracies they are shown with; so the number of distilled sets that were shown to be better
    than random, of those with a verdict in any suite, stands there too, and of how many coresets the best is one. It
    pays where some set was shown to be better than random real images and than the best coreset.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    lines = []
    for group in places(frame):
        if not (made := distinct(group)):
            continue
        tried = _coresets(group)
        best = max(
            made,
            key=lambda row: (_wins(row), told(row), told(row, "ioc_side"), tried[row["suite"]], row["mean"]),
        )
        beside = [row for row in group if row["suite"] == best["suite"]]
        line = {"data": best["dataset"], "labels": _labels(best), "IPC": f"{best['ipc']:.0f}"}
        line["pays"] = {True: "yes", False: "not shown", None: "–"}[_pays(made)]
        line |= {"n": best["n"], "best distilled (%)": _reached([best], "method")}
        line |= {f"over {words} [95 %]": _gain(best, over) for over, words in OVER.items()}
        line["better than random"] = _better(made)
        line |= {"random (%)": _reached(beside, "baseline"), "best coreset (%)": _reached(beside, "coreset")}
        lines.append(line)
    index = ["data", "labels", "IPC"]
    return pd.DataFrame(lines, columns=None if lines else index).set_index(index)


def pays(frame: pd.DataFrame) -> list[str]:
    """Return in sentences where distillation was shown to pay, as `where` has it, and how often it was not.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    yes, sides = [], Counter()
    for group in places(frame):
        made = distinct(group)
        sides[_pays(made)] += bool(made)
        if _pays(made):
            best = max((row for row in made if _wins(row)), key=lambda row: row["mean"])
            labels = regime_words(best["regime"]) + _students(best)
            of = f"{sum(map(_wins, made))} of {sum(told(row, 'ioc_side') for row in made)}"
            yes.append(f"{best['dataset']}, {labels}, IPC {best['ipc']:.0f} ({best['method']}; {of})")
    said = [f"**Shown to pay**: {'; '.join(yes)}."] if yes else []
    said += [f"**Not shown to pay**, of the places with a verdict: {sides[False]}."] if sides[False] else []
    return said + ([f"**Not decided**, for want of repetitions or of coresets: {sides[None]}."] if sides[None] else [])


def _wins(row: dict[str, Any]) -> bool:
    return row["ior_side"] == row["ioc_side"] == "better"


def _pays(made: list[dict[str, Any]]) -> bool | None:
    """Whether some distilled set of a place beats random real images and the best coreset; None without a verdict."""
    decided = [row for row in made if told(row, "ioc_side")]
    return any(map(_wins, decided)) if decided else None


def places(frame: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Return the rows of each data set, student, label regime and IPC, of all suites."""
    few = frame.dropna(subset="ipc").sort_values(_PLACE, key=ordered, kind="stable")
    return [group.to_dict("records") for _, group in few.groupby(_PLACE, sort=False)]


def distinct(group: list[dict[str, Any]], role: str = "method") -> list[dict[str, Any]]:
    """Return the sets of a role beside random real images, each method once: with a verdict, and the most coresets.

    Of sets whose students reach the same in every repetition the first is there alone: they are one set by two names.
    """
    tried = _coresets(group)
    rows = [row for row in group if row["role"] == role and not pd.isna(row["ior"])]
    found: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (told(row), tried[row["suite"]]), reverse=True):
        if not any(row["method"] == other["method"] or row["values"] == other["values"] for other in found):
            found.append(row)
    return found


def chosen(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sets beside random real images, distilled and chosen ones, each once."""
    return [*distinct(group), *distinct(group, "coreset")]


def _coresets(group: list[dict[str, Any]]) -> Counter:
    """How many coresets each suite has."""
    return Counter(row["suite"] for row in group if row["role"] == "coreset")


def told(row: dict[str, Any], side: str = "ior_side") -> bool:
    """Return whether there is a verdict on a row beside random real images; "ioc_side": beside the best coreset."""
    return row[side] not in ("", "no verdict")


def _place(row: dict[str, Any]) -> tuple:
    return tuple(row[key] for key in _PLACE)


def _labels(row: dict[str, Any]) -> str:
    return row["regime"].replace("-", " ") + _students(row)


def _students(row: dict[str, Any]) -> str:
    """The students' architecture, where they are neither ConvNets nor those of a protocol."""
    return "" if row["model"] == "convnet" or "(" in row["regime"] else f", {row['model']}"


def _better(rows: list[dict[str, Any]]) -> str:
    """How many were shown to be better than random real images, of those with a verdict."""
    known = [row for row in rows if told(row)]
    return f"{sum(row['ior_side'] == 'better' for row in known)} of {len(known)}" if known else "no verdict"


def _gain(row: dict[str, Any], over: str) -> str:
    return interval(*(row[key] for key in (over, f"{over}_low", f"{over}_high")))


def _reached(group: list[dict[str, Any]], role: str) -> str:
    """Who of a role reaches most, how much, and of how many; random real images are one, and have no name."""
    rows = [row for row in group if row["role"] == role]
    if not rows:
        return "–"
    found = max(rows, key=lambda row: row["mean"])
    reached = plus_minus(found["values"])
    return reached if role == "baseline" else f"{found['method']} {reached}" + f" (of {len(rows)})" * (len(rows) > 1)


def _time(record: Record) -> str:
    return duration(record.seconds["distill"] / len(record.seeds)) if record.seconds.get("distill") else "–"


def _bytes(record: Record, regime: str) -> str:
    found = taken(record)
    return size(found[regime]) if regime in found else "–"


def goals(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a line a goal: whether it is met, and the gain of the distilled set of the highest mean, or that meets it.

    It is met by a set that was shown to be better, by the points that were asked for or more.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    of = {(group[0]["dataset"], _labels(group[0]), group[0]["ipc"]): distinct(group) for group in places(frame)}
    lines = []
    for goal in GOALS:
        made = [row for row in of.get((goal.dataset, goal.labels, 10), []) if told(row, f"{goal.over}_side")]
        met = [row for row in made if row[f"{goal.over}_side"] == "better" and row[goal.over] >= goal.points]
        best = max(met or made, key=lambda row: row["mean"], default=None)
        line = {"data": goal.dataset, "labels": goal.labels, "over": OVER[goal.over], "goal": f"{goal.points:+.0f}"}
        line |= {"met": "no verdict" if best is None else "yes" if met else "no"}
        line |= {"best distilled": best["method"] if best else "–"}
        lines.append(
            line | {"gain [95 %]": _gain(best, goal.over) if best else "–", "n": str(best["n"]) if best else "–"}
        )
    return pd.DataFrame(lines).set_index(["data", "labels", "over"])


def counted(frame: pd.DataFrame) -> list[str]:
    """Return a sentence a label regime: how often anything was shown to be better than random real images, or worse.

    At each place a method counts once, and sets that are the same; what chance alone would give stands beside it.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    sides: dict[str, dict[str, Counter]] = {}
    for group in places(frame):
        for role, name in (("method", "distilled sets"), ("coreset", "coresets")):
            found = Counter(row["ior_side"] for row in distinct(group, role) if told(row))
            if found:
                sides.setdefault(group[0]["regime"], {}).setdefault(name, Counter()).update(found)
    return [
        f"{regime_words(regime).capitalize()}: {'; '.join(_count(name, found) for name, found in of.items())}."
        for regime, of in sides.items()
    ]


def _count(name: str, found: Counter) -> str:
    n = found.total()
    said = f"{name} better {found['better']}, worse {found['worse']} of {n} times"
    return f"{said} (by chance alone {CHANCE * n:.1f} each)"
