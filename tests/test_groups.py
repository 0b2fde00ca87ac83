"""Groups of seeds: what they say together, that each is what it is alone, that a killed one goes on."""

import os
import signal
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from data.errors import BadInput
from pipelines import train
from pipelines.outcomes import TIMES, Outcome, read_outcome, read_predictions, write_outcome
from pipelines.reports import classification, seeds
from tests.conftest import Begun

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 15
ASKED = ("digits-mlp", "--epochs", str(EPOCHS), "--deterministic")


def runs(condition):
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = mlflow.MlflowClient()
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(numbers, condition, order_by=["attributes.start_time ASC"])


def history(run):
    client, skipped = mlflow.MlflowClient(), ("system/", *TIMES)
    names = [name for name in run.data.metrics if not name.startswith(skipped)]
    return {name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)] for name in names}


def stored(run, name):
    return pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/{name}.parquet"))


def test_a_killed_group_goes_on_and_its_last_seed_is_reproduced_alone_bit_for_bit(store, run_stage, tmp_path):
    begun = Begun("from pipelines import command, train\ncommand.main(train.main)", *ASKED, "--seeds", "2")
    second = False
    for line in begun.stdout:
        second = second or "seed 2, 2 of 2" in line
        if second and line.startswith("epoch 2/"):
            break
    begun.send_signal(signal.SIGKILL)
    begun.finish()  # output ends when that of the training does: its parent's death is its SIGTERM
    states = [run.info.status for run in runs("tags.`mlflow.parentRunId` != ''")]
    assert states == ["FINISHED", "KILLED"]

    status, out, err = run_stage(train, "digits-mlp", "--resume", "last")
    assert status == 0, err
    assert "seed 1, 1 of 2" not in out
    (group,) = runs("tags.group = 'seeds'")
    children = runs(f"tags.`mlflow.parentRunId` = '{group.info.run_id}'")
    assert [run.info.status for run in [group, *children]] == ["FINISHED"] * 3
    assert [run.data.params["seed"] for run in children] == ["1", "2"]

    losses = [run.data.metrics["test/loss"] for run in children]
    low, high = stats.t.interval(0.95, 1, np.mean(losses), stats.sem(losses))
    expected = [np.mean(losses), np.std(losses, ddof=1), min(losses), max(losses), low, high]
    kinds = ("mean", "std", "min", "max", "low", "high")
    assert [group.data.metrics[f"test/loss.{kind}"] for kind in kinds] == pytest.approx(expected)
    curve = history(group)["val/loss.mean"]
    assert [step for step, _ in curve] == list(range(1, EPOCHS + 1))
    both = [dict(history(run)["val/loss"]) for run in children]
    assert curve[9][1] == pytest.approx(np.mean([one[10] for one in both]))
    table = stored(group, "seeds")
    assert list(table["run"]) == [run.info.run_id for run in children]
    assert not list((tmp_path / "runs" / "unfinished").iterdir())
    together = stored(group, "ensemble")
    apart = [stored(run, "predictions") for run in children]
    mean = np.mean([np.stack(one["probabilities"]) for one in apart], axis=0)
    np.testing.assert_allclose(np.stack(together["probabilities"]), mean, atol=1e-7)
    right = (mean.argmax(axis=1) == apart[0]["label"]).mean()
    assert group.data.metrics["test/ensemble_accuracy"] == pytest.approx(right)

    again = "from pipelines import command, reproduce\ncommand.main(reproduce.main)"
    status, out, err = Begun(again, children[1].info.run_id).finish()
    assert status == 0, err
    assert "the same bit for bit" in out
    (alone,) = [run for run in runs("params.seed = '2'") if "mlflow.parentRunId" not in run.data.tags]
    assert alone.data.tags["reproduces"] == children[1].info.run_id
    assert alone.data.tags["reproduction"] == "identical"
    for name in ("weights.sha256", "threads"):
        assert alone.data.tags[name] == children[1].data.tags[name]
    assert history(alone) == history(children[1])


def test_an_interrupt_before_a_seed_has_its_process_says_how_to_go_on(store, run_stage, when_printed):
    when_printed("seed 1, 1 of 2", lambda: signal.raise_signal(signal.SIGINT))
    status, _, err = run_stage(train, "digits-mlp", "--epochs", "2", "--seeds", "2")
    (group,) = runs("tags.group = 'seeds'")
    assert status == 130
    assert err.endswith(f"interrupted; to go on: make train-digits-mlp RESUME={group.info.run_id}\n")
    assert group.info.status == "KILLED"


