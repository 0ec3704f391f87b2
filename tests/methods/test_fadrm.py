"""FADRM: its run by hand, in stages, and across kills and processes."""

import math

import pytest
import torch
import toys

from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Position, steps
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods import find
from unidd.methods._recovering import Recovery
from unidd.methods.fadrm import Blended


def by_hand(method, data, teacher, start: torch.Tensor) -> list[torch.Tensor]:
    """One round: Adam written out and forgotten at each stage's end, one cosine, the residual between stages."""
    labels = torch.arange(toys.CLASSES)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (data.mean, data.std))
    network = teacher.model.double()
    loss_of = Recovery(method, network)
    loss_of.begin(next(iter(method.start(data, Run(1)).batches(Ranks(), method.steps))))
    assert loss_of.batch.labels.tolist() == labels.tolist()
    patches = (start.double() - mean) / std
    x, count, seen = patches.clone(), 0, []
    for t in range(method.steps):
        if t % method.stage == 0:
            count, m, v = 0, torch.zeros_like(x), torch.zeros_like(x)
            if t:
                x = method.alpha * x + (1 - method.alpha) * patches
        count += 1
        slope = loss_of.step(x.clone().requires_grad_(), t, torch.Generator()).gradient
        m, v = 0.5 * m + 0.5 * slope, 0.9 * v + 0.1 * slope**2
        rate = method.lr * (1 + math.cos(math.pi * t / method.steps)) / 2
        x = x - rate * (m / (1 - 0.5**count)) / ((v / (1 - 0.9**count)).sqrt() + 1e-8)
        x = torch.minimum(torch.maximum(x, (0 - mean) / std), (1 - mean) / std)
        seen.append(x * std + mean)
    return seen


@pytest.mark.parametrize(("count", "stages", "alpha"), [(8, 4, 0.5), (7, 3, 0.2), (6, 1, 0.5), (3, 9, 0.7)])
def test_a_round_against_one_by_hand(count, stages, alpha):
    """Without augmentation; Adam may take either side for a pixel whose gradient is all but zero: such are few."""
    data = toys.data()
    method = find("fadrm")(steps=count, stages=stages, alpha=alpha, crop=False, shift=0, lr=0.1)
    start = find("fadrm")(steps=0).distill(data, toys.teacher(), Run(1))
    found = method.distill(data, toys.teacher(), Run(1)).images
    expected = by_hand(method, data, toys.teacher(), start.images)[-1]
    apart = (found.double() - expected).abs()
    assert (apart < 1e-4).double().mean() > 0.99
    assert (expected - start.images).abs().mean() > 0.003, "the run must have moved the images"


def test_it_starts_from_the_patches_of_rded():
    rded = find("rded")().distill(toys.data(), toys.teacher(), Run(2, seed=3))
    start = find("fadrm")(steps=0).distill(toys.data(), toys.teacher(), Run(2, seed=3))
    assert torch.equal(start.images, rded.images)
    assert torch.equal(start.labels, rded.labels)


def test_what_is_blended_in_is_what_it_started_from():
    """At α = 0 a stage begins where the first one did, whatever was learnt before."""
    data, start = toys.data(), SyntheticSet.from_real(toys.data(), 1, seed=5)
    asked = Run(1, start=start)
    method, seen = find("fadrm")(steps=4, stages=2, alpha=0.0), []

    class Seeing(Blended):
        def augment(self, x, t, generator):
            seen.append(data.denormalise(x.detach()).clone())
            return super().augment(x, t, generator)

    position = Position(data, method.start(data, asked), method.descent(data))
    assert sum(1 for _ in steps(Seeing(method, toys.teacher(), Ranks()), position)) == 4
    torch.testing.assert_close(seen[0], start.images, rtol=0, atol=1e-6)
    torch.testing.assert_close(seen[2], start.images, rtol=0, atol=1e-6)
    assert (seen[1] - start.images).abs().max() > 0.01
    assert (seen[3] - start.images).abs().max() > 0.01


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_blend_and_its_gradient_are_exact(alpha):
    """In float64, at the first step of the second stage."""
    data, run = toys.data(), Run(1)
    method = find("fadrm")(steps=4, stages=2, alpha=alpha, crop=False, shift=0)
    teacher = toys.teacher()
    teacher.model.double()
    objective, alone = Blended(method, teacher, Ranks()), Recovery(method, teacher.model)
    for each in (objective, alone):
        each.begin(next(iter(method.start(data, run).batches(Ranks(), method.steps))))
    patches, x = (toys.randn(toys.CLASSES, 3, toys.SIZE, toys.SIZE, seed=seed).requires_grad_() for seed in (1, 2))
    objective.step(patches, 0, torch.Generator())
    expected = (alpha * x + (1 - alpha) * patches).detach().requires_grad_()
    found = objective.step(x, method.stage, torch.Generator()).gradient
    torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)
    slope = alone.step(expected, method.stage, torch.Generator()).gradient
    torch.testing.assert_close(found, slope, rtol=1e-8, atol=1e-12)


def test_adam_begins_anew_at_the_end_of_a_stage():
    data, method, counts = toys.data(), find("fadrm")(steps=7, stages=3), []
    position = Position(data, method.start(data, Run(1)), method.descent(data))
    for _ in steps(method.objective(data, toys.teacher(), Run(1)), position):
        if position.working:
            x, optimizer = position.working
            counts.append(int(optimizer.state[x]["step"]))
    assert counts == [1, 2, 3, 1, 2, 3], "the seventh closes the batch"
    assert (method.stage, find("fadrm")().stage) == (3, 500)


@pytest.mark.parametrize("after", range(1, 13, 2))
def test_killed_anywhere_in_a_stage_it_gives_the_same_bits(after, tmp_path):
    method, task = find("fadrm")(steps=6, stages=2), (toys.data(), toys.teacher())
    whole = method.distill(*task, Run(2))
    with pytest.raises(KeyboardInterrupt):
        method.distill(*task, Run(2, checkpoint=toys.Interrupted(tmp_path, after), save_every=1))
    again = method.distill(*task, Run(2, checkpoint=Checkpoint(tmp_path), save_every=1))
    assert torch.equal(again.images, whole.images)
    assert again.history == whole.history


def test_a_process_takes_up_its_own_part_of_the_patches():
    data, method = toys.data(), find("fadrm")()
    objective = method.objective(data, toys.teacher(), Run(1, ranks=Ranks(1, 2)))
    patches = toys.rand(toys.CLASSES, 3, 8, 8)
    objective.restore({"patches": patches})
    objective.begin(next(iter(method.start(data, Run(1)).batches(Ranks(1, 2), 10))))
    assert torch.equal(objective.patches, patches[2:])


def test_published_hyper_parameters():
    found = {name: find("fadrm").preset(name) for name in find("fadrm").presets}
    for method in found.values():
        assert (method.steps, method.stage, method.stages, method.alpha) == (2000, 500, 4, 0.5)
        assert (method.lr, method.r_bn, method.first_bn, method.group) == (0.25, 0.01, 10.0, 100)
    assert {name: method.shift for name, method in found.items()} == {
        "cifar100": 4,
        "tiny-imagenet": 4,
        "imagenet": 32,
    }
