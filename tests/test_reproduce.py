"""Running a recorded training again; that a deterministic one comes out the same is tested with groups."""

from pipelines import reproduce, train
from pipelines.tracking import environment, recorded, store
from tests.conftest import QUICK, newest


def test_without_other_seeds_nothing_is_claimed(trained, run_stage):
    status, out, err = run_stage(reproduce, "last")
    assert status == 0, err
    assert "too few runs with other seeds" in out
    assert newest().data.tags["reproduction"] == "unknown"


def test_the_spread_of_other_seeds_decides(trained, run_stage, monkeypatch):
    run, _ = trained
    for seed in (2, 3):
        assert run_stage(train, *QUICK, "--seed", seed)[0] == 0
    status, out, _ = run_stage(reproduce, run.info.run_id)
    assert status == 0
    assert "within the spread of 3 seeds" in out
    assert newest().data.tags["reproduction"] == "within the spread"

    history = recorded.Recorded.history

    def other_history(of):
        found = history(of)
        return {**found, "test/loss": [(step, value - 5) for step, value in found["test/loss"]]}

    monkeypatch.setattr(recorded.Recorded, "history", other_history)
    status, _, err = run_stage(reproduce, run.info.run_id)
    assert status == 1
    assert "test/loss differ by more than 3 seeds explain" in err
    assert newest().data.tags["reproduction"] == "different"


def test_later_runs_with_other_settings_do_not_hide_the_other_seeds(trained, monkeypatch):
    run, _ = trained
    client = store.client()

    def record(accuracy, **changed):
        copy = client.create_run(run.info.experiment_id, tags={**run.data.tags, "mlflow.runName": f"{changed}"})
        for name, value in {**run.data.params, **changed}.items():
            client.log_param(copy.info.run_id, name, value)
        client.log_metric(copy.info.run_id, "test/accuracy", accuracy)
        client.set_terminated(copy.info.run_id)

    record(0.25, seed="2")
    record(0.5, batch_size="7")
    record(0.75, seed="3", **{"stages.0.epochs": "9"})
    monkeypatch.setattr(recorded, "SPREAD", 2)
    values = recorded.other_seeds(recorded.find(run.info.run_id))["test/accuracy"]
    assert sorted(values) == sorted([0.25, run.data.metrics["test/accuracy"]])


def test_one_changed_value_is_a_difference():
    from pipelines.outcomes import Outcome

    outcome = Outcome("id", "name", 1, {"test/accuracy": 0.9, "train_seconds": 3.0}, [{"val/loss": 0.5}], "weights")
    metrics = {"test/accuracy": [(0, 0.9)], "train_seconds": [(0, 2.0)], "val/loss": [(1, 0.5)]}
    assert reproduce._exactly(metrics, "weights", outcome)[0] == "identical"
    assert reproduce._exactly(metrics, "others", outcome)[0] == "different"
    verdict, line = reproduce._exactly({**metrics, "val/loss": [(1, 0.5000001)]}, "weights", outcome)
    assert verdict == "different"
    assert "val/loss at step 1" in line


def test_other_code_is_said(trained, run_stage, monkeypatch):
    monkeypatch.setattr(environment, "code_tags", lambda: {"git.commit": "f" * 40, "git.dirty": "false"})
    status, out, _ = run_stage(reproduce, "last")
    assert status == 0
    assert "here is ffffffffffff" in out


def test_other_versions_are_said():
    text = environment.versions().replace("keras==", "keras==0.0.")
    line = environment.differences(environment.code_tags(), text)[-1]
    assert "keras==0.0." in line
    assert environment.differences(environment.code_tags(), environment.versions()) in (
        [],
        ["files differ from the commit, then"],
    )


def test_other_data_are_refused(trained, run_stage, monkeypatch):
    tags = recorded.Recorded.tags
    monkeypatch.setattr(recorded.Recorded, "tags", lambda run: {**tags(run), "data.sha256": "0" * 64})
    status, _, err = run_stage(reproduce, "last")
    assert status == 2
    assert "not the data" in err
    assert err.count("\n") == 1


def test_what_is_no_finished_training_is_refused(store, run_stage):
    assert run_stage(train, "digits-mlp", "--overfit-one-batch")[0] == 0
    status, _, err = run_stage(reproduce, newest().info.run_id)
    assert status == 2
    assert "no finished training" in err
