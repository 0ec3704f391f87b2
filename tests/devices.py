"""A device of its own without one: tensors that say they are elsewhere and are computed with here.

On a GPU a tensor left behind on the CPU is an error, and every look at a number makes the CPU wait until the GPU is
done. `Elsewhere` finds both on a machine with no GPU. It is stricter than torch's fake tensors, which let pass copies
that wait, indices on the wrong device, and factorisations that look whether they succeeded. As its tensors have values,
a whole distillation runs there, and has to give the same bits.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

_aten = torch.ops.aten
_INDEXING = ("index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_")
# Operations that look at numbers, beside those that torch has tagged so: the first is how `torch.linalg.cholesky`,
# `inv` and `solve` find out whether they failed; the others do it inside.
_LOOK = ("_linalg_check_errors", "_linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_lstsq")
_TAGS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_NOT_OURS = (__file__, str(Path(torch.__file__).parent))
_autocast = torch.autocast


class Wait(NamedTuple):
    """What the CPU had to wait for: the operation, and the file and function that asked."""

    operation: str
    asked: str


class Elsewhere(contextlib.AbstractContextManager):
    """A device, as a context.

    Args:
        kind: "meta", where all runs but half precision; or "cuda", for code that asks for it: there half precision
            runs too, but gradients are 0, as autograd needs a real GPU.
    Attributes:
        waits: of the CPU, in order; may be emptied.
        operations: names of all that ran there.
    """

    def __init__(self, kind: str):
        self.device = torch.device(kind, 0) if kind == "cuda" else torch.device(kind)
        self.waits: list[Wait] = []
        self.operations: set[str] = set()

    def __enter__(self) -> "Elsewhere":
        self._stack = contextlib.ExitStack()
        conversion = torch.__future__.set_overwrite_module_params_on_conversion  # else a moved parameter is not ours
        conversion(True)
        self._stack.callback(conversion, False)
        for context in (*(_cuda() if self.device.type == "cuda" else _meta()), _Functions(self), _Operations(self)):
            self._stack.enter_context(context)
        return self

    def __exit__(self, *error) -> None:
        self._stack.close()

    def wait(self, operation: str) -> None:
        frame = sys._getframe(1)
        while frame.f_code.co_filename.startswith(_NOT_OURS):
            frame = frame.f_back
        self.waits.append(Wait(operation, f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"))


def _cuda() -> list:
    """Return contexts in which torch looks for no GPU, and takes operations that a CPU has too."""
    found = [(torch.cuda.amp.common, "amp_definitely_not_available", False), (torch.cuda, "is_bf16_supported", True)]
    patches = [mock.patch.object(where, name, lambda *_, answer=answer: answer) for where, name, answer in found]
    return [FakeTensorMode(), torch.backends.cudnn.flags(enabled=False), *patches]


def _meta() -> list:
    """Return a context in which half precision does nothing on "meta", which torch knows none for."""

    def autocast(kind: str, *args, **kwargs):
        return _autocast("cpu" if kind == "meta" else kind, *args, **kwargs)

    return [mock.patch.object(torch, "autocast", autocast)]


class Far(Tensor):
    """A tensor elsewhere; `near` is what it holds."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near: Tensor, place: Elsewhere):
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        self = Tensor._make_wrapper_subclass(cls, near.shape, **layout, device=place.device)
        self.near, self.place = near, place
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        place = next(a for a in _tensors((args, kwargs)) if isinstance(a, Far)).place
        return _run(place, func, args, kwargs)

    def __repr__(self) -> str:
        return f"Far({self.near})"

    def __reduce_ex__(self, protocol: int):  # what is read from a file lies on the CPU
        return self.near.__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict) -> Tensor:
        copied = self.detach().clone()
        return nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied

    def data_ptr(self) -> int:
        return self.near.data_ptr()

    def tolist(self) -> list:
        return self.cpu().tolist()


class _Operations(TorchDispatchMode):
    def __init__(self, place: Elsewhere):
        super().__init__()
        self.place = place

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(self.place, func, args, kwargs or {})


