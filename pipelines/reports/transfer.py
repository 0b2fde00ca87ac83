"""What the trainings of a transfer say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipelines.reports import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from pipelines.comparing.statistics import Estimate
    from pipelines.outcomes import Outcome


def table(arms: Mapping[str, Sequence[Outcome]]) -> pd.DataFrame:
    """One row for each training: what it was, its seed, its run, its final metrics."""
    rows = [{"training": name, "seed": one.seed, "run": one.run, **one.final} for name in arms for one in arms[name]]
    return pd.DataFrame(rows)


def summary(accuracies: Mapping[str, Sequence[float]], gain: Estimate | None, notice: str) -> Table:
    """The table for the terminal."""
    from rich.table import Table

    shown = Table(title="test accuracy in percent", title_justify="left", caption=notice or None)
    for column in ("training", "mean", "by seed"):
        shown.add_column(column, justify="left" if column == "training" else "right")
    for name, found in accuracies.items():
        shown.add_row(name, f"{100 * np.mean(found):.1f}", ", ".join(f"{100 * value:.1f}" for value in found))
    if gain:
        shown.add_section()
        shown.add_row("gain", f"{100 * gain.value:+.1f}", f"{100 * gain.low:.1f} to {100 * gain.high:.1f}")
    return shown


def sentences(gain: Estimate | None, seeds: int) -> list[str]:
    """What the gain's interval is about."""
    if gain is None:
        return []
    found = f"{100 * gain.value:+.1f} points (95 % interval {100 * gain.low:.1f} to {100 * gain.high:.1f}"
    if seeds > 1:
        return [f"Transfer against training from nothing, the same budget: {found}, of {seeds} pairs of trainings)."]
    return [
        f"Transfer against training from nothing, the same budget: {found}, of these two models on these test images).",
        "Other seeds and other images drawn for training may give another gain: --seeds 3 shows how much.",
    ]


def curves(histories: Mapping[str, Sequence[list[dict[str, float]]]], notice: str) -> Figure:
    """Validation accuracy by epoch, or training accuracy where nothing was validated: a line for each training."""
    figure = figures.new(6, 3.4, notice)
    axes = figure.subplots()
    known = next(history for found in histories.values() for history in found)
    name = "val/accuracy" if "val/accuracy" in known[0] else "train/accuracy"
    for number, (label, found) in enumerate(histories.items()):
        for place, history in enumerate(found):
            values = [100 * epoch[name] for epoch in history]
            axes.plot(range(1, len(values) + 1), values, color=f"C{number}", label=None if place else label)
    axes.set(xlabel="epoch", ylabel=f"{name} in percent")
    axes.legend(frameon=False)
    return figure
