"""Put the package where a reader has it: `elsewhere.py FOLDER` unpacks its wheel in FOLDER/site, beside a kernel.

With JUPYTER_PATH=FOLDER, notebooks run by that kernel: it imports the package from there, reaches no other machine, and
notes in FOLDER/runs.jsonl in which folder it was started and what lay there. Records of this machine stay those of the
repository. `make book` runs every chapter so, in an empty folder; what fails there would fail for a reader.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# For processes that find the package there, as sitecustomize.py.
ALONE = """
import json, os, socket, sys
_connect = socket.socket.connect
def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
        raise OSError("no network here")
    return _connect(self, address)
socket.socket.connect = connect
if "ipykernel_launcher" in sys.orig_argv:
    with open(os.path.join(os.path.dirname(__file__), "..", "runs.jsonl"), "a") as file:
        print(json.dumps([os.getcwd(), os.listdir()]), file=file)
"""


def wheel(folder: Path) -> Path:
    """Build a wheel of the tree as it is, in a copy, and return its path in the folder."""
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in listed.splitlines():
        source, target = ROOT / name, folder / "tree" / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.readlink()) if source.is_symlink() else target.write_bytes(source.read_bytes())
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('..'))"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", build], cwd=folder / "tree", env=clean, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def put(found: Path, folder: Path) -> Path:
    """Unpack a wheel into a new folder and return its `site`; a kernel that imports from there is beside it."""
    site, kernel = folder / "site", folder / "kernels" / "python3"
    with zipfile.ZipFile(found) as packed:
        packed.extractall(site)
    (site / "sitecustomize.py").write_text(ALONE)
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about = {"argv": command, "display_name": "Python 3", "language": "python"}
    about["env"] = {"PYTHONPATH": str(site), "UNIDD_RUNS": str(ROOT / "_runs")}
    (kernel / "kernel.json").write_text(json.dumps(about))
    return site


if __name__ == "__main__":
    home = Path(sys.argv[1]).resolve()
    shutil.rmtree(home, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        put(wheel(Path(scratch)), home)
