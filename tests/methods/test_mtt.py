"""MTT and TESLA against slow float64 code, the form that TESLA's code has, and what becomes of the rate."""

import dataclasses
import math
import weakref

import pytest
import torch
import toys
from torch import Tensor
from torch.func import functional_call

from unidd.core import objectives
from unidd.core.objectives import Side
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Position, steps
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods import find
from unidd.methods._unrolling import recomputed, unrolled
from unidd.methods.mtt import MTT, TESLA
from unidd.networks.models import ModelConfig, build
from unidd.networks.trajectories import Experts

SMALL: dict = {
    "net_width": 5,
    "experts": 2,
    "max_start_epoch": 2,
    "expert_epochs": 2,
    "syn_steps": 4,
    "lr_teacher": 0.05,
    "lr_lr": 1e-7,
    "batch": 10,
}
both = pytest.mark.parametrize("cls", [MTT, TESLA])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data():
    """The toy images at twice the size: of 8×8, three blocks leave one pixel, and its norm no slope."""
    small = toys.data()
    split = dataclasses.replace(small.train, images=small.train.images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return dataclasses.replace(small, train=split, test=split)


def begun(cls, data, **changes):
    """A method, its objective at the start, and the network input in float64."""
    asked, method = Run(ipc=2, seed=1), cls(**SMALL | changes)
    objective = method.objective(data, toys.teacher(), asked)
    position = Position(data, method.start(data, asked), method.descent(data))
    objective.begin(position.batches[0])
    x, _ = position.enter()
    return method, objective, x.detach().double()


def drawn(method, objective, generator):
    """What a step draws: start and goal in float64, and (numbers, view) of each step, in the order of the objective."""
    expert = int(torch.randperm(method.experts, generator=generator)[-1])
    epoch = int(torch.randint(method.max_start_epoch, (), generator=generator))
    ends = [objective.experts.parameters(expert, e).double() for e in (epoch, epoch + method.expert_epochs)]
    batches, left = [], []
    for _ in range(method.syn_steps):
        if not left:
            order = torch.randperm(len(objective.labels), generator=generator)
            size = method.batch_syn or len(order)
            left = [order[first : first + size] for first in range(0, len(order), size)]
        numbers, *left = left
        batches.append((numbers, objective.siamese.draw(generator, len(numbers))))
    return *ends, batches


def slope(method, data, labels, x, theta) -> Tensor:
    """∇CE in a vector of parameters, over an ordinary network, image by image; can be differentiated."""
    network = build(ModelConfig(width=method.net_width, norm="instance"), 3, data.size, data.classes).double()
    named, first = {}, 0
    for name, parameter in network.named_parameters():
        named[name] = theta[first : first + parameter.numel()].reshape(parameter.shape)
        first += parameter.numel()
    losses = [
        -functional_call(network, named, (im[None],)).log_softmax(1)[0, k] for im, k in zip(x, labels, strict=True)
    ]
    return torch.autograd.grad(sum(losses) / len(losses), theta, create_graph=True)[0]


def naive(method, objective, data, x: Tensor, rate: Tensor, generator) -> Tensor:
    """The loss of MTT, word by word."""
    start, goal, batches = drawn(method, objective, generator)
    theta = start.requires_grad_()
    for numbers, view in batches:
        theta = theta - rate * slope(method, data, objective.labels[numbers], view(x[numbers]), theta)
    return ((theta - goal) ** 2).sum() / ((start - goal) ** 2).sum()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(9)


# ------------------------------------------------------------------------------------------------- loss and gradient


@both
@pytest.mark.parametrize("changes", [{}, {"batch_syn": 3}, {"strategy": "none"}, {"syn_steps": 1}], ids=str)
def test_loss_and_gradients_are_those_of_the_naive_unroll(cls, data, changes):
    method, objective, x = begun(cls, data, **changes)
    found = objective.step(x.clone(), 0, seeded())
    leaf, rate = x.clone().requires_grad_(), torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    loss = naive(method, objective, data, leaf, rate, seeded())
    gradient, of_rate = torch.autograd.grad(loss, [leaf, rate])
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-9, atol=0)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-8, atol=1e-12 * float(gradient.abs().max()))
    assert objective.velocity == pytest.approx(float(of_rate), rel=1e-8)
    assert found.notes["lr"] == pytest.approx(0.05 - 1e-7 * float(of_rate), rel=1e-9)


