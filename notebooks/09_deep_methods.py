# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Do the deep methods keep the promise?
#
# On fixed features with a linear head every method is a filter: that is what {doc}`04_methods` shows. The published
# methods look at images through deep networks, which are drawn anew or trained on the way, and they augment what they
# see. Nothing is proven there. So it is measured here, method by method: what does a method leave unmatched at each
# frequency, and which filter does its own gradient act as?

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import pandas as pd
import plotly.graph_objects as go
import torch
from IPython.display import Markdown, display

import unidd.methods
from unidd.bench import promise, tables
from unidd.bench.effective import effective_filter
from unidd.bench.promise import Ratio
from unidd.bench.words import signed
from unidd.book import chapter, pictures, plots
from unidd.book.captions import Captioned
from unidd.book.palette import looks
from unidd.book.widgets import MatchingExplorer
from unidd.core.bands import Bands, band_terms
from unidd.core.filters import Linear, Ridge
from unidd.core.objectives import Side
from unidd.core.statistics import correlations
from unidd.data import datasets

record, chosen = promise.found("photos"), promise.found("photos-coresets")
frame = promise.residuals(record)
repeated = pd.Series([row["method"] for row in record["rows"]]).value_counts(sort=False)
methods, n = list(repeated.index), int(repeated.min())
names = datasets.load("photos").class_names


def listed(sentences):
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))


# %% tags=["remove-input"]
made = record["rows"][0]["provenance"]
taught = sorted(row["teacher"]["accuracy"] for row in record["rows"])
there = {row["method"] for found in (record, chosen) for row in found["rows"]}
missing = [cls.path() for cls in unidd.methods.found() if cls.has_ipc and cls.path() not in there]
Markdown(
    f"The record: `photos`, ten images a class, {len(methods)} methods, n = {n} repetitions of each, every one with a "
    f"teacher, a start and a distillation of its own. Teachers reach {taught[0]:.1f} to {taught[-1]:.1f} % of the test "
    f"images. Made on {made['date']} on {made['device']} with torch {made['torch']} by "
    f"`python benchmarks/spectra_of_methods.py`: narrow networks, and {promise.lengths(record)}."
    + f" Not run: {', '.join(f'`{m}`' for m in missing)}; the same command goes on with them." * bool(missing)
    + promise.cautions(record)
    + f" A verdict in words needs {tables.ENOUGH} repetitions: there is none yet." * (n < tables.ENOUGH)
)

# %% [markdown]
# ## Two instruments
#
# Take any network as a *probe*, and of one of its layers the real {term}`FFC` $\Psi = \sum_i \lambda_i u_i u_i^\top$,
# centred. A set $S$ has $\Psi_S$ there. What it leaves unmatched along $u_i$, and what it has gained on another set
# $S_0$, such as the images it started from, is
#
# $$ e_i(S) = \frac{\lvert u_i^\top (\Psi - \Psi_S)\, u_i \rvert}{\lambda_i} , $$ (eq-left)
#
# $$ T_i = 1 - \frac{e_i(S)}{e_i(S_0)} . $$ (eq-transfer)
#
# $e = 0$ is matched; $e = 1$ is as wrong as having no power there, or twice too much. $T = 1$ is all gained, below 0
# something lost. For the FLC the gap is $\lVert u_i^\top(\Phi - \Phi_S)\rVert/\sqrt{\lambda_i}$. The $u_i$ are taken
# together in four *bands* of as many directions each, from low frequencies (large $\lambda$) to high ones.
#
# There are two views: the images as they are, and as the method itself sees them, augmented in its own way. A method
# can only be blamed for what it looks at.
#
# The second instrument looks at the gradient. Let $g_M$ be the gradient of the method's own loss in the pixels, and
# $g_j$ that of a {term}`matching term <signal term>` of band $j$ alone. Then
#
# $$ g_M \approx \sum_j c_j\, g_j , \qquad c_j \ge 0 , $$ (eq-effective)
#
# with the $c_j$ that leave the smallest square: over $\lambda_j$ they are the squared response of the filter that the
# method *behaves as*, and $R^2$ says how much of its gradient any filter explains. The probe's cross-entropy is one
# more part of the sum, since methods with a teacher descend on that too.
#
# ### On known ground
#
# First a case with a known answer: pixels of digits as features, ten images, and the signal term
# $\lVert f(\Psi)(\Phi - \Phi_S)\rVert_F^2$, each direction a band of its own. The weights must be $f(\lambda)^2$, to
# the last digit.

