"""Captions, how the book numbers them, and looks."""

import re
from pathlib import Path

import pandas as pd
import pytest
from docutils import nodes
from docutils.utils import new_document
from records import first_html

from unidd.book import numbering, palette
from unidd.book.captions import Captioned

STYLE = (Path(__file__).resolve().parents[2] / "unidd" / "book" / "explorers" / "style.js").read_text()


def page(*outputs: dict) -> nodes.document:
    """A page with one cell, whose outputs are as myst-nb leaves them: a bundle of formats each."""
    made, cell = new_document("a page"), nodes.container(classes=["cell_output"])
    for output in outputs:
        formats = [nodes.container("", nodes.raw("", text, format="html"), mime_type=m) for m, text in output.items()]
        cell += nodes.container("", *formats, nb_element="mime_bundle")
    made += cell
    numbering.NumberCaptions(made).apply()
    return made


def shown(thing: Captioned, monkeypatch) -> list[dict]:
    """What a notebook gets of a captioned thing."""
    outputs = []
    monkeypatch.setattr("IPython.display.display", outputs.append)
    thing._ipython_display_()
    return [{"text/html": output._repr_html_(), "text/plain": repr(output)} for output in outputs]


@pytest.mark.parametrize("kind", ["fig", "tab"])
def test_what_a_cell_shows_and_its_caption_become_one_numbered_thing(kind, monkeypatch):
    made = page(
        {"text/plain": "before"}, *shown(Captioned(pd.DataFrame([7]), "Say <5 & more.", f"{kind}-a"), monkeypatch)
    )
    (found,) = made.findall(numbering.numbered_table if kind == "tab" else numbering.numbered_figure)
    assert numbering.words_of(found) == "Say <5 & more."
    assert found["names"] == [f"{kind}-a"]
    assert made.nametypes[f"{kind}-a"], "a reference finds it"
    assert [child.astext()[:6] for child in found.parent] == ["before", found.astext()[:6]]
    assert "<td>7</td>" in found.astext()
    assert "unidd-caption" not in made.astext()


def test_a_table_is_shown_whole(monkeypatch):
    table = pd.DataFrame({f"column {k}": ["a-long-text" * 20] * 200 for k in range(40)})
    assert first_html(Captioned(table, "Words.", "tab-a"), monkeypatch).count("a-long-text" * 20) == 200 * 40


def test_a_caption_without_a_thing_is_reported():
    lone = '<p class="unidd-caption" data-name="fig-a">Words.</p>'
    with pytest.raises(ValueError, match="fig-a has nothing above it"):
        page({"text/html": lone})


@pytest.mark.parametrize(("caption", "name"), [("", "fig-a"), ("  ", "tab-a"), ("What to see.", "a")])
def test_a_caption_and_its_name_are_asked_for(caption, name):
    with pytest.raises(ValueError, match=re.escape(name)):
        Captioned(None, caption, name)


def test_looks_differ_in_more_than_colour():
    looks = palette.LOOKS.values()
    assert len({look.colour for look in looks}) == len({look.symbol for look in looks}) == len(looks)
    assert palette.look("CFM") == palette.look("ridge")
    with pytest.raises(KeyError, match=r"palette.*cfm"):
        palette.look("none")


def test_looks_of_one_figure_are_never_alike():
    names = ["ridge, β = 0.1", "Ridge(0.2)", "linear", "random", "all-pass", "uniform", "other"]
    found = palette.looks(names)
    assert found["ridge, β = 0.1"] == palette.look("ridge")
    assert found["Ridge(0.2)"].colour == palette.look("ridge").colour
    assert len(set(found.values())) == len(names)


@pytest.mark.parametrize("name", ["all-pass", "linear", "ridge", "landweber", "residual", "band-pass"])
def test_explorers_have_the_colours_of_the_figures(name):
    light = re.search(rf"--ux-{name.replace('-', '')}: (#[0-9a-f]{{6}})", STYLE)
    assert light[1] == palette.look(name).colour
