"""Sets as Hugging Face keeps data: a folder with parquet files and a README that says what is in them.

The rows have the features image (PNG files, 8 bits), label (with the names of the classes) and, where a set has them,
soft. `datasets.load_dataset(folder)` reads the folder as it is, and so does their hub. The files need pyarrow.
"""

import importlib
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import atomic
from .exchange_folder import MODES, check_new, pixels_hash, read_images, with_changes
from .synthetic import CARD, SyntheticSet, metadata, read_card

FILE = "data/train-00000-of-00001.parquet"
_ROWS = 100  # of a group that is read at once


def to_huggingface(synthetic: SyntheticSet, folder: str | Path) -> Path:
    """Export as a folder for `datasets.load_dataset`: a parquet file, a README with protocol and provenance, our card.

    Raises:
        FileExistsError: something stands in that folder already.
        ValueError: two classes have one name, or there are over 4 channels; pyarrow is not installed.
    """
    folder = check_new(folder)
    pq = _pyarrow("pyarrow.parquet")
    if twice := [name for name, n in Counter(synthetic.class_names).items() if n > 1]:
        raise ValueError(f"two classes are called {twice[0]!r}: Hugging Face knows classes by their names")
    if synthetic.images.shape[1] not in MODES:
        raise ValueError(f"images of {synthetic.images.shape[1]} channels cannot be PNG files")
    schema, rows = _schema(synthetic), []
    with atomic(folder) as temporary:
        (temporary / FILE).parent.mkdir(parents=True)
        with pq.ParquetWriter(temporary / FILE, schema) as writer:
            for first in range(0, len(synthetic), _ROWS):
                part = range(first, min(first + _ROWS, len(synthetic)))
                writer.write_table(_table(synthetic, part, schema, rows))
        card = {name: getattr(synthetic, name) for name in CARD} | {"rows": rows}
        (temporary / "card.json").write_text(json.dumps(card, indent=1) + "\n")
        (temporary / "README.md").write_text(_readme(synthetic, folder.name), encoding="utf-8")
        if folder.exists():
            folder.rmdir()  # empty; some systems replace no folder
    return folder


def from_huggingface(folder: str | Path) -> SyntheticSet:
    """Read such a folder back, also after rows were taken away, added, or given another label.

    What is not as it was exported stands in one line in `config["import"]["changed"]`.

    Raises:
        FileNotFoundError: the card or the parquet files are missing.
        ValueError: one of them is damaged, or pyarrow is not installed.
    """
    folder = Path(folder)
    if not (folder / "card.json").is_file():
        raise FileNotFoundError(f"{folder} is not an exported set: card.json is missing")
    card = read_card(folder)
    found = metadata(card)
    images, labels, soft, names, remarks = read_parquet(parquet_files(folder), len(found["mean"]))
    found["class_names"] = tuple(names or found["class_names"])
    now = [[label, pixels_hash(image)] for label, image in zip(labels.tolist(), images, strict=True)]
    found["config"] = with_changes(found["config"], _changes(card.get("rows", now), now), remarks)
    return SyntheticSet(images.float() / 255, labels, **found, soft=soft)


def parquet_files(path: Path) -> list[Path]:
    """Return the parquet files of a folder, or of its data/: those of the training split, if they say which they are.

    The file itself, if the path is one.
    """
    if path.is_file():
        return [path] if path.suffix.lower() == ".parquet" else []
    found = sorted(p for p in (*path.glob("*.parquet"), *path.glob("data/*.parquet")) if not p.name.startswith("."))
    return [p for p in found if p.name.startswith("train")] or found


def read_parquet(
    files: list[Path], channels: int | None = None
) -> tuple[Tensor, Tensor, Tensor | None, Sequence[str] | None, Counter[str]]:
    """Return images uint8 (n, C, H, W), labels (n,), soft labels (n, classes) and names of classes, as far as there.

    Last comes what was done to pictures, counted; see `read_images`.

    Raises:
        FileNotFoundError: there are no files.
        ValueError: one is damaged or lacks images or labels; the images differ in size; pyarrow is not installed.
    """
    if not files:
        raise FileNotFoundError("there are no parquet files")
    pa, pq = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    try:
        table = pa.concat_tables([pq.read_table(path) for path in files])
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{files[0]} is damaged, or no parquet file ({str(error).splitlines()[0]})") from None
    image, label = _column(table, files[0], "image", "img"), _column(table, files[0], "label", "class_id")
    labels = table.column(label).to_pylist()
    if not labels or not all(isinstance(k, int) for k in labels):
        raise ValueError(f"{files[0]}: every row needs a whole number as {label}")
    pictures = [_bytes(row, f"{files[0]}, row {i}") for i, row in enumerate(table.column(image).to_pylist())]
    soft = _soft(table, files[0]) if "soft" in table.column_names else None
    images, remarks = read_images(pictures, channels)
    return images, torch.tensor(labels), soft, _names(table, label), remarks


