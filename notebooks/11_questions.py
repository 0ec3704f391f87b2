# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # What the reviewers asked
#
# The reviews of the paper {cite}`bo2026unidd`, and studies that came after it, ask questions that were not answered in
# full. Here each one has an answer, worked out from records when this page is built, or the reason why there is none.
# No number on this page is typed.
#
# A method is called better or worse only by the rule of the {doc}`results <12_results>`: at least five
# {term}`repetitions <repetition>` that share nothing, and a 95 % interval of the paired difference (Student's *t*) that
# leaves out zero. All else is *not told apart*, or *no verdict*. Brackets hold that interval, ± a standard deviation.
#
# The records are those of a laptop: `photos` and `digits`, a narrow network, a hundred steps a round. The answers say
# how things are *here*; what needs more is marked *not run*.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import plotly.graph_objects as go
from IPython.display import HTML, Markdown, display

from unidd.bench import defects, questions, records
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.book.palette import look

folders = records.published("studies"), records.own() / "studies"
found = questions.Found.of(records.load_all(), *folders)


def listed(sentences):
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))


# %% tags=["remove-input"]
answers = questions.answers(found)
open_ = [name for name, line in answers.iterrows() if "not run" in line["answer"]]
listed([f"{len(answers)} questions; of {len(open_)} a part was not run, for the reason given."])
HTML(questions.listed(answers))

# %% [markdown]
# (questions-bytes)=
# ## The budget in bytes
#
# Tables count images a class. But a student needs more than images: their classes (*hard*), a label of one number a
# class stored with each (*fixed soft*), or the teacher, which labels every view (*online soft*). So here is accuracy
# against *bytes*: images at 8 bits, and what the {term}`label regime` adds. Hard labels take a byte or two an image,
# stored ones and the parameters of a teacher 32 bits a number. Where a record does not say, it is counted again from
# the number of images and the teacher's architecture. (A teacher is paid for once, and weighs less the more images
# there are.)


# %% tags=["hide-input"]
LOOKS = {
    "hard": ("circle", "solid"),
    "fixed-soft": ("square", "dash"),
    "online-soft": ("diamond", "dot"),
}


def lines(shown):
    """Random real images and CFM as lines from IPC to IPC, all others as dots."""
    traces = []
    for regime, (symbol, dash) in LOOKS.items():
        rows = shown[shown.regime == regime]
        others = rows[~rows.method.isin(["random", "cfm"])]
        label = regime.replace("-", " ")
        dots = {"x": others.bytes, "y": others["mean"].round(2), "text": others.method}
        marker = {"symbol": f"{symbol}-open", "color": plots.TEXT, "size": 6}
        hover = "%{text}: %{y} %<extra></extra>"
        about = {"mode": "markers", "marker": marker, "hovertemplate": hover}
        traces.append(go.Scatter(dots, name=f"others, {label}", **about))
        for name in ("random", "cfm"):
            own, its = rows[rows.method == name].sort_values("bytes"), look(name)
            points = {"x": own.bytes, "y": own["mean"].round(2)}
            points["error_y"] = {"array": own["std"].round(2), "thickness": 1.5}
            points["line"] = {"color": its.colour, "dash": dash, "width": 2}
            points["marker"] = {"symbol": symbol, "color": its.colour, "size": 10}
            traces.append(go.Scatter(points, name=f"{name}, {label}"))
    return [trace for trace in traces if len(trace.x)]


def shown_bytes(suite, data):
    shown = questions.points(found, suite)
    if not len(shown):
        display(Markdown(f"**Not run.** `make batch SUITE={suite}` makes the records."))
        return
    words = [
        f"{row.method}, {row.regime.replace('-', ' ')} labels, {row.bytes:,.0f} bytes: {row.mean:.1f} %"
        for row in shown[shown.method.isin(["random", "cfm"])].itertuples()
    ]
    figure = plots.figure(
        lines(shown),
        f"Test accuracy over bytes on {data}: {'; '.join(words)}.",
        height=460,
        xaxis={"type": "log", "title": "bytes of images, and labels or teacher"},
        yaxis={"title": "test accuracy (%)"},
    )
    n = ", ".join(sorted(set(map(str, shown.n))))
    caption = (
        f"Accuracy for bytes on {data}, n = {n}: a line joins one image a class and "
        "ten, bars are a standard deviation, small open markers are other methods. Look "
        "for what stands highest at the bytes that you have."
    )
    display(Captioned(figure, caption, f"fig-bytes-{suite}"))
    table = questions.budget(found, suite)
    caption = (
        f"The same on {data} in numbers, fewest bytes first. The highest mean is "
        "picked after the fact: it is no verdict."
    )
    display(Captioned(table, caption, f"tab-bytes-{suite}"))


# %% tags=["remove-input"]
for suite, data in found.suites.items():
    shown_bytes(suite, data)

