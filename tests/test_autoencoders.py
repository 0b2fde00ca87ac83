from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest

from data.errors import BadInput
from data.spec import DataConfig
from models.autoencoders import (
    ConvolutionalAutoencoder,
    ConvolutionalVariationalAutoencoder,
    DenseAutoencoder,
    LinearAutoencoder,
    VariationalAutoencoder,
)
from models.corruption import Corruption
from pipelines.settings import Recipe, from_dict, to_dict
from tests.conftest import make_spec

SMALL = [
    LinearAutoencoder(code=3),
    DenseAutoencoder(code=4, units=(16, 8), batch_normalization=True, dropout=0.1, l2=1e-4),
    DenseAutoencoder(code=6, units=(), code_activation="sigmoid", kl_sparsity=0.1, l1_code=1e-3),
    ConvolutionalAutoencoder(code=5, filters=(4, 6), units=(12,), corruption=Corruption("gaussian", 0.5)),
    VariationalAutoencoder(code=2, units=(16,), beta=0.5, l2=1e-4),
    ConvolutionalVariationalAutoencoder(code=4, filters=(4, 6, 8), likelihood="gaussian"),
]
SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (9, 14, 3)]


def pixels(shape, count=8):
    """Blobs, so that there is something to learn."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 3, 3, shape[2]))
    rows, columns = (np.arange(side) * 3 // side for side in shape[:2])
    return coarse[:, rows][:, :, columns].astype(np.uint8)


def scaled(images):
    return images.astype(np.float32) / 255


def trained(model, images, steps=1, optimizer="adam"):
    """The network after so many steps on all images at once."""
    network = model.build(make_spec(images.shape[1:]))
    network.compile(optimizer, model.loss(), steps_per_execution=steps)
    again = np.concatenate([images] * steps)
    network.fit(again, scaled(again), batch_size=len(images), shuffle=False, verbose=0)
    return network


@cache
def trained_once(model):
    """Shared by tests that only look at it."""
    keras.utils.set_random_seed(0)
    return trained(model, pixels((8, 8, 1)), 2, keras.optimizers.SGD(1e-3, momentum=0.9))


@pytest.mark.parametrize("model", SMALL, ids=str)
class TestEveryAutoencoder:
    def test_gives_images_of_any_size_back_in_float32(self, model):
        for shape in SHAPES:
            network = model.build(make_spec(shape))
            assert network.output_shape == (None, *shape)
            assert network.output.dtype == "float32"
            assert network.get_layer("decoder").input_shape == (None, model.code)
        outputs = keras.ops.convert_to_numpy(network(pixels(shape)))
        assert np.isfinite(outputs).all()
        assert outputs.std() > 0

    def test_gives_every_weight_a_gradient(self, model):
        network = trained_once(model)
        momenta = network.optimizer.variables[2:]
        assert len(momenta) == len(network.trainable_weights)
        assert not [one.path for one in momenta if not np.any(np.array(one))]

    def test_survives_saving_after_training(self, model, tmp_path):
        images, network = pixels((8, 8, 1)), trained_once(model)
        network.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        np.testing.assert_array_equal(network.predict_on_batch(images), again.predict_on_batch(images))
        assert type(again) is type(network)

    def test_stays_float32_at_its_end_under_mixed_precision(self, model):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            network = model.build(make_spec((8, 8, 1)))
        finally:
            keras.config.set_dtype_policy("float32")
        assert network.output.dtype == "float32"
        assert {weight.dtype for weight in network.trainable_weights} == {"float32"}
        assert any(layer.compute_dtype == "bfloat16" for layer in network.get_layer("encoder").layers)

    def test_is_recorded_with_its_settings(self, model):
        recipe = Recipe(DataConfig("digits"), model)
        assert from_dict(to_dict(recipe)) == recipe


@pytest.mark.parametrize(
    ("model", "flag"),
    [
        (LinearAutoencoder(code=0), "--model.code"),
        (DenseAutoencoder(kl_sparsity=1.0), "--model.code-activation sigmoid"),
        (DenseAutoencoder(target_rate=0.0), "--model.target-rate"),
        (VariationalAutoencoder(beta=0.0), "beta"),
        (LinearAutoencoder(corruption=Corruption("masking", 1.5)), "--model.corruption.amount"),
        (LinearAutoencoder(corruption=Corruption("gaussian")), "--model.corruption.amount"),
        (LinearAutoencoder(corruption=Corruption(amount=0.5)), "--model.corruption.kind"),
    ],
    ids=str,
)
def test_what_can_t_be_is_refused(model, flag):
    with pytest.raises(BadInput, match=flag):
        model.build(make_spec((8, 8, 1)))


class TestCorruption:
    def test_gaussian_noise_has_its_deviation_and_is_clipped(self):
        grey = np.full((200, 8, 8, 3), 128, np.uint8)
        noisy = Corruption("gaussian", 0.1)(grey, np.random.default_rng(0)).astype(float)
        assert noisy.std() == pytest.approx(25.5, rel=0.02)
        assert noisy.mean() == pytest.approx(128, abs=0.5)
        assert np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1] == pytest.approx(0, abs=0.05)
        black = Corruption("gaussian", 0.5)(0 * grey, np.random.default_rng(0))
        assert (black == 0).mean() == pytest.approx(0.5, abs=0.02)  # a byte that went below 0 would be bright
        # The mean of a normal value clipped to 0 to 1 at two deviations: integral of x density plus the upper tail.
        density = 1 / np.sqrt(2 * np.pi)
        expected = 0.5 * density * (1 - np.exp(-2)) + 0.02275
        assert black.mean() / 255 == pytest.approx(expected, rel=0.02)

    def test_masking_blackens_its_share_of_pixels_in_all_channels(self):
        noisy = Corruption("masking", 0.3)(np.full((200, 8, 8, 3), 128, np.uint8), np.random.default_rng(0))
        assert set(np.unique(noisy)) == {0, 128}
        assert (noisy == 0).mean() == pytest.approx(0.3, abs=0.01)
        assert (noisy.max(axis=3) == noisy.min(axis=3)).all()

    def test_salt_and_pepper_are_of_equal_shares(self):
        noisy = Corruption("salt-and-pepper", 0.3)(np.full((200, 8, 8, 3), 128, np.uint8), np.random.default_rng(0))
        assert (noisy == 0).mean() == pytest.approx(0.15, abs=0.01)
        assert (noisy == 255).mean() == pytest.approx(0.15, abs=0.01)
        assert (noisy.max(axis=3) == noisy.min(axis=3)).all()

    @pytest.mark.parametrize("kind", ["none", "gaussian", "salt-and-pepper", "masking", "moved"])
    def test_the_fixed_draw_knows_no_batches(self, kind):
        corruption = Corruption(kind, 0.0 if kind == "none" else 0.4)
        if kind == "moved":
            corruption = Corruption(translation=2, shear=0.5)
        images = np.full((20, 8, 8, 1), 100, np.uint8)
        whole = corruption.fixed(images, range(20))
        parts = np.concatenate([corruption.fixed(images[part], part) for part in (np.arange(7), np.arange(7, 20))])
        assert whole.dtype == np.uint8
        np.testing.assert_array_equal(whole, parts)
        assert corruption.fixed(images[:0], []).shape == (0, 8, 8, 1)
        if kind != "none":
            assert not np.array_equal(whole[0], whole[1])

    def test_a_moved_image_is_found_again_at_another_place(self):
        images = np.zeros((300, 9, 9, 3), np.uint8)
        images[:, 4, 4] = (10, 20, 30)
        moved = Corruption(translation=2)(images, np.random.default_rng(0))
        places = np.argwhere(moved[..., 0])
        assert len(places) == 300
        assert set(map(tuple, places[:, 1:] - 4)) == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
        assert (moved[tuple(places.T)] == (10, 20, 30)).all()
        assert not Corruption(translation=9)(images, np.random.default_rng(0)).all(axis=(1, 2, 3)).any()

    def test_a_slanted_line_stays_in_its_middle_and_runs_off_evenly(self):
        images = np.zeros((200, 9, 9, 1), np.uint8)
        images[:, :, 4] = 255
        slanted = Corruption(shear=0.5)(images, np.random.default_rng(0))
        columns = slanted[..., 0].argmax(axis=2)
        assert (slanted > 0).sum(axis=(1, 2, 3)).tolist() == [9] * 200
        assert (columns[:, 4] == 4).all()
        assert set(columns[:, 0]) == {2, 3, 4, 5, 6}
        assert (columns[:, 0] + columns[:, 8] == 8).all()

    def test_training_noise_differs_from_step_to_step_and_leaves_the_images_alone(self):
        images, generator = np.full((4, 8, 8, 1), 100, np.uint8), np.random.default_rng(0)
        corruption = Corruption("masking", 0.5)
        assert not np.array_equal(corruption(images, generator), corruption(images, generator))
        assert (images == 100).all()


def digits():
    from data.embedded import read_digits

    return read_digits()["x_train"]


def test_a_linear_one_finds_the_principal_subspace():
    from scipy.linalg import subspace_angles
    from sklearn.decomposition import PCA

    generator = np.random.default_rng(0)
    directions = np.linalg.qr(generator.normal(size=(36, 4)))[0].T
    strong = generator.normal(size=(500, 4)) * (150, 120, 100, 80) @ directions
    images = np.clip(128 + strong + generator.normal(0, 30, (500, 36)), 0, 255).astype(np.uint8).reshape(-1, 6, 6, 1)
    flat = scaled(images).reshape(len(images), -1)
    pca = PCA(4).fit(flat)
    least = np.square(pca.inverse_transform(pca.transform(flat)) - flat).mean()
    keras.utils.set_random_seed(0)
    model = LinearAutoencoder(code=4)
    network = model.build(make_spec((6, 6, 1)))
    rate = keras.optimizers.schedules.CosineDecay(0.05, 600)
    network.compile(keras.optimizers.Adam(rate), model.loss(), steps_per_execution=100)
    # One long epoch: the overhead of each would be most of the time.
    order = np.concatenate([generator.permutation(500) for _ in range(120)])
    network.fit(images[order], scaled(images)[order], batch_size=100, shuffle=False, verbose=0)
    error = np.square(network.predict_on_batch(images) - scaled(images)).mean()
    assert least * (1 - 1e-6) < error < least * (1 + 1e-3)
    columns = np.array(network.get_layer("decoder").get_layer("output").kernel, np.float64).T
    assert np.degrees(subspace_angles(columns, pca.components_.T)[0]) < 1


class TestVariational:
    def test_divergence_follows_the_closed_formula_and_is_shown(self):
        from models.parts.variational import GaussianCode

        model = VariationalAutoencoder(code=3, units=(8,), beta=0.25, l2=0.01)
        images = pixels((8, 8, 1))
        network = trained(model, images, 3)
        mean, log_variance = network.get_layer("encoder").predict_on_batch(images)
        draws = np.random.default_rng(0).normal(size=(200_000, 1, 3)) * np.exp(log_variance / 2) + mean
        sampled = 0.5 * (draws**2 - (draws - mean) ** 2 / np.exp(log_variance) - log_variance).sum(-1).mean(0)
        exact = np.array(GaussianCode.divergence(mean, log_variance))
        np.testing.assert_allclose(exact, sampled, rtol=0.02)
        logs = network.evaluate(images, scaled(images), verbose=0, return_dict=True)
        assert logs["kl"] == pytest.approx(exact.mean(), rel=1e-5)
        penalty = sum(0.01 * np.square(np.array(weight)).sum() for weight in network.weights if "kernel" in weight.path)
        outputs = network.predict_on_batch(images).astype(float)
        nats = (np.logaddexp(0, outputs) - scaled(images) * outputs).sum(axis=(1, 2, 3)).mean()
        assert logs["loss"] == pytest.approx(nats + 0.25 * exact.mean() + penalty, rel=1e-5)

    def test_fit_shows_the_terms_of_training_and_validation(self):
        images = pixels((8, 8, 1))
        model = ConvolutionalVariationalAutoencoder(code=2, filters=(4,))
        network = model.build(make_spec((8, 8, 1)))
        network.compile("adam", model.loss())
        given = (images, scaled(images))
        history = network.fit(*given, epochs=2, validation_data=given, verbose=0).history
        assert set(history) == {"loss", "kl", "val_loss", "val_kl"}
        assert all(value > 0 for name in ("kl", "val_kl") for value in history[name])

    def test_a_code_is_drawn_in_training_alone(self):
        from models.parts.variational import GaussianCode

        layer = GaussianCode()
        mean, log_variance = np.full((20_000, 2), 3.0, np.float32), np.full((20_000, 2), np.log(4.0), np.float32)
        drawn = np.array(layer([mean, log_variance], training=True))
        assert drawn.std(axis=0) == pytest.approx(2, rel=0.03)
        assert drawn.mean(axis=0) == pytest.approx(3, abs=0.06)
        assert not np.array_equal(drawn, np.array(layer([mean, log_variance], training=True)))
        np.testing.assert_array_equal(np.array(layer([mean, log_variance])), mean)

    def test_gaussian_likelihood_is_scipy_s(self):
        from scipy.stats import norm

        model = VariationalAutoencoder(likelihood="gaussian", deviation=0.2)
        targets, means = np.random.default_rng(0).random((2, 5, 4, 4, 3), np.float32)
        expected = -norm.logpdf(targets, means, 0.2).sum(axis=(1, 2, 3)).mean()
        assert float(model.loss()(targets, means)) == pytest.approx(expected, rel=1e-5)

    def test_bernoulli_likelihood_is_scipy_s(self):
        from scipy.special import expit
        from scipy.stats import bernoulli

        targets = np.random.default_rng(0).integers(0, 2, (5, 4, 4, 1)).astype(np.float32)
        logits = np.random.default_rng(1).normal(0, 3, targets.shape).astype(np.float32)
        expected = -bernoulli.logpmf(targets, expit(logits)).sum(axis=(1, 2, 3)).mean()
        assert float(VariationalAutoencoder().loss()(targets, logits)) == pytest.approx(expected, rel=1e-5)


class TestSparsity:
    def test_the_rate_s_penalty_is_the_divergence_of_two_coins(self):
        from scipy.stats import entropy

        from models.parts.variational import TargetRate

        layer = TargetRate(2.0, 0.1)
        values = np.array([[0.1, 0.6], [0.3, 0.2]], np.float32)
        np.testing.assert_array_equal(np.array(layer(values)), values)
        expected = 2 * sum(entropy([0.1, 0.9], [mean, 1 - mean]) for mean in (0.2, 0.4))
        assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-5)

    def test_the_penalty_on_a_code_is_the_mean_sum_of_its_absolute_values(self):
        images = pixels((8, 8, 1))
        plain = DenseAutoencoder(code=4, units=(8,), code_activation="relu")
        network = trained(replace(plain, l1_code=0.3), images)
        size = np.abs(network.get_layer("encoder").predict_on_batch(images)).sum(axis=1).mean()
        error = np.square(network.predict_on_batch(images) - scaled(images)).mean()
        assert network.evaluate(images, scaled(images), verbose=0) == pytest.approx(error + 0.3 * size, rel=1e-4)

    def test_both_make_codes_sparser(self):
        images = digits()[:256]
        plain = DenseAutoencoder(code=16, units=(), code_activation="relu")
        rated = replace(plain, code_activation="sigmoid", kl_sparsity=0.1)

        def mean_code(model):
            keras.utils.set_random_seed(0)
            network = trained(model, images, 60, keras.optimizers.Adam(0.01))
            return network.get_layer("encoder").predict_on_batch(images).mean()

        assert mean_code(replace(plain, l1_code=0.01)) < 0.5 * mean_code(plain)
        assert mean_code(rated) == pytest.approx(0.05, abs=0.02)