# %% tags=["hide-input"]
digits = datasets.load("digits")
(X, Y), (X_s, Y_s), _ = chapter.samples(digits, ipc=1)
real = Side(*correlations(X, Y))
bands = Bands.of(real.ffc, torch.linalg.matrix_rank(real.ffc).item())
lam, U = bands.real
x = X_s.clone().requires_grad_()


def gradients(losses):
    found = [torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in losses]
    return torch.stack([gradient.flatten() for gradient in found])


synthetic = Side(*correlations(x, Y_s))
_, *signal = band_terms(bands, real, synthetic)  # of the class signal, and of the mean
parts = gradients(torch.cat(signal))
beta = float(lam.mean())
traces = []
for name, f in {"linear": Linear(), "ridge": Ridge(beta)}.items():
    gap = (f.response(lam) * U).T @ (real.flc - correlations(x, Y_s)[1])
    fit = effective_filter(gradients([gap.square().sum()])[0], parts)
    weights = fit.weights[: len(lam)] / real.ffc.trace()
    chapter.check(f"{name}: c against f(λ)²", weights, f.response(lam).square(), 1e-5)
    top = float(f.response(lam).abs().max())
    curve, own = f.response(lam).abs() / top, looks(["linear", "ridge"])[name]
    along = plots.rounded(lam, 5)
    line = {"color": own.colour, "dash": own.dash}
    marker = {"color": own.colour, "symbol": own.symbol, "size": 7}
    traces += [
        go.Scatter(x=along, y=plots.rounded(curve, 5), name=f"f, {name}", line=line),
        go.Scatter(
            x=along,
            y=plots.rounded(weights.sqrt() / top, 5),
            name="√c, found",
            mode="markers",
            marker=marker,
        ),
    ]
Captioned(
    plots.figure(
        traces,
        "The square root of the weights found, over λ, lies on the response of the "
        "filter that made the gradient, for linear and for ridge.",
        height=340,
        xaxis={"type": "log", "title": "λ (large = low frequency)"},
        yaxis={"title": "relative to the maximum"},
    ),
    "The instrument on known ground: from a gradient alone it finds the filter, in all "
    f"{len(lam)} directions. β of ridge is the mean eigenvalue.",
    "fig-known",
)

# %% [markdown]
# ## What is left unmatched
#
# The probe is the repetition's own teacher; its last convolution is shown. Read {numref}`tab-unmatched` along a line.
# If the theory held, low-pass matching (`lfm`) would hold the first band and let the last one go, and high-pass
# matching (`hfm`, `cfm`) would hold the last.

# %% tags=["hide-input"]
WORDS = {"features.4": "second convolution", "features.8": "third convolution"}
LAYER, EPOCHS = "features.8", 10


def lines(view, kind="filter", layer=LAYER, epochs=EPOCHS, frame=frame):
    of = frame.view.eq(view) & frame.kind.eq(kind)
    return frame[of & frame.layer.eq(layer) & frame.epochs.eq(epochs)]


BANDS = ["low", "2", "3", "high"]
VIEWS = {"clean": "images as they are", "own": "as the method sees them"}
columns = {words: promise.wide(lines(view)) for view, words in VIEWS.items()}
columns = {words: means.set_axis(BANDS, axis=1) for words, means in columns.items()}
Captioned(
    pd.concat(columns, axis=1).map("{:.2f}".format).rename_axis(None),
    "What is left unmatched, e, by band of the third convolution's inputs: photographs, ten "
    f"images a class, mean over n = {n} repetitions. 0 is matched; 1 is as if nothing were "
    "there. Random images are seen as they are in both views.",
    "tab-unmatched",
)

# %% tags=["remove-input"]
OTHERS = [m for m in methods if m != "random"]


def told(ratio):
    return "more" if ratio.low > 1 else "less" if ratio.high < 1 else "not told apart"


