"""What the chapters on methods share: rows of digits, a check that says what it found, and lines with an interval."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor

from ..bench.tables import paired
from ..data.datasets import ImageData
from ..data.synthetic import choose
from .palette import look
from .plots import figure
from .rounding import rounded

Rows = tuple[Tensor, Tensor]  # features X (n, d) and one-hot targets Y (n, c)


def samples(data: ImageData, ipc: int, seed: int = 0) -> tuple[Rows, Rows, Rows]:
    """Return pixels in [0, 1] as they are, not centred, and one-hot labels: of the real, a small and the test side.

    Args:
        ipc: random real images of each class on the small side, where a synthetic set would stand.
        seed: which of them.
    """
    splits = data.train, data.train.take(choose(data, ipc, seed)), data.test
    real, small, test = (
        (split.images.flatten(1).double() / 255, F.one_hot(split.labels, data.classes).double()) for split in splits
    )
    return real, small, test


def check(name: str, one: Tensor, other: Tensor, tolerance: float = 1e-10) -> None:
    """Print the relative difference of two tensors.

    Raises:
        AssertionError: it is above the tolerance.
    """
    error = float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other))
    if not error <= tolerance:
        raise AssertionError(f"{name}: {error:.2g} is above {tolerance:.0e}")
    print(f"{name}: relative difference {error:.0e}")


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a mean, by Student's t: of paired differences, one a repetition.

    Raises:
        ValueError: there are fewer than five, from which no verdict is drawn.

    >>> [round(end, 2) for end in interval([1.0, 2.0, 3.0, 4.0, 5.0])]
    [1.04, 4.96]
    """
    if (n := len(differences)) < 5:
        raise ValueError(f"n = {n}: no verdict from fewer than 5 repetitions")
    _, low, high = paired(differences, [0.0] * n)
    return low, high


class Line(NamedTuple):
    """A line of a figure: whose look it has, its points, and if there are several runs their standard deviations."""

    look: str
    x: Iterable[float]
    y: Iterable[float]
    std: Iterable[float] | None = None
    dash: str = ""


def lines(curves: dict[str, Line], alt: str, x: str, y: str, **layout: Any) -> go.Figure:
    """Return a figure of lines by name, each in the look of its filter or method; `dash` tells lines of one apart.

    Args:
        alt: one sentence that says what is seen.
        x, y: titles of the axes.
        layout: of plotly; `xaxis` and `yaxis` are added to the titles.
    """
    traces = []
    for name, curve in curves.items():
        seen = look(curve.look)
        trace = go.Scatter(x=rounded(curve.x, 6), y=rounded(curve.y, 4), name=name, mode="lines")
        trace.line = {"width": 2.5, "color": seen.colour, "dash": curve.dash or seen.dash}
        if curve.std is not None:
            spread = {"array": rounded(curve.std, 4), "thickness": 1.2, "width": 3}
            trace.update(error_y=spread, mode="lines+markers", marker={"symbol": seen.symbol, "size": 8})
        traces.append(trace)
    for side, title in (("xaxis", x), ("yaxis", y)):
        layout[side] = {"title": title} | layout.get(side, {})
    return figure(traces, alt, **layout)
