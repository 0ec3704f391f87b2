"""The benchmarks: the yardstick computes what the engine computes, counts are right, timings and records are sound."""

import dataclasses
import doctest
import json
import os
import subprocess
import sys
from pathlib import Path

import growth
import oracles
import pytest
import roofline
import step_cost
import step_options
import timing
import torch
from step_cost import Case, Steps
from straightforward import straightforward_loss
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unidd.book import plots

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "results" / "studies" / "cost"
CPU = torch.device("cpu")
SMALL = Case(width=8, size=16)


@pytest.fixture(autouse=True)
def _few_real_images(monkeypatch):
    monkeypatch.setattr(step_cost, "REAL", 20)


def far(mine: Tensor, theirs: Tensor) -> float:
    return float((mine - theirs).double().norm() / theirs.double().norm())


# --------------------------------------------------------------------------------------------- the yardstick


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-3)], ids=["double", "single"]
)
@pytest.mark.parametrize("b", [1, 5])
@pytest.mark.parametrize("network", ["convnet", "resnet18"])
def test_the_straightforward_step_is_ours(network, b, dtype, tolerance):
    """ResNet-18 with four small images has layers of both forms, by channels and by rows."""
    steps = Steps(dataclasses.replace(SMALL, network=network, batch=4, b=b), dtype=dtype)
    (ours, gradient), (theirs, expected) = steps.ours(), steps.straightforward()
    plain, without = steps.plain()
    assert ours.dtype == gradient.dtype == dtype
    assert far(ours, theirs) < tolerance
    assert far(gradient, expected) < tolerance
    assert theirs > plain + 0.1, "matching must weigh in the loss"
    assert far(expected, without) > 0.01, "and in the gradient"


def test_under_autocast_the_straightforward_step_is_ours_too():
    steps = Steps(dataclasses.replace(SMALL, half="bfloat16"))
    (ours, gradient), (theirs, expected) = steps.ours(), steps.straightforward()
    assert far(ours, theirs) < 1e-4
    assert far(gradient, expected) < 0.03
    assert far(gradient, Steps(SMALL).ours()[1]) > 1e-4, "half precision must show"


@pytest.mark.parametrize("b", [1, 3])
def test_the_straightforward_step_against_the_oracle(b):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(5, 7, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(28, 3),
        ).double()
        draws = [torch.randn(6, 3, 8, 8, dtype=torch.float64) for _ in range(3)]
    net.eval().requires_grad_(False)
    labels = torch.arange(6) % 3
    real, previous = (
        oracles.statistics(net, x + shift, labels, "mean", 3) for x, shift in zip(draws[:2], (0.2, 0), strict=True)
    )
    options = {"b": b, "beta": 0.07, "eta": 0.3}
    expected = oracles.step(net, draws[2], labels, real, previous, kind="mean", classes=3, **options)
    images = draws[2].clone().requires_grad_()
    loss = straightforward_loss(net, images, labels, real, previous, **options)
    assert loss.item() == pytest.approx(expected.loss, rel=1e-10)
    assert far(torch.autograd.grad(loss, images)[0], expected.gradient) < 1e-10


# ------------------------------------------------------------------------------------------------ operations

_aten = torch.ops.aten
UNCOUNTED = {  # by torch: products in place, factorisations and triangular solves
    _aten.addmm_: lambda _, a, b, *args, **options: 2 * a[0] * a[1] * b[1],
    _aten.linalg_cholesky_ex: lambda a, *args, **options: a.numel() * a[-1] // 3,
    _aten.cholesky_inverse: lambda a, *args, **options: 2 * a.numel() * a[-1] // 3,
    _aten.linalg_solve_triangular: lambda a, b, *args, **options: b.numel() * a[-1],
}


def counted(step) -> int:
    step()  # what a round works out once
    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
        step()
    return counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("b", [1, 5])
@pytest.mark.parametrize("case", [Case(width=32, batch=8), Case("resnet18", batch=2)], ids=["ConvNet", "ResNet"])
def test_operations_against_torchs_counter(case, b):
    steps = Steps(dataclasses.replace(case, b=b))
    steps.images = steps.images * 1  # the counter takes no leaf
    plain, found = roofline.layers(steps.teacher, case.batch, 3, case.size)
    assert [layer.d for layer in found] == [len(flc) for _, flc in steps.real.values()]
    assert any(layer.row_form for layer in found) == (case.network == "resnet18")
    matching = sum(layer.operations(b > 1) for layer in found)
    assert plain == counted(steps.plain)
    assert counted(roofline.products(found, b > 1, CPU)) == pytest.approx(matching, rel=1e-5)
    in_place = roofline.in_place(steps.teacher, steps.images, steps.labels, b > 1)
    assert counted(in_place) - plain == pytest.approx(matching, rel=1e-5)
    assert counted(steps.ours) - plain == pytest.approx(matching, rel=0.02), "has the engine's algebra changed?"


