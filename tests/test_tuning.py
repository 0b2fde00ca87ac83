"""Searches: the trials that are made, what is recorded of them, and that a killed search ends as an undisturbed one."""

import json
import math
import os
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import data
from data.errors import BadInput
from data.spec import DataConfig
from models.dense import MultilayerPerceptron
from pipelines import isolation, members, recipes, reports, settings, space, train, training, tune
from pipelines.command import Interrupted
from pipelines.fitting import network
from pipelines.fitting.checkpoints import Checkpoints
from pipelines.fitting.trainer import Trainer
from pipelines.outcomes import Outcome, write_outcome
from pipelines.settings import EarlyStopping, Optimizer, Recipe, Schedule, Stage
from pipelines.space import Choice, Float, Int
from pipelines.tracking import journal, recorded
from pipelines.tracking import store as where
from pipelines.training import Request, Trial
from pipelines.tuning import service, teams, trials, winner, worker
from pipelines.tuning.oracles import STRATEGIES, WAITING, Oracle
from pipelines.tuning.trials import Asked, Log, Objective, Result
from tests.conftest import make_splits

LOSS = Objective("loss")
SPACE = {
    "optimizer.name": Choice(("adam", "sgd")),
    "optimizer.learning_rate": Float(1e-4, 1e-1, log=True),
    "optimizer.arguments.momentum": Float(0.0, 0.9, step=0.3, when=("optimizer.name", ("sgd",))),
}
ONE = {"optimizer.learning_rate": Float(1e-4, 1e-1, log=True)}


def lose(asked):
    """A loss that is best at a learning rate of 0.01, and falls with the epochs."""
    return abs(math.log10(asked.hyperparameters["optimizer.learning_rate"]) + 2) + 1 / (asked.epochs or 9)


def make_oracle(strategy, folder, ranges=SPACE, count=None, epochs=9):
    return Oracle(strategy, ranges, LOSS, count, epochs, 1, Log(folder / "trials.jsonl"))


class TestSpace:
    recipe = recipes.find("digits-mlp")

    def test_values_arrive_at_their_paths(self):
        values = {
            "optimizer.learning_rate": 0.5,
            "model.units.0": 7,
            "optimizer.arguments.beta_1": 0.5,
            "batch_size": 9,
        }
        changed = space.with_values(self.recipe, values)
        assert (changed.optimizer.learning_rate, changed.model.units, changed.batch_size) == (0.5, (7,), 9)
        assert changed.optimizer.arguments == {"beta_1": 0.5}
        assert replace(changed, optimizer=self.recipe.optimizer, model=self.recipe.model, batch_size=64) == self.recipe

    @pytest.mark.parametrize("path", ["optimizer.speed", "model.units.1", "model.units.x", "batch_size.0", "nothing"])
    def test_paths_that_are_not_there_are_refused(self, path):
        with pytest.raises(BadInput, match=path):
            space.with_values(self.recipe, {path: 1})

    def test_a_space_must_fit_its_recipe(self):
        with pytest.raises(BadInput, match="which is not searched"):
            space.check({"batch_size": Int(1, 2, when=("optimizer.name", ("sgd",)))}, self.recipe)
        with pytest.raises(BadInput, match="--batch-size"):
            space.check({"batch_size": Int(0, 2)}, self.recipe)

    @pytest.mark.parametrize("name", sorted(recipes.RECIPES))
    def test_every_recipe_has_one_that_fits(self, name):
        recipe = recipes.find(name)
        space.check(recipes.find_space(name, recipe), recipe)

    def test_a_grid_gets_steps(self):
        found = space.for_grid({"a": Float(1e-3, 1.0, log=True), "b": Int(10, 1000, log=True), "c": Float(0, 1, 0.5)})
        assert found["a"].step == pytest.approx(10)
        assert found["b"] == Choice((10, 46, 215, 1000))
        assert found["c"] == Float(0, 1, 0.5)


