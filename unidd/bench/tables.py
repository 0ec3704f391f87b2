"""Tables of records, and the sentences that follow from them."""

from statistics import mean, stdev

import pandas as pd

from .records import Record

_BASELINES = {"random": "a random choice of real images", "classification": "classification alone"}
_ORDER = ["random", "classification", "lfm", "hfm", "cfm"]  # then the others, by name
_KEYS = ["suite", "dataset", "model", "protocol", "ipc"]


def table(records: list[Record]) -> pd.DataFrame:
    """One row for each (suite, data set, model, protocol, IPC, method): mean ± std over n seeds, HLR and IOR.

    Columns: suite, dataset, model, protocol, ipc, method, mean, std, n, hlr, ior, ior_std. Accuracies in %.

    hlr: full-data accuracy (hard labels) − hard-label accuracy; lower is better; hard-label rows only.
    ior: accuracy − that of random real images under the same protocol; the seeds are paired, so `ior_std` is the
    standard deviation of the paired differences.
    Both are empty where the suite has no such baseline. Source: DD-Ranking (fair evaluation).
    """
    runs = {(r.suite, r.dataset, r.model, r.method, r.ipc): r for r in records}
    lines = []
    for (suite, dataset, model, method, ipc), record in sorted(runs.items(), key=lambda run: _place(run[0][3])):
        full = runs.get((suite, dataset, model, "full", None))
        random = runs.get((suite, dataset, model, "random", ipc))
        for protocol, values in record.accuracy.items():
            line = {"suite": suite, "dataset": dataset, "model": model, "protocol": protocol, "ipc": ipc}
            line |= {"method": method, "mean": mean(values), "std": _std(values), "n": len(values)}
            if full and ipc and protocol == "hard":
                line["hlr"] = mean(full.accuracy["hard"]) - line["mean"]
            if random and method != "random" and random.seeds == record.seeds and protocol in random.accuracy:
                gain = [a - b for a, b in zip(values, random.accuracy[protocol], strict=True)]
                line |= {"ior": mean(gain), "ior_std": _std(gain)}
            lines.append(line)
    columns = [*_KEYS, "method", "mean", "std", "n", "hlr", "ior", "ior_std"]
    frame = pd.DataFrame(lines, columns=columns)
    return frame.sort_values(_KEYS, kind="stable", ignore_index=True)


def _std(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else float("nan")


def _place(method: str) -> tuple[int, str]:
    return (_ORDER.index(method) if method in _ORDER else len(_ORDER), method)


def pretty(frame: pd.DataFrame) -> pd.DataFrame:
    """A table for people: mean ± std in one column, one decimal, a dash where a number does not exist."""

    def number(value: float, spread: float = float("nan")) -> str:
        return "–" if pd.isna(value) else f"{value:.1f}" + ("" if pd.isna(spread) else f" ± {spread:.1f}")

    shown = frame[["dataset", "protocol", "ipc", "method", "n"]]
    shown = shown.rename(columns={"dataset": "data", "protocol": "labels"})
    shown["ipc"] = ["all" if pd.isna(ipc) else f"{ipc:.0f}" for ipc in frame["ipc"]]
    shown["accuracy (%)"] = [number(*pair) for pair in zip(frame["mean"], frame["std"], strict=True)]
    shown["HLR"] = [number(value) for value in frame["hlr"]]
    shown["IOR"] = [number(*pair) for pair in zip(frame["ior"], frame["ior_std"], strict=True)]
    return shown.rename(columns={"ipc": "IPC"}).set_index(["data", "labels", "IPC", "method"])


def runs(records: list[Record]) -> pd.DataFrame:
    """Where each number comes from: seeds, time, device and versions of every record."""
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


def verdicts(frame: pd.DataFrame, baseline: str = "random") -> list[str]:
    """Sentences worked out from a table: each method against a baseline, for every protocol and IPC.

    Args:
        frame: from `table`.
        baseline: the method the others are compared with.

    A difference counts as outside the error bars when mean ± std of the two do not overlap; one seed has no error bars.
    """
    sentences = []
    for (_, dataset, _, protocol, ipc), group in frame.dropna(subset="ipc").groupby(_KEYS, sort=False):
        others = group[~group.method.isin(["random", baseline])]
        if baseline not in set(group.method) or others.empty:
            continue
        base = group[group.method == baseline].iloc[0]
        spread = "" if pd.isna(base["std"]) else f" ± {base['std']:.1f}"
        sides: dict[str, list[str]] = {
            "above it": [],
            "within the error bars": [],
            "below it": [],
            "without error bars": [],
        }
        for row in others.sort_values("mean", ascending=False).itertuples():
            gap, reach = row.mean - base["mean"], row.std + base["std"]
            side = "above it" if gap > reach else "below it" if gap < -reach else "within the error bars"
            sides["without error bars" if pd.isna(reach) else side].append(f"{row.method} ({gap:+.1f})")
        places = "; ".join(f"{side}: {_join(names)}" for side, names in sides.items() if names)
        sentences.append(
            f"On {dataset} with {protocol} labels at IPC {ipc:.0f}, {_BASELINES.get(baseline, baseline)} reaches "
            f"{base['mean']:.1f}{spread} % (n = {base['n']}); {places}."
        )
    return sentences


def _join(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
