"""Execute notebooks, one on each core, into the cache of Jupyter Book: `execute_pages.py CACHE NOTEBOOK …`.

What was in that cache is deleted first: a page shows what the code does today. A notebook that fails is left out, so
that the book executes it once more and says what failed.
"""

import shutil
import sys
from pathlib import Path

from forked_kernels import kernels
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor


def execute(folder: Path, notebooks: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    cache = get_cache(folder)
    for path in notebooks:
        cache.add_nb_to_project(path)
    with kernels():
        ran = load_executor("temp-parallel", cache).run_and_cache(timeout=600)
    print(f"executed {len(ran.succeeded)} of {len(notebooks)} notebooks")


if __name__ == "__main__":
    execute(Path(sys.argv[1]), sys.argv[2:])
