"""Drawings of figures, and still pictures of explorers for where no script runs: SVG, from the same numbers.

matplotlib draws them when the book is built. A figure is what its JSON has; an explorer is shown as it opens.
"""

import base64
import io
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from PIL import Image

from ..bench.words import signed
from ..core.filters import AllPass, BandPass, Filter, Landweber, Linear, Residual, Ridge
from . import linear
from .listing import shown
from .palette import LOOKS, looks
from .pictures import unpacked, weighed
from .plots import COLOURS, TEXT

INCH = 96  # pixels of a page
WIDTH = 720  # of a column of the book
NARROW = 340  # of a phone
INK = "#7d8793"  # of words and axes: a shade no line has, which a page changes to its own colour of text
MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "x": "X",
    "star": "*",
    "pentagon": "p",
    "triangle-down": "v",
}
MARKERS |= {"line-ns": "|"}
DASHES = {"solid": "-", "dash": (0, (4, 2)), "dot": (0, (1, 1.5)), "dashdot": (0, (4, 2, 1, 2))}
DASHES |= {"longdash": (0, (8, 3)), "longdashdot": (0, (8, 3, 1, 3))}
NAMES = {"allpass": "all-pass", "landweber": "Landweber", "bandpass": "band-pass"}
MOST_ROWS = 20  # of a table
PLACES = ((0, "left"), (0.17, "left"), (0.26, "left"), (0.44, "right"), (0.62, "right"), (0.86, "right"), (1, "right"))
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small, and readable by machines
    "svg.hashsalt": "unidd",  # the same picture is the same file
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "legend.frameon": False,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)


