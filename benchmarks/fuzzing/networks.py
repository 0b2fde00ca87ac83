"""Files of networks that ask for more than to compute, each made out of a harmless one."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import h5py
import keras


def harmless(place: Path) -> Path:
    """A small network of images in a .keras file."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    keras.Model(inputs, keras.layers.Dense(4, name="logits")(keras.layers.Flatten()(x))).save(place)
    return place


def parts(place: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(place) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(place: Path, content: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return place


def with_config(place: Path, known: Path, change: Callable[[dict, dict], None]) -> Path:
    """A copy whose configuration has been changed."""
    content = parts(known)
    config = json.loads(content["config.json"])
    change({layer["config"]["name"]: layer for layer in config["config"]["layers"]}, config)
    return packed(place, {**content, "config.json": json.dumps(config)})


def with_weights(place: Path, known: Path, change: Callable[[h5py.File], None]) -> Path:
    """A copy whose weights have been changed."""
    content = parts(known)
    file = io.BytesIO(content["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        change(weights)
    return packed(place, {**content, "model.weights.h5": file.getvalue()})


def with_lambda(place: Path, marker: Path, classes: int = 4) -> Path:
    """A network of images one of whose layers makes the marker as it is called."""
    inputs = keras.Input((8, 8, 1))
    code = f"lambda x: (__import__('pathlib').Path({str(marker)!r}).touch(), x)[1]"
    x = keras.layers.Lambda(eval(code), output_shape=(8, 8, 1), name="sly")(inputs)
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, name="conv")(x))
    keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x)).save(place)
    marker.unlink(missing_ok=True)
    return place


def function(module: str, name: str) -> dict[str, str]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def calling(module: str, name: str, argument: object) -> Callable[[dict, dict], None]:
    """Has a layer whose class is a function of some module, called with an argument (CVE-2025-1550)."""

    def change(layers: dict, config: dict) -> None:
        layers["conv"].update(module=module, class_name=name, registered_name=None, config=argument)

    return change


def activated(module: str, name: str) -> Callable[[dict, dict], None]:
    """Has a function of some module as its activation."""

    def change(layers: dict, config: dict) -> None:
        layers["conv"]["config"]["activation"] = function(module, name)

    return change


def layer(home: str | None, kind: str, **settings: object) -> Callable[[dict, dict], None]:
    def change(layers: dict, config: dict) -> None:
        kept = {"name": "conv", **settings}
        layers["conv"].update(module=home, class_name=kind, registered_name=None, config=kept)

    return change


def compiled_inside(layers: dict, config: dict) -> None:
    layers["conv"]["compile_config"] = {"loss": function("os", "system")}


def registered_elsewhere(layers: dict, config: dict) -> None:
    layers["conv"].update(module=None, class_name="Strange", registered_name="theirs>Strange")


def vast_layer(layers: dict, config: dict, units: int = 10**12) -> None:
    layers["logits"]["config"].update(units=units)


ASKING: dict[str, Callable[[dict, dict], None]] = {
    "a lambda in place of an activation (CVE-2024-3660)": lambda layers, config: layers["conv"]["config"].update(
        activation={"class_name": "__lambda__", "config": {"value": "4wAAAA==", "defaults": None, "closure": None}}
    ),
    "subprocess.Popen (CVE-2025-1550)": calling("subprocess", "Popen", {"args": ["touch", "MARKER"]}),
    "os.system (CVE-2025-1550)": activated("os", "system"),
    "a class of another library": layer("mlflow.pyfunc", "PythonModel"),
    "keras.utils.get_file (CVE-2025-8747)": activated("keras.utils", "get_file"),
    "keras.saving.load_model": calling("keras.saving", "load_model", {"filepath": "MARKER"}),
    "unsafe deserialization (CVE-2025-9906)": calling("keras.config", "enable_unsafe_deserialization", {}),
    "the same as a function": activated("keras.config", "enable_unsafe_deserialization"),
    "a function that finds others": activated("keras.activations", "get"),
    "modules inside Keras": activated("keras.src.utils.file_utils.os", "system"),
    "a vocabulary from a file (CVE-2025-12058)": layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
    "a vocabulary from an address": layer("keras.layers", "TextVectorization", vocabulary="http://127.0.0.1:9/x"),
    "a SavedModel": layer("keras.layers", "TFSMLayer", filepath="/tmp/model"),
    "a module of PyTorch": layer("keras.layers", "TorchModuleWrapper", module="UEsD"),
    "a function of JAX": layer("keras.layers", "JaxLayer", call_fn=function("os", "system")),
    "a class without its module": layer(None, "Lambda", function="x"),
    "what is nested compiles with": compiled_inside,
    "what others have registered": registered_elsewhere,
}
"""Configurations. MARKER stands for a file that is there once something has been executed."""


def external(weights: h5py.File) -> None:
    del weights["layers/conv2d/vars/0"]
    weights["layers/conv2d/vars"].create_dataset("0", (3, 3, 1, 3), "f4", external=[("/etc/passwd", 0, 108)])


def virtual(weights: h5py.File) -> None:
    del weights["layers/conv2d/vars/0"]
    layout = h5py.VirtualLayout((3, 3, 1, 3), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "secret", (3, 3, 1, 3), "f4")
    weights["layers/conv2d/vars"].create_virtual_dataset("0", layout)


def linked(link: object) -> Callable[[h5py.File], None]:
    def change(weights: h5py.File) -> None:
        del weights["layers/conv2d/vars/0"]
        weights["layers/conv2d/vars"]["0"] = link

    return change


def vast(weights: h5py.File) -> None:
    weights.create_dataset("vast", (2**20, 2**20), "f4", chunks=(1024, 1024), compression="gzip")


WEIGHTS: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "external storage": (external, "lie in other files"),
    "a virtual dataset": (virtual, "lie in other files"),
    "an external link": (linked(h5py.ExternalLink("/tmp/other.h5", "/secret")), "have a link"),
    "a soft link": (linked(h5py.SoftLink("/layers")), "have a link"),
    "much of nothing": (vast, "would take 4,194,304 MiB in memory"),
}
"""Weights, and words of what is said of them."""


def faults() -> dict[str, Callable[[Path], list[str]]]:
    """Those of networks as :mod:`benchmarks.fuzzing.faults` has others: each is the source of a transfer."""
    made = {f"network: {what}": partial(_asking, change) for what, change in ASKING.items()}
    made |= {f"network: weights, {what}": partial(_elsewhere, change) for what, (change, _) in WEIGHTS.items()}
    made["network: a layer of 1,000,000,000,000 units"] = partial(_asking, vast_layer)
    made["network: a Lambda layer"] = lambda place: with_lambda(place, Path("/tmp/out-executed"))
    return {what: partial(_transfer, make) for what, make in made.items()}


def _asking(change: Callable[[dict, dict], None], place: Path) -> Path:
    content = parts(with_config(place, harmless(place), change))
    return packed(place, {name: part.replace(b"MARKER", b"/tmp/out-executed") for name, part in content.items()})


def _elsewhere(change: Callable[[h5py.File], None], place: Path) -> Path:
    return with_weights(place, harmless(place), change)


def _transfer(make: Callable[[Path], Path], folder: Path) -> list[str]:
    place = make(folder / "network.keras")
    return ["transfer", "--source.file", str(place), "--data.name", "digits", "--epochs", "3"]
