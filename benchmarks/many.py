"""Many trainings started together on one store and one data cache that are not there yet, again and again.

usage: python -m benchmarks.many [--together 8] [--times 20]

Each training is a process of its own, on one new SQLite database. All must end FINISHED with every metric at every
epoch, and none may say that the database is locked. Status 1 if one does not or does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from pipelines import command, reports

ROOT = Path(__file__).resolve().parents[1]

EPOCHS = 3

BY_EPOCH = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "learning_rate", "epoch_seconds"}
BY_EPOCH |= {"examples_per_second"}

FINAL = {f"test/{name}" for name in ("accuracy", "top3_accuracy", "top5_accuracy", "macro_f1", "loss", "ece")}
FINAL |= {"train_seconds", "parameters", "test/accuracy_low", "test/accuracy_high"}


@dataclass
class Options:
    """How many, how often."""

    together: int = 8
    """Trainings at once."""
    times: int = 20
    """Rounds, each with a new store and a new cache."""


@dataclass
class Round:
    """What became of one round."""

    finished: int
    locked: int
    """Outputs that say it."""
    missing: int
    """Metrics, by name and step."""
    seconds: float
    trouble: str
    """The first output that is not as it should be."""


def train_together(count: int, folder: Path) -> Round:
    """Start so many trainings at once, wait for all, and look at the store."""
    uri = f"sqlite:///{folder / 'store' / 'mlflow.db'}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "DATA_CACHE": str(folder / "cache")}
    begin, processes = time.monotonic(), []
    for number in range(count):
        line = [sys.executable, "-m", "pipelines.train", "digits-mlp", "--epochs", str(EPOCHS), "--seed", str(number)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        processes.append(subprocess.Popen(line, cwd=ROOT, env=environment, text=True, **pipes))
    outputs = [process.communicate()[0] for process in processes]
    seconds = time.monotonic() - begin
    bad = [text for text, one in zip(outputs, processes, strict=True) if one.returncode or uri in text]
    finished, missing = look(uri, count)
    locked = sum("database is locked" in text for text in outputs)
    return Round(finished, locked, missing, seconds, bad[0] if bad else "")


def look(uri: str, count: int) -> tuple[int, int]:
    """The FINISHED runs of a store, and the metrics that lack in those that should be there."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    wanted = {(name, step) for name in BY_EPOCH for step in range(1, EPOCHS + 1)} | {(name, 0) for name in FINAL}
    missing = len(wanted) * (count - len(runs))
    for run in runs:
        names = [name for name in run.data.metrics if not name.startswith("system/")]
        points = [(name, point.step) for name in names for point in client.get_metric_history(run.info.run_id, name)]
        missing += len(wanted - set(points)) + len(points) - len(set(points))
    return sum(run.info.status == "FINISHED" for run in runs), missing


def main(arguments: list[str]) -> None:
    options = command.parse(Options, arguments, "python -m benchmarks.many", __doc__)
    console = reports.console()
    table = Table(title=f"{options.together} trainings at once", title_justify="left")
    for column in ("round", "finished", "database is locked", "metrics missing", "seconds"):
        table.add_column(column, justify="right")
    rounds = []
    for number in range(1, options.times + 1):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(train_together(options.together, Path(folder)))
        one = rounds[-1]
        cells = (f"{one.finished}/{options.together}", str(one.locked), str(one.missing), f"{one.seconds:.0f}")
        console.print(f"round {number}: {', '.join(cells)}" + (f"\n{one.trouble}" if one.trouble else ""))
        table.add_row(str(number), *cells)
    finished, locked, missing = (sum(getattr(one, key) for one in rounds) for key in ("finished", "locked", "missing"))
    asked, seconds = options.together * options.times, sum(one.seconds for one in rounds)
    table.add_section()
    table.add_row("all", f"{finished}/{asked}", str(locked), str(missing), f"{seconds:.0f}")
    console.print(table)
    if finished < asked or locked or missing or any(one.trouble for one in rounds):
        raise command.RunFailed("not every run was recorded as it should be")


if __name__ == "__main__":
    command.main(main)
