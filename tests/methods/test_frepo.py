"""FRePo against slow float64 code, its pool, its labels, and what becomes of them."""

import copy
import dataclasses
import io
import math

import pytest
import torch
import toys
from torch import Tensor, nn

import unidd
from unidd.core.filters import Ridge
from unidd.core.objectives import Side
from unidd.data.datasets import ImageData, Split
from unidd.data.exchange import (
    from_files,
    from_huggingface,
    from_imagefolder,
    to_ddranking,
    to_huggingface,
    to_imagefolder,
    to_vico,
)
from unidd.data.synthetic import SyntheticSet
from unidd.engine.descent import Position
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods import find
from unidd.methods._krr import Prototypes, predict
from unidd.methods._lamb import Lamb
from unidd.methods.frepo import features, margin
from unidd.networks.evaluation import fixed_labels, stored_kind

IPC = 2


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))


def begun(**settings):
    """A method's objective at its start, in float64, and the network input."""
    data, asked = toys.data(), Run(ipc=IPC, seed=1)
    method = find("frepo")(**{"net_width": 6, "pool": 1, "net_lr": 0.01} | settings)
    objective = method.objective(data, toys.teacher(), asked)
    objective.descent = dataclasses.replace(objective.descent, dtype=torch.float64)
    position = Position(data, method.start(data, asked), method.descent(data))
    objective.begin(position.batches[0])
    return objective, position.enter()[0].detach().double()


def step(objective, x, generator, t=0):
    return objective.step(x.clone().requires_grad_(), t, generator)


def seeded(seed: int = 9) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(network: nn.Module, image: Tensor) -> Tensor:
    """The last map of one image: batch norm is scale and shift by its running statistics."""
    x = image[None]
    for layer in network.features:
        if isinstance(layer, nn.BatchNorm2d):
            numbers = (layer.running_mean, layer.running_var + layer.eps, layer.weight, layer.bias)
            mean, var, scale, shift = (n.detach()[None, :, None, None] for n in numbers)
            x = (x - mean) / var.sqrt() * scale + shift
        elif isinstance(layer, nn.Conv2d):
            x = torch.nn.functional.conv2d(x, layer.weight.detach(), layer.bias.detach(), padding=layer.padding)
        else:
            x = x.clamp(min=0) if isinstance(layer, nn.ReLU) else torch.nn.functional.avg_pool2d(x, 2)
    return x.flatten()


def slow_loss(network, x: Tensor, labels: Tensor, flip: bool) -> Tensor:
    """The loss over all real images, kernel entry by kernel entry."""
    data, classes = toys.data(), toys.CLASSES
    images, of = ([*x, *x.flip(-1)], [*labels, *labels]) if flip else ([*x], [*labels])
    own, n = [by_hand(network, image) for image in images], len(images)
    kernel = torch.stack([torch.stack([a @ b for b in own]) for a in own])
    raised = kernel + 1e-6 * kernel.trace() / n * torch.eye(n, dtype=torch.float64)
    coefficients, loss = torch.linalg.inv(raised) @ torch.stack(of), 0
    for image, k in zip(data.normalise(data.train.images).double(), data.train.labels.tolist(), strict=True):
        target = by_hand(network, image)
        found = torch.stack([target @ b for b in own]) @ coefficients
        for c in range(classes):
            loss = loss + (found[c] - ((c == k) - 1 / classes)) ** 2 / 2 / len(data.train)
    for label in labels:
        first, second = label.sort(descending=True).values[:2]
        loss = loss - torch.minimum(first - second, torch.tensor(1 / classes)) / len(labels)
    return loss


@pytest.mark.parametrize("use_flip", [True, False])
def test_loss_and_gradients_are_those_of_the_definition(use_flip):
    """Of a network that has learnt, whose statistics are no longer those it was drawn with."""
    objective, x = begun(use_flip=use_flip)
    generator = seeded()
    for t in range(3):
        step(objective, x, generator, t)
    objective.soft.data += 0.3 * toys.randn(*objective.soft.shape)  # some margins are below 1/c, some above
    labels = objective.soft.detach().clone().requires_grad_()
    found = step(objective, x, generator, 3)
    network, leaf = objective.pool[0].network, x.clone().requires_grad_()
    assert any((m.running_mean.abs() > 0.01).any() for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    loss = slow_loss(network, leaf, labels, use_flip)
    gradient, slope = torch.autograd.grad(loss, [leaf, labels])
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-8, atol=0)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-8, atol=1e-8 * float(gradient.abs().max()))
    torch.testing.assert_close(objective.soft.grad, slope, rtol=1e-8, atol=1e-8 * float(slope.abs().max()))


