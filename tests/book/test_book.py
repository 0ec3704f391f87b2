"""The book's glue, its figures, and what its pages promise; the built pages are tested in tests/browser."""

import base64
import io
import json
import re
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml
from docutils import nodes
from docutils.utils import new_document
from PIL import Image

from unidd.book import assets, head, palette, plots, sphinx, stills
from unidd.book.widgets import FilterExplorer
from unidd.core.filters import Linear, Ridge
from unidd.data import datasets

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"


def contrast(one: str, other: str) -> float:
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# ---- table of contents and pages


def toc_files(node) -> list[str]:
    if isinstance(node, dict):
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [name for value in node.values() for name in toc_files(value)]
    return [name for item in node for name in toc_files(item)] if isinstance(node, list) else []


def test_every_page_of_the_contents_exists_and_every_notebook_is_in_them():
    listed = toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text()))
    for name in listed:
        assert any((ROOT / f"{name}{suffix}").exists() for suffix in (".md", ".ipynb")), name
    notebooks = {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.py")}
    assert notebooks <= set(listed)


def test_data_page_names_every_photograph_and_data_set():
    page = (BOOK / "data.md").read_text()
    assert [name for name in (*datasets.PHOTOS, *datasets.NAMES) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", ["photos", "digits"])
def test_data_page_states_the_sizes_of_the_embedded_sets(name):
    data = datasets.load(name)
    (row,) = re.findall(rf"^\| `{name}` \|.*$", (BOOK / "data.md").read_text(), re.M)
    assert f"{data.size}×{data.size}" in row
    assert f"{len(data.train):,} / {len(data.test):,}" in row


def test_glossary_is_sorted_and_has_the_standard_terms():
    body = (BOOK / "glossary.md").read_text().split("```{glossary}\n")[1].split("```")[0]
    terms = re.findall(r"^(\S.*)$", body, re.M)
    assert terms == sorted(terms, key=str.lower)
    assert {"CFM", "EMU", "FFC", "FLC", "HFM", "HLR", "IOR", "IPC", "LFM", "student", "teacher"} <= set(terms)
    assert {"budget", "effective dimension", "filter term", "pass band", "round", "signal term"} <= set(terms)


def test_landing_picture_is_small_and_self_contained():
    picture = (BOOK / "images" / "landing.svg").read_text()
    assert len(picture) < 100_000
    assert all(link.startswith("data:") for link in re.findall(r'href="([^"]*)"', picture))


def test_chapters_have_labelled_equations():
    page = (ROOT / "notebooks" / "03_filters.py").read_text()
    assert set(re.findall(r"\{eq\}`([^`]+)`", page)) <= set(re.findall(r"\$\$ \((eq-[a-z]+)\)", page))


# ---- MIME renderer


class Page:
    """What myst-nb hands to a renderer, reduced to what ours uses."""

    def __init__(self):
        self.scripts, self.warnings, self.files = {}, [], {}
        self.logger = SimpleNamespace(warning=lambda message, **_: self.warnings.append(message))

    def add_js_file(self, key, uri, kwargs):
        self.scripts[uri] = kwargs

    def write_file(self, path, content, exists_ok):
        assert exists_ok, "the same picture may come twice"
        self.files["/".join(path)] = content
        return f"/{'/'.join(path)}"

    def render(self, mime_type, content):
        return sphinx.Renderer.handle_mime(self, SimpleNamespace(mime_type=mime_type, content=content, line=1), False)


def embedded(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json"[^>]*>(.*)</script>', html, re.S)[1])


def test_a_figure_becomes_two_described_drawings_with_its_numbers_and_no_plotly():
    page, chart = Page(), plots.figure([], 'A "chart" </script> of nothing')
    (node,) = page.render(sphinx.PLOTLY, json.loads(chart.to_json()))
    text = node.astext()
    assert re.findall(r'<svg class="unidd-still unidd-(\w+)"', text) == ["wide", "narrow"]
    assert text.count('aria-label="A &quot;chart&quot; &lt;/script&gt; of nothing"') == 2
    assert text.count("</script>") == 1
    assert embedded(text)["layout"]["height"] == 420
    assert list(page.scripts) == ["unidd-book.js"]


def test_names_within_a_drawing_are_its_own_and_lead_somewhere():
    """Two drawings stand in one page, where a name may occur once."""
    bars = [{"type": "bar", "x": ["a"], "y": [1], "error_y": {"array": [0.5]}}]
    text = sphinx.figure_html(json.loads(plots.figure(bars, "a bar").to_json()))
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names)) > 0
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) == set(names)
    assert stills.INK not in text
    assert "<style" not in text, "it would hold for the whole page"


