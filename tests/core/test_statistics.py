"""Correlations against the oracle, streaming against one-shot, the moving update, and the hooks."""

import hashlib
import itertools
import math

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toys import randn

from unidd.core.filters import AllPass, Custom, Landweber, Linear, Ridge
from unidd.core.statistics import (
    SIGNALS,
    FeatureTap,
    GradientTap,
    Moments,
    RealSide,
    correlations,
    covariance,
    emu,
    flc,
    per_position,
    real_statistics,
    rows,
    signal_targets,
    single,
    statistics_hash,
)
from unidd.networks.models import ModelConfig, build, tapped_layers


def same(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-12) -> None:
    """Relative to the largest entry: entries that cancel to nothing carry the rounding of the others."""
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * float(b.abs().max()))


# ------------------------------------------------------------------------------------ rows, Ψ, Φ, targets


def test_rows_are_positions_and_columns_channels():
    features = randn(2, 5, 3, 4)
    same(rows(features), torch.stack(oracles.rows_of(features)), 0)
    same(rows(features[:, :, 0, 0]), features[:, :, 0, 0], 0)


@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (1, 6, 1, 1), (2, 8, 1, 3)], ids=str)
def test_covariance_and_flc_against_the_oracle(shape):
    features, targets = 3 + randn(*shape), randn(shape[0], 3, seed=1)
    ffc, phi = correlations(features, targets)
    expected = oracles.covariance(features), oracles.flc(features, targets)
    torch.testing.assert_close(ffc, expected[0], rtol=0, atol=1e-12)
    same(phi, expected[1])
    torch.testing.assert_close(covariance(rows(features)), expected[0], rtol=0, atol=1e-12)
    same(flc(rows(features), per_position(targets, features)), expected[1])


def test_fully_connected_features_are_one_position_an_image():
    features, targets = randn(6, 4), randn(6, 2, seed=1)
    ffc, phi = correlations(features, targets)
    same(ffc, torch.cov(features.T, correction=0))
    same(phi, features.T @ targets / 6)


def test_each_images_target_is_repeated_over_its_own_positions():
    targets = torch.tensor([[1.0], [2.0]])
    for channels in (1, 3):
        repeated = per_position(targets, torch.zeros(2, channels, 2, 2))
        assert repeated.flatten().tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("kind", SIGNALS)
def test_signal_targets_against_the_oracle(kind):
    labels, logits = torch.tensor([2, 0, 2, 1]), randn(4, 3)
    targets = signal_targets(kind, labels, logits)
    expected = oracles.signal(kind, labels, logits, 3)
    assert targets.shape == expected.shape
    assert targets.dtype == torch.float64
    same(targets, expected)
    assert signal_targets(kind, labels, logits.float()).dtype == torch.float32


def test_class_signal_keeps_a_column_for_classes_that_are_absent():
    assert signal_targets("class", torch.tensor([0, 0]), torch.zeros(2, 4)).shape == (2, 4)


def test_only_the_mix_signal_carries_gradient():
    logits = randn(4, 3).requires_grad_()
    labels = torch.zeros(4, dtype=torch.long)
    carries = {kind: signal_targets(kind, labels, logits).requires_grad for kind in SIGNALS}
    assert carries == {"mean": False, "class": False, "mix": True}


def test_unknown_signal():
    with pytest.raises(ValueError, match=r"median.*mean, class, mix"):
        signal_targets("median", torch.tensor([0]), torch.zeros(1, 2))


# ---------------------------------------------------------------------------------------------- streaming


def merged(parts: list[Moments], tree: bool) -> Moments:
    """Left to right, or pairwise like a tree: any bracketing must do."""
    while len(parts) > 1:
        parts = [parts[0].merge(parts[1]), *parts[2:]] if not tree else [*parts[2:], parts[0].merge(parts[1])]
    return parts[0]


