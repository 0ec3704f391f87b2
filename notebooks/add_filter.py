# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # How to add a filter
#
# A filter is a function $f(\lambda)$ of the eigenvalues of the {term}`FFC` $\Psi$, whether its rows are {term}`centred`
# or not ({ref}`the definition <def-correlations>`). From that function alone follow the matrix $f(\Psi)$, its product
# with the {term}`FLC` $\Phi$, and the derivatives of both. Nothing else has to be written. This page adds a filter,
# sees why its derivative is right, and distills with it.
#
# ## From a response
#
# The example is the *heat filter* $f(\lambda) = e^{-\lambda/\tau}$, which the package does not have. It is high-pass:
# 1 at $\lambda = 0$, and next to nothing far above $\tau$, which is 0.1 here. Write $f$ for a tensor of eigenvalues,
# and look at four of them:

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import math
from dataclasses import dataclass

import plotly.graph_objects as go
import torch

import unidd
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.book.palette import look
from unidd.core.filters import Custom, Filter, Linear, Ridge
from unidd.engine.run import Run
from unidd.methods.cfm import HFM

# %%
heat = Custom(lambda eigenvalues: torch.exp(-eigenvalues / 0.1))
lam = torch.tensor([0.0, 0.05, 0.1, 1.0])
heat.response(lam)

# %% [markdown]
# ## Its derivative
#
# Images descend through $f(\Psi_s)$, so its derivative in $\Psi_s$ is wanted. The response is made of torch's
# operations, so $f'$ is known. But a matrix has eigen*vectors* too, and they turn.
#
# Look in the basis in which $\Psi$ is diagonal, and add a small $\varepsilon$ at the places $(i, j)$ and $(j, i)$. To
# first order no eigenvalue moves. The eigenvectors $i$ and $j$ turn together, in the plane that they span, by an angle
# $\varepsilon / (\lambda_i - \lambda_j)$. So $f(\Psi)$, which has $f(\lambda_i)$ along one and $f(\lambda_j)$ along the
# other, gets at the place $(i, j)$ the angle times $f(\lambda_i) - f(\lambda_j)$. The derivative there is the
# *divided difference*
#
# $$
# \begin{gathered}
# f[\lambda_i, \lambda_j] = \frac{f(\lambda_i) - f(\lambda_j)}{\lambda_i - \lambda_j}, \\
# f[\lambda_i, \lambda_i] = f'(\lambda_i) :
# \end{gathered}
# $$
#
# the slope of a chord of $f$, and of the tangent where the two eigenvalues meet.

# %% tags=["hide-input"]
at, others = 0.05, (0.3, 0.15)


def value(x):
    return math.exp(-x / 0.1)


def slope(x, y):
    """f[x, y] of the heat filter."""
    return -value(x) / 0.1 if x == y else (value(x) - value(y)) / (x - y)


grid = torch.linspace(0, 0.4, 81)
curve = go.Scatter(x=grid.tolist(), y=heat.response(grid).tolist(), name="f(λ)")
curve.update(mode="lines", line={"color": "#9a6b4f", "width": 3})  # of no other filter
traces, grey = [curve], look("all-pass").colour
for other, dash in zip((*others, at), ("dash", "dot", "solid"), strict=True):
    ends = (at, other) if other != at else (0, 0.13)
    rise = slope(at, other)
    chord = go.Scatter(x=list(ends), y=[value(at) + rise * (x - at) for x in ends])
    drawn = "tangent" if other == at else f"chord to {other}"
    chord.name = f"{drawn}, slope −{-rise:.1f}"
    chord.line = {"color": grey, "dash": dash, "width": 2.5}
    chord.marker = {"color": grey, "size": 8}
    traces.append(chord.update(mode="lines" if other == at else "lines+markers"))
figure = plots.figure(
    traces,
    f"The heat filter, its chords from λ = {at} to {others[0]} and to {others[1]}, and "
    f"its tangent at {at}, each with its slope.",
    xaxis={"title": "λ"},
    yaxis={"title": "f(λ)", "rangemode": "tozero"},
)
Captioned(
    figure,
    "Two chords of the heat filter and, drawn through, its tangent. As the eigenvalue "
    f"{others[0]} moves to {at}, where the other one is, the chord becomes the "
    f"tangent: the divided difference goes from −{-slope(at, others[0]):.1f} over "
    f"−{-slope(at, others[1]):.1f} to f′ = −{-slope(at, at):.1f}.",
    "fig-add-filter-chords",
)

