"""How near a training comes to what this machine multiplies at best, and where the rest of a step goes.

usage: python -m benchmarks.ceiling [RECIPE] [SECONDS]

The ceiling is the rate of products of square matrices. The training is that of the recipe's last stage, on one ready
batch. Its operations are those of its convolutions and dense layers, forward, and as many for the gradient of the
weights and for that of the inputs, where something before learns; all else is counted as nothing. Each layer is then
timed by itself, forward and backward, on random inputs of its own shape, and the optimizer on random gradients:
together they need not take what the step takes, in which some of them are fused or run side by side. Last, a step as
trained: with its input, which threads beside it make ready, and its callbacks. Needs TensorFlow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from benchmarks.work import at_size, median, operations, product_rate, step_seconds, timed_steps
from pipelines import command, recipes

if TYPE_CHECKING:
    import keras
    from rich.console import Console

    from data.spec import Splits
    from pipelines.settings import Recipe


def layer_seconds(layer: object, count: int, seconds: float, first: bool) -> float:
    """Of its forward and backward pass, on random inputs; of the first that learns, not back to its inputs."""
    import tensorflow as tf

    given = layer.input
    shape = (count, *given.shape[1:])
    if given.dtype == "uint8":
        values = tf.cast(tf.random.uniform(shape, 0, 256, "int32"), "uint8")
    else:
        values = tf.cast(tf.random.normal(shape), given.dtype)

    @tf.function
    def step() -> object:
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = layer(values, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, "float32"))
            wanted = [values] * (not first) + [weight.value for weight in layer.trainable_weights]
        return [*(gradient for gradient in tape.gradient(loss, wanted) if gradient is not None), outputs]

    return median(step, seconds)


def optimizer_seconds(model: object, seconds: float) -> float:
    """An update of all weights."""
    import tensorflow as tf

    gradients = [tf.random.normal(weight.shape) for weight in model.trainable_weights]
    update = tf.function(lambda: model.optimizer.apply(gradients, model.trainable_weights))

    def updated() -> object:
        update()
        return model.optimizer.iterations.value

    return median(updated, seconds)


def trained_seconds(recipe: Recipe, splits: Splits, console: Console) -> float:
    """Of a step as trained, with its input and its callbacks: the median of an epoch's, the first ones aside."""
    from pipelines.fitting.trainer import Trainer

    recipe = replace(recipe, stages=(replace(recipe.stages[-1], epochs=1),))
    trainer = Trainer(recipe, replace(splits, val=splits.val.take(np.arange(0))), console)
    with timed_steps() as times:
        trainer.fit(lambda metrics, epoch, at: None)
    return step_seconds(times, aside=6)


def parts(model: keras.Model, shape: tuple[int, ...], count: int, seconds: float) -> list[tuple[str, float, float]]:
    """Name, seconds and operations of each layer, and of the optimizer."""
    rows = [
        (layer.name, layer_seconds(layer, count, seconds, not learned), products)
        for layer, products, learned in operations(at_size(model, shape), count)
    ]
    return [*rows, ("optimizer", optimizer_seconds(model, seconds), 0.0)]


def main(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "cifar"
    seconds = float(arguments[1]) if len(arguments) > 1 else 2.0
    recipe = recipes.find(name)
    command.start_backend()

    import data
    from pipelines import reports
    from pipelines.fitting.trainer import Trainer

    console, splits = reports.console(), data.load(recipe.data)
    trainer = Trainer(recipe, splits, console)
    trainer.compile(len(recipe.stages) - 1)
    rates = {precision: product_rate(precision, 3 * seconds) for precision in ("float32", "bfloat16")}
    for precision, rate in rates.items():
        console.print(f"matrix products in {precision}: {rate / 1e9:,.0f} GFLOP/s")
    first = (recipe.epochs - 1) * trainer.batches.steps
    images, targets = trainer.batches(first)
    count, model = len(images), trainer.model
    whole = median(lambda: model.train_on_batch(images, targets), 5 * seconds)
    rows = parts(model, images.shape[1:], count, seconds)
    total, ceiling = sum(row[2] for row in rows), rates[trainer.precision]
    rows += [("all of these", sum(row[1] for row in rows), total), ("the step", whole, total)]
    rows += [("its input, by other threads", median(lambda: trainer.batches(first), seconds), 0.0)]
    rows += [("the step as trained: input, callbacks", trained_seconds(recipe, splits, console), total)]
    table = Table(title=f"{name}, {count} images a step, {trainer.precision}", title_justify="left")
    for column in ("part", "ms", "of the step", "GFLOP", "GFLOP/s", "of the ceiling"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, took, work in rows:
        speed = (f"{work / took / 1e9:,.0f}", f"{work / took / ceiling:.0%}") if work else ("", "")
        table.add_row(part, f"{1e3 * took:.1f}", f"{took / whole:.0%}", f"{work / 1e9:.1f}" if work else "", *speed)
    console.print(table)


if __name__ == "__main__":
    command.main(main)
