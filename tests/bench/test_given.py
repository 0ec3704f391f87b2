"""Cells with a teacher and statistics of others in place of their own."""

import json
from pathlib import Path

import pytest
import torch
from stand_ins import chain, write_statistics, write_weights

import unidd
from unidd.bench.cell import Cell
from unidd.bench.given import Given
from unidd.bench.planning import measure
from unidd.core.statistics import statistics_hash
from unidd.data.synthetic import SyntheticSet
from unidd.engine import realside
from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side
from unidd.networks.models import ModelConfig, build, weights_hash

SMALL = {"dataset": "digits", "budget": "smoke", "seeds": [0, 1]}
CONSTANTS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def network():
    return build(ModelConfig(width=8), 1, 8, 10, seed=3).eval().requires_grad_(False)


@pytest.fixture
def files(network, digits, tmp_path, monkeypatch):
    """A teacher's weights, and statistics over some of the images, which are not those of all."""
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    some = digits.train.images[:150], digits.train.labels[:150]
    write_weights(tmp_path / "ckpt" / "Net.pth", network)
    write_statistics(tmp_path / "statistic", chain(network), digits.normalise(some[0]).double(), some[1], 10)
    return {"teacher": str(tmp_path / "ckpt" / "Net.pth"), "statistics": str(tmp_path / "statistic")}


@pytest.fixture
def no_pass(monkeypatch):
    monkeypatch.setattr(realside, "real_statistics", lambda *_, **__: pytest.fail("a pass over the images begins"))


@pytest.mark.filterwarnings("ignore:the teacher gets")
def test_a_cell_is_measured_with_the_teacher_and_the_statistics_it_is_given(files, network, digits, no_pass, tmp_path):
    cell = Cell.of(**SMALL, **files, method="cfm")
    record = unidd.run(cell, digits, sets=tmp_path / "set")
    assert [card["hash"] for card in record.teachers] == [weights_hash(network)] * 2, "of both repetitions"
    assert record.config["cell"] | files == record.config["cell"]
    assert Cell.of(**json.loads(json.dumps(record.config["cell"]))) == cell
    card = SyntheticSet.load(tmp_path / "set").config
    teacher = cell.given.load(digits, "convnet")
    assert teacher
    assert card["statistics"] == statistics_hash(cell.given.side(cell.method, digits, teacher) or {})
    assert not (tmp_path / "cache" / "teachers").exists(), "none is trained"
    assert not (tmp_path / "cache" / "statistics").exists()


@pytest.mark.filterwarnings("ignore:the teacher gets")
def test_given_statistics_decide_the_images(files, digits):
    teacher = Given.of(files).load(digits, "convnet")
    options = {"teacher": teacher, "budget": "smoke", "progress": False}
    theirs = unidd.distill(digits, "cfm", statistics=files["statistics"], **options)
    own = unidd.distill(digits, "cfm", **options)
    assert not torch.equal(theirs.images, own.images), "of some of the images, and of all"
    assert "statistics" in theirs.config
    assert "statistics" not in own.config
    assert theirs.config["statistics"] != statistics_hash(real_side("mean", digits, teacher.model, Ranks()))


@pytest.mark.filterwarnings("ignore:the teacher gets")
@pytest.mark.usefixtures("planned_in_a_fork")
def test_a_plan_counts_no_training_and_no_pass(files, digits, no_pass):
    cell = Cell.of(**SMALL, **files, method="cfm")
    teacher = cell.given.load(digits, "convnet")
    run = cell.run(0, statistics=cell.given.side(cell.method, digits, teacher))
    measured, work = measure(cell, run, digits, brought=teacher)
    assert (work.train_steps, work.real_images, measured.train, measured.real) == (0, 0, 0, 0)
    text = unidd.plan(cell).text()
    assert text.count("in the cache, or not needed") == 2, text


@pytest.mark.filterwarnings("ignore:the teacher gets")
def test_a_teacher_s_constants_are_those_that_are_said(files, digits):
    grey = Given(files["teacher"], "data").load(digits, "convnet")
    assert grey.normalisation == (digits.mean, digits.std)
    colour = digits.with_channels(3)
    write_weights(Path(files["teacher"]), build(ModelConfig(width=8), 3, 8, 10).eval())
    assert Given(files["teacher"], "imagenet").load(colour, "convnet").normalisation == CONSTANTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "full", "ipc": None, "statistics": None}, "the method 'full' looks at no teacher"),
        ({"method": "random"}, "the method 'random' matches no statistics of the real side"),
        ({"method": "classification"}, "the method 'classification' matches no statistics"),
        ({"method": "cfm", "teacher": None}, "statistics belongs to one teacher: say teacher"),
        ({"method": "cfm", "teacher": 3}, "teacher must be a text"),
        ({"method": "cfm", "teacher": None, "statistics": None, "normalisation": "cifar10"}, "normalisation belongs"),
    ],
)
def test_what_nobody_looks_at_is_refused(files, change, message):
    with pytest.raises(ValueError, match=message):
        Cell.of(**SMALL, **files | change)


def test_the_fingerprint_is_of_the_bytes_of_all_files(files, tmp_path):
    given = Given.of(files)
    before = given.fingerprint()
    assert before == given.fingerprint() != Given(files["teacher"]).fingerprint()
    layer = next((tmp_path / "statistic").glob("*/running.npz"))
    layer.write_bytes(layer.read_bytes() + b" ")
    assert given.fingerprint() not in (before, "")
    assert Given().fingerprint() == ""
    for gone in (Given(str(tmp_path / "no.pth")), Given(files["teacher"], None, str(tmp_path / "none"))):
        with pytest.raises(ValueError, match=r"there (is|are) no (teacher|statistics)"):
            gone.fingerprint()
