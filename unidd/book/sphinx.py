"""Sphinx and myst-nb glue: how a notebook's figures and explorers reach a page that asks no other host.

Two MIME types get a renderer (entry point group `myst_nb.mime_renderers`): plotly figures and our explorers.
Each becomes a labelled <div> with its JSON beside it; `unidd-book.js` draws them. plotly.js, MathJax and the
explorers' module are copied from the installed packages into `_static`, and a page loads only those it uses.
"""

import html
import json
import shutil
from importlib.resources import files
from pathlib import Path

from .equations import fill
from .widgets import EXPLORER, module

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
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
    """The element `unidd-book.js` turns into a plotly figure; its label is `layout.meta["alt"]`.

    Raises:
        ValueError: the figure has no alt text.
    """
    layout = content.get("layout", {})
    alt = (layout.get("meta") or {}).get("alt")
    if not alt:
        raise ValueError('a figure has no alt text: set layout.meta = {"alt": "…"}')
    figure = {"data": content["data"], "layout": layout}
    return _element("unidd-plotly", figure, f'role="img" style="height:{layout.get("height", 420)}px"', alt)


def explorer_html(state: dict) -> str:
    """The element `unidd-book.js` turns into an explorer, from the state of a `unidd.book.widgets` widget."""
    return _element("unidd-explorer-host", state, 'role="group"', state["label"])


def _element(name: str, content: dict, attributes: str, label: str) -> str:
    label = html.escape(label, quote=True)
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<div class="{name}" {attributes} aria-label="{label}"><noscript>{label}</noscript></div>'
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
        if data.mime_type == PLOTLY:
            renderer.add_js_file("plotly", "plotly.min.js", {"loading_method": "defer"})
        # The default priority is 500: after plotly, which it calls.
        renderer.add_js_file("unidd", "unidd-book.js", {"type": "module", "priority": 600})
        try:
            text = figure_html(data.content) if data.mime_type == PLOTLY else explorer_html(data.content)
        except ValueError as error:
            renderer.logger.warning(str(error), subtype="alt", line=data.line)
            text = ""
        return [nodes.raw(text=text, format="html")]


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
    (static / "explorer.js").write_text(module())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def drop_widget_state(app, pagename, templatename, context, doctree) -> None:
    """Leave out the widget manager's state: a page has no manager, and explorers carry their own."""
    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if getattr(s, "attributes", {}).get("type") != WIDGET_STATE]


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
    return {"parallel_read_safe": True, "parallel_write_safe": True}
