"""Formats that other programs run a model in: writing them, and running them by their own runtimes."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.errors import BadInput, reason
from pipelines import command
from pipelines.command import RunFailed

if TYPE_CHECKING:
    import keras

    from pipelines.servable import Servable

Runner = Callable[[np.ndarray], np.ndarray]
"""From a batch of the network's inputs to its outputs."""


@dataclass(frozen=True)
class Format:
    """A format of Keras' own ``Model.export``."""

    name: str
    """Keras' name."""
    file: str
    """What is written."""
    load: Callable[[Path], Runner]
    loops: bool = False
    """Whether it knows loops over as many steps as a text has characters."""
    needs: tuple[str, ...] = ()
    """Packages beside TensorFlow."""


def _saved_model(path: Path) -> Runner:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda inputs: loaded.serve(inputs).numpy()


def _litert(path: Path) -> Runner:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    given, found = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(inputs: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != inputs.shape:
            interpreter.resize_tensor_input(given, inputs.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(given, inputs)
        interpreter.invoke()
        return interpreter.get_tensor(found)

    interpreter.allocate_tensors()
    return run


def _onnx(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})[0]


FORMATS = {
    "saved_model": Format("tf_saved_model", "saved_model", _saved_model, loops=True),
    "litert": Format("litert", "model.tflite", _litert),
    "onnx": Format("onnx", "model.onnx", _onnx, needs=("onnx", "onnxruntime", "tf2onnx")),
}


def check(name: str) -> None:
    """Refuse what can't be written here, before any work is done.

    Raises:
        BadInput: another backend than TensorFlow is in use, or a package is missing.
    """
    import keras

    import models

    models.import_all()  # before a recorded model brings its own copies, whose layers may not know how to be unrolled
    if keras.backend.backend() != "tensorflow":
        what = "models are exported by TensorFlow"
        raise BadInput(what, f"KERAS_BACKEND={keras.backend.backend()}", "unset it; a recorded model runs on any")
    missing = [package for package in FORMATS[name].needs if importlib.util.find_spec(package) is None]
    if missing:
        what = f"needs {' and '.join(missing)}, not installed"
        raise BadInput(
            what, f"FORMAT={name}", f".venv/bin/uv pip install --python .venv/bin/python {' '.join(missing)}"
        )


def complete(model: Servable, loops: bool = True) -> keras.Model:
    """The network with what the servable does to its outputs, so that both answer the same.

    Args:
        model: its network is changed, too, where there are to be no loops.
        loops: if False, texts have the length of the longest, and recurrent layers run through them step by step.
    """
    import keras

    network = model.network
    for layer in _layers(network):
        if isinstance(layer, keras.layers.Normalization):
            # Tensors that a layer makes when it is built become inputs of an ONNX model; arrays become constants.
            layer.mean, layer.variance = np.array(layer.mean), np.array(layer.variance)
        if hasattr(layer, "unrolled"):
            layer.unrolled = not loops
    length = None if loops else model.description.get("longest")
    shape = model.read.shape if model.kind == "images" else (length,)
    inputs = keras.Input(shape, dtype=network.inputs[0].dtype, name="inputs")
    # The same layers on other inputs. As a layer of the whole it would be converted for inputs of any length, too.
    outputs = keras.models.clone_model(network, inputs, clone_function=lambda layer: layer).outputs[0]
    for layer in _last(model.description["output"]):
        outputs = layer(outputs)
    made = keras.Model(inputs, outputs, name="model")
    made(np.zeros((1, *(side or 1 for side in shape)), inputs.dtype))  # Keras exports to ONNX what was called once
    return made


def _layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _last(output: str) -> list[keras.layers.Layer]:
    """The layers that do what :data:`pipelines.servable.OUTPUTS` does."""
    import keras

    if output == "softmax":
        return [keras.layers.Softmax(name="probabilities")]
    squashed = [keras.layers.Activation("sigmoid", name="shares")] if output == "sigmoid" else []
    return [*squashed, keras.layers.Rescaling(255.0, name="pixels")]


def write(model: Servable, name: str, folder: Path) -> Path:
    """Export a model; returns the file, or folder, that holds it.

    Args:
        model: see :func:`complete`.
        name: one of :data:`FORMATS`.
        folder: made where there is none; also gets ``model.json``, which says what goes in and what comes out.

    Raises:
        BadInput: the folder can't be written.
        RunFailed: Keras, or the library that it asks, can't export this network.
    """
    made = FORMATS[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").write_text(json.dumps(_description(model, made), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise BadInput(f"can't be written ({reason(error)})", folder, "name another by --out") from None
    try:
        with quiet():
            complete(model, made.loops).export(str(folder / made.file), format=made.name, verbose=False)
    except Exception as error:  # whatever the converter raises
        raise RunFailed(f"{name}: this network can't be exported ({reason(error)})") from None
    return folder / made.file


def _description(model: Servable, made: Format) -> dict:
    """What a program must know that runs the exported model."""
    known = {name: value for name, value in model.description.items() if name != "output"}
    outputs = "probabilities of the classes" if model.classifies else "pixels, 0 to 255"
    if model.kind == "images":
        return {"inputs": "pixels, uint8 (N, height, width, channels)", "outputs": outputs, **known}
    length = "the longest text's" if made.loops else known["longest"]
    ids = "ids of characters, int32 (N, length): 0 padding at the end, 1 unknown, 2 + place in the vocabulary"
    return {"inputs": ids, "length": length, "outputs": outputs, **known}


def load(name: str, path: Path) -> Runner:
    """An exported model, run by its format's own runtime.

    Raises:
        RunFailed: that can't load it.
    """
    try:
        with quiet():
            return FORMATS[name].load(path)
    except Exception as error:  # whatever the runtime raises
        raise RunFailed(f"{path}: is not loaded by its runtime ({reason(error)})") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep converters' remarks from the terminal, unless TF_CPP_MIN_LOG_LEVEL is 0 or 1."""
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with nullcontext() if command.CHATTY else command.muted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
