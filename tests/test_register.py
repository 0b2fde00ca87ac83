"""Registering recorded models, and their cards."""

from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest

from data.errors import BadInput
from pipelines import card, predict, register, train
from pipelines.tracking import recorded, registry, store
from tests.conftest import QUICK, newest


def test_a_registered_model_has_a_card_and_answers_by_its_alias(trained, run_stage, tmp_path):
    run, _ = trained
    status, out, err = run_stage(register, run.info.run_name, "digits reader", "--alias", "champion")
    assert (status, err) == (0, "")
    assert "is version 1 of digits reader;" in out
    client = store.client()
    version = client.get_model_version_by_alias("digits reader", "champion")
    assert (version.run_id, version.status) == (run.info.run_id, "READY")
    assert version.tags["recipe"] == "digits-mlp"
    assert version.tags["data.sha256"] == run.data.tags["data.sha256"]
    assert version.tags["test/accuracy"] == f"{run.data.metrics['test/accuracy']:.5f}"
    card = recorded.find(run.info.run_id).text("model_card.md")
    assert version.description == card
    _assert_is_card_of(card, run)
    # MLflow itself finds the model by the alias, and so do the stages.
    loaded = mlflow.pyfunc.load_model("models:/digits reader@champion")
    assert loaded.predict(np.zeros((1, 8, 8, 1), np.uint8)).shape == (1, 10)
    for reference in ("models:/digits reader@champion", "models:/digits reader/1"):
        assert recorded.find(reference).id == run.info.run_id


def _assert_is_card_of(card, run):
    metrics, tags = run.data.metrics, run.data.tags
    low, high = metrics["test/accuracy_low"], metrics["test/accuracy_high"]
    assert f"| accuracy | {metrics['test/accuracy']:.2%} ({low:.2%} to {high:.2%}) |" in card
    assert tags["data.sha256"] in card
    assert tags["data.test_sha256"] in card
    assert tags["git.commit"] in card
    assert "| model.units | " in card
    assert f"make reproduce RUN={run.info.run_id}" in card
    place = f"runs:/{run.info.run_id}"
    classes = pd.read_parquet(mlflow.artifacts.download_artifacts(f"{place}/per_class.parquet"))
    for row in classes.itertuples():
        scores = f"{row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f}"
        assert f"| {row[2 - 1]} | {scores} | {row.examples} |" in card
    found = pd.read_parquet(mlflow.artifacts.download_artifacts(f"{place}/predictions.parquet"))
    wrong = found[found.label != found.predicted]
    most = wrong.groupby(["label", "predicted"]).size()
    assert f"makes {len(wrong)} mistakes" in card
    label, predicted = most.idxmax()
    assert f"takes {label} for {predicted} ({most.max()})" in card
    assert "trained with one seed" in card


def test_registering_again_makes_no_second_version_and_moves_the_alias(trained, run_stage):
    first, _ = trained
    assert run_stage(train, *QUICK, "--seed", "2")[0] == 0
    second = newest()
    for run in (first, second):
        status, _, err = run_stage(register, run.info.run_id, "digits", "--alias", "champion")
        assert status == 0, err
    status, out, _ = run_stage(register, first.info.run_id, "digits", "--alias", "champion")
    assert status == 0
    assert "is version 1 of digits already" in out
    assert "before to version 2" in out
    assert recorded.find("models:/digits@champion").id == first.info.run_id
    assert len(store.client().search_model_versions("name = 'digits'")) == 2
    card = recorded.find(second.info.run_id).text("model_card.md")
    assert "of 2 trainings that differ in their seed alone" in card
    assert "trained with one seed" not in card


def test_a_card_says_how_few_examples_of_each_class_were_learned_from():
    data = {"name": "pets", "source": "local", "origin": "here", "sha256": "0", "test_sha256": "1"}
    side = SimpleNamespace(scores=[0.0])
    few, all_of_them = (card._data(side, data, {"validation": 0.1, "limit": 0, "shots": shots}) for shots in (20, 0))
    assert "| trained on, of each class | 20 |" in few
    assert "of each class" not in all_of_them


def test_a_card_too_long_for_a_description_is_cut_there(monkeypatch):
    run = recorded.Recorded("0" * 32, "name", "digits")
    shortened = registry._shortened("line\n" * 2_000, run)
    assert len(shortened) <= registry.LONGEST
    assert shortened.endswith(f"model_card.md` of run {run.id}.")
    assert registry._shortened("short", run) == "short"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((register, "last", "a/b"), "is no name for a model"),
        ((register, "last", "a", "--alias", "v1"), "is reserved"),
        ((register, "last", "a", "--alias", "Latest"), "is reserved"),
        ((register, "last", "a", "--alias", "a b"), "is no alias"),
        ((register, "nobody", "a"), "no such run"),
        ((predict, "models:/none@champion", "a.png"), "is not registered"),
        ((predict, "models:/none", "a.png"), "is no registered model"),
    ],
)
def test_bad_input_is_one_line(store, run_stage, arguments, words):
    status, _, err = run_stage(*arguments)
    assert status == 2
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("status", "tags", "words"),
    [
        ("FINISHED", {}, "holds no model; choose another"),
        ("FINISHED", {"group": "seeds"}, "is a group; register one of its runs"),
        ("KILLED", {"model": "recorded"}, r"has not finished \(KILLED\)"),
    ],
)
def test_what_has_no_model_or_no_score_is_refused(status, tags, words):
    with pytest.raises(BadInput, match=words):
        register._check(recorded.Recorded("0" * 32, "name", "digits"), recorded.Facts(status, tags, {}, {}))
