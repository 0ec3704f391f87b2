"""Files that are whole or not there, and hashes of what is in them: no science, and nothing else of ours.

A sealed file carries the sha256 of its content before the content, so that damage is found out. Torch, which takes
seconds and half a GB, is loaded for tensors alone: what runs the notebooks of a batch needs none.
"""

import hashlib
import io
import json
import os
import pickle
import tempfile
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic(path: str | Path):
    """Give a temporary path that takes the place of `path` only if the block succeeds: nothing is left half-written.

    Raises:
        OSError: the folder cannot be written (at once, before any long work in the block).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


def nearest(folder: str | Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    folder = Path(folder).absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def check_writable(folder: str | Path) -> None:
    """Raise an OSError now if files could not be written to the folder later; leaves nothing behind.

    Raises:
        OSError: it cannot be made or written; the message names it.
    """
    folder = Path(folder).absolute()
    try:
        with tempfile.TemporaryFile(dir=nearest(folder)):
            pass
    except OSError as error:
        raise OSError(f"cannot write to {folder} ({error.strerror}): choose another folder") from None


def cache_folder(cache: str | Path | None = None) -> Path:
    """Return where teachers, experts, statistics and decoded images are kept: UNIDD_CACHE, or else ~/.cache/unidd."""
    return Path(cache or os.environ.get("UNIDD_CACHE") or "~/.cache/unidd").expanduser()


def save_json(content: dict, path: str | Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def json_hash(content: dict) -> str:
    """Return sixteen hexadecimal digits of the sha256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def seal(content: dict, path: str | Path) -> None:
    """Write tensors, numbers, strings and containers of them; on disk before what stood there is replaced.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(_alone(content), buffer)
    payload = buffer.getbuffer()
    try:
        with atomic(path) as temporary, open(temporary, "wb") as file:
            file.write(hashlib.sha256(payload).digest())
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(f"cannot write {path} ({error.strerror or error})") from None


def _alone(content: Any) -> Any:
    """Return content whose tensors are no parts of larger ones, of which torch would write the whole."""
    from torch import Tensor

    if isinstance(content, Tensor):
        return content.clone() if content.untyped_storage().nbytes() > content.numel() * content.itemsize else content
    if isinstance(content, dict):
        return {name: _alone(value) for name, value in content.items()}
    return type(content)(map(_alone, content)) if isinstance(content, list | tuple) else content


def unseal(path: str | Path) -> dict:
    """Read it back, on the CPU.

    Raises:
        ValueError: the file is truncated, or not one of these.
    """
    import torch

    content = memoryview(Path(path).read_bytes())
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError(f"{path} is damaged")
    try:
        return torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error})") from None


def tensors_hash(tensors: "dict[str, Tensor]") -> str:
    import torch

    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    return {package: _version(package) for package in ("unidd", "torch", "torchvision")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a folder on the path, as on a machine that is lent for minutes
        return "not installed"
