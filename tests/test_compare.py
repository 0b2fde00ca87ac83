"""Comparing runs: the statistics, what they say in words, what is refused, and the page."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import f1_score

from pipelines import compare, recipes, settings, train
from pipelines.comparing import commands, figures, pairs, sides, statistics, tables, words
from pipelines.comparing.pairs import Pair, Spread
from pipelines.comparing.sides import Member, Side
from pipelines.comparing.statistics import Estimate, McNemar
from pipelines.tracking import store as tracking_store
from pipelines.tracking.recorded import Facts, Recorded

TAGS = {"stage": "train", "task": "classification", "data.source": "embedded", "data.sha256": "d" * 64}
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])


def predictions(predicted, labels=LABELS, sure=0.8):
    """A table whose predicted class has the probability ``sure``."""
    classes = int(max(labels)) + 1
    probabilities = np.full((len(labels), classes), (1 - sure) / (classes - 1), np.float32)
    probabilities[np.arange(len(labels)), predicted] = sure
    columns = {"row": np.arange(len(labels)), "label": labels, "predicted": np.array(predicted)}
    return pd.DataFrame({**columns, "probabilities": list(probabilities)})


def member(table, seed=1, recipe="small", metrics=None, **params):
    tags = {**TAGS, "recipe": recipe, "data.test_sha256": "7" * 64}
    params = {"data.name": "digits", **params, "seed": str(seed)}
    run = Recorded(f"{recipe}{seed}{params}", f"{recipe}-seed{seed}", "digits")
    if metrics is None and "predicted" in table:
        metrics = {"test/accuracy": float((table["label"] == table["predicted"]).mean())}
    return Member(run, Facts("FINISHED", tags, params, metrics or {}), table)


def side(letter, *members):
    return Side(letter, members[0].run.name, members)


def wrong_at(*rows, labels=LABELS):
    """Predictions that are wrong by one class in these rows."""
    predicted = labels.copy()
    predicted[[*rows]] = (predicted[[*rows]] + 1) % (max(labels) + 1)
    return predicted


def pair(sample, first=1, second=1, mcnemar=None, training=None, spread=None, task="classification"):
    """A pair with these statistics, whose sides have so many seeds."""
    table = predictions(LABELS) if task != "autoencoding" else pd.DataFrame({"row": range(3), "error": [0.1] * 3})
    built = []
    for letter, recipe, count in (("A", "small", first), ("B", "large", second)):
        one = side(letter, *(member(table, seed, recipe) for seed in range(count)))
        for part in one.members:
            part.facts.tags["task"] = task
        built.append(one)
    training = training and statistics.Test(Estimate(*training[:3]), training[3])
    return Pair(*built, Estimate(*sample), mcnemar, training, spread)


def test_mcnemar_is_exact():
    first, second = np.ones(20, bool), np.ones(20, bool)
    first[:8] = False
    second[19] = False
    # 2 * (1 + 9) / 2**9: one row or none of nine on the rarer side
    assert statistics.mcnemar(first, second) == McNemar(1, 8, pytest.approx(20 / 512))
    assert statistics.mcnemar(first, first).p == 1.0


def test_the_interval_is_that_of_the_paired_bootstrap():
    generator = np.random.default_rng(0)
    first = generator.random(400) < 0.7
    second = np.where(generator.random(400) < 0.8, first, generator.random(400) < 0.9)
    found = statistics.mean(second.astype(float) - first)
    both = (second.astype(float), first.astype(float))
    other = stats.bootstrap(
        both, lambda b, a, axis: b.mean(axis) - a.mean(axis), paired=True, vectorized=True, method="percentile", rng=5
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(other), abs=0.005)
    difference = second.astype(float) - first
    half = 1.96 * difference.std() / 20
    assert (found.low, found.high) == pytest.approx((difference.mean() - half, difference.mean() + half), abs=0.005)
    unpaired = 1.96 * np.hypot(first.std(), second.std()) / 20
    assert found.high - found.low < 1.5 * unpaired < 2 * unpaired


def test_an_interval_of_what_never_varies_is_a_point():
    assert statistics.mean(np.zeros(50)) == Estimate(0, 0, 0)


def test_welch_agrees_with_its_formula():
    first, second = [0.90, 0.91, 0.93], [0.94, 0.95, 0.95, 0.97]
    found = statistics.welch(first, second)
    shares = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / 2 + shares[1] ** 2 / 3)
    difference, error = np.mean(second) - np.mean(first), np.sqrt(sum(shares))
    half = stats.t.ppf(0.975, freedom) * error
    ends = (found.difference.low, found.difference.value, found.difference.high)
    assert ends == pytest.approx((difference - half, difference, difference + half))
    assert found.p == pytest.approx(2 * stats.t.sf(difference / error, freedom))
    assert statistics.welch([0.9], second) is None
    assert statistics.welch([0.9, 0.9], [0.8, 0.8]) is None
    assert statistics.welch([0.9, 0.9], [0.7, 0.8]).difference.value == pytest.approx(-0.15)


def test_a_difference_that_five_seeds_show_is_found_in_four_of_five_cases():
    assert statistics.detectable(1, 1, 5) == pytest.approx(2.0244, abs=1e-4)  # G*Power, two groups of 5
    shift = statistics.detectable(0.5, 2.0, 5)
    generator = np.random.default_rng(1)
    first, second = generator.normal(0, 0.5, (20_000, 5)), generator.normal(shift, 2.0, (20_000, 5))
    found = (stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.01)


def test_metrics_of_one_model_have_intervals_around_them():
    generator = np.random.default_rng(2)
    labels = np.arange(300) % 5
    table = predictions(np.where(generator.random(300) < 0.7, labels, generator.integers(0, 5, 300)), labels)
    found = tables.estimates(side("A", member(table)))
    assert found["macro_f1"].value == pytest.approx(f1_score(labels, table["predicted"], average="macro"))
    own = np.stack(table["probabilities"])[np.arange(300), labels]
    assert found["loss"].value == pytest.approx(-np.log(own).mean(), rel=1e-5)
    wilson = stats.binomtest(round(300 * found["accuracy"].value), 300).proportion_ci(method="wilson")
    assert (found["accuracy"].low, found["accuracy"].high) == pytest.approx(tuple(wilson))
    assert all(one.low < one.value < one.high for one in found.values())


def test_one_seed_each_speaks_of_the_models_and_not_of_the_recipes():
    found = pair((0.013, 0.007, 0.019), mcnemar=McNemar(1, 14, 0.001), spread=Spread(0.002, 0.002, (3,)))
    on_sample, on_recipe = words.sentences(found)
    assert on_sample == (
        "On these 10 test images B is better than A by 1.3 points "
        "(95 % interval 0.7 to 1.9; McNemar's exact test, p = 0.0010)."
    )
    assert on_recipe == (
        "Whether the recipe is better can't be told from one seed each; make train-small SEEDS=5 and "
        "make train-large SEEDS=5, with the settings of each, would show a difference of 0.4 points "
        "(in 80 % of cases, going by the spread of 3 seeds)."
    )


def recorded_as(recipe):
    """A recipe's parameters as MLflow has them."""
    return {path: str(value) for path, value in settings.flatten(settings.to_dict(recipe)).items()}


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("cifar", ""),
        ("cifar", "--batch-size 240 --schedule.milestones 0.1 0.5 --optimizer.arguments.matrix-ratio 2.5"),
        ("cifar", "--epochs 4 --model.filters 32 64 64 --augmentation.flip none --optimizer.learning-rate 1e-05"),
        ("cifar", "--stages.1.epochs 5 --stages.0.image-size 0"),
        ("cifar-mlp", "--optimizer.arguments beta_1 0.8 amsgrad True --no-deterministic --model.units 7"),
        ("names", "--model.no-bidirectional --deterministic"),
        ("names", "--data.name csv --data.path '/my texts/of O\u2019Brien.csv' --data.fold"),
    ],
)
def test_a_run_s_settings_are_spelled_as_flags(name, flags):
    _, options = train._parse([name, *shlex.split(flags), "--seed", "7"])
    recipe = options.recipe.with_epochs(options.epochs) if options.epochs else options.recipe
    line = commands.train(name, recorded_as(recipe), 5)
    start, _, found = line.partition(" ARGS=")
    assert start == f"make train-{name} SEEDS=5"
    assert bool(found) == bool(flags)
    _, again = train._parse([name, *shlex.split("".join(shlex.split(found))), "--seed", "7"])
    assert again == options


