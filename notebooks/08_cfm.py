# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # CFM, the algorithm
#
# **The question.** Curriculum frequency matching ({term}`CFM`) {cite}`bo2026unidd` makes a synthetic set {term}`round`
# by round, each round through a ridge filter with a smaller β. What happens in a step of it, from a pixel to its
# gradient?
#
# *On this page $\Psi$ is of centred features, each side by its own mean, the synthetic one round by round: a
# covariance. $\Phi$ is of the features as they are ({ref}`the definition <def-correlations>`).*
#
# ## Play a distillation, round by round
#
# Ten rounds, one image of each class in a round. The images are made now, by this page; the curves are read from a
# dated record of the same recipe under five schedules of β.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import copy
import json
import math
from functools import partial

import pandas as pd
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from IPython.display import Markdown

import unidd
from unidd.bench.records import published
from unidd.book import palette, plots
from unidd.book.captions import Captioned
from unidd.book.chain import Chain, Link, signed
from unidd.book.widgets import CurriculumPlayer
from unidd.core.filters import Ridge
from unidd.core.matching import Matching, step_loss
from unidd.core.spectra import class_signal
from unidd.core.statistics import RealSide
from unidd.data import augment
from unidd.data.grids import grid
from unidd.data.synthetic import SyntheticSet
from unidd.engine.parallel import Ranks
from unidd.engine.realside import real_side
from unidd.engine.run import Run
from unidd.methods.cfm import CFM

torch.set_num_threads(1)  # products as small as these gain nothing from more
data = unidd.load("photos")
teacher = unidd.teach(data)
method, ipc = CFM(steps=100), 10
statistics = real_side("mean", data, teacher.model, Ranks())  # Ψ and Φ, once
made = method.distill(data, teacher, Run(ipc, statistics=statistics))
start = SyntheticSet.from_real(data, ipc)

# %% tags=["hide-input"]
record = json.loads((published("studies") / "curriculum" / "photos.json").read_text())
then = record["runs"]["cosine"]["loss"]["filter"]
# another machine rounds otherwise and trains another teacher, so the page and the record are alike, not equal
pairs = zip((step["filter"] for step in made.history), then, strict=True)
assert all(abs(now / before - 1) < 0.5 for now, before in pairs)
player = CurriculumPlayer(record, made.images, start.images, names=data.class_names)
Captioned(
    player,
    f"Press Play: as β falls over the {ipc} rounds, the shaded band of directions "
    "that the filter passes shrinks to the smallest eigenvalues.",
    "fig-curriculum-player",
)

# %% [markdown]
# Press *Play*, or move the slider; in JupyterLab `player.round` moves it too. The shade is the
# {term}`pass band` of ridge: by equation {eq}`eq-pass`, the directions it passes at least half as
# strongly as the one it passes best.
#
# 1. **Watch the shade shrink.** In round 0 most directions of the last layer pass. At the end few are left, those of
#    the smallest eigenvalues, with hardly any of the variance.
# 2. **Choose *reverse*.** The same β in the opposite order: now the first images are made for the small eigenvalues.
# 3. **Change the layer.** One β means something else in each, which {doc}`03_filters` is about.
# 4. **Compare the rows of the table.** They say how far $\Psi_s$ is from $\Psi$, as the filter of that round sees it.

# %% tags=["hide-input"]
layer, where = list(record["real"])[-1], record["provenance"]
runs = [record["runs"]["cosine"]["distances"], *record["seeds"].values()]
terms = {}  # side → seeds × rounds
for side in runs[0]:
    terms[side] = torch.tensor([run[side][layer]["filter"] for run in runs])


def ends(side):
    """The first and the last round, in words."""
    columns = (100 * terms[side][:, b] for b in (0, -1))
    return " and ".join(f"{x.mean():.1f} ± {x.std():.1f} %" for x in columns)


