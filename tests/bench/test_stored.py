"""Bytes of a set, counted by hand."""

import torch

from tests.records import record
from unidd.bench.records import stored_bytes
from unidd.bench.stored import bytes_of, taken
from unidd.networks.models import ModelConfig, build

CONVNET = {"name": "convnet", "width": 2, "depth": None, "norm": "batch", "pooling": "avg"}
# Three convolutions of 1·9·2 + 2 and twice 2·9·2 + 2 numbers, three norms of 8 and a counter, a head of 2·10 + 10.
TEACHER = 4 * (20 + 2 * 38 + 3 * 8 + 30) + 3 * 8


def of(ipc=10, **changes):
    cards = [{"hash": f"t{seed}", "accuracy": 90.0, "architecture": CONVNET} for seed in range(3)]
    return record("random", ipc, **{"dataset": "digits", "teachers": cards} | changes)


def test_bytes_against_a_hand_count(digits):
    assert bytes_of(of(), digits) == {"images": 6400, "hard": 100, "fixed-soft": 4000, "online-soft": TEACHER}
    assert taken(of()) == {"hard": 6500, "fixed-soft": 10400, "online-soft": 6400 + TEACHER}
    nobody = of(teachers=[{"hash": "t", "accuracy": 90.0}])
    assert set(taken(nobody)) == {"hard", "fixed-soft"}, "a card without an architecture counts no teacher"
    assert taken(of(dataset="elsewhere")) == {}


def test_what_a_record_says_of_its_bytes_counts(digits):
    said = {"images": 10, "hard": 1, "online-soft": 5}
    assert taken(of(bytes=said)) == {"hard": 11, "online-soft": 15}
    assert bytes_of(of(ipc=1, bytes={"images": 7}, teachers=[]), digits) == {
        "images": 7,
        "hard": 10,
        "fixed-soft": 400,
    }
    assert bytes_of(of()) == {}


def test_all_images_and_a_teacher_of_another_width(digits):
    assert bytes_of(of(ipc=None, teachers=[]), digits)["images"] == len(digits.train) * 64
    built = {"name": "convnet", "width": 8}
    taught = of(teachers=[{"accuracy": 1.0, "architecture": built}])
    network = build(ModelConfig(**built), 1, 8, 10)
    assert bytes_of(taught, digits) == stored_bytes(torch.zeros(100, 1, 8, 8), 10, network)
