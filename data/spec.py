"""What a dataset looks like to the rest of the code: its configuration, its description, its splits."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

PADDING, UNKNOWN, FIRST = 0, 1, 2
"""Ids of characters: what fills a short text up, one that no training text has, the vocabulary's first."""

BATCH = 2**23
"""Bytes of the examples that are looked at together, by what looks at all of them."""


class Source(Protocol):
    """Random access to the inputs of a split; an array is one, a folder of files can be another."""

    def __len__(self) -> int:
        """The number of examples."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The examples of these rows as one batch, shape (len(rows), ...)."""


Arrays = dict[str, Source]
"""x_train, y_train, x_test, y_test where there is an official test set, else x, y: images uint8 (N, H, W, C), texts
str (N,); labels, always an array, integers (N,)."""


@dataclass(frozen=True)
class DataConfig:
    """Which data a run reads and how much of it."""

    name: str
    """Dataset: cifar10, cifar100, svhn, svhn-extra, mnist, fashion_mnist, digits, cifar10-standin; names, surnames;
    csv or folder, which lie at --data.path."""
    source: Literal["auto", "official", "local", "embedded"] = "auto"
    """Where from; auto: the ingested local copy, else the official one, else the embedded stand-in."""
    validation: float = 0.1
    """Part of the training set kept for validation: a fraction if below 1, else a count; 0 for none."""
    limit: int = 0
    """Train on this many examples only, drawn by class; 0 for all."""
    shots: int = 0
    """Train on this many examples of each class only; 0 for all. The validation part stays as large as it is."""
    draw: int = 0
    """Seed of which examples shots takes; of one seed, the fewer are among the more."""
    classes: tuple[str, ...] = ()
    """Only the examples of these classes, in every part; none named: of all. Spaces or commas between them."""
    path: str = ""
    """csv: a file of texts and labels; folder: a directory of images."""
    split: int = 0
    """Seed of the test set, 20 % of the data, where they come without an official one."""
    fold: bool = False
    """Texts: letters without their marks."""
    size: int = 0
    """folder: side in pixels that images are brought to; 0: 64, and in a transfer what the source takes."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
    """folder: how images become square: their middle, all of them beside black, or out of proportion."""
    strict: bool = False
    """folder: refuse it if files can't be read, or if an image stands in two parts."""


@dataclass(frozen=True)
class Spec:
    """What a model must know about its data."""

    kind: str
    """images or text."""
    classes: tuple[str, ...]
    """Class names; a label is an index into them."""
    shape: tuple[int, ...] = ()
    """Images: height, width, channels."""
    mean: tuple[float, ...] = ()
    """Images: mean of each channel over the training set, on the scale 0 to 1."""
    deviation: tuple[float, ...] = ()
    """Images: standard deviation of each channel, on the scale 0 to 1."""
    vocabulary: tuple[str, ...] = ()
    """Text: the characters of the training texts. That of index i has id i + 2; 0 is padding, 1 any other one."""
    fold: bool = False
    """Text: letters lose their marks before they are looked up."""
    longest: int = 0
    """Text: characters of the longest training text."""


@dataclass(frozen=True)
class Remote:
    """A file at its publisher's address."""

    url: str
    checksum: str = ""
    """``sha256:…`` or ``md5:…`` as the publisher or Keras gives it; empty where neither does."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Subset:
    """Some rows of a source, itself a source."""

    source: Source
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.source[self.rows[rows]]


@dataclass(frozen=True)
class Mapped:
    """An array in a file. What was read is let go of, so that memory stays what it is however large the file."""

    array: np.memmap

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        found = self.array[rows]
        self.array.base.madvise(mmap.MADV_DONTNEED)
        return found


@dataclass(frozen=True)
class Chain:
    """Several sources one after the other."""

    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        none, start = self.sources[0][np.arange(0)], 0
        found = np.empty((len(rows), *none.shape[1:]), none.dtype)
        for source in self.sources:
            here = (start <= rows) & (rows < start + len(source))
            found[here] = source[rows[here] - start]
            start += len(source)
        return found


def batches(source: Source) -> Iterator[np.ndarray]:
    """All examples in their order, some at a time, so that their number costs no memory."""
    source = Mapped(source) if isinstance(source, np.memmap) else source
    size = source[np.arange(min(1, len(source)))].nbytes
    count = max(1, BATCH // max(1, size))
    for start in range(0, len(source), count):
        yield source[np.arange(start, min(start + count, len(source)))]


@dataclass(frozen=True)
class Split:
    """Inputs and labels of one part of a dataset."""

    inputs: Source
    labels: np.ndarray
    """Shape (N,), integers."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Split":
        """The split of these rows only."""
        return Split(Subset(self.inputs, rows), self.labels[rows])


@dataclass(frozen=True)
class Cached:
    """Images as they lie in the cache, by part: train and test, or all where there is no official test set."""

    place: Path
    """Where what is made of them is put."""
    manifest: dict
    images: dict[str, Source]
    labels: dict[str, np.ndarray]
    files: dict[str, list[str]]
    """Of each row the file; nothing where there are no files."""
    notice: str = ""
    """See :class:`Splits`."""


@dataclass(frozen=True)
class Splits:
    """A dataset ready for use."""

    spec: Spec
    train: Split
    val: Split
    """Cut from the training set; may be empty."""
    test: Split
    """The official test set, untouched; where there is none, what ``DataConfig.split`` cuts."""
    manifest: dict = field(default_factory=dict)
    """Where the arrays come from and their checksums; see :mod:`data.store`."""
    remarks: tuple[str, ...] = ()
    """Faults of the user's own data that do not keep them from being used."""
    notice: str = ""
    """Set when an embedded dataset stands in for the one asked for; printed first and shown on every figure."""

    @property
    def name(self) -> str:
        """The name of the dataset that is really used."""
        return self.manifest["name"]
