"""From a suite file to jobs, every one checked before the first starts.

A suite file gives what all jobs share (`dataset`, `model`, `seeds`, `budget`, … : parameters of the notebook)
and two lists, `methods` × `ipcs`. A method that takes all images has no IPC and is one job. An entry such as
`frepo: {lr: 0.01}` is a method with hyper-parameters of its own.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import yaml
from run_notebook import check_names

from unidd.bench.cell import Cell
from unidd.data.datasets import source_fingerprint
from unidd.methods import find
from unidd.networks.models import build

ROOT = Path(__file__).resolve().parent.parent
LISTS = ("methods", "ipcs")


class Suite(NamedTuple):
    """The parameters all jobs share; job name → all parameters of that job, and its code; and the notebook they run.

    Attributes:
        code: job name → hash of the code its record depends on.
        seeds: of the repetitions, each with a teacher of its own.
        data: hash of the data set, as far as it can change under its name.
    """

    shared: dict
    jobs: dict[str, dict]
    notebook: Path
    code: dict[str, str]
    data: str
    seeds: tuple[int, ...]


def suite_path(suite: str) -> Path:
    """Return the file of a suite, given by name (a file in workflow/suites) or by path.

    Raises:
        ValueError: there is none.
    """
    for path in (ROOT / "workflow" / "suites" / f"{suite}.yaml", Path(suite)):
        if path.is_file():
            return path
    names = sorted(p.stem for p in (ROOT / "workflow" / "suites").glob("*.yaml"))
    raise ValueError(f"no suite {suite!r}: choose one of {', '.join(names)}, or give a path to a .yaml file")


def chosen(config: dict) -> Path:
    """Return the suite file that Snakemake's configuration names.

    Raises:
        ValueError: there is none, or the configuration sets anything else.
    """
    if unknown := set(config) - {"suite"}:
        raise ValueError(f"unknown setting {', '.join(sorted(unknown))}: a suite's values are set in its file")
    return suite_path(config.get("suite", "embedded"))


def load(path: Path) -> Suite:
    """Read a suite. Its notebook is notebooks/benchmark.ipynb unless its key `notebook` names another.

    Raises:
        ValueError: the file is not a suite; the notebook or `unidd.Cell` refuses a parameter.
    """
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        raise ValueError(f"{path}: a suite needs the lists {' and '.join(LISTS)}")
    notebook = ROOT / content.pop("notebook", "notebooks/benchmark.ipynb")
    methods, ipcs = (content.pop(key) for key in LISTS)
    shared = {"suite": path.stem, **content}
    jobs, code, seeds = {}, {}, ()
    for entry in methods:
        try:
            method, own = _entry(entry)
            has_ipc = find(method).has_ipc
            for ipc in ipcs if has_ipc else [None]:
                name = f"{method}-ipc{ipc}" if has_ipc else method
                jobs[name] = {**shared, "method": method, "ipc": ipc, **own}
                cell = Cell.of(**jobs[name])
                for network in (cell.network(), cell.student_network()):  # a name is looked up when it is built
                    build(network, channels=3, size=64, classes=2)
                code[name], seeds = cell.code, cell.seeds
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {entry}: {error}") from None
    if not jobs:
        raise ValueError(f"{path}: the suite has no job")
    check_names(notebook, {"out": "", **shared})
    return Suite(shared, jobs, notebook, code, source_fingerprint(shared.get("dataset", "photos")), seeds)


def _entry(entry: object) -> tuple[str, dict]:
    """A method's name, and the parameters that are its own."""
    if isinstance(entry, str):
        return entry, {}
    if not (isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry.values())), dict)):
        raise ValueError("a method is a name, or a name with its hyper-parameters, as in {frepo: {lr: 0.01}}")
    name, settings = next(iter(entry.items()))
    return name, {"settings": settings}


def cells_hash(notebook: Path) -> str:
    """Return a hash of a notebook's code; stored outputs, prose and timestamps do not count."""
    cells = json.loads(notebook.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
