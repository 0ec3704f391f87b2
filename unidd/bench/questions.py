"""What reviewers and readers of the paper asked, each with an answer worked out from records, or why there is none.

Verdicts in words are those of `unidd.bench.tables.compared`: five repetitions that share nothing, and a paired 95 %
interval that leaves out zero. The list is that of the reviews of UniDD, and of studies that came after it.
"""

import html
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, cast

import pandas as pd

from .. import methods
from . import advice, promise
from .claims import Evidence
from .machine import duration, size
from .records import Record
from .stored import taken
from .tables import ENOUGH, common_teacher, compared, paired
from .words import interval, plus_minus, regime_words

HARD, SOFT = "hard", "online-soft"
NETWORK = {0: "random weights", 1: "one epoch", 10: "ten epochs"}  # by the epochs of a probe


@dataclass(frozen=True)
class Found:
    """All that answers may look at: records, their table, and studies."""

    records: tuple[Record, ...]
    evidence: Evidence

    @staticmethod
    def of(records: Sequence[Record], *folders: Path) -> "Found":
        """Take records, and folders of studies as `Evidence` does."""
        return Found(tuple(records), Evidence.of(records, *folders))

    @property
    def suites(self) -> dict[str, str]:
        """Of each data set that comes with the package, the suite with the most methods, and how it is told."""
        whole = any(record.suite == "methods" for record in self.records)
        photos = {"methods": "photos (suite methods)"} if whole else {"photos": "photos"}
        return {**photos, "digits": "digits"}

    def study(self, name: str, files: str = "*.json") -> dict[str, Any] | None:
        """Return the first record of a study; None if it was not run."""
        return next(iter(self.evidence.study(name, files)), None)

    def row(self, suite: str, method: str, regime: str = HARD, ipc: int | None = 10) -> dict[str, Any] | None:
        """Return a row of the table, of the students that are ConvNets."""
        place = {"suite": suite, "method": method, "regime": regime, "model": "convnet"}
        fits: Any = self.evidence.rows
        fits = fits[fits["ipc"].isna()] if ipc is None else fits[fits["ipc"] == ipc]
        return Evidence(fits).cell(**place)


def difference(row: dict[str, Any] | None, base: dict[str, Any] | None) -> str | None:
    """Return the verdict on a row of the table beside another, and by how many points; None if one is not there."""
    if row is None or base is None:
        return None
    if row["seeds"] != base["seeds"]:
        return "no verdict, because the seeds are others"
    points, verdict = compared(row, base)
    return f"{verdict}, {interval(*points)} (n = {row['n']})"


def beside(
    found: Found,
    method: str,
    than: str,
    suite: str,
    regimes: Sequence[str] = (HARD, SOFT),
    ipcs: Sequence[int] = (1, 10),
):
    """Return for each number of images a class and label regime a method beside another, where both were run."""
    for ipc in ipcs:
        for regime in regimes:
            row = found.row(suite, method, regime, ipc)
            words = difference(row, found.row(suite, than, regime, ipc))
            if row and words:
                data = suite if row["dataset"] == suite else f"{row['dataset']} (suite {suite})"
                yield f"{data}, IPC {ipc}, {regime_words(regime)}: {words}"


def not_run(why: str) -> str:
    return f"not run, because {why}"


def _or(parts: Iterable[str], command: str) -> str:
    """Return the parts of an answer, or the command that would make its records."""
    return "; ".join(parts) or not_run(f"there are no records: `{command}` makes them")


# --------------------------------------------------------------------------------------------- deep methods

MATCHING = "python benchmarks/spectra_of_methods.py"


def _repetitions(record: dict[str, Any], method: str) -> dict[str, Any]:
    """A row for `compared` of the fine detail of a method's images, in % of their power."""
    rows = [row for row in record["rows"] if row["method"] == method]
    shared = common_teacher([row["teacher"] for row in rows])
    return {"n": len(rows), "values": [100 * row["images"]["high"] for row in rows], "shared": shared}


