"""Gradient matching: DC, and DSA, which is DC under Siamese augmentation.

A ConvNet is drawn and trained on the synthetic images as they are; on its way, these shall give the weights the
gradient that real images give them, class by class:

    L = Σ_k Σ_W Σ_rows 1 − cos(∂CE(real_k)/∂W, ∂CE(x_k)/∂W)

over the weight matrices W of convolutions (out, in · h · w) and of the head (out, in). Biases and the norm's parameters
do not count.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..data.datasets import ImageData
from ..data.siamese import DIGITS, STRATEGY, Siamese
from ..engine.descent import Batch, Objective, Start, Step
from ..engine.run import Run
from ..networks.training import Teacher
from . import Count, Positive, Whole
from ._drawing import Drawing, RealImages, settle
from ._gradients import distance, weight_gradients

# images per class → outer, inner; a number between has those of the one below
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


@dataclass(frozen=True)
class DC(Drawing):
    """Gradient matching: the gradients that real and synthetic images of a class give a network on its way.

    The steps are those of one image per class; the presets of more have the published number, 1000 for each of `outer`.

    Args:
        outer: updates of the images for each network; 0 goes by the images per class, as published for 1, 10, 20, 30,
            40 and 50 of them. A number between has the loops of the one below; the released code refuses it.
        inner: epochs the network is trained on the images between two updates; 0 goes by the images per class.
        inner_lr: rate of that training, by plain SGD.
        inner_batch: synthetic images of a step of that training.
        init: what the images start from: "noise", clipped to valid pixels, or "real" images.
    """

    strategy: str = "none"
    outer: Count = 0
    inner: Count = 0
    inner_lr: Positive = 0.01
    inner_batch: Whole = 256
    init: Literal["noise", "real"] = "noise"

    source: ClassVar[str] = "Zhao, Mopuri & Bilen, Dataset Condensation with Gradient Matching, ICLR 2021"
    acts_as: ClassVar[str] = "λ, low-pass, and all-pass on the class signal, as an upper bound"
    presets_source: ClassVar[str] = "the released code, utils.py, get_loops"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"ipc1": {}} | {
        f"ipc{ipc}": {"steps": 1000 * outer, "outer": outer, "inner": inner}
        for ipc, (outer, inner) in LOOPS.items()
        if ipc > 1
    }

    def settled(self, data: ImageData, ipc: int | None = None) -> Self:
        outer, inner = LOOPS[max(known for known in LOOPS if known <= ipc)] if ipc else (self.outer, self.inner)
        return replace(self, outer=self.outer or outer, inner=self.inner or inner)

    def start(self, data: ImageData, run: Run) -> Start:
        start = super().start(data, run)
        return start.noise(data, run.seed) if self.init == "noise" else start

    def objective(self, data: ImageData, teacher: Teacher, run: Run) -> "GradientMatching":
        return GradientMatching(self.settled(data, run.ipc), data, run)


@dataclass(frozen=True)
class DSA(DC):
    """Gradient matching under Siamese augmentation, from real images."""

    strategy: str = STRATEGY
    init: Literal["noise", "real"] = "real"

    source: ClassVar[str] = "Zhao & Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021"
    presets_source: ClassVar[str] = f"{DC.presets_source}; its readme for the operations of MNIST"
    presets: ClassVar[dict[str, dict[str, Any]]] = DC.presets | {
        f"mnist-{name}": found | {"strategy": DIGITS} for name, found in DC.presets.items()
    }


class GradientMatching(Objective):
    """The loss of DC and its gradient, class by class; it carries the network from step to step.

    The distance is differentiated in the synthetic gradient, and that gradient in the pixels, so that processes share a
    sum of gradients and no graph.
    """

    def __init__(self, method: DC, data: ImageData, run: Run):
        self.method, self.data, self.ranks = method, data, run.ranks
        self.siamese, self.real = Siamese(method.strategy), RealImages(data, method.batch)
        self.network: nn.Module | None = None

    def begin(self, batch: Batch) -> None:
        self.labels, self.all_labels = batch.labels, self.ranks.gather(batch.labels)
        self.counts = torch.bincount(self.all_labels, minlength=self.data.classes).tolist()

    def step(self, x: Tensor, t: int, generator: Generator) -> Step:
        if t % self.method.outer == 0 or self.network is None:
            self.network = self.method.drawn(self.data, generator).to(x.dtype)
        else:
            self._train(self.network.train(), self.ranks.gather(x.detach()), generator)
        settle(self.network, self.real, generator)
        gradient, loss = torch.zeros_like(x), x.new_zeros(())
        for k in range(self.data.classes):
            view, own = self.siamese.draw(generator), (self.labels == k).nonzero().flatten()
            goal = weight_gradients(self.network, view(self.real.of(k, generator).to(x)), k)
            part = x.detach()[own].requires_grad_()
            found = weight_gradients(self.network, view(part), k, self.counts[k], graph=True) if len(own) else None
            shared = [torch.zeros_like(g) if found is None else found[i].detach().clone() for i, g in enumerate(goal)]
            for each in shared:
                if self.ranks.all_sum:
                    self.ranks.all_sum(each)
                each.requires_grad_()
            apart = distance(goal, shared)
            loss += apart.detach()
            if found is not None:
                (gradient[own],) = torch.autograd.grad(found, part, torch.autograd.grad(apart, shared))
        return Step({"gradients": loss}, gradient)

    def _train(self, network: nn.Module, images: Tensor, generator: Generator) -> None:
        """Train the network on the synthetic images, each augmented for itself."""
        method, parameters = self.method, list(network.parameters())
        for _ in range(method.inner):
            for numbers in torch.randperm(len(images), generator=generator).to(images.device).split(method.inner_batch):
                view = self.siamese.draw(generator, len(numbers))
                loss = F.cross_entropy(network(view(images[numbers])), self.all_labels[numbers])
                with torch.no_grad():
                    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                        parameter -= method.inner_lr * slope

    def state(self) -> dict:
        return {"network": self.network and self.network.state_dict()}

    def restore(self, state: dict) -> None:
        self.network = None
        if state["network"] is not None:
            self.network = self.method.drawn(self.data, Generator())
            self.network.to(next(iter(state["network"].values())).dtype).load_state_dict(state["network"])
