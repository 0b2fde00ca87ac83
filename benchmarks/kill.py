"""Trainings that are killed at any moment and continued, compared bit for bit with an undisturbed one.

usage: python -m benchmarks.kill [--kills 100] [--parallel 2] [--seed 1]

A short deterministic training (dropout, augmentation, averaged weights; a checkpoint every 50 ms) runs undisturbed.
The same command is then started once for each kill, struck by SIGKILL at a random moment, and continued by
``--resume`` in a new process. A third of the kills are aimed at the writing of a checkpoint, a tenth each at start-up
and at evaluation, the others at any step; the table counts them by what the dead process left on the disk. Weights and
every metric but times must be equal bit for bit, and nothing may be lost, doubled or left behind. Status 1 if anything
is. All runs are in one MLflow database, as a user's are.
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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.server import ROOT, inspect
from pipelines import command, reports
from pipelines.fitting import checkpoints
from pipelines.outcomes import TIMES
from pipelines.tracking import journal

EPOCHS, STEPS = 12, 143

TRAINING = f"train digits-mlp --deterministic --epochs {EPOCHS} --batch-size 8 --model.units 256 256".split()
TRAINING += ["--model.dropout", "0.3", "--augmentation.crop", "1", "--optimizer.ema", "0.99"]

CHILD = """
import sys
from importlib import import_module
from pipelines import command
from pipelines.fitting import checkpoints
checkpoints.INTERVAL = 0.05
command.main(import_module(f"pipelines.{sys.argv.pop(1)}").main)
"""
"""A stage as its command runs it, but for the pace of its checkpoints."""

NO_RUN, START, WRITE, WITHIN, BETWEEN, EVALUATION, AFTER = PLACES = (
    "start-up, before there is a run",
    "start-up, before the first checkpoint",
    "within the writing of a checkpoint",
    "training, last checkpoint within an epoch",
    "training, last checkpoint at an epoch's end",
    "evaluation and recording",
    "after the end, before all was sent",
)
"""Where a kill strikes."""


@dataclass
class Options:
    """How many kills, how many trainings at once, and the seed of the moments."""

    kills: int = 100
    parallel: int = 2
    seed: int = 1


class Training:
    """One training in a folder of its own, from its first process to its last."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, ""

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "RUNS_FOLDER": str(self.folder / "unfinished")}
        with (self.folder / "output").open("ab") as file:
            output = {"stdout": file, "stderr": subprocess.STDOUT}
            return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=environment, cwd=ROOT, **output)

    def find(self, pattern: str) -> list[Path]:
        """What there is of this name in its run's folder."""
        return list((self.folder / "unfinished").glob(f"*/{pattern}"))

    def step(self) -> int:
        """The step of its newest checkpoint."""
        return max((int(path.stem) for path in self.find("checkpoints/*.npz")), default=0)

    def trained(self) -> bool:
        """Whether its last step is behind it."""
        return any("weights.sha256" in path.read_text() for path in self.find(journal.RECORDS))

    def said(self) -> str:
        """What it has printed."""
        return (self.folder / "output").read_text(errors="replace")

    def look(self) -> str:
        """Where a kill struck it, by what is on the disk."""
        if not self.find(journal.HEADER):
            return AFTER if "; see make ui" in self.said() else NO_RUN
        if self.find("checkpoints/*.new") or len(self.find("checkpoints/*.npz")) > checkpoints.KEPT:
            return WRITE
        if self.trained():
            ended = journal.read_status(self.find(journal.HEADER)[0].parent) == "FINISHED"
            return AFTER if ended else EVALUATION
        if not self.step():
            return START
        return WITHIN if self.step() % STEPS else BETWEEN

    def strike(self, aim: str, pace: list[float], chance: random.Random) -> bool:
        """Start it, and kill it at a random moment of what is aimed at; False where it had ended by itself."""
        process, step = self.start(*TRAINING), chance.randrange(EPOCHS * STEPS)
        if aim == START:
            time.sleep(chance.uniform(0, pace[0]))
        elif aim == EVALUATION:
            wait(process, self.trained, 0.02)
            time.sleep(chance.uniform(0, pace[1]))
        else:
            wait(process, lambda: self.step() > step or self.trained(), 0.005)
            time.sleep(chance.uniform(0, 0.1))
        if aim == WRITE:
            wait(process, lambda: self.find("checkpoints/*.new"), 0.0005)
            time.sleep(chance.uniform(0, 0.002))
        process.kill()
        return process.wait() < 0