class TestOracles:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_killed_after_every_step_it_asks_for_the_same_trials(self, strategy, tmp_path):
        ranges, count = (ONE, 6) if strategy == "bayesian" else (SPACE, 9)
        found = []
        for again in (False, True):
            folder = tmp_path / str(again)
            folder.mkdir()
            oracle, made = make_oracle(strategy, folder, ranges, count), []
            while (asked := oracle.ask("w")) is not None:
                oracle = make_oracle(strategy, folder, ranges, count) if again else oracle
                assert oracle.ask("w") == asked
                made.append(asked)
                oracle.tell(asked.id, Result(failure="x") if len(made) == 3 else Result(lose(asked)))
                oracle = make_oracle(strategy, folder, ranges, count) if again else oracle
            found.append(made)
        assert found[0] == found[1]
        assert len(found[0]) == count

    def test_a_grid_covers_its_space_once(self, tmp_path):
        oracle, made = make_oracle("grid", tmp_path), []
        while (asked := oracle.ask("w")) is not None:
            made.append(json.dumps(asked.hyperparameters))
            oracle.tell(asked.id, Result(lose(asked)))
        assert len(made) == len(set(made)) == 4 + 4 * 4

    def test_bayesian_search_comes_closer_than_where_it_began(self, tmp_path):
        oracle, losses = make_oracle("bayesian", tmp_path, ONE, 7), []
        while (asked := oracle.ask("w")) is not None:
            losses.append(lose(asked))
            oracle.tell(asked.id, Result(losses[-1]))
        assert min(losses[3:]) < min(losses[:3])

    def test_hyperband_goes_on_from_the_best_and_keeps_no_more_states_than_it_needs(self, tmp_path):
        oracle, rounds, most = make_oracle("hyperband", tmp_path), {}, 0
        while (asked := oracle.ask("w")) is not None:
            bracket, number = asked.values["tuner/bracket"], asked.values["tuner/round"]
            if asked.past:
                assert asked.past in oracle.needed()
                rivals = rounds[bracket, number - 1]
                assert rivals.pop(asked.past) < min(rivals.values())
            rounds.setdefault((bracket, number), {})[asked.id] = lose(asked)
            oracle.tell(asked.id, Result(lose(asked)))
            most = max(most, len(oracle.needed()))
        assert sum(bool(asked.past) for asked, _ in oracle.log.trials()) == 6
        assert most <= 4
        assert not oracle.needed()

    def test_two_workers_never_get_the_same_trial_and_a_new_one_takes_over(self, tmp_path):
        oracle = make_oracle("random", tmp_path, count=3)
        first, second = oracle.ask("a"), oracle.ask("b")
        assert first.id != second.id
        oracle = make_oracle("random", tmp_path, count=3)
        oracle.employ(["c"])
        for expected in (first, second):
            assert oracle.ask("c") == expected
            oracle.tell(expected.id, Result(1.0))
        assert oracle.ask("c").id not in (first.id, second.id)

    def test_a_log_of_something_else_is_refused(self, tmp_path):
        oracle = make_oracle("random", tmp_path, count=3)
        oracle.tell(oracle.ask("a").id, Result(1.0))
        with pytest.raises(BadInput, match="another trial"):
            make_oracle("random", tmp_path, ONE, 3)

    def test_a_half_written_line_is_dropped(self, tmp_path):
        log = Log(tmp_path / "log")
        log.created(Asked("0", {"a": 1.5}), "w")
        with log.path.open("a") as file:
            file.write('{"event": "en')
        log = Log(log.path)
        log.ended("0", Result(2.0, epochs=3))
        assert Log(log.path).trials() == [(Asked("0", {"a": 1.5}), Result(2.0, epochs=3))]
        log.path.write_bytes(b"{\n" + log.path.read_bytes())
        with pytest.raises(BadInput, match="damaged"):
            Log(log.path)


