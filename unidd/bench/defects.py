"""What defects of UniDD's released code change, from the records of `benchmarks/released_defects.py`.

An effect is accuracy with the defect less accuracy without, in points, paired by repetition; its verdict is that of
`unidd.bench.tables.compared`.
"""

from statistics import stdev
from typing import Any, NamedTuple

import pandas as pd

from .tables import common_teacher, compared
from .words import interval, plus_minus

STUDY = "defects"
COMMAND = "python benchmarks/released_defects.py"
TINY = f"{COMMAND} --tiny FOLDER"
_WORDS = {"better": "raises", "worse": "lowers"}
OF = {"random": "random real images", "cfm": "CFM"}
QUANTITIES = {
    "between": "between classes (%)",
    "missing": "of that missing (%)",
    "distance": "distance of the two Ψ (%)",
    "released, within": "within batches, from the released (%)",
    "released, all": "over all images, from the released (%)",
}
_REASON = "needs Tiny-ImageNet and the released statistics, which do not come with the package"


class Defect(NamedTuple):
    """A defect, and the measurements with it and without.

    Attributes:
        name, does: what is wrong, and what the released code does.
        pairs: of sets: which → (measured, value) with the defect, and without it.
        shared: what repetitions share through the defect, where each should have its own.
        verdict: what is so by its nature, where there is nothing to test.
    """

    name: str
    does: str
    pairs: dict[str, tuple[tuple[str, str], tuple[str, str]]]
    shared: str = ""
    verdict: str = ""


def _of_both(change: str, value: str = "last") -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """Pairs of random real images and of CFM: a measurement of another name, or another value of the same."""
    return {name: ((name + change, value), (name, "last")) for name in ("random", "cfm")}


DEFECTS = (
    Defect(
        "best over epochs",
        "reports the best test accuracy of the last fifth of the epochs",
        _of_both("", "best"),
        verdict="cannot lower",
    ),
    Defect(
        "wrong mean and std",
        "tests CIFAR-100 with ImageNet's; here the data's own, moved as far",
        _of_both("", "moved"),
    ),
    Defect("ImageNet's mean and std", "the same; here ImageNet's themselves", _of_both("", "imagenet")),
    Defect("no moving update", "EMU is off by default", {"cfm": (("cfm, no EMU", "last"), ("cfm", "last"))}),
    Defect(
        "covariance within batches",
        "takes Ψ within batches of 256 in file order",
        {"cfm": (("cfm, within", "last"), ("cfm", "last"))},
    ),
    Defect(
        "larger crops", "students crop to (0.5, 1) of the area on some data, to (0.08, 1) on others", _of_both(", crop")
    ),
    Defect(
        "start in file order",
        "begins with the first images of each class, whatever the seed",
        _of_both(", first"),
        "the starting images",
    ),
)


def _values(record: dict[str, Any], place: tuple[str, str]) -> dict[int, float]:
    """Seed → value, of the repetitions that have it."""
    name, value = place
    return {
        row["seed"]: row["measured"][name][value] for row in record["rows"] if value in row["measured"].get(name, {})
    }


def effect(record: dict[str, Any], defect: Defect, of: str) -> tuple[tuple[float, float, float], str, int] | None:
    """Return what a defect adds to the accuracy of one of its sets, in points.

    Args:
        of: "random" or "cfm".
    Returns:
        Mean and both ends of its 95 % interval; "raises", "lowers", "not told apart", "no verdict" or what is so by the
        defect's nature; n. None if it was not run.
    """
    if of not in defect.pairs:
        return None
    its, base = (_values(record, place) for place in defect.pairs[of])
    seeds = [seed for seed in its if seed in base]
    if not seeds:
        return None
    taught = [row["teacher"] for row in record["rows"] if row["seed"] in seeds]
    shared = defect.shared or common_teacher(taught)
    sides = [{"values": [side[seed] for seed in seeds], "n": len(seeds), "shared": shared} for side in (its, base)]
    found, verdict = compared(*sides)
    return found, defect.verdict or _WORDS.get(verdict, verdict), len(seeds)


