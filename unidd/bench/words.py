"""Numbers as they stand in a sentence or a table."""

import math
from collections.abc import Sequence
from statistics import mean, stdev


def signed(value: float, digits: int = 1) -> str:
    """Return a difference with its sign, a minus and no hyphen.

    >>> signed(2.34), signed(-0.5), signed(-0.5, 3)
    ('+2.3', '−0.5', '−0.500')
    """
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(middle: float, low: float, high: float, digits: int = 1) -> str:
    """Return a difference and its 95 % interval; a dash where there is no number.

    >>> interval(1.0, -3.3, 5.3), interval(1.0, math.nan, math.nan), interval(math.nan, math.nan, math.nan)
    ('+1.0 [−3.3, +5.3]', '+1.0', '–')
    """
    if math.isnan(middle):
        return "–"
    ends = "" if math.isnan(low) else f" [{signed(low, digits)}, {signed(high, digits)}]"
    return signed(middle, digits) + ends


def regime_words(regime: str) -> str:
    """Return a label regime in words, and the protocol it is under if it names one.

    >>> regime_words("fixed-soft"), regime_words("hard (dsa)")
    ('fixed soft labels', 'hard labels (dsa)')
    """
    name, *protocol = regime.replace("-", " ").split(" (")
    return f"{name} labels" + "".join(f" ({each}" for each in protocol)


def plus_minus(values: Sequence[float], digits: int = 1) -> str:
    """Return the mean of repetitions ± their standard deviation, which one alone does not have.

    >>> plus_minus([1.0, 2.0, 3.0]), plus_minus([-0.5], 2)
    ('2.0 ± 1.0', '−0.50')
    """
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}".replace("-", "\N{MINUS SIGN}") + spread
