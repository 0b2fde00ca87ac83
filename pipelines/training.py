"""One training from its recipe to its recorded result: what train, its groups of seeds and reproduce share."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput, disk_fault
from pipelines import command, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras
    from rich.console import Console

    from data.spec import Splits
    from pipelines.fitting.checkpoints import State
    from pipelines.fitting.trainer import Trainer
    from pipelines.settings import Recipe
    from pipelines.tracking.runs import Run


@dataclass(frozen=True)
class Request:
    """A training that is asked for."""

    name: str
    """The recipe's."""
    recipe: Recipe
    tta: bool = False
    """Test also with averaged views."""
    group: str = ""
    """Id of the run that this one is a part of."""
    outcome: str = ""
    """File that gets the outcome, where a group waits for it."""
    tags: dict[str, str] = field(default_factory=dict)
    """Further ones."""
    data_sha256: str = ""
    """That of the training data, where they must be the same."""
    threads: int = 0
    """For a deterministic training, 0: one for each processor."""


@dataclass(frozen=True)
class Outcome:
    """A finished training."""

    run: str
    """The run's id."""
    name: str
    seed: int
    final: dict[str, float]
    """Its final metrics."""
    history: list[dict[str, float]]
    """The metrics of each epoch."""
    weights: str
    """SHA-256 of the trained weights."""


TIMES = ("epoch_seconds", "examples_per_second", "train_seconds")
"""Metrics that differ between two runs of the same computation."""


def carry_out(request: Request, console: Console) -> Outcome:
    """Train, evaluate and record what a request asks for.

    Raises:
        BadInput: it can't be done as asked.
        RunFailed: the training broke down.
    """
    from pipelines import evaluation
    from pipelines.tracking import runs, store

    recipe = request.recipe
    recipe.check()
    threads = _prepare(recipe, request.threads)
    store.connect()
    splits = load(recipe, request.data_sha256, console)
    trainer = _trainer(recipe, splits, console)
    evaluation.check(trainer.task, request.tta)
    tags = {"stage": "train", "recipe": request.name, **describe(trainer, threads), **request.tags}
    if request.group:
        tags["mlflow.parentRunId"] = request.group
    header = {
        "recipe_name": request.name,
        "recipe": settings.to_dict(recipe),
        "tta": request.tta,
        "group": request.group,
        "outcome": request.outcome,
        "threads": threads,
        "continues": True,
    }
    params = settings.flatten(settings.to_dict(recipe))
    name = run_name(request.name, splits, f"seed{recipe.seed}")
    with runs.start(splits.name, name, tags, params, header, console) as run, _resumable(run, request):
        announce(trainer, run, console)
        record_inputs(run, recipe, splits)
        return _complete(run, trainer, None, request, console)


def resume(folder: Path, console: Console) -> Outcome:
    """Go on with an unfinished training.

    Args:
        folder: of the run: see :mod:`pipelines.tracking.journal`.
        console: where to report.

    Raises:
        BadInput: data or code are not those it was started with, or it is running.
    """
    from pipelines.fitting.checkpoints import Checkpoints
    from pipelines.tracking import environment, journal, runs, store

    command.start_backend()
    header = journal.read_header(folder)
    recipe = settings.from_dict(header["recipe"])
    request = Request(header["recipe_name"], recipe, header["tta"], header["group"], header["outcome"])
    _prepare(recipe, header["threads"])
    store.connect()
    splits = load(recipe, header["tags"]["data.sha256"], console)
    trainer = _trainer(recipe, splits, console)
    with runs.resume(folder, console) as run, _resumable(run, request):
        record_inputs(run, recipe, splits)
        versions = (folder / "artifacts" / "environment.txt").read_text(encoding="utf-8")
        for line in environment.differences(header["tags"], versions):
            console.print(f"{run.name}: {line}; the result may differ from that of an undisturbed run", soft_wrap=True)
        state = Checkpoints(folder / "checkpoints").latest()
        where = f"after {state.position.step} of {trainer.total} steps" if state else "from its start"
        console.print(f"{run.name}: goes on {where}", soft_wrap=True)
        return _complete(run, trainer, state, request, console)


def _prepare(recipe: Recipe, threads: int) -> int:
    """Start the backend as the recipe wants it; returns the number of threads that were fixed, or 0."""
    import os

    command.start_backend()
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
    return splits


