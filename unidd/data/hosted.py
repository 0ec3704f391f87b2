"""Images too many for a GPU: they stay with the host, and what is taken of them is copied to the GPU.

A `Hosted` tensor says that it lies on the GPU, so that whoever works with it draws and trains there. Parts of it are
hosted too; some of its images by number are gathered by the host; any other operation has the whole copied first.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

_aten = torch.ops.aten
_SHARE = 0.5  # of the GPU's free memory that images may take: what is done with them needs the rest


class Hosted(Tensor):
    """Images uint8 (n, C, H, W) that the host keeps.

    Attributes:
        near: the same images, on the CPU.
    """

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor, device: torch.device):
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        self = Tensor._make_wrapper_subclass(cls, near.shape, **layout, device=device)
        self.near = near
        return self

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return torch._C._disabled_torch_function_impl(func, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation where its result is wanted."""
        kwargs = kwargs or {}
        _refuse_writing(func, args)
        images = args[0]
        if isinstance(images, Hosted):
            if _is_view(func):
                found = func(images.near, *args[1:], **kwargs)
                return tree_map_only(Tensor, lambda part: Hosted(part, images.device), found)
            if func is _aten.index.Tensor:
                numbers = tree_map_only(Tensor, lambda index: index.cpu(), args[1])
                return _copied(images.near[tuple(slice(None) if n is None else n for n in numbers)], images.device)
            if func is _aten._to_copy.default and _on_the_cpu(kwargs.get("device")):
                return images.near.to(kwargs.get("dtype") or images.dtype)
        there: Any = tree_map_only(Hosted, lambda hosted: _copied(hosted.near, hosted.device), (args, kwargs))
        return func(*there[0], **there[1])

    def __repr__(self) -> str:
        return f"Hosted({tuple(self.shape)}, device={self.device})"

    def __reduce_ex__(self, protocol: int) -> Any:
        """Return what a pickle keeps: the images, which lie on the CPU when they are read."""
        return self.near.__reduce_ex__(protocol)


def placed(images: Tensor, device: torch.device, tell: Callable[[str], Any]) -> Tensor:
    """Return images on a device; on the host where they would take more than half of the GPU's free memory.

    Args:
        images: on the CPU.
        tell: is told when they stay with the host.
    """
    room = free(device)
    if images.device.type != "cpu" or room is None or images.numel() <= _SHARE * room:
        return images.to(device)
    tell(f"{images.numel() / 1e9:,.1f} GB of images stay in main memory: {device} has {room / 1e9:,.1f} GB left")
    return Hosted(images, device)


def free(device: torch.device) -> int | None:
    """Return the bytes that are free on a GPU; None for another device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _copied(images: Tensor, device: torch.device) -> Tensor:
    # what `.to` does; it is not taken apart where an operation of a tensor's own calls it
    return _aten._to_copy.default(images, device=device)


def _is_view(func: Any) -> bool:
    """Return whether an operation gives parts of what it is given, and no copy."""
    alias = func._schema.returns[0].alias_info if func._schema.returns else None
    return alias is not None and not alias.is_write


def _on_the_cpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cpu"


def _refuse_writing(func: Any, args: tuple) -> None:
    for argument, given in zip(func._schema.arguments, args, strict=False):
        if isinstance(given, Hosted) and argument.alias_info is not None and argument.alias_info.is_write:
            raise RuntimeError("images that the host keeps cannot be changed: change them before they are moved")
    return None
