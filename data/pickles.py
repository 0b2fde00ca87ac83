"""Pickles of CIFAR's kind, without executing anything in them.

NumPy's own functions are kept from a pickle, too: with a type that it describes at will, an array takes any bytes for
addresses of objects.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path

import numpy as np

from data.errors import BadInput, reason

KINDS = {"u1", "i4", "i8"}
"""Types of arrays that are read: images, and labels where they are an array."""


class _Type:
    """Stands for a NumPy type."""

    __slots__ = ("name", "order")

    def __init__(self, name: bytes | str, *_: object) -> None:
        self.name = name.decode() if isinstance(name, bytes) else name
        self.order = "="
        if self.name not in KINDS:
            raise pickle.UnpicklingError("it holds an array of something else than integers")

    def __setstate__(self, state: tuple) -> None:
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        self.order = {"|": "=", "<": "<", ">": ">", "=": "="}[order]


class _Array:
    """Stands for a NumPy array."""

    __slots__ = ("values",)

    def __init__(self, *_: object) -> None:
        self.values = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, content = state
        kind = np.dtype(kind.order + kind.name)
        if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(content):
            raise pickle.UnpicklingError("it holds an array whose shape and bytes do not agree")
        self.values = np.frombuffer(content, kind).reshape(shape, order="F" if by_columns else "C")


KNOWN = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}
"""All names that a pickled dictionary of arrays needs."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a batch of images does not need")
        return KNOWN[module, name]


def read(content: bytes, path: Path) -> dict:
    """A Python 2 pickle of a dictionary of arrays, lists, numbers and strings (keys are bytes).

    Raises:
        BadInput: the pickle is damaged or asks for anything else, which is then not executed.

    """
    try:
        _check_size(content)
        value = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a hostile pickle can raise anything
        raise BadInput(f"holds a pickle that is not read ({reason(error)})", path, "use another copy") from None
    if not isinstance(value, dict):
        raise BadInput("holds a pickle of something else than a batch", path, "use another copy")
    return {key: item.values if isinstance(item, _Array) else item for key, item in value.items()}


def _check_size(content: bytes) -> None:
    """Refuse what claims memory that its bytes do not fill: a place in the memo, for one, costs all places before."""
    for code, argument, _ in pickletools.genops(content):
        if "PUT" in code.name and argument > len(content):
            raise pickle.UnpicklingError(f"it numbers an object {argument}")
