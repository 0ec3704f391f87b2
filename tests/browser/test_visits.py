"""What a visit reports is of its own page, whatever other pages do at the same time, and all of it."""

import contextlib

import pytest
from selenium.webdriver.support.ui import WebDriverWait
from visits import Tab, Visit, served

pytestmark = pytest.mark.browser
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>A page</title>'
PAGES = {
    "restless": """<script>setInterval(() => { console.error("restless"); fetch("none.txt", { keepalive: true }); }, 1);
        localStorage.setItem("been", "here"); document.cookie = "been=here";</script>""",
    "quiet": "<p>nothing</p>",
    "leaving": """<img src="picture.png" alt="none"><script>location.replace("quiet.html")</script>""",
    "undrawn": """<script src="unidd-book.js"></script>
        <script>setTimeout(() => location.replace("quiet.html"), 300)</script>""",
    "entrance": """<img src="a.png" alt="none"><script>onload = () => location.replace("again.html")</script>""",
    "again": """<img src="a.png" alt="none"><script>fetch("none.txt").then(() => fetch("none.txt"))</script>""",
    "faulty": """<script>Promise.reject(new Error("rejected")); console.error("said", 7); console.warn("not this");
        setTimeout(() => { throw new Error("thrown"); });</script><img src="none.png" alt="none">""",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, body in PAGES.items():
        (folder / f"{name}.html").write_text(f"{HEAD}<body>{body}</body></html>")
    with served(folder) as address:
        yield address


@pytest.fixture
def restless(driver, place):
    """A page that never stops to load and to complain."""
    with contextlib.closing(Tab(driver)) as page:
        page.driver.get(f"{place}/restless.html")
        WebDriverWait(driver, 20).until(lambda _: len(page.failures) > 9)
        yield page


def check_quiet(driver, place):
    """A page beside others, or after them: it alone is reported, and finds nothing of theirs."""
    with contextlib.closing(Visit(driver, place, "quiet.html")) as seen:
        assert seen.requests == [f"{place}/quiet.html"]
        assert (seen.errors, seen.failures, seen.loading) == ([], [], set())
        left = "return [localStorage.length, document.cookie, document.body.textContent]"
        assert seen.driver.execute_script(left) == [0, "", "nothing"]


def test_a_page_that_is_still_open_is_not_heard_in_the_next(driver, place, restless):
    before = len(restless.requests)
    check_quiet(driver, place)
    assert len(restless.requests) > before, "it went on meanwhile"
    assert set(restless.errors) >= {"restless"}


def test_a_page_that_is_gone_is_not_heard_in_the_next(driver, place):
    for _ in range(3):
        with contextlib.closing(Tab(driver)) as page:
            page.driver.get(f"{place}/restless.html")
        check_quiet(driver, place)


def test_everything_that_goes_wrong_is_reported(driver, place):
    with contextlib.closing(Visit(driver, place, "faulty.html")) as seen:
        WebDriverWait(driver, 20).until(lambda _: len(seen.errors) == 4, "four errors")
        assert sorted(error.split("\n")[0] for error in seen.errors) == [
            "Error: rejected",
            "Error: thrown",
            f"Failed to load resource: the server responded with a status of 404 (File not found) {place}/none.png",
            "said 7",
        ]
        assert seen.failures == [f"404 {place}/none.png"]
        assert seen.requests == [f"{place}/faulty.html", f"{place}/none.png"]


def test_a_page_that_leads_on_settles_where_it_leads(driver, place):
    with contextlib.closing(Visit(driver, place, "leaving.html")) as seen:
        WebDriverWait(driver, 20).until(lambda _: seen.driver.current_url == f"{place}/quiet.html")
        assert seen.requests[0] == f"{place}/leaving.html"


def test_a_page_that_leads_on_before_it_is_drawn_settles_where_it_leads(driver, place):
    with contextlib.closing(Visit(driver, place, "undrawn.html")) as seen:
        assert seen.driver.current_url == f"{place}/quiet.html"


def test_what_one_document_asks_for_again_is_twice_and_what_two_ask_for_is_not(driver, place):
    with contextlib.closing(Visit(driver, place, "entrance.html")) as seen:
        WebDriverWait(driver, 20).until(lambda _: seen.requests.count(f"{place}/none.txt") == 2)
        assert seen.requests.count(f"{place}/a.png") == 2
        assert seen.twice == [f"{place}/none.txt"]
