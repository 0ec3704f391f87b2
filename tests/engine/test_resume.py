"""Runs that are cut off: killed at any moment, out of space, damaged, or started twice; none loses its work."""

import contextlib
import copy
import dataclasses
import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

import forked
import pytest
import torch

from unidd import cli, files
from unidd.bench.cell import Cell
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side
from unidd.engine.run import Run
from unidd.files import seal, unseal
from unidd.methods.cfm import CFM, FrequencyMatching

pytestmark = pytest.mark.slow  # processes of their own

RUN = "--dataset digits --budget smoke --ipc 3 --steps 12 --save-every 1".split()  # noqa: SIM905
COMMAND = [sys.executable, "-m", "unidd", "distill", "cfm", *RUN]


def start(out: Path, die: dict[str, int] | None = None) -> forked.Command:
    return forked.Command([*COMMAND, "--out", out], die=die)


def run(out: Path, die: dict[str, int] | None = None) -> int:
    return start(out, die).wait().returncode


def kill(out: Path, delay: float) -> bool:
    """Kill a run so many seconds after it has claimed its folder; False if it was faster."""
    process = start(out)
    wait_for(out / ".state" / "lock", process)
    time.sleep(delay)
    process.kill()
    return process.wait().returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """What the uninterrupted run writes; it also leaves teacher and statistics for the others."""
    out = tmp_path_factory.mktemp("resume") / "whole"
    assert run(out) == 0
    return out


def wait_for(path: Path, process: forked.Command) -> None:
    """Wait until a run has claimed its folder, or has ended: it may be through between two looks."""
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def through(out: Path) -> bool:
    """Whether all but sweeping up was done: the same command would refuse to replace the set."""
    return (out / "card.json").exists() and not (out / ".state" / "state.pt").exists()


@pytest.fixture(scope="module")
def seconds(whole, tmp_path_factory) -> float:
    """What a run takes after it has claimed its folder."""
    out = tmp_path_factory.mktemp("resume") / "timed"
    process = start(out)
    wait_for(out / ".state" / "lock", process)
    began = time.perf_counter()
    assert process.wait().returncode == 0
    return time.perf_counter() - began


def assert_same(out: Path, whole: Path) -> None:
    """Images, history and all else, to the bit, and no trace of what happened."""
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in whole.iterdir()}


# ---------------------------------------------------------------------------------------------------- killed


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bits(whole, seconds, tmp_path):
    """Ten runs, each killed at a random moment and started again; many were well under way."""
    generator, killed, under_way = random.Random(0), 0, 0
    for trial in range(60):
        out = tmp_path / str(trial)
        if not kill(out, generator.uniform(0, seconds)):
            seconds *= 0.9  # the machine has become quicker than it was when a whole run was timed
            continue
        if through(out):
            continue
        killed += 1
        under_way += (out / ".state" / "state.pt").exists()
        assert run(out) == 0
        assert_same(out, whole)
        if killed == 10:
            break
    assert killed == 10
    assert under_way >= 5


@pytest.mark.slow
def test_a_run_killed_again_and_again(whole, seconds, tmp_path):
    """Each time before it has got far, until it is through."""
    generator, out, killed = random.Random(1), tmp_path / "set", 0
    while kill(out, generator.uniform(0.05, 0.3) * (1 + killed / 8) * seconds):  # later, on a busy machine
        killed += 1
        assert killed < 50
    assert killed >= 2
    assert_same(out, whole)


@pytest.mark.parametrize("die", [{"fsync": 1}, {"fsync": 5}, {"replace": 1}, {"replace": 20}, {"fsync": 39}], ids=str)
def test_a_run_killed_while_it_writes(whole, tmp_path, die):
    """Before the new file is whole, and before it takes the place of the old one."""
    out = tmp_path / "set"
    assert run(out, die) == -signal.SIGKILL
    assert list((out / ".state").glob(".*.pt-*")), "the half-written file must be there"
    assert run(out) == 0
    assert_same(out, whole)


def saves() -> int:
    """Calls of os.replace up to the last state: 3 batches of 12 states, with their images."""
    return 3 * (12 + 1)


