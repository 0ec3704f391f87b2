# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # One cell of the table
#
# `make reproduce` runs this notebook once for each {term}`cell`: one method at one number of images per class
# ({term}`IPC`), over several seeds. Each seed is a whole {term}`repetition`: another teacher, other starting images,
# another distillation, another student. Repetitions share nothing, since the accuracy moves with each of the four.
#
# Here it runs one repetition, to be quick. Run it yourself with other parameters, in a clone after `make setup`:
#
# ```bash
# .venv/bin/papermill notebooks/benchmark.ipynb out.ipynb -p method lfm -p ipc 10 -y "seeds: [0, 1, 2, 3, 4]"
# ```
#
# A parameter that does not exist is an error, and so is a value that it cannot have.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["parameters"]
dataset = "photos"  # a name, or a folder with train/<class>/ and test/<class>/
size = None  # side of the images of a folder in pixels; None: as they are
channels = None  # 1 (grey) or 3 (colour); None: as they are
hold_out = 0.0  # part of a folder without a test split to test on, such as 0.1
classes = []  # names or numbers of those to take; empty: all
small = "refuse"  # or "cap": a class with fewer than ipc images gives all it has
model = "convnet"  # architecture of the teacher, and of the students
student_model = None  # architecture of the students, if it is another
method = "cfm"  # a name that `unidd methods` lists, or a module of yours
ipc = 1  # images per class; None for a method that takes all images
seeds = [0]  # a repetition each
budget = "embedded"  # smoke, embedded, narrow, brief, paper or large
suite = "local"
protocol = "unidd"  # or students as the authors of dc, dsa, mtt, frepo, sre2l or rded train them
regimes = ["hard", "online-soft"]  # and fixed-soft; left so, those of the protocol
settings = {}  # hyper-parameters of the method, such as {"beta": 0.5}
teacher = None  # a file of weights, the teacher of all repetitions; None: each trains its own
normalisation = None  # mean and std that it was trained with: cifar10, cifar100, tiny-imagenet, imagenet or data
statistics = None  # of the real side, released with that teacher; None: one pass over the real images
device = "cpu"  # or cuda, mps
out = ""  # file for the record; nothing is written if empty

# %%
from unidd import Cell, SyntheticSet

cell = Cell.from_namespace(globals(), beside=("out", "device"))
cell

# %% [markdown]
# ## Distill, train students, test
#
# A teacher is trained once for a data set, an architecture, a {term}`budget` and a seed, and found again by the hash of
# the four; so the cells of a suite compare methods under the same teachers. A suite may also name a teacher that others
# have trained; all repetitions then share it, and no verdict follows from them. Students see hard labels, or the
# teacher's soft labels: one stored with each image (fixed soft), or of every augmented view (online soft). What counts
# is the accuracy at the *last* epoch: the test images choose nothing.
#
# A cell that is cut off goes on after the last repetition that was done, and from the state of a distillation that was
# not; both lie beside `out` until the record is there.

# %% tags=["hide-input"]
import shutil
import tempfile
from pathlib import Path

from unidd.bench import tables
from unidd.bench.cell import run
from unidd.bench.machine import keep_memory
from unidd.bench.records import save_record
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.files import check_writable

# %%
keep_memory()
if out:
    check_writable(Path(out).parent)
data = cell.source.load(device=device)
with tempfile.TemporaryDirectory() as scratch:
    sets = Path(out).with_suffix("") if out else Path(scratch)
    kept = Path(out).with_suffix(".state") if out else None
    record = run(cell, data, sets=sets if cell.method.has_ipc else None, kept=kept)
    shown = SyntheticSet.load(sets) if cell.method.has_ipc else SyntheticSet.from_real(data, 1)

# %% tags=["hide-input"]
n, chance = len(record.seeds), 100 / len(shown.class_names)
verdict = "" if n >= tables.ENOUGH else f" n = {n}: no verdict."
Captioned(
    tables.pretty(tables.table([record])).droplevel("data")[["n", "accuracy (%)"]],
    f"What the students of {record.method} reach on the test images of {dataset}, "
    f"where guessing reaches {chance:.0f} %.{verdict}",
    "tab-cell",
)

# %% [markdown]
# ## The images
#
# Those of the last seed, up to ten of each class.

# %%
first = shown.labels.argsort(stable=True)[:100]
seen = f"{len(shown)} images by {record.method}"
if not cell.method.has_ipc:
    seen = "all images, of which one of each class stands here"
Captioned(
    plots.image_grid(shown.images[first], shown.labels[first], shown.class_names),
    f"What the students saw of {dataset}: {seen}.",
    "fig-cell-images",
)

# %% [markdown]
# ## The record
#
# The numbers of the [results](12_results) come from records such as this one, and from nowhere else. It names each
# repetition's teacher, by the hash of its weights, and where all of it was computed.

# %%
if out:
    save_record(record, out)
    shutil.rmtree(kept, ignore_errors=True)
{"teachers": record.teachers, **record.provenance}
