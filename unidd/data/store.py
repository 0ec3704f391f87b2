"""Pictures decoded once: their pixels in a file that is mapped into memory, and what was worked out from them.

`decoded` gives an ordinary uint8 tensor. Behind a large one is <cache>/images/<key>/pixels.u8: the system reads the
parts that are looked at, and drops them when memory is wanted elsewhere, so a data set may be larger than the memory.
What one writes to such a tensor stays in this process. The key is a hash of names, sizes and times of the pictures:
when one of them changes, all are decoded again. A folder under its key is whole; `card.json` in it has checksums.
"""

import errno
import hashlib
import json
import math
import mmap
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..bars import progress_bar, say, silent
from ..files import atomic, cache_folder
from .decoding import Decoded, Shard, decode_all, described, processors, stack
from .hosted import Hosted, near, placed

FORMAT = 1  # goes up when the same pictures are read to other pixels, or the files here mean something else
_SMALL = 16 * 2**20  # bytes of pictures and pixels that are read anew each time, and never kept
_FEW = 1000  # files that are looked at anew each time
_SAID = 100 * 10**6  # bytes that are not written without a word
_LARGE = 256 * 2**20  # bytes of images taken from others that are not copied in memory
_SHARD = 8 * 2**20
_SPARE = 64 * 2**20  # bytes to leave free on the disk
_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
_PAGE_OUT = 21  # MADV_PAGEOUT, of which Python has no name
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # a mapping may be larger than the memory


@dataclass(frozen=True)
class Card:
    """What is known of a file of pixels.

    Attributes:
        shape: (n, C, H, W).
        shard: images of a shard, of which the last may have fewer.
        sha256: of each shard.
        written: when the pixels were written, in nanoseconds; a file with another time is looked at byte by byte.
        counts: how often each of the 256 values is in each channel.
        remarks: what was done to pictures, and to how many.
    """

    shape: tuple[int, ...]
    shard: int
    sha256: tuple[str, ...]
    written: int
    counts: list[list[int]]
    remarks: dict[str, int]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes_of_image(self) -> int:
        return math.prod(self.shape[1:])

    @property
    def digest(self) -> str:
        """The hash of the shape and of all pixels."""
        return hashlib.sha256(repr((self.shape, self.sha256)).encode()).hexdigest()


_maps: Any = WeakTensorKeyDictionary()  # tensor → what it is mapped by
_stored: Any = WeakTensorKeyDictionary()  # tensor → (folder, card, version of the tensor when it was whole)


def decoded(
    files: Sequence[str | Path], size: int, channels: int, *, progress: bool = False
) -> tuple[Tensor, Counter[str]]:
    """Return the pixels of pictures, uint8 (n, C, size, size), and how many of them met with each remark.

    Few are read at once. Many are read by all processors and kept; the same pictures are then found again. With
    UNIDD_CHECK in the environment what is found is compared with its checksums, byte by byte.

    Args:
        files: the pictures.
        size: side of the square images.
        channels: 1 for grey, 3 for colour.
        progress: show a bar.
    Raises:
        ValueError: a picture cannot be read; the message names it.
        OSError: a file is gone, or the cache cannot be written; the message says what to do.
    """
    key, stored = _key(files, {"format": FORMAT, "size": size, "channels": channels})
    shape = len(files), channels, size, size
    pixels = len(files) * channels * size**2
    if pixels + stored <= _SMALL:
        found, remarks = stack(files, size, channels)
        return torch.from_numpy(found), remarks
    images, card = _kept(_folder() / key, shape, lambda part: _fill(part, files, shape, progress))
    return images, Counter(card.remarks)


