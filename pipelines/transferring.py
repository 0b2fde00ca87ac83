"""What a transfer gains over training from nothing, and over several seeds: the trainings of one run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines import command, members, settings, sources, training
from pipelines.recipes import transfer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from pipelines.comparing.statistics import Estimate
    from pipelines.outcomes import Outcome
    from pipelines.settings import Recipe
    from pipelines.tracking.runs import Run

SOURCE, TRANSFERRED, SCRATCH = "source", "transferred", "from nothing"
"""Names of the trainings; the last two are followed by the seed."""


@dataclass(frozen=True)
class Study:
    """Several trainings that belong together."""

    recipe: Recipe
    """The transfer's."""
    seeds: int
    baseline: bool
    """Whether the same network is also trained from nothing."""
    pretraining: Recipe | None = None
    """What makes the source, where none was given."""
    trust: bool = False
    """Whether the source may carry code."""

    def plain(self) -> dict[str, object]:
        """As the header of its run holds it."""
        first = self.pretraining and settings.to_dict(self.pretraining)
        recipe = settings.to_dict(self.recipe)
        return {
            "recipe": recipe,
            "seeds": self.seeds,
            "baseline": self.baseline,
            "pretraining": first,
            "trust": self.trust,
        }


def start(study: Study, console: Console) -> str:
    """Carry out a study as one run, each training a child of it in a process of its own.

    Returns:
        The run's id.

    Raises:
        BadInput: it can't be done as asked.
        RunFailed: one of the trainings broke down.
        Interrupted: by a signal; the trainings that are done stay done.
    """
    recipe, shots = study.recipe, study.recipe.data.shots
    particulars = ("study", f"{shots}shots") if shots else ("study",)
    request = training.Request(command.TRANSFER, recipe)
    parent = members.Parent("transfer", request, particulars, {"study": study.plain()})
    with members.begun(parent, console) as (run, notice):
        _carry_out(run, study, notice, console)
    return run.id


def resume(folder: Path, console: Console) -> None:
    """Go on with an unfinished study: the training that was under way, and those after it."""
    from pipelines.tracking import journal

    plain = journal.read_header(folder)["study"]
    recipe, first = settings.from_dict(plain["recipe"]), plain["pretraining"]
    first, trust = first and settings.from_dict(first), plain.get("trust", False)
    study = Study(recipe, plain["seeds"], plain["baseline"], first, trust)
    with members.taken_up(folder, recipe, console) as (run, notice):
        _carry_out(run, study, notice, console)


def _carry_out(run: Run, study: Study, notice: str, console: Console) -> None:
    from pipelines import reports

    again, recipe = f"to go on: make transfer RESUME={run.id}", study.recipe
    console.print(f"{run.name}: run {run.id}", soft_wrap=True)
    if study.pretraining:
        first = training.Request("cifar", study.pretraining)
        outcome = members.train_all(run, {SOURCE: first}, again, console)[0]
        recipe = sources.provide(transfer.from_run(recipe, outcome.run))
        run.tags(sources.tags(recipe))
        run.text("recipe.json", reports.as_json(settings.to_dict(recipe)))
    parts = {}
    for seed in range(recipe.seed, recipe.seed + study.seeds):
        draw = recipe.data.draw + seed - recipe.seed if recipe.data.shots else recipe.data.draw
        one = replace(recipe, seed=seed, data=replace(recipe.data, draw=draw))
        parts[f"{TRANSFERRED} {seed}"] = training.Request(command.TRANSFER, one, trust=study.trust)
        if study.baseline:
            parts[f"{SCRATCH} {seed}"] = training.Request(
                command.TRANSFER, transfer.from_scratch(one), trust=study.trust
            )
    outcomes = dict(zip(parts, members.train_all(run, parts, again, console), strict=True))
    _summarize(run, outcomes, notice, console)


def _summarize(run: Run, outcomes: dict[str, Outcome], notice: str, console: Console) -> None:
    """Record and show what all trainings say together."""
    from pipelines.reports import transfer as report

    arms = {
        name: [outcome for key, outcome in outcomes.items() if key.startswith(name)] for name in (TRANSFERRED, SCRATCH)
    }
    accuracies = {name: [one.final["test/accuracy"] for one in found] for name, found in arms.items() if found}
    gain = _gain(arms) if arms[SCRATCH] else None
    histories = {name: [one.history for one in found] for name, found in arms.items()}
    run.tables({"trainings": report.table(arms)})
    run.figures({"transfer": report.curves(histories, notice)})
    run.metrics({f"test/accuracy.{name.replace(' ', '_')}": sum(v) / len(v) for name, v in accuracies.items()})
    if gain:
        run.metrics({"gain/accuracy": gain.value, "gain/accuracy_low": gain.low, "gain/accuracy_high": gain.high})
    console.print(report.summary(accuracies, gain, notice))
    for line in report.sentences(gain, len(arms[TRANSFERRED])):
        console.print(line, soft_wrap=True)
    console.print(f"{run.name}: run {run.id}; see make ui", soft_wrap=True)


def _gain(arms: dict[str, list[Outcome]]) -> Estimate:
    """The difference of test accuracies: over seeds by Student's t of the pairs, of one pair by its test rows."""
    from pipelines.comparing import pairs, sides, statistics
    from pipelines.reports import seeds

    couples = list(zip(arms[TRANSFERRED], arms[SCRATCH], strict=True))
    if len(couples) == 1:
        return pairs.compare(*sides.gather([one.run for one in reversed(couples[0])]), {}).sample
    found = seeds.statistics([one.final["test/accuracy"] - other.final["test/accuracy"] for one, other in couples])
    return statistics.Estimate(found["mean"], found["low"], found["high"])
