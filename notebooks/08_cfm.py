# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # CFM, the algorithm and its cost
#
# **The question.** Curriculum frequency matching ({term}`CFM`) {cite}`bo2026unidd` makes a synthetic set round by
# round, each round with a smaller β. What happens in a step of it, line by line? And what does a step cost beyond the
# one thing that no such method can avoid, a pass of the images through the {term}`teacher` and back?
#
# ## The picture: one distillation, round by round
#
# Ten rounds, one image of each class in a round. This page distills them now; the curves come from a record of
# the same recipe under five schedules of β.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %%
import copy
import json
import math

import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

import unidd
from unidd.bench.records import published
from unidd.book import plots
from unidd.core.filters import Ridge
from unidd.core.matching import Matching, step_loss
from unidd.core.ridge import channel_form, row_form
from unidd.core.statistics import FeatureTap, RealSide, correlations, covariance, emu, real_statistics, rows
from unidd.data import augment, datasets
from unidd.data.synthetic import SyntheticSet
from unidd.engine.run import Run
from unidd.methods.cfm import CFM
from unidd.networks.models import tapped_layers

data = datasets.load("photos")
teacher = unidd.teach(data)
method, ipc = CFM(steps=100), 10
torch.set_num_threads(1)  # products as small as these gain nothing from more

layers = tapped_layers(teacher.model)
images, labels = data.normalise(data.train.images), data.train.labels
batches = zip(images.split(500), labels.split(500), strict=True)
statistics = real_statistics(teacher.model, batches, layers)  # Ψ and Φ of the real images, once
made = method.distill(data, teacher, Run(ipc, statistics=statistics))
start = SyntheticSet.from_real(data, ipc)
print(f"{len(made)} images: {ipc} rounds of {method.steps} steps")

# %%
from unidd.book.widgets import CurriculumPlayer

studies = published("studies")
record = json.loads((studies / "curriculum" / "photos.json").read_text())
then = record["runs"]["cosine"]["loss"]["filter"]
assert all(abs(now["filter"] / f - 1) < 0.5 for now, f in zip(made.history, then, strict=True))  # rounding differs
player = CurriculumPlayer(record, made.images, start.images, names=data.class_names)
player

# %% [markdown]
# Press *Play*, or move the slider; in JupyterLab `player.round` moves it too. The shaded directions are those that
# {term}`ridge <ridge filter>` passes: by equation {eq}`eq-pass`, at least half as strongly as the one it passes best.
#
# 1. **Watch the shade shrink.** In round 0 all but the largest eigenvalues count. At the end the finest directions are
#    left, with hardly any of the variance.
# 2. **Choose *reverse*.** The same β in the opposite order: now the first images are made for detail.
# 3. **Change the layer.** One β means something else in each, which {doc}`03_filters` is about.
# 4. **Compare the rows of the table.** They say how far $\Psi_s$ is from $\Psi$, as the filter of that round sees it.

# %% tags=["hide-input"]
layer, where = list(record["real"])[-1], record["provenance"]
runs = [record["runs"]["cosine"]["distances"], *record["seeds"].values()]
terms = {side: torch.tensor([run[side][layer]["filter"] for run in runs]) for side in runs[0]}  # seeds × rounds
assert (terms["distilled"] < terms["classification"]).all()
assert (terms["distilled"][:, 0] < terms["start"][:, -1]).all()
ends = {
    side: " and ".join(f"{values[:, b].mean():.1%} ± {values[:, b].std():.1%}" for b in (0, -1))
    for side, values in terms.items()
}
Markdown(
    f"How near do the images come? This is the filter term of {layer} after the first and after the last round, as a "
    f"share of the real side's size, over {len(runs)} seeds. Photographs as they are: {ends['start']}. Images by the "
    f"teacher's cross-entropy alone: {ends['classification']}; it drives the statistics away from those of the data. "
    f"With matching: {ends['distilled']}; by this measure ten images stand in for the data better than a hundred "
    f"photographs. ({record['config']['steps']} steps a round, {where['device']}, torch {where['torch']}, "
    f"{where['date']}.)"
)

