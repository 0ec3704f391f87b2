# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Bounds, and how loose they are
#
# Two methods of {doc}`the family <04_methods>` are not equal to UniDD's terms: gradient matching (DC) and trajectory
# matching (MTT) are only *bounded* by them {cite}`bo2026unidd`. Whoever makes the terms small makes the method's own
# distance small. The converse need not hold. So how far above the truth do the bounds lie, and what is lost when one
# minimises them in its place? Nothing but a measurement can tell.
#
# **Which $X$.** As on the page before: features *as they are*, heads without bias, one-hot $Y$
# ({ref}`the definition <def-correlations>`). Small examples use the pixels of the digits, the measurement a deep
# network on `photos`.
#
# ## The picture: two parts that cancel
#
# DC {cite}`zhao2021dc` (here in its Euclidean form) asks that one head $W$ have the same gradient on both sides. The
# gradient is $\Psi W - \Phi$ (equation {eq}`eq-head-gradient`), so the gap has two parts, $A$ from the FFCs and $B$
# from the FLCs:
#
# $$
# \begin{aligned}
# \nabla L - \nabla L_s ={}& \underbrace{(\Psi - \Psi_s)\,W}_{A} \\
# &\underbrace{{}-(\Phi - \Phi_s)}_{B} .
# \end{aligned}
# $$ (eq-dc)
#
# A bound adds the *lengths* of the two, whatever their directions. But a head that has learnt has $\Psi W \approx \Phi$
# on the real side, and more or less $\Psi_s W \approx \Phi_s$ on the other. Then the two parts point against each
# other, and much of them cancels in $A + B$. $A$ and $B$ are matrices; the plane that holds both, with their true
# lengths and angle, can be drawn. The synthetic side is ten random real digits a class.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import json
import math

import pandas as pd
import plotly.graph_objects as go
import torch
from IPython.display import Markdown

from unidd.bench.records import published
from unidd.bench.words import signed
from unidd.book import chapter, plots
from unidd.book.captions import Captioned
from unidd.book.chapter import Line, check
from unidd.book.palette import look
from unidd.core import objectives
from unidd.core.objectives import Side
from unidd.core.spectra import spectrum
from unidd.data import datasets

(X, Y), (X_s, Y_s), _ = chapter.samples(datasets.load("digits"), ipc=10)
real, synthetic = Side.of(X, Y), Side.of(X_s, Y_s)
n, m, (d, c) = len(X), len(X_s), real.flc.shape
largest = [float(spectrum(side.ffc).eigenvalues[0]) for side in (real, synthetic)]
alpha, p, q = 1 / max(largest), 50, 20
W_0 = torch.randn(d, c, generator=torch.Generator().manual_seed(0)).double() / d**0.5
print(f"X {tuple(X.shape)}, X_s {tuple(X_s.shape)}: ten random real digits a class")


# %% tags=["hide-input"]
def drawn(steps):
    """Lengths of A, B and A + B, and the angle from A to B, after so many steps."""
    W = objectives.trajectory(real, W_0, alpha, steps)
    A, B = objectives.dc_terms(real, synthetic, W)
    cosine = float((A * B).sum() / (A.norm() * B.norm()))
    return float(A.norm()), float(B.norm()), float((A + B).norm()), math.acos(cosine)


heads, places = (0, 100, 1000), (0, 0.48, 0.78)  # of the triangles, side by side
found = {steps: drawn(steps) for steps in heads}
looks = {"A": look("linear"), "B": look("all-pass"), "A + B": look("ridge")}
traces, notes = [], []
for i, (steps, (a, b, both, angle)) in enumerate(found.items()):
    left, tip = places[i], (a + b * math.cos(angle), b * math.sin(angle))
    ends = {"A": ((0, 0), (a, 0)), "B": ((a, 0), tip), "A + B": ((0, 0), tip)}
    for name, points in ends.items():
        x, y = zip(*points, strict=True)
        trace = go.Scatter(x=[left + at for at in x], y=y, name=name, showlegend=i == 0)
        trace.line = {"color": looks[name].colour, "dash": looks[name].dash, "width": 3}
        trace.marker = {"color": looks[name].colour, "symbol": "circle", "size": 7}
        traces.append(trace.update(mode="lines+markers"))
    said = f"{math.degrees(angle):.0f}°, {(a + b) / both:.2f}×"
    for y, text in ((-0.03, f"{steps:,} steps"), (-0.06, said)):
        below = {"x": left, "y": y, "xanchor": "left", "showarrow": False}
        notes.append(below | {"text": text})
