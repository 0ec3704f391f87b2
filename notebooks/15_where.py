# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Where distillation pays
#
# All records of the book, asked one question: did distilled images beat random real ones, and real ones that were
# chosen well? Sets of one row are judged alike, and every sentence on this page is worked out from the numbers. A
# comparison counts if it has five repetitions that share nothing, and a paired 95 % interval that leaves out zero.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from unidd.bench import advice, gains, records, tables, uses
from unidd.book import plots
from unidd.book.captions import Captioned


def listed(sentences):
    return Markdown("\n".join(f"- {sentence}" for sentence in sentences))


rows = tables.table(records.load_records(records.published()))
display(listed(advice.pays(rows)))

# %% tags=["remove-input"]
display(
    Captioned(
        advice.where(rows),
        "The best distilled set, and beside it the random real images and the best coreset "
        "of its own suite, which is the one that tried most coresets (their number stands "
        "there); labels name the protocol if it is another than the package's own, or the "
        "students if they are not the usual ConvNet. Gains in points, paired by seed, with 95 % "
        "intervals. It pays where a set was shown to be better than random images and than "
        "the best coreset. Suites have teachers of their own: compare within a row.",
        "tab-where",
    )
)

# %% [markdown]
# Best coreset and best distilled set are chosen by the accuracies they are shown with. Of many that differ by chance
# alone the best looks good, so read its gain with "better than random" beside it: a 95 % interval calls one of forty
# better, and one worse, where nothing differs. How often anything was better or worse at all, a method counted once in
# each row and two names of one set as one:

# %% tags=["remove-input"]
display(listed(advice.counted(rows)))

# %% [markdown]
# ## What was hoped for
#
# What should a distilled set gain, at ten images a class, for distilling to be worth its while? Here are the goals that
# this book set itself, and what came of them. Any distilled set may meet one, ours or others'; `pool` and `cfm-class`
# are {doc}`recipes of ours <14_recipe>`.

# %% tags=["remove-input"]
display(
    Captioned(
        advice.goals(rows),
        "Goals in points of test accuracy at ten images a class, and the gain of the best "
        "distilled set, paired by seed, with its 95 % interval. A goal is met by a set that "
        "was shown to be better, and by as much. Repetitions have teachers of their own.",
        "tab-goals",
    )
)

# %% [markdown]
# ## What the gain hangs on
#
# The same distilled sets gain much in one row of the table and nothing in another. What changed is not the images but
# what students get besides. So take a few sets, and vary that alone: how long students learn, how strongly images are
# cropped, and how many views of an image the teacher labels. At one view a student has what can be stored beside the
# image; at "every time a new one" the teacher is there.
#
# These numbers are of held-out *training* images, as in the search for the {doc}`recipe <14_recipe>`: no test image was
# looked at. A repetition has a part held out, a teacher, starting images and students of its own.

# %% tags=["hide-input"]
NAMES = {"cifar10-mini": "CIFAR-10, 10 % subset", "photos": "photographs"}
LABELS = {"epochs, hard": "hard", "epochs, online-soft": "soft", "views": "views"}
found = {name: record for name in NAMES if (record := uses.found("gains", name))}
for name, record in found.items():
    asked = record["settings"]
    about = f"{NAMES[name]}, IPC {asked['ipc']}, n = {len(asked['seeds'])}"
    for axis, label in LABELS.items():
        display(
            Captioned(
                plots.along(record, axis),
                f"{about}: gain over random real images along {gains.AXES[axis]}. Bars are "
                "95 % intervals; one that reaches over zero decides nothing.",
                f"fig-{name}-{label}",
            )
        )
if not found:
    display(Markdown("**Not run.** `python benchmarks/gains.py photos`"))

# %% tags=["remove-input"]
for name, record in found.items():
    display(Markdown(f"**{NAMES[name]}**, for each thing that was varied:"))
    display(listed(gains.sentences(record)))

# %% [markdown]
# What do labels take? Each labelled view costs a number for each class, and soon all labels together outweigh the
# teacher that they come from.

# %% tags=["remove-input"]
for name, record in found.items():
    display(
        Captioned(
            gains.label_bytes(record),
            f"{NAMES[name]}: bytes of the labels of all images, or of the teacher where "
            "views are ever new; what random images reach, and the largest gain over them.",
            f"tab-{name}-bytes",
        )
    )

# %% tags=["hide-input"]
for name, record in found.items():
    for axis, words in gains.AXES.items():
        caption = f"{NAMES[name]}: random real images in %, and gains over them, by {words}."
        label = f"tab-{name}-{axis.replace(', ', '-')}"
        display(Captioned(gains.table(record, axis), caption, label))

# %% [markdown]
# ## Beyond one number
#
# Accuracy of a student is one use. In a {doc}`replay memory <replay>` and for the {doc}`ranking of architectures
# <ranking>` the order of the sets may be another, so both are measured. {doc}`Which method should I use? <which>` turns
# the records into advice; for data of your own, two commands there give the answer.
