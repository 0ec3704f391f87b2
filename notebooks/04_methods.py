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
# With $g = I$ the loss is a *filter term*, with $g = \Phi$ a *signal term*; a method has one of them or both. This page
# finds $f$ and $g$ by equalities alone. Where only an inequality leads there, the [next one](05_bounds) goes on.
#
# **Which $X$.** Everywhere on this page $\Psi = \tfrac1n X^\top X$ and $\Phi = \tfrac1n X^\top Y$ are of features
# *as they are*, not centred, since the heads below have no bias
# ({ref}`the definition <def-correlations>`); the one exception, batch norm, says so. $Y$ is one-hot. The features are
# the simplest there are: the 64 pixels of scikit-learn's digits.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import pandas as pd
import torch

import unidd
from unidd.book import chapter
from unidd.book.captions import Captioned
from unidd.book.chapter import Line, check
from unidd.book.widgets import FilterExplorer
from unidd.core import objectives
from unidd.core.filters import Landweber, Linear, Ridge
from unidd.core.objectives import Side
from unidd.core.spectra import effective_beta, participation, spectrum
from unidd.core.statistics import FeatureTap, covariance, rows
from unidd.data import datasets

digits = datasets.load("digits")
(X, Y), (X_s, Y_s), (X_t, Y_t) = chapter.samples(digits, ipc=10)
real, synthetic = Side.of(X, Y), Side.of(X_s, Y_s)
n, m, (d, c) = len(X), len(X_s), real.flc.shape

lam, U = spectrum(real.ffc)
alpha = 1 / float(max(lam[0], spectrum(synthetic.ffc).eigenvalues[0]))
p, q, beta = 50, 20, float(lam.mean()) / 10
W_0 = torch.randn(d, c, generator=torch.Generator().manual_seed(0)).double() / d**0.5
print(f"X {tuple(X.shape)}, X_s {tuple(X_s.shape)}: ten random real digits a class")

# %% [markdown]
# ## Predict, then see
#
# Five filters over the eigenvalues of these digits. All-pass belongs to distribution matching (DM), linear to gradient
# matching (DC), residual and Landweber to $t$ steps of gradient descent and so to trajectory matching (MTT), ridge to
# kernel ridge regression (KRR). Where each comes from is the rest of the page. Ridge's β, in units of λ, is tied to
# $1/(\alpha t)$, where α is the step size of the descent.
#
# **Guess before you move $t$:** how far apart can Landweber and ridge come at any one eigenvalue? A tenth, a factor of
# two, or ever further as $t$ grows? (Towards λ = 0, on the left, both weigh $1/\beta = \alpha t$, so that their heights
# in the figure compare.) {ref}`The answer <early-stopping>` is proved below.

# %% tags=["hide-input"]
Captioned(
    FilterExplorer(
        {"digits, 64 pixels": lam},
        steps=p,
        filters=["allpass", "linear", "ridge", "landweber", "residual"],
        linked=True,
    ),
    "Move t: ridge and Landweber change together, and residual with them. "
    "Untie β and find one that fits Landweber better.",
    "fig-methods-filters",
)

# %% [markdown]
# What difference does a filter make to what a method sees? Each method compares two matrices of shape $(d, c)$, one a
# side; here the synthetic side is one draw of ten real digits a class. The figure shows how the squared norm of their
# difference is spread over the eigenvectors $u_i$ of $\Psi$, from the {term}`lowest frequency <frequency>` (largest λ)
# to the highest. Nothing is centred here, so the first of them is nearly the mean digit. (DC compares gradients, at a
# head that has taken 100 steps of descent; MTT heads, after 50 steps on real digits and 20 on synthetic ones.)

