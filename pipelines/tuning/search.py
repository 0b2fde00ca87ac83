"""One search from its space to its recorded winner."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

from data.errors import BadInput
from pipelines import command, members, preparation, settings, space, training
from pipelines.outcomes import read_outcome
from pipelines.settings import Recipe
from pipelines.tuning import teams, trials, winner
from pipelines.tuning.plan import Plan, searched
from pipelines.tuning.trials import Asked, Log, Result
from pipelines.tuning.worker import Searched, tidy

if TYPE_CHECKING:
    from rich.console import Console

    from data.spec import Splits
    from pipelines.tracking.runs import Run

BEST = 3
"""Trials whose last states stay on the disk until the search ends: of the first the model is made; two more cost little
and are there for whoever gives a search up, or finds the best to be too large."""


class Search:
    """A search that is being carried out and recorded."""

    def __init__(self, plan: Plan, run: Run, splits: Splits, console: Console) -> None:
        """Take up a search where its log ends."""
        from pipelines.tuning.oracles import Oracle

        self.plan, self.run, self.splits, self.console = plan, run, splits, console
        self.log = Log(run.folder / "trials.jsonl")
        epochs = plan.recipe.epochs
        self.oracle = Oracle(plan.strategy, plan.space, plan.objective, plan.trials, epochs, plan.seed, self.log)
        self.searched = searched(plan, run.id, splits)
        tidy(self.searched, self.spent())
        self._recorded, self._best = 0, math.nan
        self._record()

    def begin(self, asked: Asked) -> Searched:
        """Say that a trial begins; gives what it has in common with others."""
        short = space.short_names(self.plan.space)
        values = ", ".join(f"{short[path]} {space.text(value)}" for path, value in asked.hyperparameters.items())
        goes_on = f", goes on from trial {asked.past} to epoch {asked.epochs}" if asked.past else ""
        self.console.print(f"trial {asked.id}: {values}{goes_on}", soft_wrap=True)
        return self.searched

    def _end(self, trial: str, found: Result) -> None:
        """Record and say what came of a trial."""
        self._record()
        tidy(self.searched, self.spent())
        score = "" if found.failure else f"{self.plan.objective.metric} {found.score:.4f}, "
        best = trials.best(self.log.trials(), self.plan.objective)
        said = f"; best {best[1].score:.4f} (trial {best[0].id})" if best else ""
        self.console.print(f"trial {trial}: {score}{found.state}, {found.seconds:.0f} s{said}", soft_wrap=True)

    def spent(self) -> list[str]:
        """Trials that have ended and whose states nobody needs: none can go on from them, and others are better."""
        best = {asked.id for asked, _ in trials.ranked(self.log.trials(), self.plan.objective)[:BEST]}
        kept = best | self.oracle.needed()
        return [trial for trial in self.log.ends() if trial not in kept]

    def _record(self) -> None:
        """Metrics after each trial that has ended since the last time."""
        for score in self.log.scores()[self._recorded :]:
            self._recorded += 1
            metrics = {}
            if math.isfinite(score):
                self._best = score if math.isnan(self._best) else self.plan.objective.best([self._best, score])
                metrics["trial/score"] = score
            if math.isfinite(self._best):
                metrics["trial/best"] = self._best
            self.run.metrics(metrics, self._recorded)

    def ask(self, worker: str) -> Asked | object | None:
        """See :meth:`pipelines.tuning.oracles.Oracle.ask`."""
        return self.oracle.ask(worker)

    def tell(self, trial: str, found: Result) -> None:
        """See :meth:`pipelines.tuning.oracles.Oracle.tell`; also recorded and said."""
        self.oracle.tell(trial, found)
        self._end(trial, found)


def carry_out(plan: Plan, console: Console) -> str:
    """Be a worker where Keras Tuner's variables say so; else search, or go on where the same search is unfinished.

    Everything is recorded in one run, each trial in a child of it.

    Returns:
        The run's id; of a worker, nothing.

    Raises:
        BadInput: it can't be done as asked.
        RunFailed: no trial has a result.
        Interrupted: by a signal; the same command goes on.
    """
    from pipelines.tracking import journal, runs, store, unfinished
    from pipelines.tuning import service

    if service.role() == "worker":
        teams.work_for_chief(plan, console)
        return ""
    store.connect()
    wanted = plan.plain() | {"retrain": plan.retrain}
    begun = unfinished.search(plan.name, wanted)
    same_data = journal.read_header(begun)["tags"]["data.sha256"] if begun else ""
    splits = preparation.load(plan.recipe, same_data, console)
    if not len(splits.val):
        raise BadInput("a search needs validation data", "--data.validation", "give a count or a share above 0")
    tags = {"stage": "tune", "recipe": plan.name, "strategy": plan.strategy, "search.seed": str(plan.seed)}
    tags |= searched(plan, "", splits).tags
    params = settings.flatten(settings.to_dict(plan.recipe))
    params |= {f"search.{path}": text for path, text in space.describe(plan.space).items()}
    name = preparation.run_name(plan.name, splits, plan.strategy)
    header = {"recipe_name": plan.name, "search": wanted, "continues": True}
    opened = runs.resume(begun, console) if begun else runs.start(splits.name, name, tags, params, header, console)
    again = f"interrupted; to go on, give the same command again: make tune-{plan.name} ..."
    with opened as run, command.interrupted_with(f"{run.name}: {again}"):
        preparation.record_inputs(run, plan.recipe, splits)
        search = Search(plan, run, splits, console)
        ended = len(search.log.ends())
        how = f"goes on after {ended} trials" if begun else f"{plan.strategy} search"
        console.print(f"{run.name}: {how}; run {run.id}", soft_wrap=True)
        teams.make_trials(search)
        _finish(search)
    return run.id


def _finish(search: Search) -> None:
    """Record what all trials say together, and the winner."""
    from pipelines import reports
    from pipelines.reports import search as report

    plan, run, notice = search.plan, search.run, search.splits.notice
    made = search.log.trials()
    table = report.table(made, plan.objective)
    run.tables({"trials": table})
    run.text("trials.csv", table.to_csv(index=False))
    best = trials.best(made, plan.objective)
    if best is None:
        why = table["state"].iloc[0] if len(table) else "none was made"
        raise command.RunFailed(f"{run.name}: no trial has a result ({why})")
    run.figures(
        {
            "score_by_trial": report.progress(table, plan.objective, notice),
            "score_by_hyperparameter": report.by_hyperparameter(table, plan.objective, plan.space, notice),
        }
    )
    asked, found = best
    recipe = asked.recipe(plan.recipe)
    run.text("recipe.json", reports.as_json(settings.to_dict(recipe)))
    run.tags({"best.trial": asked.id, "best.run": found.run})
    run.tags({f"best.{path}": str(value) for path, value in asked.hyperparameters.items()})
    run.metrics({f"best/{plan.objective.metric}": found.score, "trials": len(table)})
    search.console.print(report.summary(table, plan.objective, plan.space, notice))
    search.console.print(
        f"best: trial {asked.id}, {plan.objective.metric} {found.score:.4f} (chosen by it, so it flatters)"
    )
    winner.record(run, search.searched, asked, search.console)
    if plan.retrain:
        _retrain(search, trials.final_recipe(recipe, found))
    for rest in ("members", "states"):
        shutil.rmtree(run.folder / rest, ignore_errors=True)
    search.console.print(f"{run.name}: run {run.id}; see make ui", soft_wrap=True)


def _retrain(search: Search, recipe: Recipe) -> None:
    """Train the winner on training and validation data, and score it on the test set, once."""
    plan, run = search.plan, search.run
    outcome = run.folder / "retrained.json"
    search.console.print(f"{run.name}: trains the best on training and validation data", soft_wrap=True)
    tags = {"retrains": run.id}
    request = training.Request(plan.name, recipe, group=run.id, outcome=str(outcome), tags=tags)
    status = members.carry_on(request, members.train, members.resume)
    if status > 128:
        raise command.Interrupted(status - 128)
    if status:
        raise command.RunFailed(f"{run.name}: training the best failed")
    found = read_outcome(outcome)
    run.metrics({name: value for name, value in found.final.items() if name.startswith("test/")})
    run.tags({"retrained": found.run})
