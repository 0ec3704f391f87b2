"""Sets that other code made: each format is written here as its authors' code writes it, and read label by label."""

import json
import os
import pickle
from dataclasses import replace

import foreign
import numpy as np
import pytest
import torch
from foreign import whitening
from PIL import Image
from sets import make
from toys import rand

from unidd.data.datasets import ImageData, Split
from unidd.data.exchange import from_files, from_imagefolder, to_ddranking, to_imagefolder, to_vico, undo_zca
from unidd.data.pictures import read
from unidd.data.synthetic import SyntheticSet

NAMES = ("cat", "dog", "eel", "fox")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
LABELS = torch.arange(4).repeat_interleave(2)


def pixels(n=8, size=6, seed=0):
    return rand(n, 3, size, size, seed=seed)


def normalised(images, mean=MEAN, std=STD):
    return foreign.normalised(images, mean, std)


@pytest.fixture(scope="module")
def data() -> ImageData:
    """Images with correlated neighbours, so that whitening changes them much."""
    rough = rand(160, 3, 8, 8, seed=5)
    smooth = torch.nn.functional.avg_pool2d(rough, 3, 1)
    images = (smooth * 255).byte()
    labels = torch.arange(160) % 4
    return ImageData("toy", Split(images, labels), Split(images[:8], labels[:8]), NAMES)


# ------------------------------------------------------------------------------------------ tensors of methods


@pytest.mark.parametrize("method", ["DC", "DSA", "DM"])
def test_dc_dsa_and_dm(tmp_path, method):
    path = tmp_path / f"res_{method}_CIFAR10_ConvNet_2ipc.pt"
    sets = [[normalised(pixels(seed=k)), LABELS] for k in range(3)]
    torch.save({"data": sets, "accs_all_exps": {"ConvNet": [np.float64(0.5), 0.25]}}, path)
    for number, k in ((None, 2), (0, 0), (1, 1), (-1, 2)):
        found = from_files(path, mean=MEAN, std=STD, class_names=NAMES, number=number)
        assert torch.equal(found.labels, LABELS)
        assert torch.allclose(found.images, pixels(seed=k), atol=1e-6)
    assert found.config["import"]["space"] == {"value": "normalised", "from": "the format"}
    assert found.config["import"]["mean and std from"] == "asked for"
    assert from_files(tmp_path, mean=MEAN, std=STD).class_names == ("0", "1", "2", "3")
    with pytest.raises(ValueError, match="holds 3 sets: there is no number 3"):
        from_files(path, mean=MEAN, std=STD, number=3)
    nameless = path.rename(tmp_path / f"res_{method}_mine.pt")
    with pytest.raises(ValueError, match="say the data set, or mean and std"):
        from_files(nameless)


