"""Spoiled and hostile files and requests, given to every parser: each must be refused in a line, or read right.

usage: python -m benchmarks.fuzz [MINUTES] [TARGET ...]

Each target has valid files, made on the spot, which are spoiled at random, and files that were made to do harm. What
may come of one: a line that names it and says why it is refused, or a result; the right one, where the file has
checksums.
Everything else is counted as a crash (any other exception, the process's death, 3 GiB of memory), a hang (10 s), an
execution (a command, a connection, a library, a file written elsewhere: noticed by an audit hook), or a wrong answer.
Each target runs in a process of its own, for its share of MINUTES (10). Status 1 if there is any fault; the files are
kept.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from rich.table import Table

from benchmarks.fuzzing import TARGETS
from benchmarks.fuzzing.oracle import OUTCOMES, Guard, bound_memory, fuzz
from benchmarks.server import ROOT

ROUND = 100
"""Examples between two looks at the clock."""

SHOWN = 5
"""Faults of a target that are told."""

HERE = "--here"
"""Has one target run in this process."""


def run_here(name: str, seconds: float, place: Path) -> None:
    """Fuzz a target, and print what came of it as JSON."""
    import faulthandler

    warnings.simplefilter("ignore")
    target = TARGETS[name]
    faulthandler.enable()
    os.environ["DATA_CACHE"] = str(place / "cache")
    guard = Guard(place)
    fuzz(target, place, 20, 0)  # imports what is imported late
    guard.install()
    if target.bounded:
        bound_memory()
    outcomes, faults, number, end = Counter(), [], 1, time.monotonic() + seconds
    while time.monotonic() < end:
        found, said = fuzz(target, place, ROUND, number, guard)
        outcomes, faults, number = outcomes + found, faults + said, number + 1
    print(json.dumps([outcomes, faults]))


def run_apart(name: str, seconds: float, place: Path) -> tuple[Counter, list[str]]:
    """The same in a process of its own, whose death is a crash."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "KERAS_BACKEND": "numpy"}
    command = [sys.executable, "-m", "benchmarks.fuzz", HERE, name, str(seconds), str(place)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    try:
        outcomes, faults = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Counter(crash=1), [f"{name}: ended with {done.returncode}, files in {place}\n{done.stderr[-3000:]}"]
    return Counter(outcomes), faults


def main(arguments: list[str]) -> int:
    if arguments[:1] == [HERE]:
        run_here(arguments[1], float(arguments[2]), Path(arguments[3]))
        return 0
    minutes = float(arguments[0]) if arguments else 10.0
    names = [name for name in TARGETS if any(part in name for part in arguments[1:])] or list(TARGETS)
    table = Table("target", "examples", *OUTCOMES, "s")
    faults = []
    for name in names:
        began = time.monotonic()
        place = Path(tempfile.mkdtemp(prefix="fuzz-"))
        outcomes, said = run_apart(name, 60 * minutes / len(names), place)
        faults += said[:SHOWN]
        if not said:
            shutil.rmtree(place)
        counts = [f"{outcomes[outcome]:,}" for outcome in OUTCOMES]
        table.add_row(name, f"{outcomes.total():,}", *counts, f"{time.monotonic() - began:.0f}")
        print(name, dict(outcomes), flush=True)
    for fault in faults:
        print(fault)
    from pipelines import reports

    reports.console().print(table)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
