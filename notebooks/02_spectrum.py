# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Correlation matrices and their spectrum
#
# Everything in this book is said in two matrices and one list of numbers. What are they, and why is a *large*
# eigenvalue called a *low* frequency? On raw pixels one can see it, so we begin there, and then look into networks.
#
# ## The picture
#
# Cut photographs into grey patches of 8×8 pixels: each is a row of 64 numbers. With $n$ rows $X$ of mean $\mu$ and
# one-hot labels $Y$, the {term}`FFC` and the {term}`FLC` are
#
# $$ \Psi = \tfrac1n \sum_k (x_k - \mu)(x_k - \mu)^\top , \qquad \Phi = \tfrac1n X^\top Y . $$ (eq-ffc)
#
# $\Psi$ says which pixels rise and fall together; $\Phi$ says what the patches of each class look like on average. The
# eigenvectors of $\Psi$ are patches too, so they can be shown: the largest eigenvalue first, row by row.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %%
import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import skimage.data
import torch
import torch.nn.functional as F
from IPython.display import Markdown

from unidd.bench.records import published
from unidd.book import plots
from unidd.core.spectra import band_energy, class_signal, participation, spectrum
from unidd.core.statistics import covariance, flc
from unidd.data import datasets

SIDE = 8
data = datasets.load("photos")


def patches(pictures, stride=SIDE):
    """Grey patches of pictures (n, H, W), as rows (m, 64)."""
    return F.unfold(pictures[:, None], SIDE, stride=stride).transpose(1, 2).reshape(-1, SIDE * SIDE)


