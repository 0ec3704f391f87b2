"""`unidd plan`: counts against what a run really does, seconds laid to the right account, refusals, a promise kept."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from torch import Generator, Tensor

from unidd import cli
from unidd.bench import machine, measuring
from unidd.bench.cell import Cell
from unidd.bench.machine import available_memory
from unidd.bench.measuring import Measured, measure_steps
from unidd.bench.planning import Plan, Work, estimate, measure, plan
from unidd.data.datasets import ImageData
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Batch, Descent, Objective, Start, Step
from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side
from unidd.engine.run import Run
from unidd.methods import Count, Descending, find
from unidd.methods.cfm import CFM
from unidd.networks.training import NOBODY, Teacher, TrainConfig, train

SMALL = Cell.of(dataset="digits", ipc=2, budget="smoke")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """What is measured in this process is measured briefly."""
    monkeypatch.setattr(measuring, "_MOST", 8)


@pytest.fixture(scope="module")
def teacher(digits):
    return SMALL.teacher(digits, progress=False)


# ------------------------------------------------------------------------------------------------- the work


@pytest.mark.parametrize(
    ("changes", "save_every"),
    [({}, 0), ({"group": 4}, 1), ({"steps": 5, "ipc": 1}, 2), ({"steps": 4}, 2), ({"steps": 0}, 1), ({"group": 10}, 9)],
    ids=str,
)
def test_the_work_is_what_a_run_does(digits, teacher, tmp_path, monkeypatch, changes, save_every):
    monkeypatch.setattr(CFM, "check_teacher", lambda *_: None)  # the look at it before is no step
    changes = {"ipc": 2, "steps": 3, "filter": "none"} | changes
    ipc, method = changes.pop("ipc"), CFM(**changes)
    counts, largest = dict.fromkeys(("steps", "batches", "states"), 0), [0]

    class Counting(Checkpoint):
        def save(self, state):
            counts["states"] += 1
            super().save(state)

        def save_batch(self, number, images):
            counts["batches"] += 1
            super().save_batch(number, images)

    def step(_, inputs):
        counts["steps"] += 1
        largest[0] = max(largest[0], len(inputs[0]))

    handle = teacher.model.register_forward_pre_hook(step)
    run = Run(ipc, checkpoint=Counting(tmp_path / "run"), save_every=save_every)
    result = method.distill(digits, teacher, run)
    handle.remove()
    descent, start = method.descent(digits), method.start(digits, run)
    work = Work.of(digits, len(result), None, descent, start, save_every=save_every)
    assert (work.batches, work.batches * work.steps) == (counts["batches"], counts["steps"])
    assert work.batches * (work.saves + 1) == counts["states"]
    assert work.batch == largest[0]
    assert work.images * work.image == result.images.nbytes
    assert (work.train_steps, work.test_images, work.real_images) == (0, 0, 0)


def test_the_work_of_a_teacher_is_what_training_does(digits, monkeypatch):
    training, steps = TrainConfig(epochs=2, batch=100), []
    original = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *args: (steps.append(1), original(*args))[1])
    train(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)),
        digits.normalise(digits.train.images),
        digits.train.labels,
        training,
    )
    work = Work.of(digits, 10, training, real=True)
    assert work.train_steps == len(steps)
    assert work.test_images == len(digits.test)
    assert work.real_images == len(digits.train)


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


CANNOT_ALLOCATE = "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
FAULTS = {"allocate": RuntimeError(CANNOT_ALLOCATE), "memory": MemoryError(), "other": RuntimeError("shapes differ")}


class Slowly(Objective):
    """Takes 10 s to begin a batch, and for a step twice as long in later batches as in the first."""

    def __init__(self, method: "Slow"):
        self.method = method

    def begin(self, batch: Batch) -> None:
        self.later = batch.number > 0
        self.method.clock.now += 10.0
        self.method.tried.append(batch.size)

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        if len(x) > self.method.most:
            raise FAULTS[self.method.fault]
        self.method.clock.now += self.method.seconds * (1 + self.later)
        return Step({"loss": x.sum()}, torch.zeros_like(x))


@dataclass(frozen=True)
class Slow(Descending):
    """Moves no pixel, and takes 100 s to say what it descends on.

    Args:
        seconds: of a step of the first batch.
        most: images of a batch that fit the memory.
        fault: how it fails if there are more.
    """

    seconds: float = 1.0
    most: Count = 1000
    fault: Literal["allocate", "memory", "other"] = "allocate"

    source: ClassVar[str] = "none"
    acts_as: ClassVar[str] = "none"
    needs_teacher: ClassVar[bool] = False
    clock: ClassVar[Clock]
    tried: ClassVar[list[int]]

    def descent(self, data: ImageData) -> Descent:
        return Descent(steps=7, lr=0.1)

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> Slowly:
        self.clock.now += 100.0
        return Slowly(self)


@dataclass(frozen=True)
class Grouped(Slow):
    """The same, in batches that can be made smaller."""

    group: Count = 0

    def start(self, data: ImageData, run: Run) -> Start:
        return Start.real(data, run.ipc, run.seed, self.group)


@pytest.fixture(autouse=True)
def of_slow(monkeypatch):
    monkeypatch.setattr(Slow, "clock", Clock(), raising=False)
    monkeypatch.setattr(Slow, "tried", [], raising=False)


@pytest.fixture
def clock(monkeypatch, of_slow):
    monkeypatch.setattr(measuring, "time", Slow.clock)
    return Slow.clock


@pytest.mark.parametrize("ipc", [1, 3])
def test_seconds_are_laid_to_the_right_account(digits, clock, monkeypatch, ipc):
    """A step takes 1 s in the first batch and 2 s later, a batch's beginning 10, a state 0.25, the objective 100."""

    class SlowCheckpoint(Checkpoint):
        def save(self, state):
            clock.now += 0.25
            super().save(state)

    monkeypatch.setattr(measuring, "Checkpoint", SlowCheckpoint)
    found = measure_steps(Slow(), digits, NOBODY, Run(ipc), patience=60.0)
    later = {"step": 2.0, "between": 10.25} if ipc > 1 else {"step": 1.0, "between": 0.0}
    expected = {"first": 1.0, "setup": 110.0, "save": 0.25} | later
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)
    assert found.start == pytest.approx(0, abs=1e-9)


