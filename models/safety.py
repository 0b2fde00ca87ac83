"""What a file of a trained network asks for, looked at before Keras reads it: such files come from anywhere.

A .keras file names the classes and functions that Keras is to call, and its HDF5 file of weights can name other files
of this machine. Let through is what nothing can be done with but a network: a zip of what Keras writes, Keras' own
layers and what they are made of, our layers, and weights that lie in the file itself. Keras' safe mode stays on.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from data.errors import BadInput

if TYPE_CHECKING:
    import keras

TRUST = "if you trust whoever made it: --trust"
"""What to do where a file asks for more; see the README."""

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
PARTS = {CONFIG, "metadata.json", WEIGHTS}
"""Of a .keras file; beside them ``assets/``, vocabularies."""

EXPANSION, FLOOR = 100, 64 * 2**20
"""A part, or all arrays of weights, may claim so many times the bytes that are stored for them, or so many bytes."""

SPARE = 2**20
"""Weights that a network may have beyond those in its file, which leaves some states out."""

PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
"""Values that JSON has no word for."""

CODE = ("layers.Lambda", "layers.TFSMLayer", "layers.TorchModuleWrapper", "layers.JaxLayer", "layers.FlaxLayer")
CODE += ("utils.FeatureSpace",)
"""Layers, below ``keras``, that call what their file, or another one, brings."""

KINDS = ("Operation", "Initializer", "Regularizer", "Loss", "Metric", "Optimizer", "Quantizer", "DTypePolicy")
KINDS += ("constraints.Constraint", "optimizers.schedules.LearningRateSchedule")
"""Base classes, below ``keras``, of what a network is made of; layers and networks are operations."""

HOMES = ("layers", "initializers", "regularizers", "constraints", "activations", "losses", "metrics", "optimizers")
"""Modules below ``keras`` whose functions take and give tensors, and that names without a module are from."""


class _Refused(Exception):  # noqa: N818
    """What a file asks for, more than a network needs."""


@contextmanager
def _refusing(where: object) -> Iterator[None]:
    try:
        yield
    except _Refused as error:
        raise BadInput(str(error), where, TRUST) from None


def opened(path: Path, called: str = "") -> keras.Model:
    """The network of a .keras file that has been looked at.

    Args:
        path: its.
        called: what to call it where that is not its path.

    Raises:
        BadInput: it asks for more than a network needs.
        Exception: whatever Keras raises at a file that is damaged, or holds something else.
    """
    import keras

    values = check(path, called)
    with _refusing(called or path), _making_at_most(values):
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def check(path: Path, called: str = "") -> int:
    """Look at a .keras file; returns how many values its arrays of weights hold.

    Args:
        path: its.
        called: what to call it where that is not its path.

    Raises:
        BadInput: it asks for more than a network needs.
        Exception: whatever reading a damaged one raises.
    """
    if Path(path).suffix != ".keras":  # by another ending Keras would take another way to read it
        raise ValueError("its name does not end in .keras")
    with _refusing(called or path), zipfile.ZipFile(path) as archive:
        _check_members(archive)
        config = json.loads(archive.read(CONFIG))
        config.pop("compile_config", None)  # for training, which nobody goes on with from here
        _check_config(config)
        return _check_weights(io.BytesIO(archive.read(WEIGHTS)))


def check_weights(path: Path) -> None:
    """Look at a file of weights.

    Raises:
        BadInput: it refers to other files.
        Exception: whatever reading a damaged one raises.
    """
    if Path(path).suffix != ".h5":
        raise ValueError("its name does not end in .h5")
    with _refusing(path), Path(path).open("rb") as file:
        _check_weights(file)


def _check_members(archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise _Refused("it holds a part twice, which Keras does not write")
    for name in names:
        place = PurePosixPath(name)
        asset = place.parts[:1] == ("assets",) and ".." not in place.parts and "\\" not in name
        if name not in PARTS and not asset:
            raise _Refused(f"it holds {_quoted(name)}, which Keras does not write")
    for info in archive.infolist():
        _check_size(f"its {info.filename}", info.file_size, info.compress_size)


def _check_size(what: str, claimed: int, stored: int) -> None:
    if claimed > max(FLOOR, EXPANSION * stored):
        raise _Refused(f"{what} would take {claimed / 2**20:,.0f} MiB in memory, of {stored / 2**20:,.1f} in the file")


def _check_config(config: object) -> None:
    """Look at everything that is to be made: Keras finds it by these names."""
    for item, name in _dictionaries(config):
        where = f"its layer {_quoted(name)}" if name else "it"
        if "class_name" in item and item["class_name"] not in PLAIN:
            _check_class(item, where)
        for key in ("vocabulary", "idf_weights"):
            if isinstance(item.get(key), str):
                raise _Refused(f"{where} reads the file {_quoted(item[key])} of this machine")


def _dictionaries(config: object) -> Iterator[tuple[dict, str]]:
    """All dictionaries in it, each with the name of what it is part of."""
    waiting = [(config, "")]
    while waiting:
        item, name = waiting.pop()
        if isinstance(item, dict):
            inner = item.get("config")
            own = (inner.get("name") if isinstance(inner, dict) else None) or item.get("name")
            name = own if isinstance(own, str) and "class_name" in item else name
            yield item, name
            item = list(item.values())
        if isinstance(item, list):
            waiting += [(part, name) for part in item]


def _check_class(item: dict, where: str) -> None:
    """Look at what one dictionary names, as Keras looks it up: what is registered first, then by module and name."""
    import keras

    name, module = item["class_name"], item.get("module")
    wanted = item.get("config") if name == "function" else name
    registered = keras.saving.get_custom_objects().get(item.get("registered_name", name))
    if registered is not None:
        found = [registered] if _is_ours(registered) else [None]
    elif module and module != "builtins":
        found = [_of_keras(module, wanted)]
    else:
        found = [_of_keras(f"keras.{home}", wanted) for home in HOMES] + [_of_keras("keras", wanted)]
        found = [one for one in found if one is not None] or [None]
    kinds, carrying = (tuple(_of_keras("keras", one) for one in names) for names in (KINDS, CODE))
    for one in found:
        if name == "__lambda__" or (isinstance(one, type) and issubclass(one, carrying)):
            raise _Refused(f"{where} is a {name.strip('_')}, which carries code")
        is_class = isinstance(one, type) and name != "function" and issubclass(one, kinds)
        is_function = isinstance(one, FunctionType) and name == "function" and _is_tensors(module, wanted)
        if not (is_class or is_function):
            full = ".".join(str(part) for part in (module, wanted) if part)
            raise _Refused(f"{where} asks for {_quoted(full)}, which is no part of a network that is known here")


def _is_ours(registered: object) -> bool:
    return getattr(registered, "__module__", "").split(".")[0] in ("models", "pipelines")


def _is_tensors(module: object, name: object) -> bool:
    """Whether a function takes and gives tensors, as all in these modules do but those that look others up."""
    homes = (None, "builtins", "keras.ops", *(f"keras.{home}" for home in HOMES))
    return module in homes and name not in ("get", "serialize", "deserialize")


def _of_keras(module: object, name: object) -> object:
    """What Keras has under a name, through its own modules alone; importing and running nothing."""
    import keras

    parts = f"{module}.{name}".split(".")
    found: object = keras if parts[0] == "keras" else None
    for part in parts[1:]:
        inside = isinstance(found, ModuleType) and found.__name__.split(".")[0] == "keras"
        found = vars(found).get(part) if inside else None
    return found


def _check_weights(file: io.BufferedIOBase) -> int:
    """Look at an HDF5 file: its parts can be links to other files, or lie in them. Returns how many values it holds."""
    import h5py

    stored = file.seek(0, io.SEEK_END)
    file.seek(0)
    found: list[tuple[str, object]] = []
    with h5py.File(file, "r") as weights:
        weights.visititems_links(lambda *one: found.append(one))
        for name, link in found:
            if not isinstance(link, h5py.HardLink):
                raise _Refused(f"its weights have a link {_quoted(name)} to something else")
        arrays = [part for name, _ in found if isinstance(part := weights[name], h5py.Dataset)]
        for array in arrays:
            if array.is_virtual or array.external:
                raise _Refused(f"its weights {_quoted(array.name)} lie in other files")
        _check_size("its weights", sum(array.nbytes for array in arrays), stored)
        return sum(array.size for array in arrays)


@contextmanager
def _making_at_most(values: int) -> Iterator[None]:
    """Let layers make no more weights than a file holds values: a word in its configuration can ask for any number."""
    import keras

    make, made = keras.layers.Layer.add_weight, 0

    def counted(layer: keras.layers.Layer, shape: tuple | None = None, *args: object, **named: object) -> object:
        nonlocal made
        made += math.prod(shape or ())
        if made > values + SPARE:
            raise _Refused
        return make(layer, shape, *args, **named)

    keras.layers.Layer.add_weight = counted
    try:
        yield
    except Exception:  # Keras puts its own words around what a layer raises
        if made <= values + SPARE:
            raise
        raise _Refused(f"its layers would have {made:,} weights or more, and it holds {values:,}") from None
    finally:
        keras.layers.Layer.add_weight = make


def _quoted(text: object) -> str:
    """What a stranger wrote: short, and harmless to a terminal."""
    return ascii(str(text)[:80])
