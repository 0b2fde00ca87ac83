"""LeNet-5 and AlexNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from data.errors import BadInput
from models.base import Regularized, images

if TYPE_CHECKING:
    import keras

    from data.spec import Spec


@dataclass(frozen=True)
class LeNet5(Regularized):
    """LeNet-5 (LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, section II.B).

    Two convolutions of 5x5, each followed by pooling, and two fully connected layers. Every map of the second
    convolution sees all maps of the first one, and the output is a softmax layer instead of radial basis
    functions. The paper's images have 32x32 pixels: smaller ones are padded, and below 20 enlarged.
    """

    activation: str = "tanh"
    initializer: str = "glorot_uniform"
    filters: tuple[int, int] = (6, 16)
    units: tuple[int, ...] = (120, 84)
    pooling: Literal["average", "max"] = "average"

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        pixels, x = images(spec)
        x = self._at_least_32(x, spec)
        pool = keras.layers.AveragePooling2D if self.pooling == "average" else keras.layers.MaxPooling2D
        for number, filters in enumerate(self.filters, 1):
            x = keras.layers.Conv2D(
                filters, 5, use_bias=not self.batch_normalization, name=f"conv_{number}", **self.kernel()
            )(x)
            x = self.activate(x, f"conv_{number}")
            x = pool(2, name=f"pool_{number}")(x)
        x = keras.layers.Flatten(name="flatten")(x)
        for number, units in enumerate(self.units, 1):
            x = self.hidden(x, units, f"hidden_{number}")
        return keras.Model(pixels, self.logits(x, len(spec.classes)), name="lenet5")

    @staticmethod
    def _at_least_32(x: keras.KerasTensor, spec: Spec) -> keras.KerasTensor:
        import keras

        height, width, _ = spec.shape
        if min(height, width) < 20:
            return keras.layers.Resizing(32, 32, name="enlarge")(x)
        missing = [max(0, 32 - side) for side in (height, width)]
        padding = [(total // 2, total - total // 2) for total in missing]
        return keras.layers.ZeroPadding2D(padding, name="pad")(x) if any(missing) else x


@dataclass(frozen=True)
class AlexNet(Regularized):
    """AlexNet (Krizhevsky, Sutskever, Hinton, ImageNet Classification with Deep CNNs, NIPS 2012, section 3).

    Five convolutions and three fully connected layers with local response normalization, overlapping pooling,
    and dropout. The second, fourth and fifth convolution work in two groups, as they did on the paper's two
    GPUs; this gives the published 60 million parameters.

    Where the paper disagrees with itself: 11x11 filters at stride 4 do not fit 224 pixels. Padding by 1 and 2
    makes it 227, the first layer 55x55 and every later layer what the paper counts: 27x27x256 = 186,624,
    13x13x384 = 64,896 twice, 13x13x256 = 43,264. The first layer then has 55x55x96 = 290,400 neurons. The
    paper's 253,440 is 55x48x96, which is no square, and which no size of input gives.
    """

    initializer: str = "he_normal"
    dropout: float = 0.5
    units: tuple[int, ...] = (4096, 4096)

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        from models.parts.convolutional import LocalResponseNormalization

        if min(spec.shape[:2]) < 64:
            size = "x".join(map(str, spec.shape[:2]))
            raise BadInput(f"AlexNet does not fit images of {size}", "model", "set --augmentation.resize to 64 or more")
        pixels, x = images(spec)
        x = keras.layers.ZeroPadding2D(((1, 2), (1, 2)), name="pad")(x)
        x = self._convolution(x, 96, 11, "conv_1", strides=4, padding="valid")
        x = LocalResponseNormalization(name="response_1")(x)
        x = keras.layers.MaxPooling2D(3, 2, name="pool_1")(x)
        x = self._convolution(x, 256, 5, "conv_2", groups=2)
        x = LocalResponseNormalization(name="response_2")(x)
        x = keras.layers.MaxPooling2D(3, 2, name="pool_2")(x)
        x = self._convolution(x, 384, 3, "conv_3")
        x = self._convolution(x, 384, 3, "conv_4", groups=2)
        x = self._convolution(x, 256, 3, "conv_5", groups=2)
        x = keras.layers.MaxPooling2D(3, 2, name="pool_5")(x)
        x = keras.layers.Flatten(name="flatten")(x)
        for number, units in enumerate(self.units, 6):
            x = self.hidden(x, units, f"hidden_{number}")
        return keras.Model(pixels, self.logits(x, len(spec.classes)), name="alexnet")

    def _convolution(
        self, x: keras.KerasTensor, filters: int, size: int, name: str, groups: int = 1, **arguments: object
    ) -> keras.KerasTensor:
        """A convolution with its activation; groups are convolutions side by side, since not every backend
        has the gradient of a grouped one on a CPU.
        """  # fmt: skip
        import keras

        arguments = {"padding": "same", "use_bias": not self.batch_normalization, **self.kernel(), **arguments}
        if groups == 1:
            x = keras.layers.Conv2D(filters, size, name=name, **arguments)(x)
        else:
            parts = keras.ops.split(x, groups, axis=-1)
            convolved = [
                keras.layers.Conv2D(filters // groups, size, name=f"{name}_group_{number}", **arguments)(part)
                for number, part in enumerate(parts, 1)
            ]
            x = keras.layers.Concatenate(name=name)(convolved)
        return self.activate(x, name)
