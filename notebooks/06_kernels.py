# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Beyond linear kernels
#
# The chapter on [methods](04_methods) works with a linear head on features. KIP and FRePo, the ridge filters there, are
# *kernel* methods, and their kernels need not be linear. What stays true of the theory, and what does not?
#
# Nothing in it asks where $X$ comes from. Put any *fixed* feature map $\varphi$ in front, $X \mapsto \varphi(X)$,
# and every equation stands, with the kernel
#
# $$
# \begin{gathered}
# k(x, x') = \varphi(x)^\top\varphi(x'), \\
# \Psi_\varphi = \tfrac1n\, \varphi(X)^\top\varphi(X), \\
# \Phi_\varphi = \tfrac1n\, \varphi(X)^\top Y .
# \end{gathered}
# $$ (eq-kernel)
#
# **Which $X$.** The pixels of the digits, *as they are*, with one-hot $Y$ and no bias
# ({ref}`the definition <def-correlations>`), until {ref}`the pictures <kernel-pictures>`, which are *centred*.
#
# ## Two maps
#
# A **polynomial** kernel $(\gamma x^\top x' + 1)^2$ has a finite $\varphi$: the constant, the coordinates and their
# products. The **Gaussian** (RBF) kernel $e^{-\gamma\lVert x - x'\rVert^2}$ has no finite one, but $D$ random Fourier
# features $\sqrt{2/D}\,\cos(\omega^\top x + b)$ come near it, with $\omega$ normal of variance $2\gamma$ and $b$
# uniform from 0 to $2\pi$: the error of the kernel falls as $1/\sqrt D$.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import json
import math

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from sklearn.kernel_ridge import KernelRidge

from unidd.bench.records import published
from unidd.bench.words import signed
from unidd.book import chapter, plots
from unidd.book.captions import Captioned
from unidd.book.chapter import Line, check
from unidd.core import objectives
from unidd.core.filters import Ridge
from unidd.core.objectives import Side
from unidd.data import datasets

digits = datasets.load("digits")
(X, Y), (X_s, Y_s), (X_t, Y_t) = chapter.samples(digits, ipc=10)
n, m, d = len(X), len(X_s), X.shape[1]
print(f"X {tuple(X.shape)}, X_s {tuple(X_s.shape)}, test X_t {tuple(X_t.shape)}")

# %% [markdown]
# From scratch, both maps, and the same predictions twice: by the *primal*, a head on $\varphi$, and by the *dual*,
# which knows only the kernel (equation {eq}`eq-krr`).

# %%
gamma = 0.001 * 16**2  # scikit-learn's example has 0.001, for pixels of 0 … 16
beta = 1e-3


def polynomial(x):
    """φ with φ(x)ᵀφ(x') = (γ xᵀx' + 1)²: (n, d) to (n, 1 + d + d(d + 1)/2)."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    twice = torch.where(i == j, 1, 2).double().sqrt()
    products = gamma * twice * x[:, i] * x[:, j]
    return torch.cat([x.new_ones(len(x), 1), (2 * gamma) ** 0.5 * x, products], 1)


def fourier(count, seed=0):
    """φ with φ(x)ᵀφ(x') near exp(−γ‖x − x'‖²): (n, d) to (n, count)."""
    generator = torch.Generator().manual_seed(seed)
    omega = (2 * gamma) ** 0.5 * torch.randn(d, count, generator=generator).double()
    phase = 2 * math.pi * torch.rand(count, generator=generator).double()
    return lambda x: (2 / count) ** 0.5 * torch.cos(x @ omega + phase)


def primal(phi):
    """Predictions of a ridge head on φ."""
    z = phi(X_s)
    eye = torch.eye(z.shape[1]).double()
    return phi(X_t) @ torch.linalg.solve(z.T @ z / m + beta * eye, z.T @ Y_s / m)


def dual(kernel):
    """The same from the kernel alone."""
    inner = kernel(X_s, X_s) + m * beta * torch.eye(m).double()
    return kernel(X_t, X_s) @ torch.linalg.solve(inner, Y_s)


by_kernel = dual(lambda a, b: (gamma * a @ b.T + 1) ** 2)
by_map = primal(polynomial)
print(f"polynomial: primal and dual {(by_map - by_kernel).abs().max():.0e} apart")

# %% [markdown]
# The ridge filter of the package is that primal, scikit-learn's kernel regression that dual. And descent on a head
# over $\varphi$, here from 0, has learnt what Landweber says, as ever (equation {eq}`eq-mtt`):


# %%
def exact(kernel, **options):
    """Predictions of scikit-learn's machine."""
    machine = KernelRidge(alpha=m * beta, kernel=kernel, gamma=gamma, **options)
    machine.fit(X_s.numpy(), Y_s.numpy())
    return torch.from_numpy(machine.predict(X_t.numpy()))


