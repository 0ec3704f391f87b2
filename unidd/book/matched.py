"""A study of what methods match, over its seeds, as light as a page needs it; and the sheets of its images."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..bench.effective import LEAST, explained
from ..core.bands import KINDS
from .palette import LOOKS, looks
from .rounding import rounded, significant

Row = Mapping[str, Any]
PARTS = ("method", "seed", "residuals by epoch", "looks")


def summary(record: Row, offered: Sequence[str] | None = None, reference: str = "random") -> dict[str, Any]:
    """Return means over the seeds of a study's record, with their spread, as plain JSON values.

    Args:
        record: as `benchmarks/spectra_of_methods.py` writes it; its "rows" are enough.
        offered: the methods that are kept, in this order; by default all. The reference is always kept.
        reference: the method of real images that others are seen beside.
    Returns:
        "reference"; "methods", without it; "layers", those that all rows have at all epochs; "epochs"; "places" of the
        descent; "bands", J; "terms", the kinds of statistics; "seeds": method → n; "least": see below.
        "eigenvalues": epoch → layer → λ (J,), geometric means. "residuals": method → view → epoch → layer → for each of
        "terms" four lists (J,): the mean of e, its standard deviation, the mean of 1 − T, its standard deviation; a
        deviation is empty for one seed. A method that sees images as they are has the view "clean" alone.
        "gradients": method → place → epoch of the networks that a gradient is seen through → "r2"; "bands", the part of
        R² that is not cross-entropy; "explained": see `bench.effective.explained`, below "least" the weights mean
        nothing; "weights": layer → for each of "terms" the mean of c over its largest of the seed (J,); empty where all
        are 0 in all seeds. A method that does not descend has none.
        "styles": method → the colour, a name of `LOOKS` without hyphens, and the dash of its line.
    Raises:
        ValueError: a row lacks something, or has what another has not; the reference, or a method, is not there.
    """
    rows = _checked(record)
    there = list(dict.fromkeys(row["method"] for row in rows))
    names = [name for name in (there if offered is None else offered) if name != reference]
    if missing := [name for name in (reference, *names) if name not in there]:
        raise ValueError(f"the record has no method {missing[0]!r}; it has: {', '.join(there)}")
    if not names:
        raise ValueError(f"an explorer of what methods match needs a method beside {reference!r}")
    of = {name: [row for row in rows if row["method"] == name] for name in (reference, *names)}
    epochs, layers, bands = _shape(rows)
    gradients = {name: _gradients(own, layers) for name, own in of.items()}
    return {
        "reference": reference,
        "methods": names,
        "layers": layers,
        "epochs": epochs,
        "bands": bands,
        "terms": list(KINDS),
        "places": sorted({place for found in gradients.values() for place in found}, key=float),
        "seeds": {name: len(own) for name, own in of.items()},
        "least": LEAST,
        "eigenvalues": {epoch: {layer: _eigenvalues(rows, epoch, layer) for layer in layers} for epoch in epochs},
        "residuals": {name: _residuals(own, epochs, layers) for name, own in of.items()},
        "gradients": gradients,
        "styles": _styles(of),
    }


def _checked(record: Row) -> list[Row]:
    """The rows of a record, if each has its parts and no seed comes twice."""
    rows = record.get("rows")
    if not rows:
        raise ValueError('the record has no "rows": give what benchmarks/spectra_of_methods.py wrote')
    for row in rows:
        if missing := [part for part in PARTS if part not in row]:
            raise ValueError(f"a row of the record ({row.get('method')}, seed {row.get('seed')}) lacks {missing[0]!r}")
    seen = [(row["method"], row["seed"]) for row in rows]
    if twice := [pair for pair in seen if seen.count(pair) > 1]:
        raise ValueError(f"the record has {twice[0][0]}, seed {twice[0][1]}, twice")
    return rows


def _shape(rows: list[Row]) -> tuple[list[str], list[str], int]:
    """Epochs, layers and the number of bands that all rows share."""
    epochs = {tuple(row["residuals by epoch"]) for row in rows}
    if len(epochs) != 1:
        raise ValueError(f"the rows must be of the same epochs, not {' and '.join(map(str, sorted(epochs)))}")
    found = [layers for row in rows for layers in row["residuals by epoch"].values()]
    shared = [layer for layer in found[0] if all(layer in layers for layers in found)]
    if not shared:
        raise ValueError("the rows have no layer in common")
    counts = {len(layers[layer]["eigenvalues"]) for layers in found for layer in shared}
    if len(counts) != 1:
        raise ValueError(f"all layers must have the same number of bands, not {sorted(counts)}")
    return list(min(epochs)), shared, counts.pop()


def _eigenvalues(rows: list[Row], epoch: str, layer: str) -> list[float]:
    of_seeds = {row["seed"]: row["residuals by epoch"][epoch][layer]["eigenvalues"] for row in rows}
    return rounded(torch.tensor(list(of_seeds.values()), dtype=torch.float64).log().mean(0).exp(), 4)


def _residuals(rows: list[Row], epochs: list[str], layers: list[str]) -> dict[str, Any]:
    """View → epoch → layer → term → mean and deviation of e and of 1 − T."""
    first = rows[0]["residuals by epoch"][epochs[0]][layers[0]]
    return {
        view: {e: {layer: _of_layer(rows, e, layer, view) for layer in layers} for e in epochs}
        for view in ("clean", "own")
        if view in first
    }


def _of_layer(rows: list[Row], epoch: str, layer: str, view: str) -> list[list[list[float]]]:
    found, kinds = [row["residuals by epoch"][epoch][layer] for row in rows], []
    for kind in KINDS:
        left = _numbers([of[view][kind] for of in found], rows)
        gains = _numbers([of["transfer"][view][kind] for of in found], rows)
        kinds.append([*_mean_and_deviation(left), *_mean_and_deviation(1 - gains)])
    return kinds


def _numbers(values: list[list[float]], rows: list[Row]) -> Tensor:
    """Numbers of every seed (n, J); those that a record cannot hold, infinite ones, are refused."""
    for row, own in zip(rows, values, strict=True):
        if any(value is None or not math.isfinite(value) for value in own):
            raise ValueError(f"{row['method']}, seed {row['seed']}: its start leaves a band without residual")
    return torch.tensor(values, dtype=torch.float64)


def _mean_and_deviation(values: Tensor) -> list[list[float]]:
    """Mean (J,), to three digits, and standard deviation (J,), or nothing of one seed, of rows (n, J)."""
    return [rounded(values.mean(0), 3), rounded(values.std(0), 2) if len(values) > 1 else []]


def _gradients(rows: list[Row], layers: list[str]) -> dict[str, Any]:
    """Place → epoch of the networks → how much is explained, and the weights."""
    found: dict[str, Any] = {}
    for number, look in enumerate(rows[0]["looks"]):
        seen = [row["looks"][number]["seen"] for row in rows]
        found[f"{look['at']:g}"] = {_epoch(group): _through([of[group] for of in seen], layers) for group in seen[0]}
    return found


def _epoch(group: str) -> str:
    """The epoch of a group of networks: those with random weights are of epoch 0."""
    return "0" if group == "random" else group.removeprefix("epoch ")


def _through(seen: list[Row], layers: list[str]) -> dict[str, Any]:
    parts = {
        "r2": [of["r2"] for of in seen],
        "bands": [max(0.0, of["r2"] - of["cross-entropy"]["share"]) for of in seen],
        "explained": [part if math.isfinite(part := explained(dict(of))) else 0.0 for of in seen],
    }
    means: dict[str, Any] = {name: significant(sum(own) / len(own), 3) for name, own in parts.items()}
    shared = [layer for layer in layers if all(layer in of["layers"] for of in seen)]
    means["weights"] = {
        layer: [_relative([of["layers"][layer][kind]["weights"] for of in seen]) for kind in KINDS] for layer in shared
    }
    return means


def _relative(weights: list[list[float]]) -> list[float]:
    """The mean over seeds of weights (n, J) over the largest of each: (J,), or nothing if all are 0."""
    values = torch.tensor(weights, dtype=torch.float64)
    largest = values.amax(1, keepdim=True)
    mean = torch.where(largest > 0, values / torch.where(largest > 0, largest, 1), 0).mean(0)
    return rounded(mean, 2) if largest.any() else []


def _styles(names: Iterable[str]) -> dict[str, list[str]]:
    colours = {one.colour: name.replace("-", "") for name, one in LOOKS.items()}
    return {name: [colours[one.colour], one.dash] for name, one in looks(list(names)).items()}


def sheet_shape(size: tuple[int, int], tile: int, rows: int) -> dict[str, int]:
    """Return where the tiles of a sheet are: "width", "height", "tile", "columns", and the "gap" between two.

    Args:
        size: width and height of the sheet, in pixels.
        tile: side of a tile, in pixels.
        rows: of tiles.
    Raises:
        ValueError: so many rows of tiles, the same gap between them all, do not fill the sheet.
    """
    width, height = size
    gap, rest = divmod(height - rows * tile, max(1, rows - 1))
    columns, over = divmod(width + gap, max(1, tile + gap))
    if tile < 1 or gap < 0 or rest or over or columns < 1:
        raise ValueError(
            f"a sheet must have {rows} rows of tiles of {tile}×{tile} pixels, the images and then each band of each "
            f"layer, the same gap between them; one of {width}×{height} pixels has not: set tile and layers"
        )
    return {"width": width, "height": height, "tile": tile, "columns": columns, "gap": gap}
