"""The cache of datasets: each is verified, written atomically, and described by a manifest.

``cache/NAME/SOURCE/manifest.json`` names the folder ``cache/NAME/SOURCE/VERSION`` that holds the arrays. A new
version is written aside, synced and renamed before one atomic rename of the manifest makes it the current one,
so that a kill at any moment leaves the old state or the new. A lock lets one process at a time write.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data import archives
from data.download import fetch
from data.errors import BadInput, disk_fault, reason
from data.spec import Arrays, Dataset

KEYS = ("x_train", "y_train", "x_test", "y_test")

MANIFEST = {"name", "origin", "read", "version", "sha256", "test_sha256", "arrays", "counts", "mean", "deviation"}
"""What every manifest holds and later stages read."""

CACHE = Path(__file__).resolve().parent / "cache"


def folder(dataset: Dataset, source: str) -> Path:
    """Where the versions of a dataset from one source lie; DATA_CACHE names another place than data/cache."""
    return Path(os.environ.get("DATA_CACHE") or CACHE) / dataset.name / source


def ingest(dataset: Dataset, source: str, path: Path | None = None) -> dict:
    """Bring a dataset into the cache and return its manifest; nothing is written if it is there already.

    Args:
        dataset: what to bring.
        source: ``official`` downloads it, ``local`` reads the copy at ``path``, ``embedded`` makes it.
        path: the publisher's archive, an ``.npz`` file, or a folder.

    Raises:
        BadInput: what was read is not this dataset, or the cache can't be written.
        Unreachable: the publisher can't be reached.

    """
    place = folder(dataset, source)
    with _writing(place):
        arrays, origin, checksums = _read(dataset, source, path, place)
        _check(dataset, arrays, origin)
        manifest = _describe(dataset, source, origin, checksums, arrays)
        known = read_manifest(dataset, source)
        if (
            known
            and all(known[key] == manifest[key] for key in ("version", "read", "origin"))
            and _intact(place, manifest)
        ):
            return known
        _write(place, manifest, arrays)
        return manifest


def read_manifest(dataset: Dataset, source: str) -> dict | None:
    """The manifest of what is in the cache, or None."""
    path = folder(dataset, source) / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or not set(manifest) >= MANIFEST:
            raise ValueError("not a manifest of this version")
        return manifest
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"can't be read ({reason(error)})", path, "remove it and ingest again") from None


def open_arrays(dataset: Dataset, source: str, manifest: dict) -> Arrays:
    """The cached arrays, mapped into memory, after checking that they are what the manifest says."""
    place = folder(dataset, source) / manifest["version"]
    arrays = {}
    for key in KEYS:
        path = place / f"{key}.npy"
        again = f"run make ingest-{dataset.name} again"
        try:
            arrays[key] = np.load(path, mmap_mode="r", allow_pickle=False)
        except archives.DAMAGED as error:
            raise BadInput(f"can't be read ({reason(error)})", path, again) from None
        if digest(arrays[key]) != manifest["arrays"][key]["sha256"]:
            raise BadInput("differs from its checksum", path, again)
    return arrays


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 over the types, shapes and bytes of arrays."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Hold the lock of a place; a full disk or a folder that may not be written becomes one line."""
    from filelock import FileLock

    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):
            yield
    except OSError as error:
        what = f"can't be written ({disk_fault(error) or error.strerror or reason(error)})"
        do = "free space or permissions, or set DATA_CACHE to another folder"
        raise BadInput(what, error.filename or place, do) from None


def _read(dataset: Dataset, source: str, path: Path | None, place: Path) -> tuple[Arrays, str, dict[str, str]]:
    """Arrays, where they come from, and the SHA-256 of each file that was read."""
    if source == "embedded":
        return dataset.draw(), "drawn or bundled by the installed code", {}
    if source == "official":
        with tempfile.TemporaryDirectory(dir=place, prefix="download-") as aside:
            files = [fetch(remote, Path(aside)) for remote in dataset.remotes]
            arrays = dataset.read(Path(aside))
            return arrays, dataset.remotes[0].url, {file.name: _sha256(file) for file in files}
    if not path.exists():
        raise BadInput("no such file or folder", path, "check FROM=")
    if path.is_dir() and (path / "train").is_dir():
        return archives.read_folder(path, dataset.classes, dataset.shape), str(path.resolve()), {}
    arrays = archives.read_npz(path) if path.suffix == ".npz" else dataset.read(path)
    return arrays, str(path.resolve()), {file.name: _sha256(file) for file in _files(dataset, path)}


