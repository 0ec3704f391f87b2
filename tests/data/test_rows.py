"""Rows of any usual shape: what torch, Hugging Face and MedMNIST give, batches and streams; and what is no row."""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset, random_split

from unidd.data.datasets import from_torch
from unidd.data.remarks import DataNote

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
LABELS = [k % 3 for k in range(12)]
IMAGES = [Image.fromarray(array) for array in PIXELS]
PAIRS = list(zip(IMAGES, LABELS, strict=True))
TENSOR = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)


class Pictures(torch.utils.data.Dataset):
    """Map-style, with class names, and without an end that raises."""

    classes = ("cat", "dog", "owl")

    def __init__(self, pairs=PAIRS):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, k):
        return self.pairs[k % len(self.pairs)]


class Stream(IterableDataset):
    def __init__(self, rows=PAIRS):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


def dicts(image="image", label="label", **more):
    return [{image: x, label: k, **more} for x, k in PAIRS]


def same(data) -> bool:
    expected = torch.tensor(LABELS)
    images = all(torch.equal(split.images, TENSOR) for split in (data.train, data.test))
    return images and all(torch.equal(split.labels, expected) for split in (data.train, data.test))


# ----------------------------------------------------------------------------------------------- where rows are


@pytest.mark.parametrize(
    "rows",
    [
        PAIRS,
        tuple(PAIRS),
        Pictures(),
        Stream(),
        dicts(),
        Stream(dicts()),
        TensorDataset(TENSOR, torch.tensor(LABELS)),
        TensorDataset(TENSOR.float() / 255, torch.tensor(LABELS)[:, None]),
        DataLoader(Pictures(list(zip(TENSOR, LABELS, strict=True))), batch_size=5, shuffle=True, drop_last=True),
        DataLoader(Pictures(list(zip(TENSOR, LABELS, strict=True))), batch_size=None),
        DataLoader(Stream(list(zip(TENSOR, LABELS, strict=True))), batch_size=5),
        DataLoader([{"image": x, "label": k} for x, k in zip(TENSOR, LABELS, strict=True)], batch_size=4),
        DataLoader(Pictures(), batch_size=5, collate_fn=lambda rows: tuple(map(list, zip(*rows, strict=True)))),
        DataLoader(dicts(), batch_size=5, collate_fn=lambda rows: {k: [row[k] for row in rows] for k in rows[0]}),
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_all_that_holds_rows_gives_the_same_pixels_in_order(rows):
    assert same(from_torch(rows, rows))


def test_a_loader_that_takes_some_rows_gives_those():
    sampler = torch.utils.data.SubsetRandomSampler([3, 4, 5])
    loader = DataLoader(Pictures(list(zip(TENSOR, LABELS, strict=True))), batch_size=2, sampler=sampler)
    data = from_torch(loader, PAIRS)
    assert sorted(data.train.labels.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("image", ["image", "img", "pixel_values"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label", "target"])
def test_the_usual_names_of_columns(image, label):
    assert same(from_torch(dicts(image, label, id=7), dicts(image, label)))


def test_columns_are_asked_for_where_several_fit_or_none():
    rows = dicts("img", "fine_label", coarse_label=0)
    with pytest.raises(ValueError, match=r"columns are img, fine_label, coarse_label.*as in label='fine_label'"):
        from_torch(rows, rows)
    assert same(from_torch(rows, rows, label="fine_label"))
    strange = dicts("photo", "kind")
    with pytest.raises(ValueError, match=r"say which is the image: image=…"):
        from_torch(strange, strange)
    assert same(from_torch(strange, strange, image="photo", label="kind"))
    with pytest.raises(ValueError, match=r"no column 'picture': choose from photo, kind"):
        from_torch(strange, strange, image="picture", label="kind")


def test_a_dict_of_splits():
    for name in ("test", "validation", "val"):
        assert same(from_torch({"train": PAIRS, name: Stream()}))
    with pytest.warns(DataNote, match="left aside: unsupervised"):
        assert same(from_torch({"train": PAIRS, "test": PAIRS, "unsupervised": []}))
    with pytest.raises(ValueError, match=r"the splits are a, b: give the training rows"):
        from_torch({"a": PAIRS, "b": PAIRS})
    with pytest.raises(ValueError, match=r"hold_out=0\.1"):
        from_torch({"train": PAIRS})


def test_part_of_the_training_rows_is_held_out():
    data = from_torch(PAIRS, hold_out=0.25, seed=3)
    assert torch.bincount(data.train.labels).tolist() == [3, 3, 3]
    assert torch.bincount(data.test.labels).tolist() == [1, 1, 1]
    both = torch.cat([data.train.images, data.test.images])
    assert {x.numpy().tobytes() for x in both} == {x.numpy().tobytes() for x in TENSOR}
    assert from_torch(Stream(), hold_out=0.25, seed=3).fingerprint == data.fingerprint
    with pytest.raises(ValueError, match="leave hold_out out"):
        from_torch(PAIRS, PAIRS, hold_out=0.25)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (7, "int has no rows: a row must be .image, label."),
        ({"image": IMAGES, "label": LABELS}, "dict has no rows"),
        ([IMAGES[0]], "row 0 .*not a Image"),
        ([(IMAGES[0], 0, "x")], "row 0 .*not 3 parts"),
        ([PAIRS[0], PAIRS[1], (IMAGES[0],)], "row 2 .*not 1 parts"),
        ([], "empty"),
        (Stream([]), "empty"),
    ],
)
def test_what_is_no_row_says_what_one_is(rows, said):
    with pytest.raises(ValueError, match=said):
        from_torch(rows, PAIRS)
    with pytest.raises(ValueError, match=said):
        from_torch(PAIRS, rows)


# ------------------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize(
    "form",
    [
        np.uint8,
        np.int64,
        float,
        np.float32,
        torch.tensor,
        lambda k: np.array([k], np.uint8),
        lambda k: np.array(k),
        lambda k: torch.tensor([k]),
        lambda k: torch.tensor([[k]]),
        lambda k: [k],
    ],
)
def test_one_whole_number_in_any_wrapping(form):
    rows = [(image, form(k)) for image, k in PAIRS]
    assert same(from_torch(rows, rows))


@pytest.mark.parametrize(
    "label",
    [
        np.array([1, 0, 1]),
        torch.eye(3)[1],
        [0, 2],
        "cat",
        0.5,
        float("nan"),
        float("inf"),
        None,
        True,
        np.True_,
        torch.tensor(True),
        np.array([]),
        {"k": 1},
        -1,
        b"1",
        [[1]],
    ],
)
def test_a_label_that_is_not_one_whole_number_is_one_error_with_its_row(label):
    rows = [*PAIRS, (IMAGES[0], label), (IMAGES[0], label)]
    for train, test, where in ((rows, PAIRS, "training"), (PAIRS, Stream(rows), "test")):
        with pytest.raises(ValueError, match=rf"^{where} images, row 12 \(from 0\): .*label") as caught:
            from_torch(train, test)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_labels_with_gaps_are_refused_with_what_to_say():
    some = [pair for pair in PAIRS if pair[1] != 1]
    with pytest.raises(ValueError, match=r"labels 0 … 2 have gaps.*class dog: say classes=\['cat', 'owl'\]"):
        from_torch(Pictures(some), Pictures(some))
    data = from_torch(Pictures(some), Pictures(some), classes=["cat", "owl"])
    assert data.class_names == ("cat", "owl")
    assert data.train.labels.tolist() == [0, 1] * 4
    plain = [(image, 2 * k + 3) for image, k in PAIRS]
    with pytest.raises(ValueError, match=r"say classes=\['3', '5', '7'\]"):
        from_torch(plain, plain)
    assert from_torch(plain, plain, classes=[3, 5, 7]).train.labels.tolist() == LABELS
    with pytest.raises(ValueError, match="labels"):
        from_torch(some, PAIRS, class_names=["a", "b"])


# ------------------------------------------------------------------------------------------------- class names


def test_names_come_from_what_a_data_set_wraps():
    whole, names = Pictures(), ("cat", "dog", "owl")
    part = random_split(whole, [6, 6], torch.Generator().manual_seed(0))[0]
    for rows in (
        Subset(whole, range(12)),
        Subset(Subset(whole, range(12)), range(9)),
        ConcatDataset([whole, Subset(whole, [0])]),
        DataLoader(whole, batch_size=2, collate_fn=lambda rows: tuple(zip(*rows, strict=True))),
        part,
    ):
        assert from_torch(rows, PAIRS).class_names == names
    assert from_torch(whole, PAIRS, ["x", "y", "z"]).class_names == ("x", "y", "z")
    assert from_torch(PAIRS, whole).class_names == ("0", "1", "2")


def test_names_of_medmnist_and_of_categories():
    class Med(Pictures):
        classes = None
        info = {"label": {"2": "glass", "0": "bone", "1": "skin"}}  # noqa: RUF012

    class Categories(Pictures):
        classes = None
        categories = ("x", "y", "z")

    assert from_torch(Med(), Med()).class_names == ("bone", "skin", "glass")
    assert from_torch(Categories(), Categories()).class_names == ("x", "y", "z")


def test_splits_and_parts_with_other_classes_are_refused():
    class Other(Pictures):
        classes = ("cat", "owl", "dog")

    class More(Pictures):
        classes = ("cat", "dog", "owl", "bat")

    with pytest.raises(ValueError, match="in their order"):
        from_torch(Pictures(), Other())
    with pytest.raises(ValueError, match="only in test: bat"):
        from_torch(Pictures(), More())
    with pytest.raises(ValueError, match="joined have different classes"):
        from_torch(ConcatDataset([Pictures(), Other()]), PAIRS)


# ------------------------------------------------------------------------------------------------------ images


def encoded(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_an_image_in_any_form(tmp_path):
    for k, image in enumerate(IMAGES):
        image.save(tmp_path / f"{k}.png")
    forms = (
        lambda k: PIXELS[k],
        lambda k: np.asfortranarray(PIXELS[k]),
        lambda k: PIXELS[k].transpose(2, 0, 1),
        lambda k: PIXELS[k] / 255,
        lambda k: TENSOR[k],
        lambda k: TENSOR[k].double() / 255,
        lambda k: PIXELS[k].astype(np.uint16) * 257,
        lambda k: encoded(IMAGES[k]),
        lambda k: {"bytes": encoded(IMAGES[k]), "path": None},
        lambda k: {"bytes": None, "path": str(tmp_path / f"{k}.png")},
        lambda k: tmp_path / f"{k}.png",
        lambda k: str(tmp_path / f"{k}.png"),
    )
    for form in forms:
        rows = [(form(k), label) for k, label in enumerate(LABELS)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataNote)
            data = from_torch(rows, rows)
        assert same(data)
        assert data.train.images.is_contiguous()


def test_grey_colour_and_transparency_go_by_the_rules_of_files():
    grey, colour = Image.fromarray(PIXELS[0, ..., 0]), IMAGES[1]
    clear = Image.fromarray(np.dstack([PIXELS[2], np.zeros((8, 8), np.uint8)]))
    assert from_torch([(grey, 0)], [(grey, 0)]).channels == 1
    with pytest.warns(DataNote, match="custom, 3 pictures: 1 transparency on white, 1 grey to colour"):
        data = from_torch([(grey, 0), (clear, 0)], [(colour, 0)])
    assert data.channels == 3
    assert torch.equal(data.train.images[0, 0], data.train.images[0, 2])
    assert set(data.train.images[1].flatten().tolist()) == {255}
    with pytest.warns(DataNote, match="1 colour to grey"):
        assert from_torch([(grey, 0)], [(colour, 0)], channels=1).channels == 1
    for form in (np.asarray(clear), torch.from_numpy(np.array(clear)).permute(2, 0, 1)):
        with pytest.warns(DataNote, match="transparency on white"):
            assert torch.equal(from_torch([(form, 0)], [(colour, 0)]).train.images[0], data.train.images[1])


def test_more_channels_than_colour_has_stay_as_they_are():
    for count in (2, 4, 7):
        rows = [(torch.randint(0, 256, (count, 8, 8), dtype=torch.uint8), 0)]
        data = from_torch(rows, rows, channels=None if count > 4 else count)
        assert torch.equal(data.train.images[0], rows[0][0])
    with pytest.raises(ValueError, match="images of 7 channels stay as they are"):
        from_torch(rows, rows, size=4)
    with pytest.raises(ValueError, match="images of 7 channels stay as they are"):
        from_torch(rows, rows, channels=3)


def test_images_of_many_sizes_need_to_be_told_one():
    rows = [(Image.new("RGB", (8 + k, 10)), 0) for k in range(4)]
    with pytest.raises(ValueError, match=r"differ in size.*say the size"):
        from_torch(rows, rows)
    with pytest.warns(DataNote, match="6 cropped, 8 scaled"):
        assert from_torch(rows, rows, size=4).train.images.shape == (4, 3, 4, 4)


def test_sixteen_bits_and_one_bit_in_memory():
    values = RNG.integers(0, 65536, (8, 8)).astype(np.uint16)
    for form in (values, Image.fromarray(values), torch.from_numpy(values)[None]):
        with pytest.warns(DataNote, match="2 16-bit"):
            data = from_torch([(form, 0)], [(form, 0)])
        assert np.array_equal(data.train.images[0, 0], np.rint(values / 257))
    bits = values > 30000
    for form in (bits, Image.fromarray(bits), torch.from_numpy(bits)[None]):
        assert np.array_equal(from_torch([(form, 0)], [(form, 0)]).train.images[0, 0], bits * 255)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.fromarray(PIXELS[0, ..., 0].astype(np.int32)), "32 bits"),
        (Image.fromarray(PIXELS[0, ..., 0].astype(np.float32)), "32 bits"),
        (np.zeros((2, 3, 8, 8), np.uint8), "not uint8 "),
        (np.zeros((0, 8), np.uint8), "not uint8"),
        (torch.full((3, 8, 8), 200.0), r"\[0, 1\]"),
        (encoded(IMAGES[0])[:60], "cannot be read"),
        ("gone.png", r"gone\.png cannot be read"),
        (None, "images must be PIL"),
        (Image.open(io.BytesIO(encoded(IMAGES[0])[:120])), "truncated"),
    ],
)
def test_an_image_that_cannot_be_used_is_named_by_its_row(image, said):
    with pytest.raises(ValueError, match=rf"^training images, row 1 \(from 0\): .*{said}"):
        from_torch([PAIRS[0], (image, 1)], PAIRS)


