"""Layers that are no convolution: rows are tokens or images, and the gradient is autograd's."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer
from toys import randn

from unidd.core.filters import Linear, Ridge
from unidd.core.frozen import frozen
from unidd.core.matching import Matching, step_loss
from unidd.core.statistics import FeatureTap, RealSide, features_last, real_statistics, rows

ETA = 0.7


def seeded(make) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return make().double().eval().requires_grad_(False)


def vit() -> nn.Module:
    return VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=6, mlp_dim=10, num_classes=3
    )


def swin() -> nn.Module:
    return SwinTransformer([2, 2], 6, [2], [2], [2, 2], num_classes=3)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.Tanh(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 3))


class Residual(nn.Module):
    """The gradient of the identity's input is the very tensor that the sum passes on to its other part."""

    def __init__(self):
        super().__init__()
        self.first, self.same, self.head = nn.Linear(192, 9), nn.Identity(), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.flatten(1)).tanh()
        return self.head(y + self.same(y))


class Sequence(nn.Module):
    """Signals: a convolution along one axis, and a recurrent network over it."""

    def __init__(self):
        super().__init__()
        self.conv, self.over, self.head = nn.Conv1d(24, 5, 3), nn.GRU(5, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.flatten(1, 2)).tanh()
        return self.head(self.over(y.movedim(1, 2))[0].mean(1))


CASES = {
    "mlp": (mlp, ["1", "3", "5"]),
    "vit mlp": (vit, ["encoder.layers.encoder_layer_0.mlp.0", "encoder.layers.encoder_layer_1.mlp.3"]),
    "vit norm": (vit, ["encoder.layers.encoder_layer_0.ln_1", "encoder.ln", "heads.head"]),
    "vit attention": (vit, ["encoder.layers.encoder_layer_1.self_attention"]),
    "vit block": (vit, ["encoder.layers.encoder_layer_1"]),
    "swin": (swin, ["features.1.0.mlp.0", "features.1.1.norm1", "features.1.1.mlp.3"]),
    "a sum": (Residual, ["same"]),
    "one axis": (Sequence, ["conv", "over"]),
}


def features(net: nn.Module, names: list[str], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and rows of each layer's input by the plainest way: the last axis, but for a convolution."""
    found, known = {}, dict(net.named_modules())

    def keep(name: str):
        def hook(module, inputs) -> None:
            y = inputs[0].movedim(1, -1) if isinstance(module, nn.Conv1d | nn.Conv2d) else inputs[0]
            found[name] = y.flatten(0, -2)

        return hook

    handles = [known[name].register_forward_pre_hook(keep(name)) for name in names]
    logits = net(x)
    for handle in handles:
        handle.remove()
    return logits, found


def pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(0)
    return centred.T @ centred / len(x), x.T @ y.repeat_interleave(len(x) // len(y), 0) / len(x)


def response(filter, ffc: Tensor) -> Tensor:
    return ffc if isinstance(filter, Linear) else torch.linalg.inv(ffc + filter.beta * torch.eye(len(ffc)))


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("filter", [Ridge(0.05), Linear()], ids=["ridge", "linear"])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_those_of_autograd(case, filter):
    make, names = CASES[case]
    net, labels, real_labels = seeded(make), torch.arange(4) % 3, torch.arange(12) % 3
    real, images = randn(12, 3, 8, 8, seed=1), randn(4, 3, 8, 8, seed=2).requires_grad_()
    statistics = real_statistics(net, [(real[:5], real_labels[:5]), (real[5:], real_labels[5:])], names, "class")
    sides = {name: RealSide.of(moments) for name, moments in statistics.items()}
    matching = Matching.of(sides, dict.fromkeys(names, filter), signal="class", dtype=torch.float64)
    loss = step_loss(net, images, labels, matching, ETA)

    one_hot = nn.functional.one_hot(labels, 3).double()
    logits, synthetic = features(net, names, images)
    expected = nn.functional.cross_entropy(logits, labels)
    _, plain = features(net, names, real)
    for name in names:
        psi, phi = pair(plain[name], nn.functional.one_hot(real_labels, 3).double())
        psi_s, phi_s = pair(synthetic[name], one_hot)
        f, f_s = response(filter, psi), response(filter, psi_s)
        expected = expected + ETA * ((f - f_s).norm() + (f @ phi - f_s @ phi_s).norm())
    assert float(loss.value) == pytest.approx(expected.item(), rel=1e-9)
    (gradient,) = torch.autograd.grad(expected, images)
    found = loss.gradient(images)
    assert float((found - gradient).norm()) <= 1e-9 * float(gradient.norm())


def test_rows_are_tokens_images_or_places():
    tokens = randn(2, 5, 3)
    assert torch.equal(rows(tokens.movedim(-1, 1)), tokens.flatten(0, 1))
    maps = randn(2, 3, 4, 5)
    assert torch.equal(rows(maps)[7], maps[0, :, 1, 2])
    assert torch.equal(rows(tokens[:, 0]), tokens[:, 0])


@pytest.mark.parametrize(
    ("module", "shape", "last"),
    [
        (nn.Linear(3, 2), (2, 3), False),
        (nn.Linear(3, 2), (2, 5, 3), True),
        (nn.Linear(3, 2), (2, 4, 4, 3), True),
        (nn.LayerNorm(3), (2, 4, 4, 3), True),
        (nn.Identity(), (2, 5, 3), True),
        (nn.Conv1d(3, 2, 1), (2, 3, 5), False),
        (nn.BatchNorm1d(3), (2, 3, 5), False),
        (nn.Conv2d(3, 2, 1), (2, 3, 4, 4), False),
        (nn.GroupNorm(3, 3), (2, 3, 4, 4), False),
        (nn.AvgPool2d(2), (2, 3, 4, 4), False),
    ],
    ids=str,
)
def test_where_the_features_of_a_layer_stand(module, shape, last):
    assert features_last(module, torch.zeros(shape)) == last


def test_a_tap_gives_tokens_with_features_second():
    with FeatureTap(net := seeded(vit), ["encoder.ln"]) as tap:
        net(randn(2, 3, 8, 8))
    assert tap.features["encoder.ln"].shape == (2, 6, 5), "four patches and the class token"


def test_a_network_in_training_mode_gives_the_statistics_of_eval_mode_and_stays_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 2, 1)).train()
    net[2].eval()
    net[0].requires_grad_(False)
    batches = [(randn(5, 3, 8, 8), torch.zeros(5, dtype=torch.long))]
    net.forward = lambda x: nn.Sequential.forward(net, x).mean((2, 3))
    found = real_statistics(net, batches, ["3"])
    assert [module.training for module in net] == [True, True, False, True]
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True, True, True]
    assert int(net[1].num_batches_tracked) == 0
    assert torch.equal(found["3"].mean, real_statistics(net.eval(), batches, ["3"])["3"].mean)


def test_a_network_is_thawed_when_the_block_fails():
    net = nn.Linear(2, 2).train()
    with pytest.raises(ValueError, match="broken"), frozen(net):
        raise ValueError("broken")
    assert net.training
    assert net.weight.requires_grad
