"""Students and their protocols; recipes, budgets, and one cell of a results table."""

import dataclasses
import json

import pytest
import torch

from unidd.bench import configs
from unidd.bench.configs import BUDGETS, METHODS, Benchmark
from unidd.data.datasets import NAMES, ImageData, Split, load
from unidd.data.synthetic import SyntheticSet
from unidd.engine.settings import DistillConfig, class_groups
from unidd.networks import evaluation
from unidd.networks.evaluation import check_fits, evaluate
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import Teacher, TrainConfig

MODEL = ModelConfig(width=4)
BRIEF = TrainConfig(epochs=2, batch=50)


@pytest.fixture
def chosen(digits) -> SyntheticSet:
    return SyntheticSet.from_real(digits, 5)


def run(images, labels, data, seeds=(0,), **options) -> list[float]:
    return evaluate(images, labels, data, MODEL, BRIEF, seeds, progress=False, **options)


# ---------------------------------------------------------------------------------------------- evaluation


def test_one_accuracy_a_seed_whatever_the_other_seeds(digits, chosen):
    task = (chosen.images, chosen.labels, digits)
    torch.manual_seed(1)
    both = run(*task, seeds=(3, 8))
    torch.manual_seed(2)
    assert [*run(*task, seeds=(3,)), *run(*task, seeds=(8,))] == both
    assert run(*task, seeds=(8, 3)) == both[::-1]
    assert all(0 <= value <= 100 for value in both)


def test_students_learn(digits):
    real = digits.train
    config = TrainConfig(epochs=4, batch=64, optimizer="adamw", lr=1e-2)
    (value,) = evaluate(real.images, real.labels, digits, ModelConfig(width=16), config, [0], progress=False)
    assert value > 60, "chance is 10"


def test_the_result_is_the_last_epoch_tested_once(digits, chosen, monkeypatch):
    """Training is over when the test images are first looked at, and they are looked at once."""
    events, train = [], evaluation.train

    def training(model, *args, **kwargs):
        events.append("train")
        return train(model, *args, **kwargs)

    def testing(model, data):
        assert not model.training
        events.append("test")
        return 42.0

    monkeypatch.setattr(evaluation, "train", training)
    monkeypatch.setattr(evaluation, "accuracy", testing)
    assert run(chosen.images, chosen.labels, digits, seeds=(0, 1)) == [42.0, 42.0]
    assert events == ["train", "test"] * 2


def test_students_start_fresh_and_are_given_the_data_sets_normalisation(digits, chosen, monkeypatch):
    starts, inputs = [], []

    def train(model, images, labels, config, *, seed, teacher, progress):
        starts.append(torch.cat([p.flatten() for p in model.parameters()]).clone())
        inputs.append((images, labels, config, teacher, seed))
        return model.eval()

    monkeypatch.setattr(evaluation, "train", train)
    teacher = build(MODEL, 1, 8, 10, seed=0)
    evaluate(chosen.images, chosen.labels, digits, MODEL, BRIEF, [0, 1], teacher=teacher, progress=False)
    teachers = torch.cat([p.flatten() for p in teacher.parameters()])
    assert not torch.equal(starts[0], starts[1])
    assert not any(torch.equal(start, teachers) for start in starts), "not the teacher's initial weights"
    for seed, (images, labels, config, given, used) in enumerate(inputs):
        assert torch.equal(images, digits.normalise(chosen.images))
        assert torch.equal(labels, chosen.labels)
        assert (config, given, used) == (BRIEF, teacher, seed)


def test_bytes_and_fractions_are_the_same_images(digits):
    part = digits.train.take(torch.arange(60))
    assert run(part.images, part.labels, digits) == run(part.images.float() / 255, part.labels, digits)


def test_soft_labels_are_the_teachers(digits, chosen):
    """A student of one who always says the same says the same, whatever labels the images came with."""

    class Always(torch.nn.Module):
        def __init__(self, label: int):
            super().__init__()
            self.label = label

        def forward(self, x):
            return torch.nn.functional.one_hot(torch.full((len(x),), self.label), 10) * 200.0

    config = TrainConfig(epochs=20, batch=50, optimizer="adamw", lr=0.05)
    for k in (3, 8):
        task = (chosen.images, chosen.labels, digits, MODEL, config, [0])
        share = 100 * (digits.test.labels == k).double().mean().item()
        assert evaluate(*task, teacher=Always(k), progress=False) == [pytest.approx(share)]


