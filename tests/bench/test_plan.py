"""`unidd plan`: counts against what a run really does, seconds laid to the right account, refusals, a promise kept."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unidd import cli
from unidd.bench import machine, measuring, planning
from unidd.bench.configs import Benchmark
from unidd.bench.machine import available_memory
from unidd.bench.measuring import Measured, measure_steps
from unidd.bench.planning import Plan, Work, estimate, measure, plan
from unidd.data.datasets import load
from unidd.engine import distillation
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.distillation import distill, real_side
from unidd.engine.parallel import Ranks
from unidd.engine.settings import DistillConfig
from unidd.networks.training import TrainConfig, train

SMALL = Benchmark("digits", ipc=2, budget="smoke")


@pytest.fixture(scope="module")
def data():
    return load("digits")


@pytest.fixture(scope="module")
def teacher(data):
    return SMALL.teacher(data, progress=False)


# ------------------------------------------------------------------------------------------------- the work


@pytest.mark.parametrize(
    ("changes", "save_every"),
    [({}, 0), ({"group": 4}, 1), ({"steps": 5, "ipc": 1}, 2), ({"steps": 4}, 2), ({"steps": 0}, 1), ({"group": 10}, 9)],
    ids=str,
)
def test_the_work_is_what_a_run_does(data, teacher, tmp_path, monkeypatch, changes, save_every):
    config = DistillConfig(**({"ipc": 2, "steps": 3, "filter": "none"} | changes))
    counts = dict.fromkeys(("steps", "batches", "states"), 0)
    largest, save = [0], Checkpoint.save

    def count(name):
        counts[name] += 1

    def counting(checkpoint, state):
        count("states")
        save(checkpoint, state)

    def step(_, inputs):
        count("steps")
        largest[0] = max(largest[0], len(inputs[0]))

    monkeypatch.setattr(Checkpoint, "save", counting)
    handle = teacher.model.register_forward_pre_hook(step)
    options = {"folder": tmp_path / "run", "save_every": save_every, "callback": lambda *_: count("batches")}
    result = distill(config, data, teacher, progress=False, **options)
    handle.remove()
    work = Work.of(config, data, None, real=False, save_every=save_every)
    assert (work.batches, work.batches * work.steps) == (counts["batches"], counts["steps"])
    assert work.batches * (work.saves + 1) == counts["states"]
    assert work.batch == (largest[0] or 10)
    assert work.images * work.image == result.images.nbytes
    assert (work.train_steps, work.test_images, work.real_images) == (0, 0, 0)


def test_the_work_of_a_teacher_is_what_training_does(data, monkeypatch):
    training, steps = TrainConfig(epochs=2, batch=100), []
    original = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *args: (steps.append(1), original(*args))[1])
    train(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)),
        data.normalise(data.train.images),
        data.train.labels,
        training,
    )
    work = Work.of(DistillConfig(), data, training, real=True)
    assert work.train_steps == len(steps)
    assert work.test_images == len(data.test)
    assert work.real_images == len(data.train)


def test_the_estimate_is_a_sum_over_the_work():
    measured = Measured(
        start=1,
        train=2,
        test=3,
        real=5,
        setup=7,
        first=11,
        step=13,
        between=17,
        save=19,
        finish=23,
        memory=1000,
        state=29,
        kept=31,
        device="cpu",
        steps=6,
    )
    work = Work(
        train_steps=2, test_images=3, real_images=4, batches=3, steps=5, saves=2, batch=10, images=30, image=100
    )
    found = estimate(measured, work)
    by_hand = 7 + 5 * 11 + 2 * (17 + 5 * 13) + 6 * 19
    assert [seconds for _, seconds, _ in found.phases] == [1, 2 * 2 + 3 * 3, 4 * 5, by_hand, 23]
    assert found.seconds == sum(seconds for _, seconds, _ in found.phases)
    assert found.memory == 1000 + 3 * 3000
    assert found.disk == 2 * 3000 + 2 * 29 + 31
    on_gpu = estimate(dataclasses.replace(measured, device="cuda (a GPU)"), work)
    assert on_gpu.memory == 1000, "images done lie in main memory"
    nothing = estimate(Measured(start=1.0), Work(0, 0, 0, 0, 0, 0, 10, 10, 4))
    assert nothing.seconds == 1.0


def test_parts_measured_one_by_one_add_up_but_for_the_peak():
    found = Measured(start=1, step=2, memory=10, kept=1) + Measured(start=3, memory=7, kept=2, device="cpu", steps=4)
    assert found == Measured(start=4, step=2, memory=10, kept=3, device="cpu", steps=4)


# -------------------------------------------------------------------------------------------- the measurement


class Clock:
    """Time that passes only where it is said to."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    time = perf_counter

    def slow(self, seconds, original):
        def slowed(*args, **options):
            self.now += seconds(*args, **options) if callable(seconds) else seconds
            return original(*args, **options)

        return slowed


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(measuring, "time", found)
    return found


