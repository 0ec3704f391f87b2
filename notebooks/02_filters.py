# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Filters over a spectrum
#
# What does a distillation method look at in the real data? Every one in this book looks at a layer's features $X$,
# of shape $(n, d)$, through the eigenvalues of their {term}`correlation matrix <FFC>`,
#
# $$
# \begin{gathered}
# \Psi = \tfrac1n X^\top X = U \Lambda U^\top, \\
# \Lambda = \operatorname{diag}(\lambda_1 \ge \dots \ge \lambda_d \ge 0),
# \end{gathered}
# $$ (eq-eigen)
#
# and through a {term}`filter`, a function $f$ that weighs them:
#
# $$ f(\Psi) = U f(\Lambda)\, U^\top . $$ (eq-filter)
#
# A **large** eigenvalue belongs to a direction in which the features vary a lot: the coarse structure that most of an
# image shares, a **low** {term}`frequency`. Small eigenvalues are fine detail. So an increasing $f$ is low-pass, a
# decreasing one high-pass. This page shows the filters of five methods over the eigenvalues of a network trained
# on real photographs {cite}`bo2026unidd`.
#
# ## The eigenvalues of a trained layer
#
# A {term}`teacher` is trained on `photos` (once; later runs find it again). One pass over the training images
# measures $\Psi$ at the input of each convolution.

# %%
import pandas as pd
import torch

from unidd import datasets, plots
from unidd.analysis import spectrum
from unidd.configs import Benchmark
from unidd.filters import AllPass, Landweber, Linear, Residual, Ridge
from unidd.models import tapped_layers
from unidd.statistics import real_statistics

data = datasets.load("photos")
teacher = Benchmark(dataset="photos").teacher(data)
images, labels = data.normalise(data.train.images), data.train.labels
batches = zip(images.split(500), labels.split(500), strict=True)
layers = tapped_layers(teacher.model)
moments = real_statistics(teacher.model, batches, layers).values()

ffc = {f"conv {i}, {len(m.ffc)} channels": m.ffc for i, m in enumerate(moments, 1)}
eigenvalues = {name: spectrum(psi).eigenvalues for name, psi in ffc.items()}
print(f"teacher of {len(images)} images: {teacher.accuracy:.1f} % of test images right")

# %% [markdown]
# How far the eigenvalues of a layer spread, and how far layers differ:


# %%
def describe(lam):
    return {
        "largest λ": f"{float(lam.max()):.3g}",
        "mean λ": f"{float(lam.mean()):.3g}",
        "λ < mean / 10": f"{float((lam < lam.mean() / 10).double().mean()):.0%}",
        "variance in largest": f"{float(lam.max() / lam.sum()):.0%}",
    }


rows = [describe(lam) for lam in eigenvalues.values()]
pd.DataFrame(rows, index=list(eigenvalues))

# %% [markdown]
# A few directions hold most of the variance, and many hold next to none. What a method does with those many small
# eigenvalues sets it apart.
#
# ## Five filters
#
# Distribution matching (DM) {cite}`zhao2023dm` compares class means: its filter lets all pass. Gradient matching
# (DC) {cite}`zhao2021dc` adds a term in $\Psi$ itself, which is low-pass:
#
# $$ f_{\text{all}}(\lambda) = 1, \qquad f_{\text{lin}}(\lambda) = \lambda . $$ (eq-low)
#
# Trajectory matching (MTT) {cite}`cazenavette2022mtt` follows $t$ steps of gradient descent with rate $\alpha$. On a
# linear head these steps leave $r_t$ of the initial weights, and have learnt $s_t$:
#
# $$
# \begin{gathered}
# r_t(\lambda) = (1 - \alpha\lambda)^t, \\
# s_t(\lambda) = \frac{1 - (1 - \alpha\lambda)^t}{\lambda} .
# \end{gathered}
# $$ (eq-descent)
#
# Kernel ridge regression (KIP {cite}`nguyen2021kip`, FRePo {cite}`zhou2022frepo`) solves for the weights at once, as
# does {term}`CFM`:
#
# $$ f_\beta(\lambda) = \frac{1}{\lambda + \beta} . $$ (eq-ridge)
#
# Only the shape of a filter matters, so each is drawn relative to its own maximum.

# %%
layer = list(eigenvalues)[-1]
lam = eigenvalues[layer]
alpha, t = float(1 / lam.max()), 20
beta = float(lam.mean())

five = {
    "all-pass": AllPass(),
    "linear": Linear(),
    "ridge": Ridge(beta),
    "Landweber": Landweber(alpha, t),
    "residual": Residual(alpha, t),
}
plots.filters(five, lam, layer)

# %% [markdown]
# The code has two views of a filter: `response` is the scalar function $f(\lambda)$, and `matrix` is $f(\Psi)$, found
# without any eigenvectors. Equation {eq}`eq-filter` says that they agree:

# %%
values, U = torch.linalg.eigh(ffc[layer])
for f in (Ridge(beta), Landweber(alpha, t), Residual(alpha, t)):
    direct = f.matrix(ffc[layer])
    through_eigenvectors = (U * f.response(values)) @ U.T
    difference = (direct - through_eigenvectors).norm() / direct.norm()
    assert difference < 1e-8
    print(f"{type(f).__name__:9s} relative difference {float(difference):.0e}")

# %% [markdown]
# ## Stopping early is regularising
#
# Gradient descent that stops after $t$ steps and ridge regression with $\beta = 1/(\alpha t)$ look alike: both pass
# what lies below $1/(\alpha t)$ and weaken what lies above. For a small $\lambda$, equation {eq}`eq-descent` gives
# $s_t \approx \alpha t$, and equation {eq}`eq-ridge` gives $1/\beta$, which is the same.

# %%
pairs = {}
for t in (5, 50, 500):
    pairs[f"Landweber, t = {t}"] = Landweber(alpha, t)
    pairs[f"ridge, β = {1 / (alpha * t):.2g}"] = Ridge(1 / (alpha * t))

plots.filters(pairs, lam, layer, together=2)

# %% [markdown]
# ## Explore
#
# The grey hill is the density of the layer's eigenvalues, and each tick below it is one of them. Coloured bars show
# which of them a filter passes. In JupyterLab the explorer is live both ways: move a slider and read
# `explorer.beta`, or set it.

# %%
from unidd.widgets import FilterExplorer

explorer = FilterExplorer(eigenvalues, layer=layer, beta=float(f"{beta:.2g}"))
explorer

# %% [markdown]
# Three things to try:
#
# 1. **Make β small, then large.** Small, ridge passes only the smallest eigenvalues: many *directions* perhaps, but
#    little of the *variance*. Large, it is flat and passes everything, as all-pass does.
# 2. **Leave β alone and change the layer.** One absolute β is nearly flat in one layer and strongly high-pass in
#    another, because the layers' eigenvalues differ in scale. A β relative to the layer's mean eigenvalue does not
#    have this fault.
# 3. **Push α·λmax above 1.** The residual filter $r_t$ turns back up, or negative, at the largest eigenvalues: the
#    steps overshoot there.
