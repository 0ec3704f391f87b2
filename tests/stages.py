"""A page with some explorers, as the book would show them."""

import json
import shutil
from pathlib import Path

from visits import ROOT

from unidd.book import sphinx, widgets

HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<link rel="icon" href="data:,"><title>Explorers</title>'
)
COLUMN = 676  # pixels of the book's column of text in a window of 1,280


def put(folder: Path, *explorers) -> Path:
    """Write index.html and its `_static` into a folder, and give the folder."""
    static = folder / "_static"
    static.mkdir(parents=True)
    (static / "explorer.js").write_text(widgets.page_script())
    shutil.copy(ROOT / "book" / "_static" / "unidd-book.js", static)
    states = [json.loads(json.dumps(explorer.state())) for explorer in explorers]
    body = f'<main style="max-width:{COLUMN}px">{"".join(map(sphinx.explorer_html, states))}</main>'
    scripts = "".join(f'<script defer src="_static/{name}.js"></script>' for name in ("explorer", "unidd-book"))
    (folder / "index.html").write_text(f"{HEAD}<body>{body}{scripts}</body></html>")
    return folder


def worked(driver) -> float:
    """Seconds that the page's thread has worked, however busy the machine is; between two calls, what that took."""
    driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    metrics = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def begin_anew(driver) -> list:
    """Press Reset in every explorer of a page; the explorers."""
    return driver.execute_script(
        """const explorers = [...document.querySelectorAll(".ux")];
        for (const explorer of explorers) [...explorer.querySelectorAll(".ux-tools button")][0].click();
        return explorers;"""
    )
