"""A recipe's network: built for training, restricted to some layers, and made ready for use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import keras

from data.errors import BadInput, reason

if TYPE_CHECKING:
    import numpy as np

    from data.spec import Spec
    from pipelines.settings import Recipe


def build(recipe: Recipe, spec: Spec, policy: str) -> keras.Model:
    """A recipe's untrained network under a dtype policy, for images as the augmentation leaves them.

    Raises:
        BadInput: Keras does not know one of the hyperparameters, or they do not fit the data.
    """
    seen = replace(spec, shape=recipe.augmentation.view_shape(spec.shape))
    with _policy(policy):
        try:
            return recipe.model.build(seen)
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


def ready_for_use(recipe: Recipe, spec: Spec, weights: list[np.ndarray]) -> keras.Model:
    """A recipe's network with these weights, in float32, on raw inputs."""
    network = build(recipe, spec, "float32")
    network.set_weights(weights)
    raw, view = spec.shape, recipe.augmentation.view_shape(spec.shape)
    if raw == view:
        return network
    pixels = keras.Input(raw, dtype="uint8", name="raw_pixels")
    side = recipe.augmentation.resize
    x = keras.layers.Resizing(side, side, name="resize")(pixels) if side else pixels
    x = keras.layers.CenterCrop(*view[:2], name="middle_patch")(x)
    return keras.Model(pixels, network(x), name=f"{network.name}_on_raw_pixels")


def set_trainable(model: keras.Model, pattern: str, built: set[str]) -> None:
    """Let the layers learn whose names the pattern is found in; without one those that do as the model was built."""
    for layer in model.layers:
        layer.trainable = bool(re.search(pattern, layer.name)) if pattern else layer.name in built
    if not model.trainable_variables:
        names = ", ".join(layer.name for layer in model.layers)
        raise BadInput(f"no layer's name has {pattern!r}", "--stages", f"the layers are {names}")
