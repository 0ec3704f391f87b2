"""The ten digits that are distilled in the page: PyTorch's numbers, quickly, and what is said of them is so."""

import contextlib
import re

import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from stages import begin_anew, put, worked
from visits import Visit, served

from unidd.book import linear, widgets

pytestmark = pytest.mark.browser
LABELS = torch.arange(10)


@pytest.fixture(scope="module")
def oracles(digits):
    return {kind: linear.Digits(digits, kind) for kind in linear.FEATURES}


@pytest.fixture(scope="module")
def seen(driver, tmp_path_factory, digits):
    """A page with the explorer alone, loaded once."""
    folder = put(tmp_path_factory.mktemp("digits"), widgets.DigitsExplorer(digits))
    with served(folder) as address, contextlib.closing(Visit(driver, address, "index.html")) as seen:
        yield seen


@pytest.fixture
def toy(seen):
    """The page where Reset leads."""
    begin_anew(seen.driver)
    motion(seen.driver, "no-preference")
    yield seen.driver
    assert seen.errors == []


def motion(toy, wanted):
    features = [{"name": "prefers-reduced-motion", "value": wanted}]
    toy.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def find(toy, selector):
    return toy.find_element(By.CSS_SELECTOR, selector)


def jump(toy):
    """Go to the end without motion, and so at once."""
    motion(toy, "reduce")
    for _ in range(10):
        find(toy, ".ux-play button").click()
    assert find(toy, ".ux-count").text == "step 300 of 300"


def play(toy):
    """Play to the end; seconds that the page's thread worked."""
    began = worked(toy)
    find(toy, ".ux-play button").click()
    WebDriverWait(toy, 120, 0.1).until(lambda _: find(toy, ".ux-count").text == "step 300 of 300")
    return worked(toy) - began


def accuracies(toy):
    """Both learners' accuracies in whole %, as the table has them: with real digits, distilled ones, and all images."""
    rows = toy.find_elements(By.CSS_SELECTOR, ".ux-readout tbody tr")[:2]
    return [[int(cell) for cell in re.findall(r"(\d+) %", row.text)] for row in rows]


@pytest.mark.parametrize("kind", linear.FEATURES)
@pytest.mark.parametrize("name", linear.FILTERS)
def test_twenty_steps_are_those_of_the_package(toy, oracles, kind, name):
    """Images to 1e-9, the loss and both accuracies at the start and after 20 steps."""
    found = toy.execute_script(
        """const [kind, filter] = arguments;
        const state = JSON.parse(document.querySelector(".unidd-explorer-host-data").textContent);
        const data = unidd.unpackDigits(state.data);
        const real = (window.realSides ??= {})[kind]
          ??= { ...unidd.realSide(data, kind), largest: state.spectra[kind].eigenvalues[0] };
        const run = unidd.beginRun(real, { filter, beta: 0.1, steps: 16 }, state.start);
        for (let i = 0; i < 20; i++) unidd.adamStep(run);
        return { x: Array.from(run.x), loss: run.loss, other: unidd.nearestAccuracy(data, run.x, run.labels),
          own: unidd.ridgeAccuracy(real, 0.1 * real.average, run.x, run.Y) };""",
        kind,
        name,
    )
    oracle = oracles[kind]
    *_, (x, loss) = oracle.distill(oracle.filter(name, 0.1, 16), oracle.first(), 20, krr=name == "krr")
    torch.testing.assert_close(torch.tensor(found["x"]).double().view(10, 64), x, rtol=0, atol=1e-6)
    assert found["loss"] == pytest.approx(loss, rel=1e-6)
    assert 100 * found["own"] == pytest.approx(oracle.ridge_accuracy(x, LABELS, 0.1))
    assert 100 * found["other"] == pytest.approx(oracle.nearest_accuracy(x, LABELS))


