"""Tables of records, and sentences that follow from them.

One rule says what is better, in every table, mark and sentence: see `compared`.
"""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any, cast

import pandas as pd
from scipy.special import stdtrit

from ..methods import find
from ..networks.evaluation import REGIMES
from ..networks.models import ModelConfig
from .records import Record
from .words import interval, regime_words

ENOUGH = 5  # repetitions that a verdict in words needs
_KEYS = ["suite", "dataset", "model", "regime", "ipc"]
_NUMBERS = ["mean", "std", "n", "hlr", "ior", "ior_low", "ior_high", "ioc", "ioc_low", "ioc_high"]
_COLUMNS = [*_KEYS, "method", "role", *_NUMBERS, "ior_side", "ioc_side", "best", "shared", "values", "seeds"]
_PLACE = {"baseline": 0, "coreset": 1, "method": 2, "ceiling": 3}
_NAN = float("nan")


def paired(values: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of paired differences, and both ends of its 95 % interval by Student's t.

    A single pair has no interval: its ends are NaN.

    >>> [round(value, 2) for value in paired([52.0, 54.0, 53.0], [51.0, 51.0, 51.0])]
    [2.0, -0.48, 4.48]
    """
    gains = [a - b for a, b in zip(values, others, strict=True)]
    middle, n = mean(gains), len(gains)
    if n < 2:
        return middle, _NAN, _NAN
    reach = float(stdtrit(n - 1, 0.975)) * stdev(gains) / n**0.5
    return middle, middle - reach, middle + reach


def shared(record: Record) -> str:
    """Return what the repetitions of a record have in common, where each should have its own; "" if nothing.

    It is one set, whose students alone were repeated; a teacher; or the experts of trajectory matching, which its
    hyper-parameter `shared` asks for.
    """
    if "set" in record.config:
        return "one set"
    experts = "experts" if record.config.get("method", {}).get("shared") else ""
    return common_teacher(record.teachers) or experts


def common_teacher(cards: Sequence[dict[str, Any]]) -> str:
    """Return "a teacher" if two repetitions, whose teachers' cards these are, have the same one; else ""."""
    hashes = [card["hash"] for card in cards if "hash" in card]
    return "a teacher" if len(set(hashes)) < len(hashes) else ""


def compared(row: dict[str, Any], base: dict[str, Any]) -> tuple[tuple[float, float, float], str]:
    """Return the paired difference of two rows of `table`, as `paired` gives it, and the verdict on the first.

    It is "better" or "worse" if the 95 % interval leaves out zero, else "not told apart"; "no verdict" if there are
    fewer than five repetitions, or those of either row share what each should have of its own, see `shared`.
    """
    found = paired(row["values"], base["values"])
    if row["n"] < ENOUGH or row["shared"] or base["shared"]:
        return found, "no verdict"
    return found, "better" if found[1] > 0 else "worse" if found[2] < 0 else "not told apart"


def table(records: list[Record]) -> pd.DataFrame:
    """Return a row for each (suite, data set, model, label regime, IPC, method): mean ± std over n seeds, HLR and IOR.

    Columns: suite, dataset, model, regime, ipc, method, role, mean, std, n, hlr; ior and ioc, each with its low, high
    and side; best, shared, values, seeds. Accuracies in %; `values` has one a seed. Hard labels come before soft ones,
    baselines before coresets and methods, by name. A published protocol stands beside the label regime, as in
    "hard (dsa)": only what one protocol trained is compared.

    hlr: full-data accuracy (hard labels) − hard-label accuracy; lower is better; hard-label rows only.
    ior: accuracy − that of random real images under the same regime, paired by seed, and the ends of its 95 % interval;
    its side is the verdict of `compared`. HLR and IOR are empty where the suite has no such baseline.
    ioc: the same over the best coreset, of methods; `best` is true in the row of that coreset, whose mean is the
    highest. It is chosen after the fact by the test accuracies it is then compared by, which favours it: "better" than
    the best coreset is a strict test, and "worse" is not.
    shared: see `shared`.

    Source: DD-Ranking (HLR, IOR and fair evaluation).
    """
    runs = {(r.suite, r.dataset, r.model, r.protocol, r.method, r.ipc): r for r in records}
    cells: dict[tuple, list[dict[str, Any]]] = {}
    for record in sorted(runs.values(), key=lambda r: (_PLACE[r.role], r.method)):
        for line in _lines(record):
            cells.setdefault(tuple(line[key] for key in _KEYS), []).append(line)
    for cell, lines in cells.items():
        _compare(lines, cells.get((*cell[:-1], None), []))
    frame = pd.DataFrame([line for lines in cells.values() for line in lines], columns=_COLUMNS)
    return frame.sort_values(_KEYS, key=ordered, kind="stable", ignore_index=True)


def _lines(record: Record) -> list[dict[str, Any]]:
    """A row for each label regime, not yet compared."""
    place = {name: getattr(record, name) for name in ("suite", "dataset", "model", "ipc", "method", "role", "seeds")}
    place |= {"shared": shared(record), "best": False, "ior_side": "", "ioc_side": ""}
    under = f" ({record.protocol})" * bool(record.protocol)
    return [
        {**place, "regime": regime + under, "values": v, "mean": mean(v), "std": _std(v), "n": len(v)}
        for regime, v in record.accuracy.items()
    ]


def _compare(lines: list[dict[str, Any]], whole: list[dict[str, Any]]) -> None:
    """Complete the rows of one cell of the table by what they are beside others.

    Args:
        whole: rows of methods that take all images, under the same regime.
    """
    full = next((line for line in whole if line["role"] == "ceiling"), None)
    random = next((line for line in lines if line["role"] == "baseline"), None)
    best = max((line for line in lines if line["role"] == "coreset"), key=lambda line: line["mean"], default=None)
    if best:
        best["best"] = True
    for line in lines:
        if full and line["role"] != "ceiling" and line["regime"].split()[0] == "hard":
            line["hlr"] = full["mean"] - line["mean"]
        for name, base, roles in (("ior", random, ("method", "coreset")), ("ioc", best, ("method",))):
            if base and line["role"] in roles and line["seeds"] == base["seeds"]:
                (line[name], line[f"{name}_low"], line[f"{name}_high"]), line[f"{name}_side"] = compared(line, base)


def ordered(column: pd.Series) -> pd.Series:
    """Return what a column of `table` is sorted by: label regimes by their place in `REGIMES`, others as they are."""
    return column.map(lambda name: f"{REGIMES.index(name.split()[0])} {name}") if column.name == "regime" else column


def _std(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else _NAN


def _number(value: float, spread: float = _NAN) -> str:
    text = f"{value:.1f}".replace("-", "−") + ("" if pd.isna(spread) else f" ± {spread:.1f}")
    return "–" if pd.isna(value) else text


def _rows(frame: Any) -> list[dict[str, Any]]:
    return frame.to_dict("records")


def pretty(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table for people: mean ± std in one column, IOR with its 95 % interval, a dash where there is no number.

    Where there are coresets, a last column has the gain over the best one, likewise.

    Args:
        frame: from `table`.
    """
    shown = pd.DataFrame({"data": frame["dataset"], "labels": frame["regime"].str.replace("-", " ")})
    shown["IPC"] = ["all" if pd.isna(ipc) else f"{ipc:.0f}" for ipc in frame["ipc"]]
    shown["method"], shown["n"] = frame["method"], frame["n"]
    shown["accuracy (%)"] = [_number(*pair) for pair in zip(frame["mean"], frame["std"], strict=True)]
    shown["HLR"] = [_number(value) for value in frame["hlr"]]
    columns = (frame[name] for name in ("ior", "ior_low", "ior_high"))
    shown["IOR [95 %]"] = [interval(*found) for found in zip(*columns, strict=True)]
    if any(frame["best"]):
        columns = (frame[name] for name in ("ioc", "ioc_low", "ioc_high"))
        shown["over best coreset [95 %]"] = [interval(*found) for found in zip(*columns, strict=True)]
    return shown.set_index(["data", "labels", "IPC", "method"])


def overview(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a line a method, by role; a column for each label regime and IPC: mean ± std in %, and marks.

    ▲ is better than random real images, ▼ worse; ★ is better than the best coreset, which ◆ marks: all by the rule of
    `compared`. Without a mark, nothing was shown. Training on all images has no IPC, and stands in every column of its
    regime.

    Args:
        frame: from `table`, of one suite.
    Raises:
        ValueError: there are rows of several suites.
    """
    if len(set(frame["suite"])) > 1:
        raise ValueError(f"rows of several suites ({', '.join(sorted(frame['suite'].unique()))}): choose one")
    few = frame.dropna(subset="ipc")
    shown: dict[str, dict[tuple[str, str], str]] = {}
    for regime, ipc in few[["regime", "ipc"]].drop_duplicates().itertuples(index=False):
        cells = frame[(frame["regime"] == regime) & (frame["ipc"].isna() | (frame["ipc"] == ipc))]
        shown[f"{regime.replace('-', ' ')}, IPC {ipc:.0f}"] = {
            (row["role"], row["method"]): _number(row["mean"], row["std"]) + _marks(row) for row in _rows(cells)
        }
    found = pd.DataFrame(shown).fillna("–")
    order = sorted(found.index, key=lambda line: (_PLACE[line[0]], line[1]))
    return found.reindex(order).rename_axis(["role", "method"] if shown else "method")


def _marks(row: dict[str, Any]) -> str:
    marks = {"better": "▲", "worse": "▼"}.get(row["ior_side"], "") + "★" * (row["ioc_side"] == "better")
    marks += "◆" * row["best"]
    return f" {marks}" if marks else ""


def across(records: list[Record]) -> pd.DataFrame:
    """Return a line a set, a column an architecture of students: mean ± std in %, a dash where there is none.

    A star marks the architecture that a set was made with. The spread is over students, where they are all of one set.

    Args:
        records: of `unidd.bench.cross`, or of cells whose `student_model` differs.
    """
    made = {(r.dataset, r.method, r.ipc): _made_with(r) for r in records}
    shown: dict[tuple[str, ...], dict[str, str]] = {}
    for row in table(records).to_dict("records"):
        ipc = None if pd.isna(row["ipc"]) else int(row["ipc"])
        line = row["dataset"], row["regime"].replace("-", " "), "all" if ipc is None else str(ipc), row["method"]
        own = row["model"] == made[row["dataset"], row["method"], ipc]
        shown.setdefault(line, {})[row["model"]] = _number(row["mean"], row["std"]) + " *" * own
    found = pd.DataFrame.from_dict(shown, orient="index").fillna("–")
    return found.rename_axis(["data", "labels", "IPC", "method"] if shown else "method")


def _made_with(record: Record) -> str | None:
    """The architecture that a method looked through; None if through none, or if the record does not say."""
    settings = record.config.get("set") or record.config.get("method", {})
    try:
        cls = find(record.method)
    except ValueError:  # a set from elsewhere
        cls = None
    if "net_width" in settings and "norm" in settings:  # networks drawn anew
        return ModelConfig(cls.architecture if cls else "convnet", norm=settings["norm"]).short
    if "proxy" in settings:
        return settings["proxy"]
    if cls and not cls.needs_teacher:
        return None
    if model := record.config.get("set", record.config).get("cell", {}).get("model"):
        return model
    built = [ModelConfig(**card["architecture"]).short for card in record.teachers if card.get("architecture")]
    return built[0] if built else None


def runs(records: list[Record]) -> pd.DataFrame:
    """Return where each number comes from: seeds, teachers, time, device and versions of every record."""
    lines = [
        {
            "run": f"{r.suite}: {r.method}" + (f", IPC {r.ipc}" if r.ipc else ""),
            "seeds": ", ".join(map(str, r.seeds)),
            "teachers (%)": ", ".join(f"{card['accuracy']:.1f}" for card in r.teachers) or "–",
            "seconds": round(sum(r.seconds.values())),
            **{key: r.provenance.get(key, "") for key in ("device", "threads", "torch", "unidd", "date")},
        }
        for r in records
    ]
    return pd.DataFrame(lines, columns=None if lines else ["run"]).set_index("run")


def standings(frame: pd.DataFrame) -> list[str]:
    """Return for each label regime and IPC in words what is best, and who beats random real images and coresets.

    Who is worse than the best coreset is not said: see `table`.

    Args:
        frame: from `table`, of one suite.
    """
    sentences = []
    for key, group in frame.dropna(subset="ipc").groupby(_KEYS, sort=False):
        *place, regime, ipc = cast(tuple, key)
        whole = frame[(frame[_KEYS[:4]] == [*place, regime]).all(axis=1) & frame["ipc"].isna()]
        rows = _rows(group)
        named = [("random real images reach", row) for row in rows if row["role"] == "baseline"]
        named += [(f"the best coreset, {row['method']},", row) for row in rows if row["best"]]
        made = [row for row in rows if row["role"] == "method"]
        if made:
            highest = max(made, key=lambda row: row["mean"])
            named.append((f"the highest mean of a method, {highest['method']},", highest))
        named += [("all images", row) for row in _rows(whole)]
        reached = ", ".join(f"{words} {_number(row['mean'], row['std'])} %" for words, row in named)
        found = f"{regime_words(regime).capitalize()}, IPC {ipc:.0f}: {reached or 'no baseline yet'}. "
        found += _count(rows, "ior_side", "random", ("worse", "no verdict"))
        found += _count(rows, "ioc_side", "the best coreset", ("no verdict",))
        sentences.append(found.strip())
    return sentences


def _count(rows: list[dict[str, Any]], side: str, base: str, others: tuple[str, ...]) -> str:
    """Return who is better than a baseline, by the gain, and how many have other verdicts; "" if none was compared."""
    gain = side.removesuffix("_side")
    there = sorted((row for row in rows if row[side]), key=lambda row: -row[gain])
    if all(row[side] == "no verdict" for row in there):
        return f"Against {base}: no verdict on any of {len(there)}. " * bool(there)
    better = [row["method"] for row in there if row[side] == "better"]
    counted = f"{_join(better)} ({len(better)} of {len(there)})" if better else f"none of {len(there)}"
    found = f"Better than {base}: {counted}"
    for other in others:
        count = sum(row[side] == other for row in there)
        found += f"; {other}: {count}" * bool(count)
    return f"{found}. "


def verdicts(
    frame: pd.DataFrame, baseline: str | None = None, words: str = "a random choice of real images"
) -> list[str]:
    """Return sentences worked out from a table: each method against a baseline, for every label regime and IPC.

    The verdict is that of `compared`; what its repetitions share is said.

    Args:
        frame: from `table`.
        baseline: the method the others are compared with; None takes those whose role it is.
        words: what the sentences call it.
    """
    sentences = []
    for key, group in frame.dropna(subset="ipc").groupby(_KEYS, sort=False):
        _, dataset, _, regime, ipc = cast(tuple, key)
        rows = _rows(group)
        found = [row for row in rows if (row["role"] == "baseline" if baseline is None else row["method"] == baseline)]
        rows = [row for row in rows if row["role"] != "baseline" and row not in found]
        rows = [row for row in rows if found and row["seeds"] == found[0]["seeds"]]
        if not rows:
            continue
        base = found[0]
        sentences.append(
            f"On {dataset} with {regime_words(regime)} at IPC {ipc:.0f}, {words} reaches "
            f"{_number(base['mean'], base['std'])} % (n = {base['n']}); {_sides(base, rows)}."
        )
    return sentences


def _sides(base: dict[str, Any], others: list[dict[str, Any]]) -> str:
    """Return which methods are better and worse than a baseline, with the paired difference and its interval."""
    common = base["shared"] and f"its repetitions share {base['shared']}"
    if why := f"n = {base['n']}" if base["n"] < ENOUGH else common:
        return f"{why}: no verdict on {_join([row['method'] for row in others])}"
    found = sorted(((*compared(row, base), row["method"], row["shared"]) for row in others), reverse=True)
    sides: dict[str, list[str]] = {"better": [], "not told apart": [], "worse": [], "no verdict": []}
    for difference, side, name, common in found:
        why = f", but its repetitions share {common}" * bool(common)
        sides[side].append(f"{name} ({interval(*difference)}{why})")
    return "; ".join(f"{side}: {_join(names)}" for side, names in sides.items() if names)


def _join(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
