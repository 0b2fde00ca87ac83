"""Trials an hour of a search with one worker and with two, on a model that leaves a core idle.

usage: python -m benchmarks.tuning_workers [--trials 8] [--times 2] [--recipe digits-mlp]

The same random search is carried out by one worker and by two, in turn, each time in a store of its own. Every process
computes with one thread (TF_NUM_INTRAOP_THREADS=1), so that one worker takes one core. The start-up of the search and
of each trial's process is part of the time, as it is for a user. Status 1 if a trial fails.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.server import ROOT, runs
from pipelines import command, reports

WORKERS = (1, 2)


@dataclass
class Options:
    """How many trials, how often, and of which recipe."""

    trials: int = 8
    times: int = 2
    """Searches of each kind."""
    recipe: str = "digits-mlp"


def search(options: Options, workers: int, folder: Path) -> float:
    """Carry out a search on a store that is not there yet; returns its seconds."""
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "RUNS_FOLDER": str(folder / "unfinished")}
    environment["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{folder / 'mlflow.db'}"
    flags = f"--strategy random --trials {options.trials} --workers {workers}".split()
    line, begun = [sys.executable, "-m", "pipelines.tune", options.recipe, *flags], time.monotonic()
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(line, cwd=ROOT, env=environment, text=True, check=False, **output)
    seconds = time.monotonic() - begun
    states = finished(uri) if done.returncode == 0 else 0
    if states != options.trials:
        raise command.RunFailed(f"{states} of {options.trials} trials finished: {done.stdout[-2000:]}")
    return seconds


def finished(uri: str) -> int:
    """The number of trials in a store that have ended well."""
    import mlflow

    found = [run for run in runs(mlflow.MlflowClient(uri)) if run.data.tags["stage"] == "trial"]
    return sum(run.info.status == "FINISHED" for run in found)


def main(arguments: list[str]) -> None:
    options = command.parse(Options, arguments, "python -m benchmarks.tuning_workers", __doc__)
    console, seconds = reports.console(), {workers: [] for workers in WORKERS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.times):
            for workers in WORKERS:
                place = Path(folder) / f"{number}-{workers}"
                place.mkdir()
                seconds[workers].append(search(options, workers, place))
                console.print(f"workers {workers}: {options.trials} trials in {seconds[workers][-1]:.0f} s")
    table = Table(title=f"{options.recipe}, {options.trials} trials, one thread a process", title_justify="left")
    for column in ("workers", "seconds of each search", "trials/hour", "ratio"):
        table.add_column(column, justify="right")
    rates = {workers: 3600 * options.trials / statistics.mean(took) for workers, took in seconds.items()}
    for workers, rate in rates.items():
        took = ", ".join(f"{one:.0f}" for one in seconds[workers])
        table.add_row(str(workers), took, f"{rate:,.0f}", f"{rate / rates[WORKERS[0]]:.2f}")
    console.print(table)


if __name__ == "__main__":
    command.main(main)
