# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # A zoo of filters
#
# **The question.** What does a distillation method look at in the real data, and what does it overlook? Every method
# that matches looks at features through the eigenvalues of their {term}`correlation matrix <FFC>`,
#
# $$
# \begin{gathered}
# \Psi = U \Lambda U^\top, \\
# \Lambda = \operatorname{diag}(\lambda_1 \ge \dots \ge \lambda_d \ge 0),
# \end{gathered}
# $$ (eq-eigen)
#
# and through a {term}`filter`, a function $f$ that weighs them:
#
# $$ f(\Psi) = U f(\Lambda)\, U^\top . $$ (eq-filter)
#
# Rows are *centred* on this page: $\Psi$ is their covariance ({ref}`the definition <def-correlations>`). A **large**
# eigenvalue belongs to a direction in which the features vary a lot, a **low** {term}`frequency`. So an increasing $f$
# is low-pass, a decreasing one high-pass {cite}`bo2026unidd`.
#
# ## Choose a filter
#
# The grey hill is the density of a layer's eigenvalues, and each tick below it is one of them. A filter *passes* those
# to which it gives at least half its largest weight; coloured bars show which. The first "layer" is the 8×8 patches of
# a photograph. For it, the photograph is shown as each filter leaves it: every patch $x$ becomes $f(\Psi)x$,
# overlapping patches are averaged, and the contrast is brought back to the photograph's own. The other layers are the
# inputs of the convolutions of a trained network, the {term}`teacher` on `photos`; they have no picture.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import pandas as pd
import plotly.graph_objects as go
import torch

import unidd
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.book.pictures import patches, photograph
from unidd.book.widgets import FilterExplorer
from unidd.core import schedules
from unidd.core.filters import AllPass, BandPass, Landweber, Linear, Residual, Ridge
from unidd.core.spectra import effective_dimension, spectrum
from unidd.core.statistics import covariance, real_statistics
from unidd.networks.models import tapped_layers

data = unidd.load("photos")
teacher = unidd.teach(data)
images, labels = data.normalise(data.train.images), data.train.labels
batches = zip(images.split(500), labels.split(500), strict=True)
moments = real_statistics(teacher.model, batches, tapped_layers(teacher.model)).values()

ffc = {f"conv {i}, {len(m.ffc)} channels": m.ffc for i, m in enumerate(moments, 1)}
eigenvalues = {name: spectrum(psi).eigenvalues for name, psi in ffc.items()}
picture = photograph("camera")
explorer = FilterExplorer(eigenvalues, picture=picture)
Captioned(
    explorer,
    "A low-pass filter leaves a blur of the photograph, a high-pass one its outlines "
    "and grain. Make β small, then large, and watch which eigenvalues are passed.",
    "fig-zoo",
)

# %% [markdown]
# Four things to try. The formulas follow below: β belongs to ridge, α and $t$ are the rate and the number of steps of a
# gradient descent.
#
# 1. **Make β small, then large.** Small, ridge passes only the smallest eigenvalues: many *directions* perhaps, but
#    little of the *variance*, and the photograph is all edges. Large, it is flat, and the photograph comes back.
# 2. **Tie β to 1/(αt) and move t.** Ridge and Landweber draw nearly the same curve and the same picture. Stopping
#    early is regularising.
# 3. **Choose band-pass and move its centre** from right to left: first blobs, then edges, at last grain.
# 4. **Push α·λmax above 1.** The residual filter turns back up, or negative, at the largest eigenvalues: descent
#    overshoots there, and the photograph may turn into its own negative.
#
# In JupyterLab the explorer is live both ways: move a slider and read `explorer.beta`, or set it.
#
# ## Spectra to filter

# %% tags=["hide-input"]
X = patches(picture)
pixels = covariance(X)
PIXELS = "pixels, 8×8 patches"
spectra = {PIXELS: spectrum(pixels).eigenvalues, **eigenvalues}


def describe(lam):
    return {
        "largest λ": f"{float(lam.max()):.3g}",
        "mean λ": f"{float(lam.mean()):.3g}",
        "λ < mean / 10": f"{float((lam < lam.mean() / 10).double().mean()):.0%}",
        "variance in largest": f"{float(lam.max() / lam.sum()):.0%}",
    }


