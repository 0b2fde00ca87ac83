"""Which networks can be exported to which format, whether they answer the same there, how large and how fast they are.

usage: python -m benchmarks.exports [RECIPE ...]

The networks are those of recipes, untrained, on their data; their batch normalization and their outputs are therefore
not those of trained ones, but the operations are.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.table import Table

from pipelines import command

RECIPES = (
    "digits-mlp",
    "mnist-lenet",
    "cifar",
    "cifar-resnet",
    "cifar-alexnet",
    "names",
    "names-ngrams",
    "names-rnn",
    "names-gru",
    "names-lstm",
    "autoencoder-convolutional",
    "autoencoder-sparse-kl",
    "vae",
)
COMPARED = 100


def untrained(name: str, folder: Path) -> tuple[object, np.ndarray]:
    """A servable of a recipe's network, and test inputs."""
    import data
    from pipelines import recipes, servable, tasks

    recipe = recipes.find(name)
    splits = data.load(recipe.data)
    task = tasks.bind(recipe, splits)
    servable.save(folder, task.on_raw(recipe.model.build(task.seen)), task.serving())
    inputs = np.asarray(splits.test.inputs[np.arange(COMPARED)])
    return servable.Servable(folder), inputs


def row(name: str, form: str) -> tuple[str, ...]:
    """What becomes of a recipe's network in a format: difference, size, latencies; or why it can't be written."""
    from pipelines import export, exporting, servable

    with tempfile.TemporaryDirectory() as folder:
        model, inputs = untrained(name, Path(folder) / "model")
        try:
            path = exporting.write(servable.Servable(Path(folder) / "model"), form, Path(folder) / "out")
            found = export.measure(model, inputs, form, path)
        except command.RunFailed as error:
            return (str(error)[:80],)
        return (f"{found.difference:.1e}", *(cell for line in found.rows for cell in line[1:]))


def main() -> None:
    command.start_backend()
    from pipelines import exporting, reports

    table = Table(title=f"Exports, {COMPARED} test inputs", title_justify="left")
    columns = ("difference", "Keras MB", "ms for 1", "ms for 32", "MB", "ms for 1", "ms for 32")
    for column in ("recipe", "format", *columns):
        table.add_column(column, justify="left" if column in ("recipe", "format") else "right")
    for name in sys.argv[1:] or RECIPES:
        for form in exporting.FORMATS:
            exporting.check(form)
            found = row(name, form)
            print(name, form, *found, flush=True)
            table.add_row(name, form, *found)
    reports.console().print(table)


if __name__ == "__main__":
    main()
