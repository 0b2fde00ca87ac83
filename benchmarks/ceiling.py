"""How near a training comes to what this machine multiplies at best, and where the rest of a step goes.

usage: python -m benchmarks.ceiling [RECIPE] [SECONDS]

The ceiling is the rate of products of square matrices. The training is that of the recipe's last stage, on one ready
batch. Its operations are those of its convolutions and dense layers, forward, and twice as many backward; all else is
counted as nothing. Each layer is then timed by itself, forward and backward, on random inputs of its own shape, and the
optimizer on random gradients: together they need not take what the step takes, in which some of them are fused or run
side by side. Needs TensorFlow.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from pipelines import command, recipes

SIDES = (1024, 2048, 4096)
"""Of the matrices; the best rate counts."""

BACKWARD = 2
"""Products of a layer's backward pass, as large as the forward one: for the gradients of its weights and its inputs."""


def median(act: Callable[[], object], seconds: float) -> float:
    """The median time of all that fit in some seconds, three at least; a first one, which compiles, does not count."""
    import tensorflow as tf

    act()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        begin = time.perf_counter()
        act()
        tf.test.experimental.sync_devices()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def product_rate(precision: str, seconds: float) -> float:
    """Operations a second of matrix products."""
    import tensorflow as tf

    rates = []
    for side in SIDES:
        factor = tf.cast(tf.random.normal((side, side)), precision)
        multiply = tf.function(lambda factor=factor: factor @ factor)
        rates.append(2 * side**3 / median(multiply, seconds / len(SIDES)))
    return max(rates)


def operations(layer: object, count: int) -> float:
    """Of a layer's forward pass for so many examples."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0.0
    places = np.prod(layer.output.shape[1:-1]) if len(kernel.shape) == 4 else 1
    return 2.0 * count * float(np.prod(kernel.shape)) * float(places)


def layer_seconds(layer: object, count: int, seconds: float) -> float:
    """Of its forward and backward pass, on random inputs."""
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
            wanted = [values] * values.dtype.is_floating + [weight.value for weight in layer.trainable_weights]
        return outputs, [gradient for gradient in tape.gradient(loss, wanted) if gradient is not None]

    return median(step, seconds)


def optimizer_seconds(model: object, seconds: float) -> float:
    """An update of all weights."""
    import tensorflow as tf

    gradients = [tf.random.normal(weight.shape) for weight in model.trainable_weights]
    return median(tf.function(lambda: model.optimizer.apply(gradients, model.trainable_weights)), seconds)


def main(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "cifar"
    seconds = float(arguments[1]) if len(arguments) > 1 else 2.0
    recipe = recipes.find(name)
    command.start_backend()

    from rich.table import Table

    import data
    from pipelines import reports
    from pipelines.fitting.trainer import Trainer

    console = reports.console()
    trainer = Trainer(recipe, data.load(recipe.data), console)
    trainer.compile(len(recipe.stages) - 1)
    rates = {precision: product_rate(precision, 3 * seconds) for precision in ("float32", "bfloat16")}
    for precision, rate in rates.items():
        console.print(f"matrix products in {precision}: {rate / 1e9:,.0f} GFLOP/s")
    images, targets = trainer.batches((recipe.epochs - 1) * trainer.batches.steps)
    count, model = len(images), trainer.model
    whole = median(lambda: model.train_on_batch(images, targets), 5 * seconds)

    rows = []
    shaped = _at_size(model, images.shape[1:])
    for layer in shaped.layers[1:]:
        forward = operations(layer, count)
        passes = 1 + BACKWARD * bool(layer.trainable_weights)
        rows.append((layer.name, layer_seconds(layer, count, seconds), passes * forward))
    rows.append(("optimizer", optimizer_seconds(model, seconds), 0.0))
    total, ceiling = sum(row[2] for row in rows), rates[trainer.precision]
    table = Table(title=f"{name}, {count} images a step, {trainer.precision}", title_justify="left")
    for column in ("part", "ms", "of the step", "GFLOP", "GFLOP/s", "of the ceiling"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, took, work in [*rows, ("all of these", sum(row[1] for row in rows), total), ("the step", whole, total)]:
        speed = (f"{work / took / 1e9:,.0f}", f"{work / took / ceiling:.0%}") if work else ("", "")
        table.add_row(part, f"{1e3 * took:.1f}", f"{took / whole:.0%}", f"{work / 1e9:.1f}" if work else "", *speed)
    console.print(table)
    console.print(f"{count / whole:,.0f} images/s, {total / whole / 1e9:,.0f} GFLOP/s, {total / whole / ceiling:.0%}")


def _at_size(model: object, shape: tuple[int, ...]) -> object:
    """The network for images of one size: its layers then know theirs."""
    import keras

    return keras.models.clone_model(model, input_tensors=keras.Input(shape, dtype="uint8"))


if __name__ == "__main__":
    main(sys.argv[1:])
