"""From a suite file to jobs, every one checked before the first starts.

A suite file gives what all jobs share (`dataset`, `model`, `seeds`, `budget`, … : parameters of the notebook)
and two lists, `methods` × `ipcs`. A method that takes all images has no IPC and is one job. An entry such as
`frepo: {lr: 0.01}` is a method with hyper-parameters of its own; where one method stands there twice, `as` names an
entry, its job and its line in tables: `{cfm: {schedule: linear}, as: cfm-linear}`. Where students are to be trained
under published protocols, `methods` has a list for each of these; `student_models` is a list of their architectures,
each another job.

One suite serves two budgets, the reduced one of its file and a published one that is asked for beside it; the suite is
then called `<suite>-<budget>`, so that no reduced record stands for a published one. Under a published budget a method
has the hyper-parameters that were published for the data (`presets`), and none that its entry calls `reduced`.
"""

import hashlib
import itertools
import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml
from run_notebook import check_names

from unidd.bench.cell import Cell
from unidd.bench.given import Given
from unidd.data.datasets import source_fingerprint
from unidd.files import json_hash
from unidd.methods import Method, find
from unidd.networks.models import ModelConfig, build

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ("paper", "large")  # budgets
SETTINGS = ("suite", "budget", "device", "gpus")  # of Snakemake's configuration


class Suite(NamedTuple):
    """The parameters all jobs share; job name → all parameters of that job, and its code; and the notebook they run.

    Attributes:
        code: job name → hash of the code its record depends on.
        seeds: of the repetitions, each with a teacher of its own.
        data: hash of the data set and of given files, as far as they can change under their names.
        name: of the suite at its budget, under which its records lie.
        labels: job → {"as": its method in the record}, where the suite names it.
    """

    shared: dict
    jobs: dict[str, dict]
    notebook: Path
    code: dict[str, str]
    data: str
    seeds: tuple[int, ...]
    name: str
    labels: dict[str, dict]


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
    if unknown := set(config) - set(SETTINGS):
        raise ValueError(f"unknown setting {', '.join(sorted(unknown))}: a suite's values are set in its file")
    return suite_path(config.get("suite", "embedded"))


def load(path: Path, budget: str | None = None, files: bool = True) -> Suite:
    """Read a suite. Its notebook is notebooks/benchmark.ipynb unless its key `notebook` names another.

    Args:
        budget: in place of the file's.
        files: whether given files, as of a teacher, must be there.
    Raises:
        ValueError: the file is not a suite; the notebook or `unidd.Cell` refuses a parameter; a given file is missing.
    """
    content = _content(path)
    notebook = ROOT / content.pop("notebook", "notebooks/benchmark.ipynb")
    methods, ipcs, models = content.pop("methods"), content.pop("ipcs"), content.pop("student_models", [""])
    presets = content.pop("presets", [])
    own = content.get("budget", "embedded")
    name = path.stem if budget in (None, own) else f"{path.stem}-{budget}"
    shared = {**content, "suite": name, "budget": budget or own}
    jobs, cells, labels = {}, {}, {}
    entries = [(protocol, entry) for protocol, group in methods.items() for entry in group]
    for protocol, entry in entries:
        try:
            label, entry = _label(entry)
            method, settings = _entry(entry)
            has_ipc = find(method).has_ipc
            for ipc, model in itertools.product(ipcs if has_ipc else [None], models):
                students = {"protocol": protocol, "student_model": model}
                students = {key: value for key, value in students.items() if value}
                job = "-".join([label or method, *([f"ipc{ipc}"] if has_ipc else []), *students.values()])
                if job in jobs:
                    raise ValueError(f"the job {job} is there already: name the entry with as, as in {{cfm: …, as: …}}")
                labels[job] = {"as": label} if label else {}
                found = _settled(find(method), ipc, shared["budget"], settings, presets)
                jobs[job] = _looked_at({**shared, "method": method, "ipc": ipc, **found, **students})
                cells[job] = cell = Cell.of(**jobs[job])
                _try_networks(cell.network(), cell.student_network())
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {entry}: {error}") from None
    if not jobs:
        raise ValueError(f"{path}: the suite has no job")
    check_names(notebook, {"out": "", **shared})
    data = _fingerprint(shared) if files else ""
    return Suite(shared, jobs, notebook, _code(cells), data, cell.seeds, name, labels)


