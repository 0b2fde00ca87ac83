import keras
import numpy as np
import pytest

import models
from data.errors import BadInput
from models.base import Model
from models.convolutional import AlexNet, LeNet5
from models.dense import MultilayerPerceptron
from models.fast import FastNetwork
from models.pretrained import Transferred
from models.residual import ResNet, WideResNet
from tests.conftest import make_spec

SMALL = [
    MultilayerPerceptron(units=()),
    MultilayerPerceptron(units=(16, 8), dropout=0.3, batch_normalization=True, l1=1e-4, l2=1e-3, activation="tanh"),
    LeNet5(),
    LeNet5(activation="relu", pooling="max", batch_normalization=True, dropout=0.1),
    AlexNet(units=(32, 16)),
    ResNet(depth=8, width=4),
    ResNet(depth=8, width=4, shortcut="projection"),
    WideResNet(depth=10, widening=1, dropout=0.1),
    FastNetwork(filters=(8, 8)),
    FastNetwork(filters=(8, 8), whitening_bias=False, identity=True, depth=3),
    FastNetwork(filters=(8, 8), whitening=0),
]


def spec_for(model):
    return make_spec((64, 64, 3) if isinstance(model, AlexNet) else (32, 32, 3))


def pixels(shape, count=4):
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


def leaves(kind):
    """The classes that have no subclass."""
    below = kind.__subclasses__()
    return set().union(*map(leaves, below)) if below else {kind}


def test_every_architecture_is_tried_here():
    models.import_architectures()
    classifiers = {kind for kind in leaves(Model) if kind.task == "classification"}
    assert classifiers - {Transferred} == {type(model) for model in SMALL}  # it needs a source: see test_transfer


@pytest.mark.parametrize("model", SMALL, ids=str)
class TestEveryArchitecture:
    def test_takes_raw_pixels_and_gives_finite_logits(self, model):
        spec = spec_for(model)
        logits = keras.ops.convert_to_numpy(model.build(spec)(pixels(spec.shape)))
        assert logits.shape == (4, 10)
        assert np.isfinite(logits).all()
        assert logits.std() > 0

    def test_stays_float32_at_its_end_under_mixed_precision(self, model):
        spec = spec_for(model)
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            network = model.build(spec)
        finally:
            keras.config.set_dtype_policy("float32")
        assert network.output.dtype == "float32"
        assert {weight.dtype for weight in network.weights} == {"float32"}
        assert any(layer.compute_dtype == "bfloat16" for layer in network.layers)

    def test_survives_saving(self, model, tmp_path):
        spec = spec_for(model)
        network = model.build(spec)
        network.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        images = pixels(spec.shape)
        np.testing.assert_array_equal(network.predict_on_batch(images), again.predict_on_batch(images))

    def test_gives_every_weight_a_gradient(self, model):
        spec = spec_for(model)
        network = model.build(spec)
        network.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
        before = [np.array(weight) for weight in network.trainable_weights]
        network.train_on_batch(pixels(spec.shape, 8), np.eye(10, dtype=np.float32)[:8])
        still = [
            weight.path
            for weight, old in zip(network.trainable_weights, before, strict=True)
            if np.array_equal(np.array(weight), old)
        ]
        assert not still


def test_alexnet_has_the_published_layer_sizes():
    network = AlexNet().build(make_spec((224, 224, 3), 1000))
    sizes = [int(np.prod(network.get_layer(f"conv_{number}").output.shape[1:])) for number in range(1, 6)]
    sizes += [network.get_layer(f"hidden_{number}").units for number in (6, 7)] + [network.output.shape[1]]
    assert int(np.prod(network.input.shape[1:])) == 150_528
    # The paper's 253,440 for the first layer is 55 x 48 x 96, which is no square: see the class.
    assert sizes == [55 * 55 * 96, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert 55 * 48 * 96 == 253_440
    assert network.count_params() == 60_965_224


def trainable(model):
    """Parameters that learn: the papers do not count the statistics of batch normalization."""
    return sum(int(np.prod(weight.shape)) for weight in model.build(make_spec()).trainable_weights)


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_resnets_have_the_published_number_of_parameters(depth, millions):
    assert round(trainable(ResNet(depth=depth)) / 1e6, 2) == millions


@pytest.mark.parametrize(("depth", "widening", "millions"), [(16, 4, 2.7), (40, 1, 0.6), (28, 10, 36.5)])
def test_wide_resnets_have_the_published_number_of_parameters(depth, widening, millions):
    assert round(trainable(WideResNet(depth=depth, widening=widening)) / 1e6, 1) == millions


def test_lenet_has_the_paper_s_maps():
    network = LeNet5().build(make_spec((28, 28, 1)))
    shapes = [network.get_layer(name).output.shape[1:] for name in ("conv_1", "pool_1", "conv_2", "pool_2")]
    assert shapes == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16)]


def test_lenet_takes_tiny_images():
    assert LeNet5().build(make_spec((8, 8, 1))).output.shape == (None, 10)


def test_a_softmax_layer_has_one_weight_for_each_pixel_and_class():
    assert MultilayerPerceptron(units=()).build(make_spec((28, 28, 1))).count_params() == 7850