def judged(seen, names, band):
    """Which sets leave more or less than random images of the same repetition."""
    found = {"more": [], "less": [], "not told apart": []}
    for m in names:
        found[told(promise.left_of(seen, m, band))].append(m)
    return "; ".join(f"{word}: {', '.join(f'`{m}`' for m in ms)}" for word, ms in found.items() if ms)


if n >= tables.ENOUGH:
    listed(
        f"In the {name} band, {VIEWS[view]}: left unmatched, against random real images of the same repetition, "
        f"{judged(lines(view), OTHERS, band)}."
        for view in VIEWS
        for band, name in ((0, "lowest"), (3, "highest"))
    )
else:
    means = promise.wide(lines("clean")).mean(axis=1)
    nearer = [m for m in OTHERS if means[m] < means["random"]]
    display(
        Markdown(
            f"Seen as they are, {len(nearer)} of {len(OTHERS)} methods leave less unmatched than random real images, "
            f"on average over the bands and n = {n} repetitions."
        )
    )

# %% tags=["remove-input", "hide-output"]
Captioned(
    promise.transfers(lines("clean"), "random").set_axis(BANDS, axis=1),
    "T against random real images, by band of the third convolution's inputs: photographs, "
    f"ten images a class, n = {n}, images as they are, with 95 % intervals. 1 is all gained; "
    "below 0 a set fits the data less than a random one.",
    "tab-against-random",
)

# %% [markdown]
# A coreset is real images too, chosen by a rule, and no longer unbiased. Does any choose so that the statistics fit?
# `herding` and `spectralherding` ask for it, of the features before the teacher's head, which is another layer. All of
# them, beside a random choice:

# %% tags=["hide-input"]
seen = lines("clean", frame=promise.residuals(chosen))
by = chosen["rows"][0]["provenance"]
fits = promise.transfers(seen, "random").set_axis(BANDS, axis=1)
Captioned(
    fits,
    "T of coresets against random real images, by band of the third convolution's inputs: "
    f"photographs, ten images a class, n = {len(chosen['seeds'])}, with 95 % intervals. "
    "1 is all gained; below 0 a choice fits the data less than a random one. A record of "
    f"its own, with teachers of its own, {by['date']}, {by['device']}.",
    "tab-coresets-fit",
)

# %% tags=["remove-input"]
Markdown(f"In the lowest band, left unmatched against random real images, {judged(seen, fits.index, 0)}.")

# %% [markdown]
# What does matching add to the teacher's cross-entropy, which LFM, HFM and CFM descend on too? The set of
# `classification` alone takes the place of $S_0$, and all are seen as they are:

# %% tags=["hide-input"]
Captioned(
    promise.transfers(lines("clean"), "classification").set_axis(BANDS, axis=1),
    "T against cross-entropy alone, by band of the third convolution's inputs: photographs, "
    f"ten images a class, n = {n}, with 95 % intervals. 1 is all gained; below 0 a method "
    "leaves more than the cross-entropy alone.",
    "tab-transfer",
)

# %% [markdown]
# In the method's own view the random images are augmented in the same way before they are compared. Of so many
# comparisons about one in twenty is told apart by chance, where nothing differs.
#
# A random choice of real images is hard to beat here, because it is unbiased: in expectation its correlations *are* the
# real ones, and a hundred images are many. Three things follow. Who says that a set matches the data must say in which
# view: the published CFM compares augmented synthetic images with plain real ones, and what is close there is further
# off seen plainly. Nearness alone cannot be what makes a distilled set better than real images, where it is better. And
# whoever wants both can match the plain view too. What a network learns from a set is for {doc}`12_results`.
#
# ## See for yourself
#
# Choose methods, a layer and a band: above, what is left unmatched; below it, the filter that each method's gradient
# acts as; then the images, and what the band sees of them. For that, the band's part of the features is taken back to
# the pixels, $J^\top P_j(\varphi(x) - \mu)$ with $J$ the derivative of the features $\varphi$ at the image: what a
# pixel would have to do to change that part. Random images have one view, so in the view *as a method sees* the line of
# `random` stays that of plain images.
#
# Before you choose *the network after ten epochs*: which methods will match its low band, and which the high one?

