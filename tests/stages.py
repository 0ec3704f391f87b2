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


def pace(driver) -> float:
    """Milliseconds that a page's thread works on a task that is always the same, script, style and layout; in a tab."""
    page = driver.current_window_handle
    driver.switch_to.new_window("tab")
    try:
        driver.get("data:text/html,<div></div>")
        began = worked(driver)
        driver.execute_async_script(_TASK, _TURNS)
        return 1000 * (worked(driver) - began) / _TURNS
    finally:
        driver.close()
        driver.switch_to.window(page)


_TURNS = 20
# In each a sum of 10⁶ numbers and a paragraph of 600 words of different sizes, until its frame is made.
_TASK = """
const [turns, done] = arguments;
const frame = () => new Promise((shown) => requestAnimationFrame(() => setTimeout(shown)));
const run = async () => {
  let sum = 0;
  for (let turn = 0; turn < turns; turn++) {
    for (let i = 0; i < 1e6; i++) sum += Math.sqrt(i + turn);
    const words = Array.from({ length: 600 }, (_, i) => `<span style="font-size:${8 + (i + turn) % 9}px">${i}</span> `);
    document.querySelector("div").innerHTML = words.join("");
    await frame();
  }
  done(sum);
};
run();
"""
