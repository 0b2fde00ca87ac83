"""Batches as the Keras backend takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    import grain


def feed(batches: grain.IterDataset, equal: bool) -> object:
    """What ``fit`` takes for a stream of (inputs, targets).

    Keras feeds TensorFlow through ``tf.data``, whose tuning thread (TensorFlow 2.21) wakes up at intervals that grow
    to a minute, and an iterator waits for it before it can end: up to a minute lost after each stage. There is
    nothing to tune behind one generator, so here it is off.

    Args:
        batches: the stream.
        equal: all batches have the same number of examples.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    signature = tuple(
        tf.TensorSpec(array.shape if equal else (None, *array.shape[1:]), array.dtype) for array in next(iter(batches))
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(lambda: batches, output_signature=signature).with_options(options)
