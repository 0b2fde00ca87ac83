"""Does a folder of images take memory by its number of files? Ingest and a short training of a small and a large one.

usage: python -m benchmarks.folder_memory [--files 2000 50000] [--size 64]

The files are drawn: JPEG of 96x80 pixels in ten classes. Each step is a process of its own. Shown are two peaks of its
memory: VmHWM, all pages that were in memory at once, as Linux keeps count of them, and RssAnon, sampled every 20 ms,
those of them that belong to no file, which alone can't be had back when others need memory. One that reads files by a
map would show in the first, one that collects pixels in both.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.table import Table

from pipelines import command, reports

ROOT = Path(__file__).resolve().parents[1]

PAUSE = 0.02
"""Seconds between two samples."""


@dataclass
class Options:
    """How many files."""

    files: tuple[int, ...] = (2_000, 50_000)
    """Of each folder."""
    size: int = 64
    """Side in pixels that images are brought to."""


def draw(folder: Path, classes: int, numbers: range) -> None:
    """Files of noise, the same for the same number."""
    import numpy as np
    from PIL import Image

    for number in numbers:
        noise = np.random.default_rng(number).integers(0, 256, (10, 12, 3), dtype=np.uint8)
        path = folder / str(number % classes) / f"{number:06}.jpg"
        Image.fromarray(noise).resize((96, 80)).save(path, quality=85)


def fill(folder: Path, count: int, classes: int = 10) -> None:
    """Draw so many files in so many classes."""
    for name in range(classes):
        (folder / str(name)).mkdir(parents=True)
    parts = [range(start, count, 50) for start in range(50)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(draw, folder, classes), parts))


def watched(line: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Run a stage; returns its seconds, and in MiB VmHWM and the largest RssAnon."""
    begin, whole, own = time.monotonic(), 0, 0
    process = subprocess.Popen([sys.executable, "-m", *line], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = {name: int(size) for name, size in re.findall(r"^(VmHWM|RssAnon):\s+(\d+) kB$", status, re.MULTILINE)}
        whole, own = found.get("VmHWM", whole), max(own, found.get("RssAnon", 0))
        time.sleep(PAUSE)
    if process.returncode:
        raise command.RunFailed(f"{' '.join(line)}: status {process.returncode}")
    return time.monotonic() - begin, whole / 1024, own / 1024


def measure(count: int, size: int, table: Table) -> None:
    """One line for the ingest of so many files, one for a training on them."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "images")
        fill(folder, count)
        uri = f"sqlite:///{place}/mlflow.db"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "DATA_CACHE": f"{place}/cache"}
        data = ["--data.name", "folder", "--data.path", str(folder), "--data.size", str(size)]
        lines = {
            "ingest": ["pipelines.ingest", "folder", "--from", str(folder), "--size", str(size)],
            "training": ["pipelines.train", "cifar-linear", "--steps", "20", *data],
        }
        for name, line in lines.items():
            seconds, whole, own = watched(line, environment)
            pixels = count * size * size * 3 / 2**20
            table.add_row(name, f"{count:,}", *(f"{value:,.0f}" for value in (pixels, whole, own, seconds)))


def main(arguments: list[str]) -> None:
    options = command.parse(Options, arguments, "python -m benchmarks.folder_memory", __doc__)
    table = Table(title=f"Folders of JPEG files of 96x80 pixels, brought to {options.size}", title_justify="left")
    for column in ("step", "files", "pixels in the cache, MiB", "VmHWM, MiB", "RssAnon, MiB", "seconds"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for count in options.files:
        measure(count, options.size, table)
    reports.console().print(table)


if __name__ == "__main__":
    command.main(main)
