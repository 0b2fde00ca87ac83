"""Search a recipe's hyperparameters with Keras Tuner; every trial is a child of one run in MLflow.

usage: python -m pipelines.tune RECIPE [--strategy grid|random|bayesian|hyperband] [--trials N] [--epochs N]
                                       [--retrain] [--workers N] [overrides]

Trials are scored on validation data alone. Killed at any moment, the same command goes on. With Keras Tuner's own
variables (KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT) it is the chief or a worker of a search
over several machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from data.errors import BadInput
from pipelines import command, recipes, settings, space

TRIALS = 20


@dataclass(frozen=True)
class Options:
    """A recipe, and how to search."""

    recipe: Annotated[settings.Recipe, tyro.conf.arg(name="")]
    strategy: Literal["grid", "random", "bayesian", "hyperband"] = "random"
    """How the next trial is chosen; a grid takes 4 values of a range without steps."""
    trials: int | None = None
    """Their largest number; by default 20, but whole grids and one whole sweep of Hyperband."""
    epochs: int | None = None
    """Of a whole training: stages and schedule keep their proportions."""
    objective: Literal["loss", "accuracy"] | None = None
    """Validation figure that is searched for; by default accuracy where there is one."""
    search_seed: int = 1
    """Of the choice of trials; all of them train with the recipe's own --seed."""
    retrain: bool = False
    """Train the best on training and validation data, in a run of its own, and score it on the test set, once."""
    workers: int = 1
    """Trials at once on this machine."""


def main(arguments: list[str]) -> None:
    """Search what the arguments ask for."""
    name, rest = command.choose(arguments, recipes.summaries(), __doc__, "recipe")
    default = recipes.find(name)
    ranges = recipes.find_space(name, default)
    listing = "\n".join(f"  {path}: {text}" for path, text in space.describe(ranges).items())
    about = f"{recipes.RECIPES[name].__doc__}\nSearched:\n{listing}"
    options = command.parse(Options, rest, f"python -m pipelines.tune {name}", about, Options(default))
    recipe = options.recipe if options.epochs is None else options.recipe.with_epochs(options.epochs)
    recipe.check()
    _check(options, recipe)
    command.start_backend()
    from pipelines.fitting import replicas

    replicas.refuse_hosts("searches")
    space.check(ranges, recipe)
    from pipelines import reports
    from pipelines.tuning import search
    from pipelines.tuning.trials import Objective

    monitor = options.objective or ("loss" if recipe.model.task == "autoencoding" else "accuracy")
    trials = options.trials or (TRIALS if options.strategy in ("random", "bayesian") else None)
    plan = search.Plan(
        name,
        recipe,
        ranges,
        options.strategy,
        Objective(monitor),
        trials,
        options.search_seed,
        options.retrain,
        options.workers,
    )
    search.carry_out(plan, reports.console())


def _check(options: Options, recipe: settings.Recipe) -> None:
    """Refuse what can't be searched.

    Raises:
        BadInput: with the flag that has to change.
    """
    counts = {"--trials": options.trials, "--workers": options.workers, "--search-seed": options.search_seed}
    for flag, count in counts.items():
        if count is not None and count < 1:
            raise BadInput(f"{count} is not above 0", flag, "give a positive number")
    if options.objective == "accuracy" and recipe.model.task == "autoencoding":
        raise BadInput("an autoencoder has no accuracy", "--objective", "set it to loss")
    if recipe.steps:
        raise BadInput("epochs are what a search counts", "--steps", "leave it out, use --epochs")
    if options.retrain and recipe.schedule.name == "plateau":
        what = "a schedule that watches validation can't train on it too"
        raise BadInput(what, "--retrain", "leave it out, or set another --schedule.name")


if __name__ == "__main__":
    command.main(main)
