"""Room for formulas before they are typeset, so that the text around them does not move when they are.

Needs docutils, which the extra `book` brings.
"""

import re

from docutils import nodes

# Commands that print nothing of their own: fonts, fences that grow, what stands in braces behind them.
SILENT = {"left", "right", "frac", "tfrac", "dfrac", "text", "mathbf", "mathrm", "mathcal", "mathbb", "operatorname"}
SILENT |= {"hat", "bar", "tilde", "widehat", "overline", "boldsymbol", "big", "Big", "bigl", "bigr", "begin", "end"}
TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[_^]|[^\s{}\\]")
RELATIONS = {
    *"=<>≤≥≈→",
    "\\le",
    "\\ge",
    "\\approx",
    "\\to",
    "\\mapsto",
    "\\in",
    "\\propto",
    "\\ne",
    "\\ll",
    "\\gg",
    "\\sim",
}
OPERATORS = {*"+-−·", "\\cdot", "\\times", "\\pm", "\\odot", "\\otimes", "\\circ"}
NARROW = {*"()[].,:;|'!/"}
CAPITAL = re.compile(r"\\?[A-Z]")


def width(tex: str) -> float:
    """Return about how wide a formula in a line will be, in em of the text.

    >>> width(r"\\lambda"), width(r"\\Psi = X^\\top X / n")
    (0.5, 6.5)
    """
    total, small = 0.0, False
    for token in TOKEN.findall(tex):
        if token in "_^":
            small = True
            continue
        if token[1:] in SILENT:
            continue
        total += _width(token) * (0.7 if small else 1)
        small = False
    return max(round(2.2 * total) / 2, 0.5)


def _width(token: str) -> float:
    """Width of one sign, in em, with the space around it."""
    if token in RELATIONS:
        return 1.75
    if token in OPERATORS:
        return 1.4
    if token in NARROW:
        return 0.45
    return 0.95 if CAPITAL.match(token) else 0.63


def height(tex: str) -> float:
    """Return about how high a displayed formula will be, in em of the text, with the room around it.

    >>> height("a = b"), height(r"a = \\frac{b}{c}")
    (4.0, 5.5)
    """
    rows = tex.count("\\\\") + 1
    tall = any(command in tex for command in ("\\frac", "\\sum", "\\prod", "\\int", "\\min", "\\max"))
    return 2.5 + rows * (3.0 if tall else 1.5)


# A page's text appears when its formulas are typeset, or after two seconds; without scripts at once.
WAIT = """
const unhidden = () => document.documentElement.classList.remove("unidd-wait");
document.documentElement.classList.add("unidd-wait");
setTimeout(unhidden, 2000);
addEventListener("load", () => Promise.resolve(window.MathJax?.startup?.promise).then(unhidden, unhidden));
"""


def wait(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Have a page with formulas show its text once they are there: estimates of their room are off by a line here
    and there.
    """
    if app.env.get_domain("math").has_equations(pagename):
        app.add_js_file(None, body=WAIT, priority=100)


def keep_room(app, doctree: nodes.document, docname: str) -> None:
    """Give each formula a class that says how much room it needs; the style sheet of the book has a rule for each."""
    for formula in doctree.findall(nodes.math):
        formula["classes"].append(f"unidd-em{round(2 * min(width(formula.astext()), 40))}")
    for formula in doctree.findall(nodes.math_block):
        formula["classes"].append(f"unidd-high{round(2 * min(height(formula.astext()), 20))}")


def rules() -> str:
    """Return the style sheet of those classes, for where a script will typeset."""
    wide = "".join(f".unidd-em{n}{{width:{n / 2}em}}" for n in range(1, 81))
    high = "".join(f".unidd-high{n}{{height:{n / 2}em}}" for n in range(1, 41))
    waiting = ":not(:has(mjx-container))"
    own = f"span.math{waiting}{{display:inline-block;height:1em;max-width:100%;overflow:hidden;white-space:nowrap;"
    own += f"vertical-align:bottom;visibility:hidden}}div.math{waiting}{{overflow:hidden;visibility:hidden}}"
    apply = re.sub(r"(\.unidd-(?:em|high)\d+)", rf"\1{waiting}", wide + high)
    return f"@media (scripting: enabled) {{{own}{apply}}}\n"


def setup(app) -> None:
    """Keep room on every page."""
    app.connect("doctree-resolved", keep_room)
    app.connect("html-page-context", wait)
