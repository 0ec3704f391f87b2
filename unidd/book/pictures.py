"""Photographs as overlapping patches, and pictures small enough for a page.

Source: the chapters "Correlation matrices and their spectrum" and "A zoo of filters".
"""

import base64
import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..core.spectra import spectrum
from ..core.statistics import covariance
from ..data.datasets import PHOTOS
from ..data.grids import grid
from .rounding import significant


def photograph(name: str = "camera", size: int = 128) -> Tensor:
    """One of the photographs of `photos` that scikit-image ships, grey: its middle square, (size, size) in [0, 1].

    Raises:
        ValueError: no such photograph.
    """
    import skimage

    if name not in PHOTOS:
        raise ValueError(f"unknown photograph {name!r}: choose one of {', '.join(PHOTOS)}")
    image = getattr(skimage.data, name)()
    grey = skimage.color.rgb2gray(image[..., :3]) if image.ndim == 3 else skimage.util.img_as_float(image)
    side = min(grey.shape)
    top, left = ((length - side) // 2 for length in grey.shape)
    square = grey[top : top + side, left : left + side]
    return torch.from_numpy(skimage.transform.resize(square, (size, size), anti_aliasing=True)).double().clamp(0, 1)


def patches(picture: Tensor, side: int = 8, stride: int | None = None) -> Tensor:
    """Overlapping patches of a picture (n, n), brought to mean 0 and variance 1: (patches, side²), rows of pixels.

    Args:
        side: of a patch, in pixels.
        stride: from a patch to the next; by default half a side.
    """
    standard = (picture.double() - picture.double().mean()) / picture.double().std(correction=0)
    return F.unfold(standard[None, None], side, stride=stride or side // 2)[0].T


def packed(picture: Tensor, ffc: Tensor | None) -> tuple[dict, list[float], Tensor]:
    """State of a picture for the page, eigenvalues (d,), and the basis (d, d) of its patches.

    Pixels are bytes and the basis is float64: 66 kB for 128 × 128 pixels and 64 directions.
    """
    side = 8 if ffc is None else math.isqrt(len(ffc))
    if picture.ndim != 2 or picture.shape[0] != picture.shape[1] or len(picture) % (side // 2 or 1):
        raise ValueError(f"a picture must be (n, n), n a multiple of half a patch, not {tuple(picture.shape)}")
    if ffc is not None and (ffc.shape != (side**2, side**2) or side % 2):
        raise ValueError(f"the FFC of square patches is (d, d), d = 4, 16, 36, 64, …, not {tuple(ffc.shape)}")
    pixels = (picture.double() * 255).round().clamp(0, 255)
    if not float(pixels.std(correction=0)) > 0:
        raise ValueError("the picture is of one grey: it has no contrast to filter")
    found = spectrum(covariance(patches(pixels / 255, side)) if ffc is None else ffc)
    pack = {"pixels": pixels.byte(), "basis": found.basis.T.contiguous()}
    coded = {name: base64.b64encode(values.numpy().tobytes()).decode() for name, values in pack.items()}
    return {"size": len(picture), "side": side, "stride": side // 2, **coded}, digits(found.eigenvalues), found.basis


def unpacked(state: dict) -> tuple[Tensor, Tensor]:
    """Return the picture (n, n), grey in [0, 1], and the basis (d, d), a direction a column, of a state by `packed`."""
    pixels, basis = (base64.b64decode(state[name]) for name in ("pixels", "basis"))
    picture = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).double() / 255
    directions = torch.frombuffer(bytearray(basis), dtype=torch.float64).reshape(state["side"] ** 2, -1)
    return picture.reshape(state["size"], -1), directions.T


def weighed(picture: Tensor, basis: Tensor, weights: Tensor) -> Tensor:
    """Return the standardised picture (n, n) with each eigendirection of its patches weighed, overlaps averaged.

    Args:
        picture: (n, n).
        basis: (d, d), a direction a column.
        weights: (d,), such as f(λ).
    """
    side = math.isqrt(len(basis))
    columns = (basis * weights) @ basis.T @ patches(picture, side).T
    total, count = (
        F.fold(x[None], (len(picture),) * 2, side, stride=side // 2)[0, 0] for x in (columns, torch.ones_like(columns))
    )
    return total / count


def sheet(images: Tensor, columns: int) -> tuple[str, list[int]]:
    """Images (n, C, H, W) in rows, a gap of two pixels between them: a data URI, and its width and height."""
    canvas = grid(images, columns)
    return data_uri(canvas), [canvas.shape[2], canvas.shape[1]]


def tiles(strip: bytes) -> Tensor:
    """Return the images (n, 3, s, s), in [0, 1], of a picture file that has square ones side by side."""
    pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(strip)).convert("RGB"))).float() / 255
    return torch.stack(pixels.permute(2, 0, 1).split(len(pixels), 2))


def data_uri(canvas: Tensor) -> str:
    """A picture (4, H, W), RGBA in [0, 1], as a data URI: lossless if that is small, else light for a page of many."""
    lossless = encoded(canvas, "png", optimize=True)
    return lossless if len(lossless) < 80_000 else encoded(canvas, "webp", quality=90, method=6)


def encoded(canvas: Tensor, form: str, **options) -> str:
    """A picture (4, H, W), RGBA in [0, 1], as a data URI of that format; options are those of Pillow."""
    buffer = io.BytesIO()
    Image.fromarray((canvas.permute(1, 2, 0) * 255).round().byte().numpy(), "RGBA").save(buffer, form, **options)
    return uri(buffer.getvalue(), form)


def uri(picture: bytes, form: str) -> str:
    """The content of a picture file of that format as a data URI."""
    return f"data:image/{form};base64,{base64.b64encode(picture).decode()}"


def lighter(picture: bytes, quality: int = 70) -> str:
    """A picture file, such as a lossless one, as a data URI that is light enough for a page of many (WebP)."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(buffer, "webp", quality=quality, method=6)
    return uri(buffer.getvalue(), "webp")


def size_of(uri: str) -> tuple[int, int]:
    """Return width and height, in pixels, of a picture as a data URI.

    Raises:
        ValueError: it is none.
    """
    if not uri.startswith("data:image/") or ";base64," not in uri:
        raise ValueError(f"a picture for a page must be a data URI, as `sheet` makes, not {uri[:40]!r}")
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).size


def digits(values: Tensor | list[float]) -> list[float]:
    """Nine significant digits, largest first; a rounding error below 0 counts as 0."""
    values = values.tolist() if isinstance(values, Tensor) else values
    return sorted((0.0 if -1e-6 <= v <= 0 else significant(v, 9) for v in values), reverse=True)
