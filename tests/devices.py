"""A device of its own without one: tensors that say they are elsewhere and are computed with here.

On a GPU a tensor left behind on the CPU is an error, and every look at a number makes the CPU wait until the GPU is
done. `Elsewhere` finds both on a machine with no GPU. It is stricter than torch's fake tensors, which let pass copies
that wait, indices on the wrong device, and factorisations that look whether they succeeded. As its tensors have values,
a whole distillation runs there, and has to give the same bits.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing

from unidd.bench import elsewhere
from unidd.bench.elsewhere import Far, each, held, tensors
from unidd.data import hosted

_aten = torch.ops.aten
_INDEXING = ("index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_")
# Operations that look at numbers, beside those that torch has tagged so: the first is how `torch.linalg.cholesky`,
# `inv` and `solve` find out whether they failed; the others do it inside.
_LOOK = ("_linalg_check_errors", "_linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_lstsq")
_TAGS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_NOT_OURS = (__file__, elsewhere.__file__, hosted.__file__, str(Path(torch.__file__).parent))


class Wait(NamedTuple):
    """What the CPU had to wait for: the operation, and the file and function that asked."""

    operation: str
    asked: str


class Elsewhere(elsewhere.Elsewhere):
    """A device, as a context.

    Args:
        kind: "meta", where all runs but half precision; or "cuda", for code that asks for it: there half precision
            runs too, but gradients are 0, as autograd needs a real GPU.
    Attributes:
        waits: of the CPU, in order; may be emptied.
        operations: names of all that ran there.
    """

    def __init__(self, kind: str):
        super().__init__(torch.device(kind, 0) if kind == "cuda" else torch.device(kind))
        self.waits: list[Wait] = []
        self.operations: set[str] = set()

    def contexts(self) -> list:
        return [*_cuda(), _NoGradients()] if self.device.type == "cuda" else []

    def run(self, func: Callable, args: tuple, kwargs: dict):
        """Run an operation on what its tensors hold, after a look at where they are."""
        given = list(tensors((args, kwargs)))
        far, target = any(isinstance(a, Far) for a in given), kwargs.get("device")
        there = far if target is None else self.names(target)
        if func is _aten.copy_.default:
            there = isinstance(args[0], Far)
        if far or there:
            _look(self, func, args, kwargs, given, there)
        with torch._C._DisableTorchDispatch():
            near_args, near_kwargs = each(held, (args, kwargs))
            if target is not None:
                near_kwargs["device"] = torch.device("cpu")
            found = func(*near_args, **near_kwargs)
            if not there:
                return found
            found = each(lambda a: Far(a, self), found)
            return return_and_correct_aliasing(func, args, kwargs, found) if far else found

    def wait(self, operation: str) -> None:
        frame = sys._getframe(1)
        while frame.f_code.co_filename.startswith(_NOT_OURS):
            frame = frame.f_back
        self.waits.append(Wait(operation, f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"))


def _cuda() -> list:
    """Return contexts in which torch looks for no GPU, and takes operations that a CPU has too."""
    found = [
        (torch.cuda.amp.common, "amp_definitely_not_available", False),
        (torch.cuda, "is_bf16_supported", True),
        (torch.cuda, "current_device", 0),
        (hosted, "free", None),
    ]
    patches = [mock.patch.object(where, name, lambda *_, answer=answer: answer) for where, name, answer in found]
    return [FakeTensorMode(), torch.backends.cudnn.flags(enabled=False), *patches]


def _look(place: Elsewhere, func: Callable, args: tuple, kwargs: dict, given: list[Tensor], there: bool) -> None:
    """Note a wait, and raise a RuntimeError at tensors on two devices."""
    name = func._overloadpacket.__name__
    place.operations.add(name)
    if func in (_aten._to_copy.default, _aten.copy_.default):
        comes = not isinstance(given[-1], Far)
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
    for tensor in given:
        if indexing and tensor is not args[0] and not tensor.is_floating_point() and not isinstance(tensor, Far):
            place.wait(f"{name} by indices on the CPU")
        elif not isinstance(tensor, Far) and (tensor.ndim or tensor is written or torch.Tag.pointwise not in func.tags):
            raise RuntimeError(f"{name}: tensors on {place.device} and on the CPU")
    by_mask = indexing and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    if by_mask or name in _LOOK or (_TAGS & set(func.tags) and not indexing):
        place.wait(name)


class _NoGradients(TorchFunctionMode):
    """Gives gradients of 0, for which torch needs no GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.autograd.grad:
            inputs = kwargs["inputs"] if "inputs" in kwargs else args[1]
            return tuple(map(torch.zeros_like, [inputs] if isinstance(inputs, Tensor) else inputs))
        return func(*args, **kwargs)
