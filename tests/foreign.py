"""Sets as the released code of other methods leaves them on disk: one writer for each format.

Each writes pixels in [0, 1] (n, C, H, W) and labels (n,), class after class, and returns the options that `unidd
import` needs because the file does not say them. To look at one: python tests/foreign.py MTT a-new-folder
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unidd.data.datasets import ImageData, load

Options = list[str]


def normalised(images: Tensor, mean, std) -> Tensor:
    return (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


def whitening(data: ImageData, mean=None, std=None) -> tuple[np.ndarray | int, np.ndarray]:
    """Slowly and plainly, in numpy: centre and matrix of what kornia, or with mean and std KIP, whitens with."""
    x = data.train.images.double().numpy() / 255
    if mean is None:
        x = x.reshape(len(x), -1)
        centre = x.mean(0)
        u, s, _ = np.linalg.svd((x - centre).T @ (x - centre) / (len(x) - 1))
        return centre, u @ np.diag(1 / np.sqrt(s + 0.1)) @ u.T
    x = (x - np.array(mean).reshape(1, -1, 1, 1)) / np.array(std).reshape(1, -1, 1, 1)
    x = x.reshape(len(x), -1)
    covariance = x.T @ x / len(x)
    u, s, _ = np.linalg.svd(covariance)
    return 0, u @ np.diag(1 / np.sqrt(s + 0.1 * np.trace(covariance) / len(s))) @ u.T


def whitened(images: Tensor, data: ImageData, kip: bool = False) -> Tensor:
    """(n, C, H, W) as kornia's ZCA gives them, or KIP's and FRePo's."""
    moments = (data.mean, data.std) if kip else ()
    centre, matrix = whitening(data, *moments)
    x = normalised(images, *moments) if kip else images
    flat = (x.double().numpy().reshape(len(x), -1) - centre) @ matrix
    return torch.from_numpy(flat).float().view(images.shape)


def logits_of(labels: Tensor, classes: int) -> Tensor:
    noise = torch.rand(len(labels), classes, generator=torch.Generator().manual_seed(2))
    return 8 * torch.eye(classes)[labels] + noise


def vico(method: str) -> Callable:
    def write(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
        """All experiments in one file; loaders take the last."""
        others = [[torch.randn_like(images), labels] for _ in range(2)]
        content = {"data": [*others, [normalised(images, data.mean, data.std), labels]]}
        content["accs_all_exps"] = {"ConvNet": [np.float64(0.5), 0.25]}
        torch.save(content, folder / f"res_{method}_mine_ConvNet_2ipc.pt")
        return []

    return write


def mtt(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    torch.save(normalised(images, data.mean, data.std), folder / "images_best.pt")
    torch.save(labels, folder / "labels_best.pt")
    return ["--space", "normalised", "--rate", "0.02"]


def mtt_zca(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    torch.save(whitened(images, data), folder / "images_best.pt")
    torch.save(images, folder / "images_zca_best.pt")  # to look at
    torch.save(labels, folder / "labels_best.pt")
    return ["--space", "zca"]


def tesla(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    mtt(folder, images, torch.softmax(logits_of(labels, data.classes), 1), data)
    return ["--space", "normalised"]


def datm(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    mtt_zca(folder, images, logits_of(labels, data.classes), data)
    torch.save(torch.tensor(0.0125), folder / "lr_best.pt")
    return ["--space", "zca"]


def centred(labels: Tensor, classes: int, scaled: bool) -> np.ndarray:
    return ((torch.eye(classes)[labels] - 1 / classes) / ((classes / 10) ** 0.5 if scaled else 1)).numpy()


def frepo(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    white = whitened(images, data, kip=True).permute(0, 2, 3, 1).numpy()
    np.savez(folder / "step500000.npz", image=white, label=centred(labels, data.classes, True))
    return ["--space", "zca"]


def frepo_flax(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    import msgpack

    def array(value: np.ndarray) -> msgpack.ExtType:
        return msgpack.ExtType(1, msgpack.packb((value.shape, value.dtype.name, value.tobytes())))

    white = whitened(images, data, kip=True).permute(0, 2, 3, 1).contiguous().numpy()
    params = {"x_proto": array(white), "y_proto": array(centred(labels, data.classes, True))}
    (folder / "best_ckpt").mkdir()
    (folder / "best_ckpt" / "checkpoint_500000").write_bytes(msgpack.packb({"step": 500000, "params": params}))
    return ["--space", "zca"]


def kip(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    flat = normalised(images, data.mean, data.std).permute(0, 2, 3, 1).double().numpy()
    name = f"ConvNet3_ssize{len(labels)}_nozca_nol_noaug_ckpt1000.npz"
    np.savez(folder / name, images=flat, labels=centred(labels, data.classes, False))
    return []


def pictures(name: str, file: str) -> Callable:
    def write(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
        for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            array = (image * 255).round().byte().permute(1, 2, 0).numpy()
            path = folder / name.format(k=label) / file.format(k=label, i=i)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path)
        return []

    return write


def ncfm(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    torch.save([images, labels], folder / "data_20000.pt")
    torch.save([torch.rand_like(images), labels], folder / "data_init.pt")
    return []


def dd_ranking(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    torch.save(normalised(images, data.mean, data.std), folder / "images.pt")
    torch.save(logits_of(labels, data.classes), folder / "labels.pt")
    torch.save(torch.tensor(0.01), folder / "lr.pt")
    return ["--space", "normalised"]


def dd_ranking_hard(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    """Images alone: class after class, the same number of each."""
    torch.save(normalised(images, data.mean, data.std), folder / "images.pt")
    return ["--space", "normalised"]


def rethinkdc(folder: Path, images: Tensor, labels: Tensor, data: ImageData) -> Options:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pictures("all", "{i:05d}.png")(folder / "made", images, labels, data)
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in sorted((folder / "made/all").iterdir())]
    features = {"image": {"_type": "Image"}, "class_id": {"dtype": "int64", "_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": rows, "class_id": labels.tolist()}).replace_schema_metadata(metadata)
    (folder / "data").mkdir()
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
    return []


WRITERS: dict[str, Callable] = {
    **{method: vico(method) for method in ("DC", "DSA", "DM")},
    "MTT": mtt,
    "MTT, ZCA": mtt_zca,
    "TESLA": tesla,
    "DATM": datm,
    "FRePo": frepo,
    "FRePo, flax": frepo_flax,
    "KIP": kip,
    "SRe2L": pictures("run/new{k:03d}", "class{k:03d}_id{i:03d}.jpg"),
    "RDED": pictures("syn_data/{k:05d}", "class{k:05d}_id{i:05d}.jpg"),
    "FADRM": pictures("new{k:03d}", "class{k:03d}_id{i:03d}.png"),
    "D4M": pictures("{k}", "{i}.png"),
    "NCFM": ncfm,
    "DD-Ranking": dd_ranking,
    "DD-Ranking, hard": dd_ranking_hard,
    "DD-Ranking, folder": pictures("{k:05d}", "{i:05d}.jpg"),
    "rethinkdc": rethinkdc,
}
NEEDS = {"FRePo, flax": "msgpack", "rethinkdc": "pyarrow"}


if __name__ == "__main__":
    digits, where = load("digits"), Path(sys.argv[2])
    where.mkdir(parents=True)
    chosen = torch.cat([(digits.train.labels == k).nonzero()[:2, 0] for k in range(10)])
    task = where, digits.train.images[chosen] / 255, digits.train.labels[chosen], digits
    print("unidd import", where, "--dataset digits --out set", *WRITERS[sys.argv[1]](*task))
