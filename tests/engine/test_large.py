"""Real images that do not fit the memory: their statistics from a DataLoader, in one pass, seen as they come."""

import copy
import dataclasses
import importlib.util
import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from unidd.core.statistics import Moments, real_statistics
from unidd.data.datasets import ImageData, load
from unidd.data.synthetic import SyntheticSet, choose
from unidd.engine.parallel import Ranks
from unidd.engine.realside import kept_statistics, real_side
from unidd.engine.run import Run
from unidd.files import seal, unseal
from unidd.methods.cfm import CFM
from unidd.networks.models import ModelConfig, build, real_batch, tapped_layers
from unidd.networks.training import Teacher


@pytest.fixture(scope="module")
def photos() -> ImageData:
    """30 patches a class, of ten classes: more than the memory is said to hold."""
    data = load("photos")
    return dataclasses.replace(data, train=data.train.take((torch.arange(5000) % 500 < 30).nonzero().flatten()))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(
        build(ModelConfig(width=6), 3, 32, 10, seed=1).eval().requires_grad_(False), 10.0, "0123456789abcdef"
    )


@pytest.fixture
def loader(photos) -> DataLoader:
    """Two workers, a last batch that is smaller."""
    return DataLoader(TensorDataset(photos.train.images, photos.train.labels), batch_size=64, num_workers=2)


def statistics(teacher, photos, batches, signal="mix") -> dict[str, Moments]:
    return real_statistics(teacher.model, batches, tapped_layers(teacher.model), signal, prepare=photos.normalise)


def assert_same(mine: dict[str, Moments], theirs: dict[str, Moments], tolerance: float) -> None:
    assert set(mine) == set(theirs)
    for layer, moments in mine.items():
        assert moments.count == theirs[layer].count
        size = (moments.ffc.trace() + moments.mean.square().sum()).sqrt()
        assert (moments.ffc - theirs[layer].ffc).norm() <= tolerance * size**2
        assert (moments.flc - theirs[layer].flc).norm() <= tolerance * size


class Stream(IterableDataset):
    def __init__(self, split):
        self.split = split

    def __iter__(self):
        return iter(zip(self.split.images, self.split.labels, strict=True))


# ----------------------------------------------------------------------------------------------- one pass, any loader


@pytest.mark.parametrize("signal", ["mean", "class", "mix"])
def test_a_loader_gives_the_statistics_of_the_whole(photos, teacher, loader, signal):
    whole = statistics(teacher, photos, [(photos.train.images, photos.train.labels)], signal)
    assert_same(statistics(teacher, photos, loader, signal), whole, 1e-7)


def test_a_stream_has_no_length(photos, teacher):
    stream = DataLoader(Stream(photos.train), batch_size=100)
    whole = statistics(teacher, photos, [(photos.train.images, photos.train.labels)])
    assert_same(statistics(teacher, photos, stream), whole, 1e-7)


def test_progress_shows_images_a_second_and_the_time_left(
    photos, teacher, loader, capsys, monkeypatch, tmp_path, terminal
):
    statistics(teacher, photos, loader)
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "silent"))
    real_side("mix", photos, teacher.model, Ranks())
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "shown"))
    real_side("mix", photos, teacher.model, Ranks(), progress=True)
    shown = capsys.readouterr().err
    assert re.search(r"real side: .*300/300 \[\d\d:\d\d<\d\d:\d\d, .*images/s\]", shown)
    real_side("mix", photos, teacher.model, Ranks(), progress=True)
    assert capsys.readouterr().err == "", "found in the cache"


def test_kept_statistics_that_are_damaged_or_anothers_are_taken_again(photos, teacher, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path))
    first = real_side("class", photos, teacher.model, Ranks())
    (path,) = (tmp_path / "statistics").iterdir()
    content = unseal(path)
    for damage in (
        lambda: path.write_bytes(path.read_bytes()[:-9]),
        lambda: seal(content | {"identity": {}}, path),
    ):
        damage()
        assert kept_statistics("class", photos, teacher.model) is None
        assert_same(real_side("class", photos, teacher.model, Ranks()), first, 0)
        assert_same(kept_statistics("class", photos, teacher.model), first, 0)


def test_no_images_are_an_error(photos, teacher):
    with pytest.raises(ValueError, match="no real images"):
        statistics(teacher, photos, [])


def test_a_thousand_classes_take_no_row_for_every_position():
    """A column for each class and a row for each of 41 × 224² positions would be 15 GiB."""
    features = torch.ones(41, 1, 224, 224)
    moments = Moments.of(features, torch.eye(1000)[:41])
    assert moments.cross.shape == (1, 1000)
    assert moments.cross[0, :41].eq(224**2).all()
    assert moments.cross[0, 41:].eq(0).all()