# %% tags=["hide-input"]
files = {m: promise.picture(m, "bands") for m in methods}
sheets = {m: pictures.lighter(f) for m, f in files.items() if f}
Captioned(
    MatchingExplorer(
        record,
        sheets,
        layers=list(record["rows"][0]["residuals by epoch"]["10"]),
        names=names[::3],
        methods=[m for m in ("lfm", "hfm", "dm") if m in methods],
        layer=LAYER,
        band=0,
    ),
    "What each method matches, band by band, mean ± standard deviation over the "
    "repetitions; and four images of the first one.",
    "fig-matching",
)

# %% [markdown]
# ## The filter a method behaves as
#
# {numref}`tab-behaves` says of every method that descends, at the start, in the middle and at the end: through which
# network its gradient is explained best, how much of it ($R^2$), how much of the gradient is cross-entropy, and the
# *tilt* of the weights over $\log\lambda$: 1 if all lie on the lowest band of each layer, −1 on the highest, 0 if they
# are even.

# %% tags=["hide-input"]
filters = promise.behaves(record)


def tilted(line):
    if pd.isna(line.tilt) or line.word == "unseen":
        return "–"
    ends = f" [{signed(line.low, 2)}, {signed(line.high, 2)}]"
    return signed(line.tilt, 2) + ends * (not pd.isna(line.low))


def share(value):
    return "–" if pd.isna(value) else f"{value:.2f}"


shown = {
    "method": filters.method,
    "place": filters.place,
    "seen through": filters.networks,
    "R²": filters.r2.map(share),
    "cross-entropy": filters.entropy.map(share),
    "bands, of the rest": filters.explained.map(share),
    "tilt [95 %]": [tilted(line) for line in filters.itertuples()],
}
Captioned(
    pd.DataFrame(shown).set_index(["method", "place"]),
    f"The filter each method behaves as, photographs, n = {n}. Positive tilt: low-pass. A "
    "dash where bands explain less than a quarter of what cross-entropy leaves.",
    "tab-behaves",
)

# %% [markdown]
# A sentence for each, worked out from the record: what the theory says, what was seen, and whether the promise is kept.

# %% tags=["remove-input"]
listed(promise.sentences(filters))

# %% [markdown]
# ## Does the network's training matter?
#
# The theory fixes the extractor. Here the same sets are looked at through the network before it is trained, after one
# epoch, and after ten.

# %% tags=["hide-input"]
columns = {}
for epochs, words in {0: "random weights", 1: "one epoch", 10: "ten epochs"}.items():
    means = promise.wide(lines("own", epochs=epochs))
    columns[words, "low"], columns[words, "high"] = means[0], means[max(means)]
Captioned(
    pd.DataFrame(columns).map("{:.2f}".format).rename_axis(None),
    "What is left unmatched in the lowest and in the highest band of the third "
    "convolution's inputs, as the method sees its images, after different training of "
    f"the probe; photographs, ten images a class, mean, n = {n}.",
    "tab-training",
)

# %% [markdown]
# ## Does matching gradients match the low band?
#
# The bounds of {doc}`05_bounds` go one way: whoever matches the correlations matches gradients and trajectories. The
# converse is not proven. If it held, a method that has descended on its gradients would leave less unmatched in the low
# band than the real images it began with, more clearly than in the high one. Seen through random weights, as these
# methods look, with what they do to the images:

# %% tags=["remove-input"]
GRADIENT = [m for m in ("dc", "dsa", "mtt", "tesla") if m in methods]
listed(
    f"`{m}`, {what}: {promise.left_of(of, m, 0)} of what random real images leave in the lowest band, "
    f"{promise.left_of(of, m, 3)} in the highest"
    for m in GRADIENT
    for kind, what in (("filter", "the spectrum"), ("class", "the class signal"))
    for of in (lines("own", kind, epochs=0),)
)
Markdown("Below × 1 the descent has brought the set nearer; in brackets the 95 % interval. (`dc` begins with noise.)")

