"""The project as a whole: pinned versions, import order, notebook pairs, links, what may be in git."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jupytext
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import unidd

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = sorted((ROOT / "unidd").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "book").rglob("*.md"), *NOTEBOOKS]


def name(path):
    return path.relative_to(ROOT).as_posix()


# Versions


def pins(lines):
    """Name -> version of lines such as "numpy==2.4.6"."""
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_environment_agrees_with_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    *pinned, last = pip
    assert pins(pinned) == pins((ROOT / "constraints.txt").read_text().splitlines())
    assert last.replace('"', "") == "-e .[embedded,show,book,test,batch]"
    assert set(PROJECT["optional-dependencies"]) == {
        "embedded",
        "exchange",
        "show",
        "book",
        "test",
        "mutants",
        "batch",
    }


def test_every_direct_requirement_is_pinned_within_its_range():
    pinned = pins((ROOT / "constraints.txt").read_text().splitlines())
    for text in [*PROJECT["dependencies"], *(r for rs in PROJECT["optional-dependencies"].values() for r in rs)]:
        requirement = Requirement(text)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_version_is_in_the_changelog():
    assert importlib.metadata.version("unidd") == PROJECT["version"]
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(("group", "entry"), [("console_scripts", "unidd"), ("myst_nb.mime_renderers", "unidd")])
def test_entry_points_load(group, entry):
    (found,) = importlib.metadata.entry_points(group=group, name=entry)
    assert callable(found.load())


# Package


def order():
    """The modules in the order of the map in the package docstring, as "core.filters"; rooms as "core"."""
    room, found = "", []
    for indent, names in re.findall(r"^((?:    ){1,2})(\w+(?:, \w+)*) {2,}\S", unidd.__doc__, flags=re.MULTILINE):
        if len(indent) == 4:
            room = names
            found.append(room)
        else:
            found += [f"{room}.{module}" for module in names.split(", ")]
    return found[: found.index("cli") + 1]  # the vocabulary stands below


def dotted(path):
    parts = path.relative_to(ROOT / "unidd").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    """Names of the unidd modules that a module imports, anywhere in it, as in `order`."""
    package = ["unidd", *path.relative_to(ROOT / "unidd").parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                both = ".".join([*base, alias.name]), ".".join(base)
                found = [whole.removeprefix("unidd.") for whole in both if whole.removeprefix("unidd.") in order()]
                if base[:1] == ["unidd"] and found:
                    yield found[0]
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("unidd.") for a in node.names if a.name.startswith("unidd."))


def is_a_method(module):
    """Methods stand in no list: the folder is the list."""
    return module.startswith("methods.") and not module.startswith("methods._")


def test_package_docstring_maps_every_module():
    found = {dotted(path) for path in MODULES} - {"", "__main__"}
    assert sorted(order()) == sorted(module for module in found if not is_a_method(module))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_import_only_from_above(path):
    module = dotted(path)
    if module in ("", "__main__"):
        return
    above = order()[: order().index("bench" if is_a_method(module) else module)]
    for_checkers_too = {"methods": {"methods._descending", "engine.run", "networks.training"}}
    assert set(imported(path)) <= set(above) | for_checkers_too.get(module, set())


def test_the_order_of_imports_is_looked_at():
    """A test that cannot fail is none: these are seen, inside a room and across rooms."""
    assert {"files", "core.filters"} <= set(imported(ROOT / "unidd" / "core" / "statistics.py"))
    assert {"methods", "engine.descent", "core.matching"} <= set(imported(ROOT / "unidd" / "methods" / "cfm.py"))


def functions(path):
    """(name, lines of code) of every function: without docstring, blank lines and comments."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            span = lines[body[0].lineno - 1 : body[-1].end_lineno] if body else []
            yield node.name, sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in span)


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "benchmarks").glob("*.py"))], ids=name)
def test_functions_fit_a_screen(path):
    assert {found: lines for found, lines in functions(path) if lines > 40} == {}


def test_the_core_is_short():
    """Lines of code of what a reader follows first, docstrings and blank lines aside."""
    total = 0
    for path in (ROOT / "unidd" / "core").glob("*.py"):
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docs = {
            line
            for node in ast.walk(tree)
            if isinstance(node, documented) and ast.get_docstring(node) is not None
            for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
        }
        lines = enumerate(path.read_text().splitlines(), 1)
        total += sum(bool(text.strip()) and number not in docs for number, text in lines)
    assert total < 1000