def test_kernel_ridge_of_features_is_the_ridge_filter():
    """(Ψ_s + βI)⁻¹Φ_s on the features, β being λ times the mean of ‖φ‖²/n."""
    own, target, labels = toys.randn(7, 5), toys.randn(4, 5, seed=1), toys.randn(7, 3, seed=2)
    beta = 1e-2 * float(own.square().sum(1).mean()) / len(own)
    expected = target @ Ridge(beta).apply(*Side.of(own, labels))
    torch.testing.assert_close(predict(target @ own.T, own @ own.T, labels, 1e-2), expected, rtol=1e-10, atol=1e-12)


def test_labels_start_centred_and_scaled_and_real_ones_are_not_scaled():
    objective, _ = begun()
    for label, k in zip(objective.soft.tolist(), [0, 1, 2, 3] * IPC, strict=True):
        assert label == pytest.approx([((c == k) - 1 / 4) / math.sqrt(4 / 10) for c in range(4)])
    assert objective.data.targets(torch.tensor([1])).tolist() == [[-0.25, 0.75, -0.25, -0.25]]


def test_the_margin_stops_to_pull_at_one_over_c():
    labels = torch.tensor([[0.5, 0.4, 0.0, 0.1], [0.0, 0.9, 0.0, 0.6]], dtype=torch.float64).requires_grad_()
    value = margin(labels)
    assert value.item() == pytest.approx(-(0.1 + 0.25) / 2)
    (slope,) = torch.autograd.grad(value, labels)
    assert slope.tolist() == [[-0.5, 0.5, 0, 0], [0, 0, 0, 0]]


def test_real_images_are_seen_as_they_are():
    """With all of them in a step, and one network, chance decides nothing."""
    objective, x = begun(use_flip=False)
    step(objective, x, seeded())
    twins = [copy.deepcopy(objective) for _ in range(2)]
    for twin in twins:
        twin.used = None  # the network stays as it is
    one, other = (step(twin, x, seeded(seed)) for twin, seed in zip(twins, (1, 2), strict=True))
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-12, atol=0)
    fewer, _ = begun(use_flip=False, batch=5)
    assert not torch.allclose(step(fewer, x, seeded(1)).loss, one.loss, rtol=1e-3)


def test_a_network_is_seen_with_its_running_statistics():
    objective, x = begun()
    step(objective, x, seeded())
    network = objective.pool[0].network
    assert not network.training
    torch.testing.assert_close(features(network, x)[:1], features(network, x[:1]))


def test_ages_are_spread_and_one_network_a_step_grows_older():
    objective, x = begun(pool=3, max_age=10)
    generator = seeded()
    step(objective, x, generator)
    assert [member.age for member in objective.pool] == [0, 3, 6]
    used = []
    for t in range(1, 25):
        before, used = objective.pool, [*used, objective.used]
        ages, before = [member.age for member in before], list(before)
        step(objective, x, generator, t)
        for i, (was, now) in enumerate(zip(before, objective.pool, strict=True)):
            assert now.age == (ages[i] if i != used[-1] else 0 if ages[i] > 10 else ages[i] + 1)
            assert (now.network is was.network) == (i != used[-1] or ages[i] <= 10)
    assert set(used) == {0, 1, 2}
    assert objective.pool[2].age < 6, "it was drawn anew"


