"""Networks of keras.applications fine-tuned on a folder of photos, each from a file of weights, without network.

usage: python -m benchmarks.pretrained [NETWORK ...]

For each NETWORK (MobileNetV3Small, EfficientNetV2B0, ResNet50V2): a file of random weights in the layout of the
published ones (Keras' older HDF5), a folder of 150 pictures of three classes, of mixed size and kind (colour, grey,
palette, transparent, turned by EXIF; drawn from CIFAR-10 or its stand-in), and make transfer's command on it in a
process of its own, at the network's own size: four epochs on features, two of the uppermost block. Then the model's
answer for one picture, and what a user without network and without such a file is told.

Random weights say nothing about accuracy: what is measured is that the whole path runs, and how much longer an epoch of
the head is on images, through the frozen network, than on features that were computed once.

Ten minutes on 2 cores.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("MobileNetV3Small", "EfficientNetV2B0", "ResNet50V2")
PER_CLASS = 50
EXAMPLES = 96
"""Of an epoch: three batches of 32, what validation and test leave."""


def weights(name: str, path: Path) -> int:
    """Write random weights of a classifier as Keras 2 wrote those that are published; returns its images' side."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    from models.parts import trunks

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, trunks.application(name))
    return trunks.without_top(name, None).input_shape[1]


def photos(folder: Path) -> None:
    """Pictures of mixed size and kind, in three classes."""
    from PIL import Image

    import data
    from data.spec import DataConfig

    splits = data.load(DataConfig("cifar10"))
    generator = np.random.default_rng(0)
    for label, name in enumerate(splits.spec.classes[:3]):
        (folder / name).mkdir(parents=True)
        rows = np.flatnonzero(splits.train.labels == label)[:PER_CLASS]
        for number, pixels in enumerate(splits.train.inputs[rows]):
            size = tuple(int(side) for side in generator.integers(60, 500, 2))
            image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
            kind = ("RGB", "L", "P", "RGBA", "turned")[number % 5]
            ending = {"RGB": "jpg", "L": "bmp", "P": "gif", "RGBA": "png", "turned": "jpg"}[kind]
            turned = Image.Exif()
            if kind == "turned":
                turned[0x0112] = 6
            image = image if kind in ("RGB", "turned") else image.convert(kind)
            image.save(folder / name / f"{number}.{ending}", exif=turned)


def run(place: Path, *arguments: str) -> tuple[int, str]:
    """Status and output of the command, in a process without a network."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}",
            "RUNS_FOLDER": str(place / "unfinished"),
            "KERAS_HOME": str(place / "keras"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def main(arguments: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from pipelines import command

    command.start_backend()
    table = Table(title=f"{3 * PER_CLASS} pictures", title_justify="left")
    for column in (
        "network",
        "side",
        "status",
        "features/s",
        "an epoch on images, s",
        "on features, s",
        "of a block, s",
    ):
        table.add_column(column, justify="left" if column == "network" else "right")
    with tempfile.TemporaryDirectory() as aside:
        place = Path(aside)
        photos(place / "photos")
        for name in arguments or NETWORKS:
            table.add_row(name, *measured(name, place))
    Console(width=140).print(table)


def measured(name: str, place: Path) -> list[str]:
    """A row of the table."""
    file = place / f"{name}.h5"
    side = weights(name, file)
    source = ("--source.network", name, "--source.weights", str(file))
    data = ("--data.name", "folder", "--data.path", str(place / "photos"), "--data.validation", "0.2")
    stages = ("--stages.0.epochs", "4", "--stages.1.epochs", "2", "--stages.2.epochs", "1", "--steps", "18")
    status, out = run(place, "pipelines.transfer", *source, *data, *stages)
    print(out)
    answer, said = run(place, "pipelines.predict", "last", str(next((place / "photos").glob("*/0.jpg"))))
    print(said)
    print(run(place, "pipelines.transfer", "--source.network", name, *data)[1])  # what is said without the file
    frozen = (
        "--stages.0.blocks",
        "-1",
        "--stages.0.trainable",
        "logits",
        "--optimizer.depth-decay",
        "1",
        "--steps",
        "9",
    )
    _, slow = run(place, "pipelines.transfer", *source, *data, *frozen)
    cached = seconds(out)
    per_second = re.search(r"features of .* s, ([\d,]+)/s", out)[1]
    times = (min(seconds(slow)), min(cached[:4]), min(cached[4:6]))
    return [str(side), f"{status}, {answer}", per_second, *(f"{value:.3f}" for value in times)]


def seconds(out: str) -> list[float]:
    """Of the steps of each epoch, by what a training printed: its examples and its speed."""
    found = re.findall(r"epoch \d+/\d+ .* ([\d,]+)/s  [\d.]+ s$", out, re.MULTILINE)
    return [EXAMPLES / float(speed.replace(",", "")) for speed in found]


if __name__ == "__main__":
    from pipelines import command

    command.main(main)
