"""What an MLflow server's outages cost a training: metrics lost or doubled, time, and what its user is told.

usage: python -m benchmarks.outage [EPOCHS]

Real trainings in processes of their own against a real ``mlflow server`` on loopback, which is killed, stopped and
started again. Afterwards the server must hold what an undisturbed run has: each metric at each epoch once, at times
that lie within the run and grow with the epoch; each final metric, parameter, tag and artifact; one model that loads.
The slowdown is the sum of ``epoch_seconds`` over that of the undisturbed run. Status 1 if anything is lost or doubled.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.table import Table

from benchmarks.server import Found, Server, Stage, inspect, runs
from pipelines import command, reports
from pipelines.tracking import store

USUAL = re.compile(
    r"epoch \d+/|initial loss|: digits \(embedded\)|trained in|Test set|[┏┃┡└]|│[^│]+│ +[\d.]+[^│]*│$|^\s*$"
)
"""Lines that every training prints."""

COLUMNS = ("what is done", "what its user sees", "status", "lost", "doubled", "slowdown", "end waits, s")

SCENARIOS = (
    "undisturbed",
    "unreachable",
    "restarted",
    "hanging",
    "back_at_the_end",
    "gone",
    "hanging_for_good",
    "killed",
)
"""Methods of :class:`Bench`, in this order."""


class Bench:
    """The scenarios: each leaves the server running and returns the stages that its user ran."""

    def __init__(self, folder: Path, epochs: int) -> None:
        """Take a folder for all that is written, and the length of the trainings."""
        self.folder, self.epochs = folder, epochs
        self.server, self.place = Server(folder / "server"), folder / "runs"
        self.known: list = []
        self.usual = 0.0
        self.table = Table(title=f"digits-mlp, {epochs} epochs", title_justify="left")
        for column in COLUMNS:
            self.table.add_column(column, overflow="fold")

    def train(self) -> Stage:
        """Start a training, and wait until it has done a part."""
        flags = ("--epochs", str(self.epochs), "--batch-size", "8", "--model.units", "512", "512")
        stage = Stage(self.server, self.place, "train", "digits-mlp", *flags)
        stage.wait_for(f"epoch {self.epochs // 4}/")
        return stage

    def stage(self, module: str, *arguments: str) -> Stage:
        """Run another command."""
        stage = Stage(self.server, self.place, module, *arguments)
        stage.end()
        return stage

    def undisturbed(self) -> list[Stage]:
        """Nothing happens."""
        self.server.start()
        return [self.train()]

    def unreachable(self) -> list[Stage]:
        """The server is down when the training is started."""
        self.server.kill()
        stages = [self.stage("train", "digits-mlp")]
        self.server.start()
        return stages

    def restarted(self) -> list[Stage]:
        """It is killed in mid-training and started again after 15 s."""
        stage = self.train()
        self.server.kill()
        time.sleep(15)
        self.server.start()
        return [stage]

    def hanging(self) -> list[Stage]:
        """It hangs (SIGSTOP) for 20 s in mid-training."""
        stage = self.train()
        self.server.signal(signal.SIGSTOP)
        time.sleep(20)
        self.server.signal(signal.SIGCONT)
        return [stage]

    def back_at_the_end(self) -> list[Stage]:
        """It is killed in mid-training and comes back while the run's end waits for it."""
        stage = self.train()
        self.server.kill()
        stage.wait_for("Test set")
        self.server.start()
        return [stage]

    def gone(self) -> list[Stage]:
        """It is killed in mid-training and comes back after the end; then sync, twice."""
        stage = self.train()
        self.server.kill()
        stage.end()
        self.server.start()
        return [stage, self.stage("sync"), self.stage("sync")]

    def hanging_for_good(self) -> list[Stage]:
        """It hangs from mid-training on, and wakes after the end; then sync."""
        stage = self.train()
        self.server.signal(signal.SIGSTOP)
        stage.end()
        self.server.signal(signal.SIGCONT)
        return [stage, self.stage("sync")]

    def killed(self) -> list[Stage]:
        """The training is killed while the server is away; the server is back, and the training resumed."""
        stage = self.train()
        self.server.kill()
        stage.wait_for(f"epoch {self.epochs // 2}/")
        stage.process.kill()
        stage.end()
        self.server.start()
        return [stage, self.stage("train", "digits-mlp", "--resume", "last")]

    def said(self, stage: Stage) -> Iterator[str]:
        """The lines that not every training prints, shortened."""
        for line in stage.text().splitlines():
            if not USUAL.search(line):
                short = line.replace(str(self.place / "unfinished"), "RUNS").replace(self.server.uri, "SERVER")
                yield re.sub(r"[0-9a-f]{32}", "RUN", re.sub(r"\s*│\s*", " ", short)).strip()

    def carry_out(self, scenario: Callable[[], list[Stage]], client: object) -> Found:
        """Go through a scenario and add its row to the table."""
        stages = scenario()
        statuses, said = zip(*((str(stage.end()), "\n".join(self.said(stage))) for stage in stages), strict=True)
        before, self.known = len(self.known), runs(client)
        made, found, figures = self.known[before:], Found(), [""] * 4
        if made:
            found = inspect(client, made[0], self.known[0], self.epochs)
            found.doubled += ["run"] * (len(made) - 1)
            self.usual = self.usual or found.seconds
            waited = max(stage.waited for stage in stages)
            figures = [_few(found.lost), _few(found.doubled), f"{found.seconds / self.usual:.2f}", f"{waited:.0f}"]
        self.table.add_row(scenario.__doc__, "\n".join(filter(None, said)) or "nothing", ", ".join(statuses), *figures)
        return found


def _few(names: list[str]) -> str:
    return "\n".join([str(len(names)), *names[:3]])


def main(arguments: list[str]) -> None:
    console = reports.console()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), int(arguments[0]) if arguments else 80)
        try:
            command.start_backend()  # quietly; models are loaded here
            import mlflow

            os.environ["MLFLOW_TRACKING_URI"] = bench.server.uri
            os.environ.update(store.SETTINGS)
            mlflow.set_tracking_uri(bench.server.uri)
            found = [bench.carry_out(getattr(bench, name), mlflow.MlflowClient()) for name in SCENARIOS]
        finally:
            bench.server.kill()
    console.print(bench.table)
    if any(one.lost or one.doubled for one in found):
        raise command.RunFailed("something was lost or doubled")


if __name__ == "__main__":
    command.main(main)
