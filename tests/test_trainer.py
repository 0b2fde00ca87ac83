import math
import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
from rich.console import Console

from data.errors import BadInput
from data.spec import DataConfig
from models.convolutional import LeNet5
from models.dense import MultilayerPerceptron
from models.fast import FastNetwork
from pipelines.augmentation import Augmentation
from pipelines.command import RunFailed
from pipelines.fitting.callbacks import estimate_statistics
from pipelines.fitting.trainer import Trainer
from pipelines.settings import EarlyStopping, Optimizer, Recipe, Schedule, Stage
from tests.conftest import make_splits

PLAIN = Recipe(
    DataConfig("squares"),
    MultilayerPerceptron(units=(16,)),
    optimizer=Optimizer("adam", 0.01),
    stages=(Stage(3),),
    batch_size=20,
    precision="float32",
)
NORMALIZED = replace(PLAIN, model=MultilayerPerceptron(units=(16,), batch_normalization=True, dropout=0.2))


def trainer(recipe=PLAIN, splits=None):
    return Trainer(recipe, splits or make_splits(), Console(quiet=True))


def train(recipe=PLAIN, splits=None):
    made = trainer(recipe, splits)
    reported = {}
    fitted = made.fit(lambda metrics, epoch, at: reported.__setitem__(epoch, metrics))
    return made, fitted, reported


def accuracy(network, split):
    logits = network.predict_on_batch(split.inputs[np.arange(len(split))])
    return float((np.asarray(logits).argmax(axis=1) == split.labels).mean())


def test_learns_and_reports_each_epoch_by_its_recorded_names():
    made, fitted, reported = train()
    assert list(reported) == [1, 2, 3]
    names = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "learning_rate"}
    assert set(reported[1]) == names | {"epoch_seconds", "examples_per_second"}
    assert reported[3]["train/loss"] < reported[1]["train/loss"]
    assert accuracy(fitted.model, made.splits.test) > 0.9
    assert fitted.seconds == pytest.approx(sum(metrics["epoch_seconds"] for metrics in reported.values()))


