"""The page of an audit: one HTML file without scripts or requests, in light and dark, on a phone and on paper."""

import base64
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from ..bench.audit_words import accuracy, percent
from ..bench.machine import duration, size
from ..data.datasets import ImageData
from ..data.grids import grid
from ..data.synthetic import SyntheticSet
from .svg import Axis, Series, bars, lines

_CLASSES, _COLUMNS, _PAIRS = 20, 10, 6  # what the page shows of the pictures
_BARS = 25  # classes that get a bar each

_PAGE = Path(__file__).with_name("page")  # the style sheet, and what the numbers mean


def page(found: dict, synthetic: SyntheticSet, data: ImageData | None = None, title: str = "") -> str:
    """Return the page of an audit.

    Args:
        found: from `unidd.bench.audit.audit`.
        data: shows the real images that are nearest.
        title: names the set.
    """
    name = html.escape(title or str(found["set"]["method"] or "a set"))
    parts = [
        _opening(found, name),
        _what(found, synthetic),
        _bytes(found),
        _copies(found, synthetic, data),
        _pixels(found),
        _diversity(found),
        _layers(found),
        _accuracy(found),
        _ending(found),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>Audit of {name}</title><style>{(_PAGE / 'audit.css').read_text()}</style>"
    body = "\n".join(part for part in parts if part)
    body = re.sub(r"(?<=\d) (?=[%±×]|[KMG]?i?B\b)|(?<=±) ", "\u00a0", body)  # numbers stay with their units
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n<main>\n{body}\n</main>\n</body></html>\n'


# ---- pieces


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, kind: str = "numbers") -> str:
    """A table of numbers or words, cells already escaped; the first of a row is its name."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines_ = [
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    ]
    table = f"<caption><span>{caption}</span></caption><thead><tr>{top}</tr></thead><tbody>{''.join(lines_)}</tbody>"
    return f'<div class="wide" tabindex="0"><table class="{kind}">{table}</table></div>'


def _key(names: dict[str, str]) -> str:
    """What the lines of a chart are."""
    line = '<svg viewBox="0 0 32 10" aria-hidden="true"><polyline class="{0}" points="0,5 32,5"/></svg> {1}'
    return "".join(f'<span class="key">{line.format(kind, name)}</span>' for kind, name in names.items())


def _figure(drawn: str, caption: str) -> str:
    return f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}g}"


def _spread(values: Sequence[float | None], digits: int = 2) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "–"
    return f"{mean(known):.{digits}f}" + (f" ± {stdev(known):.{digits}f}" if len(known) > 1 else "")


def _picture(rows: Tensor | list[Tensor], columns: int, alt: str) -> str:
    """Images in rows as one PNG in the page; of one or three channels, else none."""
    from PIL import Image

    first = rows if isinstance(rows, Tensor) else rows[0]
    if first.shape[1] not in (1, 3):
        return ""
    canvas = grid(rows, columns, gap=1, margin=1)
    canvas = canvas[:3] + (1 - canvas[3:])  # on white
    picture = Image.fromarray((canvas.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy())
    scale = max(1, 48 // first.shape[-1])
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return (
        f'<img src="{source}" width="{picture.width}" height="{picture.height}" alt="{html.escape(alt, quote=True)}">'
    )


# ---- sections


def _opening(found: dict, name: str) -> str:
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in found["verdicts"])
    wanting = "".join(f"<li>{html.escape(m['part'])}: <code>{m['say']}</code></li>" for m in found["missing"])
    more = f"<h3>Not on this page, and what to say for it</h3><ul>{wanting}</ul>" if wanting else ""
    return f'<h1>Audit of {name}</h1><h2>In short</h2><ul class="verdicts">{said}</ul>{more}'


def _what(found: dict, synthetic: SyntheticSet) -> str:
    what, classes = found["set"], found["classes"]
    rows = [["images", f"{what['images']:,}"], ["shape", " × ".join(map(str, what["shape"]))]]
    rows += [["method", what["method"] or "not said"]]
    rows += [[f"{part}: {key}", _told(value)] for part in ("cell", "import") for key, value in what[part].items()]
    rows += [["settings", _told(what["settings"]) or "not said"]]
    rows += [[f"teacher: {key}", _told(value)] for key, value in what["teacher"].items()]
    rows += [["mean", _told(what["mean"])], ["deviation", _told(what["std"])]]
    rows += [[f"made with {key}", _told(value)] for key, value in what["versions"].items()]
    cells = [[html.escape(name), html.escape(value)] for name, value in rows]
    shown = [images for k in range(what["classes"]) if len(images := synthetic.images[synthetic.labels == k])][
        :_CLASSES
    ]
    alone = max(map(len, shown)) == 1
    alt = f"Images of the set{'' if alone else ', a class in each row'}: {', '.join(classes['names'][:_CLASSES])}"
    picture = _picture(torch.cat(shown) if alone else shown, _COLUMNS, alt)
    few = "" if len(shown) == what["classes"] else f" of the first {len(shown)} classes"
    parts = ["<h2>What it is</h2>"]
    if picture:
        parts.append(_figure(picture, f"Up to {_COLUMNS} images a class{few}."))
    parts += [_table(["", "from the card"], cells, "What the set's card says of it", "words"), "<h2>Classes</h2>"]
    if classes["equal"]:
        names = ", ".join(classes["names"][:_BARS]) + (", …" if len(classes["names"]) > _BARS else "")
        parts.append(f"<p>{classes['smallest']} images of each class: {html.escape(names)}.</p>")
    elif len(classes["names"]) <= _BARS:
        alt = "Images of each class: " + ", ".join(map("{} {}".format, classes["names"], classes["counts"]))
        parts.append(_figure(bars(classes["names"], classes["counts"], alt), "Images of each class."))
    else:
        each = f"between {classes['smallest']} and {classes['largest']}"
        lacking = ", ".join(classes["missing"]) or "none"
        parts.append(f"<p>{len(classes['names'])} classes of {each} images. Without any: {html.escape(lacking)}.</p>")
    return "".join(parts)


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_told, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _bytes(found: dict) -> str:
    taken, n = found["bytes"], found["set"]["images"]
    image = taken["images"]["8-bit"] / n
    rows = [[f"images, {form}", size(value), f"{value / image:,.1f}"] for form, value in taken["images"].items()]
    if taken["stored"] is not None:
        rows.append(["files as they are", size(taken["stored"]), f"{taken['stored'] / image:,.1f}"])
    names = {"online-soft": "labels, online soft: the teacher"}
    for regime, value in taken["labels"].items():
        if value is not None:
            rows.append([names.get(regime, f"labels, {regime}"), size(value), f"{value / image:,.1f}"])
    stored = f"The set stores soft labels ({taken['kind']})." if taken["soft labels stored"] else ""
    stored = stored or "The set stores no soft labels: their size is what they would take."
    table = _table(["", "size", "as many 8-bit images"], rows, "What images and labels take")
    return f"<h2>Bytes</h2>{table}<p>{stored}</p>"


def _copies(found: dict, synthetic: SyntheticSet, data: ImageData | None) -> str:
    copies, n = found["duplicates"], found["set"]["images"]
    words = {
        "inside": "repeat an earlier image of the set",
        "of several classes": "pictures that stand in several classes",
        "of training images": "are training images",
        "of those, with another label": "of those, with another label",
        "of test images": "are test images",
    }
    rows = [[word, f"{copies[key]:,}", percent(copies[key] / n)] for key, word in words.items() if key in copies]
    parts = ["<h2>Copies and near copies</h2>", _table(["images that …", "number", "share"], rows, "Equal at 8 bits")]
    spaces = found.get("nearest", {}).get("spaces", {})
    parts += ['<div class="many">'] if spaces else []
    for space, line in spaces.items():
        series = [Series("real", *_steps(line["held out"])), Series("set", *_steps(line["set"]))]
        unit = "standard deviations" if space == "pixels" else "1 − cosine"
        alt = (
            f"Distances in {space} to the nearest training image: half of the set's images lie nearer than "
            f"{_number(line['median'])}, half of the real test images nearer than {_number(line['median held out'])}."
        )
        chart = lines(
            series, Axis(f"distance in {space}, {unit}"), Axis("share of images nearer", includes=(0, 1)), alt
        )
        parts.append(_figure(chart, _key({"set": "the set", "real": "real test images"})))
    parts += ["</div>"] if spaces else []
    for space, line in spaces.items():
        if data:
            parts.append(_pairs(space, line, synthetic, data))
    return "".join(parts)


def _steps(values: list[float]) -> tuple[list[float], list[float]]:
    """The share of values below each value, at most 200 points."""
    ordered = sorted(values)
    chosen = sorted({round(i * (len(ordered) - 1) / 199) for i in range(200)})
    return [ordered[i] for i in chosen], [(i + 1) / len(ordered) for i in chosen]


def _pairs(space: str, line: dict, synthetic: SyntheticSet, data: ImageData) -> str:
    closest = line["closest"][:_PAIRS]
    ours = torch.stack([synthetic.images[one["image"]].cpu() for one in closest])
    real = torch.stack([data.train.images[one["training image"]].cpu().float() / 255 for one in closest])
    away = ", ".join(_number(one["distance"]) for one in closest)
    alt = f"Above, the {len(closest)} images of the set nearest to a training image in {space}; below, that image"
    picture = _picture([ours, real], len(closest), alt)
    return _figure(picture, f"{alt}. Distances: {away}.") if picture else ""


def _pixels(found: dict) -> str:
    pixels, radial = found["pixels"], found["radial"]
    names = list(pixels)
    words = {"at 0": "values at 0", "at 1": "values at full", "outside": "values outside the range"}
    rows = [[word, *(percent(pixels[name][key]) for name in names)] for key, word in words.items()]
    for key in ("not finite", "constant images"):
        rows.append([key, *(f"{pixels[name][key]:,}" for name in names)])
    rows += [[key, *(_number(pixels[name][key]) for name in names)] for key in ("mean", "deviation")]
    rows.append(["whole 8-bit values", *("yes" if pixels[name]["whole 8-bit values"] else "no" for name in names)])
    shown = {"set": "the set", "real": "real images"}
    parts = ["<h2>Pixels</h2>", _table(["", *(shown[name] for name in names)], rows, "Pixel values, from 0 to 1")]
    drawn: dict = {name: one for name, one in radial.items() if one}
    if "set" in drawn:
        series = [
            Series("set" if name == "set" else "real", one["frequency"], one["power"]) for name, one in drawn.items()
        ]
        fine = "; ".join(f"{shown[name]} {percent(one['fine'])}" for name, one in drawn.items())
        alt = f"Radial power spectrum. Share of power in detail finer than 4 pixels: {fine}."
        chart = lines(
            series, Axis("cycles a pixel", includes=(0, 0.5)), Axis("share of an image's power", log=True), alt
        )
        parts.append(_figure(chart, _key({name: shown[name] for name in drawn}) + f"<br>Fine detail: {fine}."))
    return "".join(parts)


def _diversity(found: dict) -> str:
    rows = []
    for space, parts in found["diversity"].items():
        own, random = parts["set"], parts.get("random", [])
        where = "standardised pixels" if space == "pixels" else "the teacher's features"
        rows.append(
            [where, _number(own["consistency"]), _number(own["diversity"]), _spread(random), str(own["classes"])]
        )
    if not any(parts["set"]["classes"] for parts in found["diversity"].values()):
        return "<h2>Diversity</h2><p>Each class has one image: diversity within classes needs two.</p>"
    head = ["in", "consistency", "diversity", "diversity, random real", "classes with pairs"]
    caption = f"Likeness of images of one class; random real images over {len(found['seeds'])} choices"
    return "<h2>Diversity</h2>" + _table(head, rows, caption)


def _layers(found: dict) -> str:
    layers = found.get("layers")
    if not layers:
        return ""
    head = ["before layer", "directions", "coverage (%)", "random real", "bands, low to high (%)", "excess"]
    table = _table([*head, "random real"], list(map(_layer_row, layers)), "What the set has of the real spectrum")
    key = _key({"real": "real images", "set": "the set", "random": "as many random real images"})
    charts = "".join(map(_layer_chart, layers))
    return f'<h2>Spectrum of its features</h2>{table}<p>{key}</p><div class="many">{charts}</div>'


def _layer_row(one: dict) -> list[str]:
    bands = " · ".join(f"{100 * band:.0f}" for band in one["bands"])
    chance, spread = one["random coverage"]["mean"], one["random coverage"]["spread"]
    beside = f"{100 * chance:.0f}" + ("" if spread is None else f" ± {100 * spread:.1f}")
    covered = [html.escape(one["layer"]), str(one["directions"]), f"{100 * one['coverage']:.0f}", beside, bands]
    return [*covered, _number(one["excess"], 2), _number(one["random excess"], 2)]


def _layer_chart(one: dict) -> str:
    every = max(1, len(one["real"]) // 128)
    numbers = range(1, len(one["real"]) + 1)[::every]
    series = [Series(kind, numbers, one[kind][::every]) for kind in ("real", "random", "set")]
    alt = (
        f"Power along the real eigenvectors before {one['layer']}, from low to high frequency: the set covers "
        f"{percent(one['coverage'])}, as many random real images {percent(one['random coverage']['mean'])}."
    )
    chart = lines(series, Axis("direction, from low to high frequency"), Axis("power", log=True), alt)
    return _figure(chart, f"Before <code>{html.escape(one['layer'])}</code>")


def _accuracy(found: dict) -> str:
    if "accuracy" not in found:
        return ""
    measured, rows, marks = found["accuracy"], [], []
    for regime, values in measured["regimes"].items():
        name, score = regime.replace("-", " "), measured["scores"][regime]
        accuracies_ = [accuracy(values[key]) for key in ("set", "random", "set plain", "random plain")]
        rows.append([f"{name} labels", *accuracies_])
        recovery = _score(score["HLR"], 1) if "HLR" in score else "–"
        marks.append(
            [f"{name} labels", recovery, _score(score["IOR"], 1), _score(score["LRS"], 3), _score(score["ARS"], 3)]
        )
    rows.append(["full data, hard labels", accuracy(measured["full"]), "–", "–", "–"])
    seeds = ", ".join(map(str, found["seeds"]))
    student = f"{html.escape(str(measured['model']))}, budget {html.escape(str(measured['budget']))}"
    caption = (
        f"Test accuracy of students ({student}) at the last epoch, mean ± standard deviation, "
        f"n = {len(found['seeds'])}, seeds {seeds}"
    )
    head = ["", "the set", "random real", "the set, not augmented", "random real, not augmented"]
    below = "HLR and IOR in points; LRS and ARS from fractions, from 0 to 1; ± over seeds"
    return "<h2>Accuracy</h2>" + _table(head, rows, caption) + _table(["", "HLR", "IOR", "LRS", "ARS"], marks, below)


def _score(score: dict, digits: int) -> str:
    spread = "" if score["spread"] is None else f" ± {score['spread']:.{digits}f}"
    return f"{score['mean']:.{digits}f}".replace("-", "\N{MINUS SIGN}") + spread


def _ending(found: dict) -> str:
    meanings = (_PAGE / "audit_meanings.html").read_text()
    made = ", ".join(f"{key} {value}" for key, value in found["provenance"].items())
    seeds = ", ".join(map(str, found["seeds"]))
    return (
        f"<h2>What the numbers mean</h2><dl>{meanings}</dl>"
        f'<h2>How this page was made</h2><p class="soft">{html.escape(made)}; random real images with seeds {seeds}; '
        f"{duration(found['seconds'])}. All numbers are in <code>audit.json</code> beside this page.</p>"
    )