def _code(cells: dict[str, Cell]) -> dict[str, str]:
    """Return the hash of the code of each job, which is that of its method: read once."""
    found = {cls: cell.code for cls, cell in {type(cell.method): cell for cell in cells.values()}.items()}
    return {job: found[type(cell.method)] for job, cell in cells.items()}


def _content(path: Path) -> dict:
    content = yaml.safe_load(path.read_text())
    if isinstance(content, dict) and isinstance(content.get("methods"), list):
        content["methods"] = {"": content["methods"]}
    if (
        not isinstance(content, dict)
        or not _grouped(content.get("methods"))
        or not isinstance(content.get("ipcs"), list)
    ):
        raise ValueError(f"{path}: a suite needs the lists methods, or one for each protocol, and ipcs")
    return content


def _fingerprint(shared: dict) -> str:
    data, given = source_fingerprint(shared.get("dataset", "photos")), Given.of(shared).fingerprint()
    return json_hash({"data": data, "given": given}) if given else data


def _settled(cls: type[Method], ipc: int | None, budget: str, settings: dict, presets: list[str]) -> dict:
    """Return the hyper-parameters of a method's entry at a budget, under a published one those of its presets first."""
    settings = dict(settings)
    reduced = settings.pop("reduced", {})
    if budget not in PUBLISHED:
        settings |= reduced
    else:
        names = [*(name for preset in presets for name in (f"{preset}-ipc{ipc}", preset)), f"ipc{ipc}"]
        settings = {**next((cls.presets[name] for name in names if name in cls.presets), {}), **settings}
    return {"settings": settings} if settings else {}


def _looked_at(job: dict) -> dict:
    """Return a job without the given files that nobody looks at in it, whose change is no reason to run it again."""
    alone = {key: value for key, value in job.items() if key not in Given.names()}
    cell = Cell.of(**alone)
    if not cell.needs_teacher:
        return alone
    return job if cell.method.real_signal else {key: value for key, value in job.items() if key != "statistics"}


@cache
def _try_networks(*networks: ModelConfig) -> None:
    """Build each: a name is looked up when it is built."""
    for network in networks:
        build(network, channels=3, size=64, classes=2)


def _grouped(methods: object) -> bool:
    return isinstance(methods, dict) and all(isinstance(group, list) for group in methods.values())


def _label(entry: object) -> tuple[str, object]:
    """The name that an entry has of its own, if any, and the entry without it."""
    if not isinstance(entry, dict) or "as" not in entry:
        return "", entry
    label, rest = entry["as"], {key: value for key, value in entry.items() if key != "as"}
    if not isinstance(label, str) or not re.fullmatch(r"[\w.=-]+", label):
        raise ValueError(f"as must be a name of letters, digits and . = - _, not {label!r}")
    return label, rest


def _entry(entry: object) -> tuple[str, dict]:
    """A method's name, and the hyper-parameters that are its own; among them `reduced`, those of a reduced budget."""
    if isinstance(entry, str):
        return entry, {}
    if not (isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry.values())), dict)):
        raise ValueError("a method is a name, or a name with its hyper-parameters, as in {frepo: {lr: 0.01}}")
    name, settings = next(iter(entry.items()))
    if not isinstance(settings.get("reduced", {}), dict):
        raise ValueError("reduced must be hyper-parameters, as in {frepo: {reduced: {lr: 0.01}}}")
    return name, settings


def cells_hash(notebook: Path) -> str:
    """Return a hash of a notebook's code; stored outputs, prose and timestamps do not count."""
    cells = json.loads(notebook.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
