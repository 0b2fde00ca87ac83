"""How time and memory grow with images, epochs, recorded runs, classes and trials.

usage: python -m benchmarks.growth WHAT [SIZE ...]

WHAT, with the sizes that it takes if none are given:
  images   10,000, 100,000, 1,000,000 files of 96x80 pixels in a folder, brought to 32: ingest, then 600 steps
  epochs   1, 10, 100, 1,000 epochs of one step
  runs     10, 100, 1,000, 10,000 in the store: a short training, finding the last run, comparing two
  classes  10, 100, 1,000, 20 images each: a training of one epoch with its report
  trials   10, 50, 500 of a random search, an epoch each
Each size has a store of its own, and each command a process. Memory is the most that was in memory at once.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
import uuid
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import processes
from benchmarks.folder_memory import fill
from data.errors import BadInput
from pipelines import command

TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")
"""Of MLflow's database that tell of a run."""

LAST = """
import time
from pipelines.tracking import recorded, store
begin = time.perf_counter()
store.connect()
recorded.find("last")
print(time.perf_counter() - begin)
"""

IMAGES_IN_CLASS = 20


def images(size: int, place: Path) -> list[str]:
    """A folder of files."""
    fill(place / "images", size)
    environment = processes.environment(place, DATA_CACHE=str(place / "cache"))
    asked = f"-m pipelines.ingest folder --from {place}/images --size 32"
    ingest = processes.run(asked.split(), environment)
    data = f"--data.name folder --data.path {place}/images --data.size 32"
    asked = f"-m pipelines.train cifar-lenet {data} --batch-size 500 --steps 600 --epochs 1000"
    ran = processes.run(asked.split(), environment)
    speed = re.findall(r"([\d,]+)/s", ran.output)[-1]
    return [*(f"{value:,.0f}" for value in (ingest.seconds, ingest.memory)), speed, f"{ran.memory:,.0f}"]


def epochs(size: int, place: Path) -> list[str]:
    """A tiny training of so many epochs."""
    one = _epochs(1, place)
    ran = _epochs(size, place) if size > 1 else one
    further = f"{(ran.seconds - one.seconds) / (size - 1):.3f}" if size > 1 else ""
    return [f"{ran.seconds:.1f}", further, f"{ran.memory:,.0f}"]


def _epochs(size: int, place: Path) -> processes.Ran:
    asked = f"-m pipelines.train digits-mlp --batch-size 2000 --epochs {size}"
    return processes.run(asked.split(), processes.environment(place))


def runs(size: int, place: Path) -> list[str]:
    """A store of two real runs and copies of one of them."""
    environment, seeds = processes.environment(place), (1, 2)
    asked = [f"-m pipelines.train digits-mlp --epochs 2 --seed {seed}" for seed in seeds]
    pair = [re.search(r"run ([0-9a-f]{32})", processes.run(line.split(), environment).output)[1] for line in asked]
    copy(place / "mlflow.db", pair[0], size - len(pair))
    began = processes.run(asked[0].split(), environment)
    last = float(processes.run(["-c", LAST], environment).output.split()[-1])
    compared = processes.run(["-m", "pipelines.compare", *pair], environment)
    return [f"{seconds:.2f}" for seconds in (began.seconds, last, compared.seconds)]


def copy(database: Path, run: str, count: int) -> None:
    """Write a run's rows so many times more, each time under a new id."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for name in TABLES:
            found = connection.execute(f"SELECT * FROM {name} WHERE run_uuid = ?", (run,))
            column = [field[0] for field in found.description].index("run_uuid")
            rows, places = found.fetchall(), ",".join("?" * len(found.description))
            copies = (
                (*row[:column], uuid.uuid5(uuid.NAMESPACE_OID, str(number)).hex, *row[column + 1 :])
                for number in range(count)
                for row in rows
            )
            connection.executemany(f"INSERT INTO {name} VALUES ({places})", copies)


def classes(size: int, place: Path) -> list[str]:
    """A folder of so many classes."""
    fill(place / "images", IMAGES_IN_CLASS * size, size)
    environment = processes.environment(place, DATA_CACHE=str(place / "cache"))
    data = f"--data.name folder --data.path {place}/images --data.size 32"
    processes.run(f"-m pipelines.ingest folder --from {place}/images --size 32".split(), environment)
    ran = processes.run(f"-m pipelines.train cifar-lenet {data} --epochs 1".split(), environment)
    fitted = float(re.search(r"trained in (\d+) s", ran.output)[1])
    return [f"{ran.seconds:.1f}", f"{ran.seconds - fitted:.1f}", f"{ran.memory:,.0f}"]


def trials(size: int, place: Path) -> list[str]:
    """A search of so many trials."""
    asked = f"-m pipelines.tune digits-mlp --strategy random --trials {size} --epochs 1"
    ran = processes.run(asked.split(), processes.environment(place))
    return [f"{ran.seconds:.0f}", f"{ran.seconds / size:.2f}", f"{ran.memory:,.0f}"]


KINDS = {
    images: ((10_000, 100_000, 1_000_000), ("ingest, s", "its memory, MiB", "training, images/s", "its memory, MiB")),
    epochs: ((1, 10, 100, 1_000), ("whole command, s", "each further epoch, s", "memory, MiB")),
    runs: ((10, 100, 1_000, 10_000), ("short training, s", "finding the last, s", "comparing two, s")),
    classes: ((10, 100, 1_000), ("whole command, s", "its training aside, s", "memory, MiB")),
    trials: ((10, 50, 500), ("whole command, s", "a trial, s", "memory, MiB")),
}
"""The sizes and the columns of each."""


def main(arguments: list[str]) -> None:
    kinds = {kind.__name__: kind for kind in KINDS}
    if not arguments or arguments[0] not in kinds:
        raise BadInput("names nothing that grows", " ".join(arguments) or "WHAT", f"give one of {', '.join(kinds)}")
    kind = kinds[arguments[0]]
    usual, columns = KINDS[kind]
    table = Table()
    for column in (arguments[0], *columns):
        table.add_column(column, justify="right")
    for size in map(int, arguments[1:]) if arguments[1:] else usual:
        with tempfile.TemporaryDirectory() as place:
            table.add_row(f"{size:,}", *kind(size, Path(place)))
    Console().print(table)


if __name__ == "__main__":
    command.main(main)
