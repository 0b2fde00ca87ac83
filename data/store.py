"""The cache of datasets: each is verified, written atomically, and described by a manifest.

``cache/NAME/SOURCE/manifest.json`` names the folder ``cache/NAME/SOURCE/VERSION`` that holds the arrays. A new
version is written aside, synced and renamed before one atomic rename of the manifest makes it the current one,
so that a kill at any moment leaves the old state or the new. A lock lets one process at a time write.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data import archives, sealed
from data.dataset import Dataset, checksum
from data.download import fetch
from data.errors import BadInput, disk_fault, reason
from data.spec import Arrays, Source, batches

MANIFEST = {"name", "origin", "read", "version", "arrays", "classes"}
"""What every manifest holds and later stages read."""

CACHE = Path(__file__).resolve().parent / "cache"


def root() -> Path:
    """The cache; DATA_CACHE names another place than data/cache."""
    return Path(os.environ.get("DATA_CACHE") or CACHE)


def folder(dataset: Dataset, source: str) -> Path:
    """Where the versions of a dataset from one source lie."""
    return root() / dataset.place / source


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
    with _writing(place) as aside:
        raw, origin, checksums = _read(dataset, source, path, place)
        arrays, described = dataset.arrange(raw, origin, aside)
        manifest = _describe(dataset, source, origin, checksums, arrays) | described
        known = read_manifest(dataset, source)
        if known and {**known, "ingested": manifest["ingested"]} == manifest and intact(place, manifest):
            return known
        _write(place, aside, manifest, arrays)
        return manifest


def read_manifest(dataset: Dataset, source: str) -> dict | None:
    """The manifest of what is in the cache, or None."""
    path = folder(dataset, source) / "manifest.json"
    try:
        return parse_manifest(path, dataset.described)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if dataset.path:  # the user's own data are read again
            return None
        raise BadInput(f"can't be read ({reason(error)})", path, "remove it and ingest again") from None


def parse_manifest(path: Path, described: frozenset[str] = frozenset()) -> dict:
    """What a manifest says.

    Args:
        path: its.
        described: what it must say beside :data:`MANIFEST`.

    Raises:
        OSError: it can't be read.
        ValueError: it is damaged, or of another version.
    """
    manifest = sealed.loads(path.read_text(encoding="utf-8"), ("name",))
    if not set(manifest) >= MANIFEST | described:
        raise ValueError("not a manifest of this version")
    return manifest


def unchanged(dataset: Dataset) -> dict | None:
    """The manifest of the user's own data, if they are in the cache as they lie at their path now."""
    known = read_manifest(dataset, "local")
    if known is None or not intact(folder(dataset, "local"), known):
        return None
    with archives.reading(dataset.path):
        return known if known["read"] == dataset.checksums(dataset.path) else None


def open_arrays(dataset: Dataset, source: str, manifest: dict) -> Arrays:
    """The cached arrays, mapped into memory, after checking that they are what the manifest says."""
    place = folder(dataset, source) / manifest["version"]
    arrays = {}
    for key, described in manifest["arrays"].items():
        path = place / f"{key}.npy"
        again = f"run {dataset.ingestion} again"
        try:
            arrays[key] = _mapped(path)
        except archives.DAMAGED as error:
            raise BadInput(f"can't be read ({reason(error)})", path, again) from None
        if digest(arrays[key]) != described["sha256"]:
            raise BadInput("differs from its checksum", path, again)
    return arrays


