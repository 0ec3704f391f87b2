"""Several processes against one: real deaths, and the command under real `torchrun`."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest
import ranks_job
import torch
from toys import rand

from unidd.cli import main
from unidd.core.statistics import Moments
from unidd.data import augment
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side

pytestmark = pytest.mark.slow  # processes of their own

JOB = Path(ranks_job.__file__)


def torchrun(*args, processes: int = 2) -> subprocess.CompletedProcess:
    """Processes of the job are started afresh."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(JOB.parent.parent)}
    return forked.run([*command, *args], env=environment)


def job(what: str, folder: Path) -> subprocess.CompletedProcess:
    return torchrun(JOB, what, folder)


def side_by_side(what: str, folder: Path) -> None:
    """The job in two processes as torchrun would start them, forked."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", JOB.stem, what, folder]
    both = [forked.Command(command, env=os.environ | where | {"RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
    try:
        while None in (codes := [process.poll() for process in both]) and not any(codes):
            time.sleep(0.05)
    finally:
        for process in both:  # one that has failed is waited for by the other
            process.kill()
    assert codes == [0, 0], [process.wait().stderr for process in both]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    side_by_side("cases", folder)
    return folder


def report(cases: Path) -> list[dict]:
    return [json.loads((cases / rank / "report.json").read_text()) for rank in "01"]


# ---------------------------------------------------------------------------------------- equal to one process


@pytest.mark.parametrize("name", [name for name in ranks_job.CASES if name not in ("single", "half")])
def test_two_processes_give_the_images_of_one(cases, name):
    one, two = ranks_job.run(name), SyntheticSet.load(cases / "0" / name)
    start = SyntheticSet.from_real(ranks_job.photos(len(one.class_names)), one.config["ipc"])
    assert (one.images - two.images).abs().max() < 1e-5
    assert (one.images - start.images).abs().mean() > 0.01, "the run must have moved the images"
    assert torch.equal(one.labels, two.labels)
    for mine, theirs in zip(one.history, two.history, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9)
    other = SyntheticSet.load(cases / "1" / name)
    assert torch.equal(two.images, other.images), "every process has the whole set"
    assert two.history == other.history


@pytest.mark.parametrize(("name", "tolerance"), [("single", 1e-5), ("half", 1e-2)])
def test_less_precision_is_as_near_as_adam_allows(cases, name, tolerance):
    """Rounding flips the step of a pixel whose gradient is all but zero; such pixels are few."""
    one, two = ranks_job.run(name), SyntheticSet.load(cases / "0" / name)
    apart = (one.images - two.images).abs()
    assert (apart < tolerance).double().mean() > 0.95
    assert apart.mean() < tolerance


def test_the_real_side_is_shared_merged_and_kept_once(cases, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path))
    data = ranks_job.photos()
    one = real_side("mix", data, ranks_job.teacher(data).model, Ranks())
    for rank in "01":
        two = torch.load(cases / rank / "real.pt", weights_only=True)
        for layer, moments in one.items():
            other = Moments(*two[layer])
            assert other.count == moments.count
            size = (moments.ffc.trace() + moments.mean.square().sum()).sqrt()  # of a feature
            assert (other.mean - moments.mean).norm() <= 1e-12 * size
            assert (other.ffc - moments.ffc).norm() <= 1e-12 * size**2
            assert (other.flc - moments.flc).norm() <= 1e-12 * size
    first, second = (each["seen"] for each in report(cases))
    assert (first[0], second[0]) == (400, 800), "three batches of 400, none seen twice"
    assert sum(first + second) == 1200 * 3 + 1080, "one pass for each signal, and one for nine classes"
    assert len(list((cases / "0" / "cache" / "statistics").iterdir())) == 4
    assert not (cases / "1" / "cache").exists()


def test_every_process_sees_every_batch_whole(cases):
    first, second = (each["batches"] for each in report(cases))
    rounds = [b for b, *_ in first]
    assert rounds == [b for b, *_ in second] == [0, 0, 0, 1, 1, 1]
    assert [whole for *_, whole in first] == [whole for *_, whole in second] == [4, 4, 2] * 2
    assert [own for _, own, _ in first] == [own for _, own, _ in second] == [2, 2, 1] * 2


def test_only_the_first_process_shows_progress(cases):
    first, second = (each["progress"] for each in report(cases))
    assert "18/18" in first
    assert second == ""


def test_what_the_first_finds_or_fails_at_reaches_all(cases):
    for each in report(cases):
        assert each["shared"] == {"a": [0]}
        assert "of the first" in each["failed"]


def test_fewer_images_than_processes_is_an_error_in_each(cases):
    for each in report(cases):
        assert each["refused"] == "a batch of 2 images cannot be shared by 3 processes: start fewer"


# ------------------------------------------------------------------------------------------------------ the command

COMMAND = ["distill", "cfm", "--dataset=digits", "--ipc=2", "--budget=smoke", "--precision=float64", "--signal=mix"]


@pytest.mark.slow
def test_the_command_gives_the_images_of_one_process_from_one_start(tmp_path, monkeypatch):
    SyntheticSet.from_real(load("digits"), 3, seed=4).save(tmp_path / "start")
    command = [*COMMAND, "--group", "6", "--start", str(tmp_path / "start")]
    done = torchrun("-m", "--", "unidd", *command, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("starting from 20 of the 30 images") == 1, "one process reports"
    assert done.stdout.count("20 images in") == 1
    monkeypatch.setattr(sys, "argv", ["unidd", *command, "--out", str(tmp_path / "one")])
    main()
    one, two = (SyntheticSet.load(tmp_path / name) for name in ("one", "two"))
    assert (one.images - two.images).abs().max() < 1e-5
    assert one.config == two.config
    assert one.config["start"]["config"]["first"] == 2
    assert {p.name for p in (tmp_path / "two").iterdir()} == {"images.safetensors", "card.json", "preview.png"}


@pytest.mark.slow
def test_the_command_refuses_too_many_processes_before_any_work(tmp_path):
    done = torchrun("-m", "--", "unidd", *COMMAND, "--group", "9", "--out", tmp_path / "out")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "unidd: error" in line]
    assert lines, "each process says it, but torchrun may end the later one before it does"
    assert all("a batch of 1 images cannot be shared by 2 processes: start fewer" in line for line in lines)
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------------- a process dies


@pytest.mark.slow
@pytest.mark.parametrize(("how", "word"), [("kill", "SIGKILL"), ("fail", "one of two has had enough")])
def test_a_dead_process_ends_the_job_and_the_run_goes_on(cases, tmp_path, how, word):
    began = time.monotonic()
    done = job(how, tmp_path)
    assert time.monotonic() - began < 120
    assert done.returncode != 0
    assert word in done.stderr
    assert not (tmp_path / "0" / "card.json").exists()
    assert {p.name for p in (tmp_path / "run" / ".state").iterdir()} >= {"state.pt"}

    alone = tmp_path / "alone"
    shutil.copytree(tmp_path / "run", alone)
    expected = SyntheticSet.load(cases / "0" / "long")
    gone_on = ranks_job.run("long", checkpoint=Checkpoint(alone))
    assert (gone_on.images - expected.images).abs().max() < 1e-5, "a single process can take over"
    if how == "kill":
        side_by_side("end", tmp_path)
        again = SyntheticSet.load(tmp_path / "0")
        assert torch.equal(again.images, expected.images), "bit for bit"
        assert again.history == expected.history


# ------------------------------------------------------------------------------------------------------ augmentation


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("kind", ["random_resized_crop", "flip"])
def test_a_part_is_augmented_as_in_the_whole_batch(kind, world):
    """The same draws, and the generator stands where it would have: the next step's are the same too."""
    change, images = getattr(augment, kind), rand(7, 3, 12, 12)
    generator = torch.Generator().manual_seed(1)
    whole = change(images, generator)
    parts = []
    for rank in range(world):
        own, slot = torch.Generator().manual_seed(1), Ranks(rank, world).slot(7)
        parts.append(change(images[slot], own, slot=(slot.start, 7)))
        assert torch.equal(own.get_state(), generator.get_state())
    assert (torch.cat(parts) - whole).abs().max() < 1e-6
    assert (whole - images).abs().max() > 0.1


# ------------------------------------------------------------------------------------------------- a single process


def test_without_torchrun_there_is_one_process(monkeypatch):
    for world in (None, "1"):
        monkeypatch.delenv("WORLD_SIZE", raising=False) if world is None else monkeypatch.setenv("WORLD_SIZE", world)
        assert Ranks.join("mps") == (Ranks(), "mps")
    one = Ranks()
    x = torch.arange(3)
    assert one.first
    assert one.all_sum is None
    assert one.slot(3) == slice(0, 3)
    assert one.gather(x) is x
    assert one.merge({}) == {}
    assert one.from_first(lambda: 5) == 5
    one.leave()


def test_devices_that_cannot_be_shared(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="mps"):
        Ranks.join("mps")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"GPU of its own.*2"):
        Ranks.join("cuda")


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_parts_are_even_and_in_order(world):
    for n in range(world, 20):
        parts = [Ranks(rank, world).slot(n) for rank in range(world)]
        assert [i for part in parts for i in range(n)[part]] == list(range(n))
        sizes = [part.stop - part.start for part in parts]
        assert max(sizes) - min(sizes) <= 1
    with pytest.raises(ValueError, match=f"{world - 1} images cannot be shared by {world}"):
        Ranks(0, world).slot(world - 1)
