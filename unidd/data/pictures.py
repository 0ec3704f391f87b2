"""One picture, read right or refused by name. The rules are the same for files and for what rows of a data set hold.

Depth: 1 bit is 0 and 255, 16 bits become round(v / 257), 32 bits (whole or floating) are refused, having no agreed
range. Transparency is laid on white. Colour: L = 0.299 R + 0.587 G + 0.114 B makes grey, and grey repeated three times
stands in for colour; CMYK is turned into RGB without a colour profile. The orientation of EXIF is applied. Of several
frames the first is taken. A picture that is not square is cropped at the centre, then scaled with antialiasing.
"""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

# Endings, in lower case, of files that are pictures; all others in a data folder are something else.
_READ = (
    ".apng .avif .bmp .dds .dib .gif .ico .j2c .j2k .jfif .jif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pcx "
    ".pgm .png .pnm .ppm .psd .qoi .ras .sgi .tga .tif .tiff .webp .xbm .xpm"
)
_NOT_READ = ".ai .arw .cr2 .cr3 .dng .eps .exr .hdr .heic .heif .jxl .jxr .nef .orf .pfm .raf .rw2 .svg .svgz .wdp .xcf"
ENDINGS = frozenset(f"{_READ} {_NOT_READ}".split())

_GREY = {"1", "L", "LA", "La", "I", "F"}
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # the tag of EXIF


class Header(NamedTuple):
    """What a picture file says of itself: width and height in pixels, and 1 channel (grey) or 3 (colour)."""

    width: int
    height: int
    channels: int


def look(path: Path) -> Header:
    """Return width, height and channels from a file's header; only a picture with a palette is decoded for it.

    Raises:
        ValueError: it cannot be read; the message names the file.
    """
    with _opened(path) as image:
        if image.mode in ("P", "PA"):
            return Header(*image.size, 1 if _flat(image)[0].mode == "L" else 3)
        grey = image.mode in _GREY or image.mode.startswith("I;16") or _stored(image).startswith("LA")
        return Header(*image.size, 1 if grey else 3)


