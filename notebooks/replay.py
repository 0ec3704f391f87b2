# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # A memory for continual learning
#
# A network that learns one task after another forgets the first ones, unless it sees some of their images again. A
# *replay memory* keeps a few images a class for that. Are distilled images a better memory than real ones? Papers on
# distillation name this use often; here it is measured, beside images drawn blindly and images chosen by a rule.

# %% tags=["setup", "remove-cell"]
import importlib.util

if importlib.util.find_spec("unidd") is None:  # such as on a fresh Colab
    raise ModuleNotFoundError("UniDD is not installed: in a clone of the project, run pip install '.[embedded,show]'")

# %% tags=["hide-input"]
import plotly.graph_objects as go
from IPython.display import Markdown, display

from unidd.bench import uses
from unidd.book import plots
from unidd.book.captions import Captioned
from unidd.book.palette import looks

records = {name: uses.found("replay", name) for name in ("digits", "photos")}
records = {name: record for name, record in records.items() if record}

# %% [markdown]
# ## What was asked
#
# *Class-incremental learning*: the classes come in tasks of two, and one network learns task after task. When a task is
# over, its images are gone but for ten a class. The network then learns the next task together with all memory, every
# class equally often, and is tested on all classes so far. Nobody tells it which task an image is of.
#
# - A memory is made from the training images of its own task alone, by the methods of this package: images drawn at
#   `random`; two {term}`coresets <coreset>`, `herding` and `spectralherding`; and distilled, by `dm` and `cfm`.
# - Coresets and {term}`CFM` need a {term}`teacher`. It is the learning network itself as it stands at the end of the
#   task, so it has seen no later class. DM draws networks and needs none.
# - `none` keeps nothing, and `joint` keeps everything: the floor and the ceiling.
# - Each seed has its own order of classes, first weights, teachers and memories; what one seed has in common is shared
#   by all memories, which are compared in pairs.
#
# **Accuracy** is the mean over all tasks after the last one. **Forgetting** is how far a task fell from its best, on
# average over all tasks but the last ({cite}`chaudhry2018riemannian`).
#
# ## What came of it


# %% tags=["hide-input"]
def course(record):
    """Mean accuracy over the tasks so far, a line a memory."""
    courses = uses.courses(record)
    traces, its = [], looks(courses)
    for name, values in courses.items():
        own = its[name]
        traces.append(
            go.Scatter(
                x=list(range(1, len(values) + 1)),
                y=plots.rounded(values, 4),
                name=name,
                mode="lines+markers",
                line={"color": own.colour, "dash": own.dash, "width": 2},
                marker={"color": own.colour, "symbol": own.symbol, "size": 8},
                hovertemplate=name + ": %{y:.1f} %<extra></extra>",
            )
        )
    ends = "; ".join(f"{name} {values[-1]:.1f} %" for name, values in courses.items())
    return plots.figure(
        traces,
        f"Mean accuracy over the tasks so far, after each task. At the end: {ends}.",
        xaxis={"title": "tasks learnt", "dtick": 1},
        yaxis={"title": "accuracy on all classes so far (%)"},
    )


def show(name, record):
    sentences = "\n".join(f"- {sentence}" for sentence in uses.replay_sentences(record))
    display(Markdown(sentences))
    values = uses.averages(record)
    ends = {memory: sum(each) / len(each) for memory, each in values.items()}
    sets = sorted(ends.keys() - {"none", "joint"}, key=lambda memory: ends[memory])
    least, most = sets[0], sets[-1]
    display(
        Captioned(
            course(record),
            f"{name}: where the lines end is what counts. Without a memory it is "
            f"{ends['none']:.0f} %, if everything is kept {ends['joint']:.1f} %. Look how "
            f"much of that gap a memory closes: the highest mean is that of {most}, "
            f"{ends[most]:.1f} %, and the lowest that of {least}, {ends[least]:.1f} %.",
            f"fig-replay-{name}",
        )
    )
    near = {key for key in ends if abs(ends[key] - ends[uses.BASE]) < 10}
    far = ", ".join(key for key in ends if key not in near)
    display(
        Captioned(
            plots.repeated(
                {key: each for key, each in values.items() if key in near},
                "accuracy after the last task (%)",
            ),
            f"{name}: the same at the end, without what is far below ({far}). A ring is "
            "a seed, the marker their mean, the bar its 95 % interval. Orders of classes "
            "differ from seed to seed, so compare in pairs, as the table does.",
            f"fig-replay-{name}-end",
        )
    )
    display(
        Captioned(
            uses.replay_table(record),
            f"{name}: mean ± standard deviation over n = {len(record['rows'])} seeds; "
            "the gain over random real images is paired by seed. A gain whose interval "
            "reaches over zero decides nothing.",
            f"tab-replay-{name}",
        )
    )


# %% tags=["remove-input"]
for name, record in records.items():
    show(name, record)

# %% tags=["remove-input"]
about = {name: record["provenance"] for name, record in records.items()}
Markdown(
    " ".join(
        f"`{name}`: made on {made['date']} on {made['device']} with torch "
        f"{made['torch']} by `python benchmarks/replay.py`."
        for name, made in about.items()
    )
    + " `photos`: **not run.** `python benchmarks/replay.py --study.dataset photos "
    "--study.images 100`."
    * ("photos" not in records)
    + " The networks are narrow, and distillation takes a hundred steps, far from what "
    "is published: the numbers compare memories *here*."
)

# %% [markdown]
# Three limits. Labels are hard: {term}`CFM` was published with the soft ones of its teacher, and [Results](12_results)
# has it under each {term}`label regime`. A memory is counted in images, and not in the seconds that a distilled one
# takes to make. And DM's authors train a new network on the memory alone after every task ({cite}`zhao2023dm`), while
# here one network learns on.
#
# ## With your own data
#
# Any data set that `unidd.load` reads, a folder of pictures too, and any method. This is one run, of one order of
# classes: n = 1. With `"random"` in place of `"dm"` and its `norm` it is the baseline.

# %%
import torch

import unidd
from unidd.networks.models import ModelConfig, build
from unidd.networks.training import TrainConfig, accuracy, train

data, kept = unidd.load("digits"), []
network = build(ModelConfig(width=32), data.channels, data.size, data.classes)
recipe = TrainConfig(5, 64, optimizer="adamw", lr=2e-3, crop="none")
for first in range(0, data.classes, 2):
    task = data.only([first, first + 1])
    new = [(task.train.images / 255, task.train.labels + first)]
    images, labels = (torch.cat(of) for of in zip(*new, *kept, strict=True))
    train(network, images, labels, recipe, prepare=data.normalise)
    made = unidd.distill(task, "dm", ipc=10, norm="batch", progress=False)
    kept += [(made.images, made.labels + first)] * 14  # as often as new images
print(f"{accuracy(network, data):.1f} % of the test images of all classes")
