"""A task's examples become batches, by Grain: seeded, in parallel to the training, exact to resume."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from data.spec import Split
from pipelines.augmentation import Moment, resized
from pipelines.command import without_jax

if TYPE_CHECKING:
    import grain

    from pipelines.tasks import Batch, Task

THREADS = 8
"""That make batches, at most; two at least, else half of the processors."""

PREFETCHED = 2
"""Batches that wait ready, for each thread; more only cost memory."""

WINDOW = 16
"""Batches' worth of shuffled examples that are sorted by length together, where lengths differ."""


class TrainingBatches:
    """The training batches by their number in the run: a pure function, so that any one can be made again.

    Each epoch is a permutation of its own. Batches do not cross epochs; the examples left over at an epoch's
    end are dropped, other ones each time. Where examples have lengths, a batch holds similar ones, for little padding.
    """

    def __init__(self, task: Task, split: Split, batch_size: int, seed: int, image_sizes: tuple[int, ...] = ()) -> None:
        """Take what batches are made of.

        Args:
            task: makes the network's inputs and targets.
            split: the examples.
            batch_size: examples of a batch.
            seed: decides order and augmentation.
            image_sizes: side that the images of each epoch are reduced to, 0 for none; epochs past its end have full
                size.
        """
        self.task, self.split, self.batch_size, self.seed, self.image_sizes = task, split, batch_size, seed, image_sizes
        self.lengths = task.lengths(split)
        self._order = lru_cache(maxsize=2)(self._ordered)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return max(1, len(self.split) // self.batch_size)

    def __call__(self, number: int) -> Batch:
        """Inputs and targets of the batch with this number, counted from the start of the run."""
        epoch, position = divmod(int(number), self.steps)
        rows = self._order(epoch)[position]
        moment = Moment(self.seed, epoch, position, rows)
        inputs, *others = self.task.training(self.split.inputs[rows], self.split.labels[rows], moment)
        size = self.image_sizes[epoch] if epoch < len(self.image_sizes) else 0
        return (resized(inputs, size) if size else inputs, *others)

    def dataset(self, start: int, stop: int) -> grain.IterDataset:
        """Batches start to stop, made ahead by threads; NumPy lets go of the interpreter's lock for most of it."""
        return _ahead(self, start, stop)

    def stacks(self, start: int, stop: int, size: int) -> grain.IterDataset:
        """The same, so many at a time along a new first axis; the last stack may be smaller."""

        def stack(number: int) -> Batch:
            first = start + number * size
            batches = [self(each) for each in range(first, min(first + size, stop))]
            return tuple(np.stack(arrays) for arrays in zip(*batches, strict=True))

        return _ahead(stack, 0, -(-(stop - start) // size))

    def _ordered(self, epoch: int) -> np.ndarray:
        """The rows of each batch of an epoch, shape (steps, batch size)."""
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.split))[: self.steps * self.batch_size]
        if self.lengths is None:
            return order.reshape(self.steps, -1)
        window = WINDOW * self.batch_size
        windows = [order[start : start + window] for start in range(0, len(order), window)]
        similar = np.concatenate([rows[np.argsort(self.lengths[rows], kind="stable")] for rows in windows])
        return generator.permutation(similar.reshape(self.steps, -1))


def evaluation_batches(task: Task, split: Split, batch_size: int) -> tuple[grain.IterDataset, int]:
    """All examples once, not augmented, in their order or by their lengths; and the number of batches.

    What is left over is in the first: Keras on JAX spreads all batches over several devices as it can the first, and
    TensorFlow fails where a batch has no example for one of them.
    """
    lengths = task.lengths(split)
    order = np.arange(len(split)) if lengths is None else np.argsort(lengths, kind="stable")
    steps = max(1, len(split) // batch_size)
    first = len(split) - (steps - 1) * batch_size

    def batch(number: int) -> Batch:
        end = first + number * batch_size
        rows = order[end - batch_size if number else 0 : end]
        return task.evaluation(split.inputs[rows], split.labels[rows], rows)

    return _ahead(batch, 0, steps), steps


def _ahead(batch: Callable[[int], object], start: int, stop: int) -> grain.IterDataset:
    with without_jax():
        import grain

    threads = min(max(2, (os.cpu_count() or 2) // 2), THREADS)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=PREFETCHED * threads)
    return grain.MapDataset.range(start, stop).map(batch).to_iter_dataset(options)
