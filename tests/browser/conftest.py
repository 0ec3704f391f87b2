"""Chromium on the built book, served from this machine or opened from its disk, with every other host unreachable."""

import contextlib
import shutil
from pathlib import Path

import pytest
from visits import BOOK, Visit, pages, served


def pytest_generate_tests(metafunc):
    """A test with the argument `page` runs once for each page; without a book once, to fail with what to do."""
    if "explorer_page" in metafunc.fixturenames:
        found = [page for page in pages() if "unidd-explorer-host" in (BOOK / page).read_text()]
        metafunc.parametrize("explorer_page", found or ["index.html"])
    if "page" in metafunc.fixturenames:
        # on several cores, all that looks at a page does so in one process, which loads it once
        found = [pytest.param(page, marks=pytest.mark.xdist_group(page)) for page in pages() or ["index.html"]]
        metafunc.parametrize("page", found, scope="module")


def pytest_collection_modifyitems(items):
    """On several cores, the tests of a file that are of no page run in one process: they share what they look at."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def site():
    """Address of the built book."""
    if not (BOOK / "index.html").exists():
        pytest.fail(f"no built book at {BOOK}: run `make book` first", pytrace=False)
    with served(BOOK) as address:
        yield address


@pytest.fixture(scope="session")
def site_in_a_folder(site, tmp_path_factory):
    """Address of the book in a folder of a server."""
    root = tmp_path_factory.mktemp("server")
    (root / "of" / "others").mkdir(parents=True)
    (root / "of" / "others" / "book").symlink_to(BOOK)
    with served(root) as address:
        yield f"{address}/of/others/book"


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.fail("browser tests need chromium and chromedriver (Debian: chromium, chromium-driver)", pytrace=False)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "window-size=1280,1000",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
        "host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    browser.set_page_load_timeout(60)
    browser.set_script_timeout(40)
    yield browser
    browser.quit()


@pytest.fixture
def visit(driver, site):
    """Opens a page of the book; it is closed when the test ends."""
    with contextlib.ExitStack() as opened:
        yield lambda page, **look: opened.enter_context(contextlib.closing(Visit(driver, site, page, **look)))


@pytest.fixture(scope="module")
def desktop(driver, site, page):
    """The page from the disk, in light colours on a wide screen, loaded once for all tests that only look."""
    with contextlib.closing(Visit(driver, BOOK.as_uri(), page)) as seen:
        yield seen


@pytest.fixture(scope="module")
def phone(driver, site_in_a_folder, page):
    """The page from a folder of a server, in dark colours on a phone."""
    with contextlib.closing(Visit(driver, site_in_a_folder, page, width=390, dark=True)) as seen:
        yield seen