def taken(images: Tensor, index: Tensor) -> Tensor:
    """Return the images of these numbers; many of a file of pixels become a file of their own, and no copy in memory.

    Raises:
        OSError: the cache cannot be written.
    """
    if isinstance(images, Hosted):
        part = taken(images.near, index.cpu())
        return part.to(images.device) if part.nbytes <= _LARGE else moved(part, images.device)
    entry, shape = _entry(images), (len(index), *images.shape[1:])
    if entry is None or images.device.type != "cpu" or index.dtype != torch.int64 or math.prod(shape) <= _LARGE:
        return images[index]
    about = hashlib.sha256(repr(("taken", FORMAT, entry[1].digest, _digest(index))).encode()).hexdigest()[:32]
    part, _ = _kept(_folder() / about, shape, lambda part: _copy(part, images, index))
    return part


def _kept(folder: Path, shape: tuple[int, ...], fill: Callable[[Path], Card]) -> tuple[Tensor, Card]:
    """Map the pixels of a folder, which is filled first if it is not there."""
    card = _card(folder, shape) or _made(folder, shape, fill)
    images, _maps[images] = mapped(folder / "pixels.u8", shape)
    _stored[images] = folder, card, images._version
    return images, card


def release(images: Tensor) -> None:
    """Give back the memory that a file of pixels takes, after a pass over all: what is looked at again is read again.

    Only Linux can; elsewhere, and for other tensors, nothing happens.
    """
    if (found := _maps.get(near(images))) is not None and sys.platform == "linux":
        with suppress(OSError):  # an older kernel
            found.madvise(_PAGE_OUT)


def moved(images: Tensor, device: str | torch.device) -> Tensor:
    """Return images on a device, where it is still known what was worked out from them; see `unidd.data.hosted`."""
    there = placed(images, torch.device(device))
    if there is not images and not isinstance(there, Hosted) and (entry := _entry(images)):
        _stored[there] = *entry, there._version
    return there


