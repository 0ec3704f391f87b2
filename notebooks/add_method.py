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
# by the dotted path of its module. The command line, the batch, `unidd plan`, the tables and the contract test then
# know it.
#
# This page writes one and runs it. It is distribution matching in its simplest form: the mean logits that a trained
# network gives a class are matched, with no filter.
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
# annotation such as `Positive` says what is in range, and the check is made for you. `source` cites the paper,
# `acts_as` says which filter UniDD takes it for. `descent` says how pixels descend: steps, learning rate, and if need
# be another optimiser or schedule. `objective` looks at the data once, and makes what they descend on.
#
# **The objective** has a loss and its gradient, one step at a time:
#
# | call | when | what |
# |---|---|---|
# | `begin(batch)` | before a batch, also in its middle | labels, round and class group are in `batch` |
# | `step(x, t, generator)` | at every step | returns a `Step`: terms by name, and the gradient in `x` |
# | `end()` | after the last step | if there is something to close |
# | `state()`, `restore(state)` | when a run is kept or goes on | what it has learnt from batch to batch |
#
# Three rules make all the rest work. Random numbers come from `generator` alone. What changes from step to step is in
# `state()`. Nothing in a step waits for the device: no `.item()`, no printing; the engine looks at the terms now and
# then.
#
# A term that every process has a part of is named in `partial`, so that it is summed when it is shown.
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
made = unidd.distill(data, "mean_matching", ipc=1, steps=100, progress=False)
print(made.config)
print([f"{entry['distance']:.2f}" for entry in made.history])

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
# is judged there like any other:

# %%
cell = unidd.Cell.of(method="mean_matching", dataset="digits", ipc=1, seeds=[0, 1])
record = unidd.run(cell)
accuracies = record.accuracy.items()
{regime: [round(value, 1) for value in values] for regime, values in accuracies}

# %% [markdown]
# ## A method that only chooses
#
# One that does not descend derives from `unidd.methods.Method` and has `distill(data, teacher, run)` alone, which
# returns a `SyntheticSet`: see `unidd/methods/random.py`, of 25 lines. `needs_teacher`, `has_ipc` and `role` say what
# it is.
#
# ## The contract
#
# `tests/methods/test_contract.py` runs over every file of the folder, and over the example above. A method keeps it or
# is not done: the seed alone decides; killed and resumed, it gives the same bits; pixels stay in [0, 1]; its own loss
# falls; the teacher is untouched; a bad hyper-parameter is one clear error that names it.
#
# ```bash
# python -m pytest tests/methods/test_contract.py -k mean_matching
# ```