def test_settings_that_no_flag_gives_are_not_spelled():
    params = recorded_as(recipes.find("cifar"))
    assert commands.train("small", params, 5) == ""
    for other in (
        {"model.kind": "LeNet"},
        {"model.units": "3"},
        {"stages.3.epochs": "1"},
        {"optimizer.arguments.momentum": "0.9"},
        {"data.path": "a $b"},
        {"data.path": 'a"b'},
    ):
        assert commands.train("cifar", {**params, **other}, 5) == "", other
    assert commands.train("cifar", {path: value for path, value in params.items() if path != "balance"}, 5) == ""


def test_what_would_tell_two_settings_apart_can_be_copied():
    built = []
    for letter, size in (("A", 500), ("B", 240)):
        params = recorded_as(replace(recipes.find("cifar"), batch_size=size))
        params.pop("seed")
        built.append(side(letter, member(predictions(LABELS), recipe="cifar", **params)))
    found = Pair(*built, Estimate(0.01, 0.0, 0.02), None, None, None)
    assert words.recipe_sentence(found).endswith(
        '; make train-cifar SEEDS=5 and make train-cifar SEEDS=5 ARGS="--batch-size 240" would tell.'
    )
    built[1].members[0].facts.params["batch_size"] = "500"
    built[1].members[0].facts.tags["git.commit"] = "another"
    assert words.recipe_sentence(found).endswith("; make train-cifar SEEDS=5, with the settings of each, would tell.")


