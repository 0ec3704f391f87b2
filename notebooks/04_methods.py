# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Every method is a filter
#
# Matching class means, matching gradients, matching whole training runs, solving a kernel regression: the methods of
# dataset distillation look unrelated. On fixed features with a linear head they are one method with different
# {term}`filters <filter>` {cite}`bo2026unidd`:
#
# $$
# \begin{gathered}
# \min_{X_s}\, \lVert f(\Psi)\,g(\Phi) - f(\Psi_s)\,g(\Phi_s) \rVert_F^2, \\
# g(\Phi) = I \ \text{ or }\ g(\Phi) = \Phi .
# \end{gathered}
# $$ (eq-unidd)
#
# Here $\Psi = \tfrac1n X^\top X$ is the {term}`FFC` and $\Phi = \tfrac1n X^\top Y$ the {term}`FLC` of the real data,
# with $n$ rows of features $X$ and one-hot labels $Y$; a subscript $s$ marks the synthetic side, with $m$ rows. This
# page derives $f$ and $g$ for each method and checks each step on real features in float64. Some steps are
# equalities. Two are only upper bounds, and we measure how far above the truth they lie.
#
# ## The picture
#
# Features first: what the last block of a trained network makes of each photograph, averaged over positions.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %%
import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from IPython.display import Markdown

from unidd import teach
from unidd.bench.records import published
from unidd.book import plots
from unidd.core import objectives
from unidd.core.filters import Landweber, Linear, Ridge
from unidd.core.objectives import Side
from unidd.core.spectra import condition_number, effective_beta, participation, spectrum
from unidd.core.statistics import FeatureTap, covariance, rows
from unidd.data import datasets
from unidd.data.synthetic import SyntheticSet

data = datasets.load("photos")
teacher = teach(data)


@torch.no_grad()
def features(images, layer="features.11"):
    """The input of a layer, in float64: (n, d, height, width)."""
    with FeatureTap(teacher.model, [layer]) as tap:
        parts = []
        for batch in images.split(500):
            teacher.model(data.normalise(batch))
            parts.append(tap.features[layer].double())
    return torch.cat(parts)


def one_hot(labels):
    return F.one_hot(labels, data.classes).double()


few = SyntheticSet.from_real(data, ipc=10)
X, Y = features(data.train.images).mean((2, 3)), one_hot(data.train.labels)
X_s, Y_s = features(few.images).mean((2, 3)), one_hot(few.labels)
real, synthetic = Side.of(X, Y), Side.of(X_s, Y_s)

lam, U = spectrum(real.ffc)
d, c = real.flc.shape
alpha = 1 / float(max(lam[0], spectrum(synthetic.ffc).eigenvalues[0]))
W_0 = torch.randn(d, c, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / d**0.5
p, q, beta = 50, 20, float(lam.mean()) / 100
W = objectives.trajectory(real, W_0, alpha, 100)
print(f"real X {tuple(X.shape)}, synthetic X_s {tuple(X_s.shape)}: {few.images.shape[0]} random real images")

# %% [markdown]
# Each method sees some difference $D$, of shape $(d, c)$, between the two sides. How is $\lVert D\rVert_F^2$ spread
# over the eigenvectors $u_i$ of $\Psi$, from the {term}`lowest frequency <frequency>` (largest $\lambda$) to the
# highest? (DC at a head that has trained for a while; what $p$, $q$ and $\beta$ mean is told below.)

# %% tags=["hide-input"]
gaps = {
    "DM: class means": real.flc - synthetic.flc,
    "DC: gradients": sum(objectives.dc_terms(real, synthetic, W)),
    "MTT: trajectories": sum(objectives.mtt_terms(real, synthetic, W_0, alpha, p, q)),
    "KRR: ridge heads": Ridge(beta).apply(*real) - Ridge(beta).apply(*synthetic),
}
seen = {name: participation(U, gap).cumsum(0) for name, gap in gaps.items()}
half = {name: 1 + int((share < 0.5).sum()) for name, share in seen.items()}


def drawn(curves, alt, x, y, **axes):
    """A figure of lines: name → (x values, means, standard deviations or None)."""
    traces = []
    for i, (name, (at, mean, std)) in enumerate(curves.items()):
        line = go.Scatter(x=list(at), y=np.round(mean, 4).tolist(), name=name, mode="lines")
        line.line = {"width": 2.5, "color": plots.COLOURS[i], "dash": plots.DASHES[i]}
        if std is not None:
            bars = {"array": np.round(std, 4).tolist(), "thickness": 1.2, "width": 3}
            line.update(error_y=bars, mode="lines+markers", marker={"symbol": plots.SYMBOLS[i], "size": 8})
        traces.append(line)
    return plots.figure(traces, alt, xaxis={"title": x} | axes.pop("xaxis", {}), yaxis={"title": y} | axes)


reached = ", ".join(f"{name.split(':')[0]} {n}" for name, n in half.items())
drawn(
    {name: (range(1, d + 1), share.tolist(), None) for name, share in seen.items()},
    f"Share of each method's squared difference in the first of {d} eigendirections; half is reached at: {reached}.",
    "eigendirections, lowest frequency first",
    "share seen",
)

# %% tags=["hide-input"]
Markdown(f"Directions that hold half of what a method sees, out of {d}: **{reached}**.")

# %% [markdown]
# The data are the same four times. What differs is the filter, and now we find it for each method.
#
# ## One gradient for all
#
# A linear head $W$, of shape $(d, c)$, has the squared loss $L(W) = \tfrac1{2n}\lVert XW - Y\rVert_F^2$.
# Differentiate: $\tfrac1n X^\top(XW - Y)$, which is
#
# $$ \nabla L(W) = \Psi W - \Phi . $$ (eq-head-gradient)
#
# The head's gradient knows nothing of the data but $\Psi$ and $\Phi$. Two data sets that agree in both train every
# such head alike, step for step. This is why all that follows can be written with these two matrices.

# %%
W_auto = W.clone().requires_grad_()
((X @ W_auto - Y).square().sum() / (2 * len(X))).backward()


def check(name, one, other, tolerance=1e-10):
    """Relative difference of two tensors, which must be below the tolerance."""
    error = float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other))
    assert error < tolerance, f"{name}: {error}"
    print(f"{name}: relative difference {error:.0e}")


