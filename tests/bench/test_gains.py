"""What the gain over random images hangs on: made records whose answers are plain, and the students on toys."""

import json

import gains as bench
import pytest
import torch
import toys

from unidd.bench import gains
from unidd.bench.cell import Cell
from unidd.bench.parts import kept
from unidd.book import plots
from unidd.networks.training import Recipe

BASE = [50.0, 51.0, 52.0, 53.0, 54.0]
BYTES = {"images": 100, "hard": 10, "fixed-soft": 400, "online-soft": 5000}


def row(name, seed, by, role="method"):
    """Accuracies that lie `by` points above those of random images, at the second place of an axis twice as far."""
    places = {"crops": ("1.0", "0.5"), "views": ("5", "0")}
    reached = {
        axis: {at: BASE[seed] + by * (i + 1) for i, at in enumerate(places.get(axis, ("50", "200")))}
        for axis in gains.AXES
    }
    card = {"hash": f"t{seed}"}
    return {"set": name, "role": role, "seed": seed, "accuracy": reached, "teacher": card, "bytes": BYTES}


def record(n=5, **by):
    sets = {"random": [0.0] * n, **by}
    rows = [row(name, seed, each[seed]) for name, each in sets.items() for seed in range(n)]
    return {"study": "gains", "rows": rows}


SURE, UNSURE = [2.0, 3.0, 2.0, 3.0, 2.0], [9.0, -8.0, 7.0, -9.0, 3.0]


def test_a_gain_is_the_paired_difference_at_each_place():
    shown = gains.table(record(dm=SURE), "epochs, hard")
    assert list(shown.index) == ["50", "200"]
    assert shown.loc["50"].to_dict() == {"random": "52.0 ± 1.6", "dm": "+2.4 [+1.7, +3.1]"}
    assert shown.loc["200", "dm"].startswith("+4.8 [")


def test_who_is_better_and_worse_where_is_said():
    said = gains.sentences(record(dm=SURE, cfm=[-gain for gain in SURE], pool=UNSURE))
    assert len(said) == len(gains.AXES)
    assert "random images reach 52.0 % at 50, 52.0 % at 200" in said[0]
    assert "dm: better at 50 (+2.4), 200 (+4.8)." in said[0]
    assert "cfm: worse at 50 (−2.4), 200 (−4.8)." in said[0]
    assert "pool: nowhere told apart from them." in said[0]


@pytest.mark.parametrize("why", ["few", "one teacher"])
def test_few_repetitions_or_one_teacher_decide_nothing(why):
    found = record(n=4 if why == "few" else 5, dm=SURE)
    for each in found["rows"]:
        each["teacher"]["hash"] = "one" if why == "one teacher" else each["teacher"]["hash"]
    assert {gain.side for gain in gains.along(found, "crops") if gain.name == "dm"} == {"no verdict"}


def test_a_repetition_that_was_cut_off_is_left_out():
    found = record(dm=SURE)
    found["rows"].pop()
    assert {len(gain.values) for gain in gains.along(found, "crops")} == {4}


def test_labels_of_some_views_take_as_many_bytes_and_ever_new_ones_those_of_the_teacher():
    shown = gains.label_bytes(record(dm=SURE, cfm=UNSURE))
    assert list(shown.index) == ["5", "every time a new one"]
    assert list(shown["bytes of labels or teacher"]) == ["2.0 KiB", "4.9 KiB"]
    assert shown["largest gain"].iloc[0].startswith("dm +2.4 [")


def test_the_figure_has_a_line_a_set_and_says_its_numbers():
    chart = plots.along(record(dm=SURE, pool=UNSURE), "views")
    assert [trace.name for trace in chart.data] == ["dm", "pool"]
    assert list(chart.data[0].y) == pytest.approx([2.4, 4.8])
    assert "dm +2.4 at 5, +4.8 at every time a new one" in chart.layout.meta["alt"]


# ---- the students


@pytest.fixture
def students(monkeypatch):
    """Students of a set of toys, and the trainings that they ask for."""
    data, asked = toys.data(), []

    def trained(images, labels, _, model, recipe, seeds, *, teacher, progress):
        asked.append((images, labels, recipe, teacher))
        return [float(len(asked))]

    monkeypatch.setattr(bench, "evaluate_images", trained)
    cell = Cell.of("random", {}, "smoke", dataset="digits", ipc=1)
    teacher = cell.teacher(data, 0, progress=False)
    return bench.Students(cell, cell.distill(0, data), data, teacher, 0), asked


def test_some_views_are_labelled_once_and_take_as_many_steps(students):
    of, asked = students
    of.recipe = Recipe(epochs=6, batch=2, crop="resized", cutmix=True)
    of.with_views(3)
    images, labels, recipe, teacher = asked[0]
    n = len(of.made)
    assert teacher is None
    assert (len(images), recipe.epochs) == (3 * n, 2)
    assert recipe.steps(len(images)) == of.recipe.steps(n)
    assert (recipe.crop, recipe.cutmix) == ("none", False)
    with torch.no_grad():
        answers = of.teacher.model(of.data.normalise(images))
    torch.testing.assert_close(labels.values, answers)
    assert 0 <= images.min() <= images.max() <= 1
    assert not torch.equal(images[:n], images[n : 2 * n])


def test_ever_new_views_ask_the_teacher_itself(students):
    of, asked = students
    of.with_views(0)
    images, _, recipe, teacher = asked[0]
    assert teacher is of.teacher.model
    assert torch.equal(images, of.made.images)
    assert not recipe.cutmix


def test_no_student_is_trained_twice(students):
    of, asked = students
    assert of.under("hard", epochs=7) == of.under("hard", epochs=7) == 1.0
    assert of.under("fixed-soft", epochs=7) == 2.0
    assert [teacher for *_, teacher in asked] == [None, None]


def test_a_look_at_a_small_budget_makes_a_record(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_RUNS", str(tmp_path))
    monkeypatch.setattr(bench, "load", lambda _: toys.data())
    (tmp_path / "sets.yaml").write_text("random: {method: random}\nherding: {method: herding}\n")
    path = bench.main(bench.Study("digits", tmp_path / "sets.yaml", quick=True))
    assert path.is_relative_to(tmp_path)
    found = json.loads(path.read_text())
    assert [(each["set"], each["seed"]) for each in found["rows"]] == [
        ("random", 0),
        ("herding", 0),
        ("random", 1),
        ("herding", 1),
    ]
    assert "no verdict" in gains.sentences(found)[0]


# ---- what is kept


def test_a_part_is_made_once_until_what_it_depends_on_changes(tmp_path):
    path, made = tmp_path / "a" / "part.json", []

    def make():
        made.append(1)
        return {"value": len(made)}

    assert kept(path, {"lr": 1}, make) == kept(path, {"lr": 1}, make) == {"value": 1}
    assert kept(path, {"lr": 2}, make) == {"value": 2}
    assert kept(path, {"lr": 1}, make) == {"value": 3}
