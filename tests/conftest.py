"""Every test works in folders of its own: nothing is downloaded, nothing is left in the checkout."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from data.spec import Spec, Split, Splits
from pipelines import command, isolation, train
from pipelines.tracking import store as where

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("digits-mlp", "--epochs", "2")

PLACES = [("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location")]
"""Columns of MLflow's database that hold absolute paths."""

# Two processes of tests share two cores; threads of TensorFlow's that wait for each other cost them a fifth.
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A migrated, empty MLflow database; migrating takes seconds, copying does not."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        where.connect()
    return path


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")


@pytest.fixture
def store(tmp_path, empty_store):
    """An empty MLflow store of this test's own; returns its folder."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def training(tmp_path_factory, empty_store):
    """The folder of a store that holds one finished training of QUICK, and what that printed."""
    folder = tmp_path_factory.mktemp("training")
    shutil.copy(empty_store, folder / "mlflow.db")
    printed = folder.with_suffix(".txt")
    with pytest.MonkeyPatch.context() as patch, printed.open("w", encoding="utf-8") as out, redirect_stdout(out):
        patch.setenv("DATA_CACHE", str(folder.with_suffix(".cache")))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        assert command.run(train.main, [*QUICK]) == 0
    return folder, printed.read_text(encoding="utf-8")


@pytest.fixture
def trained(store, training):
    """A finished run of QUICK in a store of this test's own, and what its training printed."""
    from mlflow.tracking._tracking_service import utils  # imported before our commands it would be chatty

    folder, out = training
    shutil.copytree(folder, store, dirs_exist_ok=True)
    with closing(sqlite3.connect(store / "mlflow.db")) as database, database:
        for table, column in PLACES:
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(folder), str(store)))
    utils._artifact_repos_cache.clear()  # MLflow's, of the places where the run lay in tests before
    return newest(), out


@pytest.fixture
def run_stage(capfd):
    """Runs a stage in this process as the command line does; returns status, standard output and error."""

    def run(stage, *arguments):
        status = command.run(stage.main, [*map(str, arguments)])
        out, err = capfd.readouterr()
        return status, out, err

    return run


@pytest.fixture
def in_this_process(monkeypatch):
    """Lets what is run in processes of its own run in this one, where nothing depends on them: it saves their start."""

    def run_apart(function, *arguments):
        return command.run(lambda _: function(*arguments), [])

    monkeypatch.setattr(isolation, "run_apart", run_apart)


@pytest.fixture
def when_printed(monkeypatch):
    """Has something done once, as soon as a stage in this process prints a certain text."""

    def arrange(text, act):
        printed = Console.print

        def observed(console, *objects, **named):
            printed(console, *objects, **named)
            if any(text in str(one) for one in objects):
                monkeypatch.setattr(Console, "print", printed)
                act()

        monkeypatch.setattr(Console, "print", observed)

    return arrange


def newest():
    """The run that was started last."""
    client = where.connect()
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(numbers, order_by=["attributes.start_time DESC"])[0]


class Begun:
    """Code that runs in a process of its own, which begins with all libraries imported, as seeds and trials do.

    Used like a :class:`subprocess.Popen` of ``python -c`` with pipes, for what is not about a program's start.
    """

    def __init__(self, code, *arguments):
        pipes = os.pipe(), os.pipe()
        theirs = isolation.Streams(*(end for _, end in pipes))
        self.process = isolation.make(isolation.fork_server(), theirs, _execute, code, arguments)
        self.process.start()
        self.stdout, self.stderr = (os.fdopen(end) for end, _ in pipes)
        for end in (theirs.out, theirs.err):
            os.close(end)

    @property
    def pid(self):
        return self.process.pid

    def poll(self):
        return self.process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def finish(self, timeout=60):
        """Wait for its end, and kill it if that does not come in so many seconds.

        Returns status, standard output from where it was read to, and error.
        """
        late = threading.Timer(timeout, self.process.kill)
        late.start()
        with ThreadPoolExecutor() as pool, self.stdout, self.stderr:
            out, err = pool.map(lambda stream: stream.read(), (self.stdout, self.stderr))
        self.process.join()
        late.cancel()
        return self.process.exitcode, out, err


def _execute(code, arguments):
    sys.argv = ["-c", *map(str, arguments)]
    exec(code, {"__name__": "__main__"})


def on_backend(backend, code, **environment):
    """Run code with another Keras backend, in a process of its own in the top folder; returns it when it has ended."""
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiling takes longer than all that is computed in tests
    environment = {**os.environ, **quick, "KERAS_BACKEND": backend, **environment}
    code += "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)"  # an orderly end takes seconds
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


def make_spec(shape=(32, 32, 3), classes=10):
    channels = shape[-1]
    return Spec("images", tuple(f"class{i}" for i in range(classes)), shape, (0.5,) * channels, (0.25,) * channels)


def make_texts(count=200, seed=0):
    """Words of 2 to 12 letters, of which those of the second class end in "ov"."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    words = ["".join(generator.choice(list("abcdefgh"), generator.integers(2, 11))) for _ in range(count)]
    part = Split(np.array([word + "ov" * label for word, label in zip(words, labels, strict=True)]), labels)
    spec = Spec("text", ("other", "Russian"), vocabulary=tuple("abcdefghov"), longest=12)
    return Splits(
        spec, *_parts(part, count), {"name": "words", "source": "embedded", "sha256": "0", "test_sha256": "0"}
    )


def _parts(part, count):
    """Training, validation and test examples: 6, 2 and 2 of 10."""
    return [part.take(np.flatnonzero(np.isin(np.arange(count) % 10, of))) for of in (range(6), (6, 7), (8, 9))]


def make_splits(count=200, shape=(12, 12, 1), classes=4, seed=0):
    """Bright squares whose corner is the class, under noise: learned within an epoch or two."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = generator.integers(0, 60, (count, *shape)).astype(np.uint8)
    half = shape[0] // 2
    for row, label in enumerate(labels):
        top, left = divmod(int(label), 2)
        images[row, top * half : (top + 1) * half, left * half : (left + 1) * half] += 120
    part = Split(images, labels)
    manifest = {"name": "squares", "source": "embedded", "sha256": "0", "test_sha256": "0"}
    return Splits(make_spec(shape, classes), *_parts(part, count), manifest)


class Kept:
    """Checkpoints in memory: the state after every step but an epoch's last, and at its end."""

    def __init__(self):
        self.states = []

    def due(self):
        return True

    def write(self, state):
        self.states.append(state)