def test_the_student_may_be_another_architecture(digits, chosen):
    teacher = build(MODEL, 1, 8, 10).eval().requires_grad_(False)
    student = ModelConfig(width=6, depth=2, norm="instance", pooling="max")
    task = (chosen.images, chosen.labels, digits, student, BRIEF, [0])
    assert len(evaluate(*task, teacher=teacher, progress=False)) == 1


def test_progress_names_protocol_and_seed(digits, chosen, capsys):
    evaluate(chosen.images, chosen.labels, digits, MODEL, BRIEF, [7])
    assert "hard-label student 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.rand(4, 3, 8, 8), torch.arange(4), r"\(1, 8, 8\)"),
        (torch.rand(4, 1, 9, 9), torch.arange(4), r"\(1, 8, 8\)"),
        (torch.rand(4, 1, 8, 8), torch.arange(4) + 7, "10 classes"),
        (torch.rand(4, 1, 8, 8) + 1, torch.arange(4), r"\[0, 1\]"),
        (torch.full((4, 1, 8, 8), torch.nan), torch.arange(4), r"\[0, 1\]"),
    ],
)
def test_images_that_do_not_fit_the_data_set(digits, images, labels, message):
    with pytest.raises(ValueError, match=message):
        run(images, labels, digits)


def test_a_set_fits_the_data_it_was_made_from(digits, chosen):
    check_fits(chosen, digits)
    close = dataclasses.replace(chosen, mean=(chosen.mean[0] + 1e-4,))
    check_fits(close, digits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": tuple("abcdefghij")}, "classes"),
        ({"class_names": tuple("1023456789")}, "classes"),
        ({"mean": (0.5,)}, "normalisation"),
        ({"std": (1.0,)}, "normalisation"),
        ({"mean": (float("nan"),)}, "normalisation"),
        ({"std": (float("nan"),)}, "normalisation"),
        ({"images": torch.zeros(50, 1, 6, 6)}, r"\(1, 6, 6\)"),
        ({"images": torch.zeros(50, 3, 8, 8), "mean": (0.3,) * 3, "std": (0.4,) * 3}, r"\(3, 8, 8\)"),
    ],
)
def test_a_set_that_does_not_fit_says_why(digits, chosen, changes, message):
    with pytest.raises(ValueError, match=message):
        check_fits(dataclasses.replace(chosen, **changes), digits)


# ------------------------------------------------------------------------------------------------- recipes


def test_cfm_is_the_published_algorithm():
    assert configs.cfm() == DistillConfig(
        method="cfm",
        ipc=10,
        seed=0,
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
    )


@pytest.mark.parametrize(
    ("method", "differs"),
    [
        ("hfm", {"schedule": "constant"}),
        ("lfm", {"filter": "linear"}),
        ("classification", {"filter": "none", "eta": 0.0}),
        ("random", {"filter": "none", "eta": 0.0, "steps": 0}),
        ("relative", {"schedule": "constant", "beta": 1.0, "beta_unit": "mean", "normalised": True}),
    ],
)
def test_a_recipe_is_a_few_fields_away_from_cfm(method, differs):
    published = dataclasses.asdict(configs.cfm())
    assert dataclasses.asdict(METHODS[method]()) == published | {"method": method} | differs
    changed = METHODS[method](ipc=3, seed=4, lr=0.5)
    assert (changed.method, changed.ipc, changed.seed, changed.lr) == (method, 3, 4, 0.5)


def test_the_recipes_by_name():
    assert set(METHODS) == {"random", "classification", "lfm", "hfm", "cfm", "relative"}
    assert all(METHODS[name]().method == name for name in METHODS)


def test_the_papers_budget_and_protocols(digits):
    paper = Benchmark("digits", ipc=10, budget="paper")
    assert paper.network() == ModelConfig("convnet", width=128, depth=None, norm="batch", pooling="avg")
    assert paper.distillation(0).steps == 1000
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
    assert TrainConfig(epochs=BUDGETS["paper"].teacher) == TrainConfig(
        epochs=200, batch=128, optimizer="sgd", lr=0.1, weight_decay=5e-4, period=1.0, crop="pad", cutmix=False
    )


@pytest.mark.parametrize(
    ("ipc", "classes", "batch"),
    [(1, 10, 10), (10, 10, 50), (50, 10, 100), (1, 100, 20), (10, 100, 100), (50, 100, 200), (1, 3, 3)],
)
def test_the_students_batch_is_the_published_one(digits, ipc, classes, batch):
    labels = torch.arange(classes)
    split = Split(torch.zeros(classes, 1, 8, 8, dtype=torch.uint8), labels)
    data = ImageData("many", split, split, tuple(map(str, range(classes))))
    assert Benchmark(ipc=ipc).student(data).batch == batch


