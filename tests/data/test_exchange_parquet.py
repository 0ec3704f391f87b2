"""Sets as Hugging Face keeps data: read by the real `datasets`, changed with it, and read back."""

import io
import json
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sets import NAMES, assert_same, make
from toys import rand

from unidd.data.exchange import from_files, from_huggingface, read_set, to_huggingface
from unidd.data.exchange_parquet import FILE
from unidd.data.synthetic import SyntheticSet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.fixture
def datasets(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("datasets")


def loaded(datasets, folder, tmp_path):
    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def bytes_of(original: SyntheticSet) -> list[np.ndarray]:
    pixels = (original.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [picture[..., 0] if picture.shape[-1] == 1 else picture for picture in pixels]


# ------------------------------------------------------------------------------------------ what `datasets` reads

CLASSES = [
    NAMES,
    tuple(map(str, range(12))),
    ("Cat", "cat", "CAT", "dog"),
    ("train", "test", "valid", "a/b"),
    ("", " ", ".", '"quoted": {}', "- a\n- b", "狗", "cafe\u0301", "x" * 300),
]


@pytest.mark.parametrize("names", CLASSES, ids=lambda names: names[0][:12] or "odd")
@pytest.mark.parametrize("channels", [1, 3])
def test_labels_pixels_and_names_are_those_of_the_set(tmp_path, datasets, names, channels):
    n = 2 * len(names) + 1
    original = make(n=n, channels=channels, class_names=names, labels=torch.arange(n) % len(names))
    found = loaded(datasets, to_huggingface(original, tmp_path / "out"), tmp_path)
    assert list(found) == ["train"]
    rows = found["train"]
    assert rows.features["label"] == datasets.ClassLabel(names=list(names))
    assert isinstance(rows.features["image"], datasets.Image)
    assert [row["label"] for row in rows] == original.labels.tolist()
    for row, expected in zip(rows, bytes_of(original), strict=True):
        assert np.array_equal(np.asarray(row["image"]), expected)


def test_soft_labels_are_a_column(tmp_path, datasets):
    original = make(soft=torch.softmax(torch.randn(8, 4), 1))
    rows = loaded(datasets, to_huggingface(original, tmp_path / "out"), tmp_path)["train"]
    assert torch.equal(torch.tensor([row["soft"] for row in rows]), original.soft)
    plain = loaded(datasets, to_huggingface(make(), tmp_path / "plain"), tmp_path)["train"]
    assert plain.column_names == ["image", "label"]


def test_a_thousand_rows_come_in_groups_that_a_stream_can_read(tmp_path, datasets):
    images = rand(1050, 1, 4, 4)
    original = make(images=images, labels=torch.arange(1050) % 4, channels=1)
    folder = to_huggingface(original, tmp_path / "out")
    assert pq.ParquetFile(folder / FILE).num_row_groups == 11
    stream = datasets.load_dataset(str(folder), streaming=True, split="train")
    assert [row["label"] for row in stream] == original.labels.tolist()
    assert torch.equal(from_huggingface(folder).images, (images * 255).round() / 255)


# ------------------------------------------------------------------------------------------ the data-set card


def front_matter(folder) -> dict:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def test_the_card_says_protocol_and_provenance(tmp_path):
    config = {"method": "cfm", "ipc": 2, "seed": 3, "beta": 0.1, "cell": {"model": "convnet", "budget": "smoke"}}
    config |= {"data": {"name": "digits", "fingerprint": "f00"}, "start": {"sha256": "5ee"}}
    folder = to_huggingface(make(config=config, soft=torch.rand(8, 4)), tmp_path / "my set")
    front = front_matter(folder)
    assert front["task_categories"] == ["image-classification"]
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert front["unidd"]["provenance"] == {
        "source": "digits",
        "source fingerprint": "f00",
        "method": "cfm",
        "settings": {"ipc": 2, "seed": 3, "beta": 0.1},
        "model": "convnet",
        "budget": "smoke",
        "teacher": {"hash": "abc", "accuracy": 100 / 3},
        "started from": "5ee",
        "versions": make().versions,
    }
    assert front["unidd"]["protocol"]["images per class"] == 2
    assert front["unidd"]["protocol"]["mean"] == [0.1, 0.2, 1 / 3]
    assert "soft" in front["unidd"]["protocol"]["labels"]
    assert "# my set\n\n8 images of 4 classes, a synthetic set distilled from digits." in (
        folder / "README.md"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["a: b", "- x", "Ünï # no comment", "'quoted' \"twice\"", "{}", "\x85\u2028\ufeff\x7f\U0001f600"]
)
def test_whatever_is_on_the_card_is_yaml(tmp_path, name):
    config = {"method": name, "note": f"{name}\n---\n{name}", "data": {"name": name}}
    assert front_matter(to_huggingface(make(config=config), tmp_path / "x"))["unidd"]["provenance"]["method"] == name


def test_the_folder_of_ones_data_is_not_told_to_the_world(tmp_path):
    config = {"method": "cfm", "cell": {"dataset": "/home/me/secret/pets"}}
    readme = (to_huggingface(make(config=config), tmp_path / "x") / "README.md").read_text()
    assert "distilled from pets" in readme
    assert "secret" not in readme


# ------------------------------------------------------------------------------------------ back again


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("soft", [None, torch.rand(8, 4)])
def test_there_and_back_keeps_all_but_half_a_grey_level(tmp_path, channels, soft):
    original = make(channels=channels, soft=soft)
    folder = to_huggingface(original, tmp_path / "out")
    back = from_huggingface(folder)
    assert_same(original, back, images=False)
    assert (original.images - back.images).abs().max() <= 1 / 510 + 1e-6
    assert_same(back, from_huggingface(to_huggingface(back, tmp_path / "again")))
    for read in (read_set, from_files):
        assert_same(back, read(folder))


@pytest.mark.parametrize(
    ("edit", "labels", "said"),
    [
        (lambda rows, _: rows.select([0, 1, 3, 4, 5, 6, 7]), [0, 1, 3, 0, 1, 2, 3], "1 removed"),
        (lambda rows, d: d.concatenate_datasets([rows, rows.select([5])]), [0, 1, 2, 3] * 2 + [1], "1 added"),
        (lambda rows, _: rows.select([7, 1, 2, 3, 4, 5, 6, 0]), [3, 1, 2, 3, 0, 1, 2, 0], "rows in another order"),
        (lambda rows, _: rows.map(lambda row: {"label": 3 - row["label"]}), [3, 2, 1, 0] * 2, "8 moved to another"),
        (lambda rows, _: rows, [0, 1, 2, 3] * 2, None),
    ],
    ids=["removed", "added", "swapped", "relabelled", "saved again"],
)
def test_rows_that_someone_edited_with_datasets(tmp_path, datasets, edit, labels, said):
    folder = to_huggingface(make(soft=torch.rand(8, 4)), tmp_path / "out")
    rows = loaded(datasets, folder, tmp_path)["train"]
    edit(rows, datasets).to_parquet(str(tmp_path / "edited.parquet"))
    (tmp_path / "edited.parquet").replace(folder / FILE)
    back = from_huggingface(folder)
    assert back.labels.tolist() == labels
    assert back.soft.shape == (len(labels), 4)
    changed = back.config.get("import", {}).get("changed")
    assert (changed or "").startswith(said or "")
    assert bool(changed) == bool(said)


# ------------------------------------------------------------------------------------------ what others uploaded


def of_others(datasets, path, labels, column="label", names=None, soft=None):
    """Rows as `datasets` writes them: one colour a label."""
    pictures = [Image.new("RGB", (6, 6), (20 * label, i, 0)) for i, label in enumerate(labels)]
    features = {
        "image": datasets.Image(),
        column: datasets.ClassLabel(names=names) if names else datasets.Value("int32"),
    }
    columns = {"image": pictures, column: labels}
    if soft is not None:
        columns["soft"], features["soft"] = soft.tolist(), datasets.List(datasets.Value("float32"))
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=datasets.Features(features)).to_parquet(str(path))


def reds(found: SyntheticSet) -> list[int]:
    return (found.images[:, 0, 0, 0] * 255 / 20).round().long().tolist()


def test_rethinkdc(tmp_path, datasets):
    """Images and numbers alone, in a folder data/ with more than one split."""
    labels = [0, 0, 1, 1, 2, 2, 3, 3]
    of_others(datasets, tmp_path / "data" / "train-00000-of-00002.parquet", labels[:4], "class_id")
    of_others(datasets, tmp_path / "data" / "train-00001-of-00002.parquet", labels[4:], "class_id")
    of_others(datasets, tmp_path / "data" / "validation-00000-of-00001.parquet", [0], "class_id")
    found = from_files(tmp_path, mean=MEAN, std=STD, class_names=("n1", "n2", "n3", "n4"), ipc=2)
    assert found.labels.tolist() == reds(found) == labels
    assert found.config["method"] == "Hugging Face"
    assert "assumed" in found.config["import"]["classes"]
    turned = from_files(
        tmp_path, mean=MEAN, std=STD, class_names=("n1", "n2", "n3", "n4"), order=("n4", "n3", "n2", "n1")
    )
    assert turned.labels.tolist() == [3 - k for k in labels]


def test_names_decide_whatever_the_numbers_are(tmp_path, datasets):
    soft = torch.softmax(4 * torch.eye(4)[[0, 1, 2, 3]] + torch.rand(4, 4), 1)
    of_others(datasets, tmp_path / "rows.parquet", [0, 1, 2, 3], names=["fox", "eel", "dog", "cat"], soft=soft)
    found = from_files(tmp_path / "rows.parquet", mean=MEAN, std=STD, class_names=("cat", "dog", "eel", "fox"))
    assert found.labels.tolist() == [3, 2, 1, 0]
    assert torch.equal(found.soft, soft.flip(1))
    assert reds(found) == [0, 1, 2, 3]
    assert found.config["import"]["classes"] == "the names of the labels"
    alone = from_files(tmp_path / "rows.parquet", mean=MEAN, std=STD)
    assert alone.class_names == ("fox", "eel", "dog", "cat")
    with pytest.raises(
        ValueError, match=r"4 labels \(fox, eel, dog, …\) are not named or numbered after the 2 classes"
    ):
        from_files(tmp_path / "rows.parquet", mean=MEAN, std=STD, class_names=("ant", "bee"))


# ------------------------------------------------------------------------------------------ what is refused


def png(size: int = 6) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size)).save(file, "PNG")
    return file.getvalue()


