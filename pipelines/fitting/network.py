"""A recipe's network: built for training, restricted to some layers, and made ready for use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras

from data.errors import BadInput, reason

if TYPE_CHECKING:
    import numpy as np

    from data.spec import Spec
    from models.base import Model
    from pipelines.tasks import Task


def build(model: Model, spec: Spec, policy: str) -> keras.Model:
    """An architecture's untrained network under a dtype policy.

    Raises:
        BadInput: Keras does not know one of the hyperparameters, or they do not fit the data.
    """
    with _policy(policy):
        try:
            return model.build(spec)
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


def ready_for_use(task: Task, weights: list[np.ndarray]) -> keras.Model:
    """A task's network with these weights, in float32, on raw inputs."""
    network = build(task.recipe.model, task.seen, "float32")
    network.set_weights(weights)
    return task.on_raw(network)


def set_trainable(model: keras.Model, pattern: str, built: set[str]) -> None:
    """Let the layers learn whose names the pattern is found in; without one those that do as the model was built."""
    for layer in model.layers:
        layer.trainable = bool(re.search(pattern, layer.name)) if pattern else layer.name in built
    if not model.trainable_variables:
        names = ", ".join(layer.name for layer in model.layers)
        raise BadInput(f"no layer's name has {pattern!r}", "--stages", f"the layers are {names}")
