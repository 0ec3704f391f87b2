"""Run a command with its resident memory held below a limit, pages of mapped files included. Linux 5.10, as root.

    UNIDD_DATA=… python benchmarks/larger_than_memory.py 1000 teach --dataset tiny-imagenet --budget smoke

The first number is the limit in MiB. As the memory of a container would, this process takes the pages of decoded images
back from the command before they reach it (process_madvise, MADV_PAGEOUT). A command above it all the same is ended.
"""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

_PROCESS_MADVISE, _PAGE_OUT = 440, 21
_SHARE = 0.85  # of the limit, from which pages are taken back


class _Range(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def resident(pid: int) -> int:
    """Return the bytes of memory a process holds, of files or not; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def take_back(pid: int, descriptor: int) -> None:
    """Take the pages of decoded images back from a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith("pixels.u8"):
            first, last = (int(number, 16) for number in line.split()[0].split("-"))
            pages = _Range(first, last - first)
            libc.syscall(_PROCESS_MADVISE, descriptor, ctypes.byref(pages), ctypes.c_size_t(1), _PAGE_OUT, 0)


def main(limit: float, command: list[str]) -> int:
    process = subprocess.Popen([sys.executable, "-m", "unidd", *command])
    descriptor, peak = os.pidfd_open(process.pid), 0
    while process.poll() is None:
        peak = max(peak, now := resident(process.pid))
        if now > limit:
            process.kill()
        elif now > _SHARE * limit:
            take_back(process.pid, descriptor)
        time.sleep(0.005)
    print(f"peak {peak / 2**20:,.0f} MiB of {limit / 2**20:,.0f} MiB; exit code {process.returncode}")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) * 2**20, sys.argv[2:]))
