"""A table of faults: what was done, what the command's user sees, and what was lost of the good state before it.

usage: python -m benchmarks.faults [PART-OF-A-NAME ...]

Each fault is made in a folder of its own, and the real command reads it, in a process that may take two minutes.
Before, there are a finished training, an unfinished one and ingested data; what of their files differs after a fault
is lost.
Status 1 if anything is, or if a command ends otherwise than with status 0 or 2 and one line.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fuzzing import faults
from benchmarks.server import ROOT
from pipelines import command

PATIENCE = 120
"""Seconds that a command may take."""

SIGNS = ("can't be read", "goes on")
"""In lines of output by which a command that goes on says what is wrong."""


class Bench:
    """A good state, in a folder, and commands that run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        where = {
            "DATA_CACHE": str(folder / "cache"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'runs' / 'mlflow.db'}",
        }
        self.environment = {**os.environ, **where, "COLUMNS": "300", "TF_NUM_INTRAOP_THREADS": "1"}

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a stage."""
        command = [sys.executable, "-m", f"pipelines.{arguments[0]}", *arguments[1:]]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=pipe, stderr=pipe, text=True, errors="replace"
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a stage: its status, -9 where it did not end, and what it printed."""
        process = self.start(*arguments)
        try:
            out, error = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return -9, *process.communicate()
        return process.returncode, out, error

    def prepare(self) -> None:
        """Ingest MNIST and names, train digits, and train again until it is interrupted."""
        for dataset, name, content in (
            ("mnist", "mnist.npz", faults.mnist()),
            ("names", "data.zip", faults.archives.zipped(faults.LISTS)),
        ):
            (self.folder / name).write_bytes(content)
            self._well("ingest", dataset, "--from", str(self.folder / name))
        self._well("train", "digits-mlp", "--epochs", "2")
        process = self.start("train", "digits-mlp", "--epochs", "80", "--model.dropout", "0.3")
        deadline = time.monotonic() + PATIENCE
        while len(self.checkpoints()) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        process.communicate()
        if len(self.checkpoints()) < 2:
            raise RuntimeError("the training was not interrupted between two checkpoints")

    def _well(self, *arguments: str) -> None:
        status, _, error = self.run(*arguments)
        if status:
            raise RuntimeError(error)

    def checkpoints(self) -> list[Path]:
        """Of the unfinished run, the older one first."""
        return sorted((self.folder / "runs").glob("unfinished/*/checkpoints/*.npz"))

    def files(self) -> dict[str, bytes]:
        """All that must stay: data, store and unfinished runs, but for locks, a database and what it has been sent."""
        found = {}
        for part in ("cache", "runs"):
            for path in sorted((self.folder / part).rglob("*")):
                if path.is_file() and not path.name.endswith(("lock", "-wal", "-shm", "mlflow.db", "sent")):
                    found[str(path.relative_to(self.folder))] = path.read_bytes()
        return found


def damages(bench: Bench) -> dict[str, Callable[[Path], list[str]]]:
    """Faults of our own files: one bit of each is flipped."""

    def flipped(paths: list[Path], *stage: str) -> Callable[[Path], list[str]]:
        def make(_: Path) -> list[str]:
            for path in paths:
                path.write_bytes(faults._flipped(path.read_bytes()))
            return list(stage)

        return make

    resume = ("train", "digits-mlp", "--resume", "last")
    run = bench.checkpoints()[0].parents[1]
    manifest = bench.folder / "cache" / "mnist" / "local" / "manifest.json"
    array = next(manifest.parent.glob("*/x_test.npy"))
    train = ("train", "mnist-lenet", "--epochs", "1")
    return {
        "cache: one bit of an image flipped": flipped([array], *train),
        "cache: one bit of the manifest flipped": flipped([manifest], *train),
        "unfinished run: one bit of run.json flipped": flipped([run / "run.json"], *resume),
        "unfinished run: one bit of its journal flipped": flipped([run / "journal.jsonl"], *resume),
        "unfinished run: one bit of its newest checkpoint flipped": flipped(bench.checkpoints()[1:], *resume),
        "unfinished run: one bit of both checkpoints flipped": flipped(bench.checkpoints(), *resume),
    }


def shortened(text: str, place: Path, bench: Bench) -> str:
    """What a user sees, without where this program works."""
    for folder, name in ((place, "…"), (bench.folder, "…")):
        text = text.replace(str(folder), name)
    return text.replace("|", "\\|")


def trial(bench: Bench, what: str, make: Callable[[Path], list[str]]) -> bool:
    """Make a fault, run the command, print a row of the table; says whether all is well. The state is put back."""
    kept = Path(tempfile.mkdtemp(prefix="kept-"))
    for part in ("cache", "runs"):
        shutil.copytree(bench.folder / part, kept / part)
    place = Path(tempfile.mkdtemp(prefix="fault-"))
    command = make(place)
    before, elsewhere = bench.files(), set(os.listdir(tempfile.gettempdir()))
    status, out, error = bench.run(*command)
    seen = error.splitlines() or [line for line in out.splitlines() if any(sign in line for sign in SIGNS)]
    new = {name for name in set(os.listdir(tempfile.gettempdir())) - elsewhere if name.startswith("out")}
    after = bench.files()
    if status == 0:  # then an unfinished run has finished
        before = {name: content for name, content in before.items() if "unfinished" not in name}
    # A journal may have grown.
    lost = [name for name, content in before.items() if not after.get(name, b"").startswith(content)] + sorted(new)
    said = shortened(seen[-1].removeprefix("error: "), place, bench) if seen else "nothing: it is passed over"
    print(f"| {what} | {status} | {said[:330]} | {', '.join(lost) or 'nothing'} |", flush=True)
    for part in ("cache", "runs"):
        shutil.rmtree(bench.folder / part)
        shutil.move(kept / part, bench.folder / part)
    shutil.rmtree(place)
    shutil.rmtree(kept)
    return status in (0, 2) and len(error.splitlines()) <= 1 and not lost


def ask(bench: Bench, chosen: Callable[[str], bool]) -> list[bool]:
    """Send hostile requests to the real server, and print a row for each answer."""
    process, well = bench.start("serve", "last", "--port", "0"), []
    port = int(re.search(r"http://[^:]+:(\d+)", next(line for line in process.stdout if "http://" in line))[1])
    for what, request in faults.REQUESTS.items():
        if chosen(what):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                client.sendall(request)
                answer = http.client.HTTPResponse(client)
                answer.begin()
                said = answer.read().decode()
            said = json.loads(said).get("message", said) if said.startswith("{") else said
            good = 400 <= answer.status < 500 and process.poll() is None
            print(f"| {what} | {answer.status} | {said[:300]} | {'nothing' if good else 'the server'} |", flush=True)
            well.append(good)
    process.send_signal(signal.SIGINT)
    process.communicate()
    return well


def main(arguments: list[str]) -> int:
    command.start_backend()
    from benchmarks.fuzzing import networks

    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = Bench(Path(folder))
        bench.prepare()
        known = faults.INGESTS | faults.PREDICTIONS | damages(bench) | networks.faults()

        def chosen(name: str) -> bool:
            return not arguments or any(part in name for part in arguments)

        print("| fault | status | what is seen | lost |\n| --- | --- | --- | --- |")
        well = [trial(bench, what, make) for what, make in known.items() if chosen(what)]
        well += ask(bench, chosen)
    print(f"\n{sum(well)} of {len(well)} as they should be")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