def _mapped(path: Path) -> np.ndarray:
    """An array on disk; what a damaged header makes of it may be none, or one without rows."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or not array.ndim:
        raise ValueError("no array of rows")
    return array


@contextmanager
def growing(path: Path, shape: tuple[int, ...]) -> Iterator[Callable[[np.ndarray], None]]:
    """Write a file of an array uint8 (N, *shape) by a function that adds one row; N is known at the end."""
    count = 0

    def add(row: np.ndarray) -> None:
        nonlocal count
        count += 1
        file.write(row.tobytes())

    def write_header() -> None:  # which NumPy makes as long for any N
        described = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(file, described)

    with path.open("wb") as file:
        write_header()
        yield add
        file.seek(0)
        write_header()


def digest(*sources: Source) -> str:
    """SHA-256 over the types, shapes and bytes of arrays, or of what gives their rows."""
    sha = hashlib.sha256()
    for source in sources:
        none = source[np.arange(0)]
        sha.update(f"{none.dtype.str} {(len(source), *none.shape[1:])}".encode())
        for batch in batches(source):
            sha.update(np.ascontiguousarray(batch).data)
    return sha.hexdigest()


@contextmanager
def _writing(place: Path) -> Iterator[Path]:
    """Hold the lock of a place, with an empty folder in it to write aside.

    A full disk or a folder that may not be written becomes one line.
    """
    from filelock import FileLock

    aside = place / "writing"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):
            shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed; the lock says that none is alive
            aside.mkdir()
            try:
                yield aside
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        what = f"can't be written ({disk_fault(error) or error.strerror or reason(error)})"
        do = "free space or permissions, or set DATA_CACHE to another folder"
        raise BadInput(what, error.filename or place, do) from None


def _read(dataset: Dataset, source: str, path: Path | None, place: Path) -> tuple[object, str, dict[str, str]]:
    """What was read, where it comes from, and the SHA-256 of each file that was read."""
    if source == "embedded":
        return dataset.draw(), "drawn or bundled by the installed code", {}
    if source == "official":
        with tempfile.TemporaryDirectory(dir=place, prefix="download-") as aside:
            files = [fetch(remote, Path(aside)) for remote in dataset.remotes]
            raw = dataset.read(Path(aside))
            return raw, dataset.remotes[0].url, {file.name: checksum(file) for file in files}
    if not path.exists():
        raise BadInput("no such file or folder", path, "check the path")
    return dataset.take(path), str(path.resolve()), dataset.checksums(path)


def _describe(dataset: Dataset, source: str, origin: str, checksums: dict[str, str], arrays: Arrays) -> dict:
    """The manifest, what a run records about its data, but for what the kind of data adds to it."""
    described = {
        key: {"sha256": digest(array), "shape": list(array.shape), "dtype": str(array.dtype)}
        for key, array in arrays.items()
    }
    version = hashlib.sha256("".join(entry["sha256"] for entry in described.values()).encode()).hexdigest()[:16]
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "source": source,
        "origin": origin,
        "read": checksums,
        "version": version,
        "arrays": described,
        "ingested": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def intact(place: Path, manifest: dict) -> bool:
    """Whether the arrays that a manifest describes lie there, unharmed."""
    try:
        return all(
            digest(_mapped(place / manifest["version"] / f"{key}.npy")) == described["sha256"]
            for key, described in manifest["arrays"].items()
        )
    except archives.DAMAGED:
        return False


def _write(place: Path, aside: Path, manifest: dict, arrays: Arrays) -> None:
    """Write a version aside, sync it, rename it into place, then switch the manifest over to it."""
    target = place / manifest["version"]
    if not intact(place, manifest):  # else only its origin is new, and what others may be reading stays
        for key, array in arrays.items():
            path = aside / f"{key}.npy"
            if not path.exists():  # else its dataset has written it
                with path.open("wb") as file:
                    np.save(file, array)
            with path.open("r+b") as file:
                _sync(file)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    draft = place / "manifest.json.new"
    with draft.open("w", encoding="utf-8") as file:
        file.write(sealed.dumps(manifest, indent=1))
        _sync(file)
    draft.rename(place / "manifest.json")
    for superseded in place.iterdir():
        if superseded.is_dir() and superseded != target:
            shutil.rmtree(superseded)


def _sync(file: object) -> None:
    file.flush()
    os.fsync(file.fileno())
