"""The command line: from photographs to an accuracy, and every mistake as one clear error that leaves no trace."""

import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from options import declared
from PIL import Image
from safetensors.torch import load_file, save_file

from unidd import cli
from unidd.bench.cell import BUDGETS, Cell, budgeted
from unidd.bench.cell import run as run_cell
from unidd.bench.records import load_record
from unidd.bench.tables import table
from unidd.data.datasets import PHOTOS, load
from unidd.data.synthetic import SyntheticSet
from unidd.engine import realside
from unidd.engine.checkpoint import Checkpoint
from unidd.methods import _descending, find, found
from unidd.networks import evaluation, training

SMOKE = ("distill", "cfm", "--dataset", "digits", "--budget", "smoke")
METHODS = [cls.path() for cls in found()]


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
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    return tmp_path / "here"


@pytest.fixture
def unidd(run_unidd):
    """Runs the command in the working folder that there is."""
    return run_unidd


def trace(*folders: Path) -> dict[Path, bytes | None]:
    paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


# --------------------------------------------------------------------------------------------- as it should


def distilled(folder: Path, *arguments: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "argv", ["unidd", "distill", "cfm", *arguments, "--budget", "smoke", "--out", str(folder / "set")]
        )
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
    assert result.config["cell"]["dataset"] == "photos"
    assert result.teacher["accuracy"] > 10
    with Image.open(photos / "preview.png") as preview:
        assert preview.width > preview.height
    assert sorted(p.name for p in photos.iterdir()) == ["card.json", "images.safetensors", "preview.png"]


@pytest.mark.slow
def test_the_set_is_evaluated_beside_random_real_images(unidd, photos):
    code, out, err = unidd("evaluate", photos, "--record", "records/local/mine.json")
    assert code == 0
    assert "Traceback" not in err
    lines = [re.sub(r"\s+", " ", line).strip() for line in out.splitlines()]
    number = r"\d+\.\d"
    for name in ("cfm", "random real"):
        for labels in ("hard", "online-soft"):
            pattern = rf"{name}, {labels} labels: {number} ± {number} % \(n = 3: {number}, {number}, {number}\)"
            assert sum(bool(re.fullmatch(pattern, line)) for line in lines) == 1, (name, labels)
    assert len(lines) == 4
    assert "student" not in err, "no bars in a log"
    record = load_record("records/local/mine.json")
    assert (record.method, record.ipc, record.seeds, record.dataset) == ("cfm", 1, [0, 1, 2], "photos")
    assert set(record.accuracy) == {"hard", "online-soft"}
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


@pytest.mark.slow
def test_a_seed_is_a_repetition_with_a_teacher_of_its_own(unidd, digits):
    assert unidd(*SMOKE, "--out", "other", "--seed", "5")[0] == 0
    cards = [SyntheticSet.load(folder).teacher for folder in (digits, "other")]
    assert [card["seed"] for card in cards] == [0, 5]
    assert cards[0]["hash"] != cards[1]["hash"]
    code, _, err = unidd("evaluate", "other", "--labels", "online-soft", "--seeds", "0", "--no-baseline")
    assert (code, err) == (0, ""), "labelled by the teacher it was distilled with"
    code, out, _ = unidd("teach", "--dataset", "digits", "--budget", "smoke", "--seed", "5")
    assert code == 0
    assert cards[1]["hash"][:16] in out


def test_options_reach_the_engine(unidd, here):
    changes = {"beta": 0.5, "signal": "class", "steps": 1, "lr": 0.1, "filter": "landweber", "schedule": "log"}
    given = [str(part) for name, value in changes.items() for part in (f"--{name}", value)]
    assert unidd("distill", "hfm", *SMOKE[2:], "--ipc", "2", *given, "--no-emu")[0] == 0
    config = SyntheticSet.load("distilled").config
    assert changes.items() <= config.items()
    assert (config["method"], config["ipc"], config["emu"]) == ("hfm", 2, False)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs(unidd, method):
    code, out, err = unidd("distill", method, *SMOKE[2:])
    assert code == 0, err
    assert len(SyntheticSet.load("distilled")) == (10 if find(method).has_ipc else len(load("digits").train))
    assert ("teacher:" in out) == find(method).needs_teacher