@pytest.mark.parametrize(
    ("model", "shape"), [(ResNet(depth=21), (32, 32, 3)), (WideResNet(depth=12), (32, 32, 3)), (AlexNet(), (32, 32, 3)),
                         (FastNetwork(), (8, 8, 1))], ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_way_out(model, shape):
    with pytest.raises(BadInput, match=r"take one of|set --"):
        model.build(make_spec(shape))


def test_whitening_makes_patches_white():
    from models.parts.convolutional import PatchWhitening

    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 200, (50, 8, 8, 3))
    images = (np.repeat(np.repeat(coarse, 4, 1), 4, 2) + generator.integers(0, 55, (50, 32, 32, 3))).astype(np.uint8)
    layer = PatchWhitening(epsilon=0.0)
    layer.build((None, 32, 32, 3))
    layer.adapt(images)
    responses = keras.ops.convert_to_numpy(layer(images))[..., :12].reshape(-1, 12)
    np.testing.assert_allclose(responses.T @ responses / len(responses), np.eye(12), atol=0.02)
    np.testing.assert_allclose(layer(images)[..., 12:], -layer(images)[..., :12], atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 5, 5, 7), (40, 7)], ids=["images", "vectors"])
def test_batch_shift_equals_keras_batch_normalization_without_scale(shape):
    from models.parts.convolutional import BatchShift

    x = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    ours, wider = BatchShift(0.9, epsilon=1e-3), BatchShift(0.9, deviation=1.7, epsilon=1e-3)
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, scale=False)
    for training in (True, True, False):
        expected = theirs(x, training=training)
        np.testing.assert_allclose(ours(x, training=training), expected, atol=1e-4)
        np.testing.assert_allclose(wider(x, training=training), 1.7 * expected, atol=1e-4)
    for one, other in zip(ours.non_trainable_weights, theirs.non_trainable_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_batch_shift_learns_like_keras_batch_normalization():
    from models.parts.convolutional import BatchShift

    def trained(layer):
        network = keras.Sequential([keras.Input((5, 5, 3)), keras.layers.Conv2D(4, 3), layer, keras.layers.Flatten()])
        network.layers[0].set_weights([filters, np.zeros(4)])
        network.compile(keras.optimizers.SGD(0.1), "mse")
        network.fit(images, wanted, epochs=3, shuffle=False, verbose=0)
        return network.get_weights()

    generator = np.random.default_rng(0)
    filters, images, wanted = (generator.normal(size=size) for size in ((3, 3, 3, 4), (32, 5, 5, 3), (32, 36)))
    ours = trained(BatchShift(0.9, epsilon=1e-3))
    theirs = trained(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, scale=False))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("side", [2, 3])
def test_convolutions_of_small_maps_compute_and_learn_like_keras(side):
    from models.parts.convolutional import SmallMapConv2D

    def trained(layer):
        network = keras.Sequential([keras.Input((None, None, 3)), layer, keras.layers.GlobalAveragePooling2D()])
        layer.set_weights([filters])
        network.compile(keras.optimizers.SGD(0.1), "mse")
        before = network.predict(images, verbose=0)
        network.fit(images, wanted, epochs=3, shuffle=False, verbose=0)
        return [before, *network.get_weights()]

    generator = np.random.default_rng(0)
    filters, images, wanted = (generator.normal(size=size) for size in ((3, 3, 3, 4), (32, side, side, 3), (32, 4)))
    ours = trained(SmallMapConv2D(4))
    theirs = trained(keras.layers.Conv2D(4, 3, padding="same", use_bias=False))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_halving_takes_the_largest_of_four_pixels_on_every_backend(monkeypatch):
    from models.parts.convolutional import HalvingMaxPooling

    images = np.random.default_rng(0).normal(size=(3, 7, 5, 4)).astype(np.float32)
    expected = images[:, :6, :4].reshape(3, 3, 2, 2, 2, 4).max(axis=(2, 4))
    np.testing.assert_array_equal(HalvingMaxPooling()(images), expected)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    np.testing.assert_array_equal(HalvingMaxPooling()(images), expected)


def test_partly_identical_filters_hand_their_inputs_on():
    from models.parts.convolutional import PartialIdentity

    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    layer = keras.layers.Conv2D(5, 3, padding="same", kernel_initializer=PartialIdentity("he_normal"))
    outputs = np.asarray(layer(images))
    np.testing.assert_allclose(outputs[..., :3], images, atol=1e-6)
    assert np.abs(outputs[..., 3:]).mean() > 0.1
    narrowing = keras.layers.Conv2D(2, 3, padding="same", kernel_initializer=PartialIdentity())
    np.testing.assert_allclose(narrowing(images), images[..., :2], atol=1e-6)


def test_local_response_normalization_follows_its_formula():
    from models.parts.convolutional import LocalResponseNormalization

    x = np.random.default_rng(0).normal(0, 10, (2, 3, 3, 8)).astype(np.float32)
    expected = np.empty_like(x)
    for channel in range(8):
        near = x[..., max(0, channel - 2) : channel + 3]
        expected[..., channel] = x[..., channel] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(LocalResponseNormalization()(x), expected, rtol=1e-5)
