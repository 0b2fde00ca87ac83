"""What a served model is asked, by anybody who reaches its port: read, checked, answered."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from data.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.servable import Servable

KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records")
"""Under which MLflow's protocol has the inputs."""


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
        if values.dtype.kind in "OUS":
            values = self._decoded(values) if self.model.kind == "images" else _texts(values)
        elif self.model.kind == "images":
            values = _pixels(values)
        with self._one:
            return self.model.predict(values)

    def _decoded(self, values: np.ndarray) -> np.ndarray:
        """Pixels of images in base64."""
        images = []
        for number, text in enumerate(values.ravel().tolist(), start=1):
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
    values = np.asarray(given)
    if not values.ndim or not len(values):
        raise BadInput("holds no input", "inputs", "send a list with one input for each answer")
    return values


def _column(table: pd.DataFrame) -> np.ndarray:
    if len(table.columns) != 1:
        raise BadInput(f"has {len(table.columns)} columns", "table", "send one column, or a list as inputs")
    return table.iloc[:, 0].to_numpy(dtype=object)


def _texts(values: np.ndarray) -> np.ndarray:
    if values.ndim != 1:
        raise BadInput("is nested", "inputs", "send a flat list of texts")
    return values


def _pixels(values: np.ndarray) -> np.ndarray:
    """Integers as JSON has them, which are of 64 bits, as bytes."""
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise BadInput("holds other numbers than pixels", "inputs", "send integers from 0 to 255")
    return values.astype(np.uint8)