def test_evaluating_takes_what_it_needs_from_the_card(unidd, digits):
    code, out, _ = unidd("evaluate", digits, "--labels", "hard", "--seeds", "5", "--no-baseline")
    assert code == 0
    assert re.fullmatch(r"\s*cfm, hard labels: (\d+\.\d) %  \(n = 1: \1\)\n", out)


def test_random_real_images_are_chosen_anew_for_every_seed(unidd, digits, monkeypatch):
    """As a distillation starts elsewhere with every seed; the student's seed is the same."""
    seen = []

    def evaluate(synthetic, data, *, regimes, seeds, **task):
        seen.append((synthetic.images, list(seeds)))
        return {regime: [50.0] * len(seeds) for regime in regimes}

    monkeypatch.setattr(cli, "evaluate", evaluate)
    assert unidd("evaluate", digits, "--labels", "hard", "--seeds", "4", "6")[0] == 0
    ours, *real = seen
    assert ours[1] == [4, 6]
    assert [seeds for _, seeds in real] == [[4], [6]]
    data = load("digits")
    for images, (seed,) in real:
        assert torch.equal(images, SyntheticSet.from_real(data, 1, seed).images)


@pytest.mark.slow
def test_another_student_and_another_teacher(unidd, here, digits):
    task = ("evaluate", digits, "--seeds", "0", "--no-baseline", "--budget", "smoke")
    assert unidd(*task, "--model", "resnet18", "--labels", "hard")[0] == 0
    note = "note: soft labels come from another teacher"
    assert note not in unidd(*task, "--labels", "online-soft")[2]
    other = dataclasses.replace(SyntheticSet.load(digits), teacher={"hash": "other", "hash_of": "weights"})
    assert note in unidd("evaluate", other.save(here / "other"), *task[2:], "--labels", "online-soft")[2]


def test_a_folder_of_ones_own(unidd, here):
    for k, name in enumerate(("left", "right")):
        for split, count in (("train", 12), ("test", 4)):
            for i in range(count):
                image = Image.effect_noise((16, 16), 40)
                image.paste(200, (8 * k, 0, 8 * k + 8, 16))
                path = here / "mine" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
    assert unidd("distill", "cfm", "--dataset", "mine", "--ipc", "2", "--budget", "smoke")[0] == 0
    assert SyntheticSet.load("distilled").class_names == ("left", "right")
    code, out, _ = unidd("evaluate", "distilled", "--seeds", "0", "1")
    assert code == 0
    assert out.count("±") == 4


def test_a_teacher_alone(unidd, digits):
    code, out, err = unidd("teach", "--dataset", "digits", "--budget", "smoke")
    assert code == 0
    assert re.fullmatch(r"teacher [0-9a-f]{16}: convnet, \d+\.\d % on the digits test images\n", out)
    assert SyntheticSet.load(digits).teacher["hash"][:16] in out
    assert err == "", "found, not trained again"


def test_overwrite_replaces(unidd, digits):
    assert unidd(*SMOKE, "--seed", "1")[0] == 0
    assert unidd(*SMOKE, "--overwrite")[0] == 0
    assert torch.equal(SyntheticSet.load("distilled").images, SyntheticSet.load(digits).images)


# ------------------------------------------------------------------------------------------------------ resume


