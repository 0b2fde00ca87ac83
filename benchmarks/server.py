"""A real MLflow server on loopback that can be killed, commands of ours that run against it, and what it then holds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Server:
    """An MLflow server with a store in a folder, in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        """Choose a free port; :meth:`start` starts it."""
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"mlflow server does not start: see {self.folder / 'log'}")
            time.sleep(0.2)

    def command(self) -> list[str]:
        """What it is started by."""
        store = ("--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}")
        files = ("--artifacts-destination", str(self.folder / "artifacts"))
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        return [sys.executable, "-m", "mlflow", "server", *store, *files, *where]

    def _answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.uri}/health", timeout=2).status == 200
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """Send a signal to it and its workers."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Stage:
    """A command of ours under way against a server; what it prints goes to a file."""

    def __init__(self, server: Server, place: Path, module: str, *arguments: str) -> None:
        """Start it; its journals and data lie in a folder."""
        place.mkdir(parents=True, exist_ok=True)
        self.output = place / f"{module}-{time.monotonic_ns()}.txt"
        folders = {"RUNS_FOLDER": str(place / "unfinished"), "DATA_CACHE": str(place.parent / "cache")}
        self.trained, self.waited = None, 0.0
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"pipelines.{module}", *arguments],
                env={**os.environ, **folders, "MLFLOW_TRACKING_URI": server.uri},
                cwd=ROOT,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, words: str) -> None:
        """Wait until it has printed this."""
        while words not in self.text():
            if self.process.poll() is not None:
                raise RuntimeError(f"ended before it said {words!r}:\n{self.text()}")
            time.sleep(0.05)

    def end(self) -> int:
        """Wait for its end; returns its exit status."""
        while self.process.poll() is None:
            if self.trained is None and "trained in" in self.text():
                self.trained = time.monotonic()
            time.sleep(0.05)
        self.waited = self.waited or time.monotonic() - (self.trained or time.monotonic())
        return self.process.returncode

    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")


@dataclass
class Found:
    """What is wrong with runs in a store."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Of all epochs."""


def inspect(client: object, run: object, like: object, epochs: int) -> Found:
    """Compare a finished run with an undisturbed one of the same recipe."""
    found = Found()
    for name in sorted({*like.data.metrics, *run.data.metrics}):
        points = sorted(client.get_metric_history(run.info.run_id, name), key=lambda point: point.step)
        final = [point.step for point in client.get_metric_history(like.info.run_id, name)] == [0]
        last = points[-1].step if points and name.startswith("system/") else epochs
        _compare(name, [point.step for point in points], [0] if final else list(range(1, last + 1)), found)
        if not _orderly([point.timestamp for point in points], run.info):
            found.lost.append(f"{name}: its times")
        if name == "epoch_seconds":
            found.seconds = sum(point.value for point in points)
    found.lost += [f"parameter {name}" for name in like.data.params if name not in run.data.params]
    found.lost += [f"tag {name}" for name in like.data.tags if name not in run.data.tags]
    found.lost += [f"artifact {path}" for path in sorted({*_files(client, like)} - {*_files(client, run)})]
    found.lost += [] if run.info.status == "FINISHED" else [f"status {run.info.status}"]
    _inspect_model(client, run, found)
    return found


def _compare(name: str, there: list[int], steps: list[int], found: Found) -> None:
    found.lost += [f"{name} {step}" for step in steps if step not in there]
    found.doubled += [f"{name} {step}" for step in sorted(set(there)) if there.count(step) > 1 or step not in steps]


def _orderly(times: list[int], info: object) -> bool:
    inside = all(info.start_time <= moment <= (info.end_time or 0) for moment in times)
    return inside and all(before < after for before, after in pairwise(times))


def _files(client: object, run: object, folder: str = "") -> Iterator[str]:
    for item in client.list_artifacts(run.info.run_id, folder):
        if item.is_dir:
            yield from _files(client, run, item.path)
        elif item.file_size:
            yield item.path


def _inspect_model(client: object, run: object, found: Found) -> None:
    import mlflow

    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    linked = [output.model_id for output in run.outputs.model_outputs]
    found.doubled += ["model"] * max(len(models) - 1, len(linked) - 1, 0)
    found.doubled += ["dataset"] * (len(run.inputs.dataset_inputs) - 1)
    try:
        mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    except Exception as error:  # whatever its artifact store raises
        found.lost.append(f"model: {error}")
    if [(model.model_id, model.status) for model in models] != [(name, "READY") for name in linked]:
        found.lost.append("model: its state or its link")


def runs(client: object) -> list:
    """All runs of a store, the oldest first."""
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(numbers, order_by=["attributes.start_time ASC"])
