"""What a set of a record takes in bytes: as the record says, or counted again."""

from functools import cache

import torch

from ..data.datasets import ImageData, load
from ..networks.evaluation import REGIMES
from ..networks.models import ModelConfig, build
from .records import Record, stored_bytes

EMBEDDED = ("photos", "digits")  # data sets that come with the package


def bytes_of(record: Record, data: ImageData | None = None) -> dict[str, int]:
    """Return what a set of a record takes, see `records.stored_bytes`: as it says, or else as these images have it.

    The bytes of a teacher are those of the architecture that its card names.
    """
    if data is None:
        return record.bytes
    count = record.ipc * data.classes if record.ipc else len(data.train)
    images = torch.zeros(1).expand(count, data.channels, data.size, data.size)  # takes no memory
    built = [ModelConfig(**one["architecture"]) for one in record.teachers[:1] if one.get("architecture")]
    network = build(built[0], data.channels, data.size, data.classes) if built else None
    return stored_bytes(images, data.classes, network) | record.bytes


@cache
def _embedded(dataset: str) -> ImageData | None:
    return load(dataset) if dataset in EMBEDDED else None


def taken(record: Record) -> dict[str, int]:
    """Return label regime → bytes that a student needs of a set: its images, and its labels or the teacher.

    What a record does not say is counted again if its data come with the package; else it is left out.
    """
    found = bytes_of(record, None if record.bytes else _embedded(record.dataset))
    return {regime: found["images"] + found[regime] for regime in REGIMES if regime in found}
