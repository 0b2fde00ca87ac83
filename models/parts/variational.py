"""What only some autoencoders need: layers, losses and a model. Importing this file registers them."""

import math

import keras


@keras.saving.register_keras_serializable(package="pipelines")
class GaussianCode(keras.layers.Layer):
    """Draws a code from its distribution, and charges for the distance of that from a standard normal one.

    The reparameterization of Kingma, Welling, Auto-Encoding Variational Bayes (arXiv 1312.6114, section 2.4):
    ``mean + exp(log_variance / 2) * noise``. In inference mode the code is the mean. The mean over the batch of the
    divergence in nats (its appendix B), times ``beta`` (Higgins et al., beta-VAE, ICLR 2017), is added to the loss.
    """

    def __init__(self, beta: float = 1.0, **arguments: object) -> None:
        super().__init__(**arguments)
        self.beta = beta
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs: list[keras.KerasTensor], training: bool | None = None) -> keras.KerasTensor:
        """Mean and log-variance, each (N, units), become a code (N, units)."""
        mean, log_variance = inputs
        self.add_loss(self.beta * keras.ops.mean(self.divergence(mean, log_variance)))
        if not training:
            return mean
        noise = keras.random.normal(keras.ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator)
        return mean + keras.ops.exp(log_variance / 2) * noise

    @staticmethod
    def divergence(mean: keras.KerasTensor, log_variance: keras.KerasTensor) -> keras.KerasTensor:
        """Kullback-Leibler divergence of each code's distribution from a standard normal one, nats, (N,)."""
        each = keras.ops.exp(log_variance) + keras.ops.square(mean) - 1 - log_variance
        return 0.5 * keras.ops.sum(each, axis=-1)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Shape of the code."""
        return input_shape[0]

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "beta": self.beta}


@keras.saving.register_keras_serializable(package="pipelines")
class VariationalNetwork(keras.Model):
    """A functional model with one :class:`GaussianCode`, whose divergence it shows as the metric ``kl`` in nats."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        # Keras reads a functional model back into a class whose constructor has these two, by these names.
        super().__init__(*args, **kwargs)
        self.divergence = keras.metrics.Mean(name="kl")

    def compute_loss(
        self,
        x: object = None,
        y: object = None,
        y_pred: object = None,
        sample_weight: object = None,
        training: bool = True,
    ) -> object:
        """The loss with all that layers add. The metric is kept here: JAX drops what a layer's call writes to one."""
        losses = self.losses  # none where Keras only traces this method
        if losses:
            beta = next(layer.beta for layer in self.layers if isinstance(layer, GaussianCode))
            # What layers add stands before the penalties on weights, and no other layer adds anything. Images count
            # alike, also those of a smaller last batch.
            self.divergence.update_state(losses[0] / beta, sample_weight=keras.ops.shape(y_pred)[0])
        return super().compute_loss(x, y, y_pred, sample_weight, training)


@keras.saving.register_keras_serializable(package="pipelines")
class TargetRate(keras.layers.Layer):
    """Charges for units that are on more or less often than a target rate; values from 0 to 1 pass as they are.

    A. Ng, CS294A lecture notes, Sparse autoencoder (2011), section 3: the divergence between coins of the target rate
    and of each unit's mean over the batch, in nats, summed over the units, times ``weight``.
    """

    def __init__(self, weight: float, rate: float, **arguments: object) -> None:
        super().__init__(**arguments)
        self.weight, self.rate = weight, rate

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Add to the loss; (N, units) stays as it is."""
        epsilon = 1e-6
        mean = keras.ops.clip(keras.ops.mean(keras.ops.cast(inputs, "float32"), axis=0), epsilon, 1 - epsilon)
        on = self.rate * (math.log(self.rate) - keras.ops.log(mean))
        off = (1 - self.rate) * (math.log(1 - self.rate) - keras.ops.log(1 - mean))
        self.add_loss(self.weight * keras.ops.sum(on + off))
        return inputs

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "weight": self.weight, "rate": self.rate}


@keras.saving.register_keras_serializable(package="pipelines")
class BernoulliNats(keras.losses.Loss):
    """Negative log-likelihood of images under a Bernoulli distribution for each value, in nats for an image.

    Targets from 0 to 1 and logits, float32 (N, H, W, C). Between 0 and 1 it is a cross-entropy, not a likelihood.
    """

    def __init__(self, name: str = "bernoulli_nats", **arguments: object) -> None:
        super().__init__(name=name, **arguments)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Nats of each image, (N,)."""
        each = keras.ops.binary_crossentropy(y_true, y_pred, from_logits=True)
        return keras.ops.sum(each, axis=(1, 2, 3))


@keras.saving.register_keras_serializable(package="pipelines")
class GaussianNats(keras.losses.Loss):
    """Negative log-likelihood of images under normal distributions of one deviation, in nats for an image.

    Targets and means on the scale 0 to 1, float32 (N, H, W, C); the deviation has the same scale.
    """

    def __init__(self, deviation: float = 0.1, name: str = "gaussian_nats", **arguments: object) -> None:
        super().__init__(name=name, **arguments)
        self.deviation = deviation

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Nats of each image, (N,)."""
        each = keras.ops.square((y_true - y_pred) / self.deviation) / 2 + math.log(self.deviation * math.tau**0.5)
        return keras.ops.sum(each, axis=(1, 2, 3))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "deviation": self.deviation}
