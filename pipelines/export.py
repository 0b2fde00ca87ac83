"""Export a recorded model to a format that other programs run, and see that it answers the same there.

usage: python -m pipelines.export RUN --format saved_model|litert|onnx [--out FOLDER]

RUN is an id, a run's name, last, or a registered model, models:/NAME@ALIAS or models:/NAME/VERSION. The exported model
takes pixels, or ids of characters, and gives probabilities, or pixels; model.json beside it says all of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from data.errors import BadInput
from pipelines import command

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from pipelines.exporting import Runner
    from pipelines.servable import Servable
    from pipelines.tracking.recorded import Recorded

COMPARED = 100
"""Inputs that the exported model and the recorded one are both asked about."""

TOLERANCE = 1e-4
"""Largest difference of a probability, or of a pixel's value on the scale 0 to 1, that is rounding."""

BATCH = 32
"""Inputs whose latency together is measured, beside that of one."""

REPEATS = 30
"""Of each latency, whose median is shown."""


@dataclass(frozen=True)
class Options:
    """What is exported, and where to."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's id or name, last, models:/NAME@ALIAS or models:/NAME/VERSION."""
    format: Literal["saved_model", "litert", "onnx"]
    """TensorFlow's SavedModel, LiteRT (once TensorFlow Lite), or ONNX."""
    out: Path | None = None
    """Folder; exports/NAME-FORMAT where none is given."""
    trust: bool = False
    """Execute the code that is recorded with the model, and in it; without it nothing of it is executed."""


def main(arguments: list[str]) -> None:
    """Export the model that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.export", __doc__)
    command.start_backend()
    from pipelines import exporting, reports
    from pipelines.tracking import recorded

    console = reports.console()
    exporting.check(options.format)
    found = recorded.find(options.run)
    model, again = (found.load_model(options.trust) for _ in range(2))  # exporting changes the layers of one
    path = exporting.write(again, options.format, options.out or Path("exports") / f"{found.name}-{options.format}")
    inputs, whose = _inputs(found, model)
    show(measure(model, inputs, options.format, path), path, console)
    console.print(f"{path}: {whose}; model.json beside it says what goes in and what comes out", soft_wrap=True)


def _inputs(found: Recorded, model: Servable) -> tuple[np.ndarray, str]:
    """Raw inputs to compare with, and whose they are: the test set's, else such as chance makes."""
    import numpy as np

    import data
    from pipelines import settings

    try:
        splits = data.load(settings.from_dict(found.recipe()).data)
        if splits.manifest["test_sha256"] != found.data()["test_sha256"]:
            raise BadInput("another test set", splits.name, "")
    except BadInput:
        return chance(model), f"compared on {COMPARED} random inputs, for the test set is not here"
    rows = np.arange(min(COMPARED, len(splits.test)))
    return np.asarray(splits.test.inputs[rows]), f"compared on {len(rows)} test inputs"


def chance(model: Servable) -> np.ndarray:
    """Random raw inputs."""
    import numpy as np

    generator = np.random.default_rng(0)
    if model.kind == "images":
        return generator.integers(0, 256, (COMPARED, *model.description["shape"]), np.uint8)
    lengths = generator.integers(1, model.description["longest"] + 1, COMPARED)
    return np.array(["".join(generator.choice(model.description["vocabulary"], length)) + "a" for length in lengths])


@dataclass(frozen=True)
class Measured:
    """An exported model beside the recorded one."""

    difference: float
    """The largest one of their answers, on the scale 0 to 1."""
    rows: tuple[tuple[str, ...], tuple[str, ...]]
    """Of each: name, megabytes, milliseconds for one input and for a batch."""


def measure(model: Servable, raw: np.ndarray, name: str, path: Path) -> Measured:
    """How an exported model's answers, size and speed compare with the recorded one's.

    Args:
        model: the recorded one.
        raw: inputs of both.
        name: the format.
        path: the exported model.

    Raises:
        RunFailed: the exported model can't be loaded.
    """
    import numpy as np

    from pipelines import exporting

    inputs, run = numbers(model, raw, exporting.FORMATS[name].loops), exporting.load(name, path)
    with exporting.quiet():
        difference = float(np.abs(run(inputs) - model.predict(raw)).max()) / (1 if model.classifies else 255)
    kept = model.network.count_params() * 4  # float32
    keras_row = ("Keras", f"{kept / 1e6:.2f}", *_latencies(model.network.predict_on_batch, inputs))
    return Measured(difference, (keras_row, (name, f"{exporting.size(path) / 1e6:.2f}", *_latencies(run, inputs))))


def show(found: Measured, path: Path, console: Console) -> None:
    """Show it.

    Raises:
        RunFailed: the answers differ.
    """
    from rich.table import Table

    title = f"Largest difference {found.difference:.1e} (at most {TOLERANCE:.0e})"
    table = Table(title=title, title_justify="left", min_width=2 + len(title))
    for column in ("", "MB", "ms for 1", f"ms for {BATCH}"):
        table.add_column(column, justify="right" if column else "left")
    for row in found.rows:
        table.add_row(*row)
    console.print(table)
    if not found.difference <= TOLERANCE:
        raise command.RunFailed(f"{path}: its answers differ by {found.difference:.1e}, more than {TOLERANCE:.0e}")


def numbers(model: Servable, raw: np.ndarray, loops: bool) -> np.ndarray:
    """What the network takes: pixels, or ids, where there are no loops filled up to the length of the longest text."""
    import numpy as np

    inputs = model.read(raw)
    if model.kind == "images" or loops:
        return inputs
    return np.pad(inputs, ((0, 0), (0, model.description["longest"] - inputs.shape[1])))


def _latencies(run: Runner, inputs: Sequence) -> list[str]:
    """Median milliseconds for one input, and for a batch."""
    import numpy as np

    found = []
    for count in (1, BATCH):
        some, seconds = np.resize(inputs, (count, *inputs.shape[1:])), []
        run(some)  # the first one of a shape is slow
        for _ in range(REPEATS):
            began = time.perf_counter()
            run(some)
            seconds.append(time.perf_counter() - began)
        found.append(f"{1000 * np.median(seconds):.2f}")
    return found


if __name__ == "__main__":
    command.main(main)
