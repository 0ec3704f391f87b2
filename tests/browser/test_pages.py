"""Every page of the built book: self-contained, light, without errors, readable by everyone, on paper too.

Each page is loaded twice: from the disk, for a wide screen and in light colours, of which what is looked at on paper is
the last; and from a folder of a server, for a phone and in the dark. How much it moves while it loads is seen in both.
The explorers' tests load it from a server's root.
"""

import contextlib
import functools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from visits import BOOK, PAPER, Visit, pages

pytestmark = pytest.mark.browser


def check_whole(visit):
    """All is drawn, nothing went wrong, and nothing came from elsewhere or twice."""
    assert visit.undrawn() == []
    assert (visit.errors, visit.failures) == ([], [])
    assert visit.elsewhere() == []
    assert visit.twice == []


def test_page_loads_clean_and_light_and_keeps_still(desktop):
    check_whole(desktop)
    everything, own = desktop.weight()
    assert 0 < own <= 1_000_000
    assert everything - own <= 2_700_000, "fetched once, for all pages"
    assert desktop.shift() < 0.05


def test_where_no_script_runs_each_explorer_says_so_and_has_a_picture(driver, site, explorer_page):
    with contextlib.closing(Visit(driver, site, explorer_page, scripts=False)) as seen:
        places = seen.driver.execute_script(_STILLS)
        assert len(places) == (BOOK / explorer_page).read_text().count('class="unidd-explorer-host"') > 0
        for place in places:
            assert "none runs here" in place["words"]
            assert len(place["alt"]) > 7
            assert place["width"] > 100, "the picture is loaded"
            assert 0 <= place["high"] - place["picture"] < 100, "as high as its words and its picture"
        assert (seen.errors, seen.elsewhere()) == ([], [])
        assert seen.weight()[1] <= 1_000_000


def test_every_figure_table_and_explorer_has_a_number_and_a_caption(desktop):
    bare, captions = desktop.driver.execute_script(_CAPTIONS)
    assert bare == []
    assert [words for number, words in captions if not number or len(words) < 10] == []


def test_formulas_are_typeset(desktop):
    driver = desktop.driver
    assert driver.find_elements(By.CSS_SELECTOR, "mjx-merror, .MathJax_Error") == []
    written = driver.execute_script("return document.querySelectorAll('.bd-article .math').length")
    typeset = driver.execute_script("return document.querySelectorAll('.bd-article mjx-container').length")
    assert typeset >= written


def test_every_picture_has_a_description(desktop):
    undescribed = desktop.driver.execute_script(
        """
        const described = (e) => (e.getAttribute("alt") || e.getAttribute("aria-label") || "").trim().length > 7;
        const part = (e) => e.closest("[aria-hidden=true], mjx-container, button");
        const pictures = ".bd-article :is(img, svg, [role=img], .unidd-explorer-host)";
        return [...document.querySelectorAll(pictures)].filter((e) => !part(e) && !described(e))
          .map((e) => e.outerHTML.slice(0, 200));
        """
    )
    assert undescribed == []


def test_page_fits_a_phone_and_keeps_still(phone):
    check_whole(phone)
    assert phone.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    assert phone.cut() == []
    assert phone.shift() < 0.05


def test_text_is_readable_in_the_dark(phone):
    """The page's own text has a contrast of 7:1, the text of figures, captions, explorers and lists 4.5:1."""
    driver = phone.driver
    assert driver.execute_script(_CONTRAST, "body") >= 7
    smaller = ".ux", ".ux .ux-slider label", ".unidd-plotly .unidd-narrow text", "figcaption .caption-text"
    for selector in (*smaller, ".cell_output dd", ".cell_output dd code"):
        contrast = driver.execute_script(_CONTRAST, selector)
        assert contrast is None or contrast >= 4.5, selector


