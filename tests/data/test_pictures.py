"""A picture file of any kind gives its own pixels by one rule, or one error that names it."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from unidd.data.pictures import ENDINGS, decode, look, pixels, read

RNG = np.random.default_rng(11)
COLOUR = RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
WRITTEN = [
    ".png",
    ".bmp",
    ".tif",
    ".webp",
    ".jp2",
    ".ppm",
    ".tga",
    ".pcx",
    ".sgi",
    ".qoi",
    ".gif",
    ".avif",
    ".ico",
    ".jpg",
]
LOSSLESS = {".webp": {"lossless": True}, ".tif": {"compression": "tiff_lzw"}}
LOSSY = {".jpg": {"quality": 100, "subsampling": 0}, ".avif": {"quality": 100, "subsampling": "4:4:4"}}


def save(path, array, mode=None, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def png(path, samples: np.ndarray, colour: int, depth: int, before: bytes = b"", after: bytes = b"") -> None:
    """A PNG by hand: samples (height, width × channels), of so many bits, big-endian."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    lines = [line.astype(">u2" if depth == 16 else np.uint8).tobytes() for line in samples]
    header = struct.pack(">IIBBBBB", samples.shape[1] // channels, len(samples), depth, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + line for line in lines))
    tail = chunk(b"IDAT", packed) + after + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + tail)


def transparent(*values: int) -> bytes:
    content = struct.pack(f">{len(values)}H", *values)
    return struct.pack(">I", len(content)) + b"tRNS" + content + struct.pack(">I", zlib.crc32(b"tRNS" + content))


def luma(colour: np.ndarray) -> np.ndarray:
    return colour.astype(float) @ [0.299, 0.587, 0.114]


# ------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize(
    "ending",
    [
        ".png",
        ".apng",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".jp2",
        ".ppm",
        ".tga",
        ".pcx",
        ".sgi",
        ".qoi",
        ".PNG",
        ".TIF",
    ],
)
def test_a_lossless_file_gives_its_own_pixels(tmp_path, ending):
    path = save(tmp_path / f"x{ending}", COLOUR, **LOSSLESS.get(ending, {}))
    found, remarks = read(path, 12, 3)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(found, COLOUR.transpose(2, 0, 1))
    assert (remarks, look(path)) == ((), (12, 12, 3))


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".jpe", ".jfif", ".avif", ".JPG", ".JFIF"])
def test_a_lossy_file_is_near(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    save(path, COLOUR, **LOSSY[".avif" if ending == ".avif" else ".jpg"])
    found, remarks = read(path, 12, 3)
    assert np.abs(found.astype(int) - COLOUR.transpose(2, 0, 1)).max() <= 12
    assert remarks == ()


def test_the_content_decides_and_not_the_ending(tmp_path):
    path = tmp_path / "really_png.jpg"
    save(path, COLOUR, format="PNG")
    assert np.array_equal(read(path, 12, 3)[0], COLOUR.transpose(2, 0, 1))
    assert np.array_equal(decode(path.read_bytes())[0], COLOUR.transpose(2, 0, 1))


def test_it_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(read)) is read


# --------------------------------------------------------------------------------------------------- depth


@pytest.mark.parametrize("ending", [".png", ".tif", ".pgm"])
def test_sixteen_bits_of_grey_are_divided_by_257(tmp_path, ending):
    values = RNG.integers(0, 65536, (9, 9)).astype(np.uint16)
    values[0, :4] = 0, 65535, 128, 129
    path = save(tmp_path / f"x{ending}", values)
    found, remarks = read(path, 9, 1)
    assert np.array_equal(found[0], np.rint(values / 257))
    assert (remarks, look(path).channels) == (("16-bit",), 1)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 3), (0, 1), (4, 1)])
def test_sixteen_bits_of_any_png(tmp_path, colour, channels):
    count = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    values = RNG.integers(0, 65536, (8, 8 * count))
    if colour >= 4:
        values[:, count - 1 :: count] = 65535  # opaque
    png(tmp_path / "x.png", values, colour, 16)
    found, remarks = read(tmp_path / "x.png", 8, channels)
    wanted = values.reshape(8, 8, count)[..., :channels].transpose(2, 0, 1) / 257
    assert np.abs(found - wanted).max() <= 1, "Pillow cuts the lower byte off where there are several channels"
    assert (remarks, look(tmp_path / "x.png").channels) == (("16-bit",), channels)


