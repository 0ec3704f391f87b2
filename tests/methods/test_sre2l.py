"""SRe2L and CDA: loss and gradient against slow float64 code, and what the released code does otherwise."""

import copy
import threading

import pytest
import torch
import toys
from torch import Tensor, nn

from unidd.data.augment import crop_flip_roll, flip, random_resized_crop, roll
from unidd.data.synthetic import SyntheticSet
from unidd.engine.descent import Batch, Position, steps
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods import find
from unidd.methods._recovering import Recovery, batch_norms
from unidd.networks.training import Teacher

RUN = Run(ipc=2, seed=1)


def deep() -> nn.Module:
    """Batch norms of a map, of a map, of features; the statistics of the toy's first one are kept. In float64."""
    first, norm, *_ = copy.deepcopy(toys.network())
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = nn.Sequential(
            *(first, norm, nn.ReLU(), nn.Conv2d(6, 5, 3, stride=2), nn.BatchNorm2d(5), nn.ReLU(), nn.AvgPool2d(3)),
            *(nn.Flatten(), nn.BatchNorm1d(5), nn.Linear(5, toys.CLASSES)),
        ).double()
        for one in (net[4], net[8]):
            one.running_mean, one.running_var = 0.3 * torch.randn(5).double(), 0.5 + torch.rand(5).double()
    return net.eval().requires_grad_(False)


def batch(n: int = toys.CLASSES, first: int = 0, of: int = 0, steps: int = 1000) -> Batch:
    labels = torch.arange(first, first + n)
    return Batch(0, 0, 0, labels, labels, 0, (first, of or n), steps)


def begun(method, network: nn.Module, of: Batch | None = None, all_sum=None) -> Recovery:
    objective = Recovery(method, network, all_sum)
    objective.begin(of or batch())
    return objective


def written_out(network: nn.Module, seen: Tensor, labels: Tensor, r_bn: float, first_bn: float) -> Tensor:
    """The loss as it is defined: image by image, layer by layer, channel by channel."""
    loss, feature, weight = torch.zeros((), dtype=torch.float64), seen, first_bn
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            means, variances = [], []
            for channel in range(feature.shape[1]):
                values = torch.cat([image[channel].flatten() for image in feature])
                means.append(sum(values) / len(values))
                variances.append(sum((value - means[-1]) ** 2 for value in values) / len(values))
            mean, variance = torch.stack(means), torch.stack(variances)
            apart = (mean - layer.running_mean).square().sum().sqrt()
            apart = apart + (variance - layer.running_var).square().sum().sqrt()
            loss, weight = loss + r_bn * weight * apart, 1.0
            scale = layer.weight / (layer.running_var + layer.eps).sqrt()
            shape = (1, -1, *[1] * (feature.ndim - 2))
            centred = feature - layer.running_mean.view(shape)
            feature = centred * scale.view(shape) + layer.bias.view(shape)
        else:
            feature = layer(feature)
    for logits, label in zip(feature, labels, strict=True):
        loss = loss - (logits[label] - logits.logsumexp(0)) / len(labels)
    return loss


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("network", [deep, toys.network], ids=["three norms", "one norm"])
def test_loss_and_gradient_against_the_definition(network, crop):
    method = find("sre2l")(r_bn=0.7, first_bn=3.0, crop=crop, shift=2, scale=0.3)
    net, x = network(), toys.randn(toys.CLASSES, 3, 8, 8, seed=2)
    found = begun(method, net).step(x.clone().requires_grad_(), 0, torch.Generator().manual_seed(9))
    generator, leaf = torch.Generator().manual_seed(9), x.clone().requires_grad_()
    seen = leaf
    if crop:
        seen = flip(random_resized_crop(seen, generator, (0.3, 1.0)), generator)
    loss = written_out(net, roll(seen, generator, 2), batch().labels, 0.7, 3.0)
    (gradient,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-10, atol=0)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-8, atol=1e-12)


