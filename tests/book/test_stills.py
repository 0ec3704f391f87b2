"""Still pictures: what is seen in the SVG is where the numbers are, pixel by pixel where there are pixels."""

import base64
import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from records import suite
from studies import BANDS, LAYERS, record, sheets

from unidd.book import pictures, plots, stills
from unidd.book.widgets import (
    BandExplorer,
    CurriculumPlayer,
    DigitsExplorer,
    FilterExplorer,
    ImageExplorer,
    MatchingExplorer,
    ResultsTable,
)
from unidd.core.filters import Linear, Ridge
from unidd.core.spectra import spectrum
from unidd.core.statistics import covariance
from unidd.data.datasets import load

PICTURE = torch.rand(32, 32, generator=torch.Generator().manual_seed(0)).double()
IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
SPECTRA = {"first": [4.0, 0.5, 0.001], "second": [2.0, 0.1, 0.0]}
TERMS = {"filter": [0.1, 0.2, 0.3], "signal": [0.4, 0.5, 0.6]}
RUN = {"beta": [0.1, 0.05, 0.01], "synthetic": {"first": [[4.0, 0.5]] * 3}}
RUN["distances"] = {side: {"first": TERMS} for side in ("start", "classification", "distilled")}
RECORD = {"real": {"first": [4.0, 0.6]}, "start": {"first": [[3.0, 0.0]] * 3}, "runs": {"cosine": RUN}}
EXPLORERS = {
    "filters": lambda: FilterExplorer(SPECTRA, picture=PICTURE, filters=["ridge", "residual", "bandpass"]),
    "a layer": lambda: FilterExplorer(SPECTRA, layer="second"),
    "band": lambda: BandExplorer(PICTURE, flc=torch.ones(64, 3), mode="drop", stretch=True),
    "images": lambda: ImageExplorer({"ridge": IMAGES, "linear": IMAGES / 2}, IMAGES, IMAGES),
    "curriculum": lambda: CurriculumPlayer(RECORD, IMAGES, IMAGES / 2, round=1),
    "digits": lambda: DigitsExplorer(load("digits")),
    "no pictures": lambda: CurriculumPlayer(RECORD),
    "matching": lambda: MatchingExplorer(record(), sheets(), methods=("cfm", "herding"), tile=8),
    "no sheets": lambda: MatchingExplorer(record(), measure="transfer", view="own"),
    "results": lambda: ResultsTable(suite(), data="photos"),
}


def drawn(chart: go.Figure) -> str:
    """The SVG of a figure, as the book gets it."""
    return stills.figure(json.loads(chart.to_json())).decode()


def curves(svg: str, colour: str) -> list[np.ndarray]:
    """Points (n, 2) of each curve of a colour; y grows downwards."""
    found = re.findall(rf'<path d="([^"]*)"[^>]*style="fill: none; stroke(?:-dasharray: [^;]*)?[^"]*{colour}', svg)
    return [np.array(re.findall(r"[ML] (\S+) (\S+)", d), dtype=float) for d in found]


def relative(values) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return (values - values[0]) / (values[-1] - values[0])


