"""Numbers cut to what is worth reading: short in a record and on a page."""

from collections.abc import Iterable
from typing import SupportsFloat


def significant(value: SupportsFloat, digits: int) -> float:
    """The value to so many significant digits.

    >>> significant(1234.5678, 3), significant(0.00012345, 3)
    (1230.0, 0.000123)
    """
    return float(f"{float(value):.{digits}g}")


def rounded(values: Iterable[SupportsFloat], digits: int) -> list[float]:
    """Values, such as a tensor (n,), to so many significant digits each."""
    return [significant(value, digits) for value in values]
