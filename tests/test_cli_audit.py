"""The command `unidd audit`: a page and its numbers from any set, and every mistake as one clear line."""

import inspect
import json
import re
import shutil
from dataclasses import replace

import docstring_parser
import pytest
import torch
from safetensors.torch import load_file, save_file

from unidd import cli, evaluate, teach
from unidd.bench import cell
from unidd.data import sources
from unidd.data.datasets import load
from unidd.data.exchange import to_imagefolder, to_vico
from unidd.data.synthetic import SyntheticSet
from unidd.networks import evaluation, training

CARD = {"method": "random", "cell": {"dataset": "digits", "budget": "smoke"}}
FILES = ["audit.html", "audit.json"]


@pytest.fixture
def real(digits, tmp_path) -> SyntheticSet:
    made = SyntheticSet.from_real(digits, 2, config=CARD)
    made.save(tmp_path / "set")
    return made


@pytest.fixture
def no_teacher_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "empty"))


def report(folder) -> dict:
    return json.loads((folder / "audit.json").read_text())


# ---- as it should


def test_a_page_beside_the_set(unidd, real, digits, tmp_path):
    teach(digits, budget="smoke", progress=False)
    code, out, err = unidd("audit", "set")
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "set-audit").iterdir()) == FILES
    found = report(tmp_path / "set-audit")
    assert out.splitlines()[: len(found["verdicts"])] == found["verdicts"]
    assert f"page: {tmp_path / 'set-audit' / 'audit.html'}" in out
    assert "left out: accuracies and scores (--accuracy)" in out
    assert found["duplicates"]["of training images"] == 20
    assert len(found["layers"]) == 3
    assert found["bytes"]["stored"] == (tmp_path / "set" / "images.safetensors").stat().st_size
    assert "Audit of set" in (tmp_path / "set-audit" / "audit.html").read_text()


def test_the_same_command_again_gives_the_same_numbers(unidd, real, tmp_path):
    assert unidd("audit", "set", "--teacher", "none")[0] == 0
    first = report(tmp_path / "set-audit")
    assert unidd("audit", "set", "--teacher", "none")[0] == 0
    assert {**report(tmp_path / "set-audit"), "seconds": 0} == {**first, "seconds": 0}


@pytest.mark.parametrize("arguments", [(), ("--teacher", "none")])
def test_no_teacher_is_trained_for_an_audit(unidd, real, no_teacher_yet, monkeypatch, tmp_path, arguments):
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("a teacher is trained"))
    code, out, err = unidd("audit", "set", *arguments)
    assert code == 0, err
    assert "in a teacher's features" in out
    assert "(unidd teach or --teacher)" in out
    assert "nearest" in report(tmp_path / "set-audit")


def test_a_data_set_that_is_gone_leaves_the_rest(unidd, digits, tmp_path):
    card = {"cell": {"dataset": str(tmp_path / "gone")}}
    SyntheticSet.from_real(digits, 1, config=card).save(tmp_path / "set")
    code, out, err = unidd("audit", "set")
    assert code == 0
    assert (
        f"note: without the data set: {tmp_path / 'gone'}, from which set was made, is not there: say --dataset" in err
    )
    assert "(--dataset)" in out
    assert "nearest" not in report(tmp_path / "set-audit")
    assert unidd("audit", "set", "--dataset", "digits")[0] == 0
    assert report(tmp_path / "set-audit")["duplicates"]["of training images"] == 10


def test_a_data_set_that_cannot_be_fetched_leaves_the_rest(unidd, digits, tmp_path, monkeypatch):
    def fetch(*_):
        raise FileNotFoundError("cifar10 is not there and cannot be fetched")

    monkeypatch.setattr(sources, "load", fetch)
    SyntheticSet.from_real(digits, 1, config={"cell": {"dataset": "cifar10"}}).save(tmp_path / "set")
    code, _, err = unidd("audit", "set")
    assert code == 0
    assert "note: without the data set: cifar10 is not there and cannot be fetched" in err


def test_a_set_without_a_card_of_ours_needs_the_data_set_said(unidd, digits, tmp_path):
    SyntheticSet.from_real(digits, 1).save(tmp_path / "set")
    code, _, err = unidd("audit", "set", "--out", "page")
    assert code == 0
    assert "note: without the data set: the card of set names no data set: say --dataset" in err
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == FILES