def test_large_images_pass_a_few_at_a_time():
    assert real_batch(8) == real_batch(16) == real_batch(64, "cuda") == 500
    assert (real_batch(32), real_batch(64), real_batch(224), real_batch(4000)) == (500, 32, 2, 1)
    assert real_batch(224, "cuda") == 41


# ------------------------------------------------------------------------------------------------------ distillation


def test_distillation_needs_no_more_than_the_starting_images(photos, teacher, loader, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "whole"))
    method = CFM(steps=4, signal="mix", beta=0.05, group=4, precision="float64")
    whole = method.distill(photos, teacher, Run(1))
    chosen = choose(photos, 1)
    few = dataclasses.replace(photos, train=photos.train.take(chosen), normalisation=(photos.mean, photos.std))
    given = statistics(teacher, few, loader)
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "few"))
    result = method.distill(few, teacher, Run(1, statistics=given))
    assert not (tmp_path / "few").exists(), "there is no pass over the few"
    assert (result.images - whole.images).abs().max() < 1e-5
    assert (result.images - SyntheticSet.from_real(few, 1).images).abs().mean() > 0.01
    assert (result.mean, result.std) == (photos.mean, photos.std)


def test_normalisation_is_that_of_the_whole_and_part_of_the_identity(photos):
    few = dataclasses.replace(photos, train=photos.train.take(choose(photos, 1)))
    as_whole = dataclasses.replace(few, normalisation=(photos.mean, photos.std))
    assert few.mean != photos.mean == as_whole.mean
    assert as_whole.std == photos.std
    assert few.fingerprint != as_whole.fingerprint
    assert torch.equal(as_whole.normalise(few.train.images), photos.normalise(few.train.images))
    for wrong in [((0.5,), (0.5,)), ((0.5,) * 3, (0.5,)), ((0.5,) * 3, (0.5, 0.0, 0.5))]:
        with pytest.raises(ValueError, match="3 channels need as many means, and stds above 0"):
            dataclasses.replace(few, normalisation=wrong)


def test_statistics_of_something_else_are_refused(photos, teacher):
    batches = [(photos.train.images, photos.train.labels)]
    other = build(ModelConfig(width=6, depth=4), 3, 32, 10).eval()
    broken = copy.deepcopy(teacher)
    broken.model.features[0].bias.data[0] = math.nan
    for made, signal, message in [
        (teacher, "mean", "another signal than 'class'"),
        (Teacher(other, 10.0, ""), "class", "not of the layers"),
        (broken, "class", "features.4 are not finite"),
    ]:
        given = statistics(made, photos, batches, signal)
        with pytest.raises(ValueError, match=message):
            CFM(steps=1, signal="class").distill(photos, teacher, Run(1, statistics=given))


def test_statistics_change_nothing_where_nothing_is_matched(photos, teacher):
    method = CFM(steps=2, filter="none")
    given = statistics(teacher, photos, [(photos.train.images, photos.train.labels)])
    with_them, without = (method.distill(photos, teacher, Run(1, statistics=s)) for s in (given, None))
    assert torch.equal(with_them.images, without.images)


def test_more_processes_than_images_is_found_before_the_real_side(photos, teacher):
    """There is no other process, so that the pass over the real images, which asks it, would fail otherwise."""
    for group in (1, 3):
        with pytest.raises(ValueError, match="a batch of 1 images cannot be shared by 2 processes"):
            CFM(group=group).distill(photos, teacher, Run(ranks=Ranks(0, 2)))


@pytest.mark.slow
def test_the_benchmark_of_that_shape_runs(capsys):
    """In small: five classes at 72 pixels, in groups of two."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "imagenet_shape.py"
    spec = importlib.util.spec_from_file_location("imagenet_shape", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    found = benchmark.study(classes=5, per_class=2, size=72, group=2, steps=1)
    method = dataclasses.replace(CFM.preset("imagenet", steps=1, group=2), lr=0.1)
    config = dict(found["config"])
    assert config.pop("statistics"), "it was given them"
    assert config == {"method": "cfm", "ipc": 1, "seed": 0, **dataclasses.asdict(method)}
    assert (found["groups"], found["images"], found["real images"]) == (3, 5, 10)
    assert found["moved"] > 0
    assert 0 < found["peaks GiB"]["data and network"] <= found["peak GiB"]
    assert len(found["seconds"]["steps"]) == 3
    json.dumps(found)
