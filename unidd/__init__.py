"""UniDD: dataset distillation understood, and done, through spectral filters.

What people type is here: `load`, `teach`, `distill`, `evaluate`, `find`, `Cell`, `run`, `plan`, `SyntheticSet` and
`ImageData`. A map of the rooms and modules; each imports only from those above it:

    files                 files that are whole or not there, and hashes
    bars                  progress bars, and when they are silent
    memory                give back memory that is kept and free
    core                  the theory; needs torch alone
        ridge             distances of ridge-filtered layers and their derivatives, in closed form
        filters           f(λ) on the spectrum of the FFC: all-pass, linear, ridge, residual, Landweber, your own
        frozen            a network that is used and not changed
        schedules         β over the rounds of a distillation, absolute or relative to a layer's spectrum
        statistics        FFC and FLC of a network's layers, streaming; the moving update
        matching          one batch of images: real side, moving update, loss and image gradient
        objectives        what each method minimises on fixed features, and UniDD's two terms
        spectra           spectra, what filters do to them, power spectra and diversity of images
        bands             bands of a layer's frequencies: what a set leaves unmatched, and the matching terms of one
    data                  images
        pictures          one picture, read right or refused by name
        remarks           what was done to pictures, counted, and said in one line
        folders           splits and classes of a folder, and the pictures in them
        layouts           Tiny-ImageNet and ImageNet as their archives unpack
        rows              rows of torch's and Hugging Face's data sets
        decoding          pictures read in processes of their own
        hosted            images too many for a GPU, which stay in main memory
        store             pictures decoded once, in files that are mapped into memory
        datasets          by name, from a folder, or from any torch Dataset
        sources           which images are asked for, in plain values
        augment           crop, flip, roll and CutMix for whole batches
        grids             images side by side
        exchange_names    names of classes compared, and names of folders that sort in the order of the labels
        siamese           real and synthetic images augmented alike
        synthetic         a synthetic set with everything it depends on
        exchange_folder   a set as a folder of pictures, and back after someone edited it
        exchange_parquet  a set as Hugging Face keeps data, and back
        exchange_read     what the published methods leave on disk, as it is stored
        exchange          sets in the formats of others
    networks              what looks at images
        small             VGG-11, MobileNetV2 and a vision transformer for small images
        models            ConvNet, ResNet-18 for small images, torchvision models; which layers are matched
        checks            a look at a network before it teaches
        weights           networks from files of weights, of this package or of others
        training          the one training loop, teachers, and the store of those that were trained
        trajectories      experts trained on the real images, their parameters kept after every epoch
        evaluation        students, and the label regimes
        protocols         how published methods train and label their students
    engine                how images descend; knows no method
        parallel          several processes, one distillation
        checkpoint        states of runs on disk
        run               what a distillation is asked for
        precision         half precision of the network
        realside          one pass over the real images, shared and kept
        released          statistics of the real side from files of UniDD's released code
        descent           an iterator of steps over an Objective
        loop              carries it out: progress, the state on disk, a look at the loss
    methods               a file each, found by name; `unidd methods` lists them; what they share
        _descending       methods that descend on images
        _drawing          methods that look through networks drawn anew
        _recovering       methods that descend on the statistics of a teacher's batch norms
        _patches          real patches that a teacher finds easy
        _gradients        gradients of a network's weights, and how far two are apart
        _unrolling        derivatives of where descent on synthetic images leads
        _trajectory       how far a student ends from where an expert is
        _lamb             the optimiser of FRePo
        _looks            a pool of networks and views, and what real images are through each
        _krr              methods of kernel ridge regression
        _scores           what a network, or its training, says of each image
        _rules            which of a class's images are chosen, by their features or scores
        _choosing         methods that choose real images
        _proxies          networks trained to see how each image is learnt
    bench                 measuring
        closure           hash of the code a result depends on
        words             numbers as they stand in a sentence or a table
        records           records of runs as JSON, and their provenance
        stored            what a set of a record takes in bytes
        schema            what a record must be, and what is wrong with one
        machine           memory there is and memory taken; times and sizes in words
        tables            tables of records, and sentences that follow from them
        advice            which method to use, worked out from records
        given             a teacher and statistics of others, in place of a cell's own
        parts             what a long study or cell has done, kept part by part
        cell              one cell of a table
        search            a recipe chosen by a part of the training images
        contributed       records of others, checked against their sets
        cross             students of several architectures on one set
        likeness          identical pixels and the nearest real image, in one pass over the real ones
        residuals         what a set leaves unmatched, band by band, as probe networks see it
        effective         the filter that a method behaves as, from the gradient of its own loss
        claims            what was claimed, and what records say of it
        paper             the paper, figure by figure and table by table
        terms             CFM with one of its matching terms, for the ablation of its loss
        labelled          CFM with labels that are learnt too, as reviewers asked for
        backprojection    what each band of a layer sees of an image, in pixels
        promise           what the study of deep methods found, as tables and sentences
        gains             what the gain over random real images hangs on
        uses              what a few images do as a replay memory, and for ranking architectures
        questions         what reviewers and readers asked, with answers from records, or why there is none
        defects           what defects of the released code change
        scores            accuracies beside random and full real data; HLR, IOR, LRS, ARS
        elsewhere         tensors of a device that is not there
        counted           what work would take on a device that is not at hand, by its operations
        measuring         what the parts of a run take here, from a few steps of each
        audit_words       sentences that follow from the numbers of an audit
        audit             every number about a set, whoever made it
        planning          time, memory and disk of a run before it starts
    book                  what the book shows
        rounding          numbers with as many digits as a page needs
        pictures          photographs as patches, and pictures small enough for a page
        linear            ten digits distilled for a linear learner, in PyTorch
        palette           one look for each filter and each method
        matched           a study of what methods match, as light as a page needs it
        listing           records as the rows of one table, and a card for each
        captions          a caption for anything a notebook shows
        svg               charts as SVG, which need no script
        named             numbers with a name, and those that disagree
        chain             pictures in a row, each worked out from the one before
        plots             figures
        chapter           what the chapters on methods share: rows of digits, a check, lines
        bundle            the explorers' ES modules joined to one
        widgets           explorers
        stills            still pictures of figures and explorers
        report            the page of an audit, one file
        equations         the table equation → code → test
        formulas          room for formulas before they are typeset
        assets            files beside the pages: scripts, icons, the front door
        numbering         numbered figures and tables
        head              what a page says of itself, and how long its code runs
        reference         the pages of the package, from docstrings, and the code of each chapter
        address           links to where the project is published
        sphinx            how figures and explorers reach a page
        __main__          `python -m unidd.book`, which serves the book
    cli                   the command `unidd`

One vocabulary, in code, book and tests:

    round b       one image of every class, at one β
    batch         the images of one step: a round, or a class group of it
    class group   the classes of a batch
    layer stack   layers of one width under one filter, batched
    slot          (first, n): a process's part of a batch of n images
    all_sum       a sum over processes, in place
    label regime  hard; fixed soft, a label stored with each image; online soft, the teacher labels every view
    protocol      how students are trained, and under which label regimes
    cell          a method at one IPC on one data set, over seeds: one record, one line of a table
    budget        how much computing a cell spends
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench.cell import Cell as Cell
    from .bench.cell import distill as distill
    from .bench.cell import evaluate as evaluate
    from .bench.cell import run as run
    from .bench.cell import teach as teach
    from .bench.planning import plan as plan
    from .data.datasets import ImageData as ImageData
    from .data.datasets import load as load
    from .data.synthetic import SyntheticSet as SyntheticSet
    from .methods import find as find
    from .networks.training import Teacher as Teacher

_HOMES = {
    "bench.cell": ("Cell", "run", "teach", "distill", "evaluate"),
    "bench.planning": ("plan",),
    "data.datasets": ("load", "ImageData"),
    "data.synthetic": ("SyntheticSet",),
    "methods": ("find",),
    "networks.training": ("Teacher",),
}
__all__ = [
    "Cell",
    "ImageData",
    "SyntheticSet",
    "Teacher",
    "distill",
    "evaluate",
    "find",
    "load",
    "plan",
    "run",
    "teach",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
