"""A small record of a study of what methods match, as benchmarks/spectra_of_methods.py writes it; sheets for it."""

import random

import torch

from unidd.book.pictures import sheet

LAYERS, BANDS, EPOCHS, KINDS = ("first", "second"), 3, ("0", "1", "10"), ("filter", "class", "mean")
ROWS = 1 + len(LAYERS) * BANDS  # of tiles in a sheet
GROUPS = {"0": "random", "1": "epoch 1", "10": "epoch 10"}


def record(methods=("random", "cfm", "lfm", "herding", "classification"), seeds=2):
    """Rows of each method and seed; "random" and "herding" have no gradient, and see images as they are."""
    draws = random.Random(0)
    rows = [_row(name, seed, draws, name not in ("random", "herding")) for name in methods for seed in range(seeds)]
    return {"study": "matching", "rows": rows}


def _row(name, seed, draws, descends):
    residuals = {e: {layer: _layer(draws, descends) for layer in LAYERS} for e in EPOCHS}
    looks = [{"at": at, "seen": {group: _seen(name, draws) for group in GROUPS.values()}} for at in (0.0, 0.5, 1.0)]
    return {"method": name, "seed": seed, "residuals by epoch": residuals, "looks": looks if descends else []}


def _layer(draws, own):
    found = {"eigenvalues": [10.0 ** (-j + draws.uniform(-0.3, 0.3)) for j in range(BANDS)], "transfer": {}}
    for view in ("clean", "own")[: 1 + own]:
        found[view] = {kind: [draws.uniform(0.05, 5) for _ in range(BANDS)] for kind in KINDS}
        found["transfer"][view] = {kind: [1 - draws.uniform(0.5, 60) for _ in range(BANDS)] for kind in KINDS}
    return found


def _seen(name, draws):
    """Of "classification" cross-entropy explains all; of others bands explain 0.3 of what it leaves."""
    entropy, nothing = (1.0, True) if name == "classification" else (0.5, False)
    shares = [0.0 if nothing else 0.15 / (len(LAYERS) * len(KINDS) * BANDS)] * BANDS
    layers = {}
    for layer in LAYERS:
        layers[layer] = {"eigenvalues": [1.0, 0.1, 0.01]}
        for kind in KINDS:
            weights = [0.0 if nothing or draws.random() < 0.3 else draws.uniform(0, 9) for _ in range(BANDS)]
            layers[layer][kind] = {"weights": weights, "shares": shares}
    return {"r2": 1.0 if nothing else 0.65, "cross-entropy": {"share": entropy}, "layers": layers}


def sheets(methods=("random", "cfm", "lfm"), tile=8, columns=2, rows=ROWS):
    """A sheet of each method, whose tiles are of one grey each, another one in every row."""
    grey = torch.arange(rows * columns).div(columns, rounding_mode="floor") / rows
    tiles = grey.view(-1, 1, 1, 1).expand(-1, 3, tile, tile)
    return {name: sheet(tiles, columns)[0] for name in methods}
