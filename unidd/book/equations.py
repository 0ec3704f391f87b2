"""The table equation → code → test → chapter, worked out from chapters and tests whenever the book is built.

An equation is a label `(eq-name)` after `$$` in a notebook. Its tests are the functions `test_eq_name` and
`test_eq_name_…`, each counted for the longest label it fits; its code is what those tests use of `unidd`. An equation
without a test, or whose tests use no code, is a warning, and a warning fails the build.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

PAGE = "book/equations"
MARKER = "<!-- equations -->"
_GIVEN = ("unidd.data.datasets.load",)  # where a test takes its data from, not what it tests
_LABEL = re.compile(r"\$\$\s*\((eq-[\w-]+)\)")


@dataclass(frozen=True)
class Row:
    """One equation: its label, the page it stands on, its tests, and the `unidd` names they use."""

    label: str
    page: str
    tests: tuple[str, ...]
    code: tuple[str, ...]

    @property
    def complaint(self) -> str | None:
        if not self.tests:
            return f"equation {self.label} of {self.page} has no test: write test_{self.label.replace('-', '_')}"
        return None if set(self.code) - set(_GIVEN) else f"the tests of equation {self.label} use nothing of unidd"


def equations(root: Path) -> list[Row]:
    """The labelled equations of the notebooks below `root`, in order."""
    pages = {
        label: f"notebooks/{path.stem}"
        for path in sorted((root / "notebooks").glob("*.py"))
        for label in _LABEL.findall(path.read_text())
    }
    tests: dict[str, dict[str, set[str]]] = {label: {} for label in pages}
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name, code in _tests(path):
            fits = [label for label in pages if f"{name}_".startswith(f"test_{label.replace('-', '_')}_")]
            if fits:
                tests[max(fits, key=len)][f"{path.name}::{name}"] = code
    return [
        Row(label, page, tuple(tests[label]), tuple(sorted(set().union(*tests[label].values()))))
        for label, page in pages.items()
    ]


def _tests(path: Path):
    """(name, unidd names used) of every test function of a file, those of the file's own helpers included."""
    tree = ast.parse(path.read_text())
    imported, modules = {}, {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "unidd":
            for alias in node.names:
                target = modules if node.module == "unidd" else imported
                target[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}

    def used(node: ast.AST, seen: frozenset[str]) -> set[str]:
        names = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in modules:
                names.add(f"{modules[part.value.id]}.{part.attr}")
            elif isinstance(part, ast.Name) and part.id in imported:
                names.add(imported[part.id])
            elif isinstance(part, ast.Name) and part.id in functions and part.id not in seen:
                names |= used(functions[part.id], seen | {part.id})
        return names

    for name, node in functions.items():
        if name.startswith("test_eq_"):
            yield name, used(node, frozenset({name}))


def markdown(rows: list[Row]) -> str:
    """The tables, one a chapter, as MyST Markdown; names are short for `unidd.…` and `tests/…`."""
    lines = []
    for page in dict.fromkeys(row.page for row in rows):
        lines += ["", f"**Chapter:** {{doc}}`/{page}`", "", "| equation | code | test |", "|---|---|---|"]
        for row in (row for row in rows if row.page == page):
            code = "<br>".join(f"`{name.removeprefix('unidd.')}`" for name in row.code if name not in _GIVEN)
            tests = "<br>".join(f"`{name.split('::')[1]}`" for name in row.tests)
            lines.append(f"| {{eq}}`{row.label}` | {code} | {tests} |")
    return "\n".join(lines)


def fill(app, docname: str, source: list[str]) -> None:
    """Sphinx's source-read: put the table in its page, and warn of every row that lacks its code or test."""
    if docname == PAGE:
        from sphinx.util import logging

        rows = equations(Path(app.srcdir))
        for complaint in filter(None, (row.complaint for row in rows)):
            logging.getLogger(__name__).warning(complaint, location=docname)
        source[0] = source[0].replace(MARKER, markdown(rows))
