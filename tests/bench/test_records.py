"""Records on disk: they come back as they were, and what is no record is one clear error."""

import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from records import record

from unidd.bench import records
from unidd.bench.records import SCHEMA, load_record, load_records, provenance, save_record

ROOT = Path(__file__).resolve().parents[2]


def test_a_record_comes_back_as_it_was(tmp_path):
    save_record(record(), tmp_path / "made" / "one.json")
    assert load_record(tmp_path / "made" / "one.json") == record()
    assert json.loads((tmp_path / "made" / "one.json").read_text())["schema"] == SCHEMA
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["one.json"]


def test_a_record_names_files_of_teachers_and_not_where_they_lay(tmp_path):
    card = {"hash": "1", "accuracy": 70.0, "file": str(tmp_path / "ckpt" / "Net.pth")}
    save_record(replace(record("cfm", 1), teachers=[card]), tmp_path / "record.json")
    assert load_record(tmp_path / "record.json").teachers == [card | {"file": "Net.pth"}]
    assert str(tmp_path) not in (tmp_path / "record.json").read_text()


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


@pytest.mark.parametrize("parts", [(), ("photos",), ("studies", "spectra"), ("studies", "curriculum", "photos.json")])
def test_published_records_are_found_from_any_folder(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert records.published(*parts).resolve() == ROOT.joinpath("results", *parts)


def test_records_that_did_not_come_along_are_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_PACKAGE", tmp_path / "site" / "unidd")
    with pytest.raises(FileNotFoundError, match=r"results/studies did not come .* clone the project's repository"):
        records.published("studies")


def test_a_checkout_without_links_has_its_records_beside_the_package(tmp_path, monkeypatch):
    (tmp_path / "unidd").mkdir()
    (tmp_path / "unidd" / "results").write_text("../results")  # as git leaves a link on Windows
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(records, "_PACKAGE", tmp_path / "unidd")
    assert records.published() == tmp_path / "results"


def test_own_records_are_in_the_repository_or_else_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert records.own() == ROOT / "_runs"
    monkeypatch.setattr(records, "_PACKAGE", tmp_path / "site" / "unidd")
    assert records.own() == tmp_path / "_runs"
    monkeypatch.setenv("UNIDD_RUNS", str(tmp_path / "elsewhere"))
    assert records.own() == tmp_path / "elsewhere"