def test_nothing_is_cut_on_paper(desktop):
    desktop.turn_to_paper()
    assert desktop.cut() == []
    assert desktop.driver.execute_script("return document.documentElement.scrollWidth") <= PAPER


def test_a_figure_opens_to_be_zoomed_and_follows_the_theme(driver, site):
    page = next(page for page in pages() if "unidd-plotly" in (BOOK / page).read_text())
    with contextlib.closing(Visit(driver, site, page)) as seen:
        assert not any("plotly" in url for url in seen.requests), "4.8 MB for those who ask for them"
        seen.driver.find_element(By.CSS_SELECTOR, ".unidd-open").send_keys(Keys.ENTER)
        focused = "return document.activeElement.querySelector('.main-svg .xtitle, .main-svg text') !== null"
        WebDriverWait(seen.driver, 20).until(lambda driver: driver.execute_script(focused), "the keyboard is there")
        assert seen.errors == []
        text = ".unidd-opened .main-svg :is(.xtick text, .ytick text, .xtitle)"
        WebDriverWait(seen.driver, 5).until(lambda driver: driver.execute_script(_CONTRAST, text) >= 4.5, "light")
        seen.driver.execute_script('document.documentElement.dataset.theme = "dark"')
        dark = "return getComputedStyle(document.body).backgroundColor"
        assert driver.execute_script(dark) != "rgb(255, 255, 255)"
        WebDriverWait(seen.driver, 5).until(lambda driver: driver.execute_script(_CONTRAST, text) >= 4.5, "dark")


def test_the_address_of_the_book_leads_to_its_first_page(visit):
    WebDriverWait(visit("").driver, 20).until(lambda driver: driver.current_url.endswith("/book/index.html"))


_STILLS = """
document.querySelectorAll("details").forEach((e) => { e.open = true; }); // what a reader may unfold
return [...document.querySelectorAll(".unidd-explorer-host")].map((place) => {
  const picture = place.querySelector("noscript img");
  return { words: place.innerText, alt: picture?.alt ?? "", width: picture?.naturalWidth ?? 0,
    high: place.getBoundingClientRect().height, picture: picture?.getBoundingClientRect().height ?? 0 };
});
"""
_CAPTIONS = """
const shown = ".unidd-plotly, .unidd-picture, .unidd-explorer-host, .cell_output :is(table.dataframe, img)";
const bare = [...document.querySelectorAll(shown)]
  .filter((e) => !e.closest("figure.unidd-numbered") && !e.parentElement.closest(".ux, noscript"));
const said = (e, part) => e.querySelector(`:scope > figcaption ${part}`)?.textContent ?? "";
const captions = [...document.querySelectorAll("figure.unidd-numbered")]
  .map((e) => [said(e, ".caption-number"), said(e, ".caption-text")]);
return [bare.map((e) => e.outerHTML.slice(0, 200)), captions];
"""
_CONTRAST = """return ((selector) => {
  const element = document.querySelector(selector);
  if (!element) return null;
  const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => rgb(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const background = (e) => {
    const colour = getComputedStyle(e).backgroundColor;
    return (rgb(colour)[3] ?? 1) > 0 || !e.parentElement ? colour : background(e.parentElement);
  };
  const style = getComputedStyle(element);
  const text = element instanceof SVGElement ? style.fill : style.color;
  const [light, dark] = [luminance(text), luminance(background(element))].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
})(arguments[0])"""


class _Links(HTMLParser):
    """Targets a page links to, and the anchors it has."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.anchors = [], {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])


@functools.cache
def read(path: Path) -> _Links:
    return _Links(path.read_text())


def test_links_within_the_book_have_a_target(site, page):
    broken = []
    for link in read(BOOK / page).links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (BOOK / page).parent / path.split("?")[0] if path else BOOK / page
        target = target / "index.html" if target.is_dir() else target
        if not target.exists() or (target.suffix == ".html" and anchor not in read(target.resolve()).anchors):
            broken.append(link)
    assert broken == []
