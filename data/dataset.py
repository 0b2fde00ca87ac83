"""How a dataset is had and cut; its kinds are in :mod:`data.images` and :mod:`data.text`."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from data.errors import BadInput
from data.spec import Arrays, DataConfig, Remote, Splits, Subset

PARTICULAR = {"path", "split", "fold", "size", "resize", "strict"}
"""Fields of DataConfig that are of use to some datasets only."""


@dataclass(frozen=True)
class Dataset:
    """One dataset: what it must look like, and how it is had. Its subclasses are the kinds of data."""

    kind: ClassVar[str] = ""
    choices: ClassVar[frozenset[str]] = frozenset()
    """Which of the PARTICULAR options it heeds."""
    peculiarity: ClassVar[str] = ""
    """Why it can't heed the others."""
    described: ClassVar[frozenset[str]] = frozenset()
    """What its manifest holds beyond what every manifest does."""

    name: str
    read: Callable[[Path], object] | None = None
    """Reads the publisher's file, or the folder that holds the publisher's files."""
    remotes: tuple[Remote, ...] = ()
    draw: Callable[[], object] | None = None
    """Makes an embedded dataset out of what is installed."""
    fallback: str = ""
    """The embedded dataset that takes over when the official one can't be had."""
    path: Path | None = None
    """Where it lies, if it is the user's own."""

    @property
    def place(self) -> str:
        """Its folder in the cache; two of the user's own can share a name."""
        return f"{self.name}-{hashlib.sha256(str(self.path).encode()).hexdigest()[:8]}" if self.path else self.name

    @property
    def ingestion(self) -> str:
        """The command that brings it into the cache."""
        if self.path:
            return f"make ingest-{self.name.partition('-')[0]} FROM={self.path}"
        return f"make ingest-{self.name}"

    def configured(self, config: DataConfig) -> "Dataset":
        """The dataset that a configuration means.

        Raises:
            BadInput: the configuration asks for what the dataset can't heed, or names no path where there must be one.
        """
        for option in fields(DataConfig):
            can_be_heeded = option.name not in PARTICULAR or option.name in self.choices
            if not can_be_heeded and getattr(config, option.name) != option.default:
                what = f"is of no use to {self.name}, {self.peculiarity}"
                raise BadInput(what, f"--data.{option.name}", "leave it out")
        if "path" not in self.choices:
            return self
        if not config.path:
            raise BadInput(f"{self.name} needs a path", "--data.path", "say where the data lie (ingest: FROM=path)")
        path = Path(config.path).expanduser().resolve()
        if not path.exists():
            raise BadInput("no such file or folder", path, "check the path")
        stem = re.sub(r"[^\w.-]+", "-", path.stem)
        return replace(self, name=f"{self.name}-{stem}", path=path)

    def take(self, path: Path) -> object:
        """What lies at a local path, as ``read`` gives it."""
        return self.read(path)

    def checksums(self, path: Path) -> dict[str, str]:
        """SHA-256 of the files of a local copy: the publisher's by their names, else what the path names."""
        place = path if path.is_dir() else path.parent
        published = [place / remote.name for remote in self.remotes if (place / remote.name).is_file()]
        if path in published or (published and path.is_dir()):
            files = published
        else:
            files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
        return {file.name: checksum(file) for file in files}

    def arrange(self, raw: object, origin: str, aside: Path) -> tuple[Arrays, dict]:
        """Bring what was read into arrays; returns them and what the manifest says of them (``described``).

        Args:
            raw: what ``take``, ``read`` or ``draw`` gave.
            origin: where it is from.
            aside: a folder of the cache for arrays that don't fit into memory, ``KEY.npy``.

        Raises:
            BadInput: it is not this dataset.
        """
        raise NotImplementedError

    def restricted(self, arrays: Arrays, manifest: dict, names: tuple[str, ...]) -> tuple[Arrays, dict]:
        """The examples of some classes, numbered in the order of the dataset's own; and the manifest of these.

        Raises:
            BadInput: it has no such class, or it is one alone.
        """
        known = manifest["classes"]
        wanted = {part for name in names for part in ([name] if name in known else name.split(","))}
        strangers = sorted(wanted - set(known))
        if strangers:
            what = f"{self.name} has no class {strangers[0]}"
            raise BadInput(what, "--data.classes", f"its classes are {', '.join(known)}")
        if len(wanted) < 2:
            raise BadInput("names one class only", "--data.classes", "give two or more")
        numbers = np.array([number for number, name in enumerate(known) if name in wanted])
        chosen, counts = {}, {}
        for key, labels in [(key, labels) for key, labels in arrays.items() if key[0] == "y"]:
            part = key.partition("_")[2]
            rows = np.flatnonzero(np.isin(labels, numbers))
            if not len(rows):
                raise BadInput(f"leaves no example of {self.name}'s {part} part", "--data.classes", "name others")
            chosen |= {
                other: source[rows] if isinstance(source, np.ndarray) else Subset(source, rows)
                for other, source in arrays.items()
                if other.partition("_")[2] == part
            }
            chosen[key] = np.searchsorted(numbers, labels[rows]).astype(labels.dtype)
            counts[part or "all"] = np.bincount(chosen[key], minlength=len(numbers)).tolist()
        return chosen, manifest | {"classes": [known[number] for number in numbers], "counts": counts}

    def files(self, manifest: dict) -> dict[str, list[str]]:
        """Of each part the file of each row, relative to ``path``; nothing where rows are no files."""
        return {}

    def splits(self, arrays: Arrays, manifest: dict, config: DataConfig) -> Splits:
        """The parts of the cached arrays that a configuration asks for.

        Raises:
            BadInput: they can't be cut like that.
        """
        raise NotImplementedError


def checksum(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
