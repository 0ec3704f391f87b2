"""Records on disk, and the table and sentences made from them, against numbers worked out by hand."""

import contextlib
import json
import math
import os
import re
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch

from unidd.bench.records import SCHEMA, Record, load_record, load_records, provenance, save_record
from unidd.bench.tables import pretty, runs, table, verdicts
from unidd.files import atomic, check_writable


def record(method: str = "cfm", ipc: int | None = 1, **changes) -> Record:
    fields = {
        "suite": "embedded",
        "dataset": "photos",
        "model": "convnet",
        "method": method,
        "ipc": ipc,
        "seeds": [0, 1, 2],
        "accuracy": {"hard": [50.0, 52.0, 54.0], "soft": [60.0, 61.0, 65.0]},
        "config": {"beta": 0.1},
        "teacher": {"hash": "abc", "accuracy": 91.234},
        "seconds": {"distil": 3.4, "students": 10.2},
        "provenance": {"device": "cpu (x)", "torch": "2.15.0"},
    }
    return Record(**fields | changes)


RANDOM = record("random", accuracy={"hard": [51.0, 50.0, 52.0], "soft": [55.0, 60.0, 59.0]})
FULL = record("full", None, accuracy={"hard": [90.0, 92.0, 94.0]})


def row(records: list[Record], method: str = "cfm", protocol: str = "hard") -> pd.Series:
    frame = table(records)
    (index,) = frame.index[(frame.method == method) & (frame.protocol == protocol)]
    return frame.loc[index]


# ------------------------------------------------------------------------------------------------ on disk


def test_a_record_comes_back_as_it_was(tmp_path):
    save_record(record(), tmp_path / "made" / "one.json")
    assert load_record(tmp_path / "made" / "one.json") == record()
    assert json.loads((tmp_path / "made" / "one.json").read_text())["schema"] == SCHEMA
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["one.json"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, error):
    save_record(record(), tmp_path / "one.json")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(error):
        save_record(replace(record(), method="other"), tmp_path / "one.json")
    assert load_record(tmp_path / "one.json") == record()
    assert [p.name for p in tmp_path.iterdir()] == ["one.json"]


def test_atomic_shows_nothing_until_the_block_succeeds(tmp_path):
    with contextlib.suppress(KeyboardInterrupt), atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_place_to_write_is_checked_without_a_trace(tmp_path):
    check_writable(tmp_path / "new" / "deep")
    check_writable(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=re.escape(f"cannot write to {folder}")):
            check_writable(folder)


def test_a_relative_place_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable("new")
    check_writable("")
    assert not list(tmp_path.iterdir())


def test_records_are_read_from_every_suite_of_every_folder_in_order(tmp_path):
    places = ["one/b/x.json", "one/a/y.json", "two/a/z.json", "one/a/x.json"]
    for place in places:
        save_record(replace(record(), suite=place), tmp_path / place)
    (tmp_path / "one" / "a" / "set").mkdir()
    (tmp_path / "one" / "a" / "set" / "card.json").write_text("{}")
    (tmp_path / "one" / "a" / "notes.txt").write_text("no record")
    found = load_records(tmp_path / "one", tmp_path / "two", tmp_path / "nowhere")
    assert [r.suite for r in found] == ["one/a/x.json", "one/a/y.json", "one/b/x.json", "two/a/z.json"]
    assert load_records(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", json.dumps(asdict(record()) | {"more": 1}), json.dumps(asdict(record()))[:-9]]
)
def test_a_file_that_is_no_record_is_named(tmp_path, text):
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(ValueError, match=r"odd\.json"):
        load_record(tmp_path / "odd.json")


def test_a_record_of_another_schema_is_refused(tmp_path):
    save_record(replace(record(), schema=SCHEMA + 1), tmp_path / "new.json")
    with pytest.raises(ValueError, match=f"schema {SCHEMA + 1}"):
        load_record(tmp_path / "new.json")


