"""The reference of the package: a page a room, from docstrings, with links to the chapters and back.

A page below `book/api` holds `<!-- room: core -->`. When the book is built, Sphinx's autodoc writes the room's modules
there, in the order of the map in the package's docstring, each with the chapters that use it; and every chapter gets a
list of the code it uses. Both follow from what the chapters import, so neither can go stale.
"""

import ast
import importlib
import inspect
import json
import pkgutil
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import unidd

INDEX = "book/api/index"
ROOM = re.compile(r"<!-- room: (\w+) -->")
FRONT = "<!-- front -->"
_MODULE = re.compile(r"^( {4}| {8})(\w+) {2,}(\S.*)$", re.MULTILINE)
_CODE = re.compile(r"(``[^`]+``|`[^`]+`)")
_ANNOTATED = re.compile(r"[~\w.]*\bAnnotated\[")
_EMPHASIS = re.compile(r"(?<![\w*])\*[^\s*][^*]*\*(?![\w*])")
_ATTRIBUTES = re.compile(r"^Attributes:\n(?: {4}.*(?:\n|\Z))+", re.MULTILINE)
_SHARED = re.compile(r"^( {4})(\w+(?:, \w+)+)(:.*(?:\n {5,}.*)*)", re.MULTILINE)


@cache
def rooms() -> dict[str, dict[str, str]]:
    """Return the map of the package: room → its public modules, as "core.filters", → what each is."""
    found: dict[str, dict[str, str]] = {}
    room = ""
    text = (unidd.__doc__ or "").split("One vocabulary")[0]
    for indent, name, words in _MODULE.findall(text):
        if len(indent) == 4:
            room = name
            found[room] = {room: words}
        elif not name.startswith("_"):
            found[room][f"{room}.{name}"] = words
    folder = importlib.import_module("unidd.methods").__path__  # of which the map names no file
    methods = (module.name for module in pkgutil.iter_modules(folder) if not module.name.startswith("_"))
    found["methods"] |= {f"methods.{name}": "" for name in methods}
    return found


@cache
def public(module: str) -> dict[str, str]:
    """Return the public names that are defined and documented in a module, such as "core.filters", → what each is."""
    found = importlib.import_module(f"unidd.{module}")
    documented = {}
    for name, thing in vars(found).items():
        own = getattr(thing, "__module__", "") == found.__name__
        if own and not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__doc__:
            documented[name] = _first(thing)
    return documented


def _first(thing) -> str:
    """Return the first sentence of a docstring, on one line."""
    paragraph = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.;:])\s", paragraph)[0].rstrip(";:") if paragraph else ""


# ------------------------------------------------------------------------------------------ chapters


