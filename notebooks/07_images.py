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
# Take the same photographs, the same network and the same number of steps, and change nothing but the filter
# $f(\lambda)$. What does each filter write into the images? The paper shows pictures {cite}`bo2026unidd`; here we also
# measure: how much high-frequency energy each filter adds, and how different it lets the images of one class be.
#
# ## The picture
#
# Each row starts from the same real photographs, one a class. *None* matches nothing: it descends the teacher's
# cross-entropy alone.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %%
import json

import numpy as np
import plotly.graph_objects as go
import torch
from IPython.display import Markdown

import unidd
from unidd.bench.records import published
from unidd.book import plots
from unidd.core.filters import Linear, Ridge
from unidd.core.spectra import spectrum
from unidd.core.statistics import covariance
from unidd.data import datasets
from unidd.data.synthetic import SyntheticSet

data = datasets.load("photos")
teacher = unidd.teach(data)
recipes = {
    "none": {"method": "classification"},
    "linear": {"method": "lfm"},
    "Landweber": {"method": "hfm", "filter": "landweber"},
    "ridge, β = 1": {"method": "hfm", "beta": 1.0},
    "ridge, β = 0.01": {"method": "hfm", "beta": 0.01},
}
images = {"start": SyntheticSet.from_real(data, ipc=1, seed=0).images}
for name, recipe in recipes.items():
    images[name] = unidd.distill(data, **recipe, steps=100, teacher=teacher, progress=False).images

