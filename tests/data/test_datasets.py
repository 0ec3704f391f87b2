"""Data sets by name, from folders and from torch: the pixels, what is worked out from them, and clear errors."""

import gzip
import hashlib
import pickle
import struct
import tarfile
import urllib.error
import urllib.request

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
from PIL import Image

from unidd.data.datasets import NAMES, PHOTOS, ImageData, Split, from_folder, from_torch, load

RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def photos() -> ImageData:
    return load("photos")


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def toy(n: int = 20, classes: int = 2, channels: int = 3, size: int = 4) -> ImageData:
    """All images different; n for training, half as many to test."""
    splits = [
        Split(torch.from_numpy(noise(m, channels, size, size)), torch.arange(m) % classes) for m in (n, max(n // 2, 1))
    ]
    return ImageData("toy", *splits, tuple("abcdefgh"[:classes]))


def image_set(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


# -------------------------------------------------------------------------------------------------- embedded


def test_photos_are_ten_classes_of_real_patches(photos):
    assert photos.class_names == PHOTOS
    assert (photos.channels, photos.size, photos.classes) == (3, 32, 10)
    for split, count in ((photos.train, 500), (photos.test, 100)):
        assert split.images.shape == (10 * count, 3, 32, 32)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert torch.bincount(split.labels).tolist() == [count] * 10
    for label, photo in enumerate(PHOTOS):  # every patch is somewhere in its photograph
        picture = getattr(skimage.data, photo)()
        picture = np.stack([picture] * 3, -1) if picture.ndim == 2 else picture[..., :3]
        for split in (photos.train, photos.test):
            patch = split.images[split.labels == label][0].permute(1, 2, 0).numpy()
            corners = np.argwhere((picture[:-31, :-31] == patch[0, 0]).all(-1))
            assert any(np.array_equal(picture[t : t + 32, x : x + 32], patch) for t, x in corners), photo


def test_no_pixel_of_photos_is_in_both_splits(monkeypatch):
    """Pictures of the same shapes whose pixels say where they are: row and column, coarse and fine."""
    for photo in PHOTOS:
        rows, columns = np.indices(getattr(skimage.data, photo)().shape[:2])
        position = rows * columns.shape[1] + columns
        coded = np.stack([position >> 16, position >> 8 & 255, position & 255], -1).astype(np.uint8)
        monkeypatch.setattr(skimage.data, photo, lambda coded=coded: coded)
    data = load("photos")

    def seen(split, label):
        coarse, middle, fine = split.images[split.labels == label].long().unbind(1)
        return set(((coarse << 16) + (middle << 8) + fine).flatten().tolist())

    for label, photo in enumerate(PHOTOS):
        train, test = seen(data.train, label), seen(data.test, label)
        assert not train & test, photo
        assert len(train) > len(test) > 1000


def test_photos_are_the_same_every_time_whatever_the_random_generators_did(photos):
    np.random.default_rng().random()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    again = load("photos")
    assert again.fingerprint == photos.fingerprint
    assert torch.equal(state, torch.get_rng_state())


def test_digits(digits):
    assert (digits.channels, digits.size, digits.class_names) == (1, 8, tuple("0123456789"))
    assert len(digits.train) + len(digits.test) == 1797
    assert len(digits.test) == 360
    assert digits.train.images.max() == 255
    from sklearn.datasets import load_digits

    first = load_digits()
    assert np.abs(digits.test.images[0, 0].numpy() / 255 - first.images[0] / 16).max() <= 0.5 / 255
    assert digits.test.labels[:3].tolist() == first.target[[0, 5, 10]].tolist()


def test_no_image_of_digits_is_in_both_splits(digits):
    assert not image_set(digits.train.images) & image_set(digits.test.images)


# ------------------------------------------------------------------------------------ what is worked out


@pytest.mark.parametrize("name", ["photos", "digits"])
def test_mean_and_std_are_those_of_the_training_pixels(name, request):
    data = request.getfixturevalue(name)
    pixels = data.train.images.numpy().astype(np.float64) / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-12)
    assert data.std == pytest.approx(pixels.std((0, 2, 3)), rel=1e-12)


def test_normalised_training_images_have_zero_mean_and_unit_variance(digits):
    x = digits.normalise(digits.train.images)
    assert x.dtype == torch.float32
    assert x.mean().item() == pytest.approx(0, abs=1e-5)
    assert x.std(correction=0).item() == pytest.approx(1, rel=1e-5)


def test_normalise_takes_bytes_and_fractions_and_denormalise_undoes_it():
    data = toy()
    pixels = data.train.images.double() / 255
    assert torch.equal(data.normalise(data.train.images), data.normalise(data.train.images.float() / 255))
    assert torch.allclose(data.denormalise(data.normalise(pixels)), pixels, atol=1e-14)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (data.mean, data.std))
    assert torch.allclose(data.normalise(pixels), (pixels - mean) / std, atol=1e-14)
    assert data.normalise(pixels).dtype == torch.float64


def test_a_constant_channel_does_not_divide_by_zero():
    data = toy(channels=2)
    data.train.images[:, 1] = 51
    assert data.mean[1] == pytest.approx(0.2)
    assert data.std[1] == 1.0
    assert data.normalise(data.train.images)[:, 1].abs().max() < 1e-6


def test_the_fingerprint_is_of_the_data_and_not_of_their_name():
    data = toy()
    same = ImageData("other name", data.train, data.test, data.class_names)
    assert same.fingerprint == data.fingerprint
    pixel = data.test.images.clone()
    pixel[-1, -1, -1, -1] ^= 1
    label = data.train.labels.clone()
    label[0] = 1 - label[0]
    for train, test, names in (
        (data.train, Split(pixel, data.test.labels), data.class_names),
        (Split(data.train.images, label), data.test, data.class_names),
        (data.train, data.test, ("b", "a")),
    ):
        assert ImageData("toy", train, test, names).fingerprint != data.fingerprint


# ---------------------------------------------------------------------------------------- validation split


def test_validation_images_are_training_images_set_aside_by_class():
    data = toy(n=60, classes=3)
    split = data.split_validation(0.25, seed=1)
    train, held, test = (image_set(s.images) for s in (split.train, split.test, data.test))
    assert train | held == image_set(data.train.images)
    assert not train & held
    assert not held & test
    assert torch.bincount(split.test.labels).tolist() == [5, 5, 5]
    label_of = {image.numpy().tobytes(): int(k) for image, k in zip(data.train.images, data.train.labels, strict=True)}
    for part in (split.train, split.test):
        assert [label_of[image.numpy().tobytes()] for image in part.images] == part.labels.tolist()
    assert split.class_names == data.class_names
    assert split.mean != data.mean, "mean and std must not see the validation images"


def test_the_validation_split_follows_its_seed_only():
    data = toy(n=60)
    torch.manual_seed(0)
    first = data.split_validation(0.2, seed=3).fingerprint
    torch.manual_seed(1)
    assert data.split_validation(0.2, seed=3).fingerprint == first
    assert data.split_validation(0.2, seed=4).fingerprint != first


@pytest.mark.parametrize("fraction", [0.0, 0.01, 1.0, -0.5, 2.0])
def test_a_fraction_that_leaves_nothing_is_an_error(fraction):
    with pytest.raises(ValueError, match="class 'a'"):
        toy().split_validation(fraction)


# ----------------------------------------------------------------------------------------------- folders


def write(path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def make_folder(root, held_out: str = "test", classes=("cat", "dog"), shape=(8, 8, 3)) -> dict[str, np.ndarray]:
    """Three training images and one to test of each class; returns the arrays by relative path."""
    names = [f"train/{k}/{i}.png" for k in classes for i in range(3)] + [f"{held_out}/{k}/0.png" for k in classes]
    arrays = {name: noise(*shape) for name in names}
    for name, array in arrays.items():
        write(root / name, array)
    return arrays


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_folder_gives_its_own_pixels_names_and_size(tmp_path, held_out):
    arrays = make_folder(tmp_path / "pets", held_out)
    data = load(str(tmp_path / "pets"))
    assert (data.name, data.class_names, data.size) == ("pets", ("cat", "dog"), 8)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    for split, prefix in ((data.train, "train"), (data.test, held_out)):
        expected = [array for name, array in arrays.items() if name.startswith(prefix)]
        assert np.array_equal(split.images.permute(0, 2, 3, 1).numpy(), np.stack(expected))
    pixels = np.stack([a for name, a in arrays.items() if name.startswith("train")]) / 255
    assert data.mean == pytest.approx(pixels.mean((0, 1, 2)), rel=1e-12)
    assert data.std == pytest.approx(pixels.std((0, 1, 2)), rel=1e-12)


def test_test_comes_before_val(tmp_path):
    make_folder(tmp_path, "val")
    arrays = make_folder(tmp_path, "test")
    data = from_folder(tmp_path)
    assert np.array_equal(data.test.images[0].permute(1, 2, 0).numpy(), arrays["test/cat/0.png"])


def test_images_of_many_sizes_are_resized_to_the_median_shorter_side(tmp_path):
    for i, (height, width) in enumerate([(20, 40), (33, 17), (50, 50), (24, 24), (90, 19)]):
        write(tmp_path / f"train/cat/{i}.png", noise(height, width, 3))
    write(tmp_path / "test/cat/0.png", noise(61, 7, 3))
    data = from_folder(tmp_path)
    assert data.train.images.shape == (5, 3, 16, 16), "the median of 20, 17, 50, 24, 19 is 20: 16 as a multiple of 8"
    assert data.test.images.shape == (1, 3, 16, 16)
    assert from_folder(tmp_path, size=12).size == 12


def test_a_wide_image_is_cropped_at_the_centre(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    for split in ("train", "test"):
        write(tmp_path / split / "cat/0.png", wide)
    assert from_folder(tmp_path).train.images.unique().tolist() == [200]


def test_grey_and_palette_images_become_rgb(tmp_path):
    make_folder(tmp_path, shape=(8, 8))
    coloured = noise(8, 8, 3) // 64 * 64
    (tmp_path / "train/cat/0.png").unlink()
    Image.fromarray(coloured).quantize(64).save(tmp_path / "train/cat/9.png")
    data = from_folder(tmp_path)
    assert data.channels == 3
    assert torch.equal(data.train.images[3, 0], data.train.images[3, 2])
    assert np.abs(data.train.images[2].permute(1, 2, 0).numpy().astype(int) - coloured).max() <= 8


def test_missing_folders_and_missing_classes_say_what_to_put_where(tmp_path):
    def message() -> str:
        with pytest.raises(FileNotFoundError) as caught:
            load(str(tmp_path))
        return str(caught.value)

    wanted = f"put images in {tmp_path}/train/<class>/ and {tmp_path}/test/<class>/"
    assert wanted in message()
    write(tmp_path / "train/cat/0.png", noise(8, 8, 3))
    assert wanted in message()
    (tmp_path / "test").mkdir()
    assert wanted in message()
    (tmp_path / "test" / "cat").mkdir()
    assert wanted in message(), "a class folder without an image"


def test_classes_of_train_and_test_must_agree(tmp_path):
    make_folder(tmp_path)
    write(tmp_path / "test/owl/0.png", noise(8, 8, 3))
    with pytest.raises(ValueError, match=r"differ \(only in test/: owl\)"):
        from_folder(tmp_path)


def test_a_file_that_is_no_image_is_named(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "train/cat/broken.png").write_bytes(b"not a PNG")
    with pytest.raises(ValueError, match=r"broken\.png"):
        from_folder(tmp_path)


# --------------------------------------------------------------------------------------------- torch data


class Listed(torch.utils.data.Dataset):
    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_pil_bytes_and_fractions_give_the_same_pixels():
    array = noise(4, 4, 3)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    forms = (Image.fromarray(array), tensor, tensor.float() / 255, tensor.double() / 255, array)
    for image in forms:
        data = from_torch(Listed([(image, 0)]), Listed([(image, 0)]))
        assert torch.equal(data.train.images, tensor[None])
    grey = from_torch(Listed([(Image.fromarray(array[..., 0]), 0)]), Listed([(Image.fromarray(array[..., 0]), 0)]))
    assert torch.equal(grey.train.images, tensor[None, :1])
    palette = Image.fromarray(array).quantize(16)
    data = from_torch(Listed([(palette, 0)]), Listed([(palette, 0)]))
    assert np.array_equal(data.train.images[0].permute(1, 2, 0).numpy(), np.asarray(palette.convert("RGB")))


def test_class_names_are_given_or_the_sets_own_or_numbers():
    items = [(torch.zeros(3, 4, 4), k) for k in (0, 1)]
    assert from_torch(Listed(items), Listed(items)).class_names == ("0", "1")
    assert from_torch(Listed(items, ["x", "y"]), Listed(items)).class_names == ("x", "y")
    assert from_torch(Listed(items, ["x", "y"]), Listed(items), ("u", "v")).class_names == ("u", "v")


def item(*shape: int, label: int = 0, value: float = 0.5, dtype=torch.float32):
    return torch.full(shape, value, dtype=dtype), label


GOOD = [item(3, 4, 4)]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([item(3, 4, 4, value=1.5)], GOOD, r"\[0, 1\]"),
        ([item(3, 4, 4, value=float("nan"))], GOOD, r"\[0, 1\]"),
        ([item(3, 4, 4, dtype=torch.int64, value=1)], GOOD, "int64"),
        ([item(4, 4)], GOOD, r"\(4, 4\)"),
        ([item(3, 4, 4), item(3, 5, 5)], GOOD, "size"),
        ([item(3, 4, 6)], [item(3, 4, 6)], "square"),
        (GOOD, [item(3, 5, 5)], "differ in size"),
        (GOOD, [item(5, 4, 4)], "differ in size"),
        ([], GOOD, "empty"),
        (GOOD, [], "empty"),
        ([item(3, 4, 4, label=0), item(3, 4, 4, label=2)], GOOD, "labels"),
        ([item(3, 4, 4, label=-1)], GOOD, "labels"),
        (GOOD, [item(3, 4, 4, label=1)], "labels"),
    ],
)
def test_unusable_items_are_value_errors(train, test, message):
    with pytest.raises(ValueError, match=message):
        from_torch(Listed(train), Listed(test))


# --------------------------------------------------------------------------------------- torchvision's sets


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


FASHION = {
    "train-images-idx3-ubyte": noise(20, 28, 28),
    "train-labels-idx1-ubyte": np.arange(20, dtype=np.uint8) % 10,
    "t10k-images-idx3-ubyte": noise(10, 28, 28),
    "t10k-labels-idx1-ubyte": np.arange(10, dtype=np.uint8),
}


def make_fashion(root) -> None:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in FASHION.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(idx(array)))


