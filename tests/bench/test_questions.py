"""Answers on records whose numbers can be worked out by hand; and every question has one, or the reason why not."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import studies
from records import record

from unidd.bench import questions
from unidd.bench.questions import QUESTIONS, Found
from unidd.bench.records import load_records, published

PAGES = Path(__file__).resolve().parents[2] / "notebooks"
SEEDS = [0, 1, 2, 3, 4]
BASE = [50.0, 51.0, 52.0, 53.0, 54.0]
SURE = [3.0, 4.0, 3.0, 4.0, 3.0]  # 3.4 ± 0.7: the interval leaves out 0
UNSURE = [9.0, -8.0, 7.0, -9.0, 3.0]  # 0.4 ± 10.4
ASKED = (
    *("spectral density", "extractor is trained", "matching gradients", "loose are the bounds", "linear kernel"),
    *("time and memory", "learnt soft labels", "bytes", "schedule of β", "one image a class", "matching terms"),
    *("FreD, NSD, NCFM and WMDD", "full set", "random real images", "coresets", "the evaluation", "real pixels"),
)


def made(method, gains=(0.0,) * 5, ipc=10, suite="photos", regimes=("hard",), seeds=None, **changes):
    seeds = SEEDS if seeds is None else seeds
    values = [base + gain for base, gain in zip(BASE, gains, strict=True)][: len(seeds)]
    cards = [{"hash": f"t{seed}", "accuracy": 90.0} for seed in seeds]
    role = {"random": "baseline", "full": "ceiling", "herding": "coreset"}.get(method, "method")
    fields = {"seeds": seeds, "accuracy": dict.fromkeys(regimes, values), "teachers": cards, "role": role}
    return record(method, ipc, **fields | {"suite": suite} | changes)


def found(*records, folder=None):
    return Found.of(records, *([folder] if folder else []))


def study(folder, name, file, content):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / file).write_text(json.dumps(content))
    return folder


# ---- the list


def test_the_list_has_what_was_asked_each_once():
    for words in ASKED:
        assert sum(words in question.asks for question in QUESTIONS) == 1, words
    assert len(QUESTIONS) == len(ASKED)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.asks)
def test_every_question_has_a_number_or_the_reason_why_not(question):
    everything = Found.of(load_records(published()), published("studies"))
    answer = question.answer(everything)
    assert re.search(r"\d", answer) or "not run, because " in answer
    assert not re.search(r"\bnan\b|None|inf\b", answer)
    assert "not run, because " in question.answer(found()), "without records"
    page = question.page
    assert (
        (PAGES / f"{page}.py").exists()
        if page[0] != "#"
        else f"({page[1:]})=" in (PAGES / "11_questions.py").read_text()
    )


def test_the_list_has_an_entry_and_a_link_for_each():
    frame = questions.answers(found())
    shown = questions.listed(frame)
    assert list(frame.index) == [question.asks for question in QUESTIONS]
    assert shown.count("<dt>") == shown.count("<dd>") == len(QUESTIONS)
    assert '<a href="05_bounds.html">Bounds</a>' in shown
    assert "<code>make batch SUITE=photos</code>" in shown
    assert "images?" in shown
    assert "`" not in shown


# ---- verdicts


@pytest.mark.parametrize(
    ("gains", "seeds", "words"),
    [
        (SURE, SEEDS, "better, +3.4 [+2.7, +4.1] (n = 5)"),
        ([-gain for gain in SURE], SEEDS, "worse, −3.4 [−4.1, −2.7] (n = 5)"),
        (UNSURE, SEEDS, "not told apart, +0.4"),
        (SURE, SEEDS[:4], "no verdict, +3.5"),
    ],
    ids=["better", "worse", "interval", "n"],
)
def test_one_image_a_class_in_words(gains, seeds, words):
    answer = questions.one_image(found(made("random", ipc=1, seeds=seeds), made("cfm", gains, 1, seeds=seeds)))
    assert answer.startswith(f"CFM beside random real images: photos, IPC 1, hard labels: {words}")


def test_other_seeds_and_a_shared_teacher_decide_nothing():
    other = found(made("random", ipc=1, seeds=[5, 6, 7, 8, 9]), made("cfm", SURE, 1))
    assert "no verdict, because the seeds are others" in questions.one_image(other)
    one = [{"hash": "t", "accuracy": 90.0}] * 5
    assert "no verdict, +3.4" in questions.one_image(found(made("random", ipc=1), made("cfm", SURE, 1, teachers=one)))


def test_terms_and_other_curricula_stand_beside_what_they_are_compared_with():
    answer = questions.terms(found(made("classification"), made("cfm", SURE), made("lfm", UNSURE)))
    assert answer == (
        "beside cross-entropy alone: LFM, photos, IPC 10, hard labels: not told apart, +0.4 [−10.0, +10.8] (n = 5); "
        "CFM, photos, IPC 10, hard labels: better, +3.4 [+2.7, +4.1] (n = 5)"
    )
    of = [made(name, gains, suite="schedules") for name, gains in (("cfm", SURE), ("cfm-log", [0.0] * 5))]
    assert (
        questions.schedules(found(*of))
        == "the cosine beside log: photos (suite schedules), IPC 10, hard labels: better, +3.4 [+2.7, +4.1] (n = 5)"
    )


def test_what_is_left_by_schedule_is_the_mean_over_layers(tmp_path):
    layers = {"conv 1": {"filter": [9.0, 0.1]}, "conv 2": {"filter": [9.0, 0.3]}}
    runs = {"cosine": {"distances": {"distilled": layers}}}
    answer = questions.schedules(found(folder=study(tmp_path, "curriculum", "photos.json", {"runs": runs})))
    assert "not run, because" in answer
    assert "cosine 0.200 (n = 1, no verdict)" in answer


def test_how_near_the_full_set():
    answer = questions.near_full(found(made("cfm"), made("full", SURE, ipc=None)))
    first, words = "CFM beside training on all images with hard labels", "+3.4 [+2.7, +4.1] points below (n = 5)"
    assert answer.startswith(f"{first}: photos, IPC 10, hard labels: {words}; CIFAR-100: not run, because")


def test_the_suite_with_the_most_methods_answers():
    few = [made(name, gains) for name, gains in (("classification", [0.0] * 5), ("cfm", UNSURE))]
    many = [made(name, gains, suite="methods") for name, gains in (("classification", [0.0] * 5), ("cfm", SURE))]
    assert "CFM, photos, IPC 10, hard labels: not told apart" in questions.terms(found(*few))
    answer = questions.terms(found(*few, *many))
    assert answer.endswith("CFM, photos (suite methods), IPC 10, hard labels: better, +3.4 [+2.7, +4.1] (n = 5)")
    assert "not told apart" not in answer


def test_blending_is_compared_with_both_that_it_came_from():
    three = [made(m, g, suite="digits", dataset="digits") for m, g in (("rded", SURE), ("sre2l", [-9.0] * 5))]
    answer = questions.residual(found(*three, made("fadrm", suite="digits", dataset="digits")))
    assert answer.startswith("FADRM beside SRe2L, which begins with noise: digits, IPC 10, hard labels: better, +9.0")
    assert "; FADRM beside RDED, whose patches it begins with: digits, IPC 10, hard labels: worse, −3.4" in answer
    assert answer.endswith(". Patches and blending were not varied one at a time")


def test_rivals_are_compared_once_the_package_has_them(monkeypatch):
    assert "(4 of 4): not run, because the package does not have them" in questions.rivals(found())

    class NCFM:
        labels = "hard"

        @staticmethod
        def path():
            return "ncfm"

    monkeypatch.setattr(questions.methods, "found", lambda: [NCFM])
    answer = questions.rivals(found(made("ncfm"), made("cfm", SURE)))
    assert answer == (
        "CFM beside NCFM: photos, IPC 10, hard labels: better, +3.4 [+2.7, +4.1] (n = 5); "
        "FreD, NSD, WMDD (3 of 4): not run, because the package does not have them"
    )


def test_learnt_labels_are_of_the_methods_that_learn_them():
    several = [
        made(name, gains, suite="digits", dataset="digits", regimes=("fixed-soft",))
        for name, gains in (("random", [0] * 5), ("frepo", SURE))
    ]
    answer = questions.learnt(found(*several))
    missing = (
        "CFM that learns its labels, not run, because there are no records: `make batch SUITE=labels` makes them; "
    )
    assert answer.startswith(missing)
    assert "`frepo`, digits, IPC 10, fixed soft labels: better, +3.4" in answer


def test_learnt_labels_of_cfm_stand_beside_the_teachers():
    several = [
        made(name, gains, suite="labels", regimes=("fixed-soft",))
        for name, gains in (("random", [0] * 5), ("cfm-class", SURE), ("cfm-labels", [2 * gain for gain in SURE]))
    ]
    beside = questions.learnt(found(*several)).split("; ")
    assert beside[0].startswith(
        "CFM that learns its labels, beside CFM with the teacher's labels: photos (suite labels), IPC "
        "10, fixed soft labels: better, +3.4"
    )
    assert "beside random real images with the teacher's labels" in beside[1]
    assert len(beside) == 2


def test_no_number_of_images_a_class_is_left_out():
    several = [made(name, gains, ipc) for ipc in (1, 10) for name, gains in (("random", [0] * 5), ("cfm", SURE))]
    assert len(list(questions.beside(found(*several), "cfm", "random", "photos"))) == 2


def test_where_a_set_beats_random_and_the_best_coreset():
    rows = [
        made("random"),
        made("herding", [1.0] * 5),
        made("cfm", SURE),
        made("dm", UNSURE),
        made("mtt", SURE, config={"method": {"shared": True}}),
        *(made(m, g, ipc=1, regimes=("hard", "online-soft")) for m, g in (("random", [0.0] * 5), ("dm", UNSURE))),
        *(
            made(m, g, suite="theirs", config={"cell": {"protocol": "dsa"}})
            for m, g in (("random", [0.0] * 5), ("dsa", SURE), ("dm", [9.0] * 5))
        ),
    ]
    assert questions.soft_labels(found(*rows)).endswith(
        "with hard labels in 2 of 3: photos at IPC 10 (`cfm`, 1 of 2), photos at IPC 10 under dsa (`dm`, 2 of 2); "
        "with online soft labels in 0 of 1: none"
    )
    assert questions.coresets(found(*rows)).endswith("with hard labels in 1 of 1: photos at IPC 10 (`cfm`, 1 of 2)")


def test_what_the_evaluation_moves():
    values = {"random": (60.0, 50.0), "cfm": (20.0, 58.0)}
    rows = [made(m, suite="digits", accuracy={"hard": [h] * 5, "online-soft": [s] * 5}) for m, (h, s) in values.items()]
    answer = questions.settings(found(*rows))
    assert "moves one set by 10.0 to 38.0 points" in answer
    assert "40.0 with hard labels, 8.0 with online soft labels apart" in answer
    assert "`make batch SUITE=protocols-digits` has no records" in answer


# ---- deep methods


def test_bands_against_ratios_worked_out_here(tmp_path):
    content = studies.record(("random", "lfm", "cfm", "dsa", "mtt"), seeds=5)
    here = found(folder=study(tmp_path, "matching", "photos.json", content))
    own = [r["residuals by epoch"]["10"]["second"]["own"]["filter"] for r in content["rows"] if r["method"] == "lfm"]
    product = 1.0
    for left in own:
        product *= (left[2] / left[0]) ** 0.2
    trained = questions.trained(here).split("; ")[0]
    assert trained.startswith("`lfm` leaves in the highest band, over the lowest, × ")
    assert re.search(rf"× {re.escape(f'{product:.2g}')} \[[^]]+\] at ten epochs \(\w[\w ]*, n = 5\)$", trained)
    transfer = [
        r["residuals by epoch"]["0"]["second"]["transfer"]["own"]["filter"]
        for r in content["rows"]
        if r["method"] == "dsa"
    ]
    product = 1.0
    for gain in transfer:
        product *= (1 - gain[0]) ** 0.2
    answer = questions.implied(here)
    assert f"`dsa` leaves in the lowest band × {product:.2g} [" in answer
    assert "(more, so no, n = 5)" in answer
    noisy = {**content, "rows": [{**row, "hyper-parameters": {"init": "noise"}} for row in content["rows"]]}
    answer = questions.implied(found(folder=study(tmp_path, "matching", "photos.json", noisy)))
    assert answer.count("(no verdict, because it begins with noise, n = 5)") == 2
    assert "`mtt` leaves in the highest band" in answer
    few = found(folder=study(tmp_path, "matching", "photos.json", studies.record(("random", "lfm", "dsa"), seeds=2)))
    assert "(no verdict, n = 2)" in questions.trained(few)
    assert "(no verdict, n = 2)" in questions.implied(few)


@pytest.mark.parametrize(("n", "words"), [(5, "more than random real images: `cfm`; less: none"), (4, "no verdict")])
def test_fine_detail(n, words, tmp_path):
    rows = [
        {"method": name, "seed": seed, "images": {"high": level + seed / 1000}, "teacher": {"hash": f"t{seed}"}}
        for name, level in (("random", 0.1), ("cfm", 0.2))
        for seed in range(n)
    ]
    answer = questions.detail(found(folder=study(tmp_path, "matching", "photos.json", {"rows": rows})))
    assert f"`random` 10.{n * 5 - 5:02d}"[:12] in answer
    assert answer.endswith(words)


def test_the_bounds_are_means_over_layers_and_epochs_from_the_first_on(tmp_path):
    for seed in (0, 1):
        measured = [(0, 0, "random", 99.0), (1, 0, "random", 3.0 + seed), (2, 0, "random", 5.0 + seed)]
        measured += [(1, 0, "distilled", 99.0), (1, 1000, "random", 7.0)]
        rows = [
            {"epoch": epoch, "head_steps": steps, "synthetic": kind, "dc": {"ratio": ratio}, "mtt": {"ratio": 2.0}}
            for epoch, steps, kind, ratio in measured
        ]
        study(tmp_path, "bounds", f"photos-seed{seed}.json", {"rows": rows})
    assert questions.looseness(found(folder=tmp_path)) == (
        "bound over truth: DC × 4.5 ± 0.7 for a random head, DC × 7.0 ± 0.0 for a head of 1,000 steps, "
        "MTT × 2.0 ± 0.0 for a random head, MTT × 2.0 ± 0.0 for a head of 1,000 steps (n = 2)"
    )


# ---- bytes and time


def test_points_and_budget_have_a_line_a_regime():
    said = {"images": 1000, "hard": 10, "online-soft": 5000}
    both = [
        made(m, g, suite="digits", regimes=("hard", "online-soft"), bytes=said)
        for m, g in (("random", [0] * 5), ("cfm", SURE))
    ]
    shown = questions.points(found(*both), "digits")
    assert sorted(zip(shown["method"], shown["regime"], shown["bytes"], strict=True)) == [
        ("cfm", "hard", 1010),
        ("cfm", "online-soft", 6000),
        ("random", "hard", 1010),
        ("random", "online-soft", 6000),
    ]
    table = questions.budget(found(*both), "digits")
    assert list(table.index) == [(10, "hard"), (10, "online soft")]
    assert table.iloc[0].tolist() == ["1.0 KiB", "52.0 ± 1.6", "55.4 ± 1.7, cfm"]
    assert not len(questions.budget(found(), "digits"))
    assert "1.0 KiB with hard labels and 5.9 KiB with the teacher" in questions.soft_bytes(found(*both))


def test_cost_is_a_set_and_a_student():
    several = [
        made(
            "cfm",
            suite="digits",
            seconds={"distill": 10.0, "students": 30.0},
            regimes=("hard", "online-soft"),
            memory=2**30,
        ),
        made("dm", suite="digits", seconds={"distill": 300.0, "students": 5.0}),
    ]
    frame = questions.cost(found(*several), "digits")
    assert frame[["method", "set", "student"]].to_numpy().tolist() == [["cfm", 2.0, 3.0], ["dm", 60.0, 1.0]]
    shown = questions.costs(found(*several))
    assert shown.loc[("digits", "cfm")].tolist() == ["2.0 s", "3.0 s", "1.0 GiB"]
    assert shown.loc[("digits", "dm"), "memory"] == "not recorded"
    answer = questions.dear(found(*several))
    assert "a set of CFM 2.0 s, of 2 methods `cfm` 2.0 s to `dm` 1 min 0 s" in answer
    assert "memory: recorded in 1 of 2 records" in answer
    assert isinstance(questions.costs(found()), pd.DataFrame)
