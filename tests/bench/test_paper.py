"""The rows of the paper: none without a status, each with a command that there is, whose records have what it needs."""

import functools
import json
import shlex
import sys
from pathlib import Path

import hours
import pytest
import round_detail
import torch
import yaml
from records import record

from unidd.bench import claims, paper, records
from unidd.bench.claims import Better, Evidence, Larger, Reaches

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import jobs  # noqa: E402

suite = functools.cache(lambda name: jobs.load(jobs.suite_path(name)))
NOTHING = Evidence.of([])
PUBLISHED = Evidence.of(records.load_records(records.published()), records.published("studies"))
each = pytest.mark.parametrize("row", paper.ROWS, ids=lambda row: row.place)


def test_five_figures_nine_tables_and_the_algorithm():
    counts = {kind: sum(row.counts for row in paper.ROWS if kind in row.place.lower()) for kind in ("figure", "table")}
    assert counts == {"figure": 5, "table": 9}
    assert sum(row.counts for row in paper.ROWS) == 15
    assert len({row.place for row in paper.ROWS}) == len(paper.ROWS)


@each
def test_no_row_is_without_a_status_a_grade_and_a_command(row):
    for evidence in (NOTHING, PUBLISHED):
        assert row.outcome(evidence) in claims.OUTCOMES
    assert row.grade in paper.GRADES
    if row.outcome(NOTHING) == claims.NOT_RUN:
        assert f"`{row.command}`" in claims.sentence(row, NOTHING)
    assert (row.command == "–") == (row.outcome(NOTHING) == claims.UNKNOWN)


@each
def test_every_command_is_one_that_there_is(row):
    for command in row.command.split(" && "):
        first, *words = shlex.split(command)
        if first == "make":
            assert words[0] == "batch"
            assert suite(words[1].removeprefix("SUITE=")).jobs
        elif first in ("python", "pytest"):
            assert (ROOT / words[0]).is_file()
            assert not words[1:] or (words[0] == "benchmarks/round_detail.py" and round_detail.options(words[1:]))
        else:
            assert command == "–"


def test_what_was_not_run_says_how_long_it_would_take():
    missing = [claims.sentence(row, PUBLISHED) for row in paper.ROWS if row.outcome(PUBLISHED) == claims.NOT_RUN]
    assert missing
    assert all("by count" in sentence for sentence in missing)


@pytest.mark.parametrize("name", [*hours.SUITES, "rounds"])
def test_hours_are_those_of_the_jobs_that_there_are(name, tmp_path, monkeypatch):
    (tmp_path / "_data" / "cifar10-mini").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)  # a suite's folder of images must be there
    suite, command = hours.loaded(name), hours.asked_for(name)[2]
    (found,) = [record for record in PUBLISHED.study("hours") if record["command"] == command]
    assert found["asked"] == hours.asked(suite), "the suite or its budget changed: run benchmarks/hours.py again"
    assert found["jobs"].keys() == suite.jobs.keys()
    shared = found["teachers"] + found["real side"] + found["experts"]
    assert found["seconds"] == pytest.approx(sum(found["jobs"].values()) + shared, rel=1e-3)
    assert min(found["jobs"].values()) > 0


@each
def test_the_commands_make_all_that_the_checks_look_at(row):
    """But for suites whose records came with the package."""
    suites = {check.suite for check in row.checks if isinstance(check, (Better, Reaches))}
    asked = {part.split("SUITE=")[1] for part in row.command.split(" && ") if "SUITE=" in part}
    assert suites - {"photos", "digits"} <= asked <= suites
    for check in row.checks:
        if isinstance(check, Larger):
            assert row.command.startswith("python ")
            script = (ROOT / row.command.split()[1]).read_text()
            assert f"results/studies/{check.study}/" in script


def cells(name):
    """(name in the record, IPC, architecture of the students) → label regimes, of the jobs of a suite."""
    found = suite(name)
    return {
        (
            found.labels[key].get("as", job["method"]),
            job["ipc"],
            job.get("student_model") or job["model"],
        ): job.get("regimes", ["hard", "online-soft"])
        for key, job in found.jobs.items()
    }


@each
def test_what_a_check_compares_is_in_its_suite(row):
    """Or it could never be run."""
    for check in row.checks:
        if isinstance(check, Better):
            there = cells(check.suite)
            for name in (check.method, check.than):
                assert check.regime in there[name, check.ipc, check.model]
        elif isinstance(check, Reaches):
            assert any(key[:2] == (check.method, check.ipc) for key in cells(check.suite))


def test_every_suite_of_one_method_twice_has_names_of_its_own():
    for name in ("filters", "filters-digits", "ablation", "schedules"):
        entries = yaml.safe_load(jobs.suite_path(name).read_text())["methods"]
        assert len({label for label, ipc, _ in cells(name) if ipc != 1}) == len(entries)


def test_the_two_suites_of_filters_ask_the_same_of_two_data_sets():
    photos, digits = (yaml.safe_load(jobs.suite_path(name).read_text()) for name in ("filters", "filters-digits"))
    assert photos | {"dataset": "digits"} == digits


def test_studies_that_came_with_the_package_are_understood():
    """Every check of the studies of filters and of the curriculum has records."""
    looks = [
        check.look(PUBLISHED)
        for row in paper.ROWS
        for check in row.checks
        if isinstance(check, Larger) and check.study in ("filters", "curriculum")
    ]
    assert len(looks) == 5
    assert all(look.outcome != claims.NOT_RUN and look.number for look in looks)