def test_counting_leaves_the_network_as_it_is():
    steps = Steps(SMALL)
    before = steps.plain()[0]
    roofline.layers(steps.teacher, 10, 3, SMALL.size)
    assert not any(module._forward_hooks for module in steps.teacher.modules())
    assert torch.equal(steps.plain()[0], before)


# --------------------------------------------------------------------------------------------------- timings


def test_every_step_runs_once_a_round_in_changing_order():
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "abc"}
    found = timing.interleaved(steps, 20, CPU)
    assert [len(times) for times in found.values()] == [20] * 3
    rounds = ["".join(calls[i : i + 3]) for i in range(6, len(calls), 3)]
    assert len(rounds) == 20
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert len(set(rounds)) > 3
    assert len(timing.interleaved(steps, 3, CPU, seconds=60)["a"]) == 30, "ten times as many at most"


def test_a_ratio_is_of_medians_and_its_spread_round_by_round():
    assert timing.ratio([2, 6, 4], [1, 2, 4]) == {"median": 2.0, "low": 1.5, "high": 2.5}
    assert timing.summary([0.123456]) == {"median": 0.1235, "low": 0.1235, "high": 0.1235}


def test_noisy_timings_are_repeated_and_the_quietest_kept(monkeypatch):
    runs = iter([{"plain": [1, 2, 3]}, {"plain": [2, 2.2, 2.4]}, {"plain": [1, 2, 5]}, {"plain": [2, 2, 2]}])
    monkeypatch.setattr(timing, "interleaved", lambda *_: next(runs))
    monkeypatch.setattr(timing, "_load", lambda: 0.0)
    noisy = timing.guarded({}, 3, CPU)
    assert (noisy.attempts, noisy.quiet, noisy.seconds["plain"]) == (3, False, [2, 2.2, 2.4])
    quiet = timing.guarded({}, 3, CPU)
    assert (quiet.attempts, quiet.quiet) == (1, True)
    assert not dataclasses.replace(quiet, load=(0.0, 99.0)).quiet, "others computed too"


def test_exponents():
    assert doctest.testmod(growth).attempted == 1
    assert doctest.testmod(growth).failed == 0
    fit = growth.exponent([1, 2, 4, 8], [1, 2.1, 3.9, 8.2])
    x, y = torch.tensor([1.0, 2, 4, 8]).log().double(), torch.tensor([1, 2.1, 3.9, 8.2]).log().double()
    design = torch.stack([torch.ones(4).double(), x], 1)
    residual = y - design @ torch.linalg.lstsq(design, y).solution
    slope = torch.linalg.lstsq(design, y).solution[1].item()
    error = (residual.square().sum() / 2 * torch.linalg.inv(design.T @ design)[1, 1]).sqrt().item()
    assert fit == {"exponent": pytest.approx(slope, abs=1e-4), "error": pytest.approx(error, abs=1e-4), "n": 4}


# --------------------------------------------------------------------------------------------------- records


def assert_cost_record(record: dict) -> None:
    assert {"date", "device", "threads", "torch", "unidd"} <= set(record["provenance"])
    for case in record["cases"]:
        seconds = {what: times["median"] for what, times in case["seconds"].items()}
        assert set(seconds) == {"plain", "ours", "straightforward", "products"} | (set() if case["half"] else {"floor"})
        assert all(times["low"] <= times["median"] <= times["high"] for times in case["seconds"].values())
        for what, r in case["ratios"].items():
            over, under = what.split(" / ")
            assert r["median"] == pytest.approx(seconds[over] / seconds[under], rel=2e-3)
        count = case["operations"]
        assert case["floor by count"] == pytest.approx(1 + count["products"] / count["plain"], abs=1e-4)


def run(script: str, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "benchmarks" / f"{script}.py", *options]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_a_quick_run_writes_a_record(tmp_path):
    done = run("step_cost", "--quick", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "cpu.json").read_text())
    assert_cost_record(record)
    assert record["cases"][0]["n"] >= 3
    assert record["seconds"] < 30
    assert "≤ 1.20" in done.stdout
    assert "cuda: not run" in done.stdout


