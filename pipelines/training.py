"""One training from its recipe to its recorded result: what train, its groups of seeds and reproduce share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput, disk_fault, reason
from models.pretrained import Transferred
from pipelines import command, preparation, settings
from pipelines.outcomes import Outcome, write_outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras
    import pandas as pd
    from rich.console import Console

    from data.spec import Splits
    from pipelines.fitting.checkpoints import State
    from pipelines.fitting.trainer import Trainer
    from pipelines.settings import Recipe
    from pipelines.tracking.runs import Run


@dataclass(frozen=True)
class Trial:
    """What is particular about a training that a search tries: validation alone scores it, no model is recorded."""

    id: str
    keeps: str
    """Folder that gets its last state."""
    epochs: int = 0
    """It ends after so many of the recipe's epochs; 0: after all of them."""
    begins_from: str = ""
    """Folder that may have the last state of another trial, to go on from."""


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
    trial: Trial | None = None
    """Set where a search tries the recipe."""
    trust: bool = False
    """Whether the network that it begins from may carry code."""

    @property
    def stage(self) -> str:
        """What the run is recorded as."""
        if self.trial:
            return "trial"
        return "transfer" if isinstance(self.recipe.model, Transferred) else "train"


def carry_out(request: Request, console: Console) -> Outcome | None:
    """Train, evaluate and record what a request asks for; nothing is recorded where another host does.

    Raises:
        BadInput: it can't be done as asked.
        RunFailed: the training broke down.
    """
    from pipelines import evaluation
    from pipelines.tracking import runs, store

    recipe = request.recipe
    recipe.check()
    threads = preparation.prepare(recipe, request.threads)
    from pipelines.fitting import replicas

    store.connect()
    splits = preparation.load(recipe, request.data_sha256, console)
    if request.trial is None:  # trials are compared in one precision
        preparation.measure_precision(recipe, splits, console)
    trainer = make_trainer(request, splits, console)
    evaluation.check(trainer.task, request.tta)
    if replicas.follows():
        return _follow(trainer, None, console)
    tags = {"stage": request.stage, "recipe": request.name, **preparation.describe(trainer, threads), **request.tags}
    if request.group:
        tags["mlflow.parentRunId"] = request.group
    params = settings.flatten(settings.to_dict(recipe))
    particular = f"trial{request.trial.id}" if request.trial else f"seed{recipe.seed}"
    name = preparation.run_name(request.name, splits, particular)
    header = _header(request, recipe, threads)
    with (
        runs.start(splits.name, name, tags, params, header, console) as run,
        _trying(run, request),
        _resumable(run, request),
    ):
        preparation.announce(trainer, run, console)
        preparation.record_inputs(run, recipe, splits)
        return _complete(run, trainer, _inherited(request.trial, trainer, run), request, console)


def make_trainer(request: Request, splits: Splits, console: Console) -> Trainer:
    """The trainer; that a trial's values do not fit together is a failure of this trial alone."""
    try:
        trainer = preparation.make_trainer(request.recipe, splits, console, request.trust)
    except BadInput as error:
        if request.trial is None:
            raise
        raise command.RunFailed(str(error)) from None
    if request.trial and request.trial.epochs:
        trainer.end_after(request.trial.epochs)
    return trainer


def _header(request: Request, recipe: Recipe, threads: int) -> dict[str, object]:
    """What continuing the training will need."""
    return {
        "recipe_name": request.name,
        "recipe": settings.to_dict(recipe),
        "tta": request.tta,
        "group": request.group,
        "outcome": request.outcome,
        "threads": threads,
        "trial": request.trial and asdict(request.trial),
        "trust": request.trust,
        "continues": True,
    }


def _inherited(trial: Trial | None, trainer: Trainer, run: Run) -> State | None:
    """The state that a trial goes on from: that of another one, which had ended before the recipe's end."""
    if trial is None or not trial.begins_from:
        return None
    from pipelines.fitting.checkpoints import Checkpoints

    state = Checkpoints(Path(trial.begins_from)).latest()
    if state is None:
        return None
    state = trainer.with_more_steps(state)
    Checkpoints(run.folder / "checkpoints").write(state)  # also the last one, where early stopping had ended it
    return state


