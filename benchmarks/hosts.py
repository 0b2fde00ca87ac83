"""Two JAX processes on this machine train one network together, beside one process alone.

usage: python -m benchmarks.hosts [RECIPE] [FLAG ...]

RECIPE (digits-mlp) with these flags (--epochs 200), by the train command: alone; by two processes that meet on the
loopback as hosts do; and by two that are killed halfway and started again. Shown are the seconds, the metrics on the
test set, and the largest difference of a weight from those of the first. Status 1 if one is above 1e-3.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import processes
from pipelines import command

MOST = 1e-3
"""By so much a weight may differ: thousands of steps amplify how sums are rounded."""

RESULT = """
import json, sys
import numpy
from pipelines.tracking import recorded
run = recorded.find("last")
numpy.savez(sys.argv[1], *run.load_model().network.get_weights())
print(json.dumps({name: points[-1][1] for name, points in run.history().items() if name.startswith("test/")}))
"""


def started(line: list[str], environment: dict[str, str]) -> list[subprocess.Popen]:
    """Two hosts' processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    return [
        subprocess.Popen(
            [sys.executable, *line],
            cwd=processes.ROOT,
            env={**environment, **shared, "KERAS_DISTRIBUTION_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]


def finished(hosts: list[subprocess.Popen]) -> None:
    """Wait for both."""
    outputs = [host.communicate()[0] for host in hosts]
    if any(host.returncode for host in hosts):
        raise command.RunFailed("\n".join(outputs)[-3000:])


def alone(line: list[str], environment: dict[str, str]) -> None:
    """One process."""
    processes.run(line, environment)


def together(line: list[str], environment: dict[str, str]) -> None:
    """Two."""
    finished(started(line, environment))


def killed(line: list[str], environment: dict[str, str]) -> None:
    """Two, until half of the epochs are over; then again, to the end."""
    hosts = started(line, environment)
    for shown in hosts[0].stdout:
        at = re.search(r"epoch (\d+)/(\d+) .*train/", shown)
        if at and int(at[1]) > int(at[2]) / 2:
            break
    for host in hosts:
        host.kill()
    for host in hosts:
        host.communicate()
    finished(started([*line[:3], "--resume", "last"], environment))


def main(arguments: list[str]) -> None:
    recipe, flags = (arguments[0], arguments[1:]) if arguments else ("digits-mlp", [])
    line = ["-m", "pipelines.train", recipe, *(flags or ["--epochs", "200"]), "--precision", "float32"]
    table = Table(title=f"{recipe}, JAX, 2 processes on the loopback", title_justify="left")
    for column in ("", "seconds", "test metrics", "largest difference of a weight"):
        table.add_column(column)
    first, worst = None, 0.0
    for way in (alone, together, killed):
        with tempfile.TemporaryDirectory() as place:
            environment = processes.environment(place, KERAS_BACKEND="jax")
            begin = time.perf_counter()
            way(line, environment)
            seconds = time.perf_counter() - begin
            file = Path(place, "weights.npz")
            metrics = json.loads(processes.run(["-c", RESULT, str(file)], environment).output.splitlines()[-1])
            with np.load(file) as arrays:
                weights = [*arrays.values()]
        first = first or weights
        difference = max(float(np.abs(one - other).max()) for one, other in zip(first, weights, strict=True))
        worst = max(worst, difference)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name.count("/") == 1)
        table.add_row(way.__name__, f"{seconds:.1f}", shown, f"{difference:.1e}")
    Console().print(table)
    if worst > MOST:
        raise command.RunFailed(f"weights differ by {worst:.1e}, more than {MOST:.0e}")


if __name__ == "__main__":
    command.main(main)