Markdown(
    f"How near do the images come? The filter term of {layer} after the first and "
    "after the last round, as a share of the real side's size: of photographs as "
    f"they are {ends('start')}; of images by the teacher's cross-entropy alone "
    f"{ends('classification')}; with matching {ends('distilled')}. Compare within a "
    "round, since β, and with it the measure, changes from one to the next. The term "
    "is what is descended, so it ought to be small; it says nothing yet of what a "
    f"student learns. (From the record: mean ± standard deviation, n = {len(runs)} "
    f"seeds with one teacher: no verdict; {record['config']['steps']} steps a round, "
    f"{where['device']}, torch {where['torch']}, {where['date']}.)"
)

# %% [markdown]
# ## What is descended
#
# Features are the inputs of every convolution $\ell$ of a frozen teacher $h$; every position of every image is a row. A
# step descends, over the pixels $x$ of the current round,
#
# $$
# \begin{aligned}
# L(x) &= \operatorname{CE}\bigl(h(A(x)), y\bigr) \\
# &\quad + \eta \sum_\ell E^\ell(x), \\
# E &= \lVert f_b(\Psi) - f_b(\Psi_s) \rVert_F \\
# &\quad + \lVert f_b(\Psi)\Phi - f_b(\Psi_s)\Phi_s \rVert_F ,
# \end{aligned}
# $$ (eq-cfm-loss)
#
# where $A$ is a random crop, flip and roll, $y$ are the classes of the images, and $\eta$ weighs matching against
# cross-entropy (0.1 here). $E$ is written for one layer. Its first norm is the *filter term*, its second the *signal
# term*: norms, not squares, so a layer that is far off does not shout down the others. The filter follows the
# {term}`curriculum`: over $B$ rounds, counted from 0,
#
# $$
# \begin{gathered}
# f_b(\lambda) = \frac{1}{\lambda + \beta_b}, \\
# \beta_b = \tfrac12 \beta \left(1 + \cos \frac{\pi b}{B}\right).
# \end{gathered}
# $$ (eq-curriculum)
#
# One image a class is one round, at $\beta_0 = \beta$: **CFM at IPC 1 is {term}`HFM`**, ridge at a fixed β. A
# curriculum needs rounds.
#
# ## What Y is
#
# $\Phi = X^\top Y / n$ needs targets $Y$. The published CFM takes $Y = \mathbf 1$, a column of ones: then $\Phi$ is the
# mean feature (of centred $X$ it would be 0, which is why $X$ is taken as it is), and **no label is in it**. Labels
# reach the images through the classification loss alone. Two other signals put classes into $\Phi$: `class` takes
# one-hot labels, `mix` the teacher's softmax. What share of $\lVert\Phi\rVert^2$ is left if each row's mean over the
# classes is taken away, in the teacher's last convolution?

# %% tags=["hide-input"]
kinds = {
    "mean": ("a column of ones", "where the features lie"),
    "class": ("one-hot labels", "where those of each class lie"),
    "mix": ("the teacher's softmax", "the same, but for its doubts"),
}
lines = {}
for kind, (targets, says) in kinds.items():
    phi = list(real_side(kind, data, teacher.model, Ranks()).values())[-1].flc
    apart = class_signal(phi).square().sum() / phi.square().sum()
    shape = "×".join(map(str, phi.shape))
    lines[kind] = (targets, shape, f"{100 * float(apart):.0f} %", says)
columns = ["Y", "Φ", "differs", "says"]
Captioned(
    pd.DataFrame.from_dict(lines, "index", columns=columns),
    "The published signal holds nothing of the classes; with one-hot labels, "
    f"{lines['class'][2]} of the squared norm of Φ tells them apart, with the "
    f"teacher's softmax {lines['mix'][2]}, though the features are the same ones.",
    "tab-signals",
)

# %% [markdown]
# ## The moving update
#
# Ten images are too few to have the covariance of thousands. So the synthetic side is a running mean over the rounds,
# the {term}`EMU`. Here $b$ counts from 1:
#
# $$ \Psi_s = \Bigl(1 - \frac1b\Bigr) \Psi_s^{(b-1)} + \frac1b\, \Psi(x) , $$ (eq-emu)
#
# and the same for $\Phi_s$. Unrolled, it is the plain mean of all rounds so far (so it lacks how the means of the
# rounds differ, which the covariance of all images together has). Only $\Psi(x)$, the covariance of the current round's
# features, moves. So a new round does not have to look like the data by itself; it has to mend what the rounds before
# it left, with ever less weight.

