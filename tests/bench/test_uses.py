"""Uses of a few images: τ and forgetting by hand, what a memory may see, verdicts in words, and the records."""

import dataclasses
import json
import math
from itertools import combinations
from pathlib import Path

import pytest
import ranking
import replay
import torch
import toys

from unidd.bench import uses
from unidd.book import plots
from unidd.data.datasets import ImageData, Split
from unidd.methods import find

RESULTS = Path(__file__).resolve().parents[2] / "results" / "studies"
SETS = {"random": "baseline", "herding": "coreset", "dm": "method"}


# ---- by hand


def slow_tau(x, y):
    """Kendall's τ-b pair by pair."""
    signs = [((a > b) - (a < b), (c > d) - (c < d)) for (a, c), (b, d) in combinations(list(zip(x, y, strict=True)), 2)]
    both = sum(s * t for s, t in signs)
    untied = [sum(pair[i] != 0 for pair in signs) for i in (0, 1)]
    return both / math.sqrt(untied[0] * untied[1])


def test_tau_of_four_by_hand():
    """Of six pairs one is ordered otherwise, (5 − 1) / 6; or one is a tie on one side, 5 / √(6 · 5)."""
    assert uses.agreement([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert uses.agreement([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert uses.agreement([1, 2, 3, 4], [1, 2, 3, 3]) == pytest.approx(5 / math.sqrt(6 * 5))
    assert uses.agreement([1, 1, 1], [1, 2, 3]) == 0.0, "it says nothing"


@pytest.mark.parametrize("seed", range(3))
def test_tau_against_slow_pairs(seed):
    x, y = torch.randint(0, 6, (2, 14), generator=torch.Generator().manual_seed(seed)).tolist()
    assert uses.agreement(x, y) == pytest.approx(slow_tau(x, y))


def test_forgetting_is_from_the_best_before_the_last_task():
    rows = [[90.0], [95.0, 80.0], [60.0, 85.0, 70.0]]
    assert uses.average(rows) == pytest.approx((60 + 85 + 70) / 3)
    assert uses.forgetting(rows) == pytest.approx(((95 - 60) + (80 - 85)) / 2)
    assert uses.forgetting([[90.0]]) == 0.0


# ---- sentences on stand-in records


def replayed(gain=0.0, seeds=5, coreset=0.0):
    """ "dm" has `gain` points over random images, give or take, and "herding" has `coreset`."""

    def rows(seed, end):
        return [[99.0], [end + seed, 99.0]]

    ends = {"none": 1.0, "random": 80.0, "herding": 80.0 + coreset, "joint": 95.0}
    found = [
        {
            "seed": seed,
            "tasks": [["a", "b"], ["c", "d"]],
            "accuracy": {name: rows(seed, end) for name, end in ends.items()}
            | {"dm": rows(seed, 80.0 + 2 * gain + (-1) ** seed * 0.5)},
        }
        for seed in range(seeds)
    ]
    sets = {name: {"role": role} for name, role in SETS.items()}
    return {"dataset": "toy", "settings": {"images": 0, "classes": 2, "ipc": 10}, "sets": sets, "rows": found}


@pytest.mark.parametrize(("gain", "side"), [(3.0, "better"), (-3.0, "worse"), (0.0, "not told apart")])
def test_a_memory_gets_the_verdict_of_its_interval(gain, side):
    first, against, beside = uses.replay_sentences(replayed(gain))
    assert "2 tasks of 2 classes, n = 5" in first
    assert "without a memory 51.0 ± 0.8 %" in first
    assert "with 10 random real images a class 90.5 ± 0.8 %, with all 98.0 ± 0.8 %" in first
    assert f"{side}: dm (" in against
    assert ("none of 1" in beside) == (side != "better")
    assert list(uses.replay_table(replayed(gain)).index) == ["none", "random", "herding", "joint", "dm"]


def test_too_few_seeds_have_no_verdict():
    _, against, beside = uses.replay_sentences(replayed(9.0, seeds=3))
    assert against.startswith("Against random images, in points: n = 3, no verdict: dm (+9.")
    assert "better" not in against
    assert beside == "No verdict beside the best coreset, herding."


def test_the_best_coreset_is_a_strict_test():
    assert "none of 1" in uses.replay_sentences(replayed(3.0, coreset=20.0))[2]


def ranked(worse=False, seeds=5):
    """Six architectures; "random" swaps two pairs, other ones in each seed, and "dm" is perfect or upside down."""
    names = [f"net {i}" for i in range(6)]

    def accuracy(order):
        return dict(zip(names, map(float, order), strict=True))

    swapped = [[1, 0, 2, 3, 5, 4], [0, 2, 1, 3, 5, 4], [1, 0, 3, 2, 4, 5], [0, 1, 3, 2, 5, 4], [2, 1, 0, 3, 4, 5]]
    rows = []
    for seed in range(seeds):
        orders = {"full": range(6), "random": swapped[seed], "herding": swapped[seed]}
        orders |= {"dm": range(6, 0, -1) if worse else range(6)}
        seconds = {name: dict.fromkeys(names, 10.0 if name == "full" else 1.0) for name in orders}
        found = {"accuracy": {name: accuracy(order) for name, order in orders.items()}, "seconds": seconds}
        rows.append({"seed": seed, **found, "making": {"random": 0.0, "herding": 6.0, "dm": 24.0}})
    sets = {name: {"role": role} for name, role in SETS.items()}
    about = {"dataset": "toy", "sets": sets, "architectures": {name: {} for name in names}, "images": {"few": 40}}
    return about | {"rows": rows}


@pytest.mark.parametrize(("worse", "side", "tau"), [(False, "better", "1.00"), (True, "worse", "−1.00")])
def test_a_ranking_gets_the_verdict_of_its_interval(worse, side, tau):
    record = ranked(worse)
    ceiling, _, against, *_ = uses.ranking_sentences(record)
    assert "6 architectures, n = 5" in ceiling
    assert f"{side}: dm (" in against
    assert "not told apart: herding (+0.000 [+0.000, +0.000])" in against
    table = uses.ranking_table(record)
    assert table.loc["dm", "τ"] == f"{tau} ± 0.00"
    assert table.loc["full", "τ"] == "1.00 ± 0.00"


def test_a_reference_leaves_out_its_own_seed():
    """Seed 0 ranks upside down: its own mean with the others would agree with it more than theirs does."""
    record = ranked(seeds=2)
    record["rows"][0]["accuracy"]["full"] = {f"net {i}": 10.0 * (6 - i) for i in range(6)}
    assert uses.agreements(record)["full"] == pytest.approx([-1.0, -1.0])
    assert uses.between(record) == pytest.approx([-1.0])
    with pytest.raises(ValueError, match="two seeds"):
        uses.agreements(ranked(seeds=1))


def test_the_best_architecture_on_all_images_stands_first():
    table = uses.accuracies(ranked(worse=True))
    assert list(table.index) == [f"net {i}" for i in (5, 4, 3, 2, 1, 0)]
    assert table.loc["net 5"].to_dict() == {
        "full": "5.0 ± 0.0",
        "random": "4.4 ± 0.5",
        "herding": "4.4 ± 0.5",
        "dm": "1.0 ± 0.0",
    }


def test_time_saved_counts_the_making_of_the_set():
    times = uses.saved(ranked())
    assert times["random"] == (6.0, 10.0, 10.0)
    assert times["herding"] == (6.0, 10.0, 5.0)
    assert times["dm"] == (6.0, 10.0, 2.0)
    record = ranked()
    for row in record["rows"]:
        row["seconds"]["full"]["net 3"] = 50.0
    assert "× 3.3 to × 16.7 faster" in uses.ranking_sentences(record)[-1]
    assert "50 % are of one architecture, net 3." in uses.ranking_sentences(record)[-1]


def test_a_figure_has_a_ring_a_repetition_and_says_what_it_shows():
    chart = plots.repeated({"dm": [1.0, 2.0, 3.0], "random": [1.5]}, "points")
    assert [len(trace.x) for trace in chart.data] == [3, 1, 1, 1]
    assert chart.data[1].error_x.array[0] == pytest.approx(2.484, abs=1e-3), "t of two degrees of freedom"
    assert chart.layout.meta["alt"] == "Points, mean and 95 % interval: dm 2.0 ± 2.5; random 1.5 ± 0.0."


# ---- the studies themselves, on toys


def marked() -> ImageData:
    """Toys whose pixels say the class and the split: 40 k + 1, 2, … in training, and 40 k + 20 in test images."""
    data = toys.data()
    train, test = (
        Split((40 * data.train.labels + own).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 8, 8), data.train.labels)
        for own in (torch.arange(20) // 4 + 1, torch.full((20,), 20))
    )
    return dataclasses.replace(data, train=train, test=test)


SMALL = dataclasses.replace(replay.QUICK, images=0, memories=("none", "random", "herding", "joint"), seeds=(0,))


def test_a_memory_is_of_training_images_of_its_own_task():
    data = marked()
    parts = replay.tasks(data, SMALL, seed=1)
    assert sorted(name for part in parts for name in part.class_names) == sorted(data.class_names)
    network = replay.build(replay.BUDGETS["smoke"].network("convnet"), 3, 8, 4, 0)
    for first, part in zip((0, 2), parts, strict=True):
        for name, count in {"none": 0, "random": 2, "herding": 2, "joint": 5}.items():
            pixels, labels = replay.kept_of(part, name, network, first, SMALL, 0)
            values = (255 * pixels[:, 0, 0, 0]).round().long()
            names = [data.class_names[k] for k in (values // 40).tolist()]
            assert names == [part.class_names[k] for k in labels.tolist()]
            assert torch.bincount(labels, minlength=2).tolist() == [count] * 2
            assert not (values % 40 == 20).any(), "a test image"


def test_teachers_and_methods_see_no_later_class_and_no_test_image(monkeypatch):
    seen = []

    def spied(name):
        cls = find(name)

        class Spy(cls):
            def distill(self, data, teacher, run):
                seen.append((data, teacher))
                return super().distill(data, teacher, run)

        return dataclasses.dataclass(frozen=True)(Spy)

    monkeypatch.setattr(replay, "find", spied)
    data = marked()
    parts = replay.tasks(data, SMALL, seed=1)
    replay.learnt("herding", parts, SMALL, 0)
    assert len(seen) == len(parts) == 2
    first = parts[0].train.images.double().div(255).mean((0, 2, 3))
    for (given, teacher), part in zip(seen, parts, strict=True):
        assert given.class_names == part.class_names
        assert given.test is given.train
        assert torch.equal(given.train.images, part.train.images)
        assert given.mean == pytest.approx(first.tolist()), "of the first task's training images"
        assert teacher.model.head.out_features == 2
    weights = [teacher.model.features[0].weight for _, teacher in seen]
    assert not torch.equal(*weights), "each is the network as it was then"


def test_a_teacher_has_the_outputs_of_its_task():
    network = replay.build(replay.BUDGETS["smoke"].network("convnet"), 3, 8, 4, 0).eval()
    x = toys.rand(3, 3, 8, 8)
    own = replay._narrowed(network, 2, 2)
    assert torch.allclose(own(x), network(x)[:, 2:])
    assert network.head.out_features == 4


def test_small_classes_are_repeated_until_all_are_as_frequent():
    labels = torch.tensor([3, 3, 3, 3, 3, 0, 0, 1])
    own = replay.balanced(labels)
    assert torch.bincount(labels[own]).tolist() == [5, 5, 0, 5]
    assert set(own.tolist()) == set(range(8))


def test_replay_end_to_end_on_toys():
    *_, record = replay.measured(dataclasses.replace(SMALL, seeds=(0, 1)), toys.data())
    assert [row["seed"] for row in record["rows"]] == [0, 1]
    assert all([len(seen) for seen in each] == [1, 2] for row in record["rows"] for each in row["accuracy"].values())
    assert json.loads(json.dumps(record)) == json.loads(json.dumps(record, allow_nan=False))
    assert len(uses.replay_sentences(record)) == 2, "no method, nothing beside the best coreset"


def test_ranking_end_to_end_on_toys():
    study = dataclasses.replace(ranking.QUICK, models=("width 4", "narrow and shallow"))
    *_, record = ranking.measured(study, toys.data())
    assert set(record["rows"][0]["accuracy"]) == {"full", *ranking.SETS}
    assert all(took > 0 for row in record["rows"] for each in row["seconds"].values() for took in each.values())
    assert record["rows"][0]["making"]["herding"] > record["rows"][0]["making"]["random"], "its teacher's time counts"
    assert len(uses.ranking_sentences(record)) == 5
    assert len(uses.ranking_table(record)) == 5


def test_every_architecture_fits_the_digits(digits):
    for config in ranking.ARCHITECTURES.values():
        replay.build(config, digits.channels, digits.size, digits.classes)
    assert len(ranking.Study().models) >= 12


# ---- the published records


@pytest.mark.parametrize("path", sorted((RESULTS / "replay").glob("*.json")), ids=lambda path: path.stem)
def test_published_records_of_replay_are_whole(path):
    record = json.loads(path.read_text())
    assert record["provenance"]["torch"]
    assert len(record["code"]) == 16
    assert [row["seed"] for row in record["rows"]] == record["settings"]["seeds"]
    for row in record["rows"]:
        assert set(row["accuracy"]) == set(replay.MEMORIES)
        tasks = len(row["tasks"])
        assert len({name for task in row["tasks"] for name in task}) == tasks * record["settings"]["classes"]
        for rows in row["accuracy"].values():
            assert [len(seen) for seen in rows] == list(range(1, tasks + 1))
            assert all(0 <= value <= 100 for seen in rows for value in seen)
    assert len({json.dumps(row["tasks"]) for row in record["rows"]}) > 1, "an order of its own"


@pytest.mark.parametrize("path", sorted((RESULTS / "ranking").glob("*.json")), ids=lambda path: path.stem)
def test_published_records_of_ranking_are_whole(path):
    record = json.loads(path.read_text())
    assert record["provenance"]["torch"]
    assert len(record["code"]) == 16
    assert [row["seed"] for row in record["rows"]] == record["settings"]["seeds"]
    names = set(record["architectures"])
    assert len(names) >= 12
    for row in record["rows"]:
        for part in ("accuracy", "seconds"):
            assert all(set(each) == names for each in row[part].values())
    assert len({row["teacher"]["hash"] for row in record["rows"]}) == len(record["rows"]), "a teacher of its own"


def test_what_was_not_run_is_none():
    assert uses.found("replay", "never") is None
