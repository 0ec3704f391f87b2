"""What a set leaves unmatched, band by band of a layer's frequencies, as probe networks see it.

A probe is any network: the teacher, one at another epoch of its training, or one with random weights. Residuals are
taken in two views: of the images as they are, and of what a method itself sees of them (`Method.view`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ..core.bands import Bands, residual, signal_residual, transfer
from ..core.objectives import Side
from ..core.spectra import class_signal, consistency, high_frequency_share, normalised_power
from ..core.statistics import real_statistics
from ..data.datasets import ImageData
from ..data.synthetic import SyntheticSet
from ..methods import Method
from ..networks.models import ModelConfig, build, real_batch, tapped_layers
from ..networks.training import TrainConfig, teacher
from .likeness import features, head

View = Callable[[Tensor], Tensor]  # of network input (n, C, H, W)


@dataclass(frozen=True)
class Probe:
    """A network, and the real side of its layers.

    Attributes:
        model: in eval mode, frozen.
        data: normalised as it was trained; the real images.
        sides: layer → FFC and FLC of one-hot labels of the real images as they are.
        bands: layer → the bands of its real FFC.
    """

    model: nn.Module
    data: ImageData
    sides: dict[str, Side]
    bands: dict[str, Bands]

    @staticmethod
    def of(model: nn.Module, data: ImageData, bands: int = 4) -> "Probe":
        """Take the real side of the inputs of all convolutions, shortcuts aside, and of the last linear layer.

        The latter are the features of the theory's linear head, one row an image. Layers with fewer live directions
        than bands are left out.

        Raises:
            ValueError: no layer has.
        """
        found, reasons, last = {}, [], head(model)
        layers = [*tapped_layers(model), *([last] if last else [])]
        sides = sides_of(model, data, data.train.images, data.train.labels, layers)
        for layer, side in sides.items():
            try:
                found[layer] = Bands.of(side.ffc, bands)
            except ValueError as error:
                reasons.append(str(error))
        if not found:
            raise ValueError(f"no layer of the probe can be measured: {reasons[-1] if reasons else 'it has none'}")
        return Probe(model, data, {layer: sides[layer] for layer in found}, found)

    def seen(self, images: Tensor, labels: Tensor, view: View | None = None) -> dict[str, Side]:
        """Return FFC and FLC of each layer of images (n, C, H, W), uint8 or float in [0, 1], and labels (n,)."""
        return sides_of(self.model, self.data, images, labels, list(self.bands), view)

    def real(self, method: Method | None, seed: int) -> dict[str, Side]:
        """Return the real side as a method sees it in one draw; of none, or one that takes them plain, as they are.

        A draw that a method applies to all images alike is the same as that of the set for the same seed.
        """
        images, labels = self.data.train.images, self.data.train.labels
        if method is None or not changes(method, self.data, real=True):
            return self.sides
        return self.seen(images, labels, viewed(method, seed, real=True))


def alike(group: Sequence[Probe]) -> list[Probe]:
    """Return probes with the layers that all of them have: of random networks one may have more dead channels.

    Raises:
        ValueError: they have no layer in common.
    """
    layers = [layer for layer in group[0].bands if all(layer in probe.bands for probe in group)] if group else []
    if not layers:
        raise ValueError("the probes have no layer in common that can be measured: ask for fewer bands")
    return [replace(probe, bands={layer: probe.bands[layer] for layer in layers}) for probe in group]


def viewed(method: Method, seed: int, real: bool = False) -> View:
    """Return one draw of a method's view, the same for every batch that it is asked of."""
    return lambda x: method.view(x, Generator().manual_seed(seed), real)


def changes(method: Method, data: ImageData, real: bool = False) -> bool:
    """Return whether a method sees images otherwise than they are."""
    x = data.normalise(data.train.images[:1])
    return method.view(x, Generator().manual_seed(0), real) is not x


def sides_of(
    model: nn.Module, data: ImageData, images: Tensor, labels: Tensor, layers: list[str], view: View | None = None
) -> dict[str, Side]:
    """Return the FFC, centred, and the FLC of one-hot labels of the inputs of layers."""
    size = real_batch(data.size, data.device)
    batches = zip(images.split(size), labels.split(size), strict=True)
    dtype = next((p.dtype for p in model.parameters()), torch.float32)

    def prepare(x: Tensor) -> Tensor:
        x = data.normalise(x).to(dtype)
        return view(x) if view else x

    found = real_statistics(model, batches, layers, "class", prepare=prepare)
    return {layer: Side(moments.ffc, moments.flc) for layer, moments in found.items()}


