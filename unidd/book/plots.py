"""plotly figures of the book: accuracy, image grids, filters over a spectrum, the cost of a step.

Every figure carries a one-sentence description in `layout.meta["alt"]`, which the book gives to screen readers,
a transparent background, and colours that stay apart for colour-blind readers: those of `palette` for filters and
methods. The book sets the colours of text and grid to those of its light or dark theme.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import torch
from torch import Tensor

from ..bench import gains
from ..bench.tables import paired
from ..bench.words import regime_words
from ..core.filters import Filter
from ..data.grids import grid
from .palette import Look, look, looks
from .pictures import data_uri
from .rounding import rounded
from .svg import Axis

# For series that are no filter or method: contrasts of at least 3:1 on white and on near-black, apart with any colour
# vision; each comes with a marker and a dash, so that no meaning hangs on colour alone.
COLOURS = ("#1f78c8", "#d1700a", "#179a72", "#b84d92", "#7d8794", "#a08a00", "#d5484a")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "pentagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
TEXT = "#7d8794"
NETWORKS = {"convnet": "ConvNet-3", "resnet18": "ResNet-18"}  # of the studies of cost

_AXIS = {
    "gridcolor": "rgba(125,135,148,0.25)",
    "linecolor": TEXT,
    "zeroline": False,
    "ticks": "outside",
    "automargin": True,
    "title": {"font": {"size": 14}},
}
TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": COLOURS,
        "font": {"family": "system-ui, -apple-system, Segoe UI, sans-serif", "size": 13, "color": TEXT},
        "margin": {"l": 8, "r": 8, "t": 40, "b": 8},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "bgcolor": "rgba(0,0,0,0)"},
        "hoverlabel": {"align": "left"},
    }
)


def figure(traces, alt: str, height: int = 420, **layout) -> go.Figure:
    """Return a figure in the book's look; logarithmic axes without `tickvals` get few, which do not collide.

    Raises:
        ValueError: `alt` is empty.
    """
    if not alt.strip():
        raise ValueError("a figure needs alt text: one sentence that says what it shows")
    chart = go.Figure(traces, {"template": TEMPLATE, "height": height, "meta": {"alt": alt}} | layout)
    for side in "xy":
        axis: Any = chart.layout[f"{side}axis"]
        if axis.type == "log" and axis.tickvals is None:
            shown = [10**end for end in axis.range] if axis.range else _positive(chart.data, side)
            axis.update(log_ticks(shown) if shown else {})
    return chart


def log_ticks(values: Iterable[float]) -> dict[str, Any]:
    """Return two to seven ticks for a logarithmic axis that shows these values: for `layout.xaxis` or `layout.yaxis`.

    >>> log_ticks([0.002, 30])["ticktext"], log_ticks([1.1, 1.9])["ticktext"]
    (['0.01', '0.1', '1', '10'], ['1.2', '1.4', '1.6', '1.8'])
    """
    values = list(values)
    low, high = min(values), max(values)
    if low == high:
        low, high = low / 2, high * 2
    ticks = [(10**at, text) for at, text in Axis("", log=True).ticks(math.log10(low), math.log10(high))]
    if len(ticks) < 2:  # less than about half a decade: as on a linear axis
        ticks = [(at, text) for at, text in Axis("").ticks(low, high) if at > 0]
    return {"tickmode": "array", "tickvals": [at for at, _ in ticks], "ticktext": [text for _, text in ticks]}


def _positive(traces: Iterable[Any], side: str) -> list[float]:
    """What a logarithmic axis can show of the traces."""
    values = (v for trace in traces if trace[side] is not None for v in trace[side] if v is not None)
    return [float(v) for v in values if math.isfinite(v) and v > 0]


def accuracy(table: pd.DataFrame, dataset: str | None = None, regime: str | None = None) -> go.Figure:
    """Draw the test accuracy at each number of images per class, a marker a method, bars of one standard deviation.

    A short dotted line at the mean of random real images shows which methods beat it; training on the full data (a row
    without `ipc`) is a line across.

    Args:
        table: from `tables.table`: columns dataset, regime, method, role, ipc, mean, std, n; accuracies in %.
        dataset, regime: show only these rows; needed if the table holds several.
    Raises:
        ValueError: rows of several data sets or label regimes would be mixed.
    """
    rows = _of_one_kind(table, dataset=dataset, regime=regime)
    full = [row for row in rows if pd.isna(row["ipc"])]
    rows = [row for row in rows if not pd.isna(row["ipc"])]
    if not rows:
        return _nothing("no results yet")
    ipcs = sorted({int(row["ipc"]) for row in rows})
    groups = {method: [row for row in rows if row["method"] == method] for method in _each(rows, "method")}
    shifts = [0.64 * ((i + 0.5) / len(groups) - 0.5) for i in range(len(groups))]
    its = looks(groups)
    traces = [_accuracy_trace(groups[m], m, ipcs, its[m], shifts[i]) for i, m in enumerate(groups)]
    best = max(rows, key=lambda row: row["mean"])
    alt = (
        f"Test accuracy on {best['dataset']} with {regime_words(best['regime'])}, of {', '.join(groups)}, at "
        f"{' and '.join(map(str, ipcs))} images per class; the highest is {best['method']} with "
        f"{_plus_minus(best)} at {int(best['ipc'])}."
    )
    across = {"tickvals": list(range(len(ipcs))), "ticktext": [str(i) for i in ipcs], "showgrid": False}
    across |= {"title": "images per class", "range": [-0.5, len(ipcs) - 0.5]}
    chart = figure(traces, alt, xaxis=across, yaxis={"title": "test accuracy (%)"})
    dotted = {"color": TEXT, "dash": "dot", "width": 1.5}
    for row in (row for row in rows if row["role"] == "baseline"):
        x, y = ipcs.index(int(row["ipc"])), row["mean"]
        chart.add_shape(type="line", x0=x - 0.42, x1=x + 0.42, y0=y, y1=y, line=dotted, layer="below")
    for row in full:
        text = {"text": f"{row['method']} data: {row['mean']:.1f} %", "font": {"size": 12}}
        chart.add_hline(row["mean"], line=dotted, annotation=text, annotation_position="top left")
    return chart


def _of_one_kind(table: pd.DataFrame, **chosen: str | None) -> list[dict[str, Any]]:
    """The rows that have the chosen values, as long as what is not chosen has one value only.

    Raises:
        ValueError: a column of several values would be mixed.
    """
    rows: list[dict[str, Any]] = table.to_dict("records")
    for column, value in chosen.items():
        rows = [row for row in rows if value in (None, row[column])]
        if len(found := _each(rows, column)) > 1:
            raise ValueError(f"rows of several values of {column} ({', '.join(sorted(found))}): choose one")
    return rows


def _each(rows: list[dict[str, Any]], column: str) -> list[str]:
    """The values of a column, each once, in order."""
    return list(dict.fromkeys(row[column] for row in rows if not pd.isna(row[column])))


def _nothing(why: str) -> go.Figure:
    note, hidden = {"text": why, "showarrow": False, "font": {"size": 18}}, {"visible": False}
    return figure([], f"{why.capitalize()}.", height=120, annotations=[note], xaxis=hidden, yaxis=hidden)


def _plus_minus(row: dict[str, Any]) -> str:
    spread = "" if pd.isna(row["std"]) else f" ± {row['std']:.1f}"  # one run has none
    return f"{row['mean']:.1f}{spread} %"


def _accuracy_trace(rows: list[dict[str, Any]], method: str, ipcs: list[int], its: Look, shift: float) -> go.Scatter:
    """A method's markers, beside those of the others, so that error bars do not cover each other."""
    text = [f"<b>{method}</b>, {int(r['ipc'])} a class<br>{_plus_minus(r)} (n = {r['n']})" for r in rows]
    points = {"x": [ipcs.index(int(row["ipc"])) + shift for row in rows], "y": [round(row["mean"], 3) for row in rows]}
    spread = [0.0 if pd.isna(row["std"]) else round(row["std"], 3) for row in rows]
    points |= {"text": text, "error_y": {"array": spread, "thickness": 1.8, "width": 5}}
    marker = {"color": its.colour, "size": 10, "symbol": its.symbol}
    return go.Scatter(points, name=method, mode="markers", marker=marker, hovertemplate="%{text}<extra></extra>")


