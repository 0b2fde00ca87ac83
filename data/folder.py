"""Images of the user's own: ``--data.name folder --data.path DIR``.

``DIR/CLASS/*.png`` and other formats, or ``DIR/train/CLASS``, ``DIR/test/CLASS`` and, if wanted, ``DIR/val/CLASS``;
without class folders all images are of one class, which is enough to reconstruct them. :mod:`data.pictures` says what
becomes of each.

The files are decoded once and their pixels cached on disk, from where training maps them. Decoding in each epoch would
save the disk (ImageNet at 224 pixels: 193 GB, and 140 GB of JPEG), but of photographs of 500x375 pixels a core decodes
420 a second to 224 pixels and 950 to 64, and reads 94,000 of 64 from the cache, which has a checksum, too.
"""

import os
import shutil
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np

from data import decoding, parts, tree
from data.dataset import Dataset
from data.errors import BadInput
from data.images import channel_statistics
from data.spec import Arrays, Chain, DataConfig, Source, Spec, Split, Splits, Subset
from data.store import digest

FEWEST = 2
"""Images that a class must have."""

LISTED = 10
"""Unreadable files that are named; the others are counted."""


@dataclass(frozen=True)
class Folder(Dataset):
    """Images of any size in folders of their class."""

    kind: ClassVar[str] = "images"
    choices: ClassVar[frozenset[str]] = frozenset({"path", "split", "size", "resize", "strict"})
    described: ClassVar[frozenset[str]] = frozenset({"classes", "counts", "facts", "faults", "left_out"})
    peculiarity: ClassVar[str] = "a folder of images"

    size: int = 64
    """Side of the square that each image becomes, in pixels."""
    resize: str = "crop"
    """How it becomes one, see :func:`data.pictures.pixels`."""
    strict: bool = False
    """Refuse data with faults."""

    @property
    def place(self) -> str:
        """See :meth:`data.dataset.Dataset.place`."""
        return f"{super().place}-{self.size}" + (f"-{self.resize}" if self.resize != "crop" else "")

    def configured(self, config: DataConfig) -> Dataset:
        """See :meth:`data.dataset.Dataset.configured`."""
        if config.size and not 4 <= config.size <= 1024:
            raise BadInput(f"{config.size} pixels", "--data.size", "give 4 to 1024")
        known = super().configured(config)
        if not known.path.is_dir():
            raise BadInput("is no folder", known.path, "give the folder that holds a folder for each class")
        return replace(known, size=config.size or self.size, resize=config.resize, strict=config.strict)

    def take(self, path: Path) -> tree.Files:
        """The files of the folder; they are opened by :meth:`arrange`."""
        return tree.find(path)

    def checksums(self, path: Path) -> dict[str, str]:
        """One by which every change of a file is noticed."""
        return {path.name: tree.listing(path)}

    def arrange(self, raw: tree.Files, origin: str, aside: Path) -> tuple[Arrays, dict]:
        """Decode the files; what can't be read is left out and named in the manifest."""
        files = [file for found in raw.values() for file, _ in found]
        grey, seen = decoding.survey(files)
        shape = (self.size, self.size, 1 if grey else 3)
        _check_space(len(files), shape, aside)
        classes = sorted({label for found in raw.values() for _, label in found})
        number = {label: index for index, label in enumerate(classes)}
        arrays, counts, left_out, kept, unreadable = {}, {}, {}, {}, []
        for part, found in raw.items():
            ending = part and f"_{part}"
            x = aside / f"x{ending}.npy"
            good, prints, faults = decoding.write([file for file, _ in found], x, shape, self.resize)
            labels = np.array([number[found[row][1]] for row in good], np.int32)
            arrays |= {f"x{ending}": np.load(x, mmap_mode="r"), f"y{ending}": labels, f"prints{ending}": prints}
            counts[part or "all"] = np.bincount(labels, minlength=len(classes)).tolist()
            left_out[part or "all"] = sorted(set(range(len(found))) - set(good))
            kept[part] = [found[row][0] for row in good], prints
            unreadable += faults
        prints = np.concatenate([prints for _, prints in kept.values()])
        facts = {
            "images": len(prints),
            "different images": len(np.unique(prints)),
            **seen,
            "side in pixels": self.size,
            "resized by": self.resize,
            "channels": shape[2],
            "files left out": len(unreadable),
        }
        facts |= {f"left out {number}": fault for number, fault in enumerate(unreadable[:LISTED], 1)}
        faults = _left_out(unreadable, len(files)) + _shared(kept)
        self._check(classes, counts, faults, unreadable, origin)
        described = {"classes": classes, "counts": counts, "facts": facts, "faults": faults, "left_out": left_out}
        return arrays, described

    def files(self, manifest: dict) -> dict[str, list[str]]:
        """See :meth:`data.dataset.Dataset.files`."""
        names = {}
        for part, found in tree.find(self.path).items():
            gone = set(manifest["left_out"][part or "all"])
            names[part or "all"] = [
                os.path.relpath(file, self.path) for row, (file, _) in enumerate(found) if row not in gone
            ]
        return names

    def _check(
        self, classes: list[str], counts: dict[str, list[int]], faults: list[str], unreadable: list[str], origin: str
    ) -> None:
        if not any(map(sum, counts.values())):
            raise BadInput(f"none of {len(unreadable)} images can be read, {unreadable[0]}", origin, "use another copy")
        self._refuse(faults, origin)
        for name, count in zip(classes, counts.get("all") or counts["train"], strict=True):
            if count < FEWEST:
                what = f"class {name} has fewer than {FEWEST} images that can be read"
                raise BadInput(what, origin, "add some, or remove the class")

    def _refuse(self, faults: list[str], origin: str) -> None:
        if self.strict and faults:
            raise BadInput(faults[0], origin, "mend or remove what is at fault, or leave --data.strict out")

    def splits(self, arrays: Arrays, manifest: dict, config: DataConfig) -> Splits:
        """The parts that have folders; else a test set by ``config.split`` and a validation part of the rest."""
        self._refuse(manifest["faults"], manifest["origin"])
        found = self._official if "x_test" in arrays else self._cut
        return replace(found(arrays, manifest, config), remarks=tuple(manifest["faults"]))

    def _cut(self, arrays: Arrays, manifest: dict, config: DataConfig) -> Splits:
        images, labels, prints = arrays["x"], np.asarray(arrays["y"]), arrays["prints"]
        # Copies of one image stay together.
        rest, test = parts.by_groups(labels, prints, parts.TEST, config.split, self.name)
        train, val = parts.cut(labels[rest], config, prints[rest])
        used = parts.used(manifest, config, {"train": rest, "test": test}, images, labels)
        whole = Split(images, labels)
        cut = (whole.take(rows) for rows in (rest[train], rest[val], test))
        return Splits(self._spec(Subset(images, rest), manifest), *cut, used)

    def _official(self, arrays: Arrays, manifest: dict, config: DataConfig) -> Splits:
        """The parts as they came. The validation part, if it came, is used whole, or for training with 0 of it."""
        if config.split:
            raise BadInput("is of no use where there is a test folder", "--data.split", "leave it out")
        known = [part for part in ("train", "val") if part in manifest["counts"]]
        images, labels, prints = (_chained([arrays[f"{key}_{part}"] for part in known]) for key in ("x", "y", "prints"))
        both, count = Split(images, labels), len(arrays["y_train"])
        if "val" in known and config.validation:
            train, val = parts.some(np.arange(count), labels, config), np.arange(count, len(both))
        else:
            train, val = parts.cut(labels, config, prints)
        checksums = {"sha256": digest(images, labels), "test_sha256": digest(arrays["x_test"], arrays["y_test"])}
        test = Split(arrays["x_test"], np.asarray(arrays["y_test"]))
        return Splits(self._spec(images, manifest), both.take(train), both.take(val), test, manifest | checksums)

    def _spec(self, images: Source, manifest: dict) -> Spec:
        mean, deviation = channel_statistics(images)
        shape = images[np.arange(0)].shape[1:]
        return Spec(self.kind, tuple(manifest["classes"]), shape, tuple(mean), tuple(deviation))


