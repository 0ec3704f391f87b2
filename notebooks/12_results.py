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
# A few images a class: is a network better taught by distilled ones, or by real ones that were drawn blindly, or chosen
# by a rule? The digits of the [first page](../book/index) are the easy case, a linear learner. This page has the hard
# one: a convolutional network, trained from scratch.
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

from unidd.bench import paper, records, tables
from unidd.bench.cell import BUDGETS
from unidd.bench.words import plus_minus
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.data.synthetic import SyntheticSet

published = records.load_records(records.published())
own = records.load_records(records.own())


def listed(sentences):
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))


def once(values):
    return ", ".join(sorted(set(map(str, values))))


def kind(record):
    """What a record is on this page: its suite, or one of two other sections."""
    if record.protocol:
        return "protocols"
    evaluated = "set" in record.config or record.suite.startswith("cross")
    return "across" if evaluated else record.suite


def suite(name, stored=published):
    return [record for record in stored if kind(record) == name]


def not_run(command):
    none = "**Not run.** No records came with the package."
    display(Markdown(f"{none} `{command}` makes them, and they are then shown below."))


# %% tags=["hide-input"]
def about(found, rows):
    """Where a suite was run, with which teachers, and how much chance is in it."""
    made = [record.provenance for record in found]
    taught = sorted(card["accuracy"] for record in found for card in record.teachers)
    words = (
        f"{len(found)} records, n = {once(rows.n)}, made on "
        f"{once(p['date'] for p in made)} on {once(p['device'] for p in made)} "
        f"with torch {once(p['torch'] for p in made)}."
    )
    if taught:
        least, most = f"{taught[0]:.1f}", f"{taught[-1]:.1f}"
        words += f" Teachers reach {least} to {most} %." if least != most else ""
        words += f" The teacher reaches {most} %." if least == most else ""
    if max(rows.n) < tables.ENOUGH:
        return f"{words} Too few repetitions for a verdict, and for a mark in the table."
    if not rows.ior.count():
        return words
    half = ((rows.ior_high - rows.ior_low) / 2).median()
    return (
        f"{words} These are {rows.ior.count()} comparisons with random real images: "
        "where nothing differed at all, about one in twenty intervals would leave out "
        f"zero by chance. The intervals reach {half:.0f} points to either side (the "
        "median): most smaller gains go unseen."
    )


def gains(rows, regime, name, ipc=None):
    display(Captioned(*plots.captioned_differences(rows, regime, ipc), f"fig-gains-{name}-{regime}"))


def show(name, stored=published, where=""):
    """A suite: its records, who wins, all means in one table, and the gains."""
    found = suite(name, stored)
    if not found:
        not_run(f"make batch SUITE={name}")
        return
    rows = tables.table(found)
    display(Markdown(about(found, rows)))
    listed(tables.standings(rows))
    marks = "◆ is the best coreset. " * any(rows.best)
    if max(rows.n) >= tables.ENOUGH:
        marks += (
            "▲ beats random real images, ▼ loses to them; without a mark the two were "
            f"not told apart. {'★ beats the best coreset. ' * any(rows.best)}"
        )
    spread = "one repetition" if max(rows.n) == 1 else f"mean ± standard deviation, n = {once(rows.n)}"
    caption = f"{once(rows.dataset)}: test accuracy in %, {spread}. {marks}".strip()
    display(Captioned(tables.overview(rows), caption, f"tab-{where}{name}"))
    measured = rows[rows.ior_low.notna()]
    if rows.method.nunique() < 12:
        for regime in measured.regime.unique():
            gains(rows, regime, where + name)
    elif len(measured):  # one of many bars, where most methods can differ
        gains(rows, "hard", where + name, int(measured.ipc.max()))


def numbers(name, stored=published, where=""):
    """All numbers of a suite, for a fold."""
    if len(rows := tables.table(suite(name, stored))):
        shown = tables.pretty(rows).droplevel("data").drop(columns="n")
        caption = f"Every cell of the suite {name}, n = {once(rows.n)}."
        display(Captioned(shown, caption, f"tab-{where}{name}-all"))


