"""An audit's numbers: closed forms, slow oracles, sets whose faults are known, and sets of other code."""

import json
import math
from dataclasses import replace

import audits
import numpy as np
import pytest
import torch
import toys

from unidd.bench import audit as module
from unidd.bench.audit import audit, plain
from unidd.bench.audit_words import percent, several, within
from unidd.core.spectra import consistency
from unidd.data.datasets import ImageData, Split
from unidd.data.exchange import from_files, from_imagefolder, to_imagefolder
from unidd.engine.realside import real_batch
from unidd.networks.models import tapped_layers


@pytest.fixture(scope="module")
def teacher():
    return toys.teacher()


@pytest.fixture(scope="module")
def whole(teacher):
    """The audit of three random training images a class."""
    return audit(audits.chosen(), audits.data(), teacher)


def beside(synthetic, teacher=None, **options):
    return audit(synthetic, audits.data(), teacher, seeds=(0,), **options)


# ---- copies and near copies


def test_random_real_images_are_all_training_images(whole):
    assert whole["duplicates"] == {
        "inside": 0,
        "groups": 0,
        "of several classes": 0,
        "of training images": 12,
        "of those, with another label": 0,
        "of test images": 0,
    }
    for line in whole["nearest"]["spaces"].values():
        assert max(line["set"]) == pytest.approx(0, abs=1e-6)
        assert line["near"] == 0, "copies are not counted twice"


def test_copies_with_another_label_are_told():
    real = audits.data().train
    swapped = real.labels[:10].clone()
    swapped[[2, 5, 7]] = (swapped[[2, 5, 7]] + 1) % 4
    found = beside(audits.made(real.images[:10], swapped))["duplicates"]
    assert (found["of training images"], found["of those, with another label"]) == (10, 3)


def test_pictures_that_repeat_and_stand_in_several_classes_are_told():
    images = audits.waves(4, 30)[[0, 0, 0, 1, 1, 2, 3]]
    found = audit(audits.made(images, torch.tensor([0, 0, 1, 2, 2, 3, 3])))
    assert found["duplicates"] == {"inside": 3, "groups": 2, "of several classes": 1}
    assert any(
        "3 of its 7 images repeat another" in s and "1 picture stands in several" in s for s in found["verdicts"]
    )


def test_test_images_in_the_set_are_told():
    images = torch.cat([audits.data().test.images[[0, 3, 3]], audits.waves(5, 33)])
    found = beside(audits.made(images, torch.arange(8) % 4))
    assert found["duplicates"]["of test images"] == 2, "different ones"
    assert any("cannot be trusted" in sentence for sentence in found["verdicts"])


def test_copies_are_those_that_are_equal_at_8_bits():
    """Half a step away rounds to the same; two steps do not."""
    real = audits.data().train.images[:4].float() / 255
    for step, copies in ((0.4, 4), (2.0, 0)):
        moved = (real + step / 255 * torch.where(real < 0.5, 1, -1)).clamp(0, 1)
        assert beside(audits.made(moved, torch.arange(4)))["duplicates"]["of training images"] == copies


@pytest.mark.parametrize("change", ["brighter", "noisy", "one corner"])
def test_near_copies_are_near_and_no_copies(change, teacher):
    real = audits.data().train.images[20:24].float()
    if change == "brighter":
        real = real + 2
    elif change == "noisy":
        real = real + 2 * toys.randn(4, 3, 8, 8).float()
    else:
        real[:, :, :2, :2] += 12
    found = beside(audits.made((real / 255).clamp(0, 1), torch.arange(4)), teacher)
    line = found["nearest"]["spaces"]["pixels"]
    assert line["near"] == 4
    assert {one["training image"] for one in line["closest"]} == {20, 21, 22, 23}
    assert found["duplicates"]["of training images"] == 0
    assert any("In pixels, 4 of the 4 images looked at lie nearer" in sentence for sentence in found["verdicts"])


def test_noise_is_near_to_nothing(teacher):
    noise = audits.made(toys.rand(12, 3, 8, 8), torch.arange(12) % 4)
    assert beside(noise, teacher)["nearest"]["spaces"]["pixels"]["near"] == 0