def test_sixteen_bits_of_colour_in_a_tiff(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = RNG.integers(0, 65536, (8, 8, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb")
    found, remarks = read(tmp_path / "x.tif", 8, 3)
    assert np.abs(found - values.transpose(2, 0, 1) / 257).max() <= 1
    assert remarks == ("16-bit",)


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp", ".pbm"])
def test_one_bit_is_black_and_white(tmp_path, ending):
    bits = RNG.random((8, 8)) < 0.5
    path = save(tmp_path / f"x{ending}", bits)
    found, remarks = read(path, 8, 1)
    assert np.array_equal(found[0], bits * 255)
    assert (remarks, look(path).channels) == ((), 1)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_thirty_two_bits_are_refused(tmp_path, kind):
    path = save(tmp_path / "depth.tif", GREY.astype(kind))
    with pytest.raises(ValueError, match=r"depth\.tif: .*32 bits.*convert it to 8 or 16$"):
        read(path, 12, 1)


# --------------------------------------------------------------------------------- transparency and palettes


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colour * (alpha / 255) + 255 * (1 - alpha / 255)


@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
def test_transparency_lies_on_white(tmp_path, ending):
    alpha = RNG.integers(0, 256, (12, 12), dtype=np.uint8)
    whole = np.dstack([COLOUR, alpha])
    path = save(
        tmp_path / f"x{ending}", whole, **LOSSLESS.get(ending, {}) | ({"exact": True} if ending == ".webp" else {})
    )
    found, remarks = read(path, 12, 3)
    assert np.abs(found.transpose(1, 2, 0) - on_white(COLOUR, alpha[..., None])).max() <= 1
    assert remarks == ("transparency on white",)


def test_grey_with_transparency_stays_grey(tmp_path):
    alpha = RNG.integers(0, 256, (12, 12), dtype=np.uint8)
    path = save(tmp_path / "x.png", Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]))
    found, remarks = read(path, 12, 1)
    assert np.abs(found[0] - on_white(GREY, alpha)).max() <= 1
    assert (remarks, look(path).channels) == (("transparency on white",), 1)


def test_an_opaque_picture_with_room_for_transparency_is_as_it_is(tmp_path):
    path = save(tmp_path / "x.png", COLOUR, "RGBA")
    found, remarks = read(path, 12, 3)
    assert np.array_equal(found, COLOUR.transpose(2, 0, 1))
    assert remarks == ()


@pytest.mark.parametrize("depth", [8, 16])
def test_one_grey_that_stands_for_transparency(tmp_path, depth):
    values = np.arange(64).reshape(8, 8) * (1 if depth == 8 else 1000)
    png(tmp_path / "x.png", values, 0, depth, before=transparent(int(values[3, 4])))
    found, remarks = read(tmp_path / "x.png", 8, 1)
    wanted = np.rint(values / (1 if depth == 8 else 257))
    wanted[3, 4] = 255
    assert np.array_equal(found[0], wanted)
    assert "transparency on white" in remarks


def test_one_colour_that_stands_for_transparency(tmp_path):
    path = save(tmp_path / "x.png", COLOUR, transparency=tuple(map(int, COLOUR[5, 6])))
    wanted = COLOUR.copy()
    wanted[(COLOUR[5, 6] == COLOUR).all(-1)] = 255
    found, remarks = read(path, 12, 3)
    assert np.array_equal(found, wanted.transpose(2, 0, 1))
    assert remarks == ("transparency on white",)


@pytest.mark.parametrize("ending", [".png", ".gif", ".bmp", ".tif"])
def test_a_palette_is_looked_up(tmp_path, ending):
    small = Image.fromarray(COLOUR).quantize(16)
    path = save(tmp_path / f"x{ending}", small)
    found, remarks = read(path, 12, 3)
    assert np.array_equal(found, np.asarray(small.convert("RGB")).transpose(2, 0, 1))
    assert (remarks, look(path).channels) == ((), 3)


@pytest.mark.parametrize("ending", [".png", ".gif"])
def test_a_palette_of_greys_is_grey(tmp_path, ending):
    small = Image.fromarray(GREY).quantize(8)
    path = save(tmp_path / f"x{ending}", small)
    assert look(path).channels == 1
    assert np.array_equal(read(path, 12, 1)[0][0], np.asarray(small.convert("L")))


@pytest.mark.parametrize("alphas", [b"\x00\x80\xff\xff", b"\x00"])
def test_a_palette_with_transparency(tmp_path, alphas):
    small = Image.fromarray(COLOUR).quantize(4)
    path = save(tmp_path / "x.png", small, transparency=alphas)
    alpha = np.frombuffer(alphas.ljust(4, b"\xff"), np.uint8)[np.asarray(small)]
    found, remarks = read(path, 12, 3)
    assert np.abs(found.transpose(1, 2, 0) - on_white(np.asarray(small.convert("RGB")), alpha[..., None])).max() <= 1
    assert remarks == ("transparency on white",)


# -------------------------------------------------------------------------------------------- colour spaces


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk_is_light_where_there_is_no_ink(tmp_path, ending):
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:, 4:, 0] = 255  # the right half is cyan
    options = {"quality": 100} if ending == ".jpg" else {}
    path = save(tmp_path / f"x{ending}", Image.frombytes("CMYK", (8, 8), inks.tobytes()), **options)
    found, remarks = read(path, 8, 3)
    assert np.abs(found[:, :, :3].astype(int) - 255).max() <= 3
    assert np.abs(found[:, :, 5:].transpose(1, 2, 0).astype(int) - [0, 255, 255]).max() <= 3
    assert remarks == ("CMYK",)


