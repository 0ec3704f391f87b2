"""Decode pictures in processes of their own, each of which writes its part of one file of pixels.

They run `serve` and nothing of the program that starts them, so that a script without `if __name__ == "__main__"` may
load its pictures too. A shard goes in on standard input, what was found in it comes out on standard output.
"""

import hashlib
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from .pictures import read

_MOST = 32  # processes


@dataclass(frozen=True)
class Shard:
    """Pictures that lie one behind the other in the file of pixels, and where its first one begins, in bytes."""

    number: int
    files: tuple[str | Path, ...]
    size: int
    channels: int
    pixels: Path
    offset: int


@dataclass(frozen=True)
class Decoded:
    """What was found in a shard.

    Attributes:
        remarks: what was done to pictures, and to how many.
        sha256: of the shard's pixels.
        counts: how often each of the 256 values is in each channel.
    """

    number: int
    images: int
    remarks: Counter[str]
    sha256: str
    counts: list[list[int]]


def stack(files: Sequence[str | Path], size: int, channels: int) -> tuple[np.ndarray, Counter[str]]:
    """Read pictures to pixels uint8 (n, C, size, size), and count the remarks.

    Raises:
        ValueError: a picture cannot be read; the message names it.
    """
    pixels, remarks = np.empty((len(files), channels, size, size), np.uint8), Counter[str]()
    for place, file in zip(pixels, files, strict=True):
        place[...], said = read(Path(file), size, channels)
        remarks.update(said)
    return pixels, remarks


def described(number: int, pixels: np.ndarray, remarks: Counter[str]) -> Decoded:
    """Return what is to be known of the pixels of a shard, uint8 (n, C, H, W), contiguous."""
    counts = [np.bincount(pixels[:, c].reshape(-1), minlength=256).tolist() for c in range(pixels.shape[1])]
    return Decoded(number, len(pixels), remarks, hashlib.sha256(pixels.data).hexdigest(), counts)


def decode(shard: Shard) -> Decoded:
    """Read the pictures of a shard and write their pixels to their place in the file.

    Raises:
        ValueError: a picture cannot be read.
        OSError: the file cannot be written.
    """
    pixels, remarks = stack(shard.files, shard.size, shard.channels)
    with open(shard.pixels, "r+b", buffering=0) as file:
        file.seek(shard.offset)
        left = pixels.reshape(-1).data
        while left:
            left = left[file.write(left) :]
    return described(shard.number, pixels, remarks)


def decode_all(shards: Sequence[Shard]) -> Generator[Decoded, None, None]:
    """Yield what is found in shards, in any order, from as many processes as there are processors.

    Raises:
        ValueError: a picture cannot be read.
        OSError: a process broke off, or the file cannot be written.
    """
    workers = min(len(shards), processors(), _MOST)
    if workers < 2:
        yield from map(decode, shards)
        return
    started = [_start() for _ in range(workers)]
    idle: SimpleQueue[subprocess.Popen] = SimpleQueue()
    for process in started:
        idle.put(process)
    try:
        with ThreadPoolExecutor(workers) as threads:  # each waits for one process at a time
            futures: list[Future[Decoded]] = [threads.submit(_ask, idle, shard) for shard in shards]
            try:
                yield from (future.result() for future in as_completed(futures))
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                for process in started:
                    process.kill()
    finally:
        for process in started:
            process.communicate()


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start() -> subprocess.Popen:
    """Start a process that finds the packages this one finds."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), *sys.path]))
    command, pipe = [sys.executable, "-c", f"from {__name__} import serve; serve()"], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env={**os.environ, "PYTHONPATH": path})


def _ask(idle: SimpleQueue[subprocess.Popen], shard: Shard) -> Decoded:
    process = idle.get()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(shard, process.stdin)
        process.stdin.flush()
        answer = pickle.load(process.stdout)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):
        most = f"{processors()} processes"
        raise OSError(f"a process that decodes pictures broke off: is there enough memory for {most}?") from None
    finally:
        idle.put(process)
    if isinstance(answer, Exception):
        raise answer
    return answer


def serve() -> None:
    """Answer the shards on standard input until there are no more; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            shard = pickle.load(sys.stdin.buffer)
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = decode(shard)
        except (ValueError, OSError) as error:
            answer = error if isinstance(error, OSError) else ValueError(str(error))
        except KeyboardInterrupt:
            return
        pickle.dump(answer, answers)
        answers.flush()
