"""What a few images a class are good for: a replay memory, and ranking architectures; tables and sentences of both.

The studies are `benchmarks/replay.py` and `benchmarks/ranking.py`. Every comparison is with random real images, paired
by repetition, under the one rule of `tables.compared`.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean
from typing import Any

import pandas as pd

from . import records
from .tables import compared, paired
from .words import plus_minus, signed

BASE = "random"
ROLES = {"none": "no memory", "joint": "everything kept", "full": "all images"}  # of what is no set


def found(study: str, dataset: str = "digits") -> dict[str, Any] | None:
    """Return the published record of a study; None if it was not run on these data."""
    try:
        return json.loads(records.published("studies", study, f"{dataset}.json").read_text())
    except FileNotFoundError:
        return None


def against(values: Mapping[str, Sequence[float]], name: str, base: str = BASE, digits: int = 1) -> tuple[str, str]:
    """Return a paired difference with its 95 % interval in words, and the verdict of `tables.compared` on it.

    Args:
        values: name → a number a repetition, more is better.
    """
    rows = [{"values": values[each], "n": len(values[each]), "shared": ""} for each in (name, base)]
    (middle, low, high), side = compared(*rows)
    ends = "" if pd.isna(low) else f" [{signed(low, digits)}, {signed(high, digits)}]"
    return signed(middle, digits) + ends, side


def standing(values: Mapping[str, Sequence[float]], names: Sequence[str], base: str = BASE, digits: int = 1) -> str:
    """Return in words which of some are better than a base, not told apart from it, and worse.

    Args:
        values: name → a number a repetition, more is better.
        digits: of the differences.
    """
    sides: dict[str, list[str]] = {side: [] for side in ("better", "not told apart", "worse", "no verdict")}
    for name in sorted(names, key=lambda name: -mean(values[name])):
        difference, side = against(values, name, base, digits)
        sides[side].append(f"{name} ({difference})")
    said = "; ".join(f"{side}: {', '.join(found)}" for side, found in sides.items() if found)
    return said if not sides["no verdict"] else f"n = {len(values[base])}, {said}"


def strict(values: Mapping[str, Sequence[float]], roles: Mapping[str, str], digits: int = 1) -> str:
    """Return in words which distilled sets are better than the best coreset, and how many are not; "" without one.

    That coreset is chosen after the fact, which favours it: who is worse is not said.

    Args:
        values: name → a number a repetition, more is better.
        roles: name → "method", "coreset" or another.
    """
    coresets, distilled = ([n for n in values if roles.get(n) == role] for role in ("coreset", "method"))
    if not coresets or not distilled:
        return ""
    best = max(coresets, key=lambda name: mean(values[name]))
    found = [(name, *against(values, name, best, digits)) for name in distilled]
    if any(side == "no verdict" for *_, side in found):
        return f"no verdict beside the best coreset, {best}"
    better = [f"{name} ({difference})" for name, difference, side in found if side == "better"]
    return f"better than the best coreset, {best}: {', '.join(better) or f'none of {len(distilled)}'}"


def roles(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the role of each set of a record: "baseline", "coreset" or "method"."""
    return {name: about["role"] for name, about in record["sets"].items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# ---- a replay memory


def average(rows: Sequence[Sequence[float]]) -> float:
    """Return the mean accuracy over all tasks after the last.

    Args:
        rows: t = 0, 1, …: the accuracy on the tasks 0 … t after task t.
    """
    return _mean(rows[-1])


def forgetting(rows: Sequence[Sequence[float]]) -> float:
    """Return how far tasks fell from their best, on average over all but the last; 0 for a single task.

    Of task j it is the highest accuracy before the last task, less that after it; below 0 if later tasks helped.

    Args:
        rows: as in `average`.
    Source: Chaudhry et al., Riemannian Walk for Incremental Learning, ECCV 2018.

    >>> forgetting([[90.0], [80.0, 95.0], [85.0, 65.0, 99.0]])
    17.5
    """
    fallen = [max(row[j] for row in rows[j:-1]) - rows[-1][j] for j in range(len(rows) - 1)]
    return _mean(fallen) if fallen else 0.0


def averages(record: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return memory → the mean accuracy in % over all tasks after the last, one a repetition."""
    return {name: [average(row["accuracy"][name]) for row in record["rows"]] for name in record["rows"][0]["accuracy"]}


def courses(record: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return memory → the mean accuracy in % over the tasks so far after each, a mean over repetitions."""
    rows = record["rows"]
    along = {name: [[_mean(seen) for seen in row["accuracy"][name]] for row in rows] for name in rows[0]["accuracy"]}
    return {name: [_mean(at) for at in zip(*each, strict=True)] for name, each in along.items()}


def replay_table(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return a line a memory: accuracy after the last task and forgetting, in %, and the gain over random images."""
    values, role = averages(record), roles(record)
    lines = []
    for name in values:
        lost = [forgetting(row["accuracy"][name]) for row in record["rows"]]
        line = {"memory": name, "role": ROLES.get(name) or role[name], "accuracy (%)": plus_minus(values[name])}
        line |= {"forgetting (points)": plus_minus(lost)}
        lines.append(line | {"over random [95 %]": "–" if name == BASE else against(values, name)[0]})
    return pd.DataFrame(lines).set_index("memory")


def replay_sentences(record: Mapping[str, Any]) -> list[str]:
    """Return what the study of replay memories found, in words."""
    values, rows, asked = averages(record), record["rows"], record["settings"]
    small = f", {asked['images']} training images a class" * bool(asked["images"])
    ends = {"none": "without a memory", BASE: f"with {asked['ipc']} random real images a class", "joint": "with all"}
    reached = ", ".join(f"{words} {plus_minus(values[name])} %" for name, words in ends.items() if name in values)
    tasks = f"{len(rows[0]['tasks'])} tasks of {asked['classes']} classes"
    sentences = [f"`{record['dataset']}`{small}, {tasks}, n = {len(rows)}. After the last task: {reached}."]
    sets = [name for name in values if name in roles(record) and name != BASE]
    sentences.append(f"Against random images, in points: {standing(values, sets)}.")
    if said := strict(values, roles(record)):
        sentences.append(f"{said[0].upper()}{said[1:]}.")
    return sentences


# ---- ranking architectures


def agreement(values: Sequence[float], others: Sequence[float]) -> float:
    """Return Kendall's τ-b of two rankings: 1 if they agree on every pair, −1 if on none; 0 if one is all ties.

    Args:
        values, others: a number for each architecture, in the same order.
    Source: Kendall, The Treatment of Ties in Ranking Problems, 1945.
    """
    from scipy.stats import kendalltau

    if min(len(set(values)), len(set(others))) < 2:
        return 0.0  # SciPy has NaN: that ranking says nothing
    return float(kendalltau(values, others).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def _of(row: Mapping[str, Any], name: str) -> list[float]:
    return list(row["accuracy"][name].values())


def agreements(record: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return set → τ of its ranking with the reference, one a repetition.

    The reference of a repetition is the mean accuracy on all images over the *other* repetitions. So "full", one
    training of each architecture on all images, is what noise leaves: the ceiling.

    Raises:
        ValueError: there is one repetition alone.
    """
    rows = record["rows"]
    if len(rows) < 2:
        raise ValueError("a ranking of one seed has none to be compared with: the record needs two seeds or more")
    references = [
        [_mean(at) for at in zip(*(_of(other, "full") for other in rows if other is not row), strict=True)]
        for row in rows
    ]
    return {
        name: [agreement(_of(row, name), own) for row, own in zip(rows, references, strict=True)]
        for name in rows[0]["accuracy"]
    }


def between(record: Mapping[str, Any]) -> list[float]:
    """Return τ of the rankings on all images of each two repetitions."""
    return [agreement(_of(a, "full"), _of(b, "full")) for a, b in combinations(record["rows"], 2)]


def saved(record: Mapping[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Return set → seconds of the trainings of all architectures, how many times less that is than on all images, and
    the same with the making of the set; means and ratios of means over repetitions.
    """
    rows = record["rows"]
    took = {name: _mean([sum(row["seconds"][name].values()) for row in rows]) for name in rows[0]["seconds"]}
    making = {name: _mean([row["making"].get(name, 0.0) for row in rows]) for name in took}
    return {name: (took[name], took["full"] / took[name], took["full"] / (took[name] + making[name])) for name in took}


def ranking_table(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return a line a set: τ with the reference, its gain over random images, and the time it takes and saves."""
    values, times, role = agreements(record), saved(record), roles(record)
    lines = []
    for name in values:
        seconds, faster, whole = times[name]
        line = {"trained on": name, "role": ROLES.get(name) or role[name], "τ": plus_minus(values[name], 2)}
        line |= {"over random [95 %]": "–" if name == BASE else against(values, name, digits=3)[0]}
        lines.append(line | {"seconds": f"{seconds:.1f}", "faster": f"× {faster:.1f}", "with making": f"× {whole:.1f}"})
    return pd.DataFrame(lines).set_index("trained on")


def accuracies(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return a line an architecture, the best on all images first, a column a set: mean ± std of accuracy in %."""
    reached = {
        name: {each: [row["accuracy"][name][each] for row in record["rows"]] for each in record["architectures"]}
        for name in record["rows"][0]["accuracy"]
    }
    best = sorted(record["architectures"], key=lambda each: -sum(reached["full"][each]))
    return pd.DataFrame(reached).loc[best].map(plus_minus).rename_axis("architecture")


def _costliest(rows: Sequence[Mapping[str, Any]]) -> tuple[str, float]:
    """The architecture that takes the most seconds on all images, and its part of those of all."""
    sums = {name: sum(row["seconds"]["full"][name] for row in rows) for name in rows[0]["seconds"]["full"]}
    most = max(sums, key=lambda name: sums[name])
    return most, sums[most] / sum(sums.values())


def ranking_sentences(record: Mapping[str, Any]) -> list[str]:
    """Return what the study of rankings found, in words."""
    values, times, rows = agreements(record), saved(record), record["rows"]
    sets = [name for name in values if name not in (BASE, "full")]
    each = [values["full"], values[BASE]]
    one, few = (plus_minus(v, 2) for v in each)
    gap, low, high = paired(values[BASE], values["full"])
    ends = "" if pd.isna(low) else f" [{signed(low, 3)}, {signed(high, 3)}]"
    factors = [times[name][2] for name in (BASE, *sets)]
    costly, share = _costliest(rows)
    said = strict(values, roles(record), 3)
    return [
        f"`{record['dataset']}`, {len(record['architectures'])} architectures, n = {len(rows)}. Between the rankings "
        f"of two seeds on all images τ is {plus_minus(between(record), 2)}; between one seed and the mean of the "
        f"others {one}: a set that does as well is as good as one training on all images.",
        f"{record['images']['few']} random real images rank with τ = {few}, {signed(gap, 3)}{ends} from that ceiling.",
        f"Against random images, in τ, of these architectures alone: {standing(values, sets, digits=3)}.",
        *([f"{said[0].upper()}{said[1:]}."] if said else []),
        f"All trainings together are × {min(factors):.1f} to × {max(factors):.1f} faster, the making of the set "
        f"counted. Of the seconds on all images {100 * share:.0f} % are of one architecture, {costly}.",
    ]