def test_a_network_takes_a_step_of_adam_on_the_prototypes_as_they_are_now():
    objective, x = begun(use_flip=False)
    step(objective, x, seeded())
    twin, now = copy.deepcopy(objective.pool[0].network).train(), x + 0.1
    adam = torch.optim.Adam(twin.parameters(), 0.01)
    labels = objective.soft.detach().clone()
    ((twin(now) - labels) ** 2).sum().div(2 * len(x)).backward()
    adam.step()
    step(objective, now, seeded())
    for a, b in zip(twin.parameters(), objective.pool[0].network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_at_most_so_many_prototypes_teach_a_network():
    objective, x = begun(net_batch=3)
    step(objective, x, seeded())
    sizes = []
    objective.pool[0].network.register_forward_pre_hook(lambda _, images: sizes.append(len(images[0])))
    step(objective, x, seeded())
    assert sizes == [3]


@pytest.mark.parametrize("max_age", [1, 100])
def test_a_run_goes_on_with_the_same_bits_labels_and_pool_included(max_age):
    objective, x = begun(pool=2, max_age=max_age)
    generator = seeded()
    for t in range(4):
        step(objective, x, generator, t)
    file = io.BytesIO()
    torch.save(objective.state(), file)
    file.seek(0)
    again, _ = begun(pool=2, max_age=max_age)
    again.restore(torch.load(file, weights_only=True))
    twin = torch.Generator()
    twin.set_state(generator.get_state())
    for t in range(4, 10):
        one, other = step(objective, x, generator, t), step(again, x, twin, t)
        assert torch.equal(one.gradient, other.gradient)
        assert torch.equal(objective.soft, again.soft)
    for one, other in zip(objective.pool, again.pool, strict=True):
        assert one.age == other.age
        weights = other.network.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in one.network.state_dict().items())


def test_lamb_is_adam_whose_steps_are_as_long_as_the_tensor_times_the_rate():
    x, other = (toys.randn(3, 4, seed=i).requires_grad_() for i in range(2))
    optimizer, expected = Lamb([x, other], 0.1), [x.detach().clone(), other.detach().clone()]
    mean, square = [0, 0], [0, 0]
    for t in range(1, 4):
        for i, leaf in enumerate((x, other)):
            leaf.grad = toys.randn(3, 4, seed=10 * t + i) * 100**i
            mean[i], square[i] = 0.9 * mean[i] + 0.1 * leaf.grad, 0.999 * square[i] + 0.001 * leaf.grad**2
            update = mean[i] / (1 - 0.9**t) / ((square[i] / (1 - 0.999**t)).sqrt() + 1e-6)
            expected[i] = expected[i] - 0.1 * expected[i].norm() / update.norm() * update
        optimizer.step()
        for leaf, wanted in zip((x, other), expected, strict=True):
            torch.testing.assert_close(leaf.detach(), wanted, rtol=1e-10, atol=1e-12)
    zero = torch.zeros(3).requires_grad_()
    zero.grad = torch.ones(3)
    Lamb([zero], 0.1).step()
    torch.testing.assert_close(zero.detach(), torch.full((3,), -0.1), rtol=1e-5, atol=0)


def test_the_rate_falls_to_a_tenth_for_images_and_labels():
    data = toys.data()
    descent = find("frepo")(steps=100).descent(data)
    assert [descent.schedule(t, 100) for t in (0, 50, 100)] == pytest.approx([1, 0.55, 0.1])
    objective, x = begun(steps=4)
    for t in range(4):
        before = objective.soft.detach().clone()
        step(objective, x, seeded(), t)
        length = ((objective.soft - before).norm() / before.norm()).item()
        assert length == pytest.approx(3e-4 * (0.55 + 0.45 * math.cos(math.pi * t / 4)), rel=1e-3)


def test_images_are_mirrored_if_they_have_colour_unless_told_otherwise():
    data = toys.data()
    split = Split(data.train.images[:, :1], data.train.labels)
    grey = ImageData("grey", split, split, data.class_names)
    for data, wanted in ((toys.data(), True), (grey, False)):
        assert find("frepo")().settled(data).use_flip is wanted
        assert find("frepo")(use_flip=not wanted).settled(data).use_flip is not wanted
    assert find("frepo")().config(toys.data(), Run(ipc=1))["use_flip"] is True


def test_several_processes_are_refused():
    for name in ("frepo", "kip"):
        with pytest.raises(ValueError, match=f"{name}.*run it in one process"):
            find(name)().check(toys.data(), Run(ranks=Ranks(0, 2)))


def test_a_single_class_is_refused():
    split = toys.data().train.take(torch.arange(0, 20, 4))
    for name in ("frepo", "kip"):
        with pytest.raises(ValueError, match=f"{name}.*at least two"):
            find(name)().check(ImageData("ants", split, split, ("ant",)), Run(ipc=1))