def test_adobe_stores_the_inks_inverted_and_so_they_are_read(tmp_path):
    """Pillow writes the marker of Adobe and inverted inks; a reader that forgets it sees a negative."""
    save(tmp_path / "x.jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 255)), quality=100)
    assert b"Adobe" in (tmp_path / "x.jpg").read_bytes()
    assert read(tmp_path / "x.jpg", 8, 3)[0].max() <= 3


@pytest.mark.parametrize(("mode", "most"), [("YCbCr", 3), ("LAB", 12)])
def test_other_colour_spaces_come_back(tmp_path, mode, most):
    smooth = np.dstack([np.tile(np.linspace(60, 190, 12), (12, 1))] * 3).astype(np.uint8)
    path = save(tmp_path / "x.tif", smooth, mode)
    assert np.abs(read(path, 12, 3)[0].astype(int) - smooth.transpose(2, 0, 1)).max() <= most


def test_colour_becomes_grey_by_its_brightness_and_grey_is_repeated(tmp_path):
    colour, grey = save(tmp_path / "c.png", COLOUR), save(tmp_path / "g.png", GREY)
    found, remarks = read(colour, 12, 1)
    assert np.abs(found[0] - luma(COLOUR)).max() <= 0.51
    assert remarks == ("colour to grey",)
    found, remarks = read(grey, 12, 3)
    assert np.array_equal(found, np.stack([GREY] * 3))
    assert remarks == ("grey to colour",)
    assert (look(grey).channels, look(colour).channels) == (1, 3)


# ------------------------------------------------------------------------------------- orientation and frames


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif", ".webp"])
def test_the_orientation_is_applied(tmp_path, ending, orientation):
    halves = np.zeros((16, 16, 3), np.uint8)
    halves[:8], halves[:, :8, 1] = (250, 0, 0), 120  # no two of the eight orientations look alike
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"x{ending}", halves, exif=exif, **{**LOSSLESS, **LOSSY}.get(ending, {}))
    upright = Image.fromarray(halves)
    upright.getexif()[0x0112] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(upright)).transpose(2, 0, 1)
    found, remarks = read(path, 16, 3)
    assert np.abs(found.astype(int) - wanted).max() <= 6
    assert remarks == (("turned",) if orientation > 1 else ())


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_none(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "x.png", COLOUR, exif=exif)
    assert np.array_equal(read(path, 12, 3)[0], COLOUR.transpose(2, 0, 1))


def test_exif_that_is_no_exif_does_not_hide_the_pixels(tmp_path):
    path = save(tmp_path / "x.png", COLOUR, exif=b"Exif\0\0MM\0*\0\0\xff\xff" + b"\xff" * 30)
    assert np.array_equal(read(path, 12, 3)[0], COLOUR.transpose(2, 0, 1))


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png", ".tif", ".avif"])
def test_the_first_of_several_frames_is_taken(tmp_path, ending):
    first = Image.new("RGB", (12, 12), (250, 250, 250))
    others = [Image.new("RGB", (12, 12), (grey,) * 3) for grey in (0, 90)]
    path = tmp_path / f"x{ending}"
    first.save(path, save_all=True, append_images=others, **LOSSLESS.get(ending, {}))
    found, remarks = read(path, 12, 3)
    assert found.min() >= 247
    assert "first frame" in remarks


