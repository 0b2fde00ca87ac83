"""Networks of others as the lower part of one's own."""

import keras
import numpy as np
import pytest
from PIL import Image

from data.errors import BadInput
from models.autoencoders import ConvolutionalVariationalAutoencoder, DenseAutoencoder
from models.convolutional import LeNet5
from models.dense import MultilayerPerceptron
from models.fast import FastNetwork
from models.parts import trunks
from models.parts.convolutional import Channels
from models.residual import ResNet
from tests.conftest import make_spec


def names(model, **spec):
    trunk = trunks.headless(model.build(make_spec(**spec)))
    copy = trunks.copied(trunk, keras.Input(spec.get("shape", (32, 32, 3)), dtype="uint8"), weights=True)
    return [[layer.name for layer in block if layer.count_params()] for block in trunks.blocks(copy)]


def test_blocks_are_what_works_at_one_size_and_each_fully_connected_layer():
    assert names(LeNet5()) == [["conv_1"], ["conv_2"], ["hidden_1"], ["hidden_2"]]
    groups = names(ResNet(depth=8, shortcut="projection"))
    assert [{name.split("_block")[0] for name in block} for block in groups[1:]] == [{"group_2"}, {"group_3"}]
    assert {name.split("_")[0] for name in groups[0]} == {"stem", "group"}
    assert len(names(FastNetwork())) == 4


def test_layers_beside_the_main_path_belong_to_the_block_that_they_lead_to():
    pixels = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="below")(pixels)
    squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    excited = keras.layers.Conv2D(4, 1, activation="sigmoid", name="excitation")(squeezed)
    x = keras.layers.Multiply()([x, excited])
    x = keras.layers.Conv2D(4, 3, 2, name="above")(x)
    network = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))
    found = [[layer.name for layer in block if layer.count_params()] for block in trunks.blocks(network)]
    assert found == [["below", "excitation"], ["above"]]


@pytest.mark.parametrize("model", [LeNet5(), ResNet(depth=8), MultilayerPerceptron(units=(8,))])
def test_a_copy_without_head_gives_what_the_last_layer_got(model):
    network = model.build(make_spec())
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    copy = trunks.copied(trunks.headless(network), keras.Input((32, 32, 3), dtype="uint8"), weights=True)
    logits = network.get_layer("logits")
    expected = keras.ops.convert_to_numpy(network(images))
    found = keras.ops.convert_to_numpy(logits(copy(images)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_without_its_weights_a_copy_is_another_network_of_the_same_shape():
    trunk = trunks.headless(LeNet5().build(make_spec()))
    copy = trunks.copied(trunk, keras.Input((32, 32, 3), dtype="uint8"), weights=False)
    pairs = [(a, b) for a, b in zip(trunk.get_weights(), copy.get_weights(), strict=True) if a.ndim == 4]
    assert all(a.shape == b.shape and not np.allclose(a, b) for a, b in pairs)


@pytest.mark.parametrize("model", [DenseAutoencoder(units=(8,), code=4), ConvolutionalVariationalAutoencoder(code=4)])
def test_of_an_autoencoder_the_code_is_taken(model):
    network = model.build(make_spec((12, 12, 1)))
    trunk = trunks.headless(network)
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 1)).astype(np.uint8)
    code = network.get_layer("encoder")(images)
    expected = keras.ops.convert_to_numpy(code[0] if isinstance(code, list) else code)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(trunk(images)), expected, rtol=1e-5, atol=1e-6)
    assert expected.shape == (3, 4)


def test_images_that_are_too_small_are_one_line():
    trunk = trunks.headless(FastNetwork().build(make_spec()))
    with pytest.raises(BadInput, match="does not take images of 3x3") as found:
        trunks.copied(trunk, keras.Input((3, 3, 3), dtype="uint8"), weights=True)
    assert "\n" not in str(found.value)


def test_a_network_that_resizes_first_is_taken_from_behind_that():
    inner = LeNet5().build(make_spec())
    pixels = keras.Input((48, 48, 3), dtype="uint8")
    wrapped = keras.Model(pixels, inner(keras.layers.Resizing(32, 32)(pixels)))
    assert trunks.headless(wrapped).input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize(
    "network",
    [
        keras.Sequential([keras.Input((5,)), keras.layers.Dense(3), keras.layers.Dense(2)]),
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]),
    ],
    ids=["no images", "one layer"],
)
def test_what_has_no_trunk_is_refused(network):
    with pytest.raises(BadInput, match="has no layers below its last one"):
        trunks.headless(network)


@pytest.mark.parametrize("name", ["ResNet50", "DenseNet121", "InceptionV3", "MobileNetV3Small"])
def test_preprocessing_is_that_of_the_application(name):
    modules = {"ResNet50": "resnet", "DenseNet121": "densenet", "InceptionV3": "inception_v3"}
    function = getattr(keras.applications, modules.get(name, "mobilenet_v3")).preprocess_input
    images = np.random.default_rng(0).uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)
    found = keras.ops.convert_to_numpy(trunks.preprocessing(name)(images))
    np.testing.assert_allclose(found, np.asarray(function(images.copy())), rtol=1e-4, atol=1e-3)


def test_grey_is_what_pillow_makes_of_colours_and_colours_of_grey_are_three_times_the_same():
    images = np.random.default_rng(0).integers(0, 256, (1, 6, 6, 3)).astype(np.uint8)
    grey = keras.ops.convert_to_numpy(Channels(1)(images))
    np.testing.assert_allclose(grey[0, ..., 0], np.asarray(Image.fromarray(images[0]).convert("L")), atol=1)
    assert np.array_equal(keras.ops.convert_to_numpy(Channels(3)(grey)), np.repeat(grey, 3, axis=-1))
