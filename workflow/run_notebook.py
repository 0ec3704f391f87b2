"""Run one notebook with parameters: `run_notebook.py NOTEBOOK COPY '{"name": value}' [DEVICE]`.

An unknown parameter is an error before anything runs (papermill alone only warns), and the executed copy
appears at COPY only once it is whole; that of a failed run stays beside it (.failed.ipynb), with the traceback.
"""

import json
import sys
from pathlib import Path

import papermill


def check_names(notebook: Path, parameters: dict) -> None:
    """Raise a ValueError if the notebook has no such parameter, of which papermill itself would only warn."""
    if not notebook.is_file():
        raise ValueError(f"there is no notebook {notebook}")
    known = papermill.inspect_notebook(notebook)
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise ValueError(f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")


def run(notebook: Path, copy: Path, parameters: dict) -> None:
    """Execute `notebook` in the current folder, and keep the executed notebook as `copy`.

    Raises:
        ValueError: the notebook has no such parameter.
        papermill.PapermillExecutionError: a cell failed.
    """
    check_names(notebook, parameters)
    copy.parent.mkdir(parents=True, exist_ok=True)
    failed = copy.with_suffix(".failed.ipynb")
    papermill.execute_notebook(notebook, failed, parameters, progress_bar=False, log_output=True)
    failed.replace(copy)


def main() -> int:
    notebook, copy, parameters, *device = sys.argv[1:]
    try:
        run(Path(notebook), Path(copy), json.loads(parameters) | ({"device": device[0]} if device else {}))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except papermill.PapermillExecutionError as error:
        print(f"error: cell {error.exec_count} of {notebook}: {error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
