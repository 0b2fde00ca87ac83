"""Searches that are killed at random moments and continued, compared bit for bit with undisturbed ones.

usage: python -m benchmarks.tuning_kill [--kills 5] [--strategies grid random bayesian hyperband] [--seed 0]

For each strategy a small deterministic search runs undisturbed. The same search, in a store of its own, is then struck
by SIGKILL as often as asked, each time continued by the same command, and at last left to its end. The moments are
drawn uniformly from the undisturbed search's time; one is reached when as many trials have begun and ended as then, and
as many seconds have passed since. Every second kill strikes the trial's process too, as a power cut would; else that
process notices that it is alone. Trials, their runs, every metric but times, the winner and the weights of its recorded
model must be equal bit for bit, and nothing may be doubled or left behind. Status 1 if anything is.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from rich.table import Table

from benchmarks.server import ROOT, runs
from pipelines import command, reports
from pipelines.fitting import network
from pipelines.outcomes import TIMES
from pipelines.tracking import journal

SEARCHES = {
    "grid": "--trials 6 --epochs 2",
    "random": "--trials 6 --epochs 5",
    "bayesian": "--trials 6 --epochs 5",  # the Gaussian process begins with the fourth
    "hyperband": "--epochs 4",
}
"""What is asked for, by strategy; each is a minute or two."""

NARROW = """
from pipelines import command, recipes, tune
from pipelines.space import Float
recipes.SPACES["digits-mlp"] = lambda: {"optimizer.learning_rate": Float(1e-4, 1e-1, log=True)}
command.main(tune.main)
"""
"""The stage with a space of one dimension: Bayesian search draws three trials for each before it models anything."""

START, WITHIN, BETWEEN, AFTER = PLACES = (
    "start-up",
    "within a trial",
    "between trials",
    "after the end, before all was sent",
)
"""Where a kill strikes; what follows the last trial counts as between trials."""


@dataclass
class Options:
    """How many kills of each search, which searches, and the seed of the moments."""

    kills: int = 5
    strategies: tuple[Literal["grid", "random", "bayesian", "hyperband"], ...] = tuple(SEARCHES)
    seed: int = 0


class Search:
    """One search in a store of its own, from its first process to its last."""

    def __init__(self, folder: Path, strategy: str) -> None:
        """Choose an empty folder; the processes follow."""
        folder.mkdir()
        self.folder, self.strategy = folder, strategy
        self.processes = 0
        self.struck: list[str] = []
        """Where, for each kill."""

    def start(self) -> subprocess.Popen:
        """Give the search's command."""
        program = ["-c", NARROW] if self.strategy == "bayesian" else ["-m", "pipelines.tune"]
        flags = f"digits-mlp --deterministic --strategy {self.strategy} {SEARCHES[self.strategy]}"
        return self.run(*program, *flags.split())

    def run(self, *arguments: str) -> subprocess.Popen:
        """Start a process on this store."""
        self.processes += 1
        places = {"RUNS_FOLDER": "unfinished", "DATA_CACHE": "cache"}
        environment = {**os.environ, **{name: str(self.folder / place) for name, place in places.items()}}
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.folder / 'mlflow.db'}"
        with self.output.open("wb") as file:
            output = {"stdout": file, "stderr": subprocess.STDOUT}
            return subprocess.Popen([sys.executable, *arguments], env=environment, cwd=ROOT, **output)

    @property
    def output(self) -> Path:
        """What its newest process has printed."""
        return self.folder / f"output{self.processes}"

    def events(self) -> int:
        """How often a trial has begun or ended; 0 also when the search is done."""
        with suppress(OSError):
            for path in (self.folder / "unfinished").glob("*/trials.jsonl"):
                return path.read_bytes().count(b"\n")
        return 0

    def undisturbed(self) -> tuple[list[float], float]:
        """Carry it out; returns the seconds until each event, and until its end."""
        begun, process, times = time.monotonic(), self.start(), [0.0]
        while process.poll() is None:
            time.sleep(0.01)
            times += [time.monotonic() - begun] * (self.events() + 1 - len(times))
        return times, time.monotonic() - begun

    def strike(self, events: int, seconds: float) -> bool:
        """Give its command, and kill it so long after so many events; False where it had ended by itself."""
        process, whole = self.start(), len(self.struck) % 2 == 1
        while process.poll() is None and self.events() < events:
            time.sleep(0.01)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return False
        root = psutil.Process(process.pid)
        children = root.children(recursive=True)
        forked = set(children) - set(root.children())  # the fork server is a child, a trial one of its children
        trial = any("forkserver" in word for child in forked for word in words(child))
        process.kill()
        for child in children if whole else []:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        if process.wait() == 0:
            return False
        self.struck.append(self.look(trial))
        return True

    def look(self, trial: bool) -> str:
        """Where a kill struck it, by what it has printed and what is on the disk."""
        said = self.output.read_text(errors="replace")
        left = [path.parent for path in (self.folder / "unfinished").glob("*/trials.jsonl")]
        if "; see make ui" in said and not any(journal.read_status(folder) != "FINISHED" for folder in left):
            return AFTER
        if trial:
            return WITHIN
        return BETWEEN if "; run " in said else START

    def finish(self) -> None:
        """Do what its user would after the last kill."""
        process = self.run("-m", "pipelines.sync") if self.struck[-1:] == [AFTER] else self.start()
        process.wait()


