"""Recurrent layers with the mathematics and the weights of Keras' own, which train faster on CPUs.

Two things make the difference, beside batches of texts of similar length (benchmarks/recurrent_speed.py). The loop
over time holds only what depends on the step before: one matrix product and the gates; the products of the inputs of
all steps are one before it. And the gradient is written out, so that the gradients of the weights are one product over
all steps after the loop too, where automatic differentiation adds up one for each step.
"""

from __future__ import annotations

import keras
from keras import ops

Tensor = keras.KerasTensor

SATURATED = 100.0
"""The sigmoid of it is 1, and that of its negative so small that it leaves nothing, in all precisions."""


class Simple:
    """h = tanh(p + h R) (Elman, Cognitive Science 14, 1990).

    What all recurrences here have: p = x W + b, the projected inputs of one step, (N, gates * units), and states of
    (N, units), the output first. ``forward`` makes the new states and what the gradient needs. ``slopes`` is what the
    gradient can compute for all steps at once, (L, N, ...), ``backward`` what it computes step by step.
    """

    cell = keras.layers.SimpleRNNCell
    states = 1
    kept = 0
    """Tensors (N, units) that ``forward`` keeps for the gradient."""
    gates = 1

    @staticmethod
    def biases(bias: Tensor, units: int) -> tuple[Tensor, Tensor]:
        """From the cell's bias: of the projected inputs, and of the last gate's product h R where that is apart."""
        return bias, ops.zeros((0,), bias.dtype)

    @staticmethod
    def still(units: int) -> Tensor:
        """A p that leaves states of zero as they are, (gates * units,)."""
        return ops.zeros((units,))

    @staticmethod
    def forward(p: Tensor, states: list[Tensor], kernel: Tensor, bias: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """One step: new states, and tensors to keep."""
        return [ops.tanh(p + ops.matmul(states[0], kernel))], []

    @staticmethod
    def slopes(before: list[Tensor], after: list[Tensor], kept: list[Tensor]) -> list[Tensor]:
        """Of all steps: factors of the gradients in ``backward``, by the states before and after each step."""
        return [1 - ops.square(after[0])]

    @staticmethod
    def backward(gradients: list[Tensor], slopes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """One step back: the gradient of h R, and those parts of the earlier states' that do not go through it."""
        return gradients[0] * slopes[0], [ops.zeros_like(gradients[0])]

    @staticmethod
    def projected(inner: Tensor, gradients: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """The gradient of p for all steps, by that of h R and those of the states."""
        return inner


class GRU(Simple):
    """Gated recurrent unit, its reset gate after the product: ``keras.layers.GRU(reset_after=True)``.

    Cho et al., arXiv 1406.1078, as in cuDNN: z, r = sigmoid(p + h R), g = tanh(p + r (h R + b)), h = z h + (1 - z) g.
    """

    cell = keras.layers.GRUCell
    kept = 4
    gates = 3

    @staticmethod
    def still(units: int) -> Tensor:
        """See :class:`Simple`; z is 1."""
        return ops.concatenate([ops.full((units,), SATURATED), ops.zeros((2 * units,))])

    @staticmethod
    def biases(bias: Tensor, units: int) -> tuple[Tensor, Tensor]:
        """See :class:`Simple`."""
        gates, last = ops.split(bias[1], [2 * units])
        return bias[0] + ops.pad(gates, ((0, units),)), last

    @staticmethod
    def forward(p: Tensor, states: list[Tensor], kernel: Tensor, bias: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See :class:`Simple`."""
        (h,) = states
        units = h.shape[-1]
        product = ops.matmul(h, kernel)
        gates = ops.sigmoid(p[:, : 2 * units] + product[:, : 2 * units])
        z, r = gates[:, :units], gates[:, units:]
        inner = product[:, 2 * units :] + bias
        g = ops.tanh(p[:, 2 * units :] + r * inner)
        return [g + z * (h - g)], [z, r, inner, g]

    @staticmethod
    def slopes(before: list[Tensor], after: list[Tensor], kept: list[Tensor]) -> list[Tensor]:
        """See :class:`Simple`."""
        z, r, inner, g = kept
        candidate = (1 - z) * (1 - ops.square(g))
        product = candidate * r
        return [z, candidate, ops.concatenate([(before[0] - g) * z * (1 - z), product * inner * (1 - r), product], -1)]

    @staticmethod
    def backward(gradients: list[Tensor], slopes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See :class:`Simple`."""
        (gradient,) = gradients
        return ops.tile(gradient, (1, 3)) * slopes[2], [gradient * slopes[0]]

    @staticmethod
    def projected(inner: Tensor, gradients: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """See :class:`Simple`."""
        return ops.concatenate([inner[..., : 2 * slopes[1].shape[-1]], gradients[0] * slopes[1]], -1)


class LSTM(Simple):
    """Long short-term memory with a forget gate (Gers et al., Neural Computation 12, 2000): ``keras.layers.LSTM``.

    i, f, o = sigmoid(p + h R), g = tanh(p + h R), c = f c + i g, h = o tanh(c); the gates in the order i, f, g, o.
    """

    cell = keras.layers.LSTMCell
    states = 2
    kept = 4
    gates = 4

    @staticmethod
    def still(units: int) -> Tensor:
        """See :class:`Simple`; i is 0."""
        return ops.concatenate([ops.full((units,), -SATURATED), ops.zeros((3 * units,))])

    @staticmethod
    def forward(p: Tensor, states: list[Tensor], kernel: Tensor, bias: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See :class:`Simple`."""
        h, c = states
        units = h.shape[-1]
        gates = p + ops.matmul(h, kernel)
        first = ops.sigmoid(gates[:, : 2 * units])
        i, f = first[:, :units], first[:, units:]
        g = ops.tanh(gates[:, 2 * units : 3 * units])
        o = ops.sigmoid(gates[:, 3 * units :])
        c = f * c + i * g
        return [o * ops.tanh(c), c], [i, f, g, o]

    @staticmethod
    def slopes(before: list[Tensor], after: list[Tensor], kept: list[Tensor]) -> list[Tensor]:
        """See :class:`Simple`."""
        i, f, g, o = kept
        squashed = ops.tanh(after[1])
        of_c = [g * i * (1 - i), before[1] * f * (1 - f), i * (1 - ops.square(g))]
        return [f, o * (1 - ops.square(squashed)), ops.concatenate([*of_c, squashed * o * (1 - o)], -1)]

    @staticmethod
    def backward(gradients: list[Tensor], slopes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See :class:`Simple`."""
        of_h, of_c = gradients
        of_c = of_c + of_h * slopes[1]
        inner = ops.concatenate([of_c, of_c, of_c, of_h], -1) * slopes[2]
        return inner, [ops.zeros_like(of_h), of_c * slopes[0]]


RECURRENCES = {"simple": Simple, "gru": GRU, "lstm": LSTM}


def recur(recurrence: type[Simple], p: Tensor, kernel: Tensor, bias: Tensor, reverse: bool) -> Tensor:
    """Run through the time steps, which are the first axis; states are zero at the start.

    Args:
        recurrence: one of :data:`RECURRENCES`.
        p: projected inputs, (L, N, gates * units).
        kernel: recurrent weights, (units, gates * units).
        bias: see :meth:`Simple.biases`.
        reverse: from the last step to the first.

    Returns:
        The output of each step, (L, N, units).
    """
    units, count = kernel.shape[0], recurrence.states

    def run(p: Tensor, kernel: Tensor, bias: Tensor) -> tuple:
        steps, zeros = ops.arange(ops.shape(p)[0]), ops.zeros_like(p[0, :, :units])

        def forward(carry: list[Tensor], step: Tensor) -> tuple[list, list]:
            states, kept = recurrence.forward(p[step], carry[:count], kernel, bias)
            return [*states, *kept], [*states, *kept]

        def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> tuple:
            upstream = arguments[0] if upstream is None else upstream
            states, kept = results[:count], results[count:]
            before = [_shift(state, zeros, reverse) for state in states]
            slopes = recurrence.slopes(before, states, kept)
            transposed = ops.transpose(kernel)

            def backward(carry: list[Tensor], step: Tensor) -> tuple[list, list]:
                gradients = [carry[0] + upstream[step], *carry[1:count]]
                inner, earlier = recurrence.backward(gradients, [slope[step] for slope in slopes])
                earlier[0] = earlier[0] + ops.matmul(inner, transposed)
                return [*earlier, inner], [*gradients, inner]

            start = [zeros] * count + [ops.zeros_like(p[0])]
            *gradients, inner = ops.scan(backward, start, steps, reverse=not reverse)[1]
            flat = ops.reshape(inner, (-1, inner.shape[-1]))
            of_kernel = ops.matmul(ops.transpose(ops.reshape(before[0], (-1, units))), flat)
            of_bias = ops.sum(flat[:, flat.shape[-1] - bias.shape[0] :], axis=0)
            return recurrence.projected(inner, gradients, slopes), of_kernel, of_bias

        results = ops.scan(forward, [zeros] * (count + recurrence.kept), steps, reverse=reverse)[1]
        return results[0], gradient

    return ops.custom_gradient(run)(p, kernel, bias)


def _shift(states: Tensor, zeros: Tensor, reverse: bool) -> Tensor:
    """The state before each step, by the states after each, (L, N, units)."""
    zeros = ops.expand_dims(zeros, 0)
    return ops.concatenate([states[1:], zeros] if reverse else [zeros, states[:-1]], axis=0)


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
        shape = (-1, ops.shape(sequences)[0], recurrence.gates * self.units)
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
            outputs.append(recur(recurrence, projected, recurrent, of_product, reverse))
        return ops.transpose(ops.concatenate(outputs, -1) * mask, (1, 0, 2))

    def compute_output_shape(self, sequences_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output."""
        return (*sequences_shape[:-1], len(self.cells) * self.units)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        own = {"cell": self.cell, "units": self.units, "bidirectional": self.bidirectional}
        return {**super().get_config(), **own}