def image_grid(
    images: Tensor,
    labels: Tensor,
    class_names: tuple[str, ...],
    alt: str | None = None,
    columns: int = 10,
    pixel: int = 2,
) -> go.Figure:
    """Images as one pixelated picture: a row per class, at most `columns` images in it.

    Args:
        images: (n, C, H, W), float in [0, 1]; C is 1 or 3.
        labels: (n,) class indices.
        class_names: name of each class.
        alt: one sentence; worked out if left out.
        columns: images shown of each class.
        pixel: screen pixels for one pixel of an image (the picture shrinks to fit a narrow page).
    Raises:
        ValueError: shapes do not fit or there is no image.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) != len(labels) or len(images) == 0:
        raise ValueError(f"images must be (n, 1 or 3, H, W), with n labels: {tuple(images.shape)}, {len(labels)}")
    classes = sorted(set(labels.tolist()))
    rows = [images[labels == c][:columns] for c in classes]
    names = [class_names[c] for c in classes]
    if alt is None:
        alt = f"{sum(map(len, rows))} images of {len(rows)} classes, a row each: {', '.join(names)}."
    canvas = grid(rows, columns)
    size = [pixel * n for n in canvas.shape[:0:-1]]
    return figure(
        go.Image(source=data_uri(canvas), hoverinfo="skip", zsmooth=False),
        alt,
        height=max(90, size[1] + 16),
        meta={"alt": alt, "picture": size},  # the book keeps this shape on a narrow page
        dragmode=False,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        **_grid_axes(canvas, names),
    )


def _grid_axes(canvas: Tensor, names: list[str]) -> dict[str, dict]:
    """Axes that keep a picture's shape at the top left, with the names of its rows."""
    _, high, wide = canvas.shape
    pitch = (high + 2) / len(names)  # from a row to the next: two pixels of gap
    fixed = {"fixedrange": True, "constrain": "domain"}
    across = {"range": [-0.5, wide - 0.5], "visible": False, "constraintoward": "left"}
    down = {"range": [high - 0.5, -0.5], "scaleanchor": "x", "constraintoward": "top"}
    down |= {"tickvals": [r * pitch + (pitch - 3) / 2 for r in range(len(names))], "ticktext": names}
    down |= {"ticks": "", "tickfont": {"size": 12}, "showgrid": False}
    return {"xaxis": across | fixed, "yaxis": down | fixed}


