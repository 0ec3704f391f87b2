# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Results
#
# Every number on this page is read from a result record: the published ones in `results/`, which the package ships,
# and those of your own machine in `_runs/`, which `make reproduce` fills. A suite that was not run shows no number.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %%
from IPython.display import Markdown, display

from unidd.bench import records, tables
from unidd.book import plots

published = records.load_records(records.published())
own = records.load_records(records.own())
print(f"{len(published)} published records, {len(own)} of this machine")

# %% [markdown]
# ## On this machine
#
# The embedded suite distills `photos`, patches of ten photographs, in a few minutes on two CPU cores. Each seed is a
# whole repetition: other starting images, another distillation, another student.

# %%
table = tables.table([record for record in own or published if record.suite == "embedded"])
tables.pretty(table)

# %% [markdown]
# Accuracy is that of the *last* epoch on the test images, mean ± standard deviation over n seeds. **HLR**, hard-label
# recovery, is what is missing to training on all images with hard labels: lower is better. **IOR**, improvement over
# random, is the gain over random real images under the same protocol, paired by seed: below 0, the method does worse
# than choosing images blindly. In words, worked out from the numbers (the difference in brackets; error bars are one
# standard deviation, and count as apart when they do not overlap):

# %%
display(Markdown("\n".join(f"- {sentence}" for sentence in tables.verdicts(table))))
sentences = tables.verdicts(table, "classification", "classification alone")
display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))

# %%
plots.accuracy(table, regime="hard")

# %%
plots.accuracy(table, regime="online-soft")

# %% [markdown]
# ## What the images look like
#
# One image per class, a row for each method, from the last seed. `random` is where the others started.

# %%
import torch

from unidd.data.synthetic import SyntheticSet

cards = sorted((records.own() / "embedded").glob("*-ipc1/card.json"))
sets = {card.parent.name.removesuffix("-ipc1"): SyntheticSet.load(card.parent) for card in cards}
if sets:
    rows = torch.arange(len(sets)).repeat_interleave(len(data_names := next(iter(sets.values())).class_names))
    images = torch.cat([one.images for one in sets.values()])
    classes = ", ".join(data_names)
    display(plots.image_grid(images, rows, tuple(sets), alt=f"Images of {classes} by {', '.join(sets)}"))
else:
    display(Markdown("No images on this machine yet: run `make reproduce`."))

# %% [markdown]
# ## Published runs
#
# The same table from the records kept with the project, every suite that was run so far.

# %%
published_table = tables.table(published)
tables.pretty(published_table)

# %%
display(Markdown("\n".join(f"- {sentence}" for sentence in tables.verdicts(published_table))))

# %% [markdown]
# ## Where and with what

# %%
tables.runs([*own, *published])
