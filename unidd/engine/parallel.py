"""Several processes, one distillation: each holds a part of every batch, and correlations are summed over all.

Started by `torchrun --nproc-per-node=2 -m -- unidd distill …`; one process needs none of this. On GPUs correlations
travel by NCCL, everything else, and everything on CPUs, by Gloo. If a process dies, `torchrun` ends the others and
itself with a non-zero code, and the same command goes on from the last state. Chapter: "Appendix: what a step
costs".
"""

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from ..core.statistics import AllSum, Moments

# The others wait while the first process trains a teacher. A death is noticed at once: the connection closes.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """This process's number and how many there are; the default is a single process.

    All processes must call every method but `slot`, `first` and `leave`.

    Raises:
        ConnectionError: in a collective call, another process has stopped.
    """

    rank: int = 0
    world: int = 1

    @staticmethod
    def join(device: str) -> "tuple[Ranks, str]":
        """Join the processes `torchrun` has started, if it has; return them and this one's device.

        Raises:
            ValueError: the device is neither "cpu" nor "cuda", or there are more processes than GPUs.
        """
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return Ranks(), device
        if device not in ("cpu", "cuda"):
            raise ValueError(f"{world} processes can compute on cpu or on cuda, a GPU each, not on {device!r}")
        if device == "cuda":
            local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if local >= found:
                raise ValueError(f"each process needs a GPU of its own, and this machine has {found}: start fewer")
            device = f"cuda:{local}"
            torch.cuda.set_device(local)
        with _together():
            dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=_PATIENCE)
        return Ranks(dist.get_rank(), world), device

    def leave(self) -> None:
        """Leave the others at the end of a run; not after an error, which they may not know of yet."""
        if self.world > 1:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    @property
    def all_sum(self) -> "AllSum | None":
        """A function that sums a tensor over the processes, in place; None for a single one."""
        return self._sum if self.world > 1 else None

    def _sum(self, tensor: Tensor) -> Tensor:
        with _together():
            dist.all_reduce(tensor)
        return tensor

    def slot(self, n: int) -> slice:
        """Return this process's part of n items, in order; sizes differ by at most one.

        Raises:
            ValueError: there are fewer items than processes.
        """
        if n < self.world:
            raise ValueError(f"a batch of {n} images cannot be shared by {self.world} processes: start fewer")
        return slice(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the parts (n_i, …) of all processes, in order: (n, …) on each of them."""
        return tensor if self.world == 1 else torch.cat(self._all(tensor.cpu())).to(tensor.device)

    def merge(self, statistics: "dict[str, Moments]") -> "dict[str, Moments]":
        """Return the moments of all processes' parts of the real data as one, the same on all processes."""
        if self.world == 1:
            return statistics
        merged, *others = self._all({layer: moments.to("cpu") for layer, moments in statistics.items()})
        for other in others:
            merged = {layer: merged[layer].merge(other[layer]) for layer in merged}
        return {layer: moments.to(statistics[layer].mean.device) for layer, moments in merged.items()}

    def from_first(self, work: Callable):
        """Return `work()` of the first process, on all of them; its ValueError or OSError is raised in all of them."""
        if self.world == 1:
            return work()
        found: list[Any] = [None]
        if self.first:
            try:
                found = [work()]
            except (ValueError, OSError) as error:
                found = [error]
        with _together():
            dist.broadcast_object_list(found)
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def _all(self, thing) -> list:
        """Return the things of all processes, in order."""
        things = [None] * self.world
        with _together():
            dist.all_gather_object(things, thing)
        return things


@contextmanager
def _together():
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(
            f"another process of this run has stopped, its own error says why ({reason}): "
            "the same command goes on from the last state"
        ) from None
