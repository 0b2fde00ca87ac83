"""What differs between the tasks: targets, loss, metrics, and the report on the test set."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from data.spec import Spec, Split
from pipelines.reports import Report

if TYPE_CHECKING:
    import keras


class Task(Protocol):
    """One kind of task."""

    name: str
    output: str
    """How the recorded model turns the network's output into its own: softmax."""

    def targets(self, spec: Spec) -> Callable[[np.ndarray], np.ndarray]:
        """Makes the loss's targets, float32 (N, ...), out of labels (N,)."""

    def loss(self, label_smoothing: float) -> keras.losses.Loss:
        """What training lowers."""

    def metrics(self) -> list[keras.metrics.Metric]:
        """What is shown and recorded by epoch beside the loss."""

    def chance(self, spec: Spec) -> tuple[float, str]:
        """The loss of a network that knows nothing, and how it is written."""

    def report(self, outputs: np.ndarray, split: Split, spec: Spec, notice: str) -> Report:
        """Metrics, tables and figures of the recorded model's outputs for a split."""


class Classification:
    """One class for each input."""

    name = "classification"
    output = "softmax"

    def targets(self, spec: Spec) -> Callable[[np.ndarray], np.ndarray]:
        """One row of probabilities for each label, so that MixUp and CutMix can blend them."""
        rows = np.eye(len(spec.classes), dtype=np.float32)
        return lambda labels: rows[labels]

    def loss(self, label_smoothing: float) -> keras.losses.Loss:
        """Cross-entropy of logits."""
        import keras

        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Accuracy; under MixUp and CutMix against the class with the larger share."""
        import keras

        return [keras.metrics.CategoricalAccuracy(name="accuracy")]

    def chance(self, spec: Spec) -> tuple[float, str]:
        """The same probability for every class."""
        return math.log(len(spec.classes)), f"ln {len(spec.classes)}"

    def report(self, outputs: np.ndarray, split: Split, spec: Spec, notice: str) -> Report:
        """See :mod:`pipelines.reports.classification`."""
        from pipelines.reports import classification

        return classification.report(outputs, split, spec, notice)


TASKS: dict[str, Task] = {task.name: task for task in (Classification(),)}
