"""Several processes, one distillation: each holds a part of every batch, and correlations are summed over all.

Started by `torchrun --nproc-per-node=2 -m unidd distill …`; one process needs nothing of this.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from .statistics import Moments, Total


@dataclass(frozen=True)
class Ranks:
    """This process's number and how many there are; the default is a single process."""

    rank: int = 0
    world: int = 1

    @staticmethod
    def join(device: str) -> "tuple[Ranks, str]":
        """The processes `torchrun` has started, and this one's device; a single process if it has not.

        Raises:
            ValueError: more processes than GPUs.
        """
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return Ranks(), device
        if device == "cuda":
            local = int(os.environ["LOCAL_RANK"])
            if local >= torch.cuda.device_count():
                raise ValueError(f"{world} processes need a GPU each, this machine has {torch.cuda.device_count()}")
            device = f"cuda:{local}"
            torch.cuda.set_device(local)
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return Ranks(dist.get_rank(), world), device

    def leave(self) -> None:
        if self.world > 1:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    @property
    def total(self) -> Total | None:
        """Sum over the processes, in place; None for a single one."""
        return self._sum if self.world > 1 else None

    def _sum(self, tensor: Tensor) -> Tensor:
        dist.all_reduce(tensor)
        return tensor

    def part(self, n: int) -> slice:
        """This process's share of n items, in order; sizes differ by at most one.

        Raises:
            ValueError: there are fewer items than processes.
        """
        if n < self.world:
            raise ValueError(f"a batch of {n} images cannot be shared by {self.world} processes: start fewer")
        return slice(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def gather(self, tensor: Tensor) -> Tensor:
        """The parts (n_i, …) of all processes, in order: (n, …) on each of them."""
        if self.world == 1:
            return tensor
        parts = [None] * self.world
        dist.all_gather_object(parts, tensor.cpu())
        return torch.cat(parts).to(tensor.device)

    def merge(self, statistics: dict[str, Moments]) -> dict[str, Moments]:
        """Moments of every process's share of the real data as one, the same on all processes."""
        if self.world == 1:
            return statistics
        parts = [None] * self.world
        dist.all_gather_object(parts, {layer: moments.to("cpu") for layer, moments in statistics.items()})
        merged, *others = parts
        for other in others:
            merged = {layer: merged[layer].merge(other[layer]) for layer in merged}
        return {layer: moments.to(statistics[layer].mean.device) for layer, moments in merged.items()}

    def from_first(self, work: Callable):
        """`work()` of the first process, on all of them; its error is raised in all of them."""
        if self.world == 1:
            return work()
        found = [None]
        if self.first:
            try:
                found = [work()]
            except (ValueError, OSError) as error:
                found = [error]
        dist.broadcast_object_list(found)
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]
