"""The hash of code changes with what a method runs, and with nothing else: tried on a copy of the package."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unidd
from unidd.bench.cell import Cell
from unidd.bench.closure import closure, code_hash
from unidd.methods import found

METHODS = tuple({"cfm", "random", "full"} & {cls.path() for cls in found()})  # any but cfm may be deleted


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package under another name, which it does not mind: its imports are relative."""
    folder = tmp_path_factory.mktemp("closure") / "unidd_copy"
    shutil.copytree(Path(unidd.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder.parent)
        yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == folder.name]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def before(package) -> dict[str, str]:
    return hashes()


@pytest.fixture
def edit(package):
    """Changes the text of a file until the end of the test."""
    texts = {}

    def change(name: str, change) -> None:
        path = package / name
        texts.setdefault(path, path.read_text())
        path.write_text(change(path.read_text()))

    yield change
    for path, text in texts.items():
        path.write_text(text)


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Writes modules of one's own to a folder that Python finds modules in."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(sources: dict[str, str]) -> None:
        for name, source in sources.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(source)
        importlib.invalidate_caches()

    yield write
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def hashes() -> dict[str, str]:
    return {name: code_hash(f"unidd_copy.methods.{name}", "unidd_copy.bench.cell") for name in METHODS}


def more_code(text: str) -> str:
    return text + "\n\nMORE = 1\n"


def told_otherwise(text: str) -> str:
    """The same code, laid out anew, without its comments and with other docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0].value.value = "Told otherwise."
    return "# A comment.\n\n\n" + ast.unparse(tree) + "\n# Another.\n"


# --------------------------------------------------------------------------------------------- the package


def test_a_hash_is_sixteen_digits_and_the_same_every_time(before):
    assert all(re.fullmatch("[0-9a-f]{16}", value) for value in before.values())
    assert len(set(before.values())) == len(METHODS)
    assert hashes() == before


def test_docstrings_comments_and_layout_do_not_count(package, before, edit):
    for path in closure("unidd_copy.methods.cfm", "unidd_copy.bench.cell").values():
        told = told_otherwise(path.read_text())
        assert told != path.read_text()
        edit(path.relative_to(package), lambda _, told=told: told)
    assert hashes() == before


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("core/filters.py", {"cfm"}),
        ("core/matching.py", {"cfm"}),
        ("engine/descent.py", {"cfm"}),
        ("engine/loop.py", {"cfm"}),
        ("methods/_descending.py", {"cfm"}),
        ("methods/cfm.py", {"cfm"}),
        ("methods/random.py", {"random"}),
        ("methods/full.py", {"full"}),
        ("methods/__init__.py", set(METHODS)),
        ("bench/cell.py", set(METHODS)),
        ("data/datasets.py", set(METHODS)),
        ("networks/training.py", set(METHODS)),
        ("networks/evaluation.py", set(METHODS)),
        ("book/plots.py", set()),
        ("book/pictures.py", set()),
        ("book/widgets.py", set()),
        ("core/spectra.py", set()),
        ("core/objectives.py", set()),
        ("bench/tables.py", set()),
        ("bench/planning.py", set()),
        ("bench/measuring.py", set()),
        ("data/exchange.py", set()),
        ("cli.py", set()),
    ],
)
def test_a_change_of_code_changes_the_methods_that_run_it(before, edit, name, changed):
    if name.startswith("methods/") and not (Path(unidd.__file__).parent / name).is_file():
        pytest.skip("that method is deleted")
    edit(name, more_code)
    after = hashes()
    assert {method for method in METHODS if after[method] != before[method]} == changed


def test_a_change_in_the_middle_of_a_formula_counts(before, edit):
    edit("core/schedules.py", lambda text: text.replace("math.pi", "3.14", 1))
    assert hashes()["cfm"] != before["cfm"]


def test_a_new_file_beside_the_methods_changes_none(package, before):
    (package / "methods" / "newest.py").write_text("import random\n")
    assert hashes() == before
    (package / "methods" / "newest.py").unlink()


def test_a_module_that_is_named_like_one_of_the_standard_library(package):
    """`import random` and `import statistics` are not the files of that name beside the module."""
    for folder in ("methods", "core"):
        path = package / folder / "nearby.py"
        path.write_text("import random\nfrom statistics import mean\n")
        assert set(closure(f"unidd_copy.{folder}.nearby")) == {f"unidd_copy.{folder}.nearby"}
        path.unlink()


def test_the_hash_of_a_cell_is_that_of_its_method():
    for name in METHODS:
        assert Cell.of(method=name, dataset="digits").code == code_hash(f"unidd.methods.{name}", "unidd.bench.cell")


# ------------------------------------------------------------------------------------- modules of one's own


def test_a_module_of_ones_own_counts_with_its_helpers(scripts):
    scripts(
        {
            "own_method.py": "import torch\nimport own_helper\nfrom unidd.core import filters\n",
            "own_helper.py": "from own_deeper import x\nfrom own_package import y\n",
            "own_deeper.py": "x = 1\n",
            "own_package/__init__.py": "from .part import y\n",
            "own_package/part.py": "y = 2\n",
            "own_unused.py": "z = 3\n",
        }
    )
    own = {"own_method", "own_helper", "own_deeper", "own_package", "own_package.part"}
    found = closure("own_method")
    assert set(found) == own | set(closure("unidd.core.filters"))
    before = code_hash("own_method")
    for name, path in found.items():
        if name in own:
            text = path.read_text()
            path.write_text(more_code(text))
            assert code_hash("own_method") != before, name
            path.write_text(text)
    scripts(
        {"own_unused.py": "z = 4\n", "own_helper.py": "# why\nfrom own_deeper import x\nfrom own_package import y\n"}
    )
    assert code_hash("own_method") == before


def test_imports_within_functions_count_and_those_for_type_checkers_do_not(scripts):
    source = """
