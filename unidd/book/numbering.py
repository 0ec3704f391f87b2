"""Sphinx side of captions: what a cell shows and its caption become one numbered figure or table.

Needs docutils and Sphinx, which the extra `book` brings.
"""

import html
import re

from docutils import nodes
from sphinx.transforms import SphinxTransform

CAPTION = re.compile(r'<p class="unidd-caption" data-name="([\w-]+)">(.*)</p>', re.S)


class numbered_figure(nodes.General, nodes.Element):
    """A thing and its caption, counted with the figures."""


class numbered_table(nodes.General, nodes.Element):
    """A caption and a table, counted with the tables."""


class numbered_caption(nodes.Part, nodes.TextElement):
    """The words below a figure, or above a table."""


class NumberCaptions(SphinxTransform):
    """Join each output of a `Captioned` with the caption that follows it."""

    default_priority = 400  # before Sphinx collects what can be referred to

    def apply(self, **_) -> None:
        for raw in list(self.document.findall(nodes.raw)):
            if found := CAPTION.fullmatch(raw.astext().strip()):
                self._join(raw, found[1], html.unescape(found[2]))

    def _join(self, raw: nodes.raw, name: str, words: str) -> None:
        """Put what the cell showed last, and its caption, into one node.

        Raises:
            ValueError: it showed nothing.
        """
        block: nodes.Element = raw
        while "cell_output" not in block.parent.get("classes", ()):
            block = block.parent
        output = block.parent
        at = output.index(block)
        if at == 0:
            raise ValueError(f"the caption {name} has nothing above it")
        thing, caption = output[at - 1], numbered_caption(words, words)
        table = name.startswith("tab-")
        joined = numbered_table("", caption, thing) if table else numbered_figure("", thing, caption)
        joined["ids"], joined["names"] = [name], [name]
        output[at - 1 : at + 1] = [joined]
        self.document.note_explicit_target(joined)


def words_of(node: nodes.Element) -> str:
    """Return the caption of a numbered figure or table, by which a reference may call it."""
    return next(child.astext() for child in node if isinstance(child, numbered_caption))


def visit_figure(self, node) -> None:
    self.body.append(self.starttag(node, "figure", CLASS="unidd-numbered"))


def depart_figure(self, node) -> None:
    self.body.append("</figure>\n")


def visit_table(self, node) -> None:
    self.body.append(self.starttag(node, "figure", CLASS="unidd-numbered unidd-table"))


def depart_table(self, node) -> None:
    self.body.append("</div></figure>\n")


def visit_caption(self, node) -> None:
    self.body.append("<figcaption>")
    self.add_fignumber(node.parent)
    self.body.append('<span class="caption-text">')


def depart_caption(self, node) -> None:
    self.body.append("</span>")
    self.add_permalink_ref(node.parent, "Link to this")
    self.body.append("</figcaption>\n")
    if isinstance(node.parent, numbered_table):  # a frame that scrolls, by the keyboard too
        label = html.escape(f"Table: {node.astext()}", quote=True)
        self.body.append(f'<div class="unidd-scroll" role="region" tabindex="0" aria-label="{label}">')


def setup(app) -> None:
    """Make Sphinx count and show numbered figures and tables."""
    app.add_transform(NumberCaptions)
    app.add_enumerable_node(numbered_figure, "figure", words_of, html=(visit_figure, depart_figure))
    app.add_enumerable_node(numbered_table, "table", words_of, html=(visit_table, depart_table))
    app.add_node(numbered_caption, html=(visit_caption, depart_caption))
