"""What comes of a training, and how those who wait for it are told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data import sealed
from data.errors import BadInput, reason

if TYPE_CHECKING:
    import pandas as pd

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


def write_outcome(path: str, outcome: Outcome, predictions: pd.DataFrame | None = None) -> None:
    """Write an outcome for those who wait for it, with its predictions on the test set: whole or not at all."""
    from pipelines.tracking import journal

    if predictions is not None:
        predictions.to_parquet(_predictions(Path(path)), write_page_checksum=True)
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


def read_predictions(path: Path) -> pd.DataFrame:
    """The predictions that were written with the outcome at this path.

    Raises:
        BadInput: they were damaged since.
    """
    import pandas as pd

    try:
        return pd.read_parquet(_predictions(path), page_checksum_verification=True)
    except (OSError, ValueError, TypeError) as error:
        do = f"remove {path.name} beside it: that training is then made again"
        raise BadInput(f"can't be read ({reason(error)})", _predictions(path), do) from None


def _predictions(path: Path) -> Path:
    return path.with_suffix(".parquet")