class TestScores:
    history = tuple({"val/loss": value, "val/accuracy": 1 - value} for value in (0.5, 0.2, 0.4))
    recipe = recipes.find("digits-mlp")

    def test_the_last_epoch_counts_unless_the_best_is_kept(self):
        stopping = replace(self.recipe, early_stopping=EarlyStopping(5))
        assert LOSS.score(self.history, self.recipe) == 0.4
        odd = [{**epoch, "val/accuracy": epoch["val/loss"]} for epoch in self.history]
        assert Objective("accuracy").score(odd, stopping) == 0.2
        assert LOSS.score(self.history, stopping) == 0.2
        assert Objective("accuracy").score(self.history, stopping) == 0.8

    def test_weights_of_an_earlier_stage_do_not_count(self):
        stopping = replace(self.recipe, early_stopping=EarlyStopping(5))
        outcome = Outcome("", "", 0, {"train_seconds": 1.0}, list(self.history), "", last_stage=1)
        assert trials.result(outcome, Asked("0", {}), stopping, LOSS).score == 0.4

    def test_the_best_is_the_first_of_equals_and_never_a_failure(self):
        made = [(Asked(str(number), {}), Result(score)) for number, score in enumerate((0.7, 0.9, 0.9))]
        made.append((Asked("3", {}), Result(failure="x")))
        assert trials.best(made, Objective("accuracy"))[0].id == "1"
        assert trials.best(made, LOSS)[0].id == "0"
        assert trials.best(made[3:], LOSS) is None

    def test_a_winner_trains_on_everything_for_as_long_as_it_did(self):
        stopping = replace(self.recipe, early_stopping=EarlyStopping(5))
        final = trials.final_recipe(stopping, Result(0.1, epochs=7, early=True))
        assert (final.data.validation, final.early_stopping.patience, final.epochs) == (0, 0, 7)
        assert trials.final_recipe(self.recipe, Result(0.1, epochs=20)).epochs == 20


def test_a_promoted_trial_is_the_training_that_was_never_halted(tmp_path):
    recipe = Recipe(
        DataConfig("squares"),
        MultilayerPerceptron(units=(16,), dropout=0.3),
        optimizer=Optimizer("adam", 3e-3),
        schedule=Schedule("cosine", warmup=0.1),
        stages=(Stage(2), Stage(2, learning_rate=0.5)),
        batch_size=40,
        precision="float32",
    )
    splits, report = make_splits(), lambda *_: None
    whole = Trainer(recipe, splits, reports.nowhere()).fit(report)
    for epochs in (1, 2):  # within a stage, and at its end
        halted = Trainer(recipe, splits, reports.nowhere())
        halted.end_after(epochs)
        kept = Checkpoints(tmp_path / f"checkpoints{epochs}")
        assert len(halted.fit(report, kept).history) == epochs
        kept.copy_latest(tmp_path / f"states{epochs}")
        promoted = Trainer(recipe, splits, reports.nowhere())
        state = promoted.with_more_steps(Checkpoints(tmp_path / f"states{epochs}").latest())
        found = promoted.fit(report, state=state)
        assert [epoch["val/loss"] for epoch in found.history] == [epoch["val/loss"] for epoch in whole.history]
        for weight, expected in zip(found.model.get_weights(), whole.model.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)


def runs(condition):
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = mlflow.MlflowClient()
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(numbers, condition, order_by=["attributes.start_time ASC"])


@pytest.fixture
def quick(monkeypatch):
    """Trials of a moment, whose accuracy follows from their values; the third is interrupted the first time."""
    made, struck = [], []

    def make_trial(asked, searched):
        if len(made) == 2 and not struck:
            struck.append(asked.id)
            raise Interrupted(15)
        made.append(asked.id)
        return Result(1 - lose(asked) / 10, run=f"run{asked.id}", epochs=20, seconds=1.0)

    monkeypatch.setattr(worker, "make_trial", make_trial)
    return made


def other_data(load, config):
    """Data that have changed since."""
    splits = load(config)
    return replace(splits, manifest={**splits.manifest, "sha256": "f" * 64})