check("gradient by autograd and ΨW − Φ", W_auto.grad, real.ffc @ W - real.flc)

# %% [markdown]
# ## DM: the all-pass filter
#
# Distribution matching {cite}`zhao2023dm` compares the mean feature $\mu_k$ of each class with its synthetic twin.
# Column $k$ of $X^\top Y$ sums the features of class $k$, so column $k$ of $\Phi$ is $\tfrac{n_k}{n}\mu_k$. With
# classes of equal size on both sides, $n_k/n = 1/c$ and
#
# $$ \lVert \Phi - \Phi_s \rVert_F^2 = \frac1{c^2} \sum_{k=1}^c \lVert \mu_k - \mu_{s,k} \rVert^2 . $$ (eq-dm)
#
# An equality: DM is equation {eq}`eq-unidd` with $f(\lambda) = 1$ and $g(\Phi) = \Phi$.

# %%
means = torch.stack([X[data.train.labels == k].mean(0) - X_s[few.labels == k].mean(0) for k in range(c)])
check("DM from class means and from Φ", means.norm() / c, objectives.dm(real, synthetic))

# %% [markdown]
# ## DC: a low-pass filter, as a bound
#
# Gradient matching {cite}`zhao2021dc` (here in its Euclidean form) asks that one head have the same gradient on both
# sides. By equation {eq}`eq-head-gradient`,
#
# $$
# \begin{aligned}
# \nabla L - \nabla L_s ={}& (\Psi - \Psi_s)\,W \\
# &- (\Phi - \Phi_s) .
# \end{aligned}
# $$ (eq-dc)
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
# On the right stand a term with $f(\lambda) = \lambda$, $g(\Phi) = I$ and the term of DM. The first is low-pass: the
# directions with large eigenvalues weigh most. It is an inequality, so matching both terms matches gradients, but
# gradients may match while the filter term is not small (exercise 3). The two steps each add a factor of at least 1:
#
# $$
# \begin{gathered}
# A = (\Psi - \Psi_s)\,W, \quad B = \Phi_s - \Phi, \\
# \frac{\text{bound}}{\lVert A + B\rVert} = \text{norm} \cdot \text{triangle}, \\
# \text{norm} = \frac{\text{bound}}{\lVert A\rVert + \lVert B\rVert}, \\
# \text{triangle} = \frac{\lVert A\rVert + \lVert B\rVert}{\lVert A + B\rVert} .
# \end{gathered}
# $$ (eq-looseness)

