"""Decoded images that are kept: the same pixels, found again, whole or not there, and one line when they cannot be."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unidd.data import decoding, store
from unidd.data.datasets import ImageData, Split

RNG = np.random.default_rng(3)
NAMES = [f"{i:02}.png" for i in range(23)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache; everything counts as large, and a shard holds four images."""
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_SMALL", 0)
    monkeypatch.setattr(store, "_FEW", 0)
    monkeypatch.setattr(store, "_SHARD", 4 * 3 * 6 * 6)
    monkeypatch.setattr(decoding, "processors", lambda: 1)
    return tmp_path / "cache" / "images"


@pytest.fixture
def files(tmp_path):
    """Pictures of noise, the last of which is grey."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in NAMES[:-1]:
        Image.fromarray(RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(folder / name)
    Image.fromarray(RNG.integers(0, 256, (6, 6), dtype=np.uint8)).save(folder / NAMES[-1])
    return [folder / name for name in NAMES]


def oracle(files):
    """By Pillow alone."""
    return torch.stack([torch.from_numpy(np.array(Image.open(f).convert("RGB"))).permute(2, 0, 1) for f in files])


def again(monkeypatch):
    """From here on decoding is an error."""

    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(store, "decode_all", refuse)


def folder_of(cache):
    (found,) = (path for path in cache.iterdir() if path.is_dir() and path.name != "known")
    return found


def flip(path, place, keep_time=False):
    stat = path.stat()
    with open(path, "r+b") as file:
        file.seek(place)
        old = file.read(1)
        file.seek(place)
        file.write(bytes([old[0] ^ 255]))
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def data_of(images, name="kept"):
    half = Split(images, torch.arange(len(images)) % 2)
    return ImageData(name, half, half, ("a", "b"))


# ------------------------------------------------------------------------------------------------------- the pixels


@pytest.mark.parametrize("workers", [1, 3])
def test_pixels_are_those_of_the_files_in_their_order(cache, files, monkeypatch, workers):
    monkeypatch.setattr(decoding, "processors", lambda: workers)
    images, remarks = store.decoded(files[::-1], 6, 3)
    assert torch.equal(images, oracle(files[::-1]))
    assert remarks == Counter({"grey to colour": 1})
    assert (folder_of(cache) / "pixels.u8").stat().st_size == 23 * 3 * 36


def test_the_same_pictures_are_found_again(cache, files, monkeypatch):
    first, said = store.decoded(files, 6, 3)
    again(monkeypatch)
    monkeypatch.chdir(files[0].parent)
    for paths in (files, [Path(name) for name in NAMES], [Path("..", "pictures", name) for name in NAMES]):
        images, remarks = store.decoded(paths, 6, 3)
        assert torch.equal(images, first)
        assert remarks == said
    with pytest.raises(AssertionError, match="decoded again"):
        store.decoded(files, 6, 1)


def same_size(path, _):
    """Another picture of as many bytes, with the time of the first: only the change of state tells."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda path, other: shutil.copyfile(other, path),
        lambda path, other: os.utime(path, ns=(0, 10**18)),
        lambda path, other: os.replace(other, path),
        same_size,
    ],
    ids=["other pixels", "other time", "renamed", "same size and time"],
)
def test_a_changed_picture_is_decoded_again(cache, files, monkeypatch, change, tmp_path):
    store.decoded(files, 6, 3)
    other = tmp_path / "other.png"
    Image.fromarray(np.full((6, 6, 3), 7, np.uint8)).save(other)
    change(files[5], other)
    again(monkeypatch)
    with pytest.raises(AssertionError, match="decoded again"):
        store.decoded(files, 6, 3)


def test_few_pictures_are_read_each_time_and_not_kept(cache, files, monkeypatch):
    monkeypatch.setattr(store, "_SMALL", 2**20)
    images, remarks = store.decoded(files, 6, 3)
    assert torch.equal(images, oracle(files))
    assert remarks == Counter({"grey to colour": 1})
    assert not cache.exists()