@pytest.mark.parametrize("path", [*MODULES, *NOTEBOOKS], ids=name)
def test_no_unsafe_torch_load(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert "weights_only=True" in ast.unparse(node)


# Notebooks and pages


def test_every_notebook_has_its_pair():
    assert [p.stem for p in NOTEBOOKS] == sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_pairs_have_the_same_cells(path):
    def cells(source):
        found = jupytext.read(source).cells
        return [(cell.cell_type, sorted(cell.metadata.get("tags", [])), cell.source) for cell in found]

    assert cells(path.with_suffix(".ipynb")) == cells(path)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_relative_links_lead_somewhere(path):
    text = path.read_text()
    if path.suffix == ".py":  # only the markdown cells
        text = "\n".join(c.source for c in jupytext.read(path).cells if c.cell_type == "markdown")
    text = re.sub(r"^```(?!\{).*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)  # code blocks
    links = re.findall(r"\]\(<?([^()\s>]+)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    links += re.findall(r"^```\{(?:figure|image|literalinclude|include)\} *(\S+)", text, flags=re.MULTILINE)
    for link in links:
        target = link.split("#")[0]
        if not target or re.match(r"[a-z]+:", target):
            continue
        start = ROOT if target.startswith("/") else path.parent
        there = start / target.lstrip("/")
        found = [there, *(there.with_name(there.name + suffix) for suffix in (".md", ".py", ".ipynb"))]
        # A page of the built book may be linked by its .html name.
        found += [there.with_suffix(s) for s in (".md", ".ipynb")] if there.suffix == ".html" else []
        assert any(p.exists() for p in found), link


def test_readme_example_runs(tmp_path, monkeypatch):
    """As printed, but on the smallest data set and budget."""
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    small = example.replace('"photos"', '"digits"').replace("ipc=1)", 'ipc=1, budget="smoke")')
    small = small.replace("evaluate(synthetic, data)", 'evaluate(synthetic, data, budget="smoke")')
    assert small.count("smoke") == 2
    monkeypatch.chdir(tmp_path)
    exec(small, {})
    assert (tmp_path / "ten-images" / "images.safetensors").exists()


# Repository


def committed():
    """Files in git, and those about to be."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        out = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / f for f in out.split("\0") if f and (ROOT / f).is_file()]


def test_no_data_checkpoints_or_caches_in_git():
    data = {".pt", ".pth", ".ckpt", ".safetensors", ".npz", ".npy", ".pkl", ".gz", ".zip", ".tar", ".parquet"}
    generated = {"__pycache__", ".ipynb_checkpoints", "_build", "_runs", "_cache", "_data", "node_modules"}
    for path in committed():
        assert path.suffix not in data, path
        assert not generated & set(path.parts), path
        assert path.stat().st_size < 2_000_000, f"{path} is large"


def test_vendored_browser_code_stays_out_of_git():
    for path in committed():
        assert not re.search(r"(plotly|mathjax|require|embed-amd|anywidget).*\.js$", path.name, re.IGNORECASE), path


def test_make_help_lists_every_public_target():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    described = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    assert set(phony) - set(described) == {"chromium"}


# What an import costs


def loaded(script):
    """What a fresh process prints, as words."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_package_is_quick_and_loads_nothing_heavy():
    """The seconds are of this process alone: the machine may have other things to do."""
    script = "import sys, time, torch; before, start = {*sys.modules}, time.process_time()\n"
    script += "import unidd; print(time.process_time() - start, *{*sys.modules} - before)"
    seconds, *found = loaded(script)
    found = {name.split(".")[0] for name in found}
    assert float(seconds) <= 0.1
    assert not {"torchvision", "pandas", "plotly", "skimage"} & found
    assert not {"torch", "numpy"} & set(loaded("import sys, unidd; print(*sys.modules)")), "not even these"
    script = "import sys; sys.path.insert(0, 'workflow'); import run_notebook; print(*sys.modules)"
    assert "torch" not in loaded(script), "a batch has one of these beside each kernel"


def test_the_theory_needs_torch_alone():
    paths = sorted((ROOT / "unidd" / "core").glob("*.py"))
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths]
    script = "import importlib, sys, torch; before = {*sys.modules}\n"
    script += f"for name in {names}: importlib.import_module(name)\n"
    found = {name.split(".")[0] for name in loaded(script + "print(*{*sys.modules} - before)")}
    assert "unidd" in found
    assert not {"pandas", "torchvision", "plotly", "skimage", "sklearn", "tqdm", "PIL"} & found
    for path in paths:  # torch itself loads tqdm if it is there
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
        froms = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        named = {alias.name for node in imports for alias in node.names} | {n.module for n in froms if not n.level}
        assert {name.split(".")[0] for name in named} <= {"torch", *sys.stdlib_module_names}, path
