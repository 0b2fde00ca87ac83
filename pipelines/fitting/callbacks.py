"""What happens beside the steps of a training."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from pipelines.command import Interrupted, RunFailed
from pipelines.fitting.checkpoints import Checkpoints, Epoch, Position, State
from pipelines.fitting.progress import Progress
from pipelines.fitting.state import capture, restore_metrics, restore_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class AveragedWeights(keras.callbacks.Callback):
    """Lets validation, selection and the record see the averaged weights.

    The optimizer keeps the exponential moving average; the statistics of batch normalization belong to the raw
    weights, so they are estimated anew for the averaged ones from training batches, as for stochastic weight
    averaging (Izmailov et al., arXiv 1803.05407, section 3.2). Raw weights and statistics come back at the
    epoch's end. Must stand behind early stopping in the list of callbacks, which is to see the averaged weights.
    """

    def __init__(self, batches: Callable[[], Iterable[np.ndarray]]) -> None:
        super().__init__()
        self.batches = batches
        self.raw: list[np.ndarray] | None = None

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Put the averaged weights into the model."""
        self.raw = self.model.get_weights()
        self.put(self.model)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Put the raw weights back."""
        if self.raw is not None:
            self.model.set_weights(self.raw)
            self.raw = None

    def put(self, model: keras.Model) -> None:
        """Put the averaged weights into a model, with statistics of their own."""
        optimizer = model.optimizer
        for variable, average in zip(
            optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
        ):
            # On JAX they would be the same buffer, which a next step can't give away twice.
            variable.assign(keras.ops.copy(average))
        estimate_statistics(model, self.batches())


def estimate_statistics(model: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Set the statistics of all batch normalizations to the plain mean over these batches of inputs."""
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_mean") and layer.trainable]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for number, batch in enumerate(batches):
        for layer in layers:
            layer.momentum = number / (number + 1)
        model(batch, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


class Interruptible(keras.callbacks.Callback):
    """Takes Ctrl-C and SIGTERM at the end of the step under way, never in the middle of a library's work.

    An interrupt at any moment may strike a library that holds a lock, which nobody then frees. A second one is taken
    at once. Within validation and at an epoch's last step there is no state to continue from, so the epoch is
    completed first.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        super().__init__()
        self.asked: int | None = None
        """The signal that came."""
        self.before: dict[int, object] = {}

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Take over the signals, which only a process's main thread can."""
        if threading.current_thread() is threading.main_thread() and not self.before:
            self.before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}

    def release(self) -> None:
        """Give the signals back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _ask(self, number: int, frame: object) -> None:
        self.asked = number
        self.release()

    def check(self) -> None:
        """End here if it was asked for."""
        if self.asked is not None:
            raise Interrupted(self.asked)


class Epochs(keras.callbacks.Callback):
    """Counts and times the steps, shows each epoch, ends a training that has become NaN or has had its steps."""

    def __init__(self, progress: Progress, position: Position, limit: int) -> None:
        """Take what to show and what to count in.

        Args:
            progress: shows it to the user.
            position: is moved on with each step.
            limit: steps after which the training ends.
        """
        super().__init__()
        self.progress, self.position, self.limit = progress, position, limit

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock; an epoch that is continued has some steps and seconds already."""
        self.start = time.perf_counter() - self.position.elapsed
        self.progress.begin(epoch + 1)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count the steps since the last call, show them, and stop if the loss is no number."""
        position, steps = self.position, self.model.steps_per_execution
        position.step += steps
        position.in_epoch += steps
        position.elapsed = time.perf_counter() - self.start
        if not math.isfinite(logs["loss"]):
            raise RunFailed(
                f"the loss became {logs['loss']} at step {position.step}: lower --optimizer.learning-rate, "
                "set --optimizer.clipnorm 1, or try --precision float32"
            )
        self.progress.advance(position.in_epoch, position.elapsed, logs)
        if position.step >= self.limit:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note the epoch's metrics."""
        position = self.position
        metrics = {_recorded_name(name): float(value) for name, value in logs.items() if name != "learning_rate"}
        metrics |= {
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "epoch_seconds": position.elapsed,
            "examples_per_second": position.in_epoch * self.progress.batch_size / position.elapsed,
        }
        self.progress.end(epoch + 1, metrics)
        position.epochs.append(Epoch(metrics, time.time(), position.stage))
        position.seconds += position.elapsed
        position.epoch, position.in_epoch, position.elapsed = epoch + 1, 0, 0.0


class Snapshots(keras.callbacks.Callback):
    """Pictures of what the network does after each epoch: before its state is kept, so that a kill loses none.

    Must stand before averaged weights in the list of callbacks, to see the weights that were validated.
    """

    def __init__(
        self,
        draw: Callable[[keras.Model], dict[str, Figure]],
        show: Callable[[dict[str, Figure], int], None],
        position: Position,
    ) -> None:
        """Take what draws the pictures, what is given them with the epoch's number, and where the training is."""
        super().__init__()
        self.draw, self.show, self.position = draw, show, position

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Draw and hand on."""
        self.show(self.draw(self.model), len(self.position.epochs))


def _recorded_name(name: str) -> str:
    """Keras' val_loss is our val/loss, its loss our train/loss."""
    return f"val/{name.removeprefix('val_')}" if name.startswith("val_") else f"train/{name}"


class Keeper(keras.callbacks.Callback):
    """Puts a training back into its state when it begins, and keeps its state when an epoch ends and in between.

    Must be the last in the list of callbacks: it then sees what all others have done. An epoch is reported when the
    state after it has been kept: a kill in between leaves no report of an epoch that is trained again.
    """

    def __init__(
        self,
        position: Position,
        checkpoints: Checkpoints | None,
        report: Callable[[dict[str, float], int, float], None],
        interruptible: Interruptible,
        steps: int,
        limit: int,
        remembering: Sequence[keras.callbacks.Callback],
        state: State | None,
    ) -> None:
        """Take what to keep.

        Args:
            position: of the training.
            checkpoints: where states are kept, if anywhere.
            report: is given each epoch's metrics, how many epochs there have been, and the time of its end.
            interruptible: says whether to end.
            steps: of an epoch.
            limit: steps after which the training ends.
            remembering: callbacks whose attributes are part of the state.
            state: that the training is in; None for a new one.
        """
        super().__init__()
        self.position, self.state, self.remembering = position, state, remembering
        self.checkpoints, self.report, self.interruptible = checkpoints, report, interruptible
        self.steps, self.limit = steps, limit
        self.stage_end = 0
        """Epoch after which the stage ends."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Continue from the state."""
        if self.state is not None:
            restore_weights(self.model, self.remembering, self.state)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Continue an epoch's metrics."""
        if self.position.in_epoch:
            restore_metrics(self.model, self.state)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Keep the state every few minutes, and before an interrupt."""
        asked = self.interruptible.asked is not None
        due = self.checkpoints is not None and self.checkpoints.due()
        more = self.position.in_epoch < self.steps and self.position.step < self.limit
        if (asked or due) and more:  # else the epoch's end is near, which keeps a state that can be continued
            self._keep()
            self.interruptible.check()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep the state, then report the epoch."""
        self.position.stage_over = self.model.stop_training or epoch + 1 == self.stage_end
        self._keep()
        last = self.position.epochs[-1]
        self.report(last.metrics, len(self.position.epochs), last.at)
        self.interruptible.check()

    def _keep(self) -> None:
        self.state = capture(self.model, self.remembering, self.position)
        if self.checkpoints is not None:
            self.checkpoints.write(self.state)