def table(record: dict[str, Any] | None) -> pd.DataFrame:
    """Return a line a defect: what the released code does, and the effect on random real images and on CFM.

    Args:
        record: None if the study was not run.
    """
    lines = []
    for defect in DEFECTS:
        line = {"defect": defect.name, "the released code": defect.does}
        for of, words in OF.items():
            found = effect(record, defect, of) if record else None
            none = "–" if of not in defect.pairs else "not run"
            line[f"{words}, points [95 %]"] = _in_words(found) if found else none
        lines.append(line)
    return pd.DataFrame(lines).set_index("defect")


def _in_words(found: tuple[tuple[float, float, float], str, int]) -> str:
    difference, verdict, n = found
    return f"{interval(*difference)}, {verdict} (n = {n})"


def sentences(record: dict[str, Any] | None) -> list[str]:
    """Return what each defect does to accuracy in words; one sentence alone if the study was not run."""
    if record is None:
        return [f"Not run, because no record came with the package: `{COMMAND}` makes it."]
    said = []
    for defect in DEFECTS:
        found = {OF[of]: effect(record, defect, of) for of in defect.pairs}
        parts = [
            f"{of}: {_in_words(one)}" if one else f"{of}: not run, because there are no repetitions of it: `{COMMAND}`"
            for of, one in found.items()
        ]
        why = f"; no verdict, because repetitions share {defect.shared}" * bool(defect.shared)
        said.append(f"**{defect.name}** ({defect.does}): {'; '.join(parts)}{why}.")
    return said


def spreads(record: dict[str, Any] | None) -> str:
    """Return how far repetitions are apart that start at random, and that all start in file order."""
    if record is None:
        return "Not run, because no record came with the package."
    parts = []
    for of, words in OF.items():
        both = [list(_values(record, (name, "last")).values()) for name in (of, f"{of}, first")]
        if min(map(len, both)) > 1:
            drawn, first = (stdev(values) for values in both)
            parts.append(f"{words} {drawn:.1f} points from random starts, {first:.1f} from one (n = {len(both[0])})")
    return f"Standard deviation over repetitions: {'; '.join(parts)}." if parts else "Not run, because n is below 2."


def statistics(record: dict[str, Any] | None, tiny: dict[str, Any] | None) -> pd.DataFrame:
    """Return for each layer what a covariance within batches misses, on photographs and on Tiny-ImageNet.

    Columns: data, layer, between classes (share of the variance, %), of that missing (%), distance of the two
    covariances (relative, Frobenius, %), and how far each is from the released one (%). Mean ± standard deviation over
    the networks.
    """
    lines = []
    for found in filter(None, (record, tiny)):
        rows = [row["layers"] for row in found.get("rows", [found]) if "layers" in row]
        for number, layer in enumerate(rows[0] if rows else (), 1):
            line = {"data": found["dataset"], "input of": f"convolution {number}"}
            for name, words in QUANTITIES.items():
                values = [100 * row[layer][name] for row in rows if name in row[layer]]
                line[words] = plus_minus(values) if values else "–"
            lines.append(line)
    return pd.DataFrame(lines, columns=["data", "input of", *QUANTITIES.values()]).set_index(["data", "input of"])


def counted(tiny: dict[str, Any] | None) -> str:
    """Return by which way of counting the released statistics of Tiny-ImageNet are met."""
    if tiny is None:
        return f"The released statistics of Tiny-ImageNet: not run, because it {_REASON}; `{TINY}` does."
    layers, settings = tiny["layers"].values(), tiny["settings"]
    within, whole = ([100 * of[f"released, {way}"] for of in layers] for way in ("within", "all"))
    nearer = sum(a < b for a, b in zip(within, whole, strict=True))
    return (
        f"The released statistics of Tiny-ImageNet, by {settings['within']:,} images of every tenth batch and "
        f"{settings['images']:,} of all: counted within batches ours are {min(within):.1f} to {max(within):.1f} % off, "
        f"over all images {min(whole):.1f} to {max(whole):.1f} %; within batches is nearer in {nearer} of "
        f"{len(within)} layers (one network, part of the images, no verdict)."
    )