Captioned(
    pd.DataFrame([describe(lam) for lam in spectra.values()], index=list(spectra)),
    "A few directions hold most of the variance, and many hold next to none. "
    f"({len(X)} patches of one photograph; a teacher of {len(images):,} images, which "
    f"gets {teacher.accuracy:.1f} % of the test images right.)",
    "tab-spectra",
)

# %% [markdown]
# What a method does with those many small eigenvalues sets it apart.
#
# ## Six filters
#
# Distribution matching (DM) {cite}`zhao2023dm` compares class means: its filter lets all pass. Gradient matching
# (DC) {cite}`zhao2021dc` adds a term in $\Psi$ itself, which is low-pass:
#
# $$ f_{\text{all}}(\lambda) = 1, \qquad f_{\text{lin}}(\lambda) = \lambda . $$ (eq-low)
#
# Trajectory matching (MTT) {cite}`cazenavette2022mtt` follows $t$ steps of gradient descent with rate $\alpha$. Of a
# linear head with initial weights $W_0$ these steps leave $r_t(\Psi)W_0$, and have learnt $s_t(\Psi)\Phi$:
#
# $$
# \begin{gathered}
# r_t(\lambda) = (1 - \alpha\lambda)^t, \\
# s_t(\lambda) = \frac{1 - (1 - \alpha\lambda)^t}{\lambda} .
# \end{gathered}
# $$ (eq-descent)
#
# Kernel ridge regression (KIP {cite}`nguyen2021kip`, FRePo {cite}`zhou2022frepo`) solves for the weights at once, and
# {term}`CFM` takes the same filter:
#
# $$ f_\beta(\lambda) = \frac{1}{\lambda + \beta} . $$ (eq-ridge)
#
# None of these methods uses the sixth, but nothing shows better what a frequency is: it keeps one band and drops the
# rest,
#
# $$ f_{[a,b)}(\lambda) = \begin{cases} 1 & a \le \lambda < b, \\ 0 & \text{otherwise.} \end{cases} $$ (eq-bandpass)
#
# The [next chapter](04_methods) derives where each comes from. Only the shape of a filter matters, so each is drawn
# relative to its own maximum, over the spectrum of the last convolution.

# %%
layer = list(eigenvalues)[-1]
lam = eigenvalues[layer]
alpha, t = float(1 / lam.max()), 20
beta = float(lam.mean())

six = {
    "all-pass": AllPass(),
    "linear": Linear(),
    "ridge": Ridge(beta),
    "Landweber": Landweber(alpha, t),
    "residual": Residual(alpha, t),
    "band-pass": BandPass(beta / 10, beta),
}

# %% tags=["hide-input"]
Captioned(
    plots.filters(six, lam, layer),
    "Linear favours the few large eigenvalues on the right; ridge, Landweber and "
    "residual favour the many small ones. Ridge and Landweber have much the same "
    "shape.",
    "fig-six-filters",
)

# %% [markdown]
# ## From scratch: what a filter does to digits
#
# On the digits of the [first page](../book/index) one sees what $f$ decides. $f(\Psi)\Phi$ is a linear head: it turns
# the features of an image into a score for each class. Here are the heads of five filters, from all real digits, with β
# the mean eigenvalue of their pixels, descent of 20 steps at the rate $1/\lambda_{\max}$, and the band from β/10 to β.
# (Residual is left out: it says what remains of a start, not of $\Phi$.)

# %%
digits = unidd.load("digits")
x, x_test = (s.images.flatten(1).double() / 255 for s in (digits.train, digits.test))
x, x_test = x - x.mean(0), x_test - x.mean(0)  # centred: one mean for both
y = torch.eye(10, dtype=torch.float64)[digits.train.labels]

values, U = torch.linalg.eigh(x.T @ x / len(x))
values = values.clamp_min(0)
ridge_beta, rate = values.mean(), 1 / values.max()
responses = {
    "all-pass": torch.ones_like(values),
    "linear": values,
    "ridge": 1 / (values + ridge_beta),
    "Landweber": rate * sum((1 - rate * values) ** k for k in range(t)),
    "band-pass": ((values >= ridge_beta / 10) & (values < ridge_beta)).double(),
}
accuracy = {}
for name, f in responses.items():
    W = (U * f) @ U.T @ (x.T @ y / len(x))  # f(Ψ)Φ
    right = (x_test @ W).argmax(1) == digits.test.labels
    accuracy[name] = 100 * float(right.double().mean())