@pytest.fixture
def interrupted(unidd, monkeypatch):
    """Runs the command, which is interrupted after its first round."""

    class Interrupting(Checkpoint):
        def save(self, state):
            super().save(state)
            raise KeyboardInterrupt

    def run(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(cli, "Checkpoint", Interrupting)
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


@pytest.mark.slow
def test_the_state_of_another_run_is_refused_before_any_work_and_overwritten_if_asked(
    unidd, refused, cut_off, tmp_path, monkeypatch
):
    message = "holds an unfinished run with another seed, steps: choose another folder, or delete .*/.state"
    other = (*SMOKE, "--ipc", "2", "--seed", "1", "--steps", "1")
    with monkeypatch.context() as patch:
        patch.setenv("UNIDD_CACHE", str(tmp_path / "no-teachers-yet"))
        refused(*other, message=message, files=[tmp_path])
    code, out, _ = unidd(*other, "--overwrite")
    assert code == 0
    assert "going on" not in out
    assert SyntheticSet.load(cut_off).config["seed"] == 1


@pytest.mark.slow
def test_a_damaged_state_is_refused_and_overwritten_if_asked(unidd, refused, cut_off):
    (cut_off / ".state" / "state.pt").write_bytes(b"damaged")
    task = (*SMOKE, "--ipc", "2")
    refused(*task, message=r"state\.pt is damaged: delete .*/.state to start again")
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


def told(text: str) -> str:
    """What a help text says, whatever its frames and lines."""
    return " ".join(re.sub("[│|]", " ", text).split())


HELPED = [
    *(("distill", method) for method in METHODS),
    ("plan", "cfm"),
    ("plan", "full"),
    ("evaluate", ""),
    ("teach", ""),
]
BUDGETED = [*((method, "embedded") for method in METHODS), *((m, b) for m in ("cfm", "mtt") for b in BUDGETS)]


@pytest.mark.parametrize(("command", "method"), HELPED)
def test_help_names_every_option_and_says_what_it_does(unidd, command, method):
    code, out, err = unidd(command, *([method] if method else []), "--help")
    assert (code, err) == (0, "")
    defaults, described = declared({"evaluate": cli.assess, "teach": cli.teach}.get(command, cli.Task))
    if method:
        of_method = declared(find(method))
        defaults, described = defaults | of_method[0], of_method[1] | described
        if not find(method).has_ipc:
            del defaults["ipc"]
            assert "--ipc" not in out
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", out))
    names = {name: "--" + name.replace("_", "-") for name in defaults}
    expected = {option for name, option in names.items() if name != "folder"}
    negated = {f"--no-{option[2:]}" for name, option in names.items() if isinstance(defaults[name], bool)}
    assert expected <= shown
    assert shown - expected - negated <= {"--help", "--nproc-per-node", "--quiet"}
    for name in names:
        assert " ".join(described[name].split()) in told(out), name


@pytest.mark.parametrize(("method", "budget"), BUDGETED)
def test_help_of_a_method_shows_the_default_of_every_option_and_its_source(unidd, method, budget):
    cls = find(method)
    _, out, _ = unidd("distill", method, "--budget", budget, "--help")
    option = r"--([a-z-]+)(?:, --no-[a-z-]+)? (?:(?!--[a-z]).)*?\(default: ([^)]*)\)"
    shown = dict(re.findall(option, told(out)))
    for f in dataclasses.fields(cls):
        assert shown[f.name.replace("_", "-")] == str(getattr(budgeted(cls, budget), f.name)), f.name
    for line in (f"Source: {cls.source}", f"Filter: {cls.acts_as}", f"Labels: {cls.labels}", cls.summary()):
        assert line in told(out)


@pytest.mark.parametrize("method", [name for name in METHODS if find(name).presets])
def test_a_preset_is_in_the_help_and_sets_what_was_published(unidd, method):
    cls, (_, out, _) = find(method), unidd("distill", method, "--help")
    assert [f"- {name}:" in told(out) for name in cls.presets] == [True] * len(cls.presets)
    assert cls.presets_source
    assert f"Source of the presets: {cls.presets_source}" in told(out)
    name = list(cls.presets)[-1]
    shown = told(unidd("distill", method, "--preset", name, "--help")[1])
    for option, value in cls.presets[name].items():
        assert f"(default: {value})" in shown.split(f"--{option.replace('_', '-')} ")[-1][:400], option


def test_a_preset_comes_before_the_budget_and_after_what_is_told():
    asked = {"method": "dc", "preset": "ipc10", "budget": "smoke", "ipc": 10}
    assert (Cell.of(**asked).method.steps, Cell.of(**asked).method.net_width) == (10_000, 128)
    assert Cell.of(**asked, settings={"steps": 5}).method.steps == 5


@pytest.mark.parametrize(("method", "says"), [("dc", "choose one of ipc1, "), ("random", "random has none")])
def test_an_unknown_preset_is_one_clear_error(unidd, method, says):
    code, _, err = unidd("distill", method, "--preset", "ipc7")
    assert (code, err.count("\n")) == (2, 1)
    assert f"no preset 'ipc7': {says}" in err


def test_help_of_the_command_names_its_subcommands(unidd):
    code, out, _ = unidd("--help")
    assert code == 0
    for word in ("distill", "plan", "evaluate", "teach", "methods"):
        assert word in out


def test_the_choices_are_in_the_help(unidd):
    _, out, _ = unidd("distill", "cfm", "--help")
    assert unidd("plan", "cfm", "--help")[1].split("--filter")[1] == out.split("--filter")[1]
    for choice in (*BUDGETS, "ridge", "cosine", "mix"):
        assert choice in out


@pytest.mark.parametrize("arguments", [("methods",), ("distill", "--help"), ("plan", "-h")], ids=" ".join)
def test_all_methods_are_listed_with_their_filter(unidd, arguments):
    code, out, err = unidd(*arguments)
    assert (code, err) == (0, "")
    for cls in found():
        assert f"{cls.path()} {cls.summary()} filter: {cls.acts_as}; labels: {cls.labels}" in told(out)
    listed = re.findall(r"^([a-z0-9]+) ", out.split("Methods, which make images:")[1], re.MULTILINE)
    roles = ["method", "coreset", "baseline", "ceiling"]
    assert listed == [cls.path() for role in roles for cls in found() if cls.role == role]


def test_the_installed_command_is_this_one():
    (point,) = entry_points(group="console_scripts", name="unidd")
    assert point.load() is cli.main


# -------------------------------------------------------------------------------------------------- mistakes


LONG = [(training, "train"), (evaluation, "train"), (_descending, "carry_out"), (realside, "real_statistics")]


@pytest.fixture(scope="module")
def usual() -> float:
    """Seconds this process computes for what comes before the work of a good command: parsing, and the data."""
    start = time.process_time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["unidd", "distill", "cfm", "--help"])
        with pytest.raises(SystemExit):
            cli.main()
    load("photos")
    return time.process_time() - start


