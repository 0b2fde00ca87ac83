"""Where each dataset comes from and how it becomes arrays. ``load`` is the only door.

A dataset is added by writing one file here with a tuple ``DATASETS`` of :class:`data.spec.Dataset`.
"""

import importlib
import pkgutil
from functools import cache
from pathlib import Path

import numpy as np

from data import store
from data.download import Unreachable
from data.errors import BadInput
from data.spec import DataConfig, Dataset, Spec, Split, Splits

SPLIT_SEED = 0
"""Which examples are kept for validation never depends on a run's seed, so that runs can be compared."""


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


def ingest(name: str, path: Path | None = None) -> dict:
    """Bring a dataset into the cache, from a local copy if a path is given; returns its manifest."""
    dataset = find(name)
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


def load(config: DataConfig) -> Splits:
    """Splits of the dataset that the configuration asks for, or of its embedded stand-in.

    Raises:
        BadInput: it can't be had, or the configuration does not fit it.

    """
    dataset, source, manifest, notice = _resolve(config)
    arrays = store.open_arrays(dataset, source, manifest)
    spec = Spec(dataset.task, dataset.shape, dataset.classes, tuple(manifest["mean"]), tuple(manifest["deviation"]))
    official = Split(arrays["x_train"], np.asarray(arrays["y_train"]))
    train, val = _cut(official.labels, config)
    test = Split(arrays["x_test"], np.asarray(arrays["y_test"]))
    return Splits(spec, official.take(train), official.take(val), test, manifest, notice)


def _resolve(config: DataConfig) -> tuple[Dataset, str, dict, str]:
    """Which dataset is used, its source, its manifest, and a notice if it stands in for another."""
    dataset = find(config.name)
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


def _cut(labels: np.ndarray, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and for validation, both in rising order, each class in its proportion."""
    rows = np.arange(len(labels))
    amount, classes = config.validation, len(np.unique(labels))
    count = round(amount * len(rows)) if 0 < amount < 1 else int(amount) if np.isfinite(amount) else -1
    if amount < 0 or (amount >= 1 and amount != count) or (amount and not classes <= count <= len(rows) - classes):
        what = f"--data.validation {amount:g} can't be cut from {len(rows)} examples"
        raise BadInput(what, config.name, "give a fraction below 1, a count, or 0")
    train, val = _stratified(rows, labels, count) if count else (rows, rows[:0])
    if config.limit not in (0, len(train)) and not classes <= config.limit <= len(train) - classes:
        what = f"--data.limit {config.limit} does not fit {len(train)} training examples of {classes} classes"
        raise BadInput(what, config.name, f"give {classes} to {len(train) - classes}, or 0 for all")
    if config.limit not in (0, len(train)):
        train = _stratified(train, labels[train], len(train) - config.limit)[0]
    return train, val


def _stratified(rows: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    kept, cut = train_test_split(rows, test_size=count, stratify=labels, random_state=SPLIT_SEED)
    return np.sort(kept), np.sort(cut)


__all__ = ["BadInput", "DataConfig", "Spec", "Split", "Splits", "datasets", "find", "ingest", "load"]