# %% tags=["hide-input"]
best, worst = (pick(accuracy, key=accuracy.get) for pick in (max, min))
assert worst == "band-pass"
Captioned(
    pd.DataFrame({"test accuracy (%)": {k: f"{v:.1f}" for k, v in accuracy.items()}}),
    f"The same two matrices through five filters, tested on {len(x_test)} digits: "
    f"{best} reaches {accuracy[best]:.1f} %, {worst}, which drops the largest "
    f"eigenvalues, {accuracy[worst]:.1f} %.",
    "tab-heads",
)

# %% [markdown]
# ## The check
#
# The package has two views of a filter: `response` is the scalar function $f(\lambda)$, and `matrix` is $f(\Psi)$,
# found for the methods' filters without any eigenvectors. Equation {eq}`eq-filter` says that they agree:

# %%
values, U = torch.linalg.eigh(ffc[layer])
for name, f in six.items():
    direct = f.matrix(ffc[layer])
    through_eigenvectors = (U * f.response(values)) @ U.T
    difference = (direct - through_eigenvectors).norm() / direct.norm()
    assert difference < 1e-8
    print(f"{name:10s} relative difference {float(difference):.0e}")

# %% [markdown]
# Why do ridge and Landweber look alike? For a large $\lambda$ both are near $1/\lambda$. For a small one, equation
# {eq}`eq-descent` gives $s_t \approx \alpha t$, and equation {eq}`eq-ridge` gives $1/\beta$. So $t$ steps are like
# $\beta = 1/(\alpha t)$.
#
# ## The pass band
#
# The eigenvalues that a filter passes are its {term}`pass band`. Ridge weighs the smallest eigenvalue $\lambda_d$ most,
# and passes all from there to just above β:
#
# $$ f_\beta(\lambda) \ge \tfrac12 f_\beta(\lambda_d) \iff \lambda \le \beta + 2\lambda_d . $$ (eq-pass)
#
# One absolute β therefore means something else in every layer. Here is β = 0.1, which {cite}`bo2026unidd` uses on
# CIFAR, and then a β that is *relative*: κ times the layer's mean eigenvalue, which needs no eigenvectors, only a
# trace,
#
# $$ \beta = \kappa\,\bar\lambda = \kappa\, \tfrac1d \operatorname{tr} \Psi . $$ (eq-relative)


# %% tags=["hide-input"]
def flatness(f, lam):
    return float(f.response(lam).min() / f.response(lam).max())


def seen(f, lam):
    passed = f.response(lam) >= f.response(lam).max() / 2
    return f"{int(passed.sum())} of {len(lam)}; {flatness(f, lam):.2g}"


lines, flat = {}, {"absolute": [], "relative": []}
for name, lam in spectra.items():
    response, mean = Ridge(0.1).response(lam), float(lam.mean())
    assert torch.equal(response >= response.max() / 2, lam <= 0.1 + 2 * lam.min())
    betas = {"β = 0.1": 0.1, "β = mean λ": mean, "β = 10 × mean λ": 10 * mean}
    passed = {label: seen(Ridge(beta), lam) for label, beta in betas.items()}
    lines[name] = passed
    flat["absolute"].append(flatness(Ridge(0.1), lam))
    flat["relative"].append(flatness(Ridge(mean), lam))
factor = {kind: max(values) / min(values) for kind, values in flat.items()}
assert factor["relative"] < factor["absolute"]
Captioned(
    pd.DataFrame(lines).T,
    "How many directions pass, and after the semicolon how flat the filter is: its "
    "weakest response over its strongest, where 1 is all-pass. Between these rows "
    f"the flatness of β = 0.1 differs by a factor of {factor['absolute']:.0f}, that "
    f"of β = mean λ by {factor['relative']:.0f}: a relative β is more alike, not the "
    "same.",
    "tab-pass-band",
)

