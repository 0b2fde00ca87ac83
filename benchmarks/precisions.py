"""Does --precision auto take the faster one? A step of each recipe in both precisions, and what auto takes.

usage: python -m benchmarks.precisions [STEPS] [RECIPE ...]

Medians of STEPS (12) steps of the last stage after 4 others, input and callbacks included, in this process; without
RECIPE the ones of a task and kind of network each. As before a training, a network is measured first where that has not
been done on this machine. Status 1 if auto takes one that is slower by more than a tenth.
"""

from __future__ import annotations

from dataclasses import replace

from rich.table import Table

from benchmarks.work import step_seconds, timed_steps
from pipelines import command, recipes

USUAL = (
    "digits-mlp",
    "mnist-linear",
    "mnist-lenet",
    "cifar-mlp",
    "cifar-lenet",
    "cifar",
    "cifar-resnet",
    "names",
    "names-rnn",
    "autoencoder",
    "autoencoder-convolutional",
    "vae",
)

ASIDE = 4
"""Steps that do not count: what compiles is among them."""

SLOWER = 1.1
"""By so much the one that auto takes may be slower: less can't be told from noise."""


def main(arguments: list[str]) -> None:
    steps, names = int(arguments[0]) if arguments else 12, arguments[1:] or USUAL
    command.start_backend()

    import numpy as np

    import data
    from pipelines import preparation, reports
    from pipelines.fitting.trainer import Trainer

    console, wrong = reports.console(), []
    table = Table(title="milliseconds a step")
    for column in ("recipe", "data", "float32", "bfloat16", "float32 / bfloat16", "taken", "because"):
        table.add_column(column, justify="right" if column in ("float32", "bfloat16") else "left")
    for name in names:
        recipe, took = recipes.find(name), {}
        splits = data.load(recipe.data)
        preparation.measure_precision(recipe, splits, console)
        auto = Trainer(recipe, splits, console)
        recipe = replace(recipe, stages=(replace(recipe.stages[-1], epochs=1),), steps=steps + ASIDE)
        splits = replace(splits, val=splits.val.take(np.arange(0)))
        for kind in ("float32", "bfloat16"):
            trainer = Trainer(replace(recipe, precision=kind), splits, console)
            with timed_steps() as times:
                trainer.fit(lambda metrics, epoch, at: None)
            took[kind] = 1e3 * step_seconds(times, ASIDE)
        if auto.why_precision and took[auto.precision] > SLOWER * min(took.values()):
            wrong.append(name)
        shown = [f"{took[kind]:.2f}" for kind in took]
        why = auto.why_precision or "the recipe says so"
        shown += [f"{took['float32'] / took['bfloat16']:.2f}", auto.precision, why]
        table.add_row(name, splits.name, *shown)
    console.print(table)
    if wrong:
        raise command.RunFailed(f"auto takes the slower one for {', '.join(wrong)}")


if __name__ == "__main__":
    command.main(main)