# %% tags=["hide-input"]
W = objectives.trajectory(real, W_0, alpha, 100)
gaps = {
    "DM": real.flc - synthetic.flc,
    "DC": sum(objectives.dc_terms(real, synthetic, W)),
    "MTT": sum(objectives.mtt_terms(real, synthetic, W_0, alpha, p, q)),
    "KRR": Ridge(beta).apply(*real) - Ridge(beta).apply(*synthetic),
}
seen = {name: participation(U, gap).cumsum(0) for name, gap in gaps.items()}
half = {name: 1 + int((share < 0.5).sum()) for name, share in seen.items()}
itself, other = (objectives.mtt(real, side, W_0, alpha, p, q) for side in (real, synthetic))
reached = ", ".join(f"{name} {count}" for name, count in half.items())
figure = chapter.lines(
    {name: Line(name, range(1, d + 1), share) for name, share in seen.items()},
    f"Share of each method's squared difference in the first of {d} directions, from "
    f"the largest eigenvalue on; half is reached at: {reached}.",
    "eigendirections, lowest frequency first",
    "share seen",
)
Captioned(
    figure,
    f"Half of what DC sees lies in {half['DC']} of {d} directions (the first is nearly "
    f"the mean digit), of what DM sees in {half['DM']}, MTT {half['MTT']}, "
    f"KRR {half['KRR']}. "
    "The data are the same four times; the filter is not. MTT's two sides have different "
    f"filters as well: with {p} steps on one and {q} on the other even the real digits "
    f"would be {itself:.2f} from themselves, where it sees {other:.2f} here.",
    "fig-methods-seen",
)

# %% [markdown]
# ## One gradient for all
#
# A linear head $W$, of shape $(d, c)$, has the squared loss $L(W) = \tfrac1{2n}\lVert XW - Y\rVert_F^2$.
# Differentiate: $\tfrac1n X^\top(XW - Y)$, which is
#
# $$ \nabla L(W) = \Psi W - \Phi . $$ (eq-head-gradient)
#
# The head's gradient knows nothing of the data but $\Psi$ and $\Phi$. Two data sets that agree in both train every
# such head alike, step for step. This is why all that follows can be written with these two matrices.
#
# In plain PyTorch, autograd finds the left side and two products the right one:

# %%
Psi, Phi = X.T @ X / n, X.T @ Y / n
head = W_0.clone().requires_grad_()
((X @ head - Y).square().sum() / (2 * n)).backward()
apart = (head.grad - (Psi @ W_0 - Phi)).abs().max()
print(f"largest difference of an entry: {apart:.0e}")

# %% [markdown]
# The package keeps the two as a `Side`; `check` prints a relative difference, and fails if it is not rounding:

# %%
check("autograd and ΨW − Φ", real.ffc @ W_0 - real.flc, head.grad)

# %% [markdown]
# ## DM: the all-pass filter
#
# DM {cite}`zhao2023dm` compares the mean feature $\mu_k$ of each class with its synthetic twin.
# Column $k$ of $X^\top Y$ sums the features of class $k$, so column $k$ of $\Phi$ is $\tfrac{n_k}{n}\mu_k$. With
# classes of equal size on both sides, $n_k/n = 1/c$ and
#
# $$ \lVert \Phi - \Phi_s \rVert_F^2 = \frac1{c^2} \sum_{k=1}^c \lVert \mu_k - \mu_{s,k} \rVert^2 . $$ (eq-dm)
#
# An equality: DM is equation {eq}`eq-unidd` with $f(\lambda) = 1$ and $g(\Phi) = \Phi$. The classes of the digits are
# only nearly of one size, so here each mean keeps its weight $n_k/n$:

# %%
columns, unweighted = [], 0.0
for k in range(c):
    x_k, x_sk = X[Y[:, k] == 1], X_s[Y_s[:, k] == 1]
    columns.append(len(x_k) / n * x_k.mean(0) - len(x_sk) / m * x_sk.mean(0))
    unweighted += (x_k.mean(0) - x_sk.mean(0)).square().sum()
by_means = torch.stack(columns, 1)
print(f"from class means {by_means.norm():.4f}")
print(f"as if the classes were of one size {unweighted**0.5 / c:.4f}")

# %%
check("class means and Φ", by_means.norm(), objectives.dm(real, synthetic))

