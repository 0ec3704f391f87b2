"""Half precision of the network: gradients that neither vanish in float16 nor overflow it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..core.statistics import AllSum

_MOST, _RISE, _FALL = 2.0**16, 2.0, 16.0  # powers of two round nothing


def half_precision(precision: str) -> torch.dtype | None:
    """Return the type of the network under autocast; None without."""
    return getattr(torch, precision) if precision in ("bfloat16", "float16") else None


@dataclass
class LossScale:
    """A factor of the loss on its way back, undone in the gradient; 1 but for float16, whose range is small.

    Whether a gradient overflowed is looked at now and then, so that no step waits for the device; until then its
    infinite entries count as 0.

    Attributes:
        overflow: number of steps since the last look with an infinite entry, a scalar on the device.
    Source: Micikevicius et al. (2018), dynamic loss scaling.
    """

    half: torch.dtype | None
    factor: float = 1.0
    overflow: Tensor = field(default_factory=lambda: torch.zeros(()))

    @staticmethod
    def of(half: torch.dtype | None, device: str | torch.device) -> "LossScale":
        return LossScale(half, 1024.0 if half is torch.float16 else 1.0, torch.zeros((), device=device))

    def clean(self, gradient: Tensor) -> Tensor:
        """Remove infinite entries from the gradient of a step, in place, and return it."""
        if self.half is torch.float16:
            infinite = gradient.isfinite().logical_not_()
            self.overflow += infinite.any()
            gradient.masked_fill_(infinite, 0)
        return gradient

    def adapt(self, all_sum: "AllSum | None") -> None:
        """Lower the factor if a gradient of any process has overflowed since the last look, else raise it."""
        if self.half is torch.float16:
            overflow = all_sum(self.overflow) if all_sum else self.overflow
            self.factor = self.factor / _FALL if overflow > 0 else min(self.factor * _RISE, _MOST)
            self.overflow.zero_()

    def state(self, all_sum: "AllSum | None") -> tuple[float, float]:
        """Return what `restore` takes."""
        overflow = all_sum(self.overflow.clone()) if all_sum and self.half is torch.float16 else self.overflow
        return self.factor, float(overflow)

    def restore(self, state: tuple[float, float]) -> None:
        self.factor = state[0]
        self.overflow.fill_(state[1])
