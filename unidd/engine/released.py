"""Statistics of the real side from files that others have left, in place of a pass over the real images.

The released code of UniDD writes a folder for each layer of a network, `<network>=<layer>/running.npz`, with float32
arrays of the layer's input over the training set, whose rows are all positions of all images: `running_cov` (d, d), the
centred covariance, divided by the number of rows; `running_corr` (d, d), the same not centred, which is not needed
here; and Φ for the three signals, divided by the number of rows too: `running_mean` (d,), `running_class_mean` (d, c)
and `running_mix_mean` (d, c). All are means over batches in file order, so that where a batch has one class alone the
spread between classes is missing from `running_cov`.
"""

import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..core.statistics import Moments, real_statistics
from ..data.datasets import ImageData
from ..networks.models import real_batch, tapped_layers
from ..networks.weights import statistics_files
from .realside import Layers

_ARRAYS = {"mean": "running_mean", "class": "running_class_mean", "mix": "running_mix_mean"}
_LOOK = 500  # images that tell whether statistics are of these data and this teacher
_OFF = 0.25  # relative distance of Ψ that so many images do not explain; other constants or another teacher do
_NUMBERED = re.compile(r"layers\.conv\.(\d+)")  # as the released ConvNets name their convolutions


def read_statistics(
    path: str | Path, signal: str, data: ImageData, teacher: nn.Module, layers: Layers = None
) -> dict[str, Moments]:
    """Read what `real_side` works out, from files of the released code; a few images are looked at beside them.

    The files do not say how many rows there were: `Moments.count` is 1, and so `scatter` the FFC and `cross` the FLC.

    Args:
        path: a folder with `<network>=<layer>/running.npz`; or its path and the name of the network, where it holds
            those of several.
        signal, layers: see `real_side`. Layers are found by their names, or as layers.conv.i the i-th convolution.
        data: normalised as the teacher was trained.
    Raises:
        FileNotFoundError: there are none.
        ValueError: they are damaged, or not those of the teacher's matched layers on such images.
    """
    names = tapped_layers(teacher, layers)
    files = _by_layer(Path(path).expanduser(), teacher, names)
    looked = _look(signal, data, teacher, names)
    found = {name: _read(files[name], signal, looked[name]) for name in names}
    images = min(_LOOK, len(data.train))
    for name, moments in found.items():
        apart = float((moments.ffc - looked[name].ffc.cpu()).norm() / moments.ffc.norm())
        if not apart <= _OFF * max(1, (_LOOK / images) ** 0.5):
            raise ValueError(
                f"{files[name]} is not of this teacher on {data.name}: of {images} images the covariance before layer "
                f"{name} differs by {100 * apart:.0f} %; is it the same network, with the mean and std that it was "
                "trained with (unidd import-teacher --normalisation)?"
            )
    return found


def _by_layer(path: Path, teacher: nn.Module, names: list[str]) -> dict[str, Path]:
    """Return the file of every matched layer; every file must be of a layer that the teacher has."""
    convolutions, found = tapped_layers(teacher), {}
    for file in statistics_files(path):
        layer = file.parent.name.rpartition("=")[2]
        numbered = _NUMBERED.fullmatch(layer)
        if layer not in names and numbered and int(numbered[1]) < len(convolutions):
            layer = convolutions[int(numbered[1])]
        found[layer] = file
    if not set(names) <= set(found) <= {name for name, _ in teacher.named_modules()}:
        theirs, ours = ", ".join(found), ", ".join(names)
        raise ValueError(f"{path} holds statistics of the layers {theirs}, and this teacher is matched in {ours}")
    return found


def _look(signal: str, data: ImageData, teacher: nn.Module, names: list[str]) -> dict[str, Moments]:
    """Return the statistics of some images of all parts of the training split."""
    count = min(_LOOK, len(data.train))
    index = torch.linspace(0, len(data.train) - 1, count, dtype=torch.float64).round().long()
    parts = index.to(data.train.labels.device).split(real_batch(data.size, data.device))
    batches = ((data.train.images[part], data.train.labels[part]) for part in parts)
    return real_statistics(teacher, batches, names, signal, prepare=data.normalise)


def _read(file: Path, signal: str, like: Moments) -> Moments:
    """Return what a file says of a layer, of the shapes of moments that are like it."""
    name = _ARRAYS[signal]
    try:
        with np.load(file, allow_pickle=False) as content:
            cov, mean, flc = (
                torch.from_numpy(content[part]).double() for part in ("running_cov", "running_mean", name)
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} is damaged, or not statistics of UniDD's released code ({error})") from None
    flc = flc[:, None] if flc.ndim == 1 else flc
    checked = ("running_cov", cov, like.scatter), ("running_mean", mean, like.mean), (name, flc, like.cross)
    for part, array, expected in checked:
        if array.shape != expected.shape:
            raise ValueError(f"{file}: {part} is {tuple(array.shape)}, and of this teacher {tuple(expected.shape)}")
        if not array.isfinite().all():
            raise ValueError(f"{file}: {part} is not finite")
    if not torch.allclose(cov, cov.T, rtol=0, atol=1e-4 * float(cov.abs().max())):
        raise ValueError(f"{file}: running_cov is not symmetric")
    return Moments(1, mean, cov, flc)