def probes(
    data: ImageData,
    model: ModelConfig,
    training: TrainConfig,
    *,
    epochs: tuple[int, ...] = (0, 1, 10),
    seed: int = 0,
    bands: int = 4,
) -> dict[int, Probe]:
    """Return a network after several numbers of epochs, each of a training of its own, with a whole schedule.

    Args:
        training: of the networks, but for its epochs.
        epochs: 0 is a network with random weights.
        seed: of the weights, which are the same at first, and of the training.
    """
    found = {}
    for count in epochs:
        if count:
            network = teacher(data, model, replace(training, epochs=count), seed=seed, progress=False).model
        else:
            network = build(model, data.channels, data.size, data.classes, seed).to(data.device)
        found[count] = Probe.of(network.eval().requires_grad_(False), data, bands)
    return found


def measure(
    synthetic: SyntheticSet,
    probe: Probe,
    method: Method | None = None,
    *,
    start: SyntheticSet | None = None,
    draws: int = 4,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return what a set leaves unmatched in each band of every layer of a probe, in two views.

    Args:
        method: whose view is the second one; None, or one that sees images as they are, has the first alone.
        start: another set, such as the one the descent began with: what is gained on it is worked out too.
        draws: of the view, over which residuals are averaged.
        seed: of the draws.
    Returns:
        Layer → "eigenvalues": the geometric mean of λ in each band; and "clean" and "own": → "filter", "class",
        "mean": a list with a number for each band, low frequencies first, the mean over its directions. These are
        `residual`, and `signal_residual` of the class signal and of the mean feature, Φ1. "transfer": the same of
        `transfer` from the start, by view.
    """
    views: dict[str, list[tuple[View | None, dict[str, Side]]]] = {"clean": [(None, probe.sides)]}
    if method is not None and changes(method, probe.data):
        seeds = [seed + draw for draw in range(draws)]
        views["own"] = [(viewed(method, draw), probe.real(method, draw)) for draw in seeds]
    found = {name: _unmatched(synthetic, probe, several) for name, several in views.items()}
    before = {name: _unmatched(start, probe, several) for name, several in views.items()} if start else {}
    rows = {}
    for layer, bands in probe.bands.items():
        rows[layer] = {"eigenvalues": bands.eigenvalues.tolist()}
        rows[layer] |= {name: _lists(of[layer]) for name, of in found.items()}
        if start:
            gains = {
                name: {k: transfer(v, before[name][layer][k]) for k, v in of[layer].items()}
                for name, of in found.items()
            }
            rows[layer]["transfer"] = {name: _lists(gain) for name, gain in gains.items()}
    return rows


def _lists(values: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in values.items()}


def _unmatched(
    made: SyntheticSet, probe: Probe, draws: list[tuple[View | None, dict[str, Side]]]
) -> dict[str, dict[str, Tensor]]:
    """Return residuals of each layer, by kind and band, a mean over draws of a view and the real side in it."""
    sums: dict[str, dict[str, Tensor]] = {}
    for view, real in draws:
        for layer, side in probe.seen(made.images, made.labels, view).items():
            of = unmatched(probe.bands[layer], real[layer], side)
            sums[layer] = {k: v / len(draws) + sums.get(layer, {}).get(k, 0) for k, v in of.items()}
    return sums


def unmatched(bands: Bands, real: Side, synthetic: Side) -> dict[str, Tensor]:
    """Return residuals (J,) by kind: of the FFC, of the class signal and of the mean feature.

    Args:
        real: FFC and FLC of one view; where it is not the one the bands are of, residuals are in units of the bands'.
    """
    return {
        "filter": bands.mean(residual(bands.real, real.ffc, synthetic.ffc)),
        "class": bands.mean(signal_residual(bands.real, class_signal(real.flc), class_signal(synthetic.flc))),
        "mean": bands.mean(signal_residual(bands.real, real.flc.sum(1, True), synthetic.flc.sum(1, True))),
    }


def pictured(made: SyntheticSet, data: ImageData, model: nn.Module) -> dict[str, Any]:
    """Return what the images of a set are like, beside any filter.

    Returns:
        "spectrum": the mean of the images' radial power, each over its own energy, at frequencies 1, 2, … cycles an
        image; "high": the mean share of power above ¼ cycle a pixel; "consistency" of pixels and of features of a
        network, and "diversity", 1 − consistency, where every class has two images.
    """
    found: dict[str, Any] = {
        "spectrum": normalised_power(made.images)[1].mean(0).tolist(),
        "high": float(high_frequency_share(made.images).mean()),
    }
    if int(torch.bincount(made.labels).min()) > 1:
        rows = {"pixels": data.normalise(made.images), "features": features(made.images, data, model).cpu()}
        found["consistency"] = {name: consistency(x, made.labels) for name, x in rows.items()}
        found["diversity"] = {name: 1 - value for name, value in found["consistency"].items()}
    return found