def test_images_become_a_picture_with_the_names_of_their_rows():
    chart = plots.image_grid(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), ("cats & dogs", "mice"))
    page = Page()
    (node,) = page.render(sphinx.PLOTLY, json.loads(chart.to_json()))
    text = node.astext()
    assert re.findall("<span>([^<]*)</span>", text) == ["cats &amp; dogs", "mice"]
    assert f'src="{chart.data[0].source}"' in text
    assert 'width="16" height="36"' in text
    assert page.scripts == {}


def test_a_place_without_scripts_says_so_around_its_picture():
    before, _, after = Page().render(sphinx.EXPLORER, FilterExplorer({"a layer": [1.0, 0.1]}).state())
    assert re.search(r"<noscript><p>[^<]*none runs here[^<]*</p>$", before.astext())
    assert after.astext().startswith("</noscript></div>")


def test_every_script_of_a_page_is_a_classic_one():
    """A module does not load from the disk."""
    page = Page()
    page.render(sphinx.EXPLORER, FilterExplorer({"a layer": [1.0, 0.1]}).state())
    assert all(options["loading_method"] == "defer" and "type" not in options for options in page.scripts.values())
    assert page.scripts["unidd-book.js"]["priority"] > 500, "after those it calls"


def test_a_figure_without_a_still_is_a_warning_that_fails_the_strict_build():
    page = Page()
    page.render(sphinx.PLOTLY, json.loads(plots.figure([{"type": "pie", "values": [1, 2]}], "A pie").to_json()))
    assert "no still picture" in page.warnings[0]


def test_figure_without_description_is_a_warning_that_fails_the_strict_build():
    page = Page()
    page.render(sphinx.PLOTLY, {"data": [], "layout": {}})
    assert "alt text" in page.warnings[0]


def test_explorer_needs_no_plotly():
    page = Page()
    *_, after = page.render(sphinx.EXPLORER, FilterExplorer({"a layer": [1.0, 0.1]}, beta=0.3).state())
    assert embedded(after.astext())["beta"] == 0.3
    assert list(page.scripts) == ["explorer.js", "unidd-book.js"]


def test_progress_bars_leave_nothing_and_other_output_is_left_alone():
    page = Page()
    assert [node.astext() for node in page.render(sphinx.WIDGET, {})] == [""]
    assert page.render("text/html", "<b>") is None
    assert page.scripts == {}


# ---- figures


def table(**changes) -> pd.DataFrame:
    rows = [
        ("photos", "online-soft", ipc, method, role, 50.0 + ipc + i, 1.5, 3)
        for i, (method, role) in enumerate({"random": "baseline", "cfm": "method"}.items())
        for ipc in (1, 10)
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "regime", "ipc", "method", "role", "mean", "std", "n"])
    return frame.assign(**changes)


def test_accuracy_draws_means_and_error_bars_and_describes_the_best():
    chart = plots.accuracy(table())
    assert [trace.name for trace in chart.data] == ["random", "cfm"]
    assert list(chart.data[1].y) == [52.0, 61.0]
    assert list(chart.data[0].error_y.array) == [1.5, 1.5]
    assert "highest is cfm with 61.0 ± 1.5 % at 10" in chart.layout.meta["alt"]


def test_accuracy_of_full_data_is_a_line_across():
    full = {"dataset": "photos", "regime": "online-soft", "ipc": None, "method": "full", "role": "ceiling"}
    full |= {"mean": 97.0, "std": 0.3, "n": 3}
    chart = plots.accuracy(pd.concat([table(), pd.DataFrame([full])], ignore_index=True))
    assert len(chart.data) == 2
    assert [shape.y0 for shape in chart.layout.shapes] == [51.0, 60.0, 97.0]  # the baseline's, then the full data's


def test_accuracy_of_one_seed_claims_no_spread():
    chart = plots.accuracy(table(std=float("nan"), n=1))
    assert "±" not in chart.layout.meta["alt"]


def test_accuracy_refuses_to_mix_label_regimes_and_picks_one():
    both = pd.concat([table(), table(regime="hard")])
    with pytest.raises(ValueError, match="several values of regime"):
        plots.accuracy(both)
    assert "hard labels" in plots.accuracy(both, regime="hard").layout.meta["alt"]


def test_accuracy_without_results_says_so():
    assert plots.accuracy(table().iloc[:0]).layout.meta["alt"] == "No results yet."


