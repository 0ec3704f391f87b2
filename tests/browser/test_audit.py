"""The page of an audit as a browser shows it: from the disk, in light and dark, on a wide screen and on a phone."""

import contextlib

import audits
import pytest
import toys
from visits import Visit

from unidd.bench.audit import audit
from unidd.book.report import page

pytestmark = pytest.mark.browser
_FAINT = """
const linear = (v) => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => { const [r, g, b] = numbers(colour).map(linear);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { const own = getComputedStyle(e).backgroundColor, seen = numbers(own)[3] !== 0;
  return seen || !e.parentElement ? own : behind(e.parentElement); };
return [...document.querySelectorAll("h1, h2, p, li, caption, th, td, figcaption, dt, dd")].filter((e) => {
  const pair = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => a - b);
  return (pair[1] + 0.05) / (pair[0] + 0.05) < 4.5; }).map((e) => e.textContent.slice(0, 60));
"""
_WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
_STUCK = """return [...document.querySelectorAll(".wide")].filter((e) => e.scrollWidth > e.clientWidth
  && !(getComputedStyle(e).overflowX === "auto" && e.tabIndex === 0)).length"""


_CUT = """return [...document.querySelectorAll("caption span")]
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth).map((e) => e.textContent)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An audit with every part, among them accuracies."""
    made, synthetic = tmp_path_factory.mktemp("audit"), audits.drawn(3)
    found = audit(synthetic, audits.data(), toys.teacher()) | {"accuracy": audits.accuracies()}
    (made / "audit.html").write_text(page(found, synthetic, audits.data(), "my set"))
    return made


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_an_audit_is_read_on_any_screen(driver, folder, width, dark):
    with contextlib.closing(Visit(driver, folder.as_uri(), "audit.html", width=width, dark=dark)) as seen:
        assert (seen.errors, seen.elsewhere()) == ([], [])
        look = seen.driver.execute_script
        assert look(_WIDER) == 0, "the page itself never scrolls sideways"
        assert look(_STUCK) == 0, "a table that is wider scrolls, also by keys"
        assert look(_CUT) == [], "what a table holds is read without a finger"
        assert look(_FAINT) == []
        assert "Test accuracy of students" in look("return document.body.innerText")
