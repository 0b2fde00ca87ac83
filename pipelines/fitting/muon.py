"""Muon for convolutions, as a Keras optimizer."""

import keras

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration (Jordan 2024): singular values end between about 0.7 and 1.2."""


@keras.saving.register_keras_serializable(package="pipelines")
class FilterMuon(keras.optimizers.Optimizer):
    """Muon for convolution filters, gradient descent with Nesterov momentum for everything else.

    The filters (height, width, in, out) are one matrix (height * width * in, out). Their momentum is replaced by the
    nearest matrix with orthonormal rows or columns, and they move by ``learning_rate`` times that. They are kept at
    a root mean square norm of 1, so that the rate is about the relative change of a step. Keras' own ``Muon`` leaves
    variables of four axes to AdamW.

    Sources: K. Jordan et al., Muon: An Optimizer for Hidden Layers in Neural Networks (2024).
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.15,
        momentum: float = 0.6,
        sgd_momentum: float = 0.85,
        matrix_ratio: float = 1.0,
        vector_ratio: float = 1.0,
        newton_schulz_steps: int = 5,
        normalize_filters: bool = True,
        name: str = "filter_muon",
        **arguments: object,
    ) -> None:
        """Take the settings.

        Args:
            learning_rate: of the filters.
            momentum: of the filters.
            sgd_momentum: of all other variables.
            matrix_ratio: learning rate of matrices as a multiple of that of the filters.
            vector_ratio: the same of biases and other vectors.
            newton_schulz_steps: steps that make an update orthonormal, 1 or more.
            normalize_filters: keep their norm; right where a normalization follows, which makes it meaningless.
            name: of the optimizer.
            **arguments: those of every Keras optimizer.

        Raises:
            ValueError: no steps.
        """
        if newton_schulz_steps < 1:
            raise ValueError(f"newton_schulz_steps is {newton_schulz_steps}, and must be 1 or more")
        super().__init__(learning_rate=learning_rate, name=name, **arguments)
        self.momentum, self.sgd_momentum = momentum, sgd_momentum
        self.matrix_ratio, self.vector_ratio = matrix_ratio, vector_ratio
        self.newton_schulz_steps, self.normalize_filters = newton_schulz_steps, normalize_filters

    def build(self, variables: list[keras.Variable]) -> None:
        """Make the momenta."""
        if not self.built:
            super().build(variables)
            self._momenta = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: object, variable: keras.Variable, learning_rate: object) -> None:
        """Move one variable."""
        gradient = keras.ops.cast(gradient, variable.dtype)
        rate = keras.ops.cast(learning_rate, variable.dtype)
        axes = len(variable.shape)
        keep = self.momentum if axes == 4 else self.sgd_momentum
        momentum = self._momenta[self._get_variable_index(variable)]
        velocity = momentum * keep + gradient
        self.assign(momentum, velocity)
        direction = gradient + keep * velocity  # Nesterov's
        if axes == 4:
            self._move_filters(variable, direction, rate)
        else:
            ratio = self.matrix_ratio if axes == 2 else self.vector_ratio
            self.assign_sub(variable, rate * ratio * direction)

    def _move_filters(self, variable: keras.Variable, direction: object, rate: object) -> None:
        outputs = variable.shape[-1]
        update = self.orthonormal(keras.ops.reshape(direction, (-1, outputs)))
        filters = keras.ops.convert_to_tensor(variable)
        if self.normalize_filters:
            norm = keras.ops.sqrt(keras.ops.sum(keras.ops.square(filters)))
            filters = filters * (outputs**0.5 / (norm + 1e-7))
        self.assign(variable, filters - rate * keras.ops.reshape(update, variable.shape))

    def orthonormal(self, matrix: object) -> object:
        """About the nearest matrix, in float32, whose singular values are 1.

        Each step of the iteration multiplies by a polynomial of the matrix times its own transpose. These small square
        factors are multiplied first, so that the matrix itself takes part in two products in all, not in two a step.
        """
        tall = matrix.shape[0] > matrix.shape[1]
        x = keras.ops.transpose(matrix) if tall else matrix
        x = x / (keras.ops.sqrt(keras.ops.sum(keras.ops.square(x))) + 1e-7)
        gram = keras.ops.matmul(x, keras.ops.transpose(x))
        factor = whole = _newton_schulz_factor(gram)
        for _ in range(self.newton_schulz_steps - 1):
            gram = keras.ops.matmul(keras.ops.matmul(factor, gram), factor)
            factor = _newton_schulz_factor(gram)
            whole = keras.ops.matmul(factor, whole)
        x = keras.ops.matmul(whole, x)
        return keras.ops.transpose(x) if tall else x

    def get_config(self) -> dict:
        """The constructor's arguments."""
        names = ("momentum", "sgd_momentum", "matrix_ratio", "vector_ratio")
        names += ("newton_schulz_steps", "normalize_filters")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _newton_schulz_factor(gram: object) -> object:
    """What a step multiplies x from the left by, for ``gram`` = x times its transpose."""
    first, third, fifth = COEFFICIENTS
    identity = keras.ops.eye(gram.shape[0], dtype=gram.dtype)
    return first * identity + third * gram + fifth * keras.ops.matmul(gram, gram)
