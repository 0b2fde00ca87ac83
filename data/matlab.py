"""Arrays of numbers in MATLAB's files of version 5 to 7 (MathWorks, MAT-File Format).

Read here, because SciPy's reader (1.17) ends the process with a segmentation fault where some bits of a file are
flipped, takes whatever memory a packed element claims, and does not compare all checksums.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data import archives

MATRIX, PACKED = 14, 15
"""Types of elements of a file."""

TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of what lies in an element, as NumPy calls them."""

COMPLEX = 0x800


def read(path: Path, limit: int) -> dict[str, np.ndarray]:
    """The arrays of numbers in a file, by name, if it unpacks to no more bytes than the limit.

    Raises:
        BadInput: it is damaged, or no such file.
    """
    with archives.reading(path), path.open("rb") as file:
        head = file.read(128)
        if len(head) < 128 or not head.startswith(b"MATLAB 5.0") or not head.endswith(b"\x00\x01IM"):
            raise ValueError("no MATLAB 5.0 file")
        found = {}
        while tag := file.read(8):
            kind, size = _numbers(tag)
            content = _unpack(file, size, limit) if kind == PACKED else tag + _whole(file, size)
            limit -= len(content)
            if limit < 0:
                raise ValueError("it holds more bytes than it may")
            kind, content, _ = _element(memoryview(content))
            if kind == MATRIX:
                found |= _matrix(content)
        return found


def _numbers(tag: bytes) -> tuple[int, int]:
    if len(tag) < 8:
        raise EOFError("it is cut off")
    return struct.unpack("<II", tag)


def _whole(file: BinaryIO, size: int) -> bytes:
    content = file.read(min(size, 2**32))
    if len(content) < size:
        raise EOFError("it is cut off")
    return content


def _unpack(file: BinaryIO, size: int, limit: int) -> bytes:
    """A packed element, whose checksum is compared."""
    unpacker, content = zlib.decompressobj(), bytearray()
    while size and (piece := file.read(min(size, 2**20))):
        size -= len(piece)
        while piece:
            content += unpacker.decompress(piece, 2**24)
            piece = unpacker.unconsumed_tail
            if len(content) > limit:
                raise ValueError("it unpacks to more bytes than it may")
    if size or not unpacker.eof or unpacker.unused_data:
        raise EOFError("a packed element is cut off")
    return content


def _element(content: memoryview) -> tuple[int, memoryview, memoryview]:
    """The first element's type, what is in it, and what follows."""
    kind, size = _numbers(bytes(content[:8]))
    if kind >> 16:  # a small one, whose content lies in its tag
        kind, size, start, end = kind & 0xFFFF, kind >> 16, 4, 8
    else:
        start, end = 8, 8 + size + -size % 8  # only the last of a file is not filled up
    inside = content[start : start + size]
    if len(inside) < size or start + size > max(end, 8):
        raise EOFError("an element is cut off")
    return kind, inside, content[end:]


def _parts(content: memoryview) -> Iterator[np.ndarray]:
    while len(content):
        kind, inside, content = _element(content)
        if kind not in TYPES:
            raise ValueError(f"holds an element of type {kind}")
        yield np.frombuffer(inside, f"<{TYPES[kind]}")


def _matrix(content: memoryview) -> dict[str, np.ndarray]:
    """An array under its name; nothing where it holds no real numbers."""
    flags = np.frombuffer(_element(content)[1], "<u4")
    if not flags.size or not 6 <= flags[0] & 0xFF <= 15 or flags[0] & COMPLEX:
        return {}
    parts = list(_parts(content))
    if len(parts) != 4:
        raise ValueError("holds an array that is not whole")
    _, shape, name, values = parts
    if min(shape.tolist(), default=-1) < 0 or math.prod(shape.tolist()) != values.size:
        raise ValueError(f"holds an array that says {shape.tolist()}, with {values.size} numbers")
    return {name.tobytes().decode("ascii"): values.reshape(shape.tolist(), order="F")}