def filters(
    curves: dict[str, Filter],
    eigenvalues: Tensor,
    layer: str = "layer",
    decades: float = 5,
) -> go.Figure:
    """|f(λ)| relative to its maximum over the eigenvalues of one layer, which are ticks below the curves.

    Args:
        curves: name → filter.
        eigenvalues: (d,), of the layer's FFC.
        layer: its name, for the description.
        decades: how far below the largest eigenvalue to draw.
    Raises:
        ValueError: no eigenvalue is above 0, or no filter is given.
    """
    eigenvalues = eigenvalues.double().cpu()
    if not curves or not float(eigenvalues.max()) > 0:
        raise ValueError("filter curves need a filter and an eigenvalue above 0")
    top = math.log10(float(eigenvalues.max()))
    shown = eigenvalues[eigenvalues >= 10 ** (top - decades)]
    lam = torch.logspace(math.log10(float(shown.min())) - 0.1, top, 200, dtype=torch.float64)
    ticks = {"symbol": "line-ns-open", "size": 9, "color": TEXT}
    hover = "λ = %{x:.3g}<extra></extra>"
    below = {"x": rounded(shown, 5), "y": [-0.05] * len(shown), "name": "eigenvalues", "hovertemplate": hover}
    traces = [go.Scatter(below, mode="markers", marker=ticks)]
    its = looks(curves)
    for name, f in curves.items():
        y = f.response(lam).abs() / f.response(eigenvalues).abs().max().clamp_min(1e-300)
        line = {"width": 2.5, "color": its[name].colour, "dash": its[name].dash}
        hover = "λ = %{x:.3g}<br>%{y:.2f} of the maximum<extra>" + name + "</extra>"
        traces.append(go.Scatter(x=rounded(lam, 5), y=rounded(y, 5), name=name, line=line, hovertemplate=hover))
    alt = (
        f"Response of {', '.join(curves)} over the {len(eigenvalues)} eigenvalues of {layer}, each relative to "
        "its maximum; large eigenvalues, low frequencies, are on the right."
    )
    across = {"type": "log", "title": "λ (large = low frequency)"}
    down = {"title": "|f(λ)|, relative", "range": [-0.1, 1.08]}
    return figure(traces, alt, xaxis=across, yaxis=down)


