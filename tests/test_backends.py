"""The same commands on another Keras backend, on a machine without TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

ROOT = Path(__file__).resolve().parents[1]


HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def without_tensorflow(code, backend):
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiling takes longer than all that is computed here
    environment = {**os.environ, **quick, "KERAS_BACKEND": backend}
    code = HIDDEN + code
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


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


@pytest.mark.parametrize(("backend", "what"), [("tensorflow", "needs tensorflow"), ("theano", "theano")])
def test_a_backend_that_is_not_there_is_said_in_one_line(backend, what, store):
    code = "sys.argv = ['train', 'digits-mlp']\nfrom pipelines import command, train\ncommand.main(train.main)"
    done = without_tensorflow(code, backend)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert what in done.stderr
