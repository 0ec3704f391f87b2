"""UniDD: dataset distillation understood, and done, through spectral filters.

A map of the modules; each imports only from those above it:

    filters       f(λ) on the spectrum of the FFC: all-pass, linear, ridge, residual, Landweber, band-pass, polynomial
    schedules     β over the rounds of a distillation, absolute or relative to a layer's spectrum
    datasets      images by name, from a folder, or from any torch Dataset
    models        ConvNet, ResNet-18 for small images, torchvision models; which layers are matched
    augment       crop, flip, roll and CutMix for whole batches
    results       records of runs as JSON, their provenance, and the table made from them
    statistics    FFC and FLC of a network's layers, streaming; the moving update
    objectives    the filter and the signal term
    training      the one training loop, and the store of teachers
    synthetic     a distilled set with everything it depends on
    ridge         distances of ridge-filtered layers and their derivatives, in closed form
    matching      one step of the engine: real side, moving update, loss and image gradient
    precision     half precision of the network
    settings      what a distillation is told
    parallel      several processes, one distillation
    store         states of runs and statistics on disk
    realside      one pass over the real images, shared and kept
    distillation  the engine: CFM and its variants
    evaluation    students, hard and soft labels
    analysis      spectra, what filters do to them, power spectra and diversity of images
    configs       recipes, budgets, and one cell of a results table
    machine       memory there is and memory taken; times and sizes in words
    measuring     what the parts of a run take here, from a few steps of each
    planning      time, memory and disk of a run before it starts
    plots         figures
    pictures      photographs as patches, and pictures small enough for a page
    widgets       explorers
    cli           the command `unidd`
"""