grey = data.train.images.double().mean(1) / 255
X = patches(grey)
Y = F.one_hot(data.train.labels, data.classes).double().repeat_interleave(len(X) // len(grey), 0)
psi, phi = covariance(X), flc(X, Y)
lam, U = spectrum(psi)
print(f"{len(X)} patches; Ψ {tuple(psi.shape)}, Φ {tuple(phi.shape)}")

# %% tags=["hide-input"]
vectors = U.T.reshape(-1, 1, SIDE, SIDE)
shown = (vectors / vectors.abs().amax((1, 2, 3), keepdim=True) + 1) / 2
plots.image_grid(
    shown.float(),
    torch.arange(64) // 16,
    tuple(f"{16 * i + 1}–{16 * i + 16}" for i in range(4)),
    alt="The 64 eigenvectors of the patches' FFC as patches: the first are flat or shaded, the last are fine checks",
    columns=16,
    pixel=4,
)

# %% [markdown]
# The first is flat: the brightness of the patch. Then come ramps, then stripes and checks that grow finer and finer,
# though nobody told the matrix about frequencies.
#
# ## Why a large eigenvalue is a low frequency
#
# Photographs are roughly *stationary*: how two pixels correlate depends on their distance, not on their place. Were
# patches to wrap around at their borders, $\Psi$ would be circulant, $\Psi_{ij} = c_{i - j}$, and a wave
# $e_k = (\mathrm e^{2\pi \mathrm i k j / d})_j$ an eigenvector,
#
# $$ \Psi e_k = \hat c_k\, e_k , \qquad \hat c_k = \sum_j c_j\, \mathrm e^{-2\pi \mathrm i k j / d} , $$ (eq-fourier)
#
# so the eigenvalue is the power of the photographs at that frequency. And photographs have most power at low
# frequencies: neighbours look alike. Real patches do not wrap around, so their eigenvectors are only nearly waves. To
# give each a frequency we take the centroid of its Fourier power, over frequencies $k$ in cycles a pixel:
#
# $$ \rho(u) = \frac{\sum_k |k|\, |\mathcal F u(k)|^2}{\sum_k |\mathcal F u(k)|^2} . $$ (eq-centroid)


# %%
def centroid(vectors):
    """ρ of patches (n, 1, s, s)."""
    axis = torch.fft.fftfreq(vectors.shape[-1], dtype=torch.float64)
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    power = torch.fft.fft2(vectors).abs().square()
    return ((power * radius).sum((-2, -1)) / power.sum((-2, -1))).flatten()


rho = centroid(vectors)
rank = pd.DataFrame({"eigenvalue": lam, "frequency": rho}).corr("spearman").iloc[0, 1]
assert rank < -0.9
print(f"Spearman's rank correlation of eigenvalue and frequency: {rank:.3f} over {len(lam)} eigenvectors")

# %% tags=["hide-input"]
dots = go.Scatter(
    x=np.round(rho, 4).tolist(),
    y=[float(f"{v:.4g}") for v in lam],
    mode="markers",
    marker={"color": plots.COLOURS[0], "size": 8},
)
plots.figure(
    [dots],
    f"Eigenvalue against frequency of 64 eigenvectors: the eigenvalue falls with it, rank correlation {rank:.2f}",
    xaxis={"title": "frequency of the eigenvector (cycles a pixel)"},
    yaxis={"title": "eigenvalue", "type": "log", "exponentformat": "power"},
    showlegend=False,
)

# %% [markdown]
# ## Keep a band, drop a band
#
# A set $B$ of eigendirections, columns $U_B$, splits every patch into what lies in the band and what does not:
#
# $$ x - \mu = U_B U_B^\top (x - \mu) + (I - U_B U_B^\top)(x - \mu) . $$ (eq-band)
#
# Below, a photograph is rebuilt from its patches with a band kept.

# %%
picture = torch.from_numpy(skimage.data.camera()[64:320:2, 128:384:2].copy()).double()[None] / 255
rows, mean = patches(picture), X.mean(0)


def rebuilt(first, last):
    """The picture from eigendirections first … last, counted from 1, around its mean."""
    kept = U[:, first - 1 : last]
    columns = ((rows - mean) @ kept @ kept.T + (mean if first == 1 else 0.5)).T[None]
    return F.fold(columns, picture.shape[-2:], SIDE, stride=SIDE)[0].clamp(0, 1)


bands = [(1, 64), (1, 1), (1, 6), (7, 20), (21, 64)]
plots.image_grid(
    torch.stack([rebuilt(*band) for band in bands]).float(),
    torch.zeros(len(bands)).long(),
    ("camera",),
    alt="A photograph from all eigendirections, the first, the first six, 7 to 20, and 21 to 64: coarse to fine",
)

# %% tags=["hide-input"]
edges = [0.0, float(lam[20:21].mean()), float(lam[6:7].mean()), float(lam[0:1].mean()), float("inf")]
variance = [lam[a - 1 : b].sum() / lam.sum() for a, b in bands]
Markdown(
    "From left to right: directions "
    + ", ".join(f"{a}–{b} ({share:.1%} of the variance)" for (a, b), share in zip(bands, variance, strict=True))
    + ". The shape is in the first few; the edges and the grain are in the many others, which hold next to no variance."
)

# %% [markdown]
# Choose the band yourself. The explorer keeps or drops eigendirections of the same $\Psi$ in this photograph, its
# patches overlapping, and shows the eigenvectors of the band.

# %%
from unidd.book.pictures import photograph
from unidd.book.widgets import BandExplorer

BandExplorer(photograph(), ffc=psi, flc=class_signal(phi), first=1, last=6)

# %% [markdown]
# ## Where is the class?
#
# The share of the class signal in each direction is its share in the FLC, less what all classes have in common
# ($\tilde\Phi$ is $\Phi$ with the mean of its columns taken away):
#
# $$
# p_i = \frac{\lVert u_i^\top \tilde\Phi \rVert^2}{\lVert \tilde\Phi \rVert_F^2} , \qquad \sum_i p_i = 1 .
# $$ (eq-share)

# %%
signal = participation(U, class_signal(phi))
assert abs(float(signal.sum()) - 1) < 1e-12
energy = band_energy(spectrum(psi), class_signal(phi), torch.tensor(edges, dtype=torch.float64))
names = ["directions 21–64", "7–20", "2–6", "1"]
pd.DataFrame({"share of the class signal": [f"{v:.1%}" for v in energy]}, index=names[: len(energy)])

# %% [markdown]
# In raw pixels the class is a matter of brightness and shading: mean patches are smooth. This is why matching class
# means alone, as DM does, teaches so little about texture. A network's layers are there to change that.
#
# ## The layers of a network
#
# In a network a row is one position of a feature map, and $d$ is the number of channels. Before and after training,
# for every layer that is matched; the records come from `benchmarks/layer_spectra.py`. Before training, batch norm
# still has its initial statistics (mean 0, variance 1), so the scales there are those of the raw initialisation.

# %% tags=["hide-input"]
records = [json.loads(path.read_text()) for path in sorted(published("studies", "spectra").glob("*.json"))]
BETA = records[0]["beta"]


def column(network, when, key):
    """(seeds, layers) of one measured value."""
    return np.array([[row[key] for row in r["networks"][network][when]] for r in records])


traces = []
for i, network in enumerate(("ConvNet", "ResNet-18")):
    for when, dash in (("before", "dot"), ("after", "solid")):
        means = column(network, when, "mean")
        traces.append(
            go.Scatter(
                x=list(range(1, means.shape[1] + 1)),
                y=[float(f"{v:.3g}") for v in np.exp(np.log(means).mean(0))],
                name=f"{network}, {when}",
                line={"color": plots.COLOURS[i], "dash": dash, "width": 2.5},
            )
        )
plots.figure(
    traces,
    "Mean eigenvalue of each layer of a ConvNet and a ResNet-18 before and after training, on a log scale",
    xaxis={"title": "layer"},
    yaxis={"title": "mean eigenvalue", "type": "log", "exponentformat": "power"},
)


# %% tags=["hide-input"]
def span(network, when):
    largest, below, condition = (column(network, when, key) for key in ("largest", "below", "condition"))
    return {
        "network": network,
        "training": when,
        "λ_max, least … most": f"{largest.mean(0).min():.2g} … {largest.mean(0).max():.2g}",
        "λ < 0.1": f"{below.mean():.0%}",
        "median condition": f"{np.median(condition):.0e}",
        "dead channels": f"{column(network, when, 'dead').sum(1).mean():.0f}",
    }


pd.DataFrame([span(n, w) for n in ("ConvNet", "ResNet-18") for w in ("before", "after")]).set_index("network")

# %% [markdown]
# ## What one β means
#
# Ridge, $1/(\lambda + \beta)$, is nearly flat where $\beta \gg \lambda$ and high-pass where $\beta \ll \lambda$. So
# what an absolute $\beta$ does depends on the layer. Two numbers tell: $\beta$ over the layer's mean eigenvalue, and
# the share of directions that ridge keeps, its effective dimension over $d$:
#
# $$ d_\beta = \sum_i \frac{\lambda_i}{\lambda_i + \beta} . $$ (eq-dimension)

# %% tags=["hide-input"]
sentences = []
for network in ("ConvNet", "ResNet-18"):
    ratio = column(network, "after", "beta over mean").mean(0)
    kept = column(network, "after", "effective dimension").mean(0)
    sentences.append(
        f"- **{network}**: β = {BETA} is from {ratio.min():.2g} to {ratio.max():.2g} times a layer's mean eigenvalue, "
        f"and keeps from {kept.min():.0%} to {kept.max():.0%} of the directions."
    )
seeds = f"n = {len(records)} seeds, {records[0]['provenance']['device']}, torch {records[0]['provenance']['torch']}"
Markdown("\n".join([*sentences, "", f"({seeds}; trained briefly on 600 photographs.)"]))

# %% [markdown]
# One number, many filters: this is the case for a β *relative* to each layer's mean eigenvalue, which
# `unidd.core.schedules.relative_beta` gives, beside the paper's absolute one.
#
# ## Exercises
#
# 1. Where does the eigenvalue of the flat eigenvector come from, and what would dividing each photograph by its mean
#    brightness change?
# 2. Show that the eigenvalues of white noise are all alike. What does its spectrum say about frequency?
# 3. With $n$ rows and $d > n$ channels, how many eigenvalues of $\Psi$ are 0? Which layers of a ResNet-18 does this
#    concern, for ten 32×32 images?
#
# ```{admonition} Solution 1
# :class: dropdown
# From differences of brightness between patches, within and between photographs. Dividing by the mean takes away what
# lies between photographs and leaves what lies within them, so that eigenvalue falls, and the others nearly stay.
# ```
#
# ```{admonition} Solution 2
# :class: dropdown
# $\Psi = \sigma^2 I$: every direction is an eigenvector with eigenvalue $\sigma^2$, and any basis will do. A flat
# spectrum has no low or high frequency to tell apart; correlation between neighbours is what makes the difference.
# ```
#
# ```{admonition} Solution 3
# :class: dropdown
# The centred rows span at most $n - 1$ directions, so at least $d - n + 1$ are 0. Ten images give $10 \cdot 4 \cdot 4 =
# 160$ positions in the 512-channel layers, which leaves at least 353 zeros: this is what the moving update over
# batches is for.
# ```
#
# ## Code
#
# `unidd.core.statistics` (`covariance`, `flc`, `real_statistics`), `unidd.core.spectra` (`spectrum`, `participation`,
# `band_energy`, `effective_dimension`, `condition_number`), `unidd.core.schedules` (`relative_beta`). Next:
# [a zoo of filters](03_filters), and [why every method is one](04_methods).
