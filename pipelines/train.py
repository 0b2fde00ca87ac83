"""Train a recipe, evaluate it once on the test set, and record everything.

usage: python -m pipelines.train RECIPE|RUN [--epochs N] [--overfit-one-batch] [--tta] [overrides]
       python -m pipelines.train RECIPE --seeds N [overrides]
       python -m pipelines.train RECIPE --resume last|RUN

RUN in a recipe's place is the id of a recorded run, whose recipe is taken: that of a training, or the best of a search.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from data.errors import BadInput
from pipelines import command, recipes, settings

if TYPE_CHECKING:
    from rich.console import Console

    from data.spec import Splits
    from pipelines.fitting.trainer import Trainer
    from pipelines.settings import Recipe
    from pipelines.tracking.runs import Run
    from pipelines.training import Request


@dataclass(frozen=True)
class Options:
    """A recipe, and what is to be done with it."""

    recipe: Annotated[settings.Recipe, tyro.conf.arg(name="")]
    epochs: int | None = None
    """Train for so many epochs: stages and schedule keep their proportions."""
    seeds: int | None = None
    """Train so many times, from the recipe's seed on, as one group with mean, spread and interval."""
    resume: str | None = None
    """Go on with an unfinished run or group: its id or name, or last."""
    overfit_one_batch: bool = False
    """Only show that the network can learn: the first batch again and again, nothing else."""
    tta: bool = False
    """Test also with averages over shifts, and over mirror images where training has them."""
    trust: bool = False
    """Of a recorded transfer: execute code in the network that it begins from."""


def main(arguments: list[str]) -> None:
    """Train what the arguments ask for."""
    name, options = _parse(arguments)
    recipe = options.recipe if options.epochs is None else options.recipe.with_epochs(options.epochs)
    recipe.check()
    from pipelines import groups, reports, training

    console = reports.console()
    request = training.Request(name, recipe, options.tta, trust=options.trust)
    if options.resume is not None:
        _resume(name, options, console)
    elif options.overfit_one_batch:
        _overfit_one_batch(request, console)
    elif options.seeds is not None:
        groups.start(request, options.seeds, console)
    else:
        training.carry_out(request, console)


def _parse(arguments: list[str]) -> tuple[str, Options]:
    """The recipe's name and what is to be done with it."""
    if arguments and re.fullmatch("[0-9a-f]{32}", arguments[0]):
        name, recipe, about = _recorded(arguments[0])
        rest = arguments[1:]
    else:
        name, rest = command.choose(arguments, recipes.summaries(), __doc__, "recipe")
        recipe, about = recipes.find(name), recipes.RECIPES[name].__doc__
    program = f"python -m pipelines.train {arguments[0]}"
    options = command.parse(Options, rest, program, about, Options(recipe))
    if options.resume is not None and replace(options, resume=None) != Options(recipe):
        raise BadInput("takes everything from the run", "--resume", "leave out all other flags")
    return name, options


def _recorded(run: str) -> tuple[str, Recipe, str]:
    """The recipe of a recorded run: its name, itself, and where it is from."""
    command.start_backend()
    from pipelines.tracking import recorded

    found = recorded.find(run)
    name = found.tags().get("recipe", "")
    recipe = replace(settings.from_dict(found.recipe()), steps=0)
    return name, recipe, f"The recipe {name} as in run {found.name}."


def _resume(name: str, options: Options, console: Console) -> None:
    from pipelines import groups, training
    from pipelines.tracking import journal, unfinished

    folder = unfinished.find(options.resume, name)
    go_on = groups.resume if journal.read_header(folder).get("seeds") else training.resume
    go_on(folder, console)


def _overfit_one_batch(request: Request, console: Console) -> None:
    """Show that the network can learn its first batch by heart."""
    command.start_backend()
    import data
    from pipelines import preparation, reports
    from pipelines.fitting.trainer import Trainer
    from pipelines.tracking import runs

    splits = data.load(request.recipe.data)
    reports.warn_of_stand_in(splits.notice, console)
    recipe, splits = _one_batch(request.recipe, splits)
    trainer = Trainer(recipe, splits, reports.nowhere())
    stage = "overfit-one-batch"
    tags = {"stage": stage, "recipe": request.name, **preparation.describe(trainer, 0)}
    name = preparation.run_name(request.name, splits, stage, f"seed{recipe.seed}")
    params = settings.flatten(settings.to_dict(recipe))
    with runs.start(splits.name, name, tags, params, {}, console) as run:
        preparation.announce(trainer, run, console)
        _judge(trainer, run, console)


def _one_batch(recipe: Recipe, splits: Splits) -> tuple[Recipe, Splits]:
    """The recipe without all that keeps it from fitting its first batch exactly, and that batch."""
    import numpy as np

    from pipelines.augmentation import Augmentation

    first = splits.train.take(np.arange(min(recipe.batch_size, len(splits.train))))
    seen = recipe.augmentation
    view = seen and Augmentation(resize=seen.resize, patch=seen.patch)
    plain = replace(
        recipe,
        augmentation=view,
        balance=0.0,
        label_smoothing=0.0,
        stages=(settings.Stage(200),),
        early_stopping=settings.EarlyStopping(),
        schedule=settings.Schedule("linear", warmup=0.1),
        optimizer=replace(recipe.optimizer, accumulation=1, ema=0.0),
    )
    return plain, replace(splits, train=first, val=splits.val.take(np.arange(0)))


def _judge(trainer: Trainer, run: Run, console: Console) -> None:
    """Train on one batch, and say whether it was learned by heart; each epoch is one step."""

    def report(metrics: dict[str, float], step: int, at: float) -> None:
        run.metrics(metrics, step, at)
        if step % 20 == 0:
            console.print(f"step {step}: {_shown(metrics)}")

    history = trainer.fit(report).history
    line = f"{len(trainer.splits.train)} examples, {len(history)} steps: {_shown(history[-1])}"
    if not trainer.task.by_heart(history[-1]):
        what = f"{line}: this network does not learn one batch by heart"
        raise command.RunFailed(f"{what}; look at its learning rate and architecture")
    console.print(f"{line}: the network can learn", soft_wrap=True)


def _shown(metrics: dict[str, float]) -> str:
    """What training measures, in a line."""
    names = (name for name in metrics if name.startswith("train/"))
    return ", ".join(f"{name.removeprefix('train/')} {metrics[name]:.4f}" for name in sorted(names, reverse=True))


if __name__ == "__main__":
    command.main(main)