def test_a_file_of_the_time_of_older_numpy(tmp_path):
    content = {"data": [[normalised(pixels()), LABELS]], "accs_all_exps": {"ConvNet": [np.float64(0.5)]}}
    torch.save(content, tmp_path / "res_DC.pt", _use_new_zipfile_serialization=False)
    text = (tmp_path / "res_DC.pt").read_bytes()
    assert b"numpy._core.multiarray" in text
    (tmp_path / "res_DC.pt").write_bytes(text.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    found = from_files(tmp_path / "res_DC.pt", mean=MEAN, std=STD)
    assert torch.allclose(found.images, pixels(), atol=1e-6)


def test_normalisation_is_that_of_the_data_set_or_what_is_said(tmp_path, data):
    torch.save({"data": [[normalised(pixels(), data.mean, data.std), LABELS]]}, tmp_path / "res_DM_x.pt")
    found = from_files(tmp_path, data=data)
    assert torch.allclose(found.images, pixels(), atol=1e-6)
    assert (found.class_names, found.mean, found.std) == (NAMES, data.mean, data.std)
    torch.save({"data": [[normalised(pixels()), LABELS]]}, tmp_path / "res_DM_x.pt")
    found = from_files(tmp_path, data=data, mean=MEAN, std=STD)
    assert torch.allclose(found.images, pixels(), atol=1e-6)
    assert (found.mean, found.std) == (data.mean, data.std), "the set's own are the data set's"


def test_what_is_no_pixel_is_cut_off_and_said(tmp_path):
    wide = pixels() * 2 - 0.5
    torch.save({"data": [[normalised(wide), LABELS]]}, tmp_path / "res_DC_x.pt")
    found = from_files(tmp_path, mean=MEAN, std=STD)
    assert torch.allclose(found.images, wide.clamp(0, 1), atol=1e-6)
    said = found.config["import"]["cut off"]
    assert said["share"] == pytest.approx(float(((wide < 0) | (wide > 1)).float().mean()), abs=0.01)
    assert said["from"] == pytest.approx([float(wide.min()), float(wide.max())], abs=1e-5)


def mtt(folder, images, labels=LABELS, it="best", rate=None):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(images, folder / f"images_{it}.pt")
    torch.save(labels, folder / f"labels_{it}.pt")
    if rate is not None:
        torch.save(rate, folder / f"lr_{it}.pt")
    return folder


def test_mtt_does_not_say_its_space(tmp_path):
    mtt(tmp_path / "a", normalised(pixels()))
    (tmp_path / "a" / "images_zca_best.pt").write_bytes(b"for viewing")
    with pytest.raises(ValueError, match="say the space, normalised or zca"):
        from_files(tmp_path / "a", mean=MEAN, std=STD)
    with pytest.raises(ValueError, match="cannot be pixels"):
        from_files(tmp_path / "a", mean=MEAN, std=STD, space="pixels")
    with pytest.raises(ValueError, match="unknown space 'whitened'"):
        from_files(tmp_path / "a", mean=MEAN, std=STD, space="whitened")
    found = from_files(tmp_path / "a", mean=MEAN, std=STD, space="normalised")
    assert torch.allclose(found.images, pixels(), atol=1e-6)
    assert found.config["import"] | {"file": "a"} == {
        "file": "a",
        "format": "MTT/TESLA",
        "space": {"value": "normalised", "from": "asked for"},
        "class names": "the numbers",
        "mean": list(MEAN),
        "std": list(STD),
        "mean and std from": "asked for",
    }
    found = from_files(mtt(tmp_path / "b", pixels()) / "images_best.pt", mean=MEAN, std=STD)
    assert torch.equal(found.images, pixels())
    assert "the numbers" in found.config["import"]["space"]["from"]


@pytest.mark.parametrize("name", ["MTT", "DATM"])
def test_zca_is_undone_with_the_data_set(tmp_path, data, name):
    centre, w = whitening(data)
    white = torch.from_numpy((pixels().double().numpy().reshape(8, -1) - centre) @ w).float().view(8, 3, 6, 6)
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)) + 8 * torch.eye(4)[LABELS]
    if name == "MTT":
        folder = mtt(tmp_path / "x", white)
    else:
        folder = mtt(tmp_path / "x", white, logits, rate=torch.tensor(0.0125))
    found = from_files(folder, data=data, space="zca")
    assert torch.allclose(found.images, pixels(), atol=1e-5)
    assert torch.equal(found.labels, LABELS)
    assert "kornia" in found.config["import"]["zca"]
    with pytest.raises(ValueError, match="say the data set"):
        from_files(folder, mean=MEAN, std=STD, space="zca")
    if name == "DATM":
        assert torch.equal(found.soft, logits)
        told = found.config["import"]
        assert (told["format"], told["soft labels"], told["learning_rate"]) == ("DATM", "logits", 0.012500000186264515)
        again = SyntheticSet.load(found.save(tmp_path / "saved"))
        assert torch.equal(again.soft, logits)
        assert again.config == found.config


def test_images_of_another_shape(tmp_path, data):
    with pytest.raises(ValueError, match=r"the set's images are \(3, 8, 8\), those of toy \(3, 6, 6\)"):
        from_files(mtt(tmp_path / "x", normalised(pixels(size=8))), data=data, space="zca")
    with pytest.raises(ValueError, match="ZCA cannot be undone"):
        undo_zca(pixels(size=8), data)


