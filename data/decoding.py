"""Many image files become one array: by all processors, written piece by piece, so that no number takes memory."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data import pictures
from data.parallel import working
from data.store import growing

MANY = 1_000
"""Files from which on a bar shows how far the work is."""

AHEAD = 2**23
"""Bytes of the decoded images that wait to be written, or FEWEST images."""

FEWEST = 16


def survey(files: list[str]) -> tuple[bool, dict[str, str]]:
    """Whether all images are grey; and their sizes and modes in words. Their pixels are not read."""
    sizes, modes, grey = Counter(), Counter(), True
    for width, height, mode, is_grey in filter(None, _each(pictures.look, files, MANY, "looking at")):
        sizes[width, height] += 1
        modes[mode] += 1
        grey = grey and is_grey
    if not sizes:
        return False, {}
    rising = sorted(sizes, key=np.prod)
    median = rising[np.searchsorted(np.cumsum([sizes[size] for size in rising]), sizes.total() / 2)]
    smallest, median, largest = (f"{width} x {height}" for width, height in (rising[0], median, rising[-1]))
    return grey, {
        "sizes, width x height": f"{smallest} to {largest}, median {median}",
        "modes": ", ".join(f"{mode} {count:,}" for mode, count in modes.most_common()),
    }


def write(
    files: list[str], path: Path, shape: tuple[int, int, int], resize: str
) -> tuple[list[int], np.ndarray, list[str]]:
    """Write the pixels of image files as one array uint8 (N, H, W, C).

    Args:
        files: their paths.
        path: of the array.
        shape: of an image, (H, W, C).
        resize: see :func:`data.pictures.pixels`.

    Returns:
        The N files that could be read, by their numbers; a SHA-256 of each one's pixels, S32 (N,); and why the others
        could not.
    """

    def read(file: str) -> np.ndarray | str:
        try:
            return pictures.pixels(file, shape, resize)
        except ValueError as error:
            return " ".join(f"{file}: {error}".splitlines())

    good, prints, faults = [], bytearray(), []
    with growing(path, shape) as add:
        for number, found in enumerate(_each(read, files, max(FEWEST, AHEAD // int(np.prod(shape))), "decoding")):
            if isinstance(found, str):
                faults.append(found)
                continue
            add(found)
            good.append(number)
            prints += hashlib.sha256(found).digest()
    return good, np.frombuffer(bytes(prints), "S32"), faults


def _each(act: Callable[[str], object], files: list[str], ahead: int, doing: str) -> Iterator[object]:
    """What comes of each file, in their order; no more results than ``ahead`` wait to be taken."""
    with working(f"{doing} files", len(files), ahead, len(files) >= MANY) as work, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow remarks on much that it then reads
        yield from work(act, files)
