"""Result records as the rows of one table, with a card for each, as light as a page needs them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from .. import methods
from ..bench.records import Record
from ..bench.stored import bytes_of
from ..bench.tables import table
from ..data.datasets import ImageData
from ..networks.models import ModelConfig
from .rounding import rounded, significant

PAGE = "../book/api/methods.html"  # of the reference, seen from a chapter
STUDENT = {"epochs": "epochs", "batch": "batch", "optimizer": "by", "lr": "rate"}
Pairs = list[list[str]]


def listing(records: Sequence[Record], data: Mapping[str, ImageData] | None = None) -> dict[str, Any]:
    """Return records as plain JSON values.

    Args:
        data: name of a data set → its images; without them, bytes are known only where a record has them.
    Returns:
        "rows", those of `tables.table`, each with "key", unique; "card", its number; method, data, student, regime,
        ipc (None: all images), role, suite, mean, std, n; gain, its ends low and high, and its side, see
        `tables.compared`; bytes of the images and of that regime's labels; seconds of a distillation; values, one a
        seed. What is not known is None. "cards": [what, words] pairs, a list a record. "methods": name → label,
        summary, source, filter, labels and page, of those that are known here.
    """
    found = {key: record for record in records for key in _keys(record)}
    cards: dict[int, int] = {}
    rows, kept = [], []
    for line in table(list(records)).to_dict("records"):
        record = found[tuple(_plain(line[name]) for name in ("suite", "dataset", "model", "regime", "ipc", "method"))]
        if id(record) not in cards:
            cards[id(record)] = len(kept)
            kept.append(record)
        rows.append(_row(line, record, (data or {}).get(record.dataset)) | {"card": cards[id(record)]})
    names = dict.fromkeys(record.method for record in kept)
    known = {name: about for name in names if (about := _about(name))}
    return {"rows": rows, "cards": [card(record) for record in kept], "methods": known}


def _keys(record: Record) -> Iterable[tuple]:
    under = f" ({record.protocol})" * bool(record.protocol)
    for regime in record.accuracy:
        yield record.suite, record.dataset, record.model, regime + under, record.ipc, record.method


def _plain(value: Any) -> Any:
    """A name or an IPC of a table: None for all images, which a table has as NaN."""
    if not isinstance(value, float):
        return value
    return None if pd.isna(value) else int(value)


def _row(line: dict[str, Any], record: Record, data: ImageData | None) -> dict[str, Any]:
    regime, ipc, n = line["regime"], _plain(line["ipc"]), line["n"]
    numbers = {"mean": "mean", "std": "std", "gain": "ior", "low": "ior_low", "high": "ior_high"}
    taken, labels = bytes_of(record, data), regime.split()[0]
    known = {"images", labels} <= set(taken)
    return {
        "key": "/".join((line["suite"], line["dataset"], line["model"], line["method"], str(ipc or "all"), regime)),
        "method": line["method"],
        "data": line["dataset"],
        "student": line["model"],
        "regime": regime.replace("-", " "),
        "ipc": ipc,
        "suite": line["suite"],
        "role": line["role"],
        **{name: None if pd.isna(line[of]) else round(line[of], 1) for name, of in numbers.items()},
        "n": n,
        "side": line["ior_side"],
        "bytes": taken["images"] + taken[labels] if known else None,
        "seconds": significant(record.seconds["distill"] / n, 2) if "distill" in record.seconds else None,
        "values": [round(value, 1) for value in line["values"]],
    }


def card(record: Record) -> Pairs:
    """Return what a record says of how its numbers were made: [what, words] pairs, without what it does not say."""
    made, student = record.provenance, record.config.get("student", {})
    versions = [f"{name} {made[name]}" for name in ("unidd", "torch", "torchvision", "python") if name in made]
    trained = [f"{words} {_said(student[name])}" for name, words in STUDENT.items() if name in student]
    phases = [f"{phase} {value:g} s" for phase, value in record.seconds.items()]
    settings = record.config.get("method") or {}
    by = made.get("contributed", {})
    pairs = {
        "Suite": record.suite,
        "Protocol": record.protocol or "unidd",
        "Budget": record.budget,
        "Students": ", ".join([record.model, *trained]),
        "Teachers": _teachers(record),
        "Settings": ", ".join(f"{name} {_said(value)}" for name, value in settings.items()),
        "Seeds": ", ".join(map(str, record.seeds)),
        "Time": f"{', '.join(phases)}, of all repetitions" if phases else "",
        "Device": made.get("device", ""),
        "Versions": ", ".join(versions),
        "Date": made.get("date", ""),
        "Contributed by": by.get("by", ""),
        "Set": by.get("url", ""),
        "Cite": by.get("cite", ""),
    }
    return [[what, words] for what, words in pairs.items() if words]


def _teachers(record: Record) -> str:
    reached = sorted(one["accuracy"] for one in record.teachers)
    if not reached:
        return ""
    ends = " to ".join(dict.fromkeys(f"{value:.1f}" for value in (reached[0], reached[-1])))
    own = len({one.get("hash", i) for i, one in enumerate(record.teachers)})
    built = "".join(
        f" ({ModelConfig(**one['architecture'])})" for one in record.teachers[:1] if one.get("architecture")
    )
    return f"{own if own > 1 else 'one'}, {ends} % of the test images{built}"


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _about(name: str) -> dict[str, str]:
    """What the package says of a method; nothing of one that it does not know."""
    try:
        cls = methods.find(name)
    except ValueError:
        return {}
    page = f"{PAGE}#{cls.__module__}.{cls.__qualname__}"
    said = {"label": cls.__name__, "summary": cls.summary(), "source": cls.source}
    return said | {"filter": cls.acts_as, "labels": cls.labels, "page": page}


def looks(study: Mapping[str, Any], sheets: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return images and spectrum of the methods of a study, by "data/ipc/method", as rows of a listing are looked up.

    Args:
        study: as `benchmarks/spectra_of_methods.py` writes it.
        sheets: method → data URI of its images side by side.
    Returns:
        "picture", if there is one, and "spectrum": the share of an image's power at 1 … f half cycles of its side, a
        mean over the repetitions.
    """
    place = f"{study['dataset']}/{study['settings']['ipc']}"
    found = {}
    for name in dict.fromkeys(row["method"] for row in study["rows"]):
        spectra = [row["images"]["spectrum"] for row in study["rows"] if row["method"] == name]
        mean = torch.tensor(spectra, dtype=torch.float64).mean(0)
        found[f"{place}/{name}"] = {"spectrum": rounded(mean, 3)}
        if name in sheets:
            found[f"{place}/{name}"]["picture"] = sheets[name]
    return found


