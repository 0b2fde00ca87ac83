"""What happens beside the steps of a training."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable

import keras
import numpy as np

from pipelines.command import RunFailed
from pipelines.fitting.progress import Progress


class AveragedWeights(keras.callbacks.Callback):
    """Lets validation, selection and the record see the averaged weights.

    The optimizer keeps the exponential moving average; the statistics of batch normalization belong to the raw
    weights, so they are estimated anew for the averaged ones from training batches, as for stochastic weight
    averaging (Izmailov et al., arXiv 1803.05407, section 3.2). Raw weights and statistics come back at the
    epoch's end. Must stand behind early stopping in the list of callbacks, which at that moment is to see
    the averaged weights, and before it when the training ends: see :meth:`finish`.
    """

    def __init__(self, batches: Callable[[], Iterable[np.ndarray]]) -> None:
        super().__init__()
        self.batches = batches
        self.raw: list[np.ndarray] | None = None

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Put the averaged weights into the model."""
        model = self.model
        self.raw = model.get_weights()
        optimizer = model.optimizer
        for variable, average in zip(
            optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
        ):
            variable.assign(keras.ops.copy(average))
        estimate_statistics(model, self.batches())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Put the raw weights back."""
        if self.raw is not None:
            self.model.set_weights(self.raw)
            self.raw = None

    def finish(self) -> None:
        """Complete what Keras does at the end of ``fit``: it writes the averaged weights, not their statistics."""
        # On JAX the weights and their averages are then the same buffers, which a next step can't both give away.
        self.model.set_weights(self.model.get_weights())
        estimate_statistics(self.model, self.batches())


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
    """Takes Ctrl-C at the end of the step under way, never in the middle of a library's work; a second one at once.

    An interrupt at any moment may strike a library that holds a lock, which nobody then frees.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = False
        self.before = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Take over the signal, which only a process's main thread can."""
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._ask)

    def release(self) -> None:
        """Give the signal back."""
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            self.before = None

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True
        self.release()

    def check(self) -> None:
        """End here if it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """A step of training or of validation is a safe place."""
        self.check()

    on_test_batch_end = on_train_batch_end


class Epochs(keras.callbacks.Callback):
    """Times, shows and reports each epoch; ends a training that has become NaN or has had its steps."""

    def __init__(self, progress: Progress, report: Callable[[dict[str, float], int], None], limit: int) -> None:
        """Take what to call.

        Args:
            progress: shows it to the user.
            report: is given the metrics of each epoch by their recorded names, and its number from 1.
            limit: steps after which the training ends.
        """
        super().__init__()
        self.progress, self.report, self.limit = progress, report, limit
        self.step = 0
        self.seconds = 0.0
        """Seconds of all steps so far: validation and everything else between epochs is left out."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.first_step, self.start = self.step, time.perf_counter()
        self.progress.begin(epoch + 1)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count the step, show it, and stop if the loss is no number."""
        self.step += 1
        self.elapsed = time.perf_counter() - self.start
        if not math.isfinite(logs["loss"]):
            raise RunFailed(
                f"the loss became {logs['loss']} at step {self.step}: lower --optimizer.learning-rate, "
                "set --optimizer.clipnorm 1, or try --precision float32"
            )
        self.progress.advance(self.step, self.step - self.first_step, self.elapsed, logs)
        if self.step >= self.limit:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Report the epoch."""
        self.seconds += self.elapsed
        metrics = {_recorded_name(name): float(value) for name, value in logs.items() if name != "learning_rate"}
        metrics |= {
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "epoch_seconds": self.elapsed,
            "examples_per_second": (self.step - self.first_step) * self.progress.batch_size / self.elapsed,
        }
        self.progress.end(epoch + 1, metrics)
        self.report(metrics, epoch + 1)


def _recorded_name(name: str) -> str:
    """Keras' val_loss is our val/loss, its loss our train/loss."""
    return f"val/{name.removeprefix('val_')}" if name.startswith("val_") else f"train/{name}"
