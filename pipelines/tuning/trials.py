"""Trials of a search, and the log from which a search goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipelines.outcomes import Outcome
from pipelines.settings import Recipe
from pipelines.space import Value, with_values
from pipelines.tracking import lines

OWN = "tuner/"
"""What begins the names of values that are no hyperparameters: Hyperband's, and ours on their way to a worker."""


@dataclass(frozen=True)
class Asked:
    """A trial that is to be made."""

    id: str
    values: Mapping[str, Value]
    """The oracle's, by path; those that begin with :data:`OWN` are about the search."""

    @property
    def hyperparameters(self) -> dict[str, Value]:
        """Values by path."""
        return {path: value for path, value in self.values.items() if not path.startswith(OWN)}

    @property
    def epochs(self) -> int:
        """After which it ends, for Hyperband; 0: those of the recipe."""
        return int(self.values.get("tuner/epochs", 0))

    @property
    def past(self) -> str:
        """Id of the trial that it goes on from, for Hyperband."""
        return str(self.values.get("tuner/trial_id", ""))

    def recipe(self, base: Recipe) -> Recipe:
        """The recipe with this trial's hyperparameters."""
        return with_values(base, self.hyperparameters)


@dataclass(frozen=True)
class Result:
    """What came of a trial."""

    score: float = math.nan
    """By validation; NaN if it failed."""
    run: str = ""
    epochs: int = 0
    """That it is in, those before it went on included."""
    seconds: float = 0.0
    """Of training steps, those before it went on included."""
    early: bool = False
    """Whether early stopping ended it."""
    failure: str = ""

    @property
    def state(self) -> str:
        """In words."""
        if self.failure:
            return f"failed: {self.failure}"
        return "stopped early" if self.early else "complete"


@dataclass(frozen=True)
class Objective:
    """What a search is after: the last value in training, or that of the epoch whose weights early stopping keeps."""

    monitor: str
    """loss or accuracy, of validation."""

    @property
    def direction(self) -> str:
        """Which way is better: min or max."""
        return "max" if self.monitor == "accuracy" else "min"

    @property
    def metric(self) -> str:
        """By recorded name."""
        return f"val/{self.monitor}"

    def score(self, history: list[dict[str, float]], recipe: Recipe) -> float:
        """The score of a training by the metrics of its last stage's epochs: early stopping keeps weights of these."""
        if not recipe.early_stopping.patience:
            return history[-1][self.metric]
        watched = Objective(recipe.early_stopping.monitor)
        return min(history, key=lambda epoch: watched.order(epoch[watched.metric]))[self.metric]

    def best(self, values: list[float]) -> float:
        """The best of some scores."""
        return max(values) if self.direction == "max" else min(values)

    def order(self, score: float) -> float:
        """A number that is smaller for a better score."""
        return -score if self.direction == "max" else score


def result(outcome: Outcome, asked: Asked, recipe: Recipe, objective: Objective) -> Result:
    """What came of a trial, by its training's outcome."""
    if outcome.failure:
        return Result(run=outcome.run, failure=outcome.failure)
    score = objective.score(outcome.history[-outcome.last_stage :], recipe)
    epochs = len(outcome.history)
    common = {"run": outcome.run, "epochs": epochs, "seconds": outcome.final["train_seconds"]}
    if not math.isfinite(score):
        return Result(**common, failure=f"{objective.metric} is {score}")
    return Result(score, **common, early=epochs < (asked.epochs or recipe.epochs))


class Log:
    """What a search has asked for and got, in that order: on disk before anything follows from it."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a last line that was being written when its process was killed is dropped."""
        self.path = path
        self.events = lines.take_up(path)

    def created(self, asked: Asked, worker: str) -> None:
        """Note that a worker was given a trial."""
        self._append({"event": "created", "trial": asked.id, "worker": worker, "values": dict(asked.values)})

    def ended(self, trial: str, found: Result) -> None:
        """Note a trial's result."""
        self._append({"event": "ended", "trial": trial, **asdict(found)})

    def _append(self, event: dict) -> None:
        lines.append(self.path, event)
        self.events.append(event)

    def trials(self) -> list[tuple[Asked, Result | None]]:
        """All trials in the order they were begun, and the results of those that have ended."""
        results = {event["trial"]: _result(event) for event in self.events if event["event"] == "ended"}
        created = [event for event in self.events if event["event"] == "created"]
        return [(Asked(event["trial"], event["values"]), results.get(event["trial"])) for event in created]

    def ends(self) -> list[str]:
        """Trials in the order they ended."""
        return [event["trial"] for event in self.events if event["event"] == "ended"]

    def scores(self) -> list[float]:
        """Their scores in the order they ended; NaN of those that failed."""
        return [event["score"] for event in self.events if event["event"] == "ended"]


def _result(event: dict) -> Result:
    return Result(**{key: value for key, value in event.items() if key not in ("event", "trial")})


def ranked(trials: list[tuple[Asked, Result | None]], objective: Objective) -> list[tuple[Asked, Result]]:
    """The trials that have a score, the best one first; equal ones in the order they were begun."""
    scored = [(asked, found) for asked, found in trials if found and not found.failure]
    return sorted(scored, key=lambda one: objective.order(one[1].score))


def best(trials: list[tuple[Asked, Result | None]], objective: Objective) -> tuple[Asked, Result] | None:
    """The trial with the best score; among equal ones the first."""
    return next(iter(ranked(trials, objective)), None)


def final_recipe(recipe: Recipe, found: Result) -> Recipe:
    """A winner's recipe for training on validation data too: as many epochs, and nothing watches validation."""
    without = replace(
        recipe, data=replace(recipe.data, validation=0), early_stopping=replace(recipe.early_stopping, patience=0)
    )
    return without.with_epochs(found.epochs) if found.early else without