def resume(folder: Path, console: Console) -> Outcome | None:
    """Go on with an unfinished training.

    Args:
        folder: of the run: see :mod:`pipelines.tracking.journal`.
        console: where to report.

    Raises:
        BadInput: data or code are not those it was started with, or it is running.
    """
    from pipelines.fitting import replicas
    from pipelines.fitting.checkpoints import Checkpoints
    from pipelines.tracking import environment, journal, runs, store

    command.start_backend(together=True)
    header = journal.read_header(folder)
    recipe = replace(settings.from_dict(header["recipe"]), precision=header["tags"]["precision"])
    trial = header.get("trial") and Trial(**header["trial"])
    known = {"tta": header["tta"], "group": header["group"], "outcome": header["outcome"], "trial": trial}
    request = Request(header["recipe_name"], recipe, **known, trust=header.get("trust", False))
    preparation.prepare(recipe, header["threads"])
    store.connect()
    splits = preparation.load(recipe, header["tags"]["data.sha256"], console)
    trainer = make_trainer(request, splits, console)
    if replicas.follows():
        return _follow(trainer, Checkpoints(folder / "checkpoints").latest(), console)
    with runs.resume(folder, console) as run, _guarded(run, request):
        preparation.record_inputs(run, recipe, splits)
        versions = (folder / "artifacts" / "environment.txt").read_text(encoding="utf-8")
        for line in environment.differences(header["tags"], versions):
            console.print(f"{run.name}: {line}; the result may differ from that of an undisturbed run", soft_wrap=True)
        state = Checkpoints(folder / "checkpoints").latest() or _inherited(trial, trainer, run)
        where = f"after {state.position.step} of {trainer.limit} steps" if state else "from its start"
        console.print(f"{run.name}: goes on {where}", soft_wrap=True)
        return _complete(run, trainer, state, request, console)


def _follow(trainer: Trainer, state: State | None, console: Console) -> None:
    """Compute this host's part, step for step what the first host does."""
    console.print("computes a part of each batch; the first host records", soft_wrap=True)
    if state is None:
        trainer.initial_loss()
        trainer.task.snapshot(trainer.model)
    trainer.fit(lambda metrics, epoch, at: None, None, state, lambda figures, epoch: None)


def _complete(run: Run, trainer: Trainer, state: State | None, request: Request, console: Console) -> Outcome:
    """Train from a state on, record, and evaluate what is no trial."""
    from pipelines import reports
    from pipelines.fitting.checkpoints import Checkpoints
    from pipelines.fitting.network import digest

    if state is None:
        run.images(trainer.task.snapshot(trainer.model), 0)
    checkpoints = Checkpoints(run.folder / "checkpoints")
    fitted = trainer.fit(run.metrics, checkpoints, state, run.images)
    weights = digest(fitted.model)
    run.metrics({"train_seconds": fitted.seconds, "parameters": fitted.model.count_params()})
    run.tags({"weights.sha256": weights})
    run.figures(reports.training_figures(fitted.history, fitted.model, trainer.splits.notice))
    if request.trial is None:
        predictions = _evaluate(run, trainer, fitted.model, request, console)
    else:
        predictions = None
        checkpoints.copy_latest(Path(request.trial.keeps))
    outcome = Outcome(run.id, run.name, request.recipe.seed, run.final(), fitted.history, weights, fitted.last_stage)
    if request.outcome:
        write_outcome(request.outcome, outcome, predictions)
    console.print(f"{run.name}: trained in {fitted.seconds:.0f} s; run {run.id}; see make ui", soft_wrap=True)
    return outcome


def _evaluate(run: Run, trainer: Trainer, network: keras.Model, request: Request, console: Console) -> pd.DataFrame:
    """Score the network on the test set and record it; returns its predictions."""
    import numpy as np

    from pipelines import evaluation, servable

    folder = run.model_folder()
    servable.save(folder, network, trainer.task.serving())
    model = servable.Servable(folder, request.trust)
    report = evaluation.evaluate(run, trainer.task, model, request.tta, console)
    example = np.asarray(trainer.splits.train.inputs[np.arange(1)])
    run.model(example, model.predict(example))
    return report.predictions


@contextmanager
def _guarded(run: Run, request: Request) -> Iterator[None]:
    with _trying(run, request), _resumable(run, request):
        yield


@contextmanager
def _trying(run: Run, request: Request) -> Iterator[None]:
    """Let what goes wrong with a trial, and would again, be its outcome."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        if request.trial is None:
            raise
        why = reason(error) if isinstance(error, command.RunFailed) else f"{type(error).__name__}, {reason(error)}"
        write_outcome(request.outcome, Outcome(run.id, run.name, request.recipe.seed, {}, [], "", failure=why))
        raise command.RunFailed(why) from None


@contextmanager
def _resumable(run: Run, request: Request) -> Iterator[None]:
    """Tell how to go on after an interrupt or a full disk; of a part of something larger that tells it."""
    again = "" if request.group else f"; to go on: {command.making(request.name)} RESUME={run.id}"
    try:
        with command.interrupted_with(f"{run.name}: interrupted{again}"):
            yield
    except OSError as error:
        fault = disk_fault(error)
        if not fault:
            raise
        do = f"free space or permissions{again}"
        raise BadInput(f"can't be written ({fault})", error.filename or run.folder, do) from None
