"""Settings all tests share: a store of teachers of their own, and repeatable property tests."""

import os
import shutil
import sys
import tempfile

import pytest
from hypothesis import settings

# Derandomised: a failure here is a failure everywhere. No deadline: the first call of a torch kernel is slow.
settings.register_profile("unidd", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("unidd")

_CACHE = pytest.StashKey[str]()


def pytest_configure(config):
    # Before any test module is imported, and inherited by the processes that tests start.
    config.stash[_CACHE] = os.environ["UNIDD_CACHE"] = tempfile.mkdtemp(prefix="unidd-tests-")


def pytest_unconfigure(config):
    shutil.rmtree(config.stash[_CACHE], ignore_errors=True)


@pytest.fixture(scope="session")
def digits():
    """The embedded digits; loaded once, changed by nobody."""
    from unidd.data.datasets import load  # not before the store of teachers is set

    return load("digits")


@pytest.fixture
def terminal(capsys, monkeypatch):
    """Standard error is a terminal, so that bars are drawn, and still captured."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    kind = type(sys.stderr)  # of which each phase of a test has another one
    assert kind.__module__ != "io", "of pytest, and ours to change"
    monkeypatch.setattr(kind, "isatty", lambda _: True)


@pytest.fixture
def planned_in_a_fork(monkeypatch):
    """The process in which a plan is measured is forked, where a user's imports everything afresh."""
    import forked

    monkeypatch.setattr("unidd.bench.planning.get_context", lambda _: forked.FORKS)


@pytest.fixture
def run_unidd(monkeypatch, capsys, planned_in_a_fork):
    """Runs the command `unidd` and returns its exit code, standard output and standard error."""
    from unidd import cli

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unidd", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def unidd(run_unidd, monkeypatch, tmp_path):
    """Runs the command in an empty folder, for a terminal of 200 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return run_unidd