def test_grey_pictures_have_the_channels_of_the_data(tmp_path, data):
    grey = replace(
        data,
        train=Split(data.train.images[:, :1], data.train.labels),
        test=Split(data.test.images[:, :1], data.test.labels),
    )
    for mode, of, channels in (("L", data, 3), ("RGB", grey, 1)):
        for k in range(4):
            (tmp_path / mode / str(k)).mkdir(parents=True)
            Image.new("L", (6, 6), 40 * k).convert(mode).save(tmp_path / mode / str(k) / "0.jpg")
        found = from_files(tmp_path / mode, data=of)
        assert found.images.shape == (4, channels, 6, 6)
        assert torch.allclose(found.images, 40 / 255 * torch.arange(4).view(4, 1, 1, 1).expand(found.images.shape))
        assert found.config["import"]["channels"].startswith("grey, as ")
    Image.new("RGB", (6, 6), (255, 0, 0)).save(tmp_path / "RGB" / "0" / "0.jpg")
    with pytest.raises(ValueError, match=r"\(3, 6, 6\), those of toy \(1, 6, 6\)"):
        from_files(tmp_path / "RGB", data=grey)


def test_pictures_of_others_are_read_as_real_images_are(tmp_path, data):
    turned = Image.Exif()
    turned[0x0112] = 6
    steep = Image.fromarray(np.arange(108, dtype=np.uint8).reshape(6, 6, 3))
    made = {
        "0/deep.png": (Image.new("I;16", (6, 6), 257 * 90), {}),
        "1/clear.png": (Image.new("RGBA", (6, 6), (200, 0, 0, 51)), {}),
        "2/turned.png": (steep, {"exif": turned}),
        "3/palette.gif": (steep.quantize(8), {}),
    }
    for name, (image, options) in made.items():
        (tmp_path / name).parent.mkdir()
        image.save(tmp_path / name, **options)
    found = from_files(tmp_path, data=data)
    rule = [torch.from_numpy(read(tmp_path / name, None, 3)[0]) for name in made]
    assert torch.equal((found.images * 255).round().byte(), torch.stack(rule))
    told = {"16-bit": 1, "transparency on white": 1, "turned": 1, "grey to colour": 1}
    assert found.config["import"]["pictures"] == told


def test_tesla_with_the_teachers_labels(tmp_path):
    soft = torch.softmax(3 * torch.eye(4)[LABELS] + pixels(2, 4).flatten()[:32].view(8, 4), 1)
    found = from_files(mtt(tmp_path / "x", pixels(), soft), mean=MEAN, std=STD, class_names=NAMES)
    assert torch.equal(found.soft, soft)
    assert torch.equal(found.labels, LABELS)
    assert found.config["import"]["soft labels"] == "probabilities"
    assert found.config["import"]["format"] == "TESLA"


def frepo(path, images, labels=LABELS):
    centred = (torch.eye(4)[labels] - 1 / 4) / (4 / 10) ** 0.5
    np.savez(path, image=images.permute(0, 2, 3, 1).numpy(), label=centred.numpy())
    return centred


def test_frepo(tmp_path, data):
    _, w = whitening(data, data.mean, data.std)
    flat = normalised(pixels(), data.mean, data.std).double().numpy().reshape(8, -1) @ w
    centred = frepo(tmp_path / "step000000.npz", torch.from_numpy(flat).float().view(8, 3, 6, 6))
    found = from_files(tmp_path, data=data, space="zca")
    assert torch.allclose(found.images, pixels(), atol=1e-5)
    assert torch.equal(found.labels, LABELS)
    assert torch.equal(found.soft, centred)
    assert found.config["import"]["soft labels"] == "centred"
    frepo(tmp_path / "step000000.npz", normalised(pixels()))
    found = from_files(tmp_path, space="normalised", mean=MEAN, std=STD)
    assert torch.allclose(found.images, pixels(), atol=1e-6)


