"""Outcomes of claims, on records whose differences can be worked out by hand."""

import json

import pytest
from records import record

from unidd.bench import claims
from unidd.bench.claims import Better, Evidence, Holds, Larger, Look, Reaches, Row, Undecided

SEEDS = [0, 1, 2, 3, 4]
BASE = [50.0, 51.0, 52.0, 53.0, 54.0]
SURE = [3.0, 4.0, 3.0, 4.0, 3.0]  # 3.4 ± 0.7: the interval leaves out 0
UNSURE = [9.0, -8.0, 7.0, -9.0, 3.0]


def made(method, gains=(0.0,) * 5, suite="s", seeds=None, **changes):
    seeds = SEEDS if seeds is None else seeds
    values = [base + gain for base, gain in zip(BASE, gains, strict=False)][: len(seeds)]
    cards = [{"hash": f"t{seed}", "accuracy": 90.0} for seed in seeds]
    fields = {"seeds": seeds, "accuracy": {"hard": values}, "teachers": cards, "suite": suite}
    return record(method, 10, **fields | changes)


def evidence(*records, folder=None):
    return Evidence.of(records, *([folder] if folder else []))


CHECK = Better("s", "cfm", "lfm")


@pytest.mark.parametrize(
    ("gains", "seeds", "outcome"),
    [
        (SURE, SEEDS, "reproduced"),
        ([-gain for gain in SURE], SEEDS, "not reproduced"),
        (UNSURE, SEEDS, "not decided"),
        (SURE, SEEDS[:4], "not decided"),
    ],
    ids=["sure", "contrary", "interval", "n"],
)
def test_the_outcome_of_a_comparison(gains, seeds, outcome):
    look = CHECK.look(evidence(made("lfm", seeds=seeds), made("cfm", gains, seeds=seeds)))
    assert look.words == "s: cfm above lfm, hard labels, IPC 10"
    assert look.outcome == outcome
    assert f"(n = {len(seeds)})" in look.number


def test_the_number_of_a_comparison_is_the_paired_difference():
    look = CHECK.look(evidence(made("lfm"), made("cfm", SURE)))
    assert look.number == "+3.4 [+2.7, +4.1] (n = 5)"  # 2.776 · 0.548 / √5 = 0.68


def test_without_one_of_its_records_a_comparison_was_not_run():
    assert CHECK.look(evidence(made("cfm"))) == Look("s: cfm above lfm, hard labels, IPC 10", "not run")
    assert CHECK.look(evidence(made("cfm", SURE), made("lfm", suite="another"))).outcome == "not run"


def test_repetitions_that_share_a_teacher_or_have_other_seeds_decide_nothing():
    card = [{"hash": "one", "accuracy": 90.0}] * 5
    assert CHECK.look(evidence(made("lfm", teachers=card), made("cfm", SURE))).outcome == "not decided"
    assert CHECK.look(evidence(made("lfm", seeds=[5, 6, 7, 8, 9]), made("cfm", SURE))).outcome == "not decided"


def test_several_rows_for_one_check_are_an_error():
    with pytest.raises(ValueError, match="2 rows fit"):
        evidence(made("cfm"), made("cfm", model="resnet18")).cell(suite="s", method="cfm")


@pytest.mark.parametrize(("value", "outcome"), [(51.0, "reproduced"), (53.5, "reproduced"), (54.0, "not reproduced")])
def test_a_published_number_is_reached_unless_the_interval_is_below_it(value, outcome):
    """52 ± 1.58, the interval 50.04 to 53.96."""
    check = Reaches("s", "cfm", value, 10, regime="hard")
    assert check.look(evidence(made("cfm"))).outcome == outcome
    assert check.look(evidence(made("cfm", seeds=SEEDS[:3]))).outcome == "not decided"
    assert check.look(evidence()).outcome == "not run"


def study(folder, files):
    (folder / "sharp").mkdir()
    for name, content in files.items():
        (folder / "sharp" / f"{name}.json").write_text(json.dumps(content))


def larger(**changes):
    def side(name):
        return lambda one: {one["seed"]: one[name]} if name in one else {}

    return Larger("a above b", "sharp", side("a"), side("b"), "photos-*.json", **changes)


def test_the_outcome_of_a_study_is_over_its_records_by_repetition(tmp_path):
    assert larger().look(evidence(folder=tmp_path)) == Look("a above b", "not run")
    found = {f"photos-{seed}": {"seed": seed, "a": 0.2 + 0.01 * (seed % 2), "b": 0.1} for seed in SEEDS}
    study(tmp_path, found | {"digits-0": {"seed": 9, "a": 0.0, "b": 1.0}, "photos-7": {"seed": 7, "a": 0.0}})
    seen = evidence(folder=tmp_path)
    assert larger().look(seen).outcome == "reproduced"
    assert larger().look(seen).number.startswith("+0.104 [+0.097, +0.111] (n = 5)")
    assert larger(shared="a teacher").look(seen).outcome == "not decided"
    (tmp_path / "sharp" / "photos-4.json").unlink()
    assert larger().look(evidence(folder=tmp_path)).outcome == "not decided"