figure = plots.figure(
    traces,
    "The parts A and B of DC's gap head to tail, and their sum A + B, for a random "
    f"head and after {heads[1]} and {heads[2]:,} steps; below each triangle the "
    "angle, and the path over the sum.",
    height=260,
    annotations=notes,
    xaxis={"range": [-0.03, 1.07], "visible": False},
    yaxis={"range": [-0.08, 0.2], "scaleanchor": "x", "visible": False},
)
random, learnt = found[0], found[heads[2]]
Captioned(
    figure,
    "The bound walks along A and then B, the truth goes straight. For a random head "
    f"the parts stand at {math.degrees(random[3]):.0f}°, and the path is "
    f"{sum(random[:2]) / random[2]:.2f} times as long; after {heads[2]:,} steps they "
    f"stand at {math.degrees(learnt[3]):.0f}°, more of each cancels, and it is "
    f"{sum(learnt[:2]) / learnt[2]:.2f} times as long.",
    "fig-bounds-cancel",
)

# %% [markdown]
# ## DC: low-pass, as a bound
#
# To free the method from the particular $W$, UniDD takes the triangle inequality, then
# $\lVert MW\rVert_F \le \lVert W\rVert_2 \lVert M\rVert_F$, where $\lVert W\rVert_2$ is the largest singular value:
#
# $$
# \begin{aligned}
# &\lVert \nabla L - \nabla L_s\rVert_F \\
# &\quad \le \lVert W\rVert_2\, \lVert\Psi - \Psi_s\rVert_F \\
# &\quad + \lVert\Phi - \Phi_s\rVert_F .
# \end{aligned}
# $$ (eq-dc-bound)
#
# On the right stand a filter term with $f(\lambda) = \lambda$ and the term of DM. The first is low-pass: the
# directions with large eigenvalues weigh most. Each of the two steps costs a factor of at least 1:
#
# $$
# \begin{gathered}
# \frac{\text{bound}}{\lVert A + B\rVert} = \text{norm} \cdot \text{triangle}, \\
# \text{norm} = \frac{\text{bound}}{\lVert A\rVert + \lVert B\rVert}, \\
# \text{triangle} = \frac{\lVert A\rVert + \lVert B\rVert}{\lVert A + B\rVert} .
# \end{gathered}
# $$ (eq-looseness)
#
# The figure shows *triangle*. *Norm* would be 1 only if every row of $\Psi - \Psi_s$ lay along the strongest
# directions of $W$, of which there are at most $c$. From scratch, for the random head:

# %%
gradients = [x.T @ (x @ W_0 - y) / len(x) for x, y in ((X, Y), (X_s, Y_s))]
truth = (gradients[0] - gradients[1]).norm()
A = (X.T @ X / n - X_s.T @ X_s / m) @ W_0
B = X_s.T @ Y_s / m - X.T @ Y / n
largest = torch.linalg.svdvals(W_0)[0]
bound = largest * (X.T @ X / n - X_s.T @ X_s / m).norm() + B.norm()
path = A.norm() + B.norm()
norm, triangle = bound / path, path / truth
print(f"true {truth:.3f} ≤ bound {bound:.3f}: norm {norm:.2f}, triangle {triangle:.2f}")

# %% [markdown]
# The package has the parts, the truth, the bound and the two factors:

# %%
check("gap of the gradients", objectives.dc(real, synthetic, W_0), truth)
check("bound", objectives.dc_bound(real, synthetic, W_0), bound)
loose = objectives.looseness(objectives.dc_terms(real, synthetic, W_0), bound)
print(f"norm {loose.norm:.2f}, triangle {loose.triangle:.2f}")

# %% [markdown]
# ## MTT: high-pass, as a bound
#
# The heads of MTT are $W_t = r_t(\Psi)W_0 + s_t(\Psi)\Phi$ (equation {eq}`eq-mtt`): the expert $W_p$ after $p$ steps on
# the real side, the student $W_q$ after $q$ steps on the synthetic one, both from the head $W_0$. So their distance has
# two parts as well, and is bounded in the same two steps:
#
# $$
# \begin{aligned}
# &\lVert W_p - W_q\rVert_F \\
# &\quad \le \lVert W_0\rVert_2\, \lVert r_p(\Psi) - r_q(\Psi_s)\rVert_F \\
# &\quad + \lVert s_p(\Psi)\Phi - s_q(\Psi_s)\Phi_s\rVert_F .
# \end{aligned}
# $$ (eq-mtt-bound)
#
# Both filters are high-pass. (For $p \ne q$ the two sides have different ones, and both truth and bound stay above 0
# even where the data are equal.) From scratch, $r_t$ as a power of a matrix, and $s_t(\Psi)\Phi$ as descent from 0:


