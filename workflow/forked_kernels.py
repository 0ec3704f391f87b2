"""Kernels that begin at once: each is forked from one process that has imported what most chapters do.

`kernels()` puts them in the place of the kernel `python3`. What Jupyter starts as that kernel is this file with a few
arguments: it asks the process for a fork, which has its folder and its environment, and ends with it. All end with who
opened `kernels()`. An import that a chapter forgets is not missed where the process has made it: `pytest --nbval` of a
chapter, in a fresh interpreter, would tell.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

IMPORTED = [
    *("torch", "torch._dynamo", "torchvision.utils", "pandas", "scipy.stats", "sklearn.datasets", "plotly.io"),
    *("ipykernel.kernelapp", "unidd.bench.tables", "unidd.book.widgets", "unidd.methods.cfm"),
]
STARTED_BY = os.getppid()


@contextlib.contextmanager
def kernels() -> Iterator[None]:
    """Let Jupyter start forks in place of the kernel `python3`, as that one has its environment, while this is open."""
    from jupyter_client.kernelspec import get_kernel_spec

    if sys.platform != "linux":  # a fork of a process that has loaded so much may crash there
        yield
        return
    spec = get_kernel_spec("python3")
    with tempfile.TemporaryDirectory(prefix="unidd-") as folder:
        address, kernel = f"{folder}/socket", Path(folder, "kernels", "python3")
        kernel.mkdir(parents=True)
        argv = [sys.executable, __file__, address, "ipykernel_launcher", "-f", "{connection_file}"]
        (kernel / "kernel.json").write_text(json.dumps(spec.to_dict() | {"argv": argv}))
        path = os.pathsep.join(filter(None, (folder, os.environ.get("JUPYTER_PATH"))))
        command = [sys.executable, __file__, address]
        with (
            mock.patch.dict(os.environ, JUPYTER_PATH=path),
            subprocess.Popen(command, env=os.environ | spec.env, stdout=subprocess.PIPE) as server,
        ):
            try:
                if not server.stdout.readline():
                    raise RuntimeError("the process from which kernels are forked did not start: it says why above")
                yield
            finally:
                server.kill()


def serve(address: str) -> None:
    """Import, then fork a process for each connection."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        os.dup2(2, 1)  # nobody reads on
        while there(server):
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return become(connection)
            connection.close()


def become(connection: socket.socket) -> None:
    """Be the kernel that is asked for, as long as who asked for it is there."""
    lines = connection.makefile()
    folder, environment, (module, *arguments) = json.loads(lines.readline())
    threading.Thread(target=lambda: (lines.read(), os._exit(1)), daemon=True).start()
    sys.path[0] = folder
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def ask(address: str, *arguments: str) -> None:
    """Ask for a fork, and wait for its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Jupyter interrupts a kernel before it ends it
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        server.sendall(json.dumps([os.getcwd(), dict(os.environ), arguments]).encode() + b"\n")
        there(server)


def there(connection: socket.socket) -> bool:
    """Wait for a connection to say something, or to end; return False once who started this process is gone."""
    while not select.select([connection], [], [], 1)[0]:
        if os.getppid() != STARTED_BY:
            return False
    return True


if __name__ == "__main__":
    (ask if sys.argv[2:] else serve)(*sys.argv[1:])
