"""The machine's load beside a run, by MLflow's own monitors, through the run's journal."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.tracking.runs import Run

INTERVAL = 10.0
"""Seconds between two measurements, MLflow's default."""

PREFIX = "system/"


class Load(threading.Thread):
    """Records CPU, memory, disk, network and GPU every few seconds, under MLflow's names."""

    def __init__(self, run: Run) -> None:
        super().__init__(name="load", daemon=True)
        self.run_, self.monitors = run, _monitors()
        self.step = run.journal.last_step(PREFIX)
        self._ended = threading.Event()

    def run(self) -> None:
        """Measure until :meth:`stop`."""
        while not self._ended.wait(INTERVAL):
            measured = {}
            for monitor in self.monitors:
                monitor.collect_metrics()
                measured |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            self.step += 1
            try:
                self.run_.metrics({PREFIX + name: value for name, value in measured.items()}, self.step)
            except OSError:  # a full disk ends the training by itself; this is not the place to say so
                return

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.join()


def _monitors() -> list[object]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        return [*monitors, GPUMonitor()]
    except Exception:  # however NVIDIA's library says that there is no GPU
        return monitors
