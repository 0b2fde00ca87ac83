from dataclasses import replace

import keras
import numpy as np
import pytest

from data.spec import Split
from models.autoencoders import (
    ConvolutionalAutoencoder,
    ConvolutionalVariationalAutoencoder,
    DenseAutoencoder,
    LinearAutoencoder,
    VariationalAutoencoder,
)
from models.corruption import Corruption
from pipelines.reports import autoencoding, reconstructions
from tests.conftest import make_splits

ALWAYS = {"mse", "psnr", "pca_mse", "probe_accuracy", "pca_probe_accuracy"}
FIGURES = {"reconstructions", "code", "decoder_filters", "walk"}
NOISY = {"noisy_psnr", "psnr_gain"}
VARIATIONAL = {"negative_elbo", "reconstruction_nats", "kl_nats"}
CASES = [
    (LinearAutoencoder(code=3), (8, 8, 3), set()),
    (DenseAutoencoder(code=1, units=(8,), corruption=Corruption("masking", 0.3)), (12, 12, 1), NOISY),
    (ConvolutionalAutoencoder(code=70, filters=(4,), l1_code=1e-3), (8, 8, 1), {"active_share"}),
    (VariationalAutoencoder(code=2, units=(8,)), (12, 12, 1), VARIATIONAL),
    (ConvolutionalVariationalAutoencoder(code=1, filters=(4,), likelihood="gaussian"), (28, 28, 3), VARIATIONAL),
]


def report(model, splits, notice="", network=None):
    network = network or model.build(splits.spec)
    return autoencoding.report(network, model, splits, notice), network


def truth(split):
    return split.inputs[np.arange(len(split))] / 255


@pytest.mark.parametrize(("model", "shape", "own"), CASES, ids=lambda value: type(value).__name__)
def test_every_kind_has_its_metrics_and_figures(model, shape, own, tmp_path):
    splits = make_splits(60, shape)
    found, network = report(model, splits, "STAND-IN DATA: a instead of b. More.")
    assert set(found.metrics) == ALWAYS | own
    assert all(np.isfinite(value) for value in found.metrics.values())
    assert set(found.figures) == FIGURES | ({"samples", "latent_grid"} if own == VARIATIONAL else set())
    for name, figure in found.figures.items():
        assert figure.get_suptitle() == "STAND-IN DATA: a instead of b"
        figure.savefig(tmp_path / f"{name}.png", dpi=30)
    assert found.predictions["row"].tolist() == list(range(len(splits.test)))
    assert found.predictions["error"].mean() == pytest.approx(found.metrics["mse"])
    assert found.summary.row_count >= 3
    again, _ = report(model, splits, network=network)
    assert again.metrics == found.metrics


def test_errors_are_those_of_the_output_and_psnr_is_their_mean_in_decibels():
    splits = make_splits(60)
    found, network = report(LinearAutoencoder(code=3), splits)
    outputs = network.predict_on_batch(splits.test.inputs[np.arange(len(splits.test))])
    errors = np.square(outputs - truth(splits.test)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.predictions["error"], errors, rtol=1e-6)
    assert found.metrics["psnr"] == pytest.approx(np.mean(10 * np.log10(1 / errors)))


def test_a_perfect_image_has_a_finite_psnr():
    assert autoencoding.psnr(np.array([0.0, 0.01])) == pytest.approx((100 + 20) / 2)


def test_denoising_sees_the_fixed_noise_and_is_scored_against_clean_images():
    splits, corruption = make_splits(60), Corruption("gaussian", 0.4)
    model = DenseAutoencoder(code=4, units=(), corruption=corruption)
    found, network = report(model, splits)
    clean = splits.test.inputs[np.arange(len(splits.test))]
    noisy = corruption.fixed(clean, range(len(clean)))
    error = np.square(network.predict_on_batch(noisy) - truth(splits.test)).mean(axis=(1, 2, 3))
    given = np.square((noisy / 255) - truth(splits.test)).mean(axis=(1, 2, 3))
    assert found.metrics["mse"] == pytest.approx(error.mean(), rel=1e-5)
    assert found.metrics["noisy_psnr"] == pytest.approx(-10 * np.log10(given).mean(), rel=1e-5)
    assert found.metrics["psnr_gain"] == pytest.approx(found.metrics["psnr"] - found.metrics["noisy_psnr"])


def test_principal_components_beside_are_scikit_learn_s():
    from sklearn.decomposition import PCA

    splits = make_splits(100)
    found, _ = report(LinearAutoencoder(code=3), splits)
    pca = PCA(3).fit(truth(splits.train).reshape(len(splits.train), -1))
    flat = truth(splits.test).reshape(len(splits.test), -1)
    least = np.square(pca.inverse_transform(pca.transform(flat)) - flat).mean()
    assert found.metrics["pca_mse"] == pytest.approx(least, rel=1e-3)
    assert found.metrics["pca_probe_accuracy"] == 1.0  # three components tell four corners apart


def test_the_probe_reads_classes_off_the_code():
    labels = np.arange(200) % 4
    told = np.eye(4)[labels] + np.random.default_rng(0).normal(0, 0.05, (200, 4))
    assert autoencoding.probe(told[:100], labels[:100], told[100:], labels[100:]) == 1.0
    untold = np.random.default_rng(0).normal(0, 1, (200, 4))
    assert autoencoding.probe(untold[:100], labels[:100], untold[100:], labels[100:]) < 0.5


