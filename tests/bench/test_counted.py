"""Operations on a device that is not there: against PyTorch's own counter, by hand, and beside a GPU's times."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unidd.bench import counted, measuring
from unidd.bench.counted import Counter, Device
from unidd.bench.elsewhere import Far
from unidd.bench.records import published
from unidd.networks.models import ModelConfig, build

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import count

NEVER = float("inf")
BY_RATE, BY_BYTES = Device("rate", 1.0, 1.0, NEVER, 0.0, 0.0), Device("bytes", NEVER, NEVER, 1.0, 0.0, 0.0)
BY_START = Device("start", NEVER, NEVER, NEVER, 1.0, 100.0)


def taken(device, work, *shapes):
    """The seconds of some work on new tensors."""
    with Counter(device) as counter:
        given = [torch.empty(shape, device="meta") for shape in shapes]
        before = counter.seconds
        work(*given)
        return counter.seconds - before


def test_what_multiplies_takes_its_operations_forward_and_back():
    def work(network, images):
        network(images).square().sum().backward()

    network, images = build(ModelConfig(width=4), 3, 16, 10), torch.rand(5, 3, 16, 16)
    with FlopCounterMode(display=False) as theirs:
        work(network, images)
    with Counter(BY_RATE) as counter:
        work(network.to("meta"), images.to("meta"))
    assert counter.seconds == theirs.get_total_flops() > 0


def test_products_in_place_and_of_vectors_count_too():
    a, b, c = (5, 7), (7, 3), (5, 3)
    assert taken(BY_RATE, lambda x, y, z: z.addmm_(x, y), a, b, c) == 2 * 5 * 7 * 3
    assert taken(BY_RATE, lambda x, y, z: z.baddbmm_(x, y), (4, *a), (4, *b), (4, *c)) == 4 * 2 * 5 * 7 * 3
    assert taken(BY_RATE, torch.mv, a, (7,)) == 2 * 5 * 7
    assert taken(BY_RATE, torch.dot, (7,), (7,)) == 2 * 7


def test_an_operation_takes_a_start_and_a_view_none():
    assert taken(BY_START, lambda x: x.view(9).reshape(3, 3).T, (3, 3)) == 0
    assert taken(BY_START, lambda x: x + 1, (3, 3)) == 1
    assert taken(BY_START, lambda x: torch.linalg.vector_norm(x, dim=1), (3, 3)) == 1, "no factorisation"
    for factorise in (torch.linalg.cholesky_ex, torch.linalg.eigh, torch.cholesky_inverse):
        assert 100 <= taken(BY_START, factorise, (3, 3)) < 110


def test_an_operation_takes_what_it_reads_and_writes():
    assert taken(BY_BYTES, lambda x, y: x + y, (10, 10), (10, 10)) == 3 * 4 * 100
    index = 5 * 8
    for take in (lambda x, i: x[i], lambda x, i: x.index_select(0, i)):
        with Counter(BY_BYTES) as counter:
            x, few = torch.empty(1000, 7, device="meta"), torch.arange(5).to("meta")
            before = counter.seconds
            take(x, few)
            assert counter.seconds - before == 5 * 7 * 4 + index, "the others are not read"


@pytest.mark.parametrize(("n", "seconds"), [(1, 5.0), (2, 3 * 4 * 2**2 / 3), (8, 2 * 8**3 / 2)])
def test_the_longest_of_the_three_is_what_it_takes(n, seconds):
    """A start, bytes, operations."""
    device = Device("all", rate=NEVER, exact=2.0, bandwidth=3.0, start=5.0, factorisation=0.0)
    assert taken(device, torch.mm, (n, n), (n, n)) == pytest.approx(seconds)


def test_convolutions_have_a_rate_of_their_own_and_factorisations_grow():
    device = Device("two rates", rate=1e3, exact=1.0, bandwidth=NEVER, start=0.0, factorisation=2.0)
    operations = 2 * 6 * 5 * 8 * 8  # of a kernel of one pixel
    assert taken(device, torch.conv2d, (1, 6, 8, 8), (5, 6, 1, 1)) == operations / 1e3
    assert taken(device, torch.mm, (4, 6), (6, 5)) == 2 * 4 * 6 * 5
    assert taken(device, torch.linalg.cholesky_ex, (1, 1)) == 2
    assert taken(device, torch.linalg.cholesky_ex, (3, 10, 10)) == 3 * 10**3


def test_no_two_looks_see_the_same_fraction():
    """Else layers with a β of their own would be taken together."""
    with Counter(BY_START):
        x = torch.empty(3, device="meta")
        assert float(x.sum()) != float(x.sum())
        assert int(x.argmax()) == int(x.argmin()) == 1


def test_half_precision_counts_as_float32():
    with Counter(BY_START), torch.autocast("meta", torch.bfloat16):
        assert (torch.empty(2, 2, device="meta") @ torch.empty(2, 2, device="meta")).dtype == torch.float32


def test_an_optimiser_takes_all_tensors_at_once():
    def step(count):
        with Counter(BY_START) as counter:
            parameters = [torch.zeros(3, device="meta", requires_grad=True) for _ in range(count)]
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
            optimiser, before = torch.optim.SGD(parameters, 0.1), counter.seconds
            optimiser.step()
            return counter.seconds - before

    assert step(7) == pytest.approx(step(1))
    assert step(1) > 0


def test_labels_keep_their_values_and_all_else_has_none():
    with Counter(BY_START) as counter:
        labels = torch.tensor([2, 0, 1, 0]).to("meta")
        assert ((labels == 0).nonzero().flatten().tolist(), labels.cpu().tolist()) == ([1, 3], [2, 0, 1, 0])
        x = torch.rand(4, 3).to("meta")
        assert x.near.is_meta
        assert x.sum().item() == pytest.approx(1, abs=1e-4), "a number that is looked at"
        assert x[labels == 0].shape == (2, 3)
        labels.copy_(x.argmax(1))
        assert labels.near.is_meta, "no longer known"
        here = x.cpu()
        assert not isinstance(here, Far)
        assert here.std() > 0
        before = counter.seconds
        _ = torch.rand(50, 50) @ torch.rand(50, 50)
        assert counter.seconds == before, "the CPU's work takes no time"


def test_what_is_large_is_held_nowhere(monkeypatch):
    monkeypatch.setattr(counted, "_LARGE", 100)
    with Counter(BY_START):
        for large in (torch.empty(10, 20, device="meta").cpu(), torch.empty(10, 20), torch.randn(10, 20)):
            assert isinstance(large, Far)
            assert (large.device.type, large.near.device.type) == ("cpu", "meta")
            assert not isinstance(large[:3], Far)


def test_the_clock_is_the_counters_while_it_runs():
    before = time.perf_counter()
    with Counter(BY_START):
        torch.zeros(1, device="meta")
        assert measuring._now() == 1
    assert measuring._now() > before
    with Counter(BY_START) as outer:
        with Counter(BY_START):
            torch.zeros(1, device="meta")
        assert measuring._now() == outer.seconds, "the outer one goes on"
    with pytest.raises(ZeroDivisionError), Counter(BY_START):
        _ = 1 / 0
    assert measuring._now() > before, "also after an error"


@pytest.mark.slow
def test_the_count_is_near_what_a_gpu_took():
    """Of an H200; the figures were chosen by these times, and none of them may move far without being looked at."""
    record = json.loads((published("studies") / "count" / "cuda.json").read_text())
    found = count.beside()
    assert found.keys() == record["times"].keys()
    for what, times in found.items():
        assert times == pytest.approx(record["times"][what], rel=0.02), f"{what}: run benchmarks/count.py again"
        assert 0.5 < times["count"] / times["took"] < 2, what
