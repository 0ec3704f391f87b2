"""`python -m unidd.book`: the book is built once, where the package's chapters are, and served."""

import re
import shutil
import subprocess
import sys
import urllib.request

import pytest

from unidd.book import __main__ as served

CONFIG = """title: Small
author: us
execute:
  execute_notebooks: force
sphinx:
  config:
    html_theme: basic
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A book of one page in place of the package's, a cache of its own, and no clone around."""
    source = tmp_path / "source"
    for name in ("notebooks", "book", "tests"):
        (source / name).mkdir(parents=True)
    (source / "_config.yml").write_text(CONFIG)
    (source / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (source / "book" / "index.md").write_text("# One page\n")
    for name in ("CHANGELOG.md", "CITATION.cff"):
        (source / name).touch()
    monkeypatch.setattr(served, "_SHIPPED", source)
    monkeypatch.setattr(served, "_CLONE", tmp_path / "site-packages")
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    return source


def test_the_package_has_the_sources_of_the_book():
    names = {path.name for path in served.sources().iterdir()}
    assert set(served._PARTS) <= names
    assert served._EXECUTED in (served.sources() / "_config.yml").read_text(), "what `made` replaces is there"
    assert (served.sources() / "book" / "api" / "core.md").is_file()


def test_a_built_book_of_a_clone_is_served_as_it_is(small, monkeypatch, tmp_path):
    clone = tmp_path / "clone"
    (clone / "_build" / "html").mkdir(parents=True)
    (clone / "_config.yml").touch()
    monkeypatch.setattr(served, "_CLONE", clone)
    assert served.ready() is None
    (clone / "_build" / "html" / "index.html").touch()
    assert served.ready() == clone / "_build" / "html"
    assert served.ready(run=True) is None, "one whose chapters are to be executed is another"


def test_other_sources_are_another_book(small):
    before = served.place()
    assert served.place() == before
    assert served.place(run=True) != before
    (small / "book" / "index.md").write_text("# Another page\n")
    assert served.place() != before


def test_without_what_builds_books_it_says_what_to_install(small, monkeypatch):
    monkeypatch.setattr(served.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'unidd\[book\]'"):
        served.made()


def test_without_chapters_it_says_so(small):
    (small / "_config.yml").unlink()
    with pytest.raises(FileNotFoundError, match="chapters of the book are not with the package"):
        served.sources()


def test_a_taken_port_is_one_line(small, tmp_path, capsys):
    served.place().mkdir(parents=True)
    (served.place() / "index.html").touch()
    taken = served.ThreadingHTTPServer(("127.0.0.1", 0), served._Quiet)
    with taken, pytest.raises(ValueError, match=f"port {taken.server_port} is taken: say another one"):
        served.main(port=taken.server_port)


@pytest.mark.slow
def test_it_is_built_once(small, capsys):
    home = served.made()
    assert "building the book in" in capsys.readouterr().out
    assert "One page" in (home / "book" / "index.html").read_text()
    assert served.ready() == home


def test_a_failure_names_its_log_and_leaves_nothing_else(small, monkeypatch):
    monkeypatch.setattr(served.sys, "executable", shutil.which("false"))
    with pytest.raises(RuntimeError, match="the book was not built: see"):
        served.made()
    assert [path.suffix for path in served.place().parent.iterdir()] == [".log"]
    assert served.ready() is None


@pytest.mark.parametrize("run", [False, True])
def test_chapters_are_executed_only_if_that_is_asked_for(run, small, monkeypatch):
    seen = []

    def build(command, cwd, **options):
        seen.append((cwd / "_config.yml").read_text())
        (cwd / "_build" / "html").mkdir(parents=True)
        (cwd / "_build" / "html" / "index.html").touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(served.subprocess, "run", build)
    assert served.made(run=run) == served.ready(run=run)
    assert ("execute_notebooks: force" in seen[0]) == run


@pytest.mark.slow
def test_the_command_serves_the_book(tmp_path):
    """With a book in the cache, as a process of its own, on a free port."""
    home = served.place()
    home.mkdir(parents=True)
    (home / "index.html").write_text("the front page")
    script = (
        f"from pathlib import Path; import unidd.book.__main__ as b; b._CLONE = Path({str(tmp_path)!r}); b.main(port=0)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == b"the front page"
    finally:
        process.kill()
        process.wait()
