"""Splits and a recipe become batches, by Grain: seeded, in parallel to the training, exact to resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from data.spec import Split
from pipelines.augmentation import Augmentation, Moment, resized

if TYPE_CHECKING:
    import grain

PREFETCHED = 4
"""Batches that wait ready; more only cost memory."""


@dataclass(frozen=True)
class TrainingBatches:
    """The training batches by their number in the run: a pure function, so that any one can be made again.

    Each epoch is a permutation of its own. Batches do not cross epochs; the examples left over at an epoch's
    end are dropped, other ones each time.
    """

    split: Split
    targets: Callable[[np.ndarray], np.ndarray]
    """Makes float32 targets (N, ...) out of the labels (N,)."""
    augmentation: Augmentation
    batch_size: int
    seed: int
    image_sizes: tuple[int, ...] = ()
    """Side that the images of each epoch are reduced to, 0 for none; epochs past its end have full size."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return max(1, len(self.split) // self.batch_size)

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of the batch with this number, counted from the start of the run."""
        epoch, position = divmod(int(number), self.steps)
        order = _permutation(self.seed, epoch, len(self.split))
        rows = order[position * self.batch_size : (position + 1) * self.batch_size]
        moment = Moment(self.seed, epoch, position, rows)
        images, targets = self.augmentation(self.split.inputs[rows], self.targets(self.split.labels[rows]), moment)
        size = self.image_sizes[epoch] if epoch < len(self.image_sizes) else 0
        return resized(images, size), targets

    def dataset(self, start: int, stop: int) -> grain.IterDataset:
        """Batches start to stop, made ahead by threads; NumPy lets go of the interpreter's lock for most of it."""
        return _ahead(self, start, stop)


def evaluation_batches(
    split: Split, targets: Callable[[np.ndarray], np.ndarray], augmentation: Augmentation, batch_size: int
) -> tuple[grain.IterDataset, int]:
    """All examples once, in their order, not augmented; and the number of batches."""

    def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(number * batch_size, min(len(split), (number + 1) * batch_size))
        return augmentation.evaluation_view(split.inputs[rows]), targets(split.labels[rows])

    steps = -(-len(split) // batch_size)
    return _ahead(batch, 0, steps), steps


def _ahead(batch: Callable[[int], object], start: int, stop: int) -> grain.IterDataset:
    import grain

    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=PREFETCHED)
    return grain.MapDataset.range(start, stop).map(batch).to_iter_dataset(options)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)
