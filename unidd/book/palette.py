"""One look for each filter and each method, the same in every figure, explorer and table of the book.

A method has the look of the filter it is. No meaning hangs on colour alone: a look is a colour, a dash and a marker.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace


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
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SAME = {
    "random": "all-pass",
    "full": "all-pass",
    "dm": "all-pass",
    "dc": "linear",
    "dsa": "linear",
    "lfm": "linear",
    "krr": "ridge",
    "kip": "ridge",
    "frepo": "ridge",
    "head": "ridge",
    "cfm": "ridge",
    "mtt": "landweber",
    "tesla": "landweber",
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


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return the looks of several names in one figure, no two alike.

    A name that starts with that of a filter or method ("ridge, β = 0.1") has its look; a second of one filter has the
    colour, with another dash and an open marker; a name that has no look gets a colour that fewest have.
    """
    own = {name: known for name in names if (known := _known(name))}
    uses = Counter(one.colour for one in own.values())
    found: dict[str, Look] = {}
    for name in names:
        if name not in own:
            own[name] = min(LOOKS.values(), key=lambda one: uses[one.colour])
            uses[own[name].colour] += 1
        one = own[name]
        alike = [other for other in found.values() if other.colour == one.colour]
        if alike:
            dashes = [dash for dash in DASHES if dash not in {other.dash for other in alike}]
            one = replace(one, dash=(dashes or DASHES)[0], symbol=f"{one.symbol}-open")
        found[name] = one
    return found


def _known(name: str) -> Look | None:
    """The look of the filter or method that a name starts with, if any."""
    words = name.lower().replace(",", " ").replace("(", " ").split()
    first = words[0] if words else ""
    return LOOKS.get(_SAME.get(first, first))
