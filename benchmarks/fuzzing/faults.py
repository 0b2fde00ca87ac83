"""Faults by name: each makes a file or folder that is not what it says, and gives the command that is to read it."""

from __future__ import annotations

import base64
import gzip
import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.fuzzing import archives
from benchmarks.fuzzing.files import POSTSCRIPT, saved
from benchmarks.fuzzing.served import posted

Fault = Callable[[Path], list[str]]
"""Given an empty folder; returns a stage and its arguments."""


def _file(dataset: str, name: str, content: Callable[[], bytes]) -> Fault:
    def make(place: Path) -> list[str]:
        (place / name).write_bytes(content())
        return ["ingest", dataset, "--from", str(place / name)]

    return make


def _zeros(size: int) -> bytes:
    """Gzip of so many GiB of zeros."""
    return gzip.compress(bytes(2**30), 1) * size


def _claiming_header() -> bytes:
    """A tar archive whose extended header has 8 GiB."""
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 2**33
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT), 1) + _zeros(8)


def _links() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in archives.BATCHES:
            member = tarfile.TarInfo(f"{name}.bin")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    return file.getvalue()


def _leading_out() -> bytes:
    return gzip.compress(archives.tar({"../../out": b"x", "/tmp/out": b"x", "a/../../../out": b"x"}))


def _flipped(content: bytes, place: float = 0.5) -> bytes:
    spoiled = bytearray(content)
    spoiled[int(place * len(spoiled))] ^= 4
    return bytes(spoiled)


def mnist(**changes: np.ndarray) -> bytes:
    """A file of MNIST's form with random pixels; its arrays can be others."""
    file, generator = io.BytesIO(), np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 60_000), ("test", 10_000)):
        arrays[f"x_{part}"] = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
    np.savez(file, **arrays | changes)
    return file.getvalue()


def _idx_folder(**changes: bytes) -> Fault:
    """MNIST in IDX files, of which some are others."""

    def make(place: Path) -> list[str]:
        labels = np.arange(60_000, dtype=np.uint8) % 10
        files = {
            "train-images-idx3-ubyte": archives.idx(np.zeros((60_000, 28, 28), np.uint8)),
            "train-labels-idx1-ubyte": archives.idx(labels),
            "t10k-images-idx3-ubyte": archives.idx(np.zeros((10_000, 28, 28), np.uint8)),
            "t10k-labels-idx1-ubyte": archives.idx(labels[:10_000]),
        }
        for name, content in (files | {name.replace("_", "-"): content for name, content in changes.items()}).items():
            (place / name).write_bytes(content)
        return ["ingest", "mnist", "--from", str(place)]

    return make


