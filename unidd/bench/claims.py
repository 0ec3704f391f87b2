"""What was claimed, and what records say of it: an outcome is worked out, never typed.

A row is a figure or table with its claim, the command that makes the records, and checks. A check looks at records of a
suite or a study; the outcomes of its checks make that of the row.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pandas as pd

from .machine import duration
from .records import Record
from .tables import ENOUGH, compared, paired, table
from .words import regime_words, signed

REPRODUCED, PARTLY, MIXED = "reproduced", "reproduced in part", "mixed"
OPEN, REFUTED, NOT_RUN, UNKNOWN = "not decided", "not reproduced", "not run", "not known to us"
OUTCOMES = (REPRODUCED, PARTLY, MIXED, OPEN, REFUTED, NOT_RUN, UNKNOWN)
_OF = {"better": REPRODUCED, "worse": REFUTED}  # a verdict of `compared`; any other decides nothing


class Look(NamedTuple):
    """What a check saw: its claim in words, its outcome, and the number that decides; "" if there is none."""

    words: str
    outcome: str
    number: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that checks may look at.

    Args:
        rows: from `unidd.bench.tables.table`.
        folders: of studies, each <folder>/<study>/*.json; the first that has a study counts.
    """

    rows: pd.DataFrame
    folders: tuple[Path, ...] = ()

    @staticmethod
    def of(records: Sequence[Record], *folders: Path) -> "Evidence":
        return Evidence(table(list(records)), folders)

    def study(self, name: str, files: str = "*.json") -> list[dict[str, Any]]:
        """Return the records of a study whose file names fit a pattern, in their order; none if it was not run."""
        found = (sorted((folder / name).glob(files)) for folder in self.folders)
        return [json.loads(path.read_text()) for path in next(filter(None, found), [])]

    def cell(self, **place: Any) -> dict[str, Any] | None:
        """Return the one row with these values, such as suite, method, regime, ipc and model; None if it is not there.

        Raises:
            ValueError: there are several.
        """
        fits: Any = self.rows
        for column, value in place.items():
            fits = fits[fits[column] == value]
        if len(fits) > 1:
            raise ValueError(f"{len(fits)} rows fit {place}: say more")
        return fits.to_dict("records")[0] if len(fits) else None


class Check(Protocol):
    """Something that may be looked up in evidence."""

    def look(self, evidence: Evidence) -> Look:
        """Return what the evidence says."""
        ...


@dataclass(frozen=True)
class Better:
    """The claim that students of one method's sets are better than those of another's, in one suite.

    Args:
        method, than: names in the records.
        model: architecture of the students.
    """

    suite: str
    method: str
    than: str
    regime: str = "hard"
    ipc: int = 10
    model: str = "convnet"

    def look(self, evidence: Evidence) -> Look:
        """Return the verdict of `unidd.bench.tables.compared`."""
        place = {"suite": self.suite, "regime": self.regime, "ipc": self.ipc, "model": self.model}
        other = "" if self.model == "convnet" else f" on {self.model}"
        words = f"{self.method} above {self.than}, {regime_words(self.regime)}, IPC {self.ipc}{other}"
        row, base = (evidence.cell(method=method, **place) for method in (self.method, self.than))
        return _compared(f"{self.suite}: {words}", row, base)


@dataclass(frozen=True)
class Reaches:
    """The claim that a method reaches a published accuracy, in %: our 95 % interval is not all below it."""

    suite: str
    method: str
    value: float
    ipc: int
    regime: str = "online-soft"

    def look(self, evidence: Evidence) -> Look:
        """Return whether it does; below `ENOUGH` repetitions nothing is decided."""
        words = f"{self.suite}: {self.method} reaches {self.value} %, IPC {self.ipc}"
        row = evidence.cell(suite=self.suite, method=self.method, regime=self.regime, ipc=self.ipc)
        if row is None:
            return Look(words, NOT_RUN)
        middle, low, high = paired(row["values"], [self.value] * row["n"])
        outcome = OPEN if row["n"] < ENOUGH or row["shared"] else REPRODUCED if high >= 0 else REFUTED
        return Look(words, outcome, _number((middle, low, high), row["n"]))


