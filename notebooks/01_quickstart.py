# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Quickstart: five thousand patches in ten images
#
# Dataset distillation asks for a handful of synthetic images on which a network learns what it would have learnt from
# all of the data. This page does it once, from real photographs to a trained student, in under a minute on a laptop.
#
# ## Real images
#
# `photos` are 32×32 patches of ten photographs that scikit-image ships, one class a photograph. Training and test
# patches come from disjoint regions, so a student cannot win by remembering pixels. Nothing is downloaded.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %%
import unidd

data = unidd.load("photos")
print(f"{len(data.train)} training and {len(data.test)} test images, {data.channels}×{data.size}×{data.size}")

# %%
from unidd.book import plots
from unidd.data.synthetic import SyntheticSet

some = SyntheticSet.from_real(data, ipc=8, seed=1)
plots.image_grid(some.images, some.labels, some.class_names)

# %% [markdown]
# ## A teacher
#
# Distillation reads the data through a trained network. Its accuracy on test images is the ceiling to look up to.

# %%
teacher = unidd.teach(data)
print(f"teacher trained on all {len(data.train)} images: {teacher.accuracy:.1f} % of the test images")

# %% [markdown]
# ## Distill
#
# One image per class (IPC 1). Each starts as a real patch; then gradient descent changes its pixels until the
# statistics of the network's features match those of the 5,000 real images, as seen through a spectral filter. The
# bar shows β, which sets that filter, and the loss terms.

# %%
distilled = unidd.distill(data, "cfm", ipc=1, seed=0, teacher=teacher)
start = SyntheticSet.from_real(data, ipc=1, seed=0)

# %%
import torch

both, rows = torch.cat([start.images, distilled.images]), torch.arange(2).repeat_interleave(len(start))
plots.image_grid(both, rows, ("start", "distilled"), alt="The ten real patches, and below them what became of them")

# %% [markdown]
# ## Does a network learn from them?
#
# A fresh student is trained on the ten images alone and tested on real ones. The ten *real* images we started from,
# under the same protocol, are the baseline every method has to beat: beating chance is no achievement.

# %%
task = {"regimes": ("hard", "online-soft"), "seeds": [0], "teacher": teacher}
learnt, baseline = unidd.evaluate(distilled, data, **task), unidd.evaluate(start, data, **task)
for regime in learnt:
    print(f"{regime} labels: distilled {learnt[regime][0]:.1f} %, random real {baseline[regime][0]:.1f} %")

# %% [markdown]
# One seed is an anecdote. The [results](12_results) page repeats this over methods, seeds and numbers of images, and
# says in words whether the differences exceed the error bars.
#
# ## Keep them
#
# A synthetic set is of use to others only with its class names, normalisation, configuration and teacher; `save`
# writes them all, and `load` checks that card and images belong together.

# %%
import tempfile

with tempfile.TemporaryDirectory() as folder:
    distilled.save(folder)
    again = SyntheticSet.load(folder)
assert torch.equal(again.images, distilled.images)
sorted(again.config)[:6], again.class_names[:3]

# %% [markdown]
# From the shell, the same is one line each:
#
# ```bash
# unidd distill cfm --dataset photos --ipc 1 --out distilled
# unidd evaluate distilled
# ```
#
# Your own images go in as a folder, `unidd distill cfm --dataset path/to/folder`; see [data](../book/data).
# What the filter does to a spectrum is the subject of [the next chapter](03_filters).
