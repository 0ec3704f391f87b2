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
# Everything in this book is said in two matrices, Ψ and Φ, and one list of numbers: the eigenvalues of Ψ, its
# *spectrum*. What are they, and why is a *large* eigenvalue called a *low* frequency? On raw pixels one can see it, so
# we begin there, and then look into networks. Rows of features are *centred* on this page, in the sense of {ref}`the
# box below <def-correlations>`.
#
# ## A photograph in 64 directions
#
# The photographs of `photos` are cut into grey patches of 8×8 pixels. Any patch is the mean patch and a weighted sum of
# 64 fixed patterns, its *directions*: the eigenvectors of one matrix, $\Psi$, that of the largest eigenvalue first.
# Choose which of them to keep. The *class signal* is what sets the means of the ten classes apart; {ref}`more of it
# below <where-is-the-class>`.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from IPython.display import Markdown

import unidd
from unidd.bench.records import published
from unidd.bench.words import signed
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.book.pictures import photograph
from unidd.book.widgets import BandExplorer
from unidd.core.spectra import participation, spectrum
from unidd.core.statistics import covariance

SIDE = 8
photos, digits = unidd.load("photos"), unidd.load("digits")


def patches(pictures):
    """Grey patches of pictures (n, H, W) in [0, 1], as rows (m, 64)."""
    cut = F.unfold(pictures[:, None], SIDE, stride=SIDE)
    return cut.transpose(1, 2).reshape(-1, SIDE**2)


