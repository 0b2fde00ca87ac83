"""What this project's frame costs: a training by the train stage beside the same one by a bare script.

usage: python -m benchmarks.overhead [RUNS] [CASE ...]

Both train the same network on the same data for as many epochs, each RUNS (3) times in a process of its own, in turns.
The stage tracks, keeps its journal and checkpoints, scores and draws its report, in a new store; the script is
`bare_fit`. Shown are the medians and the range of the seconds of fitting, of the whole process, and of its peak memory.
CASE: large (the default recipe, of CIFAR-10 or its stand-in), tiny (a perceptron on digits, one image a step).
"""

from __future__ import annotations

import json
import tempfile
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import processes
from data.errors import BadInput
from pipelines import command

CASES = {"large": ("cifar", 2, 500), "tiny": ("digits-mlp", 3, 1)}
"""Recipe, epochs, batch size."""


def stage(arguments: list[str]) -> None:
    """The train stage, which says at its end how long it fitted and how good it is."""
    command.start_backend()  # as the stage does: it is quicker than a plain import of Keras
    from pipelines import train
    from pipelines.fitting.trainer import Trainer
    from pipelines.tracking.runs import Run

    found, fit, metrics = {}, Trainer.fit, Run.metrics

    def timed(*given: object, **named: object) -> object:
        begin = time.perf_counter()
        fitted = fit(*given, **named)
        found["fit"] = time.perf_counter() - begin
        return fitted

    def seen(run: Run, values: dict[str, float], *rest: object) -> None:
        if "test/accuracy" in values:
            found["accuracy"] = values["test/accuracy"]
        metrics(run, values, *rest)

    Trainer.fit, Run.metrics = timed, seen
    train.main(arguments)
    print(json.dumps(found))


def measure(line: list[str]) -> tuple[float, float, float, float]:
    """Seconds of fitting and of the process, peak memory in MiB, accuracy in percent."""
    with tempfile.TemporaryDirectory() as place:
        ran = processes.run(line, processes.environment(place))
    found = json.loads(ran.output.splitlines()[-1])
    return found["fit"], ran.seconds, ran.memory, 100 * found["accuracy"]


def compare(case: str, runs: int, table: Table) -> None:
    """One row a program, and one for their ratio."""
    recipe, epochs, size = CASES[case]
    lines = {
        "bare script": ["-m", "benchmarks.bare_fit", recipe, str(epochs), str(size)],
        "train stage": [*["-m", "benchmarks.overhead", "stage"], recipe, f"--epochs={epochs}", f"--batch-size={size}"],
    }
    costs = {name: [] for name in lines}
    for _ in range(runs):
        for name, line in lines.items():
            costs[name].append(measure(line))
    medians = []
    for name, found in costs.items():
        *columns, accuracies = np.array(found).T
        cells = (f"{np.median(column):.1f} ({column.min():.1f} to {column.max():.1f})" for column in columns)
        table.add_row(f"{case}, {name}", *cells, f"{np.median(accuracies):.2f}")
        medians.append(np.median(columns, axis=1))
    bare, staged = medians
    fit, process, memory = staged / bare
    table.add_row(f"{case}, ratio", f"{fit:.3f}", f"{process:.3f}, {staged[1] - bare[1]:+.1f} s", f"{memory:.3f}", "")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["stage"]:
        stage(arguments[1:])
        return
    runs, cases = int(arguments[0]) if arguments else 3, arguments[1:] or [*CASES]
    for case in cases:
        if case not in CASES:
            raise BadInput("no such case", case, f"there are {', '.join(CASES)}")
    table = Table(title=f"{runs} runs of each, in turns", title_justify="left")
    for column in ("", "fit, s", "process, s", "peak memory, MiB", "test accuracy, %"):
        table.add_column(column, justify="right" if column else "left")
    for case in cases:
        compare(case, runs, table)
    Console().print(table)


if __name__ == "__main__":
    command.main(main)