# %% [markdown]
# ### Near the minimum, on a network that stays
#
# These methods draw networks anew, so none comes near the minimum of one loss. Now let the network stand still, as the
# theory has it: an expert before its training, and after ten epochs. Through it random real images descend on one loss
# alone, over all training images and without augmentation: DC's angles between gradients, MTT's distance to where the
# expert is two epochs later, DM's class means, and the correlations themselves, of the later layers. No bound ties them
# closely: DC's loss compares angles, class by class, in every layer, where the theory has one linear head.
#
# What a band is off by is here the root of its matching term, as in {eq}`eq-effective`: of Ψ, 1 is as if nothing of it
# were there; the class signal is in units of $\sqrt{\operatorname{tr}\Psi}$. DC has a control beside it: the same
# images with the same changes, but of pixels in another order.
#
# Before you look: which bands of the features will have come nearer to the data?

# %% tags=["hide-input"]
near = promise.found(study="minimum")
every = promise.ends(near)
ends = every[every.measure == "term"]
ON = {"gradients": "dc", "trajectory": "mtt", "means": "dm", "correlations": "correlations"}
STATES = {0: "random weights", 10: "ten epochs"}
SIGNAL, SPECTRUM = ("head", "class"), (LAYER, "filter")
repetitions = len(near["seeds"])


def places(layer, kind, band, on, epochs):
    of = ends[ends.on.eq(on) & ends.epochs.eq(epochs) & ends.band.eq(band)]
    return of[of.layer.eq(layer) & of.kind.eq(kind)]


def moved(*place):
    """What a band is off by at the end, as a part of what it was off by at the start."""
    of = places(*place)
    return Ratio.of((of.end / of.start).tolist())


own, traces, words = looks(list(ON.values())), [], []
for on, loss in ON.items():
    found = [moved(*SIGNAL, band, on, 0) for band in range(len(BANDS))]
    middle = plots.rounded([ratio.mean for ratio in found], 4)
    reach = {
        "array": plots.rounded([ratio.high - ratio.mean for ratio in found], 4),
        "arrayminus": plots.rounded([ratio.mean - ratio.low for ratio in found], 4),
    }
    drawn = {
        "line": {"color": own[loss].colour, "dash": own[loss].dash},
        "marker": {"color": own[loss].colour, "symbol": own[loss].symbol, "size": 9},
    }
    traces.append(go.Scatter(x=BANDS, y=middle, name=loss, error_y=reach, **drawn))
    words.append(f"{loss} {', '.join(f'{value:.2g}' for value in middle)}")
chart = plots.figure(
    traces,
    "What the class signal before the head is off by at the end, as a part of the start, "
    f"low band to high: {'; '.join(words)}.",
    height=360,
    xaxis={"title": "band", "showgrid": False},
    yaxis={"title": "off at the end ÷ at the start", "rangemode": "tozero"},
)
Captioned(
    chart.add_hline(1, line={"color": plots.TEXT, "dash": "dot", "width": 1}),
    "The class signal before the head: what each band is off by after a descent on one loss, "
    "as a part of what the random real images were off by; a network with random weights, "
    f"n = {repetitions}, 95 % intervals. Below 1 is nearer to the data.",
    "fig-near",
)

# %% [markdown]
# DM's line is no finding: its loss *is* that of the class means of these features. What the others leave, and
# what becomes of the spectrum:

# %% tags=["hide-input"]
COLUMNS = {
    ("class signal before the head", "low"): (*SIGNAL, 0),
    ("class signal before the head", "high"): (*SIGNAL, 3),
    ("Ψ before the head", "low"): ("head", "filter", 0),
    ("Ψ before the head", "high"): ("head", "filter", 3),
    ("Ψ of the third convolution", "low"): (*SPECTRUM, 0),
    ("Ψ of the third convolution", "high"): (*SPECTRUM, 3),
}


def shown_as(values):
    return f"{100 * values.mean():.1f} ± {100 * values.std():.1f}"


def line_of(epochs, on, side):
    return {column: shown_as(places(*place, on, epochs)[side]) for column, place in COLUMNS.items()}


found = {}
for epochs, state in STATES.items():
    found[state, "start"] = line_of(epochs, "gradients", "start")
    found |= {(state, loss): line_of(epochs, on, "end") for on, loss in ON.items()}
    found[state, "control of dc"] = line_of(epochs, "gradients", "control")