def test_without_a_known_spread_no_number_is_promised():
    line = words.recipe_sentence(pair((0.013, 0.007, 0.019), mcnemar=McNemar(1, 14, 0.001)))
    assert line.endswith("SEEDS=5, with the settings of each, would tell.")


def test_who_is_behind_is_said_with_positive_numbers():
    line = words.sample_sentence(pair((-0.02, -0.03, -0.01), mcnemar=McNemar(9, 1, 0.02)))
    assert "A is better than B by 2.0 points (95 % interval 1.0 to 3.0;" in line


def test_an_interval_around_0_shows_no_difference():
    line = words.sample_sentence(pair((0.003, -0.008, 0.014), mcnemar=McNemar(5, 7, 0.77)))
    assert "no difference between A and B can be seen: B minus A is +0.3 points (95 % interval −0.8 to 1.4;" in line
    assert "better" not in line


def test_models_that_are_right_on_the_same_rows_do_not_differ():
    line = words.sample_sentence(pair((0, 0, 0), mcnemar=McNemar(0, 0, 1.0)))
    assert line.endswith("no difference can be seen: A and B are right and wrong on the same ones.")


@pytest.mark.parametrize(("low", "p"), [(0.001, 0.06), (-0.001, 0.04)])
def test_interval_and_test_that_disagree_leave_it_undecided(low, p):
    line = words.sample_sentence(pair((0.01, low, 0.02), mcnemar=McNemar(1, 6, p)))
    assert "take it as undecided" in line
    assert "better" not in line