def test_provenance_is_what_a_number_needs_beside_it():
    found = provenance()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    assert found["device"].startswith("cpu (")
    assert found["threads"] == torch.get_num_threads()
    assert torch.__version__.startswith(found["torch"])
    assert {"python", "unidd", "torchvision"} <= set(found)


# ----------------------------------------------------------------------------------------------- the table


def test_mean_and_sample_standard_deviation():
    line = row([record()])
    assert (line["mean"], line["std"], line["n"]) == (52.0, 2.0, 3)
    line = row([record()], protocol="soft")
    assert line["mean"] == pytest.approx(62.0)
    assert line["std"] == pytest.approx(math.sqrt(7))


def test_one_seed_has_no_standard_deviation():
    line = row([record(seeds=[0], accuracy={"hard": [40.0]})])
    assert (line["mean"], line["n"]) == (40.0, 1)
    assert math.isnan(line["std"])


def test_recovery_is_what_is_missing_to_the_full_data_with_hard_labels():
    records = [record(), RANDOM, FULL]
    assert row(records)["hlr"] == pytest.approx(92.0 - 52.0)
    assert row(records, "random")["hlr"] == pytest.approx(92.0 - 51.0)
    assert math.isnan(row(records, protocol="soft")["hlr"])
    assert math.isnan(row(records, "full")["hlr"])
    assert math.isnan(row([record(), RANDOM])["hlr"])


def test_improvement_over_random_is_paired_by_seed():
    """Hard: −1, 2, 2 of mean 1 and deviation √3; soft: 5, 1, 6 of mean 4 and deviation √7."""
    records = [RANDOM, record()]
    assert row(records)["ior"] == pytest.approx(1.0)
    assert row(records)["ior_std"] == pytest.approx(math.sqrt(3))
    assert row(records, protocol="soft")["ior"] == pytest.approx(4.0)
    assert row(records, protocol="soft")["ior_std"] == pytest.approx(math.sqrt(7))
    assert math.isnan(row(records, "random")["ior"])