def test_larger_images_take_a_smaller_step(digits):
    split = Split(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.arange(2))
    large = ImageData("large", split, split, ("a", "b"))
    assert Benchmark().distillation(0, large).lr == 0.1
    assert Benchmark().distillation(0, digits).lr == 0.25
    assert Benchmark(settings={"lr": 0.3}).distillation(0, large).lr == 0.3


@pytest.mark.parametrize(
    ("recipe", "classes", "size", "model", "differs"),
    [
        (configs.imagenet, 1000, 224, "resnet18", {}),
        (configs.tiny_imagenet, 200, 64, "convnet", {"beta": 0.5}),
    ],
    ids=["ImageNet-1K", "Tiny-ImageNet"],
)
@pytest.mark.parametrize("ipc", [1, 10, 50])
def test_recipes_for_many_classes(recipe, classes, size, model, differs, ipc, tmp_path):
    """As published, and the same that the benchmark of a folder with such images runs."""
    published = dataclasses.asdict(configs.cfm(ipc=ipc, seed=3)) | {"lr": 0.1, "group": 200} | differs
    assert dataclasses.asdict(recipe(ipc=ipc, seed=3)) == published
    assert recipe(beta=0.2).beta == 0.2
    sizes = [group.stop - group.start for group in class_groups(recipe(), classes)]
    assert sizes == [200] * (classes // 200)

    split = Split(torch.zeros(1, 3, size, size, dtype=torch.uint8).expand(classes, -1, -1, -1), torch.arange(classes))
    data = ImageData("many", split, split, tuple(map(str, range(classes))))
    made = Benchmark(str(tmp_path), model, ipc=ipc, budget="large", settings=differs)
    assert made.distillation(3, data) == recipe(ipc=ipc, seed=3)
    student = {"epochs": 300, "batch": 100, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 1e-2}
    assert made.student(data) == TrainConfig(**student, period=2.0, crop="resized", cutmix=True)


# ----------------------------------------------------------------------------------------------- benchmark


def test_settings_change_the_recipe_and_nothing_else():
    made = Benchmark(method="hfm", ipc=2, budget="smoke", settings={"beta": 0.7, "signal": "class"}).distillation(5)
    assert made == configs.hfm(ipc=2, seed=5, steps=BUDGETS["smoke"].steps, beta=0.7, signal="class")
    assert Benchmark(method="random", ipc=2).distillation(0).steps == 0


BAD = [
    ({"dataset": "cifar11"}, "cifar11.*photos"),
    ({"dataset": "nowhere/at/all"}, "nowhere"),
    ({"method": "mtt"}, "mtt.*cfm"),
    ({"budget": "lavish"}, "lavish.*smoke"),
    ({"ipc": 0}, "ipc"),
    ({"ipc": -3}, "ipc"),
    ({"ipc": 1.0}, "ipc"),
    ({"ipc": "1"}, "ipc"),
    ({"ipc": True}, "ipc"),
    ({"ipc": None}, "ipc"),
    ({"method": "full"}, "ipc"),
    ({"seeds": ()}, "seeds"),
    ({"seeds": [-1]}, "seeds"),
    ({"seeds": [0.5]}, "seeds"),
    ({"seeds": [0, 0]}, "seeds"),
    ({"seeds": "012"}, "seeds"),
    ({"seeds": 3}, "seeds"),
    ({"seeds": None}, "seeds"),
    ({"settings": {"bta": 0.1}}, "bta.*beta"),
    ({"settings": {"seed": 1}}, "seed"),
    ({"settings": {"ipc": 1}}, "ipc"),
    ({"settings": {"beta": -0.1}}, "beta"),
    ({"settings": {"filter": "sharp"}}, "filter"),
    ({"method": "full", "ipc": None, "settings": {"bta": 0.1}}, "bta"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda value: json.dumps(value) if value else "")
def test_a_wrong_parameter_is_an_error_before_anything_runs(changes, message):
    with pytest.raises(ValueError, match=message):
        Benchmark(**changes)
    with pytest.raises(ValueError, match=message):
        Benchmark.from_parameters(changes)
    with pytest.raises(ValueError, match=message):
        Benchmark.from_namespace(changes | {"_hidden": 1, "load": load})


def test_an_unknown_parameter_lists_the_known_ones():
    for make in (Benchmark.from_parameters, Benchmark.from_namespace):
        with pytest.raises(ValueError, match=r"unknown parameter icp, methd") as caught:
            make({"icp": 1, "methd": "cfm", "seeds": [0]})
        assert all(f.name in str(caught.value) for f in dataclasses.fields(Benchmark))


def test_a_namespace_is_a_notebooks():
    namespace = {
        "__name__": "__main__",
        "_": 3,
        "_i1": "ipc = 2",
        "In": ["…"],
        "Out": {},
        "out": "a.json",
        "json": json,
        "Benchmark": Benchmark,
        "dataset": "digits",
        "method": "lfm",
        "ipc": 2,
        "seeds": [4, 5],
        "settings": {},
    }
    made = Benchmark.from_namespace(namespace, beside=("out",))
    assert made == Benchmark("digits", method="lfm", ipc=2, seeds=(4, 5))
    with pytest.raises(ValueError, match="unknown parameter out"):
        Benchmark.from_namespace(namespace)


def test_a_folder_is_a_data_set(tmp_path):
    assert Benchmark(str(tmp_path)).dataset == str(tmp_path)
    assert set(NAMES) == {"photos", "digits", "fashion-mnist", "cifar10", "cifar100"}


def test_check_finds_what_would_fail_later(digits):
    Benchmark("digits", ipc=100).check(digits)
    with pytest.raises(ValueError, match="ipc"):
        Benchmark("digits", ipc=1000).check(digits)
    with pytest.raises(ValueError, match="convent"):
        Benchmark("digits", model="convent").check(digits)
    with pytest.raises(ValueError, match="squeezenet1_1"):
        Benchmark("digits", model="squeezenet1_1").check(digits)


@pytest.fixture(scope="module")
def smoke(digits) -> tuple[Benchmark, Teacher]:
    made = Benchmark("digits", ipc=2, seeds=(0, 1), budget="smoke")
    return made, made.teacher(digits, progress=False)


def test_a_set_carries_its_benchmark(digits, smoke):
    made, teacher = smoke
    result = made.distil(1, digits, teacher, progress=False)
    assert len(result) == 20
    assert result.config["seed"] == 1
    assert result.config["steps"] == BUDGETS["smoke"].steps
    assert result.config["benchmark"] == dataclasses.asdict(made)
    assert result.teacher == teacher.card()
    json.dumps(result.config)


def test_random_is_where_every_distillation_starts(digits, smoke):
    _, teacher = smoke
    images = Benchmark("digits", method="random", ipc=2, budget="smoke").distil(1, digits, teacher, progress=False)
    assert torch.equal(images.images, SyntheticSet.from_real(digits, 2, seed=1).images)


def test_full_is_every_training_image_with_hard_labels_only(digits, smoke):
    _, teacher = smoke
    full = Benchmark("digits", method="full", ipc=None, budget="smoke")
    images = full.distil(0, digits, teacher)
    assert torch.equal((images.images * 255).round().byte(), digits.train.images)
    assert torch.equal(images.labels, digits.train.labels)
    assert full.student(digits).epochs == BUDGETS["smoke"].full
    assert set(full.accuracies(images, digits, teacher, 0, progress=False)) == {"hard"}


def test_both_protocols_with_one_student_each(digits, smoke, monkeypatch):
    made, teacher = smoke
    images = made.distil(0, digits, teacher, progress=False)
    calls = []

    def evaluate(*task, teacher, progress):
        calls.append((task, teacher))
        return [float(len(calls))]

    monkeypatch.setattr(configs, "evaluate", evaluate)
    assert made.accuracies(images, digits, teacher, 7, progress=False) == {"hard": 1.0, "soft": 2.0}
    task = (images.images, images.labels, digits, made.network(), made.student(digits), [7])
    assert calls == [(task, None), (task, teacher.model)]


def test_the_teacher_is_trained_as_the_budget_says(digits, monkeypatch):
    monkeypatch.setattr(configs, "teacher", lambda *given: given)
    for name, budget in BUDGETS.items():
        published = {"lr": 0.2, "weight_decay": 1e-4, "crop": "resized"} if name == "large" else {}
        training = TrainConfig(epochs=budget.teacher, **published)
        expected = (digits, ModelConfig("resnet18", width=budget.width), training)
        assert Benchmark("digits", "resnet18", budget=name).teacher(digits) == expected


@pytest.mark.parametrize("settings", [{"beta": "0.5"}, {"steps": 1.5}, {"emu": "no"}, {"filter": None}])
def test_a_setting_of_the_wrong_type_is_one_clear_error(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        Benchmark(settings=settings)
