"""Experts against plain descent written out, and the store they are kept in: cut off, shared, damaged, full."""

import dataclasses
import errno
import threading
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
import toys

from unidd.data.siamese import STRATEGY, Siamese
from unidd.networks import trajectories
from unidd.networks.models import ModelConfig, build
from unidd.networks.trajectories import ExpertConfig, Experts

CONFIG = ExpertConfig(ModelConfig(width=4, norm="instance"), batch=8)  # three steps an epoch


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trained(monkeypatch):
    """Seeds of the epochs that are trained, one after another."""
    seeds, epoch = [], Experts._epoch
    monkeypatch.setattr(
        Experts, "_epoch", lambda self, generator: (seeds.append(generator.initial_seed()), epoch(self, generator))
    )
    return seeds


def experts(count: int = 1, config: ExpertConfig = CONFIG, **options) -> Experts:
    return Experts(toys.data(), config, count, **options)


def drawn(number: int) -> torch.nn.Module:
    return build(CONFIG.model, 3, toys.SIZE, toys.CLASSES, number)


def vector(network) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def column(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(3, 1, 1)


# ----------------------------------------------------------------------------------------------- the training


@pytest.mark.parametrize("strategy", ["none", "flip_scale", STRATEGY])
def test_an_epoch_is_plain_descent_on_augmented_images(monkeypatch, strategy):
    """In float64, against torch's SGD without momentum; every image draws its own parameters."""
    data = toys.data()
    split = dataclasses.replace(data.train, images=data.train.images.double() / 255)
    exact = dataclasses.replace(data, train=split, test=split, normalisation=(data.mean, data.std))
    monkeypatch.setattr(trajectories, "build", lambda *asked: build(*asked).double())
    config = dataclasses.replace(CONFIG, strategy=strategy, lr=0.1)
    found = Experts(exact, config, 3)
    network, views = build(config.model, 3, toys.SIZE, toys.CLASSES, 2).double(), Siamese(strategy)
    sgd = torch.optim.SGD(network.parameters(), 0.1)
    for epoch in range(3):
        torch.testing.assert_close(found.parameters(2, epoch), vector(network), rtol=1e-9, atol=1e-12)
        generator = torch.Generator().manual_seed(2 * 2**20 + epoch + 1)
        order = torch.randperm(20, generator=generator)
        for first in (0, 8, 16):
            index = order[first : first + 8]
            x = (split.images[index] - column(data.mean)) / column(data.std)
            view = views.draw(generator, len(index))
            sgd.zero_grad()
            F.cross_entropy(network(view(x)), split.labels[index]).backward()
            sgd.step()


def test_experts_start_as_their_seed_draws_them_and_go_their_own_way():
    several = experts(2)
    ends = [several.parameters(number, 2) for number in range(2)]
    for number in range(2):
        assert torch.equal(several.parameters(number, 0), vector(drawn(number)))
        assert not torch.equal(several.parameters(number, 1), several.parameters(number, 0))
    moved = [end - several.parameters(number, 0) for number, end in enumerate(ends)]
    assert F.cosine_similarity(*moved, dim=0) < 0.9


@pytest.mark.parametrize("repetition", [1, 2**40])
def test_the_experts_of_a_repetition_are_its_own(repetition, trained):
    mine, first = (Experts(toys.data(), CONFIG, 2, seed) for seed in (repetition, 0))
    ends = [each.parameters(number, 1) for each in (mine, first) for number in range(2)]
    assert len({tuple(end.tolist()) for end in ends}) == len(set(trained)) == 4
    seeds = [mine.seed(number) for number in range(200)]
    assert len({*seeds, *range(200)}) == 400
    assert torch.equal(mine.parameters(1, 0), vector(drawn(seeds[1])))


def test_outputs_are_those_of_the_network_with_these_parameters():
    several, x = experts(), toys.randn(3, 3, toys.SIZE, toys.SIZE, dtype=torch.float32)
    network = drawn(5)
    torch.testing.assert_close(several.outputs(vector(network), x), network(x))
    assert torch.equal(several.parameters(0, 0), vector(drawn(0))), "and its own are as they were"


def test_the_global_generator_belongs_to_the_caller():
    torch.manual_seed(4)
    before = torch.get_rng_state()
    experts().train(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_trial_step_is_not_kept(tmp_path):
    several = experts()
    several.trial()
    assert not list((tmp_path / "cache").rglob("epoch*"))
    assert torch.equal(several.parameters(0, 0), vector(drawn(0)))


# ----------------------------------------------------------------------------------------------- the store


def test_what_is_there_is_not_trained_again_and_a_longer_way_goes_on(trained):
    experts(2).train(2)
    assert trained == [1, 2, 2**20 + 1, 2**20 + 2]
    experts(2).train(2)
    experts(2).parameters(1, 2)
    assert len(trained) == 4
    assert (experts(2).missing(3), experts(3).missing(2)) == (2, 2)
    experts(3).train(3)
    assert trained[4:] == [3, 2**20 + 3, 2**21 + 1, 2**21 + 2, 2**21 + 3]


@pytest.mark.parametrize("after", range(1, 7))
def test_killed_and_resumed_it_gives_the_same_bits_and_trains_only_the_rest(tmp_path, monkeypatch, trained, after):
    whole = experts(2, cache=tmp_path / "whole")
    whole.train(2)
    trained.clear()
    keep, kept = Experts._keep, []

    def killed(self, *what):
        kept.append(keep(self, *what))
        if len(kept) == after:
            raise KeyboardInterrupt
        return kept[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Experts, "_keep", killed)
        with pytest.raises(KeyboardInterrupt):
            experts(2).train(2)
    experts(2).train(2)
    assert sorted(trained) == [1, 2, 2**20 + 1, 2**20 + 2], "each epoch once"
    for number in range(2):
        for epoch in range(3):
            assert torch.equal(experts(2).parameters(number, epoch), whole.parameters(number, epoch))


def test_an_epoch_that_was_cut_off_is_begun_again(tmp_path, monkeypatch):
    step, taken = Experts._step, []

    def killed(self, *what):
        taken.append(step(self, *what))
        if len(taken) == 5:  # within the second epoch
            raise KeyboardInterrupt

    several = experts()
    with monkeypatch.context() as patch:
        patch.setattr(Experts, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            several.train(2)
    assert several.path(0, 1).exists()
    assert not several.path(0, 2).exists()
    whole = experts(cache=tmp_path / "whole")
    assert torch.equal(several.parameters(0, 2), whole.parameters(0, 2))


def test_what_a_killed_process_was_writing_is_swept_away():
    several = experts()
    several.train(1)
    left = several.folder(0) / ".epoch-002.safetensors-abc"
    left.mkdir()
    (left / "epoch-002.safetensors").write_bytes(b"half of it")
    experts().train(2)
    names = sorted(path.name for path in several.folder(0).iterdir())
    assert names == ["card.json", *(f"epoch-00{epoch}.safetensors" for epoch in range(3))]


def cut(content: bytes) -> bytes:
    return content[:-100]


def flipped(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize("damage", [cut, flipped, lambda _: b"", lambda _: b"no tensors at all" * 9])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_damaged_file_is_found_told_and_made_again(damage, epoch, trained, capsys):
    several = experts()
    before = several.parameters(0, 2), several.parameters(0, epoch)
    trained.clear()
    path = several.path(0, epoch)
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert torch.equal(several.parameters(0, epoch), before[1])
    assert capsys.readouterr().err.count(f"{path} is damaged") == 1
    assert trained == [epoch] * bool(epoch), "and no other epoch"
    assert path.read_bytes() == content
    assert torch.equal(experts().parameters(0, 2), before[0])
    assert not capsys.readouterr().err


def test_a_file_that_is_gone_is_made_again_from_the_one_before(trained):
    several = experts()
    before = [several.parameters(0, epoch) for epoch in range(4)]
    trained.clear()
    several.path(0, 2).unlink()
    assert several.missing(3) == 1
    several.train(3)
    assert trained == [2]
    assert all(torch.equal(several.parameters(0, epoch), before[epoch]) for epoch in range(4))


def test_all_that_decides_an_expert_is_in_its_key():
    data = toys.data()
    other = dataclasses.replace(data, train=data.train.take(torch.arange(19)))
    scaled = dataclasses.replace(data, normalisation=((0.5,) * 3, (0.5,) * 3))
    changes = [{"lr": 0.02}, {"batch": 9}, {"strategy": "flip"}, {"model": ModelConfig(width=5, norm="instance")}]
    configs = [CONFIG, *(dataclasses.replace(CONFIG, **change) for change in changes)]
    folders = {Experts(each, config, 1).folder(0) for each in (data, other, scaled) for config in configs}
    folders |= {Experts(data, CONFIG, 2).folder(1), *(Experts(data, CONFIG, 1, seed).folder(0) for seed in (1, 2**40))}
    assert len(folders) == 3 * 5 + 3
    renamed = dataclasses.replace(data, name="another")
    assert Experts(renamed, CONFIG, 7).folder(0) == Experts(data, CONFIG, 1).folder(0), "nor count nor name"


def test_one_process_trains_an_expert_and_others_find_it(trained, capsys):
    here, there = experts(), experts()
    with here._alone(0):
        thread = threading.Thread(target=there.train, args=(2,))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        for epoch in range(3):
            here._made(0, epoch)
    thread.join(20)
    assert not thread.is_alive()
    assert trained == [1, 2]
    assert "waiting for it" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------- no place to keep them


def test_a_cache_that_cannot_be_written_is_said_before_training(tmp_path, trained):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="choose another folder"):
        experts(cache=tmp_path / "file").train(1)
    assert not trained


def test_a_disk_without_room_is_said_before_training(monkeypatch, trained):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(trajectories.shutil, "disk_usage", lambda _: usage(10**3))
    with pytest.raises(OSError, match=r"0 MB are free: make room, or set UNIDD_CACHE"):
        experts(9).train(9)
    assert not trained


def test_a_disk_that_fills_up_leaves_what_is_whole(monkeypatch, trained):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    experts().train(1)
    with monkeypatch.context() as patch:
        patch.setattr(trajectories, "save_file", full)
        with pytest.raises(OSError, match=r"No space left.*make room"):
            experts().train(2)
    experts().train(2)
    assert trained == [1, 2, 2], "the first epoch was there"
