"""The explorer of what methods match: numbers of a record in Python and in JavaScript, and what is refused."""

import copy
import json
import math
import shutil
import statistics
import subprocess

import pytest
from studies import BANDS, EPOCHS, GROUPS, KINDS, LAYERS, record, sheets
from traitlets import TraitError

from unidd.bench.effective import LEAST
from unidd.book import widgets
from unidd.book.matched import sheet_shape, summary
from unidd.book.widgets import MOST, MatchingExplorer

RECORD = record(seeds=3)
CHOICE = {"methods": ["cfm", "herding", "classification"], "epoch": "1", "layer": "first", "band": 2}
CHOICE |= {"view": "own", "measure": "transfer", "term": "class", "at": "0.5"}


def rows_of(method, study=RECORD):
    return [row for row in study["rows"] if row["method"] == method]


def place_of(row, at, group):
    return next(look for look in row["looks"] if look["at"] == at)["seen"][group]


# ---- over seeds


@pytest.mark.parametrize("method", ["random", "cfm", "herding"])
@pytest.mark.parametrize("epoch", EPOCHS)
def test_residuals_are_means_over_seeds_with_their_deviation(method, epoch):
    study = summary(RECORD)
    for view in study["residuals"][method]:
        for layer in LAYERS:
            for kind, found in zip(KINDS, study["residuals"][method][view][epoch][layer], strict=True):
                of = [row["residuals by epoch"][epoch][layer] for row in rows_of(method)]
                for j in range(BANDS):
                    left = [one[view][kind][j] for one in of]
                    kept = [1 - one["transfer"][view][kind][j] for one in of]
                    wanted = [
                        statistics.mean(left),
                        statistics.stdev(left),
                        statistics.mean(kept),
                        statistics.stdev(kept),
                    ]
                    assert [values[j] for values in found] == [
                        pytest.approx(value, rel=tolerance)
                        for value, tolerance in zip(wanted, (6e-3, 6e-2) * 2, strict=True)
                    ]


def test_a_method_that_sees_images_as_they_are_has_one_view():
    residuals = summary(RECORD)["residuals"]
    assert {name: list(views) for name, views in residuals.items()} == {
        "random": ["clean"],
        "cfm": ["clean", "own"],
        "lfm": ["clean", "own"],
        "herding": ["clean"],
        "classification": ["clean", "own"],
    }


def test_the_weights_of_bands_are_relative_to_the_largest_of_each_seed():
    study = summary(RECORD)
    for at in (0.0, 0.5, 1.0):
        for epoch, group in GROUPS.items():
            found = study["gradients"]["cfm"][f"{at:g}"][epoch]
            seen = [place_of(row, at, group) for row in rows_of("cfm")]
            for layer in LAYERS:
                for kind, weights in zip(KINDS, found["weights"][layer], strict=True):
                    own = [one["layers"][layer][kind]["weights"] for one in seen]
                    wanted = [statistics.mean(c[j] / max(c) if max(c) > 0 else 0.0 for c in own) for j in range(BANDS)]
                    assert weights == pytest.approx(wanted, abs=6e-3)
            assert found["r2"] == pytest.approx(0.65, rel=6e-3)
            assert found["bands"] == pytest.approx(0.15, rel=6e-3)
            assert found["explained"] == pytest.approx(0.3, rel=6e-3)


def test_where_cross_entropy_explains_all_bands_have_no_weights():
    study = summary(RECORD)
    found = study["gradients"]["classification"]["1"]["10"]
    assert (found["r2"], found["bands"], found["explained"]) == (1.0, 0.0, 0.0)
    assert found["weights"] == {layer: [[], [], []] for layer in LAYERS}
    assert study["gradients"]["random"] == study["gradients"]["herding"] == {}


def test_eigenvalues_are_the_geometric_mean_over_the_networks_of_seeds():
    one = copy.deepcopy(RECORD)
    for row in one["rows"]:
        for layers in row["residuals by epoch"].values():
            layers["first"]["eigenvalues"] = [4.0 ** row["seed"], 0.1, 0.01]
    assert summary(one)["eigenvalues"]["10"]["first"] == [4.0, 0.1, 0.01]


def test_of_one_seed_nothing_is_said_of_a_spread():
    study = summary(record(seeds=1))
    assert set(study["seeds"].values()) == {1}
    e, deviation, kept, other = study["residuals"]["cfm"]["clean"]["0"]["first"][0]
    assert (len(e), deviation, len(kept), other) == (BANDS, [], BANDS, [])