def table(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


BAD = {
    "no image": ({"picture": [png()], "label": [0]}, "has no column image or img, only picture, label"),
    "no label": ({"image": [png()], "y": [0]}, "has no column label or class_id, only image, y"),
    "names for labels": ({"image": [png()], "label": ["cat"]}, "needs a whole number as label"),
    "half a label": ({"image": [png()], "label": [0.5]}, "needs a whole number as label"),
    "no rows": ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "needs a whole number"),
    "a path": ({"image": [{"bytes": None, "path": "a.png"}], "label": [0]}, "row 0 holds no picture"),
    "text": ({"image": [png(), b"no picture"], "label": [0, 1]}, "row 1 cannot be read"),
    "two sizes": ({"image": [png(), png(7)], "label": [0, 1]}, r"row 1 is \(7, 7\)"),
    "ragged": ({"image": [png()] * 2, "label": [0, 1], "soft": [[1.0, 0.0], [1.0]]}, "one number of each class"),
    "NaN": ({"image": [png()] * 2, "label": [0, 1], "soft": [[1.0, float("nan")]] * 2}, "contain NaN"),
    "below 0": ({"image": [png()] * 2, "label": [-1, 1]}, "the labels are of 2 classes"),
}


@pytest.mark.parametrize(("columns", "message"), BAD.values(), ids=BAD)
def test_rows_that_are_no_set_are_one_clear_error(tmp_path, columns, message):
    table(tmp_path / "rows.parquet", **columns)
    with pytest.raises(ValueError, match=message) as caught:
        from_files(tmp_path / "rows.parquet", mean=MEAN, std=STD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 4, 100, -5])
