"""Say what work would take on a device that is not at hand: the same code runs there, and its operations are counted.

A `Counter` is that device and its clock. Its tensors have shapes, and values only where they are labels, indices or
other whole numbers, so that nothing large is held or computed. Each operation takes the time of its multiplications and
additions, or of the bytes that it reads and writes, or of a start: whichever is the longest. What runs on the CPU takes
no time, and reading files none. Inside the counter `unidd.bench.measuring` reads this clock, and so all of
`unidd plan` does. A number that the code looks at is about 1.
"""

import contextlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils.flop_counter import flop_registry

from .elsewhere import Elsewhere, Far, each, held, tensors

_aten = torch.ops.aten
_PRODUCTS = {  # operation → its multiplications and additions, with those that PyTorch's own counter leaves out
    **flop_registry,
    _aten.addmm_: flop_registry[_aten.addmm],
    _aten.baddbmm_: flop_registry[_aten.baddbmm],
    _aten.mv: lambda matrix, *_, **__: 2 * matrix.numel(),
    _aten.dot: lambda vector, *_, **__: 2 * vector.numel(),
}
_FACTORISATIONS = {
    getattr(_aten, name)
    for name in (
        *("linalg_cholesky_ex", "cholesky_inverse", "cholesky_solve", "linalg_solve_triangular"),
        *("linalg_inv_ex", "_linalg_solve_ex", "linalg_lu_factor_ex", "linalg_lu_solve", "linalg_ldl_factor_ex"),
        *("_linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_qr", "linalg_lstsq", "_linalg_slogdet"),
    )
}
_CPU, _LARGE = torch.device("cpu"), 2**26  # values of a tensor that is not held on the CPU either
_CONVOLUTIONS = {_aten.convolution, _aten._convolution, _aten.convolution_backward}
_CHOOSING = {_aten.index, _aten._unsafe_index, _aten.index_select, _aten.gather, _aten.embedding}  # read few of many
_WHOLE = (torch.int64, torch.int32, torch.bool)  # types that keep their values


@dataclass(frozen=True)
class Device:
    """A device, by assumption.

    Attributes:
        rate: multiplications and additions a second of a convolution, which may round to TensorFloat-32.
        exact: the same of all other products, and of factorisations.
        bandwidth: bytes a second, read and written.
        start: seconds that an operation of PyTorch takes at least.
        factorisation: the same of a matrix factorisation, of an inverse and of an eigendecomposition.
    """

    name: str
    rate: float
    exact: float
    bandwidth: float
    start: float
    factorisation: float


DEVICES = {  # chosen by the times that an H200 took, see benchmarks/count.py
    "h100": Device("one H100", rate=200e12, exact=50e12, bandwidth=3e12, start=35e-6, factorisation=1e-3),
}


