"""A recipe's network as one trains it without this project: arrays, fit, one file. What `overhead` compares with.

usage: python -m benchmarks.bare_fit RECIPE EPOCHS BATCH_SIZE
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import data
from pipelines import recipes
from pipelines.augmentation import Augmentation, Moment, resized
from pipelines.fitting.muon import FilterMuon


class Augmented(keras.utils.PyDataset):
    """A stage's batches, made by two threads."""

    def __init__(self, x: np.ndarray, y: np.ndarray, size: int) -> None:
        super().__init__(workers=2)
        self.x, self.y, self.size, self.epoch, self.order = x, y, size, 0, np.arange(len(x))
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.x) // batch_size

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[step * batch_size :][:batch_size]
        x, y = recipe.augmentation(self.x[rows], self.y[rows], Moment(1, self.epoch, step, rows))
        return (resized(x, self.size) if self.size else x), y

    def on_epoch_end(self) -> None:
        """Shuffle."""
        self.epoch += 1
        self.order = np.random.default_rng(self.epoch).permutation(len(self.x))


if __name__ == "__main__":
    name, epochs, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    recipe = recipes.find(name).with_epochs(epochs)
    splits, optimizer = data.load(recipe.data), recipe.optimizer
    one_hot = np.eye(len(splits.spec.classes), dtype=np.float32)
    (x, y), val, test = (
        (part.inputs[np.arange(len(part))], one_hot[part.labels]) for part in (splits.train, splits.val, splits.test)
    )
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if optimizer.name == "filter_muon" else "float32")
    model = recipe.model.build(splits.spec)
    if optimizer.name == "filter_muon":
        model.get_layer("whitening").adapt(x[:5000])
        fall = keras.optimizers.schedules.PolynomialDecay(optimizer.learning_rate, epochs * (len(x) // batch_size), 0.0)
        chosen = FilterMuon(fall, **optimizer.arguments)
    else:
        chosen = keras.optimizers.get(
            {"class_name": optimizer.name, "config": {"learning_rate": optimizer.learning_rate}}
        )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    model.compile(chosen, loss, metrics=["accuracy"])
    begin = time.perf_counter()
    for stage in recipe.stages:
        if recipe.augmentation == Augmentation():
            model.fit(x, y, batch_size, stage.epochs, validation_data=val, verbose=2)
        else:
            model.fit(Augmented(x, y, stage.image_size), epochs=stage.epochs, validation_data=val, verbose=2)
    seconds = time.perf_counter() - begin
    score = model.evaluate(*test, batch_size, verbose=0)
    model.save(Path(tempfile.mkdtemp(), "model.keras"))
    print(json.dumps({"fit": seconds, "accuracy": score[1]}))
