# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Appendix: what a step costs
#
# What a long run needs, first; then where the time goes, and the algebra that keeps it small. The method itself is
# {doc}`08_cfm`, whose notation this page keeps: $\Psi$ is of centred features, each side by its own mean, $\Phi$ of
# features as they are ({ref}`the definition <def-correlations>`).
#
# The times on this page are **dated records**, read from `results/studies`: the captions say when and on what. Formulas
# and checks are computed now.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import json
import math

import pandas as pd
import torch
from IPython.display import Markdown
from torch.utils.flop_counter import FlopCounterMode

import unidd
from unidd.bench.machine import duration, size
from unidd.bench.measuring import Measured
from unidd.bench.planning import Work, estimate
from unidd.bench.records import published
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.core.filters import Ridge
from unidd.core.ridge import channel_form, row_form
from unidd.core.statistics import (
    FeatureTap,
    RealSide,
    covariance,
    real_statistics,
    rows,
)
from unidd.methods.cfm import CFM
from unidd.networks.models import ModelConfig, build, tapped_layers

torch.set_num_threads(1)  # products as small as these gain nothing from more


def study(name):
    """A dated record, and when and on what it was measured, in words."""
    found = json.loads((published("studies") / name).read_text())
    about = found["provenance"]
    where = f"{about['device']}, threads: {about['threads']}, torch {about['torch']}"
    return found, f"{where}, {about['date']}"


# %% [markdown]
# ## Before a long run
#
# **Plan it.** A few real steps on your device, scaled: time, memory and disk before anything is spent, and advice where
# it cannot fit.
#
# ```bash
# unidd plan cfm --dataset cifar10 --ipc 50 --model resnet18 --budget paper
# ```
#
# How well does it foretell?

# %% tags=["hide-input"]
record, when = study("plan/plan.json")
runs = {run["run"]: run["ratios"] for run in record["rows"]}
ratios = pd.DataFrame.from_dict(runs, "index").rename(columns={"seconds": "time"})
every = [ratio for run in runs.values() for found in run.values() for ratio in found]
farthest = max(max(ratio, 1 / ratio) for ratio in every)
Captioned(
    ratios.map(lambda found: f"{min(found):.2f}–{max(found):.2f}"),
    "Predicted over measured, lowest and highest of three times, for different data, "
    f"models and recipes: 1 is right. The farthest off is {farthest:.1f}-fold "
    f"({when}).",
    "tab-plan",
)

# %% [markdown]
# **Stop and go on.** The state is written whole or not at all, after every round and every five minutes, with
# `--save-every 100` also after so many steps. The same command again goes on where the run stood, and on a CPU ends in
# the same bits as if nothing had happened. A second process on the same folder is told to wait.
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
# **Short of memory, on a CPU.** `unidd` asks the C library to keep the memory that a step frees, which saves time and
# may cost memory. `MALLOC_MMAP_THRESHOLD_=1000000 unidd distill …` hands it back instead.
#
# **Half precision** is yours to choose: `--precision bfloat16` runs the network in it; correlations and filters stay
# float32.
#
# **ImageNet-1K.** `CFM.preset("imagenet")` at ten images a class is ten rounds of five groups, 1,000 steps each. The
# table is an **estimate**, not a measurement. Known are the operations of a step, by counting, and its time and memory
# on a CPU, from a short run of the same shape on generated images. How fast an H100 works and reads is assumed.

# %% tags=["hide-input"]
PHOTOGRAPHS, CLASSES, IPC = 1_281_167, 1000, 10
recipe = CFM.preset("imagenet")
ghost = build(ModelConfig("resnet18"), 3, 224, CLASSES).to("meta").eval()
H100 = {"rate": 100e12, "read": 1000}  # operations and decoded images a second


