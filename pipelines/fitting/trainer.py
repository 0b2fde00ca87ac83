"""Fitting a recipe's stages one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import keras
import numpy as np

from data.errors import BadInput
from data.spec import Splits
from pipelines import inputs, tasks
from pipelines.fitting import devices, precision, replicas
from pipelines.fitting.callbacks import AveragedWeights, Epochs, Interruptible, Keeper, Snapshots
from pipelines.fitting.checkpoints import Checkpoints, Position, State
from pipelines.fitting.features import COST, Footing, footing, head
from pipelines.fitting.feeding import feed, feed_stream
from pipelines.fitting.network import build, depth_factors, named, ready_for_use, set_trainable
from pipelines.fitting.optimizers import build_optimizer
from pipelines.fitting.progress import Progress
from pipelines.fitting.schedules import WarmedPlateau, scheduled
from pipelines.fitting.state import restore_weights
from pipelines.settings import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

SAMPLE = 5_000
"""Training images from which a layer that adapts to the data is set."""

STATISTICS_BATCHES = 20
"""Training batches from which batch normalization is estimated anew for averaged weights."""


class Report(Protocol):
    """What a training tells after each epoch."""

    def __call__(self, metrics: dict[str, float], epoch: int, at: float) -> None:
        """Take an epoch's metrics by recorded name, its number from 1, and its end in seconds since 1970."""


@dataclass
class Fitted:
    """A finished training."""

    model: keras.Model
    """Float32, takes raw inputs, gives logits: what is recorded and evaluated."""
    history: list[dict[str, float]] = field(default_factory=list)
    """The recorded metrics of each epoch."""
    last_stage: int = 0
    """How many of these epochs are its last stage's."""
    seconds: float = 0.0
    """First step to last, validation aside."""


