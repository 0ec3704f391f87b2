"""Published protocols and several architectures from Python: what is trained, what is refused, what is recorded."""

import dataclasses
import json

import pytest
import torch
from torch.nn import Identity
from toys import Chosen

import unidd
from unidd.bench import cell as cells
from unidd.bench.cell import BUDGETS, Cell, architecture_of, set_record
from unidd.bench.cross import cross, made_with, matrix, records
from unidd.data.synthetic import SyntheticSet
from unidd.networks.evaluation import RECORDED
from unidd.networks.models import ModelConfig
from unidd.networks.protocols import PROTOCOLS
from unidd.networks.training import Recipe, Teacher

PUBLISHED = [name for name in PROTOCOLS if name != "unidd"]


@pytest.fixture
def chosen(digits) -> SyntheticSet:
    return SyntheticSet.from_real(digits, 2)


@pytest.fixture
def trained(monkeypatch):
    """What students would have been trained on, and are not: (labels, network, training, teacher)."""
    calls = []

    def evaluate(images, labels, data, network, training, seeds, *, teacher, progress):
        calls.append((labels, network, training, teacher))
        return [50.0 + seed for seed in seeds]

    monkeypatch.setattr(cells, "evaluate_images", evaluate)
    return calls


@pytest.fixture
def taught(monkeypatch):
    """A teacher that is nobody's, and the architectures that were asked for."""
    asked = []

    def teach(data, model, *_, **__):
        asked.append(model)
        return Teacher(Identity())

    monkeypatch.setattr(cells, "teach", teach)
    monkeypatch.setattr(Teacher, "check", lambda *_, **__: [])
    return asked


# ---------------------------------------------------------------------------------------------- protocols


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_protocol_decides_student_training_and_labels(digits, chosen, trained, taught, name):
    protocol = PROTOCOLS[name]
    found = unidd.evaluate(chosen, digits, protocol=name, seeds=(3,), budget="smoke", progress=False)
    assert found == {protocol.regimes[0]: [53.0]}
    ((labels, network, training, teacher),) = trained
    assert network == ModelConfig.named(protocol.model, 8)
    assert isinstance(training, Recipe)
    assert training == BUDGETS["smoke"].student_under(name, cells.Students(20, 2, 10, 1, protocol.model, chosen.config))
    assert (teacher is not None) == bool(taught) == (protocol.regimes == ("online-soft",))
    if name == "frepo":
        assert labels.kind == "centred"
        assert torch.allclose(labels.values.max(1).values, torch.tensor(0.9))
    else:
        assert torch.equal(labels, chosen.labels)


def test_the_packages_own_protocol_is_what_it_was(digits, chosen, trained):
    assert unidd.evaluate(chosen, digits, seeds=(1,), budget="smoke", progress=False) == {"hard": [51.0]}
    ((_, network, training, _),) = trained
    assert (network, training) == (ModelConfig("convnet", 8), BUDGETS["smoke"].student_of(2, 10, 20))
    assert not isinstance(training, Recipe)


@pytest.mark.parametrize(("budget", "epochs"), [("smoke", 2), ("embedded", 61), ("paper", 301), ("large", 301)])
def test_a_budget_is_a_part_of_the_published_epochs(digits, chosen, trained, budget, epochs):
    unidd.evaluate(chosen, digits, protocol="dc", budget=budget, progress=False)
    (call,) = trained
    assert (call[1].width, call[2].epochs) == (BUDGETS[budget].width, epochs)


def test_another_student_than_the_published_one(digits, chosen, trained, taught):
    unidd.evaluate(chosen, digits, protocol="rded", model="vit-small", budget="smoke", progress=False)
    assert (trained[0][1].name, trained[0][2].lr) == ("vit-small", 1e-4)
    made = dataclasses.replace(chosen, teacher={"architecture": dataclasses.asdict(ModelConfig(norm="instance"))})
    with pytest.warns(UserWarning, match="another teacher"):
        unidd.evaluate(made, digits, protocol="sre2l", budget="smoke", progress=False)
    assert taught == ["vit-small", "convnet-instance"], "the teacher is that of the set, if its card says it"
    assert architecture_of(chosen) is None