def test_groups_speak_of_recipes_first_and_of_the_sample_apart():
    found = pair((0.009, 0.002, 0.016), 5, 5, training=(0.009, 0.005, 0.013, 0.0004))
    on_recipe, on_sample = words.sentences(found)
    assert on_recipe == (
        "Over 5 seeds of A and 5 of B the recipe of B is better than that of A by 0.9 points "
        "(95 % interval of the recipes' difference 0.5 to 1.3; Welch's test, p = 0.00040)."
    )
    assert on_sample == (
        "On these 10 test images the 5 models of B are on average better than the 5 models of A by 0.9 points "
        "(95 % interval of the test sample, the models as they are, 0.2 to 1.6)."
    )


def test_a_better_recipe_on_a_small_test_set_is_no_more_than_that():
    found = pair((0.009, -0.002, 0.02), 5, 5, training=(0.009, 0.005, 0.013, 0.0004))
    on_recipe, on_sample = words.sentences(found)
    assert on_recipe.endswith("on this test set: it is too small to say the same of other images.")
    assert "no difference between the 5 models of A and the 5 models of B can be seen" in on_sample


def test_better_models_do_not_make_a_better_recipe():
    spread = Spread(0.01, 0.01, (3, 3))
    found = pair((0.02, 0.01, 0.03), 3, 3, training=(0.02, -0.01, 0.05, 0.1), spread=spread)
    on_recipe, on_sample = words.sentences(found)
    assert "no difference between the recipes can be seen: B minus A is +2" in on_recipe
    assert on_recipe.endswith("5 seeds of each would show one of 2.0 points.")
    assert "the 3 models of B are on average better" in on_sample


def test_a_group_against_one_training_says_whose_seeds_are_missing():
    line = words.recipe_sentence(pair((0.02, 0.01, 0.03), first=3, spread=Spread(0.01, 0.01, (3,))))
    assert "can't be told from one seed of B" in line


def test_the_same_recipe_with_other_seeds_is_no_comparison_of_recipes():
    first, second = (side(letter, member(predictions(LABELS), seed)) for letter, seed in (("A", 1), ("B", 2)))
    found = pairs.compare(first, second, {})
    assert "no recipe to be judged" in words.recipe_sentence(found)
    second.members[0].facts.tags["git.commit"] = "another"
    assert "can't be told from one seed each" in words.recipe_sentence(found)


def test_the_smaller_error_is_the_better_one():
    line = words.sample_sentence(pair((-0.0037, -0.0040, -0.0034), task="autoencoding"))
    assert "B is better than A by 0.00370 in squared error (95 % interval 0.00340 to 0.00400)" in line


def test_several_comparisons_are_counted_and_corrected():
    better = pair((0.02, 0.01, 0.03), mcnemar=McNemar(1, 9, 0.03))
    hardly = pair((0.01, 0.001, 0.02), mcnemar=McNemar(3, 9, 0.049))
    lines = words.verdict([better, hardly, pair((0.0, -0.01, 0.01), mcnemar=McNemar(4, 4, 1.0))])
    assert len(lines) == 4
    assert lines[0].startswith("B against A: On these")
    assert lines[-1].startswith("3 comparisons were made, each by itself at 5 %")
    assert lines[-1].endswith("none of the differences is left.")  # 0.03 * 3 and 0.049 * 3 / 2 are above 0.05


def test_numbers_keep_what_tells_them_from_0():
    found = Estimate(0.01, 0.0002, 0.0198)
    assert words.interval(pairs.ACCURACY, found) == "0.02 to 1.98"
    assert words.p_value(0.00002) == "p < 0.0001"


def test_flipped_rows_are_those_that_became_right_or_wrong():
    first, second = (side("A", member(predictions(wrong_at(0, 4)))), side("B", member(predictions(wrong_at(4, 8, 9)))))
    table = pairs.flipped(pairs.compare(first, second, {}))
    assert table[table["gained"]]["row"].tolist() == [0]
    assert sorted(table[~table["gained"]]["row"]) == [8, 9]
    row = table.set_index("row").loc[8]
    assert (row["label"], row["answer_first"], row["answer_second"]) == (2, 2, 0)
    assert row["confidence_second"] == pytest.approx(0.8)