# %%
terms, bound = objectives.dc_terms(real, synthetic, W), objectives.dc_bound(real, synthetic, W)
true, loose = objectives.dc(real, synthetic, W), objectives.looseness(terms, bound)
on_synthetic = X_s.T @ (X_s @ W - Y_s) / len(X_s)
check("gap of the gradients and its two terms", X.T @ (X @ W - Y) / len(X) - on_synthetic, sum(terms))
assert true <= bound
print(f"DC: true {true:.3g} ≤ bound {bound:.3g}: {loose.ratio:.1f} = {loose.norm:.1f} (norm) × {loose.triangle:.1f}")

# %% [markdown]
# ## MTT: what is left, and what is learnt
#
# Trajectory matching {cite}`cazenavette2022mtt` compares heads, not gradients: an *expert* after $p$ steps on real
# data and a *student* after $q$ steps on synthetic data, both from $W_0$. One step of gradient descent with rate
# $\alpha$ is $W_{t+1} = W_t - \alpha(\Psi W_t - \Phi)$, or $(I - \alpha\Psi)W_t + \alpha\Phi$. Unroll it: the
# starting weights shrink by $I - \alpha\Psi$ at each step, and so does every $\alpha\Phi$ once it has been added.
# After $t$ steps,
#
# $$
# \begin{gathered}
# W_t = r_t(\Psi)\,W_0 + s_t(\Psi)\,\Phi, \\
# r_t(\lambda) = (1 - \alpha\lambda)^t, \\
# s_t(\lambda) = \alpha \sum_{k<t} r_k(\lambda) = \frac{1 - r_t(\lambda)}{\lambda} .
# \end{gathered}
# $$ (eq-mtt)
#
# An equality again. The check runs gradient descent on the features and labels themselves, by autograd, and compares
# it with $r_t$ and $s_t$ in the eigenbasis.


# %%
def descend(X, Y, steps):
    """Gradient descent on the head, by autograd."""
    W = W_0.clone().requires_grad_()
    for _ in range(steps):
        (gradient,) = torch.autograd.grad((X @ W - Y).square().sum() / (2 * len(X)), W)
        W = (W - alpha * gradient).detach().requires_grad_()
    return W.detach()


def by_filter(side, steps):
    """The same head through an eigendecomposition."""
    values, basis = spectrum(side.ffc)
    r = (1 - alpha * values) ** steps
    s = Landweber(alpha, steps).response(values)
    return basis @ (r[:, None] * (basis.T @ W_0) + s[:, None] * (basis.T @ side.flc))


expert, student = descend(X, Y, p), descend(X_s, Y_s, q)
check(f"expert, {p} steps on real data", by_filter(real, p), expert)
check(f"student, {q} steps on synthetic data", by_filter(synthetic, q), student)
check("their distance and objectives.mtt", objectives.mtt(real, synthetic, W_0, alpha, p, q), (expert - student).norm())

# %% [markdown]
# The distance of expert and student is bounded as DC's was:
#
# $$
# \begin{aligned}
# &\lVert W_p - W_q\rVert_F \\
# &\quad \le \lVert W_0\rVert_2\, \lVert r_p(\Psi) - r_q(\Psi_s)\rVert_F \\
# &\quad + \lVert s_p(\Psi)\Phi - s_q(\Psi_s)\Phi_s\rVert_F .
# \end{aligned}
# $$ (eq-mtt-bound)
#
# For $\alpha\lambda_{\max} \le 1$, both filters are high-pass: descent learns the large eigenvalues first, so what is
# left of the start, and what keeps growing with $t$, are the small ones.

# %%
steps = (alpha, p, q)
bound, true = objectives.mtt_bound(real, synthetic, W_0, *steps), objectives.mtt(real, synthetic, W_0, *steps)
loose = objectives.looseness(objectives.mtt_terms(real, synthetic, W_0, *steps), bound)
assert true <= bound
print(f"MTT: true {true:.3g} ≤ bound {bound:.3g}: {loose.ratio:.1f} = {loose.norm:.1f} (norm) × {loose.triangle:.1f}")

# %% [markdown]
# ## From trajectories to ridge
#
# Stopping after $t$ steps is much like ridge regression with $\beta = 1/(\alpha t)$. How much? For
# $0 < \alpha\lambda \le 1$ and every $t \ge 1$, within a factor of two (exercise 1):
#
# $$
# \begin{gathered}
# \frac{1}{\lambda + \beta} \le s_t(\lambda) \le \frac{2}{\lambda + \beta}, \\
# \beta = 1/(\alpha t) .
# \end{gathered}
# $$ (eq-early)
#
# The last column below is not derived but measured: the β whose ridge filter fits $s_t$ best over the layer's
# eigenvalues.

