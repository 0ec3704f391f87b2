# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Quickstart: ten digits, then photographs
#
# Two distillations, start to end. First ten digits for learners of the simplest kind, where distillation plainly works.
# Then photographs and a deep network, where it is hard.
#
# ## Ten digits in ten lines
#
# `digits` are 8×8 grey images of handwriting that scikit-learn ships. The method `head` makes as many images per class
# as `ipc` says, here one. It starts from ten real digits and changes their pixels, so that a linear learner learns from
# them nearly what it would learn from all: the {term}`head` that ridge regression finds from the ten approaches the one
# from all. The learner does not see pixels but 256 random ReLU features of them, $\max(0, xR)$ with a random $R$, less
# their mean over the real images ({ref}`centred <def-correlations>`).

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %%
import unidd

digits = unidd.load("digits")
ten = unidd.distill(digits, "head", ipc=1, seed=0)
start = unidd.SyntheticSet.from_real(digits, ipc=1, seed=0)
print(f"{len(digits.train):,} images for training, {len(digits.test)} to test on")
print(f"{len(ten)} distilled, {ten.images.shape[-1]}×{ten.images.shape[-1]} pixels")

# %% tags=["hide-input"]
import torch

from unidd.book import plots
from unidd.book.captions import Captioned


def above(top, bottom, words):
    """Two sets of the same size as a picture of two rows."""
    rows = torch.arange(2).repeat_interleave(len(top))
    alt = f"{len(top)} images, {words[0]}, and below them {words[1]}"
    pixel = 6 if top.images.shape[-1] < 16 else 2
    images = torch.cat([top.images, bottom.images])
    return plots.image_grid(images, rows, words, alt, columns=len(top), pixel=pixel)


moved = (ten.images - start.images).abs().mean()
Captioned(
    above(start, ten, ("real", "distilled")),
    "Ten real digits, and what the descent made of them. They are still digits, but "
    f"no longer anyone's handwriting: a pixel moved by {moved:.2f} of the grey scale "
    "on average.",
    "fig-ten-digits",
)

# %% [markdown]
# ## Train on them what you like
#
# The ten images were made for one learner. Are they of use to others? A synthetic set is nothing but images and labels,
# so any library can train on it. Here is a classifier of scikit-learn, on the pixels. (Those of a synthetic set run
# from 0 to 1; those of real images are bytes.)

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier


def score(learner, images, labels):
    """Test accuracy in % of a scikit-learn classifier."""
    learner.fit(images.flatten(1).numpy(), labels.numpy())
    pixels = digits.test.images.flatten(1).numpy() / 255
    return 100 * learner.score(pixels, digits.test.labels.numpy())


found = score(LogisticRegression(max_iter=1000), ten.images, ten.labels)
print(f"logistic regression on ten images: {found:.1f} % of the test images right")

# %% [markdown]
# And a small network in PyTorch, trained on all images of the set at once:

# %%
from torch import nn


