"""Hash the code that a result depends on: a module and all of ours that it imports, directly or through others.

Comments, docstrings and layout do not count, nor does what is imported for type checkers alone.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_OURS = __name__.split(".")[0]


def code_hash(*modules: str) -> str:
    """Return sixteen hexadecimal digits that change with the code of these modules or of what they import."""
    parts = [f"{name}\0{_code(path.read_text())}" for name, path in sorted(closure(*modules).items())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def closure(*modules: str) -> dict[str, Path]:
    """Return the files of these modules and of all they import of their own packages and of ours, by name.

    >>> "unidd.core.filters" in closure("unidd.core.matching"), "unidd.book.plots" in closure("unidd.core.matching")
    (True, False)
    """
    found: dict[str, Path] = {}
    packages = {_OURS, *(name.split(".")[0] for name in modules)}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = None if name in found else _file(name)
        if path is None:
            continue
        found[name] = path
        packages |= _beside(name, path)
        imported = _imports(path.read_text(), _package(name, path))
        waiting += _modules([pair for pair in imported if pair[0].split(".")[0] in packages])
    return found


@cache
def _file(name: str) -> Path | None:
    """The source of a module; None if it has none or is no module."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):  # the parent is a module, not a package
        return None
    path = Path(spec.origin) if spec and spec.origin else None
    return path if path and path.suffix == ".py" else None


def _package(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def _beside(name: str, path: Path) -> set[str]:
    """Names of the modules and packages that lie beside a script, a module that is in no package."""
    if _package(name, path) or path.parent.name in ("site-packages", "dist-packages"):
        return set()
    return {p.stem for p in path.parent.glob("*.py")} | {p.parent.name for p in path.parent.glob("*/__init__.py")}


def _modules(imported: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the modules that are run when these names are imported, (module, name in it) or (module, "")."""
    for base, name in imported:
        if name and _file(f"{base}.{name}"):
            yield f"{base}.{name}"
        else:
            yield base
            path = _file(base) if name else None
            later = _imports(path.read_text(), _package(base, path), for_checkers=True) if path else ()
            yield from (home for home, given in later if given == name)  # handed on lazily


@cache
def _imports(text: str, package: str, for_checkers: bool = False) -> tuple[tuple[str, str], ...]:
    """Return what a module imports anywhere in it, as (module, name in it) or (module, "").

    Args:
        for_checkers: only names that it imports as themselves for type checkers, and so hands on by other means.
    """
    found = []
    for node in _for_checkers(ast.parse(text)) if for_checkers else _running(ast.parse(text)):
        if isinstance(node, ast.Import) and not for_checkers:
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [alias for alias in node.names if alias.asname == alias.name or not for_checkers]
            found += [(base, alias.name) for alias in names]
    return tuple(found)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and those below it, but for blocks that only a type checker reads."""
    yield node
    for child in node.orelse if isinstance(node, ast.If) and _checked(node) else ast.iter_child_nodes(node):
        yield from _running(child)


def _for_checkers(tree: ast.AST) -> Iterator[ast.AST]:
    return (node for block in ast.walk(tree) if isinstance(block, ast.If) and _checked(block) for node in block.body)


def _checked(node: ast.If) -> bool:
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


@cache
def _code(text: str) -> str:
    """Return the syntax tree of a module without its docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