@pytest.fixture
def refused(unidd, here, usual, monkeypatch):
    """Runs a command that must end in one line on standard error with the message, and exit code 2.

    No long work begins: nothing is trained, no image descends, nothing is written anywhere, and this process (the
    machine may have other things to do) computes no longer than for a few good commands.
    """

    def run(*arguments, message: str, files=()) -> None:
        cache = Path(os.environ["UNIDD_CACHE"])
        before = trace(here, cache, *files)
        with monkeypatch.context() as patch:
            for module, name in LONG:
                patch.setattr(module, name, lambda *_, name=name, **__: pytest.fail(f"long work begins: {name}"))
            start = time.process_time()
            code, out, err = unidd(*arguments)
            assert time.process_time() - start < 5 * usual + 1
        assert code == 2
        assert out == ""
        assert re.search(message, err), err
        parser = ("Invalid choice", "Value error", "Unrecognized options")  # headings of tyro's framed messages
        assert err.count("unidd: error: ") + sum(err.count(heading + " ") for heading in parser) == 1
        assert err.count("\n") == 1 or not err.startswith("unidd")
        assert trace(here, cache, *files) == before

    return run


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
def test_a_wrong_option_of_distill(refused, arguments, message):
    refused("distill", "cfm", "--budget", "smoke", *arguments, message=message)


def test_more_images_than_a_class_of_photos_has(refused):
    refused("distill", "cfm", "--ipc", "501", message=r"ipc must be 1 … 500.*photos, not 501")


