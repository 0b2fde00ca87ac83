import numpy as np
import pytest

from data.spec import Split
from pipelines import inputs
from pipelines.augmentation import Augmentation


def batches(count=25, batch_size=10, seed=3, **arguments):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    split = Split(images, np.arange(count))
    one_hot = np.eye(count, dtype=np.float32)
    augmentation = arguments.pop("augmentation", Augmentation())
    return inputs.TrainingBatches(split, lambda labels: one_hot[labels], augmentation, batch_size, seed, **arguments)


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
    dataset, steps = inputs.evaluation_batches(made.split, made.targets, Augmentation(), 10)
    shown = list(dataset)
    assert [len(images) for images, _ in shown] == [10, 10, 5]
    assert steps == 3
    assert [row for batch in shown for row in rows(batch)] == list(range(25))
