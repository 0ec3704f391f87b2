# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # What a filter writes into an image
#
# **The question.** A {term}`ridge filter` with a small β lifts the small eigenvalues, and of pixels small eigenvalues
# are fine structure. So does it *write detail* into the images? The paper shows pictures {cite}`bo2026unidd`; here it
# is measured: on digits, where the filter acts on the pixels themselves, and on photographs, where a network lies
# between.
#
# *All features of the digits are {ref}`centred <def-correlations>` here, by the mean of the real ones. Of the
# photographs, $\Psi$ is of centred features, each side by its own mean, and $\Phi$ is the mean feature.*
#
# ## Guess, then look
#
# The same ten photographs, the same network and the same number of steps; only the filter differs: linear is
# {term}`LFM`, ridge {term}`HFM`, and Landweber stops after $t$ steps with $1/(\alpha t)$ near the published β of 0.1.
# *None* matches nothing: it descends the teacher's cross-entropy alone, which all the others do beside matching. Which
# filter writes the most detail?

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")
# %% tags=["hide-input"]
import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from IPython.display import Markdown

import unidd
from unidd.bench.records import published
from unidd.bench.words import signed
from unidd.book import chapter, plots
from unidd.book.captions import Captioned
from unidd.book.linear import Digits
from unidd.book.named import named
from unidd.book.palette import look
from unidd.book.widgets import ImageExplorer
from unidd.core.filters import Linear, Ridge
from unidd.core.spectra import high_frequency_share, spectrum
from unidd.core.statistics import covariance
from unidd.data.synthetic import SyntheticSet

data = unidd.load("photos")
teacher = unidd.teach(data)
recipes = {
    "none": {"method": "classification"},
    "linear": {"method": "lfm"},
    "Landweber": {"method": "hfm", "filter": "landweber"},
    "ridge, β = 1": {"method": "hfm", "beta": 1.0},
    "ridge, β = 0.01": {"method": "hfm", "beta": 0.01},
}
options = {"steps": 100, "teacher": teacher, "progress": False}
images = {}
for name, recipe in recipes.items():
    images[name] = unidd.distill(data, **recipe, **options).images
start = SyntheticSet.from_real(data, ipc=1, seed=0).images

# %% tags=["hide-input"]
folder = published("studies", "filters")
paths = sorted(folder.glob("photos-seed*.json"))
records = [json.loads(path.read_text()) for path in paths]
n, about = len(records), records[0]["provenance"]
explorer = ImageExplorer(
    images,
    start,
    powers={
        name: np.array([record["measured"][name]["spectrum"] for record in records])
        for name in [*images, "start", "real"]
    },
    names=data.class_names,
    about="photos",
    chosen="ridge, β = 0.01",
    against="linear",
)
Captioned(
    explorer,
    "Choose a filter and another to hold it against. At the right end of the curves, "
    "above ¼ cycle a pixel, is the fine detail. The pictures are made by this page, "
    f"curves and shares are means over {n} repetitions of a record.",
    "fig-images-explorer",
)

# %% [markdown]
# ## What counts as detail
#
# The power spectral density of an image tells how much of its variance lies at each frequency. Averaged over all
# directions it is a curve,
#
# $$
# \begin{aligned}
# P(r) ={}& \frac{1}{|\{k : |k| = r\}| \sum w^2} \\
# & \cdot \sum_{|k| = r} \bigl|\mathcal F\{w\,(I - \bar I)\}(k)\bigr|^2,
# \end{aligned}
# $$ (eq-radial)
#
# for an image $I$ with mean $\bar I$ and a Hann window $w$ against the jump at its borders. **Fine detail** is the
# share of the power above ¼ cycle a pixel, structure finer than four pixels, each ring of frequencies counted by its
# circumference $r$:
#
# $$ H = \frac{\sum_{r > 1/4} r\,P(r)}{\sum_r r\,P(r)} . $$ (eq-high)
#
# For a set of images there are two ways to count. This book takes the **mean of the images' shares**, in which every
# image counts once; the curves of the explorer are normalised likewise, each image's $P$ over its own $\sum_r r\,P(r)$,
# so that the share of the curve *is* that mean. The other way is the **share of the pooled power**: add up $P$ over the
# images first. There an image of strong contrast outweighs ten faint ones. The two can rank filters differently; both
# stand side by side once, in {numref}`tab-detail`.
#
# ## Where the theory is exact: digits
#
# The ten digits of the {doc}`first page </book/index>`, distilled for a linear learner: only $f(\Psi)\Phi$ is matched,
# with no network and no cross-entropy. With pixels as features the filter acts on the pixels' own spectrum.