# %% [markdown]
# ## Descent: what is left, and what is learnt
#
# MTT {cite}`cazenavette2022mtt` compares an *expert* head after $p$ steps on real data with a
# *student* head after $q$ steps on synthetic data, both from $W_0$. One step of gradient descent with rate $\alpha$
# is $W_{t+1} = W_t - \alpha(\Psi W_t - \Phi)$, or $(I - \alpha\Psi)W_t + \alpha\Phi$. Unroll it: the starting weights
# shrink by $I - \alpha\Psi$ at each step, and so does every $\alpha\Phi$ once it has been added. After $t$ steps,
#
# $$
# \begin{gathered}
# W_t = r_t(\Psi)\,W_0 + s_t(\Psi)\,\Phi, \\
# r_t(\lambda) = (1 - \alpha\lambda)^t, \\
# s_t(\lambda) = \alpha \sum_{k<t} r_k(\lambda) = \frac{1 - r_t(\lambda)}{\lambda} .
# \end{gathered}
# $$ (eq-mtt)
#
# Again an equality. The two sides have the same filters only for $p = q$; published students take fewer steps than
# experts, and then even equal data are at a distance. *Residual* $r_t$ is what is left of the start, *Landweber* $s_t$
# what has been learnt. For $\alpha\lambda_{\max} \le 1$ both are high-pass: descent learns the large eigenvalues first,
# so what is left of the start, and what keeps growing with $t$, are the small ones. From scratch, descent on the digits
# themselves beside the two filters:


# %%
def descend(X, Y, steps):
    """Gradient descent on the head, by autograd."""
    W = W_0.clone().requires_grad_()
    for _ in range(steps):
        loss = (X @ W - Y).square().sum() / (2 * len(X))
        (gradient,) = torch.autograd.grad(loss, W)
        W = (W - alpha * gradient).detach().requires_grad_()
    return W.detach()


def by_filter(X, Y, steps):
    """The same head through eigenvectors."""
    values, basis = torch.linalg.eigh(X.T @ X / len(X))
    r = (1 - alpha * values) ** steps
    s = alpha * sum((1 - alpha * values) ** k for k in range(steps))
    learnt = basis.T @ (X.T @ Y / len(X))
    return basis @ (r[:, None] * (basis.T @ W_0) + s[:, None] * learnt)


expert, student = descend(X, Y, p), descend(X_s, Y_s, q)
print(f"expert: {(by_filter(X, Y, p) - expert).abs().max():.0e} apart")
print(f"student: {(by_filter(X_s, Y_s, q) - student).abs().max():.0e} apart")

# %% [markdown]
# `objectives.trajectory` has the head, `objectives.mtt` the distance of the two:

# %%
check("expert", objectives.trajectory(real, W_0, alpha, p), expert)
distance = objectives.mtt(real, synthetic, W_0, alpha, p, q)
check("distance of expert and student", distance, (expert - student).norm())

# %% [markdown]
# (early-stopping)=
# ## From descent to ridge
#
# Stopping after $t$ steps is much like ridge regression with $\beta = 1/(\alpha t)$. How much? For
# $0 < \alpha\lambda \le 1$ and every $t \ge 1$, within a factor of two, however large $t$ grows (exercise 1):
#
# $$
# \begin{gathered}
# \frac{1}{\lambda + \beta} \le s_t(\lambda) \le \frac{2}{\lambda + \beta}, \\
# \beta = 1/(\alpha t) .
# \end{gathered}
# $$ (eq-early)

# %% tags=["hide-input"]
lines = []
positive = lam[lam > 1e-12 * lam[0]]  # pixels that are always blank have λ = 0
for t in (2, 10, 100, 1000, 10_000):
    s, stop = Landweber(alpha, t), 1 / (alpha * t)
    ratio = s.response(positive) / Ridge(stop).response(positive)
    assert 1 - 1e-12 <= ratio.min() <= ratio.max() <= 2 + 1e-12
    line = {"steps": f"t = {t:,}", "1/(αt)": f"{stop:.2g}"}
    line["s_t over ridge"] = f"{ratio.min():.2f} … {ratio.max():.2f}"
    lines.append(line | {"best β": f"{effective_beta(s, positive):.2g}"})
Captioned(
    pd.DataFrame(lines).set_index("steps").rename_axis(None),
    "Over the digits' eigenvalues the ratio stays between 1 and 2. The last column is "
    "measured: the β whose ridge filter has the shape most like that of Landweber. The "
    "longer the descent, the nearer it is to 1/(αt).",
    "tab-methods-early",
)