# -------------------------------------------------------------------------------------------- size and shape


@pytest.mark.parametrize(("height", "width"), [(12, 20), (21, 12), (12, 13)])
def test_the_middle_is_cropped_and_untouched_where_the_size_fits(tmp_path, height, width):
    array = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = save(tmp_path / "x.png", array)
    found, remarks = read(path, 12, 3)
    top, left = (height - 12) // 2, (width - 12) // 2
    assert np.array_equal(found.transpose(1, 2, 0), array[top : top + 12, left : left + 12])
    assert remarks == ("cropped",)
    assert look(path) == (width, height, 3)


def test_scaling_down_averages_and_does_not_skip(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255  # of one pixel: without antialiasing the result is all black or all white
    found, remarks = read(save(tmp_path / "x.png", stripes), 16, 1)
    assert np.abs(found[:, :, 2:-2].astype(int) - 127).max() <= 8
    assert remarks == ("scaled",)


def test_a_small_picture_is_enlarged_and_that_is_said(tmp_path):
    path = save(tmp_path / "x.png", np.full((5, 7), 77, np.uint8))
    found, remarks = read(path, 16, 1)
    assert (found.shape, set(found.flatten())) == ((1, 16, 16), {77})
    assert remarks == ("cropped", "enlarged")


def test_a_line_of_pixels_does_not_take_the_memory(tmp_path):
    path = save(tmp_path / "x.png", np.zeros((60_000, 1), np.uint8))
    assert read(path, 224, 1)[0].shape == (1, 224, 224)


# --------------------------------------------------------------------------------------------------- refusals


def refusal(path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        read(path, 12, 3)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("ending", WRITTEN)
def test_a_truncated_file_is_refused_by_name(tmp_path, ending, kept):
    path = tmp_path / f"cut{ending}"
    save(path, RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "replace or remove it" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing.png", b"", "empty"),
        ("page.jpg", b"<html>not found</html>", "no picture"),
        ("zeros.gif", bytes(3000), "no picture"),
        ("phone.heic", b"\0\0\0\x18ftypheic", r"\.heic are not read here"),
        ("drawing.SVG", b"<svg/>", r"\.svg are not read here"),
        ("raw.dng", b"II*\0", r"\.dng are not read here"),
        ("post.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        look(tmp_path / name)
    refusal(tmp_path / name)


def test_a_small_file_that_says_it_is_huge_is_refused(tmp_path):
    png(tmp_path / "bomb.png", np.zeros((1, 8), np.uint8), 0, 8)
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    (tmp_path / "bomb.png").write_bytes(bytes(content))
    assert "decompression bomb" in refusal(tmp_path / "bomb.png")


def test_what_is_not_there_or_a_folder_is_named(tmp_path):
    (tmp_path / "folder.png").mkdir()
    assert "directory" in refusal(tmp_path / "folder.png")
    assert "No such file" in refusal(tmp_path / "gone.png")


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_there_are_one_or_three_channels(tmp_path, channels):
    with pytest.raises(ValueError, match="channels must be 1"):
        read(save(tmp_path / "x.png", COLOUR), 12, channels)


def test_pillow_can_read_here_what_the_endings_promise():
    registered = Image.registered_extensions()
    assert {ending for ending in ENDINGS if registered.get(ending) in Image.OPEN} >= {*WRITTEN, ".jfif", ".apng"}
    assert {ending.lower() for ending in ENDINGS} == ENDINGS


# ----------------------------------------------------------------------------------------- images in memory


def test_an_image_in_memory_follows_the_rules_of_files(tmp_path):
    """Whatever mode: the same pixels as from a file of it."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        image = Image.fromarray(COLOUR if mode == "P" else np.dstack([COLOUR, GREY])).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, "TIFF")
        found, kept = pixels(image), decode(buffer.getvalue())
        assert np.array_equal(found[0], kept[0]), mode
        assert found[1] == kept[1], mode


def test_an_image_in_memory_keeps_its_shape_unless_told():
    image = Image.fromarray(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    assert pixels(image)[0].shape == (3, 6, 9)
    assert pixels(image, 4, 1)[0].shape == (1, 4, 4)
    assert torch.from_numpy(pixels(image)[0]).is_contiguous()
