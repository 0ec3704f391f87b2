"""The page of questions, from records that a test writes: what was not run is said, and what was is shown."""

import json
from pathlib import Path

import pytest
from records import put, read_page, record

from unidd.bench.questions import QUESTIONS
from unidd.bench.records import Record

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "11_questions.py"
SEEDS = [0, 1, 2, 3, 4]
ROLES = {"random": "baseline", "full": "ceiling"}


def made(method: str, suite: str, gain: float = 0.0, ipc: int = 10, **changes) -> Record:
    values = [50.0 + gain + (seed * 7 % 5) for seed in SEEDS]
    cards = [{"hash": f"{seed}", "accuracy": 90.0} for seed in SEEDS]
    accuracy = dict.fromkeys(("hard", "online-soft"), values)
    sizes = {"images": 1000 * ipc, "hard": 10 * ipc, "online-soft": 5000}
    fields = {"suite": suite, "seeds": SEEDS, "role": ROLES.get(method, "method"), "accuracy": accuracy}
    return record(method, ipc, **fields | {"teachers": cards, "bytes": sizes, "dataset": suite} | changes)


def test_without_records_the_page_says_what_was_not_run(tmp_path, monkeypatch):
    put(tmp_path, made("cfm", "another"))
    words, shown, names = read_page(PAGE, tmp_path, tmp_path / "none", monkeypatch)
    assert words.count("**Not run.** `make batch SUITE=") == 2
    assert len(names["open_"]) == len(QUESTIONS)
    assert not {name for name in shown if name.startswith(("fig-", "tab-bytes"))}
    assert names["record"] is None


@pytest.mark.parametrize("where", ["published", "own"])
def test_records_from_either_place_are_shown(where, tmp_path, monkeypatch):
    folders = {"published": tmp_path / "results", "own": tmp_path / "runs"}
    put(folders["published"], made("cfm", "photos", 9.0), made("random", "photos"))
    several = [made(m, "digits", g, ipc) for m, g in (("random", 0), ("cfm", -3), ("dm", 5)) for ipc in (1, 10)]
    put(folders[where], *several)
    rows = [
        {
            "seed": seed,
            "teacher": {"hash": f"{seed}", "accuracy": 90.0 + seed},
            "measured": {"random": {"last": 50.0, "best": 51.0 + seed / 10}},
            "layers": {"features.0": {"between": 0.5, "missing": 0.75, "distance": 0.25}},
        }
        for seed in SEEDS
    ]
    about = {"date": "2026-01-01", "device": "cpu (x)", "torch": "2.15.0"}
    study = folders[where] / "studies" / "defects" / "photos.json"
    study.parent.mkdir(parents=True)
    study.write_text(json.dumps({"dataset": "photos", "rows": rows, "provenance": about}))
    words, shown, names = read_page(PAGE, folders["published"], folders["own"], monkeypatch)
    assert {"fig-bytes-photos", "fig-bytes-digits", "tab-bytes-digits", "tab-defects-statistics"} <= set(shown)
    chart = shown["fig-bytes-digits"].thing
    assert {trace.name for trace in chart.data} == {
        f"{m}, {r}" for m in ("others", "random", "cfm") for r in ("hard", "online soft")
    }
    (own,) = [trace for trace in chart.data if trace.name == "cfm, online soft"]
    assert list(own.x) == [6000, 15000]
    assert "5 repetitions, each with its own teacher (they reach 90.0 to 94.0 %)" in words
    effect = names["defects"].table(names["record"]).loc["best over epochs", "random real images, points [95 %]"]
    assert effect == "+1.2 [+1.0, +1.4], cannot lower (n = 5)"
    assert "75.0 ± 0.0" in shown["tab-defects-statistics"].thing.to_string()
