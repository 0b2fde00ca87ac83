"""Ask a recorded model about inputs of one's own.

usage: python -m pipelines.predict RUN INPUT [INPUT ...]

RUN is an id, a run's name, or last. INPUT is what the model takes: a text, such as a name, or the path of an image;
several of them with commas between; or the path of a file with one a line, which ends in .txt for a model of images.
An autoencoder's reconstructions are written beside the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from data.errors import BadInput, reason
from pipelines import command

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

LIKELIEST = 5
"""Classes that are shown for each input."""


@dataclass(frozen=True)
class Options:
    """Which model, and what it is asked."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's id or name, or last."""
    inputs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Texts, paths of images, or paths of files with one of these a line."""


def main(arguments: list[str]) -> None:
    """Answer for the inputs that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.predict", __doc__)
    if not any(given.strip(" ,") for given in options.inputs):
        raise BadInput("there is nothing to predict", "INPUT=", "give a text, a path, or a file of them")
    command.start_backend()
    from pipelines import reports
    from pipelines.tracking import recorded

    console = reports.console()
    model = recorded.find(options.run).load_model()
    listing = "" if model.description["input"] == "text" else ".txt"
    inputs = [text for given in options.inputs for text in _inputs(given, listing)]
    if not inputs:
        raise BadInput("holds no input", ", ".join(options.inputs), "give a file with one input a line")
    SHOWN[model.description["output"]](inputs, model.predict(inputs), model.classes, console)


def _inputs(given: str, listing: str) -> list[str]:
    """The inputs that are given, or stand in the file that is; the name of one ends in ``listing``."""
    try:
        if len(given) > 4096 or not Path(given).is_file():  # base64 is too long for a path
            parts = given.split(",")
        elif given.endswith(listing):
            parts = Path(given).read_text(encoding="utf-8-sig").splitlines()
        else:
            parts = [given]
    except (OSError, ValueError) as error:
        raise BadInput(f"can't be read ({reason(error)})", given[:60], "give a UTF-8 file, one input a line") from None
    return [part.strip() for part in parts if part.strip()]


def _show_classes(inputs: list[str], found: np.ndarray, classes: tuple[str, ...], console: Console) -> None:
    """The likeliest classes of each input, with their probabilities."""
    from rich.table import Table

    table = Table()
    table.add_column("input", overflow="fold")
    for number in range(min(LIKELIEST, len(classes))):
        table.add_column("likeliest" if not number else f"{number + 1}.")
    for text, probabilities in zip(inputs, found, strict=True):
        best = probabilities.argsort()[::-1][:LIKELIEST]
        table.add_row(text, *(f"{classes[number]} {probabilities[number]:.1%}" for number in best))
    console.print(table)


def _write_images(inputs: list[str], found: np.ndarray, classes: tuple[str, ...], console: Console) -> None:
    """Each reconstruction as NAME-reconstructed.png beside its image."""
    from PIL import Image

    from pipelines.augmentation import to_uint8

    for text, pixels in zip(inputs, found, strict=True):
        place = Path(text).with_name(f"{Path(text).stem}-reconstructed.png")
        image = to_uint8(pixels)
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(place)
        console.print(str(place), soft_wrap=True)


SHOWN = {"softmax": _show_classes, "identity": _write_images, "sigmoid": _write_images}
"""What shows a model's outputs, by their kind."""


if __name__ == "__main__":
    command.main(main)