def test_a_seed_that_fails_fails_its_group(store, run_stage, in_this_process):
    flags = ("--optimizer.name", "sgd", "--optimizer.learning-rate", "1e30")
    status, _, err = run_stage(train, "digits-mlp", "--epochs", "2", "--seeds", "2", *flags)
    assert status == 1
    assert err.splitlines()[-1].startswith("failed: ")
    assert "seed 1" in err.splitlines()[-1]
    assert "Traceback" not in err
    (group,) = runs("tags.group = 'seeds'")
    assert group.info.status == "FAILED"
    assert len(runs("")) == 2


def test_a_damaged_outcome_of_a_member_is_one_line(tmp_path):
    outcome, place = Outcome("id", "name", 1, {"test/loss": 0.5}, [], "7"), tmp_path / "seed-1.json"
    write_outcome(str(place), outcome)
    assert read_outcome(place) == outcome
    place.write_text(place.read_text().replace("0.5", "0.1"))
    with pytest.raises(BadInput, match="differs from its checksum"):
        read_outcome(place)


def test_one_seed_has_no_spread(run_stage):
    status, _, err = run_stage(train, "digits-mlp", "--seeds", "1")
    assert status == 2
    assert err.count("\n") == 1


def test_statistics_are_those_of_student():
    values = [0.91, 0.93, 0.94, 0.9]
    found = seeds.statistics(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert (found["min"], found["max"], found["mean"]) == pytest.approx((0.9, 0.94, 0.92))
    assert found["std"] == pytest.approx(np.std(values, ddof=1))


def test_curves_end_with_the_shortest_training():
    histories = [[{"val/loss": 1.0}, {"val/loss": 2.0}, {"val/loss": 9.0}], [{"val/loss": 3.0}, {"val/loss": 4.0}]]
    assert [epoch["val/loss"]["mean"] for epoch in seeds.curve_statistics(histories)] == [2.0, 3.0]


def test_a_run_s_own_interval_is_not_averaged():
    finals = [{"test/accuracy": 0.9, "test/accuracy_low": 0.8}, {"test/accuracy": 0.8, "test/accuracy_low": 0.7}]
    assert list(seeds.final_statistics(finals)) == ["test/accuracy"]


def test_damaged_predictions_of_a_member_are_one_line(tmp_path):
    place, outcome = tmp_path / "seed-1.json", Outcome("id", "name", 1, {}, [], "7")
    predictions = pd.DataFrame(
        {"label": np.arange(1000), "probabilities": list(np.random.default_rng(0).random((1000, 4)))}
    )
    write_outcome(str(place), outcome, predictions)
    pd.testing.assert_frame_equal(read_predictions(place), predictions)
    written = bytearray(place.with_suffix(".parquet").read_bytes())
    for position in (100, len(written) // 2, len(written) - 6):
        spoiled = written.copy()
        spoiled[position] ^= 1
        place.with_suffix(".parquet").write_bytes(spoiled)
        with pytest.raises(BadInput, match=r"seed-1.parquet: .*remove seed-1.json beside it"):
            read_predictions(place)


def test_an_ensemble_can_be_right_where_each_member_errs():
    labels = np.array([0, 1, 2])
    one = np.array([[0.4, 0.6, 0.0], [0.0, 0.9, 0.1], [0.0, 0.3, 0.7]])
    other = np.array([[0.9, 0.1, 0.0], [0.1, 0.4, 0.5], [0.1, 0.3, 0.6]])
    tables = [
        pd.DataFrame({"row": np.arange(3), "label": labels, "probabilities": list(table)}) for table in (one, other)
    ]
    found = classification.ensemble(tables)
    assert found.metrics["ensemble_accuracy"] == 1
    expected = -np.log([0.65, 0.65, 0.65]).mean()
    assert found.metrics["ensemble_loss"] == pytest.approx(expected)
    assert not any(name.startswith("tta_") for name in found.metrics)
    averaged = [table.assign(averaged=list(other)) for table in tables]
    assert classification.ensemble(averaged).metrics["tta_ensemble_accuracy"] == pytest.approx(2 / 3)
