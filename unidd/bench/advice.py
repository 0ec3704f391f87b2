"""Which method to use, worked out from records: by data set, label regime and images per class."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from .machine import duration, size
from .records import Record
from .stored import taken
from .tables import pretty
from .words import interval, plus_minus, regime_words

_PLACE = ["suite", "dataset", "model", "regime", "ipc"]


def winners(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the row to take for each data set, label regime and IPC: the highest mean of those shown to beat random.

    Where nothing was shown to beat random real images, their row is taken: they cost nothing.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    rows: list[dict[str, Any]] = frame.to_dict("records")
    first: dict[tuple, int] = {}
    for i in sorted(range(len(rows)), key=lambda i: (rows[i]["ior_side"] != "better", -rows[i]["mean"])):
        if rows[i]["ior_side"] == "better" or rows[i]["role"] == "baseline":
            first.setdefault(tuple(rows[i][key] for key in _PLACE), i)
    return frame.iloc[sorted(first.values())]


def advice(frame: pd.DataFrame, records: Sequence[Record]) -> pd.DataFrame:
    """Return what `winners` says, for people: gain and accuracy, time to make it, and bytes.

    Time is that of one set, on the machine of the record; bytes are those of images and labels, and with online soft
    labels those of the teacher. A dash where a record does not say.

    Args:
        frame: from `unidd.bench.tables.table`.
        records: those it was made from.
    """
    rows = winners(frame)
    shown = pretty(rows).reset_index()
    found = shown[["data", "labels", "IPC"]].assign(take=shown["method"])
    found["over random [95 %]"] = shown["IOR [95 %]"]
    made = {(r.suite, r.dataset, r.model, r.method, r.ipc): r for r in records}
    lines = rows.to_dict("records")
    own = [made[row["suite"], row["dataset"], row["model"], row["method"], int(row["ipc"])] for row in lines]
    found["to make"] = [_time(record) for record in own]
    found["stored"] = [_bytes(record, row["regime"]) for record, row in zip(own, lines, strict=True)]
    found["accuracy (%)"] = shown["accuracy (%)"]
    return found.set_index(["data", "labels", "IPC"])


def where(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a line a data set, label regime and IPC: does a distilled set beat random real images, and a good coreset?

    The best coreset and the best distilled set are those of the highest mean, chosen after the fact by the accuracies
    they are shown with; so the number of distilled sets that were shown to be better than random stands beside.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    lines = []
    for group in _cells(frame):
        made = _compared(group)
        best = max(made, key=lambda row: row["mean"])
        line = {"data": best["dataset"], "labels": best["regime"].replace("-", " "), "IPC": f"{best['ipc']:.0f}"}
        line["best distilled (%)"] = _reached([best], "method")
        for name, words in (("ior", "over random"), ("ioc", "over best coreset")):
            line[f"{words} [95 %]"] = interval(*(best[key] for key in (name, f"{name}_low", f"{name}_high")))
        line["better than random"] = f"{sum(row['ior_side'] == 'better' for row in made)} of {len(made)}"
        line |= {"random (%)": _reached(group, "baseline"), "best coreset (%)": _reached(group, "coreset")}
        lines.append(line)
    index = ["data", "labels", "IPC"]
    return pd.DataFrame(lines, columns=None if lines else index).set_index(index)


def pays(frame: pd.DataFrame) -> list[str]:
    """Return in two sentences where distillation was shown to pay, and where it was not.

    It pays where some distilled set was shown to be better than random real images and than the best coreset. What has
    no coreset beside it, or no verdict, is in neither.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    sides: dict[bool, list[str]] = {True: [], False: []}
    for group in _cells(frame):
        made = [row for row in _compared(group) if row["ioc_side"] not in ("", "no verdict")]
        both = [row for row in made if row["ior_side"] == row["ioc_side"] == "better"]
        best = max(both, key=lambda row: row["mean"], default={"method": ""})["method"]
        place = "{dataset}, {labels}, IPC {ipc:.0f}".format(**group[0], labels=regime_words(group[0]["regime"]))
        if made:
            sides[bool(both)].append(place + f" ({best}; {len(both)} of {len(made)})" * bool(both))
    words = {True: "**Shown to pay**", False: "**Not shown to pay**"}
    return [f"{words[side]}: {'; '.join(found)}." for side, found in sides.items() if found]


def _cells(frame: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """The rows of each data set, label regime and IPC that has a distilled set beside random real images.

    Suites whose random images reached the very same are one, and a method is there once.
    """
    suites: dict[tuple, list[dict[str, Any]]] = {}
    for row in frame.dropna(subset="ipc").to_dict("records"):
        suites.setdefault(tuple(row[key] for key in _PLACE), []).append(row)
    cells: dict[tuple, dict[str, dict[str, Any]]] = {}
    for (_, *place), group in suites.items():
        random = [tuple(row["values"]) for row in group if row["role"] == "baseline"]
        cell = cells.setdefault((*place, *random), {})
        for row in group:
            if row["method"] not in cell or row["ioc_side"]:
                cell[row["method"]] = row
    return [list(cell.values()) for cell in cells.values() if _compared(list(cell.values()))]


def _compared(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in group if row["role"] == "method" and not pd.isna(row["ior"])]


def _reached(group: list[dict[str, Any]], role: str) -> str:
    """Who of a role reaches most, and how much; the name of random real images goes without saying."""
    found = max((row for row in group if row["role"] == role), key=lambda row: row["mean"], default=None)
    if found is None:
        return "–"
    return f"{found['method']} " * (role != "baseline") + plus_minus(found["values"])


def _time(record: Record) -> str:
    return duration(record.seconds["distill"] / len(record.seeds)) if record.seconds.get("distill") else "–"


def _bytes(record: Record, regime: str) -> str:
    found = taken(record)
    return size(found[regime]) if regime in found else "–"


def counted(frame: pd.DataFrame) -> list[str]:
    """Return a sentence a label regime: how often anything was shown to be better than random real images, or worse.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    sentences = []
    for regime in frame["regime"].unique():
        parts = []
        for role, name in (("method", "distilled sets"), ("coreset", "coresets")):
            own = frame[(frame["regime"] == regime) & (frame["role"] == role)]
            sides = Counter(side for side in own["ior_side"] if side not in ("", "no verdict"))
            if sides:
                parts.append(f"{name} better {sides['better']}, worse {sides['worse']} of {sides.total()} times")
        if parts:
            sentences.append(f"{regime_words(regime).capitalize()}: {'; '.join(parts)}.")
    return sentences
