"""Batches as the Keras backend takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    import grain

    from pipelines.fitting.replicas import Replicas


def feed(batches: grain.IterDataset, equal: bool, varying: bool, replicas: Replicas) -> object:
    """What ``fit`` takes for a stream of (inputs, targets) or (inputs, targets, weights).

    Keras feeds TensorFlow through ``tf.data``, whose tuning thread (TensorFlow 2.21) wakes up at intervals that grow
    to a minute, and an iterator waits for it before it can end: up to a minute lost after each stage. There is
    nothing to tune behind one generator, so here it is off.

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
    import tensorflow as tf

    first = next(iter(batches))
    shapes = [list(array.shape) for array in first]
    for shape in [] if equal else shapes:
        shape[0] = None
    if varying:
        shapes[0][1] = None
    signature = tuple(tf.TensorSpec(shape, array.dtype) for shape, array in zip(shapes, first, strict=True))
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(lambda: batches, output_signature=signature).with_options(options)