def cost_bars(record: dict) -> go.Figure:
    """What a step costs in plain passes, with quartiles; floor: a plain pass with a step's bare products.

    Args:
        record: of `benchmarks/step_cost.py`; an empty one gives a figure that says "not run".
    """
    if not record:
        return _nothing("not run")
    cases = {_case_name(case): case for case in record["cases"]}
    kinds = (("our step", "ours / plain"), ("straightforward step", "straightforward / plain"))
    traces: list[go.Bar | go.Scatter] = []
    traces += [_cost_trace(name, what, cases, COLOURS[i]) for i, (name, what) in enumerate(kinds)]
    floor = "floor / plain"  # not measured in half precision
    floors = {name: case["ratios"][floor]["median"] for name, case in cases.items() if floor in case["ratios"]}
    marker = {"symbol": "diamond", "size": 11, "color": COLOURS[len(traces)]}
    points = {"x": list(floors.values()), "y": list(floors), "name": "floor", "mode": "markers", "marker": marker}
    traces.append(go.Scatter(points, hovertemplate="%{y}<br>floor: %{x:.2f}<extra></extra>"))
    each = [[f"{case['ratios'][what]['median']:.2f}" for _, what in kinds] for case in cases.values()]
    words = "; ".join(f"{' and '.join(ratios)} for {name}" for name, ratios in zip(cases, each, strict=True))
    alt = f"Time of our and of the straightforward step in plain passes: {words}."
    along, down = {"title": "plain passes"}, {"autorange": "reversed", "ticks": "", "showgrid": False}
    return figure(traces, alt, height=120 + 62 * len(cases), xaxis=along, yaxis=down)


def _case_name(case: dict[str, Any]) -> str:
    """The network, the batch, and what else sets a case apart."""
    network: str = case["network"]
    extra = ["first round"] * (case["b"] == 1) + [case["half"]] * bool(case["half"])
    return ", ".join([NETWORKS.get(network, network), f"{case['batch']} images", *extra])


def _cost_trace(name: str, what: str, cases: dict[str, dict], colour: str) -> go.Bar:
    """A bar for each case, with its quartiles."""
    ratios = [case["ratios"][what] for case in cases.values()]
    middle, low, high = ([r[side] for r in ratios] for side in ("median", "low", "high"))
    spread = {"array": [h - m for h, m in zip(high, middle, strict=True)], "thickness": 1.8, "color": TEXT}
    spread["arrayminus"] = [m - v for m, v in zip(middle, low, strict=True)]
    about = list(zip(low, high, (case["n"] for case in cases.values()), strict=True))
    hover = "%{y}<br>" + name + ": %{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}], n = %{customdata[2]}"
    bars = {"x": middle, "y": list(cases), "orientation": "h", "name": name, "error_x": spread, "customdata": about}
    return go.Bar(bars, marker={"color": colour}, hovertemplate=hover + "<extra></extra>")


def growth(record: dict) -> go.Figure:
    """Time of a step over classes, images per class, width and resolution, each relative to its smallest; log axes.

    Filled markers are our step, with the line of the fitted exponent; open ones the plain pass.

    Args:
        record: of `benchmarks/growth.py`.
    """
    traces = [trace for i, found in enumerate(record["growth"]) for trace in _growth_traces(found, i)]
    slopes = dict.fromkeys(str(trace.name) for trace in traces)
    alt = f"Time of our step as one quantity grows, the others fixed: {'; '.join(slopes)}."
    titles = {"xaxis": "times the smallest", "yaxis": "time, over our step at the smallest"}
    axes = {axis: {"title": title, "type": "log"} for axis, title in titles.items()}
    return figure(traces, alt, height=480, **axes)


