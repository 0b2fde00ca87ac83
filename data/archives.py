"""Reading files that strangers made: without executing, extracting or believing anything in them."""

import gzip
import io
import math
import stat
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data import pictures
from data.errors import BadInput, reason
from data.spec import Arrays

LIMIT = 256 * 2**20
"""Bytes of a file, or of all that an archive unpacks to; those of CIFAR hold 186 MB."""

RATIO = 200
"""Unpacked bytes for each packed one, beyond FREE; CIFAR has 1.1, MNIST 5, a list of names 3, but zeros have 1,000."""

FREE = 2**24
"""Unpacked bytes that any archive may hold."""

DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    MemoryError,  # a header that claims too much
    RuntimeError,  # an encrypted zip file, or one of an unknown kind
    SyntaxError,
    tokenize.TokenError,  # both from the header of an .npy file
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into one line that names the file; a pipe or a device is not read."""
    try:
        if stat.S_IFMT(path.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise BadInput("is neither a file nor a folder", path, "copy it into one")  # which may have no end
        yield
    except FileNotFoundError:
        raise BadInput("no such file", path, "check the path") from None
    except PermissionError:
        raise BadInput("may not be read", path, "check its permissions") from None
    except DAMAGED as error:
        raise BadInput(f"can't be read ({reason(error)})", path, "it may be truncated: fetch it again") from None


def content(path: Path, limit: int = LIMIT) -> bytes:
    """The bytes of a file that has no more of them than the limit."""
    with reading(path):
        _check_size(path.stat().st_size, limit)
        return path.read_bytes()


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(f"claims {size} bytes, of {limit} at most")


def _allowed(path: Path, limit: int) -> int:
    """Bytes that a packed file may unpack to."""
    return min(limit, FREE + RATIO * path.stat().st_size)


class _Bounded(io.RawIOBase):
    """What a packed file unpacks to, as far as it may."""

    def __init__(self, source: BinaryIO, left: int) -> None:
        self.source, self.left = source, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        piece = self.source.read(len(buffer))
        self.left -= len(piece)
        if self.left < 0:
            raise ValueError("it unpacks to more bytes than any such archive has")
        buffer[: len(piece)] = piece
        return len(piece)


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file that may be gzipped, no more than it may have."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.GzipFile(fileobj=file) if packed else nullcontext(file) as source:
            yield io.BufferedReader(_Bounded(source, _allowed(path, LIMIT)), 2**20)


def members(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """The contents of the regular files of a tar archive, gzipped or not, whose base names are wanted.

    Nothing is written to disk, so no name in the archive can lead anywhere; links are passed over and sizes
    are bounded.
    """
    found = {}
    with reading(path), _unpacked(path) as source, tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            name = member.name.rsplit("/", 1)[-1]
            if name not in wanted or not member.isfile():
                continue
            _check_size(member.size, LIMIT)
            content = archive.extractfile(member).read()
            if len(content) != member.size:
                raise EOFError(f"member {name} is cut off")
            found[name] = content
        while source.read(2**20):  # gzip compares its checksum at the end of the stream only
            pass
    missing = sorted(wanted - set(found))
    if missing:
        raise BadInput(f"holds no {', '.join(missing)}", path, "give the publisher's archive as it came")
    return found


def zipped(path: Path, wanted: Callable[[str], bool], limit: int) -> dict[str, bytes]:
    """The contents of the files of a zip archive whose names are wanted, if they have no more bytes than the limit.

    Nothing is written to disk, and no member gives more bytes than its header claims.
    """
    with reading(path):
        _check_size(path.stat().st_size, limit)  # the list of its members alone may take ten times as much memory
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():  # opened, it compares its two names, of which one may be damaged
                archive.open(member).close()
            chosen = [member for member in archive.infolist() if not member.is_dir() and wanted(member.filename)]
            _check_size(sum(member.file_size for member in chosen), _allowed(path, limit))
            return {member.filename: archive.read(member) for member in chosen}


def read_npz(path: Path, limit: int) -> Arrays:
    """The arrays x_train, y_train, x_test, y_test of an ``.npz`` file, not unpickled, if they have no more bytes."""
    keys = ("x_train", "y_train", "x_test", "y_test")
    with reading(path), path.open("rb") as stream:  # NumPy leaves a damaged file open that it opened itself
        file = np.load(stream, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("one array, not an archive of them")
        missing = [key for key in keys if key not in file.files]
        if missing:
            raise BadInput(f"holds no {', '.join(missing)}", path, f"it must hold {', '.join(keys)}")
        claims = [member.file_size for member in file.zip.infolist() if member.filename.removesuffix(".npy") in keys]
        _check_size(sum(claims), _allowed(path, limit))
        arrays = {key: file[key] for key in keys}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):  # what is no array it gives as bytes
            raise ValueError("it holds something else than arrays")
        return arrays


def read_idx(path: Path) -> np.ndarray:
    """An array in the IDX format of the MNIST files (LeCun, Cortes, Burges), gzipped or not.

    The header is two zero bytes, a type byte (8: uint8), the number of dimensions, then each dimension as a
    big-endian 32-bit integer.
    """
    with reading(path), _unpacked(path) as source:
        content = source.read()
        if len(content) < 4 or content[:3] != b"\x00\x00\x08":
            raise ValueError("not an IDX file of bytes")
        start = 4 + 4 * content[3]
        shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
        if math.prod(shape) != len(content) - start:
            raise ValueError(f"its header says {' x '.join(map(str, shape))}, and {len(content) - start} bytes follow")
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def read_folder(path: Path, classes: tuple[str, ...], shape: tuple[int, int, int]) -> Arrays:
    """Images at train/CLASS/*.png and test/CLASS/*.png, in the order of their names."""
    arrays = {}
    for split in ("train", "test"):
        images, labels = [], []
        for label, name in enumerate(classes):
            files = sorted((path / split / name).glob("*.png"))
            if not files:
                raise BadInput("holds no .png file", path / split / name, f"one folder for each of {list(classes)}")
            images += [_read_image(file, shape) for file in files]
            labels += [label] * len(files)
        known = {name.partition("/")[0] for name in classes}  # Fashion-MNIST's T-shirt/top lies two folders deep
        strangers = {entry.name for entry in (path / split).iterdir() if entry.is_dir()} - known
        if strangers:
            raise BadInput(f"holds unknown classes {sorted(strangers)}", path / split, "rename or remove them")
        arrays[f"x_{split}"], arrays[f"y_{split}"] = np.stack(images), np.array(labels, np.uint8)
    return arrays


def _read_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    height, width, channels = shape
    with reading(path), _opened(path) as image:
        if image.size != (width, height):
            raise ValueError(f"is {image.width}x{image.height}, not {width}x{height}")
        if image.mode[0] in "IF":  # converting would cut values off
            raise ValueError(f"has {image.mode} pixels, not 8 bits a channel")
        return np.asarray(image.convert("L" if channels == 1 else "RGB"), np.uint8).reshape(shape)


def _opened(path: Path) -> object:
    try:
        return pictures.opened(path)
    except Exception as error:  # a damaged image can raise anything
        raise ValueError(reason(error)) from None
