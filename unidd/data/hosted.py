"""Images too many for a GPU: they stay in main memory, and what is taken of them is copied to the GPU.

A `Hosted` tensor says that it lies on the GPU, so that whoever works with it draws and trains there. Parts of it are
hosted too; some of its images by number are gathered in main memory; any other operation has the part that it is given
copied first.
"""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from .remarks import DataNote

_aten = torch.ops.aten
_SHARE = 0.5  # of the GPU's free memory that images may take: what is done with them needs the rest
_BATCH = 2**30  # bytes that are copied without a look at what is free


class Holding(Tensor):
    """A tensor that says it lies on a device, and holds another: what is done with it goes through its class.

    Attributes:
        near: what it holds.
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


class Hosted(Holding):
    """Images uint8 (n, C, H, W) in main memory, `near`, that say they are on a GPU.

    They share their memory with those they were made of, and cannot be changed.
    """

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation where its result is wanted."""
        kwargs = kwargs or {}
        _refuse_writing(func, args, kwargs)
        images = args[0] if args else None
        if isinstance(images, Hosted):
            if func.is_view:
                with torch.inference_mode(False):
                    found = func(images.near, *args[1:], **kwargs)
                    return tree_map_only(Tensor, lambda part: Hosted(part, images.device), found)
            if func is _aten.index.Tensor:
                numbers = tree_map_only(Tensor, lambda index: index.cpu(), args[1])
                return _copied(images.near[tuple(slice(None) if n is None else n for n in numbers)], images.device)
            if func is _aten._to_copy.default and str(kwargs.get("device")) == "cpu":
                return images.near.to(kwargs.get("dtype") or images.dtype)
        there: Any = tree_map_only(Hosted, lambda hosted: _copied(hosted.near, hosted.device), (args, kwargs))
        return func(*there[0], **there[1])

    def __repr__(self) -> str:
        return f"Hosted({tuple(self.shape)}, device={self.device})"

    def __reduce_ex__(self, protocol: int) -> Any:
        """Return what a copy is made of, and what a pickle keeps."""
        return Hosted, (self.near, self.device)

    def __deepcopy__(self, memo: dict) -> "Hosted":
        return Hosted(copy.deepcopy(self.near, memo), self.device)


def near(images: Tensor) -> Tensor:
    """Return images where they lie: of hosted ones, those in main memory."""
    return images.near if isinstance(images, Hosted) else images


def placed(images: Tensor, device: torch.device) -> Tensor:
    """Return images on a device; in main memory where they would take more than half of a GPU's free memory.

    A `DataNote` says when they stay there.
    """
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())  # as tensors say it that are there
    if images.device == device:
        return images
    images, room = near(images), free(device)
    if images.device.type != "cpu" or room is None or images.nbytes <= _SHARE * room:
        return images.to(device)
    size, left = (f"{number / 1e9:,.1f} GB" for number in (images.nbytes, room))
    why = f"they would take more than half of the {left} that are free on {device}"
    warnings.warn(f"{size} of images stay in main memory, and each batch is copied: {why}", DataNote, stacklevel=4)
    return Hosted(images, device)


def free(device: torch.device) -> int | None:
    """Return the bytes that this process can have of a GPU; None for another device."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, for what comes
    return torch.cuda.mem_get_info(device)[0] + kept


def _copied(images: Tensor, device: torch.device) -> Tensor:
    if images.nbytes > _BATCH and (room := free(device)) is not None and images.nbytes > _SHARE * room:
        size = f"{images.nbytes / 1e9:,.1f} GB"
        raise RuntimeError(f"{size} of images would be copied to {device}: take fewer at once, by a slice or numbers")
    # `images.to(device)`; but within a tensor's own handler PyTorch hands `to` on as it is, and modes do not know it
    return _aten._to_copy.default(images, device=device)


def _refuse_writing(func: Any, args: tuple, kwargs: dict) -> None:
    arguments = func._schema.arguments
    given = {argument.name: value for argument, value in zip(arguments, args, strict=False)} | kwargs
    written = [given.get(each.name) for each in arguments if each.alias_info is not None and each.alias_info.is_write]
    if any(isinstance(leaf, Hosted) for leaf in tree_leaves(written)):
        raise RuntimeError("images that stay in main memory cannot be changed: do it before they are moved")
