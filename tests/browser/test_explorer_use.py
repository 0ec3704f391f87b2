"""Explorers as they are used: one screen, a thumb, a link that is passed on, and a reader's own photograph."""

import base64
import contextlib
import dataclasses
import json
from functools import partial

import pytest
import torch
from PIL import Image
from records import suite
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from stages import begin_anew, put
from studies import record, sheets
from visits import ROOT, Visit, served

from unidd.book.pictures import packed, photograph, unpacked, weighed
from unidd.book.widgets import (
    BandExplorer,
    CurriculumPlayer,
    DigitsExplorer,
    FilterExplorer,
    ImageExplorer,
    MatchingExplorer,
    ResultsTable,
)

pytestmark = pytest.mark.browser
RECORD = json.loads((ROOT / "results" / "studies" / "curriculum" / "photos.json").read_text())
ROUNDS = len(RECORD["runs"]["cosine"]["beta"])
IMAGES = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(1))
PICTURE = photograph()
METHODS = ("random", "cfm", "lfm", "hfm", "classification", "dm", "dc", "dsa", "mtt", "frepo", "sre2l")
STUDY = record(METHODS, seeds=2)
SHEETS = sheets(METHODS, tile=32, columns=5)
SHOT = torch.rand(128, 128, 3, generator=torch.Generator().manual_seed(2)).cumsum(0).cumsum(1)
SCREEN, HEADER = {"desktop": (1280, 720), "phone": (390, 844)}, 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    return put(
        tmp_path_factory.mktemp("use"),
        FilterExplorer({"a layer": torch.logspace(-4, 0.5, 48)}, picture=PICTURE),
        BandExplorer(PICTURE, flc=torch.rand(64, 3)),
        BandExplorer(PICTURE, first=3, last=9),
        ImageExplorer({"ridge, β = 0.1": IMAGES, "linear": IMAGES / 2}, IMAGES, IMAGES),
        CurriculumPlayer(RECORD, IMAGES[:10].repeat(ROUNDS, 1, 1, 1), IMAGES[10:].repeat(ROUNDS, 1, 1, 1)),
        DigitsExplorer(digits),
        MatchingExplorer(STUDY, SHEETS, methods=METHODS[1:4]),
        ResultsTable(suite()),
    )


@pytest.fixture(scope="module")
def site(folder):
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def seen(driver, site):
    with contextlib.closing(Visit(driver, site, "index.html")) as visit:
        yield visit


@pytest.fixture
def explorers(seen):
    yield begin_anew(seen.driver)
    assert seen.errors == []


def control(explorer, label):
    return explorer.find_element(By.XPATH, f".//label[starts-with(., '{label}')]/following-sibling::*[1]")


def on_screen(driver, screen):
    """Turn to a screen of that size; a phone is touched."""
    width, height = SCREEN[screen]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": screen == "phone"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": screen == "phone"})
    frames = "requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(arguments[0])))"
    driver.execute_async_script(frames)


# ---- a screen, and a thumb


def test_an_explorer_fits_one_screen_of_a_desktop(explorers, seen):
    on_screen(seen.driver, "desktop")
    for explorer in explorers:
        assert explorer.rect["height"] <= SCREEN["desktop"][1] - HEADER


# Pixels from the first to the last of a control, and of the charts and pictures that it changes.
_REACH = """
const shown = (explorer, all) => [...explorer.querySelectorAll(all)].filter((e) => e.checkVisibility());
return [...document.querySelectorAll(".ux")].flatMap((explorer) => {
  const seen = shown(explorer, ".ux-chart, .ux-picture > canvas, .ux-ten, .ux-strip, .ux-stack, .ux-picture > img")
    .map((e) => e.getBoundingClientRect());
  return shown(explorer, "input[type=range], .ux-play button:first-child").map((control) => {
    const all = [control.getBoundingClientRect(), ...seen];
    return Math.max(...all.map((r) => r.bottom)) - Math.min(...all.map((r) => r.top));
  });
});
"""


