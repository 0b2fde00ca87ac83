"""Evaluate a recorded model again, from its record alone, and write the result into its run.

usage: python -m pipelines.evaluate RUN [--tta]

RUN is an id, a run's name, or last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from data.errors import BadInput
from pipelines import command


@dataclass(frozen=True)
class Options:
    """What is evaluated."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's id or name, or last."""
    tta: bool = False
    """Also with averages over shifts, and over mirror images where training had them."""
    trust: bool = False
    """Execute the code that is recorded with the model, and in it; without it nothing of it is executed."""


def main(arguments: list[str]) -> None:
    """Evaluate the run that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.evaluate", __doc__)

    command.start_backend()
    import data
    from pipelines import evaluation, reports, settings, tasks
    from pipelines.tracking import recorded, runs

    console = reports.console()
    found = recorded.find(options.run)
    known, recipe = found.data(), settings.from_dict(found.recipe())
    splits = data.load(recipe.data)
    if splits.manifest["test_sha256"] != known["test_sha256"]:
        what = f"was trained with {known['name']} ({known['source']}), and its test set is not the one here"
        raise BadInput(what, f"run {found.name}", f"ingest the same data: {known['origin']}")
    reports.warn_of_stand_in(splits.notice, console)
    task = tasks.bind(recipe, splits)
    evaluation.check(task, options.tta)
    model = found.load_model(options.trust)
    with runs.append(found, console) as run:
        evaluation.evaluate(run, task, model, options.tta, console)
    console.print(f"{found.name}: written into run {found.id}", soft_wrap=True)


if __name__ == "__main__":
    command.main(main)