# %%
lines = []
for t in (2, 10, 100, 1000, 10_000):
    s, stop = Landweber(alpha, t), 1 / (alpha * t)
    ratio = s.response(lam) / Ridge(stop).response(lam)
    assert ratio.min() >= 1 - 1e-12
    assert ratio.max() <= 2 + 1e-12
    ends = f"{ratio.min():.2f} … {ratio.max():.2f}"
    fitted = f"{effective_beta(s, lam):.2g}"
    lines.append({"steps t": t, "1/(αt)": f"{stop:.2g}", "s_t over ridge": ends, "best β": fitted})
pd.DataFrame(lines).set_index("steps t")

# %% [markdown]
# Compare the two over this layer's spectrum. The explorer ties β to $1/(\alpha t)$: move $t$, and ridge follows. Untie
# them, and find a β that fits better.

# %%
from unidd.book.widgets import FilterExplorer

pair = ["ridge", "landweber"]
explorer = FilterExplorer({"block 3, pooled": lam}, steps=p, filters=pair, linked=True)
explorer

# %% [markdown]
# ## KRR: ridge, exactly
#
# KIP {cite}`nguyen2021kip` and FRePo {cite}`zhou2022frepo` train on the synthetic set in closed form and test on real
# features $X_t$. In the *dual*, written with the $(m, m)$ kernel matrix $X_s X_s^\top$, labels are predicted; in the
# *primal* a head $W_s$ is solved for. From $X_s^\top (X_sX_s^\top + m\beta I) = (X_s^\top X_s + m\beta I)\, X_s^\top$
# the two are equal:
#
# $$
# \begin{gathered}
# X_t X_s^\top (X_s X_s^\top + m\beta I)^{-1} Y_s \\
# = X_t W_s, \quad W_s = (\Psi_s + \beta I)^{-1}\Phi_s .
# \end{gathered}
# $$ (eq-krr)
#
# So KRR compares heads with $f(\lambda) = 1/(\lambda + \beta)$ and $g(\Phi) = \Phi$: high-pass, and no inequality on
# the way.

# %%
X_t, m = features(data.test.images).mean((2, 3)), len(X_s)
W_s = Ridge(beta).apply(*synthetic)
dual = X_t @ X_s.T @ torch.linalg.solve(X_s @ X_s.T + m * beta * torch.eye(m, dtype=torch.float64), Y_s)
check(f"KRR, dual and primal, β = {beta:.2g}", X_t @ W_s, dual)
right = ((X_t @ W_s).argmax(1) == data.test.labels).double().mean()
print(f"a ridge head on {m} random real images gets {right:.1%} of the test images right")

# %% [markdown]
# What these methods minimise, though, is the *loss* of $W_s$ on real data, not its distance from the real head. At
# $\beta = 0$, with the least-squares head $W_\ast = \Psi^{-1}\Phi$, the two are related by an identity. Write
# $XW_s - Y = X(W_s - W_\ast) + (XW_\ast - Y)$ and square; the cross term contains $X^\top(XW_\ast - Y) = 0$:
#
# $$
# \begin{aligned}
# &\tfrac1n \lVert Y - XW_s\rVert_F^2 \\
# &= \tfrac1n \lVert Y - XW_\ast\rVert_F^2 + \operatorname{tr}(V^\top \Psi V), \\
# &V = W_s - W_\ast .
# \end{aligned}
# $$ (eq-krr-weighted)
#
# It is equation {eq}`eq-unidd` with a weight $\Psi$: an error along $u_i$ counts $\lambda_i$ times. The filter that
# solves for the heads is high-pass; the weight of the loss that compares them is low-pass, and undoes part of it.

# %%
W_star, power = torch.linalg.solve(*real), float(Y.square().sum() / len(Y))
direct = (Y - X @ W_s).square().sum() / len(X)
from_moments = objectives.head_loss(real, W_star, power) + objectives.head_gap(real, W_s, W_star)
check("loss of W_s from the data and from the identity", from_moments, direct)
check("… and from moments alone", objectives.head_loss(real, W_s, power), direct)
difference = U.T @ (W_s - W_star)
top = lam > lam.mean() / 10
plain, weighted = difference.square().sum(1), lam * difference.square().sum(1)
print(f"condition number of Ψ {condition_number(lam):.2g}")
shares = [float(part[top].sum() / part.sum()) for part in (plain, weighted)]
print(f"the {int(top.sum())} directions with λ > mean/10: {shares[0]:.1%} of the distance, {shares[1]:.1%} of the loss")

