from functools import cache

import keras
import numpy as np
import pytest
from keras import ops

from data.spec import Spec
from models.parts.recurrent import Recurrence
from models.parts.text import CharacterDropout, CharacterNgramBag, Readout
from models.recurrent import BUCKETS, CharacterNgrams, Recurrent
from tests.conftest import on_backend

KERAS = {"simple": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
FEATURES, UNITS = 5, 6


def ragged(count=7, longest=9, seed=0):
    """Random inputs (N, L, features) and their mask; one text of full length, one of a single character."""
    generator = np.random.default_rng(seed)
    lengths = np.array([longest, 1, *generator.integers(1, longest + 1, count - 2)])
    mask = np.arange(longest) < lengths[:, None]
    return generator.normal(size=(count, longest, FEATURES)).astype(np.float32), mask


def ours(cell, bidirectional, layers):
    return [Recurrence(cell, UNITS, bidirectional) for _ in range(layers)]


def theirs(cell, bidirectional, layers):
    stack = [KERAS[cell](UNITS, return_sequences=True) for _ in range(layers)]
    return [keras.layers.Bidirectional(layer) for layer in stack] if bidirectional else stack


def gradients(stack, x, mask, weighting):
    """Outputs at real positions, and the gradients of a weighted sum of them by inputs and weights."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        x = tf.constant(x)
        tape.watch(x)
        y = x
        for layer in stack:
            y = layer(y, mask=mask)
        y = y * mask[..., None].astype(np.float32)
        loss = ops.sum(y * weighting)
    variables = [variable.value for layer in stack for variable in layer.trainable_variables]
    return y.numpy(), [np.asarray(value) for value in tape.gradient(loss, [x, *variables])]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", KERAS)
def test_equals_keras(cell, bidirectional, layers):
    x, mask = ragged()
    reference, stack = theirs(cell, bidirectional, layers), ours(cell, bidirectional, layers)
    generator = np.random.default_rng(1)
    y = x
    for one, other in zip(reference, stack, strict=True):
        one.build(y.shape)
        other.build(y.shape)
        # Keras' biases begin as zeros, which would hide where they are added.
        one.set_weights([generator.normal(size=weight.shape) * 0.5 for weight in one.get_weights()])
        other.set_weights(one.get_weights())
        y = np.zeros((*y.shape[:2], UNITS * (1 + bidirectional)))
    weighting = generator.normal(size=y.shape).astype(np.float32)
    expected, expected_gradients = gradients(reference, x, mask, weighting)
    found, found_gradients = gradients(stack, x, mask, weighting)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for found_one, expected_one in zip(found_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found_one, expected_one, atol=1e-5 * max(1, np.abs(expected_one).max()))


SPEC = Spec("text", ("one", "two", "three"), vocabulary=tuple("abcdefgh"), longest=12)
MODELS = [
    CharacterNgrams(),
    CharacterNgrams(longest=2, buckets=101, character_dropout=0.3),
    Recurrent("simple", units=8, layers=1, embedding=4, bidirectional=False),
    Recurrent("gru", units=8, layers=2, embedding=4, convolution=6, pooling="mean", dropout=0.2, character_dropout=0.2),
    Recurrent("lstm", units=8, layers=1, embedding=4, pooling="max", embedding_dropout=0.3, ngrams=3, buckets=1009),
]


def texts(count=16, length=8, seed=0):
    """Random ids of characters, padded; their class is that of the first character."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, length + 1, count)
    lengths[0] = length
    ids = generator.integers(2, 10, (count, length)) * (np.arange(length) < lengths[:, None])
    return ids.astype(np.int32), ids[:, 0] % 3


@cache
def trained_once(model):
    """A network after one step, and its weights before; shared by tests that only look at it."""
    network = model.build(SPEC)
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = network.get_weights()
    network.train_on_batch(*texts())
    return network, before


@pytest.mark.parametrize("model", MODELS, ids=str)
class TestEveryClassifierOfTexts:
    def test_padding_changes_nothing(self, model):
        network = model.build(SPEC)
        generator = np.random.default_rng(0)
        network.set_weights([generator.normal(size=weight.shape) * 0.3 for weight in network.get_weights()])
        ids, _ = texts()
        logits = network.predict_on_batch(ids)
        assert logits.shape == (16, 3)
        assert logits.dtype == np.float32
        assert logits.std() > 0
        longer = network.predict_on_batch(np.pad(ids, ((0, 0), (0, 5))))
        np.testing.assert_allclose(logits, longer, atol=1e-6)
        for row, text in enumerate(ids):
            alone = network.predict_on_batch(text[None, : np.count_nonzero(text)])
            np.testing.assert_allclose(logits[row], alone[0], atol=1e-6)

    def test_its_layers_hide_nothing_of_pytorchs(self, model):
        """On PyTorch layers are its modules, whose methods an attribute of ours would hide."""
        methods = {
            "forward",
            "train",
            "eval",
            "apply",
            "to",
            "type",
            "half",
            "float",
            "double",
            "parameters",
            "modules",
        }
        network, _ = trained_once(model)
        assert not [layer.name for layer in network._flatten_layers() if methods & vars(layer).keys()]

    def test_survives_saving(self, model, tmp_path):
        (network, _), (ids, _) = trained_once(model), texts()
        network.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(network.predict_on_batch(ids), again.predict_on_batch(ids))

    def test_gives_every_weight_a_gradient(self, model):
        network, before = trained_once(model)
        same = [np.array_equal(old, new) for old, new in zip(before, network.get_weights(), strict=True)]
        assert not any(same)

    def test_stays_float32_at_its_end_under_mixed_precision(self, model):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            network = model.build(SPEC)
        finally:
            keras.config.set_dtype_policy("float32")
        assert network.output.dtype == "float32"
        assert {weight.dtype for weight in network.weights} == {"float32"}
        network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        assert np.isfinite(network.train_on_batch(*texts()))


LEARNING = """
import keras
import numpy as np
import sys

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    tf.config.experimental.enable_op_determinism()
    # What is here must not need it, see the layers; but trainings are run with it.
from models.recurrent import Recurrent
from tests.test_recurrent import SPEC, texts

keras.utils.set_random_seed(0)
model = Recurrent("gru", units=16, layers=1, embedding=8, dropout=0.1, character_dropout=0.1, ngrams=2, buckets=1009)
network = model.build(SPEC)
network.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
for step in range(60):
    loss = network.train_on_batch(*texts(64, 8, step))
ids, labels = texts(200, 8, 1000)
accuracy = (network.predict_on_batch(ids).argmax(1) == labels).mean()
print(accuracy, float(loss), sum(float(np.abs(weight).sum()) for weight in network.get_weights()))
"""


def learn(backend):
    done = on_backend(backend, LEARNING)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_learns(backend):
    assert float(learn(backend).split()[0]) > 0.9


def test_readout_of_each_kind():
    x, mask = ragged()
    lengths = mask.sum(1)
    x = np.tanh(x) * mask[..., None]
    last, mean, largest = (
        ops.convert_to_numpy(Readout(pooling, 3)(x, mask=mask)) for pooling in ("last", "mean", "max")
    )
    for row, length in enumerate(lengths):
        text = x[row, :length]
        np.testing.assert_allclose(last[row], [*text[-1, :3], *text[0, 3:]], atol=1e-6)
        np.testing.assert_allclose(mean[row], text.mean(0), atol=1e-6)
        np.testing.assert_allclose(largest[row], text.max(0), atol=1e-6)


def test_character_dropout_strikes_only_characters_and_only_in_training():
    ids, _ = texts(500)
    layer = CharacterDropout(0.25)
    np.testing.assert_array_equal(layer(ids, training=False), ids)
    struck = np.array(layer(ids, training=True))
    assert set(struck[struck != ids]) == {1}
    assert (struck[ids == 0] == 0).all()
    assert np.isclose((struck[ids > 0] == 1).mean(), 0.25, atol=0.03)


def test_ngrams_are_those_of_the_text_with_its_ends():
    layer = CharacterNgramBag(units=1, characters=10, longest=3, buckets=BUCKETS)
    rows, exist = (
        ops.convert_to_numpy(part) for part in layer.ngrams(np.array([[2, 3, 2, 3, 0, 0], [4, 0, 0, 0, 0, 0]]))
    )
    marked = [(10, 2, 3, 2, 3, 11), (10, 4, 11)]
    for row, text in enumerate(marked):
        grams = [text[i : i + n] for n in (1, 2, 3) for i in range(len(text) - n + 1)]
        grams = [gram for gram in grams if gram not in {(10,), (11,)}]
        found = rows[row][exist[row]]
        assert len(found) == len(grams)
        assert len(set(found)) == len(set(grams))  # equal n-grams share a row, others do not


def test_hashing_overflows_nowhere():
    layer = CharacterNgramBag(units=1, characters=4000, longest=5, buckets=2**18 - 5)
    ids = np.random.default_rng(0).integers(2, 4000, (200, 20)).astype(np.int32)
    rows, exist = (ops.convert_to_numpy(part) for part in layer.ngrams(ids))
    factor, text = (2**31 - 2**21) // layer.buckets, [4000, *map(int, ids[0]), 4001]
    value = 5
    for character in text[:5]:
        value = (value * factor + character) % layer.buckets
    assert rows[0, 4 * 21] == value
    assert rows.min() >= 0
    assert len(np.unique(rows[exist])) > 0.75 * layer.buckets * (1 - np.exp(-exist.sum() / layer.buckets))
