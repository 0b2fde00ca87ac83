import math

import numpy as np
import pytest

from pipelines.fitting.schedules import Scheduled, WarmedPlateau, scheduled
from pipelines.settings import Optimizer, Schedule


def rates(schedule, steps=100, start=0, factor=1.0):
    made = scheduled(schedule, Optimizer(learning_rate=2.0), steps, factor, start)
    return np.array([float(made(step)) for step in range(steps - start)])


def test_constant():
    assert set(rates(Schedule("constant"))) == {2.0}


def test_cosine_falls_along_its_curve():
    expected = [1 + math.cos(math.pi * step / 100) for step in range(100)]
    np.testing.assert_allclose(rates(Schedule("cosine")), expected, atol=1e-5)


def test_linear_falls_to_its_last_rate():
    found = rates(Schedule("linear", final=0.1))
    np.testing.assert_allclose(np.diff(found), -0.018, atol=1e-5)
    assert found[0] == 2.0
    assert found[-1] == pytest.approx(2 * 0.109, rel=1e-3)


def test_step_multiplies_at_its_milestones():
    found = rates(Schedule("step", milestones=(0.5, 0.75), factor=0.1))
    np.testing.assert_allclose(found[[0, 49, 50, 74, 75, 99]], [2, 2, 0.2, 0.2, 0.02, 0.02], rtol=1e-5)


def test_one_cycle_rises_then_falls():
    found = rates(Schedule("one-cycle"))
    assert found.argmax() in (29, 30)
    assert found.max() == pytest.approx(2.0, rel=0.01)
    assert found[0] == pytest.approx(2 / 30, rel=1e-3)
    assert found[-1] < 0.05


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "linear"])
def test_each_warms_up_from_almost_nothing(name):
    found = rates(Schedule(name, warmup=0.2))
    np.testing.assert_allclose(found[:20], 2 * np.arange(1, 21) / 20, rtol=1e-5)
    assert found[25] <= 2.0


@pytest.mark.parametrize("name", ["step", "cosine", "linear", "one-cycle"])
def test_a_later_start_goes_on_where_the_schedule_stands(name):
    np.testing.assert_allclose(rates(Schedule(name), start=40), rates(Schedule(name))[40:], atol=1e-5)


def test_a_stage_s_factor_scales_every_rate():
    np.testing.assert_allclose(rates(Schedule("cosine"), factor=0.1), 0.1 * rates(Schedule("cosine")), atol=1e-5)


def test_survives_its_config():
    made = scheduled(Schedule("step", warmup=0.1), Optimizer(), 50, 1.0, 3)
    again = Scheduled.from_config(made.get_config())
    assert [float(again(step)) for step in range(47)] == [float(made(step)) for step in range(47)]


def test_plateau_warms_up_then_falls_when_validation_stands_still():
    import keras

    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile(keras.optimizers.SGD(1.0), "mse")
    plateau = WarmedPlateau(peak=1.0, steps=4, monitor="val_loss", factor=0.5, patience=1)
    plateau.set_model(network)
    plateau.on_train_begin()
    seen = []
    for step in range(6):
        plateau.on_train_batch_begin(step)
        seen.append(float(network.optimizer.learning_rate))
    assert seen == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    for epoch, loss in enumerate([1.0, 1.0, 1.0]):
        plateau.on_epoch_end(epoch, {"val_loss": loss})
    assert float(network.optimizer.learning_rate) < 1.0