@dataclass(frozen=True)
class Larger:
    """The claim that one measured quantity of a study is larger than another, repetition by repetition.

    Args:
        words: the claim.
        study, files: its name, and a pattern of file names.
        more, less: a study's record → repetition → value.
        shared: what the repetitions have in common, where each should have its own; then there is no verdict.
    """

    words: str
    study: str
    more: Callable[[dict], Mapping[Any, float]]
    less: Callable[[dict], Mapping[Any, float]]
    files: str = "*.json"
    shared: str = ""

    def look(self, evidence: Evidence) -> Look:
        """Return the verdict of `unidd.bench.tables.compared` on all repetitions that have both."""
        more: dict[Any, float] = {}
        less: dict[Any, float] = {}
        for record in evidence.study(self.study, self.files):
            more.update(self.more(record))
            less.update(self.less(record))
        both = [key for key in more if key in less]
        if not both:
            return Look(self.words, NOT_RUN)
        about = {"n": len(both), "shared": self.shared}
        sides = [{**about, "values": [side[key] for key in both]} for side in (more, less)]
        return _compared(self.words, *sides, digits=3)


@dataclass(frozen=True)
class Holds:
    """A claim that is true or false of a record, or of a formula: no repetitions are needed.

    Args:
        true: says whether it is, or None where there is no record.
    """

    words: str
    true: Callable[[Evidence], bool | None]

    def look(self, evidence: Evidence) -> Look:
        """Return what it says."""
        return Look(self.words, {True: REPRODUCED, False: REFUTED, None: NOT_RUN}[self.true(evidence)])


@dataclass(frozen=True)
class Undecided:
    """A claim that the records of a study or suite cannot decide.

    Args:
        of: its name.
        why: in words.
    """

    words: str
    of: str
    why: str

    def look(self, evidence: Evidence) -> Look:
        """Return that nothing is decided, and why, where the study or suite was run."""
        there = evidence.study(self.of) or self.of in set(evidence.rows["suite"])
        return Look(self.words, OPEN, self.why) if there else Look(self.words, NOT_RUN)


def _compared(words: str, row: dict | None, base: dict | None, digits: int = 1) -> Look:
    if row is None or base is None:
        return Look(words, NOT_RUN)
    if row.get("seeds") != base.get("seeds"):
        return Look(words, OPEN, "other seeds")
    difference, verdict = compared(row, base)
    return Look(words, _OF.get(verdict, OPEN), _number(difference, row["n"], digits))


def _number(difference: tuple[float, float, float], n: int, digits: int = 1) -> str:
    middle, low, high = (signed(value, digits) for value in difference)
    return f"{middle} (n = {n})" if n < 2 else f"{middle} [{low}, {high}] (n = {n})"


@dataclass(frozen=True)
class Row:
    """A figure, a table or the algorithm of the paper, or a question that it leaves open.

    Attributes:
        place: such as "Figure 3".
        shows: what it is, in words of ours.
        claim: what it says.
        grade: of our source for that: "A", "B" or "C", see `GRADES`; "–" where nothing is claimed.
        command: what makes its records; several are joined by &&.
        here: the budget that it is run at here.
        checks: what decides; none where nothing is known that could be checked.
        counts: how many figures or tables of the paper the row stands for.
    """

    place: str
    shows: str
    claim: str
    grade: str
    command: str
    here: str
    checks: tuple[Check, ...] = ()
    counts: int = 1

    def looks(self, evidence: Evidence) -> list[Look]:
        """Return what each check saw."""
        return [check.look(evidence) for check in self.checks]

    def outcome(self, evidence: Evidence) -> str:
        """Return one of `OUTCOMES`.

        "reproduced" if all checks are; "mixed" if some are and others say the contrary; "reproduced in part" if some
        are and the others decide nothing or were not run. Else "not reproduced" if a check says the contrary, or "not
        decided": too few repetitions, or an interval that holds 0. "not run" if no check has records.
        """
        if not self.checks:
            return UNKNOWN
        found = Counter(look.outcome for look in self.looks(evidence))
        if found[NOT_RUN] == len(self.checks):
            return NOT_RUN
        if found[REPRODUCED] == len(self.checks):
            return REPRODUCED
        if found[REPRODUCED]:
            return MIXED if found[REFUTED] else PARTLY
        return REFUTED if found[REFUTED] else OPEN

    def counted(self, evidence: Evidence) -> str:
        """Return how many checks came out how, such as "reproduced 1, not decided 3, not run 2"."""
        found = Counter(look.outcome for look in self.looks(evidence))
        return ", ".join(f"{outcome} {found[outcome]}" for outcome in OUTCOMES if found[outcome])


