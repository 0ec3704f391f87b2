"""The commands `unidd export` and `unidd import`: sets go out and come in, and every mistake is one clear line."""

import inspect
import os
import re
import sys
from dataclasses import replace

import docstring_parser
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from unidd import cli
from unidd.data.datasets import load
from unidd.data.exchange import from_imagefolder
from unidd.data.synthetic import SyntheticSet


@pytest.fixture
def unidd(monkeypatch, capsys, tmp_path):
    """Runs the command in an empty folder and returns its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

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


@pytest.fixture(scope="module")
def data():
    return load("digits")


@pytest.fixture
def real(data, tmp_path) -> SyntheticSet:
    made = SyntheticSet.from_real(data, 2, config={"cell": {"dataset": "digits", "budget": "smoke"}})
    made.save(tmp_path / "set")
    return made


def test_out_as_pictures_and_in_again(unidd, real):
    assert unidd("export", "set", "--to", "imagefolder", "--out", "png")[:2] == (0, "20 images in png\n")
    assert [label for _, label in ImageFolder("png").samples] == sorted(real.labels.tolist())
    code, out, err = unidd("import", "png", "--dataset", "digits", "--out", "back")
    assert (code, err) == (0, "")
    assert "20 images in back; next: unidd evaluate back" in out
    assert torch.equal(SyntheticSet.load("back").labels, real.labels)
    assert "changed" not in out
    next(path for path, _ in ImageFolder("png").samples if os.remove(path) is None)
    code, out, _ = unidd("import", "png", "--dataset", "digits", "--out", "back", "--overwrite")
    assert code == 0
    assert "changed: 1 removed" in out
    assert len(SyntheticSet.load("back")) == 19


@pytest.mark.parametrize("to", ["vico", "ddranking"])
def test_out_as_tensors_and_in_again(unidd, real, to):
    assert unidd("export", "set", "--to", to, "--out", "out")[0] == 0
    code, out, err = unidd("import", "out", "--dataset", "digits", "--out", "back")
    assert (code, err) == (0, "")
    order = real.labels.argsort(stable=True)
    back = SyntheticSet.load("back")
    assert torch.equal(back.labels, real.labels[order])
    assert torch.allclose(back.images, real.images[order], atol=1e-6)
    assert "space: value normalised, from its card" in out
    assert "changed" not in out
    assert back.config["cell"]["dataset"] == "digits"


def test_a_set_of_mtt_is_imported_and_evaluated(unidd, data):
    split = data.train.take(torch.cat([(data.train.labels == k).nonzero()[:1, 0] for k in range(10)]))
    torch.save(data.normalise(split.images).flip(0), "images_best.pt")
    torch.save(torch.arange(10), "labels_best.pt")
    options = ("--space", "normalised", "--order", *"9876543210")
    assert unidd("import", "images_best.pt", "--dataset", "digits", *options, "--out", "mtt")[0] == 0
    back = SyntheticSet.load("mtt")
    assert back.labels.tolist() == list(range(9, -1, -1))
    assert torch.allclose(back.images.flip(0) * 255, split.images.float(), atol=1e-3)
    command = ("evaluate", "mtt", "--labels", "hard", "--seeds", 0, "--budget", "smoke", "--no-baseline")
    code, out, _ = unidd(*command)
    assert code == 0
    assert "MTT/TESLA, hard labels" in out


def test_pictures_with_our_card_are_evaluated_as_they_are(unidd, real):
    unidd("export", "set", "--to", "imagefolder", "--out", "png")
    code, out, _ = unidd("evaluate", "png", "--labels", "hard", "--seeds", 0, "--no-baseline")
    assert code == 0
    assert "n = 1" in out


@pytest.mark.parametrize(("factor", "shift"), [(0.8, 0), (1, 0.1), (1.5, -0.2)])
def test_a_set_with_other_constants_is_evaluated_if_the_data_set_is_named(unidd, real, factor, shift):
    moments = (real.mean[0] + shift,), (factor * real.std[0],)
    replace(real, mean=moments[0], std=moments[1]).save("theirs")
    command = ("--labels", "hard", "--seeds", 0, "--budget", "smoke", "--no-baseline")
    assert unidd("evaluate", "theirs", *command)[2].endswith(
        "another normalisation than digits's: check the data set\n"
    )
    code, out, err = unidd("evaluate", "theirs", "--dataset", "digits", *command)
    assert code == 0
    assert "note: pixels are normalised as those of digits" in err
    ours = unidd("evaluate", "set", "--dataset", "digits", *command)
    assert ours[1].split("labels:")[1] == out.split("labels:")[1]
    assert "normalised" not in ours[2]


def test_a_folder_of_pictures_by_number(unidd, data):
    for k in range(10):
        os.makedirs(f"syn/new{k:03d}")
        Image.fromarray(np.full((8, 8), 20 * k, "uint8")).save(f"syn/new{k:03d}/class{k:03d}_id000.jpg")
    assert unidd("import", "syn", "--dataset", "digits", "--out", "sre2l")[0] == 0
    back = SyntheticSet.load("sre2l")
    assert torch.equal((back.images[:, 0, 0, 0] * 255 / 20).round().long(), back.labels)


def test_the_data_set_is_found_again_from_another_folder(unidd, tmp_path, monkeypatch):
    for split in ("train", "test"):
        for k, name in enumerate(("cat", "dog")):
            os.makedirs(f"pets/{split}/{name}")
            for i in range(3):
                Image.new("RGB", (8, 8), (80 * k + i,) * 3).save(f"pets/{split}/{name}/{i}.png")
    os.makedirs("theirs/1")
    os.makedirs("theirs/0")
    for k in (0, 1):
        Image.new("RGB", (8, 8), (80 * k,) * 3).save(f"theirs/{k}/0.png")
    assert unidd("import", "theirs", "--dataset", "pets", "--out", "made")[0] == 0
    assert SyntheticSet.load("made").config["cell"]["dataset"] == str((tmp_path / "pets").resolve())


def bad(name, *arguments, message):
    return pytest.param(arguments, message, id=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        bad("format", "export", "set", "--to", "zip", "--out", "x", message="unknown format 'zip'"),
        bad("no set", "export", "nowhere", "--to", "vico", "--out", "x", message="nowhere is not a synthetic set"),
        bad("not empty", "export", "set", "--to", "imagefolder", "--out", "set", message="set is not empty"),
        bad("not empty 2", "export", "set", "--to", "ddranking", "--out", "set", message="set is not empty"),
        bad("there", "export", "set", "--to", "vico", "--out", "a.txt", message="a.txt is there already"),
        bad("below a file", "export", "set", "--to", "vico", "--out", "a.txt/x", message="a.txt"),
        bad("nothing", "import", "nowhere", "--dataset", "digits", "--out", "x", message="there is no nowhere"),
        bad("text", "import", "a.txt", "--dataset", "digits", "--out", "x", message="a.txt is no file of tensors"),
        bad("data set", "import", "set", "--dataset", "moons", "--out", "x", message="unknown data set 'moons'"),
        bad("other data", "import", "set", "--dataset", "photos", "--out", "x", message="are not those of photos"),
        bad("options", "import", "set", "--dataset", "digits", "--space", "zca", "--out", "x", message="leave the opt"),
        bad("taken", "import", "a.pt", "--dataset", "digits", "--out", "set", message="--overwrite"),
        bad("space", "import", "a.pt", "--dataset", "digits", "--space", "raw", "--out", "x", message="unknown space"),
        bad("mean", "import", "a.pt", "--dataset", "digits", "--mean", "1", "--out", "x", message="belong together"),
        bad("order", "import", "a.pt", "--dataset", "digits", "--order", "1", "2", "--out", "x", message="each class"),
        bad("ipc", "import", "a.pt", "--dataset", "digits", "--ipc", "3", "--out", "x", message="not 3 images"),
        bad("number", "import", "a.pt", "--dataset", "digits", "--number", "7", "--out", "x", message="no number 7"),
        bad("size", "import", "b.pt", "--dataset", "digits", "--out", "x", message="those of digits (1, 8, 8)"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(unidd, real, tmp_path, arguments, message):
    (tmp_path / "a.txt").write_text("no set")
    torch.save({"data": [[torch.randn(10, 1, 8, 8), torch.arange(10)]]}, "a.pt")
    torch.save({"data": [[torch.randn(10, 1, 4, 4), torch.arange(10)]]}, "b.pt")
    before = {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))}
    code, out, err = unidd(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("unidd: error: ")
    assert message in err
    assert {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))} == before


def test_soft_labels_that_stay_behind_are_said(unidd, real):
    SyntheticSet(real.images, real.labels, real.class_names, real.mean, real.std, soft=torch.rand(20, 10)).save("soft")
    code, _, err = unidd("export", "soft", "--to", "vico", "--out", "x.pt")
    assert code == 0
    assert "soft labels stay behind" in err
    assert unidd("export", "soft", "--to", "imagefolder", "--out", "y") == (0, "20 images in y\n", "")
    assert from_imagefolder("y").soft is not None


def test_what_must_be_said(unidd):
    for arguments in (("export", "set"), ("import", "x"), ("import", "x", "--out", "y")):
        code, out, err = unidd(*arguments)
        assert code == 2
        assert "required" in (out + err).lower()


@pytest.mark.parametrize(("command", "work"), [("export", cli.send), ("import", cli.receive)])
def test_help_names_every_option_and_says_what_it_does(unidd, command, work):
    code, out, _ = unidd(command, "--help")
    assert code == 0
    told = " ".join(re.sub("[│|]", " ", out).split())
    described = {p.arg_name: p.description for p in docstring_parser.parse(work.__doc__).params}
    for name in inspect.signature(work).parameters:
        assert name in ("folder", "path") or f"--{name}" in out
        assert " ".join(described[name].split()) in told
    assert command in unidd("--help")[1]
