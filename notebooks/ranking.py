# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # Ranking architectures on a few images
#
# Which of many architectures is the best for some data? To train each on all images is slow. If a hundred images ranked
# them alike, a search would be faster by far. Do distilled images rank better than real ones, and does either rank well
# enough?

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from unidd.bench import uses
from unidd.book import plots
from unidd.book.captions import Captioned

record = uses.found("ranking", "digits")
rows, names = record["rows"], list(record["architectures"])
few, whole = record["training"]["few"], record["training"]["full"]
images, n = record["images"], len(rows)

# %% tags=["remove-input"]
Markdown(
    f"The record: `{record['dataset']}`, {len(names)} architectures, n = {n} seeds. "
    f"Each is trained on all {images['full']:,} training images for {whole['epochs']} "
    f"epochs, and on {images['few']} images, ten a class, for {few['epochs']}: hard "
    "labels, the same optimiser and rate. Then they are ranked by their accuracy on "
    f"{images['test']} test images."
)

# %% [markdown]
# ## How a ranking is judged
#
# Kendall's $\tau$ of two rankings is the part of all pairs of architectures that they order alike, less the part that
# they order otherwise: 1 is the same ranking, 0 is chance. (It is $\tau_b$, which corrects for ties;
# {cite}`kendall1945ties`.) A network's accuracy depends on its seed, too, and so does the ranking of all. So each
# seed's ranking is compared with the mean accuracy on all images over the *other* seeds. What `full`, one training on
# all images, reaches there is the **ceiling**: the line to hold the sets against.
#
# ## What came of it

# %% tags=["remove-input"]
display(Markdown("\n".join(f"- {one}" for one in uses.ranking_sentences(record))))

# %% tags=["hide-input"]
taus = uses.agreements(record)
Captioned(
    plots.repeated(taus, "Kendall's τ with the ranking on all images", 2),
    f"How alike the rankings are. A ring is a seed (n = {n}), the marker their mean, "
    "the bar its 95 % interval. Look first at how far the sets are from the top line, "
    "the ceiling, and only then at what tells them apart.",
    "fig-ranking",
)

# %% tags=["hide-input"]
Captioned(
    uses.ranking_table(record),
    f"Mean ± standard deviation over n = {n} seeds. Seconds of the processor, one "
    "thread, to train and test all architectures once; how many times faster that is "
    "than on all images; and the same with the making of the set, whose teacher is "
    "trained first.",
    "tab-ranking",
)

# %% [markdown]
# Why rankings differ, the accuracies themselves show: architectures that are closer than their own spread change places
# from seed to seed.

# %% tags=["hide-input"]
Captioned(
    uses.accuracies(record),
    "Test accuracy in %, mean ± standard deviation, the best on all images first. Read "
    "a column downwards: where its numbers do not fall, that set ranks otherwise.",
    "tab-ranking-accuracies",
)

# %% tags=["remove-input"]
made = record["provenance"]
Markdown(
    f"Made on {made['date']} on {made['device']} with torch {made['torch']} by "
    "`python benchmarks/ranking.py`. Those named by a width are ConvNets of three "
    "blocks; by a norm or pooling, of two blocks of width 32; shallow ones have one. "
    "The sets are distilled by a hundred steps a round, through narrow ConvNets."
)

# %% [markdown]
# Three limits. The seeds share the architectures, and their references overlap: an interval over seeds says what to
# expect of *these*, and not of any. $\tau$ counts easy pairs, too: the further apart architectures are, the better any
# set orders them. And hyper-parameters are the same for all, where a search would tune each: in so short a training a
# transformer may learn next to nothing.
#
# ## With your own data
#
# Any data set that `unidd.load` reads, and any architectures. One seed and four widths, so no more than a look:

# %%
import unidd
from unidd.bench.uses import agreement
from unidd.networks.evaluation import evaluate_images
from unidd.networks.models import ModelConfig
from unidd.networks.training import TrainConfig

data = unidd.load("digits")
made = unidd.distill(data, "dm", ipc=10, norm="batch", progress=False)
ranked = {}
for source, images, epochs in (("few", made, 15), ("all", data.train, 2)):
    recipe = TrainConfig(epochs, 20, optimizer="adamw", lr=2e-3, crop="none")
    networks = [ModelConfig(width=width) for width in (4, 8, 16, 32)]
    task = [(images.images, images.labels, data, net, recipe, [0]) for net in networks]
    ranked[source] = [evaluate_images(*one, progress=False)[0] for one in task]
    print(source, *(f"{accuracy:.1f} %" for accuracy in ranked[source]))
print(f"Kendall's τ: {agreement(ranked['few'], ranked['all']):.2f}")