def png(width: int, height: int) -> bytes:
    """A file of some bytes that claims so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")


def _not_numbers() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 20), np.nan, np.float32)).save(file, "tiff")
    return file.getvalue()


def _images(name: str | bytes, content: bytes | Callable[[Path], None]) -> Fault:
    """A folder of two classes, one of which has one file more."""

    def make(place: Path) -> list[str]:
        for label in "ab":
            (place / label).mkdir()
            for number in range(5):
                (place / label / f"{number}.png").write_bytes(saved("png", "RGB"))
        added = Path(os.fsdecode(os.path.join(os.fsencode(place / "a"), os.fsencode(name))))
        if callable(content):
            content(added)
        else:
            added.write_bytes(content)
        return ["ingest", "folder", "--from", str(place)]

    return make


def _pipe(stage: str, *arguments: str) -> Fault:
    def make(place: Path) -> list[str]:
        os.mkfifo(place / "pipe.png")
        return [stage, *arguments, str(place / "pipe.png")]

    return make


def _line(text: bytes) -> Callable[[], bytes]:
    return lambda: b"text,label\n" + b"".join(b"text %d,%d\n" % (number, number % 2) for number in range(20)) + text


COMMAND = b"\x80\x02cposix\nsystem\nT\x0f\x00\x00\x00touch /tmp/out.\x85R."
PYTHON, BINARY = "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"
LABELS = np.arange(60_000, dtype=np.uint8) % 10
LISTS = {f"names/{name}.txt": b"".join(b"Name%d\n" % number for number in range(9)) for name in ("Irish", "Thai")}

INGESTS: dict[str, Fault] = {
    "tar: members ../../out, /tmp/out": _file("cifar10", BINARY, _leading_out),
    "tar: batches are links to /etc/passwd": _file("cifar10", BINARY, _links),
    "tar.gz: 47 MB unpack to 10 GiB": _file("cifar10", BINARY, lambda: _zeros(10)),
    "tar.gz: an extended header of 8 GiB": _file("cifar10", BINARY, _claiming_header),
    "tar.gz: cut off": _file("cifar10", PYTHON, lambda: archives._wrapped(archives.batch())[:4000]),
    "tar.gz: one bit flipped": _file("cifar10", PYTHON, lambda: _flipped(archives._wrapped(archives.batch()))),
    "pickle: a command": _file("cifar10", PYTHON, lambda: archives._wrapped(COMMAND)),
    "pickle: place 2,147,483,647 of its memory": _file(
        "cifar10", PYTHON, lambda: archives._wrapped(b"\x80\x02}r\xff\xff\xff\x7f.")
    ),
    "npz: labels 1 to 10": _file("mnist", "a.npz", lambda: mnist(y_train=LABELS + 1)),
    "npz: 59,999 images": _file("mnist", "a.npz", lambda: mnist(x_train=np.zeros((59_999, 28, 28), np.uint8))),
    "npz: pixels are NaN": _file("mnist", "a.npz", lambda: mnist(x_test=np.full((10_000, 28, 28), np.nan, "f4"))),
    "npz: one bit flipped": _file("mnist", "a.npz", lambda: _flipped(mnist(), 0.3)),
    "npz: a member is no array": _file("mnist", "a.npz", lambda: archives._npz_of(b"text")),
    "npz: 4 MB claim 4 GiB": _file("mnist", "a.npz", lambda: archives._npz_of(bytes(2**30))),
    "npz: a pickle": _file("mnist", "a.npz", lambda: mnist(y_test=np.array([print] * 10_000, object))),
    "IDX: 60,001 labels": _idx_folder(train_labels_idx1_ubyte=archives.idx(np.append(LABELS, 0).astype(np.uint8))),
    "IDX: its header claims 4,294,967,295 images": _idx_folder(
        train_images_idx3_ubyte=b"\0\0\x08\x03\xff\xff\xff\xff\0\0\0\x1c\0\0\0\x1c"
    ),
    "mat: one bit of a size flipped": _file("svhn", "train_32x32.mat", lambda: _flipped(archives.mat(False), 0.0202)),
    "zip: 270 KB claim 256 MiB": _file("names", "data.zip", lambda: archives.zipped({"names/A.txt": bytes(2**28)})),
    "zip: one bit of a name flipped": _file("names", "data.zip", lambda: _flipped(archives.zipped(LISTS), 0.93)),
    "list: no UTF-8": _file("names", "data.zip", lambda: archives.zipped(LISTS | {"names/B.txt": b"a\n\xff\n"})),
    "list: a line of 10 MB": _file("names", "data.zip", lambda: archives.zipped(LISTS | {"names/B.txt": b"a" * 10**7})),
    "csv: NUL": _file("csv", "a.csv", _line(b"a\0b,1\n")),
    "csv: a line of 10 MB": _file("csv", "a.csv", _line(b"a" * 10**7 + b",1\n")),
    "csv: 1,000,000 columns": _file("csv", "a.csv", lambda: b"a," * 10**6 + b"b\n"),
    "csv: a quote without end": _file("csv", "a.csv", _line(b'"a,1\n' * 40_000)),
    "csv: 100,000 marks on a letter": _file("csv", "a.csv", _line(b"a" + "\u0301\u0327".encode() * 50_000 + b",1\n")),
    "csv: half a pair of UTF-16": _file("csv", "a.csv", _line(b"\xed\xa0\x80,1\n")),
    "png: claims 100,000 x 100,000 pixels": _images("x.png", png(100_000, 100_000)),
    "png: claims 13,000 x 13,000 pixels": _images("x.png", png(13_000, 13_000)),
    "png: one bit of a pixel flipped": _images("x.png", _flipped(saved("png", "RGB"))),
    "png: PostScript": _images("x.png", POSTSCRIPT),
    "tiff: pixels are NaN": _images("x.tif", _not_numbers()),
    "folder: a pipe called x.png": _images("x.png", os.mkfifo),
    "folder: a link to itself": _images("x.png", lambda path: path.symlink_to(path)),
    "folder: a link to the folder above": _images("loop", lambda path: path.symlink_to(path.parent.parent)),
    "folder: a name with a line's end": _images("x\ny.png", b""),
    "folder: a name that is no UTF-8": _images(b"x\xff.png", b""),
    "a pipe as copy": _pipe("ingest", "mnist", "--from"),
    "/dev/zero as copy": lambda place: ["ingest", "csv", "--from", "/dev/zero"],
}

PREDICTIONS: dict[str, Fault] = {
    "predict: a pipe": _pipe("predict", "last"),
    "predict: /dev/zero": lambda place: ["predict", "last", "/dev/zero"],
    "predict: png, claims 13,000 x 13,000 pixels": lambda place: _written(place / "x.png", png(13_000, 13_000)),
    "predict: png, PostScript": lambda place: _written(place / "x.png", POSTSCRIPT),
    "predict: a list that is no UTF-8": lambda place: _written(place / "x.txt", b"\xff\xfea\0"),
}


def _written(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    return ["predict", "last", str(path)]


def _body(text: bytes) -> bytes:
    return posted(b'{"inputs": [' + text + b"]}")


REQUESTS: dict[str, bytes] = {
    "request: no JSON": posted(b'{"inputs":'),
    "request: no UTF-8": posted(b"\xff\xfe{"),
    "request: lists in lists, 100,000 deep": _body(b"[" * 100_000 + b"]" * 100_000),
    "request: NaN": _body(b"NaN"),
    "request: 1e999": _body(b"[[[1e999]]]"),
    "request: a number of 5,000 digits": _body(b"9" * 5000),
    "request: ragged lists": _body(b"[1, 2], [3]"),
    "request: texts and numbers": _body(b'"a", 1'),
    "request: null": _body(b"null"),
    "request: 20,001 inputs": _body(b",".join([b'"a"'] * 20_001)),
    "request: png in base64, claims 13,000 x 13,000 pixels": _body(b'"%s"' % base64.b64encode(png(13_000, 13_000))),
    "request: PostScript in base64": _body(b'"%s"' % base64.b64encode(POSTSCRIPT)),
    "request: a path of the server": _body(b'"/etc/passwd"'),
    "request: one text of 10 MB among 1,000": _body(b",".join([b'"a"'] * 999 + [b'"' + b"a" * 10**7 + b'"'])),
    "request: says 65 MiB": posted(b"{}").replace(b"Length: 2", b"Length: 68157440"),
    "request: says -1 bytes": posted(b"{}").replace(b"Length: 2", b"Length: -1"),
    "request: in chunks": posted(b"2\r\n{}\r\n0\r\n\r\n").replace(b"Content-Length: 12", b"Transfer-Encoding: chunked"),
    "request: CSV": posted(b"a\n1\n", kind=b"text/csv"),
    "request: DELETE": posted(b"{}", b"DELETE /invocations HTTP/1.1"),
    "request: another path": posted(b"{}", b"POST /../etc/passwd HTTP/1.1"),
}
"""Requests to a model of images, by what is wrong with them."""
