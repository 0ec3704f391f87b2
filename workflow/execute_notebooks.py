"""Execute notebooks and keep their outputs: `execute_notebooks.py NOTEBOOK.ipynb …`, see `make notebooks`.

A failing notebook stays as it was. Timing and widget state are not recorded: the same outputs give the same file.
Pictures of data are left out; the built book, which executes afresh, has them.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def drop_pictures(output) -> None:
    """Leave only the text of an output that holds a picture: no image of the data sets goes into git."""
    data = output.get("data", {})
    data.pop("application/vnd.jupyter.widget-view+json", None)  # the name of a model that ended with its kernel
    pixels = any("pixels" in state.get("picture", {}) for state in data.values() if isinstance(state, dict))
    if pixels or "data:image" in str(data) or any(mime.startswith("image/") for mime in data):
        output["data"] = {"text/plain": "(a picture: run the notebook, or see the book)"}


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
            drop_pictures(output)
    temporary = path.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        execute(Path(name))