def test_slow_steps_are_few(digits, clock):
    found = measure_steps(Slow(seconds=30.0), digits, NOBODY, Run(ipc=3), patience=10.0)
    assert (found.first, found.step, found.setup, found.steps) == (30.0, 30.0, 110.0, 3)
    assert clock.now == 110.0 + 90.0, "and nothing more"


def test_measuring_leaves_the_teacher_as_it_was(digits, teacher):
    before = {name: tensor.clone() for name, tensor in teacher.model.state_dict().items()}
    found = measure_steps(CFM(filter="none"), digits, teacher, Run(ipc=2))
    assert not teacher.model._forward_pre_hooks
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.model.state_dict().items())
    assert found.steps >= 10
    assert min(found.first, found.step, found.setup, found.save, found.state, found.memory) > 0


@pytest.mark.slow
def test_only_what_is_still_to_be_done_is_measured(digits, teacher, tmp_path, monkeypatch):
    real_side("mean", digits, teacher.model, Ranks())
    measured, work = measure(SMALL, SMALL.run(0), digits)
    assert (measured.train, work.train_steps, work.real_images) == (0, 0, 0), "teacher and statistics are there"
    cell = dataclasses.replace(SMALL, method=find("classification")())
    work = measure(cell, cell.run(7), digits)[1]
    assert (work.train_steps, work.real_images) == (12, 0), "the teacher of another repetition is not"
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path))
    measured, work = measure(SMALL, SMALL.run(0), digits)
    assert min(measured.train, measured.test, measured.real, measured.kept) > 0
    assert work.train_steps == 12
    assert work.real_images == len(digits.train)
    assert not list(tmp_path.rglob("*")), "nothing is kept of it"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "batches"), [(find("toys.Chosen")(), 0), (Slow(), 2)], ids=["chooses", "descends"])
