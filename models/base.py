"""What all architectures have in common; importable without keras, so that ``--help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import keras

    from data.spec import Spec


@dataclass(frozen=True)
class Model:
    """Hyperparameters of an architecture."""

    task: ClassVar[str] = "classification"
    """What it is for: classification (of images), sequence (classification of texts), autoencoding."""

    small_operations: ClassVar[bool] = False
    """Whether its operations are so small that on a CPU threads are better spent on several of them than on one."""

    def build(self, spec: Spec) -> keras.Model:
        """The untrained network.

        For images raw pixels 0 to 255 in, shape (N, *spec.shape); for texts the numbers of their characters, int32
        (N, length), see :mod:`data.text`. Classifiers have float32 logits out, (N, classes).

        Raises:
            BadInput: the architecture does not fit the data.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Regularized(Model):
    """Choices that most architectures share, by their Keras names."""

    activation: str = "relu"
    initializer: str = "he_normal"
    dropout: float = 0.0
    """Share of the units left out at each step, before each fully connected layer but the first."""
    batch_normalization: bool = False
    l1: float = 0.0
    """L1 penalty on weights; with l2 the two are added."""
    l2: float = 0.0
    """L2 penalty on weights."""

    def kernel(self) -> dict:
        """Keyword arguments of a layer's weights: their initializer and their penalty."""
        import keras

        penalized = self.l1 or self.l2
        penalty = keras.regularizers.L1L2(l1=self.l1, l2=self.l2) if penalized else None
        return {"kernel_initializer": self.initializer, "kernel_regularizer": penalty}

    def activate(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Batch normalization if there is any, then the activation."""
        import keras

        if self.batch_normalization:
            x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
        return keras.layers.Activation(self.activation, name=f"{name}_{self.activation}")(x)

    def hidden(self, x: keras.KerasTensor, units: int, name: str) -> keras.KerasTensor:
        """A fully connected layer: weights, batch normalization, activation, dropout."""
        import keras

        # Batch normalization's own shift makes a bias superfluous.
        x = keras.layers.Dense(units, use_bias=not self.batch_normalization, name=name, **self.kernel())(x)
        x = self.activate(x, name)
        return keras.layers.Dropout(self.dropout, name=f"{name}_dropout")(x) if self.dropout else x

    def logits(self, x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        """The last layer, in float32 also under mixed precision; the loss applies the softmax."""
        import keras

        return keras.layers.Dense(classes, dtype="float32", name="logits", **self.kernel())(x)


def images(spec: Spec) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input of raw pixels, and the same with each channel at mean 0 and deviation 1 over the training set."""
    import keras

    pixels = keras.Input(spec.shape, dtype="uint8", name="pixels")
    mean = [255 * value for value in spec.mean]
    variance = [(255 * value) ** 2 for value in spec.deviation]
    return pixels, keras.layers.Normalization(mean=mean, variance=variance, name="standardize")(pixels)