def test_images_of_one_class_have_no_probe_and_all_figures(tmp_path):
    splits = make_splits(60)
    splits = replace(
        splits,
        train=Split(splits.train.inputs, np.zeros_like(splits.train.labels)),
        test=Split(splits.test.inputs, np.zeros_like(splits.test.labels)),
    )
    found, _ = report(LinearAutoencoder(code=3), splits)
    assert set(found.metrics) == {"mse", "psnr", "pca_mse"}
    assert set(found.figures) == FIGURES


def test_units_are_active_above_a_share_of_their_own_largest_activation():
    codes = np.array([[0.0, 5.0, 0.0], [1.0, -0.49, 0.0], [0.2, 0.51, 0.0], [0.09, 0.0, 0.0]])
    assert autoencoding.active_share(codes) == pytest.approx(4 / 12)


class TestEvidence:
    @pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
    def test_the_bound_is_the_mean_over_draws_of_what_training_lowers(self, likelihood):
        keras.utils.set_random_seed(0)
        splits = make_splits(200)
        model = VariationalAutoencoder(code=2, units=(16,), likelihood=likelihood, deviation=0.3)
        network = model.build(splits.spec)
        network.compile("adam", model.loss())
        inputs = splits.train.inputs[np.arange(len(splits.train))]
        network.fit(inputs, (inputs / 255).astype(np.float32), epochs=3, verbose=0)
        found = autoencoding.evidence(autoencoding.Coder(network, model), splits.test)
        assert found["negative_elbo"] == pytest.approx(found["reconstruction_nats"] + found["kl_nats"])
        images = splits.test.inputs[np.arange(len(splits.test))]
        targets = (images / 255).astype(np.float32)
        terms = [
            float(model.loss()(targets, network(images, training=True))) + float(network.losses[0]) for _ in range(30)
        ]
        assert found["negative_elbo"] == pytest.approx(np.mean(terms), abs=6 * np.std(terms) + 1e-3)
        logs = network.evaluate(images, targets, verbose=0, return_dict=True)
        assert found["kl_nats"] == pytest.approx(logs["kl"], rel=1e-4)

    def test_a_probability_of_one_half_costs_ln_2_a_pixel(self):
        images = np.full((2, 4, 4, 1), 255, np.uint8)
        model = VariationalAutoencoder()
        assert autoencoding.nats(images, np.zeros((2, 4, 4, 1)), model) == pytest.approx([16 * np.log(2)] * 2)


class TestFigures:
    def test_a_linear_decoder_s_effects_are_its_weights(self, monkeypatch):
        splits = make_splits(60)
        model = LinearAutoencoder(code=3)
        network = model.build(splits.spec)
        coder = autoencoding.Coder(network, model)
        codes = coder.codes(splits.test.inputs[np.arange(len(splits.test))])
        shown = {}
        monkeypatch.setattr(reconstructions.figures, "filters", lambda kernel, notice: shown.update(kernel=kernel))
        reconstructions.effects(coder, codes, "")
        order = np.argsort(-codes.std(axis=0))
        weights = np.array(network.get_layer("decoder").get_layer("output").kernel)  # (units, pixels)
        expected = (weights * codes.std(axis=0)[:, None])[order].T.reshape(12, 12, 1, 3)
        np.testing.assert_allclose(shown["kernel"], expected, atol=1e-5)

    def test_a_walk_starts_and_ends_at_reconstructions_of_different_classes(self, monkeypatch):
        splits = make_splits(60)
        model = LinearAutoencoder(code=3)
        coder = autoencoding.Coder(model.build(splits.spec), model)
        rows = reconstructions.examples(splits.test)
        assert splits.test.labels[rows[:4]].tolist() == [0, 1, 2, 3]
        images = splits.test.inputs[rows]
        shown = {}
        monkeypatch.setattr(reconstructions, "tiles", lambda images, *_: shown.update(images=images))
        reconstructions.walks(coder, coder.codes(images), images, "")
        strip = shown["images"][:12]
        np.testing.assert_array_equal(strip[[0, 11]], images[:2])
        np.testing.assert_array_equal(strip[[1, 10]], reconstructions.pixels(coder.reconstructed(images[:2])))

    def test_tiles_lie_in_lines_from_left_to_right(self, monkeypatch):
        shown = {}
        monkeypatch.setattr(reconstructions.figures, "show", lambda axes, image: shown.update(image=image))
        images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
        reconstructions.tiles(images, 3, "")
        assert shown["image"][::2, ::3, 0].tolist() == [[0, 1, 2], [3, 4, 5]]

    def test_a_snapshot_shows_the_same_noise_each_time(self, monkeypatch):
        splits = make_splits(60)
        model = DenseAutoencoder(code=4, units=(), corruption=Corruption("gaussian", 0.4))
        shown = []
        monkeypatch.setattr(reconstructions, "lines", lambda rows, notice: shown.append(rows))
        for _ in range(2):
            network = model.build(splits.spec)
            autoencoding.snapshot(network, model, splits.val.inputs[np.arange(5)], "")
        assert list(shown[0]) == ["original", "corrupted", "reconstruction"]
        np.testing.assert_array_equal(shown[0]["corrupted"], shown[1]["corrupted"])
        assert not np.array_equal(shown[0]["reconstruction"], shown[1]["reconstruction"])
