"""The built book in a browser: where it is, a server for it, and a page as a reader loads it."""

import contextlib
import functools
import http.server
import json
import os
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Where the built book is; the environment variable serves to test another build.
BOOK = Path(os.environ.get("UNIDD_BOOK") or ROOT / "_build" / "html")


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