# %% [markdown]
# ## The algorithm
#
# Features are the inputs of every convolution $\ell$ of a frozen teacher $h$. A step descends, over the pixels $x$ of
# the current round,
#
# $$
# \begin{aligned}
# L(x) &= \operatorname{CE}\bigl(h(A(x)), y\bigr) + \eta \sum_\ell E^\ell(x), \\
# E &= \lVert f_b(\Psi) - f_b(\Psi_s) \rVert_F \\
# &\quad + \lVert f_b(\Psi)\Phi - f_b(\Psi_s)\Phi_s \rVert_F ,
# \end{aligned}
# $$ (eq-cfm-loss)
#
# where $A$ is a random crop, flip and roll. Norms, not squares: a layer that is far off does not shout down the
# others. The filter follows the curriculum,
#
# $$
# f_b(\lambda) = \frac{1}{\lambda + \beta_b}, \qquad
# \beta_b = \tfrac12 \beta \left(1 + \cos \frac{\pi b}{B}\right),
# $$ (eq-curriculum)
#
# and the synthetic side is a running mean over the rounds, the {term}`EMU`. With $b$ counted from 1 in it,
#
# $$ \Psi_s = \Bigl(1 - \frac1b\Bigr) \Psi_s^{(b-1)} + \frac1b\, \Psi(x) , $$ (eq-emu)
#
# and the same for $\Phi_s$. Only $\Psi(x)$, the covariance of the current round's features, moves. So a new round does
# not have to look like the data by itself; it has to mend what the rounds before it left.
#
# | | Algorithm 1 | code |
# |---|---|---|
# | 1 | $\Psi, \Phi \leftarrow$ statistics of real images | `statistics.real_statistics`, `store.save_statistics` |
# | 2 | $\Psi = U \Lambda U^\top$, once | `statistics.RealSide` |
# | 3 | **for** $b = 0 \dots B - 1$ **do** | `engine.descent.steps` |
# | 4 | $\quad$ filter $f_b$ of each layer; $f_b(\Psi)$, $f_b(\Psi)\Phi$ | `CFM.layer_filter`, `matching.Matching` |
# | 5 | $\quad x \leftarrow$ the $b$-th real image of each class | `synthetic.SyntheticSet.from_real` |
# | 6 | $\quad$ **for** $t = 0 \dots T - 1$ **do** | |
# | 7 | $\qquad$ rate $\leftarrow \tfrac12\,\text{lr}\,(1 + \cos \pi t / T)$ | |
# | 8 | $\qquad a \leftarrow A(x)$: crop, flip, roll | `augment` |
# | 9 | $\qquad \Psi_s, \Phi_s, L \leftarrow$ features of $h(a)$ | `matching.step_loss`, `statistics.GradientTap` |
# | 10 | $\qquad x \leftarrow$ Adam step along $\nabla L$ | `matching.Loss.gradient`, `ridge` |
# | 11 | $\qquad x \leftarrow$ clipped to valid pixels | |
# | 12 | $\quad$ keep $\Psi_s, \Phi_s$ of the last step | `matching.Matching.statistics` |
# | 13 | **return** the $x$ of all rounds | `synthetic.SyntheticSet` |
#
# Here it is as code, with the numbers of the lines. What `unidd.engine` has beside this is care: a state on disk,
# several processes, groups of classes, a look at the loss. On two rounds of five steps both make the same images:

# %%
small, asked = CFM(steps=5, lr=0.25), Run(ipc=2, seed=1, statistics=statistics)
steps, generator = small.steps, torch.Generator().manual_seed(asked.seed)
low, high = (data.normalise(torch.full((1, 3, 32, 32), v)) for v in (0.0, 1.0))
chosen = SyntheticSet.from_real(data, asked.ipc, asked.seed)
start_images, start_labels = (t.split(data.classes) for t in (chosen.images, chosen.labels))

real = {name: RealSide.of(moments) for name, moments in statistics.items()}  # 1, 2
rounds, previous = [], {}
for b in range(asked.ipc):  # 3
    filters = {name: small.layer_filter(b, asked.ipc, side) for name, side in real.items()}  # 4
    matching = Matching.of(real, filters, previous=previous, count=b + 1)
    x = data.normalise(start_images[b]).requires_grad_()  # 5
    adam = torch.optim.Adam([x], betas=(0.5, 0.9))
    for t in range(steps):  # 6
        rate = small.lr * (1 + math.cos(math.pi * t / steps)) / 2  # 7
        a = augment.random_resized_crop(x, generator, (small.scale, 1.0))  # 8
        a = augment.roll(augment.flip(a, generator), generator, small.shift)
        loss = step_loss(teacher.model, a, start_labels[b], matching, small.eta)  # 9
        if t == steps - 1:
            previous = matching.statistics(loss)  # 12
        x.grad = loss.gradient(x)  # 10
        adam.param_groups[0]["lr"] = rate
        adam.step()
        with torch.no_grad():
            x.clamp_(low, high)  # 11
    rounds.append(data.denormalise(x.detach()).clamp(0, 1))  # 13