# %% [markdown]
# ## Batch-norm statistics: the diagonal
#
# The SRe2L family {cite}`yin2023sre2l` matches the mean and the variance of each channel that the teacher's batch
# norm has stored. With the *centred* $\Psi = U\Lambda U^\top$, the variance of channel $j$ is
#
# $$ \Psi_{jj} = \sum_i \lambda_i\, U_{ji}^2 , $$ (eq-bn)
#
# the linear filter $f(\lambda) = \lambda$ seen only on its diagonal. Against a real batch-norm layer, which divides
# by $n - 1$:

# %%
images = data.train.images[::5]
maps, maps_s = features(images, "features.9"), features(few.images, "features.9")
norm = torch.nn.BatchNorm2d(maps.shape[1], momentum=None).double()
norm(maps)
x, x_s = rows(maps), rows(maps_s)
ffc, ffc_s = covariance(x), covariance(x_s)
found = spectrum(ffc)
check("running mean and row mean", norm.running_mean, x.mean(0))
check("running variance and diagonal of Ψ", norm.running_var * (1 - 1 / len(x)), ffc.diagonal())
check("diagonal from the eigenvalues", (found.basis**2 @ found.eigenvalues), ffc.diagonal())

# %% [markdown]
# A filter is a property of the features' geometry: turn all features by a rotation $Q$ and
# $\lVert f(\Psi) - f(\Psi_s)\rVert_F$ stays. The diagonal does not: batch-norm statistics depend on which axes the
# network happens to have.