def test_the_terms_are_those_that_the_weights_say():
    net, x = deep(), toys.randn(toys.CLASSES, 3, 8, 8, seed=2)

    def step(**settings):
        method = find("sre2l")(**settings)
        return begun(method, net).step(x.clone().requires_grad_(), 0, torch.Generator().manual_seed(9))

    plain, none, tenfold = step(r_bn=0.5, first_bn=1.0), step(r_bn=0.0), step(r_bn=0.5, first_bn=10.0)
    plain_terms, tenfold_terms = (found.values(Ranks()) for found in (plain, tenfold))
    assert float(none.loss) == pytest.approx(plain_terms["classification"])
    assert float(plain.loss) == pytest.approx(float(none.loss) + 0.5 * plain_terms["statistics"])
    assert tenfold_terms["statistics"] > plain_terms["statistics"]


def test_statistics_that_are_met_are_no_distance():
    """The norms keep the biased variance of one batch; that batch is then at their statistics."""
    net, x = deep(), toys.randn(toys.CLASSES, 3, 8, 8, seed=2)
    method = find("sre2l")(crop=False, shift=0, r_bn=1.0)
    feature = x
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            rows = feature.movedim(1, -1).reshape(-1, feature.shape[1])
            layer.running_mean, layer.running_var = rows.mean(0), rows.var(0, correction=0)
        feature = layer(feature)
    found = begun(method, net).step(x.requires_grad_(), 0, torch.Generator())
    assert found.values(Ranks())["statistics"] < 1e-12
    assert found.gradient.isfinite().all()


def test_several_processes_take_the_statistics_of_all_images():
    """Two threads of three and one image, which sum as processes do, against one with four."""
    method, x = find("sre2l")(r_bn=0.7, shift=2), toys.randn(toys.CLASSES, 3, 8, 8, seed=2)
    whole = begun(method, deep()).step(x.clone().requires_grad_(), 0, torch.Generator().manual_seed(9))
    barrier, parts, found = threading.Barrier(2, timeout=20), [None, None], {}
    networks = deep(), deep()  # drawn here: all threads share the generator they come of

    def work(rank: int, first: int, n: int) -> None:
        def all_sum(tensor: Tensor) -> Tensor:
            parts[rank] = tensor.clone()
            barrier.wait()
            total = parts[0] + parts[1]
            barrier.wait()
            return tensor.copy_(total)

        objective = begun(method, networks[rank], batch(n, first, toys.CLASSES), all_sum)
        own = x[first : first + n].clone().requires_grad_()
        found[rank] = objective.step(own, 0, torch.Generator().manual_seed(9))

    threads = [threading.Thread(target=work, args=task) for task in ((0, 0, 3), (1, 3, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gradient = torch.cat([found[0].gradient, found[1].gradient])
    torch.testing.assert_close(gradient, whole.gradient, rtol=1e-8, atol=1e-12)
    assert found[0].partial == ("classification",), "the statistics are those of all already"
    classification = found[0].terms["classification"] + found[1].terms["classification"]
    torch.testing.assert_close(classification, whole.terms["classification"], rtol=1e-10, atol=0)
    for rank in (0, 1):
        torch.testing.assert_close(found[rank].terms["statistics"], whole.terms["statistics"], rtol=1e-10, atol=0)


# ------------------------------------------------------------------------------------------------ the images


def test_it_starts_from_noise_clipped_to_valid_pixels():
    data, start = toys.data(), find("sre2l")().start(toys.data(), RUN)
    assert len(start.numbers) == 2 * toys.CLASSES
    x = data.normalise(start.images)
    low, high = data.normalise(torch.zeros(3, 1, 1)), data.normalise(torch.ones(3, 1, 1))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(x, torch.minimum(torch.maximum(noise, low), high), rtol=1e-4, atol=1e-5)


def test_a_batch_is_one_image_of_each_class_of_a_group():
    start = find("sre2l")(group=3).start(toys.data(), RUN)
    assert start.sizes == (3, 1, 3, 1)
    assert start.labels[start.numbers].tolist() == [0, 1, 2, 3] * 2
    assert find("sre2l")().start(toys.data(), RUN).sizes == (4, 4)


@pytest.mark.parametrize("name", ["sre2l", "cda"])
def test_the_last_iterate_is_kept_as_it_is_and_not_the_best(name):
    """At a rate that makes the loss rise in the end; to 8 bits, or through a JPEG, pixels would be others."""
    data, method, asked = toys.data(), find(name)(steps=15, lr=2.0), Run(seed=1)
    position = Position(data, method.start(data, asked), method.descent(data), asked.seed)
    losses = [float(taken.step.loss) for taken in steps(method.objective(data, toys.teacher(), asked), position)]
    assert min(losses) < losses[-1] - 0.1, "the best is not the last"
    made = method.distill(data, toys.teacher(), asked)
    assert torch.equal(made.images, position.images)
    assert not torch.equal((made.images * 255).round() / 255, made.images)
    assert made.images.dtype == torch.float32


def test_pixels_are_those_of_the_datas_own_normalisation():
    made = find("sre2l")(steps=1).distill(toys.data(), toys.teacher(), RUN)
    assert (made.mean, made.std) == (toys.data().mean, toys.data().std)


def test_a_teacher_that_is_in_train_mode_recovers_what_it_does_in_eval_mode():
    method, teacher = find("sre2l")(steps=3), toys.teacher()
    expected = method.distill(toys.data(), toys.teacher(), RUN)
    teacher.model.train()
    assert torch.equal(method.distill(toys.data(), teacher, RUN).images, expected.images)
    assert teacher.model.training, "it is as it was"


@pytest.mark.parametrize("name", ["sre2l", "cda", "fadrm"])
def test_a_teacher_without_batch_norm_is_one_clear_error_before_the_work(name):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, toys.CLASSES))
    kept_none = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), *plain)
    for network in (plain, kept_none):
        assert batch_norms(network) == {}
        with pytest.raises(ValueError, match="batch norms, and this one has none"):
            find(name)().distill(toys.data(), Teacher(network), RUN)