def test_a_method_that_needs_no_teacher_is_planned_without_one(digits, tmp_path, monkeypatch, method, batches):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path))
    cell = dataclasses.replace(SMALL, method=method)
    measured, work = measure(cell, cell.run(0), digits)
    assert (measured.train, measured.test, work.train_steps, work.test_images, work.real_images) == (0, 0, 0, 0, 0)
    assert (work.batches, work.images) == (batches, 20)
    assert min(measured.finish, measured.memory) > 0


@pytest.mark.slow
def test_what_a_method_trains_for_itself_is_planned(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path))
    cell = Cell.of(dataset="digits", method="mtt", budget="smoke")
    measured, work = measure(cell, cell.run(0), digits)
    epoch = (("experts", 6, "steps"),)
    assert (work.train_steps, work.parts) == (0, epoch), "an epoch; two are done and kept, to measure steps"
    assert min(*measured.parts, measured.kept, measured.step) > 0
    cell.method.experts_of(digits, cell.run(0)).train(3)
    measured, work = measure(cell, cell.run(0), digits)
    assert (measured.parts, measured.kept, work.parts) == ((), 0, ())


def test_a_part_of_the_method_is_a_phase_where_there_is_any():
    work = Work(0, 0, 0, batches=1, steps=5, saves=0, batch=10, images=30, image=100)
    measured = Measured(step=13, first=13, memory=1000)
    parts = dataclasses.replace(measured, parts=(3.0, 0.5))
    found = estimate(parts, dataclasses.replace(work, parts=(("experts", 7, "steps"), ("a look", 4, "images")), held=5))
    assert [phase[:2] for phase in found.phases][2:4] == [("experts", 21), ("a look", 2)]
    without = estimate(measured, work)
    assert (found.seconds, found.memory) == (without.seconds + 23, without.memory + 5)


def test_the_whole_set_is_counted_where_no_ipc_is_asked_for(digits):
    cell = Cell.of(dataset="digits", method="toys.Whole", budget="smoke")
    _, work = measure(cell, cell.run(0), digits)
    assert (work.batches, work.images) == (0, len(digits.train))


# -------------------------------------------------------------------------------------------------- refusals


def planned(method: Descending, data: ImageData) -> Measured:
    cell = dataclasses.replace(SMALL, method=method)
    return measure(cell, cell.run(0), data)[0]


@pytest.mark.slow
def test_a_group_that_fits_is_found(digits):
    """A batch of more than 3 images does not fit: 10, 5, then 3 classes are tried."""
    with pytest.raises(ValueError, match="a step of 10 images does not fit the memory: add --group 3, which does"):
        planned(Grouped(most=3), digits)
    assert list(dict.fromkeys(Slow.tried)) == [10, 5, 3]
    assert planned(Grouped(most=3, group=2), digits).step > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "what"),
    [
        (Grouped(most=0, fault="memory"), "a single image"),
        (Grouped(most=0), "a single image"),
        (Slow(most=3), "10 images"),
    ],
    ids=["memory", "allocate", "no groups"],
)
def test_not_even_the_smallest_batch_fits(digits, method, what):
    with pytest.raises(ValueError, match=f"a step of {what} does not fit the memory: take a smaller model"):
        planned(method, digits)


def test_another_error_of_a_step_stays_what_it_is(digits):
    with pytest.raises(RuntimeError, match="shapes differ"):
        planned(Grouped(most=0, fault="other"), digits)
    assert Slow.tried == [10]


PLAN = Plan((("start", 1.0, ""),), memory=10_000, disk=500, device="cpu", steps=3)