def embedded(svg: str) -> list[np.ndarray]:
    """Pixels (H, W, 4) of the pictures in an SVG."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", svg)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGBA")) for code in found]


@pytest.mark.parametrize("scales", [("linear", "linear"), ("log", "linear"), ("log", "log")])
@pytest.mark.parametrize("packed", [False, True], ids=["lists", "arrays"])
def test_a_curve_goes_through_its_points(scales, packed):
    x, y = np.array([0.01, 0.5, 2.0, 30.0]), np.array([0.2, 4.0, 0.7, 1.9])
    line = {"color": "#123456"}
    trace = go.Scatter(x=x if packed else x.tolist(), y=y if packed else y.tolist(), mode="lines", line=line)
    axes = {f"{side}axis": {"type": scale} for side, scale in zip("xy", scales, strict=True)}
    (points,) = curves(drawn(plots.figure([trace], "a curve", **axes)), "#123456")
    for at, values, scale in zip(points.T, (x, y), scales, strict=True):
        expected = np.log(values) if scale == "log" else values
        np.testing.assert_allclose(relative(at), relative(expected), atol=1e-4)


def test_points_without_x_are_counted_and_a_gap_stays_one():
    trace = go.Scatter(y=[1, None, 3, 5], mode="lines", line={"color": "#123456"})
    (points,) = curves(drawn(plots.figure([trace], "a curve")), "#123456")
    assert len(points) == 3
    assert points[2, 0] - points[1, 0] == pytest.approx((points[1, 0] - points[0, 0]) / 2, abs=1e-3)


def test_bars_are_as_long_as_their_numbers():
    traces = [go.Bar(x=["a", "b"], y=[1.0, 3.0], marker={"color": colour}) for colour in ("#123456", "#654321")]
    svg = drawn(plots.figure(traces, "bars"))
    for colour in ("#123456", "#654321"):
        boxes = re.findall(rf'<path d="([^"]*)"[^>]*style="fill: {colour}', svg)
        heights = [np.ptp(np.array(re.findall(r"[ML] (\S+) (\S+)", box), dtype=float)[:, 1]) for box in boxes]
        assert heights[1] / heights[0] == pytest.approx(3, rel=1e-4)
    assert svg.index(">a<") < svg.index(">b<")


def test_what_a_figure_says_is_in_its_still():
    svg = drawn(plots.filters({"ridge": Ridge(0.1), "linear": Linear()}, torch.tensor([2.0, 0.2, 0.02]), "a layer"))
    for words in ("ridge", "linear", "eigenvalues", "λ (large = low frequency)"):
        assert f">{words}<" in svg


def test_ticks_are_as_far_apart_as_told():
    trace = go.Scatter(x=[1, 2, 3, 4, 5], y=[0.0, 40.0, 10.0, 20.0, 30.0])

    def ticks(**axis):
        return re.findall(r">(\d(?:\.\d)?)<", drawn(plots.figure([trace], "a line", xaxis=axis)))

    assert "1.5" in ticks()
    assert ticks(dtick=1)[:5] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("kind", [go.Pie(values=[1, 2]), go.Heatmap(z=[[1, 2]]), go.Box(y=[1, 2])])
def test_a_kind_of_figure_that_it_cannot_draw_is_refused(kind):
    with pytest.raises(ValueError, match=f"no still picture can be drawn of {kind.type}"):
        drawn(plots.figure([kind], "something else"))


def test_an_explorer_that_it_does_not_know_is_refused():
    with pytest.raises(ValueError, match="kind 'globe'"):
        stills.explorer({"kind": "globe"})


@pytest.mark.parametrize("name", EXPLORERS)
def test_an_explorer_has_a_still_which_is_the_same_file_each_time(name):
    state = json.loads(json.dumps(EXPLORERS[name]().state()))
    svg = stills.explorer(state)
    assert stills.explorer(state) == svg
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert b"http" not in re.sub(
        rb"<!DOCTYPE.*?>|xmlns[:\w]*=\"[^\"]*\"|<metadata>.*?</metadata>", b"", svg, flags=re.S
    )
    pictured = {
        "filters": 4,
        "a layer": 0,
        "band": 2,
        "images": 3,
        "curriculum": 2,
        "digits": 2,
        "no pictures": 0,
        "matching": 4,
        "no sheets": 0,
        "results": 0,
    }
    assert len(embedded(svg.decode())) == pictured[name] - (name == "images")  # of "ridge" with "start": two sheets


def folded(matrix: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """The picture with each patch multiplied by a (64, 64) matrix, and overlaps averaged."""
    x = (matrix @ pictures.patches(picture).T)[None]
    ones = F.fold(torch.ones_like(x), picture.shape, 8, stride=4)
    return (F.fold(x, picture.shape, 8, stride=4) / ones)[0, 0]


@pytest.mark.parametrize("f", [Ridge(0.01), Linear(), Ridge(10.0)], ids=str)
def test_a_filtered_picture_is_that_of_the_matrix(f):
    """f(Ψ) without eigenvectors."""
    ffc = covariance(pictures.patches(PICTURE))
    found = spectrum(ffc)
    made = pictures.weighed(PICTURE, found.basis, f.response(found.eigenvalues))
    torch.testing.assert_close(made, folded(f.matrix(ffc), PICTURE), rtol=0, atol=1e-9)


def test_what_a_page_has_of_a_picture_is_all_of_it():
    state, eigenvalues, basis = pictures.packed(PICTURE, None)
    picture, again = pictures.unpacked(state)
    assert torch.equal(picture, (PICTURE * 255).round() / 255)
    assert torch.equal(again, basis)
    standard = (picture - picture.mean()) / picture.std(correction=0)
    whole = pictures.weighed(picture, again, torch.ones(len(eigenvalues)).double())
    torch.testing.assert_close(whole, standard, rtol=0, atol=1e-9)


def test_the_still_of_the_filters_shows_the_photograph_and_what_ridge_leaves_of_it():
    explorer = FilterExplorer({}, picture=PICTURE, filters=["ridge"], beta=0.2)
    photograph, ridge = (pixels[..., 0] for pixels in embedded(stills.explorer(explorer.state()).decode()))
    quantised = (PICTURE * 255).round() / 255
    assert (photograph == (quantised * 255).round().byte().numpy()).all()
    made = folded(Ridge(0.2).matrix(covariance(pictures.patches(quantised))), quantised)
    made = quantised.mean() + quantised.std(correction=0) * (made - made.mean()) / made.std(correction=0)
    assert np.abs(ridge - (made.clamp(0, 1) * 255).numpy()).max() <= 0.51


def test_the_ridge_curve_of_an_explorer_is_the_response():
    explorer = FilterExplorer({"one": [4.0, 0.5, 0.01]}, filters=["ridge"], beta=0.3)
    points = max(curves(stills.explorer(explorer.state()).decode(), plots.COLOURS[0]), key=len)  # not the legend's
    low, high = math.log10(0.01) - 0.15, math.log10(4.0)
    lam = torch.tensor(10 ** (low + (high - low) * relative(points[:, 0])))
    np.testing.assert_allclose(relative(points[:, 1]), relative(Ridge(0.3).response(lam)), atol=0.01)


@pytest.mark.parametrize(("measure", "gain"), [("residual", 0), ("transfer", 2)])
def test_the_still_of_what_methods_match_has_their_residuals_and_their_tiles(measure, gain):
    given = {"methods": ("cfm",), "measure": measure, "view": "own", "layer": LAYERS[1], "band": 1, "tile": 8}
    state = MatchingExplorer(record(), sheets(), **given).state()
    svg = stills.explorer(state).decode()
    left, *_, right = [found for found in curves(svg, plots.COLOURS[0]) if len(found) == BANDS]  # the legend between
    mean = state["study"]["residuals"]["cfm"]["own"]["10"][LAYERS[1]][0][gain]
    np.testing.assert_allclose(relative(left[:, 1]), relative(np.log(mean)), atol=1e-3)
    weights = state["study"]["gradients"]["cfm"]["1"]["10"]["weights"][LAYERS[1]][0]
    np.testing.assert_allclose(relative(right[:, 1]), relative(weights), atol=1e-3)
    lam = state["study"]["eigenvalues"]["10"][LAYERS[1]]
    np.testing.assert_allclose(relative(left[:, 0]), relative(np.log(lam)), atol=1e-3)
    (images, filtered) = embedded(svg)[:2]
    row = 1 + BANDS + 1  # of the second layer's second band; `sheets` has a grey for each row
    assert [int(one[0, 0, 0]) for one in (images, filtered)] == [0, round(255 * row / (1 + len(LAYERS) * BANDS))]


def test_the_still_of_a_table_has_its_first_rows_and_says_how_many_follow():
    state = ResultsTable(suite(), sort="mean", down=True).state()
    svg = stills.explorer(state).decode()
    shown = re.findall(r">([a-z]+)</text>", svg)
    assert shown.index("full") < shown.index("cfm") < shown.index("lfm")
    assert f"… and {len(state['rows']) - stills.MOST_ROWS} more" in svg
    assert ">▲ +9.0 [" in svg
    assert "▲" not in stills.explorer(ResultsTable(suite()[:1]).state()).decode()
