"""The book on this machine: `python -m unidd.book` serves it, and builds it before if it is not there.

In a clone, the book that `make book` built is served. Elsewhere it is built once from the chapters that come with the
package, with the outputs they hold, into the folder of the cache; `--run` executes them afresh instead.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import tyro

from ..files import cache_folder

_CLONE = Path(__file__).resolve().parents[2]
_SHIPPED = Path(__file__).resolve().with_name("source")  # of links, in a clone
_PARTS = ("_config.yml", "_toc.yml", "notebooks", "book", "tests", "CHANGELOG.md", "CITATION.cff")
_TEXTS = {".yml", ".py", ".ipynb", ".md", ".bib", ".cff", ".css", ".js"}  # which the pages are made of
_EXECUTED, _STORED = "execute_notebooks: force", 'execute_notebooks: "off"'


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments) -> None:
        """Say nothing of each request."""


def sources() -> Path:
    """Return the folder with chapters, pages and settings of the book.

    Raises:
        FileNotFoundError: neither the package nor a clone around it has them.
    """
    for home in (_SHIPPED, _CLONE):  # a checkout that cannot have links has no folder behind the first
        if (home / "notebooks").is_dir() and (home / "_config.yml").is_file():
            return home
    raise FileNotFoundError(f"the chapters of the book are not with the package in {_SHIPPED}: install its wheel")


def place(run: bool = False) -> Path:
    """Return where the built book of these very sources lies, or will lie, in the cache."""
    digest = hashlib.sha256()
    for part in (sources() / name for name in _PARTS):
        for path in sorted(path for path in (part, *part.rglob("*")) if path.suffix in _TEXTS):
            digest.update(path.name.encode() + path.read_bytes())
    return cache_folder() / "book" / (digest.hexdigest()[:16] + "-run" * run)


def made(run: bool = False) -> Path:
    """Build the book and return its folder; what stood there stays until it is done.

    Args:
        run: execute every chapter, rather than show the outputs that it holds.
    Raises:
        ModuleNotFoundError: what builds books is not installed.
        RuntimeError: the build failed; the message names its log.
    """
    if importlib.util.find_spec("jupyter_book") is None:
        raise ModuleNotFoundError("building the book needs more packages: pip install 'unidd[book]'")
    home = place(run)
    home.parent.mkdir(parents=True, exist_ok=True)
    print(f"building the book in {home}: once{', with every chapter executed: minutes' * run}", flush=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        work = Path(folder, "book")
        work.mkdir()
        for part in (sources() / name for name in _PARTS):
            (shutil.copytree if part.is_dir() else shutil.copyfile)(part, work / part.name)
        if not run:
            settings = work / "_config.yml"
            settings.write_text(settings.read_text(encoding="utf-8").replace(_EXECUTED, _STORED), "utf-8")
        log = home.with_suffix(".log")
        script = "import sys; from jupyter_book.cli.main import main; main(['build', '.'])"
        with log.open("wb") as stream:
            environment = os.environ | {"TQDM_DISABLE": "1"}
            done = subprocess.run(
                [sys.executable, "-c", script], cwd=work, stdout=stream, stderr=stream, env=environment
            )
        html = work / "_build" / "html"
        if done.returncode or not (html / "index.html").exists():
            raise RuntimeError(f"the book was not built: see {log}")
        shutil.rmtree(home, ignore_errors=True)
        os.replace(html, home)
    return home


def ready(run: bool = False) -> Path | None:
    """Return the folder of a book that is built already, in the clone or in the cache; None if there is none."""
    clone = [_CLONE / "_build" / "html"] if (_CLONE / "_config.yml").is_file() and not run else []
    return next((home for home in [*clone, place(run)] if (home / "index.html").is_file()), None)


def main(port: int = 8000, build: bool = False, run: bool = False) -> None:
    """Serve the book on this machine; build it first if it is not there yet.

    Args:
        port: of the address; 0 takes a free one.
        build: build it even if it is there.
        run: of a book that is built, execute every chapter here rather than show the outputs it came with.
    """
    home = (None if build else ready(run)) or made(run)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(home)))
    except OSError:
        raise ValueError(f"port {port} is taken: say another one, such as --port {port + 1}") from None
    print(f"the book: http://127.0.0.1:{server.server_port}/ (Ctrl+C ends it; files in {home})", flush=True)
    with server:
        server.serve_forever()


if __name__ == "__main__":
    try:
        tyro.cli(main, prog="python -m unidd.book")
    except KeyboardInterrupt:
        print()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"unidd.book: error: {error}", file=sys.stderr)
        sys.exit(2)
