"""Runs that the store has made and whose process was killed before it wrote down that they are its own."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.tracking import store
from pipelines.tracking.journal import HEADER

TAG = "begun"
"""Has a mark that no other run has."""

WHY = "its process was killed as it began"


@contextmanager
def noted(place: Path) -> Iterator[str]:
    """Give a mark for a run that is to be made, which stays noted in a folder until the run is written down there."""
    mark = uuid.uuid4().hex
    note = place / f"{mark}{_ending()}"
    with FileLock(note):  # while it is held the process lives
        yield mark
        note.unlink()


def end_lost(client: object, place: Path) -> None:
    """Record runs as KILLED that were noted and never written down, and that nobody else would end."""
    for note in place.glob(f"*{_ending()}"):
        with suppress(Timeout), FileLock(note, timeout=0):
            numbers = [experiment.experiment_id for experiment in client.search_experiments()]
            running = f"attributes.status = 'RUNNING' and tags.{TAG} = '{note.name.partition('.')[0]}'"
            for run in client.search_runs(numbers, running):
                folder = place / run.info.run_id
                if not (folder / HEADER).exists():  # else its process has gone on since
                    client.set_tag(run.info.run_id, "failure", WHY)
                    client.set_terminated(run.info.run_id, "KILLED")
                    shutil.rmtree(folder, ignore_errors=True)
            note.unlink(missing_ok=True)


def _ending() -> str:
    """Of the notes on this store's runs; those of other stores may lie beside them."""
    return f".{hashlib.sha256(store.public(store.uri()).encode()).hexdigest()[:16]}.begun"