# %% tags=["hide-input"]
numbers = list(range(1, ipc + 1))
grey, moves = palette.look("all-pass").colour, palette.look("cfm").colour
earlier = go.Bar(
    x=numbers,
    y=[round(1 - 1 / b, 4) for b in numbers],
    marker={"color": grey},
    name="earlier rounds together, fixed",
)
current = go.Bar(
    x=numbers,
    y=[round(1 / b, 4) for b in numbers],
    marker={"color": moves},
    name="the current round, which moves",
)
weights = plots.figure(
    [earlier, current],
    "Weights of the rounds in Ψ_s: after round b each has 1/b, so that of the "
    f"current one falls from 1 in the first round to {1 / ipc:g} in the last.",
    height=340,
    barmode="group",
    xaxis={"title": "round b", "dtick": 1},
    yaxis={"title": "weight in Ψ_s"},
)
Captioned(
    weights,
    "Weights in Ψ_s after round b. All rounds weigh alike, so the one that moves has "
    f"1/b: in round {ipc} its pixels feel a {ipc}th of the pull they would feel in "
    "the first.",
    "fig-moving-update",
)

# %% [markdown]
# ## One step, from scratch
#
# The whole step in PyTorch alone, by the definitions: features by hooks, inverses on both sides, and autograd through
# all of it.


# %%
def forward(network, names, x):
    """Logits, and the inputs of the layers named."""
    inputs, layers = {}, dict(network.named_modules())

    def keep(name, _, given):
        inputs[name] = given[0]

    hooks = []
    for name in names:
        hooks.append(layers[name].register_forward_pre_hook(partial(keep, name)))
    logits = network(x)
    for hook in hooks:
        hook.remove()
    return logits, inputs


def correlate(features):
    """Ψ and Φ of features (B, d, H, W): centred rows, and Y a column of ones."""
    rows = features.movedim(1, -1).flatten(0, -2)
    mean = rows.mean(0)
    return (rows - mean).T @ (rows - mean) / len(rows), mean[:, None]


def loss_of(network, x, labels, real, before, b, beta, eta=0.1):
    """L of round b = 1, 2, …, and Ψ_s, Φ_s of each layer after the moving update."""
    logits, inputs = forward(network, real, x)
    loss, sides = F.cross_entropy(logits, labels), {}
    for name, (psi, phi) in real.items():
        psi_s, phi_s = correlate(inputs[name])
        if b > 1:
            psi_s = (1 - 1 / b) * before[name][0] + psi_s / b
            phi_s = (1 - 1 / b) * before[name][1] + phi_s / b
        shift = beta * torch.eye(len(psi), dtype=psi.dtype)
        f, f_s = torch.linalg.inv(psi + shift), torch.linalg.inv(psi_s + shift)
        loss = loss + eta * ((f - f_s).norm() + (f @ phi - f_s @ phi_s).norm())
        sides[name] = psi_s, phi_s
    return loss, sides


# %% [markdown]
# The package has `step_loss`. It never inverts the real side, has no graph through an inverse, and adds its gradient
# where the backward pass of the cross-entropy goes by; the {doc}`appendix <engine>` derives how. Are the two the same
# function? Here is a step of the fourth round, in double precision.

# %%
b, labels = 4, start.labels[: data.classes]
beta = method.beta_at(b - 1, ipc)  # the curriculum counts rounds from 0
exact = copy.deepcopy(teacher.model).double()
photographs = data.normalise(start.images.double()).split(data.classes)
real = {name: (moments.ffc, moments.flc) for name, moments in statistics.items()}

before = {}
for count in range(1, b):
    with torch.no_grad():
        task = exact, photographs[count - 1], labels, real, before, count, beta
        _, before = loss_of(*task)

x = photographs[b - 1].clone().requires_grad_()
a = augment.crop_flip_roll(x, torch.Generator().manual_seed(0))
loss, sides = loss_of(exact, a, labels, real, before, b, beta)
(gradient,) = torch.autograd.grad(loss, x, retain_graph=True)

