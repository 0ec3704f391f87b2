"""What a page says of itself: description, card for those who share it, version, and how long its code runs.

Needs docutils and myst-nb, which the extra `book` brings.
"""

import html
import os
import re
import textwrap
from importlib.metadata import version
from pathlib import Path

from docutils import nodes

SUMMARY = "Dataset distillation understood, and done, through spectral filters: a book that runs, and a package."


def description(doctree: nodes.document | None) -> str:
    """Return the page's first paragraph without formulas, in at most 200 letters."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        formulas = paragraph.next_node(nodes.math) or paragraph.next_node(nodes.math_block)
        if isinstance(paragraph.parent, nodes.section) and not formulas and "unidd-runs" not in paragraph["classes"]:
            return textwrap.shorten(paragraph.astext(), 200, placeholder=" …")
    return SUMMARY


def seconds_in_words(seconds: float) -> str:
    """Return how long a page runs, in seconds or minutes.

    >>> [seconds_in_words(seconds) for seconds in (0.2, 12.3, 89, 130)]
    ['about a second', '13 seconds', '89 seconds', '3 minutes']
    """
    if seconds <= 1:
        return "about a second"
    return f"{-(-seconds // 1):.0f} seconds" if seconds < 90 else f"{-(-seconds // 60):.0f} minutes"


def say_how_long_it_runs(app, doctree: nodes.document, docname: str) -> None:
    """Put below the title of an executed page how long its code took when the book was built."""
    from myst_nb.sphinx_ import NbMetadataCollector

    ran = (NbMetadataCollector.get_exec_data(app.env, docname) or {}).get("runtime")
    title = doctree.next_node(nodes.title)
    if ran is None or title is None:
        return
    cores = os.cpu_count() or 1
    words = f"The code of this page runs in {seconds_in_words(ran)} (as built, on {cores} processor cores)."
    title.parent.insert(title.parent.index(title) + 1, nodes.paragraph(words, words, classes=["unidd-runs"]))


def describe(app, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Add description and social card to a page's head, and the version to its foot."""
    context["theme_extra_footer"] = f"<p>Version {version('unidd')}.</p>"
    given = re.search(r'<meta (?=[^>]*name="description")[^>]*content="([^"]*)"', context.get("metatags") or "")
    said = {"description": html.unescape(given[1]) if given else description(doctree)}
    title = html.unescape(re.sub("<[^>]*>", "", context.get("title", "")))
    card = {"og:type": "article", "og:site_name": app.config.html_title, "og:title": title}
    card["og:description"] = said["description"]
    if base := app.config.html_baseurl:  # both must be whole addresses
        card["og:url"] = context.get("pageurl") or base
        card["og:image"] = f"{base.rstrip('/')}/_static/card.png"
    said["twitter:card"] = "summary_large_image" if base else "summary"
    tags = [("name", *item) for item in said.items()] + [("property", *item) for item in card.items()]
    context["metatags"] = (context.get("metatags") or "") + "\n".join(
        f'<meta {key}="{name}" content="{html.escape(words, quote=True)}" />'
        for key, name, words in tags
        if words and not (given and name == "description")
    )


def draw_card(app) -> None:
    """Draw the picture that a shared address shows, 1200 × 630: filters over a spectrum."""
    if app.builder.format != "html" or not app.config.html_baseurl:
        return
    from .stills import card

    static = Path(app.outdir, "_static")
    static.mkdir(parents=True, exist_ok=True)
    (static / "card.png").write_bytes(card(app.config.html_title, "Dataset distillation through spectral filters"))


def setup(app) -> None:
    """Have the pages described."""
    app.connect("builder-inited", draw_card)
    app.connect("doctree-resolved", say_how_long_it_runs)
    app.connect("html-page-context", describe)
