"""What the trials of a search say together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipelines.reports import figures
from pipelines.space import Choice, Space, short_names, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from pipelines.tuning.trials import Asked, Objective, Result

SHOWN = 10
"""Trials in the table for the terminal."""


def table(trials: list[tuple[Asked, Result | None]], objective: Objective) -> pd.DataFrame:
    """One row for each trial that has ended, in the order they began: what it was and what came of it."""
    rows = [
        {
            "trial": asked.id,
            objective.metric: found.score,
            "state": found.state,
            "epochs": found.epochs,
            "seconds": found.seconds,
            "goes_on_from": asked.past,
            "run": found.run,
            **asked.hyperparameters,
        }
        for asked, found in trials
        if found is not None
    ]
    return pd.DataFrame(rows)


def summary(found: pd.DataFrame, objective: Objective, space: Space, notice: str) -> Table:
    """The best trials, for the terminal."""
    from rich.table import Table

    ranked = found.sort_values(objective.metric, ascending=objective.direction == "min", na_position="last")
    title = f"{len(found)} trials" + (f", the best {SHOWN}" if len(found) > SHOWN else "")
    shown = Table(title=title, title_justify="left", caption=notice or None)
    shown.add_column("trial")
    shown.add_column(objective.metric, justify="right")
    for name in ("epochs", "seconds", *short_names(space).values()):
        shown.add_column(name, justify="right")
    shown.add_column("state", overflow="fold")
    for _, row in ranked.head(SHOWN).iterrows():
        values = [text(row.get(path)) for path in space]
        score = f"{row[objective.metric]:.4f}" if math.isfinite(row[objective.metric]) else ""
        shown.add_row(row["trial"], score, str(row["epochs"]), f"{row['seconds']:.0f}", *values, row["state"])
    return shown


def progress(found: pd.DataFrame, objective: Objective, notice: str) -> Figure:
    """Scores against trials so far, and the best so far."""
    figure = figures.new(7, 4, notice)
    axes = figure.subplots()
    numbers, scores = np.arange(1, len(found) + 1), found[objective.metric].to_numpy(float)
    best = (np.fmax if objective.direction == "max" else np.fmin).accumulate(scores)
    axes.plot(numbers, scores, "o", markersize=4, label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    for number in numbers[~np.isfinite(scores)]:
        axes.axvline(number, color="firebrick", linewidth=0.8, linestyle=":", label="failed")
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), frameon=False)
    axes.set(xlabel="trial", ylabel=objective.metric)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def by_hyperparameter(found: pd.DataFrame, objective: Objective, space: Space, notice: str) -> Figure:
    """Scores against each hyperparameter; later trials are darker."""
    paths = [path for path in space if path in found]
    columns = min(3, len(paths))
    lines = -(-len(paths) // columns)
    figure = figures.new(3.4 * columns, 3 * lines, notice)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(paths) :]:
        axes.set_axis_off()
    shades = np.linspace(0.3, 1, len(found))
    for axes, path in zip(grid.flat, paths, strict=False):
        rows = found[path].notna().to_numpy() & np.isfinite(found[objective.metric].to_numpy(float))
        values = found.loc[rows, path]
        if isinstance(space[path], Choice):
            values = values.map(str)
        elif space[path].log:
            _use_logarithm(axes, decades=math.log10(space[path].high / space[path].low))
        axes.scatter(values, found.loc[rows, objective.metric], c=shades[rows], cmap="Blues", vmin=0, vmax=1, s=18)
        axes.set(xlabel=path)
    for line in grid:
        line[0].set_ylabel(objective.metric)
    grid[0][0].set_title("later trials are darker", fontsize=8, loc="left")
    return figure


def _use_logarithm(axes: object, decades: float) -> None:
    """A logarithmic axis with labels that have room."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    if decades < 2:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
