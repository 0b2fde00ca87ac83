"""Tables and figures about a trained model."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from data.errors import reason
from pipelines import command

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.table import Table


@dataclass
class Report:
    """What an evaluation found."""

    metrics: dict[str, float]
    """By recorded name without ``test/``."""
    predictions: pd.DataFrame
    """One row for each example."""
    summary: Table
    """For the terminal."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Further tables by file name without ending."""
    figures: dict[str, Figure] = field(default_factory=dict)
    """By file name without ending."""


def console() -> Console:
    """Where a stage talks to its user: a terminal of its real width, else lines that are not folded early.

    When nobody reads any more, of a pipe into ``head`` say, or a log's disk is full, it falls silent and the work goes
    on: hours of training must not end with what shows them.
    """
    from rich.console import Console

    class Talk(Console):
        def _check_buffer(self) -> None:
            try:
                super()._check_buffer()
            except OSError as error:
                self.on_broken_pipe()
                print(f"standard output: {reason(error)}; going on without it", file=sys.stderr)

        def on_broken_pipe(self) -> None:
            self.quiet = True
            command.silence(sys.stdout)

    return Talk(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)


def nowhere() -> Console:
    """A console that shows nothing."""
    from rich.console import Console

    return Console(quiet=True)


def warn_of_stand_in(notice: str, console: Console) -> None:
    """Say loudly, before anything else, that other data than those asked for are used; nothing if they are not."""
    if notice:
        console.print(notice, style="bold red", soft_wrap=True)


def as_json(plain: dict) -> str:
    """Plain data as a file that people read."""
    return json.dumps(plain, indent=1, ensure_ascii=False)


def data_table(manifest: dict) -> Table:
    """What is in the cache, for the terminal."""
    from rich.table import Table

    counts = manifest["counts"]
    table = Table(title=f"{manifest['name']} ({manifest['source']}), from {manifest['origin']}", title_justify="left")
    for column in ("class", *counts):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, *row in zip(manifest["classes"], *counts.values(), strict=True):
        table.add_row(name, *(f"{count:,}" for count in row))
    table.add_section()
    table.add_row("all", *(f"{sum(row):,}" for row in counts.values()))
    for name in ("mean", "deviation"):
        if name in manifest:
            table.add_row(f"channel {name}", " ".join(f"{value:.4f}" for value in manifest[name]))
    for name, value in manifest.get("facts", {}).items():
        table.add_row(
            name, f"{value:,}" if isinstance(value, int) else f"{value:.2%}" if isinstance(value, float) else value
        )
    checksums = [manifest[key] for key in ("sha256", "test_sha256") if key in manifest]
    table.add_row("sha256", *(f"{checksum[:16]}..." for checksum in checksums or [manifest["version"]]))
    return table


def training_figures(history: list[dict[str, float]], network: keras.Model, notice: str) -> dict[str, Figure]:
    """Learning curves, and the first layer's filters where it has some that can be seen."""
    from pipelines.reports import figures

    drawn = {"learning_curves": figures.learning_curves(history, notice)}
    kernels = (weight for weight in network.weights if weight.path.endswith("kernel") and len(weight.shape) == 4)
    kernel = next((kernel for kernel in kernels if kernel.shape[0] > 1 and kernel.shape[2] in (1, 3)), None)
    if kernel is not None:
        drawn["first_layer_filters"] = figures.filters(np.asarray(kernel), notice)
    return drawn