# %% [markdown]
# From scratch: $e^{-\Psi/\tau}$ is a matrix exponential, which needs no eigenvectors. Push a diagonal $\Psi$ at
# $(0, j)$ and $(j, 0)$, and see how much the entry $(0, j)$ of $f(\Psi)$ moves for each unit of the push.

# %%
psi = torch.diag(torch.tensor([0.05, 0.05, 0.15, 0.3]).double())
before, epsilon = torch.linalg.matrix_exp(-psi / 0.1), 1e-6
for j in (3, 2, 1):  # λ_j = 0.3, 0.15, 0.05 beside λ_0 = 0.05
    pushed = psi.clone()
    pushed[0, j] = pushed[j, 0] = epsilon
    change = torch.linalg.matrix_exp(-pushed / 0.1) - before
    print(f"λ_j = {float(psi[j, j]):.2f}: {float(change[0, j]) / epsilon:.4f}")

# %% [markdown]
# These are the slopes of the figure. The package works out the divided difference in the basis of eigenvectors, for any
# response. Where two eigenvalues are nearly the same, their difference is mostly rounding; there it takes the mean of
# $f'$ between them, which divides by nothing small. $\Psi$ above has the eigenvalue 0.05 twice, the hard case, and the
# derivative is right there too:

# %%
tracked = psi.clone().requires_grad_()
(gradient,) = torch.autograd.grad(heat.matrix(tracked)[0, 1:].sum(), tracked)
for j in (3, 2, 1):
    found, wanted = 2 * float(gradient[0, j]), slope(0.05, float(psi[j, j]))
    assert math.isclose(found, wanted, rel_tol=1e-6)
    print(f"λ_j = {float(psi[j, j]):.2f}: {found:.4f}")

# %% [markdown]
# (The gradient is doubled in the code, since a push at $(0, j)$ is one at $(j, 0)$ as well.)
#
# ## From other filters
#
# `f * g` is one filter after another, `c * f` the same filter on another scale.

# %%
share = Linear() * Ridge(0.1)  # λ/(λ + 0.1): low-pass, and nearly flat far above 0.1
share.response(lam), (0.1 * Ridge(0.1)).response(lam)

# %% [markdown]
# ## As a class
#
# Write a class where there are parameters to check, or where there is a cheaper way than an eigendecomposition. A
# filter may bring its own `apply`, which multiplies $f(\Psi)$ with a signal (ridge solves a linear system), and its own
# `distances`, which has the derivative in closed form. Both have a default that works for every $f$, and the engine
# asks for no more. Here `response` is enough:


# %%
@dataclass(frozen=True)
class Heat(Filter):
    """f(λ) = exp(−λ/τ): what a time 1/τ of diffusion leaves.

    Args:
        tau: τ > 0, in the units of λ.
    """

    tau: float

    def __post_init__(self):
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"tau must be a finite number above 0, not {self.tau}")

    def response(self, eigenvalues: torch.Tensor) -> torch.Tensor:
        return torch.exp(-eigenvalues / self.tau)


assert torch.equal(Heat(0.1).response(lam), heat.response(lam))

# %% [markdown]
# ## In a distillation
#
# A method says which filter a layer gets in a round. To try another one, change that alone. Here `b` is the round, of
# `rounds`, and `real` has the spectrum of the layer's real features. One τ for all layers would mean something else in
# each, so τ is taken from the spectrum:


# %%
@dataclass(frozen=True)
class Diffusing(HFM):
    """Matching through the heat filter, τ the mean eigenvalue of the layer."""

    def layer_filter(self, b, rounds, real):
        return Heat(float(real.eigenvalues.mean()))


data = unidd.load("digits")
teacher = unidd.teach(data, progress=False)
for steps in (1, 50):
    method = Diffusing(steps=steps, shift=0, scale=1.0)  # no roll and no crop
    (last,) = method.distill(data, teacher, Run(ipc=1)).history
    print(f"step {steps:2d}: filter {last['filter']:.2f}, signal {last['signal']:.2f}")

# %% [markdown]
# The {term}`filter term` and the {term}`signal term` are descended, so they ought to fall from the first step, which
# sees the random real images of the start, to the last. (With rolls and crops each step sees another view, so that one
# step says little.) What the images are worth is another question: `unidd.evaluate` trains students on them, and it
# takes several repetitions beside random real images to answer it, see the [results](12_results).
#
# What a filter must keep is tested in `tests/core/test_filters.py`: the response elementwise, the matrix against an
# eigendecomposition in float64, the derivative against finite differences, dead channels, dtype and batches.
