"""Training a head alone: on the features that its trunk, which does not change, gives once for each image."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from data.spec import Split
from models.parts import trunks
from pipelines import inputs

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.augmentation import Moment
    from pipelines.inputs import TrainingBatches
    from pipelines.tasks import Batch, Task

BATCH = 100
"""Images whose features are computed together."""

COST = 0.02
"""Of a step on features, where one of the whole network is 1: for the time left that is shown."""


@dataclass
class Footing:
    """What a stage is fitted with."""

    model: keras.Model
    batches: TrainingBatches
    task: Task
    val: Split
    seconds: float = 0.0
    """That it took to be made."""


def footing(whole: Footing, console: Console) -> Footing:
    """The head of a network, which goes on being a part of it, and the features of all images.

    Each image is taken as it is, without augmentation.
    """
    start = time.perf_counter()
    splits = [_computed(whole.model, whole.task, split) for split in (whole.batches.split, whole.val)]
    task = OnFeatures(whole.task)
    batches = inputs.TrainingBatches(task, splits[0], whole.batches.batch_size, whole.batches.seed)
    seconds = time.perf_counter() - start
    count = sum(map(len, splits))
    console.print(f"features of {count:,} images in {seconds:.0f} s, {count / seconds:,.0f}/s", soft_wrap=True)
    return Footing(head(whole.model), batches, task, splits[1], seconds)


def head(network: keras.Model) -> keras.Model:
    """The layers of a network after its features, as a network of their own."""
    first, *others = trunks.after(network)
    features = keras.Input(first.output.shape[1:], name="given_features")
    x = features
    for layer in others:
        x = layer(x)
    return keras.Model(features, x, name=f"head_of_{network.name}")


def _computed(network: keras.Model, task: Task, split: Split) -> Split:
    """A split whose inputs are features, float32 (N, features): on disk, in a file that ends with the process."""
    first = next(trunks.after(network))
    trunk = keras.Model(network.inputs[0], first.output)
    shape = (len(split), first.output.shape[-1])
    if not len(split):
        return Split(np.zeros(shape, np.float32), split.labels)
    with tempfile.TemporaryFile() as file:
        for start in range(0, len(split), BATCH):
            rows = np.arange(start, min(start + BATCH, len(split)))
            images, _ = task.evaluation(split.inputs[rows], split.labels[rows], rows)
            features = keras.ops.convert_to_numpy(trunk.predict_on_batch(images))
            # Written, not stored through the map: a full disk is then an error, no signal that ends the process.
            file.write(np.ascontiguousarray(features, np.float32).data)
        file.flush()
        return Split(np.memmap(file, np.float32, "r", shape=shape), split.labels)


class OnFeatures:
    """A task whose inputs are features, with the targets that it has on images."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def training(self, raw: np.ndarray, labels: np.ndarray, moment: Moment) -> Batch:
        """See :meth:`pipelines.tasks.Task.training`."""
        return self.task.learned(np.asarray(raw), labels)

    def evaluation(self, raw: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Batch:
        """See :meth:`pipelines.tasks.Task.evaluation`."""
        return self.task.measured(np.asarray(raw), labels)

    def lengths(self, split: Split) -> None:
        """Features have none."""
