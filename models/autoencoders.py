"""Autoencoders: raw pixels in, the same images out of a narrow, noisy, sparse or random code.

Each network is an ``encoder`` and a ``decoder``, two functional models inside of one. Its output has the images' shape,
float32: the reconstruction on the scale 0 to 1, or logits where the likelihood is Bernoulli.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from data.errors import BadInput
from models.base import Model, Regularized, images
from models.corruption import Corruption

if TYPE_CHECKING:
    import keras

    from data.spec import Spec

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Autoencoder(Model):
    """What all of them share. A subclass says what comes before the code, what it is, and what comes after it."""

    task: ClassVar[str] = "autoencoding"

    code: int = 32
    """Units of the code."""
    corruption: Corruption = Corruption()
    """Noise on the encoder's input, in training and in evaluation, for a denoising autoencoder."""

    def build(self, spec: Spec) -> keras.Model:
        """The untrained network: raw pixels 0 to 255 in, shape (N, *spec.shape); float32 of the same shape out."""
        import keras

        if self.code < 1:
            raise BadInput(f"a code of {self.code} units", "--model.code", "give at least 1")
        self.corruption.check()
        pixels, x = images(spec)
        encoder = keras.Model(pixels, self.encoded(self.features(x)), name="encoder")
        code = keras.Input((self.code,), name="code")
        decoder = keras.Model(code, self.decoded(code, spec.shape), name="decoder")
        pixels = keras.Input(spec.shape, dtype="uint8", name="pixels")
        return self.network(pixels, encoder, decoder)

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """What the code is computed from, (N, features), out of standardized pixels (N, H, W, C)."""
        raise NotImplementedError

    def decoded(self, code: keras.KerasTensor, shape: Shape) -> keras.KerasTensor:
        """The output (N, H, W, C), float32 also under mixed precision, out of the code (N, code)."""
        raise NotImplementedError

    def encoded(self, features: keras.KerasTensor) -> keras.KerasTensor | list[keras.KerasTensor]:
        """The encoder's output: the code, or what its distribution is made of."""
        raise NotImplementedError

    def network(self, pixels: keras.KerasTensor, encoder: keras.Model, decoder: keras.Model) -> keras.Model:
        """Encoder and decoder in a row."""
        import keras

        return keras.Model(pixels, decoder(encoder(pixels)), name=type(self).__name__.lower())

    def loss(self) -> keras.losses.Loss:
        """What training lowers, given clean images on the scale 0 to 1: the squared error, mean over all values."""
        import keras

        return keras.losses.MeanSquaredError()

    @property
    def output(self) -> str:
        """How outputs become reconstructions on the scale 0 to 1: identity or sigmoid."""
        return "identity"