@pytest.mark.slow
def test_a_script_without_a_guard_may_load_its_pictures(cache, files, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom unidd.data import decoding, store\n"
        "store._SMALL, store._SHARD, decoding.processors = 0, 500, lambda: 2\n"
        f"images, _ = store.decoded(sorted(Path({str(files[0].parent)!r}).iterdir()), 6, 3)\n"
        "print('once', int(images.long().sum()))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == f"once {int(oracle(files).long().sum())}\n"


# ------------------------------------------------------------------------------------------- what was worked out


def test_mean_std_and_fingerprint_are_those_of_the_same_images_in_memory(cache, files, monkeypatch):
    images, _ = store.decoded(files, 6, 3)
    kept, plain = data_of(images), data_of(images.clone(), "plain")
    assert (kept.mean, kept.std) == (plain.mean, plain.std)
    assert kept.fingerprint == plain.fingerprint

    def refuse(*_):
        raise AssertionError("read all pixels")

    monkeypatch.setattr(store, "_parts", refuse)
    monkeypatch.setattr(torch, "bincount", refuse)
    found = data_of(store.decoded(files, 6, 3)[0])
    assert (found.mean, found.std, found.fingerprint) == (plain.mean, plain.std, plain.fingerprint)
    assert found.to("cpu").fingerprint == plain.fingerprint
    twin = ImageData("kept", found.train, found.test, ("a", "c"))
    with pytest.raises(AssertionError, match="read all pixels"):
        _ = twin.fingerprint


def test_what_one_writes_to_the_images_stays_in_memory_and_is_noticed(cache, files, monkeypatch):
    images, _ = store.decoded(files, 6, 3)
    before = data_of(images).fingerprint
    images[3] = 255 - images[3]
    changed = data_of(images)
    assert changed.fingerprint == data_of(images.clone()).fingerprint != before
    assert changed.mean == data_of(images.clone()).mean
    again(monkeypatch)
    assert torch.equal(store.decoded(files, 6, 3)[0], oracle(files))


def test_a_value_is_worked_out_again_only_when_a_file_changes(cache, files):
    calls = []
    for change in (lambda: None, lambda: None, lambda: os.utime(files[0])):
        change()
        assert store.remembered("how many", files, lambda: calls.append(1) or len(files)) == 23
    assert len(calls) == 2
    assert store.remembered("another", files, lambda: "other") == "other"
    (cache / "known").joinpath(next(os.walk(cache / "known"))[2][0]).write_text("{")
    assert store.remembered("how many", files, lambda: 23) == 23


def test_where_nothing_can_be_remembered_it_is_worked_out(files, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "file"))
    assert store.remembered("how many", files, lambda: len(files)) == 23


def resident():
    with open("/proc/self/smaps") as file:
        sizes, within = 0, False
        for line in file:
            within = line.rstrip().endswith("pixels.u8") or (within and not re.match(r"[0-9a-f]+-[0-9a-f]+ ", line))
            sizes += int(line.split()[1]) if within and line.startswith("Rss:") else 0
    return sizes


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_memory_of_a_pass_is_given_back_and_changes_are_kept(cache, files):
    images, _ = store.decoded(files, 6, 3)
    images[2] = 9
    assert images.sum() > 0
    assert resident() > 0
    before = images.clone()
    store.release(images)
    assert torch.equal(images, before)
    store.release(before)


# ------------------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(folder / "pixels.u8", 100),
        lambda folder: (folder / "pixels.u8").unlink(),
        lambda folder: (folder / "card.json").unlink(),
        lambda folder: (folder / "card.json").write_text("{}"),
        lambda folder: (folder / "card.json").write_text("{ half"),
        lambda folder: flip(folder / "pixels.u8", 700),
    ],
    ids=["cut off", "no pixels", "no card", "empty card", "half a card", "a byte"],
)
def test_a_damaged_cache_is_made_again_and_it_is_said(cache, files, capsys, damage):
    store.decoded(files, 6, 3)
    damage(folder_of(cache))
    capsys.readouterr()
    assert torch.equal(store.decoded(files, 6, 3)[0], oracle(files))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(folder_of(cache)) in said
    assert "decoded again" in said


def test_a_byte_changed_under_its_old_time_is_found_by_a_full_check(cache, files, monkeypatch, capsys):
    _ = data_of(store.decoded(files, 6, 3)[0]).fingerprint
    flip(folder_of(cache) / "pixels.u8", 700, keep_time=True)
    images, _ = store.decoded(files, 6, 3)
    assert not torch.equal(images, oracle(files)), "the check of every start is a quick one"
    with pytest.raises(ValueError, match=r"1 of 6 parts of .* are damaged: delete that folder"):
        _ = ImageData("new", data_of(images).train, data_of(images).test, ("x", "y")).fingerprint
    monkeypatch.setenv("UNIDD_CHECK", "1")
    assert torch.equal(store.decoded(files, 6, 3)[0], oracle(files))
    assert "decoded again" in capsys.readouterr().err


def test_a_copied_cache_is_looked_at_once_more_and_used(cache, files, monkeypatch):
    store.decoded(files, 6, 3)
    os.utime(folder_of(cache) / "pixels.u8")
    again(monkeypatch)
    assert torch.equal(store.decoded(files, 6, 3)[0], oracle(files))


KILLED = """
import os, signal, sys
from pathlib import Path
from unidd.data import decoding, store
store._SMALL, store._SHARD, decoding.processors = 0, 500, lambda: 1
def half(shards):
    yield decoding.decode(shards[0])
    os.kill(os.getpid(), signal.SIGKILL)
store.decode_all = half
store.decoded(sorted(Path(sys.argv[1]).iterdir()), 6, 3)
"""


