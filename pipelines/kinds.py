"""What differs between the kinds of data, whatever the task: images and texts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from data import text
from data.errors import BadInput
from pipelines.augmentation import Augmentation

if TYPE_CHECKING:
    import keras

    from data.spec import Split, Splits
    from pipelines.settings import Recipe


class Images:
    """What the tasks on images have in common."""

    kind = "images"

    def __init__(self, recipe: Recipe, splits: Splits) -> None:
        self.recipe, self.splits, self.spec = recipe, splits, splits.spec
        self.augmentation = recipe.augmentation or Augmentation()
        self.seen = replace(self.spec, shape=self.augmentation.view_shape(self.spec.shape))

    def lengths(self, split: Split) -> None:
        """Images have none."""

    def on_raw(self, network: keras.Model) -> keras.Model:
        """Resizing and the middle patch before the network, where training had them."""
        import keras

        raw, view = self.spec.shape, self.seen.shape
        if raw == view:
            return network
        pixels = keras.Input(raw, dtype="uint8", name="raw_pixels")
        side = self.augmentation.resize
        x = keras.layers.Resizing(side, side, name="resize")(pixels) if side else pixels
        # Not said, it is taken for training, and so are the layers after it where whoever calls the whole does not say.
        x = keras.layers.CenterCrop(*view[:2], name="middle_patch")(x, training=False)
        return keras.Model(pixels, network(x), name=f"{network.name}_on_raw_pixels")

    def serving(self) -> dict[str, object]:
        """Pixels of this shape, and how those of a file get it."""
        resize = self.recipe.data.resize
        return {"input": "images", "shape": list(self.spec.shape), "resize": resize, "classes": list(self.spec.classes)}


class Texts:
    """What the tasks on texts have in common."""

    kind = "text"

    def __init__(self, recipe: Recipe, splits: Splits) -> None:
        import keras

        if recipe.augmentation is not None:
            raise BadInput("works on images only", "--augmentation", "set it to None")
        if any(stage.image_size for stage in recipe.stages):
            raise BadInput("works on images only", "--stages.0.image-size", "set it to 0 in all stages")
        self.recipe, self.splits = recipe, splits
        self.spec = self.seen = splits.spec
        # JAX compiles a network anew for each length.
        self.multiple = 4 if keras.backend.backend() == "jax" else 1

    def encoded(self, raw: np.ndarray) -> np.ndarray:
        """Texts as numbers of their characters."""
        return text.encode(raw, self.spec, self.multiple)

    def lengths(self, split: Split) -> np.ndarray:
        """Characters of each text."""
        return text.lengths(split.inputs[np.arange(len(split))], self.spec)

    def on_raw(self, network: keras.Model) -> keras.Model:
        """The network: characters are numbered outside it."""
        return network

    def serving(self) -> dict[str, object]:
        """How texts become numbers."""
        spec = self.spec
        encoding = {"vocabulary": list(spec.vocabulary), "fold": spec.fold, "longest": spec.longest}
        return {"input": "text", **encoding, "classes": list(spec.classes)}
