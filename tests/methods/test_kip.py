"""KIP against slow float64 code: its loss with either kernel, and the kernels themselves."""

import dataclasses
import math

import pytest
import torch
import toys
from torch import Tensor, nn

from unidd.data.synthetic import SyntheticSet
from unidd.engine.descent import Position
from unidd.engine.run import Run
from unidd.methods import find
from unidd.methods.kip import random_convnet, tangent_kernel
from unidd.networks.evaluation import stored_kind

IPC = 2


def begun(seed: int = 1, **settings):
    """A method's objective at its start, and a network input in float64 that is near the start, but no real image."""
    data, asked = toys.data(), Run(ipc=IPC, seed=seed)
    method = find("kip")(**{"net_width": 6, "networks": 2} | settings)
    objective = method.objective(data, toys.teacher(), asked)
    position = Position(data, method.start(data, asked), method.descent(data))
    objective.begin(position.batches[0])
    x = position.enter()[0].detach().double()
    objective.networks = [network.double() for network in objective.networks]
    return objective, x + 0.1 * toys.randn(*x.shape)


def step(objective, x, seed: int = 9, t: int = 0):
    return objective.step(x.clone().requires_grad_(), t, torch.Generator().manual_seed(seed))


def tangent(a: Tensor, b: Tensor, same: bool) -> Tensor:
    """Layer by layer: covariance and tangent kernel after the first layer, the ReLU, the second layer."""
    inner = [2 * (u @ v) / len(a) + 0.01 for u, v in ((a, a), (a, b), (b, b))]
    scale = (inner[0] * inner[2]).sqrt()
    angle = torch.zeros((), dtype=a.dtype) if same else torch.acos(inner[1] / scale)
    covariance = scale / (2 * math.pi) * (torch.sin(angle) + (math.pi - angle) * torch.cos(angle))
    slopes = inner[1] * (math.pi - angle) / (2 * math.pi)
    return 2 * covariance + 0.01 + 2 * slopes


def features(objective, image: Tensor) -> Tensor:
    return torch.cat([network(image[None]).flatten() for network in objective.networks])


@pytest.mark.parametrize("kernel", ["fc", "conv"])
def test_loss_and_gradients_are_those_of_the_definition(kernel):
    objective, x = begun(kernel=kernel, ridge=1e-4)
    objective.soft.data += 0.3 * toys.randn(*objective.soft.shape)
    labels, leaf = objective.soft.detach().clone().requires_grad_(), x.clone().requires_grad_()
    found = step(objective, x)

    def k(a: Tensor, b: Tensor, same: bool = False) -> Tensor:
        if kernel == "conv":
            return features(objective, a) @ features(objective, b)
        return tangent(a.flatten(), b.flatten(), same)

    n, data = len(x), toys.data()
    own = torch.stack([torch.stack([k(leaf[i], leaf[j], i == j) for j in range(n)]) for i in range(n)])
    coefficients = torch.linalg.inv(own + 1e-4 * own.trace() / n * torch.eye(n, dtype=x.dtype)) @ labels
    loss = 0
    for image, of in zip(data.normalise(data.train.images).double(), data.train.labels.tolist(), strict=True):
        prediction = torch.stack([k(image, each) for each in leaf]) @ coefficients
        for c in range(toys.CLASSES):
            loss = loss + (prediction[c] - ((c == of) - 0.25)) ** 2 / 2 / len(data.train)
    gradient, slope = torch.autograd.grad(loss, [leaf, labels])
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-8, atol=0)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-8, atol=1e-8 * float(gradient.abs().max()))
    torch.testing.assert_close(objective.soft.grad, slope, rtol=1e-8, atol=1e-8 * float(slope.abs().max()))


def test_the_fc_kernel_is_the_tangent_kernel_of_a_wide_network():
    """The products of the gradients of f = √2 v·max(0, √(2/d) Wx + 0.1 b)/√w + 0.1 a in all weights."""
    width, rows = 200_000, toys.randn(3, 5)
    w, b, v = toys.randn(width, 5, seed=1), toys.randn(width, seed=2), toys.randn(width, seed=3)
    a = torch.zeros((), dtype=torch.float64)
    leaves, slopes = [each.requires_grad_() for each in (w, b, v, a)], []
    for x in rows:
        hidden = torch.relu(math.sqrt(2 / 5) * w @ x + 0.1 * b)
        f = math.sqrt(2 / width) * v @ hidden + 0.1 * a
        slopes.append(torch.cat([slope.flatten() for slope in torch.autograd.grad(f, leaves)]))
    slopes = torch.stack(slopes)
    torch.testing.assert_close(tangent_kernel(rows, rows), slopes @ slopes.T, rtol=0.02, atol=0.02)