@settings(deadline=None, max_examples=80)
@given(
    images=st.integers(1, 9),
    cuts=st.sets(st.integers(1, 8)),
    order=st.randoms(use_true_random=False),
    offset=st.sampled_from([0.0, 1.0, 30.0]),
    tree=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_streaming_equals_one_shot_over_any_split_in_any_order(images, cuts, order, offset, tree, seed):
    features, targets = offset + randn(images, 4, 2, 3, seed=seed), randn(images, 3, seed=seed + 1)
    features[:, 2] = 0.7  # a dead channel: its variance is 0, its mean is not
    edges = [0, *sorted(c for c in cuts if c < images), images]
    parts = [Moments.of(features[a:b], targets[a:b]) for a, b in itertools.pairwise(edges)]
    order.shuffle(parts)
    streamed, at_once = merged(parts, tree), Moments.of(features, targets)

    assert streamed.count == at_once.count == images * 6
    ffc, phi, mean = oracles.covariance(features), oracles.flc(features, targets), rows(features).mean(0)
    for moments in (streamed, at_once):
        torch.testing.assert_close(moments.ffc, ffc, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(moments.flc, phi, rtol=1e-12, atol=1e-12 * (1 + offset))
        torch.testing.assert_close(moments.mean, mean, rtol=1e-12, atol=1e-12)


def test_streaming_does_not_cancel_where_the_mean_is_large():
    """Sums of squares would lose all digits here: mean 1e7, standard deviation 1."""
    features, targets = randn(40, 3, 2, 2), torch.ones(40, 1, dtype=torch.float64)
    parts = zip((features + 1e7).split(7), targets.split(7), strict=True)
    streamed = merged([Moments.of(*part) for part in parts], tree=False)
    torch.testing.assert_close(streamed.ffc, oracles.covariance(features), rtol=0, atol=1e-8)


def test_moments_accumulate_single_precision_features_in_double():
    features, targets = randn(20, 3, 4, 4).float(), torch.ones(20, 1)
    moments = Moments.of(features, targets)
    assert moments.ffc.dtype == moments.flc.dtype == torch.float64
    same(moments.ffc, oracles.covariance(features.double()))


@pytest.mark.parametrize("b", [1, 2, 7])
def test_moving_update_against_the_oracle_and_the_plain_mean(b):
    batches = randn(b, 3, 2).unbind()
    mine = theirs = None
    for count, batch in enumerate(batches, start=1):
        mine, theirs = emu(mine, batch, count), oracles.emu(theirs, batch, count)
    same(mine, theirs)
    same(mine, sum(batches) / b)


def test_moving_update_ignores_what_was_before_the_first_batch():
    assert torch.equal(emu(torch.full((2,), torch.nan), torch.ones(2), 1), torch.ones(2))


def test_moving_update_passes_gradient_to_the_current_batch_only():
    previous, current = randn(3).requires_grad_(), randn(3, seed=1).requires_grad_()
    emu(previous, current, 4).sum().backward()
    assert previous.grad is None
    same(current.grad, torch.full((3,), 0.25, dtype=torch.float64))


def test_moments_move_with_all_their_parts():
    moments = Moments.of(randn(5, 3, 2, 2), randn(5, 2))
    there = moments.to("meta")
    assert there.count == 20
    assert [part.device.type for part in (there.mean, there.scatter, there.cross)] == ["meta"] * 3
    assert [part.shape for part in (there.mean, there.scatter, there.cross)] == [(3,), (3, 3), (3, 2)]


def test_half_precision_becomes_single_and_nothing_else_changes():
    types = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    assert [single(torch.ones(2, dtype=t)).dtype for t in types] == [torch.float32] * 3 + [torch.float64]


def test_the_hash_of_statistics_is_that_of_their_bytes_and_names():
    """Every part counts, and a number is another in another layer."""
    moments = Moments.of(randn(5, 3), randn(5, 2))
    parts = {"count": torch.tensor(5), "mean": moments.mean, "scatter": moments.scatter, "cross": moments.cross}
    digest = hashlib.sha256()
    for layer in ("a", "b"):
        for part, tensor in parts.items():
            digest.update(f"{layer}.{part}".encode() + tensor.contiguous().numpy().tobytes())
    assert statistics_hash({"a": moments, "b": moments}) == digest.hexdigest()


# -------------------------------------------------------------------------------------------- the real side


def side(scale: float = 1.0, offset: float = 0.0) -> tuple[RealSide, torch.Tensor, torch.Tensor]:
    """A real side with a dead channel, its Ψ and its Φ."""
    features, targets = scale * randn(20, 5, 2, 2), randn(20, 3, seed=1)
    features[:, 3] = 0
    features = features + offset
    ffc, phi = oracles.covariance(features), oracles.flc(features, targets)
    return RealSide.of(Moments.of(features, targets)), ffc, phi


def test_the_real_side_holds_the_spectrum_in_order_and_nothing_below_zero():
    found, ffc, phi = side()
    assert (found.eigenvalues.diff() >= 0).all()
    assert found.eigenvalues[0] >= 0
    same((found.basis * found.eigenvalues) @ found.basis.T, ffc)
    same(found.flc, phi)
    negative = Moments(2, torch.zeros(2), torch.diag(torch.tensor([-1e-9, 4.0])), torch.zeros(2, 1))
    assert RealSide.of(negative).eigenvalues.tolist() == [0, 2]


@pytest.mark.parametrize(
    "filter", [Ridge(0.05), Landweber(0.3, 5), AllPass(), Custom(torch.exp)], ids=lambda f: type(f).__name__
)
def test_the_real_side_filtered_and_its_sizes(filter):
    """‖f(Ψ)‖, and √(‖f(Ψ)Φ‖² + tr f(Ψ)Ψf(Ψ)): a size even where Φ is 0."""
    found, ffc, phi = side()
    matrix = filter.matrix(ffc)
    filtered = found.filtered(filter)
    same(filtered[0], matrix)
    same(filtered[1], matrix @ phi)
    spread = (matrix @ ffc @ matrix).trace()
    expected = float(matrix.norm()), float(((matrix @ phi).square().sum() + spread).sqrt())
    assert found.sizes(filter) == pytest.approx(expected, rel=1e-10)
    silent = RealSide(found.eigenvalues, found.basis, torch.zeros_like(phi))
    assert silent.sizes(filter)[1] == pytest.approx(float(spread.sqrt()), rel=1e-10)


def test_the_offset_of_the_real_side_is_the_squared_length_of_its_mean():
    features = randn(7, 4) + 3
    found = RealSide.of(Moments.of(features, torch.ones(7, 1)))
    assert found.offset == pytest.approx(float(features.mean(0).square().sum()))
    assert RealSide(found.eigenvalues, found.basis, found.flc).offset == math.inf, "unknown is far"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("filter", [Linear(), Ridge(1e-3)], ids=repr)
def test_features_are_far_from_zero_where_rounding_would_show_through_the_filter(filter, dtype):
    """ε ‖μ‖² above 1e-5 of the size of λ beside which an error shows."""
    found, _, _ = side()
    scale = float(found.eigenvalues[-1]) if filter == Linear() else 1e-3
    limit = 1e-5 * scale / torch.finfo(dtype).eps
    for offset, far in ((0.99 * limit, False), (1.01 * limit, True), (math.inf, True)):
        assert RealSide(found.eigenvalues, found.basis, found.flc, offset).far(filter, dtype) == far


def test_the_real_side_resolves_a_filter_beside_its_largest_eigenvalue():
    found, _, _ = side()
    floor = 16 * torch.finfo(torch.float32).eps * float(found.eigenvalues.max())
    assert found.resolved(Ridge(1e-20), torch.float32) == Ridge(floor)


# -------------------------------------------------------------------------------------------------- hooks


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 5, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(5, 2, 1),
            nn.Flatten(),
            nn.Linear(32, 3),
        )
        .double()
        .eval()
    )


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def test_tap_collects_the_inputs_of_the_convolutions():
    net, images = small_net(), randn(2, 3, 8, 8)
    names = tapped_layers(net)
    with FeatureTap(net, names) as tap:
        logits = net(images)
    by_hand_logits, by_hand = oracles.forward(net, images)
    assert names == list(by_hand) == ["0", "4", "6"]
    assert set(tap.features) == set(by_hand)
    for name in names:
        assert torch.equal(tap.features[name], by_hand[name])
    assert torch.equal(logits, by_hand_logits)
    assert tap.features["0"] is images, "an input, not a copy: gradient must flow"


