"""Small files in the layout of what UniDD's authors have released: weights, and statistics of the layers."""

import copy
from pathlib import Path

import numpy as np
import oracles
import torch
from torch import Tensor, nn

NAMES = {"mean": "running_mean", "class": "running_class_mean", "mix": "running_mix_mean"}


def write_statistics(
    folder: Path, network: nn.Sequential, images: Tensor, labels: Tensor, classes: int, name: str = "Net.pth"
) -> Path:
    """The statistics of a chain of modules by slow float64 code, over network input that is one batch."""
    by_signal = {kind: oracles.statistics(network, images, labels, kind, classes) for kind in NAMES}
    for i, layer in enumerate(by_signal["mean"]):
        cov, mean = by_signal["mean"][layer]
        arrays = {"running_cov": cov, "running_corr": cov + mean @ mean.T, "running_mean": mean[:, 0]}
        arrays |= {NAMES[kind]: by_signal[kind][layer][1] for kind in ("class", "mix")}
        place = folder / f"{name}=layers.conv.{i}"
        place.mkdir(parents=True)
        np.savez(place / "running.npz", **{key: value.numpy().astype(np.float32) for key, value in arrays.items()})
    return folder


def chain(network: nn.Module) -> nn.Sequential:
    """A ConvNet of the package as one chain, in float64."""
    double = copy.deepcopy(network).double()
    return nn.Sequential(*double.features, nn.Flatten(), double.head).eval()


def write_weights(path: Path, network: nn.Module) -> Path:
    """A ConvNet of the package by the names that the released code gives its layers."""
    theirs = {}
    for name, value in network.state_dict().items():
        kind, number, part = name.split(".") if name.startswith("features") else ("head", "0", name.split(".")[1])
        layer = "classifier" if kind == "head" else f"layers.{('conv', 'norm')[int(number) % 4]}.{int(number) // 4}"
        theirs[f"{layer}.{part}"] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(theirs, path)
    return path