def test_a_search_goes_on_by_the_same_command_and_its_best_is_a_recipe(store, run_stage, quick, monkeypatch):
    command = ("digits-mlp", "--trials", "4", "--search-seed", "5")
    status, _, err = run_stage(tune, *command)
    assert status == 143
    assert err.splitlines()[-1].endswith("to go on, give the same command again: make tune-digits-mlp ...")
    (run,) = runs("tags.stage = 'tune'")
    assert run.info.status == "KILLED"

    with monkeypatch.context() as patch:
        patch.setattr(data, "load", partial(other_data, data.load))
        status, _, err = run_stage(tune, *command)
        assert status == 2
        assert "is not the data that the run was trained with" in err

    status, out, err = run_stage(tune, *command)
    assert (status, err) == (0, "")
    assert f"goes on after 2 trials; run {run.info.run_id}" in out
    assert f"its model is not here, it was trained on another machine; to train it: make train-{run.info.run_id}" in out
    assert quick == ["0", "1", "2", "3"]
    (run,) = runs("tags.stage = 'tune'")
    assert run.info.status == "FINISHED"
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/trials.csv"))
    assert len(table) == 4
    best = table.loc[table["val/accuracy"].idxmax()]
    assert run.data.metrics["best/val/accuracy"] == best["val/accuracy"]
    assert run.data.tags["best.run"] == best["run"]
    assert run.data.params["search.model.units.0"] == "16 to 256 log"
    curve = mlflow.MlflowClient().get_metric_history(run.info.run_id, "trial/best")
    assert [point.value for point in curve] == list(np.maximum.accumulate(table["val/accuracy"]))
    recipe = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/recipe.json"))
    assert recipe["model"]["units"] == [best["model.units.0"]]
    assert not list((where.unfinished()).iterdir())

    status, _, err = run_stage(train, run.info.run_id, "--epochs", "1")
    assert (status, err) == (0, "")
    (trained,) = runs("tags.stage = 'train'")
    assert trained.data.tags["recipe"] == "digits-mlp"
    assert float(trained.data.params["optimizer.learning_rate"]) == best["optimizer.learning_rate"]


def test_trials_are_processes_and_runs_and_a_failed_one_costs_itself_only(store, run_stage, monkeypatch):
    ranges = {"optimizer.learning_rate": Choice((1e-3, 1e30)), "optimizer.clipnorm": Choice((0.0,))}
    monkeypatch.setitem(recipes.SPACES, "digits-mlp", lambda: ranges)
    flags = ("--strategy", "grid", "--epochs", "2", "--optimizer.name", "sgd", "--objective", "loss", "--retrain")
    status, out, err = run_stage(tune, "digits-mlp", *flags)
    assert status == 0, err
    (search,) = runs("tags.stage = 'tune'")
    good, bad = runs("tags.stage = 'trial'")
    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert {good.data.tags["mlflow.parentRunId"], bad.data.tags["mlflow.parentRunId"]} == {search.info.run_id}
    assert "trial 0001: failed: the loss became" in out
    assert bad.data.tags["failure"].startswith("the loss became")
    curve = mlflow.MlflowClient().get_metric_history(good.info.run_id, "val/loss")
    assert [point.step for point in curve] == [1, 2]
    assert search.data.metrics["best/val/loss"] == curve[-1].value
    assert not [name for name in good.data.metrics if name.startswith("test/")]
    (final,) = runs("tags.stage = 'train'")
    assert (final.data.tags["retrains"], search.data.tags["model"]) == (search.info.run_id, "recorded")
    assert final.data.params["data.validation"] == "0"
    assert search.data.metrics["test/accuracy"] == final.data.metrics["test/accuracy"]


def in_this_process(function, *arguments):
    function(*arguments)
    return 0


@pytest.fixture
def watched(store, monkeypatch):
    """Trials in this process: their scores, by id, and the states on the disk as each begins and as it has ended."""
    scores, before, after = {}, [], []
    make_trial = worker.make_trial

    def observed(asked, searched):
        before.append({path.name for path in searched.place.glob("states/*")})
        found = make_trial(asked, searched)
        after.append({path.name for path in searched.place.glob("states/*")})
        scores[asked.id] = found.score
        return found

    monkeypatch.setattr(isolation, "run_apart", in_this_process)
    monkeypatch.setattr(worker, "make_trial", observed)
    return scores, before, after


BARELY = Optimizer("adam", 1e-6)
"""Moves weights, but no accuracy for more than an epoch or two: early stopping then goes back to an earlier one's."""


