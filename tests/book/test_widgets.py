"""Explorers on the Python side: traits, their limits, and what a page without a kernel gets."""

import base64
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from records import suite
from studies import record, sheets
from traitlets import TraitError

from unidd.book import pictures, widgets
from unidd.book.palette import LOOKS
from unidd.book.widgets import (
    EXPLORER,
    FILTERS,
    BandExplorer,
    CurriculumPlayer,
    FilterExplorer,
    ImageExplorer,
    MatchingExplorer,
    ResultsTable,
)
from unidd.core.spectra import high_frequency_share, normalised_power, participation, spectrum
from unidd.core.statistics import covariance

SPECTRA = {"first": [4.0, 0.5, 0.001], "second": torch.tensor([0.1, 2.0, -1e-9], dtype=torch.float64)}
PICTURE = torch.rand(32, 32, generator=torch.Generator().manual_seed(0)).double()
IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TERMS = {"filter": [0.1, 0.2, 0.3], "signal": [0.4, 0.5, 0.6]}
RUN = {
    "beta": [0.1, 0.05, 0.01],
    "synthetic": {"first": [[4.0, 0.5]] * 3, "second": [[2.0, 0.1]] * 3},
    "distances": {side: {"first": TERMS, "second": TERMS} for side in ("start", "classification", "distilled")},
}
RECORD = {
    "real": {"first": [4.0, 0.6], "second": [2.0, 0.2]},
    "start": {"first": [[3.0, 0.5]] * 3, "second": [[1.0, 0.1]] * 3},
    "runs": {"cosine": RUN, "constant": RUN | {"beta": [0.1] * 3}},
}
EXPLORERS = (
    lambda: FilterExplorer(SPECTRA, picture=PICTURE),
    lambda: BandExplorer(PICTURE, flc=torch.randn(64, 3)),
    lambda: ImageExplorer({"ridge": IMAGES, "linear": IMAGES / 2}, IMAGES, IMAGES),
    lambda: CurriculumPlayer(RECORD, IMAGES, IMAGES / 2),
    lambda: MatchingExplorer(record(), sheets(), tile=8),
    lambda: ResultsTable(suite()),
)


def test_state_is_plain_json_and_complete():
    explorer = FilterExplorer(SPECTRA, layer="second", beta=0.25, steps=7, filters=["ridge"])
    state = explorer._repr_mimebundle_()[0][EXPLORER]
    assert json.loads(json.dumps(state)) == state
    assert state["kind"] == "filters"
    assert state["layer"] == "second"
    assert (state["beta"], state["rate"], state["steps"], state["filters"]) == (0.25, 1.0, 7, ["ridge"])


def test_eigenvalues_are_sorted_and_never_negative():
    assert FilterExplorer(SPECTRA).eigenvalues == {"first": [4.0, 0.5, 0.001], "second": [2.0, 0.1, 0.0]}


@pytest.mark.parametrize("make", EXPLORERS)
def test_a_live_notebook_still_gets_the_widget(make):
    data, _ = make()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].startswith("Explorer")


@pytest.mark.parametrize("make", EXPLORERS)
def test_what_a_page_needs_is_plain_json_light_and_synchronised(make):
    """What the page needs is also what a kernel keeps in step: the two ways show the same."""
    explorer = make()
    state = explorer.state()
    assert json.loads(json.dumps(state)) == state
    assert set(state) <= set(explorer.trait_names(sync=True))
    assert len(json.dumps(state)) < 150_000


def test_an_explorer_of_a_whole_photograph_is_light():
    explorer = BandExplorer(pictures.photograph("chelsea"), flc=torch.randn(64, 10))
    assert len(json.dumps(explorer.state())) < 100_000


def test_the_drawing_has_a_response_for_each_filter_and_an_explorer_for_each_kind():
    source = str(FilterExplorer(SPECTRA)._esm)
    assert all(f"\n  {name}: (" in source and f'name: "{name}"' in source for name in FILTERS)
    assert all(f"{make().kind}: render" in source for make in EXPLORERS)


