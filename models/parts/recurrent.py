"""Recurrent layers with the mathematics and the weights of Keras' own, which train faster on CPUs.

Two things make the difference, beside batches of texts of similar length (benchmarks/recurrent_speed.py). The loop
over time holds only what depends on the step before: one matrix product and the gates; the products of the inputs of
all steps are one before it. And the gradient is written out, so that the gradients of the weights are one product over
all steps after the loop too, where automatic differentiation adds up one for each step.
"""

from __future__ import annotations

import keras
from keras import ops

from models.parts.recurrences import RECURRENCES, recur, unrolled

Tensor = keras.KerasTensor


@keras.saving.register_keras_serializable(package="pipelines")
class Recurrence(keras.layers.Layer):
    """A recurrent layer over texts that are padded at their ends: (N, L, features) to (N, L, directions * units).

    Equal to ``keras.layers.SimpleRNN``, ``GRU`` or ``LSTM`` with ``return_sequences=True``, alone or in
    ``keras.layers.Bidirectional``, and ``get_weights`` of one fits ``set_weights`` of the other; but the outputs at
    padding are zero.
    """

    def __init__(self, cell: str, units: int, bidirectional: bool = False, **arguments: object) -> None:
        """``cell`` is one of :data:`RECURRENCES`."""
        super().__init__(**arguments)
        self.cell, self.units, self.bidirectional = cell, units, bidirectional
        self.supports_masking = True
        self.unrolled = False
        """Set where texts have one length, and a loop is not wanted: in a format that a model is exported to."""
        directions = ("forward", "backward") if bidirectional else ("forward",)
        kind = RECURRENCES[cell].cell
        self.cells = [kind(units, dtype=self.dtype_policy, name=direction) for direction in directions]

    def build(self, sequences_shape: tuple[int | None, ...]) -> None:
        """Make the weights of each direction."""
        for cell in self.cells:
            cell.build((None, sequences_shape[-1]))

    def call(self, sequences: Tensor, mask: Tensor) -> Tensor:
        """Run in both directions; ``mask`` is (N, L), 1 where a text has a character, else 0."""
        recurrence = RECURRENCES[self.cell]
        steps_first = ops.transpose(sequences, (1, 0, 2))
        flat = ops.reshape(steps_first, (-1, sequences.shape[-1]))
        mask = ops.expand_dims(ops.transpose(ops.cast(mask, self.compute_dtype)), -1)
        length = sequences.shape[1] if self.unrolled else -1
        shape = (length, ops.shape(sequences)[0], recurrence.gates * self.units)
        outputs = []
        for cell, reverse in zip(self.cells, (False, True), strict=False):
            kernel, recurrent, bias = (
                ops.cast(weight, self.compute_dtype) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)
            )
            of_inputs, of_product = recurrence.biases(bias, self.units)
            projected = ops.reshape(ops.matmul(flat, kernel) + of_inputs, shape)
            # Outside the loops, where it costs little: padding, which the backward direction sees first, leaves a
            # state of zero as it is; and what the forward direction makes of it is dropped.
            projected = projected * mask + (1 - mask) * ops.cast(recurrence.still(self.units), projected.dtype)
            run = unrolled if self.unrolled else recur
            outputs.append(run(recurrence, projected, recurrent, of_product, reverse))
        return ops.transpose(ops.concatenate(outputs, -1) * mask, (1, 0, 2))

    def compute_output_shape(self, sequences_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output."""
        return (*sequences_shape[:-1], len(self.cells) * self.units)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        own = {"cell": self.cell, "units": self.units, "bidirectional": self.bidirectional}
        return {**super().get_config(), **own}
