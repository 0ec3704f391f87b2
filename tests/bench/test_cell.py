"""Budgets, published settings, and one cell of a results table: what it refuses, and what a run of it records."""

import dataclasses
import inspect
import json
import math
import shutil

import pytest
import torch
from torch.nn import Identity
from toys import Chosen

import unidd
from unidd.bench import cell as cells
from unidd.bench.cell import BUDGETS, Cell, budgeted
from unidd.bench.closure import code_hash
from unidd.bench.records import Record, load_record, save_record
from unidd.data.datasets import NAMES, ImageData, Split, load
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.run import Run
from unidd.methods import find
from unidd.methods.cfm import CFM, HFM
from unidd.networks import training
from unidd.networks.models import ModelConfig
from unidd.networks.protocols import PROTOCOLS
from unidd.networks.training import Teacher, TrainConfig


def blank(classes: int, size: int, each: int = 1, channels: int = 3) -> ImageData:
    """Black images of many classes, which take no memory."""
    images = torch.zeros(1, channels, size, size, dtype=torch.uint8).expand(classes * each, -1, -1, -1)
    split = Split(images, torch.arange(classes).repeat(each))
    return ImageData("many", split, split, tuple(map(str, range(classes))))


# --------------------------------------------------------------------------------------- published settings


def test_cfm_is_the_published_algorithm(digits):
    published = CFM(
        filter="ridge",
        beta=0.1,
        beta_unit="absolute",
        schedule="cosine",
        normalised=False,
        signal="mean",
        eta=0.1,
        emu=True,
        steps=1000,
        lr=0.25,
        shift=4,
        scale=0.08,
        group=0,
        precision="float32",
    )
    assert CFM().settled(digits) == published


@pytest.mark.parametrize(
    ("method", "differs"),
    [
        ("hfm", {"schedule": "constant"}),
        ("lfm", {"filter": "linear"}),
        ("classification", {"filter": "none", "eta": 0.0}),
        ("relative", {"schedule": "constant", "beta": 1.0, "beta_unit": "mean", "normalised": True}),
    ],
)
def test_a_variant_is_a_few_fields_away_from_cfm(method, differs):
    assert dataclasses.asdict(find(method)()) == dataclasses.asdict(CFM()) | differs
    changed = find(method)(lr=0.5)
    assert (changed.name, changed.lr) == (method, 0.5)
    assert dataclasses.asdict(changed) == dataclasses.asdict(find(method)()) | {"lr": 0.5}


def test_the_papers_budget_and_label_regimes(digits):
    paper = Cell.of(dataset="digits", ipc=10, budget="paper")
    assert paper.network() == ModelConfig("convnet", width=128, depth=None, norm="batch", pooling="avg")
    assert paper.method.steps == 1000
    assert paper.regimes == ("hard", "online-soft")
    assert paper.student(digits) == TrainConfig(
        epochs=1000,
        batch=50,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=1e-2,
        period=2.0,
        crop="resized",
        cutmix=True,
        temperature=20.0,
    )
    assert paper.training() == TrainConfig(
        epochs=200, batch=128, optimizer="sgd", lr=0.1, weight_decay=5e-4, period=1.0, crop="pad", cutmix=False
    )


@pytest.mark.parametrize(
    ("ipc", "classes", "batch"),
    [(1, 10, 10), (10, 10, 50), (50, 10, 100), (1, 100, 20), (10, 100, 100), (50, 100, 200), (1, 3, 3)],
)
def test_the_students_batch_is_the_published_one(ipc, classes, batch):
    assert Cell.of(ipc=ipc).student(blank(classes, 8, channels=1)).batch == batch


@pytest.mark.parametrize("ipc", [1, 10, None])
def test_the_rate_of_a_student_ends_at_half(ipc):
    config = training.Recipe.of(BUDGETS["embedded"].student_of(ipc, 10, 500))
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    falling = training._schedule(sgd, config, 7)
    for _ in range(7 * config.epochs):
        sgd.step()
        falling.step()
    assert falling.get_last_lr() == pytest.approx([0.5])


