"""Pages from docstrings, links between chapters and code, and links to where the project is published."""

import ast
import importlib
import inspect
import json
import re
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

import unidd
from unidd.book import address, reference

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.py"))
NAMES = reference.titles(ROOT, frozenset([*(f"notebooks/{path.stem}" for path in CHAPTERS), "book/audit"]))


def test_every_public_module_stands_on_one_page():
    pages = "".join(path.read_text() for path in (ROOT / "book" / "api").glob("*.md"))
    rooms = reference.ROOM.findall(pages)
    assert sorted(rooms) == sorted(reference.rooms())
    found = [module for room in rooms for module in reference.rooms()[room]]
    paths = (path.relative_to(ROOT / "unidd").with_suffix("") for path in (ROOT / "unidd").rglob("*.py"))
    modules = {".".join(part for part in path.parts if part != "__init__") for path in paths}
    assert sorted(found) == sorted(name for name in modules if name and not name.rpartition(".")[2].startswith("_"))


def test_every_page_of_the_reference_is_in_the_table_of_contents():
    listed = re.findall(r"file: book/api/(\w+)", (ROOT / "_toc.yml").read_text())
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "book" / "api").glob("*.md"))


def test_what_people_type_leads_to_where_it_is_defined():
    front = reference.front()
    for name in unidd.__all__:
        (home,) = re.findall(rf"`unidd\.{name} <unidd\.([\w.]+)\.{name}>` \| \S", front)
        assert name in reference.public(home)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_lists_all_modules_it_imports(path):
    """By another way than `used`: the text of the import lines."""
    text = path.read_text()
    lines = re.findall(r"^from unidd\.([\w.]+) import", text, re.MULTILINE)
    known = {module for modules in reference.rooms().values() for module in modules}
    assert {line for line in lines if line in known and "." in line} <= set(reference.used(text))
    assert set(re.findall(r"\{py:mod\}`([\w.]+)", reference.code_of(text))) == set(reference.used(text))


def test_names_are_found_however_they_are_imported():
    source = """
import unidd
import unidd as package
from unidd import load as fetch, teach
from unidd.core import filters as f
from unidd.data import datasets
from unidd.core.spectra import spectrum

package.distill(datasets.load("digits"), f.Ridge(beta=1.0))
unidd.evaluate(f._check)
"""
    assert reference.used(source) == {
        "bench.cell": {"distill", "evaluate", "teach"},
        "core.filters": {"Ridge"},
        "core.spectra": {"spectrum"},
        "data.datasets": {"load"},
    }
    assert reference.code_of("import torch") == ""


def test_a_module_names_the_chapters_that_use_it():
    page = reference.page("core", ROOT, NAMES)
    before, _, after = page.partition("automodule:: unidd.core.filters")
    mine = [f"notebooks/{path.stem}" for path in CHAPTERS if "core.filters" in reference.used(path.read_text())]
    assert mine
    assert re.findall(r"\{doc\}`/([\w/]+)`", before.rpartition("## ")[2]) == mine
    assert ":members:" in after


def test_the_code_of_a_chapter_comes_last_and_only_where_the_reference_is_in_the_book():
    chapter = CHAPTERS[0].stem
    notebook = json.dumps({"cells": [{"cell_type": "markdown", "metadata": {}, "source": "# One"}], "nbformat": 4})

    def filled(pages) -> list[dict]:
        source = [notebook]
        app = SimpleNamespace(srcdir=ROOT, env=SimpleNamespace(found_docs=pages))
        reference.fill(app, f"notebooks/{chapter}", source)
        return json.loads(source[0])["cells"]

    assert len(filled({f"notebooks/{chapter}"})) == 1
    cells = filled({f"notebooks/{chapter}", reference.INDEX})
    assert [cell["source"].splitlines()[0] for cell in cells] == ["# One", ":::{admonition} The code of this page"]


# ---- docstrings


