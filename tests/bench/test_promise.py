"""What the chapter on the deep methods reads out of its study, against a record small enough to work out by hand."""

import math

import pytest

from unidd.bench import promise
from unidd.bench.tables import paired
from unidd.core.bands import KINDS


def seen(left: list[float], gain: list[float], own: float | None = None) -> dict:
    """A layer of which every kind is the same; in the method's own view all is `own` times as much."""
    views = {"clean": 1.0} | ({"own": own} if own else {})
    found = {view: {kind: [times * value for value in left] for kind in KINDS} for view, times in views.items()}
    return {"eigenvalues": [1, 0.1], **found, "transfer": {view: dict.fromkeys(KINDS, gain) for view in views}}


def row(method: str, seed: int, left: list[float], gain: list[float], own: float | None = None) -> dict:
    return {"method": method, "seed": seed, "residuals by epoch": {"0": {"4": seen(left, gain, own)}}}


RECORD = {
    "rows": [
        row("random", 0, [0.1, 0.2], [0, 0]),
        row("random", 1, [0.2, 0.2], [0, 0]),
        row("lfm", 0, [0.1, 0.8], [0.5, -3], own=0.5),
        row("lfm", 1, [0.4, 0.4], [0, -1], own=0.5),
    ],
    "verdicts": {},
}


def of(view: str):
    frame = promise.residuals(RECORD)
    return frame[(frame.view == view) & (frame.kind == "class")]


def test_a_line_for_each_number_and_the_clean_view_where_there_is_no_other():
    frame = promise.residuals(RECORD)
    assert len(frame) == 4 * 2 * 2 * len(KINDS)
    assert frame.epochs.tolist() == [0] * len(frame)
    assert promise.wide(of("clean")).loc["lfm"].tolist() == pytest.approx([0.25, 0.6])
    assert promise.wide(of("own")).loc["lfm"].tolist() == pytest.approx([0.125, 0.3])
    assert promise.wide(of("own")).loc["random"].tolist() == pytest.approx([0.15, 0.2])
    assert promise.wide(of("clean")).index.tolist() == ["random", "lfm"], "in the record's order"


def test_what_is_left_is_compared_with_the_start_and_with_another_method():
    start = promise.left_of(of("clean"), "lfm", 1)
    assert start.mean == pytest.approx(math.sqrt(4 * 2))
    logs = paired([math.log(4), math.log(2)], [0, 0])
    assert list(start) == pytest.approx([math.exp(value) for value in logs])
    other = promise.left_of(of("clean"), "lfm", 0, of="random")
    assert other.mean == pytest.approx(math.sqrt(1 * 2))


def test_who_began_with_noise_was_asked_to_or_always_does():
    rows = [
        {"method": name, "hyper-parameters": asked}
        for name, asked in (
            ("random", {}),
            ("dc", {"init": "noise"}),
            ("dsa", {"init": "real"}),
            ("sre2l", {}),
            ("dc", {"init": "noise"}),
        )
    ]
    assert promise.from_noise({"rows": rows}) == ["dc", "sre2l"]


def test_what_was_gained_on_another_method_is_one_less_its_ratio_with_the_ends_turned():
    table = promise.transfers(of("clean"), "random")
    assert list(table.index) == ["lfm"]
    ratio = promise.left_of(of("clean"), "lfm", 0, of="random")
    ends = [f"{1 - end:+.2f}".replace("-", "−") for end in (ratio.high, ratio.low)]
    assert table.loc["lfm", 0] == f"{1 - ratio.mean:+.2f}".replace("-", "−") + f" [{ends[0]}, {ends[1]}]"
    assert len(table.columns) == of("clean")["band"].nunique()


def test_a_single_repetition_has_no_interval():
    one = promise.Ratio.of([0.5])
    assert (one.mean, str(one)) == (0.5, "× 0.5")
    assert math.isnan(one.low)
    assert str(promise.Ratio(2, 1.5, 3)) == "× 2 [1.5, 3]"


def place(r2: float, word: str, said: list[str], low: float | None = 0.1) -> dict:
    words = {"mean": 0.3, "low": low, "high": 0.5, "explained": 0.9, "word": word, "said": said}
    return {"r2": r2, "cross-entropy": 0.25, "noise": 0.1, "all": words}


def verdicts(words: list[str], said: list[str]) -> dict:
    best = {at: place(0.9, word, said) for at, word in zip(("0", "0.5", "1"), words, strict=True)}
    return {"random": dict.fromkeys(best, place(0.2, "neither", said)), "epoch 10": best}