head = Ridge(beta).apply(*Side.of(polynomial(X_s), Y_s))
by_dual = exact("poly", degree=2, coef0=1)
check("ridge filter on φ, scikit-learn", polynomial(X_t) @ head, by_dual)

steps = 20
for name, phi in (("polynomial", polynomial), ("Fourier", fourier(256))):
    z = phi(X_s)
    side = Side.of(z, Y_s)
    rate = 1 / float(torch.linalg.matrix_norm(z, 2) ** 2 / m)
    start = W = torch.zeros_like(side.flc)
    for _ in range(steps):
        W = W - rate * z.T @ (z @ W - Y_s) / m
    by_filter = objectives.trajectory(side, start, rate, steps)
    check(f"descent on {name} features", by_filter, W)

# %% tags=["hide-input"]
counts, target = (64, 128, 256, 512, 1024, 2048), exact("rbf")


def error(phi):
    """Of predictions, relative; by the dual, which is the smaller system here."""
    return float((dual(lambda a, b: phi(a) @ phi(b).T) - target).norm() / target.norm())


errors = np.array([[error(fourier(D, seed)) for seed in range(5)] for D in counts])
mean, std = errors.mean(1), errors.std(1, ddof=1)
slope = np.polyfit(np.log(counts), np.log(mean), 1)[0]
figure = chapter.lines(
    {"random Fourier features": Line("ridge", counts, mean, std)},
    f"Error of predictions against the exact RBF kernel machine for {counts[0]} to "
    f"{counts[-1]} Fourier features; it falls from {mean[0]:.2f} to {mean[-1]:.2f}.",
    "features D",
    "relative error of predictions",
    xaxis={"type": "log", "tickvals": counts},
    yaxis={"type": "log", "tickvals": [0.02, 0.05, 0.1, 0.2, 0.5, 1]},
)
Captioned(
    figure,
    "The RBF kernel machine has no finite φ, and still is a ridge filter as nearly "
    "as one likes: the error of the predictions falls about as D to the power "
    f"−{-slope:.2f} (mean and standard deviation over 5 draws).",
    "fig-kernels-fourier",
)

# %% [markdown]
# **What stays true:** all of it, since the identities never look inside $\varphi$. If $\varphi$ itself is trained
# while images are distilled, the closed forms no longer hold: fixed features are this theory's limit.
#
# (kernel-pictures)=
# ## What does not stay: the pictures
#
# For a linear kernel on pixels, an eigenvector *is* a picture, as [seen before](02_spectrum). Under another $\varphi$,
# an eigenvector $u$ is a function $h(x) = u^\top\varphi(x)$ of an image. The nearest thing to its picture is the
# gradient $\nabla h(x)$: how each pixel moves $h$. For a linear kernel it is $u$ at every $x$, for another not.
# How much, one number tells: the share of the gradients' energy (their squared entries) that lies along their main
# direction, over many $x$. It is 1 if *one picture* stands for the direction. (The mean digit is subtracted from $x$
# first, and the mean of $\varphi(X)$ from $\varphi(X)$.)

# %% tags=["hide-input"]
maps = {"linear": lambda x: x, "polynomial": polynomial, "RBF (Fourier)": fourier(1024)}
mean_digit, rank = X.mean(0), 8
chosen = X[torch.arange(8) * 11 + 2]
probes = (chosen - mean_digit).requires_grad_()
rows, alike = [chosen], []
for phi in maps.values():
    z = phi((X - mean_digit)[::3])
    u = torch.linalg.svd(z - z.mean(0), full_matrices=False).Vh[rank - 1]
    (gradients,) = torch.autograd.grad((phi(probes) @ u).sum(), probes)
    energy = torch.linalg.svdvals(gradients).square()
    alike.append(float(energy[0] / energy.sum()))
    rows.append(0.5 + gradients / (2 * gradients.abs().amax(1, keepdim=True)))
