"""DM, DC and DSA against slow float64 code, and the augmentation they share."""

import threading

import pytest
import torch
import torch.nn.functional as F
import toys
from torch.func import functional_call

from unidd.data.siamese import OPERATIONS, STRATEGY, Siamese
from unidd.engine.descent import Position
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods import _drawing, find
from unidd.methods._drawing import settle
from unidd.methods._gradients import distance, weight_gradients

IPC = 2


def begun(name: str, **settings):
    """A method's objective at its start, in float64, and the network input."""
    data, asked = toys.data(), Run(ipc=IPC, seed=1)
    method = find(name)(net_width=6, batch=3, **settings)
    objective, position = (
        method.objective(data, toys.teacher(), asked),
        Position(data, method.start(data, asked), method.descent(data)),
    )
    objective.begin(position.batches[0])
    x, _ = position.enter()
    return method, objective, x.detach().double(), position.batches[0].labels


def drawn(method, objective, generator):
    return method.drawn(objective.data, generator).double()


def by_class(method, objective, leaf, labels):
    """Of each class in turn: the network of a step, the class, real images and its own, both in the step's view."""
    generator = torch.Generator().manual_seed(9)
    network = drawn(method, objective, generator)
    settle(network, objective.real, generator)
    for k in range(toys.CLASSES):
        view = objective.siamese.draw(generator)
        yield network, k, view(objective.real.of(k, generator).double()), view(leaf[labels == k])


def step(objective, x):
    return objective.step(x.clone().requires_grad_(), 0, torch.Generator().manual_seed(9))


@pytest.mark.parametrize(
    "settings", [{"strategy": "none"}, {"strategy": "flip"}, {"strategy": STRATEGY}, {"norm": "batch"}], ids=str
)
def test_dm_is_the_distance_of_class_means_under_one_view(settings):
    method, objective, x, labels = begun("dm", **settings)
    found, leaf, loss = step(objective, x), x.clone().requires_grad_(), 0
    for network, _, real, own in by_class(method, objective, leaf, labels):
        gap = network.features(real).flatten(1).mean(0) - network.features(own).flatten(1).mean(0)
        loss = loss + gap @ gap
    (gradient,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-10, atol=0)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-8, atol=1e-12)


def one_by_one(network, x, k):
    """The gradients in every parameter: the mean of those of each image; `x` may be differentiated."""
    names = dict(network.named_parameters())
    total = {name: torch.zeros_like(value) for name, value in names.items()}
    for image in x:
        loss = F.cross_entropy(functional_call(network, names, image[None]), torch.tensor([k]))
        slopes = torch.autograd.grad(loss, list(names.values()), create_graph=True)
        total = {name: total[name] + slope / len(x) for name, slope in zip(names, slopes, strict=True)}
    return total


def row_by_row(one, other):
    loss = 0
    for name, value in one.items():
        if value.ndim > 1:
            for a, b in zip(value.flatten(1), other[name].flatten(1), strict=True):
                loss = loss + 1 - a @ b / (a.norm() * b.norm() + 1e-6)
    return loss


@pytest.mark.parametrize(("name", "norm"), [("dc", "instance"), ("dsa", "instance"), ("dc", "batch")])
def test_dc_is_the_angle_of_the_rows_of_the_gradients(name, norm):
    """Image by image, also with batch norm: its statistics are those of some real images, not of a class."""
    method, objective, x, labels = begun(name, norm=norm)
    found, leaf, loss = step(objective, x), x.clone().requires_grad_(), 0
    for network, k, real, own in by_class(method, objective, leaf, labels):
        loss = loss + row_by_row(one_by_one(network, real, k), one_by_one(network, own, k))
    (gradient,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-9, atol=0)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-8, atol=1e-12)