def test_the_table_says_what_is_met_and_what_is_noisy():
    r = {"median": 1.25, "low": 1.2, "high": 1.3}
    case = dataclasses.asdict(Case()) | {"n": 20, "seconds": {"plain": r}, "load": [1.0, 7.5], "spread": 0.2}
    case |= {"floor by count": 1.1, "quiet": False, "bounds": step_cost.BOUNDS["cpu", "convnet", 10]}
    case["ratios"] = dict.fromkeys(
        ("ours / plain", "floor / plain", "straightforward / ours", "straightforward / plain"), r
    )
    shown = step_cost.table({"cases": [case]})
    for words in ("1.250 [1.200, 1.300]", "≤ 1.20 missed", "≥ 1.15 met", "noisy: spread 20%, load 7.5"):
        assert words in shown
    assert "noisy" not in step_cost.table({"cases": [case | {"quiet": True, "bounds": {}}]})


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--fast"], "--fast"), (["--device", "tpu"], "device must be"), (["--steps", "1"], "steps must be")],
)
def test_bad_options_are_one_error(options, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["step_cost.py", *options])
    with pytest.raises(SystemExit) as ended:
        step_cost.main()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_without_a_gpu_cuda_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA"):
        step_cost.Options(device="cuda", folder=tmp_path).checked()


def test_memory_is_that_of_the_step_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: calls.append("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: calls.append("read") or 7)
    assert step_cost._peak(lambda: calls.append("step"), torch.device("cuda")) == 7
    assert calls == ["wait", "reset", "step", "wait", "read"]


def test_growth_is_measured_and_drawn(monkeypatch):
    monkeypatch.setattr(growth, "BASE", dataclasses.replace(SMALL, depth=2))
    found = growth.grow("classes", CPU, 3, quick=True)
    assert found["points"] == [10, 20]
    assert {len(times) for times in found["seconds"].values()} == {2}
    assert all(fit["n"] == 2 for fit in found["fits"].values())
    rates = growth.throughput(SMALL, CPU, 3)
    assert rates["images per second"]["statistics"]["median"] > 0
    record = {"growth": [found], "throughput": [rates]}
    assert "classes, one image each (10, 20; n = 3 each)" in growth.table(record)
    chart = plots.growth(record)
    assert f"exponent {found['fits']['ours']['exponent']:.2f}" in chart.layout.meta["alt"]
    ours, plain, line = chart.data
    assert ours.y[0] == 1
    assert list(ours.x) == list(line.x) == [1, 2]
    assert line.y == pytest.approx(ours.y, rel=1e-3), "two points lie on their line"
    seconds = found["seconds"]
    assert plain.y[1] == pytest.approx(seconds["plain"][1]["median"] / seconds["ours"][0]["median"])


def test_options_are_measured_and_what_cannot_be_is_said(monkeypatch, capsys):
    def broken(case, device, quick):
        found = variants(case, device, quick)

        def compiler():
            raise RuntimeError("no compiler\nat all")

        return found | {"compiled parts": compiler}

    variants = step_options.variants
    monkeypatch.setattr(step_options, "variants", broken)
    record = step_options.of_network(SMALL, CPU, 3, quick=True)
    assert set(record["gains"]) == {"contiguous weights", "bfloat16 autocast"}
    assert all(set(gains) == {"plain", "ours"} for gains in record["gains"].values())
    assert record["missing"] == {"compiled parts": "not available: RuntimeError: no compiler"}
    monkeypatch.setattr(step_options, "CASES", (SMALL,))
    step_options.child("cpu", 3, quick=False)
    times = json.loads(capsys.readouterr().out)
    assert {len(values) for values in times[0].values()} == {3}


def test_compiling_the_parts_keeps_the_names_and_the_result(monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", lambda self: None)  # only where the parts are cut
    found = step_options.passes(SMALL, CPU, step_options.compile_parts)
    assert far(found["ours"]()[1], Steps(SMALL).ours()[1]) < 1e-5


# --------------------------------------------------------------------------------------- the published record


@pytest.mark.skipif(not (STUDIES / "cpu.json").exists(), reason="not run yet: make bench")
def test_the_published_cost_covers_what_it_should():
    record = json.loads((STUDIES / "cpu.json").read_text())
    assert_cost_record(record)
    cases = {(c["network"], c["batch"], c["b"]): c for c in record["cases"]}
    for network in ("convnet", "resnet18"):
        assert {(network, 10, 5), (network, 100, 5), (network, 10, 1)} <= set(cases)
    assert all(case["n"] >= (5 if key[:2] == ("resnet18", 100) else 20) for key, case in cases.items())
    chart = plots.cost_bars(record)
    assert [bar.name for bar in chart.data] == ["our step", "straightforward step", "floor"]
    assert list(chart.data[0].x) == [case["ratios"]["ours / plain"]["median"] for case in record["cases"]]
    assert plots.cost_bars({}).layout.meta["alt"] == "Not run."
