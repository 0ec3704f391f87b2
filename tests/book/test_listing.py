"""Records as rows of one table: numbers of the tables, bytes by hand, cards, and what is refused."""

import json
import statistics
from pathlib import Path

import pandas as pd
import pytest
from records import put, read_page, record, suite
from traitlets import TraitError

from unidd.bench.records import load_records, published
from unidd.bench.tables import table
from unidd.book import widgets
from unidd.book.listing import PAGE, card, limits, listing, looks, shown
from unidd.book.widgets import COLUMNS, ResultsTable

RECORDS = suite()
CHAPTER = Path(__file__).resolve().parents[2] / "notebooks" / "13_table.py"


def rows_by(found):
    return {(row["method"], row["ipc"], row["regime"]): row for row in found["rows"]}


def test_every_row_has_the_numbers_of_its_record():
    rows = rows_by(listing(RECORDS))
    assert len(rows) == sum(len(one.accuracy) for one in RECORDS)
    for one in RECORDS:
        for regime, values in one.accuracy.items():
            row = rows[one.method, one.ipc, regime.replace("-", " ")]
            assert row["mean"] == pytest.approx(statistics.mean(values), abs=0.051)
            assert row["std"] == pytest.approx(statistics.stdev(values), abs=0.051)
            assert (row["values"], row["n"], row["role"]) == (values, 5, one.role)
            assert row["seconds"] == 0.68


def test_gains_and_verdicts_are_those_of_the_tables():
    rows = rows_by(listing(RECORDS))
    for line in table(RECORDS).to_dict("records"):
        ipc = None if pd.isna(line["ipc"]) else int(line["ipc"])
        row = rows[line["method"], ipc, line["regime"].replace("-", " ")]
        assert row["side"] == line["ior_side"]
        for name, of in (("gain", "ior"), ("low", "ior_low"), ("high", "ior_high")):
            assert row[name] is None if pd.isna(line[of]) else row[name] == pytest.approx(line[of], abs=0.051)
    sides = {name: rows[name, 10, "hard"]["side"] for name in ("random", "cfm", "lfm", "mine")}
    assert sides == {"random": "", "cfm": "better", "lfm": "worse", "mine": "not told apart"}


def test_keys_are_unique_also_where_suites_and_students_share_a_method():
    more = [record(suite="other"), record(suite="other", model="resnet18"), record(config={"protocol": "dsa"})]
    rows = listing([*RECORDS, *more])["rows"]
    assert len({row["key"] for row in rows}) == len(rows)
    assert {row["regime"] for row in rows} == {"hard", "online soft", "hard (dsa)", "online soft (dsa)"}
    cards = listing([*RECORDS, *more])["cards"]
    protocols = {row["regime"]: dict(cards[row["card"]])["Protocol"] for row in rows}
    assert (protocols["hard"], protocols["hard (dsa)"]) == ("unidd", "dsa")


def test_bytes_of_a_row_are_of_images_and_its_labels(digits):
    fixed = record(
        dataset="digits", ipc=2, accuracy={"hard": [1.0], "fixed-soft": [2.0], "online-soft": [3.0]}, seeds=[0]
    )
    taken = {row["regime"]: row["bytes"] for row in listing([fixed], {"digits": digits})["rows"]}
    assert taken == {"hard": 1280 + 20, "fixed soft": 1280 + 800, "online soft": None}, "no teacher of known size"
    assert {row["bytes"] for row in listing([fixed])["rows"]} == {None}


def test_a_card_says_what_its_record_does_and_no_more():
    by = {"by": "A. Name", "url": "https://example.org", "sha256": "0" * 64, "cite": "doi:1"}
    student = {"epochs": 200, "batch": 50, "optimizer": "adamw", "lr": 0.001}
    config = {"budget": "embedded", "student": student, "method": {"beta": 0.1, "lr": None}}
    of = dict(card(record(config=config, provenance={"device": "cpu (x)", "torch": "2.15.0", "contributed": by})))
    assert of["Students"] == "convnet, epochs 200, batch 50, by adamw, rate 0.001"
    assert of["Settings"] == "beta 0.1, lr none"
    assert of["Teachers"] == "3, 91.2 % of the test images"
    assert (of["Contributed by"], of["Set"], of["Cite"]) == ("A. Name", "https://example.org", "doi:1")
    assert (of["Budget"], of["Versions"], of["Device"]) == ("embedded", "torch 2.15.0", "cpu (x)")
    assert "Cite" not in dict(card(record()))


