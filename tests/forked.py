"""Commands of Python in processes of their own, forked from one that has imported what they import: seconds less each.

What libraries read when they are imported is that process's, and nothing runs at the exit of a fork. What a command
does from a fresh interpreter is tested by `subprocess`.
"""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from unittest import mock


class _Process(ForkServerProcess):
    """Has the environment of the process that starts it, not of the one it is forked from."""

    def __init__(self, *args, environment: Mapping[str, str] | None = None, **named):
        super().__init__(*args, **named)
        self._environment = dict(environment or os.environ)

    def start(self):
        # what the server of forks, which this may start, reads once; sums depend on the number of threads
        with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):
            super().start()

    def run(self):
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


class _Forks(ForkServerContext):
    Process = _Process


FORKS = _Forks()
IMPORTED = ["unidd.cli", "unidd.methods.cfm", "torch._dynamo", "torchvision.utils", "sklearn.datasets", "snakemake.cli"]
if sys.platform == "linux":  # elsewhere a fork of a process that has loaded so much may crash: each imports for itself
    FORKS.set_forkserver_preload(IMPORTED)


class Command:
    """A command `[sys.executable, "-m", MODULE, …]` that runs in a session of its own.

    Args:
        cwd: where it runs.
        env: its environment.
        die: name of a function of os → at which call of it, counted from 1, the process kills itself.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        die: dict[str, int] | None = None,
    ):
        self._folder = tempfile.TemporaryDirectory(prefix="unidd-forked-")
        self._command = list(map(str, command))
        arguments = self._command[1:], cwd or Path.cwd(), Path(self._folder.name), die or {}
        self._process = FORKS.Process(target=_become, args=arguments, environment=env)
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal that ended it; None as long as it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the process and those it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()  # one that has no session yet

    def wait(self, timeout: float = 600) -> subprocess.CompletedProcess:
        """Return how it ended, and what it wrote; whatever ends the waiting ends the process."""
        try:
            self._process.join(timeout)
            if self.poll() is None:
                raise subprocess.TimeoutExpired(self._command, timeout)
        except BaseException:
            self.kill()
            raise
        said = [Path(self._folder.name, name) for name in ("1", "2")]
        written = [path.read_text() if path.exists() else "" for path in said]
        return subprocess.CompletedProcess(self._command, self.poll(), *written)


def run(command: Sequence[str | Path], **options) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    return Command(command, **options).wait()


def _become(arguments: list[str], cwd: Path, said: Path, die: dict[str, int]) -> None:
    option, module, *rest = arguments
    assert option == "-m"
    os.setsid()
    for number in (1, 2):
        os.dup2(os.open(said / str(number), os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    for name, count in die.items():
        setattr(os, name, partial(_dying, getattr(os, name), iter(range(count - 1))))
    sys.argv, sys.path[0:0] = [module, *rest], [str(cwd)]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _dying(original: Callable, left: Iterator[int], *args, **named):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **named)
