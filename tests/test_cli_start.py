"""`unidd distill --start`: going on from a set, of ours or of others; and cards whose data set moved or changed."""

import inspect
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import foreign
import pytest
import torch
from PIL import Image

from unidd import cli
from unidd.data.datasets import load
from unidd.data.exchange import to_huggingface, to_imagefolder, to_vico
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint

DISTILL = ("distill", "cfm", "--dataset", "digits", "--budget", "smoke")


@pytest.fixture(scope="module")
def real() -> SyntheticSet:
    return SyntheticSet.from_real(load("digits"), 3, seed=8)


def lines(err: str) -> list[str]:
    """What is said, without bars."""
    return [line for line in err.splitlines() if line.strip() and not re.search(r"\d+%\||it/s]", line)]


def test_no_steps_give_what_it_started_from(unidd, real):
    real.save("start")
    code, out, err = unidd(*DISTILL, "--steps", 0, "--start", "start", "--out", "made")
    assert code == 0
    assert "30 images in made" in out
    assert lines(err) == []
    made = SyntheticSet.load("made")
    assert torch.equal(made.images, real.images)
    assert made.config["start"]["sha256"] == json.loads(Path("start/card.json").read_text())["sha256"]


def test_a_larger_set_gives_its_first_images_and_those_of_the_classes(unidd, real):
    real.save("start")
    command = ("--classes", *"13", "--steps", 0, "--start", "start")
    code, _, err = unidd(*DISTILL, *command, "--ipc", 2, "--out", "made")
    assert code == 0
    assert lines(err) == ["starting from 4 of the 30 images of start"]
    made = SyntheticSet.load("made")
    assert made.class_names == ("1", "3")
    assert torch.equal(made.images, real.only(["1", "3"]).first(2).images)
    assert made.config["start"]["config"] == {"only": ["1", "3"], "first": 2}


@pytest.mark.parametrize("to", [to_imagefolder, to_huggingface])
def test_an_export_is_a_start_too(unidd, real, to):
    if to is to_huggingface:
        pytest.importorskip("pyarrow")
    to(real, Path("start"))
    assert unidd(*DISTILL, "--steps", 0, "--start", "start", "--out", "made")[0] == 0
    assert torch.equal(SyntheticSet.load("made").images, (real.images * 255).round() / 255)


def test_a_set_of_others_is_a_start_once_it_is_imported(unidd, real):
    soft = replace(real, soft=torch.rand(30, 10))
    to_vico(real, Path("res_DM.pt"))
    assert unidd("import", "res_DM.pt", "--dataset", "digits", "--out", "theirs")[0] == 0
    assert unidd(*DISTILL, "--start", "theirs", "--out", "made")[0] == 0
    made = SyntheticSet.load("made")
    assert made.config["start"]["config"]["import"]["format"] == "DC/DSA/DM"
    assert (made.images - real.images).abs().mean() > 1e-3, "two steps were taken"
    soft.save("soft")
    assert "note: the soft labels of soft are not taken over" in unidd(*DISTILL, "--start", "soft", "--out", "x")[2]


def test_cut_off_it_goes_on_from_the_same_start_alone(unidd, real, monkeypatch):
    real.save("start")
    replace(real, images=real.images.flip(0), labels=real.labels.flip(0)).save("other")
    command = (*DISTILL, "--out", "made", "--save-every", 1)
    assert unidd(*command[:-4], "--out", "whole", "--start", "start")[0] == 0
    with monkeypatch.context() as patch:

        def once(self, state):
            save(self, state)
            raise OSError("cut off")

        save = Checkpoint.save
        patch.setattr(Checkpoint, "save", once)
        assert unidd(*command, "--start", "start")[0] == 2
    for start in ((), ("--start", "other")):
        code, _, err = unidd(*command, "--ipc", 3, *start)
        assert code == 2
        assert "unfinished run with another start" in err
    shutil.copytree("start", "moved")
    code, out, _ = unidd(*command, "--start", "moved")
    assert code == 0
    assert "going on from round 0, step 1" in out
    assert torch.equal(SyntheticSet.load("made").images, SyntheticSet.load("whole").images)


@pytest.mark.slow
def test_a_plan_takes_a_start_and_loads_the_images_once(unidd, real, monkeypatch):
    real.save("start")
    monkeypatch.delattr(cli.Source, "load")  # a process of its own measures, and loads them
    code, out, err = unidd("plan", *DISTILL[1:], "--ipc", 2, "--start", "start")
    assert code == 0
    assert "starting from 20 of the 30 images" in err
    assert re.search(r"distillation .* 2 batches of 10 images", out)
    assert re.search(r"writing .* 20 images", out)


