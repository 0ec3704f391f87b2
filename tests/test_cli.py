"""The command line: from photographs to an accuracy, and every mistake as one clear error that leaves no trace."""

import dataclasses
import errno
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import docstring_parser
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from unidd import cli
from unidd.bench import configs
from unidd.bench.records import load_record
from unidd.bench.tables import table
from unidd.data.datasets import PHOTOS, load
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.settings import DistillConfig

SMOKE = ("distill", "--dataset", "digits", "--budget", "smoke")


@pytest.fixture(scope="module", autouse=True)
def wide_terminal():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        yield


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder; teachers are in the tests' store."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def unidd(monkeypatch, capsys):
    """Runs the command and returns its exit code, standard output and standard error."""

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


def trace(*folders: Path) -> dict[Path, bytes | None]:
    paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


# --------------------------------------------------------------------------------------------- as it should


def distilled(folder: Path, *arguments: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["unidd", "distill", *arguments, "--budget", "smoke", "--out", str(folder / "set")])
        cli.main()
    return folder / "set"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return distilled(tmp_path_factory.mktemp("cli"), "--dataset", "photos")


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    return distilled(tmp_path_factory.mktemp("cli"), "--dataset", "digits")


def test_photos_are_distilled_to_one_image_a_class(photos):
    result = SyntheticSet.load(photos)
    assert result.class_names == PHOTOS
    assert result.images.shape == (10, 3, 32, 32)
    assert result.config["benchmark"]["dataset"] == "photos"
    assert result.teacher["accuracy"] > 10
    with Image.open(photos / "preview.png") as preview:
        assert preview.width > preview.height
    assert sorted(p.name for p in photos.iterdir()) == ["card.json", "images.safetensors", "preview.png"]


def test_the_set_is_evaluated_beside_random_real_images(unidd, photos):
    code, out, err = unidd("evaluate", photos, "--record", "records/local/mine.json")
    assert code == 0
    assert "Traceback" not in err
    lines = [re.sub(r"\s+", " ", line).strip() for line in out.splitlines()]
    number = r"\d+\.\d"
    for name in ("cfm", "random real"):
        for labels in ("hard", "soft"):
            pattern = rf"{name}, {labels} labels: {number} ± {number} % \(n = 3: {number}, {number}, {number}\)"
            assert sum(bool(re.fullmatch(pattern, line)) for line in lines) == 1, (name, labels)
    assert len(lines) == 4
    assert "student" in err, "progress is shown"
    record = load_record("records/local/mine.json")
    assert (record.method, record.ipc, record.seeds, record.dataset) == ("cfm", 1, [0, 1, 2], "photos")
    assert set(record.accuracy) == {"hard", "soft"}
    line = table([record]).iloc[0]
    assert f"cfm, hard labels: {line['mean']:.1f} ± {line['std']:.1f} %" in lines[0]


