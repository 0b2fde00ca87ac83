"""The recorded model, usable anywhere: raw input in; probabilities, or reconstructions, out.

MLflow loads it by :func:`_load_pyfunc`. Its folder holds ``model.keras`` (float32) and ``servable.json`` (what goes in,
what comes out, class names). Nothing in it is pickled or executed. In a fresh process MLflow puts the copy of our
packages that was recorded with the model on the path; importing :mod:`models` registers the layers that Keras needs to
read the file.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from data import pictures, text
from data.errors import BadInput, reason
from data.spec import Spec

BATCH = 500
"""Inputs that are computed together, at most; fewer where they are large."""

VALUES = BATCH * 64 * 64 * 3
"""Pixels times channels of these, at most."""


def save(folder: Path, network: object, description: dict) -> None:
    """Write a servable: a Keras model that takes raw inputs, and what is to be known about it.

    Args:
        folder: where to.
        network: float32 ``keras.Model``, raw inputs, or numbers of characters, to raw outputs.
        description: ``input``, one of :data:`INPUTS`; ``output``, one of :data:`OUTPUTS`; ``classes``; and what the
            input needs: ``shape`` and ``resize``, or ``vocabulary``, ``fold``, ``longest``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder / "model.keras")
    (folder / "servable.json").write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")


_trusted = ContextVar("trusted", default=False)


@contextmanager
def trusting() -> Iterator[None]:
    """Let a model that MLflow loads in the block carry code of its own."""
    before = _trusted.set(True)
    try:
        yield
    finally:
        _trusted.reset(before)


def _load_pyfunc(path: str) -> Servable:
    return Servable(Path(path), _trusted.get())


class Servable:
    """A trained model."""

    def __init__(self, folder: Path, trust: bool = False, called: str = "") -> None:
        """Load it.

        Args:
            folder: what :func:`save` wrote.
            trust: whether its network may carry code.
            called: what to call it where that is not its folder.

        Raises:
            BadInput: the files are missing, can't be read, or ask for more than a network needs.
        """
        try:
            self._load(folder, trust, called)
        except BadInput:
            raise
        except Exception as error:  # whatever Keras raises at layers that it does not know, or knows otherwise
            do = "is it complete, and recorded by code like this? if not, and you trust whoever made it: --trust"
            raise BadInput(f"can't be loaded ({reason(error)})", called or folder, do) from None

    def _load(self, folder: Path, trust: bool, called: str) -> None:
        import keras

        import models

        models.import_all()
        self.description = json.loads((folder / "servable.json").read_text(encoding="utf-8"))
        if trust:
            self.network = keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=False)
        else:
            from models import safety  # not at the top: copies of our code that older models carry have none

            self.network = safety.opened(folder / "model.keras", called)
        self.classes = tuple(self.description["classes"])
        self.kind = self.description.get("input", "images")  # once there were images only
        self.classifies = self.description["output"] == "softmax"
        self.read = INPUTS[self.kind](self.description)
        """What makes the network's inputs out of an array of raw ones."""
        self._finish = OUTPUTS[self.description["output"]]

    def predict(self, model_input: object, params: dict | None = None) -> np.ndarray:
        """Probabilities, float32 (N, classes); of an autoencoder, images on the scale 0 to 255, float32 (N, H, W, C).

        Args:
            model_input: raw pixels, uint8 (N, H, W, C); or paths of image files, or base64 of such files; for a model
                of texts the texts; in a list, an array, a column of a DataFrame.
            params: not used; MLflow passes it.

        Raises:
            BadInput: the input has another form.
        """
        import keras

        inputs = self.read(np.asarray(getattr(model_input, "values", model_input)))
        if not len(inputs):
            return np.zeros((0, *self.network.output_shape[1:]), np.float32)
        count = max(1, min(BATCH, VALUES // inputs[0].size))
        parts = [
            keras.ops.convert_to_numpy(self.network.predict_on_batch(inputs[start : start + count]))
            for start in range(0, len(inputs), count)
        ]
        return self._finish(np.concatenate(parts))

    def get_raw_model(self) -> Servable:
        """What MLflow's own wrapper hands out; without its check of the signature."""
        return self


class ImageInput:
    """Images of one size."""

    trusting = True
    """Whether a text may be the path of a file of this machine."""

    def __init__(self, description: dict) -> None:
        self.shape = tuple(description["shape"])
        self.resize = description.get("resize", "crop")  # which was once the only way

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Pixels, uint8 (N, H, W, C)."""
        if values.dtype == object or values.dtype.kind in "US":
            images = [self._decode(value) for value in _strings(values, "give uint8 images, paths or base64")]
            return np.stack(images) if images else np.zeros((0, *self.shape), np.uint8)
        if values.ndim != 4 or values.shape[1:] != self.shape or values.dtype != np.uint8:
            what = f"is {values.dtype} {values.shape}, not uint8 (N, {', '.join(map(str, self.shape))})"
            raise BadInput(what, "input", "give raw pixels 0 to 255")
        return values

    def _decode(self, text: str) -> np.ndarray:
        """An image file, by its path or its bytes in base64, as pixels of the model's size."""
        try:
            source = text if self.trusting and _is_file(text) else _from_base64(text)
            return pictures.pixels(source, self.shape, self.resize)
        except (OSError, ValueError) as error:
            raise BadInput(f"is no image ({reason(error)})", text[:60], "give a path or base64 of a file") from None


class TextInput:
    """Short texts."""

    def __init__(self, description: dict) -> None:
        vocabulary = tuple(description["vocabulary"])
        known = {"fold": description["fold"], "longest": description["longest"], "vocabulary": vocabulary}
        self.spec = Spec(kind="text", classes=tuple(description["classes"]), **known)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Numbers of their characters, int32 (N, length)."""
        found = _strings(values, "give texts")
        for number, one in enumerate(found, 1):
            text.check(one, f"text {number} of {len(found)}")
        texts = np.asarray(found, dtype=str)
        empty = [number for number, one in enumerate(texts) if not one.strip()]
        if empty:
            raise BadInput("is empty", f"text {empty[0] + 1} of {len(texts)}", "leave it out")
        return text.encode(texts, self.spec)


def _strings(values: np.ndarray, do: str) -> list[str]:
    found = values.ravel().tolist()
    if not all(isinstance(value, str) for value in found):
        raise BadInput("has another form", "input", do)
    return found


def _is_file(text: str) -> bool:
    """Whether it is a file's path; base64 may be too long for one."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _from_base64(text: str) -> io.BytesIO:
    try:
        return io.BytesIO(base64.b64decode(text, validate=True))
    except binascii.Error:
        raise ValueError("neither a file nor base64") from None


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (N, classes)."""
    from scipy.special import softmax as along

    return along(np.asarray(logits, np.float32), axis=-1)


def _sigmoid_pixels(logits: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return 255 * expit(np.asarray(logits, np.float32))


INPUTS = {"images": ImageInput, "text": TextInput}
"""What makes a network's inputs out of raw ones."""

OUTPUTS = {"softmax": softmax, "identity": lambda shares: 255 * shares, "sigmoid": _sigmoid_pixels}
"""What makes the model's outputs out of its network's: logits of classes, pixels on the scale 0 to 1, their logits."""
