"""Scoring a recorded model on the test set: what train does at its end and evaluate repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.augmentation import windows
from pipelines.tasks import TASKS

if TYPE_CHECKING:
    from rich.console import Console

    from data.spec import Splits
    from pipelines.servable import Servable
    from pipelines.settings import Recipe
    from pipelines.tracking.runs import Run


def evaluate(
    run: Run, recipe: Recipe, model: Servable, splits: Splits, tta: bool, console: Console
) -> dict[str, float]:
    """Score a trained model, write the results into its run and show them.

    Args:
        run: where the results go.
        recipe: that it was trained by.
        model: takes raw inputs.
        splits: of the data it was trained on.
        tta: average over shifts too, and over mirror images where training had them.
        console: where the table goes.

    Returns:
        The metrics by their recorded names.
    """
    task = TASKS[splits.spec.task]
    report = task.report(predict(model, splits), splits.test, splits.spec, splits.notice)
    metrics = {f"test/{name}": value for name, value in report.metrics.items()}
    if tta:
        mirrored = recipe.augmentation.flip != "none"
        averaged = task.report(predict_averaged(model, splits, mirrored), splits.test, splits.spec, splits.notice)
        metrics |= {f"test/tta_{name}": value for name, value in averaged.metrics.items()}
        report.summary.add_row("accuracy, averaged views", f"{averaged.metrics['accuracy']:.2%}")
    run.metrics(metrics)
    run.tables({"predictions": report.predictions, **report.tables})
    run.figures(report.figures)
    console.print(report.summary)
    return metrics


def predict(model: Servable, splits: Splits) -> np.ndarray:
    """The recorded model's outputs for the test set."""
    return model.predict(splits.test.inputs[np.arange(len(splits.test))])


def predict_averaged(model: Servable, splits: Splits, mirrored: bool) -> np.ndarray:
    """Mean of the outputs for each image as it is and shifted by a pixel along both diagonals, and their mirrors."""
    images = np.asarray(splits.test.inputs[np.arange(len(splits.test))])
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    corners = [np.full(len(images), corner) for corner in (0, 1, 2)]
    views = [windows(padded, corner, corner, *images.shape[1:3]) for corner in corners]
    if mirrored:
        views += [np.ascontiguousarray(view[:, :, ::-1]) for view in views]
    return np.mean([model.predict(view) for view in views], axis=0)