def test_the_best_trial_s_network_is_the_model_of_the_search(watched, run_stage, monkeypatch):
    scores, before, after = watched
    ranges = {"model.units.0": Int(4, 64), "optimizer.learning_rate": Float(5e-7, BARELY.learning_rate)}
    monkeypatch.setitem(recipes.SPACES, "digits-mlp", lambda: ranges)
    command = ["digits-mlp", "--trials", "8", "--epochs", "5", "--precision", "float32", "--data.limit", "200"]
    command += ["--early-stopping.patience", "1", "--early-stopping.monitor", "accuracy"]

    write = winner.write

    def struck(*arguments):
        write(*arguments)
        raise Interrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr(winner, "write", struck)
        assert run_stage(tune, *command)[0] == 143
    made = list(scores)
    assert len(made) == 8
    for count, (kept, ended) in enumerate(zip(before, after, strict=True)):
        best = sorted(made[:count], key=scores.get, reverse=True)[:3]
        assert kept == set(best)
        assert ended == {*best, made[count]}

    status, out, err = run_stage(tune, *command)
    assert (status, err) == (0, "")
    (search,) = runs("tags.stage = 'tune'")
    assert f"its model: make predict RUN={search.info.run_id}" in out
    found = recorded.find("last")
    assert found.id == search.info.run_id
    model = found.load_model()
    (best,) = [run for run in runs("tags.stage = 'trial'") if run.info.run_id == search.data.tags["best.run"]]
    assert network.digest(model.network) == best.data.tags["weights.sha256"]
    val = data.load(settings.from_dict(found.recipe()).data).val
    answers = model.predict(val.inputs[np.arange(len(val))]).argmax(axis=1)
    score = search.data.metrics["best/val/accuracy"]
    assert score == max(scores.values())
    assert (answers == val.labels).mean() == pytest.approx(score, abs=1e-6)
    assert not [name for name in search.data.metrics if name.startswith("test/")]
    assert not list((where.unfinished()).iterdir())


def test_a_promoted_trial_that_early_stopping_had_ended_stays_as_it_was(store, tmp_path):
    stopping = EarlyStopping(1, "accuracy")
    recipe = replace(recipes.find("digits-mlp"), optimizer=BARELY, early_stopping=stopping, data=DataConfig("digits"))
    ended = []
    for trial in (Trial("0", str(tmp_path / "0"), 9), Trial("1", str(tmp_path / "1"), begins_from=str(tmp_path / "0"))):
        request = Request("digits-mlp", recipe, outcome=str(tmp_path / f"{trial.id}.json"), trial=trial)
        ended.append(training.carry_out(request, reports.nowhere()))
        assert Checkpoints(Path(trial.keeps)).latest().position.step
    assert len(ended[0].history) < 9
    assert ended[1].history == ended[0].history
    assert ended[1].weights == ended[0].weights


def make_searched(group="0" * 32):
    tags = {"data.source": "embedded", "data.sha256": "0", "data.test_sha256": "0"}
    return worker.Searched("digits-mlp", recipes.find("digits-mlp"), LOSS, group, "digits", tags)


def test_a_trial_whose_process_was_killed_has_failed(store, monkeypatch):
    monkeypatch.setattr(members, "carry_on", lambda *_: -9)
    found = worker.make_trial(Asked("0", {"batch_size": 5}), make_searched())
    assert "signal 9" in found.failure
    (run,) = runs("")
    assert (run.info.run_id, run.info.status) == (found.run, "FAILED")
    assert run.data.params["batch_size"] == "5"


def test_what_a_trial_was_killed_before_it_could_send_arrives(store):
    client = where.connect()
    made = client.create_run(where.experiment(client, "digits")).info
    request = make_searched().request(Asked("0", {}))
    header = {"id": made.run_id, "started": made.start_time / 1000, "store": where.uri(), "continues": True}
    folder = where.unfinished() / made.run_id
    journal.create(folder, {**header, "group": request.group, "outcome": request.outcome})
    killed = journal.Journal(folder)
    killed.metrics({"val/loss": 0.25}, 1)
    killed.append("status", status="FINISHED")
    killed.release()
    outcome = Outcome(made.run_id, "trial", 0, {"train_seconds": 1.0}, [{"val/loss": 0.25}], "")
    write_outcome(request.outcome, outcome)

    assert worker.make_trial(Asked("0", {}), make_searched()).score == 0.25
    (run,) = runs("")
    assert (run.info.status, run.data.metrics["val/loss"]) == ("FINISHED", 0.25)
    assert not folder.exists()


