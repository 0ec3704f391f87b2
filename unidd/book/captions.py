"""A caption for anything a notebook shows; the book numbers it."""

import sys
from contextlib import AbstractContextManager, nullcontext
from html import escape
from typing import Any


class Captioned:
    """Show a figure, table, picture or explorer with a caption that says what to see.

    It is the last expression of a cell. In a notebook the caption stands below; the book makes a numbered figure (or
    table) of the two, which `name` makes a target for `{numref}`. Tables are shown whole.

    Args:
        thing: whatever a notebook can show: a plotly figure, an explorer, a `DataFrame`, a matplotlib figure.
        caption: plain text, a sentence or two: what to see, not what it is.
        name: such as "fig-pass-band" or "tab-looseness"; unique in the book.
    Raises:
        ValueError: no caption, or a name that does not start with `fig-` or `tab-`.
    """

    def __init__(self, thing: Any, caption: str, name: str):
        if not caption.strip():
            raise ValueError(f"{name} needs a caption: a sentence that says what to see")
        if not name.startswith(("fig-", "tab-")):
            raise ValueError(f"{name!r} must start with fig- or tab-")
        self.thing, self.caption, self.name = thing, caption, name

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        with _whole():
            display(self.thing)
        display(HTML(f'<p class="unidd-caption" data-name="{self.name}">{escape(self.caption)}</p>'))


def _whole() -> AbstractContextManager:
    """Tables are shown with every line and column, and all that stands in them."""
    if "pandas" not in sys.modules:
        return nullcontext()
    options = ("display.max_rows", "display.max_columns", "display.max_colwidth")
    return sys.modules["pandas"].option_context(*(part for name in options for part in (name, None)))
