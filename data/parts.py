"""Cutting examples into parts: for training, for validation, for the test."""

import numpy as np

from data.errors import BadInput
from data.spec import DataConfig, Source, Subset
from data.store import digest

SPLIT_SEED = 0
"""Which examples are kept for validation never depends on a run's seed, so that runs can be compared."""

TEST = 0.2
"""Share of the examples that is the test set where there is no official one."""


def cut(labels: np.ndarray, config: DataConfig, groups: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a training set for training and for validation, both in rising order, each class in its proportion.

    Args:
        labels: shape (N,), integers.
        config: how much of it is wanted.
        groups: shape (N,), any values; examples of one group stay together, and the validation part then has about
            as many examples as asked for. None: each example by itself.
    """
    rows = np.arange(len(labels))
    amount, classes = config.validation, len(np.unique(labels))
    count = round(amount * len(rows)) if 0 < amount < 1 else int(amount) if np.isfinite(amount) else -1
    if amount < 0 or (amount >= 1 and amount != count) or (amount and not classes <= count <= len(rows) - classes):
        what = f"--data.validation {amount:g} can't be cut from {len(rows)} examples of {classes} classes"
        raise BadInput(what, config.name, "give a fraction below 1, a count, or 0")
    if not count:
        train, val = rows, rows[:0]
    elif groups is None:
        train, val = _stratified(rows, labels, count, SPLIT_SEED)
    else:
        train, val = by_groups(labels, groups, count / len(rows), SPLIT_SEED, config.name)
    return some(train, labels, config), val


def some(rows: np.ndarray, labels: np.ndarray, config: DataConfig) -> np.ndarray:
    """Of the rows for training those that ``config.limit`` or ``config.shots`` leaves, rising."""
    if config.shots or config.draw:
        return _few(rows, labels, config)
    if config.limit in (0, len(rows)):
        return rows
    classes = len(np.unique(labels))
    if not classes <= config.limit <= len(rows) - classes:
        what = f"--data.limit {config.limit} does not fit {len(rows)} training examples of {classes} classes"
        raise BadInput(what, config.name, f"give {classes} to {len(rows) - classes}, or 0 for all")
    return _stratified(rows, labels[rows], len(rows) - config.limit, SPLIT_SEED)[0]


def _few(rows: np.ndarray, labels: np.ndarray, config: DataConfig) -> np.ndarray:
    """As many of the rows of each class as ``config.shots`` says, rising; more shots add to those of fewer."""
    if config.limit:
        raise BadInput("has --data.shots and --data.limit", config.name, "leave out one of them")
    if config.draw < 0:
        raise BadInput(f"{config.draw} is no seed", "--data.draw", "give 0 or more")
    fewest = np.unique(labels[rows], return_counts=True)[1].min()
    if not 1 <= config.shots <= fewest:
        what = f"--data.shots {config.shots} does not fit {fewest} training examples of the rarest class"
        raise BadInput(what, config.name, f"give 1 to {fewest}, or neither it nor --data.draw for all examples")
    order = np.random.default_rng(config.draw).permutation(rows)
    chosen = [order[labels[order] == label][: config.shots] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate(chosen))


def by_groups(
    labels: np.ndarray, groups: np.ndarray, share: float, seed: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are kept and rows that are cut, both rising, where no group stands in both.

    So large a share of the groups is cut, stratified by the most frequent class of each.
    """
    _, number = np.unique(groups, return_inverse=True)
    main = _most_frequent(number, labels)
    count, classes = round(share * len(main)), np.unique(main)
    rare = classes[np.bincount(main)[classes] < 2]
    if len(rare) or not len(classes) <= count <= len(main) - len(classes):
        what = f"{share:.0%} of {len(main)} groups of like examples can't be cut so that every class has some"
        raise BadInput(what, name, "give more examples, or another --data.validation")
    chosen = np.zeros(len(main), bool)
    chosen[_stratified(np.arange(len(main)), main, count, seed)[1]] = True
    return np.flatnonzero(~chosen[number]), np.flatnonzero(chosen[number])


def used(manifest: dict, config: DataConfig, rows: dict[str, np.ndarray], x: Source, y: np.ndarray) -> dict:
    """The manifest of a dataset without an official test set, for the training and test rows that are used."""
    classes = len(manifest["classes"])
    return manifest | {
        "split": config.split,
        "sha256": digest(Subset(x, rows["train"]), y[rows["train"]]),
        "test_sha256": digest(Subset(x, rows["test"]), y[rows["test"]]),
        "counts": {part: np.bincount(y[found], minlength=classes).tolist() for part, found in rows.items()},
    }


def _most_frequent(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The most frequent label of each group 0, 1, 2, …; of equally frequent ones the highest."""
    classes = labels.max() + 1
    pairs, counts = np.unique(groups * classes + labels, return_counts=True)
    pairs = pairs[np.argsort(counts, kind="stable")]
    main = np.empty(groups.max() + 1, np.int64)
    main[pairs // classes] = pairs % classes  # of several values for one place NumPy keeps the last
    return main


def _stratified(rows: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    kept, cut = train_test_split(rows, test_size=count, stratify=labels, random_state=seed)
    return np.sort(kept), np.sort(cut)