def test_distances_are_those_of_a_slow_search(teacher):
    drawn, data = audits.drawn(), audits.data()
    spaces = beside(drawn, teacher)["nearest"]["spaces"]
    x, y = (data.normalise(images).double().flatten(1) for images in (drawn.images, data.train.images))
    slow = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").amin(1) / math.sqrt(3 * 64)
    assert spaces["pixels"]["set"] == pytest.approx(slow.tolist(), rel=1e-4)
    with torch.no_grad():
        x, y = (teacher.model[:-1](data.normalise(images)).double() for images in (drawn.images, data.train.images))
    cosine = (x / x.norm(dim=1, keepdim=True)) @ (y / y.norm(dim=1, keepdim=True)).T
    assert spaces["features"]["set"] == pytest.approx((1 - cosine.amax(1)).tolist(), rel=1e-3, abs=1e-6)


# ---- pixels


def test_pixels_at_the_ends_and_constant_images_are_counted():
    images = torch.full((4, 3, 8, 8), 0.5)
    images[0, :, :2] = 0
    images[1, :, :, 0] = 1
    images[2] = 1.0
    found = audit(audits.made(images, torch.arange(4)))["pixels"]["set"]
    n = images.numel()
    assert found["at 0"] == pytest.approx(3 * 16 / n, rel=1e-5)
    assert found["at 1"] == pytest.approx((3 * 8 + 3 * 64) / n, rel=1e-5)
    assert (found["constant images"], found["outside"], found["not finite"]) == (2, 0, 0)
    assert found["mean"] == pytest.approx(images.mean().item(), rel=1e-5)
    assert found["deviation"] == pytest.approx(images.std(correction=0).item(), rel=1e-5)
    assert not found["whole 8-bit values"], "a half is none"


def test_8_bit_pixels_are_known_as_such(whole):
    assert whole["pixels"]["set"]["whole 8-bit values"]
    assert whole["pixels"]["real"]["whole 8-bit values"]


def test_the_spectrum_of_a_wave_has_its_peak_at_its_frequency():
    size = 16
    x = torch.arange(size) * 2 * math.pi / size
    for cycles in (2, 4, 7):
        picture = 0.5 + 0.4 * torch.cos(cycles * x).expand(1, 3, size, size)
        found = audit(audits.made(picture, torch.tensor([0])))["radial"]["set"]
        assert found["frequency"][int(np.argmax(found["power"]))] == pytest.approx(cycles / size)
        assert (found["fine"] > 0.5) == (cycles > 4)


def test_the_spectrum_of_white_noise_is_flat():
    """Every ring has as much; the lowest loses a little with the mean."""
    noise = toys.rand(300, 3, 16, 16)
    found = audit(audits.made(noise, torch.arange(300) % 4))["radial"]["set"]
    assert found["power"][1:] == pytest.approx([1 / sum(found["frequency"])] * 7, rel=0.05)


def test_real_images_have_the_spectrum_of_all_real_images(whole):
    images = audits.data().train.images
    pixels = images.double() / 255
    _, power = module.normalised_power(pixels)
    assert whole["radial"]["real"]["power"] == pytest.approx(power.mean(0).tolist(), rel=1e-4)


# ---- classes, bytes, diversity


def test_classes_that_are_missing_or_small_are_named():
    found = audit(audits.made(audits.waves(6, 2), torch.tensor([0, 0, 0, 2, 2, 3])))
    assert found["classes"]["counts"] == [3, 0, 2, 1]
    assert found["classes"]["missing"] == ["bee"]
    assert not found["classes"]["equal"]
    assert "1 class of these has no image: bee." in found["verdicts"]
    found = audit(audits.made(audits.waves(5, 2), torch.tensor([0, 0, 1, 2, 3])))
    assert "Its classes have between 1 and 2 images." in found["verdicts"]


def test_bytes_are_those_of_the_tensors(teacher):
    synthetic = audits.drawn(soft=torch.zeros(12, 4))
    found = audit(synthetic, audits.data(), teacher, seeds=(0,), stored=777)["bytes"]
    assert found["images"] == {"float32": synthetic.images.nbytes, "8-bit": synthetic.images.numel()}
    assert found["labels"]["hard"] == 12
    assert found["labels"]["fixed-soft"] == synthetic.soft.nbytes
    assert found["labels"]["fixed-soft at 16 bits"] == synthetic.soft.half().nbytes
    assert found["labels"]["online-soft"] == sum(t.nbytes for t in teacher.model.state_dict().values())
    assert found["stored"] == 777


