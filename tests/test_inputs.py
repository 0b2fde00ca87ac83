import numpy as np
import pytest

from data.spec import DataConfig, Split, Splits
from models.dense import MultilayerPerceptron
from pipelines import inputs, tasks
from pipelines.augmentation import Augmentation
from pipelines.settings import Recipe
from tests.conftest import make_spec

NONE = Augmentation()


def batches(count=25, batch_size=10, seed=3, augmentation=NONE, image_sizes=(), balance=0.0):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    split = Split(images, np.arange(count))
    splits = Splits(make_spec((4, 4, 1), count), split, split, split, {"name": "numbers"})
    recipe = Recipe(DataConfig("numbers"), MultilayerPerceptron(), augmentation, balance=balance)
    return inputs.TrainingBatches(tasks.bind(recipe, splits), split, batch_size, seed, image_sizes)


class Words:
    """Examples of different lengths: row n has n % 7 + 1 characters."""

    def __init__(self, count=300):
        self.split = Split(np.array(["x" * (row % 7 + 1) for row in range(count)]), np.arange(count))

    def lengths(self, split):
        return np.char.str_len(split.inputs[np.arange(len(split))])

    def training(self, raw, labels, moment):
        return np.char.str_len(raw), labels

    def evaluation(self, raw, labels, rows):
        return np.char.str_len(raw), labels


def rows(batch):
    return batch[1].argmax(axis=1).tolist()


def test_an_epoch_shows_no_example_twice_and_drops_the_rest():
    made = batches()
    assert made.steps == 2
    shown = rows(made(0)) + rows(made(1))
    assert len(shown) == len(set(shown)) == 20


def test_every_epoch_has_an_order_of_its_own():
    made = batches()
    orders = {tuple(rows(made(2 * epoch)) + rows(made(2 * epoch + 1))) for epoch in range(5)}
    assert len(orders) == 5
    assert set().union(*orders) == set(range(25)), "other examples are dropped each time"


def test_seeds_differ_and_repeat():
    assert rows(batches(seed=1)(0)) != rows(batches(seed=2)(0))
    assert rows(batches(seed=1)(0)) == rows(batches(seed=1)(0))


def test_inputs_and_targets_belong_together():
    images, targets = batches()(3)
    np.testing.assert_array_equal(images[:, 0, 0, 0], targets.argmax(axis=1))


@pytest.mark.parametrize("start", [0, 3, 7])
def test_the_stream_can_be_entered_anywhere(start):
    made = batches(augmentation=Augmentation(crop=1, flip="random"))
    streamed = list(made.dataset(start, 9))
    assert len(streamed) == 9 - start
    for number, (images, targets) in enumerate(streamed, start):
        np.testing.assert_array_equal(images, made(number)[0])
        np.testing.assert_array_equal(targets, made(number)[1])


def test_small_images_come_in_the_epochs_that_ask_for_them():
    made = batches(image_sizes=(2, 0))
    assert [made(number)[0].shape[1] for number in (0, 1, 2, 3, 4)] == [2, 2, 4, 4, 4]


def test_fewer_examples_than_a_batch_are_one_batch():
    assert rows(batches(count=4)(0)) != []
    assert batches(count=4).steps == 1


def test_evaluation_shows_everything_once_in_order():
    made = batches()
    dataset, steps = inputs.evaluation_batches(made.task, made.split, 10)
    shown = list(dataset)
    assert [len(images) for images, _ in shown] == [15, 10]
    assert steps == 2
    assert [row for batch in shown for row in rows(batch)] == list(range(25))


def test_examples_of_similar_length_come_together_each_once():
    words = Words()
    made = inputs.TrainingBatches(words, words.split, 10, seed=1)
    epoch = [made(number) for number in range(made.steps)]
    assert sorted(np.concatenate([labels for _, labels in epoch])) == list(range(300))
    padding = sum(10 * lengths.max() - lengths.sum() for lengths, _ in epoch)
    assert padding < 0.1 * sum(lengths.sum() for lengths, _ in epoch), "unsorted batches would waste half"
    longest = [int(lengths.max()) for lengths, _ in epoch]
    assert longest != sorted(longest), "short ones do not come first"
    assert not np.array_equal(np.concatenate([made(made.steps + n)[1] for n in range(made.steps)]), np.arange(300))


def test_evaluation_of_examples_of_different_length_shows_all_of_them():
    words = Words()
    dataset, steps = inputs.evaluation_batches(words, words.split, 10)
    shown = list(dataset)
    assert len(shown) == steps == 30
    assert sorted(np.concatenate([labels for _, labels in shown])) == list(range(300))
    assert all(len(set(lengths)) <= 2 for lengths, _ in shown)
