"""One look for each filter and each method, the same in every figure, explorer and table of the book.

A method has the look of the filter it is. No meaning hangs on colour alone: a look is a colour, a dash and a marker.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """How a line and its markers are drawn: plotly's names; the colour keeps a contrast of 3:1 on white and black."""

    colour: str
    dash: str
    symbol: str


LOOKS = {
    "all-pass": Look("#7d8794", "dot", "x"),
    "linear": Look("#d1700a", "dash", "square"),
    "ridge": Look("#1f78c8", "solid", "circle"),
    "landweber": Look("#179a72", "dashdot", "diamond"),
    "residual": Look("#b84d92", "longdash", "triangle-up"),
    "band-pass": Look("#8a6fd8", "longdashdot", "star"),
    "classification": Look("#d5484a", "dot", "pentagon"),
    "hfm": Look("#a08a00", "longdash", "triangle-down"),
}
_SAME = {
    "random": "all-pass",
    "full": "all-pass",
    "dm": "all-pass",
    "dc": "linear",
    "lfm": "linear",
    "krr": "ridge",
    "head": "ridge",
    "cfm": "ridge",
    "mtt": "landweber",
}


def look(name: str) -> Look:
    """Return the look of a filter or a method, by its name in any case ("ridge", "CFM").

    Raises:
        KeyError: it has none; the message lists those that have.
    """
    name = name.lower()
    if (found := _SAME.get(name, name)) in LOOKS:
        return LOOKS[found]
    raise KeyError(f"no look for {name!r}: add it to unidd.book.palette, beside {', '.join((*LOOKS, *_SAME))}")