def test_diversity_is_that_of_classes_that_have_pairs(teacher):
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    synthetic = audits.made(audits.waves(6, 40), labels)
    found = beside(synthetic, teacher)["diversity"]
    pairs = labels < 2
    pixels = audits.data().normalise(synthetic.images)
    with torch.no_grad():
        deep = teacher.model[:-1](pixels)
    for space, rows in (("pixels", pixels), ("features", deep)):
        expected = consistency(rows[pairs], labels[pairs])
        assert found[space]["set"]["consistency"] == pytest.approx(expected, rel=1e-4)
        assert found[space]["set"]["diversity"] == pytest.approx(1 - expected, rel=1e-4)
        assert found[space]["set"]["classes"] == 2


def test_equal_images_have_no_diversity():
    images = audits.waves(4, 3).repeat_interleave(3, 0)
    found = audit(audits.made(images, torch.arange(4).repeat_interleave(3)))
    assert found["diversity"]["pixels"]["set"]["diversity"] == pytest.approx(0, abs=1e-6)


def test_one_image_a_class_says_that_there_is_no_diversity(teacher):
    found = beside(audits.drawn(1), teacher)
    assert found["diversity"]["pixels"]["set"] == {"consistency": None, "diversity": None, "classes": 0}
    assert any("there is no diversity" in sentence for sentence in found["verdicts"])


# ---- the spectrum of features


def test_all_real_images_cover_all_of_the_real_spectrum(teacher):
    real = audits.data().train
    found = beside(audits.made(real.images, real.labels), teacher)
    assert [one["layer"] for one in found["layers"]] == tapped_layers(teacher.model)
    for one in found["layers"]:
        assert one["coverage"] == pytest.approx(1, abs=1e-4)
        assert one["excess"] == pytest.approx(0, abs=1e-4)
        assert one["bands"] == pytest.approx([1] * len(one["bands"]), abs=1e-3)
        assert one["set"] == pytest.approx(one["real"], rel=1e-3)
        assert one["own spectrum"][: one["directions"]] == pytest.approx(one["real"], rel=1e-2)


def test_one_colour_throughout_covers_nothing_of_pixels(teacher):
    found = beside(audits.made(torch.full((4, 3, 8, 8), 0.3), torch.arange(4)), teacher)
    assert found["layers"][0]["coverage"] == pytest.approx(0, abs=1e-6)
    assert found["pixels"]["set"]["constant images"] == 4


def test_grey_pictures_cover_one_direction_of_colour(teacher):
    """The first layer sees colours alone: grey has power along one direction of three, and a little of the others."""
    grey = audits.waves(40, 50).float().mean(1, keepdim=True).expand(-1, 3, -1, -1)
    synthetic = audits.made((grey / 255).contiguous(), torch.arange(40) % 4)
    first = beside(synthetic, teacher)["layers"][0]
    rows = audits.data().normalise(synthetic.images).double().movedim(1, -1).reshape(-1, 3)
    real = audits.data().normalise(audits.data().train.images).double().movedim(1, -1).reshape(-1, 3)
    eigenvalues, basis = torch.linalg.eigh(torch.cov(real.T, correction=0))
    by_hand = ((rows - rows.mean(0)) @ basis).square().mean(0) / eigenvalues
    assert first["coverage"] == pytest.approx(by_hand.clamp(max=1).mean().item(), rel=1e-4)
    assert first["excess"] == pytest.approx((by_hand - 1).clamp(min=0).mean().item(), rel=1e-4, abs=1e-6)


def test_dead_channels_are_left_out(teacher):
    """The toy's second convolution sees two channels that never change."""
    one = beside(audits.drawn(), teacher)["layers"][1]
    assert (one["directions"], one["dead"]) == (4, 2)


def test_random_real_images_stand_beside_with_their_spread(whole):
    for one in whole["layers"]:
        assert 0 < one["random coverage"]["mean"] <= 1
        assert one["random coverage"]["spread"] >= 0
    again = beside(audits.chosen())
    assert "layers" not in again, "no teacher"


def test_a_network_without_matched_layers_has_no_spectrum():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4)).eval()
    found = beside(audits.drawn(), replace(toys.teacher(), model=net))
    assert found["layers"] == []
    assert found["diversity"]["features"]["set"]["classes"] == 4
    json.dumps(found, allow_nan=False)