def test_reported_validation_is_that_of_the_recorded_weights():
    made, fitted, reported = train()
    assert accuracy(fitted.model, made.splits.val) == pytest.approx(reported[3]["val/accuracy"])


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    recipe = replace(NORMALIZED, augmentation=Augmentation(crop=1))
    weights = [train(replace(recipe, seed=seed))[1].model.get_weights() for seed in (1, 1, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_looking_at_the_initial_loss_leaves_no_trace():
    recipe = replace(NORMALIZED, stages=(Stage(1),))
    plain = train(recipe)[1].model.get_weights()
    made = trainer(recipe)
    assert made.initial_loss() == pytest.approx(math.log(4), rel=0.6)
    looked = made.fit(lambda *_: None).model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(plain, looked, strict=True))


def test_steps_end_a_training_early():
    _, fitted, reported = train(replace(PLAIN, steps=8))
    assert len(reported) == 2
    assert fitted.history[-1]["learning_rate"] == pytest.approx(0.01)


def test_a_schedule_spans_all_stages():
    recipe = replace(PLAIN, schedule=Schedule("linear"), stages=(Stage(2), Stage(2)))
    _, _, reported = train(recipe)
    np.testing.assert_allclose(
        [reported[e]["learning_rate"] for e in (1, 2, 3, 4)], [0.0075, 0.005, 0.0025, 0], atol=1e-6
    )


def test_a_schedule_spans_the_run_also_when_gradients_are_accumulated():
    _, _, reported = train(replace(PLAIN, schedule=Schedule("linear"), optimizer=Optimizer("sgd", 0.1, accumulation=3)))
    np.testing.assert_allclose([reported[e]["learning_rate"] for e in (1, 2, 3)], [0.2 / 3, 0.1 / 3, 0], atol=1e-6)


def test_a_stage_trains_only_the_layers_it_names():
    made = trainer(replace(PLAIN, stages=(Stage(1, trainable="logits"), Stage(1, trainable=".", learning_rate=0.1))))
    start = [np.array(weight) for weight in made.model.weights]
    made.recipe = replace(made.recipe, stages=made.recipe.stages[:1])
    made.fit(lambda *_: None)
    moved = {
        weight.path for weight, old in zip(made.model.weights, start, strict=True) if not np.array_equal(weight, old)
    }
    assert moved == {"logits/kernel", "logits/bias"}


def test_a_pattern_that_names_no_layer_is_refused():
    with pytest.raises(BadInput, match="the layers are"):
        train(replace(PLAIN, stages=(Stage(1, trainable="attention"),)))


def test_early_stopping_keeps_the_best_weights_of_the_last_stage():
    stages, stopping = (Stage(2), Stage(30)), EarlyStopping(2, "accuracy")
    recipe = replace(PLAIN, optimizer=Optimizer("sgd", 3.0), stages=stages, early_stopping=stopping)
    made, fitted, reported = train(recipe)
    best = max(metrics["val/accuracy"] for epoch, metrics in reported.items() if epoch > 2)
    assert fitted.last_stage == len(reported) - 2 < 30
    assert accuracy(fitted.model, made.splits.val) == pytest.approx(best)


@pytest.mark.parametrize("patience", [0, 2])
def test_averaged_weights_are_what_is_validated_selected_and_recorded(patience):
    recipe = replace(
        NORMALIZED,
        optimizer=Optimizer("adam", 0.01, ema=0.9),
        early_stopping=EarlyStopping(patience, "accuracy"),
        stages=(Stage(6),),
    )
    made, fitted, reported = train(recipe)
    values = [metrics["val/accuracy"] for metrics in reported.values()]
    expected = max(values) if patience else values[-1]
    assert accuracy(fitted.model, made.splits.val) == pytest.approx(expected)


def test_averaging_does_not_disturb_the_raw_weights():
    """Plain gradient descent with averaging takes the same raw path as without: only what is seen differs."""
    raw = {}

    class Spy(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raw.setdefault(self.key, []).append(self.model.get_weights())

    for ema in (0.0, 0.9):
        made = trainer(replace(PLAIN, optimizer=Optimizer("sgd", 0.1, ema=ema)))
        spy = Spy()
        spy.key = ema
        fit = made.model.fit
        made.model.fit = lambda *a, fit=fit, spy=spy, **k: fit(*a, **{**k, "callbacks": [*k["callbacks"], spy]})
        made.fit(lambda *_: None)
    for plain, averaged in zip(raw[0.0], raw[0.9], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(plain, averaged, strict=True))


def test_batch_normalization_is_estimated_anew_for_averaged_weights():
    made, fitted, _ = train(replace(NORMALIZED, optimizer=Optimizer("adam", 0.05, ema=0.99), stages=(Stage(2),)))
    layer = made.model.get_layer("hidden_1_norm")
    hidden = keras.Model(made.model.input, made.model.get_layer("hidden_1").output)
    last = made.batches.steps  # the first batch of the second epoch
    shown = np.concatenate([made.batches(last + number)[0] for number in range(made.batches.steps)])
    outputs = np.asarray(hidden.predict_on_batch(shown))
    np.testing.assert_allclose(layer.moving_mean, outputs.mean(axis=0), rtol=1e-3, atol=1e-3)
    assert fitted.model.get_layer("hidden_1_norm").moving_mean.shape == layer.moving_mean.shape


def test_estimating_statistics_restores_the_momentum():
    layer = keras.layers.BatchNormalization(momentum=0.7)
    network = keras.Sequential([keras.Input((3,)), layer])
    x = np.random.default_rng(0).normal(5, 2, (4, 50, 3)).astype(np.float32)
    estimate_statistics(network, list(x))
    np.testing.assert_allclose(layer.moving_mean, x.mean(axis=(0, 1)), rtol=1e-4)
    assert layer.momentum == 0.7


def test_a_loss_that_is_no_number_ends_the_run():
    with pytest.raises(RunFailed, match="learning-rate"):
        train(replace(PLAIN, optimizer=Optimizer("sgd", 1e30)))


def test_plateau_lowers_the_rate():
    recipe = replace(
        PLAIN, optimizer=Optimizer("sgd", 5.0), schedule=Schedule("plateau", patience=1, factor=0.1), stages=(Stage(8),)
    )
    _, _, reported = train(recipe)
    assert reported[8]["learning_rate"] < 5.0


def test_training_without_validation():
    splits = make_splits()
    _, _, reported = train(splits=replace(splits, val=splits.val.take(np.arange(0))))
    assert not any(name.startswith("val/") for name in reported[1])


def test_small_images_first_then_full_size():
    recipe = replace(
        PLAIN,
        model=FastNetwork(filters=(8, 8)),
        optimizer=Optimizer("filter_muon", 0.1),
        stages=(Stage(2, image_size=8), Stage(3)),
    )
    made, fitted, _ = train(recipe)
    assert accuracy(fitted.model, made.splits.test) > 0.5
    with pytest.raises(BadInput, match="one size only"):
        trainer(replace(PLAIN, stages=(Stage(1, image_size=8),)))


def test_the_record_takes_raw_pixels_where_training_saw_patches():
    recipe = replace(PLAIN, augmentation=Augmentation(resize=20, patch=16), stages=(Stage(4),))
    made, fitted, reported = train(recipe)
    assert fitted.model.input_shape == (None, 12, 12, 1)
    assert accuracy(fitted.model, made.splits.val) == pytest.approx(reported[4]["val/accuracy"], abs=0.05)


def test_bfloat16_training_leaves_a_float32_record():
    made, fitted, _ = train(replace(PLAIN, precision="bfloat16", model=LeNet5(), stages=(Stage(6),)))
    assert made.model.layers[3].compute_dtype == "bfloat16"
    assert {layer.compute_dtype for layer in fitted.model.layers} == {"float32"}
    assert accuracy(fitted.model, made.splits.test) > 0.5


def test_unknown_keras_names_are_refused_in_one_line():
    for model in (MultilayerPerceptron(activation="rellu"), MultilayerPerceptron(initializer="he")):
        with pytest.raises(BadInput, match="--model") as caught:
            trainer(replace(PLAIN, model=model))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupt_between_epochs_or_after_the_last_one_ends_the_training(epoch):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it

    def interrupt(metrics, number, at):
        if number == epoch:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer().fit(interrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
