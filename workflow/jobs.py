"""From a suite file to jobs, every one checked before the first starts.

A suite file gives what all jobs share (`dataset`, `model`, `seeds`, `budget`, … : parameters of the notebook)
and two lists, `methods` × `ipcs`. The full-data baseline, method "full", has no IPC and is one job.
"""

import ast
import hashlib
import json
from pathlib import Path

import papermill
import yaml

ROOT = Path(__file__).resolve().parent.parent
LISTS = ("methods", "ipcs")
# What only shows or calls the computation: a change there leaves finished jobs as they are.
PRESENTATION = ("_book", "_equations", "plots", "pictures", "widgets", "cli", "__main__", "planning")


def suite_path(suite: str) -> Path:
    """The file of a suite, given by name (a file in workflow/suites) or by path.

    Raises:
        ValueError: there is none.
    """
    for path in (ROOT / "workflow" / "suites" / f"{suite}.yaml", Path(suite)):
        if path.is_file():
            return path
    names = sorted(p.stem for p in (ROOT / "workflow" / "suites").glob("*.yaml"))
    raise ValueError(f"no suite {suite!r}: choose one of {', '.join(names)}, or give a path to a .yaml file")


def load(path: Path) -> tuple[dict, dict[str, dict], Path]:
    """The parameters all jobs share; job name -> all parameters of that job; and the notebook they run.

    The notebook is notebooks/benchmark.ipynb unless the suite's key `notebook` names another.

    Raises:
        ValueError: the file is not a suite; the notebook or `unidd.bench.configs.Benchmark` refuses a parameter.
    """
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        raise ValueError(f"{path}: a suite needs the lists {' and '.join(LISTS)}")
    notebook = ROOT / content.pop("notebook", "notebooks/benchmark.ipynb")
    methods, ipcs = (content.pop(key) for key in LISTS)
    shared = {"suite": path.stem, **content}
    jobs = {}
    for method in methods:
        for ipc in [None] if method == "full" else ipcs:
            name = method if ipc is None else f"{method}-ipc{ipc}"
            jobs[name] = {**shared, "method": method, "ipc": ipc}
            check_values(jobs[name], f"{path}: {name}")
    if not jobs:
        raise ValueError(f"{path}: the suite has no job")
    check_names(notebook, {"out": "", **shared})
    return shared, jobs, notebook


def check_values(parameters: dict, where: str) -> None:
    """Raise a ValueError unless `unidd.bench.configs.Benchmark` takes the parameters, and the model exists."""
    from unidd.bench.configs import Benchmark
    from unidd.networks.models import build

    try:
        network = Benchmark.from_parameters(parameters).network()
        build(network, channels=3, size=64, classes=2)  # a model's name is looked up when it is built
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def check_names(notebook: Path, parameters: dict) -> None:
    """Raise a ValueError if the notebook has no such parameter: papermill itself would only warn, and run."""
    if not notebook.is_file():
        raise ValueError(f"there is no notebook {notebook}")
    known = papermill.inspect_notebook(notebook)
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise ValueError(f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")


def code_version(notebook: Path, package: Path = ROOT / "unidd") -> str:
    """Hash of the code a result depends on: the notebook's code cells and the modules that compute.

    Comments, docstrings, stored outputs, layout and timestamps do not count.
    """
    cells = json.loads(notebook.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for module in sorted(package.rglob("*.py")):
        if module.stem not in PRESENTATION:
            texts += [module.name, _without_docstrings(module.read_text())]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
