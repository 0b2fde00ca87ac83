import hashlib

import numpy as np
import pytest

from data import standin


@pytest.fixture(scope="module")
def drawn():
    return standin.draw(0, 1_000, 400)


def checksum(arrays):
    sha = hashlib.sha256()
    for key in ("x_train", "y_train", "x_test", "y_test"):
        sha.update(arrays[key].tobytes())
    return sha.hexdigest()


def test_draw_gives_these_bytes_on_every_machine():
    assert checksum(standin.draw(0, 40, 20)) == "156c5a80b2482df82ec13d47abc0b5781dd2d478bc7c89e9ed128d3c958709ed"


def test_same_seed_gives_the_same_bytes_whatever_was_drawn_before():
    first = checksum(standin.draw(3, 30, 10))
    np.random.seed(1)
    standin.draw(4, 10, 10)
    assert checksum(standin.draw(3, 30, 10)) == first


def test_other_seed_gives_other_images():
    first, second = (standin.draw(seed, 20, 20) for seed in (0, 1))
    for key in ("x_train", "x_test"):
        assert not np.array_equal(first[key], second[key])


def test_number_of_training_images_does_not_change_the_test_images():
    assert np.array_equal(standin.draw(0, 10, 20)["x_test"], standin.draw(0, 30, 20)["x_test"])


def test_images_are_bytes_of_three_channels(drawn):
    assert drawn["x_train"].shape == (1_000, 32, 32, 3)
    assert drawn["x_test"].shape == (400, 32, 32, 3)
    assert drawn["y_train"].shape == (1_000,)
    assert drawn["y_test"].shape == (400,)
    assert {array.dtype for array in drawn.values()} == {np.dtype(np.uint8)}


def test_classes_are_balanced_and_shuffled(drawn):
    for split, count in (("train", 100), ("test", 40)):
        assert np.bincount(drawn[f"y_{split}"]).tolist() == [count] * 10
        assert len(np.unique(drawn[f"y_{split}"][:50])) == 10


def test_no_image_occurs_twice(drawn):
    images = np.concatenate([drawn["x_test"], drawn["x_train"][:400]])
    assert len({image.tobytes() for image in images}) == 800


def test_images_use_the_whole_range(drawn):
    levels = np.bincount(drawn["x_train"].ravel(), minlength=256)
    assert np.count_nonzero(levels) == 256
    assert drawn["x_train"].std((1, 2, 3)).min() > 1


def test_linear_model_beats_chance_but_is_far_from_solving_it(drawn):
    from sklearn.linear_model import LogisticRegression

    def features(images):
        small = images.reshape(-1, 8, 4, 8, 4, 3).mean((2, 4))
        return small.reshape(len(images), -1) / 255 - 0.5

    model = LogisticRegression(C=0.01, max_iter=500).fit(features(drawn["x_train"]), drawn["y_train"])
    accuracy = model.score(features(drawn["x_test"]), drawn["y_test"])
    assert 0.14 < accuracy < 0.5