def operations(images):
    """Of a step: the plain pass, and matching as counted below."""
    counter = FlopCounterMode(display=False)
    tap = FeatureTap(ghost, tapped_layers(ghost))
    with counter, tap, torch.no_grad():
        ghost(torch.empty(images, 3, 224, 224, device="meta"))
    shapes = [(x.numel() // x.shape[1], x.shape[1]) for x in tap.features.values()]
    matching = sum(4 * n * d**2 + 5 * d**3 for n, d in shapes)
    return 2 * counter.get_total_flops() + matching


def memory_of_each(record):
    """Bytes for an image of a step."""
    peaks = record["peaks GiB"]
    own = peaks["distillation"] - peaks["data and network"]
    return own * 2**30 / record["group"]


def planned(count, rate, read, each):
    """Of `count` devices; `each` is as above."""
    batch, batches = recipe.group // count, IPC * CLASSES // recipe.group
    step, real = operations(batch) / rate, PHOTOGRAPHS / count / read
    sizes = PHOTOGRAPHS // count, batches, recipe.steps, 0, batch, IPC * CLASSES
    work = Work(0, 0, *sizes, 4 * 3 * 224**2)
    total = estimate(Measured(first=step, step=step, real=1 / read), work).seconds
    times = step, real, total - real, total
    return [*map(duration, times), size(each * batch)]


record, when = study("imagenet/shape.json")
lean, _ = study("imagenet/shape-handed-back.json")
seconds = record["seconds"]
rate = operations(record["group"]) / seconds["a step"]
here = (1, rate, record["real images"] / seconds["real side"], memory_of_each(record))
least = memory_of_each(lean)
devices = {
    "this CPU": here,
    "one H100": (1, *H100.values(), least),
    "eight H100": (8, *H100.values(), least),
}
columns = ["a step", "real side", "distillation", "in all", "memory"]
Captioned(
    pd.DataFrame([planned(*of) for of in devices.values()], list(devices), columns),
    "An estimate of all the run's parts, and of the memory that the images of a step "
    f"take on a device. The CPU works at {rate / 1e9:.0f}·10⁹ operations a second "
    f"({when}), the H100 by assumption at {H100['rate'] / 1e12:.0f}·10¹².",
    "tab-imagenet",
)

# %% tags=["hide-input"]
Markdown(
    "Assumed are that an H100 works at the rate of the caption, which an H200 had with "
    f"1,000 images of 32 pixels, and is read {H100['read']:,} images a second; that nothing is lost "
    "between eight; and that an image takes as much memory as on a CPU that hands back "
    f"what it frees. The CPU's short run, in steps of {record['group']} images, took "
    f"{record['peak GiB']:.1f} GiB and {seconds['a step']:.1f} s a step; handing "
    f"memory back, {lean['peak GiB']:.1f} GiB and {lean['seconds']['a step']:.1f} s."
)

# %% [markdown]
# ## Where the time goes
#
# No method of this kind can avoid one thing: a pass of the images through the teacher and back, the *plain pass*. What
# does matching add to it? Whoever wants to follow the count reads {ref}`the algebra <step-algebra>` first.
#
# **By counting.** A multiplication and an addition are two operations. A 3×3 convolution of $d$ to $d$ channels at $n$
# positions takes $18nd^2$ forward, and as much back to its input. Matching adds two products, one for $\Psi_s$ and one
# for the rows' gradient {eq}`eq-row-gradient`, $2nd^2$ each; then a Cholesky factorisation, an inverse and the product
# $PHP$ of {eq}`eq-ridge-gradient`, together $5d^3$:
#
# $$
# \begin{aligned}
# \frac{\text{matching}}{\text{plain pass}} &\approx \frac{4nd^2 + 5d^3}{36\,nd^2} \\
# &= \frac19 + \frac{5}{36} \cdot \frac dn .
# \end{aligned}
# $$ (eq-cost)
#
# So a ninth, and more where rows are few. In the identity form {eq}`eq-woodbury` the numerator is $8nd^2 + 8n^2d$
# instead, and $4nd^2 + 8n^2d$ in the first round, whose $K$ is a multiple of $I$; the engine takes it where
# $2n \le d$.


# %% tags=["hide-input"]
def added(n, d):
    """Operations of matching, of those of the convolution that follows the layer."""
    few = 2 * n <= d
    matching = 8 * n * d**2 + 8 * n**2 * d if few else 4 * n * d**2 + 5 * d**3
    return matching / (36 * n * d**2)


widths = {"ConvNet, blocks 2 and 3": (128, (16, 8))}  # channels, sides of the maps
widths |= {f"ResNet-18, stage {i + 1}": (64 * 2**i, (32 // 2**i,)) for i in range(4)}
counted = {}
for name, (d, sides) in widths.items():
    row = counted[f"{name}, {d} channels"] = {}
    for n in (10, 100):
        shares = [f"{added(n * side**2, d):.2f}" for side in sides]
        row[f"{n} images"] = ", ".join(shares)
Captioned(
    pd.DataFrame(counted).T,
    "Operations of matching over those of a plain pass, by layer, on 32×32 images: a "
    "ninth, and more only where a wide layer meets few rows.",
    "tab-counted",
)

# %% [markdown]
# **By the clock.** That is a count, and small operations run at a lower rate than convolutions. Measured are the plain
# pass, our step, and a straightforward implementation of the same loss (`benchmarks/straightforward.py`: inverses and
# autograd, the real side solved in every step), interleaved in one process. The *floor* is a plain pass with the bare
# products of {eq}`eq-cost` in it, run where a step runs them. What lies between it and our step are sums, norms and a
# few hundred calls of a microsecond or more.

# %% tags=["hide-input"]
record, when = study("cost/cpu.json")
wavered = max(case["spread"] for case in record["cases"])
ours = [case["ratios"]["ours / plain"]["median"] for case in record["cases"]]
rival = "straightforward / plain"
plainly = [case["ratios"][rival]["median"] for case in record["cases"]]
Captioned(
    plots.cost_bars(record),
    f"Our step takes {min(ours):.2f} to {max(ours):.2f} plain passes, the "
    f"straightforward one {min(plainly):.2f} to {max(plainly):.2f}. Medians and "
    f"quartiles; {when}; the quartiles of one and the same plain pass lie up to "
    f"{wavered:.0%} apart.",
    "fig-cost",
)

# %% [markdown]
# **On a GPU** convolutions are fast, and the products of correlations, which stay float32, are not: more of the step is
# matching. `python benchmarks/gpu.py` measures it, and three more things beside it, in a minute.

# %% tags=["hide-input"]
record, when = study("gpu/cuda.json")


def on_gpu(case):
    """A row of the table."""
    times = [case["seconds"][kind]["median"] for kind in ("plain", "ours", "straightforward")]
    return [*(f"{1000 * time:.0f} ms" for time in times), f"{times[1] / times[0]:.1f}"]


named = {f"{case['batch']} images, {case['half'] or 'float32'}": case for case in record["cost"]["cases"]}
columns = ["plain pass", "our step", "straightforward", "ours / plain"]
floors = [case["ratios"]["floor / plain"]["median"] for case in named.values() if not case["half"]]
Captioned(
    pd.DataFrame([on_gpu(case) for case in named.values()], list(named), columns),
    f"A step of a ResNet-18 on 32×32 images: medians of {record['cost']['cases'][0]['n']} "
    f"steps ({when}). In float32 the floor alone is {min(floors):.1f} to {max(floors):.1f} plain passes.",
    "tab-gpu",
)

# %% tags=["hide-input"]
networks, rates = record["agreement"]["networks"], record["throughput"]
MATCHED = ("filter", "signal")
kinds = {"no TF32": "float32, convolutions without TF32", "float32": "float32", "bfloat16": "bfloat16"}


def farthest_off(kind, terms):
    """The largest relative error to float64, over networks and batches."""
    batches = [of[f"cuda {kind}"]["to float64"].values() for of in networks.values()]
    found = max(one[term] for some in batches for one in some for term in terms)
    return f"{100 * found:.2g} %"


errors = {name: [farthest_off(kind, MATCHED), farthest_off(kind, ["gradient"])] for name, kind in kinds.items()}
Captioned(
    pd.DataFrame.from_dict(errors, "index", columns=["matching terms", "gradient"]),
    "How far a step on a GPU is from the same in float64 on a CPU, relative: the "
    f"farthest of a ConvNet and a ResNet-18, and of two batches ({when}).",
    "tab-gpu-errors",
)

# %% tags=["hide-input"]
forward, statistics = (rates[kind]["median"] for kind in ("forward", "statistics"))
Markdown(
    f"The pass over the real images takes in {statistics:,.0f} images a second there, a forward pass alone "
    f"{forward:,.0f}. PyTorch lets convolutions round to TF32 unless `torch.backends.cudnn.allow_tf32` "
    "says otherwise: the loss hardly moves, the gradient by some per cent in a deep network."
)

# %% [markdown]
# **How it grows**, with one image of each class in a batch: with the classes, the rounds behind it, the width of the
# network and the size of the images.

# %% tags=["hide-input"]
record, when = study("cost/growth.json")
steepest = max(record["growth"], key=lambda found: found["fits"]["ours"]["exponent"])
Captioned(
    plots.growth(record),
    "Time of our step as one quantity grows, filled, and of the plain pass, open. "
    f"The steepest is in {steepest['words']}, with exponent "
    f"{steepest['fits']['ours']['exponent']:.2f} ({when}).",
    "fig-growth",
)

# %% [markdown]
# The one pass over the real data, whose sums are kept in float64, costs more than the network alone:

# %% tags=["hide-input"]
passes = {}
for found in record["throughput"]:
    rates = {what: rate["median"] for what, rate in found["images per second"].items()}
    passes[plots.NETWORKS[found["network"]]] = {
        "statistics, images a second": rates["statistics"],
        "network alone": rates["network"],
        "times the time": found["cost"]["median"],
    }
Captioned(
    pd.DataFrame(passes).T.map("{:.4g}".format),
    f"The real side is paid once: {when}.",
    "tab-real-side",
)

# %% [markdown]
# **Which options pay.** Weights are stored channels-last, so that contiguous ones are the option here. `torch.compile`
# needs a compiler, and does not see that a step taps the network: only the parts between the convolutions can be
# compiled, and it is left off.

# %% tags=["hide-input"]
record, when = study("cost/options.json")
columns, kinds = {}, ("ours", "plain")
for case in record["network options"] + record["process options"]:
    name = plots.NETWORKS[case["network"]] + f", {case['batch']}"
    for option, gains in case["gains"].items():
        both = [f"{gains[k]['median']:.2f}" if k in gains else "–" for k in kinds]
        columns.setdefault(name, {})[option] = "{} ({})".format(*both)
Captioned(
    pd.DataFrame(columns).fillna("–"),
    "Time as it is over the time with an option, of our step and, in brackets, of a "
    f"plain pass, with 10 or 100 images: an option pays above 1 ({when}).",
    "tab-options",
)

# %% [markdown]
# (step-algebra)=
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
# **The pixels get it on the way back.** In round $b$, from 1, a layer with $n$ rows $x_k$ of mean $\mu$ and targets
# $y_k$ feels
#
# $$
# \begin{aligned}
# \frac{\partial E}{\partial x_k} ={}& \frac{2}{bn}\, \frac{\partial E}{\partial \Psi_s}\, (x_k - \mu) \\
# & + \frac{1}{bn}\, \frac{\partial E}{\partial \Phi_s}\, y_k ,
# \end{aligned}
# $$ (eq-row-gradient)
#
# which is known as soon as the forward pass is over. The backward pass of the cross-entropy goes through these layers
# anyway; the engine adds {eq}`eq-row-gradient` to it where it passes. One backward pass, one product more in a layer.
#
# **Few rows, many channels.** Ten images give the last layers of a ResNet 160 rows of 512 channels. Then most of
# $\Psi_s$ is known before the step. Let $K$ be the inverse $P$ without this round's rows, and $Z$ these rows, centred
# and divided by $\sqrt{bn}$. Then Woodbury's identity needs the $(n, n)$ Gram matrix only (the *identity form*),
#
# $$
# \begin{gathered}
# P = (K^{-1} + Z^\top Z)^{-1} \\
# = K - S^\top S, \\
# S = C^{-1} Z K, \\
# C C^\top = I + Z K Z^\top .
# \end{gathered}
# $$ (eq-woodbury)
#
# ## The check in code
#
# That a whole step equals its definition is checked in {doc}`08_cfm`. Here is one layer by itself:
# {eq}`eq-ridge-gradient` against autograd, and {eq}`eq-woodbury` against the direct form, on twelve rows of the
# teacher's last convolution.

# %%
data = unidd.load("photos")
network = unidd.teach(data).model.double()
last = tapped_layers(network)[-1:]
images = data.normalise(data.train.images[::10]).double()
batch = images, data.train.labels[::10]
(moments,) = real_statistics(network, [batch], last).values()
real, beta = RealSide.of(moments), 0.05
with FeatureTap(network, last) as tap, torch.no_grad():
    network(images[:10])
features = rows(tap.features[last[0]])

X, target = features[:: len(features) // 12][:12], real.filtered(Ridge(beta))
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
Captioned(
    pd.DataFrame(lines, index=[f"{asked:g}" for asked in betas], columns=columns),
    f"Relative error of the inverse in float32. At β = {betas[-1]:g} it is "
    f"{lines[-1][0]} as asked, and {lines[-1][2]} with the β taken.",
    "tab-resolved",
)

# %% [markdown]
# Too few rows are no trouble of this kind: 160 centred ones leave 353 of 512 directions empty, and there the identity
# form leaves $K$ as it is. What cannot be mended, such as features that overflow, is found at the next look at the
# loss, every twenty steps, and is one error that names round and step. No NaN reaches the disk.
#
# ## Exercises
#
# **1. At the goal.** The norms of {eq}`eq-cfm-loss` have a kink where a layer matches exactly. What is $D$ there, and
# what should the gradient be?
#
# ```{admonition} Solution
# :class: dropdown
# $D$ is 0/0. Any matrix of norm at most 1 is a subgradient; the engine takes 0, by dividing by the norm or the
# smallest number of the format, whichever is larger.
# ```

# %% tags=["hide-cell"]
psi, phi = moments.ffc[None], moments.flc[None]
itself = psi.clone(), phi, beta, stacked, weights  # at its own target
terms, d_ffc, d_flc = channel_form(*itself)
assert d_ffc.isfinite().all()
assert d_flc.isfinite().all()
print(f"terms {float(terms[0, 0]):.0e} and {float(terms[0, 1]):.0e}, gradients finite")

# %% [markdown]
# **2. Where forms meet.** From {eq}`eq-cost`: at how many rows does the factorisation cost as much as the two products?
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
# The code of this page: `unidd/core/ridge.py` and `unidd/core/matching.py` (a step), `unidd/engine/checkpoint.py` (what
# is kept on disk), `unidd/engine/parallel.py` (several processes), `unidd/bench/planning.py` and
# `unidd/bench/machine.py` (plans, memory). Its tests: `tests/methods/test_theory_cfm.py`,
# `tests/core/test_matching.py`, `tests/engine/test_resume.py`. Its records: `make bench`.
