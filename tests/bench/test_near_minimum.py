"""The study of fixed networks: its losses are those of the methods, and what it writes down is what was reached."""

import copy
import json
from dataclasses import replace

import near_minimum as bench
import pytest
import torch
import toys
from torch import Generator

from unidd.bench.residuals import measure
from unidd.data.synthetic import SyntheticSet
from unidd.engine.descent import Batch
from unidd.engine.run import Run
from unidd.methods._drawing import Drawing
from unidd.methods._trajectory import TrajectoryMatching
from unidd.methods.dc import DC
from unidd.methods.dm import DM
from unidd.networks.training import NOBODY

RATE = torch.tensor(0.01, dtype=torch.float64).log()
STUDY = bench.Study("toy", 2, "smoke", epochs=(0, 1), bands=2, steps=6, unrolled_steps=4, lr=2e-3)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNIDD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(bench, "load", lambda name: toys.data())


def standing(images: int, epoch: int = 0, dtype: torch.dtype = torch.float64) -> tuple[bench.Place, torch.Tensor]:
    """A place, and the first images of toy data, of which it knows the labels."""
    experts = bench.experts_of(toys.data(), STUDY, 0)
    experts.train(2)
    place = bench.place_of(experts, epoch, toys.data().train.labels[:images], STUDY)
    place.probe.model.to(dtype)
    return place, toys.data().normalise(toys.data().train.images[:images]).to(dtype)


def own_step(place: bench.Place, on: str, x: torch.Tensor, monkeypatch):
    """The first step of the method's own objective, if every network it draws is the one of the place."""
    real, parameters = {"strategy": "none", "batch": 99}, place.experts.parameters
    monkeypatch.setattr(Drawing, "drawn", lambda *_: copy.deepcopy(place.probe.model).requires_grad_())
    monkeypatch.setattr(place.experts, "parameters", lambda number, epoch: parameters(number, epoch + place.epoch))
    objective = {
        "gradients": lambda: DC(**real).objective(toys.data(), NOBODY, Run(2, 0)),
        "means": lambda: DM(**real).objective(toys.data(), NOBODY, Run(2, 0)),
        "trajectory": lambda: TrajectoryMatching(replace(place.method, max_start_epoch=1), place.experts),
    }[on]()
    objective.begin(Batch(0, 0, 0, torch.arange(len(x)), place.labels, 0, (0, len(x)), 1))
    found = objective.step(x, 0, Generator().manual_seed(3))
    monkeypatch.undo()
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
    for kinds in bench.left(place, x).values():
        for values in kinds.values():
            assert values.abs().max() < 1e-4


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

    def breaking(seed, study):
        if done:
            raise KeyboardInterrupt
        done.append(seed)
        return whole(seed, study)

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
        path, own = row["path"], row["losses"][row["on"]]
        assert set(row["losses"]) == names
        assert (path[0]["step"], path[0]["loss"]) == (0, pytest.approx(1, abs=1e-4))
        assert path[-1]["loss"] == pytest.approx(own, rel=1e-3)
        assert own < 1 or row["on"] in ("gradients", "trajectory"), "these are rough on toys"
        assert (row["rate"] != pytest.approx(0.01, rel=1e-3)) == (row["on"] == "trajectory")


def test_what_is_left_at_the_start_is_that_of_random_real_images(tmp_path):
    (first, *_), data = bench.repetition(3, replace(STUDY, epochs=(0,))), toys.data()
    experts = bench.experts_of(data, STUDY, 3)
    start = SyntheticSet.from_real(data, STUDY.ipc, 3)
    place = bench.place_of(experts, 0, start.labels, STUDY)
    expected = {layer: of["clean"] for layer, of in measure(start, place.probe).items()}
    for layer, kinds in first["path"][0]["left"].items():
        for kind, values in kinds.items():
            assert values.tolist() == pytest.approx(expected[layer][kind], rel=1e-3, abs=1e-5)


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do():
    place, x = standing(6, dtype=torch.float32)
    losses = {"means": lambda x, rate: (torch.tensor(torch.nan), x.detach().clone(), rate.clone())}
    with pytest.raises(ValueError, match="means: the loss is no longer finite after 0 steps: lower lr"):
        bench.descended(place, losses, "means", x, STUDY)