same = small.distill(data, teacher, asked).images
difference = float((torch.cat(rounds) - same).abs().mean())
moved = float((same - chosen.images).abs().mean())
assert difference < 1e-3 * moved
print(f"mean difference of a pixel {difference:.0e}; the steps moved it by {moved:.2f}")

# %% [markdown]
# The code released with the paper does some things otherwise, and these change numbers. Who compares results should
# know:
#
# | the released code | here |
# |---|---|
# | reports the best test accuracy over the last fifth of the epochs | the last epoch, always |
# | tests CIFAR-100 with ImageNet's mean and standard deviation | each data set's own |
# | ignores the student's architecture on CIFAR | takes the one asked for |
# | has the moving update of {eq}`eq-emu` off by default | on, as published; `emu=False` for the other |
# | has two filters only, $\lambda$ and $1/(\lambda + \beta)$ | any of {doc}`03_filters` |
# | solves the constant real side again in every step | diagonalised once: no other number, less time |
# | fails with a singular matrix at β = 0 or a dead channel | finite, see below |
# | no seeds, no resume, CUDA only, one GPU | seeded, resumed, any device, several |
#
# ## The algebra of a step
#
# **The real side is a diagonal.** $\Psi$ never changes, so it is diagonalised once. For every later β,
#
# $$ f_b(\Psi) = U \operatorname{diag}\Bigl(\frac{1}{\lambda_i + \beta_b}\Bigr) U^\top . $$ (eq-diagonal)
#
# **The synthetic side is a Cholesky factorisation.** Let $P = (\Psi_s + \beta I)^{-1}$, and let $D$ and $R$ be the two
# differences of {eq}`eq-cfm-loss`, each divided by its own norm: $D$ of the filter term, $R$ of the signal term. From
# $\mathrm dP = -P\,\mathrm d\Psi_s\,P$ follows, with no graph through the factorisation,
#
# $$
# \begin{gathered}
# \frac{\partial E}{\partial \Psi_s} = P H P, \qquad \frac{\partial E}{\partial \Phi_s} = -P R, \\
# H = D + \tfrac12 \bigl( R\,\Phi_s^\top + \Phi_s R^\top \bigr) .
# \end{gathered}
# $$ (eq-ridge-gradient)
#
# **The pixels get it on the way back.** A layer with $n$ rows $x_k$ of mean $\mu$ and targets $y_k$ feels
#
# $$
# \frac{\partial E}{\partial x_k} = \frac{2}{bn}\, \frac{\partial E}{\partial \Psi_s}\, (x_k - \mu)
# + \frac{1}{bn}\, \frac{\partial E}{\partial \Phi_s}\, y_k ,
# $$ (eq-row-gradient)
#
# which is known as soon as the forward pass is over. The backward pass of the cross-entropy goes through these layers
# anyway; the engine adds {eq}`eq-row-gradient` to it where it passes. One backward pass, one product more in a layer.
#
# **Few rows, many channels.** Ten images give the last layers of a ResNet 160 rows of 512 channels. Then most of
# $\Psi_s$ is known before the step: with $K$ the inverse without the rows, and the centred rows $Z$ scaled by
# $1/\sqrt{bn}$, Woodbury's identity needs the $(n, n)$ Gram matrix only,
#
# $$
# \begin{gathered}
# P = (K^{-1} + Z^\top Z)^{-1} = K - S^\top S, \\
# S = C^{-1} Z K, \qquad C C^\top = I + Z K Z^\top .
# \end{gathered}
# $$ (eq-woodbury)
#
# ## The check in code
#
# First the whole step, in round 3 of the curriculum. The rival is the definition: inverses by `torch.linalg.inv` on
# both sides, and autograd through all of it.

# %%
b, eta = 3, method.eta
beta = method.beta_at(b, ipc)
exact = copy.deepcopy(teacher.model).double()
pixels, classes = start.images.double().split(data.classes), start.labels[: data.classes]
ones = torch.ones(data.classes, 1).double()


