"""Run one notebook with parameters: `run_notebook.py NOTEBOOK COPY '{"name": value}' [DEVICE]`.

An unknown parameter is an error before anything runs (papermill alone only warns), and the executed copy
appears at COPY only once it is whole; that of a failed run stays beside it (.failed.ipynb), with the traceback.
The name `as` is no parameter of the notebook: the record that it wrote to `out` says it in place of its method's.
"""

import json
import sys
from pathlib import Path

import papermill

from unidd.files import save_json


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


def relabel(record: Path, label: str) -> None:
    """Name the method of a record anew, by which tables tell entries apart; its hyper-parameters stay in the record."""
    save_json(json.loads(record.read_text()) | {"method": label}, record)


def main() -> int:
    notebook, copy, given, *device = sys.argv[1:]
    parameters = json.loads(given) | ({"device": device[0]} if device else {})
    label = parameters.pop("as", "")
    try:
        run(Path(notebook), Path(copy), parameters)
        if label:
            relabel(Path(parameters["out"]), label)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except papermill.PapermillExecutionError as error:
        print(f"error: cell {error.exec_count} of {notebook}: {error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
