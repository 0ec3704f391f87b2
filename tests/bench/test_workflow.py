"""The batch: jobs, errors before anything runs, finished jobs stay finished, a killed batch continues.

A small notebook stands in for the benchmark: it logs its method, fails (lfm) or waits while a file tells it to, and
writes its record.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import forked
import nbformat
import pytest
import yaml
from PIL import Image
from stand_ins import chain, write_statistics, write_weights
from toys import needs

from unidd import methods
from unidd.bench import records
from unidd.bench.cell import BUDGETS, Cell
from unidd.bench.records import load_record
from unidd.bench.tables import ENOUGH
from unidd.core.statistics import statistics_hash
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.engine.released import read_statistics
from unidd.methods import find
from unidd.networks.models import ModelConfig, build, weights_hash
from unidd.networks.protocols import Students

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import jobs  # noqa: E402
import one_gpu  # noqa: E402

pytestmark = pytest.mark.slow  # processes of their own

PARAMETERS = """
suite = "local"
dataset = "photos"
model = "convnet"
method = "cfm"
ipc = 1
seeds = [0]
settings = {}
budget = "embedded"
out = "record.json"
"""
WORK = """
import json, time
from pathlib import Path
with Path("log").open("a") as log:
    print(method, ipc, file=log)
assert not (method == "lfm" and Path("fail").exists()), "told to fail"
while Path("hold").exists() and Path("hold").read_text() == method:
    time.sleep(0.1)
