"""The project as a whole: pinned versions, import order, notebook pairs, links, what may be in git."""

import ast
import importlib.metadata
import re
import subprocess
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
    assert last.replace('"', "") == "-e .[book,test,batch]"
    assert set(PROJECT["optional-dependencies"]) == {"book", "test", "batch"}


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
    """The modules in the order of the map in the package docstring."""
    return re.findall(r"^    (\w+) {2,}\S", unidd.__doc__, flags=re.MULTILINE)


def imported(tree):
    """Names of the unidd modules that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level or node.module == "unidd":
                parts = [node.module] if node.module and node.level else [alias.name for alias in node.names]
                yield from (part.split(".")[0] for part in parts)
            elif (node.module or "").startswith("unidd."):
                yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("unidd."))


def test_package_docstring_maps_every_module():
    public = {p.stem for p in (ROOT / "unidd").glob("*.py") if not p.stem.startswith("_")}
    public |= {p.parent.name for p in (ROOT / "unidd").glob("*/__init__.py")}
    assert set(order()) == public


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_import_only_from_above(path):
    module = path.relative_to(ROOT / "unidd").with_suffix("").parts[0]
    names = [*order(), "_equations", "_book", "__main__"]
    if module == "__init__":
        allowed = set()
    else:
        allowed = set(names[: names.index(module)])
        allowed |= {module} if path.parent != ROOT / "unidd" else set()  # within a subpackage
    assert set(imported(ast.parse(path.read_text()))) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_stay_short(path):
    assert len(path.read_text().splitlines()) <= 320


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
    assert small.count("smoke") == 1
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
    described = re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)
    assert set(phony) - set(described) == {"chromium"}
