"""A command in a process of its own: what it printed, how long it took, how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pipelines import command

ROOT = Path(__file__).resolve().parents[1]

WIDE = "250"
"""Columns of a terminal, so that no line is broken."""


@dataclass
class Ran:
    """A process that ended well."""

    output: str
    seconds: float
    memory: float
    """Most that was in memory at once, MiB."""


def environment(place: str | Path, **further: str) -> dict[str, str]:
    """That of this process, with a new MLflow store in a folder."""
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db", "RUNS_FOLDER": f"{place}/unfinished"}
    return {**os.environ, **own, "COLUMNS": WIDE, **further}


def run(line: list[str], environment: dict[str, str]) -> Ran:
    """Run Python with these arguments in the top folder.

    Raises:
        RunFailed: its status is not 0.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *line], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise command.RunFailed(
            f"{' '.join(line)}: status {os.waitstatus_to_exitcode(status)}: {output.strip().splitlines()[-1:]}"
        )
    return Ran(output, time.perf_counter() - begin, usage.ru_maxrss / 1024)
