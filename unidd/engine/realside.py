"""Take the statistics of the real side: one pass over the real images, shared by all processes, kept on disk."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..bars import progress_bar
from ..core.statistics import Moments, real_statistics
from ..data.datasets import ImageData
from ..data.store import release
from ..files import json_hash, seal, unseal
from ..memory import trim_memory
from ..networks.checks import check_network
from ..networks.models import real_batch, tapped_layers, weights_hash
from ..networks.training import cache_folder
from .parallel import Ranks

Layers = Sequence[str] | None  # names or patterns; None: the convolutions


def check_statistics(
    statistics: dict[str, Moments], signal: str, data: ImageData, teacher: nn.Module, layers: Layers = None
) -> None:
    """Raise a ValueError unless they are of the teacher's matched layers and of that signal, and finite."""
    if set(statistics) != set(tapped_layers(teacher, layers)):
        raise ValueError("the statistics given are not of the layers that are matched: take them of this teacher")
    columns = 1 if signal == "mean" else data.classes
    for layer, moments in statistics.items():
        if moments.cross.shape[1] != columns:
            raise ValueError(f"the statistics given are of another signal than {signal!r}, or of other classes")
        if not (moments.scatter.isfinite().all() and moments.cross.isfinite().all()):
            raise ValueError(f"the teacher's features before layer {layer} are not finite: train it again")


def real_side(
    signal: str, data: ImageData, teacher: nn.Module, ranks: Ranks, progress: bool = False, layers: Layers = None
) -> dict[str, Moments]:
    """Return statistics of the real images before every matched layer, from the cache or one pass over the images.

    Args:
        signal: see `unidd.core.statistics.signal_targets`.
        ranks: the processes that share the pass.
        layers: see `unidd.networks.models.tapped_layers`.
    Raises:
        ValueError: the teacher cannot be matched; its features are not finite.
    """
    statistics = ranks.from_first(lambda: kept_statistics(signal, data, teacher, layers))
    if statistics is None:
        names = check_network(teacher, data, layers)
        trim_memory()  # of what was loaded and looked at before
        batches = _own_batches(data, ranks, progress)
        found = real_statistics(teacher, batches, names, signal, prepare=data.normalise)
        release(data.train.images)
        statistics = ranks.merge(found)
        check_statistics(statistics, signal, data, teacher, layers)
        if ranks.first:
            save_statistics(_folder(), real_identity(signal, data, teacher, layers), statistics)
    return statistics


def _own_batches(data: ImageData, ranks: Ranks, progress: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's batches of the training images; the batches are the same for any number of processes."""
    parts = max(ranks.world, math.ceil(len(data.train) / real_batch(data.size, data.device)))
    own = list(torch.arange(len(data.train)).tensor_split(parts))[ranks.slot(parts)]
    with progress_bar(sum(map(len, own)), "real side", shown=progress, unit=" images") as bar:
        for index in own:
            yield data.train.images[index[0] : index[-1] + 1], data.train.labels[index[0] : index[-1] + 1]
            bar.update(len(index))


def kept_statistics(
    signal: str, data: ImageData, teacher: nn.Module, layers: Layers = None
) -> dict[str, Moments] | None:
    """Return the statistics in the cache, on the CPU; None if they are not there."""
    return load_statistics(_folder(), real_identity(signal, data, teacher, layers))


def _folder() -> Path:
    return cache_folder() / "statistics"


def real_identity(signal: str, data: ImageData, teacher: nn.Module, layers: Layers = None) -> dict:
    """Return what the statistics of the real side depend on, by name."""
    of = {"data": data.fingerprint, "weights": weights_hash(teacher)}
    return of | {"layers": tapped_layers(teacher, layers), "signal": signal}


def load_statistics(folder: str | Path, identity: dict) -> dict[str, Moments] | None:
    """Return the statistics kept under that identity; None if there are none, or the file is damaged or another's.

    Args:
        identity: what they depend on: data, weights, layers, signal.
    """
    try:
        content = unseal(_statistics_path(folder, identity))
    except (FileNotFoundError, ValueError):
        return None
    if content.get("identity") != identity:
        return None
    return {layer: Moments(*values) for layer, values in content["statistics"].items()}


def save_statistics(folder: str | Path, identity: dict, statistics: dict[str, Moments]) -> None:
    """Keep the statistics; what stood there is replaced."""
    plain = {n: (m.count, m.mean.cpu(), m.scatter.cpu(), m.cross.cpu()) for n, m in statistics.items()}
    seal({"identity": identity, "statistics": plain}, _statistics_path(folder, identity))


def _statistics_path(folder: str | Path, identity: dict) -> Path:
    return Path(folder) / f"{json_hash(identity)}.pt"