# %% tags=["hide-input"]
digits = Digits(unidd.load("digits"), "pixels")
first = digits.first()
rows = {"start": digits.train[first]}
for name, beta in (("allpass", 1), ("linear", 1), ("ridge", 1), ("ridge", 0.01)):
    *_, (made, _) = digits.distill(digits.filter(name, beta), first)
    named_so = {"allpass": "all-pass", "ridge": f"ridge, β = {beta}"}.get(name, name)
    rows[named_so] = made
pictures = {name: x.view(-1, 1, 8, 8).float() for name, x in rows.items()}
fine = {}
for name, x in pictures.items():
    fine[name] = f"{100 * high_frequency_share(x).mean():.0f} %"
Captioned(
    plots.image_grid(
        torch.cat(list(pictures.values())),
        torch.arange(len(rows)).repeat_interleave(10),
        tuple(rows),
        alt=f"Ten digits, a row each: {', '.join(rows)}.",
        pixel=4,
    ),
    f"Fine detail is {fine['start']} of the power at the start, {fine['all-pass']} "
    f"with all-pass, {fine['linear']} with linear, {fine['ridge, β = 1']} and "
    f"{fine['ridge, β = 0.01']} with ridge, whose β is in mean eigenvalues. Look for "
    "smooth strokes, and for grain.",
    "fig-digits-detail",
)

# %% [markdown]
# ## Four ways to meet a filter
#
# One run shows little. The figure holds four settings, each with its repetitions. Of the digits: pixels as features,
# and 256 random ReLU features of them, Landweber with 20 steps at the rate $1/\lambda_{\max}$. Of the photographs,
# through a trained network: matching alone (by a weight $\eta$ of matching so large that cross-entropy does not count),
# and matching beside cross-entropy, as in the explorer. A repetition of the photographs trains **its own teacher**.

# %% tags=["hide-input"]
record = json.loads((folder / "digits.json").read_text())
ALONE, BESIDE = "photos, matching alone", "photos, beside cross-entropy"
settings = {}  # setting → filter → share of fine detail of each repetition
for kind, words in (("pixels", "digits, pixels"), ("relu", "digits, ReLU features")):
    of_kind = record["measured"][kind]
    settings[words] = {name: np.array(found["high"]) for name, found in of_kind.items()}


def values(name, key="high"):
    """A quantity of the photographs, by repetition."""
    return np.array([record["measured"][name][key] for record in records])


everything = list(records[0]["measured"])
alone = [name for name in everything if name.endswith(", alone")]
settings[ALONE] = {name.removesuffix(", alone"): values(name) for name in alone}
settings[ALONE] |= {"start": values("start")}
beside = [name for name in everything if name not in (*alone, "real")]
settings[BESIDE] = {name: values(name) for name in beside}
dates = sorted({of["provenance"]["date"] for of in (record, *records)})
repetitions = {words: len(found["start"]) for words, found in settings.items()}
Markdown(
    f"Read from dated records ({', '.join(dates)}; {about['device']}, torch "
    f"{about['torch']}): {repetitions['digits, pixels']} random starts of the digits; "
    f"{n} repetitions of the photographs, {records[0]['ipc']} images a class, "
    f"{records[0]['steps']} steps a round, teachers of "
    f"{min(r['teacher']['accuracy'] for r in records):.1f} to "
    f"{max(r['teacher']['accuracy'] for r in records):.1f} % test accuracy."
)


# %% tags=["hide-input"]
def interval(differences):
    """Mean of paired differences, and half its 95 % interval by Student's t."""
    low, high = chapter.interval(differences.tolist())
    return (low + high) / 2, (high - low) / 2


LOOKS = {"none": "classification", "Landweber": "landweber"}
shown = ["all-pass", "linear", "Landweber", "ridge, β = 1", "ridge, β = 0.01", "none"]
traces = []
for i, name in enumerate(shown):
    lanes = [lane for lane, found in enumerate(settings.values()) if name in found]
    found = [list(settings.values())[lane] for lane in lanes]
    gains = [interval(100 * (x[name] - x["start"])) for x in found]
    seen = look(LOOKS.get(name, name.split(",")[0]))
    open_marker = "-open" if name == "ridge, β = 0.01" else ""
    marker = {"color": seen.colour, "symbol": seen.symbol + open_marker, "size": 10}
    traces.append(
        go.Scatter(
            x=[round(gain, 2) for gain, _ in gains],
            y=[lane + (i - 2.5) * 0.12 for lane in lanes],
            error_x={"array": [round(w, 2) for _, w in gains], "thickness": 1.5},
            mode="markers",
            marker=marker,
            name=name,
        )
    )
