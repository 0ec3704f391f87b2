"""The study of fixed networks: its losses are those of the methods, and what it writes down is what was reached."""

import copy
import json
from dataclasses import asdict, replace
from itertools import pairwise

import near_minimum as bench
import pytest
import torch
import toys
from torch import Generator

from unidd.bench import promise
from unidd.bench.residuals import measure
from unidd.core.bands import band_terms
from unidd.data.datasets import Split, load
from unidd.data.synthetic import SyntheticSet, choose
from unidd.engine.descent import Batch
from unidd.engine.run import Run
from unidd.methods._drawing import Drawing
from unidd.methods._trajectory import TrajectoryMatching
from unidd.methods.dc import DC
from unidd.methods.dm import DM
from unidd.networks.training import NOBODY

RATE = torch.tensor(0.01, dtype=torch.float64).log()
STUDY = bench.Study("toy", 2, "smoke", epochs=(0, 1), bands=2, steps=4, unrolled_steps=3, lr=2e-3)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNIDD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(bench, "load", lambda name: toys.data())


def standing(images: int, epoch: int = 0, dtype: torch.dtype = torch.float64) -> tuple[bench.Place, torch.Tensor]:
    """A place, and the first images of toy data, of which it knows the labels."""
    place = bench.place_of(bench.experts_of(toys.data(), STUDY, 0), epoch, toys.data().train.labels[:images], STUDY)
    place.probe.model.to(dtype)
    return place, toys.data().normalise(toys.data().train.images[:images]).to(dtype)


def own_step(place: bench.Place, on: str, x: torch.Tensor, monkeypatch):
    """The first step of the method's own objective, if every network it draws is the one of the place."""
    real, parameters = {"strategy": "none", "batch": 99}, place.experts.parameters
    with monkeypatch.context() as patch:
        patch.setattr(Drawing, "drawn", lambda *_: copy.deepcopy(place.probe.model).requires_grad_())
        patch.setattr(place.experts, "parameters", lambda number, epoch: parameters(number, epoch + place.epoch))
        objective = {
            "gradients": lambda: DC(**real).objective(toys.data(), NOBODY, Run(2, 0)),
            "means": lambda: DM(**real).objective(toys.data(), NOBODY, Run(2, 0)),
            "trajectory": lambda: TrajectoryMatching(replace(place.method, max_start_epoch=1), place.experts),
        }[on]()
        objective.begin(Batch(0, 0, 0, torch.arange(len(x)), place.labels, 0, (0, len(x)), 1))
        found = objective.step(x, 0, Generator().manual_seed(3))
    return sum(found.terms.values()), found.gradient


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("on", ["gradients", "means", "trajectory"])
def test_a_loss_is_the_methods_own_on_a_network_that_stays(on, epoch, monkeypatch):
    place, x = standing(6, epoch)
    expected, slope = own_step(place, on, x, monkeypatch)
    loss, gradient, of_rate = place.losses()[on](x, RATE)
    assert float(loss) == pytest.approx(float(expected), rel=1e-8)
    torch.testing.assert_close(gradient, slope, rtol=1e-6, atol=1e-12)
    assert (float(of_rate) != 0) == (on == "trajectory")


def test_the_rate_is_learnt_by_its_logarithm():
    place, x = standing(6)
    loss, (low, high) = place.losses()["trajectory"], (RATE - 1e-4, RATE + 1e-4)
    slope = float(loss(x, high)[0] - loss(x, low)[0]) / 2e-4
    assert float(loss(x, RATE)[2]) == pytest.approx(slope, rel=1e-4)


def test_all_images_are_at_the_minimum_of_every_loss_that_compares_them_with_the_data():
    place, x = standing(len(toys.data().train))
    losses, (some, few) = place.losses(), standing(6)
    added = {"gradients": 1e-2}  # by what DC adds to the lengths of gradients, 1e-6
    for on in ("gradients", "means", "correlations"):
        (there, flat, _), (elsewhere, steep, _) = losses[on](x, RATE), some.losses()[on](few, RATE)
        assert float(there) < 0.1 * float(elsewhere)
        assert float(flat.norm()) < added.get(on, 1e-6) * float(steep.norm())
    for measures in bench.left(place, x).values():
        for kinds in measures.values():
            assert all(values.abs().max() < 1e-4 for values in kinds.values())


def test_correlations_are_those_of_every_layer():
    place, x = standing(6)
    expected = 0.0
    for layer, side in place.probe.seen(place.probe.data.denormalise(x), place.labels).items():
        real = place.probe.sides[layer]
        expected += float((real.ffc - side.ffc).norm() ** 2 / real.ffc.norm() ** 2)
        expected += float((real.flc - side.flc).norm() ** 2 / real.flc.norm() ** 2)
    assert len(place.probe.sides) > 2
    assert float(place.losses()["correlations"](x, RATE)[0]) == pytest.approx(expected, rel=1e-5)