def test_pictures_that_were_exported_are_a_set_too(unidd, real, tmp_path):
    to_imagefolder(real, tmp_path / "png")
    code, _, err = unidd("audit", "png", "--teacher", "none")
    assert code == 0, err
    found = report(tmp_path / "png-audit")
    files = [*(tmp_path / "png").glob("*/*.png"), tmp_path / "png" / "labels.csv"]
    assert found["bytes"]["stored"] == sum(path.stat().st_size for path in files)
    assert found["duplicates"]["of training images"] == 20


def test_sets_of_other_code_after_import(unidd, real, tmp_path):
    to_vico(real, tmp_path / "res_DC_digits_ConvNet_2ipc.pt")
    assert unidd("import", "res_DC_digits_ConvNet_2ipc.pt", "--dataset", "digits", "--out", "dc")[0] == 0
    code, _, err = unidd("audit", "dc", "--teacher", "none")
    assert code == 0, err
    found = report(tmp_path / "dc-audit")
    assert found["set"]["import"]["format"] == "DC/DSA/DM"
    assert "import: format" in (tmp_path / "dc-audit" / "audit.html").read_text()


def test_constants_of_other_code_are_taken_if_the_data_set_is_said(unidd, digits, tmp_path):
    foreign = replace(SyntheticSet.from_real(digits, 1, config=CARD), mean=(0.5,), std=(0.5,))
    foreign.save(tmp_path / "set")
    code, _, err = unidd("audit", "set", "--teacher", "none")
    assert code == 2
    assert "another normalisation" in err
    code, _, err = unidd("audit", "set", "--teacher", "none", "--dataset", "digits")
    assert code == 0
    assert "note: pixels are normalised as those of digits" in err


@pytest.mark.slow
def test_accuracies_if_asked(unidd, real, tmp_path):
    code, out, err = unidd("audit", "set", "--accuracy", "--seeds", "0", "1", "--out", "page")
    assert code == 0, err
    found = report(tmp_path / "page")["accuracy"]
    assert set(found["regimes"]) == set(evaluation.REGIMES)
    assert all(len(values) == 2 for regime in found["regimes"].values() for values in regime.values())
    assert len(found["full"]) == 2
    assert len(re.findall(r"With (hard|fixed soft|online soft) labels students reach", out)) == 3
    page = (tmp_path / "page" / "audit.html").read_text()
    assert all(word in page for word in ("HLR", "IOR", "LRS", "ARS", "seeds 0, 1"))


@pytest.mark.slow
def test_fixed_soft_labels_are_evaluated(unidd, real, tmp_path):
    task = ("--seeds", "0", "--labels", "fixed-soft", "hard")
    code, out, err = unidd("evaluate", "set", *task)
    assert code == 0, err
    assert out.count("fixed-soft labels:") == 2
    assert "note: the set stores" not in err
    replace(real, soft=torch.eye(10)[real.labels]).save(tmp_path / "soft")
    code, out, err = unidd("evaluate", "soft", "--seeds", "0", "--labels", "hard", "--no-baseline")
    assert code == 0
    assert "note: the set stores soft labels, which --labels fixed-soft uses" in err
    code, _, err = unidd("evaluate", "soft", "--seeds", "0", "--labels", "fixed-soft", "--views", "2")
    assert code == 2
    assert "the set stores labels of its own: leave views out" in err


@pytest.mark.slow
def test_a_teachers_labels_are_a_mean_over_views(unidd, real, monkeypatch):
    seen = []

    def mean_labels(images, data, teacher, config, views):
        seen.append((len(images), config.crop, views))
        return mean(images, data, teacher, config, views)

    mean = evaluation.mean_labels
    monkeypatch.setattr(cell, "mean_labels", mean_labels)
    code, out, err = unidd("evaluate", "set", "--seeds", "0", "--labels", "fixed-soft", "--views", "2")
    assert code == 0, err
    assert out.count("fixed-soft labels:") == 2
    assert seen == [(len(real), "resized", 2)] * 2, "of the set, and of the random images beside it"
    with pytest.raises(ValueError, match="without augmentation"):
        evaluate(real, load("digits"), regimes=["fixed-soft"], views=2, augment=False)