@pytest.mark.parametrize("learnt", [True, False])
def test_kip(tmp_path, learnt, data):
    labels = torch.eye(4)[LABELS].double().numpy() - 0.25 + 0.01 * learnt * np.sin(np.arange(32)).reshape(8, 4)
    images = normalised(pixels()).permute(0, 2, 3, 1).numpy()
    path = tmp_path / "ConvNet3_ssize8_nozca_nol_noaug_ckpt1000.npz"
    np.savez(path, images=images, labels=labels)
    found = from_files(path, mean=MEAN, std=STD)
    assert torch.allclose(found.images, pixels(), atol=1e-6)
    assert torch.equal(found.labels, LABELS)
    assert torch.equal(found.soft, torch.from_numpy(labels).float())
    zca = tmp_path / "ConvNet3_ssize8_zca_nol_noaug_ckpt1000.npz"
    np.savez(zca, images=images, labels=labels)
    with pytest.raises(ValueError, match="take a nozca file"):
        from_files(zca, data=data)


def bilinear(part: np.ndarray, size: int) -> np.ndarray:
    """(C, h, h) → (C, size, size), a pixel at a time, centres aligned as in images."""
    out, h = np.zeros((len(part), size, size)), part.shape[-1]
    for y in range(size):
        for x in range(size):
            v, u = (min(max((k + 0.5) * h / size - 0.5, 0), h - 1) for k in (y, x))
            t, left = int(v), int(u)
            b, r = min(t + 1, h - 1), min(left + 1, h - 1)
            top = part[:, t, left] * (1 - u + left) + part[:, t, r] * (u - left)
            bottom = part[:, b, left] * (1 - u + left) + part[:, b, r] * (u - left)
            out[:, y, x] = top * (1 - v + t) + bottom * (v - t)
    return out


