"""Images that stay with the host: what is taken of them is the same, and only that is copied."""

import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
import toys
from devices import Elsewhere, Far
from hypothesis import given
from hypothesis import strategies as st

from unidd.data import hosted, store
from unidd.data.hosted import Hosted, placed
from unidd.data.remarks import DataNote

NEAR = toys.data().train.images
N = len(NEAR)


@pytest.fixture
def crowded(monkeypatch):
    """A GPU with a single free byte."""
    monkeypatch.setattr(hosted, "free", lambda device: None if device.type == "cpu" else 1)


TAKEN = {
    "by number": lambda images: images[torch.tensor([3, 0, 3])],
    "by number there": lambda images: images[torch.tensor([3, 0]).to(images.device)],
    "by mask": lambda images: images[torch.arange(N) % 3 == 0],
    "one channel by number": lambda images: images[:, torch.tensor([1])],
    "a slice as numbers": lambda images: images[2:5].float(),
    "one image as numbers": lambda images: images[4] + 0,
    "parts of a slice": lambda images: torch.stack([part.double().sum() for part in images[1:9].split(3)]),
    "compared": lambda images: images[:6] != images[:1],
    "joined": lambda images: torch.cat([images[5:6], images[2:3]]),
    "a channel": lambda images: images.unbind(1)[2].flatten().int(),
}


@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
def test_what_is_taken_is_there_and_the_same(take):
    with Elsewhere("meta") as place:
        images = Hosted(NEAR, place.device)
        found = take(images)
        assert isinstance(found, Far)
        assert torch.equal(found.cpu(), take(NEAR))


def test_it_says_where_it_is_and_what_it_is():
    images = Hosted(NEAR, torch.device("meta"))
    assert (images.shape, images.dtype, images.device.type, len(images)) == (NEAR.shape, torch.uint8, "meta", N)
    assert repr(images) == f"Hosted({tuple(NEAR.shape)}, device=meta)"
    assert images.cpu() is NEAR


@given(st.integers(0, N), st.integers(0, N), st.integers(1, 9))
def test_parts_are_copied_only_when_they_are_used(first, last, size):
    parts = Hosted(NEAR, torch.device("meta"))[first:last].split(size)
    storage = NEAR.untyped_storage().data_ptr()
    assert all(isinstance(part, Hosted) and part.near.untyped_storage().data_ptr() == storage for part in parts)
    assert [part.near.tolist() for part in parts] == [part.tolist() for part in NEAR[first:last].split(size)]


