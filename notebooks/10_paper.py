# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # The paper, table by table
#
# The paper {cite}`bo2026unidd` has five figures, nine tables and one algorithm. Here is each, with what it claims, the
# command that reproduces it, and what came of it. Every outcome is worked out from records when this page is built;
# none is typed.
#
# **What is known.** We had the paper's abstract, the captions of its figures and its released code; the rest is from
# others. So every claim has the grade of its source:
#
# - **A**: read in the paper's abstract or captions, its repository, or that of the method;
# - **B**: read in another paper's table;
# - **C**: as reported by a single secondary note or review, unverified;
# - **–**: not a claim of the paper, but a question it leaves open.
#
# The numbers of Tables 2, 3 and 5 are those that its reviewers use; a later version may count otherwise.
#
# **What counts.** A claim is split into checks, such as *students of CFM's images are better than those of random
# ones*. A check is *reproduced* if the 95 % interval of the paired difference (Student's *t*) is above zero, *not
# reproduced* if it is below, and *not decided* if it holds zero or there are fewer than five {term}`repetitions
# <repetition>`: the rule of the {doc}`results <12_results>`. A row is *reproduced* if all its checks are, *in part* if
# some are and none says the contrary, *mixed* if some are and others say the contrary. With so many checks some come
# out by chance: about one in twenty where nothing differs. A property of a formula or of one file, such as the order of
# frequencies, has no repetitions: it holds, or not.
#
# **At what size.** The published budget wants GPUs. Here most checks are run at the {term}`budget` of a laptop, on
# photographs and digits. That may confirm or question the *direction* of a claim; it says nothing about its numbers.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
from collections import Counter

import pandas as pd
from IPython.display import Markdown, display

from unidd.bench import claims, paper, records, tables
from unidd.bench.counted import DEVICES
from unidd.book import plots
from unidd.book.captions import Captioned

stored = records.load_all()
folders = records.published("studies"), records.own() / "studies"
evidence = claims.Evidence.of(stored, *folders)


def show(rows, name):
    """What came of some rows in words, and each of their checks that has records."""
    lines = [f"- {claims.sentence(row, evidence)}" for row in rows]
    display(Markdown("\n".join(lines)))
    checks = {row.place: claims.details(row, evidence) for row in rows}
    checks = {place: lines for place, lines in checks.items() if len(lines)}
    if checks:
        found = pd.concat(checks, names=["in the paper", ""]).droplevel(1)
        dates = sorted({record.provenance["date"] for record in stored})
        caption = (
            "Checks that have records. Differences are in points of accuracy, those of "
            "images and loss terms in the measure itself; brackets hold the 95 % "
            f"interval. Records of suites are of {dates[0]} to {dates[-1]}."
        )
        display(Captioned(found, caption, f"tab-paper-{name}"))


def suite(name, words):
    """All cells of a suite, if it was run."""
    found = [record for record in stored if record.suite == name]
    if not found:
        return
    rows = tables.table(found)
    n = ", ".join(sorted(set(map(str, rows.n))))
    caption = f"{words} Test accuracy in %, mean ± standard deviation, n = {n}."
    caption += " ▲ beats random real images, ▼ loses to them."
    display(Captioned(tables.overview(rows), caption, f"tab-suite-{name}"))
    for regime in rows[rows.ior.notna()].regime.unique():
        chart, caption = plots.captioned_differences(rows, regime, int(rows.ipc.max()))
        display(Captioned(chart, caption, f"fig-suite-{name}-{regime}"))


# %% tags=["remove-input"]
overview = claims.overview(paper.ROWS, evidence)
Captioned(
    overview,
    "Five figures, nine tables and the algorithm, and the questions between them. "
    "The column of checks says how many came out how.",
    "tab-paper",
)

# %% tags=["remove-input"]
outcomes = Counter(overview["outcome here"])
counted = [f"{outcomes[name]} {name}" for name in claims.OUTCOMES if outcomes[name]]
Markdown(f"Of {len(overview)} rows: {', '.join(counted)}.")

# %% [markdown]
# A command that begins with `make batch` runs a suite, with `python benchmarks/` a study; both go on where they were
# cut off. What a suite asks for is in `workflow/suites`. Records of your own machine are used here for what did not
# come with the package.
#
# ## Filters and images
#
# At one image a class there is one round, and {term}`CFM` is {term}`HFM`: what the curriculum adds shows at ten. What a
# filter writes into images is a chapter of its own, {doc}`07_images`; why the linear theory need not hold beside
# cross-entropy is said there.

