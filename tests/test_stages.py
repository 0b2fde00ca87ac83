"""The commands as their users run them, on embedded data."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

import data
from data.spec import DataConfig
from pipelines import augment, evaluate, ingest, recipes, settings, train, ui
from tests.conftest import QUICK, Begun, newest


def artifacts(run, folder=""):
    found = []
    for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, folder):
        found += artifacts(run, item.path) if item.is_dir else [item.path]
    return found


def test_a_training_records_everything(trained):
    run, out = trained
    assert run.info.status == "FINISHED"
    assert mlflow.get_experiment(run.info.experiment_id).name == "digits"
    tags = run.data.tags
    manifest = data.load(DataConfig("digits")).manifest
    assert tags["stage"] == "train"
    assert tags["recipe"] == "digits-mlp"
    assert tags["task"] == "classification"
    assert tags["data.source"] == "embedded"
    assert tags["data.sha256"] == manifest["sha256"]
    assert tags["data.test_sha256"] == manifest["test_sha256"]
    assert re.fullmatch("[0-9a-f]{40}|unknown", tags["git.commit"])
    assert {"git.dirty", "keras.backend", "device", "precision"} <= set(tags)
    expected = settings.flatten(settings.to_dict(recipes.find("digits-mlp").with_epochs(2)))
    assert run.data.params == {name: str(value) for name, value in expected.items()}
    names = set(run.data.metrics)
    by_epoch = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "learning_rate", "epoch_seconds"}
    final = {"test/accuracy", "test/top3_accuracy", "test/top5_accuracy", "test/macro_f1", "test/loss", "test/ece"}
    assert by_epoch | final | {"examples_per_second", "train_seconds", "parameters"} <= names
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val/accuracy")
    assert [point.step for point in history] == [1, 2]
    assert mlflow.MlflowClient().get_metric_history(run.info.run_id, "test/accuracy")[0].step == 0
    assert [item.dataset.digest for item in run.inputs.dataset_inputs] == [manifest["sha256"][:16]]
    kept = set(artifacts(run))
    files = {"predictions.parquet", "recipe.json", "data.json", "environment.txt", "per_class.parquet"}
    pictures = {"learning_curves", "confusion_matrix", "reliability", "mistakes", "per_class_f1"}
    assert files | {f"figures/{name}.png" for name in pictures} <= kept
    assert "initial loss" in out
    assert "ln 10 = 2.303" in out
    assert run.info.run_id in out


def test_the_recorded_model_works_in_a_fresh_process_elsewhere(trained, tmp_path):
    run, _ = trained
    split = data.load(DataConfig("digits")).test
    np.save(tmp_path / "images.npy", split.inputs[np.arange(len(split))])
    code = """
