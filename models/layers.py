"""Layers that Keras does not have. Importing this file registers them, so that saved models can be read."""

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="pipelines")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each value by its neighbours in other maps (Krizhevsky et al., NIPS 2012, section 3.3).

    ``x / (bias + alpha * sum over the nearest `size` maps of x**2) ** beta``, for inputs (N, H, W, C).
    """

    def __init__(
        self, size: int = 5, bias: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **arguments: object
    ) -> None:
        super().__init__(**arguments)
        self.size, self.bias, self.alpha, self.beta = size, bias, alpha, beta

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Normalize; the shape stays as it is."""
        # Half of the window would be lost to the eighth bit of bfloat16.
        x = keras.ops.cast(inputs, "float32")
        half = self.size // 2
        squares = keras.ops.pad(keras.ops.square(x), ((0, 0), (0, 0), (0, 0), (half, half)))
        total = sum(squares[..., start : start + x.shape[-1]] for start in range(2 * half + 1))
        return keras.ops.cast(x * keras.ops.power(self.bias + self.alpha * total, -self.beta), inputs.dtype)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        own = {"size": self.size, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="pipelines")
class IdentityShortcut(keras.layers.Layer):
    """A shortcut without parameters (He et al., arXiv 1512.03385, option A).

    Takes every ``stride``-th pixel and fills up with maps of zeros: (N, H, W, C) to (N, H/stride, W/stride, filters).
    """

    def __init__(self, filters: int, stride: int, **arguments: object) -> None:
        super().__init__(**arguments)
        self.filters, self.stride = filters, stride

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Subsample and fill up."""
        x = inputs[:, :: self.stride, :: self.stride]
        missing = self.filters - x.shape[-1]
        return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}


@keras.saving.register_keras_serializable(package="pipelines")
class PatchWhitening(keras.layers.Layer):
    """Frozen convolution that whitens k x k patches of raw pixels.

    Its filters are the eigenvectors of the covariance of the training
    images' k x k patches, each divided by the square root of its eigenvalue,
    and their negatives, so that a rectifier after it loses nothing
    (K. Jordan, "94% on CIFAR-10 in 3.29 seconds", arXiv 2404.00498, after
    D. Page, "How to train your ResNet", 2018). Only the bias is trained.

    Input:  (batch, height, width, channels), raw pixels 0..255.
    Output: (batch, height - k + 1, width - k + 1, 2 * k * k * channels).
    """

    def __init__(self, kernel_size=2, epsilon=5e-4, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        # Added to the eigenvalues of patches scaled to about unit variance.
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        size = self.kernel_size
        filters = 2 * size * size * channels
        self.center = self.add_weight(name="center", shape=(channels,), initializer="zeros", trainable=False)
        # Until adapt() is called: random filters of about unit response.
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, channels, filters),
            initializer=keras.initializers.RandomNormal(stddev=1.0 / 128.0),
            trainable=False,
        )
        self.bias = self.add_weight(name="bias", shape=(filters,), initializer="zeros", trainable=True)

    def adapt(self, images):
        """Set the filters from a sample of training images (N, H, W, C)."""
        images = np.asarray(images, "float32")
        if not self.built:
            self.build((None, *images.shape[1:]))
        # Whole numbers: pixel - center is then exact in bfloat16.
        center = np.round(images.mean(axis=(0, 1, 2)))
        windows = np.lib.stride_tricks.sliding_window_view(
            images - center, (self.kernel_size, self.kernel_size), axis=(1, 2)
        )  # (N, H', W', C, k, k)
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, self._patch_size())
        scale = images.std()
        values, vectors = np.linalg.eigh(np.cov(patches / scale, rowvar=False))
        filters = vectors / np.sqrt(values + self.epsilon) / scale
        filters = np.concatenate([filters, -filters], axis=1)
        self.center.assign(center)
        self.kernel.assign(filters.reshape(self.kernel.shape).astype("float32"))

    def _patch_size(self):
        return int(np.prod(self.kernel.shape[:3]))

    def call(self, inputs):
        inputs = keras.ops.cast(inputs, self.compute_dtype) - self.center
        outputs = keras.ops.conv(inputs, self.kernel, padding="valid", data_format="channels_last")
        return outputs + self.bias

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        size = self.kernel_size
        edges = [None if n is None else n - size + 1 for n in (height, width)]
        return (batch, *edges, 2 * size * size * channels)

    def get_config(self):
        own = {"kernel_size": self.kernel_size, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="pipelines")
class BatchShift(keras.layers.Layer):
    """Batch normalization with bias, no scale; statistics in float32.

    As keras.layers.BatchNormalization(scale=False), but the normalised
    tensor itself stays in the compute dtype: Keras' own layer casts it to
    float32, which doubles the memory traffic of mixed_bfloat16 training.
    S. Ioffe and C. Szegedy, arXiv 1502.03167.
    """

    def __init__(self, momentum=0.6, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.moving_mean = self.add_weight(
            name="moving_mean",
            shape=shape,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )
        self.moving_variance = self.add_weight(
            name="moving_variance",
            shape=shape,
            initializer="ones",
            trainable=False,
            autocast=False,
        )

    def call(self, inputs, training=None):
        if training and self.trainable:
            axes = tuple(range(len(inputs.shape) - 1))
            exact = keras.ops.cast(inputs, "float32")
            mean = keras.ops.mean(exact, axis=axes)
            variance = keras.ops.mean(keras.ops.square(exact), axis=axes) - keras.ops.square(mean)
            variance = keras.ops.maximum(variance, 0.0)
            for moving, batch in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = keras.ops.rsqrt(variance + self.epsilon)
        shift = keras.ops.cast(self.beta, "float32") - mean * scale
        dtype = self.compute_dtype
        return inputs * keras.ops.cast(scale, dtype) + keras.ops.cast(shift, dtype)

    def get_config(self):
        own = {"momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