def _growth_traces(found: dict[str, Any], i: int) -> list[go.Scatter]:
    """Markers of our step and of the plain pass as one quantity grows, and the line of the fitted exponent."""
    points, p = found["points"], found["fits"]["ours"]["exponent"]
    name = f"{found['words']}: exponent {round(p, 2) + 0:.2f}"
    x, first = [point / points[0] for point in points], found["seconds"]["ours"][0]["median"]
    y = {kind: [s["median"] / first for s in found["seconds"][kind]] for kind in ("ours", "plain")}
    level = math.exp(sum(math.log(t / v**p) for v, t in zip(x, y["ours"], strict=True)) / len(x))
    own = {"legendgroup": found["quantity"], "name": name, "marker": {"color": COLOURS[i], "size": 10}}
    traces = []
    for kind, symbol in (("ours", SYMBOLS[i]), ("plain", f"{SYMBOLS[i]}-open")):
        hover = f"{found['words']}: %{{customdata}}<br>{kind}: %{{y:.2f}}<extra></extra>"
        dots = {"x": x, "y": y[kind], "customdata": points, "mode": "markers", "showlegend": kind == "ours"}
        traces.append(go.Scatter(own | dots, marker_symbol=symbol, hovertemplate=hover))
    line = {"x": x, "y": [level * v**p for v in x], "mode": "lines", "showlegend": False, "hoverinfo": "skip"}
    return [*traces, go.Scatter(own | line, line={"color": COLOURS[i], "dash": DASHES[i]})]


def differences(table: pd.DataFrame, regime: str, ipc: int | None = None) -> go.Figure:
    """Draw what each method gains over random real images: a dot a repetition, a bar the 95 % interval of the mean.

    Coresets are stars, and methods that have no look of their own are grey circles.

    Args:
        table: from `tables.table`, of one suite.
        regime: label regime.
        ipc: show these rows alone, the largest gain first; None shows all in the order of the table.
    """
    shown = [row for row in table.sort_values("ipc", kind="stable").to_dict("records") if row["regime"] == regime]
    drawn = {row["ipc"]: row["values"] for row in shown if row["role"] == "baseline"}
    rows = [row for row in shown if not pd.isna(row["ior"]) and ipc in (None, row["ipc"])]
    if not rows:
        return _nothing("no results yet")
    if ipc:
        rows.sort(key=lambda row: -row["ior"])
    traces, words = [], []
    for row in rows:
        name, own, middle = row["method"] + f", IPC {row['ipc']:.0f}" * (not ipc), _look_of(row), row["ior"]
        points = [round(a - b, 3) for a, b in zip(row["values"], drawn[row["ipc"]], strict=True)]
        reach = 0.0 if pd.isna(row["ior_high"]) else round(row["ior_high"] - middle, 3)
        words.append(f"{name} {middle:+.1f} ± {reach:.1f}")
        dots = {"color": own.colour, "size": 6, "symbol": "circle-open"}
        hover = f"{name}: %{{x:+.1f}}<extra></extra>"
        traces.append(go.Scatter(x=points, y=[name] * len(points), mode="markers", marker=dots, hovertemplate=hover))
        bar = {"array": [reach], "thickness": 2.5, "width": 6, "color": own.colour}
        about = f"{name}: {middle:+.1f} ± {reach:.1f} (n = {row['n']})<extra></extra>"
        dot = {"color": own.colour, "size": 10, "symbol": own.symbol}
        traces.append(
            go.Scatter(x=[round(middle, 3)], y=[name], error_x=bar, mode="markers", marker=dot, hovertemplate=about)
        )
    under = regime_words(regime) + f" at IPC {ipc}" * bool(ipc)
    alt = f"Points gained over random real images with {under}: {'; '.join(words)}."
    down = {"autorange": "reversed", "ticks": "", "showgrid": False}
    high = 90 + (22 if ipc else 34) * len(rows)
    chart = figure(traces, alt, height=high, xaxis={"title": "points over random"}, yaxis=down)
    chart.update_layout(showlegend=False)
    return chart.add_vline(0, line={"color": TEXT, "dash": "dot", "width": 1.5})


def captioned_differences(table: pd.DataFrame, regime: str, ipc: int | None = None) -> tuple[go.Figure, str]:
    """Return `differences`, and a caption that says of what, and how to read them."""
    rows = [row for row in table.to_dict("records") if row["regime"] == regime and not pd.isna(row["ior"])]
    sets, at, n = (sorted({row[key] for row in rows}) for key in ("dataset", "ipc", "n"))
    about = f"{', '.join(sets)}, IPC {ipc or ', '.join(f'{each:.0f}' for each in at)}, {regime_words(regime)}"
    caption = (
        f"{about}, n = {', '.join(map(str, n))}: gain over random real images. A small ring is a repetition, the large "
        "marker their mean, the bar its 95 % interval. A bar that reaches over zero decides nothing."
    )
    coresets = any(row["role"] == "coreset" for row in rows)
    return differences(table, regime, ipc), caption + " Stars are coresets." * coresets