def read(path: Path, size: int | None, channels: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a picture file's pixels, uint8 (channels, size, size), and what was done to them, in words to count.

    Args:
        size, channels: see `pixels`.
    Raises:
        ValueError: it cannot be read; the message names the file.
    """
    with _opened(path) as image:
        return pixels(image, size, channels)


def decode(
    content: bytes, size: int | None = None, channels: int | None = None, name: str = "an encoded picture"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the pixels of an encoded picture, as of a file's content, and what was done to them: see `pixels`.

    Args:
        name: what an error calls it.
    Raises:
        ValueError: it cannot be read.
    """
    with refusing(name), _silenced(), Image.open(io.BytesIO(content), formats=_formats()) as image:
        return pixels(image, size, channels)


def pixels(
    image: Image.Image, size: int | None = None, channels: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the pixels of a PIL image, uint8 (C, H, W), and what was done to them, in words to count.

    Args:
        size: side of the square they are cropped and scaled to; None leaves them as they are.
        channels: 1 (grey) or 3 (colour); None leaves them as they are.
    Raises:
        ValueError: its numbers have no agreed range, or there is no way to these channels.
    """
    if channels not in (None, 1, 3):
        raise _Refused(f"channels must be 1 (grey) or 3 (colour), not {channels}")
    flat, remarks = _flat(image)
    if size is not None:
        flat, done = _square(flat, size)
        remarks += done
    if channels == 1 and flat.mode == "RGB":
        flat, remarks = flat.convert("L"), [*remarks, "colour to grey"]
    if channels == 3 and flat.mode == "L":
        flat, remarks = flat.convert("RGB"), [*remarks, "grey to colour"]
    array = np.asarray(flat)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.array(array, order="C"), tuple(remarks)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with refusing(path), _silenced():
        if not os.path.getsize(path):
            raise _Refused("the file is empty: replace or remove it")
        ending = path.suffix.lower()
        if ending in ENDINGS and Image.registered_extensions().get(ending) not in _formats():
            raise _Refused(f"pictures in the format {ending} are not read here: convert it to PNG, or remove it")
        with Image.open(path, formats=_formats()) as image:
            yield image


class _Refused(ValueError):
    """What we refuse, in whole words."""


@contextmanager
def refusing(what: Path | str) -> Iterator[None]:
    """Turn whatever goes wrong with a picture into one ValueError that names it."""
    try:
        yield
    except _Refused as error:
        raise ValueError(f"{what}: {error}") from None
    except Exception as error:  # of damaged files Pillow raises whatever its parsers happen to meet
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "no picture, or a damaged one"
        reason = reason.splitlines()[0].rstrip(".")
        raise ValueError(f"{what} cannot be read ({reason}): replace or remove it") from None


@contextmanager
def _silenced() -> Iterator[None]:
    """Pillow warns of tags it cannot make sense of, and of pictures half as large as those it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def _formats() -> tuple[str, ...]:
    """The formats that are looked for, whatever a file's ending: those that need no other program to be read."""
    found = {name for ending, name in Image.registered_extensions().items() if ending in ENDINGS}
    return tuple(sorted((found & set(Image.OPEN)) - {"EPS", "WMF", "SVG"}))


def _flat(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """An image in mode L or RGB, upright and without transparency, and what was done for it."""
    remarks = ["first frame"] if getattr(image, "is_animated", False) and image.tell() == 0 else []
    stored = _stored(image)
    turns = [_orientation(image)]
    image.load()
    turns.append(_orientation(image))  # some formats are turned by Pillow as they are read
    if (image.mode == "I" and image.format in ("PPM", "PNG")) or image.mode.startswith("I;16"):
        flat, stored = _sixteen(image), "I;16"
    elif image.mode in ("I", "F"):
        raise _Refused("its numbers have 32 bits, which have no agreed range: convert it to 8 or 16")
    else:
        flat = image
    remarks += ["16-bit"] * (";16" in stored) + ["CMYK"] * (image.mode == "CMYK")
    flat, clear = _on_white(flat)
    flat = flat.convert("L") if stored.startswith("LA") else flat
    remarks += ["transparency on white"] * clear
    if turns[1] in _TURN:
        flat = flat.transpose(_TURN[turns[1]])
    return flat, remarks + ["turned"] * any(turn in _TURN for turn in turns)


def _stored(image: Image.Image) -> str:
    """How a file not yet decoded stores its pixels, as Pillow names it: "RGB;16B"; "" where that is not told."""
    for *_, arguments in getattr(image, "tile", ()):
        mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        return mode if isinstance(mode, str) else ""
    return ""


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF that cannot be parsed says nothing; the pixels are read all the same
        return 1


def _sixteen(image: Image.Image) -> Image.Image:
    """8 of 16 bits, in mode L, or LA where one value stands for transparency."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise _Refused("its numbers have 32 bits, which have no agreed range: convert it to 8 or 16")
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """An image in mode L or RGB, and whether it had transparent parts."""
    clear = False
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        clear = layer.getchannel("A").getextrema()[0] < 255  # pyright: ignore[reportOperatorIssue]  one channel
        flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer).convert("RGB")
    else:
        flat = image.convert("L" if image.mode in _GREY else "RGB")
    if image.mode in _GREY:
        return flat.convert("L"), clear
    if image.mode in ("P", "PA"):  # which colours a palette has is seen when they are used
        colours = flat.getcolors(257) or [(1, (0, 1, 2))]
        if all(r == g == b for _, (r, g, b) in colours):  # pyright: ignore[reportGeneralTypeIssues]  three channels
            return flat.convert("L"), clear
    return flat, clear


def _square(image: Image.Image, size: int) -> tuple[Image.Image, list[str]]:
    side, remarks = min(image.size), []
    if image.size != (side, side):
        left, top = ((length - side) // 2 for length in image.size)
        image, remarks = image.crop((left, top, left + side, top + side)), ["cropped"]
    if side != size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
        remarks.append("scaled" if side > size else "enlarged")
    return image, remarks
