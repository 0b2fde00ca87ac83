"""Names and autoencoders by the same commands as classifiers, on embedded data."""

import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import data
from data.spec import DataConfig
from pipelines import augment, evaluate, predict, train
from tests.test_stages import artifacts, newest

NAMES = ("--epochs", "1", "--data.limit", "2000", "--model.units", "8", "--model.embedding", "8")
ONE_LAYER = ("--model.layers", "1", "--model.no-bidirectional", "--optimizer.learning-rate", "0.02")
QUICK = {
    "names": ("names-gru", *NAMES, "--data.name", "surnames", *ONE_LAYER),
    "autoencoder": ("autoencoder", "--epochs", "2", "--data.name", "digits", "--model.code", "4"),
}


@pytest.fixture
def trained(store, run_stage):
    def run(case, *flags):
        status, out, err = run_stage(train, *QUICK[case], *flags)
        assert status == 0, err
        return newest(), out

    return run


def test_names_are_recorded_like_images(trained, run_stage, tmp_path, monkeypatch):
    run, out = trained("names")
    assert run.info.status == "FINISHED"
    assert mlflow.get_experiment(run.info.experiment_id).name == "surnames"
    assert run.data.tags["task"] == "sequence"
    assert {"test/accuracy", "test/macro_f1", "test/top3_accuracy", "val/accuracy"} <= set(run.data.metrics)
    assert run.data.metrics["test/accuracy"] > 0.1
    pictures = {"confusion_matrix", "mistakes", "per_class_f1", "learning_curves"}
    assert {f"figures/{name}.png" for name in pictures} | {"predictions.parquet"} <= set(artifacts(run))
    status, _, err = run_stage(evaluate, "last")
    assert status == 0, err
    assert mlflow.get_run(run.info.run_id).data.metrics == run.data.metrics

    listing = tmp_path / "names.csv"
    listing.write_text("Nakamura\n\nO'Brien\n", encoding="utf-8")
    status, out, err = run_stage(predict, "last", "Müller, Silva", listing)
    assert status == 0, err
    assert all(name in out for name in ("Müller", "Silva", "Nakamura", "O'Brien"))
    assert out.count("%") == 4 * predict.LIKELIEST

    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow puts the code recorded with a model there
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")  # lists and tables, composed or decomposed
    outputs = model.predict(pd.DataFrame({"name": ["Nakamura", "Mu\u0308ller"]}))
    assert outputs.shape == (2, 24)
    assert float(outputs.sum()) == pytest.approx(2, abs=1e-5)
    np.testing.assert_allclose(model.predict(["M\u00fcller"])[0], outputs[1], atol=1e-6)


def test_an_autoencoder_is_recorded_with_its_reconstructions_by_epoch(trained, run_stage, tmp_path):
    run, out = trained("autoencoder", "--model.corruption.kind", "gaussian", "--model.corruption.amount", "0.2")
    assert mlflow.get_experiment(run.info.experiment_id).name == "digits"
    assert run.data.tags["task"] == "autoencoding"
    assert run.data.tags["mlflow.loggedImages"] == "True"
    assert {"test/mse", "test/psnr", "test/psnr_gain", "test/probe_accuracy"} <= set(run.data.metrics)
    assert "mean image" in out
    kept = artifacts(run)
    by_epoch = [path for path in kept if path.startswith("images/reconstructions+step+")]
    assert sorted(path.split("+")[2] for path in by_epoch) == ["0", "0", "1", "1", "2", "2"], (
        "a picture and a small one each"
    )
    assert {"figures/reconstructions.png", "figures/code.png", "figures/walk.png"} <= set(kept)
    table = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/predictions.parquet"))
    assert table["error"].mean() == pytest.approx(run.data.metrics["test/mse"], rel=1e-5)
    status, _, err = run_stage(evaluate, "last")
    assert status == 0, err
    assert mlflow.get_run(run.info.run_id).data.metrics == pytest.approx(run.data.metrics)

    image = data.load(DataConfig("digits")).test.inputs[np.arange(1)][0, :, :, 0]
    Image.fromarray(image).save(tmp_path / "three.png")
    status, out, err = run_stage(predict, "last", tmp_path / "three.png")
    assert status == 0, err
    with Image.open(tmp_path / "three-reconstructed.png") as again:
        assert again.size == (8, 8)
    assert "three-reconstructed.png" in out


def test_an_autoencoder_learns_one_batch(store, run_stage):
    status, out, err = run_stage(train, *QUICK["autoencoder"], "--model.code", "32", "--overfit-one-batch")
    assert status == 0, err
    assert "the network can learn" in out


def test_augment_shows_what_a_denoising_autoencoder_mends(store, run_stage):
    noise = ("--model.corruption.kind", "masking", "--model.corruption.amount", "0.3")
    status, _, err = run_stage(augment, "autoencoder", "--data.name", "digits", *noise)
    assert status == 0, err
    assert "figures/augmentation.png" in artifacts(newest())


BAD = {
    "a picture of names": (augment, "names-gru", "--data.name", "surnames"),
    "averaged views of names": (train, *QUICK["names"], "--tta"),
    "averaged views of reconstructions": (train, *QUICK["autoencoder"], "--tta"),
    "an image model on names": (train, "digits-mlp", "--data.name", "surnames"),
    "a model of names on images": (train, "names-gru", "--data.name", "digits"),
    "labels for an autoencoder": (train, *QUICK["autoencoder"], "--label-smoothing", "0.1"),
    "noise without an amount": (train, *QUICK["autoencoder"], "--model.corruption.kind", "masking"),
    "no code": (train, *QUICK["autoencoder"], "--model.code", "0"),
    "nothing to predict": (predict, "last", " , "),
    "no model to predict with": (predict, "last", "Nakamura"),
    "no units": (train, *QUICK["names"], "--model.units", "0"),
    "no layers": (train, *QUICK["names"], "--model.layers", "0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(case, store, run_stage):
    status, out, err = run_stage(*BAD[case])
    assert status == 2, out + err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out
