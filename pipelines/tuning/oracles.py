"""Keras Tuner's oracles, made so that a search can be killed at any moment.

Their own saved state does not do for that (1.4.8: a resumed grid breaks, Bayesian search loses its random state, files
are written in place), so none is saved: an oracle is a function of its seed and of what it was asked and told, and
:class:`pipelines.tuning.trials.Log` has all of that in order. A search that goes on asks and tells a new oracle the
same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus

from data.errors import BadInput
from pipelines.space import Choice, Condition, Int, Range, Space, Value, for_grid
from pipelines.tuning.trials import Asked, Log, Objective, Result

if TYPE_CHECKING:
    from keras_tuner.engine.trial import Trial

STRATEGIES = {
    "grid": keras_tuner.oracles.GridSearchOracle,
    "random": keras_tuner.oracles.RandomSearchOracle,
    "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
    "hyperband": keras_tuner.oracles.HyperbandOracle,
}
"""Grid; random (Bergstra, Bengio, JMLR 13, 2012); Gaussian process with upper confidence bound (Srinivas et al., arXiv
0912.3995); Hyperband (Li et al., JMLR 18, 2018)."""

SCORE = "score"
SEEDS_APART = 1_000_003
"""Keras Tuner numbers its draws on from the seed: neighbouring seeds would give nearly the same trials."""

DRAWS = 1_000
"""More than those of one trial: a number for each hyperparameter, at most 21 times."""

WAITING = object()
"""Instead of a trial: others have to end first."""


class Oracle:
    """Says which trial comes next, by the results of those before."""

    def __init__(
        self, strategy: str, space: Space, objective: Objective, trials: int | None, epochs: int, seed: int, log: Log
    ) -> None:
        """Make an oracle and bring it where its log ends.

        Args:
            strategy: one of :data:`STRATEGIES`.
            space: to search.
            objective: of all trials.
            trials: their largest number; None: as many as the strategy makes.
            epochs: of a whole training.
            seed: of the search, from 1.
            log: of this search.

        Raises:
            BadInput: the log is that of another search, or of another version of Keras Tuner.
        """
        arguments = {"max_epochs": epochs} if strategy == "hyperband" else {"max_trials": trials}
        self._oracle = _unsaved(STRATEGIES[strategy])(
            objective=keras_tuner.Objective(SCORE, objective.direction),
            hyperparameters=hyperparameters(for_grid(space) if strategy == "grid" else space),
            seed=seed * SEEDS_APART,
            allow_new_entries=False,
            max_consecutive_failed_trials=1_000_000,  # each costs itself only
            **arguments,
        )
        self._oracle.max_trials = trials
        self._oracle.verbose = 0
        self.log = log
        self._workers: set[str] = set()
        self._repeat()

    def _repeat(self) -> None:
        for event in self.log.events:
            if event["event"] == "created":
                self._oracle.known = event["values"]
                trial = self._oracle.create_trial(event["worker"])
                if (trial.trial_id, trial.hyperparameters.values) != (event["trial"], event["values"]):
                    what = f"gives another trial than {event['trial']} now"
                    raise BadInput(what, str(self.log.path), "its versions of libraries, or remove the folder")
            else:
                self._tell(event["trial"], event["score"], bool(event["failure"]))
        self._oracle.known = None

    def employ(self, workers: Sequence[str]) -> None:
        """Say who all workers are: they take over the trials of others, one at a time."""
        self._workers = set(workers)

    def ask(self, worker: str) -> Asked | object | None:
        """The worker's trial: the one that it has not ended, else a new one.

        Returns:
            A trial, :data:`WAITING`, or None when there will be no more.
        """
        ongoing = self._oracle.ongoing_trials
        orphaned = next((name for name in ongoing if self._workers and name not in self._workers), None)
        if worker not in ongoing and orphaned is not None:
            ongoing[worker] = ongoing.pop(orphaned)
        had = worker in ongoing
        trial = self._oracle.create_trial(worker)
        if trial.status == TrialStatus.STOPPED:
            return None
        if trial.status == TrialStatus.IDLE:
            return WAITING
        asked = _asked(trial)
        if not had:
            self.log.created(asked, worker)
        return asked

    def tell(self, trial: str, found: Result) -> None:
        """Take a trial's result."""
        if trial in self.log.ends():  # told again by a worker that had not heard that it arrived
            return
        self.log.ended(trial, found)
        self._tell(trial, found.score, bool(found.failure))

    def _tell(self, name: str, score: float, failed: bool) -> None:
        trial = self._oracle.get_trial(name)
        if failed:
            trial.status = TrialStatus.FAILED
        else:
            self._oracle.update_trial(name, {SCORE: score})
            trial.status = TrialStatus.COMPLETED
        self._oracle.end_trial(trial)

    def needed(self) -> set[str]:
        """Trials that others may yet go on from: of each round of Hyperband the best that have room in the next."""
        needed = set()
        for bracket in getattr(self._oracle, "_brackets", []):
            for number, (this, following) in enumerate(zip(bracket["rounds"], bracket["rounds"][1:], strict=False)):
                room = self._oracle._get_size(bracket["bracket_num"], number + 1)
                done = [self._oracle.trials[info["id"]] for info in this]
                done = [trial for trial in done if trial.status == TrialStatus.COMPLETED]
                done.sort(key=lambda trial: trial.score, reverse=self._oracle.objective.direction == "max")
                promoted = {info["past_id"] for info in following}
                under_way = {trial.trial_id for trial in self._oracle.ongoing_trials.values()}
                begun_from = {info["past_id"] for info in following if info["id"] in under_way}
                needed |= {trial.trial_id for trial in done[:room]} - promoted | begun_from
        return needed


def _asked(trial: Trial) -> Asked:
    return Asked(trial.trial_id, dict(trial.hyperparameters.values))


def _unsaved(kind: type[keras_tuner.Oracle]) -> type[keras_tuner.Oracle]:
    """The oracle without its own files."""

    class Unsaved(kind):
        known: dict[str, Value] | None = None
        """The next trial's values, where they are being repeated."""

        def save(self) -> None:
            pass

        def _save_trial(self, trial: Trial) -> None:
            pass

        def populate_space(self, trial_id: str) -> dict:
            if kind is STRATEGIES["bayesian"]:
                # Seconds of work: by a random state of each trial's own it need not be done again to be gone on from.
                if self.known is not None:
                    return {"status": TrialStatus.RUNNING, "values": self.known}
                self._random_state = np.random.RandomState([self.seed, len(self.trials)])
                self._seed_state = self.seed + DRAWS * len(self.trials)
            return super().populate_space(trial_id)

    return Unsaved


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """A space as Keras Tuner has it."""
    made = keras_tuner.HyperParameters()
    for path, values in space.items():
        _declare(made, path, values, values.when)
    return made


def _declare(made: keras_tuner.HyperParameters, path: str, values: Range, when: Condition | None) -> None:
    if when is not None:
        with made.conditional_scope(when[0], list(when[1])):
            _declare(made, path, values, None)
    elif isinstance(values, Choice):
        made.Choice(path, list(values.values), ordered=_numbers(values.values))
    else:
        kind = made.Int if isinstance(values, Int) else made.Float
        kind(path, values.low, values.high, step=values.step, sampling="log" if values.log else "linear")


def _numbers(values: Sequence[Value]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
