"""Progress bars, and when they are silent: off a terminal, with TQDM_DISABLE in the environment, or told to be."""

import os
import sys
from typing import Any

from tqdm.auto import tqdm

_SWITCH = "TQDM_DISABLE"


def progress_bar(total: int, title: str | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """Return a progress bar on standard error; a notebook draws it, a log file or a pipe gets none.

    Args:
        shown: False makes it a silent one.
        options: of tqdm, such as `unit`, `initial` and `leave`.
    """
    # None is tqdm's word for "only on a terminal"; its own look at the environment gives way to any argument
    return tqdm(total=total, desc=title, disable=True if silent() or not shown else None, **options)


def say(text: str) -> None:
    """Write a line to standard error, above the bars if there are any."""
    tqdm.write(text, file=sys.stderr)


def silent() -> bool:
    """Return whether bars are switched off, here or by the environment."""
    return os.environ.get(_SWITCH, "").strip().lower() not in ("", "0", "false", "no", "off")


def silence() -> None:
    """Switch bars off, in this process and those it starts."""
    os.environ[_SWITCH] = "1"