def test_what_the_machine_can_t_do_ends_the_search_not_the_trial(store, monkeypatch):
    monkeypatch.setattr(members, "carry_on", lambda *_: 2)
    with pytest.raises(BadInput, match="trial 0"):
        worker.make_trial(Asked("0", {}), make_searched())
    assert runs("") == []


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        (("--trials", "0"), "--trials"),
        (("--workers", "0"), "--workers"),
        (("--search-seed", "0"), "--search-seed"),
        (("--steps", "3"), "--steps"),
        (("--retrain", "--schedule.name", "plateau"), "--retrain"),
        (("--data.validation", "0"), "--data.validation"),
    ],
)
def test_what_can_t_be_searched_is_refused(flags, where, run_stage, store):
    status, _, err = run_stage(tune, "digits-mlp", *flags)
    assert (status, err.count("\n")) == (2, 1)
    assert where in err


class TestService:
    """A chief and its workers over the loopback interface."""

    class Trials:
        def __init__(self):
            self.left = [Asked("0", {"a": 0.1, "b": "x"}), WAITING, Asked("1", {"a": 3, "b": True})]
            self.told = []

        def ask(self, name):
            return self.left.pop(0) if self.left else None

        def tell(self, trial, found):
            self.told.append((trial, found))

    @pytest.fixture
    def chief(self, monkeypatch):
        chief = service.Chief(self.Trials(), lambda: {"group": "g"}, lambda asked: None)
        with service.serving(chief, "127.0.0.1", service.ANY_PORT) as port:
            monkeypatch.setenv(service.NAME, "worker0")
            monkeypatch.setenv(service.IP, "127.0.0.1")
            monkeypatch.setenv(service.PORT, str(port))
            yield chief

    def test_that_other_machines_reach_the_chief_is_said(self, monkeypatch, capfd):
        monkeypatch.setattr(service, "serving", lambda *given: nullcontext())
        monkeypatch.setattr(service, "wait_for_end", lambda chief: None)
        monkeypatch.setenv(service.PORT, "4444")
        said = []
        for ip in ("10.0.0.7", "127.0.0.1"):
            monkeypatch.setenv(service.IP, ip)
            teams._serve(SimpleNamespace(run=SimpleNamespace(name="search"), console=Console(quiet=True), begin=None))
            said.append(capfd.readouterr().err)
        assert said[0].startswith("warning: 10.0.0.7:4444: everybody who reaches this machine")
        assert said[1] == ""

    def test_trials_and_results_arrive_as_they_are(self, chief):
        client = service.Client()
        first = client.ask("worker0")
        assert (first.id, first.hyperparameters) == ("0", {"a": 0.1, "b": "x"})
        assert service.facts(first) == {"group": "g"}
        client.tell("0", Result(0.1 + 0.2, "run", 3, 1.5, True))
        assert client.ask("worker0") is WAITING
        second = client.ask("worker0")
        assert second.hyperparameters == {"a": 3, "b": True}
        assert not chief.is_done()
        client.tell("1", Result(failure="it broke"))
        assert client.ask("worker0") is None
        assert chief.oracle.told == [("0", Result(0.1 + 0.2, "run", 3, 1.5, True)), ("1", chief.oracle.told[1][1])]
        assert chief.oracle.told[1][1].failure == "it broke"
        assert chief.is_done()

    def test_what_breaks_in_the_chief_is_said_there_too(self, chief):
        chief.oracle.ask = lambda name: 1 / 0
        with pytest.raises(BadInput, match="does not answer"):
            service.Client().ask("worker0")
        with pytest.raises(ZeroDivisionError):
            chief.is_done()

    def test_half_an_address_is_refused(self, monkeypatch):
        monkeypatch.setenv(service.IP, "127.0.0.1")
        with pytest.raises(BadInput, match=service.NAME):
            service.role()


def test_outcomes_lie_where_the_search_does(store):
    request = make_searched().request(Asked("0007", {"tuner/epochs": 3, "tuner/trial_id": "0002"}))
    assert request.trial.epochs == 3
    assert Path(request.trial.begins_from) == where.unfinished() / ("0" * 32) / "states" / "0002"
    assert Path(request.outcome).parent.is_dir()
