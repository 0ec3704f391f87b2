"""Class groups: rounds too large for the memory, a few classes at a time, against a run by hand."""

import copy
import functools
import math
from dataclasses import replace

import oracles
import pytest
import torch
from torch import Tensor, nn

from unidd.core.statistics import real_statistics
from unidd.data.datasets import ImageData, Split
from unidd.data.synthetic import SyntheticSet
from unidd.engine.descent import Position, Start, steps
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods.cfm import CFM, FrequencyMatching
from unidd.networks.models import tapped_layers
from unidd.networks.training import Teacher

CLASSES, SIZE = 5, 8


@functools.cache
def network() -> nn.Sequential:
    """Three convolutions; the last two see six channels each, on 16 and on 4 positions of an image."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(16, CLASSES),
        ).double()
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return net.eval().requires_grad_(False)


@functools.cache
def data() -> ImageData:
    generator = torch.Generator().manual_seed(6)
    images = torch.randint(20, 236, (4 * CLASSES, 3, SIZE, SIZE), generator=generator).to(torch.uint8)
    split = Split(images, torch.arange(4 * CLASSES) % CLASSES)
    return ImageData("toy", split, split, tuple("abcde"))


class Still(CFM):
    """CFM without augmentation."""

    def objective(self, *task):
        found = super().objective(*task)
        found.augment = lambda images, *_: images
        return found


def task(cls: type[CFM] = CFM, ipc: int = 2, **changes) -> tuple[CFM, Teacher, Run]:
    """In double precision from the real side on, so that Adam cannot tell it from the oracle."""
    method = cls(**{"steps": 3, "lr": 0.05, "beta": 0.05, "precision": "float64"} | changes)
    batches = [(data().normalise(data().train.images).double(), data().train.labels)]
    statistics = real_statistics(network(), batches, tapped_layers(network()), method.signal)
    teacher = Teacher(copy.deepcopy(network()).to(getattr(torch, method.precision)), 50.0, "0123456789abcdef")
    return method, teacher, Run(ipc, statistics=statistics)


def run(cls: type[CFM] = CFM, **changes) -> SyntheticSet:
    method, *rest = task(cls, **changes)
    return method.distill(data(), *rest)


def seen(method: CFM, teacher: Teacher, asked: Run) -> list[tuple[int, Tensor]]:
    """Round and pixels of each batch, as soon as its last step is taken."""
    position = Position(data(), method.start(data(), asked), method.descent(data()), asked.seed)
    taken = (taken for taken in steps(method.objective(data(), teacher, asked), position) if taken.last)
    return [(last.batch.b, position.pixels(last.batch.number).clone()) for last in taken]


def by_hand(method: CFM, ipc: int, sizes: list[int]) -> tuple[Tensor, list[float]]:
    """Algorithm 1 with a list of group sizes: pixels, and the classification term each batch ends with."""
    start = SyntheticSet.from_real(data(), ipc).images.double()
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (data().mean, data().std))
    x_real = (data().train.images.double() / 255 - mean) / std
    real = oracles.statistics(network(), x_real, data().train.labels, method.signal, CLASSES)
    done, terms, previous, count = [], [], None, 0
    for b in range(ipc):
        beta = oracles.cosine_beta(method.beta, b, ipc)
        first = 0
        for size in sizes:
            count += 1
            labels = torch.arange(first, first + size)
            x = (start[b * CLASSES + first : b * CLASSES + first + size] - mean) / std
            m, v = torch.zeros_like(x), torch.zeros_like(x)
            for t in range(1, method.steps + 1):
                step = oracles.step(
                    network(),
                    x,
                    labels,
                    real,
                    previous,
                    b=count if method.emu else 1,
                    beta=beta,
                    filter=method.filter,
                    kind=method.signal,
                    eta=method.eta,
                    classes=CLASSES,
                )
                m, v = 0.5 * m + 0.5 * step.gradient, 0.9 * v + 0.1 * step.gradient**2
                rate = method.lr * (1 + math.cos(math.pi * (t - 1) / method.steps)) / 2
                x = x - rate * (m / (1 - 0.5**t)) / (torch.sqrt(v / (1 - 0.9**t)) + 1e-8)
                x = torch.minimum(torch.maximum(x, (0 - mean) / std), (1 - mean) / std)
            previous = step.statistics
            terms.append(step.classification)
            done.append(x * std + mean)
            first += size
    return torch.cat(done), terms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "sizes", "changes"),
    [
        (2, [2, 2, 1], {}),
        (3, [3, 2], {"signal": "mix"}),
        (3, [3, 2], {"signal": "class", "filter": "linear"}),
        (4, [4, 1], {"emu": False}),
        (1, [1] * 5, {"ipc": 1}),
    ],
    ids=["in twos", "mix", "low frequencies", "no emu", "one at a time"],
)
def test_groups_against_a_run_by_hand(group, sizes, changes):
    """β stays within a round; the moving update goes on over the groups, and its b counts them."""
    method, teacher, asked = task(Still, group=group, eta=0.5, **changes)
    ipc, result = asked.ipc, method.distill(data(), teacher, asked)
    expected, terms = by_hand(method, ipc, sizes)
    start = SyntheticSet.from_real(data(), ipc).images
    assert (result.images.double() - expected).abs().max() < 1e-5
    assert (expected - start).abs().mean() > 0.01, "the run must have moved the images"
    places = [(b, g) for b in range(ipc) for g in range(len(sizes))]
    assert [(entry["b"], entry["group"]) for entry in result.history] == places
    betas = [oracles.cosine_beta(0.05, b, ipc) for b, _ in places]
    assert [entry["beta"] for entry in result.history] == pytest.approx(betas)
    assert [entry["classification"] for entry in result.history] == pytest.approx(terms, rel=1e-6)
    shown = seen(method, teacher, asked)
    assert [(b, len(pixels)) for b, pixels in shown] == [(b, sizes[g]) for b, g in places]
    assert torch.equal(torch.cat([pixels for _, pixels in shown]), result.images)
    assert result.labels.tolist() == list(range(CLASSES)) * ipc


@pytest.mark.parametrize("group", [CLASSES, CLASSES + 1, 1000])
def test_one_group_of_all_classes_is_no_group_bit_for_bit(group):
    """Augmentation and all: at precision float32 too, where any other order of operations would show."""
    whole, grouped = (run(group=g, precision="float32") for g in (0, group))
    assert torch.equal(whole.images, grouped.images)
    assert whole.history == grouped.history
    assert all("group" not in entry for entry in whole.history)


def test_groups_differ_from_whole_rounds():
    assert not torch.equal(run(group=2).images, run().images)


def test_the_groups_of_a_round():
    def sizes(group: int, classes: int) -> list[int]:
        split = Split(torch.zeros(classes, 1, 1, 1, dtype=torch.uint8), torch.arange(classes).flip(0))
        start = Start.real(ImageData("toy", split, split, tuple(map(str, range(classes)))), 1, 0, group)
        batches = list(start.batches(Ranks(), 1))
        labels = [label for batch in batches for label in batch.labels.tolist()]
        assert labels == list(range(classes)), "each class once, in order"
        assert [batch.size for batch in batches] == list(start.sizes)
        assert start.groups == len(batches)
        return list(start.sizes)

    assert sizes(0, 7) == [7]
    assert sizes(200, 1000) == [200] * 5
    assert sizes(300, 1000) == [300, 300, 300, 100]
    assert sizes(200, 200) == sizes(200, 200) == [200]
    assert sizes(200, 10) == [10]


class SpoiltMatching(FrequencyMatching):
    """The loss of the fourth batch is not finite."""

    def step(self, x, t, generator):
        step = super().step(x, t, generator)
        spoilt = {"classification": step.terms["classification"] * math.nan} if self.batch.number == 3 else {}
        return replace(step, terms=step.terms | spoilt)


class Spoilt(CFM):
    def objective(self, data, teacher, run):
        found = super().objective(data, teacher, run)
        return SpoiltMatching(self, run.ipc, teacher.model, found.real, found.augment)


def test_an_error_says_in_which_group():
    """The fourth batch is round 1, group 1."""
    with pytest.raises(ValueError, match="round 1, group 1, step 3: the loss is not finite"):
        run(Spoilt, group=3)
