"""Images that stay with the host: what is taken of them is the same, and only that is copied."""

import pickle

import pytest
import torch
import toys
from devices import Elsewhere, Far
from hypothesis import given
from hypothesis import strategies as st

from unidd.data import hosted, store
from unidd.data.hosted import Hosted, placed

NEAR = toys.data().train.images
N = len(NEAR)


@pytest.fixture
def crowded(monkeypatch):
    """A GPU with a single free byte."""
    monkeypatch.setattr(hosted, "free", lambda device: None if device.type == "cpu" else 1)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(store, "say", lines.append)
    return lines


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


@pytest.mark.parametrize("change", [lambda images: images.zero_(), lambda images: images[2:4].add_(1)])
def test_they_cannot_be_changed(change):
    with pytest.raises(RuntimeError, match="change them before they are moved"):
        change(Hosted(NEAR, torch.device("meta")))


def test_a_pickle_has_the_images():
    assert torch.equal(pickle.loads(pickle.dumps(Hosted(NEAR, torch.device("meta")))), NEAR)


@pytest.mark.parametrize(("room", "stays"), [(None, False), (2 * NEAR.numel(), False), (2 * NEAR.numel() - 1, True)])
def test_they_stay_where_they_would_take_more_than_half_of_what_is_free(monkeypatch, room, stays):
    monkeypatch.setattr(hosted, "free", lambda _: room)
    lines = []
    with Elsewhere("meta") as place:
        assert isinstance(placed(NEAR, place.device, lines.append), Hosted) == stays
    assert len(lines) == stays
    assert all("stay in main memory: meta has 0.0 GB left" in line for line in lines)


def test_a_gpu_is_asked_and_no_other_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 9))
    assert [hosted.free(torch.device(name)) for name in ("cpu", "meta", "cuda")] == [None, None, 7]


def test_data_are_taken_apart_as_ever(crowded, said):
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
        back = data.to("cpu")
    assert not isinstance(back.train.images, Hosted)
    assert torch.equal(back.train.images, NEAR)
    assert said


def test_what_is_known_of_a_file_of_pixels_stays_known(crowded, said, monkeypatch):
    card = store.Card(tuple(NEAR.shape), N, ("0",), 0, store.histogram(NEAR).tolist(), {})
    there = NEAR.clone()
    store._stored[there] = "folder", card, there._version
    images = store.moved(there, "meta")
    monkeypatch.setattr(torch, "bincount", None)
    assert store.histogram(images).tolist() == card.counts
    released = []
    store._maps[there] = type("Map", (), {"madvise": lambda _, advice: released.append(advice)})()
    store.release(images)
    assert released == [store._PAGE_OUT] * store.sys.platform.startswith("linux")