@pytest.mark.parametrize("after", [1, 2])
def test_a_run_killed_while_it_saves_the_set(whole, tmp_path, after):
    """The state is there until card and images are: the second of them, or the first, is missing."""
    out = tmp_path / "set"
    assert run(out, {"replace": saves() + after}) == -signal.SIGKILL
    assert (out / ".state" / "state.pt").exists()
    assert (out / "images.safetensors").exists() == (after == 2)
    assert run(out) == 0
    assert_same(out, whole)


def test_a_run_killed_while_it_sweeps_up(whole, tmp_path):
    """The set is whole; the same command refuses to replace it, and sweeps up."""
    out = tmp_path / "set"
    assert run(out, {"rmdir": saves() + 3}) == -signal.SIGKILL  # state, card and images are written
    assert through(out)
    assert run(out) == 2
    assert_same(out, whole)


@pytest.mark.slow
def test_the_command_killed_twice_says_where_it_goes_on(whole, tmp_path):
    """Killed as soon as it has a state of its own."""
    out = tmp_path / "set"
    for _ in range(2):
        before, process = stamp(out / ".state" / "state.pt"), start(out)
        deadline = time.monotonic() + 60
        while not stamp(out / ".state" / "state.pt") > before:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        process.wait()
    done = start(out).wait()
    assert done.returncode == 0, done.stderr
    assert "going on from round " in done.stdout
    assert_same(out, whole)


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


# ------------------------------------------------------------------------------------------------- two at once