def test_it_starts_from_a_set_that_is_given():
    start = SyntheticSet.from_real(toys.data(), 2, seed=5)
    made = find("sre2l")(steps=0).distill(toys.data(), toys.teacher(), Run(2, start=start))
    assert torch.equal(made.images, start.images)


# ------------------------------------------------------------------------------------------------ the curriculum


def test_the_smallest_crop_of_cda_falls_by_a_cosine_and_then_stays():
    method = find("cda")(scale=0.08)
    assert [method.smallest(t, 1000) for t in (0, 500)] == pytest.approx([1.0, 0.54])
    assert method.smallest(250, 1000) == pytest.approx(0.08 + 0.92 * (1 + 2**-0.5) / 2)
    assert method.smallest(999, 1000) == pytest.approx(0.08, abs=1e-5)
    early = find("cda")(milestone=0.5)
    assert early.smallest(250, 1000) == pytest.approx(0.54)
    assert [early.smallest(t, 1000) for t in (500, 999)] == [0.08, 0.08]
    never = find("cda")(milestone=0.0)
    assert {never.smallest(t, 1000) for t in (0, 500, 999)} == {0.08}
    assert {find("sre2l")().smallest(t, 1000) for t in (0, 500, 999)} == {0.08}


@pytest.mark.parametrize("t", [0, 5, 9])
def test_cda_sees_crops_of_its_step(t):
    method, x = find("cda")(shift=1), toys.randn(toys.CLASSES, 3, 8, 8, seed=2)
    objective = begun(method, deep(), batch(steps=10))
    seen = objective.augment(x, t, torch.Generator().manual_seed(3))
    task = x, torch.Generator().manual_seed(3), (0, toys.CLASSES)
    assert torch.equal(seen, crop_flip_roll(*task, scale=method.smallest(t, 10), shift=1))


def test_published_hyper_parameters():
    """Of the released scripts; ×10 for the first norm throughout."""
    sre2l, cda = find("sre2l"), find("cda")
    assert {sre2l.preset(name).first_bn for name in sre2l.presets} == {10.0}
    cifar, tiny, large = (sre2l.preset(name) for name in ("cifar100", "tiny-imagenet", "imagenet"))
    assert (cifar.steps, cifar.lr, cifar.r_bn, cifar.shift, cifar.crop) == (1000, 0.25, 0.01, 4, False)
    assert (tiny.steps, tiny.lr, tiny.r_bn, tiny.shift, tiny.crop) == (4000, 0.1, 1.0, 4, True)
    assert (large.steps, large.lr, large.r_bn, large.shift, large.group) == (4000, 0.25, 0.01, 32, 100)
    tiny, large = (cda.preset(name) for name in ("tiny-imagenet", "imagenet"))
    assert (tiny.steps, tiny.lr, tiny.r_bn, tiny.milestone) == (4000, 0.4, 0.05, 1.0)
    assert (large.steps, large.lr, large.r_bn, large.milestone) == (4000, 0.25, 0.01, 1.0)
