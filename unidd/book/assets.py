"""Files that a built book needs beside its pages: scripts from installed packages, icons, the front door.

All come from packages on this machine, so that a page asks no other host, and each is no larger than its use.
"""

import re
import shutil
from importlib.resources import files
from pathlib import Path

from . import formulas
from .widgets import page_script

# MathJax: one component with its fonts, the TeX extensions it loads on demand, and its English speech rules.
MATHJAX = (
    "tex-chtml.js",
    "output/chtml/fonts/woff-v2/*",
    "input/tex/extensions/*.js",
    "a11y/*.js",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
)
# An icon in the theme's script: name, width, height, other names, its code, its path or paths.
ICON = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,(\[[^\]]*\]),"[^"]*",(?:"[^"]*"|\[[^\]]*\])\],?')


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
    (static / "unidd-formulas.css").write_text(formulas.rules())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def only_icons(script: str, wanted: set[str]) -> str:
    """Return the theme's script of icons with those alone that are wanted, by any of their names.

    >>> only_icons('{bars:[4,5,["menu"],"f0c9","M0 8z"],"sun-o":[5,5,[],"f185","M3 6z"]}', {"menu"})
    '{bars:[4,5,["menu"],"f0c9","M0 8z"],}'
    """

    def kept(icon: re.Match) -> str:
        return icon[0] if wanted & {icon[1], *re.findall(r'"([\w-]+)"', icon[2])} else ""

    return ICON.sub(kept, script)


def drop_unused_icons(app, exception) -> None:
    """Cut the theme's script of 2,000 icons (1.5 MB) to those that pages and scripts name."""
    script = Path(app.outdir, "_static", "scripts", "fontawesome.js")
    if exception is not None or not script.exists():
        return
    theme = [path for path in script.parent.glob("*.js") if path != script]
    text = "".join(path.read_text() for path in [*Path(app.outdir).rglob("*.html"), *theme])
    script.write_text(only_icons(script.read_text(), set(re.findall(r"\bfa-([a-z0-9-]+)", text))))


def write_front_door(app, exception) -> None:
    """Write index.html, which leads on to the first page; unlike the toc's own it names an icon, so none is missed."""
    if exception is not None or app.builder.format != "html" or app.config.root_doc == "index":
        return
    first, title = app.builder.get_relative_uri("index", app.config.root_doc), app.config.html_title
    icon = f'<link rel="icon" href="_static/{Path(app.config.html_favicon).name}">'
    head = f'<meta charset="utf-8"><title>{title}</title>{icon}<meta http-equiv="refresh" content="0; url={first}">'
    page = f'<!DOCTYPE html><html lang="en">{head}<a href="{first}">{title}</a></html>\n'
    Path(app.outdir, "index.html").write_text(page)


# The theme knows light from dark only when its own script has run; till then colours are missing, and so are borders.
EARLY = """
if (!["light", "dark"].includes(document.documentElement.dataset.theme)) {
  document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
"""


def setup(app) -> None:
    """Have the files written with the book."""
    app.add_css_file("unidd-formulas.css")
    app.add_js_file(None, body=EARLY, priority=90)
    app.connect("builder-inited", copy_assets)
    app.connect("build-finished", drop_unused_icons, priority=900)
    app.connect("build-finished", write_front_door, priority=900)
