"""What several trainings that differ in their seed alone say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipelines.reports import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
"""Metrics by epoch that are drawn, where a training has them."""


def statistics(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation (n - 1), extremes, and the 95 % interval of the mean by Student's t.

    Args:
        values: two or more.
    """
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    extremes = {"min": float(values.min()), "max": float(values.max())}
    return {"mean": mean, "std": deviation, **extremes, "low": mean - half, "high": mean + half}


def final_statistics(finals: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Statistics of each final metric; the bounds of a single run's own interval are left out."""
    names = [name for name in finals[0] if not name.endswith(("_low", "_high")) and all(name in one for one in finals)]
    return {name: statistics([one[name] for one in finals]) for name in names}


def curve_statistics(histories: Sequence[list[dict[str, float]]]) -> list[dict[str, dict[str, float]]]:
    """For each epoch that all trainings have had, statistics of each of its metrics."""
    return [
        {name: statistics([one[name] for one in epoch]) for name in epoch[0]}
        for epoch in zip(*histories, strict=False)  # early stopping leaves them different lengths
    ]


def flat(grouped: dict[str, dict[str, float]], kinds: Sequence[str]) -> dict[str, float]:
    """Statistics under one name each: ``test/accuracy.mean``."""
    return {f"{name}.{kind}": found[kind] for name, found in grouped.items() for kind in kinds}


def table(runs: Sequence[str], seeds: Sequence[int], finals: Sequence[dict[str, float]]) -> pd.DataFrame:
    """One row for each run: its seed, its id, its final metrics."""
    return pd.DataFrame([{"seed": seed, "run": run, **one} for run, seed, one in zip(runs, seeds, finals, strict=True)])


def summary(grouped: dict[str, dict[str, float]], count: int, notice: str) -> Table:
    """The table for the terminal."""
    from rich.table import Table

    shown = Table(title=f"{count} seeds", title_justify="left", caption=notice or None)
    for column in ("metric", "mean", "deviation", "min", "max", "95 % interval of the mean"):
        shown.add_column(column, justify="left" if column == "metric" else "right")
    for name, found in grouped.items():
        values = [f"{found[kind]:,.4g}" for kind in ("mean", "std", "min", "max")]
        shown.add_row(name, *values, f"{found['low']:,.4g} to {found['high']:,.4g}")
    return shown


def curves(histories: Sequence[list[dict[str, float]]], seeds: Sequence[int], notice: str) -> Figure:
    """Each metric by epoch: the mean of all seeds, the band from the lowest to the highest, and each seed's line."""
    names = [name for name in CURVES if name in histories[0][0]]
    figure = figures.new(5 * 2, 3.2 * math.ceil(len(names) / 2), notice)
    for axes, name in zip(figure.subplots(math.ceil(len(names) / 2), 2).flat, names, strict=False):
        grouped = [epoch[name] for epoch in curve_statistics(histories)]
        epochs = np.arange(1, len(grouped) + 1)
        low, mean, high = ([found[kind] for found in grouped] for kind in ("min", "mean", "max"))
        axes.fill_between(epochs, low, high, alpha=0.2, label="lowest to highest")
        axes.plot(epochs, mean, label=f"mean of {len(seeds)} seeds")
        for history in histories:
            axes.plot(range(1, len(history) + 1), [one[name] for one in history], color="grey", linewidth=0.5)
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    return figure
