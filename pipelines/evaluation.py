"""Scoring a recorded model on the test set: what train does at its end and evaluate repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.reports import Report
    from pipelines.servable import Servable
    from pipelines.tasks import Task
    from pipelines.tracking.runs import Run


def check(task: Task, tta: bool) -> None:
    """Refuse averages over views where there are none.

    Raises:
        BadInput: they are asked for.
    """
    if tta and not task.averages:
        raise BadInput(f"averages over shifted images, which {task.name} does not know", "--tta", "leave it out")


def evaluate(run: Run, task: Task, model: Servable, tta: bool, console: Console) -> Report:
    """Score a trained model, write the results into its run and show them.

    Args:
        run: where the results go.
        task: of the recipe that it was trained by, on its data.
        model: takes raw inputs.
        tta: average over shifts too, and over mirror images where training had them.
        console: where the table goes.
    """
    report = task.report(model, tta)
    run.metrics({f"test/{name}": value for name, value in report.metrics.items()})
    run.tables({"predictions": report.predictions, **report.tables})
    run.figures(report.figures)
    console.print(report.summary)
    return report
