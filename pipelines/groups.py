"""Groups of trainings that differ in their seed alone: children of one run that holds what they say together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput
from pipelines import command, members, settings, training
from pipelines.outcomes import read_predictions

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.outcomes import Outcome
    from pipelines.tracking.runs import Run
    from pipelines.training import Request


def start(request: Request, count: int, console: Console) -> None:
    """Train a recipe with so many seeds, one after the other, each in a process of its own.

    Raises:
        BadInput: it can't be done as asked.
        RunFailed: one of the trainings broke down.
    """
    if count < 2:
        raise BadInput(f"{count} says nothing about a spread", "--seeds", "give 2 or more")
    command.start_backend()
    from pipelines.fitting import replicas

    replicas.refuse_hosts("several seeds")
    seeds = list(range(request.recipe.seed, request.recipe.seed + count))
    header = {"recipe": settings.to_dict(request.recipe), "tta": request.tta, "seeds": seeds, "trust": request.trust}
    listed = {"seed": ",".join(map(str, seeds))}
    parent = members.Parent("seeds", request, (f"seeds{seeds[0]}to{seeds[-1]}",), header, listed)
    with members.begun(parent, console) as (run, notice):
        console.print(f"{run.name}: {count} trainings; run {run.id}", soft_wrap=True)
        _train_members(run, request, seeds, notice, console)


def resume(folder: Path, console: Console) -> None:
    """Go on with an unfinished group: the training that was under way, and those after it."""
    from pipelines.tracking import journal

    header = journal.read_header(folder)
    recipe = settings.from_dict(header["recipe"])
    with members.taken_up(folder, recipe, console) as (run, notice):
        request = training.Request(header["recipe_name"], recipe, header["tta"], trust=header.get("trust", False))
        _train_members(run, request, header["seeds"], notice, console)


def _train_members(run: Run, request: Request, seeds: list[int], notice: str, console: Console) -> None:
    parts = {f"seed {seed}": replace(request, recipe=replace(request.recipe, seed=seed)) for seed in seeds}
    again = f"to go on: make train-{request.name} RESUME={run.id}"
    outcomes = members.train_all(run, parts, again, console)
    _summarize(run, outcomes, notice, console)
    if request.recipe.model.task != "autoencoding":
        _combine(run, [members.outcome_of(run, name) for name in parts], console)
    console.print(f"{run.name}: run {run.id}; see make ui", soft_wrap=True)


def _summarize(run: Run, outcomes: list[Outcome], notice: str, console: Console) -> None:
    """Record and show what all trainings say together."""
    from pipelines.reports import seeds

    finals, histories = [one.final for one in outcomes], [one.history for one in outcomes]
    grouped = seeds.final_statistics(finals)
    run.metrics(seeds.flat(grouped, ("mean", "std", "min", "max", "low", "high")))
    for epoch, found in enumerate(seeds.curve_statistics(histories), start=1):
        run.metrics(seeds.flat(found, ("mean", "min", "max")), epoch)
    run.tables({"seeds": seeds.table([one.run for one in outcomes], [one.seed for one in outcomes], finals)})
    run.figures({"seeds": seeds.curves(histories, [one.seed for one in outcomes], notice)})
    console.print(seeds.summary(grouped, len(outcomes), notice))


def _combine(run: Run, outcomes: list[Path], console: Console) -> None:
    """Record and show how good all trainings are as an ensemble."""
    from pipelines.reports import classification

    together = classification.ensemble([read_predictions(outcome) for outcome in outcomes])
    run.metrics({f"test/{name}": value for name, value in together.metrics.items()})
    run.tables({"ensemble": together.predictions})
    console.print(together.summary)