def judged(words: list[str], said: list[str], n: int = 5) -> str:
    rows = [{"method": "lfm", "seed": seed} for seed in range(n)]
    (sentence,) = promise.sentences(promise.behaves({"rows": rows, "verdicts": {"lfm": verdicts(words, said)}}))
    return sentence


def test_a_method_is_seen_through_the_networks_that_explain_it_best():
    found = promise.behaves({"rows": [], "verdicts": {"lfm": verdicts(["neither"] * 3, [])}})
    assert found.networks.unique().tolist() == ["the teacher"]
    assert found.place.tolist() == ["start", "middle", "end"]
    assert found.r2.tolist() == [0.9] * 3


LOW, HIGH, NEITHER, UNSEEN = "low-pass", "high-pass", "neither", "unseen"


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ([LOW] * 3, "kept"),
        ([HIGH] * 3, "broken"),
        ([LOW, UNSEEN, HIGH], "kept at the start, broken at the end"),
        ([LOW, NEITHER, LOW], "kept at the start and the end"),
        ([NEITHER, UNSEEN, HIGH], "broken at the end"),
        ([NEITHER, UNSEEN, NEITHER], "not decided"),
        ([UNSEEN] * 3, "bands explain too little of its gradient for a word"),
    ],
    ids=str,
)
def test_a_promise_is_kept_or_broken_where_something_else_was_shown(words, end):
    tilts = ["" if word == UNSEEN else " (+0.30 [+0.10, +0.50])" for word in words]
    steps = [
        f"{word} at the {at}{tilt}" for word, at, tilt in zip(words, ("start", "middle", "end"), tilts, strict=True)
    ]
    assert judged(words, [LOW]) == (
        f"lfm: the theory says low-pass; seen through the teacher, {', '.join(steps)}: {end}"
    )


def test_where_the_theory_says_nothing_nothing_is_kept_or_broken():
    assert judged([LOW] * 3, []).endswith(": nothing was promised")


def test_few_repetitions_have_no_verdict():
    assert judged(["no verdict"] * 3, [], n=4) == "lfm: the theory says nothing; n = 4, no verdict"


def test_how_long_methods_descended_stands_beside_their_own_lengths():
    rows = [
        {"method": m, "hyper-parameters": h} for m, h in (("random", {}), ("dm", {"steps": 9}), ("kip", {"steps": 9}))
    ]
    assert promise.lengths({"rows": rows}) == (
        "9 steps, where the package takes 300 (`kip`) to 20,000 (`dm`) by default"
    )


def test_a_study_that_is_not_there_says_so_and_a_picture_is_none():
    with pytest.raises(FileNotFoundError, match="did not come with this installation"):
        promise.found("never")
    assert promise.picture("lfm", "images", "never") is None


def test_hyper_parameters_that_say_little_are_named():
    def of(ipc: int, **asked: dict) -> str:
        rows = [{"method": name, "hyper-parameters": found} for name, found in asked.items()]
        return promise.cautions({"rows": rows, "settings": {"ipc": ipc}})

    assert of(10, dc={"outer": 1}, dsa={"outer": 1}).startswith(" `dc` and `dsa` drew a network for every step")
    assert of(1, dc={"outer": 1}) == of(10, dc={"outer": 10}, random={}) == of(10, frepo={"lr": 0.01}) == ""
    assert "`frepo` had its published rate, 0.0003" in of(10, frepo={"lr": 3e-4})


def test_what_bands_are_off_by_is_told_of_the_start_the_end_and_the_control():
    def left(low: float, high: float) -> dict:
        return {"head": {"residual": {"class": [low, high]}, "term": {"class": [low**2, high**2]}}}

    path = [{"left": left(0.2, 0.4)}, {"left": left(9, 9)}, {"left": left(0.1, 0.8)}]
    rows = [{"seed": 3, "epochs": 10, "on": "gradients", "path": path, "shuffled": left(0.3, 0.5)}]
    found = promise.ends({"rows": rows})
    assert found.measure.tolist() == ["residual", "residual", "term", "term"]
    for measure in ("residual", "term"):
        lines = found[found.measure == measure]
        assert lines.band.tolist() == [0, 1]
        assert lines.start.tolist() == pytest.approx([0.2, 0.4])
        assert lines.end.tolist() == pytest.approx([0.1, 0.8])
        assert lines.control.tolist() == pytest.approx([0.3, 0.5])
    assert set(found.on) == {"gradients"}
    assert set(zip(found.seed, found.epochs, found.layer, found.kind, strict=True)) == {(3, 10, "head", "class")}
