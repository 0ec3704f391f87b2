"""Numbers as they stand in a sentence or a table."""


def signed(value: float, digits: int = 1) -> str:
    """Return a difference with its sign, a minus and no hyphen.

    >>> signed(2.34), signed(-0.5), signed(-0.5, 3)
    ('+2.3', '−0.5', '−0.500')
    """
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
