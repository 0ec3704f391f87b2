"""Every command `unidd …` that a page, a chapter or the README prints is one that the command line takes."""

import functools
import re
import shlex
from pathlib import Path

import pytest

from unidd import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.py"))]
WORK = ("assess", "audit", "teach", "catalogue", "send", "receive", "receive_teacher", "check_record")


def commands(text: str) -> list[str]:
    """The lines that start with `unidd`, or the same in an environment, in blocks of shell, without their comments."""
    text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)  # markdown cells of a script
    blocks = "\n".join(re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return re.findall(r"^(?:\.venv/bin/)?(unidd [^#\n]+)", blocks, re.MULTILINE)


FOUND = {command.strip(): path.name for path in PAGES for command in commands(path.read_text())}


@pytest.fixture
def asked(monkeypatch):
    """What the command line would have done, and does not."""
    calls = []

    def stub(work):
        @functools.wraps(work)
        def called(*arguments, **options):
            calls.append(work.__name__)

        return called

    for name in WORK:
        monkeypatch.setattr(cli, name, stub(getattr(cli, name)))
    monkeypatch.setattr(cli, "OF_A_METHOD", {name: stub(work) for name, work in cli.OF_A_METHOD.items()})
    return calls


def test_the_pages_print_commands():
    assert {"README.md", "sets.md", "coming_from.md"} <= set(FOUND.values())
    assert commands("```bash\nunidd methods  # all\nls\n```\n```python\nunidd = 1\n```\n") == ["unidd methods  "]


@pytest.mark.parametrize("command", FOUND, ids=lambda command: f"{FOUND[command]}: {command}")
def test_a_printed_command_is_taken(command, asked, run_unidd, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "book" / "examples")  # with the method that a reader adds
    monkeypatch.chdir(tmp_path)
    Path("pets").mkdir()
    code, _, err = run_unidd(*shlex.split(command)[1:])
    assert (code, err) == (0, "")
    assert len(asked) == ("--help" not in command)


@pytest.mark.parametrize("wrong", ["unidd distill cfm --ema", "unidd evaluate mine --labels soft", "unidd export mine"])
def test_a_wrong_one_is_not(wrong, asked, run_unidd):
    code, _, err = run_unidd(*shlex.split(wrong)[1:])
    assert (code, asked) == (2, [])
    assert err