def overview(rows: Sequence[Row], evidence: Evidence) -> pd.DataFrame:
    """Return a line a row: its place, the outcome and the checks, what it is and claims, grade, budget and command."""
    lines = [
        {
            "in the paper": row.place,
            "outcome here": row.outcome(evidence),
            "checks": row.counted(evidence) or "–",
            "what it is": row.shows,
            "claim": row.claim,
            "grade": row.grade,
            "budget here": row.here,
            "command": row.command,
        }
        for row in rows
    ]
    return pd.DataFrame(lines).set_index("in the paper")


def details(row: Row, evidence: Evidence) -> pd.DataFrame:
    """Return a line for each check of a row that has records: claim, outcome, difference and its interval."""
    looks = [look for look in row.looks(evidence) if look.outcome != NOT_RUN]
    return pd.DataFrame([look._asdict() for look in looks], columns=Look._fields).rename(
        columns={"words": "claim", "number": "difference [95 %]"}
    )


def sentence(row: Row, evidence: Evidence) -> str:
    """Return in words what came of a row, and how to run what was not."""
    outcome, name = row.outcome(evidence), f"**{row.place[0].upper()}{row.place[1:]}**"
    if outcome == UNKNOWN:
        return f"{name}: what they claim is not known to us, so there is nothing to check."
    if outcome == NOT_RUN:
        about = "; ".join(filter(None, (row.here, hours(row.command, evidence))))
        return f"{name} ({row.shows}): not run. `{row.command}` makes the records ({about})."
    looks = row.looks(evidence)
    ran = sum(look.outcome != NOT_RUN for look in looks)
    some = f"; `{row.command}` makes the rest" if ran < len(looks) else ""
    return f"{name} ({row.shows}): {outcome}. Of {len(looks)} checks {ran} have records{some}."


def hours(command: str, evidence: Evidence) -> str:
    """Return how long a command would take a device that is not at hand, as the study of hours counted; else ""."""
    found = [record for record in evidence.study("hours") if record["command"] == command]
    return f"by count {duration(found[0]['seconds'])} of {found[0]['device']['name']}" if found else ""


def beside(times: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Return a line for each time of a record of benchmarks/count.py: what a device took, the count, their ratio."""
    lines = {
        what: {
            "took": duration(time["took"]),
            "count": duration(time["count"]),
            "count / took": f"{time['count'] / time['took']:.1f}",
        }
        for what, time in times.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index")


def not_run(evidence: Evidence, published: Collection[str]) -> pd.DataFrame:
    """Return a line a suite of the study of hours: its jobs, how long the longest and all of them take, its command.

    Args:
        published: suites that have records, which are left out.
    """
    lines = []
    for record in sorted(evidence.study("hours"), key=lambda record: record["seconds"]):
        if record["suite"] not in published:
            jobs = record["jobs"].values()
            times = {"jobs": len(jobs), "longest job": duration(max(jobs)), "in all": duration(record["seconds"])}
            lines.append({"suite": record["suite"], **times, "command": record["command"]})
    return pd.DataFrame(lines, columns=None if lines else ["suite"]).set_index("suite")