# %% [markdown]
# A relative β has a second merit. Multiply the features by $c$, as a change of normalisation does: the eigenvalues
# grow by $c^2$, a relative β with them, and the **normalised** response
#
# $$
# \beta f_\beta(\lambda) = \frac{\beta}{\lambda + \beta}
# = \frac{1}{1 + \lambda/(\kappa\bar\lambda)} \in [0, 1]
# $$ (eq-normalised)
#
# does not change at all. `beta * Ridge(beta)` is this filter. What it takes away from a direction is what ridge
# *regression* keeps of it, the share $\lambda/(\lambda + \beta)$: the sum of these shares is the {term}`effective
# dimension` of [the last chapter](02_spectrum). So where ridge regression keeps few directions, the filter passes many.

# %%
psi, c = ffc[layer], 3.0
small, large = (schedules.relative_beta(0.5, m) for m in (psi, c**2 * psi))
before = (small * Ridge(small)).matrix(psi)
after = (large * Ridge(large)).matrix(c**2 * psi)
change = float((after - before).abs().max())
assert change < 1e-10
print(f"features × {c:g}: β {small:.3g} → {large:.3g}; filter moves by {change:.0e}")

# %% tags=["hide-input"]
lam, mean = eigenvalues[layer], float(eigenvalues[layer].mean())
both = {
    f"β = {rho:g} × mean λ": {
        "kept by ridge regression": f"{effective_dimension(lam, rho * mean):.1f}",
        "passed by the filter": int((lam <= rho * mean + 2 * lam.min()).sum()),
    }
    for rho in (0.01, 0.1, 1, 10)
}
Captioned(
    pd.DataFrame(both).T,
    f"Directions of {layer}: as β grows, ridge regression keeps fewer (the effective "
    "dimension), and the ridge filter passes more.",
    "tab-kept-and-passed",
)

# %% [markdown]
# ## β over a distillation
#
# {term}`CFM` does not choose one β but runs through many, {term}`round` by round: a *curriculum* from a flatter filter
# to a steeply high-pass one. The first of $B$ rounds see most of the spectrum, the last its small eigenvalues only.
# From the first round's β on, the schedule is half a cosine,
#
# $$ \beta_b = \tfrac12 \beta \left(1 + \cos \frac{\pi b}{B}\right), \qquad b = 0, \dots, B - 1, $$ (eq-schedule)
#
# and the same range can be walked in other ways. What counts is not β but what passes: the right end of the pass band
# of equation {eq}`eq-pass`.

# %% tags=["hide-input"]
rounds, lam = 20, eigenvalues[layer]
traces, last = [], {}
for i, (name, schedule) in enumerate(schedules.SCHEDULES.items()):
    ends = [schedule(beta, b, rounds) + 2 * lam.min() for b in range(rounds)]
    passed = [int((lam <= end).sum()) for end in ends]
    last[name] = passed[-1]
    line = {"color": plots.COLOURS[i], "dash": plots.DASHES[i], "width": 2.5}
    traces.append(go.Scatter(y=passed, name=name, line=line, mode="lines"))
Captioned(
    plots.figure(
        traces,
        f"Directions of {layer} that ridge passes in each of {rounds} rounds, a curve "
        f"for each schedule: {', '.join(schedules.SCHEDULES)}.",
        height=360,
        xaxis={"title": "round b"},
        yaxis={"title": f"directions passed, of {len(lam)}", "rangemode": "tozero"},
    ),
    "Cosine, linear and log narrow the pass band, each in its own way; reverse widens "
    f"it. In the last round the cosine passes {last['cosine']} of {len(lam)} "
    f"directions, and the constant β still {last['constant']}.",
    "fig-schedules",
)

# %% [markdown]
# Whether an image matched through a narrow band of small eigenvalues *shows* more detail is a question of its own. It
# is asked in [What a filter writes into an image](07_images).
#
# ## Exercises
#
# **1. The two ends of ridge.** What is $\beta f_\beta$ as β → ∞? What is $f_\beta$ as β → 0, and what does
# $f_0(\Psi)\Phi$ compute? Why is β → 0 no harmless limit for a layer with a dead channel?
#
# ```{admonition} Solution
# :class: dropdown
# $\beta/(\lambda + \beta) \to 1$, all-pass: matching with a large β is DM, up to a factor. As β → 0, $f_\beta \to
# 1/\lambda$, so $f_0(\Psi)\Phi = \Psi^{-1}\Phi$, the head of ordinary least squares. A dead channel has $\lambda = 0$,
# and its response $1/\beta$ grows beyond every bound: all weight would go to a direction in which nothing varies.
# ```