def _saved(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _empty(height: float, width: float = WIDTH) -> Figure:
    return Figure((width / INCH, height / INCH), layout="constrained")


def _halves(drawing: Figure, upper: float, lower: float) -> Any:
    """Two parts of a figure, one above the other, by their heights."""
    return drawing.subfigures(2, height_ratios=(upper, lower))


# ---- figures


def figure(content: dict, width: float = WIDTH) -> bytes:
    """Draw a plotly figure, given as its JSON has it: curves, markers, bars, error bars and level lines.

    Raises:
        ValueError: it has something else.
    """
    data, layout = content["data"], content.get("layout", {})
    if unknown := {t.get("type", "scatter") for t in data} - {"scatter", "bar"}:
        raise ValueError(f"no still picture can be drawn of {', '.join(sorted(unknown))}: see unidd.book.stills")
    with mpl.rc_context(STYLE):
        drawing = _empty(layout.get("height", 420), width)
        axes = drawing.subplots()
        categories = {side: _categories(data, side) for side in "xy"}
        bars = [trace for trace in data if trace.get("type") == "bar"]
        for i, trace in enumerate(data):
            colour = COLOURS[i % len(COLOURS)]
            if trace.get("type") == "bar":
                _bars(axes, trace, categories, bars.index(trace), len(bars), colour)
            else:
                _curve(axes, trace, categories, colour)
        for side in "xy":
            _axis(axes, side, layout.get(f"{side}axis", {}), categories[side], width)
        _notes(axes, layout)
        _legend(drawing, axes, layout, width)
        return _saved(drawing)


def _values(values: Any) -> list:
    """Numbers or names of a trace, which plotly may have packed."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"])).tolist()
    return list(values)


def _categories(data: list[dict], side: str) -> list[str]:
    """Names along an axis, in the order in which they come; none if it has numbers."""
    found = [v for trace in data if side in trace for v in _values(trace[side]) if isinstance(v, str)]
    return list(dict.fromkeys(found))


def _along(trace: dict, side: str, categories: dict[str, list[str]]) -> np.ndarray:
    """Where a trace's points lie along an axis, (n,)."""
    if side not in trace:
        return np.arange(len(_values(trace["y" if side == "x" else "x"])), dtype=float)
    places = {name: i for i, name in enumerate(categories[side])}
    return np.array([places.get(v, v) for v in _values(trace[side])], dtype=float)


def _spread(trace: dict, side: str) -> np.ndarray | None:
    """Lengths of error bars (2, n), down and up."""
    bars = trace.get(f"error_{side}")
    if not bars:
        return None
    up = np.array(_values(bars["array"]), dtype=float)
    return np.stack([np.array(_values(bars.get("arrayminus", bars["array"])), dtype=float), up])


def _curve(axes: Axes, trace: dict, categories: dict[str, list[str]], colour: str) -> None:
    x, y = (_along(trace, side, categories) for side in "xy")
    mode = trace.get("mode") or ("lines+markers" if len(x) <= 20 else "lines")
    line, marker = trace.get("line", {}), trace.get("marker", {})
    colour = line.get("color") or marker.get("color") or colour
    symbol = marker.get("symbol", "circle")
    style: dict[str, Any] = {"color": colour, "linewidth": 0.75 * line.get("width", 2)}
    style["markeredgewidth"] = marker.get("line", {}).get("width", 1)
    style["linestyle"] = DASHES[line.get("dash", "solid")] if "lines" in mode else "none"
    if "markers" in mode:
        style |= {"marker": MARKERS[symbol.removesuffix("-open")], "markersize": 0.6 * marker.get("size", 6)}
        style |= {"markerfacecolor": "none"} if symbol.endswith("-open") else {}
    label = trace.get("name") if trace.get("showlegend", True) else None
    bars = {f"{side}err": found for side in "xy" if (found := _spread(trace, side)) is not None}
    axes.errorbar(x, y, **bars, elinewidth=1.2, capsize=2, label=label or "_", **style)


def _bars(axes: Axes, trace: dict, categories: dict[str, list[str]], i: int, n: int, colour: str) -> None:
    """A trace's bars, beside those of n − 1 others."""
    flat = trace.get("orientation") == "h"
    at, length = ("y", "x") if flat else ("x", "y")
    width = 0.8 / n
    places = _along(trace, at, categories) + (i - (n - 1) / 2) * width
    style = {"color": trace.get("marker", {}).get("color", colour), "label": trace.get("name") or "_"}
    style |= {"ecolor": TEXT, "capsize": 2, f"{length}err": _spread(trace, length)}
    (axes.barh if flat else axes.bar)(places, _along(trace, length, categories), width, **style)


def _axis(axes: Axes, side: str, layout: dict, categories: list[str], width: float) -> None:
    """Scale, ends, ticks and title of an axis."""
    axis, ends = getattr(axes, f"{side}axis"), getattr(axes, f"set_{side}lim")
    logarithmic = layout.get("type") == "log"
    getattr(axes, f"set_{side}scale")("log" if logarithmic else "linear")
    axis.grid(layout.get("showgrid", not categories))
    if categories:
        axis.set_ticks(range(len(categories)), categories)
        if side == "x" and sum(map(len, categories)) > width / 9:
            axis.set_tick_params(rotation=25)
    if "tickvals" in layout:
        values = _values(layout["tickvals"])
        axis.set_ticks(values, [str(v) for v in _values(layout.get("ticktext", values))])
        axis.minorticks_off()
    elif "dtick" in layout and not logarithmic:
        axis.set_major_locator(MultipleLocator(layout["dtick"]))
    if "range" in layout:
        ends(*(10**v if logarithmic else v for v in layout["range"]))
    elif layout.get("autorange") == "reversed":
        axis.set_inverted(True)
    elif layout.get("rangemode") == "tozero" and not logarithmic:
        ends(**{"bottom" if side == "y" else "left": 0})
    if layout.get("ticks") == "":
        axis.set_tick_params(length=0)
    axis.set_visible(layout.get("visible", True))
    if layout.get("scaleanchor"):  # a unit is as long across as it is up
        axis.axes.set_aspect("equal", adjustable="datalim")
    axis.set_label_text(layout.get("title", {}).get("text", ""))


def _notes(axes: Axes, layout: dict) -> None:
    """Level lines, and the words beside them."""
    for shape in layout.get("shapes", ()):
        across = _across(axes, shape)
        style = {"color": shape["line"]["color"], "linestyle": DASHES[shape["line"].get("dash", "solid")]}
        ends = [shape["x0"], shape["x1"]], [shape["y0"], shape["y1"]]
        axes.plot(*ends, transform=across, linewidth=1.1, **style)
    for note in layout.get("annotations", ()):
        across = _across(axes, note)
        side = {"xanchor": "left", "yanchor": "bottom"} | note
        va = {"middle": "center"}.get(side["yanchor"], side["yanchor"])
        axes.text(note["x"], note["y"], note["text"], transform=across, ha=side["xanchor"], va=va)


def _across(axes: Axes, thing: dict):
    """What the coordinates of a shape or note are in: data, or along one axis the part of the drawing."""
    if "domain" in thing.get("xref", "x"):
        return axes.get_yaxis_transform()
    return axes.get_xaxis_transform() if "domain" in thing.get("yref", "y") else axes.transData


def _legend(drawing: Figure, axes: Axes, layout: dict, width: float) -> None:
    """Names above the drawing, in as many columns as there is room for."""
    names = axes.get_legend_handles_labels()[1]
    if len(names) > 1 and layout.get("showlegend", True):
        columns = max(1, int(width / (45 + 7 * max(map(len, names)))))
        drawing.legend(loc="outside upper left", ncols=columns, handlelength=2.6, columnspacing=1.2)


def _decoded(uri: str) -> np.ndarray:
    """Pixels (H, W, 4) of a picture's data URI."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGBA"))


# ---- explorers


def explorer(state: dict) -> bytes:
    """Draw an explorer as it opens, given the state a page has of it.

    Raises:
        ValueError: there is no such kind.
    """
    kinds = {"filters": _filters, "band": _band, "images": _images, "curriculum": _curriculum, "digits": _digits}
    kinds |= {"matching": _matching, "results": _results}
    if state["kind"] not in kinds:
        raise ValueError(f"no still picture can be drawn of an explorer of the kind {state['kind']!r}")
    with mpl.rc_context(STYLE):
        return _saved(kinds[state["kind"]](state))


def _filters(state: dict) -> Figure:
    """Responses over the eigenvalues of the layer, and the photograph after each filter."""
    lam = torch.tensor(state["eigenvalues"][state["layer"]], dtype=torch.float64)
    chosen = {name: f for name, f in _of_state(state, float(lam.max())).items() if name in state["filters"]}
    pictured = state["picture"].get("layer") == state["layer"]
    drawing = _empty(560 if pictured else 330)
    upper, lower = _halves(drawing, 3, 2) if pictured else (drawing, None)
    axes = upper.subplots()
    shown = lam[lam > lam.max() * 1e-5]
    along = torch.logspace(math.log10(float(shown.min())) - 0.15, math.log10(float(lam.max())), 240).double()
    styles = _lines(chosen)
    for name, f in chosen.items():
        height = f.response(along) / f.response(lam).abs().max()
        axes.plot(along.numpy(), height.numpy(), label=NAMES.get(name, name), **styles[name])
    axes.plot(shown.numpy(), [-0.06] * len(shown), "|", color=TEXT, markersize=6)
    axes.set(xscale="log", xlabel=f"eigenvalue λ of {state['layer']}", ylabel="f(λ), relative to its maximum")
    axes.legend()
    if lower:
        picture, basis = unpacked(state["picture"])
        made = {name: weighed(picture, basis, f.response(lam)) for name, f in chosen.items()}
        mean, spread = picture.mean(), picture.std(correction=0)
        own = {NAMES.get(n, n): mean + spread * _standard(v) for n, v in made.items()}
        _row(lower, {"photograph": picture} | own)
    return drawing


def _standard(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean()) / values.std(correction=0).clamp_min(1e-300)


def _of_state(state: dict, largest: float) -> dict[str, Filter]:
    """The filters an explorer can show; its rate is in units of the largest eigenvalue."""
    rate, steps, centre = state["rate"] / largest, state["steps"], state["centre"]
    band = BandPass(centre / math.sqrt(10), centre * math.sqrt(10))
    descent = {"landweber": Landweber(rate, steps), "residual": Residual(rate, steps)}
    return {"allpass": AllPass(), "linear": Linear(), "ridge": Ridge(state["beta"]), **descent, "bandpass": band}


def _band(state: dict) -> Figure:
    """The photograph, what the band makes of it, and each direction's share."""
    picture, basis = unpacked(state["picture"])
    d, (first, last) = len(basis), sorted((state["first"], state["last"]))
    inside = torch.zeros(d).double()
    inside[first - 1 : last] = 1
    values = weighed(picture, basis, inside if state["mode"] == "keep" else 1 - inside)
    values = _standard(values) if state["stretch"] else values
    kept = "only directions" if state["mode"] == "keep" else "without directions"
    made = picture.mean() + picture.std(correction=0) * values
    drawing = _empty(560)
    upper, lower = _halves(drawing, 3, 2)
    _row(upper, {"photograph": picture, f"{kept} {first} … {last}": made})
    axes = lower.subplots()
    lam = np.array(state["eigenvalues"])
    axes.plot(range(1, d + 1), lam / lam.sum(), label="variance", color=COLOURS[0])
    if state["signal"]:
        axes.plot(range(1, d + 1), state["signal"], "--", label="class signal", color=COLOURS[1])
    axes.axvspan(first - 0.5, last + 0.5, color=COLOURS[0], alpha=0.15)
    axes.set(yscale="log", xlabel="direction, from coarse to fine", ylabel="share")
    axes.legend()
    return drawing


def _images(state: dict) -> Figure:
    """Images at the start and of the filters compared, and their power over frequencies."""
    chosen = list(dict.fromkeys(("start", state["chosen"], state["against"])))
    drawing = _empty(480)
    upper, lower = _halves(drawing, 1, 2)
    _row(upper, {_words(name): _decoded(state["sheets"][name]) for name in chosen})
    axes = lower.subplots()
    for name, style in _lines(["real", *chosen]).items():
        axes.plot(state["frequency"], state["powers"][name]["mean"], label=_words(name), **style)
    axes.set(yscale="log", xlabel="frequency, cycles a pixel", ylabel="share of an image's power")
    axes.legend()
    return drawing


def _lines(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How the line of each filter is drawn; the real data's is plain, that of the images before any filter dotted."""
    its = looks([NAMES.get(name, name) for name in names if name not in ("real", "start")])
    found = {name: {"color": one.colour, "linestyle": DASHES[one.dash]} for name, one in its.items()}
    found |= {"real": {"color": TEXT, "linestyle": "-"}, "start": {"color": TEXT, "linestyle": DASHES["dot"]}}
    return {name: found[NAMES.get(name, name)] for name in names}


def _words(name: str) -> str:
    return {"start": "start images", "real": "real data"}.get(name, name)


def _curriculum(state: dict) -> Figure:
    """β of every round, the spectra of this one, and the images it starts from and ends with."""
    record, b, layer = state["record"], state["round"], state["layer"]
    run = record["runs"][state["schedule"]]
    drawing = _empty(520 if state["sheets"] else 330)
    upper, lower = _halves(drawing, 5, 3) if state["sheets"] else (drawing, None)
    left, right = upper.subplots(1, 2, width_ratios=(2, 3))
    left.plot(run["beta"], "o-", color=COLOURS[0], markersize=4)
    left.plot(b, run["beta"][b], "o", color=COLOURS[0], markersize=9)
    left.set(xlabel="round b", ylabel="β", ylim=(0, None))
    sides = {"real side": record["real"][layer], "photographs so far": record["start"][layer][b]}
    sides["distilled so far"] = run["synthetic"][layer][b]
    for i, (name, lam) in enumerate(sides.items()):
        shown = [v if v > 0 else math.nan for v in lam]  # 0 has no place on a logarithmic axis
        style = {"color": (TEXT, *COLOURS)[i], "linestyle": list(DASHES.values())[i]}
        right.plot(range(1, len(lam) + 1), shown, label=name, **style)
    right.axhline(run["beta"][b], color=COLOURS[0], linewidth=1)
    right.set(yscale="log", xlabel=f"direction of {layer}, from coarse to fine", ylabel="eigenvalue λ")
    right.legend()
    if lower:
        row = slice(*(round((b + k) * (state["shape"][1] + 2) / len(run["beta"])) for k in (0, 1)))
        strips = {side: _decoded(state["sheets"][side])[row] for side in ("start", "distilled")}
        _row(lower, {f"round {b} starts from": strips["start"], "and ends with": strips["distilled"]}, across=1)
    return drawing


def _matching(state: dict) -> Figure:
    """What is left unmatched, the weights of bands in the gradients, and the images of the methods that have some."""
    study, band, at, epoch, layer = state["study"], *(state[name] for name in ("band", "at", "epoch", "layer"))
    names, term = [study["reference"], *state["methods"]], study["terms"].index(state["term"])
    gain = 2 if state["measure"] == "transfer" else 0
    lam = study["eigenvalues"][epoch][layer]
    pictured = [name for name in names if name in state["sheets"] and layer in state["pictured"]]
    drawing = _empty(330 + 75 * len(pictured))
    upper, lower = _halves(drawing, 330, 75 * len(pictured)) if pictured else (drawing, None)
    left, right = upper.subplots(1, 2)
    for name in names:
        views = study["residuals"][name]
        mean = views.get(state["view"], views["clean"])[epoch][layer][term][gain]
        left.plot(lam, mean, "o", markersize=4, label=name, **_own_line(study, name))
        seen = study["gradients"][name].get(at, {}).get(epoch, {})
        if weights := seen.get("weights", {}).get(layer, [[]] * len(study["terms"]))[term]:
            part = 0.35 if seen["explained"] < study["least"] else 1.0
            right.plot(lam, weights, "o", markersize=4, alpha=part, **_own_line(study, name))
    left.axhline(1, color=TEXT, linewidth=0.8)
    left.set(yscale="log", ylabel="1 − T(λ)" if gain else "left unmatched, e(λ)")
    right.set(ylim=(-0.05, 1.06), ylabel="effective filter: c(λ), over its largest")
    edges = [lam[0] * 2.8, *(math.sqrt(a * b) for a, b in pairwise(lam)), lam[-1] / 2.8]
    for axes in (left, right):
        axes.axvspan(edges[band + 1], edges[band], color=COLOURS[0], alpha=0.15)
        axes.set(xscale="log", xlim=(edges[-1], edges[0]), xlabel=f"λ of {layer}, large = low frequency")
    left.legend(fontsize=8.5)
    if lower:
        _row(lower, _strips(state, pictured), across=2)
    return drawing


def _own_line(study: dict, name: str) -> dict[str, Any]:
    """How the line of a method of a study is drawn."""
    colour, dash = study["styles"][name]
    colours = {known.replace("-", ""): look.colour for known, look in LOOKS.items()}
    return {"color": colours[colour], "linestyle": DASHES[dash]}


def _strips(state: dict, names: list[str]) -> dict[str, np.ndarray]:
    """Of each method the images, and what of them lies in the band: the first row of its sheet, and another."""
    shape, layer, band = state["shape"], state["layer"], state["band"]
    row = 1 + state["pictured"].index(layer) * state["study"]["bands"] + band
    found = {}
    for name in names:
        for number, words in ((0, name), (row, f"{name}, band {band + 1} of {layer}")):
            top = number * (shape["tile"] + shape["gap"])
            found[words] = _decoded(state["sheets"][name])[top : top + shape["tile"]]
    return found


def _digits(state: dict) -> Figure:
    """The ten digits at the start and at the end, and the accuracy of both learners on the way."""
    digits = linear.Digits(linear.unpacked(state["data"]), state["features"])
    begun, labels = digits.train[state["start"]], torch.arange(len(state["start"]))
    filter = digits.filter(state["filter"], state["beta"], state["steps"])
    path = digits.distill(filter, state["start"], krr=state["filter"] == "krr")
    seen = {0: begun} | {t + 1: x for t, (x, _) in enumerate(path) if (t + 1) % 10 == 0}
    own = state["beta"] if state["filter"] in ("ridge", "krr") else 0.1
    scores = {
        "its own learner: ridge": [digits.ridge_accuracy(x, labels, own) for x in seen.values()],
        "another: nearest neighbour": [digits.nearest_accuracy(x, labels) for x in seen.values()],
    }
    drawing = _empty(420)
    upper, lower = _halves(drawing, 1, 1)
    strips = {f"step {t}": torch.cat([*x.view(-1, 8, 8)], 1) for t, x in seen.items() if t in (0, max(seen))}
    _row(upper, strips, across=1)
    axes = lower.subplots()
    for i, (name, values) in enumerate(scores.items()):
        axes.plot(list(seen), values, label=name, color=COLOURS[i], linestyle=list(DASHES.values())[i])
    axes.set(xlabel="step", ylabel="test accuracy, %")
    axes.legend()
    return drawing


def _results(state: dict) -> Figure:
    """The first rows of the table as it opens, and how many follow."""
    rows, marks = shown(state), {"better": "▲ ", "worse": "▼ "}
    lines: list[tuple[str, ...]] = [("method", "data", "labels", "IPC", "accuracy, %", "over random [95 %]", "bytes")]
    for row in rows[:MOST_ROWS]:
        spread = "" if row["std"] is None else f" ± {row['std']:.1f}"
        gain = "–" if row["gain"] is None else marks.get(row["side"], "") + signed(row["gain"])
        gain += "" if row["low"] is None else f" [{signed(row['low'])}, {signed(row['high'])}]"
        ipc, taken = row["ipc"] or "all", "–" if row["bytes"] is None else f"{row['bytes']:,}"
        said = row["method"], row["data"], row["regime"], str(ipc), f"{row['mean']:.1f}{spread} ({row['n']})"
        lines.append((*said, gain, taken))
    if len(rows) > MOST_ROWS:
        lines.append((f"… and {len(rows) - MOST_ROWS} more", *[""] * 6))
    drawing = _empty(19 * len(lines) + 10)
    axes = drawing.subplots()
    for y, line in enumerate(lines):
        for (x, side), words in zip(PLACES, line, strict=True):
            axes.text(x, y, words, ha=side, va="center", fontsize=8.5)
    axes.set(xlim=(0, 1), ylim=(len(lines) - 0.4, -0.6))
    axes.set_axis_off()
    return drawing


def _row(place, pictures: dict[str, Any], across: int | None = None) -> None:
    """Pictures side by side, or so many in a row, each under its name; grey ones are (n, n) in [0, 1]."""
    shape = (len(pictures) // across, across) if across else (1, len(pictures))
    for axes, (name, picture) in zip(place.subplots(*shape, squeeze=False).flat, pictures.items(), strict=True):
        if isinstance(picture, torch.Tensor):
            picture = (picture.clamp(0, 1) * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()
        axes.imshow(picture, interpolation="none")
        axes.set_title(name, fontsize=9.5, loc="left", color=TEXT)
        axes.set_axis_off()


# ---- the book


def card(title: str, words: str) -> bytes:
    """Draw the picture (PNG, 1200 × 630) that a shared address shows: filters over a spectrum, below a title."""
    lam = torch.logspace(-3, 0, 200, dtype=torch.float64)
    with mpl.rc_context(STYLE | {"font.size": 22}):
        drawing = Figure((12, 6.3), dpi=100, layout="constrained", facecolor="white")
        axes = drawing.subplots()
        curves = {"all-pass": AllPass(), "linear": Linear(), "ridge": Ridge(0.03)}
        for name, style in _lines(curves).items():
            height = curves[name].response(lam)
            axes.plot(lam.numpy(), (height / height.max()).numpy(), linewidth=5, label=name, **style)
        axes.set(xscale="log", xticks=[], yticks=[], xlabel="eigenvalue λ, from fine to coarse", ylabel="f(λ)")
        axes.minorticks_off()
        axes.legend(loc="center left")
        drawing.suptitle(f"{title}\n{words}", x=0.02, ha="left", color="#1c2126")
        file = io.BytesIO()
        drawing.savefig(file, format="png", metadata={"Software": None})
        return file.getvalue()
