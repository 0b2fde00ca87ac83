"""Layers for texts as padded ids of characters. Importing this file registers them."""

from __future__ import annotations

import keras
from keras import ops

from data.spec import PADDING, UNKNOWN

Tensor = keras.KerasTensor


@keras.saving.register_keras_serializable(package="pipelines")
class CharacterDropout(keras.layers.Layer):
    """Makes each character unknown with this probability when training: ids (N, L) to ids (N, L)."""

    def __init__(self, rate: float, **arguments: object) -> None:
        super().__init__(**arguments)
        self.rate = rate
        self.generator = keras.random.SeedGenerator()

    def call(self, ids: Tensor, training: bool | None = None) -> Tensor:
        """Replace some of the ids."""
        if not training or not self.rate:
            return ids
        struck = keras.random.uniform(ops.shape(ids), dtype="float32", seed=self.generator) < self.rate
        unknown = ops.full_like(ids, UNKNOWN)
        return ops.where(ops.logical_and(struck, ops.not_equal(ids, PADDING)), unknown, ids)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output."""
        return shape

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="pipelines")
class Readout(keras.layers.Layer):
    """One vector for each text, from one for each character: (N, L, features) to (N, features).

    ``last``: of those units that run forward their value at the last character, of the others at the first; ``mean``
    and ``max`` over the characters. Values must be -1 or more, as those of recurrent layers are.
    """

    def __init__(self, pooling: str, forward: int, **arguments: object) -> None:
        """``forward`` is the number of units that run forward."""
        super().__init__(**arguments)
        self.pooling, self.forward_units = pooling, forward
        self.supports_masking = True

    def call(self, sequences: Tensor, mask: Tensor) -> Tensor:
        """Pool; ``mask`` is (N, L), 1 where a text has a character, else 0."""
        if self.pooling == "max":
            real = ops.expand_dims(ops.cast(mask, "bool"), -1)
            return ops.max(ops.where(real, sequences, -ops.ones_like(sequences)), axis=1)
        mask = ops.cast(mask, sequences.dtype)
        if self.pooling == "mean":
            total = ops.sum(sequences * ops.expand_dims(mask, -1), axis=1)
            return total / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1)
        following = ops.pad(mask[:, 1:], ((0, 0), (0, 1)))
        last = ops.expand_dims(mask * (1 - following), -1)
        # A sum with a single summand, because the gradient of an index is slower and not deterministic everywhere.
        forward = ops.sum(sequences[..., : self.forward_units] * last, axis=1)
        return ops.concatenate([forward, sequences[:, 0, self.forward_units :]], axis=-1)

    def compute_mask(self, sequences: Tensor, previous_mask: Tensor | None) -> None:
        """There is no time axis any more."""

    def compute_output_shape(self, sequences_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output."""
        return (sequences_shape[0], sequences_shape[-1])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "pooling": self.pooling, "forward": self.forward_units}


GAIN = 10.0
"""Factor on a bag's sums. A step of Adam has about the size of the learning rate, whatever that of the gradient, so
that the weight of an n-gram, which few texts have, moves as quickly as it must beside the rest of a network."""


@keras.saving.register_keras_serializable(package="pipelines")
class CharacterNgramBag(keras.layers.Layer):
    """Sum of a vector for each n-gram of a text's characters: ids (N, L) to float32 (N, units).

    The n-grams of 1 to ``longest`` characters, those of two or more also with marks for the text's begin and end, are
    hashed to rows of a table (Weinberger et al., arXiv 0902.2206). The sum is divided by the root of their number: a
    text with no n-gram twice is then a vector of length 1 over all n-grams, as in linear text classification. It is
    multiplied by :data:`GAIN`, and a bias is added.
    """

    def __init__(
        self, units: int, characters: int, longest: int, buckets: int, dropout: float = 0.0, **arguments: object
    ) -> None:
        """Set up.

        Args:
            units: numbers for each text.
            characters: ids are below it.
            longest: characters of the longest n-grams.
            buckets: rows of the table, up to 2**18, best a prime number.
            dropout: share of a text's n-grams left out at each step of training.
            **arguments: Keras' own.
        """
        super().__init__(**arguments)
        self.units, self.characters, self.longest, self.buckets = units, characters, longest, buckets
        self.dropout = dropout
        self.generator = keras.random.SeedGenerator()

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the weights, all zero, as suits a linear classifier."""
        self.table = self.add_weight(name="table", shape=(self.buckets, self.units), initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def ngrams(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The n-grams' rows, int32 (N, K), and which of them exist, bool (N, K)."""
        begin, end = self.characters, self.characters + 1
        ids = ops.cast(ids, "int32")
        length = ops.sum(ops.cast(ops.not_equal(ids, PADDING), "int32"), axis=1, keepdims=True)
        ids = ops.pad(ids, ((0, 0), (1, self.longest)))
        position = ops.expand_dims(ops.arange(ops.shape(ids)[1], dtype="int32"), 0)
        ids = ops.where(ops.equal(position, 0), ops.full_like(ids, begin), ids)
        ids = ops.where(ops.equal(position, length + 1), ops.full_like(ids, end), ids)
        starts = ops.shape(ids)[1] - self.longest
        # The row is the value of a polynomial whose coefficients are n and the ids, modulo the number of buckets. No
        # intermediate result reaches 2**31, since ids of Unicode's characters are below 2**21.
        factor = (2**31 - 2**21) // self.buckets
        rows, exist = [], []
        for n in range(1, self.longest + 1):
            value = ops.full_like(ids[:, :starts], n)
            for offset in range(n):
                value = ops.mod(value * factor + ids[:, offset : starts + offset], self.buckets)
            first, last = position[:, :starts], position[:, :starts] + n - 1
            inside = ops.less_equal(last, length + 1) if n > 1 else ops.logical_and(first > 0, last <= length)
            rows.append(value)
            exist.append(inside)
        return ops.concatenate(rows, axis=1), ops.concatenate(exist, axis=1)

    def call(self, ids: Tensor, training: bool | None = None) -> Tensor:
        """Look up and add."""
        rows, exist = self.ngrams(ids)
        if training and self.dropout:
            kept = keras.random.uniform(ops.shape(rows), dtype="float32", seed=self.generator) >= self.dropout
            exist = ops.logical_and(exist, kept)
        exist = ops.cast(exist, "float32")
        vectors = ops.cast(ops.take(self.table, rows, axis=0), "float32") * ops.expand_dims(exist, -1)
        count = ops.maximum(ops.sum(exist, axis=1, keepdims=True), 1)
        return GAIN * ops.sum(vectors, axis=1) / ops.sqrt(count) + ops.cast(self.bias, "float32")

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output."""
        return (shape[0], self.units)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        own = {"units": self.units, "characters": self.characters, "longest": self.longest, "buckets": self.buckets}
        return {**super().get_config(), **own, "dropout": self.dropout}