lanes = {"tickvals": list(range(4)), "ticktext": list(settings), "showgrid": False}
chart = plots.figure(
    traces,
    "Fine detail less that of the images at the start, in points, by filter, in four "
    f"settings: {', '.join(settings)}; with 95 % intervals.",
    height=460,
    xaxis={"title": "fine detail added, points"},
    yaxis=lanes | {"range": [3.5, -0.5]},
)
zero = {"color": plots.TEXT, "dash": "dot", "width": 1.5}
chart.add_shape(type="line", x0=0, x1=0, y0=-0.5, y1=3.5, line=zero)
HIGH, LOW = "ridge, β = 0.01", "linear"
lead = [100 * (x[HIGH] - x[LOW]).mean() for x in settings.values()]
points = [signed(gain) for gain in lead]
Captioned(
    chart,
    f"Fine detail added to the images at the start, with 95 % intervals. From {LOW} "
    f"to {HIGH} it is {points[0]} points on the pixels' own spectrum, {points[1]} on "
    f"random features, {points[2]} in the network, and {points[3]} beside its "
    "cross-entropy. β is in mean eigenvalues for the digits, absolute for the photos.",
    "fig-detail",
)


# %% tags=["hide-input"]
def percent(share):
    return "–" if pd.isna(share) else f"{100 * share:.1f} %"


columns = ("pixels", "ReLU", "photos: alone", "photos: beside")
means = {}
for words, found in zip(columns, settings.values(), strict=True):
    means[words] = {name: x.mean() for name, x in found.items()}
means["pooled"] = {name: values(name, "pooled").mean() for name in beside}
order = ["start", *shown]
Captioned(
    pd.DataFrame(means).loc[order].map(percent),
    "Fine detail, mean over repetitions: of digits by pixels and by ReLU features "
    f"(n = {repetitions['digits, pixels']}), of photographs by matching alone and "
    f"beside cross-entropy (n = {n}); the figure above has the spread. The last two "
    "columns are the same photographs beside cross-entropy, counted in two ways: every "
    "image once, and by pooled power. Real photographs: "
    f"{percent(values('real').mean())} and "
    f"{percent(values('real', 'pooled').mean())}; real digits: "
    f"{percent(record['real'])}.",
    "tab-detail",
)


# %% [markdown]
# ## The answer, in words
#
# Differences are paired: both images of a pair started from the same real ones and, of the photographs, had the same
# teacher. A difference is called one when its 95 % interval (Student's *t*) leaves out 0, and when there are at least
# five repetitions.


# %% tags=["hide-input"]
def compare(found, high, low):
    """More, less or no clear difference, with the numbers; the verdict alone."""
    gain, width = interval(100 * (found[high] - found[low]))
    count = len(found[high])
    verdict = "more" if gain > 0 else "less"
    verdict = verdict if abs(gain) > width else "no clear difference"
    verdict = verdict if count >= 5 else "no verdict"
    return verdict, f"{verdict} ({signed(gain)} ± {width:.1f} points, n = {count})"


verdicts = {words: compare(found, HIGH, LOW) for words, found in settings.items()}
pooled = {name: values(name, "pooled") for name in (HIGH, LOW)}
verdicts["the same by pooled power"] = compare(pooled, HIGH, LOW)
held = {name: compare(settings[BESIDE], name, "none") for name in (LOW, HIGH)}
over = [compare(found, HIGH, "start")[0] for found in settings.values()]
# What the text below says in words. A new record that says otherwise asks for new words.
assert lead[0] > lead[1] > lead[2] > 0 > lead[3]
said = [verdict for verdict, _ in verdicts.values()]
assert said == ["more", "more", "more", "less", "no clear difference"]
assert [held[LOW][0], held[HIGH][0]] == ["no clear difference", "less"]
assert over[:3] == ["more", "no clear difference", "no clear difference"]
assert compare(settings[ALONE], HIGH, "all-pass")[0] == "no clear difference"
Markdown(
    f"Fine detail of **{HIGH}** against **{LOW}**:\n\n"
    + "\n".join(f"- {words}: {sentence}" for words, (_, sentence) in verdicts.items())
    + "\n\nAnd against cross-entropy alone, *none*:\n\n"
    + "\n".join(f"- {name} beside it: {words}" for name, (_, words) in held.items())
)

# %% tags=["hide-input"]
most = max(shown, key=lambda name: settings[BESIDE][name].mean())
detail = {}
for name, x in settings[BESIDE].items():
    words = f"fine detail of {name}, photos"
    detail[name] = named(words, x.mean(), percent(x.mean()))