def _run(place: Elsewhere, func: Callable, args: tuple, kwargs: dict):
    """Run an operation on what its tensors hold, after a look at where they are."""
    tensors = list(_tensors((args, kwargs)))
    far, target = any(isinstance(a, Far) for a in tensors), kwargs.get("device")
    there = far if target is None else torch.device(target).type == place.device.type
    if func is _aten.copy_.default:
        there = isinstance(args[0], Far)
    if far or there:
        _look(place, func, args, kwargs, tensors, there)
    with torch._C._DisableTorchDispatch():
        near_args, near_kwargs = _each(lambda a: a.near if isinstance(a, Far) else a, (args, kwargs))
        if target is not None:
            near_kwargs["device"] = torch.device("cpu")
        found = func(*near_args, **near_kwargs)
        if not there:
            return found
        found = _each(lambda a: Far(a, place), found)
        return return_and_correct_aliasing(func, args, kwargs, found) if far else found


def _tensors(thing) -> Iterator[Tensor]:
    """Yield the tensors in what an operation takes, in order."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, tuple | list | dict):
        for part in thing.values() if isinstance(thing, dict) else thing:
            yield from _tensors(part)


def _each(change: Callable[[Tensor], Tensor], thing):
    """Return it with every tensor changed."""
    if isinstance(thing, Tensor):
        return change(thing)
    if isinstance(thing, dict):
        return {name: _each(change, part) for name, part in thing.items()}
    return type(thing)(_each(change, part) for part in thing) if isinstance(thing, tuple | list) else thing


def _look(place: Elsewhere, func: Callable, args: tuple, kwargs: dict, tensors: list[Tensor], there: bool) -> None:
    """Note a wait, and raise a RuntimeError at tensors on two devices."""
    name = func._overloadpacket.__name__
    place.operations.add(name)
    if func in (_aten._to_copy.default, _aten.copy_.default):
        comes = not isinstance(tensors[-1], Far)
        in_time = kwargs.get("non_blocking", len(args) > 2 and args[2])
        if not there or (comes and not in_time):
            place.wait(name)
        return
    generator = kwargs.get("generator")
    if there and generator is not None and generator.device.type != place.device.type:
        raise RuntimeError(f"{name}: random numbers elsewhere from a generator on the CPU")
    if kwargs.get("device") is not None:  # something new, of the shape of what is given
        return
    indexing = name in _INDEXING
    written = args[0] if name.endswith("_") else kwargs.get("out")
    for tensor in tensors:
        if indexing and tensor is not args[0] and not tensor.is_floating_point() and not isinstance(tensor, Far):
            place.wait(f"{name} by indices on the CPU")
        elif not isinstance(tensor, Far) and (tensor.ndim or tensor is written or torch.Tag.pointwise not in func.tags):
            raise RuntimeError(f"{name}: tensors on {place.device} and on the CPU")
    by_mask = indexing and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    if by_mask or name in _LOOK or (_TAGS & set(func.tags) and not indexing):
        place.wait(name)


class _Functions(TorchFunctionMode):
    """What torch does without an operation: tensors of lists, and gradients."""

    _MAKERS: ClassVar = (torch.tensor, torch.as_tensor, Tensor.new_tensor)

    def __init__(self, place: Elsewhere):
        super().__init__()
        self.device = place.device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in self._MAKERS:
            return self._made(func, args, kwargs)
        if func is torch.autograd.grad and self.device.type == "cuda":
            inputs = kwargs["inputs"] if "inputs" in kwargs else args[1]
            return tuple(map(torch.zeros_like, [inputs] if isinstance(inputs, Tensor) else inputs))
        return func(*args, **kwargs)

    def _made(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        """Return a tensor of a list, made on the CPU and copied, as torch does it."""
        if func is Tensor.new_tensor:
            like, *args = args
            kwargs = {"dtype": like.dtype, "device": like.device} | kwargs
        target = kwargs.get("device")
        if target is None or torch.device(target).type != self.device.type:
            return func(*args, **kwargs) if func is not Tensor.new_tensor else torch.tensor(*args, **kwargs)
        return torch.tensor(*args, **kwargs | {"device": "cpu"}).to(self.device)