def test_fashion_mnist_from_the_four_gz_files_never_fetched(tmp_path, offline):
    make_fashion(tmp_path)
    for _ in range(2):  # the second time they lie there extracted
        data = load("fashion-mnist", root=tmp_path)
        assert data.name == "fashion-mnist"
        assert data.class_names[0] == "T-shirt/top"
        assert np.array_equal(data.train.images[:, 0].numpy(), FASHION["train-images-idx3-ubyte"])
        assert data.test.labels.tolist() == list(range(10))


def test_unidd_data_says_where_the_data_lie_and_root_comes_first(tmp_path, offline, monkeypatch):
    make_fashion(tmp_path / "here")
    monkeypatch.setenv("UNIDD_DATA", str(tmp_path / "here"))
    assert len(load("fashion-mnist").train) == 20
    with pytest.raises(FileNotFoundError):
        load("fashion-mnist", root=tmp_path / "elsewhere")


def test_a_truncated_gz_file_is_named_and_leaves_nothing_behind(tmp_path, offline):
    make_fashion(tmp_path)
    archive = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:200])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz"):
            load("fashion-mnist", root=tmp_path)
    assert not archive.with_suffix("").exists()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fashion-mnist", "train-images-idx3"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
    ],
)
@pytest.mark.parametrize("made", [True, False])
def test_missing_data_is_one_error_that_says_which_file_to_put_where(tmp_path, offline, name, file, made, capfd):
    root = tmp_path / "data"
    if made:
        root.mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        load(name, root=root)
    for word in (name, str(root), file, "UNIDD_DATA", "no network here"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob("*")) == ([root] if made else []), "no empty folders"
    assert capfd.readouterr().err == ""


def test_cifar10_from_its_archive_never_fetched(tmp_path, offline, monkeypatch):
    """The published layout with two images a file; only the checksums are those of these files."""
    folder = tmp_path / "made" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = {name: noise(10, 3072) for name in ("data_batch_1", "test_batch")}
    contents = {name: {"data": data, "labels": list(range(10))} for name, data in pixels.items()}
    contents["batches.meta"] = {"label_names": [f"class {k}" for k in range(10)]}
    md5 = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
        md5[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    archive = tmp_path / "data" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [["data_batch_1", md5["data_batch_1"]]])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": md5["batches.meta"]})
    monkeypatch.setattr(cifar, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    data = load("cifar10", root=tmp_path / "data")
    assert data.class_names[3] == "class 3"
    assert np.array_equal(data.train.images.flatten(1).numpy(), pixels["data_batch_1"])
    assert np.array_equal(data.test.images.flatten(1).numpy(), pixels["test_batch"])


# ------------------------------------------------------------------------------------------------- by name


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="cifar11") as caught:
        load("cifar11")
    assert all(name in str(caught.value) for name in NAMES)


def test_an_unusable_device_is_a_value_error():
    with pytest.raises(ValueError, match="abacus"):
        load("digits", device="abacus")