# %% tags=["remove-input"]
show(paper.FIGURES, "figures")
suite("filters", "Students of photographs distilled through each filter.")
suite("filters-digits", "Students of digits distilled through each filter.")

# %% [markdown]
# ## Beside other methods
#
# The paper compares CFM, whose students have soft labels of the teacher, with methods whose published students have
# hard ones. A {term}`label regime` moves accuracy by more than most methods do, so that such numbers do not compare;
# here every comparison is within one regime.

# %% tags=["remove-input"]
show(paper.MAIN, "main")

# %% tags=["remove-input"]
Captioned(
    paper.published("CIFAR-10", "CIFAR-100"),
    "Published top-1 accuracy in %, each under its authors' own protocol; the last "
    "column is the grade of our source. None was measured here. Look at the labels "
    "before you compare.",
    "tab-published-small",
)

# %% [markdown]
# ## Large data sets
#
# Of the published numbers of CFM on ImageNet one is known to us, of Tiny-ImageNet none.

# %% tags=["remove-input"]
show(paper.LARGE, "large")

# %% tags=["remove-input"]
Captioned(
    paper.published("Tiny-ImageNet", "ImageNet-1K"),
    "Published top-1 accuracy in %, each under its authors' own protocol; the last "
    "column is the grade of our source. None was measured here. Random real images "
    "with soft labels are the line to beat.",
    "tab-published-large",
)

# %% [markdown]
# ## Other architectures
#
# The sets are made with a ConvNet; do they teach others? All that were tried stand in {numref}`tab-across`.

# %% tags=["remove-input"]
show(paper.ACROSS, "across")

# %% [markdown]
# ## The terms of the loss
#
# Cross-entropy alone, with the {term}`filter term`, with the {term}`signal term`, and with both; and both with another
# signal.

# %% tags=["remove-input"]
show(paper.ABLATION, "ablation")
suite("ablation", "One term of the loss less, or another signal.")

# %% [markdown]
# ## The curriculum
#
# {doc}`08_cfm` has the algorithm in twenty lines, and asserts that it makes the images of the package. How β moves over
# the rounds, and whether statistics are carried over them ({term}`EMU`), are choices:

# %% tags=["remove-input"]
show(paper.CURRICULUM, "curriculum")
suite("schedules", "Other schedules of β, and no moving update.")

# %% [markdown]
# ## What is missing

# %% tags=["remove-input"]
display(Markdown("\n".join(claims.sentence(row, evidence) for row in paper.OTHERS)))
missing = [row for row in paper.ROWS if row.outcome(evidence) == claims.NOT_RUN]
lines = [f"- {row.place}: `{row.command}`" for row in missing]
Markdown("Not run, with what runs it:\n\n" + "\n".join(lines) if missing else "")

# %% [markdown]
# **How long it would take** can only be estimated here. The same code runs on tensors that have shapes and no values,
# and PyTorch's operations in it are counted, as `make plan SUITE=cifar10 DEVICE=h100` does. Each takes the time of its
# multiplications and additions, or that of the bytes it reads and writes, or a start, whichever is longest. What the
# CPU does meanwhile is not counted, and reading files neither. Nor is memory looked at. Images that would take more
# than half of a GPU's memory, as the 193 GB of ImageNet do, stay in main memory, and each batch is copied to the GPU
# when it is used: that is not counted either.

# %% tags=["remove-input"]
device = DEVICES["h100"]
done = {record.suite for record in stored}
done |= {"rounds"} if evidence.study("rounds", "tiny-imagenet-*.json") else set()
display(
    Captioned(
        claims.not_run(evidence, done),
        f"What was not run, by count of {device.name}, all jobs one after the other. Assumed are "
        f"{device.rate / 1e12:.0f}·10¹² operations a second of convolutions and "
        f"{device.exact / 1e12:.0f}·10¹² of other products, {device.bandwidth / 1e12:.0f}·10¹² "
        f"bytes a second, {1e6 * device.start:.0f} µs for an operation at least and "
        f"{1e3 * device.factorisation:.0f} ms for a matrix factorisation.",
        "tab-hours",
    ),
    *(
        Captioned(
            claims.beside(found["times"]),
            "How near the count is: what an H200 took. The figures assumed were chosen by these times, so "
            "that they show how well so few can fit, and not how well the rest is foretold.",
            "tab-count",
        )
        for found in evidence.study("count")
    ),
)

# %% [markdown]
# The code of this page: `unidd/bench/paper.py` (the rows), `unidd/bench/claims.py` (outcomes). Its tests:
# `tests/bench/test_claims.py`, `tests/bench/test_paper.py`.
