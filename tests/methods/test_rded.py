"""RDED against brute force: which crops it takes, and where they go."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
import toys

from unidd.data.datasets import ImageData, Split
from unidd.engine.run import Run
from unidd.methods import find
from unidd.methods._patches import difficulty, mosaic, square_crops
from unidd.networks.training import Teacher


def numbers_of(images: int, count: int, generator: torch.Generator | None = None) -> torch.Tensor:
    generator = generator or torch.Generator().manual_seed(1)
    return torch.rand(3, images, count, generator=generator, dtype=torch.float64)


def drawn_crops(data: ImageData, method, ipc: int, seed: int) -> list[list[list[torch.Tensor]]]:
    """All crops, by class, image and draw, with the numbers a seed gives; drawn as `square_crops` does."""
    generator, found = torch.Generator().manual_seed(seed), []
    for k in range(data.classes):
        numbers = [i for i, label in enumerate(data.train.labels.tolist()) if label == k]
        order = torch.randperm(len(numbers), generator=generator).tolist()
        pixels = data.train.images[[numbers[i] for i in order[: method.mipc]]].float() / 255
        crops = square_crops(pixels, numbers_of(len(pixels), method.num_crop, generator), data.size // method.factor)
        found.append([list(of_image) for of_image in crops])
    return found


def by_hand(data: ImageData, teacher: Teacher, method, ipc: int, seed: int) -> torch.Tensor:
    """Every crop scored for itself; patches of rank k·ipc + i in slot k of image i; images in rounds."""
    f, side, of_class = method.factor, data.size // method.factor, []
    for k, images in enumerate(drawn_crops(data, method, ipc, seed)):
        kept = []
        for crops in images:
            scored = []
            for crop in crops:
                full = torch.zeros(1, data.channels, data.size, data.size)
                gap = (data.size - side) // 2
                full[..., gap : gap + side, gap : gap + side] = data.normalise(crop)
                probabilities = teacher.model(full).double().softmax(1)
                scored.append((-math.log(probabilities[0, k]), crop))
            kept.append(min(scored, key=lambda pair: pair[0]))
        kept.sort(key=lambda pair: pair[0])
        made = []
        for i in range(ipc):
            image = torch.zeros(data.channels, data.size, data.size)
            for slot in range(f * f):
                top, left = side * (slot // f), side * (slot % f)
                image[:, top : top + side, left : left + side] = kept[slot * ipc + i][1]
            made.append(image)
        of_class.append(made)
    return torch.stack([of_class[k][i] for i in range(ipc) for k in range(data.classes)])


@pytest.mark.parametrize(
    ("ipc", "settings"),
    [(2, {}), (1, {"factor": 2}), (2, {"mipc": 3}), (3, {"num_crop": 1})],
    ids=["one patch", "four patches", "some images", "one crop"],
)
def test_it_takes_the_crops_that_brute_force_takes(ipc, settings):
    data, teacher, method = toys.data(), toys.teacher(), find("rded")(**settings)
    made = method.distill(data, teacher, Run(ipc, seed=3))
    torch.testing.assert_close(made.images, by_hand(data, teacher, method, ipc, 3), rtol=0, atol=0)
    assert made.labels.tolist() == [0, 1, 2, 3] * ipc


def test_crops_are_squares_of_torchvisions_sizes_scaled_without_aliasing():
    """Of an image that says where each pixel was; the area is uniform from .08 to 1, and corners reach both ends."""
    ramp = torch.linspace(0, 1, 32).expand(32, 32)
    image = torch.stack([ramp, ramp.T, ramp.flip(0)])
    crops = square_crops(image[None], numbers_of(1, 4000), 32)[0]
    assert crops.shape == (4000, 3, 32, 32)
    # in the middle of a crop, two neighbours are (s / 32) pixels apart
    wide = 32 * 31 * (crops[:, 0, 16, 17] - crops[:, 0, 16, 15]) / 2
    high = 32 * 31 * (crops[:, 1, 17, 16] - crops[:, 1, 15, 16]) / 2
    torch.testing.assert_close(wide, high, rtol=1e-3, atol=1e-2)
    area = (wide / 32) ** 2
    assert area.min() == pytest.approx(0.08, abs=0.02)
    assert area.max() == pytest.approx(1, abs=0.01)
    assert area.mean() == pytest.approx(0.54, abs=0.02)
    left, right = crops[:, 0].amin((1, 2)), crops[:, 0].amax((1, 2))
    assert left.min() == pytest.approx(0, abs=1e-6)
    assert right.max() == pytest.approx(1, abs=1e-6)
    assert (left + 1 - right - (1 - wide / 32)).abs().max() < 0.05
    stripes = (torch.arange(32) % 2).float().expand(1, 1, 32, 32)
    halves = square_crops(stripes, numbers_of(1, 400), 8)[0]
    large = halves[halves.amax((1, 2, 3)) < 0.9]
    assert len(large) > 100, "stripes finer than a pixel become grey"


def test_a_patch_is_scored_in_the_middle_of_zeros():
    data, seen = toys.data(), []

    class Looks(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(1)[:, : toys.CLASSES]

    patches = toys.rand(2, 3, 5, 5)
    found = difficulty(Looks(), data, patches, 1)
    assert seen[0].shape == (2, 3, 8, 8)
    assert torch.equal(seen[0][:, :, 1:6, 1:6], data.normalise(patches))
    assert float(seen[0].abs().sum()) == pytest.approx(float(data.normalise(patches).abs().sum()), rel=1e-5)
    torch.testing.assert_close(found, torch.full((2,), math.log(toys.CLASSES)))


def test_a_mosaic_reads_like_a_page():
    patches = torch.arange(9.0).view(9, 1, 1, 1, 1).expand(9, 2, 3, 2, 2)
    made = mosaic(patches, 8)
    assert made.shape == (2, 3, 8, 8)
    rows = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])  # 8 = 3 + 3 + 2
    assert torch.equal(made[1, 2], (3 * rows[:, None] + rows[None]).float())
    assert torch.equal(mosaic(toys.rand(4, 5, 3, 4, 4), 8)[..., :4, 4:], toys.rand(4, 5, 3, 4, 4)[1])


def test_pixels_are_kept_as_floats_and_normalised_by_the_datas_own_statistics():
    made = find("rded")().distill(toys.data(), toys.teacher(), Run(2))
    assert not torch.equal((made.images * 255).round() / 255, made.images)
    assert (made.mean, made.std) == (toys.data().mean, toys.data().std)
    other = dataclasses.replace(toys.data(), normalisation=((0.1, 0.2, 0.3), (0.9, 0.5, 0.1)))
    assert not torch.equal(find("rded")().distill(other, toys.teacher(), Run(2)).images, made.images)


def test_a_teacher_that_is_in_train_mode_chooses_what_it_does_in_eval_mode():
    teacher = toys.teacher()
    teacher.model.train()
    made = find("rded")().distill(toys.data(), teacher, Run(2))
    assert torch.equal(made.images, find("rded")().distill(toys.data(), toys.teacher(), Run(2)).images)
    assert teacher.model.training, "it is as it was"


@pytest.mark.parametrize("together", [3, 10])
def test_chunks_of_images_change_nothing(monkeypatch, together):
    """One image of five crops, or two, at a time: a GPU takes other ones than a CPU, and draws the same crops."""
    whole = find("rded")().distill(toys.data(), toys.teacher(), Run(2)).images
    monkeypatch.setattr("unidd.methods._patches.real_batch", lambda *_: together)
    assert torch.equal(find("rded")().distill(toys.data(), toys.teacher(), Run(2)).images, whole)


def test_what_it_cannot_give_is_one_clear_error():
    data = toys.data()
    with pytest.raises(ValueError, match="factor 2 at ipc 2 takes 8 images of each class, one has 5"):
        find("rded")(factor=2).check(data, Run(2))
    with pytest.raises(ValueError, match="mipc must be at least 4"):
        find("rded")(mipc=3).check(data, Run(4))
    with pytest.raises(ValueError, match="factor must be at most 8"):
        find("rded")(factor=9).check(data, Run(1))


@pytest.mark.parametrize("name", ["rded", "fadrm"])
def test_a_class_with_too_few_images_shows_patches_again(name):
    capped = dataclasses.replace(toys.data(), small="cap")
    settings = {"factor": 2} | ({"steps": 0} if name == "fadrm" else {})
    made = find(name)(**settings).distill(capped, toys.teacher(), Run(2))
    assert made.labels.tolist() == [0, 1, 2, 3] * 2
    patches = made.images.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(8, 4, -1)
    assert {len(set(map(tuple, patches[k::4].flatten(0, 1).tolist()))) for k in range(4)} == {5}, "eight slots of each"


def test_another_image_may_be_of_another_size():
    """Nine pixels in two: five and four."""
    images = F.interpolate(toys.data().train.images.float(), (9, 9)).to(torch.uint8)
    split = Split(images, toys.data().train.labels)
    data = ImageData("nine", split, split, toys.data().class_names)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(243, toys.CLASSES))
    made = find("rded")(factor=2).distill(data, Teacher(net), Run(1))
    assert made.images.shape == (4, 3, 9, 9)
    assert torch.equal(made.images[..., 0, :], made.images[..., 1, :]), "a row is seen twice"


def test_published_hyper_parameters():
    rded = find("rded")
    assert {(rded.preset(name).mipc, rded.preset(name).num_crop) for name in rded.presets} == {(300, 5)}
    assert {name: rded.preset(name).factor for name in rded.presets} == {
        "cifar10": 1,
        "cifar100": 1,
        "tiny-imagenet": 1,
        "imagenet": 2,
    }