@pytest.mark.parametrize("ipc", [1, 3])
def test_seconds_are_laid_to_the_right_account(data, teacher, clock, monkeypatch, ipc):
    """A step takes 1 s in the first batch and 2 s later, a round's beginning 10, a state 0.25, all eigenvectors 100.

    The first second of the first step passes before it calls the network, which counts as `setup`.
    """
    config, count = DistillConfig(ipc=ipc, steps=7), [0]
    statistics = real_side(config, data, teacher.model, Ranks())

    def begin_round(*_, **options):
        count[0] = options["count"]
        return 10.0

    decompose, once = distillation.RealSide.of, 100.0 / len(statistics)
    monkeypatch.setattr(distillation.RealSide, "of", staticmethod(clock.slow(once, decompose)))
    monkeypatch.setattr(distillation.Round, "of", staticmethod(clock.slow(begin_round, Round.of)))
    slow = clock.slow(lambda *_, **__: 1.0 if count[0] == 1 else 2.0, distillation.step_loss)
    monkeypatch.setattr(distillation, "step_loss", slow)
    monkeypatch.setattr(Checkpoint, "save", clock.slow(0.25, Checkpoint.save))
    found = measure_steps(config, data, teacher, statistics, patience=60.0)
    later = {"step": 2.0, "between": 10.25} if ipc > 1 else {"step": 1.0, "between": 0.0}
    expected = {"first": 1.0, "setup": 111.0, "save": 0.25} | later
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)
    assert found.start == pytest.approx(0, abs=1e-9)


def test_slow_steps_are_few(data, teacher, clock, monkeypatch):
    monkeypatch.setattr(distillation, "step_loss", clock.slow(30.0, distillation.step_loss))
    found = measure_steps(DistillConfig(ipc=3, filter="none"), data, teacher, patience=10.0)
    assert (found.first, found.step, found.steps) == (30.0, 30.0, 3)
    assert clock.now == 90.0 + 30.0, "and the one at which it breaks off"


def test_measuring_leaves_the_teacher_as_it_was(data, teacher):
    before = {name: tensor.clone() for name, tensor in teacher.model.state_dict().items()}
    found = measure_steps(DistillConfig(ipc=2, filter="none"), data, teacher, patience=0.1)
    assert not teacher.model._forward_pre_hooks
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.model.state_dict().items())
    assert found.steps >= 10
    assert min(found.first, found.step, found.setup, found.save, found.state, found.memory) > 0


def test_only_what_is_still_to_be_done_is_measured(data, teacher, tmp_path, monkeypatch):
    measured, work = measure(SMALL, 0, data)
    assert (measured.train, work.train_steps) == (0, 0), "the teacher is there"
    real_side(SMALL.distillation(0, data), data, teacher.model, Ranks())
    assert measure(SMALL, 0, data)[1].real_images == 0
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path))
    measured, work = measure(SMALL, 0, data)
    assert min(measured.train, measured.test, measured.real, measured.kept) > 0
    assert work.train_steps == 12
    assert work.real_images == len(data.train)
    assert not list(tmp_path.rglob("*")), "nothing is kept of it"
    for method in ("random", "classification"):
        assert measure(dataclasses.replace(SMALL, method=method), 0, data)[1].real_images == 0


# -------------------------------------------------------------------------------------------------- refusals


def test_a_group_that_fits_is_found(data, teacher, monkeypatch):
    """A batch of more than 3 images does not fit: 10, 5, then 3 classes are tried."""
    tried = []

    def limited(config, *_):
        tried.append(config.group)
        if config.group > 3:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory")
        return Measured(step=1.0)

    monkeypatch.setattr(planning, "measure_steps", limited)
    with pytest.raises(ValueError, match="a step of 10 images does not fit the memory: add --group 3, which does"):
        measure(SMALL, 0, data)
    assert tried == [10, 5, 3]
    assert measure(dataclasses.replace(SMALL, settings={"group": 2}), 0, data)[0].step == 1.0


def test_not_even_an_image_fits(data, teacher, monkeypatch):
    def never(*_):
        raise MemoryError

    monkeypatch.setattr(planning, "measure_steps", never)
    with pytest.raises(ValueError, match="a step of a single image does not fit the memory: take a smaller model"):
        measure(SMALL, 0, data)