def test_batch_norms_keep_the_statistics_of_real_images_of_all_classes():
    method, objective, _, _ = begun("dm", norm="batch")
    network, twin = (drawn(method, objective, torch.Generator().manual_seed(9)) for _ in range(2))
    settle(network, objective.real, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    x = torch.cat([objective.real.of(k, generator) for k in range(toys.CLASSES)]).double()
    assert len(x) == 3 * toys.CLASSES
    for layer, settled in zip(twin.features, network.features, strict=True):
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert not settled.training
            torch.testing.assert_close(settled.running_mean, x.mean((0, 2, 3)), rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(settled.running_var, x.var((0, 2, 3)), rtol=1e-10, atol=1e-12)
        x = layer(x)


def test_the_network_of_dc_trains_on_batches_of_its_own():
    """And not with the statistics that the matching has."""
    _, objective, x, _ = begun("dc", norm="batch", outer=2)
    modes, train = [], objective._train
    objective._train = lambda network, *rest: (modes.append(network.features[1].training), train(network, *rest))
    generator = torch.Generator().manual_seed(9)
    for t in range(2):
        objective.step(x.clone().requires_grad_(), t, generator)
    assert modes == [True]
    assert not objective.network.features[1].training


def meeting(world: int) -> list[Ranks]:
    """Processes that are threads here, and wait for each other in every collective call."""
    barrier, parts = threading.Barrier(world, timeout=20), [torch.empty(0)] * world

    class Threads(Ranks):
        def _swapped(self, tensor: torch.Tensor) -> list[torch.Tensor]:
            parts[self.rank] = tensor.clone()
            barrier.wait()
            found = list(parts)
            barrier.wait()
            return found

        def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor.copy_(torch.stack(self._swapped(tensor)).sum(0))

        def gather(self, tensor: torch.Tensor) -> torch.Tensor:
            return torch.cat(self._swapped(tensor))

    return [Threads(rank, world) for rank in range(world)]


def two_steps(name: str, settings: dict, ranks: Ranks) -> list[torch.Tensor]:
    """The gradients of this process's images in two steps, in which they move."""
    data, asked = toys.data(), Run(ipc=IPC, seed=1, ranks=ranks)
    method = find(name)(net_width=6, batch=3, **settings)
    objective = method.objective(data, toys.teacher(), asked)
    position = Position(data, method.start(data, asked), method.descent(data), ranks=ranks)
    objective.begin(position.batches[0])
    x, generator, found = position.enter()[0].detach().double(), torch.Generator().manual_seed(9), []
    for t in range(2):
        found.append(objective.step(x.clone().requires_grad_(), t, generator).gradient)
        x = x - 0.1 * found[-1]
    return found


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(("name", "settings"), [("dm", {}), ("dc", {"outer": 2, "inner": 2}), ("dsa", {"outer": 2})])
def test_three_processes_take_the_steps_of_one(name, settings, norm, monkeypatch):
    """Of eight images they have three, three and two, so that each lacks a class."""
    settings, found, alone, build = settings | {"norm": norm}, {}, threading.Lock(), _drawing.build

    def one_at_a_time(*asked):  # threads have one global generator, of which weights are drawn
        with alone:
            return build(*asked)

    monkeypatch.setattr(_drawing, "build", one_at_a_time)
    whole = two_steps(name, settings, Ranks())

    def work(ranks: Ranks) -> None:
        found[ranks.rank] = two_steps(name, settings, ranks)

    threads = [threading.Thread(target=work, args=(ranks,)) for ranks in meeting(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(found[rank][0]) for rank in range(3)) == [2, 3, 3]
    for t in range(2):
        together = torch.cat([found[rank][t] for rank in range(3)])
        torch.testing.assert_close(together, whole[t], rtol=1e-8, atol=1e-10 * float(whole[t].abs().max()))


def test_equal_gradients_are_at_no_distance_and_opposite_ones_at_two_a_row():
    one = [toys.randn(3, 4), toys.randn(2, 5, seed=1)]
    assert float(distance(one, one)) < 1e-5
    assert float(distance(one, [-a for a in one])) == pytest.approx(2 * 5, rel=1e-5)


def test_the_network_of_dc_learns_from_the_images_between_updates():
    method, objective, x, labels = begun("dc", outer=2, inner=3, inner_lr=0.1, inner_batch=100)
    generator = torch.Generator().manual_seed(9)
    objective.step(x.clone().requires_grad_(), 0, generator)
    twin = drawn(method, objective, torch.Generator().manual_seed(9))
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), objective.network.parameters(), strict=True))
    objective.step(x.clone().requires_grad_(), 1, generator)
    sgd = torch.optim.SGD(twin.parameters(), 0.1)
    for _ in range(3):  # one batch an epoch: its order does not matter
        sgd.zero_grad()
        F.cross_entropy(twin(x), labels).backward()
        sgd.step()
    for a, b in zip(twin.parameters(), objective.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    before = objective.network
    objective.step(x.clone().requires_grad_(), 2, generator)
    assert objective.network is not before, "a new network after `outer` updates"


@pytest.mark.parametrize("name", ["dc", "dsa"])
@pytest.mark.parametrize(("ipc", "loops"), [(1, (1, 1)), (9, (1, 1)), (10, (10, 50)), (50, (50, 10)), (80, (50, 10))])
def test_the_loops_go_by_the_images_per_class_unless_they_are_told(name, ipc, loops):
    data, run = toys.data(), Run(ipc)
    for settings, expected in (({}, loops), ({"outer": 3}, (3, loops[1])), ({"inner": 4}, (loops[0], 4))):
        method = find(name)(**settings)
        used, said = method.objective(data, toys.teacher(), run).method, method.config(data, run)
        assert method.settled(data, ipc) == used
        assert (used.outer, used.inner) == (said["outer"], said["inner"]) == expected
        assert said["method"] == name


def test_digits_are_not_mirrored_by_their_presets():
    dsa, digits = find("dsa"), {find("dm").preset("mnist").strategy}
    for name in find("dc").presets:
        plain, of_digits = dsa.preset(name), dsa.preset(f"mnist-{name}")
        assert (of_digits.steps, of_digits.outer, of_digits.inner) == (plain.steps, plain.outer, plain.inner)
        digits.add(of_digits.strategy)
        assert plain.strategy == STRATEGY
    assert {frozenset(strategy.split("_")) for strategy in digits} == {frozenset(OPERATIONS) - {"flip"}}


def test_noise_is_what_dc_starts_from_and_real_images_are_what_dsa_does():
    data, asked = toys.data(), Run(ipc=IPC)
    noise, real = (find(name)().start(data, asked) for name in ("dc", "dsa"))
    assert torch.equal(noise.labels[noise.numbers], real.labels[real.numbers])
    assert noise.sizes == real.sizes == (IPC * toys.CLASSES,)
    assert noise.images.min() >= 0
    assert noise.images.max() <= 1
    assert noise.images.float().std() > 0.2


# ------------------------------------------------------------------------------------------------ the augmentation


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_draw_does_the_same_to_every_batch_and_image(name):
    view = Siamese(name).draw(torch.Generator().manual_seed(2))
    image = toys.randn(1, 3, 9, 9)
    one, several = view(image), view(torch.cat([image, toys.randn(2, 3, 9, 9, seed=1), image]))
    assert torch.equal(several[0], several[3])
    torch.testing.assert_close(several[:1], one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_image_may_have_its_own_draw(name):
    image = toys.randn(1, 3, 9, 9).expand(40, -1, -1, -1)
    seen = Siamese(name).draw(torch.Generator().manual_seed(2), 40)(image)
    assert len({tuple(each.flatten().tolist()) for each in seen}) >= 2


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_can_be_differentiated(name):
    x = toys.randn(2, 3, 6, 6).requires_grad_()
    view = Siamese(name).draw(torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(view, x)


def test_what_each_operation_does():
    def seen(name, x, u):
        return OPERATIONS[name](x, torch.tensor(u, dtype=x.dtype)[:, None])

    x = toys.randn(1, 3, 8, 8)
    assert torch.equal(seen("flip", x, [0.2, 0, 0]), x.flip(-1))
    assert torch.equal(seen("flip", x, [0.7, 0, 0]), x)
    assert torch.equal(seen("crop", x, [0.0, 0.5, 0])[:, :, 1:], x[:, :, :-1]), "down by an eighth"
    assert not seen("crop", x, [0.0, 0.5, 0])[:, :, 0].any()
    digit = toys.randn(1, 1, 28, 28)
    assert torch.equal(seen("crop", digit, [0.999, 0.5, 0])[:, :, :-4], digit[:, :, 4:]), "4 of 28, as published"
    assert int((seen("cutout", x, [0.5, 0.5, 0]) == 0).sum()) == 3 * 16
    assert int((seen("cutout", x, [0.0, 0.0, 0]) == 0).sum()) == 3 * 4, "at the corner less is cut"
    brighter = seen("color", x, [0.75, 0.5, 0.5])
    torch.testing.assert_close(brighter, x + 0.25)
    torch.testing.assert_close(seen("rotate", x, [0.5, 0, 0]), x)
    torch.testing.assert_close(seen("scale", x, [6 / 11 * 5 / 6, 6 / 11 * 5 / 6, 0]), x)  # a factor of 1


def test_a_strategy_with_no_such_operation_is_one_clear_error():
    with pytest.raises(ValueError, match=r"strategy has no operation 'blur'.*cutout"):
        find("dm")(strategy="flip_blur")


def test_gradients_of_a_batch_taken_in_parts_are_those_of_the_whole():
    network = toys.network().double().requires_grad_()
    x = toys.randn(40, 3, toys.SIZE, toys.SIZE)
    labels = torch.full((40,), 2)
    weights = [p for p in network.parameters() if p.ndim > 1]
    expected = torch.autograd.grad(F.cross_entropy(network(x), labels, reduction="sum") / 50, weights)
    for found in (weight_gradients(network, x, 2, 50), weight_gradients(network, x, 2, 50, graph=True)):
        for a, b in zip(found, expected, strict=True):
            assert torch.allclose(a, b.flatten(1), rtol=1e-10, atol=1e-14)
