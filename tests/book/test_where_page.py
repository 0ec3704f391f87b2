"""The page on where distillation pays, from records that a test writes."""

import json
from pathlib import Path

from bench.test_gains import SURE, UNSURE
from bench.test_gains import record as study
from records import put, read_page, suite

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "15_where.py"


def test_without_the_study_the_page_says_its_command(tmp_path, monkeypatch):
    put(tmp_path, *suite())
    words, shown, _ = read_page(PAGE, tmp_path, tmp_path / "none", monkeypatch)
    assert "**Not run.** `python benchmarks/gains.py photos`" in words
    assert "photos, hard labels, IPC 10 (cfm; 1 of 3)" in words
    assert set(shown) == {"tab-where", "tab-goals"}


def test_each_record_of_the_study_is_drawn_said_and_tabled(tmp_path, monkeypatch):
    put(tmp_path, *suite())
    found = study(dm=SURE, cfm=UNSURE) | {"settings": {"ipc": 10, "seeds": [0, 1, 2, 3, 4]}}
    folder = tmp_path / "studies" / "gains"
    folder.mkdir()
    for name in ("photos", "cifar10-mini"):
        (folder / f"{name}.json").write_text(json.dumps(found))
    words, shown, _ = read_page(PAGE, tmp_path, tmp_path / "none", monkeypatch)
    assert "Not run" not in words
    for name in ("photos", "cifar10-mini"):
        assert {f"fig-{name}-{axis}" for axis in ("hard", "soft", "views")} <= set(shown)
        assert {f"tab-{name}-bytes", f"tab-{name}-crops", f"tab-{name}-views"} <= set(shown)
    assert words.count("dm: better at 50 (+2.4), 200 (+4.8).") == 6
    assert "CIFAR-10, 10 % subset, IPC 10, n = 5" in shown["fig-cifar10-mini-hard"].caption
