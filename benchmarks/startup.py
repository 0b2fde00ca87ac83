"""Seconds until something is there: each stage's --help, and `predict` on one image beside bare Keras.

usage: python -m benchmarks.startup [RUNS]

Medians and ranges of RUNS (5) processes each, in turns. The model is a LeNet of a few steps on CIFAR-10 or its
stand-in, in a new store; the bare script imports Keras, loads the recorded file, and predicts.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import processes
from pipelines import command

STAGES = "ingest augment train transfer tune evaluate compare predict serve export register sync reproduce doctor ui"

BARE = """
import sys
import keras, numpy
from PIL import Image
network = keras.models.load_model(sys.argv[1])
print(network.predict(numpy.asarray(Image.open(sys.argv[2]))[None], verbose=0))
"""

FETCH = """
import sys
import mlflow
from pipelines.tracking.recorded import SERVABLE
mlflow.artifacts.download_artifacts(f"runs:/{sys.argv[1]}/{SERVABLE}", dst_path=sys.argv[2])
"""


def train(place: str, environment: dict[str, str]) -> tuple[str, Path]:
    """A new run's id, and a copy of the file of its network."""
    ran = processes.run(["-m", "pipelines.train", "cifar-lenet", "--epochs", "1", "--steps", "20"], environment)
    run = re.search(r"run ([0-9a-f]{32})", ran.output)[1]
    folder = f"{place}/copy"
    processes.run(["-c", FETCH, run, folder], environment)
    return run, next(Path(folder).rglob("*.keras"))


def main(arguments: list[str]) -> None:
    from PIL import Image

    runs, seconds = int(arguments[0]) if arguments else 5, {}
    with tempfile.TemporaryDirectory() as place:
        environment = processes.environment(place)
        run, file = train(place, environment)
        image = f"{place}/image.png"
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)).save(image)
        lines = {f"{stage} --help": ["-m", f"pipelines.{stage}", "--help"] for stage in STAGES.split()}
        lines |= {
            f"{stage} cifar --help": ["-m", f"pipelines.{stage}", "cifar", "--help"] for stage in ("train", "tune")
        }
        lines |= {
            "predict, one image": ["-m", "pipelines.predict", run, image],
            "bare Keras, one image": ["-c", BARE, str(file), image],
        }
        for _ in range(runs):
            for name, line in lines.items():
                seconds.setdefault(name, []).append(processes.run(line, environment).seconds)
    table = Table(title=f"{runs} processes of each, in turns", title_justify="left")
    table.add_column("")
    table.add_column("seconds", justify="right")
    for name, found in seconds.items():
        table.add_row(name, f"{np.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    ours, bare = (np.median(seconds[name]) for name in [*lines][-2:])
    table.caption = f"predict takes {ours / bare:.2f} times as long as bare Keras"
    Console().print(table)


if __name__ == "__main__":
    command.main(main)