# %%
def parts(x, y, steps):
    """r_t(Ψ) and s_t(Ψ)Φ of one side."""
    psi, phi = x.T @ x / len(x), x.T @ y / len(x)
    left = torch.linalg.matrix_power(torch.eye(d).double() - alpha * psi, steps)
    learnt = torch.zeros_like(phi)
    for _ in range(steps):
        learnt = learnt - alpha * (psi @ learnt - phi)
    return left, learnt


(r, s), (r_s, s_s) = parts(X, Y, p), parts(X_s, Y_s, q)
truth = ((r @ W_0 + s) - (r_s @ W_0 + s_s)).norm()
bound = torch.linalg.svdvals(W_0)[0] * (r - r_s).norm() + (s - s_s).norm()
print(f"true {truth:.3f} ≤ bound {bound:.3f}: {bound / truth:.2f} times the truth")

# %% [markdown]
# And from the package:

# %%
run = (real, synthetic, W_0, alpha, p, q)
check("distance of the heads", objectives.mtt(*run), truth)
check("bound", objectives.mtt_bound(*run), bound)
loose = objectives.looseness(objectives.mtt_terms(*run), bound)
print(f"norm {loose.norm:.2f}, triangle {loose.triangle:.2f}")

# %% [markdown]
# ## How loose, while a network trains
#
# Now the factors of equation {eq}`eq-looseness` for a deep network on `photos` while it trains. A row of $X$ is an
# image, its features those of one of three layers, averaged over positions. The head is at a random start, or has taken
# 100 or 1,000 steps of descent on the real features: it is the $W$ of DC, and the $W_0$ from which MTT sets out. The
# synthetic side is ten random real images a class, or ten that the finished network has distilled. (These were made
# through a ridge filter, for the teacher's features, and not for DC or MTT: nothing says that their gaps be small.)
#
# This takes minutes, so a dated record is read: `results/studies/bounds/`, made by
# `python benchmarks/bound_looseness.py`.

# %% tags=["hide-input"]
folder = published("studies", "bounds")
studies = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
cells = pd.concat(pd.json_normalize(s["rows"]).assign(seed=s["seed"]) for s in studies)
assert (cells[["dc.ratio", "mtt.ratio"]] >= 1).all().all()
made, settings = studies[0]["provenance"], studies[0]["settings"]
worst = min(s["network_accuracy"] for s in studies)
print(f"{len(studies)} seeds, each with a network of its own,")
print(f"which gets at least {worst:.1f} % of the test images right")
print(f"p = {settings['expert']}, q = {settings['student']}")
print(f"measured on {made['date']}, {made['device']}")

# %% tags=["hide-input"]
shown = cells[(cells.head_steps == 100) & (cells.synthetic == "random")]
curves = {}
for method in ("dc", "mtt"):
    dashes = zip(shown.groupby("layer"), ("solid", "dash", "dot"), strict=True)
    for (layer, group), dash in dashes:
        ratio = group.groupby("epoch")[f"{method}.ratio"]
        mean, std = ratio.mean(), ratio.std()
        curves[f"{method.upper()}, {layer}"] = Line(method, mean.index, mean, std, dash)
means = [value for curve in curves.values() for value in curve.y]
figure = chapter.lines(
    curves,
    "Bound over truth of DC and MTT at three layers while the network trains, for a "
    f"head of 100 steps and random real images; {min(means):.1f} to {max(means):.1f}.",
    "epochs the network has trained",
    "bound / truth",
    yaxis={"rangemode": "tozero"},
)
Captioned(
    figure,
    f"With a head of 100 steps the bounds are {min(means):.1f} to {max(means):.1f} "
    "times the truth, whatever the layer and however long the network has trained "
    f"(mean and standard deviation over {len(studies)} seeds).",
    "fig-bounds-training",
)

# %% [markdown]
# Does a smaller bound at least mean a smaller gap? The last column below takes 32 random choices of images and asks
# whether the bound ranks them as the truth does: Spearman's rank correlation, 1 for the same order, 0 for none.