def test_tap_collects_only_what_it_is_asked_for_and_keeps_the_graph():
    net, images = small_net(), randn(2, 3, 8, 8).requires_grad_()
    with FeatureTap(net, ["4"]) as tap:
        net(images)
    assert list(tap.features) == ["4"]
    (gradient,) = torch.autograd.grad(tap.features["4"].sum(), images)
    assert gradient.abs().sum() > 0


def test_tap_removes_its_hooks_and_no_other():
    net, seen = small_net(), []
    net[4].register_forward_pre_hook(lambda *_: seen.append(1))
    with FeatureTap(net, tapped_layers(net)) as tap:
        assert hooks(net) == 4
        net(randn(1, 3, 8, 8))
    assert hooks(net) == 1
    before = dict(tap.features)
    net(randn(1, 3, 8, 8, seed=1))
    assert all(tap.features[name] is before[name] for name in before)
    assert len(seen) == 2


def test_tap_removes_its_hooks_when_the_forward_pass_fails():
    net = small_net()
    with pytest.raises(RuntimeError), FeatureTap(net, tapped_layers(net)):
        net(randn(1, 7, 8, 8))
    assert hooks(net) == 0


def test_real_statistics_remove_their_hooks_when_a_batch_fails():
    net = small_net()

    def batches():
        yield randn(2, 3, 8, 8), torch.tensor([0, 1])
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        real_statistics(net, batches(), tapped_layers(net))
    assert hooks(net) == 0


def test_tap_names_the_layers_it_cannot_find():
    with pytest.raises(ValueError, match=r"no layer nine, ten$"):
        FeatureTap(small_net(), ["0", "nine", "ten"])


