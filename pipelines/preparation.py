"""What comes before a training's first step: its backend, its data, its trainer, and what its run says of them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from data.errors import BadInput
from data.spec import Split
from models.pretrained import Transferred
from pipelines import command, isolation, settings

if TYPE_CHECKING:
    from rich.console import Console

    from data.spec import Splits
    from pipelines.fitting.trainer import Trainer
    from pipelines.settings import Recipe
    from pipelines.tracking.runs import Run

LONG = 500
"""Steps from which on a training is worth the seconds of finding the faster precision for it."""


def prepare(recipe: Recipe, threads: int) -> int:
    """Start the backend as the recipe wants it; returns the number of threads that were fixed, or 0."""
    command.start_backend(together=True)
    from pipelines.fitting import devices

    if not recipe.deterministic:
        if recipe.model.small_operations:
            devices.suit_small_operations()
        return 0
    threads = threads or os.cpu_count() or 1
    devices.make_deterministic(threads)
    return threads


def load(recipe: Recipe, wanted: str, console: Console) -> Splits:
    """The data; announced if they stand in for others, refused if they are not those of the wanted digest.

    Args:
        recipe: names them.
        wanted: SHA-256 of the training data, empty if any will do.
        console: where to announce.

    Raises:
        BadInput: they can't be had.
    """
    import data
    from pipelines import reports

    splits = data.load(recipe.data)
    manifest = splits.manifest
    if wanted and manifest["sha256"] != wanted:
        what = f"{manifest['name']} ({manifest['source']}) is not the data that the run was trained with"
        do = f"ingest the data whose sha256 is {wanted[:16]}..."
        raise BadInput(what, f"data of sha256 {manifest['sha256'][:16]}...", do)
    reports.warn_of_stand_in(splits.notice, console)
    for remark in splits.remarks:
        console.print(f"{splits.name}: {remark}", soft_wrap=True)
    return splits


def make_trainer(recipe: Recipe, splits: Splits, console: Console, trust: bool = False) -> Trainer:
    """All that the training needs; it brings Keras, so :func:`prepare` comes first.

    Args:
        recipe: any.
        splits: its data.
        console: where to report.
        trust: whether the network that it begins from may carry code.

    Raises:
        BadInput: the recipe does not fit the data, or the hardware.
    """
    from pipelines import sources
    from pipelines.fitting.trainer import Trainer

    return Trainer(sources.provide(recipe, trust), splits, console)


def measure_precision(recipe: Recipe, splits: Splits, console: Console) -> None:
    """Find which precision is faster for a network, once on a machine, where a training is long and leaves the choice.

    In a process of its own, whose memory and random numbers are none of the training's.
    """
    from pipelines import tasks
    from pipelines.fitting import network, precision, replicas

    size = min(recipe.batch_size, len(splits.train))
    short = recipe.total_steps(len(splits.train) // size) < LONG
    if recipe.precision != "auto" or short or isinstance(recipe.model, Transferred) or replicas.HOSTS in os.environ:
        return
    name = network.named(recipe.model, tasks.bind(recipe, splits).seen, size)
    if precision.knows(name):
        return
    console.print("which precision is faster is measured, once for this network on this machine", soft_wrap=True)
    rows = np.arange(size)
    few = Split(splits.train.inputs[rows], splits.train.labels[rows])
    none = few.take(rows[:0])
    isolation.run_once(_measure_precision, recipe, replace(splits, train=few, val=none, test=none), name)


def _measure_precision(recipe: Recipe, splits: Splits, name: str) -> None:
    """In a process of its own."""
    command.start_backend()
    from pipelines.fitting import precision, speed

    with suppress(Exception):  # the training will meet the same, and say it
        precision.remember(speed.of_recipe(recipe, splits).ratio, name)


def record_inputs(run: Run, recipe: Recipe, splits: Splits) -> None:
    """Record recipe and data, unless that has been done before the run was killed."""
    from pipelines import reports

    if not run.has("dataset"):
        run.text("recipe.json", reports.as_json(settings.to_dict(recipe)))
        run.text("data.json", reports.as_json(splits.manifest))
        run.dataset(splits.manifest)
        if isinstance(recipe.model, Transferred) and recipe.model.source.origin:
            run.source(recipe.model.source.origin)


def describe(trainer: Trainer, threads: int) -> Mapping[str, str]:
    """Tags that say what a training was made with."""
    import keras

    from pipelines import sources
    from pipelines.fitting import devices

    manifest = trainer.splits.manifest
    tags = {
        "task": trainer.task.name,
        "data.source": manifest["source"],
        "data.sha256": manifest["sha256"],
        "data.test_sha256": manifest["test_sha256"],
        "keras.backend": keras.backend.backend(),
        "device": devices.describe(),
        "precision": trainer.precision,
        **sources.tags(trainer.recipe),
    }
    return tags | ({"threads": str(threads)} if threads else {})


def run_name(name: str, splits: Splits, *particulars: str) -> str:
    """Recipe, what is unusual about it, and the time to tell it from others."""
    return "-".join([name, *["STAND-IN"] * bool(splits.notice), *particulars, time.strftime("%m%d-%H%M%S")])


def announce(trainer: Trainer, run: Run, console: Console) -> None:
    """What begins now, and the untrained network's loss beside that of knowing nothing."""
    splits, recipe = trainer.splits, trainer.recipe
    why = trainer.why_precision and f" ({trainer.why_precision})"
    spread = trainer.replicas.describe() and f", on {trainer.replicas.describe()}"
    console.print(
        f"{run.name}: {splits.name} ({splits.manifest['source']}), {len(splits.train):,} training and "
        f"{len(splits.val):,} validation examples; {trainer.model.name}, {trainer.model.count_params():,} parameters; "
        f"{recipe.epochs} epochs of {trainer.batches.steps} steps in {trainer.precision}{why}{spread}",
        soft_wrap=True,
    )
    chance, formula = trainer.task.chance()
    console.print(f"initial loss {trainer.initial_loss():.3f} ({formula} = {chance:.3f})", soft_wrap=True)
