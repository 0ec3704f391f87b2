"""Result records: one JSON file a run, the only source of the numbers the book shows.

Records made on the reader's machine lie in `_runs/` (ignored by git), the published ones in `results/`; both have the
same form and are read together. The package ships the published ones: `unidd/results` is a link to the folder.
"""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import save_json, versions

SCHEMA = 3
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Record:
    """One cell that was run: a method at one IPC, evaluated under one or more label regimes.

    Attributes:
        role: of the method: "method", "coreset", "baseline" or "ceiling".
        accuracy: label regime → test accuracy in % at the last epoch, one entry a seed, in seed order.
        config: all that was asked for: parameters of the cell, hyper-parameters of method and student.
        teachers: their cards, one a seed, in seed order; empty if nobody taught.
        seconds: wall-clock time by phase.
        bytes: what a set takes, see `stored_bytes`; empty if it was not counted.
        memory: the most bytes the process had; 0 if that is not known.
        provenance: device and versions, see `provenance`.
        code: hash of the code it depends on.
    """

    suite: str
    dataset: str
    model: str
    method: str
    ipc: int | None
    seeds: list[int]
    accuracy: dict[str, list[float]]
    config: dict
    teachers: list[dict]
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    memory: int = 0
    provenance: dict = field(default_factory=dict)
    role: str = "method"
    code: str = ""
    schema: int = SCHEMA

    @property
    def protocol(self) -> str:
        """The published protocol that students were trained under; "" under the package's own."""
        return self._said("protocol")

    @property
    def budget(self) -> str:
        """The budget of its students; "" if none is said."""
        return self._said("budget")

    def _said(self, what: str) -> str:
        """A record of `unidd evaluate` says it beside the set, any other in its cell."""
        return self.config.get(what) or self.config.get("cell", {}).get(what, "")


def stored_bytes(images: Tensor, classes: int, teacher: nn.Module | None = None) -> dict[str, int]:
    """Return what a set of images (n, C, H, W) takes: the images at 8 bits, and its labels under each label regime.

    Returns:
        "images"; "hard": the smallest whole number of bytes that holds a class, for each; "fixed-soft": a number of 32
        bits for each class and image; "online-soft": the teacher's parameters, if there is one.
    """
    found = {"images": images.numel(), "hard": len(images) * (1 if classes <= 256 else 2)}
    found["fixed-soft"] = 4 * len(images) * classes
    network = {} if teacher is None else teacher.state_dict()
    return found | ({"online-soft": sum(t.numel() * t.element_size() for t in network.values())} if network else {})


def provenance(device: str | torch.device = "cpu") -> dict:
    """Return device, versions and date of a run: what a number needs beside it."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": f"{device.type} ({name})",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **versions(),
    }


def save_record(record: Record, path: str | Path) -> None:
    """Write a record. Files of teachers stand there by name: their folders are this machine's, and the hash tells."""
    cards = [card | {"file": Path(card["file"]).name} if "file" in card else card for card in record.teachers]
    save_json(asdict(record) | {"teachers": cards}, path)


def published(*parts: str) -> Path:
    """Return the folder of the published records, or what lies in it, wherever the working folder is.

    Args:
        parts: such as "studies", "spectra".
    Raises:
        FileNotFoundError: it is not there; the message says what to clone.
    """
    # Where a checkout cannot have links, the repository's own folder is beside the package.
    homes = [home for home in (_PACKAGE / "results", _PACKAGE.parent / "results") if home.is_dir()]
    if not homes or not (found := homes[0].joinpath(*parts)).exists():
        name = "/".join(("results", *parts))
        raise FileNotFoundError(
            f"{name} did not come with this installation of unidd: clone the project's repository, and run "
            "`pip install -e .` in it"
        )
    return found


def own() -> Path:
    """Return where the records of this machine are: `_runs` of the repository; without one, of the working folder.

    The environment variable UNIDD_RUNS names another folder.
    """
    if told := os.environ.get("UNIDD_RUNS"):
        return Path(told)
    repository = _PACKAGE.parent
    return (repository if (repository / "_toc.yml").exists() else Path.cwd()) / "_runs"


def load_record(path: str | Path) -> Record:
    """Read one record back.

    Raises:
        ValueError: the file is not a record of this schema.
    """
    try:
        fields = json.loads(Path(path).read_text())
        if fields.get("schema", SCHEMA) != SCHEMA:
            raise ValueError(f"{path} has record schema {fields['schema']}, this version reads {SCHEMA}: run it again")
        return Record(**fields)
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a result record: {error}") from None


def load_records(*folders: str | Path) -> list[Record]:
    """Read all records <folder>/<suite>/*.json, in the order of their paths; a missing folder has none."""
    return [load_record(p) for folder in folders for p in sorted(Path(folder).glob("*/*.json"))]


def load_all() -> list[Record]:
    """Return the published records, and those of this machine whose suites did not come with the package."""
    came = load_records(published())
    suites = {record.suite for record in came}
    return came + [record for record in load_records(own()) if record.suite not in suites]
