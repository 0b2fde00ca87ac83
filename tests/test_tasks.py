"""What each task makes of examples, and what it refuses."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from data.errors import BadInput
from data.spec import DataConfig, Spec, Split, Splits
from models.autoencoders import DenseAutoencoder, VariationalAutoencoder
from models.corruption import Corruption
from models.dense import MultilayerPerceptron
from models.recurrent import Recurrent
from pipelines import tasks
from pipelines.augmentation import Augmentation, Moment
from pipelines.settings import EarlyStopping, Recipe, Stage
from tests.conftest import make_splits

NOISY = DenseAutoencoder(units=(8,), code=4, corruption=Corruption("gaussian", 0.3))


def make_texts():
    texts = np.array(["Nakamura", "Silva", "Müller", "Li", "Kim", "Novák"])
    part = Split(texts, np.array([0, 1, 1, 1, 1, 1]))
    vocabulary = tuple(sorted(set("".join(texts))))
    spec = Spec("text", ("Japanese", "other"), vocabulary=vocabulary, longest=8)
    return Splits(spec, part, part, part, {"name": "few"})


def bind(model, splits=None, **arguments):
    return tasks.bind(Recipe(DataConfig("squares"), model, **arguments), splits or make_splits())


def batch(task, part, rows, epoch=0):
    rows = np.asarray(rows)
    return task.training(part.inputs[rows], part.labels[rows], Moment(1, epoch, 0, rows))


def test_the_models_task_decides_whatever_the_data():
    splits = make_splits()
    assert bind(MultilayerPerceptron(), splits).name == "classification"
    assert bind(DenseAutoencoder(), splits).name == "autoencoding"
    assert bind(Recurrent(), make_texts(), augmentation=None).name == "sequence"


def test_a_network_on_raw_pixels_is_not_in_training_unless_told_so(tmp_path):
    task = bind(MultilayerPerceptron(units=(64,), dropout=0.5), augmentation=Augmentation(resize=16, patch=8))
    task.on_raw(task.recipe.model.build(task.seen)).save(tmp_path / "model.keras")
    network = keras.saving.load_model(tmp_path / "model.keras")
    images = task.splits.test.inputs[np.arange(4)]
    np.testing.assert_array_equal(np.asarray(network(images)), np.asarray(network(images)))


@pytest.mark.parametrize(
    ("model", "splits", "expected"),
    [
        (Recurrent(), make_splits(), "Recurrent takes text, and squares holds images"),
        (DenseAutoencoder(), make_texts(), "DenseAutoencoder takes images, and few holds text"),
    ],
)
def test_a_model_for_other_data_is_refused(model, splits, expected):
    with pytest.raises(BadInput, match=expected):
        bind(model, splits)


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        ({"augmentation": Augmentation(mixup=0.2)}, "--augmentation.mixup"),
        ({"augmentation": Augmentation(resize=6)}, "--augmentation.resize"),
        ({"label_smoothing": 0.1}, "--label-smoothing"),
        ({"balance": 0.5}, "--balance"),
        ({"early_stopping": EarlyStopping(3, "accuracy")}, "--early-stopping.monitor"),
    ],
)
def test_an_autoencoder_refuses_what_needs_labels_or_another_size(arguments, flag):
    with pytest.raises(BadInput, match=flag):
        bind(NOISY, **arguments)


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [({}, "--augmentation"), ({"augmentation": None, "stages": (Stage(1, image_size=8),)}, "--stages.0.image-size")],
)
def test_texts_refuse_what_is_for_images(arguments, flag):
    with pytest.raises(BadInput, match=flag):
        bind(Recurrent(), make_texts(), **arguments)


def test_a_classifier_of_one_class_is_refused():
    splits = make_splits()
    one = replace(splits, spec=replace(splits.spec, classes=("only",)))
    with pytest.raises(BadInput, match="one class only"):
        bind(MultilayerPerceptron(), one)


@pytest.mark.parametrize(("balance", "ratio"), [(0.5, 5**0.5), (1.0, 5.0)])
def test_rare_classes_weigh_more_and_the_mean_weight_is_one(balance, ratio):
    splits = make_texts()
    _, targets, weights = batch(bind(Recurrent(), splits, augmentation=None, balance=balance), splits.train, range(6))
    assert weights[0] / weights[1] == pytest.approx(ratio)
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_array_equal(targets.argmax(axis=1), splits.train.labels)
    assert len(batch(bind(Recurrent(), splits, augmentation=None), splits.train, range(6))) == 2


def test_texts_become_numbers_of_characters():
    splits = make_texts()
    task = bind(Recurrent(), splits, augmentation=None)
    numbers, _ = task.evaluation(np.array(["Li", "Müxx"]), np.array([0, 1]), np.arange(2))
    known = splits.spec.vocabulary
    expected = [[known.index("L") + 2, known.index("i") + 2, 0], [known.index("M") + 2, known.index("ü") + 2, 1]]
    np.testing.assert_array_equal(numbers[:, :3], expected)
    assert numbers[:, 3].tolist() == [0, 1]
    np.testing.assert_array_equal(task.lengths(splits.train), [8, 5, 6, 2, 3, 5])


def test_an_autoencoder_mends_noise_that_changes_each_epoch():
    splits = make_splits()
    task = bind(NOISY, splits)
    clean = splits.train.inputs[np.arange(4)]
    inputs, targets = batch(task, splits.train, range(4))
    np.testing.assert_allclose(targets, clean / 255, atol=1e-7)
    assert inputs.dtype == np.uint8
    assert not np.array_equal(inputs, clean)
    assert not np.array_equal(inputs, batch(task, splits.train, range(4), epoch=1)[0])
    np.testing.assert_array_equal(inputs, batch(task, splits.train, range(4))[0])


def test_evaluation_spoils_each_row_always_in_the_same_way():
    splits = make_splits()
    task, part = bind(NOISY, splits), splits.val
    rows = np.arange(6)
    together, targets = task.evaluation(part.inputs[rows], part.labels[rows], rows)
    alone, _ = task.evaluation(part.inputs[rows[4:]], part.labels[rows[4:]], rows[4:])
    np.testing.assert_array_equal(together[4:], alone)
    np.testing.assert_allclose(targets, part.inputs[rows] / 255, atol=1e-7)


def test_the_loss_of_knowing_nothing_is_that_of_the_mean_image():
    splits = make_splits()
    images = splits.train.inputs[np.arange(len(splits.train))] / 255
    mean = images.mean(axis=0)
    found, _ = bind(DenseAutoencoder(), splits).chance()
    assert found == pytest.approx(((images - mean) ** 2).mean(), rel=1e-4)
    found, _ = bind(VariationalAutoencoder(), splits).chance()
    entropy = -(images * np.log(mean) + (1 - images) * np.log(1 - mean)).sum(axis=(1, 2, 3)).mean()
    assert found == pytest.approx(entropy, rel=1e-4)