def _chained(sources: list[Source]) -> Source:
    return np.concatenate(sources) if isinstance(sources[0], np.ndarray) else Chain(tuple(sources))


def _check_space(count: int, shape: tuple[int, int, int], aside: Path) -> None:
    """Say at once what an hour of decoding would come to."""
    wanted, free = count * int(np.prod(shape)), shutil.disk_usage(aside).free
    if wanted > free:
        what = f"{count:,} images of {shape[0]} pixels take {wanted / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        raise BadInput(what, aside.parent, "free space, set DATA_CACHE to another folder, or lower --data.size")


def _left_out(unreadable: list[str], count: int) -> list[str]:
    """The fault that files can't be read, if there are some."""
    what = f"{len(unreadable):,} of {count:,} files can't be read, the first: "
    return [what + unreadable[0]] if unreadable else []


def _shared(parts: dict[str, tuple[list[str], np.ndarray]]) -> list[str]:
    """For each two parts the fault that they share images, if they do.

    Args:
        parts: paths of the images of each and the prints of their pixels.
    """
    faults = []
    for (first, (paths, prints)), (second, (others, known)) in combinations(parts.items(), 2):
        rows = np.flatnonzero(np.isin(known, prints))
        if len(rows):
            same = paths[int(np.argmax(prints == known[rows[0]]))]
            what = f"images of {second} that are in {first}, too: {len(rows):,}, the first {others[rows[0]]}, as {same}"
            faults.append(what)
    return faults


DATASETS = (Folder(name="folder"),)