def _files(dataset: Dataset, path: Path) -> list[Path]:
    """The files that a local copy consists of: the publisher's by their names, else what the path names."""
    place = path if path.is_dir() else path.parent
    published = [place / remote.name for remote in dataset.remotes if (place / remote.name).is_file()]
    if path in published or (published and path.is_dir()):
        return published
    return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(dataset: Dataset, arrays: Arrays, origin: str) -> None:
    """Bring shapes and types into our form where nothing is lost by it; refuse everything else."""
    for split in ("train", "test"):
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
        count, shape = dataset.counts[split], dataset.shape
        if images.ndim == 3 and shape[2] == 1:
            images = images[..., None]
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if images.dtype != np.uint8:
            raise BadInput(f"x_{split} is {images.dtype}, not uint8", origin, "store the original bytes 0 to 255")
        if images.shape != (count, *shape):
            raise BadInput(f"x_{split} has shape {images.shape}, not {(count, *shape)}", origin, "give all of it")
        if labels.shape != (count,) or labels.dtype.kind not in "iu":
            raise BadInput(f"y_{split} is {labels.dtype} {labels.shape}, not {count} integers", origin, "check it")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(dataset.classes)))
        if len(wrong):
            found = f"y_{split}[{wrong[0]}] is {labels[wrong[0]]}, outside 0 to {len(dataset.classes) - 1}"
            raise BadInput(found, origin, f"{len(wrong)} labels are out of range")
        missing = sorted(set(range(len(dataset.classes))) - set(np.unique(labels).tolist()))
        if missing:
            raise BadInput(f"y_{split} has no example of {dataset.classes[missing[0]]}", origin, "give all classes")
        arrays[f"x_{split}"], arrays[f"y_{split}"] = images, labels.astype(np.uint8)


def _describe(dataset: Dataset, source: str, origin: str, checksums: dict[str, str], arrays: Arrays) -> dict:
    """The manifest: what a run records about its data."""
    mean, deviation = _channel_statistics(arrays["x_train"])
    described = {
        key: {"sha256": digest(array), "shape": list(array.shape), "dtype": str(array.dtype)}
        for key, array in arrays.items()
    }
    version = hashlib.sha256("".join(described[key]["sha256"] for key in KEYS).encode()).hexdigest()[:16]
    return {
        "name": dataset.name,
        "task": dataset.task,
        "source": source,
        "origin": origin,
        "read": checksums,
        "version": version,
        "sha256": digest(arrays["x_train"], arrays["y_train"]),
        "test_sha256": digest(arrays["x_test"], arrays["y_test"]),
        "arrays": described,
        "classes": list(dataset.classes),
        "counts": {
            split: np.bincount(arrays[f"y_{split}"], minlength=len(dataset.classes)).tolist()
            for split in ("train", "test")
        },
        "mean": mean,
        "deviation": deviation,
        "ingested": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel on the scale 0 to 1, exact: counted, not summed in floats."""
    levels = np.arange(256) / 255
    mean, deviation = [], []
    for channel in range(images.shape[-1]):
        share = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., 0].size
        mean.append(float(share @ levels))
        deviation.append(float(np.sqrt(share @ (levels - mean[-1]) ** 2)))
    return mean, deviation


def _intact(place: Path, manifest: dict) -> bool:
    """Whether the arrays that a manifest describes lie there, unharmed."""
    try:
        return all(
            digest(np.load(place / manifest["version"] / f"{key}.npy", mmap_mode="r", allow_pickle=False))
            == manifest["arrays"][key]["sha256"]
            for key in KEYS
        )
    except archives.DAMAGED:
        return False


def _write(place: Path, manifest: dict, arrays: Arrays) -> None:
    """Write a version aside, sync it, rename it into place, then switch the manifest over to it."""
    aside = place / "writing"
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed; the lock says that none is alive
    aside.mkdir()
    try:
        target = place / manifest["version"]
        if not _intact(place, manifest):  # else only its origin is new, and what others may be reading stays
            for key in KEYS:
                with (aside / f"{key}.npy").open("wb") as file:
                    np.save(file, arrays[key])
                    _sync(file)
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
        draft = place / "manifest.json.new"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            _sync(file)
        draft.rename(place / "manifest.json")
        for superseded in place.iterdir():
            if superseded.is_dir() and superseded != target:
                shutil.rmtree(superseded)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(file: object) -> None:
    file.flush()
    os.fsync(file.fileno())
