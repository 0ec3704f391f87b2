"""Sphinx and myst-nb glue: how a notebook's figures and explorers reach a page that asks no other host.

Two MIME types get a renderer (entry point group `myst_nb.mime_renderers`): plotly figures and our explorers.
Each becomes a labelled <div> with its JSON beside it; `unidd-book.js` draws them. Where no script runs, the place says
so and has a still picture. plotly.js, MathJax and the explorers' script are copied from the installed packages into
`_static`, and a page loads only those it uses. All are classic scripts with relative addresses, so that a page is whole
on a server, in a folder of one, and opened from the disk.
"""

import hashlib
import html
import json
import shutil
from importlib.resources import files
from pathlib import Path

from . import stills
from .equations import fill
from .widgets import EXPLORER, page_script

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
STILL = "<!-- still -->"
# MathJax: one component with its fonts, the TeX extensions it loads on demand, and its English speech rules.
MATHJAX = (
    "tex-chtml.js",
    "output/chtml/fonts/woff-v2/*",
    "input/tex/extensions/*.js",
    "a11y/*.js",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
)


def figure_html(content: dict) -> str:
    """Return the element `unidd-book.js` turns into a plotly figure; its label is `layout.meta["alt"]`.

    The still picture belongs in the place of `STILL`.

    Raises:
        ValueError: the figure has no alt text.
    """
    layout = content.get("layout", {})
    alt = (layout.get("meta") or {}).get("alt")
    if not alt:
        raise ValueError('a figure has no alt text: set layout.meta = {"alt": "…"}')
    figure = {"data": content["data"], "layout": layout}
    attributes = f'role="img" style="height:{layout.get("height", 420)}px"'
    return _element("unidd-plotly", figure, attributes, alt, "A script draws this figure, and none runs here.")


def explorer_html(state: dict) -> str:
    """Return the element `unidd-book.js` turns into an explorer, from the state of a `unidd.book.widgets` widget.

    The still picture belongs in the place of `STILL`.
    """
    words = f"{state['label']}. It moves by a script, and none runs here: this is how it opens."
    return _element("unidd-explorer-host", state, 'role="group"', state["label"], words)


def _element(name: str, content: dict, attributes: str, label: str, words: str) -> str:
    label, words = html.escape(label, quote=True), html.escape(words)
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<div class="{name}" {attributes} aria-label="{label}"><noscript><p>{words}</p>{STILL}</noscript></div>'
        f'<script type="application/json" class="{name}-data">{data}</script>'
    )


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
        figure = data.mime_type == PLOTLY
        script = "plotly.min.js" if figure else "explorer.js"
        renderer.add_js_file(script, script, {"loading_method": "defer"})
        # The default priority is 500: after what it calls.
        renderer.add_js_file("unidd", "unidd-book.js", {"loading_method": "defer", "priority": 600})
        try:
            text = figure_html(data.content) if figure else explorer_html(data.content)
            picture = stills.figure(data.content) if figure else stills.explorer(data.content)
        except ValueError as error:
            renderer.logger.warning(str(error), subtype="figure", line=data.line)
            return [nodes.raw(text="", format="html")]
        alt = data.content["layout"]["meta"]["alt"] if figure else data.content["label"]
        name = f"{hashlib.sha256(picture).hexdigest()}.svg"
        still = nodes.image(uri=renderer.write_file([name], picture, exists_ok=True), alt=alt, classes=["unidd-still"])
        before, _, after = text.partition(STILL)
        return [nodes.raw(text=before, format="html"), still, nodes.raw(text=after, format="html")]


def copy_assets(app) -> None:
    """Copy the browser files of plotly, MathJax and the explorers to the built book's `_static`."""
    if app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    mathjax = Path(str(files("sphinx-mathjax-offline") / "static" / "mathjax"))
    for pattern in MATHJAX:
        for path in mathjax.glob(pattern):
            _copy(path, static / "mathjax" / path.relative_to(mathjax))
    _copy(Path(str(files("plotly") / "package_data" / "plotly.min.js")), static / "plotly.min.js")
    (static / "explorer.js").write_text(page_script())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def drop_widget_state(app, pagename, templatename, context, doctree) -> None:
    """Leave out the widget manager's state: a page has no manager, and explorers carry their own."""
    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if getattr(s, "attributes", {}).get("type") != WIDGET_STATE]


def search_from_the_disk(app, pagename, templatename, context, doctree) -> None:
    """Leave out the lines of text below what the search finds where a browser may not read pages: on the disk."""
    if pagename == "search":
        off = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"
        app.add_js_file(None, body=off)


def write_front_door(app, exception) -> None:
    """index.html, which leads on to the first page; unlike the toc's own it names an icon, so none is missed."""
    if exception is not None or app.builder.format != "html" or app.config.root_doc == "index":
        return
    first, title = app.builder.get_relative_uri("index", app.config.root_doc), app.config.html_title
    icon = f'<link rel="icon" href="_static/{Path(app.config.html_favicon).name}">'
    head = f'<meta charset="utf-8"><title>{title}</title>{icon}<meta http-equiv="refresh" content="0; url={first}">'
    page = f'<!DOCTYPE html><html lang="en">{head}<a href="{first}">{title}</a></html>\n'
    Path(app.outdir, "index.html").write_text(page)


def setup(app) -> dict:
    app.connect("builder-inited", copy_assets)
    app.connect("build-finished", write_front_door, priority=900)
    app.connect("source-read", fill)
    app.connect("html-page-context", drop_widget_state, priority=900)
    app.connect("html-page-context", search_from_the_disk)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