def test_on_a_phone_a_slider_and_all_that_it_changes_are_seen_together(explorers, seen):
    on_screen(seen.driver, "phone")
    reaches = seen.driver.execute_script(_REACH)
    cut = seen.driver.execute_script(_CUT)
    on_screen(seen.driver, "desktop")
    assert cut == []
    assert len(reaches) > 8
    assert max(reaches) <= SCREEN["phone"][1] - HEADER


_CUT = """
return [...document.querySelectorAll(".ux")].flatMap((explorer) => [...explorer.querySelectorAll("*")]
  .filter((e) => e.checkVisibility() && !(e instanceof SVGElement) && !e.closest(".ux-strip, .ux-hidden")
    && !e.parentElement.closest(".ux-scroll")
    && e.getBoundingClientRect().right > explorer.getBoundingClientRect().right)
  .map((e) => e.outerHTML.slice(0, 80)));
"""


_TARGETS = """
const targets = ".ux :is(button, select, .ux-chip, .ux-toggle, .ux-file, input[type=range])";
return [...document.querySelectorAll(targets)].filter((e) => e.checkVisibility())
  .map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect().width, e.getBoundingClientRect().height]);
"""


def test_what_is_touched_is_44_pixels_wide_and_high(explorers, seen):
    on_screen(seen.driver, "phone")
    targets = seen.driver.execute_script(_TARGETS)
    on_screen(seen.driver, "desktop")
    assert len(targets) > 30
    assert [target for target in targets if min(target[1:]) < 44] == []


# ---- links


def address(seen, wanted):
    """The page's address, once what was changed is in it."""
    driver = seen.driver
    WebDriverWait(driver, 5, 0.05).until(lambda _: wanted in driver.current_url, f"no {wanted} in the address")
    return driver.current_url


def test_the_address_says_what_each_explorer_shows_and_reset_takes_it_away(explorers, seen):
    filters, _, band = explorers[:3]
    control(filters, "Ridge").send_keys(Keys.ARROW_RIGHT)
    Select(control(band, "Band")).select_by_value("drop")
    shown = address(seen, "band-2.mode=drop")
    assert "filters-1.beta=" in shown
    assert "band-1" not in shown
    begin_anew(seen.driver)
    WebDriverWait(seen.driver, 5, 0.05).until(lambda driver: "#" not in driver.current_url)
    assert Select(control(band, "Band")).first_selected_option.get_attribute("value") == "keep"


def test_an_address_filters_sorts_and_opens_the_table(driver, site):
    key = "photos/photos/convnet/cfm/10/hard"
    said = f"results-1.ipc=10&results-1.sort=mean&results-1.down=true&results-1.role=best&results-1.row={key}"
    with contextlib.closing(Visit(driver, site, f"index.html#{said}")) as seen:
        table = seen.driver.find_elements(By.CSS_SELECTOR, ".ux")[7]
        assert table.find_element(By.CSS_SELECTOR, ".ux-note").text.startswith(
            "10 of 22 rows, by accuracy, largest first"
        )
        assert Select(control(table, "What")).first_selected_option.text == "all", "what it cannot mean is left"
        (card,) = (row for row in table.find_elements(By.CSS_SELECTOR, ".ux-carded") if row.is_displayed())
        assert "69.5, 67.5, 69.0, 70.5, 68.0 %" in card.text
        assert seen.errors == []


def test_a_long_table_begins_with_its_first_rows_and_shows_all_when_asked(driver, tmp_path):
    """Also a row further down which an address opens: a table of all rows would answer later than in a frame."""
    long = [dataclasses.replace(one, dataset=name) for name in ("a", "b", "c", "d") for one in suite()]
    table = ResultsTable(long)
    with served(put(tmp_path, table)) as site, contextlib.closing(Visit(driver, site, "index.html")) as seen:
        explorer = driver.find_element(By.CSS_SELECTOR, ".ux")
        rows = partial(explorer.find_elements, By.CSS_SELECTOR, ".ux-result")
        more = explorer.find_element(By.CSS_SELECTOR, ".ux-more")
        assert (len(rows()), more.text) == (50, "Show all 88 rows")
        more.send_keys(Keys.ENTER)
        assert (len(rows()), more.is_displayed()) == (88, False)
        assert driver.switch_to.active_element == rows()[50].find_element(By.CSS_SELECTOR, "button")
        begin_anew(driver)
        assert (len(rows()), more.is_displayed()) == (50, True)
        driver.execute_script("location.hash = arguments[0]", f"results-1.row={table.rows[79]['key']}")
        WebDriverWait(driver, 5, 0.05).until(lambda _: len(rows()) == 80, "the row of the address is not there")
        assert seen.errors == []


