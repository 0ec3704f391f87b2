"""Which method to use, worked out from records: by data set, label regime and images per class."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from .machine import duration, size
from .records import Record
from .stored import taken
from .tables import ordered, pretty
from .words import interval, plus_minus, regime_words

_PLACE = ["dataset", "model", "regime", "ipc"]


def winners(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the row to take for each data set, student, label regime and IPC, whichever suite it is of.

    It is the one of the highest mean of those shown to beat random real images beside them; where nothing was, random
    ones are taken: they cost nothing.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    taken = []
    for group in places(frame):
        shown = [row for row in group if row["ior_side"] == "better" or row["role"] == "baseline"]
        if shown:
            taken.append(max(shown, key=lambda row: (row["ior_side"] == "better", row["mean"])))
    return pd.DataFrame(taken, columns=frame.columns)


def advice(frame: pd.DataFrame, records: Sequence[Record]) -> pd.DataFrame:
    """Return what `winners` says, for people: gain and accuracy, time to make it, and bytes.

    Where there was no verdict on any method or coreset, that stands beside the random images. Time is that of one set
    without the training of a teacher, on the machine of the record; bytes are those of images and labels, and with
    online soft labels those of the teacher. A dash where a record does not say.

    Args:
        frame: from `unidd.bench.tables.table`.
        records: those it was made from.
    """
    rows = winners(frame)
    lines, shown = rows.to_dict("records"), pretty(rows).reset_index()
    known = {tuple(group[0][key] for key in _PLACE) for group in places(frame) if any(map(told, group))}
    take = [row["method"] + " (no verdict)" * (tuple(row[key] for key in _PLACE) not in known) for row in lines]
    found = shown[["data", "IPC"]].assign(labels=[_regime(row) for row in lines], take=take, n=shown["n"])
    found["over random [95 %]"] = shown["IOR [95 %]"]
    made = {(r.suite, r.dataset, r.model, r.method, r.ipc): r for r in records}
    own = [made[row["suite"], row["dataset"], row["model"], row["method"], int(row["ipc"])] for row in lines]
    found["to make"] = [_time(record) for record in own]
    found["stored"] = [_bytes(record, row["regime"]) for record, row in zip(own, lines, strict=True)]
    found["accuracy (%)"] = shown["accuracy (%)"]
    return found.set_index(["data", "labels", "IPC"])


def where(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a line a data set, label regime and IPC: does a distilled set beat random real images, and a good coreset?

    The best distilled set is that of the highest mean, of those with a verdict if there are any, whichever suite it is
    of; what stands beside it is of its suite. Best sets are chosen after the fact by the accuracies they are shown
    with; so the number of distilled sets that were shown to be better than random, of those with a verdict, stands
    there too. It pays where some set was shown to be better than random real images and than the best coreset.

    Args:
        frame: from `unidd.bench.tables.table`.
    """
    lines = []
    for group in places(frame):
        if not (made := distilled(group)):
            continue
        best = max(made, key=lambda row: (told(row), row["mean"]))
        beside = [row for row in group if row["suite"] == best["suite"]]
        line = {"data": best["dataset"], "labels": _regime(best), "IPC": f"{best['ipc']:.0f}"}
        line["pays"] = {True: "yes", False: "not shown", None: "–"}[_pays(made)]
        line |= {"n": best["n"], "best distilled (%)": _reached([best], "method")}
        for name, words in (("ior", "over random"), ("ioc", "over best coreset")):
            line[f"{words} [95 %]"] = interval(*(best[key] for key in (name, f"{name}_low", f"{name}_high")))
        better = sum(row["ior_side"] == "better" for row in made)
        line["better than random"] = f"{better} of {n}" if (n := sum(map(told, made))) else "no verdict"
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
        made = distilled(group)
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


def distilled(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the distilled sets beside random real images, each method once: with the most that is known of it."""
    rows = [row for row in group if row["role"] == "method" and not pd.isna(row["ior"])]
    return list(
        {row["method"]: row for row in sorted(rows, key=lambda row: (told(row), row["ioc_side"] != ""))}.values()
    )


def told(row: dict[str, Any], side: str = "ior_side") -> bool:
    """Return whether there is a verdict on a row beside random real images; "ioc_side": beside the best coreset."""
    return row[side] not in ("", "no verdict")


def _regime(row: dict[str, Any]) -> str:
    return row["regime"].replace("-", " ") + _students(row)


def _students(row: dict[str, Any]) -> str:
    """The students' architecture, where they are neither ConvNets nor those of a protocol."""
    return "" if row["model"] == "convnet" or "(" in row["regime"] else f", {row['model']}"


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
