"""A recipe's network: built for training, restricted to some layers, and made ready for use."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras
import numpy as np

from data.errors import BadInput, reason
from models.parts import trunks

if TYPE_CHECKING:
    from data.spec import Spec
    from models.base import Model
    from pipelines.settings import Stage
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


def named(model: Model, spec: Spec, batch_size: int) -> str:
    """What tells an architecture from others that take a different time for a step."""
    told = repr((model, spec.kind, spec.shape, spec.longest, len(spec.classes), batch_size))
    return f"{type(model).__name__} {hashlib.sha256(told.encode()).hexdigest()[:16]}"


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


def set_trainable(model: keras.Model, stage: Stage, built: set[str]) -> None:
    """Let the layers learn that a stage names; where it names none, those that do as the model was built.

    Raises:
        BadInput: there are no such layers.
    """
    pattern = stage.trainable
    for layer in model.layers:
        layer.trainable = bool(re.search(pattern, layer.name)) if pattern else layer.name in built
    if stage.blocks >= 0:
        learning = {id(layer) for block in _from_top(model)[: stage.blocks] for layer in block}
        for layer in trunks.find(model).layers:
            layer.trainable = id(layer) in learning and not trunks.has_statistics(layer)
    if not model.trainable_variables:
        names = ", ".join(layer.name for layer in model.layers)
        raise BadInput(f"no layer's name has {pattern!r}", "--stages", f"the layers are {names}")


def depth_factors(model: keras.Model, decay: float) -> dict[int, float]:
    """Factors on the learning rate by the variables' ``id``; 1 for those that are not in it."""
    if decay == 1:
        return {}
    return {
        id(variable): decay**depth
        for depth, block in enumerate(_from_top(model), start=1)
        for layer in block
        for variable in layer.trainable_variables
    }


def _from_top(model: keras.Model) -> list[list[keras.layers.Layer]]:
    """The blocks of a network's trunk, the last ones first."""
    trunk = trunks.find(model)
    if trunk is None:
        where, do = "--stages, --optimizer.depth-decay", "leave blocks at -1 and the decay at 1, or make transfer"
        raise BadInput(f"{model.name} has no trunk with blocks", where, do)
    return trunks.blocks(trunk)[::-1]


def digest(network: keras.Model) -> str:
    """SHA-256 over the weights of a network, in their order."""
    sha = hashlib.sha256()
    for weight in network.get_weights():
        sha.update(np.ascontiguousarray(weight).data)
    return sha.hexdigest()
