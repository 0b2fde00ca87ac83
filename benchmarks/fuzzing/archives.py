"""Targets: the publishers' archives, and what is in them."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from benchmarks.fuzzing.oracle import Seed, Target
from data import archives, cifar, names, pickles, svhn

GENERATOR = np.random.default_rng(1)


def pixels(count: int, *shape: int) -> np.ndarray:
    return GENERATOR.integers(0, 256, (count, *shape), dtype=np.uint8)


def tar(contents: dict[str, bytes], kind: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def batch(count: int = 2) -> bytes:
    """A batch of CIFAR, as Python 2 pickled it."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    kind = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array = (
        made
        + b"(K\x01(K"
        + bytes([count])
        + b"M\x00\x0ct"
        + kind
        + b"\x89"
        + text(pixels(count, 3072).tobytes())
        + b"tb"
    )
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + b"](" + b"K\x07" * count + b"eu."


BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def _wrapped(content: bytes) -> bytes:
    """An archive whose batches all are this one."""
    return gzip.compress(tar(dict.fromkeys(BATCHES, content)), 1)


def _cifar_seeds(ending: str, content: bytes) -> list[Seed]:
    contents = {f"batches/{name}{ending}": content for name in BATCHES}
    plain, pax = (tar(contents, kind) for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    exact = Seed(gzip.compress(plain, 1), exact=True)
    return [exact, Seed(plain, partial(gzip.compress, compresslevel=1)), Seed(pax)]


def _is_cifar(arrays: dict) -> bool:
    fits = all(arrays[f"x_{part}"].shape == (*arrays[f"y_{part}"].shape, 32, 32, 3) for part in ("train", "test"))
    return fits and all(array.dtype == np.uint8 for array in arrays.values())


FRAGMENTS = (
    b"cos\nsystem\n",
    b"cposix\nsystem\n",
    b"cbuiltins\neval\n",
    b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n",
    b"(S'true'\nt",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"(iposix\nsystem\n",
    b"R",
    b"b",
    b"o",
    b"\x81",
    b"\x92",
    b"a",
    b"e",
    b"s",
    b"u",
    b"0",
    b"2",
    b"1",
    b"(",
    b"]",
    b"}",
    b")",
    b"t",
    b"\x85",
    b"N",
    b"K\x05",
    b"J\xff\xff\xff\xff",
    b"T\x02\x00\x00\x00u1",
    b"T\x04\x00\x00\x00data",
    b"T\x06\x00\x00\x00labels",
    b"r\xff\xff\xff\x7f",
    b"r\x05\x00\x00\x00",
    b"p999999999999\n",
    b"\x8a\xff" + b"\xff" * 255,
    b"\x96" + b"\xff" * 8,
    b"\x8e\x00\x00\x00\x00\x01\x00\x00\x00",
    b"Q",
    b"\x94",
    b"h\x00",
    b"\x82\x01",
    b"I99999\n",
    b"F1e999\n",
    b"l" * 50,
    b"G" + b"\x7f\xf0" + b"\0" * 6,
)
"""Of pickles: calls, names, claims of memory."""

HOSTILE_PICKLES = st.lists(st.sampled_from(FRAGMENTS), max_size=24).map(
    lambda parts: b"\x80\x02" + b"".join(parts) + b"."
)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def npz(**changes: np.ndarray) -> bytes:
    file = io.BytesIO()
    arrays = {f"x_{part}": pixels(3, 4, 4) for part in ("train", "test")}
    np.savez_compressed(file, **arrays, y_train=np.arange(3), y_test=np.arange(3), **changes)
    return file.getvalue()


def _npz_of(member: bytes) -> bytes:
    """An archive whose arrays all are this file, with right checksums."""
    return zipped({f"{key}.npy": member for key in ("x_train", "y_train", "x_test", "y_test")})


def zipped(contents: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def mat(compressed: bool) -> bytes:
    import scipy.io

    file = io.BytesIO()
    images = {"X": pixels(32, 32, 3, 2), "y": np.array([[1], [10]], np.uint8)}
    scipy.io.savemat(file, images, do_compression=compressed)
    return file.getvalue()


def _mat_of(content: bytes) -> bytes:
    """A file whose elements are packed with right checksums, whatever they claim."""
    made, rest = content[:128], content[128:]
    while rest:
        size = 8 + int.from_bytes(rest[4:8], "little")
        packed = zlib.compress(rest[:size], 1)
        made += struct.pack("<II", 15, len(packed)) + packed
        rest = rest[size:]
    return made


def _are_arrays(arrays: dict) -> bool:
    return len(arrays) == 4 and all(
        isinstance(array, np.ndarray) and not array.dtype.hasobject for array in arrays.values()
    )


def _is_svhn(arrays: tuple[np.ndarray, np.ndarray]) -> bool:
    images, labels = arrays
    return images.ndim == 4 and len(images) == len(labels) and all(0 <= label <= 9 for label in labels.tolist())


LISTS = {f"data/names/{name}.txt": "\n".join(["Ósk", "Núñez", "Li"] * 3).encode() + b"\n" for name in ("Irish", "Thai")}


def _is_bytes(array: np.ndarray) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.uint8


def _are_pairs(pairs: list) -> bool:
    return bool(pairs) and all(isinstance(text, str) and isinstance(label, str) for text, label in pairs)


def _cifar(path: Path) -> dict:
    return cifar.read(path, "cifar-10", BATCHES[:5], BATCHES[5:], "labels", 1)


TARGETS = (
    Target(
        "CIFAR, Python archive",
        "cifar-10-python.tar.gz",
        _cifar,
        lambda: [*_cifar_seeds("", batch()), Seed(batch(), _wrapped)],
        _is_cifar,
        HOSTILE_PICKLES.map(_wrapped),
    ),
    Target(
        "CIFAR, binary archive",
        "cifar-10-binary.tar.gz",
        _cifar,
        lambda: _cifar_seeds(".bin", pixels(2, 3073).tobytes()),
        _is_cifar,
    ),
    Target(
        "pickle",
        "batch",
        lambda path: pickles.read(path.read_bytes(), path),
        lambda: [Seed(batch())],
        lambda found: isinstance(found, dict),
        HOSTILE_PICKLES,
    ),
    Target(
        "MNIST, npz",
        "mnist.npz",
        lambda path: archives.read_npz(path, archives.LIMIT),
        lambda: [Seed(npz(), exact=True), Seed(_npy(pixels(3, 4, 4)), _npz_of)],
        _are_arrays,
    ),
    Target(
        "MNIST, IDX",
        "images.gz",
        archives.read_idx,
        lambda: [Seed(gzip.compress(idx(pixels(2, 28, 28))), exact=True), Seed(idx(pixels(2, 28, 28)))],
        _is_bytes,
    ),
    Target(
        "SVHN, mat",
        "train_32x32.mat",
        svhn._read_mat,
        lambda: [Seed(mat(True), exact=True), Seed(mat(False)), Seed(mat(False), _mat_of)],
        _is_svhn,
    ),
    Target(
        "names, zip",
        "data.zip",
        names.read,
        lambda: [
            Seed(zipped(LISTS), exact=True),
            Seed(LISTS["data/names/Thai.txt"], lambda text: zipped(dict.fromkeys(LISTS, text))),
        ],
        _are_pairs,
    ),
)