def updated(x, previous, count):
    """Logits, and (Ψ_s, Φ_s) of each layer after the moving update."""
    with FeatureTap(exact, layers) as tap:
        logits = exact(x)
    sides = {}
    for name in layers:
        pairs = zip(previous.get(name, (None, None)), correlations(tap.features[name], ones), strict=True)
        sides[name] = tuple(emu(before, now, count) for before, now in pairs)
    return logits, sides


def by_definition(x, previous, count):
    logits, sides = updated(x, previous, count)
    loss = F.cross_entropy(logits, classes)
    for name, (ffc, flc) in sides.items():
        psi, phi, shift = statistics[name].ffc, statistics[name].flc, beta * torch.eye(len(ffc)).double()
        f, f_s = torch.linalg.inv(psi + shift), torch.linalg.inv(ffc + shift)
        loss = loss + eta * ((f - f_s).norm() + (f @ phi - f_s @ flc).norm())
    return loss


previous = {}
for count in range(1, b + 1):
    with torch.no_grad():
        _, previous = updated(data.normalise(pixels[count - 1]), previous, count)

x = data.normalise(pixels[b]).requires_grad_()
expected = by_definition(x, previous, b + 1)
(by_autograd,) = torch.autograd.grad(expected, x)

filters = {name: method.layer_filter(b, ipc, side) for name, side in real.items()}
for model, dtype in ((exact, torch.float64), (teacher.model, torch.float32)):
    matching = Matching.of(real, filters, previous=previous, count=b + 1, dtype=dtype)
    x = data.normalise(pixels[b]).to(dtype).requires_grad_()
    loss = step_loss(model, x, classes, matching, eta)
    apart = loss.gradient(x).double() - by_autograd
    gaps = abs(float(loss.value / expected) - 1), float(apart.norm() / by_autograd.norm())
    assert max(gaps) < (1e-9 if dtype == torch.float64 else 1e-3)
    print(f"{dtype!s:14s} relative difference: loss {gaps[0]:.0e}, gradient {gaps[1]:.0e}")

# %% [markdown]
# Then one layer by itself: {eq}`eq-ridge-gradient` against autograd, and {eq}`eq-woodbury` against the direct form, on
# twelve rows of 32 channels.

# %%
with FeatureTap(exact, layers) as tap, torch.no_grad():
    exact(data.normalise(pixels[b]))