# -------------------------------------------------------------------------------------- the real Hugging Face


@pytest.fixture
def faces(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    datasets.disable_progress_bars()
    features = {
        "img": datasets.Image(),
        "id": datasets.Value("int64"),
        "kind": datasets.ClassLabel(names=["cat", "dog", "owl"]),
    }
    columns = {"img": IMAGES, "id": list(range(12)), "kind": LABELS}
    return datasets, datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_hugging_faces_data_sets(faces):
    datasets, rows = faces
    forms = (
        rows,
        rows.to_iterable_dataset(),
        rows.with_format("torch"),
        rows.with_format("numpy"),
        rows.cast_column("img", datasets.Image(decode=False)),
        DataLoader(rows.with_format("torch"), batch_size=5, shuffle=True),
    )
    for form in forms:
        data = from_torch(form, form)
        assert same(data)
        assert data.class_names == ("cat", "dog", "owl"), "the only image column and the only class label"
    for kind in (datasets.DatasetDict, datasets.IterableDatasetDict):
        parts = {"train": rows, "validation": rows}
        parts = parts if kind is datasets.DatasetDict else {k: v.to_iterable_dataset() for k, v in parts.items()}
        assert same(from_torch(kind(parts)))


def test_hugging_faces_rows_with_two_labels_or_a_damaged_picture(faces):
    datasets, rows = faces
    two = rows.add_column("coarse", [0] * 12).cast_column("coarse", datasets.ClassLabel(names=["all"]))
    with pytest.raises(ValueError, match="columns are kind, coarse: say which is the label"):
        from_torch(two, two)
    assert same(from_torch(two, two, label="kind"))
    content = [encoded(IMAGES[0]), encoded(IMAGES[0])[:120]]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["x"])})
    images = [{"bytes": each, "path": None} for each in content]
    cut = datasets.Dataset.from_dict({"image": images, "label": [0, 0]}, features=features)
    for form in (cut, cut.to_iterable_dataset()):
        with pytest.raises(ValueError, match=r"test images, row 1 \(from 0\): .*truncated"):
            from_torch(PAIRS, form)


def test_medmnist(tmp_path, monkeypatch):
    medmnist = pytest.importorskip("medmnist")
    monkeypatch.setitem(medmnist.INFO["breastmnist"], "n_samples", dict.fromkeys(("train", "val", "test"), 4))
    arrays = RNG.integers(0, 256, (4, 28, 28), dtype=np.uint8)
    labels = np.array([[0], [1], [1], [0]], np.uint8)
    parts = {
        f"{split}_{what}": x
        for split in ("train", "val", "test")
        for what, x in (("images", arrays), ("labels", labels))
    }
    np.savez(tmp_path / "breastmnist.npz", **parts)
    train, test = (medmnist.BreastMNIST(split=split, root=str(tmp_path)) for split in ("train", "test"))
    data = from_torch(train, test)
    assert data.class_names == ("malignant", "normal, benign")
    assert data.train.labels.tolist() == [0, 1, 1, 0]
    assert np.array_equal(data.test.images[:, 0], arrays)