def test_the_methods_that_are_offered_stand_in_that_order_beside_the_reference():
    study = summary(RECORD, ("lfm", "random", "cfm"))
    assert (study["reference"], study["methods"]) == ("random", ["lfm", "cfm"])
    assert set(study["residuals"]) == {"random", "lfm", "cfm"}
    assert summary(RECORD)["methods"] == ["cfm", "lfm", "herding", "classification"]
    assert summary(RECORD)["places"] == ["0", "0.5", "1"]


def test_no_two_methods_look_alike_and_known_ones_as_everywhere():
    known = ("random", "cfm", "hfm", "lfm", "frepo", "kip", "head", "dm", "dc", "dsa", "mtt", "tesla", "classification")
    names = (*known, *(f"method{i}" for i in range(17)))
    styles = summary(record(names, seeds=1))["styles"]
    assert len({tuple(style) for style in styles.values()}) == len(names)
    assert (styles["random"], styles["cfm"], styles["lfm"]) == (
        ["allpass", "dot"],
        ["ridge", "solid"],
        ["linear", "dash"],
    )


def test_all_that_a_page_needs_of_17_methods_and_five_seeds_is_light(monkeypatch):
    monkeypatch.setattr("studies.LAYERS", ("features.4", "features.8", "head"))
    monkeypatch.setattr("studies.BANDS", 4)
    names = ("random", "herding", "rded", *(f"method{i}" for i in range(14)))
    explorer = MatchingExplorer(record(names, seeds=5))
    assert len(json.dumps(explorer.state())) < 150_000


# ---- what is refused


def without(part):
    broken = copy.deepcopy(RECORD)
    del broken["rows"][3][part]
    return broken


def broken(change):
    study = copy.deepcopy(RECORD)
    change(study["rows"][3])
    return study


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, 'has no "rows"'),
        (without("looks"), r"\(cfm, seed 0\) lacks 'looks'"),
        ({"rows": RECORD["rows"] + RECORD["rows"][:1]}, "has random, seed 0, twice"),
        ({"rows": rows_of("cfm")}, "no method 'random'; it has: cfm"),
        ({"rows": rows_of("random")}, "a method beside 'random'"),
        (broken(lambda row: row["residuals by epoch"].pop("1")), "of the same epochs"),
        (broken(lambda row: [row["residuals by epoch"]["1"].pop(layer) for layer in LAYERS]), "no layer in common"),
        (broken(lambda row: row["residuals by epoch"]["1"]["first"]["eigenvalues"].pop()), "same number of bands"),
        (
            broken(
                lambda row: row["residuals by epoch"]["1"]["first"]["transfer"]["clean"].update({"mean": [None] * 3})
            ),
            "cfm, seed 0: its start leaves a band without residual",
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        MatchingExplorer(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"methods": ("sre2l",)}, "no method 'sre2l'; there are: cfm"),
        ({"methods": ("random",)}, "no method 'random'"),
        ({"epoch": "5"}, "no epoch '5'; there are: 0, 1, 10"),
        ({"layer": "third"}, "no layer 'third'"),
        ({"at": 0.25}, "no at '0.25'; there are: 0, 0.5, 1"),
        ({"band": 3}, "band must lie in 0 … 2, not 3"),
        ({"band": -1}, "band must lie in 0 … 2, not -1"),
        ({"view": "both"}, "view"),
        ({"measure": "gain"}, "measure"),
        ({"term": "signal"}, "term"),
    ],
    ids=str,
)
def test_a_choice_that_is_none_is_refused(wrong, message):
    with pytest.raises(TraitError, match=message):
        MatchingExplorer(RECORD, **wrong)


def test_at_most_six_methods_are_chosen():
    names = tuple(f"method{i}" for i in range(MOST + 1))
    study = record(("random", *names), seeds=1)
    assert MatchingExplorer(study, methods=names[:MOST]).methods == list(names[:MOST])
    with pytest.raises(TraitError):
        MatchingExplorer(study, methods=names)


def test_an_offered_method_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no method 'kip'"):
        MatchingExplorer(RECORD, offered=("cfm", "kip"))


# ---- sheets


def test_the_places_of_tiles_are_found_from_the_size_of_a_sheet():
    wanted = {"width": 5 * 34 - 2, "height": 13 * 34 - 2, "tile": 32, "columns": 5, "gap": 2}
    assert sheet_shape((168, 440), 32, 13) == wanted
    assert sheet_shape((160, 416), 32, 13) == wanted | {"width": 160, "height": 416, "gap": 0}


@pytest.mark.parametrize("size", [(168, 441), (167, 440), (168, 400), (20, 440)])
def test_a_sheet_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match="13 rows of tiles of 32×32 pixels"):
        sheet_shape(size, 32, 13)