def wait(process: subprocess.Popen, reached: Callable[[], object], between: float) -> None:
    """Wait for something, or for the end of the process."""
    while process.poll() is None and not reached():
        time.sleep(between)


def undisturbed(training: Training) -> list[float]:
    """Carry out a training; returns the seconds until its first checkpoint, and from its last step to its end."""
    times, process = [time.monotonic()], training.start(*TRAINING)
    for reached in (training.step, training.trained, lambda: False):
        wait(process, reached, 0.02)
        times.append(time.monotonic())
    return [times[1] - times[0], times[3] - times[2]]


def kill_and_continue(folder: Path, aim: str, pace: list[float], seed: str) -> Training:
    """Carry out a training that is killed once, and do then what its user would."""
    training, chance = Training(folder), random.Random(seed)
    while not training.strike(aim, pace, chance):
        shutil.rmtree(folder)  # it was too late: again, at another moment
    training.place = training.look()
    runs = [path.parent.name for path in training.find(journal.HEADER)]
    again = ["train", "digits-mlp", "--resume", *runs] if runs else TRAINING
    training.start(*(["sync"] if training.place == AFTER else again)).wait()
    return training


def faults(client: object, training: Training, like: Training) -> Iterator[str]:
    """What is wrong with a training, beside an undisturbed one."""
    ids = [re.findall("run ([0-9a-f]{32}); see", one.said())[-1:] for one in (training, like)]
    if not all(ids):
        yield f"has not finished: {training.said()[-2000:]}"
        return
    run, other = (client.get_run(number) for (number,) in ids)
    found = inspect(client, run, other, EPOCHS)
    # The machine's load is measured every ten seconds, if a process lives that long.
    yield from (f"lost {name}" for name in found.lost if not name.startswith("system/"))
    yield from (f"doubled {name}" for name in found.doubled)
    if run.data.tags.get("weights.sha256") != other.data.tags["weights.sha256"]:
        yield "other weights"
    for name in other.data.metrics:
        if not name.startswith(("system/", *TIMES)):
            histories = (client.get_metric_history(number, name) for (number,) in ids)
            values = (sorted((point.step, point.value) for point in points) for points in histories)
            yield from (
                f"{name}: {mine}, not {others}" for mine, others in zip(*values, strict=False) if mine != others
            )
    if (training.folder / "unfinished" / run.info.run_id).exists():
        yield "its folder is left"


def carry_out(options: Options, folder: Path, client: object, console: object) -> Iterator[tuple[str, bool]]:
    """Train undisturbed, then kill and compare; gives for each kill where it struck, and whether all is equal."""
    like = Training(folder / "undisturbed")
    pace = undisturbed(like)
    if found := list(faults(client, like, like)):
        raise command.RunFailed(f"the undisturbed training: {found}")
    some = max(options.kills // 10, 1)
    aims = [WRITE] * (options.kills // 3) + [START] * some + [EVALUATION] * some
    aims += [WITHIN] * (options.kills - len(aims))
    with ThreadPoolExecutor(options.parallel) as pool:
        waiting = [
            pool.submit(kill_and_continue, folder / str(number), aim, pace, f"{options.seed}/{number}")
            for number, aim in enumerate(aims, start=1)
        ]
        for done in as_completed(waiting):
            training = done.result()
            found = list(faults(client, training, like))
            said = "; ".join(found) or "equal"
            console.print(f"kill {training.folder.name}: {training.place}: {said}", soft_wrap=True)
            yield training.place, not found


def main(arguments: list[str]) -> None:
    options = command.parse(Options, arguments, "python -m benchmarks.kill", __doc__)
    command.start_backend()  # quietly; models are loaded here
    import mlflow

    console, start = reports.console(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        os.environ["DATA_CACHE"] = f"{folder}/cache"
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
        struck = list(carry_out(options, Path(folder), mlflow.MlflowClient(), console))
    table = Table("where the kill struck", "kills", "equal", title=f"{time.monotonic() - start:.0f} s")
    for name in (*PLACES, "all"):
        equal = [same for place, same in struck if name in (place, "all")]
        table.add_row(name, str(len(equal)), str(sum(equal)))
    console.print(table)
    if not all(same for _, same in struck):
        raise command.RunFailed("not every continued training is equal to the undisturbed one")


if __name__ == "__main__":
    command.main(main)