def test_data_that_are_not_there(refused, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    root = tmp_path / "data"
    message = r"cifar10 is not in .*put cifar-10-python\.tar\.gz there"
    refused("distill", "cfm", "--dataset", "cifar10", "--root", root, message=message, files=[tmp_path])


@pytest.mark.parametrize("folders", [[], ["train", "test"], ["train/a", "test/a"]], ids=str)
def test_a_folder_without_classes(refused, tmp_path, folders):
    (tmp_path / "pets").mkdir()
    for folder in folders:
        (tmp_path / "pets" / folder).mkdir(parents=True)
    message = "put images in .*/train/<class>/ and .*/test/<class>/"
    refused("distill", "cfm", "--dataset", tmp_path / "pets", message=message, files=[tmp_path])


@pytest.mark.slow
@pytest.mark.parametrize("below", ["", "below", "far/below"])
def test_no_place_to_write_the_set(refused, tmp_path, below):
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / below
    refused(*SMOKE, "--out", out, message=f"cannot write to {out}", files=[tmp_path])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(refused, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    for out in (tmp_path / "locked", tmp_path / "locked" / "below"):
        refused(*SMOKE, "--out", out, message=f"cannot write to {out}")


def test_no_place_for_teachers(refused, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "file"))
    refused(*SMOKE, message="file", files=[tmp_path])


def test_a_set_is_not_overwritten_by_accident(refused, digits):
    refused(*SMOKE, "--out", digits, message="already holds.*--overwrite", files=[digits])


FAILING = """
from unidd.methods.cfm import CFM

class Failing(CFM):
    def distill(self, data, teacher, run):
        raise {error}("the loss is not finite")
"""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_distillation_that_fails_leaves_no_folder(unidd, here, tmp_path, digits, monkeypatch, error):
    name = f"failing_by_{error.__name__.lower()}"
    (tmp_path / f"{name}.py").write_text(FAILING.format(error=error.__name__))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt) if error is KeyboardInterrupt else pytest.MonkeyPatch.context():
        code, _, err = unidd("distill", name, *SMOKE[2:])
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
    "an unknown data set": (lambda folder: reseal(folder, config={"cell": {"dataset": "gone"}}), "gone"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_set(refused, copy, kind):
    damage, message = DAMAGE[kind]
    damage(copy)
    refused("evaluate", copy, message=message, files=[copy])


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
        (["--labels", "soft"], "soft"),
        (["--views", "3"], "add the label regime fixed-soft"),
        (["--views", "-1", "--labels", "fixed-soft"], "views must be 0 or more"),
        (["--views", "3", "--protocol", "dc"], "which the protocol dc does not have: leave views out"),
        (["--views", "3", "--labels", "fixed-soft", "--record", "set.json"], "leave --views or --record out"),
        (["--budget", "lavish"], "lavish"),
        (["--device", "abacus"], "abacus"),
        (["--ipc", "1"], "--ipc"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_of_evaluate(refused, copy, arguments, message):
    refused("evaluate", copy, *arguments, message=message, files=[copy])


def test_a_wrong_student_is_found_before_a_teacher_is_trained(refused, copy, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "empty"))
    task = ("evaluate", copy, "--model", "convent")
    refused(*task, message="unknown model 'convent'", files=[tmp_path])


def test_no_place_to_write_the_record(refused, copy, tmp_path):
    (tmp_path / "file").write_text("")
    record = tmp_path / "file" / "mine.json"
    refused("evaluate", copy, "--record", record, message="cannot write to", files=[tmp_path])


def test_a_set_that_is_not_there(refused):
    refused("evaluate", "nowhere", message="nowhere is not a synthetic set")


@pytest.mark.parametrize(("arguments", "message"), [(["--model", "convent"], "convent"), (["--dataset", "x"], "'x'")])
def test_a_wrong_option_of_teach(refused, arguments, message):
    refused("teach", "--dataset", "digits", "--budget", "smoke", *arguments, message=message)


@pytest.mark.parametrize("arguments", [[], ["destill"]])
def test_no_such_command(unidd, here, arguments):
    code, _, err = unidd(*arguments)
    assert code == 2
    assert "distill" in err


@pytest.mark.parametrize("command", ["distill", "plan"])
@pytest.mark.parametrize("arguments", [[], ["--ipc", "2"], ["--ipc", "2", "cfm"], ["--method", "cfm"]], ids=str)
def test_without_a_method_first(refused, command, arguments):
    message = f"^unidd: error: say which method first, as in: unidd {command} cfm; unidd methods lists them\n$"
    refused(command, *arguments, message=message)


@pytest.mark.parametrize("command", ["distill", "plan"])
@pytest.mark.parametrize("method", ["alchemy", "CFM", "no.such.module", "unidd.methods.cfm.Nothing", "json", ""])
def test_an_unknown_method(refused, command, method):
    known = f"unknown method '{method}': choose one of .*cfm.*, or the dotted path of a module of yours"
    refused(command, method, "--ipc", "2", message="the module 'json' has no method" if method == "json" else known)


def test_a_second_method(refused):
    refused("distill", "cfm", "hfm", message="hfm")


def test_from_the_shell(here):
    """A process of its own: the error alone on standard error, the exit code, no trace."""
    run = [sys.executable, "-m", "unidd", "distill", "cfm", "--ipc", "0"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "unidd: error: ipc must be at least 1, not 0\n"
    assert not list(here.iterdir())


# --------------------------------------------------------------------------------------- a method of one's own

TINY = '''
"""Images that are drawn to the mean of their class."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from tiny_means import means

from unidd.engine.descent import Descent, Objective, Step
from unidd.methods import Count, Descending, Positive


class Distance(Objective):
    """Half the squared distance to the mean of the class, over all pixels."""

    def __init__(self, targets):
        self.targets = targets

    def begin(self, batch):
        self.target = self.targets[batch.labels]

    def step(self, x, t, generator):
        gap = x.detach() - self.target
        return Step({"distance": gap.square().sum() / 2}, gap, {"t": float(t)}, partial=("distance",))


@dataclass(frozen=True)
class Tiny(Descending):
    """Images that are drawn to the mean of their class.

    Args:
        pull: how far they go in a step.
        steps: of a round.
    """

    pull: Positive = 0.125
    steps: Count = 40

    source: ClassVar[str] = "A test of ours, 2026"
    acts_as: ClassVar[str] = "all-pass, on the mean alone"
    needs_teacher: ClassVar[bool] = False

    def descent(self, data):
        return Descent(self.steps, self.pull)

    def objective(self, data, teacher, run):
        return Distance(means(data.normalise(data.train.images), data.train.labels))
'''
MEANS = """
import torch

def means(x, labels):
    return torch.stack([x[labels == k].mean(0) for k in range(int(labels.max()) + 1)])
"""


@pytest.fixture
def tiny(here) -> tuple[str, ...]:
    """A method in two files of the working folder; options that any command takes with it."""
    (here / "tiny.py").write_text(TINY.lstrip())
    (here / "tiny_means.py").write_text(MEANS.lstrip())
    assert TINY.strip().count("\n") < 60
    yield ("tiny", "--dataset", "digits", "--budget", "smoke")
    for name in ("tiny", "tiny_means"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_a_method_of_ones_own_is_distilled(unidd, tiny):
    code, out, err = unidd("distill", *tiny, "--ipc", "2", "--steps", "30")
    assert code == 0, err
    assert "teacher:" not in out
    result, data = SyntheticSet.load("distilled"), load("digits")
    assert (result.config["method"], result.config["steps"], result.config["pull"]) == ("tiny", 30, 0.125)
    assert result.config["cell"]["method"] == "tiny.Tiny"
    assert result.teacher == {}
    assert [entry["b"] for entry in result.history] == [0, 1]
    x = data.train.images.double() / 255
    means = torch.stack([x[data.train.labels == k].mean(0) for k in result.labels])
    start = SyntheticSet.from_real(data, 2)
    assert (result.images - means).norm() < 0.2 * (start.images - means).norm()
    for name in ("tiny.Tiny", "tiny"):
        assert unidd("distill", name, *tiny[1:], "--ipc", "2", "--steps", "30", "--out", "again")[0] == 0
        assert torch.equal(SyntheticSet.load("again").images, result.images)
        shutil.rmtree("again")
    code, out, _ = unidd("evaluate", "distilled", "--labels", "hard", "--seeds", "0", "--no-baseline")
    assert code == 0
    assert "tiny, hard labels:" in out


def test_a_method_of_ones_own_goes_on_where_it_stood(unidd, interrupted, tiny):
    interrupted("distill", *tiny, "--ipc", "2", "--save-every", "1")
    code, out, _ = unidd("distill", *tiny, "--ipc", "2")
    assert code == 0
    assert "going on from round 0, step 1" in out
    assert unidd("distill", *tiny, "--ipc", "2", "--out", "whole")[0] == 0
    assert Path("whole/images.safetensors").read_bytes() == Path("distilled/images.safetensors").read_bytes()


@pytest.mark.slow
def test_a_method_of_ones_own_is_planned(unidd, here, tiny):
    code, out, err = unidd("plan", "tiny.Tiny", *tiny[1:], "--ipc", "2")
    assert code == 0, err
    assert re.search(r"distillation .* 2 batches of 10 images, 2 steps of", out)
    assert re.search(r"teacher +– ", out)
    assert sorted(path.name for path in here.iterdir() if path.suffix == ".py") == ["tiny.py", "tiny_means.py"]
    assert not [path for path in here.iterdir() if path.name not in ("tiny.py", "tiny_means.py", "__pycache__")]


def test_a_method_of_ones_own_has_help_and_errors(unidd, refused, tiny):
    for command in ("distill", "plan"):
        code, out, _ = unidd(command, *tiny, "--help")
        assert code == 0
        for text in (
            "--pull FLOAT how far they go in a step. (default: 0.125)",
            "--steps INT of a round. (default: 2)",
        ):
            assert text in told(out)
        for text in ("Source: A test of ours, 2026", "Filter: all-pass, on the mean alone"):
            assert text in told(out)
    refused("distill", *tiny, "--pull", "0", message="pull must be a finite number above 0, not 0")
    refused("distill", *tiny, "--beta", "1", message="--beta")
    refused("distill", "tiny.Huge", message="unknown method 'tiny.Huge'")


@pytest.mark.slow
def test_a_method_of_ones_own_is_a_line_of_the_table_and_its_code_counts(here, tiny, digits):
    task = {"dataset": "digits", "budget": "smoke", "seeds": [0, 1]}
    cell = Cell.of("tiny.Tiny", {"steps": 30}, **task)
    assert cell == Cell.of("tiny", {"steps": 30}, **task)
    record = run_cell(cell)
    assert (record.method, record.role, record.config["cell"]["method"]) == ("tiny", "method", "tiny.Tiny")
    assert Cell.of(**record.config["cell"]) == cell
    frame = table([record, run_cell(Cell.of("toys.Chosen", **task))])
    assert list(frame.method) == ["chosen", "tiny", "chosen", "tiny"]
    assert frame[frame.method == "tiny"]["ior"].notna().all()
    before, others = cell.code, Cell.of("cfm", **task).code
    for path in (here / "tiny.py", here / "tiny_means.py"):
        text = path.read_text()
        path.write_text("# why\n" + text)
        assert cell.code == before == record.code
        path.write_text(text + "MORE = 1\n")
        assert cell.code != before
        path.write_text(text)
    assert Cell.of("cfm", **task).code == others


@pytest.mark.slow
def test_a_method_of_ones_own_from_the_shell(here, tiny):
    """By the installed command, which by itself does not look for modules in the working folder."""
    script = "import sys; sys.path = [p for p in sys.path if p]; from unidd.cli import main; main()"
    run = [sys.executable, "-c", script, "distill", *tiny]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "10 images in distilled; next: unidd evaluate distilled\n"
