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
    parts = [f"{name}\0{_code(path)}" for name, path in sorted(closure(*modules).items())]
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
        path = _file(name)
        if name in found or path is None:
            continue
        found[name] = path
        imported = _imports(name, path)
        beside = (other for other in imported if (path.parent / f"{other}.py").is_file())  # of a script's folder
        waiting += [*(other for other in imported if other.split(".")[0] in packages), *beside]
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


def _imports(name: str, path: Path) -> list[str]:
    """Names of what a module imports anywhere in it; a name may be that of something in a module."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in _running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            submodules = [f"{base}.{alias.name}" for alias in node.names]
            modules = [submodule for submodule in submodules if _file(submodule)]
            found += modules if len(modules) == len(submodules) else [*modules, base]
    return found


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, but for blocks that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _running(child)


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