def detail(found: Found) -> str:
    """Return how much fine detail the images of the deep methods have."""
    if (record := found.study("matching", "photos.json")) is None:
        return _or((), MATCHING)
    names = list(dict.fromkeys(row["method"] for row in record["rows"]))
    of = {name: _repetitions(record, name) for name in names}
    order = sorted(names, key=lambda name: mean(of[name]["values"]))
    shown = dict.fromkeys([order[0], *(name for name in ("random", "lfm", "hfm", "cfm") if name in of), order[-1]])
    words = ", ".join(f"`{name}` {plus_minus(of[name]['values'])}" for name in shown)
    n = min(row["n"] for row in of.values())
    said = f"fine detail in % of an image's power, of {len(names)} methods: {words} (n = {n})"
    if n < ENOUGH or "random" not in of:
        return f"{said}; no verdict"
    sides: dict[str, list[str]] = {"better": [], "worse": []}
    for name in names:
        if name != "random" and of[name]["n"] == of["random"]["n"]:
            sides.setdefault(compared(of[name], of["random"])[1], []).append(f"`{name}`")
    more, less = (", ".join(sides[side]) or "none" for side in ("better", "worse"))
    return f"{said}; more than random real images: {more}; less: {less}"


def _bands(found: Found) -> Any:
    """Lines of `promise.residuals` of the last convolution, as each method sees its images; None without a record."""
    if (record := found.study("matching", "photos.json")) is None:
        return None
    frame = promise.residuals(record)
    layer = [name for name in dict.fromkeys(frame["layer"]) if name != "head"][-1]
    return frame[frame["view"].eq("own") & frame["kind"].eq("filter") & frame["layer"].eq(layer)]


def _side(ratio: promise.Ratio, n: int, more: str, less: str) -> str:
    """The verdict on a ratio, by the rule of `compared`."""
    if n < ENOUGH:
        return "no verdict"
    return more if ratio.low > 1 else less if ratio.high < 1 else "not told apart"


def trained(found: Found) -> str:
    """Return whether low-pass and high-pass still show when the extractor is trained, as the probe sees it."""
    if (frame := _bands(found)) is None:
        return _or((), MATCHING)
    parts, top = [], frame["band"].max()
    for name in ("lfm", "hfm", "cfm"):
        seen = []
        for epochs, words in NETWORK.items():
            lines = frame[frame["method"].eq(name) & frame["epochs"].eq(epochs)]
            low, high = (lines[lines["band"] == band].set_index("seed")["left"] for band in (0, top))
            if len(low):
                ratio = promise.Ratio.of((high / low).tolist())
                seen.append(f"{ratio} at {words} ({_side(ratio, len(low), 'more', 'less')}, n = {len(low)})")
        if seen:
            parts.append(f"`{name}` leaves in the highest band, over the lowest, {', '.join(seen)}")
    return _or(parts, MATCHING)


def implied(found: Found) -> str:
    """Return what methods that match gradients leave in the low band, and trajectories in the high one."""
    if (frame := _bands(found)) is None:
        return _or((), MATCHING)
    noisy = promise.from_noise(cast(dict, found.study("matching", "photos.json")))
    frame, parts = frame[frame["epochs"].eq(0)], []
    for names, band, words in ((("dc", "dsa"), 0, "lowest"), (("mtt", "tesla"), frame["band"].max(), "highest")):
        for name in names:
            if n := frame[frame["method"].eq(name)]["seed"].nunique():
                ratio = promise.left_of(frame, name, int(band))
                side = _side(ratio, n, "more, so no", "less, so yes")
                side = "no verdict, because it begins with noise" if name in noisy else side
                parts.append(
                    f"`{name}` leaves in the {words} band {ratio} of what random images leave ({side}, n = {n})"
                )
    return _or(parts, MATCHING)


def looseness(found: Found) -> str:
    """Return how far above the truth the bounds for DC and MTT lie, from the first epoch on."""
    parts = []
    records = found.evidence.study("bounds")
    for name in ("dc", "mtt") if records else ():
        for steps in (0, 1000):
            values = [
                mean(
                    row[name]["ratio"]
                    for row in record["rows"]
                    if row["epoch"] and row["head_steps"] == steps and row["synthetic"] == "random"
                )
                for record in records
            ]
            head = f"a head of {steps:,} steps" if steps else "a random head"
            parts.append(f"{name.upper()} × {plus_minus(values)} for {head}")
    return _or([f"bound over truth: {', '.join(parts)} (n = {len(records)})"] if parts else [], BOUNDS)