@pytest.mark.parametrize("size", [6, 8, 7])
def test_each_image_of_ncfm_becomes_four(tmp_path, size):
    stored = pixels(size=size)
    torch.save([stored, LABELS], tmp_path / "data_20000.pt")
    torch.save([stored + 1, LABELS], tmp_path / "data_init.pt")
    found = from_files(tmp_path, mean=MEAN, std=STD, ipc=2)
    assert torch.equal(found.labels, LABELS.repeat_interleave(4))
    padded, half = np.full((8, 3, size + size % 2, size + size % 2), 0.5), (size + 1) // 2
    padded[..., :size, :size] = stored.numpy()
    for i in range(8):
        for part in range(4):
            y, x = half * (part // 2), half * (part % 2)
            expected = bilinear(padded[i, :, y : y + half, x : x + half], size)
            assert np.abs(expected - found.images[4 * i + part].numpy()).max() < 1e-6
    assert found.config["import"]["decoded"] == {"stored images": 8, "factor": 2}
    plain = from_files(tmp_path / "data_20000.pt", mean=MEAN, std=STD, factor=1)
    assert torch.equal(plain.images, stored)
    for factor in (0, 9):
        with pytest.raises(ValueError, match="factor must be"):
            from_files(tmp_path / "data_20000.pt", mean=MEAN, std=STD, factor=factor)


def test_dd_ranking(tmp_path):
    torch.save(normalised(pixels()), tmp_path / "images.pt")
    options = {"mean": MEAN, "std": STD, "space": "normalised"}
    with pytest.raises(ValueError, match="say ipc"):
        from_files(tmp_path, **options)
    for more in ({"ipc": 2}, {"class_names": NAMES}):
        found = from_files(tmp_path, **options, **more)
        assert torch.equal(found.labels, LABELS)
        assert "2 images each" in found.config["import"]["labels"]
    for more in ({"ipc": 3}, {"class_names": NAMES[:3]}, {"class_names": NAMES, "ipc": 1}, {"ipc": 0}):
        with pytest.raises(ValueError, match="no file of labels"):
            from_files(tmp_path, **options, **more)
    soft = torch.softmax(5 * torch.eye(4)[LABELS.flip(0)], 1)
    torch.save(soft, tmp_path / "labels.pt")
    torch.save(0.03, tmp_path / "lr.pt")
    found = from_files(tmp_path, **options)
    assert torch.equal(found.soft, soft)
    assert torch.equal(found.labels, LABELS.flip(0))
    assert found.config["import"]["learning_rate"] == 0.03
    assert torch.allclose(found.images, pixels(), atol=1e-6)


# ------------------------------------------------------------------------------------------ folders of images


def folders(path, names, file="class{k}_id{i}.png", ipc=2):
    """One colour a folder, in the order of the names."""
    for k, name in enumerate(names):
        (path / name).mkdir(parents=True)
        for i in range(ipc):
            Image.new("RGB", (6, 6), (10 * k, i, 0)).save(path / name / file.format(k=k, i=i), quality=95)
    return path


@pytest.mark.parametrize(
    ("names", "file"),
    [
        ([f"new{k:03d}" for k in range(12)], "class{k:03d}_id{i:03d}.png"),  # FADRM
        ([f"new{k:03d}" for k in range(12)], "class{k:03d}_id{i:03d}.jpg"),  # SRe2L, CDA
        ([f"{k:05d}" for k in range(12)], "class{k:05d}_id{i:05d}.jpg"),  # RDED
        ([str(k) for k in range(12)], "{i}.png"),  # D4M
    ],
    ids=["FADRM", "SRe2L", "RDED", "D4M"],
)
@pytest.mark.parametrize("below", [".", "syn_data/run 1"])
def test_numbered_folders(tmp_path, names, file, below):
    path = folders(tmp_path / below, names, file)
    (path / names[0] / "._class000_id000.jpg").write_bytes(b"companion")
    classes = tuple(f"class {chr(97 + k)}" for k in range(12))
    for options in ({"class_names": classes}, {}):
        found = from_files(tmp_path, mean=MEAN, std=STD, **options)
        assert len(found) == 24
        red = (found.images[:, 0].mean((1, 2)) * 25.5).round().long()
        assert torch.equal(red, found.labels)
        assert "numbers" in found.config["import"]["classes"]
    shuffled = classes[::-1]
    found = from_files(tmp_path, mean=MEAN, std=STD, class_names=classes, order=shuffled)
    assert torch.equal(11 - red, found.labels)
    assert found.config["import"]["order"] == list(shuffled)


def test_folders_that_bear_names(tmp_path):
    path = folders(tmp_path / "x", ("fox", "cat", "eel", "dog"))
    found = from_files(path, mean=MEAN, std=STD, class_names=NAMES)
    names = [("fox", "cat", "eel", "dog")[int(r)] for r in (found.images[:, 0, 0, 0] * 25.5).round()]
    assert names == [NAMES[k] for k in found.labels.tolist()]
    assert from_files(path, mean=MEAN, std=STD).class_names == NAMES, "sorted"
    found = from_files(folders(tmp_path / "y", ("n03", "n14", "n27", "n91")), mean=MEAN, std=STD, order=NAMES)
    assert found.class_names == NAMES
    assert found.labels.tolist() == LABELS.tolist()
    for names, options, message in (
        (("n03", "n14", "n27", "n91"), {}, "say the order"),
        (("1", "2", "3", "4"), {}, "say the order"),
        (("new1", "new2"), {}, "say the order"),
        (("n03", "n14", "n27"), {"order": NAMES}, "3 folders of images, but the order has 4"),
        (NAMES, {"order": (*NAMES[:3], "cow")}, "look at cow, fox"),
        (NAMES, {"order": (*NAMES, "cat")}, "one name twice"),
    ):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        with pytest.raises(ValueError, match=message):
            from_files(folders(path, names), mean=MEAN, std=STD, class_names=NAMES, **options)


def test_our_folder_without_its_card(tmp_path):
    original = make(labels=LABELS)
    folder = to_imagefolder(original, tmp_path / "x")
    (folder / "card.json").unlink()
    found = from_files(folder, mean=MEAN, std=STD, class_names=original.class_names)
    assert torch.equal(found.labels, LABELS)
    assert (found.images - original.images).abs().max() < 1 / 509


def test_the_order_of_labels_and_soft_labels(tmp_path):
    soft = torch.softmax(6 * torch.eye(4)[LABELS], 1)
    order = ("eel", "fox", "cat", "dog")
    for labels in (LABELS, soft):
        found = from_files(mtt(tmp_path / "x", pixels(), labels), mean=MEAN, std=STD, class_names=NAMES, order=order)
        assert [NAMES[k] for k in found.labels.tolist()] == [order[k] for k in LABELS.tolist()]
    assert torch.equal(found.soft.argmax(1), found.labels)


# ------------------------------------------------------------------------------------------ what is refused


class Attack:
    def __reduce__(self):
        return os.system, ("echo executed > executed",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("zipped", [True, False])
def test_no_pickle_is_executed(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save({"data": [[pixels(), LABELS]], "x": Attack()}, "res_DC.pt", _use_new_zipfile_serialization=zipped)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Attack()))
    np.savez("objects.npz", image=np.array([Attack()], dtype=object), label=np.zeros(1))
    for name, message in (
        ("res_DC.pt", "torch.save"),
        ("plain.pt", "torch.save|damaged"),
        ("objects.npz", "as numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            from_files(name, mean=MEAN, std=STD)
    assert not (tmp_path / "executed").exists()


def write(content):
    return lambda path: torch.save(content, path)


BAD = {
    "empty": ("x.pt", lambda p: p.write_bytes(b""), "damaged"),
    "text": ("x.pt", lambda p: p.write_text("images"), "damaged"),
    "a number": ("x.pt", write(3), "holds a int"),
    "state dict": ("x.pt", write({"syn": pixels()}), "a dictionary of syn"),
    "no sets": ("x.pt", write({"data": []}), "holds 0 sets"),
    "a set of three": ("x.pt", write({"data": [[pixels(), LABELS, 1]]}), "must be"),
    "labels too few": ("x.pt", write([pixels(), LABELS[:5]]), "do not belong together"),
    "images of two sides": ("x.pt", write([pixels()[0], LABELS]), r"must be \(n, C, H, W\)"),
    "labels in between": ("x.pt", write([pixels(), LABELS + 0.5]), "whole number"),
    "labels below 0": ("x.pt", write([pixels(), LABELS - 1]), "classes"),
    "more classes": ("x.pt", write([pixels(), LABELS + 1]), "of 5 classes, the data set has 4"),
    "NaN": ("x.pt", write([pixels() * float("nan"), LABELS]), "nan"),
    "labels alone": ("labels.pt", write(LABELS), "name the file of the images"),
    "labels missing": ("images_best.pt", write(pixels()), "labels_best.pt"),
    "npz of others": ("x.npz", lambda p: np.savez(p, x_train=np.zeros(3)), "x_train"),
    "npz of three axes": (
        "x.npz",
        lambda p: np.savez(p, images=np.zeros((3, 2, 2)), labels=np.zeros((3, 4))),
        "H, W, C",
    ),
    "an empty folder": ("x", lambda p: p.mkdir(), "holds no set"),
    "nothing": ("x", lambda p: None, "there is no"),
}


@pytest.mark.parametrize(("name", "made", "message"), BAD.values(), ids=BAD)
def test_what_is_no_set_is_one_clear_error(tmp_path, name, made, message):
    made(tmp_path / name)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        from_files(tmp_path / name, mean=MEAN, std=STD, class_names=NAMES)
    assert "\n" not in str(caught.value)


def test_several_sets_in_a_folder(tmp_path):
    for k in (1, 2):
        mtt(tmp_path, pixels(seed=k), it=k)
    with pytest.raises(ValueError, match="name the file"):
        from_files(tmp_path, mean=MEAN, std=STD)
    found = from_files(tmp_path / "images_2.pt", mean=MEAN, std=STD)
    assert torch.equal(found.images, pixels(seed=2))


def test_truncated_files(tmp_path):
    torch.save([pixels(), LABELS], tmp_path / "x.pt")
    whole = (tmp_path / "x.pt").read_bytes()
    for keep in (1, 100, len(whole) // 2, len(whole) - 30):
        (tmp_path / "x.pt").write_bytes(whole[:keep])
        with pytest.raises(ValueError, match="damaged"):
            from_files(tmp_path / "x.pt", mean=MEAN, std=STD)


def test_options_that_do_not_fit(tmp_path):
    torch.save([pixels(), LABELS], tmp_path / "x.pt")
    for options, message in (
        ({"mean": MEAN}, "belong together"),
        ({"mean": MEAN, "std": STD, "ipc": 5}, "not 5 images of every class"),
        ({}, "say the data set"),
        ({"mean": MEAN, "std": STD, "number": 0}, "has no numbers"),
        ({"mean": MEAN[:2], "std": STD[:2]}, "3 channels"),
        ({"mean": MEAN[:2], "std": STD[:2], "space": "normalised"}, "3 channels"),
        ({"mean": MEAN, "std": (0.1, 0, 1), "space": "normalised"}, "above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            from_files(tmp_path / "x.pt", **options)


# ------------------------------------------------------------------------------------------ what nobody says


RELEASED = [
    ("res_DM_CIFAR10_ConvNet_2ipc.pt", "mine", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    ("res_DSA_CIFAR100_ConvNet_2ipc.pt", "mine", (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    ("res_DC_mine.pt", "tiny-imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("CIFAR100/run/images_best.pt", "mine", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    ("run/images.pt", "cifar100", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
]


@pytest.mark.parametrize(("name", "of", "mean", "std"), RELEASED)
def test_released_code_has_constants_of_its_own(tmp_path, data, name, of, mean, std):
    """Undone with the constants of the code that did it, seen by networks with those of the data."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    images = normalised(pixels(), mean, std)
    torch.save({"data": [[images, LABELS]]} if name.startswith("res") else images, path)
    torch.save(LABELS, path.with_name(path.name.replace("images", "labels")))
    torch.save({"data": [[images, LABELS]]} if name.startswith("res") else images, path)
    data = replace(data, name=of)
    found = from_files(path, data=data, space="normalised")
    assert torch.allclose(found.images, pixels(), atol=1e-6)
    assert (found.mean, found.std) == (data.mean, data.std)
    assert found.config["import"]["mean and std from"].startswith("the released code, for ")
    told = from_files(path, data=data, space="normalised", mean=MEAN, std=STD).config["import"]
    assert told["mean and std from"] == "asked for"


def test_the_learning_rate_of_mtt_is_asked_for(tmp_path):
    path = mtt(tmp_path / "x", pixels())
    assert "learning_rate" not in from_files(path, mean=MEAN, std=STD).config["import"]
    told = from_files(path, mean=MEAN, std=STD, rate=0.02).config["import"]
    assert (told["learning_rate"], told["learning_rate from"]) == (0.02, "asked for")
    exported = to_ddranking(from_files(path, mean=MEAN, std=STD, rate=0.02), tmp_path / "out")
    assert float(torch.load(exported / "lr.pt", weights_only=True)) == pytest.approx(0.02)
    told = from_files(mtt(tmp_path / "y", pixels(), rate=0.5), mean=MEAN, std=STD, rate=0.5).config["import"]
    assert (told["learning_rate"], told["learning_rate from"]) == (0.5, "its file")


@pytest.mark.parametrize(
    ("soft", "kind"),
    [
        (torch.softmax(torch.randn(8, 4), 1), "probabilities"),
        (torch.eye(4)[LABELS] - 0.25, "centred"),
        (torch.randn(8, 4) + 1, "logits"),
        (torch.full((8, 4), 0.5), "numbers from 0 up whose rows sum to 2 … 2"),
    ],
)
def test_what_soft_labels_are_is_said_as_far_as_they_prove_it(tmp_path, soft, kind):
    found = from_files(mtt(tmp_path / "x", pixels(), soft), mean=MEAN, std=STD)
    assert found.config["import"]["soft labels"] == kind
    assert torch.equal(found.soft, soft)


def test_every_answer_has_its_source_on_the_card(tmp_path, data):
    found = from_files(mtt(tmp_path / "x", 3 * normalised(pixels()[:7]), LABELS[:7]), data=data, space="normalised")
    assert found.config["import"] == {
        "file": "x",
        "format": "MTT/TESLA",
        "classes": "the numbers, in the order of the classes (assumed: the file does not say)",
        "images per class": "1 to 2",
        "space": {"value": "normalised", "from": "asked for"},
        "mean": list(data.mean),
        "std": list(data.std),
        "mean and std from": "the data set (assumed: the file does not say)",
        "cut off": found.config["import"]["cut off"],
    }
    assert found.config["data"] == {"name": "toy", "fingerprint": data.fingerprint}


# ------------------------------------------------------------------------------------------ there and back


@pytest.mark.parametrize("to", [to_vico, to_ddranking])
def test_tensors_that_someone_edited(tmp_path, data, to):
    """Images taken away, painted over, given another label: as they are now, and said; the rest as the card has it."""
    names = ("fox", "cat", "eel", "dog")
    original = make(n=12, class_names=names, config={"method": "cfm", "seed": 3, "import": {"format": "KIP"}})
    path = to(original, tmp_path / "out")
    found = from_files(path)
    assert found.config["seed"] == 3
    assert found.config["import"]["before"] == {"format": "KIP"}
    assert "changed" not in found.config["import"]
    assert found.teacher == original.teacher
    images, labels = torch.cat([found.images[2:3], found.images[5:]]), torch.cat([found.labels[2:3], found.labels[5:]])
    images, labels[0] = 1 - images, 3
    stored = normalised(images, original.mean, original.std)
    if to is to_vico:
        torch.save(torch.load(path, weights_only=True) | {"data": [[stored, labels]]}, path)
    else:
        torch.save(stored, path / "images.pt")
        torch.save(labels, path / "labels.pt")
    for options, of in (({}, names), ({"data": data}, NAMES)):
        back = from_files(path, **options)
        assert torch.allclose(back.images, images, atol=1e-6)
        assert [of[k] for k in back.labels.tolist()] == [names[k] for k in labels.tolist()], "by name"
        assert back.class_names == of
        assert back.config["import"]["changed"] == "the tensors are not those that were exported"


@pytest.mark.parametrize("rate", [{"import": {"learning_rate": 0.25}}, {"learnt": {"lr": 0.25}}], ids=str)
@pytest.mark.parametrize("soft", [None, torch.rand(8, 4)])
@pytest.mark.parametrize("to", [to_vico, to_ddranking])
def test_out_and_back_in(tmp_path, to, soft, rate):
    original = make(soft=soft, config={"method": "x", **rate})
    order = original.labels.argsort(stable=True)
    path = to(original, tmp_path / "out")
    found = from_files(path, mean=original.mean, std=original.std, class_names=original.class_names, space="normalised")
    assert torch.allclose(found.images, original.images[order], atol=1e-6)
    if to is to_vico or soft is None:
        assert torch.equal(found.labels, original.labels[order])
    else:
        assert torch.equal(found.soft, soft[order])
    assert found.config["import"]["learning_rate"] == 0.25
    with pytest.raises(FileExistsError):
        to(original, path)


def test_what_others_find_in_it(tmp_path):
    original = make()
    content = torch.load(to_vico(original, tmp_path / "res_X.pt"), weights_only=True)
    images, labels = content["data"][-1]
    assert labels.tolist() == sorted(original.labels.tolist())
    assert images.dtype == torch.float32
    assert json.loads(content["unidd"])["class_names"] == list(original.class_names)
    folder = to_ddranking(original, tmp_path / "dd")
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "images.pt", "labels.pt"]
    assert torch.equal(torch.load(folder / "images.pt", weights_only=True), images)


def test_sets_of_ours_are_read_too(tmp_path):
    original = make()
    assert torch.equal(from_files(original.save(tmp_path / "a")).images, original.images)
    folder = to_imagefolder(original, tmp_path / "b")
    assert torch.equal(from_files(folder).images, from_imagefolder(folder).images)
    with pytest.raises(ValueError, match="leave the options out"):
        from_files(folder, space="zca")