# %% tags=["hide-input"]
trained = cells[cells.epoch > 0]
keys = ["seed", "synthetic", "head_steps"]
by_seed = trained.groupby(keys).mean(numeric_only=True)  # over layers and epochs


def spread(values, digits):
    """Mean ± standard deviation over seeds."""
    if values.isna().any():
        return "–"
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


lines = []
for method in ("dc", "mtt"):
    for (side, head), group in by_seed.groupby(["synthetic", "head_steps"]):
        line = {"method": method.upper(), "images": side, "steps": head}
        for name in ("ratio", "norm", "triangle"):
            line[name] = spread(group[f"{method}.{name}"], 1)
        line["rank corr."] = spread(group[f"{method}.rank_correlation"], 2)
        lines.append(line)
order = ["method", "images", "steps"]
table = pd.DataFrame(lines).sort_values(order, ascending=[True, False, True])
Captioned(
    table.set_index(order),
    "Ratio, which is norm times triangle, grows with the steps of the head; the "
    "rank correlation falls (of distilled images there is one set, so nothing to "
    f"rank). Mean ± standard deviation over {len(studies)} seeds; layers and epochs "
    "from the first on are averaged.",
    "tab-bounds-looseness",
)


# %% tags=["hide-input"]
def change(column, digits):
    """In words: how a column moves from 0 to 1,000 steps, paired by seed."""
    at = by_seed.xs("random", level="synthetic")[column].unstack("head_steps")
    low, high = chapter.interval(list(at[1000] - at[0]))
    verb = "grows" if low > 0 else "falls" if high < 0 else "shows no clear change"
    ends = f"{signed(low, digits)} to {signed(high, digits)}"
    means = f"from {at[0].mean():.{digits}f} to {at[1000].mean():.{digits}f}"
    return f"{verb} {means} ({ends})"


Markdown(
    "**From a random head to one of 1,000 steps**, with random real images; in "
    f"brackets the 95 % interval of the change over {len(studies)} seeds:\n\n"
    + "\n".join(
        f"- {name.upper()}'s bound over truth {change(f'{name}.ratio', 1)}; its "
        f"rank correlation with the truth {change(f'{name}.rank_correlation', 2)}."
        for name in ("dc", "mtt")
    )
)

# %% [markdown]
# ## What follows
#
# The bounds hold, and are mild for a head that knows nothing. For a head that has learnt they say little about the
# gap they bound: a set with a smaller bound need not have a smaller gap. DC starts again and again from random heads,
# where its bound is tightest, and trains them on; MTT starts from experts that have trained for a while, where its own
# is loose. It is better to read UniDD's terms as objectives of their own, stricter ones that suit *every* head, than as
# stand-ins for DC and MTT.
#
# ## Exercise
#
# **Equal gradients, different data.** With $d > c$, find $\Psi_s \ne \Psi$ with $\Phi_s = \Phi$ whose gradient
# matches the real one *exactly* at a given $W$. What is the ratio of bound to truth? What would a second head see?
#
# ```{admonition} Solution
# :class: dropdown
# $W$ has rank at most $c < d$, so there is a unit vector $v$ with $v^\top W = 0$. Take
# $\Psi_s = \Psi + \varepsilon vv^\top$: it is positive semi-definite, and
# $(\Psi - \Psi_s)W = -\varepsilon v (v^\top W) = 0$. The gap is 0 and the bound $\varepsilon\lVert W\rVert_2 > 0$:
# the ratio is infinite. A second head with $v^\top W' \ne 0$ sees the difference, which is why DC starts again from
# many heads. The filter term, which knows no $W$, sees it at once.
# ```

# %% tags=["hide-cell"]
v = torch.linalg.qr(W_0, mode="complete").Q[:, -1]  # orthogonal to all columns of W_0
twin = Side(real.ffc + torch.outer(v, v), real.flc)
bound = objectives.dc_bound(real, twin, W_0)
print(f"gap {objectives.dc(real, twin, W_0):.0e}, bound {bound:.3g}")
other = torch.roll(W_0, 1, 0)
print(f"gap at a second head {objectives.dc(real, twin, other):.3g}")
assert objectives.dc(real, twin, W_0) < 1e-12 < objectives.dc(real, twin, other)

# %% [markdown]
# ## Code
#
# `unidd/core/objectives.py` (`dc_bound`, `mtt_bound`, `looseness`), `benchmarks/bound_looseness.py` (the
# measurement); tests: `tests/core/test_theory_methods.py`. Next: {doc}`06_kernels`.