import sys, numpy as np, mlflow
model = mlflow.pyfunc.load_model(f"runs:/{sys.argv[1]}/model")
np.save("outputs.npy", model.predict(np.load("images.npy")))
"""
    done = subprocess.run([sys.executable, "-c", code, run.info.run_id], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs = np.load(tmp_path / "outputs.npy")
    path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/predictions.parquet")
    table = pd.read_parquet(path)
    np.testing.assert_allclose(outputs, np.stack(table["probabilities"]), atol=1e-5)
    np.testing.assert_array_equal(table["label"], split.labels)


def test_ui_tells_where_the_runs_of_each_experiment_are_shown(trained, run_stage, monkeypatch):
    run, _ = trained
    begun = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: begun.append(arguments))
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI", raising=False)
    status, out, err = run_stage(ui, "5099")
    assert (status, err) == (0, "")
    # All users of a machine see the arguments of processes, and the address of a database holds a password.
    assert not any("mlflow.db" in argument for argument in begun[0])
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == os.environ["MLFLOW_TRACKING_URI"]
    assert out.splitlines()[1:] == [f"  http://127.0.0.1:5099/#/experiments/{run.info.experiment_id}/runs  digits"]
    assert "5099" in begun[0]


def test_the_recorded_model_declares_uint8_and_pins_what_it_needs(trained):
    run, _ = trained
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    signature = model.metadata.signature
    assert signature.inputs.inputs[0].type == np.uint8
    assert signature.inputs.inputs[0].shape == (-1, 8, 8, 1)
    assert signature.outputs.inputs[0].type == np.float32
    requirements = Path(
        mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/model/requirements.txt")
    ).read_text()
    assert all("==" in line for line in requirements.split())
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(np.zeros((1, 8, 8, 1), np.float64))


@pytest.mark.parametrize("reference", ["last", "id", "name"])
def test_evaluating_again_gives_the_same_numbers_in_the_same_run(trained, run_stage, reference):
    before, _ = trained
    named = {"last": "last", "id": before.info.run_id, "name": before.info.run_name}[reference]
    status, out, err = run_stage(evaluate, named, "--tta")
    assert status == 0, err
    after = mlflow.get_run(before.info.run_id)
    for name, value in before.data.metrics.items():
        if name.startswith("test/"):
            assert after.data.metrics[name] == value
    assert "test/tta_accuracy" in after.data.metrics
    assert newest().info.run_id == before.info.run_id


def test_stand_in_data_is_named_everywhere(store, run_stage, monkeypatch):
    def unreachable(remote, folder):
        raise data.Unreachable("no network")

    monkeypatch.setattr(data.store, "fetch", unreachable)
    status, out, _ = run_stage(train, "mnist-linear", "--epochs", "1")
    assert status == 0
    assert out.startswith("STAND-IN DATA: digits instead of mnist")
    run = newest()
    assert "STAND-IN" in run.info.run_name
    assert mlflow.get_experiment(run.info.experiment_id).name == "digits"
    assert "STAND-IN" in out.split("Test set")[1]


def test_one_batch_is_learned_by_heart(store, run_stage):
    status, out, err = run_stage(train, "digits-mlp", "--overfit-one-batch")
    assert status == 0, err
    assert "the network can learn" in out
    assert newest().data.tags["stage"] == "overfit-one-batch"


def test_a_network_that_can_t_learn_fails_its_one_batch(store, run_stage):
    status, _, err = run_stage(train, "digits-mlp", "--overfit-one-batch", "--optimizer.learning-rate", "1e-9")
    assert status == 1
    assert "does not learn one batch" in err
    assert newest().info.status == "FAILED"


def test_a_loss_that_is_no_number_fails_the_run_and_says_why(store, run_stage):
    status, _, err = run_stage(train, *QUICK, "--optimizer.name", "sgd", "--optimizer.learning-rate", "1e30")
    assert status == 1
    assert err.count("\n") == 1
    run = newest()
    assert run.info.status == "FAILED"
    assert "the loss became" in run.data.tags["failure"]


def test_an_interrupted_run_is_marked_killed(store, tmp_path):
    begun = Begun(
        "from pipelines import command, train\ncommand.main(train.main)",
        "digits-mlp",
        "--epochs",
        "100000",
        "--precision",
        "float32",
    )
    for line in begun.stdout:
        if line.startswith("epoch 3/"):
            break
    begun.send_signal(signal.SIGINT)
    status, _, err = begun.finish()
    assert status == 130, err
    assert "Traceback" not in err
    assert newest().info.status == "KILLED"


def test_a_run_that_a_scheduler_ends_is_marked_killed_and_says_how_to_go_on(store, run_stage, when_printed):
    when_printed("epoch 2/", lambda: signal.raise_signal(signal.SIGTERM))
    status, out, err = run_stage(train, "digits-mlp", "--epochs", "4")
    assert status == 143
    assert "epoch 3/" not in out
    run = newest()
    assert err == f"{run.info.run_name}: interrupted; to go on: make train-digits-mlp RESUME={run.info.run_id}\n"
    assert run.info.status == "KILLED"


def test_augment_records_its_picture(store, run_stage):
    status, _, err = run_stage(augment, "digits-mlp", "--augmentation.crop", "1")
    assert status == 0, err
    run = newest()
    assert run.data.tags["stage"] == "augment"
    assert artifacts(run) == ["environment.txt", "figures/augmentation.png"]


def test_ingest_prints_what_it_has(run_stage):
    status, out, _ = run_stage(ingest, "digits")
    assert status == 0
    assert "1,433" in out
    assert (
        json.loads((Path(os.environ["DATA_CACHE"]) / "digits/embedded/manifest.json").read_text())["name"] == "digits"
    )


BAD = {
    "unknown recipe": (train, "imagenet-vit"),
    "unknown recipe to draw": (augment, "imagenet-vit"),
    "unknown dataset": (ingest, "imagenet"),
    "missing file": (ingest, "cifar10", "--from", "/no/such/file.npz"),
    "embedded data from a file": (ingest, "digits", "--from", "/tmp"),
    "no port": (ui, "70000"),
    "no such run": (evaluate, "0" * 32),
    "no such name": (evaluate, "O'Brien"),
    "no run yet": (evaluate, "last"),
    "value out of range": (train, "digits-mlp", "--batch-size", "0"),
    "no epochs": (train, "digits-mlp", "--epochs", "0"),
    "unknown activation": (train, "digits-mlp", "--model.activation", "rellu"),
    "unknown optimizer": (train, "digits-mlp", "--optimizer.name", "sgdd"),
    "unknown argument": (train, "digits-mlp", "--optimizer.arguments", "nesterof", "1"),
    "too much validation": (train, "digits-mlp", "--data.validation", "5000"),
    "too many examples": (train, "digits-mlp", "--data.limit", "5000"),
    "unknown data": (train, "digits-mlp", "--data.name", "imagenet"),
    "no local copy": (train, "cifar-linear", "--data.source", "local"),
    "embedded has no official": (train, "digits-mlp", "--data.source", "official"),
    "images too small": (
        train,
        "cifar-alexnet",
        "--data.name",
        "digits",
        "--augmentation.patch",
        "0",
        "--augmentation.resize",
        "0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(case, store, run_stage):
    status, out, err = run_stage(*BAD[case])
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("flags", "name"),
    [(("--batch-size", "many"), "--batch-size"), (("--no-such-flag", "1"), "--no-such-flag"),
     (("--precision", "float64"), "--precision")],
)  # fmt: skip
def test_a_flag_of_the_wrong_type_is_status_2(flags, name, run_stage):
    status, out, err = run_stage(train, "digits-mlp", *flags)
    assert status == 2
    assert name in out + err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/none/mlflow.db", "nonsense://x"])
def test_a_store_that_can_t_be_reached_is_said_before_any_work(uri, run_stage, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    status, out, err = run_stage(train, *QUICK)
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "cache").exists()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
