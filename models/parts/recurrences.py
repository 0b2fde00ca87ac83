"""Recurrences with their gradients written out: what :mod:`models.parts.recurrent` runs through time."""

from __future__ import annotations

import keras
from keras import ops

Tensor = keras.KerasTensor

SATURATED = 100.0
"""The sigmoid of it is 1, and that of its negative so small that it leaves nothing, in all precisions."""


class Simple:
    """h = tanh(p + h R) (Elman, Cognitive Science 14, 1990).

    What all recurrences here have: p = x W + b, the projected inputs of one step, (N, gates * units), and states of
    (N, units), the output first. The gradient needs the states and the products h R, q; what it can compute out of
    them for all steps at once, (L, N, ...), stands in ``slopes``. ``complete``, ``inner`` and ``earlier`` serve one
    step as well as all of them.
    """

    cell = keras.layers.SimpleRNNCell
    states = 1
    gates = 1
    stepwise = 1
    """How many of ``slopes`` are needed step by step."""

    @staticmethod
    def biases(bias: Tensor, units: int) -> tuple[Tensor, Tensor]:
        """From the cell's bias: of the projected inputs, and of the last gate's product h R where that is apart."""
        return bias, ops.zeros((0,), bias.dtype)

    @staticmethod
    def still(units: int) -> Tensor:
        """A p that leaves states of zero as they are, (gates * units,)."""
        return ops.zeros((units,))

    @staticmethod
    def forward(p: Tensor, q: Tensor, states: list[Tensor], bias: Tensor) -> list[Tensor]:
        """One step: the new states."""
        return [ops.tanh(p + q)]

    @staticmethod
    def slopes(p: Tensor, q: Tensor, before: list[Tensor], after: list[Tensor], bias: Tensor) -> list[Tensor]:
        """Of all steps: factors of the gradients below, by the states before and after each step."""
        return [1 - ops.square(after[0])]

    @staticmethod
    def complete(gradients: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
        """The gradients of a step's states, given what comes from later steps and from above."""
        return gradients

    @staticmethod
    def inner(gradients: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """The gradient of h R, by complete ones."""
        return gradients[0] * slopes[0]

    @staticmethod
    def earlier(gradients: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
        """Those parts of the gradients of the states before that do not go through h R."""
        return [ops.zeros_like(gradients[0])]

    @staticmethod
    def projected(inner: Tensor, gradients: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """The gradient of p for all steps."""
        return inner


class GRU(Simple):
    """Gated recurrent unit, its reset gate after the product: ``keras.layers.GRU(reset_after=True)``.

    Cho et al., arXiv 1406.1078, as in cuDNN: z, r = sigmoid(p + h R), g = tanh(p + r (h R + b)), h = z h + (1 - z) g.
    """

    cell = keras.layers.GRUCell
    gates = 3
    stepwise = 2

    @staticmethod
    def biases(bias: Tensor, units: int) -> tuple[Tensor, Tensor]:
        """See :class:`Simple`."""
        gates, last = ops.split(bias[1], [2 * units])
        return bias[0] + ops.pad(gates, ((0, units),)), last

    @staticmethod
    def still(units: int) -> Tensor:
        """See :class:`Simple`; z is 1."""
        return ops.concatenate([ops.full((units,), SATURATED), ops.zeros((2 * units,))])

    @staticmethod
    def _parts(p: Tensor, q: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """z, r, h R + b for the last gate, and g; of one step or of all."""
        units = p.shape[-1] // 3
        gates = ops.sigmoid(p[..., : 2 * units] + q[..., : 2 * units])
        z, r = gates[..., :units], gates[..., units:]
        inner = q[..., 2 * units :] + bias
        return z, r, inner, ops.tanh(p[..., 2 * units :] + r * inner)

    @classmethod
    def forward(cls, p: Tensor, q: Tensor, states: list[Tensor], bias: Tensor) -> list[Tensor]:
        """See :class:`Simple`."""
        z, _, _, g = cls._parts(p, q, bias)
        return [g + z * (states[0] - g)]

    @classmethod
    def slopes(cls, p: Tensor, q: Tensor, before: list[Tensor], after: list[Tensor], bias: Tensor) -> list[Tensor]:
        """See :class:`Simple`."""
        z, r, inner, g = cls._parts(p, q, bias)
        candidate = (1 - z) * (1 - ops.square(g))
        product = candidate * r
        return [z, ops.concatenate([(before[0] - g) * z * (1 - z), product * inner * (1 - r), product], -1), candidate]

    @staticmethod
    def inner(gradients: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """See :class:`Simple`."""
        return ops.concatenate(gradients * 3, -1) * slopes[1]

    @staticmethod
    def earlier(gradients: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
        """See :class:`Simple`."""
        return [gradients[0] * slopes[0]]

    @staticmethod
    def projected(inner: Tensor, gradients: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """See :class:`Simple`."""
        return ops.concatenate([inner[..., : 2 * slopes[0].shape[-1]], gradients[0] * slopes[2]], -1)


class LSTM(Simple):
    """Long short-term memory with a forget gate (Gers et al., Neural Computation 12, 2000): ``keras.layers.LSTM``.

    i, f, o = sigmoid(p + h R), g = tanh(p + h R), c = f c + i g, h = o tanh(c); the gates in the order i, f, g, o.
    """

    cell = keras.layers.LSTMCell
    states = 2
    gates = 4
    stepwise = 3

    @staticmethod
    def still(units: int) -> Tensor:
        """See :class:`Simple`; i is 0."""
        return ops.concatenate([ops.full((units,), -SATURATED), ops.zeros((3 * units,))])

    @staticmethod
    def _parts(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """i, f, g and o; of one step or of all."""
        units = p.shape[-1] // 4
        gates = p + q
        first = ops.sigmoid(gates[..., : 2 * units])
        last = ops.sigmoid(gates[..., 3 * units :])
        return first[..., :units], first[..., units:], ops.tanh(gates[..., 2 * units : 3 * units]), last

    @classmethod
    def forward(cls, p: Tensor, q: Tensor, states: list[Tensor], bias: Tensor) -> list[Tensor]:
        """See :class:`Simple`."""
        i, f, g, o = cls._parts(p, q)
        c = f * states[1] + i * g
        return [o * ops.tanh(c), c]

    @classmethod
    def slopes(cls, p: Tensor, q: Tensor, before: list[Tensor], after: list[Tensor], bias: Tensor) -> list[Tensor]:
        """See :class:`Simple`."""
        i, f, g, o = cls._parts(p, q)
        squashed = ops.tanh(after[1])
        of_c = [g * i * (1 - i), before[1] * f * (1 - f), i * (1 - ops.square(g))]
        return [f, ops.concatenate([*of_c, squashed * o * (1 - o)], -1), o * (1 - ops.square(squashed))]

    @staticmethod
    def complete(gradients: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
        """See :class:`Simple`; what reaches h reaches c by it."""
        of_h, of_c = gradients
        return [of_h, of_c + of_h * slopes[2]]

    @staticmethod
    def inner(gradients: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """See :class:`Simple`."""
        of_h, of_c = gradients
        return ops.concatenate([of_c, of_c, of_c, of_h], -1) * slopes[1]

    @staticmethod
    def earlier(gradients: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
        """See :class:`Simple`."""
        of_h, of_c = gradients
        return [ops.zeros_like(of_h), of_c * slopes[0]]


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

    def run(p: Tensor, kernel: Tensor, bias: Tensor) -> tuple:
        steps = ops.arange(ops.shape(p)[0])
        start = [ops.zeros_like(p[0, :, : kernel.shape[0]])] * recurrence.states

        def forward(carry: list[Tensor], step: Tensor) -> tuple[list, list]:
            *states, _ = carry
            q = ops.matmul(states[0], kernel)
            carry = [*recurrence.forward(p[step], q, states, bias), q]
            return carry, carry

        *states, q = ops.scan(forward, [*start, ops.zeros_like(p[0])], steps, reverse=reverse)[1]

        def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> tuple:
            upstream = arguments[0] if upstream is None else upstream
            return _gradient(recurrence, p, q, kernel, bias, states, upstream, reverse)

        return states[0], gradient

    return ops.custom_gradient(run)(p, kernel, bias)


def unrolled(recurrence: type[Simple], p: Tensor, kernel: Tensor, bias: Tensor, reverse: bool) -> Tensor:
    """The same as :func:`recur` step by step, for formats that know no loops; the number of steps must be known."""
    states = [ops.zeros_like(p[0, :, : kernel.shape[0]])] * recurrence.states
    outputs = []
    for step in sorted(range(p.shape[0]), reverse=reverse):
        states = recurrence.forward(p[step], ops.matmul(states[0], kernel), states, bias)
        outputs.append(states[0])
    return ops.stack(outputs[::-1] if reverse else outputs)


def _gradient(
    recurrence: type[Simple],
    p: Tensor,
    q: Tensor,
    kernel: Tensor,
    bias: Tensor,
    states: list[Tensor],
    upstream: Tensor,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of p, kernel and bias, by the states after each step and the gradient of the outputs."""
    zeros = ops.zeros_like(upstream[0])
    before = [_shift(state, zeros, reverse) for state in states]
    slopes = recurrence.slopes(p, q, before, states, bias)
    transposed = ops.transpose(kernel)

    def backward(carry: list[Tensor], step: Tensor) -> tuple[list, list]:
        here = [slope[step] for slope in slopes[: recurrence.stepwise]]
        gradients = recurrence.complete([carry[0] + upstream[step], *carry[1:]], here)
        earlier = recurrence.earlier(gradients, here)
        earlier[0] = earlier[0] + ops.matmul(recurrence.inner(gradients, here), transposed)
        return earlier, gradients

    steps = ops.arange(ops.shape(p)[0])
    gradients = ops.scan(backward, [zeros] * recurrence.states, steps, reverse=not reverse)[1]
    inner = recurrence.inner(gradients, slopes)
    flat = ops.reshape(inner, (-1, inner.shape[-1]))
    of_kernel = ops.matmul(ops.transpose(ops.reshape(before[0], (-1, kernel.shape[0]))), flat)
    of_bias = ops.sum(flat[:, flat.shape[-1] - bias.shape[0] :], axis=0)
    return recurrence.projected(inner, gradients, slopes), of_kernel, of_bias


def _shift(states: Tensor, zeros: Tensor, reverse: bool) -> Tensor:
    """The state before each step, by the states after each, (L, N, units)."""
    zeros = ops.expand_dims(zeros, 0)
    return ops.concatenate([states[1:], zeros] if reverse else [zeros, states[:-1]], axis=0)