def test_a_student_of_all_images_takes_steps_enough(digits):
    """1,437 digits are 12 batches; in ten epochs it would take fewer steps than a student of a hundred images."""
    assert Cell.of(method="toys.Whole").student(digits).epochs == math.ceil(700 / 12)
    assert BUDGETS["embedded"].student_of(None, 10, 9000).epochs == 10, "71 batches are enough"
    assert BUDGETS["paper"].student_of(None, 10, 100).epochs == 200


def test_larger_images_take_a_smaller_step(digits):
    large = blank(2, 64)
    assert Cell.of().method.settled(large).lr == 0.1
    assert Cell.of().method.settled(digits).lr == 0.25
    assert Cell.of(settings={"lr": 0.3}).method.settled(large).lr == 0.3


@pytest.mark.parametrize(
    ("preset", "classes", "size", "model", "differs"),
    [("imagenet", 1000, 224, "resnet18", {}), ("tiny-imagenet", 200, 64, "convnet", {"beta": 0.5})],
    ids=["ImageNet-1K", "Tiny-ImageNet"],
)
@pytest.mark.parametrize("ipc", [1, 10, 50])
def test_many_classes(preset, classes, size, model, differs, ipc, tmp_path):
    """As published, and the same that the cell of a folder with such images runs."""
    data, published = blank(classes, size, each=50), CFM(**{"lr": 0.1, "group": 200} | differs)
    assert CFM.preset(preset).settled(data) == published
    assert CFM.preset(preset, beta=0.2).beta == 0.2
    made = Cell.of(dataset=str(tmp_path), model=model, ipc=ipc, budget="large", settings=differs)
    assert made.method.settled(data) == published
    assert made.run(3) == Run(ipc, seed=3)
    assert made.method.start(data, made.run(3)).sizes == (200,) * (classes // 200 * ipc)
    student = {"epochs": 300, "batch": 100, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 1e-2}
    assert made.student(data) == TrainConfig(**student, period=2.0, crop="resized", cutmix=True)


# ------------------------------------------------------------------------------------------------ the cell


def test_settings_change_the_method_and_nothing_else():
    made = Cell.of(method="hfm", ipc=2, budget="smoke", settings={"beta": 0.7, "signal": "class"})
    assert made.method == HFM(steps=BUDGETS["smoke"].method["steps"], beta=0.7, signal="class")
    assert made.run(5) == Run(ipc=2, seed=5)
    assert Cell.of(method="toys.Chosen", ipc=2).method == Chosen()


def test_a_budget_changes_only_what_a_method_has():
    for name, budget in BUDGETS.items():
        own = {field.name for field in dataclasses.fields(CFM)} & set(budget.method)
        assert budgeted(CFM, name) == CFM(**{field: budget.method[field] for field in own})
        assert budgeted(CFM, name, steps=7).steps == 7
        assert budgeted(Chosen, name) == Chosen()


def test_the_large_budget_leaves_the_published_batch_of_those_who_recover_images():
    for name in ("sre2l", "cda", "fadrm"):
        assert budgeted(find(name), "large").group == 100
        assert budgeted(find(name), "large", group=50).group == 50
    assert budgeted(CFM, "large").group == 200


BAD = [
    ({"dataset": "cifar11"}, "cifar11.*photos"),
    ({"dataset": "nowhere/at/all"}, "nowhere"),
    ({"method": "alchemy"}, "alchemy.*cfm"),
    ({"budget": "lavish"}, "lavish.*smoke"),
    ({"ipc": 0}, "ipc"),
    ({"ipc": -3}, "ipc"),
    ({"ipc": 1.0}, "ipc"),
    ({"ipc": "1"}, "ipc"),
    ({"ipc": True}, "ipc"),
    ({"ipc": None}, "ipc"),
    ({"method": "toys.Chosen", "ipc": 0}, "ipc"),
    ({"method": "toys.Chosen", "ipc": None}, "ipc"),
    ({"method": "toys.Whole", "ipc": 1}, "ipc"),
    ({"seeds": ()}, "seeds"),
    ({"seeds": [-1]}, "seeds"),
    ({"seeds": [0.5]}, "seeds"),
    ({"seeds": [0, 0]}, "seeds"),
    ({"seeds": "012"}, "seeds"),
    ({"seeds": 3}, "seeds"),
    ({"seeds": None}, "seeds"),
    ({"regimes": []}, "regimes"),
    ({"regimes": "hard"}, "regimes"),
    ({"regimes": ["soft"]}, "soft.*fixed-soft"),
    ({"settings": {"bta": 0.1}}, "bta.*beta"),
    ({"settings": {"seed": 1}}, "seed"),
    ({"settings": {"ipc": 1}}, "ipc"),
    ({"settings": {"beta": -0.1}}, "beta"),
    ({"settings": {"filter": "sharp"}}, "filter"),
    ({"method": "toys.Whole", "ipc": None, "settings": {"bta": 0.1}}, "bta"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda value: json.dumps(value) if value else "")
def test_a_wrong_parameter_is_an_error_before_anything_runs(changes, message):
    with pytest.raises(ValueError, match=message):
        Cell.of(**changes)
    with pytest.raises(ValueError, match=message):
        Cell.from_namespace(changes | {"_hidden": 1, "load": load})


@pytest.mark.parametrize("settings", [{"beta": "0.5"}, {"steps": 1.5}, {"emu": "no"}, {"filter": None}])
def test_a_setting_of_the_wrong_type_is_one_clear_error(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        Cell.of(settings=settings)


def test_an_unknown_parameter_lists_the_known_ones():
    wrong = {"icp": 1, "methd": "cfm", "seeds": [0]}
    for make in (lambda given: Cell.of(**given), Cell.from_namespace):
        with pytest.raises(ValueError, match=r"unknown parameter icp, methd") as caught:
            make(wrong)
        assert all(name in str(caught.value) for name in Cell.of().parameters())


def test_a_namespace_is_a_notebooks():
    namespace = {
        "__name__": "__main__",
        "_": 3,
        "_i1": "ipc = 2",
        "In": ["…"],
        "Out": {},
        "out": "a.json",
        "json": json,
        "Cell": Cell,
        "dataset": "digits",
        "method": "lfm",
        "ipc": 2,
        "seeds": [4, 5],
        "settings": {},
    }
    made = Cell.from_namespace(namespace, beside=("out",))
    assert made == Cell.of(dataset="digits", method="lfm", ipc=2, seeds=(4, 5))
    with pytest.raises(ValueError, match="unknown parameter out"):
        Cell.from_namespace(namespace)


def test_a_folder_is_a_data_set(tmp_path):
    assert Cell.of(dataset=str(tmp_path)).dataset == str(tmp_path)
    assert set(NAMES) == {"photos", "digits", "fashion-mnist", "cifar10", "cifar100", "tiny-imagenet", "imagenet"}


@pytest.mark.parametrize("method", ["cfm", "relative", "toys.Chosen", "toys.Whole"])
def test_a_cell_comes_back_from_its_plain_parameters(method):
    regimes = ["fixed-soft", "hard"]
    made = Cell.of(method=method, dataset="digits", seeds=(3, 1), budget="smoke", suite="mine", regimes=regimes)
    plain = json.loads(json.dumps(made.parameters()))
    assert Cell.of(**plain) == made
    assert plain["method"] == method
    assert made.ipc == (None if method == "toys.Whole" else 1)
    assert made.regimes == (("hard",) if method == "toys.Whole" else ("fixed-soft", "hard"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", ["cfm", "toys.Whole"])
def test_a_cell_under_a_protocol_comes_back_from_its_plain_parameters(method, protocol):
    made = Cell.of(method=method, dataset="digits", protocol=protocol)
    assert Cell.of(**json.loads(json.dumps(made.parameters()))) == made
    assert made.protocol == protocol


def test_check_finds_what_would_fail_later(digits):
    Cell.of(dataset="digits", ipc=100).check(digits)
    for method in ("cfm", "toys.Chosen"):
        with pytest.raises(ValueError, match="ipc"):
            Cell.of(dataset="digits", method=method, ipc=1000).check(digits)
    with pytest.raises(ValueError, match="convent"):
        Cell.of(dataset="digits", model="convent").check(digits)
    with pytest.raises(ValueError, match="squeezenet1_1"):
        Cell.of(dataset="digits", model="squeezenet1_1").check(digits)


@pytest.fixture(scope="module")
def smoke(digits) -> tuple[Cell, Teacher]:
    """A cell, and the teacher of its second repetition."""
    made = Cell.of(dataset="digits", ipc=2, seeds=(0, 1), budget="smoke")
    return made, made.teacher(digits, 1, progress=False)


def test_a_set_carries_its_cell(digits, smoke):
    made, teacher = smoke
    result = made.distill(1, digits, teacher)
    assert len(result) == 20
    assert result.config["seed"] == 1
    assert result.config["steps"] == BUDGETS["smoke"].method["steps"]
    assert result.config["cell"] == made.parameters()
    assert result.teacher == teacher.card()
    json.dumps(result.config)


def test_both_label_regimes_with_one_student_each(digits, smoke, monkeypatch):
    made, teacher = smoke
    images = made.distill(0, digits, teacher)
    calls = []

    def evaluate(*task, teacher, progress):
        calls.append((task, teacher))
        return [float(len(calls))]

    monkeypatch.setattr(cells, "evaluate_images", evaluate)
    assert made.accuracies(images, digits, teacher, 7, progress=False) == {"hard": 1.0, "online-soft": 2.0}
    task = (images.images, images.labels, digits, made.network(), made.student(digits), [7])
    assert calls == [(task, None), (task, teacher.model)]


def test_the_teacher_is_trained_as_the_budget_says(digits, monkeypatch):
    monkeypatch.setattr(cells, "teacher", lambda *given, seed: (*given, seed))
    for name, budget in BUDGETS.items():
        published = {"lr": 0.2, "weight_decay": 1e-4, "crop": "resized"} if name == "large" else {}
        training = TrainConfig(epochs=budget.teacher, **published)
        expected = (digits, ModelConfig("resnet18", width=budget.width), training)
        made = Cell.of(dataset="digits", model="resnet18", budget=name, seeds=(4, 2))
        assert made.teacher(digits) == (*expected, 4), "of the first repetition"
        assert made.teacher(digits, 2) == (*expected, 2)


# ---------------------------------------------------------------------------------------------- a whole run


@pytest.mark.slow
def test_a_run_is_a_record_of_its_cell(digits, smoke, tmp_path):
    made, _ = smoke
    record = unidd.run(made, digits, sets=tmp_path / "set")
    assert (record.suite, record.dataset, record.model) == ("local", "digits", "convnet")
    assert (record.method, record.role, record.ipc, record.seeds) == ("cfm", "method", 2, [0, 1])
    assert {regime: len(values) for regime, values in record.accuracy.items()} == {"hard": 2, "online-soft": 2}
    assert all(0 <= value <= 100 for values in record.accuracy.values() for value in values)
    assert Cell.of(**record.config["cell"]) == made
    assert record.config["method"]["lr"] == 0.25, "settled"
    assert record.config["student"] == dataclasses.asdict(made.student(digits))
    teachers = [made.teacher(digits, seed, progress=False) for seed in (0, 1)]
    assert record.teachers == [one.card() for one in teachers]
    assert [(card["seed"], card["accuracy"]) for card in record.teachers] == [
        (k, one.accuracy) for k, one in enumerate(teachers)
    ]
    assert record.teachers[0]["hash"] != record.teachers[1]["hash"]
    assert set(record.seconds) == {"distill", "students"}
    network = sum(4 * p.numel() for p in teachers[1].model.parameters())
    assert (record.bytes["images"], record.bytes["hard"], record.bytes["fixed-soft"]) == (20 * 64, 20, 20 * 10 * 4)
    assert record.bytes["online-soft"] > network, "with what batch norm keeps"
    assert 10**7 < record.memory < 10**11
    assert record.code == code_hash("unidd.methods.cfm", "unidd.bench.cell")
    save_record(record, tmp_path / "one.json")
    assert load_record(tmp_path / "one.json") == record
    assert SyntheticSet.load(tmp_path / "set").config["seed"] == 1, "of the last seed"
    for k, (seed, own) in enumerate(zip(record.seeds, teachers, strict=True)):
        images = made.distill(seed, digits, own)
        again = made.accuracies(images, digits, own, seed, progress=False)
        assert again == {regime: values[k] for regime, values in record.accuracy.items()}


def measured(record: Record) -> tuple:
    return record.accuracy, record.teachers, record.config, record.bytes, record.seeds


def cut_off(monkeypatch, holder, name: str, at: int) -> None:
    """Interrupt what is called for the time `at`, once."""
    times, do = iter(range(1000)), getattr(holder, name)

    def once(*given, **options):
        if next(times) == at:
            raise KeyboardInterrupt
        return do(*given, **options)

    monkeypatch.setattr(holder, name, once)


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize(
    "what", [(Checkpoint, "save"), (cells, "students"), (SyntheticSet, "save")], ids=lambda w: w[1]
)
def test_a_run_that_is_cut_off_goes_on_and_ends_as_if_nothing_had_happened(what, at, digits, tmp_path, monkeypatch):
    made = Cell.of("cfm", budget="smoke", dataset="digits", ipc=2, seeds=[0, 1])
    where = {"sets": tmp_path / "set", "kept": tmp_path / "kept"}
    whole = unidd.run(made, digits, sets=tmp_path / "whole")
    cut_off(monkeypatch, *what, at)
    asked = []
    monkeypatch.setattr(CFM, "distill", lambda *given, do=CFM.distill: asked.append(given[-1].seed) or do(*given))
    try:
        record = unidd.run(made, digits, **where)
    except KeyboardInterrupt:
        done = list(where["kept"].glob("*.json"))
        before = asked.copy()
        record = unidd.run(made, digits, **where)
        assert asked == [*before, *[0, 1][len(done) :]], "a repetition that is done is not done again"
    else:
        assert at >= {"save": 1, "students": 2}[what[1]]
    assert measured(record) == measured(whole)
    assert torch.equal(SyntheticSet.load(where["sets"]).images, SyntheticSet.load(tmp_path / "whole").images)
    assert {path.suffix for path in where["kept"].iterdir()} == {".json"}, "no state is left"


def test_what_is_kept_is_of_the_same_work_alone(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "evaluate_images", lambda *_, **__: [50.0])
    asked = []
    do = Chosen.distill
    monkeypatch.setattr(Chosen, "distill", lambda *given: asked.append(given[-1].seed) or do(*given))
    task = {"dataset": "digits", "budget": "smoke", "regimes": ("hard",)}

    def made_again(**changes) -> list[int]:
        asked.clear()
        unidd.run(Cell.of("toys.Chosen", **task | changes), digits, kept=tmp_path)
        return asked.copy()

    assert made_again(seeds=(0, 1)) == [0, 1]
    assert made_again(seeds=(1, 0, 2), suite="other") == [2], "one more, under another heading"
    for changes in ({"ipc": 2}, {"budget": "embedded"}, {"protocol": "dc"}, {"regimes": ("hard", "online-soft")}):
        monkeypatch.setattr(cells, "teacher", lambda *_, seed, **__: Teacher(Identity(), seed=seed))
        assert made_again(seeds=(1,), **changes) == [1], changes
    monkeypatch.setattr(cells, "code_hash", lambda *_: "of other code")
    assert made_again(seeds=(1,)) == [1]


def test_a_set_that_is_gone_is_made_again(digits, tmp_path):
    made = Cell.of("random", budget="smoke", dataset="digits", seeds=[0], regimes=("hard",))
    for _ in range(2):
        unidd.run(made, digits, sets=tmp_path / "set", kept=tmp_path / "kept")
        shutil.rmtree(tmp_path / "set")
    unidd.run(made, digits, sets=tmp_path / "set", kept=tmp_path / "kept")
    assert len(SyntheticSet.load(tmp_path / "set")) == 10


def test_a_run_that_cannot_end_well_does_not_begin(digits, monkeypatch):
    monkeypatch.setattr(cells, "teacher", lambda *_, **__: pytest.fail("a teacher is trained"))
    for wrong in ({"ipc": 1000}, {"model": "convent"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            unidd.run(Cell.of(dataset="digits", **wrong), digits)


def test_nobody_teaches_where_nobody_looks(digits, monkeypatch):
    """All images with hard labels; but random ones with soft labels have a teacher, each repetition its own."""
    monkeypatch.setattr(cells, "evaluate_images", lambda *_, **__: [50.0])
    asked = []
    monkeypatch.setattr(cells, "teacher", lambda *_, seed, **__: asked.append(seed) or Teacher(Identity(), seed=seed))
    task = {"dataset": "digits", "budget": "smoke", "seeds": (3, 1)}
    whole = unidd.run(Cell.of(method="toys.Whole", **task), digits)
    assert whole.teachers == []
    assert whole.bytes == {"images": 1437 * 64, "hard": 1437, "fixed-soft": 1437 * 40}, "of no teacher"
    assert unidd.run(Cell.of(method="toys.Chosen", **task, regimes=("hard",)), digits).teachers == []
    assert asked == []
    record = unidd.run(Cell.of(method="toys.Chosen", **task, regimes=("hard", "fixed-soft")), digits)
    assert asked == [card["seed"] for card in record.teachers] == [3, 1]
    assert record.accuracy == {"hard": [50.0, 50.0], "fixed-soft": [50.0, 50.0]}


def test_the_parts_of_a_run_from_python(digits, smoke):
    made, teacher = smoke
    task = {"budget": "smoke", "progress": False}
    assert unidd.teach(digits, seed=1, **task).card() == teacher.card()
    images = unidd.distill(digits, "cfm", ipc=2, seed=1, **task)
    assert torch.equal(images.images, made.distill(1, digits, teacher).images)
    found = unidd.evaluate(images, digits, regimes=("hard", "online-soft"), seeds=(1,), **task)
    assert {regime: values[0] for regime, values in found.items()} == made.accuracies(
        images, digits, teacher, 1, progress=False
    )
    drawn = unidd.distill(digits, "toys.Chosen", seed=1, **task)
    assert cells.teacher_of(drawn, digits, "convnet", "smoke", progress=False).card() == teacher.card()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "alchemy"}, "unknown method 'alchemy'"),
        ({"bta": 0.1}, "unknown parameter bta: choose from .*beta"),
        ({"beta": -1.0}, "beta must be"),
        ({"ipc": 1000}, r"ipc must be 1 … \d+"),
        ({"ipc": 0}, "ipc must be at least 1"),
        ({"seed": -1}, "seed must be"),
        ({"budget": "lavish"}, "unknown budget 'lavish'"),
        ({"model": "convent"}, "unknown model 'convent'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_distilling_from_python_refuses_before_a_teacher_is_trained(digits, monkeypatch, changes, message):
    monkeypatch.setattr(cells, "teacher", lambda *_, **__: pytest.fail("a teacher is trained"))
    with pytest.raises(ValueError, match=message):
        unidd.distill(digits, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regimes": ("soft",)}, "unknown label regime 'soft': choose one of hard, fixed-soft, online-soft"),
        ({"seeds": (0, 0)}, "seeds must be"),
        ({"budget": "lavish"}, "unknown budget 'lavish'"),
        ({"model": "convent"}, "unknown model 'convent'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_evaluating_from_python_refuses_before_a_student_is_trained(digits, monkeypatch, changes, message):
    monkeypatch.setattr(cells, "evaluate_images", lambda *_, **__: pytest.fail("a student is trained"))
    with pytest.raises(ValueError, match=message):
        unidd.evaluate(SyntheticSet.from_real(digits, 1), digits, **changes)


def test_what_people_type_is_in_the_package_itself():
    for name in unidd.__all__:
        assert name in dir(unidd)
        assert inspect.getdoc(getattr(unidd, name)), name
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        unidd.distil  # noqa: B018
    assert unidd.Cell is Cell
    assert Record.__name__ not in unidd.__all__