def test_the_fc_kernel_has_a_slope_where_images_are_the_same():
    """Of each with itself, and of a prototype with the real image that it is: the length counts, the angle does not."""
    rows = toys.randn(30, 5).requires_grad_()
    kernel = tangent_kernel(rows, rows)
    (slope,) = torch.autograd.grad(kernel.diagonal().sum(), rows)
    torch.testing.assert_close(kernel.diagonal(), 4 * rows.square().sum(1) / 5 + 0.03, rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, 8 * rows.detach() / 5)
    (slope,) = torch.autograd.grad(tangent_kernel(rows.detach(), rows).sum(), rows)
    assert slope.isfinite().all()


def test_the_conv_kernel_settles_with_its_width():
    """Draws differ ever less: less than half as much at sixteen times the width."""
    data = toys.data()
    images = data.normalise(data.train.images)

    def apart(width: int) -> float:
        kernels = []
        for seed in range(6):
            maps = random_convnet(data, width, torch.Generator().manual_seed(seed))(images).flatten(1)
            kernels.append(maps @ maps.T / maps.shape[1])
        return float(torch.stack(kernels).std(0).norm() / torch.stack(kernels).mean(0).norm())

    assert apart(200) < 0.5 * apart(12)


def test_the_conv_networks_are_drawn_once_with_the_variances_of_the_kernel():
    network = random_convnet(toys.data(), 100, torch.Generator().manual_seed(0))
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    assert [layer.weight.var().item() * layer.weight[0].numel() for layer in convolutions] == pytest.approx(
        [2, 2, 2], rel=0.1
    )
    assert torch.cat([layer.bias for layer in convolutions]).std().item() == pytest.approx(0.1, rel=0.15)
    objective, x = begun(kernel="conv")
    before = [value.clone() for each in objective.networks for value in each.parameters()]
    step(objective, x)
    assert all(map(torch.equal, before, (value for each in objective.networks for value in each.parameters())))
    again, other = begun(kernel="conv")[0], begun(seed=2, kernel="conv")[0]
    assert torch.equal(again.networks[1][0].weight, objective.networks[1][0].weight)
    assert not torch.equal(other.networks[1][0].weight, objective.networks[1][0].weight)
    assert not torch.equal(objective.networks[0][0].weight, objective.networks[1][0].weight)
    assert begun()[0].networks == []


def test_real_images_are_as_many_of_each_class_not_augmented():
    objective, x = begun(batch=8)
    drawn, of = [], objective.real.of
    objective.real.of = lambda k, generator: drawn.append((k, of(k, generator))) or drawn[-1][1]
    step(objective, x)
    assert [(k, len(images)) for k, images in drawn] == [(k, 2) for k in range(4)]
    whole, _ = begun(batch=5000)
    torch.testing.assert_close(step(whole, x, 1).loss, step(begun()[0], x, 2).loss, rtol=1e-12, atol=0)
    assert not torch.allclose(step(objective, x, 1).loss, step(begun(batch=8)[0], x, 2).loss, rtol=1e-4)


def test_a_class_with_fewer_images_counts_by_what_it_has():
    data = toys.data()
    kept = torch.cat([torch.arange(12), torch.tensor([12, 16])])  # class 0 has five, the others three
    small = dataclasses.replace(data, train=data.train.take(kept))
    objective = find("kip")(steps=1).objective(small, toys.teacher(), Run(ipc=IPC))
    x = data.normalise(data.train.images[:8]).double() + 0.1
    found = step(objective, x)
    images, labels = small.normalise(small.train.images).double().flatten(1), small.train.labels
    own = tangent_kernel(x.flatten(1), x.flatten(1))
    raised = own + 1e-6 * own.trace() / 8 * torch.eye(8)
    hard = objective.data.targets(torch.arange(8) % 4)
    gaps = tangent_kernel(images, x.flatten(1)) @ torch.linalg.solve(raised, hard) - objective.data.targets(labels)
    torch.testing.assert_close(found.loss, gaps.square().sum() / (2 * len(images)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("learn", [True, False])
def test_labels_start_centred_and_are_learnt_if_asked(learn):
    objective, x = begun(learn_labels=learn)
    start = torch.eye(4, dtype=torch.float64).repeat(IPC, 1) - 0.25
    torch.testing.assert_close(objective.soft.detach(), start)
    step(objective, x)
    moved = (objective.soft.detach() - start).abs().max().item()
    assert moved == pytest.approx(0.04 if learn else 0, rel=1e-3), "a step of Adam is as long as its rate"


@pytest.mark.parametrize("learn", [True, False])
def test_the_set_stores_labels_that_were_learnt(learn, tmp_path):
    method = find("kip")(steps=5, learn_labels=learn)
    found = method.distill(toys.data(), toys.teacher(), Run(ipc=IPC))
    assert stored_kind(SyntheticSet.load(found.save(tmp_path / "set"))) == ("centred" if learn else None)
    assert ("learnt" in found.config) is learn
    assert found.labels.tolist() == [0, 1, 2, 3] * IPC


def test_the_rate_is_constant():
    descent = find("kip")().descent(toys.data())
    assert {descent.schedule(t, 300) for t in (0, 150, 299)} == {1.0}
