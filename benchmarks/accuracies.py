"""Recipes with several seeds at once, without a record: for a GPU that a single training does not fill.

usage: python -m benchmarks.accuracies SEEDS RECIPE[:EPOCHS] ...

Shown are the test accuracies of seeds 1 to SEEDS, scored once each, their mean and deviation, and the median of the
minutes from the first step to the last, with SEEDS trainings side by side. One after the other, and recorded:
make train-RECIPE SEEDS=5.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.record import scored, spread
from data.errors import BadInput
from pipelines import command, isolation, recipes

if TYPE_CHECKING:
    from pipelines.settings import Recipe


def train(recipe: Recipe, place: Path) -> None:
    """In a process of its own: train, score, and leave minutes, accuracy in percent and epochs in a file."""
    command.start_backend()
    import data
    from pipelines import reports
    from pipelines.fitting.trainer import Trainer

    trainer = Trainer(recipe, data.load(recipe.data), reports.nowhere())
    fitted = trainer.fit(lambda *_: None)
    accuracy = 100 * scored(trainer, fitted, averaged=False)["accuracy"]
    place.write_text(json.dumps([fitted.seconds / 60, accuracy, len(fitted.history)]))


def measure(asked: str, seeds: int) -> str:
    """What the seeds of a recipe come to, in a line."""
    name, _, epochs = asked.partition(":")
    recipe = recipes.find(name)
    recipe = recipe.with_epochs(int(epochs)) if epochs else recipe
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder, f"{seed}.json") for seed in range(1, seeds + 1)]
        calls = [(train, (replace(recipe, seed=seed), place)) for seed, place in enumerate(places, 1)]
        statuses = isolation.run_all_apart(calls)
        if any(statuses):
            raise command.RunFailed(f"{asked}: trainings ended with {statuses}: the error is above")
        minutes, accuracies, lengths = zip(*(json.loads(place.read_text()) for place in places), strict=True)
    each = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
    return f"{asked}: {spread([*accuracies])} % ({each}), {np.median(minutes):.1f} minutes, epochs {lengths}"


def main(arguments: list[str]) -> None:
    if len(arguments) < 2 or not arguments[0].isdigit():
        raise BadInput("needs a number of seeds and recipes", " ".join(arguments), "for instance: 5 cifar-lenet")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # on JAX the first would take all of a GPU's memory
    for asked in arguments[1:]:
        print(measure(asked, int(arguments[0])), flush=True)


if __name__ == "__main__":
    command.main(main)
