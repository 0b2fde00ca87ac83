"""Networks of others as the lower part of one's own: cut off below their head, copied, divided into blocks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

import models
from data.errors import BadInput, reason
from data.spec import Spec
from models import safety
from models.parts.convolutional import Channels

TRUNK = "trunk"
"""Name of the layer that holds the source's network."""

USUAL = 224
"""Side in pixels of the images that classifiers of keras.applications which take any were trained on."""


def opened(path: Path, trust: bool = False) -> keras.Model:
    """The network of a .keras file, which may have layers of ours; nothing in it is executed, unless it is trusted.

    Raises:
        BadInput: it asks for more than a network needs.
        Exception: whatever Keras raises at a file that is damaged, or holds something else.
    """
    models.import_all()
    return keras.saving.load_model(path, compile=False, safe_mode=False) if trust else safety.opened(path)


def application(name: str) -> keras.Model:
    """A classifier of keras.applications with random weights.

    Raises:
        BadInput: there is none of this name.
    """
    return _application(name)(weights=None, classifier_activation=None)


def without_top(name: str, weights: str | None) -> keras.Model:
    """The same up to its pooled features, for images of its own size; weights: imagenet, or None for random ones."""
    sides = [side or USUAL for side in application(name).input_shape[1:3]]
    return _application(name)(weights=weights, include_top=False, input_shape=(*sides, 3), pooling="avg")


def _application(name: str) -> object:
    known = {key: value for key, value in vars(keras.applications).items() if inspect.isfunction(value)}
    if name not in known:
        raise BadInput("is no classifier of keras.applications", name, f"there are {', '.join(sorted(known))}")
    return known[name]


def preprocessing(name: str) -> keras.layers.Layer:
    """What a classifier of keras.applications does with pixels 0 to 255 before its first layer, as a layer.

    Their functions all give linear combinations of a pixel's channels and an offset, found here by trying: so they
    become a convolution of 1x1 that never learns.
    """
    function = inspect.getmodule(_application(name)).preprocess_input
    probes = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).reshape(4, 1, 1, 3).astype(np.float32)
    offset, *others = np.asarray(function(probes.copy())).reshape(4, 3)
    layer = keras.layers.Conv2D(
        3,
        1,
        kernel_initializer=keras.initializers.Constant(((np.array(others) - offset) / 255).tolist()),
        bias_initializer=keras.initializers.Constant(offset.tolist()),
        dtype="float32",
        name="preprocess",
    )
    layer.trainable = False
    return layer


def headless(network: keras.Model) -> keras.Model:
    """A trained network from pixels up to its features: what its last layer with weights gets, or its code.

    Raises:
        BadInput: it has no such layer, or does not take images.
    """
    while isinstance(network.layers[-1], keras.Model):  # resizing before it, which is done anew for other images
        inner = {layer.name: layer for layer in network.layers}
        if "encoder" in inner:
            encoder = inner["encoder"]
            return keras.Model(encoder.inputs[0], encoder.outputs[0], name=encoder.name)  # of a random code the mean
        network = network.layers[-1]
    weighted = [layer for layer in network.layers if layer.count_params()]
    if len(weighted) < 2 or len(network.inputs) != 1 or len(network.inputs[0].shape) != 4:
        raise BadInput("has no layers below its last one", network.name, "give a classifier of images, or an encoder")
    features = weighted[-1].input
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name="pooled_features")(features)
    return keras.Model(network.inputs[0], features, name=network.name)


def taken(trunk: keras.Model, spec: Spec, size: int) -> tuple[int, int, int]:
    """Height, width and channels that a trunk is given.

    Args:
        trunk: the network.
        spec: of the images.
        size: side that is asked for; 0: the trunk's own, or that of the images where it takes any.
    """
    *sides, channels = trunk.input_shape[1:]
    own = [side or length for side, length in zip(sides, spec.shape[:2], strict=True)]
    return (size or own[0], size or own[1], channels)


def adapted(pixels: keras.KerasTensor, shape: tuple[int, int, int]) -> keras.KerasTensor:
    """Pixels 0 to 255 in another size and with other channels; as they are where nothing is to be done."""
    x = pixels
    if x.shape[1:3] != shape[:2]:
        x = keras.layers.Resizing(*shape[:2], dtype="float32", name="resize")(x)
    if x.shape[-1] != shape[-1]:
        x = Channels(shape[-1], dtype="float32", name="channels")(x)
    return x


def copied(network: keras.Model, x: keras.KerasTensor, weights: bool) -> keras.Model:
    """The same network for inputs like x, computed in the dtype policy that is set, with or without its weights."""
    policy = keras.config.dtype_policy().name

    def again(operation: keras.Operation) -> keras.Operation:
        plain = keras.saving.serialize_keras_object(operation)
        plain.pop("build_config", None)  # it is built on what it is given here
        plain["config"] |= {"dtype": policy} if isinstance(operation, keras.layers.Layer) else {}
        return keras.saving.deserialize_keras_object(plain, safe_mode=False)  # what is in memory has been let in

    given = keras.Input(x.shape[1:], dtype=x.dtype)
    try:
        copy = keras.models.clone_model(network, input_tensors=given, clone_function=again)
    except ValueError as error:
        what = f"does not take images of {'x'.join(map(str, x.shape[1:3]))} ({reason(error)})"
        raise BadInput(what, network.name, "leave --model.size out") from None
    if weights:
        copy.set_weights(network.get_weights())
    return keras.Model(copy.inputs[0], copy.outputs[0], name=TRUNK)


def find(network: keras.Model) -> keras.Model | None:
    """The trunk of a network, if it has one."""
    return next((layer for layer in network.layers if layer.name == TRUNK), None)


def blocks(trunk: keras.Model) -> list[list[keras.layers.Layer]]:
    """The layers of a trunk in blocks, the first ones first.

    A block are the layers that work at one height and width, what papers call a stage of a network; where images have
    become vectors, each fully connected layer begins a block. Layers beside the main path, as in squeeze and
    excitation, belong to what their path leads to.
    """
    found, waiting, block = {}, [], None
    for operation, on_main_path in _in_order(trunk):
        waiting += [operation] if isinstance(operation, keras.layers.Layer) else []
        if not on_main_path:
            continue
        shape = operation.output.shape
        if len(shape) == 4:
            block = shape[1:3]
        elif any(isinstance(layer, keras.layers.Dense) for layer in waiting):
            block = operation.name
        found.setdefault(block, []).extend(waiting)
        waiting = []
    return [block for block in found.values() if any(layer.count_params() for layer in block)]


def _in_order(trunk: keras.Model) -> Iterator[tuple[keras.Operation, bool]]:
    """The operations of a network, and whether all that reaches its output goes through them: no edge passes by."""
    place = {id(operation): number for number, operation in enumerate(trunk.operations)}
    reach = 0  # the last place that what came before feeds
    feeds = [0] * len(trunk.operations)
    for number, operation in enumerate(trunk.operations):
        for node in operation._inbound_nodes:
            for parent in node.parent_nodes:
                before = place.get(id(parent.operation), number)
                feeds[before] = max(feeds[before], number)
    for number, operation in enumerate(trunk.operations):
        yield operation, reach <= number
        reach = max(reach, feeds[number])


def has_statistics(layer: keras.layers.Layer) -> bool:
    """Whether a layer keeps statistics of its inputs, as batch normalization does."""
    return hasattr(layer, "moving_mean")


def after(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a network after its trunk: they stand in a row."""
    names = [layer.name for layer in network.layers]
    yield from network.layers[names.index(TRUNK) + 1 :]