BOUNDS = "python benchmarks/bound_looseness.py"


def kernels(found: Found) -> str:
    """Return what part of a kernel's eigendirection one picture holds."""
    if (record := found.study("kernels", "photos.json")) is None:
        return _or((), "python benchmarks/kernel_pictures.py")
    names = dict.fromkeys(row["kernel"] for row in record["rows"])
    share = {
        name: [100 * mean(row["one_picture"]) for row in record["rows"] if row["kernel"] == name] for name in names
    }
    words = ", ".join(f"{name} {plus_minus(values)}" for name, values in share.items())
    return f"one picture holds of a direction, in %: {words} (n = {len(record['seeds'])})"


# --------------------------------------------------------------------------------------------- students


def schedules(found: Found) -> str:
    """Return CFM beside other curricula: accuracy, and what is left of the filter term after the last round."""
    others = ("constant", "linear", "log", "reverse")
    parts = [f"{o}: {words}" for o in others for words in beside(found, "cfm", f"cfm-{o}", "schedules")]
    told = [f"the cosine beside {'; '.join(parts)}"] if parts else []
    said = _or(told, "make batch SUITE=schedules")
    record = found.study("curriculum", "photos.json")
    if record is None:
        return said
    left = {
        name: mean(layer["filter"][-1] for layer in run["distances"]["distilled"].values())
        for name, run in record["runs"].items()
    }
    words = ", ".join(f"{name} {value:.3f}" for name, value in left.items())
    return f"students: {said}. Left of the filter term at the last β of each schedule: {words} (n = 1, no verdict)"


def one_image(found: Found) -> str:
    """Return CFM beside random real images at one image a class."""
    parts = [words for suite in found.suites for words in beside(found, "cfm", "random", suite, ipcs=[1])]
    return _or([f"CFM beside random real images: {'; '.join(parts)}"] if parts else [], "make batch SUITE=photos")


def terms(found: Found) -> str:
    """Return what matching adds to cross-entropy alone."""
    parts = [
        f"{name.upper()}, {words}"
        for name in ("lfm", "hfm", "cfm")
        for suite in found.suites
        for words in beside(found, name, "classification", suite)
    ]
    return _or([f"beside cross-entropy alone: {'; '.join(parts)}"] if parts else [], "make batch SUITE=photos")


def rivals(found: Found, names: Sequence[str] = ("FreD", "NSD", "NCFM", "WMDD")) -> str:
    """Return CFM beside the methods that reviewers named."""
    parts, gone = [], []
    there = {cls.path() for cls in methods.found()}
    for name in names:
        if name.lower() not in there:
            gone.append(name)
            continue
        words = [words for suite in found.suites for words in beside(found, "cfm", name.lower(), suite)]
        parts.append(f"CFM beside {name}: {'; '.join(words) or not_run('there are no records')}")
    if gone:
        parts.append(f"{', '.join(gone)} ({len(gone)} of {len(names)}): {not_run('the package does not have them')}")
    return "; ".join(parts)


def near_full(found: Found) -> str:
    """Return how far CFM stays below training on all images, both with hard labels."""
    parts = []
    for suite, data in found.suites.items():
        row, full = found.row(suite, "cfm"), found.row(suite, "full", ipc=None)
        if row and full and row["seeds"] == full["seeds"]:
            ends = interval(*paired(full["values"], row["values"]))
            parts.append(f"{data}, IPC 10, hard labels: {ends} points below (n = {row['n']})")
    row, full = found.row("cifar100", "cfm", SOFT), found.row("cifar100", "full", ipc=None)
    if row and full and row["seeds"] == full["seeds"]:
        parts.append(f"CIFAR-100, online soft labels: {interval(*paired(full['values'], row['values']))} points below")
    else:
        parts.append(f"CIFAR-100: {not_run('it needs the data and a GPU: `make batch SUITE=cifar100`')}")
    return f"CFM beside training on all images with hard labels: {'; '.join(parts)}"


