"""Charts as SVG text: no script, colours by the page's style sheet, a description for who cannot see them.

Drawn 380 wide, so that letters keep their size on a phone. Colours are classes: `set`, `real`, `random`.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 380, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 40


@dataclass(frozen=True)
class Series:
    """A line: its class, and its points (x, y). Those that an axis cannot show are left out."""

    kind: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Axis:
    """An axis: its title, whether it is logarithmic, and what it must reach."""

    title: str
    log: bool = False
    includes: Sequence[float] = field(default=())

    def on_axis(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def shows(self, value: float) -> bool:
        return math.isfinite(value) and (value > 0 or not self.log)

    def range(self, values: Sequence[float]) -> tuple[float, float]:
        """Return both ends, as positions on the axis, with room around a single value; a decade if logarithmic."""
        places = [self.on_axis(v) for v in [*values, *self.includes] if self.shows(v)] or [0.0, 1.0]
        low, high = min(places), max(places)
        gap = max((high - low) * 0.04, (1 - high + low) / 2 if self.log else 0) or 0.5
        return low - gap, high + gap

    def ticks(self, low: float, high: float) -> list[tuple[float, str]]:
        """Return a few round values between two positions: where, and what is written there.

        >>> Axis("share").ticks(0, 1)
        [(0.0, '0'), (0.2, '0.2'), (0.4, '0.4'), (0.6, '0.6'), (0.8, '0.8'), (1.0, '1')]
        >>> Axis("power", log=True).ticks(-2.2, 1.1)
        [(-2.0, '0.01'), (-1.0, '0.1'), (0.0, '1'), (1.0, '10')]
        """
        if self.log:
            step, marks = math.ceil((high - low) / 5), (1, 2, 5) if high - low < 2 else (1,)
            powers = [p for p in range(math.floor(low), math.floor(high) + 1) if p % step == 0]
            places = [(p + math.log10(m), _times(m, p)) for p in powers for m in marks]
            return [(where, text) for where, text in places if low <= where <= high]
        rough = (high - low) / 5
        unit = 10 ** math.floor(math.log10(rough))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [(round(step * i, 12), f"{round(step * i, 12):g}") for i in range(first, last + 1)]


def _times(mark: int, exponent: int) -> str:
    if -3 < exponent < 4:
        return f"{mark * 10.0**exponent:g}"
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if mark == 1 else f"{mark}·10{raised}"


def lines(series: Sequence[Series], x: Axis, y: Axis, alt: str) -> str:
    """Return a chart of lines.

    Raises:
        ValueError: there is no description.
    """
    (left, right), (low, high) = (
        axis.range([v for one in series for v in getattr(one, name)]) for name, axis in (("x", x), ("y", y))
    )

    def place(a: float, b: float) -> str:
        across = _LEFT + (x.on_axis(a) - left) / (right - left) * (WIDTH - _LEFT - _RIGHT)
        down = HEIGHT - _BOTTOM - (y.on_axis(b) - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)
        return f"{across:.1f},{down:.1f}"

    drawn = []
    for one in series:
        points = [place(a, b) for a, b in zip(one.x, one.y, strict=True) if x.shows(a) and y.shows(b)]
        if len(points) == 1:
            across, down = points[0].split(",")
            drawn.append(f'<circle class="{one.kind}" cx="{across}" cy="{down}" r="3"/>')
        elif points:
            drawn.append(f'<polyline class="{one.kind}" points="{" ".join(points)}"/>')
    return _frame([*_axes(x, y, (left, right), (low, high)), *drawn], alt)


def bars(names: Sequence[str], values: Sequence[float], alt: str) -> str:
    """Return horizontal bars from 0, each with its name and its value.

    Raises:
        ValueError: there is no description.
    """
    step, most = 20, max([*values, 1])
    drawn = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        top, length = 4 + step * i, value / most * 190
        short = name if len(name) <= 18 else name[:17] + "…"
        drawn.append(f'<text x="128" y="{top + 12}" text-anchor="end">{html.escape(short)}</text>')
        drawn.append(f'<rect class="set" x="134" y="{top + 2}" width="{length:.1f}" height="12"/>')
        drawn.append(f'<text x="{140 + length:.1f}" y="{top + 12}">{value:g}</text>')
    return _frame(drawn, alt, height=8 + step * len(names))


def _axes(x: Axis, y: Axis, across: tuple[float, float], up: tuple[float, float]) -> list[str]:
    inside = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    parts, bottom = [], HEIGHT - _BOTTOM
    for where, text in x.ticks(*across):
        at = _LEFT + (where - across[0]) / (across[1] - across[0]) * inside[0]
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{text}</text>')
    for where, text in y.ticks(*up):
        at = bottom - (where - up[0]) / (up[1] - up[0]) * inside[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    middle = _LEFT + inside[0] / 2, _TOP + inside[1] / 2
    parts.append(f'<text x="{middle[0]}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(x.title)}</text>')
    turned = f'transform="rotate(-90 11 {middle[1]})"'
    parts.append(f'<text x="11" y="{middle[1]}" text-anchor="middle" {turned}>{html.escape(y.title)}</text>')
    return parts


def _frame(parts: Sequence[str], alt: str, height: int = HEIGHT) -> str:
    if not alt.strip():
        raise ValueError("a chart needs a description: one sentence that says what it shows")
    said = html.escape(alt, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{said}">{"".join(parts)}</svg>'