# %% [markdown]
# ## What was asked
#
# - A **repetition** has everything its own: a teacher, starting images, a distillation, a student. All methods share
#   the teacher of a repetition, and those that begin with real images share these, so that they are compared in pairs.
#   (DC, SRe2L and CDA begin with noise, RDED and FADRM with patches.)
# - What counts is the student's accuracy on the test images at its last epoch, under a {term}`label regime`: the class
#   of an image (*hard*), one answer of the teacher to each image (*fixed soft*; of `frepo` and `kip`, the label learnt
#   with the image), or the teacher's answer to every augmented view (*online soft*), for which it must be there.
# - `random` is what is to be beaten: real images, drawn blindly. A {term}`coreset` is real images too, chosen by a
#   rule. `full` is all real images, the ceiling with hard labels; it is trained for a few epochs, with the students'
#   augmentation, and may stay below its teacher. Guessing reaches 10 %.
# - The {term}`budget` is small, a hundred steps a round on a narrow network, so that a laptop can repeat all of it. The
#   numbers say how the methods compare *here*, and nothing about the published tables. But for the suites of protocols,
#   `dc` and `dsa` drew a network for every step at any number of images; published for ten is that each is trained for
#   50 epochs between two steps.
#
# A method is called better or worse only if there are at least five repetitions that share nothing (no teacher, no
# experts, no set), and the 95 % interval of the paired difference (Student's t) leaves out zero.
#
# **The best coreset** is the one with the highest mean. It is chosen after the fact, by the test accuracies it is then
# compared by, and that favours it: *better than the best coreset* is a strict test, *worse* is not, and is not said.
# **The highest mean of a method** is chosen in the same way, and favoured too.
#
# {term}`HLR` is how far a set falls short of training on all images, both with hard labels: lower is better.
# {term}`IOR` is the gain over random real images under the same labels, with its 95 % interval.
#
# ## Three that match spectra, and one that does not, on photographs
#
# `classification` matches nothing, and shows what matching adds. LFM, HFM and CFM match the inputs of every convolution
# ($\Psi$ of centred features, as {ref}`defined <def-correlations>`) through the linear filter, through ridge at one β,
# and through ridge whose β falls from {term}`round` to round. At one image a class ({term}`IPC` 1) there is one round,
# and CFM is HFM: the same images twice.

# %% tags=["remove-input"]
show("photos")

# %% tags=["remove-input", "hide-output"]
numbers("photos")

# %% [markdown]
# What matching adds: a method that is not better than the cross-entropy alone has not been shown to gain by it. And
# where there is more than one round, is it better to let β fall, as CFM does, than to keep it, as HFM does? In
# brackets: the paired difference in points, and its 95 % interval.

# %% tags=["remove-input"]
table = tables.table(suite("photos"))
listed(tables.verdicts(table, "classification", "the cross-entropy alone"))
high = table[table.method.isin(["hfm", "cfm"]) & (table.ipc > 1)]
listed(tables.verdicts(high, "hfm", "one fixed β, HFM,"))
losing = table[table.ior_side == "worse"].method.value_counts()
lost = [f"`{m}` in {k} of {sum(table.method == m)}" for m, k in losing.items()]
Markdown(
    f"Random real images win over {', '.join(lost)} comparisons. A set can be worse "
    "than the images it started from: the descent follows the teacher, and what "
    "pleases a trained network need not teach a new one."
    if lost
    else "No method loses to random real images in any comparison."
)

# %% [markdown]
# ## Every method and coreset, on photographs
#
# The suite `methods`, some ten hours of one core that had a busy neighbour.

# %% tags=["remove-input"]
show("methods")

# %% tags=["remove-input", "hide-output"]
numbers("methods")

# %% [markdown]
# ## The same on digits
#
# The suite `digits`, about an hour: images of 8×8 pixels, and head matching (`head`), whose theory is exact.

# %% tags=["remove-input"]
show("digits")

# %% tags=["remove-input", "hide-output"]
numbers("digits")