@pytest.mark.parametrize("place", ["a server", "the disk"])
def test_a_copied_link_shows_another_reader_the_same(driver, site, folder, place):
    site = site if place == "a server" else folder.as_uri()
    with contextlib.closing(Visit(driver, site, "index.html")) as sender:
        images, player = sender.driver.find_elements(By.CSS_SELECTOR, ".ux")[3:5]
        Select(control(images, "Compare")).select_by_value("ridge, β = 0.1")
        control(player, "Round").send_keys(Keys.END)
        keep = "navigator.clipboard.writeText = async (text) => { window.copied = text; };"
        sender.driver.execute_script(
            f"{keep} arguments[0].click()", images.find_elements(By.CSS_SELECTOR, "button")[-1]
        )
        link = sender.driver.execute_script("return window.copied")
        assert "curriculum-1" not in link, "a link is of one explorer"
        assert "curriculum-1.round=9" in address(sender, "curriculum-1"), "the address is of all"
    with contextlib.closing(Visit(driver, site, link.removeprefix(f"{site}/"))) as reader:
        images = reader.driver.find_elements(By.CSS_SELECTOR, ".ux")[3]
        assert Select(control(images, "Compare")).first_selected_option.text == "ridge, β = 0.1"
        assert -5 <= reader.driver.execute_script("return arguments[0].getBoundingClientRect().top", images) <= 60
        assert reader.errors == []


def test_what_an_address_cannot_mean_is_left_as_it_is(driver, site):
    wrong = "band-1.first=99&band-1.last=x&band-1.mode=burn&filters-1.layer=none&filters-1.filters=ridge~no"
    with contextlib.closing(Visit(driver, site, f"index.html#{wrong}&band-1.stretch=true&digits-1.start=1~2")) as seen:
        filters, band = seen.driver.find_elements(By.CSS_SELECTOR, ".ux")[:2]
        assert [control(band, name).get_property("value") for name in ("First", "Last", "Band")] == ["1", "8", "keep"]
        assert band.find_element(By.CSS_SELECTOR, ".ux-toggle input").is_selected(), "what it can mean is shown"
        assert len(filters.find_elements(By.CSS_SELECTOR, ".ux-chips input:checked")) == 3
        assert seen.errors == []


def test_an_address_chooses_methods_a_network_and_a_band(driver, site):
    wrong = f"matching-1.at=0.3&matching-1.methods={'~'.join(METHODS[1:8])}"
    for said, chosen in (("matching-1.methods=cfm~mtt", ["cfm", "mtt"]), (wrong, list(METHODS[1:4]))):
        known = "&matching-1.epoch=0&matching-1.band=2&matching-1.term=class"
        with contextlib.closing(Visit(driver, site, f"index.html#{said}{known}")) as seen:
            matching = seen.driver.find_elements(By.CSS_SELECTOR, ".ux")[6]
            found = matching.find_elements(By.CSS_SELECTOR, ".ux-chips input:checked")
            assert [box.get_property("value") for box in found] == chosen
            values = [control(matching, name).get_property("value") for name in ("Network", "Statistic", "Descent")]
            assert values == ["0", "class", "1"]
            caption = matching.find_element(By.TAG_NAME, "caption").text
            assert caption.startswith("Band 3 of 3 of second, λ about ")
            assert seen.errors == []


