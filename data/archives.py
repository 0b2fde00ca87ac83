"""Reading files that strangers made: without executing, extracting or believing anything in them."""

import gzip
import io
import pickle
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data.errors import BadInput, reason
from data.spec import Arrays

MEMBER_LIMIT = 256 * 2**20
"""Bytes; the largest member of any archive read here, a CIFAR-100 batch, has 155 MB."""

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
    """Turn whatever a damaged file raises into one line that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise BadInput("no such file", path, "check the path") from None
    except PermissionError:
        raise BadInput("may not be read", path, "check its permissions") from None
    except DAMAGED as error:
        raise BadInput(f"can't be read ({reason(error)})", path, "it may be truncated: fetch it again") from None


def members(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """The contents of the regular files of a tar archive whose base names are wanted.

    Nothing is written to disk, so no name in the archive can lead anywhere; links are passed over and sizes
    are bounded.
    """
    found = {}
    with reading(path), tarfile.open(path) as archive:
        for member in archive:
            name = member.name.rsplit("/", 1)[-1]
            if name not in wanted or not member.isfile():
                continue
            if member.size > MEMBER_LIMIT:
                raise ValueError(f"member {name} claims {member.size} bytes")
            content = archive.extractfile(member).read()
            if len(content) != member.size:
                raise EOFError(f"member {name} is cut off")
            found[name] = content
        while archive.fileobj.read(2**20):  # gzip compares its checksum at the end of the stream only
            pass
    missing = sorted(wanted - set(found))
    if missing:
        raise BadInput(f"holds no {', '.join(missing)}", path, "give the publisher's archive as it came")
    return found


def zipped(path: Path, wanted: Callable[[str], bool], limit: int) -> dict[str, bytes]:
    """The contents of the files of a zip archive whose names are wanted, if they have no more bytes than the limit.

    Nothing is written to disk, and no member gives more bytes than its header claims.
    """
    with reading(path), zipfile.ZipFile(path) as archive:
        chosen = [member for member in archive.infolist() if not member.is_dir() and wanted(member.filename)]
        size = sum(member.file_size for member in chosen)
        if size > limit:
            raise ValueError(f"its files claim {size} bytes, of {limit} at most")
        return {member.filename: archive.read(member) for member in chosen}


class _ArraysOnly(pickle.Unpickler):
    """Lets through what a pickled dictionary of NumPy arrays needs, and no other name."""

    ALLOWED = frozenset(
        (module, name)
        for package in ("numpy.core", "numpy._core")
        for module, name in (
            (f"{package}.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        )
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a batch of images does not need")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def unpickle(content: bytes, path: Path) -> dict:
    """A Python 2 pickle of a dictionary of arrays, lists, numbers and strings (keys are bytes).

    Raises:
        BadInput: the pickle is damaged or asks for anything else, which is then not executed.

    """
    try:
        value = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a hostile pickle can raise anything
        raise BadInput(f"holds a pickle that is not read ({reason(error)})", path, "use another copy") from None
    if not isinstance(value, dict):
        raise BadInput("holds a pickle of something else than a batch", path, "use another copy")
    return value


def read_npz(path: Path) -> Arrays:
    """The arrays x_train, y_train, x_test, y_test of an ``.npz`` file, without unpickling."""
    keys = ("x_train", "y_train", "x_test", "y_test")
    with reading(path), path.open("rb") as stream:  # NumPy leaves a damaged file open that it opened itself
        file = np.load(stream, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("one array, not an archive of them")
        missing = [key for key in keys if key not in file.files]
        if missing:
            raise BadInput(f"holds no {', '.join(missing)}", path, f"it must hold {', '.join(keys)}")
        return {key: file[key] for key in keys}


def read_idx(path: Path) -> np.ndarray:
    """An array in the IDX format of the MNIST files (LeCun, Cortes, Burges), gzipped or not.

    The header is two zero bytes, a type byte (8: uint8), the number of dimensions, then each dimension as a
    big-endian 32-bit integer.
    """
    with reading(path):
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(MEMBER_LIMIT)
        if len(content) < 4 or content[:3] != b"\x00\x00\x08":
            raise ValueError("not an IDX file of bytes")
        start = 4 + 4 * content[3]
        shape = tuple(np.frombuffer(content[4:start], ">u4").astype(int))
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
    from PIL import Image

    try:
        return Image.open(path)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
