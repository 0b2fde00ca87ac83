"""Batches as the Keras backend takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

if TYPE_CHECKING:
    import grain

    from pipelines.fitting.replicas import Replicas
    from pipelines.inputs import TrainingBatches

STACK = 2**18
"""Bytes of small batches that go from Python to TensorFlow at once: one at a time would take longer than the steps."""


def feed(batches: TrainingBatches, start: int, stop: int, replicas: Replicas) -> object:
    """What ``fit`` takes for the training batches from one number to before another.

    Args:
        batches: of (inputs, targets) or (inputs, targets, weights).
        start: number of the first one.
        stop: after the last one.
        replicas: that share each batch.
    """
    varying, size = batches.lengths is not None, 1
    if keras.backend.backend() == "tensorflow" and not varying:
        first = batches(start)
        size = min(stop - start, STACK // sum(array.nbytes for array in first))
    if size < 2:
        return feed_stream(batches.dataset(start, stop), True, varying, replicas)
    signature = [_signature(array, (None, *array.shape)) for array in first]
    return _generated(batches.stacks(start, stop, size), signature).unbatch()


def feed_stream(batches: grain.IterDataset, equal: bool, varying: bool, replicas: Replicas) -> object:
    """What ``fit`` takes for any stream of batches.

    Args:
        batches: the stream.
        equal: all batches have the same number of examples.
        varying: the inputs of one batch can be longer than those of another.
        replicas: that share each batch.
    """
    if replicas.processes > 1:
        batches = batches.map(replicas.part)
    if keras.backend.backend() != "tensorflow":
        return batches
    first = next(iter(batches))
    shapes = [list(array.shape) for array in first]
    for shape in [] if equal else shapes:
        shape[0] = None
    if varying:
        shapes[0][1] = None
    return _generated(batches, [_signature(array, shape) for array, shape in zip(first, shapes, strict=True)])


def _signature(array: np.ndarray, shape: tuple[int | None, ...]) -> object:
    import tensorflow as tf

    return tf.TensorSpec(shape, array.dtype)


def _generated(batches: grain.IterDataset, signature: list[object]) -> object:
    """A stream as TensorFlow's.

    Keras feeds TensorFlow through ``tf.data``, whose tuning thread (TensorFlow 2.21) wakes up at intervals that grow
    to a minute, and an iterator waits for it before it can end: up to a minute lost after each stage. There is
    nothing to tune behind one generator, so here it is off.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(lambda: batches, output_signature=tuple(signature)).with_options(options)
