"""Tables of records, and the sentences that follow from them."""

from statistics import mean, stdev
from typing import Any, cast

import pandas as pd

from .records import Record

_KEYS = ["suite", "dataset", "model", "regime", "ipc"]
_PLACE = {"baseline": 0, "method": 1, "ceiling": 2}


def table(records: list[Record]) -> pd.DataFrame:
    """Return a row for each (suite, data set, model, label regime, IPC, method): mean ± std over n seeds, HLR and IOR.

    Columns: suite, dataset, model, regime, ipc, method, role, mean, std, n, hlr, ior, ior_std. Accuracies in %.
    Baselines come first, then methods by name.

    hlr: full-data accuracy (hard labels) − hard-label accuracy; lower is better; hard-label rows only.
    ior: accuracy − that of random real images under the same regime; the seeds are paired, so `ior_std` is the
    standard deviation of the paired differences.
    Both are empty where the suite has no such baseline. Source: DD-Ranking (fair evaluation).
    """
    runs = {(r.suite, r.dataset, r.model, r.method, r.ipc): r for r in records}
    by_role = {(r.suite, r.dataset, r.model, r.role, r.ipc): r for r in records}
    lines = []
    for _, record in sorted(runs.items(), key=lambda run: (_PLACE[run[1].role], run[1].method)):
        place = record.suite, record.dataset, record.model
        full, random = by_role.get((*place, "ceiling", None)), by_role.get((*place, "baseline", record.ipc))
        for regime, values in record.accuracy.items():
            line: dict[str, Any] = dict(zip(_KEYS, (*place, regime, record.ipc), strict=True))
            line |= {"method": record.method, "role": record.role}
            line |= {"mean": mean(values), "std": _std(values), "n": len(values)}
            if full and record.role != "ceiling" and regime == "hard":
                line["hlr"] = mean(full.accuracy["hard"]) - mean(values)
            if random and record.role == "method" and random.seeds == record.seeds and regime in random.accuracy:
                gain = [a - b for a, b in zip(values, random.accuracy[regime], strict=True)]
                line |= {"ior": mean(gain), "ior_std": _std(gain)}
            lines.append(line)
    columns = [*_KEYS, "method", "role", "mean", "std", "n", "hlr", "ior", "ior_std"]
    frame = pd.DataFrame(lines, columns=columns)
    return frame.sort_values(_KEYS, kind="stable", ignore_index=True)


def _std(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else float("nan")


def pretty(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table for people: mean ± std in one column, one decimal, a dash where a number does not exist."""

    def number(value: float, spread: float = float("nan")) -> str:
        return "–" if pd.isna(value) else f"{value:.1f}" + ("" if pd.isna(spread) else f" ± {spread:.1f}")

    shown = pd.DataFrame({"data": frame["dataset"], "labels": frame["regime"].str.replace("-", " ")})
    shown["IPC"] = ["all" if pd.isna(ipc) else f"{ipc:.0f}" for ipc in frame["ipc"]]
    shown["method"], shown["n"] = frame["method"], frame["n"]
    shown["accuracy (%)"] = [number(*pair) for pair in zip(frame["mean"], frame["std"], strict=True)]
    shown["HLR"] = [number(value) for value in frame["hlr"]]
    shown["IOR"] = [number(*pair) for pair in zip(frame["ior"], frame["ior_std"], strict=True)]
    return shown.set_index(["data", "labels", "IPC", "method"])


def runs(records: list[Record]) -> pd.DataFrame:
    """Return where each number comes from: seeds, time, device and versions of every record."""
    lines = [
        {
            "run": f"{r.suite}: {r.method}" + (f", IPC {r.ipc}" if r.ipc else ""),
            "seeds": ", ".join(map(str, r.seeds)),
            "seconds": round(sum(r.seconds.values())),
            "teacher (%)": round(r.teacher.get("accuracy", float("nan")), 1),
            **{key: r.provenance.get(key, "") for key in ("device", "threads", "torch", "unidd", "date")},
        }
        for r in records
    ]
    return pd.DataFrame(lines, columns=None if lines else ["run"]).set_index("run")


def verdicts(
    frame: pd.DataFrame, baseline: str | None = None, words: str = "a random choice of real images"
) -> list[str]:
    """Return sentences worked out from a table: each method against a baseline, for every label regime and IPC.

    Args:
        frame: from `table`.
        baseline: the method the others are compared with; None takes those whose role it is.
        words: what the sentences call it.

    A difference counts as outside the error bars when mean ± std of the two do not overlap; one seed has no error bars.
    """
    sentences = []
    for key, group in frame.dropna(subset="ipc").groupby(_KEYS, sort=False):
        _, dataset, _, regime, ipc = cast(tuple, key)
        chosen = group.role == "baseline" if baseline is None else group.method == baseline
        others = group[~chosen & (group.role != "baseline")]
        if not chosen.any() or not len(others):
            continue
        base, rows = group[chosen].iloc[0], cast(pd.DataFrame, others).to_dict("records")
        spread = "" if pd.isna(base["std"]) else f" ± {base['std']:.1f}"
        sentences.append(
            f"On {dataset} with {regime.replace('-', ' ')} labels at IPC {ipc:.0f}, {words} reaches "
            f"{base['mean']:.1f}{spread} % (n = {base['n']}); {_sides(base, rows)}."
        )
    return sentences


def _sides(base: pd.Series, others: list[dict]) -> str:
    """Return which methods lie above, within and below the error bars of a baseline."""
    sides: dict[str, list[str]] = {
        side: [] for side in ("above it", "within the error bars", "below it", "without error bars")
    }
    for row in sorted(others, key=lambda row: -row["mean"]):
        gap, reach = row["mean"] - base["mean"], row["std"] + base["std"]
        side = "above it" if gap > reach else "below it" if gap < -reach else "within the error bars"
        sides["without error bars" if pd.isna(reach) else side].append(f"{row['method']} ({gap:+.1f})")
    return "; ".join(f"{side}: {_join(names)}" for side, names in sides.items() if names)


def _join(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