# ------------------------------------------------------------------------------------------- what becomes of labels


def made(**settings) -> SyntheticSet:
    fast = {"steps": 3, "pool": 2, "net_width": 4, "lr": 0.1}
    return find("frepo")(**fast | settings).distill(toys.data(), toys.teacher(), Run(ipc=IPC, seed=1))


def test_the_set_stores_the_labels_that_were_learnt():
    found = made()
    start = torch.eye(4)[found.labels] - 0.25
    assert not torch.allclose(found.soft, start / math.sqrt(0.4), atol=0.01)
    assert found.config["learnt"]["moved"] == 0
    assert torch.allclose(made(steps=0).soft, start / math.sqrt(0.4))


def test_the_hard_label_stays_the_class_an_image_started_as_and_the_card_says_how_many_left_it(monkeypatch, tmp_path):
    """Else a set has not `ipc` images of each class, and no part of it, export or start from it is what was asked."""
    other = torch.tensor([0.1, -0.2, 0.3, 0.0]).repeat(8, 1)
    monkeypatch.setattr(Prototypes, "learnt", lambda self: {"soft": other, "soft labels": "centred"})
    found = made()
    assert (found.counts, found.ipc) == ([IPC] * 4, IPC)
    assert found.config["learnt"] == {"soft labels": "centred", "moved": 6}
    assert torch.equal(found.soft, other)
    assert found.first(1).labels.tolist() == [0, 1, 2, 3]
    asked = Run(ipc=IPC, start=found)
    again = find("dm")(steps=1, net_width=4, batch=2).distill(toys.data(), toys.teacher(), asked)
    assert again.labels.tolist() == found.labels.tolist() == [0, 1, 2, 3] * IPC
    (images, labels), *_ = torch.load(to_vico(found, tmp_path / "res.pt"), weights_only=True)["data"]
    assert labels.tolist() == sorted([0, 1, 2, 3] * IPC)
    torch.testing.assert_close(images[::IPC], toys.data().normalise(found.first(1).images))


def test_labels_and_their_kind_outlive_parts_and_files(tmp_path):
    pytest.importorskip("pyarrow")
    found = made(lr=0.5, steps=8)
    assert found.soft.sum(1).abs().max() > 1e-3, "by their numbers they would be logits"
    part = found.only(["bee", "dog"])
    assert torch.equal(part.soft, found.soft[found.labels % 2 == 1][:, [1, 3]])
    exported = (
        from_imagefolder(to_imagefolder(found, tmp_path / "folder")),
        from_huggingface(to_huggingface(found, tmp_path / "parquet")),
        from_files(to_ddranking(found, tmp_path / "ddranking")),
    )
    assert exported[2].config["import"]["soft labels"] == "centred"
    for each in (found, found.first(1), part, SyntheticSet.load(found.save(tmp_path / "set")), *exported):
        assert stored_kind(each) == "centred"
        wanted = part if each is part else found.first(1) if len(each) == len(found) / IPC else found
        by_class = [t.labels.argsort(stable=True) for t in (each, wanted)]
        assert each.counts == wanted.counts
        assert torch.equal(each.soft[by_class[0]], wanted.soft[by_class[1]]), "each label is still its image's"
    assert torch.equal(SyntheticSet.load(tmp_path / "set").soft, found.soft)


def test_labels_that_someone_changed_in_an_export_say_their_class_themselves(tmp_path):
    found = made(lr=0.5, steps=8)
    assert found.config["learnt"]["moved"]
    folder, changed = to_ddranking(found, tmp_path / "ddranking"), torch.eye(4).flip(0).repeat(IPC, 1)
    torch.save(changed, folder / "labels.pt")
    assert from_files(folder).labels.tolist() == [3, 2, 1, 0] * IPC


def test_students_learn_the_labels_without_a_teacher():
    found = unidd.distill(toys.data(), "frepo", ipc=IPC, budget="smoke", progress=False)
    asked = {"budget": "smoke", "seeds": (0,), "progress": False}
    accuracy = unidd.evaluate(found, toys.data(), regimes=("hard", "fixed-soft"), **asked)
    assert {name: len(values) for name, values in accuracy.items()} == {"hard": 1, "fixed-soft": 1}
    assert fixed_labels(found, toys.data()).kind == "centred"