def test_the_drawing_is_made_of_short_files():
    for path in Path(widgets.__file__).with_name("explorers").glob("*.js"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 330, path.name
        assert max(map(len, lines)) <= 120, path.name


def test_values_move_both_ways():
    explorer, heard = FilterExplorer(SPECTRA), []
    explorer.observe(lambda change: heard.append(change.new), "beta")
    explorer.beta = 0.3
    explorer.set_state({"beta": 0.6})  # as a slider in the browser does
    assert heard == [0.3, 0.6]
    assert explorer.beta == 0.6


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 0},
        {"beta": float("nan")},
        {"beta": float("inf")},
        {"rate": 2.0},
        {"rate": -0.1},
        {"steps": 0},
        {"steps": 1001},
        {"filters": ["wiener"]},
        {"centre": 0},
        {"layer": "third"},
        {"eigenvalues": {}},
        {"eigenvalues": {"dead": [0.0, 0.0]}},
        {"eigenvalues": {"bad": [1.0, float("nan")]}},
        {"eigenvalues": {"indefinite": [1.0, -0.5]}},
    ],
    ids=str,
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(TraitError):
        FilterExplorer(**{"eigenvalues": SPECTRA} | wrong)


def test_a_refused_change_leaves_the_old_value():
    explorer = FilterExplorer(SPECTRA, beta=0.3)
    with pytest.raises(TraitError, match="beta must lie between 0 and"):
        explorer.beta = -1
    assert explorer.beta == 0.3


def test_a_tied_beta_is_one_over_rate_times_steps():
    explorer = FilterExplorer(SPECTRA, rate=0.5, steps=10, linked=True)
    assert explorer.beta == 4.0 / (0.5 * 10)
    explorer.steps = 40
    assert explorer.beta == 4.0 / (0.5 * 40)
    explorer.layer = "second"
    assert explorer.beta == 2.0 / (0.5 * 40)
    explorer.beta = 7.0  # it stays what it is tied to
    assert explorer.beta == 2.0 / (0.5 * 40)
    explorer.linked = False
    explorer.beta = 7.0
    assert explorer.beta == 7.0


def test_a_tied_beta_that_a_browser_sends_along_is_the_same():
    explorer = FilterExplorer(SPECTRA, linked=True)
    explorer.set_state({"steps": 8, "beta": 4.0 / 8})
    assert (explorer.steps, explorer.beta) == (8, 0.5)


def test_a_picture_adds_a_first_layer_of_its_patches():
    explorer = FilterExplorer(SPECTRA, picture=PICTURE)
    assert list(explorer.eigenvalues) == ["pixels, 8×8 patches", "first", "second"]
    assert explorer.layer == explorer.picture["layer"] == "pixels, 8×8 patches"
    quantised = (PICTURE * 255).round() / 255
    expected = spectrum(covariance(pictures.patches(quantised))).eigenvalues
    assert explorer.eigenvalues[explorer.layer] == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-12)
    assert FilterExplorer({}, picture=PICTURE).layer == explorer.layer


def test_patches_are_standardised_and_in_the_order_of_pixels():
    found = pictures.patches(PICTURE)
    assert found.shape == (49, 64)
    standard = (PICTURE - PICTURE.mean()) / PICTURE.std(correction=0)
    assert torch.allclose(found[8].reshape(8, 8), standard[4:12, 4:12])  # the second in the second row of seven


def test_a_photograph_is_grey_and_square():
    for name in ("camera", "astronaut"):
        picture = pictures.photograph(name, 64)
        assert picture.shape == (64, 64)
        assert 0 <= picture.min() < picture.max() <= 1
    with pytest.raises(ValueError, match="unknown photograph"):
        pictures.photograph("lena")


def test_the_share_of_the_class_signal_is_that_of_the_package():
    ffc, flc = covariance(torch.randn(99, 16).double()), torch.randn(16, 3)
    explorer = BandExplorer(PICTURE, ffc=ffc, flc=flc)
    assert explorer.signal == pytest.approx(participation(spectrum(ffc).basis, flc).tolist(), rel=1e-6)
    assert explorer.picture["side"] == 4
    assert BandExplorer(PICTURE).signal == []


@pytest.mark.parametrize("wrong", [{"first": 0}, {"last": 65}, {"mode": "halve"}], ids=str)
def test_a_band_out_of_range_is_refused(wrong):
    with pytest.raises(TraitError):
        BandExplorer(PICTURE, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"picture": PICTURE[:, :30]},
        {"picture": torch.ones(32, 32)},
        {"ffc": torch.eye(60)},
        {"ffc": torch.eye(9)},
        {"flc": torch.ones(60, 2)},
        {"flc": torch.ones(64)},
    ],
    ids=lambda wrong: f"{next(iter(wrong))} {tuple(next(iter(wrong.values())).shape)}",
)
def test_shapes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match=r"picture|FFC|class signal"):
        BandExplorer(**{"picture": PICTURE} | wrong)