# %% [markdown]
# ## KRR: ridge, exactly
#
# KIP {cite}`nguyen2021kip` and FRePo {cite}`zhou2022frepo` train on the synthetic set in closed form, by kernel ridge
# regression, and test on real features $X_t$. In the *dual*, written with the $(m, m)$ kernel matrix
# $X_s X_s^\top$, labels are predicted; in the *primal* a head $W_s$ is solved for. From
# $X_s^\top (X_sX_s^\top + m\beta I) = (X_s^\top X_s + m\beta I)\, X_s^\top$ the two are equal:
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
I_m, I_d = torch.eye(m).double(), torch.eye(d).double()
dual = X_t @ X_s.T @ torch.linalg.solve(X_s @ X_s.T + m * beta * I_m, Y_s)
W_s = torch.linalg.solve(X_s.T @ X_s / m + beta * I_d, X_s.T @ Y_s / m)
print(f"dual and primal: {(X_t @ W_s - dual).abs().max():.0e} apart")
right = ((X_t @ W_s).argmax(1) == Y_t.argmax(1)).double().mean()
print(f"β = {beta:.2g}: {m} random real digits get {right:.1%} of the test right")

# %%
check("primal and the ridge filter", Ridge(beta).apply(*synthetic), W_s)
distance = objectives.krr(real, synthetic, beta)
check("distance of the heads", distance, (Ridge(beta).apply(*real) - W_s).norm())

# %% [markdown]
# ### The loss weighs the heads
#
# What these methods minimise, though, is the *loss* of $W_s$ on real data, not its distance from the real head. Take a
# least-squares head $W_\ast$, $\Psi W_\ast = \Phi$. Write $XW_s - Y = X(W_s - W_\ast) + (XW_\ast - Y)$ and square; the
# cross term contains $X^\top(XW_\ast - Y) = 0$:
#
# $$
# \begin{aligned}
# &\tfrac1n \lVert Y - XW_s\rVert_F^2 \\
# &= \tfrac1n \lVert Y - XW_\ast\rVert_F^2 + \operatorname{tr}(V^\top \Psi V), \\
# &V = W_s - W_\ast .
# \end{aligned}
# $$ (eq-krr-weighted)
#
# With $W_s$ solved at β = 0 too, it is equation {eq}`eq-unidd` with a weight $\Psi$: an error along $u_i$ counts
# $\lambda_i$ times. (Exercise 2 has β > 0.) The filter that solves for the heads is high-pass; the weight of the loss
# that compares them is low-pass, and undoes part of it.

# %%
W_star = torch.linalg.lstsq(X, Y, driver="gelsd").solution  # Ψ has eigenvalues 0
V = W_s - W_star
direct = (Y - X @ W_s).square().sum() / n
identity = (Y - X @ W_star).square().sum() / n + (V * (Psi @ V)).sum()
print(f"loss of W_s {direct:.6f}, from the identity {identity:.6f}")

# %%
check("the same from moments alone", objectives.head_loss(real, W_s, 1.0), direct)
gap = objectives.head_gap(real, W_s, W_star)
check("with a gap of heads", objectives.head_loss(real, W_star, 1.0) + gap, direct)
error, top = (U.T @ V).square().sum(1), lam > lam.mean()
plain, weighted = (float(e[top].sum() / e.sum()) for e in (error, lam * error))
large = f"{int(top.sum())} of {d} directions have a λ above the mean"
print(f"{large}: {plain:.2%} of the distance, {weighted:.0%} of the loss")

# %% [markdown]
# ## Batch-norm statistics: the diagonal
#
# The SRe2L family {cite}`yin2023sre2l` matches the mean and the variance of each channel that the teacher's batch
# norm has stored. Here $X$ is *centred*, by its own mean. With $\Psi = U\Lambda U^\top$, the variance of channel $j$ is
#
# $$ \Psi_{jj} = \sum_i \lambda_i\, U_{ji}^2 , $$ (eq-bn)
#
# the linear filter $f(\lambda) = \lambda$ seen only on its diagonal. This is about networks, so the rows are now
# positions in the feature maps of a trained {term}`teacher` on `photos`:

# %% tags=["hide-input"]
photos = datasets.load("photos")
teacher = unidd.teach(photos)
maps, LAYER = [], "features.9"  # a layer whose input is tapped
for images in (photos.train.images[::5], photos.train.images[1::50]):
    with FeatureTap(teacher.model, [LAYER]) as tap, torch.no_grad():
        teacher.model(photos.normalise(images))
    maps.append(tap.features[LAYER].double())
x, x_s = map(rows, maps)
print(f"real rows {tuple(x.shape)}, synthetic {tuple(x_s.shape)}")

# %%
norm = torch.nn.BatchNorm2d(x.shape[1], momentum=None).double()
norm(maps[0])  # stores mean and variance, which it divides by n − 1
centred = x - x.mean(0)
Psi_x = centred.T @ centred / len(x)
values, basis = torch.linalg.eigh(Psi_x)
stored = norm.running_var * (1 - 1 / len(x))
print(f"diagonal of Ψ: {(Psi_x.diagonal() - stored).abs().max():.0e} apart")
print(f"Σ λ_i U_ji²: {(basis**2 @ values - stored).abs().max():.0e} apart")

# %%
ffc, ffc_s = covariance(x), covariance(x_s)
check("covariance and stored variance", ffc.diagonal(), stored)
both = (x.mean(0) - x_s.mean(0)).norm() + (ffc - ffc_s).diagonal().norm()
check("objectives.bn", objectives.bn(x.mean(0), ffc, x_s.mean(0), ffc_s), both)

# %% [markdown]
# A filter is a property of the features' geometry: turn all features by a rotation $Q$ and
# $\lVert f(\Psi) - f(\Psi_s)\rVert_F$ stays. The diagonal does not: batch-norm statistics depend on which axes the
# network happens to have.

# %%
gap = ffc - ffc_s
turn = torch.randn(*gap.shape, generator=torch.Generator().manual_seed(1)).double()
Q = torch.linalg.qr(turn).Q
turned = Q.T @ ffc @ Q, Q.T @ ffc_s @ Q
check("the term, turned", objectives.filter_loss(Linear(), *turned), gap.norm())
before = gap.diagonal().norm() / gap.norm()
after = (turned[0] - turned[1]).diagonal().norm() / gap.norm()
print(f"the diagonal sees {before:.0%} of ‖Ψ − Ψ_s‖, after a rotation {after:.0%}")

# %% [markdown]
# ## The family
#
# For the two rows that say "at most", the [next page](05_bounds) has the derivation; [CFM](08_cfm) has a page of its
# own.
#
# ```{table} What each method compares, and how its own distance relates to UniDD's terms; "at most" is a bound.
# :name: tab-methods-family
#
# | method | filter with $g(\Phi) = I$ | filter with $g(\Phi) = \Phi$ | its own distance is |
# |---|---|---|---|
# | DM | – | $1$ | equal to the term |
# | DC | $\lambda$ | $1$ | at most the sum of terms |
# | MTT | $r_p$; $r_q$ of the synthetic side | $s_p$; $s_q$ | at most the sum of terms |
# | KRR | – | $1/(\lambda + \beta)$ | equal, for the heads; weighted by $\Psi$, for the loss |
# | BN statistics | $\lambda$, diagonal only | $1$ on the mean ($Y = \mathbf 1$) | equal, on the diagonal |
# | CFM | $1/(\lambda + \beta)$ | $1/(\lambda + \beta)$ ($Y = \mathbf 1$) | the terms themselves, beside cross-entropy |
# ```
#
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
    return objectives.head_loss(real, W, 1.0) + beta * W.square().sum()


best, gap = penalised(W_beta), objectives.head_gap(real, W_0, W_beta, beta)
check("exercise 2", best + gap, penalised(W_0))

# %% [markdown]
# ## Code
#
# `unidd/core/objectives.py` (every distance), `unidd/core/filters.py` (the filters, see {doc}`03_filters`),
# `unidd/core/spectra.py` (`effective_beta`, `participation`); tests: `tests/core/test_theory_methods.py`. Next:
# {doc}`05_bounds`.
