"""Classifiers of texts by their characters: recurrent networks, and the bag of n-grams as the linear baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from data.errors import BadInput
from data.spec import FIRST
from models.base import Model

if TYPE_CHECKING:
    import keras

    from data.spec import Spec

BUCKETS = 262_139
"""Rows of the table of hashed n-grams, a prime; with a quarter of it collisions cost half a point on names."""


@dataclass(frozen=True)
class CharacterNgrams(Model):
    """Multinomial logistic regression on the bag of a text's character n-grams."""

    task: ClassVar[str] = "sequence"

    longest: int = 5
    """Characters of the longest n-grams; shorter ones are in the bag too."""
    buckets: int = BUCKETS
    """Rows of the table that n-grams are hashed to; at most 2**18."""
    ngram_dropout: float = 0.0
    """Share of a text's n-grams left out at each step."""
    character_dropout: float = 0.0
    """Share of the characters made unknown at each step."""

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        ids = characters()
        logits = bag(replaced(ids, self.character_dropout), spec, self.longest, self.buckets, self.ngram_dropout)
        return keras.Model(ids, logits, name="character_ngrams")


@dataclass(frozen=True)
class Recurrent(Model):
    """Recurrent layers over the embedded characters, one vector read out, and the classes' logits."""

    task: ClassVar[str] = "sequence"
    small_operations: ClassVar[bool] = True

    cell: Literal["simple", "gru", "lstm"] = "gru"
    units: int = 128
    """Units of each direction of each layer."""
    layers: int = 2
    bidirectional: bool = True
    embedding: int = 64
    """Numbers for each character."""
    convolution: int = 0
    """Filters of a convolution over three characters, with ReLU, below the recurrent layers; 0 for none."""
    pooling: Literal["last", "mean", "max"] = "last"
    """What is read out: the state at the end of the text, for the backward direction at its start; or the mean or the
    maximum of each unit over the characters."""
    dropout: float = 0.0
    """Share of the units left out at each step, after each recurrent layer."""
    embedding_dropout: float = 0.0
    """The same after the embedding."""
    character_dropout: float = 0.0
    """Share of the characters made unknown at each step."""
    ngrams: int = 0
    """Longest n-grams of a linear classifier whose logits are added (wide and deep, arXiv 1606.07792); 0 for none."""
    buckets: int = BUCKETS
    """Rows of the table that n-grams are hashed to; at most 2**18."""
    ngram_dropout: float = 0.0
    """Share of a text's n-grams left out at each step."""

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        if self.layers < 1:
            raise BadInput(f"{self.layers} layers", "--model.layers", "give 1 or more")
        ids = characters()
        seen = replaced(ids, self.character_dropout)
        real = keras.ops.minimum(ids, 1)  # no bool: oneDNN can't transpose one, and says so each time
        x = self._below(seen, real, spec)
        x = self._recurrent(x, real)
        x = keras.layers.Dense(len(spec.classes), dtype="float32", name="logits")(x)
        if self.ngrams:
            linear = bag(seen, spec, self.ngrams, self.buckets, self.ngram_dropout)
            x = keras.layers.Add(dtype="float32", name="sum")([x, linear])
        return keras.Model(ids, x, name=f"recurrent_{self.cell}")

    def _below(self, x: keras.KerasTensor, real: keras.KerasTensor, spec: Spec) -> keras.KerasTensor:
        """What the recurrent layers take, (N, L, features)."""
        import keras

        x = keras.layers.Embedding(len(spec.vocabulary) + FIRST, self.embedding, name="embedding")(x)
        if self.embedding_dropout:
            x = keras.layers.Dropout(self.embedding_dropout, name="embedding_dropout")(x)
        if self.convolution:
            # Beyond a text's end the convolution must find the zeros that it finds beyond its start.
            x = x * keras.ops.expand_dims(keras.ops.cast(real, x.dtype), -1)
            x = keras.layers.Conv1D(self.convolution, 3, padding="same", activation="relu", name="convolution")(x)
        return x

    def _recurrent(self, x: keras.KerasTensor, real: keras.KerasTensor) -> keras.KerasTensor:
        """One vector for each text, (N, features)."""
        import keras

        from models.parts.recurrent import Recurrence
        from models.parts.text import Readout

        for number in range(1, self.layers + 1):
            x = Recurrence(self.cell, self.units, self.bidirectional, name=f"recurrence_{number}")(x, mask=real)
            if number == self.layers:
                x = Readout(self.pooling, self.units, name="readout")(x, mask=real)
            if self.dropout:
                x = keras.layers.Dropout(self.dropout, name=f"dropout_{number}")(x)
        return x


def characters() -> keras.KerasTensor:
    """The input: ids of characters, padded with 0 at the end, (N, L) for any L."""
    import keras

    return keras.Input((None,), dtype="int32", name="characters")


def replaced(ids: keras.KerasTensor, rate: float) -> keras.KerasTensor:
    """The ids, when training with some characters made unknown."""
    from models.parts.text import CharacterDropout

    return CharacterDropout(rate, name="character_dropout")(ids) if rate else ids


def bag(ids: keras.KerasTensor, spec: Spec, longest: int, buckets: int, dropout: float) -> keras.KerasTensor:
    """Float32 scores of the classes by the texts' n-grams."""
    from models.parts.text import CharacterNgramBag

    known = len(spec.vocabulary) + FIRST
    return CharacterNgramBag(len(spec.classes), known, longest, buckets, dropout, dtype="float32", name="ngrams")(ids)