def _pyarrow(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ValueError("Hugging Face's parquet files need pyarrow: pip install 'unidd[exchange]'") from None


def _schema(synthetic: SyntheticSet) -> Any:
    """Columns, and in the schema's metadata the features as `datasets` writes them."""
    pa = _pyarrow("pyarrow")
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns: list[tuple] = [("image", picture), ("label", pa.int64())]
    features: dict = {
        "image": {"_type": "Image"},
        "label": {"names": list(synthetic.class_names), "_type": "ClassLabel"},
    }
    if synthetic.soft is not None:
        columns.append(("soft", pa.list_(pa.float32())))
        features["soft"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _table(synthetic: SyntheticSet, part: range, schema: Any, rows: list) -> Any:
    """Some rows, which are added to the list of (label, hash of the pixels) that the card keeps."""
    from torchvision.transforms.functional import to_pil_image

    columns: dict[str, list] = {"image": [], "label": synthetic.labels[part.start : part.stop].tolist()}
    for i, label in zip(part, columns["label"], strict=True):
        pixels, file = (synthetic.images[i] * 255).round().to(torch.uint8).cpu(), io.BytesIO()
        to_pil_image(pixels).save(file, "PNG")
        columns["image"].append({"bytes": file.getvalue(), "path": f"{i:05d}.png"})
        rows.append([label, pixels_hash(pixels)])
    if synthetic.soft is not None:
        columns["soft"] = synthetic.soft[part.start : part.stop].tolist()
    return _pyarrow("pyarrow").table(columns, schema=schema)


def _column(table: Any, path: Path, *names: str) -> str:
    found = [name for name in names if name in table.column_names]
    if not found:
        has = ", ".join(table.column_names[:5])
        raise ValueError(f"{path} has no column {' or '.join(names)}, only {has}: rename the one that holds it")
    return found[0]


def _bytes(row: Any, where: str) -> tuple[str, bytes]:
    content = row.get("bytes") if isinstance(row, dict) else row
    if not isinstance(content, bytes):
        raise ValueError(f"{where} holds no picture, but {str(row)[:60]}: save the rows with the files in them")
    return where, content


def _soft(table: Any, path: Path) -> Tensor:
    try:
        soft = torch.tensor(table.column("soft").to_pylist(), dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError):
        soft = torch.empty(0)
    if soft.ndim != 2:
        raise ValueError(f"{path}: the column soft must hold one number of each class in every row")
    return soft


def _names(table: Any, label: str) -> Sequence[str] | None:
    """The names of the classes, if `datasets` wrote them."""
    try:
        features = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return None


def _changes(before: list, now: list) -> str:
    """What is not as it was exported, in one line; rows are (label, hash of the pixels)."""
    gone, new = (Counter(map(tuple, a)) - Counter(map(tuple, b)) for a, b in ((before, now), (now, before)))
    moved = (Counter(row[1] for row in gone.elements()) & Counter(row[1] for row in new.elements())).total()
    count = {"removed": gone.total() - moved, "added": new.total() - moved, "moved to another class": moved}
    said = [f"{n} {what}" for what, n in count.items() if n]
    return ", ".join(said) or ("rows in another order" if before != now else "")


def _readme(synthetic: SyntheticSet, name: str) -> str:
    """The data-set card: what it is, how to use it, and where it comes from. Values are JSON, which is YAML too."""
    n, source = len(synthetic), _source(synthetic)
    size = "n<1K" if n < 1000 else "1K<n<10K" if n < 10_000 else "10K<n<100K" if n < 100_000 else "100K<n<1M"
    about = {"protocol": _protocol(synthetic), "provenance": _provenance(synthetic)}
    front = {
        "pretty_name": name,
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["dataset-distillation", "synthetic", "unidd"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
        "unidd": about,
    }
    head = "\n".join(f"{key}: {_yaml(value)}" for key, value in front.items())
    rows = "\n".join(f"- {key}: {_plain(value)}" for part in about.values() for key, value in part.items())
    return f"""---
{head}
---

# {name}

{n} images of {len(synthetic.class_names)} classes, a synthetic set{f" distilled from {source}" if source else ""}.
Train on them in place of the original training images; test on the original test images.

```python
from datasets import load_dataset

rows = load_dataset("{name}", split="train")  # image, label{"" if synthetic.soft is None else ", soft"}
```

{rows}

The same, for programs, is in `card.json`. `unidd import` makes a set of this folder again, and `unidd evaluate` trains
students on it beside random real images.
"""


def _yaml(value: Any) -> str:
    """JSON, with those characters escaped that YAML takes for breaks of a line, or not at all."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _source(synthetic: SyntheticSet) -> str | None:
    """The name of the data set it was made from; of a folder, its last part."""
    config = synthetic.config
    return config.get("data", {}).get("name") or Path(config.get("cell", {}).get("dataset", "")).name or None


def _protocol(synthetic: SyntheticSet) -> dict:
    counts = sorted(set(synthetic.counts))
    return {
        "labels": "hard" if synthetic.soft is None else "hard, and fixed soft in the column soft",
        "images per class": counts[0] if len(counts) == 1 else f"{counts[0]} to {counts[-1]}",
        "pixels": "8 bits; networks see (pixel / 255 - mean) / std",
        "mean": list(synthetic.mean),
        "std": list(synthetic.std),
    }


def _provenance(synthetic: SyntheticSet) -> dict:
    cell, config = synthetic.config.get("cell", {}), synthetic.config
    settings = {key: value for key, value in config.items() if key not in ("method", "cell", "data", "import", "start")}
    said = {
        "source": _source(synthetic),
        "source fingerprint": config.get("data", {}).get("fingerprint"),
        "method": config.get("method"),
        "settings": settings,
        "model": cell.get("model"),
        "budget": cell.get("budget"),
        "teacher": synthetic.teacher,
        "imported": config.get("import"),
        "started from": config.get("start", {}).get("sha256"),
        "versions": synthetic.versions,
    }
    return {key: value for key, value in said.items() if value}


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    return " ".join(map(_plain, value)) if isinstance(value, list) else f"{value}"