@pytest.mark.parametrize(
    "other",
    [
        {"ipc": 10},
        {"suite": "cifar"},
        {"dataset": "digits"},
        {"model": "resnet18"},
        {"seeds": [1, 2, 3]},
        {"accuracy": {"soft": [1.0, 2.0, 3.0]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_only_the_same_cell_is_compared(other):
    """Random images of another IPC, suite, data set, model or seeds, or under another protocol, are no baseline."""
    line = row([record(), replace(RANDOM, **other)])
    assert math.isnan(line["ior"])
    assert math.isnan(line["ior_std"])
    if not {"ipc", "seeds", "accuracy"} & set(other):
        assert math.isnan(row([record(), replace(FULL, **other)])["hlr"])


def test_rows_are_sorted_by_cell_and_methods_from_the_simplest():
    methods = ["zeta", "cfm", "hfm", "random", "alpha", "lfm", "classification"]
    records = [record(m, ipc) for m in methods for ipc in (10, 1)]
    frame = table([*records, FULL])
    cells = dict.fromkeys(zip(frame.protocol, frame.ipc.fillna(0), strict=True))
    assert list(cells) == [("hard", 1), ("hard", 10), ("hard", 0), ("soft", 1), ("soft", 10)], "full data last"
    order = ["random", "classification", "lfm", "hfm", "cfm", "alpha", "zeta"]
    for protocol in ("hard", "soft"):
        for ipc in (1, 10):
            group = frame[(frame.protocol == protocol) & (frame.ipc == ipc)]
            assert list(group.method) == order


def test_a_later_record_of_the_same_cell_replaces_the_earlier():
    later = record(accuracy={"hard": [70.0, 70.0, 70.0]})
    assert table([record(), later])["mean"].tolist() == [70.0]


def test_no_records_give_an_empty_table_with_its_columns():
    assert {"method", "mean", "std", "n", "hlr", "ior", "ior_std"} <= set(table([]).columns)
    assert len(pretty(table([]))) == 0
    assert verdicts(table([])) == []
    assert len(runs([])) == 0


def test_the_printed_table_rounds_and_dashes():
    shown = pretty(table([record(), RANDOM, FULL]))
    line = shown.loc[("photos", "hard", "1", "cfm")]
    assert (line["n"], line["accuracy (%)"], line["HLR"], line["IOR"]) == (3, "52.0 ± 2.0", "40.0", "1.0 ± 1.7")
    line = shown.loc[("photos", "soft", "1", "random")]
    assert (line["accuracy (%)"], line["HLR"], line["IOR"]) == ("58.0 ± 2.6", "–", "–")
    line = shown.loc[("photos", "hard", "all", "full")]
    assert (line["accuracy (%)"], line["HLR"], line["IOR"]) == ("92.0 ± 2.0", "–", "–")
    single = pretty(table([record(seeds=[0], accuracy={"hard": [40.0]})]))
    assert single["accuracy (%)"].tolist() == ["40.0"]


def test_where_the_numbers_come_from():
    frame = runs([record(), replace(FULL, teacher={})])
    assert list(frame.index) == ["embedded: cfm, IPC 1", "embedded: full"]
    line = frame.iloc[0]
    assert (line["seeds"], line["seconds"], line["teacher (%)"], line["torch"]) == ("0, 1, 2", 14, 91.2, "2.15.0")
    assert math.isnan(frame.iloc[1]["teacher (%)"])


# --------------------------------------------------------------------------------------------- in words


def spread(method: str, mean: float, std: float, **changes) -> Record:
    """Three seeds of exactly this mean and standard deviation, hard labels."""
    return record(method, accuracy={"hard": [mean - std, mean, mean + std]}, **changes)


CELLS = [
    spread("random", 50, 2),
    spread("classification", 40, 1),
    spread("lfm", 53.5, 1),
    spread("hfm", 52.5, 1),
    spread("cfm", 46.5, 1),
]


def test_all_three_relations_to_random_in_words():
    assert verdicts(table(CELLS)) == [
        "On photos with hard labels at IPC 1, a random choice of real images reaches 50.0 ± 2.0 % (n = 3); "
        "above it: lfm (+3.5); within the error bars: hfm (+2.5); below it: cfm (-3.5) and classification (-10.0)."
    ]


def test_relations_to_classification_leave_random_out():
    assert verdicts(table(CELLS), baseline="classification") == [
        "On photos with hard labels at IPC 1, classification alone reaches 40.0 ± 1.0 % (n = 3); "
        "above it: lfm (+13.5), hfm (+12.5) and cfm (+6.5)."
    ]


def test_touching_error_bars_are_not_apart():
    for gap, side in ((3.0, "within the error bars"), (3.01, "above it"), (-3.0, "within"), (-3.01, "below it")):
        (sentence,) = verdicts(table([spread("random", 50, 2), spread("cfm", 50 + gap, 1)]))
        assert f"{side}" in sentence
        assert sentence.count(":") == 1


def test_one_seed_has_no_error_bars_to_be_within():
    records = [record(m, seeds=[0], accuracy={"hard": [v]}) for m, v in (("random", 50.0), ("cfm", 60.0))]
    (sentence,) = verdicts(table(records))
    assert sentence == (
        "On photos with hard labels at IPC 1, a random choice of real images reaches 50.0 % (n = 1); "
        "without error bars: cfm (+10.0)."
    )


def test_a_sentence_for_each_protocol_and_ipc_that_can_be_compared():
    records = [record(), RANDOM, FULL, record("hfm", 10), replace(RANDOM, suite="cifar")]
    found = verdicts(table(records))
    assert len(found) == 2
    assert "hard labels at IPC 1," in found[0]
    assert "soft labels at IPC 1," in found[1]
    assert verdicts(table(records), baseline="classification") == []
    assert len(verdicts(table(records), baseline="cfm")) == 0, "nothing but random beside it"
