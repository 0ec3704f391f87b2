"""Give memory back that the C library keeps for the next allocation; with glibc, else nothing happens."""

import ctypes
from collections.abc import Callable


def trim_memory() -> None:
    """Give back what is kept and free, between two phases of a run: the peak is then that of one, not of their sum."""
    if trim := of_glibc("malloc_trim"):
        trim(0)


def of_glibc(name: str) -> Callable[..., int] | None:
    """Return a function of the C library; None if there is none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return None