def histogram(images: Tensor) -> Tensor:
    """Return how often each of the 256 values is in each channel of images uint8 (n, C, H, W): int64 (C, 256)."""
    if entry := _entry(images):
        return torch.tensor(entry[1].counts)
    totals = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for part in images.split(max(1, _SHARD // max(1, images[:1].numel()))):
        for total, channel in zip(totals, part.unbind(1), strict=True):
            total += torch.bincount(channel.flatten().int(), minlength=256).cpu()
    return totals


def fingerprint(about: str, tensors: Sequence[Tensor]) -> str:
    """Return the sha256 over a text, and shapes and bytes of tensors, in that order.

    What was worked out once of tensors in the cache is remembered; else all their bytes are read, and compared with
    their checksums on the way.

    Raises:
        ValueError: pixels in the cache are damaged; the message says what to delete.
    """
    entries = [_entry(tensor) for tensor in tensors]

    def whole() -> str:
        digest = hashlib.sha256(about.encode())
        for tensor, entry in zip(tensors, entries, strict=True):
            digest.update(repr(tuple(tensor.shape)).encode())
            for part in _parts(*entry) if entry else [tensor.cpu().contiguous().numpy().data]:
                digest.update(part)
        return digest.hexdigest()

    if not any(entries):
        return whole()
    parts = [entry[1].digest if entry else _digest(tensor) for entry, tensor in zip(entries, tensors, strict=True)]
    return _remembered(hashlib.sha256(repr(("fingerprint", about, parts)).encode()).hexdigest(), whole)


def remembered(what: str, files: Sequence[str | Path], work: Callable[[], Any]) -> Any:
    """Return `work()`, a plain value that depends on files: worked out anew only if one of them was changed.

    A file counts as changed when its path, size, or time of change of content or of state differs. What depends on
    few files is worked out each time, as is everything where the cache cannot be written.
    """
    if len(files) < _FEW:
        return work()
    return _remembered(_key(files, {"format": FORMAT, "what": what})[0], work)


def _entry(images: Tensor) -> tuple[Path, Card] | None:
    """Return folder and card of a tensor that is a file of pixels, whole and unchanged."""
    images = near(images)
    folder, card, version = _stored.get(images, (None, None, -1))
    return (folder, card) if folder and card and images._version == version else None


def _folder() -> Path:
    return cache_folder() / "images"


def _key(files: Sequence[str | Path], about: dict) -> tuple[str, int]:
    """A hash of what files are and what is made of them, and their bytes."""
    digest, folders, total = hashlib.sha256(json.dumps(about, sort_keys=True).encode()), {}, 0
    for file in files:
        stat, (folder, name) = os.stat(file), os.path.split(file)
        total += stat.st_size
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        of = folders[folder], name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
        digest.update(repr(of).encode())
    return digest.hexdigest()[:32], total


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.cpu().contiguous().numpy().data).hexdigest()


def _remembered(key: str, work: Callable[[], Any]) -> Any:
    path = _folder() / "known" / f"{key}.json"
    try:
        return json.loads(path.read_text())["value"]
    except (OSError, ValueError, KeyError, TypeError):
        value = work()
    with suppress(OSError), atomic(path) as temporary:  # else it is worked out again
        temporary.write_text(json.dumps({"value": value}))
    return value


def mapped(path: Path, shape: tuple[int, ...]) -> tuple[Tensor, mmap.mmap]:
    """Map a file of bytes to a uint8 tensor; what is written to it stays in this process."""
    how: dict[str, int] = {"access": mmap.ACCESS_COPY}
    if hasattr(mmap, "MAP_PRIVATE"):
        how = {"flags": mmap.MAP_PRIVATE | _NO_RESERVE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
    with open(path, "rb") as file:
        found = mmap.mmap(file.fileno(), 0, **how)
    return torch.frombuffer(found, dtype=torch.uint8).view(shape), found


def _card(folder: Path, shape: tuple[int, ...], tell: Callable[[str], None] = say) -> Card | None:
    """Return the card of a folder that is whole; None if there is none, or it is damaged, which is told."""
    try:
        plain = json.loads((folder / "card.json").read_text())
        card = Card(**{**plain, "shape": tuple(plain["shape"]), "sha256": tuple(plain["sha256"])})
        stat = os.stat(folder / "pixels.u8")
        if card.shape != shape or stat.st_size != card.bytes:
            raise ValueError(f"{stat.st_size:,} bytes in place of {card.bytes:,}")
        if stat.st_mtime_ns != card.written or os.environ.get("UNIDD_CHECK"):
            _check(folder, card)
    except (FileNotFoundError, NotADirectoryError):
        if folder.exists():
            tell(f"note: {folder} is not whole: its images are decoded again")
        return None
    except (ValueError, KeyError, TypeError) as error:
        tell(f"note: {folder} is damaged ({str(error).splitlines()[0]}): its images are decoded again")
        return None
    return card


def _check(folder: Path, card: Card) -> None:
    """Raise a ValueError unless every shard has its checksum."""

    def wrong(number: int) -> bool:
        with open(folder / "pixels.u8", "rb") as file:
            file.seek(number * step)
            return hashlib.sha256(file.read(step)).hexdigest() != card.sha256[number]

    step = card.shard * card.bytes_of_image
    with ThreadPoolExecutor(processors()) as threads:
        bad = sum(threads.map(wrong, range(len(card.sha256))))
    if bad:
        raise ValueError(f"{bad} of {len(card.sha256)} parts of {folder} are damaged: delete that folder")


def _parts(folder: Path, card: Card) -> Iterator[bytes]:
    """Yield the pixels of each shard, from the file and not the mapping, of which they would all stay in memory."""
    with open(folder / "pixels.u8", "rb") as file:
        for sha256 in card.sha256:
            part = file.read(card.shard * card.bytes_of_image)
            if hashlib.sha256(part).hexdigest() != sha256:
                _check(folder, card)
            yield part


def _made(folder: Path, shape: tuple[int, ...], fill: Callable[[Path], Card]) -> Card:
    """Fill a folder with pixels and their card, one process at a time; it takes its place when it is whole."""
    pixels = math.prod(shape)
    with _plainly(folder, pixels):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        with alone(folder, f"decodes the same images to {folder}"):
            if card := _card(folder, shape, lambda _: None):
                return card  # another process has made it meanwhile
            shutil.rmtree(folder, ignore_errors=True)
            part = folder.with_suffix(".part")
            _check_room(folder.parent, pixels)
            part.mkdir()
            try:
                card = fill(part)
                os.replace(part, folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return card


@contextmanager
def _plainly(folder: Path, pixels: int) -> Iterator[None]:
    """Say in one line why decoded images cannot be kept."""
    try:
        yield
    except OSError as error:
        of_a_picture = error.filename and not str(error.filename).startswith(str(folder.parent))
        if error.errno not in _NO_PLACE or of_a_picture:
            raise
        where = f"cannot keep {pixels / 1e6:,.0f} MB of decoded images in {folder.parent} ({error.strerror})"
        raise OSError(f"{where}: make room, or set UNIDD_CACHE to another folder") from None


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left behind."""
    for part in folder.glob("*.part"):
        try:
            with FileLock(part.with_suffix(".lock"), timeout=0):
                shutil.rmtree(part, ignore_errors=True)
        except Timeout:
            pass  # it is at work


@contextmanager
def alone(folder: Path, told: str) -> Iterator[None]:
    """Hold the lock beside a folder; while another process holds it, say so, and wait."""
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0.1)
    except Timeout:
        say(f"another process {told}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check_room(folder: Path, pixels: int) -> None:
    free = shutil.disk_usage(folder).free
    if pixels + _SPARE > free:
        raise OSError(errno.ENOSPC, f"{free / 1e6:,.0f} MB are free")


def _reserve(file: int, size: int) -> None:
    """Give a file its size, and have a full disk found out now, where the system can."""
    os.truncate(file, size)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise


def _fill(part: Path, files: Sequence[str | Path], shape: tuple[int, ...], progress: bool) -> Card:
    """Decode pictures to a folder."""
    n, channels, size, _ = shape
    of_image = channels * size**2
    if n * of_image > _SAID and not silent():
        say(f"decoding {n:,} pictures once, to {n * of_image / 1e6:,.0f} MB in {part.parent}")
    pixels, each = part / "pixels.u8", max(1, _SHARD // of_image)
    shards = [
        Shard(number, tuple(files[first : first + each]), size, channels, pixels, first * of_image)
        for number, first in enumerate(range(0, n, each))
    ]
    with open(pixels, "wb") as file:
        _reserve(file.fileno(), n * of_image)
    done: dict[int, Decoded] = {}
    with progress_bar(n, "decoding", shown=progress, unit=" images") as bar, closing(decode_all(shards)) as results:
        for found in results:
            done[found.number] = found
            bar.update(found.images)
    return _finished(part, shape, each, [done[number] for number in range(len(shards))])


def _copy(part: Path, images: Tensor, index: Tensor) -> Card:
    """Write some of the images to a folder."""
    each, done = max(1, _SHARD // math.prod(images.shape[1:])), []
    with open(part / "pixels.u8", "wb") as file:
        for number, chosen in enumerate(index.split(each)):
            pixels = images[chosen].numpy()
            file.write(pixels.data)
            done.append(described(number, pixels, Counter()))
    return _finished(part, (len(index), *images.shape[1:]), each, done)


def _finished(part: Path, shape: tuple[int, ...], each: int, found: Sequence[Decoded]) -> Card:
    """Write the card of pixels that are there, and have both on the disk."""
    with open(part / "pixels.u8", "r+b") as file:
        os.fsync(file.fileno())
    remarks = sum((f.remarks for f in found), Counter[str]())
    totals = torch.tensor([f.counts for f in found]).sum(0).tolist()
    written = os.stat(part / "pixels.u8").st_mtime_ns
    card = Card(shape, each, tuple(f.sha256 for f in found), written, totals, dict(remarks))
    with open(part / "card.json", "w") as file:
        json.dump(asdict(card), file)
        file.flush()
        os.fsync(file.fileno())
    return card