Path(out).write_text(json.dumps({"method": method, "ipc": ipc}))
"""
SUITE = {"dataset": "digits", "methods": ["lfm", "cfm"], "ipcs": [1], "seeds": [0], "budget": "smoke"}


@pytest.fixture
def folder(tmp_path):
    """A working folder with the stand-in notebook, a suite of one repetition, and the mark of its trained teacher."""
    new_cell = nbformat.v4.new_code_cell
    cells = [new_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_cell(WORK)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "fake.ipynb")
    write_suite(tmp_path)
    (tmp_path / "_runs" / "tiny").mkdir(parents=True)
    (tmp_path / "_runs" / "tiny" / "teacher-0.txt").write_text("trained\n")
    return tmp_path


def write_suite(folder, **changes):
    content = {"notebook": str(folder / "fake.ipynb"), **SUITE, **changes}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))


def command(folder, *options, config=()):
    """As the Makefile calls it."""
    recipe = (ROOT / "Makefile").read_text()
    chosen = re.search(r"(--rerun-triggers .*?) --quiet", recipe).group(1).split()
    snakefile, suite = ROOT / "workflow" / "Snakefile", folder / "tiny.yaml"
    where = ["--snakefile", str(snakefile), "--directory", str(folder), "--config", f"suite={suite}", *config]
    return [sys.executable, "-m", "snakemake", *where, "--cores", "2", *chosen, *options]


def snakemake(folder, *options, **more):
    return forked.run(command(folder, *options, **more), cwd=folder)


def planned(run):
    """What a dry run would make."""
    return sorted(re.findall(r"output: _runs/tiny/(\S+)", run.stdout + run.stderr))


def done(folder):
    return sorted(p.stem for p in (folder / "_runs" / "tiny").glob("*.json"))


def log(folder):
    path = folder / "log"
    return sorted(path.read_text().splitlines()) if path.exists() else []


def resolved(name, budget):
    """Label → hyper-parameters, of the jobs of a suite whose method has some."""
    found = jobs.load(jobs.suite_path(name), budget).jobs
    return {label: job["settings"] for label, job in found.items() if job.get("settings")}


@needs("dm", "dsa")
def test_no_suite_drops_the_flip_of_clothes_with_that_of_digits():
    found = resolved("fashion-mnist", "paper")
    assert [label for label, settings in found.items() if "flip" not in settings.get("strategy", "flip")] == []


@needs("sre2l", "rded", "cfm")
def test_the_papers_large_suites_take_what_is_published_for_their_data():
    tiny, large = resolved("paper-tiny-imagenet", "large"), resolved("paper-imagenet", "large")
    assert tiny["sre2l-ipc10"] == {"steps": 4000, "lr": 0.1, "r_bn": 1.0}
    assert tiny["cfm-ipc10"] == {"beta": 0.5, "group": 200}
    assert large["sre2l-ipc10"] == {"steps": 4000, "shift": 32}
    assert large["rded-ipc10"] == {"factor": 2}


@needs("random", "full")
def test_jobs_of_the_embedded_suite():
    shared, found, *_ = jobs.load(jobs.suite_path("embedded"))
    methods = {"random", "classification", "lfm", "hfm", "cfm"}
    assert set(found) >= {f"{m}-ipc{i}" for m in methods for i in (1, 10)} | {"full"}
    assert found["full"]["ipc"] is None
    assert len(shared["seeds"]) >= 3
    assert all(parameters["dataset"] == "photos" for parameters in found.values())


@needs("random", "full")
def test_the_published_suite_is_the_embedded_one_with_enough_repetitions_for_a_verdict():
    embedded, photos = (jobs.load(jobs.suite_path(name)) for name in ("embedded", "photos"))
    assert list(photos.jobs) == list(embedded.jobs)
    assert len(photos.seeds) >= ENOUGH
    assert photos.shared | {"suite": "embedded", "seeds": list(embedded.seeds)} == embedded.shared


PUBLISHED = records.load_records(records.published())
OF_SETS = [record for record in PUBLISHED if "set" in record.config]  # of `unidd evaluate`


@needs("random", "full")
@pytest.mark.parametrize("name", sorted({record.suite for record in PUBLISHED if record not in OF_SETS}))
def test_published_records_are_those_of_their_suite_with_the_teachers_it_asks_for(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    brought(yaml.safe_load(jobs.suite_path(name).read_text()))
    published = [record for record in PUBLISHED if record.suite == name]
    found = {(r.method, r.ipc, r.protocol, r.model): Cell.of(**r.config["cell"]) for r in published}
    suite = jobs.load(jobs.suite_path(name))
    asked = {}
    for job, parameters in suite.jobs.items():
        cell = Cell.of(**parameters)
        method, protocol = suite.labels[job].get("as", cell.method.name), cell.protocol.replace("unidd", "")
        asked[method, cell.ipc, protocol, cell.student_name] = cell
    assert found == asked
    for record in published:
        hashes = {card["hash"] for card in record.teachers}
        assert len(hashes) in (0, 1 if suite.shared.get("teacher") else len(record.seeds))


@needs("random", "full")
@pytest.mark.parametrize("record", OF_SETS, ids=lambda record: f"{record.method} {record.protocol}")
def test_published_records_of_a_set_say_what_makes_it_and_are_of_no_suite_that_a_command_makes(record):
    made = Cell.of(**record.config["set"]["cell"])
    assert (made.method.name, made.ipc, made.dataset) == (record.method, record.ipc, record.dataset)
    assert (made.method.role, made.budget) == (record.role, record.budget)
    assert {name: record.config["set"].get(name) for name in asdict(made.method)} == asdict(made.method)
    students = Students(record.ipc * 10, record.ipc, 10, 1, record.model, record.config["set"])
    assert record.config["student"] == asdict(BUDGETS[record.budget].student_under(record.protocol, students))
    assert not jobs.suite_path("photos").with_stem(record.suite).exists()


@needs("random", "full")
@pytest.mark.parametrize("path", sorted((ROOT / "workflow" / "suites").glob("*.yaml")), ids=lambda p: p.stem)
@pytest.mark.parametrize("budget", [None, "paper"])
def test_suites_name_known_values(path, budget, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    brought(yaml.safe_load(path.read_text()))
    assert jobs.load(path, budget).jobs


@pytest.mark.parametrize("path", sorted((ROOT / "workflow" / "suites").glob("*.yaml")), ids=lambda p: p.stem)
def test_random_images_a_coreset_and_all_images_stand_beside_every_method(path):
    """Under each protocol."""
    methods = yaml.safe_load(path.read_text())["methods"]
    for group in methods.values() if isinstance(methods, dict) else [methods]:
        names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in group]
        assert {find(name).role for name in names if "." not in name} >= {"baseline", "coreset", "ceiling"}


def brought(content):
    """Empty files and folders in the place of those that a suite wants the reader to bring."""
    if content["dataset"].startswith("_data/"):
        Path(content["dataset"]).mkdir(parents=True, exist_ok=True)
    files = [content[key] for key in ("teacher",) if key in content]
    files += [f"{content[key]}/Net=layers.conv.0/running.npz" for key in ("statistics",) if key in content]
    for file in map(Path, files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.mark.parametrize("gone", ["teacher", "statistics"])
def test_a_suite_whose_files_are_not_there_says_so_before_any_job(gone, tmp_path, monkeypatch):
    path = jobs.suite_path("cifar10-mini")
    content = yaml.safe_load(path.read_text())
    monkeypatch.chdir(tmp_path)
    brought({name: value for name, value in content.items() if name != gone})
    with pytest.raises(ValueError, match=f"there (is|are) no {gone} _data/unidd-released"):
        jobs.load(path)


def test_only_jobs_that_look_at_given_files_name_them(folder):
    given = {"teacher": "t.pth", "normalisation": "data", "statistics": "s"}
    (folder / "t.pth").touch()
    (folder / "s" / "Net=0").mkdir(parents=True)
    (folder / "s" / "Net=0" / "running.npz").touch()
    given |= {name: str(folder / given[name]) for name in ("teacher", "statistics")}
    methods_ = ["random", "classification", "cfm", "dm", "full"]
    write_suite(folder, methods=methods_, notebook="notebooks/benchmark.ipynb", **given)
    suite = jobs.load(folder / "tiny.yaml")
    named = {name: [key for key in given if key in job] for name, job in suite.jobs.items()}
    taught = ["teacher", "normalisation"]
    assert named == {
        **{f"{name}-ipc1": taught for name in ("random", "classification", "dm")},
        "cfm-ipc1": [*taught, "statistics"],
        "full": [],
    }
    before = suite.data
    (folder / "t.pth").write_text("other weights")
    assert jobs.load(folder / "tiny.yaml").data != before


def test_a_suite_at_another_budget_has_another_name_and_the_published_values(folder):
    entries = ["mtt", "dc", "cfm", {"frepo": {"use_flip": True, "reduced": {"lr": 0.01}}}]
    options = {"ipcs": [10], "presets": ["none", "cifar10"], "notebook": "notebooks/benchmark.ipynb"}
    write_suite(folder, methods=entries, **options)
    reduced, published = (jobs.load(folder / "tiny.yaml", budget) for budget in (None, "paper"))
    assert (reduced.name, published.name) == ("tiny", "tiny-paper")
    assert {job["suite"] for job in published.jobs.values()} == {"tiny-paper"}
    assert jobs.load(folder / "tiny.yaml", "smoke").name == "tiny", "the file's own"
    small, large = ({name: Cell.of(**job).method for name, job in suite.jobs.items()} for suite in (reduced, published))
    assert large["mtt-ipc10"] == methods.find("mtt").preset("cifar10-ipc10")
    assert large["dc-ipc10"] == methods.find("dc").preset("ipc10")
    assert large["cfm-ipc10"] == methods.find("cfm")()
    assert large["frepo-ipc10"] == methods.find("frepo").preset("cifar10", use_flip=True)
    assert small["frepo-ipc10"].lr == 0.01 != large["frepo-ipc10"].lr
    assert small["dc-ipc10"].outer == methods.find("dc")().outer


@pytest.mark.parametrize(("name", "budget", "group"), [("tiny-imagenet", None, 100), ("tiny-imagenet", "large", 200)])
def test_class_groups_are_halved_where_the_budget_is_reduced(name, budget, group, tmp_path, monkeypatch):
    path = jobs.suite_path(name)
    monkeypatch.chdir(tmp_path)
    brought(yaml.safe_load(path.read_text()))
    suite = jobs.load(path, budget)
    method = Cell.of(**suite.jobs["cfm-ipc1"]).method
    assert (method.group, method.beta) == (group, 0.5)
    assert suite.name == ("tiny-imagenet-large" if budget else "tiny-imagenet")


def test_published_suites_have_published_budgets():
    for name, budget in {"cifar10": "paper", "cifar100": "paper"}.items():
        suite = jobs.load(jobs.suite_path(name))
        assert (suite.name, suite.shared["budget"]) == (name, budget)
        assert suite.jobs["cfm-ipc10"].get("settings", {}) == {}
        assert len(suite.seeds) >= ENOUGH


def test_a_method_of_a_suite_may_have_hyper_parameters_of_its_own(folder):
    write_suite(folder, methods=["random", {"cfm": {"lr": 0.5}}])
    found = jobs.load(folder / "tiny.yaml").jobs
    assert [Cell.of(**job).method.lr for name, job in found.items() if name.startswith("cfm")] == [0.5]


def test_entries_of_one_method_have_names_of_their_own(folder):
    entries = ["cfm", {"cfm": {"schedule": "linear"}, "as": "cfm-linear"}, {"hfm": {}, "as": "ridge-0.1"}]
    write_suite(folder, methods=entries, ipcs=[1, 10])
    suite = jobs.load(folder / "tiny.yaml")
    names = ["cfm-ipc1", "cfm-ipc10", "cfm-linear-ipc1", "cfm-linear-ipc10", "ridge-0.1-ipc1", "ridge-0.1-ipc10"]
    assert list(suite.jobs) == list(suite.labels) == names
    assert [label.get("as") for label in suite.labels.values()] == [
        *(None, None, "cfm-linear", "cfm-linear", "ridge-0.1", "ridge-0.1")
    ]
    made = Cell.of(**suite.jobs["cfm-linear-ipc10"]).method
    assert (made.name, made.schedule) == ("cfm", "linear")


def test_students_of_a_suite_may_be_of_several_protocols_and_architectures(folder):
    groups = {"dc": ["random"], "dsa": ["random", {"dm": {"lr": 0.5}}]}
    write_suite(folder, methods=groups, ipcs=[1], student_models=["convnet", "resnet18"])
    found = {name: Cell.of(**job) for name, job in jobs.load(folder / "tiny.yaml").jobs.items()}
    assert list(found) == [
        *("random-ipc1-dc-convnet", "random-ipc1-dc-resnet18", "random-ipc1-dsa-convnet", "random-ipc1-dsa-resnet18"),
        *("dm-ipc1-dsa-convnet", "dm-ipc1-dsa-resnet18"),
    ]
    last = found["dm-ipc1-dsa-resnet18"]
    assert (last.method.lr, last.protocol, last.student_model, last.model) == (0.5, "dsa", "resnet18", "convnet")


@needs("random", "full")
@pytest.mark.parametrize("name", ["methods", "digits"])
def test_the_long_suites_have_every_method(name):
    """Head matching is for features that are images; of larger ones it has no published use."""
    suite = jobs.load(jobs.suite_path(name))
    every = {cls.path() for cls in methods.found()} - ({"head"} if name == "methods" else set())
    assert {job["method"] for job in suite.jobs.values()} == every
    assert len(suite.seeds) >= ENOUGH
    assert all(len(Cell.of(**job).regimes) == 3 for job in suite.jobs.values() if job["method"] != "full")


def test_a_suite_says_what_to_take_of_a_folder(tmp_path):
    for name, count in (("cat", 5), ("dog", 2), ("owl", 5)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (16, 16), (50 * i, 0, 0)).save(tmp_path / "pets" / name / f"{i}.png")
    taken = {"hold_out": 0.2, "classes": ["cat", "dog"], "channels": 1, "size": 8, "small": "cap"}
    suite = {"dataset": str(tmp_path / "pets"), "methods": ["random"], "ipcs": [3], "seeds": [0], **taken}
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(suite))
    cell = Cell.of(**jobs.load(tmp_path / "some.yaml").jobs["random-ipc3"])
    data = cell.source.load()
    assert (data.class_names, data.channels, data.size, len(data.test)) == (("cat", "dog"), 1, 8, 2)
    assert len(cell.distill(0, data)) == 3 + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["sorcery"]}, "unknown method 'sorcery'"),
        ({"dataset": "nowhere"}, "unknown data set 'nowhere'"),
        ({"model": "gnome"}, "unknown model 'gnome'"),
        ({"methods": [{"cfm": {"lr": 0.1}, "lfm": {}}]}, "a method is a name, or"),
        ({"methods": [{"cfm": 3}]}, "a method is a name, or"),
        ({"methods": [{"cfm": {"reduced": 3}}]}, "reduced must be hyper-parameters"),
        ({"methods": [{"cfm": {"speed": 3}}]}, "unknown parameter speed"),
        ({"methods": ["cfm", {"cfm": {"lr": 0.1}}]}, "the job cfm-ipc1 is there already: name the entry with as"),
        ({"methods": [{"cfm": {}, "as": "a b"}]}, "as must be a name of letters, digits"),
        ({"methods": [{"as": "linear"}]}, "a method is a name, or"),
        ({"ipcs": [0]}, "ipc must be at least 1"),
        ({"ipsc": [1]}, "unknown parameter ipsc"),
        ({"seeds": 3}, "tiny.yaml"),
        ({"ipcs": []}, "the suite has no job"),
        ({"methods": "cfm"}, "a suite needs the lists methods, or one for each protocol, and ipcs"),
        ({"methods": {"dsa": "cfm"}}, "a suite needs the lists methods, or one for each protocol, and ipcs"),
        ({"methods": {"psa": ["cfm"]}}, "psa"),
        ({"student_models": ["gnome"]}, "unknown model 'gnome'"),
        ({"notebook": "missing.ipynb"}, "there is no notebook"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_suite_fails_before_any_job(folder, changes, message):
    write_suite(folder, **changes)
    with pytest.raises(ValueError, match=message):
        jobs.load(folder / "tiny.yaml")


def test_snakemake_reports_a_wrong_suite_and_stops(folder):
    write_suite(folder, methods=["lfm", "sorcery"])
    run = snakemake(folder)
    assert run.returncode != 0
    assert "unknown method 'sorcery'" in run.stderr
    assert not log(folder)
    assert not done(folder)


def test_a_setting_that_is_none_is_refused():
    with pytest.raises(ValueError, match="unknown setting budgte"):
        jobs.chosen({"budgte": "smoke", "suite": "embedded"})


def run_notebook(folder, **parameters):
    script = [sys.executable, str(ROOT / "workflow" / "run_notebook.py"), "fake.ipynb", "copies/copy.ipynb"]
    return subprocess.run([*script, json.dumps(parameters)], cwd=folder, capture_output=True, text=True, timeout=600)


def test_unknown_notebook_parameter_is_an_error_before_anything_runs(folder):
    run = run_notebook(folder, methd="cfm", out="record.json")
    assert run.returncode == 2
    assert "error: fake.ipynb has no parameter methd; it has suite" in run.stderr
    assert run.stderr.count("\n") == 1
    assert not log(folder)
    assert not (folder / "copies").exists()


def test_executed_copy_is_kept_and_of_a_failed_run_under_another_name(folder):
    run = run_notebook(folder, method="lfm", ipc=None)
    assert run.returncode == 0, run.stderr
    assert json.loads((folder / "record.json").read_text()) == {"method": "lfm", "ipc": None}
    assert [p.name for p in (folder / "copies").iterdir()] == ["copy.ipynb"]

    (folder / "copies" / "copy.ipynb").unlink()
    (folder / "fail").touch()
    run = run_notebook(folder, method="lfm")
    assert run.returncode == 1
    assert "AssertionError: told to fail" in run.stderr.strip().splitlines()[-1]
    assert [p.name for p in (folder / "copies").iterdir()] == ["copy.failed.ipynb"]


def pets(folder):
    """A folder of two classes, as a user brings it."""
    for split, name in itertools.product(("train", "test"), ("cat", "dog")):
        (folder / "pets" / split / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "pets" / split / name / "0.png")
    return folder / "pets"


def test_finished_jobs_are_not_run_again_unless_what_they_come_from_changed(folder):
    data = pets(folder)
    asked = {"dataset": str(data), "methods": ["lfm", {"cfm": {"schedule": "linear"}, "as": "cfm-linear"}]}
    write_suite(folder, **asked)
    assert snakemake(folder).returncode == 0
    assert done(folder) == ["cfm-linear-ipc1", "lfm-ipc1"]
    assert log(folder) == ["cfm 1", "lfm 1"]
    record = folder / "_runs" / "tiny" / "cfm-linear-ipc1.json"
    assert json.loads(record.read_text())["method"] == "cfm-linear", "the name of its entry"

    earlier = time.time() - 3600  # as if notebook, suite and teacher were touched after the records were made
    for job in done(folder):
        os.utime(folder / "_runs" / "tiny" / f"{job}.json", (earlier, earlier))
    write_suite(folder, **asked, ipcs=[1, 2])  # a wider suite runs what is new
    elsewhere = snakemake(folder, "--dry-run", config=["device=cuda", "gpus=3"])  # where it computes is no reason
    assert planned(elsewhere) == ["cfm-linear-ipc2.json", "lfm-ipc2.json"], elsewhere.stderr

    Image.new("RGB", (8, 8), "red").save(data / "train" / "cat" / "0.png")
    write_suite(folder, **asked)
    run = snakemake(folder, "--dry-run")  # other images are another job, as another parameter is
    assert "Params have changed since last execution" in run.stdout + run.stderr
    assert planned(run) == ["cfm-linear-ipc1.json", "lfm-ipc1.json"]


def test_a_failed_job_leaves_no_record_the_others_run_and_a_killed_batch_continues(folder):
    (folder / "fail").touch()
    run = snakemake(folder)
    assert run.returncode != 0
    assert "told to fail" in run.stderr + run.stdout
    assert done(folder) == ["cfm-ipc1"]

    (folder / "fail").unlink()
    (folder / "hold").write_text("lfm")
    batch = forked.Command(command(folder), folder)
    try:
        deadline = time.monotonic() + 120
        while log(folder) != ["cfm 1", "lfm 1", "lfm 1"]:
            assert batch.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        batch.kill()
        batch.wait()
    assert done(folder) == ["cfm-ipc1"]

    (folder / "hold").unlink()
    run = snakemake(folder)
    assert run.returncode == 0, run.stderr
    assert done(folder) == ["cfm-ipc1", "lfm-ipc1"]
    assert log(folder) == ["cfm 1", "lfm 1", "lfm 1", "lfm 1"]


@pytest.mark.slow
def test_a_method_of_ones_own_runs_in_the_batch(folder):
    """The example of "How to add a method", in the working folder, through the real notebook."""
    shutil.copy(ROOT / "book" / "examples" / "mean_matching.py", folder / "mine.py")
    write_suite(folder, methods=["mine"], notebook=str(ROOT / "notebooks" / "benchmark.ipynb"))
    run = snakemake(folder)
    assert run.returncode == 0, run.stderr
    record = load_record(folder / "_runs" / "tiny" / "mine-ipc1.json")
    assert (record.method, record.role, record.config["cell"]["method"]) == (
        "meanmatching",
        "method",
        "mine.MeanMatching",
    )
    (folder / "mine.py").write_text((folder / "mine.py").read_text().replace("square()", "abs()"))
    assert planned(snakemake(folder, "--dry-run")) == ["mine-ipc1.json"], "its code has changed"


def test_released_files_teach_all_repetitions_of_a_batch(folder):
    """Through the real notebook, on stand-ins in the layout of what the authors released."""
    data, network = load("digits"), build(ModelConfig(width=8), 1, 8, 10, seed=3).eval().requires_grad_(False)
    write_weights(folder / "ckpt" / "Net.pth", network)
    images = data.normalise(data.train.images[:200]).double()
    write_statistics(folder / "statistic", chain(network), images, data.train.labels[:200], 10)
    given = {"teacher": "ckpt/Net.pth", "normalisation": "data", "statistics": "statistic"}
    options = {"notebook": str(ROOT / "notebooks" / "benchmark.ipynb"), "seeds": [0, 1], "regimes": ["online-soft"]}
    write_suite(folder, methods=["cfm"], **options, **given)
    run = snakemake(folder)
    assert run.returncode == 0, run.stdout + run.stderr
    record = load_record(folder / "_runs" / "tiny" / "cfm-ipc1.json")
    assert [card["hash"] for card in record.teachers] == [weights_hash(network)] * 2
    assert record.config["cell"] == {**record.config["cell"], **given}
    made = SyntheticSet.load(folder / "_runs" / "tiny" / "cfm-ipc1")
    statistics = read_statistics(folder / "statistic", "mean", data, network)
    assert made.config["statistics"] == statistics_hash(statistics)


def test_the_batch_decides_by_the_hash_that_the_record_carries(folder):
    suite = jobs.load(folder / "tiny.yaml")
    assert suite.code == {name: Cell.of(**parameters).code for name, parameters in suite.jobs.items()}
    assert all(suite.code.values())


def test_only_the_code_of_a_notebook_counts(tmp_path):
    notebook = tmp_path / "nb.ipynb"

    def version(source, output=""):
        cell = {"cell_type": "code", "source": [source], "outputs": [output]}
        notebook.write_text(json.dumps({"cells": [cell, {"cell_type": "markdown", "source": [output]}]}))
        return jobs.cells_hash(notebook)

    assert version("x = 1", "out") == version("x = 1")
    assert version("x = 2") != version("x = 1")


# ---------------------------------------------------------------------------------------- on GPUs and on Slurm


@pytest.mark.parametrize("profile", ["slurm", "gpus"])
@needs("full")
def test_a_dry_run_under_a_profile_lists_the_jobs(folder, profile):
    (folder / "_runs" / "tiny" / "teacher-0.txt").unlink()
    write_suite(folder, methods=["cfm", "full"], ipcs=[1, 10], seeds=[0, 3])
    config = ["device=cuda", *(["gpus=0,1"] if profile == "gpus" else [])]
    options = ["--dry-run", "--printshellcmds", "--profile", str(ROOT / "workflow" / "profiles" / profile)]
    run = snakemake(folder, *options, config=config)
    assert run.returncode == 0, run.stderr
    assert planned(run) == ["cfm-ipc1.json", "cfm-ipc10.json", "full.json", "teacher-0.txt", "teacher-3.txt"]
    assert not log(folder)
    assert not done(folder)
    text = run.stdout + run.stderr
    assert len(re.findall(r"unidd teach .*--device cuda", text)) == 2
    assert len(re.findall(r"run_notebook\.py .* cuda$", text, re.MULTILINE)) == 3
    handed = len(re.findall(r"one_gpu\.py (''|0,1) ", text))
    assert handed == 5
    assert ("one_gpu.py 0,1 " in text) == (profile == "gpus")
    resources = re.findall(r"resources: (.*devices=1.*)", text)
    assert len(resources) == 5
    for line in resources:
        assert ("gres=gpu:1" in line and "cpus_per_task=4" in line) == (profile == "slurm"), line
        assert "runtime=" in line
        assert "mem_mb=" in line


@needs("full")
def test_a_record_that_was_brought_is_not_made_again_for_want_of_its_teachers_file(folder):
    (folder / "_runs" / "tiny" / "teacher-0.txt").unlink()
    write_suite(folder, methods=["cfm", "full"], ipcs=[1, 10], seeds=[0])
    (folder / "_runs" / "tiny" / "cfm-ipc1.json").write_text("{}")
    run = snakemake(folder, "--dry-run")
    assert run.returncode == 0, run.stderr
    assert planned(run) == ["cfm-ipc10.json", "full.json", "teacher-0.txt"]


def test_a_suite_with_a_teacher_trains_none_and_another_budget_lies_apart(folder):
    (folder / "t.pth").touch()
    options = {"teacher": str(folder / "t.pth"), "notebook": str(ROOT / "notebooks" / "benchmark.ipynb")}
    write_suite(folder, methods=["cfm"], **options)
    run = snakemake(folder, "--dry-run", config=["budget=paper"])
    assert run.returncode == 0, run.stderr
    assert re.findall(r"output: (\S+)", run.stdout + run.stderr) == ["_runs/tiny-paper/cfm-ipc1.json"]


def test_gpus_are_numbers():
    for text in ("", "0,", "0;1", "all"):
        with pytest.raises(ValueError, match="GPUS must be numbers"):
            one_gpu.numbers(text)
    assert one_gpu.numbers("0,3,3") == ["0", "3", "3"]


USES = """
import os, sys, time
from pathlib import Path
mine = Path(os.environ["CUDA_VISIBLE_DEVICES"])
with mine.open("x"):  # an error if another process has the same
    time.sleep(0.3)
