"""Trainings against a real MLflow server on loopback that is killed and started again."""

import shutil
import threading
import time
import zipfile

import mlflow
import pytest

from benchmarks.server import Server, inspect, runs
from data.errors import BadInput
from pipelines import predict, recipes, settings, sync, train
from pipelines.tracking import outbox, recorded
from pipelines.tracking.runs import Run

EPOCHS = 20
QUICK = ("digits-mlp", "--epochs", EPOCHS)

BY_EPOCH = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "learning_rate", "epoch_seconds"}
FINAL = {f"test/{name}" for name in ("accuracy", "top3_accuracy", "top5_accuracy", "macro_f1", "loss", "ece")}


@pytest.fixture(scope="module")
def running(tmp_path_factory, empty_store):
    server = Server(tmp_path_factory.mktemp("server"))
    shutil.copy(empty_store, server.folder / "mlflow.db")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(running, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running.uri)
    monkeypatch.setenv("RUNS_FOLDER", str(tmp_path / "unfinished"))
    monkeypatch.setattr(outbox, "PATIENCE", 3.0)
    yield running
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_registry_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")


def after_epoch(number, folder, act):
    """Do something in the background as soon as a run that is recorded in a folder has had so many epochs."""

    def wait():
        wait_until(lambda: any(f'"step": {number}}}' in path.read_text() for path in folder.glob("*/journal.jsonl")))
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def wait_until(so):
    deadline = time.monotonic() + 120
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def complete(run):
    """Whether a run holds everything once."""
    found = inspect(mlflow.MlflowClient(), run, run, EPOCHS)
    assert (found.lost, found.doubled) == ([], [])
    assert set(run.data.metrics) >= BY_EPOCH | FINAL | {"examples_per_second", "train_seconds", "parameters"}
    assert set(run.data.params) == set(settings.flatten(settings.to_dict(recipes.find("digits-mlp"))))
    assert {"weights.sha256", "model", "data.sha256"} <= set(run.data.tags)
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"recipe.json", "data.json", "environment.txt", "predictions.parquet", "figures"} <= files
    assert len(mlflow.MlflowClient().list_artifacts(run.info.run_id, "figures")) >= 5


def test_a_server_that_goes_and_comes_back_in_mid_training_costs_nothing(
    server, run_stage, when_printed, tmp_path, monkeypatch
):
    back, metrics = [], Run.metrics

    def restart():
        server.start()
        back.append(time.time())

    def in_mid_training(run, values, step=0, *moment):
        metrics(run, values, step, *moment)
        if step == 10:  # the rest of the training finds the server as it was
            wait_until(lambda: back)

    monkeypatch.setattr(Run, "metrics", in_mid_training)
    thread = after_epoch(3, tmp_path / "unfinished", server.kill)
    when_printed("training goes on", restart)
    status, out, err = run_stage(train, *QUICK)
    thread.join()
    assert (status, err) == (0, "")
    assert out.count(f"{server.uri}: can't be reached; training goes on") == 1
    assert out.count(f"{server.uri}: takes records again") == 1
    assert "Traceback" not in out
    run = runs(mlflow.MlflowClient())[-1]
    complete(run)
    assert run.info.end_time > back[0] * 1000
    assert not list((tmp_path / "unfinished").iterdir())


MARK = "h7Kq2VtXw9"
"""In every secret, and nowhere else."""


@pytest.fixture
def secretive(server, monkeypatch):
    """A server whose address holds a password, in an environment full of others."""
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HF_TOKEN", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, MARK)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://me:{MARK}@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri.replace("//", f"//me:{MARK}@"))
    return server


def holding(folder):
    """Files below a folder that hold the mark, in archives too."""
    found = []
    for path in folder.rglob("*"):
        content = [path.read_bytes()] if path.is_file() else []
        if content and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content += [archive.read(name) for name in archive.namelist()]
        found += [path] * any(MARK.encode() in part for part in content)
    return found


@pytest.fixture
def said(run_stage):
    """Runs a stage; all that is said goes into its list."""

    def run(stage, *arguments):
        status, out, err = run_stage(stage, *arguments)
        run.texts += [out, err]
        return status, out, err

    run.texts = []
    return run


def test_what_a_server_missed_that_stayed_away_is_sent_by_sync_and_no_secret_is_told(secretive, said, tmp_path):
    thread = after_epoch(3, tmp_path / "unfinished", secretive.kill)
    status, out, err = said(train, *QUICK)
    ended = time.time()
    thread.join()
    assert (status, err) == (0, "")
    last = out.splitlines()[-1]
    assert last.startswith(f"{secretive.uri}: can't be reached; ")
    assert "make sync sends them" in last
    status, out, err = said(sync)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said(predict, "last", "x.png")[0] == 2
    assert list((tmp_path / "unfinished").glob("*/journal.jsonl"))
    assert holding(tmp_path) == []

    secretive.start()
    status, out, err = said(sync)
    assert (status, err) == (0, "")
    assert "complete" in out
    run = runs(mlflow.MlflowClient())[-1]
    complete(run)
    assert run.info.end_time <= ended * 1000
    status, out, _ = said(sync)
    assert (status, out) == (0, f"{secretive.uri}: nothing waits to be sent\n")
    complete(runs(mlflow.MlflowClient())[-1])

    found = recorded.find("last")
    secretive.kill()
    for ask in (
        found.load_model,
        found.tags,
        found.history,
        found.recipe,
        lambda: recorded.table(found, "predictions"),
    ):
        with pytest.raises(BadInput) as refused:
            ask()
        said.texts.append(str(refused.value))
    assert not [text for text in said.texts if MARK in text]
    assert holding(tmp_path) + holding(secretive.folder) == []