@pytest.mark.quiet
def test_ten_images_serve_as_well_as_all_and_quickly(toy, digits, oracles):
    """As it opens: pixels, ridge. At least 92 %, 20 steps a second, and what the table says is what is computed."""
    seconds = play(toy)
    own, other = accuracies(toy)
    oracle = oracles["pixels"]
    *_, (x, _) = oracle.distill(oracle.filter("ridge", 0.1), oracle.first())
    assert own[1] >= 92
    assert own[1] == round(oracle.ridge_accuracy(x, LABELS, 0.1))
    assert other[1] == round(oracle.nearest_accuracy(x, LABELS))
    assert own[2] == round(oracle.ridge_accuracy(oracle.train, digits.train.labels, 0.1))
    assert 300 / seconds >= 30, "with a wait of 16.7 ms for each frame, 20 steps a second"


def test_the_filter_decides_for_whom_the_images_are_good(toy):
    """All-pass serves both learners alike; ridge with a large β its own alone, on rich features both; KRR its own."""
    gap, own_best = {}, {}
    for kind, name in (("pixels", "allpass"), ("pixels", "ridge"), ("relu", "ridge"), ("relu", "krr")):
        set_to(toy, features=kind, filter=name, beta=1)
        jump(toy)
        own, other = accuracies(toy)
        gap[kind, name], own_best[kind, name] = own[1] - other[1], own[1]
    assert abs(gap["pixels", "allpass"]) <= 3
    assert gap["pixels", "ridge"] >= 30
    assert abs(gap["relu", "ridge"]) <= 4
    assert max(own_best, key=lambda which: own_best[which]) == ("relu", "krr")
    kept = toy.find_elements(By.CSS_SELECTOR, ".ux-readout")[1]
    assert len(kept.find_elements(By.CSS_SELECTOR, "tbody tr")) == 4, "all stay to be compared"


def set_to(toy, **values):
    """Set traits as a link does that is followed on the page."""
    link = "&".join(f"digits-1.{name}={value}" for name, value in values.items())
    done = "const done = arguments[1]; onhashchange = () => setTimeout(done); location.hash = arguments[0];"
    toy.execute_async_script(done, link)


@pytest.mark.parametrize(("guess", "words"), [("less", "as you expected"), ("as much", "you expected: about as much")])
def test_what_was_expected_is_asked_before_and_stands_beside_what_came(toy, guess, words):
    toy.execute_script("arguments[0].click()", find(toy, f"input[value='{guess}']"))
    assert "You guess:" in find(toy, ".ux-note").text
    jump(toy)
    assert find(toy, ".ux-note").text.endswith(f"The other learner gained: less; {words}.")
    assert not find(toy, f"input[value='{guess}']").is_enabled()


def test_other_digits_and_other_features_begin_anew(toy):
    def state():
        canvases = toy.find_elements(By.CSS_SELECTOR, "canvas")
        return find(toy, ".ux-count").text, [canvas.screenshot_as_base64 for canvas in canvases]

    first = state()[1]
    button = find(toy, ".ux-play button")
    button.send_keys(Keys.SPACE)
    WebDriverWait(toy, 20, 0.02).until(lambda _: find(toy, ".ux-count").text != "step 0 of 300")
    button.send_keys(Keys.SPACE)
    assert button.text == "Play on"
    toy.find_elements(By.CSS_SELECTOR, ".ux-play button")[2].click()
    count, other = state()
    assert count == "step 0 of 300"
    assert sum(a != b for a, b in zip(first, other, strict=True)) >= 5
    Select(find(toy, "select")).select_by_value("relu")
    assert state() == (count, other), "the same digits, seen by other features"


def test_who_prefers_less_motion_goes_on_in_jumps(toy):
    motion(toy, "reduce")
    button = find(toy, ".ux-play button")
    button.click()
    assert find(toy, ".ux-count").text == "step 30 of 300"
    button.click()
    assert (button.text, find(toy, ".ux-count").text) == ("30 steps", "step 60 of 300")