def test_without_augmentation_a_protocol_keeps_its_rates(digits, chosen, trained):
    unidd.evaluate(chosen, digits, protocol="dsa", augment=False, progress=False)
    assert (trained[0][2].strategy, trained[0][2].schedule) == ("none", "drop")


LOGITS = {"soft": torch.eye(10).repeat(2, 1) * 9}


@pytest.mark.parametrize(
    ("changes", "of_set", "message"),
    [
        ({"protocol": "best"}, {}, "unknown protocol 'best'"),
        ({"protocol": "dc", "regimes": ("online-soft",)}, {}, "dc has hard labels alone"),
        ({"protocol": "dc", "regimes": ("soft",)}, {}, "unknown label regime 'soft'"),
        ({"protocol": "mtt"}, {"config": {"import": {}}}, "import it with --rate"),
        ({"protocol": "frepo"}, LOGITS, "the set stores logits"),
        ({"protocol": "rded", "model": "convent"}, {}, "unknown model 'convent'"),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused_before_work(digits, chosen, monkeypatch, changes, of_set, message):
    for name in ("evaluate_images", "teacher"):
        monkeypatch.setattr(cells, name, lambda *_, **__: pytest.fail("something is trained"))
    with pytest.raises(ValueError, match=message):
        unidd.evaluate(dataclasses.replace(chosen, **of_set), digits, progress=False, **changes)


# ---------------------------------------------------------------------------------------------- cells


def test_a_cell_under_a_protocol(digits):
    made = Cell.of(method="toys.Chosen", dataset="digits", budget="smoke", protocol="rded", ipc=10)
    assert (made.regimes, made.student_name, made.model) == (("online-soft",), "resnet18", "convnet")
    assert made.student(digits).batch == 50
    assert Cell.of(**json.loads(json.dumps(made.parameters()))) == made
    other = dataclasses.replace(made, protocol="unidd", student_model="vit-small", regimes=RECORDED)
    assert (other.regimes, other.student_name) == (RECORDED, "vit-small")
    assert Cell.of(**other.parameters()) == other


def test_a_cell_without_one_has_the_parameters_that_it_had():
    assert not {"protocol", "student_model"} & set(Cell.of().parameters())


def test_all_real_images_are_trained_on_as_ever(digits):
    whole = Cell.of(method="toys.Whole", dataset="digits", budget="smoke", protocol="rded")
    assert (whole.regimes, whole.student(digits)) == (("hard",), BUDGETS["smoke"].student_of(None, 10, 1437))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "best"}, "unknown protocol 'best'"),
        ({"protocol": "dsa", "regimes": ["fixed-soft"]}, "dsa has hard labels alone, not fixed-soft"),
    ],
)
def test_a_cell_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        Cell.of(**changes)


def test_an_unknown_student_is_found_before_work(digits):
    with pytest.raises(ValueError, match="unknown model 'convent'"):
        Cell.of(method="toys.Chosen", dataset="digits", student_model="convent").check(digits)


def test_a_record_of_a_cell_names_student_protocol_and_the_rates_that_were_learnt(digits, trained, monkeypatch):
    def distill(self, data, teacher, run):
        made = SyntheticSet.from_real(data, run.ipc, run.seed, self.config(data, run))
        return dataclasses.replace(made, config={**made.config, "learnt": {"lr": 0.1 + run.seed}})

    monkeypatch.setattr(Chosen, "distill", distill)
    task = {"method": "toys.Chosen", "dataset": "digits", "budget": "smoke", "seeds": (0, 2)}
    record = unidd.run(Cell.of(**task, protocol="mtt"), digits)
    assert record.model == "convnet-instance"
    assert record.accuracy == {"hard": [50.0, 52.0]}
    assert record.config["cell"]["protocol"] == "mtt"
    assert record.config["rates"] == [0.1, 2.1] == [call[2].lr for call in trained]
    assert record.teachers == []
    assert "rates" not in unidd.run(Cell.of(**task, protocol="dsa"), digits).config