Markdown(
    "**So, does lifting small eigenvalues write detail? On pixels, yes; on random "
    "features of them and through a network, more than the linear filter does, but "
    "not clearly more than was there at the start. Beside "
    f"cross-entropy, no.** There photographs that start with {detail['start']} of "
    f"fine detail end with {detail['none']} by cross-entropy alone, {detail[LOW]} "
    f"with the linear filter beside it and {detail[HIGH]} with {HIGH}: the high-pass "
    "filter holds detail back. By pooled power the two filters are not told apart."
)

# %% [markdown]
# On random features and in the network, *more* means more than with the linear filter. More than at the start is not
# shown (in {numref}`fig-detail` the intervals of ridge reach over zero), nor, in the network, more than with all-pass,
# which lifts nothing.
#
# Why? What follows is an explanation, not a measurement. A filter pushes on directions of *features*. With pixels as
# features, a direction of small eigenvalue is fine structure, and to lift it is to write it. In a network, small
# eigenvalues belong to combinations of channels, and what a pixel must do to move them the network decides.
# Cross-entropy writes high frequencies by itself (*none* against the start) and drives the statistics far from those of
# the data (the player of {doc}`08_cfm` shows how far). Beside it, to *match* a small eigenvalue is to keep it as
# **small** as in real images, and what a small β weighs most is just that.
#
# Detail is no merit by itself. Grainy digits made from pixels serve the learner they were made for, and others badly;
# on ReLU features a moderate β serves both:

# %% tags=["hide-input"]
outcomes = {}
for kind, words in (("pixels", "pixels"), ("relu", "ReLU")):
    for name in ("all-pass", "linear", "Landweber", "ridge, β = 1", "ridge, β = 0.01"):
        of_kind = record["measured"][kind][name]
        row = outcomes[f"{words}: {name}"] = {}
        row["fine detail"] = percent(np.mean(of_kind["high"]))
        for learner in ("own learner", "nearest image"):
            x = np.array(of_kind[learner])
            row[learner] = f"{x.mean():.1f} ± {x.std(ddof=1):.1f}"
one, other = (outcomes[f"pixels: {name}"] for name in (LOW, "ridge, β = 1"))
Captioned(
    pd.DataFrame(outcomes).T,
    "Test accuracy in %, mean ± standard deviation over "
    f"{repetitions['digits, pixels']} random starts: of a ridge learner, whose head "
    "ridge matches, and of the nearest of the ten images. On pixels, from "
    f"linear to ridge with β = 1 the first goes from {one['own learner']} to "
    f"{other['own learner']}, the second from {one['nearest image']} to "
    f"{other['nearest image']}.",
    "tab-detail-accuracy",
)

# %% [markdown]
# ## The algebra: which directions a filter pushes
#
# The filter term compares $f(\Psi_s)$ with a target $T = f(\Psi)$. For its square,
# $L = \tfrac12\lVert f(\Psi_s) - T\rVert_F^2$, and the eigendecomposition $\Psi_s = U \Lambda U^\top$ of the synthetic
# {term}`FFC`, the gradient is
#
# $$
# \begin{gathered}
# \frac{\partial L}{\partial \Psi_s} = U (D \circ M)\, U^\top, \\
# M = U^\top (f(\Psi_s) - T)\, U, \\
# D_{ij} = \frac{f(\lambda_i) - f(\lambda_j)}{\lambda_i - \lambda_j},
# \end{gathered}
# $$ (eq-divided)
#
# with $D_{ii} = f'(\lambda_i)$ and $\circ$ the entrywise product (Daleckii and Krein). So $D$ says how hard the filter
# pushes on each pair of directions. For the linear filter and for ridge it is
#
# $$
# \begin{gathered}
# D_{ij}^{\text{lin}} = 1, \\
# D_{ij}^{\text{ridge}} = \frac{-1}{(\lambda_i + \beta)(\lambda_j + \beta)} .
# \end{gathered}
# $$ (eq-push)
#
# The linear filter pushes on all pairs alike, so the large differences, those of the low frequencies, decide. Ridge
# divides by both eigenvalues: with a small $\beta$ it pushes on pairs of *small* eigenvalues up to
# $((\lambda_1 + \beta)/\beta)^2$ times as hard as on the largest. A feature $x_k$, one of $m$ synthetic rows with mean
# $\mu$, feels
#
# $$ \frac{\partial L}{\partial x_k} = \frac2m\, \frac{\partial L}{\partial \Psi_s}\,(x_k - \mu) . $$ (eq-feature)
#
# **The check.** Autograd, which knows nothing of eigenvectors here, agrees:

# %%
generator = torch.Generator().manual_seed(0)
scales = torch.logspace(0, -2, 12, dtype=torch.float64)
x = torch.randn(200, 12, generator=generator, dtype=torch.float64) * scales
x.requires_grad_()
other = torch.randn(200, 12, generator=generator, dtype=torch.float64)
target, beta = covariance(other), 0.01

for f in (Linear(), Ridge(beta)):
    difference = f.matrix(covariance(x)) - f.matrix(target)
    (gradient,) = torch.autograd.grad(difference.square().sum() / 2, x)
    lam, U = spectrum(covariance(x).detach())
    linear = isinstance(f, Linear)
    push = torch.ones(12, 12) if linear else -1 / torch.outer(lam + beta, lam + beta)
    by_ffc = U @ (push * (U.T @ difference.detach() @ U)) @ U.T
    by_hand = 2 / len(x) * (x - x.mean(0)).detach() @ by_ffc
    error = float((gradient - by_hand).norm() / gradient.norm())
    assert error < 1e-10
    print(f"{type(f).__name__:7s} relative difference {error:.0e}")

# %% [markdown]
# ## Diversity
#
# Images of one class that all look alike waste their number. With features $z_i$ of the images of class $k$, either
# the pixels or the teacher's penultimate layer, diversity is one less the mean cosine similarity of pairs,
#
# $$
# \begin{gathered}
# V = 1 - \frac1c \sum_k V_k, \\
# V_k = \frac{1}{m_k(m_k - 1)} \sum_{i \ne j}
# \frac{z_i^\top z_j}{\lVert z_i\rVert\,\lVert z_j\rVert} ,
# \end{gathered}
# $$ (eq-diversity)
#
# the inner sum over pairs of the $m_k$ images of class $k$.

# %% tags=["hide-input"]
against = {}
for name in ("real", *order):
    against[name] = {}
    for key in ("pixels", "features"):
        x = values(name, key)
        against[name][f"of {key}"] = f"{x.mean():.3f} ± {x.std(ddof=1):.3f}"
lost = []
for key in ("pixels", "features"):
    both = {name: values(name, key) for name in ("none", "start")}
    lost.append(compare(both, "none", "start")[0])
Captioned(
    pd.DataFrame(against).T,
    f"Diversity within classes, mean ± standard deviation, n = {n}. Cross-entropy "
    f"alone leaves {lost[0]} of it than the start has in pixels, and {lost[1]} in "
    "features.",
    "tab-diversity",
)

# %% [markdown]
# What such images do to a student's accuracy is on the [results](12_results) page.
#
# ## Exercises
#
# 1. Show from {eq}`eq-divided` that the all-pass filter's filter term gives no gradient at all. What is left to match?
# 2. For ridge, how much harder is the pair of smallest eigenvalues pushed than the pair of largest ones, if
#    $\lambda_1 = 1$, $\lambda_d = 0$ and $\beta = 0.1$?
# 3. Why must diversity be measured at IPC 2 or more, and why does the page pair differences by repetition?
# 4. Two images: one of power 1 with a share of fine detail of 0.4, one of power 9 with 0.1. What do the two ways of
#    counting say?
#
# ```{admonition} Solution 1
# :class: dropdown
# $f = 1$ gives $f(\lambda_i) - f(\lambda_j) = 0$ and $f' = 0$, so $D = 0$. What is left is the signal term, in which
# $f(\Psi_s)\Phi_s = \Phi_s$: here the mean feature of all images. With one-hot targets it would be the class means,
# which is distribution matching.
# ```
#
# ```{admonition} Solution 2
# :class: dropdown
# $D_{dd}/D_{11} = ((\lambda_1 + \beta)/(\lambda_d + \beta))^2 = (1.1/0.1)^2 = 121$.
# ```
#
# ```{admonition} Solution 3
# :class: dropdown
# One image has no pair, so the sum in {eq}`eq-diversity` is empty. Repetitions differ in their starting photographs and
# teachers; a difference taken within one leaves out what all its sets have in common.
# ```
#
# ```{admonition} Solution 4
# :class: dropdown
# The mean of the shares is 0.25, the share of the pooled power $(0.4 \cdot 1 + 0.1 \cdot 9)/10 = 0.13$.
# ```
#
# The code of this page: `unidd/core/spectra.py` (`radial_power`, `normalised_power`, `high_frequency_share`,
# `consistency`), `unidd/core/filters.py`, `unidd/book/linear.py` (the digits), `unidd/methods/cfm.py`
# (`CFM.layer_filter`). Its tests: `tests/core/test_theory_images.py`. Its records: `benchmarks/filter_images.py`. Next:
# {doc}`08_cfm`.
