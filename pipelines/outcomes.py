"""What comes of a training, and how those who wait for it are told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from data import sealed
from data.errors import BadInput, reason

TIMES = ("epoch_seconds", "examples_per_second", "train_seconds")
"""Metrics that differ between two runs of the same computation."""


@dataclass(frozen=True)
class Outcome:
    """A finished training."""

    run: str
    """The run's id."""
    name: str
    seed: int
    final: dict[str, float]
    """Its final metrics."""
    history: list[dict[str, float]]
    """The metrics of each epoch."""
    weights: str
    """SHA-256 of the trained weights."""
    last_stage: int = 0
    """How many of the epochs are its last stage's: the weights are of one of these."""
    failure: str = ""
    """Why a trial has no result."""


def write_outcome(path: str, outcome: Outcome) -> None:
    """Write an outcome for those who wait for it: whole or not at all."""
    from pipelines.tracking import journal

    journal.write_whole(Path(path), sealed.dumps(asdict(outcome)))


def read_outcome(path: Path) -> Outcome:
    """The outcome that a training wrote for its group.

    Raises:
        BadInput: it was damaged since.
    """
    try:
        return Outcome(**sealed.loads(path.read_text(encoding="utf-8"), ("run",)))
    except (OSError, ValueError, TypeError) as error:
        do = "remove it: that training is then made again"
        raise BadInput(f"can't be read ({reason(error)})", path, do) from None
