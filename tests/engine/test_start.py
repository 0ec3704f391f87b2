"""Where a descent starts: from random real images, or from a set that was made before, by whomever."""

from dataclasses import dataclass, replace

import pytest
import torch
import toys

import unidd
from unidd.data.synthetic import SyntheticSet
from unidd.engine.checkpoint import Checkpoint
from unidd.engine.descent import Start
from unidd.engine.parallel import Ranks
from unidd.engine.run import Run
from unidd.methods.cfm import CFM
from unidd.methods.random import Random

METHOD = CFM(steps=2, shift=1)


def made(ipc: int = 3, order: str = "rounds", names: tuple[str, ...] | None = None) -> SyntheticSet:
    """Images that are no real ones: the class is in the first channel, its how manieth in the second."""
    names = names or toys.data().class_names
    labels = torch.arange(len(names)).repeat(ipc)
    labels = {"rounds": labels, "class by class": labels.sort().values, "mixed": labels.flip(0)}[order]
    images, seen = toys.rand(len(labels), 3, toys.SIZE, toys.SIZE), dict.fromkeys(names, 0)
    for image, name in zip(images, [names[k] for k in labels.tolist()], strict=True):
        image[0] = (toys.data().class_names.index(name.strip()) if name.strip() in toys.data().class_names else 9) / 10
        image[1], seen[name] = seen[name] / 10, seen[name] + 1
    data = toys.data()
    return SyntheticSet(images, labels, names, data.mean, data.std, {"method": "mine", "note": "of a test"})


def run(method: CFM = METHOD, **asked) -> SyntheticSet:
    return method.distill(toys.data(), toys.teacher(), Run(**{"ipc": 3} | asked))


def test_a_set_of_the_real_images_is_the_usual_start_bit_for_bit():
    """Choosing the images oneself changes nothing: every step, the augmentation, the history."""
    usual = run(seed=7)
    given = run(seed=7, start=SyntheticSet.from_real(toys.data(), 3, seed=7))
    assert torch.equal(given.images, usual.images)
    assert torch.equal(given.labels, usual.labels)
    assert given.history == usual.history


@pytest.mark.parametrize("order", ["rounds", "class by class", "mixed"])
@pytest.mark.parametrize("group", [0, 1, 3, 4])
def test_every_batch_has_its_classes_and_rounds(order, group):
    start = Start.from_set(made(order=order), toys.data(), 3, group)
    assert start.given
    place = 0
    for batch in start.batches(Ranks(), 1):
        first = batch.group * (group or 4)
        assert batch.labels.tolist() == list(range(first, min(first + (group or 4), 4)))
        for number, label in zip(batch.numbers.tolist(), batch.labels.tolist(), strict=True):
            assert float(start.images[number, 0, 0, 0]) == pytest.approx(label / 10)
            assert float(start.images[number, 1, 0, 0]) == pytest.approx(batch.b / 10)
        assert batch.place == place
        place += batch.size
    assert place == 12


@pytest.mark.parametrize("group", [0, 3])
def test_no_steps_give_the_set_back_in_rounds(group):
    start = made(order="mixed")
    back = run(CFM(steps=0, group=group), start=start)
    assert back.labels.tolist() == [0, 1, 2, 3] * 3
    assert torch.equal(back.images.flatten(1).sort(0).values, start.images.flatten(1).sort(0).values)
    assert torch.equal((back.images[:, 1, 0, 0] * 10).round().long(), torch.arange(3).repeat_interleave(4))


@pytest.mark.parametrize("names", [("dog", "ant", "cat", "bee"), ("bee", " cat", "dog ", "ant")])
def test_classes_are_matched_by_name(names):
    back = run(CFM(steps=0), start=made(names=names))
    assert back.class_names == toys.data().class_names
    assert torch.equal((back.images[:, 0, 0, 0] * 10).round().long(), back.labels)


def test_accents_have_one_form():
    data = replace(toys.data(), class_names=("ant", "bee", "cat", "caf\u00e9"))
    start = made(names=("cafe\u0301", "ant", "bee", "cat"))
    assert Start.from_set(start, data, 3).labels[:4].tolist() == [3, 0, 1, 2]


def test_the_seed_is_of_the_augmentation_alone():
    still, moving = CFM(steps=0), CFM(steps=2, shift=1)
    assert torch.equal(run(still, start=made(), seed=1).images, run(still, start=made(), seed=2).images)
    assert not torch.equal(run(moving, start=made(), seed=1).images, run(moving, start=made(), seed=2).images)


def test_another_start_is_another_set_and_the_start_stays_as_it_is():
    start = made()
    before = start.images.clone()
    found = run(start=start)
    assert not torch.equal(found.images, run().images)
    assert torch.equal(start.images, before)


def test_more_images_than_a_class_has_real_ones():
    """There are five real ones of each class."""
    assert len(run(CFM(steps=1), ipc=7, start=made(7))) == 28


def test_the_card_says_what_it_started_from_and_what_that_started_from(tmp_path):
    first = made()
    second = run(start=first)
    third = SyntheticSet.load(run(start=second.first(2), ipc=2).save(tmp_path / "set"))
    of = third.config["start"]
    assert of["sha256"] == second.first(2).sha256
    assert of["config"]["first"] == 2
    assert of["teacher"] == second.teacher
    assert of["config"]["start"]["sha256"] == first.sha256
    assert of["config"]["start"]["config"] == {"method": "mine", "note": "of a test"}
    assert SyntheticSet.load(first.save(tmp_path / "first")).sha256 == first.sha256
    assert "start" not in run().config


