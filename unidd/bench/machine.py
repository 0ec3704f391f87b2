"""What the machine has and what a process takes of it, and how to say it."""

import gc
import os
from pathlib import Path

import torch

from ..memory import of_glibc, trim_memory
from .records import provenance


def describe(device: torch.device) -> str:
    """Return a device in words, as "cpu (x86_64), 2 threads"."""
    found = provenance(device)
    threads = f", {found['threads']} thread" + "s" * (found["threads"] > 1)
    return found["device"] + (threads if device.type == "cpu" else "")


def wait(device: torch.device) -> None:
    """Wait until the device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes this process has had so far, or its tensors on a GPU; 0 if the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "meta":  # where nothing is held
        return 0
    return _entry("/proc/self/status", "VmHWM:", 1024) or _peak_by_usage()


def _peak_by_usage() -> int:
    """Where there is no /proc; on Linux a process begins with the peak of the one that started it."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def available_memory(device: str | torch.device) -> int | None:
    """Return the bytes that a new process can have: of a GPU, or of the machine or container; None if unknown."""
    if str(device).startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.mem_get_info(torch.device(device))[0]
    found = [_entry("/proc/meminfo", "MemAvailable:", 1024)]
    limit, used = (_entry(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit is not None and used is not None:
        found.append(limit - used + (_entry("/sys/fs/cgroup/memory.stat", "inactive_file") or 0))
    return min((number for number in found if number is not None), default=None)


def _entry(path: str, name: str = "", unit: int = 1) -> int | None:
    """Return the number after a name in a file of the system."""
    try:
        found = next(line for line in Path(path).read_text().splitlines() if line.startswith(name))
        return unit * int(found.removeprefix(name).split()[0])
    except (OSError, StopIteration, ValueError):
        return None


def limit_memory(most: int | None) -> None:
    """Let this process fail to take more, instead of taking the machine down; on Linux, else nothing happens."""
    reserved, used = (_entry("/proc/self/status", name, 1024) for name in ("VmData:", "RssAnon:"))
    if most is not None and reserved is not None and used is not None:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)  # of what is reserved, used or not
        resource.setrlimit(resource.RLIMIT_DATA, (most + reserved - used, hard))


def keep_memory() -> bool:
    """Let this process keep the memory it frees, for its next step; return whether it could, which takes glibc.

    By default glibc hands large blocks back to the kernel and gets them again, page by page, which takes up to half of
    a step on a CPU; kept, they may add up to more memory. A `MALLOC_…` variable of yours in the environment wins.
    Chapter: "Appendix: what a step costs".
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # of glibc's malloc.h
    mallopt = of_glibc("mallopt")
    return bool(mallopt) and all((mallopt(mmap_max, 0), mallopt(trim_threshold, -1), mallopt(top_pad, 2**26)))


def release_memory() -> None:
    """Give back what is kept and free, so that a peak that follows is of its own work; with glibc only."""
    gc.collect()
    trim_memory()


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> [duration(s) for s in (0.0123, 4.56, 45.6, 372, 12000, 400000)]
    ['12 ms', '4.6 s', '46 s', '6 min 12 s', '3 h 20 min', '4 d 15 h']
    """
    if seconds < 59.5:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{seconds:.{1 if seconds < 9.95 else 0}f} s"
    units = (60, 1, "min", "s"), (3600, 60, "h", "min"), (86400, 3600, "d", "h")
    fits = (unit for unit in units if round(seconds / unit[1]) * unit[1] < 60 * unit[0])
    upper, lower, large, small = next(fits, units[-1])
    whole = round(seconds / lower) * lower
    return f"{whole // upper} {large} {whole % upper // lower} {small}"


def size(number: float) -> str:
    """Return a number of bytes in words.

    >>> [size(n) for n in (500, 5000, 3.2e9)]
    ['500 B', '4.9 KiB', '3.0 GiB']
    """
    if number < 1000:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB"):
        number /= 1024
        if number < 1000:
            return f"{number:,.1f} {unit}"
    return f"{number / 1024:,.1f} GiB"