@dataclass(frozen=True)
class LinearAutoencoder(Autoencoder):
    """One linear layer each way, with biases.

    At its optimum the decoder's weights span the same subspace as the principal components (Baldi, Hornik, Neural
    Networks and Principal Component Analysis, Neural Networks 2, 1989); without being orthogonal or in their order.
    """

    initializer: str = "glorot_uniform"

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """See :meth:`Autoencoder.features`."""
        import keras

        return keras.layers.Flatten(name="flatten")(x)

    def encoded(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """See :meth:`Autoencoder.encoded`."""
        import keras

        return keras.layers.Dense(self.code, kernel_initializer=self.initializer, name="code")(features)

    def decoded(self, code: keras.KerasTensor, shape: Shape) -> keras.KerasTensor:
        """See :meth:`Autoencoder.decoded`."""
        import keras

        flat = keras.layers.Dense(
            math.prod(shape), kernel_initializer=self.initializer, dtype="float32", name="output"
        )(code)
        return keras.layers.Reshape(shape, dtype="float32", name="image")(flat)


@dataclass(frozen=True)
class Penalized(Autoencoder):
    """A code that can be made sparse: most of its units silent for most images."""

    code_activation: str = "linear"
    """relu for exact zeros under l1_code; sigmoid for kl_sparsity."""
    l1_code: float = 0.0
    """Penalty on the sum of a code's absolute values, mean over the batch; wants l2, or small codes are decoded by
    large weights."""
    kl_sparsity: float = 0.0
    """Penalty on the divergence of units' mean activations from target_rate (Ng's CS294A notes, section 3)."""
    target_rate: float = 0.05
    """Mean activation that kl_sparsity asks of each unit."""

    def encoded(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """See :meth:`Autoencoder.encoded`."""
        import keras

        from models.parts.variational import TargetRate

        if self.kl_sparsity and self.code_activation != "sigmoid":
            what = f"a rate of {self.code_activation} units is none"
            raise BadInput(what, "--model.kl-sparsity", "set --model.code-activation sigmoid")
        if not 0 < self.target_rate < 1:
            raise BadInput(f"{self.target_rate} is no rate", "--model.target-rate", "give one from 0 to 1")
        normalized = self.batch_normalization
        x = keras.layers.Dense(self.code, use_bias=not normalized, dtype="float32", name="code", **self.kernel())(
            features
        )
        if normalized:  # keeps rectifiers from dying under the penalty
            x = keras.layers.BatchNormalization(dtype="float32", name="code_norm")(x)
        penalty = keras.regularizers.L1(self.l1_code) if self.l1_code else None
        code = keras.layers.Activation(
            self.code_activation, activity_regularizer=penalty, dtype="float32", name="code_units"
        )(x)
        return TargetRate(self.kl_sparsity, self.target_rate, name="rate")(code) if self.kl_sparsity else code


@dataclass(frozen=True)
class Variational(Autoencoder):
    """A random code: the encoder gives mean and log-variance of each unit (Kingma, Welling, arXiv 1312.6114)."""

    beta: float = 1.0
    """Weight of the code's divergence from a standard normal (Higgins et al., beta-VAE, ICLR 2017)."""
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    """Of the pixels given the code; bernoulli suits images of black and white."""
    deviation: float = 0.1
    """gaussian: of each value about the decoder's output, on the scale 0 to 1."""

    def encoded(self, features: keras.KerasTensor) -> list[keras.KerasTensor]:
        """Mean and log-variance of the code."""
        import keras

        # Without weights at first: a large variance of untrained features would begin with an exponential of it.
        parts = {"mean": self.kernel(), "log_variance": {**self.kernel(), "kernel_initializer": "zeros"}}
        return [
            keras.layers.Dense(self.code, dtype="float32", name=name, **kernel)(features)
            for name, kernel in parts.items()
        ]

    def network(self, pixels: keras.KerasTensor, encoder: keras.Model, decoder: keras.Model) -> keras.Model:
        """Encoder, a draw of the code, decoder; in inference mode the code's mean."""
        from models.parts.variational import GaussianCode, VariationalNetwork

        if self.beta <= 0 or self.deviation <= 0:
            raise BadInput("beta and deviation are positive", "--model", "or take an autoencoder that is none of these")
        code = GaussianCode(self.beta, dtype="float32", name="draw")(encoder(pixels))
        return VariationalNetwork(pixels, decoder(code), name=type(self).__name__.lower())

    def loss(self) -> keras.losses.Loss:
        """Nats of an image given its code; the layer that draws the code adds beta times its divergence."""
        from models.parts.variational import BernoulliNats, GaussianNats

        return BernoulliNats() if self.likelihood == "bernoulli" else GaussianNats(self.deviation)

    @property
    def output(self) -> str:
        """See :attr:`Autoencoder.output`."""
        return "sigmoid" if self.likelihood == "bernoulli" else "identity"


@dataclass(frozen=True)
class DenseLayers(Regularized):
    """Fully connected layers before the code, and the same in reverse after it."""

    initializer: str = "glorot_uniform"
    units: tuple[int, ...] = (512, 256)
    """Of each hidden layer of the encoder; the decoder's are mirrored."""

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """See :meth:`Autoencoder.features`."""
        import keras

        x = keras.layers.Flatten(name="flatten")(x)
        for number, units in enumerate(self.units, 1):
            x = self.hidden(x, units, f"hidden_{number}")
        return x

    def decoded(self, code: keras.KerasTensor, shape: Shape) -> keras.KerasTensor:
        """See :meth:`Autoencoder.decoded`."""
        import keras

        x = code
        for number, units in enumerate(reversed(self.units), 1):
            x = self.hidden(x, units, f"hidden_{number}")
        x = keras.layers.Dense(math.prod(shape), dtype="float32", name="output", **self.kernel())(x)
        return keras.layers.Reshape(shape, dtype="float32", name="image")(x)


@dataclass(frozen=True)
class ConvolutionalLayers(Regularized):
    """Convolutions of 4x4 at stride 2 before the code, the same transposed after it.

    The stride divides the filters' size, so that all places of an output are made of equally many inputs (Odena et
    al., Deconvolution and Checkerboard Artifacts, Distill 2016). Odd sides are rounded up on the way in and cropped
    on the way out.
    """

    initializer: str = "glorot_uniform"
    filters: tuple[int, ...] = (32, 64)
    """Of each convolution of the encoder, each of which halves the sides; the decoder's are mirrored."""
    units: tuple[int, ...] = ()
    """Of fully connected layers between convolutions and code."""

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """See :meth:`Autoencoder.features`."""
        import keras

        for number, filters in enumerate(self.filters, 1):
            x = keras.layers.Conv2D(filters, 4, 2, "same", name=f"conv_{number}", **self.kernel())(x)
            x = self.activate(x, f"conv_{number}")
        x = keras.layers.Flatten(name="flatten")(x)
        for number, units in enumerate(self.units, 1):
            x = self.hidden(x, units, f"hidden_{number}")
        return x

    def decoded(self, code: keras.KerasTensor, shape: Shape) -> keras.KerasTensor:
        """See :meth:`Autoencoder.decoded`."""
        import keras

        # Sides after each convolution of the encoder, the image's own first.
        sides = [tuple(-(-side // 2**number) for side in shape[:2]) for number in range(len(self.filters) + 1)]
        x = code
        for number, units in enumerate(reversed(self.units), 1):
            x = self.hidden(x, units, f"hidden_{number}")
        smallest = (*sides[-1], self.filters[-1])
        x = keras.layers.Reshape(smallest, name="unflatten")(self.hidden(x, math.prod(smallest), "maps"))
        for number in range(len(self.filters) - 1, -1, -1):
            last = not number
            filters = shape[2] if last else self.filters[number - 1]
            name = "output" if last else f"conv_{number}"
            precision = {"dtype": "float32"} if last else {}
            x = keras.layers.Conv2DTranspose(filters, 4, 2, "same", name=name, **precision, **self.kernel())(x)
            surplus = [2 * below - side for below, side in zip(sides[number + 1], sides[number], strict=True)]
            if any(surplus):
                x = keras.layers.Cropping2D([(0, one) for one in surplus], name=f"{name}_crop", **precision)(x)
            x = x if last else self.activate(x, name)
        return x


@dataclass(frozen=True)
class DenseAutoencoder(DenseLayers, Penalized):
    """Fully connected; sparse or denoising where told so."""


@dataclass(frozen=True)
class ConvolutionalAutoencoder(ConvolutionalLayers, Penalized):
    """Strided convolutions; sparse or denoising where told so."""


@dataclass(frozen=True)
class VariationalAutoencoder(DenseLayers, Variational):
    """Fully connected, with a random code."""


@dataclass(frozen=True)
class ConvolutionalVariationalAutoencoder(ConvolutionalLayers, Variational):
    """Strided convolutions, with a random code."""
