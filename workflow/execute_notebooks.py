"""Execute notebooks and keep their outputs: `execute_notebooks.py NOTEBOOK.ipynb …`, see `make notebooks`.

A failing notebook stays as it was. Timing and widget state are not recorded: the same outputs give the same file. What
needs a script gets a still picture beside it, for where none runs: on GitHub, or in Jupyter before the first run.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from unidd.book import stills
from unidd.book.sphinx import PLOTLY, WIDGET
from unidd.book.widgets import EXPLORER

STILL = "image/svg+xml"


def settle(output) -> None:
    """Leave out of an output what ended with its kernel; add the still picture of a figure or an explorer."""
    data = output.get("data", {})
    data.pop(WIDGET, None)
    if "picture" in data.get(PLOTLY, {}).get("layout", {}).get("meta", {}):  # a picture is its own still
        kind, _, picture = data[PLOTLY]["data"][0]["source"].removeprefix("data:").partition(";base64,")
        data[kind] = picture
        return
    for mime, draw in ((PLOTLY, stills.figure), (EXPLORER, stills.explorer)):
        if mime in data:
            data[STILL] = draw(data[mime]).decode()


def execute(path: Path) -> None:
    """Execute one notebook in its own folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, record_timing=False, store_widget_state=False, resources=resources).execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            settle(output)
    temporary = path.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        execute(Path(name))