def learnt(found: Found) -> str:
    """Return what learnt labels add to CFM; and the methods that learn them beside random real images."""
    beside_what = {
        "cfm-class": "CFM with the teacher's labels",
        "random": "random real images with the teacher's labels",
    }
    own = [
        f"beside {words}: {told}"
        for than, words in beside_what.items()
        for told in beside(found, "cfm-labels", than, "labels", ["fixed-soft"])
    ]
    said = f"CFM that learns its labels, {_or(own, 'make batch SUITE=labels')}"
    names = [cls.path() for cls in methods.found() if cls.labels == "learnt"]
    parts = [
        f"`{name}`, {words}"
        for suite in found.suites
        for name in names
        for words in beside(found, name, "random", suite, ["fixed-soft"])
    ]
    told = f"methods that learn them, beside random real images: {'; '.join(parts)}" if parts else ""
    return "; ".join(filter(None, [said, told]))


# --------------------------------------------------------------------------------------------- what was asked since


def _standing(found: Found, side: str, base: str) -> str:
    """Return for each label regime where a distilled set beat what stands beside it, of all places with a verdict."""
    places: dict[str, list[str]] = {}
    for group in advice.places(found.evidence.rows):
        told = [row for row in advice.distinct(group) if advice.told(row, side)]
        better = [row for row in told if row[side] == "better"]
        best = max(better, key=lambda row: row["mean"], default=None)
        regime, *protocol = group[0]["regime"].rstrip(")").split(" (")
        where = " under ".join([f"{group[0]['dataset']} at IPC {group[0]['ipc']:.0f}", *protocol])
        if told:
            words = f"{where} (`{best['method']}`, {len(better)} of {len(told)})" if best else ""
            places.setdefault(regime, []).append(words)
    parts = [
        f"with {regime_words(regime)} in {sum(map(bool, wheres))} of {len(wheres)}: "
        + (", ".join(filter(None, wheres)) or "none")
        for regime, wheres in places.items()
    ]
    said = f"where a distilled set beats {base}, of the places with a verdict, and how many of the sets there"
    return _or([f"{said}: {'; '.join(parts)}"] if parts else [], "make batch SUITE=digits")


def soft_labels(found: Found) -> str:
    """Return where a distilled set beats random real images, under each label regime."""
    return _standing(found, "ior_side", "random real images")


def coresets(found: Found) -> str:
    """Return where a distilled set beats the best coreset, under each label regime."""
    return _standing(found, "ioc_side", "the best coreset")


def settings(found: Found) -> str:
    """Return how far label regimes move one set, and methods one label regime."""
    rows: Any = found.evidence.rows
    rows = rows[rows["suite"].eq("digits") & rows["ipc"].eq(10)]
    if not len(rows):
        return _or((), "make batch SUITE=digits")
    wide = rows.pivot_table("mean", "method", "regime")
    moved = (wide.max(axis=1) - wide.min(axis=1)).sort_values()
    spread = (wide.max() - wide.min()).items()
    apart = ", ".join(f"{value:.1f} with {regime_words(str(regime))}" for regime, value in spread)
    said = f"digits, IPC 10: the label regime alone moves one set by {moved.iloc[0]:.1f} to {moved.iloc[-1]:.1f} points"
    protocols = (
        ""
        if any(found.evidence.rows["suite"].eq("protocols-digits"))
        else (f"; published protocols: {not_run('`make batch SUITE=protocols-digits` has no records')}")
    )
    return f"{said}; best and worst are {apart} apart (of means, no verdict){protocols}"


def residual(found: Found) -> str:
    """Return real pixels blended back in, FADRM, beside SRe2L and beside RDED, whose patches it begins with."""
    parts = []
    for than, start in (("sre2l", "which begins with noise"), ("rded", "whose patches it begins with")):
        if words := [words for suite in found.suites for words in beside(found, "fadrm", than, suite)]:
            parts.append(f"FADRM beside {methods.find(than).__name__}, {start}: {'; '.join(words)}")
    said = _or(parts, "make batch SUITE=methods")
    return f"{said}. Patches and blending were not varied one at a time" if parts else said


# --------------------------------------------------------------------------------------------- bytes and time