def _trainer(recipe: Recipe, splits: Splits, console: Console) -> Trainer:
    from pipelines.fitting.trainer import Trainer  # brings Keras, so not before the backend was started

    return Trainer(recipe, splits, console)


def _complete(run: Run, trainer: Trainer, state: State | None, request: Request, console: Console) -> Outcome:
    """Train from a state on, evaluate, record."""
    import numpy as np

    from pipelines import evaluation, reports, servable
    from pipelines.fitting.checkpoints import Checkpoints
    from pipelines.tracking import journal

    splits = trainer.splits
    if state is None:
        run.images(trainer.task.snapshot(trainer.model), 0)
    fitted = trainer.fit(run.metrics, Checkpoints(run.folder / "checkpoints"), state, run.images)
    weights = digest(fitted.model)
    run.metrics({"train_seconds": fitted.seconds, "parameters": fitted.model.count_params()})
    run.tags({"weights.sha256": weights})
    run.figures(reports.training_figures(fitted.history, fitted.model, splits.notice))
    folder = run.model_folder()
    servable.save(folder, fitted.model, trainer.task.serving())
    model = servable.Servable(folder)
    evaluation.evaluate(run, trainer.task, model, request.tta, console)
    example = np.asarray(splits.train.inputs[np.arange(1)])
    run.model(example, model.predict(example))
    outcome = Outcome(run.id, run.name, request.recipe.seed, run.final(), fitted.history, weights)
    if request.outcome:
        journal.write_whole(Path(request.outcome), json.dumps(asdict(outcome)))
    console.print(f"{run.name}: trained in {fitted.seconds:.0f} s; run {run.id}; see make ui", soft_wrap=True)
    return outcome


def record_inputs(run: Run, recipe: Recipe, splits: Splits) -> None:
    """Record recipe and data, unless that has been done before the run was killed."""
    from pipelines import reports

    if not run.has("dataset"):
        run.text("recipe.json", reports.as_json(settings.to_dict(recipe)))
        run.text("data.json", reports.as_json(splits.manifest))
        run.dataset(splits.manifest)


def read_outcome(path: Path) -> Outcome:
    """The outcome that a training wrote for its group."""
    return Outcome(**json.loads(path.read_text(encoding="utf-8")))


@contextmanager
def _resumable(run: Run, request: Request) -> Iterator[None]:
    """Tell how to go on after an interrupt or a full disk."""
    again = f"to go on: make train-{request.name} RESUME={request.group or run.id}"
    try:
        yield
    except command.Interrupted as error:
        raise command.Interrupted(error.number, f"{run.name}: interrupted; {again}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{run.name}: interrupted; {again}") from None
    except OSError as error:
        fault = disk_fault(error)
        if not fault:
            raise
        do = f"free space or permissions; {again}"
        raise BadInput(f"can't be written ({fault})", error.filename or run.folder, do) from None


def digest(network: keras.Model) -> str:
    """SHA-256 over the weights of a network, in their order."""
    import numpy as np

    sha = hashlib.sha256()
    for weight in network.get_weights():
        sha.update(np.ascontiguousarray(weight).data)
    return sha.hexdigest()


def describe(trainer: Trainer, threads: int) -> Mapping[str, str]:
    """Tags that say what a training was made with."""
    import keras

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
    }
    return tags | ({"threads": str(threads)} if threads else {})


def run_name(name: str, splits: Splits, *particulars: str) -> str:
    """Recipe, what is unusual about it, and the time to tell it from others."""
    return "-".join([name, *["STAND-IN"] * bool(splits.notice), *particulars, time.strftime("%m%d-%H%M%S")])


def announce(trainer: Trainer, run: Run, console: Console) -> None:
    """What begins now, and the untrained network's loss beside that of knowing nothing."""
    splits, recipe = trainer.splits, trainer.recipe
    console.print(
        f"{run.name}: {splits.name} ({splits.manifest['source']}), {len(splits.train):,} training and "
        f"{len(splits.val):,} validation examples; {trainer.model.name}, {trainer.model.count_params():,} parameters; "
        f"{recipe.epochs} epochs of {trainer.batches.steps} steps in {trainer.precision}",
        soft_wrap=True,
    )
    chance, formula = trainer.task.chance()
    console.print(f"initial loss {trainer.initial_loss():.3f} ({formula} = {chance:.3f})", soft_wrap=True)