mine.unlink()
with open("log", "a") as log:
    print(mine, file=log)
sys.exit(int(sys.argv[1]))
"""


def one_gpu_command(gpus, *command):
    return [sys.executable, str(ROOT / "workflow" / "one_gpu.py"), gpus, *command]


def test_gpus_are_handed_out_without_collision_and_freed_however_a_job_ends(tmp_path):
    where = {"cwd": tmp_path, "env": os.environ | {"TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": "9"}}
    command = one_gpu_command("2,5", sys.executable, "-c", USES)
    hung = one_gpu_command("2", sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)")
    with subprocess.Popen(hung, stdout=subprocess.PIPE, **where) as holder:
        assert holder.stdout.readline() == b"1\n"
        assert subprocess.run([*command, "0"], **where, timeout=60).returncode == 0
        assert (tmp_path / "log").read_text() == "5\n", "the other is held"
        holder.kill()
    running = [subprocess.Popen([*command, str(i % 2)], **where) for i in range(6)]
    assert [process.wait(timeout=60) for process in running] == [0, 1] * 3, "each ends as its command does"
    assert set((tmp_path / "log").read_text().split()[1:]) == {"2", "5"}, "the killed one holds none"
    assert len((tmp_path / "log").read_text().split()) == 7


MEETS = """
import os, sys, time
from pathlib import Path
gpu, me = os.environ["CUDA_VISIBLE_DEVICES"], sys.argv[1]
Path(f"{gpu}-{me}").touch()
print(gpu, flush=True)
while not Path("leave").exists():
    time.sleep(0.05)
