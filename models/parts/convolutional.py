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
class PartialIdentity(keras.initializers.Initializer):
    """Convolution filters of which the first ones hand their inputs on, one each; the others are random.

    At the start information so passes through all layers (K. Jordan, arXiv 2404.00498, section 3.3, after Zagoruyko,
    Komodakis, DiracNets, arXiv 1706.00388).
    """

    def __init__(self, others: str = "glorot_uniform") -> None:
        """``others`` is the Keras initializer of all other filters."""
        self.others = others

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> object:
        """Filters of shape (height, width, in, out)."""
        height, width, inputs, outputs = shape
        drawn = keras.initializers.get(self.others)(shape, dtype=dtype)
        filters = keras.ops.convert_to_numpy(drawn).copy()
        identities = min(inputs, outputs)
        filters[..., :identities] = 0
        filters[height // 2, width // 2, range(identities), range(identities)] = 1
        return keras.ops.convert_to_tensor(filters)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {"others": self.others}


@keras.saving.register_keras_serializable(package="pipelines")
class PatchWhitening(keras.layers.Layer):
    """A convolution of raw pixels that makes small patches white: uncorrelated, of equal variance.

    Its filters are the eigenvectors of the covariance of the training images' patches, each divided by the root of
    its eigenvalue, and the same negated, so that a rectifier loses nothing (K. Jordan, arXiv 2404.00498, section
    3.2, after D. Page, How to Train Your ResNet, 2018). :meth:`adapt` computes them; only the bias is trained.

    (N, H, W, C) in the range 0 to 255 becomes (N, H - side + 1, W - side + 1, 2 * side * side * C).
    """

    def __init__(self, side: int = 2, epsilon: float = 5e-4, use_bias: bool = True, **arguments: object) -> None:
        """``epsilon`` is added to eigenvalues, which are those of images of variance 1."""
        super().__init__(**arguments)
        self.side, self.epsilon, self.use_bias = side, epsilon, use_bias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights; until :meth:`adapt` is called, random filters with outputs of about 1."""
        channels = input_shape[-1]
        filters = 2 * self.side**2 * channels
        self.center = self.add_weight(name="center", shape=(channels,), initializer="zeros", trainable=False)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.side, self.side, channels, filters),
            initializer=keras.initializers.RandomNormal(stddev=1 / 128),
            trainable=False,
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(filters,), initializer="zeros")

    def adapt(self, images: np.ndarray) -> None:
        """Compute the filters from training images, uint8 (N, H, W, C)."""
        x = images.astype(np.float32)
        # A whole number: pixel minus centre is then exact in bfloat16.
        center = np.rint(x.mean(axis=(0, 1, 2)))
        scale = x.std()
        windows = np.lib.stride_tricks.sliding_window_view((x - center) / scale, (self.side, self.side), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, self.side**2 * x.shape[-1])
        values, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
        filters = vectors / np.sqrt(values + self.epsilon) / scale
        self.center.assign(center)
        self.kernel.assign(np.concatenate([filters, -filters], axis=1).reshape(self.kernel.shape))

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Convolve."""
        x = keras.ops.cast(inputs, self.compute_dtype) - self.center
        outputs = keras.ops.conv(x, self.kernel, padding="valid", data_format="channels_last")
        return outputs + self.bias if self.use_bias else outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output."""
        batch, height, width, channels = input_shape
        sides = [None if length is None else length - self.side + 1 for length in (height, width)]
        return (batch, *sides, 2 * self.side**2 * channels)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "side": self.side, "epsilon": self.epsilon, "use_bias": self.use_bias}


@keras.saving.register_keras_serializable(package="pipelines")
class SmallMapConv2D(keras.layers.Conv2D):
    """A convolution that keeps the size of its maps, (N, H, W, in) to (N, H, W, out), fast also on the smallest ones.

    On maps of 2x2 pixels five of the nine pixels under a 3x3 filter are padding. There the layer is one product of
    (N, 4 * in) and (4 * in, 4 * out), which has the four filters' parts that meet pixels: 4/9 of the operations, and
    0.3 of the time of TensorFlow's convolution on a CPU.
    """

    def __init__(self, filters: int, **arguments: object) -> None:
        super().__init__(filters, **{"kernel_size": 3, "padding": "same", "use_bias": False, **arguments})

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Convolve."""
        if tuple(inputs.shape[1:3]) != (2, 2):
            return super().call(inputs)
        ops, kernel = keras.ops, self.kernel
        # A pixel in row r, seen from the output in row s, lies under the filter's row 1 + r - s.
        parts = [kernel[1 - row : 3 - row, 1 - column : 3 - column] for row in (0, 1) for column in (0, 1)]
        product = ops.reshape(ops.stack(parts, axis=3), (4 * inputs.shape[-1], 4 * self.filters))
        outputs = ops.matmul(ops.reshape(inputs, (-1, 4 * inputs.shape[-1])), product)
        return ops.reshape(outputs, (-1, 2, 2, self.filters))


@keras.saving.register_keras_serializable(package="pipelines")
class HalvingMaxPooling(keras.layers.MaxPooling2D):
    """Max pooling of 2x2 pixels, (N, H, W, C) to (N, H // 2, W // 2, C).

    On JAX as a maximum over two axes: a step of the fast network is then 15 % shorter on a GPU (H100), where the
    gradient of a pooling window is slow.
    """

    def __init__(self, **arguments: object) -> None:
        super().__init__(**{"pool_size": 2, **arguments})

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Pool."""
        if keras.backend.backend() != "jax":
            return super().call(inputs)
        height, width, channels = inputs.shape[1] // 2, inputs.shape[2] // 2, inputs.shape[3]
        x = keras.ops.reshape(inputs[:, : 2 * height, : 2 * width], (-1, height, 2, width, 2, channels))
        return keras.ops.max(x, axis=(2, 4))


@keras.saving.register_keras_serializable(package="pipelines")
class BatchShift(keras.layers.Layer):
    """Batch normalization (Ioffe, Szegedy, arXiv 1502.03167) with a bias and without a scale.

    The statistics are float32, as in Keras' own layer, but the normalized tensor stays in the compute dtype, which
    Keras' layer casts to float32 and back: half of the memory traffic under bfloat16.
    """

    def __init__(
        self, momentum: float = 0.6, deviation: float = 1.0, epsilon: float = 1e-5, **arguments: object
    ) -> None:
        """``momentum`` is the part of the old statistics that each step keeps, ``deviation`` the outputs'."""
        super().__init__(**arguments)
        self.momentum, self.deviation, self.epsilon = momentum, deviation, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the bias and the statistics."""
        shape = (input_shape[-1],)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        kept = {"shape": shape, "trainable": False, "autocast": False}
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **kept)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **kept)

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        """Normalize by the batch when training, else by the moving statistics."""
        if training and self.trainable:
            outputs, mean, variance = self._by_batch(inputs)
            for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + current * (1 - self.momentum))
            return outputs
        return self._shifted(inputs, self.moving_mean, self.moving_variance)

    def _by_batch(self, inputs: keras.KerasTensor) -> tuple[object, object, object]:
        """Normalized inputs, and the mean and variance of each channel, float32."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if tf.distribute.get_strategy().num_replicas_in_sync > 1:  # the batch is more than these inputs
                axes = tuple(range(len(inputs.shape) - 1))
                mean, variance = keras.ops.moments(keras.ops.cast(inputs, "float32"), axes, synchronized=True)
                return self._shifted(inputs, mean, variance), mean, variance
            if len(inputs.shape) == 4:
                return _fused(inputs, self.beta, self.deviation, self.epsilon)
        x = keras.ops.cast(inputs, "float32")
        axes = tuple(range(len(inputs.shape) - 1))
        mean = keras.ops.mean(x, axis=axes)
        # One pass over the batch, where the mean square difference from the mean would need a second one.
        variance = keras.ops.maximum(keras.ops.mean(keras.ops.square(x), axis=axes) - keras.ops.square(mean), 0)
        return self._shifted(inputs, mean, variance), mean, variance

    def _shifted(self, inputs: keras.KerasTensor, mean: object, variance: object) -> keras.KerasTensor:
        scale = self.deviation * keras.ops.rsqrt(variance + self.epsilon)
        shift = keras.ops.cast(self.beta, "float32") - mean * scale
        return inputs * keras.ops.cast(scale, inputs.dtype) + keras.ops.cast(shift, inputs.dtype)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "momentum": self.momentum, "deviation": self.deviation, "epsilon": self.epsilon}