# ---- a reader's own photograph


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    """A coloured picture of the size the explorers work in, so that nothing is resized."""
    path = tmp_path_factory.mktemp("shot") / "mine.png"
    Image.fromarray((SHOT / SHOT.max() * 255).byte().numpy()).save(path)
    return path


def said(explorer, wanted):
    """What the explorer says of a file, once it says that."""
    status = explorer.find_element(By.CSS_SELECTOR, "[role=status]")
    WebDriverWait(explorer.parent, 10, 0.05).until(lambda _: wanted in status.text, f"no “{wanted}”")
    return status.text


def grey(driver, explorer, n):
    """The nth canvas, 0 … 255, (128, 128)."""
    script = """const canvas = arguments[0].querySelectorAll(".ux-picture:not([hidden]) canvas")[arguments[1]];
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return Array.from(data).filter((_, i) => i % 4 === 0);"""
    return torch.tensor(driver.execute_script(script, explorer, n)).double().view(128, 128)


def test_a_photograph_of_ones_own_is_worked_out_as_the_package_would(explorers, seen, shot):
    """Its eigenvalues, and a band of it, to 1e-4; its grey to one step of a byte."""
    driver, band = seen.driver, explorers[1]
    asked = len(seen.requests)
    band.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(shot))
    assert said(band, "mine.png").endswith("It stays in your browser.")
    assert len(seen.requests) == asked, "nothing was sent"
    pixels = grey(driver, band, 0)
    mixed = (SHOT / SHOT.max() * 255).byte().double() @ torch.tensor([0.2125, 0.7154, 0.0721]).double()
    assert (pixels - mixed).abs().max() <= 1
    found = driver.execute_script(_OWN, pixels.flatten().tolist())
    state, eigenvalues, basis = packed(pixels / 255, None)
    torch.testing.assert_close(torch.tensor(found["eigenvalues"]), torch.tensor(eigenvalues), rtol=1e-4, atol=1e-7)
    inside = torch.zeros(64).double()
    inside[:8] = 1
    expected = pixels.mean() / 255 + pixels.std(correction=0) / 255 * weighed(unpacked(state)[0], basis, inside)
    torch.testing.assert_close(torch.tensor(found["band"]).double().view(128, 128), expected, rtol=0, atol=1e-4)
    assert (grey(driver, band, 1) - 255 * expected.clamp(0, 1)).abs().max() <= 1
    assert "class signal" not in band.find_element(By.CSS_SELECTOR, "tbody").text, "no classes, no signal"


_OWN = """
const { picture, eigenvalues } = unidd.pictureState(Uint8Array.from(arguments[0]), 128, 8);
const band = unidd.bandPicture(unidd.decompose(picture), unidd.bandWeights(64, 1, 8, "keep"), false);
return { eigenvalues, band: Array.from(band) };
"""


def test_a_photograph_can_be_dropped_and_reset_brings_back_the_first(explorers, seen, shot):
    driver, filters = seen.driver, explorers[0]
    before = grey(driver, filters, 0)
    Select(control(filters, "Layer")).select_by_value("a layer")
    drop = """const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
        data.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
        arguments[0].dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));"""
    driver.execute_script(drop, filters, base64.b64encode(shot.read_bytes()).decode())
    assert said(filters, "dropped.png")
    assert control(filters, "Layer").get_property("value").startswith("pixels"), "its own pixels are shown"
    assert not torch.equal(grey(driver, filters, 0), before)
    assert not torch.equal(grey(driver, filters, 2), grey(driver, filters, 0))
    begin_anew(driver)
    assert torch.equal(grey(driver, filters, 0), before)
    assert said(filters, "drop one here")


@pytest.mark.parametrize(("name", "words"), [("text.png", "can read no picture"), ("flat.png", "no contrast")])
def test_a_file_without_a_picture_is_told_and_changes_nothing(explorers, seen, tmp_path, name, words):
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (20, 30), 7).save(tmp_path / "flat.png")
    before = grey(seen.driver, explorers[1], 0)
    explorers[1].find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(tmp_path / name))
    assert said(explorers[1], words).startswith(name)
    assert torch.equal(grey(seen.driver, explorers[1], 0), before)