def test_differences_are_those_of_each_repetition_with_the_interval_of_their_mean():
    rows = [
        ("hard", 1.0, "random", "baseline", [50.0, 52.0, 51.0], {}),
        ("hard", 1.0, "cfm", "method", [51.0, 51.0, 54.0], {"ior": 1.0, "ior_low": -4.2, "ior_high": 6.2}),
        ("online-soft", 1.0, "lfm", "method", [10.0, 10.0, 10.0], {"ior": 1.0, "ior_low": 1.0, "ior_high": 1.0}),
    ]
    names = ["regime", "ipc", "method", "role", "values"]
    frame = pd.DataFrame([dict(zip(names, row, strict=False)) | row[-1] | {"n": 3, "dataset": "toy"} for row in rows])
    dots, bar = plots.differences(frame, "hard").data
    assert (list(dots.x), set(dots.y)) == ([1.0, -1.0, 3.0], {"cfm, IPC 1"})
    assert (list(bar.x), list(bar.error_x.array)) == ([1.0], [5.2])
    assert "cfm, IPC 1 +1.0 ± 5.2" in plots.differences(frame, "hard").layout.meta["alt"]
    assert plots.differences(frame, "fixed-soft").layout.meta["alt"] == "No results yet."
    _, caption = plots.captioned_differences(frame, "hard")
    assert caption.startswith("toy, IPC 1, hard labels, n = 3: gain over random real images.")
    assert "coresets" not in caption


def test_differences_at_one_ipc_are_sorted_and_any_method_has_a_look():
    gains = {"cfm": -2.0, "ccs": 1.0, "sre2l": 3.0}
    rows = [
        {"regime": "hard", "ipc": ipc, "method": name, "role": "coreset" if name == "ccs" else "method", "n": 5}
        | {"values": [50.0 + gain] * 5, "ior": gain, "ior_low": gain, "ior_high": gain}
        for ipc in (1.0, 10.0)
        for name, gain in gains.items()
    ]
    drawn = {"regime": "hard", "method": "random", "role": "baseline", "values": [50.0] * 5}
    frame = pd.DataFrame([*rows, drawn | {"ipc": 1.0}, drawn | {"ipc": 10.0}])
    chart = plots.differences(frame, "hard", 10)
    assert [trace.y[0] for trace in chart.data[1::2]] == ["sre2l", "ccs", "cfm"]
    assert [trace.marker.symbol for trace in chart.data[1::2]] == ["circle", "star", palette.look("cfm").symbol]
    assert "hard labels at IPC 10: sre2l +3.0" in chart.layout.meta["alt"]
    assert len(plots.differences(frame, "hard").data) == 12
    assert stills.figure(json.loads(chart.to_json()), stills.NARROW)


def decoded(chart) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(chart.data[0].source.split(",")[1])))


def test_image_grid_puts_each_image_in_its_class_row():
    images, labels = torch.zeros(3, 1, 4, 4), torch.tensor([1, 0, 1])
    for i, value in enumerate((0.2, 0.4, 0.6)):
        images[i] = value
    picture = decoded(plots.image_grid(images, labels, ("a", "b")))
    assert picture.size == (10, 10)
    corners = [picture.getpixel(at) for at in ((0, 0), (6, 0), (0, 6), (6, 6), (5, 5))]
    assert [c[3] for c in corners] == [255, 0, 255, 255, 0]
    assert [round(corners[i][0] / 255, 1) for i in (0, 2, 3)] == [0.4, 0.2, 0.6]