@pytest.mark.slow
def test_a_killed_decode_leaves_nothing_that_counts(cache, files, monkeypatch):
    done = subprocess.run([sys.executable, "-c", KILLED, files[0].parent])
    assert done.returncode == -signal.SIGKILL
    assert [path.suffix for path in cache.iterdir() if path.is_dir()] == [".part"]
    (cache / "of-another.part").mkdir()
    assert torch.equal(store.decoded(files, 6, 3)[0], oracle(files))
    assert not list(cache.glob("*.part"))


TOGETHER = """
import sys
from pathlib import Path
from unidd.data import decoding, store
store._SMALL, store._SHARD, decoding.processors = 0, 500, lambda: 2
print(int(store.decoded(sorted(Path(sys.argv[1]).iterdir()), 6, 3)[0].long().sum()))
"""


@pytest.mark.slow
def test_two_processes_at_once_leave_one_cache(cache, files):
    command = [sys.executable, "-c", TOGETHER, files[0].parent]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [f"{int(oracle(files).long().sum())}\n"] * 2
    assert folder_of(cache).name.isalnum()


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_cannot_be_read_is_named_and_nothing_is_left(cache, files, monkeypatch, workers):
    monkeypatch.setattr(decoding, "processors", lambda: workers)
    files[9].write_bytes(files[9].read_bytes()[:60])
    with pytest.raises(ValueError, match=NAMES[9]):
        store.decoded(files, 6, 3)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["before", "while it is reserved", "while it is written"])
def test_a_full_disk_is_one_line_and_nothing_is_left(cache, files, monkeypatch, where):
    if where == "before":
        usage = namedtuple("usage", "total used free")(100, 99, 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    elif where == "while it is reserved":
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    else:
        monkeypatch.setattr(store, "decode_all", lambda shards: (full() for _ in shards))
    with pytest.raises(OSError, match=r"cannot keep 0 MB of decoded images in .*make room, or set UNIDD_CACHE") as said:
        store.decoded(files, 6, 3)
    assert "\n" not in str(said.value)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_a_cache_that_cannot_be_written_is_one_line(files, cache, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="set UNIDD_CACHE to another folder"):
        store.decoded(files, 6, 3)


def test_what_is_there_needs_no_writing(cache, files, monkeypatch):
    store.decoded(files, 6, 3)
    monkeypatch.setattr(store, "FileLock", full)
    again(monkeypatch)
    assert torch.equal(store.decoded(files, 6, 3)[0], oracle(files))


def test_a_process_that_breaks_off_is_one_line(cache, files, monkeypatch):
    monkeypatch.setattr(decoding, "processors", lambda: 2)
    start = decoding._start

    def dying():
        process = start()
        process.kill()
        return process

    monkeypatch.setattr(decoding, "_start", dying)
    with pytest.raises(OSError, match="broke off"):
        store.decoded(files, 6, 3)


def test_much_is_said_before(cache, files, monkeypatch, capsys, terminal):
    store.decoded(files, 6, 3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(store, "_SAID", 1000)
    store.decoded(files[1:], 6, 3)
    assert capsys.readouterr().err == f"decoding 22 pictures once, to 0 MB in {cache}\n"


# ------------------------------------------------------------------------------------------------- part of the whole


def test_many_images_of_a_file_become_a_file(cache, files, monkeypatch):
    monkeypatch.setattr(store, "_LARGE", 9 * 108)
    data = data_of(store.decoded(files, 6, 3)[0])
    index = torch.tensor([20, 3, 3, 0, 22, 7, 9, 1, 2, 5])
    part = data.train.take(index)
    assert torch.equal(part.images, oracle(files)[index])
    assert len([path for path in cache.iterdir() if path.is_dir() and path.name != "known"]) == 2
    assert data_of(part.images).mean == data_of(part.images.clone()).mean
    assert data_of(part.images).fingerprint == data_of(part.images.clone()).fingerprint
    monkeypatch.setattr(store, "_copy", full)
    assert torch.equal(data.train.take(index).images, part.images), "found again"
    with pytest.raises(OSError, match="make room"):
        data.train.take(index.flip(0))


def test_few_images_or_changed_ones_are_a_copy(cache, files, monkeypatch):
    images, _ = store.decoded(files, 6, 3)
    assert store.taken(images, torch.arange(5)).tolist() == images[:5].tolist()
    monkeypatch.setattr(store, "_LARGE", 0)
    images[0] = 0
    monkeypatch.setattr(store, "_copy", full)
    assert store.taken(images, torch.arange(5)).tolist() == images[:5].tolist()
    assert store.taken(images, torch.arange(23) < 5).tolist() == images[:5].tolist()


def test_holding_out_validation_images_is_the_same_from_a_file(cache, files, monkeypatch):
    monkeypatch.setattr(store, "_LARGE", 0)
    images, _ = store.decoded(files, 6, 3)
    ours, plain = (data_of(x).split_validation(0.3) for x in (images, images.clone()))
    assert ours.fingerprint == plain.fingerprint
    assert (ours.mean, len(ours.train), len(ours.test)) == (plain.mean, len(plain.train), len(plain.test))
