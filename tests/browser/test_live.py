"""Explorers with a kernel: a notebook in JupyterLab, where Python and the sliders move each other."""

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from visits import ROOT, Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CELLS = {
    "live": (
        "import torch\nfrom unidd.book.widgets import FilterExplorer\n"
        "widget = FilterExplorer({'a layer': torch.logspace(-4, 0, 32)}, beta=0.1, filters=['ridge'])\nwidget",
        "widget.beta = 0.001",
        "print('beta is', widget.beta)",
    ),
    "player": (
        "import json\nfrom unidd.book.widgets import CurriculumPlayer\n"
        f"player = CurriculumPlayer(json.load(open('{ROOT}/results/studies/curriculum/photos.json')))\nplayer",
        "player.round = 7",
        "print('round is', player.round)",
    ),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab of its own, on this machine only, with the notebooks of `CELLS` in it."""
    folder = tmp_path_factory.mktemp("lab")
    for name, cells in CELLS.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": 0,  # any that is free
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": "",
        "LabApp.expose_app_in_browser": True,
        "LabApp.news_url": "",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", *(f"--{k}={v}" for k, v in options.items())]
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings"}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    environment = os.environ | {name: str(folder / path) for name, path in own.items()}
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield address(server, folder)
    finally:
        server.terminate()  # its kernels with it
        server.wait(60)


def address(server: subprocess.Popen, folder: Path) -> str:
    """Where the server answers, once it does: it says so in a file."""
    while True:
        for path in (folder / "runtime").glob(f"jpserver-{server.pid}.json"):
            with contextlib.suppress(json.JSONDecodeError):  # half written
                return json.loads(path.read_text())["url"].rstrip("/")
        assert server.poll() is None, (folder / "log.txt").read_text()
        time.sleep(0.1)


class Open(Tab):
    """A notebook as it stands open in JupyterLab."""

    def __init__(self, driver, lab: str, name: str):
        super().__init__(driver)
        self.wait = WebDriverWait(self.driver, 60, poll_frequency=0.1)
        self.driver.get(f"{lab}/lab/tree/{name}.ipynb?reset")
        self.wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell"))
        ready = "return Boolean(jupyterapp.shell.currentWidget?.sessionContext?.isReady)"
        self.wait.until(lambda d: d.execute_script(ready))

    def run_cell(self, index: int) -> None:
        done = self.driver.execute_async_script(
            """
            const [index, done] = arguments;
            const app = window.jupyterapp;
            app.shell.currentWidget.content.activeCellIndex = index;
            app.commands.execute("notebook:run-cell").then(() => done(""), (error) => done(String(error)));
            """,
            index,
        )
        assert done == ""

    @property
    def outputs(self) -> list[str]:
        return [e.text for e in self.driver.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output")]

    @property
    def slider(self):
        return self.driver.find_element(By.CSS_SELECTOR, ".ux .ux-slider input")

    @property
    def position(self) -> float:
        return float(self.slider.get_property("value"))

    @property
    def curve(self) -> str:
        return self.driver.find_element(By.CSS_SELECTOR, ".ux-chart .ux-line.ux-ridge").get_attribute("d")

    def press(self, key: str) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.slider)
        self.slider.send_keys(key)

    @property
    def errors(self) -> list[str]:
        return [message for message in super().errors if "anywidget" in message or "explorer" in message]


@pytest.fixture
def opened(driver, lab):
    """Opens a notebook; its page is closed when the test ends."""
    with contextlib.ExitStack() as pages:
        yield lambda name: pages.enter_context(contextlib.closing(Open(driver, lab, name)))


def test_python_and_the_slider_move_each_other(opened):
    notebook = opened("live")
    notebook.run_cell(0)
    notebook.wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".ux .ux-chart .ux-line.ux-ridge"))
    assert notebook.position == pytest.approx(math.log10(0.1))
    before = notebook.curve

    notebook.run_cell(1)  # widget.beta = 0.001
    notebook.wait.until(lambda d: notebook.curve != before)
    assert notebook.position == pytest.approx(math.log10(0.001))

    notebook.press(Keys.END)
    notebook.wait.until(lambda d: notebook.position == 2)
    notebook.run_cell(2)  # print('beta is', widget.beta)
    notebook.wait.until(lambda d: "beta is 100.0" in notebook.outputs)
    assert notebook.errors == []


def test_python_moves_the_player_and_the_player_tells_python(driver, opened):
    notebook = opened("player")
    notebook.run_cell(0)
    notebook.wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".ux .ux-chart .ux-line.ux-ridge"))
    assert notebook.position == 0

    notebook.run_cell(1)  # player.round = 7
    notebook.wait.until(lambda d: notebook.position == 7)
    assert "Round 7" in driver.find_element(By.CSS_SELECTOR, ".ux-chart").get_attribute("aria-label")

    driver.find_element(By.CSS_SELECTOR, ".ux button").click()  # plays to the last round
    notebook.wait.until(lambda d: notebook.position == 9)
    notebook.run_cell(2)  # print('round is', player.round)
    notebook.wait.until(lambda d: "round is 9" in notebook.outputs)
    assert notebook.errors == []
