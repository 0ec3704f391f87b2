"""Teachers that users bring: `unidd import-teacher`, and `--teacher` of distill, plan and evaluate."""

import dataclasses
import inspect
import json
import re
import shutil
import warnings
from pathlib import Path

import docstring_parser
import pytest
import torch
from stand_ins import chain, write_statistics

from unidd import Teacher, cli, distill, evaluate
from unidd.bench.cell import Cell, another_teacher
from unidd.bench.cell import run as run_cell
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.engine import realside
from unidd.methods import _descending
from unidd.networks.models import ModelConfig, build, weights_hash
from unidd.networks.training import TrainConfig, train

SMOKE = ("--dataset", "digits", "--budget", "smoke")
CONSTANTS = ((0.25,), (0.4,))


@pytest.fixture(scope="module")
def trained():
    """A ConvNet that learnt the digits with constants of its own."""
    data = dataclasses.replace(load("digits"), normalisation=CONSTANTS)
    net = build(ModelConfig(width=16), 1, 8, 10, seed=5)
    config = TrainConfig(epochs=4, batch=64, crop="pad", optimizer="adamw", lr=1e-2)
    return train(net, data.train.images, data.train.labels, config, prepare=data.normalise).requires_grad_(False)


@pytest.fixture
def file(trained, tmp_path) -> Path:
    """Its weights, as another program keeps them."""
    torch.save(
        {"epoch": 4, "model": {f"module.{k}": v for k, v in trained.state_dict().items()}}, tmp_path / "best.pth"
    )
    return tmp_path / "best.pth"


IMPORT = ("import-teacher", "best.pth", "--dataset", "digits", "--mean", "0.25", "--std", "0.4", "--pooling", "avg")


