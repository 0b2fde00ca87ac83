"""What checkpoints cost: seconds spent on them beside the seconds of training, in one run of a recipe.

usage: python -m benchmarks.checkpoint_cost [RECIPE] [EPOCHS]

Counted is everything from the last step's end until the next may begin: copying all variables, writing, syncing,
renaming, removing the one before the last.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.table import Table

from pipelines import command, recipes


def main(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "cifar"
    recipe = recipes.find(name)
    recipe = recipe.with_epochs(int(arguments[1])) if len(arguments) > 1 else recipe
    command.start_backend()
    import data
    from pipelines.fitting.callbacks import Keeper
    from pipelines.fitting.checkpoints import Checkpoints
    from pipelines.fitting.trainer import Trainer

    splits = data.load(recipe.data)
    trainer = Trainer(recipe, splits, Console())
    spent, keep = [], Keeper._keep

    def timed(keeper: Keeper) -> None:
        start = time.perf_counter()
        keep(keeper)
        spent.append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory(dir=".") as folder, mock.patch.object(Keeper, "_keep", timed):
        fitted = trainer.fit(lambda *_: None, Checkpoints(Path(folder)))
        size = max(path.stat().st_size for path in Path(folder).iterdir())
    table = Table(title=f"{name} on {splits.name} ({splits.manifest['source']}), {recipe.epochs} epochs")
    for column in ("checkpoints", "MB each", "seconds each (median)", "seconds in all", "of training", "share"):
        table.add_column(column, justify="right")
    share = f"{sum(spent) / fitted.seconds:.2%}"
    median = f"{statistics.median(spent):.3f}"
    table.add_row(str(len(spent)), f"{size / 1e6:.1f}", median, f"{sum(spent):.2f}", f"{fitted.seconds:.1f}", share)
    Console().print(table)


if __name__ == "__main__":
    command.main(main)
