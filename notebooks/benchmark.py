# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
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

# %% tags=["parameters"]
dataset = "photos"  # a name, or a folder with train/<class>/ and test/<class>/
model = "convnet"  # architecture of teacher and students
method = "cfm"  # random, classification, lfm, hfm, cfm, relative; or full
ipc = 1  # images per class; None for full
seeds = [0, 1]
budget = "smoke"  # smoke, embedded, paper or large
suite = "local"
settings = {}  # changes to the recipe, such as {"beta": 0.5}
out = ""  # file for the record; nothing is written if empty

# %%
from unidd.bench.configs import Benchmark

benchmark = Benchmark.from_namespace(globals(), beside=("out",))
benchmark

# %% [markdown]
# ## Data and teacher
#
# The teacher is trained once for a data set and budget, and found again by the hash of both.

# %%
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from unidd.bench.machine import keep_memory
from unidd.bench.records import Record, provenance, save_record
from unidd.data.datasets import load
from unidd.files import check_writable

keep_memory()
if out:
    check_writable(Path(out).parent)
data = load(benchmark.dataset)
benchmark.check(data)
teacher = benchmark.teacher(data, progress=False)
print(f"{data.name}: {len(data.train)} training and {len(data.test)} test images of {data.classes} classes")
print(f"teacher: {teacher.accuracy:.1f} % of the test images")

# %% [markdown]
# ## Distil, train students, test
#
# Students see hard labels, or the teacher's soft labels on every augmented image. What counts is the accuracy at the
# *last* epoch: the test images choose nothing.

# %%
accuracy = {protocol: [] for protocol in benchmark.protocols}
seconds = {"distil": 0.0, "students": 0.0}
for seed in benchmark.seeds:
    start = time.perf_counter()
    synthetic = benchmark.distil(seed, data, teacher, progress=False)
    seconds["distil"] += time.perf_counter() - start

    start = time.perf_counter()
    for protocol, value in benchmark.accuracies(synthetic, data, teacher, seed, progress=False).items():
        accuracy[protocol].append(value)
    seconds["students"] += time.perf_counter() - start

{protocol: f"{mean(values):.1f} % over {len(values)} seeds" for protocol, values in accuracy.items()}

# %% [markdown]
# ## The images
#
# Those of the last seed, up to ten of each class.

# %%
from unidd.book import plots

shown = synthetic.labels.argsort(stable=True)[:100]
plots.image_grid(synthetic.images[shown], synthetic.labels[shown], synthetic.class_names)

# %% [markdown]
# ## The record
#
# Numbers in this book come from records such as this one, and from nowhere else.

# %%
record = Record(
    suite=benchmark.suite,
    dataset=data.name,
    model=benchmark.model,
    method=benchmark.method,
    ipc=benchmark.ipc,
    seeds=list(benchmark.seeds),
    accuracy=accuracy,
    config={
        "benchmark": asdict(benchmark),
        "distillation": asdict(benchmark.distillation(seed, data)) if benchmark.ipc else None,
        "student": asdict(benchmark.student(data)),
    },
    teacher=teacher.card(),
    seconds={phase: round(value, 1) for phase, value in seconds.items()},
    provenance=provenance(data.device),
)
if out:
    save_record(record, out)
    if benchmark.ipc:
        synthetic.save(Path(out).with_suffix(""))
record.provenance