# %% [markdown]
# ## A tenth of CIFAR-10
#
# The suite `cifar10-mini`, with the teacher and the statistics that UniDD's authors released: the real side of all
# methods that match statistics of a teacher is the paper's own, that of all 50,000 images. All repetitions share that
# teacher, and with it its chance.

# %% tags=["remove-input"]
show("cifar10-mini")

# %% tags=["remove-input"]
labelled = {
    name: [r for r in suite(name) if r.method == "random" and r.ipc == 10 and "online-soft" in r.accuracy]
    for name in ("cifar10-mini", "soft-cifar10-mini")
}
if all(labelled.values()):
    (released,), (own_teachers,) = labelled.values()
    reached = [plus_minus(r.accuracy["online-soft"]) for r in (released, own_teachers)]
    best = released.teachers[0]["accuracy"]
    taught = plus_minus([card["accuracy"] for card in own_teachers.teachers])
    display(
        Markdown(
            "Two numbers of one name, by two kinds of teacher. Under online "
            f"soft labels ten random real images a class reach {reached[0]} % "
            f"(n = {len(released.seeds)}) with the released teacher, {best:.1f} % itself, wide "
            f"and trained on all of CIFAR-10; and {reached[1]} % (n = {len(own_teachers.seeds)}) "
            f"with teachers of the suite `soft-cifar10-mini`, {taught} % themselves, as narrow as "
            "the students and trained on the tenth. They are not paired, so there is no "
            "verdict; what of it matters was not tested."
        )
    )

# %% tags=["remove-input", "hide-output"]
numbers("cifar10-mini")

# %% [markdown]
# ## Fashion-MNIST
#
# The suite `fashion-mnist`, all 60,000 images. What was trained under the protocols of DC and DSA stands under
# {ref}`published protocols <results-protocols>`.

# %% tags=["remove-input"]
show("fashion-mnist")

# %% tags=["remove-input", "hide-output"]
numbers("fashion-mnist")

# %% [markdown]
# ## Tiny-ImageNet
#
# The suite `tiny-imagenet`: 200 classes, of which guessing finds one in 200, and the teacher that UniDD's authors
# released. `cfm-class` is CFM whose features are correlated with the class, as in the {doc}`recipe <14_recipe>`.
# Students are trained for 40 epochs, all images for few: far below what is published, and not to be held against it.

# %% tags=["remove-input"]
show("tiny-imagenet")

# %% tags=["remove-input", "hide-output"]
numbers("tiny-imagenet")

# %% [markdown]
# ## Students of other architectures
#
# Does a set teach networks other than the one it was made with, which a star marks? Two coresets and a method of each
# kind were taken, and not the six best. FRePo looks through a ConvNet whose widths double, which is none of these.


# %% tags=["remove-input"]
def across(stored=published, where=""):
    found = suite("across", stored)
    rows = tables.table(found)
    of = "The spread is of students alone, of one set. " * any(rows.shared == "one set")
    return Captioned(
        tables.across(found),
        f"Test accuracy in %, mean ± standard deviation, n = {once(rows.n)}. {of}"
        "Look along a line. Where `full` is low too, that student learns little from any "
        "set; trained for few epochs, `full` can stay below small sets.",
        f"tab-{where}across",
    )


if suite("across"):
    display(across())
else:
    not_run("make batch SUITE=cross-digits")

# %% [markdown]
# (results-protocols)=
# ## Under their authors' own protocols
#
# Students trained and labelled as the authors of a method do it; the method stands in brackets, see
# {ref}`protocols <protocols>`. Compare with random real images under the same {term}`protocol` alone: all real images,
# `full`, train a student as the package does, whatever protocol stands in brackets.
#
# On Fashion-MNIST at IPC 1 there is one set of DC and one of DSA, with the published networks and students, and 300 of
# the 1,000 published steps: `unidd distill dc --dataset fashion-mnist --ipc 1 --budget paper --norm instance --steps
# 300`, about an hour of one core, then `unidd evaluate` with `--protocol dc --budget paper`. So the spread is of
# students alone.


