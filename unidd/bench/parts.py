"""Keep what a long study has done, part by part."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import json_hash, save_json


def kept(path: Path, depends: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a part from its file; make it and keep it there if it is missing, or was made of something else.

    Args:
        depends: settings, data and code that the part follows from, as JSON has them.
    """
    asked = json_hash(depends)
    if path.exists() and (found := json.loads(path.read_text()))["asked"] == asked:
        return found["row"]
    row = make()
    save_json({"asked": asked, "row": row}, path)
    return row