"""


def test_a_gpu_that_is_named_twice_has_two_jobs_and_each_gpu_one_before_a_second(tmp_path):
    where = {"cwd": tmp_path, "env": os.environ | {"TMPDIR": str(tmp_path)}, "stdout": subprocess.PIPE, "text": True}
    running, begun = [], []
    for name in "abc":
        running.append(subprocess.Popen(one_gpu_command("4,4,7", sys.executable, "-c", MEETS, name), **where))
        begun.append(running[-1].stdout.readline().strip())
    assert begun == ["4", "7", "4"]
    fourth = subprocess.Popen(one_gpu_command("4,4,7", sys.executable, "-c", MEETS, "d"), **where)
    with pytest.raises(subprocess.TimeoutExpired):
        fourth.wait(timeout=2)
    assert not list(tmp_path.glob("*-d")), "it waits"
    (tmp_path / "leave").touch()
    for process in [*running, fourth]:
        assert process.communicate(timeout=60)
        assert process.returncode == 0


def test_without_gpus_a_command_runs_as_it_is(tmp_path):
    command = one_gpu_command("", sys.executable, "-c", "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))")
    env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    assert subprocess.run(command, env=env, capture_output=True, text=True, timeout=60).stdout == "None\n"
    assert subprocess.run(one_gpu_command("", "no-such-command"), capture_output=True, timeout=60).returncode == 2
