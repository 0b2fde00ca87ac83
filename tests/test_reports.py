import numpy as np
import pytest

from data.spec import Split
from pipelines.reports import classification, figures, training_figures
from pipelines.servable import softmax
from tests.conftest import make_spec


def outputs(count=300, classes=10, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    logits = generator.normal(size=(count, classes)) + 2.5 * np.eye(classes)[labels]
    return softmax(logits), labels.astype(np.uint8)


def report(count=300, classes=10, notice=""):
    probabilities, labels = outputs(count, classes)
    images = np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    spec = make_spec((8, 8, 3), classes)
    return classification.report(probabilities, Split(images, labels), spec, notice), probabilities, labels


def test_metrics_agree_with_their_definitions():
    found, probabilities, labels = report()
    right = probabilities.argmax(1) == labels
    ranks = (probabilities > probabilities[np.arange(300), labels][:, None]).sum(axis=1)
    assert found.metrics["accuracy"] == pytest.approx(right.mean())
    assert found.metrics["top3_accuracy"] == pytest.approx((ranks < 3).mean())
    assert found.metrics["top5_accuracy"] == pytest.approx((ranks < 5).mean())
    assert found.metrics["loss"] == pytest.approx(-np.log(probabilities[np.arange(300), labels]).mean(), rel=1e-5)
    f1 = []
    for label in range(10):
        hits = (right & (labels == label)).sum()
        f1.append(2 * hits / ((labels == label).sum() + (probabilities.argmax(1) == label).sum()))
    assert found.metrics["macro_f1"] == pytest.approx(np.mean(f1))


def test_the_interval_is_wilson_s():
    # Wilson (1927) for 90 of 100: 0.8256 to 0.9448.
    probabilities = np.tile([[0.9, 0.1]], (100, 1))
    found = classification.scores(probabilities, np.array([0] * 90 + [1] * 10))
    assert found["accuracy_low"] == pytest.approx(0.8256, abs=1e-4)
    assert found["accuracy_high"] == pytest.approx(0.9448, abs=1e-4)


def test_calibration_error_of_known_cases():
    sure_and_half_right = np.tile([[1.0, 0.0]], (10, 1))
    labels = np.array([0, 1] * 5)
    assert classification.scores(sure_and_half_right, labels)["ece"] == pytest.approx(0.5)
    calibrated = np.tile([[0.5 + 1e-6, 0.5 - 1e-6]], (10, 1))
    assert classification.scores(calibrated, labels)["ece"] == pytest.approx(0.0, abs=1e-5)


def test_few_classes_have_no_top_k():
    probabilities, labels = outputs(60, 3)
    assert not {"top3_accuracy", "top5_accuracy"} & set(classification.scores(probabilities, labels))


def test_every_test_row_is_in_the_predictions():
    found, probabilities, labels = report()
    table = found.predictions
    assert table["row"].tolist() == list(range(300))
    assert table["label"].tolist() == labels.tolist()
    np.testing.assert_allclose(np.stack(table["probabilities"]), probabilities, atol=1e-6)


def test_a_class_that_is_never_predicted_counts_as_zero():
    probabilities = np.tile([[0.6, 0.3, 0.1]], (6, 1))
    table = classification.class_table(probabilities.argmax(1), np.array([0, 0, 1, 1, 2, 2]), ("a", "b", "c"))
    assert table["f1"].tolist() == [0.5, 0, 0]
    assert table["examples"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("classes", [2, 10, 30])
def test_figures_can_be_drawn_and_name_stand_in_data(classes, tmp_path):
    found, *_ = report(300, classes, "STAND-IN DATA: a instead of b. More.")
    assert {"confusion_matrix", "reliability", "per_class_f1", "mistakes"} == set(found.figures)
    for name, figure in found.figures.items():
        assert figure.get_suptitle() == "STAND-IN DATA: a instead of b"
        figure.savefig(tmp_path / f"{name}.png")


def test_a_perfect_model_has_no_gallery_of_mistakes():
    labels = np.arange(20) % 4
    images = np.zeros((20, 4, 4, 1), np.uint8)
    found = classification.report(np.eye(4)[labels], Split(images, labels), make_spec((4, 4, 1), 4), "")
    assert "mistakes" not in found.figures
    assert found.metrics["accuracy"] == 1.0


def test_training_figures_show_filters_that_can_be_seen(tmp_path):
    from models.convolutional import LeNet5
    from models.dense import MultilayerPerceptron

    history = [{"train/loss": 1.0, "val/loss": 1.2, "learning_rate": 0.1}] * 2
    assert "first_layer_filters" in training_figures(history, LeNet5().build(make_spec()), "")
    assert "first_layer_filters" not in training_figures(history, MultilayerPerceptron().build(make_spec()), "")


def named(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("count", [21, 150, 1000])
def test_figures_of_many_classes_name_what_matters_and_stay_readable(count):
    labels = np.repeat(np.arange(count), 5)
    predicted = labels.copy()
    predicted[labels == 7] = 3  # the most frequent confusion, and the class of the lowest F1
    predicted[np.flatnonzero(labels == 9)[:2]] = 8
    classes = tuple(f"class {number}" for number in range(count))
    matrix = figures.confusion(labels, predicted, classes, "")
    assert named(matrix.axes[-1 if count > figures.DRAWN else 1]) == ["class 9 → class 8", "class 7 → class 3"]
    assert any(axes.images for axes in matrix.axes) == (count <= figures.DRAWN)
    f1 = classification.class_table(predicted, labels, classes)["f1"]
    bars = figures.bars(classes, f1, "F1", "")
    worst = named(bars.axes[1] if count > 100 else bars.axes[0])
    assert worst[-4:] == ["class 8", "class 9", "class 3", "class 7"]  # drawn upwards
    assert len({name for axes in bars.axes for name in named(axes)} & {*classes}) <= 100
    for figure in (matrix, bars):
        assert max(figure.get_size_inches()) * figure.dpi < 2700
