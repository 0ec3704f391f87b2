"""The built book in a browser: where it is, a server for it, and a page as a reader loads it."""

import contextlib
import functools
import http.client
import http.server
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path

from selenium.common.exceptions import WebDriverException
from selenium.webdriver.support.ui import WebDriverWait
from websocket import create_connection

ROOT = Path(__file__).resolve().parents[1]
# Where the built book is; the environment variable serves to test another build.
BOOK = Path(os.environ.get("UNIDD_BOOK") or ROOT / "_build" / "html").resolve()

PAPER = 717  # pixels of a page between the browser's margins on A4


def pages() -> list[str]:
    """Every page of the built book, relative to it, but for the search page and the index of terms."""
    found = sorted(path.relative_to(BOOK).as_posix() for path in BOOK.rglob("*.html"))
    return [page for page in found if not page.startswith("_") and page not in ("search.html", "genindex.html")]


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


class Devtools:
    """A connection to Chromium by its DevTools protocol, to the browser or to one page; it hears of nothing else."""

    def __init__(self, address: str):
        self.socket = create_connection(address, timeout=60, suppress_origin=True)
        self.events: list[dict] = []
        self.asked = 0

    def ask(self, method: str, **params) -> dict:
        """The result of a command; events that come before it are kept."""
        self.asked += 1
        self.socket.send(json.dumps({"id": self.asked, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.asked:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]


class Tab:
    """A page in a browser context of its own: storage, cache and events are never those of another page.

    To be closed after use: with it goes whatever it still had to load or to say.
    """

    def __init__(self, driver):
        self._driver = driver
        address = driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        version = http.client.HTTPConnection(address)
        version.request("GET", "/json/version")
        self._browser = Devtools(json.load(version.getresponse())["webSocketDebuggerUrl"])
        context = self._browser.ask("Target.createBrowserContext", disposeOnDetach=True)
        self._handle = self._browser.ask("Target.createTarget", url="about:blank", **context)["targetId"]
        self._page = Devtools(f"ws://{address}/devtools/page/{self._handle}")
        for domain in ("Log", "Network", "Runtime"):
            self._page.ask(f"{domain}.enable")

    @property
    def driver(self):
        """The driver, turned to this page."""
        self._driver.switch_to.window(self._handle)
        return self._driver

    def close(self) -> None:
        self._page.socket.close()
        self._browser.socket.close()  # the context lives as long as its connection
        gone = WebDriverWait(self._driver, 20, poll_frequency=0.05)
        gone.until(lambda driver: self._handle not in driver.window_handles, "the page does not close")
        self._driver.switch_to.window(self._driver.window_handles[0])

    @property
    def events(self) -> list[dict]:
        """All that the page has reported so far: `method` and `params` of each."""
        self._page.ask("Runtime.evaluate", expression="0")  # answered after what was reported before
        return self._page.events

    def _reported(self, method: str) -> list[dict]:
        return [event["params"] for event in self.events if event["method"] == method]

    @property
    def errors(self) -> list[str]:
        """Console errors, uncaught exceptions among them."""
        return [text for event in self.events if (text := _complaint(event["method"], event["params"]))]

    @property
    def requests(self) -> list[str]:
        """Addresses of all that was asked for, in order."""
        sent = [request["request"]["url"] for request in self._reported("Network.requestWillBeSent")]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    @property
    def twice(self) -> list[str]:
        """Addresses that one document asked for more than once; a page that leads on to another is two documents."""
        sent = [(r["loaderId"], r["request"]["url"]) for r in self._reported("Network.requestWillBeSent")]
        return [url for (_, url), n in Counter(sent).items() if n > 1 and not url.startswith(("data:", "blob:"))]

    @property
    def failures(self) -> list[str]:
        """Answers that are errors, and requests without one, but for those that the page itself gave up."""
        answers = [answer["response"] for answer in self._reported("Network.responseReceived")]
        refused = [f"{r['status']} {r['url']}" for r in answers if r["status"] >= 400]
        address = {r["requestId"]: r["request"]["url"] for r in self._reported("Network.requestWillBeSent")}
        lost = [r for r in self._reported("Network.loadingFailed") if not r.get("canceled")]
        return refused + [f"{r['errorText']} {address.get(r['requestId'], '?')}" for r in lost]

    @property
    def loading(self) -> set[str]:
        """Numbers of the requests that have no end yet; those of a document that was left may never have one."""
        sent = self._reported("Network.requestWillBeSent")
        left = [request["loaderId"] for request in sent if request["requestId"] == request["loaderId"]][:-1]
        ended = self._reported("Network.loadingFinished") + self._reported("Network.loadingFailed")
        return {r["requestId"] for r in sent if r["loaderId"] not in left} - {r["requestId"] for r in ended}


def _complaint(method: str, params: dict) -> str:
    """What an event says went wrong; empty if nothing did."""
    if method == "Runtime.exceptionThrown":
        details = params["exceptionDetails"]
        return details.get("exception", {}).get("description", details["text"])
    if method == "Runtime.consoleAPICalled" and params["type"] in ("assert", "error"):
        return " ".join(str(value.get("value", value.get("description"))) for value in params["args"])
    if method == "Log.entryAdded" and params["entry"]["level"] == "error":
        return f"{params['entry']['text']} {params['entry'].get('url', '')}"
    return ""


class Visit(Tab):
    """One page as a reader loads it for the first time, and what the browser reported: console, requests, responses.

    Args:
        site: address of a folder, on a server or on the disk (`file://`), without the last slash.
        scripts: False for a reader who has switched them off.
    """

    def __init__(self, driver, site: str, page: str, width: int = 1280, dark: bool = False, scripts: bool = True):
        super().__init__(driver)
        self.site = site
        driver = self.driver
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        mode = "dark" if dark else "light"
        media = [{"name": "prefers-color-scheme", "value": mode}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        driver.get(f"{site}/{page}")
        # where no script runs the driver comes back before the page is whole, now and then
        self._until(_WHOLE, "the page is never whole")
        if scripts:
            self.settle()

    def settle(self) -> None:
        """Wait until figures, explorers and formulas are drawn, and nothing loads any more."""
        self._until(_SETTLED, "something is never drawn", str(time.monotonic_ns()))
        WebDriverWait(self.driver, 20, poll_frequency=0.05).until(
            lambda _: not self.loading, "something loads for ever"
        )

    def _until(self, script: str, otherwise: str, *arguments: str) -> None:
        """Ask again and again: what waits within a page that leads on to another goes with that page."""
        driver = self.driver
        wait = WebDriverWait(driver, 40, poll_frequency=0.02, ignored_exceptions=[WebDriverException])
        wait.until(lambda _: driver.execute_script(script, *arguments), otherwise)

    def elsewhere(self) -> list[str]:
        """Return the addresses outside the site that were asked for."""
        return [url for url in self.requests if not url.startswith(f"{self.site}/")]

    def undrawn(self) -> list[str]:
        """Return what stands in the place of each figure, explorer and formula that is not drawn."""
        return self.driver.execute_script(_UNDRAWN)

    def weight(self) -> tuple[int, int]:
        """Bytes of the page and of all that it loads, and of these what lies outside the shared `_static`."""
        names = {url.split("?")[0].split("#")[0].removeprefix(f"{self.site}/") for url in self.requests}
        sizes = {name: (BOOK / name).stat().st_size for name in names if (BOOK / name).is_file()}
        shared = sum(size for name, size in sizes.items() if name.startswith("_static/") or name == "searchindex.js")
        return sum(sizes.values()), sum(sizes.values()) - shared

    def shift(self) -> float:
        """By how much what was in sight moved while the page was loading, as browsers count it; 0.1 is bad."""
        return self.driver.execute_async_script(_SHIFT)

    def cut(self) -> list[str]:
        """Return what reaches beyond the sides of the page, and what hides a part of itself without a way to scroll."""
        return self.driver.execute_script(_CUT)

    def turn_to_paper(self) -> None:
        """Show what a printer would get, on a sheet of A4."""
        media = [{"name": "prefers-color-scheme", "value": "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": media})
        sheet = {"width": PAPER, "height": 1046, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sheet)
        self.settle()


_WHOLE = "return document.readyState === 'complete' && location.href !== 'about:blank'"
_SETTLED = """
if (document.asked === arguments[0]) return document.settled;
document.asked = arguments[0];
document.settled = false;
const drawn = () => (!document.querySelector('script[src*="unidd-book.js"]')
                     || document.documentElement.dataset.unidd === "ready");
const formulas = () => !document.querySelector('script[src*="mathjax"]') || window.MathJax?.startup?.promise;
const frame = () => new Promise(requestAnimationFrame);
const ready = async () => {
  while (!(document.readyState === "complete" && drawn() && formulas())) await frame();
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  await frame(); // sizes are observed once a frame, and what follows from them is drawn in the next
  await frame();
};
ready().then(() => { document.settled = true; });
return false;
"""
_UNDRAWN = """
const places = { ".unidd-plotly": ".unidd-still path", ".unidd-explorer-host": ".ux",
  ".bd-article .math": "mjx-container" };
return Object.entries(places).flatMap(([place, drawing]) => [...document.querySelectorAll(place)]
  .filter((e) => !e.querySelector(drawing)).map((e) => e.outerHTML.slice(0, 200)));
"""
_SHIFT = """
const done = arguments[0];
let moved = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) moved += entry.value; })
  .observe({ type: "layout-shift", buffered: true });
requestAnimationFrame(() => setTimeout(() => done(moved)));
"""
_CUT = """
const page = document.documentElement;
const paper = matchMedia("print").matches;
const within = (e) => e.parentElement.closest("svg, .ux-hidden, .visually-hidden, .copybtn")
  || (e.parentElement.closest("mjx-container") && !e.matches("mjx-math"));
const scrolls = (e) => !paper && ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
const inside = (e) => e && (scrolls(e) || inside(e.parentElement));
return [...document.querySelectorAll(".bd-article *")].filter((e) => {
  const box = e.getBoundingClientRect();
  if (!box.width || !box.height || within(e) || (e.offsetWidth ?? 2) <= 1) return false;
  const hides = !["visible", "clip"].includes(getComputedStyle(e).overflowX) && !scrolls(e) && e.clientWidth
    && e.scrollWidth > e.clientWidth + 1 && !e.matches("select, input, .math, mjx-container");
  return hides || ((box.right > page.clientWidth + 1 || box.left < -1) && !inside(e.parentElement));
}).map((e) => e.outerHTML.slice(0, 160));
"""