def along(record: dict[str, Any], axis: str) -> go.Figure:
    """Draw what sets gain over random real images as their students get more of something: bars are 95 % intervals.

    Args:
        record: of `benchmarks/gains.py`.
        axis: of `unidd.bench.gains.AXES`.
    """
    found = [gain for gain in gains.along(record, axis) if gain.name != gains.BASE]
    its = looks(dict.fromkeys(gain.name for gain in found))
    traces, words = [], []
    for i, (name, own) in enumerate(its.items()):
        rows = [gain for gain in found if gain.name == name]
        places, middle = [gains.place(axis, row.at) for row in rows], [row.points[0] for row in rows]
        reach = [0.0 if math.isnan(row.points[2]) else row.points[2] - row.points[0] for row in rows]
        words.append(f"{name} {', '.join(f'{gain:+.1f} at {at}' for gain, at in zip(middle, places, strict=True))}")
        x = [at + 0.08 * (i - (len(its) - 1) / 2) for at in range(len(rows))]
        bars = {"array": rounded(reach, 5), "thickness": 1.8, "width": 4, "color": own.colour}
        about = {"customdata": places, "hovertemplate": f"{name} at %{{customdata}}: %{{y:+.1f}}<extra></extra>"}
        drawn = {
            "name": name,
            "mode": "lines+markers",
            "line": {"color": own.colour, "dash": own.dash},
            "error_y": bars,
        }
        marker = {"symbol": own.symbol, "size": 9}
        traces.append(go.Scatter(x=x, y=rounded(middle, 5), marker=marker, **drawn, **about))
    ticks = list(dict.fromkeys(gains.place(axis, gain.at) for gain in found))
    across = {"title": gains.AXES[axis].split(",")[0], "tickvals": list(range(len(ticks))), "ticktext": ticks}
    alt = f"Points gained over random real images along {gains.AXES[axis]}: {'; '.join(words)}."
    chart = figure(traces, alt, xaxis=across | {"showgrid": False}, yaxis={"title": "points over random"})
    return chart.add_hline(0, line={"color": TEXT, "dash": "dot", "width": 1.5})


def repeated(values: Mapping[str, Sequence[float]], title: str, digits: int = 1) -> go.Figure:
    """Draw a line a name: a ring a repetition, a marker at their mean, a bar its 95 % interval.

    Args:
        values: name → a number a repetition.
        title: of the axis.
        digits: of the numbers.
    """
    traces, words, its = [], [], looks(values)
    for name, each in values.items():
        middle, low, _ = paired(each, [0.0] * len(each))
        reach, own = 0.0 if math.isnan(low) else middle - low, its[name]
        words.append(f"{name} {middle:.{digits}f} ± {reach:.{digits}f}")
        shared = {"mode": "markers", "showlegend": False}
        rings = {"x": rounded(each, 5), "y": [name] * len(each), "hovertemplate": f"{name}: %{{x}}<extra></extra>"}
        rings["marker"] = {"color": own.colour, "size": 6, "symbol": "circle-open"}
        dot = {"x": rounded([middle], 5), "y": [name], "hovertemplate": f"{words[-1]} (n = {len(each)})<extra></extra>"}
        dot["marker"] = {"color": own.colour, "size": 10, "symbol": own.symbol}
        dot["error_x"] = {"array": rounded([reach], 5), "thickness": 2.5, "width": 6, "color": own.colour}
        traces += [go.Scatter(rings | shared), go.Scatter(dot | shared)]
    down = {"autorange": "reversed", "ticks": "", "showgrid": False}
    alt = f"{title[0].upper()}{title[1:]}, mean and 95 % interval: {'; '.join(words)}."
    return figure(traces, alt, height=90 + 34 * len(values), xaxis={"title": title}, yaxis=down)


def _look_of(row: dict[str, Any]) -> Look:
    """The look of a method in a figure of many, where its name stands beside it."""
    if row["role"] == "coreset":
        return Look(TEXT, "dot", "star")
    try:
        return look(row["method"])
    except KeyError:
        return Look(TEXT, "solid", "circle")
