"""What the jobs of a suite will take: the sum of plans and of students, teachers and passes counted once."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from unidd.bench.measuring import Measured
from unidd.bench.planning import Plan
from unidd.data.sources import Source

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import forecast  # noqa: E402
import jobs  # noqa: E402

SUITE = {"dataset": "digits", "methods": ["random", "cfm", "full"], "ipcs": [1, 2], "seeds": [3, 4], "budget": "smoke"}
MIB = 1 << 20


def suite(folder, files=True, **changes):
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SUITE | changes))
    return jobs.load(folder / "tiny.yaml", files=files)


def planned(cell):
    """A start of 1 s; of CFM also a teacher, a pass of 20 s, experts and 300 s of descent an image of a class."""
    descent = 300.0 * cell.ipc if cell.method.name == "cfm" else 0.0
    phases = ("start", 1.0, ""), ("teacher", 4000.0, ""), ("real side", 20.0 * (descent > 0), "")
    phases += (("experts", descent / 10, ""),)
    return Plan((*phases, ("distillation", descent, "")), 5 * MIB, 7, "a machine", 3)


@pytest.fixture
def students(digits, monkeypatch, tmp_path):
    """Steps that take 1 s, test images 0.001 s."""
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "no-teachers-yet"))
    seen = []

    def measure(network, data, config):
        seen.append((config, len(data.test)))
        return Measured(train=1.0, test=0.001, memory=9 * MIB, kept=50)

    return forecast.Students(digits, measure), seen


def test_every_job_is_added_up(students, digits, tmp_path):
    by_hand, seen = students
    found = {taken.name: taken for taken in forecast.forecast(suite(tmp_path), by_hand, planned)}
    test, n = 0.001 * len(digits.test), len(digits.train)
    # smoke: a student has 2 epochs, in one batch of 10 images at IPC 1 and 2·10/20 at IPC 2; a full-data student has 1
    for ipc in (1, 2):
        trained = 2 * (2 + test) + 2 * 10 * ipc * 0.001  # under hard and online-soft labels, and the teacher's answers
        assert found[f"random-ipc{ipc}"].seconds == pytest.approx(2 * (1 + trained))
        assert found[f"cfm-ipc{ipc}"].seconds == pytest.approx(2 * (1 + 300 * ipc + trained))
    assert found["full"].seconds == pytest.approx(2 * (-(-n // 128) + test)), "hard labels alone, and no plan"
    assert found["teachers"].seconds == pytest.approx(2 * (-(-n // 128) + test)), "one a repetition, for all jobs"
    assert found["real side"].seconds == 2 * 20.0
    assert found["experts"].seconds == 2 * 60.0, "those that are trained the longest"
    assert found["cfm-ipc1"].memory == 9 * MIB, "the larger of both"
    assert len(set(map(repr, seen))) == len(seen), "each kind of step, and of labelled batch, is measured once"
    assert {tests for _, tests in seen} == {len(digits.test), 10, 20}
    total = forecast.total(list(found.values()))
    assert total.seconds == pytest.approx(sum(taken.seconds for taken in found.values()))
    assert (total.memory, total.disk) == (9 * MIB, 4 * 7 + 2 * 50)


def test_a_given_teacher_is_not_trained_and_passed_through_once(students, tmp_path):
    (tmp_path / "t.pth").touch()
    given = suite(tmp_path, teacher=str(tmp_path / "t.pth"))
    found = {taken.name: taken.seconds for taken in forecast.forecast(given, students[0], planned)}
    assert (found["teachers"], found["real side"]) == (0.0, 20.0)


def test_a_published_budget_is_asked_for_by_name(students, digits, tmp_path, monkeypatch):
    asked = SimpleNamespace(budget=[])

    def of(cell):
        asked.budget.append(cell.budget)
        return planned(cell)

    suite(tmp_path)
    forecast.forecast(jobs.load(tmp_path / "tiny.yaml", "paper"), students[0], of)
    assert set(asked.budget) == {"paper"}


@pytest.mark.slow
def test_the_command_measures_real_steps(tmp_path, monkeypatch, capsys):
    suite(tmp_path, methods=["cfm"], ipcs=[1], seeds=[0])
    monkeypatch.setattr(sys, "argv", ["forecast.py", str(tmp_path / "tiny.yaml")])
    assert forecast.main() == 0
    names = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["tiny on cpu", "cfm-ipc1", "teachers", "real side", "experts", "all, one after the other"]
    monkeypatch.setattr(sys, "argv", ["forecast.py", "no-such-suite"])
    assert forecast.main() == 2
    assert capsys.readouterr().err.startswith("error: no suite")


@pytest.mark.slow
def test_a_device_that_is_not_at_hand_is_counted(tmp_path, monkeypatch, capsys):
    """The images too may be missing; what the run keeps is thrown away."""
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNIDD_DATA", str(tmp_path / "nothing"))
    monkeypatch.setitem(forecast._SHAPES, "cifar10", (300, 50, 3, 16, 10))
    suite(tmp_path, dataset="cifar10", methods=["random", "dm", "full"], ipcs=[1], seeds=[0])
    monkeypatch.setattr(sys, "argv", ["forecast.py", str(tmp_path / "tiny.yaml"), "--device", "h100"])
    assert forecast.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["random-ipc1", "dm-ipc1", "full"]
    assert all(line.split()[-2:] == ["–", "–"] for line in lines[1:]), "no memory, no disk"
    assert not (tmp_path / "cache").exists()


def test_an_unknown_device_is_refused_before_any_data_are_looked_for(tmp_path, monkeypatch, capsys):
    suite(tmp_path, dataset="cifar10")
    monkeypatch.setattr(sys, "argv", ["forecast.py", str(tmp_path / "tiny.yaml"), "--device", "h200"])
    assert forecast.main() == 2
    assert capsys.readouterr().err == "error: unknown device 'h200': say cpu or cuda, or h100 to count\n"


def test_a_given_teacher_and_statistics_cost_nothing_by_count(tmp_path):
    """The files need not be there."""
    kept = {"teacher": str(tmp_path / "t.pth"), "statistics": str(tmp_path)}
    for given, none in ((kept, True), ({}, False)):
        asked = suite(tmp_path, files=False, methods=["cfm"], ipcs=[1], seeds=[0], **given)
        found = {taken.name: taken.seconds for taken in forecast.count(asked, forecast.DEVICES["h100"])}
        assert (found["teachers"] == 0, found["real side"] == 0) == (none, none)
        assert found["cfm-ipc1"] > 0


def test_images_in_the_place_of_a_data_set_are_what_a_suite_takes_of_it():
    device = torch.device("meta")
    with forecast.Counter(forecast.DEVICES["h100"]):
        for source, shape, classes in (
            (Source("fashion-mnist"), (60_000, 1, 28, 28), 10),
            (Source("imagenet", size=64, classes=("1", "2")), (2562, 3, 64, 64), 2),
        ):
            data = forecast._stand_in(source, device)
            assert (data.train.images.shape, data.classes) == (shape, classes)
            assert data.device == device


def test_each_network_counts_as_its_own(tmp_path):
    """Twice the repetitions take twice as long; large students take longer, and their teacher as before."""

    def seconds(**changes):
        found = forecast.count(suite(tmp_path, methods=["random"], ipcs=[1], **changes), device)
        return {taken.name.split("-")[0]: taken.seconds for taken in found}

    device = forecast.Device("by operations", 1e9, 1e9, float("inf"), 0.0, 0.0)
    one, two = seconds(seeds=[0]), seconds(seeds=[0, 1])
    assert (two["random"], two["teachers"]) == pytest.approx((2 * one["random"], 2 * one["teachers"]))
    wide = seconds(seeds=[0], student_models=["resnet18"])
    assert wide["random"] > 5 * one["random"]
    assert wide["teachers"] == pytest.approx(one["teachers"])