def test_help_names_every_option(unidd):
    code, out, _ = unidd("audit", "--help")
    assert code == 0
    described = {p.arg_name: p.description for p in docstring_parser.parse(cli.audit.__doc__).params}
    told = " ".join(re.sub("[│|]", " ", out).split())
    for name in set(inspect.signature(cli.audit).parameters) - {"data_options"}:
        assert name == "folder" or f"--{name}" in out
        assert " ".join(described[name].split()) in told
    assert "--dataset" in out
    assert "audit" in unidd("--help")[1]


# ---- mistakes


def wrong_set(what: str, folder):
    """A folder "set" with that fault."""
    if what == "nothing":
        return
    made = SyntheticSet.from_real(load("digits"), 1, config=CARD)
    made.save(folder)
    if what == "NaN":
        tensors = load_file(folder / "images.safetensors")
        tensors["images"][0, 0, 0, 0] = float("nan")
        save_file(tensors, folder / "images.safetensors")
        spoil(folder)
    elif what == "beyond 1":
        tensors = load_file(folder / "images.safetensors")
        tensors["images"][3] *= 40
        save_file(tensors, folder / "images.safetensors")
        spoil(folder)
    elif what == "half a file":
        payload = (folder / "images.safetensors").read_bytes()
        (folder / "images.safetensors").write_bytes(payload[: len(payload) // 2])
    elif what == "no card":
        (folder / "card.json").unlink()
    elif what == "card is a list":
        (folder / "card.json").write_text("[]")
    elif what == "other classes":
        replace(made, class_names=tuple("abcdefghij")).save(folder)
    elif what == "other size":
        replace(made, images=torch.zeros(10, 1, 9, 9)).save(folder)
    elif what == "a file":
        shutil.rmtree(folder)
        folder.write_bytes(b"x")


def spoil(folder) -> None:
    """Let the card fit the tensors again, so that only the tensors are wrong."""
    import hashlib

    card = json.loads((folder / "card.json").read_text())
    card["sha256"] = hashlib.sha256((folder / "images.safetensors").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("what", "arguments", "message"),
    [
        ("nothing", (), "set is not the folder of a set: `unidd import` makes one"),
        ("a file", (), "set is not the folder of a set: `unidd import` makes one"),
        ("NaN", (), "the images contain NaN"),
        ("beyond 1", (), r"pixels must lie in \[0, 1\]"),
        ("half a file", (), "is damaged"),
        ("no card", (), "card.json is missing"),
        ("card is a list", (), "card.json is damaged"),
        ("other classes", (), "are not those of digits"),
        ("other size", (), r"the set's images are \(1, 9, 9\)"),
        ("good", ("--dataset", "photos"), "are not those of photos"),
        ("good", ("--dataset", "nowhere"), "unknown data set 'nowhere'"),
        ("good", ("--seeds", "1", "1"), "seeds must be"),
        ("good", ("--seeds", "-1"), "seeds must be"),
        ("good", ("--model", "convent", "--accuracy"), "unknown model 'convent'"),
        ("good", ("--device", "abacus"), "cannot use the device 'abacus'"),
        ("good", ("--out", "set"), "set holds .*: choose another --out"),
        ("good", ("--out", "set/card.json"), "choose another"),
        ("good", ("--out", "/proc/none"), "cannot write to /proc/none"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(unidd, tmp_path, monkeypatch, what, arguments, message):
    for module in (training, evaluation):
        monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("a network is trained"))
    wrong_set(what, tmp_path / "set")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = unidd("audit", "set", *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"unidd: error: .*{message}.*\n", err), err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_accuracies_without_the_data_set_are_refused(unidd, digits, tmp_path):
    SyntheticSet.from_real(digits, 1).save(tmp_path / "set")
    code, _, err = unidd("audit", "set", "--accuracy")
    assert code == 2
    assert err.splitlines()[-1] == "unidd: error: accuracies need the data set: say --dataset"
    assert not (tmp_path / "set-audit").exists()


@pytest.mark.parametrize("arguments", [("--teacher", "nobody"), ("--teacher", "none", "--accuracy")])
def test_a_teacher_that_cannot_be_is_refused(unidd, real, tmp_path, arguments):
    code, _, err = unidd("audit", "set", *arguments)
    assert code == 2
    assert "teacher" in err.splitlines()[-1]
    assert not (tmp_path / "set-audit").exists()