def network_score(images, labels, steps=200):
    """Test accuracy in % of a network of one hidden layer."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    adam = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(steps):
        adam.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        adam.step()
    guess = net(digits.test.images / 255).argmax(1)
    return 100 * float((guess == digits.test.labels).double().mean())


found = network_score(ten.images, ten.labels)
print(f"a network on ten images: {found:.1f} % of the test images right")

# %% [markdown]
# How good is that? Ten *real* digits are the baseline to beat, and all of them the ceiling. Which ten one begins with
# matters, so five starts are distilled, each compared with its own start.

# %% tags=["hide-input"]
import pandas as pd

starts = range(5)
made = [unidd.distill(digits, "head", seed=seed, progress=False) for seed in starts]
real = [unidd.SyntheticSet.from_real(digits, 1, seed) for seed in starts]
everything = digits.train.images / 255, digits.train.labels
learners = {
    "logistic regression": lambda *of: score(LogisticRegression(max_iter=1000), *of),
    "nearest neighbour": lambda *of: score(KNeighborsClassifier(1), *of),
    "a small network": network_score,
}


def mean_and_spread(values):
    return f"{values.mean():.1f} ± {values.std():.1f}"


HALF_WIDTH = 2.776 / len(starts) ** 0.5  # Student's t of 4 degrees of freedom, 95 %
lines, gains = {}, {}
for name, of in learners.items():
    before = torch.tensor([of(s.images, s.labels) for s in real])
    after = torch.tensor([of(s.images, s.labels) for s in made])
    gain, whole = after - before, of(*everything)
    gains[name] = float(gain.mean()), float(gain.std()) * HALF_WIDTH
    lines[name] = {
        "10 real": mean_and_spread(before),
        "10 distilled": mean_and_spread(after),
        "gain": f"{gains[name][0]:+.1f} ± {gains[name][1]:.1f}",
        f"all {len(digits.train):,}": f"{whole:.1f}",
    }
means = [mean for mean, _ in gains.values()]
least, most = min(means), max(means)
clear = all(mean > half for mean, half in gains.values())
assert clear, "the text says that all learners gain"
Captioned(
    pd.DataFrame(lines).T,
    "Test accuracy in %. Every learner gains, though the images were made for none of "
    f"them: {least:.0f} to {most:.0f} points on average over n = {len(starts)} starts "
    "(± one standard deviation; of the gain, paired by start, ± the half width of its "
    "95 % interval).",
    "tab-ten-digits",
)

# %% [markdown]
# That other learners profit is no matter of course: it depends on the {term}`filter`, on the features, and on the
# descent. With a ridge filter on the pixels themselves, clipped to their range at every step as on the
# [first page](../book/index), a nearest neighbour fares worse with the ten images than with the real ones that they
# began as: {numref}`tab-live`.
#
# ## A file for someone else
#
# `save` writes pixels, labels and a card that says what they depend on; `SyntheticSet.load` checks that the two belong
# together. Someone who has never heard of this package gets a folder of PNG files:

# %%
import tempfile
from pathlib import Path

from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Grayscale, ToTensor

from unidd.data.exchange import to_imagefolder

with tempfile.TemporaryDirectory() as folder:
    ten.save(f"{folder}/ten-digits")
    again = unidd.SyntheticSet.load(f"{folder}/ten-digits")
    assert torch.equal(again.images, ten.images)

    png = to_imagefolder(ten, f"{folder}/png")
    files = sorted(p.relative_to(png).as_posix() for p in Path(png).rglob("*.*"))
    # what follows needs no unidd
    read = ImageFolder(png, Compose([Grayscale(), ToTensor()]))
    images = torch.stack([image for image, _ in read])
    labels = torch.tensor([label for _, label in read])

theirs = score(LogisticRegression(max_iter=1000), images, labels)
print(*files[:4], "…", *files[-2:], sep="\n")
print(f"logistic regression on the PNG files: {theirs:.1f} % of the test images")

# %% [markdown]
# [Synthetic sets](../book/sets) has the other formats: Hugging Face, and those of DC, DSA, DM and DD-Ranking.
#
# ## The second act: photographs, and a deep network
#
# `photos` are 32×32 patches of ten photographs that scikit-image ships, one class a photograph. Training and test
# patches come from disjoint regions, so a network cannot win by remembering pixels.

# %%
photos = unidd.load("photos")
some = unidd.SyntheticSet.from_real(photos, ipc=8, seed=1)

# %% tags=["hide-input"]
Captioned(
    plots.image_grid(some.images, some.labels, some.class_names),
    f"Eight of the {len(photos.train) // photos.classes} training patches of each "
    "class: some classes differ in colour, others only in texture.",
    "fig-photos",
)

# %% [markdown]
# The features are now those of a trained network, the {term}`teacher`. Its accuracy is the ceiling to look up to.

# %%
teacher = unidd.teach(photos)
print(f"teacher: {teacher.accuracy:.1f} % of the test images right")

# %% [markdown]
# {term}`CFM`, the method of {cite}`bo2026unidd`, makes a set {term}`round` by round, one image a class in each. It
# compares real and synthetic features through a ridge filter, $1/(\lambda + \beta)$, on the eigenvalues λ of their
# covariance: the small ones count most, the more so the smaller β, and β falls from round to round. One image a class
# would be one round, at one β ({term}`HFM`). So ask for five:

# %%
ipc = 5
distilled = unidd.distill(photos, "cfm", ipc=ipc, seed=0, teacher=teacher)
begun = unidd.SyntheticSet.from_real(photos, ipc, seed=0)

# %% tags=["hide-input"]
betas = [entry["beta"] for entry in distilled.history]
two = [photos.class_names.index(name) for name in ("chelsea", "coffee")]
shown = torch.isin(distilled.labels, torch.tensor(two))
rows = torch.cat([torch.zeros(int(shown.sum())), torch.ones(int(shown.sum()))]).long()
moved = (distilled.images - begun.images)[shown].abs().mean((1, 2, 3)).view(ipc, 2)
Captioned(
    plots.image_grid(
        torch.cat([begun.images[shown], distilled.images[shown]]),
        rows,
        ("real", "distilled"),
        "Patches of two photographs, and below them what CFM made of them",
        columns=int(shown.sum()),
    ),
    f"Two classes in turn, round by round. β falls from {betas[0]:.2g} to "
    f"{betas[-1]:.2g} over {ipc} rounds, and the filter becomes steeper: the later an "
    "image, the more the smallest eigenvalues count in it. On average the pixels of the "
    f"first pair moved by {moved[0].mean():.2f} of their range, those of the last by "
    f"{moved[-1].mean():.2f}.",
    "fig-first-cfm",
)

# %% [markdown]
# ## Does a network learn from them?
#
# A fresh {term}`student` is trained on the distilled images alone, with {term}`hard labels <hard label>`, and tested on
# real ones. The real images that CFM started from are the baseline: beating chance is no achievement.

# %%
task = {"seeds": [0], "teacher": teacher}
learnt = unidd.evaluate(distilled, photos, **task)["hard"][0]
baseline = unidd.evaluate(begun, photos, **task)["hard"][0]
print(f"distilled {learnt:.1f} %, random real {baseline:.1f} %")

# %% tags=["hide-input"]
from IPython.display import Markdown

better = "more" if learnt > baseline else "less"
Markdown(
    f"Here that is {abs(learnt - baseline):.1f} points {better} than random real "
    f"images, and {teacher.accuracy - learnt:.0f} points below the teacher. One "
    "distillation and one student each, n = 1: no verdict. Another seed, or another "
    "teacher, may turn the sign."
)

# %% [markdown]
# This is no slip of the Quickstart: with deep networks, random real images are hard to beat when both sides are trained
# alike. [Results](12_results) repeats the comparison over methods and seeds, with intervals, and says what holds. The
# chapters between say what a filter sees of a layer, and what it misses.
#
# ## From the shell
#
# ```bash
# unidd distill head --dataset digits --ipc 1 --out ten-digits
# unidd export ten-digits --to imagefolder --out png
# unidd distill cfm --dataset photos --ipc 5 --out distilled
# unidd evaluate distilled
# ```
#
# Your own images go in as a folder, `unidd distill cfm --dataset path/to/folder`; see [data](../book/data). Next:
# [correlation matrices and their spectrum](02_spectrum), in which everything else is said.
