"""Explorers with a kernel: a notebook in JupyterLab, where Python and the sliders move each other."""

import math
import os
import socket
import subprocess
import sys
import time

import nbformat
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CELLS = (
    "import torch\nfrom unidd.widgets import FilterExplorer\n"
    "widget = FilterExplorer({'a layer': torch.logspace(-4, 0, 32)}, beta=0.1, filters=['ridge'])\nwidget",
    "widget.beta = 0.001",
    "print('beta is', widget.beta)",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab of its own, on this machine only, with a notebook `live.ipynb` in it."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "live.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
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
        for _ in range(300):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()  # its kernels with it
        server.wait(20)


def test_python_and_the_slider_move_each_other(driver, lab):
    wait = WebDriverWait(driver, 40, poll_frequency=0.1)
    driver.get_log("browser")
    driver.get(f"{lab}/lab/tree/live.ipynb?reset")
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell"))
    wait.until(lambda d: d.execute_script("return Boolean(jupyterapp.shell.currentWidget?.sessionContext?.isReady)"))

    def run_cell(index):
        done = driver.execute_async_script(
            """
            const [index, done] = arguments;
            const app = window.jupyterapp;
            app.shell.currentWidget.content.activeCellIndex = index;
            app.commands.execute("notebook:run-cell").then(() => done(""), (error) => done(String(error)));
            """,
            index,
        )
        assert done == ""

    def output():
        return [e.text for e in driver.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output")]

    def position():
        return float(driver.find_element(By.CSS_SELECTOR, ".ux .ux-slider input").get_property("value"))

    def curve():
        return driver.find_element(By.CSS_SELECTOR, ".ux-chart .ux-line.ux-ridge").get_attribute("d")

    driver.set_script_timeout(40)
    run_cell(0)
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".ux .ux-chart .ux-line.ux-ridge"))
    assert position() == pytest.approx(math.log10(0.1))
    before = curve()

    run_cell(1)  # widget.beta = 0.001
    wait.until(lambda d: curve() != before)
    assert position() == pytest.approx(math.log10(0.001))

    slider = driver.find_element(By.CSS_SELECTOR, ".ux .ux-slider input")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    slider.send_keys(Keys.END)
    wait.until(lambda d: position() == 2)
    run_cell(2)  # print('beta is', widget.beta)
    wait.until(lambda d: "beta is 100.0" in output())

    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in errors if "anywidget" in message or "explorer" in message] == []