@cache
def titles(root: Path, pages: frozenset[str]) -> dict[str, str]:
    """Return page → title, in order, of those chapters and pages below `root` that are in the book.

    Args:
        pages: all of the book, such as "notebooks/03_filters".
    """
    paths = [*sorted((root / "notebooks").glob("*.py")), *sorted((root / "book").glob("*.md"))]
    found = {}
    for path in paths:
        mark = "# # " if path.suffix == ".py" else "# "
        title = re.search(rf"^{mark}(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if title:
            found[f"{path.parent.name}/{path.stem}"] = title[1].strip()
    return {page: title for page, title in found.items() if page in pages}


def used(source: str) -> dict[str, set[str]]:
    """Return module, such as "core.filters", → the names of it that a chapter's code uses; only public ones."""
    tree = ast.parse(source)
    known = {module for modules in rooms().values() for module in modules}
    found: dict[str, set[str]] = defaultdict(set)
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "unidd":
            base = (node.module or "").removeprefix("unidd").removeprefix(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}".removeprefix(".")
                if whole in known:
                    aliases[alias.asname or alias.name] = whole
                    found[whole] |= set()
                else:
                    found[base or _home(alias.name)].add(alias.name)
        elif isinstance(node, ast.Import):
            aliases |= {alias.asname or "unidd": "" for alias in node.names if alias.name == "unidd"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            found[aliases[node.value.id] or _home(node.attr)].add(node.attr)
    return {module: names & set(public(module)) for module, names in found.items() if module in known}


def _home(name: str) -> str:
    """Return the module of a name that people type as `unidd.name`; empty if it is none."""
    return next((home for home, names in unidd._HOMES.items() if name in names), "")


def code_of(source: str) -> str:
    """Return the folded list, in MyST Markdown, of the code that a chapter uses; empty if it uses none."""
    lines = []
    for module, names in sorted(used(source).items()):
        things = ", ".join(f"{{py:obj}}`{name} <unidd.{module}.{name}>`" for name in sorted(names))
        lines.append(f"- {{py:mod}}`{module} <unidd.{module}>`" + f": {things}" * bool(things))
    return "\n".join([":::{admonition} The code of this page", ":class: dropdown", *lines, ":::"]) if lines else ""


# --------------------------------------------------------------------------------------------- pages


def page(room: str, root: Path, names: dict[str, str]) -> str:
    """Return the page of a room in MyST Markdown: its modules one after another.

    Args:
        names: page → title, see `titles`.
    """
    uses: dict[str, list[str]] = defaultdict(list)
    for chapter in (name for name in names if name.startswith("notebooks/")):
        for module in used((root / f"{chapter}.py").read_text(encoding="utf-8")):
            uses[module].append(f"{{doc}}`/{chapter}`")
    parts = []
    for module in rooms()[room]:
        parts.append(f"## {module}\n")
        if uses[module]:
            parts.append(f"In the book: {' · '.join(uses[module])}\n")
        parts.append(f"```{{eval-rst}}\n.. automodule:: unidd.{module}\n   :members:\n```\n")
    return "\n".join(parts)


def front() -> str:
    """Return the first page's two tables in MyST Markdown: what people type, and the rooms."""
    lines = ["| name | what it is |", "|---|---|"]
    for name in unidd.__all__:
        home = _home(name)
        lines.append(f"| {{py:obj}}`unidd.{name} <unidd.{home}.{name}>` | {public(home)[name]} |")
    lines += ["", "| room | modules |", "|---|---|"]
    for room, modules in rooms().items():
        inside = [f"{{py:mod}}`{m.rpartition('.')[2]} <unidd.{m}>`" for m in modules if m != room]
        place = f"[{room}](/book/api/{room}.md)" if inside else f"{{py:mod}}`{room} <unidd.{room}>`"
        lines.append(f"| {place}: {modules[room]} | {', '.join(inside)} |")
    return "\n".join(lines)


def fill(app, docname: str, source: list[str]) -> None:
    """Sphinx's source-read: write the reference's pages, and the code of a chapter at its end."""
    root = Path(app.srcdir)
    if docname.startswith("book/api/"):
        names = titles(root, frozenset(app.env.found_docs))
        source[0] = ROOM.sub(lambda room: page(room[1], root, names), source[0]).replace(FRONT, front())
    elif INDEX in app.env.found_docs and (script := root / f"{docname}.py").is_file():
        notebook, text = json.loads(source[0]), code_of(script.read_text(encoding="utf-8"))
        cell = {"cell_type": "markdown", "metadata": {}, "source": text, "id": "code-of-this-page"}
        source[0] = json.dumps(notebook | {"cells": [*notebook["cells"], cell]})


# ---------------------------------------------------------------------------------------- docstrings


def as_rst(lines: list[str], names: dict[str, str]) -> list[str]:
    """Return a docstring's lines as reStructuredText that says the same.

    Names in backticks become code, signs with a meaning of their own are escaped, indented formulas and programs stay
    as they are, and the title of a chapter or page in quotes becomes a link.

    Args:
        names: page → title.
    """
    found: list[str] = []
    verbatim = example = False
    for i, line in enumerate(lines):
        blank_before = i > 0 and not lines[i - 1].strip()
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if blank_before and line.startswith(" ") and not example and not verbatim:
            found += ["::", ""]
            verbatim = True
        elif line.strip() and not line.startswith(" "):
            verbatim = False
        found.append(line if example or verbatim else _inline(line, names))
    return found


def one_by_one(lines: list[str]) -> list[str]:
    """Return a docstring's lines, attributes that share an entry each with its own, as napoleon does with arguments.

    >>> one_by_one(["Attributes:", "    mean, std: of a channel."])
    ['Attributes:', '    mean: of a channel.', '    std: of a channel.']
    """

    def each(entry: re.Match) -> str:
        return "\n".join(f"{entry[1]}{name}{entry[3]}" for name in entry[2].split(", "))

    return _ATTRIBUTES.sub(lambda section: _SHARED.sub(each, section[0]), "\n".join(lines)).split("\n")


def _inline(line: str, names: dict[str, str]) -> str:
    parts = _CODE.split(line)
    for i, part in enumerate(parts):
        parts[i] = f"``{part.strip('`')}``" if i % 2 else _escaped(part)
    text = "".join(parts)
    for name, title in names.items():
        text = text.replace(f'"{title}"', f":doc:`{title} </{name}>`")
    return text


def _escaped(text: str) -> str:
    kept = _EMPHASIS.findall(text)
    parts = [re.sub(r"[*|\\]|_(?!\w)", r"\\\g<0>", part) for part in _EMPHASIS.split(text)]
    return "".join(part + emphasis for part, emphasis in zip(parts, [*kept, ""], strict=True))


def rewrite(app, what, name, thing, options, lines: list[str]) -> None:
    """Sphinx's autodoc-process-docstring, before napoleon reads the sections; the fields of a tuple say nothing."""
    if lines and lines[0].startswith("Alias for field number "):
        lines.clear()
    lines[:] = as_rst(one_by_one(lines), titles(Path(app.srcdir), frozenset(app.env.found_docs)))


def shorten(app, what, name, thing, options, signature: str | None, returned: str | None):
    """Sphinx's autodoc-process-signature: leave ranges, and what the command line is told, to the text."""
    return signature and plain(signature), returned


def plain(signature: str) -> str:
    """Return a signature with the type alone of each that is annotated.

    >>> plain("(lr: Annotated[float, Range(0, above=True)] = 0.1, out: ~unidd.cli.Annotated[~pathlib.Path, conf[0]])")
    '(lr: float = 0.1, out: ~pathlib.Path)'
    """
    while start := _ANNOTATED.search(signature):
        depth, comma, end = 1, 0, start.end()
        while depth:
            depth += (signature[end] in "[(") - (signature[end] in ")]")
            comma = comma or end * (signature[end] == "," and depth == 1)
            end += 1
        signature = f"{signature[: start.start()]}{signature[start.end() : comma]}{signature[end:]}"
    return signature


def settle(app, config) -> None:
    """Sphinx's config-inited: how docstrings are shown; private names and those of other packages are no links."""
    config.autodoc_member_order = "bysource"
    config.autodoc_preserve_defaults = True
    config.autodoc_typehints_format = "short"
    config.python_use_unqualified_type_names = True
    config.napoleon_numpy_docstring = False
    config.napoleon_use_ivar = True
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, ("py:.*", r"(?!unidd\.).*|.*\._.*")]


def setup(app) -> dict:
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("config-inited", settle)
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
