"""Datasets that need no network: they come with a library, or our own code draws them."""

import numpy as np

from data import standin
from data.images import ImageDataset
from data.spec import Arrays


def read_digits() -> Arrays:
    """Scikit-learn's handwritten digits (Alpaydin, Kaynak, UCI 1998): 1,797 real grey images of 8x8 pixels.

    They have no official split, so every fifth example of each class is a test example. Values 0 to 16 are
    spread over 0 to 255.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.uint8)
    test = np.zeros(len(labels), bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[::5]] = True
    return {
        "x_train": images[~test],
        "y_train": labels[~test],
        "x_test": images[test],
        "y_test": labels[test],
    }


DATASETS = (
    ImageDataset(
        name="digits",
        shape=(8, 8, 1),
        classes=tuple("0123456789"),
        counts={"train": 1_433, "test": 364},
        draw=read_digits,
    ),
    ImageDataset(
        name="cifar10-standin",
        shape=(32, 32, 3),
        classes=standin.CLASSES,
        counts={"train": 16_000, "test": 4_000},
        draw=standin.draw,
    ),
)