def test_an_explorer_has_the_sheets_of_its_methods():
    explorer = MatchingExplorer(RECORD, sheets(), offered=("cfm",), tile=8, names=("moon", "grass"))
    assert set(explorer.sheets) == {"random", "cfm"}
    assert explorer.shape == {"width": 18, "height": 68, "tile": 8, "columns": 2, "gap": 2}
    assert (explorer.pictured, explorer.names) == (list(LAYERS), ": moon, grass")
    assert MatchingExplorer(RECORD).shape == {}


def test_sheets_may_be_of_some_layers():
    some = sheets(rows=1 + BANDS)
    assert MatchingExplorer(RECORD, some, layers=("second",), tile=8).pictured == ["second"]
    with pytest.raises(ValueError, match="7 rows of tiles"):
        MatchingExplorer(RECORD, some, tile=8)


def test_sheets_of_two_sizes_and_addresses_are_refused():
    with pytest.raises(ValueError, match="all sheets must be of one size"):
        MatchingExplorer(RECORD, sheets() | sheets(("lfm",), columns=3), tile=8)
    with pytest.raises(ValueError, match="must be a data URI"):
        MatchingExplorer(RECORD, {"cfm": "images/cfm.png"}, tile=8)


# ---- the same in JavaScript


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    """`bandReadings` of the page's script, of a study and several choices."""
    if shutil.which("node") is None:
        pytest.skip("no Node.js here")
    code = """const { study, choices } = JSON.parse(require("fs").readFileSync(0, "utf8"));
        console.log(JSON.stringify(choices.map((choice) => unidd.bandReadings(study, choice))));"""

    script = tmp_path_factory.mktemp("readings") / "script.js"  # too long for a command line
    script.write_text(f"{widgets.page_script()}\n{code}")

    def read(study, *choices):
        given = json.dumps({"study": study, "choices": choices})
        done = subprocess.run(["node", script], input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


def test_what_the_page_reads_is_what_the_record_says(readings):
    """Each number worked out again from the record: of two views, all measures, terms and bands."""
    choices = [
        CHOICE | {"view": view, "term": term, "band": band}
        for view in ("clean", "own")
        for term in KINDS
        for band in range(BANDS)
    ]
    for choice, found in zip(choices, readings(summary(RECORD), *choices), strict=True):
        assert [one["name"] for one in found] == ["random", *choice["methods"]]
        term, band = choice["term"], choice["band"]
        for one in found:
            of = [row["residuals by epoch"]["1"]["first"] for row in rows_of(one["name"])]
            view = choice["view"] if choice["view"] in of[0] else "clean"
            assert one["plain"] == (view != choice["view"])
            assert one["e"] == pytest.approx(statistics.mean(x[view][term][band] for x in of), rel=6e-3)
            gain = statistics.mean(x["transfer"][view][term][band] for x in of)
            assert one["T"] == pytest.approx(gain, rel=6e-3, abs=6e-3)
        random, cfm, herding, classification = found
        own = [place_of(row, 0.5, "epoch 1")["layers"]["first"][term]["weights"] for row in rows_of("cfm")]
        wanted = statistics.mean(c[band] / max(c) if max(c) else 0.0 for c in own)
        assert cfm["c"] == pytest.approx(wanted, abs=6e-3)
        assert (cfm["r2"], cfm["bands"], cfm["faint"]) == (0.65, 0.15, False)
        assert (classification["c"], classification["weights"], classification["faint"]) == (0, [], True)
        for still in (random, herding):
            assert not {"c", "r2", "bands"} & set(still), "no gradient"


def test_weights_are_faint_where_bands_explain_too_little(readings):
    study = summary(RECORD)
    for explained in (LEAST - 0.01, LEAST + 0.01):
        study["gradients"]["cfm"]["0.5"]["1"]["explained"] = explained
        ((_, cfm, *_),) = readings(study, CHOICE)
        assert cfm["faint"] == (explained < LEAST)


def test_a_layer_that_random_networks_of_a_method_lack_has_no_weights(readings):
    study = copy.deepcopy(RECORD)
    for row in rows_of("cfm", study):
        for look in row["looks"]:
            del look["seen"]["random"]["layers"]["second"]
    found = summary(study)
    assert list(found["gradients"]["cfm"]["1"]["0"]["weights"]) == ["first"]
    ((_, cfm, *_),) = readings(found, CHOICE | {"epoch": "0", "layer": "second"})
    assert "c" not in cfm
    assert cfm["weights"] == []
    assert math.isfinite(cfm["e"])


def test_the_page_lets_as_many_methods_be_chosen():
    assert f"const MOST = {MOST};" in widgets.module()
