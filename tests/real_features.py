"""Features of photographs from a briefly trained ConvNet, float64: a real and a synthetic side to test theory on."""

import functools

import torch
import torch.nn.functional as F

from unidd.core.objectives import Side
from unidd.core.statistics import FeatureTap
from unidd.data.datasets import load
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import TrainConfig, train


@functools.cache
def maps():
    """Feature maps and labels of 1,000 photographs and of 100 others, from the last block of a trained ConvNet."""
    data = load("photos")
    images, labels = data.normalise(data.train.images[::5]), data.train.labels[::5]
    model = build(ModelConfig(width=32), data.channels, data.size, data.classes)
    train(model, images, labels, TrainConfig(epochs=2))
    found = []
    for start, step in ((0, 5), (1, 50)):
        with FeatureTap(model, ["features.11"]) as tap, torch.no_grad():
            model(data.normalise(data.train.images[start::step]))
        found.append((tap.features["features.11"].double(), data.train.labels[start::step]))
    return found


@functools.cache
def samples():
    """(X, Y) of the real and of the synthetic side: (1000, 32), (1000, 10) and (100, 32), (100, 10)."""
    return [(x.mean((2, 3)), F.one_hot(labels, 10).double()) for x, labels in maps()]


def sides():
    return [Side.of(x, y) for x, y in samples()]
