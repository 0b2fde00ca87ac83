"""What each idea of `cifar-94` is worth: the recipe in four epochs, and with one thing changed at a time.

usage: python -m benchmarks.ablation [SEEDS] [NAME ...]

One epoch on small images, two on middle ones, one at full size; accuracy on 10,000 validation images of CIFAR-10, of
single views and averaged ones, over SEEDS (2) seeds; the test set is not touched. NAME: only these rows. Three minutes
a row and seed on 2 cores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.record import spread, train
from pipelines import command, recipes

if TYPE_CHECKING:
    from pipelines.settings import Recipe

WHOLE = "all as in the recipe"

SGD_RATE = 0.05
"""Of gradient descent with Nesterov momentum in place of Muon: the best of 0.02, 0.05, 0.1 in an earlier form's four
epochs."""


def changes(whole: Recipe) -> dict[str, Recipe]:
    """Recipes by what is changed in them."""
    from pipelines.settings import Optimizer, Stage

    def model(**changed: object) -> Recipe:
        return replace(whole, model=replace(whole.model, **changed))

    def view(**changed: object) -> Recipe:
        return replace(whole, augmentation=replace(whole.augmentation, **changed))

    rate, plain = whole.optimizer.learning_rate, {"momentum": 0.9, "nesterov": True}
    slow = whole.optimizer.arguments | {"vector_ratio": 1.0}
    return {
        WHOLE: whole,
        "pixels not whitened": model(whitening=0),
        "filters begin at random, none as the identity": model(identity=False),
        "normalization keeps 0.99 of its statistics, not 0.6": model(momentum=0.99),
        "mirrored by chance, not in turns": view(flip="random"),
        "never mirrored": view(flip="none"),
        "not shifted": view(crop=0),
        "labels not smoothed": replace(whole, label_smoothing=0.0),
        "a quarter of the batch, half the rate": replace(
            whole, batch_size=whole.batch_size // 4, optimizer=replace(whole.optimizer, learning_rate=rate / 2)
        ),
        "biases learn as fast as filters": replace(whole, optimizer=replace(whole.optimizer, arguments=slow)),
        "the head's weights do not decay": replace(whole, optimizer=replace(whole.optimizer, weight_decay=0.0)),
        "gradient descent, not Muon": replace(whole, optimizer=Optimizer("sgd", SGD_RATE, plain)),
        "the rate stays": replace(whole, schedule=replace(whole.schedule, name="constant")),
        "the rate falls as a cosine": replace(whole, schedule=replace(whole.schedule, name="cosine")),
        "all images at full size": replace(whole, stages=(Stage(whole.epochs),)),
        "rectifiers": model(activation="relu"),
        "sigmoid-weighted units (SiLU) of maps of deviation 1": model(deviation=1.0),
        "Gaussian error units (GELU) of maps of deviation 1": model(activation="gelu", deviation=1.0),
    }


def main(arguments: list[str]) -> None:
    seeds, names = int(arguments[0]) if arguments else 2, arguments[1:]
    command.start_backend()
    from rich.table import Table

    import data
    from pipelines import reports

    console = reports.console()
    recipe = recipes.find("cifar-94")
    recipe = replace(recipe.with_epochs(4), data=replace(recipe.data, validation=10_000))
    splits = data.load(recipe.data)
    splits = replace(splits, test=splits.val)
    table = Table(title=f"{splits.name}, 4 epochs, validation, {seeds} seeds", title_justify="left")
    for column in ("", "accuracy, %", "averaged over views, %", "difference", "seconds"):
        table.add_column(column, justify="right" if column else "left")
    base: np.ndarray | None = None
    for name, changed in changes(recipe).items():
        if names and name not in (WHOLE, *names):
            continue
        console.print(f"{name}:", soft_wrap=True)
        found = [train(replace(changed, seed=seed), splits, console) for seed in range(1, seeds + 1)]
        averaged = np.array([one.tta_accuracy for one in found])
        base = averaged if base is None else base
        seconds = f"{np.median([one.seconds for one in found]):.0f}"
        columns = spread([one.accuracy for one in found]), spread([*averaged])
        table.add_row(name, *columns, f"{(averaged - base).mean():+.2f}", seconds)
    console.print(table)


if __name__ == "__main__":
    command.main(main)
