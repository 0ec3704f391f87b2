"""Bars are for people at a terminal: not for logs, pipes, TQDM_DISABLE or --quiet."""

import os
import sys

import pytest

from unidd.bars import progress_bar, say, silence, silent
from unidd.cli import main


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def drawn(**options):
    with progress_bar(3, "work", **options) as bar:
        bar.update(3)


def test_a_terminal_gets_a_bar(capsys, monkeypatch, terminal):
    drawn()
    assert "work: 100%" in capsys.readouterr().err


def test_a_log_file_gets_none(capsys):
    drawn()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_tqdm_disable_silences_them(capsys, monkeypatch, terminal, value):
    monkeypatch.setenv("TQDM_DISABLE", value)
    drawn()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("value", ["0", "False", "", " "])
def test_tqdm_disable_can_say_no(capsys, monkeypatch, terminal, value):
    monkeypatch.setenv("TQDM_DISABLE", value)
    drawn()
    assert "100%" in capsys.readouterr().err


def test_who_asks_for_none_gets_none(capsys, monkeypatch, terminal):
    drawn(shown=False)
    assert capsys.readouterr().err == ""


def test_silence_is_for_processes_that_are_started_too(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    silence()
    assert silent()
    assert os.environ["TQDM_DISABLE"] == "1"


@pytest.mark.parametrize("arguments", [("methods", "--quiet"), ("--quiet", "methods")], ids=" ".join)
def test_the_command_takes_quiet_anywhere(monkeypatch, capsys, arguments):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.setattr(sys, "argv", ["unidd", *arguments])
    main()
    assert silent()
    assert "cfm" in capsys.readouterr().out


def test_a_line_is_said_all_the_same(capsys, monkeypatch, terminal):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    say("note: something")
    assert capsys.readouterr().err == "note: something\n"