by = near["rows"][0]["provenance"]
Captioned(
    pd.DataFrame.from_dict(found, orient="index"),
    "What bands are off by, the lowest and the highest, in %, before and after a descent on "
    "each loss: 0 is matched. Photographs, ten images a class, mean ± standard deviation, "
    f"n = {repetitions}; {by['date']}, {by['device']}, python benchmarks/near_minimum.py.",
    "tab-near",
)

# %% tags=["remove-input"]
NEARER = {"less": "nearer", "more": "further off", "not told apart": "not told apart"}


def fallen(on, loss, epochs):
    """A loss after a descent on the same or another one, as a part of what it was."""
    of = [row for row in near["rows"] if row["on"] == on and row["epochs"] == epochs]
    return Ratio.of([row["after"][loss] / row["before"][loss] for row in of])


def both_ends(place, on, epochs):
    ratios = {name: moved(*place, band, on, epochs) for name, band in (("low", 0), ("high", 3))}
    return ", ".join(f"{name} band {NEARER[told(ratio)]} ({ratio})" for name, ratio in ratios.items())


def ended(place, band, on):
    """In words, where a band ends beside its start, through both networks."""
    seen = {NEARER[told(moved(*place, band, on, epochs))] for epochs in STATES}
    return seen.pop() if len(seen) == 1 else "nearer or not, by the network"


def answer(on):
    low, high = (ended(SIGNAL, band, on) for band in (0, 3))
    return (
        f"After a descent on {ON[on].upper()}'s loss the class signal before the head is, in the "
        f"low band, {low}, and in the high one {high}; the low band of Ψ before the third "
        f"convolution is {ended(SPECTRUM, 0, on)}."
    )


if repetitions >= tables.ENOUGH:
    listed(
        f"`{ON[on]}`, {STATES[epochs]}, its loss at {fallen(on, on, epochs)} of the start: class "
        f"signal before the head, {both_ends(SIGNAL, on, epochs)}; Ψ of the third convolution, "
        f"{both_ends(SPECTRUM, on, epochs)}"
        for epochs in STATES
        for on in ("gradients", "trajectory")
    )
    listed(
        f"the other way round, {STATES[epochs]}: the correlations' loss at "
        f"{fallen('correlations', 'correlations', epochs)}, and DC's at "
        f"{fallen('correlations', 'gradients', epochs)} of the start"
        for epochs in STATES
    )
    display(Markdown(" ".join(answer(on) for on in ("gradients", "trajectory"))))

# %% [markdown]
# ## The images

# %% tags=["remove-input"]
noise = " and ".join(f"`{m}`" for m in promise.from_noise(record))
display(
    Markdown(
        "Methods that descend began with the photographs of the row `random`, but for "
        f"{noise}, which began with noise, and `fadrm`, whose patches a teacher chose."
    )
)
strips = {m: promise.picture(m, "images") for m in methods}
strips = {m: pictures.tiles(found) for m, found in strips.items() if found}
rows = torch.arange(len(strips)).repeat_interleave(len(names))
alt = f"Images of {', '.join(names)}, a row for each of {', '.join(strips)}"
Captioned(
    plots.image_grid(torch.cat([*strips.values()]), rows, tuple(strips), alt=alt),
    f"One image of each class of the first repetition: {', '.join(names)}. Compare a column with its place in the row "
    "of random images: what the descent has changed is what a method writes. Coresets choose other photographs, RDED "
    "cuts of them; DC stays near the noise it begins with.",
    "fig-methods-images",
)

# %% tags=["hide-input"]
measured = {
    "fine detail (%)": lambda seen: 100 * seen["high"],
    "diversity of pixels (%)": lambda seen: 100 * seen["diversity"]["pixels"],
    "of features (%)": lambda seen: 100 * seen["diversity"]["features"],
}
about = {
    words: {m: [of(r["images"]) for r in record["rows"] if r["method"] == m] for m in methods}
    for words, of in measured.items()
}


def spread(values):
    found = pd.Series(values)
    return f"{found.mean():.1f}" + f" ± {found.std():.1f}" * (len(found) > 1)