def test_the_teacher_says_how_many_labels_it_shares(teacher):
    synthetic, data = audits.drawn(), audits.data()
    says = teacher.model(data.normalise(synthetic.images)).argmax(1)
    right = audits.made(synthetic.images, says, teacher=teacher.card())
    found = beside(right, teacher)
    assert (found["teacher"]["agrees"], found["teacher"]["the set's own"]) == (100, True)
    wrong = audits.made(synthetic.images, (says + 1) % 4, teacher={"hash": "other", "hash_of": "weights"})
    found = beside(wrong, teacher)
    assert (found["teacher"]["agrees"], found["teacher"]["the set's own"]) == (0, False)
    assert any("another teacher" in sentence for sentence in found["verdicts"])
    old = audits.made(synthetic.images, says, teacher={"hash": "of the configuration", "accuracy": 1.0})
    assert beside(old, teacher)["teacher"]["the set's own"] is None


# ---- what is not there


def test_without_data_the_rest_is_there():
    found = audit(audits.drawn())
    assert {"set", "classes", "bytes", "pixels", "radial", "diversity", "duplicates"} <= set(found)
    assert [one["say"] for one in found["missing"]] == [
        "--dataset",
        "--dataset and unidd teach or --teacher",
        "--accuracy",
    ]
    assert not {"nearest", "layers", "teacher", "accuracy"} & set(found)


def test_without_a_teacher_all_but_features_is_there():
    found = beside(audits.drawn())
    assert [one["say"] for one in found["missing"]] == ["unidd teach or --teacher", "--accuracy"]
    assert set(found["nearest"]["spaces"]) == set(found["diversity"]) == {"pixels"}


def test_accuracies_without_what_they_need_are_refused(teacher):
    with pytest.raises(ValueError, match="need the data set: say --dataset"):
        audit(audits.drawn(), accuracy={})
    with pytest.raises(ValueError, match="need a teacher"):
        audit(audits.drawn(), audits.data(), accuracy={})


@pytest.mark.parametrize(
    "synthetic",
    [
        audits.drawn(1),
        audits.made(audits.waves(1, 3), torch.tensor([2])),
        audits.made(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])),
        audits.made(audits.waves(200, 3), torch.arange(200) % 4),
        audits.chosen(teacher={"hash": "x", "accuracy": float("nan")}),
        audits.drawn(soft=torch.full((12, 4), 0.25)),
    ],
    ids=["IPC 1", "one image", "black", "more than a class has", "no accuracy", "soft labels"],
)
def test_every_set_becomes_json(synthetic, teacher):
    """Whatever a number cannot be is null, and never NaN."""
    for found in (audit(synthetic), beside(synthetic, teacher)):
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert all(sentence.endswith(".") and "nan" not in sentence for sentence in found["verdicts"])


@pytest.mark.parametrize("shape", [(2, 1, 5, 9), (2, 3, 2, 2), (2, 4, 8, 8)], ids=str)
def test_pictures_of_any_shape_are_audited_by_themselves(shape):
    about = {"mean": (0.5,) * shape[1], "std": (0.2,) * shape[1]}
    found = audit(audits.made(toys.rand(*shape), torch.tensor([0, 1]), **about))
    assert found["set"]["shape"] == list(shape[1:])
    assert (found["radial"]["set"] is None) == (shape[2] != shape[3] or shape[2] < 4)


def test_numbers_say_where_they_are_from(whole):
    assert {"device", "torch", "unidd", "threads", "date"} <= set(whole["provenance"])
    assert whole["seeds"] == [0, 1, 2]
    assert whole["seconds"] > 0
    assert whole["schema"] == module.SCHEMA


def test_an_audit_is_repeated_to_the_digit(whole, teacher):
    again = audit(audits.chosen(), audits.data(), teacher)
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}


