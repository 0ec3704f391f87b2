"""Head matching through a pool: its loss beside the definition, in full matrices and with all real images at once."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import toys

from unidd.core.filters import AllPass, Linear, Ridge
from unidd.core.objectives import Side
from unidd.engine.descent import Batch
from unidd.engine.run import Run
from unidd.methods._looks import Looks, head
from unidd.methods.pool import Pool

SMALL = {"pool": 2, "views": 2, "net_width": 4, "steps": 2}
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


def matching(**settings):
    """A pool in float64, its pairs made."""
    data = toys.data()
    found = Pool(**SMALL | settings).objective(data, None, Run(ipc=2))
    batch = Batch(0, 0, 0, torch.arange(8), LABELS, 0, (0, 8), 2)
    found.begin(batch)
    found.step(data.normalise(data.train.images[:8]).requires_grad_(), 0, torch.Generator().manual_seed(0))
    for pair in found.pairs:
        pair.network.double()
    return data, found


def definition(pair, x, data, name, beta):
    """‖f(Ψ_s)Φ_s − f(Ψ)Φ‖² / ‖f(Ψ)Φ‖², with every real image and the d × d matrices of both sides."""

    def seen(images):
        return pair.network.features(pair.view(images).double()).flatten(1)

    def coded(labels):
        return F.one_hot(labels, data.classes).double() - 1 / data.classes

    real = seen(data.normalise(data.train.images))
    centred, targets = real - real.mean(0), coded(data.train.labels)
    side = Side.of(centred, targets)
    unit = beta * float(side.ffc.diagonal().mean())
    filter = {"all-pass": AllPass(), "linear": Linear(), "ridge": Ridge(unit)}[name]
    wanted = filter.apply(*side)
    own = filter.apply(*Side.of(seen(x) - real.mean(0), coded(LABELS)))
    return (own - wanted).square().sum() / wanted.square().sum()


@pytest.mark.parametrize("filter", ["all-pass", "linear", "ridge"])
def test_loss_and_gradient_are_those_of_the_definition(filter):
    data, found = matching(filter=filter, beta=0.5)
    found.pairs = [found.looks.seen(pair.network, pair.view) for pair in found.pairs]  # in float64 now
    for i, pair in enumerate(found.pairs):
        found.pairs, kept = [pair], found.pairs
        x = toys.randn(8, 3, 8, 8, seed=i).requires_grad_()
        step = found.step(x, 1, torch.Generator())
        slow = definition(pair, x, data, filter, 0.5)
        (gradient,) = torch.autograd.grad(slow, x)
        assert step.terms["heads"].item() == pytest.approx(slow.item(), rel=1e-8)
        torch.testing.assert_close(step.gradient, gradient, rtol=1e-8, atol=1e-12)
        found.pairs = kept


def test_a_head_of_few_rows_needs_no_matrix_of_channels():
    x, y = toys.randn(5, 12), toys.randn(5, 3, seed=1)
    side = Side.of(x, y)
    for name, filter in (("all-pass", AllPass()), ("linear", Linear()), ("ridge", Ridge(0.3))):
        torch.testing.assert_close(head(x, y, name, 0.3), filter.apply(*side), rtol=1e-10, atol=1e-12)


def test_networks_are_of_all_ages_and_their_pairs_follow_from_the_seed():
    _, first = matching(pool=4, ages=1, views=1)
    _, again = matching(pool=4, ages=1, views=1)
    for one, other in zip(first.pairs, again.pairs, strict=True):
        assert torch.equal(one.wanted, other.wanted)
    assert len({float(pair.wanted.norm()) for pair in first.pairs}) == 4
    _, young = matching(pool=4, ages=0, views=1)
    same = [torch.equal(a.wanted, b.wanted) for a, b in zip(first.pairs, young.pairs, strict=True)]
    assert same == [True, False, True, False]  # every other network was trained


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="strategy"):
        Pool(strategy="tilt")


def test_it_starts_from_what_herding_takes_or_from_a_set_that_was_given():
    data, method, run = toys.data(), Pool(**SMALL, first="herding"), Run(ipc=2)
    start = method.prepared(method.start(data, run), data, None, run)
    x = Looks(method, data, 0).plain()
    for k in range(data.classes):
        own = (data.train.labels == k).nonzero().flatten()
        first = own[(x[own] - x[own].mean(0)).norm(dim=1).argmin()]
        chosen = start.numbers[data.train.labels[start.numbers] == k]
        assert chosen[0] == first
        assert len(set(chosen.tolist())) == 2
    given = replace(start, given=True, numbers=torch.arange(8))
    assert method.prepared(given, data, None, run) is given
