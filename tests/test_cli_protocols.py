"""`unidd evaluate` under published protocols and with several architectures: what is printed, recorded, refused."""

import dataclasses
import re

import pytest
import torch

from unidd import cli
from unidd.bench.records import load_record
from unidd.data.datasets import load
from unidd.data.synthetic import SyntheticSet
from unidd.networks.protocols import PROTOCOLS


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """Real digits on a card as of distillation."""
    card = {"method": "mine", "strategy": "color_crop", "cell": {"dataset": "digits", "budget": "smoke"}}
    return SyntheticSet.from_real(load("digits"), 2, config=card).save(tmp_path_factory.mktemp("set") / "mine")


@pytest.fixture
def imported(tmp_path):
    card = {"import": {"format": "MTT"}, "cell": {"dataset": "digits", "budget": "smoke"}}
    made = SyntheticSet.from_real(load("digits"), 2, config=card)
    return dataclasses.replace(made, soft=torch.eye(10).repeat(2, 1) * 9).save(tmp_path / "imported")


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "unidd"])
def test_a_protocol_from_end_to_end(unidd, chosen, protocol):
    task = ["--protocol", protocol, "--model", "convnet", "--seeds", "0", "1", "--record", "records/one.json"]
    code, out, err = unidd("evaluate", chosen, *task)
    assert (code, err) == (0, "")
    first, ours, random = out.splitlines()
    regime = PROTOCOLS[protocol].regimes[0]
    said = re.fullmatch(rf"protocol {protocol}: (\d) epochs of \d+, ConvNets of width 8 of 128", first)
    number = r"\d+\.\d"
    for line, name in ((ours, "mine"), (random, "random real")):
        assert re.fullmatch(
            rf" *{name}, {regime} labels: {number} ± {number} %  \(n = 2: {number}, {number}\)", line
        ), line
    record = load_record("records/one.json")
    assert (record.model, list(record.accuracy), record.config["protocol"]) == ("convnet", [regime], protocol)
    assert record.config["student"]["epochs"] == int(said[1])
    assert bool(record.teachers) == (regime == "online-soft")


def test_the_published_student_is_taken_unless_another_is_named(unidd, chosen, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "evaluate", lambda *_, model, regimes, **task: seen.append(model) or {"hard": [5.0]})
    for more in ([], ["--model", "vit-small"], ["--protocol", "unidd", "--labels", "hard"]):
        assert unidd("evaluate", chosen, "--protocol", "dsa", "--seeds", "0", "--no-baseline", *more)[0] == 0
    assert seen == ["convnet-instance", "vit-small", "convnet"]


def test_random_images_beside_a_set_are_trained_alike(unidd, chosen, monkeypatch):
    """Mosaics alone have patches to shuffle."""
    seen = []

    def evaluate(synthetic, data, *, regimes, **task):
        seen.append(synthetic.config)
        return {regime: [5.0] for regime in regimes}

    monkeypatch.setattr(cli, "evaluate", evaluate)
    made = SyntheticSet.load(chosen)
    config = made.config | {"learnt": {"lr": 0.3, "soft labels": "centred"}, "factor": 2}
    dataclasses.replace(made, config=config).save("other")
    assert unidd("evaluate", "other", "--protocol", "mtt", "--seeds", "0")[0] == 0
    assert seen == [config, {"strategy": "color_crop", "learnt": {"lr": 0.3}}]


def test_several_architectures_are_a_table_and_a_record_each(unidd, chosen):
    task = ["--models", "convnet", "convnet-instance", "--labels", "hard", "--seeds", "0", "1"]
    code, out, err = unidd("evaluate", chosen, *task, "--record", "records/mine.json")
    assert (code, err) == (0, "")
    head, columns, *rows = [re.split(r" {2,}", line) for line in out.splitlines()]
    assert head == ["made with no network; accuracy in %, n = 2"]
    assert columns == ["model", "mine, hard", "random real, hard"]
    assert [row[0] for row in rows] == ["convnet", "convnet-instance"]
    for row in rows:
        record = load_record(f"records/mine-{row[0]}.json")
        assert record.model == row[0]
        assert row[1].startswith(f"{sum(record.accuracy['hard']) / 2:.1f} ± ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "dc", "--labels", "online-soft"], "dc has hard labels alone, not online-soft"),
        (["--protocol", "rded", "--labels", "hard", "online-soft"], "rded has online-soft labels alone, not hard"),
        (["--protocol", "mtt"], "import it with --rate, or take the protocol dsa"),
        (["--protocol", "frepo"], "the set stores logits"),
        (["--protocol", "best"], "best"),
        (["--models", "convnet", "convent"], "unknown model 'convent'"),
        (["--models", "convnet", "convnet"], "different architectures"),
        (["--models", "convnet", "--model", "convnet"], "--model or --models"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_before_work(unidd, imported, monkeypatch, arguments, message):
    for name in ("evaluate", "teacher_of"):
        monkeypatch.setattr(cli, name, lambda *_, **__: pytest.fail("something is trained"))
    code, out, err = unidd("evaluate", imported, *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_stored_soft_labels_are_named_where_the_protocol_could_use_them(unidd, imported, monkeypatch):
    monkeypatch.setattr(cli, "evaluate", lambda *_, regimes, **task: {regimes[0]: [5.0]})
    note = "note: the set stores soft labels"
    for protocol, said in (("unidd", True), ("dc", False)):
        task = ("--labels", "hard", "--seeds", "0", "--no-baseline", "--protocol", protocol)
        assert (note in unidd("evaluate", imported, *task)[2]) == said
