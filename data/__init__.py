"""Where each dataset comes from and how it becomes arrays. ``load`` is the only door.

A dataset is added by writing one file here with a tuple ``DATASETS`` of :class:`data.dataset.Dataset`.
"""

import importlib
import pkgutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from data import store
from data.dataset import Dataset
from data.download import Unreachable
from data.errors import BadInput
from data.spec import Cached, DataConfig, Mapped, Spec, Split, Splits


@cache
def datasets() -> dict[str, Dataset]:
    """All datasets by name."""
    modules = (importlib.import_module(f"data.{module.name}") for module in pkgutil.iter_modules(__path__))
    return {dataset.name: dataset for module in modules for dataset in getattr(module, "DATASETS", ())}


def find(name: str) -> Dataset:
    """The dataset of this name.

    Raises:
        BadInput: there is none.

    """
    if name not in datasets():
        raise BadInput("no such dataset", name, f"there are {', '.join(sorted(datasets()))}")
    return datasets()[name]


def ingest(name: str, path: Path | None = None, **options: object) -> dict:
    """Bring a dataset into the cache, from a local copy if a path is given; returns its manifest.

    Args:
        name: the dataset's.
        path: the local copy.
        options: fields of DataConfig.
    """
    dataset = find(name)
    own = {"path": str(path or "")} if "path" in dataset.choices else {}
    dataset = dataset.configured(DataConfig(name, **own, **options))
    if dataset.path:
        return store.ingest(dataset, "local", dataset.path)
    if dataset.draw:
        if path is not None:
            raise BadInput("is embedded and takes no copy", name, "leave FROM= out")
        return store.ingest(dataset, "embedded")
    if path is not None:
        return store.ingest(dataset, "local", path)
    try:
        return store.ingest(dataset, "official")
    except Unreachable as error:
        raise BadInput(f"can't be fetched ({error})", dataset.remotes[0].url, "give a copy by FROM=path") from None


def examples(manifest: dict, config: DataConfig, count: int) -> tuple[Path, dict[str, np.ndarray]]:
    """Where a folder that was ingested lies in the cache, and its first so many images of each class, as cached."""
    dataset = find(config.name).configured(config)
    arrays = store.open_arrays(dataset, "local", manifest)
    ending = "" if "x" in arrays else "_train"
    images, labels = arrays[f"x{ending}"], arrays[f"y{ending}"]
    found = {name: images[np.flatnonzero(labels == number)[:count]] for number, name in enumerate(manifest["classes"])}
    return store.folder(dataset, "local"), found


def cached(name: str, path: Path | None = None, **options: object) -> Cached:
    """Images as they lie in the cache. They are brought there if they are not, or if a local copy is given.

    Args:
        name: the dataset's.
        path: the local copy; a folder of the user's own is read again only where it has changed.
        options: fields of DataConfig.
    """
    dataset = find(name)
    if dataset.kind != "images":
        raise BadInput("holds texts, and duplicates are sought among images", name, "leave --find-duplicates out")
    own = "path" in dataset.choices
    if path is not None and not own:
        ingest(name, path, **options)
    config = DataConfig(name, path=str(path or "") if own else "", **options)
    dataset, source, manifest, notice = _resolve(config)
    arrays = store.open_arrays(dataset, source, manifest)
    images = {part: arrays["x" if part == "all" else f"x_{part}"] for part in manifest["counts"]}
    labels = {part: np.asarray(arrays["y" if part == "all" else f"y_{part}"]) for part in images}
    return Cached(store.folder(dataset, source), manifest, images, labels, dataset.files(manifest), notice)


def load(config: DataConfig) -> Splits:
    """Splits of the dataset that the configuration asks for, or of its embedded stand-in.

    Raises:
        BadInput: it can't be had, or the configuration does not fit it.

    """
    dataset, source, manifest, notice = _resolve(config)
    found = store.open_arrays(dataset, source, manifest)
    arrays = {key: Mapped(array) if array.ndim > 1 else array for key, array in found.items()}
    if config.classes:
        arrays, manifest = dataset.restricted(arrays, manifest, config.classes)
    return replace(dataset.splits(arrays, manifest, config), notice=notice)


def _resolve(config: DataConfig) -> tuple[Dataset, str, dict, str]:
    """Which dataset is used, its source, its manifest, and a notice if it stands in for another."""
    dataset = find(config.name).configured(config)
    if dataset.path:
        if config.source not in ("auto", "local"):
            raise BadInput(f"has no {config.source} source", dataset.path, "leave --data.source out")
        manifest = store.unchanged(dataset) or store.ingest(dataset, "local", dataset.path)
        return dataset, "local", manifest, ""
    if dataset.draw:
        if config.source in ("official", "local"):
            raise BadInput(f"has no {config.source} source", dataset.name, "it is embedded: leave --data.source out")
        return _ready(dataset, "embedded")
    if config.source == "embedded":
        return _stand_in(dataset, "as asked for")
    if config.source in ("auto", "local") and store.read_manifest(dataset, "local"):
        return _ready(dataset, "local")
    if config.source == "local":
        raise BadInput("no local copy was ingested", dataset.name, f"run make ingest-{dataset.name} FROM=path")
    try:
        return _ready(dataset, "official")
    except Unreachable as error:
        if config.source == "official":
            do = f"give a copy by make ingest-{dataset.name} FROM=path"
            raise BadInput(f"can't be fetched ({error})", dataset.remotes[0].url, do) from None
        return _stand_in(dataset, f"can't be fetched: {error}")


def _ready(dataset: Dataset, source: str) -> tuple[Dataset, str, dict, str]:
    manifest = store.read_manifest(dataset, source) or store.ingest(dataset, source)
    return dataset, source, manifest, ""


def _stand_in(dataset: Dataset, why: str) -> tuple[Dataset, str, dict, str]:
    name = dataset.fallback
    notice = (
        f"STAND-IN DATA: {name} instead of {dataset.name} ({why}). These results say nothing about {dataset.name}; "
        f"for the real data: make ingest-{dataset.name} FROM=path"
    )
    return (*_ready(find(name), "embedded")[:3], notice)


__all__ = ["BadInput", "DataConfig", "Spec", "Split", "Splits", "datasets", "find", "ingest", "load"]
