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
# A few images a class: is a network better taught by distilled ones, or by real ones that were drawn blindly? The
# digits of the [first page](../book/index) are the easy case, a linear learner. This page has the hard one: `photos`
# and a convolutional network, trained from scratch.
#
# Nothing is trained here. Every number follows from result records, and there are two sorts: the *published* ones,
# which came with the package, and those of *this machine*, which `make reproduce` makes before it builds this page.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import pandas as pd
import torch
from IPython.display import Markdown, display

from unidd.bench import records, tables
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.data.synthetic import SyntheticSet


def listed(sentences):
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))


def once(values):
    return ", ".join(sorted(set(map(str, values))))


# %%
stored = records.load_records(records.published())
published = [record for record in stored if record.suite == "photos"]
table = tables.table(published)
n = min(table.n)

# %% tags=["remove-input"]
made = [record.provenance for record in published]
taught = sorted(card["accuracy"] for record in published for card in record.teachers)
whole = table[table.role == "ceiling"].iloc[0]
Markdown(
    f"The published ones: {len(published)} records of {n} repetitions each, made on "
    f"{once(p['date'] for p in made)} on {once(p['device'] for p in made)} with torch "
    f"{once(p['torch'] for p in made)}. Their teachers reach {taught[0]:.1f} to {taught[-1]:.1f} % of the test images, "
    f"a student of all real images {whole['mean']:.1f} ± {whole['std']:.1f} %, and guessing 10 %. (The student is "
    "trained as all students are here, with more augmentation than a teacher, and for a few epochs only: it may stay "
    "below its teacher.)"
)

# %% [markdown]
# ## What was asked
#
# - A **repetition** has everything its own: a teacher, starting images, a distillation, a student. All methods share
#   the teachers and the starting images of a repetition, so that they are compared in pairs.
# - What counts is the student's accuracy on the test images at its last epoch, under a {term}`label regime`: the class
#   of an image (*hard*), or the teacher's answer to every augmented view of it (*online soft*).
# - `random` is what is to be beaten: real images, drawn blindly. `classification` matches nothing, and shows what
#   matching adds; `full` is all real images, the ceiling. LFM, HFM and CFM match the inputs of every convolution
#   ($\Psi$ of centred features, as {ref}`defined <def-correlations>`) through the linear filter, through ridge at one
#   β, and through ridge whose β falls from {term}`round` to round. At one image a class ({term}`IPC` 1) there is one
#   round, and CFM is HFM: the same images twice.
# - The {term}`budget` is small, a hundred steps a round on a narrow network, so that a laptop can repeat all of it. The
#   numbers say how the methods compare *here*, and nothing about the published tables.
#
# A method is called better or worse only if there are at least five repetitions, and the 95 % interval of the paired
# difference (Student's t) leaves out zero.
#
# ## Who beats random images

# %% tags=["remove-input"]
decided = table[table.ior_low.gt(0) | table.ior_high.lt(0)] if n >= tables.ENOUGH else table[:0]
better = decided[decided.ior > 0]
winners = [f"{row.method} ({row.regime.replace('-', ' ')} labels, IPC {row.ipc:.0f})" for row in better.itertuples()]
display(Markdown(f"By this rule: **{', '.join(winners) or 'no method is shown to beat them'}**."))
Captioned(
    tables.overview(table).rename(columns=lambda name: name.removeprefix("online ")),
    f"▲ marks a method that beats random real images ({len(better)} of {table.ior.count()} comparisons), ▼ one that "
    f"loses to them ({len(decided) - len(better)}). Without a mark the two were not told apart. "
    f"Soft labels are online ones. Test accuracy in %, mean ± standard deviation, n = {n}.",
    "tab-results",
)

# %% [markdown]
# The same in words, worked out from the records. In brackets: the paired difference in points, and its 95 % interval.

# %% tags=["remove-input"]
listed(tables.verdicts(table))
Markdown(
    f"These are {table.ior.count()} comparisons (those of CFM and of HFM at one image a class are the same): where "
    "nothing differed at all, about one in twenty intervals would leave out zero by chance. The intervals reach "
    f"{((table.ior_high - table.ior_low) / 2).median():.0f} points to either side (the median): most gains "
    f"smaller than that go unseen with {n} repetitions."
)

# %% tags=["hide-input"]
Captioned(
    plots.differences(table, "hard"),
    "With hard labels: a small ring is a repetition, the large marker their mean, the bar its 95 % interval. A bar "
    "that reaches over zero decides nothing.",
    "fig-gains-hard",
)

