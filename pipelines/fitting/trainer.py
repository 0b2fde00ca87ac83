"""Fitting a recipe's stages one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import keras
import numpy as np

from data.errors import BadInput, reason
from data.spec import Spec, Splits
from pipelines import inputs
from pipelines.fitting import devices
from pipelines.fitting.callbacks import AveragedWeights, Epochs, Interruptible
from pipelines.fitting.feeding import feed
from pipelines.fitting.optimizers import build_optimizer
from pipelines.fitting.progress import Progress
from pipelines.fitting.schedules import WarmedPlateau, scheduled
from pipelines.settings import Recipe, Stage

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.tasks import Task

SAMPLE = 5_000
"""Training images from which a layer that adapts to the data is set."""

STATISTICS_BATCHES = 20
"""Training batches from which batch normalization is estimated anew for averaged weights."""


@dataclass
class Fitted:
    """A finished training."""

    model: keras.Model
    """Float32, takes raw inputs, gives logits: what is recorded and evaluated."""
    history: list[dict[str, float]] = field(default_factory=list)
    """The recorded metrics of each epoch."""
    seconds: float = 0.0
    """First step to last, validation aside."""


class Trainer:
    """One training: the network, its batches, and what has been done so far."""

    def __init__(self, recipe: Recipe, splits: Splits, task: Task, console: Console) -> None:
        """Build everything that a training needs.

        Raises:
            BadInput: the recipe does not fit the data, or the hardware.
        """
        recipe.check()
        batch_size = min(recipe.batch_size, len(splits.train))
        self.recipe, self.splits, self.task, self.console = recipe, splits, task, console
        self.precision = devices.precision(recipe.precision)
        keras.utils.set_random_seed(recipe.seed)
        self.targets = task.targets(splits.spec)
        sizes = tuple(stage.image_size for stage in recipe.stages for _ in range(stage.epochs))
        self.batches = inputs.TrainingBatches(
            splits.train, self.targets, recipe.augmentation, batch_size, recipe.seed, sizes
        )
        self.model = build(recipe, splits.spec, devices.policy(self.precision))
        if any(sizes) and self.model.input_shape[1] is not None:
            what = f"{self.model.name} takes images of one size only"
            raise BadInput(what, "--stages.0.image-size", "set it to 0 in all stages")
        self._adapt()
        whole = recipe.epochs * self.batches.steps
        self.total = min(recipe.steps or whole, whole)
        self.history: list[dict[str, float]] = []

    def _adapt(self) -> None:
        """Show a sample of the training inputs to the layers that set themselves from data."""
        given = keras.layers.Normalization  # has its mean and variance from the dataset's manifest
        layers = [layer for layer in self.model.layers if hasattr(layer, "adapt") and not isinstance(layer, given)]
        if layers:
            count = len(self.splits.train)
            rows = np.sort(np.random.default_rng(self.recipe.seed).permutation(count)[:SAMPLE])
            sample = self.recipe.augmentation.evaluation_view(self.splits.train.inputs[rows])
            for layer in layers:
                layer.adapt(sample)

    def initial_loss(self) -> float:
        """The loss of the untrained network on the first batch, in training mode; leaves no trace."""
        images, targets = self.batches(0)
        before = [keras.ops.convert_to_numpy(variable) for variable in self.model.variables]
        logits = self.model(images, training=True)
        for variable, value in zip(self.model.variables, before, strict=True):  # the random state is one of them
            variable.assign(value)
        loss = self.task.loss(self.recipe.label_smoothing)
        return float(keras.ops.convert_to_numpy(loss(targets, keras.ops.cast(logits, "float32"))))

    def fit(self, report: Callable[[dict[str, float], int], None]) -> Fitted:
        """Train.

        Args:
            report: called after each epoch with its metrics and its number from 1.

        Raises:
            RunFailed: the loss became NaN or infinite.
        """

        def remember(metrics: dict[str, float], epoch: int) -> None:
            self.history.append(metrics)
            report(metrics, epoch)

        full = self.recipe.augmentation.view_shape(self.splits.spec.shape)[0]
        costs = [((size or full) / full) ** 2 for size in self.batches.image_sizes]
        progress = Progress(self.console, self.batches.steps, costs, self.total, self.batches.batch_size)
        epochs = Epochs(progress, remember, self.total)
        first = 0
        try:
            for number, stage in enumerate(self.recipe.stages):
                if epochs.step < self.total:
                    self._fit_stage(number, stage, first, epochs)
                first += stage.epochs
        finally:
            progress.stop()
        return Fitted(self.record(), self.history, epochs.seconds)

    def _fit_stage(self, number: int, stage: Stage, first: int, epochs: Epochs) -> None:
        """Fit one stage, which begins after ``first`` epochs."""
        self.compile(number, stage, first * self.batches.steps)
        last, steps = first + stage.epochs, self.batches.steps
        averaged = [AveragedWeights(self._statistics_batches)] if self.recipe.optimizer.ema else []
        stopping = self._stopping()
        validation, validation_steps = self._validation()
        interruptible = Interruptible()
        try:
            self.model.fit(
                feed(self.batches.dataset(first * steps, last * steps), equal=True),
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=steps,
                validation_data=validation,
                validation_steps=validation_steps,
                shuffle=False,  # the batches are
                callbacks=[*stopping, *self._plateau(), epochs, *averaged, interruptible],
                verbose=0,
            )
        finally:
            interruptible.release()
        interruptible.check()  # asked for after the last step
        kept_best = any(callback.best_weights is not None for callback in stopping)
        if averaged and not kept_best:
            averaged[0].finish()

    def compile(self, number: int, stage: Stage, done: int) -> None:
        """Compile for a stage; the optimizer goes on from the stage before if the same layers learn."""
        recipe = self.recipe
        changed = number == 0 or stage.trainable != recipe.stages[number - 1].trainable
        if stage.trainable:
            _set_trainable(self.model, stage.trainable)
        start = done if changed else 0
        rate = scheduled(recipe.schedule, recipe.optimizer, self.total, stage.learning_rate, start)
        if changed:
            optimizer = build_optimizer(recipe.optimizer, rate)
        else:
            optimizer = self.model.optimizer
            optimizer.learning_rate = rate
        self.model.compile(optimizer, self.task.loss(recipe.label_smoothing), metrics=self.task.metrics())

    def _stopping(self) -> list[keras.callbacks.EarlyStopping]:
        settings = self.recipe.early_stopping
        if not settings.patience:
            return []
        mode = "max" if settings.monitor == "accuracy" else "min"
        return [
            keras.callbacks.EarlyStopping(
                f"val_{settings.monitor}", patience=settings.patience, mode=mode, restore_best_weights=True
            )
        ]

    def _plateau(self) -> list[WarmedPlateau]:
        schedule = self.recipe.schedule
        if schedule.name != "plateau":
            return []
        return [
            WarmedPlateau(
                peak=self.recipe.optimizer.learning_rate,
                steps=int(schedule.warmup * self.total),
                monitor="val_loss",
                factor=schedule.factor,
                patience=schedule.patience,
            )
        ]

    def _validation(self) -> tuple[object, int | None]:
        if not len(self.splits.val):
            return None, None
        batches, steps = inputs.evaluation_batches(
            self.splits.val, self.targets, self.recipe.augmentation, self.batches.batch_size
        )
        return feed(batches, equal=False), steps

    def _statistics_batches(self) -> Iterator[np.ndarray]:
        """Images as in the last epoch, which has the size that is evaluated also where earlier ones have not."""
        first = (self.recipe.epochs - 1) * self.batches.steps
        return (self.batches(first + number)[0] for number in range(min(STATISTICS_BATCHES, self.batches.steps)))

    def record(self) -> keras.Model:
        """The trained network in float32, on raw inputs."""
        network = build(self.recipe, self.splits.spec, "float32")
        network.set_weights(self.model.get_weights())
        raw, view = self.splits.spec.shape, self.recipe.augmentation.view_shape(self.splits.spec.shape)
        if raw == view:
            return network
        pixels = keras.Input(raw, dtype="uint8", name="raw_pixels")
        side = self.recipe.augmentation.resize
        x = keras.layers.Resizing(side, side, name="resize")(pixels) if side else pixels
        x = keras.layers.CenterCrop(*view[:2], name="middle_patch")(x)
        return keras.Model(pixels, network(x), name=f"{network.name}_on_raw_pixels")


def build(recipe: Recipe, spec: Spec, policy: str) -> keras.Model:
    """A recipe's untrained network under a dtype policy, for images as the augmentation leaves them.

    Raises:
        BadInput: Keras does not know one of the hyperparameters, or they do not fit the data.
    """
    seen = replace(spec, shape=recipe.augmentation.view_shape(spec.shape))
    with _policy(policy):
        try:
            return recipe.model.build(seen)
        except (ValueError, TypeError, LookupError) as error:
            raise BadInput(f"can't be built ({reason(error)})", "--model", "check its hyperparameters") from None


@contextmanager
def _policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _set_trainable(model: keras.Model, pattern: str) -> None:
    """Let the layers learn whose names the pattern is found in, and no others."""
    for layer in model.layers:
        layer.trainable = bool(re.search(pattern, layer.name))
    if not model.trainable_variables:
        names = ", ".join(layer.name for layer in model.layers)
        raise BadInput(f"no layer's name has {pattern!r}", "--stages", f"the layers are {names}")