def test_a_group_flips_where_most_of_its_trainings_do():
    first = side("A", *(member(predictions(wrong_at(*rows)), seed) for seed, rows in enumerate([(0, 1), (0, 2), (0,)])))
    second = side("B", *(member(predictions(wrong_at(*rows)), seed, "large") for seed, rows in enumerate([(9,), (0,)])))
    found = pairs.compare(first, second, {})
    assert pairs.flipped(found).empty  # row 0 is right in one of two, row 9 too
    second = side("B", *(member(predictions(LABELS), seed, "large") for seed in range(2)))
    table = pairs.flipped(pairs.compare(first, second, {}))
    assert table[["row", "gained"]].to_numpy().tolist() == [[0, True]]
    assert table["right_first"].tolist() == [0]
    undecided = side("A", member(predictions(wrong_at(1)), 1), member(predictions(LABELS), 2))
    assert pairs.flipped(pairs.compare(undecided, second, {})).empty


def test_classes_and_confusions_change_as_counted():
    first, second = (side("A", member(predictions(wrong_at(0, 4)))), side("B", member(predictions(wrong_at(4, 8, 9)))))
    found = pairs.compare(first, second, {})
    assert found.sample.value == pytest.approx(-0.1)
    table = pairs.by_class(found, "xyz").set_index("class")
    assert table["change"].to_dict() == pytest.approx({"x": 1 / 3, "y": 0, "z": -0.5})
    assert table["examples"].to_dict() == {"x": 3, "y": 3, "z": 4}
    assert pairs.confusion_change(found, 3).tolist() == [[1, -1, 0], [0, 0, 0], [2, 0, -2]]


def test_the_pareto_front_holds_what_no_other_beats():
    costs, faults = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 5.0]), np.array([5.0, 4.0, 3.0, 3.5, 1.0, 1.0])
    assert figures.pareto(costs, faults).tolist() == [0, 2, 4]


def test_only_parameters_that_differ_are_listed():
    first = side("A", member(predictions(LABELS), 1, units="8", rate="0.1"))
    second = side("B", *(member(predictions(LABELS), seed, units="16", rate="0.1") for seed in (1, 2)))
    assert sides.differing((first, second)) == [("units", "8", "16"), ("seed", "1", "1, 2")]


def test_predictions_for_other_rows_are_refused():
    other = side("B", member(predictions(LABELS[::-1].copy(), LABELS[::-1].copy())))
    with pytest.raises(pairs.BadInput, match="other rows"):
        pairs.compare(side("A", member(predictions(LABELS))), other, {})


@pytest.fixture
def record(store, tmp_path):
    """Records a run as a training would, without training; returns its id."""
    client = tracking_store.connect()
    number = tracking_store.experiment(client, "words")
    path = tmp_path / "words.csv"
    texts = [f"{'ab' * (row % 7 + 1)}{row}{'ov' if row % 2 else '<b>'}" for row in range(200)]
    path.write_text(
        "text,label\n" + "\n".join(f"{text},{'<i>' if row % 2 else 'no'}" for row, text in enumerate(texts))
    )
    import data

    recipe = replace(recipes.find("names"), data=data.DataConfig("csv", path=str(path)))
    splits = data.load(recipe.data)

    def write(name, seed, wrong=(), status="FINISHED", **tags):
        known = splits.manifest
        digests = {"data.sha256": known["sha256"], "data.test_sha256": known["test_sha256"]}
        made = {
            **TAGS,
            "data.source": "local",
            **digests,
            "recipe": name,
            "task": "sequence",
            "weights.sha256": str(seed),
            **tags,
        }
        run = client.create_run(number, tags=made, run_name=f"{name}-seed{seed}").info.run_id
        table = predictions(wrong_at(*wrong, labels=splits.test.labels), splits.test.labels)
        accuracy = float((table["predicted"] == table["label"]).mean())
        table.to_parquet(tmp_path / "predictions.parquet")
        for metric, value in {"test/accuracy": accuracy, "parameters": 10 * seed, "train_seconds": 2.0}.items():
            client.log_metric(run, metric, value)
        for key, value in {"data.name": "csv", "model": name, "seed": seed}.items():
            client.log_param(run, key, value)
        client.log_artifact(run, tmp_path / "predictions.parquet")
        for file, content in (("recipe.json", settings.to_dict(recipe)), ("data.json", known)):
            client.log_text(run, json.dumps(content, default=str), file)
        client.set_terminated(run, status)
        return run

    write.splits = splits
    return write