Captioned(
    pd.DataFrame(about).map(spread),
    "Fine detail is the share of an image's power above a quarter of a cycle a pixel; "
    "diversity is that of the images of a class, by pixels and by the teacher's features. "
    f"Mean ± standard deviation, n = {n}.",
    "tab-methods-images",
)

# %% tags=["remove-input"]
fine = about["fine detail (%)"]
if n >= tables.ENOUGH:
    sides = {"more": [], "less": [], "not told apart": []}
    for m in OTHERS:
        _, low, high = tables.paired(fine[m], fine["random"])
        sides["more" if low > 0 else "less" if high < 0 else "not told apart"].append(f"`{m}`")
    listed(
        f"fine detail beside that of random photographs, {word}: {', '.join(ms)}" for word, ms in sides.items() if ms
    )

# %% tags=["hide-input"]
KNOWN = ("random", "classification", "lfm", "hfm", "cfm", "dm", "dc", "mtt")
shown = [m for m in KNOWN if m in methods]
its, traces = looks(shown), []
for m in shown:
    of = [row["images"]["spectrum"] for row in record["rows"] if row["method"] == m]
    power = torch.tensor(of).mean(0)
    frequency = torch.arange(1, len(power) + 1) / (2 * len(power))
    line = {"color": its[m].colour, "dash": its[m].dash, "width": 2.5}
    points = {"x": plots.rounded(frequency, 4), "y": plots.rounded(power, 4)}
    traces.append(go.Scatter(points, name=m, line=line))
Captioned(
    plots.figure(
        traces,
        f"Share of an image's power over frequency, for {', '.join(shown)}.",
        xaxis={"title": "frequency, cycles a pixel"},
        yaxis={"type": "log", "title": "share of an image's power"},
    ),
    f"Where the power of the images lies: the mean of images, each over its own energy, n = {n}.",
    "fig-methods-power",
)

# %% [markdown]
# ## What this shows, and what not
#
# - The bands are those of one data set at 32×32 pixels, the descents much shorter than the published ones. The numbers
#   say how the methods behave *here*; `--study.budget` and `--study.dataset` ask for others.
# - $R^2$ near 1 says that the filter is all there is to a gradient, at that place and through that network. A small one
#   says that the method does something no filter on correlations describes, or that its draws are noisier than eight of
#   them average out: the record has the share of noise.
# - Where cross-entropy takes a large part of the gradient ({numref}`tab-behaves`), what matching adds shows in
#   {numref}`tab-unmatched`, in the line of `classification` against the others, more than in the gradient.
# - {numref}`tab-near` is of one network at a time, and of descents that stopped where the loss still fell a little: the
#   record has how long the gradient was at the end beside the start. A band that is further off than in random real
#   images has been moved by what the loss does not look at.
# - Whether any of this makes a set better to learn from is another question, which {doc}`12_results` asks.
#
# ## Exercises
#
# 1. A set has the right power along half of the directions of a band, and none along the other half. What is $e$ of the
#    band? What is it for a set with twice the right power everywhere?
# 2. Why do the weights $c_j$ have to be at least 0?
# 3. {numref}`tab-unmatched` measures with the repetition's own teacher. Why does that favour methods that descend
#    through it, and which table says how much?
#
# ```{admonition} Solution 1
# :class: dropdown
# The mean of 0 and 1 over the directions, 0.5; and 1 everywhere. $e$ does not tell too much from too little.
# ```
#
# ```{admonition} Solution 2
# :class: dropdown
# A response enters a loss squared. A negative weight would be a term that pushes a band *away* from the real one, which
# is no filter.
# ```
#
# ```{admonition} Solution 3
# :class: dropdown
# What is matched through a network is matched at its own directions, which another network does not have.
# {numref}`tab-training` looks through networks the methods have not seen.
# ```
#
# The code of this page: `unidd/core/bands.py` (`residual`, `transfer`, `band_terms`), `unidd/bench/residuals.py`,
# `unidd/bench/effective.py`, `unidd/bench/promise.py`. Its tests: `tests/core/test_theory_deep.py`,
# `tests/bench/test_effective.py`, `tests/bench/test_near_minimum.py`. Its records: `benchmarks/spectra_of_methods.py`,
# `benchmarks/near_minimum.py`. Next: {doc}`12_results`.
