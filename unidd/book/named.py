"""Numbers with a name: one that occurs twice in the book, under one name, is the same number.

A number in a sentence is marked where it is written (`named`), one in a figure or an explorer by a `named` in its JSON.
`disagreements` reads the marks of built pages.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_MARK = re.compile(r'<data class="unidd-named" value="([^"]+)" title="([^"]+)">')
_JSON = re.compile(r'<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)


def named(name: str, value: float, text: str) -> str:
    """Return HTML of a number in a sentence, marked.

    Args:
        name: what it is, the same words wherever it occurs, such as "fine detail of linear, photos".
        value: the number.
        text: how it is written.

    >>> named("teacher's accuracy, photos", 89.9, "89.9 %")
    '<data class="unidd-named" value="89.9" title="teacher&#x27;s accuracy, photos">89.9 %</data>'
    """
    return f'<data class="unidd-named" value="{value:.6g}" title="{html.escape(name)}">{html.escape(text)}</data>'


def marks(page: str) -> Iterator[tuple[str, float]]:
    """Yield the named numbers of a built page, in order: of its sentences, then of its figures and explorers."""
    for value, name in _MARK.findall(page):
        yield html.unescape(name), float(value)
    for content in _JSON.findall(page):
        yield from _within(json.loads(content.replace("<\\/", "</")))


def _within(content: Any) -> Iterator[tuple[str, float]]:
    """The entries of every `named` in JSON, at any depth."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "named" and isinstance(value, dict):
                yield from value.items()
            else:
                yield from _within(value)
    elif isinstance(content, list):
        for value in content:
            yield from _within(value)


def disagreements(pages: Mapping[str, str], tolerance: float = 1e-3) -> list[str]:
    """Return a sentence for each name whose numbers differ, relatively, by more than the tolerance.

    Args:
        pages: name of a page → its HTML.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    for page, text in pages.items():
        for name, value in marks(text):
            found.setdefault(name, []).append((page, value))
    return [
        f"{name}: " + ", ".join(f"{value:g} on {page}" for page, value in places)
        for name, places in found.items()
        if max(v for _, v in places) - min(v for _, v in places) > tolerance * max(abs(v) for _, v in places)
    ]