# %% tags=["hide-cell"]
flat = (1e6 * Ridge(1e6)).matrix(pixels)
assert (flat - AllPass().matrix(pixels)).abs().max() < 1e-4
inverse = Ridge(1e-12).matrix(pixels) @ pixels
assert (inverse - torch.eye(64, dtype=inverse.dtype)).abs().max() < 1e-6
at_zero = float(Ridge(1e-6).response(torch.zeros(1)))
print(f"response at λ = 0: {at_zero:.0e} for β = 1e-6")

# %% [markdown]
# **2. The other half.** Normalised ridge leaves the share $\beta/(\lambda + \beta)$ of each direction. Write down the
# filter that leaves the rest, say which of the filters above it resembles, and build it from the classes of
# `unidd.core.filters`.
#
# ```{admonition} Solution
# :class: dropdown
# $1 - \beta/(\lambda + \beta) = \lambda/(\lambda + \beta)$: a low-pass filter, like $\lambda$ below β and flat above.
# It is what ridge regression keeps, and the Wiener filter for noise of variance β; its trace is the effective
# dimension. In code it is linear after ridge, `Linear() * Ridge(beta)`.
# ```

# %% tags=["hide-cell"]
rest = Linear() * Ridge(0.1)
both = rest.matrix(pixels) + (0.1 * Ridge(0.1)).matrix(pixels)
assert (both - torch.eye(64, dtype=both.dtype)).abs().max() < 1e-10
kept = effective_dimension(spectra[PIXELS], 0.1)
assert abs(rest.matrix(pixels).trace() - kept) < 1e-8
print(f"the two add up to the identity; the trace is {rest.matrix(pixels).trace():.2f}")

# %% [markdown]
# **3. The explorer's photograph.** Filter the photograph yourself, with `Ridge(0.1)` and without eigenvectors. What
# happens to its contrast if you do not bring it back, and why?
#
# ```{admonition} Solution
# :class: dropdown
# Multiply each patch by $f(\Psi)$, put the patches back where they were (`torch.nn.functional.fold` adds up what
# overlaps), and divide by how many overlap. The variance along $u_i$ was $\lambda_i$ and is $f(\lambda_i)^2\lambda_i$,
# so the total is $\sum_i f(\lambda_i)^2\lambda_i$: it depends on the scale of $f$, which means nothing.
# ```

# %% tags=["hide-cell"]
put_back = torch.nn.Fold((128, 128), 8, stride=4)
f, lam = Ridge(0.1), spectra[PIXELS]
overlaps = put_back(torch.ones_like(X.T)[None])
filtered = put_back((f.matrix(pixels) @ X.T)[None])[0] / overlaps[0]
variance = (X @ f.matrix(pixels)).var(0, correction=0).sum()
print(f"variance of a filtered patch {variance:.4g}")
print(f"as the eigenvalues say       {(f.response(lam) ** 2 * lam).sum():.4g}")
shown = torch.stack([picture[None], (filtered / filtered.std() / 4 + 0.5).clamp(0, 1)])
alt = "The photograph, and the same after ridge"
Captioned(
    plots.image_grid(shown, torch.zeros(2).long(), ("",), alt=alt, columns=2),
    "The photograph, and the same after ridge: outlines and grain are left.",
    "fig-ridge-by-hand",
)

# %% [markdown]
# The code of this page: `unidd/core/filters.py` (the filters), `unidd/core/schedules.py` (β),
# `unidd/book/pictures.py` (patches), `unidd/book/widgets.py` with the folder `unidd/book/explorers` (the explorer); its
# tests: `tests/core/test_theory_filters.py`, `tests/core/test_filters.py`, `tests/browser/test_explorer.py`. Next:
# [every method is a filter](04_methods).