@both
def test_the_gradients_are_those_of_differences(cls, data):
    """No autograd over the steps: the loss at inputs and rates moved a little to either side."""
    method, objective, x = begun(cls, data)
    found = objective.step(x, 0, seeded())
    way, small = toys.randn(*x.shape, seed=4), 1e-6

    def loss(moved: float, rate: float = 0.0) -> float:
        beta = torch.tensor(0.05 + rate, dtype=torch.float64)
        return float(naive(method, objective, data, x + moved * way, beta, seeded()).detach())

    along = (loss(small) - loss(-small)) / (2 * small)
    assert float((found.gradient * way).sum()) == pytest.approx(along, rel=1e-5)
    assert objective.velocity == pytest.approx((loss(0, small) - loss(0, -small)) / (2 * small), rel=1e-5)


def students(data, **changes):
    """What `unrolled` and `recomputed` are asked for."""
    method, objective, x = begun(MTT, data, **changes)
    generator = seeded()
    ends = drawn(method, objective, generator)[:2]
    return objective.losses(seeded()), *ends, x, torch.tensor(method.lr_teacher, dtype=torch.float64)


def close(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize(
    "changes", [{"syn_steps": n} for n in (1, 2, 7)] + [{"batch_syn": 3}, {"norm": "none"}], ids=str
)
def test_step_by_step_is_through_all_steps_at_once(data, changes):
    asked = students(data, **changes)
    for one, other in zip(recomputed(*asked), unrolled(*asked), strict=True):
        assert close(one, other) < 1e-8


def released(losses, start, goal, x, rate):
    """The gradients that TESLA's code descends on: ∂/∂x [β(θ* − θ_0) + β²G]ᵀ g_i(x; θ_i) / ‖θ_0 − θ*‖² with θ_i
    detached and G = Σ g_i, and the derivative of ‖θ_0 − βG − θ*‖² / ‖θ_0 − θ*‖² in β with G constant.
    """
    x, theta, slopes, size = x.clone().requires_grad_(), start, [], ((start - goal) ** 2).sum()
    for loss in losses:
        theta = theta.detach().requires_grad_()
        slopes.append(torch.autograd.grad(loss(theta, x), theta, create_graph=True)[0])
        theta = theta - rate * slopes[-1]
    total = sum(slopes).detach()
    weight = (rate * (goal - start) + rate**2 * total) / size
    of_rate = -2 * total @ (start - rate * total - goal) / size
    return torch.autograd.grad(sum(weight @ each for each in slopes), x)[0], of_rate


def test_the_released_form_of_tesla_lacks_a_factor_of_two_in_one_step(data):
    asked = students(data, syn_steps=1)
    _, exact, of_rate = recomputed(*asked)
    half, same = released(*asked)
    torch.testing.assert_close(2 * half, exact, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(same, of_rate, rtol=1e-9, atol=0)


def test_the_released_form_of_tesla_drops_how_later_steps_depend_on_earlier_images(data):
    """Also with the factor it lacks, and by more the more steps there are; so does its gradient in the rate."""
    apart = {}
    for n in (2, 8):
        asked = students(data, syn_steps=n)
        _, exact, of_rate = recomputed(*asked)
        half, rough = released(*asked)
        apart[n] = close(2 * half, exact), close(rough, of_rate)
    assert min(apart[2]) > 1e-4
    assert apart[8][0] > 2 * apart[2][0]
    assert apart[8][1] > 2 * apart[2][1]


def peak_of_graph(work) -> int:
    """The most bytes that autograd kept at once, but for what it keeps of leaves."""
    now, peak = [0], [0]

    class Kept:
        def __init__(self, tensor: Tensor):
            self.tensor = tensor
            now[0] += tensor.nbytes
            peak[0] = max(peak[0], now[0])
            weakref.finalize(self, lambda size: now.__setitem__(0, now[0] - size), tensor.nbytes)

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        work()
    return peak[0]


def test_the_memory_of_tesla_does_not_grow_with_the_steps(data):
    few, many = students(data, syn_steps=2), students(data, syn_steps=12)
    assert peak_of_graph(lambda: recomputed(*many)) <= 1.05 * peak_of_graph(lambda: recomputed(*few))
    assert peak_of_graph(lambda: unrolled(*many)) > 4 * peak_of_graph(lambda: unrolled(*few))


@pytest.mark.parametrize("differentiate", [unrolled, recomputed])
def test_on_fixed_features_it_is_the_distance_of_filtered_heads(differentiate):
    """For linear heads and the squared loss the student's end is r_q(Ψ_s)W_0 + s_q(Ψ_s)Φ_s, as the chapter has it."""
    real_x, real_y, y = toys.randn(30, 6), toys.randn(30, 2, seed=1), toys.randn(5, 2, seed=3)
    x, head, rate, p, q = toys.randn(5, 6, seed=2), toys.randn(6, 2, seed=4), 0.1, 7, 4
    real, synthetic = Side.of(real_x, real_y), Side.of(x, y)
    goal = objectives.trajectory(real, head, rate, p).flatten()

    def loss(theta: Tensor, features: Tensor) -> Tensor:
        return (features @ theta.view(6, 2) - y).square().sum() / (2 * len(features))

    found, *_ = differentiate([loss] * q, head.flatten(), goal, x, torch.tensor(rate, dtype=torch.float64))
    wanted = objectives.mtt(real, synthetic, head, rate, p, q) ** 2 / (head.flatten() - goal).square().sum()
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=0)


# ------------------------------------------------------------------------------------------------- what is drawn


def test_batches_go_through_all_images_before_one_comes_again(data):
    _, objective, x = begun(MTT, data, syn_steps=6, batch_syn=3)
    taken = [loss.args[0].tolist() for loss in objective.losses(seeded())]
    assert list(map(len, taken)) == [3, 3, 2, 3, 3, 2], "of eight images"
    for each in (taken[:3], taken[3:]):
        assert sorted(number for numbers in each for number in numbers) == list(range(len(x)))
    assert taken[:3] != taken[3:]


def test_all_experts_are_looked_at_before_one_comes_again_from_epochs_below_the_last(data, monkeypatch):
    method, objective, x = begun(MTT, data, experts=3, max_start_epoch=2, expert_epochs=1, syn_steps=1)
    seen, generator, parameters = [], seeded(), Experts.parameters
    monkeypatch.setattr(Experts, "parameters", lambda self, *of: (seen.append(of), parameters(self, *of))[1])
    for t in range(12):
        objective.step(x, t, generator)
    starts, goals = seen[::2], seen[1::2]
    for first in range(0, 12, 3):
        assert sorted(number for number, _ in starts[first : first + 3]) == [0, 1, 2]
    assert {epoch for _, epoch in starts} == {0, 1}
    assert goals == [(number, epoch + 1) for number, epoch in starts]
    assert not objective.experts.path(0, 3).exists(), "trained no further than is looked at"
    assert method.experts == 3


def test_each_image_draws_its_own_augmentation(data):
    method, objective, x = begun(MTT, data, strategy="cutout")
    _, _, batches = drawn(method, objective, seeded())
    view = batches[0][1]
    same = x[:1].expand(len(x), -1, -1, -1)
    assert len({tuple(image.flatten().tolist()) for image in view(same)}) > 1


# ------------------------------------------------------------------------------------------------- experts are shared


def test_a_second_run_trains_no_expert_whichever_method_it_is_of(data, monkeypatch):
    MTT(**SMALL | {"steps": 1}).distill(data, toys.teacher(), Run())

    def refuse(*_):
        raise AssertionError("an expert is trained")

    monkeypatch.setattr(Experts, "_epoch", refuse)
    for cls in (MTT, TESLA):
        other = SMALL | {"steps": 1, "syn_steps": 2, "lr": 3.0}
        cls(**other).distill(data, toys.teacher(), Run(ipc=2))
        cls(**other | {"shared": True}).distill(data, toys.teacher(), Run(ipc=2, seed=4))
    with pytest.raises(AssertionError, match="an expert is trained"):
        MTT(**SMALL | {"steps": 1}).distill(data, toys.teacher(), Run(seed=1))  # a repetition has its own
    with pytest.raises(AssertionError, match="an expert is trained"):
        MTT(**SMALL | {"steps": 1, "max_start_epoch": 3}).distill(data, toys.teacher(), Run())


def test_what_is_planned_is_what_is_trained(data, monkeypatch):
    taken, step = [], Experts._step
    monkeypatch.setattr(Experts, "_step", lambda self, *what: (taken.append(1), step(self, *what))[1])
    method = MTT(**SMALL | {"steps": 1})
    work = method.own_training(data, Run())
    assert work.steps == 2 * 3 * 2, "two experts, three epochs, two steps"
    work.trial()
    rehearsed = method.rehearsed(data, Run())
    assert rehearsed == dataclasses.replace(method, experts=1, max_start_epoch=1)
    assert len(taken) == 1 + 2 * 2, "an expert as far as a student goes"
    assert method.own_training(data, Run()).steps == 12 - 4
    assert rehearsed.own_training(data, Run()).steps == 0
    assert MTT(**SMALL | {"steps": 0}).own_training(data, Run()).steps == 0
    method.distill(data, toys.teacher(), Run())
    assert len(taken) == 1 + 12
    assert method.own_training(data, Run()).steps == 0
    assert work.bytes == 2 * 3 * 4 * len(method.experts_of(data, Run()).parameters(0, 0))


@both
def test_both_make_the_same_images(cls, data):
    made, other = (c(**SMALL | {"steps": 3, "lr": 1.0}).distill(data, toys.teacher(), Run()) for c in (cls, MTT))
    torch.testing.assert_close(made.images, other.images, rtol=0, atol=1e-4)
    assert made.config["learnt"]["lr"] == pytest.approx(other.config["learnt"]["lr"], rel=1e-4)


# ------------------------------------------------------------------------------------------------- the rate


@both
def test_the_rate_descends_with_momentum_and_the_last_one_is_stored_with_the_set(cls, data, tmp_path):
    method, asked = cls(**SMALL | {"steps": 5, "lr": 1.0, "lr_lr": 1e-6}), Run(seed=3)
    position = Position(data, method.start(data, asked), method.descent(data), asked.seed)
    objective = method.objective(data, toys.teacher(), asked)
    rates, slopes, losses, velocity = [method.lr_teacher], [], [], 0.0
    for taken in steps(objective, position):
        slopes.append(objective.velocity - velocity / 2)
        velocity = objective.velocity
        rates.append(taken.step.notes["lr"])
        losses.append(float(taken.step.loss))
    by_hand = torch.tensor(method.lr_teacher, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([by_hand], 1e-6, momentum=0.5)
    for wanted, each in zip(rates[1:], slopes, strict=True):
        by_hand.grad = torch.tensor(each, dtype=torch.float64)
        sgd.step()
        assert float(by_hand.detach()) == pytest.approx(wanted, rel=1e-12)
    assert len(set(rates)) == 6
    made = method.distill(data, toys.teacher(), asked)
    assert made.config["learnt"] == {"lr": rates[-1]}
    made.save(tmp_path / "set")
    assert type(made).load(tmp_path / "set").config["learnt"] == {"lr": rates[-1]}
    assert torch.equal(made.images, position.images), "of the last step"
    assert made.history == [{"b": 0, "lr": rates[-1], "trajectory": losses[-1]}], "and not of the best"


def test_no_step_stores_the_rate_it_began_with(data):
    assert MTT(**SMALL | {"steps": 0}).distill(data, toys.teacher(), Run()).config["learnt"] == {"lr": 0.05}


def test_a_rate_that_does_not_move_stays(data):
    made = MTT(**SMALL | {"steps": 2, "lr_lr": 0.0}).distill(data, toys.teacher(), Run())
    assert made.config["learnt"] == {"lr": 0.05}


@both
@pytest.mark.parametrize("wrong", [{"lr_lr": 1.0}, {"lr_lr": 0.0, "lr_teacher": 1e30}], ids=str)
def test_a_rate_below_zero_or_not_finite_is_one_clear_error(cls, data, tmp_path, wrong):
    method = cls(**SMALL | {"steps": 9} | wrong)
    with pytest.raises(ValueError, match=r"step \d: .*: lower lr_lr, or lr"):
        method.distill(data, toys.teacher(), Run(checkpoint=Checkpoint(tmp_path / "run"), save_every=1))


def test_the_rate_and_the_experts_to_come_are_part_of_the_state(data):
    _, objective, x = begun(MTT, data, experts=3)
    _, other, _ = begun(MTT, data, experts=3)
    generator = seeded()
    for t in range(2):
        objective.step(x, t, generator)
    assert objective.velocity
    assert len(objective.order) == 1
    other.restore(objective.state())
    then = torch.Generator()
    then.set_state(generator.get_state())
    one, two = objective.step(x, 2, generator), other.step(x, 2, then)
    assert (objective.lr, objective.velocity) == (other.lr, other.velocity)
    assert torch.equal(one.gradient, two.gradient)


# ------------------------------------------------------------------------------------------------- what it says


@both
def test_several_processes_are_refused(cls, data):
    with pytest.raises(ValueError, match=f"{cls.__name__.lower()}.*one process"):
        cls().check(data, Run(ranks=Ranks(0, 2)))


@both
def test_presets_are_hyper_parameters(cls):
    assert {"cifar10-ipc1", "cifar10-ipc10", "cifar10-ipc50", "tiny-imagenet-ipc50"} <= set(cls.presets)
    for name in cls.presets:
        method = cls.preset(name)
        assert math.isfinite(method.lr)
        assert name.startswith("cifar10-ipc1") or method != cls(), name
    assert find("mtt").preset("cifar100-ipc50").batch_syn == 125


def test_teslas_own_presets_move_the_images_as_its_code_does():
    """Its gradient lacks a factor 2, and so its readme's lr of 1000 is 500 here."""
    assert TESLA.preset("cifar10-ipc1-tesla").lr == TESLA.preset("cifar100-ipc50-tesla").lr == 500
    own = [TESLA.preset(name) for name in TESLA.presets if name not in MTT.presets]
    assert [method.steps for method in own] == [10_000] * 3
    c100 = {"syn_steps": 80, "max_start_epoch": 40, "batch_syn": 125, "expert_epochs": 2, "lr_lr": 1e-5}
    assert {name: getattr(own[1], name) for name in c100} == c100