def test_a_second_process_on_the_folder_is_told_and_does_no_harm(whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "set"
    process = start(out)
    wait_for(out / ".state" / "state.pt", process)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        for more in ([], ["--overwrite"], ["--seed", "1"]):
            monkeypatch.setattr(sys, "argv", ["unidd", "distill", "cfm", *RUN, "--out", str(out), *more])
            with pytest.raises(SystemExit, match="2"):
                cli.main()
            printed = capsys.readouterr()
            assert printed.out == ""
            assert printed.err == (
                f"unidd: error: another process is distilling into {out}: wait, or choose another folder\n"
            )
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert process.wait().returncode == 0
    assert_same(out, whole)


# ------------------------------------------------------------------------------------------------- in process


@pytest.fixture(scope="module")
def teacher(digits):
    return Cell.of(dataset="digits", budget="smoke").teacher(digits, progress=False)


@pytest.fixture
def task(digits, teacher):
    """Distills 2 rounds of 3 steps, keeping every step if there is a folder."""

    def run(folder=None, cls=CFM, kind=Checkpoint, seed=0, **changes) -> SyntheticSet:
        asked = {name: changes.pop(name) for name in ("progress", "statistics") if name in changes}
        asked = Run(2, seed, kind(folder) if folder else None, save_every=1, **asked)
        return cls(**{"steps": 3} | changes).distill(digits, teacher, asked)

    return run


@pytest.fixture
def copying(tmp_path):
    """A checkpoint that keeps a copy of its folder after each state saved, in `copies`."""

    class Copying(Checkpoint):
        copies: ClassVar[list[Path]] = []

        def save(self, state):
            super().save(state)
            self.copies.append(tmp_path / f"copy-{len(self.copies)}")
            shutil.copytree(self.out, self.copies[-1])

    return Copying


def position_in(folder: Path) -> dict:
    """Where the run stands whose state lies there."""
    return unseal(folder / ".state" / "state.pt")["content"]["position"]


class Untouched(FrequencyMatching):
    def step(self, x, t, generator):
        raise AssertionError("no step was to be taken")


class Idle(CFM):
    """CFM that may not take a step."""

    name = "cfm"

    def objective(self, data, teacher, run):
        usual = super().objective(data, teacher, run)
        return Untouched(self, run.ipc, teacher.model, usual.real, usual.augment)


VARIANTS = {
    "as published": {},
    "groups of classes": {"group": 4, "steps": 2},
    "no moving update": {"emu": False},
    "softmax targets in double precision": {"signal": "mix", "precision": "float64"},
    "Landweber, relative": {"filter": "landweber", "beta_unit": "mean", "normalised": True},
    "half precision": {"precision": "bfloat16"},
    "half precision with a scaled loss": {"precision": "float16"},
    "classification": {"filter": "none"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_state_leads_to_the_same_bits(task, tmp_path, copying, variant):
    changes = VARIANTS[variant]
    whole = task(**changes)
    kept = task(tmp_path / "run", kind=copying, **changes)
    assert torch.equal(kept.images, whole.images), "keeping a state changes nothing"
    assert len(copying.copies) == 2 * 3 * (1 if "group" not in changes else 2)
    seen = set()
    for folder in copying.copies:
        state = position_in(folder)
        seen.add((state["batch"], state["step"]))
        found = task(folder, **changes)
        assert torch.equal(found.images, whole.images)
        assert found.history == whole.history
    assert len(seen) == len(copying.copies)


def test_a_finished_state_is_taken_as_it_is(task, tmp_path):
    whole = task(tmp_path / "run")
    again = task(tmp_path / "run", Idle)
    assert torch.equal(again.images, whole.images)
    assert again.history == whole.history


def test_going_on_is_said_once_and_only_then(task, tmp_path, copying, capsys):
    task(tmp_path / "run", kind=copying, progress=True)
    assert "going on" not in capsys.readouterr().out
    task(copying.copies[3], progress=True)
    assert capsys.readouterr().out == "going on from round 1, step 1\n"


def test_without_save_every_batches_alone_are_kept(digits, teacher, tmp_path, copying):
    CFM(steps=2).distill(digits, teacher, Run(3, checkpoint=copying(tmp_path / "run")))
    states = [position_in(folder) for folder in copying.copies]
    assert [(state["batch"], state["step"]) for state in states] == [(1, 0), (2, 0), (3, 0)]


# ------------------------------------------------------------------------------------- states that cannot be used


@pytest.fixture
def cut_off(task, tmp_path):
    """A folder with the state of a run that was interrupted after its first round."""
    interrupt(task, tmp_path / "run")
    return tmp_path / "run"


class Interrupted(Checkpoint):
    """Is interrupted once the first batch is kept."""

    def save(self, state):
        super().save(state)
        if state["position"]["step"] == 0:
            raise KeyboardInterrupt


def interrupt(task, folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        task(folder, kind=Interrupted)


def rewrite(path: Path, change) -> None:
    path.write_bytes(change(path.read_bytes()))


def reseal(path: Path, **changes) -> None:
    seal(unseal(path) | changes, path)


DAMAGE = {
    "truncated": (lambda state: rewrite(state / "state.pt", lambda b: b[:-100]), r"state\.pt is damaged"),
    "one bit": (lambda state: rewrite(state / "state.pt", lambda b: b[:-1] + bytes([b[-1] ^ 1])), "damaged"),
    "empty": (lambda state: (state / "state.pt").write_bytes(b""), "damaged"),
    "a text": (lambda state: (state / "state.pt").write_text("mine " * 50), "damaged"),
    "a pickle": (lambda state: torch.save({"batch": 1}, state / "state.pt"), "damaged"),
    "another version": (lambda state: reseal(state / "state.pt", format=0), "another version"),
    "another content": (lambda state: seal({"identity": {}, "statistics": {}}, state / "state.pt"), "another version"),
    "a batch gone": (lambda state: (state / "batch-00000.pt").unlink(), r"batch-00000\.pt is missing"),
    "a batch cut": (lambda state: rewrite(state / "batch-00000.pt", lambda b: b[:-9]), r"batch-00000\.pt is damaged"),
    "another run's batch": (lambda state: reseal(state / "batch-00000.pt", identity={"seed": 3}), "with another"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_state_that_cannot_be_used_is_an_error_that_says_what_to_delete(task, cut_off, kind):
    damage, message = DAMAGE[kind]
    damage(cut_off / ".state")
    with pytest.raises(ValueError, match=message) as error:
        task(cut_off, Idle)  # before any work
    assert f"delete {cut_off / '.state'}" in str(error.value)
    assert (cut_off / ".state").is_dir(), "it is left to the reader to delete it"


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if "batch" not in kind])
def test_overwriting_discards_a_state_that_cannot_be_used(task, cut_off, kind):
    DAMAGE[kind][0](cut_off / ".state")
    overwriting = partial(Checkpoint, overwrite=True)
    assert torch.equal(task(cut_off, kind=overwriting).images, task().images)
    changed = task(cut_off, kind=overwriting, seed=1)
    assert torch.equal(changed.images, task(seed=1).images), "and that of another run"


def test_only_the_first_process_removes_a_state(cut_off):
    Checkpoint(cut_off, ranks=Ranks(1, 1)).remove()
    assert (cut_off / ".state" / "state.pt").exists()
    with Checkpoint(cut_off) as checkpoint:
        checkpoint.remove()
    assert not (cut_off / ".state").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"beta": 0.2}, {"steps": 4}, {"precision": "float64"}], ids=str)
def test_the_state_of_other_settings_is_refused(task, cut_off, change):
    with pytest.raises(ValueError, match=f"unfinished run with another {next(iter(change))}: .*delete"):
        task(cut_off, **change)
    assert len(task(cut_off).images) == 20, "and stays"


def test_the_state_of_another_teacher_or_data_set_is_refused(digits, teacher, cut_off):
    method, asked = CFM(steps=3), Run(2, checkpoint=Checkpoint(cut_off))
    model = copy.deepcopy(teacher.model)
    next(iter(model.parameters())).data[0] += 1
    with pytest.raises(ValueError, match="another teacher"):
        method.distill(digits, dataclasses.replace(teacher, model=model), asked)
    statistics = real_side("mean", digits, teacher.model, Ranks())
    with pytest.raises(ValueError, match="another statistics"):
        method.distill(digits, teacher, dataclasses.replace(asked, statistics=statistics))
    fewer = dataclasses.replace(digits, train=digits.train.take(torch.arange(1000)))
    with pytest.raises(ValueError, match="another data"):
        method.distill(fewer, teacher, asked)


def test_the_state_of_given_statistics_is_theirs_alone(digits, teacher, task, tmp_path):
    statistics = real_side("mean", digits, teacher.model, Ranks())
    given = task(tmp_path, statistics=statistics)
    again = task(tmp_path, statistics=statistics)
    assert torch.equal(given.images, again.images)
    with pytest.raises(ValueError, match="another statistics"):
        task(tmp_path)


def test_what_a_killed_writer_left_is_cleaned(task, cut_off):
    left = [cut_off / ".state" / ".state.pt-abc", cut_off / ".images.safetensors-abc", cut_off / ".card.json-abc"]
    for folder in left:
        folder.mkdir()
        (folder / "half").write_bytes(b"1234")
    task(cut_off)
    assert not any(folder.exists() for folder in left)


def test_nothing_is_left_where_nothing_was_begun(tmp_path):
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "a" / "b", tmp_path / "mine"):
        with Checkpoint(folder):
            assert (folder / ".state").is_dir()
        assert folder.exists() == (folder.name == "mine")
    assert [p.name for p in tmp_path.rglob("*")] == ["mine"], "the reader's own folder stays"