# ---------------------------------------------------------------------------------------------- architectures


def test_students_of_several_architectures(digits, chosen):
    task = {"budget": "smoke", "seeds": (0, 1), "progress": False}
    found = cross(chosen, digits, ["convnet", "convnet-instance"], **task)
    assert list(found) == ["convnet", "convnet-instance"]
    for model, accuracies in found.items():
        assert accuracies == unidd.evaluate(chosen, digits, model=model, **task)
    assert found["convnet"] != found["convnet-instance"]


def test_one_teacher_labels_for_all_architectures(digits, chosen, trained, taught):
    task = {"regimes": ["hard", "online-soft"], "seeds": (0,), "budget": "smoke", "progress": False}
    cross(chosen, digits, ["convnet-instance", "vit-small"], **task)
    assert taught == ["convnet-instance"]
    first, second = {id(call[3]) for call in trained[1::2]}, {id(call[3]) for call in trained[::2]}
    assert (len(first), second) == (1, {id(None)})


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ((), "models must be"),
        ("convnet", "models must be"),
        (("convnet", "convnet"), "different"),
        (("convnet", "convent"), "unknown model 'convent'"),
    ],
)
def test_architectures_are_looked_at_before_the_first_student_is_trained(digits, chosen, trained, models, message):
    with pytest.raises(ValueError, match=message):
        cross(chosen, digits, models)
    assert trained == []


def test_a_record_each_with_the_teacher_on_its_card(digits, chosen):
    found = {"convnet": {"hard": [1.0, 2.0]}, "vit-small": {"hard": [3.0, 4.0]}}
    card = {"architecture": dataclasses.asdict(ModelConfig())}
    made = records(chosen, digits, "mine", found, "smoke", (0, 1), card, "dc")
    assert {model: record.accuracy for model, record in made.items()} == found
    assert [record.model for record in made.values()] == list(found)
    for record in made.values():
        assert (record.config["protocol"], record.config["student"]["schedule"]) == ("dc", "drop")
        assert record.teachers == [card, card]
    plain = set_record(chosen, digits, "mine", "convnet", "smoke", (0,), {"hard": [1.0]}, {})
    assert plain.config == {
        "set": {},
        "budget": "smoke",
        "student": dataclasses.asdict(BUDGETS["smoke"].student_of(2, 10, 20)),
    }


@pytest.mark.parametrize(("name", "role"), [("random", "baseline"), ("kcenter", "coreset"), ("mine", "method")])
def test_a_record_of_a_set_knows_the_role_of_its_method(digits, chosen, name, role):
    assert set_record(chosen, digits, name, "convnet", "smoke", (0,), {"hard": [1.0]}, {}).role == role


def test_what_a_set_was_made_with(chosen):
    def said(**changes) -> str:
        return made_with(dataclasses.replace(chosen, **changes))

    assert said(teacher={"architecture": dataclasses.asdict(ModelConfig("resnet18"))}) == "resnet18"
    assert (
        said(config={"net_width": 32, "norm": "instance"}) == "ConvNets of width 32, instance norm, without a teacher"
    )
    assert said(config={"import": {"file": "x"}}) == "networks that its card does not name"
    assert said() == "no network"


def test_the_table_has_a_row_an_architecture_and_a_column_a_label_regime():
    found = {"convnet": {"hard": [50.0, 52.0], "online-soft": [1.0]}, "r": {"hard": [40.0], "online-soft": [100.0]}}
    assert matrix(found).splitlines() == [
        "model           hard   online-soft",
        "convnet   51.0 ± 1.4           1.0",
        "r               40.0         100.0",
    ]