class Counter(Elsewhere):
    """Adds up the seconds that work on the device "meta" would take on another; the innermost one is read.

    Attributes:
        seconds: so far.
        looks: how often the code looked at a fraction without a value: no two are the same.
    """

    running: "Counter | None" = None

    def __init__(self, device: Device):
        super().__init__(torch.device("meta"))
        self.assumed, self.seconds, self.looks = device, 0.0, 0
        self._around: Counter | None = None

    def __enter__(self) -> "Counter":
        self._around, Counter.running = Counter.running, self
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        Counter.running = self._around
        super().__exit__(*error)

    def contexts(self) -> list[contextlib.AbstractContextManager]:
        """Return what counts optimisers, and keeps warnings of missing values away."""
        return [self._optimisers(), _no_values()]

    @contextlib.contextmanager
    def _optimisers(self):
        """An optimiser goes through tensors one by one here; a GPU's takes all at once, in the time of one."""
        began = 0.0

        def before(*_: Any) -> None:
            nonlocal began
            began = self.seconds

        def after(optimiser: torch.optim.Optimizer, *_: Any) -> None:
            count = sum(len(group["params"]) for group in optimiser.param_groups)
            self.seconds = began + (self.seconds - began) / count

        hooks = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def plain(self, near: Tensor) -> Tensor:
        """Return ones where there are no values."""
        return torch.ones((), dtype=near.dtype).expand(near.shape) if near.is_meta else near

    def run(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Run an operation on what has values, else on shapes, and add up what it takes there."""
        given = list(tensors((args, kwargs)))
        far = [a for a in given if isinstance(a, Far)]
        target = kwargs.get("device")
        there = self.names(target) if target is not None else any(a.device == self.device for a in far)
        if not (far or there):
            large = not given and args and isinstance(args[0], list) and math.prod(args[0]) > _LARGE
            made = torch.empty(args[0], dtype=kwargs.get("dtype"), device="meta") if large else None
            return func(*args, **kwargs) if made is None else Far(made, self, _CPU)
        known = not any(a.near.is_meta for a in far)
        with torch._C._DisableTorchDispatch():
            found = self._known(func, args, kwargs, there) if known else self._unknown(func, args, kwargs)
        if there and not func.is_view:
            self.seconds += self._takes(func, args, kwargs, found)
        if func is _aten._local_scalar_dense.default or not any(True for _ in tensors(found)):
            return found
        if not there:
            return each(self._here, found)
        found = each(lambda a: Far(a, self), found)
        return return_and_correct_aliasing(func, args, kwargs, found) if far else found

    def _here(self, found: Tensor) -> Tensor:
        """Return what lies on the CPU: random numbers where there are no values, unless that would be large."""
        if not found.is_meta:
            return found
        if found.numel() > _LARGE:
            return Far(found, self, _CPU)
        return torch.rand(found.shape, generator=torch.Generator().manual_seed(0)).to(found.dtype)

    def _known(self, func: Callable, args: tuple, kwargs: dict, there: bool) -> Any:
        """Compute what is made of whole numbers; what becomes a fraction, or pixels, lets go of its values."""
        args, kwargs = each(held, (args, kwargs))
        if "device" in kwargs:
            made = func(*each(_shape, args), **kwargs | {"device": "meta"})
            if made.dtype not in _WHOLE:
                return made
            kwargs["device"] = torch.device("cpu")
        found = func(*args, **kwargs)
        return each(lambda a: a if a.dtype in _WHOLE or not there else _shape(a), found)

    def _takes(self, func: Any, args: tuple, kwargs: dict, found: Any) -> float:
        """Return the seconds of an operation."""
        packet, device = func.overloadpacket, self.assumed
        count = _PRODUCTS.get(packet)
        operations = count(*args, **kwargs, out_val=found) if count else 0
        rate, least = device.rate if packet in _CONVOLUTIONS else device.exact, device.start
        if packet in _FACTORISATIONS:
            operations, least = _cube(args), device.factorisation
        read = args[1:] if packet in _CHOOSING else args
        moved = sum(a.numel() * a.element_size() for a in tensors((read, kwargs, found)))
        return max(operations / rate, moved / device.bandwidth, least)

    def _unknown(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Return what an operation gives of tensors without values: shapes, and 1 where it looks at a number."""
        if func is _aten._local_scalar_dense.default:
            if not args[0].is_floating_point():
                return torch.ones((), dtype=args[0].dtype).item()
            self.looks += 1
            return 1 + 1e-6 * self.looks
        if func in (_aten.equal.default, _aten.is_nonzero.default):
            return True
        if func is _aten._linalg_check_errors.default:
            return None
        if func is _aten.copy_.default and not isinstance(args[0], Far):
            return args[0]
        if func.overloadpacket in _CHOOSING:
            args = args[0], *each(_places, args[1:])
        shapes, kwargs = each(_shape, (args, kwargs))
        if "device" in kwargs:
            kwargs["device"] = torch.device("meta")
        if func._schema.is_mutable and isinstance(args[0], Far):
            args[0].near = shapes[0]
        return func(*shapes, **kwargs)


@contextlib.contextmanager
def _no_values():
    """Say nothing of weights that are read into a network without values."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")
        yield


def _shape(tensor: Tensor) -> Tensor:
    """Return the tensor without its values."""
    near = held(tensor)
    return near if near.is_meta else torch.empty_like(near, device="meta")


def _places(index: Tensor) -> Tensor:
    """Return a mask as the numbers of what it takes, if they are known."""
    near = held(index)
    return index if near.is_meta or near.dtype != torch.bool else near.nonzero().flatten()


def _cube(args: tuple) -> float:
    """Return the multiplications and additions of a factorisation, roughly: n³ of each matrix."""
    matrix = next(tensors(args))
    return matrix.numel() * max(matrix.shape[-2:])
