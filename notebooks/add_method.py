# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # How to add a method
#
# A method is one file, and no other is touched. In the folder `unidd/methods` it is found by its name; anywhere else,
# by the dotted path of its module. The command line, `unidd plan`, the batch that makes a whole table, and the tables
# then know it.
#
# This page writes one and runs it. At one image a class it is distribution matching ({term}`DM`) in its simplest form:
# each image is moved until a trained network gives it the mean logits of its class. With more images it asks that of
# each of them, where DM asks it of their mean. (Logits are the network's outputs, a score for each class.)
#
# ## The file
#
# ```{literalinclude} ../book/examples/mean_matching.py
# :language: python
# ```
#
# It has two parts.
#
# **The method** is a frozen dataclass: its fields are hyper-parameters, with the paper's names, and nothing else. An
# annotation such as `Positive` says which values are in range, and the check is made for you. `source` cites the paper;
# `acts_as` says which {term}`filter` the method is in this book's view. `descent` says how the pixels descend: steps,
# learning rate, and if need be another optimiser or schedule. `objective` looks at the real data once, and returns the
# objective that is descended.
#
# **The objective** has a loss and its gradient, one step at a time:
#
# | call | when | what |
# |---|---|---|
# | `begin(batch)` | before a {term}`batch`, or as a run goes on within it | `batch` has labels, {term}`round`, group |
# | `step(x, t, generator)` | at every step | returns a `Step`: terms by name, and the gradient in `x` |
# | `end()` | after the last step | if there is something to close |
# | `state()`, `restore(state)` | when a run is kept, and when it goes on | what is carried from batch to batch |
#
# Keep three rules, and the engine does the rest:
#
# - Random numbers come from `generator` alone, so that the seed decides.
# - What changes from step to step is in `state()`, so that a run that was killed goes on with the same bits.
# - Nothing in a step waits for the device, neither `.item()` nor printing, so that a GPU is kept busy. The engine looks
#   at the terms now and then.
#
# Several processes can share a batch. A term of which each has only its part, such as a sum over its images, is named
# in `partial`: the engine then sums the parts before it shows the term.
#
# ## Run it

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import sys
from pathlib import Path

import unidd

# A module in the working folder is found without this.
example = Path(unidd.__file__).parent / "book" / "source" / "book" / "examples" / "mean_matching.py"
if not (example.exists() or Path(example.name).exists()):
    advice = "beside this notebook, or clone the project"
    raise FileNotFoundError(f"save the file above as {example.name} {advice}")
sys.path.append(str(example.parent))

# %%
data = unidd.load("digits")
for steps in (1, 100):
    made = unidd.distill(data, "mean_matching", ipc=1, steps=steps, progress=False)
    (reached,) = made.history  # one entry a round, as it was at the last step
    print(f"{steps:3d} steps: distance {reached['distance']:.2f}")

# %% [markdown]
# From the shell, in the folder where the file lies:
#
# ```bash
# unidd distill mean_matching --help
# unidd plan mean_matching --dataset digits --ipc 10
# unidd distill mean_matching --dataset digits --ipc 10 --lr 0.1
# ```
#
# In a suite of the batch, or as a parameter of the [benchmark](benchmark) notebook, `method: mean_matching` is all. It
# is judged there like any other: each seed is a {term}`repetition` with its own teacher, its own images and a
# {term}`student` trained from scratch. Here is its test accuracy in % under two {term}`label regimes <label regime>`,
# beside that of random real images:

# %%
seeds = [0, 1]
for method in ("mean_matching", "random"):
    cell = unidd.Cell.of(method=method, dataset="digits", ipc=1, seeds=seeds)
    for regime, found in unidd.run(cell).accuracy.items():
        print(f"{method:>13}, {regime} labels: {', '.join(f'{x:.1f}' for x in found)}")

# %% [markdown]
# Each line has two numbers, n = 2: no verdict. A verdict takes five repetitions and an interval, see the
# [results](12_results).

# %% [markdown]
# ## A method that only chooses
#
# One that does not descend derives from `unidd.methods.Method` and has `distill(data, teacher, run)` alone, which
# returns a `SyntheticSet`: see {py:mod}`unidd.methods.random`, which is short. `needs_teacher` and `has_ipc` say
# whether it takes a teacher and an {term}`IPC`, `seeded` whether the seed decides anything; `role` says what it is in a
# table: a method, a {term}`coreset`, a baseline or a ceiling. A rule that chooses class by class derives from
# `unidd.methods._choosing.Choosing`, or from `Scoring` beside it if a number for each image decides: see
# {py:mod}`unidd.methods.selection`.
#
# Work that is neither descent nor the teacher's training, such as networks of its own or a look at all real images, is
# said by `parts(data, teacher, run)`, so that `unidd plan` can count it: each has a name, a number, and a `trial` that
# does a little of it and is timed. What an objective does when it is made is timed without.
#
# `view(images, generator, real)` returns what the method sees of images in one draw: by default the images as they are.
# A method needs it if its loss is of augmented images, such as crops, or draws of DSA; `real` is there for those that
# augment the synthetic images alone. It is for measurements ({py:mod}`unidd.bench.effective`), which else would look at
# pixels that the method never saw; no step calls it for you.
#
# ## The contract
#
# `tests/methods/test_contract.py` runs over every file of the folder, and over the example above. A method keeps it or
# is not done: the seed alone decides; killed and resumed, it gives the same bits; pixels stay in [0, 1]; its own loss
# falls; the teacher is untouched; a bad hyper-parameter is one clear error that names it; the steps, trainings and
# looks at real images that `unidd plan` counts are those of a run.
#
# ```bash
# python -m pytest tests/methods/test_contract.py -k mean_matching
# ```
