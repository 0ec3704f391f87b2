# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # All results in one table
#
# Every published result record of this book, and those that others have contributed: one line a method, IPC and
# {term}`label regime`. Sort it by a click on a column's head, filter it by what you can afford, and open a line to see
# what its numbers depend on.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
from IPython.display import Markdown

from unidd.bench import promise, records
from unidd.book import listing, pictures
from unidd.book.captions import Captioned
from unidd.book.widgets import ResultsTable
from unidd.data import datasets

contributed = records.load_records(records.published() / "contributed")
published = records.load_records(records.published()) + contributed
embedded = {record.dataset for record in published} & {"digits", "photos"}
images = {name: datasets.load(name) for name in sorted(embedded)}
study = promise.found("photos")
files = {row["method"]: promise.picture(row["method"], "images") for row in study["rows"]}
looks = listing.looks(study, {m: pictures.lighter(f) for m, f in files.items() if f})
suites = sorted({record.suite for record in published})
least = min(len(record.seeds) for record in published)
Captioned(
    ResultsTable(published, images, looks),
    f"All {len(published)} published records, of the suites {', '.join(suites)}, of at "
    f"least {least} repetition{'s' * (least > 1)} each. Look first at the intervals: a "
    "gain without ▲ or ▼ has not been told apart from chance.",
    "tab-all",
)

# %% [markdown]
# - **Over random** is the paired difference to random real images under the same labels, student and IPC, in the same
#   suite, with its 95 % interval. ▲ and ▼ follow the one rule of this book: at least five repetitions that share
#   nothing, and an interval that leaves out zero. A dash: nothing to compare with.
# - **Accuracy** is mean ± standard deviation of n repetitions (n), at the last epoch. Lines of different data sets,
#   students or {term}`budgets <budget>` are no ranking; none ranks published methods at their own budgets.
# - **Bytes** are those of the images at 8 bits and of what that label regime stores beside them. Under *online soft* it
#   is the teacher, and often the most of it.
# - **Seconds** are those of one distillation on the device that the line's card names, without its teacher.
#
# ## Add yours

# %% tags=["remove-input"]
names = sorted({record.provenance["contributed"]["by"] for record in contributed})
Markdown(
    f"Contributed so far: {len(contributed)} records, by {', '.join(names)}."
    if contributed
    else "No record has been contributed yet: yours can be the first."
)

# %% [markdown]
# A set of your own method, or of code that is not UniDD's, can stand in this table. The record comes by pull request,
# and the set stays where you publish it:
#
# ```bash
# unidd import theirs.pt --dataset cifar10 --out mine
# unidd evaluate mine --seeds 0 1 2 3 4 --record mine/record.json
# unidd check-record mine
# ```
#
# In between you say in the record whose it is. `unidd check-record` compares the record with its form
# (`results/schema.json`) and with the set, and trains one more student under each label regime, with a seed that the
# record does not have. A claim is refused if that student is outside the 95 % prediction interval of the record's
# repetitions, mean ± $t_{n-1}\, s\sqrt{1 + 1/n}$; of a single repetition, if it is more than five points off.
# "Contribute a record" in `CONTRIBUTING.md` has every step.
#
# ## How to cite
#
# A number of this table that came with the book: the book and its version, see {doc}`../book/cite`. One that was
# contributed: what its card says under *Cite*, too. Say the label regime, the student and n with it.
#
# The code of this page: `unidd/book/listing.py`, `unidd/bench/contributed.py`, `unidd/bench/schema.py`. The same
# records as figures and verdicts: {doc}`12_results`.