def test_power_spectra_are_those_of_the_package_with_their_spread_over_seeds():
    seeds = torch.rand(3, 8).double()
    explorer = ImageExplorer({"ridge": IMAGES, "linear": IMAGES}, IMAGES, IMAGES, powers={"linear": seeds})
    frequency, power = normalised_power(IMAGES)
    assert explorer.frequency == pytest.approx(frequency.tolist())
    assert explorer.powers["ridge"] == {"mean": pytest.approx(power.mean(0).tolist(), rel=1e-5), "std": []}
    assert explorer.powers["linear"]["mean"] == pytest.approx(seeds.mean(0).tolist(), rel=1e-5)
    assert explorer.powers["linear"]["std"] == pytest.approx(seeds.std(0).tolist(), rel=1e-5)
    assert set(explorer.powers) == {"start", "real", "ridge", "linear"}
    assert explorer.named == {}


def test_the_share_of_a_curve_is_the_mean_of_the_images_shares_and_a_named_number():
    faint = IMAGES * torch.linspace(0.1, 1, len(IMAGES)).view(-1, 1, 1, 1)
    explorer = ImageExplorer({"ridge": faint}, IMAGES, IMAGES, about="toys")
    assert set(explorer.named) == {f"fine detail of {name}, toys" for name in ("ridge", "start", "real")}
    share = float(high_frequency_share(faint).mean())
    assert explorer.state()["named"]["fine detail of ridge, toys"] == pytest.approx(share, rel=1e-5)


def test_images_stand_in_rows_of_a_lossless_picture():
    explorer = ImageExplorer({"ridge": IMAGES}, IMAGES, IMAGES, columns=4)
    assert explorer.shape == [4 * 18 - 2, 2 * 18 - 2]
    picture = Image.open(io.BytesIO(base64.b64decode(explorer.sheets["ridge"].split(",")[1])))
    assert list(picture.size) == explorer.shape
    expected = (IMAGES[5, :, 3, 2] * 255).round().int().tolist()
    assert picture.getpixel((18 + 2, 18 + 3)) == (*expected, 255)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"images": {}}, ValueError),
        ({"images": {"one": IMAGES[0]}}, ValueError),
        ({"images": {"none": IMAGES[:0]}}, ValueError),
        ({"real": None}, ValueError),
        ({"chosen": "ridge"}, TraitError),
        ({"against": "real"}, TraitError),
    ],
)
def test_images_that_cannot_be_shown_are_refused(wrong, error):
    with pytest.raises(error):
        ImageExplorer(**{"images": {"linear": IMAGES}, "start": IMAGES, "real": IMAGES} | wrong)


def test_a_player_shows_the_first_round_of_the_cosine_schedule_in_the_last_layer():
    player = CurriculumPlayer(RECORD | {"teacher": {"hash": "…"}}, IMAGES, IMAGES / 2, names=("a", "b"))
    assert (player.round, player.schedule, player.layer, player.names) == (0, "cosine", "second", ": a, b")
    assert player.record == RECORD, "what the drawing does not need stays behind"
    assert player.shape == [2 * 18 - 2, 3 * 18 - 2], "a row a round"
    assert CurriculumPlayer(RECORD).sheets == {}


def test_rounds_move_both_ways_and_end_where_the_record_does():
    player, heard = CurriculumPlayer(RECORD), []
    player.observe(lambda change: heard.append(change.new), "round")
    player.round = 2
    player.set_state({"round": 1})
    assert heard == [2, 1]
    with pytest.raises(TraitError, match=r"round must lie in 0 … 2, not 3"):
        player.round = 3
    assert player.round == 1


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"round": -1}, TraitError),
        ({"schedule": "sine"}, TraitError),
        ({"layer": "third"}, TraitError),
        ({"images": IMAGES}, ValueError),
        ({"images": IMAGES[:5], "start": IMAGES[:5]}, ValueError),
        ({"images": IMAGES, "start": IMAGES[:3]}, ValueError),
    ],
)
def test_rounds_that_cannot_be_shown_are_refused(wrong, error):
    with pytest.raises(error):
        CurriculumPlayer(RECORD, **wrong)


def test_the_explorers_have_the_looks_of_the_palette():
    style = (Path(widgets.__file__).with_name("explorers") / "style.js").read_text()
    for name, look in LOOKS.items():
        assert f"--ux-{name.replace('-', '')}: {look.colour};" in style
    explorer = ImageExplorer({"ridge, β = 0.1": IMAGES, "CFM": IMAGES, "mine": IMAGES}, IMAGES, IMAGES)
    assert explorer.looks == {"ridge, β = 0.1": "ridge", "CFM": "ridge", "mine": "own"}