def untouched(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


# ------------------------------------------------------------------------------------------------ the whole way


def test_a_teacher_comes_in_distills_and_labels(unidd, file, trained, tmp_path):
    code, out, err = unidd(*IMPORT, "--out", "mine")
    assert (code, err) == (0, "")
    assert "teacher: convnet of width 16 and depth 3, batch norm, avg pooling, " in out
    assert "next: unidd distill cfm --dataset digits --teacher mine" in out
    card = json.loads(Path("mine/card.json").read_text())
    assert card["accuracy"] > 60, "chance is 10"
    assert (card["mean"], card["std"], card["hash"]) == ([0.25], [0.4], weights_hash(trained))

    code, out, err = unidd("distill", "cfm", *SMOKE, "--teacher", "mine", "--out", "set")
    assert code == 0, err
    assert f"teacher: convnet, {card['accuracy']:.1f} % on the digits test images" in out
    made = SyntheticSet.load("set")
    assert (made.mean, made.std) == CONSTANTS
    assert made.teacher["hash"] == weights_hash(trained)
    assert made.teacher["file"] == str(tmp_path / "mine" / "model.safetensors")
    by_hand = Teacher.of(trained, load("digits"), normalisation=CONSTANTS)
    assert torch.equal(made.images, distill(load("digits"), budget="smoke", teacher=by_hand, progress=False).images)

    code, out, err = unidd("evaluate", "set", "--seeds", "0", "--record", "record.json")
    assert code == 0, err
    assert "note" not in err
    expected = evaluate(made, load("digits"), regimes=["online-soft"], seeds=[0], budget="smoke", progress=False)
    assert f"cfm, online-soft labels: {expected['online-soft'][0]:.1f} %" in out
    assert json.loads(Path("record.json").read_text())["teachers"][0]["hash"] == weights_hash(trained)


def test_a_teacher_that_moved_is_asked_for(unidd, file):
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    assert unidd("distill", "cfm", *SMOKE, "--teacher", "mine", "--out", "set")[0] == 0
    shutil.move("mine", "yours")
    code, _, err = unidd("evaluate", "set", "--seeds", "0")
    assert code == 2
    assert err.startswith("unidd: error: the set's teacher was ")
    assert "say --teacher" in err
    code, _, err = unidd("evaluate", "set", "--seeds", "0", "--teacher", "yours", "--no-baseline")
    assert code == 0, err
    assert "note" not in err
    code, _, err = unidd("evaluate", "set", "--seeds", "0", "--labels", "hard", "--no-baseline")
    assert code == 0, "hard labels need no teacher, and the card says how images are normalised"


@pytest.mark.slow
def test_a_bare_file_is_a_teacher_where_it_shows_all(unidd, tmp_path):
    """A ResNet by its shapes, with the data's own mean and std, which is said; that it knows nothing is said too."""
    torch.save(build(ModelConfig("resnet18"), 1, 8, 10).state_dict(), tmp_path / "resnet.pt")
    code, _, err = unidd("distill", "cfm", *SMOKE, "--teacher", "resnet.pt", "--steps", "1")
    assert code == 0, err
    assert "note: resnet.pt names no mean and std: those of digits are taken" in err
    assert "note: the teacher gets " in err
    assert "no better than chance" in err
    made = SyntheticSet.load("distilled")
    assert made.teacher["architecture"]["name"] == "resnet18"
    assert made.config["cell"]["model"] == "resnet18"
    assert made.mean == load("digits").mean


def test_layers_are_named_on_the_command_line(unidd, file):
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    code, _, err = unidd("distill", "cfm", *SMOKE, "--teacher", "mine", "--layers", "features.4", "head")
    assert code == 0, err
    assert SyntheticSet.load("distilled").config["layers"] == ["features.4", "head"]
    code, _, err = unidd("distill", "cfm", *SMOKE, "--teacher", "mine", "--layers", "feature.4", "--out", "other")
    assert (code, "the network has no layer 'feature.4'" in err) == (2, True)
    assert "as in features.4" in err


def test_a_run_with_a_teacher_of_ones_own_goes_on_where_it_stood(unidd, file, monkeypatch):
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    task = ("distill", "cfm", *SMOKE, "--teacher", "mine", "--ipc", "2", "--save-every", "1")
    carry_out = _descending.carry_out
    with monkeypatch.context() as patch:
        patch.setattr("unidd.engine.loop.Position.leave", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            unidd(*task)
    assert carry_out is _descending.carry_out
    code, out, err = unidd(*task)
    assert code == 0, err
    assert "going on from round 0, step 1" in out + err
    assert unidd(*task, "--out", "whole")[0] == 0
    assert Path("whole/images.safetensors").read_bytes() == Path("distilled/images.safetensors").read_bytes()


@pytest.mark.slow
def test_a_plan_with_a_teacher_of_ones_own_trains_none(unidd, file):
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    code, out, err = unidd("plan", "cfm", *SMOKE, "--teacher", "mine")
    assert code == 0, err
    assert "–" in next(line for line in out.splitlines() if line.strip().startswith("teacher"))
    code, _, err = unidd("plan", "cfm", *SMOKE, "--teacher", "mine", "--layers", "nothing")
    assert (code, err.count("unidd: error: the network has no layer 'nothing'")) == (2, 1)


def test_a_cell_is_run_with_a_teacher_of_ones_own(trained):
    brought = Teacher.of(trained, load("digits"), normalisation=CONSTANTS)
    cell = Cell.of(dataset="digits", budget="smoke", seeds=[0])
    record = run_cell(cell, teacher=brought)
    assert [card["hash"] for card in record.teachers] == [weights_hash(trained)]
    assert set(record.accuracy) == {"hard", "online-soft"}


# ----------------------------------------------------------------------------------------------- another teacher


@pytest.fixture
def usual(unidd) -> SyntheticSet:
    """A set made with the teacher of the store."""
    assert unidd("distill", "cfm", *SMOKE, "--out", "usual")[0] == 0
    return SyntheticSet.load("usual")


QUICK = ("--seeds", "0", "--no-baseline", "--labels", "online-soft")


def test_a_set_scored_with_another_teacher_is_said(unidd, usual, file):
    assert unidd("evaluate", "usual", *QUICK)[2].count("note") == 0
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    code, _, err = unidd("evaluate", "usual", "--teacher", "mine", *QUICK)
    assert code == 0, err
    assert err.count("note: soft labels come from another teacher than the set was distilled with") == 1
    assert "note: pixels are normalised as the teacher was trained, not as the set's card says" in err
    mine, data = Teacher.load("mine", load("digits")), load("digits")
    task = {"regimes": ["online-soft"], "seeds": [0], "budget": "smoke", "progress": False}
    with pytest.warns(UserWarning, match="another teacher"):
        evaluate(usual, data, teacher=mine, **task)


def test_a_teacher_of_the_same_configuration_and_other_weights_is_another(unidd, usual):
    """As on another machine: the store's folder is the same, its weights are not."""
    changed = dataclasses.replace(usual, teacher=usual.teacher | {"hash": "0" * 64})
    changed.save("usual")
    assert "another teacher than the set was distilled with" in unidd("evaluate", "usual", *QUICK)[2]


def test_cards_of_version_0_2_cannot_tell(unidd, usual):
    old = dataclasses.replace(usual, teacher={"hash": "0123456789abcdef", "accuracy": 89.0})
    old.save("usual")
    code, _, err = unidd("evaluate", "usual", *QUICK)
    assert code == 0
    assert "note: soft labels may come from another teacher" in err


def test_a_set_without_a_teacher_has_no_other(trained):
    real = SyntheticSet.from_real(load("digits"), 1)
    assert another_teacher(real, Teacher(trained)) == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(
            real,
            load("digits"),
            regimes=["online-soft"],
            seeds=[0],
            budget="smoke",
            teacher=Teacher(trained),
            progress=False,
        )


# ------------------------------------------------------------------------------------- statistics of the real side


@pytest.fixture
def statistics(trained, tmp_path) -> str:
    """Those of some images, which are not those of all."""
    data = dataclasses.replace(load("digits"), normalisation=CONSTANTS)
    images, labels = data.train.images[:150], data.train.labels[:150]
    write_statistics(tmp_path / "statistic", chain(trained), data.normalise(images).double(), labels, 10)
    return "statistic"


def test_statistics_take_the_place_of_the_pass(unidd, file, trained, statistics, monkeypatch):
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    told = ("--teacher", "mine", "--statistics", statistics)
    with monkeypatch.context() as patch:
        patch.setattr(realside, "real_statistics", lambda *_, **__: pytest.fail("a pass over the images begins"))
        assert unidd("distill", "cfm", *SMOKE, *told, "--out", "set")[0] == 0
    made = SyntheticSet.load("set")
    teacher = Teacher.of(trained, load("digits"), normalisation=CONSTANTS)
    asked = {"budget": "smoke", "teacher": teacher, "progress": False}
    by_hand = distill(load("digits"), statistics=statistics, **asked)
    assert torch.equal(made.images, by_hand.images)
    assert made.config["statistics"] == by_hand.config["statistics"]
    assert not torch.equal(made.images, distill(load("digits"), **asked).images)
    code, out, err = unidd("plan", "cfm", *SMOKE, *told)
    assert code == 0, err
    assert re.search(r"real side +–  in the cache, or not needed", out)


def test_a_run_is_not_resumed_with_other_statistics(unidd, file, statistics, monkeypatch):
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    task = ("distill", "cfm", *SMOKE, "--teacher", "mine", "--ipc", "2", "--save-every", "1")
    with monkeypatch.context() as patch:
        patch.setattr("unidd.engine.loop.Position.leave", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            unidd(*task, "--statistics", statistics)
    code, _, err = unidd(*task)
    assert code == 2
    assert "holds an unfinished run with another statistics" in err
    code, _, err = unidd(*task, "--statistics", statistics)
    assert code == 0, err


def test_statistics_that_do_not_fit_are_one_error(unidd, file, statistics):
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    for arguments, message in (
        (("cfm", "--statistics", statistics), "statistics belong to one teacher: say the file"),
        (("cfm", "--statistics", "none", "--teacher", "mine"), "there are no statistics none: say a folder"),
        (("classification", "--statistics", statistics, "--teacher", "mine"), "matches no statistics of the real side"),
        (("random", "--statistics", statistics), "matches no statistics of the real side"),
    ):
        for command in ("distill", "plan"):
            code, _, err = unidd(command, *arguments, *SMOKE)
            assert (code, err.count("unidd: error: ")) == (2, 1)
            assert message in err
    assert not Path("distilled").exists()


# ----------------------------------------------------------------------------------------------------- class order


def test_a_swapped_order_is_named_and_put_right(unidd, trained, tmp_path):
    names = ["1", "0", *map(str, range(2, 10))]
    state = dict(trained.state_dict())
    state |= {f"head.{part}": state[f"head.{part}"][[1, 0, *range(2, 10)]] for part in ("weight", "bias")}
    torch.save(state, tmp_path / "best.pth")
    code, out, err = unidd(*IMPORT, "--out", "mine")
    assert (code, out) == (2, "")
    assert "another class order than digits" in err
    assert "if output 0 stands for '1' and output 1 for '0'" in err
    assert not Path("mine").exists()
    assert unidd(*IMPORT, "--out", "mine", "--order", *names)[0] == 0
    assert json.loads(Path("mine/card.json").read_text())["hash"] == weights_hash(trained)


# --------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("best.pth", "--dataset", "digits"), "does not say which mean and std it was trained with: say --mean and"),
        (("best.pth", "--dataset", "digits", "--normalisation", "data"), "does not show how it pools"),
        (("best.pth", "--dataset", "digits", "--normalisation", "cifar"), "unknown normalisation 'cifar'"),
        (("best.pth", "--dataset", "digits", "--mean", "0.5"), "say both --mean and --std"),
        (
            (*IMPORT[1:4], "--mean", "0.5", "0.5", "--std", "1", "1", "--pooling", "avg"),
            "1 channels need as many means",
        ),
        ((*IMPORT[1:4], "--mean", "0.5", "--std", "0", "--pooling", "avg"), "stds above 0"),
        ((*IMPORT[1:4], "--normalisation", "cifar10", "--pooling", "avg"), "1 channels need as many means"),
        (("best.pth", "--dataset", "photos", *IMPORT[4:]), "features.0.weight is (16, 1, 3, 3), not (16, 3, 3, 3)"),
        ((*IMPORT[1:], "--pooling", "mean"), "pooling one of avg, max"),
        ((*IMPORT[1:], "--model", "resnet18"), "is not the resnet18 of this package for digits"),
        ((*IMPORT[1:], "--order", "one", "two"), "10 outputs, and the order 2 different names"),
        (("none.pth", *IMPORT[2:]), "there is no teacher none.pth"),
        ((".", *IMPORT[2:]), "there is no teacher"),
        (("text.pth", *IMPORT[2:]), "text.pth is damaged, or holds more than tensors"),
        ((*IMPORT[1:], "--dataset", "digitz"), "unknown data set 'digitz'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_at_the_import_is_one_line(unidd, file, tmp_path, arguments, message):
    (tmp_path / "text.pth").write_text("no weights")
    before = untouched(tmp_path)
    code, out, err = unidd("import-teacher", *arguments, "--out", "mine")
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("unidd: error: ")
    assert err.count("\n") == 1
    assert untouched(tmp_path) == before


def test_a_teacher_is_not_overwritten_unasked(unidd, file):
    assert unidd(*IMPORT, "--out", "mine")[0] == 0
    assert "mine already holds a teacher or a set" in unidd(*IMPORT, "--out", "mine")[2]
    assert unidd(*IMPORT, "--out", "mine", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("distill", "random", *SMOKE, "--teacher", "best.pth"), "the method 'random' looks at no teacher"),
        (("distill", "cfm", *SMOKE, "--teacher", "none.pth"), "there is no teacher none.pth"),
        (("distill", "cfm", *SMOKE, "--teacher", "best.pth"), "unidd import-teacher it with --pooling avg or max"),
        (("distill", "cfm", *SMOKE, "--teacher", "resnet.pt", "--layers", "layer9"), "no layer 'layer9'"),
        (("distill", "cfm", *SMOKE, "--teacher", "seven.pt"), "7 outputs, and digits 10 classes"),
        (
            ("distill", "cfm", "--dataset", "photos", "--budget", "smoke", "--teacher", "resnet.pt"),
            "conv1.weight is (64, 1, 3, 3)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_teacher_that_cannot_be_used_is_one_line(unidd, file, tmp_path, arguments, message):
    for name, classes in (("resnet", 10), ("seven", 7)):
        torch.save(build(ModelConfig("resnet18"), 1, 8, classes).state_dict(), tmp_path / f"{name}.pt")
    before = untouched(tmp_path)
    code, _, err = unidd(*arguments)
    assert code == 2
    errors = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1, err
    assert message in errors[0]
    assert untouched(tmp_path) == before


def test_every_option_is_explained(unidd):
    _, out, _ = unidd("import-teacher", "--help")
    documented = {p.arg_name for p in docstring_parser.parse(inspect.getdoc(cli.receive_teacher)).params}
    assert documented == set(inspect.signature(cli.receive_teacher).parameters)
    for name in documented - {"path"}:
        assert f"--{name}" in out