def test_a_state_of_another_start_is_refused_and_of_the_same_goes_on(tmp_path):
    class Breaking(Checkpoint):
        def save(self, state):
            super().save(state)
            raise KeyboardInterrupt

    start, whole = made(), run(start=made())
    with pytest.raises(KeyboardInterrupt):
        run(start=start, checkpoint=Breaking(tmp_path / "run"), save_every=1)
    for other in (None, replace(start, images=start.images.flip(0)), replace(start, images=start.images * 0.5)):
        with pytest.raises(ValueError, match="unfinished run with another start"):
            run(start=other, checkpoint=Checkpoint(tmp_path / "run"))
    moved = replace(start, config={"method": "mine", "note": "of another place"})
    again = run(start=moved, checkpoint=Checkpoint(tmp_path / "run"), save_every=1)
    assert torch.equal(again.images, whole.images)
    assert again.history == whole.history


def of_shape(*shape: int) -> SyntheticSet:
    channels = shape[0]
    names, moments = toys.data().class_names, ((0.5,) * channels, (0.2,) * channels)
    return SyntheticSet(toys.rand(4, *shape), torch.arange(4), names, *moments)


def without(start: SyntheticSet, k: int) -> SyntheticSet:
    kept = torch.arange(len(start)) != k
    return replace(start, images=start.images[kept], labels=start.labels[kept])


MISFITS = {
    "too many": (made(4), r"has 4 images of 'ant', not 3: take its first 3, as set\.first\(3\) does"),
    "too few": (made(2), "has 2 images of 'ant', not 3: ask for ipc 2"),
    "one less": (without(made(), 6), "has 2 images of 'cat', not 3: ask for ipc 2"),
    "none of a class": (without(made(1), 1), "has 0 images of 'bee', not 3: every class needs one"),
    "another class": (made(names=("ant", "bee", "cat", "cow")), "has no dog and also has cow"),
    "a class too many": (made(names=("ant", "bee", "cat", "dog", "eel")), r"also has eel \(set\.only takes some"),
    "a class too few": (made(names=("ant", "bee", "cat")), "it has no dog"),
    "a class twice": (made(names=("ant", "bee", "cat", "dog", "dog ")), "names a class twice"),
    "larger images": (of_shape(3, 9, 9), r"are \(3, 9, 9\), those of toy \(3, 8, 8\)"),
    "grey images": (of_shape(1, 8, 8), r"are \(1, 8, 8\), those of toy \(3, 8, 8\)"),
}


@pytest.mark.parametrize(("start", "message"), MISFITS.values(), ids=MISFITS)
def test_a_set_that_does_not_fit_is_refused_before_any_work(start, message):
    for method in (METHOD, CFM(steps=0)):
        with pytest.raises(ValueError, match=message):
            method.check(toys.data(), Run(ipc=3, start=start))


def test_what_is_no_set_is_refused():
    with pytest.raises(ValueError, match=r"start must be a set, as SyntheticSet\.load\(folder\) gives it, not 'made'"):
        Run(start="made")


def test_a_method_that_chooses_its_images_has_no_use_for_it():
    with pytest.raises(ValueError, match="'random' takes real images: leave out the set"):
        Random().check(toys.data(), Run(ipc=3, start=made()))

    @dataclass(frozen=True)
    class Own(CFM):
        def start(self, data, run):
            return Start.real(data, run.ipc, run.seed)

    with pytest.raises(ValueError, match="'own' has a start of its own"):
        Own(steps=1).check(toys.data(), Run(ipc=3, start=made()))


def test_from_python_the_number_of_images_is_that_of_the_set():
    data = unidd.load("digits")
    task = {"budget": "smoke", "progress": False, "steps": 0}
    real = SyntheticSet.from_real(data, 2, seed=3)
    assert torch.equal(unidd.distill(data, "cfm", start=real, **task).images, real.images)
    assert len(unidd.distill(data, "cfm", **task)) == 10
    with pytest.raises(ValueError, match="has 2 images of '0', not 1"):
        unidd.distill(data, "cfm", ipc=1, start=real, **task)


def uneven() -> tuple:
    """Data whose second class has one image, and says that this is all it gives."""
    data = toys.data()
    kept = torch.tensor([k for k, label in enumerate(data.train.labels.tolist()) if label != 1 or k == 1])
    return replace(data, train=data.train.take(kept), small="cap"), toys.teacher()


@pytest.mark.parametrize("group", [0, 2])
def test_a_class_with_fewer_images_starts_with_as_many_where_the_data_allow_it(group):
    data, teacher = uneven()
    method = CFM(steps=1, group=group)
    usual = method.distill(data, teacher, Run(3, seed=4))
    again = method.distill(data, teacher, Run(3, seed=4, start=SyntheticSet.from_real(data, 3, seed=4)))
    assert usual.counts == again.counts == [3, 1, 3, 3]
    assert torch.equal(usual.images, again.images)
    assert usual.history == again.history
    on = method.distill(data, teacher, Run(2, start=usual.first(2)))
    assert on.counts == [2, 1, 2, 2]
    with pytest.raises(ValueError, match="has 1 images of 'bee', not 3: ask for ipc 1"):
        method.check(toys.data(), Run(3, start=usual))
