"""The same commands on another Keras backend, on a machine without TensorFlow."""

import os

import mlflow
import pytest

from tests.conftest import on_backend

HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def without_tensorflow(code, backend):
    return on_backend(backend, HIDDEN + code)


def test_jax_trains_evaluates_and_records(store):
    flags = "--data.name digits --augmentation.resize 16 --batch-size 100 --epochs 3 --model.filters 32"
    flags += " --optimizer.ema 0.5 --stages.0.image-size 12 --stages.1.image-size 0"
    arguments = ["cifar", *flags.split()]
    done = without_tensorflow(f"from pipelines import train\ntrain.main({arguments})", "jax")
    assert done.returncode == 0, done.stderr
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    run = mlflow.search_runs(search_all_experiments=True, output_format="list")[0]
    assert run.data.tags["keras.backend"] == "jax"
    assert run.data.metrics["test/accuracy"] > 0.5


TOGETHER = """
import numpy as np
from pytest import approx
from dataclasses import replace
from pipelines.fitting import devices
from pipelines.settings import Schedule, Stage
from tests.conftest import Kept
from tests.test_trainer import NORMALIZED, trainer

RECIPE = replace(NORMALIZED, schedule=Schedule("linear"), stages=(Stage(3),))  # 6 steps an epoch


def trained(most, state=None):
    devices.TOGETHER = most
    devices.gpus = lambda: ["a GPU"]
    made, kept, lines = trainer(RECIPE), Kept(), []
    fitted = made.fit(lambda metrics, epoch, at: lines.append(metrics), kept, state)
    steps = [state.position.step for state in kept.states]
    curves = [{name: line[name] for name in line if "/" in name or name == "learning_rate"} for line in lines]
    return steps, fitted.model.get_weights(), curves, kept.states


one, weights, curves, states = trained(1)
assert one == [*range(1, 19)], one
CASES = (4, None, [3, 6, 9, 12, 15, 18]), (16, None, [6, 12, 18]), (4, states[7], [10, 12, 14, 16, 18])
for most, state, expected in CASES:
    steps, found, shown, _ = trained(most, state)
    assert steps == expected, steps
    for a, b in zip(weights, found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for a, b in zip(curves, shown, strict=True):
        assert a == {name: approx(value, abs=1e-5) for name, value in b.items()}, (a, b)
"""


def test_steps_that_an_accelerator_gets_together_change_neither_weights_nor_curves():
    done = without_tensorflow(TOGETHER, "jax")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("backend", "what"), [("tensorflow", "needs tensorflow"), ("theano", "theano")])
def test_a_backend_that_is_not_there_is_said_in_one_line(backend, what, store):
    code = "sys.argv = ['train', 'digits-mlp']\nfrom pipelines import command, train\ncommand.main(train.main)"
    done = without_tensorflow(code, backend)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert what in done.stderr
