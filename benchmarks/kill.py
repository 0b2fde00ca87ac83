"""Is a training that was killed at any moment, and then continued, the same bit for bit as an undisturbed one?

usage: python -m benchmarks.kill [--kills 100] [--parallel 2] [--seed 1]

A short deterministic training (dropout, augmentation, averaged weights; a checkpoint every 50 ms) runs undisturbed.
The same command is then started once for each kill, struck by SIGKILL at a random moment, and continued by
``--resume`` in a new process. A third of the kills are aimed at the writing of a checkpoint, a tenth each at start-up
and at evaluation, the others at any moment of the training; the table counts them by what the dead process left on the
disk. Weights and every metric but times must be equal bit for bit, and nothing may be lost, doubled or left behind.
Status 1 if anything is. All runs are in one MLflow database, as a user's are.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from rich.table import Table

from benchmarks.server import inspect
from pipelines import command, reports
from pipelines.fitting import checkpoints
from pipelines.tracking import journal
from pipelines.training import TIMES

ROOT = Path(__file__).resolve().parents[1]

EPOCHS = 12

TRAINING = ("digits-mlp", "--deterministic", "--epochs", str(EPOCHS), "--batch-size", "8")
TRAINING += ("--model.units", "256", "256", "--model.dropout", "0.3", "--augmentation.crop", "1")
TRAINING += ("--optimizer.ema", "0.99")

CHILD = """
import sys
from pipelines import command, train
from pipelines.fitting import checkpoints
checkpoints.INTERVAL = 0.05
command.main(train.main)
"""
"""The command itself, but for the pace of its checkpoints."""

START, NEW, WRITE, WITHIN, BETWEEN, EVALUATION, AFTER = PLACES = (
    "start-up, before there is a run",
    "start-up, before the first checkpoint",
    "within the writing of a checkpoint",
    "training, last checkpoint within an epoch",
    "training, last checkpoint at an epoch's end",
    "evaluation and recording",
    "after the end, while the run's folder is removed",
)
"""Where a kill struck, by what is on the disk afterwards."""


@dataclass
class Options:
    """How many kills."""

    kills: int = 100
    parallel: int = 2
    """Trainings at once."""
    seed: int = 1
    """Of the moments."""


@dataclass
class Training:
    """One training, from its first process to its last."""

    folder: Path
    """Where its journal and checkpoints lie."""
    place: str = ""
    """Where it was struck."""
    run: str = ""
    """Id of the run that it finished as."""
    faults: list[str] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a process of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "output").open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-c", CHILD, *arguments],
                env={**os.environ, "RUNS_FOLDER": str(self.folder / "unfinished")},
                cwd=ROOT,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def any(self, pattern: str) -> list[Path]:
        """What there is of this name in its runs' folders."""
        return list((self.folder / "unfinished").glob(f"*/{pattern}"))

    def trained(self) -> bool:
        """Whether its last epoch is behind it."""
        return any("weights.sha256" in path.read_text() for path in self.any(journal.RECORDS))

    def finish(self, process: subprocess.Popen) -> None:
        """Wait for a process that is to finish the training."""
        status = process.wait(timeout=600)
        if status:
            self.faults.append(f"ended with status {status}:\n{self.said()[-2000:]}")

    def said(self) -> str:
        """What its processes have printed."""
        return (self.folder / "output").read_text(errors="replace")

    def look(self) -> str:
        """Where a kill struck it."""
        if not self.any(journal.HEADER):
            return AFTER if "; see make ui" in self.said() else START
        if self.any("checkpoints/*.new") or len(self.any("checkpoints/*.npz")) > checkpoints.KEPT:
            return WRITE
        if self.trained():
            return EVALUATION
        state = checkpoints.Checkpoints(self.any("checkpoints")[0]).latest()
        if state is None:
            return NEW
        return WITHIN if state.position.in_epoch else BETWEEN


@dataclass
class Pace:
    """Seconds that the parts of an undisturbed training take."""

    start: float
    training: float
    evaluation: float


def undisturbed(training: Training) -> Pace:
    """Carry out the training that the others are compared with."""
    times, process = [time.monotonic()], training.start(*TRAINING)
    for reached in (lambda: training.any("checkpoints/*.npz"), training.trained):
        wait(process, reached, 0.02)
        times.append(time.monotonic())
    training.finish(process)
    times.append(time.monotonic())
    return Pace(*(later - earlier for earlier, later in pairwise(times)))


def wait(process: subprocess.Popen, reached: Callable[[], object], between: float) -> None:
    """Wait for something, or for the end of the process."""
    while process.poll() is None and not reached():
        time.sleep(between)


