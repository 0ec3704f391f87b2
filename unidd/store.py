"""What is kept on disk so that no work is lost: the state of a run, and real-side statistics.

Files are sealed, a checksum before the content, and written atomically: a file is whole, or it is found out.
"""

import hashlib
import io
import json
import pickle
import shutil
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import nn

from .results import atomic
from .statistics import Moments


def seal(content: dict, path: str | Path) -> None:
    """Write tensors, numbers, strings and containers of them."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    with atomic(path) as temporary:
        temporary.write_bytes(hashlib.sha256(payload).digest() + payload)


def unseal(path: str | Path) -> dict:
    """Read it back, on the CPU.

    Raises:
        ValueError: the file is truncated, or not one of these.
    """
    content = Path(path).read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError(f"{path} is damaged")
    try:
        return torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error})") from None


def weights_hash(model: nn.Module) -> str:
    """sha256 over names and values of a network's weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_statistics(folder: str | Path, identity: dict) -> dict[str, Moments] | None:
    """Real-side statistics kept under that identity; None if there are none, or the file is damaged or another's.

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
    """Keep them; what stood there is replaced."""
    plain = {n: (m.count, m.mean.cpu(), m.scatter.cpu(), m.cross.cpu()) for n, m in statistics.items()}
    seal({"identity": identity, "statistics": plain}, _statistics_path(folder, identity))


def _statistics_path(folder: str | Path, identity: dict) -> Path:
    return Path(folder) / f"{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]}.pt"


class Checkpoint:
    """The state of one run in <folder>/.state, for one process at a time.

    As a context it holds a lock on the folder, which the system releases however the process ends.

    Args:
        folder: where the finished set will lie.
        identity: what the run depends on; a state of another identity is refused.
        reader: of a process that reads the state but leaves writing to the first; takes no lock.
    Raises:
        ValueError: another process works there; the state is damaged, or of another run.
    """

    def __init__(self, folder: str | Path, identity: dict, reader: bool = False):
        self.folder = Path(folder) / ".state"
        self._identity, self._reader = identity, reader
        self._lock = FileLock(self.folder / "lock", timeout=0)

    @property
    def path(self) -> Path:
        return self.folder / "state.pt"

    def __enter__(self) -> "Checkpoint":
        if self._reader:
            return self
        self._new = not self.folder.parent.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise ValueError(f"another process is distilling into {self.folder.parent}: wait for it") from None
        for left in self.folder.glob(f".{self.path.name}-*"):  # half-written when an earlier process was killed
            shutil.rmtree(left)
        return self

    def __exit__(self, *_) -> None:
        if not self._reader:
            if not self.path.exists():  # nothing to come back to
                self.remove()
            self._lock.release()

    def load(self) -> dict | None:
        """The last state saved; None at the beginning."""
        if not self.path.exists():
            return None
        try:
            content = unseal(self.path)
        except ValueError as error:
            raise ValueError(f"{error}: delete {self.folder} to start again") from None
        found = content["identity"]
        if found != self._identity:
            keys = sorted(k for k in found.keys() | self._identity.keys() if found.get(k) != self._identity.get(k))
            raise ValueError(
                f"{self.folder.parent} holds an unfinished run with another {', '.join(keys)}: "
                f"choose another folder, or delete {self.folder}"
            )
        return content["state"]

    def save(self, state: dict) -> None:
        """Replace the state; the one before stays if writing fails.

        Raises:
            OSError: the folder is full or read-only.
        """
        if not self._reader:
            seal({"identity": self._identity, "state": state}, self.path)

    def remove(self) -> None:
        """Delete the state: the run is finished and its result saved, or it never began."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._new and not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()
