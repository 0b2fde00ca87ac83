"""Which images lie in a folder, in which part and class: none of them is opened."""

import hashlib
import os
from pathlib import Path

from data import archives
from data.errors import BadInput

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}

PARTS = ("train", "val", "test")

Files = dict[str, list[tuple[str, str]]]
"""By part, or under "" where there are none: each file and its class."""


def find(path: Path) -> Files:
    """The images below a folder, in the order of their names.

    Raises:
        BadInput: there are none, or they lie in another order than those described in :mod:`data.folder`.
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


def listing(path: Path) -> str:
    """SHA-256 over the names, sizes and times of change of the images.

    Not over their bytes: each training would have to read all files to know that they are the same, of ImageNet 140 GB.
    The time of change (ctime) is set by the system at every change, also by copies that keep the time of modification.
    """
    sha = hashlib.sha256()
    for file in sorted(file for files in find(path).values() for file, _ in files):
        status = Path(file).stat()
        sha.update(f"{os.path.relpath(file, path)} {status.st_size} {status.st_ctime_ns}\n".encode(errors="replace"))
    return sha.hexdigest()


def _classes(path: Path) -> list[tuple[str, str]]:
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


def _images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.path
            for entry in entries
            if os.path.splitext(entry.name)[1].lower() in ENDINGS and entry.is_file() and entry.name[0] != "."
        )
