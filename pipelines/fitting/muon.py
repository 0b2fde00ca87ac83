"""Muon for convolution filters, as a Keras optimizer (backend-neutral)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="pipelines")
class FilterMuon(keras.optimizers.Optimizer):
    """Muon for convolution filters, Nesterov SGD for everything else.

    A filter bank (kh, kw, in, out) is taken as the matrix (kh * kw * in, out)
    of its flattened filters. Its Nesterov momentum is replaced by the nearest
    matrix with orthonormal rows or columns (Newton-Schulz iteration) and the
    bank, kept at the root-mean-square filter norm 1, moves by `learning_rate`
    times that: `learning_rate` is thus about the relative change per step.
    Keras' own `Muon` leaves filters of four axes to AdamW.

    Sources: K. Jordan et al., "Muon: an optimizer for hidden layers in neural
    networks" (2024); K. Jordan, arXiv 2404.00498 (normalised filters).

    Args:
        learning_rate: of the filters; a float or a schedule.
        momentum: of the filters.
        sgd_momentum: of all other variables.
        matrix_ratio: learning rate of matrices (the head), as a multiple of
            `learning_rate`.
        vector_ratio: the same, of biases and other vectors.
        newton_schulz_steps: iterations that orthogonalise an update.
        compute_dtype: of those iterations; "bfloat16" or "float32".
        normalize_filters: keep each bank at the norm sqrt(out); right where a
            normalisation layer follows, which makes the scale meaningless.
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.6,
        sgd_momentum=0.85,
        matrix_ratio=1.0,
        vector_ratio=1.0,
        newton_schulz_steps=5,
        compute_dtype="float32",
        normalize_filters=True,
        name="filter_muon",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.sgd_momentum = sgd_momentum
        self.matrix_ratio = matrix_ratio
        self.vector_ratio = vector_ratio
        self.newton_schulz_steps = newton_schulz_steps
        self.compute_dtype = compute_dtype
        self.normalize_filters = normalize_filters

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momenta = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        """Move one variable by its momentum (Nesterov's form)."""
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        filters = len(variable.shape) == 4
        decay = self.momentum if filters else self.sgd_momentum
        momentum = self._momenta[self._get_variable_index(variable)]
        velocity = momentum * decay + gradient
        self.assign(momentum, velocity)
        direction = gradient + decay * velocity
        if filters:
            self._move_filters(variable, direction, rate)
        else:
            matrix = len(variable.shape) == 2
            ratio = self.matrix_ratio if matrix else self.vector_ratio
            self.assign_sub(variable, rate * ratio * direction)

    def _move_filters(self, variable, direction, rate):
        """Move a filter bank by its orthogonalised direction."""
        outputs = variable.shape[-1]
        matrix = ops.reshape(direction, (-1, outputs))
        update = ops.reshape(self.orthogonalize(matrix), variable.shape)
        kernel = ops.convert_to_tensor(variable)
        if self.normalize_filters:
            norm = ops.sqrt(ops.sum(ops.square(kernel)))
            kernel = kernel * (outputs**0.5 / (norm + 1e-7))
        self.assign(variable, kernel - rate * update)

    def orthogonalize(self, matrix):
        """Nearest (semi-)orthogonal matrix, by quintic Newton-Schulz steps.

        The coefficients (Jordan 2024) trade exactness for speed: singular
        values end between about 0.7 and 1.2.
        """
        dtype = matrix.dtype
        tall = matrix.shape[0] > matrix.shape[1]
        x = ops.transpose(matrix) if tall else matrix
        x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
        x = ops.cast(x, self.compute_dtype)
        for _ in range(self.newton_schulz_steps):
            gram = ops.matmul(x, ops.transpose(x))
            mixed = -4.7750 * gram + 2.0315 * ops.matmul(gram, gram)
            x = 3.4445 * x + ops.matmul(mixed, x)
        x = ops.cast(x, dtype)
        return ops.transpose(x) if tall else x

    def get_config(self):
        names = [
            "momentum",
            "sgd_momentum",
            "matrix_ratio",
            "vector_ratio",
            "newton_schulz_steps",
            "compute_dtype",
            "normalize_filters",
        ]
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own}
