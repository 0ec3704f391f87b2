"""The filter explorer in the published page: the same numbers as the package, and quick answers to the keyboard."""

import statistics
from itertools import pairwise

import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from unidd.filters import AllPass, Landweber, Linear, Residual, Ridge

pytestmark = pytest.mark.browser
PAGE = "notebooks/02_filters.html"


@pytest.fixture
def explorer(visit):
    """The explorer of the page, scrolled into view, with the JSON state the page holds."""
    seen = visit(PAGE)
    element = seen.driver.find_element(By.CSS_SELECTOR, ".ux")
    seen.driver.execute_script("arguments[0].scrollIntoView()", element)
    yield element
    seen.settle()
    assert seen.errors == []


def find(explorer, selector):
    return explorer.find_element(By.CSS_SELECTOR, selector)


def slider(explorer, label):
    return explorer.find_element(By.XPATH, f".//label[starts-with(., '{label}')]/following-sibling::input")


def curve(explorer, name="ridge"):
    return find(explorer, f".ux-chart .ux-line.ux-{name}").get_attribute("d")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("allpass", lambda beta, rate, steps: AllPass()),
        ("linear", lambda beta, rate, steps: Linear()),
        ("ridge", lambda beta, rate, steps: Ridge(beta)),
        ("landweber", lambda beta, rate, steps: Landweber(rate, steps)),
        ("residual", lambda beta, rate, steps: Residual(rate, steps)),
    ],
)
def test_responses_equal_those_of_the_package(explorer, name, make):
    """A grid of λ over eight decades with 0, β, α and t: relative error at most 1e-6."""
    lam = torch.cat([torch.zeros(1), torch.logspace(-7, 0.3, 40)]).double()
    settings = [(b, a, t) for b in (1e-5, 0.1, 10) for a in (0.01, 0.7, 0.95) for t in (1, 2, 7, 50, 1000)]
    script = """
        const [name, lam, settings, done] = arguments;
        const evaluate = ({ responses }) => settings.map(([beta, rate, steps]) =>
          lam.map((value) => responses[name](value, { beta, rate, steps })));
        import(new URL("../_static/explorer.js", document.baseURI).href).then((m) => done(evaluate(m)));
    """
    found = explorer.parent.execute_async_script(script, name, lam.tolist(), settings)
    expected = torch.stack([make(*setting).response(lam) for setting in settings])
    torch.testing.assert_close(torch.tensor(found).double(), expected, rtol=1e-6, atol=1e-12)


def test_pass_band_counts_what_the_response_says(explorer):
    """The table's row of the ridge filter, worked out again in Python from the page's own eigenvalues."""
    state = explorer.parent.execute_script(
        "return JSON.parse(document.querySelector('.unidd-explorer-host-data').textContent)"
    )
    lam = torch.tensor(state["eigenvalues"][state["layer"]], dtype=torch.float64)
    response = Ridge(state["beta"]).response(lam)
    passed = lam[response >= response.max() / 2]
    row = explorer.find_element(By.XPATH, ".//tbody/tr[contains(., 'ridge')]").text
    assert f"{len(passed)} of {len(lam)}" in row
    share = 100 * float(passed.sum() / lam.sum())
    assert (f"{share:.1f} %" if share < 10 else f"{share:.0f} %") in row


def test_keyboard_moves_the_curve_within_50_ms(explorer):
    driver, beta = explorer.parent, slider(explorer, "Ridge")
    driver.execute_script(
        """
        const [chart, input] = arguments;
        window.delays = [];
        let pressed;
        input.addEventListener("keydown", () => { pressed = performance.now(); }, true);
        new MutationObserver(() => window.delays.push(performance.now() - pressed)).observe(chart, { childList: true });
        """,
        find(explorer, ".ux-chart"),
        beta,
    )
    seen = [curve(explorer)]
    for key in [Keys.ARROW_RIGHT] * 5 + [Keys.PAGE_DOWN, Keys.HOME, Keys.END]:
        beta.send_keys(key)
        seen.append(curve(explorer))
    assert all(a != b for a, b in pairwise(seen))
    delays = driver.execute_script("return window.delays")
    assert len(delays) == 8
    assert statistics.median(delays) < 50


def test_layer_and_filters_answer_the_keyboard(explorer):
    before = curve(explorer)
    layer = Select(find(explorer, "select"))
    find(explorer, "select").send_keys(Keys.ARROW_UP)
    assert layer.first_selected_option.text != layer.options[-1].text
    assert curve(explorer) != before

    residual = find(explorer, "input[value=residual]")
    residual.send_keys(Keys.SPACE)
    assert curve(explorer, "residual")
    residual.send_keys(Keys.SPACE)
    assert explorer.find_elements(By.CSS_SELECTOR, ".ux-chart .ux-line.ux-residual") == []


def test_a_slider_without_a_filter_is_disabled(explorer):
    assert slider(explorer, "Steps").is_enabled()
    find(explorer, "input[value=landweber]").send_keys(Keys.SPACE)
    assert not slider(explorer, "Steps").is_enabled()
    assert slider(explorer, "Ridge").is_enabled()


def test_no_filter_at_all_is_no_error(explorer):
    for box in explorer.find_elements(By.CSS_SELECTOR, "input[type=checkbox]:checked"):
        box.send_keys(Keys.SPACE)
    assert explorer.find_elements(By.CSS_SELECTOR, ".ux-chart .ux-line") == []
    assert find(explorer, ".ux-chart .ux-density").get_attribute("d")


def test_controls_are_labelled_and_changes_announced(explorer):
    driver = explorer.parent
    unlabelled = driver.execute_script(
        "return [...arguments[0].querySelectorAll('input, select')].filter((e) => !e.labels.length).length", explorer
    )
    assert unlabelled == 0
    live = find(explorer, "[aria-live=polite]")
    slider(explorer, "Ridge").send_keys(Keys.HOME)
    assert driver.execute_async_script("setTimeout(() => arguments[1](arguments[0].textContent), 700)", live).count(
        "ridge passes"
    )
    assert "β" not in slider(explorer, "Ridge").get_attribute("aria-valuetext")


def test_curves_stay_inside_the_chart(explorer):
    """Also above αλmax = 1, where the residual filter turns negative."""
    find(explorer, "input[value=residual]").send_keys(Keys.SPACE)
    slider(explorer, "Step size").send_keys(Keys.END)
    slider(explorer, "Steps").send_keys(Keys.HOME)
    width, height = (float(v) for v in find(explorer, ".ux-chart").get_dom_attribute("viewBox").split()[2:])
    numbers = curve(explorer, "residual").replace("M", " ").replace("L", " ").split()
    assert all(0 <= float(x) <= width for x in numbers[::2])
    assert all(0 <= float(y) <= height for y in numbers[1::2])
