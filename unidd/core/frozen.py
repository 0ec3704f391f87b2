"""A network that is used and not changed, and its answers for more images than it takes at once."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Give a network in eval mode, no parameter of which asks for a gradient; afterwards all is as it was.

    >>> net = nn.Linear(2, 1).train()
    >>> with frozen(net):
    ...     net.training, net.weight.requires_grad
    (False, False)
    >>> net.training, net.weight.requires_grad
    (True, True)
    """
    training = [module for module in model.modules() if module.training]
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for module in training:
            module.training = False
        for parameter in asking:
            parameter.requires_grad_(False)
        yield model
    finally:
        for module in training:
            module.training = True
        for parameter in asking:
            parameter.requires_grad_()


def joined(batches: Iterable[tuple[Tensor, ...]], count: int) -> list[Tensor]:
    """Join what comes in batches to tensors (count, …), each batch written to its place before the next is worked out.

    Kept apart, small answers lie between the large activations that are freed around them, whose memory the allocator
    of a CPU may then never use again.

    >>> import torch
    >>> joined(((torch.full((2,), k), torch.ones(2, 3)) for k in range(2)), 4)[0]
    tensor([0, 0, 1, 1])

    Raises:
        ValueError: another number of rows came.
    """
    whole, done = [], 0
    for batch in batches:
        whole = whole or [part.new_empty(count, *part.shape[1:]) for part in batch]
        first, done = done, done + len(batch[0])
        if done > count:
            break
        for into, part in zip(whole, batch, strict=True):
            into[first:done] = part
    if done != count:
        raise ValueError(f"{count} rows were to be joined, not {done}")
    return whole
