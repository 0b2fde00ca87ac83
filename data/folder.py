"""Images of the user's own: ``--data.name folder --data.path DIR``.

``DIR/CLASS/*.png`` and other formats, or ``DIR/train/CLASS``, ``DIR/test/CLASS`` and, if wanted, ``DIR/val/CLASS``;
without class folders all images are of one class, which is enough to reconstruct them. Each is turned as its EXIF
data say, laid on white where it is transparent, cut to the middle square and resized.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from data import archives, parts
from data.dataset import Dataset, checksum
from data.errors import BadInput, reason
from data.images import channel_statistics
from data.spec import Arrays, Chain, DataConfig, Source, Spec, Split, Splits, Subset, batches
from data.store import digest

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}

PARTS = ("train", "val", "test")

FEWEST = 2
"""Images that a class must have."""

LISTED = 10
"""Unreadable files that are named; the others are counted."""

Files = dict[str, list[tuple[Path, str]]]
"""By part, or under "" where there are none: each file and its class."""


@dataclass(frozen=True)
class Folder(Dataset):
    """Images of any size in folders of their class."""

    kind: ClassVar[str] = "images"
    choices: ClassVar[frozenset[str]] = frozenset({"path", "split", "size"})
    described: ClassVar[frozenset[str]] = frozenset({"classes", "counts", "facts"})
    peculiarity: ClassVar[str] = "a folder of images"

    size: int = 64
    """Side of the square that each image becomes, in pixels."""

    @property
    def place(self) -> str:
        """See :meth:`data.dataset.Dataset.place`."""
        return f"{super().place}-{self.size}"

    def configured(self, config: DataConfig) -> Dataset:
        """See :meth:`data.dataset.Dataset.configured`."""
        if not 4 <= config.size <= 1024:
            raise BadInput(f"{config.size} pixels", "--data.size", "give 4 to 1024")
        dataset = replace(super().configured(config), size=config.size)
        if not dataset.path.is_dir():
            raise BadInput("is no folder", dataset.path, "give the folder that holds a folder for each class")
        return dataset

    def take(self, path: Path) -> Files:
        """The files of the folder; they are opened by :meth:`arrange`."""
        return find(path)

    def checksums(self, path: Path) -> dict[str, str]:
        """One checksum over the names and bytes of all files."""
        sha = hashlib.sha256()
        for file, _ in sorted(file for files in find(path).values() for file in files):
            sha.update(f"{file.relative_to(path)} {_checksum(file)}\n".encode())
        return {path.name: sha.hexdigest()}

    def arrange(self, raw: Files, origin: str) -> tuple[Arrays, dict]:
        """Read the files; what can't be read is left out and named in the manifest."""
        images, faults = self._read([file for files in raw.values() for file, _ in files])
        if not images:
            raise BadInput(f"none of {len(faults)} images can be read, {faults[0]}", origin, "use another copy")
        grey = all(image.ndim == 2 for image in images.values())
        classes = sorted({label for files in raw.values() for _, label in files})
        arrays, counts = {}, {}
        for part, files in raw.items():
            good = [(images[file], classes.index(label)) for file, label in files if file in images]
            labels = np.array([label for _, label in good], np.int32)
            counts[part or "all"] = np.bincount(labels, minlength=len(classes)).tolist()
            rare = [name for name, count in zip(classes, counts[part or "all"], strict=True) if count < FEWEST]
            if rare and part in ("", "train"):
                what = f"class {rare[0]} has fewer than {FEWEST} images that can be read"
                raise BadInput(what, origin, "add some, or remove the class")
            ending = part and f"_{part}"
            empty = np.empty((0, self.size, self.size, 1 if grey else 3), np.uint8)
            arrays[f"x{ending}"] = np.stack([_coloured(image, grey) for image, _ in good]) if good else empty
            arrays[f"y{ending}"] = labels
        prints = np.concatenate([_fingerprints(array) for key, array in arrays.items() if key[0] == "x"])
        facts = {
            "images": len(images),
            "different images": len(np.unique(prints)),
            "side in pixels": self.size,
            "channels": 1 if grey else 3,
            "files left out": len(faults),
        }
        facts |= {f"left out {number}": fault for number, fault in enumerate(faults[:LISTED], 1)}
        return arrays, {"classes": classes, "counts": counts, "facts": facts}

    def _read(self, files: list[Path]) -> tuple[dict[Path, np.ndarray], list[str]]:
        """The images of the files that can be read, uint8 (size, size) or (size, size, 3), and why others can't."""

        def read(file: Path) -> np.ndarray | str:
            try:
                return _square(file, self.size)
            except UnidentifiedImageError:
                return f"{file}: no image"
            except Exception as error:  # a damaged image can raise anything
                return f"{file}: {reason(error)}"

        from PIL import UnidentifiedImageError

        with ThreadPoolExecutor() as pool:
            results = dict(zip(files, pool.map(read, files), strict=True))
        images = {file: found for file, found in results.items() if not isinstance(found, str)}
        return images, [found for found in results.values() if isinstance(found, str)]

    def splits(self, arrays: Arrays, manifest: dict, config: DataConfig) -> Splits:
        """The parts that have folders; else a test set by ``config.split`` and a validation part of the rest."""
        if "x_test" in arrays:
            return self._official(arrays, manifest, config)
        images, labels = arrays["x"], np.asarray(arrays["y"])
        prints = _fingerprints(images)  # copies of one image stay together
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
        known = {part: Split(arrays[f"x_{part}"], np.asarray(arrays[f"y_{part}"])) for part in manifest["counts"]}
        images, labels = known["train"].inputs, known["train"].labels
        if "val" in known:
            images = Chain((images, known["val"].inputs))
            labels = np.concatenate([labels, known["val"].labels])
        both = Split(images, labels)
        if "val" in known and config.validation:
            train, val = np.split(np.arange(len(both)), [len(known["train"])])
            train = parts.some(train, labels, config)
        else:
            train, val = parts.cut(labels, config, _fingerprints(images))
        checksums = {"sha256": digest(images, labels), "test_sha256": digest(arrays["x_test"], arrays["y_test"])}
        spec = self._spec(images, manifest)
        return Splits(spec, both.take(train), both.take(val), known["test"], manifest | checksums)

    def _spec(self, images: Source, manifest: dict) -> Spec:
        mean, deviation = channel_statistics(images)
        shape = images[np.arange(0)].shape[1:]
        return Spec(self.kind, tuple(manifest["classes"]), shape, tuple(mean), tuple(deviation))


