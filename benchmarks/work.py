"""How much a training computes, how fast, and how fast its machine could: what `ceiling` and `record` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

SIDES = (1024, 2048, 4096)
"""Of the matrices; the best rate counts."""

SIDES_ON_GPU = (4096, 8192, 16384)


def median(act: Callable[[], object], seconds: float) -> float:
    """The median time of all that fit in some seconds, three at least; a first one, which compiles, does not count.

    Args:
        act: returns what it computed, a tensor or several; it is waited for.
        seconds: in all.
    """
    import keras

    def whole() -> None:
        last = keras.tree.flatten(act())[-1]
        one = keras.ops.cast(keras.ops.ravel(last)[0], "float32")
        keras.ops.convert_to_numpy(one)  # what was put off is then computed

    whole()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        begin = time.perf_counter()
        whole()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def product_rate(precision: str, seconds: float) -> float:
    """Operations a second of products of square matrices."""
    import keras

    from pipelines.fitting import devices

    sides, rates = SIDES_ON_GPU if devices.gpus() else SIDES, []
    for side in sides:
        factor = keras.ops.cast(keras.random.normal((side, side)), precision)
        rates.append(2 * side**3 / median(lambda factor=factor: keras.ops.matmul(factor, factor), seconds / len(sides)))
    return max(rates)


def at_size(model: keras.Model, shape: tuple[int, ...]) -> keras.Model:
    """The network for images of one size: its layers then know theirs."""
    import keras

    return keras.models.clone_model(model, input_tensors=keras.Input(shape, dtype="uint8"))


def operations(model: keras.Model, count: int) -> Iterator[tuple[keras.layers.Layer, float, bool]]:
    """Each layer of a network that knows its size, the operations of a step, and whether anything before it learns.

    Those of convolutions and dense layers for so many examples: forward, and as many for the gradient of the weights
    and for that of the inputs, where something before learns. All else counts as nothing.
    """
    learned = False
    for layer in model.layers[1:]:
        kernel = getattr(layer, "kernel", None)
        learns = bool(layer.trainable_weights)
        products = 0.0
        if kernel is not None:
            places = float(np.prod(layer.output.shape[1:-1])) if len(kernel.shape) == 4 else 1.0
            products = 2.0 * count * float(np.prod(kernel.shape)) * places
        yield layer, (1 + learns + (learns and learned)) * products, learned
        learned |= learns


@contextmanager
def timed_steps() -> Iterator[list[list[tuple[int, float]]]]:
    """For each epoch that is trained in the block: steps so far, and seconds from the epoch's start to their end."""
    from pipelines.fitting.progress import Progress

    times: list[list[tuple[int, float]]] = []
    shown = Progress.advance

    def advance(bar: Progress, in_epoch: int, seconds: float, logs: dict) -> None:
        if not times or in_epoch <= times[-1][-1][0]:
            times.append([])
        times[-1].append((in_epoch, seconds))
        shown(bar, in_epoch, seconds, logs)

    Progress.advance = advance
    try:
        yield times
    finally:
        Progress.advance = shown


def step_seconds(epochs: list[list[tuple[int, float]]], aside: int = 1) -> float:
    """The median of a step, where some of an epoch's first times are left aside: what compiles is among them.

    Args:
        epochs: a part of what :func:`timed_steps` gives.
        aside: times of the first epoch that do not count.
    """
    first, *others = epochs
    parts = [first[aside - 1 :], *([(0, 0.0), *epoch] for epoch in others)]
    found = [np.diff([part[1] for part in one]) / np.diff([part[0] for part in one]) for one in parts]
    return float(np.median(np.concatenate(found)))
