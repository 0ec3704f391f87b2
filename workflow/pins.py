"""Write `constraints.txt` and `environment.yml` from the environment this runs in: `make pins`.

Pinned is everything that the package and its extras need, directly or through others. torch's own CUDA
packages are left out: torch pins them itself, and only where they exist.
"""

import importlib.metadata as metadata
import sys
import tomllib
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CUDA = ("cuda-", "nvidia-", "triton")


def requirements(root: Path = ROOT) -> list[str]:
    """The direct requirements in pyproject.toml, extras included."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return list(chain(project["dependencies"], *project["optional-dependencies"].values()))


def closure(todo: list[str]) -> dict[str, str]:
    """Name -> installed version of the requirements and of all they need.

    Raises:
        importlib.metadata.PackageNotFoundError: one of them is not installed.
    """
    pins, seen, todo = {}, set(), [Requirement(r) for r in todo]
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), {"", *requirement.extras}
        if name.startswith(CUDA) or (name, frozenset(extras)) in seen:
            continue
        seen.add((name, frozenset(extras)))
        distribution = metadata.distribution(name)
        pins[name] = distribution.version
        needs = map(Requirement, distribution.requires or [])
        todo += [n for n in needs if not n.marker or any(n.marker.evaluate({"extra": e}) for e in extras)]
    return dict(sorted(pins.items()))


def main() -> None:
    pins = [f"{name}=={version}" for name, version in closure(requirements()).items()]
    note = "# Written by `make pins`: the versions this project was tested with.\n"
    (ROOT / "constraints.txt").write_text(note + "\n".join(pins) + "\n")
    (ROOT / "environment.yml").write_text(
        f"{note}# The conda form of constraints.txt: conda env create -f environment.yml\n"
        "name: unidd\nchannels:\n  - conda-forge\n  - nodefaults\ndependencies:\n"
        f"  - python={sys.version_info.major}.{sys.version_info.minor}\n  - pip\n  - pip:\n"
        + "".join(f"      - {pin}\n" for pin in pins)
        + '      - -e ".[embedded,show,book,test,batch]"\n'
    )


if __name__ == "__main__":
    main()
