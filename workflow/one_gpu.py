"""Run a command on one of several GPUs: `one_gpu.py 0,1,2,3 COMMAND …`; with '' for the GPUs it runs as it is.

It waits for a GPU that no other command of this kind holds, and sees that one alone (CUDA_VISIBLE_DEVICES); a GPU that
is named several times is held by as many commands at once. The command takes this process's place, and with it the
lock, which is gone when it ends, however it ends.
"""

import fcntl
import os
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path


def numbers(text: str) -> list[str]:
    """Return the GPUs that a text such as "0,1,3" names, one for each command that may run at once.

    Raises:
        ValueError: it names none, or anything else.
    """
    found = text.split(",")
    if not all(number.isdecimal() for number in found):
        raise ValueError(f"GPUS must be numbers such as 0,1,2,3, or 0,0 for two jobs at once on one, not {text!r}")
    return found


def take(gpus: list[str], wait: float = 1.0) -> str:
    """Return a free GPU, once there is one; this process and what takes its place hold it from then on.

    Args:
        wait: seconds between two looks.
    """
    folder = Path(tempfile.gettempdir()) / f"unidd-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    places = [(gpu, gpus[:i].count(gpu)) for i, gpu in enumerate(gpus)]
    places.sort(key=itemgetter(1))  # each GPU once, before one has a second command
    while True:
        for gpu, place in places:
            lock = os.open(folder / f"{gpu}-{place}", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                os.set_inheritable(lock, True)  # it stays open, and so locked, in the command
                return gpu
        time.sleep(wait)


def main() -> int:
    gpus, *command = sys.argv[1:]
    try:
        chosen = {"CUDA_VISIBLE_DEVICES": take(numbers(gpus))} if gpus else {}
        os.execvpe(command[0], command, os.environ | chosen)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