# %% [markdown]
# (questions-cost)=
# ## What it costs
#
# Seconds are by the clock of a machine that may have had other work, one set and one student at a time; memory is the
# most that the process had, with torch in it. What a step of CFM costs beside a plain pass of the network, measured
# side by side, is in the {doc}`appendix <engine>`.

# %% tags=["remove-input"]
suite = "digits"
spent = questions.cost(found, suite)
if len(spent):
    order = spent[spent.ipc == spent.ipc.max()].method.tolist()
    traces = []
    shown = spent[(spent.set > 0) & spent.method.isin(order)]
    # those of the largest IPC first, which orders the axis
    for i, (ipc, rows) in enumerate(sorted(shown.groupby("ipc"), reverse=True, key=lambda of: of[0])):
        marker = {"color": plots.COLOURS[i], "symbol": plots.SYMBOLS[i], "size": 9}
        points = {"x": rows.set.round(3), "y": rows.method, "name": f"IPC {ipc:.0f}"}
        traces.append(go.Scatter(points, mode="markers", marker=marker))
    most = spent.iloc[-1]
    down = {"autorange": "reversed", "ticks": "", "showgrid": False}
    figure = plots.figure(
        traces,
        f"Seconds that a set takes on {suite}, by method; most: {most.method}, {most.set:.0f} s.",
        height=120 + 22 * len(order),
        xaxis={"type": "log", "title": "seconds a set"},
        yaxis=down,
    )
    seen = Captioned(
        figure,
        f"What a set costs on {suite}, the dearest below. What takes no time that the "
        "record's tenths of a second show is left out.",
        "fig-cost-methods",
    )
else:
    seen = Markdown(f"**Not run.** `make batch SUITE={suite}` makes the records.")
seen

# %% tags=["remove-input", "hide-output"]
Captioned(
    questions.costs(found),
    "Time of a set and of a student at ten images a class, means of the repetitions on one "
    "core of the records' machine, and the most memory of the process.",
    "tab-cost-methods",
)

# %% [markdown]
# (released-defects)=
# ## The released code's defects, measured
#
# The code that the authors released differs from the paper, and from good practice, in ways that change numbers. How
# much? Each is emulated here with the engine of this package, so that nothing but the defect differs: `photos`, ten
# images a class, online soft labels as in the released code. An effect is the accuracy *with* the defect less that
# without, in points.

# %% tags=["remove-input"]
record = found.study(defects.STUDY, "photos.json")
tiny = found.study(defects.STUDY, "tiny-imagenet.json")
if record:
    rows, made = [row for row in record["rows"] if row["measured"]], record["provenance"]
    taught = sorted(row["teacher"]["accuracy"] for row in rows)
    about = (
        f"The record: {len(rows)} repetitions, each with its own teacher (they reach {taught[0]:.1f} to "
        f"{taught[-1]:.1f} %), made on {made['date']} on {made['device']} with torch {made['torch']} by "
        f"`{defects.COMMAND}`."
    )
    display(Markdown(about))
Captioned(
    defects.table(record),
    "What each defect adds to the measured accuracy, on random real images and on CFM. "
    "The best over epochs cannot be below the last: how far it is above counts, not its sign.",
    "tab-defects",
)

# %% [markdown]
# Neither of the two crop scales is wrong by itself; but a comparison must not mix them. The first images of a class are
# the same for every seed, so that repetitions have no start of their own. (On `photos` file order is itself random, so
# that the *first* images are no special ones.) Does that hide a part of the spread?

# %% tags=["remove-input"]
Markdown(defects.spreads(record))

# %% [markdown]
# The released code averages covariances *within* batches of 256, in file order. If files are sorted by class, as on
# Tiny-ImageNet and ImageNet, a batch holds one class or two, and the spread between classes is missing from $\Psi$. By
# the law of total covariance, of the class means $\mu_k$ of a layer it sees only what differs inside a batch.

# %% tags=["remove-input"]
missed = defects.statistics(record, tiny)
if len(missed):
    seen = Captioned(
        missed,
        "Of each convolution's inputs: the share of the variance that lies between "
        "classes, how much of that batches in file order miss, and how far the two "
        "covariances are apart (Frobenius, relative); mean ± standard deviation over "
        "networks. On Tiny-ImageNet both are held against the released ones.",
        "tab-defects-statistics",
    )
else:
    seen = Markdown(f"**Not run.** `{defects.COMMAND}` makes the record.")
display(seen)
Markdown(defects.counted(tiny))

# %% [markdown]
# Not in the table, because they change no accuracy, or none that can be emulated: the student's architecture is ignored
# on CIFAR; there are two filters, and no seeds, no resume and no second GPU; β = 0, or a channel that is always 0, ends
# in a singular matrix; the constant real side is solved anew at every step, which the {doc}`appendix <engine>` times.
#
# The code of this page: `unidd/bench/questions.py`, `unidd/bench/defects.py`; its study:
# `benchmarks/released_defects.py`; its tests: `tests/bench/test_questions.py`, `tests/bench/test_defects.py`.
