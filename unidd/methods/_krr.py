"""What the methods of kernel ridge regression share, KIP and FRePo.

A few images with labels of their own, the prototypes s, shall tell kernel ridge regression what many real images t
would tell it:

    P = K_ts (K_ss + λ tr(K_ss)/n I)⁻¹ Y_s,    loss = the mean over real images of ½ ‖P − Y_t‖²

For a kernel of features, K = φφᵀ, it is ridge regression on φ whose β, in units of the FFC, is λ times the mean over
prototypes of ‖φ‖²/n. Kernels and what is solved with them are float64. Chapter: "Every method is a filter".
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..data.datasets import ImageData
from ..engine.descent import Batch, Objective, Start, Step
from ..engine.run import Run
from . import Count, Positive, Whole
from ._descending import Descending


@dataclass(frozen=True)
class KernelRidge(Descending):
    """Descends on all prototypes at once, and on their labels.

    Labels start from the classes of the images, also where a set to start from has soft ones.

    Args:
        steps: updates of the prototypes.
        lr: learning rate, on normalised pixels, and on the labels.
        batch: real images of a step.
        ridge: λ, in units of the mean of K_ss's diagonal.
        net_width: of the ConvNets whose features make a kernel; of the first layer, if they double.
    """

    steps: Count = 1000
    lr: Positive = 1e-3
    batch: Whole = 1000
    ridge: Positive = 1e-6
    net_width: Whole = 128

    acts_as: ClassVar[str] = "1/(λ + β), high-pass, on the class signal of features"
    labels: ClassVar[str] = "learnt"
    needs_teacher: ClassVar[bool] = False
    parallel: ClassVar[bool] = False

    def start(self, data: ImageData, run: Run) -> Start:
        return super().start(data, run).whole()

    def check(self, data: ImageData, run: Run) -> None:
        if data.classes < 2:
            raise ValueError(f"the method {self.name!r} tells classes apart: take classes of {data.name}, at least two")
        super().check(data, run)


class Prototypes(Objective):
    """Labels that are learnt with the images, by the same optimiser at the same rate.

    Args:
        scale: the labels start as those of real images, one-hot less 1/c, times that.
        learn: whether they are learnt; else they stay, and are stored as hard labels alone.

    Attributes:
        soft: the labels (n, classes), float64.
    """

    remedy: ClassVar[str] = "lower lr, or raise ridge"

    def __init__(self, method: KernelRidge, data: ImageData, run: Run, scale: float = 1.0, learn: bool = True):
        self.data, self.descent, self.ridge, self.learn = data, method.descent(data), method.ridge, learn
        start = method.start(data, run)
        self.soft = (scale * self.data.targets(start.labels[start.numbers])).requires_grad_()
        self.optimizer = self.descent.optimizer([self.soft], self.descent.lr)

    @abstractmethod
    def terms(self, x: Tensor, t: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the terms of the loss, of which `x` and `soft` are the leaves."""

    def begin(self, batch: Batch) -> None:
        """Do nothing: all prototypes are one batch."""

    def step(self, x: Tensor, t: int, generator: torch.Generator) -> Step:
        terms = self.terms(x, t, generator)
        loss = torch.stack(list(terms.values())).sum()
        gradient, self.soft.grad = torch.autograd.grad(loss, (x, self.soft), materialize_grads=True)
        if self.learn:
            self.optimizer.param_groups[0]["lr"] = self.descent.lr * self.descent.schedule(t, self.descent.steps)
            self.optimizer.step()
        return Step(terms, gradient)

    def learnt(self) -> dict[str, Any]:
        return {"soft": self.soft.detach(), "soft labels": "centred"} if self.learn else {}

    def state(self) -> dict:
        return {"soft": self.soft.detach(), "labels": self.optimizer.state_dict()}

    def restore(self, state: dict) -> None:
        with torch.no_grad():
            self.soft.copy_(state["soft"])
        self.optimizer.load_state_dict(state["labels"])


def predict(cross: Tensor, own: Tensor, labels: Tensor, ridge: float) -> Tensor:
    """Return what kernel ridge regression predicts (t, classes).

    Args:
        cross, own: kernels K_ts (t, n) and K_ss (n, n).
        labels: Y_s (n, classes).
        ridge: λ.
    Raises:
        torch.linalg.LinAlgError: K_ss has no Cholesky factor.
    """
    raised = own + ridge * own.diagonal().mean() * torch.eye(len(own), dtype=own.dtype, device=own.device)
    return cross @ torch.cholesky_solve(labels, torch.linalg.cholesky(raised))


def half_square(gaps: Tensor) -> Tensor:
    """Return the mean over images of ½ ‖gap‖² (n, classes)."""
    return gaps.square().sum(1).mean() / 2