def test_the_first_folder_that_has_a_study_counts(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    study(tmp_path / "two", {"photos-0": {"seed": 0}})
    assert Evidence.of([], tmp_path / "one", tmp_path / "two").study("sharp") == [{"seed": 0}]


def row(*checks, **changes):
    return Row("Figure 9", "something", "it is so", "C", "make batch SUITE=s", "photos", checks, **changes)


YES, NO, OPEN, NOT_RUN = (
    Holds(name, lambda _: True) if name == "yes" else Holds(name, lambda _: False) if name == "no" else CHECK
    for name in ("yes", "no", "open", "not run")
)


@pytest.mark.parametrize(
    ("checks", "outcome"),
    [
        ((YES, YES), "reproduced"),
        ((YES, NO), "mixed"),
        ((YES, NO, NOT_RUN), "mixed"),
        ((YES, NOT_RUN), "reproduced in part"),
        ((NO, NOT_RUN), "not reproduced"),
        ((NOT_RUN,), "not run"),
        ((), "not known to us"),
    ],
)
def test_the_outcome_of_a_row(checks, outcome):
    assert row(*checks).outcome(evidence()) == outcome


def test_a_row_whose_checks_decide_nothing_is_not_decided():
    seen = evidence(made("lfm"), made("cfm", UNSURE))
    assert row(CHECK).outcome(seen) == "not decided"
    assert row(CHECK, NO).outcome(seen) == "not reproduced"
    assert row(CHECK, YES).outcome(seen) == "reproduced in part"
    assert row(CHECK, YES, NO, Better("t", "cfm", "lfm")).counted(seen) == (
        "reproduced 1, not decided 1, not reproduced 1, not run 1"
    )


def test_sentences_say_the_command_of_what_was_not_run():
    assert claims.sentence(row(CHECK), evidence()) == (
        "**Figure 9** (something): not run. `make batch SUITE=s` makes the records (photos)."
    )
    assert claims.sentence(row(CHECK, YES), evidence()) == (
        "**Figure 9** (something): reproduced in part. Of 2 checks 1 have records; `make batch SUITE=s` makes the rest."
    )
    assert "nothing to check" in claims.sentence(row(), evidence())


def test_what_was_not_run_says_its_hours_by_count_where_they_are_known(tmp_path):
    record = {"suite": "s", "command": "make batch SUITE=s", "device": {"name": "one H100"}, "seconds": 7200.0}
    record["jobs"] = {"a": 30.0, "b": 5400.0}
    (tmp_path / "hours").mkdir()
    (tmp_path / "hours" / "s.json").write_text(json.dumps(record))
    seen = evidence(folder=tmp_path)
    assert claims.sentence(row(CHECK), seen).endswith("(photos; by count 2 h 0 min of one H100).")
    assert claims.hours("make batch SUITE=t", seen) == ""
    line = claims.not_run(seen, []).loc["s"].to_dict()
    assert line == {"jobs": 2, "longest job": "1 h 30 min", "in all": "2 h 0 min", "command": "make batch SUITE=s"}
    assert claims.not_run(seen, ["s"]).empty


def test_a_count_stands_beside_what_a_device_took():
    table = claims.beside({"a pass": {"took": 0.004, "count": 0.006}})
    assert table.loc["a pass"].to_dict() == {"took": "4 ms", "count": "6 ms", "count / took": "1.5"}


def test_tables_have_a_line_a_row_and_a_line_a_check_that_has_records():
    seen = evidence(made("lfm"), made("cfm", SURE))
    shown = claims.overview([row(CHECK), row()], seen)
    assert shown["outcome here"].tolist() == ["reproduced", "not known to us"]
    assert shown["checks"].tolist() == ["reproduced 1", "–"]
    lines = claims.details(row(CHECK, Better("t", "cfm", "lfm")), seen)
    assert lines["outcome"].tolist() == ["reproduced"]


def test_what_records_cannot_decide_is_not_run_without_them(tmp_path):
    claim = Undecided("w", "s", "why")
    assert claim.look(evidence()) == Look("w", "not run")
    assert claim.look(evidence(made("dc"))) == Look("w", "not decided", "why")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "photos.json").write_text("{}")
    assert claim.look(evidence(folder=tmp_path)).outcome == "not decided"