class Trainer:
    """One training: the network, its batches, and what has been done so far."""

    def __init__(self, recipe: Recipe, splits: Splits, console: Console) -> None:
        """Build everything that a training needs.

        Raises:
            BadInput: the recipe does not fit the data, or the hardware.
        """
        recipe.check()
        batch_size = min(recipe.batch_size, len(splits.train))
        self.recipe, self.splits, self.console = recipe, splits, console
        self.task = tasks.bind(recipe, splits)
        chosen = precision.choose(recipe.precision, named(recipe.model, self.task.seen, batch_size))
        self.precision, self.why_precision = chosen.name, chosen.why
        keras.utils.set_random_seed(recipe.seed)
        sizes = tuple(stage.image_size for stage in recipe.stages for _ in range(stage.epochs))
        self.batches = inputs.TrainingBatches(self.task, splits.train, batch_size, recipe.seed, sizes)
        self.replicas = replicas.gather(batch_size, len(splits.val))
        self.model = self.replicas.make(lambda: build(recipe.model, self.task.seen, devices.policy(self.precision)))
        if any(sizes) and self.model.input_shape[1] is not None:
            what = f"{self.model.name} takes images of one size only"
            raise BadInput(what, "--stages.0.image-size", "set it to 0 in all stages")
        self.fitted = self._whole = Footing(self.model, self.batches, self.task, splits.val)
        """What the stage under way is fitted with."""
        self._learning = {layer.name for layer in self.model.layers if layer.trainable}
        self._adapt()
        self.total = recipe.total_steps(self.batches.steps)
        """Steps that the schedule spans."""
        self.limit = self.total
        """Steps after which it ends."""
        self.position = Position()

    def _adapt(self) -> None:
        """Show a sample of the training inputs to the layers that set themselves from data."""
        given = keras.layers.Normalization  # has its mean and variance from the dataset's manifest
        layers = [layer for layer in self.model.layers if hasattr(layer, "adapt") and not isinstance(layer, given)]
        if layers:
            count = len(self.splits.train)
            rows = np.sort(np.random.default_rng(self.recipe.seed).permutation(count)[:SAMPLE])
            train = self.splits.train
            sample, *_ = self.task.evaluation(train.inputs[rows], train.labels[rows], rows)
            for layer in layers:
                layer.adapt(sample)

    def initial_loss(self) -> float:
        """The loss of the untrained network on the first batch, in training mode; leaves no trace."""
        inputs, targets, *_ = self.batches(0)
        before = [keras.ops.convert_to_numpy(variable) for variable in self.model.variables]
        outputs = self.model(inputs, training=True)
        for variable, value in zip(self.model.variables, before, strict=True):  # the random state is one of them
            variable.assign(value)
        loss = self.task.loss()
        return float(keras.ops.convert_to_numpy(loss(targets, keras.ops.cast(outputs, "float32"))))

    def end_after(self, epochs: int) -> None:
        """End before the recipe's last epoch; the schedule is that of a whole training all the same."""
        self.limit = min(self.total, epochs * self.batches.steps)

    def with_more_steps(self, state: State) -> State:
        """The last state of a training that was to end after fewer steps, as one that this training goes on from."""
        position = state.position
        stopped_early = any(callback.get("stopped_epoch") for callback in state.callbacks.values())
        ended = position.epoch == self._first_epoch(position.stage + 1)
        return replace(state, position=replace(position, stage_over=stopped_early or ended))

    def fit(
        self,
        report: Report,
        checkpoints: Checkpoints | None = None,
        state: State | None = None,
        show: Callable[[dict[str, Figure], int], None] | None = None,
    ) -> Fitted:
        """Train, or go on from a state.

        Args:
            report: called after each epoch with its metrics, its number from 1, and the time of its end in seconds
                since 1970; for a continued training also with the epochs that it has had.
            checkpoints: where to keep states of this run.
            state: to go on from.
            show: given the task's pictures of each epoch, and its number from 1.

        Raises:
            RunFailed: the loss became NaN or infinite.
            Interrupted: by a signal, after the step under way.
            BadInput: the checkpoint does not fit this code.
        """
        position = self.position = replace(state.position) if state else Position()
        for number, epoch in enumerate(position.epochs, start=1):
            report(epoch.metrics, number, epoch.at)
        progress = self._progress()
        interruptible = Interruptible()
        keeper = partial(Keeper, position, checkpoints, report, interruptible, self.batches.steps, self.limit)
        try:
            for number in range(position.stage, len(self.recipe.stages)):
                if number > position.stage:
                    if position.step >= self.limit:
                        break
                    position.stage, position.stage_over, state = number, False, None
                    position.epoch = self._first_epoch(number)
                with self.replicas.scope():
                    self._fit_stage(Epochs(progress, position, self.limit), partial(keeper, state=state), show)
        finally:
            progress.stop()
            interruptible.release()
        network = ready_for_use(self.task, self.model.get_weights())
        last = sum(epoch.stage == position.stage for epoch in position.epochs)
        return Fitted(network, [epoch.metrics for epoch in position.epochs], last, position.seconds)

    def _progress(self) -> Progress:
        full = self.task.seen.shape[0] if any(self.batches.image_sizes) else 1
        costs = [
            (stage.image_size / full) ** 2 if stage.image_size else 1.0 if stage.blocks else COST
            for stage in self.recipe.stages
            for _ in range(stage.epochs)
        ]
        return Progress(self.console, self.batches.steps, costs, self.limit, self.batches.batch_size)

    def _first_epoch(self, stage: int) -> int:
        return sum(earlier.epochs for earlier in self.recipe.stages[:stage])

    def _fit_stage(self, epochs: Epochs, keeper: Callable[..., Keeper], show: Callable | None) -> None:
        """Fit what is left of the stage under way."""
        position = self.position
        self._stand_on(position)
        self.compile(position.stage)
        averaged = [AveragedWeights(self._statistics_batches)] if self.recipe.optimizer.ema else []
        stopping, plateau = self._stopping(), self._plateau()
        shown = [Snapshots(self.task.snapshot, show, position)] if show else []
        keep = keeper(remembering=[*stopping, *plateau])
        keep.stage_end = self._first_epoch(position.stage) + self.recipe.stages[position.stage].epochs
        if position.stage_over:  # its last epoch was kept, and nothing after it
            restore_weights(self.fitted.model, keep.remembering, keep.state)
        while not position.stage_over:
            self._fit_epochs(keep, [*stopping, *plateau, epochs, *shown, *averaged, keep.interruptible, keep])
        self._finish_stage(stopping, averaged)
        keep.interruptible.check()  # asked for after the last step

    def _stand_on(self, position: Position) -> None:
        """Choose what the stage is fitted with: where the head alone learns, it and the features of all images."""
        blocks, *following = [stage.blocks for stage in self.recipe.stages[position.stage :][:2]]
        if blocks:
            self.fitted = self._whole
        elif position.stage_over and 0 not in following and not self.recipe.optimizer.ema:  # features are of no use now
            self.fitted = replace(self._whole, model=head(self._whole.model))
        elif self.fitted is self._whole:
            self.fitted = footing(self._whole, self.console)
            if position.epoch == self._first_epoch(position.stage) and not position.in_epoch:
                position.seconds += self.fitted.seconds

    def _fit_epochs(self, keep: Keeper, callbacks: list[keras.callbacks.Callback]) -> None:
        """Fit the rest of the epoch under way, or else all epochs that are left of the stage."""
        position, steps = self.position, self.batches.steps
        last = position.epoch + 1 if position.in_epoch else keep.stage_end
        start = position.epoch * steps + position.in_epoch
        self.replicas.settle(self.fitted.model, lambda: self.fitted.batches(start))
        if position.in_epoch:
            # Metrics have no variables to put values into before Keras has seen a batch; fit then clears them.
            self.fitted.model.test_on_batch(*self.fitted.batches(start))
        validation, validation_steps = self._validation()
        self.fitted.model.fit(
            feed(self.fitted.batches, start, last * steps, self.replicas),
            initial_epoch=position.epoch,
            epochs=last,
            steps_per_epoch=steps - position.in_epoch,
            validation_data=validation,
            validation_steps=validation_steps,
            shuffle=False,  # the batches are
            callbacks=callbacks,
            verbose=0,
        )

    def _finish_stage(self, stopping: list[keras.callbacks.EarlyStopping], averaged: list[AveragedWeights]) -> None:
        """Leave the best weights in the model, else the averaged ones, else the last."""
        best = next((callback.best_weights for callback in stopping if callback.best_weights), None)
        if best:
            self.fitted.model.set_weights(best)
        elif averaged:
            averaged[0].put(self.fitted.model)

    def compile(self, number: int) -> None:
        """Compile for a stage; the optimizer goes on from the stage before if the same layers learn."""
        recipe, stage = self.recipe, self.recipe.stages[number]
        model = self.fitted.model
        set_trainable(self.model, stage, self._learning)
        born = number  # the stage that this stage's optimizer began with
        while born and stage.learns_as(recipe.stages[born - 1]):
            born -= 1
        start = self._first_epoch(born) * self.batches.steps
        rate = scheduled(recipe.schedule, recipe.optimizer, self.total, stage.learning_rate, start)
        if born == number or not model.compiled:
            factors = depth_factors(self.model, recipe.optimizer.depth_decay)
            optimizer = build_optimizer(recipe.optimizer, rate, factors)
        else:
            optimizer = model.optimizer
            optimizer.learning_rate = rate
        watched = recipe.schedule.name == "plateau"  # which sets the rate of each step from outside
        ends = 1 if watched else math.gcd(self.batches.steps, self.limit, self.position.in_epoch)
        steps = devices.steps_together(ends)
        model.compile(optimizer, self.task.loss(), metrics=self.task.metrics(), steps_per_execution=steps)

    def _stopping(self) -> list[keras.callbacks.EarlyStopping]:
        settings = self.recipe.early_stopping
        if not settings.patience:
            return []
        watched = {"monitor": f"val_{settings.monitor}", "mode": "max" if settings.monitor == "accuracy" else "min"}
        return [keras.callbacks.EarlyStopping(**watched, patience=settings.patience, restore_best_weights=True)]

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
        on = self.fitted
        if not len(on.val):
            return None, None
        batches, steps = inputs.evaluation_batches(on.task, on.val, on.batches.batch_size)
        return feed_stream(batches, False, self.batches.lengths is not None, self.replicas), steps

    def _statistics_batches(self) -> Iterator[np.ndarray]:
        """Inputs as in the last epoch, which has the size that is evaluated also where earlier ones have not."""
        first = (self.recipe.epochs - 1) * self.batches.steps
        count = min(STATISTICS_BATCHES, self.batches.steps)
        return (self.fitted.batches(first + number)[0] for number in range(count))