def test_shortcut_convolutions_of_a_resnet_are_not_tapped():
    """By shape: 1×1 convolutions with stride 2 are ResNet-18's shortcuts, and it has three of them."""
    net = build(ModelConfig("resnet18"), channels=3, size=32, classes=10).eval()
    names = tapped_layers(net)
    modules = dict(net.named_modules())
    convolutions = {name for name, module in modules.items() if isinstance(module, nn.Conv2d)}
    shortcuts = {name for name in convolutions if modules[name].kernel_size == (1, 1)}
    assert len(shortcuts) == 3
    assert set(names) == convolutions - shortcuts
    assert len(names) == len(set(names)) == 17

    # An input by hand: what enters the second convolution of the first block.
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), FeatureTap(net, names) as tap:
        net(images)
        stem = torch.relu(net.bn1(net.conv1(images)))
        inside = torch.relu(net.layer1[0].bn1(net.layer1[0].conv1(stem)))
        block = torch.relu(stem + net.layer1[0].bn2(net.layer1[0].conv2(inside)))
    torch.testing.assert_close(tap.features["layer1.0.conv1"], stem)
    torch.testing.assert_close(tap.features["layer1.0.conv2"], inside)
    torch.testing.assert_close(tap.features["layer1.1.conv1"], block)


def test_convnet_taps_every_block():
    net = build(ModelConfig("convnet", width=4, depth=3), channels=1, size=8, classes=2)
    assert len(tapped_layers(net)) == 3


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last], ids=["rows", "channels last"])
def test_what_is_pushed_at_a_layer_adds_to_its_gradient(memory):
    """As if the loss had another term there, whichever way the gradient lies in memory."""
    net, images = small_net(), randn(2, 3, 8, 8).contiguous(memory_format=memory).requires_grad_()
    pushed = {name: randn(2, d, size, size, seed=i) for i, (name, d, size) in enumerate((("4", 4, 4), ("6", 5, 4)))}
    with FeatureTap(net, list(pushed)) as tap:
        logits = net(images)
    loss = logits.square().sum() + sum((tap.features[name] * push).sum() for name, push in pushed.items())
    (expected,) = torch.autograd.grad(loss, images)

    with GradientTap(net, ["0", "4", "6"]) as tap:
        logits = net(images)
    assert not any(feature.requires_grad for feature in tap.features.values())
    for name, push in pushed.items():
        tap.pushes[name] = lambda gradient, push=push: gradient.add_(rows(push))
    (gradient,) = torch.autograd.grad(logits.square().sum(), images)
    same(gradient, expected)
    assert hooks(net) == 0


def test_a_gradient_tap_changes_no_output_and_passes_other_inputs_on():
    class Sum(nn.Module):
        def forward(self, x, factor):
            return factor * x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.sum = Sum()

        def forward(self, x):
            return self.sum(x, 3)

    net, images = Net(), randn(2, 3, 4, 4)
    with GradientTap(net, ["sum"]) as tap:
        assert torch.equal(net(images), 3 * images)
    assert torch.equal(tap.features["sum"], images)


# -------------------------------------------------------------------------------------- a whole data set


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("batch", [1, 4, 10])
def test_real_statistics_against_the_oracle(kind, batch):
    net, images, labels = small_net(), randn(10, 3, 8, 8), torch.arange(10) % 3
    batches = zip(images.split(batch), labels.split(batch), strict=True)
    mine = real_statistics(net, batches, tapped_layers(net), kind)
    with torch.no_grad():
        theirs = oracles.statistics(net, images, labels, kind, 3)
    assert set(mine) == set(theirs)
    for name, (ffc, phi) in theirs.items():
        same(mine[name].ffc, ffc)
        same(mine[name].flc, phi)
        assert not mine[name].ffc.requires_grad


def test_real_statistics_of_prepared_images():
    net, images, labels = small_net(), randn(10, 3, 8, 8), torch.arange(10) % 3
    batches = list(zip(images.split(4), labels.split(4), strict=True))
    found = real_statistics(net, batches, ["0", "4"], "class", prepare=lambda x: 2 * x - 1)
    expected = real_statistics(net, [(2 * images - 1, labels)], ["0", "4"], "class")
    assert list(found) == ["0", "4"]
    for name in found:
        same(found[name].ffc, expected[name].ffc)
        same(found[name].flc, expected[name].flc)


def test_no_images_have_no_statistics_and_no_layers_need_none():
    with pytest.raises(ValueError, match="no real images"):
        real_statistics(small_net(), [], ["0"])
    assert real_statistics(small_net(), [], []) == {}


def test_the_default_signal_is_the_mean():
    net, images, labels = small_net(), randn(10, 3, 8, 8), torch.arange(10) % 3
    found = real_statistics(net, [(images, labels)], ["4"])["4"]
    with torch.no_grad():
        features = oracles.forward(net, images)[1]["4"]
    same(found.flc, features.mean((0, 2, 3))[:, None])
