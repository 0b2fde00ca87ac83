"""What a run records, on disk before it is sent.

One folder for each run that is under way, or of which something has not been sent::

    run.json        what the run is, enough to continue it
    journal.jsonl   one record a line, in the order they happened, with their times
    sent            how many of them the store has
    artifacts/      files that records name
    model/          the trained network, as it will be recorded
    checkpoints/    states to continue from
    lock            held by the process that records
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from data import sealed
from data.errors import BadInput, reason
from pipelines.tracking import lines

HEADER, RECORDS, SENT = "run.json", "journal.jsonl", "sent"

DONE = ".done"
"""Ending of a folder that is being removed."""


class Journal:
    """The records of one run; one process at a time may open it, which holds its lock until :meth:`release`."""

    def __init__(self, folder: Path) -> None:
        """Open a run's journal; a last line that was being written when its process was killed is dropped.

        Raises:
            BadInput: another process records this run, or what lies there can't be read.
        """
        self.folder = folder
        self._lock = FileLock(folder / "lock")
        try:
            self._lock.acquire(timeout=0.5)  # longer than anybody takes to see whether it is held
        except Timeout:
            raise BadInput("is being recorded by another process", f"run {folder.name}", "wait for its end") from None
        self.header = read_header(folder)
        self.changed = threading.Condition()
        self.records = lines.take_up(folder / RECORDS)
        self.sent = min(_read_count(folder / SENT), len(self.records))
        self._known = {
            (name, record["step"])
            for record in self.records
            if record["kind"] == "metrics"
            for name in record["values"]
        }

    def append(self, kind: str, **content: object) -> None:
        """Write one record, to the disk itself, before anybody can send it."""
        record = {"kind": kind, "at": time.time(), **content}
        with self.changed:
            lines.append(self.folder / RECORDS, record)
            self.records.append(record)
            self.changed.notify_all()

    def metrics(self, values: Mapping[str, float], step: int, at: float | None = None) -> None:
        """Record metrics, each once for each step: what a continued run comes by again is left out.

        Args:
            values: by name.
            step: of all of them.
            at: seconds since 1970 at which they were measured, where that is not now.
        """
        with self.changed:
            fresh = {name: float(value) for name, value in values.items() if (name, step) not in self._known}
            self._known |= {(name, step) for name in fresh}
        if fresh:
            self.append("metrics", values=fresh, step=step, **({} if at is None else {"at": at}))

    def last_step(self, prefix: str) -> int:
        """The last step of the metrics whose name begins with this; 0 where there are none."""
        return max((step for name, step in self._known if name.startswith(prefix)), default=0)

    def confirm(self, count: int) -> None:
        """Note that the store has the first ``count`` records."""
        write_whole(self.folder / SENT, str(count))
        with self.changed:
            self.sent = count
            self.changed.notify_all()

    @property
    def status(self) -> str:
        """The last status that was recorded."""
        return _last_status(self.records)

    def release(self) -> None:
        """Let another process open it."""
        self._lock.release()


def create(folder: Path, header: Mapping[str, object]) -> None:
    """Make the folder of a new run."""
    for part in ("artifacts", "checkpoints"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_whole(folder / HEADER, sealed.dumps(header, indent=1))


def read_header(folder: Path) -> dict:
    """What ``run.json`` says of a run."""
    try:
        return sealed.loads((folder / HEADER).read_text(encoding="utf-8"), ("id",))
    except (OSError, ValueError) as error:
        raise BadInput(f"can't be read ({reason(error)})", folder / HEADER, "remove that folder") from None


def is_open(folder: Path) -> bool:
    """Whether a living process records this run."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def read_status(folder: Path) -> str:
    """The last status that a run recorded, whoever may be recording it."""
    return _last_status(lines.read(folder / RECORDS))


def _last_status(records: list[dict]) -> str:
    found = [record["status"] for record in records if record["kind"] == "status"]
    return found[-1] if found else "RUNNING"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a kill leaves the old one or the new one."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _read_count(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # sending again what was sent changes nothing
        return 0


def headers(place: Path) -> dict[Path, dict]:
    """What ``run.json`` says in the folders of all runs that have one, the newest first."""
    found = {}
    for remnant in place.glob(f"*{DONE}"):
        shutil.rmtree(remnant, ignore_errors=True)
    for path in place.glob(f"*/{HEADER}"):
        try:
            found[path.parent] = read_header(path.parent)
        except BadInput:
            if path.exists():  # else its run has just finished
                raise
    return dict(sorted(found.items(), key=lambda item: item[1]["started"], reverse=True))


def remove(folder: Path) -> None:
    """Remove a run's folder; renamed first, so that what a kill leaves of it is known as a remnant and goes next."""
    remnant = folder.with_name(folder.name + DONE)
    folder.replace(remnant)
    shutil.rmtree(remnant, ignore_errors=True)
