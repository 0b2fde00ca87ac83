"""Binarized images, for models of binary pixels: each pixel one fixed draw with its intensity as the probability.

As for the fixed binarization of Larochelle and Murray (The neural autoregressive distribution estimator, AISTATS 2011);
the draw is our own: made once, by NumPy's generator of seed 0, over the training and then the test images in their
order. Thresholding at one half would take the noise away and give lower numbers.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data import embedded, mnist
from data.images import ImageDataset, described
from data.spec import Arrays

BLOCK = 1_000
"""Images that are drawn together; bounds the memory."""


@dataclass(frozen=True)
class BinaryDataset(ImageDataset):
    """Another dataset's images with pixels 0 and 255 only."""

    def arrange(self, raw: Arrays, origin: str, aside: Path) -> tuple[Arrays, dict]:
        """See :meth:`data.images.ImageDataset.arrange`; then draw."""
        arrays, _ = super().arrange(raw, origin, aside)
        generator = np.random.default_rng(0)
        drawn = {key: _drawn(arrays[key], generator) for key in ("x_train", "x_test")}
        arrays |= drawn
        return arrays, described(arrays, self.classes)


def _drawn(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    blocks = (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))
    return np.concatenate([255 * (generator.random(block.shape) < block / 255).astype(np.uint8) for block in blocks])


def _binary(dataset: ImageDataset) -> BinaryDataset:
    fallback = dataset.fallback and f"{dataset.fallback}-binary"
    return BinaryDataset(**{**vars(dataset), "name": f"{dataset.name}-binary", "fallback": fallback})


DATASETS = tuple(
    _binary(dataset) for dataset in (*mnist.DATASETS, *embedded.DATASETS) if dataset.name in ("mnist", "digits")
)
