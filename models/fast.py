"""A small network that learns fast (placeholder until settings are final)."""

from __future__ import annotations

from dataclasses import dataclass

from models.base import Model


@dataclass(frozen=True)
class FastNetwork(Model):
    """Fast."""

    whitening: int = 2
    widths: tuple[int, ...] = (64, 256, 256)
    activation: str = "relu"
    momentum: float = 0.6
    head_scale: float = 1.0 / 9.0

    def build(self, spec):
        import keras

        from models import layers as own

        inputs = keras.Input(spec.shape, dtype="uint8")
        x = own.PatchWhitening(self.whitening)(inputs)
        x = keras.layers.Activation(self.activation)(x)
        for w in self.widths:
            for first in (True, False):
                x = keras.layers.Conv2D(w, 3, padding="same", use_bias=False)(x)
                if first:
                    x = keras.layers.MaxPooling2D(2)(x)
                x = own.BatchShift(self.momentum)(x)
                x = keras.layers.Activation(self.activation)(x)
        x = keras.layers.GlobalMaxPooling2D()(x)
        x = keras.layers.Dense(len(spec.classes), use_bias=False, dtype="float32", name="logits")(x)
        x = keras.layers.Rescaling(self.head_scale, dtype="float32")(x)
        return keras.Model(inputs, x)