def newest():
    client = mlflow.MlflowClient()
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(numbers, "tags.stage = 'compare'", order_by=["attributes.start_time DESC"])[0]


def artifact(run, name):
    return mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/{name}")


def check_page(html):
    """It refers to nothing outside itself."""
    assert "http:" not in html
    assert "https:" not in html
    assert "<script" not in html
    assert "@import" not in html
    assert "url(" not in html
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', html)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)


def test_texts_that_flipped_are_on_the_page(record, run_stage):
    first, second = record("plain", 1, wrong=(0, 1, 2, 3)), record("deep", 1, wrong=(3, 4))
    status, out, err = run_stage(compare, first, "deep-seed1")
    assert status == 0, err
    test = record.splits.test
    html = Path(artifact(newest(), "comparison.html")).read_text(encoding="utf-8")
    check_page(html)
    became_right, became_wrong = html.split("became wrong:")
    became_right = became_right.partition("became right:")[2]
    for row, text in enumerate(test.inputs[np.arange(6)]):
        escaped = str(text).replace("<", "&lt;").replace(">", "&gt;")
        assert (escaped in became_right) == (row in (0, 1, 2))
        assert (escaped in became_wrong) == (row == 4)
    assert "&lt;i&gt;" in html
    assert "On these 40 test texts no difference between A and B can be seen" in out
    kept = pd.read_parquet(artifact(newest(), "flipped.parquet"))
    assert dict(zip(kept["row"], kept["gained"], strict=True)) == {0: True, 1: True, 2: True, 4: False}
    assert newest().data.tags["compares"] == f"{first},{second}"
    assert "STAND-IN" not in out + html
    assert newest().data.metrics["mcnemar_p"] == pytest.approx(0.625)  # 2 * (1 + 4) / 2**4


def test_recipes_and_groups_stand_for_their_seeds(record, run_stage):
    group = record("plain", 0, stage="train", group="seeds")
    for seed in (1, 2, 3):
        record("plain", seed, wrong=range(3 + seed), **{"mlflow.parentRunId": group})
        record("deep", seed, wrong=range(seed - 1))
    record("deep", 3, wrong=range(9))  # the same again
    record("deep", 4, status="KILLED")
    mlflow.MlflowClient().delete_tag(group, "weights.sha256")
    status, out, err = run_stage(compare, group, "recipe=deep")
    assert status == 0, err
    assert "Over 3 seeds of A and 3 of B the recipe of B is better than that of A by 10.0 points" in " ".join(
        out.split()
    )
    found = newest().data.metrics
    assert found["difference/accuracy"] == pytest.approx(0.1)
    assert found["welch_p"] == pytest.approx(stats.ttest_ind([4, 5, 6], [0, 1, 2], equal_var=False).pvalue)


def test_settings_of_a_recipe_are_sides_of_their_own(record, run_stage):
    runs = [record("plain", seed, wrong=range(seed)) for seed in (1, 2)]
    other = record("plain", 3, wrong=(9,), **{"data.sha256": "e" * 64})
    deep = record("deep", 1)
    record("plain", 4, **{"data.test_sha256": "9" * 64})  # the newest, on a test set that deep knows nothing of
    status, out, err = run_stage(compare, "recipe=plain", deep)
    assert status == 0, err
    assert newest().data.tags["compares"] == ",".join([*runs, other, deep])
    assert "plain (training data eeeeeeeeeeee)" in out


