"""The page of results, from records that a test writes: what was not run is said, and all suites are shown alike."""

from pathlib import Path

import pytest
from records import first_html, put, read_page, record

from unidd.bench.records import Record
from unidd.book.captions import Captioned

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "12_results.py"
SEEDS = [0, 1, 2, 3, 4]
ROLES = {"random": "baseline", "ccs": "coreset", "herding": "coreset", "full": "ceiling"}
FEW = ("random", "lfm", "hfm", "cfm", "classification", "full")
SUITES = ("methods", "digits", "cifar10-mini", "fashion-mnist", "tiny-imagenet")  # beside photos
MANY = (*FEW, "ccs", "herding", "dm", "dc", "sre2l", "kip", "head")


def made(method: str, ipc: int = 10, gain: float = 0.0, **changes) -> Record:
    values = [50.0 + gain + (seed * 7 % 5) + len(method) % 3 for seed in SEEDS]
    about = {"date": "2026-01-01", "device": "cpu (x)", "torch": "2.15.0"}
    fields = {"seeds": SEEDS, "role": ROLES.get(method, "method"), "accuracy": {"hard": values}, "provenance": about}
    return record(method, None if method == "full" else ipc, **fields | changes)


def read(published: Path, own: Path, monkeypatch) -> tuple[str, dict[str, Captioned]]:
    words, captioned, names = read_page(PAGE, published, own, monkeypatch)
    beside = names["beside"]
    return words, captioned | ({beside.name: beside} if isinstance(beside, Captioned) else {})


def test_what_was_not_run_is_said_with_the_command_that_makes_it(tmp_path, monkeypatch):
    put(tmp_path, *(made(name, suite="photos") for name in FEW))
    words, shown = read(tmp_path, tmp_path / "none", monkeypatch)
    named = (*SUITES, "cross-digits", "protocols-digits", "protocols", "protocols-resnet18")
    assert words.count("Not run.") == len(named)
    for suite in named:
        assert f"make batch SUITE={suite}" in words
    assert set(shown) == {"tab-photos", "fig-gains-photos-hard", "tab-photos-all"}


@pytest.mark.parametrize("where", ["published", "own"])
def test_all_suites_architectures_and_protocols_are_shown_from_either_place(where, tmp_path, monkeypatch):
    dsa = {"suite": "theirs", "config": {"cell": {"protocol": "dsa"}}}
    crossed = [made("dm", suite="local", model=model, config={"set": {}}) for model in ("convnet", "resnet18")]
    folders = {"published": tmp_path / "results", "own": tmp_path / "runs"}
    put(folders["own"], *(made(name, gain=1.0, suite="embedded") for name in FEW))
    put(folders["published"], *(made(name, suite="photos") for name in FEW))
    suites = [made(name, ipc, suite=suite) for suite in SUITES for name in MANY for ipc in (1, 10)]
    put(folders[where], *suites, *crossed, made("random", **dsa), made("dm", gain=9.0, **dsa))
    words, shown = read(folders["published"], folders["own"], monkeypatch)
    before = "" if where == "published" else "own-"
    assert words.count("Not run.") == (3 if where == "published" else len(SUITES) + 4)
    assert {f"tab-{before}{name}" for name in (*SUITES, "across", "protocols")} <= set(shown)
    assert {f"fig-gains-{before}digits-hard", f"tab-{before}digits-all"} <= set(shown)
    beside = shown["tab-beside"].thing
    assert beside.loc[("hard", "10", "cfm")].tolist() == ["52.0 ± 1.6", "53.0 ± 1.6"]
    table = shown[f"tab-{before}digits"].thing
    assert list(table.columns) == ["hard, IPC 1", "hard, IPC 10"]
    roles = list(dict.fromkeys(table.index.get_level_values("role")))
    assert roles == ["baseline", "coreset", "method", "ceiling"]
    assert "◆" in table.to_string()
    assert list(shown[f"tab-{before}across"].thing.columns) == ["convnet", "resnet18"]
    assert "hard labels (dsa) at IPC 10" in words
    assert "the best coreset, " in words


def test_a_suite_of_too_few_repetitions_has_no_mark_and_no_word_of_one(tmp_path, monkeypatch):
    once = [made(name, suite="tiny-imagenet", seeds=[0], accuracy={"hard": [50.0]}) for name in (*FEW, "herding")]
    put(tmp_path, *(made(name, suite="photos") for name in FEW), *once)
    words, shown = read(tmp_path, tmp_path / "none", monkeypatch)
    assert words.count("Too few repetitions for a verdict") == 1
    assert "Against random: no verdict on any of 5." in words
    assert shown["tab-tiny-imagenet"].caption == "photos: test accuracy in %, one repetition. ◆ is the best coreset."
    assert "fig-gains-tiny-imagenet-hard" not in shown


def test_no_line_of_a_long_table_is_left_out(tmp_path, monkeypatch):
    suites = [made(name, ipc, suite="methods") for name in MANY for ipc in range(1, 9)]
    put(tmp_path, *(made(name, suite="photos") for name in FEW), *suites)
    _, shown = read(tmp_path, tmp_path / "none", monkeypatch)
    rows = shown["tab-methods-all"].thing
    assert len(rows) > 60
    assert first_html(shown["tab-methods-all"], monkeypatch).count("<tr>") >= len(rows)
