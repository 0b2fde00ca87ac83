"""The tables of a comparison, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipelines.comparing import pairs, statistics, words
from pipelines.comparing.pairs import Pair
from pipelines.comparing.sides import Side, differing
from pipelines.comparing.statistics import Estimate
from pipelines.reports import seeds
from pipelines.reports.classification import AVERAGED

if TYPE_CHECKING:
    import rich.table

ROW_RESAMPLES = 1_999
"""Of the bootstrap of one metric of one model."""

FLOOR = 1e-10
"""Smallest squared error that has a signal-to-noise ratio, as in the report of a training."""

FLOORED = 1e-12
"""Smallest probability that has a logarithm."""

SHARES = ("accuracy", "top3_accuracy", "top5_accuracy", "probe_accuracy", "pca_probe_accuracy")
"""Metrics that are shares of the test rows."""

COSTS = ("parameters", "train_seconds", "examples_per_second")


@dataclass(frozen=True)
class Grid:
    """A table: words on the left, numbers on the right."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: int = 1
    """Columns from the left that hold words."""
    note: str = ""

    def rich(self) -> rich.table.Table:
        """The same for the terminal."""
        from rich.table import Table

        shown = Table(title=self.title, title_justify="left", caption=self.note or None, caption_justify="left")
        shown.min_width = len(self.title)
        for number, column in enumerate(self.columns):
            shown.add_column(column, justify="left" if number < self.words else "right", overflow="fold")
        narrow = len(self.columns) - self.words > 2  # an interval then has a line of its own
        for row in self.rows:
            numbers = (cell.replace(" (", "\n(") if narrow else cell for cell in row[self.words :])
            shown.add_row(*row[: self.words], *numbers)
        return shown

    def frame(self) -> pd.DataFrame:
        """The same as a file."""
        return pd.DataFrame(self.rows, columns=list(self.columns))


def sides(compared: Sequence[Side]) -> Grid:
    """Who is compared."""
    rows = []
    for side in compared:
        numbers = ", ".join(member.facts.params.get("seed", "") for member in side.members)
        rows.append((side.letter, side.name, side.recipe, numbers))
    return Grid("Compared", ("", "name", "recipe", "seeds"), rows, words=4)


def parameters(compared: Sequence[Side]) -> Grid:
    """The parameters in which the sides differ."""
    note = "" if (rows := differing(compared)) else "None: the same settings, data and code."
    return Grid("Parameters that differ", ("parameter", *_letters(compared)), rows, len(compared) + 1, note)


def metrics(compared: Sequence[Side]) -> Grid:
    """Final metrics side by side: of one training with the interval of the test sample, else mean and spread."""
    names = {name: None for side in compared for name in side.members[0].facts.metrics}
    scored = [name for name in names if name.startswith("test/") and not name.endswith(("_low", "_high"))]
    known = {side.letter: estimates(side) for side in compared if len(side.members) == 1}
    rows = []
    for name in (*_ordered(scored), *(cost for cost in COSTS if cost in names)):
        short = name.removeprefix("test/")
        cells = (_cell(side, name, known.get(side.letter, {}).get(short)) for side in compared)
        rows.append((_label(short), *cells))
    notes = []
    if any(len(side.members) == 1 for side in compared):
        notes.append("Of one seed: 95 % interval of the test sample (Wilson's of shares, bootstrap of the others).")
    if any(len(side.members) > 1 for side in compared):
        notes.append("Of several: mean ± standard deviation over the seeds, 95 % interval of the mean (Student's t).")
    return Grid("Metrics", ("metric", *_letters(compared)), rows, 1, " ".join(notes))


def tests(compared: Sequence[Pair]) -> Grid:
    """The differences of pairs, by the two uncertainties."""
    rows = []
    for pair in compared:
        rows.append((pair.name, "test sample (bootstrap)", *_difference(pair, pair.sample), ""))
        if pair.mcnemar:
            uneven = f"{pair.mcnemar.only_second} gained, {pair.mcnemar.only_first} lost"
            shown = words.p_number(pair.mcnemar.p)
            rows.append((pair.name, "test sample (McNemar's exact test)", uneven, "", shown))
        if pair.training:
            shown = words.p_number(pair.training.p)
            rows.append((pair.name, "training (Welch's test)", *_difference(pair, pair.training.difference), shown))
    measure = compared[0].measure
    columns = ("", "uncertainty of", f"difference of {measure.name}", "95 % interval", "p")
    width = 5 if any(row[-1] for row in rows) else 4
    return Grid("Differences", columns[:width], [row[:width] for row in rows], 2)