def test_another_error_of_a_step_stays_what_it_is(data, teacher, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(planning, "measure_steps", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        measure(SMALL, 0, data)


PLAN = Plan((("start", 1.0, ""),), memory=10_000, disk=500, device="cpu", steps=3)


def test_what_does_not_fit_is_refused_with_advice():
    dataclasses.replace(PLAN, available=10_000, free=500).check()
    PLAN.check()
    with pytest.raises(ValueError, match=r"takes 9\.8 KiB of memory, and 8\.8 KiB are available: take a smaller group"):
        dataclasses.replace(PLAN, available=9_000, free=500).check()
    with pytest.raises(ValueError, match="takes 500 B of disk, and 499 B are free: make room"):
        dataclasses.replace(PLAN, available=10_000, free=499).check()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited on Linux alone")
def test_a_process_fails_before_it_takes_more_than_there_is():
    script = """
import torch
from unidd.bench.machine import _entry, limit_memory, out_of_memory, peak_memory
limit_memory(_entry("/proc/self/status", "RssAnon:", 1024) + (300 << 20))
kept = torch.ones(50 << 18)
assert 50 << 20 < peak_memory(torch.device("cpu"))
try:
    torch.ones(500 << 18)
except RuntimeError as error:
    print(out_of_memory(error))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.skipif(not machine._of_glibc("mallopt"), reason="glibc alone can be told")
def test_kept_memory_is_not_fetched_again_until_it_is_released(monkeypatch):
    script = """
import resource, sys, torch
from unidd.bench.machine import _entry, keep_memory, release_memory
rss = lambda: _entry("/proc/self/status", "VmRSS:", 1 << 10) >> 20
step = lambda: torch.ones(64 << 18).sum()
if sys.argv[1] == "keep":
    assert keep_memory()
faults, before = [], rss()
for _ in range(6):
    step()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
kept = rss() - before
release_memory()
print(faults[-1] - faults[-2], kept, rss() - before)
"""
    found, environment = {}, {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    for kind in ("default", "keep"):
        command = [sys.executable, "-c", script, kind]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found[kind] = tuple(map(int, done.stdout.split()))
    (faults, *_), (after, kept, released) = found["default"], found["keep"]
    assert after < faults / 10, found
    assert kept > 60, "MiB"
    assert released < 20
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not machine.keep_memory(), "what the user has set stays"


def test_the_available_memory_is_that_of_the_machine_or_of_the_container(monkeypatch):
    assert 0 < available_memory("cpu") < 1 << 50
    files = {
        ("/proc/meminfo", "MemAvailable:"): 9000,
        ("/sys/fs/cgroup/memory.max", ""): 5000,
        ("/sys/fs/cgroup/memory.current", ""): 2000,
        ("/sys/fs/cgroup/memory.stat", "inactive_file"): 100,
    }
    monkeypatch.setattr(machine, "_entry", lambda path, name="", unit=1: files.get((path, name)))
    assert available_memory("cpu") == 3100
    files[("/sys/fs/cgroup/memory.max", "")] = None
    assert available_memory("cpu") == 9000
    files.clear()
    assert available_memory("cpu") is None


def test_a_process_that_dies_while_it_measures_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(planning, "_MEASURE", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ValueError, match=r"measuring broke off \(signal 9\): is the memory of .* enough\?"):
        plan(SMALL)


def test_the_plan_is_printed_and_what_cannot_fit_ends_with_code_two(monkeypatch, capsys):
    asked = []

    def planned(benchmark, **options):
        asked.append((benchmark, options))
        return dataclasses.replace(PLAN, available=1)

    monkeypatch.setattr(cli, "plan", planned)
    arguments = ["plan", "--dataset", "digits", "--ipc", "3", "--save-every", "5", "--beta", "0.5", "--out", "there"]
    monkeypatch.setattr(sys, "argv", ["unidd", *arguments])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    printed = capsys.readouterr()
    assert printed.out == dataclasses.replace(PLAN, available=1).text() + "\n"
    assert printed.err.startswith("unidd: error: the run takes 9.8 KiB of memory, and 1 B are available")
    ((benchmark, options),) = asked
    assert (benchmark.dataset, benchmark.ipc, benchmark.settings) == ("digits", 3, {"beta": 0.5})
    assert (options["save_every"], options["out"]) == (5, Path("there"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--ipc", "0"], "ipc must be at least 1"), (["--dataset", "digits", "--ipc", "500"], "ipc must be 1 …")],
    ids=str,
)
def test_a_wrong_option_of_plan(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["unidd", "plan", *arguments])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"unidd: error: {message}")
    assert printed.err.count("\n") == 1


# ------------------------------------------------------------------------------------------- the promise kept

# A process that is itself small: on Linux a process begins with the peak memory of the one that started it.
THIN = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([time.perf_counter() - began, peak]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read as Linux gives it")
def test_a_run_takes_about_what_was_planned(tmp_path, monkeypatch):
    """Bounds for a machine that has other things to do; benchmarks/plan_accuracy.py measures on a quiet one."""
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = plan(dataclasses.replace(SMALL, settings={"steps": 60}), out=tmp_path / "set")
    assert not list(tmp_path.iterdir()), "a plan leaves nothing"
    for word in (
        "teacher",
        "real side",
        "distillation",
        "time",
        "memory",
        "disk",
        "available",
        "free",
        "Measured from",
    ):
        assert word in found.text()
    options = ["--dataset", "digits", "--ipc", "2", "--budget", "smoke", "--steps", "60"]
    command = [sys.executable, "-m", "unidd", "distill", *options, "--out", str(tmp_path / "set")]
    thin = [sys.executable, "-c", THIN, *command]
    done = subprocess.run(thin, capture_output=True, text=True, check=True, env=os.environ)
    seconds, memory = json.loads(done.stdout)
    assert found.seconds / 3 < seconds < 3 * found.seconds
    assert found.memory == pytest.approx(memory, rel=0.2)