def test_the_formulas_of_the_first_figure_hold():
    (first,) = (row for row in paper.ROWS if row.place == "Figure 1")
    assert first.outcome(NOTHING) == claims.REPRODUCED


def test_beta_that_does_not_follow_the_cosine_is_seen(tmp_path):
    (tmp_path / "curriculum").mkdir()
    evidence = Evidence.of([], tmp_path)
    assert paper.cosine(evidence) is None
    for betas, said in (([0.2, 0.1], True), ([0.2, 0.2], False)):
        record = {"config": {"beta": 0.2}, "runs": {"cosine": {"beta": betas}}}
        (tmp_path / "curriculum" / "photos.json").write_text(json.dumps(record))
        assert paper.cosine(evidence) is said


def test_the_study_of_rounds_and_of_deep_methods_is_understood(tmp_path):
    """As their benchmarks write them."""
    for folder in ("rounds", "matching"):
        (tmp_path / folder).mkdir()
    for seed in range(5):
        rise = {"cfm": 0.02 + seed / 1e4, "start": 0.001, "hfm": 0.03}
        (tmp_path / "rounds" / f"photos-seed{seed}.json").write_text(json.dumps({"seed": seed, "rise": rise}))
    fine = {"random": 0.2, "dm": 0.1, "dc": 0.3, "mtt": 0.2, "frepo": 0.2}
    rows = [{"method": m, "seed": s, "images": {"high": v + s / 1e4 * v}} for m, v in fine.items() for s in range(5)]
    (tmp_path / "matching" / "photos.json").write_text(json.dumps({"rows": rows}))
    evidence = Evidence.of([], tmp_path)
    found = {row.place: [look.outcome for look in row.looks(evidence)] for row in paper.FIGURES}
    assert found["Figure 5"] == ["reproduced", "not reproduced"]
    assert found["Figure 5, as published"] == ["not run"]
    assert found["Figure 4"] == ["reproduced"] * 2 + ["not decided"] * 2


def test_the_study_of_rounds_measures_each_round_and_its_slope(tmp_path, monkeypatch):
    """A board of ever finer checks against images that are flat."""
    flat, board = torch.full((2, 1, 8, 8), 0.5), (torch.arange(8)[:, None] + torch.arange(8)) % 2
    images = torch.cat([flat + 0.1 * torch.linspace(0, 1, 8), board.expand(2, 1, 8, 8).float()])
    shares = round_detail.by_round(images, 2)
    assert shares[0] < 0.5 < shares[1]
    assert round_detail.rise(shares) == pytest.approx(shares[1] - shares[0])
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(round_detail, "FOLDER", tmp_path / "rounds")
    asked = ["digits", "--seeds", "3", "--ipc", "2", "--budget", "smoke", "--beta", "0.5"]
    round_detail.main(asked)
    (path,) = (tmp_path / "rounds").glob("*.json")
    found = json.loads(path.read_text())
    assert (path.name, found["settings"]) == ("digits-seed3.json", {"beta": 0.5})
    assert {name: len(values) for name, values in found["shares"].items()} == {"start": 2, "cfm": 2, "hfm": 2}
    assert found["rise"]["cfm"] == pytest.approx(found["shares"]["cfm"][1] - found["shares"]["cfm"][0], abs=2e-5)
    monkeypatch.setattr(round_detail, "study", None)
    round_detail.main(asked)  # it is there


def test_published_numbers_have_a_grade_and_a_line_each():
    assert all(line.grade in "ABC" and line.labels in ("hard", "soft") for line in paper.PUBLISHED)
    shown = paper.published("CIFAR-10")
    assert shown.loc[("CIFAR-10", "ConvNet", "soft", "CFM")].tolist() == ["–", "52.1", "64.0", "C"]


@pytest.mark.parametrize("evaluated", [False, True])  # by `unidd evaluate`, or of a suite
def test_published_numbers_stand_beside_ours_under_the_same_protocol_alone(evaluated):
    def of(method, protocol):
        how = {"budget": "narrow", "protocol": protocol}
        config = how if evaluated else {"cell": how}
        return record(method, 10, accuracy={"hard": [25.0, 26.0]}, seeds=[0, 1], dataset="cifar10-mini", config=config)

    found = [of("random", "dc"), of("random", "dsa"), of("herding", ""), of("pool", "dc")]
    shown = paper.beside(found)
    assert list(shown.index) == [("cifar10-mini", "dc", "random", 10)]
    assert shown.iloc[0].to_dict() == {"published": "26.0", "ours": "25.5 ± 0.7", "n": 2, "width": 32}
    assert paper.beside([]).empty
    missing = paper.not_run(found)
    assert missing.startswith("CIFAR-10: random at IPC 1, 50 · herding at IPC 1, 10, 50 · DC at IPC 1, 10, 50 · ")
    assert "FRePo at IPC 1, 10, 50 · RDED" in missing
    assert "CFM" not in missing, "it has no protocol of its own"
    assert "FRePo at IPC 1, 50" in paper.not_run([*found, of("frepo", "frepo")])
    assert "FRePo at IPC 1, 10, 50" in paper.not_run([*found, of("frepo", "")])
    assert paper.not_run([]) == ""
