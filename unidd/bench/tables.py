"""Tables of records, and sentences that follow from them."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any, cast

import pandas as pd
from scipy.special import stdtrit

from .records import Record
from .words import signed

ENOUGH = 5  # repetitions that a verdict in words needs
_KEYS = ["suite", "dataset", "model", "regime", "ipc"]
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


def table(records: list[Record]) -> pd.DataFrame:
    """Return a row for each (suite, data set, model, label regime, IPC, method): mean ± std over n seeds, HLR and IOR.

    Columns: suite, dataset, model, regime, ipc, method, role, mean, std, n, hlr, ior, ior_low, ior_high, values, seeds.
    Accuracies in %; `values` has one a seed. Baselines come first, then coresets and methods, by name. A published
    protocol stands beside the label regime, as in "hard (dsa)": only what one protocol trained is compared.

    hlr: full-data accuracy (hard labels) − hard-label accuracy; lower is better; hard-label rows only.
    ior: accuracy − that of random real images under the same regime, paired by seed, and the ends of its 95 % interval.
    Both are empty where the suite has no such baseline. Source: DD-Ranking (fair evaluation).
    """
    runs = {(r.suite, r.dataset, r.model, r.protocol, r.method, r.ipc): r for r in records}
    by_role = {(r.suite, r.dataset, r.model, r.protocol, r.role, r.ipc): r for r in records}
    lines = []
    for _, record in sorted(runs.items(), key=lambda run: (_PLACE[run[1].role], run[1].method)):
        place = record.suite, record.dataset, record.model
        beside = *place, record.protocol
        full, random = by_role.get((*beside, "ceiling", None)), by_role.get((*beside, "baseline", record.ipc))
        for regime, values in record.accuracy.items():
            under = regime + f" ({record.protocol})" * bool(record.protocol)
            line: dict[str, Any] = dict(zip(_KEYS, (*place, under, record.ipc), strict=True))
            line |= {"method": record.method, "role": record.role, "values": values, "seeds": record.seeds}
            line |= {"mean": mean(values), "std": _std(values), "n": len(values)}
            if full and record.role != "ceiling" and regime == "hard":
                line["hlr"] = mean(full.accuracy["hard"]) - mean(values)
            measured = record.role in ("method", "coreset")
            if random and measured and random.seeds == record.seeds and regime in random.accuracy:
                found = paired(values, random.accuracy[regime])
                line |= dict(zip(("ior", "ior_low", "ior_high"), found, strict=True))
            lines.append(line)
    columns = [*_KEYS, "method", "role", "mean", "std", "n", "hlr", "ior", "ior_low", "ior_high", "values", "seeds"]
    frame = pd.DataFrame(lines, columns=columns)
    return frame.sort_values(_KEYS, kind="stable", ignore_index=True)


def _std(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else _NAN


def _number(value: float, spread: float = _NAN) -> str:
    return "–" if pd.isna(value) else f"{value:.1f}" + ("" if pd.isna(spread) else f" ± {spread:.1f}")


def _interval(middle: float, low: float, high: float) -> str:
    """Return a difference and its 95 % interval in words, such as "+1.0 [−3.3, +5.3]"."""
    if pd.isna(middle):
        return "–"
    return signed(middle) + ("" if pd.isna(low) else f" [{signed(low)}, {signed(high)}]")


def pretty(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table for people: mean ± std in one column, IOR with its 95 % interval, a dash where there is no number.

    Args:
        frame: from `table`.
    """
    shown = pd.DataFrame({"data": frame["dataset"], "labels": frame["regime"].str.replace("-", " ")})
    shown["IPC"] = ["all" if pd.isna(ipc) else f"{ipc:.0f}" for ipc in frame["ipc"]]
    shown["method"], shown["n"] = frame["method"], frame["n"]
    shown["accuracy (%)"] = [_number(*pair) for pair in zip(frame["mean"], frame["std"], strict=True)]
    shown["HLR"] = [_number(value) for value in frame["hlr"]]
    columns = (frame[name] for name in ("ior", "ior_low", "ior_high"))
    shown["IOR [95 %]"] = [_interval(*found) for found in zip(*columns, strict=True)]
    return shown.set_index(["data", "labels", "IPC", "method"])


def overview(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one line a method, one column for each label regime and IPC: mean ± std in %, and a mark.

    ▲ is better than random real images, ▼ worse: by the rule of `verdicts`. Without a mark, neither was shown.

    Args:
        frame: from `table`, of one suite.
    Raises:
        ValueError: there are rows of several suites.
    """
    if len(set(frame["suite"])) > 1:
        raise ValueError(f"rows of several suites ({', '.join(sorted(frame['suite'].unique()))}): choose one")
    shown: dict[str, dict[str, str]] = {}
    for row in frame.dropna(subset="ipc").to_dict("records"):
        mark = {"better": " ▲", "worse": " ▼"}.get(_side(row["n"], row["ior_low"], row["ior_high"]), "")
        column = f"{row['regime'].replace('-', ' ')}, IPC {row['ipc']:.0f}"
        shown.setdefault(column, {})[row["method"]] = _number(row["mean"], row["std"]) + mark
    return pd.DataFrame(shown).fillna("–").rename_axis("method")


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


def verdicts(
    frame: pd.DataFrame, baseline: str | None = None, words: str = "a random choice of real images"
) -> list[str]:
    """Return sentences worked out from a table: each method against a baseline, for every label regime and IPC.

    A method is better or worse if there are at least five repetitions, and the 95 % interval of the paired difference
    leaves out zero; from fewer repetitions no verdict is given.

    Args:
        frame: from `table`.
        baseline: the method the others are compared with; None takes those whose role it is.
        words: what the sentences call it.
    """
    sentences = []
    for key, group in frame.dropna(subset="ipc").groupby(_KEYS, sort=False):
        _, dataset, _, regime, ipc = cast(tuple, key)
        rows: list[dict[str, Any]] = group.to_dict("records")
        found = [row for row in rows if (row["role"] == "baseline" if baseline is None else row["method"] == baseline)]
        rows = [row for row in rows if row["role"] != "baseline" and row not in found]
        rows = [row for row in rows if found and row["seeds"] == found[0]["seeds"]]
        if not rows:
            continue
        base = found[0]
        sentences.append(
            f"On {dataset} with {regime.replace('-', ' ')} labels at IPC {ipc:.0f}, {words} reaches "
            f"{_number(base['mean'], base['std'])} % (n = {base['n']}); {_sides(base, rows)}."
        )
    return sentences


def _side(n: int, low: float, high: float) -> str:
    """Return the verdict on a difference with this 95 % interval; there is none from too few repetitions."""
    if n < ENOUGH:
        return "no verdict"
    return "better" if low > 0 else "worse" if high < 0 else "not told apart"


def _sides(base: dict[str, Any], others: list[dict[str, Any]]) -> str:
    """Return which methods are better and worse than a baseline, with the paired difference and its interval."""
    if base["n"] < ENOUGH:
        return f"n = {base['n']}: no verdict on {_join([row['method'] for row in others])}"
    found = sorted(((paired(row["values"], base["values"]), row["method"]) for row in others), reverse=True)
    sides: dict[str, list[str]] = {"better": [], "not told apart": [], "worse": []}
    for difference, name in found:
        sides[_side(base["n"], *difference[1:])].append(f"{name} ({_interval(*difference)})")
    return "; ".join(f"{side}: {_join(names)}" for side, names in sides.items() if names)


def _join(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