def test_a_docstring_says_the_same_in_restructuredtext():
    lines = [
        "Return |ω| of `x`, a *large* one, of Ψ_ and res_*.pt.",
        "",
        "    f(λ) = |λ| * 2",
        "",
        'Source: the chapter "A title".',
        "",
        ">>> a * b | c_",
        "`d`",
    ]
    assert reference.as_rst(lines, {"notebooks/one": "A title"}) == [
        r"Return \|ω\| of ``x``, a *large* one, of Ψ\_ and res\_\*.pt.",
        "",
        "::",
        "",
        "    f(λ) = |λ| * 2",
        "",
        "Source: the chapter :doc:`A title </notebooks/one>`.",
        "",
        ">>> a * b | c_",
        "`d`",
    ]


def test_attributes_that_share_an_entry_are_told_apart_and_arguments_left_alone():
    lines = ["Do.", "", "Args:", "    a, b: one.", "Attributes:", "    c, d: two", "        lines.", "    e: alone."]
    apart = ["    c: two", "        lines.", "    d: two", "        lines."]
    assert reference.one_by_one(lines) == [*lines[:5], *apart, *lines[7:]]
    config: Any = Config(napoleon_use_ivar=True)
    shown = str(GoogleDocstring(reference.one_by_one(lines), config, what="class"))
    assert [name for name in "cde" if f":ivar {name}: " in shown] == ["c", "d", "e"]


def test_no_property_begins_with_what_napoleon_takes_for_a_type():
    found = []
    for module in (module for modules in reference.rooms().values() for module in modules):
        for thing in map(vars(importlib.import_module(f"unidd.{module}")).get, reference.public(module)):
            of_it = vars(thing).items() if inspect.isclass(thing) else ()
            properties = [(name, it) for name, it in of_it if isinstance(it, property | cached_property)]
            found += [name for name, it in properties if ": " in (it.__doc__ or "").partition("\n")[0]]
    assert not found


def test_chapters_that_docstrings_name_are_there():
    """A chapter that is renamed is renamed in docstrings too, else the link back is lost."""
    titles = set(NAMES.values())
    for path in (ROOT / "unidd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                for named in re.findall(r'(?:[Cc]hapters?:?|the page) ("[^"]+"(?: and "[^"]+")?)', text):
                    assert set(re.findall(r'"([^"]+)"', named)) <= titles, f"{path.name}: {named}"


# ---- the address


def test_without_an_address_there_are_no_links():
    assert address.options("") == {}
    assert address.options("https://code.example.org/a/project") == {}, "the theme cannot make its links"


def test_one_address_makes_all_links():
    options = address.options("https://github.com/an-owner/a-project.git")
    assert options["repository_url"] == "https://github.com/an-owner/a-project"
    assert options["launch_buttons"] == {"colab_url": address.COLAB}
    assert all(options[f"use_{what}_button"] for what in ("repository", "edit_page", "issues"))
    assert address.options("https://gitlab.com/a/b")["launch_buttons"] == {}, "Colab opens what is on GitHub"


def test_the_setting_reaches_the_theme(tmp_path):
    (tmp_path / "_config.yml").write_text("repository:\n  url: https://github.com/a/b\n  branch: stable\n")
    config = SimpleNamespace(html_theme_options={"search_bar_text": "Search"})
    address.offer(SimpleNamespace(confdir=tmp_path), config)
    assert config.html_theme_options["repository_branch"] == "stable"
    assert config.html_theme_options["search_bar_text"] == "Search"


def test_a_chapter_is_edited_in_its_script(tmp_path):
    (tmp_path / "one.py").touch()
    app = SimpleNamespace(srcdir=tmp_path)

    def edited(page: str) -> str:
        button = {"label": "source-edit-button", "url": f"https://github.com/a/b/edit/main/{page}.ipynb"}
        address.edit_the_source(app, page, "", {"header_buttons": [{"label": "group", "buttons": [button]}]}, None)
        return button["url"].rpartition("/")[2]

    assert (edited("one"), edited("two")) == ("one.py", "two.ipynb")