def test_what_does_not_fit_is_refused_with_advice():
    dataclasses.replace(PLAN, available=10_000, free=500).check()
    PLAN.check()
    with pytest.raises(ValueError, match=r"takes 9\.8 KiB of memory, and 8\.8 KiB are available: take a smaller group"):
        dataclasses.replace(PLAN, available=9_000, free=500).check()
    with pytest.raises(ValueError, match="takes 500 B of disk, and 499 B are free: make room"):
        dataclasses.replace(PLAN, available=10_000, free=499).check()


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.skipif(not machine.of_glibc("mallopt"), reason="glibc alone can be told")
def test_kept_memory_is_not_fetched_again_until_it_is_released(monkeypatch):
    script = """
import resource, sys, torch
from unidd.bench.machine import _entry, keep_memory, release_memory
rss = lambda: _entry("/proc/self/status", "VmRSS:", 1 << 10) >> 20
step = lambda: torch.ones(64 << 18).sum()
if sys.argv[1] == "keep":
    assert keep_memory()
faults, before = [], rss()
for _ in range(20):  # the first few may still take more, until a free block fits whatever the alignment
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


DIES = """
import os
from dataclasses import dataclass
from toys import Chosen

@dataclass(frozen=True)
class Dies(Chosen):
    def check(self, data, run):
        os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("planned_in_a_fork")
def test_a_process_that_dies_while_it_measures_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "plan_dies.py").write_text(DIES)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"measuring broke off: is the memory of .* enough\?"):
        plan(Cell.of("plan_dies", dataset="digits", budget="smoke"))


def test_the_plan_is_printed_and_what_cannot_fit_ends_with_code_two(monkeypatch, capsys):
    asked = []

    def planned(cell, **options):
        asked.append((cell, options))
        return dataclasses.replace(PLAN, available=1)

    monkeypatch.setattr(cli, "plan", planned)
    task = ["--dataset", "digits", "--ipc", "3", "--save-every", "5", "--beta", "0.5", "--out", "there"]
    monkeypatch.setattr(sys, "argv", ["unidd", "plan", "cfm", *task])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    printed = capsys.readouterr()
    assert printed.out == dataclasses.replace(PLAN, available=1).text() + "\n"
    assert printed.err.startswith("unidd: error: the run takes 9.8 KiB of memory, and 1 B are available")
    ((cell, options),) = asked
    assert (cell.dataset, cell.ipc, cell.method) == ("digits", 3, CFM(beta=0.5, steps=100))
    assert (options["save_every"], options["out"]) == (5, Path("there"))


@pytest.mark.slow
@pytest.mark.usefixtures("planned_in_a_fork")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--ipc", "0"], "ipc must be at least 1"), (["--dataset", "digits", "--ipc", "500"], "ipc must be 1 …")],
    ids=str,
)
def test_a_wrong_option_of_plan(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["unidd", "plan", "cfm", *arguments])
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


@pytest.mark.quiet
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read as Linux gives it")
@pytest.mark.parametrize(
    ("method", "settings", "phases"),
    [
        ("cfm", {"steps": 60}, ["teacher", "real side"]),
        ("forgetting", {"proxy_epochs": 100}, ["proxies", "scoring"]),
    ],
)
def test_a_run_takes_about_what_was_planned(tmp_path, monkeypatch, method, settings, phases):
    """Bounds for a machine that has other things to do; benchmarks/plan_accuracy.py measures on a quiet one."""
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    found = plan(Cell.of(method, settings, dataset="digits", ipc=2, budget="smoke"), out=tmp_path / "set")
    assert not list(tmp_path.iterdir()), "a plan leaves nothing"
    for word in (*phases, "distillation", "time", "memory", "disk", "available", "free", "Measured"):
        assert word in found.text()
    options = ["--dataset", "digits", "--ipc", "2", "--budget", "smoke", "--out", str(tmp_path / "set")]
    options += [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "unidd", "distill", method, *options]
    thin = [sys.executable, "-c", THIN, *command]
    done = subprocess.run(thin, capture_output=True, text=True, check=True, env=os.environ)
    seconds, memory = json.loads(done.stdout)
    assert found.seconds / 3 < seconds < 3 * found.seconds
    assert found.memory == pytest.approx(memory, rel=0.2)