def shown(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that a `ResultsTable` shows, given its state, in their order: the same as the page works out."""
    wanted = {name: state[name] for name in ("data", "regime", "ipc", "role") if state[name]}
    named = [(row, {**row, "ipc": "all" if row["ipc"] is None else str(row["ipc"])}) for row in state["rows"]]
    found = [row for row, words in named if all(words[name] == value for name, value in wanted.items())]
    most, sort = state["most"], state["sort"]
    found = [row for row in found if not most or (row["bytes"] is not None and row["bytes"] <= most)]
    if not sort:
        return found
    of = {row["key"]: math.inf if sort == "ipc" and row["ipc"] is None else row[sort] for row in found}
    known = [row for row in found if of[row["key"]] is not None]
    known.sort(key=lambda row: v.lower() if isinstance(v := of[row["key"]], str) else v, reverse=state["down"])
    return known + [row for row in found if of[row["key"]] is None]


def limits(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return round limits of bytes that leave out some of the rows: 1, 10, 100 … kB.

    >>> limits([{"bytes": 650}, {"bytes": 31_000}, {"bytes": None}])
    [1000, 10000]
    """
    taken = [row["bytes"] for row in rows if row["bytes"] is not None]
    powers = [10**k for k in range(1, 13)]
    return [limit for limit in powers if taken and min(taken) <= limit < max(taken)]