def _fused(inputs: object, beta: object, deviation: float, epsilon: float) -> tuple[object, object, object]:
    """Batch normalization of images by TensorFlow's own operation, a fifth of the time of its parts on a CPU.

    Keras has no way to it. Returns the outputs, and the mean and variance of each channel, float32.
    """
    import tensorflow as tf

    scale, none = tf.fill(inputs.shape[-1:], deviation), tf.zeros([0])
    offset = tf.cast(beta, "float32")
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=scale, offset=offset, mean=none, variance=none, epsilon=epsilon
    )
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
    return outputs, mean, variance * (count - 1) / count  # its variance is that of the population


@keras.saving.register_keras_serializable(package="pipelines")
class Channels(keras.layers.Layer):
    """Grey images in colour, or colour images in grey: (N, H, W, C) to (N, H, W, count).

    Grey is what the eye sees as equally bright (ITU-R BT.601), as Pillow has it.
    """

    def __init__(self, count: int, **arguments: object) -> None:
        """``count`` is 1 or 3."""
        super().__init__(**arguments)
        self.count = count

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Repeat the one channel, or weigh the three."""
        x = keras.ops.cast(inputs, self.compute_dtype)
        if self.count == 3:
            return keras.ops.repeat(x, 3, axis=-1)
        return keras.ops.sum(x * keras.ops.array([0.299, 0.587, 0.114], x.dtype), axis=-1, keepdims=True)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "count": self.count}
