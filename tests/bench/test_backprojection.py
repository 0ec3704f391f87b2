"""What a band sees of an image: against the image's own part where features keep lengths, and against the Jacobian."""

import pytest
import torch
import toys
from torch import nn
from toys import rand

from unidd.bench.backprojection import back_projected, contrasted
from unidd.bench.residuals import Probe
from unidd.core.statistics import FeatureTap, rows


def turned() -> nn.Module:
    """A first layer that turns colours, without change of lengths, and a second one whose inputs those are."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.manual_seed(3)
    net[0].weight.data = nn.init.orthogonal_(torch.empty(3, 3, dtype=torch.float64)).view(3, 3, 1, 1)
    return net.double().eval().requires_grad_(False)


def test_parts_of_features_that_keep_lengths_add_up_to_the_image_less_the_mean():
    probe, images = Probe.of(turned(), toys.data(), 3), rand(2, 3, toys.SIZE, toys.SIZE)
    parts = back_projected(probe, images)["1"]
    x = probe.data.normalise(images)
    real = probe.data.normalise(probe.data.train.images).double()
    assert torch.allclose(parts.sum(0), x - real.mean((0, 2, 3), keepdim=True), atol=1e-6)
    lengths = parts.square().sum((1, 2, 3, 4))
    assert float(lengths.sum()) == pytest.approx(float(parts.sum(0).square().sum())), "parts are orthogonal"


def test_a_part_is_the_jacobian_times_what_the_band_sees():
    probe, image = Probe.of(toys.network().double(), toys.data(), 2), rand(1, 3, toys.SIZE, toys.SIZE)
    found, x = back_projected(probe, image), probe.data.normalise(image).double()

    for layer, parts in found.items():

        def features(x, layer=layer):
            with FeatureTap(probe.model, [layer]) as tap:
                probe.model(x)
            return rows(tap.features[layer])

        jacobian = torch.autograd.functional.jacobian(features, x)
        centred = features(x) - probe.sides[layer].flc.sum(1)
        first = 0
        for part, size in zip(parts, probe.bands[layer].sizes, strict=True):
            inside = torch.zeros_like(centred)
            for u in probe.bands[layer].real.basis[:, first : first + size].T.double():
                inside += torch.outer(centred @ u, u)
            expected = (jacobian * inside.reshape(*inside.shape, 1, 1, 1, 1)).sum((0, 1))
            assert torch.allclose(part, expected, rtol=1e-8, atol=1e-12)
            first += size


def test_contrast_reaches_black_or_white_and_grey_is_nothing():
    parts = torch.tensor([[0.0, -2.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 2, 2)
    assert contrasted(parts).flatten().tolist() == [0.5, 0.0, 0.75, 0.625, 0.5, 0.5, 0.5, 0.5]