def estimates(side: Side) -> dict[str, Estimate]:
    """Metrics of a single training with the interval of the test sample, by recorded name without ``test/``."""
    recorded, rows = side.members[0].facts.metrics, len(side.scores)
    names = [f"{prefix}{name}" for name in SHARES for prefix in ("", AVERAGED)]
    shares = {name: recorded[f"test/{name}"] for name in names if f"test/{name}" in recorded}
    found = {name: statistics.share(round(value * rows), rows) for name, value in shares.items()}
    if not side.classifies:
        noise = -10 * np.log10(np.maximum(side.scores, FLOOR))
        errors = {"mse": side.scores, "psnr": noise}
        return found | {name: statistics.mean(values, ROW_RESAMPLES) for name, values in errors.items()}
    own = side.probabilities[np.arange(rows), side.labels]
    found["loss"] = statistics.mean(-np.log(np.maximum(own, FLOORED)), ROW_RESAMPLES)
    f1 = _macro_f1(side.probabilities.shape[1])
    return found | {"macro_f1": statistics.resampled(f1, (side.labels, side.predicted[0]), ROW_RESAMPLES)}


def _macro_f1(classes: int) -> Callable[[np.ndarray, np.ndarray], float]:
    """The mean over the classes of F1, 0 for one that is neither there nor predicted.

    scikit-learn's takes 50 times as long, and there are thousands of resamples.
    """

    def f1(labels: np.ndarray, predicted: np.ndarray) -> float:
        right = np.bincount(labels[labels == predicted], minlength=classes)
        both = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
        return float((2 * right / np.maximum(1, both)).mean())

    return f1


LABELS = {
    "macro_f1": "macro F1",
    "loss": "loss (nats)",
    "ece": "calibration error",
    "mse": "squared error",
    "psnr": "PSNR (dB)",
    "pca_mse": "PCA squared error",
    "pca_probe_accuracy": "PCA probe accuracy",
    "top3_accuracy": "top-3 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "train_seconds": "seconds of training",
    "examples_per_second": "examples per second",
}


def _label(name: str) -> str:
    """A metric in words."""
    plain = name.removeprefix(AVERAGED)
    return LABELS.get(plain, plain.replace("_", " ")) + (", averaged views" if plain != name else "")


def _ordered(names: list[str]) -> list[str]:
    """The metric that decides first."""
    return sorted(names, key=lambda name: (name not in (pairs.ACCURACY.metric, pairs.ERROR.metric), names.index(name)))


def _letters(compared: Sequence[Side]) -> tuple[str, ...]:
    return tuple(side.letter for side in compared)


def speeds(side: Side) -> list[float]:
    """Examples per second of each training: the median over its epochs, of which the first compiles."""
    found = [[value for _, value in member.history.get("examples_per_second", [])] for member in side.members]
    return [float(np.median(values)) for values in found if values]


def _cell(side: Side, metric: str, known: Estimate | None) -> str:
    """A metric of a side, with what is known of its uncertainty."""
    values = speeds(side) if metric == "examples_per_second" else side.values(metric)
    name = metric.removeprefix("test/").removeprefix(AVERAGED)
    if not values:
        return ""
    if len(values) > 1:
        found = seeds.statistics(values)
        if not found["std"]:
            return _shown(name, values[0])
        low, high = found["low"], min(found["high"], 1.0) if name in SHARES else found["high"]
        spread = f"{_shown(name, found['mean'])} ± {_shown(name, found['std'], found['mean'])}"
        return spread if metric in COSTS else f"{spread} ({_shown(name, low)} to {_shown(name, high)})"
    if known is None:
        return _shown(name, values[0])
    return f"{_shown(name, values[0])} ({_shown(name, known.low)} to {_shown(name, known.high)})"


def _shown(name: str, value: float, beside: float | None = None) -> str:
    """A metric's value, in as many digits as the one it stands beside."""
    if name in SHARES:
        return f"{value:.2%}"
    if name in COSTS:
        return f"{value:,.0f}" if abs(beside or value) >= 100 else f"{value:,.1f}"
    return f"{value:.2f}" if name.endswith("psnr") else f"{value:.{4 if abs(beside or value) >= 0.1 else 5}f}"


def _difference(pair: Pair, found: Estimate) -> tuple[str, str]:
    """A difference and its interval, as numbers with their sign."""
    value, low, high = (words.number(pair.measure, found, end, "+") for end in (found.value, found.low, found.high))
    return f"{value}{pair.measure.unit if pair.measure.scale > 1 else ''}", f"{low} to {high}"
