"""`cifar-94` beside the record program for 94 % on CIFAR-10 in PyTorch, one after the other on this machine.

usage: python -m benchmarks.record PATH/airbench94_muon.py PYTHON [SEEDS] [CONTROLS]

The program (K. Jordan, github.com/KellerJordan/cifar10-airbench) is not part of this project: give a copy of it, and a
Python that has PyTorch and NumPy. It is run first, CONTROLS (1) times, as `record_control` says; then `cifar-94` with
SEEDS (5) seeds. Seconds are from the first step to the last, evaluation aside, ours also without the first step of each
stage, which compiles; accuracies those of the test set, plain and averaged over views. Needs real CIFAR-10 in the
cache. On a GPU run it under KERAS_BACKEND=jax.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.work import at_size, operations, product_rate, step_seconds, timed_steps
from data.errors import BadInput
from pipelines import command, recipes

if TYPE_CHECKING:
    from data.spec import Splits
    from pipelines.fitting.trainer import Fitted, Trainer
    from pipelines.settings import Recipe

CONTROL = Path(__file__).with_name("record_control.py")


@dataclass
class Figures:
    """Of one training."""

    seconds: float
    compiling: float
    accuracy: float
    tta_accuracy: float
    images: int = 0
    operations: float = 0.0


def controls(program: Path, python: str, splits: Splits, runs: int) -> list[Figures]:
    """Run the record program in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for name, split in (("train", splits.train), ("test", splits.test)):
            np.save(Path(folder) / f"x_{name}.npy", split.inputs[np.arange(len(split))])
            np.save(Path(folder) / f"y_{name}.npy", split.labels.astype(np.int64))
        asked = [python, str(CONTROL), str(program), folder, str(runs)]
        done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise command.RunFailed(f"the record program ended with status {done.returncode}: its error is above")
    print(done.stdout, end="", flush=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        Figures(run["seconds"], 0.0, run["accuracy"], run["tta_accuracy"], run["epochs"] * len(splits.train))
        for run in found
    ]


def scored(trainer: Trainer, fitted: Fitted, averaged: bool) -> dict[str, float]:
    """The metrics of a trained network on the test set, of what would have been recorded."""
    from pipelines import servable

    with tempfile.TemporaryDirectory() as folder:
        servable.save(Path(folder), fitted.model, trainer.task.serving())
        return trainer.task.report(servable.Servable(Path(folder)), averaged).metrics


def train(recipe: Recipe, splits: Splits, console: object) -> Figures:
    """Train and score the test set, without a record."""
    from pipelines.fitting.trainer import Trainer

    trainer = Trainer(recipe, splits, console)
    with timed_steps() as times:
        fitted = trainer.fit(lambda metrics, epoch, at: None)
    bounds = np.cumsum([0, *(stage.epochs for stage in recipe.stages)])
    compiling = 0.0
    for start, end in pairwise(bounds):
        steps, seconds = times[start][0]
        compiling += seconds - steps * step_seconds(times[start:end])
    found = scored(trainer, fitted, averaged=True)
    size, whole = trainer.batches.batch_size, trainer.task.seen.shape
    sides = [side or whole[0] for side in trainer.batches.image_sizes]
    sized = {side: at_size(trainer.model, (side, side, whole[2])) for side in {*sides}}
    work = {side: sum(products for _, products, _ in operations(model, size)) for side, model in sized.items()}
    accuracies = 100 * found["accuracy"], 100 * found["tta_accuracy"]
    done = trainer.batches.steps * sum(work[side] for side in sides)
    return Figures(fitted.seconds, compiling, *accuracies, trainer.total * size, done)


def main(arguments: list[str]) -> None:
    if len(arguments) < 2:
        raise BadInput("needs the record program and a Python with PyTorch", "record", "see its first lines")
    program, python = Path(arguments[0]), arguments[1]
    seeds = int(arguments[2]) if len(arguments) > 2 else 5
    runs = int(arguments[3]) if len(arguments) > 3 else 1
    command.start_backend()

    import data
    from pipelines import reports

    console = reports.console()
    recipe = recipes.find("cifar-94")
    splits = data.load(recipe.data)
    if splits.name != "cifar10":
        raise BadInput("is no CIFAR-10", splits.name, "make ingest-cifar10 FROM=…")
    theirs, ours = controls(program, python, splits, runs), []
    for seed in range(1, seeds + 1):
        ours.append(train(replace(recipe, seed=seed), splits, console))
        console.print(f"seed {seed}: {ours[-1]}", soft_wrap=True)
    console.print(table(theirs, ours))
    rate = np.median([run.operations / (run.seconds - run.compiling) for run in ours])
    share = rate / product_rate("bfloat16", 10.0)
    console.print(f"cifar-94: {rate / 1e12:,.2f} TFLOP/s, {share:.0%} of the rate of bfloat16 products")


def table(theirs: list[Figures], ours: list[Figures]) -> object:
    """A row for each training, and the ratio of the medians."""
    from rich.table import Table

    shown = Table(title="94 % on CIFAR-10, all 50,000 images", title_justify="left")
    for column in ("", "s", "compiling, s", "images/s", "accuracy, %", "averaged over views, %"):
        shown.add_column(column, justify="right" if column else "left")
    for name, runs in (("record program", theirs), ("cifar-94", ours)):
        rows = np.array([(run.seconds, run.compiling, run.images / run.seconds) for run in runs])
        cells = [f"{np.median(rows[:, 0]):.1f} ({rows[:, 0].min():.1f} to {rows[:, 0].max():.1f})"]
        cells += [f"{np.median(rows[:, 1]):.1f}", f"{np.median(rows[:, 2]):,.0f}"]
        cells += [spread([run.accuracy for run in runs]), spread([run.tta_accuracy for run in runs])]
        shown.add_row(f"{name}, {len(runs)} runs", *cells)
    medians = [np.median([run.seconds - run.compiling for run in runs]) for runs in (ours, theirs)]
    whole = np.median([run.seconds for run in ours]) / medians[1]
    shown.caption = f"our time is {whole:.2f} of the record program's, {medians[0] / medians[1]:.2f} without compiling"
    return shown


def spread(values: list[float]) -> str:
    """Mean, and standard deviation over runs."""
    deviation = f", deviation {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{deviation}"


if __name__ == "__main__":
    command.main(main)
