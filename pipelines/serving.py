"""What a served model is asked, by anybody who reaches its port: read, checked, answered."""

from __future__ import annotations

import base64
import io
import threading
from typing import TYPE_CHECKING

import numpy as np

from data import pictures
from data.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.servable import Servable

COUNT = 20_000
"""Inputs of a request."""

PIXELS = 2**27
"""Of all images of a request in base64: 134 million, eleven photographs, take up to 6 s and 700 MB. A few KB can claim
them."""


class Served:
    """A model that trusts nobody."""

    def __init__(self, model: Servable) -> None:
        """Take a model into service: no path of a file is followed from now on."""
        self.model = model
        if model.kind == "images":
            model.read.trusting = False
        self._one = threading.Lock()  # requests are answered by threads; a network computes with all cores anyway

    def answer(self, given: object) -> np.ndarray:
        """Probabilities, or images on the scale 0 to 255.

        Args:
            given: what MLflow makes of a request: an array, a list or a table.

        Raises:
            BadInput: it is not what the model takes.
        """
        values = _values(given)
        if self.model.kind != "images":
            values = _texts(values)
        else:
            values = self._decoded(values) if values.dtype.kind in "OUS" else _pixels(values)
        with self._one:
            return self.model.predict(values)

    def _decoded(self, values: np.ndarray) -> np.ndarray:
        """Pixels of images in base64."""
        texts, images = values.ravel().tolist(), []
        if not all(isinstance(text, str) for text in texts):
            raise BadInput("holds more than texts", "inputs", "send the bytes of image files in base64")
        claimed = sum(map(_claimed, texts))
        if claimed > PIXELS:
            raise BadInput(f"claim {claimed:,} pixels", "images", f"send {PIXELS:,} at most at once")
        for number, text in enumerate(texts, start=1):
            try:
                images.append(self.model.read(np.array([text], dtype=object))[0])
            except BadInput:  # without its reason, which could tell of files here
                where = f"input {number} of {values.size}"
                raise BadInput("is no image", where, "send the bytes of an image file in base64") from None
        return np.array(images)


def _values(given: object) -> np.ndarray:
    """One value for each input."""
    if hasattr(given, "columns"):
        given = _column(given)
    if isinstance(given, dict) and len(given) == 1:
        given = next(iter(given.values()))
    if not isinstance(given, list | np.ndarray):
        raise BadInput("is no list", "inputs", "send a list with one input for each answer")
    try:
        values = np.asarray(given)
    except ValueError:
        raise BadInput("is ragged", "inputs", "send inputs of one shape") from None
    if not values.ndim or not values.size:
        raise BadInput("holds no input", "inputs", "send a list with one input for each answer")
    if len(values) > COUNT:
        raise BadInput(f"holds {len(values):,} inputs", "inputs", f"send {COUNT:,} at most at once")
    return values


def _claimed(text: str) -> int:
    """Pixels that an image in base64 says it has."""
    try:
        size = pictures.look(io.BytesIO(base64.b64decode(text)))
    except ValueError:
        return 0
    return size[0] * size[1] if size else 0


def _column(table: pd.DataFrame) -> np.ndarray:
    if len(table.columns) != 1:
        raise BadInput(f"has {len(table.columns)} columns", "table", "send one column, or a list as inputs")
    return table.iloc[:, 0].to_numpy(dtype=object)


def _texts(values: np.ndarray) -> np.ndarray:
    if values.ndim != 1 or values.dtype.kind not in "OUS":
        raise BadInput("is no flat list of texts", "inputs", "send one")
    return values


def _pixels(values: np.ndarray) -> np.ndarray:
    """Integers as JSON has them, which are of 64 bits, as bytes."""
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise BadInput("holds other numbers than pixels", "inputs", "send integers from 0 to 255")
    return values.astype(np.uint8)
