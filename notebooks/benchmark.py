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
# This notebook is what the batch runs: one method at one number of images per class (IPC), repeated over seeds.
# Each seed is a whole repetition, with other starting images, another distillation and another student, because
# the choice of the starting images alone can move the accuracy by more than the method does.
#
# Run it yourself with other parameters:
#
# ```bash
# papermill notebooks/benchmark.ipynb out.ipynb -p method lfm -p ipc 10 -p budget embedded
# ```
#
# A parameter that does not exist is an error, and so is a value that does not.

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
model = "convnet"  # architecture of teacher and students
method = "cfm"  # a name that `unidd methods` lists, or the dotted path of a module of yours
ipc = 1  # images per class; None for a method that takes all images
seeds = [0, 1]
budget = "smoke"  # smoke, embedded, paper or large
suite = "local"
settings = {}  # hyper-parameters of the method, such as {"beta": 0.5}
out = ""  # file for the record; nothing is written if empty

# %%
from unidd import Cell, SyntheticSet

cell = Cell.from_namespace(globals(), beside=("out",))
cell

# %% [markdown]
# ## Distill, train students, test
#
# The teacher is trained once for a data set and budget, and found again by the hash of both. Students see hard labels,
# or the teacher's soft labels on every augmented image (online soft). What counts is the accuracy at the *last* epoch:
# the test images choose nothing.

# %%
import tempfile
from pathlib import Path
from statistics import mean

from unidd.bench.cell import run
from unidd.bench.machine import keep_memory
from unidd.bench.records import save_record
from unidd.files import check_writable

keep_memory()
if out:
    check_writable(Path(out).parent)
with tempfile.TemporaryDirectory() as scratch:
    sets = Path(out).with_suffix("") if out and cell.method.has_ipc else Path(scratch)
    record = run(cell, sets=sets)
    shown = SyntheticSet.load(sets)
print(f"teacher: {record.teacher['accuracy']:.1f} % of the test images")
{regime: f"{mean(values):.1f} % over {len(values)} seeds" for regime, values in record.accuracy.items()}

# %% [markdown]
# ## The images
#
# Those of the last seed, up to ten of each class.

# %%
from unidd.book import plots

first = shown.labels.argsort(stable=True)[:100]
plots.image_grid(shown.images[first], shown.labels[first], shown.class_names)

# %% [markdown]
# ## The record
#
# Numbers in this book come from records such as this one, and from nowhere else.

# %%
if out:
    save_record(record, out)
record.provenance
