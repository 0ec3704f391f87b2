"""Chapters elsewhere than in the repository, and in Jupyter: they find the package, and saving is harmless."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import jupytext
import nbformat
import pytest
from jupyter_client import KernelManager
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class
from packaging.requirements import Requirement

from unidd.book import plots
from unidd.book.sphinx import PLOTLY, WIDGET
from unidd.book.widgets import EXPLORER, FilterExplorer

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
sys.path.insert(0, str(ROOT / "workflow"))
import elsewhere  # noqa: E402
import execute_notebooks  # noqa: E402
import first_cell  # noqa: E402
import forked_kernels  # noqa: E402

URL = "https://example.org/a/project.git"


def code(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def run(source: str, monkeypatch, there: bool) -> list[tuple[str, str]]:
    """Run a first cell, with the package there or not; gives the magics it calls."""
    called = []
    shell = type("Shell", (), {"run_line_magic": lambda self, *magic: called.append(magic)})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)
    exec(compile(source, "first cell", "exec"), {"get_ipython": shell})
    return called


# ---- the first cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chapter_begins_with_the_same_cell(path):
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell for cell in cells if cell.cell_type == "code")
    assert first.metadata.tags == ["setup", "remove-cell"], "the published book does not show it"
    assert first_cell.cell(first_cell.address()).endswith(f"\n{first.source}\n"), "run `make notebooks`"
    assert cells[0].cell_type == "markdown", "a page begins with its title"
    assert cells[0].source.startswith("# ")


@pytest.mark.parametrize("url", ["", URL])
def test_where_the_package_is_found_nothing_is_done(url, monkeypatch):
    assert run(first_cell.cell(url), monkeypatch, there=True) == []


def test_where_it_is_not_it_is_installed_with_what_chapters_need(monkeypatch):
    ((magic, line),) = run(first_cell.cell(URL), monkeypatch, there=False)
    found = Requirement(re.fullmatch(r"install --quiet '(.+)'", line)[1])
    assert (magic, found.name, found.url) == ("pip", PROJECT["project"]["name"], f"git+{URL}")
    assert found.extras <= set(PROJECT["project"]["optional-dependencies"])
    assert {"embedded", "show"} <= found.extras


def test_where_the_project_is_not_published_it_says_what_to_do(monkeypatch):
    with pytest.raises(ModuleNotFoundError, match="in a clone of the project, run pip install"):
        run(first_cell.cell(""), monkeypatch, there=False)


def test_a_new_address_is_written_into_a_chapter_once(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_config.yml").write_text(f"repository:\n  url: {URL}\n")
    chapter = tmp_path / "notebooks" / "one.py"
    chapter.write_text("# %% [markdown]\n# # One\n\n" + first_cell.cell("") + "\n# %%\nx = 1\n")
    monkeypatch.setattr(first_cell, "ROOT", tmp_path)
    for _ in range(2):
        first_cell.main()
        assert chapter.read_text() == "# %% [markdown]\n# # One\n\n" + first_cell.cell(URL) + "\n# %%\nx = 1\n"


# ---- elsewhere


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_chapter_looks_for_files_around_the_working_folder(path):
    around = r"""["'](?:\.\.?/|results|_runs|notebooks/|book/)|Path\.cwd|os\.getcwd"""
    assert [found for source in code(path) for found in re.findall(f".*(?:{around}).*", source)] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return elsewhere.wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The environment of processes that find the package where the wheel was unpacked, and reach no other machine."""
    site = elsewhere.put(wheel, tmp_path_factory.mktemp("elsewhere"))
    # Teachers are those that `make` keeps: one that is there already is not trained again.
    return os.environ | {"PYTHONPATH": str(site), "UNIDD_CACHE": str(ROOT / "_cache"), "TQDM_DISABLE": "1"}


@pytest.mark.slow
def test_a_wheel_has_the_records_the_explorers_the_book_and_no_more_than_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    records = {str(path.relative_to(ROOT)) for path in (ROOT / "results").rglob("*.json")}
    assert records
    assert {f"unidd/{name}" for name in records} <= names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "unidd").rglob("*") if path.suffix in (".py", ".js")}
    assert modules <= names
    pages = [*(ROOT / "notebooks").iterdir(), *(ROOT / "book").rglob("*.*"), ROOT / "_config.yml", ROOT / "_toc.yml"]
    wanted = {str(path.relative_to(ROOT)) for path in pages if path.suffix in (".py", ".ipynb", ".md", ".yml", ".css")}
    assert {f"unidd/book/source/{name}" for name in wanted} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"unidd"}


@pytest.mark.slow
def test_an_installed_package_finds_its_records_from_any_folder(installed, tmp_path):
    ask = """
        import json
        from unidd.bench import records
        found = records.load_records(records.published())
        studies = sorted(path.name for path in records.published("studies").iterdir())
        print(json.dumps([len(found), studies, str(records.own())]))
    """
    command = [sys.executable, "-c", "\n".join(line.strip() for line in ask.splitlines())]
    answer = subprocess.check_output(command, cwd=tmp_path, env=installed, text=True)
    expected = sorted(path.name for path in (ROOT / "results" / "studies").iterdir())
    found = len(list((ROOT / "results").glob("*/*.json")))
    assert json.loads(answer) == [found, expected, str(tmp_path / "_runs")]


@pytest.mark.slow
def test_a_chapter_runs_where_only_the_wheel_is(installed, tmp_path):
    """`pytest --nbval-lax` in an empty folder, with no network: no cell fails. `make book` runs all so, on forks."""
    path = ROOT / "notebooks" / "03_filters.ipynb"
    notebook = nbformat.read(path, as_version=4)
    check = f"import unidd; assert unidd.__file__.startswith({installed['PYTHONPATH']!r})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(check))
    nbformat.write(notebook, tmp_path / path.name)
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600", "-p", "no:cacheprovider", "-q"]
    command = [sys.executable, "-m", "pytest", *options, path.name]
    done = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
def test_a_forked_kernel_is_where_it_is_asked_for_and_ends_with_who_asked(installed, monkeypatch, tmp_path):
    site = Path(installed["PYTHONPATH"])
    monkeypatch.setenv("JUPYTER_PATH", str(site.parent))
    ask = "import json, os, sys, unidd; where = [os.getcwd(), unidd.__file__, os.environ['HERE']]; "
    ask += "print(json.dumps([where, os.getpid(), 'torch' in sys.modules, sys.path]))"
    with forked_kernels.kernels():
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(tmp_path), env=os.environ | {"HERE": "yes"})
        client, said = manager.blocking_client(), []
        try:
            client.start_channels()
            client.wait_for_ready(timeout=60)
            client.execute_interactive(ask, timeout=60, output_hook=said.append)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)  # kills the process that asked
        (text,) = [message["content"]["text"] for message in said if message["msg_type"] == "stream"]
        where, number, imported, path = json.loads(text)
        assert where == [str(tmp_path), str(site / "unidd" / "__init__.py"), "yes"]
        assert imported
        assert not [found for found in path if found.startswith(str(ROOT / "workflow"))]
        deadline = time.monotonic() + 20
        while Path(f"/proc/{number}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.browser
def test_every_chapter_of_the_built_book_ran_where_only_the_wheel_is():
    """Each kernel of the build was that of `workflow/elsewhere.py`, and began in an empty folder of its own."""
    home = ROOT / "_build" / "elsewhere"
    ran = [json.loads(line) for line in (home / "runs.jsonl").read_text().splitlines()]
    pages = [page for page in (ROOT / "book").glob("*.md") if "kernelspec:" in page.read_text()]
    chapters = len(NOTEBOOKS) + len(pages)
    assert [found for _, found in ran] == [[]] * chapters
    assert len({folder for folder, _ in ran}) == chapters
    environment = json.loads((home / "kernels" / "python3" / "kernel.json").read_text())["env"]
    ask = [sys.executable, "-c", "import unidd; print(unidd.__file__)"]
    found = subprocess.check_output(ask, env=os.environ | environment, text=True, cwd=home)
    assert Path(found.strip()) == home / "site" / "unidd" / "__init__.py"


@pytest.mark.slow
def test_where_only_the_wheel_is_no_other_machine_is_reached(installed):
    """The test above would fail if a chapter asked one."""
    ask = "import urllib.request; urllib.request.urlopen('http://192.0.2.1', timeout=1)"
    done = subprocess.run([sys.executable, "-c", ask], env=installed, capture_output=True, text=True)
    assert "no network here" in done.stderr


# ---- stored outputs


def test_a_figure_and_an_explorer_are_stored_with_a_still_picture():
    chart = json.loads(plots.figure([{"y": [1, 2]}], "A line").to_json())
    explorer = FilterExplorer({"a layer": [1.0, 0.1]}).state()
    output = nbformat.v4.new_output("display_data", {PLOTLY: chart, EXPLORER: explorer, WIDGET: {}})
    execute_notebooks.settle(output)
    assert output.data[execute_notebooks.STILL].lstrip().startswith("<")
    assert "</svg>" in output.data[execute_notebooks.STILL]
    assert WIDGET not in output.data, "its model ended with the kernel"
    nbformat.validate(output, ref="output", version=4)


def test_a_picture_stays_in_a_stored_notebook():
    output = nbformat.v4.new_output("display_data", {"image/png": "aGk=", "text/plain": "a picture"})
    execute_notebooks.settle(output)
    assert output.data == {"image/png": "aGk=", "text/plain": "a picture"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_was_run_and_shows_its_pictures(path):
    """`make notebooks` runs it: on GitHub, and before its first run in Jupyter, a reader sees what it shows."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and cell.source:
            assert cell.execution_count, f"not run since it was edited: {cell.source.splitlines()[0]}"
            for output in cell.outputs:
                if {PLOTLY, EXPLORER} & set(output.get("data", {})):
                    assert any(kind.startswith("image/") for kind in output.data)
    assert path.stat().st_size < 2_000_000


# ---- Jupyter


@pytest.fixture(params=["repository", "notebooks"])
def opened(request, tmp_path):
    """Opens and saves a chapter in Jupyter, which runs in the repository or in its folder of notebooks."""
    top = tmp_path if request.param == "repository" else tmp_path / "notebooks"

    def save(path: Path, change=lambda content: None) -> tuple[Path, Path]:
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        copies = [tmp_path / "notebooks" / path.with_suffix(suffix).name for suffix in (".ipynb", ".py")]
        for copy in copies:
            copy.write_bytes((ROOT / "notebooks" / copy.name).read_bytes())
        (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
        manager = build_sync_jupytext_contents_manager_class(LargeFileManager)()
        manager.root_dir = str(top)
        name = str(copies[0].relative_to(top))
        content = manager.get(name)["content"]
        change(content)
        manager.save({"type": "notebook", "content": content, "format": "json"}, name)
        return copies[0], copies[1]

    return save


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_saving_in_jupyter_changes_no_byte(path, opened):
    notebook, script = opened(path)
    assert script.read_bytes() == path.with_suffix(".py").read_bytes()
    assert notebook.read_bytes() == path.read_bytes()


def run_it(content):
    """What running leaves: counts, outputs, times."""
    for i, cell in enumerate(c for c in content["cells"] if c["cell_type"] == "code"):
        cell["execution_count"] = i + 100
        cell["outputs"] = [nbformat.v4.new_output("stream", text="other\n")]
        cell["metadata"]["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}


def another_kernel(content):
    """A kernel of another name and version, as on Colab."""
    content["metadata"]["kernelspec"] = {"display_name": "Python 3", "name": "python3", "language": "python"}
    content["metadata"]["language_info"]["version"] = "3.13.0"
    content["metadata"]["colab"] = {"provenance": []}


def fold(content):
    """Cells folded, scrolled and shown as slides."""
    look = {"collapsed": True, "scrolled": True, "jupyter": {"outputs_hidden": True}, "slideshow": {"slide_type": ""}}
    for cell in content["cells"]:
        cell["metadata"].update(look, editable=True)


@pytest.mark.parametrize("change", [run_it, another_kernel, fold], ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["01_quickstart", "benchmark", "04_methods"])
def test_what_a_session_leaves_in_a_notebook_stays_out_of_its_script(change, name, opened):
    _, script = opened(ROOT / "notebooks" / f"{name}.ipynb", change)
    assert script.read_bytes() == (ROOT / "notebooks" / f"{name}.py").read_bytes()


def test_what_is_written_in_jupyter_is_in_the_script(opened):
    def write(content):
        content["cells"][-1]["source"] += "\nOne more line."

    _, script = opened(ROOT / "notebooks" / "01_quickstart.ipynb", write)
    assert jupytext.read(script).cells[-1].source.endswith("\nOne more line.")


@pytest.mark.parametrize(
    "left",
    [
        "out.ipynb",  # as the benchmark's chapter names papermill's copy
        "_runs/local/mine.ipynb",
        "_build/notebooks/executed.ipynb",
        "notebooks/.ipynb_checkpoints/01_quickstart-checkpoint.ipynb",
        "notebooks/.jupyter_cache/global.db",
        "distilled/card.json",  # of `unidd distill`, as README has it
    ],
)
def test_what_runs_leave_is_not_for_git(left):
    assert subprocess.run(["git", "check-ignore", "-q", left], cwd=ROOT).returncode == 0


# ---- the benchmark


def test_the_benchmark_trains_on_all_images_of_a_data_set_too_large_for_a_set(tmp_path, monkeypatch):
    monkeypatch.setattr("unidd.methods.full._MOST", 0)
    asked = {"dataset": "digits", "method": "full", "ipc": None, "seeds": [0], "budget": "smoke"}
    names: dict = {}
    for cell in jupytext.read(ROOT / "notebooks" / "benchmark.py").cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "benchmark", "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= asked | {"out": str(tmp_path / "full.json")}
    assert names["record"].method == "full"
    assert [path.name for path in tmp_path.iterdir()] == ["full.json"]