def test_a_truncated_file_is_named(tmp_path, keep):
    folder = to_huggingface(make(), tmp_path / "out")
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"train-00000-of-00001\.parquet is damaged") as caught:
        read_set(folder)
    assert "\n" not in str(caught.value)


def test_a_card_without_rows_is_said(tmp_path):
    folder = to_huggingface(make(), tmp_path / "out")
    (folder / FILE).unlink()
    with pytest.raises(FileNotFoundError, match=r"images\.safetensors is missing"):
        read_set(folder)
    (folder / "card.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"card\.json is missing"):
        from_huggingface(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b", "a", "c")}, "two classes are called 'a'"),
        ({"channels": 5, "mean": (0.5,) * 5, "std": (0.5,) * 5}, "5 channels"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        to_huggingface(make(**changes), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_export_goes_to_a_new_folder_and_one_that_fails_leaves_nothing(tmp_path, monkeypatch):
    to_huggingface(make(), tmp_path / "out")
    with pytest.raises(FileExistsError, match="not empty"):
        to_huggingface(make(seed=1), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "card.json").read_text())["class_names"] == list(NAMES)

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        to_huggingface(make(), tmp_path / "new")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    folder = to_huggingface(make(), tmp_path / "out")
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    for work in (lambda: to_huggingface(make(), tmp_path / "new"), lambda: read_set(folder)):
        with pytest.raises(ValueError, match=r"need pyarrow: pip install 'unidd\[exchange\]'"):
            work()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
