"""ES modules joined to one, at run time and without node: a page and anywidget each load a single file.

anywidget wants a module. A page loads a classic script, because browsers load no module from the disk (`file://`).

It knows what the explorers use, and refuses the rest: statements begin at the start of a line, names are imported and
exported as they are (no `as`, `*` or default imports), and only the entry has a default export. All modules then share
one scope, so a top-level name may stand in one of them only.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_FROM = r' from "(\.{1,2}/[^"\n]+)"'
_IMPORT = re.compile(rf"^import \{{([^}}]*)\}}{_FROM};\n", re.MULTILINE)
_REEXPORT = re.compile(rf"^export \{{([^}}]*)\}}{_FROM};\n", re.MULTILINE)
_LIST = re.compile(r"^export \{([^}]*)\};\n", re.MULTILINE)
_DEFINITION = re.compile(r"^(export )?(?:async )?(?:function\*?|class|const|let|var) ([\w$]+)", re.MULTILINE)
_DEFAULT = re.compile(r"^export default (?!(?:async )?(?:function|class)\b)", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let|var)\b)", re.MULTILINE)
_UNKNOWN = re.compile(r"^(?:(?:import|export)\b|(?:const|let|var) [\[{]).*|\bimport *[(.].*", re.MULTILINE)
_NAME = re.compile(r"[\w$]+")


class BundleError(ValueError):
    """The modules cannot be joined; the message names the files and what is wrong."""


@dataclass(frozen=True)
class Module:
    """One file, taken apart.

    Attributes:
        imports: (file, name) of all that it imports or exports again.
        exports: names, in order; the default export is not among them.
        defined: top-level names.
        body: the code without imports and without the word `export`, but for a default export.
    """

    path: Path
    imports: tuple[tuple[Path, str], ...]
    exports: tuple[str, ...]
    defined: tuple[str, ...]
    body: str


def bundle(entry: Path) -> str:
    """The module `entry` and all it imports as one module, each after those it builds on, with the entry's exports.

    Raises:
        BundleError: a file is missing, a name is not exported where it is imported from or stands in two modules,
            imports go in a circle, or a statement is none of those that are understood.
    """
    bodies, exports = _joined(entry)
    return "\n".join([bodies, f"export {{ {', '.join(exports)} }};\n"] if exports else [bodies])


def script(entry: Path, name: str) -> str:
    """Return the same as a classic script that sets the global `name` to the exports; the default one is `default`.

    Raises:
        BundleError: as `bundle`.
    """
    bodies, exports = _joined(entry)
    bodies, found = _DEFAULT.subn("const $default = ", bodies)
    listed = ", ".join([*exports, *["default: $default"] * found])
    return f'globalThis.{name} = (() => {{\n"use strict";\n{bodies}\nreturn {{ {listed} }};\n}})();\n'


def read(path: Path) -> Module:
    """Take a file apart.

    Raises:
        BundleError: it is missing, or has a statement that is not understood.
    """
    try:
        text = path.read_text(encoding="utf-8").rstrip("\n") + "\n"
    except FileNotFoundError:
        raise BundleError(f"{path.name} is missing from {path.parent}") from None
    inward, again = (
        [(path.parent.joinpath(source).resolve(), name) for names, source in found for name in _names(names, path)]
        for found in (_IMPORT.findall(text), _REEXPORT.findall(text))
    )
    defined = [(name, bool(exported)) for exported, name in _DEFINITION.findall(text)]
    exports = [name for name, exported in defined if exported]
    exports += [name for names in _LIST.findall(text) for name in _names(names, path)]
    body = text
    for statement in (_IMPORT, _REEXPORT, _LIST, _EXPORT):
        body = statement.sub("", body)
    if unknown := _UNKNOWN.search(_DEFAULT.sub("", body)):
        raise BundleError(f"{path.name}: “{unknown[0]}” is not understood, and would not work in one file")
    exports += [name for _, name in again]
    return Module(path, (*inward, *again), tuple(exports), tuple(name for name, _ in defined), body)


def _joined(entry: Path) -> tuple[str, tuple[str, ...]]:
    """The bodies of a module and all it imports, each after those it builds on, and the names the module exports."""
    modules = _collected(entry.resolve(), {}, ())
    _check_names(modules)
    return "\n".join(module.body for module in modules.values()), modules[entry.resolve()].exports


def _names(text: str, path: Path) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if not _NAME.fullmatch(name) or name == "default":
            raise BundleError(f"{path.name}: “{name}” must be imported or exported under its own name")
    return names


def _collected(path: Path, found: dict[Path, Module], above: tuple[Path, ...]) -> dict[Path, Module]:
    """The modules that a file needs, then itself, added to those already found."""
    if path in above:
        circle = [*above[above.index(path) :], path]
        raise BundleError(f"imports go in a circle: {' → '.join(p.name for p in circle)}")
    if path not in found:
        if above and not path.is_file():
            raise BundleError(f"{above[-1].name} imports {path.name}, which is missing from {path.parent}")
        module = read(path)
        for source in dict.fromkeys(source for source, _ in module.imports):
            _collected(source, found, (*above, path))
        if above and _DEFAULT.search(module.body):
            raise BundleError(f"{path.name} has a default export, which nothing can import")
        found[path] = module
    return found


def _check_names(modules: dict[Path, Module]) -> None:
    """Refuse a name that stands in two modules, or is not where it is imported or exported from."""
    owners: dict[str, Module] = {}
    for module in modules.values():
        for name in module.defined:
            if name in owners:
                raise BundleError(f"{owners[name].path.name} and {module.path.name} both define {name}")
            owners[name] = module
        for source, name in module.imports:
            if name not in modules[source].exports:
                raise BundleError(f"{module.path.name} imports {name} of {source.name}, which does not export it")
        reachable = {*module.defined, *(name for _, name in module.imports)}
        for name in module.exports:
            if name not in reachable:
                raise BundleError(f"{module.path.name} exports {name}, which it neither defines nor imports")
