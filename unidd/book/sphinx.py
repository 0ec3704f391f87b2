"""Sphinx and myst-nb glue: how a notebook's figures and explorers reach a page that asks no other host.

Two MIME types get a renderer (entry point group `myst_nb.mime_renderers`): plotly figures and our explorers.
A figure becomes a drawing (SVG, for a wide column and for a phone) whose numbers lie beside it: plotly, 4.8 MB, is
loaded only if a reader wants to zoom and read values. A picture becomes a picture. An explorer becomes a labelled <div>
with its JSON beside it, which `unidd-book.js` draws; where no script runs, the place says so and has a still picture.
All scripts are classic ones with relative addresses, so that a page is whole on a server, in a folder of one, and
opened from the disk.
"""

import hashlib
import html
import json
import re

from . import stills
from .equations import fill
from .widgets import EXPLORER

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
STILL = "<!-- still -->"


def figure_html(content: dict) -> str:
    """Return a figure drawn for wide and for narrow columns, with its numbers; a picture as a picture.

    Its label is `layout.meta["alt"]`.

    Raises:
        ValueError: the figure has no alt text, or is of a kind that no drawing can be made of.
    """
    layout = content.get("layout", {})
    alt = (layout.get("meta") or {}).get("alt")
    if not alt:
        raise ValueError('a figure has no alt text: set layout.meta = {"alt": "…"}')
    if "picture" in layout["meta"]:
        return _picture_html(content, alt)
    drawings = [
        inline_svg(stills.figure(content, width), alt, f"unidd-{shape}")
        for shape, width in (("wide", stills.WIDTH), ("narrow", stills.NARROW))
    ]
    button = '<button type="button" class="unidd-open">Zoom and read values</button>'
    data = _json("unidd-plotly", {"data": content["data"], "layout": layout})
    return f'<div class="unidd-plotly">{"".join(drawings)}{button}</div>{data}'


def _picture_html(content: dict, alt: str) -> str:
    """Return images in rows, their names beside them, as large as `layout.meta["picture"]` or as there is room for."""
    wide, high = content["layout"]["meta"]["picture"]
    names = content["layout"].get("yaxis", {}).get("ticktext", [])
    rows = "".join(f"<span>{html.escape(name)}</span>" for name in names) if any(names) else ""
    label = html.escape(alt, quote=True)
    image = f'<img src="{content["data"][0]["source"]}" alt="{label}" width="{wide}" height="{high}" />'
    return f'<div class="unidd-picture">{f"<div>{rows}</div>" if rows else ""}{image}</div>'


def inline_svg(drawing: bytes, alt: str, shape: str) -> str:
    """Return matplotlib's SVG as part of a page: described, in the page's colour of text, its names its own."""
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", drawing.decode(), flags=re.S)
    head, _, body = text[text.index("<svg") :].partition(">")
    key = f"s{hashlib.sha256(drawing).hexdigest()[:8]}"
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda found: f' id="{key}-{found[1]}"' if found[1] in used else "", body)
    body = re.sub(r'(url\(|href=")#', rf"\g<1>#{key}-", body).replace(stills.INK, "var(--unidd-ink)")
    box = re.search(r'viewBox="[^"]*"', head)
    label = html.escape(alt, quote=True)
    return f'<svg class="unidd-still {shape}" {box[0] if box else ""} role="img" aria-label="{label}">{body.strip()}'


def explorer_html(state: dict) -> str:
    """Return the element `unidd-book.js` turns into an explorer, from the state of a `unidd.book.widgets` widget.

    The still picture belongs in the place of `STILL`.
    """
    label = html.escape(state["label"], quote=True)
    words = html.escape(f"{state['label']}. It moves by a script, and none runs here: this is how it opens.")
    place = f'class="unidd-explorer-host" data-kind="{state["kind"]}" role="group" aria-label="{label}"'
    return f"<div {place}><noscript><p>{words}</p>{STILL}</noscript></div>{_json('unidd-explorer-host', state)}"


def _json(name: str, content: dict) -> str:
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return f'<script type="application/json" class="{name}-data">{data}</script>'


class Renderer:
    """myst-nb's plugin interface (`MimeRenderPlugin`) for figures and explorers."""

    mime_priority_overrides = (("*", EXPLORER, 1), ("*", PLOTLY, 2), ("*", WIDGET, 3))

    @staticmethod
    def handle_mime(renderer, data, inline: bool):
        from docutils import nodes

        if data.mime_type == WIDGET:  # a progress bar: nothing to see once it is done
            return [nodes.raw(text="", format="html")]
        if data.mime_type not in (PLOTLY, EXPLORER):
            return None
        try:
            return (_figure if data.mime_type == PLOTLY else _explorer)(renderer, data.content)
        except ValueError as error:
            renderer.logger.warning(str(error), subtype="figure", line=data.line)
            return [nodes.raw(text="", format="html")]


def _figure(renderer, content: dict) -> list:
    from docutils import nodes

    text = figure_html(content)
    if "<script" in text:
        _draws(renderer)
    return [nodes.raw(text=text, format="html")]


def _explorer(renderer, state: dict) -> list:
    """Return the place of an explorer around its still picture, which is a file of its own."""
    from docutils import nodes

    text, picture = explorer_html(state), stills.explorer(state)
    renderer.add_js_file("explorer.js", "explorer.js", {"loading_method": "defer"})
    _draws(renderer)
    uri = renderer.write_file([f"{hashlib.sha256(picture).hexdigest()}.svg"], picture, exists_ok=True)
    still = nodes.image(uri=uri, alt=state["label"], classes=["unidd-still"])
    before, _, after = text.partition(STILL)
    return [nodes.raw(text=before, format="html"), still, nodes.raw(text=after, format="html")]


def _draws(renderer) -> None:
    """Have the page load the script that draws; the default priority is 500, so it comes after what it calls."""
    renderer.add_js_file("unidd", "unidd-book.js", {"loading_method": "defer", "priority": 600})


def drop_widget_state(app, pagename, templatename, context, doctree) -> None:
    """Leave out the widget manager's state: a page has no manager, and explorers carry their own."""
    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if getattr(s, "attributes", {}).get("type") != WIDGET_STATE]


def search_from_the_disk(app, pagename, templatename, context, doctree) -> None:
    """Leave out the lines of text below what the search finds where a browser may not read pages: on the disk."""
    if pagename == "search":
        off = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"
        app.add_js_file(None, body=off)


def setup(app) -> dict:
    from . import assets, formulas, head, numbering  # these need docutils and Sphinx

    for part in (assets, formulas, head, numbering):
        part.setup(app)
    app.connect("source-read", fill)
    app.connect("html-page-context", drop_widget_state, priority=900)
    app.connect("html-page-context", search_from_the_disk)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
