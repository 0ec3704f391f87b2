"""The script for a GPU runs here, on small sizes: all of it, also where nothing but torch is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
import torch
from devices import Elsewhere

from unidd.networks import training

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
FULL = {"stand-ins": [], "images": "photos"}
BARE = {"stand-ins": ["tqdm", "safetensors", "tyro"], "images": "noise of its shape: no scikit-image"}

# What torch and torchvision do not bring along: neither to be imported nor to be asked for its version.
MISSING = (
    "unidd pandas scipy skimage sklearn plotly anywidget ipywidgets docstring_parser "
    "tyro tqdm safetensors matplotlib IPython pytest hypothesis"
)
EMPTY = f"""
import importlib.metadata, runpy, sys
from importlib.machinery import PathFinder

MISSING = {MISSING.split()}


class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in MISSING[1:] else PathFinder.find_spec(name, path, target)


def version(name, asked=importlib.metadata.version):
    if name in MISSING:
        raise importlib.metadata.PackageNotFoundError(name)
    return asked(name)


importlib.metadata.version = version
finders = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.meta_path = [Bare if finder is PathFinder else finder for finder in finders]
sys.path = [path for path in sys.path if path != {str(ROOT)!r}]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(folder: Path, *before: str, parts: tuple[str, ...] = tuple(gpu.PARTS)) -> tuple[dict, str]:
    """The record of a fresh process in an empty folder, and what it printed last."""
    options = ["--device", "cpu", "--quick", "--out", "record.json", "--parts", *parts]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, *before, str(SCRIPT), *options], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert [path.name for path in folder.iterdir()] == ["record.json"]
    return json.loads((folder / "record.json").read_text()), found.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("before", "expected"), [((), FULL), (("-c", EMPTY), BARE)], ids=["full", "bare"])
def test_every_part_is_measured(tmp_path, before, expected):
    record, printed = run(tmp_path, *before)
    assert record["errors"] == {}
    assert record["stand-ins"] == expected["stand-ins"]
    assert record["agreement"]["images"] == record["cell"]["images"] == expected["images"]
    assert set(record["seconds"]) == {*gpu.PARTS, "all"}
    assert record["seconds"]["all"] < 120, "a look takes seconds"
    assert record["provenance"]["device"].startswith("cpu")
    assert record["provenance"]["torch"] == torch.__version__.split("+")[0]
    assert (record["provenance"]["unidd"] == "not installed") == bool(before)
    assert "FAILED" not in printed
    check_agreement(record["agreement"])
    (case,) = record["cost"]["cases"]
    for which in ("ours / plain", "straightforward / ours", "straightforward / plain"):
        assert 0 < case["ratios"][which]["low"] <= case["ratios"][which]["high"]
    for which in ("statistics", "forward"):
        assert record["throughput"][which]["median"] > 0
    cell = record["cell"]
    assert set(cell["seconds"]) == {"data", "teacher", "distill", "students"}
    assert {regime: len(values) for regime, values in cell["record"]["accuracy"].items()} == {
        "hard": 1,
        "online-soft": 1,
    }


def check_agreement(found: dict) -> None:
    """On the CPU the device agrees with itself to the bit, and single precision with double to rounding."""
    (errors,) = found["networks"].values()
    assert list(errors) == ["cpu float32", "cpu float32, convolutions without TF32", "cpu bfloat16"]
    for precision, compared in errors.items():
        for batch in ("first batch", "moving update"):
            assert set(compared["to the same on the CPU"][batch].values()) == {0.0}
            far = compared["to float64"][batch]
            assert set(far) == {"classification", "filter", "signal", "gradient"}
            assert 0 < far["gradient"] < (0.002 if "float32" in precision else 0.1)
            assert max(far.values()) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("part", gpu.PARTS)
def test_every_part_on_another_device(monkeypatch, part):
    """One that computes as the CPU does: what is compared with the CPU is the same, to the bit."""
    save, load = training.save_file, training.load_file

    def save_here(tensors: dict, path) -> None:
        save({name: tensor.cpu() for name, tensor in tensors.items()}, path)

    def load_there(path, device: str) -> dict:
        return {name: tensor.to(device) for name, tensor in load(path).items()}

    monkeypatch.setattr(training, "save_file", save_here)
    monkeypatch.setattr(training, "load_file", load_there)
    with Elsewhere("meta") as place:
        found = gpu.PARTS[part](gpu.Task(place.device, True))
    assert "convolution" in place.operations, "the device was used"
    if part == "agreement":
        (errors,) = found["networks"].values()
        assert set(errors["meta float32"]["to the same on the CPU"]["moving update"].values()) == {0.0}
    if part == "cell":
        here = gpu.cell(gpu.Task(torch.device("cpu"), True))
        assert found["record"]["accuracy"] == here["record"]["accuracy"]
        assert found["record"]["teachers"] == here["record"]["teachers"]


def test_a_part_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    def broken(task):
        raise ArithmeticError("no such luck")

    def whole(task):
        return {"device": str(task.device)}

    monkeypatch.setattr(gpu, "PARTS", {"first": broken, "second": whole, "third": broken})
    out = tmp_path / "record.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--out", str(out)])
    assert gpu.main() == 1
    record = json.loads(out.read_text())
    assert record["second"] == {"device": "cpu"}
    assert set(record["errors"]) == {"first", "third"}
    assert "ArithmeticError: no such luck" in record["errors"]["first"]
    assert "first FAILED; third FAILED" in capsys.readouterr().out


def test_no_part_is_begun_when_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "MINUTES", -1.0)
    task = gpu.Task(torch.device("cpu"), True)
    record = gpu.measured(task, ["cell", "cost"], tmp_path / "record.json", [])
    assert record["errors"] == dict.fromkeys(["cell", "cost"], "not begun: -1 minutes were over")


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    assert capsys.readouterr().err == "error: there is no CUDA device here\n"


def test_errors_are_relative():
    found, expected = ({"batch": {"gradient": torch.tensor(v)}} for v in ([3.0, 4.5], [3.0, 4.0]))
    assert gpu.errors(found, expected) == {"batch": {"gradient": 0.1}}
