"""The first code cell of every chapter, which makes it run where the repository is not, such as on a fresh Colab.

It is written here once: `python workflow/first_cell.py` puts it into all chapters, and `make notebooks` does so first.
The address it installs from is `repository: url` of _config.yml.
"""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CELL = re.compile(r'# %% tags=\["setup", "remove-cell"\]\n.*?\n(?=\n*# %%)', re.DOTALL)


def cell(url: str) -> str:
    """Return the cell in py:percent; without an address it can only say what to do."""
    install = f'get_ipython().run_line_magic("pip", "install --quiet \'unidd[embedded,show] @ git+{url}\'")'
    advice = "UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'"
    return f"""# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    {install if url else f'raise ModuleNotFoundError("{advice}")'}
"""


def address() -> str:
    """Return where the project is published, from _config.yml; empty if nowhere yet."""
    return yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]


def main() -> None:
    text = cell(address())
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        path.write_text(CELL.sub(lambda _: text, path.read_text(), count=1))


if __name__ == "__main__":
    main()
