"""Chromium on the built book, served from this machine, with every other host unreachable."""

import contextlib
import functools
import http.server
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Where the built book is; the environment variable serves to test another build.
BOOK = Path(os.environ.get("UNIDD_BOOK") or ROOT / "_build" / "html")


def pages() -> list[str]:
    """Every page of the built book, relative to it, but for the search page and the index of terms."""
    found = sorted(path.relative_to(BOOK).as_posix() for path in BOOK.rglob("*.html"))
    return [page for page in found if not page.startswith("_") and page not in ("search.html", "genindex.html")]


def pytest_generate_tests(metafunc):
    """A test with the argument `page` runs once for each page; without a book once, to fail with what to do."""
    if "explorer_page" in metafunc.fixturenames:
        found = [page for page in pages() if "unidd-explorer-host" in (BOOK / page).read_text()]
        metafunc.parametrize("explorer_page", found or ["index.html"])
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages() or ["index.html"], scope="module")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder: Path):
    """A web server on this machine; gives its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def site():
    """Address of the built book."""
    if not (BOOK / "index.html").exists():
        pytest.fail(f"no built book at {BOOK}: run `make book` first", pytrace=False)
    with served(BOOK) as address:
        yield address


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.fail("browser tests need chromium and chromedriver (Debian: chromium, chromium-driver)", pytrace=False)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1280,1000",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
        "host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    browser.set_page_load_timeout(60)
    browser.get("about:blank")  # ends the start page, whose own requests are no concern of ours
    browser.set_script_timeout(20)
    yield browser
    browser.quit()


class Visit:
    """One page as a reader loads it, and what the browser reported: console, requests, responses."""

    def __init__(self, driver, site: str, page: str, width: int = 1280, dark: bool = False):
        self.driver, self.site = driver, site
        for log in ("performance", "browser"):
            driver.get_log(log)  # forget earlier pages
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        mode = "dark" if dark else "light"
        media = [{"name": "prefers-color-scheme", "value": mode}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        driver.get(f"{site}/{page}")
        driver.execute_script("localStorage.clear()")
        self.settle()

    def settle(self) -> None:
        """Wait until figures, explorers and formulas are drawn, and nothing loads any more."""
        self.driver.execute_async_script(_SETTLED)
        self.events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        self.console = self.driver.get_log("browser")

    @property
    def errors(self) -> list[str]:
        """Console errors, uncaught exceptions among them."""
        return [entry["message"] for entry in self.console if entry["level"] == "SEVERE"]

    @property
    def requests(self) -> list[str]:
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    @property
    def failures(self) -> list[str]:
        answers = [e["params"]["response"] for e in self.events if e["method"] == "Network.responseReceived"]
        return [f"{r['status']} {r['url']}" for r in answers if r["status"] >= 400]

    def weight(self) -> int:
        """Bytes of the page itself and of what it loads from outside the shared `_static`."""
        own = {url.split("?")[0].split("#")[0] for url in self.requests if "/_static/" not in url}
        own = {url for url in own if not url.endswith(("searchindex.js", "favicon.ico"))}
        return sum((BOOK / url.removeprefix(self.site + "/")).stat().st_size for url in own)


_SETTLED = """
const done = arguments[arguments.length - 1];
const drawn = () => (!document.querySelector('script[src*="unidd-book.js"]')
                     || document.documentElement.dataset.unidd === "ready");
const formulas = () => !document.querySelector('script[src*="mathjax"]') || window.MathJax?.startup?.promise;
const wait = () => (document.readyState === "complete" && drawn() && formulas()
  ? Promise.resolve(window.MathJax?.startup?.promise).then(() => setTimeout(done, 200)) : setTimeout(wait, 50));
wait();
"""


@pytest.fixture
def visit(driver, site):
    return functools.partial(Visit, driver, site)


@pytest.fixture(scope="module")
def desktop(driver, site, page):
    """The page in light colours on a wide screen, loaded once for all tests that only look."""
    return Visit(driver, site, page)


@pytest.fixture(scope="module")
def phone(driver, site, page):
    """The page in dark colours on a phone."""
    return Visit(driver, site, page, width=390, dark=True)