def test_what_can_t_be_compared_is_refused_in_a_line(record, run_stage):
    first = record("plain", 1)
    other = {"data.test_sha256": "9" * 64, "data.source": "embedded"}
    digest = mlflow.get_run(first).data.tags["data.test_sha256"][:8]
    said = "was scored on words (stand-in for csv, embedded, test set 99999999), "
    said += f"and plain-seed1 on words (local, test set {digest})"
    cases = {
        record("other", 1, **other): said,
        record("coder", 1, task="autoencoding"): "is a run of autoencoding, and plain-seed1 of sequence",
        record("cut", 1, status="KILLED"): "has not finished (KILLED)",
        record("trial", 1, stage="tune"): "was recorded by tune, not by a training",
        record("batch", 1, stage="overfit-one-batch"): "was recorded by overfit-one-batch",
        record("empty", 1, group="seeds"): "is a group without a finished training",
        first: "is named twice",
        "recipe=other": "no finished training of this recipe on that test set",
        "recipe=none": "no finished training of this recipe",
        "nothing": "no such run",
    }
    for reference, reason in cases.items():
        status, _, err = run_stage(compare, first, reference)
        assert status == 2, reason
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert reason in err
    for references in ([], [first]):
        assert "give two runs or more" in run_stage(compare, *references)[2]
    bare = mlflow.MlflowClient().create_run(
        mlflow.get_run(first).info.experiment_id, tags=mlflow.get_run(first).data.tags
    )
    mlflow.MlflowClient().set_terminated(bare.info.run_id)
    assert "has no readable predictions.parquet" in run_stage(compare, first, bare.info.run_id)[2]


def test_inputs_that_are_gone_are_named_by_their_rows(record, run_stage, tmp_path):
    runs = record("plain", 1, wrong=(5,)), record("deep", 1)
    (tmp_path / "words.csv").write_text("text,label\n" + "".join(f"a{row},{row % 2}\n" for row in range(50)))
    status, out, err = run_stage(compare, *runs)
    assert status == 0, err
    assert "The inputs themselves can't be shown" in out
    html = Path(artifact(newest(), "comparison.html")).read_text(encoding="utf-8")
    assert "row 5" in html


def test_two_trainings_are_compared_from_end_to_end(store, run_stage):
    assert run_stage(train, "digits-mlp", "--epochs", "2")[0] == 0
    assert run_stage(train, "mnist-linear", "--data.source", "embedded", "--epochs", "2")[0] == 0
    status, out, err = run_stage(compare, "recipe=digits-mlp", "last")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0] == "STAND-IN DATA: digits instead of mnist. These results say nothing about mnist."
    assert any(line.startswith("On these 364 test images A is better than B by") for line in lines)
    assert "can't be told from one seed each" in out
    assert 'make train-mnist-linear SEEDS=5 ARGS="--epochs 2 --data.source embedded" would tell' in out
    run = newest()
    assert (run.info.status, run.data.tags["recipe"]) == ("FINISHED", "digits-mlp,mnist-linear")
    assert "STAND-IN" in run.info.run_name
    html = Path(re.search(r"page (\S+comparison\.html);", out)[1]).read_text(encoding="utf-8")
    check_page(html)
    assert "image-rendering: pixelated" in html
    assert html.count('alt="test row') > 10
    for text in ("STAND-IN DATA", "Curves by second", "Cost against score", "model.units", "make reproduce RUN="):
        assert text in html
    drawn = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "figures")}
    names = ("curves_by_epoch", "curves_by_second", "cost", "classes_B_A", "confusion_B_A")
    assert drawn == {f"figures/{name}.png" for name in names}
    with Image.open(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/figures/cost.png")) as image:
        assert image.width > 1000, "smaller than drawn: the page's copy has another resolution"
    metrics = run.data.metrics
    assert metrics["difference/accuracy_low"] < metrics["difference/accuracy"] < metrics["difference/accuracy_high"] < 0
