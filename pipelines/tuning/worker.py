"""Carrying out the trials of a search, each in a process of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from data.errors import BadInput, reason
from pipelines import command, members, settings, training
from pipelines.outcomes import Outcome, read_outcome, write_outcome
from pipelines.settings import Recipe
from pipelines.tuning.trials import Asked, Objective, Result, result

if TYPE_CHECKING:
    from pipelines.training import Request

WAIT = 1.0
"""Seconds until a worker asks again that has to wait for others."""


class Questioned(Protocol):
    """What has the trials: an oracle, or the way to one."""

    def ask(self, worker: str) -> Asked | object | None:
        """See :meth:`pipelines.tuning.oracles.Oracle.ask`."""

    def tell(self, trial: str, found: Result) -> None:
        """See :meth:`pipelines.tuning.oracles.Oracle.tell`."""


@dataclass(frozen=True)
class Searched:
    """What all trials of a search have in common."""

    name: str
    """The recipe's."""
    recipe: Recipe
    objective: Objective
    group: str
    """Id of the search's run."""
    experiment: str
    tags: dict[str, str]
    """Of the data."""

    @property
    def place(self) -> Path:
        """Folder of outcomes and states on this machine."""
        from pipelines.tracking import store

        return store.unfinished() / self.group

    def state(self, trial: str) -> Path:
        """Folder of a trial's last state."""
        return self.place / "states" / trial

    def request(self, asked: Asked) -> Request:
        """The training that makes a trial.

        Raises:
            BadInput: its values do not fit together.
        """
        recipe = asked.recipe(self.recipe)
        outcome = self.place / "members" / f"{asked.id}.json"
        outcome.parent.mkdir(parents=True, exist_ok=True)
        trial = training.Trial(
            asked.id,
            str(self.state(asked.id)),
            asked.epochs,
            begins_from=str(self.state(asked.past)) if asked.past else "",
        )
        tags = {f"trial.{path}": str(value) for path, value in asked.hyperparameters.items()}
        tags |= {"trial": asked.id} | ({"trial.goes_on_from": asked.past} if asked.past else {})
        sha = self.tags["data.sha256"]
        return training.Request(
            self.name, recipe, group=self.group, outcome=str(outcome), tags=tags, data_sha256=sha, trial=trial
        )


def work(questioned: Questioned, worker: str, searched: Callable[[Asked], Searched]) -> None:
    """Carry out trials until there are no more.

    Args:
        questioned: has them.
        worker: this one's name.
        searched: gives what trials have in common; called with each trial before it begins.

    Raises:
        Interrupted: this process was asked to end; the trial under way can be continued.
        BadInput: a trial can't be carried on, for want of disk space say.
    """
    while (asked := questioned.ask(worker)) is not None:
        if isinstance(asked, Asked):
            questioned.tell(asked.id, make_trial(asked, searched(asked)))
        else:
            time.sleep(WAIT)


def make_trial(asked: Asked, searched: Searched) -> Result:
    """Begin a trial or go on with it, and wait for its end."""
    request = searched.request(asked)
    outcome = Path(request.outcome)
    status = members.carry_on(request, try_out, try_to_resume)
    if status > 128:
        raise command.Interrupted(status - 128)
    if status == 2:
        raise BadInput("can't be carried on", f"trial {asked.id}", "mend what is said above, and give the same command")
    found = read_outcome(outcome) if outcome.exists() else None
    if found is None or found.failure:
        why = found.failure if found else f"signal {-status} ended its process (9 may be want of memory)"
        run = (found and found.run) or _record_failure(request, searched, why)
        return Result(run=run, failure=why)
    return result(found, asked, request.recipe, searched.objective)


def _record_failure(request: Request, searched: Searched, why: str) -> str:
    """Let the trial's run end as failed; one is made where it did not get so far. Returns its id."""
    from pipelines import reports
    from pipelines.tracking import runs

    folder = members.folder_of(request)
    if folder is None:
        tags = {"stage": "trial", "recipe": request.name, "mlflow.parentRunId": searched.group, **request.tags}
        params = settings.flatten(settings.to_dict(request.recipe))
        name = f"{request.name}-trial{request.trial.id}"
        opened = runs.start(searched.experiment, name, tags | searched.tags, params, {}, reports.nowhere())
    else:
        opened = runs.resume(folder, reports.nowhere())
    with suppress(command.RunFailed), opened as run:
        raise command.RunFailed(why)
    return run.id


def try_out(request: Request) -> None:
    """In a trial's process: train; whatever goes wrong with this trial is its outcome."""
    from pipelines import reports

    _attempt(request.outcome, lambda: training.carry_out(request, reports.nowhere()))


def try_to_resume(folder: Path) -> None:
    """In a trial's process: go on."""
    from pipelines import reports
    from pipelines.tracking import journal

    outcome = journal.read_header(folder)["outcome"]
    _attempt(outcome, lambda: training.resume(folder, reports.nowhere()))


def _attempt(outcome: str, train: Callable[[], object]) -> None:
    """Train; a failure that is not yet the outcome, for it came before there was a run, becomes it."""
    try:
        train()
    except command.RunFailed as error:
        if not Path(outcome).exists():
            write_outcome(outcome, Outcome("", "", 0, {}, [], "", failure=reason(error)))
        raise


def tidy(searched: Searched, spent: Iterable[str]) -> None:
    """Remove the states of trials that have ended and are not needed any more."""
    for trial in spent:
        shutil.rmtree(searched.state(trial), ignore_errors=True)