# %% tags=["remove-input"]
def width(record):
    """In words, of the ConvNet that students of this budget are."""
    known = record.budget in BUDGETS
    return str(BUDGETS[record.budget].width) if known else "unknown"


def protocols(stored=published, where=""):
    found = suite("protocols", stored)
    parts = {
        words: tables.table([record for record in found if width(record) == words])
        for words in sorted(set(map(width, found)), key=lambda words: (len(words), words))
    }
    shown = {words: tables.pretty(rows) for words, rows in parts.items()}
    repeated = once(n for rows in parts.values() for n in rows.n)
    caption = f"Students under published protocols, by the width of a ConvNet, n = {repeated}."
    table = pd.concat(shown, names=["width"])
    display(Captioned(table, caption, f"tab-{where}protocols"))
    for words, rows in parts.items():
        display(Markdown(f"ConvNet of width {words}:"))
        listed(tables.verdicts(rows))
    if len(known := paper.beside(found)):
        caption = (
            "Accuracy as published, and ours, in %, hard labels. Published are networks of "
            "width 128, and CIFAR-10 whole, where `cifar10-mini` has a tenth to choose from."
        )
        whitened = " ZCA: images were whitened, which ours are not."
        caption += whitened * any(known.published.str.contains("ZCA"))
        display(Captioned(known, caption, f"tab-{where}published"))
    if missing := paper.not_run(found):
        display(Markdown(f"Published and not run here under its protocol: {missing}."))


if suite("protocols"):
    protocols()
for name in ("protocols-digits", "protocols", "protocols-resnet18"):
    if name not in {record.suite for record in published}:
        not_run(f"make batch SUITE={name}")

# %% [markdown]
# ## What the images look like
#
# One image a class, a row for each method, of the last repetition on this machine. `random` is where the others
# started.

# %% tags=["remove-input"]
home = records.own() / "embedded"
folders = [card.parent for card in sorted(home.glob("*-ipc1/card.json"))]
sets = {made.name.removesuffix("-ipc1"): SyntheticSet.load(made) for made in folders}
if sets:
    names = next(iter(sets.values())).class_names
    rows = torch.arange(len(sets)).repeat_interleave(len(names))
    images = torch.cat([one.images for one in sets.values()])
    alt = f"Images of {', '.join(names)} by {', '.join(sets)}"
    seen = Captioned(
        plots.image_grid(images, rows, tuple(sets), alt=alt),
        f"Ten images each, of {', '.join(names)}. Compare a column with its place in "
        "the row of random images: what has changed is what a method writes.",
        "fig-results-images",
    )
else:
    seen = Markdown("No images on this machine yet: run `make reproduce`.")
seen

# %% [markdown]
# ## On this machine
#
# `make reproduce` runs the cells of `photos` over three repetitions, in a few minutes; `make batch SUITE=photos` runs
# the published ones again. Another machine rounds otherwise, so that even equal seeds train other teachers and end in
# other numbers: compare the spread, not the digit.

# %% tags=["remove-input"]
mine = tables.table(suite("embedded", own))
if len(mine):
    both = {"published": table, "this machine": mine}
    named = {f"{name}, n = {once(frame.n)}": frame for name, frame in both.items()}
    accuracy = {name: tables.pretty(of)["accuracy (%)"] for name, of in named.items()}
    dates = once(record.provenance["date"] for record in suite("embedded", own))
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
kinds = sorted({kind(record) for record in own} - {"embedded"})
for name in kinds:
    if name == "across":
        display(across(own, "own-"))
    elif name == "protocols":
        protocols(own, "own-")
    else:
        display(Markdown(f"The suite `{name}`:"))
        show(name, own, "own-")

# %% tags=["remove-input", "hide-output"]
for name in kinds:
    if name not in ("across", "protocols"):
        numbers(name, own, "own-")

# %% [markdown]
# ## Where the numbers come from
#
# Each repetition's teacher, seconds by the clock of a machine that may have had other work, device and versions.

# %% tags=["remove-input", "hide-output"]
Captioned(tables.runs([*published, *own]), "A line is one file.", "tab-runs")