# ------------------------------------------------------------------------------------------ where the data lie


def pets(shade: int = 0) -> None:
    for split in ("train", "test"):
        for k, name in enumerate(("cat", "dog")):
            Path(f"pets/{split}/{name}").mkdir(parents=True, exist_ok=True)
            for i in range(3):
                Image.new("RGB", (32, 32), (80 * k + i + shade,) * 3).save(f"pets/{split}/{name}/{i}.png")


EVALUATE = ("evaluate", "--labels", "hard", "--seeds", 0, "--no-baseline")


def test_a_folder_is_found_from_anywhere_until_it_is_moved(unidd, tmp_path, monkeypatch):
    pets()
    assert unidd("distill", "random", "--dataset", "pets", "--budget", "smoke", "--out", "made")[0] == 0
    card = SyntheticSet.load("made").config
    assert card["cell"]["dataset"] == str(tmp_path / "pets")
    assert card["data"] == {"name": "pets", "fingerprint": load("pets").fingerprint}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    code, _, err = unidd(EVALUATE[0], "../made", *EVALUATE[1:])
    assert (code, lines(err)) == (0, [])
    monkeypatch.chdir(tmp_path)
    Path("pets").rename("animals")
    code, out, err = unidd(EVALUATE[0], "made", *EVALUATE[1:])
    assert (code, out) == (2, "")
    assert err == (
        f"unidd: error: {tmp_path / 'pets'}, from which made was made, is not there: say --dataset, and where it lies "
        "now\n"
    )
    code, _, err = unidd(EVALUATE[0], "made", *EVALUATE[1:], "--dataset", "animals")
    assert (code, lines(err)) == (0, []), "the same images under another name"


def test_a_folder_that_holds_other_images_is_said(unidd):
    pets()
    assert unidd("distill", "random", "--dataset", "pets", "--budget", "smoke", "--out", "made")[0] == 0
    shutil.rmtree("pets")
    pets(shade=0)
    assert lines(unidd(EVALUATE[0], "made", *EVALUATE[1:])[2]) == []
    Image.new("RGB", (32, 32), (1, 2, 3)).save("pets/train/cat/0.png")
    said = "note: the images of pets are not those that the set was made from"
    _, _, err = unidd(EVALUATE[0], "made", *EVALUATE[1:], "--dataset", "pets")
    assert said in lines(err)
    code, _, err = unidd(EVALUATE[0], "made", *EVALUATE[1:])
    assert said in lines(err)
    assert code in (0, 2), "its mean and std may be others by now"


def test_a_set_from_python_names_its_data_where_a_name_is_enough(unidd):
    import unidd as package

    package.distill(load("digits"), "random", progress=False).save("made")
    code, _, err = unidd(EVALUATE[0], "made", *EVALUATE[1:], "--budget", "smoke")
    assert (code, lines(err)) == (0, [])
    pets()
    package.distill(load("pets"), "random", progress=False).save("pets-made")
    code, _, err = unidd(EVALUATE[0], "pets-made", *EVALUATE[1:])
    assert code == 2
    assert "names no data set: say --dataset" in err


# ------------------------------------------------------------------------------------------ the page


PAGE = (Path(__file__).resolve().parent.parent / "book" / "sets.md").read_text()
COMMANDS = re.findall(r"^unidd .*", "\n".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)), re.M)


@pytest.mark.slow
def test_the_commands_of_the_page_work_one_after_another(unidd, tmp_path, real):
    """As printed, but on the smallest data set and budget."""
    pytest.importorskip("pyarrow")
    data = load("digits")
    foreign.WRITERS["DM"](tmp_path, real.first(1).images, real.first(1).labels, data)
    Path("res_DM_mine_ConvNet_2ipc.pt").rename("res_DM_CIFAR10_ConvNet_10ipc.pt")
    assert len(COMMANDS) == 12
    for command in COMMANDS:
        words = re.sub("photos|cifar10", "digits", command).split()[1:]
        more = {"distill": ["--budget", "smoke"], "evaluate": ["--budget", "smoke", "--seeds", "0"]}
        code, out, err = unidd(*words, *more.get(words[0], []))
        assert code == 0, (command, err)
        if words[0] == "evaluate":
            assert "hard labels: " in out
        else:
            assert (tmp_path / words[words.index("--out") + 1] / "card.json").is_file(), command


def test_the_page_names_every_format_and_option():
    for name in cli.EXPORTS:
        assert f"| `{name}` |" in PAGE
    for name in inspect.signature(cli.receive).parameters:
        if name not in ("path", "source", "out", "overwrite", "root", "device"):
            assert f"--{name}" in PAGE, name