# %% tags=["hide-input"]
Captioned(
    plots.differences(table, "online-soft"),
    "The same with online soft labels, where a teacher is there to answer for every view of a random image too.",
    "fig-gains-soft",
)

# %% [markdown]
# ## What matching adds, and what loses
#
# Two more baselines. The first is the cross-entropy alone, `classification`: a method that is not better has not been
# shown to gain by matching. The second is HFM: where there is more than one round, is it better to let β fall, as CFM
# does, than to keep it?

# %% tags=["remove-input"]
listed(tables.verdicts(table, "classification", "the cross-entropy alone"))
high = table[table.method.isin(["hfm", "cfm"]) & (table.ipc > 1)]
listed(tables.verdicts(high, "hfm", "one fixed β, HFM,"))

# %% tags=["remove-input"]
losing = decided[decided.ior < 0].method.value_counts()
lost = [f"`{method}` in {count} of {sum(table.method == method)}" for method, count in losing.items()]
Markdown(
    f"Random real images win over {', '.join(lost)} comparisons. A set can be worse than the images it started from: "
    "the descent follows the teacher, and what pleases a trained network need not teach a new one."
    if lost
    else "No method loses to random real images in any comparison."
)

# %% [markdown]
# ## What the images look like
#
# One image a class, a row for each method, of the last repetition on this machine. `random` is where the others
# started.

# %% tags=["remove-input"]
home = records.own() / "embedded"
cards = sorted(home.glob("*-ipc1/card.json"))
sets = {card.parent.name.removesuffix("-ipc1"): SyntheticSet.load(card.parent) for card in cards}
if sets:
    names = next(iter(sets.values())).class_names
    rows = torch.arange(len(sets)).repeat_interleave(len(names))
    images = torch.cat([one.images for one in sets.values()])
    alt = f"Images of {', '.join(names)} by {', '.join(sets)}"
    seen = Captioned(
        plots.image_grid(images, rows, tuple(sets), alt=alt),
        f"Ten images each, of {', '.join(names)}. Compare a column with its place in the row of random images: what "
        "the descent has changed is what a method writes.",
        "fig-results-images",
    )
else:
    seen = Markdown("No images on this machine yet: run `make reproduce`.")
seen

# %% [markdown]
# ## On this machine
#
# `make reproduce` runs the same cells over three repetitions, in a few minutes; `make batch SUITE=photos` runs the
# published ones again. Another machine rounds otherwise, so that even equal seeds train other teachers and end in other
# numbers: compare the spread, not the digit.

# %% tags=["remove-input"]
own = records.load_records(records.own())
mine = tables.table([record for record in own if record.suite == "embedded"])
if len(mine):
    columns = {f"published, n = {n}": table, f"this machine, n = {min(mine.n)}": mine}
    accuracy = {name: tables.pretty(frame)["accuracy (%)"] for name, frame in columns.items()}
    dates = once(record.provenance["date"] for record in own if record.suite == "embedded")
    few = min(mine.n) < tables.ENOUGH
    beside = Captioned(
        pd.concat(accuracy, axis=1).dropna().droplevel("data"),
        f"Test accuracy in %, the published records beside those made here on {dates}."
        + (f" From here, n = {min(mine.n)}: no verdict." if few else ""),
        "tab-beside",
    )
else:
    beside = Markdown("No records of this machine yet: run `make reproduce`.")
beside

# %% tags=["remove-input"]
for suite, rows in tables.table([r for r in own if r.suite != "embedded"]).groupby("suite"):
    about = f"The suite {suite} on this machine, n = {min(rows.n)}."
    display(Captioned(tables.pretty(rows), about, f"tab-own-{suite}"))
    listed(tables.verdicts(rows))

# %% [markdown]
# ## All numbers
#
# {term}`HLR` is how far a set falls short of training on all images, both with hard labels: lower is better.
# {term}`IOR` is the gain over random real images under the same labels, with its 95 % interval.

# %% tags=["remove-input"]
Captioned(
    tables.pretty(table).droplevel("data").drop(columns="n"),
    f"Every published cell, n = {n}. Look along a line: a small HLR with an interval of the IOR above zero is what "
    "distillation is for.",
    "tab-results-all",
)

# %% tags=["remove-input"]
Captioned(
    tables.runs([*published, *own]),
    "Where and with what: each repetition's teacher, seconds by the clock of a machine that may have had other work, "
    "device and versions. A line is one file.",
    "tab-runs",
)
