"""Say what work would take on a device that is not at hand: its operations are counted while the same code runs small.

A `Counter` is a clock of that device. Each operation of PyTorch takes what its multiplications and additions do at an
assumed rate, and at least an assumed time; inside the counter `unidd.bench.measuring` reads this clock, and so all of
`unidd plan` does. Networks are narrower than they are to be, or images smaller: what the multiplications take is scaled
by the operations of a forward pass. It is an estimate, within a factor of two or three: what only moves memory takes
the least time, a norm counts as a factorisation, products in place count as one operation, and where code goes another
way on a CPU, as the parts of DC's batches and the steps of an optimiser do, that way is counted. FRePo's kernels grow
less with the width than the scale says. Reading files is not counted.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry


@dataclass(frozen=True)
class Device:
    """A device, by assumption.

    Attributes:
        rate: operations a second.
        kernel: the least seconds that an operation of PyTorch takes.
        factorisation: the same of a matrix factorisation, of an inverse and of an eigendecomposition.
    """

    name: str
    rate: float
    kernel: float
    factorisation: float


DEVICES = {"h100": Device("one H100", rate=30e12, kernel=10e-6, factorisation=0.5e-3)}


class Counter(TorchDispatchMode):
    """Adds up the seconds that all PyTorch does inside it would take on a device; the innermost one is read.

    Args:
        scale: multiplications and additions there are to be, for one that is done here.
    """

    running: "Counter | None" = None

    def __init__(self, device: Device, scale: float = 1.0):
        super().__init__()
        self.device, self.scale, self.seconds = device, scale, 0.0
        self._around: Counter | None = None

    def __enter__(self) -> "Counter":
        self._around, Counter.running = Counter.running, self
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        Counter.running = self._around
        super().__exit__(*raised)

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            count = flop_registry.get(func.overloadpacket)
            operations = count(*args, **(kwargs or {}), out_val=out) if count else 0
            least = self.device.factorisation if "linalg" in str(func) else self.device.kernel
            self.seconds += max(self.scale * operations / self.device.rate, least)
        return out


def forward_operations(network: nn.Module, channels: int, size: int) -> int:
    """Return the multiplications and additions of an image's pass through a network, which computes nothing here."""
    network = deepcopy(network).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, channels, size, size, device="meta"))
    return counter.get_total_flops()


def plain_pass(network: nn.Module, channels: int, size: int, batch: int, device: Device) -> float:
    """Return the seconds by count of a batch's pass through a network and back to its pixels."""
    network = deepcopy(network).to("meta").eval().requires_grad_(False)
    images = torch.empty(batch, channels, size, size, device="meta", requires_grad=True)
    with Counter(device) as counter:
        network(images).logsumexp(1).mean().backward()
    return counter.seconds