# %% tags=["hide-input"]
which = torch.arange(len(images)).repeat_interleave(data.classes)
plots.image_grid(
    torch.cat(list(images.values())), which, tuple(images), alt=f"Ten images, one a class, by {', '.join(images)}"
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
# \frac{\partial L}{\partial \Psi_s} = U \bigl( D \circ U^\top (f(\Psi_s) - T)\, U \bigr) U^\top, \\
# D_{ij} = \frac{f(\lambda_i) - f(\lambda_j)}{\lambda_i - \lambda_j},
# \end{gathered}
# $$ (eq-divided)
#
# with $D_{ii} = f'(\lambda_i)$ and $\circ$ the entrywise product (Daleckii and Krein). So $D$ says how hard the filter
# pushes on each pair of directions. For the two filters of the engine it is
#
# $$
# D_{ij}^{\text{lin}} = 1, \qquad
# D_{ij}^{\text{ridge}} = \frac{-1}{(\lambda_i + \beta)(\lambda_j + \beta)} .
# $$ (eq-push)
#
# The linear filter pushes on all pairs alike, so the large differences, those of the low frequencies, decide. Ridge
# divides by both eigenvalues: with a small $\beta$ it pushes on pairs of *small* eigenvalues, fine detail, up to
# $((\lambda_1 + \beta)/\beta)^2$ times as hard as on the largest. A feature $x_k$, one of $n$ rows with mean $\mu$,
# feels
#
# $$ \frac{\partial L}{\partial x_k} = \frac2n\, \frac{\partial L}{\partial \Psi_s}\,(x_k - \mu) . $$ (eq-feature)
#
# ## The check in code
#
# Autograd, which knows nothing of eigenvectors here, agrees:

# %%
generator = torch.Generator().manual_seed(0)
x = torch.randn(200, 12, generator=generator, dtype=torch.float64) * torch.logspace(0, -2, 12, dtype=torch.float64)
x.requires_grad_()
target = covariance(torch.randn(200, 12, generator=generator, dtype=torch.float64))
beta = 0.01

for f in (Linear(), Ridge(beta)):
    loss = (f.matrix(covariance(x)) - f.matrix(target)).square().sum() / 2
    (gradient,) = torch.autograd.grad(loss, x)
    lam, U = spectrum(covariance(x).detach())
    push = torch.ones(12, 12) if isinstance(f, Linear) else -1 / torch.outer(lam + beta, lam + beta)
    difference = U.T @ (f.matrix(covariance(x)) - f.matrix(target)).detach() @ U
    by_hand = 2 / len(x) * (x - x.mean(0)).detach() @ U @ (push * difference) @ U.T
    error = float((gradient - by_hand).norm() / gradient.norm())
    assert error < 1e-10
    print(f"{type(f).__name__:7s} relative difference {error:.0e}")

# %% [markdown]
# ## What the images hold: radial power
#
# The power spectral density of an image tells how much of its variance lies at each frequency. Averaged over all
# directions it is a curve,
#
# $$
# P(r) = \frac{1}{|\{k : |k| = r\}| \sum w^2} \sum_{|k| = r} \bigl|\mathcal F\{w\,(I - \bar I)\}(k)\bigr|^2,
# $$ (eq-radial)
#
# for an image $I$ with mean $\bar I$ and a Hann window $w$ against the jump at its borders. As the share of high
# frequencies we take the power above ¼ cycles a pixel, each ring of frequencies counted by its circumference $r$:
#
# $$ H = \frac{\sum_{r > 1/4} r\,P(r)}{\sum_r r\,P(r)} . $$ (eq-high)
#
# One run shows little. The records below come from `benchmarks/filter_images.py`: three images a class, the same
# starting images for every filter, repeated over seeds.

# %% tags=["hide-input"]
paths = sorted(published("studies", "filters").glob("*.json"))
records = [json.loads(path.read_text()) for path in paths]
names = list(records[0]["measured"])
powers = {name: np.array([r["measured"][name]["power"] for r in records]) for name in names}
frequency = np.arange(1, powers["real"].shape[1] + 1) / (2 * powers["real"].shape[1])
first = records[0]
Markdown(
    f"n = {len(records)} seeds ({', '.join(str(r['seed']) for r in records)}), IPC {first['ipc']}, {first['steps']} "
    f"steps a round, {first['provenance']['device']}, torch {first['provenance']['torch']}, "
    f"teacher {first['teacher']['accuracy']:.1f} %."
)

# %% tags=["hide-input"]
shown = ["real", "none", "linear", "Landweber", "ridge, β = 0.01"]
traces = [
    go.Scatter(
        x=frequency.tolist(),
        y=np.round(powers[name].mean(0) / powers["start"].mean(0), 3).tolist(),
        name=name,
        line={"color": plots.COLOURS[i], "dash": plots.DASHES[i], "width": 2.5},
    )
    for i, name in enumerate(shown)
]
top = {name: float((powers[name].mean(0) / powers["start"].mean(0))[-1]) for name in shown}
plots.figure(
    traces,
    "Radial power relative to the starting images, against frequency. At the highest frequency: "
    + ", ".join(f"{name} {value:.1f}" for name, value in top.items())
    + ".",
    xaxis={"title": "cycles a pixel"},
    yaxis={"title": "power ÷ power of the start", "type": "log"},
)

# %% [markdown]
# Pick a filter and another to hold it against: the ten images are those at the top of the page, the curves are the
# means over all seeds, with a band of one standard deviation.

# %%
from unidd.book.widgets import ImageExplorer

start = images.pop("start")
ImageExplorer(
    images,
    start,
    None,
    powers={name: powers[name] for name in [*images, "start", "real"]},
    names=data.class_names,
    chosen="ridge, β = 0.01",
    against="linear",
)

# %% [markdown]
# ## Diversity
#
# Images of one class that all look alike waste their number. With features $z_i$ of the images of class $k$, either
# the pixels or the teacher's penultimate layer, diversity is one less the mean cosine similarity of pairs,
#
# $$
# V = 1 - \frac1c \sum_k \frac{1}{m_k(m_k - 1)} \sum_{i \ne j \in k}
# \frac{z_i^\top z_j}{\lVert z_i\rVert\,\lVert z_j\rVert} .
# $$ (eq-diversity)


# %% tags=["hide-input"]
def values(name, key):
    return np.array([record["measured"][name][key] for record in records])


def bars(key, title):
    means, stds = zip(*((values(name, key).mean(), values(name, key).std(ddof=1)) for name in names), strict=True)
    trace = go.Bar(
        x=names,
        y=np.round(means, 4).tolist(),
        error_y={"array": np.round(stds, 4).tolist(), "thickness": 1.2},
        marker={"color": plots.COLOURS[0]},
    )
    alt = f"{title}: " + ", ".join(f"{n} {m:.3f} ± {s:.3f}" for n, m, s in zip(names, means, stds, strict=True))
    return plots.figure([trace], alt, yaxis={"title": title}, showlegend=False)


bars("high", "share of power above ¼ cycles a pixel")

# %% tags=["hide-input"]
bars("pixels", "diversity of pixels")

# %% tags=["hide-input"]
bars("features", "diversity of the teacher's features")


# %% [markdown]
# ## In words, from the records
#
# Differences are paired by seed: both images of a pair started from the same photograph. A difference counts when it
# is more than twice its standard error.


# %% tags=["hide-input"]
def compare(high, low, key, what):
    gain = values(high, key) - values(low, key)
    error = gain.std(ddof=1) / len(gain) ** 0.5
    verdict = (
        "no difference beyond the error" if abs(gain.mean()) <= 2 * error else "more" if gain.mean() > 0 else "less"
    )
    ratio = values(high, key).mean() / values(low, key).mean()
    return (
        f"- **{high}** against **{low}**, {what}: {verdict} ({gain.mean():+.3f} ± {error:.3f}, a factor {ratio:.2f})."
    )


keys = {"high": "high-frequency share", "pixels": "diversity of pixels", "features": "diversity of features"}
pairs = [("ridge, β = 0.01", "linear"), ("Landweber", "linear"), ("ridge, β = 0.01", "none"), ("linear", "start")]
Markdown("\n".join(compare(high, low, key, what) for high, low in pairs for key, what in keys.items()))

# %% tags=["hide-input"]
every = [name for name in names if name not in ("real", "start")]
rise = {name: values(name, "high").mean() / values("start", "high").mean() for name in every}
most, least = max(rise, key=rise.get), min(rise, key=rise.get)
Markdown(
    f"Distillation raises the share of high frequencies with {'every' if min(rise.values()) > 1 else 'almost every'} "
    f"filter, from a factor {rise[least]:.2f} ({least}) to {rise[most]:.2f} ({most}) of the starting photographs'. "
    f"Cross-entropy alone stands at {rise['none']:.2f}: high frequencies are what a classifier's gradient writes by "
    "itself, and matching can hold them back as well as add them."
)

# %% [markdown]
# That a filter is high-pass on the spectrum of *features* does not make it write high frequencies into *pixels*: a
# matched small eigenvalue is one that is kept **small**. What such images do to a student's accuracy is on the
# [results](12_results) page.
#
# ## Exercises
#
# 1. Show from {eq}`eq-divided` that the all-pass filter's filter term gives no gradient at all. What does the engine
#    match then?
# 2. For ridge, how much harder is the pair of smallest eigenvalues pushed than the pair of largest ones, if
#    $\lambda_1 = 1$, $\lambda_d = 0$ and $\beta = 0.1$?
# 3. Why must diversity be measured at IPC 2 or more, and why does the page pair differences by seed?
#
# ```{admonition} Solution 1
# :class: dropdown
# $f = 1$ gives $f(\lambda_i) - f(\lambda_j) = 0$ and $f' = 0$, so $D = 0$. What is left is the signal term, in which
# $f(\Psi_s)\Phi_s = \Phi_s$: the channel means, which is distribution matching.
# ```
#
# ```{admonition} Solution 2
# :class: dropdown
# $D_{dd}/D_{11} = ((\lambda_1 + \beta)/(\lambda_d + \beta))^2 = (1.1/0.1)^2 = 121$.
# ```
#
# ```{admonition} Solution 3
# :class: dropdown
# One image has no pair, so the sum in {eq}`eq-diversity` is empty. The starting photographs differ from seed to seed by
# more than the filters do; a difference within a seed cancels what its start contributes.
# ```
#
# ## Code
#
# The spectra and the similarity are `unidd.core.spectra` (`radial_power`, `high_frequency_share`, `consistency`), the
# filters `unidd.core.filters`, their use in a distillation `unidd.methods.cfm` (`CFM.layer_filter`) and
# `unidd.core.matching`.
