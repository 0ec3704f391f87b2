"""Exported sets read by the libraries people read them with, and files those write, where they are installed.

DD-Ranking asks for an older numpy than the rest of this project: install it beside, without its requirements.
"""

import numpy as np
import pytest
import torch
from sets import make

from unidd.data.datasets import ImageData, Split
from unidd.data.exchange import from_files, from_imagefolder, to_ddranking, to_imagefolder, to_vico, undo_zca

CLASSES = [
    ("T-shirt/top", "Trouser", "Pullover", "Dress"),
    tuple(map(str, range(12))),
    ("10", "2", "Zebra", "apple"),
    ("a/b", "a-b", "CON", "..", "", "dots...", "space ", ".hidden"),
    ("Cat", "cat", "CAT", "dog"),
    ("fish", "steam train", "test", "valid"),
    ("x" * 300, "x" * 299 + "y", "狗", "m²"),
]


def exported(folder, names):
    """A folder, and the label of each picture by its bytes."""
    n = 2 * len(names)
    original = make(n=n, class_names=names, labels=torch.arange(n) % len(names), soft=torch.rand(n, len(names)))
    pixels = (original.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    labels = {picture.tobytes(): int(label) for picture, label in zip(pixels, original.labels, strict=True)}
    return to_imagefolder(original, folder), labels


@pytest.mark.parametrize("names", CLASSES, ids=lambda names: names[0][:12])
def test_timm(tmp_path, names):
    timm = pytest.importorskip("timm.data")
    folder, labels = exported(tmp_path / "out", names)
    found = timm.ImageDataset(str(folder))
    assert {np.asarray(image).tobytes(): label for image, label in found} == labels


@pytest.mark.parametrize("names", CLASSES, ids=lambda names: names[0][:12])
def test_hugging_face(tmp_path, names, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    folder, labels = exported(tmp_path / "out", names)
    found = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"]
    assert {np.asarray(row["image"]).tobytes(): row["label"] for row in found["train"]} == labels


def test_what_hugging_face_reads_goes_back(tmp_path, monkeypatch):
    """Export, read, write the pictures again by the names of their labels, import: labels and pixels are equal."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    names = ("fox", "ant", "10", "2")
    original = make(n=12, class_names=names)
    folder = to_imagefolder(original, tmp_path / "out")
    rows = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    for i, row in enumerate(rows):
        path = tmp_path / "again" / rows.features["label"].int2str(row["label"]) / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        row["image"].save(path)
    back = from_files(tmp_path / "again", mean=original.mean, std=original.std, class_names=names)
    order = original.labels.argsort(stable=True)
    assert torch.equal(back.labels.sort().values, original.labels.sort().values)
    assert torch.equal(back.images[back.labels.argsort(stable=True)], from_imagefolder(folder).images[order])


@pytest.mark.parametrize("soft", [None, torch.rand(12, 6)])
def test_dd_ranking(tmp_path, monkeypatch, soft):
    """Its own evaluator makes a data set of the tensors, and trains an epoch of its own ConvNet on it."""
    pytest.importorskip("ddranking")
    from ddranking.metrics import soft_label
    from ddranking.utils import build_model

    original = make(n=12, class_names=tuple("fcebda"), labels=torch.arange(12) % 6, soft=soft)
    seen, epoch = [], soft_label.train_one_epoch

    def watched(*, loader, **task):
        seen.extend(zip(*(torch.cat(parts) for parts in zip(*loader, strict=True)), strict=True))
        return epoch(loader=loader, **task)

    monkeypatch.setattr(soft_label, "train_one_epoch", watched)
    folder = to_ddranking(original, tmp_path / "out")
    images, labels = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("images", "labels"))
    evaluator = object.__new__(soft_label.LabelRobustScoreSoft)  # its __init__ fetches CIFAR-10
    vars(evaluator).update(use_dist=False, rank=0, device="cpu", num_workers=0, num_epochs=1, test_interval=20)
    vars(evaluator).update(optimizer="sgd", lr_scheduler="step", step_size=1, weight_decay=0.0, momentum=0.9)
    vars(evaluator).update(real_batch_size=3, syn_batch_size=3, aug_func=None, use_aug_for_hard=False)
    vars(evaluator).update(soft_label_mode="S", soft_label_criterion="kl", teacher_models=None)
    vars(evaluator).update(loss_fn_kwargs={"temperature": 1.0, "scale_loss": False})
    model = build_model("ConvNet-1", 6, (6, 6), pretrained=False, device="cpu")
    if soft is None:
        evaluator._compute_hard_label_metrics(model, images, None, 0.01, labels, mode="syn")
    else:
        evaluator._compute_soft_label_metrics(model, images, None, 0.01, labels)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (original.mean, original.std))
    expected = original.labels if soft is None else original.soft
    assert len(seen) == 12
    for image, label in seen:
        (i,) = [k for k, pixels in enumerate(original.images) if torch.allclose(image * std + mean, pixels, atol=1e-6)]
        assert torch.equal(label, expected[i])
    back = from_files(folder, class_names=original.class_names)
    assert torch.allclose(back.images, original.images[original.labels.argsort(stable=True)], atol=1e-6)


def test_the_file_of_vico_trains_a_network_as_their_evaluation_does(tmp_path):
    """As dc_benchmark loads it: the last of "data", images and labels, into torch's own TensorDataset."""
    original = make()
    images, labels = torch.load(to_vico(original, tmp_path / "res_DM.pt"), weights_only=True)["data"][-1]
    rows = list(torch.utils.data.TensorDataset(images, labels))
    assert [int(label) for _, label in rows] == sorted(original.labels.tolist())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (original.mean, original.std))
    for (image, label), i in zip(rows, original.labels.argsort(stable=True).tolist(), strict=True):
        assert int(label) == int(original.labels[i])
        assert torch.allclose(image * std + mean, original.images[i], atol=1e-6)


def test_checkpoints_that_flax_writes(tmp_path):
    """FRePo's: its own state beside the images and labels it learns."""
    serialization = pytest.importorskip("flax.serialization")
    original = make()
    soft = (torch.eye(4)[original.labels] - 1 / 4) / (4 / 10) ** 0.5
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (original.mean, original.std))
    images = ((original.images - mean) / std).permute(0, 2, 3, 1).contiguous().numpy()
    state = {"step": np.int32(7), "params": {"x_proto": images, "y_proto": soft.numpy()}}
    state["opt_state"] = {"0": {"count": np.int32(3), "mu": {"x_proto": np.zeros((2, 3), "float32")}}}
    (tmp_path / "best_ckpt").mkdir()
    (tmp_path / "best_ckpt" / "checkpoint_500").write_bytes(serialization.msgpack_serialize(state))
    found = from_files(tmp_path, space="normalised", mean=original.mean, std=original.std)
    assert torch.allclose(found.images, original.images, atol=1e-6)
    assert torch.equal(found.labels, original.labels)
    assert torch.equal(found.soft, soft)
    assert found.config["import"]["format"] == "FRePo"


def test_kornias_whitening_is_undone():
    kornia = pytest.importorskip("kornia")
    generator = torch.Generator().manual_seed(0)
    images = torch.nn.functional.avg_pool2d(torch.rand(200, 3, 8, 8, generator=generator), 3, 1)
    split = Split((images * 255).byte(), torch.arange(200) % 4)
    whitening = kornia.enhance.ZCAWhitening(eps=0.1)
    pixels = split.images.float() / 255
    whitening.fit(pixels)
    back = undo_zca(whitening(pixels[:10]), ImageData("toy", split, split, tuple("abcd")))
    assert torch.allclose(back, pixels[:10], atol=1e-5)