diagonal = {name: RealSide.of(moments) for name, moments in statistics.items()}
matching = Matching.of(
    diagonal,
    dict.fromkeys(diagonal, Ridge(beta)),
    previous=before,
    count=b,
    dtype=torch.float64,
)
ours = step_loss(exact, a, labels, matching, eta=0.1)
gaps = {
    "loss": abs(float(ours.value / loss.detach()) - 1),
    "gradient": float((ours.gradient(x) - gradient).norm() / gradient.norm()),
}
assert max(gaps.values()) < 1e-9
print(", ".join(f"{name}: relative difference {gap:.0e}" for name, gap in gaps.items()))

# %% [markdown]
# What passes through such a step, for one of its ten images and the last convolution?

# %% tags=["hide-input"]
name, which = list(real)[-1], 4
a = augment.crop_flip_roll(x, torch.Generator().manual_seed(0))
logits, inputs = forward(exact, real, a)
entropy = F.cross_entropy(logits, labels)
(by_labels,) = torch.autograd.grad(entropy, x, retain_graph=True)
loss, sides = loss_of(exact, a, labels, real, before, b, beta)
by_layer, by_pixel = torch.autograd.grad(loss, [sides[name][0], x])
psi_s, phi_s = (side.detach() for side in sides[name])
f, f_s = (Ridge(beta).matrix(psi) for psi in (real[name][0], psi_s))
terms = float((f - f_s).norm()), float((f @ real[name][1] - f_s @ phi_s).norm())
by_matching = by_pixel - by_labels
maps = inputs[name][which].detach()
total, task = (float(term.detach()) for term in (loss, entropy))
most = maps.amax((1, 2), keepdim=True).clamp_min(1e-12)
n, d = len(x) * maps[0].numel(), len(maps)


def shown(pixels):
    return grid(data.denormalise(pixels[which : which + 1].detach()).clamp(0, 1), 1)


links = [
    Link("pixels x", f"{x[which].numel():,} numbers", shown(x)),
    Link("augmented A(x)", "crop, flip, roll", shown(a)),
    Link(
        "features X",
        f"{d} channels; ten images give n = {n} rows",
        grid((maps / most)[:16, None], 4, gap=1),
    ),
    Link("Ψ_s, updated", f"{d}×{d}, weight of this round 1/{b}", signed(psi_s)),
    Link(
        "f(Ψ) − f(Ψ_s)",
        f"the filter term is its norm, {terms[0]:.1f}, beside {float(f.norm()):.1f} "
        f"of f(Ψ); the signal term is {terms[1]:.1f}",
        signed(f - f_s),
    ),
    Link(
        "∂L/∂Ψ_s",
        f"L = {total:.1f} over all layers, of which cross-entropy {task:.2f}",
        signed(by_layer),
    ),
    Link(
        "∂/∂x of matching",
        f"norm {float(by_matching[which].norm()):.2g}",
        signed(by_matching[which].mean(0)),
    ),
    Link(
        "∂/∂x of cross-entropy",
        f"norm {float(by_labels[which].norm()):.2g}",
        signed(by_labels[which].mean(0)),
        sign="+",
    ),
]
Captioned(
    Chain(links),
    f"One step of round {b} before the last convolution, β = {beta:.3f}: down to an "
    f"error of a {d}×{d} matrix, and back to every pixel. Orange is above 0, blue "
    "below. Both gradients reach the pixels; their sum is what Adam gets.",
    "fig-one-step",
)

# %% [markdown]
# ## The algorithm, beside the engine
#
# Algorithm 1 of {cite}`bo2026unidd`, line by line; where no code is named, it is a line of the loop.
#
# | | Algorithm 1 | code |
# |---|---|---|
# | 1 | $\Psi, \Phi \leftarrow$ statistics of real images | `realside.real_side` |
# | 2 | $\Psi = U \Lambda U^\top$, once | `statistics.RealSide` |
# | 3 | **for** $b = 0 \dots B - 1$ **do** | `engine.descent.steps` |
# | 4 | $\quad$ filter $f_b$ of each layer; $f_b(\Psi)$, $f_b(\Psi)\Phi$ | `CFM.layer_filter`, `matching.Matching` |
# | 5 | $\quad x \leftarrow$ a real image of each class | `synthetic.SyntheticSet.from_real` |
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
images, classes = (t.split(data.classes) for t in (chosen.images, chosen.labels))