def test_an_audit_changes_nothing(teacher):
    synthetic, data = audits.drawn(), audits.data()
    before = synthetic.images.clone(), data.train.images.clone(), torch.get_rng_state()
    weights = {name: t.clone() for name, t in teacher.model.state_dict().items()}
    beside(synthetic, teacher)
    assert torch.equal(synthetic.images, before[0])
    assert torch.equal(data.train.images, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert all(torch.equal(t, weights[name]) for name, t in teacher.model.state_dict().items())


def test_no_more_than_a_batch_of_real_images_is_ever_a_float(teacher, monkeypatch):
    n, largest, normalise = 3 * real_batch(8) + 17, [], ImageData.normalise
    split = Split(audits.waves(n, 60), torch.arange(n) % 4)
    data = ImageData("many", split, split, audits.NAMES)

    def seen(self, images):
        largest.append(len(images))
        return normalise(self, images)

    monkeypatch.setattr(ImageData, "normalise", seen)
    audit(audits.drawn(), data, teacher, seeds=(0,))
    assert sum(largest) > 2 * n, "all are looked at"
    assert max(largest) <= real_batch(8)


def test_large_sets_have_a_part_of_their_images_looked_at(monkeypatch):
    monkeypatch.setattr(module, "LOOKED_AT", 5)
    found = beside(audits.drawn(6))["nearest"]
    assert found["looked at"] == 5 == len(found["spaces"]["pixels"]["set"])
    assert all(0 <= one["image"] < 24 for one in found["spaces"]["pixels"]["closest"])


def test_large_images_are_compared_as_means_over_areas():
    """A picture and itself moved by one pixel are nearer than others; the same is at distance 0."""
    coarse = torch.nn.functional.interpolate(audits.waves(24, 3).float(), size=96, mode="bilinear").to(torch.uint8)
    split = Split(coarse, torch.arange(24) % 4)
    data = ImageData("large", split, split, audits.NAMES)
    moved = audits.made(coarse[:4].roll(1, -1), torch.arange(4), mean=data.mean, std=data.std)
    line = audit(moved, data, seeds=(0,))["nearest"]["spaces"]["pixels"]
    assert {one["training image"] for one in line["closest"]} == {0, 1, 2, 3}
    assert 0 < max(line["set"]) < 0.2


# ---- sets of other code


def foreign(kind: str, folder):
    images, labels, data = audits.waves(8, 70), torch.arange(4).repeat_interleave(2), audits.data()
    normal = data.normalise(images)
    if kind == "DC":
        torch.save({"data": [[normal, labels]]}, folder / "res_DC_X_ConvNet_2ipc.pt")
    elif kind == "normalised beyond the range":
        torch.save({"data": [[2 * normal, labels]]}, folder / "res_DM_X_ConvNet_2ipc.pt")
    elif kind == "DD-Ranking":
        torch.save(normal, folder / "images.pt")
        torch.save(toys.randn(8, 4).float().softmax(1), folder / "labels.pt")
        return from_files(folder, data=data, space="normalised")
    elif kind == "FRePo":
        soft = (torch.eye(4)[labels] - 0.25).numpy()
        np.savez(folder / "step000000.npz", image=images.float().permute(0, 2, 3, 1).numpy() / 255, label=soft)
        return from_files(folder, data=data, space="pixels")
    elif kind == "NCFM":
        torch.save([images.float() / 255, labels], folder / "data_20000.pt")
    else:
        to_imagefolder(audits.made(images, labels), folder / "out")
        if kind == "pictures":
            return from_imagefolder(folder / "out")
        (folder / "out" / "card.json").unlink()
        (folder / "out" / "labels.csv").unlink()
        return from_files(folder / "out", data=data)
    return from_files(folder, data=data)


KINDS = ["DC", "normalised beyond the range", "DD-Ranking", "FRePo", "NCFM", "pictures", "RDED"]


@pytest.mark.parametrize("kind", KINDS)
def test_sets_of_other_code_are_audited(kind, tmp_path, teacher):
    synthetic = foreign(kind, tmp_path)
    found = beside(synthetic, teacher)
    json.dumps(found, allow_nan=False)
    assert found["set"]["images"] == (32 if kind == "NCFM" else 8)
    assert (found["set"]["import"] == {}) == (kind == "pictures")
    assert found["bytes"]["kind"] == {"DD-Ranking": "probabilities", "FRePo": "centred"}.get(kind)
    cut = any("lay outside and were cut off" in sentence for sentence in found["verdicts"])
    assert cut == (kind == "normalised beyond the range")


# ---- words


def test_numbers_in_words():
    assert [percent(x) for x in (0.996, 0.0951, 0.001)] == ["100 %", "9.5 %", "0.1 %"]
    assert several(1234, "test image") == "1,234 test images"
    assert within(float("inf"), [1]) == "more than"


def test_plain_values_are_what_json_takes(tmp_path):
    found = plain({"a": torch.tensor([1.0, math.nan]), 3: (tmp_path, math.inf), "b": [1.23456789, True, None, "x"]})
    assert found == {"a": [1.0, None], "3": [str(tmp_path), None], "b": [1.23457, True, None, "x"]}