# ---------------------------------------------------------------------------------------- no space, read-only


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5, 6, 7])
def test_a_state_that_cannot_be_written_leaves_the_one_before(task, tmp_path, monkeypatch, number, call):
    whole, original, calls = task(), os.fsync, itertools.count(1)

    def fail(descriptor):
        if next(calls) == call:
            raise OSError(number, os.strerror(number))
        original(descriptor)

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match=rf"cannot write .*\({os.strerror(number)}\).*same command again"):
        task(tmp_path / "run")
    assert (tmp_path / "run").exists() == (call > 1)
    resumed = task(tmp_path / "run")
    assert torch.equal(resumed.images, whole.images)
    assert resumed.history == whole.history


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, of one megabyte."""
    (tmp_path / "disk").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "unidd-test", str(tmp_path / "disk")]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield tmp_path / "disk"
    subprocess.run(["umount", str(tmp_path / "disk")], check=True)


class Filling(Checkpoint):
    """Finds the disk full once a batch is kept."""

    def save(self, state):
        super().save(state)
        if state["position"]["step"] == 0:
            with contextlib.suppress(OSError), open(self.out.parent / "full", "wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass


def test_a_disk_that_is_full(task, disk):
    whole = task()
    with pytest.raises(OSError, match="No space left on device"):
        task(disk / "run", kind=Filling)
    (disk / "full").unlink()
    assert not list((disk / "run" / ".state").glob(".*"))
    assert torch.equal(task(disk / "run").images, whole.images)


def test_a_disk_that_has_become_read_only(task, disk):
    interrupt(task, disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OSError, match=r"cannot write to .*/run \(Read-only file system\): choose another folder"):
        task(disk / "run")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert torch.equal(task(disk / "run").images, task().images)