sides = {name: RealSide.of(moments) for name, moments in statistics.items()}  # 1, 2
rounds, previous = [], {}
for b in range(asked.ipc):  # 3
    filters = {}
    for name, side in sides.items():
        filters[name] = small.layer_filter(b, asked.ipc, side)  # 4
    matching = Matching.of(sides, filters, previous=previous, count=b + 1)
    x = data.normalise(images[b]).requires_grad_()  # 5
    adam = torch.optim.Adam([x], betas=(0.5, 0.9))
    for t in range(steps):  # 6
        rate = small.lr * (1 + math.cos(math.pi * t / steps)) / 2  # 7
        a = augment.random_resized_crop(x, generator, (small.scale, 1.0))  # 8
        a = augment.roll(augment.flip(a, generator), generator, small.shift)
        loss = step_loss(teacher.model, a, classes[b], matching, small.eta)  # 9
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
# ## What the released code does otherwise
#
# The code released with the paper differs, mostly in ways that change numbers. Whoever compares results should know:
#
# | the released code | here |
# |---|---|
# | starts round $b$ from the $b$-th image of each class in file order | from random ones, drawn by the seed |
# | reports the best test accuracy over the last fifth of the epochs | the last epoch, always |
# | tests CIFAR-100 with ImageNet's mean and standard deviation | each data set's own |
# | ignores the student's architecture on CIFAR | takes the one asked for |
# | has the moving update of {eq}`eq-emu` off by default | on, as published; `emu=False` for the other |
# | rolls images by 0 to 4 pixels | by −4 to 4 |
# | has two filters only, $\lambda$ and $1/(\lambda + \beta)$ | any of {doc}`03_filters` |
# | solves the constant real side again in every step | diagonalised once: the same numbers in less time |
# | fails with a singular matrix at β = 0 or a dead channel | finite ({doc}`appendix <engine>`); β = 0 is refused |
# | no seeds, no resume, CUDA only, one GPU | seeded, resumed, any device, several |
#
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
with torch.no_grad():
    _, now = loss_of(exact, photographs[3], labels, real, {}, 1, beta)
x = photographs[3].clone().requires_grad_()
alone = step_loss(exact, x, labels, Matching(), 0.1).gradient(x)  # cross-entropy
ridges, sizes = dict.fromkeys(diagonal, Ridge(beta)), []
for count, carried in ((1, {}), (10, now)):  # the same Ψ_s, in round 1 and in round 10
    options = {"previous": carried, "count": count, "dtype": torch.float64}
    matching = Matching.of(diagonal, ridges, **options)
    pulled = step_loss(exact, x, labels, matching, 0.1).gradient(x)
    sizes.append(float((pulled - alone).norm()))
assert abs(sizes[0] / sizes[1] - 10) < 1e-6
print(f"gradients of matching: {sizes[0] / sizes[1]:.3f} to 1")

# %% [markdown]
# **2. No label.** With $Y = \mathbf 1$, two classes exchange all their images while the labels stay. Which terms of
# {eq}`eq-cfm-loss` notice?
#
# ```{admonition} Solution
# :class: dropdown
# Only the cross-entropy. $\Psi_s$ and $\Phi_s$ are means over all rows, and know no class.
# ```
#
# The code of this page: `unidd/methods/cfm.py` (the method), `unidd/core/matching.py` (a step),
# `unidd/core/statistics.py` (both sides), `unidd/engine/descent.py` and `unidd/engine/loop.py` (the steps),
# `unidd/book/explorers/curriculum.js` (the player), `unidd/book/chain.py` (a step as pictures). Its tests:
# `tests/methods/test_theory_cfm.py`, `tests/methods/test_cfm.py`, `tests/core/test_matching.py`. Its record:
# `benchmarks/curriculum.py`. What such a descent leaves unmatched, beside the other methods, is on the next page,
# {doc}`09_deep_methods`; whether a student learns more from its images on {doc}`12_results`.
