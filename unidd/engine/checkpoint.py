"""Keep the state of a run on disk, so that no work is lost.

Files are sealed, a checksum before the content, and written atomically: a file is whole, or it is found out.
Chapter: "Appendix: what a step costs".
"""

import contextlib
import shutil
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor

from ..files import seal, unseal
from .parallel import Ranks

_FORMAT = 2  # of a run's state


class Checkpoint:
    """What a run needs to go on after it was cut off, in <folder>/.state, for one process at a time.

    As a context it holds a lock on the folder, which the system releases however the process ends; entering it again
    inside is harmless. `state.pt` says where the run stands, `batch-<n>.pt` are the images done. Of several processes
    that share a run the first alone locks, reads and writes.

        with Checkpoint("out") as checkpoint:
            unidd.distill(data, "cfm", checkpoint=checkpoint).save("out")
            checkpoint.remove()

    Args:
        folder: where the finished set will lie.
        overwrite: discard a state that is damaged or of another run; else it is refused.
        ranks: the processes that share the run.
    Raises:
        ValueError: another process works there; the state is damaged, or of another run.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, *, overwrite: bool = False, ranks: Ranks | None = None):
        self.out = Path(folder).absolute()
        self.folder = self.out / ".state"
        self._overwrite, self._ranks = overwrite, ranks or Ranks()
        self._lock = FileLock(self.folder / "lock", timeout=0)
        self._identity: dict = {}

    @property
    def path(self) -> Path:
        return self.folder / "state.pt"

    def __enter__(self) -> "Checkpoint":
        self._ranks.from_first(self._claim)
        return self

    def _claim(self) -> None:
        if not self._lock.is_locked:
            self._made = [path for path in (self.out, *self.out.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise ValueError(f"another process is distilling into {self.out}: wait, or choose another folder") from None
        except OSError as error:
            raise OSError(f"cannot write to {self.out} ({error.strerror}): choose another folder") from None
        for left in (
            *self.folder.glob(".*.pt-*"),
            *self.out.glob(".card.json-*"),
            *self.out.glob(".images.safetensors-*"),
        ):
            shutil.rmtree(left)  # half-written when an earlier process was killed

    def __exit__(self, *_) -> None:
        if self._ranks.first:
            if self._lock.lock_counter == 1 and not self.path.exists():  # nothing to come back to
                self.remove()
            self._lock.release()

    def check(self, identity: dict) -> None:
        """Raise now what `load` would, as far as it depends on that part of the run's identity."""
        self._ranks.from_first(lambda: self._read(self.path, identity, set(identity)))

    def load(self, identity: dict) -> dict | None:
        """Return the last state saved, on the CPU; None at the beginning.

        Args:
            identity: what the run depends on, by name.
        """
        self._identity = identity
        return self._ranks.from_first(lambda: self._read(self.path, identity))

    def save(self, state: dict) -> None:
        """Replace the state; the one before stays if writing fails.

        Raises:
            OSError: the folder is full or read-only.
        """
        self._write(state, self.path)

    def load_batch(self, number: int) -> Tensor:
        """Return the images of a batch that the state counts as done.

        Raises:
            ValueError: they are gone, or damaged.
        """
        path = self._batch(number)
        content = self._ranks.from_first(lambda: self._read(path, self._identity))
        if content is None:
            raise ValueError(f"{path} is missing: delete {self.folder} to start again")
        return content["images"]

    def save_batch(self, number: int, images: Tensor) -> None:
        """Keep the images of a batch; before the state that counts it as done."""
        self._write({"images": images.cpu()}, self._batch(number))

    def remove(self) -> None:
        """Delete the state: the run is finished and its result saved, or it never began."""
        if not self._ranks.first:
            return
        self.path.unlink(missing_ok=True)  # first: without it the rest is nothing
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # a folder that is not empty stays
            for path in self._made:
                path.rmdir()

    def _batch(self, number: int) -> Path:
        return self.folder / f"batch-{number:05d}.pt"

    def _read(self, path: Path, identity: dict, names: set[str] | None = None) -> dict | None:
        """What was written to a file; None if there is none, or it is to be overwritten. `names` are those compared."""
        if not path.exists():
            return None
        try:
            return self._content(path, identity, names)
        except ValueError:
            if not self._overwrite:
                raise
            self.path.unlink()
            return None

    def _content(self, path: Path, identity: dict, names: set[str] | None) -> dict:
        try:
            content = unseal(path)
        except ValueError as error:
            raise ValueError(f"{error}: delete {self.folder} to start again") from None
        found = content.get("identity", {})
        if content.get("format") != _FORMAT or not found:
            raise ValueError(f"{path} is of another version: delete {self.folder} to start again")
        other = [n for n in found | identity if (not names or n in names) and found.get(n) != identity.get(n)]
        if other:
            raise ValueError(
                f"{self.out} holds an unfinished run with another {', '.join(other)}: "
                f"choose another folder, or delete {self.folder}"
            )
        return content["content"]

    def _write(self, content: dict, path: Path) -> None:
        if not self._ranks.first:
            return
        try:
            seal({"format": _FORMAT, "identity": self._identity, "content": content}, path)
        except OSError as error:
            raise OSError(f"{error}; the state before is whole: run the same command again to go on from it") from None