def words(process: psutil.Process) -> list[str]:
    """The command line of a process that may have ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def kill_and_continue(folder: Path, strategy: str, events: list[float], moments: list[float]) -> Search | None:
    """Carry out a search that is killed at each of these moments; None where it was faster than one of them."""
    search = Search(folder, strategy)
    for moment in moments:
        number = bisect_right(events, moment) - 1
        if not search.strike(number, moment - events[number]):
            return None
        if search.struck[-1] == AFTER:  # nothing left to kill
            break
    search.finish()
    return search


def record(folder: Path) -> dict[str, object]:
    """All that a store and its folder say of a search, but ids and times."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = {"left in unfinished": sorted(path.name for path in (folder / "unfinished").iterdir())}
    for run in runs(client):
        tags = run.data.tags
        name = f"{tags['stage']} {tags.get('trial', '')}".strip()
        found.setdefault(f"states of {name}", []).append(run.info.status)
        if run.info.status != "FINISHED":
            continue
        kept = ("trial", "best.", "weights")
        found[f"tags of {name}"] = {
            key: value for key, value in tags.items() if key.startswith(kept) and key != "best.run"
        }
        found[f"parameters of {name}"] = run.data.params
        for metric in run.data.metrics:
            if not metric.startswith(("system/", *TIMES)):
                points = client.get_metric_history(run.info.run_id, metric)
                found[f"{metric} of {name}"] = sorted((point.step, repr(point.value)) for point in points)
        if tags["stage"] == "tune":
            texts = {file: download(client, run, file) for file in ("recipe.json", "trials.csv")}
            found["recipe.json"] = texts["recipe.json"]
            found["weights of its model"] = weights(folder, run)
            for row in csv.DictReader(texts["trials.csv"].splitlines()):
                kept = {key: value for key, value in row.items() if key not in ("seconds", "run")}
                found[f"row {row['trial']} of trials.csv"] = kept
    return found


def weights(folder: Path, run: object) -> str:
    """SHA-256 of the recorded model's weights."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    return network.digest(mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model").get_raw_model().network)


def download(client: object, run: object, file: str) -> str:
    """A recorded text."""
    return Path(client.download_artifacts(run.info.run_id, file)).read_text(encoding="utf-8")


def differences(mine: dict[str, object], like: dict[str, object]) -> list[str]:
    """What is not the same in two records."""
    nothing = "nothing"
    pairs = {name: (mine.get(name, nothing), like.get(name, nothing)) for name in {**like, **mine}}
    return [f"{name}: {found}, not {other}" for name, (found, other) in pairs.items() if found != other]


def compare(strategy: str, folder: Path, options: Options, console: object) -> tuple[int, Search, list[str]]:
    """Search undisturbed, then struck; returns the number of trials, the struck search, and what differs."""
    plain, chance = Search(folder / "undisturbed", strategy), random.Random(f"{options.seed}/{strategy}")
    events, seconds = plain.undisturbed()
    like = record(plain.folder)
    states = {name: found for name, found in like.items() if name.startswith("states of ")}
    if not states or any(found != ["FINISHED"] for found in states.values()) or like["left in unfinished"]:
        raise command.RunFailed(f"the undisturbed search: {states}, {plain.output.read_text(errors='replace')[-2000:]}")
    trials = sum(name.startswith("row ") for name in like)
    console.print(f"{strategy}: {trials} trials, undisturbed {seconds:.0f} s", soft_wrap=True)
    search, begun = None, time.monotonic()
    while search is None:
        shutil.rmtree(folder / "struck", ignore_errors=True)
        moments = sorted(chance.uniform(0, seconds) for _ in range(options.kills))
        search = kill_and_continue(folder / "struck", strategy, events, moments)
    found = differences(record(search.folder), like)
    struck = ", ".join(f"{moment:.0f} s: {place}" for moment, place in zip(moments, search.struck, strict=False))
    console.print(f"{strategy}: struck at {struck}; {time.monotonic() - begun:.0f} s in all", soft_wrap=True)
    for line in found:
        console.print(f"{strategy}: {line}", soft_wrap=True, markup=False)
    if found:
        console.print(search.output.read_text(errors="replace")[-2000:], soft_wrap=True, markup=False)
    return trials, search, found


def main(arguments: list[str]) -> None:
    options = command.parse(Options, arguments, "python -m benchmarks.tuning_kill", __doc__)
    command.start_backend()  # quietly
    console, start, equal = reports.console(), time.monotonic(), True
    table = Table("strategy", "trials", "kills", "where they struck", "continued")
    for strategy in options.strategies:
        with tempfile.TemporaryDirectory() as folder:
            trials, search, found = compare(strategy, Path(folder), options, console)
        places = Counter(search.struck)
        where = "\n".join(f"{place}: {places[place]}" for place in PLACES if places[place])
        table.add_row(strategy, str(trials), str(len(search.struck)), where, "; ".join(found[:3]) or "equal")
        equal = equal and not found
    table.title = f"{time.monotonic() - start:.0f} s"
    console.print(table)
    if not equal:
        raise command.RunFailed("not every continued search is equal to the undisturbed one")


if __name__ == "__main__":
    command.main(main)
