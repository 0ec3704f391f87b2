"""The page on the paper, from records that a test writes."""

from pathlib import Path

import pytest
from records import first_html, put, read_page, record

from unidd.bench import paper
from unidd.bench.records import Record
from unidd.book.captions import Captioned

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "10_paper.py"
SEEDS = [0, 1, 2, 3, 4]
ROLES = {"random": "baseline", "full": "ceiling"}


def made(method: str, gain: float, suite: str, **changes) -> Record:
    values = [50.0 + gain + (seed * 7 % 5) + (seed * len(method) % 3) / 10 for seed in SEEDS]
    about = {"date": "2026-01-01", "device": "cpu (x)", "torch": "2.15.0"}
    cards = [{"hash": f"{suite}{seed}", "accuracy": 90.0} for seed in SEEDS]
    fields = {"suite": suite, "seeds": SEEDS, "role": ROLES.get(method, "method"), "accuracy": {"hard": values}}
    return record(method, 10, **fields | {"provenance": about, "teachers": cards} | changes)


def read(published: Path, own: Path, monkeypatch) -> tuple[str, dict]:
    words, captioned, names = read_page(PAGE, published, own, monkeypatch)
    return words, captioned | {"overview": names["overview"]}


def test_without_records_every_row_but_the_formulas_is_not_run_and_says_its_command(tmp_path, monkeypatch):
    put(tmp_path, made("cfm", 0, "another"))
    words, shown = read(tmp_path, tmp_path / "none", monkeypatch)
    outcomes = shown["overview"]["outcome here"]
    assert outcomes.value_counts().to_dict() == {"not run": len(paper.ROWS) - 2, "reproduced": 1, "not known to us": 1}
    for row in paper.ROWS:
        assert row.command == "–" or row.place == "Figure 1" or f"`{row.command}`" in words
    assert "tab-suite-filters" not in shown


@pytest.mark.parametrize("where", ["published", "own"])
def test_records_of_suites_are_shown_from_either_place_and_decide(where, tmp_path, monkeypatch):
    filters = [
        made(name, gain, "filters") for name, gain in (("random", 0), ("cfm", 9), ("all-pass", 3), ("ridge-1", 20))
    ]
    folders = {"published": tmp_path / "results", "own": tmp_path / "runs"}
    put(folders["published"], made("cfm", 0, "photos"), made("random", 9, "photos"))
    put(folders[where], *filters, made("random", 1, "schedules"))
    words, shown = read(folders["published"], folders["own"], monkeypatch)
    checks = shown["tab-paper-figures"].thing
    found = dict(zip(checks["claim"], checks["outcome"], strict=True))
    assert found["filters: cfm above all-pass, hard labels, IPC 10"] == "reproduced"
    assert found["filters: cfm above ridge-1, hard labels, IPC 10"] == "not reproduced"
    assert shown["overview"]["outcome here"]["Table 2, in small"] == "not reproduced"
    assert "**Figure 3** (students by choice of filter): mixed." in words
    assert {"fig-suite-filters-hard", "tab-suite-filters", "tab-suite-schedules"} <= set(shown)
    assert "ridge-1" in shown["tab-suite-filters"].thing.to_string()


def test_long_claims_are_shown_whole(tmp_path, monkeypatch):
    put(tmp_path, made("cfm", 0, "another"))
    _, shown = read(tmp_path, tmp_path / "none", monkeypatch)
    html = first_html(Captioned(shown["overview"], "Words.", "tab-a"), monkeypatch)
    assert all(row.claim in html for row in paper.ROWS)
