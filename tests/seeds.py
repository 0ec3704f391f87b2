"""What every seeded function promises."""

from collections.abc import Callable

import torch
from torch import Tensor


def assert_only_the_seed_decides(run: Callable[[int], Tensor]) -> None:
    """The same bits whatever the global generator does, which belongs to the caller; another seed, other bits."""
    torch.manual_seed(1)
    first, state = run(3), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(run(3), first)
    assert not torch.equal(run(4), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state), "the global generator belongs to the caller"
