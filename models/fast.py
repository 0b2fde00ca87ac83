"""A small convolutional network that learns fast, for images of about 32x32 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.errors import BadInput
from models.base import Model

if TYPE_CHECKING:
    import keras

    from data.spec import Spec


@dataclass(frozen=True)
class FastNetwork(Model):
    """Whitened patches, three blocks of two 3x3 convolutions, a linear layer on the pooled maps.

    After K. Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (arXiv 2404.00498, section 3): whitening by a
    layer that is computed from the data, batch normalization without scale, few filters first, small logits at the
    start. Rectifiers take the place of its GELU, which costs an eighth of the speed on a CPU (691, not 788 images/s).
    It takes images of any size, so that small ones can come first.
    """

    whitening: int = 2
    """Side of the whitened patches in pixels; 0: pixels are only brought to a range of about -2 to 2."""
    whitening_bias: bool = True
    """Whether the whitened patches get a bias that learns."""
    filters: tuple[int, ...] = (64, 256, 256)
    """Of the convolutions of each block; each block halves the side."""
    depth: int = 2
    """Convolutions of each block; from three on, a shortcut past all but the first (He et al., arXiv 1512.03385)."""
    identity: bool = False
    """Let the first filters of each convolution begin by handing their inputs on."""
    activation: str = "relu"
    momentum: float = 0.6
    """Part of the old statistics that batch normalization keeps at each step: low, since there are few steps."""
    deviation: float = 1.0
    """Standard deviation of what is normalized; with units that are not rectifiers it matters, since SiLU of 1.7 times
    the input is 1.7 GELU of it, nearly (Hendrycks, Gimpel, arXiv 1606.08415, section 2)."""
    logit_scale: float = 1 / 9
    """Factor on the logits."""

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        from models.parts.convolutional import PatchWhitening

        if self.depth < 1:
            raise BadInput(f"{self.depth} convolutions in a block", "--model.depth", "give 1 or more")
        smallest = 2 ** len(self.filters) + max(0, self.whitening - 1)
        if min(spec.shape[:2]) < smallest:
            size = "x".join(map(str, spec.shape[:2]))
            what = f"the fast network needs images of {smallest}x{smallest} or more, and these have {size}"
            raise BadInput(what, "model", "set --augmentation.resize 32")
        pixels = keras.Input((None, None, spec.shape[-1]), dtype="uint8", name="pixels")
        if self.whitening:
            x = PatchWhitening(self.whitening, use_bias=self.whitening_bias, name="whitening")(pixels)
            x = keras.layers.Activation(self.activation, name="whitening_activation")(x)
        else:
            x = keras.layers.Rescaling(1 / 64, offset=-2, name="rescaling")(pixels)
        for number, filters in enumerate(self.filters, 1):
            x = self._block(x, filters, f"block_{number}")
        x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
        x = keras.layers.Dense(len(spec.classes), use_bias=False, dtype="float32", name="head")(x)
        logits = keras.layers.Rescaling(self.logit_scale, dtype="float32", name="logits")(x)
        return keras.Model(pixels, logits, name="fast_network")

    def _block(self, x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        """Convolutions, each normalized; the first one is pooled, so that what follows has a quarter of the work."""
        import keras

        from models.parts.convolutional import BatchShift, HalvingMaxPooling, PartialIdentity, SmallMapConv2D

        begin = PartialIdentity() if self.identity else "glorot_uniform"
        shortcut = None
        for number in range(1, self.depth + 1):
            x = SmallMapConv2D(filters, kernel_initializer=begin, name=f"{name}_conv_{number}")(x)
            if number == 1:
                x = HalvingMaxPooling(name=f"{name}_pool")(x)
            x = BatchShift(self.momentum, self.deviation, name=f"{name}_norm_{number}")(x)
            if number == self.depth and self.depth > 2:
                x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
            x = keras.layers.Activation(self.activation, name=f"{name}_activation_{number}")(x)
            shortcut = x if number == 1 else shortcut
        return x