import typing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from own_hints import Hint
if typing.TYPE_CHECKING:
    import own_hints
else:
    import own_running

class Some:
    def work(self):
        if self:
            import own_late
            from own_later import x
"""
    names = ("own_hints", "own_running", "own_late", "own_later")
    scripts({"own_imports.py": source, **{f"{name}.py": "x = 1\n" for name in names}})
    assert set(closure("own_imports")) == {"own_imports", "own_running", "own_late", "own_later"}


def test_a_name_that_a_package_hands_on_lazily_counts_where_it_is_used(scripts):
    scripts(
        {
            "own_descent.py": "from unidd.methods import Descending\n",
            "own_choice.py": "from unidd.methods import Method\n",
        }
    )
    assert {"unidd.methods._descending", "unidd.engine.loop"} <= set(closure("own_descent"))
    assert not {"unidd.methods._descending", "unidd.engine.loop"} & set(closure("own_choice"))


def test_a_package_of_ones_own_counts_with_what_it_imports_of_itself(scripts):
    scripts(
        {
            "own_whole/__init__.py": "",
            "own_whole/method.py": "from . import near\nfrom .far import x\nimport own_whole.third\n",
            "own_whole/near.py": "",
            "own_whole/far.py": "x = 1\n",
            "own_whole/third.py": "",
            "own_whole/unused.py": "",
        }
    )
    names = ("method", "near", "far", "third")
    assert set(closure("own_whole.method")) == {f"own_whole.{name}" for name in names}


def test_looking_for_imports_runs_and_loads_nothing(scripts, tmp_path):
    scripts({"own_loud.py": "import torchvision.models\nfrom skimage.data import moon\nraise SystemExit('it ran')\n"})
    script = "import sys\nfrom unidd.bench.closure import closure\n"
    script += "print(*closure('own_loud'), *{'torchvision', 'skimage', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "own_loud\n"


def test_what_is_no_module_has_no_files():
    assert closure("own_nothing", "unidd.core.filters.Ridge", "unidd.core.nothing", "sys") == {}
