import json
from dataclasses import replace

import pytest

from data.errors import BadInput
from data.spec import DataConfig
from models.dense import MultilayerPerceptron
from pipelines import recipes, settings
from pipelines.augmentation import Augmentation
from pipelines.settings import EarlyStopping, Optimizer, Recipe, Schedule, Stage


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_every_recipe_survives_its_record(name):
    recipe = recipes.find(name)
    recipe.check()
    assert settings.from_dict(json.loads(json.dumps(settings.to_dict(recipe)))) == recipe


def test_a_record_of_another_version_is_refused_in_one_line():
    plain = settings.to_dict(recipes.find("cifar"))
    for broken in ({**plain, "color": 1}, {**plain, "model": {"kind": "Transformer"}}, {**plain, "seed": "x"}):
        with pytest.raises(BadInput, match="does not fit this version") as caught:
            settings.from_dict(broken)
        assert "\n" not in str(caught.value)


def test_parameters_are_flat_and_name_the_architecture():
    flat = settings.flatten(settings.to_dict(recipes.find("cifar")))
    assert flat["model.kind"] == "FastNetwork"
    assert flat["optimizer.arguments.matrix_ratio"] == 4.7
    assert flat["stages.0.image_size"] == 20
    assert not any(isinstance(value, dict) for value in flat.values())


def test_shorter_training_keeps_the_proportions_of_stages():
    recipe = replace(recipes.find("cifar"), stages=(Stage(4, image_size=20), Stage(2, image_size=26), Stage(2)))
    assert [stage.epochs for stage in recipe.with_epochs(16).stages] == [8, 4, 4]
    assert [stage.epochs for stage in recipe.with_epochs(4).stages] == [2, 1, 1]
    assert recipe.with_epochs(1).epochs == 1
    assert recipe.with_epochs(3).epochs == 3


BASE = Recipe(DataConfig("digits"), MultilayerPerceptron())


@pytest.mark.parametrize(
    ("recipe", "flag"),
    [
        (replace(BASE, batch_size=0), "--batch-size"),
        (replace(BASE, optimizer=Optimizer(learning_rate=-1)), "--optimizer.learning-rate"),
        (replace(BASE, optimizer=Optimizer(learning_rate=float("nan"))), "--optimizer.learning-rate"),
        (replace(BASE, optimizer=Optimizer(ema=1.0)), "--optimizer.ema"),
        (replace(BASE, label_smoothing=1.5), "--label-smoothing"),
        (replace(BASE, schedule=Schedule(warmup=1.0)), "--schedule.warmup"),
        (replace(BASE, stages=(Stage(0),)), "--stages.0.epochs"),
        (replace(BASE, data=DataConfig("digits", validation=0), early_stopping=EarlyStopping(3)), "--data.validation"),
        (replace(BASE, data=DataConfig("digits", validation=0), schedule=Schedule("plateau")), "--data.validation"),
        (replace(BASE, augmentation=Augmentation(resize=20, patch=24)), "--augmentation.patch"),
    ],
)
def test_what_can_t_work_is_refused_by_its_flag(recipe, flag):
    with pytest.raises(BadInput, match=flag):
        recipe.check()


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(BadInput, match="cifar-lenet"):
        recipes.find("imagenet")