def test_image_grid_of_a_hundred_noise_images_stays_light():
    images = torch.rand(100, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    chart = plots.image_grid(images, torch.arange(10).repeat(10), tuple("abcdefghij"))
    assert len(chart.to_json()) < 250_000
    assert "100 images of 10 classes" in chart.layout.meta["alt"]


def test_image_grid_refuses_what_it_cannot_show():
    for images, labels in (
        (torch.zeros(2, 3, 4), [0, 0]),
        (torch.zeros(1, 2, 4, 4), [0]),
        (torch.zeros(0, 3, 4, 4), []),
    ):
        with pytest.raises(ValueError, match="images must be"):
            plots.image_grid(images, torch.tensor(labels), ("a",))


def test_filter_curves_are_relative_to_their_maximum():
    lam = torch.tensor([2.0, 0.2, 0.02, 0.0])
    chart = plots.filters({"ridge": Ridge(0.1), "linear": Linear()}, lam, "a layer")
    ridge, linear = chart.data[1:]
    assert ridge.y[-1] == pytest.approx(0.1 / 2.1, rel=1e-3)
    assert linear.y[-1] == pytest.approx(1)
    assert len(chart.data[0].x) == 3  # an eigenvalue of 0 has no place on a logarithmic axis
    assert "4 eigenvalues of a layer" in chart.layout.meta["alt"]


def test_filter_curves_need_something_to_draw():
    with pytest.raises(ValueError, match="above 0"):
        plots.filters({"linear": Linear()}, torch.zeros(3))


def test_a_figure_needs_a_description():
    with pytest.raises(ValueError, match="alt text"):
        plots.figure([], " ")


@pytest.mark.parametrize("background", ["#ffffff", "#121212"], ids=["light", "dark"])
def test_colours_stand_out_on_both_themes(background):
    looks = [one.colour for one in palette.LOOKS.values()]
    assert min(contrast(colour, background) for colour in (*plots.COLOURS, *looks)) >= 3


@pytest.mark.parametrize("ends", [(1e-9, 1e3), (0.003, 40.0), (2.0, 9.0), (1.1, 1.9), (0.5, 0.5)], ids=str)
def test_ticks_of_a_logarithmic_axis_are_few_and_within_what_it_shows(ends):
    ticks = plots.log_ticks(ends)
    assert 2 <= len(ticks["tickvals"]) <= 7
    assert len(set(ticks["ticktext"])) == len(ticks["ticktext"])
    room = 1.001 if ends[0] < ends[1] else 2  # around a single value
    assert min(ticks["tickvals"]) >= ends[0] / room
    assert max(ticks["tickvals"]) <= ends[1] * room


def test_a_logarithmic_axis_gets_its_ticks_from_what_is_drawn_unless_it_has_some():
    traces = [{"y": [0.0, 0.01, None, 100.0]}]
    assert plots.figure(traces, "a line", yaxis={"type": "log"}).layout.yaxis.ticktext == (
        "0.01",
        "0.1",
        "1",
        "10",
        "100",
    )
    own = plots.figure(traces, "a line", yaxis={"type": "log", "tickvals": [1, 2]})
    assert own.layout.yaxis.tickvals == (1, 2)


# ---- head of a page, and files beside it


def document(*paragraphs: nodes.Node) -> nodes.document:
    made = new_document("a page")
    made += nodes.section("", nodes.title("", "A page"), *paragraphs)
    return made


def test_a_page_is_described_by_its_first_paragraph_without_formulas():
    formula = nodes.paragraph("", "", nodes.Text("with "), nodes.math("", "x"))
    assert head.description(document(formula, nodes.paragraph("", "A word."))) == "A word."
    assert head.description(document(formula)) == head.SUMMARY
    assert len(head.description(document(nodes.paragraph("", "words " * 100)))) <= 200


@pytest.mark.parametrize("address", ["", "https://example.org/book/"])
def test_a_shared_page_has_a_card_and_whole_addresses_only_if_there_are_some(address):
    app = SimpleNamespace(config=SimpleNamespace(html_title="UniDD", html_baseurl=address))
    context = {"title": "Filters <em>&amp;</em> more", "metatags": "", "pageurl": f"{address}page.html"}
    head.describe(app, "page", "page.html", context, document(nodes.paragraph("", 'A "word".')))
    assert '<meta name="description" content="A &quot;word&quot;." />' in context["metatags"]
    assert '<meta property="og:title" content="Filters &amp; more" />' in context["metatags"]
    assert ("og:image" in context["metatags"]) == ("og:url" in context["metatags"]) == bool(address)


def test_a_page_that_describes_itself_keeps_its_words():
    app = SimpleNamespace(config=SimpleNamespace(html_title="UniDD", html_baseurl=""))
    context = {"title": "A page", "metatags": '<meta content="Its own." name="description" />'}
    head.describe(app, "page", "page.html", context, document(nodes.paragraph("", "Another.")))
    assert context["metatags"].count('name="description"') == 1
    assert 'property="og:description" content="Its own."' in context["metatags"]


def test_the_card_of_a_shared_page_is_of_the_size_they_ask_for():
    assert Image.open(io.BytesIO(stills.card("A title", "and words"))).size == (1200, 630)


def test_icons_that_no_page_names_are_left_out(tmp_path):
    scripts = tmp_path / "_static" / "scripts"
    scripts.mkdir(parents=True)
    theme = Path(str(files("pydata_sphinx_theme"))) / "theme" / "pydata_sphinx_theme" / "static" / "scripts"
    (scripts / "fontawesome.js").write_text((theme / "fontawesome.js").read_text())
    (tmp_path / "page.html").write_text('<i class="fa-solid fa-sun fa-lg"></i>')
    assets.drop_unused_icons(SimpleNamespace(outdir=tmp_path), None)
    left = (scripts / "fontawesome.js").read_text()
    assert len(left) < 100_000
    assert "sun:[" in left
    assert "moon:[" not in left
