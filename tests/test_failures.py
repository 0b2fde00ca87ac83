"""Faults of the machine: full disks, missing permissions, strange paths and environments. They are real ones."""

import ctypes
import os
import resource
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipelines import sync, train
from pipelines.tracking import outbox
from tests.conftest import Begun

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("digits-mlp", "--epochs", "2")

SGD = ("--optimizer.name", "sgd")
"""Has no state: checkpoints are then smaller than figures."""

ONCE_PER_EPOCH = {"train/loss", "val/accuracy", "learning_rate", "epoch_seconds"}


@contextmanager
def small_disk(limit):
    """No file may grow past so many bytes: what a full disk is to those who write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def bound_by_permissions(probe):
    """Let permissions bind this thread and the processes it starts also where it is root's.

    Root gives up for a while the capabilities (1 and 2 of capabilities(7)) that let it write and read everywhere, and
    the privilege that a program it starts gets them all back (securebits, bit 0).
    """
    libc = ctypes.CDLL(None)
    header, before = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, before)
    lowered = (ctypes.c_uint32 * 6)(before[0] & ~0b110, *before[1:])
    securebits = libc.prctl(27, 0, 0, 0, 0)
    if os.geteuid() == 0:
        libc.prctl(28, securebits | 1, 0, 0, 0)
        libc.capset(header, lowered)
    try:
        if os.access(probe, os.W_OK, effective_ids=True):
            pytest.skip("root can't give up its privilege here")
        yield
    finally:
        libc.capset(header, before)
        libc.prctl(28, securebits, 0, 0, 0)


def runs(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return client, client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def is_one_line(err, *parts):
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert len(err) < 500, err
    for part in parts:
        assert part in err


IMPATIENT = """
from pipelines import command, train
from pipelines.tracking import outbox
outbox.PATIENCE = 1.0
command.main(train.main)
"""
"""Waits for a store that is away as long as a test can."""


def execute(arguments, cwd=ROOT, settings=None):
    """Run a stage in a fresh process; returns status and error."""
    environment = os.environ if settings is None else settings
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.fixture
def run_out_of_space(run_stage, when_printed, monkeypatch):
    """Runs a stage in this process, whose disk fills up when it prints a certain text."""
    monkeypatch.setattr(outbox, "PATIENCE", 1.0)

    def run(when, limit, *arguments):
        with ExitStack() as disk:
            when_printed(when, lambda: disk.enter_context(small_disk(limit)))
            return run_stage(train, *arguments)

    return run


@pytest.mark.parametrize(
    ("limit", "place", "why"),
    [(40_000, "cache", "no space"), (300_000, "runs/mlflow.db", "disk I/O error")],
    ids=["data cache", "database"],
)
def test_a_full_disk_is_said_before_any_training(limit, place, why, store, tmp_path, run_stage):
    with small_disk(limit):
        status, out, err = run_stage(train, *QUICK)
    assert status == 2
    is_one_line(err, str(tmp_path / place), why, "free space")
    assert "epoch 1" not in out
    assert runs(store)[1] == []
    assert not list(store.glob("unfinished/*"))


def test_a_disk_full_while_the_database_is_made_leaves_no_half_of_one(run_stage, tmp_path):
    with small_disk(400_000):
        status, _, err = run_stage(sync)
    assert status == 2
    is_one_line(err, "mlflow.db", "free space")
    status, err = execute(["pipelines.sync"])
    assert (status, err) == (0, "")
    assert runs(tmp_path / "runs")[1] == []


@pytest.mark.parametrize(
    ("place", "advice"),
    [("runs/mlflow.db", "permissions"), ("runs/unfinished", "RUNS_FOLDER"), ("cache", "DATA_CACHE")],
)
def test_a_missing_permission_is_said_before_any_training(place, advice, store, tmp_path, run_stage):
    path = tmp_path / place
    if not path.exists():
        path.mkdir()
    path.chmod(0o555 if path.is_dir() else 0o444)
    with bound_by_permissions(path):
        status, out, err = run_stage(train, *QUICK)
    assert status == 2
    is_one_line(err, str(path), advice)
    assert "epoch 1" not in out
    assert runs(store)[1] == []


@pytest.mark.parametrize(
    ("flags", "when", "limit"),
    [
        (("--epochs", "60", "--precision", "float32"), "epoch 2/", 60_000),
        (("--epochs", "2", *SGD), "initial loss", 45_000),
    ],
    ids=["checkpoint", "figure"],
)
def test_a_disk_full_in_mid_training_loses_nothing(flags, when, limit, store, run_stage, run_out_of_space):
    status, _, err = run_out_of_space(when, limit, "digits-mlp", *flags)
    assert status == 2, err
    client, (run,) = runs(store)
    is_one_line(err, str(store / "unfinished" / run.info.run_id), "free space", f"RESUME={run.info.run_id}")
    status, out, err = run_stage(train, "digits-mlp", "--resume", "last")
    assert status == 0, err
    client, (run,) = runs(store)
    assert run.info.status == "FINISHED"
    epochs = list(range(1, int(flags[1]) + 1))
    for name in ONCE_PER_EPOCH:
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == epochs
    for name in ("train_seconds", "test/accuracy"):
        assert len(client.get_metric_history(run.info.run_id, name)) == 1
    assert not list(store.glob("unfinished/*"))


def test_a_full_disk_of_the_store_alone_costs_no_record(store, run_stage):
    """The database is larger than all other files of the run, so the limit is one for it alone."""
    begun = Begun(IMPATIENT, *QUICK)
    for line in begun.stdout:
        if "initial loss" in line:
            break
    resource.prlimit(begun.pid, resource.RLIMIT_FSIZE, (500_000, 500_000))
    status, out, err = begun.finish()
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "mlflow.db: can't be used: (sqlite3.OperationalError) disk I/O error; " in lines[-1]
    assert "make sync sends them" in lines[-1]
    status, _, err = run_stage(sync)
    assert status == 0, err
    client, (run,) = runs(store)
    assert (run.info.status, run.data.tags["model"]) == ("FINISHED", "recorded")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val/accuracy")] == [1, 2]
    assert not list(store.glob("unfinished/*"))


def test_a_one_batch_run_that_a_full_disk_ends_does_not_stay_running(store, run_stage, run_out_of_space):
    """Its journal is the one file that grows."""
    status, _, err = run_out_of_space("initial loss", 10_000, "digits-mlp", "--overfit-one-batch")
    assert status == 2
    is_one_line(err, "journal.jsonl", "free space")
    assert run_stage(sync)[0] == 0
    client, (run,) = runs(store)
    assert run.info.status == "KILLED"
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
    assert len(steps) > 5
    assert steps == list(range(1, len(steps) + 1))


@pytest.fixture
def strange(tmp_path):
    """A checkout that can't be written, in a folder whose name shells and URLs stumble over."""
    folder = tmp_path / "Zoë's Läufe 数据 100%"
    for package in ("data", "models", "pipelines"):
        ignored = shutil.ignore_patterns("__pycache__", "cache")
        shutil.copytree(ROOT / package, folder / "checkout" / package, ignore=ignored)
    for path in folder.glob("checkout/**/*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (folder / "checkout").chmod(0o555)
    yield folder
    for path in [folder / "checkout", *folder.glob("checkout/**/*")]:
        path.chmod(0o755)


def test_a_read_only_checkout_in_a_strange_place_trains(strange, monkeypatch):
    """Also without a home, a terminal, a useful PATH or an output that takes more than ASCII."""
    places = {"MLFLOW_TRACKING_URI": f"sqlite:///{strange}/runs/mlflow.db", "DATA_CACHE": f"{strange}/cache"}
    plain = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"}
    with bound_by_permissions(strange / "checkout"):
        status, err = execute(["pipelines.train", *QUICK], strange / "checkout", settings=plain | places)
    assert (status, err) == (0, "")
    _, (run,) = runs(strange / "runs")
    assert run.info.status == "FINISHED"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", places["MLFLOW_TRACKING_URI"])
    mlflow.set_tracking_uri(places["MLFLOW_TRACKING_URI"])
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    assert model.predict(np.zeros((1, 8, 8, 1), np.uint8)).shape == (1, 10)


def test_a_read_only_checkout_without_other_places_says_what_to_set(strange, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with bound_by_permissions(strange / "checkout"):
        status, err = execute(["pipelines.sync"], strange / "checkout")
    assert status == 2
    is_one_line(err, f"{strange}/checkout/mlruns", "MLFLOW_TRACKING_URI")


TALKS = """
import sys
from pipelines import command, reports

def stage(arguments):
    console = reports.console()
    for number in range(3):
        console.print(number)
        sys.stdin.readline()
    print("done", file=sys.stderr)

command.main(stage)
"""


def test_a_stage_goes_on_when_nobody_reads_its_output_any_more():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", TALKS], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        process.stdin.write(b"\n\n\n")
        process.stdin.close()
        assert process.stderr.read() == b"done\n"
    assert process.returncode == 0


def test_a_full_disk_under_the_log_is_said_and_costs_nothing_else():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", TALKS], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 0
    assert done.stderr.count(b"\n") == 2
    assert b"standard output: [Errno 28] No space left" in done.stderr