grid = plots.image_grid(
    torch.cat(rows).view(-1, 1, 8, 8).float(),
    torch.arange(len(rows)).repeat_interleave(len(chosen)),
    ("x", *maps),
    alt=f"Eight digits, and below each the gradient of the {rank}th eigendirection's "
    "function at it, for a linear, a polynomial and an RBF kernel; the linear row is "
    "one picture eight times.",
    columns=len(chosen),
    pixel=6,
)
Captioned(
    grid,
    f"Gradients of the {rank}th eigendirection at eight digits: grey is 0, white "
    "raises h, black lowers it. Look along a row: one picture holds "
    f"{alike[0]:.0%} of the energy for the linear kernel, {alike[1]:.0%} for the "
    f"polynomial and {alike[2]:.0%} for the RBF kernel.",
    "fig-kernels-pictures",
)

# %% [markdown]
# How general is that? A study takes 6×6 patches of `photos` and the first 30 directions of each kernel (RBF by 1,024
# Fourier features, as above). Beside *one picture* it measures *roughness*: the energy of neighbouring pixels'
# differences over the energy of pixels. Does roughness still rise with the rank of the direction, that is, as the
# eigenvalue falls? The last column has Spearman's correlation of the two. A dated record, made by
# `python benchmarks/kernel_pictures.py`:

# %% tags=["hide-input"]
study = json.loads((published("studies", "kernels") / "photos.json").read_text())
lines = []
for row in study["rows"]:
    rough = pd.Series(row["roughness"])
    order = rough.corr(pd.Series(range(len(rough))), method="spearman")
    line = {"kernel": row["kernel"].split(",")[0]}
    line["one picture"] = np.mean(row["one_picture"])
    line |= {"roughness, 5th": rough[4], "roughness, 30th": rough[29]}
    lines.append(line | {"rank corr.": order})
measured = pd.DataFrame(lines)
pictures = measured.groupby("kernel", sort=False)
mean, std = pictures.mean(), pictures.std()
made = study["provenance"]
Captioned(
    mean.map("{:.2f}".format) + " ± " + std.map("{:.2f}".format),
    "Only for the linear kernel does one picture stand for a direction; roughness "
    "rises with the rank for all. Mean ± standard deviation over "
    f"{len(study['seeds'])} seeds of {study['settings']['patches']:,} patches, "
    f"{made['device']}, {made['date']}.",
    "tab-kernels-pictures",
)


# %% tags=["hide-input"]
def below_linear(number):
    """In words: a kernel's 30th direction beside the linear kernel's, by seed."""
    values = [group["roughness, 30th"].to_numpy() for _, group in pictures]
    low, high = chapter.interval(list(values[0] - values[number]))
    verb = "smoother" if low > 0 else "rougher" if high < 0 else "not clearly different"
    return f"{verb} ({signed(low, 2)} to {signed(high, 2)})"


Markdown(
    "Roughness rises on another scale, though. Beside the 30th direction of the "
    f"linear kernel, that of the polynomial one is {below_linear(1)} and that of the "
    f"RBF kernel {below_linear(2)}; in brackets the difference in roughness, linear "
    f"less the other, as a 95 % interval over {len(study['seeds'])} seeds. Products "
    "of smooth directions can come before rough ones."
)

# %% [markdown]
# So *small eigenvalue = fine structure* is a statement about linear features of pixels. Behind a non-linear map it is a
# tendency: a direction has not one picture but another for every image. What filters write into real images is
# measured, not inferred, in the [next chapter](07_images).
#
# ## Exercise
#
# **Primal or dual?** For $m$ synthetic images and a map to $D$ features, which of the two sides of equation
# {eq}`eq-krr` is cheaper to solve? Which does KIP take for an infinitely wide network, and which does CFM take?
#
# ```{admonition} Solution
# :class: dropdown
# The primal solves a $(D, D)$ system, the dual an $(m, m)$ one, each in about the cube of its size. So the dual is
# cheaper when $m < D$: here 100 against 2,145 for the polynomial. An infinitely wide network has $D = \infty$, so KIP
# has only the dual. In CFM the rows are positions of feature maps, thousands of them, and $D$ is the number of
# channels: it takes the primal, except where a wide layer has few rows (see the {doc}`appendix <engine>`).
# ```
#
# ## Code
#
# `unidd/core/objectives.py` and `unidd/core/filters.py`, which never ask what $X$ is; `benchmarks/kernel_pictures.py`
# (the study); tests: `tests/core/test_theory_methods.py`. Next: {doc}`07_images`.