def points(found: Found, suite: str) -> pd.DataFrame:
    """Return a line a set and label regime of a suite: method, role, ipc, regime, bytes, mean, std, n."""
    rows: Any = found.evidence.rows
    rows = rows[rows["suite"].eq(suite) & rows["ipc"].notna() & rows["model"].eq("convnet")]
    of = {(record.method, record.ipc): taken(record) for record in found.records if record.suite == suite}
    sizes = [
        of[m, ipc].get(r) for m, ipc, r in zip(rows["method"], rows["ipc"].astype(int), rows["regime"], strict=True)
    ]
    shown = rows.assign(bytes=sizes)[["method", "role", "ipc", "regime", "bytes", "mean", "std", "n"]]
    return shown.dropna(subset="bytes").reset_index(drop=True)


def budget(found: Found, suite: str) -> pd.DataFrame:
    """Return a line an IPC and label regime: bytes, the accuracy of random real images, and the best mean of all."""
    lines, shown = [], cast(Any, points(found, suite))
    for (ipc, regime), group in shown.groupby(["ipc", "regime"], sort=False):
        best, drawn = group.loc[group["mean"].idxmax()], group[group["role"].eq("baseline")]
        line = {"IPC": int(ipc), "labels": str(regime).replace("-", " "), "bytes": int(group["bytes"].max())}
        line["random (%)"] = f"{drawn['mean'].iloc[0]:.1f} ± {drawn['std'].iloc[0]:.1f}" if len(drawn) else "–"
        lines.append(line | {"highest mean (%)": f"{best['mean']:.1f} ± {best['std']:.1f}, {best['method']}"})
    frame = pd.DataFrame(lines, columns=["IPC", "labels", "bytes", "random (%)", "highest mean (%)"])
    frame = frame.sort_values("bytes", kind="stable")
    return frame.assign(bytes=frame["bytes"].map(size)).set_index(["IPC", "labels"])


def soft_bytes(found: Found) -> str:
    """Return what a teacher costs in bytes, and gives in accuracy to the same images."""
    parts = []
    for suite, data in found.suites.items():
        of = next((r for r in found.records if (r.suite, r.method, r.ipc) == (suite, "random", 10)), None)
        bytes_ = taken(of) if of else {}
        words = difference(found.row(suite, "random", SOFT), found.row(suite, "random", HARD))
        if words and {HARD, SOFT} <= set(bytes_):
            parts.append(
                f"{data}, random real images, IPC 10: {size(bytes_[HARD])} with hard labels and {size(bytes_[SOFT])} "
                f"with the teacher; accuracy with its labels, beside hard ones: {words}"
            )
    return _or(parts, "make batch SUITE=photos")


def cost(found: Found, suite: str) -> pd.DataFrame:
    """Return a line a method: seconds a set and a student at each IPC, and the most memory in bytes; NaN: not recorded.

    Seconds are by the clock; those of a student are over all its label regimes.
    """
    lines = [
        {
            "method": r.method,
            "role": r.role,
            "ipc": r.ipc,
            "set": r.seconds["distill"] / len(r.seeds),
            "student": r.seconds["students"] / len(r.seeds) / len(r.accuracy),
            "memory": float(r.memory) if r.memory else float("nan"),
        }
        for r in found.records
        if r.suite == suite and r.ipc and {"distill", "students"} <= set(r.seconds)
    ]
    columns = ["method", "role", "ipc", "set", "student", "memory"]
    return pd.DataFrame(lines, columns=columns).sort_values("set", kind="stable", ignore_index=True)


def costs(found: Found) -> pd.DataFrame:
    """Return `cost` of all suites for people: seconds a set and a student at IPC 10, and memory."""
    lines = {}
    for suite, data in found.suites.items():
        frame: Any = cost(found, suite)
        for row in frame[frame["ipc"] == 10].itertuples():
            memory = "not recorded" if pd.isna(row.memory) else size(row.memory)
            line = {"a set": duration(row.set) if row.set else "0 s", "a student": duration(row.student)}
            lines[data, row.method] = line | {"memory": memory}
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=["a set", "a student", "memory"])
    return frame.rename_axis(["data", "method"]) if len(frame) else frame


