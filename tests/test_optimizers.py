from itertools import pairwise

import keras
import numpy as np
import pytest

from data.errors import BadInput
from pipelines.fitting.muon import FilterMuon
from pipelines.fitting.optimizers import build_optimizer
from pipelines.settings import Optimizer


def network():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(6, 3),
        keras.layers.GlobalMaxPooling2D(),
        keras.layers.Dense(4),
    ]
    return keras.Sequential(layers)


def step(model, optimizer, times=1):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(16, 8, 8, 3)), np.eye(4)[np.arange(16) % 4]
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    return [float(model.train_on_batch(x, y)) for _ in range(times)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("adam", {}), ("SGD", {"momentum": 0.9, "nesterov": True}), ("rmsprop", {"rho": 0.8}), ("adamw", {}),
     ("lion", {}), ("adafactor", {}), ("nadam", {"beta_1": 0.8}), ("filter_muon", {"momentum": 0.7})],
)  # fmt: skip
def test_keras_optimizers_go_by_their_names_and_arguments(name, arguments):
    made = build_optimizer(Optimizer(name, 0.02, arguments, weight_decay=1e-4, clipnorm=1.0), 0.02, {})
    losses = step(network(), made, 10)
    assert losses[-1] < losses[0]
    assert {key: made.get_config()[key] for key in arguments} == arguments
    assert made.global_clipnorm == 1.0
    assert made.weight_decay == 1e-4


@pytest.mark.parametrize(("name", "arguments"), [("sgdd", {}), ("optimizer", {}), ("adam", {"nesterof": True})])
def test_unknown_names_and_arguments_are_refused(name, arguments):
    with pytest.raises(BadInput, match="--optimizer"):
        build_optimizer(Optimizer(name, 0.1, arguments), 0.1, {})


def test_weight_decay_leaves_biases_alone():
    model = network()
    model.layers[0].bias.assign(np.ones(6))
    optimizer = build_optimizer(Optimizer("sgd", 0.1, {}, weight_decay=0.5), 0.1, {})
    kernel, bias = np.array(model.layers[0].kernel), np.array(model.layers[0].bias)
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros_like(variable) for variable in model.trainable_variables])
    np.testing.assert_allclose(model.layers[0].kernel, 0.95 * kernel, rtol=1e-5)
    np.testing.assert_array_equal(model.layers[0].bias, bias)


def test_accumulation_takes_one_step_for_several_batches():
    model = network()
    optimizer = build_optimizer(Optimizer("sgd", 0.1, accumulation=3), 0.1, {})
    weights = []
    for number in range(6):
        if number:
            model.train_on_batch(np.ones((4, 8, 8, 3)), np.eye(4))
        else:
            step(model, optimizer)
        weights.append(np.array(model.layers[0].kernel))
    changed = [not np.array_equal(before, after) for before, after in pairwise(weights)]
    assert changed == [False, True, False, False, True]


def test_muon_makes_updates_orthonormal():
    for shape in ((6, 40), (40, 6)):
        matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        values = np.linalg.svd(np.array(FilterMuon().orthonormal(matrix)), compute_uv=False)
        assert values.min() > 0.6
        assert values.max() < 1.3


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_muon_iterates_as_newton_schulz_does(steps):
    expected = np.random.default_rng(0).normal(size=(9, 40))
    matrix = expected.astype(np.float32)
    expected /= np.linalg.norm(expected)
    for _ in range(steps):
        gram = expected @ expected.T
        expected = 3.4445 * expected - 4.7750 * gram @ expected + 2.0315 * gram @ gram @ expected
    np.testing.assert_allclose(FilterMuon(newton_schulz_steps=steps).orthonormal(matrix), expected, atol=1e-5)


def test_muon_refuses_no_steps():
    with pytest.raises(BadInput, match="newton_schulz_steps"):
        build_optimizer(Optimizer("filter_muon", 0.1, {"newton_schulz_steps": 0}), 0.1, {})


def test_muon_moves_filters_by_its_rate_and_keeps_their_norm():
    model = network()
    optimizer = FilterMuon(0.1)
    step(model, optimizer)
    kernel = model.layers[0].kernel
    before = np.array(kernel) * (6**0.5 / np.linalg.norm(np.array(kernel)))
    model.train_on_batch(np.ones((4, 8, 8, 3)), np.eye(4))
    moved = (np.array(kernel) - before).reshape(-1, 6)
    values = np.linalg.svd(moved, compute_uv=False)
    assert values.max() < 0.13
    assert np.linalg.norm(before) == pytest.approx(6**0.5, rel=1e-5)


def test_muon_survives_saving_with_its_state(tmp_path):
    model = network()
    step(model, FilterMuon(0.1, matrix_ratio=3.0, use_ema=True, ema_momentum=0.9), 3)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.optimizer.matrix_ratio == 3.0
