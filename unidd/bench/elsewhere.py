"""Tensors of a device that is not there: what PyTorch does with them goes through one function instead.

`Elsewhere` is that device, as a context. Its tensors are `Far`: they say that they lie on it, and hold a tensor that is
near, of which a subclass decides what becomes: `unidd.bench.counted` lets go of values and counts; tests keep them and
look where the CPU waits.
"""

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..data.hosted import Holding, Hosted


class Far(Holding):
    """A tensor elsewhere; `near` is what it holds."""

    place: "Elsewhere"

    @staticmethod
    def __new__(cls, near: Tensor, place: "Elsewhere", device: torch.device | None = None):
        self = Holding.__new__(cls, near, device or place.device)
        self.place = place
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        place = next(a for a in tensors((args, kwargs)) if isinstance(a, Far)).place
        return place.run(func, args, kwargs)

    def __repr__(self) -> str:
        return f"Far({self.near})"

    def __reduce_ex__(self, protocol: int):  # what is read from a file lies on the CPU
        return self.place.plain(self.near).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict) -> Tensor:
        copied = self.detach().clone()
        return nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied

    def data_ptr(self) -> int:
        """Return where what it holds lies."""
        return self.near.data_ptr()

    def tolist(self) -> Any:
        """Return its numbers, copied to the CPU first."""
        return self.place.plain(held(self.cpu())).tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Return its numbers as an array."""
        return self.place.plain(self.near).contiguous().numpy(force=force)


class Elsewhere(contextlib.AbstractContextManager):
    """A device, as a context.

    Args:
        device: which its tensors say; "meta" is one that autograd knows.
    """

    def __init__(self, device: torch.device):
        self.device = device

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        conversion = torch.__future__.set_overwrite_module_params_on_conversion  # else a moved parameter is not ours
        conversion(True)
        self._stack.callback(conversion, False)
        half = [_float32()] if self.device.type == "meta" else []
        for context in (*half, *self.contexts(), _Makers(self), _Operations(self)):
            self._stack.enter_context(context)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def contexts(self) -> list[contextlib.AbstractContextManager]:
        """Return what else is entered, first."""
        return []

    @abstractmethod
    def run(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Run an operation of PyTorch's dispatcher."""

    def plain(self, near: Tensor) -> Tensor:
        """Return what is written to a file, or listed, of what a far tensor holds."""
        return near

    def names(self, target: Any) -> bool:
        """Return whether a `device=…` names this one."""
        return target is not None and torch.device(target).type == self.device.type


@contextlib.contextmanager
def _float32():
    """Let half precision do nothing on "meta", which torch knows none for."""
    known = torch.autocast

    def autocast(kind: str, *args: Any, **kwargs: Any):
        return known("cpu" if kind == "meta" else kind, *args, **kwargs)

    torch.autocast = autocast
    try:
        yield
    finally:
        torch.autocast = known


class _Operations(TorchDispatchMode):
    def __init__(self, place: Elsewhere):
        super().__init__()
        self.place = place

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(isinstance(given, Hosted) for given in tensors((args, kwargs))):
            return NotImplemented  # it says itself what becomes of it
        return self.place.run(func, args, kwargs or {})


class _Makers(TorchFunctionMode):
    """Makes tensors of lists on the CPU and copies them, as torch does without an operation."""

    _MAKERS: ClassVar = (torch.tensor, torch.as_tensor, Tensor.new_tensor)

    def __init__(self, place: Elsewhere):
        super().__init__()
        self.place = place

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func not in self._MAKERS:
            return func(*args, **kwargs)
        if func is Tensor.new_tensor:
            like, *args = args
            kwargs = {"dtype": like.dtype, "device": like.device} | kwargs
            func = torch.tensor
        if not self.place.names(kwargs.get("device")):
            return func(*args, **kwargs)
        return torch.tensor(*args, **kwargs | {"device": "cpu"}).to(self.place.device)


def tensors(thing: Any) -> Iterator[Tensor]:
    """Yield the tensors in what an operation takes, in order."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, tuple | list | dict):
        for part in thing.values() if isinstance(thing, dict) else thing:
            yield from tensors(part)


def held(tensor: Tensor) -> Tensor:
    """Return what a far tensor holds; another as it is."""
    return tensor.near if isinstance(tensor, Far) else tensor


def each(change: Callable[[Tensor], Tensor], thing: Any) -> Any:
    """Return it with every tensor changed."""
    if isinstance(thing, Tensor):
        return change(thing)
    if isinstance(thing, dict):
        return {name: each(change, part) for name, part in thing.items()}
    return type(thing)(each(change, part) for part in thing) if isinstance(thing, tuple | list) else thing