def strike(training: Training, process: subprocess.Popen, aim: str, pace: Pace, chance: random.Random) -> bool:
    """Kill a process at a random moment of what is aimed at; False where it had ended by itself."""
    if aim == START:
        time.sleep(chance.uniform(0, pace.start))
    elif aim == EVALUATION:
        wait(process, training.trained, 0.01)
        time.sleep(chance.uniform(0, pace.evaluation))
    else:
        wait(process, lambda: training.any("checkpoints/*.npz"), 0.01)
        time.sleep(chance.uniform(0, pace.training))
    if aim == WRITE:
        wait(process, lambda: training.any("checkpoints/*.new"), 0.0005)
        time.sleep(chance.uniform(0, 0.002))
    process.kill()
    return process.wait() < 0


def kill_and_continue(folder: Path, aim: str, pace: Pace, seed: str) -> Training:
    """Carry out a training that is killed once."""
    chance, training = random.Random(seed), Training(folder)
    process = training.start(*TRAINING)
    while not strike(training, process, aim, pace, chance):  # too late: again, at another moment
        shutil.rmtree(folder)
        process = training.start(*TRAINING)
    training.place = training.look()
    runs = [path.parent.name for path in training.any(journal.HEADER)]
    if training.place != AFTER:
        training.finish(training.start(TRAINING[0], "--resume", *runs) if runs else training.start(*TRAINING))
    return training


def compare(client: object, training: Training, like: Training) -> None:
    """Add to a training's faults whatever differs from the undisturbed one."""
    training.run = (re.findall("run ([0-9a-f]{32}); see", training.said()) or [""])[-1]
    if not training.run:
        training.faults.append("has not finished")
        return
    run, other = client.get_run(training.run), client.get_run(like.run)
    found = inspect(client, run, other, EPOCHS)
    # The machine's load is measured every ten seconds, if a process lives that long.
    training.faults += [f"lost: {name}" for name in found.lost if not name.startswith("system/")]
    training.faults += [f"doubled: {name}" for name in found.doubled]
    if run.data.tags.get("weights.sha256") != other.data.tags["weights.sha256"]:
        training.faults.append("other weights")
    for name in other.data.metrics:
        if not name.startswith(("system/", *TIMES)):
            mine, others = history(client, training, name), history(client, like, name)
            training.faults += [f"{name}: {a}, not {b}" for a, b in zip(mine, others, strict=False) if a != b][:1]
    if (training.folder / "unfinished" / training.run).exists():
        training.faults.append("its folder is left")


def history(client: object, training: Training, name: str) -> list[tuple[int, float]]:
    """Steps and values of a metric."""
    return sorted((point.step, point.value) for point in client.get_metric_history(training.run, name))


def aims(kills: int) -> list[str]:
    """What each kill is aimed at."""
    some = max(kills // 10, 1)
    special = [WRITE] * -(-kills // 3) + [START] * some + [EVALUATION] * some
    return (special + [WITHIN] * max(kills - len(special), 0))[:kills]


def carry_out(options: Options, folder: Path, console: object) -> list[Training]:
    """Train undisturbed, then kill and compare; returns the killed trainings."""
    import mlflow

    like = Training(folder / "undisturbed")
    pace = undisturbed(like)
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    compare(client, like, like)
    if like.faults:
        raise command.RunFailed(f"the undisturbed training: {'; '.join(like.faults)}")
    console.print(
        f"undisturbed: {pace.start:.1f} s to the first checkpoint, {pace.training:.1f} s, {pace.evaluation:.1f} s"
    )
    with ThreadPoolExecutor(options.parallel) as pool:
        started = [
            pool.submit(kill_and_continue, folder / str(number), aim, pace, f"{options.seed}/{number}")
            for number, aim in enumerate(aims(options.kills), start=1)
        ]
        killed = []
        for number, done in enumerate(as_completed(started), start=1):
            training = done.result()
            killed.append(training)
            compare(client, training, like)
            verdict = "; ".join(training.faults) or "equal"
            console.print(f"{number} of {options.kills}, kill {training.folder.name}: {training.place}: {verdict}")
    return killed


def main(arguments: list[str]) -> None:
    options = command.parse(Options, arguments, "python -m benchmarks.kill", __doc__)
    command.start_backend()  # quietly; models are loaded here
    console, start = reports.console(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        os.environ["DATA_CACHE"] = f"{folder}/cache"
        import mlflow

        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
        killed = carry_out(options, Path(folder), console)
    table = Table(title=f"{options.kills} kills, {time.monotonic() - start:.0f} s", title_justify="left")
    for column in ("where the kill struck", "kills", "equal"):
        table.add_column(column, justify="left" if column.startswith("where") else "right")
    for place in PLACES:
        here = [training for training in killed if training.place == place]
        table.add_row(place, str(len(here)), str(sum(not training.faults for training in here)))
    equal = sum(not training.faults for training in killed)
    table.add_section()
    table.add_row("all", str(len(killed)), str(equal))
    console.print(table)
    if equal < options.kills:
        raise command.RunFailed(f"{options.kills - equal} of {options.kills} continued trainings differ")


if __name__ == "__main__":
    command.main(main)