features, target = rows(tap.features[layers[-1]]), real[layers[-1]].filtered(Ridge(beta))
X = features[:: len(features) // 12][:12]
eye, weights = torch.eye(X.shape[1]).double(), torch.ones(1, 2).double()

psi, phi = covariance(X).requires_grad_(), X.mean(0)[:, None].requires_grad_()
P = torch.linalg.inv(psi + beta * eye)
E = (target[0] - P).norm() + (target[1] - P @ phi).norm()
autograd = torch.autograd.grad(E, (psi, phi))

psi, phi = psi.detach(), phi.detach()
stacked = tuple(side[None] for side in target)
terms, d_ffc, d_flc = channel_form(psi[None].clone(), phi[None], beta, stacked, weights)
Z, K = (X - X.mean(0)) / 12**0.5, eye / beta  # K: the inverse before the rows come
found, d_z, _ = row_form(Z, phi, (K, target[0] - K), True, target[1], weights[0])


def check(what, mine, theirs):
    gap = float((mine - theirs).norm() / theirs.norm())
    assert gap < 1e-9
    print(f"{what:38s} {gap:.0e}")


check("terms", terms.sum(), E.detach())
check("PHP against autograd", d_ffc[0], (autograd[0] + autograd[0].T) / 2)
check("−PR against autograd", d_flc[0], autograd[1])
check("terms of the identity form", found, terms[0])
check("its gradient against 2 Z PHP", d_z, 2 * Z @ d_ffc[0])

# %% [markdown]
# ## Numerical safety
#
# A dead channel is always 0 after its ReLU; two channels may always agree. Then $\Psi$ is singular, and a tiny β asks
# for $1/\beta$ in a direction in which there is nothing but rounding. In a number format of machine epsilon $\epsilon$
# the engine therefore takes
#
# $$ \beta \leftarrow \max\bigl(\beta,\ 16\,\epsilon\,\lambda_{\max}\bigr) , $$ (eq-resolved)
#
# on the real and on the synthetic side alike, so that equal statistics still have distance 0. Here a layer gets two
# channels that agree. How far is its inverse in float32 from that in float64, with the β asked for, and with the one
# taken?

# %%
X = features.clone()
X[:, 0] = X[:, 1]
psi, single = covariance(X), covariance(X.float())
side = RealSide(torch.linalg.eigvalsh(psi).clamp_min(0), eye, phi)


def error(beta):
    """Of the inverse in single precision, relative; infinite where there is none."""
    found, singular = torch.linalg.inv_ex(single + beta * eye.float())
    wanted = torch.linalg.inv(psi + beta * eye)
    return math.inf if singular else float((found - wanted).norm() / wanted.norm())


lines, betas = [], (1e-1, 1e-3, 1e-5, 1e-7, 1e-9)
for asked in betas:
    taken = side.resolved(Ridge(asked), torch.float32).beta
    lines.append((f"{error(asked):.0e}", f"{taken:.1g}", f"{error(taken):.0e}"))
assert error(1e-9) > 1 > 0.01 > error(taken)
columns = pd.Index(["error", "β taken", "error with it"], name="β asked for")
pd.DataFrame(lines, index=[f"{asked:g}" for asked in betas], columns=columns)

# %% [markdown]
# Too few rows are no trouble of this kind: 160 of them leave 352 of 512 directions empty, and there the identity form
# leaves $K$ as it is. What cannot be mended, such as features that overflow, is found at the next look at the loss,
# every twenty steps, and is one error that names round and step. No NaN reaches the disk.
#
# ## What a step costs
#
# Count a multiplication and an addition as two operations. A 3×3 convolution of $d$ to $d$ channels at $n$ positions
# takes $18nd^2$ forward, and as much back to its input. Matching adds two products for $\Psi_s$ and
# {eq}`eq-row-gradient`, $2nd^2$ each, then Cholesky, the inverse and $PHP$, together $5d^3$:
#
# $$
# \begin{aligned}
# \frac{\text{matching}}{\text{plain pass}} &\approx \frac{4nd^2 + 5d^3}{36\,nd^2} \\
# &= \frac19 + \frac{5}{36} \cdot \frac dn .
# \end{aligned}
# $$ (eq-cost)
#
# So a ninth, and more where rows are few. In the identity form the numerator is $8nd^2 + 8n^2d$ instead, and
# $4nd^2 + 8n^2d$ in the first round, whose $K$ is a multiple of $I$; the engine takes it where $2n \le d$. Here is the
# share by layers of two networks on 32×32 images, for a step of 10 and of 100:


# %% tags=["hide-input"]
def added(n, d):
    """Operations of matching, of those of the convolution that follows the layer."""
    return (8 * n * d**2 + 8 * n**2 * d if 2 * n <= d else 4 * n * d**2 + 5 * d**3) / (36 * n * d**2)


widths = {"ConvNet, blocks 2 and 3": (128, (16, 8))}  # channels, sides of the feature maps
widths |= {f"ResNet-18, stage {i + 1}": (64 * 2**i, (32 // 2**i,)) for i in range(4)}
lines = {
    name: {"channels": d, **{f"batch {n}": ", ".join(f"{added(n * s * s, d):.2f}" for s in sides) for n in (10, 100)}}
    for name, (d, sides) in widths.items()
}
pd.DataFrame(lines).T

# %% [markdown]
# That is a count, and small operations run at a lower rate than convolutions. Measured, with the plain pass, our step,
# and a straightforward implementation of the same loss (`benchmarks/straightforward.py`: inverses and autograd, the
# real side solved in every step) interleaved in one process:


# %% tags=["hide-input"]
def shown(draw, name, command):
    """What is drawn from a record, or in words that there is none."""
    path = studies / name
    if path.exists():
        return draw(json.loads(path.read_text()))
    return Markdown(f"*Not run: there is no record `results/studies/{name}`. It is made by `{command}`.*")


shown(plots.cost_bars, "cost/cpu.json", "python benchmarks/step_cost.py")


# %% tags=["hide-input"]
def told(record):
    """How it was measured, and each bound."""
    about, wavered = record["provenance"], max(case["spread"] for case in record["cases"])
    lines = [
        f"Medians and quartiles on {about['device']}, threads: {about['threads']}, torch {about['torch']}, "
        f"{about['date']}. The machine is not quite steady: the quartiles of one and the same plain pass lie up to "
        f"{wavered:.0%} apart. With n steps of each kind:\n"
    ]
    for case in record["cases"]:
        network = plots.NETWORKS[case["network"]]
        for what, bound in case["bounds"].items():
            value, least = case["ratios"][what]["median"], case["ratios"]["floor / plain"]["median"]
            ours = what == "ours / plain"
            met = "met" if (value <= bound if ours else value >= bound) else "missed"
            floor = f"; a plain pass with the bare products in it takes {least:.2f}" if ours else ""
            lines.append(
                f"- {network}, {case['batch']} images, n = {case['n']}, {what}: {value:.2f}, "
                f"the goal {bound:.2f} is {met}{floor}"
            )
    return Markdown("\n".join(lines))


shown(told, "cost/cpu.json", "python benchmarks/step_cost.py")

# %% [markdown]
# The floor is what {eq}`eq-cost` counts and nothing else, run where a step runs it: the products read features that are
# no longer in the cache and write to gradients on their way back. A goal below it cannot be met by this algebra; what
# lies between it and our step are sums, norms and a few hundred calls of a microsecond or more. On a GPU:

# %% tags=["hide-input"]
shown(plots.cost_bars, "cost/cuda.json", "python benchmarks/step_cost.py --device cuda")

# %% [markdown]
# **Which options pay.** Time as it is over the time with an option, of our step and, in brackets, of a plain pass, with
# 10 or 100 images: an option pays above 1.


# %% tags=["hide-input"]
def gained(record):
    columns = {}
    for case in record["network options"] + record["process options"]:
        name = plots.NETWORKS[case["network"]] + f", {case['batch']}"
        for option, gains in case["gains"].items():
            ours, plain = (f"{gains[kind]['median']:.2f}" if kind in gains else "–" for kind in ("ours", "plain"))
            columns.setdefault(name, {})[option] = f"{ours} ({plain})"
    return pd.DataFrame(columns).fillna("–")


shown(gained, "cost/options.json", "python benchmarks/step_options.py")

# %% [markdown]
# - Weights are stored channels-last, so that contiguous ones are the option here: they cost time and save nothing.
# - bfloat16 is yours to choose (`--precision bfloat16`; correlations and filters stay float32).
# - `torch.compile` needs a compiler, and does not see that a step taps the network; only the parts between the
#   convolutions can be compiled. Left off.
# - Memory: the C library hands large blocks back to the kernel and gets them again, page by page, in every step. The
#   command `unidd` tells it to keep them (`unidd.bench.machine.keep_memory`; call it first in your own script on a
#   CPU). That may take more memory. Where it is short, set a variable of the C library, which then holds instead, as in
#   `MALLOC_MMAP_THRESHOLD_=1000000 unidd distill …`.
#
# And how our step grows, with one image of each class in a batch: with the classes, the rounds behind it, the width of
# the network and the size of the images.

# %% tags=["hide-input"]
shown(plots.growth, "cost/growth.json", "python benchmarks/growth.py")

# %% [markdown]
# The one pass over the real data, whose sums are kept in float64, costs more than the network alone:


# %% tags=["hide-input"]
def read(record):
    rows = {}
    for found in record["throughput"]:
        rates = {what: rate["median"] for what, rate in found["images per second"].items()}
        name = plots.NETWORKS[found["network"]]
        rows[name] = {"statistics, images a second": rates["statistics"], "network alone": rates["network"]}
        rows[name]["times the time"] = found["cost"]["median"]
    return pd.DataFrame(rows).T.map("{:.4g}".format)


shown(read, "cost/growth.json", "python benchmarks/growth.py")

# %% [markdown]
# ## Long runs
#
# **Plan first.** A few real steps on your device, scaled: time, memory and disk before anything is spent, and advice
# where it cannot fit.
#
# ```bash
# unidd plan cfm --dataset cifar10 --ipc 50 --model resnet18 --budget paper
# ```
#
# How well it foretells: predicted over measured, lowest and highest of three times, for different data, models and
# recipes.


# %% tags=["hide-input"]
def foretold(record):
    runs = {run["run"]: run["ratios"] for run in record["rows"]}
    ratios = pd.DataFrame.from_dict(runs, "index").rename(columns={"seconds": "time"})
    return ratios.map(lambda found: f"{min(found):.2f}–{max(found):.2f}")


shown(foretold, "plan/plan.json", "python benchmarks/plan_accuracy.py")

# %% [markdown]
# **Stop and go on.** The state is written whole or not at all after every round, with `--save-every 100` also after so
# many steps. The same command again goes on where the run stood, and on a CPU ends in the same bits as if nothing had
# happened. A second process on the same folder is told to wait.
#
# ```bash
# unidd distill cfm --dataset cifar10 --ipc 50 --save-every 100 --out cfm-50
# # the power fails; the same again goes on
# unidd distill cfm --dataset cifar10 --ipc 50 --save-every 100 --out cfm-50
# ```
#
# **Several devices.** Each process holds a part of every batch. $\Psi(x)$ and $\Phi(x)$ are sums over rows, so they are
# added up over processes, and equal those of one process up to rounding.
#
# ```bash
# torchrun --nproc-per-node=2 -m -- unidd distill cfm --dataset cifar10 \
#   --ipc 50 --out cfm-50
# ```
#
# **Many classes.** A round of 1,000 classes does not fit most GPUs: `--group 200` takes 200 classes at a time. β stays
# the same over the groups of a round, and the moving update of {eq}`eq-emu` counts groups.
#
# **ImageNet-1K.** `CFM.preset("imagenet")` at ten images a class is ten rounds of five groups, 1,000 steps each.
# What follows is an **estimate**, not a measurement. Known are the operations of a step, by counting, and its time and
# memory on a CPU, from a short run of the same shape on generated images. How fast an H100 works and reads is assumed.

# %% tags=["hide-input"]
from torch.utils.flop_counter import FlopCounterMode

from unidd.bench.machine import duration, size
from unidd.bench.measuring import Measured
from unidd.bench.planning import Work, estimate
from unidd.networks.models import ModelConfig, build

PHOTOGRAPHS, CLASSES, IPC = 1_281_167, 1000, 10
recipe, ghost = CFM.preset("imagenet"), build(ModelConfig("resnet18"), 3, 224, CLASSES).to("meta").eval()
H100 = {"rate": 30e12, "read": 1000}  # operations a second; images read and decoded a second


def operations(images):
    """Of a step: the plain pass, and matching as in the equation above."""
    with FlopCounterMode(display=False) as forward, FeatureTap(ghost, tapped_layers(ghost)) as tap, torch.no_grad():
        ghost(torch.empty(images, 3, 224, 224, device="meta"))
    shapes = [(x.numel() // x.shape[1], x.shape[1]) for x in tap.features.values()]
    return 2 * forward.get_total_flops() + sum(4 * n * d**2 + 5 * d**3 for n, d in shapes)


def memory_of_each(record):
    """Bytes for an image of a step."""
    peaks = record["peaks GiB"]
    return (peaks["distillation"] - peaks["data and network"]) * 2**30 / record["group"]


def planned(count, rate, read, each):
    """Of `count` devices; `each` is as above."""
    batch, batches = recipe.group // count, IPC * CLASSES // recipe.group
    step, real = operations(batch) / rate, PHOTOGRAPHS / count / read
    work = Work(0, 0, PHOTOGRAPHS // count, batches, recipe.steps, 0, batch, IPC * CLASSES, 4 * 3 * 224**2)
    total = estimate(Measured(first=step, step=step, real=1 / read), work).seconds
    return [duration(seconds) for seconds in (step, real, total - real, total)] + [size(each * batch)]


def plan_of_imagenet(record):
    seconds, about = record["seconds"], record["provenance"]
    lean = json.loads((studies / "imagenet" / "shape-handed-back.json").read_text())
    each, least = memory_of_each(record), memory_of_each(lean)
    rate, read = operations(record["group"]) / seconds["a step"], record["real images"] / seconds["real side"]
    rows = {"this CPU": (1, rate, read, each)}
    rows |= {"one H100": (1, *H100.values(), least), "eight H100": (8, *H100.values(), least)}
    columns = ["a step", "real side", "distillation", "in all", "images of a step take"]
    display(pd.DataFrame([planned(*row) for row in rows.values()], list(rows), columns))
    return Markdown(
        f"Assumed: an H100 does {H100['rate'] / 1e12:.0f}·10¹² operations a second, under half of its peak in float32; "
        f"{H100['read']:,} images a second are read for each; nothing is lost between eight; an image takes as "
        f"much memory as on a CPU that hands back what it frees. This CPU is {about['device']} (threads: "
        f"{about['threads']}), at {rate / 1e9:.0f}·10⁹ operations a second in steps of {record['group']} images "
        f"({about['date']}). The short run took {record['peak GiB']:.1f} GiB and {seconds['a step']:.1f} s a step; "
        f"handing freed memory back, {lean['peak GiB']:.1f} GiB and {lean['seconds']['a step']:.1f} s."
    )


shown(plan_of_imagenet, "imagenet/shape.json", "python benchmarks/imagenet_shape.py")

# %% [markdown]
# ## Exercises
#
# **1. The pull of a late round.** Show that {eq}`eq-emu` is the plain mean over rounds. How much does $\Psi_s$ move
# with the images of round $b$, and what does that do to the balance of matching and cross-entropy?
#
# ```{admonition} Solution
# :class: dropdown
# By induction: $b\,\Psi_s^{(b)} = (b - 1)\,\Psi_s^{(b-1)} + \Psi(x)$, a sum of all $\Psi$. So
# $\partial \Psi_s / \partial \Psi(x) = 1/b$: the tenth round moves the mean a tenth as much as the first, and its
# pixels feel a tenth of the matching gradient, while cross-entropy pulls as hard as ever. The norms of
# {eq}`eq-cfm-loss` grow as β falls, which makes up for some of it; the table of the player shows for how much.
# ```

# %% tags=["hide-cell"]
now = {name: tuple(correlations(tap.features[name], ones)) for name in layers}
x = data.normalise(pixels[b]).requires_grad_()
alone = step_loss(exact, x, classes, Matching(), eta).gradient(x)  # cross-entropy
sizes = []
for count, before in ((1, {}), (10, now)):  # the same statistics, in batch 1 and in batch 10
    matching = Matching.of(real, filters, previous=before, count=count, dtype=torch.float64)
    sizes.append((step_loss(exact, x, classes, matching, eta).gradient(x) - alone).norm())
assert abs(float(sizes[0] / sizes[1]) - 10) < 1e-6
print(f"gradients of matching: {float(sizes[0] / sizes[1]):.3f} to 1")

# %% [markdown]
# **2. At the goal.** The norms of {eq}`eq-cfm-loss` have a kink where a layer matches exactly. What is $D$ there, and
# what should the gradient be?
#
# ```{admonition} Solution
# :class: dropdown
# $D$ is 0/0. Any matrix of norm at most 1 is a subgradient; the engine takes 0, by dividing by the norm or the
# smallest number of the format, whichever is larger.
# ```

# %% tags=["hide-cell"]
psi, phi = statistics[layers[-1]].ffc[None], statistics[layers[-1]].flc[None]
terms, d_ffc, d_flc = channel_form(psi.clone(), phi, beta, stacked, weights)  # its own target
assert d_ffc.isfinite().all()
assert d_flc.isfinite().all()
print(f"terms {float(terms[0, 0]):.0e} and {float(terms[0, 1]):.0e}, gradients finite")

# %% [markdown]
# **3. Where forms meet.** From {eq}`eq-cost`: at how many rows does the factorisation cost as much as the two products?
# And up to how many is the identity form the cheaper?
#
# ```{admonition} Solution
# :class: dropdown
# $5d^3 = 4nd^2$ at $n = \tfrac54 d$. With $r = n/d$, $8r + 8r^2 \le 4r + 5$ holds up to
# $r = (\sqrt{11} - 1)/4 \approx 0.58$. The engine's $2n \le d$ is a little below that, since triangular solves run
# slower than products.
# ```

# %% tags=["hide-cell"]
r = (math.sqrt(11) - 1) / 4
assert abs(8 * r + 8 * r**2 - (4 * r + 5)) < 1e-12
print(f"n / d = {r:.3f}")

# %% [markdown]
# The code of this page: `unidd/methods/cfm.py` (the method), `unidd/core/matching.py` and `unidd/core/ridge.py` (a
# step), `unidd/core/statistics.py` (both sides), `unidd/engine/descent.py` and `unidd/engine/loop.py` (the steps),
# `unidd/engine/checkpoint.py` (what is kept on disk), `unidd/engine/parallel.py` (several processes),
# `unidd/book/explorers/curriculum.js` (the player). Its tests: `tests/methods/test_theory_cfm.py`,
# `tests/methods/test_cfm.py`, `tests/core/test_matching.py`, `tests/engine/test_resume.py`. Its records:
# `benchmarks/curriculum.py`, and for the cost `make bench`.