grey = photos.train.images.double().mean(1) / 255
rows = patches(grey)
labels = photos.train.labels.repeat_interleave(len(rows) // len(grey))
X, Y = rows - rows.mean(0), F.one_hot(labels).double()
psi, phi = X.T @ X / len(X), X.T @ Y / len(X)
first, of_all = spectrum(psi).eigenvalues[:6].sum(), psi.trace()
Captioned(
    BandExplorer(photograph(), ffc=psi, flc=phi, first=1, last=6),
    f"The first six directions hold {first / of_all:.0%} of the variance, and show the "
    "photographer. Keep 21 to 64 instead: edges and grain. Move both ends of the band.",
    "fig-bands",
)

# %% [markdown]
# ## The two matrices
#
# ```{admonition} Ψ and Φ, once for the whole book
# :name: def-correlations
# Of $n$ rows of features $X$, $(n, d)$, and targets $Y$, $(n, c)$, the {term}`FFC` and the {term}`FLC` are
#
# $$ \Psi = \tfrac1n X^\top X , \qquad \Phi = \tfrac1n X^\top Y . $$ (eq-ffc)
#
# A subscript $s$ marks the synthetic side, of $m$ rows. The formula is the same everywhere. What differs is $X$, and
# every chapter says near its top which it takes:
#
# - **centred**: the mean of the rows is subtracted first, so that $\Psi$ is their covariance. So it is on this page and
#   the next, where digits are distilled, and in CFM. Each side has its own mean; where digits are distilled, both have
#   that of the real images.
# - **as it is**: nothing is subtracted, in the chapters on [methods](04_methods), [bounds](05_bounds) and
#   [other kernels](06_kernels), where a linear head without a bias is trained on $X$.
#
# $Y$ is one-hot (less $1/c$ where digits are distilled), unless the page says otherwise. CFM is the exception: as
# published, $Y$ is a column of ones. Then $\Phi$ is the mean feature, and knows no label. Of centred rows that would be
# 0, so CFM takes $\Phi$ of $X$ as it is. Its option `signal` takes one-hot labels instead (`class`), or the teacher's
# probabilities (`mix`).
# ```
#
# $\Psi$ says which features rise and fall together. $\Phi$, of centred rows, says what those of a class have beyond the
# mean of all. From scratch it is a few lines, here for the digits, whose rows have 8×8 pixels too:

# %%
pixels = digits.train.images.flatten(1).double() / 255
X_d = pixels - pixels.mean(0)
Y_d = torch.eye(10, dtype=torch.float64)[digits.train.labels]
n = len(X_d)

psi_d, phi_d = X_d.T @ X_d / n, X_d.T @ Y_d / n
lam_d, U_d = torch.linalg.eigh(psi_d)  # ascending
lam_d, U_d = lam_d.flip(0), U_d.flip(1)
assert torch.allclose(U_d @ lam_d.diag() @ U_d.T, psi_d)
print(f"X {tuple(X_d.shape)}, Ψ {tuple(psi_d.shape)}, Φ {tuple(phi_d.shape)}")

# %% [markdown]
# The package has the same, with rounding errors below 0 removed:

# %%
found = spectrum(covariance(pixels))
assert torch.allclose(found.eigenvalues, lam_d, atol=1e-12)
lam, U = spectrum(psi)  # of the photographs, as in the explorer

# %% [markdown]
# Eigenvectors of $\Psi$ are as long as a patch, so they can be shown as patches:

# %% tags=["hide-input"]
vectors = U.T.reshape(-1, 1, SIDE, SIDE)
shown = (vectors / vectors.abs().amax((1, 2, 3), keepdim=True) + 1) / 2
Captioned(
    plots.image_grid(
        shown.float(),
        torch.arange(64) // 16,
        tuple(f"{16 * i + 1}–{16 * i + 16}" for i in range(4)),
        alt="The 64 eigenvectors as patches: first flat or shaded, at last fine checks",
        columns=16,
        pixel=4,
    ),
    "Eigenvectors of the photographs' Ψ, the largest eigenvalue first. Flat, then "
    "ramps, then stripes and checks that grow finer, though nobody told the matrix "
    "about frequencies.",
    "fig-eigenvectors",
)

# %% [markdown]
# ## Why a large eigenvalue is a low frequency
#
# Photographs are roughly *stationary*: how two pixels correlate depends on their distance, not on their place. Were
# patches to wrap around at their borders, $\Psi$ would be circulant. In one dimension, with $d$ pixels in a row, this
# means $\Psi_{ij} = a_{i - j}$, and a wave $e_k = (\mathrm e^{2\pi \mathrm i k j / d})_j$ is an eigenvector,
#
# $$ \Psi e_k = \hat a_k\, e_k , \qquad \hat a_k = \sum_j a_j\, \mathrm e^{-2\pi \mathrm i k j / d} , $$ (eq-fourier)
#
# so the eigenvalue is the Fourier transform of a covariance: the power of the photographs at that frequency. And
# photographs have most power at low frequencies: neighbours look alike. Real patches do not wrap around, so their
# eigenvectors are only nearly waves. To give an eigenvector $u$ a frequency, look at it as a patch and take the
# centroid of the power of its Fourier transform $\mathcal F u$, over frequencies $k$ in cycles a pixel:
#
# $$ \rho(u) = \frac{\sum_k |k|\, |\mathcal F u(k)|^2}{\sum_k |\mathcal F u(k)|^2} . $$ (eq-centroid)


# %%
def centroid(basis):
    """ρ of eigenvectors, the columns of (64, k), as patches."""
    axis = torch.fft.fftfreq(SIDE, dtype=torch.float64)
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    power = torch.fft.fft2(basis.T.reshape(-1, SIDE, SIDE)).abs().square()
    return (power * radius).sum((1, 2)) / power.sum((1, 2))


def rank_correlation(lam, rho):
    pairs = pd.DataFrame({"eigenvalue": lam, "frequency": rho})
    return pairs.corr("spearman").iloc[0, 1]


alive = lam_d > 1e-12 * lam_d[0]  # some pixels are black in every digit
sets = {
    "photographs": (lam, centroid(U)),
    "digits": (lam_d[alive], centroid(U_d[:, alive])),
}
ranks = {name: rank_correlation(*pair) for name, pair in sets.items()}
assert ranks["photographs"] < -0.9 < ranks["digits"] < -0.5

# %% tags=["hide-input"]
traces = [
    go.Scatter(
        x=np.round(rho, 4).tolist(),
        y=[float(f"{v / values.mean():.4g}") for v in values],
        name=name,
        mode="markers",
        marker={"color": plots.COLOURS[i], "symbol": plots.SYMBOLS[i], "size": 8},
    )
    for i, (name, (values, rho)) in enumerate(sets.items())
]
words = " and ".join(f"{signed(rank, 2)} for the {n}" for n, rank in ranks.items())
Captioned(
    plots.figure(
        traces,
        f"Eigenvalue against frequency of the eigenvectors; rank correlation {words}",
        xaxis={"title": "frequency of the eigenvector (cycles a pixel)"},
        yaxis={"title": "eigenvalue / mean eigenvalue", "type": "log"},
    ),
    "The larger the eigenvalue, the lower the frequency. Spearman's rank correlation "
    f"is {words} ({len(lam)} and {int(alive.sum())} directions): a digit stands in "
    "the middle of its square, so digits are less stationary.",
    "fig-eigenvalue-frequency",
)

# %% [markdown]
# So the name *frequency* is earned by photographs, and holds as a tendency elsewhere. In a network it is a manner of
# speaking: a low frequency is a direction in which the features vary much.
#
# ## Keep a band, drop a band
#
# This is what the explorer does. A set $B$ of eigendirections, columns $U_B$, splits every patch $x$ around the mean
# patch $\mu$ into what lies in the band and what does not:
#
# $$ x - \mu = U_B U_B^\top (x - \mu) + (I - U_B U_B^\top)(x - \mu) . $$ (eq-band)

# %%
picture = photograph(size=128)[None]
mean = rows.mean(0)


def rebuilt(first, last):
    """The picture from directions first … last, counted from 1."""
    kept = U[:, first - 1 : last]
    middle = mean if first == 1 else 0.5  # without brightness: around grey
    columns = ((patches(picture) - mean) @ kept @ kept.T + middle).T[None]
    return F.fold(columns, picture.shape[-2:], SIDE, stride=SIDE)[0].clamp(0, 1)


# %% tags=["hide-input"]
bands = [(1, 64), (1, 2), (1, 6), (7, 20), (21, 64)]
variance = [lam[a - 1 : b].sum() / lam.sum() for a, b in bands]
pairs = zip(bands, variance, strict=True)
words = ", ".join(f"{a}–{b} ({v:.1%})" for (a, b), v in pairs)
Captioned(
    plots.image_grid(
        torch.stack([rebuilt(*band) for band in bands]).float(),
        torch.zeros(len(bands)).long(),
        ("camera",),
        alt="A photograph from all directions, 1 and 2, 1 to 6, 7 to 20, and 21 to 64",
    ),
    f"From left to right: directions {words} of the variance. The shape is in the "
    "first few, the edges and the grain in the many others, which hold next to no "
    "variance.",
    "fig-rebuilt",
)

# %% [markdown]
# (where-is-the-class)=
# ## Where is the class?
#
# For centred rows and one-hot $Y$, column $k$ of $\Phi$ is $\tfrac{n_k}{n}(\mu_k - \mu)$, by which the mean of the
# $n_k$ rows of class $k$ differs from that of all. So $\Phi$ holds what sets the means of the classes apart, and no
# more: it is their *class signal*. The share of direction $u_i$ in it is
#
# $$
# p_i = \frac{\lVert u_i^\top \Phi \rVert^2}{\lVert \Phi \rVert_F^2} , \qquad \sum_i p_i = 1 .
# $$ (eq-share)

# %%
signal, signal_d = participation(U, phi), participation(U_d, phi_d)
assert abs(float(signal.sum()) - 1) < 1e-12


def in_band(share, first, last):
    return f"{share[first - 1 : last].sum():.1%}"


# %% tags=["hide-input"]
cuts = {"1": (1, 1), "2–6": (2, 6), "7–20": (7, 20), "21–64": (21, 64)}
sides = {
    "photographs, variance": (lam / lam.sum()).tolist(),
    "photographs, class signal": signal.tolist(),
    "digits, variance": (lam_d / lam_d.sum()).tolist(),
    "digits, class signal": signal_d.tolist(),
}
table = pd.DataFrame(sides)  # a row a direction
shares = {name: table.iloc[a - 1 : b].sum() for name, (a, b) in cuts.items()}
Captioned(
    pd.DataFrame(shares).map("{:.1%}".format),
    "Shares of bands of directions in variance and class signal. In photographs the "
    f"first direction, brightness, holds {in_band(signal, 1, 1)} of what sets the "
    f"means of classes apart; in digits {in_band(signal_d, 1, 1)}, and directions 2 to 6 "
    f"hold {in_band(signal_d, 2, 6)}.",
    "tab-class-share",
)

# %% [markdown]
# In grey pixels of photographs the mean of a class is its brightness, whatever its texture: mean patches are smooth. To
# match class means of *pixels* would say next to nothing of texture. {term}`DM`, which matches class means, does so
# with the features of networks, in whose layers texture can show in a mean.
#
# ## The layers of a network
#
# In a network a row is one position of a feature map, and $d$ is the number of channels. Here are all layers that
# {term}`CFM` matches, the inputs of the convolutions, before and after training. These numbers were not made while this
# page was built: they are read from records, made earlier by `benchmarks/layer_spectra.py`.

# %% tags=["hide-input"]
stored = sorted(published("studies", "spectra").glob("*.json"))
records = [json.loads(path.read_text()) for path in stored]
BETA, where = records[0]["beta"], records[0]["provenance"]
made = (
    f"Means of n = {len(records)} seeds, trained briefly on 600 photographs; "
    f"{where['date']}, {where['device']}, torch {where['torch']}"
)


def column(network, when, key):
    """(seeds, layers) of one measured value."""
    layers = [record["networks"][network][when] for record in records]
    return np.array([[row[key] for row in each] for each in layers])


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
after = column("ResNet-18", "after", "mean").mean(0)
Captioned(
    plots.figure(
        traces,
        "Mean eigenvalue of each layer of two networks, before and after training",
        xaxis={"title": "layer"},
        yaxis={"title": "mean eigenvalue", "type": "log"},
    ),
    "Layers differ in scale: in a trained ResNet-18 the largest mean eigenvalue is "
    f"{after.max() / after.min():.0f} times the smallest. Before training, batch norm "
    "still has mean 0 and variance 1, so the scale is that of the initialisation. "
    f"({made}.)",
    "fig-layers",
)


# %% tags=["hide-input"]
def span(network, when):
    keys = ("largest", "below", "condition", "dead")
    largest, below, condition, dead = (column(network, when, key) for key in keys)
    peak = largest.mean(0)
    return {
        "λ_max, least … most": f"{min(peak):.3g} … {max(peak):.3g}",
        "λ < 0.1": f"{below.mean():.0%}",
        "median condition": f"{np.median(condition):.0e}",
        "dead": f"{dead.sum(1).mean():.0f}",
    }


cases = [(n, w) for n in ("ConvNet", "ResNet-18") for w in ("before", "after")]
Captioned(
    pd.DataFrame({f"{n}, {w}": span(n, w) for n, w in cases}).T,
    "Most eigenvalues are below 0.1. The largest are thousands of times the smallest, "
    "or more (their condition; the median over the layers): who divides by λ divides by "
    "nearly 0. Dead channels, counted over all layers, never vary.",
    "tab-layers",
)

# %% [markdown]
# ## What one β means
#
# Ridge regression on features solves for the head $(\Psi + \beta I)^{-1}\Phi$. Beside least squares, β = 0, it keeps of
# direction $i$ the share $\lambda_i/(\lambda_i + \beta)$: nearly all where $\lambda_i \gg \beta$, next to nothing where
# $\lambda_i \ll \beta$. The number of directions it **keeps** is the {term}`effective dimension`:
#
# $$ d_\beta = \sum_i \frac{\lambda_i}{\lambda_i + \beta} . $$ (eq-dimension)
#
# Said of ridge regression, *keeps* means this number throughout the book. The *filter* $1/(\lambda + \beta)$ alone, the
# factor before $\Phi$, weighs small eigenvalues most. Those it **passes**; that is the [next chapter](03_filters). So
# one β has two sides: ridge regression keeps the directions that its filter weighs least.

# %% tags=["hide-input"]
sentences = []
for network in ("ConvNet", "ResNet-18"):
    ratio = column(network, "after", "beta over mean").mean(0)
    kept = column(network, "after", "effective dimension").mean(0)
    sentences.append(
        f"- **{network}**: β = {BETA} is from {ratio.min():.2g} to {ratio.max():.2g} "
        f"times a layer's mean eigenvalue, and keeps from {kept.min():.0%} to "
        f"{kept.max():.0%} of the directions."
    )
Markdown("\n".join(["In trained networks:", "", *sentences, "", f"({made}.)"]))

# %% [markdown]
# One number, and another filter in each layer. This speaks for a β *relative* to each layer's mean eigenvalue, which
# `unidd.core.schedules.relative_beta` gives; that of {cite}`bo2026unidd` is absolute.
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
# From differences of brightness between patches, within and between photographs. Dividing by the mean takes away the
# part between photographs, and scales each of them up, dark ones most. So all eigenvalues grow, that of the flat
# direction least: its share of the variance falls.
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
# batches, {term}`EMU`, is for.
# ```
#
# ## Code
#
# `unidd.core.statistics` (`covariance`, `flc`, `real_statistics`), `unidd.core.spectra` (`spectrum`, `participation`,
# `band_energy`, `effective_dimension`, `condition_number`), `unidd.core.schedules` (`relative_beta`). Next:
# [a zoo of filters](03_filters).
