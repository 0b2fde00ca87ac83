"""Compare recorded runs: what differs, whether it is more than chance, for which classes and rows, and at what cost.

usage: python -m pipelines.compare RUN RUN [RUN ...]

RUN is an id, a run's name, or last; a group of seeds stands for its trainings; recipe=NAME for all finished trainings
of a recipe, those as one that differ in their seed alone. All must have been scored on the same test set.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from data.errors import BadInput
from pipelines import command

if TYPE_CHECKING:
    from rich.console import Console

    from data.spec import Source
    from pipelines.comparing.page import Page
    from pipelines.comparing.pairs import Pair
    from pipelines.comparing.sides import Side


@dataclass(frozen=True)
class Options:
    """What is compared."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Ids or names of runs, last, or recipe=NAME; the others are compared with the first."""


def main(arguments: list[str]) -> None:
    """Compare the runs that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.compare", __doc__)
    from pipelines import reports
    from pipelines.comparing import pairs, sides
    from pipelines.tracking import store

    console = reports.console()
    store.connect()
    with store.faults():
        compared = sides.gather(options.runs)
        known = {side.letter: _known(side) for side in compared}
        data = compared[0].members[0].run.data()
    found = [pairs.compare(compared[0], other, known) for other in compared[1:]]
    page = _page(compared, found, data)
    reports.warn_of_stand_in(page.notice, console)
    _show(page, console)
    _record(page, found, console)


def _known(side: Side) -> list[float]:
    """What the measure of a side has been with several seeds: its own, or those of the same setting in the store."""
    from pipelines.comparing import pairs
    from pipelines.tracking import recorded

    metric = pairs.measure(side).metric
    own = side.values(metric)
    return own if len(own) > 1 else recorded.other_seeds(side.members[0].run).get(metric, [])


def _page(compared: Sequence[Side], found: Sequence[Pair], data: dict) -> Page:
    """All that is shown."""
    from pipelines.comparing import page, tables, words

    notice = _notice(compared)
    inputs, remarks = _inputs(compared[0], data)
    recipes = ", ".join(dict.fromkeys(side.recipe for side in compared))
    return page.Page(
        f"Comparison on {compared[0].members[0].run.experiment}: {recipes}",
        notice,
        compared,
        words.verdict(found),
        [tables.sides(compared), tables.tests(found), tables.metrics(compared), tables.parameters(compared)],
        page.overview(compared, notice),
        [page.section(pair, data["classes"], inputs, notice) for pair in found],
        remarks,
    )


def _notice(compared: Sequence[Side]) -> str:
    """Which data stand in for which, where some do."""
    used = compared[0].members[0].run.experiment
    asked = ", ".join(dict.fromkeys(name for side in compared for one in side.members if (name := one.stands_in_for)))
    return asked and f"STAND-IN DATA: {used} instead of {asked}. These results say nothing about {asked}."


def _inputs(side: Side, known: dict) -> tuple[Source | None, list[str]]:
    """The test inputs, or why they are not shown."""
    import data
    from pipelines import settings

    try:
        splits = data.load(settings.from_dict(side.members[0].run.recipe()).data)
        if splits.manifest["test_sha256"] != known["test_sha256"]:
            what = "the test set here is not the one that was scored"
            raise BadInput(what, splits.name, f"ingest the same data: {known['origin']}")
    except BadInput as error:
        return None, [f"The inputs themselves can't be shown: {error}."]
    return splits.test.inputs, []


def _show(page: Page, console: Console) -> None:
    """The tables, then the sentences."""
    for grid in page.grids:
        if grid.rows or grid.note:
            console.print(grid.rich())
    for line in (*page.remarks, *page.verdict):
        console.print(line, soft_wrap=True)


def _record(page: Page, found: Sequence[Pair], console: Console) -> None:
    """The comparison as a run of its own, and where its page lies."""
    from pipelines.tracking import recorded, runs, store

    members = [member for side in page.sides for member in side.members]
    recipes = dict.fromkeys(side.recipe for side in page.sides)
    tags = {
        "stage": "compare",
        "task": page.sides[0].task,
        "recipe": ",".join(recipes),
        "compares": ",".join(member.run.id for member in members),
        "data.test_sha256": members[0].facts.tags["data.test_sha256"],
    }
    name = "-".join(["compare", *["STAND-IN"] * bool(page.notice), *recipes, time.strftime("%m%d-%H%M%S")])
    params = {side.letter: side.name for side in page.sides}
    with runs.start(members[0].run.experiment, name, tags, params, {}, console) as run:
        run.text("comparison.html", page.html())
        run.text("verdict.txt", "\n".join(page.verdict) + "\n")
        run.figures(page.figures())
        run.tables(page.tables())
        for pair in found:
            run.metrics(_metrics(pair, len(found) > 1))
    with store.faults():
        place = recorded.place(run.id, "comparison.html")
    where = f"page {place}" if place else "its page is comparison.html"
    console.print(f"{run.name}: {where}; run {run.id}; see make ui", soft_wrap=True)


def _metrics(pair: Pair, several: bool) -> dict[str, float]:
    """The differences as numbers, of several pairs by the second one's letter."""
    name = f"difference/{pair.measure.metric.removeprefix('test/')}"
    values = {name: pair.sample.value, f"{name}_low": pair.sample.low, f"{name}_high": pair.sample.high}
    if pair.mcnemar:
        values["mcnemar_p"] = pair.mcnemar.p
    if pair.training:
        welch = pair.training.difference
        values |= {"welch_p": pair.training.p, "welch_low": welch.low, "welch_high": welch.high}
    return {f"{pair.second.letter}/{key}": value for key, value in values.items()} if several else values


if __name__ == "__main__":
    command.main(main)
