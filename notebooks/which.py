# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Which method should I use?
#
# Answer three questions, and look the answer up below.
#
# 1. **May a teacher be there when students learn?** It labels every augmented view: {term}`online soft labels
#    <label regime>`. If it may only have been there before, and left a label with each image: *fixed soft*. If nobody
#    shall need it: *hard*.
# 2. **How many images a class** ({term}`IPC`) **can be kept?** Each is a question of its own: what wins at 1 need not
#    win at 10.
# 3. **What may it cost?** A random choice costs nothing. What another takes to be made stands in the table, and what is
#    stored: the bytes of soft labels, or of a teacher, count.
#
# The rule is the same for every line: of all methods and coresets that were *shown* to beat random real images (five
# repetitions that share nothing, a paired 95 % interval above zero), the one with the highest mean is taken. Where
# nothing was, **take random images**: whatever else looks better there has not been shown to be. *No verdict* says that
# it could not have been, for want of repetitions. Beside it stands how many were shown to be better, of how many: where
# nothing differs, chance alone gives one of forty. One of thirty is a hint to try it on your own data, not more.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
from unidd.bench import advice, records, tables
from unidd.book.captions import Captioned

stored = records.load_records(records.published())
stored = [record for record in stored if not record.protocol]
rows = tables.table(stored)
Captioned(
    advice.advice(rows, stored),
    "What to take: by data set, labels and images a class. Gain over random real "
    "images in points, with its 95 % interval; shown better are methods and coresets "
    "that beat random images, of those with a verdict. To make is the time of one set, "
    "without the training of a teacher, on the machine of the record, which had other "
    "work: read its size, not its digits. Stored are images, labels and, with online "
    "soft labels, the teacher of the suite. Labels name students other than the usual "
    "ConvNet; those of frepo and kip are learnt with the images.",
    "tab-which",
)

# %% [markdown]
# The one with the highest mean is chosen by the accuracies it is shown with, so its gain is a little too high. All
# methods stand in the {doc}`results <12_results>`. `cfm-class` is CFM on the class signal, `unidd distill cfm --signal
# class`: see the {doc}`recipe <14_recipe>`.
#
# Where distillation pays at all, and on what that hangs, is {doc}`a page of its own <15_where>`; sets that were judged
# under the protocol of other authors stand there too.
#
# These are small data sets, at a budget that a laptop has. Larger ones are asked by one command each, `make batch
# SUITE=…`, see {doc}`benchmark`. Your own images, in a folder `pets`, answer for themselves; any method or coreset may
# take the place of the one here, and random ones stand beside it:
#
# ```sh
# unidd distill spectralherding --dataset pets --ipc 10 --out chosen
# unidd evaluate chosen
# ```
#
# What the images are for can decide too: see a {doc}`replay memory <replay>` and the {doc}`ranking of architectures
# <ranking>`, both measured. Whoever needs more than accuracy, such as images that show nobody's face, decides by other
# measures: see the {doc}`audit <../book/audit>`.