CHANGES = {
    "in place": lambda images: images.zero_(),
    "a part": lambda images: images[2:4].add_(1),
    "as an output": lambda images: torch.add(NEAR, 1, out=images),
    "in a list": lambda images: torch._foreach_add_([images], 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_they_cannot_be_changed(change):
    before = NEAR.clone()
    with pytest.raises(RuntimeError, match="cannot be changed: do it before they are moved"):
        change(Hosted(NEAR, torch.device("meta")))
    assert torch.equal(NEAR, before)


@pytest.mark.parametrize(
    ("copied", "shared"), [(copy.copy, True), (copy.deepcopy, False), (lambda x: pickle.loads(pickle.dumps(x)), False)]
)
def test_a_copy_is_hosted_too(copied, shared):
    images = copied(Hosted(NEAR, torch.device("meta")))
    assert isinstance(images, Hosted)
    assert torch.equal(images.near, NEAR)
    assert (images.near is NEAR) == shared


def test_inference_takes_parts_too():
    with torch.inference_mode():
        assert torch.equal(Hosted(NEAR, torch.device("meta"))[3:5].near, NEAR[3:5])


def test_what_would_not_fit_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(hosted, "_BATCH", 0)
    monkeypatch.setattr(hosted, "free", lambda _: 4 * NEAR[:1].numel())
    images = Hosted(NEAR, torch.device("meta"))
    assert images[:2].float().shape == NEAR[:2].shape
    with pytest.raises(RuntimeError, match=r"0\.0 GB of images would be copied to meta: take fewer at once"):
        images.float()


@pytest.mark.parametrize(("room", "stays"), [(None, False), (2 * NEAR.numel(), False), (2 * NEAR.numel() - 1, True)])
def test_they_stay_where_they_would_take_more_than_half_of_what_is_free(monkeypatch, room, stays):
    monkeypatch.setattr(hosted, "free", lambda _: room)
    note = pytest.warns(DataNote, match="stay in main memory.* half of the 0.0 GB that are free on meta")
    with Elsewhere("meta") as place, note if stays else nullcontext():
        assert isinstance(placed(NEAR, place.device), Hosted) == stays


def test_a_gpu_is_asked_and_no_other_device(monkeypatch):
    for name, bytes in (("mem_get_info", (70, 90)), ("memory_reserved", 5), ("memory_allocated", 3)):
        monkeypatch.setattr(torch.cuda, name, lambda device, bytes=bytes: bytes)
    assert [hosted.free(torch.device(name)) for name in ("cpu", "meta", "cuda")] == [None, None, 72]


def test_they_say_which_gpu(monkeypatch):
    """As tensors do that are there: networks are looked at for the same device."""
    monkeypatch.setattr(hosted, "free", lambda _: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    with pytest.warns(DataNote, match="free on cuda:3"):
        images = placed(NEAR, torch.device("cuda"))
    assert images.device == torch.device("cuda", 3)
    assert placed(images, torch.device("cuda")) is images
    with pytest.warns(DataNote, match="free on cuda:1"):
        moved = placed(images, torch.device("cuda", 1))
    assert moved.near is NEAR


@pytest.mark.filterwarnings("ignore::unidd.data.remarks.DataNote")
def test_data_are_taken_apart_as_ever(crowded, monkeypatch):
    monkeypatch.setattr(store, "_LARGE", 100)
    with Elsewhere("meta") as place:
        data = toys.data().to(place.device)
        parts = data.split_validation(0.4), data.only(["bee", "dog"])
        assert all(isinstance(part.train.images, Hosted) for part in (data, *parts))
        assert data.device == place.device
        assert data.fingerprint == toys.data().fingerprint
        assert (data.mean, data.std) == (toys.data().mean, toys.data().std)
        for part, expected in zip(parts, (toys.data().split_validation(0.4), toys.data().only([1, 3])), strict=True):
            assert torch.equal(part.train.images.cpu(), expected.train.images)
            assert torch.equal(part.test.images.cpu(), expected.test.images)
        grey, back = data.with_channels(1), data.to("cpu")
        assert isinstance(grey.train.images, Hosted)
        assert torch.equal(grey.train.images.cpu(), toys.data().with_channels(1).train.images)
    assert not isinstance(back.train.images, Hosted)
    assert torch.equal(back.train.images, NEAR)


@pytest.mark.filterwarnings("ignore::unidd.data.remarks.DataNote")
def test_few_of_them_are_copied(crowded):
    with Elsewhere("meta") as place:
        part = toys.data().to(place.device).train.take(torch.tensor([4, 1]))
        assert isinstance(part.images, Far)
        assert torch.equal(part.images.cpu(), NEAR[[4, 1]])


@pytest.mark.filterwarnings("ignore::unidd.data.remarks.DataNote")
def test_what_is_known_of_a_file_of_pixels_stays_known(crowded, monkeypatch):
    card = store.Card(tuple(NEAR.shape), N, ("0",), 0, store.histogram(NEAR).tolist(), {})
    there = NEAR.clone()
    store._stored[there] = "folder", card, there._version
    images = store.moved(there, "meta")
    with monkeypatch.context() as patch:
        patch.setattr(torch, "bincount", None)
        assert store.histogram(images).tolist() == card.counts
    released = []
    store._maps[there] = type("Map", (), {"madvise": lambda _, advice: released.append(advice)})()
    store.release(images)
    assert released == [store._PAGE_OUT] * store.sys.platform.startswith("linux")
    there[0] = 0
    assert store._entry(images) is None
