"""Operations counted while the code runs small: against PyTorch's own counter, by hand, and against the full width."""

import dataclasses
import json
import time

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unidd.bench import measuring
from unidd.bench.counted import DEVICES, Counter, Device, forward_operations, plain_pass
from unidd.bench.measuring import measure_training
from unidd.bench.records import published
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import TrainConfig

BY_RATE, BY_KERNEL = Device("rate", 1.0, 0.0, 0.0), Device("kernel", float("inf"), 1.0, 100.0)


def work(network, images):
    network(images).square().sum().backward()


def test_what_multiplies_takes_its_operations_forward_and_back():
    network, images = build(ModelConfig(width=4), 3, 16, 10), torch.rand(5, 3, 16, 16)
    with FlopCounterMode(display=False) as theirs:
        work(network, images)
    with Counter(BY_RATE, scale=3.0) as counter:
        work(network, images)
    assert counter.seconds == 3 * theirs.get_total_flops() > 0


def test_everything_else_takes_the_least_time_and_views_none():
    x = torch.eye(3)
    with Counter(BY_KERNEL) as counter:
        y = x.view(9).reshape(3, 3).T
        assert counter.seconds == 0
        y = x + y
        assert counter.seconds == 1
        torch.linalg.cholesky_ex(x)
        assert counter.seconds == 101


def test_the_clock_is_the_counters_while_it_runs():
    before = time.perf_counter()
    with Counter(BY_KERNEL):
        torch.zeros(1)
        assert measuring._now() == 1
    assert measuring._now() > before
    with Counter(BY_KERNEL) as outer:
        with Counter(BY_KERNEL):
            torch.zeros(1)
        assert measuring._now() == outer.seconds, "the outer one goes on"
    with pytest.raises(ZeroDivisionError), Counter(BY_KERNEL):
        _ = 1 / 0
    assert measuring._now() > before, "also after an error"


def test_a_narrow_network_counts_as_the_full_one(digits):
    """A training step: what the first layers take is not by the square of the width, and the scale is that of all."""
    wide, narrow = ModelConfig(width=128), ModelConfig(width=16)
    full, small = (
        forward_operations(build(config, digits.channels, digits.size, 10), digits.channels, digits.size)
        for config in (wide, narrow)
    )
    config, found = TrainConfig(epochs=1, batch=32), []
    for model, scale in ((wide, 1.0), (narrow, full / small)):
        network = build(model, digits.channels, digits.size, 10)
        with Counter(dataclasses.replace(BY_RATE, rate=1e9), scale):
            found.append(measure_training(network, digits, config).train)
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_a_forward_pass_is_counted_by_hand_and_computes_nothing():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    assert forward_operations(network, 3, 2) == 2 * 12 * 5
    assert not next(network.parameters()).is_meta, "the caller's network stays as it is"


@pytest.mark.parametrize("case", [0, 1])
def test_the_count_is_within_four_times_what_a_gpu_took(case):
    """Of an H200, as fast as an H100; the rate is assumed for small batches, and large ones are faster."""
    record = json.loads((published("studies") / "gpu" / "cuda.json").read_text())
    timed = [c for c in record["cost"]["cases"] if c["network"] == "resnet18" and not c["half"]][case]
    network = build(ModelConfig("resnet18"), 3, timed["size"], timed["classes"])
    by_count = plain_pass(network, 3, timed["size"], timed["batch"], DEVICES["h100"])
    assert 0.8 < by_count / timed["seconds"]["plain"]["median"] < 4
