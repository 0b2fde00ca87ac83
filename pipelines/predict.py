"""Ask a recorded model about inputs of one's own.

usage: python -m pipelines.predict RUN INPUT [INPUT ...] [--out TABLE]

RUN is an id, a run's name, last, or a registered model, models:/NAME@ALIAS or models:/NAME/VERSION. INPUT is what the
model takes: a text, such as a name, or the path of a file with one a line; of images a file, a folder (all images in
it and below), a quoted pattern such as "photos/**/*.jpg", or a list with one path a line, which ends in .txt; several
with commas between. An autoencoder's reconstructions are written beside the images.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from data.errors import BadInput
from pipelines import command

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from pipelines.prediction import Answers
    from pipelines.servable import Servable

LIKELIEST = 5
"""Classes that are shown for each input."""

SHOWN = 20
"""Inputs that are shown; the others are counted."""

NAMED = 10
"""Faults that are told; the others are counted."""


@dataclass(frozen=True)
class Options:
    """Which model, and what it is asked."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's id or name, last, models:/NAME@ALIAS or models:/NAME/VERSION."""
    inputs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Texts, or paths of images, folders, patterns or lists of them."""
    out: Path | None = None
    """Write all answers, with the probabilities of all classes, to this .csv, .parquet or .json."""
    trust: bool = False
    """Execute the code that is recorded with the model, and in it; without it nothing of it is executed."""


def main(arguments: list[str]) -> None:
    """Answer for the inputs that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.predict", __doc__)
    if not any(given.strip(" ,") for given in options.inputs):
        raise BadInput("there is nothing to predict", "INPUT=", "give a text, a path, or a file of them")
    from pipelines import prediction

    if options.out:
        prediction.check_place(options.out)
    command.start_backend()
    from pipelines import reports
    from pipelines.tracking import recorded

    console = reports.console()
    model = recorded.find(options.run).load_model(options.trust)
    inputs = [text for given in options.inputs for text in prediction.gather(given, model.kind)]
    if not inputs:
        raise BadInput("holds no input", ", ".join(options.inputs), "give a file with one input a line")
    answers = prediction.ask(model, inputs)
    faults = (_classify if model.classifies else _reconstruct)(answers, model, options.out, console)
    if len(faults) == len(inputs):
        raise BadInput(f"none of {len(inputs)} inputs can be read" if len(inputs) > 1 else "", faults[0])
    for fault in faults[:NAMED]:
        print(f"left out: {fault}", file=sys.stderr)
    if len(faults) > NAMED:
        print(f"left out: {len(faults) - NAMED} more", file=sys.stderr)


def _classify(answers: Iterable[Answers], model: Servable, out: Path | None, console: Console) -> list[str]:
    """Show the likeliest classes of each input, and write them all; returns the faults."""
    import numpy as np

    from pipelines import prediction

    parts = [*answers]
    inputs = [text for part in parts for text in part.inputs]
    if inputs:
        found = np.concatenate([part.outputs for part in parts if part.inputs])
        _show(inputs, found, model.classes, console)
        if out:
            prediction.write(out, prediction.table(inputs, found, model.classes), model.classes)
            console.print(f"{out}: {len(inputs):,} answers", soft_wrap=True)
    return [fault for part in parts for fault in part.faults]


def _show(inputs: list[str], found: np.ndarray, classes: tuple[str, ...], console: Console) -> None:
    from rich.table import Table

    table = Table()
    table.add_column("input", overflow="fold")
    for number in range(min(LIKELIEST, len(classes))):
        table.add_column("likeliest" if not number else f"{number + 1}.")
    for text, probabilities in zip(inputs[:SHOWN], found, strict=False):
        best = probabilities.argsort()[::-1][:LIKELIEST]
        table.add_row(text, *(f"{classes[number]} {probabilities[number]:.1%}" for number in best))
    console.print(table)
    _count_rest(inputs, 'ARGS="--out answers.csv" writes them all', console)


def _reconstruct(answers: Iterable[Answers], model: Servable, out: Path | None, console: Console) -> list[str]:
    """Write each reconstruction as NAME-reconstructed.png beside its image; returns the faults."""
    from PIL import Image

    from pipelines import prediction
    from pipelines.augmentation import to_uint8

    if out:
        what = "an autoencoder gives images back, which are written beside those it was given"
        raise BadInput(what, f"--out {out}", "leave it out")
    written, faults = [], []
    for part in answers:
        faults += part.faults
        for text, pixels in zip(part.inputs, part.outputs, strict=True):
            place = Path(text).with_name(f"{Path(text).stem}{prediction.RECONSTRUCTED}.png")
            image = to_uint8(pixels)
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(place)
            written.append(str(place))
    for place in written[:SHOWN]:
        console.print(place, soft_wrap=True)
    _count_rest(written, "beside their images", console)
    return faults


def _count_rest(shown: list[str], remark: str, console: Console) -> None:
    if len(shown) > SHOWN:
        console.print(f"and {len(shown) - SHOWN:,} more: {remark}", soft_wrap=True)


if __name__ == "__main__":
    command.main(main)
