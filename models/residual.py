"""Residual networks for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from data.errors import BadInput
from models.base import Regularized, images

if TYPE_CHECKING:
    import keras

    from data.spec import Spec


@dataclass(frozen=True)
class ResNet(Regularized):
    """ResNet for 32x32 images (He et al., Deep Residual Learning, arXiv 1512.03385, section 4.2).

    Depths 20, 32, 44, 56 and so on (6n + 2): three groups of n blocks of two 3x3 convolutions with 16, 32, 64
    filters, batch normalization everywhere, shortcuts without parameters (the paper's option A) or projections
    (option B).
    """

    depth: int = 20
    width: int = 16
    """Filters of the first group; doubled in each further one."""
    shortcut: Literal["identity", "projection"] = "identity"
    batch_normalization: bool = True
    l2: float = 1e-4

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        blocks = _blocks(self.depth, 2)
        pixels, x = images(spec)
        x = self.activate(self._convolution(x, self.width, 1, "stem"), "stem")
        for group in range(3):
            for number in range(blocks):
                stride = 2 if group and not number else 1
                x = self._block(x, self.width * 2**group, stride, f"group_{group + 1}_block_{number + 1}")
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(pixels, self.logits(x, len(spec.classes)), name=f"resnet{self.depth}")

    def _convolution(self, x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        import keras

        return keras.layers.Conv2D(
            filters, 3, stride, "same", use_bias=not self.batch_normalization, name=name, **self.kernel()
        )(x)

    def _block(self, x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        import keras

        from models.parts.convolutional import IdentityShortcut

        shortcut = x
        if stride > 1 and self.shortcut == "identity":
            shortcut = IdentityShortcut(filters, stride, name=f"{name}_shortcut")(x)
        elif stride > 1:
            shortcut = keras.layers.Conv2D(filters, 1, stride, name=f"{name}_shortcut", **self.kernel())(x)
        x = self.activate(self._convolution(x, filters, stride, f"{name}_conv_1"), f"{name}_conv_1")
        x = self._convolution(x, filters, 1, f"{name}_conv_2")
        if self.batch_normalization:
            x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
        x = keras.layers.Add(name=f"{name}_sum")([x, shortcut])
        return keras.layers.Activation(self.activation, name=f"{name}_{self.activation}")(x)


@dataclass(frozen=True)
class WideResNet(Regularized):
    """Wide residual network WRN-depth-widening (Zagoruyko, Komodakis, arXiv 1605.07146, table 1).

    Pre-activation blocks (He et al., arXiv 1603.05027): batch normalization and activation come before each
    3x3 convolution, dropout lies between the two. Depths 10, 16, 22, 28, 40 (6n + 4).
    """

    depth: int = 16
    widening: int = 4
    batch_normalization: bool = True
    l2: float = 5e-4

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        blocks = _blocks(self.depth, 4)
        pixels, x = images(spec)
        x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem", **self.kernel())(x)
        for group in range(3):
            for number in range(blocks):
                stride = 2 if group and not number else 1
                name = f"group_{group + 1}_block_{number + 1}"
                x = self._block(x, 16 * self.widening * 2**group, stride, name)
        x = self.activate(x, "last")
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(pixels, self.logits(x, len(spec.classes)), name=f"wrn_{self.depth}_{self.widening}")

    def _block(self, x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        import keras

        def convolve(x: keras.KerasTensor, size: int, stride: int, part: str) -> keras.KerasTensor:
            return keras.layers.Conv2D(
                filters, size, stride, "same", use_bias=False, name=f"{name}_{part}", **self.kernel()
            )(x)

        shortcut = x
        x = self.activate(x, f"{name}_first")
        if shortcut.shape[-1] != filters or stride > 1:
            shortcut = convolve(x, 1, stride, "shortcut")
        x = self.activate(convolve(x, 3, stride, "conv_1"), f"{name}_second")
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name=f"{name}_dropout")(x)
        return keras.layers.Add(name=f"{name}_sum")([convolve(x, 3, 1, "conv_2"), shortcut])


def _blocks(depth: int, other: int) -> int:
    """Blocks in each of the three groups of a network of 6n + ``other`` layers."""
    blocks, rest = divmod(depth - other, 6)
    if rest or blocks < 1:
        depths = ", ".join(str(6 * n + other) for n in (1, 2, 3, 4, 5))
        raise BadInput(f"depth {depth} is not 6n + {other}", "--model.depth", f"take one of {depths}, ...")
    return blocks
