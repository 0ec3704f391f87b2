"""A record that someone contributes, and the set it is about: do they agree, and does one more student bear it out?"""

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.special import stdtrit

from .. import methods
from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from ..networks.evaluation import check_fits
from ..networks.training import Teacher
from .cell import BUDGETS, as_made, evaluate, student_on
from .records import Record, published, stored_bytes
from .schema import read

ALONE = 5.0  # points to either side that are allowed where a single repetition has no spread
LEAST = 1.0  # and that are allowed anyway: machines round otherwise


@dataclass(frozen=True)
class Claim:
    """What a record says of one label regime, and what one more student reaches, both in %.

    Attributes:
        low, high: what is expected of that student, see `expected`.
    """

    regime: str
    values: list[float]
    low: float
    high: float
    reached: float

    @property
    def holds(self) -> bool:
        return self.low <= self.reached <= self.high

    def __str__(self) -> str:
        n = len(self.values)
        said = f"{mean(self.values):.1f}" + (f" ± {stdev(self.values):.1f}" if n > 1 else "")
        how = "the 95 % prediction interval" if n > 1 else f"± {ALONE:g} points, as one repetition has no spread"
        side = "within" if self.holds else "outside"
        return (
            f"accuracy.{self.regime}: one more student reaches {self.reached:.1f} %, {side} {self.low:.1f} … "
            f"{self.high:.1f} % ({how}); the record says {said} % (n = {n})"
        )


def expected(values: list[float]) -> tuple[float, float]:
    """Return where one more repetition is expected: the 95 % prediction interval of Student's t, mean ± t s √(1 + 1/n).

    It reaches a point to either side at least, of a single value five, and lies within 0 … 100 %. Where repetitions
    differ much it is wide: it refuses what cannot be, and proves no claim.

    >>> [round(end, 2) for end in expected([60.0, 62.0, 64.0])]
    [52.06, 71.94]
    """
    n = len(values)
    reach = ALONE if n < 2 else float(stdtrit(n - 1, 0.975)) * stdev(values) * (1 + 1 / n) ** 0.5
    reach = max(reach, LEAST)
    return max(0.0, mean(values) - reach), min(100.0, mean(values) + reach)


def of_folder(folder: Path) -> Record:
    """Return the record that lies beside a set: the one JSON file but for its card.

    Raises:
        ValueError: there is none, or there are several, or it has a fault: the message names all of them.
    """
    found = sorted(path for path in folder.glob("*.json") if path.name != "card.json")
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"{folder} must have one record beside the set's card.json, as record.json, not {names}")
    return Record(**read(found[0]))


def disagreements(
    record: Record, synthetic: SyntheticSet, data: ImageData, teacher: Teacher | None = None
) -> list[str]:
    """Return where a contributed record and its set do not agree: a sentence each, which begins with the field.

    Args:
        data: the real images.
        teacher: of soft labels; its bytes are counted only if it is there.
    Raises:
        ValueError: the set is not of these data.
    """
    check_fits(synthetic, as_made(synthetic, data))
    found = _about(record, synthetic, data)
    counted = stored_bytes(synthetic.images, data.classes, teacher.model if teacher else None)
    if "images" not in record.bytes:
        found.append("bytes.images is missing: unidd evaluate --record counts it")
    for name, number in counted.items():
        if name in record.bytes and record.bytes[name] != number:
            found.append(f"bytes.{name} must be {number}, which the set takes, not {record.bytes[name]}")
    return found + _students(record, synthetic, data)


def _about(record: Record, synthetic: SyntheticSet, data: ImageData) -> list[str]:
    """What names, numbers of images, role and origin are not those of the set."""
    of, said = synthetic.config.get("data", {}), record.provenance.get("contributed")
    ipc = synthetic.ipc if len(synthetic) < len(data.train) else record.ipc
    pairs = {
        "dataset": (data.name, record.dataset),
        "method": (synthetic.config.get("method", record.method), record.method),
        "role": (methods.role(record.method, record.role), record.role),
        "ipc": (ipc, record.ipc),
    }
    found = [
        f"{name} must be {ours!r}, as of the set, not {theirs!r}"
        for name, (ours, theirs) in pairs.items()
        if ours != theirs
    ]
    if of.get("fingerprint", data.fingerprint) != data.fingerprint:
        found.append(f"dataset: the set was not made from these images of {data.name}")
    if record.suite in ("local", *(folder.name for folder in published().iterdir())):
        found.append(f"suite must be a name of your own, not {record.suite!r}: records of one suite are compared")
    if said is None:
        found.append("provenance.contributed is missing: by whom, url and sha256 of the set, how to cite it")
    elif said["sha256"] != synthetic.sha256:
        found.append(f"provenance.contributed.sha256 must be {synthetic.sha256}, that of the set, not {said['sha256']}")
    return found


def _students(record: Record, synthetic: SyntheticSet, data: ImageData) -> list[str]:
    """What the record says of its students that is not so under its budget and protocol."""
    budget, said = record.budget, record.config.get("student")
    if budget not in BUDGETS:
        return [f"config.budget must be one of {', '.join(BUDGETS)}, not {budget!r}"]
    if not isinstance(said, dict):
        return ["config.student is missing: how students were trained"]
    trained = asdict(student_on(synthetic, data, record.model, budget, record.protocol or "unidd"))
    learnt = {"lr"} if "rates" in record.config else set()  # each repetition has its own
    return [
        f"config.student.{name} must be {value!r}, as under the budget {budget!r}, not {said.get(name)!r}"
        for name, value in trained.items()
        if name not in learnt and said.get(name) != value
    ]


def borne_out(
    record: Record,
    synthetic: SyntheticSet,
    data: ImageData,
    seed: int | None = None,
    teacher: Teacher | None = None,
    **options: Any,
) -> list[Claim]:
    """Train one more student under each label regime of a record, as it says, and return what it claims and reaches.

    Args:
        seed: of the student; by default one that the record does not have.
        teacher: of soft labels; by default that of the set's card.
    Raises:
        ValueError: see `unidd.evaluate`.
    """
    seed = max(record.seeds) + 1 if seed is None else seed
    how: dict[str, Any] = {"model": record.model, "budget": record.budget, "teacher": teacher, **options}
    how |= {"protocol": record.protocol or "unidd", "regimes": list(record.accuracy), "seeds": [seed]}
    reached = evaluate(synthetic, data, **how)
    return [Claim(regime, said, *expected(said), reached[regime][0]) for regime, said in record.accuracy.items()]
