"""Options of the commands that take a data set: what was asked for stands on the card, and is found again."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unidd import cli
from unidd.data.synthetic import SyntheticSet

RNG = np.random.default_rng(4)
SMOKE = ("--budget", "smoke")


def shown(message, category, filename, lineno, file=None, line=None):
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


@pytest.fixture
def unidd(monkeypatch, capfd, tmp_path):
    """Runs the command beside the folder pets, and returns its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name, count in (("cat", 9), ("dog", 4), ("owl", 6)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / "pets" / name / f"{i}.png")

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unidd", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(warnings, "formatwarning", warnings.formatwarning)  # which the command replaces
            patch.setattr(warnings, "showwarning", shown)  # and not recorded by pytest
            try:
                cli.main()
            except SystemExit as stop:
                code = stop.code or 0
        return code, *capfd.readouterr()

    return run


PETS = ("--dataset", "pets", "--hold-out", "0.2", "--channels", "1", "--classes", "owl", "cat", "--size", "8")


def test_what_was_asked_for_is_on_the_card_and_found_again(unidd):
    code, out, err = unidd("distill", "cfm", *PETS, "--small", "cap", "--ipc", "7", "--out", "set", *SMOKE)
    assert code == 0
    note = "unidd: note: pets (cat, owl) (grey), 15 pictures: 15 scaled, 15 colour to grey"
    assert err.splitlines().count(note) == 1
    assert "12 images in set" in out
    cell = json.loads(Path("set/card.json").read_text())["config"]["cell"]
    assert cell["dataset"] == str(Path("pets").resolve())
    wanted = {"hold_out": 0.2, "channels": 1, "classes": ["owl", "cat"], "size": 8, "small": "cap"}
    assert {name: cell[name] for name in wanted} == wanted
    made = SyntheticSet.load("set")
    assert (made.class_names, made.images.shape[1:]) == (("cat", "owl"), (1, 8, 8))
    assert torch.bincount(made.labels).tolist() == [7, 5]
    code, out, err = unidd("evaluate", "set", "--seeds", "0", "--labels", "hard", "--record", "record.json")
    assert code == 0
    assert "random real" in out, "of which a class also gives all it has"
    assert json.loads(Path("record.json").read_text())["ipc"] == 7
    code, _, err = unidd("evaluate", "set", "--seeds", "0", "--labels", "hard", "--classes", "cat", "dog")
    assert code == 2
    assert "are not those of pets" in err
    code, _, err = unidd("evaluate", "set", "--seeds", "0", "--hold-out", "0")
    assert code == 2
    assert "--hold-out 0.1" in err


def test_a_set_is_found_where_the_data_were_moved_to(unidd, tmp_path):
    assert unidd("distill", "random", *PETS, "--ipc", "2", "--out", "set", *SMOKE)[0] == 0
    (tmp_path / "pets").rename(tmp_path / "animals")
    code, _, err = unidd("evaluate", "set", "--seeds", "0", "--labels", "hard")
    assert code == 2
    assert "pets, from which set was made, is not there: say --dataset" in err
    assert unidd("evaluate", "set", "--seeds", "0", "--labels", "hard", "--dataset", "animals")[0] == 0


def test_a_teacher_and_an_import_take_the_same_options(unidd):
    code, out, _ = unidd("teach", *PETS, *SMOKE)
    assert (code, "pets (cat, owl) (grey) test images" in out) == (0, True)
    assert unidd("distill", "random", *PETS, "--ipc", "2", "--out", "set", *SMOKE)[0] == 0
    assert unidd("export", "set", "--to", "ddranking", "--out", "tensors")[0] == 0
    code, *_ = unidd("import", "tensors", *PETS, "--space", "normalised", "--out", "back")
    assert code == 0
    card = json.loads(Path("back/card.json").read_text())["config"]["cell"]
    assert (card["hold_out"], card["channels"], card["classes"]) == (0.2, 1, ["owl", "cat"])
    assert unidd("evaluate", "back", "--seeds", "0", "--labels", "hard", *SMOKE)[0] == 0


@pytest.mark.slow
def test_a_plan_takes_them_and_says_what_was_done_once(unidd):
    code, out, err = unidd("plan", "random", *PETS, "--small", "cap", "--ipc", "7", *SMOKE)
    assert code == 0
    assert "12 images" in out
    assert err.count("unidd: note: pets (cat, owl) (grey), 15 pictures") == 1
    assert "DataNote" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dataset", "pets"), "say --hold-out 0.1"),
        (("--dataset", "pets", "--hold-out", "2"), "hold-out must be a fraction"),
        (("--dataset", "pets", "--hold-out", "0.1", "--classes", "cta"), "did you mean 'cat'?"),
        (("--dataset", "pets", "--hold-out", "0.1", "--size", "0"), "size must be"),
        (("--dataset", "pets", "--hold-out", "0.1", "--ipc", "5"), "--small cap"),
        (("--dataset", "digits", "--hold-out", "0.1"), "has test images of its own"),
        (("--dataset", "digits", "--size", "9"), "images of 8 pixels"),
        (("--dataset", "digits", "--classes", "12"), "no class '12'"),
        (("--dataset", "digits", "--channels", "4"), "channels"),
        (("--dataset", "digits", "--small", "drop"), "small"),
        (("--dataset", "nowhere"), "unknown data set 'nowhere'"),
    ],
)
def test_a_mistake_is_said_before_any_work(unidd, arguments, said, tmp_path):
    code, out, err = unidd("distill", "random", *arguments, "--out", "set", *SMOKE)
    assert code == 2
    assert said in err + out
    assert not (tmp_path / "set").exists()


def test_a_damaged_picture_is_named(unidd, tmp_path):
    broken = tmp_path / "pets" / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:70])
    code, _, err = unidd("distill", "random", "--dataset", "pets", "--hold-out", "0.2", "--out", "set", *SMOKE)
    assert code == 2
    assert err.splitlines()[-1].startswith("unidd: error: pets/dog/2.png cannot be read (")