def find(path: Path) -> Files:
    """The images below a folder, in the order of their names.

    Raises:
        BadInput: there are none, or they lie in another order than those described above.
    """
    if not (path / "train").is_dir():
        return {"": _classes(path)}
    if not (path / "test").is_dir():
        do = "add test/CLASS, or lay all images in CLASS folders: then a test set is cut"
        raise BadInput("holds train, but no test", path, do)
    found = {part: _classes(path / part) for part in PARTS if (path / part).is_dir()}
    known = {label for _, label in found["train"]}
    strangers = sorted({label for files in found.values() for _, label in files} - known)
    if strangers:
        raise BadInput(f"has no class {strangers[0]}, which another part has", path / "train", "rename or remove it")
    return found


def _classes(path: Path) -> list[tuple[Path, str]]:
    with archives.reading(path):
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        loose = _images(path)
        found = {folder: _images(folder) for folder in folders}
    if loose and any(found.values()):
        raise BadInput("holds images beside folders of images", path, "move them into the folder of their class")
    if loose:
        return [(file, path.name) for file in loose]
    if not any(found.values()):
        raise BadInput("holds no images", path, f"give CLASS/*{'|'.join(sorted(ENDINGS))}")
    empty = [folder for folder, files in found.items() if not files]
    if empty:
        raise BadInput("holds no images", empty[0], "add some, or remove the folder")
    return [(file, folder.name) for folder, files in found.items() for file in files]


def _images(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in ENDINGS and file.is_file() and not file.name.startswith(".")
    )


def _checksum(file: Path) -> str:
    try:
        return checksum(file)
    except OSError as error:  # then it is no part of the data
        return reason(error)


def _square(file: Path, size: int) -> np.ndarray:
    """The middle square of an image, uint8 (size, size) if it is grey, else (size, size, 3)."""
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        if image.mode[0] in "IF":  # converting would cut values off
            raise ValueError(f"has {image.mode} pixels, not 8 bits a channel")
        upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        grey, upright = upright.mode == "LA", Image.alpha_composite(white, upright.convert("RGBA"))
    else:
        grey = upright.mode in ("1", "L")
    side = min(upright.size)
    left, top = ((length - side) // 2 for length in upright.size)
    square = upright.convert("L" if grey else "RGB").crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def _coloured(image: np.ndarray, grey: bool) -> np.ndarray:
    """With an axis of channels: one if all images are grey, else three."""
    if image.ndim == 3:
        return image
    return np.repeat(image[..., None], 1 if grey else 3, axis=-1)


def _fingerprints(images: Source) -> np.ndarray:
    """The same string for the same pixels."""
    prints = (hashlib.sha256(image.tobytes()).hexdigest() for batch in batches(images) for image in batch)
    return np.fromiter(prints, "<U64", len(images))


DATASETS = (Folder(name="folder"),)
