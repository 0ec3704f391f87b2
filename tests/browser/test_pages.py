"""Every page of the built book: self-contained, light, without errors, readable by everyone."""

import contextlib
import re
from html.parser import HTMLParser

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from visits import BOOK, Visit

pytestmark = pytest.mark.browser


def check_whole(visit):
    """All is drawn, nothing went wrong, and nothing came from elsewhere or twice."""
    assert visit.undrawn() == []
    assert (visit.errors, visit.failures) == ([], [])
    assert visit.elsewhere() == []
    assert visit.twice == []


def test_page_loads_clean_and_light(desktop):
    check_whole(desktop)
    assert desktop.weight() <= 1_000_000


def test_page_is_whole_from_the_disk_and_in_a_folder_of_a_server(driver, other_sites, page):
    for site in other_sites:
        with contextlib.closing(Visit(driver, site, page)) as seen:
            check_whole(seen)


def test_where_no_script_runs_each_place_says_so_and_has_a_picture(driver, site, page):
    with contextlib.closing(Visit(driver, site, page, scripts=False)) as seen:
        places = seen.driver.execute_script(_STILLS)
        shown = seen.driver.current_url.removeprefix(f"{site}/").split("#")[0]  # the front door leads on
        assert len(places) == len(re.findall('class="unidd-(?:plotly|explorer-host)"', (BOOK / shown).read_text()))
        for place in places:
            assert "none runs here" in place["words"]
            assert len(place["alt"]) > 7
            assert place["width"] > 100, "the picture is loaded"
            assert 0 <= place["high"] - place["picture"] < 100, "as high as its words and its picture"
        assert (seen.errors, seen.elsewhere()) == ([], [])
        assert seen.weight() <= 1_000_000


def test_plotly_is_loaded_only_where_it_is_used(desktop):
    figures = len(desktop.driver.find_elements(By.CSS_SELECTOR, ".unidd-plotly"))
    assert any("plotly" in url for url in desktop.requests) == (figures > 0)
    assert len(desktop.driver.find_elements(By.CSS_SELECTOR, ".unidd-plotly .main-svg")) >= figures


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
        const part = (e) => e.closest("[aria-hidden=true], mjx-container, button")
          || e.parentElement.closest(".unidd-plotly");
        const pictures = ".bd-article :is(img, svg, [role=img], .unidd-plotly, .unidd-explorer-host)";
        return [...document.querySelectorAll(pictures)].filter((e) => !part(e) && !described(e))
          .map((e) => e.outerHTML.slice(0, 200));
        """
    )
    assert undescribed == []


def test_page_fits_a_phone(phone):
    assert phone.errors == []
    assert phone.driver.execute_script("return document.documentElement.scrollWidth") <= 390


def test_text_is_readable_in_the_dark(phone):
    """The page's own text has a contrast of 7:1, the text of figures and explorers 4.5:1."""
    driver = phone.driver
    assert driver.execute_script(_CONTRAST, "body") >= 7
    for selector in (".ux", ".ux .ux-slider label", ".unidd-plotly .xtitle", ".unidd-plotly .xtick text"):
        contrast = driver.execute_script(_CONTRAST, selector)
        assert contrast is None or contrast >= 4.5, selector


def test_figures_follow_the_theme_switch(visit):
    driver, title = visit("notebooks/03_filters.html").driver, ".unidd-plotly .xtitle"
    assert driver.execute_script(_CONTRAST, title) >= 4.5
    driver.execute_async_script(
        """
        const [selector, done] = arguments;
        const colour = () => getComputedStyle(document.querySelector(selector)).fill;
        const before = colour();
        const look = () => (colour() === before ? requestAnimationFrame(look) : done());
        document.documentElement.dataset.theme = "dark";
        look();
        """,
        title,
    )
    assert driver.execute_script(_CONTRAST, title) >= 4.5


def test_the_address_of_the_book_leads_to_its_first_page(visit):
    WebDriverWait(visit("").driver, 20).until(lambda driver: driver.current_url.endswith("/book/index.html"))


_STILLS = """
document.querySelectorAll("details").forEach((e) => { e.open = true; }); // what a reader may unfold
return [...document.querySelectorAll(".unidd-plotly, .unidd-explorer-host")].map((place) => {
  const picture = place.querySelector("noscript img");
  return { words: place.innerText, alt: picture?.alt ?? "", width: picture?.naturalWidth ?? 0,
    high: place.getBoundingClientRect().height, picture: picture?.getBoundingClientRect().height ?? 0 };
});
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


def test_links_within_the_book_have_a_target(site, page):
    text = (BOOK / page).read_text()
    broken = []
    for link in _Links(text).links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (BOOK / page).parent / path.split("?")[0] if path else BOOK / page
        target = target / "index.html" if target.is_dir() else target
        if not target.exists() or (target.suffix == ".html" and anchor not in _Links(target.read_text()).anchors):
            broken.append(link)
    assert broken == []