def dear(found: Found) -> str:
    """Return what CFM costs beside the other methods, and a step of it beside a plain pass."""
    parts = []
    for suite, data in found.suites.items():
        frame: Any = cost(found, suite)
        frame = frame[frame["ipc"].eq(10) & frame["role"].eq("method")]
        own = frame[frame["method"] == "cfm"]
        if len(own):
            low, high = frame.iloc[0], frame.iloc[-1]
            parts.append(
                f"{data}, IPC 10: a set of CFM {duration(own['set'].iloc[0])}, of {len(frame)} methods "
                f"`{low['method']}` {duration(low['set'])} to `{high['method']}` {duration(high['set'])}"
            )
    record = found.study("cost", "cpu.json")
    for case in record["cases"][:1] if record else ():
        ratio = case["ratios"]["ours / plain"]
        parts.append(f"a step is × {ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] a plain pass")
    some = [r.memory for r in found.records if r.suite in found.suites]
    if parts:
        parts.append(f"memory: recorded in {sum(map(bool, some))} of {len(some)} records")
    return _or(parts, "make batch SUITE=digits")


# --------------------------------------------------------------------------------------------- the list


class Question(NamedTuple):
    """A question, who asks it, the answer from what was found, and the page (or the part of this one) that shows it."""

    asks: str
    who: str
    answer: Callable[[Found], str]
    page: str
    title: str


REVIEW, READER = "a review of UniDD", "readers"
QUESTIONS = (
    Question(
        "What is the spectral density of each deep method's images?", REVIEW, detail, "09_deep_methods", "Deep methods"
    ),
    Question(
        "Do the filters hold when the extractor is trained too?", REVIEW, trained, "09_deep_methods", "Deep methods"
    ),
    Question(
        "Does matching gradients imply low-pass matching, and trajectories high-pass?",
        *(REVIEW, implied, "09_deep_methods", "Deep methods"),
    ),
    Question("How loose are the bounds?", REVIEW, looseness, "05_bounds", "Bounds"),
    Question("Is a linear kernel enough?", READER, kernels, "06_kernels", "Kernels"),
    Question("What does it cost in time and memory?", REVIEW, dear, "#questions-cost", "below"),
    Question("What of learnt soft labels?", REVIEW, learnt, "12_results", "Results"),
    Question("What do soft labels cost in bytes?", REVIEW, soft_bytes, "#questions-bytes", "below"),
    Question("Which schedule of β is best?", REVIEW, schedules, "08_cfm", "CFM"),
    Question("What of one image a class?", REVIEW, one_image, "12_results", "Results"),
    Question("What do the matching terms add to cross-entropy?", REVIEW, terms, "12_results", "Results"),
    Question("How does it stand beside FreD, NSD, NCFM and WMDD?", REVIEW, rivals, "12_results", "Results"),
    Question("How near does it come to the full set?", REVIEW, near_full, "12_results", "Results"),
    Question(
        "Does any method beat random real images once labels are soft?",
        *("Hard Truths about Soft Labels (arXiv 2604.18811)", soft_labels, "12_results", "Results"),
    ),
    Question(
        "Do distilled sets outperform coresets?",
        *("Do Distilled Sets Outperform Coresets? (arXiv 2606.18209)", coresets, "12_results", "Results"),
    ),
    Question(
        "How much of a gap comes from the evaluation?", "RD3 (arXiv 2509.19743)", settings, "12_results", "Results"
    ),
    Question(
        "Does it help to blend real pixels back in?", "FADRM (arXiv 2506.24125)", residual, "12_results", "Results"
    ),
)


def answers(found: Found) -> pd.DataFrame:
    """Return a line a question: who asks, and the answer."""
    lines = [{"question": q.asks, "who asks": q.who, "answer": q.answer(found), "shown in": q.title} for q in QUESTIONS]
    return pd.DataFrame(lines).set_index("question")


def listed(frame: pd.DataFrame) -> str:
    """Return `answers` as an HTML list: each question with who asks, its answer, and a link to where it is shown."""
    lines = []
    for line, question in zip(frame.to_dict("records"), QUESTIONS, strict=True):
        answer = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(line["answer"]))
        page = question.page if question.page[0] == "#" else f"{question.page}.html"
        where = f'<a href="{page}">{html.escape(question.title)}</a>'
        where = where if question.page[0] == "#" else f"in {where}"
        lines.append(f"<dt>{html.escape(question.asks)} <em>({html.escape(question.who)})</em></dt>")
        lines.append(f"<dd>{answer[:1].upper()}{answer[1:]}. Shown {where}.</dd>")
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"
