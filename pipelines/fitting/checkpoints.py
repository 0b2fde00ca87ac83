"""States of a training on disk: whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data import archives
from data.errors import BadInput, reason

KEPT = 2
"""Checkpoints that stay: a newest one that is damaged leaves the one before."""

INTERVAL = 120.0
"""Seconds between checkpoints within an epoch."""

UNREADABLE = (*archives.DAMAGED, TypeError, AttributeError, IndexError)
"""What reading a damaged archive raises; one flipped bit can make a member seem encrypted or compressed."""


@dataclass
class Epoch:
    """A finished epoch."""

    metrics: dict[str, float]
    """By recorded name."""
    at: float
    """Seconds since 1970 at its end."""
    stage: int = 0


@dataclass
class Position:
    """How far a training is."""

    stage: int = 0
    epoch: int = 0
    """The epoch under way or, between two, the next one; counted from 0 over all stages."""
    step: int = 0
    """Steps of the run so far."""
    in_epoch: int = 0
    """Steps of the epoch under way so far."""
    elapsed: float = 0.0
    """Seconds that these took."""
    seconds: float = 0.0
    """Seconds of all steps of finished epochs."""
    stage_over: bool = False
    """The stage has had its epochs, or was stopped early."""
    epochs: list[Epoch] = field(default_factory=list)


@dataclass
class State:
    """A training at one moment: with recipe and data, all that its future depends on."""

    position: Position
    arrays: dict[str, np.ndarray]
    """Variables of the model, the optimizer and the metrics, and the weights that early stopping keeps."""
    callbacks: dict[str, dict[str, object]]
    """Attributes of the callbacks that remember something, by class."""


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Each is one NumPy archive, written aside, synced and renamed. The archive holds a checksum of every member,
    which reading verifies. Orbax, the library made for this, gave back other weights without a word where one bit of
    its file was flipped (0.12.8), and took four times as long.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = time.monotonic()
        self.seconds = 0.0
        """Spent on writing so far."""

    def due(self) -> bool:
        """Whether the last one is old."""
        return time.monotonic() - self.written > INTERVAL

    def write(self, state: State) -> None:
        """Write a state and remove all but the last two."""
        start = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / f"{state.position.step:012}.npz"
        draft = place.with_suffix(".new")
        # Not asdict, which copies each number of each epoch: after a thousand, as long as several epochs take.
        epochs = [vars(epoch) for epoch in state.position.epochs]
        described = {"position": {**vars(state.position), "epochs": epochs}, "callbacks": state.callbacks}
        try:
            with draft.open("wb") as file:
                np.savez(file, **state.arrays, description=np.array(json.dumps(described)))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(place)
            _sync_folder(self.folder)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        for superseded in self._paths()[KEPT:]:
            superseded.unlink()
        self.written = time.monotonic()
        self.seconds += self.written - start

    def latest(self) -> State | None:
        """The newest state that can be read; None where there is none.

        Raises:
            BadInput: there are checkpoints, and none of them can be read.
        """
        faults = {}
        for path in self._paths():
            try:
                return _read(path)
            except UNREADABLE as error:
                faults[path] = reason(error)
        if faults:
            newest = next(iter(faults))
            raise BadInput(f"can't be read ({faults[newest]}), nor one before it", newest, "train anew")
        return None

    def copy_latest(self, folder: Path) -> None:
        """Copy the newest one into another folder, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        newest = self._paths()[0]
        draft = folder / f"{newest.stem}.new"
        shutil.copy(newest, draft)
        draft.replace(folder / newest.name)

    def _paths(self) -> list[Path]:
        """The checkpoints, newest first."""
        return sorted(self.folder.glob("*.npz"), reverse=True)


def _read(path: Path) -> State:
    # NumPy leaves a file open that it opens itself and finds to be no archive.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
        if len(arrays) < len(archive.files):  # a damaged name can be that of another member
            raise ValueError("two members have one name")
    described = json.loads(arrays.pop("description").item())
    epochs = [Epoch(**epoch) for epoch in described["position"].pop("epochs")]
    return State(Position(**described["position"], epochs=epochs), arrays, described["callbacks"])


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