def test_of_a_method_that_is_known_the_page_says_what_it_is():
    known = listing(RECORDS)["methods"]
    assert set(known) == {"random", "herding", "cfm", "lfm", "full"}, "mine is of another code"
    assert known["cfm"]["label"] == "CFM"
    assert known["cfm"]["page"] == f"{PAGE}#unidd.methods.cfm.CFM"
    assert known["cfm"]["source"].startswith("Bo, Liu & Wang")


def test_spectra_are_means_over_the_repetitions():
    rows = [{"method": "cfm", "images": {"spectrum": [s, 0.5]}} for s in (1.0, 3.0)]
    study = {"dataset": "photos", "settings": {"ipc": 10}, "rows": rows}
    assert looks(study, {}) == {"photos/10/cfm": {"spectrum": [2.0, 0.5]}}
    assert looks(study, {"cfm": "data:"})["photos/10/cfm"]["picture"] == "data:"


def test_limits_leave_something_out():
    assert limits([{"bytes": 1000}, {"bytes": 100_000}]) == [1000, 10_000]
    assert limits([{"bytes": 5}, {"bytes": 5}]) == limits([{"bytes": None}]) == []


def test_rows_are_filtered_and_sorted_and_what_is_unknown_comes_last():
    state = ResultsTable(RECORDS, regime="hard", role="method", sort="gain", down=True).state()
    gains = [row["gain"] for row in shown(state)]
    assert gains == sorted(gains, reverse=True)
    assert {(row["regime"], row["role"]) for row in shown(state)} == {("hard", "method")}
    for down in (False, True):
        last = shown(ResultsTable(RECORDS, sort="gain", down=down).state())[-1]
        assert last["gain"] is None
    assert shown(ResultsTable(RECORDS, most=1).state()) == [], "bytes are not known"
    assert [row["ipc"] for row in shown(ResultsTable(RECORDS, ipc="all").state())] == [None, None]


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": "cifar10"},
        {"regime": "soft"},
        {"ipc": "5"},
        {"role": "best"},
        {"most": -1},
        {"sort": "date"},
        {"row": "x"},
    ],
)
def test_a_choice_that_no_row_has_is_refused(wrong):
    with pytest.raises(TraitError, match=next(iter(wrong))):
        ResultsTable(RECORDS, **wrong)


def test_a_table_of_nothing_is_refused():
    with pytest.raises(ValueError, match="needs a record"):
        ResultsTable([])


def test_columns_are_those_of_the_drawing():
    source = Path(widgets.__file__).with_name("explorers").joinpath("results.js").read_text()
    assert all(f'["{name}", "' in source for name in COLUMNS)


def test_all_published_records_are_light_enough_for_a_page():
    state = ResultsTable(load_records(published())).state()
    assert len(json.dumps(state)) < 1200 * len(state["rows"])


# ---- the chapter


def test_the_chapter_has_published_and_contributed_records(tmp_path, monkeypatch):
    by = {"by": "A. Name", "url": "https://example.org", "sha256": "0" * 64, "cite": "doi:1"}
    monkeypatch.setattr("unidd.bench.promise.found", lambda name: {"dataset": name, "settings": {"ipc": 1}, "rows": []})
    put(tmp_path, *RECORDS)
    _, _, names = read_page(CHAPTER, tmp_path, tmp_path / "none", monkeypatch)
    assert (len(names["published"]), names["names"]) == (11, [])
    put(tmp_path / "contributed", record("theirs", suite="name", provenance={"contributed": by}))
    _, _, names = read_page(CHAPTER, tmp_path, tmp_path / "none", monkeypatch)
    assert (len(names["published"]), names["names"]) == (12, ["A. Name"])