def test_the_same_command_gives_the_same_images_and_another_seed_others(unidd, here):
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        code, printed, _ = unidd(*SMOKE, "--out", out, "--seed", seed)
        assert code == 0
        assert f"unidd evaluate {out}" in printed
    a, b, c = (load_file(here / out / "images.safetensors")["images"] for out in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_options_reach_the_engine(unidd, here):
    changes = {"beta": 0.5, "signal": "class", "steps": 1, "lr": 0.1, "filter": "landweber", "schedule": "log"}
    given = [str(part) for name, value in changes.items() for part in (f"--{name}", value)]
    assert unidd(*SMOKE, "--method", "hfm", "--ipc", "2", *given, "--emu", "False")[0] == 0
    config = SyntheticSet.load("distilled").config
    assert changes.items() <= config.items()
    assert (config["method"], config["ipc"], config["emu"]) == ("hfm", 2, False)


@pytest.mark.parametrize("method", list(configs.METHODS))
def test_every_method_runs(unidd, method):
    code, _, err = unidd(*SMOKE, "--method", method)
    assert code == 0, err
    assert len(SyntheticSet.load("distilled")) == 10


def test_evaluating_takes_what_it_needs_from_the_card(unidd, digits):
    code, out, _ = unidd("evaluate", digits, "--labels", "hard", "--seeds", "5", "--no-baseline")
    assert code == 0
    assert re.fullmatch(r"\s*cfm, hard labels: (\d+\.\d) %  \(n = 1: \1\)\n", out)


def test_random_real_images_are_chosen_anew_for_every_seed(unidd, digits, monkeypatch):
    """As a distillation starts elsewhere with every seed; the student's seed is the same."""
    seen = []

    def evaluate(images, labels, data, model, config, seeds, *, teacher):
        seen.append((images, list(seeds)))
        return [50.0] * len(seeds)

    monkeypatch.setattr(cli, "evaluate", evaluate)
    assert unidd("evaluate", digits, "--labels", "hard", "--seeds", "4", "6")[0] == 0
    ours, *real = seen
    assert ours[1] == [4, 6]
    assert [seeds for _, seeds in real] == [[4], [6]]
    data = load("digits")
    for images, (seed,) in real:
        assert torch.equal(images, SyntheticSet.from_real(data, 1, seed).images)


def test_another_student_and_another_teacher(unidd, here, digits):
    task = ("evaluate", digits, "--seeds", "0", "--no-baseline", "--budget", "smoke")
    assert unidd(*task, "--model", "resnet18", "--labels", "hard")[0] == 0
    note = "note: soft labels come from another teacher"
    assert note not in unidd(*task, "--labels", "soft")[2]
    other = dataclasses.replace(SyntheticSet.load(digits), teacher={"hash": "other", "accuracy": 50.0})
    assert note in unidd("evaluate", other.save(here / "other"), *task[2:], "--labels", "soft")[2]


def test_a_folder_of_ones_own(unidd, here):
    for k, name in enumerate(("left", "right")):
        for split, count in (("train", 12), ("test", 4)):
            for i in range(count):
                image = Image.effect_noise((16, 16), 40)
                image.paste(200, (8 * k, 0, 8 * k + 8, 16))
                path = here / "mine" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
    assert unidd("distill", "--dataset", "mine", "--ipc", "2", "--budget", "smoke")[0] == 0
    assert SyntheticSet.load("distilled").class_names == ("left", "right")
    code, out, _ = unidd("evaluate", "distilled", "--seeds", "0", "1")
    assert code == 0
    assert out.count("±") == 4


def test_a_teacher_alone(unidd, digits):
    code, out, err = unidd("teach", "--dataset", "digits", "--budget", "smoke")
    assert code == 0
    assert re.fullmatch(r"teacher [0-9a-f]{16}: convnet, \d+\.\d % on the digits test images\n", out)
    assert SyntheticSet.load(digits).teacher["hash"] in out
    assert err == "", "found, not trained again"


def test_overwrite_replaces(unidd, digits):
    assert unidd(*SMOKE, "--seed", "1")[0] == 0
    assert unidd(*SMOKE, "--overwrite")[0] == 0
    assert torch.equal(SyntheticSet.load("distilled").images, SyntheticSet.load(digits).images)


# ------------------------------------------------------------------------------------------------------ resume


@pytest.fixture
def interrupted(unidd, monkeypatch):
    """Runs the command, which is interrupted after its first round."""
    original = Checkpoint.save

    def interrupt(checkpoint, state):
        original(checkpoint, state)
        raise KeyboardInterrupt

    def run(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "save", interrupt)
            with pytest.raises(KeyboardInterrupt):
                unidd(*arguments)

    return run


@pytest.fixture
def cut_off(interrupted, here) -> Path:
    interrupted(*SMOKE, "--ipc", "2")
    assert (here / "distilled" / ".state" / "state.pt").exists()
    return here / "distilled"


def test_the_same_command_goes_on_where_it_stood(unidd, here, cut_off):
    code, out, _ = unidd(*SMOKE, "--ipc", "2")
    assert code == 0
    assert "going on from round 1, step 0\n" in out
    assert sorted(p.name for p in cut_off.iterdir()) == ["card.json", "images.safetensors", "preview.png"]
    code, out, _ = unidd(*SMOKE, "--ipc", "2", "--out", "whole")
    assert "going on" not in out
    assert (here / "whole" / "card.json").read_bytes() == (cut_off / "card.json").read_bytes()
    assert (here / "whole" / "images.safetensors").read_bytes() == (cut_off / "images.safetensors").read_bytes()


def test_the_state_of_another_run_is_refused_before_any_work_and_overwritten_if_asked(
    unidd, here, cut_off, tmp_path, monkeypatch
):
    message = "holds an unfinished run with another seed, steps: choose another folder, or delete .*/.state"
    other = (*SMOKE, "--ipc", "2", "--seed", "1", "--steps", "1")
    with monkeypatch.context() as patch:
        patch.setenv("UNIDD_CACHE", str(tmp_path / "no-teachers-yet"))
        assert_refused(unidd, here, *other, message=message, files=[tmp_path])
    code, out, _ = unidd(*other, "--overwrite")
    assert code == 0
    assert "going on" not in out
    assert SyntheticSet.load(cut_off).config["seed"] == 1


def test_a_damaged_state_is_refused_and_overwritten_if_asked(unidd, here, cut_off):
    (cut_off / ".state" / "state.pt").write_bytes(b"damaged")
    task = (*SMOKE, "--ipc", "2")
    assert_refused(unidd, here, *task, message=r"state\.pt is damaged: delete .*/.state to start again")
    assert unidd(*task, "--overwrite")[0] == 0
    assert len(SyntheticSet.load(cut_off)) == 20


def test_overwriting_goes_on_too(unidd, interrupted, digits, tmp_path):
    """The set to be replaced stands until the new one is whole."""
    shutil.copytree(digits, tmp_path / "set")
    task = (*SMOKE, "--ipc", "2", "--out", tmp_path / "set", "--overwrite")
    interrupted(*task)
    assert len(SyntheticSet.load(tmp_path / "set")) == 10
    code, out, _ = unidd(*task)
    assert code == 0
    assert "going on from round 1" in out
    assert len(SyntheticSet.load(tmp_path / "set")) == 20


@pytest.mark.parametrize("method", ["save", "preview"])
def test_no_space_for_the_set(unidd, here, digits, monkeypatch, method):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(SyntheticSet, method, fail)
        code, _, err = unidd(*SMOKE)
    assert code == 2
    message = "cannot write to distilled (No space left on device); the state is kept: run the same command again"
    assert err.splitlines()[-1] == f"unidd: error: {message}"
    assert unidd(*SMOKE)[0] == 0
    assert torch.equal(SyntheticSet.load("distilled").images, SyntheticSet.load(digits).images)


# ------------------------------------------------------------------------------------------------------ help


def parameters(documented) -> dict[str, str]:
    return {p.arg_name: p.description for p in docstring_parser.parse(documented.__doc__).params}


@pytest.mark.parametrize("command", ["distill", "plan", "evaluate", "teach"])
def test_help_names_every_option_and_says_what_it_does(unidd, command):
    code, out, err = unidd(command, "--help")
    assert (code, err) == (0, "")
    documented = {"distill": cli.Task, "plan": cli.Task, "evaluate": cli.assess, "teach": cli.teach}[command]
    names, described = set(inspect.signature(documented).parameters) - {"settings"}, parameters(documented)
    if documented is cli.Task:
        names |= {f.name for f in dataclasses.fields(DistillConfig)}
        described = parameters(DistillConfig) | described
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", out))
    expected = {"--" + name.replace("_", "-") for name in names - {"folder"}}
    assert expected <= shown
    assert shown - expected <= {"--help", "--no-overwrite", "--no-baseline", "--nproc-per-node"}
    text = " ".join(re.sub("[│|]", " ", out).split())
    for name in names:
        assert " ".join(described[name].split()) in text, name


def test_help_of_the_command_names_its_subcommands(unidd):
    code, out, _ = unidd("--help")
    assert code == 0
    for word in ("distill", "plan", "evaluate", "teach"):
        assert word in out


def test_the_choices_are_in_the_help(unidd):
    _, out, _ = unidd("distill", "--help")
    assert unidd("plan", "--help")[1].split("--dataset")[1] == out.split("--dataset")[1]
    for choice in (*configs.METHODS, *configs.BUDGETS, "ridge", "cosine", "mix"):
        assert choice in out


def test_the_installed_command_is_this_one():
    (point,) = entry_points(group="console_scripts", name="unidd")
    assert point.load() is cli.main


# -------------------------------------------------------------------------------------------------- mistakes


def assert_refused(unidd, here, *arguments, message: str, files=()) -> None:
    """One line on standard error with the message, exit code 2, quickly, and nothing written anywhere."""
    cache = Path(os.environ["UNIDD_CACHE"])
    before = trace(here, cache, *files)
    start = time.process_time()  # of this process alone: the machine may have other things to do
    code, out, err = unidd(*arguments)
    assert time.process_time() - start < 3
    assert code == 2
    assert out == ""
    assert re.search(message, err), err
    parser = ("Invalid choice", "Value error", "Unrecognized options")  # headings of tyro's framed messages
    assert err.count("unidd: error: ") + sum(err.count(heading + " ") for heading in parser) == 1
    assert err.count("\n") == 1 or not err.startswith("unidd")
    assert trace(here, cache, *files) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ipc", "0"], "ipc must be at least 1, not 0"),
        (["--ipc", "-1"], "ipc"),
        (["--ipc", "1.5"], "1.5"),
        (["--dataset", "digits", "--ipc", "500"], r"ipc must be 1 … \d+.*not 500"),
        (["--dataset", "cifar11"], "unknown data set 'cifar11'"),
        (["--dataset", "no/such/folder"], "no/such/folder"),
        (["--dataset", "digits", "--model", "convent"], "unknown model 'convent'"),
        (["--dataset", "digits", "--model", "squeezenet1_1"], "squeezenet1_1 takes images of 3 channels"),
        (["--method", "mtt"], "mtt"),
        (["--budget", "lavish"], "lavish"),
        (["--bta", "0.1"], "--bta"),
        (["--beta", "-0.1"], "beta must be a finite number above 0, not -0.1"),
        (["--beta", "0"], "beta"),
        (["--beta", "nan"], "beta"),
        (["--beta", "much"], "much"),
        (["--lr", "0"], "lr"),
        (["--steps", "-1"], "steps"),
        (["--scale", "2"], "scale"),
        (["--filter", "sharp"], "sharp"),
        (["--seed", "-1"], "seed"),
        (["--save-every", "-1"], "save-every must be a number of steps from 0, not -1"),
        (["--save-every", "often"], "often"),
        (["--dataset", "digits", "--device", "abacus"], "abacus"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_of_distill(unidd, here, arguments, message):
    assert_refused(unidd, here, "distill", "--budget", "smoke", *arguments, message=message)


def test_more_images_than_a_class_of_photos_has(unidd, here):
    assert_refused(unidd, here, "distill", "--ipc", "501", message=r"ipc must be 1 … 500.*photos, not 501")


def test_data_that_are_not_there(unidd, here, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    root = tmp_path / "data"
    message = r"cifar10 is not in .*put cifar-10-python\.tar\.gz there"
    assert_refused(unidd, here, "distill", "--dataset", "cifar10", "--root", root, message=message, files=[tmp_path])


@pytest.mark.parametrize("folders", [[], ["train", "test"], ["train/a", "test/a"]], ids=str)
def test_a_folder_without_classes(unidd, here, tmp_path, folders):
    (tmp_path / "pets").mkdir()
    for folder in folders:
        (tmp_path / "pets" / folder).mkdir(parents=True)
    message = "put images in .*/train/<class>/ and .*/test/<class>/"
    assert_refused(unidd, here, "distill", "--dataset", tmp_path / "pets", message=message, files=[tmp_path])


@pytest.mark.parametrize("below", ["", "below", "far/below"])
def test_no_place_to_write_the_set(unidd, here, tmp_path, below):
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / below
    assert_refused(unidd, here, *SMOKE, "--out", out, message=f"cannot write to {out}", files=[tmp_path])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(unidd, here, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    for out in (tmp_path / "locked", tmp_path / "locked" / "below"):
        assert_refused(unidd, here, *SMOKE, "--out", out, message=f"cannot write to {out}")


def test_no_place_for_teachers(unidd, here, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "file"))
    assert_refused(unidd, here, *SMOKE, message="file", files=[tmp_path])


def test_a_set_is_not_overwritten_by_accident(unidd, here, digits):
    assert_refused(unidd, here, *SMOKE, "--out", digits, message="already holds.*--overwrite", files=[digits])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_distillation_that_fails_leaves_no_folder(unidd, here, digits, monkeypatch, error):
    def fail(*_, **__):
        raise error("the loss is not finite")

    monkeypatch.setattr(configs, "distill", fail)
    with pytest.raises(KeyboardInterrupt) if error is KeyboardInterrupt else pytest.MonkeyPatch.context():
        code, _, err = unidd(*SMOKE)
        assert code == 2
        assert err == "unidd: error: the loss is not finite\n"
    assert not list(here.iterdir())


@pytest.fixture
def copy(digits, tmp_path) -> Path:
    return SyntheticSet.load(digits).save(tmp_path / "copy")


def reseal(folder: Path, **changes) -> None:
    """A card that agrees with the tensors in the folder, but for the changes."""
    digest = hashlib.sha256((folder / "images.safetensors").read_bytes()).hexdigest()
    card = json.loads((folder / "card.json").read_text()) | {"sha256": digest} | changes
    (folder / "card.json").write_text(json.dumps(card))


def truncate(folder: Path) -> None:
    path = folder / "images.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def swap(folder: Path) -> None:
    tensors = load_file(folder / "images.safetensors")
    save_file({"images": 1 - tensors["images"], "labels": tensors["labels"]}, folder / "images.safetensors")


def poison(folder: Path) -> None:
    tensors = load_file(folder / "images.safetensors")
    tensors["images"][3, 0, 2, 2] = torch.nan
    save_file(tensors, folder / "images.safetensors")
    reseal(folder)


DAMAGE = {
    "truncated tensors": (truncate, r"images\.safetensors is damaged"),
    "another set's card": (swap, "card.json does not belong to images.safetensors"),
    "a NaN": (poison, "NaN"),
    "no card": (lambda folder: (folder / "card.json").unlink(), r"card\.json is missing"),
    "no tensors": (lambda folder: (folder / "images.safetensors").unlink(), r"images\.safetensors is missing"),
    "a broken card": (lambda folder: (folder / "card.json").write_text("{"), r"card\.json is damaged"),
    "other classes": (lambda folder: reseal(folder, class_names=list("abcdefghij")), "classes"),
    "another normalisation": (lambda folder: reseal(folder, mean=[0.5]), "normalisation"),
    "an unknown data set": (lambda folder: reseal(folder, config={"benchmark": {"dataset": "gone"}}), "gone"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_set(unidd, here, copy, kind):
    damage, message = DAMAGE[kind]
    damage(copy)
    assert_refused(unidd, here, "evaluate", copy, message=message, files=[copy])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "photos"], "classes"),
        (["--dataset", "cifar11"], "cifar11"),
        (["--model", "convent"], "unknown model 'convent'"),
        (["--seeds", "0", "0"], "different"),
        (["--seeds", "-1"], "seeds"),
        (["--seeds"], "seeds"),
        (["--labels", "fuzzy"], "fuzzy"),
        (["--budget", "lavish"], "lavish"),
        (["--device", "abacus"], "abacus"),
        (["--ipc", "1"], "--ipc"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_of_evaluate(unidd, here, copy, arguments, message):
    assert_refused(unidd, here, "evaluate", copy, *arguments, message=message, files=[copy])


def test_a_wrong_student_is_found_before_a_teacher_is_trained(unidd, here, copy, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "empty"))
    task = ("evaluate", copy, "--model", "convent")
    assert_refused(unidd, here, *task, message="unknown model 'convent'", files=[tmp_path])


def test_no_place_to_write_the_record(unidd, here, copy, tmp_path):
    (tmp_path / "file").write_text("")
    record = tmp_path / "file" / "mine.json"
    assert_refused(unidd, here, "evaluate", copy, "--record", record, message="cannot write to", files=[tmp_path])


def test_a_set_that_is_not_there(unidd, here):
    assert_refused(unidd, here, "evaluate", "nowhere", message="nowhere is not a synthetic set")


@pytest.mark.parametrize(("arguments", "message"), [(["--model", "convent"], "convent"), (["--dataset", "x"], "'x'")])
def test_a_wrong_option_of_teach(unidd, here, arguments, message):
    assert_refused(unidd, here, "teach", "--dataset", "digits", "--budget", "smoke", *arguments, message=message)


@pytest.mark.parametrize("arguments", [[], ["destill"]])
def test_no_such_command(unidd, here, arguments):
    code, _, err = unidd(*arguments)
    assert code == 2
    assert "distill" in err


def test_from_the_shell(here):
    """A process of its own: the error alone on standard error, the exit code, no trace."""
    run = [sys.executable, "-m", "unidd", "distill", "--ipc", "0"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "unidd: error: ipc must be at least 1, not 0\n"
    assert not list(here.iterdir())