def test_a_record_has_every_network_and_loss_and_goes_on_where_it_broke_off(tmp_path, monkeypatch):
    whole, done = bench.repetition, []

    def breaking(seed, *rest):
        if done:
            raise KeyboardInterrupt
        done.append(seed)
        return whole(seed, *rest)

    asked = bench.Asked((0, 1), STUDY, tmp_path / "out" / "toy.json")
    monkeypatch.setattr(bench, "repetition", breaking)
    with pytest.raises(KeyboardInterrupt):
        bench.main(asked)
    monkeypatch.setattr(bench, "repetition", lambda *task: done.append(task[0]) or whole(*task))
    rows = json.loads(bench.main(asked).read_text())["rows"]
    assert done == [0, 1]
    names = {"trajectory", "gradients", "means", "correlations"}
    assert {(row["seed"], row["epochs"], row["on"]) for row in rows} == {
        (seed, epochs, name) for seed in (0, 1) for epochs in (0, 1) for name in names
    }
    for row in rows:
        alike = [other for other in rows if (other["seed"], other["epochs"]) == (row["seed"], row["epochs"])]
        assert all(other["path"][0]["left"] == row["path"][0]["left"] for other in alike), "one start for all"
        assert set(row["before"]) == set(row["after"]) == names
        assert row["path"][-1]["loss"] == pytest.approx(row["after"][row["on"]] / row["before"][row["on"]], rel=1e-2)
        assert row["moved"] > 0
        assert row["shuffled"] != row["path"][-1]["left"]
        assert (row["rate"] == 0.01) == (row["on"] != "trajectory")


@pytest.mark.parametrize("on", ["trajectory", "gradients", "means", "correlations"])
def test_every_loss_falls_on_photographs(on):
    study, photos = replace(STUDY, epochs=(0,), steps=20, unrolled_steps=20, lr=0.02), load("photos")
    few = torch.cat([(photos.train.labels == k).nonzero()[:20, 0] for k in range(photos.classes)])
    data = replace(photos, train=Split(photos.train.images[few], photos.train.labels[few]))
    own = choose(data, 2, 0)
    place = bench.place_of(bench.experts_of(data, study, 0), 0, data.train.labels[own], study)
    x = data.normalise(data.train.images[own])
    path = bench.descended(place, place.losses(), on, x, study)["path"]
    assert path[-1]["loss"] < 0.9


def test_what_is_left_at_the_start_is_that_of_random_real_images():
    (first, *_), data = bench.repetition(3, replace(STUDY, epochs=(0,)), toys.data()), toys.data()
    experts = bench.experts_of(data, STUDY, 3)
    start = SyntheticSet.from_real(data, STUDY.ipc, 3)
    place = bench.place_of(experts, 0, start.labels, STUDY)
    expected = {layer: of["clean"] for layer, of in measure(start, place.probe).items()}
    for layer, measures in first["path"][0]["left"].items():
        for kind, values in measures["residual"].items():
            assert values.tolist() == pytest.approx(expected[layer][kind], rel=1e-3, abs=1e-5)
        side = place.probe.seen(start.images, start.labels)[layer]
        terms = torch.stack(list(measures["term"].values()))
        torch.testing.assert_close(
            terms, band_terms(place.probe.bands[layer], place.probe.sides[layer], side), rtol=1e-4, atol=1e-5
        )


def bowl(x, rate):
    return (x**2).sum(), 2 * x, torch.zeros_like(rate)


def test_halves_of_the_loss_are_written_down_and_the_slope_is_that_of_the_ends():
    place, x = standing(6, dtype=torch.float32)
    study = replace(STUDY, steps=40, lr=0.05)
    found = bench.descended(place, {"bowl": bowl}, "bowl", x, study)
    assert torch.equal(x, standing(6, dtype=torch.float32)[1]), "the start is left as it is"
    losses = [point["loss"] for point in found["path"]]
    assert len(losses) > 3
    assert all(later <= before / 2 for before, later in pairwise(losses[:-1]))
    assert found["path"][-1]["step"] == 40
    assert found["slope"] == pytest.approx(losses[-1] ** 0.5, rel=1e-4), "of a bowl"
    assert found["after"]["bowl"] / found["before"]["bowl"] == pytest.approx(losses[-1], rel=1e-4)


def test_the_control_has_the_same_changes_of_each_image_elsewhere():
    x = torch.arange(24.0).view(2, 3, 2, 2)
    end = x + torch.tensor([0.0, 1, 2, 3]).view(2, 2) * torch.tensor([1.0, 10, 100]).view(3, 1, 1)
    changes = (bench.shuffled(x, end) - x).flatten(2)
    assert torch.equal(changes.sort(2).values, (end - x).flatten(2)), "the same ones"
    assert torch.equal(changes[:, 1], 10 * changes[:, 0]), "channels together"
    assert torch.equal(changes[0], changes[1]), "and all images alike"


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do():
    place, x = standing(6, dtype=torch.float32)
    losses = {"means": lambda x, rate: (torch.tensor(torch.nan), x.detach().clone(), rate.clone())}
    with pytest.raises(ValueError, match="means: the loss is no longer finite after 0 steps: lower lr"):
        bench.descended(place, losses, "means", x, STUDY)


def test_the_published_record_has_every_network_and_loss_of_five_repetitions():
    found, study = promise.found(study="minimum"), bench.Study()
    assert found["settings"] == json.loads(json.dumps(asdict(study)))
    names = {"trajectory", "gradients", "means", "correlations"}
    assert {(row["seed"], row["epochs"], row["on"]) for row in found["rows"]} == {
        (seed, epochs, name) for seed in range(5) for epochs in study.epochs for name in names
    }
    assert all(row["path"][-1]["step"] == study.steps_on(row["on"]) for row in found["rows"])
    assert all(row["after"][row["on"]] < 0.15 * row["before"][row["on"]] for row in found["rows"]), "near the minimum"
