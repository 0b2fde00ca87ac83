"""Train a recipe, evaluate it once on the test set, and record everything.

usage: python -m pipelines.train RECIPE [--epochs N] [--overfit-one-batch] [--tta] [overrides]
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pipelines import command, recipes, settings

if TYPE_CHECKING:
    from rich.console import Console

    from data.spec import Splits
    from pipelines.fitting.trainer import Fitted, Trainer
    from pipelines.settings import Recipe
    from pipelines.tracking.runs import Run


@dataclass(frozen=True)
class Options:
    """A recipe, and what is to be done with it."""

    recipe: Annotated[settings.Recipe, tyro.conf.arg(name="")]
    epochs: int | None = None
    """Train for so many epochs: stages and schedule keep their proportions."""
    overfit_one_batch: bool = False
    """Only show that the network can learn: the first batch again and again, nothing else."""
    tta: bool = False
    """Test also with averages over shifts, and over mirror images where training has them."""


def main(arguments: list[str]) -> None:
    """Train what the arguments ask for."""
    name, options = _parse(arguments)
    recipe = options.recipe if options.epochs is None else options.recipe.with_epochs(options.epochs)
    recipe.check()

    command.start_backend()
    import data
    from pipelines import reports
    from pipelines.fitting.trainer import Trainer
    from pipelines.tasks import TASKS
    from pipelines.tracking import runs, store

    console = reports.console()
    store.connect()
    splits = data.load(recipe.data)
    reports.warn_of_stand_in(splits.notice, console)
    task = TASKS[splits.spec.task]
    if options.overfit_one_batch:
        recipe, splits = _one_batch(recipe, splits)
    trainer = Trainer(recipe, splits, task, reports.nowhere() if options.overfit_one_batch else console)
    stage = "overfit-one-batch" if options.overfit_one_batch else "train"
    tags = {"stage": stage, "recipe": name, **_tags(trainer)}
    params = settings.flatten(settings.to_dict(recipe))
    with runs.start(splits.name, _run_name(name, recipe, splits, stage), tags, params) as run:
        _announce(trainer, run, console)
        run.text("recipe.json", reports.as_json(settings.to_dict(recipe)))
        run.text("data.json", reports.as_json(splits.manifest))
        run.dataset(splits.manifest)
        if options.overfit_one_batch:
            _judge(trainer, run, console)
            return
        fitted = trainer.fit(run.metrics)
        run.metrics({"train_seconds": fitted.seconds, "parameters": fitted.model.count_params()})
        _record(run, fitted, splits, task.output)
        _evaluate(run, splits, options.tta, console)
        run.figures(reports.training_figures(fitted.history, fitted.model, splits.notice))
        console.print(f"{run.name}: trained in {fitted.seconds:.0f} s; run {run.id}; see make ui", soft_wrap=True)


def _parse(arguments: list[str]) -> tuple[str, object]:
    """The recipe's name and what is to be done with it."""
    name, rest = command.choose(arguments, recipes.summaries(), __doc__, "recipe")
    program = f"python -m pipelines.train {name}"
    about = recipes.RECIPES[name].__doc__
    return name, command.parse(Options, rest, program, about, Options(recipes.find(name)))


def _one_batch(recipe: Recipe, splits: Splits) -> tuple[Recipe, Splits]:
    """The recipe without all that keeps it from fitting its first batch exactly, and that batch."""
    import numpy as np

    from pipelines.augmentation import Augmentation

    first = splits.train.take(np.arange(min(recipe.batch_size, len(splits.train))))
    view = Augmentation(resize=recipe.augmentation.resize, patch=recipe.augmentation.patch)
    plain = replace(
        recipe,
        augmentation=view,
        label_smoothing=0.0,
        stages=(settings.Stage(200),),
        early_stopping=settings.EarlyStopping(),
        schedule=settings.Schedule("linear", warmup=0.1),
        optimizer=replace(recipe.optimizer, accumulation=1, ema=0.0),
    )
    return plain, replace(splits, train=first, val=splits.val.take(np.arange(0)))


def _judge(trainer: Trainer, run: Run, console: Console) -> None:
    """Train on one batch, and say whether it was learned by heart; each epoch is one step."""

    def report(metrics: dict[str, float], step: int) -> None:
        run.metrics(metrics, step)
        if step % 20 == 0:
            console.print(f"step {step}: loss {metrics['train/loss']:.4f}, accuracy {metrics['train/accuracy']:.2%}")

    last = trainer.fit(report).history[-1]
    line = f"{len(trainer.splits.train)} examples, {len(trainer.history)} steps: loss {last['train/loss']:.4f}"
    if last["train/accuracy"] < 0.99:
        what = f"{line}, accuracy {last['train/accuracy']:.2%}: this network does not learn one batch by heart"
        raise command.RunFailed(f"{what}; look at its learning rate and architecture")
    console.print(f"{line}: the network can learn", soft_wrap=True)


def _tags(trainer: Trainer) -> dict[str, str]:
    import keras

    from pipelines.fitting import devices

    manifest = trainer.splits.manifest
    return {
        "task": trainer.task.name,
        "data.source": manifest["source"],
        "data.sha256": manifest["sha256"],
        "data.test_sha256": manifest["test_sha256"],
        "keras.backend": keras.backend.backend(),
        "device": devices.describe(),
        "precision": trainer.precision,
    }


def _run_name(name: str, recipe: Recipe, splits: Splits, stage: str) -> str:
    """Recipe, what is unusual about it, seed, and the time to tell it from others."""
    parts = [name, "STAND-IN" * bool(splits.notice), stage * (stage != "train"), f"seed{recipe.seed}"]
    return "-".join([*filter(None, parts), time.strftime("%m%d-%H%M%S")])


def _announce(trainer: Trainer, run: Run, console: Console) -> None:
    """What begins now, and the untrained network's loss beside that of knowing nothing."""
    splits, recipe = trainer.splits, trainer.recipe
    console.print(
        f"{run.name}: {splits.name} ({splits.manifest['source']}), {len(splits.train):,} training and "
        f"{len(splits.val):,} validation examples; {trainer.model.name}, {trainer.model.count_params():,} parameters; "
        f"{recipe.epochs} epochs of {trainer.batches.steps} steps in {trainer.precision}",
        soft_wrap=True,
    )
    chance, formula = trainer.task.chance(splits.spec)
    console.print(f"initial loss {trainer.initial_loss():.3f} ({formula} = {chance:.3f})", soft_wrap=True)


def _record(run: Run, fitted: Fitted, splits: Splits, output: str) -> None:
    """Record the trained network as a model that takes raw inputs."""
    import numpy as np

    from pipelines import servable

    description = {"output": output, "classes": list(splits.spec.classes), "shape": list(splits.spec.shape)}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "servable"
        servable.save(place, fitted.model, description)
        example = np.asarray(splits.train.inputs[np.arange(1)])
        run.model(place, example, servable.Servable(place).predict(example))


def _evaluate(run: Run, splits: Splits, tta: bool, console: Console) -> None:
    """Score the recorded model once on the test set."""
    from pipelines import evaluation

    evaluation.evaluate(run, splits, tta, console)


if __name__ == "__main__":
    command.main(main)