# %%
gap = ffc - ffc_s
seen_by_bn = gap.diagonal().norm() / gap.norm()
Q = torch.linalg.qr(torch.randn(len(gap), len(gap), generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
turned = Q.T @ ffc @ Q, Q.T @ ffc_s @ Q
check("linear filter term, turned and not", objectives.filter_loss(Linear(), *turned), gap.norm())
in_turned_axes = (turned[0] - turned[1]).diagonal().norm() / gap.norm()
print(f"of ‖Ψ − Ψ_s‖, batch norm's diagonal sees {seen_by_bn:.0%}; after a random rotation {in_turned_axes:.0%}")

# %% [markdown]
# ## The family
#
# | method | filter with $g(\Phi) = I$ | filter with $g(\Phi) = \Phi$ | the method's own distance is |
# |---|---|---|---|
# | DM | – | $1$ | equal to the term |
# | DC | $\lambda$ | $1$ | at most the sum of terms |
# | MTT | $(1 - \alpha\lambda)^t$ | $s_t(\lambda)$ | at most the sum of terms |
# | KRR | – | $1/(\lambda + \beta)$ | equal, for the heads; weighted by $\Psi$, for the loss |
# | BN statistics | $\lambda$, diagonal only | $1$ on the mean ($Y = \mathbf 1$) | equal, on the diagonal |
#
# ## How loose are the bounds?
#
# Equality would need every row of $\Psi - \Psi_s$ to lie along the strongest directions of $W$, of which there are at
# most $c$, and $A$ to point where $B$ does. Neither is likely for a head that has learnt: then $\Psi W \approx \Phi$
# on both sides, so $A$ and $B$ *cancel*, which the triangle inequality cannot see. So we measure the factors of
# equation {eq}`eq-looseness` while a network trains, at three layers, for heads at the random start and after 100 and
# 1,000 steps of descent on the real features. The synthetic side is random real images or images distilled with the
# finished network (10 a class). The numbers come from `results/studies/bounds/`, made by
# `python benchmarks/bound_looseness.py`.

# %% tags=["hide-input"]
studies_folder = published("studies")
studies = [json.loads(path.read_text()) for path in sorted((studies_folder / "bounds").glob("*.json"))]
cells = pd.concat(pd.json_normalize(s["rows"]).assign(seed=s["seed"]) for s in studies)
assert (cells[["dc.ratio", "mtt.ratio"]] >= 1).all().all()
made, settings = studies[0]["provenance"], studies[0]["settings"]
print(f"{len(studies)} seeds, {cells.epoch.nunique()} checkpoints, {cells.layer.nunique()} layers")
print(f"p = {settings['expert']}, q = {settings['student']}, {settings['choices']} random choices of real images")
print(f"networks reach {min(s['network_accuracy'] for s in studies):.1f} % or more; {made['device']}, {made['date']}")

shown = cells[(cells.head_steps == 100) & (cells.synthetic == "random")]
curves = {}
for method in ("dc", "mtt"):
    for layer, group in shown.groupby("layer"):
        ratio = group.groupby("epoch")[f"{method}.ratio"]
        curves[f"{method.upper()}, {layer}"] = (ratio.mean().index, ratio.mean(), ratio.std())
low, high = shown[["dc.ratio", "mtt.ratio"]].min().min(), shown[["dc.ratio", "mtt.ratio"]].max().max()
drawn(
    curves,
    "Bound over true value of DC and MTT at three layers while the network trains, for a head of 100 steps and "
    f"random real images: {low:.1f} to {high:.1f}; mean and standard deviation over {len(studies)} seeds.",
    "epochs the network has trained",
    "bound / true value",
    rangemode="tozero",
)

# %% [markdown]
# The network's own training matters less than what the *head* has learnt. The last column asks what counts when one
# minimises the bound in place of the truth: over random choices of images, does the bound rank them as the truth
# does? (Spearman's rank correlation, 1 for the same order, 0 for none.)


# %% tags=["hide-input"]
def spread(values, digits=1):
    """Mean ± standard deviation over seeds, each the mean over layers and checkpoints."""
    by_seed = values.groupby("seed").mean()
    return "–" if by_seed.isna().any() else f"{by_seed.mean():.{digits}f} ± {by_seed.std():.{digits}f}"


lines = []
trained = cells[cells.epoch > 0].set_index("seed")
for (side, head), group in trained.groupby(["synthetic", "head_steps"], sort=False):
    for method in ("dc", "mtt"):
        line = {"method": method.upper(), "images": side, "steps": head}
        line |= {name: spread(group[f"{method}.{name}"]) for name in ("ratio", "norm", "triangle")}
        lines.append(line | {"rank corr.": spread(group[f"{method}.rank_correlation"], 2)})
table = pd.DataFrame(lines).set_index(["method", "images", "steps"]).sort_index(ascending=[True, False, True])
table


# %% tags=["hide-input"]
def told(method):
    """A line of text from the table and the figure's data."""
    random = [table.loc[(method, "random", steps)] for steps in (0, 100, 1000)]
    ratio, order = ([line[key] for line in random] for key in ("ratio", "rank corr."))
    at = shown.set_index("seed")[f"{method.lower()}.ratio"]
    first, last = (spread(at[(shown.epoch == e).values]) for e in (1, shown.epoch.max()))
    means = trained[(trained.head_steps == 1000) & (trained.synthetic == "random")].mean(numeric_only=True)
    worst = max(("norm", "triangle"), key=lambda factor: means[f"{method.lower()}.{factor}"])
    return (
        f"- **{method}**: the bound is {ratio[0]} times the truth for a random head, {ratio[1]} after 100 steps and "
        f"{ratio[2]} after 1,000, when the *{worst}* factor is the larger. Its rank correlation with the truth falls "
        f"from {order[0]} over {order[1]} to {order[2]}. From the network's first epoch to its last, the ratio at "
        f"100 steps goes from {first} to {last}."
    )


Markdown(
    f"**How loose**, for random real images, as mean ± standard deviation over {len(studies)} seeds (layers and "
    f"epochs from the first on averaged):\n\n{told('DC')}\n{told('MTT')}"
)

# %% [markdown]
# So the bounds hold, and are mild for a head that knows nothing. For a head that has learnt they say little about the
# gap they bound: a set with a smaller bound need not have a smaller gap. DC starts again from many random heads,
# where its bound is tightest; MTT starts from experts that have trained for a while, where its own is loose. It is
# better to read UniDD's terms as objectives of their own, stricter ones that suit *every* head, than as stand-ins for
# DC and MTT. (The distilled images were made with another filter, so nothing says that their gaps be small here.)
#
# ## Beyond linear kernels
#
# Nothing above asked where $X$ comes from. Put any *fixed* feature map $\varphi$ in front, $X \mapsto \varphi(X)$,
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
# A polynomial kernel $(\gamma x^\top x' + 1)^2$ has a finite $\varphi$: the constant, the coordinates and their
# products. So its kernel regression is a ridge filter exactly. The Gaussian (RBF) kernel
# $e^{-\gamma\lVert x - x'\rVert^2}$ has none; its random Fourier features $\sqrt{2/D}\,\cos(\omega^\top x + b)$
# approximate it with an error that falls as $1/\sqrt D$. The exact kernel machines are scikit-learn's.

# %%
from sklearn.kernel_approximation import RBFSampler
from sklearn.kernel_ridge import KernelRidge

Z_s, Z_t = (((x - X.mean(0)) / X.std(0)).numpy() for x in (X_s, X_t))
gamma, ridge = 1 / d, 1e-3


def polynomial(x):
    """φ with φ(x)ᵀφ(x') = (γ xᵀx' + 1)²: (n, d) to (n, 1 + d + d(d + 1)/2)."""
    i, j = np.triu_indices(x.shape[1])
    products = gamma * np.where(i == j, 1, 2**0.5) * x[:, i] * x[:, j]
    return np.hstack([np.ones((len(x), 1)), (2 * gamma) ** 0.5 * x, products])


def fourier(count, seed=0):
    return RBFSampler(gamma=gamma, n_components=count, random_state=seed).fit(Z_s).transform


def exact(kernel, **options):
    """Predictions of scikit-learn's kernel ridge regression, which solves the dual."""
    machine = KernelRidge(alpha=m * ridge, kernel=kernel, gamma=gamma, **options)
    return torch.from_numpy(machine.fit(Z_s, Y_s.numpy()).predict(Z_t))


def primal(phi):
    """Predictions of the ridge filter's head on φ."""
    mapped, mapped_t = (torch.from_numpy(phi(z)) for z in (Z_s, Z_t))
    return mapped_t @ Ridge(ridge).apply(*Side.of(mapped, Y_s))


check("polynomial kernel: scikit-learn's dual, our primal", primal(polynomial), exact("poly", degree=2, coef0=1))
for name, phi in (("polynomial", polynomial), ("Fourier", fourier(256))):
    mapped = torch.from_numpy(phi(Z_s))
    side = Side.of(mapped, Y_s)
    rate, W, zero = 1 / float(spectrum(side.ffc).eigenvalues[0]), torch.zeros_like(side.flc), torch.zeros_like(side.flc)
    for _ in range(q):
        W = W - rate * mapped.T @ (mapped @ W - Y_s) / m
    check(f"{name} features: {q} steps of descent, filter form", objectives.trajectory(side, zero, rate, q), W)

# %% tags=["hide-input"]
counts, target = (64, 128, 256, 512, 1024, 2048), exact("rbf")
errors = [[float((primal(fourier(D, seed)) - target).norm() / target.norm()) for seed in range(5)] for D in counts]
mean, std = np.mean(errors, 1), np.std(errors, 1, ddof=1)
print(f"RBF: error falls as D to the power {np.polyfit(np.log(counts), np.log(mean), 1)[0]:.2f}")
drawn(
    {"random Fourier features": (counts, mean, std)},
    f"Error of predictions against the exact RBF kernel machine for {counts[0]} to {counts[-1]} Fourier features, mean "
    f"and standard deviation over 5 draws; it falls from {mean[0]:.2f} to {mean[-1]:.2f}.",
    "features D",
    "relative error of predictions",
    type="log",
    xaxis={"type": "log", "tickvals": counts},
)

# %% [markdown]
# **What stays true:** all of it, since the identities never look inside $\varphi$. (If $\varphi$ itself is trained
# while images are distilled, the closed forms no longer hold: fixed features are this theory's limit.)
#
# **What does not: the pictures.** For a linear kernel on pixel patches, an eigenvector *is* a patch, and its
# roughness rises as its eigenvalue falls. Under another $\varphi$, an eigenvector $u$ is a function
# $h(x) = u^\top\varphi(x)$ of a patch. The nearest thing to its picture is the gradient $\nabla h(x)$, and that
# changes with $x$. Over 6×6 patches of the photographs we measure how far *one* picture can stand for a direction
# (the share of the gradients' energy along their main direction), how rough the gradients are (energy of neighbouring
# pixels' differences over energy of pixels), and whether roughness still rises with rank. Made by
# `python benchmarks/kernel_pictures.py`.

# %% tags=["hide-input"]
study = json.loads((studies_folder / "kernels" / "photos.json").read_text())
lines = []
for row in study["rows"]:
    rough = pd.Series(row["roughness"])
    line = {"kernel": row["kernel"], "one picture": np.mean(row["one_picture"]), "roughness, 5th": rough[4]}
    order = rough.corr(pd.Series(range(len(rough))), method="spearman")
    lines.append(line | {"30th": rough[29], "rank corr.": order})
pictures = pd.DataFrame(lines).groupby("kernel", sort=False)
mean, std = pictures.mean(), pictures.std()
print(f"{study['settings']['patches']} patches, {len(study['seeds'])} seeds, {study['provenance']['device']}")
mean.map("{:.2f}".format) + " ± " + std.map("{:.2f}".format)

# %% tags=["hide-input"]
linear, poly, rbf = mean.itertuples(index=False, name=None)
Markdown(
    f"For the linear kernel one picture stands for {linear[0]:.0%} of a direction, for the polynomial kernel for "
    f"{poly[0]:.0%} and for the RBF kernel for {rbf[0]:.0%} on average. Roughness still rises with rank "
    f"(correlations {linear[3]:.2f}, {poly[3]:.2f} and {rbf[3]:.2f}), but on another scale: the 30th direction has "
    f"roughness {linear[2]:.1f}, {poly[2]:.1f} and {rbf[2]:.1f}, since products of smooth directions can come before "
    "rough ones. So *small eigenvalue = fine detail* is a statement about linear features of pixels; behind a "
    "non-linear map, high-pass means *many-sided* as much as *fine*."
)

# %% [markdown]
# ## Exercises
#
# **1. Two filters within a factor of two.** Prove equation {eq}`eq-early`. (Put $u = \alpha\lambda \in (0, 1]$.)
#
# ```{admonition} Solution
# :class: dropdown
# With $\beta = 1/(\alpha t)$, the ratio of Landweber to ridge is
# $\bigl(1 - (1-u)^t\bigr)\bigl(1 + \tfrac1{ut}\bigr)$. *From below:* $(1-u)^t \le e^{-ut} \le \tfrac1{1+ut}$, so the
# first factor is at least $\tfrac{ut}{1+ut}$, and the product at least 1. *From above:* the first factor is at most
# 1, and by Bernoulli's inequality at most $ut$. If $ut \le 1$ the product is at most $ut + 1 \le 2$; if $ut \ge 1$ it
# is at most $1 + \tfrac1{ut} \le 2$.
# ```
#
# **2. The weighted identity with β.** For $\beta > 0$ let $W_\beta = (\Psi + \beta I)^{-1}\Phi$. Which loss satisfies
# equation {eq}`eq-krr-weighted` with $W_\beta$ in place of $W_\ast$, and with which weight? What happens to the
# low-pass weight as β grows?
#
# ```{admonition} Solution
# :class: dropdown
# The penalised loss $L_\beta(W) = \tfrac1n\lVert Y - XW\rVert_F^2 + \beta\lVert W\rVert_F^2$. It is a quadratic in
# $W$ with Hessian $2(\Psi + \beta I)$ in each column and its minimum at $W_\beta$. So with $V = W - W_\beta$, it is
# $L_\beta(W_\beta) + \operatorname{tr}(V^\top (\Psi + \beta I) V)$. An error along $u_i$ counts $\lambda_i + \beta$
# times: as β grows the weight becomes flat, and the loss a plain distance of heads. The hidden cell below checks it.
# ```

# %% tags=["hide-cell"]
W_beta = Ridge(beta).apply(*real)


def penalised(W):
    return objectives.head_loss(real, W, power) + beta * W.square().sum()


check("exercise 2", penalised(W_beta) + objectives.head_gap(real, W_0, W_beta, beta), penalised(W_0))

# %% [markdown]
# **3. Equal gradients, different data.** With $d > c$, find $\Psi_s \ne \Psi$ with $\Phi_s = \Phi$ whose gradient
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
print(f"gap {objectives.dc(real, twin, W_0):.0e}, bound {objectives.dc_bound(real, twin, W_0):.3g}")
other = torch.roll(W_0, 1, 0)
print(f"gap at a second head {objectives.dc(real, twin, other):.3g}")
assert objectives.dc(real, twin, W_0) < 1e-12 < objectives.dc(real, twin, other)

# %% [markdown]
# The code of this page: `unidd/core/objectives.py` (every distance and bound), `unidd/core/filters.py` (the filters,
# see {doc}`03_filters`), `unidd/core/spectra.py` (`effective_beta`, `participation`), `benchmarks/bound_looseness.py`;
# its tests: `tests/core/test_theory_methods.py`.
